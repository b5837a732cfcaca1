"""Nodes and activations as Systems Manager describes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Kind, Step
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid import SystemsManager
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import NewActivation, Node


class Wire(Aws):
    """Answers calls with prepared answers, and records them. An error is raised."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(lambda *_, **__: SimpleNamespace(meta=SimpleNamespace(region_name="eu-1")))
        self.answers = answers
        self.calls: list[tuple[str, int, dict[str, Any]]] = []

    def call(self, action: str, description: str, max_attempts: int = 10, **arguments: Any) -> dict[str, Any]:
        self.calls.append((action, max_attempts, arguments))
        answer = self.answers[action.partition(":")[2]]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, dict) else answer.pop(0)


@pytest.mark.parametrize("answer", [{"InstanceInformationList": []}, AwsApiError("None.", "InvalidInstanceId")])
def test_a_node_that_does_not_exist_is_none(answer: Any) -> None:
    assert SystemsManager(Wire(DescribeInstanceInformation=answer), nullcontext).node("mi-1") is None


def test_another_error_stays_one() -> None:
    with pytest.raises(AwsApiError):
        SystemsManager(Wire(DescribeInstanceInformation=AwsApiError("No.", "AccessDenied")), nullcontext).node("mi-1")


@pytest.mark.parametrize(
    ("method", "value", "key"),
    [("nodes_of", "a-1", "ActivationIds"), ("nodes_of_host", "db", "tag:cwagent:host")],
)
def test_the_nodes_of_an_activation_and_those_of_a_host_are_listed(method: str, value: str, key: str) -> None:
    found = {"InstanceId": "mi-1", "PingStatus": "Online", "IamRole": "hybrid", "Name": "db", "ActivationId": "a-1"}
    wire = Wire(
        DescribeInstanceInformation=[
            {"InstanceInformationList": [found], "NextToken": "2"},
            {"InstanceInformationList": [{"InstanceId": "mi-2"}]},
        ]
    )
    nodes = getattr(SystemsManager(wire, nullcontext), method)(value)
    assert nodes == [Node("mi-1", "hybrid", "db", "Online", activation_id="a-1"), Node("mi-2", "", "", "")]
    assert wire.calls[0][2]["Filters"] == [{"Key": key, "Values": [value]}]


def test_a_node_that_was_just_deregistered_has_no_tags() -> None:
    gone, denied = (AwsApiError("No.", code) for code in ("InvalidResourceId", "AccessDenied"))
    assert SystemsManager(Wire(ListTagsForResource=gone), nullcontext).tags("mi-1") == {}
    with pytest.raises(AwsApiError):
        SystemsManager(Wire(ListTagsForResource=denied), nullcontext).tags("mi-1")


def test_an_activation_is_created_at_most_once() -> None:
    """botocore would repeat the call without an answer, and create another activation."""
    wire = Wire(CreateActivation={"ActivationId": "a-1", "ActivationCode": "code"})
    step = Step(Kind.CREATE, "ssm:CreateActivation", {"iam_role": "hybrid", "tags": {"a": "b"}}, "create it")
    created: list[NewActivation] = []
    SystemsManager(wire, nullcontext).create(step, created.append)
    assert created == [NewActivation("a-1", "code")]
    assert wire.calls == [
        ("ssm:CreateActivation", 1, {"IamRole": "hybrid", "Tags": [{"Key": "a", "Value": "b"}]}),
    ]


def test_a_signal_interrupts_no_try_but_the_time_between_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an activation is created whose code nobody has, or Ctrl-C waits as long as the tries."""
    order: list[str] = []

    @contextmanager
    def shield() -> Iterator[None]:
        order.append("shielded")
        yield
        order.append("open")

    def pause(_deadline: Deadline, _seconds: float = 0) -> bool:
        order.append("pause")
        return True

    monkeypatch.setattr(Deadline, "pause", pause)
    wire = Wire(CreateActivation=[{"ActivationId": "a-1", "ActivationCode": "code"}])
    refuse = iter([AwsApiError("No such role.", "ValidationException"), None])
    call = wire.call

    def call_late(*given: Any, **arguments: Any) -> dict[str, Any]:
        if error := next(refuse):
            order.append("refused")
            raise error
        return call(*given, **arguments)

    monkeypatch.setattr(wire, "call", call_late)
    codes = frozenset({"ValidationException"})
    step = Step(Kind.CREATE, "ssm:CreateActivation", {"iam_role": "hybrid"}, "create it", retry_when=codes)
    SystemsManager(wire, shield).create(step, lambda _activation: order.append("kept"))
    assert order == ["shielded", "refused", "pause", "shielded", "kept", "open"]
