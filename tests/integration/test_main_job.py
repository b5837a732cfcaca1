"""site.yml from an empty account to a stored configuration: foretold by check mode, done, and done again."""

from __future__ import annotations

import configparser
import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    Play,
    TaskResult,
    Workplace,
    account,
    make_role,
    make_user,
    put_on,
)

pytestmark = pytest.mark.main_job

CONFIG = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}
APP = "shop-app"
ADMIN_INLINE = [WINDOW_POLICY]
"""The inline policies of the administrators: the admin window, closed."""
USERS = {
    f"{SERVER_USER}-db1": (SERVER_POLICY, []),
    f"{SERVER_USER}-db2": (SERVER_POLICY, []),
    ADMIN_USER: (ADMIN_POLICY, ADMIN_INLINE),
}
ROLES = {
    SERVER_ROLE: ([SERVER_POLICY], []),
    ADMIN_ROLE: ([ADMIN_POLICY], ADMIN_INLINE),
    APP: (["AmazonS3ReadOnlyAccess"], []),
}


@dataclass(frozen=True)
class Job:
    """The runs, and the account before and after each."""

    at: Workplace
    instances: dict[str, str]
    controller: dict[str, str]
    before: dict[str, Any]
    foretold: Play
    after_check: dict[str, Any]
    saved_in_check: bool
    done: Play
    after: dict[str, Any]
    again: Play


@pytest.fixture(scope="module")
def job(shared: Workplace) -> Job:
    aws = shared.aws
    admin, web1, web2 = aws.instances(3, stopped=1)
    make_role(aws, APP, "AmazonS3ReadOnlyAccess")
    put_on(aws, admin, APP)
    controller = make_user(aws, "controller", policy="AdministratorAccess")
    shared.file("agent.json", CONFIG)
    inventory = shared.inventory(
        {
            "ec2_servers": {"web1": shared.on_instance(web1), "web2": shared.on_instance(web2)},
            "ec2_admin": {"admin1": shared.on_instance(admin)},
            "onprem_servers": {"db1": {}, "db2": {}},
            "onprem_admin": {"ops1": {}},
        }
    )

    def run(*arguments: str) -> Play:
        files = {
            "cwagent_config_file": str(shared.home / "agent.json"),
            "cwagent_credentials_dir": str(shared.credentials),
        }
        return shared.play(inventory, "site", "--diff", *arguments, env=controller, **files).succeeded()

    before = account(aws)
    foretold = run("--check")
    after_check, saved_in_check = account(aws), shared.credentials.exists()
    done = run("-vvvv")
    after = account(aws)
    ids = {"admin1": admin, "web1": web1, "web2": web2}
    return Job(shared, ids, controller, before, foretold, after_check, saved_in_check, done, after, run())


def test_check_mode_writes_nothing_and_fails_nowhere(job: Job) -> None:
    assert job.foretold.writes == []
    assert job.foretold.failures == []
    assert job.after_check == job.before
    assert not job.saved_in_check


def test_check_mode_foretells_every_task(job: Job) -> None:
    assert job.foretold.story == job.done.story
    assert len(job.done.changes) >= 6


def timeless(value: Any) -> Any:
    """Results without what differs from run to run: times, and what is null in check mode since only AWS knows it."""
    if isinstance(value, dict):
        given = ("arn", "id", "access_key_id")
        return {key: timeless(each) for key, each in value.items() if key not in given}
    if isinstance(value, list):
        return [timeless(each) for each in value]
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", value) if isinstance(value, str) else value


@pytest.mark.parametrize("key", ["steps", "diff"])
def test_check_mode_foretells_what_every_task_changes(job: Job, key: str) -> None:
    """But for the tasks that swap, whose starting point is what the one before has really done."""

    def changed(play: Play) -> list[TaskResult]:
        return [each for each in play.results if each.changed and ".store_config : " not in each.task]

    for foretold, done in zip(changed(job.foretold), changed(job.done), strict=True):
        assert timeless(foretold.of_items(key)) == timeless(done.of_items(key)), foretold.task
        assert foretold.result.keys() - {"warnings"} == done.result.keys() - {"warnings"}, foretold.task


