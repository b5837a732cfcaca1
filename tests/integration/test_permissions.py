"""The policies in examples/policies: each is sufficient for its task, and each action in it is necessary.

A playbook runs as a user who has only the policy for its task, and no call is denied. Then each action is removed from
the policy in turn, and the module that needs it fails and names the missing action.
"""

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

import pytest
from emulator import Emulator, Fault, Kind
from emulator.host import Host
from emulator.snapshot import associated_profiles, snapshot
from fleet import DAY, HOUR, HYBRID, Fleet
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
    UNREACHABLE,
    WINDOW_POLICY,
    Controller,
    Play,
    assert_complete_report,
    associate,
    create_role,
    create_user,
    hybrid_nodes,
    leave_restore_tag,
    trust,
)
from in_process import run_module
from policies import POLICIES, Policy, actions, permit, without

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.agent import HOST_SPEC, SsmAgent
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.api import SystemsManager
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import DEREGISTERED, REGISTERED
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.transaction import Transaction
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import Write
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.plan import CANCELLED, SENT, DesiredCommand
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.resource import (
    CommandResource,
    check_agent,
    check_instance,
)
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline
from ansible_collections.cwagent.iam.plugins.plugin_utils._hybrid_host import HybridHost

APP = "shop-app"
PLACEHOLDERS = ("ROLE-OF-AN-EARLIER-PROFILE", "NAME-OF-AN-EARLIER-PROFILE", "NAME-OF-AN-APPLICATION-ROLE")
BOUNDARIES = {"boundary", "require-boundary"}
"""The policies that allow the controller nothing."""
TESTED_ELSEWHERE = {"audit", "verify", "apply", "organization", "organization-instances"}
"""test_access_info.py and test_verify.py test the first three: without some of their actions, the modules do not fail.
test_organization.py tests the others."""
USER = f"{SERVER_USER}-db1"

BULK = "iam:GetAccountAuthorizationDetails"
TOLERATED = {BULK, "iam:GetPolicy"}
"""Without the first, users are read one by one. Without the other, IAM reports that a permissions boundary does not
exist. Nothing else fails, but every run logs a denied call in the account."""
TOLERATED_IN = {
    "keys-in-parameter-store": {"ssm:DescribeParameters"},
    "keys-in-secrets-manager": {"secretsmanager:ListSecrets"},
    "provision": {"iam:GetAccountSummary", "iam:GetPolicyVersion"},
    "store-configuration": {"iam:ListRolePolicies", "iam:ListUserPolicies"},
    "store-by-run-command": {"iam:GetPolicyVersion"},
}
"""The same for each duty.

- Without the permission to list saved keys, the report lists what is unknown. test_remove_servers.py tests that.
- Without the permission to list policies, IAM itself refuses a window whose policy is too large together with others.
- Without iam:GetAccountSummary, the default quota of policies counts.
- Without iam:GetPolicyVersion, provision does not judge a boundary, and store-by-run-command does not check whether the
  admin role lets the SSM agent work.
"""
CLAIM_LIFETIME = 30
"""How many seconds runs respect the claim on a key's place. A run that may not delete its claim leaves it behind."""

NOT_ENFORCED = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}
"""The emulator does not call KMS when other services encrypt. tests/unit/policies tests these actions."""


def policy(name: str) -> Policy:
    """A policy as used in an account: with the role of the earlier profile of the admin instance."""
    text = (POLICIES / f"{name}.json").read_text()
    for placeholder in PLACEHOLDERS:
        text = text.replace(placeholder, APP)
    text = text.replace("ID-OF-THE-ADMIN-INSTANCE", "*")
    found: Policy = json.loads(text)
    return found


# -- Every playbook with the policy for its task --


@dataclass
class Account:
    """An account in which one user runs all playbooks, and in which a permissions boundary is required.

    Every call that is denied here is denied without the boundary too.
    """

    controller: Controller
    admin: str
    inventory: Path
    user: dict[str, str]
    boundary: str

    def play(self, duties: str | Sequence[str], playbook: str, **variables: Any) -> Play:
        names = [duties] if isinstance(duties, str) else duties
        permit(self.controller.aws, *map(policy, names), policy("require-boundary"))
        files: dict[str, Any] = {
            "cwagent_config_file": str(self.controller.home / "agent.json"),
            "cwagent_key_store_directory": str(self.controller.credentials),
            "cwagent_permissions_boundary": self.boundary,
            "cwagent_ssm_policy": SSM_POLICY,
        }
        return self.controller.play(self.inventory, playbook, env=self.user, **files, **variables).assert_succeeded()


