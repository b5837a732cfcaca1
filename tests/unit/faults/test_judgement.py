"""The campaign's judgement of a trial: what is as it must be passes, and everything else is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from emulator import Call, Emulator, Kind
from faults.__main__ import Trial, chosen
from faults.job import Job
from faults.judgement import ADMIN, ADMIN_POLICY, WINDOW, Evidence, Run, differences, open_locks, problems

CLOSED = {"Statement": [{"Effect": "Deny"}]}
OPEN = {"Statement": [{"Effect": "Deny", "Condition": {}}]}


def state(
    admin: str = "CloudWatchAgentServerRole",
    window: Any = CLOSED,
    key: str = "Inactive",
    saved: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """An account after a run that did all."""
    inline = {WINDOW: window} if window else {}
    role = {"policies": [ADMIN_POLICY], "inline": inline}
    user = {"policies": [ADMIN_POLICY], "inline": {WINDOW: CLOSED}, "keys": [{"status": key, "saved": saved}]}
    held = {"roles": {ADMIN: role}, "users": {"ops": user}, "instances": {"admin": [admin]}, "notes": []}
    return {**held, "parameters": {"p": {}}, **more}


def call(action: str, seq: int = 0, status: int = 200, **more: Any) -> Call:
    return Call("ec2", action, "", "", "", seq=seq, status=status, **more)


GOOD = Evidence(Kind.DENY, call("CreateTags", seq=5), faulted=Run(2, state()), mended=Run(0, state()))
KILLED = replace(GOOD, kind=Kind.KILL_AFTER)
UNSAFE = Run(2, state(ADMIN, OPEN, notes=["a note"]))
ON_THE_WAY_BACK = replace(
    GOOD, hit=call("PutRolePolicy", seq=9), calls=[call("PutParameter", seq=7), call("PutRolePolicy", seq=9)]
)
BOTH = {"i-1": ADMIN, "i-2": ADMIN}


@pytest.mark.parametrize(
    "good",
    [
        GOOD,
        replace(KILLED, faulted=UNSAFE),
        replace(KILLED, faulted=Run(-9, state(), left=["ansible-tmp"])),
        replace(ON_THE_WAY_BACK, faulted=Run(2, state(window=OPEN))),
        replace(GOOD, hit=call("UpdateAccessKey"), faulted=Run(2, state(key="Active"))),
        replace(GOOD, hit=call("CreateAccessKey"), faulted=Run(2, state(key="Active", saved=False))),
    ],
)
def test_a_good_trial_passes(good: Evidence) -> None:
    assert problems(good, state()) == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (replace(GOOD, hit=None), "the fault hit no call"),
        (replace(GOOD, mended=Run(2, state())), "the second run failed"),
        (replace(GOOD, mended=Run(0, state(ADMIN))), f"another end state: instances.admin is ['{ADMIN}']"),
        (replace(GOOD, mended=Run(0, state(window=OPEN))), f"another end state: roles.{ADMIN}.inline.{WINDOW}"),
        (replace(GOOD, mended=Run(0, state(notes=["a note"]))), "another end state: notes is ['a note'], not []"),
        (replace(GOOD, mended=Run(0, state(parameters={}))), "another end state: parameters.p is None, not {}"),
        (replace(GOOD, calls=[call("Replace", profiles=BOTH)]), "two instances carried the admin profile at once"),
        (replace(GOOD, output="Traceback (most recent call last)"), "a traceback"),
        (replace(GOOD, shown={"output.txt": "wJal"}), "a secret in output.txt"),
        (replace(GOOD, faulted=Run(2, state(), left=["ansible-tmp"])), "temporary files: ansible-tmp"),
        (
            replace(GOOD, faulted=UNSAFE),
            f"left by the faulted run: admin carries the admin profile and the window of {ADMIN}",
        ),
        (replace(GOOD, faulted=Run(2, state(key="Active"))), "left by the faulted run: a key of ops is active"),
        (replace(GOOD, faulted=Run(2, state(window=None))), f"left by the faulted run: the window of {ADMIN} is open"),
        (replace(ON_THE_WAY_BACK, faulted=UNSAFE), "left by the faulted run"),
        (replace(ON_THE_WAY_BACK, faulted=Run(0, state(window=OPEN))), "left by the faulted run"),
    ],
)
def test_a_bad_trial_is_reported(bad: Evidence, words: str) -> None:
    [problem] = problems(bad, state())
    assert problem.startswith(words)


def test_every_difference_is_told() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}}) == ["a is None, not 1", "b.c is 3, not 2"]


def test_trials_name_the_call_they_hit() -> None:
    calls = [call(action, seq=number) for number, action in enumerate(["CreateTags", "DescribeTags", "CreateTags"])]
    every = [trial for trial in chosen(calls, None, offset=1) if trial.kind == Kind.DENY]
    assert every == [
        Trial(Kind.DENY, 1, "ec2", "CreateTags", 1),
        Trial(Kind.DENY, 2, "ec2", "DescribeTags", 1),
        Trial(Kind.DENY, 3, "ec2", "CreateTags", 2),
    ]
    some = list(chosen(calls, 2, offset=4))
    assert {trial.kind for trial in some} == {trial.kind for trial in chosen(calls, None, 0)}
    assert len(some) == 2 * 6


def test_an_account_with_the_admin_profile_left_on(tmp_path: Path) -> None:
    """Seen from the emulator, not from a made-up state."""
    with Emulator.start("ministack") as aws:
        job = Job(aws, tmp_path / "job")
        iam, ec2 = aws.client("iam"), aws.client("ec2")
        trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "*"}]}
        iam.create_role(RoleName=ADMIN, AssumeRolePolicyDocument=json.dumps(trust))
        iam.attach_role_policy(RoleName=ADMIN, PolicyArn=f"arn:aws:iam::aws:policy/{ADMIN_POLICY}")
        iam.create_instance_profile(InstanceProfileName=ADMIN)
        iam.add_role_to_instance_profile(InstanceProfileName=ADMIN, RoleName=ADMIN)
        ec2.associate_iam_instance_profile(InstanceId=job.admin, IamInstanceProfile={"Name": ADMIN})
        assert open_locks(job.state()) == ["admin carries the admin profile", f"the window of {ADMIN} is open"]
        secret = aws.instance_credentials(job.admin)["Token"]
        assert secret in job.secrets()
        (job.folder / "output.txt").write_text(f"token: {secret}")
        assert job.shown(job.secrets()) == {"output.txt": secret[:4]}
