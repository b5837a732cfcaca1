# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How instances get their earlier profiles again, and how restore tags and records are removed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._ground.names import describe_profile
from .._ground.plan import NOT_FOUND_CODES, Kind, Plan, Step
from . import admin_instance
from .acquire_plan import UNRECORDED_REMEDY, describe_unrecorded_holder
from .admin_instance import NO_PROFILE, State
from .instance_profile_plan import ENDED, associate, disassociate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._principals.window_plan import Window
    from .._principals.window_policy import Opening
    from .instance_profile_plan import Association


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
