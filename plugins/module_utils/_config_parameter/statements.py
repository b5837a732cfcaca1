# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statements of fitted policies: as data, in the documents of policies, and read from such documents. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.narrowing import VALUE
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import ROWS, SERVER_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import PARAMETER_PREFIX, fitted_access
from ansible_collections.cwagent.iam.plugins.module_utils._text import to_printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

# The characters of a managed policy, without white space, and the policies of a principal. Two of these are left for
# other policies, such as the one of SSM. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAX_POLICY, MAX_ATTACHED = 6144, 10
MAX_POLICIES = MAX_ATTACHED - 2
ANY = "*"
PARTITION, ACCOUNT = "{partition}", "{account}"
# As long as the longest in AWS.
_LONGEST = {PARTITION: "aws-us-gov", ACCOUNT: "123456789012"}
_KEYS = {"Sid", "Effect", "Action", "Resource", "Condition"}
# The calls that every agent or every admin principal makes. They have no row.
GET, DECRYPT, PUT = "ssm:GetParameter", "kms:Decrypt", "ssm:PutParameter"
DECRYPT_CONDITION = ("StringLike", "kms:EncryptionContext:PARAMETER_ARN")
_PARAMETER = f"arn:{{partition}}:ssm:{{region}}:{{account}}:parameter/{VALUE}"
_PARAMETER_NAME = rf"{PARAMETER_PREFIX}[\w.-]+"
# Something that is allowed: an action, the operator and key of a condition, and a resource or a value of the condition.
Grant = tuple[str, tuple[str, ...], str]
_MAX_SHOWN = 200
_HIDDEN = "not shown, because configurations are encrypted"


@dataclass(frozen=True, order=True)
class Statement:
    """A statement that allows some actions.

    :param use: its purpose, from which its Sid is made.
    :param condition: the operator and the key, whose values are ``names``. Without them, ``names`` are the resources.
    """

    use: str
    actions: tuple[str, ...]
    condition: tuple[str, str] | tuple[()] = ()
    names: tuple[str, ...] = (ANY,)

    @property
    def sid(self) -> str:
        """The Sid. The Sid of a statement whose use is a Sid is the same."""
        words = re.sub(r"[^A-Za-z0-9 ]", "", self.use).split()
        return "".join(f"{word[0].upper()}{word[1:]}" for word in words)

    @property
    def grants(self) -> frozenset[Grant]:
        """Everything that it allows: each action with each name, under the condition."""
        return frozenset((action, self.condition, name) for action in self.actions for name in self.names)

    def to_policy(self) -> dict[str, Any]:
        """Render the statement for a policy."""
        found: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": ANY if self.condition else list(self.names),
        }
        if self.condition:
            operator, key = self.condition
            found["Condition"] = {operator: {key: list(self.names)}}
        return found


def grants_of(statements: Iterable[Statement]) -> frozenset[Grant]:
    """Return everything that statements allow. Two documents are equal if they allow the same."""
    return frozenset(grant for each in statements for grant in each.grants)


def take_apart(statements: Iterable[Statement]) -> list[Statement]:
    """Return a statement for each name of statements, each once, with Sids as uses."""
    parts = (replace(each, use=each.sid, names=(name,)) for each in statements for name in each.names)
    return list(dict.fromkeys(parts))


def join(statements: Iterable[Statement]) -> list[Statement]:
    """Return one statement for each use, sorted, so that equal needs always have equal policies."""
    names: dict[Statement, set[str]] = defaultdict(set)
    for each in statements:
        names[replace(each, names=())].update(each.names)
    return sorted(replace(each, names=tuple(sorted(found))) for each, found in names.items())


def pack(statements: Iterable[Statement]) -> list[dict[str, Any]]:
    """Return the policies for statements. A statement that is too long goes on in the next policy."""
    packed: list[list[Statement]] = []
    for one in (replace(statement, names=(name,)) for statement in statements for name in statement.names):
        longer = _add(packed[-1], one) if packed else []
        if not packed or size_of(longer) > MAX_POLICY:
            packed.append([one])
        else:
            packed[-1] = longer
        check_number(len(packed))
    return [to_document(each) for each in packed]


