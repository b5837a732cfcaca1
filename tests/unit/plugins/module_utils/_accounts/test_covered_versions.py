from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.covered_versions import (
    Known,
    Read,
    Text,
    Unread,
    covered_texts,
    covered_versions,
    find_sources,
    find_unexplained,
    known_grants,
    readable_parameters,
    to_sources,
)
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import History, Version
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import (
    Scope,
    Statement,
    needed_statements,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput

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


# -- Hand edits --

SCOPE = Scope("aws", "123456789012")
GROUPS = "arn:aws:logs:{}:123456789012:log-group:{}:*"
ROLE = "arn:aws:iam::210987654321:role/Central"


def sending(group: str, role: str = "") -> str:
    """A configuration that sends to a log group, and perhaps metrics with a role."""
    files = {"collect_list": [{"file_path": "/a", "log_group_name": group}]}
    metrics = {"metrics": {"credentials": {"role_arn": role}}} if role else {}
    return json.dumps({"logs": {"logs_collected": {"files": files}}, **metrics})


def in_here(value: str, place: str = "p", *, is_encrypted: bool = False) -> Text:
    return Text("AmazonCloudWatch-a", "eu-central-1", value, place, is_encrypted)


@pytest.mark.parametrize(
    ("texts", "is_complete"),
    [
        ([in_here(sending("a"))], True),
        ([in_here("no JSON"), in_here(sending("a"))], False),
        ([in_here(sending("a")), in_here('{"logs":{"metrics_collected":{"emf":{}}}}')], False),
    ],
)
def test_the_needs_of_texts_are_known_unless_one_is_refused(texts: list[Text], is_complete: bool) -> None:
    found = known_grants(texts, (), SCOPE)
    assert found.is_complete is is_complete
    assert ("logs:PutLogEvents", (), GROUPS.format("eu-central-1", "a")) in found.grants
    assert Known(found.grants).is_complete


def test_only_resources_of_texts_without_encryption_are_shown() -> None:
    found = known_grants([in_here(sending("a")), in_here(sending("b", ROLE), is_encrypted=True)], (), SCOPE)
    names = [GROUPS.format("eu-central-1", each) for each in "ab"]
    assert [each in found.shown for each in (*names, ROLE)] == [True, False, False]
    assert {*names, ROLE} <= {name for _action, _condition, name in found.grants}


def test_a_text_is_read_once_and_its_first_place_is_shown() -> None:
    read: Read = {}
    texts = [Text("AmazonCloudWatch-a", each, "no JSON", f"in {each}") for each in ("eu-west-1", "us-east-1")]
    for _time in range(2):
        assert [each.partition(":")[0] for each in find_sources(texts, (), read)[1]] == ["in eu-west-1"]
    read["no JSON"] = None, "as it was read before"
    assert find_sources(texts, (), read)[1] == ["in eu-west-1: as it was read before."]


@pytest.mark.parametrize(
    ("action", "name", "unread", "is_added"),
    [
        ("logs:PutLogEvents", GROUPS.format("eu-central-1", "shop"), Unread.NOTHING, False),
        ("logs:PutLogEvents", GROUPS.format("us-east-1", "shop"), Unread.NOTHING, True),
        ("logs:PutLogEvents", GROUPS.format("*", "shop"), Unread.NOTHING, True),
        # A text in all regions.
        *(("logs:PutLogEvents", GROUPS.format(each, "all"), Unread.NOTHING, False) for each in ("us-east-1", "*")),
        ("logs:CreateLogGroup", GROUPS.format("*", "all"), Unread.NOTHING, True),
        ("logs:PutLogEvents", "arn:aws:logs:us-east-1:123456789012:other:all:*", Unread.NOTHING, True),
        ("logs:PutLogEvents", "", Unread.NOTHING, True),
        ("logs:PutLogEvents", GROUPS.format("*", "audit"), Unread.EARLIER, False),
        *(("sts:AssumeRole", ROLE, each, each is not Unread.STORED) for each in Unread),
        *(
            (each, "arn:aws:ssm:us-east-1:123456789012:parameter/AmazonCloudWatch-x", Unread.NOTHING, False)
            for each in ("ssm:GetParameter", "ssm:PutParameter", "kms:Decrypt")
        ),
    ],
)
def test_the_parts_that_no_text_can_need_are_found(action: str, name: str, unread: Unread, is_added: bool) -> None:
    names = [GROUPS.format(*each) for each in (("eu-central-1", "shop"), ("*", "all"))]
    known = {("logs:PutLogEvents", (), each) for each in names}
    statement = Statement("x", (action, "logs:PutLogEvents"), (), (name,))
    found = find_unexplained([Statement("x", ("logs:PutLogEvents",), (), (names[0],)), statement], known, unread)
    assert (action in [each for one in found for each in one.actions]) is is_added


def test_readable_parameters_have_their_regions() -> None:
    arns = [f"arn:aws:ssm:{each}:123456789012:parameter/AmazonCloudWatch-a" for each in ("eu-west-1", "*")]
    reading = Statement("x", ("ssm:GetParameter",), (), (arns[0], f"{arns[1]}:*"))
    storing = Statement("x", ("ssm:PutParameter",), (), (arns[0].replace("-a", "-b"),))
    assert readable_parameters([reading, storing]) == {(each, "AmazonCloudWatch-a") for each in ("eu-west-1", "*")}
