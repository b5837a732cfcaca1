# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CloudWatch agent configurations: what is valid, what fits Parameter Store, and whether to write. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import PERMISSION_RETRY_CODES, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import PARAMETER_PREFIX
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

# The policies AWS manages allow no other names.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
_NAME = r"[A-Za-z0-9_.-]+"
MAX_NAME = 1011
# https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html, in bytes
LIMITS = {"Standard": 4096, "Advanced": 8192}
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-Configuration-File-Details.html and
# the agent's own schema, which lets unknown sections through
SECTIONS = frozenset({"agent", "metrics", "logs", "traces", "opentelemetry"})


@dataclass(frozen=True)
class Parameter:
    """A parameter as it is stored."""

    value: str
    type: str = "String"
    version: int | None = None


@dataclass(frozen=True)
class DesiredParameter:
    """A parameter as it is wanted. :param tier: ``None`` for the smallest that fits."""

    name: str
    config: Mapping[str, Any]
    tier: str | None = None

    @property
    def value(self) -> str:
        """The configuration as it is stored: JSON without spaces, in UTF-8."""
        return json.dumps(self.config, separators=(",", ":"), ensure_ascii=False)


def check_parameter_name(name: str) -> None:
    """Refuse a name that the agent's policies do not cover or AWS refuses. :raises InvalidInput: it says why."""
    if not name.startswith(PARAMETER_PREFIX):
        raise InvalidInput(
            f"parameter name '{name}' does not begin with {PARAMETER_PREFIX}: the agent's policies allow no other "
            "parameters."
        )
    if not re.fullmatch(_NAME, name) or len(name) > MAX_NAME:
        raise InvalidInput(f"parameter name '{name}': AWS allows letters, digits and any of _.- in up to {MAX_NAME}.")


def parse(text: str, where: str) -> dict[str, Any]:
    """A configuration from its JSON text.

    :param where: where it comes from, for the error.
    :raises InvalidInput: it is no JSON object, with the place of the mistake, or no agent configuration.
    """
    try:
        config = json.loads(text, object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{where} is not JSON: {error.msg} at line {error.lineno} column {error.colno}.") from error
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} is not JSON that can be read: {error}.") from error
    return checked(config, where)


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _value in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise InvalidInput(f"the key '{twice[0]}' stands twice in one object.")
    return dict(pairs)


def _reject_constant(name: str) -> None:
    raise InvalidInput(f"{name} is no JSON value.")


def checked(config: Any, where: str) -> dict[str, Any]:
    """A configuration that has the agent's sections.

    :raises InvalidInput: it has none, or others.
    """
    if not isinstance(config, dict):
        raise InvalidInput(f"{where} is not an agent configuration: it is no JSON object.")
    unknown = sorted(config.keys() - SECTIONS)
    if unknown:
        raise InvalidInput(
            f"{where} has sections the agent does not know: {', '.join(unknown)}. "
            f"It knows {', '.join(sorted(SECTIONS))}."
        )
    try:
        json.dumps(config, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} holds a number or a character that is no JSON: {error}.") from error
    if not config:
        raise InvalidInput(f"{where} is empty: it needs one of the sections {', '.join(sorted(SECTIONS))}.")
    return config


def select_tier(current: Parameter | None, desired: DesiredParameter) -> str:
    """The smallest tier that holds the configuration and is no step down from what is stored.

    GetParameter does not tell the tier, and the admin policy grants nothing that does; but a value over the Standard
    limit shows that it is Advanced.

    :raises InvalidInput: the configuration fits no tier, or not the one asked for.
    """
    size = len(desired.value.encode())
    tiers = [desired.tier] if desired.tier else list(LIMITS)
    if size > LIMITS[tiers[-1]]:
        raise InvalidInput(
            f"the configuration for '{desired.name}' is {size} bytes when minified; Parameter Store takes "
            f"{LIMITS[tiers[-1]]} in the {tiers[-1]} tier."
        )
    stored = len(current.value.encode()) if current else 0
    return next(tier for tier in tiers if tier == tiers[-1] or max(size, stored) <= LIMITS[tier])


def is_equivalent(value: str, config: Mapping[str, Any]) -> bool:
    """Whether a stored value says the same as a configuration, whatever its spaces and order of keys."""
    try:
        # Python takes True for 1 and 1 for 1.0; JSON's texts with sorted keys tell the first apart.
        return json.dumps(json.loads(value), sort_keys=True) == json.dumps(config, sort_keys=True)
    except ValueError:
        return False


def is_stored(current: Parameter | None, desired: DesiredParameter) -> bool:
    """Whether what is stored says what is wanted."""
    return current is not None and is_equivalent(current.value, desired.config)


def plan(current: Parameter | None, desired: DesiredParameter) -> Plan:
    """The one step that stores the configuration, where what is stored says something else."""
    tier = select_tier(current, desired)
    if current and current.type != "String":
        raise InvalidInput(
            f"parameter '{desired.name}' exists with type {current.type}, and Parameter Store changes no type; the agent "
            "reads a String. Delete it, or choose another name."
        )
    if is_stored(current, desired):
        return Plan({desired.name: []})
    arguments = {"name": desired.name, "value": desired.value, "type": "String", "overwrite": True, "tier": tier}
    words = f"store the configuration in parameter '{desired.name}'"
    return Plan({desired.name: [Step("ssm:PutParameter", arguments, words, retry_when=PERMISSION_RETRY_CODES)]})


def plan_absent(current: Parameter | None, name: str) -> Plan:
    """The one step that deletes the parameter."""
    words = f"delete parameter '{name}'"
    step = Step("ssm:DeleteParameter", {"name": name}, words, done_when=frozenset({"ParameterNotFound"}))
    return Plan({name: [step] if current else []})


def report(name: str, parameter: Parameter | None) -> dict[str, Any] | None:
    """The parameter for the result. :returns: the size is in bytes."""
    if parameter is None:
        return None
    size = len(parameter.value.encode())
    return {"name": name, "value": parameter.value, "size": size, "version": parameter.version}


def render(name: str, parameter: Parameter | None) -> dict[str, Any]:
    """The parameter for the diff, as a person reads a configuration."""
    if parameter is None:
        return {}
    try:
        config = json.loads(parameter.value)
    except ValueError:
        config = parameter.value
    return {"name": name, "type": parameter.type, "config": config}
