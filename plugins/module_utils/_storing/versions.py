# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses earlier versions of configurations, which are stored again. Pure.

Each part of a configuration that was split has its own versions. Parts that were stored together go back together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._accounts.history import stored_together
from .._configuration.parts import (
    ARRAY_OR_OBJECT_KEYS,
    LIST,
    SECTION_RULES,
    merge,
    minify,
    recorded_parts,
    to_canonical,
    to_record,
)
from .._ground.errors import InvalidInput
from .options import PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .._accounts.model import History, Version


@dataclass(frozen=True)
class _State:
    """A state of a configuration, from one change to the next.

    :param name: the parameter that was written, with its version.
    :param parts: the versions of all parts, with their names. There are none if that is not known.
    :param content: the same text for states with the same content; ``None`` if that is not known.
    """

    name: str
    version: Version
    parts: Sequence[tuple[str, Version]]
    content: str | None


def select(
    histories: Sequence[History], wanted: str, numbers: Mapping[str, str] | None = None
) -> Sequence[tuple[str, Version]]:
    """Return the earlier versions of the parameters of a configuration, with their names.

    :param histories: of its parameters. The first one counts if the version is a number.
    :param numbers: by name, the versions of further parts. The state then consists of these versions.
    :raises InvalidInput: there is no such version, or nothing records which parts belong to it.
    """
    first = histories[0]
    if not first.versions:
        raise InvalidInput(f"Parameter '{first.name}' does not exist in {first.region}, so it has no earlier version.")
    if wanted == PREVIOUS:
        state = _previous(histories)
    else:
        version = _numbered(first, wanted)
        if numbers:
            return [(first.name, version), *_named(histories[1:], numbers, first)]
        state = _state(histories, first.name, version)
    if not state.parts:
        raise InvalidInput(_unknown_parts(histories, state))
    return state.parts


def _previous(histories: Sequence[History]) -> _State:
    """Return the state before the current one. :raises InvalidInput: there is none.

    If the current one has brought back an earlier state, it is the current one, so that a run that failed halfway can
    be repeated, and nothing goes back and forth.
    """
    states = _distinct_states(histories)
    if not states[1:]:
        raise InvalidInput(
            f"Parameter '{histories[0].name}' in {histories[0].region} has no earlier version with different content."
        )
    return states[-1] if _brought_back(states) else states[-2]


def _brought_back(states: Sequence[_State]) -> _State | None:
    """Return the newest of the earlier states that the current one has brought back; ``None`` if it is a new one."""
    *earlier, current = states
    same = [each for each in earlier if current.content is not None and each.content == current.content]
    return same[-1] if same else None


def explain_stay(histories: Sequence[History]) -> str:
    """Return why the previous state is not stored; empty if the current state has brought back none.

    The versions cannot tell a state that was brought back on purpose from one that was stored again by mistake.
    """
    states = _distinct_states(histories)
    same = _brought_back(states)
    if not same:
        return ""
    first, now = histories[0], states[-1]
    return (
        f"Configuration '{first.name}' in {first.region} stays as it is: {_label(now)} has the content of "
        f"{_label(same)}, so an earlier version is already back. To store another one, name its number, such as "
        "cwagent_config_version=NUMBER. cwagent.iam.history lists the versions."
    )


def _label(state: _State) -> str:
    return f"version {state.version.number} of {state.name}"


def _distinct_states(histories: Sequence[History]) -> list[_State]:
    """Return the states, from the oldest to the current one, each of which differs from the one before."""
    states: list[_State] = []
    for each in _states(histories):
        if states and each.content is not None and each.content == states[-1].content:
            states.pop()
        states.append(each)
    return states


def _states(histories: Sequence[History]) -> Iterator[_State]:
    """The states, from the oldest to the current one. Versions with the same record are one change, in any order."""
    waiting = {each.name: list(_changed(each.versions) if histories[1:] else each.versions) for each in histories}
    last: tuple[str, ...] = ()
    while any(waiting.values()):
        heads = [(name, versions[-1]) for name, versions in waiting.items() if versions]
        together = [head for head in heads if last and _record(head[1]) == last]
        name, version = together[0] if together else min(heads, key=lambda head: head[1].modified)
        waiting[name].pop()
        if not together:
            yield _state(histories, name, version)
        last = _record(version)


def _changed(versions: Sequence[Version]) -> Iterator[Version]:
    """The versions whose content differs from the content of the version before."""
    for version, before in zip(versions, [*versions[1:], None]):
        values = [each.value for each in (version, before) if each and each.value is not None]
        if len(set(map(to_canonical, values))) != 1 or len(values) == 1:
            yield version


