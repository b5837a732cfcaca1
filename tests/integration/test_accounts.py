"""Many accounts in one run: each is a host, has its own session, and no failure of one is another's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from emulator import Call, Fault, Kind
from emulator.client import IMAGE
from harness import (
    ADMIN_ROLE,
    CHECKOUT,
    LOCAL_CONNECTION,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SSM_POLICY,
    TIMEOUTS,
    UNREACHABLE,
    Controller,
    Play,
    create_user,
    onprem_host,
    trust,
)

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import saved_key_description

OWN = "123456789012"
ACCOUNTS, FORKS = 4, 2
"""Two for each fork, so that a fork begins a second one. ``make bench`` does the job in twelve."""
ROLE, EXTERNAL_ID = "CloudWatchAgentControllerRole", "of-the-controller"
SESSION_SIGNS = ("ASIA", "FwoGZX")
"""The beginning of the ID of a temporary access key, and of the emulator's session tokens."""

CONFIG = {"agent": {"metrics_collection_interval": 60}}
OTHER = {"agent": {"metrics_collection_interval": 10}}
FILTERED: dict[str, Any] = {
    "cwagent_account_server_filters": {"tag:agent": "yes"},
    "cwagent_account_admin_filters": {"tag:Name": "monitoring"},
    "cwagent_ssm_policy": SSM_POLICY,
}
"""The variables of an account whose servers are found."""


class HasCalls(Protocol):
    """A run of a playbook, or a job of AWX."""

    @property
    def calls(self) -> list[Call]: ...


