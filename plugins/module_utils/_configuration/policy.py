# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles configurations into a fitted policy, with the permissions that agents need to run them. Pure.

An agent can merge several configurations. So the policy allows what each needs alone, and what they need together. Its
statements are data, which this file also renders as policies and reads from them.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.names import PARAMETER_PREFIX, fitted_access
from .._ground.text import count_noun, join_first, to_printable
from .json_path import find_values
from .parts import other_parts
from .permissions import ASSUME, GROUPS, REGION, ROWS, SERVER_POLICY, VALUE, permissions_of, roles_of_parts
from .problems import quote, short_path
from .validate import COUNTER, SECTIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .permissions import Need


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


# With a placeholder at the beginning, or after the beginnings that most names have.
_EVERY_GROUP = re.compile(r".*:log-group:(?:/(?:aws/?)?)?\*.*")
# The names in braces in an escaped name of a log group, which a statement replaces.
_FILLED = re.compile(r"\\\{(?:partition|region|account)\\\}")
# The end of the resources that stand for a log group with its streams.
_EVERY_STREAM = re.compile(r":\*$")
# The objects whose keys are things to collect. Each key needs other permissions.
_COLLECTIONS = (
    ("metrics", "metrics_collected"),
    ("logs", "logs_collected"),
    ("logs", "metrics_collected"),
    ("traces", "traces_collected"),
    ("opentelemetry", "collect"),
)
_UNKNOWN = "the table of permissions does not contain this section"
_RESOURCE_ARN = "whether the agent needs more permissions for another resource is not known"
_RETENTION = "logs:PutRetentionPolicy"
_ROLE_FIELDS = [field for row in ROWS if ASSUME in row.actions for field in row.fields]
_MAX_LISTED = 3
# Instead of a message, which can quote a text or a key.
HIDDEN = "no policy can be made of its text, which is not shown because it is encrypted"
_YAML = "the permissions for an OpenTelemetry configuration in YAML are not known"


@dataclass(frozen=True)
class Source:
    """A configuration that agents read.

    :param config: a text if it is an OpenTelemetry configuration in YAML.
    :param parameters: the names of the parameters that hold it.
    :param regions: the regions of the agents that read it. It is empty if no region is known.
    :param is_encrypted: whether a parameter is a ``SecureString``.
    """

    name: str
    config: Mapping[str, Any] | str
    parameters: tuple[str, ...]
    regions: tuple[str, ...] = ()
    is_encrypted: bool = False


