"""The example project through ansible-runner, as AWX runs it, with the collection installed from its tarball.

A job has a folder of its own with everything in it, which is deleted afterwards. The inventory is a script, survey
answers are strings and never templates, credentials are environment variables.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from emulator import Call, Emulator, Fault, Kind
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    CHECKOUT,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    Workplace,
    account,
    allow,
    carried,
    environment,
    eventually,
    make_user,
    parameters,
)

PROJECT = CHECKOUT / "examples" / "awx-project"
CONFIG, OTHER = {"agent": {"metrics_collection_interval": 60}}, {"agent": {"metrics_collection_interval": 30}}
CLOSED = {"Sid": WINDOW_POLICY, "Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*"}
JOB_SECONDS = 240
LONG = 60


class Reading(yaml.SafeLoader):
    """Reads as the text it is what Ansible is not to take for a template."""


class Unsafe(yaml.SafeDumper):
    """Writes strings so that Ansible takes none for a template."""

    def represent_data(self, data: Any) -> Any:
        return self.represent_scalar("!unsafe", data) if isinstance(data, str) else super().represent_data(data)


Reading.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def defined(name: str) -> dict[str, Any]:
    """What the project's playbook sets AWX up with."""
    return dict(yaml.load((PROJECT / "awx" / f"{name}.yml").read_text(), Reading))  # noqa: S506  Reading is a safe loader


DEFINED = defined("job_templates")
SURVEYS = {each["playbook"].removesuffix(".yml"): each["survey"] for each in DEFINED["job_templates"]}


def survey(playbook: str) -> list[dict[str, Any]]:
    return [DEFINED["questions"][name] for name in SURVEYS[playbook]]


@dataclass(frozen=True)
class Job:
    """What AWX keeps of a job, and the AWS calls that it made."""

    status: str
    output: str
    events: list[dict[str, Any]]
    calls: list[Call]

    @property
    def writes(self) -> list[str]:
        return [call.action for call in self.calls if call.write]

    @property
    def changes(self) -> list[str]:
        return [each["task"] for each in self._results("runner_on_ok") if each["res"].get("changed")]

    @property
    def message(self) -> str:
        """All that the failed tasks, and items of loops, say."""
        failed = [*self._results("runner_item_on_failed"), *self._results("runner_on_failed")]
        return " ".join(" ".join(str(each["res"].get("msg", "")) for each in failed).split())

    def _results(self, kind: str) -> list[dict[str, Any]]:
        return [each["event_data"] for each in self.events if each["event"] == kind]

    def succeeded(self) -> Job:
        assert self.status == "successful", self.output
        return self

    def failed(self) -> Job:
        assert self.status == "failed", self.output
        assert "Traceback" not in self.output
        return self


