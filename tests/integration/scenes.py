"""The scenes of ``modules/test_permissions.py``: their shape, their account, and the steps that prepare it."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from emulator import Emulator, Fault, Kind
from emulator.host import Host
from fleet import DAY
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    HYBRID_ROLE,
    PARAMETER,
    POLICY_ARN,
    SERVER_ROLE,
    SERVER_USER,
    SSM_POLICY,
    WINDOW_POLICY,
    associate,
    create_role,
    create_user,
    hybrid_nodes,
    leave_restore_tag,
    trust,
)
from in_process import run_module
from policies import Policy, filled

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.inventory import read_versions
from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_instance import NO_PROFILE, Profiles
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_profile import AcquireResource, ReleaseResource
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_profile_plan import Acquisition, Release
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid import SystemsManager
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid_plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid_transaction import Transaction
from ansible_collections.cwagent.iam.plugins.module_utils._servers.registration import HOST_SPEC, SsmAgent
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command import (
    CommandResource,
    check_agent,
    check_instance,
)
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command_plan import DesiredCommand, Write
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.hosts import HybridServer

APP = "shop-app"
USER = f"{SERVER_USER}-db1"
CLAIM_LIFETIME = 30
"""How many seconds runs respect the claim on a key's place. A run that may not delete its claim leaves it behind."""


def policy(name: str) -> Policy:
    return filled(name, APP)


@dataclass(frozen=True)
class Scene:
    """A module call as in a playbook, in a state of the account in which it needs these actions.

    :param module: without cwagent_. For an action inside Ansible, it is a function, which takes the gateway to AWS and
        the arguments.
    :param needs: the actions, in the order in which the module needs them. One without a service is of the same service
        as the one before.
    :param prepare: brings the account into that state.
    :param removed: actions that are not allowed during the whole scene.
    :param restores: whether each call begins in that state again, because one that failed halfway has changed it.
    """

    module: str | Callable[..., dict[str, Any]]
    arguments: Mapping[str, Any]
    needs: str
    prepare: Callable[[Site], None] | None = None
    removed: Sequence[str] = field(default=())
    check: bool = False
    restores: bool = False

    @property
    def actions(self) -> list[str]:
        service, found = "", []
        for each in self.needs.split():
            service, name = each.split(":") if ":" in each else (service, each)
            found.append(f"{service}:{name}")
        return found


