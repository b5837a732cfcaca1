"""Many accounts in one run: each is a host, has its own session, and no failure of one is another's.

The role in each has the policies of the template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from accounts import OWN, ROLE, Accounts, table, three_accounts
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
    onprem_host,
)
from policies import example
from published import content
from states import States

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import saved_key_description

CONFIG = content("getting_started", "json")
OTHER = {"agent": {"metrics_collection_interval": 10}}
SESSION_SIGNS = ("ASIA", "FwoGZX")
"""The beginning of the ID of a temporary access key, and of the emulator's session tokens."""
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


def stats_of(play: Play) -> dict[str, Any]:
    """The data that a run passes on to other jobs of AWX."""
    [found] = [each.result["ansible_stats"] for each in play.results if "ansible_stats" in each.result]
    assert (found["per_host"], found["aggregate"]) == (False, False)
    return dict(found["data"]["cloudwatch_agent"])


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


def assert_sessions_are_secret(accounts: Accounts, play: Play) -> None:
    """Assert that no session is in an output, in a file or in a call to another account."""
    sessions = {call.access_key for call in play.calls if call.access_key.startswith(SESSION_SIGNS[0])}
    assert len(sessions) >= 3
    kept = [path.read_text(errors="replace") for path in accounts.controller.home.rglob("*") if path.is_file()]
    for text in (play.output, *kept):
        assert [secret for secret in (*sessions, SESSION_SIGNS[1]) if secret in text] == []
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
    assert left in down.message
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
    last = {each.host: str(each.result["msg"]) for each in mixed.failures}
    assert {account: last[account] for account, reason in reasons.items() if reason not in last[account]} == {}
    assert [account for account, reason in reasons.items() if reason not in mixed.words] == []
    assert all(last[account].startswith(f"The work in account {account} failed: ") for account in ("twins", "wiki"))
    assert accounts.principals(mixed) == {ids["blog"], ids["shop"], OWN}
    assert {call.principal.split(":")[4] for call in mixed.calls if call.write} <= {ids["blog"], ids["shop"]}
    assert sum(call.action == "AssumeRole" for call in mixed.calls) == 2
    assert stats_of(mixed)["failed_accounts"] == 5
    assert not any(map(accounts.is_window_open, ids))
    for account, config in (("shop", OTHER), ("blog", OTHER), ("wiki", CONFIG)):
        assert accounts.state(account) == accounts.expected(account, config)


def test_every_account_is_verified_and_audited(accounts: Accounts) -> None:
    """One is not read, because its credentials are the controller's own, which belong to none of the accounts."""
    ids, file = accounts.ids, accounts.controller.home / "audit.json"
    own = {"cwagent_account_id": ids["shop"]}
    hosts = {"shop": own, **{each: accounts.host(each) for each in ("blog", "wiki")}}
    play = accounts.play("audit", accounts=hosts, cwagent_audit_fail_at="none", cwagent_report_files=str(file))
    assert "Accounts that were not read: 1." in play.assert_failed().message
    assert play.writes == []
    found = {each["account"]["label"]: each for each in json.loads(file.read_text())["accounts"]}
    assert [label for label, each in found.items() if "error" in each] == ["shop"]
    assert found["shop"]["error"].startswith(f"The credentials belong to account {OWN}, not to {ids['shop']}.")
    read = {label: each["account"] for label, each in found.items() if "error" not in each}
    assert {label: (each["id"], each["regions"]) for label, each in read.items()} == {
        label: (ids[label], [accounts.controller.aws.region]) for label in ("blog", "wiki")
    }
    actions = {call.action for call in play.calls if f":{OWN}:" in call.principal}
    assert actions == {"AssumeRole", "GetCallerIdentity"}
    stats = stats_of(play)
    assert stats["unread_accounts"] == 1
    assert stats["findings"].keys() == {"notice", "warning", "error"}

    playbooks = sorted((CHECKOUT / "playbooks").iterdir())
    verified = accounts.play("verify", cwagent_verify_from="none").assert_succeeded()
    assert sorted((CHECKOUT / "playbooks").iterdir()) == playbooks, "no file was requested"
    assert {*table(verified)} == {*ids}
    assert "FAILED" not in verified.words
    assert verified.writes == []


def test_a_configuration_is_applied_to_one_server_of_all_accounts_first(accounts: Accounts) -> None:
    """Nobody connects to the servers, which filters have found. The agents of wiki are not installed."""
    aws = accounts.controller.aws
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
    assert [each for each in folders if each != first and each not in play.message] == []
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
    assert "Skipped, because --limit leaves them out: " in limited.message
    assert (configured(), labelled()) == ([first], [])
    done = accounts.play("apply", **settings).assert_succeeded()
    assert (sorted(configured(f"{PARAMETER}_stable")), labelled()) == (sorted(folders), ["shop", "blog"])
    assert {account: cells[-1] for account, cells in table(done).items()} == dict.fromkeys(accounts.ids, "ok")
