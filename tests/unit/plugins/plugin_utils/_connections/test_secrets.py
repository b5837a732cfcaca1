from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible import constants
from ansible.errors import AnsibleConnectionFailure, AnsibleLookupError

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import KeySource
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections import secrets
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.secrets import KeyDelivery, check_aws_options

STORED = {"key_store": "parameter_store", "key_store_directory": "/keys", "key_store_prefix": "/p/"}
SOURCE = KeySource(**STORED, user="agent", credentials_profile="P", region=None)
PASSWORD_PROMPT = "sudo: sorry, you must have a tty to run sudo"


class Connection(SimpleNamespace):
    """A connection as ssh is, with pipelining."""

    def __init__(self, **more):
        self.become, self.has_pipelining, self.transport, self.is_on = None, True, "ssh", True
        self.always_pipeline_modules = self.has_native_async = False
        super().__init__(**more)

    def get_option(self, name):
        return {"pipelining": self.is_on}[name]

    def is_pipelining_enabled(self, wrap_async=False):
        return self.is_on and not wrap_async


class Delivery(KeyDelivery):
    """An action whose module returns the answers of a test."""

    def __init__(self, connection=None, answer=None):
        super().__init__(SimpleNamespace(args={}, async_val=0), connection or Connection(), None, None, None, None)
        self.answer = answer
        self.sent = []

    def run(self, tmp=None, task_vars=None):
        raise NotImplementedError

    def _execute_module(self, **call):
        self.sent.append(call)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def become(name, **more):
    return SimpleNamespace(name=name, **more)


@pytest.mark.parametrize(
    "connection",
    [
        Connection(),
        Connection(become=become("sudo", pipelining=True)),
        Connection(become=become("sudo")),  # before ansible-core 2.19
    ],
)
def test_a_connection_with_pipelining_is_accepted(connection):
    Delivery(connection).check_connection()


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (Connection(has_pipelining=False, transport="telnet"), "the connection telnet cannot work with pipelining"),
        (Connection(become=become("runas", pipelining=False)), "the become method runas cannot work with pipelining"),
        (Connection(become=become("su")), "the become method su cannot work with pipelining"),
        (Connection(is_on=False), "pipelining is off"),
    ],
)
def test_a_connection_without_pipelining_is_refused(connection, words):
    with pytest.raises(InvalidInput, match=words):
        Delivery(connection).check_connection()


@pytest.mark.parametrize(
    ("setting", "variable"),
    [("DEFAULT_KEEP_REMOTE_FILES", "ANSIBLE_KEEP_REMOTE_FILES"), ("DEFAULT_DEBUG", "ANSIBLE_DEBUG")],
)
def test_settings_that_would_write_the_key_are_refused(monkeypatch, setting, variable):
    monkeypatch.setattr(constants, setting, True)
    with pytest.raises(InvalidInput, match=rf"The access key was not sent.*Unset {variable}"):
        Delivery().check_connection()


@pytest.mark.parametrize(("can_miss", "on_missing"), [(True, "skip"), (False, "error")])
def test_the_key_is_read_from_its_source(monkeypatch, can_miss, on_missing):
    asked = []

    def run(terms, variables, **options):
        asked.append((terms, variables, options))
        return ["text"]

    lookups = SimpleNamespace(get=lambda name, **_: SimpleNamespace(run=run) if name.endswith("credentials") else None)
    monkeypatch.setattr(secrets, "lookup_loader", lookups)
    assert Delivery().read_key(SOURCE, {"a": 1}, can_miss=can_miss, profile="admin") == "text"
    options = {**STORED, "region": None, "credentials_profile": "P", "on_missing": on_missing, "profile": "admin"}
    assert asked == [(["agent"], {"a": 1}, options)]


