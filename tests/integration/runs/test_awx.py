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
from contextlib import suppress
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
    CLOSED_WINDOW,
    COLLECTIONS,
    LOCAL_CONNECTION,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    Controller,
    allow,
    associate,
    create_role,
    create_user,
)
from published import content, tarball

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
    def artifacts(self) -> dict[str, Any]:
        """The data that the job passes on to other jobs, and that the API of AWX shows."""
        [stats] = [each["event_data"] for each in self.events if each["event"] == "playbook_on_stats"]
        return dict(stats["artifact_data"]["cloudwatch_agent"])

    def assert_succeeded(self) -> Job:
        assert self.status == "successful", self.output
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

    def inventory(self) -> str:
        """The inventory script."""
        groups = {group: {"hosts": hosts} for group, hosts in self.groups.items()}
        variables = {
            "cwagent_region": self.aws.region,
            "cwagent_parameter_name": APPLICATION,
            "cwagent_key_store_kms_key_id": "alias/cwagent-credentials",
        }
        everywhere = {"hosts": [], "children": list(self.groups), "vars": variables}
        listed = {"all": everywhere, **groups, "_meta": {"hostvars": self.hosts}}
        return f"#! /usr/bin/env python3\nprint({json.dumps(listed)!r})\n"

    def create_folder(self, playbook: str, command_line: str, config: object, answers: Mapping[str, Any]) -> Path:
        """Create the folder of a job before it starts, with the answers that AWX accepts."""
        folder = self.controller.home / "runner"
        for name in ("inventory", "env"):
            (folder / name).mkdir(parents=True)
        shutil.copytree(PROJECT, folder / "project")
        (folder / "project" / "agent.json").write_text(json.dumps(config))
        shutil.copytree(self.collections, folder / "requirements_collections")
        (folder / "inventory" / "hosts").write_text(self.inventory())
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
        credential: Mapping[str, str] | None = None,
        python: Path = NEWEST,
        **answers: Any,
    ) -> Job:
        """Run a job to its end."""
        folder = self.create_folder(playbook, command_line, CONFIG, answers)
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
        """Assert that the instances have their own profiles, the window is closed and no restore tag is left."""
        expected = {
            host: "app" if host == "admin1" else SERVER_ROLE for host in self.hosts if "instance_id" in self.hosts[host]
        }
        profiles = associated_profiles(self.aws)
        assert {host: profiles[self.hosts[host]["instance_id"]] for host in expected} == expected
        account = snapshot(self.aws)
        assert [each["Statement"] for each in account["roles"][ADMIN_ROLE]["inline"].values()] == [[CLOSED_WINDOW]]
        assert list(account["instance_tags"][self.aws.region].values()) == [{}] * len(expected)


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
    installed = folder / "requirements_collections"
    options = ["--no-deps", "--offline", "--collections-path"]
    command: list[str | Path] = ["ansible-galaxy", "collection", "install", tarball(), *options, installed]
    subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True)
    return installed


@pytest.fixture
def awx(controller: Controller, collections: Path) -> Awx:
    aws = controller.aws
    ids = dict(zip(("admin1", "web1", "web2"), aws.instances(3), strict=True))
    create_role(aws, "app", "AmazonSSMManagedInstanceCore", SERVER_POLICY)
    associate(aws, ids["admin1"], "app")  # so that Systems Manager reaches it
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
    return Awx(controller, collections, hosts, groups, (role, key), credential)


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
        <= inputs.keys()
        <= {field["id"] for field in definition["inputs"]["fields"]}
    )
    file = folder / "rendered"
    file.write_text(jinja2.Template(definition["injectors"]["file"]["template.config"]).render(inputs))
    tower = {"filename": {"config": str(file)}}
    return {
        name: jinja2.Template(text).render(inputs, tower=tower) for name, text in definition["injectors"]["env"].items()
    }


