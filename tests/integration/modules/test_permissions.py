"""The policies in examples/policies: each action in them is necessary, and they are sufficient for the modules.

Each action is removed from a policy in turn, and the module that needs it fails and names the missing action. With the
whole policy, it succeeds. ``journeys/test_duties.py`` runs the playbooks with their policies.
"""

from __future__ import annotations

import json
import os
import re
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
from in_process import on_host, run_module, transact
from policies import POLICIES, Policy, actions, filled, permit, without

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import ACQUIRED, RELEASED, DesiredAdmin
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.resource import AdminInstanceResource
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
from ansible_collections.cwagent.iam.plugins.plugin_utils._hybrid_host import HybridServer

APP = "shop-app"
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
    "store-by-run-command-by-tag": {"iam:GetPolicyVersion"},
    "teardown": {"ssm:DescribeParameters"},
}
"""The same for each duty.

- Without the permission to list saved keys or configurations, the report lists what is unknown. test_remove_servers.py
  and test_search.py test that.
- Without the permission to list policies, IAM itself refuses a window whose policy is too large together with others.
- Without iam:GetAccountSummary, the default quota of policies counts.
- Without iam:GetPolicyVersion, provision does not judge a boundary, and store-by-run-command* does not check whether
  the admin role lets the SSM agent work.
"""
CLAIM_LIFETIME = 30
"""How many seconds runs respect the claim on a key's place. A run that may not delete its claim leaves it behind."""

IMPLIED = {"iam:PassRole", "ssm:AddTagsToResource"}
"""Actions that no call has. Calls that need them are refused."""
NOT_ENFORCED = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}
"""The emulator does not call KMS when other services encrypt. tests/unit/policies tests these actions."""


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
        """The value with placeholders replaced by ids of instances and the folder."""
        folders = {"host": self.home / HOST, "folder": self.home / "credentials"}
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


def provisioned_and_acquired(site: Site) -> None:
    provisioned(site)
    associate(site.aws, site.bare, SERVER_ROLE)
    site.aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Type="String")
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


def hold_profile(aws: Aws, state: str, instance_ids: Sequence[str] | None = None) -> dict[str, Any]:
    """Acquire or release the admin profile, as storing and cleaning up do."""
    desired = DesiredAdmin(
        state,
        ADMIN_ROLE,
        SERVER_ROLE,
        None if instance_ids is None else tuple(instance_ids),
        record_role=ADMIN_ROLE,
        region=aws.region,
        fail_if_tagged=True,
    )
    return converge(AdminInstanceResource(aws, desired), False, 5)


def check_by_command(aws: Aws, instance: str) -> dict[str, Any]:
    check_agent(aws, instance, Deadline(0))
    return {"schema": check_instance(aws, instance, [aws.region])}


def converge_command(aws: Aws, instance: str, state: str) -> dict[str, Any]:
    write = Write(aws.region, PARAMETER, "{}", "Standard")
    desired = DesiredCommand(state, instance, "x", ADMIN_ROLE, (write,), seconds=60, permission_seconds=5)
    return converge(CommandResource(aws, desired), False, 5)


