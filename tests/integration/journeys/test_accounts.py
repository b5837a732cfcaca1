"""Many accounts in one run: each is a host, has its own session, and no failure of one is another's.

The role in each has the policies of the template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from accounts import OWN, ROLE, Accounts, secrets_of_sessions, stats_of, table, three_accounts
from emulator import Fault, Kind
from emulator.machines import AGENT_FOLDER
from harness import (
    ADMIN_ROLE,
    CHECKOUT,
    LOCAL_CONNECTION,
    PARAMETER,
    REPLACE_ASSOCIATION,
    SERVER_USER,
    UNREACHABLE,
    Controller,
    Play,
    allow,
    onprem_host,
    trust,
)
from policies import example
from published import content
from states import States

from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import saved_key_description

CONFIG = content("getting_started", "json")
OTHER = {"agent": {"metrics_collection_interval": 10}}
SECRET_KEY = re.compile(r'(?<!"checksum": ")\b[0-9a-f]{40}\b')
"""The emulator's secret access keys, which look like the checksums that Ansible prints."""
TOLERATED = {"", "NoSuchEntity", "ParameterNotFound"}
"""The errors of reads that find nothing."""


@pytest.fixture
def accounts(states: States) -> Accounts:
    found, _ = states.begin(three_accounts)
    return found


def test_the_page_on_many_accounts_does_the_whole_job_in_each(states: States) -> None:
    """It also prints what the page shows, and the policies of the template suffice for it."""
    accounts, done = states.begin(three_accounts)
    for account in accounts.ids:
        assert accounts.state(account) == accounts.expected(account, CONFIG), account
        assert not accounts.is_window_open(account), account
    assert [each[-1] for each in table(done).values()] == ["ok"] * 3
    assert [*table(done)] == [*accounts.ids]
    assert sum(call.action == "AssumeRole" for call in done.calls) == 3
    assert accounts.principals(done) == {*accounts.ids.values()}
    assert {call.error for call in done.calls} <= TOLERATED
    assert stats_of(done) == {**stats_of(done), "check_mode": False, "failed_accounts": 0, "keys": {}}


def database(folder: Path, account: str) -> dict[str, Any]:
    """The variables of an on-premises server that belongs to an account."""
    return {
        **LOCAL_CONNECTION,
        "cwagent_account": account,
        "ansible_become": False,
        "onprem_credentials_file": str(folder / account / "cwagent.credentials"),
        "onprem_credentials_common_config": str(folder / account / "common-config.toml"),
        "cwagent_key_file_owner": "",
        "cwagent_key_file_group": "",
    }


def assert_sessions_are_secret(accounts: Accounts, play: Play, sessions: int = 3) -> None:
    """Assert that no session is in an output, in a file or in a call to another account."""
    secrets = secrets_of_sessions(play)
    assert len(secrets) > sessions
    assert accounts.user["AWS_SECRET_ACCESS_KEY"] not in play.output
    kept = [path.read_text(errors="replace") for path in accounts.controller.home.rglob("*") if path.is_file()]
    for text in (play.output, *kept):
        assert [secret for secret in secrets if secret in text] == []
    for call in play.calls:
        named = [number for number in accounts.ids.values() if number in json.dumps(call.params)]
        assert [number for number in named if number not in call.principal] == [] or call.action == "AssumeRole"


def assert_keys_are_separate(accounts: Accounts, play: Play, files: Mapping[str, Path]) -> None:
    """Assert that the user of each account has its own key, which its server has."""
    keys = {}
    for account in ("shop", "blog"):
        [key] = accounts.client(account, "iam").list_access_keys(UserName=SERVER_USER)["AccessKeyMetadata"]
        keys[account] = key["AccessKeyId"]
        assert key["AccessKeyId"] in files[f"db-{account}"].read_text()
    assert len({*keys.values()}) == 2
    shown = " ".join(line.strip() for line in play.report)
    assert [host for host, file in files.items() if f"- write the access key to {file} on {host}" not in shown] == []


