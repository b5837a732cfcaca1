"""Hybrid servers where they are refused, and where their credentials end.

The tests of the collection show the rest: they register, verify and deregister such servers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from emulator import Behaviour, Emulator
from emulator.backend import Credentials
from emulator.hybrid import is_trusted
from emulator.shared_credentials import store
from emulator.testing import refused, wait_until

ACCOUNT, ROLE, CORE = "123456789012", "CloudWatchAgentHybridRole", "AmazonSSMManagedInstanceCore"
DAY, HOUR, MINUTE = 86400, 3600, 60
RENEWAL = 1800
TAGS = [{"Key": "cwagent:managed", "Value": "created"}]
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def trust(region: str = "eu-central-1", account: str = ACCOUNT, **statement: Any) -> dict[str, Any]:
    condition = {
        "StringEquals": {"aws:SourceAccount": account},
        "ArnEquals": {"aws:SourceArn": [f"arn:aws:ssm:{region}:{ACCOUNT}:*"]},
    }
    allow = {"Effect": "Allow", "Principal": {"Service": "ssm.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [{**allow, "Condition": condition, **statement}]}


class Server:
    """An on-premises host in an account that has the hybrid role."""

    def __init__(self, aws: Emulator, root: Path) -> None:
        self.aws, self.iam, self.ssm = aws, aws.client("iam"), aws.client("ssm")
        self.iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust()))
        self.iam.attach_role_policy(RoleName=ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{CORE}")
        self.host = aws.host(root)

    def activate(self, **options: Any) -> dict[str, Any]:
        options = {"IamRole": ROLE, "DefaultInstanceName": "web-1", "Tags": TAGS, **options}
        return dict(self.ssm.create_activation(**options))

    def register(self, *options: str) -> str:
        """Register with a new activation, and restart the SSM agent."""
        node = self.host.register(self.activate(), self.aws.region, *options)
        self.host.restart()
        return node

    def activations(self) -> list[dict[str, Any]]:
        return list(self.ssm.describe_activations()["ActivationList"])

    def nodes(self) -> list[dict[str, Any]]:
        return list(self.ssm.describe_instance_information()["InstanceInformationList"])

    def ping(self) -> list[str]:
        return [each["PingStatus"] for each in self.nodes()]

    def identity(self, session: dict[str, str] | None = None) -> str:
        sts = self.aws.client("sts", credentials=session or self.host.session())
        return str(sts.get_caller_identity()["Arn"])

    def trust(self, **changes: Any) -> None:
        self.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(trust(**changes)))


@pytest.fixture
def server(aws: Emulator, tmp_path: Path) -> Server:
    return Server(aws, tmp_path / "web-1")


# Activations and nodes


def test_activations_and_nodes_are_seen_only_in_their_region(server: Server) -> None:
    node, activation = server.register(), server.activate()["ActivationId"]
    elsewhere = server.aws.client("ssm", "us-east-1")
    assert elsewhere.describe_activations()["ActivationList"] == []
    assert elsewhere.describe_instance_information()["InstanceInformationList"] == []
    with refused("InvalidActivation"):
        elsewhere.delete_activation(ActivationId=activation)
    with refused("InvalidInstanceId"):
        elsewhere.deregister_managed_instance(InstanceId=node)


def test_an_invalid_activation_is_refused(server: Server, account: Any) -> None:
    account.create_role("ec2", CORE)
    server.iam.create_role(RoleName="team", Path="/a/b/", AssumeRolePolicyDocument=json.dumps(trust()))
    nonexistent = r"Nonexistent role .*: arn:aws:iam::123456789012:role/team$"
    for options, code, message in (
        ({"IamRole": "team"}, "ValidationException", nonexistent),
        ({"IamRole": "ec2"}, "ValidationException", "missing ssm service principal in trust policy"),
        ({"ExpirationDate": 0}, "InvalidParameters", ""),
        ({"ExpirationDate": time.time() + 31 * DAY}, "InvalidParameters", ""),
    ):
        with refused(code, message):
            server.activate(**options)
    assert server.activations() == []
    server.activate(IamRole="a/b/team")


def test_a_registration_needs_the_code_of_an_activation_that_can_be_used(server: Server, tmp_path: Path) -> None:
    used = server.activate()
    server.host.register(used, server.aws.region)
    other, expiring = server.aws.host(tmp_path / "web-2"), server.activate(ExpirationDate=time.time() + HOUR)
    server.aws.shift_clock(HOUR)
    for activation, code in (
        (used, "RegistrationLimitExceeded"),
        (expiring, "ActivationExpired"),
        ({**used, "ActivationCode": "x" * 20}, "InvalidActivation"),
    ):
        with pytest.raises(RuntimeError, match=rf"error registering the instance with AWS SSM\. {code}: "):
            other.register(activation, server.aws.region)
    assert (other.registration, len(server.nodes())) == (None, 1)


def test_a_failed_registration_again_loses_the_first_but_not_its_file(server: Server) -> None:
    node = server.register()
    with pytest.raises(RuntimeError):
        server.host.register({**server.activate(), "ActivationId": UNKNOWN}, server.aws.region, "-y")
    assert server.host.registration == {"ManagedInstanceID": node, "Region": server.aws.region}
    server.host.restart()
    assert server.ping() == ["ConnectionLost"]


# Credentials


def test_the_credentials_have_the_permissions_of_the_role(server: Server) -> None:
    server.ssm.put_parameter(Name="p", Value="v", Type="String")
    server.register()
    ssm = server.aws.client("ssm", credentials=server.host.session())
    assert ssm.get_parameter(Name="p")["Parameter"]["Value"] == "v"
    with refused("AccessDeniedException", "ssm:PutParameter"):
        ssm.put_parameter(Name="p", Value="w", Type="String", Overwrite=True)


def test_the_credentials_are_renewed_at_half_of_their_hour(server: Server) -> None:
    server.register()
    first = server.host.session()
    server.aws.shift_clock(RENEWAL - MINUTE)
    assert server.host.session() == first
    server.aws.shift_clock(MINUTE)
    assert server.host.session() != first
    assert server.identity(first) == server.identity()
    server.aws.shift_clock(RENEWAL)
    with refused("ExpiredToken", "expired"):
        server.identity(first)
    for _ in range(5):
        server.aws.shift_clock(RENEWAL)
        server.identity()


def test_an_expired_session_has_the_error_of_each_service(server: Server) -> None:
    node = server.register()
    server.aws.agents(node, running=False)
    server.aws.shift_clock(HOUR)
    client = partial(server.aws.client, credentials=server.host.session())
    with refused("ExpiredTokenException"):
        client("ssm").describe_parameters()
    with refused("ExpiredToken"):
        client("iam").list_users()
    with refused("RequestExpired"):
        client("ec2").describe_instances()


ENDS: dict[str, Callable[[Server, str], Any]] = {
    "deregistered": lambda server, node: server.ssm.deregister_managed_instance(InstanceId=node),
    "another account": lambda server, _: server.trust(account="210987654321"),
    "no role": lambda server, _: (
        server.iam.detach_role_policy(RoleName=ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{CORE}"),
        server.iam.delete_role(RoleName=ROLE),
    ),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_session_ends_with_what_it_is_based_on(server: Server, end: Callable[[Server, str], Any]) -> None:
    node = server.register()
    first = server.host.session()
    end(server, node)
    with refused("InvalidClientTokenId"):
        server.identity()
    server.host.restart()
    assert server.host.session() == first
    assert "Online" not in server.ping()


@pytest.mark.parametrize(
    ("changes", "trusted"),
    [
        ({}, True),
        ({"Effect": "Deny"}, False),
        ({"Principal": "*"}, False),
        ({"Action": ["sts:*"]}, True),
        ({"Action": "sts:TagSession"}, False),
        ({"Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:ssm:eu-*:*"}}}, True),
        ({"Condition": {"StringLike": {"aws:SourceAccount": "1234*"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceArn": "arn:aws:ssm:eu-central-1:*"}}}, False),
        ({"Condition": {"Bool": {"aws:SourceAccount": "true"}}}, False),
        ({"Condition": {"StringEquals": {"aws:SourceOrgID": "o-1"}}}, False),
    ],
)
def test_a_trust_policy_is_evaluated(changes: dict[str, Any], trusted: bool) -> None:
    source = {
        "aws:sourceaccount": ACCOUNT,
        "aws:sourcearn": f"arn:aws:ssm:eu-central-1:{ACCOUNT}:managed-instance/mi-{0:017}",
    }
    document = trust(**changes)
    assert is_trusted(json.dumps(document), source) == trusted
    [statement] = document["Statement"]
    assert is_trusted(json.dumps({"Statement": statement}), source) == trusted
    with_deny = {"Statement": [statement, trust(Effect="Deny")["Statement"][0]]}
    assert not is_trusted(json.dumps(with_deny), source)


# The behaviour of agents


def test_an_agent_that_is_offline_gets_no_new_credentials(server: Server) -> None:
    node = server.register()
    server.aws.agents(node, running=False)
    server.aws.shift_clock(HOUR)
    assert server.ping() == ["ConnectionLost"]
    with refused("ExpiredToken"):
        server.identity()
    server.aws.agents(node, running=True)
    wait_until(lambda: server.ping() == ["Online"])
    server.identity()


def test_an_agent_reports_only_with_the_permission(server: Server) -> None:
    server.register()
    server.iam.detach_role_policy(RoleName=ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{CORE}")
    assert server.ping() == ["ConnectionLost"]
    server.identity()


def test_an_agent_can_be_away_after_it_was_registered(server: Server) -> None:
    server.aws.be_unkind(Behaviour.AWAY_AGENTS, seconds=HOUR)
    server.register()
    assert (server.ping(), server.host.credentials.exists()) == (["ConnectionLost"], False)
    server.aws.shift_clock(4 * HOUR)
    assert server.ping() == ["Online"]
    server.identity()


# The file of the host


FILE = """\
# first
top = 1
; of the other
[other]
aws_access_key_id=AKIA # mine
region: 'eu'
[default] # ours
aws_session_token = old
region=eu-central-1
note = `a#b`
# lost
"""
WRITTEN = """\
# first
top = 1

