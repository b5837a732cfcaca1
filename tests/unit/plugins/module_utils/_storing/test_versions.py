"""The choice of the versions that are stored again, for one parameter and for parts that were stored together."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import History, Version
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import (
    Parameter,
    desired_config,
    plan,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import (
    part_names,
    to_canonical,
    to_record,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import (
    parts_in,
    read_wanted,
    version_of,
    version_problems,
)
from ansible_collections.cwagent.iam.plugins.module_utils._storing.versions import explain_stay, join_parts, select

NAME, SECOND, BEGIN = "AmazonCloudWatch-linux", "AmazonCloudWatch-linux-2", datetime(2026, 11, 24, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        (" ", {}),
        ("41", {"": "41"}),
        ("previous", {"": "previous"}),
        (f"{NAME}=41", {NAME: "41"}),
        (f"{NAME}=41, x=previous", {NAME: "41", "x": "previous"}),
    ],
)
def test_versions_are_read_from_text(text: str, wanted: dict[str, str]) -> None:
    assert read_wanted(text) == wanted


@pytest.mark.parametrize(
    "text", ["0", "-1", "latest", "41,42", "x=", "=41", "x=41,7", "x=1,x=2", "41 42", "{'x': 41}", "1.0", "v41", ","]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not a version\. It must be a number, previous, or names with versions"):
        read_wanted(text)


@pytest.mark.parametrize(("wanted", "version"), [({"": "41"}, "41"), ({NAME: "7"}, "7"), ({"x": "7"}, ""), ({}, "")])
def test_a_configuration_has_its_own_version_or_the_one_of_all(wanted: dict[str, str], version: str) -> None:
    assert version_of(wanted, NAME) == version


def history(*times: float, name: str = NAME, first: int = 1) -> History:
    """The versions that were stored after so many seconds."""
    numbered = [
        Version(number, BEGIN + timedelta(seconds=time), "", "Standard", f"{number}")
        for number, time in enumerate(times, first)
    ]
    return History(name, "eu-central-1", tuple(reversed(numbered)))


def chosen(wanted: str, *histories: History) -> list[int]:
    return [version.number for _name, version in select(histories, wanted)]


@given(st.lists(st.floats(0.01, 10**6), min_size=2, max_size=100), st.integers(1, 200), st.data())
def test_one_parameter_goes_back_to_the_number_or_by_one(gaps: list[float], first: int, data: Any) -> None:
    times = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    versions = history(*times, first=first)
    last = first + len(gaps) - 1
    assert chosen("previous", versions) == [last - 1]
    number = data.draw(st.integers(first, last))
    assert chosen(str(number), versions) == [number]


BACK = {"ab": 1, "aba": 3, "abca": 4, "abcb": 4, "aab": 2, "abb": 1, "abab": 4, "abac": 3, "aabbcc": 4, "abba": 4}


def with_texts(*texts: str) -> History:
    """Versions with these texts, the first one of which is the oldest."""
    numbered = history(*(100 * index for index in range(len(texts)))).versions
    versions = tuple(replace(each, value=text) for each, text in zip(numbered, reversed(texts), strict=True))
    return History(NAME, "eu-central-1", versions)


@pytest.mark.parametrize(("texts", "number"), BACK.items())
def test_a_state_that_was_brought_back_stays(texts: str, number: int) -> None:
    """So a run that failed halfway can be repeated: it brings back only what it has not brought back yet."""
    assert chosen("previous", with_texts(*texts)) == [number]


# By the texts of the versions, the current version and the earlier one with its content.
STAYS = {"ab": (), "aba": (3, 1), "abca": (4, 1), "abab": (4, 2), "ababa": (5, 3), "abba": (4, 1), "abaa": (4, 1)}


@pytest.mark.parametrize(("texts", "same"), STAYS.items())
def test_the_reason_for_which_a_state_stays_names_both_versions(texts: str, same: tuple[int, ...]) -> None:
    """Nobody should take a run that does nothing for one that went back."""
    reason = explain_stay([with_texts(*texts)])
    assert tuple(map(int, re.findall("version ([0-9]+) of", reason))) == same
    assert ("cwagent_config_version=NUMBER" in reason) == bool(same)


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=8))
def test_a_run_that_goes_back_says_why_if_it_stores_nothing(texts: list[str]) -> None:
    assume(len(set(texts)) > 1)
    versions = with_texts(*texts)
    stored = versions.versions[-chosen("previous", versions)[0]].value
    assert (stored == texts[-1]) == bool(explain_stay([versions]))


@dataclass
class ParameterStore:
    """The versions of a configuration that has parts, as Parameter Store keeps them. A second is between two writes."""

    keeps_description: bool = True
    limit: str = "Standard"
    split: bool = True
    versions: dict[str, list[Version]] = field(default_factory=dict)
    writes: int = 0

    def put(self, name: str, value: str, description: str | None = None) -> None:
        """Store a value, as any tool can."""
        kept = self.versions.setdefault(name, [])
        if description is None:
            description = kept[0].description if kept and self.keeps_description else ""
        number, self.writes = len(kept) + 1, self.writes + 1
        time = BEGIN + timedelta(seconds=self.writes)
        kept.insert(0, Version(number, time, "", "Standard", value, description=description))

    def store(
        self, config: dict[str, Any], writes: int = 99, parts: Sequence[str] = (), *, turned: bool = False
    ) -> int:
        """Store a configuration with the steps of the collection. :returns: the number of steps.

        :param writes: after how many steps the run fails.
        :param turned: whether the last part is written first, because parts are written side by side.
        """
        desired = desired_config(NAME, config, self.limit, can_be_split=self.split, parts=parts)
        current = {
            name: Parameter(kept[0].value or "", version=kept[0].number) for name, kept in self.versions.items() if kept
        }
        steps = plan({name: current.get(name) for name in [*desired.names, *current]}, desired).all_steps
        for step in (steps[::-1] if turned else steps)[:writes]:
            self.put(step.arguments["name"], step.arguments["value"], step.arguments.get("description"))
        return len(steps)

    @property
    def histories(self) -> list[History]:
        kept = {name: tuple(versions) for name, versions in self.versions.items()}
        return [History(name, "eu-central-1", kept[name]) for name in part_names(NAME, len(kept))]

    def go_back(
        self, wanted: str = "previous", writes: int = 99, *, turned: bool = False, parts: dict[str, str] | None = None
    ) -> int:
        """Store an earlier state again. :returns: the number of steps."""
        found = select(self.histories, wanted, parts)
        values = [version.value or "" for _name, version in found if found[1:]]
        return self.store(json.loads(join_parts(found)), writes, values, turned=turned)


def of_files(*sizes: int, **agent: Any) -> dict[str, Any]:
    """A configuration with a file of each size. Two files of 3000 bytes are two parts."""
    files = [{"file_path": f"/{index}-{'x' * size}"} for index, size in enumerate(sizes)]
    return {"agent": agent or {"debug": True}, "logs": {"logs_collected": {"files": {"collect_list": files}}}}


BIG = 3000
A, B = of_files(BIG, BIG), of_files(BIG + 1, BIG + 1)
FIRST_CHANGED, SECOND_CHANGED = of_files(BIG + 2, BIG), of_files(BIG, BIG + 2)
SMALL, LARGER = of_files(10), of_files(BIG + 3, BIG, BIG)
STATES = {
    "whole": A,
    "changed": B,
    "first changed": FIRST_CHANGED,
    "second changed": SECOND_CHANGED,
    "in one part": SMALL,
    "in three parts": LARGER,
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("keeps_description", [False, True])
@given(data=st.data())
def test_going_back_twice_equals_going_back_once(keeps_description: bool, turned: bool, data: Any) -> None:
    """Whatever the parts, however many of them changed, and even if a run fails halfway on the way back."""
    store = ParameterStore(keeps_description)
    names = data.draw(st.lists(st.sampled_from([*STATES]), min_size=2, max_size=6), label="configurations")
    distinct = [name for name, _same in groupby(names)]
    assume(len(distinct) > 1)
    for name in names:
        store.store(STATES[name], turned=turned)
    wanted = distinct[-1] if distinct[-1] in distinct[:-2] else distinct[-2]
    steps = store.go_back(writes=data.draw(st.integers(0, 3), label="writes"), turned=turned)
    store.go_back(turned=turned)
    assert store.go_back(turned=turned) == 0
    assert bool(steps) == (wanted != distinct[-1])
    written = desired_config(NAME, STATES[wanted], "Standard", can_be_split=True)
    now = {name: to_canonical(kept[0].value or "") for name, kept in store.versions.items()}
    assert [now[name] for name in written.names] == [to_canonical(each.value) for each in written.parameters]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([None, 1, 4]), st.booleans()), min_size=2, max_size=8),
    st.booleans(),
)
def test_the_form_of_a_version_does_not_matter(forms: list[tuple[str, int | None, bool]], keeps: bool) -> None:
    """Pretty-printed by hand or by the agent's wizard, with the keys in any order."""
    store, names = ParameterStore(keeps, split=False), [name for name, _same in groupby(name for name, *_ in forms)]
    assume(len(names) > 1)
    for name, indent, is_turned in forms:
        agent = {"debug": True, "region": name}
        config = {"agent": dict(reversed(agent.items())) if is_turned else agent}
        store.put(NAME, json.dumps(config, indent=indent))
    wanted = names[-1] if names[-1] in names[:-2] else names[-2]
    assert store.go_back() == (wanted != names[-1])
    assert json.loads(store.versions[NAME][0].value or "")["agent"]["region"] == wanted
    assert store.go_back() == 0


