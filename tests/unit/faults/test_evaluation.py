"""The evaluation of a trial of the fault campaign: a correct trial passes, and every problem is reported."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from emulator import Call, Emulator, Kind
from faults.__main__ import KINDS, Trial, choose
from faults.evaluation import (
    ADMIN,
    ADMIN_POLICY,
    WINDOW,
    Evidence,
    Run,
    differences,
    open_locks,
    overlapping_windows,
    problems,
)
from faults.job import Job

from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    closed_policy,
    open_policy,
)

CLOSED = {"Statement": [{"Effect": "Deny"}]}
OPEN = {"Statement": [{"Effect": "Deny", "Condition": {}}]}


def state(
    admin: str = "CloudWatchAgentServerRole",
    window: Any = CLOSED,
    key: str = "Inactive",
    saved: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """The state after a complete run."""
    inline = {WINDOW: window} if window else {}
    role = {"policies": [ADMIN_POLICY], "inline": inline}
    user = {"policies": [ADMIN_POLICY], "inline": {WINDOW: CLOSED}, "keys": [{"status": key, "saved": saved}]}
    principals = {"roles": {ADMIN: role}, "users": {"ops": user}}
    instances = {"instances": {"admin": admin}, "instance_tags": {"admin": {}}}
    return {**principals, **instances, "parameters": {"p": {}}, **more}


def call(action: str, seq: int = 0, status: int = 200, **more: Any) -> Call:
    return Call("ec2", action, "", "", "", seq=seq, status=status, **more)


def put_window(seq: int, instance: str | None, role: str = ADMIN, status: int = 200) -> Call:
    """The call that opens the window for an instance; that closes it for ``None``."""
    policy = open_policy(Opening(datetime(2026, 1, 1, tzinfo=UTC), instance)) if instance else closed_policy()
    params = {"RoleName": role, "PolicyName": WINDOW, "PolicyDocument": json.dumps(policy)}
    return call("PutRolePolicy", seq, status, params=params)


def delete_window(seq: int, status: int = 200) -> Call:
    """The call that deletes the policy of the window."""
    return call("DeleteRolePolicy", seq, status, params={"RoleName": ADMIN, "PolicyName": WINDOW})


OVERLAPPING = [put_window(1, "i-1"), put_window(2, "i-2")]
GOOD = Evidence(Kind.DENY, call("CreateTags", seq=5), faulted=Run(2, state()), recovered=Run(0, state()))
KILLED = replace(GOOD, kind=Kind.KILL_AFTER)
TAGGED = {"admin": {"cwagent:earlier-profile": "P"}}
UNSAFE = Run(2, state(ADMIN, OPEN, instance_tags=TAGGED))
FAULT_WHILE_CLOSING = replace(
    GOOD, hit=call("PutRolePolicy", seq=9), calls=[call("PutParameter", seq=7), call("PutRolePolicy", seq=9)]
)
INTERRUPTED = replace(FAULT_WHILE_CLOSING, kind=Kind.INTERRUPT)
TWO_ADMINS = {"i-1": ADMIN, "i-2": ADMIN}


@pytest.mark.parametrize(
    "good",
    [
        GOOD,
        replace(KILLED, faulted=UNSAFE),
        replace(KILLED, faulted=Run(-9, state(), temporary_files=["ansible-tmp"])),
        replace(FAULT_WHILE_CLOSING, faulted=Run(2, state(window=OPEN))),
        replace(INTERRUPTED, faulted=Run(-2, state(), temporary_files=["ansible-tmp"])),
        replace(GOOD, hit=call("UpdateAccessKey"), faulted=Run(2, state(key="Active"))),
        replace(GOOD, hit=call("CreateAccessKey"), faulted=Run(2, state(key="Active", saved=False))),
    ],
)
def test_a_correct_trial_has_no_problems(good: Evidence) -> None:
    assert problems(good, state()) == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (replace(GOOD, hit=None), "no call got the fault"),
        (replace(GOOD, kind=Kind.KILL_WORKER, faulted=Run(0, state())), "the faulted run succeeded"),
        (replace(GOOD, kind=Kind.KILL_WORKER, hit=None, faulted=Run(0, state())), "no call got the fault"),
        (replace(GOOD, recovered=Run(2, state())), "the second run failed"),
        (replace(GOOD, recovered=Run(0, state(ADMIN))), f"different end state: instances.admin is {ADMIN}"),
        (replace(GOOD, recovered=Run(0, state(window=OPEN))), f"different end state: roles.{ADMIN}.inline.{WINDOW}"),
        (
            replace(GOOD, recovered=Run(0, state(instance_tags=TAGGED))),
            "different end state: instance_tags.admin.cwagent:earlier-profile is P, not None",
        ),
        (replace(GOOD, recovered=Run(0, state(parameters={}))), "different end state: parameters.p is None, not {}"),
        (replace(GOOD, calls=[call("Replace", profiles=TWO_ADMINS)]), "two instances had the admin profile at once"),
        (replace(GOOD, calls=OVERLAPPING), "two instances had an open window at once"),
        (replace(GOOD, output="Traceback (most recent call last)"), "a traceback"),
        (replace(GOOD, leaks={"output.txt": "wJal"}), "a secret in output.txt"),
        (replace(GOOD, faulted=Run(2, state(), temporary_files=["ansible-tmp"])), "temporary files: ansible-tmp"),
        (
            replace(GOOD, faulted=UNSAFE),
            f"left by the faulted run: admin has the admin profile and the window of {ADMIN}",
        ),
        (replace(GOOD, faulted=Run(2, state(key="Active"))), "left by the faulted run: a key of ops is active"),
        (replace(GOOD, faulted=Run(2, state(window=None))), f"left by the faulted run: the window of {ADMIN} is open"),
        (replace(FAULT_WHILE_CLOSING, faulted=UNSAFE), "left by the faulted run"),
        (replace(INTERRUPTED, faulted=Run(-2, state(window=OPEN))), "left by the faulted run"),
        (replace(FAULT_WHILE_CLOSING, faulted=Run(0, state(window=OPEN))), "left by the faulted run"),
    ],
)
def test_a_problem_is_reported(bad: Evidence, words: str) -> None:
    [problem] = problems(bad, state())
    assert problem.startswith(words)


def test_every_difference_is_listed() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}}) == ["a is None, not 1", "b.c is 3, not 2"]


def test_a_trial_identifies_its_call() -> None:
    calls = [call(action, seq=number) for number, action in enumerate(["CreateTags", "DescribeTags", "CreateTags"])]
    every = [trial for trial in choose(calls, None, offset=1) if trial.kind == Kind.DENY]
    assert every == [
        Trial(Kind.DENY, 1, "ec2", "CreateTags", 1),
        Trial(Kind.DENY, 2, "ec2", "DescribeTags", 1),
        Trial(Kind.DENY, 3, "ec2", "CreateTags", 2),
    ]
    some = list(choose(calls, 2, offset=4))
    assert {trial.kind for trial in some} == {*KINDS} - {Kind.KILL_WORKER}
    assert len(some) == 2 * (len(KINDS) - 1)


def user_window(policy: dict[str, Any]) -> Call:
    return call("PutUserPolicy", params={"PolicyName": WINDOW, "PolicyDocument": json.dumps(policy)})


RECORDED = {"Tags": [{"Key": "cwagent:earlier-profile:i-1", "Value": "P"}]}


@pytest.mark.parametrize(
    "held",
    [
        [
            call("TagRole", params=RECORDED),
            call("DescribeTags"),
            call("CreateTags"),
            call("UntagRole", params=RECORDED),
        ],
        [user_window(OPEN), call("GetUser"), call("PutParameter"), call("UpdateAccessKey")],
    ],
)
def test_a_worker_is_killed_only_at_writes_while_it_may_write_the_configuration(held: list[Call]) -> None:
    before = [call("UpdateAccessKey"), call("TagRole"), user_window(CLOSED)]
    calls = [*before, *held, call("PutParameter")]
    killed = [trial.number for trial in choose(calls, None, offset=3) if trial.kind == Kind.KILL_WORKER]
    assert killed == [4, 6, 7]


def test_open_locks_and_leaks_of_an_emulated_account(tmp_path: Path) -> None:
    with Emulator.start("ministack") as aws:
        job = Job(aws, tmp_path / "job")
        iam, ec2 = aws.client("iam"), aws.client("ec2")
        trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "*"}]}
        iam.create_role(RoleName=ADMIN, AssumeRolePolicyDocument=json.dumps(trust))
        iam.attach_role_policy(RoleName=ADMIN, PolicyArn=f"arn:aws:iam::aws:policy/{ADMIN_POLICY}")
        iam.create_instance_profile(InstanceProfileName=ADMIN)
        iam.add_role_to_instance_profile(InstanceProfileName=ADMIN, RoleName=ADMIN)
        ec2.associate_iam_instance_profile(InstanceId=job.admin, IamInstanceProfile={"Name": ADMIN})
        assert open_locks(job.state()) == ["admin has the admin profile", f"the window of {ADMIN} is open"]
        secret = aws.instance_credentials(job.admin)["Token"]
        assert secret in job.secrets()
        (job.folder / "output.txt").write_text(f"token: {secret}")
        assert job.leaks(job.secrets()) == {"output.txt": secret[:4]}


@pytest.mark.parametrize(
    ("calls", "found"),
    [
        ([], []),
        (OVERLAPPING, [("i-1", "i-2")]),
        ([*OVERLAPPING, put_window(3, None), put_window(4, "i-1")], [("i-1", "i-2")]),
        ([put_window(1, "i-1"), put_window(2, None), put_window(3, "i-2"), put_window(4, None)], []),
        ([put_window(3, "i-2"), put_window(2, None), put_window(1, "i-1")], []),
        ([put_window(1, "i-1"), put_window(2, None, status=403), put_window(3, "i-2")], [("i-1", "i-2")]),
        ([put_window(1, "i-1"), put_window(2, "i-2", status=403)], []),
        ([put_window(1, "i-1"), put_window(2, None, role="Other"), put_window(3, "i-2")], [("i-1", "i-2")]),
        ([put_window(1, "i-1"), put_window(2, "i-2", role="Other")], []),
        ([put_window(1, "i-1"), put_window(2, "i-1")], []),
        ([put_window(1, "i-1"), put_window(2, "i-2"), put_window(3, "i-1")], [("i-1", "i-2"), ("i-2", "i-1")]),
        ([put_window(1, "i-1"), delete_window(2), put_window(3, "i-2")], []),
        ([put_window(1, "i-1"), delete_window(2, status=403), put_window(3, "i-2")], [("i-1", "i-2")]),
    ],
    ids=[
        "no window",
        "two at once",
        "a close after both",
        "one after the other",
        "any order of the log",
        "a refused close",
        "a refused opening",
        "a close of another role",
        "two roles",
        "the same instance again",
        "three",
        "one after the deletion of the other",
        "a refused deletion",
    ],
)
def test_overlapping_windows_are_found(calls: list[Call], found: list[tuple[str, str]]) -> None:
    assert overlapping_windows(calls) == found


def test_overlapping_windows_are_found_in_a_call_log() -> None:
    with Emulator.start("moto") as aws:
        iam = aws.client("iam")
        iam.create_role(RoleName=ADMIN, AssumeRolePolicyDocument="{}")
        for each in (*OVERLAPPING, put_window(3, None)):
            iam.put_role_policy(**each.params)
        assert overlapping_windows(aws.calls()) == [("i-1", "i-2")]
