from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from access_account import (
    ACCOUNT_ID,
    ADMIN,
    ADMINISTRATOR,
    AGENT,
    ARN,
    CLOSED,
    CONFIGURATIONS,
    CORE,
    HEALTHY,
    HYBRID,
    NOW,
    OLD_SSM,
    REGION,
    SERVER,
    activation,
    case_of,
    document,
    found,
    healthy,
    history,
    hybrid_role,
    hybrid_trust,
    instance,
    key,
    node,
    parameter,
    profile,
    role,
    trust,
    user,
    version,
    window,
    with_fitted_policies,
)
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_input import RESTORE, Choices
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_result import RULES, count_severities, find
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import (
    PARAMETERS,
    Policy,
    SavedKeyWithoutUser,
    Unread,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import ATTACHED_TAG, WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    PUT,
    TIME_FORMAT,
    Opening,
    WindowParameter,
    closed_policy,
    open_policy,
)

WRITE = document("ssm:PutParameter", resource=CONFIGURATIONS)
LATER, EARLIER = NOW + timedelta(minutes=10), NOW - timedelta(minutes=10)
TAG = "cwagent:earlier-profile"
FOREIGN: dict[str, str] = {}


def later_than(time: datetime) -> dict[str, Any]:
    return {"DateGreaterThan": {"aws:CurrentTime": time.strftime(TIME_FORMAT)}}


def opened(deadline=LATER, instance_id="i-9", *parameters):
    return window(open_policy(Opening(deadline, instance_id, parameters)))


def changed_window(*statements):
    return window({"Version": "2012-10-17", "Statement": [*closed_policy()["Statement"], *statements]})


def boundary(*actions, name="Boundary"):
    return Policy(name, document(*actions), f"arn:aws:iam::{ACCOUNT_ID}:policy/{name}")


def open_for(number):
    return role("Opened", ADMIN, opened(LATER, f"i-{number}", WindowParameter("AmazonCloudWatch-linux", REGION)))


def test_a_healthy_account_keeps_all_rules():
    assert found(HEALTHY) == []


DIFFERENT = {"Sid": "Other", "Effect": "Deny", "Action": "ssm:AddTagsToResource", "Resource": "*"}
SMALL_BOUNDARY = boundary(*AGENT)
AGENT_BOUNDARY = boundary(*AGENT, "ssm:*")
KEY_WITHOUT_USER = SavedKeyWithoutUser(
    "gone", "eu-central-1", "parameter_store", "SSM parameter /keys/gone in eu-central-1"
)

