# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin instance: the one instance that has the admin profile for a while, and how it is restored. Pure.

Before anything else changes, the instance gets a restore tag with the name of its earlier profile. So any run on any
controller can restore it, and a run that is about to acquire the admin profile sees that another run does so too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import ContentionError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import (
    ENDED,
    Association,
    Instance,
    associate,
    disassociate,
    ineligible_reason,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import describe_profile
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window

RESTORE_TAG = "cwagent:earlier-profile"
TAG_ACTION = "ec2:CreateTags"
# No instance profile can have this name, since IAM allows no colon.
NO_PROFILE = ":none"
_REMEDY = "Wait for that to end, or run cwagent.iam.restore to clean up."
ACQUIRED, EXCLUSIVE, RELEASED = "acquired", "exclusive", "released"


@dataclass(frozen=True)
class State:
    """What EC2 shows of a region, and IAM of the admin window.

    :param instances: by id, the instances that are in the list, have the admin profile or have a restore tag.
    :param restore_tags: by instance, the value of its restore tag: the earlier profile, or ``NO_PROFILE``.
    :param tagged: ids of all instances with a restore tag, also of those that EC2 does not describe any more.
    :param unusable_profiles: names of profiles that cannot be restored, since they do not exist or have no role.
    :param window: the admin window, if it is opened and closed with the profile.
    :param error: why the instances could not be read.
    """

    instances: Mapping[str, Instance] = field(default_factory=dict)
    restore_tags: Mapping[str, str] = field(default_factory=dict)
    tagged: frozenset[str] = frozenset()
    unusable_profiles: frozenset[str] = frozenset()
    window: Window | None = None
    error: CwagentError | None = None


@dataclass(frozen=True)
class DesiredAdmin:
    """What the user wants.

    :param state: one of ``ACQUIRED``, ``EXCLUSIVE``, ``RELEASED``.
    :param admin: the admin profile.
    :param fallback: the profile to restore on an instance that has the admin profile and no restore tag.
    :param instance_ids: the instances; ``None`` for all of the region.
    :param keep_tag: whether a released instance keeps its restore tag.
    :param fail_if_tagged: whether a restore tag on an instance is an error.
    :param assume_running: whether the instances are known to run.
    :param assume_created: whether an earlier task has created the admin role and profile, or planned to.
    """

    state: str
    admin: str
    fallback: str
    instance_ids: tuple[str, ...] | None = None
    keep_tag: bool = False
    fail_if_tagged: bool = False
    assume_running: bool = False
    assume_created: bool = False

    def is_target(self, instance_id: str) -> bool:
        """Whether an instance is one of those to change."""
        return self.instance_ids is None or instance_id in self.instance_ids


@dataclass(frozen=True)
class ContentionCheck:
    """The context of the steps that acquire the admin profile: what is needed to detect another run.

    :param tagged: ids of the instances that had a restore tag when the plan was made. This run was planned although
        they had it, so they do not prevent it.
    :param before_first_try: whether to check before the first try too, not only before each retry.
    """

    tagged: frozenset[str]
    before_first_try: bool


def _active_profile(instance: Instance | None) -> str | None:
    """Return the current profile; while one replaces another, the new one."""
    return instance.associations[-1].profile if instance and instance.associations else None


def _has_admin_profile(instance: Instance, desired: DesiredAdmin) -> bool:
    return any(found.profile == desired.admin for found in instance.associations)


def needs_restore(current: State, instance: Instance, desired: DesiredAdmin) -> bool:
    """Whether an instance does not have its earlier profile, and can get it again.

    The restore tag counts while the instance has the admin profile, or none, as in the middle of replacing the profile
    of a stopped instance. A profile that someone else has associated since then is kept.
    """
    lost_profile = not instance.associations and current.restore_tags.get(instance.id, NO_PROFILE) != NO_PROFILE
    return instance.state not in ENDED and (lost_profile or _has_admin_profile(instance, desired))


def earlier_profile(current: State, instance_id: str, desired: DesiredAdmin) -> str | None:
    """Return the profile that an instance gets when it is released; ``None`` for none."""
    instance = current.instances.get(instance_id)
    if instance is None or not needs_restore(current, instance, desired):
        return _active_profile(instance)
    tag = current.restore_tags.get(instance_id)
    if tag == NO_PROFILE:
        return None
    if tag is None and _active_profile(instance) != desired.admin:
        return _active_profile(instance)  # another run is restoring it
    unusable = {*current.unusable_profiles, desired.admin}
    return next((name for name in (tag, desired.fallback) if name and name not in unusable), None)


def plan(current: State, desired: DesiredAdmin, window: Plan[Window] | None = None) -> Plan[State]:
    """Plan the steps for every instance, and for the window.

    :param window: the plan for the admin window. To acquire, the window is opened after the restore tag is written and
        before the profile is associated. To release, window and profile do not depend on each other.
    :raises ContentionError: another instance has the admin profile, or is about to get it.
    :raises InvalidInput: an instance cannot get it.
    """
    planned = replace(planned_state(current, desired), window=window.planned if window else current.window)
    window_steps = window.steps if window else {}
    if desired.state == RELEASED:
        targets = sorted(name for name in current.instances if desired.is_target(name))
        steps = {name: _release(current, current.instances[name], desired) for name in targets}
        closing = {f"window of {name}": each for name, each in window_steps.items()}
        return Plan(current, planned, {**steps, **closing}, {"instances": current.error} if current.error else {})
    check_no_other_holder(current, desired)
    if desired.state == EXCLUSIVE:
        return Plan(current, planned, {})
    opening = [step for steps in window_steps.values() for step in steps]
    acquiring = {name: _acquire(current, name, desired, opening) for name in desired.instance_ids or ()}
    return Plan(current, planned, acquiring)


def check_not_tagged(current: State, desired: DesiredAdmin) -> None:
    """Check that no instance of the list has a restore tag, if the user wants that.

    :raises ContentionError: another run is at work, or was interrupted; it says what to do.
    """
    tagged = [name for name in desired.instance_ids or () if name in current.restore_tags]
    if desired.state == ACQUIRED and desired.fail_if_tagged and tagged:
        raise ContentionError(
            f"Instance {tagged[0]} has a restore tag: a run or a person is using it, or a run was interrupted. "
            f"{_REMEDY}"
        )


def check_restore_tags(before: Collection[str], current: Collection[str], desired: DesiredAdmin) -> None:
    """Check that no other run has started since the plan was made, or has restored the instance.

    :param before: ids of the instances that had a restore tag when the plan was made.
    :param current: ids of the instances that have one now.
    :raises ContentionError: it names the instance.
    """
    for name in desired.instance_ids or ():
        if name not in current:
            raise ContentionError(
                f"Instance {name} was restored by another run, so the admin profile is not associated with it."
            )
    new = [name for name in sorted(current) if name not in before and not desired.is_target(name)]
    _check_no_holders([_unfinished_swap(name, desired) for name in new])


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
    others = {name: each for name, each in sorted(current.instances.items()) if not desired.is_target(name)}
    _check_no_holders(
        [
            f"instance {name} has instance profile '{desired.admin}'"
            if _has_admin_profile(other, desired)
            else _unfinished_swap(name, desired)
            for name, other in others.items()
            if other.state not in ENDED
        ]
    )


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
    if current.restore_tags.get(name) != (earlier or NO_PROFILE):
        steps.append(_write_tag(name, earlier))
    steps += opening
    if [found.profile for found in instance.associations] != [desired.admin]:
        steps += associate(instance, desired.admin)
    # After the tag is written, the tags of other instances are read. If it is there already, it can belong to a run
    # that has just ended, so they are read before the first step.
    return [
        replace(step, context=ContentionCheck(current.tagged, position == 0 and step.action != TAG_ACTION))
        for position, step in enumerate(steps)
    ]


def _release(current: State, instance: Instance, desired: DesiredAdmin) -> list[Step]:
    steps: list[Step] = []
    if needs_restore(current, instance, desired):
        earlier = earlier_profile(current, instance.id, desired)
        steps += associate(instance, earlier) if earlier else disassociate(instance, desired.admin)
    if instance.id in current.restore_tags and not desired.keep_tag:
        steps.append(remove_tag(instance.id, current.restore_tags[instance.id]))
    return steps


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
    restore_tags = dict(current.restore_tags)
    instances = dict(current.instances)
    for name, instance in current.instances.items():
        if not desired.is_target(name) or (instance.state in ENDED and desired.state != RELEASED):
            continue
        earlier = earlier_profile(current, name, desired)
        if desired.state == RELEASED:
            if needs_restore(current, instance, desired):
                instances[name] = _replace_profile(instance, earlier)
            if not desired.keep_tag:
                restore_tags.pop(name, None)
        else:
            restore_tags[name] = earlier or NO_PROFILE
            instances[name] = _replace_profile(instance, desired.admin)
    return replace(current, instances=instances, restore_tags=restore_tags)


def _replace_profile(instance: Instance, profile: str | None) -> Instance:
    return replace(instance, associations=(Association(None, profile),) if profile else ())


def warnings(current: State, desired: DesiredAdmin) -> list[str]:
    """Return which instances cannot get their earlier profile again."""
    return [
        f"instance profile '{current.restore_tags[name]}', which instance {name} had before, does not exist any more "
        f"or has no role; {describe_profile(earlier_profile(current, name, desired))} is associated instead"
        for name in sorted(current.instances)
        if current.restore_tags.get(name) in current.unusable_profiles
        and needs_restore(current, current.instances[name], desired)
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
            name: {"profile": _active_profile(instance), "restore_tag": state.restore_tags.get(name)}
            for name, instance in sorted(state.instances.items())
        }
    }


def to_result(plan: Plan[State], final: State, desired: DesiredAdmin) -> list[dict[str, Any]]:
    """Return every instance of the plan with its profile before and after, and its earlier profile.

    :param final: the planned state, or what AWS showed at last.
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
