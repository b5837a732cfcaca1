# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin instance: the one instance that temporarily has the admin profile, and how it is restored. Pure.

Before anything else changes, the admin role gets a restore record with the name of the instance's earlier profile, and
the instance gets a restore tag. So any run on any controller can restore it, and a run that is about to acquire the
admin profile notices another run that does the same. The tag only shows where to look, because many people can tag an
instance. The record decides, because few people can tag the admin role.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import ContentionError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import (
    ASSOCIATION_RETRY_CODES,
    ASSOCIATION_STALE_CODES,
    ENDED,
    Association,
    Instance,
    associate,
    can_replace,
    disassociate,
    ineligible_reason,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import describe_profile
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import Opening

RESTORE_TAG = "cwagent:earlier-profile"
TAG_ACTION = "ec2:CreateTags"
RECORD_ACTION = "iam:TagRole"
# No instance profile can have this name, since IAM allows no colon.
NO_PROFILE = ":none"
_REMEDY = "Wait for that to end, or run cwagent.iam.restore to clean up."
_UNRECORDED_REMEDY = (
    "Associate another profile with it, or add it to the inventory and run cwagent.iam.restore, which gives it the "
    "server profile."
)
ACQUIRED, EXCLUSIVE, RELEASED = "acquired", "exclusive", "released"
# IAM allows a comma in the name of a profile, but not in a tag. No name has a colon.
_COMMA = "::"


@dataclass(frozen=True)
class State:
    """The instances of a region, as EC2 shows them, and the admin window, as IAM shows it.

    :param instances: by id, the instances that are in the list, have the admin profile or have a restore tag.
    :param restore_tags: by instance, the value of its restore tag: the earlier profile, or ``NO_PROFILE``. Somebody
        else can have written it, so it only shows where to look.
    :param records: by instance, the earlier profile that the admin role records, or ``NO_PROFILE``. They include
        instances that EC2 no longer describes.
    :param tagged: ids of all instances whose restore tag counted when they were read, because it had a record.
    :param unusable_profiles: names of profiles that cannot be restored, because they do not exist or have no role.
    :param window: the admin window, if it is opened and closed with the profile.
    :param lost_policies: the policies for Systems Manager that the role of the earlier profile has and the admin role
        lacks. Read only to acquire.
    :param error: why the instances could not be read.
    """

    instances: Mapping[str, Instance] = field(default_factory=dict)
    restore_tags: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, str] = field(default_factory=dict)
    tagged: frozenset[str] = frozenset()
    unusable_profiles: frozenset[str] = frozenset()
    window: Window | None = None
    lost_policies: tuple[str, ...] = ()
    error: CwagentError | None = None


@dataclass(frozen=True)
class DesiredAdmin:
    """The user's choices for the admin instance.

    :param state: one of ``ACQUIRED``, ``EXCLUSIVE``, ``RELEASED``.
    :param admin: the admin profile.
    :param fallback: the profile to restore on an instance that has the admin profile and no restore record, if the user
        named the instance.
    :param instance_ids: the instances; ``None`` for all instances of the region.
    :param fallback_ids: the other instances that the user named.
    :param record_role: the role that has the restore records as tags.
    :param region: the region of the instances.
    :param known_earlier: the earlier profile of the instances, or ``NO_PROFILE``, if this run has acquired them itself.
    :param keep_tag: whether a released instance keeps its restore tag and its record.
    :param fail_if_tagged: whether a restore tag with a record is an error.
    :param associate_again: whether to associate the admin profile again with an instance that has it, so that EC2
        assumes its role again.
    :param fail_if_lost: whether it is an error if the instance does not have the admin profile any more.
    :param are_running: whether the instances are known to run.
    :param managed_before: whether an earlier task of the same run has created the admin and the server profile, or
        planned to.
    :param released_before: whether an earlier task has planned to release every instance of the region.
    :param associated_before: whether an earlier task has planned to associate the fallback with the instances that have
        no profile.
    """

    state: str
    admin: str
    fallback: str
    instance_ids: tuple[str, ...] | None = None
    fallback_ids: frozenset[str] = frozenset()
    record_role: str = ""
    region: str = ""
    known_earlier: str | None = None
    keep_tag: bool = False
    fail_if_tagged: bool = False
    fail_if_lost: bool = False
    associate_again: bool = False
    are_running: bool = False
    managed_before: bool = False
    released_before: bool = False
    associated_before: bool = False

    def is_target(self, instance_id: str) -> bool:
        """Whether this run is to change an instance."""
        return self.instance_ids is None or instance_id in self.instance_ids

    def is_for(self, opening: Opening | None) -> bool:
        """Whether a window can belong to the instances to change. A window that is not open can."""
        return self.instance_ids is None or not (opening and opening.instance_id not in (None, *self.instance_ids))

    def is_named(self, instance_id: str) -> bool:
        """Whether the user named an instance, so that it gets the fallback if it has no record."""
        return instance_id in self.fallback_ids or instance_id in (self.instance_ids or ())


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


