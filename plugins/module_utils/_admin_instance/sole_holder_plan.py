# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that an instance is the only admin instance. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import State, has_admin_profile
from ansible_collections.cwagent.iam.plugins.module_utils._errors import ContentionError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile import plan as profile_plan
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import Profiles
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window

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
