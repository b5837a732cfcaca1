"""The error of a denied call contains the call, the caller, and the action to grant."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.snapshot import associated_profiles, snapshot
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    POLICY_ARN,
    REPLACE_ASSOCIATION,
    SERVER_POLICY,
    SERVER_ROLE,
    allow,
    associate,
    create_role,
    create_user,
    execute_module,
    restore_records,
    trust,
)
from in_process import run_module

ROLE: dict[str, Any] = {"name": "R", "access": "server", "wait_timeout": 1}
FULL_ROLE = {**ROLE, "description": "d", "tags": {"a": "b"}, "permissions_boundary": POLICY_ARN + "PowerUserAccess"}
USER = {"name": ["u1"], "access": "server", "wait_timeout": 1}
PARAMETER: dict[str, Any] = {"name": "AmazonCloudWatch-x", "config": {"agent": {}}}


def assert_denied(result: dict[str, Any], action: str, identity: str) -> None:
    """Assert that the message contains the call, the caller and the action to grant."""
    assert result["failed"], action
    message = result["msg"]
    assert "Could not " in message
    assert f"({action})" in message
    assert re.search(rf"\S*{identity}\S* lacks {action}", message), message
    assert f"Grant {action} to it" in message


@dataclass(frozen=True)
class Account:
    """An account with two instances. The second has the instance profile of an application."""

    aws: Emulator
    home: Path
    instances: list[str]

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    def run(self, module: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a module. The first instance, both instances and the folder have placeholders."""
        placeholders = {
            "@first": self.instances[:1],
            "@both": self.instances,
            "@folder": {"key_store_directory": str(self.home)},
        }
        filled: dict[str, Any] = {
            key: placeholders.get(value, value) if isinstance(value, str) else value for key, value in arguments.items()
        }
        return run_module(self.aws, module, **filled)

    def apply(self, module: str, arguments: Mapping[str, Any]) -> None:
        result = self.run(module, arguments)
        assert not result["failed"], result


@pytest.fixture
def account(enforcing: Emulator, tmp_path: Path) -> Account:
    instances = enforcing.instances(2)
    create_role(enforcing, "Other", SERVER_POLICY)
    associate(enforcing, instances[1], "Other")
    return Account(enforcing, tmp_path, instances)


def with_drifted_role(account: Account) -> None:
    account.apply("cwagent_iam_role", ROLE)
    account.iam.update_assume_role_policy(RoleName="R", PolicyDocument=trust("lambda.amazonaws.com"))
    account.iam.attach_role_policy(RoleName="R", PolicyArn=POLICY_ARN + ADMIN_POLICY)
    account.iam.put_role_policy(RoleName="R", PolicyName="more", PolicyDocument=json.dumps(allow("s3:GetObject")))
    account.iam.tag_role(RoleName="R", Tags=[{"Key": "old", "Value": "x"}])


def with_role(account: Account) -> None:
    account.apply("cwagent_iam_role", ROLE)


def with_boundary(account: Account) -> None:
    account.apply("cwagent_iam_role", FULL_ROLE)


def with_associations(account: Account) -> None:
    with_role(account)
    account.apply("cwagent_instance_profile", REPLACING)


def with_user(account: Account) -> None:
    account.apply("cwagent_iam_user", SAVED_USER)


def with_drifted_user(account: Account) -> None:
    with_user(account)
    account.iam.attach_user_policy(UserName="u1", PolicyArn=POLICY_ARN + ADMIN_POLICY)


def with_parameter(account: Account) -> None:
    account.apply("cwagent_config_parameter", PARAMETER)


def without_anything(account: Account) -> None:
    """Leave the account as the fixture created it."""


def with_hybrid_role(account: Account) -> None:
    account.apply("cwagent_iam_role", HYBRID_ROLE)


def with_node(account: Account) -> None:
    """A server that was registered with an activation of this collection, which a run left."""
    account.apply("cwagent_iam_role", {**HYBRID_ROLE, "trust_regions": [account.aws.region]})
    tags = [{"Key": "cwagent:managed", "Value": "created"}]
    activation = account.aws.client("ssm").create_activation(IamRole="R", DefaultInstanceName="db1", Tags=tags)
    account.aws.host(account.home / "host").register(activation, account.aws.region)