@dataclass(frozen=True)
class Restoring:
    """The context of the steps that restore the profile of an instance."""

    instance_id: str


def record_key(region: str, instance_id: str) -> str:
    """Return the key of the tag of the admin role that records the earlier profile of an instance."""
    return f"{RESTORE_TAG}:{region}:{instance_id}"


def records_in(tags: Mapping[str, str], region: str) -> dict[str, str]:
    """Return by instance the earlier profile that the tags of the admin role record."""
    prefix = record_key(region, "")
    return {
        key[len(prefix) :]: value if value == NO_PROFILE else value.replace(_COMMA, ",")
        for key, value in tags.items()
        if key.startswith(prefix)
    }


def regions_with_records(tags: Mapping[str, str]) -> list[str]:
    """Return the regions of the instances whose earlier profile the tags of the admin role record."""
    keys = [key.split(":") for key in sorted(tags) if key.startswith(f"{RESTORE_TAG}:")]
    return list(dict.fromkeys(region for *_tag, region, _instance_id in keys))


def _active_profile(instance: Instance | None) -> str | None:
    """Return the current profile; while one replaces another, the new one."""
    return instance.associations[-1].profile if instance and instance.associations else None


def has_admin_profile(instance: Instance, desired: DesiredAdmin) -> bool:
    """Whether an instance has the admin profile, or is about to get or to lose it."""
    return any(found.profile == desired.admin for found in instance.associations)


def lacks_profile(instance: Instance, desired: DesiredAdmin) -> bool:
    """Whether an instance has no profile, or has the admin profile, so that its record matters."""
    is_other = instance.associations and not has_admin_profile(instance, desired)
    return instance.state not in ENDED and not is_other


def may_hold_window(current: State, desired: DesiredAdmin) -> bool:
    """Whether an instance to release has a trace of a run, so that its window can be open.

    A read may not show a window that was opened moments ago. So such a window is closed without a read.
    """
    if desired.state != RELEASED or desired.instance_ids is None:
        return False
    traces = {*current.restore_tags, *current.records}
    traces |= {name for name, each in current.instances.items() if has_admin_profile(each, desired)}
    return current.error is not None or not traces.isdisjoint(desired.instance_ids)


def needs_restore(current: State, instance: Instance, desired: DesiredAdmin) -> bool:
    """Whether an instance does not have its earlier profile, and can get it again.

    The record counts while the instance has the admin profile, or none, as in the middle of replacing the profile of a
    stopped instance. A profile that someone else has associated since then is kept. Without a record, only an instance
    that the user named is restored.
    """
    if instance.state in ENDED:
        return False
    record = current.records.get(instance.id)
    if has_admin_profile(instance, desired):
        return record is not None or desired.is_named(instance.id)
    return not instance.associations and record not in (None, NO_PROFILE)


def earlier_profile(current: State, instance_id: str, desired: DesiredAdmin) -> str | None:
    """Return the profile that an instance gets when it is released; ``None`` for none."""
    instance = current.instances.get(instance_id)
    if instance is None or not needs_restore(current, instance, desired):
        return _active_profile(instance)
    record = current.records.get(instance_id)
    if record == NO_PROFILE:
        return None
    if record is None and _active_profile(instance) != desired.admin:
        return _active_profile(instance)  # another run is restoring it
    unusable = {*current.unusable_profiles, desired.admin}
    return next((name for name in (record, desired.fallback) if name and name not in unusable), None)


