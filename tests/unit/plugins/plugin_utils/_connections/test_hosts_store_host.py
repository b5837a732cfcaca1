"""Requests to the host that stores, and the results of its answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from store_options import store_options

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import Parameter, desired_config
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    CwagentError,
    HostUnreachable,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import SavedKey
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import KeySource
from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import WAYS
from ansible_collections.cwagent.iam.plugins.module_utils._storing.transaction import Configuration
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.hosts import (
    Access,
    Instance,
    OnPremises,
    host_of,
)

NAME = "AmazonCloudWatch-linux"
KNOWN = {NAME: {"value": "{}", "type": "String", "version": 2, "tags": None}, f"{NAME}-2": None}
CONFIGURATION = Configuration(
    desired_config(NAME, {"agent": {}}, None, can_be_split=False),
    {NAME: Parameter("{}", version=2), f"{NAME}-2": None},
    "eu-1",
)
TRANSPORT = {"endpoint_url": "http://127.0.0.1:1"}
ENVIRONMENT = {"HTTPS_PROXY": "proxy"}
OPTIONS = {
    "identity_timeout": 5,
    "permission_timeout": 7,
    "split": True,
    "instance_id": "i-1",
    "admin_role_name": "admin",
    "admin_user_name": "ops",
    "credentials_profile": "agent",
    "key_store_directory": "keys",
    "key_store_prefix": "/keys/",
    "region": "eu-1",
}
CREDENTIALS = {"access_key": None, "secret_key": None, "session_token": None, "profile": "caller"}
STORING = {
    "name": NAME,
    "region": "eu-1",
    "parameters": [{"name": NAME, "value": '{"agent":{}}', "tier": None}],
    "can_be_split": False,
}
ENDPOINTS = [
    {"service": each, "region": "eu-1", "url": f"https://{each}.eu-1.amazonaws.com", "signing_region": "eu-1"}
    for each in ("ssm", "sts")
]
COMMON = {**TRANSPORT, "environment": ENVIRONMENT, "endpoints": ENDPOINTS}


class Action:
    """An action whose host answers, or not."""

    def __init__(
        self, error: Exception | None = None, *, key: SavedKey | None = None, answer: dict[str, Any] | None = None
    ) -> None:
        self.error, self.key, self.answer = error, key, answer or {"changed": True}
        self._task = SimpleNamespace(check_mode=False)
        self.sent: list[tuple[str, bool, dict[str, Any]]] = []

    def send(self, module: str, arguments: dict[str, Any], _task_vars: dict[str, Any]) -> dict[str, Any]:
        if self.error:
            raise self.error
        self.sent.append((module.rpartition(".")[2], self._task.check_mode, arguments))
        return self.answer

    def key_for_host(
        self, source: KeySource, _task_vars: dict[str, Any], *, can_miss: bool, **aws: Any
    ) -> SavedKey | None:
        assert source == KeySource("ops", "file", "keys", "/keys/", "agent", "eu-1")
        assert aws == CREDENTIALS
        self.can_miss = self._task.check_mode and can_miss
        return self.key


def host(
    kind: type[Instance | OnPremises], action: Any, environment: dict[str, str] = ENVIRONMENT, **options: Any
) -> Any:
    given = store_options(**{**OPTIONS, **options})
    return kind(action, {}, given, Access(environment, TRANSPORT, CREDENTIALS))


CONTENT = {"content": "eyI6MX3D", "encoding": "base64"}


@pytest.mark.parametrize(
    ("method", "arguments", "module", "answer", "found"),
    [
        ("ping", [], "ping", {"ping": "pong"}, {"ping": "pong"}),
        ("has_file", ["/a"], "stat", {"stat": {"exists": True}}, True),
        ("has_file", ["/a"], "stat", {"stat": {"exists": False}}, False),
        ("read_file", ["/a"], "slurp", CONTENT, '{":1}\N{REPLACEMENT CHARACTER}'),
        ("has_file", ["/a"], "stat", {"stat": {}}, False),
        ("has_file", ["/a"], "stat", {}, False),
        ("read_file", ["/a"], "slurp", {"failed": True, "msg": "file not found"}, ""),
        ("read_file", ["/a"], "slurp", {"content": "not base64: x"}, ""),
        ("read_file", ["/a"], "slurp", {"content": "\u00e9"}, ""),
        ("probe", [["eu-1"]], "cwagent_store_host", {"identity": {}}, {"identity": {}}),
    ],
)
def test_a_host_is_asked_before_anything_is_changed(
    method: str, arguments: list[Any], module: str, answer: dict[str, Any], found: Any
) -> None:
    action = Action(answer=answer)
    assert getattr(host(Instance, action), method)(*arguments) == found
    assert [each[0] for each in action.sent] == [module]


def test_a_file_that_cannot_be_looked_for_is_an_error() -> None:
    with pytest.raises(CwagentError, match="sudo"):
        host(Instance, Action(answer={"failed": True, "msg": "sudo"})).has_file("/a")


@pytest.mark.parametrize(
    ("options", "can_miss"),
    [({}, False), ({"state": "compared"}, True), ({"planned": [{"users": [{"name": "ops"}]}]}, True)],
)
def test_the_saved_key_is_read_and_not_sent_before_anything_is_opened(options: dict[str, Any], can_miss: bool) -> None:
    action = Action(key=SavedKey("AKIA", "hidden", None, None))
    host(OnPremises, action, **options).probe(["eu-1"])
    assert action.sent == [("cwagent_store_host", False, {"parameter_store_regions": ["eu-1"], **COMMON})]
    assert action.can_miss is can_miss, "a task of the same run creates it"
    assert action._task.check_mode is False


@pytest.mark.parametrize(("profile", "asked"), [("server", "server"), (None, "none")])
def test_an_instance_is_asked_for_its_identity(profile: str | None, asked: str) -> None:
    action = Action()
    host(Instance, action).identity(profile, None, fail_on_refused_role=True)
    waits = {"wait_timeout": 5, "fail_on_refused_role": True, **COMMON, "endpoints": []}
    assert action.sent == [("cwagent_store_host", False, {"instance_profile": asked, **waits})]


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_instance_stores_with_its_own_credentials(check_mode: bool) -> None:
    """In check mode, it only reads the stored configurations, and uses its own role."""
    action = Action()
    made = host(Instance, action)
    (made.compare if check_mode else made.store)(CONFIGURATION)
    [(module, in_check_mode, arguments)] = action.sent
    assert (module, in_check_mode) == ("cwagent_store_host", check_mode)
    if check_mode:
        assert arguments == {**COMMON, "config": STORING, "wait_timeout": 0}
    else:
        known = {**STORING, "known": KNOWN}
        assert arguments == {**COMMON, "config": known, "instance_role": "admin", "wait_timeout": 7}
    assert action._task.check_mode is False


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        (SavedKey("AKIA", "hidden", None, None), {"access_key": "AKIA", "secret_key": "hidden"}),
        (None, {"access_key": "", "secret_key": ""}),
    ],
)
def test_a_host_on_premises_gets_the_saved_key(key: SavedKey | None, sent: dict[str, str]) -> None:
    action = Action(key=key)
    host(OnPremises, action).store(CONFIGURATION)
    [(_module, _check_mode, arguments)] = action.sent
    assert arguments == {**COMMON, "config": {**STORING, "known": KNOWN}, "wait_timeout": 7, **sent}


@pytest.mark.parametrize("method", ["probe", "store"])
def test_a_key_in_a_file_of_the_host_is_the_only_one_that_it_uses(method: str) -> None:
    """It is checked before anything is opened."""
    action = Action()
    made = host(OnPremises, action, credentials_file="/root/.aws/credentials")
    getattr(made, method)(["eu-1"] if method == "probe" else CONFIGURATION)
    [(_module, _check_mode, arguments)] = action.sent
    file = {"credentials_file": "/root/.aws/credentials", "credentials_profile": "agent"}
    assert {name: arguments[name] for name in arguments if "credentials" in name or "key" in name} == file


def test_a_host_that_does_not_answer_is_unreachable() -> None:
    action = Action(AnsibleConnectionFailure("no route"))
    with pytest.raises(HostUnreachable, match="no route"):
        host(Instance, action).compare(CONFIGURATION)
    assert action._task.check_mode is False


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (AnsibleError("Incorrect sudo password"), "Incorrect sudo password"),
        (InvalidInput("sudo requires a terminal"), "sudo requires a terminal"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (EOFError(), ""),
    ],
)
def test_other_failures_on_the_way_to_a_host_are_results(error: Exception, message: str) -> None:
    """So the run continues as after a module that failed: it releases the instance and removes its restore tag."""
    assert host(Instance, Action(error)).identity("server", None) == {"failed": True, "msg": message}


@pytest.mark.parametrize("way", WAYS)
def test_only_an_admin_user_stores_with_an_access_key(way: str) -> None:
    action: Any = Action()
    found = host_of(action, {}, store_options(**{"from": way}), Access({}, {}, {}))
    assert type(found) is (OnPremises if way == "onprem" else Instance)
