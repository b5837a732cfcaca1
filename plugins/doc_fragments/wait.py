# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options for waiting on AWS."""

    DOCUMENTATION = r"""
options:
  wait:
    description: Whether to wait until AWS shows the changes.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait, in seconds. The same limit applies to repeating a call while one AWS service does not know yet
        about a resource that was created in another.
    type: int
    default: 180
"""
