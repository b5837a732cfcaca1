"""The job that faults are put into: ``site.yml`` with a server and an admin on EC2, and both on premises."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from emulator import Emulator

CHECKOUT = Path(__file__).parents[2]
NOTE = "cwagent:earlier-profile"
PREFIX = "CloudWatchAgent"
CONFIG = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}
# A real user has them in the inventory; here they only keep a failing run from waiting for what will not come.
TIMEOUTS = {"store_config_permission_timeout": 4, "store_config_wait_timeout": 8, "store_config_identity_timeout": 8}


@dataclass
class Job:
    """One empty account and the inventory for it. :param folder: for the inventory, the configuration and the keys."""

    aws: Emulator
    folder: Path

    def __post_init__(self) -> None:
        self.aws.disarm()
        self.aws.reset()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.server, self.admin = self.aws.instances(2)
        (self.folder / "linux.json").write_text(json.dumps(CONFIG))
        (self.folder / "hosts.json").write_text(json.dumps(self._inventory()))
        self.start_mark = self.aws.mark()

    @property
    def keys(self) -> Path:
        """Where the access keys are saved."""
        return self.folder / "keys"

    def _inventory(self) -> dict[str, Any]:
        def instance(instance_id: str) -> dict[str, Any]:
            metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.aws.metadata_endpoint(instance_id)}
            return {"instance_id": instance_id, "store_config_environment": metadata}

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
            "cwagent_credentials_dir": str(self.keys),
            **TIMEOUTS,
        }
        return {"all": {"vars": variables, "children": groups}}

    def start(self, playbook: str = "site") -> subprocess.Popen[str]:
        """Start the playbook; its output goes to ``output.txt``, with all that Ansible shows of results."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ANSIBLE_"))}
        environ |= self.aws.env() | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        environ["ANSIBLE_LOCAL_TEMP"] = environ["ANSIBLE_REMOTE_TEMP"] = str(self.folder / "tmp")
        with (self.folder / "output.txt").open("a") as output:
            return subprocess.Popen(
                ["ansible-playbook", "-vvv", "-i", self.folder / "hosts.json", f"playbooks/{playbook}.yml"],
                cwd=CHECKOUT,
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def run(self, playbook: str = "site") -> int:
        """Run the playbook to its end."""
        return self.start(playbook).wait()

    def output(self) -> str:
        """What all runs of this job have printed."""
        return (self.folder / "output.txt").read_text()

    def state(self) -> dict[str, Any]:
        """What is there, without what differs from run to run (ids, times, secrets)."""
        iam, ec2, ssm = (self.aws.client(service) for service in ("iam", "ec2", "ssm"))
        details = iam.get_account_authorization_details(Filter=["User", "Role"])
        parameters = ssm.describe_parameters()["Parameters"]
        return {
            "roles": {
                role["RoleName"]: {
                    "policies": sorted(policy["PolicyName"] for policy in role["AttachedManagedPolicies"]),
                    "inline": {policy["PolicyName"]: policy["PolicyDocument"] for policy in role["RolePolicyList"]},
                    "profiles": [profile["InstanceProfileName"] for profile in role["InstanceProfileList"]],
                }
                for role in details["RoleDetailList"]
                if role["RoleName"].startswith(PREFIX)
            },
            "users": {user["UserName"]: self._user(user) for user in details["UserDetailList"]},
            "instances": {
                name: sorted(
                    found["IamInstanceProfile"]["Arn"].rpartition("/")[2]
                    for found in ec2.describe_iam_instance_profile_associations(
                        Filters=[
                            {"Name": "instance-id", "Values": [instance]},
                            {"Name": "state", "Values": ["associated", "associating"]},
                        ]
                    )["IamInstanceProfileAssociations"]
                )
                for name, instance in (("web", self.server), ("admin", self.admin))
            },
            "notes": ec2.describe_tags(Filters=[{"Name": "key", "Values": [NOTE]}])["Tags"],
            "parameters": {
                found["Name"]: json.loads(ssm.get_parameter(Name=found["Name"])["Parameter"]["Value"])
                for found in parameters
            },
            "files": sorted(path.name for path in self.keys.iterdir()) if self.keys.exists() else [],
        }

    def _user(self, user: dict[str, Any]) -> dict[str, Any]:
        keys = self.aws.client("iam").list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]
        file = self.keys / f"{user['UserName']}.credentials"
        saved = file.read_text() if file.exists() else ""
        return {
            "policies": sorted(policy["PolicyName"] for policy in user["AttachedManagedPolicies"]),
            "inline": {policy["PolicyName"]: policy["PolicyDocument"] for policy in user.get("UserPolicyList", [])},
            "keys": [{"status": key["Status"], "saved": key["AccessKeyId"] in saved} for key in keys],
        }

    def left(self) -> list[str]:
        """Files in the temporary folder of the controller and of the hosts."""
        folder = self.folder / "tmp"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def secrets(self) -> set[str]:
        """Of the saved keys and of the sessions of the instances, what nobody may see."""
        lines = (line for path in self.keys.glob("*") for line in path.read_text().splitlines())
        found = {line.split()[-1] for line in lines if line.startswith("aws_secret_access_key")}
        for instance in (self.server, self.admin):
            with contextlib.suppress(HTTPError):  # it has no profile yet
                session = self.aws.instance_credentials(instance)
                found |= {session["SecretAccessKey"], session["Token"]}
        return found

    def shown(self, secrets: Iterable[str]) -> dict[str, str]:
        """By file outside the folder of the keys, the beginning of a secret that it holds."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.parent != self.keys]
        texts = {str(path.relative_to(self.folder)): path.read_text(errors="replace") for path in files}
        return {name: secret[:4] for name, text in texts.items() for secret in secrets if secret in text}
