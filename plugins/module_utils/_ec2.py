# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what instances carry from EC2 and takes the steps of the plan."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _admin_instance, _association
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import ADMIN, RETURNED, SOLE
from ansible_collections.cwagent.iam.plugins.module_utils._association import Association, Instance, State
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsRefusal, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._iam import attached_policies, tags
from ansible_collections.cwagent.iam.plugins.module_utils._iam_role import find_profile
from ansible_collections.cwagent.iam.plugins.module_utils._names import name_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import WantedAdmin
    from ansible_collections.cwagent.iam.plugins.module_utils._association import WantedProfile
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._iam_window import WindowResource
    from ansible_collections.cwagent.iam.plugins.module_utils._role import InstanceProfile
    from ansible_collections.cwagent.iam.plugins.module_utils._steps import Plan, Step

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeIamInstanceProfileAssociations.html
PAGE = 1000
FILTER_VALUES = 200
# A disassociating profile is on its way out, but an instance cannot get another one before it is gone.
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IamInstanceProfileAssociation.html
CARRIED = ["associating", "associated"]
NOT_SHOWN = "not shown"


class AssociationResource(Resource[State]):
    """An instance profile on a list of instances of one region.

    :param whole_region: whether to read what all instances of the region carry, though the list is short.
    """

    def __init__(
        self, aws: Aws, instance_ids: Sequence[str], want: WantedProfile, *, whole_region: bool = False
    ) -> None:
        super().__init__(aws)
        self._ids = list(dict.fromkeys(instance_ids))
        self._want = want
        # Asking for all of the region is fewer calls for a long list, and shows the others that carry the profile.
        self._whole_region = whole_region or len(self._ids) > FILTER_VALUES or want.exclusive

    def read(self) -> State:
        """The associations as EC2 shows them; instances are looked up only where there is something to learn."""
        associations = read_associations(self._aws, None if self._whole_region else self._ids)
        asked = {name: associations.get(name, ()) for name in self._ids}
        # Where instances carry nothing, there is nothing to compare the profile with.
        profile = self._find_profile() if self._want.present and any(asked.values()) else None
        certain = {name for name, found in asked.items() if _association.current(found, profile, self._want)}
        states = instance_states(self._aws, [name for name in self._ids if name not in certain])
        instances = {
            name: Instance(name, states.get(name, "running"), found) if name in certain or name in states else None
            for name, found in asked.items()
        }
        holders = frozenset(
            name
            for name, found in associations.items()
            if name not in asked and any(each.profile == self._want.name for each in found)
        )
        state = State(instances, profile, holders)
        return replace(state, lacking=self._lacking(_association.kept(state, self._want), profile))

    def plan(self, now: State) -> Plan:
        """The steps of every instance."""
        return _association.plan(now, self._want)

    def after(self, now: State) -> State:
        """The state that the plan leads to."""
        return _association.state_after(now, self._want)

    def render(self, state: State) -> dict[str, Any]:
        """The instances and what they carry, for the diff."""
        return _association.render(state)

    def report(self, now: State, then: State) -> dict[str, Any]:
        """Every instance with its profile before and after."""
        return {"instances": _association.render_items(now, then)}

    def warnings(self, now: State) -> list[str]:
        """Which instances keep another profile, and what the agent on them lacks; that the profile is not there."""
        warnings = []
        for name, profile in _association.kept(now, self._want).items():
            lacking = now.lacking.get(profile)
            if lacking is None or lacking:
                lacks = f", whose role lacks {', '.join(lacking)}" if lacking else ""
                warnings.append(f"instance {name} keeps instance profile '{profile}'{lacks}")
        return warnings

    def doubts(self, now: State) -> list[str]:
        """That the profile is not there."""
        missing = self._want.present and now.profile is None and self._find_profile() is None
        return [f"instance profile '{self._want.name}' does not exist yet"] if missing else []

    def execute(self, step: Step) -> None:
        """Make the step's call; EC2's own answer takes a missing profile for a new one, and IAM knows better."""
        try:
            self._aws.execute(replace(step, retry_when=frozenset()))
        except AwsRefusal as refusal:
            if refusal.code not in step.retry_when:
                raise
            if self._find_profile() is None:
                raise InvalidInput(
                    f"Could not {step.summary}: instance profile '{self._want.name}' does not exist."
                ) from refusal
            super().execute(step)

    def _find_profile(self) -> InstanceProfile | None:
        return find_profile(self._aws, self._want.name)

    def _lacking(self, others: Mapping[str, str], wanted: InstanceProfile | None) -> dict[str, list[str]]:
        """By other profile, the names of the policies its role lacks."""
        if not self._want.keep_other or not others or not wanted or not wanted.role:
            return {}
        needed = attached_policies(self._aws, "role", wanted.role)
        return {name: _names(needed - self._held_through(name)) for name in sorted(set(others.values()))}

    def _held_through(self, profile: str) -> frozenset[str]:
        found = find_profile(self._aws, profile)
        return attached_policies(self._aws, "role", found.role) if found and found.role else frozenset()


