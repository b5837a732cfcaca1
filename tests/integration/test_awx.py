"""The example project run by ansible-runner, as AWX runs it, with the collection installed from its tarball.

A job has its own folder, which is deleted afterwards. The inventory is a script, survey answers have the types of their
questions and are never templates, credentials are environment variables.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from awx import check_answers, job_variables
from awx.project import PROJECT, read, template
from emulator import Call, Emulator, Fault, Kind, program_environment
from emulator.snapshot import associated_profiles, configurations, snapshot
from emulator.testing import wait_until
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    CHECKOUT,
    CLOSED_WINDOW,
    LOCAL_CONNECTION,
    SERVER_ROLE,
    SERVER_USER,
    Controller,
    allow,
    create_user,
)
from test_accounts import FILTERED, Fleet

# The inventory sets this name, and no job prompts for it.
APPLICATION = "AmazonCloudWatch-app"
CONFIG, OTHER = {"agent": {"metrics_collection_interval": 60}}, {"agent": {"metrics_collection_interval": 30}}
JOB_SECONDS = 1200
"""The time limit of a job."""
NEWEST = Path(sys.prefix)
OLDEST = Path(os.environ.get("OLDEST", NEWEST))
LONG_DELAY = 600
"""Seconds of a call that is answered only when the test has ended the job that makes it."""


class UnsafeTextDumper(yaml.SafeDumper):
    """Writes every string with the tag !unsafe, so that Ansible does not treat it as a template."""

    def represent_data(self, data: Any) -> Any:
        return self.represent_scalar("!unsafe", data) if isinstance(data, str) else super().represent_data(data)


@dataclass(frozen=True)
class Job:
    """The data that AWX keeps of a job, and the AWS calls of the job."""

    status: str
    output: str
    events: list[dict[str, Any]]
    calls: list[Call]

    @property
    def writes(self) -> list[str]:
        return [call.action for call in self.calls if call.write]

    @property
    def changed_tasks(self) -> list[str]:
        return [each["task"] for each in self._results("runner_on_ok") if each["res"].get("changed")]

    @property
    def artifacts(self) -> dict[str, Any]:
        """The data that the job passes on to other jobs, and that the API of AWX shows."""
        [stats] = [each["event_data"] for each in self.events if each["event"] == "playbook_on_stats"]
        return dict(stats["artifact_data"]["cloudwatch_agent"])

    @property
    def words(self) -> str:
        """The output on one line."""
        return " ".join(self.output.split())

    @property
    def message(self) -> str:
        """The messages of all failed tasks and items of loops."""
        failed = [*self._results("runner_item_on_failed"), *self._results("runner_on_failed")]
        return " ".join(" ".join(str(each["res"].get("msg", "")) for each in failed).split())

    def _results(self, kind: str) -> list[dict[str, Any]]:
        return [each["event_data"] for each in self.events if each["event"] == kind]

    def assert_succeeded(self) -> Job:
        assert self.status == "successful", self.output
        return self

    def assert_failed(self) -> Job:
        assert self.status == "failed", self.output
        assert "Traceback" not in self.output
        return self


@dataclass(frozen=True)
class Awx:
    """The data from which AWX starts jobs."""

    controller: Controller
    collections: Path
    hosts: dict[str, dict[str, Any]]
    groups: dict[str, list[str]]
    deployer: tuple[str, dict[str, str]]
    credential: dict[str, str]

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    def inventory(self, number: int = 1, slices: int = 1) -> str:
        """The inventory script of all hosts, or of one slice: every nth host in the order of their names."""
        names = sorted(self.hosts)[number - 1 :: slices]
        members = {group: [host for host in hosts if host in names] for group, hosts in self.groups.items()}
        groups = {group: {"hosts": hosts} for group, hosts in members.items() if hosts}
        variables = {
            "cwagent_region": self.aws.region,
            "cwagent_parameter_name": APPLICATION,
            "cwagent_key_store_kms_key_id": "alias/cwagent-credentials",
        }
        everywhere = {"hosts": [], "children": list(self.groups), "vars": variables}
        listed = {"all": everywhere, **groups, "_meta": {"hostvars": {name: self.hosts[name] for name in names}}}
        return f"#! /usr/bin/env python3\nprint({json.dumps(listed)!r})\n"

    def create_folder(
        self, playbook: str, inventory: str, command_line: str, config: object, answers: Mapping[str, Any]
    ) -> Path:
        """Create the folder of a job before it starts, with the answers that AWX accepts."""
        folder = self.controller.home / "runner"
        for name in ("inventory", "env"):
            (folder / name).mkdir(parents=True)
        shutil.copytree(PROJECT, folder / "project")
        (folder / "project" / "agent.json").write_text(json.dumps(config))
        shutil.copytree(self.collections, folder / "requirements_collections")
        (folder / "inventory" / "hosts").write_text(inventory)
        (folder / "inventory" / "hosts").chmod(stat.S_IRWXU)
        (folder / "env" / "cmdline").write_text(f"-u root {command_line}")
        (folder / "env" / "settings").write_text(json.dumps({"pexpect_timeout": 1}))
        by_awx = {"awx_job_id": 7, "awx_job_launch_type": "manual", "awx_user_name": "admin"}
        survey = template(playbook)
        extra_vars = {**job_variables(survey, check_answers(survey, dict(answers))), **by_awx}
        assert answers.keys() <= extra_vars.keys(), "AWX ignores what is no answer to a question"
        (folder / "env" / "extravars").write_text(yaml.dump(extra_vars, Dumper=UnsafeTextDumper))
        return folder

    def start(
        self,
        folder: Path,
        playbook: str,
        credential: Mapping[str, str],
        python: Path = NEWEST,
    ) -> subprocess.Popen[bytes]:
        """Start a job. AWX starts it from another folder than the project, and PWD keeps the name of that folder."""
        (folder / "env" / "envvars").write_text(
            json.dumps(
                {
                    **credential,
                    "AWS_ENDPOINT_URL": self.aws.endpoint,
                    "HOME": str(folder),
                    "ANSIBLE_COLLECTIONS_PATH": str(folder / "requirements_collections"),
                    "ANSIBLE_FORCE_COLOR": "True",
                    "ANSIBLE_HOST_KEY_CHECKING": "False",
                    "ANSIBLE_RETRY_FILES_ENABLED": "False",
                    "AWX_PRIVATE_DATA_DIR": str(folder),
                    "JOB_ID": "7",
                }
            )
        )
        return subprocess.Popen(
            [
                NEWEST / "bin" / "ansible-runner",
                "run",
                folder,
                "--playbook",
                f"{playbook}.yml",
                "--ident",
                "7",
                "--quiet",
            ],
            cwd=self.controller.home,
            env=program_environment(
                {"PWD": str(self.controller.home), "PATH": os.pathsep.join([str(python / "bin"), os.environ["PATH"]])},
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def finish(self, folder: Path, since: int) -> Job:
        """Delete the folder of a job and return what AWX keeps. Assert that no file contains a secret."""
        artifacts = folder / "artifacts" / "7"
        files = (json.loads(path.read_text()) for path in artifacts.glob("job_events/*.json"))
        events = sorted(files, key=lambda event: int(event["counter"]))
        job = Job((artifacts / "status").read_text(), (artifacts / "stdout").read_text(), events, self.aws.calls(since))
        # The runner writes its environment to a file, which AWX removes.
        shown = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "env"]
        texts = {path: path.read_text(errors="replace") for path in shown if path != artifacts / "command"}
        secrets = self.secrets()
        assert [(path, secret[:4]) for path, text in texts.items() for secret in secrets if secret in text] == []
        shutil.rmtree(folder)
        return job

    def launch(
        self,
        playbook: str,
        command_line: str = "",
        *,
        inventory: str = "",
        credential: Mapping[str, str] | None = None,
        config: object = CONFIG,
        python: Path = NEWEST,
        **answers: Any,
    ) -> Job:
        """Run a job to its end."""
        folder = self.create_folder(playbook, inventory or self.inventory(), command_line, config, answers)
        since = self.aws.mark()
        credential = self.credential if credential is None else credential
        self.start(folder, playbook, credential, python).wait(JOB_SECONDS)
        return self.finish(folder, since)

    def saved_keys(self) -> dict[str, dict[str, str]]:
        """By user, the access keys that are saved in Parameter Store, as the project configures it."""
        ssm = self.aws.client("ssm")
        found = ssm.get_parameters_by_path(Path="/cwagent/credentials/", WithDecryption=True)["Parameters"]
        return {each["Name"].rpartition("/")[2]: json.loads(each["Value"]) for each in found}

    def secrets(self) -> set[str]:
        """All secrets, which no job may show."""
        found = {self.credential[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
        found |= {saved["aws_secret_access_key"] for saved in self.saved_keys().values()}
        for host in self.hosts.values():
            if "instance_id" in host and associated_profiles(self.aws)[host["instance_id"]]:
                session = self.aws.instance_credentials(host["instance_id"])
                found |= {session["SecretAccessKey"], session["Token"]}
        return found

    def assert_clean(self) -> None:
        """Assert that all instances are servers, the window is closed and no restore tag is left."""
        assert set(associated_profiles(self.aws).values()) == {SERVER_ROLE}
        account = snapshot(self.aws)
        assert [each["Statement"] for each in account["roles"][ADMIN_ROLE]["inline"].values()] == [[CLOSED_WINDOW]]
        assert list(account["instance_tags"][self.aws.region].values()) == [{}] * len(associated_profiles(self.aws))


DEPLOYER, EXTERNAL_ID = "Deployer", "shop"


def create_deployer(aws: Emulator) -> tuple[str, dict[str, str]]:
    """Create a role with all permissions, and an access key that may only assume it with an external id."""
    key = create_user(aws, "awx", allow("sts:AssumeRole"))
    account_id = aws.client("sts").get_caller_identity()["Account"]
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account_id}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }
    trust_policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = aws.client("iam").create_role(RoleName=DEPLOYER, AssumeRolePolicyDocument=trust_policy)["Role"]["Arn"]
    aws.client("iam").attach_role_policy(RoleName=DEPLOYER, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    return role, key


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as AWX installs it."""
    folder = tmp_path_factory.mktemp("awx")
    environ = program_environment({"ANSIBLE_HOME": str(folder / "ansible"), "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")})

    def galaxy(*arguments: str | Path) -> None:
        subprocess.run(
            ["ansible-galaxy", "collection", *arguments], cwd=folder, env=environ, check=True, capture_output=True
        )

    galaxy("build", CHECKOUT, "--output-path", folder)
    [tarball] = folder.glob("cwagent-iam-*.tar.gz")
    galaxy("install", tarball, "--no-deps", "--offline", "--collections-path", folder / "requirements_collections")
    return folder / "requirements_collections"


