from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid import (
    NODES_SPEC,
    SPEC,
    desired_node,
    nodes_resource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid_plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._servers.leaving_nodes import Leaving

PARAMS = {name: option["default"] for name, option in SPEC.items()}


def desired(**options: Any) -> Desired:
    return desired_node({**PARAMS, **options}, "eu-1", "db.example", "run-1")


def test_defaults() -> None:
    assert desired() == Desired("registered", "eu-1", "CloudWatchAgentHybridRole", "db.example", "db.example", "run-1")


def test_options_are_used() -> None:
    planned = [{"changed": True, "role": {"name": "mine"}}]
    node_id = "mi-0123456789abcdef0"
    found = desired(
        node_id=node_id,
        state="deregistered",
        role="/path/mine",
        instance_name="Größe 1",
        tags={"on": True},
        planned=planned,
    )
    assert found == Desired(
        "deregistered",
        "eu-1",
        "path/mine",
        "Größe 1",
        "db.example",
        "run-1",
        {"on": "true"},
        role_is_new=True,
        node_id=node_id,
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"instance_name": "a;b"}, "instance_name: 'a;b' is not a valid name"),
        ({"instance_name": "a" * 257}, "at most 256"),
        ({"role": "a b"}, "not a valid role name"),
        ({"tags": {"cwagent:run": "x"}}, "reserves keys"),
        ({"node_id": "mi-1"}, "node_id: 'mi-1' is not a valid node ID"),
        ({"node_id": "i-0123456789abcdef0"}, "must be mi- and 17 hexadecimal digits"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        desired(**options)


@pytest.mark.parametrize("host", ["db;1", "a" * 257])
def test_a_host_whose_name_cannot_be_a_tag_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"^'.*' cannot be the host of a node: tag 'cwagent:host': AWS allows"):
        desired_node({**PARAMS, "instance_name": "db"}, "eu-1", host, "run-1")


NODES = {name: option.get("default") for name, option in NODES_SPEC.items()}
KEPT = "mi-0123456789abcdef0"


def test_a_node_that_is_kept_is_given_by_its_id() -> None:
    with pytest.raises(InvalidInput, match="keep_nodes: 'db' is not a valid node ID"):
        nodes_resource({"nodes": [], **NODES, "keep_nodes": [KEPT, "db"]}, Aws(lambda *_: None), None, check_mode=False)


PLANNED = {"changed": True, "node": {"id": KEPT, "name": "db"}}


@pytest.mark.parametrize(
    ("given", "check", "expected"),
    [
        ({}, False, (Leaving(frozenset({"db"})), set(), True, 60)),
        ({"wait_timeout": 5}, False, (Leaving(frozenset({"db"})), set(), True, 5)),
        ({"planned": [PLANNED]}, False, (Leaving(frozenset({"db"})), set(), True, 60)),
        ({"planned": [PLANNED]}, True, (Leaving(frozenset({"db"})), {KEPT}, True, 0)),
        (
            {"reached_hosts": ["db"], "keep_nodes": [KEPT], "deregister": False},
            False,
            (Leaving(frozenset({"db"}), frozenset({"db"}), frozenset({KEPT}), deregisters=False), set(), False, 60),
        ),
    ],
)
def test_nodes_that_leave(given: dict[str, Any], check: bool, expected: tuple[Any, ...]) -> None:
    """Only check mode still shows the nodes that hosts would deregister."""
    found: Any = nodes_resource({"nodes": ["db"], **NODES, **given}, Aws(lambda *_: None), None, check_mode=check)
    assert (found._leaving, {*found._planned}, found._with_activations, found._lookup) == expected


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
