# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides how an agent gets its desired configurations. Pure.

An agent fetches a new version by its number, so a version that is stored meanwhile reaches no agent untested. The file
of the agent then contains the number in its name, which means that the version has not been proved on this server. Once
it is, the file gets its final name, without a restart.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/start-CloudWatch-Agent-on-premise-SSM-onprem.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._ground.names import is_label, is_part, is_yaml_name, surplus_parts
from .._ground.options import option
from .._ground.plan import Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


# The actions of the agent's control program. The first one removes all other configurations.
FETCH, APPEND, REMOVE = "fetch-config", "append-config", "remove-config"
# Renames the file of a configuration, which no action does. The agent reads all files, whatever their names.
RENAME = "rename"
_VERBS = {FETCH: "fetch", APPEND: "append", REMOVE: "remove"}
# The agent saves a parameter in a file whose name begins with this.
PREFIX = "ssm_"


@dataclass(frozen=True)
class AgentFiles:
    """The configurations that an agent runs.

    :param parameters: the digests of the configurations from Parameter Store, by the name of the file without its
        beginning.
    :param others: the names of the other configurations.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A configuration that an agent is to run, and the declaration of its options.

    :param number: of the version in Parameter Store. With 0, the agent fetches the current one.
    """

    name: str = option(required=True)
    digest: str = option(required=True)
    number: int = option(default=0)

    @property
    def trial(self) -> str:
        """The location from which the agent fetches it, without ``ssm:``."""
        return _location(self.name, str(self.number or ""))

    def final(self, label: str) -> str:
        """Return the location that the agent has once the version is proved."""
        return _location(self.name, label)


@dataclass(frozen=True)
class Command:
    """A call of the agent's control program, or a new name of a file.

    :param restart: whether it restarts the agent then.
    :param to: the location whose file it becomes, and only for ``RENAME``.
    :param digest: the digest of that file.
    """

    action: str
    name: str
    restart: bool = False
    to: str = ""
    digest: str = ""


def _location(name: str, selector: str) -> str:
    """Return a version or label of a parameter. The agent takes a file for YAML only if its name ends like that."""
    return f"{name}:{selector}" if selector and not is_yaml_name(name) else name


def file_of(location: str) -> str:
    """Return the name of the agent's file for a location, without its beginning."""
    return re.sub("[:/ ]", "_", location)


def find_clash(names: Collection[str], label: str = "") -> tuple[str, str] | None:
    """Return a configuration, and another one whose file has the name of a version or of the label of the first one.

    ``None`` if there is none.
    """
    for name in sorted(names):
        base = name[: -len(label) - 1] if label and name.endswith(f"_{label}") else re.sub("_[0-9]+$", "", name)
        if base != name and base in names:
            return base, name
    return None


