# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores configurations from a host, which has the permission to do so only during that time."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment

from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.plugin_utils._aws_action import AwsAction, process_state
from ansible_collections.cwagent.iam.plugins.plugin_utils._interruption import Interrupted, Interruption
from ansible_collections.cwagent.iam.plugins.plugin_utils._key_delivery import KeyDelivery
from ansible_collections.cwagent.iam.plugins.plugin_utils._terminal import say, show

# Without boto3, only this task must fail, and not the whole run, which may have no such task.
try:
    from ansible_collections.cwagent.iam.plugins.module_utils import _module
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config import options, task
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Report
    from ansible_collections.cwagent.iam.plugins.plugin_utils import _store_host
except Exception:  # noqa: BLE001, S110  an import can raise anything
    pass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

# The AWS options that the modules on the host get, too. Credentials are not among them.
TRANSPORT = ("endpoint_url", "aws_endpoint_url", "aws_ca_bundle", "validate_certs", "aws_config")


class ActionModule(KeyDelivery, AwsAction):
    """Stores configurations. This process calls AWS, and modules do the host's part through its connection."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Store them. The worker of an interrupted run ends at once, because nothing reads its result."""
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        if not self.MODULE:
            return {
                **result,
                "failed": True,
                "msg": f"boto3 and the collection amazon.aws are required in the Python that runs Ansible. "
                f"{sys.executable} cannot import them. Nothing was stored.",
            }
        variables, environment = task_vars or {}, _proxies()
        self._folders = _search_folders(variables)
        self._compute_environment_string(environment)
        validator = ArgumentSpecValidator(_module.complete_spec(options.SPEC), **options.RULES)
        try:
            given = self.given_options
            validated = validator.validate(given)
        except TypeError as error:
            return {**result, "failed": True, "msg": f"A value cannot be an option of a module: {error}."}
        # Ansible would turn a text into a list.
        lists = {name for name, option in options.SPEC.items() if option["type"] == "list"}
        no_lists = sorted(name for name in lists & given.keys() if not isinstance(given[name], list))
        problems = [*validated.error_messages, *(f"{name} must be a list" for name in no_lists)]
        if problems:
            return {**result, "failed": True, "msg": f"{'. '.join(problems)}."}
        interruption = Interruption()
        tell: Callable[[str], None] = partial(_say, self._host_name(variables), interruption)
        try:
            with process_state(environment, self._loader.get_basedir()):
                work = partial(self._store, variables, interruption, tell)
                done = self.do_work(work, validated.validated_parameters, variables, tell)
        except Interrupted:
            os._exit(1)
        return {**result, **done}

    def _store(
        self, variables: Mapping[str, Any], interruption: Interruption, tell: Callable[[str], None], call: Call
    ) -> dict[str, Any]:
        """Return the result of the transaction. :raises CwagentError: something failed."""
        params, name = call.params, self._host_name(variables)
        transport = {name: value for name, value in self.given_options.items() if name in TRANSPORT}
        # The values of the environment must never appear in output. The modules on the host hide its secrets.
        host_options = {**params, "environment": params.pop("environment"), "transport": transport}
        host_class = _store_host.OnPremises if params["from"] == options.ONPREM else _store_host.Instance
        wiring = task.Wiring(
            client=call.client,
            shield=interruption.shield,
            check_mode=call.check_mode,
            name=name,
            host=host_class(self, variables, host_options),
            report=Report(tell),
            find_file=self._find_file,
            show=show,
        )
        work, state = task.Task(params, wiring), params["state"]
        if state == options.VALIDATED:
            return {"changed": False, "steps": [], **work.validate().to_result()}
        if state == options.COMPARED:
            found = work.compare().to_result()
            return {"changed": False, "steps": [], "warnings": wiring.report.warnings, **found}
        opens = state == options.OPENED
        transaction = work.opening() if opens else work.transaction()
        if call.check_mode:
            return transaction.predict_opening() if opens else transaction.predict()
        with interruption.handled():
            return transaction.open() if opens else transaction.run()

    def _host_name(self, variables: Mapping[str, Any]) -> str:
        """Return the name of the host that stores. A task delegated to the controller is for the host of the play."""
        delegate = self._task.delegate_to
        return str(delegate if delegate and delegate not in constants.LOCALHOST else variables["inventory_hostname"])

    def _find_file(self, given: str) -> str:
        """Return the path of a file on the controller, which need not exist."""
        found = (each / Path(given).expanduser() for each in self._folders)
        return next((str(each) for each in found if each.is_file()), given)

    def cleanup(self, force: bool = False) -> None:
        """Remove temporary files. A host that does not answer then must not replace the result."""
        try:
            super().cleanup(force)
        except AnsibleConnectionFailure:
            self._connection._shell.tmpdir = None


def _search_folders(variables: Mapping[str, Any]) -> list[Path]:
    """Return the folders to search: where Ansible was started, then beside the inventory and the playbook."""
    # The folder of this process instead of PWD, because AWX starts a job in another folder than its shell.
    return [Path.cwd(), *(Path(variables[name]) for name in ("inventory_dir", "playbook_dir") if variables.get(name))]


def _proxies() -> dict[str, Any]:
    """Return a variable that keeps clients from looking up the proxies of macOS, which a fork there must not do."""
    return {"no_proxy": "*"} if sys.platform == "darwin" and not getproxies_environment() else {}


def _say(name: str, interruption: Interruption, text: str) -> None:
    """Print a line, unless the run is interrupted.

    Workers share a pipe for output. A worker that was killed, or that waits because nobody reads any more, never
    unlocks it.
    """
    if not interruption.has_come:
        say(name, text)


ActionModule.preload("cwagent_store_config", "ec2", "iam", "ssm")
