# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an instance gets the admin profile, alone, and how instances get their earlier profiles again. Pure.

Records and restore tags are written before a profile is changed, and removed after it was restored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._ground.errors import ContentionError, InvalidInput
from .._ground.names import describe_profile
from .._ground.plan import NOT_FOUND_CODES, Kind, Plan, Step
from . import admin_instance
from . import instance_profile_plan as profile_plan
from .admin_instance import NO_PROFILE, State, has_admin_profile
from .instance_profile_plan import ENDED, associate, disassociate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .._principals.window_plan import Window
    from .._principals.window_policy import Opening
    from .admin_instance import Profiles
    from .instance_profile_plan import Association


TAG_ACTION = "ec2:CreateTags"
RECORD_ACTION = "iam:TagRole"


@dataclass(frozen=True)
class Acquisition:
    """The instance that gets the admin profile.

    :param fail_if_tagged: whether a restore tag with a record is an error.
    :param is_running: whether the instance is known to run.
    :param managed_before: whether an earlier task of the same run has created the admin and the server profile, or
        planned to.
    :param associated_before: whether an earlier task has planned to associate the fallback with the instance if it has
        no profile.
    """

    profiles: admin_instance.Profiles
    instance_id: str
    fail_if_tagged: bool = False
    is_running: bool = False
    managed_before: bool = False
    associated_before: bool = False

    def plan(self, current: State, window: Plan[Window] | None = None) -> Plan[State]:
        """Plan the steps for the instance, and for the window.

        :param window: the plan for the admin window, which opens after record and tag are written, and before the
            profile is associated.
        :raises ContentionError: another instance has the admin profile, or is about to get it.
        :raises InvalidInput: the instance cannot get it.
        """
        name, profiles = self.instance_id, self.profiles
        check_alone(current, name, profiles)
        earlier = admin_instance.earlier_profile(current, name, profiles) or NO_PROFILE
        planned = replace(
            current,
            instances={**current.instances, name: admin_instance.with_profile(current.instances[name], profiles.admin)},
            restore_tags={**current.restore_tags, name: earlier},
            records={**current.records, name: earlier},
            window=window.planned if window else current.window,
        )
        return Plan(current, planned, {name: self._steps(current, window.all_steps if window else [])})

    def _steps(self, current: State, opening: Sequence[Step]) -> list[Step]:
        name, profiles = self.instance_id, self.profiles
        instance, earlier = current.instances[name], admin_instance.earlier_profile(current, name, profiles)
        value, is_tagged = earlier or NO_PROFILE, name in current.restore_tags
        steps: list[Step] = []
        if current.records.get(name) != value:
            steps.append(_write_record(name, earlier, profiles))
        if current.restore_tags.get(name) != value:
            steps.append(_write_tag(name, earlier))
        trial = [_try_earlier_profile(instance)] if self.profile_to_try(current) else []
        steps += [*trial, *opening]
        if [found.profile for found in instance.associations] != [profiles.admin]:
            steps += profile_plan.associate(instance, profiles.admin)
        # After the tag is written, the tags of other instances are read. If it is there already, it can belong to a run
        # that has just ended, so they are read before the first step.
        checked = [
            replace(step, context=ContentionCheck(current.tagged, is_tagged and position == 0, value, step in trial))
            for position, step in enumerate(steps)
        ]
        return [*checked[:-1], _after_trial(checked[-1])] if trial else checked

    def check_not_tagged(self, current: State) -> None:
        """Check that the instance has no restore tag with a record, if the user wants that.

        :raises ContentionError: another run is at work, or was interrupted. The message explains what to do.
        """
        if self.fail_if_tagged and is_recorded(current, self.instance_id):
            raise ContentionError(
                f"Instance {self.instance_id} has a restore tag: a run or a person is using it, or a run was "
                f"interrupted. {REMEDY}"
            )

    def profile_to_try(self, current: State) -> str | None:
        """Return the earlier profile of the instance, if it is neither gone already nor managed by this run."""
        instance = current.instances.get(self.instance_id)
        earlier = admin_instance.earlier_profile(current, self.instance_id, self.profiles)
        # The run that creates the server profile associates it too, so this controller may do that.
        is_proven = self.managed_before and earlier == self.profiles.fallback
        has_earlier = (
            instance
            and profile_plan.can_replace(instance)
            and [each.profile for each in instance.associations] == [earlier]
        )
        return earlier if has_earlier and not is_proven else None

    def remaining(self, applied: Plan[State], state: State) -> list[str]:
        """List the changes of an applied plan that EC2 does not show yet.

        The records come from the plan, because IAM has accepted them.

        :raises ContentionError: another run has started since the plan was made.
        :raises InvalidInput: the instance has ended.
        """
        missing = self.plan(replace(state, records={**state.records, **applied.planned.records}))
        return [step.summary for step in missing.all_steps if not step.context.is_trial]

    def assumed_state(self, current: State) -> State:
        """Return the state after the change that an earlier task has planned for the instance."""
        name, instance = self.instance_id, current.instances.get(self.instance_id)
        if (
            not self.associated_before
            or instance is None
            or instance.associations
            or instance.state in profile_plan.ENDED
        ):
            return current
        given = admin_instance.with_profile(instance, self.profiles.fallback)
        return replace(current, instances={**current.instances, name: given})

    def warnings(self, current: State) -> list[str]:
        """Warn of policies that the instance loses, and of restore tags that no run has written."""
        others = current.instances.keys() - {self.instance_id}
        return [
            *(
                f"the role of instance profile '{self.profile_to_try(current)}' has {policy}, and role "
                f"'{self.profiles.role}' has no such policy: Systems Manager may lose the instance while it has the "
                "admin profile, and for up to an hour afterwards. Attach the policy to the admin role "
                "(cwagent_ssm_policy), or store from an instance that has no other use"
                for policy in current.lost_policies
            ),
            *admin_instance.warn_of_unrecorded_tags(current, others, self.profiles),
        ]