def test_servers_with_keys_join_and_everything_is_removed_in_each_account(accounts: Accounts, tmp_path: Path) -> None:
    """The same user name in two accounts: each has its own key, saved and delivered by the session of its account.

    No key of one account is used in another, and no session is in an output or a file.
    """
    aws = accounts.controller.aws
    hybrid = aws.host(tmp_path / "web", cloudwatch_agent=True)
    hosts = {f"db-{account}": database(tmp_path, account) for account in ("shop", "blog")}
    web = {"cwagent_onprem_identity": "hybrid", "cwagent_account": "blog", "ansible_become": False}
    hosts["web"] = {**onprem_host(hybrid), **web}
    settings: dict[str, Any] = {
        "cwagent_key_store": "parameter_store",
        "cwagent_key_store_kms_key_id": "alias/of-keys",
        "cwagent_deliver_keys": True,
        "cwagent_onprem_users": "shared",
        "hosts": hosts,
    }
    waves: dict[str, Any] = {"cwagent_batch_size": [1, "100%"], "cwagent_max_fail_percentage": 0}
    done = accounts.play("site", "-vvvv", **settings, **waves).assert_succeeded()
    assert [each[-1] for each in table(done).values()] == ["ok"] * 3
    assert table(done)["wiki"][1:4] == ["0", "0", "0"]
    of_wiki = [call for call in accounts.controller_calls(done) if f":{accounts.ids['wiki']}:" in call.principal]
    assert [call.action for call in of_wiki if call.write] == []
    assert len(of_wiki) <= 24, "with nothing to do"
    assert accounts.principals(done) == {*accounts.ids.values()}
    assert_sessions_are_secret(accounts, done)
    files = {host: Path(hosts[host]["onprem_credentials_file"]) for host in ("db-shop", "db-blog")}
    assert_keys_are_separate(accounts, done, files)
    caller = aws.client("sts", credentials=hybrid.session()).get_caller_identity()
    assert caller["Account"] == accounts.ids["blog"]
    text = {"Description": saved_key_description("AKIAIOSFODNN7EXAMPLE", "gone"), "Type": "SecureString"}
    accounts.client("shop", "ssm").put_parameter(Name="/cwagent/credentials/gone", Value="{}", **text)
    rotated = accounts.play("rotate_keys", "--check", **settings).assert_succeeded()
    assert rotated.writes == []
    assert accounts.principals(rotated) == {*accounts.ids.values()}
    assert stats_of(rotated)["keys"] == {"current": 2}
    named = f"Saved access keys of users that do not exist: {aws.region}:gone."
    remedy = "runs without the group cwagent_accounts, with the credentials of the account."
    said = " ".join(line.strip() for line in rotated.report)
    assert (said.count(named), said.count(remedy)) == (1, 1)

    hosts["db-blog"] |= UNREACHABLE
    nothing = {"tag:agent": "no more"}
    filters = {"cwagent_account_server_filters": nothing, "cwagent_account_admin_filters": nothing}
    found = {each: accounts.host(each) for each in accounts.ids}
    found["wiki"] |= filters
    down = accounts.play("teardown", accounts=found, cwagent_confirm="teardown", **settings).assert_failed()
    left = "The access key is still on db-blog, which could not be reached."
    assert left in down.report
    assert f"Instance {accounts.servers['wiki']} in {aws.region} is not in the inventory" in down.words
    assert accounts.state("wiki") == accounts.expected("wiki", CONFIG)
    results = {account: cells[-1] for account, cells in table(down).items()}
    assert (results["shop"], results["wiki"]) == ("ok", "FAILED")
    for account in ("shop", "blog"):
        assert accounts.client(account, "iam").list_users()["Users"] == []
        empty = {"roles": [], "profiles": {accounts.admins[account]: "app"}, "configurations": {}}
        assert accounts.state(account) == empty, account
    activations = accounts.client("blog", "ssm").describe_activations()["ActivationList"]
    assert (hybrid.registration, activations) == (None, [])
    assert [host for host, file in files.items() if file.exists()] == ["db-blog"]


