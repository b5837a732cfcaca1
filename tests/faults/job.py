"""The job that gets faults: ``site.yml`` with a server and an admin instance on EC2, and both on premises."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from emulator import AS_AWS, Emulator, program_environment
from emulator.snapshot import snapshot
from forks import Run

# Of the admin user; its value is the id of the access key that is saved.
SAVED_KEY_TAG = "cwagent:saved-key"
CHECKOUT = Path(__file__).parents[2]
CONFIG = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}
TIMEOUTS = ("cwagent_permission_timeout", "cwagent_wait_timeout", "cwagent_identity_timeout")
# The instance that Run Command reaches has another role from the beginning, and Ansible does not reach it.
CORE = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
UNREACHABLE = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1", "ansible_timeout": 1}
# Short, so that a failing run does not wait long for a change that does not come; longer where changes come late.
SECONDS, SECONDS_AS_AWS = (4, 8, 8), (30, 30, 30)


@dataclass
class Job:
    """One empty account and the inventory for it.

    :param folder: for the inventory, the configuration and the keys.
    :param as_aws: whether the account is as unkind as AWS, which it is to everyone but root.
    :param store_from: the value of ``cwagent_store_config_from``: ``instance``, ``run_command`` or ``onprem``.
    """

    aws: Emulator
    folder: Path
    as_aws: bool = False
    store_from: str = "instance"

    def __post_init__(self) -> None:
        self.aws.disarm()
        self.aws.reset()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.server, self.admin = self.aws.instances(2)
        if self.store_from == "run_command":
            self._create_application()
        self.environment = self._create_controller() if self.as_aws else {}
        (self.folder / "linux.json").write_text(json.dumps(CONFIG))
        (self.folder / "hosts.json").write_text(json.dumps(self._inventory()))
        self.start_mark = self.aws.mark()

    def _create_application(self) -> None:
        """Give the admin instance the role of an application, with which its SSM agent works."""
        iam, name = self.aws.client("iam"), "app"
        trust = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        iam.attach_role_policy(RoleName=name, PolicyArn=CORE)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        profile = {"Name": name}
        self.aws.client("ec2").associate_iam_instance_profile(InstanceId=self.admin, IamInstanceProfile=profile)
        self.aws.agents()  # sees it online

    def _create_controller(self) -> dict[str, str]:
        """Create the user who runs the job, and make the account unkind. :returns: its access key."""
        iam = self.aws.client("iam")
        iam.create_user(UserName="controller")
        iam.attach_user_policy(UserName="controller", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
        key = iam.create_access_key(UserName="controller")["AccessKey"]
        self.aws.be_unkind(*AS_AWS)
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    @property
    def keys(self) -> Path:
        """Where the access keys are saved."""
        return self.folder / "keys"

    def _inventory(self) -> dict[str, Any]:
        def instance(instance_id: str) -> dict[str, Any]:
            metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.aws.metadata_endpoint(instance_id)}
            connection = UNREACHABLE if (self.store_from, instance_id) == ("run_command", self.admin) else {}
            return {"instance_id": instance_id, "cwagent_environment": metadata, **connection}

        groups = {
            "cwagent_ec2_servers": {"hosts": {"web": instance(self.server)}},
            "cwagent_ec2_admin": {"hosts": {"admin": instance(self.admin)}},
            "cwagent_onprem_servers": {"hosts": {"db": {}}},
            "cwagent_onprem_admin": {"hosts": {"ops": {}}},
        }
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "cwagent_config_file": str(self.folder / "linux.json"),
            "cwagent_key_store_directory": str(self.keys),
            "cwagent_store_config_from": self.store_from,
            **({"cwagent_ssm_policy": CORE.rpartition("/")[2]} if self.store_from == "run_command" else {}),
            **dict(zip(TIMEOUTS, SECONDS_AS_AWS if self.as_aws else SECONDS, strict=True)),
        }
        return {"all": {"vars": variables, "children": groups}}

    def start(self, playbook: str = "site") -> Run:
        """Start the playbook. Its verbose output goes to ``output.txt``."""
        temporary = {f"ANSIBLE_{place}_TEMP": str(self.folder / "tmp") for place in ("LOCAL", "REMOTE")}
        inventory = str(self.folder / "hosts.json")
        command = ["ansible-playbook", "-vvv", "-i", inventory, f"playbooks/{playbook}.yml"]
        environ = program_environment(self.aws.env(), temporary, self.environment)
        with (self.folder / "output.txt").open("a") as output:
            return Run.start(command, environ, CHECKOUT, output=output, errors=output)

    def run(self, playbook: str = "site") -> int:
        """Run the playbook to its end."""
        return self.start(playbook).wait()

    def output(self) -> str:
        """The output of all runs of this job."""
        return (self.folder / "output.txt").read_text()

    def state(self) -> dict[str, Any]:
        """The account and the saved keys, without parts that differ from run to run (ids, times, secrets)."""
        account = snapshot(self.aws)
        instances = {"web": self.server, "admin": self.admin}
        return {
            "roles": account["roles"],
            "instance_profiles": account["instance_profiles"],
            "users": {
                name: {**user, "keys": self._keys(name, user["keys"]), "tags": self._tags(name, user["tags"])}
                for name, user in account["users"].items()
            },
            "instances": {name: account["associations"].get(instance) for name, instance in instances.items()},
            "instance_tags": {
                name: account["instance_tags"][self.aws.region][instance] for name, instance in instances.items()
            },
            "parameters": account["parameters"][self.aws.region],
            "files": sorted(path.name for path in self.keys.iterdir()) if self.keys.exists() else [],
        }

    def _tags(self, name: str, tags: Mapping[str, str]) -> dict[str, Any]:
        """The tags of a user. The id of the saved key is replaced by whether it is the saved one."""
        return {key: self._is_saved(name, value) if key == SAVED_KEY_TAG else value for key, value in tags.items()}

    def _keys(self, user: str, statuses: Mapping[str, str]) -> list[dict[str, Any]]:
        """For each access key of a user, its status and whether it is the saved one."""
        return [{"status": status, "saved": self._is_saved(user, key)} for key, status in statuses.items()]

    def _is_saved(self, user: str, key: str) -> bool:
        file = self.keys / f"{user}.credentials"
        return file.exists() and key in file.read_text()

    def temporary_files(self) -> list[str]:
        """The files in the temporary folder of the controller and of the hosts."""
        folder = self.folder / "tmp"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def secrets(self) -> set[str]:
        """The secrets of the saved keys and of the sessions of the instances."""
        lines = (line for path in self.keys.glob("*") for line in path.read_text().splitlines())
        found = {line.split()[-1] for line in lines if line.startswith("aws_secret_access_key")}
        for instance in (self.server, self.admin):
            with contextlib.suppress(HTTPError):  # the instance has no profile yet
                session = self.aws.instance_credentials(instance)
                found |= {session[key] for key in ("SecretAccessKey", "Token") if key in session}
        return found

    def leaks(self, secrets: Iterable[str]) -> dict[str, str]:
        """By file outside the folder of the keys, the beginning of a secret that it contains."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.parent != self.keys]
        texts = {str(path.relative_to(self.folder)): path.read_text(errors="replace") for path in files}
        return {name: secret[:4] for name, text in texts.items() for secret in secrets if secret in text}
