# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings about stored configurations. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from .._configuration.document import read_yaml
from .._configuration.parameter_plan import ENCRYPTED_TYPE, LIMITS, TYPE
from .._configuration.problems import select
from .._configuration.validate import validate
from .._ground.findings import CONFIGURATION, ERROR, NOTICE, WARNING, Rule
from .._ground.names import CREATED, is_yaml_name
from .._ground.text import join_first
from .._principals.window_policy import TIME_FORMAT
from .assess import GET
from .audit_input import MAX_LISTED
from .evaluate import Decision
from .history import Writer
from .model import ROLE, USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from .._ground.findings import Finding
    from .audit_input import Case
    from .model import ConfigParameter, History, Version


# A configuration that uses this share of its limit, or more, is near the limit.
NEAR_LIMIT = 0.9

PARAMETER_UNREADABLE = Rule("parameter-unreadable", CONFIGURATION, (WARNING,), "a server cannot read a configuration")
PARAMETER_INVALID = Rule("parameter-invalid", CONFIGURATION, (WARNING,), "a configuration is not valid")
PARAMETER_NEAR_LIMIT = Rule("parameter-near-limit", CONFIGURATION, (NOTICE,), "a configuration almost fills its tier")

VERSION_BY_OTHERS = Rule(
    "version-by-others",
    CONFIGURATION,
    (ERROR, NOTICE),
    "a principal that the inventory does not store with wrote a version",
)
HISTORY_STARTS_LATE = Rule(
    "history-starts-late", CONFIGURATION, (NOTICE,), "version 1 is much younger than the admin principal", listed=False
)
# The first run creates the admin principal and stores the configuration.
SETTING_UP = timedelta(days=1)
# How far the time of an event in CloudTrail can be from the time of its version.
AROUND = timedelta(minutes=1)


def _parameter_findings(case: Case) -> Iterator[Finding]:
    for each in case.account.parameters:
        servers = [server for server, decision in case.readers(each) if decision is Decision.NO]
        if servers:
            names = join_first([server.label for server in servers], MAX_LISTED)
            why = f"Server principals may not read the parameter: {names}."
            fix = f"Allow {GET} on {case.parameter_arn(each.region, each.name)} to {names}."
            yield PARAMETER_UNREADABLE.finding(each.name, why, fix, each.region)
        problem = parameter_problem(each)
        if problem:
            fix = "Store a corrected configuration with the playbook cwagent.iam.store_config."
            if each.type not in (TYPE, ENCRYPTED_TYPE):
                fix = f"aws ssm delete-parameter --region {each.region} --name {each.name}"
            yield PARAMETER_INVALID.finding(each.name, problem, fix, each.region)
        size, limit = parameter_size(each), LIMITS.get(each.tier, max(LIMITS.values()))
        if size is not None and size >= limit * NEAR_LIMIT:
            why = f"The configuration has {size} of {limit} bytes of the {each.tier} tier."
            fix = "Decide whether to divide it into several parameters (cwagent_configs), or to use the Advanced tier."
            yield PARAMETER_NEAR_LIMIT.finding(each.name, why, fix, each.region)


def parameter_problem(parameter: ConfigParameter) -> str | None:
    """Return why a parameter is not a valid configuration; ``None`` if it is, or was not read."""
    if parameter.type not in (TYPE, ENCRYPTED_TYPE):
        return f"parameter '{parameter.name}' has type {parameter.type}; the agent reads a {TYPE}."
    if parameter.value is None:
        return None
    source = f"parameter '{parameter.name}'"
    is_yaml = is_yaml_name(parameter.name)
    problems = read_yaml(parameter.value, source)[1] if is_yaml else validate(parameter.value, source=source).problems
    errors, _warnings = select(problems, "warn")
    if not errors:
        return None
    more = f" ({len(errors) - 1} more)" if errors[1:] else ""
    return f"{source} is not valid: {errors[0]}{more}."


def parameter_size(parameter: ConfigParameter) -> int | None:
    """Return the size of a configuration in bytes; ``None`` if it was not read."""
    return None if parameter.value is None else len(parameter.value.encode())


def readable_by_servers(case: Case, parameter: ConfigParameter) -> Decision:
    """Return whether all server principals may read a parameter; unknown if there is none."""
    return min((decision for _server, decision in case.readers(parameter)), default=Decision.UNKNOWN)


def _version_findings(case: Case) -> Iterator[Finding]:
    own = case.own_writers
    for history in case.account.histories:
        for current in history.versions[:1]:
            writer = Writer.of(current.writer)
            if writer.principal not in own:
                which = f"Version {current.number}, the current one, was written by {writer}"
                yield _by_others(history, current, which, own, ERROR)
        by_writer: dict[Writer, list[Version]] = {}
        for version in history.versions[1:]:
            by_writer.setdefault(Writer.of(version.writer).principal, []).append(version)
        for writer in by_writer.keys() - set(own):
            numbers = join_first([str(each.number) for each in by_writer[writer]], MAX_LISTED)
            which = f"Of the earlier versions, {writer} wrote {numbers}"
            yield _by_others(history, by_writer[writer][0], which, own, NOTICE)
        yield from _without_beginning(case, history)


def _by_others(history: History, newest: Version, which: str, own: Iterable[Writer], severity: str) -> Finding:
    """Return the finding about a writer, with the command that finds its newest call."""
    why = f"{which}. The inventory stores with {' or '.join(map(str, own))}."
    fix = f"Find the call in CloudTrail: {_lookup(history.region, 'PutParameter', newest.modified)}"
    return VERSION_BY_OTHERS.finding(history.name, why, fix, history.region, severity=severity)


def _without_beginning(case: Case, history: History) -> Iterator[Finding]:
    """Find a first version that is younger than a principal that this collection created to store it."""
    first = next((each for each in history.versions if each.number == 1), None)
    keys = ((ROLE, case.choices.admin_role_name), (USER, case.choices.admin_user_name))
    ours = [case.principals[key] for key in keys if key in case.principals and case.principals[key].managed == CREATED]
    if first is None or not ours:
        return
    oldest = min(ours, key=lambda each: each.created)
    if first.modified - oldest.created > SETTING_UP:
        why = (
            f"Version 1 is of {_format(first.modified)}, but {oldest.label} was created at {_format(oldest.created)}. "
            "The parameter is new, or was deleted with its earlier versions and created again."
        )
        fix = f"Look for a deletion in CloudTrail: {_lookup(history.region, 'DeleteParameter')}"
        yield HISTORY_STARTS_LATE.finding(history.name, why, fix, history.region)


def _lookup(region: str, event: str, time: datetime | None = None) -> str:
    """Return the command that finds calls in the event history of CloudTrail, which has the last 90 days."""
    around = f" --start-time {_format(time - AROUND)} --end-time {_format(time + AROUND)}" if time else ""
    attribute = f"AttributeKey=EventName,AttributeValue={event}"
    return f"aws cloudtrail lookup-events --region {region} --lookup-attributes {attribute}{around}"


def _format(time: datetime) -> str:
    return time.strftime(TIME_FORMAT)


CHECKS = (_parameter_findings, _version_findings)