RECORDED = {f"{TAG}:{REGION}:i-2": "App", "cwagent:managed": "created"}
PLANTED = {
    "the admin policy on several instances": (
        healthy(role("Foreign", ADMIN, tags=FOREIGN), instance(2, "Foreign"), instance(3, "Foreign")),
        ("admin-on-instances", "error", "Foreign"),
    ),
    "a window that was changed to serve every instance": (
        healthy(role("Unbound", ADMIN, opened(instance_id=None)), instance(2, "Unbound"), instance(3, "Unbound")),
        ("window-modified", "error", "Unbound"),
    ),
    "the permanent admin policy": (
        healthy(role("Foreign", ADMIN, tags=FOREIGN), instance(2, "Foreign")),
        ("admin-without-window", "error", "Foreign"),
    ),
    "the permanent admin policy, on no instance that can start": (
        healthy(
            role("Foreign", ADMIN, tags=FOREIGN),
            instance(2, "Foreign", state="terminated"),
            instance(3, "Foreign", state="shutting-down"),
        ),
        ("admin-without-window", "error", "Foreign"),
    ),
    "the permanent admin policy of a managed role": (
        healthy(role("Mine", ADMIN)),
        ("admin-without-window", "error", "Mine"),
    ),
    "a user with the permanent admin policy": (
        healthy(user("foreign", ADMIN, tags=FOREIGN, keys=(key(3),))),
        ("admin-without-window", "error", "foreign"),
    ),
    "the admin profile without a window": (
        healthy(instance(2, "Admin")),
        ("admin-instance-without-window", "warning", "i-2"),
    ),
    "the admin profile in the inventory": (
        healthy(instance(2, "Admin", in_inventory=True)),
        ("admin-instance-without-window", "warning", "i-2"),
    ),
    "the admin profile with a record": (
        healthy(role("Recording", ADMIN, CLOSED, tags=RECORDED), instance(2, "Admin")),
        ("admin-instance-without-window", "warning", "i-2"),
    ),
    "the admin profile with a window for another instance": (
        healthy(open_for(2), instance(2, "Opened"), instance(3, "Opened", state="stopped")),
        ("admin-instance-without-window", "warning", "i-3"),
    ),
    "a window after its deadline": (
        healthy(role("Late", ADMIN, opened(EARLIER))),
        ("window-expired", "notice", "Late"),
    ),
    "a changed window that denies": (
        healthy(role("Changed", ADMIN, changed_window(DIFFERENT)), instance(2, "Changed")),
        ("window-modified", "warning", "Changed"),
    ),
    "a changed window that allows": (
        healthy(
            role("Changed", ADMIN, window(document("ssm:PutParameter", resource="*"))),
            instance(2, "Changed"),
            instance(3, "Changed"),
        ),
        ("window-modified", "error", "Changed"),
    ),
    "a server that can write": (
        healthy(role("Writing", SERVER, Policy("more", WRITE))),
        ("server-writes", "error", "Writing"),
    ),
    "an unmanaged writer": (
        healthy(user("writer", Policy("more", WRITE, group="writers"), tags=FOREIGN)),
        ("unmanaged-writer", "warning", "writer"),
    ),
    "an unmanaged writer with several policies": (
        healthy(user("w", Policy("a", WRITE), Policy("b", WRITE, group="g"), tags=FOREIGN)),
        ("unmanaged-writer", "warning", "w"),
    ),
    "administrators": (
        healthy(*(user(name, ADMINISTRATOR, tags=FOREIGN) for name in ("alice", "bob"))),
        ("administrators", "notice", ACCOUNT_ID),
    ),
    "an administrator without IAM": (
        healthy(user("alice", Policy("power", document("ssm:*", "ec2:*", "s3:*", "lambda:*")), tags=FOREIGN)),
        ("administrators", "notice", ACCOUNT_ID),
    ),
    "an administrator with an admin policy": (
        healthy(user("alice", ADMINISTRATOR, ADMIN, tags=FOREIGN)),
        ("administrators", "notice", ACCOUNT_ID),
    ),
    "an administrator on an instance": (
        healthy(role("Root", ADMINISTRATOR, tags=FOREIGN), instance(2, "Root")),
        ("administrator-on-instance", "error", "i-2"),
    ),
    "an active key of a closed window": (
        healthy(user("admin2", ADMIN, CLOSED, keys=(key(3),))),
        ("admin-key-active", "warning", "AKIA3"),
    ),
    "an old key": (healthy(user("db2", SERVER, keys=(key(3, days=90),))), ("key-old", "warning", "AKIA3")),
    "an old key of an admin user": (
        healthy(user("admin2", ADMIN, CLOSED, keys=(key(3, days=90, active=False),))),
        ("key-old", "notice", "AKIA3"),
    ),
    "an old key of others": (
        healthy(user("db2", SERVER, tags=FOREIGN, keys=(key(3, days=90),))),
        ("key-old", "warning", "AKIA3"),
    ),
    "an unused key": (
        healthy(user("db2", SERVER, keys=(key(3, days=7, used=False),))),
        ("key-unused", "notice", "AKIA3"),
    ),
    "a key that is not saved": (
        healthy(user("db2", SERVER, keys=(key(3, saved=False),))),
        ("key-not-saved", "warning", "AKIA3"),
    ),
    "a key that was replaced, in the grace period": (
        healthy(user("db2", SERVER, keys=(key(3, days=30, active=False, saved=False), key(4, days=1)))),
        ("key-not-saved", "notice", "AKIA3"),
    ),
    "a key that is not saved, beside a key of the same age": (
        healthy(user("db2", SERVER, keys=(key(3, active=False, saved=False), key(4)))),
        ("key-not-saved", "warning", "AKIA3"),
    ),
    "a key of others that is not saved": (
        healthy(user("db2", SERVER, tags=FOREIGN, keys=(key(3, days=30, active=False, saved=False), key(4)))),
        ("key-not-saved", "warning", "AKIA3"),
    ),
    "a second key during a replacement": (
        healthy(user("db2", SERVER, keys=(key(3, days=30), key(4, days=6)))),
        ("key-two-active", "notice", "db2"),
    ),
    "a second key": (
        healthy(user("db2", SERVER, keys=(key(4, days=7), key(3, days=30)))),
        ("key-two-active", "warning", "db2"),
    ),
    "the deprecated policy": (healthy(role("Ssm", OLD_SSM, tags=FOREIGN)), ("deprecated-ssm-policy", "warning", "Ssm")),
    "the deprecated policy of a managed role": (
        healthy(role("Ssm", SERVER, OLD_SSM)),
        ("deprecated-ssm-policy", "warning", "Ssm"),
    ),
    "another policy of an admin role": (
        healthy(role("Admin2", ADMIN, CLOSED, Policy("more", document("s3:*")), tags=FOREIGN)),
        ("admin-unmanaged-policies", "warning", "Admin2"),
    ),
    "a group of an admin user": (
        healthy(user("admin2", ADMIN, CLOSED, replace(SERVER, group="servers"))),
        ("admin-unmanaged-policies", "warning", "admin2"),
    ),
    "others that may assume an admin role": (
        healthy(role("Admin2", ADMIN, CLOSED, trust=trust({"AWS": "*"}))),
        ("admin-unmanaged-trust", "error", "Admin2"),
    ),
    "others that may assume a server role": (
        healthy(role("Servers", SERVER, trust=trust({"AWS": "arn:aws:iam::210987654321:root"}))),
        ("server-unmanaged-trust", "notice", "Servers"),
    ),
    "a boundary without metrics": (
        healthy(role("Bounded", SERVER, boundary=boundary("logs:*", "ssm:*"))),
        ("boundary-blocks-agent", "warning", "Bounded"),
    ),
    "a boundary on an instance in the inventory": (
        healthy(
            role("Bounded", SERVER, boundary=boundary("logs:*", "ssm:*")), instance(2, "Bounded", in_inventory=True)
        ),
        ("boundary-blocks-agent", "warning", "Bounded"),
    ),
    "a profile of ours without a role": (
        replace(HEALTHY, profiles=(profile("Admin", None), profile("Server", "Server"), profile("Other", None))),
        ("profile-without-role", "warning", "Admin"),
    ),
    "a profile without a role on an instance": (
        healthy(profile("Empty", None), instance(2, "Empty", in_inventory=True)),
        ("profile-without-role", "warning", "Empty"),
    ),
    "an instance without a profile": (
        healthy(instance(2, None, in_inventory=True)),
        ("instance-without-access", "warning", "i-2"),
    ),
    "an instance with another role": (
        healthy(instance(2, "App", in_inventory=True)),
        ("instance-without-access", "warning", "i-2"),
    ),
    "an instance whose role has another boundary": (
        healthy(
            role("Foreign", Policy("all", document("cloudwatch:*", "logs:*")), boundary=SMALL_BOUNDARY, tags={}),
            instance(2, "Foreign", in_inventory=True),
        ),
        ("instance-without-access", "warning", "i-2"),
    ),
    "a parameter that a server may not read": (
        healthy(
            role("Deaf", SERVER, Policy("deny", document("ssm:*", effect="Deny", resource="*-hidden"))),
            parameter("hidden"),
        ),
        ("parameter-unreadable", "warning", "AmazonCloudWatch-hidden"),
    ),
    "a parameter near its limit": (
        healthy(parameter("large", json.dumps({"agent": {"x": "y" * 3700}}))),
        ("parameter-near-limit", "notice", "AmazonCloudWatch-large"),
    ),
    "a parameter that is no configuration": (
        healthy(parameter("bad", "[]")),
        ("parameter-invalid", "warning", "AmazonCloudWatch-bad"),
    ),
    "a parameter of another type": (
        healthy(parameter("list", None, type="StringList")),
        ("parameter-invalid", "warning", "AmazonCloudWatch-list"),
    ),
    "a version that somebody else wrote": (
        healthy(history(version(1, f"arn:aws:iam::{ACCOUNT_ID}:user/x"))),
        ("version-by-others", "error", "AmazonCloudWatch-linux"),
    ),
    "an earlier version that somebody else wrote": (
        healthy(history(version(2), version(1, f"arn:aws:iam::{ACCOUNT_ID}:root"))),
        ("version-by-others", "notice", "AmazonCloudWatch-linux"),
    ),
    "a history that begins after the admin role": (
        healthy(role("CloudWatchAgentAdminRole", ADMIN, CLOSED), history(version(1))),
        ("history-starts-late", "notice", "AmazonCloudWatch-linux"),
    ),
    "a saved key without a user": (healthy(KEY_WITHOUT_USER), ("saved-key-without-user", "notice", "gone")),
    "a restore tag": (healthy(instance(2, None, restore_tag="App")), ("restore-tag", "warning", "i-2")),
    "a restore tag with a record": (
        healthy(role("Recording", ADMIN, CLOSED, tags=RECORDED), instance(2, "App", restore_tag="App")),
        ("restore-tag", "warning", "i-2"),
    ),
    "a hybrid role with the admin policy": (
        healthy(hybrid_role(SERVER, CORE, ADMIN), node(1)),
        ("hybrid-role-admin", "error", HYBRID),
    ),
    "a hybrid role with a closed window": (
        healthy(hybrid_role(SERVER, CORE, ADMIN, CLOSED)),
        ("hybrid-role-admin", "error", HYBRID),
    ),
    "a hybrid role with a changed window": (
        healthy(hybrid_role(SERVER, CORE, changed_window(DIFFERENT))),
        ("hybrid-role-admin", "error", HYBRID),
    ),
    "the admin policy of another role of our nodes": (
        healthy(hybrid_role(ADMIN, name="Other", tags=FOREIGN), node(1, role="Other")),
        ("hybrid-role-admin", "error", "Other"),
    ),
    "a hybrid role that may write": (
        healthy(hybrid_role(SERVER, Policy("write", WRITE)), node(1)),
        ("server-writes", "error", HYBRID),
    ),
    "a server that administers the account": (
        healthy(hybrid_role(SERVER, ADMINISTRATOR), node(1)),
        ("administrator-on-instance", "error", "mi-1"),
    ),
    "a hybrid role that other accounts can use": (
        healthy(hybrid_role(trust=trust({"Service": "ssm.amazonaws.com"}))),
        ("hybrid-role-trust", "warning", HYBRID),
    ),
    "a hybrid role for any account": (
        healthy(hybrid_role(trust=hybrid_trust(StringLike={"aws:SourceAccount": "*"}))),
        ("hybrid-role-trust", "warning", HYBRID),
    ),
    "an activation of others": (healthy(activation(1)), ("activation-unused", "warning", "activation-1")),
    "an activation of ours": (
        healthy(activation(1, role="Other", is_ours=True)),
        ("activation-unused", "notice", "activation-1"),
    ),
    "nodes of others": (
        healthy(node(1, is_ours=False), node(2, is_ours=False)),
        ("node-not-managed", "notice", HYBRID),
    ),
}


