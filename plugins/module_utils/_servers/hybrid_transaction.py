# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction. It creates an activation, registers the host with it, and always deletes the activation. Pure.

A record on the host exists from before the registration until all steps are done. With it, the next run continues after
a run that was killed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .._ground.errors import AwsApiError, ConsistencyTimeout, CwagentError
from .._ground.guard import NoGuard
from .._ground.plan import count_kinds
from .._ground.wait import Deadline
from . import hybrid_plan
from .commands import ONLINE
from .hybrid_plan import DEREGISTER, DEREGISTRATION, LEFT, NAMING, REFUSED_CODES, REGISTRATION, State
from .node import REGISTERED, HostState, NewActivation, Registration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from .._ground.gateway import Shield
    from .._ground.guard import Guard
    from .._ground.plan import Plan, Step
    from .hybrid_plan import Desired
    from .node import Activation, Node


# How long to look for an activation whose answer was lost.
LOOKUP_SECONDS = 10.0
# The line that a person reads before anything is created.
ADVICE = "Ctrl-C deletes the activation, and the next run continues the registration"


class Service(Protocol):
    """Systems Manager in the region of the run. Methods raise ``CwagentError``."""

    @property
    def now(self) -> datetime:
        """The time of the last answer."""

    def node(self, node_id: str) -> Node | None:
        """Return a node, without its tags."""

    def nodes_of(self, activation_id: str) -> Sequence[Node]:
        """Return the nodes that an activation registered, without their tags."""

    def nodes_of_host(self, host: str) -> Sequence[Node]:
        """Return the nodes that have a host as a tag, without their tags."""

    def tags(self, node_id: str) -> Mapping[str, str]:
        """Return the tags of a node; nothing if it was just deregistered."""

    def activations(self) -> Sequence[Activation]:
        """Return the activations that this collection created."""

    def take_over(self) -> None:
        """Make new connections. The earlier ones belong to another process."""

    def create(self, step: Step, keep: Callable[[NewActivation], None]) -> None:
        """Create an activation, at most once. Nothing interrupts the call before ``keep`` has got the activation."""

    def execute(self, step: Step) -> object:
        """Make the call of another step."""


class HybridHost(Protocol):
    """A host with an SSM agent. Methods return the result of the module on it, and raise ``CwagentError`` if it failed.

    The details of the error contain the actions that were ``done``.
    """

    def check(self) -> None:
        """Check that an activation code can be sent there. :raises InvalidInput: the reason, and what to do."""

    def read(self) -> Mapping[str, Any]:
        """Read the state of the SSM agent."""

    def register(self, activation: NewActivation, run: str, known_run: str) -> Mapping[str, Any]:
        """Record the run, register the host, and restart the SSM agent.

        :param known_run: the run whose record was read, or an empty text. The host refuses if another run has begun.
        """

    def restart(self) -> Mapping[str, Any]:
        """Restart the SSM agent."""

    def finish(self) -> Mapping[str, Any]:
        """Delete the record, because all is done."""

    def begin_clearing(self, node_id: str) -> Mapping[str, Any]:
        """Record that the node is being deregistered."""

    def clear(self) -> Mapping[str, Any]:
        """Clear the registration, stop the SSM agent, and delete the record."""