def test_jobs_store_and_restore(awx: Awx, tmp_path: Path) -> None:
    """The first job has the oldest supported ansible-core and its token as older AWX sets it.

    Its inventory is like one of amazon.aws.aws_ec2, and it has no machine credential. So it stores by Run Command.
    """
    admin = awx.hosts["admin1"]["instance_id"]
    found = {
        "instance_id": admin,
        "placement": {"region": awx.aws.region},
        "ansible_host": "192.0.2.1",
        "ansible_timeout": 1,
    }
    older = {key: value for key, value in awx.credential.items() if key != "AWS_SESSION_TOKEN"}
    answers: dict[str, Any] = {
        "cwagent_config_file": "agent.json",
        "cwagent_ssm_policy": "AmazonSSMManagedInstanceCore",
        "cwagent_store_config_from": "auto",
    }
    by_command = replace(awx, hosts={**awx.hosts, "admin1": found})
    done = by_command.launch("site", "--diff -vvv", python=OLDEST, credential=older, **answers).assert_succeeded()
    after = snapshot(awx.aws)
    assert configurations(awx.aws) == {APPLICATION: CONFIG}, "from the project, wherever the job was started"
    assert "AmazonSSMManagedInstanceCore" in after["roles"][SERVER_ROLE]["policies"]
    names = {ADMIN_USER, f"{SERVER_USER}-db1", f"{SERVER_USER}-ops1"}
    assert after["users"].keys() - {"awx"} == names
    assert awx.saved_keys().keys() == names
    assert len(awx.secrets()) > len(names) + 2, "secrets of the users, of AWX and of the instances"
    [stored] = [call for call in done.calls if call.params.get("Name") == APPLICATION and call.write]
    assert f":assumed-role/{ADMIN_ROLE}/" in stored.principal
    kinds = [done.artifacts[kind] for kind in ("created", "updated", "deleted")]
    assert done.artifacts["changes"] == sum(kinds) > 0
    assert done.artifacts["check_mode"] is False
    awx.assert_clean()

    cancel(awx, "store_config", cwagent_config_file="agent.json", cwagent_store_config_from="instance")
    credential = render_credential(*awx.deployer, awx.aws, tmp_path)
    restored = awx.launch("restore", credential=credential).assert_succeeded()
    assert {call.principal.split("/")[1] for call in restored.calls if call.write} == {DEPLOYER}
    awx.assert_clean()
    assert configurations(awx.aws) == {APPLICATION: CONFIG}

    awx.aws.client("ssm").put_parameter(Name=APPLICATION, Value=json.dumps(OTHER), Overwrite=True)
    back: dict[str, Any] = {"cwagent_config_version": "previous", "cwagent_store_config_from": "instance"}
    awx.launch("store_config", **back).assert_succeeded()
    assert configurations(awx.aws) == {APPLICATION: CONFIG}, "without the path, which AWX asks for at each launch"
    shown = awx.launch("history").assert_succeeded()
    assert f"{APPLICATION} in {awx.aws.region} of account 123456789012: 3 versions" in " ".join(shown.output.split())


def cancel(awx: Awx, playbook: str, **answers: Any) -> None:
    """Cancel a job that stores another configuration. It restores the profile before AWX kills it."""
    awx.aws.arm(Fault(Kind.DELAY, action="PutParameter", seconds=LONG_DELAY))
    folder, since = awx.create_folder(playbook, "", OTHER, answers), awx.aws.mark()
    running = awx.start(folder, playbook, awx.credential)
    admin = awx.hosts["admin1"]["instance_id"]
    wait_until(lambda: associated_profiles(awx.aws)[admin] == ADMIN_ROLE)
    running.send_signal(signal.SIGTERM)
    running.wait(JOB_SECONDS)
    awx.aws.disarm()
    assert awx.finish(folder, since).status == "canceled"
    wait_until(lambda: associated_profiles(awx.aws)[admin] != ADMIN_ROLE)
    end_modules(awx.aws)


def end_modules(aws: Emulator) -> None:
    """End the module that a canceled job has left on its host. It would try for five minutes, in the next tests too."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            is_ours = aws.endpoint.encode() in (process / "environ").read_bytes()
            if is_ours and b"cwagent_store_host" in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def test_the_page_keeps_a_report_in_a_bucket_even_if_the_audit_fails(controller: Controller) -> None:
    """The job prints a warning, because the file itself is deleted with its container."""
    aws = controller.aws
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="cwagent-reports", CreateBucketConfiguration={"LocationConstraint": aws.region})
    create_role(aws, ADMIN_ROLE, "CloudWatchAgentAdminPolicy")  # somebody else's
    playbook = controller.file("report.yml", yaml.safe_dump(content("audit", "yaml")))
    env = {"AWX_PRIVATE_DATA_DIR": "/runner", "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    done = controller.play(controller.file("hosts.yml", {"all": {}}), playbook, env=env).assert_failed()
    assert "a container that is deleted after the job, together with /tmp/audit.html" in done.words
    [kept] = s3.list_objects_v2(Bucket="cwagent-reports")["Contents"]
    assert b"CloudWatchAgentAdminRole" in s3.get_object(Bucket="cwagent-reports", Key=kept["Key"])["Body"].read()
