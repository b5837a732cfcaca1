"""The checks after each run as on AWS find no problem in an orderly account, and find each problem."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from as_aws.life import DEADLINE, SLACK, STORES, Life, slow_tasks
from emulator import Call, Emulator
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    RESTORE_TAG,
    Controller,
    Play,
    TaskResult,
    create_role,
    create_user,
    disassociate,
)

QUIET = Play(0, "", [], [])


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with Emulator.start("ministack") as started:
        yield started


@pytest.fixture(params=range(len(STORES)), ids=STORES)
def life(request: pytest.FixtureRequest, aws: Emulator, tmp_path: Path) -> Life:
    aws.reset()
    lived = Life(Controller(aws, tmp_path), request.param)
    lived.plays.append(QUIET)
    return lived


def save(life: Life, key: dict[str, str]) -> None:
    """Save the key of the user web where the life saves keys."""
    name = "/cwagent/credentials/web"
    if life.store == "file":
        life.controller.credentials.mkdir()
        (life.controller.credentials / "web.credentials").write_text(f"aws_access_key_id = {key['AWS_ACCESS_KEY_ID']}")
    elif life.store == "parameter_store":
        life.aws.client("ssm").put_parameter(Name=name, Value=json.dumps(key), Type="SecureString")
    else:
        life.aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(key))


def test_an_orderly_account_has_no_problem(life: Life) -> None:
    save(life, create_user(life.aws, "web"))
    assert life.find_leftovers() == []


def test_a_key_that_is_no_longer_saved_is_not_orphaned(life: Life) -> None:
    """Its server can still use it."""
    key = create_user(life.aws, "web")
    save(life, key)
    assert life.find_leftovers() == []
    life.store = "file" if life.store != "file" else "parameter_store"
    assert life.find_leftovers() == []


def leave_tag(life: Life) -> None:
    life.aws.client("ec2").create_tags(Resources=[life.admin], Tags=[{"Key": RESTORE_TAG, "Value": "shop"}])


def have_two_admins(life: Life) -> None:
    call = Call("ec2", "AssociateIamInstanceProfile", "", "", "", profiles={"i-1": ADMIN_ROLE, "i-2": ADMIN_ROLE})
    life.plays.append(replace(QUIET, calls=[call]))


@pytest.mark.parametrize("life", [0], indirect=True)
@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda life: create_user(life.aws, "web"), "of web is active and not saved"),
        (lambda life: create_role(life.aws, ADMIN_ROLE, ADMIN_POLICY), f"the window of {ADMIN_ROLE} is open"),
        (lambda life: disassociate(life.aws, life.admin), "the admin instance has profile None"),
        (leave_tag, "the admin instance has the restore tag"),
        (have_two_admins, "two instances had the admin profile"),
    ],
)
def test_a_problem_is_found(life: Life, spoil: Callable[[Life], Any], problem: str) -> None:
    spoil(life)
    [found] = life.find_leftovers()
    assert problem in found


def test_a_task_that_waits_too_long_is_found() -> None:
    tasks = [TaskResult("ok", name, "a", "h", {}, seconds) for name, seconds in (("a", 1), ("b", DEADLINE + SLACK + 1))]
    assert [task.task for task in slow_tasks(replace(QUIET, results=tasks))] == ["b"]