@dataclass(frozen=True)
class ContentionCheck:
    """The context of the steps that acquire the admin profile: the data to detect another run.

    :param tagged: ids of the instances that had a restore tag with a record when the plan was made. They do not stop
        this run, because it was planned although they had the tag.
    :param before_first_try: whether to check before the first try too, not only before each retry.
    :param earlier: the earlier profile of the instance, or ``NO_PROFILE``, for a caller that cleans up after a failure.
    :param is_trial: whether the step only proves that the earlier profile can be restored. Then EC2 shows nothing new.
    :param look_up_association: whether an earlier step has given the association a new id since it was read.
    """

    tagged: frozenset[str]
    before_first_try: bool
    earlier: str = NO_PROFILE
    is_trial: bool = False
    look_up_association: bool = False


def _try_earlier_profile(instance: profile_plan.Instance) -> Step:
    """Return the step that replaces the earlier profile with itself, before anything is opened.

    A caller without the permission to pass its role (``iam:PassRole``) could not restore it. No other call reveals
    that. EC2 has no dry run of this call. A simulation by IAM needs a separate permission, and leaves out the policies
    of an organization. Any other error is not a denial, so it does not prevent anything.
    """
    [association] = instance.associations
    [step] = profile_plan.associate(instance, association.profile)
    return replace(
        step,
        summary=f"associate instance profile '{association.profile}' with instance {instance.id} again, to prove that "
        "it can be restored",
        done_when=profile_plan.ASSOCIATION_RETRY_CODES | profile_plan.ASSOCIATION_STALE_CODES,
        retry_when=frozenset(),
        stale_when=frozenset(),
    )


def _after_trial(step: Step) -> Step:
    """Return the step that replaces an association whose id the trial has changed."""
    context = replace(step.context, look_up_association=True)
    return replace(step, retry_when=step.retry_when | {"IncorrectState"}, context=context)


def _write_record(name: str, earlier: str | None, profiles: admin_instance.Profiles) -> Step:
    profile = f"instance profile '{earlier}'" if earlier else "no instance profile"
    value = earlier.replace(",", admin_instance.COMMA) if earlier else NO_PROFILE
    return Step(
        Kind.UPDATE,
        RECORD_ACTION,
        {"role_name": profiles.role, "tags": {admin_instance.record_key(profiles.region, name): value}},
        f"record in role '{profiles.role}' that instance {name} had {profile}",
    )


