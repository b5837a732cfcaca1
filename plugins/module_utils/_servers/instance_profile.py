# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profiles of the module cwagent_instance_profile: its options, the reads from EC2, and the steps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._ground.converge import Resource
from .._ground.errors import DENIED_CODES, THROTTLING_CODES, AwsApiError, CwagentError, InvalidInput
from .._ground.names import check_instance_id, check_name, name_of
from .._ground.planned import PLANNED_SPEC, Planned
from .._ground.wait import WAIT_SPEC
from .._principals.policies import lacking_policies
from .._principals.principal import ACCESS_POLICIES_SPEC, attached_policies, with_policy_arns
from .._principals.role import find_profile
from .._principals.role_plan import InstanceProfile
from . import instance_profile_plan as profile_plan
from .instance_profile_plan import (
    ASSOCIATION_GONE,
    ATTACH,
    DISASSOCIATE_ACTION,
    ENDED,
    FAIL,
    KEEP,
    REPLACE,
    Association,
    DesiredProfile,
    Instance,
    MissingProfile,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .._ground.aws import Aws
    from .._ground.plan import Plan, Step


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeIamInstanceProfileAssociations.html
PAGE_SIZE = 1000
FILTER_VALUES = 200
# How often to look for a profile before it counts as missing.
LOOKUPS = 3
# A disassociating profile is about to go, but an instance cannot get another one before it is gone.
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IamInstanceProfileAssociation.html
ACTIVE_STATES = ["associating", "associated"]


class AssociationResource(Resource[State]):
    """An instance profile on a list of instances of one region."""

    _aws: Aws

    def __init__(self, aws: Aws, instance_ids: Sequence[str], desired: DesiredProfile) -> None:
        super().__init__(aws)
        self._ids = list(dict.fromkeys(instance_ids))
        self._desired = desired
        # For a long list, reading the whole region takes fewer calls. It also shows other instances with the profile.
        self._whole_region = len(self._ids) > FILTER_VALUES or desired.fail_if_associated_elsewhere

    def read(self) -> State:
        """Read the associations from EC2, and the states of instances that could be missing or ended.

        IAM need not be read for an instance profile whose id is known.
        """
        return self._read(self._desired.profile_id)

    def read_again(self) -> State:
        """Read the same, and the instance profile from IAM."""
        return self._read(None)

    def _read(self, profile_id: str | None) -> State:
        associations = read_associations(self._aws, None if self._whole_region else self._ids)
        found_by_id = {name: associations.get(name, ()) for name in self._ids}
        # If no instance has a profile, there is nothing to compare the desired one with.
        is_compared = self._desired.present and any(found_by_id.values())
        known = InstanceProfile(self._desired.name, id=profile_id) if profile_id else None
        profile = known or self._find_profile() if is_compared else None
        certain = {
            name for name, found in found_by_id.items() if profile_plan.is_up_to_date(found, profile, self._desired)
        }
        states = instance_states(self._aws, [name for name in self._ids if name not in certain])
        instances = {
            name: Instance(name, states.get(name, "running"), found) if name in certain or name in states else None
            for name, found in found_by_id.items()
        }
        others = [
            name
            for name, found in associations.items()
            if name not in found_by_id and any(each.profile == self._desired.name for each in found)
        ]
        other_holders = live_instances(self._aws, others) if self._desired.fail_if_associated_elsewhere else frozenset()
        state = State(instances, profile, is_compared and profile is None, other_holders)
        kept = profile_plan.kept_profiles(state, self._desired)
        return replace(state, missing_policies=self._missing_policies(kept, profile))

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps for every instance."""
        return profile_plan.plan(current, self._desired)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the changes that EC2 does not show yet.

        :raises CwagentError: an instance has ended, or got another profile, since the plan was made.
        """
        try:
            return super().remaining(plan, state)
        except InvalidInput as error:
            raise CwagentError(str(error)) from error  # InvalidInput means that nothing was written

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the profile of every instance for the diff."""
        return profile_plan.to_dict(state)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render every instance with its profile before and after."""
        return {"instances": profile_plan.to_result(plan.current, final)}

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Warn of instances that do not exist or keep another profile, and of the policies that its role lacks."""
        return profile_plan.warnings(plan.current, self._desired)

    def check_mode_warnings(self, plan: Plan[State]) -> list[str]:
        """Warn if the profile does not exist, and no earlier task has planned it."""
        if self._desired.role_policies is not None:
            return []
        is_missing = self._desired.present and plan.current.profile is None and self._find_profile() is None
        return [f"instance profile '{self._desired.name}' does not exist yet"] if is_missing else []

    def execute(self, step: Step) -> None:
        """Execute a step. EC2 returns the same error for a missing profile and a new one, so this also reads IAM."""
        if isinstance(step.context, MissingProfile):
            message = _missing_message(step.context.name, step)
            if _is_missing(self._aws, step.context.name):
                raise InvalidInput(message)
            raise AwsApiError(message, "NoSuchEntity")  # it was missing when the plan was made, so make another one
        if step.action == DISASSOCIATE_ACTION:
            self._aws.retry(lambda: execute_once(self._aws, step), step.retry_when)
            return
        try:
            self._aws.execute(replace(step, retry_when=frozenset()))
        except AwsApiError as error:
            if error.code not in step.retry_when:
                raise
            check_profile_exists(self._aws, self._desired.name, step, error)
            super().execute(step)

    def _find_profile(self) -> InstanceProfile | None:
        return find_profile(self._aws, self._desired.name)

    def _missing_policies(
        self, kept_profiles: Mapping[str, str], profile: InstanceProfile | None
    ) -> dict[str, list[str]]:
        """Return by kept profile the names of the policies that its role lacks."""
        needed = self._desired.role_policies
        if self._desired.on_other_profile != KEEP or not kept_profiles:
            return {}
        if needed is None and profile and profile.role:
            needed = attached_policies(self._aws, "role", profile.role)
        if needed is None:
            return {}
        return {
            name: sorted(name_of(arn) for arn in lacking_policies(needed, self._policies_of(name)))
            for name in sorted(set(kept_profiles.values()))
        }

    def _policies_of(self, profile: str) -> frozenset[str]:
        found = find_profile(self._aws, profile)
        return attached_policies(self._aws, "role", found.role) if found and found.role else frozenset()


def execute_once(aws: Aws, step: Step) -> None:
    """Execute a step without retries.

    :raises AwsApiError: its code is ``ASSOCIATION_GONE`` if the association that the step would end is gone.
    """
    try:
        aws.execute(replace(step, retry_when=frozenset()))
    except AwsApiError as error:
        if step.action == DISASSOCIATE_ACTION and error.code not in DENIED_CODES | THROTTLING_CODES:
            shown = {each.id for found in read_associations(aws).values() for each in found}
            if step.arguments["association_id"] not in shown:
                error.code = ASSOCIATION_GONE
        raise


def check_profile_exists(aws: Aws, profile: str, step: Step, error: AwsApiError) -> None:
    """Check that a profile exists before waiting until EC2 knows it.

    :param error: the answer of EC2, which is the same for a missing profile and for a new one.
    :raises CwagentError: IAM does not have the profile.
    """
    if _is_missing(aws, profile):
        raise CwagentError(_missing_message(profile, step)) from error


def _is_missing(aws: Aws, profile: str) -> bool:
    """Whether IAM does not have a profile."""
    return not is_shown(aws, lambda: find_profile(aws, profile) is not None)


def is_shown(aws: Aws, look_up: Callable[[], bool]) -> bool:
    """Whether IAM shows something. Not all its hosts know a thing that was created a moment ago."""
    deadline = aws.deadline()
    for lookups_left in reversed(range(LOOKUPS)):
        if look_up():
            return True
        if not lookups_left or not deadline.pause():
            break
    return False


def _missing_message(profile: str, step: Step) -> str:
    return f"Could not {step.summary}: instance profile '{profile}' does not exist."


def read_associations(aws: Aws, instance_ids: Sequence[str] | None = None) -> dict[str, tuple[Association, ...]]:
    """Return by instance its instance profiles. :param instance_ids: ``None`` for all instances of the region."""
    filters = [{"Name": "state", "Values": ACTIVE_STATES}]
    if instance_ids is not None:
        filters.append({"Name": "instance-id", "Values": list(instance_ids)})
    found: dict[str, tuple[Association, ...]] = defaultdict(tuple)
    for page in aws.pages(
        "ec2:DescribeIamInstanceProfileAssociations",
        "read the instance profiles of the instances",
        Filters=filters,
        MaxResults=PAGE_SIZE,
    ):
        for each in page["IamInstanceProfileAssociations"]:
            profile = each["IamInstanceProfile"]
            is_new = each["State"] == "associating"
            association = Association(each["AssociationId"], profile["Arn"], profile.get("Id"))
            others = found[each["InstanceId"]]
            # While one replaces another, EC2 shows both, in any order.
            found[each["InstanceId"]] = (*others, association) if is_new else (association, *others)
    return dict(found)


def instance_states(aws: Aws, instance_ids: Sequence[str]) -> dict[str, str]:
    """Return by instance its state, without the ids that EC2 does not know."""
    return {each["InstanceId"]: each["State"]["Name"] for each in describe_instances(aws, instance_ids)}


def live_instances(aws: Aws, instance_ids: Sequence[str]) -> frozenset[str]:
    """Return the instances that have not ended. AWS does not document how long an ended one shows its profile."""
    states = instance_states(aws, instance_ids)
    return frozenset(name for name, state in states.items() if state not in ENDED)


def describe_instances(aws: Aws, instance_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Return the instances as EC2 describes them, without the ids that it does not know.

    The ids are sent as a filter, since an unknown id in ``InstanceIds`` fails the whole call.
    """
    for start in range(0, len(instance_ids), FILTER_VALUES):
        for page in aws.pages(
            "ec2:DescribeInstances",
            f"look up {len(instance_ids)} instances",
            Filters=[{"Name": "instance-id", "Values": instance_ids[start : start + FILTER_VALUES]}],
            MaxResults=PAGE_SIZE,
        ):
            for reservation in page["Reservations"]:
                yield from reservation["Instances"]


SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "instance_ids": {"type": "list", "elements": "str"},
    "instances": {"type": "dict"},
    "on_other_profile": {"type": "str", "choices": [FAIL, KEEP, ATTACH, REPLACE], "default": FAIL},
    "attach_to_roles": {"type": "list", "elements": "str", "default": []},
    "fail_on_refused": {"type": "bool", "default": True},
    "fail_if_associated_elsewhere": {"type": "bool", "default": False},
    **ACCESS_POLICIES_SPEC,
    **PLANNED_SPEC,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {
    "required_one_of": [("instance_ids", "instances")],
    "mutually_exclusive": [("instance_ids", "instances")],
}


def resource(params: Mapping[str, Any], aws: Aws, region: str | None) -> AssociationResource:
    """Return the associations of the module. :raises InvalidInput: an option is invalid."""
    check_name("instance profile", params["name"])
    if params["on_other_profile"] == ATTACH and params["state"] == "present":
        _check_roles(params["attach_to_roles"])
        with_policy_arns(params, aws, region)
    for instance_id in params["instance_ids"]:
        check_instance_id(instance_id)
    planned = Planned(params["planned"])
    policies = planned.policies_of(params["name"])
    desired = DesiredProfile(
        name=params["name"],
        present=params["state"] == "present",
        on_other_profile=params["on_other_profile"],
        role_policies=None if policies is None else frozenset(policies),
        profile_id=planned.profile_id(params["name"]),
        fail_if_associated_elsewhere=params["fail_if_associated_elsewhere"],
    )
    return AssociationResource(aws, params["instance_ids"], desired)


def _check_roles(names: Sequence[str]) -> None:
    """Check the names of the roles that may get the policy.

    :raises InvalidInput: a name is not valid, or there is no name, so that nothing would ever be attached.
    """
    if not names:
        raise InvalidInput("attach_to_roles: name at least one role, or set on_other_profile to keep.")
    for name in names:
        check_name("role", name)
