"""The steps that bring a host to its desired registration, and the states that are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._errors import UNKNOWN_ROLE, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import (
    RUN_TAG,
    Activation,
    HostState,
    NewActivation,
    Node,
    Registration,
    Unfinished,
)
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.plan import (
    Desired,
    State,
    check_host,
    check_node,
    plan,
    to_result,
    warnings,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import CREATED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import ONLINE

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE, ELSEWHERE = Registration("mi-1", "eu-1"), Registration("mi-1", "us-1")
OURS = Node("mi-1", "hybrid", "db", ONLINE, {MARK_TAG: CREATED})
OF_OTHERS = replace(OURS, tags={})
REGISTERING, DEREGISTERING = Unfinished("", "a-1", "run-0"), Unfinished("mi-1")
AGENT = "/usr/bin/amazon-ssm-agent"
USED = Activation("a-1", "db", "run-0", NOW, is_used=True)
EXPIRED = Activation("a-2", "web", "run-0", NOW, is_expired=True)
USABLE = Activation("a-3", "db", "run-0", NOW + timedelta(minutes=5))

CREATE = "create an activation of role 'hybrid' for db"
REGISTER = "register db.example with Systems Manager in region eu-1"
RESTART, DELETE = "restart the SSM agent on db.example", "delete the activation for db"
CLEAR = "clear the registration of db.example and stop the SSM agent"
ALL = [CREATE, REGISTER, RESTART, DELETE]


def desired(state: str = "registered", **more: Any) -> Desired:
    return Desired(state, "eu-1", "hybrid", "db", "db.example", "run-1", **more)


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
        (current(HERE, OURS, REGISTERING), [RESTART]),
        (current(HERE, None, REGISTERING), [RESTART]),
        (current(HERE, OURS, DEREGISTERING), [RESTART]),
        (current(HERE, None, DEREGISTERING), [CLEAR, *ALL]),
        (current(None, None, REGISTERING), ALL),
        (
            current(None, None, REGISTERING, left_nodes=(replace(OURS, id="mi-9"),)),
            ["deregister node mi-9, which an interrupted run left", *ALL],
        ),
        (
            current(activations=(USED, EXPIRED, USABLE)),
            ["delete activation a-1, which was used", "delete activation a-2, which has expired", *ALL],
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
        (current(HERE, OURS), ["deregister node mi-1", CLEAR]),
        (current(HERE, OF_OTHERS), []),
        (current(HERE, OF_OTHERS, DEREGISTERING), []),
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
        "tags": {"team": "ops", MARK_TAG: CREATED, RUN_TAG: "run-1"},
    }


@pytest.mark.parametrize("is_new", [False, True])
def test_a_role_is_waited_for_only_if_this_run_created_it(is_new: bool) -> None:
    [create, *_] = plan(current(), desired(role_is_new=is_new)).all_steps
    assert (UNKNOWN_ROLE in create.retry_when) == is_new
    assert "ValidationException" not in create.retry_when


STATES = st.builds(
    current,
    st.sampled_from([None, HERE, ELSEWHERE]),
    st.sampled_from([None, OURS, OF_OTHERS]),
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
            r"mi-1 in region us-1, and this run is for region eu-1.*sudo /usr/bin/amazon-ssm-agent -register -clear",
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


OTHER_RECORD = Unfinished("mi-2")


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
    with pytest.raises(InvalidInput, match=r"mi-1 in region eu-1.*another account, or it was deregistered.*-clear"):
        check_node(state, desired())
    assert not plan(state, desired("deregistered")).has_changes


def test_a_registration_of_this_collection_in_another_region_is_a_problem() -> None:
    with pytest.raises(InvalidInput, match=r"Set cwagent_region to us-1 for this host, and run again\."):
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
        (current(HERE, replace(OURS, ping="ConnectionLost"), REGISTERING), "registered", []),
        (
            current(activations=(USED, EXPIRED, USABLE, replace(USABLE, name="web"))),
            "registered",
            ["activation a-3, which another run created for db, can register one server until 2026-03-01T12:05:00Z"],
        ),
        (current(HERE, OURS), "deregistered", []),
        (current(HERE, OF_OTHERS), "deregistered", ["mi-1: the node was not created by this collection"]),
        (current(HERE), "deregistered", ["mi-1: there is no such node in this account and region"]),
        (current(ELSEWHERE), "deregistered", ["mi-1: that is in region us-1, and this run is for region eu-1"]),
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
    assert (
        f"db.example stays registered as node mi-1: there is no such node in this account and region{advice}" in warning
    )


def test_the_path_of_a_role_is_not_compared() -> None:
    """It is not documented whether Systems Manager returns the path."""
    wanted = replace(desired(), role="monitoring/hybrid")
    assert warnings(current(HERE, OURS), wanted) == []
    [warning] = warnings(current(HERE, replace(OURS, role="monitoring/other")), wanted)
    assert "with role 'monitoring/other', not with role 'monitoring/hybrid'" in warning


def test_the_diff_and_the_result_have_the_node() -> None:
    found = plan(current(), desired())
    assert to_result(found.current) == {"node": None}
    assert to_result(found.planned) == {"node": {"id": None, "region": "eu-1", "role": "hybrid", "name": "db"}}
    unknown = {"id": "mi-1", "region": "us-1", "role": None, "name": None}
    assert to_result(current(ELSEWHERE)) == {"node": unknown}


def test_a_node_with_another_name_is_a_warning_with_its_id() -> None:
    [warning] = warnings(current(HERE, replace(OURS, name="old")), desired())
    assert "is registered as node mi-1 with the name 'old'" in warning
    assert "give mi-1 to cwagent.iam.remove_servers" in warning


def test_the_state_of_a_host_is_read_from_a_result() -> None:
    result = {
        "ssm_agent": AGENT,
        "installation": "",
        "problem": "",
        "marked": True,
        "registration": {"instance_id": "mi-1", "region": "eu-1"},
        "unfinished": {"instance_id": "", "activation_id": "a-1", "run_id": "run-0"},
    }
    assert HostState.from_result(result) == HostState(AGENT, "", "", HERE, REGISTERING, is_marked=True)
    assert HostState.from_result({**result, "registration": None, "unfinished": None, "marked": False}) == HostState(
        AGENT
    )


def test_the_code_is_not_shown() -> None:
    assert "hidden" not in repr(NewActivation("a-1", "hidden"))
