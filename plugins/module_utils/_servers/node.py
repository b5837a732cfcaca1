# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host, its node in Systems Manager, and the activations that register nodes. Pure.

https://docs.aws.amazon.com/systems-manager/latest/userguide/hybrid-activation-managed-nodes.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.names import TAG_PREFIX, is_created, is_node_id, is_region
from .._ground.text import to_printable

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
# The host in the inventory whose node it is. The server itself cannot write tags, so this decides whose node it is.
HOST_TAG = f"{TAG_PREFIX}host"
# Activations and runs have UUIDs.
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    def from_result(cls, result: Mapping[str, Any], host: str) -> HostState:
        """Return the state in a result of the module on the host.

        :param host: the name of the host.
        :raises InvalidInput: the host has answered something that the module cannot return.
        """
        try:
            registration, unfinished = result["registration"], result["unfinished"]
            return cls(
                to_printable(result["ssm_agent"] or ""),
                to_printable(result["installation"] or ""),
                to_printable(result["problem"] or ""),
                _read_registration(registration) if registration else None,
                _read_unfinished(unfinished) if unfinished else None,
                bool(result["marked"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"{host} answered with an unexpected state of its SSM agent ({to_printable(error)}). Check the host: "
                "its registration file was changed, or something other than Ansible's modules answers there."
            ) from error


def _read_registration(found: Mapping[str, Any]) -> Registration:
    node, region = found["instance_id"], found["region"]
    if not is_node_id(node):
        raise ValueError(f"'{node}' is not the ID of a node")
    if not is_region(region):
        raise ValueError(f"'{region}' is not the name of a region")
    return Registration(node, region)


def _read_unfinished(found: Mapping[str, Any]) -> Unfinished:
    node, ids = found["instance_id"], (found["activation_id"], found["run_id"])
    if node and not is_node_id(node):
        raise ValueError(f"'{node}' is not the ID of a node")
    for each in ids:
        if each and not _ID.fullmatch(each):
            raise ValueError(f"'{each}' is not the ID of an activation or a run")
    return Unfinished(node, *ids)


@dataclass(frozen=True)
class Node:
    """A server that is registered with Systems Manager.

    :param ping: whether its SSM agent answers: ``Online``, ``ConnectionLost`` or ``Inactive``.
    :param tags: empty if they were not read.
    :param activation_id: the activation that registered it. It is empty if AWS does not show it.
    """

    id: str
    role: str
    name: str = ""
    ping: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    activation_id: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether its tags show that an activation of this collection registered it."""
        return is_created(self.tags)

    @property
    def host(self) -> str:
        """The name of its host, according to its tags; empty if they contain none."""
        return self.tags.get(HOST_TAG, "")


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
