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
  - jsonschema >= 4.0.0, for O(agent_schema)
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
  agent_schema:
    description:
      - The JSON schema of the agent, as a path on the host that runs the module, as a mapping or as JSON text. The
        configuration is validated against it, in addition to the rules of this module.
      - The agent installs its schema at V(/opt/aws/amazon-cloudwatch-agent/doc/amazon-cloudwatch-agent-schema.json).
      - Requires the Python library C(jsonschema) on that host. If it is missing, O(config_validation=strict) refuses
        the configuration where O(agent_schema) is a path. Otherwise, the module prints a warning.
    type: raw
  parameter_tier:
    description:
      - The tier of the parameter. V(Standard) allows 4096 bytes; V(Advanced) allows 8192 and costs money.
      - The default is the smallest that fits. A parameter in the Advanced tier remains there, because AWS cannot move
        it back. Storing another configuration in it with V(Standard) fails.
      - The tier of a parameter that already contains the configuration is not changed.
    type: str
    choices: [Standard, Advanced]
  state:
    description:
      - V(present) stores the configuration, V(absent) deletes the parameter, or all of them with O(split_config).
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
findings:
  description:
    - The problems of the configuration, each as in RV(cwagent.iam.cwagent_access_info#module:findings), with C(file),
      C(line) and C(column), which are null if they are not known. C(object) is the parameter with the JSON path.
    - O(config_validation) decides about an error of a lenient rule.
    - Rules about the configuration are V(file) (error, a file cannot be read), V(json) (error, the text is not JSON),
      V(yaml) (error, an OpenTelemetry configuration is not YAML), V(reference) (error, Parameter Store refuses two
      braces in a text), V(merge) (error, several configurations cannot be merged), V(size) (error, it is too large for
      its parameter), V(problems) (error, it breaks so many rules that some are left out), V(section) (error or warning,
      a section is unknown, or none makes the agent collect), V(unknown-key) (lenient error or warning, a key is
      unknown), V(misspelled) (lenient error or warning, a name is nearly a known one), V(missing-key) (lenient error, a
      key is missing), V(wrong-value) (lenient error, a value is not valid), V(duplicate-entry) (lenient error, a list
      has the same entry twice), V(log-group) (lenient error, a log group has two retentions or classes), V(placeholder)
      (lenient error or warning, a placeholder is unknown), V(pattern) (lenient error, a regular expression is not
      valid), V(schema) (lenient error or warning, the agent's schema was not used), V(run-as-user) (warning, the
      agent's user may not read a log file), V(platform) (warning, only servers of another platform collect a section),
      V(on-premises) (warning, a setting does not work on premises), V(permission) (unlisted notice, it needs more than
      the server policy allows), V(opentelemetry) (unlisted notice, only its syntax was checked).
  returned: with O(state=validated), and when the configuration is not valid
  type: list
  elements: dict
  sample:
    - {rule: unknown-key, severity: error, object: AmazonCloudWatch-linux $.agent.reigon, why: unknown key,
       fix: "Did you mean 'region'?", region: null, listed: true, file: linux.json, line: 2, column: 13}
problem_lines:
  description: RV(findings) as lines of text.
  returned: as RV(findings)
  type: list
  elements: str
failure:
  description:
    - The first problem that makes the module refuse the configuration, and the number of the others. Empty if it is not
      refused.
  returned: as RV(findings)
  type: str
window_parameters:
  description:
    - The name and the region of each parameter that is written, for the option
      O(cwagent.iam.cwagent_admin_window#module:parameters) of M(cwagent.iam.cwagent_admin_window).
  returned: success
  type: list
  elements: dict
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.options import (
    ABSENT,
    RULES,
    SPEC,
    TAGGED,
    VALIDATED,
    GivenConfig,
    declared_config,
    desired_tags,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter import (
    READ_BACK_SECONDS,
    ParameterResource,
    TagsResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import (
    Parameter,
    check_parameter_name,
    to_result,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import minify
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import aws_gateway, run_module
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call


def validate(call: Call) -> dict[str, Any]:
    """Validate the configuration."""
    desired, found = declared_config(GivenConfig.of(call.params))
    parameters = [to_result(each.name, Parameter(each.value)) for each in desired.parameters]
    return {"changed": False, "config": minify(desired.config), "parameters": parameters, **found.to_result()}


def tag(call: Call) -> dict[str, Any]:
    """Set the tags of the parameter."""
    name, tags = call.params["name"], desired_tags(call.params["tags"])
    check_parameter_name(name)
    resource = TagsResource(aws_gateway(call), name, tags, call.region)
    return converge(resource, call.check_mode, READ_BACK_SECONDS)


def work(call: Call) -> dict[str, Any]:
    """Validate, store, tag or delete a configuration."""
    if call.params["state"] == VALIDATED:
        return validate(call)
    if call.params["state"] == TAGGED:
        return tag(call)
    is_absent = call.params["state"] == ABSENT
    desired, found = declared_config(GivenConfig.of(call.params), is_absent=is_absent)
    resource = ParameterResource(aws_gateway(call), desired, call.region)
    wait = max(READ_BACK_SECONDS, call.params["wait_timeout"]) if desired.parameters else None
    result = converge(resource, call.check_mode, wait)
    result["warnings"] = [*(f"{each.source}: {each}" for each in found.warnings), *result["warnings"]]
    if desired.parameters:
        result["config"] = minify(desired.config)
    return result


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
