#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_config_parameter
version_added: 1.0.0
short_description: Store a CloudWatch agent configuration in Systems Manager Parameter Store
description:
  - Validates an agent configuration and stores it, minified, as a parameter that the agents of many servers can share.
  - A parameter that already says the same is not written, whatever its spaces and the order of its keys.
  - Uses only C(ssm:GetParameter) and C(ssm:PutParameter), since the agent's admin policy grants no more;
    O(state=absent) also C(ssm:DeleteParameter).
author: cwagent.iam contributors (@cwagent)
options:
  name:
    description:
      - The name of the parameter. It begins with C(AmazonCloudWatch-), as the agent's policies allow no others.
    type: str
    required: true
  config:
    description: The configuration, as a mapping or as its JSON text.
    type: raw
  src:
    description: The path of a file with the configuration, on the host that runs the module.
    type: path
  schema:
    description:
      - The path of a JSON schema to validate the configuration against, on the host that runs the module.
      - The agent installs its own at V(/opt/aws/amazon-cloudwatch-agent/doc/amazon-cloudwatch-agent-schema.json).
      - Needs the Python library C(jsonschema) there.
    type: path
  tier:
    description:
      - The tier of the parameter. V(Standard) holds 4096 bytes; V(Advanced) holds 8192 and is charged for.
      - The default is the smallest that fits. A parameter that is Advanced stays so, since AWS takes no step back.
      - Which tier a stored parameter has is not compared.
    type: str
    choices: [Standard, Advanced]
  as_instance:
    description:
      - Whether to use the credentials that the instance metadata service gives to this host, and no others; the AWS
        options for credentials, environment variables and files are ignored then.
    type: bool
    default: false
  stored:
    description:
      - What is stored, as an earlier task of this module returned it, so that it is not read again. It is read by
        default.
      - What somebody else has stored since that task is replaced.
    type: dict
    suboptions:
      value:
        description: The text. Without it, nothing is stored.
        type: str
      type:
        description: The type of the parameter.
        type: str
        default: String
      version:
        description: The version of the parameter.
        type: int
  state:
    description: Whether the parameter is to be there.
    type: str
    choices: [present, absent]
    default: present
  wait_timeout:
    description:
      - How long to go on trying when AWS refuses to store the configuration, in seconds. A right that was given a
        moment ago takes time to arrive everywhere.
    type: int
    default: 0
extends_documentation_fragment:
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - name: The agent's configuration file
    description: What the sections mean.
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
  description: The parameter; null when there is none. The version is the one the parameter has, or would get.
  returned: success
  type: dict
  sample:
    name: AmazonCloudWatch-linux
    size: 71
    value: '{"metrics":{"metrics_collected":{"mem":{"measurement":["mem_used_percent"]}}}}'
    version: 3
region:
  description: The region of the parameter.
  returned: success
  type: str
  sample: eu-central-1
stored:
  description: What was stored before; empty when there was nothing.
  returned: success
  type: dict
  sample: {type: String, value: '{"agent":{}}', version: 2}
steps:
  description:
    - What was done, or in check mode would be done.
    - When the task has failed, what was to be done; empty where nothing was begun. C(done) and C(not_done) tell then
      what of it was.
  returned: always
  type: list
  elements: str
  sample: ["store the configuration in parameter 'AmazonCloudWatch-linux'"]
"""

from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.files import check_schema, read_config
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import ParameterResource

if TYPE_CHECKING:
    from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

SPEC = {
    "name": {"type": "str", "required": True},
    "config": {"type": "raw"},
    "src": {"type": "path"},
    "schema": {"type": "path"},
    "tier": {"type": "str", "choices": list(config_plan.LIMITS)},
    "as_instance": {"type": "bool", "default": False},
    "stored": {
        "type": "dict",
        "options": {
            "value": {"type": "str"},
            "type": {"type": "str", "default": "String"},
            "version": {"type": "int"},
        },
    },
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "wait_timeout": {"type": "int", "default": 0},
}


def wanted(module: AnsibleAWSModule) -> config_plan.DesiredParameter | None:
    """What the options ask for. :raises InvalidInput: the agent or Parameter Store would refuse it."""
    params = module.params
    config_plan.check_parameter_name(params["name"])
    if params["state"] == "absent":
        return None
    config = read_config(params["config"], params["src"])
    if params["schema"]:
        check_schema(config, params["schema"])
    desired = config_plan.DesiredParameter(params["name"], config, params["tier"])
    config_plan.select_tier(None, desired)
    return desired


def aws(module: AnsibleAWSModule) -> Aws:
    """The way to AWS, as the instance or with the module's credentials."""
    if not module.params["as_instance"]:
        return _module.aws(module)
    # Only an instance needs it, and it brings Ansible's HTTP client.
    from ansible_collections.cwagent.iam.plugins.module_utils._imds import MetadataService  # noqa: PLC0415  see above

    identity = {**MetadataService().credentials(), "profile_name": None}
    return Aws(lambda service, **more: module.client(service, **identity, **more), module.params["wait_timeout"])


def main() -> None:
    module = _module.aws_module(
        SPEC, mutually_exclusive=[("config", "src")], required_if=[("state", "present", ["config", "src"], True)]
    )
    with _module.fail_on_error(module):
        desired = wanted(module)
        told = module.params["stored"]
        resource = ParameterResource(
            aws(module),
            module.params["name"],
            desired,
            module.region,
            is_known=told is not None,
            stored=config_plan.Parameter(**told) if told and told["value"] is not None else None,
        )
        _module.run(module, resource)


if __name__ == "__main__":
    main()
