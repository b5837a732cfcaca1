"""The things that an acceptance run makes in the account, reads there, and removes again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from .names import (
    ADMIN_ROLE,
    ADMIN_USER,
    BASE_ROLE,
    CONTROLLER_ROLE,
    HYBRID_ROLE,
    KEY_PREFIX,
    PREFIX,
    SERVER_ROLE,
    SERVER_USER,
)

T = TypeVar("T")

POLICIES = Path(__file__).parents[2] / "examples" / "policies"
CORE, AGENT = "AmazonSSMManagedInstanceCore", "CloudWatchAgentServerPolicy"
# The latest Amazon Linux 2023: https://docs.aws.amazon.com/linux/al2023/ug/ec2.html#launch-via-aws-cli
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
INSTANCE_TYPE = "t3.micro"
ONLINE_SECONDS = 600
"""Seconds for an SSM agent to be seen."""
NEW_SECONDS = 120
"""Seconds for AWS to show new things everywhere. AWS documents no limit."""
# Errors that pass by themselves after something was made or changed a moment ago.
PASSING = frozenset(
    {
        "ConcurrentModification",
        "EntityTemporarilyUnmodifiable",
        "IncorrectState",
        "InvalidParameterValue",
        "MalformedPolicyDocument",
        "NoSuchEntity",
        "TooManyUpdates",
    }
)
# Errors about anything that somebody has removed already.
GONE = frozenset(
    {
        "InvalidActivation",
        "InvalidActivationId",
        "InvalidInstanceId",
        "NoSuchEntity",
        "ParameterNotFound",
        "ResourceNotFoundException",
    }
)
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})

# By duty, the files in examples/policies that its credentials have.
DUTIES: dict[str, tuple[str, ...]] = {
    "provision": ("provision", "keys-in-secrets-manager", "store-by-run-command"),
    "hybrid": ("provision", "provision-hybrid", "keys-in-secrets-manager", "store-by-run-command"),
    "store": ("store-configuration", "store-by-run-command"),
    "rotate": ("rotate-keys", "keys-in-secrets-manager"),
    "remove": ("remove-servers", "restore", "keys-in-secrets-manager"),
    "teardown": ("teardown", "restore", "keys-in-secrets-manager"),
    "audit": ("audit",),
    "verify": ("verify",),
    "apply": ("apply",),
}


class AlreadyThereError(Exception):
    """The account has objects with the names of an acceptance run."""


def poll(read: Callable[[], T], wanted: Callable[[T], bool], seconds: float, pause: float = 1) -> T:
    """Read until the answer is as wanted, or the time has passed. :returns: the last answer."""
    end = time.monotonic() + seconds
    while not wanted(found := read()) and time.monotonic() < end:
        time.sleep(pause)  # AWS does not notify of changes
    return found


def retry(call: Callable[..., T], **arguments: Any) -> T:
    """Call AWS, again while the error passes by itself. :raises ClientError: another error, or one that stays."""
    end = time.monotonic() + NEW_SECONDS
    while True:
        try:
            return call(**arguments)
        except ClientError as error:
            if code_of(error) not in PASSING or time.monotonic() > end:
                raise
        time.sleep(1)  # AWS does not notify of changes


def code_of(error: ClientError) -> str:
    """The error code of an answer."""
    return str(error.response["Error"]["Code"])


def trust(principal: Mapping[str, str]) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@dataclass
class LiveAccount:
    """The account of the caller, in one region.

    :param session: the boto3 session of the caller.
    :param instances: the ids of the web server and of the admin instance.
    :param launched: the instances that this run has launched.
    """

    session: Any
    instances: list[str] = field(default_factory=list)
    launched: list[str] = field(default_factory=list)
    profiles_before: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.iam, self.ec2, self.ssm, self.sts = (self.session.client(each) for each in ("iam", "ec2", "ssm", "sts"))
        self.secretsmanager, self.logs = (self.session.client(each) for each in ("secretsmanager", "logs"))
        self.cloudwatch = self.session.client("cloudwatch")
        self.analyzer = self.session.client("accessanalyzer")
        identity = self.sts.get_caller_identity()
        self.id, self.partition = identity["Account"], identity["Arn"].split(":")[1]
        self.region = self.session.region_name

    @property
    def web(self) -> str:
        return self.instances[0]

    @property
    def admin(self) -> str:
        return self.instances[1]

    # -- Reading --

    def leftovers(self) -> list[str]:
        """Everything that has a name of an acceptance run."""
        return [
            *(f"role {name}" for name in self._named("list_roles", "Roles", "RoleName")),
            *(f"instance profile {name}" for name in self._profiles()),
            *(f"user {name}" for name in self._named("list_users", "Users", "UserName")),
            *(f"policy {name}" for name in self._policies()),
            *(f"log group {name}" for name in self._log_groups()),
            *(f"parameter {name}" for name in self.parameters()),
            *(f"secret {name}" for name in self.secrets()),
            *(f"instance {name}" for name in self._own_instances()),
            *(f"node {name}" for name in self.nodes()),
            *(f"activation {name}" for name in self.activations()),
        ]

    def _named(self, action: str, kind: str, key: str, **arguments: str) -> list[str]:
        pages = self.iam.get_paginator(action).paginate(**arguments)
        return [each[key] for page in pages for each in page[kind] if each[key].startswith(PREFIX)]

    def _profiles(self) -> list[str]:
        return self._named("list_instance_profiles", "InstanceProfiles", "InstanceProfileName")

    def _policies(self) -> list[str]:
        return self._named("list_policies", "Policies", "PolicyName", Scope="Local")

    def _log_groups(self) -> list[str]:
        pages = self.logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=PREFIX)
        return [each["logGroupName"] for page in pages for each in page["logGroups"]]

    def _own_instances(self) -> list[str]:
        live = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
        tagged = {"Name": "tag:Name", "Values": [f"{PREFIX}-*"]}
        pages = self.ec2.get_paginator("describe_instances").paginate(Filters=[live, tagged])
        return [each["InstanceId"] for page in pages for found in page["Reservations"] for each in found["Instances"]]

    def parameters(self) -> list[str]:
        """The names of the parameters of an acceptance run."""
        pages = self.ssm.get_paginator("describe_parameters").paginate()
        names = [each["Name"] for page in pages for each in page["Parameters"]]
        return [name for name in names if name.startswith(PREFIX)]

    def secrets(self) -> list[str]:
        """The names of the secrets of an acceptance run."""
        pages = self.secretsmanager.get_paginator("list_secrets").paginate()
        names = [each["Name"] for page in pages for each in page["SecretList"]]
        return [name for name in names if name.startswith(PREFIX)]

    def nodes(self) -> dict[str, str]:
        """By id, the ping status of each hybrid server of an acceptance run."""
        hybrid = {"Key": "ResourceType", "Values": ["ManagedInstance"]}
        pages = self.ssm.get_paginator("describe_instance_information").paginate(Filters=[hybrid])
        found = [each for page in pages for each in page["InstanceInformationList"]]
        return {each["InstanceId"]: each["PingStatus"] for each in found if each.get("IamRole") == HYBRID_ROLE}

    def activations(self) -> list[str]:
        """The ids of the activations of an acceptance run."""
        pages = self.ssm.get_paginator("describe_activations").paginate()
        found = [each for page in pages for each in page["ActivationList"]]
        return [each["ActivationId"] for each in found if each["IamRole"] == HYBRID_ROLE]

    def profile(self, instance: str) -> str | None:
        """The name of the instance profile that an instance has."""
        found = [each["IamInstanceProfile"]["Arn"].rpartition("/")[2] for each in self.associations(instance)]
        return found[0] if found else None

    def tags(self, instance: str) -> dict[str, str]:
        """The tags of an instance."""
        mine = {"Name": "resource-id", "Values": [instance]}
        return {each["Key"]: each["Value"] for each in self.ec2.describe_tags(Filters=[mine])["Tags"]}

    def window(self) -> list[dict[str, Any]]:
        """The statements of the inline policies of the admin role."""
        with suppress(self.iam.exceptions.NoSuchEntityException):
            names = self.iam.list_role_policies(RoleName=ADMIN_ROLE)["PolicyNames"]
            documents = [self.iam.get_role_policy(RoleName=ADMIN_ROLE, PolicyName=name) for name in names]
            return [each for found in documents for each in found["PolicyDocument"]["Statement"]]
        return []

    def configuration(self, name: str) -> Any:
        """The configuration that is stored in a parameter, and none where there is none."""
        with suppress(self.ssm.exceptions.ParameterNotFound):
            return json.loads(self.ssm.get_parameter(Name=name)["Parameter"]["Value"])
        return None

    def keys(self, user: str) -> dict[str, str]:
        """By id, the status of each access key of a user."""
        with suppress(self.iam.exceptions.NoSuchEntityException):
            found = self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
            return {each["AccessKeyId"]: each["Status"] for each in found}
        return {}

    # -- Making --

    def check_empty(self) -> None:
        """Check that nothing has a name of an acceptance run. :raises AlreadyThereError: something has."""
        if found := self.leftovers():
            raise AlreadyThereError(
                f"Account {self.id} has {', '.join(found)} already. If another acceptance run is under way, wait for "
                "it; if one was interrupted, remove what it left with: make live REMOVE=1"
            )

    def make(self, instance_ids: Sequence[str]) -> None:
        """Make the credentials of the playbooks, and two instances unless some are given."""
        self.make_role(BASE_ROLE, {"Service": "ec2.amazonaws.com"}, {}, CORE, AGENT)
        retry(self.iam.create_instance_profile, InstanceProfileName=BASE_ROLE)
        retry(self.iam.add_role_to_instance_profile, InstanceProfileName=BASE_ROLE, RoleName=BASE_ROLE)
        for instance in instance_ids:
            self.profiles_before[instance] = self.profile(instance) or ""
        self.instances = list(instance_ids) or self._launch()
        for duty, files in DUTIES.items():
            policies = {name: self.example_policy(name) for name in files}
            self.make_role(f"{CONTROLLER_ROLE}-{duty}", {"AWS": f"arn:{self.partition}:iam::{self.id}:root"}, policies)

    def example_policy(self, name: str) -> str:
        """An example policy with the names of the acceptance run, and without white space."""
        text = (POLICIES / f"{name}.json").read_text()
        for usual, own in (
            ("CloudWatchAgentServerRole", SERVER_ROLE),
            ("CloudWatchAgentAdminRole", ADMIN_ROLE),
            ("CloudWatchAgentHybridRole", HYBRID_ROLE),
            ("CloudWatchAgentServerUser", SERVER_USER),
            ("CloudWatchAgentAdminUser", ADMIN_USER),
            ("NAME-OF-AN-EARLIER-PROFILE", BASE_ROLE),
            ("ROLE-OF-AN-EARLIER-PROFILE", BASE_ROLE),
            ("NAME-OF-AN-APPLICATION-ROLE", BASE_ROLE),
            ("ID-OF-THE-ADMIN-INSTANCE", self.admin),
            ("ID-OF-YOUR-KEY", "*"),
            ("/cwagent/credentials/", KEY_PREFIX),
            ("arn:aws:", f"arn:{self.partition}:"),
        ):
            text = text.replace(usual, own)
        return json.dumps(json.loads(text), separators=(",", ":"))

    def make_role(self, name: str, principal: Mapping[str, str], policies: Mapping[str, str], *managed: str) -> None:
        retry(self.iam.create_role, RoleName=name, AssumeRolePolicyDocument=trust(principal))
        for policy, document in policies.items():
            retry(self.iam.put_role_policy, RoleName=name, PolicyName=policy, PolicyDocument=document)
        for policy in managed:
            arn = f"arn:{self.partition}:iam::aws:policy/{policy}"
            retry(self.iam.attach_role_policy, RoleName=name, PolicyArn=arn)

    def _launch(self) -> list[str]:
        image = self.ssm.get_parameter(Name=IMAGE)["Parameter"]["Value"]
        for name in ("web", "admin"):
            launched = self.ec2.run_instances(
                ImageId=image,
                InstanceType=INSTANCE_TYPE,
                MinCount=1,
                MaxCount=1,
                MetadataOptions={"HttpTokens": "required"},
                TagSpecifications=[
                    {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": f"{PREFIX}-{name}"}]}
                ],
            )
            self.launched.append(launched["Instances"][0]["InstanceId"])
        self.ec2.get_waiter("instance_running").wait(InstanceIds=self.launched)
        return self.launched

    def associate(self, instance: str, profile: str) -> None:
        """Replace the profile of an instance, as soon as EC2 knows the new profile."""
        self.disassociate(instance)
        retry(self.ec2.associate_iam_instance_profile, InstanceId=instance, IamInstanceProfile={"Name": profile})

    def disassociate(self, instance: str) -> None:
        """Take the profile from an instance, if it has one."""
        for each in self.associations(instance):
            try:
                self.ec2.disassociate_iam_instance_profile(AssociationId=each["AssociationId"])
            except ClientError as error:
                if code_of(error) != "InvalidAssociationID.NotFound":  # it was disassociated a moment ago
                    raise

    def associations(self, instance: str) -> list[dict[str, Any]]:
        """The associations of an instance that are in effect, or soon are."""
        mine = {"Name": "instance-id", "Values": [instance]}
        found = self.ec2.describe_iam_instance_profile_associations(Filters=[mine])["IamInstanceProfileAssociations"]
        return [each for each in found if each["State"] in ("associating", "associated")]

    def is_online(self, instance: str) -> bool:
        """Whether Systems Manager reaches an instance."""
        mine = {"Key": "InstanceIds", "Values": [instance]}
        found = self.ssm.describe_instance_information(Filters=[mine])["InstanceInformationList"]
        return any(each["PingStatus"] == "Online" for each in found)

    def credentials(self, duty: str) -> dict[str, str]:
        """The credentials of a duty, as environment variables, as soon as its role can be assumed."""
        role = f"{CONTROLLER_ROLE}-{duty}"
        found = poll(lambda: self.assume(role), bool, NEW_SECONDS)
        if not found:
            raise TimeoutError(f"{self._role_arn(role)} cannot be assumed: the caller needs sts:AssumeRole for it.")
        return {name.upper(): value for name, value in found.items()}

    def assume(self, role: str) -> dict[str, str]:
        """The credentials of a role, as the arguments of a client; none while it cannot be assumed."""
        try:
            found = self.sts.assume_role(RoleArn=self._role_arn(role), RoleSessionName="cwagent-live")["Credentials"]
        except ClientError as error:
            if code_of(error) not in DENIED:
                raise
            return {}
        return {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["SessionToken"],
        }

    def _role_arn(self, role: str) -> str:
        return f"arn:{self.partition}:iam::{self.id}:role/{role}"

    # -- Removing --

    def remove(self) -> list[str]:
        """Remove everything that has a name of an acceptance run. :returns: the things that remain, and why.

        Things that AWS does not show yet, or does not delete for a while, are removed in a later round.
        """
        for instance, profile in self.profiles_before.items():
            if profile:
                self.associate(instance, profile)
            else:
                self.disassociate(instance)
        end = time.monotonic() + NEW_SECONDS
        while True:
            errors = self._remove_once()
            left = self.leftovers()
            if (not left and not errors) or time.monotonic() > end:
                return [*errors, *(f"{each} is still there" for each in left)]
            time.sleep(1)  # AWS does not notify of changes

    def _remove_once(self) -> list[str]:
        calls: list[Callable[[], Any]] = [
            *(partial(self.ec2.terminate_instances, InstanceIds=[instance]) for instance in self._own_instances()),
            *(partial(self.ssm.delete_activation, ActivationId=name) for name in self.activations()),
            *(partial(self.ssm.deregister_managed_instance, InstanceId=name) for name in self.nodes()),
            *(partial(self._remove_user, name) for name in self._named("list_users", "Users", "UserName")),
            *(partial(self._remove_profile, name) for name in self._profiles()),
            *(partial(self._remove_role, name) for name in self._named("list_roles", "Roles", "RoleName")),
            *(partial(self._remove_policy, name) for name in self._policies()),
            *(partial(self.logs.delete_log_group, logGroupName=name) for name in self._log_groups()),
            *(partial(self.ssm.delete_parameter, Name=name) for name in self.parameters()),
            *(partial(self._remove_secret, name) for name in self.secrets()),
        ]
        errors = []
        for call in calls:
            try:
                call()
            except ClientError as error:
                if code_of(error) not in GONE:
                    errors.append(str(error))
        return errors

    def _remove_secret(self, name: str) -> None:
        self.secretsmanager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    def _remove_policy(self, name: str) -> None:
        self.iam.delete_policy(PolicyArn=f"arn:{self.partition}:iam::{self.id}:policy/{name}")

    def _remove_profile(self, name: str) -> None:
        for role in self.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]:
            self.iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role["RoleName"])
        self.iam.delete_instance_profile(InstanceProfileName=name)

    def _remove_role(self, name: str) -> None:
        self._remove_policies("role", name)
        self.iam.delete_role(RoleName=name)

    def _remove_user(self, name: str) -> None:
        for key in self.keys(name):
            self.iam.delete_access_key(UserName=name, AccessKeyId=key)
        self._remove_policies("user", name)
        self.iam.delete_user(UserName=name)

    def _remove_policies(self, kind: str, name: str) -> None:
        of = {f"{kind.title()}Name": name}
        for policy in getattr(self.iam, f"list_attached_{kind}_policies")(**of)["AttachedPolicies"]:
            getattr(self.iam, f"detach_{kind}_policy")(**of, PolicyArn=policy["PolicyArn"])
        for policy in getattr(self.iam, f"list_{kind}_policies")(**of)["PolicyNames"]:
            getattr(self.iam, f"delete_{kind}_policy")(**of, PolicyName=policy)
