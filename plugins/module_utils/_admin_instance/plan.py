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
    put_on,
    take_off,
    unfit_instance,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window

NOTE = "cwagent:earlier-profile"
WRITE_NOTE = "ec2:CreateTags"
# No instance profile can have this name, since IAM allows no colon.
NOTHING = ":none"
_CURE = "Wait until that run has ended; if it was interrupted, the playbook cwagent.iam.restore puts all back."
ADMIN, SOLE, RETURNED = "admin", "sole", "returned"
NO_WINDOW = Plan({})


@dataclass(frozen=True)
class State:
    """What EC2 shows of a region, and IAM of the admin window.

    :param instances: by id, the instances that were asked for, carry the admin profile or have a note.
    :param notes: by instance, the note on it: the profile it had, or ``NOTHING``.
    :param missing: names of profiles to go back to that do not exist, or have no role, so that EC2 refuses them.
    :param window: the admin window, where it comes with the profile; ``None`` where the admin role does not exist.
    """

    instances: Mapping[str, Instance] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    window: Window | None = None


@dataclass(frozen=True)
class WantedAdmin:
    """What the user wants.

    :param state: one of ``ADMIN``, ``SOLE``, ``RETURNED``.
    :param admin: the admin profile.
    :param fallback: the profile that an instance goes back to when it carries the admin profile and has no note.
    :param instance_ids: the instances; ``None`` for all of the region.
    :param keep_note: whether the note stays when the instance goes back.
    :param refuse_unfinished: whether a note on an instance keeps it from being lent.
    :param running: whether the instances are known to run.
    """

    state: str
    admin: str
    fallback: str
    instance_ids: tuple[str, ...] | None = None
    keep_note: bool = False
    refuse_unfinished: bool = False
    running: bool = False

    def concerns(self, instance_id: str) -> bool:
        """Whether an instance is to be worked on."""
        return self.instance_ids is None or instance_id in self.instance_ids


def _carried(instance: Instance | None) -> str | None:
    """The profile that counts: the latest, while one takes the place of another."""
    return instance.associations[-1].profile if instance and instance.associations else None


def _carries_admin(instance: Instance, want: WantedAdmin) -> bool:
    return any(found.profile == want.admin for found in instance.associations)


def has_changed(now: State, instance: Instance, want: WantedAdmin) -> bool:
    """Whether an instance is not what it was, and can be that again.

    Its note counts while it carries the admin profile, or nothing, as in the middle of exchanging the profile of a
    stopped instance. A profile that someone else has put on since is what it has now.
    """
    bare_since = not instance.associations and now.notes.get(instance.id, NOTHING) != NOTHING
    return instance.state not in ENDED and (bare_since or _carries_admin(instance, want))


def earlier_profile(now: State, instance_id: str, want: WantedAdmin) -> str | None:
    """The profile an instance goes back to; ``None`` for none."""
    instance = now.instances.get(instance_id)
    if instance is None or not has_changed(now, instance, want):
        return _carried(instance)
    note = now.notes.get(instance_id)
    if note == NOTHING:
        return None
    if note is None and _carried(instance) != want.admin:
        return _carried(instance)  # another run is putting it back
    choices = (note, want.fallback)
    return next((name for name in choices if name and name not in {*now.missing, want.admin}), None)


def plan(now: State, want: WantedAdmin, window: Plan = NO_WINDOW) -> Plan:
    """The steps for every instance.

    :param window: the steps for the admin window. To lend, it is opened when the note is written, and before the
        instance gets the profile. To give back, window and profile do not depend on each other.
    :raises InvalidInput: another instance carries the admin profile or is about to, or one is not fit to.
    """
    if want.state == RETURNED:
        concerned = sorted(name for name in now.instances if want.concerns(name))
        closing = {f"window of {name}": steps for name, steps in window.steps.items()}
        return Plan({**{name: _return(now, now.instances[name], want) for name in concerned}, **closing})
    refuse_others(now, want)
    if want.state == SOLE:
        return Plan({})
    opening = [step for steps in window.steps.values() for step in steps]
    return Plan({name: _lend(now, name, want, opening) for name in want.instance_ids or ()})


def refuse_unfinished(now: State, want: WantedAdmin) -> None:
    """Refuse an instance that has a note, where that is wanted: another run is at work there, or was interrupted.

    :raises InvalidInput: it says what to do.
    """
    noted = [name for name in want.instance_ids or () if name in now.notes]
    if want.state == ADMIN and want.refuse_unfinished and noted:
        raise InvalidInput(f"A run that makes instance {noted[0]} the administrator has not ended. {_CURE}")


def refuse_changed_notes(before: Collection[str], now: Collection[str], want: WantedAdmin) -> None:
    """Refuse to go on when another run has begun, or has put everything back.

    :param before: which instances had a note when it was looked first; they were refused, or are in nobody's way.
    :param now: which ones have a note now.
    :raises InvalidInput: it names the instance.
    """
    for name in want.instance_ids or ():
        if name not in now:
            raise InvalidInput(f"Instance {name} was given back by another run, so it is not made administrator.")
    _refuse([_about_to(name, want) for name in sorted(now) if name not in before and not want.concerns(name)])


