# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Instance profiles on EC2 instances: what is there, what is wanted, and the steps between. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import name_of
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import InstanceProfile

ENDED = frozenset({"shutting-down", "terminated"})
STOPPED = frozenset({"stopping", "stopped"})

# EC2 does not know a new instance profile for some seconds and calls its name invalid meanwhile; an association that
# another one has just replaced or that has just ended is still in the way for a moment.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html#troubleshoot_general_eventual-consistency
ASSOCIATION_RETRY_CODES = frozenset({"InvalidParameterValue", "IncorrectState", "IncorrectInstanceState"})


@dataclass(frozen=True)
class Association:
    """An instance profile on an instance.

    :param profile_id: the unique id of the profile; a profile that was deleted and made anew has another one, and
        instances that carry the old one get no credentials.
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
    """An instance. :param associations: all that are not ended; while one replaces another there are two."""

    id: str
    state: str
    associations: tuple[Association, ...] = ()


@dataclass(frozen=True)
class State:
    """What EC2 and IAM show.

    :param instances: by id, those asked for; ``None`` where EC2 does not know the id.
    :param profile: the instance profile as IAM shows it; ``None`` where there is none, or where no instance carries
        anything to compare it with.
    :param holders: ids of the instances that carry the profile and were not asked for; read only for ``exclusive``.
    :param missing_policies: by name of another profile found on an instance, the policies its role lacks of those the wanted
        profile's role has; read only for ``keep_other``.
    """

    instances: Mapping[str, Instance | None]
    profile: InstanceProfile | None = None
    holders: frozenset[str] = frozenset()
    missing_policies: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class DesiredProfile:
    """What the user wants.

    :param name: the instance profile.
    :param present: on the instances, or off them.
    :param replace: whether it takes the place of another profile.
    :param keep_other: whether an instance with another profile is left as it is, instead of an error.
    :param exclusive: whether no other instance may carry it.
    """

    name: str
    present: bool = True
    replace: bool = False
    keep_other: bool = False
    exclusive: bool = False


def plan(current: State, desired: DesiredProfile) -> Plan:
    """The steps for every instance.

    :raises InvalidInput: an instance is not there, or another one carries the profile; nothing is done for any.
    """
    if desired.exclusive and current.holders:
        raise InvalidInput(
            f"instance profile '{desired.name}' is on other instances too: {', '.join(sorted(current.holders))}. "
            "Take it off them first."
        )
    if not desired.present:
        off = {
            name: disassociate(instance, desired.name) if instance else []
            for name, instance in current.instances.items()
        }
        return Plan(off)
    problems = [problem for name in current.instances for problem in _problems(current, name, desired)]
    if problems:
        raise InvalidInput(" ".join(problems))
    return Plan(
        {name: _associate(current, instance, desired) for name, instance in current.instances.items() if instance}
    )


def _problems(current: State, name: str, desired: DesiredProfile) -> list[str]:
    instance = current.instances[name]
    unfit = ineligible_reason(name, instance.state if instance else None)
    if unfit or instance is None:
        return [unfit]
    other = _other(instance, desired)
    if other and not desired.replace and not desired.keep_other:
        carries = f"Instance {name} carries instance profile '{other.profile}'"
        cure = f"set replace to put '{desired.name}' in its place, or give the role in '{other.profile}' the agent's policies"
        return [f"{carries}; {cure}."]
    return []


def ineligible_reason(name: str, state: str | None) -> str:
    """Why an instance can carry no instance profile; empty when it can. :param state: ``None`` where it is unknown."""
    if state is None:
        return f"Instance {name} does not exist in this region and account."
    return f"Instance {name} is {state} and can carry no instance profile." if state in ENDED else ""


def _other(instance: Instance, desired: DesiredProfile) -> Association | None:
    """Another profile that is on the instance."""
    return next((found for found in instance.associations if found.profile != desired.name), None)


def is_up_to_date(
    associations: Sequence[Association], profile: InstanceProfile | None, desired: DesiredProfile
) -> bool:
    """Whether these are the wanted profile, in its present incarnation, and no other."""
    return bool(associations) and all(
        found.profile == desired.name and found.profile_id in (None, profile.id if profile else None)
        for found in associations
    )


def kept(current: State, desired: DesiredProfile) -> Mapping[str, str]:
    """By instance, the other profile that it keeps."""
    found = {name: _kept(instance, desired) for name, instance in current.instances.items() if instance}
    return {name: profile for name, profile in found.items() if profile}


def _kept(instance: Instance, desired: DesiredProfile) -> str | None:
    """The other profile that an instance keeps."""
    other = None if not desired.present or desired.replace else _other(instance, desired)
    return other.profile if other else None


def _associate(current: State, instance: Instance, desired: DesiredProfile) -> list[Step]:
    if is_up_to_date(instance.associations, current.profile, desired) or _kept(instance, desired):
        return []
    return associate(instance, desired.name)


def associate(instance: Instance, profile: str) -> list[Step]:
    """The steps that put a profile on an instance, in the place of those it carries.

    EC2 replaces a profile on a running instance only.
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceIamInstanceProfileAssociation.html
    """
    arguments: dict[str, Any] = {"iam_instance_profile": {"name": profile}}
    words = f"put instance profile '{profile}' on instance {instance.id}"
    if instance.associations and instance.state not in STOPPED:
        old = next((found for found in instance.associations if found.profile != profile), instance.associations[0])
        arguments["association_id"] = old.id
        words += f" in place of '{old.profile}'"
        return [Step("ec2:ReplaceIamInstanceProfileAssociation", arguments, words, retry_when=ASSOCIATION_RETRY_CODES)]
    arguments["instance_id"] = instance.id
    return [
        *(_disassociate(instance, found) for found in instance.associations),
        Step("ec2:AssociateIamInstanceProfile", arguments, words, retry_when=ASSOCIATION_RETRY_CODES),
    ]


def disassociate(instance: Instance, profile: str) -> list[Step]:
    """The steps that take a profile off an instance, if it is there."""
    return [_disassociate(instance, found) for found in instance.associations if found.profile == profile]


def _disassociate(instance: Instance, association: Association) -> Step:
    return Step(
        "ec2:DisassociateIamInstanceProfile",
        {"association_id": association.id},
        f"take instance profile '{association.profile}' off instance {instance.id}",
        done_when=frozenset({"InvalidAssociationID.NotFound"}),
    )


def planned_state(current: State, desired: DesiredProfile) -> State:
    """The state that the plan leads to. The ARN of a profile that is yet to be made is not known."""
    return replace(
        current, instances={name: _after(current, found, desired) for name, found in current.instances.items()}
    )


def _after(current: State, instance: Instance | None, desired: DesiredProfile) -> Instance | None:
    if instance is None:
        return None
    if not desired.present:
        remaining = tuple(found for found in instance.associations if found.profile != desired.name)
        return replace(instance, associations=remaining)
    if is_up_to_date(instance.associations, current.profile, desired) or _kept(instance, desired):
        return instance
    profile = current.profile
    arn = (profile.arn if profile else None) or desired.name
    return replace(instance, associations=(Association(None, arn, profile.id if profile else None),))


def render(state: State) -> dict[str, Any]:
    """The profile of every instance, for the diff."""
    return {
        "instances": {
            name: instance.associations[-1].profile if instance and instance.associations else None
            for name, instance in state.instances.items()
        }
    }


def to_result(before: State, after: State) -> list[dict[str, Any]]:
    """Every instance with its profile before and after, for the result, in the order asked for."""
    old, new = render(before)["instances"], render(after)["instances"]
    return [{"instance_id": name, "profile_before": old[name], "profile": new[name]} for name in old]
