"""Reads of a role, and what they lead to. The properties of plans read all other states of it."""

from __future__ import annotations

from typing import Any

import pytest
from aws_account import ACCOUNT_ID, Account
from declarations import BOUNDARY, CREATED_TAGS, FITTED, OTHER_BOUNDARY, SERVER, UNMANAGED, declare

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role import RoleResource
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import (
    DesiredRole,
    Ec2Trust,
    HybridTrust,
    InstanceProfile,
    Role,
    State,
)

TRUST = Ec2Trust().new_policy()
CURRENT = PrincipalState("/m/", frozenset({SERVER, UNMANAGED}), boundary=OTHER_BOUNDARY, tags=CREATED_TAGS)
ROLE = Role("R", TRUST, CURRENT, arn="arn:aws:iam::123456789012:role/m/R")
PROFILE = InstanceProfile("P", role="R", arn="arn:aws:iam::123456789012:instance-profile/P", id="AIPA")
OTHER_ROLE_IN_PROFILE = State(ROLE, InstanceProfile("P", role="S"))
READ_PROFILE = ["get_instance_profile", "list_instance_profiles_for_role"]
READ_ROLE = ["get_role", "list_attached_role_policies", "list_role_policies"]


@pytest.fixture
def account() -> Account:
    found = Account()
    found.put_role("R", State(ROLE, PROFILE, frozenset({"Q"})))
    return found


def resource(account: Account | None = None, present: bool = True, hybrid: Any = None, **declared: Any) -> RoleResource:
    """:param hybrid: the trust of a role for hybrid servers."""
    desired = DesiredRole("R", declare(**declared), None if hybrid else "P", hybrid or Ec2Trust())
    return RoleResource((account or Account()).aws(), desired, present)


@pytest.mark.parametrize(
    ("present", "hybrid", "state", "more"),
    [
        (True, None, State(ROLE, PROFILE), READ_PROFILE[:1]),
        (False, None, State(ROLE, PROFILE, frozenset({"Q"})), READ_PROFILE),
        *((present, HybridTrust("aws", ACCOUNT_ID), State(ROLE), []) for present in (True, False)),
    ],
)
def test_profiles_are_read_for_ec2_and_others_only_before_a_deletion(account, present, hybrid, state, more):
    assert resource(account, present, hybrid).read() == state
    assert account.operations == READ_ROLE + more


def test_absence_is_read_with_one_call_for_each_entity():
    account = Account()
    assert resource(account, present=False).read() == State()
    assert account.operations == ["get_role", "get_instance_profile"]


def test_a_plan_that_would_lose_something_is_invalid_unless_it_deletes():
    with pytest.raises(InvalidInput, match="contains role 'S'"):
        resource().plan(OTHER_ROLE_IN_PROFILE)
    plan = resource(present=False, path="/other/").plan(OTHER_ROLE_IN_PROFILE)
    assert plan.planned.profile == OTHER_ROLE_IN_PROFILE.profile


def test_a_stale_read_after_the_writes_is_not_invalid_input():
    plan = resource().plan(State())
    assert resource().remaining(plan, OTHER_ROLE_IN_PROFILE) == [
        "remove role 'S' from instance profile 'P'",
        "add role 'R' to instance profile 'P'",
    ]


@pytest.mark.parametrize(
    ("options", "current", "warning"),
    [
        ({"exclusive": True}, OTHER_ROLE_IN_PROFILE, "role 'S' for up to one more hour"),
        ({"hybrid": HybridTrust("aws", ACCOUNT_ID, frozenset({"eu-central-1"}))}, State(ROLE), "somebody else wrote"),
        ({"present": False}, State(ROLE), f"still attached: policy {UNMANAGED}"),
    ],
)
def test_the_warnings_are_those_of_the_plan(options, current, warning):
    found = resource(**options)
    assert warning in " ".join(found.warnings(found.plan(current)))
    assert found.warnings(found.plan(State())) == []


@pytest.mark.parametrize(
    ("present", "boundary"), [(True, None), (True, "none"), (True, OTHER_BOUNDARY), (False, BOUNDARY)]
)
def test_a_boundary_is_looked_up_only_where_it_would_be_set(account, present, boundary):
    resource(account, present, boundary=boundary).read()
    assert "get_policy" not in account.operations


@pytest.mark.parametrize(
    ("others", "quota", "first", "reads"),
    [(8, 10, "Attach", 0), (9, 10, "Detach", 1), (9, 11, "Attach", 1), (9, None, "Detach", 1), (10, 11, "Detach", 1)],
)
def test_new_policies_come_first_as_far_as_the_quota_of_the_account_allows(others, quota, first, reads):
    account = Account()
    policies = frozenset({SERVER, *(f"{UNMANAGED}{number}" for number in range(others))})
    account.put_role("R", State(Role("R", TRUST, PrincipalState(policies=policies)), PROFILE))
    account.answer("get_account_summary", {"SummaryMap": {"AttachedPoliciesPerRoleQuota": quota} if quota else {}})
    found = resource(account, access_policies=FITTED[:1])
    state = found.read()
    actions = [step.action for step in found.plan(state).all_steps if "tach" in step.action]
    assert actions[0] == f"iam:{first}RolePolicy"
    assert account.count("get_account_summary") == reads
    # With nothing to attach, the quota makes no difference.
    idle = resource(account)
    assert idle.read().max_policies == 10
    assert account.count("get_account_summary") == reads
