# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that stores, through the modules that Ansible runs on it."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.source import SOURCE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._planned import Planned
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.instance import check
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import COMPARED
from ansible_collections.cwagent.iam.plugins.plugin_utils._module_host import ModuleHost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Configuration
    from ansible_collections.cwagent.iam.plugins.plugin_utils._key_delivery import KeyDelivery

IDENTITY, PARAMETER = "cwagent.iam.cwagent_instance_identity", "cwagent.iam.cwagent_config_parameter"


class StoreHost(ModuleHost):
    """The host of an action.

    :param options: the options of the action. ``transport`` contains the options for the connection to AWS.
    """

    def __init__(self, action: KeyDelivery, task_vars: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        super().__init__(action, task_vars)
        self._action: KeyDelivery = action
        self._options = options

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
        return self._run(IDENTITY, instance_id=self._options["instance_id"], parameter_store_regions=regions)

    def identity(self, profile: str | None, role: str | None, *, fail_on_refused_role: bool = False) -> dict[str, Any]:
        """Wait until the instance has the identity of a profile, or none."""
        return self._run(
            IDENTITY,
            instance_profile=profile or "none",
            role=role,
            wait_timeout=self._options["identity_timeout"],
            fail_on_refused_role=fail_on_refused_role,
        )

    @property
    def _environment(self) -> dict[str, Any]:
        return dict(self._options["environment"] or {})

    def _store_arguments(self, configuration: Configuration) -> dict[str, Any]:
        return {
            "name": configuration.name,
            "config": configuration.text,
            "validation": "off",  # done before
            "split": self._options["split"],
            "split_recent": self._options["split_recent"],
            "region": configuration.region,
        }

    def _run(self, module: str, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module of this collection on the host, with the task's options for the connection to AWS."""
        given = {name: value for name, value in arguments.items() if value is not None}
        given.update(self._options["transport"])
        with self._check_mode(check_mode):
            return self._send(module, {**given, "environment": self._environment})


class Instance(StoreHost):
    """An EC2 instance, which stores with the credentials of its profile."""

    def store(self, configuration: Configuration, *, check_mode: bool = False) -> dict[str, Any]:
        """Store a configuration. In check mode, compare it with the value that the instance reads."""
        writing = {
            "known_values": configuration.previous,
            "tier": self._options["tier"] or None,
            "instance_role": self._options["admin_role"],
            "wait_timeout": self._options["permission_timeout"],
        }
        return self._run(
            PARAMETER,
            check_mode=check_mode,
            use_instance_credentials=True,
            **self._store_arguments(configuration),
            **({} if check_mode else writing),
        )


class OnPremises(StoreHost):
    """A host with the access key of the admin user."""

    def store(self, configuration: Configuration) -> dict[str, Any]:
        """Store a configuration with the saved key, or with the key in a file on the host."""
        return self._run(
            PARAMETER,
            known_values=configuration.previous,
            tier=self._options["tier"] or None,
            wait_timeout=self._options["permission_timeout"],
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
            saved_key={"user": self._options["admin_user"]},
            **self._store_arguments(configuration),
        )

    @property
    def _environment(self) -> dict[str, Any]:
        file = self._options["credentials_file"]
        if not file:
            return super()._environment
        # The host's own environment must not provide other credentials.
        only = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}
        return {"AWS_SHARED_CREDENTIALS_FILE": file, **only, **super()._environment}

    def _credentials(self) -> dict[str, Any]:
        if self._options["credentials_file"]:
            return {"profile": self._options["credentials_profile"]}
        user, source = self._options["admin_user"], {name: self._options[name] for name in SOURCE_SPEC}
        aws = {name: self._options[name] for name in ("access_key", "secret_key", "session_token", "profile")}
        can_miss = self._options["state"] == COMPARED or Planned(self._options["planned"]).has_user(user)
        key = self._action.key_for_host({"user": user, **source}, self._task_vars, can_miss=can_miss, **aws)
        return {"saved_key": {"user": user, **({"access_key": key.key_id, "secret_key": key.secret} if key else {})}}
