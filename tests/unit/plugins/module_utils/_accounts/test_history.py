from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from access_account import (
    ACCOUNT_ID,
    ADMIN,
    ADMIN_SESSION,
    CLOSED,
    HEALTHY,
    NOW,
    REGION,
    case_of,
    found,
    healthy,
    history,
    role,
    version,
)
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_input import Choices
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_result import find, to_result
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.history import Writer, changes, group_parts
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import to_record

STS, IAM = f"arn:aws:sts::{ACCOUNT_ID}:", f"arn:aws:iam::{ACCOUNT_ID}:"
ROLE, USER = f"{STS}assumed-role/CloudWatchAgentAdminRole", f"{IAM}user/CloudWatchAgentAdminUser"
CONSOLE = f"{STS}assumed-role/AWSReservedSSO_Admin_0a1b/jane@example.com"

WRITERS = {
    f"{ROLE}/i-9": "role 'CloudWatchAgentAdminRole' (session i-9)",
    f"{IAM}user/team/agents/Jane": "user 'Jane'",
    f"{IAM}root": f"root user '{ACCOUNT_ID}'",
    f"{STS}federated-user/Jane": "federated user 'Jane'",
    CONSOLE: "role 'AWSReservedSSO_Admin_0a1b' (session jane@example.com)",
    f"arn:aws-cn:sts::{ACCOUNT_ID}:assumed-role/R/a/b": "role 'R' (session a/b)",
    "ssm.amazonaws.com": "ssm.amazonaws.com",
    f"arn:aws:iam::{ACCOUNT_ID}:group/x": f"arn:aws:iam::{ACCOUNT_ID}:group/x",
    "": "an unknown principal",
}


@pytest.mark.parametrize(("arn", "words"), WRITERS.items())
def test_a_writer_is_shown_in_words(arn, words):
    assert str(Writer.of(arn)) == words


OWN = [f"{ROLE}/i-9", f"{ROLE}/i-of-an-earlier-admin", USER, USER.replace("user/", "user/path/")]
OTHERS = [
    CONSOLE,
    f"{IAM}root",
    f"{IAM}user/CloudWatchAgentAdminRole",
    f"{STS}assumed-role/CloudWatchAgentAdminUser/i-9",
    f"{ROLE.replace(ACCOUNT_ID, '210987654321')}/i-9",
    f"{STS}federated-user/CloudWatchAgentAdminUser",
    "ssm.amazonaws.com",
    "",
]


@given(st.lists(st.sampled_from(OWN), min_size=1, max_size=5))
def test_versions_of_the_inventory_are_no_finding(writers):
    numbered = [version(number, arn) for number, arn in reversed(list(enumerate(writers, 1)))]
    assert found(healthy(history(*numbered))) == []


@given(st.lists(st.sampled_from([*OWN, *OTHERS]), min_size=1, max_size=12))
def test_the_finding_names_every_other_writer(writers):
    numbered = [version(number, arn) for number, arn in reversed(list(enumerate(writers, 1)))]
    findings = find(case_of(healthy(history(*numbered))))
    *earlier, current = writers
    expected = {("notice", Writer.of(arn).principal) for arn in earlier if arn in OTHERS}
    expected |= {("error", Writer.of(current).principal)} if current in OTHERS else set()
    assert len(findings) == len(expected)
    for severity, writer in expected:
        assert any(each.severity == severity and str(writer) in each.why for each in findings)
    assert all(each.region == REGION and f"--region {REGION}" in each.fix for each in findings)


def test_a_notice_lists_the_versions_of_its_writer_and_the_time_of_the_newest():
    account = healthy(history(version(4), version(3, CONSOLE), version(2, f"{IAM}root"), version(1, CONSOLE + "x")))
    by_role, by_root = sorted((each.why, each.fix) for each in find(case_of(account)))
    assert by_role[0].startswith("Of the earlier versions, role 'AWSReservedSSO_Admin_0a1b' wrote 3, 1. The inventory")
    assert by_root[0].startswith(f"Of the earlier versions, root user '{ACCOUNT_ID}' wrote 2. The inventory stores")
    assert by_role[1].endswith(
        "lookup-events --region eu-central-1 --lookup-attributes AttributeKey=EventName,AttributeValue=PutParameter "
        "--start-time 2026-11-23T15:59:00Z --end-time 2026-11-23T16:01:00Z"
    )


