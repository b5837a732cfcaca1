# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instance profiles on EC2 instances: the current state, the desired one, and the steps between them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.names import name_of
from .._ground.plan import NOT_FOUND_CODES, Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._principals.role_plan import InstanceProfile


ENDED = frozenset({"shutting-down", "terminated"})
STOPPED = frozenset({"stopping", "stopped"})

# EC2 does not know a new instance profile for some seconds, and calls its name invalid until then. An association that
# was just replaced or has just ended prevents a new one for a moment.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html#troubleshoot_general_eventual-consistency
ASSOCIATION_RETRY_CODES = frozenset({"InvalidParameterValue", "IncorrectInstanceState"})
# The associations differ from the ones that were read: an earlier try of the call took effect although its answer was
# lost, or something else changed them. Each replacement gives the association another id.
ASSOCIATION_STALE_CODES = frozenset({"IncorrectState", "InvalidAssociationID.NotFound"})
# Stands in for the error code if EC2 refuses to disassociate a profile that it no longer shows. AWS does not document
# that code.
ASSOCIATION_GONE = "association is gone"

DISASSOCIATE_ACTION = "ec2:DisassociateIamInstanceProfile"

FAIL, KEEP, ATTACH, REPLACE = "fail", "keep", "attach", "replace"
ATTACH_ADVICE = (
    "; to give it the agent's policy, set on_other_profile to attach and list the role in attach_to_roles (for the "
    "playbooks: cwagent_on_other_profile and cwagent_attach_to_roles)"
)


@dataclass(frozen=True)
class Association:
    """An instance profile of an instance.

    :param profile_id: the unique id of the profile. A profile that was deleted and created again has another one, and
        instances that are associated with the deleted one get no credentials.
    """

    id: str | None
    profile_arn: str
    profile_id: str | None = None

    @property
    def profile(self) -> str:
        """The name of the instance profile."""
        return name_of(self.profile_arn)


@dataclass(frozen=True)
class Instance:
    """An instance. :param associations: the current ones; while one profile replaces another, there are two."""

    id: str
    state: str
    associations: tuple[Association, ...] = ()


@dataclass(frozen=True)
class State:
    """The instances as EC2 shows them, and the profile as IAM shows it.

    :param instances: by id, the instances of the list; ``None`` if EC2 does not know the id.
    :param profile: the instance profile as IAM shows it; ``None`` if it does not exist, or if no instance has a profile
        to compare it with.
    :param is_missing: whether this run read IAM and the profile does not exist.
    :param other_holders: ids of the instances that have the profile and are not in the list. Read only for
        ``fail_if_associated_elsewhere``.
    :param missing_policies: by name of another profile found on an instance, the policies of the desired profile's role
        that its role lacks. Read only for ``KEEP``.
    """

    instances: Mapping[str, Instance | None]
    profile: InstanceProfile | None = None
    is_missing: bool = False
    other_holders: frozenset[str] = frozenset()
    missing_policies: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class DesiredProfile:
    """The user's choices for the instances.

    :param name: the instance profile.
    :param present: whether the instances are to have it.
    :param on_other_profile: how to treat an instance that has another profile: ``FAIL``, ``KEEP``, ``ATTACH`` or
        ``REPLACE``. ``ATTACH`` keeps the profile here, and another resource attaches the policy to its role.
    :param fail_if_associated_elsewhere: whether it is an error if another instance has it.
    :param role_policies: ARNs of the managed policies of the role in it, if an earlier task has created or planned it;
        ``None`` to read them.
    :param profile_id: the unique id of the instance profile, if an earlier task has read or created it; ``None`` to
        read it.
    """

    name: str
    present: bool = True
    on_other_profile: str = FAIL
    fail_if_associated_elsewhere: bool = False
    role_policies: frozenset[str] | None = None
    profile_id: str | None = None


@dataclass(frozen=True)
class MissingProfile:
    """The context of steps whose instance profile IAM did not show. They succeed only if it exists after all."""

    name: str