@pytest.fixture(scope="module")
def awx(shared_controller: Controller, collections: Path) -> Awx:
    aws = shared_controller.aws
    ids = dict(zip(("admin1", "web1", "web2"), aws.instances(3), strict=True))
    environ = {
        host: {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.metadata_endpoint(instance)} for host, instance in ids.items()
    }
    hosts: dict[str, dict[str, Any]] = {
        **{host: {**LOCAL_CONNECTION, "instance_id": ids[host], "cwagent_environment": environ[host]} for host in ids},
        **{host: dict(LOCAL_CONNECTION) for host in ("db1", "ops1")},
    }
    groups = {
        "cwagent_ec2_servers": ["web1", "web2"],
        "cwagent_ec2_admin": ["admin1"],
        "cwagent_onprem_servers": ["db1", "ops1"],
        "cwagent_onprem_admin": ["ops1"],
    }
    role, key = create_deployer(aws)
    user = aws.client(
        "sts", credentials={"AccessKeyId": key["AWS_ACCESS_KEY_ID"], "SecretAccessKey": key["AWS_SECRET_ACCESS_KEY"]}
    )
    session = user.assume_role(RoleArn=role, RoleSessionName="awx", ExternalId=EXTERNAL_ID)["Credentials"]
    credential = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SECURITY_TOKEN": session["SessionToken"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    return Awx(shared_controller, collections, hosts, groups, (role, key), credential)