def write_profiles(controller: Controller, **keys: str) -> dict[str, str]:
    """Write an AWS configuration with profiles. :returns: the variables that lead to it."""
    config, credentials = controller.home / "profiles", controller.home / "profile-keys"
    config.write_text("".join(f"[profile {name}]\nregion = {controller.aws.region}\n" for name in keys))
    texts = [f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = test\n" for name, key in keys.items()]
    credentials.write_text("".join(texts))
    return {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}


def test_windows_and_failures_of_one_account_do_not_concern_the_others(accounts: Accounts) -> None:
    """A person's window in one account and a killed run in another, then a run in which many more fail."""
    controller, ids = accounts.controller, accounts.ids
    changed: dict[str, Any] = {"cwagent_config_file": str(controller.file("other.json", OTHER))}
    # Wherever a configuration is stored from, nothing connects to the instance.
    opened = accounts.play("open_window", "--limit", "blog", cwagent_store_config_from="controller").assert_succeeded()
    assert [*map(accounts.is_window_open, ids)] == [False, True, False]
    assert f"{accounts.admins['blog']} can write to Parameter Store until" in opened.words

    accounts.kill(Fault(Kind.KILL_AFTER, action=REPLACE_ASSOCIATION, text=ADMIN_ROLE), "shop", **changed)
    assert accounts.is_window_open("shop")
    assert accounts.state("shop")["profiles"][accounts.admins["shop"]] == ADMIN_ROLE
    checked = accounts.play("site", "--check", **changed).assert_succeeded()
    # An instance can still be in the command of the killed run.
    assert [call.action for call in accounts.controller_calls(checked) if call.write] == []
    results = {account: " ".join(cells[-2:]) for account, cells in table(checked).items()}
    assert results == {"shop": "restore first", "blog": "restore first", "wiki": f"{table(checked)['wiki'][-2]} ok"}
    assert stats_of(checked)["failed_accounts"] == 0
    stored = "".join(f" {line}" for line in checked.report if "PutParameter" in line or PARAMETER in line)
    assert ("wiki" in checked.words, checked.words.count("The check ended here")) == (True, 2)
    assert stored.count(f"parameter '{PARAMETER}'") == 1
    nothing = {"tag:agent": "no more"}
    waves: dict[str, Any] = {"cwagent_batch_size": [1, "100%"], "cwagent_max_fail_percentage": 0}
    hosts = {
        "blog": {**accounts.host("blog"), "cwagent_account_external_id": "of-another"},
        "wiki": {**accounts.host("wiki"), "cwagent_account_assume_role_arn": "{{ nope }}"},
        "shop": {
            **accounts.host("shop"),
            "cwagent_account_server_filters": nothing,
            "cwagent_account_admin_filters": nothing,
        },
    }
    restored = accounts.play("restore", accounts=hosts, **waves).assert_failed()
    assert {account: cells[-1] for account, cells in table(restored).items()} == {
        "blog": "FAILED",
        "wiki": "FAILED",
        "shop": "ok",
    }
    assert accounts.principals(restored) == {ids["shop"]}
    assert [*map(accounts.is_window_open, ids)] == [False, True, False]
    # The instance can have stored the configuration before.
    assert accounts.state("shop")["profiles"] == accounts.expected("shop", CONFIG)["profiles"]

    # The first batch fails for the most part, so that the second one is skipped.
    for _ in range(2):
        accounts.launch("", agent="yes")
    profiles = write_profiles(controller, shop=ids["shop"], lost=ids["shop"], own="test")
    hosts = {
        "blog": accounts.host("blog"),
        "shop": {"cwagent_account_id": ids["shop"], "cwagent_account_aws_profile": "shop"},
        "lost": {"cwagent_account_id": "999999999999", "cwagent_account_aws_profile": "lost"},
        "twins": {
            "cwagent_account_id": OWN,
            "cwagent_account_aws_profile": "own",
            "cwagent_account_admin_filters": {"tag:agent": "yes"},
        },
        "mixed": {
            "cwagent_account_id": "888888888888",
            "cwagent_account_assume_role_arn": "arn:aws:iam::777777777777:role/x",
        },
        "wiki": {**accounts.host("wiki"), "cwagent_account_external_id": "of-another"},
        "later": {"cwagent_account_id": "666666666666", "cwagent_account_aws_profile": "own"},
    }
    waves = {"cwagent_batch_size": [6, "100%"], "cwagent_max_fail_percentage": 50}
    mixed = accounts.play("site", accounts=hosts, env=profiles, **changed, **waves).assert_failed()
    reasons = {
        "lost": f"The credentials belong to account {ids['shop']}, not to 999999999999.",
        "twins": "Exactly one instance must match cwagent_account_admin_filters, but 2 match",
        "mixed": "cwagent_account_assume_role_arn is a role of account 777777777777",
        "wiki": "could not be assumed. Check its ARN, its trust policy and the external ID.",
        "later": "Skipped: 4 of 6 accounts of a batch failed (cwagent_max_fail_percentage is 50).",
    }
    assert {account: cells[-1] for account, cells in table(mixed).items()} == {
        "blog": "ok",
        "shop": "ok",
        **dict.fromkeys(reasons, "FAILED"),
    }
    assert [account for account, reason in reasons.items() if reason not in mixed.words] == []
    last = {each.host: str(each.result["msg"]) for each in mixed.failures}
    assert all(last[account].startswith(f"The work in account {account} failed.") for account in ("twins", "wiki"))
    assert accounts.principals(mixed) == {ids["blog"], ids["shop"], OWN}
    assert {call.principal.split(":")[4] for call in mixed.calls if call.write} <= {ids["blog"], ids["shop"]}
    assert sum(call.action == "AssumeRole" for call in mixed.calls) == 2
    assert stats_of(mixed)["failed_accounts"] == 5
    assert not any(map(accounts.is_window_open, ids))
    for account, config in (("shop", OTHER), ("blog", OTHER), ("wiki", CONFIG)):
        assert accounts.state(account) == accounts.expected(account, config)


def plant(accounts: Accounts, account: str, name: str) -> None:
    """Create a writer: a role that permanently has the permission to write, and that no instance has."""
    iam = accounts.client(account, "iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))
    iam.put_role_policy(RoleName=name, PolicyName="write", PolicyDocument=json.dumps(allow("ssm:PutParameter")))


def test_an_account_that_is_not_audited_is_named_and_stops_no_other(accounts: Accounts) -> None:
    """The controller's own credentials are used for no account, because they belong to none of them."""
    controller, ids = accounts.controller, accounts.ids
    for account, name in (("shop", "ShopWriter"), ("blog", "BlogWriter")):
        plant(accounts, account, name)
    wiki = accounts.client("wiki", "iam")
    for policy in wiki.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]:
        wiki.detach_role_policy(RoleName=ROLE, PolicyArn=policy["PolicyArn"])
    role = accounts.host("blog")
    hosts: dict[str, Any] = {
        "untrusted": {**role, "cwagent_account_external_id": "of-another"},
        "missing": {**role, "cwagent_account_assume_role_arn": f"arn:aws:iam::{ids['blog']}:role/Missing"},
        "wiki": accounts.host("wiki"),
        "no-profile": {"cwagent_account_aws_profile": "missing"},
        "another": {"cwagent_account_id": ids["shop"]},
        "shop": {"cwagent_account_aws_profile": "shop"},
        "blog": {**role, "cwagent_account_session_name": "auditor"},
    }
    files = {name: controller.home / f"audit.{name}" for name in ("json", "junit.xml")}
    regions = ["eu-central-1", "us-east-1"]
    env = {**write_profiles(controller, shop=ids["shop"]), "ANSIBLE_INJECT_INVOCATION": "true"}
    env["ANSIBLE_REMOTE_TEMP"] = str(controller.home / "remote")

    def audit(*arguments: str, **variables: Any) -> Play:
        given = {"cwagent_report_files": [*map(str, files.values())], "cwagent_audit_regions": regions, **variables}
        play = accounts.play("audit", "-vvvv", *arguments, accounts=hosts, env=env, **given).assert_failed()
        assert (play.writes, SECRET_KEY.findall(play.output)) == ([], [])
        return play

    play = audit()
    assert_sessions_are_secret(accounts, play, 2)
    assert {call.action for call in play.calls if f":{OWN}:" in call.principal} == {"AssumeRole", "GetCallerIdentity"}
    found = json.loads(files["json"].read_text())
    errors = {each["account"]["label"]: each.get("error", "") for each in found["accounts"]}
    assert [*errors] == [*hosts]
    for name in ("untrusted", "missing"):
        arn = hosts[name]["cwagent_account_assume_role_arn"]
        assert errors[name].startswith(f"The role {arn} could not be assumed. Check its ARN, its trust policy")
        assert "is not authorized to perform: sts:AssumeRole" in errors[name]
    assert "lacks iam:GetAccountAuthorizationDetails" in errors["wiki"]
    assert "The config profile (missing) could not be found" in errors["no-profile"]
    assert errors["another"].startswith(f"The credentials belong to account {OWN}, not to {ids['shop']}.")
    assert (errors["shop"], errors["blog"]) == ("", "")
    read = [each["account"] for each in found["accounts"] if "error" not in each]
    assert [(each["id"], each["regions"]) for each in read] == [(ids["shop"], regions), (ids["blog"], regions)]
    assert {(each["object"], each["account"]) for each in found["findings"] if each["severity"] != "notice"} == {
        ("ShopWriter", ids["shop"]),
        ("BlogWriter", ids["blog"]),
    }
    counts = "Accounts that were not read: 1."
    failed = {each.host: " ".join(each.result["msg"].split()) for each in play.failures}
    assert failed.keys() == hosts.keys() - {"shop", "blog"}
    for name, message in failed.items():
        assert message.startswith(f"{counts} Account {name} was not read: {' '.join(errors[name].split())}")
        assert f"! account {name} was not read. The run fails with the reason." in " ".join(play.problems)
    assert play.problems[0].startswith("2 accounts read at ")
    assert any(line.startswith(f"Account blog ({ids['blog']}): role BlogWriter can write") for line in play.problems)
    [suite] = ET.fromstring(files["junit.xml"].read_text()).iter("testsuite")  # noqa: S314  this run wrote it
    assert (suite.get("errors"), suite.get("failures")) == ("5", "2")
    stats = stats_of(play)
    assert (stats["unread_accounts"], stats["findings"].keys()) == (5, {"notice", "warning", "error"})

    for file in files.values():
        file.unlink()
    checked = audit("--limit", "no-profile,blog", "--check", "--diff", cwagent_audit_fail_at="none")
    assert checked.message.startswith("Accounts that were not read: 1. Account no-profile was not read: ")
    assert any(line.startswith(f"Account blog ({ids['blog']}): role BlogWriter can") for line in checked.problems)
    assert [call.action for call in checked.calls].count("AssumeRole") == 1
    assert {call.principal.split("/")[-1] for call in checked.calls if f":{ids['blog']}:" in call.principal} == {
        "auditor"
    }
    assert ([*map(Path.exists, files.values())], "untrusted" in checked.output) == ([False] * 2, False)


def test_a_configuration_is_applied_to_one_server_of_all_accounts_first(accounts: Accounts) -> None:
    """Nobody connects to the servers, which filters have found. The agents of wiki are not installed."""
    aws = accounts.controller.aws
    playbooks = sorted((CHECKOUT / "playbooks").iterdir())
    verified = accounts.play("verify", cwagent_verify_from="none").assert_succeeded()
    assert sorted((CHECKOUT / "playbooks").iterdir()) == playbooks, "no file was requested"
    assert ({*table(verified)}, verified.writes) == ({*accounts.ids}, [])
    assert "FAILED" not in verified.words

    for name in ("apply", "label-versions"):
        policy = json.dumps(example(name))
        for account in accounts.ids:
            accounts.client(account, "iam").put_role_policy(RoleName=ROLE, PolicyName=name, PolicyDocument=policy)
    servers = {account: [accounts.servers[account], accounts.admins[account]] for account in ("shop", "blog")}
    folders = {each: aws.disk(each) / AGENT_FOLDER for found in servers.values() for each in found}
    aws.agents(*folders, cloudwatch_agent=True)
    for folder in folders.values():
        (folder / "denied").write_text("credentials")

    def configured(name: str = f"{PARAMETER}_1") -> list[str]:
        return [each for each in folders if (folders[each] / f"etc/amazon-cloudwatch-agent.d/ssm_{name}").exists()]

    def labelled() -> list[str]:
        clients = {account: accounts.client(account, "ssm") for account in accounts.ids}
        names = [f"{PARAMETER}:stable"]
        return [account for account, ssm in clients.items() if ssm.get_parameters(Names=names)["Parameters"]]

    settings: dict[str, Any] = {"cwagent_apply_watch_seconds": 1, "cwagent_config_label": "stable"}
    play = accounts.play("apply", "-vvvv", **settings).assert_failed()
    [first] = configured()
    said = " ".join(line.strip() for line in play.report)
    assert f"The agent failed with the configuration on {first}: Its log has: 20" in said
    assert "E! Failed to get credential from session: NoCredentialProviders: no valid" in said
    assert [each for each in folders if each != first and each not in said] == []
    assert "Skipped, because they have no CloudWatch agent: " in said
    assert {account: cells[-1] for account, cells in table(play).items()} == {
        "shop": "FAILED",
        "blog": "FAILED",
        "wiki": "ok",
    }
    assert accounts.principals(play) == {*accounts.ids.values()}
    assert_sessions_are_secret(accounts, play)

    for folder in folders.values():
        (folder / "denied").unlink()
    limited = accounts.play("apply", "--limit", "localhost,shop", **settings).assert_failed()
    assert "Skipped, because --limit leaves them out: " in limited.words
    assert (configured(), labelled()) == ([first], [])
    done = accounts.play("apply", **settings).assert_succeeded()
    assert (sorted(configured(f"{PARAMETER}_stable")), labelled()) == (sorted(folders), ["shop", "blog"])
    assert {account: cells[-1] for account, cells in table(done).items()} == dict.fromkeys(accounts.ids, "ok")
