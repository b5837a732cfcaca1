# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host, through the modules that an action runs on it.

The host that stores, through the modules that Ansible runs on it.

The host that is registered with Systems Manager, through the module that Ansible runs on it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from base64 import b64decode
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleConnectionFailure

from ...module_utils._ground.errors import CwagentError, HostUnreachable
from ...module_utils._servers.node import DEREGISTERED, DEREGISTERING, FINISHED, READ, REGISTERED, RESTARTED
from ...module_utils._storing.base import check
from ...module_utils._storing.options import COMPARED, USER, WAYS
from .aws_action import find_endpoint
from .host_result import describe_failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...module_utils._servers.node import NewActivation
    from ...module_utils._storing.options import StoreOptions
    from ...module_utils._storing.transaction import Configuration
    from .secrets import KeyDelivery, SecretDelivery


class Host:
    """The host of an action."""

    def __init__(self, action: SecretDelivery, task_vars: Mapping[str, Any]) -> None:
        self._action = action
        self._task_vars = dict(task_vars)

    @contextmanager
    def _check_mode(self, check_mode: bool) -> Iterator[None]:
        task = self._action._task
        earlier, task.check_mode = task.check_mode, check_mode
        try:
            yield
        finally:
            task.check_mode = earlier

    def _send(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run a module on the host. Any other failure is a result, as for a task.

        :raises HostUnreachable: it does not answer.
        """
        try:
            return self._action.send(module, arguments, self._task_vars)
        except AnsibleConnectionFailure as error:
            raise HostUnreachable(f"{describe_failure(error).rstrip('.')}.") from error
        except Exception as error:  # noqa: BLE001  a plug-in for connections can raise anything
            return {"failed": True, "msg": describe_failure(error)}


STORE_MODULE = "cwagent.iam.cwagent_store_host"
# STS is called for the message of a denial.
SERVICES = ("ssm", "sts")


@dataclass(frozen=True)
class Access:
    """How the modules on the host call AWS.

    :param environment: their environment. Its values must never appear in output.
    :param transport: the options of the task for the connection to AWS.
    :param credentials: the options of the task for credentials, which only the controller uses.
    """

    environment: Mapping[str, Any]
    transport: Mapping[str, Any]
    credentials: Mapping[str, Any]


class _StoreHost(Host, ABC):
    """The host of the action."""

    def __init__(
        self, action: KeyDelivery, task_vars: Mapping[str, Any], options: StoreOptions, access: Access
    ) -> None:
        super().__init__(action, task_vars)
        self._action: KeyDelivery = action
        self._options = options
        self._access = access
        self._endpoints: dict[tuple[str, str], dict[str, str]] = {}

    def ping(self) -> dict[str, Any]:
        """Check whether Ansible can run a module there."""
        return self._send("ansible.builtin.ping", {})

    def has_file(self, path: str) -> bool:
        """Whether the host has a file."""
        found = check(self._send("ansible.builtin.stat", {"path": path, "get_checksum": False}))
        return bool((found.get("stat") or {}).get("exists"))

    def read_file(self, path: str) -> str:
        """Read a text file; empty if it cannot be read."""
        content = self._send("ansible.builtin.slurp", {"src": path}).get("content")
        try:
            return b64decode(content or "").decode(errors="replace")
        except ValueError:
            return ""

    def identity(self, profile: str | None, role: str | None, *, fail_on_refused_role: bool = False) -> dict[str, Any]:
        """Wait until the instance has the identity of a profile, or none."""
        return self._run(
            instance_profile=profile or "none",
            role=role,
            wait_timeout=self._options.waits.identity_timeout,
            fail_on_refused_role=fail_on_refused_role,
        )

    def store(self, configuration: Configuration) -> dict[str, Any]:
        """Store a configuration."""
        known = {name: found and asdict(found) for name, found in configuration.known.items()}
        return self._run(
            [configuration.region],
            config={**_to_option(configuration), "known": known},
            wait_timeout=self._options.waits.permission_timeout,
            **self._credentials(),
        )

    def compare(self, configuration: Configuration) -> dict[str, Any]:
        """Compare a configuration with the value that the host reads with the credentials that it has."""
        with self._check_mode(True):
            return self._run([configuration.region], config=_to_option(configuration), wait_timeout=0)

    @abstractmethod
    def _credentials(self) -> dict[str, Any]:
        """Return the options for the credentials with which the host stores."""

    def _run(self, regions: Sequence[str] = (), **arguments: Any) -> dict[str, Any]:
        """Run the module on the host, with the task's options for the connection to AWS.

        :param regions: the regions that it calls.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        endpoints = [self._endpoint(service, region) for region in regions for service in SERVICES]
        return self._send(
            STORE_MODULE,
            {**given, **self._access.transport, "endpoints": endpoints, "environment": dict(self._access.environment)},
        )

    def _endpoint(self, service: str, region: str) -> dict[str, str]:
        """Return an endpoint, which botocore finds once, because this takes time while the permission is held."""
        found = self._endpoints.get((service, region)) or find_endpoint(service, region)
        self._endpoints[service, region] = found
        return found


def _to_option(configuration: Configuration) -> dict[str, Any]:
    desired = configuration.desired
    parameters = [{"name": each.name, "value": each.value, "tier": each.tier} for each in desired.parameters]
    return {
        "name": configuration.name,
        "region": configuration.region,
        "parameters": parameters,
        "can_be_split": desired.can_be_split,
    }


class Instance(_StoreHost):
    """An EC2 instance, which stores with the credentials of its profile."""

    def probe(self, regions: Sequence[str]) -> dict[str, Any]:
        """Check that it is the instance that the user means, and that Parameter Store answers it."""
        return self._run(regions, instance_id=self._options.admin.instance_id, parameter_store_regions=regions)

    def _credentials(self) -> dict[str, Any]:
        return {"instance_role": self._options.admin.admin_role_name}


class OnPremises(_StoreHost):
    """A host with the access key of the admin user."""

    def probe(self, regions: Sequence[str]) -> dict[str, Any]:
        """Check whether the host can store with its key. A saved key is read, but never sent.

        The key may be missing if a later task creates it, or if check mode only planned the task that creates it.
        """
        with self._check_mode(True):
            credentials = self._credentials()
        file = credentials if self._options.admin.credentials_file else {}
        return self._run(regions, parameter_store_regions=regions, **file)

    def _credentials(self) -> dict[str, Any]:
        options = self._options
        if options.admin.credentials_file:
            profile = options.key.credentials_profile
            return {"credentials_file": options.admin.credentials_file, "credentials_profile": profile}
        can_miss = options.state == COMPARED or options.planned.has_user(options.key.user)
        key = self._action.key_for_host(options.key, self._task_vars, can_miss=can_miss, **self._access.credentials)
        return {"access_key": key.key_id if key else "", "secret_key": key.secret if key else ""}


def host_of(
    action: KeyDelivery, task_vars: Mapping[str, Any], options: StoreOptions, access: Access
) -> Instance | OnPremises:
    """Return the host of the action, which the way to store decides."""
    kind = OnPremises if WAYS[options.way].principal == USER else Instance
    return kind(action, task_vars, options, access)


NODE_MODULE = "cwagent.iam.cwagent_ssm_agent"
HIDDEN = "VALUE_HIDDEN"


class HybridServer(Host):
    """A host with an SSM agent.

    :param region: the region of Systems Manager.
    :param options: the options of the module that every call has, such as paths.
    """

    def __init__(
        self, action: SecretDelivery, task_vars: Mapping[str, Any], region: str, options: Mapping[str, Any]
    ) -> None:
        super().__init__(action, task_vars)
        self._region = region
        self._options = options

    def check(self) -> None:
        """Check that an activation code can be sent there. :raises InvalidInput: the reason, and what to do."""
        self._action.check_connection()

    def read(self) -> dict[str, Any]:
        """Read the state of the SSM agent."""
        return self._run(READ)

    def register(self, activation: NewActivation, run: str, known_run: str) -> dict[str, Any]:
        """Record the run, register the host, and restart the SSM agent. :param known_run: as of ``HybridHost``."""
        self.check()
        try:
            return self._run(
                REGISTERED,
                hidden=activation.code,
                activation_id=activation.id,
                activation_code=activation.code,
                region=self._region,
                run_id=run,
                known_run_id=known_run,
            )
        except HostUnreachable as error:
            raise CwagentError(
                f"{_hide(str(error), activation.code)} The host could not be reached while it was being registered, so "
                "it can be registered or not. Make it reachable and run again, which continues the registration."
            ) from None

    def restart(self) -> dict[str, Any]:
        """Restart the SSM agent."""
        return self._run(RESTARTED)

    def finish(self) -> dict[str, Any]:
        """Delete the record, because all is done."""
        return self._run(FINISHED)

    def begin_clearing(self, node_id: str) -> dict[str, Any]:
        """Record that the node is being deregistered."""
        return self._run(DEREGISTERING, instance_id=node_id)

    def clear(self) -> dict[str, Any]:
        """Clear the registration, stop the SSM agent, and delete the record."""
        return self._run(DEREGISTERED)

    def _run(self, state: str, hidden: str = "", **arguments: Any) -> dict[str, Any]:
        """Run the module, and return its result.

        :param hidden: a secret that appears in no result or error, whatever raised it.
        :raises CwagentError: it failed.
        """
        result = self._send(NODE_MODULE, {**self._options, "state": state, **arguments})
        found: dict[str, Any] = json.loads(_hide(json.dumps(result, default=str), hidden))
        if found.get("failed") or "registration" not in found:
            message = str(found.get("msg") or "The module on the host failed without a message.")
            kept = {name: found[name] for name in ("done", "module_stdout", "module_stderr", "rc") if name in found}
            raise CwagentError(message, **kept)
        return found


def _hide(text: str, secret: str) -> str:
    return text.replace(secret, HIDDEN) if secret else text
