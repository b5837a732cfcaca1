# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives an instance the admin profile, and opens the admin window, if no other run does the same."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from .._ground.errors import (
    DENIED_CODES,
    THROTTLING_CODES,
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
)
from .._ground.names import name_of
from .._ground.plan import NOT_FOUND_CODES
from .._ground.wait import Deadline
from .._principals.policies import SSM_POLICIES
from .._principals.principal import attached_policies
from .._principals.role import find_profile
from . import acquire_plan, admin_instance
from . import instance_profile as profile_resource
from .admin_instances import LOST_SECONDS, RECORD_SECONDS, AdminInstanceResource, read_until_plausible
from .instance_profile_plan import ASSOCIATION_RETRY_CODES, ENDED, ineligible_reason
from .release_plan import remove_record, remove_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .._ground.aws import Aws
    from .._ground.plan import Plan, Step
    from .._principals.window import WindowResource
    from .._principals.window_plan import Window
    from .admin_instance import State
    from .admin_instances import Reader


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
        acquire_plan.check_restore_tags(check.tagged, current, self._own, self._profiles)

    def check_not_restored(self, state: State) -> None:
        """Check that the instance still has the restore tag that EC2 has shown before.

        :raises ContentionError: another run has restored the instance.
        """
        own = state.instances.get(self._own)
        if own is None or own.state in ENDED or own.id in state.restore_tags:
            return
        deadline = Deadline(LOST_SECONDS)
        if not deadline.pause() or own.id not in self._tags_with_own(deadline):
            raise ContentionError(acquire_plan.restored_message(own.id))

    def _tags_with_own(self, deadline: Deadline) -> dict[str, str]:
        """Read the restore tags until the instance has one, or until the time is up."""
        while True:
            restore_tags = self._reader.restore_tags()
            if self._own in restore_tags or not deadline.pause():
                return restore_tags