def test_each_rule_is_here_once_and_has_a_violation():
    # The last ones depend on the inventory or on several objects, and have separate tests.
    of_inventory = {"user-without-host", "attached-policy", "policy-without-tag", "unused-permissions", "fitted-policy"}
    planted = {rule for _, (rule, _, _) in PLANTED.values()}
    assert sorted(rule.name for rule in RULES) == sorted(planted | of_inventory)


@pytest.mark.parametrize(("account", "expected"), PLANTED.values(), ids=PLANTED)
def test_a_violation_is_one_finding(account, expected):
    assert found(account) == [expected]
    [severities] = [each.severities for each in RULES if each.name == expected[0]]
    assert expected[1] in severities
    assert found(with_fitted_policies(account)) == [expected]
    [finding] = find(case_of(account))
    assert finding.listed == (expected[0] not in ("administrators", "node-not-managed", "history-starts-late"))


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ({"Principal": {"AWS": ["arn:aws:iam::210987654321:root", "AIDA1"]}}, "AIDA1, arn:aws:iam::210987654321:root."),
        ({"Principal": {"Service": "ecs.amazonaws.com", "Federated": "idp"}}, "ecs.amazonaws.com, idp."),
        ({"Principal": "*"}, r"everybody \(\*\)."),
        ({"NotPrincipal": {"AWS": "AIDA1"}}, "everybody who is not in NotPrincipal."),
    ],
)
@pytest.mark.parametrize("access", [ADMIN, SERVER])
def test_the_finding_names_who_may_assume_a_role(access, statement, named):
    ours = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}
    policy = {"Statement": [ours, {"Effect": "Allow", **statement}, {**statement, "Effect": "Deny"}]}
    window = [CLOSED] if access is ADMIN else []
    [finding] = find(case_of(healthy(role("Shared", access, *window, trust=policy))))
    assert re.search(f"can assume (admin|server) role 'Shared': {named}$", finding.why)