@pytest.fixture(scope="module")
def duties(shared_controller: Controller) -> dict[str, Play]:
    aws = shared_controller.aws
    admin, web, leaving = aws.instances(3)
    create_role(aws, APP, "AmazonS3ReadOnlyAccess", SSM_POLICY)
    associate(aws, admin, APP)
    instances = {"web1": web, "web2": leaving}
    inventory = shared_controller.inventory(
        {
            "ec2_servers": {host: shared_controller.instance_host(each) for host, each in instances.items()},
            "ec2_admin": {"admin1": shared_controller.instance_host(admin)},
            "onprem_servers": {"db1": {}, "db2": {}},
            "onprem_admin": {"ops1": {}},
        }
    )
    document = json.dumps(policy("boundary"))
    boundary = aws.client("iam").create_policy(PolicyName="CloudWatchAgentBoundary", PolicyDocument=document)
    before = snapshot(aws)
    account = Account(shared_controller, admin, inventory, create_user(aws, "controller"), boundary["Policy"]["Arn"])
    shared_controller.file("agent.json", {"agent": {}})
    plays = {"site": account.play("provision", "site", cwagent_tags={"team": "ops"})}
    shared_controller.file("agent.json", {"agent": {"debug": True}})
    plays["store_config"] = account.play("store-configuration", "store_config")
    shared_controller.file("agent.json", {"agent": {"debug": False}})
    run_command = ("store-configuration", "store-by-run-command")
    plays["store_config by run_command"] = account.play(
        run_command, "store_config", cwagent_store_config_from="run_command"
    )
    interrupt(shared_controller, admin)
    plays["restore"] = account.play("store-configuration", "restore")
    assert associated_profiles(aws)[admin] == APP
    aws.shift_clock(100 * DAY)
    plays["rotate_keys"] = account.play("rotate-keys", "rotate_keys")
    interrupt(shared_controller, admin)
    removal: dict[str, Any] = {"cwagent_remove_servers": ["web2", "db2"], "cwagent_confirm": "remove_servers"}
    plays["remove_servers"] = account.play("remove-servers", "remove_servers", **removal)
    interrupt(shared_controller, admin)
    plays["teardown"] = account.play("teardown", "teardown", cwagent_confirm="teardown", cwagent_exclusive=True)
    aws.client("iam").delete_user_policy(UserName="controller", PolicyName="duty")
    after = snapshot(aws)
    after["users"].pop("controller")
    assert after == before
    return plays


def test_a_host_that_left_is_removed_by_its_name_although_no_user_with_the_name_may_be_read(
    controller: Controller,
) -> None:
    aws = controller.aws
    folder: dict[str, Any] = {"cwagent_key_store_directory": str(controller.credentials)}
    left = controller.inventory({"onprem_servers": {"db1": {}, "db2": {}}})
    controller.play(left, "site", **folder).assert_succeeded()
    inventory = controller.inventory({"onprem_servers": {"db1": {}}})
    user = create_user(aws, "controller")
    permit(aws, policy("remove-servers"))
    removal = {**folder, "cwagent_remove_servers": ["db2"], "cwagent_confirm": "remove_servers"}
    controller.play(inventory, "remove_servers", env=user, **removal).assert_succeeded()
    assert {*snapshot(aws)["users"]} == {"controller", f"{SERVER_USER}-db1"}
    again = controller.play(inventory, "remove_servers", env=user, **removal).assert_succeeded()
    assert again.writes == []
    assert "It is not known whether there is a user 'db2': iam:GetUser is not allowed." in again.words


def interrupt(controller: Controller, admin: str) -> None:
    """Leave the same as a run that was killed while it stored."""
    iam = controller.aws.client("iam")
    leave_restore_tag(controller.aws, admin, APP)
    associate(controller.aws, admin, ADMIN_ROLE)
    iam.delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
    iam.delete_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY)


WRITES = {
    "site": {"CreateRole", "CreateUser", "CreateAccessKey", "PutParameter", "CreateTags", "UntagRole"},
    "store_config": {"PutRolePolicy", "PutParameter", "ReplaceIamInstanceProfileAssociation", "CreateTags", "TagRole"},
    "store_config by run_command": {
        "SendCommand",
        "PutRolePolicy",
        "PutParameter",
        "ReplaceIamInstanceProfileAssociation",
    },
    "restore": {"PutRolePolicy", "PutUserPolicy", "ReplaceIamInstanceProfileAssociation", "DeleteTags", "UntagRole"},
    "rotate_keys": {"CreateAccessKey"},
    "remove_servers": {
        *("PutRolePolicy", "PutUserPolicy", "ReplaceIamInstanceProfileAssociation", "DeleteTags", "UntagRole"),
        *("DisassociateIamInstanceProfile", "DetachUserPolicy", "DeleteAccessKey", "DeleteUser"),
    },
    "teardown": {"PutRolePolicy", "DeleteRole", "DeleteUser", "DeleteAccessKey", "DeleteParameter"},
}


@pytest.mark.parametrize("playbook", WRITES)
def test_a_playbook_needs_no_more_than_its_policy(duties: dict[str, Play], playbook: str) -> None:
    assert set(duties[playbook].writes) >= WRITES[playbook]
    # The instance of the application reads with its own role, which may not, and is warned of.
    calls = [call for call in duties[playbook].calls if f":assumed-role/{APP}/" not in call.principal]
    assert [call.action for call in calls if call.error in DENIED_CODES] == []


@pytest.mark.parametrize("playbook", WRITES)
def test_a_playbook_reports_every_step(duties: dict[str, Play], playbook: str) -> None:
    assert_complete_report(duties[playbook])