@dataclass(frozen=True)
class Scope:
    """Where a fitted policy applies.

    :param account: the ID of the account. By default, the policy contains the names of both in braces.
    :param emf_log_groups: the log groups to which applications send metrics in EMF.
    """

    partition: str = PARTITION
    account: str = ACCOUNT
    emf_log_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A call of an agent.

    :param resources: its resource, or several if it is one of them: the names that the agent makes of a placeholder,
        or the forms of an ARN. In an ARN, ``*`` stands for any text, and ``None`` is an unknown resource.
    :param context: the condition keys that the configuration decides, with their values.
    """

    action: str
    resources: tuple[str | None, ...] = (ANY,)
    context: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Fitted:
    """The fitted policy of some configurations.

    :param policies: the documents. There are several if one would be too long.
    :param notices: sentences about permissions that are wider than they seem.
    """

    policies: tuple[dict[str, Any], ...]
    notices: tuple[str, ...] = ()


def fit(sources: Sequence[Source], scope: Scope) -> Fitted:
    """Return the policy that allows what agents with these configurations need.

    :raises InvalidInput: as ``needed_statements``, or the policy would be too long.
    """
    joined = needed_statements(sources, scope)
    return Fitted(tuple(pack(joined)), tuple(width_notices(joined, sources)))


def needed_statements(sources: Sequence[Source], scope: Scope) -> list[Statement]:
    """Return the statements that allow what agents with these configurations need, one for each use.

    :raises InvalidInput: a part of them needs permissions that are not known or that nothing limits. The message lists
        all such parts.
    """
    compiled = compile_each(sources, scope)
    refusals = [refusal for each in compiled for refusal in each.refusals]
    if refusals:
        raise InvalidInput(f"No fitted policy is possible. {' '.join(f'{each}.' for each in refusals)}")
    return join(statement for each in compiled for statement in each.statements)


@dataclass(frozen=True)
class Compiled:
    """The permissions that a configuration needs. :param refusals: why some parts have no statements, in words."""

    statements: list[Statement]
    refusals: list[str]


def compile_each(sources: Sequence[Source], scope: Scope) -> list[Compiled]:
    """Return the permissions that each configuration needs, alone and together with the others.

    Sources can share a configuration, which is then compiled once for the same regions.
    """
    unknown = [[*_refusals(each)] for each in sources]
    known = [each.config for each, refusals in zip(sources, unknown) if not refusals]
    distinct = list({id(each): each for each in known if not isinstance(each, str)}.values())
    other_regions = named_regions(distinct)
    # The first configuration with each part that a row requires.
    required = [
        first
        for part in {row.requires for row in ROWS if row.requires}
        for first in islice((each for each in distinct if find_values(each, part)), 1)
    ]
    by_name: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        for name in source.parameters:
            by_name[name].append(source)
    compiled: dict[tuple[Any, ...], tuple[list[Statement], list[str]]] = {}
    found = []
    for source, refusals in zip(sources, unknown):
        own, roles = source.regions or (ANY,), _roles_from_parts(source, by_name)
        place = (id(source.config), own, tuple(roles.items()))
        if refusals or isinstance(source.config, str):
            compiled[place] = [], refusals
        elif place not in compiled:
            regions = named_regions([source.config]) or tuple(dict.fromkeys([*own, *other_regions]))
            compiled[place] = _compile(permissions_of(source.config, required, roles), regions, scope)
        statements, why = compiled[place]
        shown = [HIDDEN] if why and source.is_encrypted else why
        found.append(
            Compiled([*_reading(source, own, scope), *statements], [f"{source.name}: {each}" for each in shown])
        )
    return found


def _roles_from_parts(source: Source, by_name: Mapping[str, Sequence[Source]]) -> dict[str, str]:
    """Return the roles that a part of a split configuration takes from the other parts, in all of its regions."""
    others = [name for name in other_parts(source.parameters[0], by_name) if name not in source.parameters]
    if not others:
        return {}

    def roles_in(region: str) -> dict[str, str]:
        versions = ([each for each in by_name[name] if region in (ANY, *(each.regions or [region]))] for name in others)
        known = (part for part in versions if any(not each.regions or region in each.regions for each in part))
        return roles_of_parts([{} if isinstance(each.config, str) else each.config for each in part] for part in known)

    in_regions = [roles_in(region) for region in source.regions or (ANY,)]
    return {field: role for field, role in in_regions[0].items() if all(field in each for each in in_regions)}


def _refusals(source: Source) -> Iterator[str]:
    """Return everything in a configuration that the table does not know."""
    config = source.config
    if not isinstance(config, dict):
        yield _YAML
        return
    yield from (f"{short_path((name,))}: {_UNKNOWN}" for name in config if name not in SECTIONS)
    for section, collection in _COLLECTIONS:
        known = SECTIONS[section].keys[collection].keys
        for path, _value in find_values(config, f"{section}.{collection}.*"):
            is_counter = section == "metrics" and COUNTER.search(str(path[-1]))
            if path[-1] not in known and not is_counter:
                yield f"{short_path(path)}: {_UNKNOWN}"
    if find_values(config, "traces.resource_arn"):
        yield f"{short_path(('traces', 'resource_arn'))}: {_RESOURCE_ARN}"
    for path, region in find_values(config, "agent.region"):
        if not isinstance(region, str) or not REGION.fullmatch(region):
            yield f"{short_path(path)}: {quote(region)} is not a region"


def _compile(needs: Iterable[Need], regions: tuple[str, ...], scope: Scope) -> tuple[list[Statement], list[str]]:
    """Return the statements for needs in the regions of the agents, and why some needs have none."""
    statements: list[Statement] = []
    refusals: list[str] = []
    for need in needs:
        # The owner of an assumed role decides about its permissions.
        if not need.role:
            try:
                found = [*_statements(need, regions, scope)]
                check_size(found)
                statements += found
            except InvalidInput as error:
                refusals.append(f"{short_path(need.path)}: {error}")
    return statements, list(dict.fromkeys(refusals))


def named_regions(configs: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the regions that configurations contain. If one of them has a region, agents use it for all they merge."""
    return tuple(region for config in configs for _path, region in find_values(config, "agent.region"))


def _reading(source: Source, regions: tuple[str, ...], scope: Scope) -> Iterator[Statement]:
    """Return the statements for reading a configuration, in the region of the instance."""
    template = f"arn:{{partition}}:ssm:{{region}}:{{account}}:parameter/{VALUE}"
    names = _fill([template, f"{template}:*"], source.parameters, regions, scope)
    yield Statement("reading the configuration", (GET,), (), names)
    if source.is_encrypted:
        encrypted = _fill([template], source.parameters, regions, scope)
        yield Statement("decrypting the configuration", (DECRYPT,), DECRYPT_CONDITION, encrypted)


