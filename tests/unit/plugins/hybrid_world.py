"""Systems Manager and a host, for tests of the transaction that registers the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    ContentionError,
    CwagentError,
    HostUnreachable,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Step
from ansible_collections.cwagent.iam.plugins.module_utils._servers import hybrid_plan
from ansible_collections.cwagent.iam.plugins.module_utils._servers.commands import ONLINE
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid_plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid_transaction import Transaction
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import (
    RUN_TAG,
    Activation,
    HostState,
    NewActivation,
    Node,
    Unfinished,
)

REGION, ROLE, HOST = "eu-central-1", "hybrid", "db"
RUNS = [f"{number:08}-1234-1234-1234-123456789012" for number in range(5)]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAME = "name of the server"
OFFLINE = "ConnectionLost"


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


def is_usable(activation: Activation) -> bool:
    return not activation.is_used and not activation.is_expired
