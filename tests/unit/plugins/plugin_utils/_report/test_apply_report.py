"""The report of a run that applies configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from run_accounts import CREATED, DELETED, STEPS, an_account, done

from ansible_collections.cwagent.iam.plugins.plugin_utils._report.accounts import (
    GO_BACK,
    SERVERS_FAILED,
    report,
    unapplied,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.results import FAILURE

APPLY = {"requires": ["servers", "apply"], "max_fail_percentage": 0}
APPLIED, WATCHED, PROVED = "__verify_applied", "__verify_watched", "__verify_proved"
ARRIVED = "__verify_arrived"


def test_unapplied_configurations_are_reported():
    hosts = [
        {"inventory_hostname": "a", APPLIED: CREATED},
        {"inventory_hostname": "b", APPLIED: {"failed": True, "msg": "No agent."}},
        {"inventory_hostname": "d", APPLIED: {**DELETED, "leader": "d"}},
        {"inventory_hostname": "c"},
    ]
    checked = {"__verify_checked": {"apply_notes": ["d is stopped."], "apply_hosts": [*"abc"]}}
    account = an_account(variables=checked, servers=hosts, **APPLY)
    found = report([account], check_mode=False)
    failed = "The configuration was not applied on b: No agent."
    skipped = "Skipped, because more servers of a batch failed than cwagent_max_fail_percentage allows (0 %): c."
    assert found.failures == {"localhost": SERVERS_FAILED}
    assert found.stats["changes"] == 3
    assert " ".join(found.lines).endswith(f"{failed} {skipped} d is stopped.")
    assert found.lines[1:4] == ["- create role R on a", "- attach policy P to R on a", "- delete user U"]


def test_where_all_was_applied_nothing_more_is_reported():
    checked = {"__verify_checked": {"apply_hosts": ["a"]}}
    account = an_account(servers=[{"inventory_hostname": "a", APPLIED: CREATED}], variables=checked, **APPLY)
    found = report([account], check_mode=False)
    assert (found.failures, found.lines[1:]) == ({"localhost": ""}, [f"{step} on a" for step in STEPS])


def fetching(commands, runs):
    """The commands for a server, and the configurations that it is to run."""
    named = {"commands": [{"name": each} for each in commands], "runs": [{"name": each} for each in runs]}
    return {**named, "unproved": "its metrics are unknown"}


def a_watch(failure="", note="", others=0):
    return {"seconds": 140, "failure": failure, "note": note, "others": others}


LINE = "Its log has: 2026-08-01T10:01:30Z E! cloudwatch: code: AccessDenied, message: no"


def test_agents_that_failed_after_their_restart_are_reported_with_the_way_back():
    failed = {PROVED: {"failed": True, "msg": LINE}}
    hosts = [
        {"inventory_hostname": "a", APPLIED: CREATED, WATCHED: {"watches": {"a": a_watch(LINE)}}, **failed},
        {
            "inventory_hostname": "b",
            WATCHED: {"watches": {"b": a_watch(LINE), "c": a_watch(others=2)}},
            **failed,
        },
        {"inventory_hostname": "c", APPLIED: {"skipped": True}},
    ]
    names = {"a": ["A", "A-2"], "b": ["A-9"], "d": ["D"]}
    servers = [
        {"host": host, **fetching([f"{name}:7" for name in of_host], of_host)} for host, of_host in names.items()
    ]
    checked = {"__verify_checked": {"apply_hosts": [*"abcd"], "servers": servers}}
    found = report([an_account(variables=checked, servers=hosts, **APPLY)], check_mode=False)
    assert found.failures == {"localhost": SERVERS_FAILED}
    shown = " ".join(" ".join(found.lines).split())
    assert (
        f"The agent failed with the configuration on a: {LINE} The agent failed with the configuration on b: {LINE} "
        "Skipped, because more servers of a batch failed than cwagent_max_fail_percentage allows (0 %): d. "
        f"{GO_BACK.format('A=previous,A-9=previous')}"
    ) in shown
    assert shown.endswith(
        "Watched for at least 140 seconds after the restart, without a denial or missing credentials in the log: c. "
        "Other warnings and errors in the agent's log: c (2). "
        "Only the log was watched on c: when its agent started is not known."
    )


NO_DATA = "CloudWatch has no mem_used_percent of it in namespace Shop in eu-central-1 since the restart of its agent."


@pytest.mark.parametrize(
    ("reason", "proof", "has_way_back"),
    [
        (NO_DATA, {"failure": NO_DATA}, True),
        ("It is not known whether its data arrives: AWS did not answer.", None, False),
    ],
)
def test_an_agent_whose_data_did_not_arrive_did_get_the_configuration(reason, proof, has_way_back):
    host = {
        "inventory_hostname": "a",
        APPLIED: CREATED,
        WATCHED: {"watches": {"a": a_watch()}},
        ARRIVED: {"data": {"a": {"newest": 0, "note": "", **proof}}} if proof else {},
        PROVED: {"failed": True, "msg": reason},
    }
    lines = unapplied(an_account(servers=[host], **APPLY))
    assert lines[0] == f"The agent failed with the configuration on a: {reason}"
    assert bool(lines[1:]) == has_way_back


def test_the_report_tells_which_servers_sent_data_after_their_restart():
    data = {"a": {"newest": 5, "failure": "", "note": ""}, "c": {"newest": 0, "failure": "", "note": "x is denied"}}
    hosts = [
        {"inventory_hostname": "a", WATCHED: {"watches": {host: a_watch() for host in "abc"}}, ARRIVED: {"data": data}},
        {"inventory_hostname": "b", ARRIVED: {"leader": "a"}},
        {"inventory_hostname": "c"},
    ]
    checked = {"__verify_checked": {"servers": [{"host": host, **fetching([], [])} for host in "abc"]}}
    found = report([an_account(variables=checked, servers=hosts, **APPLY)], check_mode=False)
    assert " ".join(" ".join(found.lines).split()).endswith(
        "Data arrived in CloudWatch after the restart: a. Only the log was watched on b: its metrics are unknown. "
        "Only the log was watched on c: x is denied."
    )


@pytest.mark.parametrize(("seconds", "is_applied", "is_said"), [(0, True, True), (0, False, False), (120, True, False)])
def test_a_run_that_watches_nothing_after_a_restart_says_so(seconds, is_applied, is_said):
    hosts = [{"inventory_hostname": "a", **({APPLIED: CREATED} if is_applied else {})}]
    shown = " ".join(report([an_account(servers=hosts, apply_watch_seconds=seconds, **APPLY)], check_mode=False).lines)
    assert ("Neither the logs nor the data were watched" in shown) == is_said


@pytest.mark.parametrize(
    ("commands", "runs", "names"),
    [
        (["A_stable", "A:7"], ["A", "B"], "A=previous"),
        (["A_6", "A_6", "A:7"], ["A"], "A=previous"),
        (["A-3_6", "A-3"], ["A", "A-2"], "A=previous"),
        (["A-2:7"], ["A", "A-2"], "A=previous"),
        (["A.yaml"], ["A.yaml", "B"], "A.yaml=previous"),
        (["A:7", "B:7"], ["A", "B"], "A=previous,B=previous"),
        ([], ["A", "A-2"], "A=previous"),
        ([], [], "previous"),
    ],
)
def test_the_way_back_has_names_of_configurations(commands, runs, names):
    """The commands also contain names of files, which no configuration has."""
    host = {"inventory_hostname": "a", PROVED: {"failed": True, "msg": "No."}, APPLIED: {"failed_hosts": ["a"]}}
    checked = {"__verify_checked": {"apply_hosts": ["a"], "servers": [{"host": "a", **fetching(commands, runs)}]}}
    found = unapplied(an_account(variables=checked, servers=[host], **APPLY))
    assert found[-1] == GO_BACK.format(names)


@pytest.mark.parametrize(
    ("results", "has_way_back"),
    [
        ({APPLIED: {"failed": True, "msg": "No.", "done": [], "not_done": ["fetch"]}}, True),
        ({APPLIED: {"failed": True, "msg": "No agent."}}, False),
        ({APPLIED: {"failed": True, "unreachable": True, "msg": "No."}}, False),
        ({APPLIED: {"failed_hosts": {"a": "No."}}}, True),
        ({}, False),
    ],
)
def test_a_version_that_an_agent_refuses_has_a_way_back(results, has_way_back):
    host = {"inventory_hostname": "a", WATCHED: {"failed": True, "msg": "No."}, **results}
    found = report([an_account(servers=[host], **APPLY)], check_mode=False)
    assert " ".join(found.lines).endswith(GO_BACK.format("previous")) == has_way_back


def test_an_agent_that_was_not_watched_did_get_the_configuration():
    host = {
        "inventory_hostname": "a",
        APPLIED: CREATED,
        WATCHED: {"failed": True, "msg": "It was not watched: gone."},
    }
    assert unapplied(an_account(servers=[host], **APPLY)) == [
        "The agent failed with the configuration on a: It was not watched: gone."
    ]


def test_servers_that_were_found_and_that_the_limit_leaves_out_are_listed():
    found_server = {"__cwagent_is_added": True}
    hosts = [
        {"inventory_hostname": "i-1", APPLIED: CREATED, **found_server},
        {"inventory_hostname": "i-2", **found_server},
    ]
    checked = {"__verify_checked": {"apply_hosts": ["i-1", "i-2"]}, "ansible_limit": "shop"}
    found = unapplied(an_account(variables=checked, servers=hosts, **APPLY))
    assert found == ["Skipped, because --limit leaves them out: i-2. Add i-* to it."]


NOT_MOVED, NOT_NARROWED = "Label 'stable' was not moved.", "The fitted policies were not narrowed: a run will store."


@dataclass(frozen=True)
class Warned:
    """A warning as ansible-core 2.20 registers it."""

    event: Any


@pytest.mark.parametrize("kind", [str, lambda text: Warned({"msg": text})], ids=["text", "object"])
def test_a_label_that_was_not_moved_and_a_policy_that_was_not_narrowed_are_reported(kind):
    warnings = [kind("Another warning."), kind(NOT_NARROWED)]
    variables = {
        "__verify_checked": {"apply_hosts": ["a"], "apply_notes": ["Skipped: win."]},
        "__verify_labelled": {**done(), "notes": [NOT_MOVED], "warnings": warnings},
    }
    host = {"inventory_hostname": "a", APPLIED: CREATED}
    lines = report([an_account(variables=variables, servers=[host], **APPLY)], check_mode=False).lines
    assert lines[-3:] == [NOT_MOVED, NOT_NARROWED, "Skipped: win."]


@pytest.mark.parametrize("tried", ["", "a", "b"])
def test_a_new_name_of_a_file_is_reported_unless_the_server_has_just_proved_its_version(tried):
    hosts = [{"inventory_hostname": "a", "__verify_renamed": DELETED}, {"inventory_hostname": "b", APPLIED: {}}]
    checked = {"__verify_checked": {"apply_hosts": [*tried]}}
    lines = report([an_account(variables=checked, servers=hosts, **APPLY)], check_mode=False).lines
    assert ("- delete user U on a" in lines) == ("a" not in tried)


def test_an_account_with_a_server_that_failed_is_in_the_table_as_failed():
    checked = {"__verify_checked": {"apply_hosts": ["a", "b"]}}
    accounts = [
        an_account("shop", variables=checked, servers=[{"inventory_hostname": "a", APPLIED: CREATED}], **APPLY),
        an_account("blog", variables={"__verify_checked": {"apply_hosts": []}}, **APPLY),
    ]
    found = report(accounts, check_mode=False)
    rows = {line.split()[0]: line.split()[-5:] for line in found.lines if line.startswith(("shop ", "blog "))}
    assert rows == {"shop": ["1", "1", "0", "0", "FAILED"], "blog": ["0", "0", "0", "0", "ok"]}
    assert found.stats["failed_accounts"] == 1


def test_servers_that_were_not_read_are_not_named():
    account = an_account(
        servers=[{"inventory_hostname": "a"}], variables={FAILURE: {"msg": "No credentials."}}, **APPLY
    )
    assert unapplied(account) == []
