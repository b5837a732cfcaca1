from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError


class FailingModule:
    """Keeps the result that it fails with."""

    def fail_json(self, **result: Any) -> None:
        self.result = result


@pytest.mark.parametrize(
    ("details", "result"),
    [
        ({}, {"changed": False, "steps": []}),
        ({"changed": True, "steps": ["a"], "done": ["a"]}, {"changed": True, "steps": ["a"], "done": ["a"]}),
        ({"counts": {"create": 1}}, {"changed": False, "steps": [], "counts": {"create": 1}}),
        ({"warnings": ["Look."]}, {"changed": False, "steps": []}),
    ],
    ids=["no details", "steps", "counts", "warnings"],
)
def test_a_failed_module_returns_the_details_of_the_error(details, result, monkeypatch):
    warnings: list[str] = []
    monkeypatch.setattr(_module, "warn", warnings.append)
    module: Any = FailingModule()
    with _module.fail_on_error(module):
        raise CwagentError("No.", **details)
    assert module.result == {"msg": "No.", **result}
    assert warnings == details.get("warnings", [])


def test_other_exceptions_are_not_caught():
    module: Any = FailingModule()
    with pytest.raises(ValueError, match=r"^A bug\.$"), _module.fail_on_error(module):
        raise ValueError("A bug.")
    assert not hasattr(module, "result")


@pytest.mark.parametrize(
    ("arguments", "split"),
    [
        ({"name": "a,b"}, {"name": "a,b"}),
        ({"names": "a, b"}, {"names": "a, b"}),
        ({"name": "a"}, {}),
        ({"name": ["a,b"]}, {}),
        ({"name": None}, {}),
        ({"path": "a,b", "name": []}, {}),
    ],
)
def test_text_that_ansible_would_split_is_known(arguments, split, monkeypatch):
    module = object.__new__(_module._StrictListModule)
    module.argument_spec = {"name": {"type": "list", "aliases": ["names"]}, "path": {"type": "str"}}
    monkeypatch.setattr(_module.AnsibleModule, "_load_params", lambda self: setattr(self, "params", arguments))
    module._load_params()
    assert module.split_options == split
