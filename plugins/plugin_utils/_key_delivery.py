# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a saved access key to a module on a host, and nowhere else."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import from_file
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.source import SOURCE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import SavedKey


class KeyDelivery(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """An action whose module gets a saved access key in its options."""

    def check_connection(self) -> None:
        """Refuse settings that would write the options of the module to a file on the host, or to the output.

        :raises InvalidInput: the reason, and what to do.
        """
        if constants.DEFAULT_KEEP_REMOTE_FILES:
            raise InvalidInput(
                "The access key was not sent: with keep_remote_files, it would remain in a temporary file on the host. "
                "Unset ANSIBLE_KEEP_REMOTE_FILES."
            )
        if constants.DEFAULT_DEBUG:
            raise InvalidInput(
                "The access key was not sent: Ansible's debug output has the options of all modules. Unset "
                "ANSIBLE_DEBUG."
            )
        become = self._connection.become
        # ansible-core before 2.19 knows only su by its name.
        is_unfit = become and not getattr(become, "pipelining", become.name != "su")
        if not self._connection.has_pipelining or is_unfit:
            is_connection = not self._connection.has_pipelining
            method = "the connection" if is_connection else "the become method"
            name = self._connection.transport if is_connection else become.name
            raise InvalidInput(
                f"The access key was not sent: {method} {name} cannot work with pipelining, so the key would be "
                "written to a temporary file on the host. Use ssh, and sudo."
            )
        if not self._is_pipelining_enabled("new"):
            raise InvalidInput(
                "The access key was not sent: pipelining is off, so the key would be written to a temporary file on "
                "the host. Set the variable ansible_pipelining to true, or pipelining = true in ansible.cfg, and "
                "nothing that sets it to false."
            )

    def read_key(self, source: Mapping[str, Any], task_vars: Mapping[str, Any], *, can_miss: bool, **aws: Any) -> str:
        """Return a saved key as the text of a credentials file; empty if there is none and it can miss.

        :param source: where it is saved, with the options of ``SOURCE_SPEC``.
        :param aws: options for the calls that read it.
        :raises InvalidInput: it cannot be read.
        """
        lookup = lookup_loader.get("cwagent.iam.saved_credentials", loader=self._loader, templar=self._templar)
        try:
            [text] = lookup.run(
                [source["user"]],
                variables=task_vars,
                on_missing="skip" if can_miss else "error",
                **{name: source[name] for name in SOURCE_SPEC},
                **aws,
            )
        except AnsibleError as error:
            raise InvalidInput(str(error)) from error
        return str(text)

    def key_for_host(
        self, source: Mapping[str, Any], task_vars: Mapping[str, Any], *, can_miss: bool = False, **aws: Any
    ) -> SavedKey | None:
        """Return the saved key of a user, for a module on the host; ``None`` if there is none and it can miss.

        :param source: as for ``read_key``.
        :param can_miss: whether another task creates the key, which check mode has not done.
        :raises InvalidInput: the key cannot be sent, or cannot be read.
        """
        with suppress(AnsibleError):  # the connection has no such option
            self._connection.set_option("pipelining", True)
        self.check_connection()
        text = self.read_key(source, task_vars, can_miss=can_miss and self._task.check_mode, **aws)
        return from_file(text, source["credentials_profile"])

    def send(self, module: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module and return its result. :raises InvalidInput: sudo on the host requires a terminal."""
        try:
            done: dict[str, Any] = self._execute_module(module_name=module, module_args=arguments, task_vars=task_vars)
        except AnsibleError as error:  # from a connection that itself notices that become failed
            _check_terminal(str(error))
            raise
        _check_terminal(f"{done.get('module_stderr')} {done.get('module_stdout')}")
        return done


def _check_terminal(output: str) -> None:
    if "must have a tty" in output:
        raise InvalidInput(
            "The access key was not sent: sudo on the host requires a terminal (requiretty), which pipelining does not "
            "have; without pipelining, the key would be written to a temporary file on the host. Remove requiretty "
            "from the host's sudoers, or exempt the user that Ansible logs in as with 'Defaults:USER !requiretty'."
        )