def test_a_hybrid_server_needs_no_more_than_the_policies_of_its_playbooks(controller: Controller) -> None:
    """Two servers, of which one had an access key before, from nothing to teardown, with a permissions boundary."""
    aws, fleet = controller.aws, Fleet(controller)
    for host in ("db1", "db2"):
        fleet.add_machine(host)
    document = json.dumps(policy("boundary"))
    boundary = aws.client("iam").create_policy(PolicyName="CloudWatchAgentBoundary", PolicyDocument=document)
    before, user = snapshot(aws), create_user(aws, "controller")

    def run(names: Sequence[str], playbook: str, **variables: Any) -> Play:
        permit(aws, *map(policy, names), policy("require-boundary"))
        variables["cwagent_permissions_boundary"] = boundary["Policy"]["Arn"]
        play = fleet.play(playbook, env=user, **variables).assert_succeeded()
        assert [call.action for call in play.calls if call.error in DENIED_CODES] == []
        return play

    site = (("provision", "provision-hybrid"), "site")
    fleet.identify(HYBRID, "db2")
    writes = run(*site).writes
    fleet.identify(HYBRID)
    for wait in (6 * HOUR, 8 * DAY):
        aws.shift_clock(wait)
        writes += run(*site).writes
    assert {"CreateActivation", "DeleteActivation", "CreateUser", "UpdateAccessKey", "DeleteUser"} <= {*writes}
    assert len(hybrid_nodes(controller.aws)) == 2
    removed = run(
        ["remove-servers"], "remove_servers", cwagent_remove_servers=["db2"], cwagent_confirm="remove_servers"
    )
    assert removed.writes == ["DeregisterManagedInstance"]
    removed = run(["teardown"], "teardown", cwagent_confirm="teardown")
    assert {"DeregisterManagedInstance", "DeleteRole"} <= {*removed.writes}
    after = snapshot(aws)
    after["users"].pop("controller")
    assert after == before


KEY_POLICIES = {"parameter_store": "keys-in-parameter-store", "secrets_manager": "keys-in-secrets-manager"}


@pytest.mark.parametrize("store", KEY_POLICIES)
def test_an_on_premises_host_stores_with_the_policies_of_its_playbook(controller: Controller, store: str) -> None:
    inventory = controller.inventory({"onprem_admin": {"ops1": {}}})
    variables: dict[str, Any] = {"cwagent_store_config_from": "onprem", "cwagent_key_store": store}
    controller.play(inventory, "site", **variables, cwagent_config_file="").assert_succeeded()
    user = create_user(controller.aws, "controller")
    permit(controller.aws, policy("store-configuration"), policy(KEY_POLICIES[store]))
    config = str(controller.file("agent.json", {"agent": {}}))
    play = controller.play(inventory, "store_config", env=user, **variables, cwagent_config_file=config)
    assert "PutParameter" in play.assert_succeeded().writes
    assert [call.action for call in play.calls if call.error in DENIED_CODES] == []


@pytest.mark.parametrize("store", KEY_POLICIES)
def test_servers_are_verified_without_permissions_for_saved_keys(controller: Controller, store: str) -> None:
    """Ansible does not reach the instance, so auto asks Systems Manager too."""
    [instance] = controller.aws.instances(1)
    host = {"instance_id": instance, **UNREACHABLE}
    inventory = controller.inventory({"ec2_servers": {"web1": host}, "onprem_servers": {"db1": {}}})
    variables: dict[str, Any] = {"cwagent_key_store": store, "cwagent_region": controller.aws.region}
    controller.play(inventory, "site", **variables).assert_succeeded()
    controller.aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Type="String")
    user = create_user(controller.aws, "controller")
    permit(controller.aws, policy("verify"))
    plays = {
        way: controller.play(inventory, "verify", env=user, **variables, cwagent_verify_from=way)
        for way in ("auto", "none")
    }
    assert "Systems Manager does not know instance" in plays["auto"].words
    assert "2 of 2 servers without a failure." in plays["none"].assert_succeeded().words
    for play in plays.values():
        assert [call.action for call in play.calls if call.error in DENIED_CODES] == []


# -- Every action removed --


@dataclass(frozen=True)
class Scene:
    """A module call as in a playbook, in a state of the account in which it needs these actions.

    :param module: for an action inside Ansible, a function that takes the gateway to AWS and the arguments.
    :param actions: in the order in which the module needs them.
    :param prepare: brings the account into that state.
    :param removed: actions that are not allowed during the whole scene.
    :param before_each: brings the account back into that state after a call that failed halfway.
    """

    module: str | Callable[..., dict[str, Any]]
    arguments: Mapping[str, Any]
    actions: Sequence[str]
    prepare: Callable[[Site], None] | None = None
    removed: Sequence[str] = field(default=())
    check: bool = False
    before_each: Callable[[Site], None] = lambda _site: None


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
        return run_module(self.aws, scene.module, check=scene.check, credentials=credentials, **arguments)

    def _with_ids(self, value: Any) -> Any:
        """The value with placeholders replaced by ids of instances and the folder."""
        names = {
            "@app": self.app,
            "@bare": self.bare,
            "@other": self.other,
            "@host": str(self.home / HOST),
            "@folder": str(self.home / "credentials"),
        }
        if isinstance(value, dict):
            return {key: self._with_ids(each) for key, each in value.items()}
        return [self._with_ids(each) for each in value] if isinstance(value, list) else names.get(value, value)

    def use_key(self, user: str) -> None:
        """Sign a call with the saved key of a user, like the user's host."""
        text = (self.home / "credentials" / f"{user}.credentials").read_text()
        lines = dict(line.split(" = ") for line in text.splitlines() if " = " in line)
        keys = {"AccessKeyId": lines["aws_access_key_id"], "SecretAccessKey": lines["aws_secret_access_key"]}
        self.aws.client("sts", credentials=keys).get_caller_identity()