@dataclass
class Fleet:
    """The accounts of an organization, and a user of the management account who may assume a role in each."""

    controller: Controller
    ids: dict[str, str] = field(default_factory=dict)
    instances: dict[str, list[str]] = field(default_factory=dict)
    admins: dict[str, str] = field(default_factory=dict)
    more: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        aws = self.controller.aws
        self.organizations = aws.client("organizations")
        self.user = create_user(aws, "controller", policy="AdministratorAccess")
        self.controller.file("agent.json", CONFIG)
        self.controller.file("other.json", OTHER)

    def client(self, account: str, service: str, region: str | None = None) -> Any:
        credentials = {"AccessKeyId": self.ids[account], "SecretAccessKey": "test"}
        return self.controller.aws.client(service, region, credentials)

    def account(self, name: str, servers: int) -> None:
        """Create an account with the role to assume, servers, and an admin instance that Systems Manager reaches."""
        created = self.organizations.create_account(Email=f"{name}@example.com", AccountName=name)
        self.ids[name] = str(created["CreateAccountStatus"]["AccountId"])
        iam = self.client(name, "iam")
        caller = {"AWS": f"arn:aws:iam::{OWN}:root"}
        condition = {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}
        statement = {"Effect": "Allow", "Principal": caller, "Action": "sts:AssumeRole", "Condition": condition}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=document)
        iam.attach_role_policy(RoleName=ROLE, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
        iam.create_role(RoleName="app", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
        for policy in (SSM_POLICY, SERVER_POLICY):
            iam.attach_role_policy(RoleName="app", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
        iam.create_instance_profile(InstanceProfileName="app")
        iam.add_role_to_instance_profile(InstanceProfileName="app", RoleName="app")
        self.instances[name] = self.launch(name, servers, agent="yes")
        [admin] = self.launch(name, 1, Name="monitoring", agent="yes")
        self.client(name, "ec2").associate_iam_instance_profile(InstanceId=admin, IamInstanceProfile={"Name": "app"})
        self.admins[name] = admin

    def launch(self, account: str, count: int, region: str | None = None, **tags: str) -> list[str]:
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        launched = self.client(account, "ec2", region).run_instances(
            ImageId=IMAGE,
            InstanceType="t3.micro",
            MinCount=count,
            MaxCount=count,
            TagSpecifications=[{"ResourceType": "instance", "Tags": listed}],
        )
        return [each["InstanceId"] for each in launched["Instances"]]

    def host(self, account: str) -> dict[str, Any]:
        return {
            "cwagent_account_id": self.ids[account],
            "cwagent_account_assume_role_arn": f"arn:aws:iam::{self.ids[account]}:role/{ROLE}",
            "cwagent_account_external_id": EXTERNAL_ID,
            **self.more.get(account, {}),
        }

    def inventory(self, accounts: Iterable[str], hosts: Mapping[str, Any]) -> Path:
        """Hosts for accounts, to which nobody can connect, and on-premises servers."""
        nowhere = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1", "ansible_timeout": 1}
        filtered = {} if hosts else FILTERED
        group = {"hosts": {name: self.host(name) for name in accounts}, "vars": {**nowhere, **filtered}}
        children = {"cwagent_accounts": group, "cwagent_onprem_servers": {"hosts": dict(hosts)}}
        return self.controller.file("accounts.yml", {"all": {"children": children}})

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "cwagent_config_file": str(self.controller.home / "agent.json"),
            "cwagent_key_store_directory": str(self.controller.credentials),
            **TIMEOUTS,
        }

    def kill(self, fault: Fault, accounts: Iterable[str], **variables: Any) -> None:
        """Run site.yml until the fault kills it."""
        inventory = self.inventory(accounts, {})
        self.controller.kill(fault, inventory, "site", env=self.user, **{**self.settings, **variables})

    def play(
        self,
        playbook: str,
        *arguments: str,
        accounts: Iterable[str] = (),
        hosts: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> Play:
        given = {**self.settings, **variables}
        inventory = self.inventory(accounts or self.ids, hosts or {})
        environment = {**self.user, **(env or {})}
        return self.controller.play(inventory, playbook, *arguments, f"--forks={FORKS}", env=environment, **given)

    def controller_calls(self, play: HasCalls) -> list[Call]:
        """The calls of the controller. An instance can still be in a command of an earlier run."""
        return [call for call in play.calls if "/i-" not in call.principal]

    def principals(self, play: HasCalls) -> set[str]:
        """The accounts in which a run made calls with a session."""
        # A server registers without a principal.
        others = ("AssumeRole", "RegisterManagedInstance")
        sessions = [call for call in self.controller_calls(play) if call.action not in others]
        return {call.principal.split(":")[4] for call in sessions}

    def state(self, account: str) -> dict[str, Any]:
        """Everything that a run manages in an account: roles, the profiles of instances, and configurations."""
        iam, ec2, ssm = (self.client(account, service) for service in ("iam", "ec2", "ssm"))
        roles = sorted(each["RoleName"] for each in iam.list_roles()["Roles"])
        associations = ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
        parameters = ssm.describe_parameters()["Parameters"]
        names = [each["Name"] for each in parameters if each["Name"].startswith("AmazonCloudWatch-")]
        values = ssm.get_parameters(Names=names)["Parameters"] if names else []
        return {
            "roles": [role for role in roles if role not in (ROLE, "app")],
            "profiles": {
                each["InstanceId"]: each["IamInstanceProfile"]["Arn"].rpartition("/")[2]
                for each in associations
                if each["State"] == "associated"
            },
            "configurations": {each["Name"]: json.loads(each["Value"]) for each in values},
        }

    def expected(self, account: str, config: Mapping[str, Any] = CONFIG, name: str = PARAMETER) -> dict[str, Any]:
        """The state after site.yml."""
        servers = dict.fromkeys(self.instances[account], SERVER_ROLE)
        return {
            "roles": [ADMIN_ROLE, SERVER_ROLE],
            "profiles": {**servers, self.admins[account]: "app"},
            "configurations": {name: config},
        }

    def is_window_open(self, account: str) -> bool:
        names = self.client(account, "iam").list_role_policies(RoleName=ADMIN_ROLE)["PolicyNames"]
        [name] = names
        policy = self.client(account, "iam").get_role_policy(RoleName=ADMIN_ROLE, PolicyName=name)["PolicyDocument"]
        return "NotAction" in json.dumps(policy) or len(policy["Statement"]) > 1


COLUMNS = ["account", "regions", "created", "updated", "deleted", "unchanged", "result"]


def table(play: Play) -> dict[str, list[str]]:
    """By account, the cells of its line in the table at the end."""
    [header] = [number for number, line in enumerate(play.report) if line.split() == COLUMNS]
    lines = [line for line in play.report[header + 1 :] if not line.startswith(("-", " "))]
    return {line.split()[0]: line.split()[1:] for line in lines}


@pytest.fixture(scope="module")
def fleet(shared_controller: Controller) -> Fleet:
    found = Fleet(shared_controller)
    for number in range(ACCOUNTS):
        found.account(f"team{number:02}", servers=1)
    return found


FEW = ("team00", "team01", "team02")


def test_all_accounts_from_empty_and_again(fleet: Fleet) -> None:
    """No key of one account is used in another, and no session is in an output or a file."""
    done = fleet.play("site", "-vvvv").assert_succeeded()
    for account in fleet.ids:
        assert fleet.state(account) == fleet.expected(account), account
        assert not fleet.is_window_open(account), account
    assert [each[-1] for each in table(done).values()] == ["ok"] * ACCOUNTS
    assert [*table(done)] == [*fleet.ids]
    assert sum(call.action == "AssumeRole" for call in done.calls) == ACCOUNTS
    sessions = {call.access_key for call in done.calls if call.access_key.startswith(SESSION_SIGNS[0])}
    assert len(sessions) >= ACCOUNTS
    kept = [path.read_text(errors="replace") for path in fleet.controller.home.rglob("*") if path.is_file()]
    for text in (done.output, *kept):
        assert [secret for secret in (*sessions, SESSION_SIGNS[1]) if secret in text] == []
    for call in done.calls:
        arn = json.dumps(call.params)
        foreign = [number for number in fleet.ids.values() if number in arn and number not in call.principal]
        assert foreign == [] or call.action == "AssumeRole"
    assert fleet.principals(done) == set(fleet.ids.values())

    again = fleet.play("site").assert_succeeded()
    assert again.writes == []
    assert {cell for cells in table(again).values() for cell in cells[1:4]} == {"0"}
    # A session, two reads that find the instances, and the calls for one account.
    assert len(fleet.controller_calls(again)) <= 24 * ACCOUNTS


def test_a_changed_configuration_reaches_the_accounts_of_the_limit_and_no_others(fleet: Fleet) -> None:
    other: dict[str, Any] = {"cwagent_config_file": str(fleet.controller.home / "other.json")}
    predicted = fleet.play("site", "--check", "--diff", "--limit", "team00,team01", **other).assert_succeeded()
    assert predicted.writes == []
    done = fleet.play("site", "--limit", "team00,team01", **other).assert_succeeded()
    assert {each: cells[1:4] for each, cells in table(done).items()} == {
        each: cells[1:4] for each, cells in table(predicted).items()
    }
    assert fleet.principals(done) == {fleet.ids["team00"], fleet.ids["team01"]}
    for account, config in (("team00", OTHER), ("team01", OTHER), ("team02", CONFIG)):
        assert fleet.state(account) == fleet.expected(account, config)
    assert fleet.play("site", "--limit", "team00,team01").assert_succeeded().writes != []


def test_an_account_that_fails_stops_no_other(fleet: Fleet) -> None:
    """Each in its own way: the role is not trusted, the account is another one, a variable is wrong."""
    fleet.more["team00"] = {"cwagent_account_external_id": "of-another"}
    fleet.more["team01"] = {"cwagent_account_id": fleet.ids["team03"]}
    fleet.more["team02"] = {"cwagent_account_admin_filters": {"tag:agent": "yes"}}
    fleet.client("team03", "iam").delete_role_policy(RoleName=ADMIN_ROLE, PolicyName="CloudWatchAgentAdminWindow")
    try:
        play = fleet.play("site", accounts=(*FEW, "team03")).assert_failed()
    finally:
        fleet.more.clear()
    found = table(play)
    assert {account: cells[-1] for account, cells in found.items()} == {
        **dict.fromkeys(FEW, "FAILED"),
        "team03": "ok",
    }
    reasons = {
        "team00": "could not be assumed. Check its ARN, its trust policy and the external ID.",
        "team01": f"cwagent_account_assume_role_arn is a role of account {fleet.ids['team01']}",
        "team02": "Exactly one instance must match cwagent_account_admin_filters, but 2 match",
    }
    assert [account for account, reason in reasons.items() if reason not in play.words] == []
    last = {each.host: str(each.result["msg"]) for each in play.failures}
    assert [account for account, reason in reasons.items() if reason not in last[account]] == []
    begun = ("team00", "team02")
    assert all(last[account].startswith(f"The work in account {account} failed: ") for account in begun)
    assert fleet.principals(play) == {fleet.ids["team02"], fleet.ids["team03"]}
    assert not fleet.is_window_open("team03")


def test_a_profile_of_another_account_is_refused_before_anything_else(fleet: Fleet) -> None:
    config, keys = fleet.controller.home / ".aws" / "config", fleet.controller.home / ".aws" / "credentials"
    config.parent.mkdir(exist_ok=True)
    config.write_text("[profile team02]\nregion = eu-central-1\n")
    keys.write_text(f"[team02]\naws_access_key_id = {fleet.ids['team02']}\naws_secret_access_key = test\n")
    profile = {
        "cwagent_account_assume_role_arn": "",
        "cwagent_account_external_id": "",
        "cwagent_account_aws_profile": "team02",
    }
    fleet.more.update({"team02": profile, "team03": profile})
    files = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(keys)}
    try:
        play = fleet.play("site", accounts=("team02", "team03"), env=files).assert_failed()
    finally:
        fleet.more.clear()
    assert {account: cells[-1] for account, cells in table(play).items()} == {"team02": "ok", "team03": "FAILED"}
    assert f"The credentials belong to account {fleet.ids['team02']}, not to {fleet.ids['team03']}." in play.words
    assert play.writes == []


@pytest.mark.parametrize(
    ("waves", "failing", "skipped", "counts"),
    [
        (([1, "100%"], 0), "team00", ("team01", "team02", "team03"), "1 of 1"),
        (("[1, 50%]", 40), "team02", ("team03",), "1 of 2"),  # a quarter of all accounts
        ((2, 50), "team01", (), ""),
    ],
    ids=["the canary", "more of a batch than may", "no more of a batch than may"],
)
def test_waves_end_when_too_many_accounts_of_a_batch_failed(
    fleet: Fleet, waves: tuple[Any, int], failing: str, skipped: tuple[str, ...], counts: str
) -> None:
    size, percentage = waves
    fleet.more[failing] = {"cwagent_account_external_id": "of-another"}
    try:
        play = fleet.play("site", cwagent_batch_size=size, cwagent_max_fail_percentage=percentage).assert_failed()
    finally:
        fleet.more.clear()
    failed = {account for account, cells in table(play).items() if cells[-1] == "FAILED"}
    assert failed == {failing, *skipped}
    last = {each.host: str(each.result["msg"]) for each in play.failures}
    reason = f"Skipped: {counts} accounts of a batch failed (cwagent_max_fail_percentage is {percentage})."
    assert [account for account in skipped if reason not in last[account]] == []
    done = fleet.ids.keys() - failed
    assert fleet.principals(play) == {fleet.ids[account] for account in done}
    assert sum(call.action == "AssumeRole" for call in play.calls) == len(done) + 1


def test_waves_do_all_accounts_when_none_fails(fleet: Fleet) -> None:
    waves: dict[str, Any] = {"cwagent_batch_size": [1, "100%"], "cwagent_max_fail_percentage": 0}
    play = fleet.play("site", **waves).assert_succeeded()
    assert [each[-1] for each in table(play).values()] == ["ok"] * ACCOUNTS
    assert play.writes == []


SWAP = "ReplaceIamInstanceProfileAssociation"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.KILL_AFTER, action="PutRolePolicy"),
        Fault(Kind.KILL_AFTER, action=SWAP, nth=4),
    ],
    ids=["when a window is open", "when an instance has the admin profile"],
)
def test_a_run_that_is_killed_in_a_window_is_cleaned_up_and_finished(fleet: Fleet, fault: Fault) -> None:
    """By restore.yml in the account alone, and by the next run in all others."""
    stored = [fleet.state(account)["configurations"][PARAMETER] for account in FEW[:2]]
    other = "agent.json" if OTHER in stored else "other.json"
    settings: dict[str, Any] = {"cwagent_config_file": str(fleet.controller.home / other)}
    fleet.kill(fault, FEW[:2], **settings)
    assert any(map(fleet.is_window_open, FEW[:2]))
    fleet.play("restore", accounts=FEW[:1]).assert_succeeded()
    assert not fleet.is_window_open(FEW[0])
    assert fleet.state(FEW[0])["profiles"] == fleet.expected(FEW[0])["profiles"]
    fleet.play("site", accounts=FEW[:2], **settings).assert_succeeded()
    for account in FEW[:2]:
        assert not fleet.is_window_open(account)
        assert fleet.state(account) == fleet.expected(account, OTHER if other == "other.json" else CONFIG)
    assert fleet.play("site", accounts=FEW[:2], **settings).assert_succeeded().writes == []


