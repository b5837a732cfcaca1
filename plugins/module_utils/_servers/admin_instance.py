# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin instance: the one instance that temporarily has the admin profile, and what restores it. Pure.

Before anything else changes, the admin role gets a restore record with the name of the instance's earlier profile, and
the instance gets a restore tag. So any run on any controller can restore it, and a run that is about to acquire the
admin profile notices another run that does the same. The tag only shows where to look, because many people can tag an
instance. The record decides, because few people can tag the admin role.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._principals import window_plan
from .instance_profile_plan import ENDED, Association, Instance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._ground.errors import CwagentError
    from .._ground.plan import Plan
    from .._principals.window_plan import Window


RESTORE_TAG = "cwagent:earlier-profile"
# No instance profile can have this name, since IAM allows no colon.
NO_PROFILE = ":none"
# IAM allows a comma in the name of a profile, but not in a tag. No name has a colon.
COMMA = "::"


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
class Profiles:
    """The profiles of an admin instance, and where its earlier profile is recorded.

    :param admin: the admin profile.
    :param fallback: the profile to restore on an instance that has the admin profile and no restore record, if the user
        named the instance.
    :param role: the role that has the restore records as tags.
    :param region: the region of the instances.
    :param named: the instances that the user named.
    """

    admin: str
    fallback: str
    role: str
    region: str
    named: frozenset[str] = frozenset()


def record_key(region: str, instance_id: str) -> str:
    """Return the key of the tag of the admin role that records the earlier profile of an instance."""
    return f"{RESTORE_TAG}:{region}:{instance_id}"


def records_in(tags: Mapping[str, str], region: str) -> dict[str, str]:
    """Return by instance the earlier profile that the tags of the admin role record."""
    prefix = record_key(region, "")
    return {
        key[len(prefix) :]: value if value == NO_PROFILE else value.replace(COMMA, ",")
        for key, value in tags.items()
        if key.startswith(prefix)
    }


def regions_with_records(tags: Mapping[str, str]) -> list[str]:
    """Return the regions of the instances whose earlier profile the tags of the admin role record."""
    keys = [key.split(":") for key in sorted(tags) if key.startswith(f"{RESTORE_TAG}:")]
    return list(dict.fromkeys(region for *_tag, region, _instance_id in keys))


def check_profiles(admin: str, fallback: str) -> None:
    """Check that the two profiles differ. :raises InvalidInput: they do not."""
    if admin.lower() == fallback.lower():
        raise InvalidInput(
            f"'{admin}' is both the admin and the server profile: every server could write to Parameter Store."
        )


def _active_profile(instance: Instance | None) -> str | None:
    """Return the current profile; while one replaces another, the new one."""
    return instance.associations[-1].profile if instance and instance.associations else None


def has_admin_profile(instance: Instance, profiles: Profiles) -> bool:
    """Whether an instance has the admin profile, or is about to get or to lose it."""
    return any(found.profile == profiles.admin for found in instance.associations)


def lacks_profile(instance: Instance, profiles: Profiles) -> bool:
    """Whether an instance has no profile, or has the admin profile, so that its record matters."""
    is_other = instance.associations and not has_admin_profile(instance, profiles)
    return instance.state not in ENDED and not is_other


def needs_restore(current: State, instance: Instance, profiles: Profiles) -> bool:
    """Whether an instance does not have its earlier profile, and can get it again.

    The record counts while the instance has the admin profile, or none, as in the middle of replacing the profile of a
    stopped instance. A profile that someone else has associated since then is kept. Without a record, only an instance
    that the user named is restored.
    """
    if instance.state in ENDED:
        return False
    record = current.records.get(instance.id)
    if has_admin_profile(instance, profiles):
        return record is not None or instance.id in profiles.named
    return not instance.associations and record not in (None, NO_PROFILE)


def earlier_profile(current: State, instance_id: str, profiles: Profiles) -> str | None:
    """Return the profile that an instance gets when it is released; ``None`` for none."""
    instance = current.instances.get(instance_id)
    if instance is None or not needs_restore(current, instance, profiles):
        return _active_profile(instance)
    record = current.records.get(instance_id)
    if record == NO_PROFILE:
        return None
    if record is None and _active_profile(instance) != profiles.admin:
        return _active_profile(instance)  # another run is restoring it
    unusable = {*current.unusable_profiles, profiles.admin}
    return next((name for name in (record, profiles.fallback) if name and name not in unusable), None)


def with_profile(instance: Instance, profile: str | None) -> Instance:
    """Return an instance after a profile, or none, was associated."""
    return replace(instance, associations=(Association(None, profile),) if profile else ())


def warn_of_unrecorded_tags(current: State, names: Iterable[str], profiles: Profiles) -> list[str]:
    """Warn of restore tags that no run has written. :param names: the instances whose tags matter."""
    return [
        f"instance {name} has a tag {RESTORE_TAG} that no run of this collection has written: role '{profiles.role}' "
        f"has no record of it. It is ignored and left. Remove it: aws ec2 delete-tags --resources {name} --tags "
        f"Key={RESTORE_TAG}"
        for name in sorted(names)
        if current.instances[name].state not in ENDED and name in current.restore_tags and name not in current.records
    ]


def to_diff(state: State) -> dict[str, Any]:
    """Return the instances with their profiles and restore tags, and the window, for the diff."""
    return {
        "instances": {
            name: {
                "profile": _active_profile(state.instances.get(name)),
                "restore_tag": state.restore_tags.get(name),
                "restore_record": state.records.get(name),
            }
            for name in sorted({*state.instances, *state.records})
        },
        **({"window": window_plan.to_diff(state.window)} if state.window else {}),
    }


def to_result(plan: Plan[State], final: State, names: Iterable[str], profiles: Profiles) -> list[dict[str, Any]]:
    """Return instances with their profiles before and after, and their earlier profiles.

    :param final: the planned state, or the last state that AWS showed.
    """
    current = plan.current
    # A released instance has neither the admin profile nor a tag, so the final state can be without it.
    instances = {**plan.planned.instances, **final.instances}
    return [
        {
            "instance_id": name,
            "profile_before": _active_profile(current.instances.get(name)),
            "profile": _active_profile(instances.get(name)),
            "earlier_profile": earlier_profile(current, name, profiles),
        }
        for name in names
    ]
