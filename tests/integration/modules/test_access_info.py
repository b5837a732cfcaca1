"""cwagent_access_info: its report on an account, the reads that are denied, and the number of its calls."""

from __future__ import annotations

import itertools
import json
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
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
    trust,
)
from in_process import run_module
from policies import actions, example
from states import States

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.principal_findings import SETTLING
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import DENIED_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import (
    claim_description,
    saved_key_description,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    closed_policy,
    open_policy,
)

DAY = 24 * 3600
OWN, USER = "123456789012", f"{SERVER_USER}-db1"
CONFIG = '{"agent":{}}'
OURS = {"Key": "cwagent:managed", "Value": "created"}
SAVED_KEYS = "/cwagent/credentials/"
STORES = ["parameter_store", "secrets_manager"]
Finding = tuple[str, str, str]
"""The rule, the severity and the object."""


@dataclass
class Account:
    """An account as ``site.yml`` leaves it. :param inventory: the ids of the instances in the inventory."""

    controller: Controller
    inventory: list[str] = field(default_factory=list)

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    @property
    def ssm(self) -> Any:
        return self.aws.client("ssm")

    def run(self, module: str, **arguments: Any) -> Any:
        result = run_module(self.aws, module, **arguments)
        assert not result["failed"], result["msg"]
        return result

    def read(self, *faults: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
        """The result of the module."""
        given = {"instances": {self.aws.region: self.inventory}, "key_stores": ["parameter_store"], **arguments}
        found = run_module(self.aws, "cwagent_access_info", *faults, **given)
        assert not found["failed"], found["msg"]
        assert not found["changed"]
        return found

    def shown(self, **arguments: Any) -> set[Finding]:
        """The findings of the module."""
        return {(each["rule"], each["severity"], each["object"]) for each in self.read(**arguments)["findings"]}

    def do_job(self) -> Account:
        """Do the same as ``site.yml``."""
        admin: dict[str, Any] = {"access": "admin", "admin_window": True}
        self.run("cwagent_iam_role", name=SERVER_ROLE, access="server")
        self.run("cwagent_iam_role", name=ADMIN_ROLE, **admin)
        for name, access in ((USER, {"access": "server"}), (ADMIN_USER, admin)):
            self.run("cwagent_iam_user", name=[name], saved_key={"key_store": "parameter_store"}, **access)
        self.listed(self.instance(SERVER_ROLE))
        self.parameter(PARAMETER, CONFIG)
        return self

    # Each of these returns the name or ID of what it creates.

    def role(
        self,
        name: str,
        *policies: str,
        window: Mapping[str, Any] | None = None,
        inline: Mapping[str, Any] | None = None,
        on: int = 0,
    ) -> str:
        """Create a role. :param window: of a managed admin role. :param on: the number of instances with the role."""
        create_role(self.aws, name, *policies)
        if window:
            self.iam.tag_role(RoleName=name, Tags=[OURS])
            self.iam.put_role_policy(RoleName=name, PolicyName=WINDOW_POLICY, PolicyDocument=json.dumps(window))
        if inline:
            self.iam.put_role_policy(RoleName=name, PolicyName="more", PolicyDocument=json.dumps(inline))
        for _ in range(on):
            self.instance(name)
        return name

    def user(self, name: str, *policies: str, inline: Mapping[str, Any] | None = None) -> str:
        self.iam.create_user(UserName=name)
        for policy in policies:
            self.iam.attach_user_policy(UserName=name, PolicyArn=POLICY_ARN + policy)
        if inline:
            self.iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=json.dumps(inline))
        return name

    def key(self, user: str, saved: bool = True) -> dict[str, str]:
        key: dict[str, str] = self.iam.create_access_key(UserName=user)["AccessKey"]
        if saved:
            self.save_key(key["AccessKeyId"], user, name=key["AccessKeyId"])
        return key

    def save_key(self, key: str, user: str, name: str = "") -> str:
        text = {"Value": "{}", "Type": "SecureString", "Description": saved_key_description(key, user)}
        self.ssm.put_parameter(Name=f"{SAVED_KEYS}{name or user}", **text)
        return user

    def instance(self, profile: str = "") -> str:
        [instance] = self.aws.instances(1)
        if profile:
            associate(self.aws, instance, profile)
        return instance

    def listed(self, instance: str) -> str:
        """Put an instance into the inventory."""
        self.inventory.append(instance)
        return instance

    def parameter(self, name: str, value: str, kind: str = "String") -> str:
        self.ssm.put_parameter(Name=name, Value=value, Type=kind)
        return name

    def hybrid_role(self, name: str, *policies: str, limits: bool = True) -> str:
        """:param limits: whether Systems Manager may assume it for this account only."""
        document = json.loads(trust("ssm.amazonaws.com"))
        if limits:
            document["Statement"][0]["Condition"] = {"StringEquals": {"aws:SourceAccount": OWN}}
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
        for policy in policies:
            self.iam.attach_role_policy(RoleName=name, PolicyArn=POLICY_ARN + policy)
        return name

    def activation(self, role: str, *tags: dict[str, str]) -> dict[str, str]:
        made: dict[str, str] = self.ssm.create_activation(IamRole=role, DefaultInstanceName="db9", Tags=list(tags))
        return made

    def register(self, role: str, *tags: dict[str, str]) -> str:
        """Register a server, and return its node."""
        host = self.aws.host(self.controller.home / f"{role}-host")
        return host.register(self.activation(role, *tags), self.aws.region)

    def use(self, key: Mapping[str, str]) -> None:
        self.aws.client("sts", credentials=key).get_caller_identity()


