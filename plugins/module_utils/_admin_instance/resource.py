# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the admin instance, and executes the steps of its plan and of the window's plan."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import plan as admin_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    EXCLUSIVE,
    NO_PROFILE,
    RECORD_ACTION,
    RELEASED,
    RESTORE_TAG,
    TAG_ACTION,
    ContentionCheck,
    Restoring,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import opening_of
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED_CODES,
    THROTTLING_CODES,
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import (
    ASSOCIATION_RETRY_CODES,
    ENDED,
    Instance,
    ineligible_reason,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import (
    FILTER_VALUES,
    PAGE_SIZE,
    check_profile_exists,
    describe_instances,
    execute_once,
    instance_states,
    is_shown,
    read_associations,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import check_name, name_of
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, Plan
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import attached_policies, tags
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import SSM_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import find_profile, find_role
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import DesiredAdmin
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import Association
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

# IAM can show the tags of a role as they were seconds ago: https://docs.aws.amazon.com/IAM/latest/UserGuide/
# troubleshoot_general.html#troubleshoot_general_eventual-consistency
RECORD_SECONDS = 15.0
# A restore tag or an association that EC2 has shown counts as removed if EC2 does not show it for this long.
LOST_SECONDS = 5.0


class AdminInstanceResource(Resource[State]):
    """The instances of a region that have the admin profile, or are about to get it.

    :param window: the admin window that is opened for an instance and closed when it is released; ``None`` for none.
    :param has_records: whether the role can have restore records of this region, according to the caller.
    :param associations: the associations of the region, if the caller has read them.

    The knowledge of the caller only saves the first read of a release, and only if no instance has a restore tag or the
    admin profile. Otherwise another run may have changed something since.
    """

    _aws: Aws

    def __init__(
        self,
        aws: Aws,
        desired: DesiredAdmin,
        window: WindowResource | None = None,
        *,
        has_records: bool = True,
        associations: Mapping[str, tuple[Association, ...]] | None = None,
    ) -> None:
        super().__init__(aws)
        self._desired = desired
        self._window = window
        self._has_records = has_records
        self._associations = associations

    def read(self) -> State:
        """Read the relevant instances from EC2, and the window and the restore records from IAM."""
        return self._read_with(self._window.read if self._window else None, is_first=True)

    def read_again(self) -> State:
        """Read the same without the records of this run. A window is read even if its first read was skipped."""
        return self._read_with(self._window.read_again if self._window else None, is_first=False)

    def read_to_plan_again(self) -> State:
        """Read the records too. They decide the earlier profile of an instance, even if this run has acquired it."""
        return self._afresh()._read_with(self._window.read_again if self._window else None, is_first=True)

    def _afresh(self) -> AdminInstanceResource:
        """Return the same resource without the knowledge of the caller, which can be outdated."""
        return AdminInstanceResource(self._aws, self._desired, self._window)

    def _read_with(self, read_window: Callable[[], Window] | None, *, is_first: bool) -> State:
        if read_window is None:
            return self._read(is_first)
        if self._desired.state != RELEASED:
            return replace(self._read(is_first), window=read_window())
        # The window is closed even if the instances cannot be read, and the other way round.
        try:
            state = self._read(is_first)
        except CwagentError as error:
            state = State(error=error)
        if is_first and admin_plan.may_hold_window(state, self._desired):
            return replace(state, window=Window(self._aws.now, is_known=False))
        try:
            return replace(state, window=read_window())
        except CwagentError as error:
            return replace(state, window=Window(self._aws.now, is_known=False, error=error))

    def _read(self, is_first: bool) -> State:
        ids = self._desired.instance_ids
        if self._desired.state != RELEASED:
            state = admin_plan.assumed_state(self._read_until_plausible(self._read_region, is_first), self._desired)
            return replace(state, lost_policies=self._lost_policies(state)) if is_first else state
        is_short = ids is not None and len(ids) <= FILTER_VALUES
        read = partial(self._read_instances, ids) if ids and is_short else self._read_region
        shown = self._read_until_plausible(read, is_first) if is_first else read(is_first)
        state = admin_plan.assumed_state(shown, self._desired)
        # An earlier profile can have been deleted since, and not every account has the server profile.
        to_restore = [
            name for name, each in state.instances.items() if admin_plan.needs_restore(state, each, self._desired)
        ]
        profiles = {state.records.get(name, self._desired.fallback) for name in to_restore} - {NO_PROFILE}
        unusable = {name for name in profiles if not self._is_usable(name)}
        if unusable - {self._desired.fallback} and not self._is_usable(self._desired.fallback):
            unusable.add(self._desired.fallback)
        return replace(state, unusable_profiles=frozenset(unusable))

    def _read_until_plausible(self, read: Callable[[bool], State], is_first: bool) -> State:
        """Read, and repeat that for a while if EC2 may show an instance as it was before this run changed it."""
        deadline = Deadline(LOST_SECONDS)
        while True:
            state = read(is_first)
            if not admin_plan.may_be_stale(state, self._desired) or not deadline.pause():
                return state

    def _lost_policies(self, state: State) -> tuple[str, ...]:
        """Read the policies for Systems Manager that the instance loses; none if reading them is denied."""
        earlier = admin_plan.profile_to_try(state, self._desired)
        try:
            profile = find_profile(self._aws, earlier) if earlier else None
            policies = self._ssm_policies(profile.role) if profile and profile.role else set()
            return tuple(sorted(policies)) if policies and not self._ssm_policies(self._desired.record_role) else ()
        except AwsApiError as error:
            if error.code not in DENIED_CODES | NOT_FOUND_CODES:
                raise
            return ()

    def _ssm_policies(self, role: str) -> set[str]:
        return {name_of(arn) for arn in attached_policies(self._aws, "role", role)} & SSM_POLICIES.keys()

    def _read_region(self, is_first: bool) -> State:
        """Read the instances that are in the list, have the admin profile, a restore tag or a record."""
        known = self._associations if is_first else None
        associations = read_associations(self._aws) if known is None else known
        # A run that uses EXCLUSIVE has already tagged its instance and looked for other tags.
        restore_tags = {} if self._desired.state == EXCLUSIVE else self._restore_tags()
        admins = {
            name for name, found in associations.items() if any(each.profile == self._desired.admin for each in found)
        }
        if known is not None and (admins or restore_tags):
            return self._afresh()._read_region(is_first)
        names = [*dict.fromkeys([*(self._desired.instance_ids or ()), *sorted(admins | restore_tags.keys())])]
        if self._desired.state == RELEASED:
            # An instance with a profile exists. Whether it is stopped or ends matters only if it is restored.
            running = associations.keys() - admins
        else:
            running = {
                name
                for name in names
                if self._desired.is_target(name) and self._is_assumed_running(name, associations, restore_tags)
            }

        def read_instances(of: Iterable[str]) -> dict[str, Instance]:
            unsure = [name for name in of if name not in running]
            states = {**dict.fromkeys(running, "running"), **instance_states(self._aws, unsure)}
            return {name: Instance(name, states[name], associations.get(name, ())) for name in of if name in states}

        instances = read_instances(names)
        records = self._read_records(instances, restore_tags, is_first)
        if self._desired.state == RELEASED:
            instances.update(read_instances([name for name in sorted(records) if name not in instances]))
        return State(
            instances,
            {name: value for name, value in restore_tags.items() if name in instances},
            records,
            tagged=frozenset(restore_tags.keys() & records.keys()),
        )

    def _read_records(
        self, instances: Mapping[str, Instance], restore_tags: Collection[str], is_first: bool
    ) -> dict[str, str]:
        """Read the restore records, unless they are known or do not matter.

        A tag is written after its record, which IAM may not show yet. So if an instance has lost its profile, or is
        about to be reported as somebody else's admin instance, a missing record is read again for a while.
        """
        desired = self._desired
        if desired.known_earlier is not None:
            return dict.fromkeys(desired.instance_ids or (), desired.known_earlier)
        if not self._needs_records(instances, restore_tags, is_first):
            return {}
        expected = [name for name, each in instances.items() if self._expects_record(each, restore_tags)]
        return self._records_with(expected if is_first else [])

    def _expects_record(self, instance: Instance, restore_tags: Collection[str]) -> bool:
        """Whether an instance looks as if a run had acquired it, so that it has a record. EXCLUSIVE reads no tags."""
        desired = self._desired
        is_tagged = desired.state == EXCLUSIVE or instance.id in restore_tags
        if desired.is_target(instance.id):
            return is_tagged and desired.state != EXCLUSIVE and admin_plan.lacks_profile(instance, desired)
        return is_tagged and desired.state != RELEASED and admin_plan.has_admin_profile(instance, desired)

    def _needs_records(self, instances: Mapping[str, Instance], restore_tags: Collection[str], is_first: bool) -> bool:
        """Whether the records matter: at the first read of a release, else for each tag and each admin instance.

        A release needs none of a region that has neither records nor a tag nor an admin instance.
        """
        if self._desired.state == RELEASED:
            return is_first and (
                self._has_records or any(self._has_trace(each, instances, restore_tags) for each in instances)
            )
        is_other = any(not self._desired.is_target(name) for name in [*instances, *restore_tags])
        # The records of this run are known when it reads again, and do not matter to EXCLUSIVE.
        is_own = is_first and any(self._has_trace(name, instances, restore_tags) for name in instances)
        return is_other or (is_own and self._desired.state == ACQUIRED)

    def _has_trace(self, name: str, instances: Mapping[str, Instance], restore_tags: Collection[str]) -> bool:
        return name in restore_tags or (
            name in instances and admin_plan.has_admin_profile(instances[name], self._desired)
        )

    def _records_with(self, expected: Collection[str], seconds: float = RECORD_SECONDS) -> dict[str, str]:
        """Read the restore records until they have these instances, or until the time is up."""
        deadline = Deadline(seconds)
        while True:
            role = find_role(self._aws, self._desired.record_role)
            records = admin_plan.records_in(tags(role or {}), self._desired.region)
            if all(name in records for name in expected) or not deadline.pause():
                return records

    def _is_assumed_running(self, name: str, associations: Collection[str], restore_tags: Collection[str]) -> bool:
        """Whether an instance is known to run without looking it up."""
        if name in associations:
            return self._desired.are_running or self._desired.state == EXCLUSIVE or name in restore_tags
        # An instance that ended has lost its profile.
        return self._desired.are_running and not self._desired.fail_if_lost

    def _read_instances(self, instance_ids: Sequence[str], is_first: bool) -> State:
        """Read these instances only, whatever else is in the region."""
        found = {each["InstanceId"]: each for each in describe_instances(self._aws, instance_ids)}
        associations = read_associations(self._aws, instance_ids)
        instances = {
            name: Instance(name, found[name]["State"]["Name"], associations.get(name, ()))
            for name in instance_ids
            if name in found
        }
        values = {name: tags(each).get(RESTORE_TAG) for name, each in found.items()}
        restore_tags = {name: value for name, value in values.items() if value is not None}
        records = self._read_records(instances, restore_tags, is_first)
        return State(instances, restore_tags, records, tagged=frozenset(restore_tags.keys() & records.keys()))

    def _is_usable(self, profile: str) -> bool:
        """Whether EC2 accepts a profile. The name comes from a tag of the role, so it can be anything."""
        if self._desired.associated_before and profile == self._desired.fallback:
            return True
        try:
            check_name("instance profile", profile)
        except InvalidInput:
            return False

        def has_role() -> bool:
            found = find_profile(self._aws, profile)
            return found is not None and found.role is not None

        return is_shown(self._aws, has_role)

    def check_preconditions(self, current: State) -> None:
        """Check that no other run is at work.

        :raises ContentionError: another run is at work. The message explains what to do.
        :raises InvalidInput: the role of the window belongs to somebody else.
        """
        if self._desired.state != ACQUIRED:
            return
        if self._window and current.window:
            self._window.check_managed(current.window)
        admin_plan.check_not_tagged(current, self._desired)
        admin_plan.check_no_other_holder(current, self._desired)
        # Without a restore tag of a run, the window is open for something else, in another region for instance.
        is_tagged = any(name in current.tagged for name in self._desired.instance_ids or ())
        if self._window and current.window:
            check = self._window.check_own if is_tagged else self._window.check_preconditions
            check(current.window)

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps for every instance, and for the window."""
        return admin_plan.plan(current, self._desired, self._plan_window(current))

    def _plan_window(self, current: State) -> Plan[Window] | None:
        if not (self._window and current.window):
            return None
        if self._desired.state == RELEASED and not self._desired.is_for(opening_of(current.window.policy)):
            return Plan(current.window, current.window, {})
        return self._window.plan(current.window)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the changes that AWS does not show yet.

        :raises CwagentError: the state cannot be read, or another run has started since the plan was made.
        """
        if state.error:
            raise state.error
        try:
            if self._desired.state == ACQUIRED:
                self._check_not_restored(state)
            instances = admin_plan.remaining(plan, state, self._desired)
        except CwagentError as error:
            if self._desired.state == ACQUIRED:
                # The caller need not read the record, which IAM may not show yet.
                error.details["instances"] = admin_plan.to_result(plan, state, self._desired)
            if isinstance(error, InvalidInput):
                raise CwagentError(str(error), **error.details) from error  # InvalidInput means: nothing was written
            raise
        window = self._plan_window(plan.current)
        if self._window and window and state.window:
            return [*instances, *self._window.remaining(window, state.window)]
        return instances

    def _check_not_restored(self, state: State) -> None:
        """Check that the instance still has the restore tag that EC2 has shown before.

        :raises ContentionError: another run has restored the instance.
        """
        for name in self._desired.instance_ids or ():
            found, deadline = set(state.restore_tags), Deadline(LOST_SECONDS)
            while name in state.instances and state.instances[name].state not in ENDED and name not in found:
                if not deadline.pause():
                    raise ContentionError(admin_plan.restored_message(name))
                found = set(self._restore_tags())

    def execute(self, step: Step) -> None:
        """Execute a step; to acquire, only if no other run is at work."""
        if isinstance(step.context, Restoring):
            self._restore(step, step.context.instance_id)
        elif not isinstance(step.context, ContentionCheck):
            super().execute(step)
        else:
            try:
                self._acquire(step, step.context)
            except CwagentError as error:
                # The caller need not read the record, which IAM may not show yet.
                earlier = None if step.context.earlier == NO_PROFILE else step.context.earlier
                ids = self._desired.instance_ids or ()
                error.details["instances"] = [{"instance_id": name, "earlier_profile": earlier} for name in ids]
                raise

    def _acquire(self, step: Step, check: ContentionCheck) -> None:
        if step.action == TAG_ACTION:
            self._write_tag(step, check)
        elif step.action == RECORD_ACTION:
            self._write_record(step, check)
        else:
            self._execute_without_contention(step, check)

    def _restore(self, step: Step, instance_id: str) -> None:
        """Restore a profile, unless the instance has ended, or another run has restored it, in the meantime."""

        def try_once() -> None:
            try:
                self._aws.execute(replace(step, retry_when=frozenset()))
            except AwsApiError as error:
                if error.code in DENIED_CODES | THROTTLING_CODES or not self._is_restored(instance_id):
                    raise

        self._aws.retry(try_once, step.retry_when)

    def _is_restored(self, instance_id: str) -> bool:
        state = instance_states(self._aws, [instance_id]).get(instance_id)
        if state is None or state in ENDED:
            return True
        found = read_associations(self._aws, [instance_id]).get(instance_id, ())
        return bool(found) and all(each.profile != self._desired.admin for each in found)

    def _write_record(self, step: Step, check: ContentionCheck) -> None:
        if check.before_first_try:
            self._check_restore_tags(check)
        try:
            super().execute(step)
        except AwsApiError as error:
            if error.code in DENIED_CODES | {"NoSuchEntity"}:
                error.details["steps"] = []  # nothing was started, so there is nothing to release
            raise

    def _write_tag(self, step: Step, check: ContentionCheck) -> None:
        try:
            super().execute(step)
        except AwsApiError as error:
            if error.code in DENIED_CODES:
                self._remove_records()
                error.details["steps"] = []  # nothing else was started, so there is nothing to release
            raise
        self._abort_if_contended(check)

    def _remove_records(self) -> None:
        for name in self._desired.instance_ids or ():
            super().execute(admin_plan.remove_record(name, self._desired))

    def _abort_if_contended(self, check: ContentionCheck) -> None:
        """Read the restore tags again, since another run can have read them before this one wrote its own.

        :raises ContentionError: another run has tagged an instance too. This run has removed its own tag again.
        """
        restore_tags = self._wait_for_own_tag()
        try:
            current = self._instances_that_count(restore_tags, check, RECORD_SECONDS)
            admin_plan.check_restore_tags(check.tagged, current, self._desired)
        except ContentionError as error:
            for name in self._desired.instance_ids or ():
                super().execute(admin_plan.remove_tag(name, restore_tags[name]))
            self._remove_records()
            # No steps, because there is nothing that the caller must release, and the window can be another run's.
            raise ContentionError(f"{error} This run has removed its restore tag.", steps=[]) from error

    def _instances_that_count(self, restore_tags: Collection[str], check: ContentionCheck, seconds: float) -> set[str]:
        """Return the instances whose restore tag counts: the instances of the list, and all instances with a record.

        :param seconds: for how long to wait for the records. A run writes its record before its tag.
        """
        new = [name for name in restore_tags if name not in check.tagged and not self._desired.is_target(name)]
        records = self._records_with(new, seconds) if new else {}
        return {name for name in restore_tags if name not in new or name in records}

    def _check_restore_tags(self, check: ContentionCheck) -> None:
        # EC2 can show the tags as they were seconds ago, even after it has shown this run's own tag.
        restore_tags, _found = self._tags_with_own(Deadline(LOST_SECONDS))
        admin_plan.check_restore_tags(check.tagged, self._instances_that_count(restore_tags, check, 0), self._desired)

    def _wait_for_own_tag(self) -> dict[str, str]:
        """Wait until EC2 shows the tag that this run wrote, since another run cannot see it earlier."""
        deadline = self._aws.deadline()
        restore_tags, hidden = self._tags_with_own(deadline)
        if hidden:
            raise ConsistencyTimeout(
                f"EC2 did not show the restore tag of instance {hidden[0]} within {deadline.seconds:.0f} seconds. "
                "Run again, or increase wait_timeout."
            )
        return restore_tags

    def _tags_with_own(self, deadline: Deadline) -> tuple[dict[str, str], list[str]]:
        """Read the restore tags until the instances of the list have one. :returns: the tags, and instances without."""
        while True:
            restore_tags = self._restore_tags()
            hidden = [name for name in self._desired.instance_ids or () if name not in restore_tags]
            if not hidden or not deadline.pause():
                return restore_tags, hidden

    def _execute_without_contention(self, step: Step, check: ContentionCheck) -> None:
        """Execute a step, and read the restore tags again before each retry.

        A module can outlive its run. Another run can have restored everything, and removed the tag, since.
        """
        tries = count()

        def try_once() -> None:
            is_retry = next(tries) > 0
            try:
                present = self._with_present_association(step, check) if check.look_up_association else step
                if is_retry or check.before_first_try or check.look_up_association:
                    self._check_restore_tags(check)
                execute_once(self._aws, present)
            except AwsApiError as error:
                if step.action.startswith("ec2:") and error.code not in DENIED_CODES | THROTTLING_CODES:
                    self._explain(step, check, error, is_retry=is_retry)
                raise

        self._aws.retry(try_once, step.retry_when)

    def _with_present_association(self, step: Step, check: ContentionCheck) -> Step:
        """Return a step with the id of the association that the instance has now.

        Only an association with the earlier profile may be replaced. The id is read before the restore tags: if another
        run restores the instance after that, EC2 refuses the id.

        :raises AwsApiError: something else has changed the association. The code is EC2's code for a missing one.
        """
        [name] = self._desired.instance_ids or ()
        found = read_associations(self._aws, [name]).get(name, ())
        if not found or found[-1].profile != check.earlier:
            raise AwsApiError(admin_plan.restored_message(name), "InvalidAssociationID.NotFound")
        return replace(step, arguments={**step.arguments, "association_id": found[-1].id})

    def _explain(self, step: Step, check: ContentionCheck, error: AwsApiError, *, is_retry: bool) -> None:
        """Explain why a profile cannot be associated, if the reason is known.

        :raises CwagentError: the instance has ended, or the profile does not exist.
        :raises ContentionError: another run has restored the instance.
        """
        for name, state in self._states_of_targets().items():
            reason = ineligible_reason(name, state)
            if reason:
                raise CwagentError(f"Could not {step.summary}: {reason}") from error
        if error.code not in ASSOCIATION_RETRY_CODES:
            self._check_restore_tags(check)
        elif not is_retry:
            check_profile_exists(self._aws, self._desired.admin, step, error)

    def _states_of_targets(self) -> dict[str, str | None]:
        ids = self._desired.instance_ids or ()
        states = instance_states(self._aws, ids)
        return {name: states.get(name) for name in ids}

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the instances and the window for the diff."""
        window = {"window": window_plan.to_diff(state.window)} if state.window else {}
        return {**admin_plan.to_dict(state), **window}

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the instances and the window for the result."""
        result: dict[str, Any] = {"instances": admin_plan.to_result(plan, final, self._desired)}
        window = self._plan_window(plan.current)
        if self._window and window and final.window:
            result.update(self._window.to_result(window, final.window))
        return result

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Return the warnings about the instances and about the window."""
        window = self._plan_window(plan.current)
        return [
            *admin_plan.warnings(plan.current, self._desired),
            *(self._window.warnings(window) if self._window and window else []),
        ]

    def check_mode_warnings(self, plan: Plan[State]) -> list[str]:
        """Warn if the admin profile or role does not exist, and no earlier task has planned them."""
        if self._desired.state != ACQUIRED or self._desired.managed_before:
            return []
        is_missing = find_profile(self._aws, self._desired.admin) is None
        window = self._plan_window(plan.current)
        return [
            *([f"instance profile '{self._desired.admin}' does not exist yet"] if is_missing else []),
            *(self._window.check_mode_warnings(window) if self._window and window else []),
        ]

    def _restore_tags(self) -> dict[str, str]:
        pages = self._aws.pages(
            "ec2:DescribeTags",
            "read which instances have a restore tag",
            Filters=[{"Name": "key", "Values": [RESTORE_TAG]}, {"Name": "resource-type", "Values": ["instance"]}],
            MaxResults=PAGE_SIZE,
        )
        return {tag["ResourceId"]: tag["Value"] for page in pages for tag in page["Tags"]}