def _statements(need: Need, regions: tuple[str, ...], scope: Scope) -> Iterator[Statement]:
    row, limit = need.row, need.row.limit
    if limit is None:
        yield Statement(row.use, row.actions)
        return
    values = limit.read(need, scope.emf_log_groups)
    limited, others = ([each for each in row.actions if (each in limit.others) == is_other] for is_other in (0, 1))
    if limit.condition is None:
        yield Statement(row.use, tuple(limited), (), _fill(limit.resources, values, regions, scope))
    else:
        operator, key, template = limit.condition
        # A namespace is a text in which nothing is replaced.
        names = tuple(values) if operator == "StringEquals" else _fill([template], values, regions, scope)
        yield Statement(row.use, tuple(limited), (operator, key), names)
    if others:
        yield Statement(f"{row.use} anywhere", tuple(others))


def calls_for(need: Need, region: str, scope: Scope) -> list[Call]:
    """Return the calls that a fitted policy allows for a need of an agent in a region.

    If nothing can limit them, their resource is the row's, or unknown.
    """
    try:
        statements = [*_statements(need, (region,), scope)]
    except InvalidInput:
        resource = need.resource(scope.partition, region, scope.account)
        return [Call(action, (resource,)) for action in need.row.actions]
    calls = (_call(need, statement, action) for statement in statements for action in statement.actions)
    return sorted(calls, key=lambda each: need.row.actions.index(each.action))


def _call(need: Need, statement: Statement, action: str) -> Call:
    if statement.condition:
        return Call(action, (need.row.resource,), tuple((statement.condition[1], name) for name in statement.names))
    if need.row.limit is GROUPS:
        return Call(action, tuple(_EVERY_STREAM.sub(":log-stream:*", name) for name in statement.names))
    return Call(action, statement.names)


def _fill(templates: Iterable[str], values: Iterable[str], regions: tuple[str, ...], scope: Scope) -> tuple[str, ...]:
    found = []
    for template, value, region in product(templates, values, regions):
        text = template.replace(VALUE, value)
        for name, known in (("partition", scope.partition), ("region", region), ("account", scope.account)):
            text = text.replace(f"{{{name}}}", known)
        found.append(text)
    return tuple(found)


def _places_of_group(pattern: str, sources: Iterable[Source]) -> list[str]:
    """Return where the configurations name log groups with a pattern: the parameters, each with a path."""
    found: dict[str, None] = {}
    for source in sources:
        needs = [] if isinstance(source.config, str) else permissions_of(source.config)
        for need in needs:
            if need.row.limit is not GROUPS or need.role:
                continue
            try:
                names = GROUPS.read(need, ())
            except InvalidInput:  # the log groups of EMF, which are not in the configuration
                continue
            if any(re.fullmatch(_FILLED.sub(".+", re.escape(name)), pattern) for name in names):
                place = "" if source.is_encrypted else f" ({short_path(need.path)})"
                found.update(dict.fromkeys(f"{each}{place}" for each in source.parameters))
    return list(found)


def width_notices(
    statements: Iterable[Statement], sources: Sequence[Source], shown: Collection[str] | None = None
) -> Iterator[str]:
    """Return a sentence about each permission that is wider than it seems.

    :param sources: the configurations that need the permissions.
    :param shown: the resources of configurations that are not encrypted. The others are counted. ``None`` shows all.
    """
    yield from _group_notices(statements, sources, shown)
    yield from _role_notices(sources, shown)


def _group_notices(
    statements: Iterable[Statement], sources: Sequence[Source], shown: Collection[str] | None
) -> Iterator[str]:
    actions: dict[str, set[str]] = defaultdict(set)
    hidden: set[str] = set()
    for each in statements:
        for name in filter(_EVERY_GROUP.fullmatch, each.names):
            pattern = name.partition(":log-group:")[2]
            actions[pattern].update(each.actions)
            if shown is not None and name not in shown:
                hidden.add(pattern)
    for pattern in sorted(each for each in actions.keys() - hidden if each.endswith(":*")):
        retention = " It also allows setting their retention." if _RETENTION in actions[pattern] else ""
        places = join_first(_places_of_group(pattern[:-2], sources), _MAX_LISTED)
        why = f", because of {places}" if places else ""
        yield f"The policy allows very many log groups{why}: all whose names match {pattern[:-2]}.{retention}"
    if hidden:
        count = count_noun(len({each.removesuffix(":*") for each in hidden}), "pattern")
        yield f"The policy allows very many log groups, because of {count} in encrypted configurations."


def _role_notices(sources: Iterable[Source], shown: Collection[str] | None) -> Iterator[str]:
    roles: dict[str, set[str]] = defaultdict(set)
    for source, field in product(sources, _ROLE_FIELDS):
        for _path, role in find_values(source.config, field):
            is_hidden = shown is not None and role not in shown
            roles["a role of an encrypted configuration" if is_hidden else str(role)].update(source.parameters)
    for role, names in sorted(roles.items()):
        listed = join_first(sorted(names), _MAX_LISTED)
        yield (
            f"The policy lets servers assume {role}, because of {listed}. Anyone who may store a configuration can add "
            "other roles."
        )