def _write_tag(name: str, earlier: str | None) -> Step:
    summary = (
        f"tag instance {name} with its earlier profile '{earlier}'"
        if earlier
        else f"tag instance {name} as having had no instance profile"
    )
    return Step(
        Kind.UPDATE,
        TAG_ACTION,
        {"resources": [name], "tags": {admin_instance.RESTORE_TAG: earlier or NO_PROFILE}},
        summary,
    )


REMEDY = "Wait for that to end, or run cwagent.iam.restore to clean up."
UNRECORDED_REMEDY = (
    "Associate another profile with it, or add it to the inventory and run cwagent.iam.restore, which gives it the "
    "server profile."
)


@dataclass(frozen=True)
class SoleHolder:
    """An instance that this run has acquired, and that must be the only admin instance.

    :param associate_again: whether to associate the admin profile again with the instance, so that EC2 assumes its role
        again.
    """

    profiles: Profiles
    instance_id: str
    associate_again: bool = False

    def plan(self, current: State, window: Plan[Window] | None = None) -> Plan[State]:
        """Plan to associate the profile again, if the caller asks for it. There is no window to change.

        :raises ContentionError: another instance has the admin profile, or another run has restored this instance.
        :raises InvalidInput: the instance has ended.
        """
        del window
        check_alone(current, self.instance_id, self.profiles)
        if self.is_lost(current):
            raise ContentionError(restored_message(self.instance_id))
        instance, admin = current.instances[self.instance_id], self.profiles.admin
        is_settled = [found.profile for found in instance.associations] == [admin]
        if not (self.associate_again and is_settled and profile_plan.can_replace(instance)):
            return Plan(current, current, {})
        # EC2 then assumes its role at once, and not at intervals:
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html
        summary = (
            f"associate instance profile '{admin}' with instance {instance.id} again, so that EC2 assumes its role"
        )
        [step] = profile_plan.associate(instance, admin)
        return Plan(current, current, {instance.id: [replace(step, summary=summary)]})

    def is_lost(self, current: State) -> bool:
        """Whether the instance does not have the admin profile. EC2 may show an outdated state."""
        instance = current.instances.get(self.instance_id)
        return instance is not None and not has_admin_profile(instance, self.profiles)

    def remaining(self, applied: Plan[State], state: State) -> list[str]:
        """Check the state that EC2 shows. Associating the profile again leaves no trace to wait for."""
        shown = replace(state, records={**state.records, **applied.planned.records})
        return replace(self, associate_again=False).plan(shown).summaries

    def warnings(self, _current: State) -> list[str]:
        """Return no warnings."""
        return []


def check_alone(current: State, instance_id: str, profiles: Profiles) -> None:
    """Check that an instance can have the admin profile, and that no other instance has it or is about to get it.

    :raises ContentionError: there is another admin instance.
    :raises InvalidInput: the instance cannot have an instance profile.
    """
    instance = current.instances.get(instance_id)
    reason = profile_plan.ineligible_reason(instance_id, instance.state if instance else None)
    if reason:
        raise InvalidInput(reason)
    others = {
        name: has_admin_profile(each, profiles)
        for name, each in sorted(current.instances.items())
        if name != instance_id and each.state not in profile_plan.ENDED
    }
    for name, is_holder in others.items():
        if is_holder and name not in current.records:
            raise ContentionError(
                "Only one instance may have the admin profile at a time, and "
                f"{describe_unrecorded_holder(name, profiles)}. {UNRECORDED_REMEDY}"
            )
    _check_no_holders(
        [
            f"instance {name} has instance profile '{profiles.admin}'"
            if is_holder
            else _describe_unfinished_swap(name, profiles)
            for name, is_holder in others.items()
            if is_holder or is_recorded(current, name)
        ]
    )


def check_restore_tags(before: Collection[str], current: Collection[str], instance_id: str, profiles: Profiles) -> None:
    """Check that no other run has started since the plan was made, or has restored the instance.

    :param before: ids of the instances that had a restore tag with a record when the plan was made.
    :param current: ids of the instances that have one now, and of the instance itself if it has a restore tag.
    :raises ContentionError: another run has. The message contains the ID of the instance.
    """
    if instance_id not in current:
        raise ContentionError(restored_message(instance_id))
    new = [name for name in sorted(current) if name not in before and name != instance_id]
    _check_no_holders([_describe_unfinished_swap(name, profiles) for name in new])