@dataclass(frozen=True)
class Jobs:
    """The site job in check mode, in a real run, and in a second run with the oldest supported ansible-core."""

    before: dict[str, Any]
    predicted: Job
    after_check: dict[str, Any]
    done: Job
    after: dict[str, Any]
    again: Job


@pytest.fixture(scope="module")
def jobs(awx: Awx) -> Jobs:
    answers: dict[str, Any] = {
        "cwagent_config_file": "agent.json",
        "cwagent_ssm_policy": "AmazonSSMManagedInstanceCore",
    }
    before = snapshot(awx.aws)
    predicted = awx.launch("site", "--check --diff", **answers)
    after_check = snapshot(awx.aws)
    done = awx.launch("site", "--diff -vvv", **answers)
    after = snapshot(awx.aws)
    return Jobs(before, predicted, after_check, done, after, awx.launch("site", python=OLDEST, **answers))


@pytest.fixture
def finished(awx: Awx, jobs: Jobs) -> Awx:
    """AWX after the site job."""
    jobs.again.assert_succeeded()
    return awx


def test_check_mode_changes_nothing_and_predicts_the_job(jobs: Jobs) -> None:
    assert jobs.predicted.assert_succeeded().writes == []
    assert jobs.after_check == jobs.before
    assert jobs.predicted.changed_tasks == jobs.done.changed_tasks
    assert jobs.predicted.artifacts == {**jobs.done.artifacts, "check_mode": True}
    assert jobs.done.artifacts["changes"] > 0


