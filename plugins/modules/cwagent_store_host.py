#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_store_host
version_added: 1.0.0
short_description: (internal) Check a host that stores a configuration, and store from it
description:
  - Does the part of M(cwagent.iam.cwagent_store_config) that runs on the host. It needs no boto3.
  - On an EC2 instance, it reads the instance profile and the role from the instance metadata service. It takes seconds
    to minutes until a new association reaches the service. Only then does the instance get the credentials of the role.
  - With O(config), it stores one, or compares it with the stored one in check mode. After writing a parameter,
    the module reads it with the same credentials, and fails if it has another value.
author: cwagent.iam contributors (@cwagent)
requirements:
  - python >= 3.9
options:
  instance_profile:
    description:
      - The name of the instance profile to wait for, or V(none) for none.
      - Check mode does not wait.
    type: str
  role:
    description:
      - The name of the role in O(instance_profile). The module waits until the instance gets the credentials of this
        role instead of an earlier one. Without this option, it accepts the credentials of any role.
    type: str
  instance_id:
    description:
      - The ID that the instance must have. If the connection leads to another instance, the module fails. Without
        O(instance_profile), it returns the current identity without waiting.
    type: str
  parameter_store_regions:
    description:
      - The regions whose Parameter Store must answer this host. Each must accept a connection within five seconds, and
        any HTTP status is an answer. If a region does not answer, the module fails immediately, without the retries of
        a call, with the name of the region.
      - This needs no credentials and no permission.
    type: list
    elements: str
    default: []
  fail_on_refused_role:
    description:
      - Whether to wait at most 15 seconds while EC2 is not allowed to assume the role
        (C(AssumeRoleUnauthorizedAccess)), which happens with a role that was just created. EC2 only tries again at long
        intervals, but immediately after the profile is associated again, as M(cwagent.iam.cwagent_store_config) does.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long to wait for the identity, in seconds.
      - With O(config), how long to retry when AWS denies access. A permission that was just granted takes some
        time to take effect everywhere. The module also reads a stored parameter again for up to this long, but at least
        15 seconds, until it has the new value.
    type: int
    default: 300
  config:
    description:
      - The configuration to store, with its C(name), its C(region), its C(parameters) with their C(name), C(value) and
        C(tier) in the order in which a server fetches them, and whether it C(can_be_split).
      - C(known) has the parameters as the controller has compared them, by name. Without it, they are read first.
        Changes that someone else has stored since then are overwritten.
    type: dict
  instance_role:
    description:
      - The role whose credentials are used, without another option for credentials. The module does not use credentials
        of another role. The instance has those before it gets this role, and again after another run has restored its
        profile. By default, it accepts any role.
    type: str
  access_key:
    description: The access key to use.
    type: str
  secret_key:
    description: Its secret.
    type: str
  credentials_file:
    description:
      - The path of a file with the access key to use. Only a static access key in its profile is used. The module fails
        if the profile has other sources of credentials, such as C(role_arn) and C(credential_process).
    type: path
  credentials_profile:
    description: The profile in O(credentials_file).
    type: str
    default: AmazonCloudWatchAgent
  endpoints:
    description:
      - The endpoints that boto3 uses on the controller, with their C(service), C(region), C(url) and C(signing_region).
    type: list
    elements: dict
    default: []
  endpoint_url:
    description:
      - The address of every service. By default, it is C(AWS_ENDPOINT_URL_SSM), C(AWS_ENDPOINT_URL_STS) or
        C(AWS_ENDPOINT_URL) in the environment of the host, or else the one in O(endpoints).
    type: str
    aliases: [aws_endpoint_url]
  aws_ca_bundle:
    description:
      - The path of a file with certificates. By default, it is C(AWS_CA_BUNDLE) or C(REQUESTS_CA_BUNDLE) in the
        environment of the host, or else the certificates of its system.
    type: path
  validate_certs:
    description: Whether to validate certificates.
    type: bool
    default: true
