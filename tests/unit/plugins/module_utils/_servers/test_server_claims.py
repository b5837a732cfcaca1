"""Whatever a server reports about its node, AWS decides which node that is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hybrid_world import (
    HOST,
    OFFLINE,
    REGION,
    ROLE,
    RUNS,
    STATES,
    World,
    activation_id,
    before,
    is_usable,
    node_id,
    transaction,
)
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import CREATED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._servers import hybrid_plan
from ansible_collections.cwagent.iam.plugins.module_utils._servers.commands import ONLINE
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import HOST_TAG, RUN_TAG, Node, Unfinished

pytestmark = pytest.mark.usefixtures("no_pauses")


VICTIM, VICTIMS_RUN = Node(node_id(9), ROLE, "web", ONLINE, {}, activation_id(9)), RUNS[4]


def with_victim(world: World) -> World:
    """A world with the online node of another host, and one that an interrupted run left for that host."""
    tags = {MARK_TAG: CREATED, HOST_TAG: "web", RUN_TAG: VICTIMS_RUN}
    left = Node(node_id(8), ROLE, "web", OFFLINE, tags, activation_id(8))
    world.nodes |= {VICTIM.id: replace(VICTIM, tags=tags), left.id: left}
    return world


def victims(world: World) -> dict[str, Node]:
    return {each.id: each for each in world.nodes.values() if each.host == "web"}


NODE_IDS = st.sampled_from([node_id(number) for number in (1, 2, 7, 8, 9)])
ACTIVATION_IDS = st.sampled_from(["", *(activation_id(number) for number in (1, 8, 9))])
ANSWERS = st.fixed_dictionaries(
    {
        "ssm_agent": st.sampled_from(["", "/usr/bin/amazon-ssm-agent"]),
        "installation": st.just("Do this."),
        "problem": st.just(""),
        "marked": st.booleans(),
        "registration": st.none()
        | st.fixed_dictionaries({"instance_id": NODE_IDS, "region": st.sampled_from([REGION, "us-east-1"])}),
        "unfinished": st.none()
        | st.fixed_dictionaries(
            {
                "instance_id": st.just("") | NODE_IDS,
                "activation_id": ACTIVATION_IDS,
                "run_id": st.sampled_from(["", *RUNS]),
            }
        ),
        "done": st.just([]),
    }
)


@given(st.data(), st.sampled_from(STATES), st.booleans())
def test_whatever_a_server_says_no_step_concerns_the_node_of_another(
    data: st.DataObject, state: str, is_registered: bool
) -> None:
    """Each of its answers is another one, in every run, and it may register what it wants with its activation."""
    world = with_victim(before("deregistered" if is_registered else "registered"))
    before_runs, honest = victims(world), World.result
    lies = data.draw(st.sets(st.integers(0, 5)))
    answers = count()

    def answer(*done: str) -> dict[str, Any]:
        said = data.draw(ANSWERS) if next(answers) in lies else honest(world, *done)
        return {**said, "done": [*done]}

    world.result = answer
    for run, wanted in enumerate([state, "registered", "deregistered"], start=1):
        with suppress(CwagentError):
            found = transaction(world, wanted, run).run()["node"]
            assert wanted != "registered" or found["id"] not in before_runs
        assert victims(world) == before_runs
        assert [each for each in world.found.values() if is_usable(each)] == []


@pytest.mark.parametrize("state", STATES)
def test_a_server_that_names_the_node_of_another_fails_with_both(state: str) -> None:
    """So does a copy of another server, which does it without malice."""
    world = with_victim(before("deregistered"))
    world.host = replace(world.host, registration=hybrid_plan.Registration(VICTIM.id, REGION))
    for act in ("predict", "run"):
        with pytest.raises(
            InvalidInput, match=rf"{HOST} is registered as node {VICTIM.id}.* has node {node_id(1)} with"
        ):
            getattr(transaction(world, state), act)()
    assert (world.writes, len(world.nodes)) == ([], 3)


@pytest.mark.parametrize("is_shown", [False, True])
def test_a_server_that_registers_as_another_fails_with_both(is_shown: bool) -> None:
    """The node of the activation is its node, even if AWS shows it late."""
    world = with_victim(World())
    shown, honest = count(), world.nodes_of

    def save(_number: int, action: str, effect: bool) -> None:
        if action == "host:start" and not effect:
            world.host = replace(world.host, registration=hybrid_plan.Registration(VICTIM.id, REGION))

    world.fault = save
    world.nodes_of = lambda activation_id: honest(activation_id) if is_shown or next(shown) else []
    words = rf"{HOST} reports node {VICTIM.id}, but it was registered as node {node_id(1)}, which stays"
    with pytest.raises(CwagentError, match=words):
        transaction(world, "registered").run()
    assert (world.found, node_id(1) in world.nodes, len(victims(world))) == ({}, True, 2)


def test_a_server_whose_node_appears_only_after_a_restart_is_checked_then() -> None:
    """Its record looks like the record of an interrupted run, and AWS shows the node late."""
    world = with_victim(World())
    world.host = replace(
        world.host,
        registration=hybrid_plan.Registration(VICTIM.id, REGION),
        unfinished=Unfinished("", VICTIM.activation_id, VICTIMS_RUN),
        is_marked=True,
    )
    read, honest = count(), world.node
    world.node = lambda node_id: honest(node_id) if next(read) else None
    with pytest.raises(InvalidInput, match=rf"{HOST} is registered as node {VICTIM.id}.*cwagent:host=web"):
        transaction(world, "registered").run()
    assert len(victims(world)) == 2


def test_a_renamed_server_keeps_its_node() -> None:
    world = before("deregistered")
    node = node_id(1)
    world.nodes[node] = replace(world.nodes[node], tags={**world.nodes[node].tags, HOST_TAG: "old"})
    with pytest.raises(InvalidInput, match=f"set node_id .* to {node}"):
        transaction(world, "registered").run()
    planned = transaction(world, "registered", node=node).predict()
    assert world.writes == []
    done = transaction(world, "registered", node=node).run()
    assert done == planned
    assert done["steps"] == [f"set tag cwagent:host of node {node} to {HOST}"]
    assert transaction(world, "registered", node=node).run()["steps"] == []
    assert transaction(world, "registered").run()["steps"] == []
    assert transaction(world, "deregistered").run()["changed"]
    assert world.nodes == {}
