# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides how a host is registered with Systems Manager, or deregistered. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED_CODES,
    THROTTLING_CODES,
    UNKNOWN_ROLE,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import (
    CLEAR,
    DEREGISTERED,
    REGISTER,
    REGISTERED,
    RESTART,
    RUN_TAG,
    Activation,
    HostState,
    Node,
    Registration,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import CREATED, MARK_TAG, name_of
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import ONLINE

if TYPE_CHECKING:
    from collections.abc import Mapping

CREATE, DELETE = "ssm:CreateActivation", "ssm:DeleteActivation"
DEREGISTER = "ssm:DeregisterManagedInstance"
# The items of a plan, in their order.
LEFT, REGISTRATION, DEREGISTRATION = "left", "registration", "deregistration"

LIFETIME = timedelta(hours=1)
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CreateActivation.html
# After one of these, no activation was created.
REFUSED_CODES = (
    DENIED_CODES | THROTTLING_CODES | {UNKNOWN_ROLE, "ValidationException", "InvalidParameters", "TooManyUpdates"}
)
NO_ACTIVATION_CODES = frozenset({"InvalidActivation", "InvalidActivationId"})
NO_NODE = "InvalidInstanceId"
# A date that nothing was read at.
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Desired:
    """The desired registration of a host.

    :param state: ``REGISTERED`` or ``DEREGISTERED``.
    :param role: the name of the role of its node, with its path in IAM if it has one, as Systems Manager takes it.
    :param name: the name of its node.
    :param host: the name of the host, for messages.
    :param tags: the user's tags of a new node.
    :param run: the ID of this run.
    :param role_is_new: whether the role was created or changed earlier in the run, so that Systems Manager may not know
        that yet.
    """

    state: str
    region: str
    role: str
    name: str
    host: str
    run: str
    tags: Mapping[str, str] = field(default_factory=dict)
    role_is_new: bool = False


@dataclass(frozen=True)
class State:
    """A host and its node.

    :param node: its node in the region of the run; ``None`` if there is none, or if the host is registered in another
        region.
    :param left_nodes: nodes that an interrupted run registered for this host, which does not know them.
    :param activations: the activations of this collection. They are read only if there is anything to do.
    :param read_at: when they were read, according to the clock of AWS.
    """

    host: HostState
    node: Node | None = None
    left_nodes: tuple[Node, ...] = ()
    activations: tuple[Activation, ...] = ()
    read_at: datetime = _NEVER


def check_host(host: HostState, desired: Desired) -> None:
    """Check that the host can be registered in the region, or that it is.

    :raises InvalidInput: it cannot. The message contains the way out.
    """
    found = host.registration
    if desired.state != REGISTERED:
        if found and found.region != desired.region and host.is_marked:
            raise InvalidInput(
                f"{desired.host} is registered as node {found.node_id} in region {found.region}, and this run is for "
                f"region {desired.region}. Set cwagent_region to {found.region} for this host, and run again."
            )
        return
    if not host.agent:
        raise InvalidInput(
            f"{desired.host} has no SSM agent, which registers it with Systems Manager. Install it, then run again. "
            f"{host.installation}"
        )
    if host.problem:
        raise InvalidInput(f"{desired.host} cannot be registered: {host.problem}")
    if found and found.region != desired.region:
        raise InvalidInput(
            f"{desired.host} is registered as node {found.node_id} in region {found.region}, and this run is for "
            f"region {desired.region}. A server has one registration. Use that region, or deregister the node there "
            f"and {_clearing_advice(host)}"
        )


def check_node(state: State, desired: Desired) -> None:
    """Check that Systems Manager knows the node of a host that is to be registered.

    :raises InvalidInput: it does not know it. The message contains the way out.
    """
    found = state.host.registration
    if desired.state == REGISTERED and found and not state.node and not _is_of_record(state.host):
        raise InvalidInput(
            f"{desired.host} is registered as node {found.node_id} in region {found.region}, but there is no such node "
            "in this account and region. It belongs to another account, or it was deregistered. If nothing else uses "
            f"the registration, {_clearing_advice(state.host)}"
        )


def _clearing_advice(host: HostState) -> str:
    return f"clear the registration on the host: sudo {host.agent} -register -clear. Then run again."


def plan(current: State, desired: Desired) -> Plan[State]:
    """Plan the steps from the current state to the desired one."""
    make = _plan_registration if desired.state == REGISTERED else _plan_deregistration
    steps = make(current, desired)
    if not steps:
        return Plan(current, current, {})
    left = [delete_spent(each) for each in current.activations if each.is_spent]
    left += [
        replace(deregister(each), summary=f"deregister node {each.id}, which an interrupted run left")
        for each in current.left_nodes
    ]
    return Plan(current, _planned_state(current, desired), {LEFT: left, **steps})


def _plan_registration(current: State, desired: Desired) -> dict[str, list[Step]]:
    """Return the steps, without the clean-up after earlier runs."""
    host = current.host
    restart = Step(Kind.UPDATE, RESTART, {}, f"restart the SSM agent on {desired.host}")
    if host.registration and not is_cleared_first(current):
        return {REGISTRATION: [restart]} if host.unfinished else {}
    create = Step(
        Kind.CREATE,
        CREATE,
        {
            "iam_role": desired.role,
            "registration_limit": 1,
            "expiration_date": compute_expiration(current),
            "default_instance_name": desired.name,
            "tags": {**desired.tags, MARK_TAG: CREATED, RUN_TAG: desired.run},
        },
        f"create an activation of role '{desired.role}' for {desired.name}",
        retry_when=THROTTLING_CODES | ({UNKNOWN_ROLE} if desired.role_is_new else frozenset()),
    )
    register = Step(
        Kind.CREATE, REGISTER, {}, f"register {desired.host} with Systems Manager in region {desired.region}"
    )
    delete = Step(Kind.DELETE, DELETE, {}, f"delete the activation for {desired.name}", done_when=NO_ACTIVATION_CODES)
    clearing = [_clear(desired)] if is_cleared_first(current) else []
    return {DEREGISTRATION: clearing, REGISTRATION: [create, register, restart, delete]}


def is_cleared_first(current: State) -> bool:
    """Whether an interrupted run deregistered the node of the host, which still has its registration."""
    unfinished = current.host.unfinished
    return bool(not current.node and unfinished and unfinished.node_id and _is_of_record(current.host))


def _is_of_record(host: HostState) -> bool:
    """Whether the registration of a host is the one in the record of an unfinished run, which is then ours.

    The record of a registration has no node yet. A registration that this collection made has a mark.
    """
    found, unfinished = host.registration, host.unfinished
    if not (found and unfinished):
        return False
    return unfinished.node_id == found.node_id if unfinished.node_id else host.is_marked


def _plan_deregistration(current: State, desired: Desired) -> dict[str, list[Step]]:
    """Return the steps, without the clean-up after earlier runs. A node of others stays."""
    host = current.host
    if host.registration is None:
        return {DEREGISTRATION: [_clear(desired)]} if host.unfinished else {}
    if host.registration.region != desired.region:
        return {}
    if current.node:
        return {DEREGISTRATION: [deregister(current.node), _clear(desired)]} if current.node.is_ours else {}
    return {DEREGISTRATION: [_clear(desired)]} if _is_of_record(host) else {}


def delete_spent(activation: Activation) -> Step:
    """Return the step that deletes an activation that cannot register a server any more."""
    reason = "was used" if activation.is_used else "has expired"
    return Step(
        Kind.DELETE,
        DELETE,
        {"activation_id": activation.id},
        f"delete activation {activation.id}, which {reason}",
        done_when=NO_ACTIVATION_CODES,
    )


def deregister(node: Node) -> Step:
    """Return the step that deregisters a node."""
    return Step(
        Kind.DELETE, DEREGISTER, {"instance_id": node.id}, f"deregister node {node.id}", done_when=frozenset({NO_NODE})
    )


def _clear(desired: Desired) -> Step:
    return Step(Kind.DELETE, CLEAR, {}, f"clear the registration of {desired.host} and stop the SSM agent")


def compute_expiration(state: State) -> datetime:
    """Return when an activation expires that is created now."""
    return state.read_at + LIFETIME if state.read_at != _NEVER else _NEVER


def _planned_state(current: State, desired: Desired) -> State:
    left = tuple(each for each in current.activations if not each.is_spent)
    host = replace(current.host, registration=None, unfinished=None)
    cleaned = replace(current, host=host, node=None, left_nodes=(), activations=left)
    if desired.state == DEREGISTERED:
        return cleaned
    node = current.node or Node("", desired.role, desired.name)
    registration = Registration(node.id, desired.region)
    return replace(cleaned, host=replace(host, registration=registration), node=replace(node, ping=ONLINE))


def warnings(current: State, desired: Desired) -> list[str]:
    """List problems that the user should know about although they are not errors."""
    host, node = current.host, current.node
    found = [
        f"activation {each.id}, which another run created for {each.name}, can register one server until "
        f"{show_time(each.expires)}. If that run is not running any more, delete the activation: "
        f"{deletion_command(each.id, desired.region)}. After that time, the next run that registers a server "
        "deletes it."
        for each in current.activations
        if each.name == desired.name and not each.is_spent
    ]
    if desired.state == REGISTERED and node:
        if node.name != desired.name and node.id:
            found.append(
                f"{desired.host} is registered as node {node.id} with the name '{node.name}'. To deregister it while "
                f"it is off, give {node.id} to cwagent.iam.remove_servers."
            )
        # It is not documented whether the description of a node has the path of its role.
        if name_of(node.role) != name_of(desired.role):
            found.append(
                f"{desired.host} is registered as node {node.id} with role '{node.role}', not with role "
                f"'{desired.role}'. To change that, deregister the server and run again, or change the node's role."
            )
        if node.ping != ONLINE and not host.unfinished:
            found.append(
                f"node {node.id} of {desired.host} is not online ({node.ping}), so the credentials on the host may "
                "have expired. Check that the SSM agent runs there, and that it reaches Systems Manager."
            )
    if desired.state == DEREGISTERED and host.registration and not _plan_deregistration(current, desired):
        found.append(
            f"{desired.host} stays registered as node {host.registration.node_id}: {_find_reason(current, desired)}"
        )
    return found


def _find_reason(current: State, desired: Desired) -> str:
    """Return why a host stays registered."""
    found = current.host.registration
    if found and found.region != desired.region:
        return f"that is in region {found.region}, and this run is for region {desired.region}."
    if current.node:
        return "the node was not created by this collection."
    reason = "there is no such node in this account and region"
    if not current.host.agent:
        return f"{reason}, and the host has no SSM agent that could use the registration."
    return f"{reason}. If nothing else uses the registration, {_clearing_advice(current.host)}"


def show_time(time: datetime) -> str:
    """Return a time of AWS as text."""
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def deletion_command(activation_id: str, region: str) -> str:
    """Return the command of the AWS CLI that deletes an activation."""
    return f"aws ssm delete-activation --activation-id {activation_id} --region {region}"


def to_result(state: State) -> dict[str, Any]:
    """Render the node of a host for the result and the diff; ``None`` for none. A node to be registered has no ID."""
    found, node = state.host.registration, state.node
    if found is None:
        return {"node": None}
    return {
        "node": {
            "id": found.node_id or None,
            "region": found.region,
            "role": node.role if node else None,
            "name": node.name if node else None,
        }
    }
