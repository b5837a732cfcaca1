"""site.yml from an empty account to a stored configuration: in check mode, in a real run, and in a second run.

The group of the admin instance has the variables, which count everywhere.
"""

from __future__ import annotations

import configparser
import json
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator.snapshot import snapshot
from fleet import Fleet
from harness import (
    ADMIN_POLICY,
    ADMIN_USER,
    HERE,
    PARAMETER,
    SERVER_POLICY,
    SERVER_USER,
    WINDOW_POLICY,
    Controller,
    Play,
    assert_complete_report,
    associate,
    create_role,
    create_user,
)
from printed import assert_brief

from benchmarks import trace

pytestmark = pytest.mark.main_job

CONFIG = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}
APP, SERVER_ROLE, ADMIN_ROLE = "shop-app", "Monitoring-Server", "Monitoring-Admin"
GROUP_VARIABLES = {
    "cwagent_admin_role_name": ADMIN_ROLE,
    "cwagent_server_role_name": SERVER_ROLE,
    "cwagent_config_file": "agent.json",
    "cwagent_tags": {"team": "ops"},
}
# Without reads that wait after the last write of a task. In the task that stores, other writes follow these reads.
MOST_CALLS, MOST_CALLS_OF_A_SECOND_RUN = 75, 26
ENVIRONMENT = {"HTTPS_PROXY": "http://user:Proxy-Pass@proxy:3128", "MY_SECRET": "My-Se/CrEt"}
"""More variables that the admin instance needs. No emulator uses them."""
ADMIN_INLINE = [WINDOW_POLICY]
"""The inline policies of the admin principals: the closed admin window."""
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
    """The runs, and the account before and after them.

    :param necessary: the number of calls of the first run, without reads that wait.
    """

    controller: Controller
    instances: dict[str, str]
    credentials: dict[str, str]
    before: dict[str, Any]
    predicted: Play
    after_check: dict[str, Any]
    saved_in_check: bool
    done: Play
    necessary: int
    after: dict[str, Any]
    again: Play


@pytest.fixture(scope="module")
def job(shared_controller: Controller) -> Job:
    fleet, aws = Fleet(shared_controller), shared_controller.aws
    create_role(aws, APP, "AmazonS3ReadOnlyAccess")
    fleet.add_instance("admin1", APP, group="ec2_admin")
    fleet.groups["ec2_admin"]["admin1"]["cwagent_environment"].update(ENVIRONMENT)
    for host in ("web1", "web2"):
        fleet.add_instance(host)
    aws.client("ec2").stop_instances(InstanceIds=[fleet.instances["web2"]])
    for host in ("db1", "db2"):
        fleet.add_host(host)
    fleet.add_host("ops1", "onprem_admin")
    credentials = create_user(aws, "controller", policy="AdministratorAccess")
    fleet.controller.file("agent.json", CONFIG)
    (shared_controller.home / "group_vars").mkdir()
    shared_controller.file("group_vars/cwagent_ec2_admin.yml", GROUP_VARIABLES)
    traced = shared_controller.home / "traced.jsonl"

    def run(*arguments: str) -> Play:
        env = {
            **credentials,
            **trace.settings(traced),
            "ANSIBLE_CALLBACK_PLUGINS": f"{HERE / 'callback'}:{trace.CALLBACKS}",
            "ANSIBLE_CALLBACKS_ENABLED": "recorded,traced",
        }
        return fleet.play("site", "--diff", *arguments, env=env).assert_succeeded()

    before = snapshot(aws)
    predicted = run("--check")
    after_check, saved_in_check = snapshot(aws), shared_controller.credentials.exists()
    began = time.time()
    done = run("-vvvv")
    necessary = len(done.calls) - sum(task.waits for task in trace.read(traced, done.calls, began))
    after = snapshot(aws)
    return Job(
        *(shared_controller, fleet.instances, credentials, before, predicted, after_check, saved_in_check),
        *(done, necessary, after, run()),
    )


