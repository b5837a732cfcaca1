from __future__ import annotations

import contextlib
import datetime
import importlib
import importlib.util
import logging
import multiprocessing
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import _list_no_log_values

from ansible_collections.cwagent.iam.plugins.module_utils._ground import plan
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import complete_spec
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections import aws_action
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import name_hosts

PLUGINS = Path(aws_action.__file__).parents[2]
ACTIONS = sorted(path.stem for path in (PLUGINS / "action").glob("*.py") if "AwsAction" in path.read_text())
SECRET = "s3cret"
SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "names": {"type": "list", "elements": "str"},
    "folder": {"type": "path"},
    "key": {"type": "dict", "options": {"secret": {"type": "str", "no_log": True}}},
    "environment": {"type": "dict", "no_log": True},
}


def module_of(action: str) -> Any:
    return importlib.import_module(f"ansible_collections.cwagent.iam.plugins.modules.{action}")


def an_action(work: Any = None, args: Any = None, **task: Any) -> Any:
    """An action with the task, connection and loader that a worker with a local connection has."""
    action = object.__new__(aws_action.AwsAction)
    action.MODULE = SimpleNamespace(SPEC=SPEC, RULES={"mutually_exclusive": [["name", "folder"]]}, work=work)
    of_all = {"no_log": False, "action": "cwagent.iam.x", "async_val": 0, "check_mode": False, "delegate_to": None}
    of_all["_role"] = None
    action._task = SimpleNamespace(**{**of_all, "diff": True, "args": args or {"name": "n"}, "timeout": 0, **task})
    action._connection = SimpleNamespace(transport="local", become=None)
    action._templar = SimpleNamespace(template=lambda value: value)
    return action


@pytest.fixture
def in_worker(monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", object)


def run(work: Any, **args: Any) -> dict[str, Any]:
    action = an_action(work, {"name": "n", **args})
    result: dict[str, Any] = action.do_work(work, action._validated_options(), {})
    result.pop("invocation", None)
    return result


def test_a_setting_of_another_type_fails_the_task_before_anything_else() -> None:
    role = SimpleNamespace(get_name=lambda: "cwagent.iam.ec2_server")
    variables = {"inventory_hostname": "web1", "cwagent_wait_timeout": "soon"}
    found = an_action(action="cwagent.iam.cwagent_iam_role", _role=role).run(None, variables)
    assert found["failed"]
    assert found["msg"] == "cwagent_wait_timeout must be a whole number, not 'soon'. Nothing was changed."


OTHER = {"ansible_python_interpreter": "/usr/bin/other"}


@pytest.mark.usefixtures("in_worker")
@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True),
        *(({"task": task}, False) for task in ({"async_val": 1}, {"timeout": 1})),
        *(({"connection": connection}, False) for connection in ({"transport": "ssh"}, {"become": object()})),
        *(({"variables": {"ansible_python_interpreter": each}}, True) for each in (sys.executable, "auto_silent")),
        ({"variables": OTHER}, False),
        ({"task": {"delegate_to": "h"}, "variables": OTHER}, True),
        ({"task": {"delegate_to": "h"}, "variables": {"ansible_delegated_vars": {"h": OTHER}}}, False),
        ({"environment": {"AWS_REGION": "x"}}, True),
        *(({"environment": {name: "x"}}, False) for name in ("PYTHONPATH", "LD_PRELOAD", "A=B", "", 3)),
    ],
)
def test_the_work_is_done_here_only_where_that_is_the_same(changes, is_same):
    action = an_action(**changes.get("task", {}))
    vars(action._connection).update(changes.get("connection", {}))
    assert action._is_same_here(changes.get("variables", {}), changes.get("environment", {})) == is_same


@pytest.mark.parametrize("missing", ["worker", "module", "keeping files"])
def test_the_module_runs_if_the_action_lacks_something(missing, monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None if missing == "worker" else object())
    monkeypatch.setattr(aws_action.constants, "DEFAULT_KEEP_REMOTE_FILES", missing == "keeping files")
    action = an_action()
    if missing == "module":
        action.MODULE = None
    assert not action._is_same_here({}, {})


@pytest.mark.parametrize(
    "args",
    [
        {},
        *({"name": name} for name in (b"n", {"n"})),
        *(
            {"name": "n", **more}
            for more in (
                *({"nme": "x"}, {"names": "a,b"}, {"folder": "/x"}, {"environment": {}}),
                *({"aws_region": "x"}, {"debug_botocore_endpoint_logs": True}, {"key": "text"}),
                {"key": {("a", "b"): "c"}},
            )
        ),
    ],
)
def test_options_that_are_invalid_or_unusual_are_left_to_the_module(args):
    action = an_action()
    action._task.args = args
    assert action._validated_options() == {}