def check_number(count: int) -> None:
    """Check that a principal can have so many fitted policies. :raises InvalidInput: it cannot."""
    if count > MAX_POLICIES:
        raise InvalidInput(
            f"No fitted policy is possible. It would need more than {MAX_POLICIES} managed policies of {MAX_POLICY} "
            f"characters, and a principal can have {MAX_ATTACHED}, including others. Use fewer log groups or "
            f"regions, or {SERVER_POLICY}."
        )


def check_size(statements: Iterable[Statement]) -> None:
    """Check that each statement fits in a policy, with one of its names. :raises InvalidInput: one does not."""
    for each in statements:
        longest = max(each.names, key=lambda name: len(json.dumps(name)))
        size = size_of([replace(each, names=(longest,))])
        if size > MAX_POLICY:
            raise InvalidInput(
                f"the statement for a name of {len(longest):,} characters has {size:,}, and a managed policy has "
                f"{MAX_POLICY:,} at most; use a shorter name"
            )


def _add(statements: Sequence[Statement], one: Statement) -> list[Statement]:
    """Return statements with another name of the last one, or with another one."""
    *earlier, last = statements
    if replace(last, names=()) == replace(one, names=()):
        return [*earlier, replace(last, names=(*last.names, *one.names))]
    return [*statements, one]


def to_document(statements: Iterable[Statement]) -> dict[str, Any]:
    """Render the document of a policy. IAM allows each Sid once, so the second statement of a Sid gets a number."""
    found: list[dict[str, Any]] = []
    for each in (statement.to_policy() for statement in statements):
        sids, sid = {one["Sid"] for one in found}, each["Sid"]
        numbered = (f"{sid}{number or ''}" for number in (0, *range(2, len(found) + 3)))
        found.append({**each, "Sid": next(one for one in numbered if one not in sids)})
    return {"Version": "2012-10-17", "Statement": found}


def size_of(statements: Iterable[Statement]) -> int:
    """Return the characters of a document that IAM counts. boto3 gets it with escapes, as ``json`` writes it."""
    text = json.dumps(to_document(statements), separators=(",", ":"))
    for name, longest in _LONGEST.items():
        text = text.replace(name, longest)
    return len(text)


@dataclass(frozen=True)
class _Form:
    """A form of statements that this collection writes.

    :param condition: the operator and the key. Without them, the statement has resources.
    :param template: of a resource, or of a value of the condition.
    :param values: the form of the values in the template, as a regular expression.
    """

    actions: frozenset[str]
    condition: tuple[str, ...] = ()
    template: str = ANY
    values: str = ""


def _forms() -> Iterator[_Form]:
    yield from (_Form(frozenset({GET}), (), f"{_PARAMETER}{ending}", _PARAMETER_NAME) for ending in ("", ":*"))
    yield _Form(frozenset({DECRYPT}), DECRYPT_CONDITION, _PARAMETER, _PARAMETER_NAME)
    for row in ROWS:
        limit = row.limit
        others = frozenset(row.actions if limit is None else {*row.actions} & {*limit.others})
        if others:
            yield _Form(others)
        if limit and limit.values:
            limited = frozenset(row.actions) - others
            condition = limit.condition[:2] if limit.condition else ()
            templates = limit.condition[2:] if limit.condition else limit.resources
            yield from (_Form(limited, condition, each, limit.values) for each in templates)


_FORMS = {
    "server": [*_forms()],
    "admin": [_Form(frozenset({PUT}), (), _PARAMETER, _PARAMETER_NAME)],
}


@cache
def _pattern(template: str, values: str, partition: str, account: str) -> re.Pattern[str]:
    """Return the names that a template can become in an account, as a regular expression."""
    places = {"{partition}": re.escape(partition), "{account}": account, "{region}": r"(?:[a-z0-9-]+|\*)"}
    for name, place in places.items():
        values = values.replace(name, place)
    known = {**places, VALUE: f"(?:{values})"}
    parts = re.split(r"(\{\w+\})", template)
    return re.compile("".join(known.get(each) or re.escape(each) for each in parts), re.ASCII | re.DOTALL)


