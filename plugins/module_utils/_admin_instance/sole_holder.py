# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that no other run has the admin profile: while this run acquires an instance, and before it stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import sole_holder_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.reader import (
    read_until_plausible,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.resource import AdminInstanceResource

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import State
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window


class SoleHolderResource(AdminInstanceResource):
    """An instance that this run has acquired, and that must be the only admin instance."""

    _desired: sole_holder_plan.SoleHolder

    def _read(self, read_window: Callable[[], Window] | None, *, is_first: bool) -> State:
        del read_window
        name, may_be_stale = self._desired.instance_id, self._desired.is_lost
        return read_until_plausible(lambda: self._reader.read_to_check_alone(name, is_first=is_first), may_be_stale)
