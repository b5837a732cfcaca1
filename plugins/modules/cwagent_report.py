#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_report
version_added: 1.0.0
short_description: (internal) Report what a run of a playbook did
description:
  - Collects the results that the tasks of all plays have registered for the accounts and their servers. Prints the
    steps, and provides their counts to other jobs under C(cloudwatch_agent), as M(ansible.builtin.set_stats) does.
  - Fails if the run left out the task that reads the inputs.
  - Runs on the controller and calls no AWS API.
author: cwagent.iam contributors (@cwagent)
options:
  lines:
    description: Lines to print instead, such as the report of a role.
    type: list
    elements: str
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
- name: Report what was done
  cwagent.iam.cwagent_report:
  register: report
  run_once: true
"""

RETURN = r"""
msg:
  description:
    - The changes of the run, or the option O(lines), as lines for a person. Callbacks for people print them unchanged.
  returned: success
  type: list
  elements: str
  sample: ["1 created:", "- create role 'CloudWatchAgentServerRole'"]
failures:
  description: For each account, everything that failed in it or on its servers. The text is empty if nothing failed.
  returned: success
  type: dict
  sample: {localhost: ""}
"""
