# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives an instance the admin profile and opens the admin window, if no other run does the same, and undoes both.

All of it begins with the instances that have the admin profile, a restore tag or a restore record.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from .._ground.converge import Resource
from .._ground.errors import (
    DENIED_CODES,
    THROTTLING_CODES,
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
    InvalidInput,
)
from .._ground.names import check_name, name_of
from .._ground.plan import NOT_FOUND_CODES, Plan
from .._ground.wait import Deadline
from .._principals.policies import SSM_POLICIES
from .._principals.principal import attached_policies, tags
from .._principals.role import find_profile, find_role
from .._principals.window_plan import Window
from .._principals.window_policy import opening_of
from . import admin_instance, admin_profile_plan
from . import instance_profile as profile_resource
from .admin_instance import NO_PROFILE, State
from .admin_profile_plan import remove_record, remove_tag
from .instance_profile_plan import ASSOCIATION_RETRY_CODES, ENDED, Instance, ineligible_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from .._ground.aws import Aws
    from .._ground.plan import Step
    from .._principals.window import WindowResource
    from .admin_profile_plan import Release
    from .instance_profile_plan import Association

    Associations = Mapping[str, tuple[Association, ...]]


# IAM can show the tags of a role as they were seconds ago: https://docs.aws.amazon.com/IAM/latest/UserGuide/
# troubleshoot_general.html#troubleshoot_general_eventual-consistency
RECORD_SECONDS = 15.0
# A restore tag or an association that EC2 has shown counts as removed if EC2 does not show it for this long.
LOST_SECONDS = 5.0


