"""Requests to the host that is registered, and the results of its answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import NewActivation
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.hosts import HybridServer

CODE = "s3cret-code"
ACTIVATION = NewActivation("a-1", CODE)
PATHS = {"ssm_agent": "/agent"}
ANSWER = {"registration": None, "changed": False, "invocation": {}}


class Action:
    """An action whose host answers, or not."""

    def __init__(self, answer: Any = None, *, is_refused: bool = False) -> None:
        self.answer = answer if answer is not None else ANSWER
        self.is_refused = is_refused
        self._task = SimpleNamespace(check_mode=False)
        self.sent: list[dict[str, Any]] = []

    def check_connection(self) -> None:
        if self.is_refused:
            raise InvalidInput("pipelining is off")

    def send(self, module: str, arguments: dict[str, Any], _task_vars: dict[str, Any]) -> dict[str, Any]:
        assert module == "cwagent.iam.cwagent_ssm_agent"
        self.sent.append(arguments)
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict(self.answer)


def host(action: Any) -> HybridServer:
    return HybridServer(action, {}, "eu-1", PATHS)


@pytest.mark.parametrize(
    ("method", "arguments", "sent"),
    [
        ("read", [], {"state": "read"}),
        ("restart", [], {"state": "restarted"}),
        ("finish", [], {"state": "finished"}),
        ("begin_clearing", ["mi-1"], {"state": "deregistering", "instance_id": "mi-1"}),
        ("clear", [], {"state": "deregistered"}),
        (
            "register",
            [ACTIVATION, "run-1", "run-0"],
            {
                "state": "registered",
                "activation_id": "a-1",
                "activation_code": CODE,
                "region": "eu-1",
                "run_id": "run-1",
                "known_run_id": "run-0",
            },
        ),
    ],
)
def test_the_module_is_asked(method: str, arguments: list[Any], sent: dict[str, Any]) -> None:
    action = Action()
    assert getattr(host(action), method)(*arguments) == ANSWER
    assert action.sent == [{**PATHS, **sent}]


def test_no_code_is_sent_if_the_connection_is_refused() -> None:
    action = Action(is_refused=True)
    for work in (host(action).check, lambda: host(action).register(ACTIVATION, "run-1", "")):
        with pytest.raises(InvalidInput):
            work()
    assert action.sent == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"failed": True, "msg": f"It printed {CODE}.", "done": ["host:register"]}, r"^It printed VALUE_HIDDEN\.$"),
        ({"failed": True}, "failed without a message"),
        ({"msg": "Not the result of the module."}, "Not the result"),
        (OSError(f"no {CODE}"), "no VALUE_HIDDEN"),
        (AnsibleConnectionFailure(f"lost {CODE}"), "lost VALUE_HIDDEN.*could not be reached while it was being"),
    ],
)
def test_a_failure_never_contains_the_code(answer: Any, words: str) -> None:
    with pytest.raises(CwagentError, match=words) as caught:
        host(Action(answer)).register(ACTIVATION, "run-1", "")
    assert CODE not in f"{caught.value} {caught.value.details} {caught.value.__cause__}"
    done = answer.get("done") if isinstance(answer, dict) else None
    assert caught.value.details.get("done") == done


def test_the_output_of_a_module_that_crashed_is_kept() -> None:
    answer = {"failed": True, "msg": "MODULE FAILURE", "module_stderr": "Traceback", "rc": 1}
    with pytest.raises(CwagentError) as caught:
        host(Action(answer)).read()
    assert caught.value.details == {"module_stderr": "Traceback", "rc": 1}