RELEASE = {"state": RELEASED}
CLOSE_ROLE_WINDOW = with_timeout(role=ADMIN_ROLE, state="closed", managed_only=True)
CLOSE_USER_WINDOW = with_timeout(user=ADMIN_USER, state="closed", managed_only=True)
PARAMETER_IN_CHECK_MODE = Scene(
    "config_parameter", {"name": PARAMETER, "config": {"agent": {}}, "wait_timeout": 0}, "ssm:GetParameter", check=True
)
RELEASE_OF_A_STOPPED_INSTANCE = Scene(hold_profile, RELEASE, "ec2:AssociateIamInstanceProfile", leave_acquired_and_stop)
STORES = (("parameter_store", "ssm:DeleteParameter"), ("secrets_manager", "secretsmanager:DeleteSecret"))
DELETIONS_OF_SAVED_KEYS = [
    Scene(
        "iam_user", {**user_with_store(store), "state": "absent"}, action, as_root(("iam_user", user_with_store(store)))
    )
    for store, action in STORES
]
DEREGISTRATIONS = [
    Scene(
        manage_node,
        {"host": "@host", "state": DEREGISTERED},
        "ssm:DescribeInstanceInformation ListTagsForResource DescribeActivations DeleteActivation "
        "DeregisterManagedInstance",
        in_turn(provisioned_for_hybrid_servers, register_host),
        restores=True,
    ),
    Scene(
        "hybrid_nodes",
        with_timeout(nodes_by_region={"": [HOST]}),
        "ssm:DescribeInstanceInformation DescribeActivations DeleteActivation DeregisterManagedInstance",
        switch_off_host,
        restores=True,
    ),
]
UNSAVED_KEY = Scene(
    "iam_user", {**SERVER_KEYS, "name": [f"{USER}-lost"], "state": "absent"}, "iam:GetAccessKeyLastUsed", lose_key
)
COMMANDS = [
    Scene(
        check_by_command,
        {"instance": "@app"},
        "ssm:DescribeInstanceInformation SendCommand GetCommandInvocation",
        provisioned_for_run_command,
    ),
    Scene(converge_command, {"instance": "@app", "state": SENT}, "ssm:ListCommands"),
    Scene(converge_command, {"instance": "@app", "state": CANCELLED}, "ssm:CancelCommand"),
]
SCENES: dict[str, list[Scene]] = {
    "provision": [
        Scene(
            "iam_role",
            ROLE,
            "iam:GetRole GetInstanceProfile CreateRole AttachRolePolicy ListAttachedRolePolicies "
            "ListRolePolicies CreateInstanceProfile AddRoleToInstanceProfile PassRole",
        ),
        Scene(
            "iam_role",
            {**ROLE, "description": "d", "tags": {"team": "ops"}},
            "iam:UpdateAssumeRolePolicy UpdateRole DetachRolePolicy TagRole TagInstanceProfile",
            change_role,
        ),
        Scene("iam_role", ADMIN, "iam:PutRolePolicy"),
        Scene(
            "instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@bare"]),
            "ec2:DescribeIamInstanceProfileAssociations DescribeInstances AssociateIamInstanceProfile",
        ),
        Scene(
            "instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@app"], on_other_profile="replace"),
            "ec2:ReplaceIamInstanceProfileAssociation",
        ),
        Scene("instance_profile", ATTACH, "iam:GetAccountAuthorizationDetails TagRole AttachRolePolicy", leave_app),
        Scene(
            "iam_user",
            ADMIN_KEYS,
            "iam:GetUser CreateUser PutUserPolicy ListGroupsForUser ListAttachedUserPolicies ListUserPolicies "
            "ListAccessKeys AttachUserPolicy CreateAccessKey UpdateAccessKey",
            removed=[BULK],
        ),
        # A key that an interrupted run did not save: the next run checks its last use, and deletes it.
        Scene(
            "iam_user", {**SERVER_KEYS, "name": [f"{USER}-lost"]}, "iam:GetAccessKeyLastUsed DeleteAccessKey", lose_key
        ),
        Scene("iam_user", {**SERVER_KEYS, "tags": {"team": "ops"}}, "iam:DetachUserPolicy TagUser", change_user),
        Scene("admin_window", with_timeout(role=ADMIN_ROLE, state="open", instance_id="@app"), "iam:GetRolePolicy"),
        Scene("admin_window", with_timeout(user=ADMIN_USER, state="open"), "iam:GetUserPolicy"),
        Scene(
            hold_profile,
            {"state": ACQUIRED, "instance_ids": ["@other"]},
            "ec2:DescribeTags CreateTags",
        ),
        Scene(hold_profile, RELEASE, "ec2:DisassociateIamInstanceProfile DeleteTags iam:UntagRole"),
        PARAMETER_IN_CHECK_MODE,
    ],
    "provision-hybrid": [
        Scene(
            "iam_role",
            IN_OWN_REGION,
            "iam:GetRole CreateRole AttachRolePolicy ListAttachedRolePolicies ListRolePolicies",
        ),
        Scene(
            "iam_role",
            {**HYBRID_SERVERS, "trust_regions": ["us-east-1"], "description": "d", "tags": {"team": "ops"}},
            "iam:UpdateAssumeRolePolicy UpdateRole DetachRolePolicy TagRole",
            lambda site: site.iam.attach_role_policy(RoleName=HYBRID_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY),
        ),
        Scene(
            manage_node,
            {"host": "@host", "state": REGISTERED},
            "ssm:DescribeActivations CreateActivation AddTagsToResource iam:PassRole ssm:DeleteActivation "
            "DescribeInstanceInformation",
            provisioned_for_hybrid_servers,
            restores=True,
        ),
        DEREGISTRATIONS[0],
        Scene("iam_user", RETIRED_KEYS, "iam:UpdateAccessKey", create_unused_key()),
        Scene(
            "iam_user",
            RETIRED_KEYS,
            f"iam:{CREDENTIALS_OF_A_PERSON} DeleteUser",
            lambda site: site.aws.shift_clock(8 * DAY),
        ),
        Scene("iam_user", RETIRED_KEYS, "iam:UntagUser", in_turn(adopt_server, deactivate_unused_key())),
        *(
            Scene("iam_user", {**RETIRED_KEYS, **stored_in(store)}, action, deactivate_unused_key(**stored_in(store)))
            for store, action in STORES
        ),
    ],
    "store-configuration": [
        Scene(
            "admin_window",
            with_timeout(role=ADMIN_ROLE, state="open", instance_id="@app"),
            "iam:GetRolePolicy GetRole PutRolePolicy",
            in_turn(provisioned, remove_windows),
        ),
        Scene(
            "admin_window",
            with_timeout(user=ADMIN_USER, state="open"),
            "iam:GetUserPolicy GetUser ListAccessKeys PutUserPolicy UpdateAccessKey",
        ),
        Scene("admin_window", CLOSE_ROLE_WINDOW, "iam:ListAttachedRolePolicies", remove_windows),
        Scene("admin_window", CLOSE_USER_WINDOW, "iam:ListAttachedUserPolicies"),
        Scene(
            hold_profile,
            {"state": ACQUIRED, "instance_ids": ["@bare"]},
            "ec2:DescribeIamInstanceProfileAssociations DescribeTags DescribeInstances iam:TagRole "
            "ec2:CreateTags AssociateIamInstanceProfile iam:PassRole",
            restores=True,
        ),
        Scene(hold_profile, RELEASE, "ec2:DisassociateIamInstanceProfile DeleteTags iam:UntagRole"),
        Scene(
            hold_profile,
            RELEASE,
            "iam:GetInstanceProfile ec2:ReplaceIamInstanceProfileAssociation iam:PassRole",
            leave_acquired,
        ),
        PARAMETER_IN_CHECK_MODE,
    ],
    "rotate-keys": [
        Scene(
            "iam_user",
            {**SERVER_KEYS, "key_max_age_days": 90},
            f"iam:{READ_USER} ListAccessKeys GetAccessKeyLastUsed CreateAccessKey",
            in_turn(provisioned, advance_days(100)),
            removed=[BULK],
        ),
        Scene("iam_user", {**ADMIN_KEYS, "key_max_age_days": 90}, "iam:TagUser", removed=[BULK]),
        Scene("iam_user", {**SERVER_KEYS, "key_max_age_days": 90}, "iam:UpdateAccessKey", advance_days(1)),
        Scene("iam_user", {**SERVER_KEYS, "key_max_age_days": 90}, "iam:DeleteAccessKey", advance_days(8)),
        Scene("restore", {**CHECK, "instances": {"": ["@app"]}}, "ec2:DescribeInstances"),
    ],
    "remove-servers": [
        Scene("restore", {**CHECK, "users_to_delete": {"": [USER]}}, "iam:GetUser", provisioned_and_acquired),
        Scene("admin_window", CLOSE_ROLE_WINDOW, "iam:GetRolePolicy GetRole ListAttachedRolePolicies PutRolePolicy"),
        Scene(
            "admin_window",
            CLOSE_USER_WINDOW,
            "iam:GetUserPolicy GetUser ListAttachedUserPolicies ListAccessKeys PutUserPolicy UpdateAccessKey",
            activate_key,
        ),
        Scene(
            hold_profile,
            RELEASE,
            "ec2:DescribeTags DescribeInstances iam:GetInstanceProfile "
            "ec2:ReplaceIamInstanceProfileAssociation iam:PassRole ec2:DeleteTags iam:UntagRole",
        ),
        RELEASE_OF_A_STOPPED_INSTANCE,
        Scene(
            "instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@bare"], state="absent"),
            "ec2:DescribeIamInstanceProfileAssociations DisassociateIamInstanceProfile",
        ),
        Scene(
            "iam_user",
            {**SERVER_KEYS, "state": "absent"},
            f"iam:{READ_USER} ListAccessKeys {CREDENTIALS_OF_A_PERSON} DeleteAccessKey DetachUserPolicy DeleteUser",
            removed=[BULK],
        ),
        Scene("iam_user", with_timeout(name=[USER], access="server", state="absent"), "iam:UntagUser", adopt_server),
        UNSAVED_KEY,
        Scene(
            "application_roles",
            with_timeout(instances={"": ["@app"]}),
            "iam:GetAccountAuthorizationDetails ec2:DescribeIamInstanceProfileAssociations "
            "iam:DetachRolePolicy UntagRole",
            attach,
        ),
        *DELETIONS_OF_SAVED_KEYS,
        *DEREGISTRATIONS,
    ],
    "teardown": [
        Scene(
            "admin_window",
            with_timeout(role=ADMIN_ROLE, state="closed"),
            "iam:GetRolePolicy PutRolePolicy",
            provisioned_and_acquired,
        ),
        Scene(
            "admin_window",
            with_timeout(user=ADMIN_USER, state="closed"),
            "iam:GetUserPolicy PutUserPolicy UpdateAccessKey",
            activate_key,
        ),
        Scene(
            hold_profile,
            RELEASE,
            "ec2:DescribeTags iam:GetInstanceProfile ec2:ReplaceIamInstanceProfileAssociation iam:PassRole "
            "ec2:DeleteTags iam:UntagRole",
        ),
        RELEASE_OF_A_STOPPED_INSTANCE,
        Scene(
            "restore",
            {
                **CHECK,
                "instances": {"": ["@bare"]},
                "profiles_to_delete": [SERVER_ROLE],
                "expected_instance_ids": ["@bare"],
            },
            "ec2:DescribeInstances DescribeRegions DescribeIamInstanceProfileAssociations",
        ),
        Scene(
            "instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@bare"], fail_if_associated_elsewhere=True, state="absent"),
            "ec2:DisassociateIamInstanceProfile",
        ),
        Scene(
            "iam_role",
            {**ADMIN, "state": "absent"},
            "iam:GetRole ListAttachedRolePolicies ListRolePolicies ListInstanceProfilesForRole "
            "DetachRolePolicy DeleteRolePolicy RemoveRoleFromInstanceProfile DeleteInstanceProfile DeleteRole",
        ),
        Scene(
            "iam_user",
            {**ADMIN_KEYS, "state": "absent"},
            f"iam:{READ_USER} ListAccessKeys {CREDENTIALS_OF_A_PERSON} DeleteAccessKey DetachUserPolicy "
            "DeleteUserPolicy DeleteUser",
            removed=[BULK],
        ),
        Scene("iam_role", with_timeout(name=ADMIN_ROLE, state="absent"), "iam:UntagRole", adopt),
        Scene("iam_user", with_timeout(name=[ADMIN_USER], state="absent"), "iam:UntagUser"),
        UNSAVED_KEY,
        Scene(
            "config_parameter",
            {"name": PARAMETER, "state": "absent", "wait_timeout": 0},
            "ssm:GetParameter DeleteParameter",
        ),
        Scene(
            "application_roles", with_timeout(), "iam:GetAccountAuthorizationDetails DetachRolePolicy UntagRole", attach
        ),
        *DELETIONS_OF_SAVED_KEYS,
        *DEREGISTRATIONS,
        Scene(
            "iam_role",
            with_timeout(name=HYBRID_ROLE, trust="hybrid", state="absent"),
            "iam:GetRole ListAttachedRolePolicies ListRolePolicies DetachRolePolicy DeleteRole",
        ),
    ],
    "store-by-run-command": COMMANDS,
    "store-by-run-command-by-tag": COMMANDS,
    "tag-parameters": [
        Scene(
            "config_parameter",
            {"name": PARAMETER, "state": "tagged", "tags": {"team": "operations"}},
            "ssm:ListTagsForResource AddTagsToResource",
            as_root(("config_parameter", {"name": PARAMETER, "config": {"agent": {}}, "validation": "off"})),
        )
    ],
    "keys-in-parameter-store": [
        Scene("iam_user", user_with_store("parameter_store"), "ssm:GetParameters PutParameter DeleteParameter")
    ],
    "keys-in-secrets-manager": [
        Scene(
            "iam_user",
            user_with_store("secrets_manager"),
            "secretsmanager:GetSecretValue UpdateSecret CreateSecret DeleteSecret",
        )
    ],
}
ADDITIONAL_POLICIES = {
    "keys-in-parameter-store": ("provision",),
    "keys-in-secrets-manager": ("provision",),
    "store-by-run-command": ("store-configuration",),
    "store-by-run-command-by-tag": ("store-configuration",),
    "provision-hybrid": ("provision", "keys-in-parameter-store", "keys-in-secrets-manager"),
    **dict.fromkeys(("remove-servers", "teardown"), ("keys-in-parameter-store", "keys-in-secrets-manager")),
}
"""The further policies that the controller's user has."""

