# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which agent configurations are valid, whether they fit Parameter Store, and what to write. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.difference import differences
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.split import minify
from ansible_collections.cwagent.iam.plugins.module_utils._errors import PERMISSION_RETRY_CODES, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import PARAMETER_PREFIX
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

# Names with a path begin with a slash, and the policies that AWS manages do not cover them.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
_NAME = r"[A-Za-z0-9_.-]+"
# The longest name with the ARN that it is a part of, and the longest that AWS puts before a name.
MAX_ARN, ARN_PREFIX = 1011, "arn:aws-us-gov:ssm:ap-southeast-1:123456789012:parameter/"
MAX_NAME = MAX_ARN - len(ARN_PREFIX)
# Parameter Store takes this for a reference to another parameter, and refuses the value. It can only be in a text:
# in the syntax of JSON, a name or a closing brace follows an opening one.
REFERENCE = "{{"
# The size of a value in bytes, by tier.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
LIMITS = {"Standard": 4096, "Advanced": 8192}
# The top-level keys of a configuration. The agent's own schema accepts unknown ones, so a misspelled one is found here.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-Configuration-File-Details.html
SECTIONS = frozenset({"agent", "metrics", "logs", "traces", "opentelemetry"})


@dataclass(frozen=True)
class Parameter:
    """A parameter in Parameter Store. :param version: ``None`` where it is not known."""

    value: str
    type: str = "String"
    version: int | None = None


State = Optional[Parameter]


@dataclass(frozen=True)
class DesiredParameter:
    """A parameter as the user declares it. :param tier: ``None`` for the smallest that fits."""

    name: str
    config: Mapping[str, Any]
    tier: str | None = None

    @property
    def value(self) -> str:
        """The configuration in the form that is stored: JSON without spaces, in UTF-8."""
        return minify(self.config)


def check_parameter_name(name: str) -> None:
    """Check that the agent's policies cover a name and that AWS allows it. :raises InvalidInput: it says why not."""
    if not name.startswith(PARAMETER_PREFIX):
        raise InvalidInput(
            f"parameter name '{name}' does not begin with {PARAMETER_PREFIX}: the agent's policies allow no other "
            "parameters."
        )
    if not re.fullmatch(_NAME, name) or len(name) > MAX_NAME:
        raise InvalidInput(
            f"parameter name '{name}': AWS allows up to {MAX_NAME} characters, letters, digits and any of _.-."
        )


def parse(text: str, where: str) -> dict[str, Any]:
    """Parse the JSON text of a configuration.

    :param where: where the text comes from, for the error.
    :raises InvalidInput: it is not JSON, with the place of the mistake, or not an agent configuration.
    """
    try:
        config = json.loads(text, object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{where} is not JSON: {error.msg} at line {error.lineno} column {error.colno}.") from error
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} cannot be parsed as JSON: {error}.") from error
    return check_config(config, where)


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _value in pairs]
    duplicates = sorted({key for key in keys if keys.count(key) > 1})
    if duplicates:
        raise InvalidInput(f"duplicate key '{duplicates[0]}' in one object.")
    return dict(pairs)


def _reject_constant(name: str) -> None:
    raise InvalidInput(f"{name} is not a JSON value.")


def check_config(config: Any, where: str) -> dict[str, Any]:
    """Check that a configuration can be stored as JSON and has only sections of the agent.

    :returns: the configuration.
    :raises InvalidInput: it has no section or an unknown one, or something in it is not valid in JSON.
    """
    if not isinstance(config, dict):
        raise InvalidInput(f"{where} is not an agent configuration: it is not a JSON object.")
    unknown = sorted(config.keys() - SECTIONS)
    if unknown:
        raise InvalidInput(
            f"{where} has sections that the agent does not know: {', '.join(unknown)}. "
            f"The agent knows {', '.join(sorted(SECTIONS))}."
        )
    try:
        json.dumps(config, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} has a number or a character that is not valid in JSON: {error}.") from error
    if REFERENCE in json.dumps(config, ensure_ascii=False):
        raise InvalidInput(
            f"{where} has '{REFERENCE}' in a text, which Parameter Store refuses. If it is a template, render it "
            "first; the agent's own placeholders, such as {instance_id}, have single braces."
        )
    if not config:
        raise InvalidInput(f"{where} is empty: it needs at least one of the sections {', '.join(sorted(SECTIONS))}.")
    return config


