"""For a failure or an interruption at every call and every step of the host, no usable activation is left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import product
from threading import Event, current_thread
from typing import Any

import pytest
from disturbances import ERRORS, Cancelled, FakeGuard, Killed, denied
from hybrid_world import (
    HOST,
    NAME,
    NOW,
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
    undisturbed,
)

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
    HostUnreachable,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import CREATED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Step
from ansible_collections.cwagent.iam.plugins.module_utils._servers import hybrid_plan
from ansible_collections.cwagent.iam.plugins.module_utils._servers.commands import ONLINE
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid_transaction import ADVICE
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import (
    HOST_TAG,
    RUN_TAG,
    Activation,
    NewActivation,
    Node,
    Unfinished,
)

pytestmark = pytest.mark.usefixtures("no_pauses")


def test_a_host_is_registered_with_an_activation_that_is_deleted() -> None:
    world = World()
    result = transaction(world, "registered").run()
    assert world.state() == {
        "activations": [],
        "nodes": [NAME],
        "is registered": True,
        "is online": True,
        "unfinished": None,
    }
    assert world.tags_of_new == {"team": "ops", MARK_TAG: CREATED, RUN_TAG: RUNS[1], HOST_TAG: HOST}
    assert result["steps"] == [
        f"create an activation of role '{ROLE}' for {NAME}",
        f"register {HOST} with Systems Manager in region {REGION}",
        "restart the SSM agent on db",
        f"delete the activation for {NAME}",
    ]
    assert result["counts"] == {"create": 2, "update": 1, "delete": 1}
    assert result["node"] == {"id": node_id(1), "region": REGION, "role": ROLE, "name": NAME}


def test_a_node_of_this_collection_is_deregistered() -> None:
    world = undisturbed("deregistered")
    assert world.state() == {
        "activations": [],
        "nodes": [],
        "is registered": False,
        "is online": False,
        "unfinished": None,
    }


@pytest.mark.parametrize("state", STATES)
def test_predicted_steps_are_done(state: str) -> None:
    predicted, done = before(state), before(state)
    planned, result = transaction(predicted, state).predict(), transaction(done, state).run()
    assert predicted.writes == []
    assert {**planned, "node": None} == {**result, "node": None}


@pytest.mark.parametrize("state", STATES)
def test_a_second_run_changes_nothing(state: str) -> None:
    world = undisturbed(state)
    world.writes.clear()
    assert transaction(world, state, 2).run()["steps"] == []
    assert world.writes == []
    assert "ssm:DescribeActivations" not in world.calls[-3:]


@pytest.mark.parametrize("state", STATES)
def test_a_connection_without_pipelining_is_refused_before_the_first_write(state: str) -> None:
    def fault(_number: int, action: str, _effect: bool) -> None:
        if action == "host:check":
            raise InvalidInput("pipelining is off")

    world = before(state)
    world.fault = fault
    if state == "deregistered":  # it sends no code
        transaction(world, state).run()
        return
    with pytest.raises(InvalidInput):
        transaction(world, state).run()
    assert world.writes == []


def disturbed(state: str, error: Callable[[str], BaseException], number: int, *, effect: bool, always: bool) -> World:
    world = before(state)
    action = undisturbed(state).calls[number - 1]

    def fault(count: int, called: str, after: bool) -> None:
        if after == effect and (count == number or (always and count > number and called == action)):
            raise error(called)

    world.fault = fault
    return world


CASES = [(state, kind, effect) for state in STATES for kind in ERRORS for effect in (False, True)]


@pytest.mark.parametrize(("state", "kind", "effect"), CASES)
def test_whatever_happens_no_usable_activation_is_left(state: str, kind: str, effect: bool) -> None:
    """Otherwise, the message contains its ID and its end. The next run ends as an undisturbed one."""
    expected = undisturbed(state)
    for number, action in enumerate(expected.calls, start=1):
        if effect and "denied" in kind and not action.startswith("host:"):
            continue  # AWS never does what it denies
        world = disturbed(state, ERRORS[kind], number, effect=effect, always="always" in kind)
        message = ""
        try:
            transaction(world, state).run()
        except BaseException as error:  # noqa: BLE001  whatever was raised
            message = str(error)
        where = f"{kind} {effect} call {number}, {action}: {message}"
        assert len(world.calls) >= number, where
        left = [each for each in world.found.values() if is_usable(each)]
        assert not left or "until 2026-03-01T01:00:00Z" in message, where
        assert "code of" not in message, where

        # The next run comes when the activation has expired.
        world.fault = lambda _number, _action, _effect: None
        world.found = {each.id: replace(each, is_expired=True) for each in world.found.values()}
        transaction(world, state, 2).run()
        assert world.state() == expected.state(), where
        writes = len(world.writes)
        transaction(world, state, 3).run()
        assert len(world.writes) == writes, where


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("effect", [False, True])
def test_the_run_after_one_that_was_killed_ends_as_an_undisturbed_one(state: str, effect: bool) -> None:
    expected = undisturbed(state)
    for number, action in enumerate(expected.calls, start=1):
        world = disturbed(state, lambda _action: Killed(), number, effect=effect, always=False)
        fault = world.fault

        def fault_and_end(count: int, called: str, after: bool, fault: Any = fault, number: int = number) -> None:
            fault(count, called, after)
            if count > number:
                raise Killed

        world.fault = fault_and_end
        with pytest.raises(Killed):
            transaction(world, state).run()
        world.fault = lambda _number, _action, _effect: None
        warned = [] if not any(map(is_usable, world.found.values())) else [*world.found]
        if warned:
            predicted = transaction(world, state, 2).predict()["warnings"]
            assert re.search(rf"activation {warned[0]}.* until 2026-03-01T01:00:00Z", predicted[0])
        world.found = {each.id: replace(each, is_expired=True) for each in world.found.values()}
        planned = transaction(world, state, 2).predict()["steps"]
        assert transaction(world, state, 2).run()["steps"] == planned
        assert world.state() == expected.state(), f"call {number}, {action}, {effect}"


@pytest.mark.parametrize("effect", [False, True])
def test_a_guard_deletes_the_activation_of_a_process_that_is_killed_at_any_call(effect: bool) -> None:
    for number, action in enumerate(undisturbed("registered").calls, start=1):

        def fault(count: int, _called: str, after: bool, *, number: int = number) -> None:
            if count > number or (count == number and after == effect):
                raise Killed

        world, guard = before("registered"), FakeGuard()
        world.fault = fault
        with pytest.raises(Killed):
            transaction(world, "registered", guard=guard).run()
        world.fault = lambda _number, _action, _effect: None
        if guard.give_back:
            assert guard.give_back() == "Its activation was deleted. Run again, which continues the registration."
        assert not any(map(is_usable, world.found.values())), f"call {number}, {action}"


def test_a_guard_that_cannot_delete_the_activation_tells_how_to() -> None:
    def fault(_number: int, action: str, _effect: bool) -> None:
        if action == "ssm:DeleteActivation":
            raise denied(action)
        if action == "host:send registration":
            raise Killed

    world, guard = before("registered"), FakeGuard()
    world.fault = fault
    with pytest.raises(Killed):  # what it was before the deletion failed, so the worker ends and the guard tries again
        transaction(world, "registered", guard=guard).run()
    assert guard.give_back
    assert "aws ssm delete-activation" in guard.give_back()


def test_the_guard_ends_with_the_activation() -> None:
    guard = FakeGuard()
    transaction(World(), "registered", guard=guard).run()
    assert guard.give_back is None


def interrupted(action: str) -> World:
    """A host after a run that was killed at a step. :param action: the step; empty for no such run."""
    world = World()

    def fault(_number: int, called: str, effect: bool) -> None:
        if called == action and effect:
            raise Killed

    if action:
        world.fault = fault
        with suppress(Killed):
            transaction(world, "registered", 0).run()
        world.found = {each.id: replace(each, is_expired=True) for each in world.found.values()}
        world.calls.clear()
    return world


class Interleaved:
    """Two runs. The first one stops before a call, and the second one before a call until the first one has ended.

    :param first: the number of the call at which the first run stops and the second run begins.
    :param second: the number of the call at which the second run stops.
    :param killed_after: the step after which the first run is killed. It is empty for none.
    """

    def __init__(self, world: World, first: int, second: int, killed_after: str = "") -> None:
        self.world, self.first, self.second, self.killed_after = world, first, second, killed_after
        self.is_killed = False
        self.counts = Counter[str]()
        self.second_begins, self.first_goes_on, self.first_has_ended = Event(), Event(), Event()

    def run(self) -> list[BaseException]:
        """Return the errors of the runs."""
        self.world.fault = self.stop
        with ThreadPoolExecutor() as pool:
            done = [pool.submit(self.begin, 1), pool.submit(self.begin, 2)]
        self.world.fault = lambda _number, _action, _effect: None
        return [error for each in done if (error := each.result())]

    def begin(self, run: int) -> BaseException | None:
        current_thread().name = f"run-{run}"
        if run == 2:
            assert self.second_begins.wait(10)
        try:
            transaction(self.world, "registered", run).run()
        except (CwagentError, Killed) as error:
            return error
        finally:
            for each in [self.second_begins, self.first_has_ended] if run == 1 else [self.first_goes_on]:
                each.set()
        return None

    def stop(self, _number: int, action: str, effect: bool) -> None:
        run = current_thread().name
        if run == "run-1" and (self.is_killed or (action == self.killed_after and effect)):
            self.is_killed = True
            raise Killed
        if effect or self.world.is_locked:
            return
        self.counts[run] += 1
        if (run, self.counts[run]) == ("run-1", self.first):
            self.second_begins.set()
            assert self.first_goes_on.wait(10)
        if (run, self.counts[run]) == ("run-2", self.second):
            self.first_goes_on.set()
            assert self.first_has_ended.wait(10)


@pytest.mark.parametrize("killed_at", ["", "host:record", "host:send registration", "host:save registration"])
def test_two_runs_at_the_same_time_leave_one_node(killed_at: str) -> None:
    """However their calls follow each other. A run that fails reports the other one."""
    expected = undisturbed("registered")
    calls = len(expected.calls)
    refused = 0
    for first, second in product(range(1, calls + 1), repeat=2):
        world = interrupted(killed_at)
        errors = Interleaved(world, first, second).run()
        where = f"{killed_at} {first} {second}: {errors}"
        assert [type(error) for error in errors] in ([], [ContentionError]), where
        assert world.state() == expected.state(), where
        refused += len(errors)
    assert refused or killed_at == "host:save registration"


@pytest.mark.parametrize("killed_after", ["host:record", "host:send registration", "host:save registration"])
def test_a_run_beside_one_that_is_killed_leaves_one_node(killed_after: str) -> None:
    """The other run must not replace the record of the killed one, which tells the next run of its node."""
    expected = undisturbed("registered")
    for first, second in product(range(1, len(expected.calls) + 1), repeat=2):
        world = World()
        errors = Interleaved(world, first, second, killed_after).run()
        where = f"{killed_after} {first} {second}: {errors}"
        world.found = {each.id: replace(each, is_expired=True) for each in world.found.values()}
        transaction(world, "registered", 3).run()
        # The next run that registers a server deletes the activation, which has expired.
        assert {**world.state(), "activations": []} == expected.state(), where


@pytest.mark.parametrize("failing", ["", "host:send registration"])
def test_a_signal_just_before_the_deletion_leaves_no_activation(failing: str) -> None:
    entered: list[str] = []

    @contextmanager
    def shield() -> Iterator[None]:
        entered.append("shield")
        if len(entered) == 1:
            raise Cancelled
        yield

    def fault(_number: int, action: str, _effect: bool) -> None:
        if action == failing:
            raise CwagentError("It failed.")

    world = World(fault)
    with pytest.raises(Cancelled):
        transaction(world, "registered", shield=shield).run()
    assert world.created == 1
    assert world.found == {}


@pytest.mark.parametrize("failure", [CwagentError("The host failed."), HostUnreachable("No answer.")])
def test_both_failures_are_named(failure: CwagentError) -> None:
    def fault(_number: int, action: str, _effect: bool) -> None:
        if action == "host:record":
            raise failure
        if action == hybrid_plan.DELETE:
            raise AwsApiError("It was not deleted.", "AccessDenied")

    with pytest.raises(CwagentError) as caught:
        transaction(World(fault), "registered").run()
    assert str(failure) in str(caught.value)
    assert f"aws ssm delete-activation --activation-id {activation_id(1)} --region {REGION}" in str(caught.value)
    assert caught.value.details["done"] == [f"create an activation of role '{ROLE}' for {NAME}"]
    assert caught.value.details["not_done"][0].startswith(f"register {HOST}")
    assert "node" not in caught.value.details


@pytest.mark.parametrize("code", ["AccessDenied", "InternalFailure", "ExpiredToken"])
def test_each_activation_is_tried_and_the_message_begins_with_those_that_are_left(code: str) -> None:
    """Two have the run if AWS created one more for a call that it was sent again."""
    world = World()
    deleted: list[str] = []

    def fault(_number: int, action: str, effect: bool) -> None:
        if action == hybrid_plan.CREATE and effect:
            first = world.found[activation_id(1)]
            world.found[activation_id(2)] = replace(first, id=activation_id(2))
            raise CwagentError("No answer came.")
        if action == hybrid_plan.DELETE and not effect:
            deleted.append(action)
            if len(deleted) == 1:
                raise AwsApiError("It was not deleted.", code)

    world.fault = fault
    with pytest.raises(CwagentError) as caught:
        transaction(world, "registered").run()
    [left] = world.found
    message = str(caught.value)
    assert message.startswith(f"Unless it was used, activation {left} can register one server")
    assert message.endswith("It was not deleted. Before that: No answer came.")
    assert len(deleted) == 2


def test_a_failure_reports_the_steps_that_were_done() -> None:
    def fault(_number: int, action: str, _effect: bool) -> None:
        if action == "host:start":
            raise CwagentError("It does not start.")

    with pytest.raises(CwagentError, match="It does not start") as caught:
        transaction(World(fault), "registered").run()
    details = caught.value.details
    assert details["not_done"] == ["restart the SSM agent on db"]
    assert len(details["done"]) == 3
    assert details["counts"] == {"create": 2, "update": 0, "delete": 1}
    assert details["changed"]


def test_an_activation_whose_answer_was_lost_is_found_by_its_run() -> None:
    """Even if AWS shows it late."""
    world, shown = World(), []

    def fault(_number: int, action: str, effect: bool) -> None:
        if action == hybrid_plan.CREATE and effect:
            raise CwagentError("No answer came.")

    def activations() -> list[Activation]:
        shown.append(len(world.found))
        return [*world.found.values()] if len(shown) > 3 else []

    world.fault = fault
    world.activations = activations
    with pytest.raises(CwagentError, match=r"^No answer came\.$"):
        transaction(world, "registered").run()
    assert world.found == {}


def test_an_activation_that_can_neither_be_found_nor_ruled_out_is_reported() -> None:
    def fault(number: int, action: str, effect: bool) -> None:
        if action == hybrid_plan.CREATE and effect:
            raise CwagentError("No answer came.")
        if action == "ssm:DescribeActivations" and number > 3:
            raise CwagentError("Nor did this one.")

    known = r"^It is not known whether.*until 2026.*\. Nor did this one\. Before that: No answer came\.$"
    with pytest.raises(CwagentError, match=known):
        transaction(World(fault), "registered").run()


def test_nothing_is_looked_for_if_aws_refused_to_create_it() -> None:
    def fault(_number: int, action: str, _effect: bool) -> None:
        if action == hybrid_plan.CREATE:
            raise AwsApiError("No.", "AccessDeniedException")

    world = World(fault)
    with pytest.raises(AwsApiError):
        transaction(world, "registered").run()
    assert world.calls.count("ssm:DescribeActivations") == 1


def test_a_node_that_does_not_come_online_is_an_error() -> None:
    world = World()
    world.is_running = False

    def fault(_number: int, action: str, effect: bool) -> None:
        if action == "host:start" and effect:
            world.is_running = False

    world.fault = fault
    with pytest.raises(ConsistencyTimeout, match=rf"db is registered as node {node_id(1)}.*within 2 seconds"):
        transaction(world, "registered").run()
    assert world.found == {}
    world.fault = lambda _number, _action, _effect: None
    assert transaction(world, "registered", 2).run()["steps"] == ["restart the SSM agent on db"]


def test_a_registration_that_is_gone_after_it_was_made_is_an_error() -> None:
    world = World()

    def fault(_number: int, action: str, effect: bool) -> None:
        if action == "host:start" and effect:
            world.host = replace(world.host, registration=None)

    world.fault = fault
    with pytest.raises(CwagentError, match="has lost its registration"):
        transaction(world, "registered").run()


def test_the_advice_on_interruptions_is_shown_before_anything_is_created() -> None:
    world, shown = World(), {}
    transaction(world, "registered", say=lambda text: shown.update({text: len(world.found)})).run()
    assert shown[ADVICE] == 0


def test_a_node_of_others_stays() -> None:
    world = before("deregistered")
    world.nodes = {each.id: replace(each, tags={}) for each in world.nodes.values()}
    result = transaction(world, "deregistered").run()
    assert (result["steps"], world.writes) == ([], [])
    assert "was not created by this collection" in result["warnings"][0]
    assert result["node"]["id"] == node_id(1)


@pytest.mark.parametrize(
    ("ping", "tags"),
    [
        (OFFLINE, {MARK_TAG: CREATED, HOST_TAG: HOST, RUN_TAG: RUNS[3]}),
        (OFFLINE, {MARK_TAG: CREATED, HOST_TAG: "web", RUN_TAG: RUNS[4]}),
        (OFFLINE, {HOST_TAG: HOST, RUN_TAG: RUNS[4]}),
        (ONLINE, {MARK_TAG: CREATED, HOST_TAG: HOST, RUN_TAG: RUNS[4]}),
    ],
)
def test_only_a_node_that_the_interrupted_run_left_is_deregistered(ping: str, tags: dict[str, str]) -> None:
    """A record on the host alone proves nothing, because whoever controls the host can write it."""
    world = World()
    other = Node(node_id(9), ROLE, NAME, ping, tags, activation_id(9))
    world.nodes = {other.id: other}
    world.host = replace(world.host, unfinished=Unfinished("", activation_id(9), RUNS[4]))
    transaction(world, "registered").run()
    assert other.id in world.nodes


def test_an_activation_expires_an_hour_after_the_time_of_aws() -> None:
    world, created = World(), []

    def create(step: Step, keep: Callable[[NewActivation], None]) -> None:
        created.append(step.arguments["expiration_date"])
        World.create(world, step, keep)

    world.create = create
    transaction(world, "registered").run()
    assert created == [NOW + timedelta(hours=1)]
