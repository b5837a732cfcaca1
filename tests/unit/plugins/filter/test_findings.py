from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.filter.findings import NOT_ASSUMED, OWN_LABELS, FilterModule

audit_document = FilterModule().filters()["audit_document"]
audit_summary = FilterModule().filters()["audit_summary"]
junit = FilterModule().filters()["junit"]
sarif = FilterModule().filters()["sarif"]

SEVERITIES = ["info", "low", "medium", "high"]
# The number of characters that Ansible's `debug` adds to a line: its indentation, two quotes and a comma.
PRINTED = 11


def finding(severity="high", **more):
    given = {"rule": "old_key", "severity": severity, "object": "user/db1", "message": "The key is old.", **more}
    return {key: value for key, value in given.items() if value is not None}


RENAMED = {"message": None, "why": "The key is old."}
IN_AN_ACCOUNT = {"account": "123456789012", "region": None, **RENAMED, "fix": "rotate it"}
IN_A_FILE = {"file": "host vars/db1.yml", "line": 3, "column": 7}
ANY_FINDING = st.fixed_dictionaries(
    {"rule": st.text(), "severity": st.sampled_from(SEVERITIES), "object": st.text(), "message": st.text(min_size=1)},
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


@pytest.mark.parametrize(
    ("severity", "level"), [("info", "note"), ("low", "note"), ("medium", "warning"), ("high", "error")]
)
def test_the_level_of_a_result_follows_the_severity(severity, level):
    [run] = sarif([finding(severity)])["runs"]
    [result] = run["results"]
    assert result["level"] == level
    assert result["properties"] == {"severity": severity}
    assert run["tool"]["driver"]["rules"] == [{"id": "old_key", "defaultConfiguration": {"level": level}}]


def test_a_rule_has_the_level_of_its_most_severe_result():
    [run] = sarif([finding("low"), finding("high"), finding("info"), finding("medium", rule="another")])["runs"]
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

    assert fingerprint(message="now 91 days", line=3) == fingerprint(message="now 92 days", line=4)
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


def test_a_finding_of_severity_low_is_a_failure_by_default():
    assert suite_of(junit([finding("low"), finding("info")])).get("failures") == "1"


def test_a_finding_in_a_file_names_the_line():
    [case] = suite_of(junit([finding(**IN_A_FILE)]))
    assert (case.get("file"), case.get("line")) == ("host vars/db1.yml", "3")
    assert case.get("name") == "user/db1 (host vars/db1.yml)"


def test_an_error_is_no_failure():
    suite = suite_of(junit([finding("high")], errors=["account dev: access denied"], name="audit"))
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
    [case] = suite_of(junit([finding(rule=text, object=text, message=text, file=text)], name=text))
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


# Summary


def principal(name, writes="no", *, administrator=False, state=None):
    window = {"state": state} if state else None
    return {"kind": "role", "name": name, "writes": writes, "window": window, "is_administrator": administrator}


def account(*principals, alias="prod", unread=()):
    return {
        "account": {"id": "123456789012", "alias": alias, "label": "controller"},
        "principals": principals,
        "unread": [{"what": what, "action": f"iam:List{what}"} for what in unread],
    }


def document(*accounts, findings=()):
    counts = {severity: sum(each["severity"] == severity for each in findings) for severity in SEVERITIES}
    return {"generated": "2026-11-25T09:30:00Z", "accounts": accounts, "findings": list(findings), "counts": counts}


def audit_finding(severity, **more):
    found = {"rule": "r", "object": "o", "account": "1", "region": None, "why": "It is so.", "fix": "run x"}
    return {**found, "severity": severity, **more}


@pytest.mark.parametrize(("unread", "server"), [((), "server"), (["roles"], "known server")])
def test_nobody_is_cleared_by_a_read_that_was_denied(unread, server):
    first, *lines, last = audit_summary(document(account(principal("server"), unread=unread)))
    assert (first, last) == ("1 account read at 2026-11-25T09:30:00Z.", "No findings.")
    line = f"Account prod: no {server} can write the configuration now."
    assert " ".join(lines).startswith(line)
    assert (lines == [line]) == (not unread)


@pytest.mark.parametrize(
    ("writes", "state", "administrator", "is_shown"),
    [
        ("yes", None, False, True),
        *(("window", state, False, True) for state in ("open", "unknown", None)),
        *(("window", state, False, False) for state in ("closed", "expired")),
        ("no", "open", False, False),
        ("yes", None, True, False),
    ],
)
def test_the_writers_of_an_account(writes, state, administrator, is_shown):
    summary = audit_summary(document(account(principal("a", writes, administrator=administrator, state=state))))
    assert summary[1] == f"Account prod: {'role a' if is_shown else 'no server'} can write the configuration now."


OPEN = {"state": "open", "deadline": "2026-11-25T09:44:00Z"}
BY_WINDOW, ANYHOW = ({**principal(name, writes), "window": OPEN} for name, writes in (("a", "window"), ("b", "yes")))
BY_DEADLINE = "role a can write the configuration until 2026-11-25T09:44:00Z"


@pytest.mark.parametrize(
    ("writers", "shown"),
    [
        ([BY_WINDOW], BY_DEADLINE),
        ([ANYHOW], "role b can write the configuration now"),
        ([BY_WINDOW, ANYHOW], f"role b can write the configuration now; {BY_DEADLINE}"),
    ],
)
def test_a_writer_has_its_deadline_if_it_writes_because_of_a_window(writers, shown):
    assert " ".join(audit_summary(document(account(*writers)))[1:-1]) == f"Account prod: {shown}."


@pytest.mark.parametrize(
    ("label", "alias", "name", "heading"),
    [
        ("shop", None, "shop", "shop (123456789012)"),
        ("shop", "prod", "shop", "shop (123456789012)"),
        *((label, None, "123456789012", "123456789012") for label in OWN_LABELS),
        *((label, "prod", "prod", "prod") for label in OWN_LABELS),
    ],
)
def test_an_account_has_its_name_in_the_inventory_or_else_in_iam(label, alias, name, heading):
    read = {**account(alias=alias), "findings": [audit_finding("high", account="123456789012")]}
    read["account"] |= {"label": label, "read_at": ""}
    found = audit_document([read], [label], fail_at="high")
    words = " ".join(audit_summary(found))
    assert f" Account {heading}: no server can write the configuration now. " in words
    assert f"- high, r: o ({name}): It is so." in words
    assert found["failure"].endswith(f"high, r: o ({name}): It is so.")


def test_findings_are_not_mentioned_if_no_account_was_read():
    failed = {"account": {"label": "dev"}, "error": "access denied"}
    lines = audit_summary({**document(failed), "generated": ""})
    assert lines == ["No account was read.", "! account dev was not read: access denied"]


def test_many_writers_are_counted():
    listed = [principal(str(number), "yes") for number in range(7)]
    line = " ".join(audit_summary(document(account(*listed, alias=None)))[1:-1])
    assert line == (
        "Account 123456789012: role 0, role 1, role 2, role 3, role 4 and 2 more can write the configuration now."
    )
    [_first, *five, _last] = audit_summary(document(account(*listed[:5])))
    assert "more" not in " ".join(five)


def test_a_summary_lists_unknown_answers_and_denied_reads():
    failed = {"account": {"label": "dev"}, "error": "access denied"}
    unknown = account(principal("a", "unknown"), principal("b", "unknown"), unread=["users", "roles"])
    assert audit_summary(document(unknown, failed, account(principal("a", "unknown"), alias="test"))) == [
        "2 accounts read at 2026-11-25T09:30:00Z.",
        "! account dev was not read: access denied",
        "Account prod: no known server can write the configuration now. For 2",
        "principals it is unknown.",
        "Account test: no known server can write the configuration now. For 1",
        "principal it is unknown.",
        "! 2 reads denied: iam:Listroles, iam:Listusers. Dependent results are",
        "  unknown.",
        "No findings.",
    ]


def test_the_most_severe_findings_come_first():
    found = [audit_finding("info"), audit_finding("low"), audit_finding("high", region="eu-central-1")]
    assert audit_summary(document(account(), findings=found), limit=1)[2:] == [
        "3 findings: 1 high, 1 low, 1 info.",
        "- high, r: o (1, eu-central-1): It is so.",
        "  Fix: run x",
        "1 more are in the report.",
        "Findings of severity info are only in the report",
        "(cwagent_report_files).",
    ]
    assert audit_summary(document(account(), findings=found[1:]), limit=2)[-1] == "  Fix: run x"


def test_twenty_findings_are_listed():
    lines = audit_summary(document(account(), findings=[audit_finding("low")] * 23))
    assert lines.count("  Fix: run x") == 20
    assert lines[-1] == "3 more are in the report."


@given(st.text(), st.lists(st.builds(audit_finding, st.sampled_from(SEVERITIES), object=st.text(), fix=st.text())))
def test_a_printed_summary_fits_80_columns(name, findings):
    for line in audit_summary(document(account(principal(name, "yes"), alias=name), findings=findings)):
        assert len(json.dumps(line, ensure_ascii=False)) + PRINTED - 2 <= 80


def test_a_long_command_with_quotes_fits_80_columns():
    fix = """ansible-playbook cwagent.iam.site -e '{"cwagent_account_aws_profile": "\\\\"}' """ * 3
    lines = audit_summary(document(account(), findings=[audit_finding("high", fix=fix)]))
    assert max(len(json.dumps(line)) for line in lines) + PRINTED - 2 <= 80
    assert " ".join(line.strip() for line in lines[4:]) == f"Fix: {fix}".strip()


def test_an_audit_document_has_the_findings_of_all_accounts_and_the_errors_of_the_others():
    finding = {"rule": "r", "severity": "high"}
    shop = {"label": "shop", "id": "1", "read_at": "2026-11-25T09:30:00Z"}
    finding["account"] = "1"
    read = {"account": shop, "principals": [], "findings": [finding]}
    results = [{**read, "changed": False, "failed": False}, {"failed": True, "msg": "denied"}, {"skipped": True}]
    assert audit_document(results, ["shop", "blog", "test"], fail_at="none") == {
        "generated": "2026-11-25T09:30:00Z",
        "accounts": [
            read,
            {"account": {"label": "blog"}, "error": "denied"},
            {"account": {"label": "test"}, "error": NOT_ASSUMED},
        ],
        "findings": [finding],
        "counts": {"info": 0, "low": 0, "medium": 0, "high": 1},
        "failure": "Accounts that were not read: 2. Account blog was not read: denied. There is 1 more problem.",
    }
    assert audit_document([], [])["generated"] == ""


UNREAD = {"failed": True, "msg": "denied"}
COUNTED = {
    "none_unread": "Accounts that were not read: 0.",
    "two_more": "There are 2 more problems.",
    "one_unread": "Accounts that were not read: 1. Account blog was not read: denied.",
}


@pytest.mark.parametrize(
    ("found", "unread", "fail_at", "message"),
    [
        ("", False, "info", ""),
        ("low high", False, "none", ""),
        ("info low", False, "medium", ""),
        ("info", False, "info", "Findings of severity info or above: 1. {none_unread} info, r: info (shop): It is so."),
        (
            "medium info low high",
            False,
            "low",
            "Findings of severity low or above: 3. {none_unread} high, r: high (shop): It is so. {two_more}",
        ),
        ("high", True, "high", "Findings of severity high or above: 1. {one_unread} There is 1 more problem."),
        ("high", True, "none", "{one_unread}"),
    ],
)
def test_the_message_of_an_audit_names_the_first_problem(found, unread, fail_at, message):
    listed = [audit_finding(severity, object=severity) for severity in found.split()]
    read = {"account": {"label": "shop", "id": "1", "read_at": ""}, "principals": [], "findings": listed}
    results = [read, UNREAD] if unread else [read]
    document = audit_document(results, ["shop", "blog"], fail_at=fail_at)
    assert document["failure"] == message.format(**COUNTED)


def test_an_account_whose_role_was_not_assumed_has_the_error_of_aws():
    sessions = [{"skipped": True}, {"msg": "Access denied."}]
    accounts = audit_document([{"msg": "denied"}, {"skipped": True}], ["shop", "blog"], sessions)["accounts"]
    assert [each["error"] for each in accounts] == ["denied", f"{NOT_ASSUMED} Access denied."]


@pytest.mark.parametrize("message", ["unknown key", "unknown key."])
def test_a_fix_is_a_separate_sentence(message):
    finding = {"rule": "r", "severity": "high", "object": "P", "message": message, "fix": "Remove it."}
    assert "P: unknown key. Fix: Remove it.<" in junit([finding])
    assert sarif([finding])["runs"][0]["results"][0]["message"]["text"] == "P: unknown key.\nFix: Remove it."