class Transaction:
    """Registers a host, or deregisters it.

    :param say: shows a person the current step.
    :param shield: nothing interrupts the body of this context. A signal during the body interrupts at its end.
    :param guard: watches this process while there is an activation.
    :param wait: for how many seconds to wait until the node is online.
    """

    def __init__(
        self,
        service: Service,
        host: HybridHost,
        desired: Desired,
        *,
        say: Callable[[str], None],
        shield: Shield,
        wait: float,
        guard: Guard | None = None,
    ) -> None:
        self._service = service
        self._host = host
        self._desired = desired
        self._say = say
        self._shield = shield
        self._wait = wait
        self._guard = guard or NoGuard()
        self._done: list[Step] = []
        self._warnings: list[str] = []

    def predict(self) -> dict[str, Any]:
        """Return the result that a run would have."""
        found = self._prepare()
        return self._result(found, found.all_steps, found.planned)

    def run(self) -> dict[str, Any]:
        """Register or deregister the host, and return the result.

        :raises CwagentError: something failed. The details of the error have the steps before that.
        """
        found = self._prepare()
        final = found.planned
        try:
            for step in [*found.steps.get(LEFT, ()), *found.steps.get(NAMING, ())]:
                self._execute(step)
            for step in found.steps.get(DEREGISTRATION, ()):
                self._deregister(step)
            if found.steps.get(REGISTRATION):
                final = self._register(found)
        except CwagentError as error:
            not_done = [step.summary for step in found.all_steps if step.summary not in self._summaries]
            result = self._result(found, self._done, found.planned)
            del result["node"]
            error.details.update({**result, "done": self._summaries, "not_done": not_done})
            raise
        return self._result(found, self._done, final)

    @property
    def _summaries(self) -> list[str]:
        return [step.summary for step in self._done]

    def _result(self, found: Plan[State], steps: Sequence[Step], final: State) -> dict[str, Any]:
        return {
            "changed": bool(steps),
            "steps": [step.summary for step in steps],
            "counts": count_kinds(steps),
            "diff": {"before": hybrid_plan.to_result(found.current), "after": hybrid_plan.to_result(found.planned)},
            "warnings": self._warnings,
            # The node that was deregistered is reported, too.
            **hybrid_plan.to_result(final if self._desired.state == REGISTERED else found.current),
        }

    def _prepare(self) -> Plan[State]:
        """Read the state, refuse it if this run must not act, and plan what follows."""
        desired = self._desired
        host = HostState.from_result(self._host.read(), desired.host)
        hybrid_plan.check_host(host, desired)
        state = State(host, self._find_node(host.registration))
        self._check_node(state)
        if hybrid_plan.plan(state, desired).has_changes:
            if desired.state == REGISTERED:
                self._host.check()
            activations = tuple(self._service.activations())
            left = self._find_left_nodes(host)
            state = replace(state, activations=activations, left_nodes=left, read_at=self._service.now)
        self._warnings += hybrid_plan.warnings(state, desired)
        return hybrid_plan.plan(state, desired)

    def _check_node(self, state: State) -> None:
        """Check that AWS shows the node that the host names as its own. :raises InvalidInput: it does not."""
        if hybrid_plan.find_doubt(state, self._desired):
            own = self._service.nodes_of_host(self._desired.host)
            state = replace(state, own_nodes=tuple(each.id for each in own))
        hybrid_plan.check_node(state, self._desired)

    def _find_node(self, registration: Registration | None) -> Node | None:
        if registration is None or registration.region != self._desired.region:
            return None
        node = self._service.node(registration.node_id)
        return node and self._with_tags(node)

    def _with_tags(self, node: Node) -> Node:
        return replace(node, tags=self._service.tags(node.id))

    def _find_left_nodes(self, host: HostState) -> tuple[Node, ...]:
        """Return the nodes that an interrupted run registered, although the host did not save its registration."""
        unfinished = host.unfinished
        if host.registration or not unfinished or not unfinished.activation_id:
            return ()
        nodes = map(self._with_tags, self._service.nodes_of(unfinished.activation_id))
        return tuple(node for node in nodes if hybrid_plan.is_left(node, host, self._desired))

    def _deregister(self, step: Step) -> None:
        if step.action == DEREGISTER:
            self._host.begin_clearing(step.arguments["instance_id"])
            self._execute(step)
        else:
            self._say(step.summary)
            self._on_host([step], self._host.clear)

    def _register(self, found: Plan[State]) -> State:
        """Take the steps of the registration, and wait until the node is online.

        :returns: the state at the end.
        """
        steps, current = found.steps[REGISTRATION], found.current
        if len(steps) == 1:
            self._say(steps[0].summary)
            result = self._on_host(steps, self._host.restart)
            registration = current.host.registration or Registration("", "")
            nodes = partial(self._nodes_of_registration, current, registration.node_id)
        else:
            self._say(ADVICE)
            activation_id, result = self._use_activation(current, *steps)
            nodes = partial(self._service.nodes_of, activation_id)
        host = HostState.from_result(result, self._desired.host)
        node = self._wait_until_online(host, nodes)
        self._host.finish()
        return State(replace(host, registration=Registration(node.id, self._desired.region)), node)

    def _nodes_of_registration(self, current: State, node_id: str) -> Sequence[Node]:
        """Return the node of a registration that an earlier run made. AWS may show it only now."""
        node = self._service.node(node_id)
        if node and not current.node:
            self._check_node(replace(current, node=self._with_tags(node)))
        return [node] if node else []

    def _use_activation(
        self, current: State, create: Step, register: Step, restart: Step, delete: Step
    ) -> tuple[str, Mapping[str, Any]]:
        """Create an activation, register the host with it, and delete it, whatever happens.

        :returns: the ID of the activation, and the result of the host.
        """
        created: list[NewActivation] = []
        self._guard.watch(lambda: self._take_over(current, delete))
        try:
            try:
                result = self._register_with(current, created, create, register, restart)
            except CwagentError as failure:
                self._delete_after(failure, current, created, delete)
                raise
            self._delete(current, created, delete)
        except CwagentError:
            self._guard.end()
            raise
        except BaseException:  # a signal or a time limit; nobody reads a result then
            with suppress(CwagentError):  # then the guard tries it again, and reports the outcome
                self._delete(current, created, delete)
                self._guard.end()
            raise
        self._guard.end()
        return created[0].id, result

    def _take_over(self, current: State, delete: Step) -> str:
        """Delete the activation instead of a process that was killed. :returns: the outcome, as a sentence."""
        try:
            self._service.take_over()
            self._delete(current, [], delete)
        except CwagentError as error:
            return str(error)
        return "Its activation was deleted. Run again, which continues the registration."

    def _register_with(
        self, current: State, created: list[NewActivation], create: Step, register: Step, restart: Step
    ) -> Mapping[str, Any]:
        """Register the host with a new activation. :param created: receives the activation."""
        self._service.create(create, created.append)
        self._done.append(create)
        self._say(register.summary)
        known = current.host.unfinished.run if current.host.unfinished else ""
        return self._on_host([register, restart], lambda: self._host.register(created[0], self._desired.run, known))

    def _delete_after(
        self, failure: CwagentError, current: State, created: Sequence[NewActivation], delete: Step
    ) -> None:
        """Delete the activation after a failure. :raises CwagentError: with both failures."""
        if not created and isinstance(failure, AwsApiError) and failure.code in REFUSED_CODES:
            return
        try:
            self._delete(current, created, delete)
        except CwagentError as error:
            raise CwagentError(f"{error} Before that: {failure}", **{**failure.details, **error.details}) from error

    def _delete(self, current: State, created: Sequence[NewActivation], delete: Step) -> None:
        """Delete the activation of this run, even if the answer of its creation was lost.

        :param created: the activation. It is empty if there was no answer.
        :raises CwagentError: it may be left. The message describes it, and what to do.
        """
        until = hybrid_plan.show_time(hybrid_plan.compute_expiration(current))
        use = f"can register one server with role '{self._desired.role}' until {until}"
        with self._shield():
            try:
                found = [each.id for each in created] or self._find_own()
            except CwagentError as error:
                raise CwagentError(
                    f"It is not known whether AWS created the activation, which {use}. Nobody has its code. After that "
                    f"time, the next run that registers a server deletes it. {error}",
                    **error.details,
                ) from error
            self._delete_all(found, delete, use)

    def _delete_all(self, activations: Sequence[str], delete: Step, use: str) -> None:
        """Delete activations, even if one of them cannot be deleted. :param use: the use of each of them, in words."""
        left: dict[str, CwagentError] = {}
        for each in activations:
            try:
                self._service.execute(replace(delete, arguments={"activation_id": each}))
            except CwagentError as error:
                left[each] = error
            else:
                self._done.append(delete)
        if left:
            usable = [
                f"Unless it was used, activation {each} {use}. Delete it: "
                f"{hybrid_plan.deletion_command(each, self._desired.region)}."
                for each in left
            ]
            reasons = dict.fromkeys(map(str, left.values()))
            raise CwagentError(
                f"{' '.join(usable)} After that time, the next run that registers a server deletes it. "
                f"{' '.join(reasons)}"
            )

    def _find_own(self) -> list[str]:
        """Return the activation that this run created without an answer. AWS may show it late."""
        deadline = Deadline(LOOKUP_SECONDS)
        while True:
            found = [each.id for each in self._service.activations() if each.run == self._desired.run]
            if found or not deadline.pause():
                return found

    def _wait_until_online(self, host: HostState, nodes: Callable[[], Sequence[Node]]) -> Node:
        """Wait until Systems Manager hears from the SSM agent.

        :param nodes: returns the node of the host, according to AWS. It returns nothing while AWS does not show it.
        :raises CwagentError: the host names another node. :raises ConsistencyTimeout: its node is not online in time.
        """
        named = host.registration
        if named is None:
            raise CwagentError(f"{self._desired.host} has lost its registration. Run again.")
        deadline = Deadline(self._wait)
        self._say(f"wait until node {named.node_id} is online")
        while True:
            found = nodes()
            for node in found:
                if node.id != named.node_id:
                    raise CwagentError(
                        f"{self._desired.host} reports node {named.node_id}, but it was registered as node "
                        f"{node.id}, which stays registered. Do not trust the server before you have checked it. To "
                        f"deregister its node, give {node.id} to cwagent.iam.remove_servers."
                    )
                if node.ping == ONLINE:
                    return node
            if not deadline.pause():
                raise ConsistencyTimeout(
                    f"{self._desired.host} is registered as node {named.node_id}, but the node was not online within "
                    f"{deadline.seconds:.0f} seconds. Check on the host that the SSM agent runs and that it reaches "
                    f"the endpoints ssm, ssmmessages and ec2messages in region {self._desired.region}: sudo tail "
                    "/var/log/amazon/ssm/amazon-ssm-agent.log. Then run again, or increase wait_timeout."
                )

    def _execute(self, step: Step) -> None:
        self._service.execute(step)
        self._done.append(step)

    def _on_host(self, steps: Sequence[Step], work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Take steps on the host, and record those that were taken even if one failed."""
        try:
            result = work()
        except CwagentError as error:
            self._done += [step for step in steps if step.action in error.details.get("done", ())]
            raise
        self._done += steps
        return result
