from __future__ import annotations

from typing import Any

import pytest
from aws_account import Account

from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import (
    ANSIBLE,
    CHECKS,
    IDENTITY,
    NONE,
    RUN_COMMAND,
    WAYS,
    Server,
    failure,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.through_run_command import collect
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"msg": "no route\n  to host.", "stderr": "closed"}, "no route to host"),
        ({"stdout": "agent=", "stderr": "sh: not found\n"}, "sh: not found"),
        ({"stdout": ""}, "it printed nothing"),
        ({}, "it printed nothing"),
    ],
)
def test_a_server_without_facts_says_why(result, reason):
    [server] = collect(Account().client, [Server("web1", "eu-central-1", "i-1")], {"web1": result}, ANSIBLE, 1)
    assert server.seen_by == ""
    assert [each.why for each in server.failures] == [f"Nothing was read on the server: Ansible: {reason}."]


KINDS = {
    "key": Server("a", "eu-central-1", user="db1"),
    "hybrid": Server("a", "eu-central-1", is_hybrid=True),
}
BY_KEY = "Run Command does not reach a server with an access key."
BY_APIS = "It was checked only through the EC2 and IAM APIs."
LOST = {"a": {"msg": "no route"}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("results", [{}, LOST], ids=["untried", "unreachable"])
def test_only_a_server_that_the_chosen_way_never_reaches_has_not_failed(kind, way, results):
    """A hybrid server without a node fails, because Run Command could reach it."""
    is_left_out = way == NONE or (way == RUN_COMMAND and kind == "key" and not results)
    [server] = collect(Account().client, [KINDS[kind]], results, way, 1)
    assert bool(server.failures) != is_left_out
    assert ({each.why for each in server.notes} <= {BY_KEY, BY_APIS}) == is_left_out
    assert [server.status(check) for check in ("identity", "configuration", "endpoints")] == ["?"] * 3
    if is_left_out:
        assert {each.why for each in server.notes} == {BY_APIS if way == NONE else BY_KEY}
        assert server.status("agent") == "?"


def test_what_the_account_says_about_a_server_that_is_not_reached_is_kept():
    inactive = failure(IDENTITY, "Its access key is inactive.", "Activate it.")
    [server] = collect(Account().client, [KINDS["key"].adding(inactive)], {}, RUN_COMMAND, 1)
    assert [each.why for each in server.failures] == ["Its access key is inactive."]
    assert [server.status(check) for check in CHECKS] == ["FAIL", "ok", "?", "?", "?", "?"]


@pytest.mark.parametrize(
    ("clock", "read_at", "ahead"),
    [
        (1_000_060, 1_000_000, 60),
        (999_940, 1_000_000, -60),
        (1_000_000, None, None),
        (1_000_000, 0, None),
        (1_000_000, "soon", None),
        (0, 1_000_000, None),
    ],
)
def test_the_clock_of_a_server_is_compared_with_the_time_at_which_it_was_read(clock, read_at, ahead):
    """Reading a thousand servers takes time, in which the clock of the first one goes on."""
    result = {"stdout": f"clock {clock}\nend", "read_at": read_at}
    [server] = collect(Account().client, [KINDS["key"]], {KINDS["key"].host: result}, ANSIBLE, 1)
    assert server.ahead == ahead


def test_a_result_that_is_no_dictionary_is_refused():
    wrong: Any = {"web1": ["end"]}
    with pytest.raises(InvalidInput, match=r"^results: each value must be the result of a task\.$"):
        collect(Account().client, [], wrong, ANSIBLE, 1)
