# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that stores, through the modules that Ansible runs on it."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._store_config.host import check
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import COMPARED
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.ways import USER, WAYS
from ansible_collections.cwagent.iam.plugins.plugin_utils._host import Host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Configuration
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import StoreOptions
    from ansible_collections.cwagent.iam.plugins.plugin_utils._key_delivery import KeyDelivery

IDENTITY, PARAMETER = "cwagent.iam.cwagent_instance_identity", "cwagent.iam.cwagent_config_parameter"


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


class _StoreHost(Host):
    """The host of the action."""

    def __init__(
        self, action: KeyDelivery, task_vars: Mapping[str, Any], options: StoreOptions, access: Access
    ) -> None:
        super().__init__(action, task_vars)
        self._action: KeyDelivery = action
        self._options = options
        self._access = access

    def ping(self) -> dict[str, Any]:
        """Check whether Ansible can run a module there."""
        return self._send("ansible.builtin.ping", {})

    def has_file(self, path: str) -> bool:
        """Whether the host has a file."""
        return bool(check(self._send("ansible.builtin.stat", {"path": path, "get_checksum": False}))["stat"]["exists"])

    def read_file(self, path: str) -> str:
        """Read a text file; empty if it cannot be read."""
        return b64decode(self._send("ansible.builtin.slurp", {"src": path}).get("content", "")).decode(errors="replace")

    def current_identity(self, regions: Sequence[str]) -> dict[str, Any]:
        """Read the identity of the instance, if it is the one that the user means.

        :param regions: the regions where Parameter Store must answer it.
        """
        return self._run(IDENTITY, instance_id=self._options.admin.instance_id, parameter_store_regions=regions)

    def identity(self, profile: str | None, role: str | None, *, fail_on_refused_role: bool = False) -> dict[str, Any]:
        """Wait until the instance has the identity of a profile, or none."""
        return self._run(
            IDENTITY,
            instance_profile=profile or "none",
            role=role,
            wait_timeout=self._options.waits.identity_timeout,
            fail_on_refused_role=fail_on_refused_role,
        )

    @property
    def _environment(self) -> dict[str, Any]:
        return dict(self._access.environment)

    def _store_arguments(self, configuration: Configuration) -> dict[str, Any]:
        handling = self._options.handling
        return {
            "name": configuration.name,
            "config": configuration.text,
            "validation": "off",  # done before
            "split": handling.split,
            "split_recent": handling.split_recent,
            "region": configuration.region,
        }

    def _run(self, module: str, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module of this collection on the host, with the task's options for the connection to AWS."""
        given = {name: value for name, value in arguments.items() if value is not None}
        given.update(self._access.transport)
        with self._check_mode(check_mode):
            return self._send(module, {**given, "environment": self._environment})


class Instance(_StoreHost):
    """An EC2 instance, which stores with the credentials of its profile."""

    def store(self, configuration: Configuration) -> dict[str, Any]:
        """Store a configuration."""
        return self._store(
            configuration,
            known_values=configuration.previous,
            tier=self._options.handling.tier,
            instance_role=self._options.admin.admin_role,
            wait_timeout=self._options.waits.permission_timeout,
        )

    def try_to_store(self, configuration: Configuration) -> dict[str, Any]:
        """Compare a configuration with the value that the instance reads."""
        return self._store(configuration, check_mode=True)

    def _store(self, configuration: Configuration, **arguments: Any) -> dict[str, Any]:
        return self._run(PARAMETER, use_instance_credentials=True, **self._store_arguments(configuration), **arguments)


class OnPremises(_StoreHost):
    """A host with the access key of the admin user."""

    def store(self, configuration: Configuration) -> dict[str, Any]:
        """Store a configuration with the saved key, or with the key in a file on the host."""
        return self._run(
            PARAMETER,
            known_values=configuration.previous,
            tier=self._options.handling.tier,
            wait_timeout=self._options.waits.permission_timeout,
            **self._store_arguments(configuration),
            **self._credentials(),
        )

    def try_to_store(self, configuration: Configuration) -> dict[str, Any]:
        """Check whether the host can store with the saved key. The key is read, but never sent.

        The key may be missing if a later task creates it, or if check mode only planned the task that creates it.
        """
        with self._check_mode(True):
            self._credentials()
        return self._run(
            PARAMETER,
            check_mode=True,
            known_values=configuration.previous,
            saved_key={"user": self._options.admin.admin_user},
            **self._store_arguments(configuration),
        )

    @property
    def _environment(self) -> dict[str, Any]:
        file = self._options.admin.credentials_file
        if not file:
            return super()._environment
        # The host's own environment must not provide other credentials.
        only = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}
        return {"AWS_SHARED_CREDENTIALS_FILE": file, **only, **super()._environment}

    def _credentials(self) -> dict[str, Any]:
        options = self._options
        if options.admin.credentials_file:
            return {"profile": options.key.credentials_profile}
        user = options.key.user
        can_miss = options.state == COMPARED or options.planned.has_user(user)
        key = self._action.key_for_host(options.key, self._task_vars, can_miss=can_miss, **self._access.credentials)
        return {"saved_key": {"user": user, **({"access_key": key.key_id, "secret_key": key.secret} if key else {})}}


def host_of(
    action: KeyDelivery, task_vars: Mapping[str, Any], options: StoreOptions, access: Access
) -> Instance | OnPremises:
    """Return the host of the action, which the way to store decides."""
    kind = OnPremises if WAYS[options.way].principal == USER else Instance
    return kind(action, task_vars, options, access)