@pytest.mark.parametrize(
    ("users", "words"), [(None, "rotate_keys"), (["db2"], "rotate_keys"), (["other"], "remove_servers for db2")]
)
def test_the_old_key_of_a_user_without_a_host_is_for_remove_servers(users, words):
    account = healthy(user("db2", SERVER, keys=(key(3, days=90),)))
    [fix] = [each.fix for each in find(case_of(account, Choices(inventory_users=users))) if each.rule == "key-old"]
    assert f"cwagent.iam.{words}" in fix


STATEMENTS: dict[str, tuple[bool, dict[str, Any]]] = {
    "allow": (False, {"Effect": "Allow", "Resource": "*"}),
    "deny other actions": (False, {"Action": "ssm:DeleteParameter", "Resource": "*"}),
    "deny after the deadline": (False, {"Resource": "*", "Condition": later_than(LATER)}),
    "deny after a past deadline": (True, {"Resource": "*", "Condition": later_than(EARLIER)}),
    "deny other instances": (
        False,
        {"Resource": "*", "Condition": {"StringNotLike": {"aws:userid": "*:i-0123456789abcdef0"}}},
    ),
    "deny other parameters": (False, {"NotResource": "arn:aws:ssm:*:*:parameter/AmazonCloudWatch-linux"}),
    "deny one parameter": (False, {"Resource": "arn:aws:ssm:*:*:parameter/AmazonCloudWatch-windows"}),
    "deny in a list": (True, {"Action": ["s3:*", "ssm:Put*"], "Resource": ["*"]}),
    "deny": (True, {"Resource": "*"}),
}
"""Statements of a policy that this collection does not write, with whether they deny all writing now."""


