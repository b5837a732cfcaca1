# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base class of the ways to store, and the host that they see.

A way checks its host before the first write, and makes the source that stores. Each way is in one file, with its
source.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .._ground import names
from .._ground.aws import Aws, ShieldedAws
from .._ground.errors import CwagentError, HostUnreachable, InvalidInput
from .._ground.wait import Deadline
from .._principals.window import window_parameters
from .._principals.window_plan import OPEN, DesiredWindow, check_binding, check_minutes
from .._servers import run_command
from .._servers.commands import platform_problem, unreachable_reason
from .._servers.instance_profile import instance_states
from .._servers.instance_profile_plan import STOPPED
from .options import ROLE, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .._ground.gateway import Shield
    from .._ground.guard import Guard
    from .options import AdminOptions, StoreOptions
    from .transaction import Comparison, Configuration, Report, Source


class StoreHost(Protocol):
    """A host that Ansible reaches. Methods that run a module of the collection return its result, even if it failed.

    Methods raise ``HostUnreachable`` if the host does not answer.
    """

    def ping(self) -> dict[str, Any]:
        """Check whether Ansible can run a module. :returns: its result, which has ``ping`` if it can."""

    def has_file(self, path: str) -> bool:
        """Whether the host has a file."""

    def read_file(self, path: str) -> str:
        """Read a text file; empty if it cannot be read."""

    def probe(self, regions: Sequence[str]) -> dict[str, Any]:
        """Check the host without a write, and read the identity of an instance.

        :param regions: where Parameter Store must answer it.
        """

    def identity(self, profile: str | None, role: str | None, *, fail_on_refused_role: bool = False) -> dict[str, Any]:
        """Wait until the instance has the identity of a profile, or none."""

    def store(self, configuration: Configuration) -> dict[str, Any]:
        """Store a configuration."""

    def compare(self, configuration: Configuration) -> dict[str, Any]:
        """Compare a configuration with the value that the host reads."""


_OTHER_WAYS = (
    "Choose a Linux instance as the admin instance, or set cwagent_store_config_from to controller, or to onprem in a "
    "run without cwagent_accounts"
)
# The details of a failure in a result besides its message, including the output of a module that crashed.
_OF_FAILURES = ("done", "not_done", "counts", "module_stdout", "module_stderr", "rc")


