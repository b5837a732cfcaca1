"""ministack enforces the policies that the collection relies on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.parametrize("aws", ["ministack"], indirect=True)
NAME = "AmazonCloudWatch-linux"


def put(client: Any, name: str = NAME) -> None:
    client.put_parameter(Name=name, Value="{}", Type="String", Overwrite=True)


@pytest.fixture
def instance(account: Any) -> str:
    account.create_role("server", "CloudWatchAgentServerPolicy")
    account.create_role("admin", "CloudWatchAgentAdminPolicy")
    return account.aws.instances(1)[0]


def test_the_server_role_can_read_but_not_write(account: Any, instance: str) -> None:
    account.associate(instance, "server")
    ssm = account.instance_client(instance, "ssm")
    with pytest.raises(ClientError, match=r"AccessDeniedException.*ssm:PutParameter"):
        put(ssm)
    put(account.aws.client("ssm"))
    assert ssm.get_parameter(Name=NAME)["Parameter"]["Value"] == "{}"


def test_the_admin_role_can_write_only_parameters_of_the_agent(account: Any, instance: str) -> None:
    account.associate(instance, "admin")
    ssm = account.instance_client(instance, "ssm")
    put(ssm)
    with pytest.raises(ClientError, match="AccessDeniedException"):
        put(ssm, "elsewhere")


@pytest.mark.parametrize(("operator", "allowed"), [("DateLessThan", [False, True]), ("DateGreaterThan", [True, False])])
def test_a_deny_depends_on_the_time(account: Any, instance: str, operator: str, allowed: list[bool]) -> None:
    account.associate(instance, "admin")
    ssm = account.instance_client(instance, "ssm")
    deadline = f"{datetime.now(UTC) + timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}"
    condition = {operator: {"aws:CurrentTime": deadline}}
    deny = {"Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*", "Condition": condition}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    account.iam.put_role_policy(RoleName="admin", PolicyName="window", PolicyDocument=document)
    for is_allowed, shift in zip(allowed, (660, -660), strict=True):
        if is_allowed:
            put(ssm)
        else:
            with pytest.raises(ClientError, match="explicit deny"):
                put(ssm)
        account.aws.shift_clock(shift)


@pytest.mark.parametrize(
    "policy", ["CloudWatchAgentAdminPolicy", "service-role/AmazonEC2RoleforSSM", "AmazonSSMManagedInstanceCore"]
)
def test_managed_policies_exist_after_a_reset(account: Any, policy: str) -> None:
    found = account.iam.get_policy(PolicyArn=f"arn:aws:iam::aws:policy/{policy}")["Policy"]
    assert found["Path"] + found["PolicyName"] == f"/{policy}"


def test_an_unknown_policy_cannot_be_attached(account: Any, instance: str) -> None:
    with pytest.raises(ClientError, match="NoSuchEntity"):
        account.iam.attach_role_policy(RoleName="admin", PolicyArn="arn:aws:iam::aws:policy/Nope")


def test_an_instance_profile_needs_the_permission_to_pass_its_role_to_ec2(account: Any, instance: str) -> None:
    """For adding the role to the profile, and for associating the profile with an instance."""
    pass_role: dict[str, Any] = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/server"}
    pass_role["Condition"] = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    rest = {"Effect": "Allow", "NotAction": "iam:PassRole", "Resource": "*"}
    iam, ec2 = (create_limited_client(account, service, [rest, pass_role]) for service in ("iam", "ec2"))
    iam.create_instance_profile(InstanceProfileName="new")
    with pytest.raises(ClientError, match=r"AccessDenied\b.*iam:PassRole on resource: arn:aws:iam::\d+:role/admin "):
        iam.add_role_to_instance_profile(InstanceProfileName="new", RoleName="admin")
    iam.add_role_to_instance_profile(InstanceProfileName="new", RoleName="server")
    arn = account.iam.get_instance_profile(InstanceProfileName="admin")["InstanceProfile"]["Arn"]
    for profile in ({"Name": "admin"}, {"Arn": arn}):
        with pytest.raises(ClientError, match=r"UnauthorizedOperation\b.*iam:PassRole"):
            ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile=profile)
    ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": "new"})


READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
EMPTY_TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
NARROW: list[dict[str, Any]] = [
    {"Effect": "Allow", "Action": "iam:CreateRole", "Resource": "arn:aws:iam::*:role/team/*"},
    {"Effect": "Allow", "Action": "iam:GetInstanceProfile", "Resource": "arn:aws:iam::*:instance-profile/s*"},
    {
        "Effect": "Allow",
        "Action": "iam:AttachRolePolicy",
        "Resource": "*",
        "Condition": {"ArnEquals": {"iam:PolicyARN": READ_ONLY}},
    },
]


def test_calls_on_allowed_arns_and_policies_succeed(account: Any, instance: str) -> None:
    iam = create_limited_client(account, "iam", NARROW)
    iam.create_role(RoleName="R", Path="/team/", AssumeRolePolicyDocument=EMPTY_TRUST)
    iam.get_instance_profile(InstanceProfileName="server")
    iam.attach_role_policy(RoleName="R", PolicyArn=READ_ONLY)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("create_role", {"RoleName": "S", "AssumeRolePolicyDocument": EMPTY_TRUST}),
        ("get_instance_profile", {"InstanceProfileName": "admin"}),
        ("attach_role_policy", {"RoleName": "server", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
    ],
)
def test_calls_on_other_arns_and_policies_are_denied(
    account: Any, instance: str, call: str, arguments: dict[str, str]
) -> None:
    iam = create_limited_client(account, "iam", NARROW)
    with pytest.raises(ClientError, match="AccessDenied"):
        getattr(iam, call)(**arguments)


def test_only_the_profiles_of_a_condition_may_be_associated(account: Any, instance: str) -> None:
    condition = {"ArnEquals": {"ec2:NewInstanceProfile": "arn:aws:iam::*:instance-profile/server"}}
    changes = ["ec2:AssociateIamInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation"]
    statement = {"Effect": "Allow", "Action": changes, "Resource": "*", "Condition": condition}
    rest = {"Effect": "Allow", "NotAction": changes, "Resource": "*"}
    ec2 = create_limited_client(account, "ec2", [rest, statement])
    arn = account.iam.get_instance_profile(InstanceProfileName="admin")["InstanceProfile"]["Arn"]
    for other in ({"Name": "admin"}, {"Arn": arn}):
        with pytest.raises(ClientError, match=r"UnauthorizedOperation\b.*ec2:AssociateIamInstanceProfile"):
            ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile=other)
    answer = ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": "server"})
    association = {"AssociationId": answer["IamInstanceProfileAssociation"]["AssociationId"]}
    with pytest.raises(ClientError, match=r"UnauthorizedOperation\b.*ec2:ReplaceIamInstanceProfileAssociation"):
        ec2.replace_iam_instance_profile_association(**association, IamInstanceProfile={"Name": "admin"})
    ec2.replace_iam_instance_profile_association(**association, IamInstanceProfile={"Name": "server"})


@pytest.mark.parametrize("kind", ["role", "user"])
def test_a_condition_can_require_a_permissions_boundary(account: Any, kind: str) -> None:
    name = f"{kind.title()}Name"
    condition = {"StringNotEquals": {"iam:PermissionsBoundary": READ_ONLY}}
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    changes = [f"iam:{verb}{kind.title()}{suffix}" for verb, suffix in (("Create", ""), ("Put", "Policy"))]
    deny = {"Effect": "Deny", "Action": changes, "Resource": "*", "Condition": condition}
    iam = create_limited_client(account, "iam", [everything, deny])
    trust = {"AssumeRolePolicyDocument": EMPTY_TRUST} if kind == "role" else {}
    create, put_policy = getattr(iam, f"create_{kind}"), getattr(iam, f"put_{kind}_policy")
    getattr(account.iam, f"create_{kind}")(**{name: "without"}, **trust)
    create(**{name: "with"}, **trust, PermissionsBoundary=READ_ONLY)
    policy = {
        "PolicyName": "inline",
        "PolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
    }
    put_policy(**{name: "with"}, **policy)
    for call, arguments in (
        (create, {name: "new", **trust}),
        (create, {name: "new", **trust, "PermissionsBoundary": READ_ONLY.replace("ReadOnly", "PowerUser")}),
        (put_policy, {name: "without", **policy}),
    ):
        with pytest.raises(ClientError, match=r"AccessDenied\b.*explicit deny"):
            call(**arguments)


def create_limited_client(account: Any, service: str, statements: list[dict[str, Any]]) -> Any:
    """A client of a new user with these statements as its policy."""
    name = f"limited-{service}"
    account.iam.create_user(UserName=name)
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    account.iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=document)
    key = account.iam.create_access_key(UserName=name)["AccessKey"]
    return account.aws.client(service, credentials=key)
