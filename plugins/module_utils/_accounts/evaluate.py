# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which calls the policies of a principal allow. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html

An answer that depends on something unknown, such as an unread policy or a condition key of the request, is unknown and
never no. No answer considers service and resource control policies, session policies or policies of resources. They may
deny a call that is allowed here.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from enum import IntEnum, auto
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from .._ground.names import PARAMETER_PREFIX, name_of
from .._principals.patterns import MANY, ONE, is_match, representatives, to_literal, to_pattern
from .._principals.window_policy import PUT, TIME_FORMAT, opening_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .._principals.patterns import Pattern
    from .._principals.window_policy import Opening

    Document = Mapping[str, Any]


class Decision(IntEnum):
    """An answer. The members are in the order of how certain a yes is, so the least of several is their conjunction.

    This is Kleene's logic. An answer is unknown only if the known parts do not decide it alone, so yes and no hold
    whatever the unknown parts are.
    """

    NO = auto()
    UNKNOWN = auto()
    YES = auto()


def decision_of(is_true: bool) -> Decision:
    """Return the decision for something that is known."""
    return Decision.YES if is_true else Decision.NO


def negate(decision: Decision) -> Decision:
    """Return the opposite; unknown stays unknown."""
    return {Decision.NO: Decision.YES, Decision.YES: Decision.NO}.get(decision, decision)


def all_of(decisions: Iterable[Decision]) -> Decision:
    """Return whether all are yes; yes if there is none."""
    return min(decisions, default=Decision.YES)


def any_of(decisions: Iterable[Decision]) -> Decision:
    """Return whether one is yes; no if there is none."""
    return max(decisions, default=Decision.NO)


# The colons before the resource of an ARN.
ARN_SEPARATORS = 5
_VARIABLE = r"\$\{(.*?)\}"
_IF_EXISTS = "ifexists"
# The policy version that has variables. A policy without a version has the older one.
_VERSION_WITH_VARIABLES = "2012-10-17"


@dataclass(frozen=True)
class RequestKeys:
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

    def for_version(self, version: str | None) -> RequestKeys:
        """Return the context for a policy of this version."""
        has_variables = version == _VERSION_WITH_VARIABLES
        return self if self.has_variables == has_variables else replace(self, has_variables=has_variables)


NO_KEYS = RequestKeys({})


