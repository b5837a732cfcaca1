# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a secret to a module on a host, and nowhere else.

Sends a saved access key to a module on a host, and nowhere else.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._keys.saved_key import from_file
from ...module_utils._keys.stores import SOURCE_SPEC
from .host_result import HostAnswer, expect_result, printable_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ...module_utils._keys.saved_key import SavedKey
    from ...module_utils._keys.stores import KeySource


class SecretDelivery(HostAnswer):
    """An action whose module gets a secret in its options. :cvar SECRET: the secret in words, for messages."""

    SECRET: str

    def enable_pipelining(self) -> None:
        """Turn on pipelining for this task, where the connection has the option."""
        with suppress(AnsibleError):
            self._connection.set_option("pipelining", True)

    def check_connection(self) -> None:
        """Refuse settings that would write the options of the module to a file on the host, or to the output.

        :raises InvalidInput: the reason, and what to do.
        """
        if constants.DEFAULT_KEEP_REMOTE_FILES:
            raise InvalidInput(
                f"The {self.SECRET} was not sent: with keep_remote_files, it would remain in a temporary file on the "
                "host. Unset ANSIBLE_KEEP_REMOTE_FILES."
            )
        if constants.DEFAULT_DEBUG:
            raise InvalidInput(
                f"The {self.SECRET} was not sent: Ansible's debug output has the options of all modules. Unset "
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
                f"The {self.SECRET} was not sent: {method} {name} cannot work with pipelining, so it would be written "
                "to a temporary file on the host. Use ssh, and sudo."
            )
        if not self._is_pipelining_enabled("new"):
            raise InvalidInput(
                f"The {self.SECRET} was not sent: pipelining is off, so it would be written to a temporary file on the "
                "host. Set the variable ansible_pipelining to true, or pipelining = true in ansible.cfg, and nothing "
                "that sets it to false."
            )

    def send(self, module: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module and return its result.

        :raises InvalidInput: sudo on the host requires a terminal, or the result is not one of the module.
        """
        try:
            with printable_errors():
                done: dict[str, Any] = self._execute_module(
                    module_name=module, module_args=arguments, task_vars=task_vars
                )
        except AnsibleError as error:  # from a connection that itself notices that become failed
            self._check_terminal(str(error))
            raise
        self._check_terminal(f"{done.get('module_stderr')} {done.get('module_stdout')}")
        result = expect_result(module, done)
        # The text that the host printed instead of a result can repeat the secret.
        return {key: value for key, value in result.items() if key not in ("module_stdout", "module_stderr")}

    def _check_terminal(self, output: str) -> None:
        if "must have a tty" in output:
            raise InvalidInput(
                f"The {self.SECRET} was not sent: sudo on the host requires a terminal (requiretty), which pipelining "
                "does not have; without pipelining, it would be written to a temporary file on the host. Remove "
                "requiretty from the host's sudoers, or exempt the user that Ansible logs in as with "
                "'Defaults:USER !requiretty'."
            )


# The AWS options for credentials with their aliases, under their names in the lookup that reads the key.
CREDENTIALS = {
    "access_key": ("access_key", "aws_access_key_id", "aws_access_key"),
    "secret_key": ("secret_key", "aws_secret_access_key", "aws_secret_key"),
    "session_token": ("session_token", "aws_session_token"),
    "profile": ("profile", "aws_profile"),
}
LOOKUP = "cwagent.iam.saved_credentials"


class KeyDelivery(SecretDelivery):
    """An action whose module gets a saved access key in its options."""

    SECRET = "access key"  # noqa: S105  a word for messages

    def read_key(self, source: KeySource, task_vars: Mapping[str, Any], *, can_miss: bool, **aws: Any) -> str:
        """Return a saved key as the text of a credentials file; empty if there is none and it can miss.

        :param source: the user, and where the key is saved.
        :param aws: options for the calls that read it.
        :raises InvalidInput: it cannot be read.
        """
        lookup = lookup_loader.get(LOOKUP, loader=self._loader, templar=self._templar)
        try:
            [text] = lookup.run(
                [source.user],
                variables=task_vars,
                on_missing="skip" if can_miss else "error",
                **source.to_options(),
                **aws,
            )
        except AnsibleError as error:
            raise InvalidInput(str(error)) from error
        return str(text)

    def key_for_host(
        self, source: KeySource, task_vars: Mapping[str, Any], *, can_miss: bool = False, **aws: Any
    ) -> SavedKey | None:
        """Return the saved key of a user, for a module on the host; ``None`` if there is none and it can miss.

        :param source: as for ``read_key``.
        :param can_miss: whether another task creates the key, which check mode has not done.
        :raises InvalidInput: the key cannot be sent, or cannot be read.
        """
        self.enable_pipelining()
        self.check_connection()
        text = self.read_key(source, task_vars, can_miss=can_miss and self._task.check_mode, **aws)
        return from_file(text, source.credentials_profile)


def check_aws_options(given: Collection[str], definitions: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the names of the options that select credentials. The lookup itself ignores unknown names.

    :param definitions: the options of the lookup. :raises InvalidInput: the names that it cannot use.
    """
    of_task = {"_terms", "on_missing", *SOURCE_SPEC}
    known = {each for name, option in definitions.items() for each in (name, *(option.get("aliases") or ()))} - of_task
    wrong = sorted(set(given) - known)
    if wrong:
        raise InvalidInput(
            f"aws_options cannot contain {', '.join(wrong)}. It selects the credentials of the call, with profile, or "
            "with access_key, secret_key and session_token. The region and the store are options of the task."
        )