def test_site_with_the_answers_of_the_survey(awx: Awx, jobs: Jobs) -> None:
    """The configuration comes from the project, from whichever folder the job was started."""
    jobs.done.assert_succeeded()
    assert set(associated_profiles(awx.aws).values()) == {SERVER_ROLE}
    assert configurations(awx.aws) == {APPLICATION: CONFIG}
    assert "AmazonSSMManagedInstanceCore" in jobs.after["roles"][SERVER_ROLE]["policies"]
    names = {ADMIN_USER, f"{SERVER_USER}-db1", f"{SERVER_USER}-ops1"}
    assert jobs.after["users"].keys() - {"awx"} == names
    assert awx.saved_keys().keys() == names
    assert len(awx.secrets()) > len(names) + 2, "secrets of the users, of AWX and of the instances"
    [stored] = [call for call in jobs.done.calls if call.params.get("Name") == APPLICATION and call.write]
    assert f":assumed-role/{ADMIN_ROLE}/" in stored.principal
    awx.assert_clean()


def test_a_second_job_changes_nothing(jobs: Jobs) -> None:
    assert (jobs.again.assert_succeeded().changed_tasks, jobs.again.writes) == ([], [])
    assert jobs.again.artifacts["changes"] == 0


def test_the_restore_job_repairs_a_cancelled_job(finished: Awx) -> None:
    """The job gives the admin profile back before AWX kills it, and the restore job removes the restore tag.

    The restore job has its token as older AWX sets it.
    """
    answers = {"cwagent_config_file": "agent.json"}
    finished.aws.arm(Fault(Kind.DELAY, action="PutParameter", seconds=LONG_DELAY))
    folder = finished.create_folder("store_config", finished.inventory(), "", OTHER, answers)
    since = finished.aws.mark()
    running = finished.start(folder, "store_config", finished.credential)
    admin = finished.hosts["admin1"]["instance_id"]
    wait_until(lambda: associated_profiles(finished.aws)[admin] == ADMIN_ROLE)
    running.send_signal(signal.SIGTERM)
    running.wait(JOB_SECONDS)
    finished.aws.disarm()
    assert finished.finish(folder, since).status == "canceled"
    wait_until(lambda: associated_profiles(finished.aws)[admin] != ADMIN_ROLE)

    older = {key: value for key, value in finished.credential.items() if key != "AWS_SESSION_TOKEN"}
    finished.launch("restore", credential=older).assert_succeeded()
    finished.assert_clean()
    assert configurations(finished.aws) == {APPLICATION: CONFIG}


