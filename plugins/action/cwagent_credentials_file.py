# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a saved access key on the controller, and hands it to the module on the host without a temporary file."""

from __future__ import annotations

from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.modules.cwagent_credentials_file import SPEC

MODULE = "cwagent.iam.cwagent_credentials_file"
TASK_OPTIONS = SPEC
# What the module on the host needs; it does not know where the key is saved.
HOST_OPTIONS = ("path", "profile", "owner", "group", "common_config", "state")
# Of these, a path on the host stays as the task has it: its home directory is that of the user there.
HOST_PATHS = ("path", "common_config")


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """Delivers a saved access key, or removes it."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read the key and run the module; refuse what would write the key anywhere else."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self.validate_argument_spec(TASK_OPTIONS)[1]
        try:
            return {**result, **self._deliver(options, task_vars or {})}
        except CwagentError as error:
            return {**result, "failed": True, "changed": False, "steps": [], "msg": str(error)}

    def _deliver(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the result of the module. :raises CwagentError: the module was not run, or could not run."""
        arguments = {name: options[name] for name in HOST_OPTIONS}
        arguments.update({name: self._task.args[name] for name in HOST_PATHS if self._task.args.get(name)})
        if options["content"] is not None:
            raise InvalidInput("content is set by the controller, which reads the saved key. Remove it from the task.")
        if options["state"] == "present":
            if not options["user"]:
                raise InvalidInput("user is required when state is present.")
            self._check_connection()
            arguments["content"] = self._read_key(options, task_vars)
        try:
            done: dict[str, Any] = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        except AnsibleError as error:  # of a connection that notices itself that become failed
            _check_terminal(str(error))
            raise
        _check_terminal(f"{done.get('module_stderr')} {done.get('module_stdout')}")
        return done

    def _check_connection(self) -> None:
        """Refuse what would write the key to another place than its file.

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

    def _read_key(self, options: dict[str, Any], task_vars: dict[str, Any]) -> str:
        """Return the text of the credentials file; empty for a key that check mode has not created."""
        if self._task.check_mode and options["assume_created"]:
            return ""
        lookup = lookup_loader.get("cwagent.iam.saved_credentials", loader=self._loader, templar=self._templar)
        names = ("store", "directory", "prefix", "region")
        try:
            [text] = lookup.run(
                [options["user"]],
                variables=task_vars,
                section=options["profile"],
                on_missing="skip" if self._task.check_mode else "error",
                **{name: options[name] for name in names},
            )
        except AnsibleError as error:
            raise InvalidInput(str(error)) from error
        return str(text)


def _check_terminal(output: str) -> None:
    """Say what it means that sudo refuses to run. :raises InvalidInput: it does."""
    if "must have a tty" in output:
        raise InvalidInput(
            "The access key was not sent: sudo on the host requires a terminal (requiretty), which pipelining does not "
            "have; without pipelining, the key would be written to a temporary file on the host. Remove requiretty "
            "from the host's sudoers, or exempt the user that Ansible logs in as with 'Defaults:USER !requiretty'."
        )