def plan(current: State, desired: DesiredAdmin, window: Plan[Window] | None = None) -> Plan[State]:
    """Plan the steps for every instance, and for the window.

    :param window: the plan for the admin window. To acquire, the window is opened after record and tag are written and
        before the profile is associated. To release, window and profile do not depend on each other.
    :raises ContentionError: another instance has the admin profile, or is about to get it.
    :raises InvalidInput: an instance cannot get it.
    """
    planned = replace(planned_state(current, desired), window=window.planned if window else current.window)
    window_steps = window.steps if window else {}
    if desired.state == RELEASED:
        targets = sorted(name for name in {*current.instances, *current.records} if desired.is_target(name))
        steps = {name: _release(current, name, desired) for name in targets}
        closing = {f"window of {name}": each for name, each in window_steps.items()}
        return Plan(current, planned, {**steps, **closing}, {"instances": current.error} if current.error else {})
    check_no_other_holder(current, desired)
    if desired.state == EXCLUSIVE:
        _check_not_lost(current, desired)
        return Plan(current, planned, _associate_admin_again(current, desired) if desired.associate_again else {})
    opening = [step for steps in window_steps.values() for step in steps]
    acquiring = {name: _acquire(current, name, desired, opening) for name in desired.instance_ids or ()}
    return Plan(current, planned, acquiring)


def check_not_tagged(current: State, desired: DesiredAdmin) -> None:
    """Check that no instance of the list has a restore tag with a record, if the user wants that.

    :raises ContentionError: another run is at work, or was interrupted. The message explains what to do.
    """
    tagged = [name for name in desired.instance_ids or () if _is_recorded(current, name)]
    if desired.state == ACQUIRED and desired.fail_if_tagged and tagged:
        raise ContentionError(
            f"Instance {tagged[0]} has a restore tag: a run or a person is using it, or a run was interrupted. "
            f"{_REMEDY}"
        )


def _is_recorded(current: State, name: str) -> bool:
    """Whether a run of this collection has written the restore tag on an instance."""
    return name in current.restore_tags and name in current.records


def check_restore_tags(before: Collection[str], current: Collection[str], desired: DesiredAdmin) -> None:
    """Check that no other run has started since the plan was made, or has restored the instance.

    :param before: ids of the instances that had a restore tag with a record when the plan was made.
    :param current: ids of the instances that have one now, and of the instance itself if it has a restore tag.
    :raises ContentionError: another run has. The message contains the ID of the instance.
    """
    for name in desired.instance_ids or ():
        if name not in current:
            raise ContentionError(restored_message(name))
    new = [name for name in sorted(current) if name not in before and not desired.is_target(name)]
    _check_no_holders([_unfinished_swap(name, desired) for name in new])


def restored_message(name: str) -> str:
    """Return the message about an instance whose restore tag is gone."""
    return (
        f"Instance {name} was restored by another run or by a person, so it does not have the admin profile. Run again "
        "when nobody else uses it."
    )


def lost_instances(current: State, desired: DesiredAdmin) -> list[str]:
    """Return the instances that have lost the admin profile; none if that does not matter."""
    names = desired.instance_ids or () if desired.fail_if_lost else ()
    found = [current.instances[name] for name in names if name in current.instances]
    return [each.id for each in found if not has_admin_profile(each, desired)]


def may_be_stale(current: State, desired: DesiredAdmin) -> bool:
    """Whether EC2 may show an outdated state: the instance lacks the admin profile that this run has associated.

    A release that believed this state would leave the admin profile on the instance.
    """
    if desired.state != RELEASED:
        return bool(lost_instances(current, desired))
    # The first release of a run.
    if not desired.keep_tag or desired.known_earlier is None:
        return False
    before = [] if desired.known_earlier == NO_PROFILE else [desired.known_earlier]
    targets = [each for each in current.instances.values() if desired.is_target(each.id) and each.state not in ENDED]
    return any([found.profile for found in each.associations] == before for each in targets)


def _check_not_lost(current: State, desired: DesiredAdmin) -> None:
    """Check that the instance still has the admin profile, if the user wants that.

    :raises ContentionError: another run has restored it.
    """
    for name in lost_instances(current, desired):
        raise ContentionError(restored_message(name))


def check_no_other_holder(current: State, desired: DesiredAdmin) -> None:
    """Check that the instance can get the admin profile, and that no other instance has it or is about to get it.

    :raises ContentionError: there is another admin instance.
    :raises InvalidInput: the instance cannot get an instance profile, or there is more than one in the list.
    """
    if len(set(desired.instance_ids or ())) > 1:
        raise InvalidInput(
            f"Only one instance may have the admin profile, not {', '.join(desired.instance_ids or ())}."
        )
    for name in desired.instance_ids or ():
        instance = current.instances.get(name)
        reason = ineligible_reason(name, instance.state if instance else None)
        if reason:
            raise InvalidInput(reason)
    others = {
        name: each
        for name, each in sorted(current.instances.items())
        if not desired.is_target(name) and each.state not in ENDED
    }
    holders = [name for name, other in others.items() if has_admin_profile(other, desired)]
    unrecorded = [name for name in holders if name not in current.records]
    if unrecorded:
        raise ContentionError(
            "Only one instance may have the admin profile at a time, and "
            f"{_unrecorded_holder(unrecorded[0], desired)}. {_UNRECORDED_REMEDY}"
        )
    _check_no_holders(
        [
            f"instance {name} has instance profile '{desired.admin}'"
            if name in holders
            else _unfinished_swap(name, desired)
            for name in others
            if name in holders or _is_recorded(current, name)
        ]
    )