def test_a_key_that_cannot_be_read_is_an_error(monkeypatch):
    def run(*_, **__):
        raise AnsibleLookupError("There is no access key.")

    monkeypatch.setattr(secrets, "lookup_loader", SimpleNamespace(get=lambda *_, **__: SimpleNamespace(run=run)))
    with pytest.raises(InvalidInput, match="There is no access key"):
        Delivery().read_key(SOURCE, {}, can_miss=False)


def test_the_result_of_the_module_is_returned():
    delivery = Delivery(answer={"changed": True})
    assert delivery.send("ping", {"a": 1}, {"b": 2}) == {"changed": True}
    assert delivery.sent == [{"module_name": "ping", "module_args": {"a": 1}, "task_vars": {"b": 2}}]


@pytest.mark.parametrize(
    "answer",
    [AnsibleConnectionFailure(PASSWORD_PROMPT), {"module_stderr": PASSWORD_PROMPT}, {"module_stdout": PASSWORD_PROMPT}],
)
def test_sudo_that_requires_a_terminal_is_explained(answer):
    with pytest.raises(InvalidInput, match=r"requires a terminal.*requiretty"):
        Delivery(answer=answer).send("module", {}, {})


def test_output_that_can_repeat_the_secret_is_left_out():
    answer = {"failed": True, "msg": "No result.", "module_stdout": "sh: near 'secret'", "module_stderr": "secret"}
    assert Delivery(answer=answer).send("ping", {}, {}) == {"failed": True, "msg": "No result."}


def test_another_failure_of_the_connection_stays_ansibles_error():
    with pytest.raises(AnsibleConnectionFailure, match="reset"):
        Delivery(answer=AnsibleConnectionFailure("reset by peer")).send("module", {}, {})


SAVED = "[P]\naws_access_key_id = AKIATEST\naws_secret_access_key = hidden\n"


@pytest.mark.parametrize(
    ("check_mode", "can_miss", "text", "key_id"),
    [(False, True, SAVED, "AKIATEST"), (True, True, "", None), (True, False, SAVED, "AKIATEST")],
)
def test_a_key_for_a_host_can_miss_only_in_check_mode(monkeypatch, check_mode, can_miss, text, key_id):
    asked: list[Any] = []

    def read_key(source, _task_vars, *, can_miss, **aws):
        asked.append((source.user, can_miss, aws))
        return text

    delivery = Delivery()
    delivery._task.check_mode = check_mode
    delivery._connection.set_option = lambda name, value: asked.append((name, value))
    monkeypatch.setattr(delivery, "read_key", read_key)
    found = delivery.key_for_host(SOURCE, {}, can_miss=can_miss, profile="caller")
    assert (found and found.key_id) == key_id
    assert asked == [("pipelining", True), ("agent", check_mode and can_miss, {"profile": "caller"})]


def test_no_key_is_read_where_it_could_not_be_sent(monkeypatch):
    delivery = Delivery(Connection(is_on=False, set_option=lambda *_: None))
    monkeypatch.setattr(delivery, "read_key", lambda *_, **__: pytest.fail("the key was read"))
    with pytest.raises(InvalidInput, match="pipelining is off"):
        delivery.key_for_host(SOURCE, {})


OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("_terms", "on_missing", "region", "key_store", "key_store_directory", "endpoint_url")},
    "profile": {"aliases": ["aws_profile"]},
    "access_key": {"aliases": None},
}


@pytest.mark.parametrize("given", [(), ("profile",), ("aws_profile", "endpoint_url"), ("access_key",)])
def test_options_that_select_credentials_are_accepted(given: tuple[str, ...]) -> None:
    check_aws_options(given, OPTIONS)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (("region",), "region"),
        (("profile", "key_store", "_terms"), "_terms, key_store"),
        (("on_missing",), "on_missing"),
        (("profil",), "profil"),
    ],
)
def test_options_of_the_task_and_unknown_ones_are_refused(given: tuple[str, ...], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"^aws_options cannot contain {wrong}\\. "):
        check_aws_options(given, OPTIONS)