def is_recorded(current: State, name: str) -> bool:
    """Whether a run of this collection has written the restore tag on an instance."""
    return name in current.restore_tags and name in current.records


def restored_message(name: str) -> str:
    """Return the message about an instance whose restore tag is gone."""
    return (
        f"Instance {name} was restored by another run or by a person, so it does not have the admin profile. Wait "
        "until no other run uses it, then run again."
    )


def describe_unrecorded_holder(name: str, profiles: Profiles) -> str:
    """Return a part of a sentence about an instance that no run has acquired."""
    return f"instance {name} has instance profile '{profiles.admin}', which no run of this collection has associated"


def _describe_unfinished_swap(name: str, profiles: Profiles) -> str:
    return f"instance {name} has an unfinished swap of instance profile '{profiles.admin}'"


def _check_no_holders(holders: Sequence[str]) -> None:
    if holders:
        raise ContentionError(
            f"Only one instance may have the admin profile at a time, and {', and '.join(holders)}. {REMEDY}"
        )


# The beginning of the name of the item in a plan that closes a window.
_WINDOW_ITEM = "window of "


def is_restored(failures: Iterable[str]) -> bool:
    """Whether a release that failed has restored the profiles. :param failures: the items of its plan that failed."""
    items = [*failures]
    return bool(items) and all(each.startswith(_WINDOW_ITEM) for each in items)