@pytest.mark.parametrize("stores", [True, False])
@pytest.mark.parametrize("caller", [f"{STS}assumed-role/Controller/{{}}", f"{IAM}user/controller"])
def test_the_controller_is_no_finding_where_it_stores(stores, caller):
    account = replace(healthy(history(version(1, caller.format("now")))), caller=caller.format("earlier"))
    assert len(found(account, Choices(controller_stores=stores))) == (not stores)


@pytest.mark.parametrize(
    ("days", "first", "managed", "is_late"),
    [(2, 1, True, True), (0.5, 1, True, False), (2, 2, True, False), (2, 1, False, False)],
)
def test_a_late_beginning_needs_the_first_version_and_a_principal_of_ours(days, first, managed, is_late):
    written = NOW - timedelta(days=1)
    tags = {"cwagent:managed": "created" if managed else "adopted"}
    admin = role("CloudWatchAgentAdminRole", ADMIN, CLOSED, tags=tags)
    account = healthy(replace(admin, created=written - timedelta(days=days)), history(version(first)))
    rules = [rule for rule, _, _ in found(account)]
    assert ("history-starts-late" in rules) == is_late


def config(seconds):
    return json.dumps({"agent": {"metrics_collection_interval": seconds}})


def test_each_version_has_its_changes():
    values = [None, "receivers: {}", "{", config(30), config(30).replace(" ", ""), config(60)]
    numbered = [version(6 - index, value=value) for index, value in enumerate(values)]
    assert changes(history(*numbered)) == [
        None,
        ["~ the text"],
        ["~ the text"],
        [],
        ["~ $.agent.metrics_collection_interval: 60 -> 30"],
        [],
    ]


def test_equal_texts_that_are_no_json_have_no_changes():
    assert changes(history(version(2, value="a: 1"), version(1, value="a: 1"))) == [[], []]


def test_a_version_lists_the_parts_that_were_stored_with_it():
    """Two configurations whose names look like parts, and two regions, are no parts of each other."""
    one, two, three = config(1), config(2), config(3)

    def of_part(number, value, *values):
        return version(number, value=value, description=to_record(values, number))

    first = history(of_part(2, three, three, two), of_part(1, one, one, two), name="a")
    second = history(version(2, value=one), of_part(1, two, one, two), name="a-2")
    histories = (first, second, replace(first, region="us-east-1"), history(name="a-3"), history(name="b"))
    groups = [[first, second], [histories[2]], [histories[3]], [histories[4]]]
    assert group_parts(histories) == groups
    found = to_result(case_of(replace(HEALTHY, histories=histories)), [])["history"]
    stored_with = [[each["stored_with"] for each in every["versions"]] for every in found]
    assert stored_with == [
        [[{"name": "a-2", "version": 1}]] * 2,
        [[], [{"name": "a", "version": 1}]],
        [[], []],
        [],
        [],
    ]


def test_the_result_lists_the_versions_of_each_configuration():
    of_others = version(1, CONSOLE, None)
    histories = (history(version(2, value=config(30), labels=("stable",)), of_others), history(name="gone"))
    case = case_of(replace(HEALTHY, histories=histories))
    kept, gone = to_result(case, [])["history"]
    assert gone == {"name": "gone", "region": REGION, "versions": []}
    assert kept["versions"][0] == {
        "version": 2,
        "modified": "2026-11-23T16:00:00Z",
        "writer": ADMIN_SESSION,
        "written_by": "role 'CloudWatchAgentAdminRole' (session i-9)",
        "is_own": True,
        "size": len(config(30)),
        "tier": "Standard",
        "labels": ["stable"],
        "stored_with": [],
        "changes": None,
    }
    assert [(each["is_own"], each["size"], each["changes"]) for each in kept["versions"][1:]] == [(False, None, [])]
