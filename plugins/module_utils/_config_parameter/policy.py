# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles configurations into a fitted policy, with the permissions that agents need to run them. Pure.

An agent can merge several configurations. So the policy allows what each needs alone, and what they need together.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.json_path import find_values
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.narrowing import (
    GROUPS,
    VALUE,
    Limit,
    Part,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import (
    ASSUME,
    ROWS,
    permissions_of,
    roles_of_parts,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import quote, short_path
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.split import other_parts
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.statements import (
    ACCOUNT,
    ANY,
    DECRYPT,
    DECRYPT_CONDITION,
    GET,
    PARTITION,
    Statement,
    check_size,
    join,
    pack,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.structure import COUNTER, SECTIONS
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._text import count_noun, join_first

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import Need

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
_REGION = re.compile(r"[a-z0-9-]+")
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
    others = _Others(named_regions(distinct), tuple(_required(distinct)))
    parts = _Parts(sources)
    compiled: dict[tuple[Any, ...], tuple[list[Statement], list[str]]] = {}
    found = []
    for source, refusals in zip(sources, unknown):
        regions, roles = source.regions or (ANY,), parts.roles_for(source)
        place = (id(source.config), regions, tuple(roles.items()))
        if refusals or isinstance(source.config, str):
            compiled[place] = [], refusals
        elif place not in compiled:
            compiled[place] = _compile(source.config, regions, others, scope, roles)
        statements, why = compiled[place]
        found.append(Compiled([*_reading(source, regions, scope), *statements], _show(source, why)))
    return found


@dataclass(frozen=True)
class _Others:
    """The configurations with which an agent may merge one. :param configs: the first with each required part."""

    regions: tuple[str, ...]
    configs: tuple[Mapping[str, Any], ...]


class _Parts:
    """The configurations by name, among which some are the parts of split ones."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._by_name: dict[str, list[Source]] = defaultdict(list)
        for each in sources:
            for name in each.parameters:
                self._by_name[name].append(each)

    def roles_for(self, source: Source) -> dict[str, str]:
        """Return the roles that a part takes from the other parts, in all of its regions."""
        others = [name for name in other_parts(source.parameters[0], self._by_name) if name not in source.parameters]
        if not others:
            return {}
        in_regions = [self._roles(others, region) for region in source.regions or (ANY,)]
        return {field: role for field, role in in_regions[0].items() if all(field in each for each in in_regions)}

    def _roles(self, names: Iterable[str], region: str) -> dict[str, str]:
        versions = ([each for each in self._by_name[name] if _can_be_in(each, region)] for name in names)
        known = (part for part in versions if any(not each.regions or region in each.regions for each in part))
        return roles_of_parts([{} if isinstance(each.config, str) else each.config for each in part] for part in known)


def _can_be_in(source: Source, region: str) -> bool:
    return region == ANY or not source.regions or region in source.regions


def _required(configs: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for field in {row.requires for row in ROWS if row.requires}:
        yield from [each for each in configs if find_values(each, field)][:1]


def _show(source: Source, refusals: list[str]) -> list[str]:
    """Return the refusals of a configuration for messages."""
    return [f"{source.name}: {each}" for each in ([HIDDEN] if refusals and source.is_encrypted else refusals)]


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
        if not isinstance(region, str) or not _REGION.fullmatch(region):
            yield f"{short_path(path)}: {quote(region)} is not a region"


def _compile(
    config: Mapping[str, Any], own: tuple[str, ...], others: _Others, scope: Scope, roles: Mapping[str, str]
) -> tuple[list[Statement], list[str]]:
    """Return the statements that a configuration needs, and why some parts have none.

    :param own: the regions of the agents that read it.
    :param roles: the roles in the other parts, if it is a part of a split configuration.
    """
    statements: list[Statement] = []
    refusals: list[str] = []
    regions = named_regions([config]) or tuple(dict.fromkeys([*own, *others.regions]))
    for need in permissions_of(config, others.configs, roles):
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
    values = limit.read(Part(need.path, need.entry, scope.emf_log_groups))
    limited, others = ([each for each in row.actions if (each in limit.others) == is_other] for is_other in (0, 1))
    yield Statement(row.use, tuple(limited), *_limits(limit, values, regions, scope))
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


def _limits(limit: Limit, values: list[str], regions: tuple[str, ...], scope: Scope) -> tuple[Any, tuple[str, ...]]:
    if limit.condition is None:
        return (), _fill(limit.resources, values, regions, scope)
    operator, key, template = limit.condition
    # A namespace is a text in which nothing is replaced.
    names = tuple(values) if operator == "StringEquals" else _fill([template], values, regions, scope)
    return (operator, key), names


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
                names = GROUPS.read(Part(need.path, need.entry, ()))
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