class Reader:
    """Reads the instances of a region. There is a method for each reason to read them.

    A restore tag is written after its record, which IAM may not show yet. So if an instance has lost its profile, or is
    about to be reported as somebody else's admin instance, the first read waits for a missing record.
    """

    def __init__(self, aws: Aws, profiles: admin_instance.Profiles) -> None:
        self._aws = aws
        self._profiles = profiles

    def read_to_acquire(self, own: str, *, is_running: bool, is_first: bool) -> State:
        """Read an instance to acquire, and the others that have the admin profile or a restore tag.

        :param is_running: whether the instance is known to run.
        :param is_first: whether the records of this run are not known yet.
        """
        associations, restore_tags = profile_resource.read_associations(self._aws), self.restore_tags()
        is_running = is_running or (own in associations and own in restore_tags)
        names = dict.fromkeys([own, *sorted(self._admins(associations) | restore_tags.keys())])
        instances = self._instances(names, associations, [own] if is_running else [])
        records: Mapping[str, str] = {}
        if {*instances, *restore_tags} - {own} or (is_first and self._has_trace(instances, restore_tags)):
            matters = {name: admin_instance.has_admin_profile(each, self._profiles) for name, each in instances.items()}
            if own in instances:
                matters[own] = admin_instance.lacks_profile(instances[own], self._profiles)
            expected = [name for name in instances if name in restore_tags and matters[name]]
            records = self.records(expected if is_first else ())
        return _state(instances, restore_tags, records)

    def read_to_check_alone(self, own: str, *, is_first: bool) -> State:
        """Read an instance that this run has acquired, and the others that have the admin profile.

        This run has looked for the restore tags of other runs before.
        """
        associations = profile_resource.read_associations(self._aws)
        others = sorted(self._admins(associations) - {own})
        instances = self._instances([own, *others], associations, {own} & associations.keys())
        expected = [name for name in instances if name != own]
        return _state(instances, {}, self.records(expected if is_first else ()) if expected else {})

    def read_to_release(self, own: str, known_earlier: str | None, is_first: bool) -> State:
        """Read one instance to release, whatever else is in the region.

        :param known_earlier: its earlier profile, if this run has acquired it itself.
        """
        found = {each["InstanceId"]: each for each in profile_resource.describe_instances(self._aws, [own])}
        associations = profile_resource.read_associations(self._aws, [own])
        instances = {
            name: Instance(name, each["State"]["Name"], associations.get(name, ())) for name, each in found.items()
        }
        values = {name: tags(each).get(admin_instance.RESTORE_TAG) for name, each in found.items()}
        restore_tags = {name: value for name, value in values.items() if value is not None}
        if known_earlier is not None:
            return _state(instances, restore_tags, {own: known_earlier})
        return _state(instances, restore_tags, self._records_to_release(instances, restore_tags) if is_first else {})

    def read_to_release_all(self, known: Associations | None, has_records: bool, is_first: bool) -> State:
        """Read every instance of the region that has the admin profile, a restore tag or a record.

        :param known: the associations of the region, if the caller has read them.
        :param has_records: whether the role can have restore records of this region.
        """
        associations = profile_resource.read_associations(self._aws) if known is None else known
        restore_tags, admins = self.restore_tags(), self._admins(associations)
        if known is not None and (admins or restore_tags):
            return self.read_to_release_all(None, True, is_first)
        # An instance with a profile exists. Whether it is stopped or ends matters only if it is restored.
        running = associations.keys() - admins
        instances = self._instances(sorted(admins | restore_tags.keys()), associations, running)
        records = {}
        if is_first and (has_records or self._has_trace(instances, restore_tags)):
            records = self._records_to_release(instances, restore_tags)
        recorded = [name for name in sorted(records) if name not in instances]
        return _state({**instances, **self._instances(recorded, associations, running)}, restore_tags, records)

    def restore_tags(self) -> dict[str, str]:
        """Read which instances have a restore tag, with its value."""
        pages = self._aws.pages(
            "ec2:DescribeTags",
            "read which instances have a restore tag",
            Filters=[
                {"Name": "key", "Values": [admin_instance.RESTORE_TAG]},
                {"Name": "resource-type", "Values": ["instance"]},
            ],
            MaxResults=profile_resource.PAGE_SIZE,
        )
        return {tag["ResourceId"]: tag["Value"] for page in pages for tag in page["Tags"]}

    def records(self, expected: Collection[str], seconds: float = RECORD_SECONDS) -> dict[str, str]:
        """Read the restore records until they have these instances, or until the time is up."""
        deadline = Deadline(seconds)
        while True:
            role = find_role(self._aws, self._profiles.role)
            records = admin_instance.records_in(tags(role or {}), self._profiles.region)
            if all(name in records for name in expected) or not deadline.pause():
                return records

    def _records_to_release(self, instances: Mapping[str, Instance], restore_tags: Collection[str]) -> dict[str, str]:
        return self.records(
            [
                name
                for name, each in instances.items()
                if name in restore_tags and admin_instance.lacks_profile(each, self._profiles)
            ]
        )

    def _has_trace(self, instances: Mapping[str, Instance], restore_tags: Collection[str]) -> bool:
        """Whether one of the instances has a restore tag or the admin profile."""
        return any(
            name in restore_tags or admin_instance.has_admin_profile(each, self._profiles)
            for name, each in instances.items()
        )

    def _admins(self, associations: Associations) -> set[str]:
        admin = self._profiles.admin
        return {name for name, found in associations.items() if any(each.profile == admin for each in found)}

    def _instances(
        self, names: Iterable[str], associations: Associations, running: Iterable[str]
    ) -> dict[str, Instance]:
        """Return instances that exist. :param running: the instances that are known to run, so they are not read."""
        states = dict.fromkeys(running, "running")
        states.update(profile_resource.instance_states(self._aws, [name for name in names if name not in states]))
        return {name: Instance(name, states[name], associations.get(name, ())) for name in names if name in states}


def _state(instances: Mapping[str, Instance], restore_tags: Mapping[str, str], records: Mapping[str, str]) -> State:
    return State(
        instances,
        {name: value for name, value in restore_tags.items() if name in instances},
        records,
        tagged=frozenset(restore_tags.keys() & records.keys()),
    )


def read_until_plausible(read: Callable[[], State], may_be_stale: Callable[[State], bool]) -> State:
    """Read, and repeat that for a while if EC2 may show an instance as it was before this run changed it."""
    deadline = Deadline(LOST_SECONDS)
    while True:
        state = read()
        if not may_be_stale(state) or not deadline.pause():
            return state