def test_the_configurations_are_stored_again_by_store_config(fleet: Fleet) -> None:
    stored = fleet.play("store_config", accounts=FEW[:2]).assert_succeeded()
    assert not any(map(fleet.is_window_open, FEW[:2]))
    assert [fleet.state(account) for account in FEW[:2]] == [fleet.expected(account) for account in FEW[:2]]
    assert {cells[-1] for cells in table(stored).values()} == {"ok"}


def test_a_window_is_opened_for_a_person_in_the_accounts_of_the_limit(fleet: Fleet) -> None:
    # Wherever a configuration is stored from, nothing connects to the instance.
    opened = fleet.play("open_window", "--limit", "team00", cwagent_store_config_from="controller").assert_succeeded()
    assert fleet.is_window_open("team00")
    assert not fleet.is_window_open("team01")
    assert f"{fleet.admins['team00']} can write to Parameter Store until" in opened.words
    fleet.play("restore", accounts=FEW).assert_succeeded()
    assert not fleet.is_window_open("team00")
    assert fleet.state("team00") == fleet.expected("team00")


def test_every_window_is_closed_whatever_is_wrong_with_other_accounts(fleet: Fleet) -> None:
    """If an account cannot be determined, nothing is done in the account of the controller's own credentials."""
    fleet.play("open_window", accounts=FEW[:1]).assert_succeeded()
    fleet.more["team01"] = {"cwagent_account_external_id": "of-another"}
    fleet.more["team02"] = {"cwagent_account_assume_role_arn": "{{ nope }}"}
    waves: dict[str, Any] = {"cwagent_batch_size": [1, "100%"], "cwagent_max_fail_percentage": 0}
    try:
        play = fleet.play("restore", accounts=("team01", "team02", "team00"), **waves).assert_failed()
    finally:
        fleet.more.clear()
    assert {account: cells[-1] for account, cells in table(play).items()} == {
        "team01": "FAILED",
        "team02": "FAILED",
        "team00": "ok",
    }
    assert fleet.principals(play) == {fleet.ids["team00"]}
    assert not fleet.is_window_open("team00")


