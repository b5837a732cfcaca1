"""The emulated AWS account of the demo, and queries for its state."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from emulator.snapshot import associated_profiles, instances, snapshot

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emulator import Emulator

SERVER, ADMIN, APPLICATION = "CloudWatchAgentServerRole", "CloudWatchAgentAdminRole", "ShopBackend"
CONTROLLER = "controller"
# The example policies for what the demo does.
DUTIES = ("provision", "store-by-run-command", "verify", "audit")
PLACEHOLDERS = ("NAME-OF-AN-APPLICATION-ROLE", "NAME-OF-AN-EARLIER-PROFILE", "ROLE-OF-AN-EARLIER-PROFILE")
HOSTS = ("admin-1", "shop-1", "batch-1")


@dataclass
class Account:
    """The emulated account. Of its three instances, one is stopped and one has the role of an application."""

    aws: Emulator
    ids: dict[str, str] = field(default_factory=dict)
    folder: Path = Path("build", "demo")
    """The folder for the files that the demo writes and keeps, relative to the checkout, in which the playbooks run."""
    key: dict[str, str] = field(default_factory=dict)
    """The access key of the user that runs the playbooks, as environment variables."""

    def prepare(self) -> None:
        shutil.rmtree(ROOT / self.folder, ignore_errors=True)
        (ROOT / self.folder).mkdir(parents=True)
        self.ids = dict(zip(HOSTS, self.aws.instances(len(HOSTS), stopped=1), strict=True))
        iam = self.aws.client("iam")
        ec2 = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
        orders = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "arn:aws:dynamodb:*:*:table/orders"}
        iam.create_role(RoleName=APPLICATION, AssumeRolePolicyDocument=policy(ec2))
        iam.put_role_policy(RoleName=APPLICATION, PolicyName="orders", PolicyDocument=policy(orders))
        iam.create_instance_profile(InstanceProfileName=APPLICATION)
        iam.add_role_to_instance_profile(InstanceProfileName=APPLICATION, RoleName=APPLICATION)
        self.aws.client("ec2").associate_iam_instance_profile(
            InstanceId=self.ids["shop-1"], IamInstanceProfile={"Name": APPLICATION}
        )
        self._create_controller()
        endpoints = {f"{key(host)}_metadata": self.aws.metadata_endpoint(name) for host, name in self.ids.items()}
        inventory = Template((HERE / "inventory.yml").read_text()).substitute(
            endpoints, **{key(host): name for host, name in self.ids.items()}
        )
        (ROOT / self.hosts).write_text(inventory)

    def _create_controller(self) -> None:
        """Create the user that runs the playbooks, with the example policies, whose placeholders it replaces."""
        iam = self.aws.client("iam")
        iam.create_user(UserName=CONTROLLER)
        for duty in DUTIES:
            text = (ROOT / "examples" / "policies" / f"{duty}.json").read_text()
            for placeholder in PLACEHOLDERS:
                text = text.replace(placeholder, APPLICATION)
            text = text.replace("ID-OF-THE-ADMIN-INSTANCE", self.ids["admin-1"])
            document = json.dumps(json.loads(text), separators=(",", ":"))
            made = iam.create_policy(PolicyName=f"cwagent-{duty}", PolicyDocument=document)
            iam.attach_user_policy(UserName=CONTROLLER, PolicyArn=made["Policy"]["Arn"])
        made = iam.create_access_key(UserName=CONTROLLER)["AccessKey"]
        self.key = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts.yml"

    @property
    def credentials(self) -> Path:
        return self.folder / "credentials"

    def profiles(self) -> dict[str, str]:
        """The instance profile of each host's instance; empty for none."""
        profiles = associated_profiles(self.aws)
        return {host: profiles[name] or "" for host, name in self.ids.items()}

    def states(self) -> dict[str, str]:
        """The state of each host's instance, such as running or stopped."""
        states = {each["InstanceId"]: each["State"]["Name"] for each in instances(self.aws)}
        return {host: states[name] for host, name in self.ids.items()}

    def principals(self) -> dict[str, Principal]:
        """All roles and users, by name."""
        account = snapshot(self.aws)
        return {
            name: Principal(kind, each["policies"], list(each["inline"]), list(each.get("keys", {}).values()))
            for kind in ("role", "user")
            for name, each in account[f"{kind}s"].items()
        }

    def client_on_instance(self, host: str) -> Any:
        """A client with the credentials of the instance's metadata service, or unsigned if the service has none."""
        with suppress(HTTPError):
            return self.aws.client("ssm", credentials=self.aws.instance_credentials(self.ids[host]))
        options = {"region_name": self.aws.region, "endpoint_url": self.aws.endpoint}
        return boto3.client("ssm", config=Config(signature_version=UNSIGNED), **options)

    def as_user(self, user: str) -> Any:
        """A client with the saved credentials file of a user."""
        session = botocore.session.Session(profile="AmazonCloudWatchAgent")
        session.set_config_variable("credentials_file", str(ROOT / self.credentials / f"{user}.credentials"))
        return boto3.Session(botocore_session=session).client("ssm", endpoint_url=self.aws.endpoint)


@dataclass(frozen=True)
class Principal:
    """A role or a user, with the names of its policies and the status of each access key."""

    kind: str
    managed: list[str]
    inline: list[str]
    keys: list[str]


def policy(statement: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def key(host: str) -> str:
    """The name of a host as a placeholder in the inventory template."""
    return host.replace("-", "_")
