"""Playbooks bring access keys to on-premises servers, and go on where a server cannot be reached."""

from __future__ import annotations

from typing import Any

from harness import PARAMETER, SERVER_USER, UNREACHABLE, Play, assert_no_writes
from states import States, before_site

LEAK: dict[str, Any] = {"cwagent_rotate_now": "true", "cwagent_revoke_old": "true"}
RUN_AGAIN = (
    "Run this playbook again when this is fixed. An agent whose earlier access key was revoked cannot send until then."
)
CREATED = "a new access key was created"
REACHABLE = {"ansible_connection": "local"}


def reported(play: Play) -> str:
    """The report with each step on one line."""
    return " ".join(line.strip() for line in play.report)


def test_a_run_goes_on_where_servers_cannot_be_reached(states: States) -> None:
    """Check mode delivers a key that does not exist yet. A server that gets no key runs no task."""
    fleet = states.begin(before_site)
    fleet.add_machine("db2", cwagent_user_name="mine")
    fleet.add_host("db3")
    with assert_no_writes(fleet.aws):
        predicted = fleet.play("site", "--check").assert_succeeded()
    for host in ("db1", "db2"):
        assert f"- write the access key to {fleet.key_file(host)} on {host}" in reported(predicted)
        assert not fleet.key_file(host).exists()
    assert "db3" not in {each.host for each in predicted.results}

    # The configuration is stored, and the run fails at its end.
    fleet.set("db1", **UNREACHABLE)
    fleet.set("db2", cwagent_key_file_owner="nobody-here")
    missed = fleet.play("site").assert_failed()
    assert fleet.aws.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"]
    unreachable = "The access key was not delivered to db1, which could not be reached."
    assert unreachable in " ".join(missed.report)
    owner = "The access key was not delivered to db2: owner: there is no user 'nobody-here'"
    assert owner in " ".join(missed.report)
    assert RUN_AGAIN in " ".join(missed.report)

    sudo = fleet.controller.program("sudo", "#!/bin/sh\necho 'sudo: not allowed' >&2\nexit 1\n")
    fleet.set("db1", **REACHABLE, ansible_become_user="nobody", ansible_become_exe=str(sudo))
    fleet.set("db2", cwagent_key_file_owner="")
    replaced = fleet.play("rotate_keys", **LEAK).assert_failed()
    report = " ".join(replaced.report)
    assert "The access key was not delivered to db1: " in report
    assert RUN_AGAIN in report
    assert f"- write the access key to {fleet.key_file('db2')} on db2" in reported(replaced)
    assert f"{SERVER_USER}-db1: {CREATED} and saved; deliver it to the server" in report
    assert f"mine: {CREATED}, saved and delivered to the server" in report
    assert fleet.caller("db2").endswith(":user/mine")

    fleet.set("db1", **UNREACHABLE)
    down = fleet.play("teardown", cwagent_confirm="teardown").assert_failed()
    assert "The access key is still on db1, which could not be reached." in " ".join(down.report)
    assert f"- delete {fleet.key_file('db2')} on db2" in reported(down)
    assert not fleet.key_file("db2").exists()
