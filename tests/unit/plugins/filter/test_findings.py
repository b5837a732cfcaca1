from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.filter.findings import FilterModule

junit = FilterModule().filters()["junit"]
sarif = FilterModule().filters()["sarif"]

SEVERITIES = ["notice", "warning", "error"]


def finding(severity="error", **more):
    given = {"rule": "old_key", "severity": severity, "object": "user/db1", "why": "The key is old.", **more}
    return {key: value for key, value in given.items() if value is not None}


IN_AN_ACCOUNT = {"account": "123456789012", "region": None, "fix": "rotate it"}
IN_A_FILE = {"file": "host vars/db1.yml", "line": 3, "column": 7}
ANY_FINDING = st.fixed_dictionaries(
    {"rule": st.text(), "severity": st.sampled_from(SEVERITIES), "object": st.text(), "why": st.text(min_size=1)},
    optional={
        "fix": st.text(),
        "file": st.text(),
        "line": st.integers(0),
        "column": st.integers(0),
        "account": st.text(),
        "region": st.none() | st.text(),
    },
)


# SARIF


@pytest.mark.parametrize(("severity", "level"), [("notice", "note"), ("warning", "warning"), ("error", "error")])
def test_the_level_of_a_result_follows_the_severity(severity, level):
    [run] = sarif([finding(severity)])["runs"]
    [result] = run["results"]
    assert result["level"] == level
    assert result["properties"] == {"severity": severity}
    assert run["tool"]["driver"]["rules"] == [{"id": "old_key", "defaultConfiguration": {"level": level}}]


def test_a_rule_has_the_level_of_its_most_severe_result():
    [run] = sarif([finding("notice"), finding("error"), finding("warning"), finding("warning", rule="another")])["runs"]
    assert run["tool"]["driver"]["rules"] == [
        {"id": "another", "defaultConfiguration": {"level": "warning"}},
        {"id": "old_key", "defaultConfiguration": {"level": "error"}},
    ]
    assert [result["ruleIndex"] for result in run["results"]] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("more", "default_file", "uri", "region"),
    [
        ({}, "", None, {}),
        ({}, "hosts.yml", "hosts.yml", {}),
        ({"file": "a.yml"}, "hosts.yml", "a.yml", {}),
        ({"file": "a.yml", "column": 7}, "", "a.yml", {}),
        ({"file": "a.yml", "line": 3}, "", "a.yml", {"region": {"startLine": 3}}),
        (IN_A_FILE, "", "host%20vars/db1.yml", {"region": {"startLine": 3, "startColumn": 7}}),
        ({"file": "/etc/ä.yml"}, "", "file:///etc/%C3%A4.yml", {}),
    ],
)
def test_the_location_of_a_result(more, default_file, uri, region):
    [result] = sarif([finding(**more)], file=default_file)["runs"][0]["results"]
    expected = {"artifactLocation": {"uri": uri}, **region} if uri else None
    assert result["locations"][0].get("physicalLocation") == expected


def test_a_result_names_its_object_with_account_and_region():
    [result] = sarif([finding(**{**IN_AN_ACCOUNT, "region": "eu-central-1"})])["runs"][0]["results"]
    [location] = result["locations"][0]["logicalLocations"]
    name = {"name": "user/db1", "fullyQualifiedName": "123456789012/eu-central-1/user/db1"}
    assert location == {**name, "kind": "resource"}
    assert result["message"] == {"text": "user/db1: The key is old.\nFix: rotate it"}


def test_a_result_keeps_its_fingerprint_until_it_is_about_something_else():
    def fingerprint(**more):
        [result] = sarif([finding(**more)])["runs"][0]["results"]
        return result["partialFingerprints"]["finding/v1"]

    assert fingerprint(why="now 91 days", line=3) == fingerprint(why="now 92 days", line=4)
    others = [{"rule": "x"}, {"object": "x"}, {"account": "x"}, {"file": "x"}, {}]
    assert len({fingerprint(**more) for more in others}) == len(others)


@pytest.mark.parametrize("errors", [[], ["account dev: access denied"]])
def test_a_log_lists_errors(errors):
    [run] = sarif([], errors=errors)["runs"]
    assert run["invocations"] == [
        {
            "executionSuccessful": not errors,
            "toolExecutionNotifications": [{"level": "error", "message": {"text": error}} for error in errors],
        }
    ]
    assert run["results"] == []