class AdminInstanceResource(Resource[_admin_instance.State]):
    """The instances of a region that carry the admin profile, or are about to.

    :param window: the admin window that is opened for an instance and closed when it goes back; ``None`` leaves it.
    """

    def __init__(self, aws: Aws, want: WantedAdmin, window: WindowResource | None = None) -> None:
        super().__init__(aws)
        self._want = want
        self._window = window
        self._before = _admin_instance.State()
        self._is_just_noted = False

    def read(self) -> _admin_instance.State:
        """The instances that matter as EC2 shows them, and the window as IAM does."""
        asked = self._want.instance_ids
        returning = self._want.state == RETURNED
        state = self._read_region() if asked is None or not returning else self._read_only(asked)
        if self._window:
            state = replace(state, window=self._window.read())
        if not returning:
            return state
        # A profile can be deleted meanwhile, and an account that was set up by hand can have no server profile at all.
        changed = [
            name for name, each in state.instances.items() if _admin_instance.has_changed(state, each, self._want)
        ]
        targets = {state.notes.get(name, self._want.fallback) for name in changed} - {_admin_instance.NOTHING}
        missing = {name for name in targets if not self._is_usable(name)}
        if missing - {self._want.fallback} and not self._is_usable(self._want.fallback):
            missing.add(self._want.fallback)
        return replace(state, missing=frozenset(missing))

    def _read_region(self) -> _admin_instance.State:
        """The instances that were asked for, carry the admin profile or have a note."""
        associations = read_associations(self._aws)
        # A run has the note before the profile, and looks for the notes of others itself before it takes the profile.
        notes = {} if self._want.state == SOLE else self._notes()
        admins = {
            name for name, found in associations.items() if any(each.profile == self._want.admin for each in found)
        }
        asked = dict.fromkeys([*(self._want.instance_ids or ()), *sorted(admins | notes.keys())])
        if self._want.state == RETURNED:
            # One that carries a profile is there. Whether it is stopped, or about to end, matters where it goes back.
            sure = associations.keys() - admins
        else:
            sure = {name for name in asked if self._want.concerns(name) and self._is_there(name, associations, notes)}
        unsure = [name for name in asked if name not in sure]
        states = {**dict.fromkeys(sure, "running"), **instance_states(self._aws, unsure)}
        instances = {name: Instance(name, states[name], associations.get(name, ())) for name in asked if name in states}
        return _admin_instance.State(instances, {name: note for name, note in notes.items() if name in states})

    def _is_there(self, name: str, associations: Collection[str], notes: Collection[str]) -> bool:
        """Whether an instance that is to be the administrator need not be looked up."""
        return name in associations and (self._want.running or self._want.state == SOLE or name in notes)

    def _read_only(self, instance_ids: Sequence[str]) -> _admin_instance.State:
        """These instances, whatever else is in the region."""
        found = {each["InstanceId"]: each for each in describe_instances(self._aws, instance_ids)}
        associations = read_associations(self._aws, instance_ids)
        instances = {
            name: Instance(name, found[name]["State"]["Name"], associations.get(name, ()))
            for name in instance_ids
            if name in found
        }
        notes = {name: tags(each).get(_admin_instance.NOTE) for name, each in found.items()}
        return _admin_instance.State(instances, {name: note for name, note in notes.items() if note is not None})

    def _is_usable(self, profile: str) -> bool:
        found = find_profile(self._aws, profile)
        return found is not None and found.role is not None

    def refuse(self, now: _admin_instance.State) -> None:
        """Refuse what another run has begun, where that is wanted. :raises InvalidInput: it says what to do."""
        self._before = now
        if self._window:
            self._window.refuse(now.window)
        _admin_instance.refuse_unfinished(now, self._want)

    def plan(self, now: _admin_instance.State) -> Plan:
        """The steps of every instance, and of the window."""
        window = self._window.plan(now.window) if self._window else _admin_instance.NO_WINDOW
        return _admin_instance.plan(now, self._want, window)

    def left(self, now: _admin_instance.State) -> list[str]:
        """What is not to be seen yet."""
        window = self._window.left(now.window) if self._window else []
        return [*_admin_instance.plan(now, self._want).summaries, *window]

    def execute(self, step: Step) -> None:
        """Take the step; to lend, it is looked again for other runs after the note, and as long as this one waits.

        Another run can have looked before this one had its note. And a module can outlive its run, whose note another
        run has removed when it put everything back.
        """
        if self._want.state != ADMIN:
            self._take(step)
            return
        once, tries = replace(step, retry_when=frozenset()), count()

        def attempt() -> None:
            if self._is_just_noted:
                self._give_way()
            elif next(tries):
                _admin_instance.refuse_changed_notes(self._before, self._notes(), self._want)
            self._is_just_noted = step.action == _admin_instance.WRITE_NOTE
            self._take(once)

        self._aws.patiently(attempt, step.retry_when)

    def _give_way(self) -> None:
        """Refuse to go on where another run has begun as well; there is nothing yet to put back but the note."""
        notes = self._aws.patiently(self._notes_with_own, frozenset({NOT_SHOWN}))
        try:
            _admin_instance.refuse_changed_notes(self._before, notes, self._want)
        except InvalidInput as refusal:
            for name in self._want.instance_ids or ():
                self._take(_admin_instance.forget(name, notes[name]))
            raise InvalidInput(f"{refusal} The note was removed again.", steps=[]) from refusal

    def _notes_with_own(self) -> dict[str, str]:
        notes = self._notes()
        for name in self._want.instance_ids or ():
            if name not in notes:
                raise AwsRefusal(f"EC2 does not show the note that was written on instance {name}.", NOT_SHOWN)
        return notes

    def _take(self, step: Step) -> None:
        if self._window and step.action.startswith("iam:"):
            self._window.execute(step)
        else:
            super().execute(step)

    def after(self, now: _admin_instance.State) -> _admin_instance.State:
        """The state that the plan leads to."""
        then = _admin_instance.state_after(now, self._want)
        return replace(then, window=self._window.after(now.window)) if self._window else then

    def render(self, state: _admin_instance.State) -> dict[str, Any]:
        """The instances and the window for the diff."""
        window = {"window": self._window.render(state.window)} if self._window else {}
        return {**_admin_instance.render(state), **window}

    def report(self, now: _admin_instance.State, then: _admin_instance.State) -> dict[str, Any]:
        """The instances and the window for the result."""
        window = self._window.report(now.window, then.window) if self._window else {}
        return {"instances": _admin_instance.report(now, then, self._want), **window}

    def warnings(self, now: _admin_instance.State) -> list[str]:
        """Which instances cannot go back to what they had; that the admin role is not there."""
        window = self._window.warnings(now.window) if self._window else []
        return [*_admin_instance.warnings(now, self._want), *window]

    def _notes(self) -> dict[str, str]:
        pages = self._aws.pages(
            "ec2:DescribeTags",
            "read which instances have a note of their earlier profile",
            Filters=[
                {"Name": "key", "Values": [_admin_instance.NOTE]},
                {"Name": "resource-type", "Values": ["instance"]},
            ],
        )
        return {tag["ResourceId"]: tag["Value"] for page in pages for tag in page["Tags"]}


