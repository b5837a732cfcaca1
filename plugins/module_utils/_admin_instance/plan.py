# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one instance that carries the admin profile for a while, and the way back. Pure.

What an instance carried before is written down on the instance itself, as a tag, before anything changes. So any run on
any controller can put it back, and one that is about to put the admin profile on can see that another one is too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import (
    ENDED,
    Association,
    Instance,
    associate,
    disassociate,
    ineligible_reason,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window

RESTORE_TAG = "cwagent:earlier-profile"
WRITE_TAG = "ec2:CreateTags"
# No instance profile can have this name, since IAM allows no colon.
NO_PROFILE = ":none"
_REMEDY = "Wait until that run has ended; if it was interrupted, the playbook cwagent.iam.restore puts all back."
ADMIN, EXCLUSIVE, RELEASED = "admin", "sole", "returned"
NO_WINDOW = Plan({})


@dataclass(frozen=True)
class State:
    """What EC2 shows of a region, and IAM of the admin window.

    :param instances: by id, the instances that were asked for, carry the admin profile or have a note.
    :param restore_tags: by instance, the note on it: the profile it had, or ``NOTHING``.
    :param missing: names of profiles to go back to that do not exist, or have no role, so that EC2 refuses them.
    :param window: the admin window, where it comes with the profile; ``None`` where the admin role does not exist.
    """

    instances: Mapping[str, Instance] = field(default_factory=dict)
    restore_tags: Mapping[str, str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    window: Window | None = None


@dataclass(frozen=True)
class DesiredAdmin:
    """What the user wants.

    :param state: one of ``ADMIN``, ``SOLE``, ``RETURNED``.
    :param admin: the admin profile.
    :param fallback: the profile that an instance goes back to when it carries the admin profile and has no note.
    :param instance_ids: the instances; ``None`` for all of the region.
    :param keep_tag: whether the note stays when the instance goes back.
    :param fail_if_tagged: whether a note on an instance keeps it from being lent.
    :param running: whether the instances are known to run.
    """

    state: str
    admin: str
    fallback: str
    instance_ids: tuple[str, ...] | None = None
    keep_tag: bool = False
    fail_if_tagged: bool = False
    running: bool = False

    def concerns(self, instance_id: str) -> bool:
        """Whether an instance is to be worked on."""
        return self.instance_ids is None or instance_id in self.instance_ids


def _active_profile(instance: Instance | None) -> str | None:
    """The profile that counts: the latest, while one takes the place of another."""
    return instance.associations[-1].profile if instance and instance.associations else None


def _has_admin_profile(instance: Instance, desired: DesiredAdmin) -> bool:
    return any(found.profile == desired.admin for found in instance.associations)


def needs_restore(current: State, instance: Instance, desired: DesiredAdmin) -> bool:
    """Whether an instance is not what it was, and can be that again.

    Its note counts while it carries the admin profile, or nothing, as in the middle of exchanging the profile of a
    stopped instance. A profile that someone else has put on since is what it has now.
    """
    bare_since = not instance.associations and current.restore_tags.get(instance.id, NO_PROFILE) != NO_PROFILE
    return instance.state not in ENDED and (bare_since or _has_admin_profile(instance, desired))


def earlier_profile(current: State, instance_id: str, desired: DesiredAdmin) -> str | None:
    """The profile an instance goes back to; ``None`` for none."""
    instance = current.instances.get(instance_id)
    if instance is None or not needs_restore(current, instance, desired):
        return _active_profile(instance)
    note = current.restore_tags.get(instance_id)
    if note == NO_PROFILE:
        return None
    if note is None and _active_profile(instance) != desired.admin:
        return _active_profile(instance)  # another run is putting it back
    choices = (note, desired.fallback)
    return next((name for name in choices if name and name not in {*current.missing, desired.admin}), None)


def plan(current: State, desired: DesiredAdmin, window: Plan = NO_WINDOW) -> Plan:
    """The steps for every instance.

    :param window: the steps for the admin window. To lend, it is opened when the note is written, and before the
        instance gets the profile. To give back, window and profile do not depend on each other.
    :raises InvalidInput: another instance carries the admin profile or is about to, or one is not fit to.
    """
    if desired.state == RELEASED:
        concerned = sorted(name for name in current.instances if desired.concerns(name))
        closing = {f"window of {name}": steps for name, steps in window.steps.items()}
        return Plan({**{name: _release(current, current.instances[name], desired) for name in concerned}, **closing})
    check_no_other_holder(current, desired)
    if desired.state == EXCLUSIVE:
        return Plan({})
    opening = [step for steps in window.steps.values() for step in steps]
    return Plan({name: _acquire(current, name, desired, opening) for name in desired.instance_ids or ()})


def fail_if_tagged(current: State, desired: DesiredAdmin) -> None:
    """Refuse an instance that has a note, where that is wanted: another run is at work there, or was interrupted.

    :raises InvalidInput: it says what to do.
    """
    noted = [name for name in desired.instance_ids or () if name in current.restore_tags]
    if desired.state == ADMIN and desired.fail_if_tagged and noted:
        raise InvalidInput(f"A run that makes instance {noted[0]} the administrator has not ended. {_REMEDY}")


def check_restore_tags(before: Collection[str], current: Collection[str], desired: DesiredAdmin) -> None:
    """Refuse to go on when another run has begun, or has put everything back.

    :param before: which instances had a note when it was looked first; they were refused, or are in nobody's way.
    :param current: which ones have a note now.
    :raises InvalidInput: it names the instance.
    """
    for name in desired.instance_ids or ():
        if name not in current:
            raise InvalidInput(f"Instance {name} was given back by another run, so it is not made administrator.")
    _refuse(
        [
            _unfinished_swap(name, desired)
            for name in sorted(current)
            if name not in before and not desired.concerns(name)
        ]
    )


def check_no_other_holder(current: State, desired: DesiredAdmin) -> None:
    """Refuse an unfit instance, and any while there is another administrator. :raises InvalidInput: it says why."""
    if len(set(desired.instance_ids or ())) > 1:
        raise InvalidInput(
            f"Only one instance may carry the admin profile, not {', '.join(desired.instance_ids or ())}."
        )
    for name in desired.instance_ids or ():
        instance = current.instances.get(name)
        unfit = ineligible_reason(name, instance.state if instance else None)
        if unfit:
            raise InvalidInput(unfit)
    others = {name: each for name, each in sorted(current.instances.items()) if not desired.concerns(name)}
    found = [
        f"instance {name} carries instance profile '{desired.admin}'"
        if _has_admin_profile(other, desired)
        else _unfinished_swap(name, desired)
        for name, other in others.items()
        if other.state not in ENDED
    ]
    _refuse(found)


def _unfinished_swap(name: str, desired: DesiredAdmin) -> str:
    return f"instance {name} is about to carry or to give back instance profile '{desired.admin}'"


def _refuse(found: Sequence[str]) -> None:
    if found:
        raise InvalidInput(
            f"Only one instance may carry the admin profile at a time, and {', and '.join(found)}. {_REMEDY}"
        )


def _acquire(current: State, name: str, desired: DesiredAdmin, opening: Sequence[Step]) -> list[Step]:
    instance = current.instances[name]
    steps = []
    earlier = earlier_profile(current, name, desired)
    if current.restore_tags.get(name) != (earlier or NO_PROFILE):
        words = f"note on instance {name} that it had {_words(earlier)}"
        tags = {RESTORE_TAG: earlier or NO_PROFILE}
        steps.append(Step(WRITE_TAG, {"resources": [name], "tags": tags}, words))
    steps += opening
    if [found.profile for found in instance.associations] != [desired.admin]:
        steps += associate(instance, desired.admin)
    return steps


def _release(current: State, instance: Instance, desired: DesiredAdmin) -> list[Step]:
    steps: list[Step] = []
    if needs_restore(current, instance, desired):
        earlier = earlier_profile(current, instance.id, desired)
        steps += associate(instance, earlier) if earlier else disassociate(instance, desired.admin)
    if instance.id in current.restore_tags and not desired.keep_tag:
        steps.append(remove_tag(instance.id, current.restore_tags[instance.id]))
    return steps


def remove_tag(name: str, note: str) -> Step:
    """The step that removes a note from an instance."""
    arguments = {"resources": [name], "tags": {RESTORE_TAG: note}}
    gone = frozenset({"InvalidInstanceID.NotFound"})
    return Step("ec2:DeleteTags", arguments, f"remove the note from instance {name}", done_when=gone)


def _words(profile: str | None) -> str:
    return f"instance profile '{profile}'" if profile else "no instance profile"


def planned_state(current: State, desired: DesiredAdmin) -> State:
    """The state that the plan leads to."""
    restore_tags = dict(current.restore_tags)
    instances = dict(current.instances)
    for name, instance in current.instances.items():
        if (
            not desired.concerns(name)
            or desired.state == EXCLUSIVE
            or (instance.state in ENDED and desired.state != RELEASED)
        ):
            continue
        earlier = earlier_profile(current, name, desired)
        if desired.state == RELEASED:
            if needs_restore(current, instance, desired):
                instances[name] = _with_profile(instance, earlier)
            if not desired.keep_tag:
                restore_tags.pop(name, None)
        else:
            restore_tags[name] = earlier or NO_PROFILE
            instances[name] = _with_profile(instance, desired.admin)
    return replace(current, instances=instances, restore_tags=restore_tags)


def _with_profile(instance: Instance, profile: str | None) -> Instance:
    return replace(instance, associations=(Association(None, profile),) if profile else ())


def warnings(current: State, desired: DesiredAdmin) -> list[str]:
    """Which instances cannot go back to what they had."""
    return [
        f"instance profile '{current.restore_tags[name]}', which instance {name} had, does not exist any more or has no role; "
        f"the instance gets {_words(earlier_profile(current, name, desired))} instead"
        for name in sorted(current.instances)
        if current.restore_tags.get(name) in current.missing
        and needs_restore(current, current.instances[name], desired)
    ]


def check_profiles(admin: str, fallback: str) -> None:
    """Refuse one profile for both. :raises InvalidInput: it says why."""
    if admin.lower() == fallback.lower():
        raise InvalidInput(f"'{admin}' is both the admin and the server profile: every server would be administrator.")


def render(state: State) -> dict[str, Any]:
    """What the instances carry and what is noted on them, for the diff."""
    return {
        "instances": {
            name: {"profile": _active_profile(instance), "note": state.restore_tags.get(name)}
            for name, instance in sorted(state.instances.items())
        }
    }


def report(current: State, planned: State, desired: DesiredAdmin) -> list[dict[str, Any]]:
    """Every instance that was worked on, for the result."""
    names: Sequence[str] = desired.instance_ids if desired.instance_ids is not None else sorted(current.instances)
    # One that was given back is in nobody's way any more, so the region's state does not show it.
    shown = {**planned_state(current, desired).instances, **planned.instances}
    return [
        {
            "instance_id": name,
            "profile_before": _active_profile(current.instances.get(name)),
            "profile": _active_profile(shown.get(name)),
            "earlier": earlier_profile(current, name, desired),
        }
        for name in names
    ]
