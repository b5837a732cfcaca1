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
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import (
    Decision,
    all_of,
    any_of,
    decision_of,
    negate,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.patterns import (
    MANY,
    ONE,
    is_match,
    to_literal,
    to_pattern,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.patterns import Pattern

    # Whether a value of the request matches one of the policy; the last argument is the answer for a value of the
    # policy that has a variable without a value.
    Comparison = Callable[[str, str, "Context", Decision], Decision]

_VARIABLE = r"\$\{(.*?)\}"
# Of an ARN, those before the resource.
_ARN_SEPARATORS = 5


@dataclass(frozen=True)
class Context:
    """The condition keys of a request.

    :param known: by key, whose case does not matter. No value at all says that the request does not have the key.
    :param unknown: patterns of the keys that are not known. A key that is neither is one that the request lacks.
    :param has_variables: whether the policy is of the version that has variables.
    """

    known: Mapping[str, str | Sequence[str]]
    unknown: frozenset[str] = frozenset()
    has_variables: bool = True
    _values: Mapping[str, tuple[str, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the keys without their case."""
        object.__setattr__(self, "_values", {key.lower(): tuple(to_list(value)) for key, value in self.known.items()})

    def values(self, key: str) -> tuple[str, ...] | None:
        """Return the values of a key; none if the request lacks it, ``None`` if that is not known."""
        if key.lower() in self._values:
            return self._values[key.lower()]
        return None if any(is_match(to_pattern(each), key, ignore_case=True) for each in self.unknown) else ()


def to_list(value: Any) -> list[Any]:
    """Return what a policy has as a list, or as a single value, as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def resolve(
    text: str, context: Context, to_literal_pattern: Callable[[str], Pattern] = to_pattern
) -> Pattern | Decision:
    """Return the pattern of a text with the values of its variables.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html

    :param to_literal_pattern: makes the pattern of what is between variables.
    :return: no if the request lacks a variable that has no default; unknown if its value is not known.
    """
    pattern: Pattern = ()
    for number, part in enumerate(re.split(_VARIABLE, text) if context.has_variables else [text]):
        if number % 2 == 0:
            pattern += to_literal_pattern(part)
        elif part in ("*", "?", "$"):
            pattern += to_literal(part)
        else:
            key, _, default = part.partition(",")
            values = context.values(key.strip())
            if values is None or len(values) > 1:
                return Decision.UNKNOWN
            if not values and not default:
                return Decision.NO
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
    quantifier, _, name = name.lower().rpartition(":")
    base = name[: -len("ifexists")] if name.endswith("ifexists") else name
    compare = _COMPARISONS.get(base.replace("not", "", 1))
    is_negated = "not" in base
    if actual is None or (base != "null" and not compare):
        return Decision.UNKNOWN
    if not compare:
        return decision_of(str(not actual).lower() in [each.lower() for each in expected])
    if not actual:
        is_satisfied = base != name or quantifier == "forallvalues" or (is_negated and not quantifier)
        return decision_of(is_satisfied)
    if len(actual) > 1 and not quantifier:
        return Decision.UNKNOWN  # AWS says what several values mean with a set operator only
    matches = partial(_matches, compare=compare, expected=expected, context=context, is_negated=is_negated)
    return (any_of if quantifier == "foranyvalue" else all_of)(matches(each) for each in actual)


def _matches(actual: str, *, compare: Comparison, expected: list[str], context: Context, is_negated: bool) -> Decision:
    # "If a variable cannot be resolved, this might cause the entire statement to be invalid", also where it is negated.
    unresolved = Decision.UNKNOWN if is_negated else Decision.NO
    found = any_of(compare(actual, each, context, unresolved) for each in expected)
    return negate(found) if is_negated else found


def _to_text(value: Any) -> str:
    """Return a value of a policy as text: JSON has booleans and numbers too."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compare_text(
    to_literal_pattern: Callable[[str], Pattern],
    ignore_case: bool,
    actual: str,
    expected: str,
    context: Context,
    unresolved: Decision,
) -> Decision:
    pattern = resolve(expected, context, to_literal_pattern)
    if isinstance(pattern, Decision):
        return max(pattern, unresolved)
    return decision_of(is_match(pattern, actual, ignore_case=ignore_case))


def _compare_arn(actual: str, expected: str, context: Context, unresolved: Decision) -> Decision:
    """Compare ARNs: each part before the resource is compared alone."""
    pattern = resolve(expected, context)
    if isinstance(pattern, Decision):
        return max(pattern, unresolved)
    separators = [position for position, part in enumerate(pattern) if part == ":"]
    if len(separators) < _ARN_SEPARATORS:
        return Decision.UNKNOWN
    resource = separators[_ARN_SEPARATORS - 1]
    within = {MANY: "[^:]*", ONE: "[^:]"}
    parts = tuple(within.get(each, each) for each in pattern[:resource])
    return decision_of(is_match(parts + pattern[resource:], actual))


def _compare_parsed(
    parse: Callable[[str], Any],
    compare: Callable[[Any, Any], bool],
    actual: str,
    expected: str,
    _context: Context,
    _unresolved: Decision,
) -> Decision:
    """Compare values that are not text, in which AWS replaces no variables."""
    try:
        return decision_of(compare(parse(actual), parse(expected)))
    except (ArithmeticError, TypeError, ValueError):
        return Decision.UNKNOWN


def _to_date(text: str) -> datetime:
    """Return a date in ISO 8601 or in seconds since 1970."""
    if re.fullmatch(r"[0-9]+", text):
        return datetime.fromtimestamp(int(text), timezone.utc)
    date = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _is_in_network(address: Any, network: Any) -> bool:
    return bool(address.network_address in network)


_COMPARISONS: dict[str, Comparison] = {
    "stringequals": partial(_compare_text, to_literal, False),
    "stringequalsignorecase": partial(_compare_text, to_literal, True),
    "stringlike": partial(_compare_text, to_pattern, False),
    "arnequals": _compare_arn,
    "arnlike": _compare_arn,
    "bool": partial(_compare_parsed, str.lower, operator.eq),
    "ipaddress": partial(_compare_parsed, partial(ipaddress.ip_network, strict=False), _is_in_network),
}
_ORDERS: Iterable[tuple[str, Callable[[Any, Any], bool]]] = (
    ("equals", operator.eq),
    ("lessthan", operator.lt),
    ("lessthanequals", operator.le),
    ("greaterthan", operator.gt),
    ("greaterthanequals", operator.ge),
)
for _name, _order in _ORDERS:
    _COMPARISONS[f"numeric{_name}"] = partial(_compare_parsed, float, _order)
    _COMPARISONS[f"date{_name}"] = partial(_compare_parsed, _to_date, _order)