@given(st.lists(ANY_FINDING))
def test_a_log_has_a_result_for_each_finding_and_is_json(findings):
    [run] = json.loads(json.dumps(sarif(findings)))["runs"]
    assert len(run["results"]) == len(findings)
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


# JUnit XML


def suite_of(text):
    root = ET.fromstring(text)  # noqa: S314  the filter made it
    assert root.tag == "testsuites"
    [suite] = root
    return suite


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("fail_at", SEVERITIES)
def test_a_finding_fails_from_a_severity_on(severity, fail_at):
    suite = suite_of(junit([finding(severity, **IN_AN_ACCOUNT)], fail_at=fail_at))
    [case] = suite
    assert case.attrib == {"classname": "cwagent.iam.old_key", "name": "user/db1 (123456789012)"}
    [child] = case
    if SEVERITIES.index(severity) >= SEVERITIES.index(fail_at):
        assert (child.tag, child.attrib) == ("failure", {"type": severity, "message": "The key is old."})
        assert child.text == "user/db1: The key is old. Fix: rotate it"
    else:
        assert (child.tag, child.text) == ("system-out", f"{severity}: user/db1: The key is old. Fix: rotate it")
    assert suite.get("failures") == str(len(suite.findall("*/failure")))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_finding_is_a_failure_by_default_unless_summaries_leave_it_out(severity):
    assert suite_of(junit([finding(severity), finding(severity, listed=False)])).get("failures") == "1"


def test_a_finding_in_a_file_names_the_line():
    [case] = suite_of(junit([finding(**IN_A_FILE)]))
    assert (case.get("file"), case.get("line")) == ("host vars/db1.yml", "3")
    assert case.get("name") == "user/db1 (host vars/db1.yml)"


def test_an_error_is_no_failure():
    suite = suite_of(junit([finding("error")], errors=["account dev: access denied"], name="audit"))
    assert suite.attrib == {"name": "audit", "tests": "2", "failures": "1", "errors": "1"}
    case = suite[1]
    assert case.attrib == {"classname": "cwagent.iam.not_checked", "name": "account dev: access denied"}
    assert [(child.tag, child.get("message"), child.text) for child in case] == [
        ("error", "account dev: access denied", "account dev: access denied")
    ]


def test_nothing_to_report_is_a_test_that_passed():
    suite = suite_of(junit([]))
    assert suite.attrib == {"name": "cwagent.iam", "tests": "1", "failures": "0", "errors": "0"}
    [case] = suite
    assert (case.attrib, list(case)) == ({"classname": "cwagent.iam.all", "name": "nothing to report"}, [])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('<a href="x">&', '<a href="x">&'),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("a\u202eb\u200fc", "abc"),
        ("a\ud800b\ufffec", "abc"),
        ("two\n\tlines", "two lines"),
    ],
)
def test_text_is_escaped_and_has_no_control_characters(text, shown):
    [case] = suite_of(junit([finding(rule=text, object=text, why=text, file=text)], name=text))
    assert case.get("name") == f"{shown} ({shown})"
    assert case.get("classname") == f"cwagent.iam.{shown}"
    assert case.get("file") == shown
    assert case[0].text == f"{shown}: {shown}"


@given(st.lists(ANY_FINDING), st.lists(st.text()), st.text())
def test_junit_xml_can_be_read_and_has_all_findings(findings, errors, name):
    text = junit(findings, errors=errors, name=name)
    suite = suite_of(text.encode())
    assert int(suite.get("tests")) == len(suite) == (len(findings) + len(errors) or 1)
    assert int(suite.get("errors")) == len(errors)
    assert all(each.isprintable() or each == "\n" for each in text)


@pytest.mark.parametrize("message", ["unknown key", "unknown key."])
def test_a_fix_is_a_separate_sentence(message):
    finding = {"rule": "r", "severity": "error", "object": "P", "why": message, "fix": "Remove it."}
    assert "P: unknown key. Fix: Remove it.<" in junit([finding])
    assert sarif([finding])["runs"][0]["results"][0]["message"]["text"] == "P: unknown key.\nFix: Remove it."