def render_credential(role: str, key: Mapping[str, str], aws: Emulator, folder: Path) -> dict[str, str]:
    """The environment from the project's credential type: a file in the job's folder, and variables with its path."""
    inputs = {
        "access_key": key["AWS_ACCESS_KEY_ID"],
        "secret_key": key["AWS_SECRET_ACCESS_KEY"],
        "role_arn": role,
        "external_id": EXTERNAL_ID,
        "region": aws.region,
    }
    definition = read("awx/credential_type.yml")[0]["tasks"][0]["args"]
    assert (
        set(definition["inputs"]["required"])
        <= {field["id"] for field in definition["inputs"]["fields"]}
        == inputs.keys()
    )
    file = folder / "rendered"
    file.write_text(jinja2.Template(definition["injectors"]["file"]["template.config"]).render(inputs))
    tower = {"filename": {"config": str(file)}}
    return {
        name: jinja2.Template(text).render(inputs, tower=tower) for name, text in definition["injectors"]["env"].items()
    }


def test_open_window_with_a_role_to_assume(finished: Awx, tmp_path: Path) -> None:
    """The credential type of the project works like AWX's own."""
    credential = render_credential(*finished.deployer, finished.aws, tmp_path)
    opened = finished.launch("open_window", credential=credential, cwagent_admin_window_minutes=40).assert_succeeded()
    assert {call.principal.split("/")[1] for call in opened.calls if call.write} == {DEPLOYER}
    assert f"admin1 can write to Parameter Store until {opened.artifacts['window_deadline']}" in opened.words
    assert associated_profiles(finished.aws)[finished.hosts["admin1"]["instance_id"]] == ADMIN_ROLE
    finished.launch("restore", credential=credential).assert_succeeded()
    finished.assert_clean()


def test_young_keys_are_not_replaced(finished: Awx) -> None:
    rotated = finished.launch(
        "rotate_keys", cwagent_key_max_age_days=30, cwagent_key_retire_after_days=0
    ).assert_succeeded()
    assert rotated.writes == []
    assert rotated.artifacts["keys"] == {"current": len(finished.saved_keys())}


def test_an_audit_counts_its_findings(finished: Awx) -> None:
    audited = finished.launch("audit", cwagent_audit_fail_at="none").assert_succeeded()
    assert audited.artifacts["unread_accounts"] == 0
    assert audited.artifacts["findings"].keys() == {"info", "low", "medium", "high"}


def test_a_sliced_job_is_refused(finished: Awx) -> None:
    """The slice without the admin instance is refused by site, the other one by teardown."""
    before = snapshot(finished.aws)
    first, second = (finished.inventory(number, 2) for number in (1, 2))
    answers: dict[str, Any] = {
        "cwagent_config_file": "agent.json",
        "cwagent_ssm_policy": "AmazonSSMManagedInstanceCore",
    }
    refused = finished.launch("site", inventory=second, **answers).assert_failed()
    assert "cwagent_ec2_admin must have exactly one host" in refused.message
    assert "job_slice_count" in refused.message
    refused = finished.launch("teardown", inventory=first, cwagent_confirm="teardown").assert_failed()
    assert (
        f"{finished.hosts['web1']['instance_id']} in {finished.aws.region} is not in the inventory" in refused.message
    )
    assert snapshot(finished.aws) == before


