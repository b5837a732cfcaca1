# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The retirement of a user whose servers no longer need its access keys: its phases and their steps. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import set_key_status
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import UNUSED_FOR
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._names import NOT_CREATED
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import kept_warning
from ansible_collections.cwagent.iam.plugins.module_utils._user.plan import blockers, plan_absent, planned_absence

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey
    from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import Keyring
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step
    from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import Declared
    from ansible_collections.cwagent.iam.plugins.module_utils._user.plan import State


class RetirementPhase(Enum):
    """The progress of a retirement, which decides what a run does next."""

    WAITING = "waiting"
    BLOCKED = "blocked"
    IN_USE = "in_use"
    DEACTIVATING = "deactivating"
    GRACE_PERIOD = "grace_period"
    DELETING = "deleting"


@dataclass(frozen=True)
class Retirement:
    """A user that is to be deleted as soon as nothing uses its keys.

    :param ring: its keys with their last use.
    :param hold: why nothing is done yet; ``None`` if all servers of the user work without its keys.
    """

    current: State
    desired: Declared
    ring: Keyring
    hold: str | None = None

    @property
    def phase(self) -> RetirementPhase | None:
        """The phase, according to IAM and the saved key; ``None`` if there is nothing to retire."""
        user = self.current.user
        if user is None or not (user.principal.is_marked or user.keys):
            return None
        if self.hold is not None:
            return RetirementPhase.WAITING
        if not user.principal.is_marked or self._problem or self.ring.unmanaged:
            return RetirementPhase.BLOCKED
        if self._active:
            is_unused = all(self.ring.unused_for(key) >= UNUSED_FOR for key in self._active)
            return RetirementPhase.DEACTIVATING if is_unused else RetirementPhase.IN_USE
        delete_after = self.ring.rules.key_delete_after_days
        is_over = all(self.ring.unused_for(key) >= delete_after for key in self.ring.keys)
        return RetirementPhase.DELETING if is_over else RetirementPhase.GRACE_PERIOD

    @property
    def _active(self) -> list[AccessKey]:
        return [key for key in self.ring.keys if key.active]

    @property
    def _is_of_others(self) -> bool:
        return self.current.user is not None and not self.current.user.principal.is_marked

    @property
    def _problem(self) -> str | None:
        """Why the saved key cannot be read. Nobody knows then which keys are managed."""
        return None if self.ring.saved.is_being_deleted else self.ring.saved.problem

    @property
    def planned_state(self) -> State:
        """The state after all steps."""
        if self.phase is RetirementPhase.DELETING:
            return planned_absence(self.current, self.desired, self.ring)
        if self.current.user is None or self.phase is not RetirementPhase.DEACTIVATING:
            return self.current
        keys = tuple(replace(key, active=False) for key in self.ring.keys)
        return replace(self.current, user=replace(self.current.user, keys=keys))

    @property
    def steps(self) -> list[Step]:
        """The steps of the phase.

        :raises CwagentError: the saved key cannot be read.
        """
        if self.phase is RetirementPhase.BLOCKED and self._problem and not self._is_of_others:
            raise CwagentError(self._problem)
        if self.phase is RetirementPhase.DEACTIVATING:
            return [set_key_status(self.current.name, key.id, active=False) for key in self._active]
        return plan_absent(self.current, self.desired, self.ring) if self.phase is RetirementPhase.DELETING else []

    @property
    def blockers(self) -> list[str]:
        """The reasons why nothing is done, or why the user is kept when its keys are deleted."""
        if self.phase is RetirementPhase.WAITING:
            return [str(self.hold)]
        if self.phase is RetirementPhase.DELETING:
            return blockers(self.current, self.desired, self.ring)
        if self.phase is not RetirementPhase.BLOCKED:
            return []
        if self._is_of_others:
            return [NOT_CREATED]
        return [] if self._problem else [f"access key {key.id}" for key in self.ring.unmanaged]

    @property
    def warnings(self) -> list[str]:
        """A warning if the user is not retired because of something that a person has to decide."""
        found = self.blockers
        if not found or self.phase is RetirementPhase.WAITING:
            return []
        if self.phase is RetirementPhase.DELETING or self._is_of_others:
            return [kept_warning("user", self.current.name, found)]
        listed = "; ".join(map(self.ring.describe, self.ring.unmanaged))
        other = (
            f"user '{self.current.name}' has another access key, which is neither saved nor replaced by the saved one"
        )
        return [f"{other}: {listed}. Nothing was changed. Delete that key if nobody uses it"]