def after_job(states: States) -> Account:
    return Account(states.controller).do_job()


@pytest.fixture
def account(states: States) -> Account:
    return states.begin(after_job)


# Violations


def deadline(**later: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**later)


def activate_admin_key(account: Account) -> str:
    [key] = account.iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    account.iam.update_access_key(UserName=ADMIN_USER, AccessKeyId=key["AccessKeyId"], Status="Active")
    return str(key["AccessKeyId"])


def create_two_keys(account: Account) -> str:
    user = account.user("two-keys", SERVER_POLICY)
    for _ in range(2):
        account.key(user)
    return user


def share_admin_role(account: Account) -> str:
    root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{OWN}:root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [root]})
    account.role("Shared", ADMIN_POLICY, window=closed_policy())
    account.iam.update_assume_role_policy(RoleName="Shared", PolicyDocument=document)
    return "Shared"


def create_writer_in_group(account: Account) -> str:
    account.iam.create_group(GroupName="writers")
    document = json.dumps(allow("ssm:*"))
    account.iam.put_group_policy(GroupName="writers", PolicyName="write", PolicyDocument=document)
    account.iam.add_user_to_group(GroupName="writers", UserName=account.user("writer"))
    return "writer"


def create_administrators(account: Account) -> str:
    for name in ("alice", "bob"):
        account.user(name, "AdministratorAccess")
    return OWN


def use_empty_profile(account: Account) -> str:
    account.iam.create_instance_profile(InstanceProfileName="Empty")
    account.instance("Empty")
    return "Empty"


def hide_parameter(account: Account) -> str:
    name = account.parameter("AmazonCloudWatch-hidden", CONFIG)
    hidden = {"Effect": "Deny", "Action": "ssm:GetParameter", "Resource": f"arn:aws:ssm:*:*:parameter/{name}"}
    account.role("Restricted", SERVER_POLICY, inline={"Version": "2012-10-17", "Statement": [hidden]})
    return name


def leave_restore_tag(account: Account) -> str:
    instance = account.instance()
    account.aws.client("ec2").create_tags(Resources=[instance], Tags=[{"Key": RESTORE_TAG, "Value": "App"}])
    return instance


def register_server_of_others(account: Account) -> str:
    account.register(HYBRID_ROLE)
    return HYBRID_ROLE


def block_by_boundary(account: Account) -> str:
    document = json.dumps(allow("ssm:GetParameter", "logs:*"))
    arn = account.iam.create_policy(PolicyName="Boundary", PolicyDocument=document)["Policy"]["Arn"]
    account.iam.put_role_permissions_boundary(RoleName=account.role("Bounded", SERVER_POLICY), PermissionsBoundary=arn)
    return "Bounded"


