# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads from EC2 which instance is the administrator, and takes the steps of the plan with those of the window."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import plan as admin_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ADMIN,
    EXCLUSIVE,
    NO_PROFILE,
    NO_WINDOW,
    RELEASED,
    RESTORE_TAG,
    WRITE_TAG,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED_CODES,
    AwsApiError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import Instance
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import (
    FILTER_VALUES,
    describe_instances,
    instance_states,
    read_associations,
    refuse_missing,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import check_name
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import tags
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import find_profile

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import DesiredAdmin
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

# No code of AWS, which has no error for it: to be tried again, like those that pass by themselves.
NOT_SHOWN = "not shown"


class AdminInstanceResource(Resource[State]):
    """The instances of a region that carry the admin profile, or are about to.

    :param window: the admin window that is opened for an instance and closed when it goes back; ``None`` leaves it.
    """

    def __init__(self, aws: Aws, desired: DesiredAdmin, window: WindowResource | None = None) -> None:
        super().__init__(aws)
        self._desired = desired
        self._window = window
        self._noted: Collection[str] = ()
        self._is_alone = False
        self._unread: CwagentError | None = None

    def read(self) -> State:
        """The instances that matter as EC2 shows them, and the window as IAM does."""
        if self._window is None:
            return self._read()
        if self._desired.state != RELEASED:
            return replace(self._read(), window=self._window.read())
        # Of window and profile, one is taken back although the other cannot even be read.
        self._unread = None
        try:
            state = self._read()
        except CwagentError as error:
            self._unread, state = error, State()
        try:
            return replace(state, window=self._window.read())
        except CwagentError:
            return replace(state, window=Window(seen=False))

    def _read(self) -> State:
        asked = self._desired.instance_ids
        if self._desired.state != RELEASED:
            return self._read_region()
        is_short = asked is not None and len(asked) <= FILTER_VALUES
        state = self._read_instances(asked) if asked and is_short else self._read_region()
        # A profile can be deleted meanwhile, and an account that was set up by hand can have no server profile at all.
        changed = [
            name for name, each in state.instances.items() if admin_plan.needs_restore(state, each, self._desired)
        ]
        targets = {state.restore_tags.get(name, self._desired.fallback) for name in changed} - {NO_PROFILE}
        missing = {name for name in targets if not self._is_usable(name)}
        if missing - {self._desired.fallback} and not self._is_usable(self._desired.fallback):
            missing.add(self._desired.fallback)
        return replace(state, missing=frozenset(missing))

    def _read_region(self) -> State:
        """The instances that were asked for, carry the admin profile or have a note."""
        associations = read_associations(self._aws)
        # A run has its note before it has the profile, and looks itself for the notes of others in between.
        restore_tags = {} if self._desired.state == EXCLUSIVE else self._restore_tags()
        self._noted = restore_tags.keys()
        admins = {
            name for name, found in associations.items() if any(each.profile == self._desired.admin for each in found)
        }
        asked = dict.fromkeys([*(self._desired.instance_ids or ()), *sorted(admins | restore_tags.keys())])
        if self._desired.state == RELEASED:
            # One that carries a profile is there. Whether it is stopped, or about to end, matters where it goes back.
            sure = associations.keys() - admins
        else:
            sure = {
                name for name in asked if self._desired.concerns(name) and self._runs(name, associations, restore_tags)
            }
        unsure = [name for name in asked if name not in sure]
        states = {**dict.fromkeys(sure, "running"), **instance_states(self._aws, unsure)}
        instances = {name: Instance(name, states[name], associations.get(name, ())) for name in asked if name in states}
        return State(instances, {name: note for name, note in restore_tags.items() if name in states})

    def _runs(self, name: str, associations: Collection[str], restore_tags: Collection[str]) -> bool:
        """Whether the instance that is to be the administrator is taken to run, without a look."""
        return self._desired.running or (
            name in associations and (self._desired.state == EXCLUSIVE or name in restore_tags)
        )

    def _read_instances(self, instance_ids: Sequence[str]) -> State:
        """These instances, whatever else is in the region."""
        found = {each["InstanceId"]: each for each in describe_instances(self._aws, instance_ids)}
        associations = read_associations(self._aws, instance_ids)
        instances = {
            name: Instance(name, found[name]["State"]["Name"], associations.get(name, ()))
            for name in instance_ids
            if name in found
        }
        restore_tags = {name: tags(each).get(RESTORE_TAG) for name, each in found.items()}
        return State(instances, {name: note for name, note in restore_tags.items() if note is not None})

    def _is_usable(self, profile: str) -> bool:
        """Whether EC2 takes a profile. A note can say anything, since it is a tag."""
        try:
            check_name("instance profile", profile)
        except InvalidInput:
            return False
        found = find_profile(self._aws, profile)
        return found is not None and found.role is not None

    def check_mode_warnings(self, current: State) -> list[str]:
        """That the admin profile is not there."""
        del current
        missing = self._desired.state == ADMIN and find_profile(self._aws, self._desired.admin) is None
        return [f"instance profile '{self._desired.admin}' does not exist yet"] if missing else []

    def refuse(self, current: State) -> None:
        """Refuse what another run has begun, where that is wanted. :raises InvalidInput: it says what to do."""
        if self._desired.state != ADMIN:
            return
        admin_plan.fail_if_tagged(current, self._desired)
        admin_plan.check_no_other_holder(current, self._desired)
        # Without a note, the window is open for another one, in another region for instance.
        if self._window and not any(name in current.restore_tags for name in self._desired.instance_ids or ()):
            self._window.refuse(current.window)

    def plan(self, current: State) -> Plan:
        """The steps of every instance, and of the window."""
        window = self._window.plan(current.window) if self._window else NO_WINDOW
        if self._unread:
            return Plan(window.steps, refused={"instances": self._unread})
        return admin_plan.plan(current, self._desired, window)

    def left(self, current: State) -> list[str]:
        """What is not to be seen yet."""
        if self._unread:
            raise self._unread
        window = self._window.left(current.window) if self._window else []
        return [*admin_plan.plan(current, self._desired).summaries, *window]

    def execute(self, step: Step) -> None:
        """Take the step; to lend, it is looked again for other runs after the note, and as long as this one waits.

        Another run can have looked before this one had its note. And a module can outlive its run, whose note another
        run has removed when it put everything back.
        """
        if step.action == WRITE_TAG:
            self._note(step)
        elif self._desired.state == ADMIN:
            once, tries = replace(step, retry_when=frozenset()), count()

            def description() -> None:
                earlier_tries = next(tries)
                if earlier_tries or not self._is_alone:
                    admin_plan.check_restore_tags(self._noted, self._restore_tags(), self._desired)
                    self._is_alone = True
                try:
                    self._aws.execute(once)
                except AwsApiError as error:
                    if error.code in step.retry_when and not earlier_tries:
                        refuse_missing(self._aws, self._desired.admin, step, error)
                    raise

            self._aws.retry(description, step.retry_when)
        else:
            super().execute(step)

    def _note(self, step: Step) -> None:
        try:
            super().execute(step)
        except AwsApiError as error:
            if error.code in DENIED_CODES:
                error.details["steps"] = []  # nothing was begun
            raise
        self._give_way()
        self._is_alone = True

    def _give_way(self) -> None:
        """Refuse to go on where another run has begun as well; there is nothing yet to put back but the note."""
        restore_tags = self._aws.retry(self._notes_with_own, frozenset({NOT_SHOWN}))
        try:
            admin_plan.check_restore_tags(self._noted, restore_tags, self._desired)
        except InvalidInput as error:
            for name in self._desired.instance_ids or ():
                super().execute(admin_plan.remove_tag(name, restore_tags[name]))
            # No steps: who gives back what was begun has nothing to do, and the window can be another run's.
            raise InvalidInput(f"{error} The note was removed again.", steps=[]) from error

    def _notes_with_own(self) -> dict[str, str]:
        restore_tags = self._restore_tags()
        for name in self._desired.instance_ids or ():
            if name not in restore_tags:
                problem = f"EC2 does not show the note that was written on instance {name}"
                raise AwsApiError(f"{problem}. Run again, or raise wait_timeout.", NOT_SHOWN)
        return restore_tags

    def after(self, current: State) -> State:
        """The state that the plan leads to."""
        planned = admin_plan.planned_state(current, self._desired)
        return replace(planned, window=self._window.after(current.window)) if self._window else planned

    def render(self, state: State) -> dict[str, Any]:
        """The instances and the window for the diff."""
        window = {"window": self._window.render(state.window)} if self._window else {}
        return {**admin_plan.render(state), **window}

    def report(self, current: State, planned: State) -> dict[str, Any]:
        """The instances and the window for the result."""
        window = self._window.report(current.window, planned.window) if self._window else {}
        return {"instances": admin_plan.report(current, planned, self._desired), **window}

    def warnings(self, current: State) -> list[str]:
        """Which instances cannot go back to what they had; that the admin role is not there."""
        window = self._window.warnings(current.window) if self._window else []
        return [*admin_plan.warnings(current, self._desired), *window]

    def _restore_tags(self) -> dict[str, str]:
        pages = self._aws.pages(
            "ec2:DescribeTags",
            "read which instances have a note of their earlier profile",
            Filters=[{"Name": "key", "Values": [RESTORE_TAG]}, {"Name": "resource-type", "Values": ["instance"]}],
        )
        return {tag["ResourceId"]: tag["Value"] for page in pages for tag in page["Tags"]}
