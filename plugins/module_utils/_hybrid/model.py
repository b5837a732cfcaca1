# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host, its node in Systems Manager, and the activations that register nodes. Pure.

https://docs.aws.amazon.com/systems-manager/latest/userguide/hybrid-activation-managed-nodes.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._names import TAG_PREFIX, is_created

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# The states of a host.
READ, REGISTERED, RESTARTED, FINISHED = "read", "registered", "restarted", "finished"
DEREGISTERING, DEREGISTERED = "deregistering", "deregistered"
# The steps that a host takes.
REGISTER, RESTART, CLEAR = "host:register", "host:restart", "host:clear"
# The run that created an activation. AWS copies the tags of an activation to the node that it registers.
RUN_TAG = f"{TAG_PREFIX}run"


@dataclass(frozen=True)
class Registration:
    """The registration that a host has saved. :param node_id: the ID of its node: ``mi-`` and 17 digits."""

    node_id: str
    region: str


@dataclass(frozen=True)
class Unfinished:
    """The record on a host of a run that began to register or deregister it.

    :param node_id: the node that is being deregistered. It is empty for a registration.
    :param activation_id: the activation of a registration.
    :param run: the run that created the activation.
    """

    node_id: str = ""
    activation_id: str = ""
    run: str = ""


@dataclass(frozen=True)
class HostState:
    """The SSM agent of a host.

    :param agent: the path of its program. It is empty if the SSM agent is not installed.
    :param installation: how to install it on this host.
    :param problem: why its configuration rules out a registration. It is empty if it does not.
    :param is_marked: whether this collection made the registration.
    """

    agent: str = ""
    installation: str = ""
    problem: str = ""
    registration: Registration | None = None
    unfinished: Unfinished | None = None
    is_marked: bool = False

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> HostState:
        """Return the state in a result of the module on the host."""
        registration, unfinished = result["registration"], result["unfinished"]
        return cls(
            result["ssm_agent"],
            result["installation"],
            result["problem"],
            Registration(registration["instance_id"], registration["region"]) if registration else None,
            Unfinished(unfinished["instance_id"], unfinished["activation_id"], unfinished["run_id"])
            if unfinished
            else None,
            result["marked"],
        )


@dataclass(frozen=True)
class Node:
    """A server that is registered with Systems Manager.

    :param ping: whether its SSM agent answers: ``Online``, ``ConnectionLost`` or ``Inactive``.
    :param tags: empty if they were not read.
    """

    id: str
    role: str
    name: str = ""
    ping: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether its tags show that an activation of this collection registered it."""
        return is_created(self.tags)


@dataclass(frozen=True)
class Activation:
    """An activation that this collection created.

    :param name: the name of the node that it registers.
    :param run: the run that created it.
    """

    id: str
    name: str
    run: str
    expires: datetime
    is_expired: bool = False
    is_used: bool = False

    @property
    def is_spent(self) -> bool:
        """Whether it cannot register a server any more."""
        return self.is_expired or self.is_used


@dataclass(frozen=True)
class NewActivation:
    """An activation that this run created, with its code, which appears nowhere."""

    id: str
    code: str = field(repr=False)