NODES = {"nodes_by_region": {"": ["db1"]}, "wait_timeout": 1}
HYBRID_ROLE = {**ROLE, "trust": "hybrid", "trust_regions": ["eu-west-1"]}
REPLACING = {"name": "R", "instance_ids": "@both", "on_other_profile": "replace", "wait_timeout": 1}
SAVED_USER = {**USER, "saved_key": "@folder"}


@dataclass(frozen=True)
class Job:
    """A module call, the writing actions it needs, and the state of the account before it."""

    module: str
    arguments: Mapping[str, Any]
    actions: Sequence[str]
    prepare: Callable[[Account], None] = without_anything


JOBS = [
    Job(
        "cwagent_iam_role",
        ROLE,
        ["iam:CreateRole", "iam:AttachRolePolicy", "iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile"],
    ),
    Job(
        "cwagent_iam_role",
        {**FULL_ROLE, "exclusive": True},
        [
            *("iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:PutRolePermissionsBoundary"),
            *("iam:DetachRolePolicy", "iam:DeleteRolePolicy", "iam:UntagRole", "iam:TagRole", "iam:TagInstanceProfile"),
        ],
        with_drifted_role,
    ),
    Job(
        "cwagent_iam_role",
        {**ROLE, "permissions_boundary": "none"},
        ["iam:DeleteRolePermissionsBoundary"],
        with_boundary,
    ),
    Job("cwagent_iam_role", HYBRID_ROLE, ["iam:CreateRole", "iam:AttachRolePolicy"]),
    Job(
        "cwagent_iam_role",
        {**HYBRID_ROLE, "trust_regions": ["eu-central-1"]},
        ["iam:UpdateAssumeRolePolicy"],
        with_hybrid_role,
    ),
    Job(
        "cwagent_iam_role",
        {"name": "R", "trust": "hybrid", "wait_timeout": 1, "state": "absent"},
        ["iam:DetachRolePolicy", "iam:DeleteRole"],
        with_hybrid_role,
    ),
    Job(
        "cwagent_instance_profile",
        {"name": "R", "instance_ids": "@first", "wait_timeout": 1},
        ["ec2:AssociateIamInstanceProfile"],
        with_role,
    ),
    Job("cwagent_instance_profile", REPLACING, ["ec2:ReplaceIamInstanceProfileAssociation"], with_role),
    Job(
        "cwagent_instance_profile",
        {**REPLACING, "state": "absent"},
        ["ec2:DisassociateIamInstanceProfile"],
        with_associations,
    ),
    Job(
        "cwagent_iam_role",
        {**ROLE, "state": "absent"},
        [
            *("iam:DetachRolePolicy", "iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile"),
            "iam:DeleteRole",
        ],
        with_role,
    ),
    Job("cwagent_iam_user", SAVED_USER, ["iam:CreateUser", "iam:AttachUserPolicy", "iam:CreateAccessKey"]),
    Job(
        "cwagent_iam_user",
        {**SAVED_USER, "tags": {"a": "b"}},
        ["iam:DetachUserPolicy", "iam:TagUser"],
        with_drifted_user,
    ),
    Job(
        "cwagent_iam_user",
        {**SAVED_USER, "state": "absent"},
        ["iam:DeleteAccessKey", "iam:DetachUserPolicy", "iam:DeleteUser"],
        with_user,
    ),
    Job("cwagent_hybrid_nodes", NODES, ["ssm:DeregisterManagedInstance", "ssm:DeleteActivation"], with_node),
    Job("cwagent_config_parameter", PARAMETER, ["ssm:PutParameter"]),
    Job(
        "cwagent_config_parameter",
        {"name": PARAMETER["name"], "state": "absent"},
        ["ssm:DeleteParameter"],
        with_parameter,
    ),
]
DENIALS = [
    pytest.param(job, action, id=f"{number}-{action}") for number, job in enumerate(JOBS, 1) for action in job.actions
]


