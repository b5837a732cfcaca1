# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which parameters hold an agent configuration, and plans how to write or delete them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._ground.errors import PERMISSION_RETRY_CODES, CwagentError, InvalidInput
from .._ground.names import PARAMETER_PREFIX, is_yaml_name
from .._ground.plan import Kind, Plan, Step
from .json_path import differences
from .parts import minify, part_names, split, to_canonical, to_record

# Names with a path begin with a slash, and the policies that AWS manages do not cover them.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
# The agent takes the file of a parameter with this ending for an unfinished one.
# https://github.com/aws/amazon-cloudwatch-agent: cmd/config-downloader
TEMPORARY_ENDING = ".tmp"
_NAME = r"[A-Za-z0-9_.-]+"
# The longest name with the ARN that it is a part of, and the longest that AWS puts before a name.
MAX_ARN, ARN_PREFIX = 1011, "arn:aws-us-gov:ssm:ap-southeast-1:123456789012:parameter/"
MAX_NAME = MAX_ARN - len(ARN_PREFIX)
# The agent reads these types, and decrypts the second one. Only the first one is stored.
TYPE, ENCRYPTED_TYPE = "String", "SecureString"
# The size of a value in bytes, by tier.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
LIMITS = {"Standard": 4096, "Advanced": 8192}


@dataclass(frozen=True)
class Parameter:
    """A parameter in Parameter Store.

    :param value: empty for an encrypted one, which is not decrypted for storing. Only fitted policies need its text.
    :param version: ``None`` if it is not known.
    :param tags: ``None`` if they were not read, because the user wants none.
    """

    value: str
    type: str = "String"
    version: int | None = None
    tags: Mapping[str, str] | None = None


# By name; ``None`` if there is no such parameter.
State = Mapping[str, Optional[Parameter]]


@dataclass(frozen=True)
class DesiredParameter:
    """A parameter as the user declares it.

    :param value: the configuration, or a part of it, in the form that is stored.
    :param tier: ``None`` for the smallest that fits.
    :param tags: the tags that it gets. Other tags stay.
    """

    name: str
    value: str
    tier: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DesiredConfig:
    """A valid configuration as the user declares it, which is compared, fitted, split and stored.

    :param config: a text if it is an OpenTelemetry configuration in YAML. A host that stores it only gets the
        parameters.
    :param parameters: the parameters that hold it, in the order in which an agent fetches and appends them. There are
        none if it is to be absent.
    :param can_be_split: whether it can be, or can have been, in more than one parameter.
    :param digest: of the content that declares it. Other content can declare the same.
    """

    name: str
    config: Mapping[str, Any] | str = field(default_factory=dict)
    parameters: tuple[DesiredParameter, ...] = ()
    can_be_split: bool = False
    digest: str = field(default="", compare=False)

    @property
    def has_tags(self) -> bool:
        """Whether the parameters get tags."""
        return any(each.tags for each in self.parameters)

    @property
    def names(self) -> list[str]:
        """The names of the parameters, in the order in which an agent fetches and appends them."""
        return [each.name for each in self.parameters]

    @property
    def configs(self) -> list[Mapping[str, Any] | str]:
        """The configuration in each parameter."""
        return [json.loads(each.value) for each in self.parameters] if self.parameters[1:] else [self.config]


def desired_config(
    name: str,
    config: Mapping[str, Any] | str,
    tier: str | None,
    *,
    can_be_split: bool,
    allow_recent: bool = False,
    tags: Mapping[str, str] | None = None,
    parts: Sequence[str] = (),
    digest: str = "",
) -> DesiredConfig:
    """Return a configuration with the parameters that hold it.

    :param allow_recent: whether to split even the parts that only recent agents can merge.
    :param parts: the parts of a configuration that was stored before, as they were stored. They stay as they are.
    :raises InvalidInput: a name is not valid, or the configuration is too large.
    """
    whole = DesiredParameter(name, minify(config), tier, tags or {})
    if not can_be_split or isinstance(config, str):
        select_tier(None, whole)
        return DesiredConfig(name, config, (whole,), digest=digest)
    limit = LIMITS[tier or max(LIMITS, key=LIMITS.__getitem__)]
    values = parts or [*map(minify, split(config, limit, allow_recent))]
    parameters = tuple(
        replace(whole, name=part_name, value=value) for part_name, value in zip(part_names(name, len(values)), values)
    )
    for each in parameters:
        check_parameter_name(each.name)
    return DesiredConfig(name, config, parameters, can_be_split=True, digest=digest)