class Verb(Protocol):
    """A decision about an instance: to acquire it, to check that it is alone, or to release it."""

    @property
    def profiles(self) -> admin_instance.Profiles: ...

    @property
    def instance_id(self) -> str | None: ...

    def plan(self, current: State, window: Plan[Window] | None, /) -> Plan[State]: ...

    def remaining(self, applied: Plan[State], state: State, /) -> list[str]: ...

    def warnings(self, current: State, /) -> list[str]: ...


class AdminInstanceResource(Resource[State]):
    """The instances of a region that have the admin profile, or are about to get or to lose it.

    :param window: the admin window that is opened or closed with the profile; ``None`` for none.
    """

    _aws: Aws

    def __init__(self, aws: Aws, desired: Verb, window: WindowResource | None = None) -> None:
        super().__init__(aws)
        self._desired = desired
        self._window = window
        self._reader = Reader(aws, desired.profiles)

    def read(self) -> State:
        """Read the relevant instances from EC2, and the window and the restore records from IAM."""
        return self._read(self._window.read if self._window else None, is_first=True)

    def read_again(self) -> State:
        """Read the same without the records of this run. A window is read even if its first read was skipped."""
        return self._read(self._window.read_again if self._window else None, is_first=False)

    def read_to_plan_again(self) -> State:
        """Read the records too. They decide the earlier profile of an instance, even if this run has acquired it."""
        return self._read(self._window.read_again if self._window else None, is_first=True)

    @abstractmethod
    def _read(self, read_window: Callable[[], Window] | None, *, is_first: bool) -> State:
        """Read the instances and the window. :param is_first: whether the records of this run are not known yet."""

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps for every instance, and for the window."""
        return self._desired.plan(current, self._plan_window(current))

    def _plan_window(self, current: State) -> Plan[Window] | None:
        return self._window.plan(current.window) if self._window and current.window else None

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the changes that AWS does not show yet.

        :raises CwagentError: the state cannot be read, or another run has started since the plan was made.
        """
        if state.error:
            raise state.error
        try:
            instances = self._desired.remaining(plan, state)
        except InvalidInput as error:
            raise CwagentError(str(error)) from error  # InvalidInput means: nothing was written
        window = self._plan_window(plan.current)
        if self._window and window and state.window:
            return [*instances, *self._window.remaining(window, state.window)]
        return instances

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the instances and the window for the diff."""
        return admin_instance.to_diff(state)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the instances and the window for the result."""
        name, window = self._desired.instance_id, self._plan_window(plan.current)
        names = sorted(plan.current.instances) if name is None else [name]
        result: dict[str, Any] = {"instances": admin_instance.to_result(plan, final, names, self._desired.profiles)}
        if self._window and window and final.window:
            result.update(self._window.to_result(window, final.window))
        return result

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Return the warnings about the instances and about the window."""
        window = self._plan_window(plan.current)
        more = self._window.warnings(window) if self._window and window else []
        return [*self._desired.warnings(plan.current), *more]


class OtherRuns:
    """The runs that could acquire or restore an instance at the same time as this one."""

    def __init__(self, reader: Reader, desired: admin_profile_plan.Acquisition) -> None:
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

    def check_again(self, check: admin_profile_plan.ContentionCheck) -> None:
        """Check again that no other run has started, or has restored the instance. :raises ContentionError: it has."""
        # EC2 can show the tags as they were seconds ago, even after it has shown this run's own tag.
        self.check(self._tags_with_own(Deadline(LOST_SECONDS)), check, 0)

    def check(self, restore_tags: Collection[str], check: admin_profile_plan.ContentionCheck, seconds: float) -> None:
        """Check that no other run has started since the plan was made.

        Only the tags of instances with a record count.

        :param seconds: for how long to wait for the records. A run writes its record before its tag.
        :raises ContentionError: another run has started, or has restored the instance.
        """
        new = [name for name in restore_tags if name not in check.tagged and name != self._own]
        records = self._reader.records(new, seconds) if new else {}
        current = {name for name in restore_tags if name not in new or name in records}
        admin_profile_plan.check_restore_tags(check.tagged, current, self._own, self._profiles)

    def check_not_restored(self, state: State) -> None:
        """Check that the instance still has the restore tag that EC2 has shown before.

        :raises ContentionError: another run has restored the instance.
        """
        own = state.instances.get(self._own)
        if own is None or own.state in ENDED or own.id in state.restore_tags:
            return
        deadline = Deadline(LOST_SECONDS)
        if not deadline.pause() or own.id not in self._tags_with_own(deadline):
            raise ContentionError(admin_profile_plan.restored_message(own.id))

    def _tags_with_own(self, deadline: Deadline) -> dict[str, str]:
        """Read the restore tags until the instance has one, or until the time is up."""
        while True:
            restore_tags = self._reader.restore_tags()
            if self._own in restore_tags or not deadline.pause():
                return restore_tags


class AcquireResource(AdminInstanceResource):
    """The instance that gets the admin profile. The window is opened for it."""

    _desired: admin_profile_plan.Acquisition

    def __init__(self, aws: Aws, desired: admin_profile_plan.Acquisition, window: WindowResource | None = None) -> None:
        super().__init__(aws, desired, window)
        self._name, self._profiles = desired.instance_id, desired.profiles
        self._other_runs = OtherRuns(self._reader, desired)

    def _read(self, read_window: Callable[[], Window] | None, *, is_first: bool) -> State:
        shown = self._reader.read_to_acquire(self._name, is_running=self._desired.is_running, is_first=is_first)
        state = self._desired.assumed_state(shown)
        lost_policies = self._lost_policies(state) if is_first else ()
        return replace(state, lost_policies=lost_policies, window=read_window and read_window())

    def _lost_policies(self, state: State) -> tuple[str, ...]:
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

    def check_preconditions(self, current: State) -> None:
        """Check that no other run is at work.

        :raises ContentionError: another run is at work. The message explains what to do.
        :raises InvalidInput: the role of the window belongs to somebody else.
        """
        if self._window and current.window:
            self._window.check_managed(current.window)
        self._desired.check_not_tagged(current)
        admin_profile_plan.check_alone(current, self._name, self._profiles)
        if self._window and current.window:
            # Without a restore tag of a run, the window is open for something else, in another region for instance.
            is_tagged = self._name in current.tagged
            check = self._window.check_own if is_tagged else self._window.check_preconditions
            check(current.window)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
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

    def check_mode_warnings(self, plan: Plan[State]) -> list[str]:
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
        special = {admin_profile_plan.RECORD_ACTION: self._write_record, admin_profile_plan.TAG_ACTION: self._write_tag}
        work = special.get(step.action, self._execute_alone)
        try:
            work(step, step.context)
        except CwagentError as error:
            # The caller need not read the record, which IAM may not show yet.
            earlier = None if step.context.earlier == admin_instance.NO_PROFILE else step.context.earlier
            error.details["instances"] = [{"instance_id": self._name, "earlier_profile": earlier}]
            raise

    def _write_record(self, step: Step, check: admin_profile_plan.ContentionCheck) -> None:
        if check.before_first_try:
            self._other_runs.check_again(check)
        try:
            super().execute(step)
        except AwsApiError as error:
            if error.code in DENIED_CODES | {"NoSuchEntity"}:
                error.details["steps"] = []  # nothing was started, so there is nothing to release
            raise

    def _write_tag(self, step: Step, check: admin_profile_plan.ContentionCheck) -> None:
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

    def _execute_alone(self, step: Step, check: admin_profile_plan.ContentionCheck) -> None:
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

    def _with_present_association(self, step: Step, check: admin_profile_plan.ContentionCheck) -> Step:
        """Return a step with the id of the association that the instance has now.

        Only an association with the earlier profile may be replaced. The id is read before the restore tags: if another
        run restores the instance after that, EC2 refuses the id.

        :raises AwsApiError: something else has changed the association. The code is EC2's code for a missing one.
        """
        found = profile_resource.read_associations(self._aws, [self._name]).get(self._name, ())
        if not found or found[-1].profile != check.earlier:
            raise AwsApiError(admin_profile_plan.restored_message(self._name), "InvalidAssociationID.NotFound")
        return replace(step, arguments={**step.arguments, "association_id": found[-1].id})

    def _explain(
        self, step: Step, check: admin_profile_plan.ContentionCheck, error: AwsApiError, *, is_retry: bool
    ) -> None:
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

    _desired: admin_profile_plan.SoleHolder

    def _read(self, read_window: Callable[[], Window] | None, *, is_first: bool) -> State:
        del read_window
        name, may_be_stale = self._desired.instance_id, self._desired.is_lost
        return read_until_plausible(lambda: self._reader.read_to_check_alone(name, is_first=is_first), may_be_stale)


class ReleaseResource(AdminInstanceResource):
    """The instances that get their earlier profiles again. The window is closed."""

    _desired: Release

    def read_to_plan_again(self) -> State:
        """Read the records too, without the knowledge of the caller, which can be outdated."""
        fresh = ReleaseResource(self._aws, replace(self._desired, has_records=True, associations=None), self._window)
        return AdminInstanceResource.read_to_plan_again(fresh)

    def _read(self, read_window: Callable[[], Window] | None, *, is_first: bool) -> State:
        if read_window is None:
            return self._read_instances(is_first=is_first)
        # The window is closed even if the instances cannot be read, and the other way round.
        try:
            state = self._read_instances(is_first=is_first)
        except CwagentError as error:
            state = State(error=error)
        if is_first and self._desired.may_hold_window(state):
            return replace(state, window=Window(self._aws.now, is_known=False))
        try:
            return replace(state, window=read_window())
        except CwagentError as error:
            return replace(state, window=Window(self._aws.now, is_known=False, error=error))

    def _read_instances(self, *, is_first: bool) -> State:
        desired, reader = self._desired, self._reader
        read = (
            partial(reader.read_to_release_all, desired.associations if is_first else None, desired.has_records)
            if desired.instance_id is None
            else partial(reader.read_to_release, desired.instance_id, desired.known_earlier)
        )
        state = read_until_plausible(lambda: read(is_first), lambda state: is_first and desired.may_be_stale(state))
        # An earlier profile can have been deleted since, and not every account has the server profile.
        to_restore = [
            name
            for name, each in state.instances.items()
            if admin_instance.needs_restore(state, each, desired.profiles)
        ]
        fallback = desired.profiles.fallback
        profiles = {state.records.get(name, fallback) for name in to_restore} - {NO_PROFILE}
        unusable = {name for name in profiles if not self._is_usable(name)}
        if unusable - {fallback} and not self._is_usable(fallback):
            unusable.add(fallback)
        return replace(state, unusable_profiles=frozenset(unusable))

    def _is_usable(self, profile: str) -> bool:
        """Whether EC2 accepts a profile. The name comes from a tag of the role, so it can be anything."""
        try:
            check_name("instance profile", profile)
        except InvalidInput:
            return False

        def has_role() -> bool:
            found = find_profile(self._aws, profile)
            return found is not None and found.role is not None

        try:
            return profile_resource.is_shown(self._aws, has_role)
        except AwsApiError:
            return True  # EC2 itself refuses a profile that it does not know

    def _plan_window(self, current: State) -> Plan[Window] | None:
        plan = super()._plan_window(current)
        if plan and not self._desired.may_close(opening_of(plan.current.policy)):
            return Plan(plan.current, plan.current, {})
        return plan

    def execute(self, step: Step) -> None:
        """Execute a step. A profile is not restored if the instance has ended, or another run has restored it."""
        if step.context is None:
            super().execute(step)
            return

        def try_once() -> None:
            try:
                self._aws.execute(replace(step, retry_when=frozenset()))
            except AwsApiError as error:
                if error.code in DENIED_CODES | THROTTLING_CODES or not self._is_restored(step.context):
                    raise

        self._aws.retry(try_once, step.retry_when)

    def _is_restored(self, instance_id: str) -> bool:
        state = profile_resource.instance_states(self._aws, [instance_id]).get(instance_id)
        if state is None or state in ENDED:
            return True
        found = profile_resource.read_associations(self._aws, [instance_id]).get(instance_id, ())
        return bool(found) and all(each.profile != self._desired.profiles.admin for each in found)
