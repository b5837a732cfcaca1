from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._servers.commands import (
    PENDING_STATUSES,
    Agent,
    Command,
    Invocation,
    unreachable_reason,
)

INSTANCE = "i-0123456789abcdef0"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (None, "Systems Manager does not know instance i-0123456789abcdef0"),
        (Agent(INSTANCE, "ConnectionLost", "Linux"), "is not online (its status is ConnectionLost)"),
        (Agent(INSTANCE, "Inactive", "Linux"), "is not online (its status is Inactive)"),
        *(
            (Agent(INSTANCE, ping, platform), f"instance {INSTANCE} runs {platform}, and only Linux instances can run")
            for ping in ("Online", "ConnectionLost", "Inactive")
            for platform in ("Windows", "MacOS")
        ),
        (Agent(INSTANCE, "Online", "Linux"), ""),
    ],
)
def test_commands_reach_only_an_agent_that_is_online(agent: Agent | None, words: str) -> None:
    reason = unreachable_reason(INSTANCE, agent)
    assert words in reason
    assert bool(reason) is bool(words)


def test_commands_do_not_reach_an_on_premises_server_that_is_offline() -> None:
    reason = unreachable_reason("mi-1", Agent("mi-1", "Inactive", "Linux"))
    assert reason.startswith("the SSM agent of node mi-1 is not online (its status is Inactive). A restart ")


def test_a_command_is_pending_until_it_has_ended() -> None:
    pending = ["Pending", "InProgress", "Delayed", "Cancelling"]
    for status in (*pending, "Success", "Failed", "TimedOut", "Cancelled"):
        assert (status in PENDING_STATUSES) == (status in pending)
        assert Invocation(status).is_pending == Command("c", "", status).is_pending == (status in pending)


@pytest.mark.parametrize(
    ("output", "result"),
    [
        ("", None),
        ("no JSON", None),
        ('{"a": 1}', {"a": 1}),
        ('noise\n{"a": 1}\n', {"a": 1}),
        ('{"b": 1}\n{"a": 2, "more": "x"}\nnoise', {"a": 2, "more": "x"}),
        ('{"a": 2}\n{"b": 1}', None),
        ('{"a": "2"}', None),
        ('{"a": true}', None),
        ('{"a": ' * 5000, None),
        ('{"a": "cut--output truncated--', None),
        ("{[]}", None),
    ],
)
def test_the_result_is_the_last_line_with_an_object(output: str, result: object) -> None:
    assert Invocation("Success", output=output).result({"a": int}) == result


@pytest.mark.parametrize(
    ("invocation", "reason"),
    [
        (Invocation("Cancelled", "Cancelled"), "it was cancelled"),
        (Invocation("TimedOut", "DeliveryTimedOut"), "the agent did not fetch it in time"),
        (Invocation("TimedOut", "Delivery Timed Out"), "the agent did not fetch it in time"),
        (Invocation("TimedOut", "ExecutionTimedOut"), "it ran longer than it may"),
        (Invocation("Failed", "Undeliverable"), "it could not be delivered to the agent"),
        (Invocation("Failed", "InvalidPlatform"), "the document is not for the platform of the instance"),
        (Invocation("Failed", "AccessDenied"), "the identity that sent it may not run it on this instance"),
        (Invocation("Failed", "Terminated"), "Systems Manager ended it"),
        (Invocation("Failed", "Failed"), "its status is Failed"),
        (Invocation("Pending"), "its status is Pending"),
        (Invocation("Failed", "Failed", "out", "no\n such file"), "its status is Failed, and it printed: no such file"),
        (
            Invocation("Failed", "Failed", "", "first " + "x" * 300),
            "its status is Failed, and it printed: " + "x" * 300,
        ),
        (Invocation("Success", "Success", "out"), "its status is Success, and it printed: out"),
    ],
)
def test_a_command_reports_why_it_did_not_do_its_work(invocation: Invocation, reason: str) -> None:
    assert invocation.reason == reason
