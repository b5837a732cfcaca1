"""The quota of policies of a role, which the emulators cannot raise, and the others that have a role."""

from __future__ import annotations

from typing import Any

import pytest
from aws_account import ACCOUNT_ID, REGION, Account

from ansible_collections.cwagent.iam.plugins.module_utils._fitting.application_roles import AttachmentResource
from ansible_collections.cwagent.iam.plugins.module_utils._fitting.application_roles_plan import (
    POLICY,
    Attachments,
    State,
)

ELSEWHERE = "us-east-1"
RAISED = {"SummaryMap": {"AttachedPoliciesPerRoleQuota": 20}}


def described(name: str, *policies: str) -> dict[str, Any]:
    return {
        "RoleName": name,
        "Arn": f"arn:aws:iam::{ACCOUNT_ID}:role/{name}",
        "Path": "/",
        "AssumeRolePolicyDocument": {"Statement": []},
        "AttachedManagedPolicies": [{"PolicyArn": f"arn:aws:iam::aws:policy/{each}"} for each in policies],
        "InstanceProfileList": [{"InstanceProfileName": name}],
    }


def account_with(*roles: dict[str, Any]) -> Account:
    found = Account()
    found.regions[ELSEWHERE] = {}
    found.answer("get_account_authorization_details", {"RoleDetailList": list(roles), "IsTruncated": False})
    return found


def read(account: Account, *roles: str) -> State:
    """Read for an instance with each role, in the module's region and in another one."""
    wanted = Attachments(frozenset(roles), {name: ["i-1"] for name in roles})
    regions = {"": account.aws(), ELSEWHERE: account.aws(ELSEWHERE)}
    return AttachmentResource(regions, wanted, {region: ["i-1"] for region in regions}, check_mode=False).read()


@pytest.mark.parametrize(
    ("attached", "has_policy", "expected"),
    [
        ({"Shop": 3}, False, 10),
        ({"Shop": 9}, False, 10),
        ({"Shop": 10}, True, 10),  # nothing is attached
        ({"Shop": 10}, False, 20),
        ({"Shop": 11}, True, 10),
        ({"Shop": 9, "Batch": 10}, False, 20),
    ],
)
def test_the_quota_is_read_only_if_a_role_would_exceed_the_default(attached, has_policy, expected):
    first = [POLICY] if has_policy else ["other"]
    account = account_with(*(described(name, *first, *map(str, range(1, count))) for name, count in attached.items()))
    account.answer("get_account_summary", RAISED)

    state = read(account, *attached)

    assert state.max_policies == expected
    assert account.count("get_account_summary") == (expected == 20)


def test_running_instances_that_are_not_listed_are_named_with_their_region():
    account = account_with(described("Shop"))
    for region, instances in {REGION: ("i-1", "i-2", "i-3"), ELSEWHERE: ("i-4",)}.items():
        for each in instances:
            account.add_instance(each, "Shop", region=region, state="terminated" if each == "i-3" else "running")
    account.add_instance("i-5", "Batch", region=ELSEWHERE)
    assert read(account, "Shop").others == {"Shop": [f"i-2 in {REGION}", f"i-4 in {ELSEWHERE}"]}