@dataclass
class Site:
    """An account with a role and an instance of an application, and two instances without a profile."""

    aws: Emulator
    home: Path

    def __post_init__(self) -> None:
        self.app, self.bare, self.other = self.aws.instances(3)
        create_role(self.aws, APP)
        associate(self.aws, self.app, APP)
        self.user = create_user(self.aws, "controller")

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    def _call(self, work: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
        key = {"AccessKeyId": self.user["AWS_ACCESS_KEY_ID"], "SecretAccessKey": self.user["AWS_SECRET_ACCESS_KEY"]}
        aws = Aws(lambda service, config: self.aws.client(service, credentials=key, config=config), 5)
        try:
            return {"failed": False, **work(aws, **arguments)}
        except CwagentError as error:
            return {"failed": True, "msg": str(error)}

    def run(self, scene: Scene, root: bool = False) -> dict[str, Any]:
        """The result of the module, run by the controller's user or by root."""
        arguments = self._with_ids(dict(scene.arguments))
        credentials = None if root else self.user
        if callable(scene.module):
            return self._call(scene.module, arguments)
        return run_module(self.aws, f"cwagent_{scene.module}", check=scene.check, credentials=credentials, **arguments)

    def _with_ids(self, value: Any) -> Any:
        """The value with placeholders replaced by ids of instances, folders and the configuration."""
        folders = {"host": self.home / HOST, "folder": self.home / "credentials", "config": self.home / "config.json"}
        text = json.dumps(value)
        for name, found in {"app": self.app, "bare": self.bare, "other": self.other, **folders}.items():
            text = text.replace(f'"@{name}"', f'"{found}"')
        return json.loads(text)

    def use_key(self, user: str) -> None:
        """Sign a call with the saved key of a user, like the user's host."""
        text = (self.home / "credentials" / f"{user}.credentials").read_text()
        lines = dict(line.split(" = ") for line in text.splitlines() if " = " in line)
        keys = {"AccessKeyId": lines["aws_access_key_id"], "SecretAccessKey": lines["aws_secret_access_key"]}
        self.aws.client("sts", credentials=keys).get_caller_identity()


class LocalHost(HybridServer):
    """An emulated on-premises host on which the module works in this process."""

    def __init__(self, root: Path, region: str) -> None:
        self._region, self._host = region, Host(root, endpoint="")
        paths = {"ssm_agent_config": self._host.configuration_file, "registration": self._host.registration_file}
        self._options = {name: str(path) for name, path in {**paths, "ssm_agent": self._host.ssm_agent}.items()}

    def check(self) -> None:
        """The code goes nowhere."""

    def _send(self, _module: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        with patch.dict(os.environ, self._host.environment):
            return SsmAgent({**{name: each.get("default") for name, each in HOST_SPEC.items()}, **arguments}).run()


READS_OF_KEYS = {"parameter_store": "ssm:GetParameter", "secrets_manager": "secretsmanager:GetSecretValue"}


def with_timeout(**arguments: Any) -> dict[str, Any]:
    return {**arguments, "wait_timeout": 5}


CHECK = {"state": "checked"}
FILES = {"saved_key": {"key_store_directory": "@folder"}}
ROLE = with_timeout(name=SERVER_ROLE, access="server")
ADMIN = with_timeout(name=ADMIN_ROLE, access="admin", admin_window=True)
SERVER_KEYS = with_timeout(name=[USER], access="server", **FILES)
ADMIN_KEYS = with_timeout(name=[ADMIN_USER], access="admin", admin_window=True, **FILES)
ATTACH = with_timeout(name=SERVER_ROLE, instance_ids=["@app"], on_other_profile="attach", attach_to_roles=[APP])
HOST = "db1"
HYBRID_SERVERS = with_timeout(name=HYBRID_ROLE, access="server", trust="hybrid", ssm_policy=SSM_POLICY)
IN_OWN_REGION = {**HYBRID_SERVERS, "trust_regions": ["eu-central-1"]}
RETIRED_KEYS = with_timeout(name=[USER], state="retired", **FILES)
READ_USER = "GetUser ListGroupsForUser ListAttachedUserPolicies ListUserPolicies"
CREDENTIALS_OF_A_PERSON = (
    "GetLoginProfile ListMFADevices ListSSHPublicKeys ListServiceSpecificCredentials ListSigningCertificates"
)


def stored_in(store: str) -> dict[str, Any]:
    return {"name": [f"{SERVER_USER}-{store}"], "saved_key": {"key_store": store}}


def user_with_store(store: str) -> dict[str, Any]:
    return {**SERVER_KEYS, **stored_in(store)}


def as_root(*scenes: tuple[str, dict[str, Any]]) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        for module, arguments in scenes:
            result = site.run(Scene(module, arguments, ""), root=True)
            assert not result["failed"], result

    return prepare


def in_turn(*steps: Callable[[Site], None]) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        for step in steps:
            step(site)

    return prepare


def leave_app(site: Site) -> None:
    """Give the instance of the application its own profile again."""
    associate(site.aws, site.app, APP)


attach = in_turn(leave_app, as_root(("instance_profile", ATTACH)))


def change_role(site: Site) -> None:
    site.iam.update_assume_role_policy(RoleName=SERVER_ROLE, PolicyDocument=trust("lambda.amazonaws.com"))
    site.iam.attach_role_policy(RoleName=SERVER_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY)


def change_user(site: Site) -> None:
    site.iam.create_user(UserName=USER)
    site.iam.attach_user_policy(UserName=USER, PolicyArn=POLICY_ARN + ADMIN_POLICY)


def remove_windows(site: Site) -> None:
    site.iam.delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
    site.iam.delete_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY)


def leave_acquired(site: Site) -> None:
    """Leave the admin profile and the restore tag on the application's instance."""
    leave_restore_tag(site.aws, site.app, APP)
    associate(site.aws, site.app, ADMIN_ROLE)


def leave_acquired_without_earlier(site: Site) -> None:
    """Leave the admin profile on an instance that had none."""
    leave_restore_tag(site.aws, site.bare, NO_PROFILE)
    associate(site.aws, site.bare, ADMIN_ROLE)


def leave_acquired_and_stop(site: Site) -> None:
    """Stop the instance before its profile is restored."""
    leave_acquired(site)
    site.aws.client("ec2").stop_instances(InstanceIds=[site.app])


def lose_key(site: Site) -> None:
    """Interrupt a run after it created a key and before it saved the key."""
    site.aws.arm(Fault(Kind.LOSE_ANSWER, action="CreateAccessKey"))
    assert site.run(Scene("iam_user", {**SERVER_KEYS, "name": [f"{USER}-lost"]}, ""), root=True)["failed"]
    site.aws.disarm()


def adopt(site: Site) -> None:
    """Make the admin role and the admin user by hand, and adopt them."""
    create_role(site.aws, ADMIN_ROLE, ADMIN_POLICY)
    site.iam.create_user(UserName=ADMIN_USER)
    adopting = {"access": "admin", "admin_window": True, "adopt_existing": True}
    as_root(
        ("iam_role", with_timeout(name=ADMIN_ROLE, **adopting)),
        ("iam_user", with_timeout(name=[ADMIN_USER], **adopting)),
    )(site)


def adopt_server(site: Site) -> None:
    """Make a server user by hand, and adopt it."""
    site.iam.create_user(UserName=USER)
    as_root(("iam_user", with_timeout(name=[USER], access="server", adopt_existing=True)))(site)


def activate_key(site: Site) -> None:
    [key] = site.iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    site.iam.update_access_key(UserName=ADMIN_USER, AccessKeyId=key["AccessKeyId"], Status="Active")


def advance_days(days: int) -> Callable[[Site], None]:
    """Move the clock, and use the saved key of the host."""

    def prepare(site: Site) -> None:
        site.aws.shift_clock(days * DAY)
        site.use_key(USER)

    return prepare


provisioned = as_root(("iam_role", ROLE), ("iam_role", ADMIN), ("iam_user", SERVER_KEYS), ("iam_user", ADMIN_KEYS))


def provisioned_with_server(site: Site) -> None:
    provisioned(site)
    associate(site.aws, site.bare, SERVER_ROLE)
    site.aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Type="String")


