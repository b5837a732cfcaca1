#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_account_info
version_added: 1.0.0
short_description: (internal) Check the account of the credentials, and find its servers and their policy
description:
  - Fails if the credentials belong to another account than O(account_id).
  - Finds the EC2 instances that are servers, and the instance that stores the configuration, with filters, in several
    regions at once.
  - Calls C(sts:GetCallerIdentity) only with O(account_id), and C(ec2:DescribeInstances) only with filters. The latter
    takes one call for each page of a thousand instances, in each region and for each kind of instance.
author: cwagent.iam contributors (@cwagent)
options:
  account_id:
    description: The ID of the account that the credentials must belong to.
    type: str
  regions:
    description: The regions in which instances are found. The default is the region of the module.
    type: list
    elements: str
    default: []
  server_filters:
    description:
      - Filters of C(ec2:DescribeInstances) that the servers match, each with a value or a list of values. Without
        filters, no servers are found.
      - Without C(instance-state-name) among the filters, the module finds pending, running, stopping and stopped
        instances.
    type: dict
    default: {}
  admin_filters:
    description:
      - The same for the instance that stores the configuration. It is an error if more than one instance matches, or if
        none matches in an account that has servers.
    type: dict
    default: {}
  admin_instance_id:
    description: The ID of that instance, instead of O(admin_filters).
    type: str
  admin_required:
    description:
      - Whether it is an error if there is not exactly one such instance. With V(false), all instances that match are
        returned as servers.
    type: bool
    default: true
  find_server_policy:
    description:
      - Whether to return the policy that a run gives the servers where the user chooses none. This calls
        C(iam:ListPolicies), and C(iam:GetAccountAuthorizationDetails) if a principal has a fitted policy.
      - The module prints a warning if principals of this collection have different policies.
    type: bool
    default: false
extends_documentation_fragment:
  - cwagent.iam.attributes.reading
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
"""

EXAMPLES = r"""
- name: Find the servers of the account
  cwagent.iam.cwagent_account_info:
    account_id: "123456789012"
    regions: [eu-central-1, us-east-1]
    server_filters:
      tag:agent: "yes"
    admin_filters:
      tag:Name: monitoring
  register: account
"""

RETURN = r"""
instances:
  description: By region, the IDs of the servers. Regions without servers are left out.
  returned: success
  type: dict
admin_instance:
  description: The instance that stores the configuration; null if there is none.
  returned: success
  type: dict
server_policy:
  description: V(fitted) if a principal has a fitted policy, and otherwise V(aws).
  returned: with O(find_server_policy=true)
  type: str
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import run_module
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal import find_server_policy
from ansible_collections.cwagent.iam.plugins.module_utils._servers.find_servers import (
    ID_FILTER,
    Wanted,
    check_account,
    find_instances,
)

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call

SPEC: dict[str, Any] = {
    "account_id": {"type": "str"},
    "regions": {"type": "list", "elements": "str", "default": []},
    "server_filters": {"type": "dict", "default": {}},
    "admin_filters": {"type": "dict", "default": {}},
    "admin_instance_id": {"type": "str"},
    "admin_required": {"type": "bool", "default": True},
    "find_server_policy": {"type": "bool", "default": False},
}
RULES: dict[str, Any] = {"mutually_exclusive": [["admin_filters", "admin_instance_id"]]}


def work(call: Call) -> dict[str, Any]:
    """Return the servers of an account and its admin instance."""
    options = call.params
    if options["account_id"]:
        check_account(Aws(call.client), options["account_id"])
    instance_id = options["admin_instance_id"]
    admin = {ID_FILTER: instance_id} if instance_id else options["admin_filters"]
    regions = options["regions"] or [call.region]
    aws_in = {region: Aws(partial(call.client, region=region)) for region in regions}
    found = find_instances(aws_in, Wanted(options["server_filters"], admin, options["admin_required"]))
    return {"changed": False, **found.to_dict(), **_server_policy(call)}


def _server_policy(call: Call) -> dict[str, Any]:
    """Return the policy that a run gives the servers, if the task needs it."""
    if not call.params["find_server_policy"]:
        return {}
    chosen, _arns = find_server_policy(Aws(call.client), None)
    return {"server_policy": chosen.name, "warnings": [chosen.notice] * bool(chosen.notice)}


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
