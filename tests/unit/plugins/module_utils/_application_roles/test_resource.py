"""The quota of policies of a role, which the emulators cannot raise."""

from __future__ import annotations

from typing import Any

import pytest
from aws_account import ACCOUNT_ID, Account

from ansible_collections.cwagent.iam.plugins.module_utils._application_roles.plan import POLICY, Attachments
from ansible_collections.cwagent.iam.plugins.module_utils._application_roles.resource import AttachmentResource

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


@pytest.mark.parametrize(
    ("attached", "has_policy", "expected"),
    [
        ({"Shop": 3}, False, 10),
        ({"Shop": 9}, False, 10),
        ({"Shop": 10}, True, 10),
        ({"Shop": 10}, False, 20),
        ({"Shop": 11}, True, 10),  # nothing is attached
        ({"Shop": 12}, False, 20),
        ({"Shop": 9, "Batch": 10}, False, 20),
    ],
)
def test_the_quota_is_read_only_if_a_role_would_exceed_the_default(attached, has_policy, expected):
    account = Account()
    roles = [
        described(name, *[POLICY] * has_policy, *map(str, range(has_policy, count))) for name, count in attached.items()
    ]
    account.answer("get_account_authorization_details", {"RoleDetailList": roles, "IsTruncated": False})
    account.answer("get_account_summary", RAISED)
    account.answer("describe_iam_instance_profile_associations", {"IamInstanceProfileAssociations": []})
    wanted = Attachments(frozenset(attached), {name: ["i-1"] for name in attached})

    state = AttachmentResource({"": account.aws()}, wanted, {"": ["i-1"]}, check_mode=False).read()

    assert state.max_policies == expected
    assert account.count("get_account_summary") == (expected == 20)