@pytest.mark.parametrize(("job", "action"), DENIALS)
def test_a_denied_write_is_reported_and_the_next_run_completes(account: Account, job: Job, action: str) -> None:
    job.prepare(account)
    service, call = action.split(":")
    account.aws.arm(Fault(Kind.DENY, service=service, action=call, times=20))
    assert_denied(account.run(job.module, job.arguments), action, "root")
    account.aws.disarm()
    account.apply(job.module, job.arguments)
    if job.arguments.get("state") == "absent" and job.module != "cwagent_instance_profile":
        after = snapshot(account.aws)
        empty: tuple[Any, ...] = ({"Other"}, {}, {account.aws.region: {}})
        assert (after["roles"].keys(), after["users"], after["parameters"]) == empty


READS: dict[str, tuple[str, dict[str, Any]]] = {
    "iam:GetRole": ("cwagent_iam_role", ROLE),
    "iam:GetInstanceProfile": ("cwagent_iam_role", ROLE),
    "iam:ListAccessKeys": ("cwagent_iam_user", {**USER, "state": "absent"}),
    "ec2:DescribeIamInstanceProfileAssociations": (
        "cwagent_instance_profile",
        {"name": "R", "instance_ids": "@first"},
    ),
    "ec2:DescribeInstances": ("cwagent_preflight", {"instances": "@first"}),
    "ssm:GetParameter": ("cwagent_config_parameter", PARAMETER),
    "ssm:DescribeInstanceInformation": ("cwagent_hybrid_nodes", NODES),
    "ssm:DescribeActivations": ("cwagent_hybrid_nodes", NODES),
}


@pytest.mark.parametrize("action", READS)
def test_a_caller_without_one_permission_to_read(enforcing: Emulator, action: str) -> None:
    """A user with all other permissions."""
    [instance] = enforcing.instances(1)
    create_user(enforcing, "u1")
    env = create_user(enforcing, "restricted", allow(NotAction=action))
    module, arguments = READS[action]
    ids: dict[str, dict[str, Any]] = {
        "instance_ids": {"instance_ids": [instance]},
        "instances": {"instances": {"": [instance]}},
    }
    filled = dict(arguments)
    for option, values in ids.items():
        if option in arguments:
            filled |= values
    assert_denied(run_module(enforcing, module, credentials=env, **filled), action, "user/restricted")


def test_the_error_lists_the_steps_that_were_done_and_not_done(enforcing: Emulator) -> None:
    env = create_user(enforcing, "reader", allow("iam:Get*", "iam:List*", "iam:CreateRole"))
    result = run_module(enforcing, "cwagent_iam_role", credentials=env, **ROLE)
    assert_denied(result, "iam:AttachRolePolicy", "user/reader")
    assert result["done"] == ["create role 'R'"]
    assert "Done before that: create role 'R'. Not done: create instance profile 'R'" in result["msg"]
    assert run_module(enforcing, "cwagent_iam_role", **ROLE)["changed"]


@pytest.mark.parametrize("may_restore", [False, True])
def test_nothing_is_opened_for_a_caller_who_may_not_restore_the_earlier_profile(
    enforcing: Emulator, may_restore: bool
) -> None:
    """EC2 denies it only when the profile is associated, so the run first associates it once more."""
    [instance] = enforcing.instances(1)
    create_role(enforcing, ADMIN_ROLE, ADMIN_POLICY)
    create_role(enforcing, "shop")
    associate(enforcing, instance, "shop")
    passed = [f"arn:aws:iam::*:role/{name}" for name in (ADMIN_ROLE, *["shop"] * may_restore)]
    policy = allow("ec2:*", "iam:Get*", "iam:List*", "iam:TagRole", "iam:UntagRole", "iam:PutRolePolicy")
    policy["Statement"].append({"Effect": "Allow", "Action": "iam:PassRole", "Resource": passed})
    profiles = {"admin_profile": ADMIN_ROLE, "server_profile": SERVER_ROLE, "admin_role": ADMIN_ROLE}
    common: dict[str, Any] = {
        "credentials": create_user(enforcing, "storer", policy),
        "instance_ids": [instance],
        "wait_timeout": 5,
        **profiles,
    }
    before, since = snapshot(enforcing), enforcing.mark()
    result = run_module(enforcing, "cwagent_admin_instance", state="acquired", **common)
    writes = [call.action for call in enforcing.writes(since)]
    if may_restore:
        assert not result["failed"], result
        assert writes[-3:] == [REPLACE_ASSOCIATION, "PutRolePolicy", REPLACE_ASSOCIATION]
    else:
        assert re.search(r"user/storer lacks iam:PassRole on arn:aws:iam::\d+:role/shop", result["msg"]), result["msg"]
        assert "to prove that it can be restored" in result["msg"]
        assert writes == ["TagRole", "CreateTags", REPLACE_ASSOCIATION]
        assert associated_profiles(enforcing) == {instance: "shop"}
    released = run_module(enforcing, "cwagent_admin_instance", state="released", **common)
    assert not released["failed"], released
    after = snapshot(enforcing)
    assert after["associations"] == before["associations"]
    assert restore_records(enforcing) == {}


