"""The choice of the versions that are stored again, for one parameter and for parts that were stored together."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import History, Version
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import read_wanted, version_of
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.versions import join_parts, select

NAME, BEGIN = "AmazonCloudWatch-linux", datetime(2026, 11, 24, 16, 0, tzinfo=UTC)


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


PARTS = {
    "parts that were stored with the version": ("2", [(0, 100, 200), (1, 101, 201)], [2, 2]),
    "parts that were stored just before it": ("2", [(1, 101, 201), (0, 100, 200)], [2, 2]),
    "a part that changed without the first one": ("2", [(0, 100, 1000), (1, 500, 1001)], [2, 2]),
    "a part that changed seldom": ("3", [(0, 100, 200, 300), (1,)], [3, 1]),
    "a part that did not exist": ("1", [(0, 100), (101,)], [1]),
    "the current version": ("2", [(0, 100), (1, 101)], [2, 2]),
    "stores within a minute": ("1", [(0, 30), (1, 31)], [1, 1]),
    "the previous state": ("previous", [(0, 100, 200), (1, 101, 201)], [2, 2]),
    "the previous state of a part only": ("previous", [(0, 100), (1, 101, 900)], [2, 2]),
    "the previous state of the first part only": ("previous", [(0, 100, 900), (1, 101)], [2, 2]),
    "the previous state within a minute": ("previous", [(0, 30), (1, 31)], [1, 1]),
    "the previous state before a new part": ("previous", [(0, 100), (101,)], [1]),
}


@pytest.mark.parametrize(("wanted", "times", "numbers"), PARTS.values(), ids=PARTS)
def test_parts_go_back_together(wanted: str, times: list[tuple[float, ...]], numbers: list[int]) -> None:
    histories = [history(*each, name=f"{NAME}-{index}") for index, each in enumerate(times)]
    assert chosen(wanted, *histories) == numbers


BACK = {"ab": 1, "aba": 3, "abca": 4, "abcb": 4, "aab": 2, "abb": 2, "abab": 4, "abac": 3}


@pytest.mark.parametrize(("texts", "number"), BACK.items())
def test_a_state_that_was_brought_back_stays(texts: str, number: int) -> None:
    """So a run that failed halfway can be repeated: it brings back only what it has not brought back yet."""
    numbered = history(*(100 * index for index in range(len(texts)))).versions
    versions = tuple(replace(each, value=text) for each, text in zip(numbered, reversed(texts), strict=True))
    assert chosen("previous", History(NAME, "eu-central-1", versions)) == [number]


@pytest.mark.parametrize(
    ("wanted", "versions", "words"),
    [
        ("previous", history(), "does not exist in eu-central-1"),
        ("1", history(), "does not exist in eu-central-1"),
        ("previous", history(0), "has no version before the current one"),
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
