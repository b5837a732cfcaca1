#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_role_inputs
version_added: 1.0.0
short_description: (internal) Check the variables of a role by their types
description:
  - Checks the variables of the role that the task belongs to against the role's argument specs. Fails with everything
    that is wrong, before the first module call of the role.
  - Unlike Ansible's own check, it does not accept text as a list. Otherwise, a role that gets C(agent-db-1) instead of
    a list of users could create a user for each letter.
  - Runs on the controller and calls no AWS API.
author: cwagent.iam contributors (@cwagent)
options:
  entry_point:
    description: The entry point whose argument specs describe the variables.
    type: str
    default: main
  compare:
    description:
      - Whether to compare the hosts of the play instead, by the RV(fingerprint) that the role has registered for each
        of them as C(__ROLE_inputs). One host then makes one call for all hosts with the same values.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode and return the changed status it would have without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change in check mode, when in diff mode.
    support: none
    details: It changes nothing.
  idempotent:
    description: A second run with the same options changes nothing and makes no writing API call.
    support: full
"""

EXAMPLES = r"""
- name: Validate the inputs
  cwagent.iam.cwagent_role_inputs:
"""

RETURN = r"""
fingerprint:
  description: A digest of the values of the role's variables. Hosts with the same values have the same digest.
  returned: without O(compare=true)
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
report_files:
  description: By format, the paths of the reports that the role writes. The ending of a path chooses the format.
  returned: for an entry point that writes reports
  type: dict
  sample: {html: [audit.html], json: [], junit: [], sarif: []}
is_shared:
  description: Whether all hosts have the same values.
  returned: with O(compare=true)
  type: bool
  sample: true
runs_on:
  description: The hosts that call the modules of the role. It is the first host if RV(is_shared) is true.
  returned: with O(compare=true)
  type: list
  elements: str
  sample: [db1]
"""