def _unrecorded_holder(name: str, desired: DesiredAdmin) -> str:
    return f"instance {name} has instance profile '{desired.admin}', which no run of this collection has associated"


def _unfinished_swap(name: str, desired: DesiredAdmin) -> str:
    return f"instance {name} has an unfinished swap of instance profile '{desired.admin}'"


def _check_no_holders(holders: Sequence[str]) -> None:
    if holders:
        raise ContentionError(
            f"Only one instance may have the admin profile at a time, and {', and '.join(holders)}. {_REMEDY}"
        )


def _acquire(current: State, name: str, desired: DesiredAdmin, opening: Sequence[Step]) -> list[Step]:
    instance = current.instances[name]
    steps: list[Step] = []
    earlier = earlier_profile(current, name, desired)
    value = earlier or NO_PROFILE
    if current.records.get(name) != value:
        steps.append(_write_record(name, earlier, desired))
    if current.restore_tags.get(name) != value:
        steps.append(_write_tag(name, earlier))
    is_tagged = name in current.restore_tags
    trial = [_try_earlier_profile(instance)] if profile_to_try(current, desired) else []
    steps += [*trial, *opening]
    if [found.profile for found in instance.associations] != [desired.admin]:
        steps += associate(instance, desired.admin)
    # After the tag is written, the tags of other instances are read. If it is there already, it can belong to a run
    # that has just ended, so they are read before the first step.
    checked = [
        replace(step, context=ContentionCheck(current.tagged, is_tagged and position == 0, value, step in trial))
        for position, step in enumerate(steps)
    ]
    return [*checked[:-1], _after_trial(checked[-1])] if trial else checked


def profile_to_try(current: State, desired: DesiredAdmin) -> str | None:
    """Return the earlier profile of the instance to acquire, if it is neither gone already nor managed by this run."""
    for name in desired.instance_ids or ():
        instance, earlier = current.instances.get(name), earlier_profile(current, name, desired)
        if desired.state == ACQUIRED and instance and earlier and _needs_trial(instance, earlier, desired):
            return earlier
    return None


def _needs_trial(instance: Instance, earlier: str, desired: DesiredAdmin) -> bool:
    """Whether it is not known that this controller may associate the earlier profile."""
    # The run that creates the server profile associates it too.
    is_proven = desired.managed_before and earlier == desired.fallback
    return not is_proven and can_replace(instance) and [each.profile for each in instance.associations] == [earlier]


def _associate_admin_again(current: State, desired: DesiredAdmin) -> dict[str, list[Step]]:
    """Return the steps that associate the admin profile again. EC2 then assumes its role at once, and not at intervals.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html
    """
    instances = [current.instances[name] for name in desired.instance_ids or ()]
    summary = f"associate instance profile '{desired.admin}' with instance {{}} again, so that EC2 assumes its role"
    return {
        each.id: [replace(step, summary=summary.format(each.id))]
        for each in instances
        if [found.profile for found in each.associations] == [desired.admin] and can_replace(each)
        for step in associate(each, desired.admin)
    }


def _try_earlier_profile(instance: Instance) -> Step:
    """Return the step that replaces the earlier profile with itself, before anything is opened.

    A caller without the permission to pass its role (``iam:PassRole``) could not restore it. No other call reveals
    that. EC2 has no dry run of this call. A simulation by IAM needs a separate permission, and leaves out the policies
    of an organization. Any other error is not a denial, so it does not prevent anything.
    """
    [association] = instance.associations
    [step] = associate(instance, association.profile)
    return replace(
        step,
        summary=f"associate instance profile '{association.profile}' with instance {instance.id} again, to prove that "
        "it can be restored",
        done_when=ASSOCIATION_RETRY_CODES | ASSOCIATION_STALE_CODES,
        retry_when=frozenset(),
        stale_when=frozenset(),
    )


