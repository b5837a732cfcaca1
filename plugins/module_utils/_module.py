# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every module of the collection shares: its AnsibleAWSModule, its common options, its errors."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

# What a module imports stays until it ends, within seconds: looking for garbage in it takes a tenth of its time. Most
# of it is boto3, which comes next.
gc.set_threshold(100_000)

from ansible.module_utils.basic import env_fallback

# AnsibleAWSModule.warn hands the warnings to exit_json too, which ansible-core reports as deprecated.
from ansible.module_utils.common.warnings import warn
from ansible_collections.amazon.aws.plugins.module_utils.botocore import HAS_BOTO3
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule, aws_argument_spec

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import REMOVE_BOUNDARY, Declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource

WAIT_SPEC: dict[str, Any] = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 120},
}
PRINCIPAL_SPEC: dict[str, Any] = {
    "access": {"type": "str", "choices": list(_names.ACCESS_POLICIES)},
    "ssm_policy": {"type": "str", "choices": _names.SSM_CHOICES},
    "managed_policies": {"type": "list", "elements": "str", "default": []},
    "exclusive": {"type": "bool", "default": False},
    "path": {"type": "str"},
    "permissions_boundary": {"type": "str"},
    "tags": {"type": "dict", "aliases": ["resource_tags"]},
    "purge_tags": {"type": "bool"},
    "admin_window": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_SPEC,
}
# AWX hands temporary credentials over with the token under its older name too, which boto3 knows and amazon.aws does
# not; without it the key pair is refused.
_SESSION_TOKEN: dict[str, Any] = {
    "session_token": {
        **aws_argument_spec()["session_token"],
        "fallback": (env_fallback, ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"]),
    }
}


def aws_module(spec: dict[str, Any], **settings: Any) -> AnsibleAWSModule:
    """The module with the common AWS options, check mode, and boto3 at hand."""
    # Where boto3 is missing, amazon.aws would say so, but not how to get it.
    module = AnsibleAWSModule(
        argument_spec={**spec, **_SESSION_TOKEN}, supports_check_mode=True, check_boto3=HAS_BOTO3, **settings
    )
    if not HAS_BOTO3:
        module.fail_json(
            msg=f"boto3 is not installed for {sys.executable} on this host. Install it there, for instance with the "
            "ansible.builtin.package module and name python3-boto3, or with "
            f"'{sys.executable} -m pip install boto3'; or point ansible_python_interpreter to a Python that has it."
        )
    return module


@contextmanager
def fail_on_error(module: AnsibleAWSModule) -> Iterator[None]:
    """Turn the collection's errors into the task's failure."""
    try:
        yield
    except CwagentError as error:
        # Without steps, nothing was begun.
        details: dict[str, Any] = {"changed": False, "steps": [], "warnings": (), **error.details}
        _warn(details.pop("warnings"))
        module.fail_json(msg=str(error), **details)


def run(module: AnsibleAWSModule, resource: Resource[Any]) -> None:
    """Bring the resource to what is wanted and end the module with the result."""
    wait = module.params["wait_timeout"] if module.params.get("wait") else None
    exit_module(module, **converge(resource, module.check_mode, wait))


def exit_module(module: AnsibleAWSModule, warnings: Iterable[str] = (), **result: Any) -> None:
    """End the module with its result."""
    _warn(warnings)
    # At its end Python searches all that boto3 has loaded for garbage, which is a fifth of the time a task takes.
    gc.freeze()
    module.exit_json(**result)


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        warn(warning)


def aws(module: AnsibleAWSModule) -> Aws:
    """The way to AWS, with the module's credentials and patience."""
    return Aws(module.client, retry_timeout=module.params["wait_timeout"])


def declared(params: Mapping[str, Any], region: str | None) -> Declared:
    """What the options common to roles and users declare.

    :raises InvalidInput: one of them is nothing that AWS accepts.
    """
    partition = _names.partition_of(region)
    check_principal(params, partition)
    further = frozenset(params["managed_policies"])
    attach, detach = _names.declared_policies(params["access"] or "server", params["ssm_policy"], partition)
    if params["ssm_policy"] == _names.DEPRECATED_SSM_POLICY and params["state"] == "present":
        warn(
            f"{_names.DEPRECATED_SSM_POLICY} is deprecated by AWS because it lets the instance read and write all of "
            "S3; AmazonSSMManagedInstanceCore is its successor."
        )
    return Declared(
        attach=attach | further,
        detach=detach,
        managed=_names.agent_policies(partition) | further,
        exclusive=params["exclusive"],
        path=params["path"],
        boundary=params["permissions_boundary"],
        tags=_tags(params),
        admin_window=params["admin_window"],
        purge_tags=params["exclusive"] if params["purge_tags"] is None else params["purge_tags"],
    )


def check_principal(params: Mapping[str, Any], partition: str) -> None:
    """Refuse options for roles and users that IAM would refuse. :raises InvalidInput: it names the option."""
    for arn in params.get("managed_policies", []):
        _names.check_policy_arn(arn, partition, "managed_policies")
    boundary = params["permissions_boundary"]
    if boundary is not None and boundary != REMOVE_BOUNDARY:
        _names.check_policy_arn(boundary, partition, "permissions_boundary")
    _names.check_path(params["path"])
    _names.check_tags(_tags(params))


def _tags(params: Mapping[str, Any]) -> dict[str, str] | None:
    return None if params["tags"] is None else {str(key): _text(value) for key, value in params["tags"].items()}


def _text(value: Any) -> str:
    """A tag's value as AWS stores it; YAML gives numbers and booleans where a person wrote text."""
    return "true" if value is True else "false" if value is False else "" if value is None else str(value)
