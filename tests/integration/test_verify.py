"""verify.yml: each violation, planted alone, is one failure, and a healthy fleet has none."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.host import Host
from harness import (
    CHECKOUT,
    HYBRID_ROLE,
    PARAMETER,
    POLICY_ARN,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    SSM_POLICY,
    UNREACHABLE,
    Controller,
    Play,
    allow,
    associate,
    create_hybrid_role,
    create_role,
    create_user,
    disassociate,
    hybrid_trust,
)
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.merge import merge
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import ROWS, Row
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES

pytestmark = pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make integration sets it up")

OURS = {"Key": "cwagent:managed", "Value": "created"}
CONFIG = '{"agent":{"region":"eu-central-1"}}'
AGENT = "opt/aws/amazon-cloudwatch-agent"
CONTROL = "amazon-cloudwatch-agent-ctl"
CLOSED = "http://127.0.0.1:9"
"""Nothing listens there."""
HEALTHY = {"identity": "ok", "permissions": "ok", "configuration": "ok", "endpoints": "ok", "agent": "ok"}


@dataclass
class Fleet:
    """Healthy servers: instances, and on-premises hosts that use the disks of instances that are no servers.

    :param machines: by host, the instance whose disk it has, or its node in Systems Manager.
    :param variables: by host, its variables in the inventory.
    :param hybrid: by host, the on-premises host that is registered.
    """

    controller: Controller
    machines: dict[str, str] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    hybrid: dict[str, Host] = field(default_factory=dict)

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    @property
    def instance(self) -> str:
        return self.machines["web1"]

    def add(self, host: str, user: str = "", **agent: Any) -> None:
        """Add an instance, or a server on premises with its own user. :param agent: settings of its SSM agent."""
        [machine] = self.aws.instances(1)
        self.machines[host] = machine
        environment = self.aws.agents(machine, **{"cloudwatch_agent": True, **agent})[machine]["environment"]
        # The agent's control program must not use the credentials of the controller, which runs it here.
        environment |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        environment |= {"AWS_SHARED_CREDENTIALS_FILE": str(self.key_file(host))} if user else {}
        self.variables[host] = {} if user else self.controller.instance_host(machine)
        self.variables[host] |= {"cwagent_environment": environment, "ansible_become": False}
        if user:
            self.variables[host]["cwagent_region"] = self.aws.region
            self.deliver(host, self.create_user(user))
        else:
            associate(self.aws, machine, SERVER_ROLE)
        if agent.get("cloudwatch_agent", True) and agent.get("aws_cli", True):
            mode = "onPremise" if user else "ec2"
            self.control(host, "-a", "fetch-config", "-m", mode, "-c", f"ssm:{PARAMETER}", "-s")

    def add_hybrid(self, host: str) -> None:
        """Add a server on premises that is registered with Systems Manager."""
        machine = self.hybrid[host] = self.aws.host(self.controller.home / host, cloudwatch_agent=True)
        self.machines[host] = self.register(host, machine)
        machine.restart()
        credentials = machine.credentials.read_text()
        machine.credentials.write_text(credentials.replace("[default]\n", f"[default]\nregion = {self.aws.region}\n"))
        self.point_at(host, machine.credentials)
        agent = self.aws.agents(self.machines[host], cloudwatch_agent=True)[self.machines[host]]
        environment = {**agent["environment"], "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        self.variables[host] = {
            "cwagent_onprem_identity": "hybrid",
            "cwagent_region": self.aws.region,
            "cwagent_environment": environment,
            "ansible_become": False,
        }
        self.control(host, "-a", "fetch-config", "-m", "onPremise", "-c", f"ssm:{PARAMETER}", "-s")

    def register(self, name: str, machine: Host, *tags: dict[str, str]) -> str:
        """Register a host with Systems Manager, and return its node."""
        activation = self.aws.client("ssm").create_activation(
            IamRole=HYBRID_ROLE, DefaultInstanceName=name, Tags=list(tags or [OURS])
        )
        return machine.register(activation, self.aws.region, "-y")

    def point_at(self, host: str, credentials: Path) -> None:
        """Let the agent of a hybrid server use a file."""
        lines = ["[credentials]", 'shared_credential_profile = "default"', f'shared_credential_file = "{credentials}"']
        config = self.hybrid[host].root / AGENT / "etc/common-config.toml"
        config.parent.mkdir(exist_ok=True)
        config.write_text("\n".join([*lines, ""]))

    def create_user(self, name: str) -> str:
        """Create a server user with an access key that is saved, and return the text of a credentials file."""
        self.iam.create_user(UserName=name)
        self.iam.attach_user_policy(UserName=name, PolicyArn=POLICY_ARN + SERVER_POLICY)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        lines = [
            "[AmazonCloudWatchAgent]",
            f"aws_access_key_id = {key['AccessKeyId']}",
            f"aws_secret_access_key = {key['SecretAccessKey']}",
            f"region = {self.aws.region}",
        ]
        self.controller.credentials.mkdir(mode=0o700, exist_ok=True)
        return self.controller.file(f"credentials/{name}.credentials", "\n".join([*lines, ""])).read_text()

    def saved_key(self, host: str) -> str:
        text = (self.controller.credentials / f"{SERVER_USER}-{host}.credentials").read_text()
        return text.partition("aws_access_key_id = ")[2].partition("\n")[0]

    def key_file(self, host: str) -> Path:
        return self.aws.disk(self.machines[host]) / "root/.aws/credentials"

    def deliver(self, host: str, text: str) -> None:
        file = self.key_file(host)
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        config = self.aws.disk(self.machines[host]) / AGENT / "etc/common-config.toml"
        config.parent.mkdir(exist_ok=True)
        config.write_text(f'[credentials]\n   shared_credential_file = "{file}"\n')

    def control(self, host: str, *arguments: str) -> None:
        environment = self.variables[host]["cwagent_environment"]
        subprocess.run([CONTROL, *arguments], env=environment, check=True, capture_output=True)

    def inventory(self) -> Path:
        groups: dict[str, dict[str, Any]] = {"ec2_servers": {}, "onprem_servers": {}, "onprem_admin": {"other": {}}}
        for host, variables in self.variables.items():
            groups["ec2_servers" if "instance_id" in variables else "onprem_servers"][host] = variables
        return self.controller.inventory(groups)

    @property
    def file(self) -> Path:
        return self.controller.home / "verified.json"

    def verify(self, *arguments: str, **variables: Any) -> Play:
        files = {
            "cwagent_key_store_directory": str(self.controller.credentials),
            "cwagent_report_files": str(self.file),
        }
        return self.controller.play(self.inventory(), "verify", *arguments, **{**files, **variables})

    def apply(self, first: Mapping[str, Any] | None = None, *arguments: str, **variables: Any) -> Play:
        """Run apply.yml. :param first: further variables of the first host."""
        for host, machine in self.machines.items():
            self.variables[host]["verify_agent_ctl"] = str(self.aws.disk(machine) / AGENT / "bin" / CONTROL)
        self.variables["web1"] |= first or {}
        folder: dict[str, Any] = {"cwagent_key_store_directory": str(self.controller.credentials)}
        return self.controller.play(self.inventory(), "apply", *arguments, **folder, **variables)

    def servers(self) -> dict[str, dict[str, Any]]:
        """The findings by host."""
        return {each["host"]: each for each in json.loads(self.file.read_text())["servers"]}

    def collect(self, *hosts: str, **arguments: Any) -> dict[str, Any]:
        """The result of the modules for some instances, by Run Command."""
        servers = [
            {"host": host, **({"hybrid": True} if host in self.hybrid else {"instance_id": self.machines[host]})}
            for host in hosts or ["web1"]
        ]
        read = run_module(self.aws, "cwagent_server_info", **{"servers": servers, **arguments})
        assert not read["failed"], read["msg"]
        asked = {"servers": read["servers"], "from": "run_command"}
        return run_module(self.aws, "cwagent_server_check", **asked)


@pytest.fixture
def account(controller: Controller) -> Fleet:
    """An account with the server role and a stored configuration, and no server."""
    create_role(controller.aws, SERVER_ROLE, SERVER_POLICY, SSM_POLICY)
    controller.aws.client("ssm").put_parameter(Name=PARAMETER, Value=CONFIG, Type="String")
    return Fleet(controller)


@pytest.fixture
def fleet(account: Fleet) -> Fleet:
    """A healthy instance."""
    account.add("web1")
    return account


@pytest.fixture
def hybrid(account: Fleet) -> Fleet:
    """A healthy hybrid server."""
    create_hybrid_role(account.aws, SERVER_POLICY, SSM_POLICY)
    account.iam.tag_role(RoleName=HYBRID_ROLE, Tags=[OURS])
    account.add_hybrid("db9")
    return account


DIGEST = hashlib.sha256(CONFIG.encode()).hexdigest()
SAID = f"""\
profile {SERVER_ROLE}
endpoint monitoring 404
endpoint logs 404
endpoint ssm 404
endpoint ec2 404
config {PARAMETER} 1 {DIGEST}
agent running
file {PARAMETER} {DIGEST}
end
"""
"""The output of a healthy instance."""


def boundary(fleet: Fleet, *actions: str) -> str:
    document = allow(*actions)
    arn: str = fleet.iam.create_policy(PolicyName="Boundary", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    return arn


def remove_profile(fleet: Fleet) -> None:
    disassociate(fleet.aws, fleet.instance)


def associate_other_profile(fleet: Fleet) -> None:
    create_role(fleet.aws, "Shop", SSM_POLICY)
    fleet.iam.put_role_policy(RoleName="Shop", PolicyName="x", PolicyDocument=json.dumps(allow("s3:*")))
    associate(fleet.aws, fleet.instance, "Shop")


def block_metrics_by_boundary(fleet: Fleet) -> None:
    arn = boundary(fleet, "logs:*", "ssm:*", "ssmmessages:*", "ec2messages:*")
    fleet.iam.put_role_permissions_boundary(RoleName=SERVER_ROLE, PermissionsBoundary=arn)


def delete_parameter(fleet: Fleet) -> None:
    fleet.aws.client("ssm").delete_parameter(Name=PARAMETER)


def store_another_version(fleet: Fleet) -> None:
    fleet.aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Overwrite=True)


def stop_agent(fleet: Fleet) -> None:
    fleet.control("web1", "-a", "stop", "-m", "ec2")


def allow_writing(fleet: Fleet) -> None:
    document = json.dumps(allow("ssm:PutParameter"))
    fleet.iam.put_role_policy(RoleName=SERVER_ROLE, PolicyName="write", PolicyDocument=document)


def remove_role_from_profile(fleet: Fleet) -> None:
    fleet.iam.remove_role_from_instance_profile(InstanceProfileName=SERVER_ROLE, RoleName=SERVER_ROLE)


ON_EC2 = {
    "no profile": (remove_profile, "identity", "It has no instance profile."),
    "a profile without a role": (
        remove_role_from_profile,
        "identity",
        f"Instance profile '{SERVER_ROLE}' has no role.",
    ),
    "another profile without the policy": (
        associate_other_profile,
        "permissions",
        "Role 'Shop' lacks cloudwatch:PutMetricData, logs:PutLogEvents.",
    ),
    "a boundary that blocks": (
        block_metrics_by_boundary,
        "permissions",
        f"Permissions boundary Boundary of role '{SERVER_ROLE}' blocks cloudwatch:PutMetricData.",
    ),
    "a role that may write": (allow_writing, "permissions", f"Role '{SERVER_ROLE}' may write the configuration."),
    "no parameter": (delete_parameter, "configuration", "No configuration is stored in eu-central-1."),
    "another version running": (store_another_version, "agent", f"The agent does not run the stored {PARAMETER}."),
    "the agent stopped": (stop_agent, "agent", "The agent is stopped."),
}


@pytest.mark.parametrize("planted", ON_EC2)
def test_each_violation_alone_is_one_failure_by_run_command(fleet: Fleet, planted: str) -> None:
    plant, check, what = ON_EC2[planted]
    plant(fleet)
    found = fleet.collect()
    [server] = found["servers"]
    assert [each["check"] for each in server["failures"]] == [check], server
    [failure] = server["failures"]
    assert failure["what"].startswith(what)
    assert failure["fix"]
    assert server["status"][check] == "FAIL"
    assert found["failed_hosts"] == ["web1"]


def test_a_healthy_instance_has_no_failure_by_run_command(fleet: Fleet) -> None:
    found = fleet.collect()
    [server] = found["servers"]
    assert (server["failures"], server["notes"], server["seen_by"]) == ([], [], "run_command")
    assert server["status"] == HEALTHY
    assert found["failed_hosts"] == []
    assert [call.action for call in fleet.aws.calls() if call.write and call.action == "PutParameter"] == [
        "PutParameter"
    ]


def test_a_healthy_fleet_has_no_failure(fleet: Fleet) -> None:
    play = fleet.verify().assert_succeeded()
    assert {host: server["failures"] for host, server in fleet.servers().items()} == {"web1": []}
    assert play.problems == [
        "server                          identity  IAM  config  network  agent",
        "web1                            ok        ok   ok      ok       ok",
        "1 of 1 server without a failure.",
    ]
    assert play.writes == []


# Hybrid servers


def deregister(fleet: Fleet) -> None:
    fleet.aws.client("ssm").deregister_managed_instance(InstanceId=fleet.machines["db9"])


def remove_mark(fleet: Fleet) -> None:
    fleet.aws.client("ssm").remove_tags_from_resource(
        ResourceType="ManagedInstance", ResourceId=fleet.machines["db9"], TagKeys=[OURS["Key"]]
    )


def leave_earlier_node(fleet: Fleet) -> None:
    fleet.register("db9", fleet.aws.host(fleet.controller.home / "earlier"))


def stop_ssm_agent(fleet: Fleet) -> None:
    fleet.aws.agents(fleet.machines["db9"], running=False)


def detach_from_hybrid_role(fleet: Fleet, policy: str) -> None:
    fleet.iam.detach_role_policy(RoleName=HYBRID_ROLE, PolicyArn=POLICY_ARN + policy)


def trust_another_account(fleet: Fleet) -> None:
    other = hybrid_trust(fleet.aws, StringEquals={"aws:SourceAccount": "210987654321"})
    fleet.iam.update_assume_role_policy(RoleName=HYBRID_ROLE, PolicyDocument=other)


def copy_credentials(fleet: Fleet) -> None:
    copy = fleet.controller.file("copy", fleet.hybrid["db9"].credentials.read_text())
    fleet.point_at("db9", copy)


def use_key(fleet: Fleet) -> None:
    text = fleet.create_user(f"{SERVER_USER}-db9").replace("[AmazonCloudWatchAgent]", "[default]")
    fleet.hybrid["db9"].credentials.write_text(text)


HYBRID = {
    "not registered": (deregister, "identity", "It is not registered with Systems Manager: no node in eu-central-1"),
    "registered by others": (remove_mark, "identity", "This collection did not register mi-"),
    "an earlier node": (leave_earlier_node, "identity", "Systems Manager has 2 nodes with its name in eu-central-1: "),
    "the SSM agent stopped": (stop_ssm_agent, "identity", "The SSM agent of node mi-"),
    "no SSM policy": (
        lambda fleet: detach_from_hybrid_role(fleet, SSM_POLICY),
        "permissions",
        f"Role '{HYBRID_ROLE}' lacks ssm:UpdateInstanceInformation.",
    ),
    "no server policy": (
        lambda fleet: detach_from_hybrid_role(fleet, SERVER_POLICY),
        "permissions",
        f"Role '{HYBRID_ROLE}' lacks cloudwatch:PutMetricData, logs:PutLogEvents.",
    ),
    "a trust for another account": (
        trust_another_account,
        "identity",
        f"Role '{HYBRID_ROLE}' does not let ssm.amazonaws.com assume it in eu-central-1.",
    ),
    "a copy of the credentials": (copy_credentials, "identity", "The agent uses the credentials in "),
    "an access key": (use_key, "identity", "The credentials in "),
    "no parameter": (delete_parameter, "configuration", "No configuration is stored in eu-central-1."),
    "another version running": (store_another_version, "agent", f"The agent does not run the stored {PARAMETER}."),
}


@pytest.mark.parametrize("planted", HYBRID)
def test_each_violation_of_a_hybrid_server_is_one_failure(hybrid: Fleet, planted: str) -> None:
    plant, check, what = HYBRID[planted]
    plant(hybrid)
    [server] = hybrid.collect("db9")["servers"]
    assert [each["check"] for each in server["failures"]] == [check], server
    [failure] = server["failures"]
    assert failure["what"].startswith(what)
    assert failure["fix"]


@pytest.mark.parametrize("way", ["ansible", "run_command", "auto"])
def test_a_healthy_hybrid_server_has_no_failure(hybrid: Fleet, way: str) -> None:
    if way == "auto":
        hybrid.variables["db9"] |= UNREACHABLE
    play = hybrid.verify(cwagent_verify_from=way).assert_succeeded()
    server = hybrid.servers()["db9"]
    assert (server["failures"], server["notes"], server["status"]) == ([], [], HEALTHY)
    assert server["seen_by"] == ("ansible" if way == "ansible" else "run_command")
    assert play.writes == (["SendCommand"] if server["seen_by"] == "run_command" else [])


def test_the_hybrid_role_can_have_another_name(hybrid: Fleet) -> None:
    hybrid.verify(cwagent_hybrid_role_name="Other").assert_failed()
    [failure] = hybrid.servers()["db9"]["failures"]
    assert failure["what"].endswith(f" has role '{HYBRID_ROLE}', not the hybrid role 'Other'.")
    [server] = hybrid.collect("db9", hybrid_role=f"monitoring/{HYBRID_ROLE}")["servers"]
    assert server["failures"] == []


@pytest.mark.parametrize("way", ["ansible", "run_command"])
def test_apply_restarts_the_agents_of_hybrid_servers(hybrid: Fleet, way: str) -> None:
    hybrid.add("web1")
    hybrid.variables["db9"] |= UNREACHABLE if way == "run_command" else {}
    store_new_config(hybrid)
    checked = hybrid.apply({}, "--check").assert_succeeded()
    assert running(hybrid, "db9")[0] == CONFIG
    play = hybrid.apply().assert_succeeded()
    assert {running(hybrid, host)[0] for host in hybrid.machines} == {NEW_CONFIG}
    assert play.report == [line.replace("would be ", "") for line in checked.report]
    modes = [each["parameters"]["mode"] for each in hybrid.aws.commands() if "ManageAgent" in each["document"]]
    assert modes == ([["onPremise"]] if way == "run_command" else [])
    assert hybrid.apply().assert_succeeded().report == ["Nothing to do."]


# Permissions that the configuration needs

CENTRAL_ROLE = "Central"
WORKSPACE = "ws-1"
VOLUMES = "metrics.metrics_collected.disk.append_dimensions.VolumeId"
LIST = "logs.logs_collected.*.collect_list.*.retention_in_days"
AMP = "metrics.metrics_destinations.amp.workspace_id"
ECS = "logs.metrics_collected.prometheus.ecs_service_discovery"
NEEDS: dict[str, dict[str, Any]] = {
    "agent.credentials.role_arn": {"agent": {"credentials": {"role_arn": CENTRAL_ROLE}}},
    "metrics.credentials.role_arn": {"metrics": {"credentials": {"role_arn": CENTRAL_ROLE}}},
    "logs.credentials.role_arn": {"logs": {"credentials": {"role_arn": CENTRAL_ROLE}}},
    "traces.credentials.role_arn": {"traces": {"credentials": {"role_arn": CENTRAL_ROLE}}},
    AMP: {"metrics": {"metrics_destinations": {"amp": {"workspace_id": WORKSPACE}}}},
    ECS: {"logs": {"metrics_collected": {"prometheus": {"ecs_service_discovery": {}}}}},
    f"{ECS}.service_name_list_for_tasks": {
        "logs": {"metrics_collected": {"prometheus": {"ecs_service_discovery": {"service_name_list_for_tasks": []}}}}
    },
    "metrics.append_dimensions.AutoScalingGroupName": {
        "metrics": {"append_dimensions": {"AutoScalingGroupName": "${aws:AutoScalingGroupName}"}}
    },
    VOLUMES: {"metrics": {"metrics_collected": {"disk": {"append_dimensions": {"VolumeId": "${aws:VolumeId}"}}}}},
    LIST: {"logs": {"logs_collected": {"files": {"collect_list": [{"retention_in_days": 30}]}}}},
    "traces.traces_collected": {"traces": {"traces_collected": {"xray": {}}}},
    "opentelemetry.collect.otlp": {"opentelemetry": {"collect": {"otlp": {}}}},
}
"""By field, a configuration with it."""
FIELDS = [(row, place) for row in ROWS for place in row.fields]


def trusting(account: Fleet, *principals: str) -> str:
    """Create a role that trusts these, and return its ARN."""
    statement = {"Effect": "Allow", "Principal": {"AWS": list(principals)}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = account.iam.create_role(RoleName=CENTRAL_ROLE, AssumeRolePolicyDocument=document)["Role"]
    arn: str = role["Arn"]
    return arn


@dataclass
class Needy:
    """A server that is checked through EC2 and IAM only, with one configuration after the other."""

    fleet: Fleet
    role: str

    def store(self, config: Any) -> None:
        value = json.dumps(config).replace(f'"{CENTRAL_ROLE}"', f'"{self.role}"')
        self.fleet.aws.client("ssm").put_parameter(Name=PARAMETER, Value=value, Overwrite=True)

    def put_policy(self, document: Any) -> None:
        """Replace the policy of AWS on the server role with a custom policy."""
        iam = self.fleet.iam
        iam.put_role_policy(RoleName=SERVER_ROLE, PolicyName="custom", PolicyDocument=json.dumps(document))
        iam.detach_role_policy(RoleName=SERVER_ROLE, PolicyArn=POLICY_ARN + SERVER_POLICY)

    def failures(self, **options: Any) -> list[dict[str, str]]:
        servers = [{"host": "web1", "instance_id": self.fleet.instance}]
        read = run_module(self.fleet.aws, "cwagent_server_info", **{"servers": servers, **options})
        assert not read["failed"], read["msg"]
        [server] = read["servers"]
        found: list[dict[str, str]] = server["failures"]
        assert server["notes"] == []
        return found


@pytest.fixture
def needy(account: Fleet) -> Needy:
    account.add("web1", cloudwatch_agent=False)
    owner = account.aws.client("sts").get_caller_identity()["Account"]
    return Needy(account, trusting(account, f"arn:aws:iam::{owner}:root"))


BEYOND = [(row, place) for row, place in FIELDS if not row.is_in_server_policy]
ORDINARY = [(row, place) for row, place in FIELDS if row.is_in_server_policy]
ALL_ALLOWED = ("cloudwatch:*", "ec2:Describe*", "logs:*", "ssm:GetParameter", "xray:*", "sts:*", "aps:*", "ecs:*")


def all_of(fields: list[tuple[Row, str]]) -> dict[str, Any]:
    """A configuration with all of these fields but roles. To discover services of ECS includes its tasks."""
    return merge([NEEDS[place] for _row, place in fields if not place.endswith(("role_arn", ECS))])


def lacks(row: Row, place: str) -> str:
    return f"Role '{SERVER_ROLE}' lacks {', '.join(row.actions)}, which {place} of {PARAMETER} needs."


def test_each_need_beyond_the_server_policy_is_a_failure(needy: Needy, subtests: pytest.Subtests) -> None:
    for row, place in BEYOND:
        needy.store(NEEDS[place])
        with subtests.test(field=place):
            failures = needy.failures()
            assert failures[-1]["what"] == lacks(row, place)
            assert {each["check"] for each in failures} == {"permissions"}
            assert f"Allow {', '.join(row.actions)}" in failures[-1]["fix"]
            # With services of ECS, its tasks are discovered too.
            assert len(failures) == (2 if place.endswith("service_name_list_for_tasks") else 1)
    needy.put_policy(allow(*ALL_ALLOWED))
    needy.store(all_of(BEYOND))
    assert needy.failures() == []
    needy.store(NEEDS["logs.credentials.role_arn"])
    assert needy.failures() == []


def test_each_ordinary_need_that_a_custom_policy_lacks_is_one_failure(needy: Needy, subtests: pytest.Subtests) -> None:
    """The policy of AWS allows all of them."""
    needy.store(all_of(ORDINARY))
    assert needy.failures() == []
    needy.put_policy(allow("cloudwatch:PutMetricData", "logs:PutLogEvents", "ssm:GetParameter"))
    for row, place in ORDINARY:
        with subtests.test(field=place):
            needy.store(NEEDS[place])
            assert [each["what"] for each in needy.failures()] == [lacks(row, place)]


def test_the_boundary_of_the_examples_blocks_each_need_beyond_the_server_policy(needy: Needy) -> None:
    text = (CHECKOUT / "examples" / "policies" / "boundary.json").read_text()
    arn = needy.fleet.iam.create_policy(PolicyName="Boundary", PolicyDocument=text)["Policy"]["Arn"]
    needy.fleet.iam.put_role_permissions_boundary(RoleName=SERVER_ROLE, PermissionsBoundary=arn)
    needy.put_policy(allow(*ALL_ALLOWED))

    def blocked(row: Row, place: str) -> str:
        actions = ", ".join(row.actions)
        begin = f"Permissions boundary Boundary of role '{SERVER_ROLE}' blocks {actions}"
        return f"{begin}, which {place} of {PARAMETER} needs."

    needy.store(all_of(FIELDS))
    assert [each["what"] for each in needy.failures()] == [
        blocked(row, place) for row, place in BEYOND if not place.endswith("role_arn")
    ]
    needy.store(NEEDS["logs.credentials.role_arn"])
    [failure] = needy.failures()
    assert failure["what"] == blocked(ROWS[0], "logs.credentials.role_arn")
    assert failure["fix"] == f"Allow sts:AssumeRole in policy {arn}."


def test_volume_ids_with_the_admin_policy_are_one_failure(needy: Needy) -> None:
    create_role(needy.fleet.aws, "Other", "CloudWatchAgentAdminPolicy")
    disassociate(needy.fleet.aws, needy.fleet.instance)
    associate(needy.fleet.aws, needy.fleet.instance, "Other")
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*"}]}
    needy.fleet.iam.put_role_policy(RoleName="Other", PolicyName="deny", PolicyDocument=json.dumps(deny))
    needy.store({})
    assert needy.failures() == []
    needy.store(NEEDS[VOLUMES])
    [failure] = needy.failures()
    assert failure["what"] == f"Role 'Other' lacks ec2:DescribeVolumes, which {VOLUMES} of {PARAMETER} needs."
    assert failure["fix"].endswith(f"Associate instance profile '{SERVER_ROLE}'.")


def test_an_assumed_role_that_does_not_trust_the_server_is_one_failure(needy: Needy) -> None:
    needy.put_policy(allow("cloudwatch:*", "logs:*", "ssm:GetParameter", "sts:AssumeRole"))
    needy.store(NEEDS["agent.credentials.role_arn"])
    assert needy.failures() == []
    trusted = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    needy.fleet.iam.update_assume_role_policy(RoleName=CENTRAL_ROLE, PolicyDocument=document)
    [failure] = needy.failures()
    part = f"agent.credentials.role_arn of {PARAMETER}"
    assert failure["what"] == f"Role 'Central', which {part} names, does not trust role '{SERVER_ROLE}'."
    needy.fleet.iam.delete_role(RoleName=CENTRAL_ROLE)
    [failure] = needy.failures()
    assert failure["what"] == f"{part} names role {needy.role}, which does not exist."


def test_iam_itself_answers_what_a_configuration_needs(needy: Needy) -> None:
    needy.store(NEEDS[AMP])
    since = needy.fleet.aws.mark()
    [failure] = needy.failures(simulate=True)
    assert failure["what"].startswith(f"Role '{SERVER_ROLE}' lacks aps:RemoteWrite")
    asked = [call for call in needy.fleet.aws.calls(since) if call.action == "SimulatePrincipalPolicy"]
    assert len(asked) == 3, "one for each resource: the calls without one, the parameter and the workspace"


def test_a_healthy_fleet_with_a_configuration_that_needs_all_of_it_has_no_failure(account: Fleet) -> None:
    """On EC2 and on premises. A custom policy allows the actions that the policy of AWS lacks."""
    files = CHECKOUT / "examples" / "agent-config" / "linux.json"
    config = json.loads(files.read_text())
    config["traces"] = NEEDS["traces.traces_collected"]["traces"]
    config["metrics"]["metrics_destinations"] = NEEDS[AMP]["metrics"]["metrics_destinations"]
    account.aws.client("ssm").put_parameter(Name=PARAMETER, Value=json.dumps(config), Overwrite=True)
    account.add("web1")
    account.add("db1", f"{SERVER_USER}-db1")
    document = json.dumps(allow("aps:RemoteWrite"))
    account.iam.put_role_policy(RoleName=SERVER_ROLE, PolicyName="amp", PolicyDocument=document)
    account.iam.put_user_policy(UserName=f"{SERVER_USER}-db1", PolicyName="amp", PolicyDocument=document)
    play = account.verify().assert_succeeded()
    assert {host: (server["failures"], server["status"]) for host, server in account.servers().items()} == {
        host: ([], HEALTHY) for host in ("web1", "db1")
    }
    assert play.writes == []
    account.iam.delete_role_policy(RoleName=SERVER_ROLE, PolicyName="amp")
    failed = account.verify().assert_failed()
    what = f"Role '{SERVER_ROLE}' lacks aps:RemoteWrite, which {AMP} of {PARAMETER} needs."
    assert failed.message == f"Servers that fail: 1 of 2. web1: {what}"
    failed.assert_narrow()


# By Ansible


def test_each_violation_alone_is_one_failure_by_ansible(account: Fleet) -> None:
    """Each server but two has one violation, so that one run shows them all."""
    for host in ("web1", "web2", "web3"):
        account.add(host)
    account.add("web4", cloudwatch_agent=False)
    account.add("web5", aws_cli=False, cloudwatch_agent=False)
    for number in range(1, 6):
        account.add(f"db{number}", f"{SERVER_USER}-db{number}")
    account.variables["web2"]["cwagent_environment"]["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"] = CLOSED
    account.control("web3", "-a", "stop", "-m", "ec2")
    account.iam.update_access_key(
        UserName=f"{SERVER_USER}-db2", AccessKeyId=account.saved_key("db2"), Status="Inactive"
    )
    account.key_file("db3").write_text(account.key_file("db1").read_text())
    account.key_file("db4").unlink()
    other = account.iam.create_access_key(UserName=f"{SERVER_USER}-db5")["AccessKey"]
    text = account.key_file("db5").read_text().replace(account.saved_key("db5"), other["AccessKeyId"])
    account.key_file("db5").write_text(text)

    play = account.verify().assert_failed()
    assert play.writes == []
    found = account.servers()
    failures = {host: (each["check"], each["what"]) for host, server in found.items() for each in server["failures"]}
    key = {host: account.saved_key(host) for host in ("db1", "db2", "db5")}
    file = {host: account.key_file(host) for host in ("db3", "db4", "db5")}
    users = {host: f"'{SERVER_USER}-{host}'" for host in ("db1", "db2", "db3")}
    assert failures == {
        "web2": ("endpoints", "It does not reach logs in eu-central-1."),
        "web3": ("agent", "The agent is stopped."),
        "db2": ("identity", f"Access key {key['db2']} of user {users['db2']} is inactive."),
        "db3": ("identity", f"Access key {key['db1']} in {file['db3']} is of user {users['db1']}, not {users['db3']}."),
        "db4": ("identity", f"{file['db4']} has no access key for the agent."),
        "db5": ("identity", f"{file['db5']} has access key {other['AccessKeyId']}, and {key['db5']} is the saved one."),
    }
    assert sum(len(server["failures"]) for server in found.values()) == len(failures)
    assert {each["seen_by"] for each in found.values()} == {"ansible"}
    assert found["web1"]["status"] == found["db1"]["status"] == HEALTHY
    assert found["web4"]["status"] == {**HEALTHY, "agent": "none"}
    assert found["web5"]["status"] == {**HEALTHY, "configuration": "?", "agent": "none"}
    first = next(iter(failures))
    assert f"Servers that fail: 6 of 10. {first}: {failures[first][1]} There are 5 more problems." == play.message
    play.assert_narrow()
    secrets = {path.read_text().split()[-4] for path in account.controller.credentials.iterdir()}
    assert [secret for secret in secrets if secret in play.output] == []


def test_how_facts_are_collected_is_a_variable(fleet: Fleet, subtests: pytest.Subtests) -> None:
    """A host that Ansible does not reach is read with Run Command where that is allowed."""
    fleet.variables["web1"] |= UNREACHABLE
    fleet.add("web2")
    expected = {
        "auto": {"web1": "run_command", "web2": "ansible"},
        "run_command": {"web1": "run_command", "web2": "run_command"},
        "ansible": {"web1": "", "web2": "ansible"},
        "none": {"web1": "", "web2": ""},
    }
    for way, seen in expected.items():
        with subtests.test(way=way):
            play = fleet.verify(cwagent_verify_from=way)
            assert {host: each["seen_by"] for host, each in fleet.servers().items()} == seen
            assert (play.code != 0) == (way == "ansible"), play.output
            assert play.writes == (["SendCommand"] if way in ("auto", "run_command") else [])
    [failure] = fleet.servers()["web1"]["notes"][:1]
    assert failure["what"] == "It was checked only through the EC2 and IAM APIs."


# Windows

WINDOWS = "The server runs Windows, and only Linux servers are checked from the inside."
UNSEEN = {"identity": "?", "permissions": "ok", "configuration": "?", "endpoints": "?", "agent": "?"}


def add_windows(fleet: Fleet) -> None:
    """A healthy Windows instance, to which Ansible has no connection."""
    fleet.add("win1", platform="Windows", cloudwatch_agent=False)
    fleet.variables["win1"] |= UNREACHABLE


@pytest.mark.parametrize("way", ["auto", "ansible", "run_command"])
def test_a_healthy_windows_server_has_no_failure(fleet: Fleet, way: str) -> None:
    add_windows(fleet)
    play = fleet.verify(cwagent_verify_from=way).assert_succeeded()
    server = fleet.servers()["win1"]
    assert (server["failures"], server["status"], server["seen_by"]) == ([], UNSEEN, "")
    assert {each["what"] for each in server["notes"]} == {WINDOWS}
    assert play.problems[2] == "win1                            ?         ok   ?       ?        ?"
    assert " ".join(" ".join(play.problems[4:]).split()) == f"- win1: {WINDOWS}"
    assert [each.host for each in play.results if each.outcome == "unreachable"] == []
    assert {*play.writes} == ({"SendCommand"} if way == "run_command" else set())


@pytest.mark.parametrize("planted", [remove_profile, allow_writing, delete_parameter])
def test_a_windows_server_fails_its_checks_through_ec2_and_iam(account: Fleet, planted: Any) -> None:
    account.add("web1", platform="Windows", cloudwatch_agent=False)
    planted(account)
    account.verify().assert_failed()
    server = account.servers()["web1"]
    _plant, check, what = next(each for each in ON_EC2.values() if each[0] is planted)
    assert [each["check"] for each in server["failures"]] == [check]
    assert server["failures"][0]["what"].startswith(what)
    assert server["status"] == {**UNSEEN, check: "FAIL"}


def test_systems_manager_can_be_the_only_one_that_reports_windows(fleet: Fleet) -> None:
    """The caller may not call EC2."""
    add_windows(fleet)
    fleet.aws.arm(Fault(Kind.DENY, service="ec2", action="DescribeInstances", times=1000))
    fleet.verify().assert_succeeded()
    server = fleet.servers()["win1"]
    assert (server["failures"], server["status"]) == ([], UNSEEN)


@pytest.mark.parametrize("way", ["auto", "ansible", "run_command"])
def test_a_linux_server_from_which_nothing_is_read_fails_beside_windows(fleet: Fleet, way: str) -> None:
    add_windows(fleet)
    fleet.aws.agents(fleet.instance, running=False)
    fleet.variables["web1"] |= UNREACHABLE
    fleet.verify(cwagent_verify_from=way).assert_failed()
    assert {host: [each["check"] for each in server["failures"]] for host, server in fleet.servers().items()} == {
        "web1": ["agent"],
        "win1": [],
    }


def test_apply_skips_windows_servers_and_reports_them(fleet: Fleet) -> None:
    add_windows(fleet)
    store_new_config(fleet)
    play = fleet.apply().assert_succeeded()
    assert play.report[:2] == ["1 updated:", "- fetch configuration AmazonCloudWatch-linux and restart the agent"]
    assert " ".join(play.report[2:]) == (
        "Skipped, because they run Windows: win1. Run the document AmazonCloudWatch-ManageAgent of Systems Manager for "
        "them, or fetch the configuration on each server in PowerShell."
    )
    assert "SendCommand" not in play.writes
    again = fleet.apply().assert_succeeded()
    assert again.report[0] == "Nothing to do."
    assert again.report[1].startswith("Skipped, because they run Windows: win1.")


def test_check_mode_finds_the_same_and_writes_no_file(fleet: Fleet) -> None:
    fleet.control("web1", "-a", "stop", "-m", "ec2")
    play = fleet.verify().assert_failed()
    fleet.file.unlink()
    checked = fleet.verify("--check").assert_failed()
    assert checked.problems == play.problems
    assert not fleet.file.exists()


def test_limit_leaves_out_servers(fleet: Fleet) -> None:
    fleet.add("web2")
    fleet.verify("--limit", "localhost,web2").assert_succeeded()
    assert list(fleet.servers()) == ["web2"]
    nobody = fleet.verify("--limit", "localhost,other").assert_failed()
    assert "The limit leaves out all hosts of the groups" in nobody.message


# Run Command


def test_calls_grow_with_batches_and_pages_and_not_with_hosts(account: Fleet) -> None:
    hosts = [f"web{number}" for number in range(200)]
    ec2 = account.aws.client("ec2")
    machines = account.aws.instances(200)
    account.machines = dict(zip(hosts, machines, strict=True))
    account.aws.agents(answer={"code": 0, "stdout": SAID, "stderr": ""})
    for machine in machines:
        ec2.associate_iam_instance_profile(InstanceId=machine, IamInstanceProfile={"Name": SERVER_ROLE})
    since = account.aws.mark()
    found = account.collect(*hosts)
    assert found["failed_hosts"] == []
    made = account.aws.calls(since)
    calls = Counter(call.action for call in made)
    assert (calls["SendCommand"], calls["DescribeInstanceInformation"]) == (4, 4)
    assert calls["GetCommandInvocation"] == 0
    # Each look at a command is one page. How many looks there are depends on how fast its hosts answer.
    looks = [call.params for call in made if call.action == "ListCommandInvocations"]
    assert len({each["CommandId"] for each in looks}) == 4
    assert not any("NextToken" in each for each in looks)
    assert sum(calls.values()) - calls["ListCommandInvocations"] < 30, calls
    assert found["lines"][41:43] == ["and 160 more", "200 of 200 servers without a failure."]


# apply.yml

NEW_CONFIG = '{"agent":{"metrics_collection_interval":60}}'


def store_new_config(fleet: Fleet) -> None:
    fleet.aws.client("ssm").put_parameter(Name=PARAMETER, Value=NEW_CONFIG, Overwrite=True)


def running(fleet: Fleet, host: str) -> tuple[str, str]:
    """The configuration that an agent runs, and when it was started."""
    folder = fleet.aws.disk(fleet.machines[host]) / AGENT
    return (folder / f"etc/amazon-cloudwatch-agent.d/ssm_{PARAMETER}").read_text(), str(
        (folder / "var/running").stat().st_mtime_ns
    )


def documents(fleet: Fleet) -> list[str]:
    return [each["document"] for each in fleet.aws.commands()]


def test_apply_restarts_the_agents_that_run_something_else(fleet: Fleet) -> None:
    """web1 by Ansible, web2 by Run Command, db1 on premises; web3 runs the new configuration already."""
    for host in ("web2", "web3"):
        fleet.add(host)
    fleet.add("db1", f"{SERVER_USER}-db1")
    fleet.variables["web2"] |= UNREACHABLE
    store_new_config(fleet)
    fleet.control("web3", "-a", "fetch-config", "-m", "ec2", "-c", f"ssm:{PARAMETER}", "-s")
    before = {host: running(fleet, host) for host in fleet.machines}

    checked = fleet.apply({}, "--check").assert_succeeded()
    assert {host: running(fleet, host) for host in fleet.machines} == before
    assert "AmazonCloudWatch-ManageAgent" not in documents(fleet)

    play = fleet.apply().assert_succeeded()
    assert {running(fleet, host)[0] for host in fleet.machines} == {NEW_CONFIG}
    assert running(fleet, "web3") == before["web3"]
    assert documents(fleet).count("AmazonCloudWatch-ManageAgent") == 1
    assert sorted(play.outcomes) == sorted(checked.outcomes)  # the hosts of a task end in any order
    assert play.report == [line.replace("would be ", "") for line in checked.report]
    assert play.report[0] == "3 updated:"
    fleet.verify().assert_succeeded()

    again = fleet.apply().assert_succeeded()
    assert again.report == ["Nothing to do."]
    assert again.changed_tasks == []
    assert documents(fleet).count("AmazonCloudWatch-ManageAgent") == 1


def test_the_environment_of_a_server_never_appears_in_output(account: Fleet) -> None:
    """Both kinds of servers use it, and a secret in it never appears in output, at any verbosity."""
    account.add("web1")
    account.add("db1", f"{SERVER_USER}-db1")
    for variables in account.variables.values():
        variables["cwagent_environment"] |= {"MY_PROXY": "http://me:s3cr'et@proxy", "MY_NOTE": "s3cr'et"}
    verified = account.verify("-vvvv", "--diff").assert_succeeded()
    store_new_config(account)
    applied = account.apply({}, "-vvvv", "--diff").assert_succeeded()
    again = account.apply({}, "-vvvv").assert_succeeded()
    assert applied.changed_tasks == ["cwagent.iam.verify : Apply the configuration with Ansible"] * 2
    assert again.changed_tasks == []
    for play in (verified, applied, again):
        assert "s3cr" not in play.output
        assert "s3cr" not in str([each.result for each in play.results])


def test_apply_stops_when_more_servers_of_a_batch_fail_than_may(fleet: Fleet) -> None:
    for host in ("web2", "web3"):
        fleet.add(host)
        fleet.variables[host] |= UNREACHABLE
    store_new_config(fleet)
    missing = {"verify_agent_ctl": "/nowhere/ctl"}
    play = fleet.apply(missing, cwagent_batch_size=[1, "100%"]).assert_failed()
    reason = "on web1: There is no CloudWatch agent: /nowhere/ctl does not exist."
    assert reason in play.message
    assert "AmazonCloudWatch-ManageAgent" not in documents(fleet)
    first, *notes = play.report
    assert first == "Nothing was changed."
    assert reason in " ".join(notes)
    assert " ".join(notes).endswith(
        " Skipped, because more servers of a batch failed than cwagent_max_fail_percentage allows (0 %): web2, web3."
    )

    play = fleet.apply(missing, cwagent_batch_size="2", cwagent_max_fail_percentage=50).assert_failed()
    assert [each.host for each in play.failures if each.outcome == "failed"] == ["web1", "localhost"]
    assert {host: running(fleet, host)[0] for host in fleet.machines} == {
        "web1": CONFIG,
        "web2": NEW_CONFIG,
        "web3": NEW_CONFIG,
    }
    assert play.report[:3] == [
        "2 updated:",
        "- apply the configuration on web2",
        "- apply the configuration on web3",
    ]
    assert "Skipped" not in " ".join(play.report)


def test_servers_that_were_not_seen_or_may_not_read_fail(fleet: Fleet) -> None:
    fleet.add("db1", f"{SERVER_USER}-db1")
    fleet.add("db2", f"{SERVER_USER}-db2")
    fleet.variables["db1"] |= UNREACHABLE
    policy = f"{POLICY_ARN}{SERVER_POLICY}"
    fleet.aws.client("iam").detach_user_policy(UserName=f"{SERVER_USER}-db2", PolicyArn=policy)
    store_new_config(fleet)
    play = fleet.apply(cwagent_batch_size="100%").assert_failed()
    assert play.report[0] == "1 updated:"
    reported = " ".join(play.report)
    assert "The configuration was not applied on db1: Nothing was read on the server: " in reported
    assert f"The configuration was not applied on db2: User '{SERVER_USER}-db2' lacks " in reported
    assert running(fleet, "web1")[0] == NEW_CONFIG


def test_a_command_that_fails_on_an_instance_fails_this_host(fleet: Fleet) -> None:
    """The agent refuses the stored configuration."""
    fleet.variables["web1"] |= UNREACHABLE
    fleet.aws.client("ssm").put_parameter(Name=PARAMETER, Value="[]", Overwrite=True)
    before = running(fleet, "web1")
    play = fleet.apply().assert_failed()
    assert "Configuration validation first phase failed" in play.message
    assert running(fleet, "web1") == before


LOST = {
    **UNREACHABLE,
    "ansible_connection": "{{ 'ssh' if hostvars.localhost.__verify_checked is defined else 'local' }}",
}
"""A server whose facts were collected, and that cannot be reached when the configuration is to be applied."""


def test_servers_that_fail_are_reported_beside_those_that_have_it(fleet: Fleet) -> None:
    for host in ("web2", "web3", "web4"):
        fleet.add(host)
        fleet.variables[host] |= UNREACHABLE
    fleet.variables["web1"] |= LOST
    control = fleet.aws.disk(fleet.machines["web2"]) / AGENT / "bin" / CONTROL
    control.rename(f"{control}.before")
    full = 'case "$*" in *fetch-config*) echo "No space left." >&2; exit 1;; esac'
    control.write_text(f'#!/bin/sh\n{full}\nexec "{control}.before" "$@"\n')
    control.chmod(0o755)
    store_new_config(fleet)
    play = fleet.apply(cwagent_batch_size=4).assert_failed()
    assert play.report[:2] == ["1 updated:", "- apply the configuration on web3, web4"]
    assert "was not applied on web1: web1 could not be reached." in " ".join(play.report)
    assert "was not applied on web2: " in play.message
    assert {host: running(fleet, host)[0] for host in fleet.machines} == {
        "web1": CONFIG,
        "web2": CONFIG,
        "web3": NEW_CONFIG,
        "web4": NEW_CONFIG,
    }


# Policies


def duty(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHECKOUT / "examples" / "policies" / f"{name}.json").read_text())
    return found


def actions(document: Mapping[str, Any]) -> list[str]:
    listed = (each["Action"] for each in document["Statement"])
    return sorted(action for each in listed for action in ([each] if isinstance(each, str) else each))


@dataclass
class Duty:
    """A controller with the policy for a duty. :param later: the modules after the module that reads EC2 and IAM."""

    fleet: Fleet
    later: tuple[str, ...]
    key: dict[str, str]

    def missing_actions(self, document: Mapping[str, Any]) -> set[str]:
        """The denied actions. The result lists each one, as not read or in the message of a failure."""
        aws, iam = self.fleet.aws, self.fleet.iam
        iam.put_user_policy(UserName="controller", PolicyName="duty", PolicyDocument=json.dumps(document))
        since = aws.mark()
        servers = [
            {"host": "web1", "instance_id": self.fleet.instance},
            {"host": "db1", "user": DB_USER},
            {"host": "db9", "hybrid": True},
        ]
        arguments: dict[str, Any] = {"servers": servers, "simulate": True}
        named: set[str] = set()
        for store in ("parameter_store", "secrets_manager"):
            result = self.run("cwagent_server_info", {**arguments, "key_store": store})
            named |= {each["action"] for each in result.get("unread", ())}
        for module in self.later:
            more = {"from": "run_command"} if module == "cwagent_server_check" else {}
            result = self.run(module, {"servers": result.get("servers", []), **more})
            named |= {action for action in actions(document) + ALL if f"lacks {action}" in result.get("msg", "")}
        denied = {call.action for call in aws.calls(since) if call.error in DENIED_CODES}
        assert {each.partition(":")[2] for each in named} == denied
        return named

    def run(self, module: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return run_module(self.fleet.aws, module, credentials=self.key, **arguments)


DB_USER = f"{SERVER_USER}-db1"
ALL = actions(duty("verify"))
VERIFY, APPLY = ("cwagent_server_check",), ("cwagent_server_check", "cwagent_agent_command")


@pytest.mark.parametrize(("name", "later"), [("verify", VERIFY), ("apply", APPLY)])
def test_each_duty_needs_its_policy_and_no_more(
    hybrid: Fleet, name: str, later: tuple[str, ...], subtests: pytest.Subtests
) -> None:
    """The output of the script is long, so that it is read by instance; the agent runs another configuration."""
    fleet = hybrid
    fleet.add("web1")
    fleet.create_user(DB_USER)
    said = SAID.replace(f"file {PARAMETER} {DIGEST}", f"file {PARAMETER} old")
    fleet.aws.agents(*fleet.machines.values(), answer={"code": 0, "stdout": f"{'other a' * 500}\n{said}", "stderr": ""})
    controller = Duty(fleet, later, create_user(fleet.aws, "controller"))
    document = duty(name)
    assert controller.missing_actions(document) == set()
    for action in actions(document):
        with subtests.test(action=action):
            text = json.dumps(document).replace(f'"{action}"', '"s3:GetObject"')
            assert controller.missing_actions(json.loads(text)) == {action}
    for resource in document["Statement"][-1]["Resource"]:
        with subtests.test(resource=resource):
            text = json.dumps(document).replace(f'"{resource}"', '"arn:aws:s3:::x"')
            assert controller.missing_actions(json.loads(text)) == {"ssm:SendCommand"}


def test_the_duty_of_verifying_reads_no_secret_and_changes_nothing_but_by_its_command() -> None:
    others = [action for action in ALL if action != "ssm:SendCommand"]
    assert all(action.split(":")[1].startswith(("Get", "List", "Describe", "Simulate")) for action in others)
    assert not {"secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt"} & {*others}