def to_list(value: Any) -> list[Any]:
    """Return a list for a part of a policy, which can be a list or a single value."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def resolve(
    text: str, context: RequestKeys, to_part: Callable[[str], Pattern] = to_pattern
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


def hold(conditions: Mapping[str, Mapping[str, Any]], context: RequestKeys) -> Decision:
    """Return whether all conditions of a statement hold."""
    return all_of(
        _holds(name, context.values(key), [_to_text(each) for each in to_list(expected)], context)
        for name, keys in conditions.items()
        for key, expected in keys.items()
    )


def _holds(name: str, actual: tuple[str, ...] | None, expected: list[str], context: RequestKeys) -> Decision:
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


def _is_satisfied(name: str, positive: str, actual: str, expected: list[str], context: RequestKeys) -> Decision:
    if name == positive:
        return any_of(_compare(positive, actual, each, context) or Decision.NO for each in expected)
    # "If AWS cannot resolve a variable this might cause the entire statement to be invalid."
    found = (_compare(positive, actual, each, context) for each in expected)
    return negate(any_of(Decision.UNKNOWN if each is None else each for each in found))


def _compare(name: str, actual: str, expected: str, context: RequestKeys) -> Decision | None:
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

# Stands for a policy that could not be read: it may allow and deny everything.
_NOT_READ = {"Action": "*", "Resource": "*", "Condition": {"NotRead": {"": ""}}}
UNREAD: Document = {"Statement": [{"Effect": "Allow", **_NOT_READ}, {"Effect": "Deny", **_NOT_READ}]}
_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# Only a name that begins with a slash may have other characters.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
_NAME_CHARACTERS = f"{_ALPHANUMERIC}_.-"
# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
_SESSION_CHARACTERS = f"{_ALPHANUMERIC}_=,.@-+"
_SESSION_NAME = "??*"
_ARN_CHARACTERS = f"{_SESSION_CHARACTERS}:/#"


@dataclass(frozen=True)
class Policies:
    """The policies of a principal, each as AWS returns it, decoded, or ``UNREAD``.

    :param identity: its inline and attached policies, and its groups' policies.
    :param boundary: its permissions boundary, if it has one.
    """

    identity: Sequence[Document]
    boundary: Document | None = None


@dataclass(frozen=True)
class Caller:
    """A role or a user that calls AWS itself, over HTTPS.

    :param unique_id: as in ``AROAEXAMPLE``.
    :param session: of a role, the name of the session, which is the instance ID on an instance; ``None`` for any.
    :param tags: of a user. The tags of a role are not used: a session may have others.
    """

    arn: str
    unique_id: str
    session: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_user(self) -> bool:
        """Whether it is a user, and not a role."""
        return ":user/" in self.arn

    @property
    def userid(self) -> str | None:
        """The value of ``aws:userid``: https://docs.aws.amazon.com/IAM/latest/UserGuide/
        reference_policies_variables.html#principaltable; ``None`` for any session.
        """
        if self.is_user:
            return self.unique_id
        return None if self.session is None else f"{self.unique_id}:{self.session}"

    def context(self, now: datetime) -> dict[str, str | Sequence[str]]:
        """Return the condition keys of each of its calls. All others are not known."""
        account = self.arn.split(":")[4]
        known: dict[str, str | Sequence[str]] = {
            "aws:CurrentTime": now.strftime(TIME_FORMAT),
            "aws:EpochTime": str(int(now.timestamp())),
            "aws:PrincipalAccount": account,
            "aws:PrincipalArn": self.arn,
            "aws:PrincipalIsAWSService": "false",
            "aws:PrincipalType": "User" if self.is_user else "AssumedRole",
            "aws:ResourceAccount": account,
            "aws:SecureTransport": "true",
            "aws:ViaAWSService": "false",
            "aws:username": name_of(self.arn) if self.is_user else (),
        }
        if self.userid is not None:
            known["aws:userid"] = self.userid
        if self.is_user:
            known.update({f"aws:PrincipalTag/{key}": value for key, value in self.tags.items()})
        return known


@dataclass(frozen=True)
class WriteAccess:
    """Whether a principal may write a configuration parameter.

    :param parameter: the ARN of a parameter that it may write, or perhaps may. The parameter need not exist.
    :param session: the name of the role's session that may write; ``None`` if each session may, or perhaps may.
    :param opening: the deadline and the scope of its open admin window, which denies every other write.
    """

    decision: Decision
    parameter: str | None = None
    session: str | None = None
    opening: Opening | None = None

    @property
    def writes(self) -> str:
        """The answer in one word: ``yes``, ``no``, ``unknown``, or ``window`` for yes within an admin window."""
        return "window" if self.opening else self.decision.name.lower()


def decide(policies: Policies, action: str, resource: str | None, context: RequestKeys = NO_KEYS) -> Decision:
    """Return whether one of a principal's policies allows a request, its boundary does too, and none denies it.

    :param resource: its ARN, or ``*`` for an action that has none; ``None`` if it is not known.
    """

    def has_effect(effect: str, documents: Iterable[Document]) -> Decision:
        return any_of(
            min(_has_resource(statement, resource, keys), hold(statement.get("Condition", {}), keys))
            for version, statement in _statements(documents, action)
            for keys in [context.for_version(version)]
            if statement["Effect"] == effect
        )

    layers = _layers(policies)
    allowed = all_of(has_effect("Allow", layer) for layer in layers)
    return allowed if allowed is Decision.NO else min(allowed, negate(has_effect("Deny", chain(*layers))))


def decide_each(policies: Policies, action: str, resource: str | None, context: RequestKeys = NO_KEYS) -> Decision:
    """Return whether a request for each resource that a pattern matches is allowed; unknown if the answers differ."""
    text = str(resource)
    pattern = to_pattern(text)
    patterns = chain([pattern], _resource_patterns(policies, action, context))
    answers = {
        decide(policies, action, each, context)
        for each in representatives(text.partition("*")[0], patterns, _ARN_CHARACTERS)
        if each is None or is_match(pattern, each)
    }
    return answers.pop() if len(answers) == 1 else Decision.UNKNOWN


def can_write(policies: Policies, caller: Caller, now: datetime, regions: Iterable[str]) -> WriteAccess:
    """Return whether a principal may call ssm:PutParameter for some configuration parameter in one of these regions.

    It may if its policies allow the call now for some name that begins with ``AmazonCloudWatch-``. The parameter need
    not exist. For a role without a given session, it is enough that the policies allow one session. The names are not
    guessed: ``representatives`` finds one for each combination of the patterns in the policies, so no means that there
    is no such name. The same applies to sessions: the answer yes has one session, and no means that every session is
    denied. This function does not check whether anybody can get a session of that name.
    """
    listed = sorted(regions)
    found = _write_access(policies, caller, now, listed)
    if found.decision is Decision.UNKNOWN and caller.userid is None:
        tried = (_write_access(policies, each, now, listed) for each in _sessions(policies, caller))
        found = next((each for each in tried if each.decision is Decision.YES), found)
    openings = [opening for opening in map(opening_of, policies.identity) if opening]
    if openings and found.decision is Decision.YES:
        found = replace(found, opening=min(openings, key=lambda each: each.deadline))
    return found


def _write_access(policies: Policies, caller: Caller, now: datetime, regions: Iterable[str]) -> WriteAccess:
    partition, account = caller.arn.split(":", 5)[1:5:3]
    best = WriteAccess(Decision.NO)
    for region in regions:
        context = RequestKeys({**caller.context(now), "aws:RequestedRegion": region}, frozenset({"*"}))
        prefix = f"arn:{partition}:ssm:{region}:{account}:parameter/{PARAMETER_PREFIX}"
        patterns = _resource_patterns(policies, PUT, context)
        for parameter in representatives(prefix, patterns, _NAME_CHARACTERS):
            decision = decide(policies, PUT, parameter, context) if parameter else Decision.UNKNOWN
            if decision > best.decision:
                best = WriteAccess(decision, parameter, caller.session)
            if decision is Decision.YES:
                return best
    return best


def _sessions(policies: Policies, caller: Caller) -> Iterator[Caller]:
    """Return a role in a session for each combination of the session names that its policies have."""
    prefix = f"{caller.unique_id}:"
    valid = to_pattern(f"{prefix}{_SESSION_NAME}")
    values = (
        to_pattern(str(each))
        for _version, statement in _statements(chain(*_layers(policies)), PUT)
        for keys in statement.get("Condition", {}).values()
        for key, expected in keys.items()
        if key.lower() == "aws:userid"
        for each in to_list(expected)
    )
    for userid in representatives(prefix, chain([valid], values), _SESSION_CHARACTERS):
        if userid and is_match(valid, userid):
            yield replace(caller, session=userid[len(prefix) :])


def _resource_patterns(policies: Policies, action: str, context: RequestKeys) -> Iterator[Pattern]:
    """Return the patterns of all resources in statements about an action."""
    for version, statement in _statements(chain(*_layers(policies)), action):
        for text in to_list(statement["NotResource" if "NotResource" in statement else "Resource"]):
            resolved = (resolve(each, context.for_version(version)) for each in _complete(text))
            yield from (each for each in resolved if isinstance(each, tuple))


def _layers(policies: Policies) -> list[Sequence[Document]]:
    """Return groups of policies; a request needs a policy in each that allows it."""
    return [policies.identity] if policies.boundary is None else [policies.identity, [policies.boundary]]


def _statements(documents: Iterable[Document], action: str) -> Iterator[tuple[str | None, Document]]:
    """Return the statements about an action, each with the version of its policy."""
    for document in documents:
        for statement in to_list(document["Statement"]):
            if _has_action(statement, action):
                yield document.get("Version"), statement


def _has_action(statement: Document, action: str) -> bool:
    if "NotAction" in statement:
        return not any(_is_action(each, action) for each in to_list(statement["NotAction"]))
    return any(_is_action(each, action) for each in to_list(statement["Action"]))


@lru_cache(maxsize=10_000)
def _is_action(pattern: str, action: str) -> bool:
    return is_match(to_pattern(pattern), action, ignore_case=True)


def _has_resource(statement: Document, resource: str | None, context: RequestKeys) -> Decision:
    if "NotResource" not in statement:
        return any_of(_is_resource(each, resource, context) or Decision.NO for each in to_list(statement["Resource"]))
    # "If AWS cannot resolve a variable this might cause the entire statement to be invalid."
    found = (_is_resource(each, resource, context) for each in to_list(statement["NotResource"]))
    return negate(any_of(Decision.UNKNOWN if each is None else each for each in found))


def _is_resource(text: str, resource: str | None, context: RequestKeys) -> Decision | None:
    """Return whether a pattern matches a resource; ``None`` if it has a variable that the request lacks."""
    if resource is None:
        return Decision.YES if text == "*" else Decision.UNKNOWN
    patterns = [resolve(each, context) for each in _complete(text)]
    answers = {each if not isinstance(each, tuple) else decision_of(is_match(each, resource)) for each in patterns}
    return answers.pop() if len(answers) == 1 else Decision.UNKNOWN


def _complete(text: str) -> list[str]:
    """Return a pattern of ARNs as it is and, if it has too few parts, with the parts that it lacks.

    AWS adds the parts that an ARN lacks, but also lets a wildcard at the end of a part match beyond it. For a pattern
    such as ``arn:aws:ssm:*:parameter/x`` these are two meanings.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    """
    lacking = ARN_SEPARATORS - text.count(":") if text.startswith("arn:") else 0
    return [text, text + ":*" * lacking] if lacking > 0 else [text]