class AcquireResource(AdminInstanceResource):
    """The instance that gets the admin profile. The window is opened for it."""

    _desired: acquire_plan.Acquisition

    def __init__(self, aws: Aws, desired: acquire_plan.Acquisition, window: WindowResource | None = None) -> None:
        super().__init__(aws, desired, window)
        self._name, self._profiles = desired.instance_id, desired.profiles
        self._other_runs = OtherRuns(self._reader, desired)

    def _read(self, read_window: Callable[[], Window] | None, *, is_first: bool) -> admin_instance.State:
        shown = self._reader.read_to_acquire(self._name, is_running=self._desired.is_running, is_first=is_first)
        state = self._desired.assumed_state(shown)
        lost_policies = self._lost_policies(state) if is_first else ()
        return replace(state, lost_policies=lost_policies, window=read_window and read_window())

    def _lost_policies(self, state: admin_instance.State) -> tuple[str, ...]:
        """Read the policies for Systems Manager that the instance loses; none if reading them is denied."""
        earlier = self._desired.profile_to_try(state)
        try:
            profile = find_profile(self._aws, earlier) if earlier else None
            policies = self._ssm_policies(profile.role) if profile and profile.role else set()
            return tuple(sorted(policies)) if policies and not self._ssm_policies(self._profiles.role) else ()
        except AwsApiError as error:
            if error.code not in DENIED_CODES | NOT_FOUND_CODES:
                raise
            return ()

    def _ssm_policies(self, role: str) -> set[str]:
        return {name_of(arn) for arn in attached_policies(self._aws, "role", role)} & SSM_POLICIES.keys()

    def check_preconditions(self, current: admin_instance.State) -> None:
        """Check that no other run is at work.

        :raises ContentionError: another run is at work. The message explains what to do.
        :raises InvalidInput: the role of the window belongs to somebody else.
        """
        if self._window and current.window:
            self._window.check_managed(current.window)
        self._desired.check_not_tagged(current)
        acquire_plan.check_alone(current, self._name, self._profiles)
        if self._window and current.window:
            # Without a restore tag of a run, the window is open for something else, in another region for instance.
            is_tagged = self._name in current.tagged
            check = self._window.check_own if is_tagged else self._window.check_preconditions
            check(current.window)

    def remaining(self, plan: Plan[admin_instance.State], state: admin_instance.State) -> list[str]:
        """List the changes that AWS does not show yet.

        :raises CwagentError: another run has started, or has restored the instance, since the plan was made.
        """
        try:
            self._other_runs.check_not_restored(state)
            return super().remaining(plan, state)
        except CwagentError as error:
            # The caller need not read the record, which IAM may not show yet.
            error.details["instances"] = admin_instance.to_result(plan, state, [self._name], self._profiles)
            raise

    def check_mode_warnings(self, plan: Plan[admin_instance.State]) -> list[str]:
        """Warn if the admin profile or role does not exist, and no earlier task has planned them."""
        if self._desired.managed_before:
            return []
        is_missing = find_profile(self._aws, self._profiles.admin) is None
        window = self._plan_window(plan.current)
        return [
            *([f"instance profile '{self._profiles.admin}' does not exist yet"] if is_missing else []),
            *(self._window.check_mode_warnings(window) if self._window and window else []),
        ]

    def execute(self, step: Step) -> None:
        """Execute a step, only if no other run is at work."""
        special = {acquire_plan.RECORD_ACTION: self._write_record, acquire_plan.TAG_ACTION: self._write_tag}
        work = special.get(step.action, self._execute_alone)
        try:
            work(step, step.context)
        except CwagentError as error:
            # The caller need not read the record, which IAM may not show yet.
            earlier = None if step.context.earlier == admin_instance.NO_PROFILE else step.context.earlier
            error.details["instances"] = [{"instance_id": self._name, "earlier_profile": earlier}]
            raise

    def _write_record(self, step: Step, check: acquire_plan.ContentionCheck) -> None:
        if check.before_first_try:
            self._other_runs.check_again(check)
        try:
            super().execute(step)
        except AwsApiError as error:
            if error.code in DENIED_CODES | {"NoSuchEntity"}:
                error.details["steps"] = []  # nothing was started, so there is nothing to release
            raise

    def _write_tag(self, step: Step, check: acquire_plan.ContentionCheck) -> None:
        """Write the tag, and read all tags again, since another run can have read them before this one wrote its own.

        :raises ContentionError: another run has tagged an instance too. This run has removed its own tag again.
        """
        try:
            super().execute(step)
        except AwsApiError as error:
            if error.code in DENIED_CODES:
                super().execute(remove_record(self._name, self._profiles))
                error.details["steps"] = []  # nothing else was started, so there is nothing to release
            raise
        restore_tags = self._other_runs.wait_for_own_tag(self._aws.deadline())
        try:
            self._other_runs.check(restore_tags, check, RECORD_SECONDS)
        except ContentionError as error:
            super().execute(remove_tag(self._name, restore_tags[self._name]))
            super().execute(remove_record(self._name, self._profiles))
            # No steps, because there is nothing that the caller must release, and the window can be another run's.
            raise ContentionError(f"{error} This run has removed its restore tag.", steps=[]) from error

    def _execute_alone(self, step: Step, check: acquire_plan.ContentionCheck) -> None:
        """Execute a step, and read the restore tags again before each retry.

        A module can outlive its run. Another run can have restored everything, and removed the tag, since.
        """
        tries = count()

        def try_once() -> None:
            is_retry = next(tries) > 0
            try:
                present = self._with_present_association(step, check) if check.look_up_association else step
                if is_retry or check.before_first_try or check.look_up_association:
                    self._other_runs.check_again(check)
                profile_resource.execute_once(self._aws, present)
            except AwsApiError as error:
                if step.action.startswith("ec2:") and error.code not in DENIED_CODES | THROTTLING_CODES:
                    self._explain(step, check, error, is_retry=is_retry)
                raise

        self._aws.retry(try_once, step.retry_when)

    def _with_present_association(self, step: Step, check: acquire_plan.ContentionCheck) -> Step:
        """Return a step with the id of the association that the instance has now.

        Only an association with the earlier profile may be replaced. The id is read before the restore tags: if another
        run restores the instance after that, EC2 refuses the id.

        :raises AwsApiError: something else has changed the association. The code is EC2's code for a missing one.
        """
        found = profile_resource.read_associations(self._aws, [self._name]).get(self._name, ())
        if not found or found[-1].profile != check.earlier:
            raise AwsApiError(acquire_plan.restored_message(self._name), "InvalidAssociationID.NotFound")
        return replace(step, arguments={**step.arguments, "association_id": found[-1].id})

    def _explain(self, step: Step, check: acquire_plan.ContentionCheck, error: AwsApiError, *, is_retry: bool) -> None:
        """Explain why a profile cannot be associated, if the reason is known.

        :raises CwagentError: the instance has ended, or the profile does not exist.
        :raises ContentionError: another run has restored the instance.
        """
        states = profile_resource.instance_states(self._aws, [self._name])
        reason = ineligible_reason(self._name, states.get(self._name))
        if reason:
            raise CwagentError(f"Could not {step.summary}: {reason}") from error
        if error.code not in ASSOCIATION_RETRY_CODES:
            self._other_runs.check_again(check)
        elif not is_retry:
            profile_resource.check_profile_exists(self._aws, self._profiles.admin, step, error)


class SoleHolderResource(AdminInstanceResource):
    """An instance that this run has acquired, and that must be the only admin instance."""

    _desired: acquire_plan.SoleHolder

    def _read(self, read_window: Callable[[], Window] | None, *, is_first: bool) -> State:
        del read_window
        name, may_be_stale = self._desired.instance_id, self._desired.is_lost
        return read_until_plausible(lambda: self._reader.read_to_check_alone(name, is_first=is_first), may_be_stale)