class LocalHost(HybridHost):
    """An emulated on-premises host on which the module works in this process."""

    def __init__(self, root: Path, region: str) -> None:
        self._region, self._host = region, Host(root, endpoint="")
        host = self._host
        paths = {"ssm_agent_config": host.configuration_file, "registration": host.registration_file}
        self._options = {name: str(path) for name, path in {**paths, "ssm_agent": host.ssm_agent}.items()}

    def check(self) -> None:
        """The code goes nowhere."""

    def _send(self, _module: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        with patch.dict(os.environ, self._host.environment):
            return SsmAgent({**{name: each.get("default") for name, each in HOST_SPEC.items()}, **arguments}).run()


def with_timeout(**arguments: Any) -> dict[str, Any]:
    return {**arguments, "wait_timeout": 5}


FILES = {"saved_key": {"key_store_directory": "@folder"}}
ROLE = with_timeout(name=SERVER_ROLE, access="server")
ADMIN = with_timeout(name=ADMIN_ROLE, access="admin", admin_window=True)
SERVER_KEYS = with_timeout(name=[USER], access="server", **FILES)
ADMIN_KEYS = with_timeout(name=[ADMIN_USER], access="admin", admin_window=True, **FILES)
ATTACH = with_timeout(name=SERVER_ROLE, instance_ids=["@app"], on_other_profile="attach", attach_to_roles=[APP])
ADMIN_INSTANCE = with_timeout(admin_profile=ADMIN_ROLE, server_profile=SERVER_ROLE)
HOST = "db1"
HYBRID_SERVERS = with_timeout(name=HYBRID_ROLE, access="server", trust="hybrid", ssm_policy=SSM_POLICY)
IN_OWN_REGION = {**HYBRID_SERVERS, "trust_regions": ["eu-central-1"]}
LEAVING_HOST = with_timeout(nodes_by_region={"": [HOST]})
RETIRED_KEYS = with_timeout(name=[USER], state="retired", **FILES)
READ_USER = ("iam:GetUser", "iam:ListGroupsForUser", "iam:ListAttachedUserPolicies", "iam:ListUserPolicies")


def user_with_store(store: str) -> dict[str, Any]:
    return {**SERVER_KEYS, "name": [f"{SERVER_USER}-{store}"], "saved_key": {"key_store": store}}


def as_root(*scenes: tuple[str, dict[str, Any]]) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        for module, arguments in scenes:
            result = site.run(Scene(module, arguments, ()), root=True)
            assert not result["failed"], result

    return prepare


def leave_app(site: Site) -> None:
    """Give the instance of the application its own profile again."""
    associate(site.aws, site.app, APP)


def attach(site: Site) -> None:
    leave_app(site)
    as_root(("cwagent_instance_profile", ATTACH))(site)


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


def leave_acquired_and_stop(site: Site) -> None:
    """Stop the instance before its profile is restored."""
    leave_acquired(site)
    site.aws.client("ec2").stop_instances(InstanceIds=[site.app])


def lose_key(site: Site) -> None:
    """Interrupt a run after it created a key and before it saved the key."""
    site.aws.arm(Fault(Kind.LOSE_ANSWER, action="CreateAccessKey"))
    assert site.run(Scene("cwagent_iam_user", {**SERVER_KEYS, "name": [f"{USER}-lost"]}, ()), root=True)["failed"]
    site.aws.disarm()


def adopt(site: Site) -> None:
    """Make the admin role and the admin user by hand, and adopt them."""
    create_role(site.aws, ADMIN_ROLE, ADMIN_POLICY)
    site.iam.create_user(UserName=ADMIN_USER)
    adopting = {"access": "admin", "admin_window": True, "adopt_existing": True}
    as_root(
        ("cwagent_iam_role", with_timeout(name=ADMIN_ROLE, **adopting)),
        ("cwagent_iam_user", with_timeout(name=[ADMIN_USER], **adopting)),
    )(site)


def adopt_server(site: Site) -> None:
    """Make a server user by hand, and adopt it."""
    site.iam.create_user(UserName=USER)
    as_root(("cwagent_iam_user", with_timeout(name=[USER], access="server", adopt_existing=True)))(site)


def activate_key(site: Site) -> None:
    [key] = site.iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    site.iam.update_access_key(UserName=ADMIN_USER, AccessKeyId=key["AccessKeyId"], Status="Active")


def advance_days(days: int) -> Callable[[Site], None]:
    """Move the clock, and use the saved key of the host."""

    def prepare(site: Site) -> None:
        site.aws.shift_clock(days * DAY)
        site.use_key(USER)

    return prepare


def store_configuration(site: Site) -> None:
    site.aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Type="String")


provisioned = as_root(
    ("cwagent_iam_role", ROLE),
    ("cwagent_iam_role", ADMIN),
    ("cwagent_iam_user", SERVER_KEYS),
    ("cwagent_iam_user", ADMIN_KEYS),
)


def provisioned_without_windows(site: Site) -> None:
    provisioned(site)
    remove_windows(site)


def provisioned_long_ago(site: Site) -> None:
    provisioned(site)
    advance_days(100)(site)


def provisioned_and_acquired(site: Site) -> None:
    provisioned(site)
    associate(site.aws, site.bare, SERVER_ROLE)
    store_configuration(site)
    remove_windows(site)
    leave_acquired(site)


def provisioned_for_run_command(site: Site) -> None:
    as_root(("cwagent_iam_role", {**ADMIN, "ssm_policy": SSM_POLICY}))(site)
    site.iam.attach_role_policy(RoleName=APP, PolicyArn=POLICY_ARN + SSM_POLICY)
    assert site.aws.agents()[site.app]["online"]


def change_hybrid_role(site: Site) -> None:
    site.iam.attach_role_policy(RoleName=HYBRID_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY)


def provisioned_for_hybrid_servers(site: Site) -> None:
    as_root(("cwagent_iam_role", IN_OWN_REGION))(site)
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