@given(st.lists(st.sampled_from([*STATEMENTS]), min_size=1, max_size=5, unique=True))
def test_a_window_with_another_policy_is_reported_as_open_unless_it_denies(names):
    statements = [
        {"Sid": f"{WINDOW_POLICY}{number or ''}", "Effect": "Deny", "Action": PUT, **STATEMENTS[name][1]}
        for number, name in enumerate(names)
    ]
    is_open = not any(STATEMENTS[name][0] for name in names)
    changed = window({"Version": "2012-10-17", "Statement": statements})
    [finding] = find(case_of(healthy(role("Changed", ADMIN, changed))))
    assert (finding.rule, finding.severity) == ("window-modified", "error" if is_open else "warning")
    assert finding.why.startswith(f"The admin window of role 'Changed' is {'open' if is_open else 'not open'}. ")
    assert finding.fix == RESTORE


def test_a_window_whose_policy_has_other_conditions_is_reported_as_perhaps_open():
    changed = window(document(PUT, effect="Deny", Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}))
    [finding] = find(case_of(healthy(role("Changed", ADMIN, changed))))
    assert (finding.rule, finding.severity) == ("window-modified", "warning")
    assert finding.why.startswith("The admin window of role 'Changed' may be open. ")


def test_an_active_key_of_a_window_that_denies_nothing_is_severe():
    account = healthy(user("admin2", ADMIN, window(document("ssm:PutParameter")), keys=(key(3),)))
    assert found(account) == [("admin-key-active", "error", "AKIA3"), ("window-modified", "error", "admin2")]


@pytest.mark.parametrize(
    ("count", "end"), [(10, "user 'admin09'."), (11, "user 'admin09' and 1 more."), (13, "user 'admin09' and 3 more.")]
)
def test_a_finding_names_no_more_than_ten(count, end):
    account = healthy(*(user(f"admin{number:02}", ADMINISTRATOR, tags=FOREIGN) for number in range(count)))
    [finding] = find(case_of(account))
    assert "user 'admin00', " in finding.why
    assert finding.why.endswith(end)


def test_servers_with_conditions_are_distinguished():
    """A fleet with the same policies is decided once, unless these depend on the principal."""
    own = document("ssm:*", effect="Deny", resource="*-${aws:username}")
    theirs = document("ssm:*", effect="Deny", Condition={"StringEquals": {"aws:username": "db8"}})
    servers = [user("db7", SERVER, Policy("own", own)), user("db9", SERVER, Policy("own", own))]
    others = [user("db8", SERVER, Policy("theirs", theirs)), user("db5", SERVER, Policy("theirs", theirs))]
    account = healthy(*servers, *others, parameter("db9"))
    unreadable = {each.object: each.why for each in find(case_of(account))}
    assert unreadable == {
        "AmazonCloudWatch-linux": "Server principals may not read the parameter: user 'db8'.",
        "AmazonCloudWatch-db9": "Server principals may not read the parameter: user 'db9', user 'db8'.",
    }


