# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registers the host with Systems Manager, or deregisters it. Its activation exists only during that time."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.secrets import SecretDelivery
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.transaction import TransactionAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.accounts import ACCOUNT
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.plays import RunHosts, registration_options
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import IN_OUR_PLAY

# Without boto3, only this task must fail, and not the whole run, which may have no such task.
try:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import ShieldedAws
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import AwsApiError
    from ansible_collections.cwagent.iam.plugins.module_utils._servers import hybrid
    from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid_transaction import Transaction
    from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import REGISTERED
    from ansible_collections.cwagent.iam.plugins.module_utils._servers.registration import SSM_AGENT_SPEC
    from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.hosts import HybridServer
except Exception:  # noqa: BLE001, S110  an import can raise anything
    pass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call
    from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.transaction import Interruption


class ActionModule(SecretDelivery, TransactionAction):
    """Registers the host. This process calls AWS, and a module does the host's part through its connection."""

    SECRET = "activation code"  # noqa: S105  words for messages

    def fill_options(self, variables: Mapping[str, Any]) -> str:
        """Add options. In a playbook of this collection, the server gets the role that the run has managed."""
        problem = super().fill_options(variables)
        if problem or IN_OUR_PLAY not in variables:
            return problem
        hosts = RunHosts(variables["groups"], variables["hostvars"])
        named = self._templar.template(variables.get(ACCOUNT, ""))
        account = hosts.account_of(variables["inventory_hostname"], str(named or ""))
        given = self._task.args
        try:
            options = registration_options(variables["hostvars"].raw_get(account), given["role"], given["state"])
        except InvalidInput as error:
            return str(error)
        self._task.args = {**given, **options}
        return ""

    def transact(
        self, variables: Mapping[str, Any], interruption: Interruption, tell: Callable[[str], None], call: Call
    ) -> dict[str, Any]:
        """Return the result of the transaction. :raises CwagentError: something failed."""
        params = call.params
        aws = ShieldedAws(call.client, params["wait_timeout"], interruption.shield)
        service = hybrid.SystemsManager(aws, interruption.shield)
        desired = hybrid.desired_node(params, service.region, self.host_name(variables), str(uuid.uuid4()))
        self.enable_pipelining()
        paths = {name: params[name] for name in SSM_AGENT_SPEC}
        transaction = Transaction(
            service,
            HybridServer(self, variables, service.region, paths),
            desired,
            say=tell,
            shield=interruption.shield,
            guard=interruption.guardian,
            wait=params["wait_timeout"],
        )

        def predict() -> dict[str, Any]:
            predicted = transaction.predict()
            if desired.state == REGISTERED and predicted["changed"] and not desired.role_is_new:
                with suppress(AwsApiError):  # a real run does not need the permission to read the role
                    hybrid.check_role(aws, desired.role)
            return predicted

        return self.predict_or_run(call, interruption, predict, transaction.run)


ActionModule.preload("cwagent_hybrid_node", "iam", "ssm", "sts")