def test_filters_that_match_no_more_leave_nothing_behind_in_silence(fleet: Fleet) -> None:
    """The admin instance is restored, and a teardown lists the instances that have the profiles."""
    fleet.play("open_window", accounts=FEW[:1]).assert_succeeded()
    nothing = {"tag:agent": "no more"}
    fleet.more["team00"] = {"cwagent_account_server_filters": nothing, "cwagent_account_admin_filters": nothing}
    try:
        fleet.play("restore", accounts=FEW[:1]).assert_succeeded()
        assert not fleet.is_window_open("team00")
        assert fleet.state("team00") == fleet.expected("team00")
        removed = fleet.play("teardown", accounts=FEW[:1], cwagent_confirm="teardown").assert_failed()
    finally:
        fleet.more.clear()
    assert f"Instance {fleet.instances['team00'][0]} in eu-central-1 is not in the inventory" in removed.words
    fleet.play("site", accounts=FEW[:1]).assert_succeeded()
    assert fleet.state("team00") == fleet.expected("team00")


def test_servers_and_keys_of_hosts_that_name_their_account(fleet: Fleet) -> None:
    """The same user name in two accounts: each has its own key, saved and delivered by the session of its account."""
    settings: dict[str, Any] = {
        "cwagent_key_store": "parameter_store",
        "cwagent_config_file": "",
        "cwagent_deliver_keys": True,
        "cwagent_onprem_users": "shared",
    }
    hosts: dict[str, dict[str, Any]] = {}
    for account in FEW[:2]:
        folder = fleet.controller.home / f"db-{account}"
        hosts[f"db-{account}"] = {
            **LOCAL_CONNECTION,
            "cwagent_account": account,
            "ansible_become": False,
            "onprem_credentials_file": str(folder / "cwagent.credentials"),
            "onprem_credentials_common_config": str(folder / "common-config.toml"),
            "cwagent_key_file_owner": "",
            "cwagent_key_file_group": "",
        }
    aws, hybrid = fleet.controller.aws, {"cwagent_onprem_identity": "hybrid", "cwagent_account": FEW[1]}
    registered = aws.host(fleet.controller.home / "hybrid", cloudwatch_agent=True)
    hosts["web"] = {**onprem_host(registered), **hybrid, "ansible_become": False}
    settings["cwagent_key_store_kms_key_id"] = "alias/of-keys"
    done = fleet.play("site", accounts=FEW[:2], hosts=hosts, **settings).assert_succeeded()
    caller = aws.client("sts", credentials=registered.session()).get_caller_identity()
    assert caller["Account"] == fleet.ids[FEW[1]]
    saved = {}
    for account in FEW[:2]:
        [key] = fleet.client(account, "iam").list_access_keys(UserName="CloudWatchAgentServerUser")["AccessKeyMetadata"]
        saved[account] = key["AccessKeyId"]
        assert key["AccessKeyId"] in Path(hosts[f"db-{account}"]["onprem_credentials_file"]).read_text()
    assert len({*saved.values()}) == 2
    files = {host: hosts[host]["onprem_credentials_file"] for host in (f"db-{account}" for account in FEW[:2])}
    shown = " ".join(line.strip() for line in done.report)
    assert [host for host, file in files.items() if f"- write the access key to {file} on {host}" not in shown] == []
    assert fleet.principals(done) == {fleet.ids[account] for account in FEW[:2]}
    text = {"Description": saved_key_description("AKIAIOSFODNN7EXAMPLE", "gone"), "Type": "SecureString"}
    fleet.client(FEW[0], "ssm").put_parameter(Name="/cwagent/credentials/gone", Value="{}", **text)
    rotated = fleet.play("rotate_keys", accounts=FEW[:2], hosts=hosts, **settings).assert_succeeded()
    assert rotated.writes == []
    named = f"Saved access keys of users that do not exist: {fleet.controller.aws.region}:gone."
    remedy = "runs without the group cwagent_accounts, with the credentials of the account."
    said = " ".join(line.strip() for line in rotated.report)
    assert (said.count(named), said.count(remedy)) == (1, 1)
    lost = f"db-{FEW[1]}"
    hosts[lost] |= UNREACHABLE
    down = fleet.play("teardown", accounts=FEW[:2], hosts=hosts, cwagent_confirm="teardown", **settings).assert_failed()
    left = f"The access key is still on {lost}, which could not be reached."
    assert left in down.report
    assert left in down.message
    for account in FEW[:2]:
        assert fleet.client(account, "iam").list_users()["Users"] == []
    assert (registered.registration, fleet.client(FEW[1], "ssm").describe_activations()["ActivationList"]) == (None, [])
    assert [host for host, file in files.items() if Path(file).exists()] == [lost]


