#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_server_info
version_added: 1.0.0
short_description: (internal) Check whether the CloudWatch agent on servers has what it needs
description:
  - With O(servers), checks through the EC2, IAM and Systems Manager APIs that each server has an instance profile with
    a role, a user with an active access key that is saved, or a node that is online and has the hybrid role. Also
    checks the permissions of this role or user, without service control, resource control and session policies.
  - With O(checked), adds facts from inside the servers to that result, which are the output of the script of
    M(cwagent.iam.cwagent_agent_config). On servers where Ansible did not run the script, Run Command can run it.
  - The role P(cwagent.iam.verify#role) does both.
author: cwagent.iam contributors (@cwagent)
options:
  servers:
    description: The servers. Exactly one of O(servers) and O(checked) is required.
    type: list
    elements: dict
    suboptions:
      host:
        description: The name of the server in the result.
        type: str
        required: true
      region:
        description: Its region. The default is the region of the module.
        type: str
      instance_id:
        description:
          - The ID of an EC2 instance. Exactly one of O(servers[].instance_id), O(servers[].user) and
            O(servers[].hybrid) is needed.
        type: str
      user:
        description: The name of the IAM user of a server on premises.
        type: str
      hybrid:
        description:
          - Whether it is a server on premises that this collection has registered with Systems Manager. The name of its
            node is O(servers[].host).
        type: bool
      configs:
        description:
          - The names of the configurations that it uses, in the order in which the agent fetches and appends them. The
            module finds the further parts of a split configuration.
          - By default, the server may use all configurations that are stored in its region. If only one is stored, it
            must use that one.
        type: list
        elements: str
        default: []
  server_profile:
    description: The instance profile that RV(servers) suggests for an instance without one.
    type: str
    default: CloudWatchAgentServerRole
  hybrid_role_name:
    description: The name of the role of servers with O(servers[].hybrid).
    type: str
    default: CloudWatchAgentHybridRole
  config_label:
    description:
      - The label of versions that were proved. The file of an agent can have it in its name.
      - Two configurations whose files could have the same name are a failure.
    type: str
  simulate:
    description:
      - Whether to ask IAM itself what the servers may do, with C(iam:SimulatePrincipalPolicy).
      - This takes one call for each role and user, and one more for each configuration and each other resource that it
        needs. IAM throttles this call early.
    type: bool
    default: false
  checked:
    description: The servers, as this module has returned them with O(servers).
    type: list
    elements: dict
  results:
    description: By host, the result of the Ansible task that ran the script.
    type: dict
    default: {}
  from:
    description:
      - How to collect facts. V(ansible) only uses O(results), and V(run_command) only uses Run Command. V(auto) uses
        Run Command for servers that O(results) does not contain. V(none) collects none.
      - Except with V(none), a running server fails if nothing could be read on it. A server that EC2 or Systems Manager
        reports as a Windows server is not checked from the inside, and gets a note instead. With V(run_command), so
        does an on-premises server with an access key that O(results) does not contain.
    type: str
    choices: [auto, ansible, run_command, none]
    default: auto
  data:
    description:
      - With O(checked), whether to ask CloudWatch for the newest data of each server. This takes one call of
        C(ListMetrics) for each started 500 metrics of a name, one of C(GetMetricData) for each started 500 servers, and
        at most 100 of C(DescribeLogStreams) for each log group.
      - Otherwise, the result has the metric with which a server can prove a version that it is to run.
    type: bool
    default: false
  wait_timeout:
    description: How long to wait for answers from Run Command, in seconds.
    type: int
    default: 180
extends_documentation_fragment:
  - cwagent.iam.saved_key
  - cwagent.iam.attributes.reading
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
"""

EXAMPLES = r"""
- name: Check two servers through EC2 and IAM
  cwagent.iam.cwagent_server_info:
    servers:
      - host: web1
        region: eu-central-1
        instance_id: i-0123456789abcdef0
      - host: db1
        region: eu-central-1
        user: CloudWatchAgentServerUser-db1
        configs: [AmazonCloudWatch-databases]
  register: read

- name: Collect facts with Run Command
  cwagent.iam.cwagent_server_info:
    checked: "{{ read.servers }}"
    from: run_command
  register: checked_inside

- name: Fail if a server lacks something
  ansible.builtin.assert:
    that: checked_inside.failed_hosts == []
    fail_msg: "{{ checked_inside.failure }}"
"""

RETURN = r"""
servers:
  description:
    - The servers, in the order of the option, with what is known about each. A value is empty if it does not apply, and
      null if it is not known.
    - C(status) has for each check V(ok), V(FAIL), V(?) if the result is not known, or V(none) for an agent that is not
      installed. C(failures) and C(notes) are findings as in RV(cwagent.iam.cwagent_access_info#module:findings). A
      notice means that the result is not known.
    - Rules about the server are V(identity) (error or notice, its instance profile, access key or node is missing or
      wrong), V(permissions) (error or notice, its role or user lacks permissions), V(writing) (error, its role or user
      may write configurations), V(configuration) (error or notice, a configuration is not stored, or the server does
      not read it), V(endpoints) (error or notice, it does not reach an endpoint), V(agent) (error or notice, the agent
      does not run the stored configuration), V(data) (error or notice, its data does not arrive in CloudWatch).
    - C(runs_all) is whether the agent must run all of C(configs), instead of only some of them. C(seen_by) is how facts
      were collected, C(agent) the status of the agent, and C(apply_failure) why the stored configuration cannot be
      applied. C(needs_trial) is whether the agent has to prove the version that it is to run, C(commands) how it gets
      that version, and C(renames) the final names of its files. C(watch_seconds) is how long to watch the agent after
      its restart.
  returned: success
  type: list
  elements: dict
  sample:
    - {host: web1, region: eu-central-1, instance_id: i-0123456789abcdef0, user: "", key_id: "", is_hybrid: false,
       node_id: "", role: "", is_running: true, is_windows: false, profile: CloudWatchAgentServerRole,
       configs: [{name: AmazonCloudWatch-linux, version: 3, digest: 9f86d081884c7d65, is_readable: true}],
       runs_all: true, watch_seconds: 140, endpoints: {monitoring: "https://monitoring.eu-central-1.amazonaws.com"},
       possible_endpoints: {}, seen_by: ansible, agent: stopped, notes: [], apply_failure: "",
       status: {identity: ok, permissions: ok, configuration: ok, endpoints: ok, agent: FAIL},
       failures: [{rule: agent, severity: error, listed: true, object: web1, region: eu-central-1,
                   why: The agent is stopped., fix: Start it.}]}
unread:
  description: Everything that could not be read, as in RV(cwagent.iam.cwagent_access_info#module:unread).
  returned: always
  type: list
  elements: dict
failed_hosts:
  description: The hosts with failures.
  returned: with O(checked)
  type: list
  elements: str
failure:
  description: How many servers fail, with the first failure and the number of the others. Empty if none fails.
  returned: with O(checked)
  type: str
apply_hosts:
  description:
    - The hosts whose agents do not run the stored configuration, or have not proved it, including hosts that cannot get
      it.
  returned: with O(checked)
  type: list
  elements: str
first_hosts:
  description: Of these, one host for each configuration in each region. They come first in the playbook C(apply.yml).
  returned: with O(checked)
  type: list
  elements: str
apply_notes:
  description:
    - Sentences about the servers that the playbook C(apply.yml) skips, and how to fix that. Empty if it skips none.
  returned: with O(checked)
  type: list
  elements: str
lines:
  description:
    - A table of the servers, and each failure with its fix, in lines for a terminal of 80 columns.
    - Then, for each configuration and region, how many agents run each version. Without the permission
      C(ssm:GetParameterHistory), only the stored version is known.
  returned: with O(checked)
  type: list
  elements: str
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._agents.arrival import Arrivals
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import WAYS, Server
from ansible_collections.cwagent.iam.plugins.module_utils._agents.through_run_command import collect
from ansible_collections.cwagent.iam.plugins.module_utils._agents.verify import (
    Versions,
    describe_versions,
    read_servers,
    targets,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.verify_report import (
    describe_failure,
    describe_skipped,
    one_of_each,
    to_lines,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import run_module
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import check_label
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import PLACE_SPEC

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call

SPEC: dict[str, Any] = {
    "servers": {
        "type": "list",
        "elements": "dict",
        "options": {
            "host": {"type": "str", "required": True},
            "region": {"type": "str"},
            "instance_id": {"type": "str"},
            "user": {"type": "str"},
            "hybrid": {"type": "bool"},
            "configs": {"type": "list", "elements": "str", "default": []},
        },
        "required_one_of": [["instance_id", "user", "hybrid"]],
        "mutually_exclusive": [["instance_id", "user", "hybrid"]],
    },
    **PLACE_SPEC,
    "server_profile": {"type": "str", "default": "CloudWatchAgentServerRole"},
    "hybrid_role_name": {"type": "str", "default": "CloudWatchAgentHybridRole"},
    "config_label": {"type": "str"},
    "simulate": {"type": "bool", "default": False},
    "checked": {"type": "list", "elements": "dict"},
    "results": {"type": "dict", "default": {}},
    "from": {"type": "str", "choices": list(WAYS), "default": "auto"},
    "data": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 180},
}
RULES: dict[str, Any] = {
    "required_one_of": [["servers", "checked"]],
    "mutually_exclusive": [["servers", "checked"]],
}


def work(call: Call) -> dict[str, Any]:
    """Return the servers with the results of the checks."""
    params = call.params
    if params["servers"] is None and params["checked"] is None:
        raise InvalidInput("One of servers and checked is required.")  # Ansible takes null as a value
    return read(call) if params["checked"] is None else check(call)


def read(call: Call) -> dict[str, Any]:
    """Check servers through the EC2 and IAM APIs."""
    found = targets(call.params["servers"], call.region)
    if call.params["config_label"]:
        check_label(call.params["config_label"])
    servers, account = read_servers(call.client, found, call.params)
    return {
        "changed": False,
        "servers": [each.to_dict() for each in servers],
        "unread": [asdict(each) for each in account.unread],
    }


def check(call: Call) -> dict[str, Any]:
    """Return the servers with the facts from inside them, and a table of them."""
    params = call.params
    servers = [Server.from_dict(each) for each in params["checked"]]
    found = collect(call.client, servers, params["results"], params["from"], params["wait_timeout"])
    versions = Versions(call.client)
    arrivals = Arrivals(call.client, versions)
    others: list[str] = []
    if params["data"]:
        found, others = arrivals.check(found)
    else:
        found = arrivals.add_probes(found)
    lines = describe_versions(versions, found)
    return {
        "changed": False,
        "servers": [each.to_dict() for each in found],
        "failed_hosts": [each.host for each in found if each.failures],
        "failure": describe_failure(found),
        "apply_hosts": [each.host for each in found if each.is_applied_to],
        "first_hosts": one_of_each(found),
        "apply_notes": describe_skipped(found),
        "lines": [*to_lines(found), *lines, *others],
        "unread": [asdict(each) for each in (*versions.unread, *arrivals.unread)],
    }


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
