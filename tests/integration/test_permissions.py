"""The policies in examples/policies: each is enough for its duty, and has nothing that could be left out.

A playbook runs as a user that has just the policy of its duty, and is refused nothing. Then every action is taken out
of the policy in turn, and the module that needs it fails and says which action it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    CHECKOUT,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    ModuleServer,
    Play,
    Workplace,
    account,
    associate,
    carried,
    make_role,
    trust,
)

from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES

POLICIES = CHECKOUT / "examples" / "policies"
APP, PLACEHOLDER = "shop-app", "ROLE-OF-AN-EARLIER-PROFILE"
RESTORE_TAG = "cwagent:earlier-profile"
DAY = 24 * 3600
USER = f"{SERVER_USER}-db1"

BULK = "iam:GetAccountAuthorizationDetails"
TOLERATED = {BULK}
"""Without it, users are read one by one: nothing fails, but the refusal is in the account's records with every run."""

NOT_ENFORCED = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}
"""The emulator does not ask KMS for what other services encrypt; tests/unit/policies decides about these."""

Policy = dict[str, Any]


def policy(name: str) -> Policy:
    """A policy as a user puts it into an account: with the role of the profile that the admin instance had."""
    text = (POLICIES / f"{name}.json").read_text()
    found: Policy = json.loads(text.replace(PLACEHOLDER, APP))
    return found


def actions(document: Policy) -> set[str]:
    return {action for statement in document["Statement"] for action in _listed(statement["Action"])}


def without(document: Policy, *removed: str) -> Policy:
    kept = [
        {**statement, "Action": left}
        for statement in document["Statement"]
        if (left := [action for action in _listed(statement["Action"]) if action not in removed])
    ]
    return {**document, "Statement": kept}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def permit(aws: Emulator, *documents: Policy) -> None:
    """Give the controller these policies and no others."""
    statements = [statement for document in documents for statement in document["Statement"]]
    document = {"Version": "2012-10-17", "Statement": statements}
    aws.client("iam").put_user_policy(UserName="controller", PolicyName="duty", PolicyDocument=json.dumps(document))


def make_controller(aws: Emulator) -> dict[str, str]:
    iam = aws.client("iam")
    iam.create_user(UserName="controller")
    key = iam.create_access_key(UserName="controller")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


# -- Every playbook with the policy of its duty --


@dataclass
class Account:
    """An account in which the controller does one duty after the other."""

    at: Workplace
    admin: str
    inventory: Path
    controller: dict[str, str]

    def play(self, duty: str, playbook: str, **variables: Any) -> Play:
        permit(self.at.aws, policy(duty))
        files = {
            "cwagent_config_file": str(self.at.home / "agent.json"),
            "cwagent_credentials_dir": str(self.at.credentials),
        }
        return self.at.play(self.inventory, playbook, env=self.controller, **files, **variables).succeeded()


@pytest.fixture(scope="module")
def duties(shared: Workplace) -> dict[str, Play]:
    aws = shared.aws
    admin, web = aws.instances(2)
    make_role(aws, APP, "AmazonS3ReadOnlyAccess")
    associate(aws, admin, APP)
    inventory = shared.inventory(
        {
            "ec2_servers": {"web1": shared.on_instance(web)},
            "ec2_admin": {"admin1": shared.on_instance(admin)},
            "onprem_servers": {"db1": {}},
            "onprem_admin": {"ops1": {}},
        }
    )
    before = account(aws)
    at = Account(shared, admin, inventory, make_controller(aws))
    shared.file("agent.json", {"agent": {}})
    plays = {"site": at.play("provision", "site", cwagent_tags={"team": "ops"})}
    shared.file("agent.json", {"agent": {"debug": True}})
    plays["store_config"] = at.play("store-configuration", "store_config")
    interrupt(shared, admin)
    plays["restore"] = at.play("store-configuration", "restore")
    assert carried(aws)[admin] == APP
    aws.shift_clock(100 * DAY)
    plays["rotate_keys"] = at.play("rotate-keys", "rotate_keys")
    interrupt(shared, admin)
    more = {"onprem_server_exclusive": True, "onprem_admin_exclusive": True}
    plays["teardown"] = at.play("teardown", "teardown", cwagent_teardown=True, **more)
    aws.client("iam").delete_user_policy(UserName="controller", PolicyName="duty")
    after = account(aws)
    after["users"].pop("controller")
    assert after == before
    return plays


