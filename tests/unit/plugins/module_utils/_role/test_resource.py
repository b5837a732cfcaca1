"""Reads, results and warnings of a role, with a model of IAM instead of AWS."""

from __future__ import annotations

from typing import Any

import pytest
from declarations import BOUNDARY, CREATED_TAGS, SERVER, UNMANAGED, declare

from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import (
    DesiredRole,
    InstanceProfile,
    Role,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._role.policy import Ec2Trust, HybridTrust
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import RoleResource, find_account

TRUST = Ec2Trust().new_policy()
ROLE = Role("R", TRUST, PrincipalState(policies=frozenset({SERVER}), tags=CREATED_TAGS))
SHARED_ROLE = Role("R", TRUST, PrincipalState(policies=frozenset({SERVER, UNMANAGED}), tags=CREATED_TAGS))
PROFILE = InstanceProfile("P", role="R", tags=CREATED_TAGS)
OTHER_ROLE_IN_PROFILE = State(ROLE, InstanceProfile("P", role="S"))


class RecordedAws:
    """Answers reads from a table and records the actions."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.actions = answers, []

    def find(self, action: str, description: str, absent: str, **arguments: Any) -> Any:
        self.actions.append(action)
        return self.answers.get(action)

    def call(self, action: str, description: str, **arguments: Any) -> Any:
        self.actions.append(action)
        return self.answers[action]

    def pages(self, action: str, description: str, **arguments: Any) -> list[Any]:
        self.actions.append(action)
        return self.answers[action]


ANSWERS = {
    "iam:GetRole": {
        "Role": {
            "RoleName": "R",
            "Path": "/m/",
            "Arn": "arn:role",
            "AssumeRolePolicyDocument": TRUST,
            "PermissionsBoundary": {"PermissionsBoundaryArn": "arn:boundary"},
            "Tags": [{"Key": "a", "Value": "1"}],
        }
    },
    "iam:ListAttachedRolePolicies": [
        {"AttachedPolicies": [{"PolicyArn": SERVER}]},
        {"AttachedPolicies": [{"PolicyArn": UNMANAGED}]},
    ],
    "iam:ListRolePolicies": [{"PolicyNames": ["app"]}],
    "iam:GetInstanceProfile": {
        "InstanceProfile": {
            "InstanceProfileName": "P",
            "Path": "/",
            "Arn": "arn:profile",
            "InstanceProfileId": "AIPA",
            "Roles": [{"RoleName": "R"}],
        }
    },
    "iam:ListInstanceProfilesForRole": [
        {"InstanceProfiles": [{"InstanceProfileName": "P"}, {"InstanceProfileName": "Q"}]}
    ],
}
READ_ROLE = Role(
    "R",
    TRUST,
    PrincipalState("/m/", frozenset({SERVER, UNMANAGED}), frozenset({"app"}), "arn:boundary", {"a": "1"}),
    arn="arn:role",
)
READ_PROFILE = InstanceProfile("P", role="R", arn="arn:profile", id="AIPA")


def resource(present: bool = True, aws: Any = None, **declared: Any) -> RoleResource:
    return RoleResource(aws, DesiredRole("R", declare(**declared), "P"), present)


@pytest.mark.parametrize(
    ("present", "state"),
    [(True, State(READ_ROLE, READ_PROFILE)), (False, State(READ_ROLE, READ_PROFILE, frozenset({"Q"})))],
    ids=["present", "absent"],
)
def test_the_state_is_read_and_other_profiles_only_before_a_deletion(present, state):
    assert resource(present, RecordedAws(ANSWERS)).read() == state


def test_absence_is_read_with_one_call_for_each_entity():
    aws = RecordedAws({})
    assert resource(False, aws).read() == State()
    assert aws.actions == ["iam:GetRole", "iam:GetInstanceProfile"]


@pytest.mark.parametrize("present", [True, False])
def test_the_instance_profiles_of_a_role_for_hybrid_servers_are_not_read(present):
    aws: Any = RecordedAws(ANSWERS)
    hybrid = RoleResource(aws, DesiredRole("R", declare(), None, HybridTrust("aws", "123456789012")), present)
    assert hybrid.read() == State(READ_ROLE)
    assert aws.actions == ["iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"]


def test_the_account_is_that_of_the_credentials():
    aws: Any = RecordedAws({"sts:GetCallerIdentity": {"Account": "123456789012"}})
    assert find_account(aws) == "123456789012"


def test_the_plan_has_both_states():
    plan = resource().plan(State())
    assert plan.current == State()
    assert plan.planned == State(ROLE, PROFILE)


def test_a_plan_that_would_lose_something_is_invalid_input():
    with pytest.raises(InvalidInput, match="contains role 'S'"):
        resource().plan(OTHER_ROLE_IN_PROFILE)


def test_a_deletion_is_never_invalid_input():
    plan = resource(present=False, path="/other/").plan(OTHER_ROLE_IN_PROFILE)
    assert plan.planned == State(profile=OTHER_ROLE_IN_PROFILE.profile)


def test_a_stale_read_after_the_writes_is_not_invalid_input():
    plan = resource().plan(State())
    assert resource().remaining(plan, OTHER_ROLE_IN_PROFILE) == [
        "remove role 'S' from instance profile 'P'",
        "add role 'R' to instance profile 'P'",
    ]


@pytest.mark.parametrize("present", [True, False])
def test_nothing_remains_in_the_planned_state(present):
    plan = resource(present).plan(State(ROLE, PROFILE))
    assert resource(present).remaining(plan, plan.planned) == []


@pytest.mark.parametrize(("code", "is_propagation"), [("NoSuchEntity", True), ("AccessDenied", False)])
def test_only_an_entity_that_is_not_found_is_a_propagation_error(code, is_propagation):
    assert resource().is_propagation_error(AwsApiError("No.", code)) is is_propagation


def test_the_result_is_the_final_state():
    plan = resource().plan(State())
    result = resource().to_result(plan, State(READ_ROLE, READ_PROFILE))
    assert (result["role"]["arn"], result["instance_profile"]["arn"], result["blockers"]) == (
        "arn:role",
        "arn:profile",
        [],
    )


def test_the_diff_is_the_state():
    assert resource().to_diff(State()) == {"role": None, "instance_profile": None}


def test_blockers_are_in_the_result_and_in_a_warning():
    absent = resource(present=False)
    plan = absent.plan(State(SHARED_ROLE, PROFILE))
    assert plan.summaries == ["detach CloudWatchAgentServerPolicy from role 'R'"]
    assert absent.to_result(plan, plan.planned)["blockers"] == [f"policy {UNMANAGED}"]
    assert absent.warnings(plan) == [f"role 'R' was not deleted; still attached: policy {UNMANAGED}"]


def test_a_complete_deletion_has_no_warning():
    absent = resource(present=False)
    assert absent.warnings(absent.plan(State(ROLE, PROFILE))) == []


def test_another_role_in_the_profile_causes_a_warning():
    exclusive = resource(exclusive=True)
    [warning] = exclusive.warnings(exclusive.plan(OTHER_ROLE_IN_PROFILE))
    assert "role 'S' for up to one more hour" in warning


def test_a_role_of_others_without_trust_causes_a_warning():
    current = State(Role("R", {"Version": "2012-10-17", "Statement": []}, PrincipalState()), PROFILE)
    [warning] = resource().warnings(resource().plan(current))
    assert "its trust policy was not changed" in warning


def test_a_region_that_cannot_use_the_role_causes_a_warning():
    aws: Any = None
    trust = HybridTrust("aws", "123456789012", frozenset({"eu-central-1"}))
    hybrid = RoleResource(aws, DesiredRole("R", declare(), None, trust), present=True)
    [warning] = hybrid.warnings(hybrid.plan(State(ROLE)))
    assert warning.startswith("role 'R' has a trust policy that somebody else wrote or extended")
    assert hybrid.warnings(hybrid.plan(State())) == []


def test_a_boundary_that_does_not_exist_is_invalid_input_when_it_is_read_first():
    aws = RecordedAws(ANSWERS)
    bounded = resource(aws=aws, boundary=BOUNDARY)
    with pytest.raises(InvalidInput, match=r"permissions_boundary: policy .* does not exist"):
        bounded.read()
    assert aws.actions[-1] == "iam:GetPolicy"
    assert bounded.read_again() == State(READ_ROLE, READ_PROFILE)


@pytest.mark.parametrize(
    ("present", "boundary"), [(True, None), (True, "none"), (True, "arn:boundary"), (False, BOUNDARY)]
)
def test_a_boundary_is_looked_up_only_where_it_would_be_set(present, boundary):
    aws = RecordedAws(ANSWERS)
    resource(present, aws, boundary=boundary).read()
    assert "iam:GetPolicy" not in aws.actions
