# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance stores: it gets the admin profile and the admin window, and goes back to its earlier profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.acquire import AcquireResource
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.acquire_plan import Acquisition
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import (
    NO_PROFILE,
    Profiles,
    check_profiles,
    earlier_profile,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.release import ReleaseResource
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.release_plan import Release, is_restored
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.sole_holder import SoleHolderResource
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.sole_holder_plan import SoleHolder
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    CLOSED,
    DesiredWindow,
    Window,
    describe_left,
    to_dict,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge, first_plan
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.base import Way, checked_instance_id
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import STORED
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Phase, Source
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.ways import ROLE

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import State
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.resource import AdminInstanceResource
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.comparison import Comparison
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Report


@dataclass(frozen=True)
class Admin:
    """The permission to store that an instance gets.

    :param host: the name of the host, for messages.
    :param desired: the instance with its profiles, as it is acquired.
    :param window: the admin window that is opened for it; ``None`` for none.
    :param wait_timeout: for how many seconds to wait for AWS.
    """

    host: str
    desired: Acquisition
    window: DesiredWindow | None
    wait_timeout: float

    @property
    def instance_id(self) -> str:
        """The instance."""
        return self.desired.instance_id

    @property
    def place(self) -> str:
        """The host and the instance in words."""
        return f"{self.host} ({self.instance_id})"


class ProfileWay(Way):
    """An instance that stores with the admin profile. A subclass makes its source."""

    principal = ROLE

    def _admin(self, comparison: Comparison, aws: Aws, *, has_answered: bool = False) -> Admin:
        """Return the permission of the instance. :raises InvalidInput: an option is invalid.

        :param has_answered: whether the instance has just answered.
        """
        options, window = self._options, self._window(comparison)
        given, planned, check_mode = options.admin, options.planned, self._wiring.check_mode
        for name in (given.admin_profile, given.server_profile):
            _names.check_name("instance profile", name)
        check_profiles(given.admin_profile, given.server_profile)
        instance_id = checked_instance_id(given)
        named = frozenset({instance_id})
        desired = Acquisition(
            Profiles(given.admin_profile, given.server_profile, given.admin_role_name, aws.region, named),
            instance_id,
            fail_if_tagged=options.state == STORED,  # a person may open a window for longer
            is_running=options.state == STORED or has_answered,
            managed_before=self._has_new_principal(),
            associated_before=check_mode and planned.profiles.get(instance_id) == given.server_profile,
        )
        return Admin(self._wiring.name, desired, window if given.admin_window else None, options.waits.wait_timeout)


class AdminProfile(Source):
    """An instance with the admin profile. A subclass defines how it stores."""

    _plan: Plan[State]

    def __init__(self, report: Report, aws: Aws, admin: Admin) -> None:
        super().__init__(report)
        self._aws = aws
        self._admin = admin
        self.restored: str | None = None
        """The profile that the instance has again."""

    def prepare(self) -> None:
        """Read the region, check that no other run is at work, and plan how the profile is acquired."""
        self._plan = first_plan(self._acquiring())

    def planned(self) -> tuple[list[Phase], list[Phase]]:
        """Return the phases. The release is planned from the state in which the profile is acquired."""
        acquiring = self._acquiring()
        self.report.warnings += [*acquiring.warnings(self._plan), *acquiring.check_mode_warnings(self._plan)]
        releasing, untagging = self._releasing(), self._untagging()
        acquired = self._plan.planned
        if acquired.window:  # the release does not read it
            acquired = replace(acquired, window=Window(acquired.window.read_at, is_known=False))
        release = releasing.plan(acquired)
        untag = untagging.plan(replace(release.planned, window=None))
        self.report.window = acquiring.to_result(self._plan, self._plan.planned).get("window")
        return [Phase.of("acquired", acquiring, self._plan)], [
            Phase.of("released", releasing, release),
            Phase.of("untagged", untagging, untag),
        ]

    def acquire(self) -> None:
        """Acquire the profile, and open the window."""
        self.began = True
        try:
            acquired = self.report.take("acquired", lambda: self._converge(self._acquiring(), self._plan))
        except CwagentError as error:
            # A run that was refused before it wrote the restore tag has no steps. The tag and the window that exist
            # then belong to another run.
            self.began = bool(error.details.get("steps"))
            raise
        self.report.window = acquired.get("window")

    def check_exclusive(self, *, associate_again: bool = False) -> None:
        """Check that no other instance has the profile, and that this one still has it.

        :param associate_again: whether to associate the profile again, so that EC2 assumes its role at once.
        """
        holder = SoleHolder(self._admin.desired.profiles, self._admin.instance_id, associate_again)
        self.report.take("checked", lambda: self._converge(SoleHolderResource(self._aws, holder)))

    def take_over(self) -> None:
        """Prepare to release instead of a process that was killed."""
        self._aws.forget_clients()
        super().take_over()

    def release(self, wait: float | None = None) -> None:
        """Restore the earlier profile and close the window. The restore tag stays until the profile has arrived."""
        try:
            result = self.report.take("released", lambda: self._converge(self._releasing(), wait=wait))
        except CwagentError as error:
            raise CwagentError(
                f"{self._describe_left(error)} {error} Fix the cause, then run cwagent.iam.restore to clean up.",
                **error.details,
            ) from error
        self.restored = result["instances"][0]["profile"]

    def _describe_left(self, error: CwagentError) -> str:
        """Return what can still be open after a release that failed, in sentences."""
        window, place = self._admin.window, self._admin.place
        is_closed = window and window.close_summary in error.details.get("done", ())
        planned = self._plan.planned.window
        is_open = ""
        if window and planned and not is_closed:
            is_open = describe_left(window, self.report.window or to_dict(planned), is_open=True)
        if is_restored(error.details.get("failures", {})):
            return f"{is_open} {place} has its earlier profile again."
        closed = ", which cannot write to Parameter Store any more, because the admin window is closed"
        return f"{place} may still have the admin identity{closed if is_closed else ''}. {is_open}".rstrip()

    def untag(self) -> None:
        """Remove the restore tag and the record."""
        self.report.take("untagged", lambda: self._converge(self._untagging()))

    def _acquiring(self) -> AcquireResource:
        window = self._admin.window
        opening = WindowResource(self._aws, window, fail_if_open=True) if window else None
        return AcquireResource(self._aws, self._admin.desired, opening)

    def _releasing(self) -> ReleaseResource:
        window = self._admin.window
        closing = WindowResource(self._aws, DesiredWindow("role", window.name, CLOSED)) if window else None
        return ReleaseResource(self._aws, self._release(keep_tag=True), closing)

    def _untagging(self) -> ReleaseResource:
        return ReleaseResource(self._aws, self._release(keep_tag=False))  # the window is closed by then

    def _release(self, *, keep_tag: bool) -> Release:
        profiles, name = self._admin.desired.profiles, self._admin.instance_id
        # IAM may not show the record of this run yet.
        known = earlier_profile(self._plan.current, name, profiles) or NO_PROFILE
        return Release(profiles, name, known, keep_tag)

    def _converge(
        self, resource: AdminInstanceResource, plan: Plan[State] | None = None, wait: float | None = None
    ) -> dict[str, Any]:
        return converge(resource, False, wait or self._admin.wait_timeout, plan)
