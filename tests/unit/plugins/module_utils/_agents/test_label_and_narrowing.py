"""The decisions of a run after its servers have applied the stored versions."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs_plan import FETCH, RENAME, Command, Wanted
from ansible_collections.cwagent.iam.plugins.module_utils._agents.label_and_narrowing import judge_proof
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import AGENT, Server, failure

STORED = (Wanted("C", "d", 2),)
AGAIN = "Run this playbook again, without a limit, when it can check all servers."
UNPROVED = "because a server has not proved the version."
LIMITED = "because --limit leaves out servers."


def server(host: str, **more: Any) -> Server:
    return Server(host, "eu-1", "i-1", **{"agent": "running", "runs": STORED, **more})


PROVED = server("a")
TRIED = server("b", commands=(Command(FETCH, "C:2"),), renames=(Command(RENAME, "C"),))
STUCK = server("c").adding(failure(AGENT, "The agent has no role.", ""))
UNSEEN = server("w", agent="", runs=(), is_windows=True)
WITHOUT_AGENT = server("n", agent="not installed", runs=())


@pytest.mark.parametrize(
    ("servers", "applied", "is_complete", "reason", "may_narrow"),
    [
        ([PROVED], "", True, "", True),
        ([PROVED, TRIED], "b", True, "", True),
        ([PROVED, TRIED], "", True, UNPROVED, False),
        ([PROVED, TRIED], "", False, UNPROVED, False),
        ([PROVED, TRIED], "b", False, LIMITED, False),
        ([PROVED, WITHOUT_AGENT], "", True, "", True),
        ([PROVED, UNSEEN], "", True, "", False),
        ([UNSEEN], "", False, LIMITED, False),
        ([server("d", in_trial=True)], "", True, UNPROVED, False),
        ([server("d", in_trial=True)], "d", True, "", True),
        ([], "", True, "", False),
    ],
)
@pytest.mark.parametrize("label", ["", "stable"])
@pytest.mark.parametrize("is_fitted", [False, True])
def test_labels_move_and_policies_narrow_when_all_servers_have_proved_the_version(
    *, servers, applied, is_complete, reason, may_narrow, label, is_fitted
):
    found = judge_proof(servers, {*applied}, label=label, is_fitted=is_fitted, is_complete=is_complete)
    assert (found.label, found.narrows) == ("" if reason else label, is_fitted and may_narrow)
    kept = [f"Label 'stable' was not moved, {reason}"] if label and reason else []
    wide = [f"The fitted policy was not narrowed, {reason} {AGAIN}"] if is_fitted and reason else []
    assert [*found.notes][: len(kept + wide)] == kept + wide
    assert len(found.notes) == len(kept + wide) + (is_fitted and not reason and UNSEEN in servers)


@pytest.mark.parametrize(
    ("hosts", "listed"),
    [(["web9", "win1"], "web9, win1"), ([f"w{each}" for each in range(12)], "w8, w9 and 2 more")],
)
def test_the_servers_that_can_run_an_earlier_version_are_listed_with_a_way_out(hosts, listed):
    servers = [server(host, agent="", runs=()) for host in hosts]
    [note] = judge_proof(servers, set(), label="stable", is_fitted=True, is_complete=True).notes
    assert f"{listed} can run an earlier version. {AGAIN} If it cannot, such as on Windows" in note


@pytest.mark.parametrize(
    ("applied", "label", "is_complete", "renamed"),
    [
        ("b", "", True, ["b", "d"]),
        ("b", "stable", True, ["b", "d"]),
        ("b", "", False, ["b", "d"]),
        ("b", "stable", False, []),
        ("", "", True, ["d"]),
        ("", "stable", True, []),
    ],
)
def test_files_get_their_final_names_where_the_version_was_proved_and_after_the_label(
    applied, label, is_complete, renamed
):
    servers = [PROVED, TRIED, server("d", renames=(Command(RENAME, "C"),))]
    found = judge_proof(servers, {*applied}, label=label, is_fitted=False, is_complete=is_complete)
    assert [each.host for each in found.renames] == renamed


@pytest.mark.parametrize(
    ("given", "expected"), [(PROVED, False), (TRIED, True), (STUCK, True), (UNSEEN, False), (WITHOUT_AGENT, False)]
)
def test_a_server_that_cannot_get_the_version_has_to_prove_it_all_the_same(given, expected):
    assert given.is_applied_to == expected
