#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_inputs
version_added: 1.0.0
short_description: (internal) Read and check the variables of the playbooks or of a role
description:
  - In a task of a role, checks the variables of the role against its argument specs, before the first module call of
    the role. Unlike Ansible's own check, it does not accept text as a list. Otherwise, a role that gets C(agent-db-1)
    instead of a list of users could create a user for each letter.
  - In any other task, reads the variables C(cwagent_*) of the controller and of the hosts in the collection's groups.
    Returns them as typed values, with their defaults. A blank value, such as an unanswered question of a survey, counts
    as not set. An unknown variable whose name begins with C(cwagent_) is a problem.
  - Fails with everything that is wrong, before anything is changed. Each problem is one sentence that contains the name
    of the variable and, where it matters, of the host. A value that refers to an undefined variable is a problem.
  - On a host of the group C(cwagent_accounts), reads only the hosts whose C(cwagent_account) is that host.
  - The files of configurations must exist where the playbook stores or validates them.
  - Runs on the controller and calls no AWS API.
author: cwagent.iam contributors (@cwagent)
options:
  requires:
    description:
      - Additional requirements of the playbook. Only outside roles.
      - V(configs) requires a configuration to store, and V(configs_only) a configuration and no host and no region.
      - V(servers) requires a host in a group of servers, and no host that stores a configuration.
      - V(rotation) requires a host with an access key among the hosts that C(--limit) selects.
      - V(removal) requires servers in C(cwagent_remove_servers), and that C(cwagent_confirm) is V(remove_servers).
      - V(restore) requires nothing. Problems are returned as RV(problems), and the task does not fail.
      - V(audit) requires no host. V(history) requires the names of configurations. V(one_account) requires that there
        is no group C(cwagent_accounts). V(apply) requires nothing. Its batches consist of servers.
        V(policy) requires nothing. Its reports are policies.
      - V(admin_instance) requires a host in the group C(cwagent_ec2_admin). V(confirmation) requires that
        C(cwagent_confirm) is V(teardown). V(key_store) requires a place that keeps the access keys. The files of an
        execution environment do not.
    type: list
    elements: str
    choices:
      - configs
      - configs_only
      - admin_instance
      - confirmation
      - key_store
      - audit
      - servers
      - rotation
      - removal
      - one_account
      - restore
      - history
      - apply
      - policy
    default: []
  found:
    description:
      - The result of M(cwagent.iam.cwagent_account_info). Its instances then count like hosts of the inventory. Only
        outside roles.
    type: dict
  server_policy:
    description: The policy of the servers, instead of C(cwagent_server_policy). Only outside roles.
    type: str
    choices: [aws, fitted]
  check_max_fail_percentage:
    description:
      - Whether the task only fails if too many accounts failed in the batch of the account or in an earlier one. The
        input of the account has the sizes of the batches and the percentage that may fail, and accounts that were
        skipped do not count. Only outside roles.
    type: bool
    default: false
  entry_point:
    description: The entry point whose argument specs describe the variables. Only in a role.
    type: str
    default: main
  collect:
    description:
      - Whether to collect the instances, users or regions of the hosts in the account of this host instead, from the
        results that the role has registered for each host as C(__cwagent_role_inputs). One host then calls the modules
        for all hosts with the same AWS options. Fails if another value differs between these hosts. Only in a role.
    type: bool
    default: false
extends_documentation_fragment: [cwagent.iam.attributes.reading, cwagent.iam.attributes]
"""

EXAMPLES = r"""
- name: Validate the inputs
  cwagent.iam.cwagent_inputs:
    requires: [configs]
  register: inputs

- name: Validate the inputs of a role
  cwagent.iam.cwagent_inputs:
    entry_point: report
"""

RETURN = r"""
region:
  description:
    - The default region. The result contains every variable, under its name without C(cwagent_). A variable with a
      problem has its default value.
    - With O(collect=true), the region for the calls of the modules. It is empty if RV(by_region) has items without a
      region, or nothing with one.
  returned: outside roles, and with O(collect=true) on the first host of an account
  type: str
instances:
  description: The instances by region, one of the values that follow from the variables.
  returned: outside roles
  type: dict
problems:
  description: The problems, each in one sentence. Empty unless O(requires) contains V(restore).
  returned: outside roles
  type: list
  elements: str
task:
  description: Identifies the task for all hosts on which it ran.
  returned: in a role that calls its modules once for all hosts of an account, without O(collect=true)
  type: str
host:
  description: The host on which the task ran.
  returned: like RV(task)
  type: str
account:
  description:
    - A digest of the AWS options in C(module_defaults), and of the environment. Hosts with the same ones have the same
      digest. It reveals nothing, and is different in each run.
  returned: like RV(task)
  type: str
variables:
  description:
    - By variable of the role that must have the same value on all hosts of an account, a digest of its value, and the
      name of the variable that the user set.
  returned: like RV(task)
  type: dict
default_region:
  description: The region of the host.
  returned: like RV(task)
  type: str
role:
  description: The role.
  returned: with O(collect=true)
  type: str
by_region:
  description:
    - The instances or users by region, of this host or of all hosts in the account. A role that only needs regions has
      no items in them. It is null if the host can be an instance itself.
  returned: like RV(task), and with O(collect=true) on the first host of an account
  type: dict
report_files:
  description: By format, the paths of the reports that the role writes. The ending of a path chooses the format.
  returned: in a role, for an entry point that writes reports
  type: dict
is_first:
  description: Whether this host calls the modules of the role for all hosts of its account.
  returned: with O(collect=true)
  type: bool
"""