@pytest.mark.parametrize(
    ("value", "refused"), [(True, True), (7, True), (["a"], True), ({}, False), ("a=b", False), (None, False)]
)
def test_an_option_with_suboptions_is_a_mapping(value: Any, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible's own validation would raise a Python error."""
    monkeypatch.setitem(SPEC, "saved", {"type": "dict", "options": {"place": {"type": "str"}}})
    monkeypatch.setitem(SPEC, "all", {"type": "list", "elements": "dict", "options": {}})
    action = an_action(args={"name": "n", "saved": value, "all": [{}]})
    assert action._no_mappings() == (["saved"] if refused else [])
    action.MODULE = None
    assert action._no_mappings() == []


def test_an_option_that_must_be_a_mapping_fails_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPEC, "saved", {"type": "dict", "options": {}})
    assert an_action(args={"saved": True}).run() == {"failed": True, "msg": "saved must be a mapping."}


def test_a_date_of_yaml_is_text_for_the_module():
    assert an_action(args={"name": datetime.date(2026, 1, 2)})._validated_options()["name"] == "2026-01-02"


def test_text_without_a_comma_is_a_list_of_one():
    options = an_action(args={"name": "n", "names": "a"})._validated_options()
    assert options["names"] == ["a"]


@pytest.mark.parametrize(
    ("path", "is_here"),
    [("bin/python3", True), ("bin/python", True), ("bin/other", False), ("venv/bin/python", False), ("", False)],
)
def test_this_python_has_several_names_in_its_folder(tmp_path, monkeypatch, path, is_here):
    for folder in ("bin", "venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin" / "python3").touch()
    (tmp_path / "bin" / "other").touch()
    (tmp_path / "bin" / "python").symlink_to("python3")
    (tmp_path / "venv" / "bin" / "python").symlink_to(tmp_path / "bin" / "python3")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert aws_action._is_this_python(str(tmp_path / path) if path else "") == is_here


def test_options_get_their_types_and_defaults():
    options = an_action(args={"name": 5, "names": [1, "b"], "validate_certs": "no"})._validated_options()
    given = {"name": "5", "names": ["1", "b"], "validate_certs": False, "profile": None}
    assert options.items() >= given.items()


@pytest.mark.parametrize(
    ("work", "result"),
    [
        (lambda _call: {"changed": True, "warnings": ()}, {"changed": True}),
        (lambda _call: {"changed": False, "warnings": ["Look."]}, {"changed": False, "warnings": ["Look."]}),
        (
            lambda call: call.warn("Wait.") or {"changed": False, "warnings": ["Look."]},
            {"changed": False, "warnings": ["Wait.", "Look."]},
        ),
        (lambda call: {"changed": call.check_mode, "region": call.region}, {"changed": False, "region": "here"}),
        (lambda _call: {"shown": f"x{SECRET}x", "ok": True}, {"shown": "x********x", "ok": True}),
        (lambda _call: {"list": ("a",), 1: None}, {"list": ["a"], "1": None}),
        (lambda _call: print("noise") or {"changed": False}, {"changed": False}),
    ],
)
def test_the_action_returns_the_result_of_the_module(work, result, capfd):
    assert run(work, region="here", key={"secret": SECRET}) == result
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("diff_mode", [False, True])
def test_only_diff_mode_has_a_diff_in_the_result(diff_mode: bool, fails: bool) -> None:
    """It is shown in lines."""
    diff = {"before": {"a": 1}, "after": {"a": 2}}
    shown = {"before": '{"a": 1}\n', "after": '{"a": 2}\n'}

    def work(_call: Any) -> dict[str, Any]:
        if fails:
            raise CwagentError("No.", diff=diff)
        return {"changed": True, "diff": diff}

    action = an_action(work, {"name": "n"}, diff=diff_mode)
    result = action.do_work(work, action._validated_options(), {})
    assert result.get("diff") == (shown if diff_mode else None)
    assert ("diff" in result) == diff_mode