def provisioned_and_acquired(site: Site) -> None:
    provisioned(site)
    remove_windows(site)
    leave_acquired(site)


def provisioned_for_run_command(site: Site) -> None:
    as_root(("iam_role", {**ADMIN, "ssm_policy": SSM_POLICY}))(site)
    site.iam.attach_role_policy(RoleName=APP, PolicyArn=POLICY_ARN + SSM_POLICY)
    site.aws.client("ec2").create_tags(Resources=[site.app], Tags=[{"Key": "cwagent-admin", "Value": "true"}])
    assert site.aws.agents()[site.app]["online"]


def provisioned_for_hybrid_servers(site: Site) -> None:
    as_root(("iam_role", IN_OWN_REGION))(site)
    site.aws.host(site.home / HOST)


def forget_host(site: Site) -> None:
    """Remove the node of the host, which then has no registration."""
    ssm = site.aws.client("ssm")
    for node in hybrid_nodes(site.aws):
        ssm.deregister_managed_instance(InstanceId=node)
    for each in ssm.describe_activations()["ActivationList"]:
        ssm.delete_activation(ActivationId=each["ActivationId"])
    shutil.rmtree(Host(site.home / HOST, endpoint="").registration_file.parent, ignore_errors=True)


def register_host(site: Site) -> None:
    """Register the host, and leave its activation, as a run that was killed does."""
    forget_host(site)
    host = Host(site.home / HOST, endpoint="")
    tags = [{"Key": "cwagent:managed", "Value": "created"}, {"Key": "cwagent:host", "Value": HOST}]
    activation = site.aws.client("ssm").create_activation(IamRole=HYBRID_ROLE, DefaultInstanceName=HOST, Tags=tags)
    host.register(activation, site.aws.region)
    host.restart()