DELIVERY = {"keys-in-parameter-store": {"ssm:GetParameter"}}
"""Actions that only the delivery of a saved key needs."""


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
        if scene.restores:
            site.aws.save(f"scene {number} of {duty}", site.home)
        for action in (*scene.actions, ""):
            with subtests.test(scene=number, module=str(scene.module), action=action):
                if scene.restores:
                    site.aws.restore(f"scene {number} of {duty}")
                permit(site.aws, *(without(each, action, *scene.removed) for each in (document, *additional)))
                if duty.startswith("keys-in"):
                    site.aws.shift_clock(CLAIM_LIFETIME)
                result = site.run(scene)
                assert result["failed"] == bool(action), result
                if action:
                    call = r"\w+:\w+" if action in IMPLIED else action
                    assert re.search(rf"Could not .+ \({call}\)", result["msg"])
                    assert f"user/controller lacks {action}" in result["msg"]
                    assert f"Grant {action} to it and run again" in result["msg"]


def test_a_host_that_left_is_known_by_its_name_although_its_name_may_not_be_read(site: Site) -> None:
    """The policy allows to read the users of hosts only."""
    provisioned(site)
    permit(site.aws, policy("remove-servers"))
    options: dict[str, Any] = {"users_to_delete": {"": [HOST, USER]}, "default_users": {HOST: USER}}
    found = run_module(site.aws, "cwagent_restore", state="checked", credentials=site.user, **options)
    assert (found["failed"], found["warnings"], found["users_to_delete"]) == (False, [], {"": [USER]})
    as_root(("iam_user", {**SERVER_KEYS, "state": "absent"}))(site)
    found = run_module(site.aws, "cwagent_restore", state="checked", credentials=site.user, **options)
    assert f"It is not known whether there is a user '{HOST}': iam:GetUser is not allowed." in found["warnings"]


