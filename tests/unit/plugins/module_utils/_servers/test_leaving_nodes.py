"""The nodes of servers that leave are deregistered, and activations that are left are deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aws_model import Model, require
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers.leaving_nodes import (
    Leaving,
    State,
    check_certain,
    find_left,
    plan,
    select,
    to_diff,
    to_result,
    unseen_steps,
    warnings,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import HOST_TAG, Activation, Node

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# AWS accepts only IDs of this length.
N1, N2, N3, N4 = (f"mi-{number:017}" for number in range(1, 5))
A1, A2, A3 = (f"12345678-1234-1234-1234-{number:012}" for number in range(1, 4))
WEB, DB, SECOND_DB = Node(N1, "hybrid", "web"), Node(N2, "hybrid", "db"), Node(N3, "hybrid", "db")
UNNAMED = Node(N4, "hybrid")
NODES = [SECOND_DB, WEB, UNNAMED, DB]
USED = Activation(A1, "db", "run-0", NOW, is_used=True)
EXPIRED = Activation(A2, "web", "run-0", NOW, is_expired=True)
USABLE = Activation(A3, "db", "run-0", NOW)
ACTIVATIONS = [USED, EXPIRED, USABLE]


class Ssm(Model):
    """The nodes and activations of a region. A call for one that does not exist is refused."""

    def __init__(self, state: State) -> None:
        self.state = state

    def deregister_managed_instance(self, instance_id: str) -> None:
        left = tuple(each for each in self.state.nodes if each.id != instance_id)
        require(left != self.state.nodes, "InvalidInstanceId")
        self.state = replace(self.state, nodes=left)

    def delete_activation(self, activation_id: str) -> None:
        left = tuple(each for each in self.state.activations if each.id != activation_id)
        require(left != self.state.activations, "InvalidActivation")
        self.state = replace(self.state, activations=left)


RENAMED = replace(DB, tags={HOST_TAG: "new"})


@pytest.mark.parametrize(
    ("leaving", "found"),
    [
        (Leaving(frozenset({"db"})), [DB, SECOND_DB]),
        (Leaving(frozenset({"web", "db"})), [DB, SECOND_DB, WEB]),
        (Leaving(frozenset({N3})), [SECOND_DB]),
        (Leaving(frozenset({N4, "web"})), [UNNAMED, WEB]),
        (Leaving(frozenset({"other", "d", "mi-"})), []),
        (Leaving(), []),
        (Leaving(frozenset({"db", N4}), kept=frozenset({N2, N4})), [SECOND_DB]),
    ],
)
def test_nodes_are_found_by_name_or_id(leaving: Leaving, found: list[Node]) -> None:
    assert select(NODES, leaving) == found


@pytest.mark.parametrize(("name", "is_found"), [("new", True), (N2, True), ("db", False)])
def test_the_host_of_a_node_counts_and_not_its_name(name: str, is_found: bool) -> None:
    assert select([RENAMED], Leaving(frozenset({name}))) == ([RENAMED] if is_found else [])


def test_every_node_and_activation_is_an_item_of_its_own() -> None:
    found = plan(State((DB, SECOND_DB, UNNAMED), (WEB,), (USED, EXPIRED, USABLE)))
    assert {item: [step.summary for step in steps] for item, steps in found.steps.items()} == {
        N2: [f"deregister node {N2} of db"],
        N3: [f"deregister node {N3} of db"],
        N4: [f"deregister node {N4}"],
        A1: [f"delete activation {A1}, which was used"],
        A2: [f"delete activation {A2}, which has expired"],
    }
    assert found.counts == {"create": 0, "update": 0, "delete": 5}
    assert [(step.action, step.arguments) for step in found.all_steps][2:4] == [
        ("ssm:DeregisterManagedInstance", {"instance_id": N4}),
        ("ssm:DeleteActivation", {"activation_id": A1}),
    ]


ONLINE_DB = replace(DB, ping="Online")


@pytest.mark.parametrize(
    ("nodes", "leaving", "doubtful"),
    [
        ((DB,), {"db"}, []),
        ((ONLINE_DB,), {"db"}, [N2]),
        ((ONLINE_DB,), {N2}, []),
        ((DB, SECOND_DB), {"db"}, [N2, N3]),
        ((DB, SECOND_DB), {"db", N2}, []),
        ((DB, SECOND_DB), {N2, N3}, []),
        ((RENAMED, SECOND_DB), {"db", "new"}, []),
    ],
)
def test_a_node_that_may_belong_to_a_server_that_stays_must_be_given_by_its_id(
    nodes: tuple[Node, ...], leaving: set[str], doubtful: list[str]
) -> None:
    assert refused(State(nodes), Leaving(frozenset(leaving))) == doubtful


@pytest.mark.parametrize(
    ("leaving", "left"),
    [
        (Leaving(frozenset({"db"}), frozenset({"db"})), [N2]),
        (Leaving(frozenset({"db"}), frozenset({"web"})), []),
        (Leaving(frozenset({"db", N2}), frozenset({"db"})), []),
        (Leaving(frozenset({"db"}), deregisters=False), [N2]),
        (Leaving(frozenset({N2}), deregisters=False), [N2]),
    ],
)
def test_a_server_that_was_reached_has_no_node_any_more(leaving: Leaving, left: list[str]) -> None:
    """Even if its node is off, because another server can have the name."""
    state = State((DB,))
    assert [each.id for each in find_left(state, leaving)] == left
    assert refused(state, leaving) == left


def refused(state: State, leaving: Leaving) -> list[str]:
    """The nodes in the message of the refusal."""
    message = ""
    try:
        check_certain(state, leaving)
    except InvalidInput as error:
        message = str(error)
    assert ("add its ID to keep_nodes (cwagent_keep_nodes in the playbooks)" in message) == bool(message)
    assert ("to deregister themselves" in message) == bool(find_left(state, leaving))
    return [each for each in (N1, N2, N3, N4) if each in message]


def test_something_that_is_already_gone_is_done() -> None:
    """AWS answers so if the answer of an earlier try was lost, too."""
    found = plan(State((DB,), (), (USED,)))
    assert [step.done_when for step in found.all_steps] == [
        {"InvalidInstanceId"},
        {"InvalidActivation", "InvalidActivationId"},
    ]


@st.composite
def states(draw: st.DrawFn) -> State:
    """Nodes of this collection and of others, and activations."""
    found = draw(st.permutations(NODES))
    ours = draw(st.frozensets(st.sampled_from([each.id for each in NODES])))
    return State(
        tuple(each for each in found if each.id in ours),
        tuple(each for each in found if each.id not in ours),
        tuple(draw(st.lists(st.sampled_from(ACTIVATIONS), unique=True))),
    )


@given(states())
def test_applying_a_plan_leads_to_the_planned_state(state: State) -> None:
    found, ssm = plan(state), Ssm(state)
    ssm.take_all(found.all_steps)
    assert ssm.state == found.planned
    assert not plan(ssm.state).has_changes
    assert found.planned == State((), state.others, tuple(each for each in state.activations if each == USABLE))
    touched = {value for step in found.all_steps for value in step.arguments.values()}
    assert touched.isdisjoint({USABLE.id, *(each.id for each in state.others)})


@given(states(), st.data())
def test_the_steps_that_aws_does_not_show_yet_are_those_that_were_not_taken(state: State, data: st.DataObject) -> None:
    found, ssm = plan(state), Ssm(state)
    steps = found.all_steps
    taken = data.draw(st.frozensets(st.sampled_from(range(len(steps)))) if steps else st.just(frozenset()))
    ssm.take_all(steps[index] for index in sorted(taken))
    assert unseen_steps(found, ssm.state) == [step.summary for index, step in enumerate(steps) if index not in taken]


def test_an_activation_that_expires_during_the_run_is_left_to_the_next_one() -> None:
    found = plan(State((DB,), (), (USABLE,)))
    assert unseen_steps(found, State((), (), (replace(USABLE, is_expired=True),))) == []


def test_a_node_of_others_is_named_with_the_command() -> None:
    reason = "stays registered, because it was not created by this collection. If nothing needs it, deregister it"
    command = "aws ssm deregister-managed-instance --instance-id"
    assert warnings(State((DB,), (WEB, UNNAMED)), "eu-1") == [
        f"node {N1} of web {reason}: {command} {N1} --region eu-1",
        f"node {N4} {reason}: {command} {N4} --region eu-1",
    ]


def test_nodes_that_may_not_be_read_are_unknown() -> None:
    [warning] = warnings(State(unread="Access denied."), "eu-1")
    assert "still registered with Systems Manager in eu-1: Access denied. Allow it as provision-hybrid.json" in warning


def test_nodes_and_activations_are_shown() -> None:
    state = State((DB, WEB), (UNNAMED,), (USABLE, USED))
    assert to_diff(state) == {"nodes": {N2: "db", N1: "web"}, "activations": [A1, A3]}
    assert to_result(state, "eu-1") == {
        "nodes": [
            {"id": N2, "name": "db", "region": "eu-1"},
            {"id": N1, "name": "web", "region": "eu-1"},
        ],
        "in_use": [],
    }
