"""Each server of a batch does its own part of the work, and one of them sends the commands for others."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._agents.data import Trial
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Series
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.modules.cwagent_agent_config import SPEC
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.apply_batch import (
    APPLIED,
    APPLY,
    ARRIVED,
    CHECK,
    CHECKED,
    COLLECT,
    DATA,
    LEADER,
    OF_SERVER,
    PARTS,
    PROVED,
    READ,
    RENAME,
    RENAMED,
    WATCH,
    WATCHED,
    Batch,
    Work,
    has_proved,
    has_too_many_failures,
    server_failure,
)

PROBE = Series("eu-central-1", "CWAgent", "mem_used_percent", (("InstanceId", "i-1"),), 60, 180)


def server(host: str, seen_by: str = "run_command", **more: Any) -> dict[str, Any]:
    return {
        "host": host,
        "seen_by": seen_by,
        "apply_failure": "",
        "needs_trial": True,
        "commands": ["fetch"],
        "runs": ["A"],
        "similar": ["A_2"],
        "is_refused": False,
        "instance_id": "i-1",
        "watch_seconds": 60,
        "probe": asdict(PROBE),
        "newest": 0,
        **more,
    }


def work(
    host: str,
    part: str,
    *servers: dict[str, Any],
    registered: dict[str, dict[str, Any]] | None = None,
    hosts: list[str] | None = None,
    watch_seconds: int | None = None,
    check_mode: bool = False,
) -> Work:
    variables = {"localhost": {CHECKED: {"servers": [*servers]}}, **(registered or {})}
    hostvars = SimpleNamespace(raw_get=lambda name: variables.get(name, {}))
    of_batch = [each["host"] for each in servers] if hosts is None else hosts
    batch = Batch(host, hostvars, "localhost")
    return batch.work(part, hosts=of_batch, watch_seconds=watch_seconds, check_mode=check_mode)


def test_the_parts_are_those_of_the_module() -> None:
    assert SPEC["part"]["choices"] == [*PARTS]


# Collect and rename


@pytest.mark.parametrize(
    ("is_running", "is_windows", "collects"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_facts_are_collected_on_a_server_that_runs_a_shell(is_running: bool, is_windows: bool, collects: bool) -> None:
    given = server("a", is_running=is_running, is_windows=is_windows)
    read = {"localhost": {READ: {"servers": [server("b"), given]}}}
    assert work("a", COLLECT, registered=read) == Work(options={"server": given} if collects else None)


def test_a_server_gives_its_own_files_their_names() -> None:
    given = server("a", renames=["C"])
    assert work("a", RENAME, server("b"), given) == Work(options={"server": given, "rename": True})


@pytest.mark.parametrize("part", OF_SERVER)
@pytest.mark.parametrize("registered", [{}, {"localhost": {}}, {"localhost": {"skipped": True}}])
def test_a_server_that_was_not_checked_is_refused(part: str, registered: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^localhost has not checked a. Run the role cwagent.iam.verify"):
        work("a", part, server("b"), registered=registered)


@pytest.mark.parametrize(
    ("registered", "proved"),
    [
        ({}, False),
        ({APPLIED: {}, WATCHED: {}}, False),
        ({APPLIED: {}, WATCHED: {}, PROVED: {}}, True),
        ({APPLIED: {"failed": True}}, False),
        ({APPLIED: {}, WATCHED: {}, PROVED: {"failed": True}}, False),
        ({APPLIED: {}, WATCHED: {"unreachable": True}, PROVED: {}}, False),
    ],
)
def test_a_server_has_proved_a_version_if_its_agent_got_it_and_did_not_fail(
    registered: dict[str, Any], proved: bool
) -> None:
    assert has_proved(registered) == proved


# Apply


@pytest.mark.parametrize(
    ("given", "mode"), [(server("a", "ansible"), "ec2"), (server("a", "ansible", instance_id=""), "onPremise")]
)
def test_where_ansible_reaches_a_server_it_gets_its_own_configuration(given: dict[str, Any], mode: str) -> None:
    options = {"configs": ["A"], "other_names": ["A_2"], "retry": False, "mode": mode}
    assert work("a", APPLY, given, server("b")) == Work(options=options)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (server("a", "ansible", apply_failure="No key."), Work(failure="No key.")),
        (server("a", "run_command", apply_failure="No key."), Work(failure="No key.")),
        (server("a", "", apply_failure="Nothing was read."), Work(failure="Nothing was read.")),
        (server("a", "ansible", commands=[]), Work()),
        (server("a", ""), Work()),
    ],
)
def test_a_server_without_anything_to_apply_fails_with_its_reason_or_does_nothing(
    given: dict[str, Any], expected: Work
) -> None:
    assert work("a", APPLY, given, server("b")) == expected


def test_one_server_of_the_batch_sends_the_commands_for_those_that_can_get_them() -> None:
    found = [server("c"), server("b"), server("a", "ansible"), server("a1", apply_failure="No."), server("a2")]
    hosts = ["a", "a1", "b", "c"]
    for host in ("b", "c"):
        expected = found[:2] if host == "b" else ()
        planned = work(host, APPLY, *found, hosts=hosts)
        assert (planned.leader, [*planned.servers], planned.failure) == ("b", [*expected], "")


# Watch


@pytest.mark.parametrize(
    ("given", "seconds", "check_mode", "watched"),
    [
        (server("a", "ansible"), None, False, 60),
        (server("a", "ansible"), 5, False, 5),
        (server("a", "ansible"), 0, False, None),
        (server("a", "ansible"), None, True, None),
        (server("a", "ansible", needs_trial=False), None, False, None),
        (server("a", "ansible", watch_seconds=0), None, False, None),
        (server("a", ""), None, False, None),
    ],
)
def test_an_agent_that_has_to_prove_a_version_is_watched(
    given: dict[str, Any], seconds: int | None, check_mode: bool, watched: int | None
) -> None:
    options = None if watched is None else {"server": {**given, "watch_seconds": watched}, "watch": True}
    assert work("a", WATCH, given, watch_seconds=seconds, check_mode=check_mode) == Work(options=options)


BATCH = [server("a"), server("b"), server("c", needs_trial=False)]
LED = {host: {APPLIED: {LEADER: "a"}} for host in "bc"}


def led(**result: Any) -> dict[str, dict[str, Any]]:
    """The results that the hosts of the batch have registered. The first host has sent the commands."""
    return {**LED, "a": {APPLIED: {LEADER: "a", **result}}}


@pytest.mark.parametrize(
    ("result", "failures"),
    [
        ({"applied_hosts": ["a", "b"]}, {"a": "", "b": "", "c": ""}),
        ({"applied_hosts": ["b"], "failed_hosts": {"a": "Full."}}, {"a": "Full.", "b": "", "c": ""}),
        ({"msg": "Denied."}, {"a": "Denied.", "b": "Denied.", "c": ""}),
    ],
)
def test_each_server_fails_for_its_own_command(result: dict[str, Any], failures: dict[str, str]) -> None:
    """If none was sent, the servers fail that needed one."""
    found = {host: work(host, WATCH, *BATCH, registered=led(**result)) for host in failures}
    assert {host: each.failure for host, each in found.items()} == failures


def test_the_first_server_that_got_the_configuration_watches_all_that_did() -> None:
    registered = led(applied_hosts=["b", "c"], failed_hosts={"a": "Full."})
    found = {host: work(host, WATCH, *BATCH, registered=registered, watch_seconds=5) for host in "bc"}
    watched = [{**each, "watch_seconds": 5} for each in BATCH[1:]]
    assert {host: [*each.servers] for host, each in found.items()} == {"b": watched, "c": []}


# Data


def watched(**results: tuple[str, int]) -> dict[str, Any]:
    """The result of watching servers: of each, its failure and the start of its agent."""
    return {
        WATCHED: {
            "watches": {host: {"failure": each[0], "started": each[1], "seconds": 20} for host, each in results.items()}
        }
    }


WAITING = [server("a"), server("b", "ansible"), server("c"), server("d"), server("e"), server("f", probe=None)]
SEEN = {"c": watched(c=("", 70), a=("", 60), d=("It ended.", 60), f=("", 60)), "b": watched(b=("", 80)), "e": watched()}


def test_one_server_of_the_batch_waits_for_the_data_of_all_whose_agent_is_known_to_have_started() -> None:
    found = {host: work(host, DATA, *WAITING, registered=SEEN, hosts=[*"abcde"]) for host in "abcdef"}
    assert {host: each.leader for host, each in found.items()} == dict.fromkeys("abcdef", "a")
    assert {host for host, each in found.items() if each.trials is not None} == {"a"}
    assert found["a"].trials == {
        "a": Trial(PROBE, 60, ran=20),
        "b": Trial(PROBE, 80, ran=20),
        "c": Trial(PROBE, 70, ran=20),
    }


@pytest.mark.parametrize(
    ("hosts", "leader", "waits_for"),
    [
        ("abcde", "a", "abc"),
        ("bcde", "b", "bc"),
        ("de", "d", ""),  # one ended, and the start of the other is not known
        ("f", "", None),
    ],
)
def test_failed_servers_and_servers_without_a_known_metric_are_left_out(
    hosts: str, leader: str, waits_for: str | None
) -> None:
    found = work(leader or "f", DATA, *WAITING, registered=SEEN, hosts=[*hosts])
    assert found.leader == leader
    assert (None if found.trials is None else {*found.trials}) == (None if waits_for is None else {*waits_for})


def test_nobody_waits_for_a_server_of_another_batch() -> None:
    found = work("b", DATA, *WAITING, registered={**SEEN, "b": watched(b=("", 80), z=("", 80))}, hosts=["b"])
    assert found.trials == {"b": Trial(PROBE, 80, ran=20)}


def test_each_account_of_a_batch_waits_with_its_own_credentials() -> None:
    variables: dict[str, Any] = {
        "shop": {CHECKED: {"servers": [server("b"), server("c")]}},
        "blog": {CHECKED: {"servers": [server("a"), server("d")]}},
        **{host: watched(**{host: ("", 60)}) for host in "abcd"},
    }
    hostvars = SimpleNamespace(raw_get=variables.__getitem__)
    found = {
        host: Batch(host, hostvars, account).work(DATA, hosts=[*"abcd"], watch_seconds=None, check_mode=False)
        for account, hosts in (("shop", "bc"), ("blog", "ad"))
        for host in hosts
    }
    assert {host: each.leader for host, each in found.items()} == {"a": "a", "b": "b", "c": "b", "d": "a"}
    assert {host: "".join(each.trials) for host, each in found.items() if each.trials} == {"a": "ad", "b": "bc"}


@pytest.mark.parametrize("more", [{"check_mode": True}, {"needs_trial": False}])
def test_nobody_waits_in_check_mode_or_where_no_version_has_to_be_proved(more: dict[str, bool]) -> None:
    given = server("a", needs_trial=more.get("needs_trial", True))
    registered = {"a": watched(a=("", 60))}
    assert work("a", DATA, given, registered=registered, check_mode=more.get("check_mode", False)) == Work()


def test_the_variables_of_each_host_are_read_once() -> None:
    """Ansible computes all variables of a host to return one."""
    read: list[str] = []
    hosts = [f"h{number:03}" for number in range(100)]
    variables: dict[str, Any] = {"localhost": {CHECKED: {"servers": [server(host, "ansible") for host in hosts]}}}
    variables |= {host: {**watched(**{host: ("", 60)}), ARRIVED: {LEADER: hosts[0], "data": {}}} for host in hosts}

    def raw_get(name: str) -> Any:
        read.append(name)
        return variables[name]

    hostvars = SimpleNamespace(raw_get=raw_get)
    for part in (DATA, CHECK):
        for host in hosts:
            Batch(host, hostvars, "localhost").work(part, hosts=hosts, watch_seconds=None, check_mode=False)
    assert len(read) < 10 * len(hosts)


# Check


@pytest.mark.parametrize(
    ("arrived", "failure"),
    [
        ({"data": {"b": {"failure": "No data."}}}, "No data."),
        ({"data": {"b": {"failure": ""}, "a": {"failure": "No data."}}}, ""),
        ({"data": {}}, ""),
        ({"msg": "boto3 is missing."}, "It is not known whether its data arrives: boto3 is missing."),
        ({}, "It is not known whether its data arrives: a did not wait for it."),
    ],
)
@pytest.mark.parametrize("seen_by", ["ansible", "run_command"])
def test_a_server_fails_without_its_data_whoever_has_waited_for_it(
    arrived: dict[str, Any], failure: str, seen_by: str
) -> None:
    servers = [server("a"), server("b", seen_by)]
    result = {APPLIED: {LEADER: "a", "applied_hosts": ["a", "b"]}, **watched(a=("", 60), b=("", 60)), ARRIVED: arrived}
    registered = {"a": result, "b": {APPLIED: {LEADER: "a"}, ARRIVED: {LEADER: "a"}}}
    assert work("b", CHECK, *servers, registered=registered) == Work(failure=failure)
    assert work("b", CHECK, *servers, registered=registered, check_mode=True) == Work()


@pytest.mark.parametrize(
    ("more", "arrived"),
    [({"needs_trial": False}, {LEADER: "a"}), ({"probe": None}, {LEADER: "a"}), ({}, {}), ({}, {LEADER: ""})],
)
def test_a_server_whose_data_nobody_waits_for_does_not_fail_without_it(
    more: dict[str, Any], arrived: dict[str, Any]
) -> None:
    assert work("b", CHECK, server("b", "ansible", **more), registered={"b": {ARRIVED: arrived}}) == Work()


@pytest.mark.parametrize(
    ("watched", "failure"),
    [
        ({"watches": {"b": {"failure": "It ended."}}}, "It ended."),
        ({"watches": {"b": {"failure": ""}}}, ""),
        ({"watches": {}}, ""),
        ({"msg": "Denied."}, "It was not watched: Denied."),
        ({}, "It was not watched: It could not be reached."),
    ],
)
def test_a_server_fails_with_its_agent_whoever_has_watched_it(watched: dict[str, Any], failure: str) -> None:
    registered = led(applied_hosts=["a", "b", "c"])
    registered["a"][WATCHED] = watched
    assert work("b", CHECK, *BATCH, registered=registered) == Work(failure=failure)
    assert work("b", CHECK, *BATCH, registered=registered, check_mode=True) == Work()
    if "watches" not in watched:
        assert work("c", CHECK, *BATCH, registered=registered) == Work()


def test_a_server_that_ansible_has_watched_has_failed_already() -> None:
    assert work("a", CHECK, server("a", "ansible")) == Work()


# Failures


@pytest.mark.parametrize("name", [APPLIED, WATCHED, PROVED, RENAMED])
@pytest.mark.parametrize("outcome", ["failed", "unreachable"])
def test_a_server_fails_with_any_of_its_tasks(name: str, outcome: str) -> None:
    result = {outcome: True, "msg": "No."}
    assert server_failure({APPLIED: {}, WATCHED: {"failed": False}, PROVED: {}, name: result}) == result


def test_a_server_without_a_failed_task_has_not_failed() -> None:
    assert server_failure({APPLIED: {"failed": False}, "other": {"failed": True}}) is None


@pytest.mark.parametrize(
    ("failed", "allowed", "stops"),
    [("", 0, False), ("a", 0, True), ("a", 24, True), ("a", 25, False), ("ab", 25, True), ("abcd", 100, False)],
)
def test_a_batch_stops_the_run_if_more_servers_failed_than_may(failed: str, allowed: int, stops: bool) -> None:
    variables = {host: {APPLIED: {"failed": host in failed}} for host in "abcd"}
    hostvars = SimpleNamespace(raw_get=variables.__getitem__)
    assert has_too_many_failures("abcd", hostvars, allowed) == stops