def interrupt(at: Workplace, admin: str) -> None:
    """Leave behind what a run leaves that was killed while it stored."""
    iam, ec2 = at.aws.client("iam"), at.aws.client("ec2")
    ec2.create_tags(Resources=[admin], Tags=[{"Key": RESTORE_TAG, "Value": APP}])
    associate(at.aws, admin, ADMIN_ROLE)
    iam.delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
    iam.delete_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY)


WRITES = {
    "site": {"CreateRole", "CreateUser", "CreateAccessKey", "PutParameter", "CreateTags"},
    "store_config": {"PutRolePolicy", "PutParameter", "ReplaceIamInstanceProfileAssociation", "CreateTags"},
    "restore": {"PutRolePolicy", "PutUserPolicy", "ReplaceIamInstanceProfileAssociation", "DeleteTags"},
    "rotate_keys": {"CreateAccessKey"},
    "teardown": {"PutRolePolicy", "DeleteRole", "DeleteUser", "DeleteAccessKey", "DeleteParameter"},
}


@pytest.mark.parametrize("playbook", WRITES)
def test_a_duty_needs_no_more_than_its_policy(duties: dict[str, Play], playbook: str) -> None:
    assert set(duties[playbook].writes) >= WRITES[playbook]
    refused = [call.action for call in duties[playbook].calls if call.error in DENIED_CODES]
    assert refused == []


# -- Every action taken out --


@dataclass(frozen=True)
class Scene:
    """A module as a playbook calls it, in a state of the account in which it needs these actions.

    :param actions: in the order in which the module comes to need them.
    :param prepare: what happened in the account before.
    :param removed: actions that are not allowed in the whole scene.
    """

    module: str
    arguments: Mapping[str, Any]
    actions: Sequence[str]
    prepare: Callable[[Site], None] | None = None
    removed: Sequence[str] = field(default=())
    check: bool = False


@dataclass
class Site:
    """An account with a role and an instance of an application, and two instances without a profile."""

    aws: Emulator
    home: Path
    modules: ModuleServer

    def __post_init__(self) -> None:
        self.app, self.bare, self.other = self.aws.instances(3)
        make_role(self.aws, APP)
        associate(self.aws, self.app, APP)
        self.controller = make_controller(self.aws)

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    def run(self, scene: Scene, root: bool = False) -> dict[str, Any]:
        """The result of the module, as the controller or as root."""
        arguments = {"_ansible_check_mode": scene.check, "_ansible_diff": True, **self._filled(dict(scene.arguments))}
        env = {} if root else self.controller
        return self.modules.run(self.aws, scene.module, arguments, self.home / "output.txt", env=env)

    def _filled(self, value: Any) -> Any:
        """The ids of instances and the folder in the place of their names."""
        names = {"@app": self.app, "@bare": self.bare, "@other": self.other, "@folder": str(self.home / "credentials")}
        if isinstance(value, dict):
            return {key: self._filled(each) for key, each in value.items()}
        return [self._filled(each) for each in value] if isinstance(value, list) else names.get(value, value)

    def use(self, user: str) -> None:
        """Let the host of a user use the key that is saved for it."""
        text = (self.home / "credentials" / f"{user}.credentials").read_text()
        lines = dict(line.split(" = ") for line in text.splitlines() if " = " in line)
        keys = {"AccessKeyId": lines["aws_access_key_id"], "SecretAccessKey": lines["aws_secret_access_key"]}
        self.aws.client("sts", credentials=keys).get_caller_identity()


def wait(**arguments: Any) -> dict[str, Any]:
    return {**arguments, "wait_timeout": 5}


