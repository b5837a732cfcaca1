# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Attributes that every module of the collection supports."""

    # For modules that only read. List it before the other fragment, because it overrides that one.
    READING = r"""
options: {}
attributes:
  diff_mode:
    support: none
    details: The module changes nothing.
"""
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return the changed status it would have without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change in check mode, when in diff mode.
    support: full
  idempotent:
    description: A second run with the same options changes nothing and makes no API call that writes.
    support: full
"""
