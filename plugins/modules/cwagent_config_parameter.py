#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_config_parameter
version_added: 1.0.0
short_description: Store a CloudWatch agent configuration in Systems Manager Parameter Store
description:
  - Validates an agent configuration and stores it, minified, as a parameter that the agents of many servers can share.
  - A parameter that has the same content already is not written, whatever its spaces and the order of its keys.
  - Uses only C(ssm:GetParameter) and C(ssm:PutParameter), since the agent's admin policy allows no more;
    with O(state=absent) also C(ssm:DeleteParameter).
author: cwagent.iam contributors (@cwagent)
options:
  name:
    description:
      - The name of the parameter. It must begin with C(AmazonCloudWatch-), since the agent's policies allow no others.
    type: str
    required: true
  config:
    description:
      - The configuration, as a mapping or as JSON text.
      - With O(state=present), exactly one of O(config) and O(src) is required.
    type: raw
  src:
    description: The path of a file with the configuration, on the host that runs the module.
    type: path
  schema:
    description:
      - The path of a JSON schema on the host that runs the module. The configuration is validated against it.
      - The agent installs its own at V(/opt/aws/amazon-cloudwatch-agent/doc/amazon-cloudwatch-agent-schema.json).
      - Requires the Python library C(jsonschema) on that host.
    type: path
  tier:
    description:
      - The tier of the parameter. V(Standard) allows 4096 bytes; V(Advanced) allows 8192 and costs money.
      - The default is the smallest that fits. A parameter in the Advanced tier remains there, since AWS cannot move it
        back; storing another configuration in it with V(Standard) fails.
      - The tier of a parameter that has the configuration already is not changed.
    type: str
    choices: [Standard, Advanced]
  use_instance_credentials:
    description:
      - Whether to use only the credentials that the instance metadata service has for this host. The AWS options for
        credentials, environment variables and credentials files are then ignored.
    type: bool
    default: false
  known_value:
    description:
      - The result RV(previous) of an earlier task, to skip reading the parameter again.
      - What someone else has stored since that task is overwritten.
    type: dict
    suboptions:
      value:
        description: The value of the parameter. Without it, there is no parameter.
        type: str
      type:
        description: The type of the parameter.
        type: str
        default: String
      version:
        description: The version of the parameter.
        type: int
  state:
    description: Whether the parameter should exist.
    type: str
    choices: [present, absent]
    default: present
  wait_timeout:
    description:
      - How long to retry when AWS denies access to the parameter, in seconds. It takes time until a permission that
        was just granted is known everywhere.
    type: int
    default: 0
extends_documentation_fragment:
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3
  - cwagent.iam.environment
seealso:
  - name: The agent's configuration file
    description: The sections of the configuration and their settings.
    link: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-Configuration-File-Details.html
"""

EXAMPLES = r"""
- name: Store the configuration of the Linux servers
  cwagent.iam.cwagent_config_parameter:
    name: AmazonCloudWatch-linux
    src: files/linux.json
    region: eu-central-1

- name: Store a configuration written in YAML
  cwagent.iam.cwagent_config_parameter:
    name: AmazonCloudWatch-web
    config:
      metrics:
        metrics_collected:
          mem:
            measurement: [mem_used_percent]
"""

RETURN = r"""
parameter:
  description: The parameter; null when there is none. In check mode, its version is the one that it would get.
  returned: success
  type: dict
  sample:
    name: AmazonCloudWatch-linux
    size: 78
    value: '{"metrics":{"metrics_collected":{"mem":{"measurement":["mem_used_percent"]}}}}'
    version: 3
region:
  description: The region of the parameter.
  returned: success
  type: str
  sample: eu-central-1
window_parameter:
  description:
    - The name and the region of the parameter, for the option O(cwagent.iam.cwagent_admin_window#module:parameters) of
      M(cwagent.iam.cwagent_admin_window).
  returned: success
  type: dict
  sample: {name: AmazonCloudWatch-linux, region: eu-central-1}
previous:
  description: What was stored before, for O(known_value); empty when there was no parameter.
  returned: success
  type: dict
  sample: {type: String, value: '{"agent":{}}', version: 2}
steps:
  description:
    - The steps that were taken, or would be taken in check mode.
    - If the task failed, all planned steps, or none if it failed before the first one. RV(done) and RV(not_done) say
      which were taken.
  returned: always
  type: list
  elements: str
  sample: ["store the configuration in parameter 'AmazonCloudWatch-linux'"]
counts:
  description: How many of the RV(steps) create, update and delete something; after a failure, of those that were done.
  returned: when a plan was made
  type: dict
  sample: {create: 1, update: 0, delete: 0}
done:
  description: The steps that were taken before the task failed.
  returned: when the task failed after a plan was made
  type: list
  elements: str
  sample: []
not_done:
  description: The steps that were not taken; for each item, the failed one first.
  returned: when a step failed
  type: list
  elements: str
  sample: ["store the configuration in parameter 'AmazonCloudWatch-linux'"]
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import (
    desired_parameter,
    known_state,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import LIMITS
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import ParameterResource

if TYPE_CHECKING:
    from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

SPEC = {
    "name": {"type": "str", "required": True},
    "config": {"type": "raw"},
    "src": {"type": "path"},
    "schema": {"type": "path"},
    "tier": {"type": "str", "choices": list(LIMITS)},
    "use_instance_credentials": {"type": "bool", "default": False},
    "known_value": {
        "type": "dict",
        "options": {
            "value": {"type": "str"},
            "type": {"type": "str", "default": "String"},
            "version": {"type": "int"},
        },
    },
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "wait_timeout": {"type": "int", "default": 0},
    **_module.ENVIRONMENT_SPEC,
}


def select_gateway(module: AnsibleAWSModule) -> Aws:
    """Return the gateway to AWS, with the instance's credentials or with the module's."""
    if not module.params["use_instance_credentials"]:
        return _module.aws_gateway(module)
    # Only this case needs it, and it imports Ansible's HTTP client.
    from ansible_collections.cwagent.iam.plugins.module_utils._imds import MetadataService  # noqa: PLC0415  see above

    metadata = MetadataService()

    def client(service: str, **more: Any) -> Any:
        return module.client(service, **metadata.credentials(), profile_name=None, **more)

    # The service can show the credentials of the earlier role for a while after it shows the new profile.
    return Aws(client, module.params["wait_timeout"], renews_clients=True)


def main() -> None:
    module = _module.aws_module(
        SPEC, mutually_exclusive=[("config", "src")], required_if=[("state", "present", ["config", "src"], True)]
    )
    with _module.fail_on_error(module):
        desired, known = desired_parameter(module.params), known_state(module.params["known_value"])
        resource = ParameterResource(select_gateway(module), module.params["name"], desired, module.region, known)
        _module.run(module, resource)


if __name__ == "__main__":
    main()
