# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the instances that have the admin profile, a restore tag or a restore record: the base of the resources."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from .._ground.converge import Resource
from .._ground.errors import CwagentError, InvalidInput
from .._ground.wait import Deadline
from .._principals.principal import tags
from .._principals.role import find_role
from . import admin_instance
from . import instance_profile as profile_resource
from .admin_instance import State
from .instance_profile_plan import Instance

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from .._ground.aws import Aws
    from .._ground.plan import Plan
    from .._principals.window import WindowResource
    from .._principals.window_plan import Window
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
