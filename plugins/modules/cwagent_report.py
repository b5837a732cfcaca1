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
    steps, and provides their counts to other jobs under C(cloudwatch_agent), as M(ansible.builtin.set_stats) does.
  - With O(audit), reports what the role P(cwagent.iam.audit#role) has read instead. If the task runs once, it reports
    on the accounts of all hosts of the play, and otherwise on the account of its host. In the role, the variables of
    the role are the defaults of the other options.
  - Fails if the run left out the task that reads the inputs, or the accounts.
  - Runs on the controller and calls no AWS API.
author: cwagent.iam contributors (@cwagent)
options:
  lines:
    description: Lines to print instead, such as the report of a role. Not with O(error) or O(audit).
    type: list
    elements: str
  error:
    description: >-
      A text with which the task fails, without the place of the task. An empty one does nothing. Not with O(audit).
    type: str
  audit:
    description:
      - The part of the report on the accounts.
      - V(files) writes O(report_files), as M(ansible.builtin.copy) does.
      - V(report) prints a summary for a terminal of 80 columns. It lists the accounts that were read, the principals
        that can write the agent's configuration now, unknown facts, and the most severe findings with their fixes.
        Provides the numbers of findings by severity, and of the accounts that were not read, to other jobs.
      - V(fail) fails if an account was not read, or if a finding has the severity O(fail_at) or above.
    type: str
    choices: [files, report, fail]
  parts:
    description:
      - The parts of the accounts that were read, with O(audit). The summary lists the versions of the configurations if
        V(history) is the only one, and otherwise the principals that can write.
    type: list
    elements: str
    choices: [access, history]
    default: [access, history]
  report_files:
    description:
      - The files to write with O(audit=files). The ending of each path chooses the format. Nobody else can read them.
    type: list
    elements: str
    default: []
  fail_at:
    description: The lowest severity that makes an audit fail. With V(none), findings never make it fail.
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
    - The changes of the run, the summary of an audit, or the option O(lines), as lines for a person. Callbacks for
      people print them unchanged.
  returned: without O(error), and with O(audit=report)
  type: list
  elements: str
failures:
  description:
    - For each account, what failed in it or on its servers, without the reasons that were printed before. The text is
      empty if nothing failed.
  returned: without O(audit), O(error) and O(lines)
  type: dict
files:
  description: The files that were written, or would be in check mode.
  returned: with O(audit=files), if there are any
  type: list
  elements: str
"""
