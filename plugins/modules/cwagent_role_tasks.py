#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_role_tasks
version_added: 1.0.0
short_description: (internal) Read the tasks of the roles before they run
description:
  - Returns the tasks of the collection's roles that manage something in AWS, with their options, for the option
    O(cwagent.iam.cwagent_preflight#module:tasks) of M(cwagent.iam.cwagent_preflight). The playbook C(site) compares
    them with AWS in one task and leaves out the roles that have nothing to do.
  - The options are evaluated with the variables of a host, and with the defaults and variables of the role. A task
    whose condition is false is left out. The conditions of blocks are not evaluated.
  - Runs on the controller and calls no AWS API.
author: cwagent.iam contributors (@cwagent)
options:
  files:
    description: The files with the tasks, in their order.
    type: list
    elements: dict
    required: true
    suboptions:
      part:
        description: The part of the playbook that the tasks belong to.
        type: str
        required: true
      role:
        description: The role that has the file. Without it, the file is one of the playbooks.
        type: str
      tasks_from:
        description: The name of the file.
        type: str
        default: main
      hosts:
        description: The hosts whose variables are used, one after the other. The default is the host of the task.
        type: list
        elements: str
      regions:
        description:
          - An expression for the regions that a task is for, which can use the item of its loop. The default is the
            region that the task names.
        type: str
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
- name: Read the tasks of the role for EC2 servers
  cwagent.iam.cwagent_role_tasks:
    files:
      - part: ec2
        role: ec2_server
  register: role_tasks
"""

RETURN = r"""
tasks:
  description: The tasks, each as O(cwagent.iam.cwagent_preflight#module:tasks) takes it.
  returned: success
  type: list
  elements: dict
  sample:
    - part: ec2
      module: cwagent_iam_role
      options: {name: CloudWatchAgentServerRole, access: server}
      region: ""
"""
