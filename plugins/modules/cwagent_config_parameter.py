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
    A configuration that is too large for one parameter can be split into several, which the agent merges.
  - The module reports all problems of a configuration at once, with their places. A configuration with an error is
    never stored.
  - A parameter that already has the same content is not written, even if spaces and the order of keys differ.
  - With C(--diff), the changes of a configuration are shown with their JSON paths, one line for each change. Long
    values are shortened. A new or deleted configuration is shown as a whole.
  - After writing a parameter, the module reads it with the same credentials, and fails if it has another value.
  - Uses only C(ssm:GetParameter) and C(ssm:PutParameter), because the agent's admin policy allows no more.
    O(state=absent) needs C(ssm:DeleteParameter) too. O(tags) needs C(ssm:ListTagsForResource) and
    C(ssm:AddTagsToResource) too.
author: cwagent.iam contributors (@cwagent)
requirements:
  - jsonschema >= 4.0.0, for O(schema)
options:
  name:
    description:
      - The name of the parameter. It must begin with C(AmazonCloudWatch-), because the agent's policies allow no other
        names.
      - If the name ends in C(-linux) or C(-windows), the configuration is for that platform. The module then warns
        about sections that only the other platform has.
      - If the name ends in C(.yaml) or C(.yml), the configuration is one text in YAML for OpenTelemetry. The module
        stores it as it is, and checks only its syntax if Python has PyYAML.
    type: str
    required: true
  config:
    description:
      - The configuration, as a mapping or as JSON text. If it is a list of several, the module merges them in the same
        way as the agent.
      - O(state=present) and O(state=validated) require exactly one of O(config) and O(src).
    type: raw
  src:
    description:
      - The path of a file with the configuration, on the host that runs the module. If it is a list of several, the
        module merges them in the same way as the agent.
    type: list
    elements: path
  schema:
    description:
      - The JSON schema of the agent, as a path on the host that runs the module, as a mapping or as JSON text. The
        configuration is validated against it, in addition to the rules of this module.
      - The agent installs its schema at V(/opt/aws/amazon-cloudwatch-agent/doc/amazon-cloudwatch-agent-schema.json).
      - Requires the Python library C(jsonschema) on that host. If it is missing, O(validation=strict) refuses the
        configuration where O(schema) is a path. Otherwise, the module prints a warning.
    type: raw
  tier:
    description:
      - The tier of the parameter. V(Standard) allows 4096 bytes; V(Advanced) allows 8192 and costs money.
      - The default is the smallest that fits. A parameter in the Advanced tier remains there, because AWS cannot move
        it back. Storing another configuration in it with V(Standard) fails.
      - The tier of a parameter that already contains the configuration is not changed.
    type: str
    choices: [Standard, Advanced]
  use_instance_credentials:
    description:
      - Whether to use only the credentials that the instance metadata service provides on this host. The AWS options
        for credentials, environment variables and credentials files are then ignored.
    type: bool
    default: false
  instance_role:
    description:
      - With O(use_instance_credentials), the role whose credentials are used. The module does not use credentials of
        another role. The instance has those before it gets this role, and again after another run has restored its
        profile.
    type: str
  saved_key:
    description:
      - The access key to use, which M(cwagent.iam.cwagent_iam_user) saved for a user. No other credentials are used on
        the host.
      - The controller reads it with the AWS credentials in the options of this task, or without such options with the
        credentials of its environment. It sends the key to the host for this task only.
      - The secret never appears on a disk of the host, in output at any verbosity, or in the arguments or the
        environment of a process. Without pipelining, Ansible would write the options of the module to a temporary file.
        So the task turns on pipelining, and fails where that is impossible. It cannot run with C(async).
    type: dict
    suboptions:
      user:
        description: The name of the user.
        type: str
        required: true
      key_store:
        description:
          - Where the access key is saved. V(file) is a file C(<user name>.credentials) on the controller,
            V(parameter_store) a SecureString parameter of Systems Manager, V(secrets_manager) a secret of Secrets
            Manager.
        type: str
        choices: [file, parameter_store, secrets_manager]
        default: file
      key_store_directory:
        description: The folder on the controller with the files, for O(saved_key.key_store=file).
        type: path
        default: ~/.cwagent/credentials
      key_store_prefix:
        description: The prefix of the names of parameters and secrets. The name of the user follows it.
        type: str
        default: /cwagent/credentials/
      credentials_profile:
        description: The AWS profile in the saved file.
        type: str
        default: AmazonCloudWatchAgent
      region:
        description:
          - The region in which the access key is saved. The default is the region of the controller's environment.
        type: str
      access_key:
        description: Set by the controller. A task must not set it.
        type: str
      secret_key:
        description: Set by the controller. A task must not set it.
        type: str
  known_values:
    description:
      - The result RV(previous) of an earlier task, to skip reading the parameters again.
      - Changes that someone else has stored since that task are overwritten.
    type: dict
  state:
    description:
      - V(present) stores the configuration, V(absent) deletes the parameter, or all of them with O(split).
      - V(validated) only validates the configuration. It fails if there is an error, and makes no AWS call.
      - V(tagged) only sets O(tags). It neither reads nor writes the configuration. So a principal that may only set
        tags can tag parameters that another principal has stored.
    type: str
    choices: [present, absent, validated, tagged]
    default: present
  tags:
    description:
      - Tags to set on the parameters. Other tags stay. When omitted or empty, tags are neither read nor written.
      - A new parameter is created with them. AWS does not allow tags in a call that overwrites a parameter, so an
        existing parameter gets them with a second call.
    type: dict
  wait_timeout:
    description:
      - How long to retry when AWS denies access to the parameter, in seconds. A permission that was just granted takes
        some time to take effect everywhere.
      - The module also reads a stored parameter again for up to this long, but at least 15 seconds, until it has the
        new value.
    type: int
    default: 0