def test_the_environment_of_the_instance_is_not_shown(job: Job) -> None:
    for play in (job.predicted, job.done, job.again):
        shown = play.output + json.dumps([each.result for each in play.results])
        assert [value for value in ENVIRONMENT.values() if value in shown] == []
        assert "Proxy-Pass" not in shown


def test_check_mode_writes_nothing_and_does_not_fail(job: Job) -> None:
    assert job.predicted.writes == []
    assert job.predicted.failures == []
    assert job.after_check == job.before
    assert not job.saved_in_check


def test_check_mode_predicts_every_task(job: Job) -> None:
    assert job.done.outcomes == job.predicted.outcomes
    assert len(job.done.changed_tasks) >= 5

    def keys(play: Play) -> list[Any]:
        """The keys of the results. A task of store_config is left out, because it needs real results."""
        changed = [each for each in play.results if each.changed and ".store_config : " not in each.task]
        return [(each.task, each.result.keys() - {"warnings"}) for each in changed]

    assert keys(job.predicted) == keys(job.done)


def report_lines(play: Play) -> list[str]:
    """The last report as it is printed."""
    printed = play.output.split("TASK [Report what was done]")[1].split("PLAY RECAP")[0]
    return printed.splitlines()


def test_the_report_has_every_step_with_counts(job: Job) -> None:
    assert_complete_report(job.done)
    assert f"saveitto{job.controller.credentials}" in "".join("".join(job.done.report).split())


def test_check_mode_shows_the_steps_diffs_and_warnings_of_the_run(job: Job) -> None:
    """Only the instance knows whether it may read the configuration; this one may not, which the run warns of."""
    *predicted, (*planned, warnings) = job.predicted.changes
    *done, (*stored, found) = job.done.changes
    assert predicted == done
    assert planned == stored
    [unread] = [each for each in found if each not in warnings]
    assert "cannot read it with its own profile" in unread


def test_the_report_fits_a_terminal_of_100_columns(job: Job) -> None:
    long = [line for play in (job.predicted, job.done, job.again) for line in report_lines(play) if len(line) > 100]
    # A path that is longer than a line gets its own line, so that it can be copied.
    assert [line for line in long if " " in line.strip(' ",')] == []


def test_the_output_is_brief(job: Job) -> None:
    assert_brief(job.predicted, "site, checked")


def test_check_mode_reports_the_planned_steps(job: Job) -> None:
    assert re.fullmatch(r"\d+ would be created, \d+ would be updated:", job.predicted.report[0])


def test_the_run_prints_how_to_clean_up_before_it_opens_the_window(job: Job) -> None:
    advice, opening = "run cwagent.iam.restore", "acquire the permission to store"
    assert job.done.words.index(advice) < job.done.words.index(opening)
    assert advice not in job.predicted.words + job.again.words


def test_the_account_has_the_objects_of_the_design_and_no_others(job: Job) -> None:
    after = job.after
    roles = {name: (role["policies"], list(role["inline"])) for name, role in after["roles"].items()}
    assert roles == ROLES
    assert after["instance_profiles"] == {name: [name] for name in ROLES}
    users = {name: user for name, user in after["users"].items() if name != "controller"}
    assert {name: (*user["policies"], list(user["inline"])) for name, user in users.items()} == {
        name: (policy, inline) for name, (policy, inline) in USERS.items()
    }
    assert {name: len(user["keys"]) for name, user in users.items()} == dict.fromkeys(USERS, 1)
    tags = {"team": "ops", "cwagent:managed": "created"}
    assert after["roles"][SERVER_ROLE]["tags"] == after["roles"][ADMIN_ROLE]["tags"] == tags
    [key] = users[ADMIN_USER]["keys"]
    found = {name: user["tags"] for name, user in users.items()}
    assert found == {**dict.fromkeys(USERS, tags), ADMIN_USER: {**tags, "cwagent:saved-key": key}}
    assert after["customer_policies"] == []
    assert after["parameters"] == {job.controller.aws.region: {PARAMETER: CONFIG}}
    for role in (SERVER_ROLE, ADMIN_ROLE):
        [statement] = after["roles"][role]["trust"]["Statement"]
        assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}