def provisioned_and_registered(site: Site) -> None:
    provisioned_for_hybrid_servers(site)
    register_host(site)


def create_unused_key(**keys: Any) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        as_root(("cwagent_iam_user", {**SERVER_KEYS, **keys}))(site)
        site.aws.shift_clock(DAY)

    return prepare


def deactivate_unused_key(**keys: Any) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        create_unused_key(**keys)(site)
        as_root(("cwagent_iam_user", {**RETIRED_KEYS, **keys}))(site)
        site.aws.shift_clock(8 * DAY)

    return prepare


def deactivate_unused_key_of_adopted_user(site: Site) -> None:
    adopt_server(site)
    deactivate_unused_key()(site)


def stored_in(store: str) -> dict[str, Any]:
    return {"name": [f"{SERVER_USER}-{store}"], "saved_key": {"key_store": store}}


def manage_node(aws: Aws, host: str, state: str) -> dict[str, Any]:
    service = SystemsManager(aws, nullcontext)
    desired = Desired(state, aws.region, HYBRID_ROLE, HOST, HOST, str(uuid.uuid4()))
    local = LocalHost(Path(host), aws.region)
    return Transaction(service, local, desired, say=lambda _line: None, shield=nullcontext, wait=2).run()


def check_by_command(aws: Aws, instance: str) -> dict[str, Any]:
    check_agent(aws, instance, Deadline(0))
    return {"schema": check_instance(aws, instance, [aws.region])}


def converge_command(aws: Aws, instance: str, state: str) -> dict[str, Any]:
    write = Write(aws.region, PARAMETER, "{}", "Standard")
    desired = DesiredCommand(state, instance, "x", ADMIN_ROLE, (write,), seconds=60, permission_seconds=5)
    return converge(CommandResource(aws, desired), False, 5)


RELEASE_OF_A_STOPPED_INSTANCE = Scene(
    "cwagent_admin_instance",
    {**ADMIN_INSTANCE, "state": "released"},
    ["ec2:AssociateIamInstanceProfile"],
    leave_acquired_and_stop,
)
STORES = (("parameter_store", "ssm:DeleteParameter"), ("secrets_manager", "secretsmanager:DeleteSecret"))
DELETIONS_OF_SAVED_KEYS = [
    Scene(
        "cwagent_iam_user",
        {**user_with_store(store), "state": "absent"},
        [action],
        as_root(("cwagent_iam_user", user_with_store(store))),
    )
    for store, action in STORES
]
DEREGISTRATIONS = [
    Scene(
        manage_node,
        {"host": "@host", "state": DEREGISTERED},
        [
            *("ssm:DescribeInstanceInformation", "ssm:ListTagsForResource", "ssm:DescribeActivations"),
            *("ssm:DeleteActivation", "ssm:DeregisterManagedInstance"),
        ],
        provisioned_and_registered,
        before_each=register_host,
    ),
    Scene(
        "cwagent_hybrid_nodes",
        LEAVING_HOST,
        [
            *("ssm:DescribeInstanceInformation", "ssm:DescribeActivations", "ssm:DeleteActivation"),
            "ssm:DeregisterManagedInstance",
        ],
        before_each=switch_off_host,
    ),
]

