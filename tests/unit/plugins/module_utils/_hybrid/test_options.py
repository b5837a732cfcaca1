from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.options import SPEC, desired_node, nodes_resource
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.plan import Desired

PARAMS = {name: option["default"] for name, option in SPEC.items()}


def desired(**options: Any) -> Desired:
    return desired_node({**PARAMS, **options}, "eu-1", "db.example", "run-1")


def test_defaults() -> None:
    assert desired() == Desired("registered", "eu-1", "CloudWatchAgentHybridRole", "db.example", "db.example", "run-1")


def test_options_are_used() -> None:
    planned = [{"changed": True, "role": {"name": "mine"}}]
    found = desired(
        state="deregistered", role="/path/mine", instance_name="Größe 1", tags={"on": True}, planned=planned
    )
    assert found == Desired(
        "deregistered", "eu-1", "path/mine", "Größe 1", "db.example", "run-1", {"on": "true"}, role_is_new=True
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"instance_name": "a;b"}, "instance_name: 'a;b' is not a valid name"),
        ({"instance_name": "a" * 257}, "at most 256"),
        ({"role": "a b"}, "not a valid role name"),
        ({"tags": {"cwagent:run": "x"}}, "reserves keys"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        desired(**options)


NODES = {"activations": True, "role": "", "planned": [], "finished_hosts": []}


@pytest.mark.parametrize("names", ["db", None, {"db": 1}, ["db", ""], ["db", None], [5]])
def test_an_empty_name_would_be_that_of_every_node_without_one(names: Any) -> None:
    with pytest.raises(InvalidInput, match="each region needs a list of names, and a name cannot be empty"):
        nodes_resource(
            {"nodes": names, **NODES},
            Aws(lambda *_: None),
            None,
            check_mode=False,
        )


@pytest.mark.parametrize("names", [[], ["db", "mi-1", "db"], ["a name; that no node can have"]])
def test_any_other_name_is_accepted(names: list[str]) -> None:
    nodes_resource({"nodes": names, **NODES}, Aws(lambda *_: None), None, check_mode=False)