FILES = {"credentials": {"directory": "@folder"}}
ROLE = wait(name=SERVER_ROLE, access="server")
ADMINISTRATOR = wait(name=ADMIN_ROLE, access="admin", admin_window=True)
SERVER_KEYS = wait(name=[USER], access="server", **FILES)
ADMIN_KEYS = wait(name=[ADMIN_USER], access="admin", admin_window=True, **FILES)
ADMIN_INSTANCE = wait(admin_profile=ADMIN_ROLE, server_profile=SERVER_ROLE)
READ_USER = ("iam:GetUser", "iam:ListGroupsForUser", "iam:ListAttachedUserPolicies", "iam:ListUserPolicies")


def keys_in(store: str) -> dict[str, Any]:
    return {**SERVER_KEYS, "name": [f"{SERVER_USER}-{store}"], "credentials": {"store": store}}


def as_root(*scenes: tuple[str, dict[str, Any]]) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        for module, arguments in scenes:
            result = site.run(Scene(module, arguments, ()), root=True)
            assert not result["failed"], result

    return prepare


def change_role(site: Site) -> None:
    site.iam.update_assume_role_policy(RoleName=SERVER_ROLE, PolicyDocument=trust("lambda.amazonaws.com"))
    site.iam.attach_role_policy(RoleName=SERVER_ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{ADMIN_POLICY}")


def change_user(site: Site) -> None:
    site.iam.create_user(UserName=USER)
    site.iam.attach_user_policy(UserName=USER, PolicyArn=f"arn:aws:iam::aws:policy/{ADMIN_POLICY}")


def remove_windows(site: Site) -> None:
    site.iam.delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
    site.iam.delete_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY)


def lend(site: Site) -> None:
    """The application's instance is left as administrator."""
    site.aws.client("ec2").create_tags(Resources=[site.app], Tags=[{"Key": RESTORE_TAG, "Value": APP}])
    associate(site.aws, site.app, ADMIN_ROLE)


def lend_and_stop(site: Site) -> None:
    """It is stopped before it was given back."""
    lend(site)
    site.aws.client("ec2").stop_instances(InstanceIds=[site.app])


def lose_key(site: Site) -> None:
    """A run ends when it has made a key and not saved it."""
    site.aws.arm(Fault("lose_answer", action="CreateAccessKey"))
    assert site.run(Scene("cwagent_iam_user", {**SERVER_KEYS, "name": [f"{USER}-lost"]}, ()), root=True)["failed"]
    site.aws.disarm()


def switch_on(site: Site) -> None:
    [key] = site.iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    site.iam.update_access_key(UserName=ADMIN_USER, AccessKeyId=key["AccessKeyId"], Status="Active")


def later(days: int) -> Callable[[Site], None]:
    """Time goes by, and the host uses the key that is saved for it."""

    def prepare(site: Site) -> None:
        site.aws.shift_clock(days * DAY)
        site.use(USER)

    return prepare


def store_configuration(site: Site) -> None:
    site.aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Type="String")


provisioned = as_root(
    ("cwagent_iam_role", ROLE),
    ("cwagent_iam_role", ADMINISTRATOR),
    ("cwagent_iam_user", SERVER_KEYS),
    ("cwagent_iam_user", ADMIN_KEYS),
)


def provisioned_without_windows(site: Site) -> None:
    provisioned(site)
    remove_windows(site)


def provisioned_long_ago(site: Site) -> None:
    provisioned(site)
    later(100)(site)