def read_associations(aws: Aws, instance_ids: Sequence[str] | None = None) -> dict[str, tuple[Association, ...]]:
    """By instance, the instance profiles on it. :param instance_ids: ``None`` for all instances of the region."""
    filters = [{"Name": "state", "Values": CARRIED}]
    if instance_ids is not None:
        filters.append({"Name": "instance-id", "Values": list(instance_ids)})
    found: dict[str, tuple[Association, ...]] = defaultdict(tuple)
    for page in aws.pages(
        "ec2:DescribeIamInstanceProfileAssociations",
        "read the instance profiles of the instances",
        Filters=filters,
        MaxResults=PAGE,
    ):
        for each in page["IamInstanceProfileAssociations"]:
            profile = each["IamInstanceProfile"]
            arriving = each["State"] == "associating"
            association = Association(each["AssociationId"], profile["Arn"], profile.get("Id"))
            others = found[each["InstanceId"]]
            # While one takes the place of another, both are shown, in no order.
            found[each["InstanceId"]] = (*others, association) if arriving else (association, *others)
    return dict(found)


def instance_states(aws: Aws, instance_ids: Sequence[str]) -> dict[str, str]:
    """By instance, its state; an id that EC2 does not know is left out."""
    return {each["InstanceId"]: each["State"]["Name"] for each in describe_instances(aws, instance_ids)}


def describe_instances(aws: Aws, instance_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The instances as EC2 describes them; an id that it does not know is left out.

    Ids are given as a filter, since an unknown one in InstanceIds fails the whole call.
    """
    for start in range(0, len(instance_ids), FILTER_VALUES):
        for page in aws.pages(
            "ec2:DescribeInstances",
            f"look up {len(instance_ids)} instances",
            Filters=[{"Name": "instance-id", "Values": instance_ids[start : start + FILTER_VALUES]}],
            MaxResults=PAGE,
        ):
            for reservation in page["Reservations"]:
                yield from reservation["Instances"]


def _names(arns: Iterable[str]) -> list[str]:
    return sorted(name_of(arn) for arn in arns)