@pytest.mark.parametrize(("store_from", "config"), [("run_command", OTHER), ("auto", CONFIG)])
def test_the_site_job_needs_no_way_to_the_instance(finished: Awx, store_from: str, config: object) -> None:
    """The inventory is like an inventory of amazon.aws.aws_ec2, and the job has no machine credential."""
    found = {
        "instance_id": finished.hosts["admin1"]["instance_id"],
        "placement": {"region": finished.aws.region},
        "ansible_host": "192.0.2.1",
        "ansible_timeout": 1,
    }
    awx = replace(finished, hosts={**finished.hosts, "admin1": found})
    answers: dict[str, Any] = {
        "cwagent_config_file": "agent.json",
        "cwagent_ssm_policy": "AmazonSSMManagedInstanceCore",
    }
    job = awx.launch("site", config=config, cwagent_store_config_from=store_from, **answers).assert_succeeded()
    assert configurations(awx.aws) == {APPLICATION: config}
    [stored] = [call for call in job.calls if call.params.get("Name") == APPLICATION and call.write]
    assert f":assumed-role/{ADMIN_ROLE}/" in stored.principal
    awx.assert_clean()


def test_teardown_must_be_confirmed(finished: Awx) -> None:
    """Runs last, because it leaves an empty account."""
    refused = finished.launch("teardown").assert_failed()
    assert "To confirm, set cwagent_confirm to teardown." in refused.message
    assert refused.calls == []
    finished.launch("teardown", cwagent_confirm="teardown", cwagent_config_file="agent.json").assert_succeeded()
    after = snapshot(finished.aws)
    assert after["users"].keys() == {"awx"}
    assert after["roles"].keys() == {DEPLOYER}
    assert after["parameters"] == {finished.aws.region: {}}
    assert finished.saved_keys() == {}


# Slices over accounts


class AccountsAwx(Awx):
    def secrets(self) -> set[str]:
        """The key of the jobs. The keys of the sessions cannot be read here, so test_accounts.py looks for them."""
        return {self.credential["AWS_SECRET_ACCESS_KEY"]}


def test_a_job_sliced_over_accounts_does_the_whole_job_once(controller: Controller, collections: Path) -> None:
    fleet = Fleet(controller)
    for account in ("shop", "blog", "wiki"):
        fleet.account(account, servers=1)
    hosts = {account: {**fleet.host(account), **FILTERED} for account in fleet.ids}
    awx = AccountsAwx(controller, collections, hosts, {"cwagent_accounts": [*hosts]}, ("", {}), fleet.user)
    answers: dict[str, Any] = {"cwagent_config_file": "agent.json", "cwagent_store_config_from": "run_command"}
    done = {}
    for number in (1, 2):
        job = awx.launch("site", inventory=awx.inventory(number, slices=2), **answers).assert_succeeded()
        done[number] = fleet.principals(job)
        assert job.artifacts["failed_accounts"] == 0
    assert done[1] == {fleet.ids["blog"], fleet.ids["wiki"]}, "every second account in the order of their names"
    assert done[2] == {fleet.ids["shop"]}
    for account in fleet.ids:
        assert fleet.state(account) == fleet.expected(account, name=APPLICATION)
    again = awx.launch("site", inventory=awx.inventory(), **answers).assert_succeeded()
    assert again.writes == []


def test_a_slice_that_lacks_the_account_of_a_server_is_refused(controller: Controller, collections: Path) -> None:
    fleet = Fleet(controller)
    fleet.account("shop", servers=1)
    hosts = {"a1": {"cwagent_account": "other"}, "shop": {**fleet.host("shop"), **FILTERED}}
    groups = {"cwagent_accounts": ["shop"], "cwagent_onprem_servers": ["a1"]}
    awx = AccountsAwx(controller, collections, hosts, groups, ("", {}), fleet.user)
    job = awx.launch("site", cwagent_store_config_from="run_command").assert_failed()
    assert "Host a1: cwagent_account is 'other', which is not a host of that group. In AWX, each slice" in job.words
    assert job.calls == []
