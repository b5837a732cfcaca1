"""Hybrid servers as a client sees them, and the SSM agent as the host sees it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from emulator import Behaviour, Emulator, Fault, Kind
from emulator.backend import Credentials
from emulator.host import Host
from emulator.hybrid import is_trusted
from emulator.shared_credentials import store
from emulator.snapshot import snapshot
from emulator.testing import refused, wait_until

ACCOUNT, ROLE, CORE = "123456789012", "CloudWatchAgentHybridRole", "AmazonSSMManagedInstanceCore"
DAY, HOUR, MINUTE = 86400, 3600, 60
RENEWAL = 1800
TAGS = [{"Key": "cwagent:managed", "Value": "created"}]
NOBODY = f"mi-{'0' * 17}"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
ONCE = Config(retries={"total_max_attempts": 1})
ministack_only = pytest.mark.parametrize("aws", ["ministack"], indirect=True)
needs_aws_cli = pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make unit sets it up")
moto_only = pytest.mark.parametrize("aws", ["moto"], indirect=True)


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

    def agent(self, activation: dict[str, Any], *options: str, stdin: str = "") -> tuple[int, str]:
        """The exit code and output of a registration."""
        words = ["-code", activation["ActivationCode"], "-id", activation["ActivationId"], "-region", self.aws.region]
        done = self.host.run("amazon-ssm-agent", "-register", *words, *options, stdin=stdin)
        assert done.stderr == ""
        return done.returncode, done.stdout

    def activations(self, **options: Any) -> list[dict[str, Any]]:
        return list(self.ssm.describe_activations(**options)["ActivationList"])

    def nodes(self, **filters: str) -> list[dict[str, Any]]:
        """By filter, with ``__`` for a colon."""
        given = [{"Key": key.replace("__", ":"), "Values": [value]} for key, value in filters.items()]
        return list(self.ssm.describe_instance_information(Filters=given)["InstanceInformationList"])

    def ping(self) -> list[str]:
        return [each["PingStatus"] for each in self.nodes()]

    def identity(self, session: dict[str, str] | None = None) -> str:
        sts = self.aws.client("sts", credentials=session or self.host.session())
        return str(sts.get_caller_identity()["Arn"])

    def trust(self, **changes: Any) -> None:
        self.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(trust(**changes)))

    def run(self, node: str, command: str) -> dict[str, Any]:
        options = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": [command]}}
        command_id = self.ssm.send_command(InstanceIds=[node], **options)["Command"]["CommandId"]
        get = lambda: self.ssm.get_command_invocation(CommandId=command_id, InstanceId=node)  # noqa: E731
        wait_until(lambda: get()["Status"] not in ("Pending", "InProgress"))
        return dict(get())


@pytest.fixture
def server(aws: Emulator, tmp_path: Path) -> Server:
    return Server(aws, tmp_path / "web-1")


# Activations


def test_an_activation_is_listed_until_it_is_deleted(server: Server) -> None:
    created = server.activate(Description="d", RegistrationLimit=2)
    [found] = server.activations()
    assert found.pop("ExpirationDate") - found.pop("CreatedDate") == timedelta(days=1)
    assert found == {
        "ActivationId": created["ActivationId"],
        "Description": "d",
        "DefaultInstanceName": "web-1",
        "IamRole": ROLE,
        "RegistrationLimit": 2,
        "RegistrationsCount": 0,
        "Expired": False,
        "Tags": TAGS,
    }
    server.ssm.delete_activation(ActivationId=created["ActivationId"])
    assert server.activations() == []
    with refused("InvalidActivation"):
        server.ssm.delete_activation(ActivationId=created["ActivationId"])


def test_activations_are_filtered_and_paged(server: Server) -> None:
    ids = [server.activate(DefaultInstanceName=name)["ActivationId"] for name in "abc"]
    for key, value in (("ActivationIds", ids[1]), ("DefaultInstanceName", "b")):
        [found] = server.activations(Filters=[{"FilterKey": key, "FilterValues": [value]}])
        assert found["ActivationId"] == ids[1]
    pages = server.ssm.get_paginator("describe_activations").paginate(PaginationConfig={"PageSize": 2})
    assert [[each["ActivationId"] for each in page["ActivationList"]] for page in pages] == [ids[:2], ids[2:]]


def test_an_activation_is_seen_only_in_its_region(server: Server) -> None:
    activation_id = server.activate()["ActivationId"]
    elsewhere = server.aws.client("ssm", "us-east-1")
    assert elsewhere.describe_activations()["ActivationList"] == []
    with refused("InvalidActivation"):
        elsewhere.delete_activation(ActivationId=activation_id)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"IamRole": "other"}, "ValidationException", r"Nonexistent role .*: arn:aws:iam::123456789012:role/other$"),
        ({"IamRole": "ec2"}, "ValidationException", "missing ssm service principal in trust policy"),
        ({"ExpirationDate": 0}, "InvalidParameters", ""),
        ({"ExpirationDate": time.time() + 31 * DAY}, "InvalidParameters", ""),
    ],
)
def test_an_invalid_activation_is_refused(
    server: Server, account: Any, options: dict[str, Any], code: str, message: str
) -> None:
    account.create_role("ec2", CORE)
    with refused(code, message):
        server.activate(**options)
    assert server.activations() == []


def test_the_role_of_an_activation_has_its_path(server: Server) -> None:
    server.iam.create_role(RoleName="team", Path="/a/b/", AssumeRolePolicyDocument=json.dumps(trust()))
    with refused("ValidationException", "Nonexistent role"):
        server.activate(IamRole="team")
    server.activate(IamRole="a/b/team")
    assert [each["IamRole"] for each in server.activations()] == ["a/b/team"]


# Registration


def test_a_registration_makes_a_node_and_writes_the_registration_file(server: Server) -> None:
    activation = server.activate()
    code, output = server.agent(activation)
    [found] = server.nodes()
    node = found["InstanceId"]
    assert (code, output.partition("INFO ")[2]) == (
        0,
        f"Successfully registered the instance with AWS SSM using Managed instance-id: {node}\n",
    )
    file = server.host.registration_file
    assert file.read_text() == f'{{"ManagedInstanceID":"{node}","Region":"{server.aws.region}"}}'
    assert file.stat().st_mode & 0o777 == 0o600
    expected = {
        "PingStatus": "ConnectionLost",
        "ActivationId": activation["ActivationId"],
        "IamRole": ROLE,
        "ResourceType": "ManagedInstance",
        "Name": "web-1",
    }
    assert {key: found[key] for key in expected} == expected
    assert [each["RegistrationsCount"] for each in server.activations()] == [1]


def test_the_call_log_has_the_registration_without_the_code(server: Server) -> None:
    activation = server.activate()
    server.host.register(activation, server.aws.region)
    [call] = [call for call in server.aws.calls() if call.action == "RegisterManagedInstance"]
    assert (call.service, call.region, call.status, call.write) == ("ssm", server.aws.region, 200, True)
    assert call.params["ActivationCode"] == "(secret)"
    assert activation["ActivationCode"] not in json.dumps([call.params for call in server.aws.calls()])


def test_an_activation_registers_as_often_as_it_allows(server: Server, tmp_path: Path) -> None:
    activation = server.activate()
    server.host.register(activation, server.aws.region)
    other = server.aws.host(tmp_path / "web-2")
    with pytest.raises(
        RuntimeError, match=r"error registering the instance with AWS SSM\. RegistrationLimitExceeded: "
    ):
        other.register(activation, server.aws.region)
    assert other.registration is None
    assert len(server.nodes()) == 1


@ministack_only
def test_an_expired_activation_registers_nothing(server: Server) -> None:
    activation = server.activate(ExpirationDate=time.time() + HOUR)
    server.aws.shift_clock(HOUR)
    assert [each["Expired"] for each in server.activations()] == [True]
    code, output = server.agent(activation)
    assert (code, "ActivationExpired: " in output, server.nodes()) == (1, True, [])


@pytest.mark.parametrize("wrong", [{"ActivationCode": "x" * 20}, {"ActivationId": UNKNOWN}])
def test_a_wrong_code_registers_nothing(server: Server, wrong: dict[str, str]) -> None:
    code, output = server.agent({**server.activate(), **wrong})
    assert (code, "InvalidActivation: " in output, server.nodes()) == (1, True, [])


@moto_only
def test_a_registration_is_confirmed_unless_forced(server: Server) -> None:
    first = server.host.register(server.activate(), server.aws.region)
    for stdin, expected in (("n\n", "Registration canceled by user"), ("", "Invalid response received.")):
        code, output = server.agent(server.activate(), stdin=stdin)
        assert (code, expected in output) == (1, True)
        assert output.startswith("\nInstance already registered. Would you like to override existing")
    assert server.host.registration == {"ManagedInstanceID": first, "Region": server.aws.region}
    assert server.agent(server.activate(), stdin="Yes\n")[0] == 0
    second = server.host.registration["ManagedInstanceID"]
    assert server.agent(server.activate(), "-y")[0] == 0
    assert len({first, second, server.host.registration["ManagedInstanceID"]}) == 3 == len(server.nodes())


@moto_only
def test_a_registration_is_cleared(server: Server) -> None:
    node = server.register()
    done = server.host.run("amazon-ssm-agent", "-register", "-clear")
    assert "Registration information has been removed from the instance." in done.stdout
    assert server.host.registration is None
    assert server.ping() == ["Online"]  # until the service is restarted
    server.host.restart()
    assert server.ping() == ["ConnectionLost"]
    assert server.host.register(server.activate(), server.aws.region) != node  # without a question


@moto_only
def test_a_failed_registration_again_loses_the_first_but_not_its_file(server: Server) -> None:
    node = server.register()
    assert server.agent({**server.activate(), "ActivationId": UNKNOWN}, "-y")[0] == 1
    assert server.host.registration == {"ManagedInstanceID": node, "Region": server.aws.region}
    server.host.restart()
    assert server.ping() == ["ConnectionLost"]


@moto_only
@pytest.mark.parametrize(
    ("words", "code"), [(["-version"], 0), (["-register"], 1), (["-register", "-id", "a"], 1), (["-x"], 2)]
)
def test_the_program_has_the_options_of_the_ssm_agent(server: Server, words: list[str], code: int) -> None:
    done = server.host.run("amazon-ssm-agent", *words)
    assert (done.returncode, done.stdout) == (code, "" if code else "SSM Agent version: 3.3.0.0\n")


@moto_only
def test_faults_affect_a_registration(server: Server) -> None:
    server.aws.arm(Fault(Kind.DENY, action="RegisterManagedInstance"))
    code, output = server.agent(server.activate())
    assert (code, "AccessDeniedException" in output, server.nodes()) == (1, True, [])
    server.aws.arm(Fault(Kind.LOSE_ANSWER, action="RegisterManagedInstance"))
    code, output = server.agent(server.activate())
    assert (code, "RequestError: send request failed" in output, len(server.nodes())) == (1, True, 1)
    server.aws.arm(Fault(Kind.LOSE_ANSWER, action="CreateActivation"))
    with pytest.raises(ConnectionClosedError):
        server.aws.client("ssm", config=ONCE).create_activation(IamRole=ROLE)
    assert len(server.activations()) == 3


# Nodes


def test_a_node_is_deregistered(server: Server) -> None:
    node = server.register()
    for client, unknown in ((server.aws.client("ssm", "us-east-1"), node), (server.ssm, NOBODY)):
        with refused("InvalidInstanceId"):
            client.deregister_managed_instance(InstanceId=unknown)
    server.ssm.deregister_managed_instance(InstanceId=node)
    assert server.nodes() == []
    with refused("InvalidInstanceId"):
        server.run(node, "true")
    assert server.host.registration == {"ManagedInstanceID": node, "Region": server.aws.region}


def test_a_node_has_tags(server: Server) -> None:
    resource = {"ResourceType": "ManagedInstance", "ResourceId": server.register()}
    server.ssm.add_tags_to_resource(**resource, Tags=[{"Key": "a", "Value": "b"}])
    listed = lambda: server.ssm.list_tags_for_resource(**resource)["TagList"]  # noqa: E731
    assert listed() == [*TAGS, {"Key": "a", "Value": "b"}]
    server.ssm.remove_tags_from_resource(**resource, TagKeys=["cwagent:managed", "absent"])
    assert listed() == [{"Key": "a", "Value": "b"}]
    assert [each["Tags"] for each in server.activations()] == [TAGS]
    unknown = {"ResourceType": "ManagedInstance", "ResourceId": NOBODY}
    for action, options in (
        ("list_tags_for_resource", {}),
        ("add_tags_to_resource", {"Tags": TAGS}),
        ("remove_tags_from_resource", {"TagKeys": ["a"]}),
    ):
        with refused("InvalidResourceId"):
            getattr(server.ssm, action)(**unknown, **options)


def test_tags_of_parameters_are_the_ones_of_the_backend(server: Server) -> None:
    server.ssm.put_parameter(Name="p", Value="v", Type="String", Tags=TAGS)
    assert server.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="p")["TagList"] == TAGS


def test_nodes_are_listed_beside_instances(server: Server, account: Any) -> None:
    node = server.register()
    account.create_role("server", CORE)
    [instance] = server.aws.instances(1)
    account.associate(instance, "server")
    assert {each["InstanceId"]: each["PingStatus"] for each in server.nodes()} == dict.fromkeys(
        [instance, node], "Online"
    )
    for filters in ({"ResourceType": "ManagedInstance"}, {"IamRole": ROLE}, {"tag__cwagent:managed": "created"}):
        assert [each["InstanceId"] for each in server.nodes(**filters)] == [node]
    assert [each["InstanceId"] for each in server.nodes(ResourceType="EC2Instance")] == [instance]
    assert set(server.aws.agents()) == {instance, node}


def test_a_command_runs_on_the_host_of_a_node(server: Server) -> None:
    node = server.host.register(server.activate(), server.aws.region)
    with refused("InvalidInstanceId"):
        server.run(node, "true")
    server.host.restart()
    (server.host.root / "opt/aws/amazon-cloudwatch-agent/kept").mkdir(parents=True)
    done = server.run(node, "pwd; echo ${HOME-none} $AWS_SHARED_CREDENTIALS_FILE $AWS_EC2_METADATA_SERVICE_ENDPOINT")
    root = server.host.root
    output = f"{root}\nnone {server.host.credentials} http://127.0.0.1:9\n"
    assert (done["Status"], done["StandardOutputContent"]) == ("Success", output)
    assert (root / "opt/aws/amazon-cloudwatch-agent/kept").exists()
    server.aws.reset()
    assert server.host.registration


def test_a_snapshot_has_what_two_alike_accounts_share(server: Server) -> None:
    server.register()
    found = snapshot(server.aws)
    assert found["nodes"] == {server.aws.region: [{"Name": "web-1", "IamRole": ROLE, "PingStatus": "Online"}]}
    [activation] = found["activations"][server.aws.region]
    assert (activation["RegistrationLimit"], activation["RegistrationsCount"]) == (1, 1)


@ministack_only
def test_a_registered_host_is_saved_and_restored(server: Server) -> None:
    node = server.register()
    identity = server.identity()
    server.aws.save("saved", server.host.root)
    server.ssm.deregister_managed_instance(InstanceId=node)
    server.ssm.delete_activation(ActivationId=server.activations()[0]["ActivationId"])
    server.host.registration_file.unlink()
    server.host.run("systemctl", "stop", server.host.unit)
    server.aws.restore("saved")
    assert (server.ping(), len(server.activations())) == (["Online"], 1)
    assert server.host.registration == {"ManagedInstanceID": node, "Region": server.aws.region}
    assert server.identity() == identity
    server.aws.reset()
    assert (server.nodes(), server.activations()) == ([], [])


# Credentials


def test_the_credentials_are_a_session_of_the_role(server: Server) -> None:
    node = server.register()
    assert server.identity() == f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/{node}"
    assert server.host.credentials.stat().st_mode & 0o777 == 0o600
    assert server.host.run("systemctl", "is-active", "amazon-ssm-agent").stdout == "active\n"


@ministack_only
def test_the_credentials_have_the_permissions_of_the_role(server: Server) -> None:
    server.ssm.put_parameter(Name="p", Value="v", Type="String")
    server.register()
    ssm = server.aws.client("ssm", credentials=server.host.session())
    assert ssm.get_parameter(Name="p")["Parameter"]["Value"] == "v"
    with refused("AccessDeniedException", "ssm:PutParameter"):
        ssm.put_parameter(Name="p", Value="w", Type="String", Overwrite=True)


@ministack_only
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


@ministack_only
@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("ssm", lambda client: client.describe_parameters(), "ExpiredTokenException"),
        ("iam", lambda client: client.list_users(), "ExpiredToken"),
        ("ec2", lambda client: client.describe_instances(), "RequestExpired"),
    ],
)
def test_an_expired_session_has_the_error_of_each_service(server: Server, service: str, call: Any, code: str) -> None:
    node = server.register()
    server.aws.agents(node, running=False)
    server.aws.shift_clock(HOUR)
    with refused(code):
        call(server.aws.client(service, credentials=server.host.session()))


ENDS: dict[str, Callable[[Server, str], Any]] = {
    "deregistered": lambda server, node: server.ssm.deregister_managed_instance(InstanceId=node),
    "another account": lambda server, _: server.trust(account="210987654321"),
    "another Region": lambda server, _: server.trust(region="us-east-1"),
    "another service": lambda server, _: server.trust(Principal={"Service": "ec2.amazonaws.com"}),
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


@ministack_only
def test_a_session_can_outlast_its_registration(server: Server) -> None:
    node = server.register()
    server.aws.be_unkind(Behaviour.LASTING_SESSIONS)
    server.ssm.deregister_managed_instance(InstanceId=node)
    server.identity()
    server.aws.shift_clock(HOUR)
    with refused("ExpiredToken"):
        server.identity()


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
        "aws:sourcearn": f"arn:aws:ssm:eu-central-1:{ACCOUNT}:managed-instance/{NOBODY}",
    }
    document = trust(**changes)
    assert is_trusted(json.dumps(document), source) == trusted
    [statement] = document["Statement"]
    assert is_trusted(json.dumps({"Statement": statement}), source) == trusted
    with_deny = {"Statement": [statement, trust(Effect="Deny")["Statement"][0]]}
    assert not is_trusted(json.dumps(with_deny), source)


# The behaviour of agents


@ministack_only
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


@ministack_only
def test_a_hibernating_agent_is_offline_until_it_is_restarted(server: Server) -> None:
    node = server.register()
    server.aws.agents(node, hibernating=True)
    server.aws.shift_clock(HOUR)
    assert server.ping() == ["ConnectionLost"]
    server.identity()
    server.host.restart()
    assert server.ping() == ["Online"]


@ministack_only
def test_a_new_fingerprint_stops_the_credentials(server: Server) -> None:
    node = server.register()
    server.aws.agents(node, new_fingerprint=True)
    assert server.ping() == ["Online"]
    server.aws.shift_clock(HOUR)
    server.host.restart()
    assert server.ping() == ["ConnectionLost"]
    with refused("ExpiredToken"):
        server.identity()
    server.register("-y")
    assert sorted(server.ping()) == ["ConnectionLost", "Online"]
    server.identity()


@ministack_only
def test_an_agent_reports_only_with_the_permission(server: Server) -> None:
    server.register()
    server.iam.detach_role_policy(RoleName=ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{CORE}")
    assert server.ping() == ["ConnectionLost"]
    server.identity()


@ministack_only
def test_an_agent_can_be_away_after_it_was_registered(server: Server) -> None:
    server.aws.be_unkind(Behaviour.AWAY_AGENTS, seconds=HOUR)
    server.register()
    assert (server.ping(), server.host.credentials.exists()) == (["ConnectionLost"], False)
    server.aws.shift_clock(4 * HOUR)
    assert server.ping() == ["Online"]
    server.identity()


# The files and the service of the host


def configure(host: Host, **profile: Any) -> None:
    host.configuration_file.write_text(json.dumps({"Profile": profile}))


@moto_only
def test_the_configuration_has_the_profile_of_the_credentials(server: Server) -> None:
    configure(server.host, ShareProfile="agent")
    server.register()
    assert server.host.credentials.read_text().startswith("[agent]\n")
    server.identity(server.host.session("agent"))
    configure(server.host, ShareCreds=False)
    server.host.credentials.unlink()
    server.host.restart()
    assert (server.ping(), server.host.credentials.exists()) == (["Online"], False)
    server.host.configuration_file.write_text("{")
    server.host.restart()
    assert server.host.session()


@moto_only
def test_the_service_can_have_another_credentials_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "shared"
    server.host.set_service_variables(AWS_SHARED_CREDENTIALS_FILE=str(file), A="b")
    server.register()
    assert (file.exists(), server.host.credentials.exists()) == (True, False)
    shown = server.host.run("systemctl", "show", "amazon-ssm-agent", "--property=Environment").stdout
    assert shown == f"Environment=AWS_SHARED_CREDENTIALS_FILE={file} A=b\n"


@moto_only
def test_systemctl_knows_only_the_unit_of_the_ssm_agent(server: Server) -> None:
    systemctl = lambda *words: server.host.run("systemctl", *words)  # noqa: E731
    assert systemctl("is-active", "amazon-ssm-agent").returncode == 3
    for verb in ("start", "start", "enable", "daemon-reload"):
        assert systemctl(verb, *([] if verb == "daemon-reload" else ["amazon-ssm-agent.service"])).returncode == 0
    shown = systemctl("show", "-p", "LoadState,ActiveState", "--value", "amazon-ssm-agent").stdout
    assert shown == "loaded\nactive\n"
    server.register()
    assert systemctl("stop", "amazon-ssm-agent").returncode == 0
    assert server.ping() == ["ConnectionLost"]
    assert systemctl("edit", "amazon-ssm-agent").returncode == 1
    unknown = systemctl("restart", "sshd")
    assert (unknown.returncode, unknown.stderr) == (5, "Failed to restart sshd: Unit sshd not found.\n")
    assert "LoadState=not-found" in systemctl("show", "sshd").stdout


@moto_only
def test_the_ssm_agent_can_be_a_snap_or_absent(aws: Emulator, tmp_path: Path) -> None:
    server = Server(aws, tmp_path / "web-1")
    server.host = aws.host(tmp_path / "snap", is_snap=True)
    server.register()
    assert server.host.unit == "snap.amazon-ssm-agent.amazon-ssm-agent"
    assert server.ping() == ["Online"]
    without = aws.host(tmp_path / "without", ssm_agent=False)
    assert not without.ssm_agent.exists()
    assert without.run("systemctl", "restart", "amazon-ssm-agent").returncode == 5


@needs_aws_cli
@ministack_only
def test_the_cloudwatch_agent_uses_its_common_configuration(aws: Emulator, tmp_path: Path) -> None:
    server = Server(aws, tmp_path / "web-1")
    aws.host(server.host.root, cloudwatch_agent=True)
    server.iam.attach_role_policy(RoleName=ROLE, PolicyArn="arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy")
    server.ssm.put_parameter(Name="AmazonCloudWatch-linux", Value="{}", Type="String")
    node = server.register()
    fetch = "amazon-cloudwatch-agent-ctl -a fetch-config -m onPremise -c ssm:AmazonCloudWatch-linux"
    assert "AmazonCloudWatchAgent) could not be found" in server.run(node, fetch)["StandardErrorContent"]
    etc = server.host.root / "opt/aws/amazon-cloudwatch-agent/etc"
    common = f'[credentials]\n  shared_credential_profile = "default"\n  shared_credential_file = "{tmp_path}/copy"\n'
    (etc / "common-config.toml").write_text(common)
    (tmp_path / "copy").write_text(f"{server.host.credentials.read_text().strip()}\nregion = {aws.region}\n")
    done = server.run(node, fetch)
    assert (done["Status"], done["StandardErrorContent"]) == ("Success", "")
    assert (etc / "amazon-cloudwatch-agent.d/ssm_AmazonCloudWatch-linux").read_text() == "{}"


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


@ministack_only
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


@ministack_only
def test_the_tags_of_an_activation_need_a_permission_on_its_role(server: Server, limited: Callable[..., Any]) -> None:
    statements = allow("ssm:CreateActivation"), allow("iam:PassRole")
    role, nodes = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}", f"arn:aws:ssm:*:{ACCOUNT}:managed-instance/*"
    for tagging in ([], [allow("ssm:AddTagsToResource", resource=nodes)]):
        with refused("AccessDeniedException", f"ssm:AddTagsToResource on resource: {role} "):
            limited(*statements, *tagging).create_activation(IamRole=ROLE, Tags=TAGS)
    assert server.activations() == []
    limited(*statements, allow("ssm:AddTagsToResource", resource=role)).create_activation(IamRole=ROLE, Tags=TAGS)


@ministack_only
def test_the_tags_of_an_activation_can_be_required(server: Server, limited: Callable[..., Any]) -> None:
    condition = {"StringEquals": {"aws:RequestTag/cwagent:managed": "created"}}
    ssm = limited(allow("ssm:CreateActivation", condition=condition), allow("iam:PassRole", "ssm:AddTagsToResource"))
    with refused("AccessDeniedException", "ssm:CreateActivation"):
        ssm.create_activation(IamRole=ROLE)
    ssm.create_activation(IamRole=ROLE, Tags=TAGS)


@ministack_only
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


@ministack_only
def test_a_command_needs_the_permission_for_the_node(server: Server, limited: Callable[..., Any]) -> None:
    node = server.register()
    document = "arn:aws:ssm:eu-central-1::document/AWS-RunShellScript"
    send = {"DocumentName": "AWS-RunShellScript", "InstanceIds": [node], "Parameters": {"commands": ["true"]}}
    documents = allow("ssm:SendCommand", resource=document)
    with refused("AccessDeniedException", f"managed-instance/{node}"):
        limited(documents, allow("ssm:SendCommand", resource="arn:aws:ec2:*:*:instance/*")).send_command(**send)
    limited(documents, allow("ssm:SendCommand", resource="arn:aws:ssm:*:*:managed-instance/*")).send_command(**send)


@ministack_only
@pytest.mark.parametrize("action", ["DescribeActivations", "DeleteActivation", "DescribeInstanceInformation"])
def test_other_calls_need_a_permission(server: Server, limited: Callable[..., Any], action: str) -> None:
    options = {"ActivationId": server.activate()["ActivationId"]} if action == "DeleteActivation" else {}
    calls = {
        "DescribeActivations": "describe_activations",
        "DeleteActivation": "delete_activation",
        "DescribeInstanceInformation": "describe_instance_information",
    }
    with refused("AccessDeniedException", f"ssm:{action}"):
        getattr(limited(allow("ssm:GetParameter")), calls[action])(**options)
    getattr(limited(allow(f"ssm:{action}")), calls[action])(**options)