def _after_trial(step: Step) -> Step:
    """Return the step that replaces an association whose id the trial has changed."""
    context = replace(step.context, look_up_association=True)
    return replace(step, retry_when=step.retry_when | {"IncorrectState"}, context=context)


def _release(current: State, name: str, desired: DesiredAdmin) -> list[Step]:
    instance = current.instances.get(name)
    steps: list[Step] = []
    if instance and needs_restore(current, instance, desired):
        earlier = earlier_profile(current, name, desired)
        restoring = associate(instance, earlier) if earlier else disassociate(instance, desired.admin)
        steps += [replace(step, context=Restoring(name)) for step in restoring]
    if name in current.records and not desired.keep_tag:
        # The record is removed last: a tag without a record would count as somebody else's.
        if name in current.restore_tags:
            steps.append(remove_tag(name, current.restore_tags[name]))
        steps.append(remove_record(name, desired))
    return steps


def _write_record(name: str, earlier: str | None, desired: DesiredAdmin) -> Step:
    profile = f"instance profile '{earlier}'" if earlier else "no instance profile"
    value = earlier.replace(",", _COMMA) if earlier else NO_PROFILE
    return Step(
        Kind.UPDATE,
        RECORD_ACTION,
        {"role_name": desired.record_role, "tags": {record_key(desired.region, name): value}},
        f"record in role '{desired.record_role}' that instance {name} had {profile}",
    )


def remove_record(name: str, desired: DesiredAdmin) -> Step:
    """Return the step that removes the restore record of an instance from the admin role."""
    return Step(
        Kind.UPDATE,
        "iam:UntagRole",
        {"role_name": desired.record_role, "tag_keys": [record_key(desired.region, name)]},
        f"remove the restore record of instance {name} from role '{desired.record_role}'",
        done_when=NOT_FOUND_CODES,
    )


def _write_tag(name: str, earlier: str | None) -> Step:
    summary = (
        f"tag instance {name} with its earlier profile '{earlier}'"
        if earlier
        else f"tag instance {name} as having had no instance profile"
    )
    return Step(Kind.UPDATE, TAG_ACTION, {"resources": [name], "tags": {RESTORE_TAG: earlier or NO_PROFILE}}, summary)


def remove_tag(name: str, value: str) -> Step:
    """Return the step that removes the restore tag from an instance. A tag of another value is left alone."""
    arguments = {"resources": [name], "tags": {RESTORE_TAG: value}}
    summary = f"remove the restore tag from instance {name}"
    return Step(Kind.UPDATE, "ec2:DeleteTags", arguments, summary, done_when=frozenset({"InvalidInstanceID.NotFound"}))


def planned_state(current: State, desired: DesiredAdmin) -> State:
    """Return the state after all steps."""
    if desired.state == EXCLUSIVE:
        return current
    restore_tags, records = dict(current.restore_tags), dict(current.records)
    instances = dict(current.instances)
    for name, instance in current.instances.items():
        if not desired.is_target(name) or (instance.state in ENDED and desired.state != RELEASED):
            continue
        earlier = earlier_profile(current, name, desired)
        if desired.state == RELEASED:
            if needs_restore(current, instance, desired):
                instances[name] = _replace_profile(instance, earlier)
        else:
            restore_tags[name] = records[name] = earlier or NO_PROFILE
            instances[name] = _replace_profile(instance, desired.admin)
    if desired.state == RELEASED and not desired.keep_tag:
        for name in filter(desired.is_target, current.records):
            restore_tags.pop(name, None)
            del records[name]
    return replace(current, instances=instances, restore_tags=restore_tags, records=records)


def remaining(applied: Plan[State], state: State, desired: DesiredAdmin) -> list[str]:
    """List the changes of an applied plan that EC2 does not show yet.

    The records are taken from the plan, because IAM has accepted them, and reading them again would be one more call.

    :param state: the state that EC2 shows.
    :raises ContentionError: another run has started since the plan was made.
    :raises InvalidInput: the instance has ended.
    """
    if desired.state != RELEASED:
        records = {**state.records, **applied.planned.records}
        missing = plan(replace(state, records=records), replace(desired, associate_again=False))
        return [step.summary for step in missing.all_steps if not step.context.is_trial]
    before = applied.current
    shown = replace(state, records=before.records, unusable_profiles=before.unusable_profiles)
    removed = {
        name: value
        for name, value in before.restore_tags.items()
        if applied.planned.restore_tags.get(name) != value and state.restore_tags.get(name) == value
    }
    steps = plan(shown, replace(desired, keep_tag=True)).steps
    return [
        *(step.summary for name, each in steps.items() if applied.steps.get(name) for step in each),
        *(remove_tag(name, value).summary for name, value in removed.items()),
    ]