BOUND = Opening(deadline(hours=-1), "i-0123456789abcdef0")
OLD_SSM = "service-role/AmazonEC2RoleforSSM"
PLANTS: list[tuple[str, str, Callable[[Account], str]]] = [
    ("admin-on-instances", "error", lambda each: each.role("Everywhere", ADMIN_POLICY, on=2)),
    ("admin-without-window", "error", lambda each: each.role("ForGood", ADMIN_POLICY, on=1)),
    ("window-expired", "notice", lambda each: each.role("Expired", ADMIN_POLICY, window=open_policy(BOUND))),
    ("admin-key-active", "warning", activate_admin_key),
    ("key-two-active", "notice", create_two_keys),
    ("key-not-saved", "warning", lambda each: each.key(each.user("x", SERVER_POLICY), saved=False)["AccessKeyId"]),
    ("saved-key-without-user", "notice", lambda each: each.save_key("AKIAIOSFODNN7EXAMPLE", "gone")),
    ("deprecated-ssm-policy", "warning", lambda each: each.role("OldSsm", OLD_SSM)),
    ("admin-unmanaged-trust", "error", share_admin_role),
    ("server-writes", "error", lambda each: each.role("Writing", SERVER_POLICY, inline=allow("ssm:Put*"))),
    ("unmanaged-writer", "warning", create_writer_in_group),
    ("administrators", "notice", create_administrators),
    ("profile-without-role", "warning", use_empty_profile),
    ("instance-without-access", "warning", lambda each: each.listed(each.instance())),
    ("parameter-unreadable", "warning", hide_parameter),
    ("parameter-invalid", "warning", lambda each: each.parameter("AmazonCloudWatch-invalid", "{")),
    ("parameter-invalid", "warning", lambda each: each.parameter("AmazonCloudWatch-x", CONFIG, "StringList")),
    ("restore-tag", "warning", leave_restore_tag),
    ("hybrid-role-trust", "warning", lambda each: each.hybrid_role(HYBRID_ROLE, SERVER_POLICY, limits=False)),
    ("node-not-managed", "notice", register_server_of_others),
    ("activation-unused", "warning", lambda each: each.activation(HYBRID_ROLE)["ActivationId"]),
    ("boundary-blocks-agent", "warning", block_by_boundary),
]


def plant(account: Account, *rules: str) -> set[Finding]:
    """Plant violations of these rules, or all, and return them."""
    return {(rule, severity, make(account)) for rule, severity, make in PLANTS if not rules or rule in rules}


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


def test_each_planted_violation_is_found_and_its_command_removes_it(aws: Emulator, tmp_path: Path) -> None:
    account = Account(Controller(aws, tmp_path)).do_job()
    expected = plant(account)
    result = account.read()
    found = result["findings"]
    assert {(each["rule"], each["severity"], each["object"]) for each in found} == expected
    assert len(found) == len(expected) == sum(result["counts"].values())
    assert all(each["fix"] and each["why"] and each["account"] == OWN for each in found)
    with_command = {each["object"]: each["fix"] for each in found if "aws " in each["fix"]}
    assert len(with_command) > 8
    for fix in with_command.values():
        for command in fix[fix.index("aws ") :].split(" && "):
            run_command(aws, command)
    assert account.shown() == {each for each in expected if each[2] not in with_command}


def test_an_account_after_the_job_keeps_all_rules_and_no_secret_is_read(account: Account) -> None:
    since = account.aws.mark()
    real, checked = (account.read(check=check, key_stores=STORES) for check in (False, True))
    assert real["findings"] == []
    assert real["counts"] == {"notice": 0, "warning": 0, "error": 0}
    assert real["unread"] == []
    assert [(each["name"], each["writes"]) for each in real["principals"]] == [
        (ADMIN_ROLE, "no"),
        (SERVER_ROLE, "no"),
        (ADMIN_USER, "no"),
        (USER, "no"),
    ]
    saved = [key["saved_at"] for each in real["principals"] for key in each["access_keys"]]
    assert saved == [f"SSM parameter {SAVED_KEYS}{name} in eu-central-1" for name in (ADMIN_USER, USER)]
    for each in (real, checked):
        each["account"].pop("read_at")
    assert all(real[name] == checked[name] for name in ("account", "principals", "instances", "findings"))
    calls = account.aws.calls(since)
    assert [call.action for call in calls if call.write] == []
    assert not {call.action for call in calls} & {"GetSecretValue", "GetParameter", "GetParametersByPath"}
    assert "WithDecryption" not in str(calls)


