# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides how a host is registered with Systems Manager, or deregistered. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from .._ground.errors import DENIED_CODES, THROTTLING_CODES, UNKNOWN_ROLE, InvalidInput
from .._ground.names import CREATED, MARK_TAG, name_of
from .._ground.plan import Kind, Plan, Step
from .._ground.text import to_printable
from .commands import ONLINE
from .node import (
    CLEAR,
    DEREGISTERED,
    HOST_TAG,
    REGISTER,
    REGISTERED,
    RESTART,
    RUN_TAG,
    Activation,
    HostState,
    Node,
    Registration,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


CREATE, DELETE = "ssm:CreateActivation", "ssm:DeleteActivation"
DEREGISTER, TAG = "ssm:DeregisterManagedInstance", "ssm:AddTagsToResource"
# The items of a plan, in their order.
LEFT, NAMING, REGISTRATION, DEREGISTRATION = "left", "naming", "registration", "deregistration"

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
    :param host: the name of the host in the inventory, which its node has as a tag.
    :param tags: the user's tags of a new node.
    :param run: the ID of this run.
    :param role_is_new: whether the role was created or changed earlier in the run, so that Systems Manager may not know
        that yet.
    :param node_id: the node that the user has given the host. Empty if the tag decides.
    """

    state: str
    region: str
    role: str
    name: str
    host: str
    run: str
    tags: Mapping[str, str] = field(default_factory=dict)
    role_is_new: bool = False
    node_id: str = ""


@dataclass(frozen=True)
class State:
    """A host and its node.

    :param node: the node that the host names, as AWS shows it; ``None`` if there is none in the region of the run. It
        can belong to another host.
    :param own_nodes: the IDs of the nodes with the tag of this host. They are read only if ``node`` is not its own.
    :param left_nodes: nodes that an interrupted run registered for this host, which does not know them.
    :param activations: the activations of this collection. They are read only if there is anything to do.
    :param read_at: when they were read, according to the clock of AWS.
    """

    host: HostState
    node: Node | None = None
    own_nodes: tuple[str, ...] = ()
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
    if desired.node_id and not found:
        raise InvalidInput(
            f"{desired.host} is not registered, and node_id (cwagent_node_id in the playbooks) is {desired.node_id}. "
            "Remove that, and run again to register the host."
        )


def check_node(state: State, desired: Desired) -> None:
    """Check that AWS shows the node that a host names as its own.

    :raises InvalidInput: it does not. The message contains the node that the host names, its own nodes, and the way
        out.
    """
    found, doubt = state.host.registration, find_doubt(state, desired)
    if not (found and doubt):
        return
    own = f"node {', '.join(state.own_nodes)}" if state.own_nodes else "no node"
    renamed = (
        f"If this server was renamed, set node_id (cwagent_node_id in the playbooks) to {found.node_id} for it. If it "
        f"is a copy of another server, {_clearing_advice(state.host)} Otherwise, do not trust the server."
    )
    raise InvalidInput(
        f"{desired.host} is registered as node {found.node_id} in region {found.region}, but {doubt}. Systems Manager "
        f"has {own} with the tag {HOST_TAG}={desired.host}. "
        + (renamed if state.node else f"If nothing else uses the registration, {_clearing_advice(state.host)}")
    )


def find_doubt(state: State, desired: Desired) -> str:
    """Return why the node that a host names is not its own, according to AWS; empty if it is, or if there is none.

    A host that is to be deregistered may have a registration that this collection did not make. It stays.
    """
    found, node, unfinished = state.host.registration, state.node, state.host.unfinished
    if not found or found.region != desired.region:
        return ""
    if node is None:
        if desired.state != REGISTERED or _is_of_record(state.host):
            return ""
        return "there is no such node in this account and region: it belongs to another account, or was deregistered"
    if desired.state != REGISTERED and not (node.is_ours or node.host):
        return ""
    if desired.node_id and desired.node_id != node.id:
        return f"its node_id (cwagent_node_id in the playbooks) is {desired.node_id}"
    if not is_own(node, desired):
        return f"that node has {f'the tag {HOST_TAG}={to_printable(node.host)}' if node.host else f'no tag {HOST_TAG}'}"
    if unfinished and unfinished.activation_id and unfinished.activation_id != node.activation_id:
        return f"activation {node.activation_id}, and not the one of its unfinished run, registered that node"
    return ""


def is_own(node: Node, desired: Desired) -> bool:
    """Whether AWS shows that a node belongs to the host, or the user has given it to the host."""
    return desired.node_id == node.id if desired.node_id else node.host == desired.host


def is_left(node: Node, host: HostState, desired: Desired) -> bool:
    """Whether the interrupted run in the record of a host registered a node for it.

    A record proves nothing, because whoever controls the host can write it.
    """
    run = host.unfinished.run if host.unfinished else ""
    return node.is_ours and node.host == desired.host and node.tags.get(RUN_TAG) == run


def _clearing_advice(host: HostState) -> str:
    program = host.agent or "amazon-ssm-agent"
    return f"clear the registration on the host: sudo {program} -register -clear. Then run again."


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
        if each.ping != ONLINE
    ]
    return Plan(current, _planned_state(current, desired), {LEFT: left, **steps})


def _plan_registration(current: State, desired: Desired) -> dict[str, list[Step]]:
    """Return the steps, without the clean-up after earlier runs."""
    host = current.host
    restart = Step(Kind.UPDATE, RESTART, {}, f"restart the SSM agent on {desired.host}")
    if host.registration and not is_cleared_first(current):
        node = current.node
        steps = {
            NAMING: [_name(node, desired)] if node and is_own(node, desired) and node.host != desired.host else [],
            REGISTRATION: [restart] if host.unfinished else [],
        }
        return {item: each for item, each in steps.items() if each}
    create = Step(
        Kind.CREATE,
        CREATE,
        {
            "iam_role": desired.role,
            "registration_limit": 1,
            "expiration_date": compute_expiration(current),
            "default_instance_name": desired.name,
            "tags": {**desired.tags, MARK_TAG: CREATED, RUN_TAG: desired.run, HOST_TAG: desired.host},
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
        is_deregistered = current.node.is_ours and is_own(current.node, desired)
        return {DEREGISTRATION: [deregister(current.node), _clear(desired)]} if is_deregistered else {}
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


def _name(node: Node, desired: Desired) -> Step:
    """Return the step that gives a node to a host that was renamed."""
    return Step(
        Kind.UPDATE,
        TAG,
        {"resource_type": "ManagedInstance", "resource_id": node.id, "tags": {HOST_TAG: desired.host}},
        f"set tag {HOST_TAG} of node {node.id} to {desired.host}",
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
    node = replace(node, tags={**node.tags, HOST_TAG: desired.host})
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
    found += [
        f"node {each.id} was registered with the activation of {desired.host} in an interrupted run, and it is online "
        f"although {desired.host} is not registered. Unless that is another server of yours, somebody has the code: "
        f"{deregistration_command(each.id, desired.region)}"
        for each in current.left_nodes
        if each.ping == ONLINE
    ]
    if desired.state == REGISTERED and node:
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


def deregistration_command(node_id: str, region: str) -> str:
    """Return the command of the AWS CLI that deregisters a node."""
    return f"aws ssm deregister-managed-instance --instance-id {node_id} --region {region}"


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