extends_documentation_fragment: [cwagent.iam.attributes, cwagent.iam.environment]
"""

EXAMPLES = r"""
- name: Wait until the instance has the credentials of the admin role
  cwagent.iam.cwagent_store_host:
    instance_profile: CloudWatchAgentAdminRole
    role: CloudWatchAgentAdminRole
"""

RETURN = r"""
identity:
  description:
    - The identity of the instance. Both values are null when it has no instance profile. The metadata service can show
      the credentials of an earlier role for a while.
    - If the wait timed out, the identity that the instance still has.
  returned: with O(instance_id) or O(instance_profile), and when the wait timed out
  type: dict
role_refused:
  description: Whether EC2 was not allowed to assume the role.
  returned: when the instance has the profile, but no credentials in time
  type: bool
steps:
  description: The changes that were made, or that check mode predicts.
  returned: with O(config)
  type: list
  elements: str
counts:
  description: How many things were created, updated and deleted.
  returned: with O(config)
  type: dict
"""

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter import (
    READ_BACK_SECONDS,
    ParameterResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import (
    DesiredConfig,
    DesiredParameter,
    Parameter,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge, end
from ansible_collections.cwagent.iam.plugins.module_utils._ground.environment import ENVIRONMENT_SPEC, EnvironmentModule
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.files import read_file
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._ground.signed_call import (
    Endpoint,
    Keys,
    SignedAws,
    own_url,
    probe,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import KEY_ID, SECRET, TOKEN, read_section
from ansible_collections.cwagent.iam.plugins.module_utils._servers.imds import (
    REFUSED_SECONDS,
    MetadataService,
    wait_for_identity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PROBE_SECONDS = 5
SPEC: dict[str, Any] = {
    "instance_profile": {"type": "str"},
    "role": {"type": "str"},
    "fail_on_refused_role": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 300},
    "instance_id": {"type": "str"},
    "parameter_store_regions": {"type": "list", "elements": "str", "default": []},
    "config": {"type": "dict"},
    "instance_role": {"type": "str"},
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "credentials_file": {"type": "path"},
    "credentials_profile": {"type": "str", "default": "AmazonCloudWatchAgent"},
    # Each endpoint has a service, a Region, an address and the Region of its signatures.
    "endpoints": {"type": "list", "elements": "dict", "default": []},
    "endpoint_url": {"type": "str", "aliases": ["aws_endpoint_url"]},
    "aws_ca_bundle": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    **ENVIRONMENT_SPEC,
}
# The options of a profile that make boto3 get other credentials.
# https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
_OTHER_SOURCES = re.compile("role_arn|source_profile|credential_.*|web_identity_.*|sso_.*|login_.*")


def check_parameter_store(params: Mapping[str, Any], regions: Iterable[str]) -> None:
    """Check that Parameter Store answers in each Region. Any HTTP status proves that it is reachable.

    A subnet without a way to it is common, and a call fails only after minutes of retries there.

    :raises CwagentError: it does not. The message contains the Regions and the likely cause.
    """
    reasons = run_in_parallel(partial(_find_problem, params), regions)
    problems = [reason for reason in reasons if reason]
    if problems:
        raise CwagentError(
            f"This host does not reach Parameter Store in {'; '.join(problems)}. A private subnet needs a VPC endpoint "
            "for ssm in the same region, and a NAT gateway or a proxy for other regions. Nothing was opened."
        )


def _find_problem(params: Mapping[str, Any], region: str) -> str:
    """Return a Region whose Parameter Store does not answer, and why; empty where it answers."""
    reason = probe(find_endpoints(params, region)["ssm"], PROBE_SECONDS)
    return f"{region} ({reason})" if reason else ""


def find_endpoints(params: Mapping[str, Any], region: str) -> dict[str, Endpoint]:
    """Return by service the endpoint in a Region, according to the options and the environment of this host.

    The controller hands over an endpoint of each service and Region, because hosts have no table of endpoints.
    """
    variables = (os.environ.get(name) for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"))
    return {
        each["service"]: Endpoint(
            each["service"],
            params["endpoint_url"] or own_url(each["service"], os.environ) or each["url"],
            each["signing_region"],
            getproxies_environment(),
            params["aws_ca_bundle"] or next(filter(None, variables), ""),
            params["validate_certs"],
        )
        for each in params["endpoints"]
        if each["region"] == region
    }


def identify(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the identity that the instance has, or wait for the one that it should have."""
    service, profile = MetadataService(), params["instance_profile"]
    if params["instance_id"]:
        service.check_instance(params["instance_id"])
    if profile is None or check_mode:
        identity = service.identity()
    else:
        expected = None if profile == "none" else profile
        deadline = Deadline(params["wait_timeout"])
        refused = Deadline(REFUSED_SECONDS) if params["fail_on_refused_role"] else None
        identity = wait_for_identity(service, expected, deadline, params["role"], refused)
    return {"changed": False, "identity": {"instance_profile": identity.profile, "role": identity.role}}


