# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which commands to send to an instance and to cancel. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import may
from ansible_collections.cwagent.iam.plugins.module_utils._access.evaluate import Decision
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import SSM_POLICIES, SSM_SUCCESSOR
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import CANCELLING, Command
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import StoreRequest
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.script import store_script

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Principal
    from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import Write

SENT, CANCELLED = "sent", "cancelled"
# The comments of all commands that store begin like this, so that the next run finds an interrupted run's commands.
COMMENT = "cwagent.iam store"
SEND, CANCEL = "ssm:SendCommand", "ssm:CancelCommand"
# The least that Systems Manager allows for the delivery; the script may run for as long.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
MIN_SECONDS = 30
MAX_DELIVERY_SECONDS = 120
# The permissions that the SSM agent needs to stay online, and for either of the two channels for its commands.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-setting-up-messageAPIs.html
_PING = "ssm:UpdateInstanceInformation"
_CHANNELS = (
    ("ssmmessages:CreateControlChannel", "ssmmessages:OpenControlChannel"),
    ("ec2messages:GetMessages", "ec2messages:AcknowledgeMessage", "ec2messages:SendReply"),
)


@dataclass(frozen=True)
class State:
    """The commands that store configurations from an instance.

    :param now: the time according to the clock of AWS.
    :param own: the command of this run.
    :param others: commands of other runs that can still store something.
    """

    now: datetime
    own: Command | None = None
    others: tuple[Command, ...] = ()


@dataclass(frozen=True)
class DesiredCommand:
    """The command that the user wants to be sent or cancelled.

    :param state: ``SENT`` or ``CANCELLED``.
    :param run_id: identifies the command of this run.
    :param seconds: how long the command may live. The admin window is opened later and for longer.
    :param permission_seconds: how long it tries to store after the instance has got the role.
    """

    state: str
    instance_id: str
    run_id: str
    role: str = ""
    writes: tuple[Write, ...] = ()
    seconds: int = 0
    permission_seconds: int = 0

    @property
    def comment(self) -> str:
        """How the comment of the command begins. It ends with the deadline."""
        return f"{COMMENT} {self.run_id} "


@dataclass(frozen=True)
class Sending:
    """The data for sending a command, besides its step.

    :param delivery_seconds: how long the agent has to fetch it.
    :param execution_seconds: how long the script may run then. Both times together end at the deadline, whatever the
        clock of the instance shows.
    """

    script: str
    comment: str
    delivery_seconds: int
    execution_seconds: int


def state_of(commands: Iterable[Command], desired: DesiredCommand, now: datetime) -> State:
    """Return the state according to the commands that were recently sent to the instance."""
    found = [each for each in commands if each.comment.startswith(f"{COMMENT} ")]
    own = [each for each in found if each.comment.startswith(desired.comment)]
    others = tuple(each for each in found if each not in own and each.is_pending)
    return State(now, own[0] if own else None, others)


def deadline_of(command: Command) -> int:
    """Return the time after which a command does nothing, in seconds since 1970."""
    return int(command.comment.rpartition(" ")[2])


def plan(current: State, desired: DesiredCommand) -> Plan[State]:
    """Plan which commands to cancel, and the one to send.

    The command of an interrupted run is cancelled before a new one is sent. Otherwise it would store its older
    configurations as soon as the instance gets the admin identity again.

    :raises InvalidInput: the configurations are too large for a command.
    """
    own = current.own
    if desired.state == CANCELLED:
        is_running = own is not None and own.is_pending and own.status != CANCELLING
        steps = [_cancel(own, desired, is_awaited=False)] if own and is_running else []
        planned = replace(current, own=replace(own, status=CANCELLING) if own and steps else own)
    else:
        steps = [_cancel(each, desired, is_awaited=True) for each in current.others]
        steps += [_send(current, desired)] if own is None else []
        planned = State(current.now, own or Command("", desired.comment, "Pending"))
    return Plan(current, planned, {desired.instance_id: steps})


def to_diff(state: State) -> dict[str, object]:
    """Render the commands for the diff."""
    can_store = state.own is not None and state.own.status != CANCELLING
    return {"command": "sent" if can_store else "none", "commands_of_other_runs": [each.id for each in state.others]}


def _cancel(command: Command, desired: DesiredCommand, *, is_awaited: bool) -> Step:
    return Step(
        Kind.DELETE,
        CANCEL,
        {"command_id": command.id},
        f"cancel command {command.id} on instance {desired.instance_id}",
        done_when=frozenset({"InvalidCommandId"}),
        context=is_awaited,
    )


def _send(current: State, desired: DesiredCommand) -> Step:
    delivery = max(MIN_SECONDS, min(MAX_DELIVERY_SECONDS, desired.seconds // 2))
    deadline = int(current.now.timestamp()) + desired.seconds
    request = StoreRequest(desired.writes, desired.role, deadline, desired.permission_seconds)
    script = store_script(request)
    names = ", ".join(f"{each.name} in {each.region}" for each in desired.writes)
    return Step(
        Kind.CREATE,
        SEND,
        {},
        f"send instance {desired.instance_id} the command that stores {names}",
        context=Sending(script, f"{desired.comment}{deadline}", delivery, desired.seconds - delivery),
    )


def has_ssm_policy(role: Principal) -> bool:
    """Whether a role has the permissions for the SSM agent, without reading the documents of its policies."""
    return role.boundary is None and any(role.has_policy(each) for each in SSM_POLICIES.values())


def agent_access_problem(role: Principal, now: datetime) -> str:
    """Return why the SSM agent of an instance with a role would not work; empty if it would, or if that is unknown."""

    def is_denied(action: str) -> bool:
        return may(role, now, action) is Decision.NO

    missing = [action for action in (_PING,) if is_denied(action)]
    if all(any(map(is_denied, channel)) for channel in _CHANNELS):
        missing += filter(is_denied, _CHANNELS[0])
    if not missing:
        return ""
    return (
        f"role '{role.name}' does not allow {', '.join(missing)}, so the SSM agent would not work while the instance "
        f"has the admin profile. Set cwagent_ssm_policy to {SSM_SUCCESSOR} and run cwagent.iam.site, which attaches it "
        "to the role; a permissions boundary must allow these actions too. Or set cwagent_store_config_from to another "
        "source"
    )
