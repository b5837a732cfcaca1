"""cwagent_access_info: its report on an account, the reads that are denied, and the number of its calls."""

from __future__ import annotations

import itertools
import json
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    CHECKOUT,
    HYBRID_ROLE,
    PARAMETER,
    POLICY_ARN,
    RESTORE_TAG,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    Controller,
    allow,
    assert_no_writes,
    associate,
    create_role,
    leave_restore_tag,
    trust,
)
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._access.findings import SETTLING
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import (
    Opening,
    closed_policy,
    open_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import (
    claim_description,
    saved_key_description,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES

DAY = 24 * 3600
USER = f"{SERVER_USER}-db1"
CONFIG = '{"agent":{}}'
Expected = set[tuple[str, str, str]]


SAVED_KEYS = "/cwagent/credentials/"


@dataclass
class Account:
    """An account as ``site.yml`` leaves it, and the things that were planted in it.

    :param expected: of the planted findings, the rule, the severity and the object.
    :param inventory: the ids of the instances in the inventory.
    """

    aws: Emulator
    home: Path
    expected: Expected = field(default_factory=set)
    inventory: list[str] = field(default_factory=list)

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    def run(self, module: str, **arguments: Any) -> Any:
        result = run_module(self.aws, module, **arguments)
        assert not result["failed"], result["msg"]
        return result

    def read(self, **arguments: Any) -> dict[str, Any]:
        """The result of the module."""
        instances = {self.aws.region: self.inventory}
        found: dict[str, Any] = self.run(
            "cwagent_access_info", **{"instances": instances, "key_stores": ["parameter_store"], **arguments}
        )
        assert not found["changed"]
        return found

    def do_job(self) -> None:
        """Do the same as ``site.yml``."""
        admin: dict[str, Any] = {"access": "admin", "admin_window": True}
        self.run("cwagent_iam_role", name=SERVER_ROLE, access="server")
        self.run("cwagent_iam_role", name=ADMIN_ROLE, **admin)
        for name, access in ((USER, {"access": "server"}), (ADMIN_USER, admin)):
            self.run("cwagent_iam_user", name=[name], saved_key={"key_store": "parameter_store"}, **access)
        [instance] = self.aws.instances(1)
        associate(self.aws, instance, SERVER_ROLE)
        self.inventory.append(instance)
        self.aws.client("ssm").put_parameter(Name=PARAMETER, Value=CONFIG, Type="String")

    def use_keys(self) -> None:
        """Sign a call with the saved key of the server user."""
        text = self.aws.client("ssm").get_parameter(Name=f"/cwagent/credentials/{USER}", WithDecryption=True)
        saved = json.loads(text["Parameter"]["Value"])
        self.use({"AccessKeyId": saved["aws_access_key_id"], "SecretAccessKey": saved["aws_secret_access_key"]})

    def use(self, key: dict[str, str]) -> None:
        self.aws.client("sts", credentials=key).get_caller_identity()

    def expect(self, rule: str, severity: str, name: str) -> None:
        self.expected.add((rule, severity, name))

    def inline(self, kind: str, name: str, policy: str, document: dict[str, Any]) -> None:
        identity = {f"{kind.title()}Name": name}
        put = getattr(self.iam, f"put_{kind}_policy")
        put(PolicyName=policy, PolicyDocument=json.dumps(document), **identity)

    def admin_role(self, name: str, window: dict[str, Any]) -> None:
        """Create a managed admin role with this window."""
        create_role(self.aws, name, ADMIN_POLICY)
        self.iam.tag_role(RoleName=name, Tags=[{"Key": "cwagent:managed", "Value": "created"}])
        self.inline("role", name, WINDOW_POLICY, window)

    def server_user(self, name: str, saved: bool = True) -> dict[str, str]:
        """Create a server user with an access key."""
        self.iam.create_user(UserName=name)
        self.iam.attach_user_policy(UserName=name, PolicyArn=POLICY_ARN + SERVER_POLICY)
        return self.key(name, saved=saved)

    def key(self, name: str, saved: bool = True) -> dict[str, str]:
        key: dict[str, str] = self.iam.create_access_key(UserName=name)["AccessKey"]
        if saved:
            self.aws.client("ssm").put_parameter(
                Name=f"{SAVED_KEYS}{key['AccessKeyId']}",
                Value="{}",
                Type="SecureString",
                Description=saved_key_description(key["AccessKeyId"], name),
            )
        return key

    def instance(self, profile: str = "") -> str:
        [instance] = self.aws.instances(1)
        if profile:
            associate(self.aws, instance, profile)
        return instance

    def parameter(self, name: str, config: str) -> None:
        self.aws.client("ssm").put_parameter(Name=name, Value=config, Type="String")


@pytest.fixture
def account(aws: Emulator, tmp_path: Path) -> Account:
    found = Account(aws, tmp_path)
    found.do_job()
    return found


OURS = {"Key": "cwagent:managed", "Value": "created"}


def create_hybrid_role(account: Account, name: str, *policies: str, limits: bool = True) -> None:
    """:param limits: whether Systems Manager may assume it for this account only."""
    document = json.loads(trust("ssm.amazonaws.com"))
    if limits:
        document["Statement"][0]["Condition"] = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    account.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
    for policy in policies:
        account.iam.attach_role_policy(RoleName=name, PolicyArn=POLICY_ARN + policy)


def create_activation(account: Account, role: str, *tags: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = account.aws.client("ssm").create_activation(
        IamRole=role, DefaultInstanceName="db9", Tags=list(tags)
    )
    return found


def register(account: Account, role: str, *tags: dict[str, str]) -> str:
    host = account.aws.host(account.home / f"{role}-host")
    return host.register(create_activation(account, role, *tags), account.aws.region)


def deadline(**later: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**later)


def plant_admin_on_instances(account: Account) -> None:
    create_role(account.aws, "Everywhere", ADMIN_POLICY)
    for _ in range(2):
        account.instance("Everywhere")
    account.expect("admin-on-instances", "high", "Everywhere")


def plant_admin_without_window(account: Account) -> None:
    create_role(account.aws, "ForGood", ADMIN_POLICY)
    account.instance("ForGood")
    account.expect("admin-without-window", "high", "ForGood")


def plant_admin_instance(account: Account) -> None:
    account.expect("admin-instance-without-window", "medium", account.instance(ADMIN_ROLE))


def plant_expired_window(account: Account) -> None:
    account.admin_role("Expired", open_policy(Opening(deadline(hours=-1), "i-0123456789abcdef0")))
    account.expect("window-expired", "low", "Expired")


def plant_modified_window(account: Account) -> None:
    document = closed_policy()
    document["Statement"] += [{**document["Statement"][0], "Sid": "Other"}]
    account.admin_role("Modified", document)
    account.expect("window-modified", "medium", "Modified")


def plant_window_without_deadline(account: Account) -> None:
    account.admin_role("Endless", allow("ssm:PutParameter"))
    account.expect("window-modified", "high", "Endless")


def plant_window_for_every_instance(account: Account) -> None:
    account.admin_role("Unbound", open_policy(Opening(deadline(hours=20))))
    account.instance("Unbound")
    account.expect("window-modified", "high", "Unbound")


def plant_active_admin_key(account: Account) -> None:
    [key] = account.iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    account.iam.update_access_key(UserName=ADMIN_USER, AccessKeyId=key["AccessKeyId"], Status="Active")
    account.expect("admin-key-active", "medium", key["AccessKeyId"])


def plant_second_key(account: Account) -> None:
    account.server_user("two-keys")
    account.key("two-keys")
    account.expect("key-two-active", "low", "two-keys")


def plant_unsaved_key(account: Account) -> None:
    account.expect("key-not-saved", "medium", account.server_user("not-saved", saved=False)["AccessKeyId"])


def plant_key_without_user(account: Account) -> None:
    text = {"Description": saved_key_description("AKIAIOSFODNN7EXAMPLE", "gone")}
    account.aws.client("ssm").put_parameter(Name=f"{SAVED_KEYS}gone", Value="{}", Type="SecureString", **text)
    account.expect("saved-key-without-user", "low", "gone")


def plant_deprecated_policy(account: Account) -> None:
    create_role(account.aws, "OldSsm", "service-role/AmazonEC2RoleforSSM")
    account.expect("deprecated-ssm-policy", "medium", "OldSsm")


def plant_unmanaged_policy(account: Account) -> None:
    account.admin_role("Extended", closed_policy())
    account.inline("role", "Extended", "more", allow("s3:GetObject"))
    account.expect("admin-unmanaged-policies", "medium", "Extended")


def plant_unmanaged_trust(account: Account) -> None:
    account.admin_role("Shared", closed_policy())
    root = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}
    document = {"Version": "2012-10-17", "Statement": [root]}
    account.iam.update_assume_role_policy(RoleName="Shared", PolicyDocument=json.dumps(document))
    account.expect("admin-unmanaged-trust", "high", "Shared")


def plant_writing_server(account: Account) -> None:
    create_role(account.aws, "WritingServer", SERVER_POLICY)
    account.inline("role", "WritingServer", "write", allow("ssm:Put*"))
    account.expect("server-writes", "high", "WritingServer")


def plant_unmanaged_writer(account: Account) -> None:
    account.iam.create_group(GroupName="writers")
    document = json.dumps(allow("ssm:*"))
    account.iam.put_group_policy(GroupName="writers", PolicyName="write", PolicyDocument=document)
    account.iam.create_user(UserName="writer")
    account.iam.add_user_to_group(GroupName="writers", UserName="writer")
    account.expect("unmanaged-writer", "medium", "writer")


def plant_administrators(account: Account) -> None:
    for name in ("alice", "bob"):
        account.iam.create_user(UserName=name)
        account.iam.attach_user_policy(UserName=name, PolicyArn=f"{POLICY_ARN}AdministratorAccess")
    account.expect("administrators", "info", "123456789012")


def plant_administrator_on_instance(account: Account) -> None:
    create_role(account.aws, "Root", "AdministratorAccess")
    account.expect("administrator-on-instance", "high", account.instance("Root"))


def plant_profile_without_role(account: Account) -> None:
    account.iam.create_instance_profile(InstanceProfileName="Empty")
    account.instance("Empty")
    account.expect("profile-without-role", "medium", "Empty")


def plant_instance_without_access(account: Account) -> None:
    account.inventory.append(account.instance())
    account.expect("instance-without-access", "medium", account.inventory[-1])
    create_role(account.aws, "NoAgent", "AmazonS3ReadOnlyAccess")
    account.inventory.append(account.instance("NoAgent"))
    account.expect("instance-without-access", "medium", account.inventory[-1])


def plant_unreadable_parameter(account: Account) -> None:
    account.parameter("AmazonCloudWatch-hidden", CONFIG)
    create_role(account.aws, "Restricted", SERVER_POLICY)
    hidden = {"Effect": "Deny", "Action": "ssm:GetParameter", "Resource": "*:parameter/AmazonCloudWatch-hidden"}
    hidden["Resource"] = f"arn:aws:ssm:*:*{hidden['Resource'][1:]}"
    account.inline("role", "Restricted", "deny", {"Version": "2012-10-17", "Statement": [hidden]})
    account.expect("parameter-unreadable", "medium", "AmazonCloudWatch-hidden")


def plant_large_parameter(account: Account) -> None:
    account.parameter("AmazonCloudWatch-large", json.dumps({"agent": {"text": "x" * 3900}}))
    account.expect("parameter-near-limit", "low", "AmazonCloudWatch-large")


def plant_invalid_parameter(account: Account) -> None:
    account.parameter("AmazonCloudWatch-invalid", "{")
    account.expect("parameter-invalid", "medium", "AmazonCloudWatch-invalid")


def plant_parameter_of_another_type(account: Account) -> None:
    name = "AmazonCloudWatch-secure"
    account.aws.client("ssm").put_parameter(Name=name, Value=CONFIG, Type="SecureString")
    account.expect("parameter-invalid", "medium", name)


def plant_restore_tag(account: Account) -> None:
    instance = account.instance()
    account.aws.client("ec2").create_tags(Resources=[instance], Tags=[{"Key": RESTORE_TAG, "Value": "App"}])
    account.expect("restore-tag", "medium", instance)


def plant_hybrid_role(account: Account) -> None:
    """Other accounts can use it, and servers of others have it."""
    create_hybrid_role(account, HYBRID_ROLE, SERVER_POLICY, limits=False)
    account.expect("hybrid-role-trust", "medium", HYBRID_ROLE)
    register(account, HYBRID_ROLE)
    account.expect("node-not-managed", "info", HYBRID_ROLE)
    account.expect("activation-unused", "medium", create_activation(account, HYBRID_ROLE)["ActivationId"])


def plant_hybrid_admin(account: Account) -> None:
    create_hybrid_role(account, "HybridAdmin", ADMIN_POLICY)
    register(account, "HybridAdmin", OURS)
    account.expect("hybrid-role-admin", "high", "HybridAdmin")
    account.expect("activation-unused", "low", create_activation(account, "HybridAdmin", OURS)["ActivationId"])


def plant_blocking_boundary(account: Account) -> None:
    document = json.dumps(allow("ssm:GetParameter", "logs:*"))
    arn = account.iam.create_policy(PolicyName="Boundary", PolicyDocument=document)["Policy"]["Arn"]
    create_role(account.aws, "Bounded", SERVER_POLICY)
    account.iam.put_role_permissions_boundary(RoleName="Bounded", PermissionsBoundary=arn)
    account.expect("boundary-blocks-agent", "medium", "Bounded")


PLANTS: list[Callable[[Account], None]] = [
    plant for name, plant in list(globals().items()) if name.startswith("plant_")
]


def shown(result: dict[str, Any]) -> Expected:
    return {(each["rule"], each["severity"], each["object"]) for each in result["findings"]}


def test_an_account_after_the_job_keeps_all_rules(account: Account) -> None:
    result = account.read()
    assert result["findings"] == []
    assert result["counts"] == {"info": 0, "low": 0, "medium": 0, "high": 0}
    assert result["unread"] == []
    assert [(each["name"], each["writes"]) for each in result["principals"]] == [
        (ADMIN_ROLE, "no"),
        (SERVER_ROLE, "no"),
        (ADMIN_USER, "no"),
        (USER, "no"),
    ]


def test_an_account_after_site_keeps_all_rules_and_playbooks_repair_it(controller: Controller) -> None:
    """Access keys are in files, which are not read."""
    aws = controller.aws
    account = Account(aws, controller.home, inventory=aws.instances(2))
    web, admin = map(controller.instance_host, account.inventory)
    groups: dict[str, Any] = {
        "ec2_servers": {"web1": web},
        "ec2_admin": {"admin1": admin},
        "onprem_servers": {"db1": {}},
        "onprem_admin": {"ops1": {}},
    }
    inventory = controller.inventory(groups)
    files: dict[str, Any] = {
        "cwagent_config_file": str(controller.file("agent.json", {"agent": {}})),
        "cwagent_key_store_directory": str(controller.credentials),
    }
    controller.play(inventory, "site", **files).assert_succeeded()
    result = account.read(key_stores=["file"])
    assert result["findings"] == []
    assert {each["name"]: each["writes"] for each in result["principals"]} == dict.fromkeys(
        (ADMIN_ROLE, SERVER_ROLE, ADMIN_USER, USER), "no"
    )
    assert [each["profile"] for each in result["instances"]] == [SERVER_ROLE, SERVER_ROLE]
    assert {key["saved"] for each in result["principals"] for key in each["access_keys"]} == {True, None}

    instance = account.inventory[1]
    leave_restore_tag(aws, instance, SERVER_ROLE)
    associate(aws, instance, ADMIN_ROLE)
    account.inline("role", ADMIN_ROLE, WINDOW_POLICY, open_policy(Opening(deadline(hours=-1), instance)))
    for name in (SERVER_ROLE, ADMIN_ROLE):
        account.iam.attach_role_policy(RoleName=name, PolicyArn=f"{POLICY_ARN}service-role/AmazonEC2RoleforSSM")
    by_restore = {
        ("admin-instance-without-window", "medium", instance),
        ("restore-tag", "medium", instance),
        ("window-expired", "low", ADMIN_ROLE),
    }
    by_site = {("deprecated-ssm-policy", "medium", name) for name in (SERVER_ROLE, ADMIN_ROLE)}
    result = account.read(key_stores=["file"])
    assert shown(result) == by_restore | by_site
    assert {each["fix"] for each in result["findings"]} == {
        "Run the playbook cwagent.iam.restore.",
        "Set cwagent_ssm_policy to AmazonSSMManagedInstanceCore, and run the playbook cwagent.iam.site.",
    }
    controller.play(inventory, "restore", **files).assert_succeeded()
    assert shown(account.read(key_stores=["file"])) == by_site
    variable: dict[str, Any] = {"cwagent_ssm_policy": "AmazonSSMManagedInstanceCore"}
    controller.play(inventory, "site", **files, **variable).assert_succeeded()
    assert shown(account.read(key_stores=["file"])) == set()


def test_each_planted_violation_is_found_and_nothing_else(account: Account) -> None:
    for plant in PLANTS:
        plant(account)
    result = account.read()
    assert shown(result) == account.expected
    assert len(result["findings"]) == len(account.expected)
    assert sum(result["counts"].values()) == len(account.expected)
    assert all(each["fix"] and each["why"] and each["account"] == "123456789012" for each in result["findings"])


def run_command(aws: Emulator, command: str) -> None:
    """Make the call of a command of the AWS CLI."""
    _, service, operation, *options = shlex.split(command)
    arguments = {option.removeprefix("--"): value for option, value in itertools.batched(options, 2)}
    region = arguments.pop("region", None)
    sent: dict[str, Any] = {"".join(map(str.title, name.split("-"))): value for name, value in arguments.items()}
    for name, value in sent.items():
        key, _, text = value.partition("=")
        sent[name] = {key: text} if text else value
        sent[name] = [sent[name]] if name in ("Resources", "Tags") else sent[name]
    getattr(aws.client(service, region), operation.replace("-", "_"))(**sent)


def test_a_command_removes_its_finding(account: Account) -> None:
    for plant in PLANTS:
        plant(account)
    found = account.read()["findings"]
    with_command = {each["object"]: each["fix"] for each in found if "aws " in each["fix"]}
    assert len(with_command) > 8
    for fix in with_command.values():
        for command in fix[fix.index("aws ") :].split(" && "):
            run_command(account.aws, command)
    rest = shown(account.read())
    assert rest == {each for each in account.expected if each[2] not in with_command}


def test_keys_are_found_by_their_age(enforcing: Emulator, tmp_path: Path) -> None:
    account = Account(enforcing, tmp_path)
    old = account.server_user("old")
    enforcing.shift_clock(90 * DAY - SETTLING.total_seconds())
    account.do_job()
    unused, used = account.server_user("unused"), account.server_user("used")
    enforcing.shift_clock(SETTLING.total_seconds())
    for key in (old, used):
        account.use(key)
    account.use_keys()
    expected = {("key-old", "medium", old["AccessKeyId"]), ("key-unused", "low", unused["AccessKeyId"])}
    assert shown(account.read()) == expected
    assert shown(account.read(key_max_age_days=0)) == expected - {("key-old", "medium", old["AccessKeyId"])}


BY_ACTION = {
    "iam:GetAccountAuthorizationDetails": "the roles and users of the account",
    "iam:ListInstanceProfiles": "the instance profiles of the account",
    "iam:ListAccountAliases": "the alias of the account",
    "iam:ListAccessKeys": "the access keys of users",
    "iam:GetAccessKeyLastUsed": "when access keys were last used",
    "ec2:DescribeIamInstanceProfileAssociations": "the instance profiles of instances",
    "ec2:DescribeInstances": "the state of instances",
    "ec2:DescribeTags": "the restore tags of instances",
    "ssm:DescribeActivations": "the activations of Systems Manager",
    "ssm:DescribeInstanceInformation": "the nodes of Systems Manager",
    "ssm:DescribeParameters": "the configuration parameters",
    "ssm:GetParameters": "the content of configuration parameters",
    "secretsmanager:ListSecrets": "where access keys are saved",
}
"""By action, the part of the account that cannot be read without it."""


def auditor(account: Account, *actions: str) -> dict[str, str]:
    """Create a user that may do no more than this."""
    name = f"auditor{len(account.iam.list_users()['Users'])}"
    account.iam.create_user(UserName=name)
    account.inline("user", name, "duty", allow(*actions))
    key = account.iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@pytest.fixture
def enforced(enforcing: Emulator, tmp_path: Path) -> Account:
    found = Account(enforcing, tmp_path)
    found.do_job()
    return found


def test_denied_reads_are_listed_and_their_answers_unknown(enforced: Account, subtests: pytest.Subtests) -> None:
    stores = ["parameter_store", "secrets_manager"]
    for action, what in BY_ACTION.items():
        with subtests.test(action=action):
            env = auditor(enforced, *(BY_ACTION.keys() - {action}))
            result = enforced.read(credentials=env, key_stores=stores)
            assert {(each["action"], each["region"]) for each in result["unread"]} == {
                (action, None if action.startswith("iam:") else enforced.aws.region)
            }
            assert what in {each["what"] for each in result["unread"]}
            assert result["counts"]["high"] == 0


def test_answers_that_depend_on_a_denied_read_are_unknown(enforced: Account) -> None:
    def read(action: str) -> dict[str, Any]:
        env = auditor(enforced, *(BY_ACTION.keys() - {action}))
        return enforced.read(credentials=env, key_stores=["parameter_store", "secrets_manager"])

    def keys(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
        [found] = [each for each in result["principals"] if each["name"] == name]
        return list(found["access_keys"])

    [key] = keys(read("iam:GetAccessKeyLastUsed"), USER)
    assert (key["last_used"], key["last_used_known"], key["saved"]) == (None, False, True)
    [key] = keys(read("ssm:DescribeParameters"), USER)
    assert key["saved"] is None
    assert keys(read("iam:ListAccessKeys"), USER) == []
    [parameter] = read("ssm:GetParameters")["parameters"]
    assert (parameter["valid"], parameter["size"]) == ("unknown", None)
    [instance] = read("ec2:DescribeInstances")["instances"]
    assert (instance["state"], instance["profile"]) == (None, SERVER_ROLE)


@pytest.mark.parametrize(
    "action",
    [
        "iam:ListRolePolicies",
        "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies",
        "iam:GetPolicy",
        "iam:GetPolicyVersion",
    ],
)
def test_who_has_a_policy_that_may_not_be_read_is_unknown(enforced: Account, action: str) -> None:
    env = auditor(enforced, *(set(AUDIT_ACTIONS) - {action}))
    result = enforced.read(credentials=env, roles=["Foreign"])
    assert (result["principals"], result["findings"]) == ([], [])
    create_role(enforced.aws, "Foreign", ADMIN_POLICY)
    enforced.inline("role", "Foreign", "more", allow("s3:GetObject"))
    result = enforced.read(credentials=env, roles=["Foreign"])
    [principal] = result["principals"]
    assert principal["writes"] == "unknown"
    assert [each["action"] for each in result["unread"]] == [action]
    assert result["findings"] == []


def test_an_account_of_which_nothing_may_be_read_is_an_error(enforced: Account) -> None:
    env = auditor(enforced, "s3:GetObject")
    result = run_module(enforced.aws, "cwagent_access_info", credentials=env)
    assert result["failed"]
    assert "lacks iam:GetAccountAuthorizationDetails" in result["msg"]


@pytest.mark.parametrize("action", ["ListAccessKeys", "GetAccessKeyLastUsed"])
def test_a_deletion_during_the_audit_is_no_failure(enforced: Account, action: str) -> None:
    enforced.aws.arm(Fault(Kind.ERROR, action=action, code="NoSuchEntity", message="It cannot be found."))
    result = enforced.read()
    enforced.aws.disarm()
    assert len(result["principals"]) == 4
    assert result["unread"] == []


def test_every_region_is_read(account: Account) -> None:
    other = "us-east-1"
    [instance] = account.aws.instances(1, region=other)
    account.aws.client("ssm", other).put_parameter(Name="AmazonCloudWatch-there", Value="{", Type="String")
    instances = {"": account.inventory, other: [instance]}
    result = account.read(instances=instances)
    assert result["account"]["regions"] == [account.aws.region, other]
    assert {(each["rule"], each["object"], each["region"]) for each in result["findings"]} == {
        ("instance-without-access", instance, other),
        ("parameter-invalid", "AmazonCloudWatch-there", other),
    }
    assert account.read(regions=[account.aws.region])["findings"] == []


def test_named_principals_are_read_like_all(account: Account) -> None:
    for plant in (plant_unmanaged_writer, plant_admin_without_window, plant_blocking_boundary):
        plant(account)
    everything = account.read()
    roles = [each["name"] for each in everything["principals"] if each["kind"] == "role"]
    users = [each["name"] for each in everything["principals"] if each["kind"] == "user"]
    since = account.aws.mark()
    named = account.read(roles=[*roles, "missing"], users=users)
    assert "GetAccountAuthorizationDetails" not in {call.action for call in account.aws.calls(since)}
    assert named["principals"] == everything["principals"]
    assert named["findings"] == everything["findings"]
    assert [each["name"] for each in account.read(roles=[SERVER_ROLE])["principals"]] == [SERVER_ROLE]


def test_another_partition_is_read_with_its_names(moto: Emulator, tmp_path: Path) -> None:
    """Only the names: the emulator's copies of the policies have resources of the partition aws."""
    account, region, managed = Account(moto, tmp_path), "cn-north-1", "arn:aws-cn:iam::aws:policy/"
    iam = moto.client("iam", region)
    iam.create_role(RoleName="Admin", AssumeRolePolicyDocument=trust("ec2.amazonaws.com.cn"))
    for policy in (ADMIN_POLICY, "service-role/AmazonEC2RoleforSSM"):
        iam.attach_role_policy(RoleName="Admin", PolicyArn=managed + policy)
    result = account.read(region=region, instances={})
    assert (result["account"]["partition"], result["account"]["regions"]) == ("aws-cn", [region])
    assert [each["access"] for each in result["principals"]] == ["admin"]
    [finding] = result["findings"]
    assert finding["rule"] == "deprecated-ssm-policy"
    assert finding["fix"] == (
        f"aws iam attach-role-policy --role-name Admin --policy-arn {managed}AmazonSSMManagedInstanceCore && "
        f"aws iam detach-role-policy --role-name Admin --policy-arn {managed}service-role/AmazonEC2RoleforSSM"
    )


def test_the_servers_of_a_hybrid_role_are_listed(account: Account) -> None:
    create_hybrid_role(account, HYBRID_ROLE, SERVER_POLICY)
    create_hybrid_role(account, "Other")
    node = register(account, HYBRID_ROLE, OURS)
    register(account, "Other")
    result = account.read()
    assert result["nodes"] == [
        {
            "id": node,
            "region": account.aws.region,
            "name": "db9",
            "role": HYBRID_ROLE,
            "ping": "ConnectionLost",
            "is_windows": False,
            "is_ours": True,
        }
    ]
    assert [each["access"] for each in result["principals"] if each["name"] == HYBRID_ROLE] == ["server"]
    assert [each["name"] for each in result["activations"]] == ["db9"]
    assert [each["remaining"] for each in result["activations"]] == [0]
    assert result["findings"] == []
    other = account.read(hybrid_role="Other")
    assert shown(other) == {("node-not-managed", "info", "Other")}


def test_check_mode_reads_the_same_and_no_mode_writes(account: Account) -> None:
    with assert_no_writes(account.aws):
        real, checked = account.read(), account.read(check=True)
    for each in (real, checked):
        each["account"].pop("read_at")
    assert {key: real[key] for key in ("account", "principals", "instances", "findings")} == {
        key: checked[key] for key in ("account", "principals", "instances", "findings")
    }


def test_no_secret_is_read(account: Account) -> None:
    since = account.aws.mark()
    result = account.read(key_stores=["parameter_store", "secrets_manager"])
    saved = [key["saved_at"] for each in result["principals"] for key in each["access_keys"]]
    assert saved == [f"SSM parameter /cwagent/credentials/{name} in eu-central-1" for name in (ADMIN_USER, USER)]
    actions = {call.action for call in account.aws.calls(since)}
    assert not actions & {"GetSecretValue", "GetParameter", "GetParametersByPath"}
    assert all("WithDecryption" not in str(call) for call in account.aws.calls(since))


def test_a_saved_key_is_without_a_user_only_where_that_was_read(enforced: Account) -> None:
    secrets, stores = enforced.aws.client("secretsmanager"), ["parameter_store", "secrets_manager"]
    for user in ("gone", "maybe", USER):
        text = saved_key_description("AKIAIOSFODNN7EXAMPLE", user)
        secrets.create_secret(Name=f"{SAVED_KEYS}{user}", SecretString="{}", Description=text)
    enforced.iam.create_user(UserName="maybe")
    finding, read_user = ("saved-key-without-user", "low", "gone"), "iam:GetUser"
    assert shown(enforced.read(key_stores=stores)) == {finding}
    assert shown(enforced.read(key_stores=stores, users=[USER])) == set()
    assert shown(enforced.read(credentials=auditor(enforced, *BY_ACTION, read_user), key_stores=stores)) == {finding}
    without_bulk = auditor(enforced, read_user, *(BY_ACTION.keys() - {"iam:GetAccountAuthorizationDetails"}))
    assert shown(enforced.read(credentials=without_bulk, key_stores=stores)) == set()
    denied = enforced.read(credentials=auditor(enforced, *BY_ACTION), key_stores=stores)
    enforced.aws.arm(Fault(Kind.ERROR, action="GetUser", code="ValidationError"))
    failed = enforced.read(key_stores=stores)
    enforced.aws.disarm()
    for unconfirmed in (denied, failed):
        assert shown(unconfirmed) == set()
        assert [each["what"] for each in unconfirmed["unread"]] == ["whether the users of saved keys exist"]


def test_a_saved_key_without_a_user_is_named_in_each_store(enforced: Account) -> None:
    ssm, secrets = enforced.aws.client("ssm"), enforced.aws.client("secretsmanager")
    for name, text in (
        ("gone", saved_key_description("AKIAIOSFODNN7EXAMPLE", "gone")),
        ("gone.pending", claim_description("gone")),
    ):
        ssm.put_parameter(Name=f"{SAVED_KEYS}{name}", Value="{}", Type="SecureString", Description=text)
        secrets.create_secret(Name=f"{SAVED_KEYS}{name}", SecretString="{}", Description=text)
    findings = enforced.read(key_stores=["parameter_store", "secrets_manager"])["findings"]
    assert [each["why"].partition(" saved as ")[2] for each in findings if each["object"] == "gone"] == [
        f"SSM parameter {SAVED_KEYS}gone in eu-central-1, and there is no such user.",
        f"secret {SAVED_KEYS}gone in eu-central-1, and there is no such user.",
    ]


def test_iam_confirms_the_writers(enforced: Account) -> None:
    plant_admin_without_window(enforced)
    plant_administrators(enforced)
    enforced.iam.create_user(UserName="maybe")
    condition = {"StringEquals": {"aws:SourceVpc": "vpc-1"}}
    enforced.inline("user", "maybe", "write", allow(Action="ssm:PutParameter", Condition=condition))

    def writes(**arguments: Any) -> dict[str, str]:
        return {each["name"]: each["writes"] for each in enforced.read(**arguments)["principals"]}

    assert {name: answer for name, answer in writes().items() if answer != "no"} == {
        "ForGood": "yes",
        "alice": "yes",
        "bob": "yes",
        "maybe": "unknown",
    }
    since = enforced.aws.mark()
    assert writes(simulate=True)["ForGood"] == "yes"
    asked = [call for call in enforced.aws.calls(since) if call.action == "SimulatePrincipalPolicy"]
    assert len(asked) == 2


def test_calls_grow_with_pages_and_with_our_things(enforced: Account) -> None:
    """A page of AWS has a thousand roles and users, two hundred instances, or fifty parameters."""

    def count() -> Counter[str]:
        since = enforced.aws.mark()
        enforced.read()
        return Counter(call.action for call in enforced.aws.calls(since))

    before = count()
    for number in range(300):
        enforced.iam.create_user(UserName=f"other{number}")
    enforced.server_user("another")
    for instance in enforced.aws.instances(210):
        enforced.aws.client("ec2").associate_iam_instance_profile(
            InstanceId=instance, IamInstanceProfile={"Name": SERVER_ROLE}
        )
    for number in range(60):
        enforced.parameter(f"AmazonCloudWatch-{number}", CONFIG)
    more = count() - before
    assert more == {
        "ListAccessKeys": 1,
        "GetAccessKeyLastUsed": 1,
        "DescribeInstances": 1,
        "DescribeParameters": 1,
        "GetParameters": 6,
    }


AUDIT = json.loads((CHECKOUT / "examples" / "policies" / "audit.json").read_text())
AUDIT_ACTIONS = sorted(
    action
    for listed in (statement["Action"] for statement in AUDIT["Statement"])
    for action in ([listed] if isinstance(listed, str) else listed)
)


def audit(account: Account, removed: str = "") -> set[str]:
    """The actions that were denied to who has the policy for the audit, without one of its actions."""
    document = json.loads(json.dumps(AUDIT).replace(f'"{removed}"', '"s3:GetObject"'))
    account.inline("user", "auditor", "duty", document)
    key = account.iam.create_access_key(UserName="auditor")["AccessKey"]
    env = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    since = account.aws.mark()
    names = {"roles": [SERVER_ROLE, ADMIN_ROLE, "ForGood"], "users": [USER, ADMIN_USER, "writer"]}
    results = [
        account.read(credentials=env, simulate=True, key_stores=["parameter_store", "secrets_manager"], **arguments)
        for arguments in ({}, names)
    ]
    account.iam.delete_access_key(UserName="auditor", AccessKeyId=key["AccessKeyId"])
    denied = {call.action for call in account.aws.calls(since) if call.error in DENIED_CODES}
    unread = {each["action"] for result in results for each in result["unread"]}
    assert {each.partition(":")[2] for each in unread} == denied
    return unread


def test_the_audit_needs_its_policy_and_no_more(enforced: Account, subtests: pytest.Subtests) -> None:
    for plant in (plant_unmanaged_writer, plant_admin_without_window):
        plant(enforced)
    enforced.iam.create_user(UserName="auditor")
    assert audit(enforced) == set()
    for action in AUDIT_ACTIONS:
        with subtests.test(action=action):
            assert audit(enforced, removed=action) == {action}


def test_the_policy_for_the_audit_reads_no_secret_and_writes_nothing() -> None:
    assert all(action.split(":")[1].startswith(("Get", "List", "Describe", "Simulate")) for action in AUDIT_ACTIONS)
    assert not {"secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt"} & set(AUDIT_ACTIONS)