NOT_READ = Policy("(not read)", None)
KEPT = {
    "a window for the instance": healthy(open_for(2), instance(2, "Opened", restore_tag="App", in_inventory=True)),
    "an open window of a user": healthy(user("admin2", ADMIN, opened(instance_id=None), keys=(key(3),))),
    "an old and inactive key that is unused": healthy(
        user("db2", SERVER, keys=(key(3, days=80, active=False, used=False),))
    ),
    "a key whose last use is not known": healthy(
        user("db2", SERVER, keys=(key(3, days=80, used=False, used_known=False),))
    ),
    "a key that may be saved": healthy(user("db2", SERVER, keys=(key(3, saved=None),))),
    "keys that were not read": healthy(user("db2", SERVER)),
    "policies that were not read": healthy(
        role("Foreign", ADMIN, NOT_READ, tags=FOREIGN),
        role("Unknown", NOT_READ, tags=FOREIGN),
        instance(2, "Foreign", in_inventory=True),
        instance(3, "Unknown", in_inventory=True),
    ),
    "a window that was not read": healthy(role("Unread", ADMIN, window(None)), instance(2, "Unread")),
    "an active key of a window that was not read": healthy(user("admin2", ADMIN, window(None), keys=(key(3),))),
    "an instance whose role was not read": healthy(profile("Other", "Other"), instance(2, "Other", in_inventory=True)),
    "a terminated instance": healthy(instance(2, None, in_inventory=True, state="terminated")),
    "a parameter that was not read": healthy(parameter("x", None)),
    "a boundary that allows the agent": healthy(role("Bounded", SERVER, boundary=AGENT_BOUNDARY)),
    "a boundary of a role that may send nothing": healthy(
        role("Bounded", Policy("none", document("s3:*")), boundary=boundary("s3:*"))
    ),
    "a boundary that denies the admin policy": healthy(
        role("Bounded", ADMIN, boundary=boundary(*AGENT, "ssm:GetParameter"), tags=FOREIGN)
    ),
    "the admin policy of a foreign role with other policies": healthy(
        role("Foreign", ADMIN, Policy("x", document("s3:*")), boundary=AGENT_BOUNDARY, tags=FOREIGN)
    ),
    "a large parameter of the Advanced tier": healthy(
        parameter("large", json.dumps({"agent": {"x": "y" * 3900}}), tier="Advanced")
    ),
    "a hybrid role with a node": healthy(hybrid_role(), node(1)),
    "a hybrid role for one source": healthy(
        hybrid_role(trust=hybrid_trust(ArnLike={"aws:SourceArn": f"arn:aws:ssm:*:{ACCOUNT_ID}:*"}))
    ),
    "a hybrid role that does not trust Systems Manager": healthy(hybrid_role(trust=trust())),
    "an activation that was used": healthy(activation(1, remaining=0, is_ours=True)),
    "an activation that has expired": healthy(activation(1, days=-1, is_ours=True)),
    "an activation and a node of others with another role": healthy(
        activation(1, role="Other"), node(1, role="Other", is_ours=False)
    ),
    "a trust of a list of services with a Deny": healthy(
        role(
            "Admin2",
            ADMIN,
            CLOSED,
            trust={
                "Statement": [
                    *trust({"Service": ["ec2.amazonaws.com"]})["Statement"],
                    {"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"},
                ]
            },
        )
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_unknown_things_and_things_within_the_rules_are_no_findings(name):
    expected = (
        [("admin-without-window", "error", "Foreign")] if name.startswith("the admin policy of a foreign") else []
    )
    assert found(KEPT[name]) == expected


def fixes(account, rules=None):
    return [each.fix for each in find(case_of(account, rules))]


ATTACH = "aws iam attach-role-policy --role-name"
DETACH = "aws iam detach-role-policy --role-name"
DELETE = "aws iam delete-access-key --user-name db2 --access-key-id AKIA3"
REMOVE_GONE = (
    "Run the playbook cwagent.iam.remove_servers for eu-central-1:gone with cwagent_key_store=parameter_store."
)
FIXES: dict[str, str] = {
    "a parameter of another type": f"aws ssm delete-parameter --region {REGION} --name AmazonCloudWatch-list",
    "the permanent admin policy": f"{DETACH} Foreign --policy-arn {ARN}CloudWatchAgentAdminPolicy",
    "the permanent admin policy of a managed role": RESTORE,
    "an unmanaged writer with several policies": (
        "Decide whether user 'w' needs to write; if not, change what allows it: a, b of group 'g'."
    ),
    "the admin profile without a window": "Decide which instance profile i-2 is to have, and associate it.",
    "the admin profile in the inventory": RESTORE,
    "the admin profile with a record": RESTORE,
    "a restore tag": f"aws ec2 delete-tags --region {REGION} --resources i-2 --tags Key={TAG}",
    "a restore tag with a record": RESTORE,
    "an old key": (
        "Run the playbook cwagent.iam.rotate_keys, with this age or a lower one in cwagent_key_max_age_days."
    ),
    "an old key of others": f"Replace the key where it is in use, then: {DELETE}",
    "a second key": f"Decide whether AKIA3 is in use; if not: {DELETE}",
    "the deprecated policy of a managed role": (
        "Set cwagent_ssm_policy to AmazonSSMManagedInstanceCore, and run the playbook cwagent.iam.site."
    ),
    "the deprecated policy": (
        f"{ATTACH} Ssm --policy-arn {ARN}AmazonSSMManagedInstanceCore && {DETACH} Ssm --policy-arn {OLD_SSM.arn}"
    ),
    "a profile of ours without a role": (
        "aws iam add-role-to-instance-profile --instance-profile-name Admin --role-name Admin"
    ),
    "a profile without a role on an instance": "aws iam delete-instance-profile --instance-profile-name Empty",
    "an instance with another role": (
        "Add App to cwagent_attach_to_roles, and run the playbook cwagent.iam.site with "
        "cwagent_on_other_profile=attach. If the policy is attached, find what denies it."
    ),
}
"""By case of a violation, how to fix it."""


@pytest.mark.parametrize("name", FIXES)
def test_a_finding_has_a_fix(name):
    assert fixes(PLANTED[name][0]) == [FIXES[name]]


@pytest.mark.parametrize(
    ("users", "fix"),
    [
        (None, REMOVE_GONE),
        (frozenset({"db1"}), REMOVE_GONE),
        (frozenset({"gone"}), "Run the playbook cwagent.iam.site, which creates the user and a new access key."),
    ],
)
def test_a_user_that_a_host_has_is_created_again(users, fix):
    account = healthy(KEY_WITHOUT_USER)
    [finding] = [each for each in find(case_of(account, Choices(inventory_users=users))) if each.object == "gone"]
    assert finding.fix == fix


def test_the_user_chooses_the_age_and_the_profile():
    account = healthy(user("db2", SERVER, keys=(key(3, days=40),)), instance(2, None, in_inventory=True))
    month, never = Choices(timedelta(days=40), "Mine"), Choices(None)
    assert [each[0] for each in found(account, month)] == ["instance-without-access", "key-old"]
    assert [each[0] for each in found(account, never)] == ["instance-without-access"]
    assert fixes(account, month)[0].endswith("--instance-id i-2 --iam-instance-profile Name=Mine")


def test_the_most_severe_findings_come_first():
    account = healthy(
        user("alice", ADMINISTRATOR, tags=FOREIGN),
        user("db2", SERVER, keys=(key(3, saved=False), key(4, days=7, active=False, saved=False))),
        role("Late", ADMIN, opened(EARLIER)),
        role("Foreign", ADMIN, tags=FOREIGN),
    )
    assert found(account) == [
        ("admin-without-window", "error", "Foreign"),
        ("key-not-saved", "warning", "AKIA3"),
        ("key-not-saved", "warning", "AKIA4"),
        ("window-expired", "notice", "Late"),
        ("administrators", "notice", ACCOUNT_ID),
    ]
    assert count_severities(find(case_of(account))) == {"notice": 2, "warning": 2, "error": 1}


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        (None, []),
        (frozenset({"db1", "db2"}), []),
        (frozenset({"db1"}), [("user-without-host", "notice", "db2")]),
        (frozenset(), [("user-without-host", "notice", "db2")]),
    ],
)
def test_a_user_of_ours_that_no_host_has_is_found(users, expected):
    account = healthy(user("db2", SERVER, keys=(key(3), key(4, active=False))), user("alice", SERVER, tags=FOREIGN))
    rules = Choices(inventory_users=users)
    assert [
        each for each in found(account, rules) if each[0] == "user-without-host" and each[2] in ("db2", "alice")
    ] == (expected)
    whys = [each.why for each in find(case_of(account, rules)) if each.object == "db2"]
    assert whys == [
        "User 'db2' was made for a server, and no host of the inventory has it. Its active access keys: AKIA3."
    ] * len(expected)