extends_documentation_fragment:
  - cwagent.iam.configuration
  - cwagent.iam.steps
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
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

- name: Tag the configuration that an instance has stored
  cwagent.iam.cwagent_config_parameter:
    name: AmazonCloudWatch-linux
    state: tagged
    tags:
      team: operations
    region: eu-central-1

- name: Store a configuration written in YAML
  cwagent.iam.cwagent_config_parameter:
    name: AmazonCloudWatch-web
    config:
      metrics:
        metrics_collected:
          mem:
            measurement: [mem_used_percent]

- name: Store the configuration from an on-premises host with the access key of the admin user
  cwagent.iam.cwagent_config_parameter:
    name: AmazonCloudWatch-linux
    config: "{{ lookup('ansible.builtin.file', 'linux.json') }}"
    region: eu-central-1
    saved_key:
      user: CloudWatchAgentAdminUser
      key_store: parameter_store
      region: eu-central-1
"""

RETURN = r"""
parameters:
  description:
    - The parameters, in the order in which a server must fetch the first and append the others. Empty when they are
      absent.
    - In check mode, their versions are the versions that they would get. With O(state=validated), they have no
      versions.
    - With O(tags), they have C(tags), with all tags of the parameter. With O(state=tagged), they have only C(name) and
      C(tags).
  returned: success
  type: list
  elements: dict
surplus:
  description: The names of further parameters, such as C(NAME-3), that an earlier, larger configuration may have left.
  returned: success
  type: list
  elements: str
region:
  description: The region of the parameters.
  returned: success
  type: str
config:
  description: The whole configuration as JSON text, minified.
  returned: success, with O(state=present) and O(state=validated)
  type: str
problems:
  description: The problems of the configuration.
  returned: with O(state=validated), and when the configuration is not valid
  type: list
  elements: dict
  contains:
    file: {description: The file or the option., type: str, returned: always, sample: linux.json}
    path: {description: The JSON path., type: str, returned: always, sample: $.agent.reigon}
    line: {description: The line in the text., type: int, returned: where it is known, sample: 3}
    column: {description: The column in the text., type: int, returned: where it is known, sample: 5}
    rule: {description: The rule., type: str, returned: always, sample: unknown-key}
    severity: {description: "V(error), V(warning) or V(notice).", type: str, returned: always, sample: error}
    message: {description: The problem., type: str, returned: always, sample: unknown key 'reigon'}
    allowed: {description: The allowed values., type: str, returned: always, sample: ""}
    near: {description: The known name that a misspelled one resembles., type: str, returned: always, sample: region}
problem_lines:
  description: RV(problems) as lines of text.
  returned: as RV(problems)
  type: list
  elements: str
failure:
  description:
    - The first problem that makes the module refuse the configuration, and the number of the others. Empty if it is not
      refused.
  returned: as RV(problems)
  type: str
findings:
  description:
    - (internal) RV(problems) for the filters P(cwagent.iam.sarif#filter) and P(cwagent.iam.junit#filter).
  returned: as RV(problems)
  type: list
  elements: dict
window_parameters:
  description:
    - The name and the region of each parameter that is written, for the option
      O(cwagent.iam.cwagent_admin_window#module:parameters) of M(cwagent.iam.cwagent_admin_window).
  returned: success
  type: list
  elements: dict
previous:
  description:
    - By name, the parameters as they were before, for O(known_values). Empty for a parameter that did not exist.
  returned: success
  type: dict
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.gateway import select_gateway
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import (
    ABSENT,
    RULES,
    SPEC,
    TAGGED,
    VALIDATED,
    GivenConfig,
    desired_config,
    desired_tags,
    known_state,
    refusal,
    validate_config,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import (
    Parameter,
    check_parameter_name,
    to_result,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import (
    ParameterResource,
    TagsResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.split import minify
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

# How long to wait at least until Parameter Store shows what was written.
READ_BACK_SECONDS = 15


def validate(call: Call) -> dict[str, Any]:
    """Validate the configuration."""
    found = validate_config(GivenConfig.of(call.params))
    if found.desired is None:
        raise InvalidInput(refusal(found), **found.to_result())
    result = found.to_result()
    parameters = [to_result(each.name, Parameter(each.value)) for each in found.desired.parameters]
    return {"changed": False, "config": minify(found.desired.config), "parameters": parameters, **result}


def tag(call: Call) -> dict[str, Any]:
    """Set the tags of the parameter."""
    name, tags = call.params["name"], desired_tags(call.params["tags"])
    check_parameter_name(name)
    resource = TagsResource(select_gateway(call), name, tags, call.region)
    return converge(resource, call.check_mode, READ_BACK_SECONDS)


def work(call: Call) -> dict[str, Any]:
    """Validate, store, tag or delete a configuration."""
    if call.params["state"] == VALIDATED:
        return validate(call)
    if call.params["state"] == TAGGED:
        return tag(call)
    is_absent = call.params["state"] == ABSENT
    desired, warnings = desired_config(GivenConfig.of(call.params), is_absent=is_absent)
    known = known_state(call.params["known_values"], desired.name)
    resource = ParameterResource(select_gateway(call), desired, call.region, known)
    wait = max(READ_BACK_SECONDS, call.params["wait_timeout"]) if desired.parameters else None
    result = converge(resource, call.check_mode, wait)
    result["warnings"] = [*warnings, *result["warnings"]]
    if desired.parameters:
        result["config"] = minify(desired.config)
    return result


def main() -> None:
    _module.run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
