# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance stores: it gets the admin profile and the admin window, and goes back to its earlier profile.

It stores with its own credentials, through modules that Ansible runs on it, or through a command, see
``command.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._ground import names
from .._ground.converge import converge, first_plan
from .._ground.errors import CwagentError, HostUnreachable
from .._principals.window import WindowResource
from .._principals.window_plan import CLOSED, DesiredWindow, Window, describe_left, to_dict
from .._servers.admin_instance import NO_PROFILE, Profiles, check_profiles, earlier_profile
from .._servers.admin_profile import AcquireResource, ReleaseResource, SoleHolderResource
from .._servers.admin_profile_plan import Acquisition, Release, SoleHolder, is_restored
from .base import Way, check, checked_instance_id
from .options import ROLE, STORED
from .transaction import Phase, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._ground.aws import Aws
    from .._ground.plan import Plan
    from .._servers.admin_instance import State
    from .._servers.admin_profile import AdminInstanceResource
    from .base import StoreHost
    from .transaction import Comparison, Configuration, Report


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
            names.check_name("instance profile", name)
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


class InstanceWay(ProfileWay):
    """An instance that Ansible reaches."""

    def _unreachable_reason(self) -> str:
        return self._instance.state_problem()

    def check_host(self, to_store: Sequence[Configuration]) -> Mapping[str, Any]:
        """Check that it is the instance that the user means, and that it reaches Parameter Store."""
        return self.identify(sorted({each.region for each in to_store}))

    def identify(self, regions: Sequence[str]) -> Mapping[str, Any]:
        """Return the identity of the instance. :param regions: where Parameter Store must answer it."""
        identity: Mapping[str, Any] | None = check(self._wiring.host.probe(regions), self._wiring.name).get("identity")
        if identity is None:
            raise CwagentError(f"{self._wiring.name} did not report its identity. Check what answers there.")
        return identity

    def source(self, comparison: Comparison) -> Source:
        """Return the instance."""
        aws, wiring = self.aws_in(), self._wiring
        admin = self._admin(comparison, aws, has_answered=True)
        return InstanceSource(
            wiring.report,
            aws,
            admin,
            wiring.host,
            configurations=comparison.to_store,
            earlier=comparison.earlier,
        )


class InstanceSource(AdminProfile):
    """An instance that stores with the admin profile.

    :param configurations: the configurations that the instance reads back at the end, as a server does.
    :param earlier: the profile and the role that the instance had before, according to its metadata service.
    """

    def __init__(
        self,
        report: Report,
        aws: Aws,
        admin: Admin,
        host: StoreHost,
        *,
        configurations: Sequence[Configuration] = (),
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(report, aws, admin)
        self._host = host
        self._configurations = configurations
        self._earlier = earlier or {}

    def acquire(self) -> None:
        """Acquire the profile, and wait until the instance has it."""
        super().acquire()
        profiles = self._admin.desired.profiles
        self.report.say("wait until the instance has the admin identity")
        found = self._host.identity(profiles.admin, profiles.role, fail_on_refused_role=True)
        is_refused = found.get("role_refused", False)
        self.check_exclusive(associate_again=is_refused)
        if is_refused:
            found = self._host.identity(profiles.admin, profiles.role)
        check(found)

    def store(self, configuration: Configuration) -> Mapping[str, Any]:
        """Store a configuration from the instance."""
        return check(self._host.store(configuration))

    def finish(self, failure: CwagentError | None) -> None:
        """Wait for the earlier identity, remove the restore tag, and read the configurations as a server does."""
        if not self.report.is_released:
            super().finish(failure)
        is_lost = isinstance(failure, HostUnreachable)
        found: dict[str, Any] = {} if is_lost else self._earlier_identity()
        self.untag()
        profile = self.restored or "no instance profile"
        if is_lost:
            raise CwagentError(
                f"{failure} {self._admin.place} could not be reached while the configuration was being stored. It has "
                f"{profile} again, and the admin window is closed. Make it reachable and run again."
            )
        if failure:
            raise failure
        if "identity" in found:
            check(found)
            self._read_back()
        else:
            # EC2 has restored the profile, so a metadata service that does not answer is no reason to fail.
            self.report.warnings.append(
                f"{self._admin.place} did not report whether it has its earlier identity again "
                f"({found.get('msg', '')}). According to EC2 it has {profile}, and the admin window is closed."
            )

    def _earlier_identity(self) -> dict[str, Any]:
        """Wait until the instance has its earlier identity. This includes the role if the earlier one is known."""
        role = self._earlier.get("role") if self._earlier.get("instance_profile") == self.restored else None
        known = role if self.restored and role != self._admin.desired.profiles.role else None
        self.report.say("wait until the instance has its earlier identity")
        try:
            return self._host.identity(self.restored, known)
        except HostUnreachable as error:
            return {"failed": True, "msg": str(error)}

    def _read_back(self) -> None:
        """Read the configurations with the instance's own identity, as a server does.

        :raises CwagentError: something else is stored.
        """
        if not self.restored:
            return
        unread, otherwise = [], []
        self.report.say("read what was stored as a server does")
        for each in self._configurations:
            try:
                found = self._host.compare(each)
            except HostUnreachable as error:
                found = {"failed": True, "msg": str(error)}
            if found.get("failed"):
                unread.append(str(found.get("msg")))
            elif found.get("steps"):
                otherwise += each.desired.names
        if otherwise:
            raise CwagentError(
                f"{', '.join(otherwise)} was stored, but {self._admin.place} reads another value. Something else has "
                "overwritten it: find out what, then run again."
            )
        if unread:
            self.report.warnings.append(
                f"the configuration was stored, but {self._admin.place} cannot read it with its own profile "
                f"{self.restored}. {' '.join(dict.fromkeys(unread))}"
            )
