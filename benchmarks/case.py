"""The account and the files with which every side of a job starts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator import Emulator, Fault, Kind
from emulator.client import IMAGE

ROLE = "CloudWatchAgentServerRole"
POLICY = "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"
CONFIG = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}
SENDING, SILENT = "AmazonCloudWatch-sending", "AmazonCloudWatch-silent"
GROUP = "messages"
STORED: Mapping[str, dict[str, Any]] = {
    SENDING: {
        "metrics": {
            "append_dimensions": {"InstanceId": "${aws:InstanceId}"},
            "metrics_collected": {"mem": {"measurement": ["mem_used_percent"]}},
        },
        "logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/messages", "log_group_name": GROUP}]}}},
    },
    # CloudWatch cannot know which metrics arrive.
    SILENT: {"metrics": {"metrics_collected": {"statsd": {}}}},
}
"""By name, a stored configuration."""
TRUST: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@dataclass(frozen=True)
class Fleet:
    """The account for a job.

    :param role: whether the role and its instance profile exist already.
    :param times: how often a task is repeated in a row.
    :param accounts: how many accounts have these instances each; 0 for the account of the controller alone.
    :param sends: whether the instances have the role, and data of their agents arrives.
    """

    users: int = 0
    instances: int = 0
    role: bool = False
    times: int = 1
    accounts: int = 0
    sends: bool = False


@dataclass(frozen=True)
class Network:
    """The network between a side and AWS.

    :param delay: additional seconds per call.
    :param rate: calls a second that AWS allows; 0 for all.
    :param burst: calls that it allows at once before that.
    """

    delay: float = 0
    rate: float = 0
    burst: int = 0

    def faults(self) -> list[Fault]:
        """The faults with which the emulator simulates it."""
        slow = [Fault(Kind.DELAY, seconds=self.delay)] if self.delay else []
        throttled = [Fault(Kind.RATE, rate=self.rate, burst=self.burst)] if self.rate else []
        return slow + throttled


@dataclass(frozen=True)
class Case:
    """An emulated account, and a folder for the input and output of a side."""

    aws: Emulator
    folder: Path

    def prepare(self, fleet: Fleet) -> None:
        """Empty both, launch the instances, and write the input of the job."""
        self.aws.disarm()
        self.aws.reset()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._write("linux.json", CONFIG)
        if fleet.accounts:
            self._prepare_accounts(fleet)
            return
        users = [f"CloudWatchAgentServerUser-{number:04}" for number in range(1, fleet.users + 1)]
        instances = self.aws.instances(fleet.instances) if fleet.instances else []
        if fleet.role:
            self._create_role()
        if fleet.sends:
            self._let_send(instances)
        self._write("hosts.json", self._inventory(users, instances))
        self._write("job.json", {**self._variables(), "users": users, "instances": instances, "times": fleet.times})

    def _prepare_accounts(self, fleet: Fleet) -> None:
        """Create accounts with a role to assume, and instances that are found by their tag."""
        names = [f"account-{number:03}" for number in range(1, fleet.accounts + 1)]
        hosts = {
            name: {"cwagent_account_assume_role_arn": self._create_account(name, fleet.instances)} for name in names
        }
        # Without Run Command, so that the time is that of the controller.
        found = {"cwagent_account_server_filters": {"tag:agent": "yes"}, "cwagent_store_config_from": "controller"}
        inventory = {"all": {"children": {"cwagent_accounts": {"hosts": hosts, "vars": found}}}}
        self._write("hosts.json", inventory)
        self._write("job.json", self._variables())
        (self.folder / "accounts.txt").write_text("".join(f"{name}\n" for name in names))

    def _create_account(self, name: str, instances: int) -> str:
        organizations = self.aws.client("organizations")
        created = organizations.create_account(Email=f"{name}@example.com", AccountName=name)
        root = {"AccessKeyId": created["CreateAccountStatus"]["AccountId"], "SecretAccessKey": "test"}
        iam, ec2 = (self.aws.client(service, credentials=root) for service in ("iam", "ec2"))
        trust = {"Version": "2012-10-17", "Statement": [{**TRUST["Statement"][0], "Principal": {"AWS": "*"}}]}
        role = iam.create_role(RoleName="Controller", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.attach_role_policy(RoleName="Controller", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
        ec2.run_instances(
            ImageId=IMAGE,
            InstanceType="t3.micro",
            MinCount=instances,
            MaxCount=instances,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "agent", "Value": "yes"}]}],
        )
        return str(role)

    def _create_role(self) -> None:
        iam = self.aws.client("iam")
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.attach_role_policy(RoleName=ROLE, PolicyArn=POLICY)
        iam.create_instance_profile(InstanceProfileName=ROLE)
        iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)

    def _let_send(self, instances: list[str]) -> None:
        """Store the configurations, and let the data of the instances arrive."""
        ec2, ssm = (self.aws.client(service) for service in ("ec2", "ssm"))
        for name, config in STORED.items():
            ssm.put_parameter(Name=name, Type="String", Value=json.dumps(config))
        for instance in instances:
            ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": ROLE})
        metric = {"namespace": "CWAgent", "name": "mem_used_percent", "ages": [60]}
        self.aws.place(
            [{**metric, "dimensions": {"InstanceId": instance}} for instance in instances],
            [{"group": GROUP, "name": instance, "last": 60} for instance in instances],
        )

    def _variables(self) -> dict[str, Any]:
        return {
            "directory": str(self.folder / "keys"),
            "region": self.aws.region,
            "trust": TRUST,
            "cwagent_config_file": str(self.folder / "linux.json"),
            "cwagent_key_store_directory": str(self.folder / "keys"),
        }

    def _inventory(self, users: list[str], instances: list[str]) -> dict[str, Any]:
        """A host for every user and instance, all on this machine. The first instance is the admin instance."""
        hosts = {name: self._instance(name) for name in instances}
        groups: Mapping[str, Mapping[str, Any]] = {
            "cwagent_ec2_servers": hosts,
            "cwagent_ec2_admin": {name: {} for name in instances[:1]},
            "cwagent_onprem_servers": {name: {"cwagent_user_name": name} for name in users},
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        return {"all": {"vars": local, "children": {group: {"hosts": found} for group, found in groups.items()}}}

    def _instance(self, name: str) -> dict[str, Any]:
        metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.aws.metadata_endpoint(name)}
        return {"instance_id": name, "cwagent_region": self.aws.region, "cwagent_environment": metadata}

    def _write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(json.dumps(content))
