# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of configuration parameters that a fitted policy covers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Union

from .._configuration.options import OFF, GivenConfig, Handling, validate_config
from .._configuration.permissions import ASSUME
from .._configuration.policy import ANY, DECRYPT, GET, HIDDEN, PUT, Source, Statement, compile_each, grants_of
from .._ground.errors import InvalidInput
from .._ground.names import APPLIED_LABEL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .._configuration.policy import Grant, Scope
    from .model import History, Version


# A policy covers what is stored, whatever a newer agent thinks of it.
_LENIENT = Handling(agent_schema=None, parameter_tier=None, tags=None, config_validation=OFF)
WAY_OUT = "Correct it, or leave the parameter out (ignored_parameters, in the playbooks cwagent_ignored_parameters)."


# With a region and the name of a parameter, and perhaps a version or a label.
_PARAMETER = re.compile(r"arn:[^:]*:ssm:([^:]*):[^:]*:parameter/([^:]*)(?::.*)?")
# The names of the parameters decide whether these are ours.
_BY_NAME = frozenset({GET, DECRYPT, PUT})
_REGION = 3


# By text, a configuration, or ``None`` and why the text is none.
Read = dict[str, tuple[Union[Mapping[str, Any], str, None], str]]


class Unread(Enum):
    """The texts that agents can run, and that were not read."""

    NOTHING = "nothing"
    EARLIER = "versions that are no longer stored, or not read"
    STORED = "parameters, or what they need"


@dataclass(frozen=True)
class Text:
    """The text of a parameter that a policy covers, stored or about to be stored.

    :param place: where it is, for messages.
    """

    name: str
    region: str
    value: str
    place: str
    is_encrypted: bool = False


def is_ignored(region: str, name: str, ignored: Collection[str]) -> bool:
    """Whether the user leaves a parameter out, everywhere or as in ``eu-central-1:NAME`` in a region."""
    return name in ignored or f"{region}:{name}" in ignored


def covered_versions(versions: Iterable[Version]) -> list[Version]:
    """Return the versions of a parameter that agents can run.

    These are all with a label, and all since the last that ``apply`` brought to all servers. If it brought none, they
    are all that Parameter Store keeps.
    """
    known = list(versions)
    applied = max((each.number for each in known if APPLIED_LABEL in each.labels), default=0)
    return [each for each in known if each.labels or each.number >= applied]


def with_applied(history: History, number: int | None) -> History:
    """Return a history in which a version has the label of ``apply``. :param number: ``None`` to change nothing."""
    if number is None:
        return history
    labels = {each.number: {*each.labels} - {APPLIED_LABEL} for each in history.versions}
    labels.setdefault(number, set()).add(APPLIED_LABEL)
    return replace(
        history, versions=tuple(replace(each, labels=tuple(sorted(labels[each.number]))) for each in history.versions)
    )


def covered_texts(history: History, *, is_encrypted: bool) -> list[Text]:
    """Return the texts of the covered versions of a parameter. :raises InvalidInput: one of them was not read."""
    found = []
    for each in covered_versions(history.versions):
        place = f"parameter '{history.name}' in {history.region}, version {each.number}"
        if each.value is None:
            raise InvalidInput(f"{place}: it could not be read. {WAY_OUT}")
        found.append(Text(history.name, history.region, each.value, place, is_encrypted))
    return found


def to_sources(texts: Sequence[Text], all_regions: Collection[str] = (), read: Read | None = None) -> list[Source]:
    """Return the configurations in these texts, as ``find_sources``.

    :raises InvalidInput: some are no configurations. The message lists all of them.
    """
    sources, problems = find_sources(texts, all_regions, read)
    if problems:
        raise InvalidInput(f"No fitted policy is possible. {' '.join(problems)} {WAY_OUT}")
    return sources


