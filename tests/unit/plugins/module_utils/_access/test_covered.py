from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._access.covered import (
    Text,
    covered_texts,
    covered_versions,
    find_sources,
    to_sources,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import History, Version
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.policy import Scope, needed_statements
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

NAME, REGION = "AmazonCloudWatch-linux", "eu-central-1"
CONFIG = '{"agent":{"region":"eu-central-1"}}'


def version(number: int, *labels: str, value: str | None = CONFIG) -> Version:
    return Version(number, datetime(2026, 3, number, tzinfo=UTC), "", "Standard", value, labels)


@pytest.mark.parametrize(
    ("labels", "covered"),
    [
        ({}, [4, 3, 2, 1]),
        ({3: "cwagent-applied"}, [4, 3]),
        ({4: "cwagent-applied"}, [4]),
        ({3: "cwagent-applied", 1: "rollback"}, [4, 3, 1]),
        ({2: "canary"}, [4, 3, 2, 1]),
    ],
)
def test_the_versions_that_agents_can_run_are_covered(labels: dict[int, str], covered: list[int]) -> None:
    versions = [version(each, *([labels[each]] if each in labels else [])) for each in (4, 3, 2, 1)]
    assert [each.number for each in covered_versions(versions)] == covered


def test_a_covered_version_that_was_not_read_is_refused() -> None:
    history = History(NAME, REGION, (version(2, "cwagent-applied"), version(1, value=None)))
    assert covered_texts(history, is_encrypted=True) == [
        Text(NAME, REGION, CONFIG, f"parameter '{NAME}' in {REGION}, version 2", is_encrypted=True)
    ]
    with pytest.raises(InvalidInput, match=f"parameter '{NAME}' in {REGION}, version 1: it could not be read"):
        covered_texts(History(NAME, REGION, (version(1, value=None),)), is_encrypted=True)


def test_equal_texts_are_read_once() -> None:
    places = [(NAME, REGION), (NAME, "us-east-1"), ("AmazonCloudWatch-2", REGION)]
    sources = to_sources([Text(*place, CONFIG, " in ".join(place)) for place in places])
    assert [(each.name, each.parameters, each.regions) for each in sources] == [
        (f"{NAME} in {REGION}", (NAME,), (REGION, "us-east-1")),
        (f"AmazonCloudWatch-2 in {REGION}", ("AmazonCloudWatch-2",), (REGION,)),
    ]
    assert sources[0].config is sources[1].config
    assert sources[0].config == {"agent": {"region": REGION}}


def test_an_encrypted_parameter_is_another_source() -> None:
    texts = [Text(NAME, region, CONFIG, region, region == REGION) for region in (REGION, "us-east-1")]
    assert [(each.regions, each.is_encrypted) for each in to_sources(texts)] == [
        ((REGION,), True),
        (("us-east-1",), False),
    ]


def test_all_texts_that_are_no_configurations_are_listed() -> None:
    texts = [Text(NAME, REGION, each, f"version {number}") for number, each in enumerate(["{", CONFIG, "[]"], 1)]
    texts.append(Text(f"{NAME}.tmp", REGION, '{"agent":{}}', "version 4"))
    with pytest.raises(InvalidInput) as refusal:
        to_sources(texts)
    assert "version 1: " in str(refusal.value)
    assert "version 2: " not in str(refusal.value)
    assert "version 3: " in str(refusal.value)
    assert "version 4: " in str(refusal.value)
    assert [each.config for each in find_sources(texts)[0]] == [json.loads(CONFIG)]
    assert "ignored_parameters" in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    ["hunter2", '"hunter2"', '{"hunter2": 1}', '{"agent": {"region": "hunter2}', '{"logs": "hunter2"}', "[hunter2]"],
)
def test_a_refusal_shows_nothing_of_an_encrypted_text(text: str) -> None:
    for is_encrypted in (True, False):
        with pytest.raises(InvalidInput) as refusal:
            needed_statements(to_sources([Text(NAME, REGION, text, "version 1", is_encrypted)]), Scope())
        assert "version 1: " in str(refusal.value)
        assert ("is not shown because it is encrypted" in str(refusal.value)) == is_encrypted
        assert not is_encrypted or "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("regions", "all_regions", "found"),
    [
        ([REGION, "us-east-1"], [], (REGION, "us-east-1")),
        ([REGION, "us-east-1"], ["us-east-1", REGION], ()),
        ([REGION], [REGION], (REGION,)),
        ([REGION, "us-east-1"], [REGION, "us-east-1", "us-west-2"], (REGION, "us-east-1")),
    ],
)
def test_a_text_in_all_regions_has_none(regions: list[str], all_regions: list[str], found: tuple[str, ...]) -> None:
    [source] = to_sources([Text(NAME, each, CONFIG, each) for each in regions], all_regions)
    assert source.regions == found
