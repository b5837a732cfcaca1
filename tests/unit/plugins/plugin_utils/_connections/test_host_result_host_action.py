"""Modules that run on a server, whose answer is reduced to their result."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.cwagent.iam.plugins.action import cwagent_agent_config
from ansible_collections.cwagent.iam.plugins.action.cwagent_shared_credentials import ActionModule
from ansible_collections.cwagent.iam.plugins.module_utils._ground import call

OTHER_FACTS = {"ansible_facts": {"cwagent_user_name": "other"}, "add_host": {"host_name": "other"}}


def answer_of(action: Any, answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(NormalAction, "run", lambda *_: {**answer, **OTHER_FACTS})
    return action.run(None, {})


@pytest.fixture
def action() -> ActionModule:
    task = SimpleNamespace(action="cwagent.iam.cwagent_shared_credentials", args={}, async_val=0, _role=None)
    return ActionModule(task, SimpleNamespace(), None, None, None, None)


def test_only_the_result_of_the_module_is_kept(action: ActionModule, monkeypatch: pytest.MonkeyPatch) -> None:
    result = {"changed": False, "rc": 0, "stdout": "end\n", "stderr": ""}
    assert answer_of(action, result, monkeypatch) == result


def test_the_python_that_ansible_has_found_is_remembered(action: ActionModule, monkeypatch: pytest.MonkeyPatch) -> None:
    action._discovered_interpreter_key, action._discovered_interpreter = "discovered_interpreter_python", "/bin/python"
    facts = {"discovered_interpreter_python": "/bin/python"}
    assert answer_of(action, {"rc": 0}, monkeypatch) == {"rc": 0, "ansible_facts": facts}


def test_an_answer_in_another_form_is_an_error(action: ActionModule, monkeypatch: pytest.MonkeyPatch) -> None:
    result = answer_of(action, {"rc": "0"}, monkeypatch)
    assert (result["failed"], result["changed"], result.keys()) == (True, False, {"failed", "changed", "msg"})
    assert "cwagent_shared_credentials cannot return: rc is str" in result["msg"]


def test_an_unreachable_server_has_not_answered(action: ActionModule, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer_of(action, {"unreachable": True, "msg": "gone"}, monkeypatch)["msg"] == "gone"


def test_ansible_reads_only_the_reduced_output(action: ActionModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows warnings as soon as it reads the output."""
    monkeypatch.setattr(ActionBase, "_parse_returned_data", lambda _, output, *profile: (output["stdout"], profile))
    output = {"rc": 0, "stdout": '{"ansible_facts": {}, "warnings": ["\\u001b"]}', "stderr": ""}
    assert action._parse_returned_data(output, "legacy") == ('{"warnings": [""]}', ("legacy",))


CONFIGS = [{"name": "AmazonCloudWatch-x", "digest": "d"}]
AWS_NAMES = [each for name, option in call.complete_spec({}).items() for each in (name, *option.get("aliases", ()))]


def run_agent_config(args: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[list[dict[str, Any]], Any]:
    """The options that the host gets in each call, and the result."""
    sent: list[dict[str, Any]] = []

    def send(action: Any, *_: Any) -> dict[str, Any]:
        sent.append(action._task.args)
        return {"changed": False}

    monkeypatch.setattr(NormalAction, "run", send)
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(ActionBase, "_compute_environment_string", lambda *_: "")
    keywords = {"check_mode": True, "diff": False, "no_log": False, "async_val": 0}
    task = SimpleNamespace(action="cwagent.iam.cwagent_agent_config", args=args, **keywords)
    loader = SimpleNamespace(get_basedir=lambda: "/")
    action = cwagent_agent_config.ActionModule(task, SimpleNamespace(), None, loader, None, None)
    return sent, action.run(None, {"inventory_hostname": "h"})


@pytest.mark.parametrize("name", AWS_NAMES)
def test_the_host_gets_no_aws_option_of_the_action_group(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, result = run_agent_config({"configs": CONFIGS, "nme": "x", name: "x"}, monkeypatch)
    assert (sent, result) == ([{"configs": CONFIGS, "nme": "x"}], {"changed": False})


def test_without_amazon_aws_the_options_of_its_group_are_known() -> None:
    of_group = {"profile": "P", "secret_key": "S", "aws_session_token": "T", "region": "x", "endpoint_url": "http://x"}
    assert cwagent_agent_config.options_for_host({"configs": [], **of_group}, frozenset()) == {"configs": []}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, ""),
        ({"region": "eu-west-1", "wait_timeout": 5}, ""),
        ({"configs": CONFIGS}, "parameters are mutually exclusive: configs|server|servers"),
        ({"server": {}}, "parameters are mutually exclusive: configs|server|servers"),
        ({"environment": {"A": "b"}}, "parameters are mutually exclusive: servers|environment"),
        ({"nme": 1}, "nme. Supported parameters include"),
        ({"servers": "a,b"}, "servers must be a list"),
    ],
)
def test_a_task_with_servers_reaches_no_host(more: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, result = run_agent_config({"servers": [], **more}, monkeypatch)
    assert (sent, bool(result.get("failed"))) == ([], bool(words))
    assert words in result.get("msg", "")
    assert words or result["steps"] == []


@pytest.mark.parametrize("seconds", [-1, 3601, 2**63])
@pytest.mark.parametrize("where", ["server", "servers"])
def test_a_watch_that_is_too_long_is_refused_before_it_begins(
    seconds: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = {"watch_seconds": seconds}
    sent, result = run_agent_config({where: server if where == "server" else [{}, server], "watch": True}, monkeypatch)
    assert (sent, result["failed"]) == ([], True)
    assert result["msg"] == f"apply_watch_seconds is {seconds}; it must be between 0 and 3600."


def test_a_server_can_be_watched_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, _result = run_agent_config({"server": {"watch_seconds": 3600}, "watch": True}, monkeypatch)
    assert len(sent) == 1
