# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles configurations into a fitted policy: exactly what agents that read them need. Pure.

An agent can merge several configurations. So the policy allows what each needs alone, and what they need together.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
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
    SERVER_POLICY,
    permissions_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import quote, short_path
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.split import minify
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.structure import COUNTER, SECTIONS
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import Need

# The characters of a managed policy, without white space, and the policies of a principal. Two of these are left for
# other policies, such as the one of SSM. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAX_POLICY, MAX_ATTACHED = 6144, 10
MAX_POLICIES = MAX_ATTACHED - 2
ANY = "*"
PARTITION, ACCOUNT = "{partition}", "{account}"
# As long as the longest in AWS.
_LONGEST = {PARTITION: "aws-us-gov", ACCOUNT: "123456789012"}
# With a placeholder at the beginning, or after the beginnings that most names have.
_EVERY_GROUP = re.compile(r".*:log-group:(?:/(?:aws/?)?)?\*.*")
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

    def to_policy(self) -> dict[str, Any]:
        """Render the statement for a policy."""
        words = re.sub(r"[^A-Za-z0-9 ]", "", self.use).split()
        found: dict[str, Any] = {
            "Sid": "".join(f"{word[0].upper()}{word[1:]}" for word in words),
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": ANY if self.condition else list(self.names),
        }
        if self.condition:
            operator, key = self.condition
            found["Condition"] = {operator: {key: list(self.names)}}
        return found


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
    """Return the policy that allows exactly what agents with these configurations need.

    :raises InvalidInput: a part of them needs permissions that are not known or that nothing limits, or the policy
        would be too long. The message lists all such parts.
    """
    refusals = [f"{each.name}: {refusal}" for each in sources for refusal in _refusals(each)]
    statements: list[Statement] = []
    # A text has been refused.
    configs = [] if refusals else [each.config for each in sources if not isinstance(each.config, str)]
    for source, config in zip(sources, configs):
        allowed, refused = _compile(source, config, configs, scope)
        statements += allowed
        refusals += [f"{source.name}: {each}" for each in refused]
    if refusals:
        raise InvalidInput(f"No fitted policy is possible. {' '.join(f'{each}.' for each in refusals)}")
    joined = _join(statements)
    return Fitted(tuple(_pack(joined)), tuple(_notices(joined)))


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
    source: Source, config: Mapping[str, Any], others: Sequence[Mapping[str, Any]], scope: Scope
) -> tuple[list[Statement], list[str]]:
    """Return the statements that a configuration needs, and why some parts have none."""
    own = source.regions or (ANY,)
    statements, refusals = list(_reading(source, own, scope)), []
    regions = named_regions([config]) or tuple(dict.fromkeys([*own, *named_regions(others)]))
    for need in permissions_of(config, None, others):
        # The owner of an assumed role decides about its permissions.
        if not need.role:
            try:
                statements += _statements(need, regions, scope)
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
    yield Statement("reading the configuration", ("ssm:GetParameter",), (), names)
    if source.is_encrypted:
        encrypted = _fill([template], source.parameters, regions, scope)
        condition = ("StringLike", "kms:EncryptionContext:PARAMETER_ARN")
        yield Statement("decrypting the configuration", ("kms:Decrypt",), condition, encrypted)


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


def _join(statements: Iterable[Statement]) -> list[Statement]:
    """Return one statement for each use, sorted, so that equal needs always have equal policies."""
    names: dict[Statement, set[str]] = defaultdict(set)
    for each in statements:
        names[replace(each, names=())].update(each.names)
    return sorted(replace(each, names=tuple(sorted(found))) for each, found in names.items())


def _pack(statements: Iterable[Statement]) -> list[dict[str, Any]]:
    """Return the policies for statements. A statement that is too long goes on in the next policy."""
    packed: list[list[Statement]] = []
    for one in (replace(statement, names=(name,)) for statement in statements for name in statement.names):
        longer = _add(packed[-1], one) if packed else []
        if not packed or _size(longer) > MAX_POLICY:
            packed.append([one])
        else:
            packed[-1] = longer
        if len(packed) > MAX_POLICIES:
            raise InvalidInput(
                f"No fitted policy is possible. It would need more than {MAX_POLICIES} managed policies of "
                f"{MAX_POLICY} characters, and a principal can have {MAX_ATTACHED}, including others. Use fewer log "
                f"groups, or {SERVER_POLICY}."
            )
    return [_document(each) for each in packed]


def _add(statements: Sequence[Statement], one: Statement) -> list[Statement]:
    """Return statements with another name of the last one, or with another one."""
    *earlier, last = statements
    if replace(last, names=()) == replace(one, names=()):
        return [*earlier, replace(last, names=(*last.names, *one.names))]
    return [*statements, one]


def _document(statements: Iterable[Statement]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [each.to_policy() for each in statements]}


def _size(statements: Iterable[Statement]) -> int:
    text = minify(_document(statements))
    for name, longest in _LONGEST.items():
        text = text.replace(name, longest)
    return len(text)


def _notices(statements: Iterable[Statement]) -> Iterator[str]:
    for name in sorted({name for each in statements for name in each.names if _EVERY_GROUP.fullmatch(name)}):
        pattern = name.partition(":log-group:")[2]
        if pattern.endswith(":*"):
            yield f"The policy allows very many log groups: all whose names match {pattern[:-2]}."