def test_the_account_has_the_objects_of_the_design_and_no_others(job: Job) -> None:
    after = job.after
    held = {name: (role["policies"], list(role["inline"])) for name, role in after["roles"].items()}
    assert held == ROLES
    assert after["profiles"] == {name: [name] for name in ROLES}
    users = {name: user for name, user in after["users"].items() if name != "controller"}
    assert {name: (*user["policies"], list(user["inline"])) for name, user in users.items()} == {
        name: (policy, inline) for name, (policy, inline) in USERS.items()
    }
    assert {name: len(user["keys"]) for name, user in users.items()} == dict.fromkeys(USERS, 1)
    assert after["policies"] == []
    assert after["parameters"] == {job.at.aws.region: {PARAMETER: CONFIG}}
    for role in (SERVER_ROLE, ADMIN_ROLE):
        [statement] = after["roles"][role]["trust"]["Statement"]
        assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}


def test_every_server_carries_a_profile_and_the_administrator_its_earlier_one(job: Job) -> None:
    web1, web2, admin = (job.instances[host] for host in ("web1", "web2", "admin1"))
    assert job.after["carried"] == {web1: SERVER_ROLE, web2: SERVER_ROLE, admin: APP}
    assert job.after["roles"][APP] == job.before["roles"][APP]
    assert job.after["tags"] == job.before["tags"]


def test_a_kept_profile_is_warned_of(job: Job) -> None:
    warned = f"instance {job.instances['admin1']} keeps instance profile '{APP}', whose role lacks {SERVER_POLICY}"
    assert warned in " ".join(job.done.output.split())


def test_the_instance_itself_stored_the_configuration(job: Job) -> None:
    [stored] = [call for call in job.done.calls if call.action == "PutParameter"]
    assert stored.principal.endswith(f":assumed-role/{ADMIN_ROLE}/{job.instances['admin1']}")
    assert stored.status == 200


def test_the_admin_profile_is_put_on_once_and_comes_off_again(job: Job) -> None:
    assert job.done.put_on == [SERVER_ROLE, SERVER_ROLE, ADMIN_ROLE, APP]


def test_a_second_run_changes_nothing_and_makes_no_writing_call(job: Job) -> None:
    assert job.again.changes == []
    assert job.again.writes == []


def test_keys_are_saved_for_their_owner_alone(job: Job) -> None:
    files = {path.name: path for path in job.at.credentials.iterdir()}
    assert files.keys() == {f"{name}.credentials" for name in USERS}
    assert stat.S_IMODE(job.at.credentials.stat().st_mode) == 0o700
    for name in USERS:
        path = files[f"{name}.credentials"]
        parser = configparser.ConfigParser()
        parser.read(path)
        saved = parser["AmazonCloudWatchAgent"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [saved["aws_access_key_id"]] == job.after["users"][name]["keys"]
        assert saved["region"] == job.at.aws.region


def sessions(job: Job) -> dict[str, dict[str, str]]:
    """By access key, the credentials the admin instance had in the run: it gets the same ones again for a role."""
    aws, admin = job.at.aws, job.instances["admin1"]
    found = {}
    for profile in (ADMIN_ROLE, APP):
        put_on(aws, admin, profile)
        session = aws.instance_credentials(admin)
        found[session["AccessKeyId"]] = session
    return found


def saved_secrets(folder: Path) -> set[str]:
    found = set()
    for path in folder.iterdir():
        parser = configparser.ConfigParser()
        parser.read(path)
        found.add(parser["AmazonCloudWatchAgent"]["aws_secret_access_key"])
    return found


def test_no_secret_is_shown_or_left_behind_at_the_highest_verbosity(job: Job) -> None:
    of_instance = sessions(job)
    assert {call.access_key for call in job.done.calls if call.action == "PutParameter"} <= of_instance.keys()
    secrets = saved_secrets(job.at.credentials) | {job.controller["AWS_SECRET_ACCESS_KEY"]}
    secrets |= {session[key] for session in of_instance.values() for key in ("SecretAccessKey", "Token")}
    assert len(secrets) == len(USERS) + 1 + 4
    assert "ESTABLISH LOCAL CONNECTION" in job.done.output
    places = {"screen": job.done.output, "results": json.dumps([each.result for each in job.done.results])}
    left = [path for path in job.at.home.rglob("*") if path.is_file() and path.parent != job.at.credentials]
    places |= {str(path): path.read_text(errors="replace") for path in left}
    leaks = [(place, secret[:4]) for place, text in places.items() for secret in secrets if secret in text]
    assert leaks == []
