# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway to AWS of a transaction: no call that writes is interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Shield = Callable[[], AbstractContextManager[None]]

READING = ("Describe", "Get", "List")


class ShieldedAws(Aws):
    """Makes calls as ``Aws`` does. A signal during a call that writes interrupts at the end of the call."""

    def __init__(self, client_factory: Callable[..., Any], retry_timeout: float, shield: Shield) -> None:
        super().__init__(client_factory, retry_timeout)
        self._shield = shield

    def call(self, action: str, description: str, *args: Any, **arguments: Any) -> dict[str, Any]:
        """Make one call."""
        if action.partition(":")[2].startswith(READING):
            return super().call(action, description, *args, **arguments)
        with self._shield():
            return super().call(action, description, *args, **arguments)