def check_parameter_name(name: str) -> None:
    """Check that the agent's policies cover a name and that AWS allows it. :raises InvalidInput: one does not."""
    if not name.startswith(PARAMETER_PREFIX):
        raise InvalidInput(
            f"parameter name '{name}' does not begin with {PARAMETER_PREFIX}: the agent's policies allow no other "
            "parameters."
        )
    if not re.fullmatch(_NAME, name) or len(name) > MAX_NAME:
        raise InvalidInput(
            f"parameter name '{name}': AWS allows up to {MAX_NAME} characters, letters, digits and any of _.-."
        )


def check_name_of_json(name: str) -> None:
    """Check that the agent reads a parameter with a name as JSON. :raises InvalidInput: it does not."""
    ending = f".{name.rpartition('.')[2]}"
    if is_yaml_name(name):
        raise InvalidInput(
            f"parameter name '{name}' ends in {ending}: the agent reads such a parameter as an OpenTelemetry "
            "configuration, and ignores JSON in it. Choose another name."
        )
    if ending == TEMPORARY_ENDING:
        raise InvalidInput(
            f"parameter name '{name}' ends in {ending}: the agent deletes its files with this ending when it fetches "
            "a configuration. Choose another name."
        )


def select_tier(current: Parameter | None, desired: DesiredParameter) -> str:
    """Select the smallest tier that holds the configuration, and not a smaller one than the current tier.

    GetParameter does not show the tier, and the admin policy allows no call that does. But a value over the limit of
    the Standard tier proves that the parameter is in the Advanced tier.

    :raises InvalidInput: the configuration does not fit into any tier, or into the tier that the user chose.
    """
    size = len(desired.value.encode())
    tiers = [desired.tier] if desired.tier else list(LIMITS)
    if size > LIMITS[tiers[-1]]:
        raise InvalidInput(
            f"the configuration for '{desired.name}' is {size} bytes when minified; Parameter Store takes "
            f"{LIMITS[tiers[-1]]} in the {tiers[-1]} tier. To store it in several parameters, set split_config "
            "(cwagent_split_config in the playbooks)."
        )
    current_size = len(current.value.encode()) if current else 0
    return next(tier for tier in tiers if tier == tiers[-1] or max(size, current_size) <= LIMITS[tier])


def is_up_to_date(current: Parameter | None, desired: DesiredParameter) -> bool:
    """Whether the stored configuration has the desired content, apart from spaces and the order of keys in JSON."""
    # In Python, True equals 1; in JSON text with sorted keys, they differ.
    return current is not None and to_canonical(current.value) == to_canonical(desired.value)


def plan(current: State, desired: DesiredConfig) -> Plan[State]:
    """Plan the steps that store the parameters whose content differs, or that delete them.

    Parameters that an earlier, larger configuration has left stay, because another configuration can have that name.

    :raises InvalidInput: a parameter is too large, or has another type.
    """
    if not desired.parameters:
        # Delete the last part first. If that fails, the next run finds the remaining parts, starting with the first.
        deletions = [_delete(name) for name, found in current.items() if found]
        return Plan(current, dict.fromkeys(current), {desired.name: deletions[::-1]})
    planned, steps = dict(current), {}
    is_split = len(desired.parameters) > 1 or bool(surplus(current, desired))
    values = [each.value for each in desired.parameters if is_split]
    for each in desired.parameters:
        found = current.get(each.name)
        store = _store(found, each, values)
        before = found or Parameter("", tags=each.tags or None)  # it gets its tags with its creation
        after = Parameter(each.value, version=(before.version or 0) + 1, tags=before.tags) if store else before
        tags = after.tags or {}
        steps[each.name] = [*([store] if store else []), *tag_steps(each.name, tags, each.tags)]
        planned[each.name] = replace(after, tags={**tags, **each.tags}) if each.tags else after
    return Plan(current, planned, steps)