def store(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Store the configuration."""
    given = params["config"]
    name, region = given["name"], given["region"]
    parameters = tuple(DesiredParameter(**each) for each in given["parameters"])
    desired = DesiredConfig(name, parameters=parameters, can_be_split=given["can_be_split"])
    known = {each: found and Parameter(**found) for each, found in given["known"].items()} if "known" in given else None
    resource = ParameterResource(select_gateway(params, region), desired, region, known)
    return converge(resource, check_mode, max(READ_BACK_SECONDS, params["wait_timeout"]))


def select_gateway(params: Mapping[str, Any], region: str) -> SignedAws:
    """Return the gateway to AWS, with the access key, the key in a file, or the credentials of the instance."""
    return SignedAws(_key_reader(params), find_endpoints(params, region), params["wait_timeout"])


def _key_reader(params: Mapping[str, Any]) -> Callable[[], Keys]:
    if params["access_key"] is not None:  # no other credentials are used then
        if not (params["access_key"] and params["secret_key"]):
            raise InvalidInput("The access key that the host stores with does not exist yet.")
        return partial(Keys, params["access_key"], params["secret_key"])
    if params["credentials_file"]:
        return partial(read_keys, params["credentials_file"], params["credentials_profile"])
    # The service can show the credentials of the earlier role for a while after it shows the new profile.
    return partial(MetadataService().credentials, params["instance_role"])


def read_keys(path: str, profile: str) -> Keys:
    """Return the access key in a credentials file.

    :raises InvalidInput: there is none, or the profile has other credentials.
    """
    found = read_file(Path(path), "replace")
    options = read_section(found.text, profile) if found else None
    others = sorted(filter(_OTHER_SOURCES.fullmatch, options or ()))
    if others:
        raise InvalidInput(
            f"Profile {profile} of {path} has {', '.join(others)}. This host stores with an access key alone: remove "
            "these options from the profile, or use another profile."
        )
    if not (options and options.get(KEY_ID) and options.get(SECRET)):
        raise InvalidInput(f"Profile {profile} of {path} has no access key ({KEY_ID} and {SECRET}).")
    return Keys(options[KEY_ID], options[SECRET], options.get(TOKEN, ""))


def work(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Check the host, or store the configuration."""
    if params["config"]:
        return store(params, check_mode)
    check_parameter_store(params, params["parameter_store_regions"])
    if params["credentials_file"]:
        read_keys(params["credentials_file"], params["credentials_profile"])
    if params["instance_id"] or params["instance_profile"]:
        return identify(params, check_mode)
    return {"changed": False}


def main() -> None:
    module = EnvironmentModule(argument_spec=SPEC, supports_check_mode=True)
    module.check_environment()
    try:
        result = work(module.params, module.check_mode)
    except CwagentError as error:
        result = error.to_result()
    end(module, result)


if __name__ == "__main__":
    main()
