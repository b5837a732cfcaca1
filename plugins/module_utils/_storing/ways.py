# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways to store, which are the values of the option ``from`` and of ``cwagent_store_config_from``. Pure.

``task.py`` has the class of each.
"""

from __future__ import annotations

from dataclasses import dataclass

ROLE, USER = "role", "user"
INSTANCE, RUN_COMMAND, AUTO = "instance", "run_command", "auto"
ONPREM, CONTROLLER = "onprem", "controller"


@dataclass(frozen=True)
class Need:
    """The needs of a way to store.

    :param principal: whose admin window it opens: ``ROLE``, of an instance, or ``USER``, of a host on premises. Empty
        if it uses the credentials of the task.
    :param connects: whether Ansible connects to a host.
    """

    principal: str = ""
    connects: bool = True


WAYS = {
    INSTANCE: Need(ROLE),
    RUN_COMMAND: Need(ROLE, connects=False),
    AUTO: Need(ROLE),
    ONPREM: Need(USER),
    CONTROLLER: Need(connects=False),
}