@pytest.mark.parametrize(
    ("listed", "value", "is_found"),
    [
        (None, "CloudWatchAgentServerPolicy", False),
        (frozenset(), "CloudWatchAgentServerPolicy", True),
        (frozenset({"Shop"}), "CloudWatchAgentServerPolicy", False),
        (frozenset({"Batch"}), "CloudWatchAgentServerPolicy", True),
        (frozenset(), "x; rm -rf ~", False),
    ],
)
def test_an_application_role_that_is_not_listed_any_more_is_found(listed, value, is_found):
    """A person who tags the role must not be able to choose a part of the command."""
    account = healthy(role("Shop", tags={ATTACHED_TAG: value}))
    findings = [
        each for each in find(case_of(account, Choices(attach_to_roles=listed))) if each.rule == "attached-policy"
    ]
    assert [(each.object, each.severity) for each in findings] == [("Shop", "notice")] * is_found
    assert all("untag-role --role-name Shop --tag-keys cwagent:attached-policy" in each.fix for each in findings)


def test_a_command_names_the_region_of_the_instance():
    account = healthy(replace(instance(2, None, in_inventory=True), region="us-east-1"))
    [finding] = find(case_of(account))
    assert finding.region == "us-east-1"
    assert "--region us-east-1" in finding.fix