def select_tier(current: Parameter | None, desired: DesiredParameter) -> str:
    """Select the smallest tier that holds the configuration, and not a smaller one than the current tier.

    GetParameter does not show the tier, and the admin policy allows no call that does; but a value over the limit of
    the Standard tier proves that the parameter is in the Advanced tier.

    :raises InvalidInput: the configuration does not fit into any tier, or not into the one that the user chose.
    """
    size = len(desired.value.encode())
    tiers = [desired.tier] if desired.tier else list(LIMITS)
    if size > LIMITS[tiers[-1]]:
        raise InvalidInput(
            f"the configuration for '{desired.name}' is {size} bytes when minified; Parameter Store takes "
            f"{LIMITS[tiers[-1]]} in the {tiers[-1]} tier."
        )
    current_size = len(current.value.encode()) if current else 0
    return next(tier for tier in tiers if tier == tiers[-1] or max(size, current_size) <= LIMITS[tier])


def is_equivalent(value: str, config: Mapping[str, Any]) -> bool:
    """Whether a stored value has the same content as a configuration, whatever its spaces and the order of its keys."""
    try:
        # In Python, True equals 1; in JSON text with sorted keys, they differ.
        return json.dumps(json.loads(value), sort_keys=True) == json.dumps(config, sort_keys=True)
    except (ValueError, RecursionError):  # who stored it need not have used this collection
        return False


def is_up_to_date(current: Parameter | None, desired: DesiredParameter) -> bool:
    """Whether the stored configuration is the desired one."""
    return current is not None and is_equivalent(current.value, desired.config)


def plan(current: Parameter | None, desired: DesiredParameter) -> Plan[State]:
    """Plan the step that stores the configuration, where the stored one differs.

    :raises InvalidInput: the configuration is too large, or the parameter has another type.
    """
    tier = select_tier(current, desired)
    if current and current.type != "String":
        raise InvalidInput(
            f"parameter '{desired.name}' exists with type {current.type}, and Parameter Store cannot change the type; "
            "the agent reads a String. Delete the parameter, or choose another name."
        )
    if is_up_to_date(current, desired):
        return Plan(current, current, {desired.name: []})
    step = Step(
        Kind.UPDATE if current else Kind.CREATE,
        "ssm:PutParameter",
        {"name": desired.name, "value": desired.value, "type": "String", "overwrite": True, "tier": tier},
        f"store the configuration in parameter '{desired.name}'",
        retry_when=PERMISSION_RETRY_CODES,
    )
    version = current.version + 1 if current and current.version else 1
    return Plan(current, Parameter(desired.value, version=version), {desired.name: [step]})


def plan_absent(current: Parameter | None, name: str) -> Plan[State]:
    """Plan the step that deletes the parameter."""
    step = Step(
        Kind.DELETE,
        "ssm:DeleteParameter",
        {"name": name},
        f"delete parameter '{name}'",
        done_when=frozenset({"ParameterNotFound"}),
    )
    return Plan(current, None, {name: [step] if current else []})


def to_result(name: str, parameter: Parameter | None) -> dict[str, Any] | None:
    """Render the parameter for the result; its size is in bytes."""
    if parameter is None:
        return None
    size = len(parameter.value.encode())
    return {"name": name, "value": parameter.value, "size": size, "version": parameter.version}


def to_diff(name: str, parameter: Parameter | None) -> dict[str, Any]:
    """Render the parameter for the diff, with the configuration in readable form."""
    if parameter is None:
        return {}
    try:
        config = json.loads(parameter.value)
    except (ValueError, RecursionError):
        config = parameter.value
    return {"name": name, "type": parameter.type, "config": config}


def render_change(name: str, before: Parameter | None, after: Parameter | None) -> dict[str, Any]:
    """Render the change of a configuration for the diff, one line for each JSON path.

    :returns: nothing where a configuration is created or deleted, is not changed, or where a value is not JSON.
    """
    if before is None or after is None:
        return {}
    try:
        lines = differences(json.loads(before.value), json.loads(after.value))
    except (ValueError, RecursionError):
        return {}
    return {"prepared": "".join(f"{line}\n" for line in [f"parameter '{name}'", *lines])} if lines else {}