def refuse_others(now: State, want: WantedAdmin) -> None:
    """Refuse an unfit instance, and any while there is another administrator. :raises InvalidInput: it says why."""
    if len(set(want.instance_ids or ())) > 1:
        raise InvalidInput(f"Only one instance may carry the admin profile, not {', '.join(want.instance_ids or ())}.")
    for name in want.instance_ids or ():
        instance = now.instances.get(name)
        unfit = unfit_instance(name, instance.state if instance else None)
        if unfit:
            raise InvalidInput(unfit)
    others = {name: each for name, each in sorted(now.instances.items()) if not want.concerns(name)}
    found = [
        f"instance {name} carries instance profile '{want.admin}'"
        if _carries_admin(other, want)
        else _about_to(name, want)
        for name, other in others.items()
        if other.state not in ENDED
    ]
    _refuse(found)


def _about_to(name: str, want: WantedAdmin) -> str:
    return f"instance {name} is about to carry or to give back instance profile '{want.admin}'"


def _refuse(found: Sequence[str]) -> None:
    if found:
        raise InvalidInput(
            f"Only one instance may carry the admin profile at a time, and {', and '.join(found)}. {_CURE}"
        )


def _lend(now: State, name: str, want: WantedAdmin, opening: Sequence[Step]) -> list[Step]:
    instance = now.instances[name]
    steps = []
    earlier = earlier_profile(now, name, want)
    if now.notes.get(name) != (earlier or NOTHING):
        words = f"note on instance {name} that it had {_words(earlier)}"
        tags = {NOTE: earlier or NOTHING}
        steps.append(Step(WRITE_NOTE, {"resources": [name], "tags": tags}, words))
    steps += opening
    if [found.profile for found in instance.associations] != [want.admin]:
        steps += put_on(instance, want.admin)
    return steps


def _return(now: State, instance: Instance, want: WantedAdmin) -> list[Step]:
    steps: list[Step] = []
    if has_changed(now, instance, want):
        earlier = earlier_profile(now, instance.id, want)
        steps += put_on(instance, earlier) if earlier else take_off(instance, want.admin)
    if instance.id in now.notes and not want.keep_note:
        steps.append(forget(instance.id, now.notes[instance.id]))
    return steps


def forget(name: str, note: str) -> Step:
    """The step that removes a note from an instance."""
    arguments = {"resources": [name], "tags": {NOTE: note}}
    gone = frozenset({"InvalidInstanceID.NotFound"})
    return Step("ec2:DeleteTags", arguments, f"remove the note from instance {name}", done_when=gone)


def _words(profile: str | None) -> str:
    return f"instance profile '{profile}'" if profile else "no instance profile"


def state_after(now: State, want: WantedAdmin) -> State:
    """The state that the plan leads to."""
    notes = dict(now.notes)
    instances = dict(now.instances)
    for name, instance in now.instances.items():
        if not want.concerns(name) or want.state == SOLE or (instance.state in ENDED and want.state != RETURNED):
            continue
        earlier = earlier_profile(now, name, want)
        if want.state == RETURNED:
            if has_changed(now, instance, want):
                instances[name] = _carrying(instance, earlier)
            if not want.keep_note:
                notes.pop(name, None)
        else:
            notes[name] = earlier or NOTHING
            instances[name] = _carrying(instance, want.admin)
    return replace(now, instances=instances, notes=notes)


def _carrying(instance: Instance, profile: str | None) -> Instance:
    return replace(instance, associations=(Association(None, profile),) if profile else ())


def warnings(now: State, want: WantedAdmin) -> list[str]:
    """Which instances cannot go back to what they had."""
    return [
        f"instance profile '{now.notes[name]}', which instance {name} had, does not exist any more or has no role; "
        f"the instance gets {_words(earlier_profile(now, name, want))} instead"
        for name in sorted(now.instances)
        if now.notes.get(name) in now.missing and has_changed(now, now.instances[name], want)
    ]


def check_profiles(admin: str, fallback: str) -> None:
    """Refuse one profile for both. :raises InvalidInput: it says why."""
    if admin.lower() == fallback.lower():
        raise InvalidInput(f"'{admin}' is both the admin and the server profile: every server would be administrator.")


def render(state: State) -> dict[str, Any]:
    """What the instances carry and what is noted on them, for the diff."""
    return {
        "instances": {
            name: {"profile": _carried(instance), "note": state.notes.get(name)}
            for name, instance in sorted(state.instances.items())
        }
    }


def report(now: State, then: State, want: WantedAdmin) -> list[dict[str, Any]]:
    """Every instance that was worked on, for the result."""
    names: Sequence[str] = want.instance_ids if want.instance_ids is not None else sorted(now.instances)
    # One that was given back is in nobody's way any more, so the region's state does not show it.
    shown = {**state_after(now, want).instances, **then.instances}
    return [
        {
            "instance_id": name,
            "profile_before": _carried(now.instances.get(name)),
            "profile": _carried(shown.get(name)),
            "earlier": earlier_profile(now, name, want),
        }
        for name in names
    ]