def check(result: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Return the result of a module on a host.

    :param name: the host, which the message then names.
    :raises CwagentError: it failed.
    """
    if result.get("failed"):
        message = str(result.get("msg") or "A module on the host failed without a message.")
        raise CwagentError(
            f"{name}: {message}" if name else message, **{key: result[key] for key in _OF_FAILURES if key in result}
        )
    return result


class Wiring(NamedTuple):
    """The tools of the work, besides its options.

    :param client: makes a boto3 client for a service: ``Call.client``.
    :param shield: as for the transaction. It protects each call that writes, too.
    :param name: the name of the host, for messages.
    :param host: does the work on the host.
    :param guard: watches this process while it holds the permission to store.
    :param show: shows lines to a person.
    """

    client: Callable[..., Any]
    shield: Shield
    check_mode: bool
    name: str
    host: StoreHost
    report: Report
    guard: Guard
    show: Callable[[Sequence[str]], None]


def to_sentence(reason: object) -> str:
    """Return the reason for a missing answer, with one full stop."""
    return f"{str(reason or 'no answer').strip().rstrip('.')}."


def check_agent(aws: Aws, instance_id: str, deadline: Deadline) -> None:
    """Check that commands reach an instance.

    :raises InvalidInput: it does not run Linux.
    :raises CwagentError: its SSM agent is not online before the deadline.
    """
    while True:
        agent = run_command.find_agents(aws, [instance_id]).get(instance_id)
        problem = unreachable_reason(instance_id, agent)
        if not problem:
            return
        if agent and platform_problem(agent):
            raise InvalidInput(refusal(f"{problem}. {_OTHER_WAYS}"))
        if not deadline.pause():
            raise CwagentError(refusal(problem))


def refusal(problem: str) -> str:
    """Return why Systems Manager cannot store the configuration."""
    return f"The configuration cannot be stored by Systems Manager: {problem}. Nothing was opened."


class InstanceChecks:
    """Asks AWS about the instance that is to store. :param client: makes a boto3 client for a service."""

    def __init__(self, client: Callable[..., Any], admin: AdminOptions) -> None:
        self._client = client
        self._admin = admin

    def agent_problem(self) -> str:
        """Return why no command reaches the instance now, or an empty text. :raises InvalidInput: none ever will."""
        try:
            check_agent(Aws(self._client), checked_instance_id(self._admin), Deadline(0))
        except InvalidInput:
            raise
        except CwagentError as error:
            return str(error)
        return ""

    def state_problem(self) -> str:
        """Return that the instance is stopped; empty if it is not, or if EC2 does not say."""
        instance_id = checked_instance_id(self._admin)
        try:
            state = instance_states(Aws(self._client), [instance_id]).get(instance_id)
        except CwagentError:
            return ""  # that Ansible does not reach it is the problem
        return f"Instance {instance_id} is {state}. Start it" if state in STOPPED else ""


def checked_instance_id(admin: AdminOptions) -> str:
    """Return the instance. :raises InvalidInput: it is not given, or not valid."""
    if not admin.instance_id:
        raise InvalidInput("The ID of the instance that stores is missing. Set instance_id of the host.")
    names.check_instance_id(admin.instance_id)
    return admin.instance_id


class Way(ABC):
    """A way to store."""

    principal = ""
    """Whose admin window it opens, as in ``WAYS``."""

    def __init__(self, options: StoreOptions, wiring: Wiring, instance: InstanceChecks) -> None:
        self._options = options
        self._wiring = wiring
        self._instance = instance

    def reach(self) -> None:
        """Check that the host answers. :raises CwagentError: it does not. Nothing can be stored then."""
        try:
            self._wiring.host.ping()  # the next module reports any other problem
        except HostUnreachable as error:
            reason = to_sentence(self._unreachable_reason() or error.reason)
            raise CwagentError(
                f"Ansible does not reach {self._wiring.name}, which stores the configuration: {reason} Nothing was "
                "stored. Run again when it can be reached, or name another host or another way with "
                "cwagent_store_config_from."
            ) from None

    def _unreachable_reason(self) -> str:
        """Return why the host does not answer, or an empty text if the error of the connection is all that is known."""
        return ""

    def check_host(self, to_store: Sequence[Configuration]) -> Mapping[str, Any]:
        """Check that the host could store these configurations.

        :returns: the identity of an instance. Any other host has none.
        :raises CwagentError: it could not.
        """
        del to_store
        return {}

    def read_schema(self) -> str:
        """Return the schema of the agent on the host; empty if there is none, or if it is read later."""
        return self._wiring.host.read_file(self._options.agent_schema_path)

    def check_again(self, to_store: Sequence[Configuration]) -> str | None:
        """Check what earlier tasks can have changed since ``check_host``.

        :returns: the schema of the agent on the host; ``None`` if ``read_schema`` reads it.
        :raises CwagentError: the host could not store.
        """
        del to_store
        return None

    @abstractmethod
    def source(self, comparison: Comparison) -> Source:
        """Return the source that stores the configurations that differ. :raises InvalidInput: an option is invalid."""

    def aws_in(self, region: str | None = None) -> Aws:
        """Return the gateway to AWS. :param region: the default is the region of the task."""
        client = partial(self._wiring.client, region=region) if region else self._wiring.client
        return ShieldedAws(client, self._options.waits.wait_timeout, self._wiring.shield)

    def _has_new_principal(self) -> bool:
        """Return whether an earlier task has created or changed the admin principal, or has planned to."""
        planned, admin = self._options.planned, self._options.admin
        if self.principal == USER:
            return planned.has_user(admin.admin_user_name)
        return planned.has_changed_role(admin.admin_role_name)

    def _window(self, comparison: Comparison) -> DesiredWindow:
        """Return the admin window that is opened. :raises InvalidInput: an option is invalid."""
        admin, is_new = self._options.admin, self._has_new_principal()
        check_minutes(admin.admin_window_minutes)
        principal = admin.admin_user_name if self.principal == USER else admin.admin_role_name
        names.check_name(self.principal, principal)
        written = [
            {"name": step.arguments["name"], "region": each.region}
            for each in comparison.configurations
            for step in each.plan_without_tags.all_steps
        ]
        window = DesiredWindow(
            self.principal,
            principal,
            OPEN,
            admin.admin_window_minutes,
            managed_only=not is_new,  # the task that creates it has checked it
            created_before=self._wiring.check_mode and is_new,
            instance_id=checked_instance_id(admin) if self.principal == ROLE else None,
            parameters=window_parameters(written),
            read_others=not is_new,
        )
        check_binding(window)
        return window
