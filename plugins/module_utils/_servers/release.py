# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives instances their earlier profiles again, and closes the admin window."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from .._ground.errors import DENIED_CODES, THROTTLING_CODES, AwsApiError, CwagentError, InvalidInput
from .._ground.names import check_name
from .._ground.plan import Plan
from .._principals.role import find_profile
from .._principals.window_plan import Window
from .._principals.window_policy import opening_of
from . import admin_instance
from . import instance_profile as profile_resource
from .admin_instance import NO_PROFILE, State
from .admin_instances import AdminInstanceResource, read_until_plausible
from .instance_profile_plan import ENDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._ground.plan import Step
    from .release_plan import Release


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