; of the other
[other]
# mine
aws_access_key_id = AKIA
region            = eu

# ours
[default]
aws_session_token     = token
region                = eu-central-1
note                  = `a#b`
aws_access_key_id     = id
aws_secret_access_key = secret

"""


@pytest.mark.parametrize("is_written", [False, True])
def test_only_three_keys_of_the_credentials_file_change(tmp_path: Path, is_written: bool) -> None:
    file = tmp_path / "credentials"
    file.write_text(WRITTEN.replace(" token\n", " old\n") if is_written else FILE)
    file.chmod(0o640)
    store(file, "default", Credentials("id", "secret", "token"))
    assert file.read_text() == WRITTEN
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("invalid", ["[default\n", "a line\n"])
def test_an_invalid_credentials_file_is_replaced(tmp_path: Path, invalid: str) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"[other]\na = b\n{invalid}")
    store(file, "default", Credentials("id", "secret", "token"))
    assert file.read_text().startswith("[default]\naws_access_key_id     = id\n")


# Permissions


def allow(*actions: str, resource: str = "*", condition: Any = None) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return {**statement, **({"Condition": condition} if condition else {})}


@pytest.fixture
def limited(server: Server) -> Callable[..., Any]:
    """A client of a user with these statements as its policy, which replace the earlier ones."""
    server.iam.create_user(UserName="limited")
    key = server.iam.create_access_key(UserName="limited")["AccessKey"]

    def client(*statements: dict[str, Any]) -> Any:
        document = json.dumps({"Version": "2012-10-17", "Statement": [*statements]})
        server.iam.put_user_policy(UserName="limited", PolicyName="inline", PolicyDocument=document)
        return server.aws.client("ssm", credentials=key)

    return client


def test_an_activation_needs_the_permission_to_pass_its_role(server: Server, limited: Callable[..., Any]) -> None:
    create, role = allow("ssm:CreateActivation"), f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
    with refused("AccessDeniedException", rf"ssm:CreateActivation on resource: arn:aws:ssm:eu-central-1:{ACCOUNT}:\*"):
        limited(allow("ssm:DescribeActivations")).create_activation(IamRole=ROLE)
    for service in (None, "ec2.amazonaws.com"):
        condition = {"StringEquals": {"iam:PassedToService": service}}
        passing = [allow("iam:PassRole", resource=role, condition=condition)] if service else []
        with refused("AccessDeniedException", f"iam:PassRole on resource: {role} "):
            limited(create, *passing).create_activation(IamRole=ROLE)
    assert server.activations() == []
    condition = {"StringEquals": {"iam:PassedToService": "ssm.amazonaws.com"}}
    limited(create, allow("iam:PassRole", resource=role, condition=condition)).create_activation(IamRole=ROLE)


def test_the_tags_of_an_activation_need_a_permission_on_its_role(server: Server, limited: Callable[..., Any]) -> None:
    statements = allow("ssm:CreateActivation"), allow("iam:PassRole")
    role, nodes = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}", f"arn:aws:ssm:*:{ACCOUNT}:managed-instance/*"
    for tagging in ([], [allow("ssm:AddTagsToResource", resource=nodes)]):
        with refused("AccessDeniedException", f"ssm:AddTagsToResource on resource: {role} "):
            limited(*statements, *tagging).create_activation(IamRole=ROLE, Tags=TAGS)
    assert server.activations() == []
    limited(*statements, allow("ssm:AddTagsToResource", resource=role)).create_activation(IamRole=ROLE, Tags=TAGS)


def test_the_tags_of_an_activation_can_be_required(server: Server, limited: Callable[..., Any]) -> None:
    condition = {"StringEquals": {"aws:RequestTag/cwagent:managed": "created"}}
    ssm = limited(allow("ssm:CreateActivation", condition=condition), allow("iam:PassRole", "ssm:AddTagsToResource"))
    with refused("AccessDeniedException", "ssm:CreateActivation"):
        ssm.create_activation(IamRole=ROLE)
    ssm.create_activation(IamRole=ROLE, Tags=TAGS)


@pytest.mark.parametrize("key", ["aws:ResourceTag/cwagent:managed", "ssm:resourceTag/cwagent:managed"])
def test_the_tags_of_a_node_can_be_required(server: Server, limited: Callable[..., Any], key: str) -> None:
    node = server.register()
    resource = {"ResourceType": "ManagedInstance", "ResourceId": node}
    actions = ["ssm:DeregisterManagedInstance", "ssm:ListTagsForResource"]
    nodes = f"arn:aws:ssm:*:{ACCOUNT}:managed-instance/*"
    other = limited(allow(*actions, resource=nodes, condition={"StringEquals": {key: "other"}}))
    for call in (
        lambda: other.list_tags_for_resource(**resource),
        lambda: other.deregister_managed_instance(InstanceId=node),
    ):
        with refused("AccessDeniedException", f"managed-instance/{node}"):
            call()
    ours = limited(allow(*actions, resource=nodes, condition={"StringEquals": {key: "created"}}))
    assert ours.list_tags_for_resource(**resource)["TagList"] == TAGS
    ours.deregister_managed_instance(InstanceId=node)


def test_a_command_needs_the_permission_for_the_node(server: Server, limited: Callable[..., Any]) -> None:
    node = server.register()
    document = "arn:aws:ssm:eu-central-1::document/AWS-RunShellScript"
    send = {"DocumentName": "AWS-RunShellScript", "InstanceIds": [node], "Parameters": {"commands": ["true"]}}
    documents = allow("ssm:SendCommand", resource=document)
    with refused("AccessDeniedException", f"managed-instance/{node}"):
        limited(documents, allow("ssm:SendCommand", resource="arn:aws:ec2:*:*:instance/*")).send_command(**send)
    limited(documents, allow("ssm:SendCommand", resource="arn:aws:ssm:*:*:managed-instance/*")).send_command(**send)


def test_other_calls_need_a_permission(server: Server, limited: Callable[..., Any]) -> None:
    activation = server.activate()["ActivationId"]
    calls: dict[str, Callable[[Any], Any]] = {
        "DescribeActivations": lambda ssm: ssm.describe_activations(),
        "DeleteActivation": lambda ssm: ssm.delete_activation(ActivationId=activation),
        "DescribeInstanceInformation": lambda ssm: ssm.describe_instance_information(),
    }
    for action, call in calls.items():
        with refused("AccessDeniedException", f"ssm:{action}"):
            call(limited(allow("ssm:GetParameter")))
        call(limited(allow(f"ssm:{action}")))