def test_servers_have_the_server_profile_and_the_admin_instance_its_earlier_one(job: Job) -> None:
    web1, web2, admin = (job.instances[host] for host in ("web1", "web2", "admin1"))
    assert job.after["associations"] == {web1: SERVER_ROLE, web2: SERVER_ROLE, admin: APP}
    assert job.after["roles"][APP] == job.before["roles"][APP]
    assert job.after["instance_tags"] == job.before["instance_tags"]


def test_an_existing_profile_is_kept_with_a_warning(job: Job) -> None:
    expected = f"instance {job.instances['admin1']} keeps instance profile '{APP}', whose role lacks {SERVER_POLICY}"
    assert expected in job.done.words


def test_the_instance_itself_stored_the_configuration(job: Job) -> None:
    [stored] = [call for call in job.done.calls if call.action == "PutParameter"]
    assert stored.principal.endswith(f":assumed-role/{ADMIN_ROLE}/{job.instances['admin1']}")
    assert stored.status == 200


def test_the_admin_profile_is_associated_once_and_replaced_again(job: Job) -> None:
    assert job.done.associated == [SERVER_ROLE, SERVER_ROLE, APP, ADMIN_ROLE, APP]


def test_a_second_run_changes_and_writes_nothing(job: Job) -> None:
    assert (job.again.changed_tasks, job.again.writes, job.again.report) == ([], [], ["Nothing to do."])


def test_the_runs_make_few_calls(job: Job) -> None:
    assert job.necessary <= MOST_CALLS
    assert len(job.again.calls) <= MOST_CALLS_OF_A_SECOND_RUN


def test_the_folder_of_saved_keys_is_private_and_has_one_file_per_user(job: Job) -> None:
    files = {path.name for path in job.controller.credentials.iterdir()}
    assert files == {f"{name}.credentials" for name in USERS}
    assert stat.S_IMODE(job.controller.credentials.stat().st_mode) == 0o700


@pytest.mark.parametrize("user", USERS)
def test_the_access_key_of_a_user_is_saved_in_a_private_file(job: Job, user: str) -> None:
    path = job.controller.credentials / f"{user}.credentials"
    parser = configparser.ConfigParser()
    parser.read(path)
    saved = parser["AmazonCloudWatchAgent"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [saved["aws_access_key_id"]] == list(job.after["users"][user]["keys"])
    assert saved["region"] == job.controller.aws.region


def sessions(job: Job) -> dict[str, dict[str, str]]:
    """By access key, the credentials of the admin instance in the run. The emulator issues them once for a role."""
    aws, admin = job.controller.aws, job.instances["admin1"]
    found = {}
    for profile in (ADMIN_ROLE, APP):
        associate(aws, admin, profile)
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


def test_no_secret_is_in_verbose_output_or_in_files(job: Job) -> None:
    instance_sessions = sessions(job)
    assert {call.access_key for call in job.done.calls if call.action == "PutParameter"} <= instance_sessions.keys()
    secrets = saved_secrets(job.controller.credentials) | {job.credentials["AWS_SECRET_ACCESS_KEY"]}
    secrets |= {session[key] for session in instance_sessions.values() for key in ("SecretAccessKey", "Token")}
    assert len(secrets) == len(USERS) + 1 + 4
    assert "ESTABLISH LOCAL CONNECTION" in job.done.output
    texts = {"screen": job.done.output, "results": json.dumps([each.result for each in job.done.results])}
    left = [
        path for path in job.controller.home.rglob("*") if path.is_file() and path.parent != job.controller.credentials
    ]
    texts |= {str(path): path.read_text(errors="replace") for path in left}
    leaks = [(place, secret[:4]) for place, text in texts.items() for secret in secrets if secret in text]
    assert leaks == []