SCENES: dict[str, list[Scene]] = {
    "provision": [
        Scene(
            "cwagent_iam_role",
            ROLE,
            [
                *("iam:GetRole", "iam:GetInstanceProfile", "iam:CreateRole", "iam:AttachRolePolicy"),
                *("iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:CreateInstanceProfile"),
                *("iam:AddRoleToInstanceProfile", "iam:PassRole"),
            ],
        ),
        Scene(
            "cwagent_iam_role",
            {**ROLE, "description": "d", "tags": {"team": "ops"}},
            [
                *("iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:DetachRolePolicy", "iam:TagRole"),
                "iam:TagInstanceProfile",
            ],
            change_role,
        ),
        Scene("cwagent_iam_role", ADMIN, ["iam:PutRolePolicy"]),
        Scene(
            "cwagent_instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@bare"]),
            [
                *("ec2:DescribeIamInstanceProfileAssociations", "ec2:DescribeInstances"),
                "ec2:AssociateIamInstanceProfile",
            ],
        ),
        Scene(
            "cwagent_instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@app"], on_other_profile="replace"),
            ["ec2:ReplaceIamInstanceProfileAssociation"],
        ),
        Scene("cwagent_instance_profile", ATTACH, [BULK, "iam:TagRole", "iam:AttachRolePolicy"], leave_app),
        Scene(
            "cwagent_iam_user",
            ADMIN_KEYS,
            [
                *("iam:GetUser", "iam:CreateUser", "iam:PutUserPolicy", *READ_USER[1:], "iam:ListAccessKeys"),
                *("iam:AttachUserPolicy", "iam:CreateAccessKey", "iam:UpdateAccessKey"),
            ],
            removed=[BULK],
        ),
        # A key that an interrupted run did not save: the next run checks its last use, and deletes it.
        Scene(
            "cwagent_iam_user",
            {**SERVER_KEYS, "name": [f"{USER}-lost"]},
            ["iam:GetAccessKeyLastUsed", "iam:DeleteAccessKey"],
            lose_key,
        ),
        Scene(
            "cwagent_iam_user",
            {**SERVER_KEYS, "tags": {"team": "ops"}},
            ["iam:DetachUserPolicy", "iam:TagUser"],
            change_user,
        ),
        Scene(
            "cwagent_admin_window",
            with_timeout(role=ADMIN_ROLE, state="open", instance_id="@app"),
            ["iam:GetRolePolicy"],
        ),
        Scene("cwagent_admin_window", with_timeout(user=ADMIN_USER, state="open"), ["iam:GetUserPolicy"]),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "instance_ids": "@other", "state": "acquired"},
            ["ec2:DescribeTags", "ec2:CreateTags"],
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "released"},
            ["ec2:DisassociateIamInstanceProfile", "ec2:DeleteTags", "iam:UntagRole"],
        ),
        Scene(
            "cwagent_config_parameter",
            {"name": PARAMETER, "config": {"agent": {}}, "wait_timeout": 0},
            ["ssm:GetParameter"],
            check=True,
        ),
    ],
    "provision-hybrid": [
        Scene(
            "cwagent_iam_role",
            IN_OWN_REGION,
            [
                *("iam:GetRole", "iam:CreateRole", "iam:AttachRolePolicy", "iam:ListAttachedRolePolicies"),
                "iam:ListRolePolicies",
            ],
        ),
        Scene(
            "cwagent_iam_role",
            {**HYBRID_SERVERS, "trust_regions": ["us-east-1"], "description": "d", "tags": {"team": "ops"}},
            ["iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:DetachRolePolicy", "iam:TagRole"],
            change_hybrid_role,
        ),
        Scene(
            manage_node,
            {"host": "@host", "state": REGISTERED},
            [
                *("ssm:DescribeActivations", "ssm:CreateActivation", "ssm:AddTagsToResource", "iam:PassRole"),
                *("ssm:DeleteActivation", "ssm:DescribeInstanceInformation"),
            ],
            provisioned_for_hybrid_servers,
            before_each=forget_host,
        ),
        DEREGISTRATIONS[0],
        Scene("cwagent_iam_user", RETIRED_KEYS, ["iam:UpdateAccessKey"], create_unused_key()),
        Scene(
            "cwagent_iam_user",
            RETIRED_KEYS,
            [
                *("iam:GetLoginProfile", "iam:ListMFADevices", "iam:ListSSHPublicKeys", "iam:DeleteUser"),
                *("iam:ListServiceSpecificCredentials", "iam:ListSigningCertificates"),
            ],
            lambda site: site.aws.shift_clock(8 * DAY),
        ),
        Scene("cwagent_iam_user", RETIRED_KEYS, ["iam:UntagUser"], deactivate_unused_key_of_adopted_user),
        *(
            Scene(
                "cwagent_iam_user",
                {**RETIRED_KEYS, **stored_in(store)},
                [action],
                deactivate_unused_key(**stored_in(store)),
            )
            for store, action in STORES
        ),
    ],
    "store-configuration": [
        Scene(
            "cwagent_admin_window",
            with_timeout(role=ADMIN_ROLE, state="open", instance_id="@app"),
            ["iam:GetRolePolicy", "iam:GetRole", "iam:PutRolePolicy"],
            provisioned_without_windows,
        ),
        Scene(
            "cwagent_admin_window",
            with_timeout(user=ADMIN_USER, state="open"),
            ["iam:GetUserPolicy", "iam:GetUser", "iam:ListAccessKeys", "iam:PutUserPolicy", "iam:UpdateAccessKey"],
        ),
        Scene(
            "cwagent_admin_window",
            with_timeout(role=ADMIN_ROLE, state="closed", managed_only=True),
            ["iam:ListAttachedRolePolicies"],
            remove_windows,
        ),
        Scene(
            "cwagent_admin_window",
            with_timeout(user=ADMIN_USER, state="closed", managed_only=True),
            ["iam:ListAttachedUserPolicies"],
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "instance_ids": "@bare", "state": "acquired"},
            [
                *("ec2:DescribeIamInstanceProfileAssociations", "ec2:DescribeTags", "ec2:DescribeInstances"),
                *("iam:TagRole", "ec2:CreateTags", "ec2:AssociateIamInstanceProfile", "iam:PassRole"),
            ],
            before_each=as_root(("cwagent_admin_instance", {**ADMIN_INSTANCE, "state": "released"})),
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "released"},
            ["ec2:DisassociateIamInstanceProfile", "ec2:DeleteTags", "iam:UntagRole"],
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "released"},
            ["iam:GetInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation", "iam:PassRole"],
            leave_acquired,
        ),
        Scene(
            "cwagent_config_parameter",
            {"name": PARAMETER, "config": {"agent": {}}, "wait_timeout": 0},
            ["ssm:GetParameter"],
            check=True,
        ),
    ],
    "rotate-keys": [
        Scene(
            "cwagent_iam_user",
            {**SERVER_KEYS, "key_max_age_days": 90},
            [*READ_USER, "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed", "iam:CreateAccessKey"],
            provisioned_long_ago,
            removed=[BULK],
        ),
        Scene("cwagent_iam_user", {**ADMIN_KEYS, "key_max_age_days": 90}, ["iam:TagUser"], removed=[BULK]),
        Scene("cwagent_iam_user", {**SERVER_KEYS, "key_max_age_days": 90}, ["iam:UpdateAccessKey"], advance_days(1)),
        Scene("cwagent_iam_user", {**SERVER_KEYS, "key_max_age_days": 90}, ["iam:DeleteAccessKey"], advance_days(8)),
        Scene("cwagent_preflight", {"instances": {"": ["@app"]}}, ["ec2:DescribeInstances"]),
    ],
    "remove-servers": [
        Scene("cwagent_preflight", {"users_to_delete": {"": [USER]}}, ["iam:GetUser"], provisioned_and_acquired),
        Scene(
            "cwagent_admin_window",
            with_timeout(role=ADMIN_ROLE, state="closed", managed_only=True),
            ["iam:GetRolePolicy", "iam:GetRole", "iam:ListAttachedRolePolicies", "iam:PutRolePolicy"],
        ),
        Scene(
            "cwagent_admin_window",
            with_timeout(user=ADMIN_USER, state="closed", managed_only=True),
            [
                *("iam:GetUserPolicy", "iam:GetUser", "iam:ListAttachedUserPolicies", "iam:ListAccessKeys"),
                *("iam:PutUserPolicy", "iam:UpdateAccessKey"),
            ],
            activate_key,
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "released"},
            [
                *("ec2:DescribeTags", "ec2:DescribeInstances", "iam:GetInstanceProfile"),
                *("ec2:ReplaceIamInstanceProfileAssociation", "iam:PassRole", "ec2:DeleteTags", "iam:UntagRole"),
            ],
        ),
        RELEASE_OF_A_STOPPED_INSTANCE,
        Scene(
            "cwagent_instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@bare"], state="absent"),
            ["ec2:DescribeIamInstanceProfileAssociations", "ec2:DisassociateIamInstanceProfile"],
        ),
        Scene(
            "cwagent_iam_user",
            {**SERVER_KEYS, "state": "absent"},
            [
                *(*READ_USER, "iam:ListAccessKeys", "iam:GetLoginProfile", "iam:ListMFADevices"),
                *("iam:ListSSHPublicKeys", "iam:ListServiceSpecificCredentials", "iam:ListSigningCertificates"),
                *("iam:DeleteAccessKey", "iam:DetachUserPolicy", "iam:DeleteUser"),
            ],
            removed=[BULK],
        ),
        Scene(
            "cwagent_iam_user",
            with_timeout(name=[USER], access="server", state="absent"),
            ["iam:UntagUser"],
            adopt_server,
        ),
        Scene(
            "cwagent_iam_user",
            {**SERVER_KEYS, "name": [f"{USER}-lost"], "state": "absent"},
            ["iam:GetAccessKeyLastUsed"],
            lose_key,
        ),
        Scene(
            "cwagent_application_roles",
            with_timeout(instances={"": ["@app"]}),
            [BULK, "ec2:DescribeIamInstanceProfileAssociations", "iam:DetachRolePolicy", "iam:UntagRole"],
            attach,
        ),
        *DELETIONS_OF_SAVED_KEYS,
        *DEREGISTRATIONS,
    ],
    "teardown": [
        Scene(
            "cwagent_admin_window",
            with_timeout(role=ADMIN_ROLE, state="closed"),
            ["iam:GetRolePolicy", "iam:PutRolePolicy"],
            provisioned_and_acquired,
        ),
        Scene(
            "cwagent_admin_window",
            with_timeout(user=ADMIN_USER, state="closed"),
            ["iam:GetUserPolicy", "iam:PutUserPolicy", "iam:UpdateAccessKey"],
            activate_key,
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "released"},
            [
                *("ec2:DescribeTags", "iam:GetInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation"),
                *("iam:PassRole", "ec2:DeleteTags", "iam:UntagRole"),
            ],
        ),
        RELEASE_OF_A_STOPPED_INSTANCE,
        Scene(
            "cwagent_preflight",
            {"instances": {"": ["@bare"]}, "profiles_to_delete": [SERVER_ROLE], "expected_instance_ids": ["@bare"]},
            ["ec2:DescribeInstances", "ec2:DescribeRegions", "ec2:DescribeIamInstanceProfileAssociations"],
        ),
        Scene(
            "cwagent_instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@bare"], fail_if_associated_elsewhere=True, state="absent"),
            ["ec2:DisassociateIamInstanceProfile"],
        ),
        Scene(
            "cwagent_iam_role",
            {**ADMIN, "state": "absent"},
            [
                *("iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"),
                *("iam:ListInstanceProfilesForRole", "iam:DetachRolePolicy", "iam:DeleteRolePolicy"),
                *("iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile", "iam:DeleteRole"),
            ],
        ),
        Scene(
            "cwagent_iam_user",
            {**ADMIN_KEYS, "state": "absent"},
            [
                *(*READ_USER, "iam:ListAccessKeys", "iam:GetLoginProfile", "iam:ListMFADevices"),
                *("iam:ListSSHPublicKeys", "iam:ListServiceSpecificCredentials", "iam:ListSigningCertificates"),
                *("iam:DeleteAccessKey", "iam:DetachUserPolicy", "iam:DeleteUserPolicy", "iam:DeleteUser"),
            ],
            removed=[BULK],
        ),
        Scene("cwagent_iam_role", with_timeout(name=ADMIN_ROLE, state="absent"), ["iam:UntagRole"], adopt),
        Scene("cwagent_iam_user", with_timeout(name=[ADMIN_USER], state="absent"), ["iam:UntagUser"]),
        Scene(
            "cwagent_iam_user",
            {**SERVER_KEYS, "name": [f"{USER}-lost"], "state": "absent"},
            ["iam:GetAccessKeyLastUsed"],
            lose_key,
        ),
        Scene(
            "cwagent_config_parameter",
            {"name": PARAMETER, "state": "absent", "wait_timeout": 0},
            ["ssm:GetParameter", "ssm:DeleteParameter"],
        ),
        Scene("cwagent_application_roles", with_timeout(), [BULK, "iam:DetachRolePolicy", "iam:UntagRole"], attach),
        *DELETIONS_OF_SAVED_KEYS,
        *DEREGISTRATIONS,
        Scene(
            "cwagent_iam_role",
            with_timeout(name=HYBRID_ROLE, trust="hybrid", state="absent"),
            [
                *("iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:DetachRolePolicy"),
                "iam:DeleteRole",
            ],
        ),
    ],
    "store-by-run-command": [
        Scene(
            check_by_command,
            {"instance": "@app"},
            ["ssm:DescribeInstanceInformation", "ssm:SendCommand", "ssm:GetCommandInvocation"],
            provisioned_for_run_command,
        ),
        Scene(converge_command, {"instance": "@app", "state": SENT}, ["ssm:ListCommands"]),
        Scene(converge_command, {"instance": "@app", "state": CANCELLED}, ["ssm:CancelCommand"]),
    ],
    "tag-parameters": [
        Scene(
            "cwagent_config_parameter",
            {"name": PARAMETER, "state": "tagged", "tags": {"team": "operations"}},
            ["ssm:ListTagsForResource", "ssm:AddTagsToResource"],
            as_root(("cwagent_config_parameter", {"name": PARAMETER, "config": {"agent": {}}, "validation": "off"})),
        )
    ],
    "keys-in-parameter-store": [
        Scene(
            "cwagent_iam_user",
            user_with_store("parameter_store"),
            ["ssm:GetParameters", "ssm:PutParameter", "ssm:DeleteParameter"],
        )
    ],
    "keys-in-secrets-manager": [
        Scene(
            "cwagent_iam_user",
            user_with_store("secrets_manager"),
            [
                "secretsmanager:GetSecretValue",
                "secretsmanager:UpdateSecret",
                "secretsmanager:CreateSecret",
                "secretsmanager:DeleteSecret",
            ],
        )
    ],
}
ADDITIONAL_POLICIES = {
    "keys-in-parameter-store": ("provision",),
    "keys-in-secrets-manager": ("provision",),
    "store-by-run-command": ("store-configuration",),
    "provision-hybrid": ("provision", "keys-in-parameter-store", "keys-in-secrets-manager"),
    **dict.fromkeys(("remove-servers", "teardown"), ("keys-in-parameter-store", "keys-in-secrets-manager")),
}
"""The further policies that the controller's user has."""