def test_keys_are_found_by_their_age(states: States) -> None:
    account = Account(states.controller)
    old = account.key(account.user("old", SERVER_POLICY))
    account.aws.shift_clock(90 * DAY - SETTLING.total_seconds())
    account.do_job()
    unused, used = (account.key(account.user(name, SERVER_POLICY)) for name in ("unused", "used"))
    account.aws.shift_clock(SETTLING.total_seconds())
    text = account.ssm.get_parameter(Name=f"{SAVED_KEYS}{USER}", WithDecryption=True)["Parameter"]["Value"]
    saved = {name.replace("aws_", "").title().replace("_", ""): value for name, value in json.loads(text).items()}
    for key in (old, used, {"AccessKeyId": saved["AccessKeyId"], "SecretAccessKey": saved["SecretAccessKey"]}):
        account.use(key)
    expired = ("key-old", "warning", old["AccessKeyId"])
    expected = {expired, ("key-unused", "notice", unused["AccessKeyId"])}
    assert account.shown() == expected
    assert account.shown(key_max_age_days=0) == expected - {expired}


# Denied reads

AUDIT = actions(example("audit"))
BY_ACTION = {
    "iam:GetAccountAuthorizationDetails": "the roles and users of the account",
    "iam:ListInstanceProfiles": "the instance profiles of the account",
    "iam:ListAccountAliases": "the alias of the account",
    "iam:ListAccessKeys": "the access keys of users",
    "iam:GetAccessKeyLastUsed": "when access keys were last used",
    "ec2:DescribeIamInstanceProfileAssociations": "the instance profiles of instances",
    "ec2:DescribeInstances": "the state of instances",
    "ec2:DescribeRegions": "the enabled regions",
    "ec2:DescribeTags": "the restore tags of instances",
    "ssm:DescribeActivations": "the activations of Systems Manager",
    "ssm:DescribeInstanceInformation": "the nodes of Systems Manager",
    "ssm:DescribeParameters": "the configuration parameters",
    "ssm:GetParameters": "the content of configuration parameters",
    "secretsmanager:ListSecrets": "where access keys are saved",
}
"""By action, the part of the account that cannot be read without it, if no principals are named."""


