# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores configurations from a host, which has the permission to do so only during that time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.secrets import CREDENTIALS, KeyDelivery
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.terminal import show, write_last_words
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.transaction import TransactionAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.task import find_all, search_folders

# Without boto3, only this task must fail, and not the whole run, which may have no such task.
try:
    from ansible_collections.cwagent.iam.plugins.module_utils._storing import options, task
    from ansible_collections.cwagent.iam.plugins.module_utils._storing.base import Wiring
    from ansible_collections.cwagent.iam.plugins.module_utils._storing.transaction import Report
    from ansible_collections.cwagent.iam.plugins.plugin_utils._connections import hosts
except Exception:  # noqa: BLE001, S110  an import can raise anything
    pass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call
    from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.transaction import Interruption

# The AWS options that the module on the host gets, too. Credentials are not among them.
TRANSPORT = ("endpoint_url", "aws_endpoint_url", "aws_ca_bundle", "validate_certs")


class ActionModule(KeyDelivery, TransactionAction):
    """Stores configurations. This process calls AWS, and modules do the host's part through its connection."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Store them."""
        self._folders = search_folders(task_vars or {})
        return super().run(tmp, task_vars)

    def transact(
        self, variables: Mapping[str, Any], interruption: Interruption, tell: Callable[[str], None], call: Call
    ) -> dict[str, Any]:
        """Return the result of the transaction. :raises CwagentError: something failed."""
        params, name = call.params, self.host_name(variables)
        # The values of the environment must never appear in output. The modules on the host hide its secrets.
        access = hosts.Access(
            environment=params.pop("environment") or {},
            transport={name: value for name, value in self.given_options.items() if name in TRANSPORT},
            credentials={name: params[name] for name in CREDENTIALS},
        )
        given = options.StoreOptions.of({**params, "configs": find_all(self._folders, params["configs"])})
        wiring = Wiring(
            client=call.client,
            shield=interruption.shield,
            check_mode=call.check_mode,
            name=name,
            host=hosts.host_of(self, variables, given, access),
            report=Report(tell, partial(write_last_words, name)),
            guard=interruption.guardian,
            show=show,
        )
        work, state = task.Task(given, wiring), given.state
        if state == options.VALIDATED:
            return {"changed": False, "steps": [], **work.validate().to_result()}
        if state == options.FITTED:
            return {"changed": False, "steps": [], **work.fit()}
        if state == options.COMPARED:
            found = work.compare().to_result()
            return {"changed": False, "steps": [], "warnings": wiring.report.warnings, **found}
        if state == options.OPENED:
            opening = work.opening()
            return self.predict_or_run(call, interruption, opening.predict_opening, opening.open)
        transaction = work.transaction()
        return self.predict_or_run(call, interruption, transaction.predict, transaction.run)


ActionModule.preload("cwagent_store_config", "ec2", "iam", "ssm", "sts")
