# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validates agent configurations with rules that need only Python's standard library. Pure.

The agent accepts many settings that it cannot use, so each rule is for a mistake that silently breaks the monitoring.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import rules
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import (
    MAX_PROBLEMS,
    REFERENCE,
    Content,
    Document,
    read,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.json_path import find_values
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.patterns import go_mistake
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import permission_notices
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import (
    Path,
    Problem,
    closest,
    quote,
    quote_key,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.structure import (
    COUNTER,
    SECTIONS,
    metric_problems,
    missing_key,
    structure_problems,
)
from ansible_collections.cwagent.iam.plugins.module_utils._findings import ERROR, WARNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-Configuration-File-Details.html
PLACEHOLDERS = (
    "{instance_id}",
    "{hostname}",
    "{local_hostname}",
    "{ip_address}",
    "{aws_region}",
    "{date}",
    "{account_id}",
)
# A pair of braces, or a single brace that has lost its counterpart.
_BRACES = re.compile(r"\$?\{[^{}]*\}|\$?\{[\w:.-]*|[\w:.-]{0,20}\}")
# Log files that distributions let only root and its groups read.
_ROOT_FILES = re.compile(
    r"/root/|/var/log/(?:audit/|(?:auth\.log|boot\.log|btmp|cron|kern\.log|maillog|messages|secure|spooler|syslog)\b)"
)
# Braces that are for an environment variable of the agent.
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_ENTRY = "logs.logs_collected.*.collect_list.*"
_PROMETHEUS = "logs.metrics_collected.prometheus"
_METRICS = "metrics.metrics_collected"
# The sections that the agent reads on one platform only.
_ONLY_LINUX = (
    *(f"{_METRICS}.{each}" for each in ("collectd", "cpu", "disk", "diskio", "efa", "ethtool")),
    *(f"{_METRICS}.{each}" for each in ("mem", "net", "netstat", "processes", "swap")),
    "logs.logs_collected.journald",
)
_ONLY_WINDOWS = ("logs.logs_collected.windows_events", "opentelemetry.collect.windows_events")
# The texts that the agent compiles as regular expressions.
_PATTERNS = (
    f"{_ENTRY}.multi_line_start_pattern",
    f"{_ENTRY}.blacklist",
    f"{_ENTRY}.filters.*.expression",
    "opentelemetry.collect.files.collect_list.*.multi_line_start_pattern",
    f"{_PROMETHEUS}.emf_processor.metric_declaration.*.label_matcher",
    f"{_PROMETHEUS}.emf_processor.metric_declaration.*.metric_selectors.*",
    f"{_PROMETHEUS}.ecs_service_discovery.*.*.sd_container_name_pattern",
    f"{_PROMETHEUS}.ecs_service_discovery.*.*.sd_service_name_pattern",
    f"{_PROMETHEUS}.ecs_service_discovery.*.*.sd_task_definition_arn_pattern",
)


def validate(content: Content, *, source: str, has_onprem: bool = False, name: str = "") -> Document:
    """Read a configuration and find all its problems.

    :param content: the bytes of a file, a text, or the value that YAML has made of it.
    :param source: the name of the file or option, for the problems.
    :param has_onprem: whether servers that are not on EC2 read the configuration.
    :param name: the name of its parameter, which can end with the platform that it is for.
    """
    document = read(content, source)
    if document.value is None:
        return document
    reported = {each.path for each in document.problems}
    # A replacement for a value that is not JSON is not a second problem.
    found = (
        locate(each, document)
        for each in _rules(document.value, has_onprem=has_onprem, name=name)
        if each.rule != rules.WRONG_VALUE or each.path not in reported
    )
    problems = [*document.problems, *islice(found, MAX_PROBLEMS)]
    if next(found, None):
        # The problems that are left out could contain an error.
        message = f"there are more than {MAX_PROBLEMS} problems; this shows some of them"
        problems.append(locate(Problem((), rules.PROBLEMS, message, ERROR), document))
    return replace(document, problems=in_order(problems))


def locate(problem: Problem, document: Document) -> Problem:
    """Add its place in a document to a problem."""
    line, column = document.locate(problem.path)
    return replace(problem, source=document.source, line=line, column=column)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems as a reader meets them in the text."""
    return sorted(problems, key=lambda each: (each.line or 0, each.column or 0))


def _rules(config: dict[str, Any], *, has_onprem: bool, name: str) -> Iterator[Problem]:
    yield from _section_problems(config)
    yield from metric_problems(config)
    yield from _prometheus_problems(config)
    yield from _log_group_problems(config)
    yield from _placeholder_problems(config)
    yield from _pattern_problems(config)
    yield from _permission_problems(config)
    yield from permission_notices(config)
    yield from _platform_problems(config, name)
    if has_onprem:
        yield from _onprem_problems(config)


def _section_problems(config: dict[str, Any]) -> Iterator[Problem]:
    if not config:
        yield Problem((), rules.SECTION, "the configuration is empty", ERROR, ", ".join(SECTIONS))
    if config.keys() == {"agent"}:
        yield Problem((), rules.SECTION, "with the section 'agent' alone, the agent collects nothing", WARNING)
    for name, section in config.items():
        if name not in SECTIONS:
            near = closest(name, SECTIONS)
            yield Problem((name,), rules.SECTION, "unknown section", ERROR, ", ".join(SECTIONS), near)
        elif not isinstance(section, dict):
            yield Problem((name,), rules.SECTION, f"the section is {quote(section)}", ERROR, "an object")
        else:
            yield from structure_problems(section, SECTIONS[name], (name,))


def _prometheus_problems(config: dict[str, Any]) -> Iterator[Problem]:
    """The schema does not require the key, but the agent cannot translate the configuration without it."""
    is_collected = find_values(config, "metrics.metrics_collected.prometheus")
    if is_collected and not find_values(config, "metrics.metrics_destinations.amp"):
        yield missing_key(("amp",), ("metrics", "metrics_destinations"))


def _log_group_problems(config: dict[str, Any]) -> Iterator[Problem]:
    """The agent gives each log group one retention and one class, whichever comes first."""
    first: dict[tuple[str, str], tuple[Path, Any]] = {}
    for path, entry in find_values(config, _ENTRY):
        group = entry.get("log_group_name") if isinstance(entry, dict) else None
        if not isinstance(group, str):
            continue
        for key in ("retention_in_days", "log_group_class"):
            value = entry.get(key)
            # Another rule reports values that are not valid, and -1 leaves the retention as it is.
            if not isinstance(value, (str, int)) or value == -1:
                continue
            earlier_path, earlier = first.setdefault((group.lower(), key), (path, value))
            if earlier != value:
                place = f"{earlier_path[2]}[{earlier_path[4]}]"
                message = f"{_quote(value)} for a log group that has {_quote(earlier)} in {place}"
                yield Problem((*path, key), rules.LOG_GROUP, message, allowed="one value for each log group")


def _quote(value: Any) -> str:
    return quote_key(value) if isinstance(value, str) else quote(value)


def _placeholder_problems(config: dict[str, Any]) -> Iterator[Problem]:
    fields = ("logs.log_stream_name", f"{_ENTRY}.log_group_name", f"{_ENTRY}.log_stream_name")
    for path, name in _find_texts(config, *fields):
        # A name with a reference to another parameter is refused anyway.
        if "journald" in path or REFERENCE in name:
            continue
        for braces in dict.fromkeys(_BRACES.findall(name)):
            if braces in PLACEHOLDERS or _VARIABLE.fullmatch(braces):
                continue
            near = closest(braces.strip("${} ").replace("aws:", ""), [each[1:-1] for each in PLACEHOLDERS])
            yield Problem(
                path,
                rules.PLACEHOLDER,
                f"{quote_key(braces)} is not a placeholder of the agent",
                ERROR if near else WARNING,
                ", ".join(PLACEHOLDERS),
                f"{{{near}}}" if near else "",
            )


def _pattern_problems(config: dict[str, Any]) -> Iterator[Problem]:
    for path, pattern in _find_texts(config, *_PATTERNS):
        mistake = go_mistake(pattern)
        if mistake:
            yield Problem(path, rules.PATTERN, f"the regular expression {quote(pattern)} is not valid: {mistake}")


def _permission_problems(config: dict[str, Any]) -> Iterator[Problem]:
    for _path, user in _find_texts(config, "agent.run_as_user"):
        for path, file in _find_texts(config, "logs.logs_collected.files.collect_list.*.file_path"):
            if user != "root" and _ROOT_FILES.match(file):
                message = f"on most systems, the user {quote_key(user)} of run_as_user may not read {quote(file)}"
                yield Problem(path, rules.RUN_AS_USER, message, WARNING)


def _platform_problems(config: dict[str, Any], name: str) -> Iterator[Problem]:
    """The agent of one platform silently skips the sections of the other platform."""
    counters = [path for path, _value in find_values(config, f"{_METRICS}.*") if COUNTER.search(str(path[-1]))]
    linux = [path for field in _ONLY_LINUX for path, _value in find_values(config, field)]
    windows = [*counters, *(path for field in _ONLY_WINDOWS for path, _value in find_values(config, field))]
    _rest, hyphen, ending = name.rpartition("-")
    for other, platform, paths in (("linux", "Windows", windows), ("windows", "Linux", linux)):
        if hyphen and ending.lower() == other:
            for path in paths:
                message = (
                    f"only {platform} servers collect this, but the parameter's name ends in -{ending}; store it under "
                    "another name"
                )
                yield Problem(path, rules.PLATFORM, message, WARNING)


def _onprem_problems(config: dict[str, Any]) -> Iterator[Problem]:
    for path, _value in find_values(config, "metrics.append_dimensions"):
        message = "servers that are not on EC2 send no metrics at all with these dimensions, which come from EC2"
        yield Problem(path, rules.ON_PREMISES, message, WARNING)
    if not find_values(config, "agent.region"):
        message = "servers that are not on EC2 need a region, here or in the profile that the agent uses"
        yield Problem(("agent", "region"), rules.ON_PREMISES, message, WARNING)


def _find_texts(value: Any, *fields: str) -> Iterator[tuple[Path, str]]:
    """Find the texts in some fields."""
    for path, each in chain.from_iterable(find_values(value, field) for field in fields):
        if isinstance(each, str):
            yield path, each