def switch_off_host(site: Site) -> None:
    """Register the host, which is off then."""
    register_host(site)
    registration = Host(site.home / HOST, endpoint="").registration
    assert registration
    site.aws.agents(registration["ManagedInstanceID"], running=False)


def create_unused_key(**keys: Any) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        as_root(("iam_user", {**SERVER_KEYS, **keys}))(site)
        site.aws.shift_clock(DAY)

    return prepare


def deactivate_unused_key(**keys: Any) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        create_unused_key(**keys)(site)
        as_root(("iam_user", {**RETIRED_KEYS, **keys}))(site)
        site.aws.shift_clock(8 * DAY)

    return prepare


def manage_node(aws: Aws, host: str, state: str) -> dict[str, Any]:
    service = SystemsManager(aws, nullcontext)
    desired = Desired(state, aws.region, HYBRID_ROLE, HOST, HOST, str(uuid.uuid4()))
    local = LocalHost(Path(host), aws.region)
    return Transaction(service, local, desired, say=lambda _line: None, shield=nullcontext, wait=2).run()


def acquire_profile(aws: Aws, instance_id: str) -> dict[str, Any]:
    """Give an instance the admin profile, as storing does."""
    profiles = Profiles(ADMIN_ROLE, SERVER_ROLE, ADMIN_ROLE, aws.region, frozenset({instance_id}))
    return converge(AcquireResource(aws, Acquisition(profiles, instance_id, fail_if_tagged=True)), False, 5)


def release_profiles(aws: Aws) -> dict[str, Any]:
    """Give all instances of the region their earlier profiles again, as cleaning up does."""
    return converge(ReleaseResource(aws, Release(Profiles(ADMIN_ROLE, SERVER_ROLE, ADMIN_ROLE, aws.region))), False, 5)


def list_versions(aws: Aws, name: str) -> dict[str, Any]:
    """List the versions of a configuration, as storing an earlier one does."""
    return {"versions": [each.number for each in read_versions(aws, name)]}


def check_by_command(aws: Aws, instance: str) -> dict[str, Any]:
    check_agent(aws, instance, Deadline(0))
    return {"schema": check_instance(aws, instance, [aws.region])}


def converge_command(aws: Aws, instance: str, state: str) -> dict[str, Any]:
    write = Write(aws.region, PARAMETER, "{}", "Standard")
    desired = DesiredCommand(state, instance, "x", ADMIN_ROLE, (write,), seconds=60, permission_seconds=5)
    return converge(CommandResource(aws, desired), False, 5)


def configure(log_group: str, seconds: int = 0) -> Callable[[Site], None]:
    """Write the configuration that is to be stored, some time after the last one."""

    def prepare(site: Site) -> None:
        entry = {"file_path": "/var/log/shop.log", "log_group_name": log_group}
        config = {"logs": {"logs_collected": {"files": {"collect_list": [entry]}}}}
        (site.home / "config.json").write_text(json.dumps(config))
        site.aws.shift_clock(seconds)

    return prepare


def attach_fitted(site: Site) -> None:
    """Give the role of the application the fitted policies of the account."""
    for each in site.iam.list_policies(Scope="Local", PathPrefix="/cwagent/")["Policies"]:
        site.iam.attach_role_policy(RoleName=APP, PolicyArn=each["Arn"])


def detach_fitted(site: Site) -> None:
    for each in site.iam.list_policies(Scope="Local", PathPrefix="/cwagent/")["Policies"]:
        site.iam.detach_role_policy(RoleName=APP, PolicyArn=each["Arn"])