def plan(current: State, desired: DesiredProfile) -> Plan[State]:
    """Plan the steps for every instance.

    :raises InvalidInput: an instance cannot get the profile, or another one has it. Nothing is planned for any.
    """
    if desired.fail_if_associated_elsewhere and current.other_holders:
        raise InvalidInput(
            f"instance profile '{desired.name}' is associated with other instances too: "
            f"{', '.join(sorted(current.other_holders))}. Disassociate it from them first."
        )
    if desired.present:
        problems = _problems(current, desired)
        if problems:
            raise InvalidInput(" ".join(problems))
    steps = {name: _steps(current, instance, desired) for name, instance in current.instances.items()}
    return Plan(current, planned_state(current, desired), steps)


def _problems(current: State, desired: DesiredProfile) -> list[str]:
    found = ineligible_reasons({name: each.state if each else None for name, each in current.instances.items()})
    for name, instance in current.instances.items():
        other = _other_association(instance, desired) if instance and instance.state not in ENDED else None
        if other and desired.on_other_profile == FAIL:
            found.append(f"Instance {name} has instance profile '{other.profile}'; {_remedy(other, desired)}.")
    return found


def _remedy(other: Association, desired: DesiredProfile) -> str:
    return (
        f"set on_other_profile to attach, so that the role in '{other.profile}' gets the agent's policy, or to "
        f"replace, to associate '{desired.name}' instead"
    )


def ineligible_reason(name: str, state: str | None, region: str = "") -> str:
    """Return why an instance cannot have an instance profile; empty if it can. :param state: ``None`` if unknown."""
    return " ".join(ineligible_reasons({name: state}, region))


def ineligible_reasons(states: Mapping[str, str | None], region: str = "") -> list[str]:
    """Return why instances cannot have an instance profile, in one sentence for all that the region lacks.

    :param states: by ID the state of an instance; ``None`` if EC2 does not know it.
    """
    missing = [name for name, state in states.items() if state is None]
    ended = [
        f"Instance {name} is {state}. Remove it from the inventory, or from the task."
        for name, state in states.items()
        if state in ENDED
    ]
    return [_explain_missing(missing, region or "this region"), *ended] if missing else ended


def _explain_missing(names: Sequence[str], region: str) -> str:
    subject = f"Instances {', '.join(names)} do" if names[1:] else f"Instance {names[0]} does"
    return (
        f"{subject} not exist in {region} and this account. Correct the region (in an inventory, cwagent_region of the "
        "host), the ID, or the credentials."
    )


def _other_association(instance: Instance, desired: DesiredProfile) -> Association | None:
    """Return the association of an instance with another profile."""
    return next((found for found in instance.associations if found.profile != desired.name), None)


def is_up_to_date(
    associations: Sequence[Association], profile: InstanceProfile | None, desired: DesiredProfile
) -> bool:
    """Whether these are associations with the desired profile, not with a deleted one of its name, and no other."""
    return bool(associations) and all(
        found.profile == desired.name and found.profile_id in (None, profile.id if profile else None)
        for found in associations
    )


def kept_profiles(current: State, desired: DesiredProfile) -> Mapping[str, str]:
    """Return by instance the name of the other profile that it keeps."""
    found = {name: _kept_profile(instance, desired) for name, instance in current.instances.items() if instance}
    return {name: profile for name, profile in found.items() if profile}


def _kept_profile(instance: Instance, desired: DesiredProfile) -> str | None:
    if not desired.present or desired.on_other_profile == REPLACE:
        return None
    other = _other_association(instance, desired)
    return other.profile if other else None


def _steps(current: State, instance: Instance | None, desired: DesiredProfile) -> list[Step]:
    if instance is None or instance.state in ENDED:
        return []  # AWS may list the profile of an ended instance for a while, but does not disassociate it
    if not desired.present:
        return disassociate(instance, desired.name)
    if is_up_to_date(instance.associations, current.profile, desired) or _kept_profile(instance, desired):
        return []
    steps = associate(instance, desired.name)
    if not current.is_missing:
        return steps
    missing = MissingProfile(desired.name)
    return [replace(step, context=missing, stale_when=step.stale_when | NOT_FOUND_CODES) for step in steps]