def provisioned_and_lent(site: Site) -> None:
    provisioned(site)
    associate(site.aws, site.bare, SERVER_ROLE)
    store_configuration(site)
    remove_windows(site)
    lend(site)


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
        Scene("cwagent_iam_role", ADMINISTRATOR, ["iam:PutRolePolicy"]),
        Scene(
            "cwagent_instance_profile",
            wait(name=SERVER_ROLE, instance_ids=["@bare"]),
            [
                *("ec2:DescribeIamInstanceProfileAssociations", "ec2:DescribeInstances"),
                "ec2:AssociateIamInstanceProfile",
            ],
        ),
        Scene(
            "cwagent_instance_profile",
            wait(name=SERVER_ROLE, instance_ids=["@app"], replace=True),
            ["ec2:ReplaceIamInstanceProfileAssociation"],
        ),
        # Nobody saved a key that could not be switched off: the next run looks whether it was used, and deletes it.
        Scene(
            "cwagent_iam_user",
            ADMIN_KEYS,
            [
                *("iam:GetUser", "iam:CreateUser", "iam:PutUserPolicy", *READ_USER[1:], "iam:ListAccessKeys"),
                *("iam:AttachUserPolicy", "iam:CreateAccessKey", "iam:UpdateAccessKey"),
                *("iam:GetAccessKeyLastUsed", "iam:DeleteAccessKey"),
            ],
            removed=[BULK],
        ),
        Scene(
            "cwagent_iam_user",
            {**SERVER_KEYS, "tags": {"team": "ops"}},
            ["iam:DetachUserPolicy", "iam:TagUser"],
            change_user,
        ),
        Scene("cwagent_admin_window", wait(role=ADMIN_ROLE, state="open"), ["iam:GetRolePolicy"]),
        Scene("cwagent_admin_window", wait(user=ADMIN_USER, state="open"), ["iam:GetUserPolicy"]),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "instance_ids": "@other", "state": "admin"},
            ["ec2:DescribeTags", "ec2:CreateTags"],
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "returned"},
            ["ec2:DisassociateIamInstanceProfile", "ec2:DeleteTags"],
        ),
        Scene(
            "cwagent_config_parameter",
            {"name": PARAMETER, "config": {"agent": {}}, "wait_timeout": 0},
            ["ssm:GetParameter"],
            check=True,
        ),
    ],
    "store-configuration": [
        Scene(
            "cwagent_admin_window",
            wait(role=ADMIN_ROLE, state="open"),
            ["iam:GetRolePolicy", "iam:GetRole", "iam:PutRolePolicy"],
            provisioned_without_windows,
        ),
        Scene(
            "cwagent_admin_window",
            wait(user=ADMIN_USER, state="open"),
            ["iam:GetUserPolicy", "iam:GetUser", "iam:ListAccessKeys", "iam:PutUserPolicy", "iam:UpdateAccessKey"],
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "instance_ids": "@bare", "state": "admin"},
            [
                *("ec2:DescribeIamInstanceProfileAssociations", "ec2:DescribeTags", "ec2:DescribeInstances"),
                *("ec2:CreateTags", "ec2:AssociateIamInstanceProfile", "iam:PassRole"),
            ],
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "returned"},
            ["ec2:DisassociateIamInstanceProfile", "ec2:DeleteTags"],
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "returned"},
            ["iam:GetInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation", "iam:PassRole"],
            lend,
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
            {**SERVER_KEYS, "max_key_age": 90},
            [*READ_USER, "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed", "iam:CreateAccessKey"],
            provisioned_long_ago,
            removed=[BULK],
        ),
        Scene("cwagent_iam_user", {**SERVER_KEYS, "max_key_age": 90}, ["iam:UpdateAccessKey"], later(1)),
        Scene("cwagent_iam_user", {**SERVER_KEYS, "max_key_age": 90}, ["iam:DeleteAccessKey"], later(8)),
        Scene("cwagent_preflight", {"instances": {"": ["@app"]}}, ["ec2:DescribeInstances"]),
    ],
    "teardown": [
        Scene(
            "cwagent_admin_window",
            wait(role=ADMIN_ROLE, state="closed"),
            ["iam:GetRolePolicy", "iam:PutRolePolicy"],
            provisioned_and_lent,
        ),
        Scene(
            "cwagent_admin_window",
            wait(user=ADMIN_USER, state="closed"),
            ["iam:GetUserPolicy", "iam:PutUserPolicy", "iam:UpdateAccessKey"],
            switch_on,
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "returned"},
            [
                *("ec2:DescribeTags", "iam:GetInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation"),
                *("iam:PassRole", "ec2:DeleteTags"),
            ],
        ),
        Scene(
            "cwagent_admin_instance",
            {**ADMIN_INSTANCE, "state": "returned"},
            ["ec2:AssociateIamInstanceProfile"],
            lend_and_stop,
        ),
        Scene(
            "cwagent_preflight",
            {"instances": {"": ["@bare"]}, "retired_profiles": [SERVER_ROLE], "retired_from": ["@bare"]},
            ["ec2:DescribeInstances", "ec2:DescribeRegions", "ec2:DescribeIamInstanceProfileAssociations"],
        ),
        Scene(
            "cwagent_instance_profile",
            wait(name=SERVER_ROLE, instance_ids=["@bare"], exclusive=True, state="absent"),
            ["ec2:DisassociateIamInstanceProfile"],
        ),
        Scene(
            "cwagent_iam_role",
            {**ADMINISTRATOR, "state": "absent"},
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
        Scene(
            "cwagent_iam_user",
            {**keys_in("ssm"), "state": "absent"},
            ["ssm:DeleteParameter"],
            as_root(("cwagent_iam_user", keys_in("ssm"))),
        ),
        Scene(
            "cwagent_iam_user",
            {**keys_in("secretsmanager"), "state": "absent"},
            ["secretsmanager:DeleteSecret"],
            as_root(("cwagent_iam_user", keys_in("secretsmanager"))),
        ),
    ],
    "keys-in-parameter-store": [Scene("cwagent_iam_user", keys_in("ssm"), ["ssm:GetParameters", "ssm:PutParameter"])],
    "keys-in-secrets-manager": [
        Scene(
            "cwagent_iam_user",
            keys_in("secretsmanager"),
            ["secretsmanager:GetSecretValue", "secretsmanager:UpdateSecret", "secretsmanager:CreateSecret"],
        )
    ],
}
BESIDE = {
    "keys-in-parameter-store": ("provision",),
    "keys-in-secrets-manager": ("provision",),
    "teardown": ("keys-in-parameter-store", "keys-in-secrets-manager"),
}
"""The policies that a controller has beside the one in question."""

