# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from EC2 which instance is the admin instance, and executes the steps of the plan and of the window's."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import plan as admin_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    EXCLUSIVE,
    NO_PROFILE,
    RELEASED,
    RESTORE_TAG,
    TAG_ACTION,
    ContentionCheck,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED_CODES,
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import Instance
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import (
    FILTER_VALUES,
    check_profile_exists,
    describe_instances,
    instance_states,
    read_associations,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import check_name
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import tags
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import find_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import DesiredAdmin
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step


class AdminInstanceResource(Resource[State]):
    """The instances of a region that have the admin profile, or are about to get it.

    :param window: the admin window that is opened for an instance and closed when it is released; ``None`` for none.
    """

    def __init__(self, aws: Aws, desired: DesiredAdmin, window: WindowResource | None = None) -> None:
        super().__init__(aws)
        self._desired = desired
        self._window = window

    def read(self) -> State:
        """Read the relevant instances from EC2, and the window from IAM."""
        return self._read_with(self._window.read if self._window else None)

    def read_again(self) -> State:
        """Read the same; also a window whose first read was skipped."""
        return self._read_with(self._window.read_again if self._window else None)

    def _read_with(self, read_window: Callable[[], Window] | None) -> State:
        if read_window is None:
            return self._read()
        if self._desired.state != RELEASED:
            return replace(self._read(), window=read_window())
        # The window is closed even if the instances cannot be read, and the other way round.
        try:
            state = self._read()
        except CwagentError as error:
            state = State(error=error)
        try:
            return replace(state, window=read_window())
        except CwagentError as error:
            return replace(state, window=Window(self._aws.now, is_known=False, error=error))

    def _read(self) -> State:
        ids = self._desired.instance_ids
        if self._desired.state != RELEASED:
            return self._read_region()
        is_short = ids is not None and len(ids) <= FILTER_VALUES
        state = self._read_instances(ids) if ids and is_short else self._read_region()
        # An earlier profile can have been deleted since, and not every account has the server profile.
        to_restore = [
            name for name, each in state.instances.items() if admin_plan.needs_restore(state, each, self._desired)
        ]
        profiles = {state.restore_tags.get(name, self._desired.fallback) for name in to_restore} - {NO_PROFILE}
        unusable = {name for name in profiles if not self._is_usable(name)}
        if unusable - {self._desired.fallback} and not self._is_usable(self._desired.fallback):
            unusable.add(self._desired.fallback)
        return replace(state, unusable_profiles=frozenset(unusable))

    def _read_region(self) -> State:
        """Read the instances that are in the list, have the admin profile or have a restore tag."""
        associations = read_associations(self._aws)
        # EXCLUSIVE is for a run that has tagged its instance, and has looked for other tags, before.
        restore_tags = {} if self._desired.state == EXCLUSIVE else self._restore_tags()
        admins = {
            name for name, found in associations.items() if any(each.profile == self._desired.admin for each in found)
        }
        names = dict.fromkeys([*(self._desired.instance_ids or ()), *sorted(admins | restore_tags.keys())])
        if self._desired.state == RELEASED:
            # An instance with a profile exists. Whether it is stopped or ends matters only if it is restored.
            running = associations.keys() - admins
        else:
            running = {
                name
                for name in names
                if self._desired.is_target(name) and self._is_assumed_running(name, associations, restore_tags)
            }
        unsure = [name for name in names if name not in running]
        states = {**dict.fromkeys(running, "running"), **instance_states(self._aws, unsure)}
        return State(
            {name: Instance(name, states[name], associations.get(name, ())) for name in names if name in states},
            {name: value for name, value in restore_tags.items() if name in states},
            tagged=frozenset(restore_tags),
        )

    def _is_assumed_running(self, name: str, associations: Collection[str], restore_tags: Collection[str]) -> bool:
        """Whether an instance is known to run without looking it up."""
        return self._desired.assume_running or (
            name in associations and (self._desired.state == EXCLUSIVE or name in restore_tags)
        )

    def _read_instances(self, instance_ids: Sequence[str]) -> State:
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
        return State(instances, restore_tags, tagged=frozenset(restore_tags))

    def _is_usable(self, profile: str) -> bool:
        """Whether EC2 accepts a profile. The name comes from a tag, so it can be anything."""
        try:
            check_name("instance profile", profile)
        except InvalidInput:
            return False
        found = find_profile(self._aws, profile)
        return found is not None and found.role is not None

    def check_preconditions(self, current: State) -> None:
        """Check that no other run is at work.

        :raises ContentionError: one is; it says what to do.
        """
        if self._desired.state != ACQUIRED:
            return
        admin_plan.check_not_tagged(current, self._desired)
        admin_plan.check_no_other_holder(current, self._desired)
        # Without a restore tag, the window is open for something else, in another region for instance.
        is_tagged = any(name in current.restore_tags for name in self._desired.instance_ids or ())
        if self._window and current.window and not is_tagged:
            self._window.check_preconditions(current.window)

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps for every instance, and for the window."""
        return admin_plan.plan(current, self._desired, self._plan_window(current))

    def _plan_window(self, current: State) -> Plan[Window] | None:
        return self._window.plan(current.window) if self._window and current.window else None

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List what AWS does not show yet.

        :raises CwagentError: it cannot be read, or another run has started since the plan was made.
        """
        if state.error:
            raise state.error
        try:
            instances = admin_plan.plan(state, self._desired).summaries
        except InvalidInput as error:
            raise CwagentError(str(error)) from error  # InvalidInput means that nothing was written
        window = self._plan_window(plan.current)
        if self._window and window and state.window:
            return [*instances, *self._window.remaining(window, state.window)]
        return instances

    def execute(self, step: Step) -> None:
        """Execute a step; to acquire, only if no other run is at work."""
        if not isinstance(step.context, ContentionCheck):
            super().execute(step)
        elif step.action == TAG_ACTION:
            self._write_tag(step, step.context)
        else:
            self._execute_without_contention(step, step.context)

    def _write_tag(self, step: Step, check: ContentionCheck) -> None:
        try:
            super().execute(step)
        except AwsApiError as error:
            if error.code in DENIED_CODES:
                error.details["steps"] = []  # nothing was begun, so there is nothing to release
            raise
        self._abort_if_contended(check)

    def _abort_if_contended(self, check: ContentionCheck) -> None:
        """Read the restore tags again, since another run can have read them before this one wrote its own.

        :raises ContentionError: another run has tagged an instance too. This run has removed its own tag again.
        """
        restore_tags = self._wait_for_own_tag()
        try:
            admin_plan.check_restore_tags(check.tagged, restore_tags, self._desired)
        except ContentionError as error:
            for name in self._desired.instance_ids or ():
                super().execute(admin_plan.remove_tag(name, restore_tags[name]))
            # No steps: a caller that releases what was begun has nothing to do, and the window can be another run's.
            raise ContentionError(f"{error} This run has removed its restore tag.", steps=[]) from error

    def _wait_for_own_tag(self) -> dict[str, str]:
        """Wait until EC2 shows the tag that this run wrote, since another run cannot see it earlier."""
        deadline = self._aws.deadline()
        while True:
            restore_tags = self._restore_tags()
            hidden = [name for name in self._desired.instance_ids or () if name not in restore_tags]
            if not hidden:
                return restore_tags
            if not deadline.pause():
                raise ConsistencyTimeout(
                    f"EC2 did not show the restore tag of instance {hidden[0]} within {deadline.seconds:.0f} seconds. "
                    "Run again, or increase wait_timeout."
                )

    def _execute_without_contention(self, step: Step, check: ContentionCheck) -> None:
        """Execute a step, and read the restore tags again before each retry.

        A module can outlive its run. Another run can have restored everything, and removed the tag, since.
        """
        tries = count()

        def execute_once() -> None:
            is_retry = next(tries) > 0
            if is_retry or check.before_first_try:
                admin_plan.check_restore_tags(check.tagged, self._restore_tags(), self._desired)
            try:
                self._aws.execute(replace(step, retry_when=frozenset()))
            except AwsApiError as error:
                if error.code in step.retry_when and not is_retry:
                    check_profile_exists(self._aws, self._desired.admin, step, error)
                raise

        self._aws.retry(execute_once, step.retry_when)

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
        """Warn of instances that cannot get their earlier profile again, and of what the window warns of."""
        window = self._plan_window(plan.current)
        return [
            *admin_plan.warnings(plan.current, self._desired),
            *(self._window.warnings(window) if self._window and window else []),
        ]

    def check_mode_warnings(self, plan: Plan[State]) -> list[str]:
        """Warn if the admin profile or role does not exist, and no earlier task has planned them."""
        if self._desired.state != ACQUIRED or self._desired.assume_created:
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
        )
        return {tag["ResourceId"]: tag["Value"] for page in pages for tag in page["Tags"]}
