# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host, through the modules that an action runs on it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.cwagent.iam.plugins.module_utils._errors import HostUnreachable
from ansible_collections.cwagent.iam.plugins.plugin_utils._host_result import describe_failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.cwagent.iam.plugins.plugin_utils._secret_delivery import SecretDelivery


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