DELIVERY = {"keys-in-parameter-store": {"ssm:GetParameter"}}
"""What only the lookup needs that reads a saved key."""


@pytest.fixture
def site(enforcing: Emulator, tmp_path: Path, modules: ModuleServer) -> Site:
    return Site(enforcing, tmp_path, modules)


def test_there_is_a_scene_for_every_action() -> None:
    assert {path.stem for path in POLICIES.glob("*.json")} == SCENES.keys()
    for duty, scenes in SCENES.items():
        shown = {action for scene in scenes for action in scene.actions} | DELIVERY.get(duty, set())
        assert shown == actions(policy(duty)) - TOLERATED - NOT_ENFORCED, duty


@pytest.mark.parametrize("duty", SCENES)
def test_a_missing_action_is_named(site: Site, duty: str) -> None:
    document, beside = policy(duty), [policy(name) for name in BESIDE.get(duty, ())]
    for scene in SCENES[duty]:
        if scene.prepare:
            scene.prepare(site)
        for action in scene.actions:
            permit(site.aws, without(document, action, *scene.removed), *(without(each, action) for each in beside))
            result = site.run(scene)
            assert result["failed"], (scene.module, action, result)
            assert f"user/controller lacks {action}" in result["msg"], (action, result["msg"])
            assert f"grant {action} to it and run again" in result["msg"]
        permit(site.aws, without(document, *scene.removed), *beside)
        result = site.run(scene)
        assert not result["failed"], (scene.module, result["msg"])


def test_the_key_of_a_host_is_read_from_its_parameter(site: Site, tmp_path: Path) -> None:
    as_root(("cwagent_iam_user", keys_in("ssm")))(site)
    at = Workplace(site.aws, tmp_path)
    lookup = f"lookup('cwagent.iam.saved_credentials', '{SERVER_USER}-ssm', store='ssm', section='x')"
    task = {"ansible.builtin.assert": {"that": f"{lookup} | length > 0"}}
    playbook = at.file("read.yml", [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}])
    document = policy("keys-in-parameter-store")
    permit(site.aws, document)
    at.play(at.inventory({}), playbook, env=site.controller).succeeded()
    permit(site.aws, without(document, "ssm:GetParameter"))
    refused = at.play(at.inventory({}), playbook, env=site.controller).failed()
    assert "user/controller lacks ssm:GetParameter" in refused.message
