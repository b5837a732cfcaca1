# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices the runs that acquire or restore an instance at the same time as this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import acquire_plan, sole_holder_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.reader import (
    LOST_SECONDS,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import ConsistencyTimeout, ContentionError
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ENDED
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Collection

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import State
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.reader import Reader


class OtherRuns:
    """The runs that could acquire or restore an instance at the same time as this one."""

    def __init__(self, reader: Reader, desired: acquire_plan.Acquisition) -> None:
        self._reader = reader
        self._profiles = desired.profiles
        self._own = desired.instance_id

    def wait_for_own_tag(self, deadline: Deadline) -> dict[str, str]:
        """Wait until EC2 shows the tag that this run wrote, since another run cannot see it earlier."""
        restore_tags = self._tags_with_own(deadline)
        if self._own not in restore_tags:
            raise ConsistencyTimeout(
                f"EC2 did not show the restore tag of instance {self._own} within {deadline.seconds:.0f} seconds. "
                "Run again, or increase wait_timeout."
            )
        return restore_tags

    def check_again(self, check: acquire_plan.ContentionCheck) -> None:
        """Check again that no other run has started, or has restored the instance. :raises ContentionError: it has."""
        # EC2 can show the tags as they were seconds ago, even after it has shown this run's own tag.
        self.check(self._tags_with_own(Deadline(LOST_SECONDS)), check, 0)

    def check(self, restore_tags: Collection[str], check: acquire_plan.ContentionCheck, seconds: float) -> None:
        """Check that no other run has started since the plan was made.

        Only the tags of instances with a record count.

        :param seconds: for how long to wait for the records. A run writes its record before its tag.
        :raises ContentionError: another run has started, or has restored the instance.
        """
        new = [name for name in restore_tags if name not in check.tagged and name != self._own]
        records = self._reader.records(new, seconds) if new else {}
        current = {name for name in restore_tags if name not in new or name in records}
        sole_holder_plan.check_restore_tags(check.tagged, current, self._own, self._profiles)

    def check_not_restored(self, state: State) -> None:
        """Check that the instance still has the restore tag that EC2 has shown before.

        :raises ContentionError: another run has restored the instance.
        """
        own = state.instances.get(self._own)
        if own is None or own.state in ENDED or own.id in state.restore_tags:
            return
        deadline = Deadline(LOST_SECONDS)
        if not deadline.pause() or own.id not in self._tags_with_own(deadline):
            raise ContentionError(sole_holder_plan.restored_message(own.id))

    def _tags_with_own(self, deadline: Deadline) -> dict[str, str]:
        """Read the restore tags until the instance has one, or until the time is up."""
        while True:
            restore_tags = self._reader.restore_tags()
            if self._own in restore_tags or not deadline.pause():
                return restore_tags
