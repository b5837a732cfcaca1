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
NOT_YET = frozenset({"InvalidParameterValue", "IncorrectState", "IncorrectInstanceState"})


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
    :param lacking: by name of another profile found on an instance, the policies its role lacks of those the wanted
        profile's role has; read only for ``keep_other``.
    """

    instances: Mapping[str, Instance | None]
    profile: InstanceProfile | None = None
    holders: frozenset[str] = frozenset()
    lacking: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class WantedProfile:
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


def plan(now: State, want: WantedProfile) -> Plan:
    """The steps for every instance.

    :raises InvalidInput: an instance is not there, or another one carries the profile; nothing is done for any.
    """
    if want.exclusive and now.holders:
        raise InvalidInput(
            f"instance profile '{want.name}' is on other instances too: {', '.join(sorted(now.holders))}. "
            "Take it off them first."
        )
    if not want.present:
        off = {name: take_off(instance, want.name) if instance else [] for name, instance in now.instances.items()}
        return Plan(off)
    problems = [problem for name in now.instances for problem in _problems(now, name, want)]
    if problems:
        raise InvalidInput(" ".join(problems))
    return Plan({name: _put_on(now, instance, want) for name, instance in now.instances.items() if instance})


def _problems(now: State, name: str, want: WantedProfile) -> list[str]:
    instance = now.instances[name]
    unfit = unfit_instance(name, instance.state if instance else None)
    if unfit or instance is None:
        return [unfit]
    other = _other(instance, want)
    if other and not want.replace and not want.keep_other:
        carries = f"Instance {name} carries instance profile '{other.profile}'"
        cure = (
            f"set replace to put '{want.name}' in its place, or give the role in '{other.profile}' the agent's policies"
        )
        return [f"{carries}; {cure}."]
    return []


def unfit_instance(name: str, state: str | None) -> str:
    """Why an instance can carry no instance profile; empty when it can. :param state: ``None`` where it is unknown."""
    if state is None:
        return f"Instance {name} does not exist in this region and account."
    return f"Instance {name} is {state} and can carry no instance profile." if state in ENDED else ""


def _other(instance: Instance, want: WantedProfile) -> Association | None:
    """Another profile that is on the instance."""
    return next((found for found in instance.associations if found.profile != want.name), None)


def current(associations: Sequence[Association], profile: InstanceProfile | None, want: WantedProfile) -> bool:
    """Whether these are the wanted profile, in its present incarnation, and no other."""
    return bool(associations) and all(
        found.profile == want.name and found.profile_id in (None, profile.id if profile else None)
        for found in associations
    )


def kept(now: State, want: WantedProfile) -> Mapping[str, str]:
    """By instance, the other profile that it keeps."""
    found = {name: _kept(instance, want) for name, instance in now.instances.items() if instance}
    return {name: profile for name, profile in found.items() if profile}


def _kept(instance: Instance, want: WantedProfile) -> str | None:
    """The other profile that an instance keeps."""
    other = None if not want.present or want.replace else _other(instance, want)
    return other.profile if other else None


def _put_on(now: State, instance: Instance, want: WantedProfile) -> list[Step]:
    if current(instance.associations, now.profile, want) or _kept(instance, want):
        return []
    return put_on(instance, want.name)


def put_on(instance: Instance, profile: str) -> list[Step]:
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
        return [Step("ec2:ReplaceIamInstanceProfileAssociation", arguments, words, retry_when=NOT_YET)]
    arguments["instance_id"] = instance.id
    return [
        *(_disassociate(instance, found) for found in instance.associations),
        Step("ec2:AssociateIamInstanceProfile", arguments, words, retry_when=NOT_YET),
    ]


def take_off(instance: Instance, profile: str) -> list[Step]:
    """The steps that take a profile off an instance, if it is there."""
    return [_disassociate(instance, found) for found in instance.associations if found.profile == profile]


def _disassociate(instance: Instance, association: Association) -> Step:
    return Step(
        "ec2:DisassociateIamInstanceProfile",
        {"association_id": association.id},
        f"take instance profile '{association.profile}' off instance {instance.id}",
        done_when=frozenset({"InvalidAssociationID.NotFound"}),
    )


def state_after(now: State, want: WantedProfile) -> State:
    """The state that the plan leads to. The ARN of a profile that is yet to be made is not known."""
    return replace(now, instances={name: _after(now, found, want) for name, found in now.instances.items()})


def _after(now: State, instance: Instance | None, want: WantedProfile) -> Instance | None:
    if instance is None:
        return None
    if not want.present:
        remaining = tuple(found for found in instance.associations if found.profile != want.name)
        return replace(instance, associations=remaining)
    if current(instance.associations, now.profile, want) or _kept(instance, want):
        return instance
    profile = now.profile
    arn = (profile.arn if profile else None) or want.name
    return replace(instance, associations=(Association(None, arn, profile.id if profile else None),))


def render(state: State) -> dict[str, Any]:
    """The profile of every instance, for the diff."""
    return {
        "instances": {
            name: instance.associations[-1].profile if instance and instance.associations else None
            for name, instance in state.instances.items()
        }
    }


def render_items(before: State, after: State) -> list[dict[str, Any]]:
    """Every instance with its profile before and after, for the result, in the order asked for."""
    old, new = render(before)["instances"], render(after)["instances"]
    return [{"instance_id": name, "profile_before": old[name], "profile": new[name]} for name in old]
