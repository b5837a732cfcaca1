from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import ROLE, Policy, Principal
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers.commands import Command
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command_plan import (
    CANCEL,
    CANCELLED,
    COMMENT,
    MAX_DELIVERY_SECONDS,
    MIN_SECONDS,
    SEND,
    SENT,
    DesiredCommand,
    State,
    Write,
    agent_access_problem,
    deadline_of,
    has_ssm_policy,
    plan,
    state_of,
    to_diff,
)

NOW = datetime(2026, 11, 26, 4, 0, 30, tzinfo=UTC)
INSTANCE = "i-0123456789abcdef0"
RUN = "0b2f7c1e"
OWN = Command("c-own", f"{COMMENT} {RUN} 1795622400", "InProgress")
OTHER = Command("c-other", f"{COMMENT} 9d0f8a0d 1795622300", "Pending")
WRITES = (Write("eu-central-1", "AmazonCloudWatch-linux", "{}", "Standard"),)
DESIRED = DesiredCommand(SENT, INSTANCE, RUN, "Admin", WRITES, 660, 180)


@pytest.mark.parametrize(
    ("state", "own", "others", "actions"),
    [
        (SENT, None, (), [SEND]),
        (SENT, None, (OTHER,), [CANCEL, SEND]),
        (SENT, OWN, (), []),
        (SENT, replace(OWN, status="Success"), (OTHER,), [CANCEL]),
        (CANCELLED, None, (), []),
        (CANCELLED, None, (OTHER,), []),
        (CANCELLED, OWN, (OTHER,), [CANCEL]),
        (CANCELLED, replace(OWN, status="Cancelling"), (), []),
        (CANCELLED, replace(OWN, status="Success"), (), []),
    ],
)
def test_a_command_is_sent_once_after_interrupted_ones_are_cancelled(
    state: str, own: Command | None, others: tuple[Command, ...], actions: list[str]
) -> None:
    desired = replace(DESIRED, state=state)
    found = plan(State(NOW, own, others), desired)
    assert [step.action for step in found.all_steps] == actions
    assert all(step.context == (state == SENT) for step in found.all_steps if step.action == CANCEL)
    assert plan(found.planned, desired).all_steps == []


def test_the_state_has_commands_that_can_still_store() -> None:
    listed = [
        OTHER,
        OWN,
        replace(OTHER, id="ended", status="Success"),
        Command("another tool", "cwagent.iam stores", "Pending"),
        Command("the check", "cwagent.iam check 1", "Pending"),
    ]
    assert state_of(listed, DESIRED, NOW) == State(NOW, OWN, (OTHER,))
    assert state_of([], DESIRED, NOW) == State(NOW)
    assert deadline_of(OWN) == 1795622400


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (State(NOW), ("none", [])),
        (State(NOW, OWN, (OTHER,)), ("sent", ["c-other"])),
        (State(NOW, replace(OWN, status="Cancelling")), ("none", [])),
    ],
)
def test_the_diff_shows_commands_that_can_still_store(state: State, shown: tuple[str, list[str]]) -> None:
    assert tuple(to_diff(state).values()) == shown


@given(st.integers(2 * MIN_SECONDS, 720 * 60))
def test_a_command_cannot_outlive_its_time_by_any_clock(seconds: int) -> None:
    """The instance's clock can be wrong, so the timeouts of Systems Manager and the agent end at the deadline too."""
    [step] = plan(State(NOW), replace(DESIRED, seconds=seconds)).all_steps
    sending = step.context
    deadline = deadline_of(Command("c", sending.comment, "Pending"))
    assert deadline == int(NOW.timestamp()) + seconds
    assert sending.delivery_seconds == min(MAX_DELIVERY_SECONDS, seconds // 2) >= MIN_SECONDS
    assert sending.execution_seconds >= MIN_SECONDS
    assert sending.delivery_seconds + sending.execution_seconds == seconds
    assert f"\ndeadline={deadline}\n" in sending.script


def test_a_step_shows_the_parameter() -> None:
    [step] = plan(State(NOW), DESIRED).all_steps
    words = f"send instance {INSTANCE} the command that stores AmazonCloudWatch-linux in eu-central-1"
    assert step.summary == words


def test_configurations_that_are_too_large_together_are_refused() -> None:
    many = tuple(replace(WRITES[0], name=f"AmazonCloudWatch-{n}", value=f"{n}" + "x" * 8000) for n in range(10))
    with pytest.raises(InvalidInput, match="Store fewer configurations"):
        plan(State(NOW), replace(DESIRED, writes=many))


def role(*actions: str, attached: str = "", boundary: Policy | None = None, deny: bool = False) -> Principal:
    effect = "Deny" if deny else "Allow"
    statements = [{"Effect": effect, "Action": list(actions), "Resource": "*"}] if actions else []
    if deny:
        statements.append({"Effect": "Allow", "Action": ["*"], "Resource": "*"})
    policies = [Policy("inline", {"Statement": statements})]
    if attached:
        policies.append(Policy(attached, None, f"arn:aws:iam::aws:policy/{attached}"))
    arn = "arn:aws:iam::123456789012:role/Admin"
    return Principal(ROLE, "Admin", arn, "AROA1", NOW, policies=tuple(policies), boundary=boundary)


NARROW = Policy("boundary", {"Statement": [{"Effect": "Allow", "Action": "cloudwatch:*", "Resource": "*"}]})


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        (role("ssm:UpdateInstanceInformation", "ssmmessages:*"), []),
        (role("ssm:*", "ec2messages:*"), []),
        (role("*"), []),
        (role(), ["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel"]),
        (role("ssmmessages:*"), ["ssm:UpdateInstanceInformation"]),
        (role("ssm:*"), ["ssmmessages:CreateControlChannel", "ssmmessages:OpenControlChannel"]),
        (role("ssm:*", "ssmmessages:OpenControlChannel"), ["ssmmessages:CreateControlChannel"]),
        (role("ssm:UpdateInstanceInformation", deny=True), ["ssm:UpdateInstanceInformation"]),
        (role("*", boundary=NARROW), ["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel"]),
    ],
)
def test_the_role_must_let_the_agent_work(found: Principal, missing: list[str]) -> None:
    problem = agent_access_problem(found, NOW)
    assert bool(problem) is bool(missing)
    for action in missing:
        assert action in problem
    if missing:
        assert "cwagent_ssm_policy" in problem
        assert "cwagent_store_config_from" in problem


def test_a_policy_that_could_not_be_read_is_no_problem() -> None:
    assert agent_access_problem(role(attached="SomeOther"), NOW) == ""


@pytest.mark.parametrize(
    ("attached", "boundary", "expected"),
    [
        ("AmazonSSMManagedInstanceCore", None, True),
        ("service-role/AmazonEC2RoleforSSM", None, True),
        ("AmazonSSMManagedInstanceCore", NARROW, False),
        ("CloudWatchAgentAdminPolicy", None, False),
    ],
)
def test_an_attached_policy_is_enough_where_no_boundary_counts(
    attached: str, boundary: Policy | None, expected: bool
) -> None:
    assert has_ssm_policy(role(attached=attached, boundary=boundary)) is expected