def test_a_diff_hides_a_secret_that_json_escapes() -> None:
    secret = 'a"b\\cé'
    diff = {"before": {}, "after": {"x": f"is {secret}"}}
    result = run(lambda _call: {"changed": True, "diff": diff}, key={"secret": secret})
    assert result["diff"] == {"before": "{}\n", "after": '{"x": "is ********"}\n'}


def test_an_error_of_the_collection_fails_the_task():
    def work(_call):
        raise CwagentError("No.", steps=["a"])

    assert run(work) == {"failed": True, "msg": "No.", "changed": False, "steps": ["a"]}


def test_an_unexpected_exception_fails_the_task_without_secrets():
    def work(call):
        raise RuntimeError(call.params["key"]["secret"])

    result = run(work, key={"secret": SECRET})
    assert (result["failed"], result["rc"], result["msg"]) == (True, 1, "MODULE FAILURE: ********")
    assert "RuntimeError" in result["exception"]
    assert SECRET not in str(result)


def test_a_client_that_cannot_be_made_fails_the_task_as_in_a_module(monkeypatch):
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    credentials = {"access_key": "AKIA", "secret_key": SECRET}
    result = run(lambda call: call.client("ec2"), **credentials)
    assert result["msg"].startswith("The cwagent.iam.x module requires a region and none was found")
    assert result["failed"]
    result = run(lambda call: call.client("ec2"), profile="nowhere-to-be-found", region="x")
    assert result["msg"] == (
        "Could not connect to AWS: The config profile (nowhere-to-be-found) could not be found. Create it in "
        "~/.aws/config, or correct the option profile or AWS_PROFILE."
    )
    assert {"boto3_version", "botocore_version"} <= result.keys()
    result = run(lambda call: call.fail_aws("Couldn't connect to AWS", OSError("no route")))
    assert (result["failed"], result["msg"]) == (True, "Couldn't connect to AWS: no route")
    assert {"boto3_version", "botocore_version"} <= result.keys()


def test_the_state_of_the_process_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    before, folder = dict(os.environ), Path.cwd()
    with contextlib.suppress(ValueError), aws_action.process_state({"GIVEN": 1, "KEPT": "2"}, str(tmp_path)):
        assert (os.environ["GIVEN"], os.environ["KEPT"], Path.cwd()) == ("1", "2", tmp_path)
        assert not logging.root.isEnabledFor(logging.CRITICAL)
        os.environ.pop("KEPT")
        raise ValueError
    assert (dict(os.environ), Path.cwd()) == (before, folder)
    assert logging.root.isEnabledFor(logging.CRITICAL)


@pytest.mark.usefixtures("in_worker")
@pytest.mark.parametrize(("args", "is_here"), [({"name": "n"}, True), ({"name": "n", "names": "a,b"}, False)])
def test_the_module_does_the_work_that_the_action_cannot_do(args, is_here, tmp_path, monkeypatch):
    monkeypatch.setattr(aws_action.NormalAction, "run", lambda *_: {"by": "module"})
    action = an_action(lambda _call: {"by": os.environ["GIVEN"]}, args)
    action._loader = SimpleNamespace(get_basedir=lambda: str(tmp_path))
    action._compute_environment_string = lambda given: given.update({"GIVEN": "action"})
    assert action.run(None, {})["by"] == ("action" if is_here else "module")
    action._compute_environment_string = lambda given: given.update({"PYTHONPATH": "/x"})
    assert action.run() == {"by": "module"}


@pytest.mark.parametrize(
    ("has_setting", "setting", "is_shown"), [(False, False, True), (True, True, True), (True, False, False)]
)
def test_the_invocation_is_in_the_result_as_ansible_is_set(has_setting, setting, is_shown, monkeypatch):
    monkeypatch.setattr(aws_action, "HAS_INVOCATION_SETTING", has_setting)
    monkeypatch.setattr(aws_action.constants.config, "get_config_value", lambda *_, **__: setting)
    work = lambda _call: {"changed": False}  # noqa: E731
    action = an_action(work)
    assert ("invocation" in action.do_work(work, action._validated_options(), {})) == is_shown


def test_each_item_of_a_list_hides_its_values():
    spec = {"keys": {"type": "list", "elements": "dict", "options": SPEC["key"]["options"]}}
    given = {"keys": [{"secret": "a"}, {"secret": ["b", 1, None, True, {"c": "d"}]}]}
    assert aws_action._hidden_values(spec, given) == {"a", "b", "1", "d"}


