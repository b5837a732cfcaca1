"""An action that holds something: its options, and the end of an interrupted run."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.module_utils._servers import hybrid_transaction
from ansible_collections.cwagent.iam.plugins.module_utils._storing import transaction as store_transaction
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections import transaction
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.transaction import (
    Interrupted,
    Interruption,
    TransactionAction,
)

SPEC = {"name": {"type": "str", "required": True}, "names": {"type": "list", "elements": "str", "default": []}}
VARIABLES = {"inventory_hostname": "db"}


class Action(TransactionAction):
    """An action without Ansible around it."""

    MODULE: Any = SimpleNamespace(SPEC=SPEC, RULES={})

    def __init__(self, **args: Any) -> None:
        self._task = SimpleNamespace(
            args={"name": "n", **args},
            check_mode=False,
            diff=True,
            delegate_to=None,
            no_log=False,
            action="cwagent.iam.x",
            _role=None,
        )
        self._loader = SimpleNamespace(get_basedir=lambda: "/")
        self._connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/x"))
        self.work: Any = lambda call: {"changed": False, "name": call.params["name"], "folder": str(Path.cwd())}

    def _compute_environment_string(self, raw: dict[str, Any]) -> str:
        raw["X"] = "of the task"
        return ""

    def transact(self, variables: Any, interruption: Interruption, tell: Any, call: Any) -> dict[str, Any]:
        self.given = (variables, interruption, tell, os.environ.get("X"))
        result: dict[str, Any] = self.work(call)
        return result


@pytest.fixture(autouse=True)
def _without_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActionBase, "run", lambda *_: {"of Ansible": True})


def test_the_transaction_gets_the_options_and_the_environment_of_the_task() -> None:
    action = Action()
    done = action.run(task_vars=VARIABLES)
    assert (done["name"], done["folder"], done["of Ansible"]) == ("n", "/", True)
    variables, interruption, _tell, of_task = action.given
    assert (variables, interruption.has_come, of_task) == (VARIABLES, False, "of the task")
    assert "X" not in os.environ


def test_a_setting_of_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Action, "fill_options", lambda *_: "x must be text. Nothing was changed.")
    done = Action().run(task_vars=VARIABLES)
    assert (done["failed"], done["msg"]) == (True, "x must be text. Nothing was changed.")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"nme": 1}, "nme. Supported parameters include"),
        ({"names": "a,b"}, r"^names must be a list\.$"),
        ({"name": {(1, 2): 3}}, r"^A value cannot be an option of a module: keys must be"),
    ],
)
def test_options_that_are_not_valid_are_refused(args: dict[str, Any], words: str) -> None:
    done = Action(**args).run(task_vars=VARIABLES)
    assert done["failed"]
    assert re.search(words, done["msg"])


def test_without_boto3_only_the_task_fails() -> None:
    action = Action()
    action.MODULE = None
    done = action.run(task_vars=VARIABLES)
    assert done["failed"]
    assert f"{sys.executable} cannot import them. Nothing was changed." in done["msg"]


def test_the_worker_of_an_interrupted_run_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        raise Ended(code)

    def work(_call: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(os, "_exit", end)
    action = Action()
    action.work = work
    with pytest.raises(Ended, match="1"):
        action.run(task_vars=VARIABLES)


@pytest.mark.parametrize(("delegate", "name"), [(None, "db"), ("localhost", "db"), ("127.0.0.1", "db"), ("web", "web")])
def test_the_host_is_the_one_of_the_task(delegate: str | None, name: str) -> None:
    action = Action()
    action._task.delegate_to = delegate
    assert action.host_name(VARIABLES) == name


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_lost_host_does_not_replace_the_result(monkeypatch: pytest.MonkeyPatch, is_lost: bool) -> None:
    def cleanup(_self: Any, _force: bool) -> None:
        if is_lost:
            raise AnsibleConnectionFailure("no route")

    monkeypatch.setattr(ActionBase, "cleanup", cleanup)
    action = Action()
    action.cleanup()
    assert action._connection._shell.tmpdir == (None if is_lost else "/x")


def test_a_transaction_must_be_defined() -> None:
    action: Any = Action()
    call: Any = None
    with pytest.raises(NotImplementedError):
        TransactionAction.transact(action, {}, Interruption(), print, call)


@pytest.mark.parametrize("check_mode", [True, False])
def test_check_mode_predicts_a_transaction_and_handles_no_signal(check_mode: bool) -> None:
    call: Any = SimpleNamespace(check_mode=check_mode)
    handlers: list[Any] = []

    def end(name: str) -> dict[str, Any]:
        handlers.append(signal.getsignal(signal.SIGTERM))
        return {"changed": name}

    earlier, interruption = signal.getsignal(signal.SIGTERM), Interruption()
    done = TransactionAction.predict_or_run(call, interruption, lambda: end("predicted"), lambda: end("run"))
    assert done == {"changed": "predicted" if check_mode else "run"}
    assert handlers == [earlier if check_mode else interruption._handle]
    assert signal.getsignal(signal.SIGTERM) == earlier


@pytest.mark.parametrize("advice", [store_transaction.ADVICE, hybrid_transaction.ADVICE, "store a configuration"])
@pytest.mark.parametrize("in_awx", [True, False])
def test_a_job_of_awx_gets_no_advice_on_ctrl_c(monkeypatch: pytest.MonkeyPatch, advice: str, in_awx: bool) -> None:
    """AWX kills a job that is canceled."""
    said: list[str] = []
    monkeypatch.setattr(transaction, "say", lambda _name, text: said.append(text))
    undisturbed: Any = SimpleNamespace(has_come=False)
    transaction._say("db", undisturbed, advice, in_awx=in_awx)
    assert said == [transaction.ADVICE_IN_AWX if in_awx and "Ctrl-C" in advice else advice]


@pytest.mark.parametrize("has_come", [False, True])
def test_nothing_is_printed_after_an_interruption(monkeypatch: pytest.MonkeyPatch, has_come: bool) -> None:
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(transaction, "say", lambda *words: said.append(words))
    interruption: Any = SimpleNamespace(has_come=has_come)
    transaction._say("db", interruption, "text")
    assert said == ([] if has_come else [("db", "text")])