@dataclass(frozen=True)
class Awx:
    """What AWX has for its jobs."""

    at: Workplace
    collections: Path
    hosts: dict[str, dict[str, Any]]
    groups: dict[str, list[str]]
    deployer: tuple[str, dict[str, str]]
    credential: dict[str, str]

    @property
    def aws(self) -> Emulator:
        return self.at.aws

    def inventory(self, number: int = 1, slices: int = 1) -> str:
        """The script for the inventory, or for a slice of it: every so many hosts, in the order of their names."""
        names = sorted(self.hosts)[number - 1 :: slices]
        members = {group: [host for host in hosts if host in names] for group, hosts in self.groups.items()}
        groups = {group: {"hosts": hosts} for group, hosts in members.items() if hosts}
        everywhere = {"hosts": [], "children": list(self.groups), "vars": {"cwagent_region": self.aws.region}}
        listed = {"all": everywhere, **groups, "_meta": {"hostvars": {name: self.hosts[name] for name in names}}}
        return f"#! /usr/bin/env python3\nprint({json.dumps(listed)!r})\n"

    def folder(self, inventory: str, command_line: str, config: object, answers: Mapping[str, str]) -> Path:
        """A job's folder before it starts."""
        folder = self.at.home / "runner"
        for name in ("inventory", "env"):
            (folder / name).mkdir(parents=True)
        shutil.copytree(PROJECT, folder / "project")
        (folder / "project" / "agent.json").write_text(json.dumps(config))
        shutil.copytree(self.collections, folder / "requirements_collections")
        (folder / "inventory" / "hosts").write_text(inventory)
        (folder / "inventory" / "hosts").chmod(stat.S_IRWXU)
        (folder / "env" / "cmdline").write_text(f"-u root {command_line}")
        (folder / "env" / "settings").write_text(json.dumps({"pexpect_timeout": 1}))
        told = {"awx_job_id": 7, "awx_job_launch_type": "manual", "awx_user_name": "admin"}
        every = {**DEFINED["settings"], **answers, **told}
        (folder / "env" / "extravars").write_text(yaml.dump(every, Dumper=Unsafe))
        return folder

    def started(self, folder: Path, playbook: str, credential: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A job that runs. AWX starts it from another folder than the project, which PWD goes on naming."""
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
            ["ansible-runner", "run", folder, "--playbook", f"{playbook}.yml", "--ident", "7", "--quiet"],
            cwd=self.at.home,
            env=environment(self.aws, {**dict.fromkeys(self.aws.env(), ""), "PWD": str(self.at.home)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kept(self, folder: Path, since: int) -> Job:
        """What is left of a job once its folder is deleted, in which nothing shows a secret."""
        artifacts = folder / "artifacts" / "7"
        files = (json.loads(path.read_text()) for path in artifacts.glob("job_events/*.json"))
        events = sorted(files, key=lambda event: int(event["counter"]))
        job = Job((artifacts / "status").read_text(), (artifacts / "stdout").read_text(), events, self.aws.calls(since))
        # The runner writes down its own environment, which AWX blanks out.
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
        inventory: str = "",
        credential: Mapping[str, str] | None = None,
        config: object = CONFIG,
        **answers: str,
    ) -> Job:
        """Run a job to its end. The survey's defaults are the answers that are not given."""
        given = {question["variable"]: str(question["default"]) for question in survey(playbook)} | answers
        folder = self.folder(inventory or self.inventory(), command_line, config, given)
        since = self.aws.mark()
        self.started(folder, playbook, self.credential if credential is None else credential).wait(JOB_SECONDS)
        return self.kept(folder, since)

    def saved_keys(self) -> dict[str, dict[str, str]]:
        """By user, the access keys that are saved, where the project says: a job's files are deleted with it."""
        ssm = self.aws.client("ssm")
        found = ssm.get_parameters_by_path(Path="/cwagent/credentials/", WithDecryption=True)["Parameters"]
        return {each["Name"].rpartition("/")[2]: json.loads(each["Value"]) for each in found}

    def secrets(self) -> set[str]:
        """All that no job may show."""
        found = {self.credential[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
        found |= {saved["aws_secret_access_key"] for saved in self.saved_keys().values()}
        for host in self.hosts.values():
            if "instance_id" in host and carried(self.aws)[host["instance_id"]]:
                session = self.aws.instance_credentials(host["instance_id"])
                found |= {session["SecretAccessKey"], session["Token"]}
        return found

    def is_as_before(self) -> None:
        """That the administrator is a server again, the window is closed and no note is left."""
        assert set(carried(self.aws).values()) == {SERVER_ROLE}
        held = account(self.aws)
        assert [each["Statement"] for each in held["roles"][ADMIN_ROLE]["inline"].values()] == [[CLOSED]]
        assert list(held["tags"][self.aws.region].values()) == [{}] * len(carried(self.aws))


DEPLOYER, EXTERNAL_ID = "Deployer", "shop"


def make_deployer(aws: Emulator) -> tuple[str, dict[str, str]]:
    """A role that may do everything, and an access key that may do nothing but assume it, with an external id."""
    key = make_user(aws, "awx", allow("sts:AssumeRole"))
    own = aws.client("sts").get_caller_identity()["Account"]
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{own}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }
    trusted = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = aws.client("iam").create_role(RoleName=DEPLOYER, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    aws.client("iam").attach_role_policy(RoleName=DEPLOYER, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    return role, key


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as AWX installs it."""
    folder = tmp_path_factory.mktemp("awx")
    environ = {**os.environ, "ANSIBLE_HOME": str(folder / "ansible"), "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")}

    def galaxy(*arguments: str | Path) -> None:
        subprocess.run(
            ["ansible-galaxy", "collection", *arguments], cwd=folder, env=environ, check=True, capture_output=True
        )

    galaxy("build", CHECKOUT, "--output-path", folder)
    [tarball] = folder.glob("cwagent-iam-*.tar.gz")
    galaxy("install", tarball, "--no-deps", "--offline", "--collections-path", folder / "requirements_collections")
    return folder / "requirements_collections"


@pytest.fixture(scope="module")
def awx(shared: Workplace, collections: Path) -> Awx:
    aws = shared.aws
    ids = dict(zip(("admin1", "web1", "web2"), aws.instances(3), strict=True))
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    environ = {
        host: {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.metadata_endpoint(instance)} for host, instance in ids.items()
    }
    hosts = {
        **{host: {**local, "instance_id": ids[host], "store_config_environment": environ[host]} for host in ids},
        **{host: dict(local) for host in ("db1", "ops1")},
    }
    groups = {
        "cwagent_ec2_servers": ["web1", "web2"],
        "cwagent_ec2_admin": ["admin1"],
        "cwagent_onprem_servers": ["db1", "ops1"],
        "cwagent_onprem_admin": ["ops1"],
    }
    role, key = make_deployer(aws)
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
    return Awx(shared, collections, hosts, groups, (role, key), credential)


@dataclass(frozen=True)
class Jobs:
    """The whole job in check mode, for real, and again."""

    before: dict[str, Any]
    foretold: Job
    after_check: dict[str, Any]
    done: Job
    after: dict[str, Any]
    again: Job


@pytest.fixture(scope="module")
def jobs(awx: Awx) -> Jobs:
    answers = {"cwagent_config_file": "agent.json", "cwagent_ssm_policy": "AmazonSSMManagedInstanceCore"}
    before = account(awx.aws)
    foretold = awx.launch("site", "--check --diff", **answers)
    after_check = account(awx.aws)
    done = awx.launch("site", "--diff -vvv", **answers)
    return Jobs(before, foretold, after_check, done, account(awx.aws), awx.launch("site", **answers))


@pytest.fixture
def finished(awx: Awx, jobs: Jobs) -> Awx:
    """AWX after the whole job."""
    jobs.again.succeeded()
    return awx


def descendants(pid: int) -> list[int]:
    """All that a process has started; Ansible's workers are in sessions of their own."""
    found = [pid]
    for each in found:
        with suppress(FileNotFoundError):  # it has ended meanwhile
            found += [int(child) for child in Path(f"/proc/{each}/task/{each}/children").read_text().split()]
    return found[1:]


def test_every_playbook_of_ours_has_a_job_template_and_a_playbook() -> None:
    ours = {path.stem for path in (CHECKOUT / "playbooks").glob("*.yml")}
    assert SURVEYS.keys() == ours
    for name in ours:
        [imported] = yaml.safe_load((PROJECT / f"{name}.yml").read_text())
        assert imported["import_playbook"] == f"cwagent.iam.{name}"


@pytest.mark.parametrize("question", DEFINED["questions"].values(), ids=DEFINED["questions"])
def test_questions_are_such_as_awx_takes(question: dict[str, Any]) -> None:
    given = {"text": {"min", "max"}, "integer": {"min", "max"}, "multiplechoice": {"choices"}}[question["type"]]
    common = {"question_name", "question_description", "variable", "type", "required", "default"}
    assert question.keys() == common | given
    assert all(isinstance(choice, str) for choice in question.get("choices", []))
    assert not question["required"] or question["default"] in question.get("choices", [question["default"]])


def test_check_mode_changes_nothing_and_foretells_the_job(jobs: Jobs) -> None:
    assert jobs.foretold.succeeded().writes == []
    assert jobs.after_check == jobs.before
    assert jobs.foretold.changes == jobs.done.changes


def test_the_whole_job_with_the_answers_of_the_survey(awx: Awx, jobs: Jobs) -> None:
    """The configuration comes from the project, whatever folder the job was started from."""
    jobs.done.succeeded()
    assert set(carried(awx.aws).values()) == {SERVER_ROLE}
    assert parameters(awx.aws) == {PARAMETER: CONFIG}
    assert "AmazonSSMManagedInstanceCore" in jobs.after["roles"][SERVER_ROLE]["policies"]
    names = {ADMIN_USER, f"{SERVER_USER}-db1", f"{SERVER_USER}-ops1"}
    assert jobs.after["users"].keys() - {"awx"} == names
    assert awx.saved_keys().keys() == names
    assert len(awx.secrets()) > len(names) + 2, "those of the users, of AWX and of the instances"
    [stored] = [call for call in jobs.done.calls if call.params.get("Name") == PARAMETER and call.write]
    assert f":assumed-role/{ADMIN_ROLE}/" in stored.principal
    awx.is_as_before()


def test_a_second_job_changes_nothing(jobs: Jobs) -> None:
    assert (jobs.again.succeeded().changes, jobs.again.writes) == ([], [])


def test_a_cancelled_job_is_repaired_by_another(finished: Awx) -> None:
    """AWX kills a cancelled job, so it cannot clean up itself. The other has its token as older AWX sets it."""
    answers = {"cwagent_config_file": "agent.json", "cwagent_parameter_name": PARAMETER}
    finished.aws.arm(Fault(Kind.DELAY, action="PutParameter", seconds=LONG))
    folder = finished.folder(finished.inventory(), "", OTHER, answers)
    since = finished.aws.mark()
    running = finished.started(folder, "store_config", finished.credential)
    admin = finished.hosts["admin1"]["instance_id"]
    eventually(lambda: carried(finished.aws)[admin] == ADMIN_ROLE, JOB_SECONDS)
    begun = descendants(running.pid)
    running.send_signal(signal.SIGTERM)
    running.wait(JOB_SECONDS)
    for pid in begun:  # the job's container ends with it, and all that is in there
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    finished.aws.disarm()
    assert finished.kept(folder, since).status == "canceled"
    assert carried(finished.aws)[admin] == ADMIN_ROLE

    older = {key: value for key, value in finished.credential.items() if key != "AWS_SESSION_TOKEN"}
    finished.launch("restore", credential=older).succeeded()
    finished.is_as_before()
    assert parameters(finished.aws) == {PARAMETER: CONFIG}


def filled_in(role: str, key: Mapping[str, str], aws: Emulator, folder: Path) -> dict[str, str]:
    """What AWX makes of the project's credential type: a file in the job's folder, then variables that name it."""
    inputs = {
        "access_key": key["AWS_ACCESS_KEY_ID"],
        "secret_key": key["AWS_SECRET_ACCESS_KEY"],
        "role_arn": role,
        "external_id": EXTERNAL_ID,
        "region": aws.region,
    }
    made = defined("credential_type")["credential_type"]
    assert set(made["inputs"]["required"]) <= {field["id"] for field in made["inputs"]["fields"]} == inputs.keys()
    file = folder / "filled_in"
    file.write_text(jinja2.Template(made["injectors"]["file"]["template.config"]).render(inputs))
    tower = {"filename": {"config": str(file)}}
    return {name: jinja2.Template(text).render(inputs, tower=tower) for name, text in made["injectors"]["env"].items()}


def test_the_window_for_a_person_with_a_role_to_assume(finished: Awx, tmp_path: Path) -> None:
    """The credential type of the project does as well as AWX's own."""
    credential = filled_in(*finished.deployer, finished.aws, tmp_path)
    opened = finished.launch("open_window", credential=credential, store_config_window_minutes="40").succeeded()
    assert {call.principal.split("/")[1] for call in opened.calls if call.write} == {DEPLOYER}
    assert "admin1 may write to Parameter Store until" in " ".join(opened.output.split())
    assert carried(finished.aws)[finished.hosts["admin1"]["instance_id"]] == ADMIN_ROLE
    finished.launch("restore", credential=credential).succeeded()
    finished.is_as_before()


def test_replacing_keys_that_are_young(finished: Awx) -> None:
    assert finished.launch("rotate_keys").succeeded().writes == []


def test_slices_do_no_harm(finished: Awx) -> None:
    """The one without the administrator says what is wrong; the other one sees what is left out."""
    before = account(finished.aws)
    first, second = (finished.inventory(number, 2) for number in (1, 2))
    answers = {"cwagent_config_file": "agent.json", "cwagent_ssm_policy": "AmazonSSMManagedInstanceCore"}
    refused = finished.launch("site", inventory=second, **answers).failed()
    assert "cwagent_ec2_admin needs exactly one host" in refused.message
    assert "job_slice_count" in refused.message
    refused = finished.launch("teardown", inventory=first, cwagent_teardown="true").failed()
    assert (
        f"{finished.hosts['web1']['instance_id']} in {finished.aws.region} is not in the inventory" in refused.message
    )
    assert account(finished.aws) == before


def test_teardown_asks_first(finished: Awx) -> None:
    """The last one here: nothing is left after it."""
    refused = finished.launch("teardown").failed()
    assert "cwagent_teardown=true" in refused.message
    assert refused.calls == []
    finished.launch("teardown", cwagent_teardown="true", cwagent_config_file="agent.json").succeeded()
    left = account(finished.aws)
    assert left["users"].keys() == {"awx"}
    assert left["roles"].keys() == {DEPLOYER}
    assert left["parameters"] == {finished.aws.region: {}}
    assert finished.saved_keys() == {}
