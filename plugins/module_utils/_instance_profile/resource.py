# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what instances carry from EC2 and takes the steps of the plan."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile import plan as profile_plan
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import Association, Instance, State
from ansible_collections.cwagent.iam.plugins.module_utils._names import name_of
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import attached_policies
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import find_profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import DesiredProfile
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step
    from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import InstanceProfile

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeIamInstanceProfileAssociations.html
PAGE = 1000
FILTER_VALUES = 200
# A disassociating profile is on its way out, but an instance cannot get another one before it is gone.
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IamInstanceProfileAssociation.html
CARRIED = ["associating", "associated"]


class AssociationResource(Resource[State]):
    """An instance profile on a list of instances of one region.

    :param whole_region: whether to read what all instances of the region carry, though the list is short.
    """

    def __init__(
        self, aws: Aws, instance_ids: Sequence[str], desired: DesiredProfile, *, whole_region: bool = False
    ) -> None:
        super().__init__(aws)
        self._ids = list(dict.fromkeys(instance_ids))
        self._desired = desired
        self._is_missing = False
        # Asking for all of the region is fewer calls for a long list, and shows the others that carry the profile.
        self._whole_region = whole_region or len(self._ids) > FILTER_VALUES or desired.exclusive

    def read(self) -> State:
        """The associations as EC2 shows them; instances are looked up only where there is something to learn."""
        associations = read_associations(self._aws, None if self._whole_region else self._ids)
        asked = {name: associations.get(name, ()) for name in self._ids}
        # Where instances carry nothing, there is nothing to compare the profile with.
        is_compared = self._desired.present and any(asked.values())
        profile = self._find_profile() if is_compared else None
        self._is_missing = is_compared and profile is None
        certain = {name for name, found in asked.items() if profile_plan.is_up_to_date(found, profile, self._desired)}
        states = instance_states(self._aws, [name for name in self._ids if name not in certain])
        instances = {
            name: Instance(name, states.get(name, "running"), found) if name in certain or name in states else None
            for name, found in asked.items()
        }
        holders = frozenset(
            name
            for name, found in associations.items()
            if name not in asked and any(each.profile == self._desired.name for each in found)
        )
        state = State(instances, profile, holders)
        return replace(state, missing_policies=self._lacking(profile_plan.kept(state, self._desired), profile))

    def plan(self, current: State) -> Plan:
        """The steps of every instance."""
        return profile_plan.plan(current, self._desired)

    def after(self, current: State) -> State:
        """The state that the plan leads to."""
        return profile_plan.planned_state(current, self._desired)

    def render(self, state: State) -> dict[str, Any]:
        """The instances and what they carry, for the diff."""
        return profile_plan.render(state)

    def report(self, current: State, planned: State) -> dict[str, Any]:
        """Every instance with its profile before and after."""
        return {"instances": profile_plan.to_result(current, planned)}

    def warnings(self, current: State) -> list[str]:
        """Which instances keep another profile, and what the agent on them lacks."""
        warnings = []
        for name, profile in profile_plan.kept(current, self._desired).items():
            missing_policies = current.missing_policies.get(profile)
            if missing_policies is None or missing_policies:
                lacks = f", whose role lacks {', '.join(missing_policies)}" if missing_policies else ""
                warnings.append(f"instance {name} keeps instance profile '{profile}'{lacks}")
        return warnings

    def check_mode_warnings(self, current: State) -> list[str]:
        """That the profile is not there."""
        missing = self._desired.present and current.profile is None and self._find_profile() is None
        return [f"instance profile '{self._desired.name}' does not exist yet"] if missing else []

    def execute(self, step: Step) -> None:
        """Make the step's call; EC2's own answer takes a missing profile for a new one, and IAM knows better."""
        if self._is_missing:
            raise _missing(self._desired.name, step)
        try:
            self._aws.execute(replace(step, retry_when=frozenset()))
        except AwsApiError as error:
            if error.code not in step.retry_when:
                raise
            refuse_missing(self._aws, self._desired.name, step, error)
            super().execute(step)

    def _find_profile(self) -> InstanceProfile | None:
        return find_profile(self._aws, self._desired.name)

    def _lacking(self, others: Mapping[str, str], wanted: InstanceProfile | None) -> dict[str, list[str]]:
        """By other profile, the names of the policies its role lacks."""
        if not self._desired.keep_other or not others or not wanted or not wanted.role:
            return {}
        needed = attached_policies(self._aws, "role", wanted.role)
        return {name: _names(needed - self._held_through(name)) for name in sorted(set(others.values()))}

    def _held_through(self, profile: str) -> frozenset[str]:
        found = find_profile(self._aws, profile)
        return attached_policies(self._aws, "role", found.role) if found and found.role else frozenset()


def refuse_missing(aws: Aws, profile: str, step: Step, error: AwsApiError) -> None:
    """Refuse to put on a profile that is not there, instead of waiting for EC2 to know it.

    :param error: EC2's own answer, which is the same for one that is new.
    :raises InvalidInput: IAM does not have the profile.
    """
    if find_profile(aws, profile) is None:
        raise _missing(profile, step) from error


def _missing(profile: str, step: Step) -> InvalidInput:
    return InvalidInput(f"Could not {step.summary}: instance profile '{profile}' does not exist.")


def read_associations(aws: Aws, instance_ids: Sequence[str] | None = None) -> dict[str, tuple[Association, ...]]:
    """By instance, the instance profiles on it. :param instance_ids: ``None`` for all instances of the region."""
    filters = [{"Name": "state", "Values": CARRIED}]
    if instance_ids is not None:
        filters.append({"Name": "instance-id", "Values": list(instance_ids)})
    found: dict[str, tuple[Association, ...]] = defaultdict(tuple)
    for page in aws.pages(
        "ec2:DescribeIamInstanceProfileAssociations",
        "read the instance profiles of the instances",
        Filters=filters,
        MaxResults=PAGE,
    ):
        for each in page["IamInstanceProfileAssociations"]:
            profile = each["IamInstanceProfile"]
            arriving = each["State"] == "associating"
            association = Association(each["AssociationId"], profile["Arn"], profile.get("Id"))
            others = found[each["InstanceId"]]
            # While one takes the place of another, both are shown, in no order.
            found[each["InstanceId"]] = (*others, association) if arriving else (association, *others)
    return dict(found)


def instance_states(aws: Aws, instance_ids: Sequence[str]) -> dict[str, str]:
    """By instance, its state; an id that EC2 does not know is left out."""
    return {each["InstanceId"]: each["State"]["Name"] for each in describe_instances(aws, instance_ids)}


def describe_instances(aws: Aws, instance_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The instances as EC2 describes them; an id that it does not know is left out.

    Ids are given as a filter, since an unknown one in InstanceIds fails the whole call.
    """
    for start in range(0, len(instance_ids), FILTER_VALUES):
        for page in aws.pages(
            "ec2:DescribeInstances",
            f"look up {len(instance_ids)} instances",
            Filters=[{"Name": "instance-id", "Values": instance_ids[start : start + FILTER_VALUES]}],
            MaxResults=PAGE,
        ):
            for reservation in page["Reservations"]:
                yield from reservation["Instances"]


def _names(arns: Iterable[str]) -> list[str]:
    return sorted(name_of(arn) for arn in arns)