def assumed_state(current: State, desired: DesiredAdmin) -> State:
    """Return the state after the changes that earlier tasks have planned for the instances."""
    state = _assumed_of_runs(current, desired)
    if not desired.associated_before:
        return state
    lacking = [each for each in state.instances.values() if desired.is_target(each.id) and not each.associations]
    associated = {each.id: _replace_profile(each, desired.fallback) for each in lacking if each.state not in ENDED}
    return replace(state, instances={**state.instances, **associated})


def _assumed_of_runs(current: State, desired: DesiredAdmin) -> State:
    """Return the state after the planned clean-up after earlier runs."""
    if not desired.released_before:
        return current
    named = desired.fallback_ids | frozenset(desired.instance_ids or ())
    released = replace(desired, state=RELEASED, instance_ids=None, fallback_ids=named, keep_tag=False)
    return replace(planned_state(current, released), tagged=frozenset())


def _replace_profile(instance: Instance, profile: str | None) -> Instance:
    return replace(instance, associations=(Association(None, profile),) if profile else ())


def warnings(current: State, desired: DesiredAdmin) -> list[str]:
    """Warn of policies that the instance loses, of profiles that cannot be restored, and of traces that no run left."""
    live = {name: each for name, each in sorted(current.instances.items()) if each.state not in ENDED}
    return [
        *(
            f"the role of instance profile '{profile_to_try(current, desired)}' has {policy}, and role "
            f"'{desired.record_role}' has no such policy: Systems Manager may lose the instance while it has the admin "
            "profile, and for up to an hour afterwards. Attach the policy to the admin role (cwagent_ssm_policy), or "
            "store from an instance that has no other use"
            for policy in current.lost_policies
        ),
        *(
            f"instance profile '{current.records[name]}', which instance {name} had before, does not exist any more or "
            f"has no role; {describe_profile(earlier_profile(current, name, desired))} is associated instead"
            for name, each in live.items()
            if current.records.get(name) in current.unusable_profiles and needs_restore(current, each, desired)
        ),
        *(
            f"{_unrecorded_holder(name, desired)}, so it is left. Nothing is stored while it has the profile. "
            f"{_UNRECORDED_REMEDY}"
            for name, each in live.items()
            if desired.state == RELEASED
            and desired.is_target(name)
            and has_admin_profile(each, desired)
            and not needs_restore(current, each, desired)
        ),
        *(
            f"instance {name} has a tag {RESTORE_TAG} that no run of this collection has written: role "
            f"'{desired.record_role}' has no record of it. It is ignored and left. Remove it: aws ec2 delete-tags "
            f"--resources {name} --tags Key={RESTORE_TAG}"
            for name in live
            if desired.state != EXCLUSIVE
            and name in current.restore_tags
            and name not in current.records
            and not (desired.state == ACQUIRED and desired.is_target(name))
        ),
    ]


def check_profiles(admin: str, fallback: str) -> None:
    """Check that the two profiles differ. :raises InvalidInput: they do not."""
    if admin.lower() == fallback.lower():
        raise InvalidInput(
            f"'{admin}' is both the admin and the server profile: every server could write to Parameter Store."
        )


def to_dict(state: State) -> dict[str, Any]:
    """Return the instances with their profiles and restore tags, for the diff."""
    return {
        "instances": {
            name: {
                "profile": _active_profile(state.instances.get(name)),
                "restore_tag": state.restore_tags.get(name),
                "restore_record": state.records.get(name),
            }
            for name in sorted({*state.instances, *state.records})
        }
    }


def to_result(plan: Plan[State], final: State, desired: DesiredAdmin) -> list[dict[str, Any]]:
    """Return every instance of the plan with its profile before and after, and its earlier profile.

    :param final: the planned state, or the last state that AWS showed.
    """
    current = plan.current
    names: Sequence[str] = desired.instance_ids if desired.instance_ids is not None else sorted(current.instances)
    # A released instance has neither the admin profile nor a tag, so the final state can be without it.
    instances = {**plan.planned.instances, **final.instances}
    return [
        {
            "instance_id": name,
            "profile_before": _active_profile(current.instances.get(name)),
            "profile": _active_profile(instances.get(name)),
            "earlier_profile": earlier_profile(current, name, desired),
        }
        for name in names
    ]
