"""For a failure or an interruption at every call and every step of the host, no usable activation is left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from threading import Event, current_thread
from typing import Any

import pytest
from disturbances import ERRORS, Cancelled, FakeGuard, Killed, denied

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

REGION, ROLE, HOST = "eu-1", "hybrid", "db"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAME = "name of the server"
pytestmark = pytest.mark.usefixtures("no_pauses")


@dataclass
class World:
    """Systems Manager and a host.

    :param fault: gets the number and the name of a call or of a step of the host, and whether it has taken effect. It
        may raise an error.
    """

    fault: Callable[[int, str, bool], None] = lambda _number, _action, _effect: None
    found: dict[str, Activation] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    activation_of: dict[str, str] = field(default_factory=dict)
    created: int = 0
    host: HostState = field(default_factory=lambda: HostState("/usr/bin/amazon-ssm-agent"))
    is_running: bool = True
    running_as: str = ""
    """The node that the SSM agent used when it was started."""
    is_locked: bool = False
    now = NOW
    calls: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)

    def take_over(self) -> None:
        """Any process can call it."""

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
            is_online = self.is_running and self.running_as == node_id
            return found and replace(found, ping=ONLINE if is_online else "ConnectionLost", tags={})

    def nodes_of(self, activation_id: str) -> list[Node]:
        with self.call("ssm:DescribeInstanceInformation"):
            return [node for node in self.nodes.values() if self.activation_of[node.id] == activation_id]

    def tags(self, node_id: str) -> dict[str, str]:
        with self.call("ssm:ListTagsForResource"):
            return dict(self.nodes[node_id].tags)

    def activations(self) -> list[Activation]:
        with self.call("ssm:DescribeActivations"):
            return [*self.found.values()]

    def create(self, step: Step, keep: Callable[[NewActivation], None]) -> None:
        assert step.arguments["registration_limit"] == 1
        assert step.arguments["iam_role"] == ROLE
        with self.write(step.action):
            self.created += 1
            name, tags = step.arguments["default_instance_name"], step.arguments["tags"]
            new = Activation(f"a-{self.created}", name, tags[RUN_TAG], step.arguments["expiration_date"])
            self.found[new.id] = new
            self.tags_of_new = tags
        keep(NewActivation(new.id, f"code of {new.id}"))

    def execute(self, step: Step) -> None:
        with self.write(step.action):
            if step.action == hybrid_plan.DELETE:
                self.found.pop(step.arguments["activation_id"], None)
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
                node = Node(f"mi-{len(self.activation_of) + 1}", ROLE, found.name, tags=self.tags_of_new)
                self.nodes[node.id], self.activation_of[node.id] = node, found.id
            with self.write("host:save registration"):
                self.host = replace(self.host, registration=hybrid_plan.Registration(node.id, REGION), is_marked=True)
            done.append("host:register")
            self.start()
            done.append("host:restart")
            return self.result(*done)

    def start(self) -> None:
        with self.write("host:start"):
            assert self.host.registration
            self.is_running, self.running_as = True, self.host.registration.node_id

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


def transaction(world: World, state: str, run: str = "run-1", **options: Any) -> Transaction:
    desired = Desired(state, REGION, ROLE, NAME, HOST, run, {"team": "ops"})
    return Transaction(
        world, world, desired, **{"say": lambda _text: None, "shield": nullcontext, "wait": 2, **options}
    )


def before(state: str) -> World:
    """A host before a run that registers or deregisters it."""
    world = World()
    if state == "deregistered":
        transaction(world, "registered", "run-0").run()
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
    assert world.tags_of_new == {"team": "ops", MARK_TAG: CREATED, RUN_TAG: "run-1"}
    assert result["steps"] == [
        f"create an activation of role '{ROLE}' for {NAME}",
        f"register {HOST} with Systems Manager in region {REGION}",
        "restart the SSM agent on db",
        f"delete the activation for {NAME}",
    ]
    assert result["counts"] == {"create": 2, "update": 1, "delete": 1}
    assert result["node"] == {"id": "mi-1", "region": REGION, "role": ROLE, "name": NAME}


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
    assert transaction(world, state, "run-2").run()["steps"] == []
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
        transaction(world, state, "run-2").run()
        assert world.state() == expected.state(), where
        writes = len(world.writes)
        transaction(world, state, "run-3").run()
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
            predicted = transaction(world, state, "run-2").predict()["warnings"]
            assert re.search(rf"activation {warned[0]}.* until 2026-03-01T01:00:00Z", predicted[0])
        world.found = {each.id: replace(each, is_expired=True) for each in world.found.values()}
        planned = transaction(world, state, "run-2").predict()["steps"]
        assert transaction(world, state, "run-2").run()["steps"] == planned
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
            transaction(world, "registered", "run-0").run()
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
            done = [pool.submit(self.begin, "run-1"), pool.submit(self.begin, "run-2")]
        self.world.fault = lambda _number, _action, _effect: None
        return [error for each in done if (error := each.result())]

    def begin(self, run: str) -> BaseException | None:
        current_thread().name = run
        if run == "run-2":
            assert self.second_begins.wait(10)
        try:
            transaction(self.world, "registered", run).run()
        except (CwagentError, Killed) as error:
            return error
        finally:
            for each in [self.second_begins, self.first_has_ended] if run == "run-1" else [self.first_goes_on]:
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
        transaction(world, "registered", "run-3").run()
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
    assert "aws ssm delete-activation --activation-id a-1 --region eu-1" in str(caught.value)
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
    with pytest.raises(ConsistencyTimeout, match=r"db is registered as node mi-1.*within 2 seconds"):
        transaction(world, "registered").run()
    assert world.found == {}
    world.fault = lambda _number, _action, _effect: None
    assert transaction(world, "registered", "run-2").run()["steps"] == ["restart the SSM agent on db"]


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
    assert result["node"]["id"] == "mi-1"


@pytest.mark.parametrize(
    ("ping", "tags"),
    [
        ("ConnectionLost", {MARK_TAG: CREATED, RUN_TAG: "of others"}),
        ("ConnectionLost", {RUN_TAG: "run-9"}),
        (ONLINE, {MARK_TAG: CREATED, RUN_TAG: "run-9"}),
    ],
)
def test_only_a_node_that_the_interrupted_run_left_is_deregistered(ping: str, tags: dict[str, str]) -> None:
    """A record on the host alone proves nothing, because whoever controls the host can write it."""
    world = World()
    other = Node("mi-9", ROLE, NAME, ping, tags)
    world.nodes, world.activation_of = {"mi-9": other}, {"mi-9": "a-9"}
    world.host = replace(world.host, unfinished=Unfinished("", "a-9", "run-9"))
    transaction(world, "registered").run()
    assert "mi-9" in world.nodes


def test_an_activation_expires_an_hour_after_the_time_of_aws() -> None:
    world, created = World(), []

    def create(step: Step, keep: Callable[[NewActivation], None]) -> None:
        created.append(step.arguments["expiration_date"])
        World.create(world, step, keep)

    world.create = create
    transaction(world, "registered").run()
    assert created == [NOW + timedelta(hours=1)]
