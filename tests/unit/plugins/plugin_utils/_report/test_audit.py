"""The results of an audit, merged, and their summary for a person."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.plugin_utils._report.audit import OWN_LABELS, merge_accounts, summarize

SEVERITIES = ["notice", "warning", "error"]
# The number of characters that Ansible's `debug` adds to a line: its indentation, two quotes and a comma.
PRINTED = 11


def principal(name, writes="no", *, administrator=False, state=None):
    window = {"state": state} if state else None
    return {"kind": "role", "name": name, "writes": writes, "window": window, "is_administrator": administrator}


def account(*principals, alias="prod", unread=(), grantors=()):
    return {
        "account": {"id": "123456789012", "alias": alias, "label": "controller"},
        "principals": principals,
        "grantors": grantors,
        "unread": [{"what": what, "action": f"iam:List{what}"} for what in unread],
    }


def document(*accounts, findings=()):
    counts = {severity: sum(each["severity"] == severity for each in findings) for severity in SEVERITIES}
    return {"generated": "2026-11-25T09:30:00Z", "accounts": accounts, "findings": list(findings), "counts": counts}


def audit_finding(severity, **more):
    found = {"rule": "r", "object": "o", "account": "1", "region": None, "why": "It is so.", "fix": "run x"}
    return {**found, "severity": severity, **more}


UNLISTED = audit_finding("notice", listed=False)


@pytest.mark.parametrize(("unread", "server"), [((), "server"), (["roles"], "known server")])
def test_nobody_is_cleared_by_a_read_that_was_denied(unread, server):
    first, *lines, last = summarize(document(account(principal("server"), unread=unread)))
    assert first == "1 account read at 2026-11-25T09:30:00Z."
    assert last == ("No findings in the parts that were read." if unread else "No findings.")
    line = f"Account prod: no {server} can write the configuration now."
    assert " ".join(lines).startswith(line)
    assert (lines == [line]) == (not unread)


@pytest.mark.parametrize(
    ("writes", "state", "can"),
    [
        ("yes", None, True),
        *(("window", state, True) for state in ("open", "unknown", None)),
        *(("window", state, False) for state in ("closed", "expired")),
        ("no", "open", False),
    ],
)
@pytest.mark.parametrize("kind", ["role", "user"])
@pytest.mark.parametrize("administrator", [False, True], ids=["server", "administrator"])
def test_every_kind_of_principal_that_can_write_is_named(writes, state, can, kind, administrator):
    """A server or person, and someone who administers the account, in both kinds of principals."""
    each = {**principal("a", writes, administrator=administrator, state=state), "kind": kind}
    verdict = f"{kind} a" if can and not administrator else "no server"
    more = f" {kind.title()} a can write because it administers the account." if can and administrator else ""
    words = " ".join(summarize(document(account(each)))[1:-1])
    assert words == f"Account prod: {verdict} can write the configuration now.{more}"


def test_administrators_come_after_servers_and_are_counted():
    administrators = [principal(f"A{number}", "yes", administrator=True) for number in range(7)]
    words = " ".join(summarize(document(account(principal("a", "yes"), *administrators)))[1:-1])
    assert words == (
        "Account prod: role a can write the configuration now. Role A0, role A1, role A2, role A3, role A4 and 2 more "
        "can write because they administer the account."
    )


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
    assert " ".join(summarize(document(account(*writers)))[1:-1]) == f"Account prod: {shown}."


GRANT = "can change policies so that a server can write."


@pytest.mark.parametrize(
    ("grantors", "sentences"),
    [
        ([], ""),
        ([("role", "Controller", "yes")], f" Role Controller {GRANT}"),
        ([("role", "Controller", "yes"), ("user", "ops", "yes")], f" Role Controller, user ops {GRANT}"),
        ([("user", "ops", "unknown")], f" It is unknown whether user ops {GRANT}"),
        (
            [("user", "ops", "unknown"), ("role", "Controller", "yes")],
            f" Role Controller {GRANT} It is unknown whether user ops {GRANT}",
        ),
        (
            [("role", str(number), "yes") for number in range(7)],
            f" Role 0, role 1, role 2, role 3, role 4 and 2 more {GRANT}",
        ),
    ],
)
@pytest.mark.parametrize("administrator", [False, True])
def test_principals_that_can_let_a_server_write_are_named_beside_the_writers(grantors, sentences, administrator):
    listed = [{"kind": kind, "name": name, "can_grant": answer} for kind, name, answer in grantors]
    writers = [principal("a", "yes", administrator=True)] if administrator else []
    words = " ".join(summarize(document(account(*writers, grantors=listed)))[1:-1])
    more = " Role a can write because it administers the account." if administrator else ""
    assert words == f"Account prod: no server can write the configuration now.{more}{sentences}"


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
    read = {**account(alias=alias), "findings": [audit_finding("error", account="123456789012")]}
    read["account"] |= {"label": label, "read_at": ""}
    found = merge_accounts([read], [label], fail_at="error")
    words = " ".join(summarize(found))
    assert f" Account {heading}: no server can write the configuration now. " in words
    assert f"- error, r: o ({name}): It is so." in words
    assert found["failure"].endswith(f"error, r: o ({name}): It is so.")


def test_findings_are_not_mentioned_if_no_account_was_read():
    failed = {"account": {"label": "dev"}, "error": "access denied"}
    lines = summarize({**document(failed), "generated": ""})
    assert lines == ["No account was read.", "! account dev was not read. The run fails with the reason."]


def test_many_writers_are_counted():
    listed = [principal(str(number), "yes") for number in range(7)]
    line = " ".join(summarize(document(account(*listed, alias=None)))[1:-1])
    assert line == (
        "Account 123456789012: role 0, role 1, role 2, role 3, role 4 and 2 more can write the configuration now."
    )
    [_first, *five, _last] = summarize(document(account(*listed[:5])))
    assert "more" not in " ".join(five)


VERSION = {
    "version": 2,
    "modified": "2026-11-25T09:00:00Z",
    "written_by": "user 'x'",
    "is_own": True,
    "size": 12,
    "tier": "Standard",
    "labels": [],
    "stored_with": [],
    "changes": [],
}


def histories(*versions, name="AmazonCloudWatch-a"):
    found = {"name": name, "region": "eu-central-1", "versions": [{**VERSION, **each} for each in versions]}
    return {**account(), "history": [found]}


VERSIONS = {
    "- 2, 2026-11-25T09:00:00Z, user 'x', 12 bytes, Standard": {},
    "- 2, 2026-11-25T09:00:00Z, user 'x' (not of this inventory), 12 bytes, Standard": {"is_own": False},
    "- 2, 2026-11-25T09:00:00Z, user 'x', encrypted, Advanced, labels a b": {
        "size": None,
        "changes": None,
        "tier": "Advanced",
        "labels": ["a", "b"],
    },
    "- 2, 2026-11-25T09:00:00Z, user 'x', 12 bytes, Standard, with AmazonCloudWatch-a-2:7": {
        "stored_with": [{"name": "AmazonCloudWatch-a-2", "version": 7}],
    },
}


@pytest.mark.parametrize(("line", "found"), VERSIONS.items())
def test_a_history_has_a_line_for_each_version(line, found):
    lines = summarize(document(histories({**found, "changes": ["~ $.a: 1 -> 2"]})), has_access=False)
    place = "AmazonCloudWatch-a in eu-central-1 of account prod: 1 version."
    expected = ["1 account read at 2026-11-25T09:30:00Z.", place, line, "~ $.a: 1 -> 2", "No findings."]
    assert " ".join(lines).split() == " ".join(expected).split()


def test_a_history_lists_the_newest_versions_and_the_first_changes():
    of_version = {"changes": [f"+ $.a{number}: 1" for number in range(12)]}
    lines = summarize(document(histories(*[of_version] * 22)), has_access=False)
    assert sum(line.startswith("- ") for line in lines) == 20
    assert lines.count("  and 2 more") == 20
    assert "  2 earlier versions are in the report (cwagent_report_files)." in lines


def test_the_history_of_a_parameter_that_does_not_exist():
    lines = summarize(document(histories()), has_access=False)
    place = "AmazonCloudWatch-a in eu-central-1 of account prod"
    assert " ".join(" ".join(lines[1:3]).split()) == f"{place} does not exist. Check the name."


def test_a_summary_lists_unknown_answers_and_denied_reads():
    failed = {"account": {"label": "dev"}, "error": "access denied"}
    unknown = account(principal("a", "unknown"), principal("b", "unknown"), unread=["users", "roles"])
    assert summarize(document(unknown, failed, account(principal("a", "unknown"), alias="test"))) == [
        "2 accounts read at 2026-11-25T09:30:00Z.",
        "! account dev was not read. The run fails with the reason.",
        "Account prod: no known server can write the configuration now. For 2",
        "principals it is unknown.",
        "Account test: no known server can write the configuration now. For 1",
        "principal it is unknown.",
        "! 2 reads denied: iam:Listroles, iam:Listusers. Dependent results are",
        "  unknown.",
        "No findings in the parts that were read.",
    ]


def test_the_most_severe_findings_come_first():
    found = [UNLISTED, audit_finding("notice"), audit_finding("error", region="eu-central-1")]
    assert summarize(document(account(), findings=found), limit=1)[2:] == [
        "3 findings: 1 error, 2 notices.",
        "- error, r: o (1, eu-central-1): It is so.",
        "  Fix: run x",
        "1 more are in the report.",
        "Only in the report (cwagent_report_files): 1 notice.",
    ]
    assert summarize(document(account(), findings=found[1:]), limit=2)[-1] == "  Fix: run x"


def test_twenty_findings_are_listed():
    lines = summarize(document(account(), findings=[audit_finding("notice")] * 23))
    assert lines.count("  Fix: run x") == 20
    assert lines[-1] == "3 more are in the report."


@given(st.text(), st.lists(st.builds(audit_finding, st.sampled_from(SEVERITIES), object=st.text(), fix=st.text())))
def test_a_printed_summary_fits_80_columns(name, findings):
    for line in summarize(document(account(principal(name, "yes"), alias=name), findings=findings)):
        assert len(json.dumps(line, ensure_ascii=False)) + PRINTED - 2 <= 80


def test_a_long_command_with_quotes_fits_80_columns():
    fix = """ansible-playbook cwagent.iam.site -e '{"cwagent_account_aws_profile": "\\\\"}' """ * 3
    lines = summarize(document(account(), findings=[audit_finding("error", fix=fix)]))
    assert max(len(json.dumps(line)) for line in lines) + PRINTED - 2 <= 80
    assert " ".join(line.strip() for line in lines[4:]) == f"Fix: {fix}".strip()


def test_an_audit_document_has_the_findings_of_all_accounts_and_the_errors_of_the_others():
    finding = {"rule": "r", "severity": "error"}
    shop = {"label": "shop", "id": "1", "read_at": "2026-11-25T09:30:00Z"}
    finding["account"] = "1"
    read = {"account": shop, "principals": [], "findings": [finding]}
    results: list[dict[str, Any]] = [
        {**read, "changed": False, "failed": False},
        {"failed": True, "msg": "denied"},
        {},
    ]
    assert merge_accounts(results, ["shop", "blog", "test"], fail_at="none") == {
        "generated": "2026-11-25T09:30:00Z",
        "accounts": [
            read,
            {"account": {"label": "blog"}, "error": "denied"},
            {"account": {"label": "test"}, "error": "A task failed without a message."},
        ],
        "findings": [finding],
        "counts": {"notice": 0, "warning": 0, "error": 1},
        "failure": (
            "Accounts that were not read: 2. Account blog was not read: denied. "
            "Account test was not read: A task failed without a message."
        ),
    }
    assert merge_accounts([], [])["generated"] == ""


UNREAD: dict[str, Any] = {"failed": True, "msg": "denied"}
COUNTED = {
    "two_more": "There are 2 more problems.",
    "one_unread": "Accounts that were not read: 1. Account blog was not read: denied.",
}


@pytest.mark.parametrize(
    ("found", "unread", "fail_at", "message"),
    [
        ("", False, "notice", ""),
        ("notice error", False, "none", ""),
        ("unlisted notice", False, "warning", ""),
        ("unlisted", False, "notice", ""),
        (
            "notice",
            False,
            "notice",
            "Findings of severity notice or above: 1. notice, r: notice (shop): It is so.",
        ),
        (
            "warning unlisted notice error",
            False,
            "notice",
            "Findings of severity notice or above: 3. error, r: error (shop): It is so. {two_more}",
        ),
        (
            "error",
            True,
            "error",
            "{one_unread} Findings of severity error or above: 1. error, r: error (shop): It is so.",
        ),
        ("error", True, "none", "{one_unread}"),
        ("notice", True, "error", "{one_unread}"),
    ],
)
def test_the_message_of_an_audit_has_all_denials_and_the_first_finding(found, unread, fail_at, message):
    listed = [UNLISTED if each == "unlisted" else audit_finding(each, object=each) for each in found.split()]
    read = {"account": {"label": "shop", "id": "1", "read_at": ""}, "principals": [], "findings": listed}
    results: list[dict[str, Any]] = [read, UNREAD] if unread else [read]
    document = merge_accounts(results, ["shop", "blog"], fail_at=fail_at)
    assert document["failure"] == message.format(**COUNTED)
