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
    One that is too large for a parameter can be split into several, which the agent merges.
  - All that is wrong with a configuration is reported at once, with its place. One with an error is never stored.
  - A parameter that has the same content already is not written, whatever its spaces and the order of its keys.
  - With C(--diff), a change of the configuration is shown by JSON path, one line for each change. Long values are
    shortened. A configuration that is new or deleted is shown as a whole.
  - After it was written, a parameter is read with the same credentials. The task fails if it has another value.
  - Uses only C(ssm:GetParameter) and C(ssm:PutParameter), since the agent's admin policy allows no more;
    with O(state=absent) also C(ssm:DeleteParameter), and with O(tags) also C(ssm:ListTagsForResource) and
    C(ssm:AddTagsToResource).
author: cwagent.iam contributors (@cwagent)
requirements:
  - jsonschema >= 4.0.0, for O(schema)
options:
  name:
    description:
      - The name of the parameter. It must begin with C(AmazonCloudWatch-), since the agent's policies allow no others.
      - A name that ends in C(-linux) or C(-windows) says which platform the configuration is for. The module warns
        about sections that only the other platform has.
    type: str
    required: true
  config:
    description:
      - The configuration, as a mapping or as JSON text; or a list of several, which are merged as the agent merges
        them.
      - Unless the parameter is to be absent, exactly one of O(config) and O(src) is required.
    type: raw
  src:
    description:
      - The path of a file with the configuration, on the host that runs the module; or a list of several, which are
        merged as the agent merges them.
    type: list
    elements: path
  validation:
    description:
      - What happens to what is doubtful, such as a key that the agent may not know, and to what O(schema) does not
        allow. V(strict) refuses it, V(warn) warns of it, and V(off) skips O(schema) and the warnings.
      - What cannot work is refused in any case. That is a text that is not JSON, a section that the agent does not
        have, C({{) in a text, and a configuration that is too large.
    type: str
    choices: [strict, warn, "off"]
    default: strict
  schema:
    description:
      - The JSON schema of the agent, as a path on the host that runs the module, as a mapping or as JSON text. The
        configuration is validated against it, besides the rules of this module.
      - The agent installs its own at V(/opt/aws/amazon-cloudwatch-agent/doc/amazon-cloudwatch-agent-schema.json).
      - Requires the Python library C(jsonschema) on that host. Where it is missing, that is doubtful with a path, and
        otherwise a warning.
    type: raw
  has_onprem:
    description:
      - Whether servers that are not on EC2 read the configuration. What works on EC2 only is warned of then.
    type: bool
    default: false
  split:
    description:
      - Whether a configuration that is too large for one parameter is split into several, C(NAME), C(NAME-2) and so on.
        Each is a valid configuration, and an agent that fetches the first and appends the others has the whole.
      - Parameters that an earlier, larger configuration has left are returned as RV(surplus), with a warning.
      - With O(state=absent), all of them are deleted.
    type: bool
    default: false
  split_recent:
    description:
      - Whether O(split) also cuts what only recent agents can merge, which are lists of C(jmx) and C(otlp), and the
        section C(opentelemetry).
    type: bool
    default: false
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
  instance_role:
    description:
      - With O(use_instance_credentials), the role whose credentials are used. Those of another role are not used, which
        the instance has before it gets this one, and after another run has restored it.
    type: str
  saved_key:
    description:
      - The access key to use, which M(cwagent.iam.cwagent_iam_user) saved for a user. No other credentials are used on
        the host.
      - The controller reads it, with the AWS options for credentials of this task or else with the credentials of its
        environment, and sends it to the host for this task only.
      - The secret is on no disk of the host, in no output at any verbosity, and in no argument or environment of a
        process. So the task turns on pipelining, without which Ansible would write the options of the module to a
        temporary file, and fails where that is impossible. It cannot run with C(async).
    type: dict
    suboptions:
      user:
        description: The name of the user.
        type: str
        required: true
      key_store:
        description:
          - Where the access key is saved. V(file) is a file C(<user name>.credentials) on the controller,
            V(parameter_store) a parameter of Systems Manager, V(secrets_manager) a secret of Secrets Manager.
        type: str
        choices: [file, parameter_store, secrets_manager]
        default: file
      key_store_directory:
        description: The folder on the controller with the files, for O(saved_key.key_store=file).
        type: path
        default: ~/.cwagent/credentials
      key_store_prefix:
        description: The beginning of the parameters' and secrets' names; the name of the user follows.
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
      - What someone else has stored since that task is overwritten.
    type: dict
  state:
    description:
      - V(present) stores the configuration, V(absent) deletes the parameter.
      - V(validated) only validates the configuration. It fails if there is an error, and makes no AWS call.
      - V(tagged) only sets O(tags). It neither reads nor writes the configuration, so that one who may do no more can
        tag what another one has stored.
    type: str
    choices: [present, absent, validated, tagged]
    default: present
  tags:
    description:
      - Tags to set on the parameters. Other tags stay. When omitted or empty, tags are neither read nor written.
      - A new parameter has them from its creation on. AWS does not allow that for a parameter that is overwritten,
        which gets them by a second call.
    type: dict
  wait_timeout:
    description:
      - How long to retry when AWS denies access to the parameter, in seconds. It takes time until a permission that
        was just granted is known everywhere.
      - What was stored is read again for so long, but at least for 15 seconds.
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
    - The parameters, in the order in which a server must fetch the first and append the others; none when they are
      absent.
    - In check mode, their versions are those that they would get. With O(state=validated), they have none.
    - With O(tags), they have C(tags), which are all tags of the parameter. With O(state=tagged), they have C(name) and
      C(tags) only.
  returned: success
  type: list
  elements: dict
  sample:
    - name: AmazonCloudWatch-linux
      size: 78
      value: '{"metrics":{"metrics_collected":{"mem":{"measurement":["mem_used_percent"]}}}}'
      version: 3
surplus:
  description: The names of further parameters of the same kind, which an earlier, larger configuration can have left.
  returned: success
  type: list
  elements: str
  sample: []
region:
  description: The region of the parameters.
  returned: success
  type: str
  sample: eu-central-1
config:
  description: The whole configuration as JSON text, minified.
  returned: success, with O(state=present) and O(state=validated)
  type: str
  sample: '{"metrics":{"metrics_collected":{"mem":{"measurement":["mem_used_percent"]}}}}'
problems:
  description: What is wrong with the configuration.
  returned: with O(state=validated), and when the configuration is not valid
  type: list
  elements: dict
  contains:
    file: {description: The file or the option., type: str, returned: always, sample: linux.json}
    path: {description: The JSON path., type: str, returned: always, sample: $.agent.reigon}
    line: {description: The line in the text., type: int, returned: where it is known, sample: 3}
    column: {description: The column in the text., type: int, returned: where it is known, sample: 5}
    rule: {description: The rule., type: str, returned: always, sample: unknown-key}
    severity:
      description: V(error), V(doubtful), V(warning) or V(notice), which O(validation) does not change.
      type: str
      returned: always
      sample: error
    message: {description: What is wrong., type: str, returned: always, sample: unknown key 'reigon'}
    allowed: {description: What is allowed., type: str, returned: always, sample: ""}
    near: {description: The known name that a misspelled one resembles., type: str, returned: always, sample: region}
problem_lines:
  description: The same as lines of text.
  returned: as RV(problems)
  type: list
  elements: str
  sample: ["linux.json: 1 problem", "  3:5 $.agent.reigon: unknown key; did you mean 'region'?"]
failure:
  description: The first problem for which the configuration is refused, and the number of the others; empty if none is.
  returned: as RV(problems)
  type: str
  sample: "AmazonCloudWatch-linux is not valid: linux.json: 3:5 $.agent.reigon: unknown key; did you mean 'region'?"
findings:
  description:
    - (internal) The same for the filters P(cwagent.iam.sarif#filter) and P(cwagent.iam.junit#filter). Errors have the
      severity V(high), what is doubtful V(medium), warnings V(low), and notices V(info).
  returned: as RV(problems)
  type: list
  elements: dict
  sample: []
window_parameters:
  description:
    - The name and the region of each parameter that is written, for the option
      O(cwagent.iam.cwagent_admin_window#module:parameters) of M(cwagent.iam.cwagent_admin_window).
  returned: success
  type: list
  elements: dict
  sample: [{name: AmazonCloudWatch-linux, region: eu-central-1}]
previous:
  description: By name, what was stored before, for O(known_values); empty for a parameter that was not there.
  returned: success
  type: dict
  sample: {AmazonCloudWatch-linux: {type: String, value: '{"agent":{}}', version: 2}}
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

import os
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _environment, _module
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._call import aws_gateway
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import (
    RULES,
    TAGGED,
    VALIDATED,
    desired_config,
    desired_tags,
    known_state,
    refusal,
    validate_config,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import SPEC as OPTIONS
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
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.source import SOURCE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

# How long to wait at least until Parameter Store shows what was written.
READ_BACK_SECONDS = 15

SPEC = {
    **OPTIONS,
    "saved_key": {
        "type": "dict",
        "no_log": False,  # as a whole; its secret is not shown
        "options": {
            "user": {"type": "str", "required": True},
            **SOURCE_SPEC,
            "access_key": {"type": "str", "no_log": False},
            "secret_key": {"type": "str", "no_log": True},
        },
    },
    **_environment.ENVIRONMENT_SPEC,
}


def select_gateway(call: Call) -> Aws:
    """Return the gateway to AWS, with the saved key, the instance's credentials or the module's."""
    if call.params["saved_key"]:
        return _saved_key_gateway(call, call.params["saved_key"])
    if not call.params["use_instance_credentials"]:
        return aws_gateway(call)
    # It imports Ansible's HTTP client, which no other case needs.
    from ansible_collections.cwagent.iam.plugins.module_utils._imds import MetadataService  # noqa: PLC0415  slow, rare

    metadata = MetadataService()

    def client(service: str, **more: Any) -> Any:
        credentials = metadata.credentials(call.params["instance_role"])
        return call.client(service, **credentials, profile_name=None, **more)

    # The service can show the credentials of the earlier role for a while after it shows the new profile.
    return Aws(client, call.params["wait_timeout"], renews_clients=True)


def _saved_key_gateway(call: Call, key: dict[str, Any]) -> Aws:
    """Return a gateway that uses nothing of the host's environment to sign its requests."""
    call.params.update(access_key=key["access_key"], secret_key=key["secret_key"], session_token=None, profile=None)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):  # boto3 would look for it
        os.environ.pop(name, None)

    def client(service: str, **more: Any) -> Any:
        if not key["secret_key"]:
            raise InvalidInput(
                f"The access key of user '{key['user']}' does not exist yet, so what is stored cannot be read with it. "
                "In check mode, set known_values."
            )
        return call.client(service, **more)

    return Aws(client, call.params["wait_timeout"])


def validate(call: Call) -> dict[str, Any]:
    """Validate the configuration."""
    found = validate_config(call.params)
    if found.desired is None:
        raise InvalidInput(refusal(found), **found.to_result())
    result = found.to_result()
    parameters = [to_result(each.name, Parameter(each.value)) for each in found.desired.parameters]
    return {"changed": False, "config": minify(found.desired.config), "parameters": parameters, **result}


def tag(call: Call) -> dict[str, Any]:
    """Set the tags of the parameter."""
    name, tags = call.params["name"], desired_tags(call.params)
    check_parameter_name(name)
    resource = TagsResource(select_gateway(call), name, tags, call.region)
    return converge(resource, call.check_mode, READ_BACK_SECONDS)


def work(call: Call) -> dict[str, Any]:
    """Validate, store, tag or delete a configuration."""
    if call.params["state"] == VALIDATED:
        return validate(call)
    if call.params["state"] == TAGGED:
        return tag(call)
    desired, warnings = desired_config(call.params)
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