def store_of(*configs: dict[str, Any], **options: Any) -> ParameterStore:
    store = ParameterStore(**options)
    for config in configs:
        store.store(config)
    return store


def numbers(parts: Sequence[tuple[str, Version]]) -> list[int]:
    return [version.number for _name, version in parts]


@pytest.mark.parametrize("seconds", [0, 1, 59, 3600])
def test_a_part_that_changed_alone_keeps_its_state(seconds: int) -> None:
    """However short after a whole store: times do not decide what belongs together."""
    store = ParameterStore()
    for config in (A, B, SECOND_CHANGED, B, FIRST_CHANGED, A):
        store.store(config)
        store.writes += seconds
    found = {number: numbers(select(store.histories, str(number))) for number in range(1, 6)}
    assert found == {1: [1, 1], 2: [2, 2], 3: [3, 3], 4: [4, 4], 5: [5, 5]}
    assert store.go_back("2") == 2
    assert store.go_back("2") == 0


def test_a_run_that_failed_halfway_is_not_a_state_to_go_back_to() -> None:
    """The previous state is the last one that was stored as a whole, and the mix in force is brought back to it."""
    for writes, turned in ((1, False), (1, True)):
        store = store_of(SMALL, A)
        store.store(B, writes=writes, turned=turned)
        assert store.go_back() == 1
        assert [store.versions[name][0].value for name in part_names(NAME, 2)] == [
            each.value for each in desired_config(NAME, A, "Standard", can_be_split=True).parameters
        ]
        assert store.go_back() == 0