def _record(version: Version) -> tuple[str, ...]:
    return recorded_parts(version.description, version.number)


def _state(histories: Sequence[History], name: str, version: Version) -> _State:
    """Return the state that begins with a version of a parameter."""
    parts = stored_together(histories, version)
    if not parts and not _record(version) and _is_alone(histories[1:], version):
        parts = [(name, version)]
    return _State(name, version, parts, _content([each.value for _name, each in parts], is_split=len(histories) > 1))


def _is_alone(others: Sequence[History], version: Version) -> bool:
    """Whether a version without a record was stored before the configuration had further parts."""
    begins = [each.versions[-1] for each in others]
    return all(each.number == 1 and _record(each) and version.modified < each.modified for each in begins)


def _content(values: Sequence[str | None], *, is_split: bool) -> str | None:
    """Return a text that is the same for the same configuration, whatever its form and its parts."""
    texts = [each for each in values if each is not None]
    if not texts or len(texts) < len(values):
        return None
    if not is_split:
        return to_canonical(texts[0])
    try:
        return json.dumps(_ignoring_order(merge(map(json.loads, texts)), SECTION_RULES), sort_keys=True)
    except (AttributeError, InvalidInput, RecursionError, ValueError):
        return None


def _ignoring_order(value: Any, rules: Any) -> Any:
    """Return a value with sorted lists where the agent joins the lists of several parts."""
    if rules == LIST and isinstance(value, list):
        return sorted(value, key=lambda each: json.dumps(each, sort_keys=True))
    if not isinstance(rules, dict) or not isinstance(value, dict):
        return value
    return {
        key: _ignoring_order(each, LIST if key in ARRAY_OR_OBJECT_KEYS else rules.get(key))
        for key, each in value.items()
    }


def _numbered(history: History, wanted: str) -> Version:
    """Return the version with a number. :raises InvalidInput: there is none."""
    found = next((each for each in history.versions if str(each.number) == wanted), None)
    if not found:
        numbers = [each.number for each in history.versions]
        raise InvalidInput(
            f"Version {wanted} of parameter '{history.name}' in {history.region} does not exist. Parameter Store has "
            f"versions {min(numbers)} to {max(numbers)}."
        )
    return found


def _named(parts: Sequence[History], numbers: Mapping[str, str], first: History) -> Iterator[tuple[str, Version]]:
    """The versions of further parts that the user names. :raises InvalidInput: there is no such part or version."""
    unknown = sorted(numbers.keys() - {each.name for each in parts})
    if unknown:
        raise InvalidInput(
            f"There is no parameter {', '.join(unknown)} in {first.region} that is a part of configuration "
            f"'{first.name}'. Set split (cwagent_split_config in the playbooks) to read the further parts."
        )
    for each in parts:
        if each.name in numbers:
            yield each.name, _numbered(each, numbers[each.name])


def _unknown_parts(histories: Sequence[History], state: _State) -> str:
    """Explain which version has unknown parts, and tell the user to number them."""
    name, region = histories[0].name, histories[0].region
    place = f"version {state.version.number} of parameter '{state.name}' in {region}"
    count = len(_record(state.version))
    if count > len(histories):
        return (
            f"Configuration '{name}' was stored in {count} parts with {place}, and only {len(histories)} of these "
            "parameters can be used. If the configuration is still split, set split_config (cwagent_split_config in "
            "the playbooks). A part that was deleted has no versions: store the configuration from its file."
        )
    reason = "it was stored without this collection"
    if count:
        reason = "Parameter Store no longer keeps one of them"
    elif not to_record([""] * len(histories), state.version.number):
        reason = f"the description of a version has no room for the record of {len(histories)} parts"
    example = ",".join(f"{each.name}=NUMBER" for each in histories)
    return (
        f"The parts of configuration '{name}' that belong to {place} are not known: {reason}. cwagent.iam.history "
        f"lists the versions. Name the version of each part to store: cwagent_config_version={example}"
    )


def join_parts(versions: Sequence[tuple[str, Version]]) -> str:
    """Return the text of a configuration, of which each parameter has a part.

    :raises InvalidInput: a part was not read, or the parts do not fit together.
    """
    unread = [name for name, version in versions if version.value is None]
    if unread:
        raise InvalidInput(f"The earlier version of {', '.join(unread)} is encrypted, and nothing here decrypts it.")
    texts = [version.value or "" for _name, version in versions]
    if not texts[1:]:
        return texts[0]
    try:
        return minify(merge(map(json.loads, texts)))
    except (AttributeError, TypeError, ValueError):
        raise InvalidInput(f"A part of {versions[0][0]} is not a configuration.") from None
