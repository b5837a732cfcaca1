"""The principals that can change policies so that a principal of the agent can write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from access_account import (
    ACCOUNT_ID,
    ADMIN,
    ADMINISTRATOR,
    CLOSED,
    CONFIGURATIONS,
    HEALTHY,
    NOW,
    SERVER,
    case_of,
    document,
    hybrid_role,
    role,
    user,
    window,
    with_fitted_policies,
)

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.assess import apply_simulations, find_grantors
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import Policy
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import Opening, open_policy

EXAMPLES = Path(__file__).parents[5] / "examples" / "policies"
WRITE = document("ssm:PutParameter", resource=CONFIGURATIONS)
MFA: dict[str, Any] = {"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}
NOT_READ = Policy("(not read)", None)


def arn(kind, name):
    return f"arn:aws:iam::{ACCOUNT_ID}:{kind}/{name}"


def account_with(*principals):
    return replace(HEALTHY, principals=principals)


def granted(account):
    """By the name of each principal that can let others write, whether that is known."""
    return {each.name: each.can_grant for each in find_grantors(case_of(account))}


def own_policy(*statements, name="own"):
    return Policy(name, {"Version": "2012-10-17", "Statement": list(statements)}, arn("policy", name))


def ops(*statements, **more):
    return user("ops", own_policy(*statements), tags={}, **more)


def allow(*actions, resource="*", **more):
    return document(*actions, resource=resource, **more)["Statement"][0]


def deny(*actions, resource="*", **more):
    return allow(*actions, resource=resource, effect="Deny", **more)


ROLE, SERVERS = role("Admin", ADMIN, CLOSED), role("Server", SERVER)
DB, KEEPER = user("db1", SERVER), user("keeper", ADMIN, CLOSED)
OF_OTHERS = role("App", Policy("x", document("s3:*")), tags={})
OWN_SERVER = Policy("fit", SERVER.document, arn("policy", "fit"))
NARROW = Policy("narrow", document("cloudwatch:*"), arn("policy", "narrow"))
WIDE = Policy("wide", document("ssm:*"), arn("policy", "wide"))
DENIED = Policy("deny", document("ssm:*", effect="Deny"))
ONLY_SERVER_POLICY = {"Condition": {"ArnEquals": {"iam:PolicyARN": SERVER.arn}}}
WITH_ADMIN_POLICY = {"Condition": {"ArnEquals": {"iam:PolicyARN": [SERVER.arn, ADMIN.arn]}}}
BOUNDED = {"Condition": {"ArnEquals": {"iam:PermissionsBoundary": WIDE.arn}}}
UNBOUNDED = {"Condition": {"ArnNotEquals": {"iam:PermissionsBoundary": WIDE.arn}}}
MARKED = {"Condition": {"StringEquals": {"iam:ResourceTag/cwagent:managed": "created"}}}
UNMARKED = {"Condition": {"StringEquals": {"aws:ResourceTag/cwagent:managed": "adopted"}}}

GRANTS = {
    "the window of a role": (ROLE, [allow("iam:PutRolePolicy", resource=ROLE.arn)], "yes"),
    "the window of a user": (KEEPER, [allow("iam:PutUserPolicy", resource=KEEPER.arn)], "yes"),
    "an inline policy of a server": (SERVERS, [allow("iam:PutRolePolicy")], "yes"),
    "an inline policy of a server's user": (DB, [allow("iam:Put*")], "yes"),
    "deleting the window of a role": (ROLE, [allow("iam:DeleteRolePolicy")], "yes"),
    "deleting the window of a user": (KEEPER, [allow("iam:DeleteUserPolicy")], "yes"),
    "deleting a policy where no window is": (SERVERS, [allow("iam:DeleteRolePolicy")], None),
    "deleting a window without the admin policy": (role("R", SERVER, CLOSED), [allow("iam:DeleteRolePolicy")], None),
    "attaching a policy to a server": (SERVERS, [allow("iam:AttachRolePolicy")], "yes"),
    "attaching a policy to a user": (DB, [allow("iam:AttachUserPolicy")], "yes"),
    "attaching a policy while the window is closed": (ROLE, [allow("iam:AttachRolePolicy")], None),
    "attaching the admin policy": (SERVERS, [allow("iam:AttachRolePolicy", **WITH_ADMIN_POLICY)], "yes"),
    "attaching the server policy": (SERVERS, [allow("iam:AttachRolePolicy", **ONLY_SERVER_POLICY)], None),
    "a policy of a server": (
        role("R", OWN_SERVER),
        [allow("iam:CreatePolicyVersion", resource=OWN_SERVER.arn)],
        "yes",
    ),
    "another policy": (role("R", OWN_SERVER), [allow("iam:CreatePolicyVersion", resource=NARROW.arn)], None),
    "a policy of AWS": (SERVERS, [allow("iam:CreatePolicyVersion")], None),
    "a policy while the window is closed": (
        role("R", OWN_SERVER, CLOSED),
        [allow("iam:CreatePolicyVersion")],
        None,
    ),
    "a boundary that denies writing": (role("R", SERVER, boundary=NARROW), [allow("iam:*")], None),
    "a boundary that allows writing": (role("R", SERVER, boundary=WIDE), [allow("iam:*")], "yes"),
    "a boundary that was not read": (role("R", SERVER, boundary=NOT_READ), [allow("iam:*")], "unknown"),
    "a Deny in another policy": (role("R", SERVER, DENIED), [allow("iam:*")], None),
    "the boundary that the call needs": (
        role("R", SERVER, boundary=WIDE),
        [allow("iam:PutRolePolicy", **BOUNDED)],
        "yes",
    ),
    "a boundary that the role lacks": (SERVERS, [allow("iam:PutRolePolicy", **BOUNDED)], None),
    "a Deny without a boundary": (SERVERS, [allow("iam:*"), deny("iam:*", **UNBOUNDED)], None),
    "a tag": (SERVERS, [allow("iam:PutRolePolicy", **MARKED)], "yes"),
    "another value of a tag": (SERVERS, [allow("iam:PutRolePolicy", **UNMARKED)], None),
    "a session with MFA": (ROLE, [allow("iam:PutRolePolicy", **MFA)], "unknown"),
    "a Deny": (ROLE, [allow("iam:*"), deny("iam:*")], None),
    "a Deny for one action": (ROLE, [allow("iam:*"), deny("iam:PutRolePolicy")], "yes"),
    "another role": (ROLE, [allow("iam:PutRolePolicy", resource=OF_OTHERS.arn)], None),
    "an action that changes no policy": (ROLE, [allow("iam:GetRolePolicy", "iam:TagRole", "iam:PassRole")], None),
    "a role that is not for the agent": (OF_OTHERS, [allow("iam:*")], None),
}


@pytest.mark.parametrize(("target", "statements", "expected"), GRANTS.values(), ids=GRANTS)
def test_whoever_can_let_a_principal_of_the_agent_write_is_listed(target, statements, expected):
    found = granted(account_with(target, ops(*statements)))
    assert found == ({"ops": expected} if expected else {})


@pytest.mark.parametrize("boundary", [None, NARROW])
def test_a_boundary_of_the_grantor_counts(boundary):
    assert granted(account_with(ROLE, ops(allow("iam:*"), boundary=boundary))) == ({} if boundary else {"ops": "yes"})


def test_a_role_can_grant_and_even_a_principal_of_the_agent_can():
    controller = role("Controller", own_policy(allow("iam:PutRolePolicy")), tags={})
    own = role("Server", SERVER, own_policy(allow("iam:PutRolePolicy"), name="iam"))
    assert granted(account_with(ROLE, controller, own)) == {"Controller": "yes", "Server": "yes"}


def test_the_reason_is_a_call_that_is_certainly_allowed_if_there_is_one():
    maybe, sure = allow("iam:PutRolePolicy", **MFA), allow("iam:PutUserPolicy")
    [both] = find_grantors(case_of(account_with(ROLE, DB, ops(maybe, sure))))
    assert (both.kind, both.name, both.arn) == ("user", "ops", arn("user", "ops"))
    assert (both.can_grant, both.why) == ("yes", f"It may call iam:PutUserPolicy on {DB.arn}.")
    [one] = find_grantors(case_of(account_with(ROLE, DB, ops(maybe))))
    assert one.why == f"It may call iam:PutRolePolicy on {ROLE.arn} if the conditions hold, which is not known."


OPENED = role(
    "Admin", ADMIN, window(open_policy(Opening(NOW.replace(hour=17), "i-9"))), Policy("iam", document("iam:*"))
)


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (user("ops", ADMINISTRATOR, tags={}), {}),
        (user("ops", Policy("p", document("ssm:*", "iam:*")), tags={}), {}),
        (OPENED, {}),
        (user("ops", NOT_READ, tags={}), {}),
        (user("ops", NOT_READ, Policy("p", document("iam:*")), tags={}), {}),
        (user("ops", Policy("p", document("iam:*")), Policy("w", document("ssm:*", **MFA)), tags={}), {"ops": "yes"}),
    ],
    ids=["administrator", "writer", "open window", "unread", "unread with IAM", "perhaps a writer"],
)
def test_a_principal_is_listed_once(principal, expected):
    """A principal that can write now is only a writer, and a principal that was not read is unknown once."""
    assert granted(account_with(SERVERS, principal)) == expected


def test_a_writer_that_iam_denies_can_still_grant():
    case = case_of(account_with(SERVERS, user("ops", Policy("p", document("ssm:*", "iam:*")), tags={})))
    denied = apply_simulations(case.assessments, {arn("user", "ops"): False})
    assert [each.name for each in find_grantors(replace(case, assessments=denied))] == ["ops"]


NAMED = account_with(
    role("CloudWatchAgentAdminRole", ADMIN, CLOSED),
    role("CloudWatchAgentServerRole", SERVER),
    hybrid_role(),
    user("CloudWatchAgentAdminUser", ADMIN, CLOSED),
    user("CloudWatchAgentServerUser-db1", SERVER),
)
OPENS_WINDOW = {"provision", "restore", "store-configuration", "teardown"}


@pytest.mark.parametrize(
    ("account", "expected"),
    [(NAMED, OPENS_WINDOW), (with_fitted_policies(NAMED), OPENS_WINDOW | {"fitted-policies"})],
    ids=["policies of AWS", "fitted policies"],
)
def test_the_example_policies_grant_what_the_security_page_says(account, expected):
    """security.rst lists the policies that open or delete the window, or change a fitted policy."""
    texts = {path.stem: json.loads(path.read_text()) for path in EXAMPLES.glob("*.json")}
    assert len(texts) > 10
    listed = {
        name
        for name, text in texts.items()
        if granted(replace(account, principals=(*account.principals, user("ops", Policy(name, text), tags={}))))
    }
    assert listed == expected


def test_an_account_without_principals_of_the_agent_has_no_grantors():
    assert granted(account_with(ops(allow("iam:*")))) == {}