@pytest.mark.parametrize("keeps_description", [False, True])
def test_a_state_without_a_record_is_refused(keeps_description: bool) -> None:
    """Even though Parameter Store shows the record of an earlier version with a version that others stored."""
    store = store_of(A, keeps_description=keeps_description)
    for value in (B, FIRST_CHANGED):
        for each in desired_config(NAME, value, "Standard", can_be_split=True).parameters:
            store.put(each.name, each.value)
    for wanted in ("previous", "2", "3"):
        with pytest.raises(InvalidInput, match="it was stored without this collection") as caught:
            store.go_back(wanted)
        assert str(caught.value).endswith(f"cwagent_config_version={NAME}=NUMBER,{SECOND}=NUMBER")
    assert numbers(select(store.histories, "1")) == [1, 1]
    assert store.go_back("2", parts={SECOND: "2"}) == 2
    assert numbers(select(store.histories, "4")) == [4, 4]
    assert store.go_back("2", parts={SECOND: "2"}) == 0
    store.store(SECOND_CHANGED)
    store.go_back()
    assert store.go_back("2", parts={SECOND: "2"}) == 0


@pytest.mark.parametrize("keeps_description", [False, True])
def test_a_part_that_others_changed_goes_back(keeps_description: bool) -> None:
    """To the state that is recorded. Text with the same content is no change."""
    store = store_of(A, B, keeps_description=keeps_description)
    pretty = json.dumps(json.loads(store.versions[SECOND][0].value or ""), indent=4)
    store.put(SECOND, pretty)
    assert numbers(select(store.histories, "previous")) == [1, 1]
    store.put(SECOND, "{}")
    assert numbers(select(store.histories, "previous"))[0] == 2
    store.go_back()
    assert store.go_back() == 0
    for value in ("{", "{}", "{"):
        store.put(SECOND, value)
    with pytest.raises(InvalidInput, match="are not known"):
        store.go_back()


