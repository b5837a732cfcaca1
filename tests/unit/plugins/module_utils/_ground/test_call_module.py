from __future__ import annotations

import os
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground import call, environment


@pytest.mark.parametrize(
    ("arguments", "split"),
    [
        ({"name": "a,b"}, {"name": "a,b"}),
        ({"name": "a"}, {}),
        ({"name": ["a,b"]}, {}),
        ({"name": None}, {}),
        ({"path": "a,b", "name": []}, {}),
    ],
)
def test_text_that_ansible_would_split_is_known(arguments, split, monkeypatch):
    module = object.__new__(call._Module)
    module.argument_spec = {"name": {"type": "list"}, "path": {"type": "str"}}
    monkeypatch.setattr(environment.AnsibleModule, "_load_params", lambda self: setattr(self, "params", arguments))
    module._load_params()
    assert module.split_options == split


@pytest.fixture
def load(monkeypatch):
    """Loads the option ``environment`` into the environment of this process, which is restored."""
    before = dict(os.environ)

    def load_params(given: Any) -> Any:
        module = object.__new__(environment.EnvironmentModule)
        module.argument_spec, module.no_log_values = dict(environment.ENVIRONMENT_SPEC), set()
        params = {"environment": given, "other": 1}
        monkeypatch.setattr(environment.AnsibleModule, "_load_params", lambda self: setattr(self, "params", params))
        module._load_params()
        assert module.params == {"other": 1}  # a missing value cannot be logged
        return module

    yield load_params
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.mark.parametrize(
    ("given", "variables", "hidden"),
    [
        (None, {}, set()),
        ({}, {}, set()),
        ("AWS_REGION=x", {"AWS_REGION": "x"}, set()),
        ({"A": None, "B": 1, "C": True}, {"A": "", "B": "1", "C": "True"}, set()),
        (
            {"HTTPS_PROXY": "http://user:pass@proxy:3128"},
            {"HTTPS_PROXY": "http://user:pass@proxy:3128"},
            {"user:pass", "pass"},
        ),
        (
            {"P": "http://user:a/b@proxy"},
            {"P": "http://user:a/b@proxy"},
            {"user:a/b", "a/b", "user:a", "a", "b"},
        ),
        ({"P": "http://token@proxy/a@b"}, {"P": "http://token@proxy/a@b"}, {"token"}),
        (
            {"AWS_SECRET_ACCESS_KEY": "s", "aws_session_token": "t", "DB_PASSWORD": "p", "API_KEY": "k", "X_TOKEN": ""},
            {"AWS_SECRET_ACCESS_KEY": "s", "aws_session_token": "t", "DB_PASSWORD": "p", "API_KEY": "k", "X_TOKEN": ""},
            {"s", "t", "p", "k"},
        ),
        ({"AWS_PROFILE": "p", "AWS_ACCESS_KEY_ID": "i"}, {"AWS_PROFILE": "p", "AWS_ACCESS_KEY_ID": "i"}, set()),
    ],
)
def test_the_environment_is_set_and_not_kept(given, variables, hidden, load):
    module = load(given)
    assert module.has_valid_environment
    assert {name: os.environ.get(name) for name in variables} == variables
    assert module.no_log_values == hidden


@pytest.mark.parametrize("given", ["text", 1, ["A=b"]])
def test_an_environment_that_is_not_a_mapping_is_an_error(given, load):
    assert not load(given).has_valid_environment