def auditor(account: Account, *allowed: str, document: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The key of a new user that may do no more than this."""
    name = account.user(f"auditor{account.aws.mark()}", inline=document or allow(*allowed))
    key = account.iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def test_each_action_of_the_policy_for_the_audit_is_needed(account: Account, subtests: pytest.Subtests) -> None:
    """Denied calls are listed, whether the whole account is read or named principals, and the answer is unknown."""
    plant(account, "unmanaged-writer")
    # It allows reading in a region that is not read, so the audit finds out whether the account has the region.
    elsewhere = f"arn:aws:ssm:us-gov-west-1:{OWN}:parameter/AmazonCloudWatch-x"
    reading = json.dumps(allow(Action="ssm:GetParameter", Resource=elsewhere))
    name = "CloudWatchAgentFittedServerPolicy"
    created = account.iam.create_policy(PolicyName=name, Path="/cwagent/", PolicyDocument=reading)
    account.iam.attach_role_policy(RoleName=SERVER_ROLE, PolicyArn=created["Policy"]["Arn"])
    names = {"roles": [SERVER_ROLE, ADMIN_ROLE], "users": [USER, ADMIN_USER, "writer"]}

    def read(document: Mapping[str, Any], **named: Any) -> tuple[list[dict[str, Any]], set[str]]:
        """The unread parts, and the calls that were made."""
        env, since = auditor(account, document=document), account.aws.mark()
        # Nobody has written this configuration, so its history has no finding.
        configs = {account.aws.region: ["AmazonCloudWatch-new"]}
        result = account.read(credentials=env, simulate=True, key_stores=STORES, configs_by_region=configs, **named)
        assert result["counts"]["error"] == 0
        calls = account.aws.calls(since)
        denied = {call.action for call in calls if call.error in DENIED_CODES}
        assert denied == {each["action"].partition(":")[2] for each in result["unread"]}
        return result["unread"], {call.action for call in calls}

    made = [(named, *read(example("audit"), **named)) for named in ({}, names)]
    assert [unread for _named, unread, _calls in made] == [[], []]
    for action in sorted(AUDIT):
        with subtests.test(action=action):
            document = json.loads(json.dumps(example("audit")).replace(f'"{action}"', '"s3:GetObject"'))
            unread = [
                each
                for named, _unread, calls in made
                if action.partition(":")[2] in calls
                for each in read(document, **named)[0]
            ]
            region = None if action.startswith("iam:") else account.aws.region
            assert {(each["action"], each["region"]) for each in unread} == {(action, region)}
            assert BY_ACTION.get(action, unread[0]["what"]) == unread[0]["what"]


def test_the_policy_for_the_audit_reads_no_secret_and_writes_nothing() -> None:
    assert all(action.split(":")[1].startswith(("Get", "List", "Describe", "Simulate")) for action in AUDIT)
    assert not {"secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt"} & AUDIT


def test_answers_that_depend_on_a_denied_read_are_unknown(account: Account) -> None:
    def read(action: str) -> dict[str, Any]:
        env = auditor(account, *(BY_ACTION.keys() - {action}))
        found = account.read(credentials=env, key_stores=STORES)
        assert found["counts"]["error"] == 0
        return found

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


def test_who_has_a_policy_that_may_not_be_read_is_unknown(account: Account, subtests: pytest.Subtests) -> None:
    absent = account.read(credentials=auditor(account, *AUDIT), roles=["Foreign"])
    assert (absent["principals"], absent["findings"], absent["unread"]) == ([], [], [])
    account.role("Foreign", ADMIN_POLICY, inline=allow("s3:GetObject"))
    of_role = ("ListRolePolicies", "GetRolePolicy", "ListAttachedRolePolicies")
    for name in (*of_role, "GetPolicy", "GetPolicyVersion"):
        with subtests.test(action=name):
            env = auditor(account, *(AUDIT - {f"iam:{name}"}))
            result = account.read(credentials=env, roles=["Foreign"])
            assert [each["writes"] for each in result["principals"]] == ["unknown"]
            assert [each["action"] for each in result["unread"]] == [f"iam:{name}"]
            assert result["findings"] == []


def test_an_account_of_which_nothing_may_be_read_is_an_error(account: Account) -> None:
    env = auditor(account, "s3:GetObject")
    result = run_module(account.aws, "cwagent_access_info", credentials=env)
    assert result["failed"]
    assert "lacks iam:GetAccountAuthorizationDetails" in result["msg"]


@pytest.mark.parametrize("action", ["ListAccessKeys", "GetAccessKeyLastUsed"])
def test_a_deletion_during_the_audit_is_no_failure(account: Account, action: str) -> None:
    error = {"kind": "error", "action": action, "code": "NoSuchEntity", "message": "It cannot be found."}
    result = account.read(error)
    assert (len(result["principals"]), result["unread"]) == (4, [])


# Reading


def test_every_region_is_read(account: Account) -> None:
    other = "us-east-1"
    [instance] = account.aws.instances(1, region=other)
    account.aws.client("ssm", other).put_parameter(Name="AmazonCloudWatch-there", Value="{", Type="String")
    result = account.read(instances={"": account.inventory, other: [instance]})
    assert result["account"]["regions"] == [account.aws.region, other]
    assert {(each["rule"], each["object"], each["region"]) for each in result["findings"]} == {
        ("instance-without-access", instance, other),
        ("parameter-invalid", "AmazonCloudWatch-there", other),
    }
    assert account.read(regions=[account.aws.region])["findings"] == []


def test_named_principals_are_read_like_all(account: Account) -> None:
    plant(account, "unmanaged-writer", "admin-without-window", "boundary-blocks-agent")
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
    account, region, managed = Account(Controller(moto, tmp_path)), "cn-north-1", "arn:aws-cn:iam::aws:policy/"
    iam = moto.client("iam", region)
    iam.create_role(RoleName="Admin", AssumeRolePolicyDocument=trust("ec2.amazonaws.com.cn"))
    for policy in (ADMIN_POLICY, OLD_SSM):
        iam.attach_role_policy(RoleName="Admin", PolicyArn=managed + policy)
    result = account.read(region=region, instances={})
    assert (result["account"]["partition"], result["account"]["regions"]) == ("aws-cn", [region])
    assert [each["access"] for each in result["principals"]] == ["admin"]
    [finding] = result["findings"]
    assert finding["rule"] == "deprecated-ssm-policy"
    assert finding["fix"] == (
        f"aws iam attach-role-policy --role-name Admin --policy-arn {managed}AmazonSSMManagedInstanceCore && "
        f"aws iam detach-role-policy --role-name Admin --policy-arn {managed}{OLD_SSM}"
    )


def test_the_servers_of_a_hybrid_role_are_listed(account: Account) -> None:
    account.hybrid_role(HYBRID_ROLE, SERVER_POLICY)
    account.hybrid_role("Other")
    node = account.register(HYBRID_ROLE, OURS)
    account.register("Other")
    result = account.read()
    read = {"id": node, "region": account.aws.region, "name": "db9", "role": HYBRID_ROLE}
    assert result["nodes"] == [{**read, "ping": "ConnectionLost", "is_windows": False, "is_ours": True}]
    assert [each["access"] for each in result["principals"] if each["name"] == HYBRID_ROLE] == ["server"]
    assert [(each["name"], each["remaining"]) for each in result["activations"]] == [("db9", 0)]
    assert result["findings"] == []
    assert account.shown(hybrid_role_name="Other") == {("node-not-managed", "notice", "Other")}


def test_a_saved_key_is_without_a_user_only_where_that_was_read(account: Account) -> None:
    secrets, key = account.aws.client("secretsmanager"), "AKIAIOSFODNN7EXAMPLE"
    saved = {user: saved_key_description(key, user) for user in ("gone", "maybe", USER)}
    for name, text in {**saved, "gone.pending": claim_description("gone")}.items():
        secrets.create_secret(Name=f"{SAVED_KEYS}{name}", SecretString="{}", Description=text)
    account.user("maybe")
    finding, read_user = ("saved-key-without-user", "notice", "gone"), "iam:GetUser"
    assert account.shown(key_stores=STORES) == {finding}
    assert account.shown(key_stores=STORES, users=[USER]) == set()
    assert account.shown(credentials=auditor(account, *BY_ACTION, read_user), key_stores=STORES) == {finding}
    without_bulk = auditor(account, read_user, *(BY_ACTION.keys() - {"iam:GetAccountAuthorizationDetails"}))
    assert account.shown(credentials=without_bulk, key_stores=STORES) == set()
    denied = account.read(credentials=auditor(account, *BY_ACTION), key_stores=STORES)
    failed = account.read({"kind": "error", "action": "GetUser", "code": "ValidationError"}, key_stores=STORES)
    for unconfirmed in (denied, failed):
        assert unconfirmed["findings"] == []
        assert [each["what"] for each in unconfirmed["unread"]] == ["whether the users of saved keys exist"]
    account.save_key(key, "gone")
    places = [each["why"].partition(" saved as ")[2] for each in account.read(key_stores=STORES)["findings"]]
    assert places == [
        f"{noun} {SAVED_KEYS}gone in eu-central-1, and there is no such user." for noun in ("SSM parameter", "secret")
    ]


def test_iam_confirms_the_writers(account: Account) -> None:
    plant(account, "admin-without-window", "administrators")
    condition = {"StringEquals": {"aws:SourceVpc": "vpc-1"}}
    account.user("maybe", inline=allow(Action="ssm:PutParameter", Condition=condition))

    def writes(**arguments: Any) -> dict[str, str]:
        return {each["name"]: each["writes"] for each in account.read(**arguments)["principals"]}

    expected = {"ForGood": "yes", "alice": "yes", "bob": "yes", "maybe": "unknown"}
    assert {name: answer for name, answer in writes().items() if answer != "no"} == expected
    since = account.aws.mark()
    assert writes(simulate=True)["ForGood"] == "yes"
    asked = [call for call in account.aws.calls(since) if call.action == "SimulatePrincipalPolicy"]
    assert len(asked) == 2


GRANTING = ("provision", "restore", "store-configuration", "teardown")
"""The example policies with which somebody can open or delete the admin window."""


def test_it_lists_who_can_open_the_window_without_further_calls(account: Account) -> None:
    account.user("alice", "AdministratorAccess")
    for name in (*GRANTING, "audit", "rotate-keys"):
        account.user(name, inline=example(name))

    def read_and_count() -> tuple[dict[str, Any], Counter[str]]:
        since = account.aws.mark()
        return account.read(), Counter(call.action for call in account.aws.calls(since))

    read, calls = read_and_count()
    admins = (f":role/{ADMIN_ROLE}.", f":user/{ADMIN_USER}.")
    assert [each["arn"].partition(":user/")[2] for each in read["grantors"]] == sorted(GRANTING)
    assert {each["can_grant"] for each in read["grantors"]} == {"yes"}
    assert all(each["why"].endswith(admins) for each in read["grantors"])
    assert {each["name"] for each in read["principals"]}.isdisjoint(GRANTING)
    for name in GRANTING:
        account.iam.delete_user_policy(UserName=name, PolicyName="inline")
    read, without = read_and_count()
    assert (read["grantors"], without) == ([], calls)


def test_calls_grow_with_pages_and_with_our_things(account: Account) -> None:
    """A page of AWS has a thousand roles and users, two hundred instances, or fifty parameters."""

    def count() -> Counter[str]:
        since = account.aws.mark()
        account.read()
        return Counter(call.action for call in account.aws.calls(since))

    before = count()
    for number in range(100):
        account.user(f"other{number}")
    account.key(account.user("another", SERVER_POLICY))
    for instance in account.aws.instances(210):
        account.aws.client("ec2").associate_iam_instance_profile(
            InstanceId=instance, IamInstanceProfile={"Name": SERVER_ROLE}
        )
    for number in range(60):
        account.parameter(f"AmazonCloudWatch-{number}", CONFIG)
    assert count() - before == {
        "ListAccessKeys": 1,
        "GetAccessKeyLastUsed": 1,
        "DescribeInstances": 1,
        "DescribeParameters": 1,
        "GetParameters": 6,
    }


def test_fitted_policies_that_cover_each_configuration_are_no_finding(account: Account) -> None:
    where = {"read_regions": [account.aws.region]}
    with assert_no_writes(account.aws):
        assert account.run("cwagent_fitted_policy", narrow=True, **where)["server_policies"] == []
    fitted = account.run("cwagent_fitted_policy", **where)
    [server], [admin] = fitted["server_policies"], fitted["admin_policies"]
    saved: dict[str, Any] = {"saved_key": {"key_store": "parameter_store"}}
    of_admin: dict[str, Any] = {"access": "admin", "admin_window": True, "access_policies": [server, admin]}
    account.run("cwagent_iam_role", name=SERVER_ROLE, access="server", access_policies=[server])
    account.run("cwagent_iam_role", name=ADMIN_ROLE, **of_admin)
    account.run("cwagent_iam_user", name=[USER], access="server", access_policies=[server], **saved)
    account.run("cwagent_iam_user", name=[ADMIN_USER], **of_admin, **saved)
    healthy = account.read()
    assert (healthy["findings"], healthy["unread"]) == ([], [])
    assert [each["access"] for each in healthy["principals"]] == ["admin", "server"] * 2

    name = account.parameter("AmazonCloudWatch-more", CONFIG)
    found = account.shown()
    lacking = {each for each in found if each[0] == "fitted-policy"}
    assert ("fitted-policy", "warning", server.rpartition("/")[2]) in lacking
    assert account.shown(ignored_parameters=[name]) == found - lacking
    account.run("cwagent_fitted_policy", **where)
    assert account.shown() == set()

    # Anybody who can create policies can create one with this name. Its tag shows who did.
    account.iam.untag_policy(PolicyArn=admin, TagKeys=["cwagent:managed"])
    whys = {each["why"].partition(",")[0] for each in account.read()["findings"]}
    assert whys == {f"Somebody else created policy {admin}"}
    limited = account.read(credentials=auditor(account, *(AUDIT - {"iam:GetPolicy"})))
    assert "the tags of fitted policies" in {each["what"] for each in limited["unread"]}
    assert "fitted-policy" not in {each["rule"] for each in limited["findings"]}
