# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merges configurations as the agent does when it has several files. Pure.

The agent merges its files in the order of their paths, into an empty configuration. Its sections register how they are
merged. Anything that ``SECTION_RULES`` does not list must be in one file only, or be equal in all.
https://github.com/aws/amazon-cloudwatch-agent/tree/main/translator/jsonconfig
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.json_path import json_path
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# A list that is joined, without duplicates.
LIST = "list"
# The objects that are merged key by key, with the rules of their keys. The agent ignores other top-level keys.
SECTION_RULES: dict[str, Any] = {
    "agent": {"usage_metadata": LIST},
    "csm": {},
    "logs": {
        "logs_collected": {"files": {"collect_list": LIST}, "windows_events": {"collect_list": LIST}},
        "metrics_collected": {"ecs": {}, "kubernetes": {}, "prometheus": {}},
    },
    "metrics": {"metrics_collected": {"procstat": LIST}},
    "opentelemetry": {"collect": {}},
    "traces": {"traces_collected": {}},
}
# These are an object or a list of objects. Different ones become one list, in each object that is merged key by key.
# Only recent agents do that. Older agents treat them like any other key.
ARRAY_OR_OBJECT_KEYS = frozenset({"jmx", "otlp"})


def merge(configs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge configurations. The agent also merges a single one, which removes duplicates from its lists.

    :param configs: in the order of the paths of their files.
    :raises InvalidInput: the agent could not merge them. The message lists all places where they differ.
    """
    result: dict[str, Any] = {}
    conflicts: list[str] = []
    for config in configs:
        for section, rules in SECTION_RULES.items():
            conflicts += _merge_object(config, result, (section,), rules)
    if conflicts:
        raise InvalidInput(
            "The agent cannot merge these configurations, which have different values for "
            f"{', '.join(dict.fromkeys(conflicts))}."
        )
    return result


def comparable(value: Any) -> Any:
    """Return something hashable that is equal for two JSON values that the agent takes for the same.

    Numbers are compared by value. In Python, they can also be equal to booleans.
    """
    if isinstance(value, dict):
        return frozenset((key, comparable(member)) for key, member in value.items())
    if isinstance(value, list):
        return tuple(comparable(each) for each in value)
    return (bool, value) if isinstance(value, bool) else value


def _merge_object(
    source: Mapping[str, Any], result: dict[str, Any], keys: tuple[str, ...], rules: Mapping[str, Any]
) -> Iterator[str]:
    """Merge the object that is the last of ``keys`` in ``source``. :returns: the JSON paths of conflicts."""
    key = keys[-1]
    # Like the agent, ignore any value in such a place that is not an object.
    if not isinstance(source.get(key), dict):
        return
    merged = result.setdefault(key, {})
    for name, value in source[key].items():
        rule = rules.get(name)
        if isinstance(rule, dict):
            yield from _merge_object(source[key], merged, (*keys, name), rule)
        elif rule == LIST:
            _merge_list(value, merged, name)
        elif name not in merged:
            merged[name] = value
        elif not _merge_value(value, merged, name):
            yield json_path((*keys, name))


def _merge_list(value: Any, merged: dict[str, Any], name: str) -> None:
    if isinstance(value, list) and value:
        merged[name] = _join_lists(merged.get(name, []), value)


def _merge_value(value: Any, merged: dict[str, Any], name: str) -> bool:
    """Merge a value with another one of the same name. :returns: whether that is possible."""
    current = merged[name]
    if name not in ARRAY_OR_OBJECT_KEYS:
        return bool(comparable(current) == comparable(value))
    if isinstance(current, list) or comparable(current) != comparable(value):
        merged[name] = _join_lists(_as_list(current), _as_list(value))
    return isinstance(current, (dict, list)) and isinstance(value, (dict, list))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _join_lists(current: list[Any], added: list[Any]) -> list[Any]:
    joined, known = list(current), {comparable(each) for each in current}
    for each in added:
        if comparable(each) not in known:
            known.add(comparable(each))
            joined.append(each)
    return joined