def find_files(files: Iterable[str], names: Collection[str], others: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the files of each configuration.

    The name of a file is not reversible, so it is compared with the names that a configuration can give it: its own,
    and this with a number or a label. Any label counts, because the label can have been changed.

    :param names: the names of all configurations.
    :param others: the names of other parameters, as ``similar_names`` returns them.
    """
    found: dict[str, list[str]] = {}
    for each in files:
        found.setdefault(each if each in others else _configuration_of(each, names), []).append(each)
    return found


def similar_names(stored: Iterable[str], names: Collection[str]) -> tuple[str, ...]:
    """Return the stored parameters whose files look like a version or a label of a configuration.

    :param names: the names of the configurations.
    """
    return tuple(sorted(each for each in stored if each not in names and _configuration_of(each, names) != each))


def _configuration_of(file: str, names: Collection[str]) -> str:
    """Return the longest configuration whose file it can be; its own name if there is none."""
    for each in () if file in names or is_part(file, names) else reversed([*re.finditer("_", file)]):
        base, selector = file[: each.start()], file[each.end() :]
        if (base in names or is_part(base, names)) and (re.fullmatch("[0-9]+", selector) or is_label(selector)):
            return base
    return file


def is_numbered(name: str, files: Iterable[str]) -> bool:
    """Whether one of the files of a configuration is a version that the agent has fetched by its number."""
    return any(re.fullmatch(f"{re.escape(name)}_[0-9]+", each) for each in files)


def is_running(each: Wanted, files: Mapping[str, Sequence[str]], current: AgentFiles) -> bool:
    """Whether an agent runs a configuration. It does not if it has several versions of it, which it merges.

    :param files: by configuration, its files.
    """
    return [current.parameters[file] for file in files.get(each.name, ())] == [each.digest]


def commands(
    current: AgentFiles, desired: Sequence[Wanted], others: Collection[str] = (), *, is_refused: bool = False
) -> list[Command]:
    """Return the calls that give an agent the desired configurations; none if it has them.

    Configurations that others have added stay.

    :param desired: the configurations, in the order in which they are appended.
    :param others: the names of other parameters, as ``similar_names`` returns them.
    :param is_refused: whether the agent failed with a version that is not proved, so that it begins again.
    """
    names = {each.name for each in desired}
    files = find_files(current.parameters, names, others)
    refused = {name for name, has in files.items() if is_refused and is_numbered(name, has)}
    differing = [each for each in desired if each.name in refused or not is_running(each, files, current)]
    surplus = [file for name in surplus_parts(files, names) for file in files[name]]
    if not differing and not surplus:
        return []
    first, *further = desired
    calls = [Command(FETCH, first.trial), *(Command(APPEND, each.trial) for each in further)]
    if current.others or files.keys() - names - set(surplus_parts(files, names)):
        calls = [Command(REMOVE, file) for file in surplus]
        for each in differing:
            calls += _replacing(each, files.get(each.name, []))
    return [*calls[:-1], Command(calls[-1].action, calls[-1].name, restart=True)]


def _replacing(each: Wanted, files: Sequence[str]) -> list[Command]:
    """Return the calls that replace the files of a configuration, beside others. The first file gets the new name."""
    target = file_of(each.trial)
    kept = target if target in files else next(iter(files), target)
    calls = [Command(REMOVE, file) for file in files if file != kept]
    calls += [Command(RENAME, kept, to=each.trial)] if kept != target else []
    return [*calls, Command(APPEND, each.trial)]


def renames(
    current: AgentFiles, desired: Sequence[Wanted], label: str = "", others: Collection[str] = ()
) -> list[Command]:
    """Return the final names of the files of configurations that are proved; nothing for other texts.

    :param others: the names of other parameters, as ``similar_names`` returns them.
    """
    files = find_files(current.parameters, {each.name for each in desired}, others)
    proved = [(files[each.name][0], each) for each in desired if is_running(each, files, current)]
    return [
        Command(RENAME, file, to=each.final(label), digest=each.digest)
        for file, each in proved
        if file != file_of(each.final(label))
    ]


def after(current: AgentFiles, calls: Iterable[Command], desired: Sequence[Wanted]) -> AgentFiles:
    """Return the files of an agent after some calls."""
    digests = {file_of(each.trial): each.digest for each in desired}
    found = dict(current.parameters)
    for each in calls:
        file = file_of(each.name)
        if each.action == FETCH:
            found = {}
        if each.action == RENAME:
            found[file_of(each.to)] = found.pop(file)
        elif each.action == REMOVE:
            del found[file]
        else:
            found[file] = digests[file]
    return AgentFiles(dict(sorted(found.items())), current.others)


def plan(current: AgentFiles, calls: Sequence[Command], desired: Sequence[Wanted]) -> Plan[AgentFiles]:
    """Plan some calls of the agent's control program, or new names of its files."""
    return Plan(current, after(current, calls, desired), {"agent": [_step(each) for each in calls]})


def plan_names(current: AgentFiles, renames: Iterable[Command]) -> Plan[AgentFiles]:
    """Plan the new names of files, unless the files have them."""
    found = [each for each in renames if current.parameters.get(file_of(each.to)) != each.digest]
    old, new = {file_of(each.name) for each in found}, {file_of(each.to): each.digest for each in found}
    kept = {file: digest for file, digest in current.parameters.items() if file not in old}
    planned = AgentFiles(dict(sorted({**kept, **new}.items())), current.others)
    return Plan(current, planned, {"agent": [_step(each) for each in found]})


def _step(each: Command) -> Step:
    if each.action == RENAME:
        summary = f"rename the file of configuration {each.name} for {each.to}"
    else:
        summary = f"{_VERBS[each.action]} configuration {each.name}"
    summary += " and restart the agent" if each.restart else ""
    return Step(Kind.DELETE if each.action == REMOVE else Kind.UPDATE, each.action, {}, summary, context=each)