def test_other_parts_with_the_same_content_are_the_same_state() -> None:
    """The agent joins the lists of several files, so their order depends on the parts."""
    turned = of_files(BIG, BIG)
    turned["logs"]["logs_collected"]["files"]["collect_list"].reverse()
    store = store_of(A, B, turned)
    assert numbers(select(store.histories, "1")) == [1, 1]
    assert store.go_back() == 0


def test_versions_with_the_same_time_are_told_apart_by_their_records() -> None:
    store = store_of(A, B)
    for name, kept in store.versions.items():
        store.versions[name] = [replace(each, modified=BEGIN) for each in kept]
    assert numbers(select(store.histories, "previous")) == [1, 1]


def test_a_state_that_others_stored_is_not_taken_for_another_one() -> None:
    store = store_of(A)
    store.put(SECOND, "{}")
    store.store(B)
    store.put(SECOND, "{")
    assert numbers(select(store.histories, "previous")) == [2, 3]


@pytest.mark.parametrize("is_turned", [False, True])
def test_a_configuration_that_was_stored_whole_before_goes_back_alone(is_turned: bool) -> None:
    store = store_of(SMALL, split=False)
    store.split = True
    store.store(A, turned=is_turned)
    assert numbers(select(store.histories, "previous")) == [1]
    store.go_back()
    assert store.go_back() == 0


def test_one_parameter_has_no_record() -> None:
    for split in (False, True):
        store = store_of(SMALL, of_files(11), split=split)
        assert {each.description for each in store.versions[NAME]} == {""}


def test_parts_with_a_beginning_that_nothing_records_are_refused() -> None:
    """The part could belong to the version, whenever it was stored."""
    store = store_of(SMALL, split=False)
    store.put(SECOND, "{}")
    store.split = True
    store.store(A)
    with pytest.raises(InvalidInput, match="are not known"):
        store.go_back("1")
    begun_later = store_of(SMALL, A)
    begun = begun_later.versions[SECOND][0]
    record = begun.description.replace("version 1", "version 2")
    begun_later.versions[SECOND][0] = replace(begun, number=2, description=record)
    with pytest.raises(InvalidInput, match="are not known"):
        begun_later.go_back("1")


def test_parts_with_the_time_of_the_version_before_them_are_refused() -> None:
    """They may have been stored with it."""
    store = store_of(SMALL, split=False)
    store.split = True
    store.store(A)
    assert numbers(select(store.histories, "1")) == [1]
    whole = store.versions[NAME][-1]
    store.versions[SECOND][0] = replace(store.versions[SECOND][0], modified=whole.modified)
    with pytest.raises(InvalidInput, match="are not known"):
        store.go_back("1")


def test_parts_that_are_too_many_for_a_record_are_refused_for_that_reason() -> None:
    """Nothing shows that others stored them."""
    most = next(count for count in range(2, 99) if not to_record([""] * (count + 1), 1))
    for count, reason in ((most, "it was stored without this collection"), (most + 1, "has no room for the record")):
        histories = [history(0, 9, name=name) for name in part_names(NAME, count)]
        with pytest.raises(InvalidInput, match=reason):
            select(histories, "1")


def test_a_part_that_is_no_longer_there_is_refused() -> None:
    store = store_of(A, B)
    with pytest.raises(InvalidInput, match=r"in 2 parts .* only 1 of these .* set split"):
        select(store.histories[:1], "previous")
    store.versions[SECOND].pop()
    with pytest.raises(InvalidInput, match="no longer keeps one of them"):
        store.go_back()


