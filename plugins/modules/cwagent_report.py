#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_report
version_added: 1.0.0
short_description: (internal) Report what a run of a playbook did, or what an audit found
description:
  - Collects the results that the tasks of all plays have registered for the accounts and their servers. Prints the
    steps, and provides their counts to other jobs under C(cloudwatch_agent), as M(ansible.builtin.set_stats) does. With
    O(audit_hosts), these are the numbers of findings by severity, and of the accounts that were not read.
  - Fails if the run left out the task that reads the inputs.
  - Runs on the controller and calls no AWS API.
author: cwagent.iam contributors (@cwagent)
options:
  lines:
    description: Lines to print instead, such as the report of a role. Not with O(error) or O(audit_hosts).
    type: list
    elements: str
  error:
    description: >-
      A text with which the task fails, without the place of the task. An empty one does nothing. Not with
      O(audit_hosts).
    type: str
  audit_hosts:
    description:
      - The hosts that stand for the accounts of an audit. The task then merges the results that the role
        P(cwagent.iam.audit#role) has registered for them, and prints nothing.
    type: list
    elements: str
  parts:
    description:
      - The parts of the accounts that were read, with O(audit_hosts). RV(summary) lists the versions of the
        configurations if V(history) is the only one, and otherwise the principals that can write.
    type: list
    elements: str
    choices: [access, history]
    default: [access, history]
  fail:
    description: Whether to fail instead of returning the results, with O(audit_hosts), if RV(audit) has a failure.
    type: bool
    default: false
  fail_at:
    description:
      - The lowest severity that makes an audit fail, with O(audit_hosts). With V(none), findings never make it fail.
    type: str
    choices: [none, notice, warning, error]
    default: none
extends_documentation_fragment: [cwagent.iam.attributes.reading, cwagent.iam.attributes]
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
  returned: without O(audit_hosts) and O(error)
  type: list
  elements: str
failures:
  description:
    - For each account, what failed in it or on its servers, without the reasons that were printed before. The text is
      empty if nothing failed.
  returned: without O(audit_hosts), O(error) and O(lines)
  type: dict
audit:
  description:
    - The results of all accounts, with C(generated), C(accounts), C(findings), C(counts) and C(failure). The last one
      is the message of a run that fails, or empty. An account that could not be read has only an C(error).
  returned: with O(audit_hosts), and without O(fail)
  type: dict
summary:
  description:
    - Lines that list the accounts that were read, the principals that can write the agent's configuration now, unknown
      facts, and the most severe findings with their fixes. They fit a terminal of 80 columns.
  returned: with O(audit_hosts), and without O(fail)
  type: list
  elements: str
"""