def find_sources(
    texts: Iterable[Text], all_regions: Collection[str] = (), read: Read | None = None
) -> tuple[list[Source], list[str]]:
    """Return the configurations in these texts, and in sentences why others are none.

    Each text is read once, however many parameters have it.

    :param all_regions: the enabled regions of the account, if they are known. A text that is in all of them has no
        region, so that the policy stays short.
    :param read: by text, what was read of it before. It receives what is read now.
    """
    configs = {} if read is None else read
    seen: set[str] = set()
    groups: dict[tuple[str, str, bool], list[Text]] = {}
    problems: list[str] = []
    for each in texts:
        groups.setdefault((each.name, each.value, each.is_encrypted), []).append(each)
    sources = []
    for (name, value, is_encrypted), same in groups.items():
        if value not in configs:
            configs[value] = _read(name, value)
        config, why = configs[value]
        if why and value not in seen:
            problems.append(f"{same[0].place}: {HIDDEN if is_encrypted else why}.")
        seen.add(value)
        if config is not None:
            sources.append(Source(same[0].place, config, (name,), regions_of(same, all_regions), is_encrypted))
    return sources, problems


def _read(name: str, value: str) -> tuple[Mapping[str, Any] | str | None, str]:
    """Return a configuration, or ``None`` and why the text is none."""
    try:
        found = validate_config(GivenConfig(name, value, None, _LENIENT))
    except InvalidInput as error:
        return None, str(error).rstrip(".")
    return (found.desired.config, "") if found.desired else (None, str(found.errors[0]))


def regions_of(texts: Iterable[Text], all_regions: Collection[str]) -> tuple[str, ...]:
    """Return the regions of texts; none if these are all regions, and more than one."""
    found = {each.region for each in texts}
    return () if len(found) > 1 and found == {*all_regions} else tuple(sorted(found))


@dataclass(frozen=True)
class Known:
    """Everything that the texts of an account need, in all versions that were read.

    :param is_complete: whether this is known of all of them.
    :param shown: the resources and values that texts without encryption contain, so that output can show them.
    """

    grants: frozenset[Grant]
    is_complete: bool = True
    shown: frozenset[str] = frozenset()


def known_grants(texts: Iterable[Text], all_regions: Collection[str], scope: Scope, read: Read | None = None) -> Known:
    """Return everything that texts need, alone and together. :param read: as of ``find_sources``."""
    sources, problems = find_sources(texts, all_regions, read)
    compiled = compile_each(sources, scope)
    grants = grants_of(statement for each in compiled for statement in each.statements)
    plain = (each.statements for source, each in zip(sources, compiled) if not source.is_encrypted)
    shown = frozenset(name for found in plain for each in found for name in each.names)
    return Known(grants, not problems and not any(each.refusals for each in compiled), shown)


def readable_parameters(statements: Iterable[Statement]) -> set[tuple[str, str]]:
    """Return by region and name the parameters that statements of a fitted policy allow reading."""
    arns = {name for each in statements if GET in each.actions for name in each.names}
    return {(match[1], match[2]) for match in map(_PARAMETER.fullmatch, arns) if match}


def find_unexplained(statements: Iterable[Statement], known: Collection[Grant], unread: Unread) -> list[Statement]:
    """Return the parts of statements that none of the configurations of the account needs, so somebody added them.

    A text that was not read can need them. An earlier one can need them too, but no role: servers could assume a role
    of another account as long as anything is missing.

    :param statements: of a fitted policy, each with one name.
    """
    found = []
    for each in statements if unread is not Unread.STORED else ():
        actions = [action for action in each.actions if unread is Unread.NOTHING or action == ASSUME]
        added = [action for action in actions if action not in _BY_NAME and not _is_known(action, each, known)]
        if added:
            found.append(replace(each, actions=tuple(added)))
    return found


def _is_known(action: str, statement: Statement, known: Collection[Grant]) -> bool:
    names = {statement.names[0], _anywhere(statement.names[0])}
    return any((action, statement.condition, each) in known for each in names)


def _anywhere(arn: str) -> str:
    """Return an ARN in any region. It stays as it is without one."""
    parts = arn.split(":")
    is_in_region = arn.startswith("arn:") and len(parts) > _REGION and parts[_REGION]
    return ":".join([*parts[:_REGION], ANY, *parts[_REGION + 1 :]]) if is_in_region else arn
