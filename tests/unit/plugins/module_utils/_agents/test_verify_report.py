from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs_plan import (
    FETCH,
    REMOVE,
    RENAME,
    Command,
    Wanted,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import (
    AGENT,
    ENDPOINTS,
    IDENTITY,
    PERMISSIONS,
    WRITING,
    Config,
    Server,
    failure,
    note,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.verify_report import (
    describe_failure,
    describe_skipped,
    one_of_each,
    to_lines,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.text import WIDTH

WRITER = failure(WRITING, "Role 'R' may write the configuration. It has a policy.", "Audit.")
STOPPED = failure(AGENT, "The agent is stopped.", "start it")


def server(host, *found, **more):
    return Server(host, "eu-central-1", "i-1", **{"agent": "running", **more}).adding(*found)


def test_a_table_and_fixes():
    servers = [
        server("web1", newest=1, data_age=130),
        server("web2", STOPPED),
        server("web3", STOPPED, note(IDENTITY, "Not known.")),
        server("web4", WRITER),
        Server("db1", "eu-central-1", user="db", agent="not installed"),
    ]
    assert to_lines(servers) == [
        "server                 identity  IAM  config  network  agent  data",
        "web2                   ok        ok   ok      ok       FAIL   ?",
        "web3                   ?         ok   ok      ok       FAIL   ?",
        "web4                   ok        FAIL  ok      ok       ok     ?",
        "web1                   ok        ok   ok      ok       ok     2 min",
        "db1                    ok        ok   ok      ok       none   none",
        "2 of 5 servers without a failure.",
        "! web2, web3: The agent is stopped.",
        "  Fix: start it",
        "! web4: Role 'R' may write the configuration. It has a policy.",
        "  Fix: Audit.",
        "- web3: Not known.",
    ]


def test_lines_fit_a_terminal():
    name = "x" * 100
    text = "a sentence " * 30
    lines = to_lines([server(name, failure(AGENT, text, text)), server(f"a\u202eb\n{name}")])
    assert max(map(len, lines)) <= WIDTH
    assert lines[1].startswith("x" * 20 + "…  ok")
    assert lines[2].startswith("ab x")


def test_one_server():
    assert to_lines([server("web1")])[-1] == "1 of 1 server without a failure."


def test_a_large_fleet_is_shortened():
    servers = [server(f"web{number}") for number in range(100)] + [
        server(f"db{number}", STOPPED) for number in range(5)
    ]
    lines = to_lines(servers)
    assert [line.split()[0] for line in lines[1:7]] == ["db0", "db1", "db2", "db3", "db4", "web0"]
    assert lines[41:43] == ["and 65 more", "100 of 105 servers without a failure."]
    assert "! db0, db1, db2 and 2 more: The agent is stopped." in lines


@pytest.mark.parametrize(("count", "names"), [(3, "db0, db1, db2"), (4, "db0, db1, db2 and 1 more")])
def test_a_failure_names_no_more_than_three_servers(count, names):
    assert f"! {names}: The agent is stopped." in to_lines([server(f"db{number}", STOPPED) for number in range(count)])


def test_the_same_failure_twice_is_shown_once():
    assert to_lines([server("web1", STOPPED, STOPPED)]).count("! web1: The agent is stopped.") == 1


LOST = failure(IDENTITY, "It has no instance profile.", "associate one")


@pytest.mark.parametrize(
    ("servers", "message"),
    [
        ([], ""),
        ([server("web1", note(IDENTITY, "Not known."))], ""),
        ([server("web1", STOPPED)], "Servers that fail: 1 of 1. web1: The agent is stopped."),
        (
            [server("web1"), server("web2", STOPPED), server("db1", STOPPED, LOST)],
            "Servers that fail: 2 of 3. web2, db1: The agent is stopped. There is 1 more problem.",
        ),
        (
            [server(f"db{number}", LOST, STOPPED) for number in range(5)],
            "Servers that fail: 5 of 5. db0, db1, db2 and 2 more: It has no instance profile. There is 1 more problem.",
        ),
    ],
)
def test_the_message_names_the_first_failure_and_its_servers(servers, message):
    assert describe_failure(servers) == message
    listed = [line.removeprefix("! ") for line in to_lines(servers) if line.startswith("! ")]
    assert all(line in message for line in listed[:1])


def test_one_server_of_each_configuration_comes_first():
    """A server that cannot get it is not the first, and a removal is no configuration."""

    def commanded(host, *names, region="eu-central-1", **more):
        return Server(host, region, "i-1", seen_by="ansible", commands=tuple(Command(FETCH, each) for each in names))

    removed = replace(commanded("e"), commands=(Command(REMOVE, "B"),))
    tried = replace(commanded("t", region="us-1"), runs=(Wanted("A", "d", 0),), in_trial=True)
    assert one_of_each([commanded("d", "A", region="us-1"), tried]) == ["t"]
    servers = [commanded("a", "A"), commanded("b", "A"), commanded("c", "A", "B"), commanded("d", "A", region="us-1")]
    assert one_of_each([*servers, removed, commanded("f", "B", "A"), commanded("g")]) == ["a", "c", "d"]


def test_a_server_survives_the_way_through_a_result():
    made = server(
        "web1",
        STOPPED,
        note(IDENTITY, "x"),
        configs=(Config("A", 1, "d", is_readable=True),),
        commands=(Command(FETCH, "A", restart=True),),
        runs=(Wanted("A", "d", 2),),
        renames=(Command(RENAME, "A_2", to="A", digest="d"),),
        endpoints={"ssm": "https://ssm"},
    )
    assert Server.from_dict(made.to_dict()) == made
    assert made.to_dict()["status"]["agent"] == "FAIL"


@pytest.mark.parametrize(
    "change", [{"configs": None}, {"failures": [7]}, {"notes": [{"x": 1}]}, {"hostt": "x"}, {"commands": 7}]
)
def test_a_server_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="form in which cwagent_server_info returns it"):
        Server.from_dict({**server("web1").to_dict(), **change})
    with pytest.raises(InvalidInput):
        Server.from_dict({})


LACKS = failure(PERMISSIONS, "It lacks ssm:GetParameter.", "Grant it.")
SILENT = failure(ENDPOINTS, "It does not reach logs.", "Add an endpoint.")
OLD = failure(AGENT, "The agent does not run it.", "Run apply.")
APPLY = Command(FETCH, "A", restart=True)


@pytest.mark.parametrize(
    ("checked", "expected"),
    [
        (server("a", seen_by="ansible"), ""),
        (server("a", OLD, seen_by="ansible", commands=(APPLY,)), ""),
        (server("a", LACKS, seen_by="ansible"), "It lacks ssm:GetParameter."),
        (server("a", LACKS, OLD, seen_by="ansible", commands=(APPLY,)), "It lacks ssm:GetParameter."),
        (server("a", SILENT, OLD, seen_by="ansible", commands=(APPLY,)), "It does not reach logs."),
        (server("a", WRITER, OLD, seen_by="ansible", commands=(APPLY,)), ""),
        (server("a", SILENT, seen_by="ansible"), ""),
        (server("a", WRITER, seen_by="ansible"), ""),
        (server("a", LACKS, WRITER, seen_by="ansible", runs=(Wanted("A", "d", 2),)), ""),
        (
            server("a", LACKS, OLD, seen_by="ansible", runs=(Wanted("A", "d", 2),)),
            "It lacks ssm:GetParameter. The agent does not run it.",
        ),
        (server("a", LACKS, seen_by="ansible", agent="not installed"), ""),
        (server("a", OLD), "The agent does not run it."),
        (server("a"), ""),
        (server("a", LACKS, is_windows=True), ""),
        (server("a", LACKS, is_running=False), ""),
    ],
)
def test_a_server_that_cannot_get_the_configuration_has_the_reason(checked, expected):
    assert checked.to_dict()["apply_failure"] == expected


@pytest.mark.parametrize(
    ("servers", "skipped"),
    [
        ([], []),
        ([server("web1"), server("web2", STOPPED)], []),
        ([server("web1"), server("win1", is_windows=True)], ["they run Windows: win1"]),
        (
            [server(f"win{number}", STOPPED, is_windows=True) for number in range(4)],
            ["they run Windows: win0, win1, win2, win3"],
        ),
        (
            [server("a", agent="not installed"), server("b", is_running=False), server("c", agent="not installed")],
            ["they have no CloudWatch agent: a, c", "the instances are not running: b"],
        ),
        ([server("db1", agent=""), server("web1"), server("db2", agent="")], ["nothing was read on them: db1, db2"]),
        ([server("db1", STOPPED, agent="")], []),
    ],
)
def test_each_server_that_is_skipped_is_listed_with_the_reason(servers, skipped):
    found = describe_skipped(servers)
    assert [line.partition(". ")[0] for line in found] == [f"Skipped, because {each}" for each in skipped]


@pytest.mark.parametrize(
    ("known", "can"),
    [
        ({"runs": (Wanted("C", "d", 2),)}, False),
        ({"runs": (Wanted("C", "d", 2),), "agent": "stopped"}, False),
        ({"agent": "not installed"}, False),
        ({"agent": "not installed", "is_windows": True}, False),
        ({"agent": "", "is_windows": True}, True),
        ({"agent": "", "is_running": False}, True),
        ({"agent": ""}, True),
        ({}, True),
    ],
)
def test_a_server_can_run_an_earlier_version_if_its_configurations_are_not_known(known, can):
    assert server("web1", **known).can_run_earlier == can