def test_an_explicit_deny_is_named(enforcing: Emulator) -> None:
    document = allow("*")
    document["Statement"].append({"Effect": "Deny", "Action": "iam:CreateRole", "Resource": "*"})
    env = create_user(enforcing, "bound", document)
    message = run_module(enforcing, "cwagent_iam_role", credentials=env, **ROLE)["msg"]
    assert "explicitly denies iam:CreateRole" in message
    assert "user/bound" in message


@pytest.mark.parametrize("role", ["R", ADMIN_ROLE])
def test_only_an_instance_with_the_admin_policy_can_store(enforcing: Emulator, role: str) -> None:
    """The instance uses its own credentials, not those in its environment."""
    [instance] = enforcing.instances(1)
    create_role(enforcing, role, ADMIN_POLICY if role == ADMIN_ROLE else SERVER_POLICY)
    associate(enforcing, instance, role)
    env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": enforcing.metadata_endpoint(instance)}
    arguments = {**PARAMETER, "use_instance_credentials": True}
    result = execute_module(enforcing, "cwagent_config_parameter", arguments, env=env)
    if role == ADMIN_ROLE:
        assert result["changed"]
    else:
        assert_denied(result, "ssm:PutParameter", f"assumed-role/R/{instance}")


@pytest.mark.parametrize("closed", [True, False])
def test_a_region_that_an_organization_denies_is_skipped_with_a_warning(enforcing: Emulator, closed: bool) -> None:
    """For the caller, a policy of an organization is the same as an explicit Deny in its own policies."""
    in_one_region = {"Condition": {"StringEquals": {"aws:RequestedRegion": "us-west-2"}}}
    describe = {"Action": "ec2:DescribeIamInstanceProfileAssociations", "Resource": "*"}
    everywhere_else = {"Condition": {"StringNotEquals": {"aws:RequestedRegion": "us-west-2"}}}
    statements = [
        {"Effect": "Allow", "Action": "ec2:DescribeRegions", "Resource": "*"},
        {"Effect": "Allow", **describe, **({} if closed else everywhere_else)},
        *([{"Effect": "Deny", **describe, **in_one_region}] if closed else []),
    ]
    env = create_user(enforcing, f"caller{closed}", {"Version": "2012-10-17", "Statement": statements})
    result = run_module(enforcing, "cwagent_preflight", credentials=env, profiles_to_delete=["P"])
    words = "explicitly denies" if closed else "lacks"
    message = result["warnings"][0] if closed else result["msg"]
    assert f"{words} ec2:DescribeIamInstanceProfileAssociations" in message
    assert ("whether instances in us-west-2 have an instance profile to delete" in message) == closed


def test_unusable_credentials_are_reported_once(enforcing: Emulator) -> None:
    """In several regions, which different threads read."""
    regions = {region: ["i-0123456789abcdef0"] for region in ("us-east-1", "us-west-2", "eu-central-1")}
    result = run_module(enforcing, "cwagent_preflight", instances=regions, profile="nosuch")
    assert "Passing both a profile and access tokens is not supported" in result["msg"]
