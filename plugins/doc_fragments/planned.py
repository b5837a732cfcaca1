# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The option of ``PLANNED_SPEC``."""

    DOCUMENTATION = r"""
options:
  planned:
    description:
      - The results of earlier tasks of the run. In check mode, changes that these tasks only planned count as done.
    type: list
    elements: dict
    default: []
"""