def test_without_boto3_the_module_runs_and_reports_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    spec = importlib.util.spec_from_file_location(f"{aws_action.__package__}.without_boto3", aws_action.__file__)
    assert spec
    assert spec.loader
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    without.AwsAction.preload("cwagent_iam_role", "iam")
    assert without.AwsAction.MODULE is None


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_has_the_module_of_its_name(action):
    found = importlib.import_module(f"ansible_collections.cwagent.iam.plugins.action.{action}")
    assert found.ActionModule.MODULE is module_of(action)
    is_for_hosts = action == "cwagent_agent_config"  # its work with AWS is in the action
    assert callable((found if is_for_hosts else found.ActionModule.MODULE).work)


@pytest.mark.parametrize("action", ACTIONS)
def test_the_hidden_values_are_those_that_ansible_hides(action):
    spec = complete_spec(module_of(action).SPEC)
    given = {name: _example(option, name) for name, option in spec.items()}
    options = ArgumentSpecValidator(spec).validate(given).validated_parameters
    assert aws_action._hidden_values(spec, options) == {*map(str, _list_no_log_values(spec, options))}


def _example(option: dict[str, Any], name: str) -> Any:
    """A value that is valid for an option."""
    if option.get("choices"):
        return option["choices"][0]
    if "options" in option:
        nested = {each: _example(part, f"{name}-{each}") for each, part in option["options"].items()}
        return [nested] if option["type"] == "list" else nested
    examples = {"bool": True, "int": 7, "dict": {"a": f"{name}-value"}, "list": [], "raw": name}
    return examples.get(option.get("type", "str"), f"value-of-{name}")


def test_models_are_read_once_for_all_clients():
    loaders = {botocore.session.create_loader(None), botocore.session.create_loader(None)}
    assert len(loaders) == 1
    module_of("cwagent_iam_role")
    importlib.import_module("ansible_collections.cwagent.iam.plugins.action.cwagent_iam_role")
    session = botocore.session.get_session()
    assert session.get_component("data_loader") in loaders
    assert any("iam" in map(str, key) for key in next(iter(loaders))._cache)


@pytest.mark.parametrize(("no_log", "count"), [(False, 1), (True, 0)])
def test_a_long_call_shows_its_progress_unless_the_task_is_hidden(
    no_log: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "INTERVAL_SECONDS", 0)
    lines: list[str] = []

    def work(_call: Any) -> dict[str, Any]:
        plan.tell("3 of 5 done")
        return {}

    action = an_action(work, no_log=no_log)
    action.do_work(work, action._validated_options(), {}, lines.append)
    assert len(lines) == count


class Hosts(dict[str, Any]):
    """The variables of hosts. Reading them by name evaluates them, and raises the error of a template."""

    def __getitem__(self, host: str) -> Any:
        raise AnsibleError(f"a variable of {host} is undefined")

    def raw_get(self, host: str) -> Any:
        return self.get(host)


HOSTS = Hosts(
    {
        "web": {"instance_id": "i-1a"},
        "blog": {"instance_id": "i-2b"},
        "i-3c": {"instance_id": "i-3c"},
        "db": {},
        "template": {"instance_id": "{{ undefined }}"},
        "list": {"instance_id": ["i-1a"]},
    }
)


@pytest.mark.parametrize(
    ("result", "more"),
    [
        ({"failed": True, "msg": "i-1a is stopped."}, " In the inventory, i-1a is web."),
        ({"failed": True, "msg": "i-2b, i-1a: no."}, " In the inventory, i-1a is web, i-2b is blog."),
        ({"failed": True, "msg": "i-3c and i-4d: no."}, ""),
        ({"failed": True, "msg": "mi-1a: no."}, ""),
        ({"failed": True}, ""),
        ({"msg": "i-1a is stopped."}, ""),
    ],
)
def test_a_failure_says_which_hosts_its_instances_are(result: dict[str, Any], more: str) -> None:
    found = name_hosts(result, {"hostvars": HOSTS})
    assert found == ({**result, "msg": result["msg"] + more} if more else result)
    assert name_hosts(result, {}) == result


@pytest.mark.parametrize(
    ("platform", "proxies", "variables"),
    [("linux", {}, {}), ("darwin", {}, {"no_proxy": "*"}), ("darwin", {"http": "proxy"}, {})],
)
def test_proxies_of_macos_are_not_looked_up(
    monkeypatch: pytest.MonkeyPatch, platform: str, proxies: dict[str, str], variables: dict[str, str]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(aws_action, "getproxies_environment", lambda: proxies)
    assert aws_action._proxies() == variables