@pytest.mark.parametrize(("listed", "rules"), [(None, []), ([], []), (["Shop"], ["policy-without-tag"])])
def test_the_policy_of_others_on_a_listed_role_is_information(listed, rules):
    """For example, Terraform has removed the tag."""
    account = healthy(role("Shop", SERVER, tags=FOREIGN))
    found = [each for each in find(case_of(account, Choices(attach_to_roles=listed))) if "policy" in each.rule]
    assert [each.rule for each in found] == rules
    assert all("leave the policy" in each.why and "detach-role-policy" in each.fix for each in found)


def collecting(*groups: str, retention: int | None = None, **sections: Any) -> Any:
    """A configuration that sends log events to these groups."""
    more = {} if retention is None else {"retention_in_days": retention}
    entries = [{"file_path": "/a", "log_group_name": each, **more} for each in groups]
    return {"logs": {"logs_collected": {"files": {"collect_list": entries}}, **sections}}


RETENTION = "logs:PutRetentionPolicy"
FILLING, SHORTENING = "write to every log group", "change the retention of every log group"


def wide(config: Any, *allowed: str, **more: Any) -> list[tuple[str, str]]:
    """The principals that may use more log groups than a configuration needs, with the reason."""
    policy = replace(SERVER, document=document(*AGENT, "ssm:GetParameter", *allowed))
    value = config if isinstance(config, str) else json.dumps(config)
    server = role("Server", policy, boundary=more.pop("boundary", None))
    kept = tuple(each for each in HEALTHY.principals if each.access != "server")
    account = replace(HEALTHY, principals=(*kept, server), parameters=(parameter("linux", value),))
    findings = [each for each in find(case_of(replace(account, **more))) if each.rule == "unused-permissions"]
    assert all((each.severity, each.listed) == ("notice", False) for each in findings)
    return [(each.object, each.why.partition(".")[0]) for each in findings]


@pytest.mark.parametrize(
    ("config", "allowed", "expected"),
    [
        (collecting("shop"), [], f"It may {FILLING}"),
        (collecting("shop"), [RETENTION], f"It may {SHORTENING} and {FILLING}"),
        (collecting("shop", retention=7), [RETENTION], f"It may {SHORTENING} and {FILLING}"),
        (collecting("{instance_id}"), [RETENTION], f"It may {SHORTENING}"),
        ({"metrics": {"namespace": "Shop"}}, [], f"It may {FILLING}"),
    ],
)
def test_a_policy_for_every_log_group_is_more_than_most_configurations_need(config, allowed, expected):
    assert wide(config, *allowed) == [("Server", expected)]


IN_SHOP = document(*AGENT, resource=f"arn:aws:logs:*:{ACCOUNT_ID}:log-group:shop:*")
LIMIT = Policy("Limit", IN_SHOP, f"{ARN}Limit")
METRICS_ANYWHERE = document(*AGENT[:1], "ssm:GetParameter")
NO_PARAMETERS = Unread(PARAMETERS, "ssm:DescribeParameters", REGION, "denied")


@pytest.mark.parametrize(
    ("config", "more"),
    [
        (collecting("{instance_id}", retention=7), {}),
        (collecting("shop", metrics_collected={"emf": {}}), {}),
        ({"agent": {}}, {}),
        ("not valid", {}),
        (collecting("shop"), {"parameters": (parameter("linux", None),)}),
        (collecting("shop"), {"parameters": ()}),
        (collecting("shop"), {"unread": (NO_PARAMETERS,)}),
        (collecting("shop"), {"boundary": LIMIT}),
    ],
)
def test_a_policy_is_not_too_wide_if_it_is_needed_or_the_need_is_unknown(config, more):
    assert wide(config, RETENTION, **more) == []


def test_a_boundary_for_some_log_groups_blocks_no_agent():
    both = {**IN_SHOP, "Statement": [*IN_SHOP["Statement"], *METRICS_ANYWHERE["Statement"]]}
    assert found(healthy(role("Bounded", SERVER, boundary=replace(LIMIT, document=both)))) == []
