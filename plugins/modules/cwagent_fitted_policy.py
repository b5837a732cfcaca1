#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_fitted_policy
version_added: 1.0.0
short_description: Manage the fitted policies of an account
description:
  - Creates managed policies that allow what the agents with the stored configurations need. Servers get
    C(CloudWatchAgentFittedServerPolicy). Admin principals get it and C(CloudWatchAgentFittedAdminPolicy), which allows
    storing. A policy that would be longer than IAM allows continues in another one, whose name ends with C(-2).
  - An account has one set of them, with the path C(/cwagent/). They cover all parameters of the account whose names
    begin with C(AmazonCloudWatch-), whichever inventory stored them, and the parameters for O(configs).
  - Of each parameter, they cover every version with a label, and every version since the one with the label
    C(cwagent-applied). Without this label, they cover all versions that Parameter Store keeps.
  - Run the module before the configurations are stored. It only adds statements, unless O(narrow) is true. Several
    runs at the same time end with one policy for all of them.
  - A tag whose key begins with C(cwagent:storing-) lists the parameters that a run is about to store. No run narrows
    the policies until they are stored, or for a day.
  - The module does not attach the policies. M(cwagent.iam.cwagent_iam_role) and M(cwagent.iam.cwagent_iam_user) do.
  - Permissions that no version of these parameters needs are removed from the policies, with a warning. Somebody else
    has added them. Other permissions stay until O(narrow) removes them.
  - A policy that this collection did not create is refused. The tag C(cwagent:managed) shows who created it.
author: cwagent.iam contributors (@cwagent)
options:
  state:
    description:
      - Whether the policies should exist.
      - V(absent) deletes the policies that no principal has. The others are listed in RV(blockers), with a warning.
    type: str
    choices: [present, absent]
    default: present
  read_regions:
    description:
      - The regions whose parameters the policies cover. By default, these are all regions that are enabled in the
        account, which needs C(ec2:DescribeRegions).
      - Nothing is narrowed while the policies allow reading configurations in other regions.
    type: list
    elements: str
    default: []
  ignored_parameters:
    description:
      - The names of parameters that the policies do not cover. By default, a parameter is refused if it cannot be read,
        or if no fitted policy is possible for one of its versions.
      - An entry as C(eu-central-1:AmazonCloudWatch-old) leaves the parameter out in this region only.
    type: list
    elements: str
    default: []
  narrow:
    description:
      - Whether to remove everything that the covered versions do not need. Use it only after every server has applied
        the current versions. Without policies, nothing is created.
      - The policies stay as they are, with a warning, while another run changes them or is about to store.
      - They also stay as they are while they allow reading a parameter that does not exist any more, or is in a region
        that is not read. Agents may still run its configuration. O(ignored_parameters) is the way out.
    type: bool
    default: false
  create:
    description:
      - Whether tasks afterwards attach the policies to all servers. Set it to V(false) where none does.
      - With V(false), a run that is about to store a configuration is refused if the servers need several policies, or
        if one of the policies does not exist yet while others do. Servers could lack one of them.
    type: bool
    default: true
  tags:
    description: The tags of the policies. Other tags stay.
    type: dict
    default: {}
extends_documentation_fragment:
  - cwagent.iam.configs
  - cwagent.iam.configuration
  - cwagent.iam.planned
  - cwagent.iam.steps
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
"""

EXAMPLES = r"""
- name: Let the agents do what a configuration needs before it is stored
  cwagent.iam.cwagent_fitted_policy:
    configs:
      - name: AmazonCloudWatch-linux
        file: linux.json
    region: eu-central-1
  register: fitted

- name: Attach the policies to the servers instead of AWS's policy
  cwagent.iam.cwagent_iam_role:
    name: CloudWatchAgentServerRole
    access: server
    access_policies: "{{ fitted.server_policies }}"

- name: Remove what no server needs any more
  cwagent.iam.cwagent_fitted_policy:
    narrow: true
    region: eu-central-1
"""

RETURN = r"""
server_policies:
  description: The ARNs of the policies for servers. In check mode, they include the policies that would be created.
  returned: with O(state=present)
  type: list
  elements: str
  sample: [arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFittedServerPolicy]
admin_policies:
  description: The ARNs of the policies that admin principals need besides RV(server_policies).
  returned: with O(state=present)
  type: list
  elements: str
  sample: [arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFittedAdminPolicy]
blockers:
  description: Why policies are not deleted.
  returned: with O(state=absent)
  type: list
  elements: str
  sample:
    - >-
      policy arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFittedServerPolicy is attached to role
      'ShopBackend'
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_policy import RULES, SPEC, resource
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import run_module
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call


def work(call: Call) -> dict[str, Any]:
    """Bring the fitted policies of the account to their desired state."""
    return converge(resource(call), call.check_mode, call.params["wait_timeout"] if call.params["wait"] else None)


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
