# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conditions of a policy, and its variables. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import ipaddress
import operator
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import (
    Decision,
    all_of,
    any_of,
    decision_of,
    negate,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.patterns import (
    MANY,
    ONE,
    is_match,
    to_literal,
    to_pattern,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._principal.patterns import Pattern

# The colons before the resource of an ARN.
ARN_SEPARATORS = 5
_VARIABLE = r"\$\{(.*?)\}"
_IF_EXISTS = "ifexists"
# The policy version that has variables. A policy without a version has the older one.
_VERSION_WITH_VARIABLES = "2012-10-17"


@dataclass(frozen=True)
class Context:
    """The condition keys of a request.

    :param known: the values by key, in any case. If a key has an empty list, the request lacks the key.
    :param unknown: patterns of the keys whose values are not known. The request lacks every other key.
    :param has_variables: whether the policy has the version with variables.
    """

    known: Mapping[str, str | Sequence[str]]
    unknown: frozenset[str] = frozenset()
    has_variables: bool = True
    _values: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Index the values by key in lower case."""
        object.__setattr__(self, "_values", {key.lower(): tuple(to_list(value)) for key, value in self.known.items()})

    def values(self, key: str) -> tuple[str, ...] | None:
        """Return the values of a key; an empty tuple if the request lacks it, ``None`` if they are not known."""
        if key.lower() in self._values:
            return self._values[key.lower()]
        return None if any(is_match(to_pattern(each), key, ignore_case=True) for each in self.unknown) else ()

    def for_version(self, version: str | None) -> Context:
        """Return the context for a policy of this version."""
        has_variables = version == _VERSION_WITH_VARIABLES
        return self if self.has_variables == has_variables else replace(self, has_variables=has_variables)


def to_list(value: Any) -> list[Any]:
    """Return a list for a part of a policy, which can be a list or a single value."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def resolve(
    text: str, context: Context, to_part: Callable[[str], Pattern] = to_pattern
) -> Pattern | Literal[Decision.UNKNOWN] | None:
    """Return the pattern of a text with the values of its variables.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html

    :param to_part: returns the pattern of the text between the variables.
    :return: unknown if the value of a variable is unknown; ``None`` if the request lacks a variable without a default.
    """
    pattern: Pattern = ()
    for number, part in enumerate(re.split(_VARIABLE, text) if context.has_variables else [text]):
        if number % 2 == 0:
            pattern += to_part(part)
        elif part in {"*", "?", "$"}:
            pattern += to_literal(part)
        else:
            key, _comma, default = part.partition(",")
            values = context.values(key.strip())
            if values is None or len(values) > 1:
                return Decision.UNKNOWN
            if not values and not default:
                return None
            pattern += to_literal(values[0] if values else default.strip().strip("'"))
    return pattern


def hold(conditions: Mapping[str, Mapping[str, Any]], context: Context) -> Decision:
    """Return whether all conditions of a statement hold."""
    return all_of(
        _holds(name, context.values(key), [_to_text(each) for each in to_list(expected)], context)
        for name, keys in conditions.items()
        for key, expected in keys.items()
    )


def _holds(name: str, actual: tuple[str, ...] | None, expected: list[str], context: Context) -> Decision:
    quantifier, _colon, name = name.lower().rpartition(":")
    suffixed = name.endswith(_IF_EXISTS)
    name = name[: -len(_IF_EXISTS)] if suffixed else name
    positive = name.replace("not", "")
    if actual is None or positive not in {"null", *_TEXT, *_TYPED}:
        return Decision.UNKNOWN
    if name == "null":
        return decision_of(str(not actual).lower() in [each.lower() for each in expected])
    if not actual:
        is_negated = positive != name
        return decision_of(suffixed or quantifier == "forallvalues" or (is_negated and not quantifier))
    if len(actual) > 1 and not quantifier:
        return Decision.UNKNOWN  # AWS defines several values with a set operator only
    combine = any_of if quantifier == "foranyvalue" else all_of
    return combine(_is_satisfied(name, positive, each, expected, context) for each in actual)


def _is_satisfied(name: str, positive: str, actual: str, expected: list[str], context: Context) -> Decision:
    if name == positive:
        return any_of(_compare(positive, actual, each, context) or Decision.NO for each in expected)
    # "If AWS cannot resolve a variable this might cause the entire statement to be invalid."
    found = (_compare(positive, actual, each, context) for each in expected)
    return negate(any_of(Decision.UNKNOWN if each is None else each for each in found))


def _compare(name: str, actual: str, expected: str, context: Context) -> Decision | None:
    """Compare two values. :return: ``None`` if the expected one has a variable that the request lacks."""
    if name in _TEXT:
        to_part, compare_text = _TEXT[name]
        pattern = resolve(expected, context, to_part)
        return compare_text(pattern, actual) if isinstance(pattern, tuple) else pattern
    parse, compare = _TYPED[name]  # AWS replaces no variables in these
    try:
        return decision_of(compare(parse(actual), parse(expected)))
    except (OverflowError, ValueError):
        return Decision.UNKNOWN


def _to_text(value: Any) -> str:
    """Return a value of a policy as text: JSON has booleans and numbers too."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_text(pattern: Pattern, text: str) -> Decision:
    return decision_of(is_match(pattern, text))


def _is_text_in_any_case(pattern: Pattern, text: str) -> Decision:
    return decision_of(is_match(pattern, text, ignore_case=True))


def _is_arn(pattern: Pattern, text: str) -> Decision:
    """Compare ARNs. Each part before the resource is compared alone, so wildcards there do not match a colon."""
    separators = [position for position, part in enumerate(pattern) if part == ":"]
    if len(separators) < ARN_SEPARATORS:
        return Decision.UNKNOWN
    resource = separators[ARN_SEPARATORS - 1]
    within = {MANY: "[^:]*", ONE: "[^:]"}
    parts = tuple(within.get(each, each) for each in pattern[:resource])
    return decision_of(is_match(parts + pattern[resource:], text))


def _to_date(text: str) -> datetime:
    """Return a date, which is in ISO 8601 or in seconds since 1970."""
    if re.fullmatch(r"[0-9]+", text):
        return datetime.fromtimestamp(int(text), timezone.utc)
    date = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _is_in_network(address: Any, network: Any) -> bool:
    return address.network_address in network


_TEXT: dict[str, tuple[Callable[[str], Pattern], Callable[[Pattern, str], Decision]]] = {
    "stringequals": (to_literal, _is_text),
    "stringequalsignorecase": (to_literal, _is_text_in_any_case),
    "stringlike": (to_pattern, _is_text),
    "arnequals": (to_pattern, _is_arn),
    "arnlike": (to_pattern, _is_arn),
}
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": operator.eq,
    "lessthan": operator.lt,
    "lessthanequals": operator.le,
    "greaterthan": operator.gt,
    "greaterthanequals": operator.ge,
}
_TYPED: dict[str, tuple[Callable[[str], Any], Callable[[Any, Any], bool]]] = {
    "bool": (str.lower, operator.eq),
    "ipaddress": (partial(ipaddress.ip_network, strict=False), _is_in_network),
    **{f"numeric{name}": (float, order) for name, order in _ORDERS.items()},
    **{f"date{name}": (_to_date, order) for name, order in _ORDERS.items()},
}
