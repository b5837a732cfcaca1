"""The playbooks around the admin window: opened for a person, left by a killed run, switched off and on."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from emulator import Fault, Kind
from emulator.snapshot import snapshot
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    PARAMETER,
    REPLACE_ASSOCIATION,
    SERVER_ROLE,
    TIME,
    WINDOW_POLICY,
    Controller,
    Play,
    assert_no_writes,
    associate,
    restore_records,
)
from printed import assert_brief
from states import States, after_site
from storing import AFTER_DEADLINE, CLOSED_POLICY, Storing

REPAIRS = ["DeleteTags", "PutRolePolicy", REPLACE_ASSOCIATION, "UntagRole"]
"""The writes that clean up after an interrupted run."""


@pytest.fixture
def fleet(states: States) -> Storing:
    return Storing(**vars(states.begin(after_site)))


def assert_repaired(fleet: Storing) -> None:
    """Assert that the instance is a server, and that nothing of a run is left."""
    assert fleet.profiles[fleet.instances["admin1"]] == SERVER_ROLE
    fleet.assert_clean()


def steps(play: Play) -> list[str]:
    """The steps that were done, or would be done, without times."""
    _counts, *lines = play.report
    return re.sub(TIME, "TIME", " ".join(line.strip() for line in lines)).split(" - ")


def assert_ended(ended: Play, cleaned: Play) -> None:
    """Assert that a check has ended after the steps with which another run began, and said so."""
    shown, note, advice = " - ".join(steps(ended)).partition(" The check ended here, because the rest of the run ")
    assert (note != "", "Run cwagent.iam.restore, then check again." in advice) == (True, True)
    found = shown.split(" - ")
    assert found == steps(cleaned)[: len(found)]


def test_open_window_lets_a_person_store_until_restore(fleet: Storing) -> None:
    """As soon as the run has ended, although the instance gets the admin identity late, and whatever stores."""
    fleet.add_host("ops1", group="onprem_admin")
    fleet.aws.metadata_lag(2)
    with assert_no_writes(fleet.aws):
        predicted = fleet.play("open_window", "--check").assert_succeeded()
    began = fleet.aws.now()
    options: dict[str, Any] = {"cwagent_admin_window_minutes": 40, "cwagent_store_config_from": "onprem"}
    opened = fleet.play("open_window", **options).assert_succeeded()
    ended = fleet.aws.now()
    assert_brief(predicted, "open_window, checked")
    assert_brief(opened, "open_window")
    assert opened.changed_tasks == predicted.changed_tasks
    assert opened.writes == ["TagRole", "CreateTags", REPLACE_ASSOCIATION, "PutRolePolicy", REPLACE_ASSOCIATION]
    statements = {each["Sid"].removeprefix(WINDOW_POLICY): each for each in fleet.window["Statement"]}
    assert list(statements) == ["Others", "Deadline", "Instance"]
    deadline = statements["Deadline"]["Condition"]["DateGreaterThan"]["aws:CurrentTime"]
    instance = fleet.instances["admin1"]
    assert statements["Instance"]["Condition"] == {"StringNotLike": {"aws:userid": f"*:{instance}"}}
    length = timedelta(minutes=40)
    assert began.replace(microsecond=0) + length <= datetime.fromisoformat(deadline) <= ended + length
    assert f"admin1 can write to Parameter Store until {deadline} (UTC)" in opened.words
    assert "To close the window early, run cwagent.iam.restore with the same inventory." in opened.words
    assert (predicted.report[0], opened.report[0]) == ("5 would be updated:", "5 updated:")
    person = fleet.aws.instance_credentials(instance)
    assert fleet.can_write(person)

    restored = fleet.play("restore").assert_succeeded()
    assert restored.report[0] == "4 updated:"
    assert f"remove the restore tag from instance admin1 ({instance})" in restored.words
    assert sorted(restored.writes) == REPAIRS
    assert not fleet.can_write(person)
    assert_repaired(fleet)


def test_a_killed_run_leaves_what_expires_and_is_cleaned_up(fleet: Storing) -> None:
    """Even if a variable is invalid, and from an inventory that has lost its instances since."""
    fleet.configure({"agent": {"metrics_collection_interval": 10}})
    swap = Fault(Kind.KILL_AFTER, action=REPLACE_ASSOCIATION, nth=2)  # the first only tries the earlier profile
    fleet.controller.kill(swap, fleet.inventory, "store_config", **fleet.variables)
    session = fleet.aws.instance_credentials(fleet.instances["admin1"])
    assert fleet.can_write(session)
    fleet.aws.shift_clock(AFTER_DEADLINE)
    assert not fleet.can_write(session)
    fleet.aws.shift_clock(-AFTER_DEADLINE)
    assert fleet.can_write(session)
    restored = fleet.play("restore", cwagent_admin_window="ture").assert_failed()
    assert "cwagent_admin_window must be true or false, not 'ture'" in restored.message
    assert not fleet.can_write(session)
    assert_repaired(fleet)

    fleet.leave_open()
    fleet.remove(*fleet.instances)
    fleet.variables["cwagent_config_file"] = ""
    predicted = fleet.play("restore", "--check").assert_succeeded()
    assert predicted.writes == []
    done = fleet.play("restore").assert_succeeded()
    assert_repaired(fleet)
    assert sorted(done.writes) == REPAIRS
    assert predicted.changed_tasks == done.changed_tasks
    assert [line.replace("would be ", "") for line in predicted.report if line[0] != "C"] == done.report
    again = fleet.play("restore").assert_succeeded()
    assert (again.changed_tasks, again.writes, again.report) == ([], [], ["Nothing to do."])
    assert_brief(again, "restore, nothing to do")


def test_site_cleans_up_after_a_killed_run_before_anything_can_fail(fleet: Storing) -> None:
    """Only its first task reads the instance, which has no admin profile yet."""
    fleet.configure({"agent": {"metrics_collection_interval": 10}})
    opening = Fault(Kind.KILL_AFTER, action="PutRolePolicy")
    fleet.controller.kill(opening, fleet.inventory, "store_config", **fleet.variables)
    assert fleet.profiles[fleet.instances["admin1"]] == SERVER_ROLE
    assert fleet.window != CLOSED_POLICY
    failed = fleet.play("site", cwagent_iam_path="/other/").assert_failed()
    assert "exists with path /" in failed.message
    assert failed.writes == ["PutRolePolicy", "DeleteTags", "UntagRole"]
    assert_repaired(fleet)


def test_a_server_that_is_removed_after_an_interrupted_run_keeps_nothing(fleet: Storing) -> None:
    fleet.leave_open()
    instance = fleet.instances["admin1"]
    fleet.remove(*fleet.instances)
    named = [f"{fleet.aws.region}:{instance}"]
    confirmed: dict[str, Any] = {"cwagent_remove_servers": named, "cwagent_confirm": "remove_servers"}
    with assert_no_writes(fleet.aws):
        ended = fleet.play("remove_servers", "--check", **confirmed).assert_succeeded()
    done = fleet.play("remove_servers", **confirmed).assert_succeeded()
    assert_brief(done, "remove_servers")
    assert_ended(ended, done)
    assert len(ended.writes) == 0 < len(done.writes) - len(REPAIRS)
    assert fleet.profiles[instance] is None
    fleet.assert_clean()
    associate(fleet.aws, instance, SERVER_ROLE)
    predicted = fleet.play("remove_servers", "--check", **confirmed).assert_succeeded()
    assert steps(predicted) == steps(fleet.play("remove_servers", **confirmed).assert_succeeded()) != []


def test_check_mode_is_exact_while_the_window_is_switched_off_and_on(controller: Controller) -> None:
    """Without the window there are no inline policies, access keys are active, and everything else works."""
    fleet = Storing(controller)
    fleet.add_instance("admin1", group="ec2_admin")
    fleet.add_instance("web1")
    fleet.add_host("ops1", group="onprem_admin")

    def run(interval: int, *, has_window: bool = True, is_interrupted: bool = False) -> Play:
        fleet.variables["cwagent_admin_window"] = has_window
        fleet.configure({"agent": {"metrics_collection_interval": interval}})
        predicted = fleet.play("site", "--check", "--diff").assert_succeeded()
        assert predicted.writes == []
        if is_interrupted:
            restored = fleet.play("restore").assert_succeeded()
            assert_ended(predicted, restored)
            assert len(steps(restored)) >= len(REPAIRS)
            predicted = fleet.play("site", "--check", "--diff").assert_succeeded()
        done = fleet.play("site", "--diff").assert_succeeded()
        assert predicted.outcomes == done.outcomes
        assert steps(predicted) == steps(done)
        assert "PutParameter" in done.writes
        account = snapshot(fleet.aws)
        windows = [account["roles"][ADMIN_ROLE]["inline"], account["users"][ADMIN_USER]["inline"]]
        assert [[*each] for each in windows] == [[WINDOW_POLICY] * has_window] * 2
        [status] = account["users"][ADMIN_USER]["keys"].values()
        assert status == ("Inactive" if has_window else "Active")
        assert account["associations"] == dict.fromkeys(fleet.instances.values(), SERVER_ROLE)
        assert account["instance_tags"] == {fleet.aws.region: {each: {} for each in fleet.instances.values()}}
        assert account["parameters"][fleet.aws.region][PARAMETER] == {
            "agent": {"metrics_collection_interval": interval}
        }
        return done

    fleet.configure({"agent": {"metrics_collection_interval": 1}})
    fleet.play("site").assert_succeeded()
    run(2, has_window=False)
    opened = fleet.play("open_window").assert_succeeded()
    assert "until its instance profile is restored" in opened.words
    assert restore_records(fleet.aws) != {}

    # The windows are closed again by the clean-up, before which a check ends.
    run(3, is_interrupted=True)
    fleet.assert_clean()
