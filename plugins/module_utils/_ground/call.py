# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call of a module, from its options to its result or failure, in a separate Python or inside Ansible."""

from __future__ import annotations

import gc
import sys
from collections import ChainMap
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ansible.module_utils.basic import env_fallback
from ansible_collections.amazon.aws.plugins.module_utils.botocore import HAS_BOTO3
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule, aws_argument_spec

from . import environment
from .aws import Aws
from .changes import changed_parts
from .converge import converge, end
from .errors import CwagentError, explain_connection
from .names import names_by_region
from .plan import Kind
from .text import to_message, without_repetitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .converge import Resource


class Fleet:
    """Converges one resource after the other. A resource that fails does not stop the others.

    :param wait: as for ``converge``.
    """

    def __init__(self, *, check_mode: bool, wait: float | None) -> None:
        self._check_mode = check_mode
        self._wait = wait
        self._results: list[Mapping[str, Any]] = []
        self.errors: list[CwagentError] = []

    def converge(self, resource: Resource[Any]) -> dict[str, Any]:
        """Return the result of a resource; if it failed, the details of the error."""
        try:
            found = converge(resource, self._check_mode, self._wait)
        except CwagentError as error:
            self.errors.append(error)
            found = dict(error.details)
        self._results.append(found)
        return found

    def warn(self, warning: str) -> None:
        """Add a warning to the result."""
        self._results.append({"warnings": [warning]})

    def result(self, keys: Iterable[str], **more: Any) -> dict[str, Any]:
        """Return one result for all resources.

        :param keys: the resources' own result keys to join. :param more: further keys.
        :raises CwagentError: one or several failed.
        """
        found = {**join_results(self._results, keys), **more}
        if self.errors:
            raise CwagentError(" ".join(dict.fromkeys(str(error) for error in self.errors)), **found)
        return found


def join_results(results: Sequence[Mapping[str, Any]], keys: Iterable[str]) -> dict[str, Any]:
    """Return one result for several. :param keys: the keys of lists and mappings to join besides the common ones."""
    found: dict[str, Any] = {
        "changed": any(each.get("changed") for each in results),
        "steps": [step for each in results for step in each.get("steps", ())],
        "counts": {kind.value: sum(each.get("counts", {}).get(kind.value, 0) for each in results) for kind in Kind},
        "diff": [each["diff"] for each in results if each.get("changed") and "diff" in each],
        "warnings": list(dict.fromkeys(warning for each in results for warning in each.get("warnings", ()))),
    }
    if any("done" in each for each in results):
        # A resource that did not fail has done all its steps.
        found["done"] = [step for each in results for step in each.get("done", each.get("steps", ()))]
    for key in ("not_done", "failures", *keys):
        values = [each[key] for each in results if key in each]
        if values:
            is_mapping = isinstance(values[0], dict)
            found[key] = (
                dict(ChainMap(*reversed(values))) if is_mapping else [each for value in values for each in value]
            )
    return found


class Call(Protocol):
    """The input of a module's work. An ``AnsibleAWSModule`` is one."""

    check_mode: bool

    @property
    def params(self) -> dict[str, Any]:
        """The options, validated by the module's spec."""

    @property
    def region(self) -> str | None:
        """The region of the task; ``None`` if no region is set."""

    def client(self, service: str, **more: Any) -> Any:
        """Return a new boto3 client with the credentials of the task."""


def aws_gateway(call: Call) -> Aws:
    """Return the gateway to AWS, with the credentials and the retry timeout of the call."""
    return Aws(call.client, retry_timeout=call.params["wait_timeout"])


def manage(resource: Callable[[dict[str, Any], Aws, str | None], Resource[Any]], call: Call) -> dict[str, Any]:
    """Do the work of a module that brings one resource to its desired state.

    :param resource: makes the resource from the options, the gateway and the region.
    """
    desired = resource(call.params, aws_gateway(call), call.region)
    return converge(desired, call.check_mode, call.params["wait_timeout"] if call.params["wait"] else None)


def manage_by_region(
    resource: Callable[[dict[str, Any], Aws, str | None], Resource[Any]],
    call: Call,
    *,
    names: str,
    by_region: str,
    keys: Iterable[str],
) -> dict[str, Any]:
    """Do the work of a module that manages things of the module's region, or of several.

    :param names: the option that lists things of one region.
    :param by_region: the option that lists them by region. An empty name stands for the module's region.
    :param keys: the resource's own keys of the result.
    """
    if call.params[by_region] is None:
        return manage(resource, call)
    fleet = new_fleet(call)
    converge_regions(fleet, resource, call, names=names, by_region=by_region)
    return fleet.result(keys)


def new_fleet(call: Call) -> Fleet:
    """Return a fleet with nothing in it, with the mode and the waits of the call."""
    return Fleet(check_mode=call.check_mode, wait=call.params["wait_timeout"] if call.params["wait"] else None)