@pytest.mark.parametrize("wanted", ["previous", "1"])
def test_an_encrypted_part_is_no_known_state(wanted: str) -> None:
    store = store_of(A, B)
    for name in (NAME, SECOND):
        store.versions[name][-1] = replace(store.versions[name][-1], value=None)
    with pytest.raises(InvalidInput, match="no longer keeps one of them"):
        store.go_back(wanted)


def test_parts_that_cannot_be_merged_are_refused() -> None:
    store = store_of(A)
    for number, value in ((2, '{"agent":{"debug":true}}'), (3, '{"agent":{"debug":false}}')):
        store.put(NAME, value, to_record([value, value], number))
        store.put(SECOND, value, to_record([value, value], number))
    store.put(NAME, "[]", to_record(["[]"], 4))
    assert numbers(select(store.histories, "previous")) == [3, 3]


def test_a_part_that_is_not_named_is_left_out() -> None:
    store = store_of(LARGER)
    assert [name for name, _version in select(store.histories, "1", {f"{NAME}-3": "1"})] == [NAME, f"{NAME}-3"]
    assert store.go_back("1", parts={SECOND: "1"}) == 0


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({f"{NAME}-3": "1"}, f"There is no parameter {NAME}-3 .* Set split "),
        ({SECOND: "7"}, "Version 7 of parameter .*-2'"),
    ],
)
def test_a_named_part_that_does_not_exist_is_refused(numbers: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        store_of(A, B).go_back("1", parts=numbers)


@pytest.mark.parametrize(
    ("wanted", "parts", "problems"),
    [
        ({"a": "1", "a-2": "1", "a-10": "3"}, {"a-2": "a", "a-10": "a"}, []),
        ({"a": "1", "b-2": "1"}, {}, []),
        ({"a-1": "1", "b-2-2": "1", "x-2": "1"}, {"b-2-2": "b-2"}, ["'a-1'", "'x-2'", "both need"]),
        ({"a": "previous", "a-2": "1"}, {"a-2": "a"}, ["both need a number"]),
        ({"a": "1", "a-2": "previous"}, {"a-2": "a"}, ["both need a number"]),
        ({"a-2": "1"}, {"a-2": "a"}, ["'a-2' is a part of configuration 'a', and both need a number"]),
        ({"": "1"}, {}, []),
    ],
)
def test_parts_are_named_with_their_configuration(wanted: Any, parts: Any, problems: list[str]) -> None:
    assert parts_in(wanted, ["a", "b-2"]) == parts
    found = version_problems(wanted, ["a", "b-2"])
    assert len(found) == len(problems)
    assert all(words in each for words, each in zip(problems, found, strict=True))


@pytest.mark.parametrize(
    ("wanted", "versions", "words"),
    [
        ("previous", history(), "does not exist in eu-central-1"),
        ("1", history(), "does not exist in eu-central-1"),
        ("previous", history(0), "has no earlier version with different content"),
        ("previous", with_texts("a", "a"), "has no earlier version with different content"),
        ("2", history(0, 100, 200, first=3), "Version 2 .* does not exist. Parameter Store has versions 3 to 5."),
        ("6", history(0, 100, 200, first=3), "Version 6 .* does not exist"),
    ],
)
def test_a_version_that_does_not_exist_is_refused(wanted: str, versions: History, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        select([versions], wanted)


def part(value: str | None, name: str = NAME) -> tuple[str, Version]:
    return name, Version(1, BEGIN, "", "Standard", value)


def test_the_text_of_one_parameter_stays_as_it_is() -> None:
    assert join_parts([part(' {"agent": {}} ')]) == ' {"agent": {}} '


def test_parts_are_merged() -> None:
    parts = [part('{"agent":{"debug":true}}'), part('{"metrics":{"metrics_collected":{"mem":{}}}}')]
    assert json.loads(join_parts(parts)) == {
        "agent": {"debug": True},
        "metrics": {"metrics_collected": {"mem": {}}},
    }


@pytest.mark.parametrize("value", ["{", "[]", "1"])
def test_a_part_that_is_no_configuration_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match=f"A part of {NAME} is not a configuration"):
        join_parts([part("{}"), part(value)])


def test_an_encrypted_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match=f"{NAME} is encrypted"):
        join_parts([part(None)])