@pytest.mark.parametrize(("store", "action"), READS_OF_KEYS.items())
def test_an_on_premises_host_stores_with_the_policies_of_its_playbook(
    site: Site, store: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One action reads the saved key. It is all that the lookup of keys needs."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", site.aws.endpoint)  # for the lookup
    as_root(("iam_user", {**ADMIN_KEYS, "saved_key": {"key_store": store}}))(site)
    host = site.aws.host(site.home / "ops1")
    (site.home / "agent.json").write_text('{"agent": {}}')
    configs = [{"name": PARAMETER, "file": str(site.home / "agent.json")}]

    def run(keys: Policy) -> tuple[dict[str, Any], list[str]]:
        """The result, and the calls of the user that were denied."""
        permit(site.aws, policy("store-configuration"), keys)
        since = site.aws.mark()
        options: dict[str, Any] = {"from": "onprem", "configs": configs, "key_store": store}
        send = on_host(site.aws, host)
        made = transact(site.aws, "cwagent_store_config", send, credentials=site.user, **options)
        return made, [call.action for call in site.aws.calls(since) if call.error in DENIED_CODES]

    document = policy(f"keys-in-{store.replace('_', '-')}")
    refused, denied = run(without(document, action))
    assert f"user/controller lacks {action}" in refused["msg"]
    assert denied == [action.partition(":")[2]]
    stored, denied = run(document)
    assert (stored["failed"], stored["changed"], denied) == (False, True, []), stored