def gateways(call: Call, regions: Iterable[str]) -> dict[str, Aws]:
    """Return by region the gateway to it; an empty name is the region of the module."""
    timeout = call.params["wait_timeout"]
    return {
        region: Aws(partial(call.client, region=region) if region else call.client, retry_timeout=timeout)
        for region in regions
    }


def converge_regions(
    fleet: Fleet,
    resource: Callable[[dict[str, Any], Aws, str | None], Resource[Any]],
    call: Call,
    *,
    names: str,
    by_region: str,
) -> list[dict[str, Any]]:
    """Bring the things of each region to their desired state, and return the results.

    :param resource: makes the resource of a region, as for ``manage``.
    :param names: as for ``manage_by_region``, like ``by_region``.
    """
    given = call.params[by_region]
    regions = {"": call.params[names]} if given is None else names_by_region(by_region, given)
    # All options are checked before anything is done.
    resources = [
        resource({**call.params, names: regions[region]}, aws, region or call.region)
        for region, aws in gateways(call, regions).items()
    ]
    return [fleet.converge(each) for each in resources]


def outcome(work: Callable[[Call], dict[str, Any]], call: Call) -> dict[str, Any]:
    """Return the result of the work, which contains ``failed`` if it raised an error of the collection.

    Ansible prints messages and warnings as they are, and they quote tags, names and errors that others chose. It prints
    the other keys of a failure too, so errors that the message contains are left out of them and of the warnings. Items
    fail for the same reason, whose remedy is in the message once.
    """
    try:
        result = work(call)
    except CwagentError as error:
        result = error.to_result()
        for key in ("failures", "problems"):
            errors = result.get(key, ())
            if all(text in result["msg"] for text in (errors.values() if isinstance(errors, dict) else errors)):
                result.pop(key, None)
        result["msg"] = without_repetitions(result["msg"])
        if "warnings" in result:
            warnings = [without_repetitions(each, result["msg"]) for each in result["warnings"]]
            result["warnings"] = [each for each in warnings if each]
    if diff := result.get("diff"):
        result["diff"] = [*map(changed_parts, diff)] if isinstance(diff, list) else changed_parts(diff)
    texts = {key: result[key] for key in ("msg", "warnings") if key in result}
    return {
        **result,
        **{key: to_message(each) if isinstance(each, str) else [*map(to_message, each)] for key, each in texts.items()},
    }


_CREDENTIALS: dict[str, Any] = {
    # Not a secret, but the access key of a playbook's session in an account must never appear in output.
    "access_key": {**aws_argument_spec()["access_key"], "no_log": True},
    # AWX passes the token of temporary credentials under its older name too, which boto3 reads and amazon.aws does not.
    # Without the token, AWS refuses the key pair.
    "session_token": {
        **aws_argument_spec()["session_token"],
        "fallback": (env_fallback, ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"]),
    },
}


class _Module(environment.EnvironmentModule):
    """Reads its options more strictly than Ansible, and hides one.

    It remembers the options that got text instead of a list, because Ansible splits such text at its commas. User names
    can contain commas, and each part of a name would become a user with an access key.
    """

    def _load_params(self) -> None:
        super()._load_params()
        self.split_options = {
            name: value
            for name, spec in self.argument_spec.items()
            if spec.get("type") == "list" and isinstance(value := self.params.get(name), str) and "," in value
        }

    def fail_json(self, msg: str, **details: Any) -> None:
        """End the module with a message, which can be one of amazon.aws."""
        super().fail_json(explain_connection(str(msg)), **details)


def complete_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a module with the common AWS options."""
    return {**aws_argument_spec(), **spec, **_CREDENTIALS}


def run_module(spec: dict[str, Any], rules: dict[str, Any], work: Callable[[Call], dict[str, Any]]) -> None:
    """Read the options, do the work, and end with its result.

    :param rules: further arguments of ``AnsibleModule``, such as ``required_if``.
    """
    # The only way that amazon.aws offers to choose the class of the module inside its own.
    AnsibleAWSModule.default_settings["module_class"] = _Module
    # Without boto3, amazon.aws would report that it is missing, but not how to install it.
    module = AnsibleAWSModule(
        argument_spec=complete_spec(spec), supports_check_mode=True, check_boto3=HAS_BOTO3, **rules
    )
    if not HAS_BOTO3:
        module.fail_json(
            msg=f"boto3 is not installed for {sys.executable} on this host. Install it there, for instance with the "
            "ansible.builtin.package module and name python3-boto3, or with "
            f"'{sys.executable} -m pip install boto3'; or point ansible_python_interpreter to a Python that has it, "
            "for localhost to '{{ ansible_playbook_python }}'."
        )
    module._module.check_environment()
    for name, value in module._module.split_options.items():
        module.fail_json(msg=f"{name} must be a list; Ansible would split the text '{value}' at its commas.")
    result = outcome(work, module)
    # At its end, Python would search everything that boto3 loaded for garbage, which takes a fifth of a task's time.
    gc.freeze()
    end(module, result)