def test_every_account_is_verified_and_audited(fleet: Fleet) -> None:
    audited = fleet.play("audit", accounts=FEW, cwagent_audit_fail_at="none").assert_succeeded()
    assert "3 accounts read at" in audited.words
    assert audited.writes == []
    playbooks = sorted((CHECKOUT / "playbooks").iterdir())
    verified = fleet.play("verify", accounts=FEW, cwagent_verify_from="none").assert_succeeded()
    assert sorted((CHECKOUT / "playbooks").iterdir()) == playbooks, "no file was requested"
    assert {*table(verified)} == {*FEW}
    assert "FAILED" not in verified.words
    assert verified.writes == []
    refused = fleet.play("apply", accounts=FEW).assert_failed()
    assert "This playbook works in one account" in refused.message


def test_the_audit_reads_only_the_account_that_is_named(fleet: Fleet) -> None:
    """With the controller's own credentials, which belong to none of the accounts."""
    fleet.more["team00"] = {"cwagent_account_assume_role_arn": "", "cwagent_account_id": fleet.ids["team00"]}
    file = fleet.controller.home / "audit.json"
    try:
        play = fleet.play("audit", accounts=FEW, cwagent_audit_fail_at="none", cwagent_report_files=str(file))
    finally:
        fleet.more.clear()
    assert "Accounts that were not read: 1." in play.assert_failed().message
    accounts = {each["account"]["label"]: each for each in json.loads(file.read_text())["accounts"]}
    assert [label for label, each in accounts.items() if "error" in each] == ["team00"]
    refusal = f"The credentials belong to account {OWN}, not to {fleet.ids['team00']}."
    assert accounts["team00"]["error"].startswith(refusal)
    own = [call.action for call in play.calls if f":{OWN}:" in call.principal]
    assert {*own} == {"AssumeRole", "GetCallerIdentity"}


def test_teardown_removes_all_created_things_in_each_account(fleet: Fleet) -> None:
    play = fleet.play("teardown", cwagent_confirm="teardown").assert_succeeded()
    assert [each[-1] for each in table(play).values()] == ["ok"] * ACCOUNTS
    for account in fleet.ids:
        found = fleet.state(account)
        assert found == {"roles": [], "profiles": {fleet.admins[account]: "app"}, "configurations": {}}, account
    assert fleet.play("teardown", accounts=FEW, cwagent_confirm="teardown").assert_succeeded().writes == []
