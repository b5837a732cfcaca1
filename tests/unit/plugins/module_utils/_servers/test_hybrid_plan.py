"""The steps that bring a host to its desired registration, and the states that are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import UNKNOWN_ROLE, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import CREATED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._servers.commands import ONLINE
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid_plan import (
    Desired,
    State,
    check_host,
    check_node,
    is_left,
    plan,
    to_result,
    warnings,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import (
    HOST_TAG,
    RUN_TAG,
    Activation,
    HostState,
    NewActivation,
    Node,
    Registration,
    Unfinished,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REGION, OTHER_REGION = "eu-central-1", "us-east-1"
M1, M2, M9 = (f"mi-{number:017}" for number in (1, 2, 9))
A1, A2, A3, A9 = (f"12345678-1234-1234-1234-{number:012}" for number in (1, 2, 3, 9))
RUN = "12345678-1234-1234-1234-000000000000"
HOST = "db.example"
HERE, ELSEWHERE = Registration(M1, REGION), Registration(M1, OTHER_REGION)
OURS = Node(M1, "hybrid", "db", ONLINE, {MARK_TAG: CREATED, HOST_TAG: HOST}, A1)
OF_OTHERS = replace(OURS, tags={})
OF_ANOTHER_HOST = replace(OURS, tags={MARK_TAG: CREATED, HOST_TAG: "web"})
REGISTERING, DEREGISTERING = Unfinished("", A1, RUN), Unfinished(M1)
AGENT = "/usr/bin/amazon-ssm-agent"
USED = Activation(A1, "db", RUN, NOW, is_used=True)
EXPIRED = Activation(A2, "web", RUN, NOW, is_expired=True)
USABLE = Activation(A3, "db", RUN, NOW + timedelta(minutes=5))

CREATE = "create an activation of role 'hybrid' for db"
REGISTER = f"register {HOST} with Systems Manager in region {REGION}"
RESTART, DELETE = "restart the SSM agent on db.example", "delete the activation for db"
CLEAR = "clear the registration of db.example and stop the SSM agent"
ALL = [CREATE, REGISTER, RESTART, DELETE]


def desired(state: str = "registered", **more: Any) -> Desired:
    return Desired(state, REGION, "hybrid", "db", HOST, "run-1", **more)


def current(
    registration: Registration | None = None,
    node: Node | None = None,
    unfinished: Unfinished | None = None,
    *,
    is_marked: bool = True,
    **more: Any,
) -> State:
    host = HostState(AGENT, registration=registration, unfinished=unfinished, is_marked=is_marked)
    return State(host, node, read_at=NOW, **more)


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        (current(), ALL),
        (current(HERE, OURS), []),
        (current(HERE, OF_OTHERS), []),
        (current(HERE, OF_ANOTHER_HOST), []),
        (current(HERE, OURS, REGISTERING), [RESTART]),
        (current(HERE, None, REGISTERING), [RESTART]),
        (current(HERE, OURS, DEREGISTERING), [RESTART]),
        (current(HERE, None, DEREGISTERING), [CLEAR, *ALL]),
        (current(None, None, REGISTERING), ALL),
        (
            current(None, None, REGISTERING, left_nodes=(replace(OURS, id=M9, ping="Inactive"),)),
            [f"deregister node {M9}, which an interrupted run left", *ALL],
        ),
        # Something uses it, so the run only warns.
        (current(None, None, REGISTERING, left_nodes=(replace(OURS, id=M9),)), ALL),
        (
            current(activations=(USED, EXPIRED, USABLE)),
            [f"delete activation {A1}, which was used", f"delete activation {A2}, which has expired", *ALL],
        ),
        (current(HERE, OURS, activations=(USED,)), []),
    ],
)
def test_a_host_is_registered(state: State, steps: list[str]) -> None:
    assert plan(state, desired()).summaries == steps


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        (current(), []),
        (current(HERE, OURS), [f"deregister node {M1}", CLEAR]),
        (current(HERE, OF_OTHERS), []),
        (current(HERE, OF_OTHERS, DEREGISTERING), []),
        (current(HERE, OF_ANOTHER_HOST), []),
        (current(HERE, OF_ANOTHER_HOST, DEREGISTERING), []),
        (current(HERE, None), []),
        (current(HERE, None, DEREGISTERING), [CLEAR]),
        (current(HERE, None, REGISTERING), [CLEAR]),
        (current(None, None, REGISTERING), [CLEAR]),
        (current(ELSEWHERE, None), []),
        (current(ELSEWHERE, None, DEREGISTERING), []),
    ],
)
def test_a_host_is_deregistered(state: State, steps: list[str]) -> None:
    assert plan(state, desired("deregistered")).summaries == steps


def test_an_activation_is_for_one_server_and_an_hour() -> None:
    [create, *_] = plan(current(), desired(tags={"team": "ops"})).all_steps
    assert create.arguments == {
        "iam_role": "hybrid",
        "registration_limit": 1,
        "expiration_date": NOW + timedelta(hours=1),
        "default_instance_name": "db",
        "tags": {"team": "ops", MARK_TAG: CREATED, RUN_TAG: "run-1", HOST_TAG: HOST},
    }


@pytest.mark.parametrize("is_new", [False, True])
def test_a_role_is_waited_for_only_if_this_run_created_it(is_new: bool) -> None:
    [create, *_] = plan(current(), desired(role_is_new=is_new)).all_steps
    assert (UNKNOWN_ROLE in create.retry_when) == is_new
    assert "ValidationException" not in create.retry_when


@pytest.mark.parametrize(
    ("state", "wanted", "words"),
    [
        (current(HERE, OF_ANOTHER_HOST), "registered", "that node has the tag cwagent:host=web"),
        (current(HERE, OF_ANOTHER_HOST), "deregistered", "that node has the tag cwagent:host=web"),
        (current(HERE, OF_OTHERS), "registered", "that node has no tag cwagent:host"),
        (current(HERE, replace(OURS, tags={MARK_TAG: CREATED})), "registered", "that node has no tag cwagent:host"),
        (current(HERE, replace(OURS, tags={MARK_TAG: CREATED})), "deregistered", "that node has no tag cwagent:host"),
        (
            current(HERE, OURS, Unfinished("", A9, RUN)),
            "registered",
            f"activation {A1}, and not the one of its unfinished",
        ),
    ],
)
@pytest.mark.parametrize(("own", "named"), [((), "no node"), ((M2,), f"node {M2}"), ((M2, M9), f"node {M2}, {M9}")])
def test_a_host_that_names_the_node_of_another_is_refused_with_both(
    state: State, wanted: str, words: str, own: tuple[str, ...], named: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_node(replace(state, own_nodes=own), desired(wanted))
    message = str(caught.value)
    assert f"{HOST} is registered as node {M1} in region {REGION}, but {words}" in message
    assert f"Systems Manager has {named} with the tag cwagent:host={HOST}." in message
    assert f"set node_id (cwagent_node_id in the playbooks) to {M1}" in message


def test_a_node_that_the_user_gives_to_a_host_gets_its_name() -> None:
    for node in (OF_OTHERS, OF_ANOTHER_HOST):
        wanted = desired(node_id=M1)
        check_node(current(HERE, node), wanted)
        [step] = plan(current(HERE, node), wanted).all_steps
        assert step.summary == f"set tag cwagent:host of node {M1} to {HOST}"
        assert step.arguments == {
            "resource_type": "ManagedInstance",
            "resource_id": M1,
            "tags": {HOST_TAG: HOST},
        }
    assert plan(current(HERE, OF_ANOTHER_HOST, REGISTERING), desired(node_id=M1)).summaries[1:] == [RESTART]
    assert not plan(current(HERE, OURS), desired(node_id=M1)).has_changes
    leaving = desired("deregistered", node_id=M1)
    assert plan(current(HERE, OF_ANOTHER_HOST), leaving).summaries == [f"deregister node {M1}", CLEAR]
    assert plan(current(HERE, OF_OTHERS), leaving).summaries == []


@pytest.mark.parametrize("node", [OURS, OF_OTHERS, OF_ANOTHER_HOST])
def test_a_host_that_names_another_node_than_the_user_is_refused(node: Node) -> None:
    wanted = desired(node_id=M2)
    with pytest.raises(InvalidInput, match=rf"{M1} in region {REGION}, but its node_id \(cwagent_node_id.*{M2}"):
        check_node(current(HERE, node), wanted)
    assert not plan(current(HERE, node), wanted).has_changes
    with pytest.raises(InvalidInput, match=rf"{HOST} is not registered, and node_id .*{M2}"):
        check_host(HostState(AGENT), wanted)
    check_host(HostState(AGENT), replace(wanted, state="deregistered"))


@pytest.mark.parametrize(
    ("node", "is_found"),
    [
        (replace(OURS, ping="ConnectionLost", tags={**OURS.tags, RUN_TAG: RUN}), True),
        (replace(OURS, tags={**OURS.tags, RUN_TAG: RUN}), True),
        (replace(OURS, ping="ConnectionLost", tags={**OURS.tags, RUN_TAG: "other"}), False),
        (replace(OURS, ping="ConnectionLost", tags={**OF_ANOTHER_HOST.tags, RUN_TAG: RUN}), False),
        (replace(OURS, ping="ConnectionLost", tags={HOST_TAG: HOST, RUN_TAG: RUN}), False),
        (replace(OURS, ping="ConnectionLost"), False),
    ],
)
def test_only_a_node_of_the_interrupted_run_and_of_this_host_was_left(node: Node, is_found: bool) -> None:
    assert is_left(node, HostState(unfinished=REGISTERING), desired()) == is_found
    assert not is_left(node, HostState(), desired())


STATES = st.builds(
    current,
    st.sampled_from([None, HERE, ELSEWHERE]),
    st.sampled_from([None, OURS, OF_OTHERS, OF_ANOTHER_HOST]),
    st.sampled_from([None, REGISTERING, DEREGISTERING]),
    activations=st.lists(st.sampled_from([USED, EXPIRED, USABLE]), unique=True).map(tuple),
)


@given(STATES, st.sampled_from(["registered", "deregistered"]))
def test_nothing_is_left_to_do_in_the_planned_state(state: State, wanted: str) -> None:
    found = plan(state, desired(wanted))
    assert plan(found.planned, desired(wanted)).summaries == []
    if found.has_changes:
        assert [each for each in found.planned.activations if each.is_used or each.is_expired] == []
        assert (found.planned.host.registration is None) == (wanted == "deregistered")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (HostState(installation="Do this."), r"^db\.example has no SSM agent.*Do this\.$"),
        (HostState(AGENT, problem="It ignores it."), "It ignores it"),
        (
            HostState(AGENT, registration=ELSEWHERE),
            rf"{M1} in region us-east-1, and this run is for region {REGION}.*sudo {AGENT} -register -clear",
        ),
    ],
)
def test_a_host_that_cannot_be_registered_is_refused(host: HostState, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        check_host(host, desired())
    check_host(host, desired("deregistered"))


@pytest.mark.parametrize("registration", [None, HERE])
def test_a_host_that_can_be_registered_is_not_refused(registration: Registration | None) -> None:
    check_host(HostState(AGENT, registration=registration), desired())


OTHER_RECORD = Unfinished(M2)


@pytest.mark.parametrize(
    "state",
    [
        current(HERE),
        current(HERE, None, OTHER_RECORD),
        current(HERE, None, REGISTERING, is_marked=False),
    ],
)
def test_a_registration_without_its_node_is_refused_and_never_cleared(state: State) -> None:
    """The record of an interrupted run can be older than a registration that somebody else made."""
    with pytest.raises(InvalidInput, match=rf"{M1} in region {REGION}.*another account, or was deregistered.*-clear"):
        check_node(state, desired())
    assert not plan(state, desired("deregistered")).has_changes


def test_a_registration_of_this_collection_in_another_region_is_a_problem() -> None:
    with pytest.raises(InvalidInput, match=r"Set cwagent_region to us-east-1 for this host, and run again\."):
        check_host(HostState(AGENT, registration=ELSEWHERE, is_marked=True), desired("deregistered"))


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        (current(), "registered"),
        (current(HERE, OURS), "registered"),
        (current(HERE, None, REGISTERING), "registered"),
        (current(HERE), "deregistered"),
    ],
)
def test_other_registrations_are_not_refused(state: State, wanted: str) -> None:
    check_node(state, desired(wanted))


@pytest.mark.parametrize(
    ("state", "wanted", "words"),
    [
        (current(HERE, OURS), "registered", []),
        (current(), "registered", []),
        (current(HERE, replace(OURS, role="other")), "registered", ["with role 'other', not with role 'hybrid'"]),
        (current(HERE, replace(OURS, role="monitoring/hybrid")), "registered", []),
        (current(HERE, replace(OURS, ping="ConnectionLost")), "registered", ["is not online (ConnectionLost)"]),
        (
            current(None, None, REGISTERING, left_nodes=(OURS, replace(OURS, id=M9, ping="Inactive"))),
            "registered",
            [f"node {M1} was registered with the activation of {HOST} in an interrupted run, and it is online"],
        ),
        (current(HERE, replace(OURS, ping="ConnectionLost"), REGISTERING), "registered", []),
        (
            current(activations=(USED, EXPIRED, USABLE, replace(USABLE, name="web"))),
            "registered",
            [f"activation {A3}, which another run created for db, can register one server until 2026-03-01T12:05:00Z"],
        ),
        (current(HERE, OURS), "deregistered", []),
        (current(HERE, OF_OTHERS), "deregistered", [f"{M1}: the node was not created by this collection"]),
        (current(HERE), "deregistered", [f"{M1}: there is no such node in this account and region"]),
        (
            current(ELSEWHERE),
            "deregistered",
            [f"{M1}: that is in region us-east-1, and this run is for"],
        ),
        (current(), "deregistered", []),
    ],
)
def test_warnings(state: State, wanted: str, words: list[str]) -> None:
    found = warnings(state, desired(wanted))
    assert len(found) == len(words)
    assert all(each in text for each, text in zip(words, found, strict=True))


@pytest.mark.parametrize(
    ("agent", "advice"),
    [
        (
            AGENT,
            f". If nothing else uses the registration, clear the registration on the host: sudo {AGENT} -register ",
        ),
        ("", ", and the host has no SSM agent that could use the registration."),
    ],
)
def test_only_a_host_with_an_agent_can_clear_a_registration(agent: str, advice: str) -> None:
    [warning] = warnings(State(HostState(agent, registration=HERE)), desired("deregistered"))
    assert f"{HOST} stays registered as node {M1}: there is no such node in this account and region{advice}" in warning


def test_the_path_of_a_role_is_not_compared() -> None:
    """It is not documented whether Systems Manager returns the path."""
    wanted = replace(desired(), role="monitoring/hybrid")
    assert warnings(current(HERE, OURS), wanted) == []
    [warning] = warnings(current(HERE, replace(OURS, role="monitoring/other")), wanted)
    assert "with role 'monitoring/other', not with role 'monitoring/hybrid'" in warning


def test_the_diff_and_the_result_have_the_node() -> None:
    found = plan(current(), desired())
    assert to_result(found.current) == {"node": None}
    assert to_result(found.planned) == {"node": {"id": None, "region": REGION, "role": "hybrid", "name": "db"}}
    unknown = {"id": M1, "region": OTHER_REGION, "role": None, "name": None}
    assert to_result(current(ELSEWHERE)) == {"node": unknown}


RESULT: dict[str, Any] = {
    "ssm_agent": AGENT,
    "installation": "",
    "problem": "",
    "marked": True,
    "registration": {"instance_id": M1, "region": REGION},
    "unfinished": {"instance_id": "", "activation_id": A1, "run_id": RUN},
}


def test_the_state_of_a_host_is_read_from_a_result() -> None:
    assert HostState.from_result(RESULT, HOST) == HostState(AGENT, "", "", HERE, REGISTERING, is_marked=True)
    nothing = {**RESULT, "registration": None, "unfinished": None, "marked": False}
    assert HostState.from_result(nothing, HOST) == HostState(AGENT)


@pytest.mark.parametrize(
    "answer",
    [
        {"registration": {"instance_id": "i-0123456789abcdef0", "region": REGION}},
        {"registration": {"instance_id": f"{M1}\n", "region": REGION}},
        {"registration": {"instance_id": [M1], "region": REGION}},
        {"registration": {"instance_id": M1, "region": "moon"}},
        {"registration": {"instance_id": M1}},
        {"registration": [M1]},
        {"unfinished": {"instance_id": "mi-1", "activation_id": "", "run_id": ""}},
        {"unfinished": {"instance_id": "", "activation_id": "*", "run_id": RUN}},
        {"unfinished": {"instance_id": "", "activation_id": A1, "run_id": 5}},
        {"unfinished": {"instance_id": ""}},
    ],
)
def test_an_answer_of_another_form_is_an_error_with_the_host(answer: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^db\.example answered with an unexpected state of its SSM agent \("):
        HostState.from_result({**RESULT, **answer}, HOST)


def test_text_of_a_host_controls_no_terminal() -> None:
    dirty = dict.fromkeys(("ssm_agent", "installation", "problem"), "a\x1b[2Jb\n")
    found = HostState.from_result({**RESULT, **dirty}, HOST)
    assert {found.agent, found.installation, found.problem} == {"a[2Jb"}


def test_the_code_is_not_shown() -> None:
    assert "hidden" not in repr(NewActivation(A1, "hidden"))
