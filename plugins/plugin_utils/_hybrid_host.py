# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that is registered with Systems Manager, through the module that Ansible runs on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, HostUnreachable
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import (
    DEREGISTERED,
    DEREGISTERING,
    FINISHED,
    READ,
    REGISTERED,
    RESTARTED,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._host import Host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import NewActivation
    from ansible_collections.cwagent.iam.plugins.plugin_utils._secret_delivery import SecretDelivery

MODULE = "cwagent.iam.cwagent_ssm_agent"
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
        result = self._send(MODULE, {**self._options, "state": state, **arguments})
        found: dict[str, Any] = json.loads(_hide(json.dumps(result, default=str), hidden))
        if found.get("failed") or "registration" not in found:
            message = str(found.get("msg") or "The module on the host failed without a message.")
            kept = {name: found[name] for name in ("done", "module_stdout", "module_stderr", "rc") if name in found}
            raise CwagentError(message, **kept)
        return found


def _hide(text: str, secret: str) -> str:
    return text.replace(secret, HIDDEN) if secret else text