def _store(current: Parameter | None, desired: DesiredParameter, parts: Sequence[str]) -> Step | None:
    """Return the step that stores a parameter. :param parts: the values to record, if the configuration has parts."""
    tier = select_tier(current, desired)
    if current and current.type != TYPE:
        raise InvalidInput(
            f"parameter '{desired.name}' exists with type {current.type}, and Parameter Store cannot change the type. "
            f"The collection stores only type {TYPE}. Choose another name, or delete the parameter."
        )
    if is_up_to_date(current, desired):
        return None
    # This call tags only a new parameter, because AWS accepts tags only in a call that must create the parameter.
    tags = {} if current else dict(desired.tags)
    record = to_record(parts, ((current and current.version) or 0) + 1) if parts else ""
    return Step(
        Kind.UPDATE if current else Kind.CREATE,
        "ssm:PutParameter",
        {
            "name": desired.name,
            "value": desired.value,
            "type": TYPE,
            "tier": tier,
            **({"description": record} if record else {}),
            **({"tags": tags} if tags else {"overwrite": True}),
        },
        f"store the configuration in parameter '{desired.name}'",
        retry_when=PERMISSION_RETRY_CODES,
        stale_when=frozenset({"ParameterAlreadyExists"}),
    )


def tag_steps(name: str, current: Mapping[str, str], desired: Mapping[str, str]) -> list[Step]:
    """Return the step that gives a parameter the tags that it lacks. Other tags stay."""
    changed = {key: value for key, value in desired.items() if current.get(key) != value}
    call = {"resource_type": "Parameter", "resource_id": name, "tags": changed}
    summary = f"tag parameter '{name}' with {', '.join(changed)}"
    return [Step(Kind.UPDATE, "ssm:AddTagsToResource", call, summary)] if changed else []


def _delete(name: str) -> Step:
    return Step(
        Kind.DELETE,
        "ssm:DeleteParameter",
        {"name": name},
        f"delete parameter '{name}'",
        done_when=frozenset({"ParameterNotFound"}),
    )


def check_stored(plan: Plan[State], state: State) -> None:
    """Check that nothing else has overwritten the parameters that were just stored.

    :param state: the state that Parameter Store shows.
    :raises CwagentError: something has. The message contains the parameter and its version.
    """
    for name, written in plan.planned.items():
        found = state.get(name)
        if not (plan.steps.get(name) and found and written) or found.value == written.value:
            continue
        if (found.version or 0) >= (written.version or 0):
            raise CwagentError(
                f"parameter '{name}' has another value than the one that was just stored: something else wrote version "
                f"{found.version}. Find out what, then run again."
            )


def surplus(current: State, desired: DesiredConfig) -> list[str]:
    """Return the names of the parameters that an earlier, larger configuration has left."""
    return [name for name, found in current.items() if found and desired.parameters and name not in desired.names]


def warnings(current: State, desired: DesiredConfig) -> list[str]:
    """Warn of parameters that an earlier, larger configuration has left."""
    names = surplus(current, desired)
    parts = "1 part" if len(desired.parameters) == 1 else f"{len(desired.parameters)} parts"
    return [
        f"the configuration in parameter '{desired.name}' has {parts}, and there are further "
        f"parameters: {', '.join(names)}. If an earlier, larger configuration has left them, delete them: servers may "
        "still append them"
        for _name in names[:1]
    ]


def to_result(name: str, parameter: Parameter | None) -> dict[str, Any] | None:
    """Render a parameter for the result; its size is in bytes."""
    if parameter is None:
        return None
    size = len(parameter.value.encode())
    tags = {} if parameter.tags is None else {"tags": dict(parameter.tags)}
    return {"name": name, "value": parameter.value, "size": size, "version": parameter.version, **tags}


def to_diff(state: State) -> dict[str, Any]:
    """Render the parameters for the diff, with their configurations in readable form."""
    return {
        name: {
            "type": each.type,
            "config": _readable(each.value),
            **({} if each.tags is None else {"tags": dict(each.tags)}),
        }
        for name, each in state.items()
        if each is not None
    }


def _readable(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def tag_lines(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Render the changes of tags for the diff."""
    found = differences(dict(before), dict(after))
    return [f"tags of parameter '{name}'", *found] if found else []


def render_change(before: State, after: State) -> dict[str, Any]:
    """Render the changes of configurations for the diff, one line for each JSON path.

    :returns: nothing if a parameter is created or deleted, if none is changed, or if a value is not JSON.
    """
    lines: list[str] = []
    for name, new in after.items():
        old = before.get(name)
        if old == new:
            continue
        if old is None or new is None:
            return {}
        try:
            found = differences(json.loads(old.value), json.loads(new.value))
        except (ValueError, RecursionError):
            return {}
        lines += [f"parameter '{name}'", *found] if found else []
        lines += tag_lines(name, old.tags or {}, new.tags or {})
    return {"prepared": "".join(f"{line}\n" for line in lines)} if lines else {}