DELIVERY = {"keys-in-parameter-store": {"ssm:GetParameter"}}
"""Actions that only the lookup of a saved key needs."""


@pytest.fixture
def site(enforcing: Emulator, tmp_path: Path) -> Site:
    return Site(enforcing, tmp_path)


def test_there_are_scenes_for_every_policy() -> None:
    assert {path.stem for path in POLICIES.glob("*.json")} == SCENES.keys() | BOUNDARIES | TESTED_ELSEWHERE


@pytest.mark.parametrize("duty", SCENES)
def test_there_is_a_scene_for_every_action(duty: str) -> None:
    tested = {action for scene in SCENES[duty] for action in scene.actions} | DELIVERY.get(duty, set())
    assert tested - TOLERATED == actions(policy(duty)) - TOLERATED - TOLERATED_IN.get(duty, set()) - NOT_ENFORCED


@pytest.mark.parametrize("duty", SCENES)
def test_a_missing_action_is_named(site: Site, duty: str, subtests: pytest.Subtests) -> None:
    """Scenes run in order, because each continues from the state of the account that the one before left."""
    document, additional = policy(duty), [policy(name) for name in ADDITIONAL_POLICIES.get(duty, ())]
    for number, scene in enumerate(SCENES[duty], 1):
        if scene.prepare:
            scene.prepare(site)
        for action in scene.actions:
            with subtests.test(scene=number, module=str(scene.module), action=action):
                others = [without(each, action) for each in additional]
                scene.before_each(site)
                permit(site.aws, without(document, action, *scene.removed), *others)
                if duty.startswith("keys-in"):
                    site.aws.shift_clock(CLAIM_LIFETIME)
                result = site.run(scene)
                assert result["failed"], result
                assert f"user/controller lacks {action}" in result["msg"]
                assert f"Grant {action} to it and run again" in result["msg"]
        with subtests.test(scene=number, module=str(scene.module)):
            scene.before_each(site)
            permit(site.aws, without(document, *scene.removed), *additional)
            if duty.startswith("keys-in"):
                site.aws.shift_clock(CLAIM_LIFETIME)
            result = site.run(scene)
            assert not result["failed"], result["msg"]


def test_the_lookup_of_a_saved_key_needs_one_action(site: Site, tmp_path: Path) -> None:
    as_root(("cwagent_iam_user", user_with_store("parameter_store")))(site)
    controller = Controller(site.aws, tmp_path)
    options = "key_store='parameter_store', credentials_profile='x'"
    lookup = f"lookup('cwagent.iam.saved_credentials', '{SERVER_USER}-parameter_store', {options})"
    task = {"ansible.builtin.assert": {"that": f"{lookup} | length > 0"}}
    playbook = controller.file("read.yml", [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}])
    document = policy("keys-in-parameter-store")
    permit(site.aws, document)
    controller.play(controller.inventory({}), playbook, env=site.user).assert_succeeded()
    permit(site.aws, without(document, "ssm:GetParameter"))
    refused = controller.play(controller.inventory({}), playbook, env=site.user).assert_failed()
    assert "user/controller lacks ssm:GetParameter" in refused.message