@dataclass(frozen=True)
class Release:
    """The instances that get their earlier profiles again.

    :param instance_id: the instance; ``None`` for all instances of the region.
    :param known_earlier: the earlier profile of the instance, or ``NO_PROFILE``, if this run has acquired it itself.
    :param keep_tag: whether the instance keeps its restore tag and its record.
    :param has_records: whether the role can have restore records of this region, according to the caller.
    :param associations: the associations of the region, if the caller has read them.

    The knowledge of the caller only saves the first read of a region, and only if no instance has a restore tag or the
    admin profile. Otherwise another run may have changed something since.
    """

    profiles: admin_instance.Profiles
    instance_id: str | None = None
    known_earlier: str | None = None
    keep_tag: bool = False
    has_records: bool = True
    associations: Mapping[str, tuple[Association, ...]] | None = None

    def is_target(self, instance_id: str) -> bool:
        """Whether an instance is released."""
        return self.instance_id in (None, instance_id)

    def may_close(self, opening: Opening | None) -> bool:
        """Whether a window can belong to the instance. A window that is not open can."""
        return self.instance_id is None or not opening or opening.instance_id in (None, self.instance_id)

    def plan(self, current: State, window: Plan[Window] | None = None) -> Plan[State]:
        """Plan the steps for every instance, and for the window. Window and profile do not depend on each other."""
        targets = sorted(name for name in {*current.instances, *current.records} if self.is_target(name))
        steps = {name: self._steps(current, name) for name in targets}
        closing = {f"{_WINDOW_ITEM}{name}": each for name, each in window.steps.items()} if window else {}
        planned = replace(self.planned_state(current), window=window.planned if window else current.window)
        return Plan(current, planned, {**steps, **closing}, {"instances": current.error} if current.error else {})

    def _steps(self, current: State, name: str) -> list[Step]:
        """Return the steps of an instance. The context of those that restore its profile is its id."""
        instance, profiles = current.instances.get(name), self.profiles
        steps: list[Step] = []
        if instance and admin_instance.needs_restore(current, instance, profiles):
            earlier = admin_instance.earlier_profile(current, name, profiles)
            restoring = associate(instance, earlier) if earlier else disassociate(instance, profiles.admin)
            steps += [replace(step, context=name) for step in restoring]
        if name in current.records and not self.keep_tag:
            # The record is removed last: a tag without a record would count as somebody else's.
            if name in current.restore_tags:
                steps.append(remove_tag(name, current.restore_tags[name]))
            steps.append(remove_record(name, profiles))
        return steps

    def planned_state(self, current: State) -> State:
        """Return the state after all steps."""
        restored = {
            name: admin_instance.with_profile(each, admin_instance.earlier_profile(current, name, self.profiles))
            for name, each in current.instances.items()
            if self.is_target(name) and admin_instance.needs_restore(current, each, self.profiles)
        }
        forgotten = set() if self.keep_tag else {name for name in current.records if self.is_target(name)}
        return replace(
            current,
            instances={**current.instances, **restored},
            restore_tags={name: value for name, value in current.restore_tags.items() if name not in forgotten},
            records={name: value for name, value in current.records.items() if name not in forgotten},
        )

    def remaining(self, applied: Plan[State], state: State) -> list[str]:
        """List the changes of an applied plan that EC2 does not show yet.

        The records are those that the plan was made with, because reading them again would be one more call.
        """
        before = applied.current
        shown = replace(state, records=before.records, unusable_profiles=before.unusable_profiles)
        removed = {
            name: value
            for name, value in before.restore_tags.items()
            if applied.planned.restore_tags.get(name) != value and state.restore_tags.get(name) == value
        }
        steps = replace(self, keep_tag=True).plan(shown).steps
        return [
            *(step.summary for name, each in steps.items() if applied.steps.get(name) for step in each),
            *(remove_tag(name, value).summary for name, value in removed.items()),
        ]

    def may_hold_window(self, current: State) -> bool:
        """Whether the instance to release has a trace of a run, so that its window can be open.

        A read may not show a window that was opened moments ago. So such a window is closed without a read.
        """
        if self.instance_id is None:
            return False
        traces = {*current.restore_tags, *current.records}
        traces |= {
            name for name, each in current.instances.items() if admin_instance.has_admin_profile(each, self.profiles)
        }
        return current.error is not None or self.instance_id in traces

    def may_be_stale(self, current: State) -> bool:
        """Whether EC2 may show an outdated state: the instance has the profile from before this run acquired it.

        A release that believed this state would leave the admin profile on the instance.
        """
        # The first release of a run.
        if not self.keep_tag or self.known_earlier is None:
            return False
        before = [] if self.known_earlier == NO_PROFILE else [self.known_earlier]
        targets = [each for each in current.instances.values() if self.is_target(each.id) and each.state not in ENDED]
        return any([found.profile for found in each.associations] == before for each in targets)

    def warnings(self, current: State) -> list[str]:
        """Warn of profiles that cannot be restored, and of traces that no run left."""
        profiles = self.profiles
        live = {name: each for name, each in sorted(current.instances.items()) if each.state not in ENDED}
        to_restore = [name for name, each in live.items() if admin_instance.needs_restore(current, each, profiles)]
        instead = {
            name: describe_profile(admin_instance.earlier_profile(current, name, profiles)) for name in to_restore
        }
        return [
            *(
                f"instance profile '{current.records[name]}', which instance {name} had before, does not exist any "
                f"more or has no role; {profile} is associated instead"
                for name, profile in instead.items()
                if current.records.get(name) in current.unusable_profiles
            ),
            *(
                f"{describe_unrecorded_holder(name, profiles)}, so it is left. Nothing is stored while it has the "
                f"profile. {UNRECORDED_REMEDY}"
                for name, each in live.items()
                if self.is_target(name) and admin_instance.has_admin_profile(each, profiles) and name not in instead
            ),
            *admin_instance.warn_of_unrecorded_tags(current, current.instances, profiles),
        ]


def remove_record(name: str, profiles: admin_instance.Profiles) -> Step:
    """Return the step that removes the restore record of an instance from the admin role."""
    return Step(
        Kind.UPDATE,
        "iam:UntagRole",
        {"role_name": profiles.role, "tag_keys": [admin_instance.record_key(profiles.region, name)]},
        f"remove the restore record of instance {name} from role '{profiles.role}'",
        done_when=NOT_FOUND_CODES,
    )


def remove_tag(name: str, value: str) -> Step:
    """Return the step that removes the restore tag from an instance. A tag of another value is left alone."""
    arguments = {"resources": [name], "tags": {admin_instance.RESTORE_TAG: value}}
    summary = f"remove the restore tag from instance {name}"
    return Step(Kind.UPDATE, "ec2:DeleteTags", arguments, summary, done_when=frozenset({"InvalidInstanceID.NotFound"}))