def can_replace(instance: Instance) -> bool:
    """Whether EC2 replaces the profile of an instance in one call."""
    return bool(instance.associations) and instance.state not in STOPPED


def associate(instance: Instance, profile: str) -> list[Step]:
    """Return the steps that associate a profile with an instance instead of its current profiles.

    EC2 replaces a profile on a running instance only.
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceIamInstanceProfileAssociation.html
    """
    arguments: dict[str, Any] = {"iam_instance_profile": {"name": profile}}
    summary = f"associate instance profile '{profile}' with instance {instance.id}"
    if can_replace(instance):
        old = next((found for found in instance.associations if found.profile != profile), instance.associations[0])
        return [
            Step(
                Kind.UPDATE,
                "ec2:ReplaceIamInstanceProfileAssociation",
                {**arguments, "association_id": old.id},
                f"{summary} instead of '{old.profile}'",
                retry_when=ASSOCIATION_RETRY_CODES,
                stale_when=ASSOCIATION_STALE_CODES,
            )
        ]
    return [
        *(_disassociate(instance, found) for found in instance.associations),
        Step(
            Kind.UPDATE,
            "ec2:AssociateIamInstanceProfile",
            {**arguments, "instance_id": instance.id},
            summary,
            retry_when=ASSOCIATION_RETRY_CODES,
            stale_when=ASSOCIATION_STALE_CODES,
        ),
    ]


def disassociate(instance: Instance, profile: str) -> list[Step]:
    """Return the steps that disassociate a profile from an instance, if it has the profile."""
    return [_disassociate(instance, found) for found in instance.associations if found.profile == profile]


def _disassociate(instance: Instance, association: Association) -> Step:
    return Step(
        Kind.UPDATE,
        DISASSOCIATE_ACTION,
        {"association_id": association.id},
        f"disassociate instance profile '{association.profile}' from instance {instance.id}",
        done_when=frozenset({"InvalidAssociationID.NotFound"}),
        retry_when=frozenset({"IncorrectInstanceState"}),
        stale_when=ASSOCIATION_STALE_CODES | {ASSOCIATION_GONE},
    )


def planned_state(current: State, desired: DesiredProfile) -> State:
    """Return the state after all steps. The ARN of a profile that does not exist yet is not known."""
    instances = {name: _planned_instance(current, found, desired) for name, found in current.instances.items()}
    return replace(current, instances=instances)


def _planned_instance(current: State, instance: Instance | None, desired: DesiredProfile) -> Instance | None:
    if instance is None or instance.state in ENDED:
        return instance
    if not desired.present:
        others = tuple(found for found in instance.associations if found.profile != desired.name)
        return replace(instance, associations=others)
    if is_up_to_date(instance.associations, current.profile, desired) or _kept_profile(instance, desired):
        return instance
    profile = current.profile
    arn = (profile.arn if profile else None) or desired.name
    return replace(instance, associations=(Association(None, arn, profile.id if profile else None),))


def warnings(current: State, desired: DesiredProfile) -> list[str]:
    """Warn of instances that do not exist or keep another profile, and of the policies that its role lacks."""
    unknown = [name for name, instance in current.instances.items() if instance is None and not desired.present]
    found = [f"there is no instance {name} in this region and account" for name in unknown]
    kept = {} if desired.on_other_profile == ATTACH else kept_profiles(current, desired)
    for name, profile in kept.items():
        missing = current.missing_policies.get(profile)
        if missing is None or missing:
            lacks = f", whose role lacks {', '.join(missing)}{ATTACH_ADVICE}" if missing else ""
            found.append(f"instance {name} keeps instance profile '{profile}'{lacks}")
    return found


def to_dict(state: State) -> dict[str, Any]:
    """Return the profile of every instance, for the diff."""
    return {
        "instances": {
            name: instance.associations[-1].profile if instance and instance.associations else None
            for name, instance in state.instances.items()
        }
    }


def to_result(before: State, after: State) -> list[dict[str, Any]]:
    """Return every instance with its profile before and after, in the order of the list."""
    old, new = to_dict(before)["instances"], to_dict(after)["instances"]
    return [{"instance_id": name, "profile_before": old[name], "profile": new[name]} for name in old]
