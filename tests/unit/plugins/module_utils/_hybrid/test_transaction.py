"""For a failure or an interruption at every call and every step of the host, no usable activation is left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, product
from threading import Event, current_thread
from typing import Any

import pytest
from disturbances import ERRORS, Cancelled, FakeGuard, Killed, denied
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
    HostUnreachable,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid import plan as hybrid_plan
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import (
    HOST_TAG,
    RUN_TAG,
    Activation,
    HostState,
    NewActivation,
    Node,
    Unfinished,
)
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.transaction import ADVICE, Transaction
from ansible_collections.cwagent.iam.plugins.module_utils._names import CREATED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import ONLINE

REGION, ROLE, HOST = "eu-central-1", "hybrid", "db"
RUNS = [f"{number:08}-1234-1234-1234-123456789012" for number in range(5)]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAME = "name of the server"
OFFLINE = "ConnectionLost"
pytestmark = pytest.mark.usefixtures("no_pauses")


def node_id(number: int) -> str:
    return f"mi-{number:017}"


def activation_id(number: int) -> str:
    return f"12345678-1234-1234-1234-{number:012}"


@dataclass
class World:
    """Systems Manager and a host.

    :param fault: gets the number and the name of a call or of a step of the host, and whether it has taken effect. It
        may raise an error.
    """

    fault: Callable[[int, str, bool], None] = lambda _number, _action, _effect: None
    found: dict[str, Activation] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    registered: int = 0
    created: int = 0
    host: HostState = field(default_factory=lambda: HostState("/usr/bin/amazon-ssm-agent"))
    is_running: bool = True
    running_as: str = ""
    """The node that the SSM agent used when it was started."""
    is_locked: bool = False
    now = NOW
    calls: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)

    @contextmanager
    def call(self, action: str) -> Iterator[None]:
        """Fail before the body takes effect, or after it."""
        self.calls.append(action)
        number = len(self.calls)
        self.fault(number, action, False)
        yield
        self.fault(number, action, True)

    @contextmanager
    def write(self, action: str) -> Iterator[None]:
        with self.call(action):
            self.writes.append(action)
            yield

    # Systems Manager

    def node(self, node_id: str) -> Node | None:
        with self.call("ssm:DescribeInstanceInformation"):
            found = self.nodes.get(node_id)
            return found and self.shown(found)

    def nodes_of(self, activation_id: str) -> list[Node]:
        with self.call("ssm:DescribeInstanceInformation"):
            return [self.shown(each) for each in self.nodes.values() if each.activation_id == activation_id]

    def nodes_of_host(self, host: str) -> list[Node]:
        with self.call("ssm:DescribeInstanceInformation"):
            return [self.shown(each) for each in self.nodes.values() if each.host == host]

    def shown(self, node: Node) -> Node:
        """A node as Systems Manager describes it, without its tags."""
        is_online = self.is_running and self.running_as == node.id
        return replace(node, ping=ONLINE if is_online else node.ping, tags={})

    def tags(self, node_id: str) -> dict[str, str]:
        with self.call("ssm:ListTagsForResource"):
            return dict(self.nodes[node_id].tags) if node_id in self.nodes else {}

    def activations(self) -> list[Activation]:
        with self.call("ssm:DescribeActivations"):
            return [*self.found.values()]

    def create(self, step: Step, keep: Callable[[NewActivation], None]) -> None:
        assert step.arguments["registration_limit"] == 1
        assert step.arguments["iam_role"] == ROLE
        with self.write(step.action):
            self.created += 1
            name, tags = step.arguments["default_instance_name"], step.arguments["tags"]
            new = Activation(activation_id(self.created), name, tags[RUN_TAG], step.arguments["expiration_date"])
            self.found[new.id] = new
            self.tags_of_new = tags
        keep(NewActivation(new.id, f"code of {new.id}"))

    def take_over(self) -> None:
        """Another process does the work from here on."""
        self.calls.append("take over")

    def execute(self, step: Step) -> None:
        with self.write(step.action):
            if step.action == hybrid_plan.DELETE:
                self.found.pop(step.arguments["activation_id"], None)
            elif step.action == hybrid_plan.TAG:
                node = self.nodes[step.arguments["resource_id"]]
                self.nodes[node.id] = replace(node, tags={**node.tags, **step.arguments["tags"]})
            else:
                self.nodes.pop(step.arguments["instance_id"], None)

    # The host

    def check(self) -> None:
        self.calls.append("host:check")
        self.fault(len(self.calls), "host:check", False)

    def result(self, *done: str) -> dict[str, Any]:
        host = self.host
        return {
            "ssm_agent": host.agent,
            "installation": host.installation,
            "problem": host.problem,
            "marked": host.is_marked,
            "registration": host.registration
            and {"instance_id": host.registration.node_id, "region": host.registration.region},
            "unfinished": host.unfinished
            and {
                "instance_id": host.unfinished.node_id,
                "activation_id": host.unfinished.activation_id,
                "run_id": host.unfinished.run,
            },
            "done": [*done],
        }

    def read(self) -> dict[str, Any]:
        with self.call("host:read"):
            return self.result()

    @contextmanager
    def recording(self) -> Iterator[list[str]]:
        """Add the actions that were done to the error of a step that fails, as the module does."""
        done: list[str] = []
        try:
            yield done
        except HostUnreachable:
            raise
        except CwagentError as error:
            error.details["done"] = done
            raise

    def register(self, activation: NewActivation, run: str, known_run: str) -> dict[str, Any]:
        """Other runs wait until this ends, and then find what it has written."""
        found = self.host.unfinished.run if self.host.unfinished else ""
        if found != known_run or self.host.registration:
            raise ContentionError("Another run registers this host.")
        self.is_locked = True
        try:
            return self.register_alone(activation, run)
        finally:
            self.is_locked = False

    def register_alone(self, activation: NewActivation, run: str) -> dict[str, Any]:
        with self.recording() as done:
            with self.write("host:record"):
                self.host = replace(self.host, unfinished=Unfinished("", activation.id, run))
            with self.write("host:send registration"):
                found = self.found[activation.id]
                assert activation.code == f"code of {found.id}"
                assert not found.is_used
                self.found[found.id] = replace(found, is_used=True)
                self.registered += 1
                node = Node(node_id(self.registered), ROLE, found.name, OFFLINE, self.tags_of_new, found.id)
                self.nodes[node.id] = node
            with self.write("host:save registration"):
                self.host = replace(self.host, registration=hybrid_plan.Registration(node.id, REGION), is_marked=True)
            done.append("host:register")
            self.start()
            done.append("host:restart")
            return self.result(*done)

    def start(self) -> None:
        with self.write("host:start"):
            found = self.host.registration
            self.is_running, self.running_as = True, found.node_id if found else ""

    def restart(self) -> dict[str, Any]:
        with self.recording() as done:
            self.start()
            done.append("host:restart")
            return self.result(*done)

    def finish(self) -> dict[str, Any]:
        with self.write("host:finish"):
            self.host = replace(self.host, unfinished=None, is_marked=True)
            return self.result()

    def begin_clearing(self, node_id: str) -> dict[str, Any]:
        with self.write("host:record"):
            self.host = replace(self.host, unfinished=Unfinished(node_id))
            return self.result()

    def clear(self) -> dict[str, Any]:
        with self.recording() as done:
            with self.write("host:clear"):
                self.host = replace(self.host, registration=None)
            with self.write("host:stop"):
                self.is_running = False
            done.append("host:clear")
            with self.write("host:finish"):
                self.host = replace(self.host, unfinished=None, is_marked=False)
            return self.result(*done)

    def state(self) -> dict[str, Any]:
        """The state at the end of a run, without IDs."""
        registration = self.host.registration
        return {
            "activations": [*self.found],
            "nodes": [node.name for node in self.nodes.values()],
            "is registered": registration is not None and registration.node_id in self.nodes,
            "is online": self.is_running and registration is not None and self.running_as == registration.node_id,
            "unfinished": self.host.unfinished,
        }


def transaction(world: World, state: str, run: int = 1, node: str = "", **options: Any) -> Transaction:
    """:param run: its number. :param node: the ID that the user has given."""
    desired = Desired(state, REGION, ROLE, NAME, HOST, RUNS[run], {"team": "ops"}, node_id=node)
    return Transaction(
        world, world, desired, **{"say": lambda _text: None, "shield": nullcontext, "wait": 2, **options}
    )


def before(state: str) -> World:
    """A host before a run that registers or deregisters it."""
    world = World()
    if state == "deregistered":
        transaction(world, "registered", 0).run()
        world.calls.clear()
        world.writes.clear()
    return world


STATES = ("registered", "deregistered")


def undisturbed(state: str) -> World:
    world = before(state)
    assert transaction(world, state).run()["changed"]
    return world


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


def is_usable(activation: Activation) -> bool:
    return not activation.is_used and not activation.is_expired


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
    with pytest.raises(CwagentError):
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

    with pytest.raises(
        CwagentError, match=r"^No answer came\. Nor did this one\. So it is not known whether.*until 2026"
    ):
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


# A server that reports anything about itself


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


def test_an_activation_expires_an_hour_after_the_time_of_aws() -> None:
    world, created = World(), []

    def create(step: Step, keep: Callable[[NewActivation], None]) -> None:
        created.append(step.arguments["expiration_date"])
        World.create(world, step, keep)

    world.create = create
    transaction(world, "registered").run()
    assert created == [NOW + timedelta(hours=1)]
