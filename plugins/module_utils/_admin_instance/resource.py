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
    NO_WINDOW,
    NOTE,
    NOTHING,
    RETURNED,
    SOLE,
    WRITE_NOTE,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED, AwsRefusal, CwagentError, InvalidInput
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

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import WantedAdmin
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

# No code of AWS, which has no error for it: to be tried again, like those that pass by themselves.
NOT_SHOWN = "not shown"


class AdminInstanceResource(Resource[State]):
    """The instances of a region that carry the admin profile, or are about to.

    :param window: the admin window that is opened for an instance and closed when it goes back; ``None`` leaves it.
    """

    def __init__(self, aws: Aws, want: WantedAdmin, window: WindowResource | None = None) -> None:
        super().__init__(aws)
        self._want = want
        self._window = window
        self._noted: Collection[str] = ()
        self._is_alone = False
        self._unread: CwagentError | None = None

    def read(self) -> State:
        """The instances that matter as EC2 shows them, and the window as IAM does."""
        if self._window is None:
            return self._read()
        if self._want.state != RETURNED:
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
        asked = self._want.instance_ids
        if self._want.state != RETURNED:
            return self._read_region()
        is_short = asked is not None and len(asked) <= FILTER_VALUES
        state = self._read_instances(asked) if asked and is_short else self._read_region()
        # A profile can be deleted meanwhile, and an account that was set up by hand can have no server profile at all.
        changed = [name for name, each in state.instances.items() if admin_plan.has_changed(state, each, self._want)]
        targets = {state.notes.get(name, self._want.fallback) for name in changed} - {NOTHING}
        missing = {name for name in targets if not self._is_usable(name)}
        if missing - {self._want.fallback} and not self._is_usable(self._want.fallback):
            missing.add(self._want.fallback)
        return replace(state, missing=frozenset(missing))

    def _read_region(self) -> State:
        """The instances that were asked for, carry the admin profile or have a note."""
        associations = read_associations(self._aws)
        # A run has its note before it has the profile, and looks itself for the notes of others in between.
        notes = {} if self._want.state == SOLE else self._notes()
        self._noted = notes.keys()
        admins = {
            name for name, found in associations.items() if any(each.profile == self._want.admin for each in found)
        }
        asked = dict.fromkeys([*(self._want.instance_ids or ()), *sorted(admins | notes.keys())])
        if self._want.state == RETURNED:
            # One that carries a profile is there. Whether it is stopped, or about to end, matters where it goes back.
            sure = associations.keys() - admins
        else:
            sure = {name for name in asked if self._want.concerns(name) and self._runs(name, associations, notes)}
        unsure = [name for name in asked if name not in sure]
        states = {**dict.fromkeys(sure, "running"), **instance_states(self._aws, unsure)}
        instances = {name: Instance(name, states[name], associations.get(name, ())) for name in asked if name in states}
        return State(instances, {name: note for name, note in notes.items() if name in states})

    def _runs(self, name: str, associations: Collection[str], notes: Collection[str]) -> bool:
        """Whether the instance that is to be the administrator is taken to run, without a look."""
        return self._want.running or (name in associations and (self._want.state == SOLE or name in notes))

    def _read_instances(self, instance_ids: Sequence[str]) -> State:
        """These instances, whatever else is in the region."""
        found = {each["InstanceId"]: each for each in describe_instances(self._aws, instance_ids)}
        associations = read_associations(self._aws, instance_ids)
        instances = {
            name: Instance(name, found[name]["State"]["Name"], associations.get(name, ()))
            for name in instance_ids
            if name in found
        }
        notes = {name: tags(each).get(NOTE) for name, each in found.items()}
        return State(instances, {name: note for name, note in notes.items() if note is not None})

    def _is_usable(self, profile: str) -> bool:
        """Whether EC2 takes a profile. A note can say anything, since it is a tag."""
        try:
            check_name("instance profile", profile)
        except InvalidInput:
            return False
        found = find_profile(self._aws, profile)
        return found is not None and found.role is not None

    def doubts(self, now: State) -> list[str]:
        """That the admin profile is not there."""
        del now
        missing = self._want.state == ADMIN and find_profile(self._aws, self._want.admin) is None
        return [f"instance profile '{self._want.admin}' does not exist yet"] if missing else []

    def refuse(self, now: State) -> None:
        """Refuse what another run has begun, where that is wanted. :raises InvalidInput: it says what to do."""
        if self._want.state != ADMIN:
            return
        admin_plan.refuse_unfinished(now, self._want)
        admin_plan.refuse_others(now, self._want)
        # Without a note, the window is open for another one, in another region for instance.
        if self._window and not any(name in now.notes for name in self._want.instance_ids or ()):
            self._window.refuse(now.window)

    def plan(self, now: State) -> Plan:
        """The steps of every instance, and of the window."""
        window = self._window.plan(now.window) if self._window else NO_WINDOW
        if self._unread:
            return Plan(window.steps, refused={"instances": self._unread})
        return admin_plan.plan(now, self._want, window)

    def left(self, now: State) -> list[str]:
        """What is not to be seen yet."""
        if self._unread:
            raise self._unread
        window = self._window.left(now.window) if self._window else []
        return [*admin_plan.plan(now, self._want).summaries, *window]

    def execute(self, step: Step) -> None:
        """Take the step; to lend, it is looked again for other runs after the note, and as long as this one waits.

        Another run can have looked before this one had its note. And a module can outlive its run, whose note another
        run has removed when it put everything back.
        """
        if step.action == WRITE_NOTE:
            self._note(step)
        elif self._want.state == ADMIN:
            once, tries = replace(step, retry_when=frozenset()), count()

            def attempt() -> None:
                earlier_tries = next(tries)
                if earlier_tries or not self._is_alone:
                    admin_plan.refuse_changed_notes(self._noted, self._notes(), self._want)
                    self._is_alone = True
                try:
                    self._aws.execute(once)
                except AwsRefusal as refusal:
                    if refusal.code in step.retry_when and not earlier_tries:
                        refuse_missing(self._aws, self._want.admin, step, refusal)
                    raise

            self._aws.patiently(attempt, step.retry_when)
        else:
            super().execute(step)

    def _note(self, step: Step) -> None:
        try:
            super().execute(step)
        except AwsRefusal as refusal:
            if refusal.code in DENIED:
                refusal.details["steps"] = []  # nothing was begun
            raise
        self._give_way()
        self._is_alone = True

    def _give_way(self) -> None:
        """Refuse to go on where another run has begun as well; there is nothing yet to put back but the note."""
        notes = self._aws.patiently(self._notes_with_own, frozenset({NOT_SHOWN}))
        try:
            admin_plan.refuse_changed_notes(self._noted, notes, self._want)
        except InvalidInput as refusal:
            for name in self._want.instance_ids or ():
                super().execute(admin_plan.forget(name, notes[name]))
            # No steps: who gives back what was begun has nothing to do, and the window can be another run's.
            raise InvalidInput(f"{refusal} The note was removed again.", steps=[]) from refusal

    def _notes_with_own(self) -> dict[str, str]:
        notes = self._notes()
        for name in self._want.instance_ids or ():
            if name not in notes:
                problem = f"EC2 does not show the note that was written on instance {name}"
                raise AwsRefusal(f"{problem}. Run again, or raise wait_timeout.", NOT_SHOWN)
        return notes

    def after(self, now: State) -> State:
        """The state that the plan leads to."""
        then = admin_plan.state_after(now, self._want)
        return replace(then, window=self._window.after(now.window)) if self._window else then

    def render(self, state: State) -> dict[str, Any]:
        """The instances and the window for the diff."""
        window = {"window": self._window.render(state.window)} if self._window else {}
        return {**admin_plan.render(state), **window}

    def report(self, now: State, then: State) -> dict[str, Any]:
        """The instances and the window for the result."""
        window = self._window.report(now.window, then.window) if self._window else {}
        return {"instances": admin_plan.report(now, then, self._want), **window}

    def warnings(self, now: State) -> list[str]:
        """Which instances cannot go back to what they had; that the admin role is not there."""
        window = self._window.warnings(now.window) if self._window else []
        return [*admin_plan.warnings(now, self._want), *window]

    def _notes(self) -> dict[str, str]:
        pages = self._aws.pages(
            "ec2:DescribeTags",
            "read which instances have a note of their earlier profile",
            Filters=[{"Name": "key", "Values": [NOTE]}, {"Name": "resource-type", "Values": ["instance"]}],
        )
        return {tag["ResourceId"]: tag["Value"] for page in pages for tag in page["Tags"]}