def read_document(document: Mapping[str, Any], arn: str) -> tuple[list[Statement], list[str]]:
    """Return the statements of a fitted policy, each with one name, and in words what this collection never writes.

    A part of a statement that somebody has extended is still ours.

    :param arn: of the policy. It decides about the forms of the statements, and about the account in their names.
    """
    partition, account = arn.split(":")[1], arn.split(":")[4]
    forms = _FORMS[fitted_access(arn) or "server"]
    found: list[Statement] = []
    others: list[str] = []
    for given in _as_list(document.get("Statement")):
        statement = _read_statement(given) if isinstance(given, dict) else None
        if statement is None:
            others.append(_describe_statement(given))
            continue
        for name in statement.names:
            fitting = [
                form.actions
                for form in forms
                if form.condition == statement.condition
                and _pattern(form.template, form.values, partition, account).fullmatch(name)
            ]
            own = tuple(each for each in statement.actions if any(each in actions for actions in fitting))
            if own:
                found.append(replace(statement, actions=own, names=(name,)))
            others += [describe((each, statement.condition, name)) for each in statement.actions if each not in own]
    return take_apart(found), others


def covers_encrypted(documents: Iterable[Mapping[str, Any]]) -> bool:
    """Whether fitted policies cover an encrypted configuration. Each of them can contain its names."""
    statements = (each for document in documents for each in _as_list(document.get("Statement")))
    return any(isinstance(each, dict) and DECRYPT in _as_list(each.get("Action")) for each in statements)


def to_shown(document: Mapping[str, Any], shown: Collection[str] | None) -> list[Any]:
    """Return the statements of a fitted policy for output.

    :param shown: the resources and values of the configurations that are not encrypted. All others are counted.
        ``None`` to show everything.
    """
    statements = _as_list(document.get("Statement"))
    return statements if shown is None else [_count_hidden(each, shown) for each in statements]


def _count_hidden(given: Any, shown: Collection[str]) -> Any:
    statement = _read_statement(given) if isinstance(given, dict) else None
    if statement is None:
        return given
    known = [each for each in statement.names if _is_shown(statement.actions, each, shown)]
    hidden = len(statement.names) - len(known)
    if not hidden:
        return given
    names = [*known, f"{hidden} {_HIDDEN}"]
    if not statement.condition:
        return {**given, "Resource": names}
    operator, key = statement.condition
    return {**given, "Condition": {operator: {key: names}}}


def _is_shown(actions: Iterable[str], name: str, shown: Collection[str] | None) -> bool:
    """Whether output contains a name. The names of parameters are no secret, unlike what is in them."""
    return shown is None or name in shown or name == ANY or {*actions} <= {GET, DECRYPT, PUT}


def describe_each(grants: Iterable[Grant], shown: Collection[str] | None) -> list[str]:
    """Return in words what is allowed. :param shown: as of ``to_shown``."""
    hidden: dict[tuple[str, tuple[str, ...]], int] = defaultdict(int)
    found = []
    for action, condition, name in sorted(grants):
        if _is_shown([action], name, shown):
            found.append(describe((action, condition, name)))
        else:
            hidden[action, condition] += 1
    return [*found, *(describe((*grant, f"{number} ({_HIDDEN})")) for grant, number in hidden.items())]


def describe(grant: Grant) -> str:
    """Return in words what is allowed. The end of a long name is left out."""
    action, condition, name = grant
    where = f"with {condition[1]}" if condition else "on"
    text = to_printable(f"{action} {where} {name}")
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _describe_statement(given: Any) -> str:
    sid = to_printable(given.get("Sid", "")) if isinstance(given, dict) else ""
    return f"statement {sid}" if sid else "a statement without a Sid"


def _read_statement(given: Mapping[str, Any]) -> Statement | None:
    actions, names = _as_list(given.get("Action")), _as_list(given.get("Resource"))
    conditions = [*_conditions(given.get("Condition", {}))]
    is_known = given.get("Effect") == "Allow" and given.keys() <= _KEYS and actions and names
    if not is_known or len(conditions) > 1 or (conditions and names != [ANY]):
        return None
    statement = Statement(str(given.get("Sid", "")), tuple(map(str, actions)), (), tuple(map(str, names)))
    for operator, key, values in conditions:
        statement = replace(statement, condition=(operator, key), names=tuple(map(str, values)))
    return statement


def _conditions(given: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Any]]]:
    for operator, keys in given.items():
        for key, values in keys.items():
            yield operator, key, _as_list(values)


def _as_list(value: Any) -> list[Any]:
    """Return the values of a place in a policy where IAM accepts one or several."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
