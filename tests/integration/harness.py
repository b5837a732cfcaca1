"""Runs modules and playbooks against an emulator, each in a process of its own, and shows what an account holds."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator import Call, Emulator, Fault

CHECKOUT = Path(__file__).parents[2]
COLLECTIONS = CHECKOUT / ".ansible" / "collections"
HERE = Path(__file__).parent
NOWHERE = "http://127.0.0.1:9"
"""Answers nothing, for what is to be as on a machine that is no EC2 instance."""

SERVER_ROLE, ADMIN_ROLE = "CloudWatchAgentServerRole", "CloudWatchAgentAdminRole"
SERVER_POLICY, ADMIN_POLICY = "CloudWatchAgentServerPolicy", "CloudWatchAgentAdminPolicy"
SERVER_USER, ADMIN_USER = "CloudWatchAgentServerUser", "CloudWatchAgentAdminUser"
WINDOW_POLICY = "CloudWatchAgentAdminWindow"
PARAMETER = "AmazonCloudWatch-linux"
PUT_ON = ("AssociateIamInstanceProfile", "ReplaceIamInstanceProfileAssociation")
FOREIGN = ("AWS_", "ANSIBLE_", "BOTO_", "MOLECULE_", "PYTHON", "http", "HTTP", "all_proxy", "ALL_PROXY")
MODULE_SECONDS, PLAY_SECONDS = 60, 240


def environment(aws: Emulator, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """A clean environment with the emulator's keys; a value of '' in ``more`` takes a variable out."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    clean["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), clean["PATH"]])
    given = {"LC_ALL": "C.UTF-8", "AWS_EC2_METADATA_SERVICE_ENDPOINT": NOWHERE, **aws.env(), **(more or {})}
    return {key: value for key, value in {**clean, **given}.items() if value}


def run_module(
    aws: Emulator,
    module: str,
    /,
    check: bool = False,
    diff: bool = True,
    env: Mapping[str, str] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """The result of a module; a module that says nothing in JSON has crashed."""
    given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}
    done = subprocess.run(
        [sys.executable, HERE / "module_process.py", CHECKOUT / f"plugins/modules/{module}.py", json.dumps(given)],
        env=environment(aws, {"PYTHONPATH": str(COLLECTIONS), **(env or {})}),
        check=False,
        capture_output=True,
        text=True,
        timeout=MODULE_SECONDS,
    )
    assert done.stdout, f"{module} crashed: {done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr
    [printed] = done.stdout.split("\n")[1:-1]  # Ansible does not read more than one result
    result: dict[str, Any] = json.loads(printed)
    result.pop("invocation", None)
    warnings = [each if isinstance(each, str) else each["event"]["msg"] for each in result.pop("warnings", [])]
    return {"failed": False, **result, "warnings": warnings}


@dataclass(frozen=True)
class ModuleServer:
    """Runs modules in forks of one process that has imported what they need, since many runs are short."""

    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[ModuleServer]:
        environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
        command = [sys.executable, HERE / "module_server.py"]
        with subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield cls(process)
            assert process.stdin
            process.stdin.close()

    def run(
        self,
        aws: Emulator,
        module: str,
        arguments: Mapping[str, Any],
        output: Path,
        *,
        env: Mapping[str, str] | None = None,
        faults: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """The result of a module, and ``code``: the signal that ended it, negative, where there was one.

        Faults hit the process of the module and are gone when it has ended.
        """
        environ = environment(aws, {"PYTHONPATH": str(COLLECTIONS), **(env or {})})
        file = str(CHECKOUT / f"plugins/modules/{module}.py")
        request = {"file": file, "arguments": dict(arguments), "env": environ, "output": str(output)}
        pid = int(self._ask(json.dumps(request)))
        for fault in faults:
            aws.arm(Fault(**fault, process=pid))
        code = int(self._ask("begin"))
        if faults:
            aws.disarm()
        text = output.read_text()
        assert "Traceback" not in text
        result = json.loads(text.splitlines()[-1]) if code == 0 or text else {}
        return {"code": code, "text": text, "failed": False, **result}

    def _ask(self, line: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@dataclass(frozen=True)
class TaskResult:
    """What a task came to on a host. ``outcome``: ok, failed, ignored, unreachable or skipped."""

    outcome: str
    task: str
    action: str
    host: str
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))

    def of_items(self, key: str) -> list[Any]:
        """A key of the result, for every item of a loop that was not skipped."""
        items = self.result.get("results", [self.result])
        return [item.get(key) for item in items if not item.get("skipped")]


@dataclass(frozen=True)
class Play:
    """A run of ansible-playbook: what a person saw, what the tasks came to, the AWS calls that were made."""

    code: int
    output: str
    results: list[TaskResult]
    calls: list[Call]

    @property
    def writes(self) -> list[str]:
        return [call.action for call in self.calls if call.write]

    @property
    def put_on(self) -> list[str]:
        """The instance profiles that were put on an instance, in order."""
        return [call.params["IamInstanceProfile.Name"] for call in self.calls if call.action in PUT_ON]

    @property
    def changes(self) -> list[str]:
        return [result.task for result in self.results if result.changed]

    @property
    def story(self) -> list[tuple[str, str, str, bool]]:
        """What happened on each host; not how tasks were included, which differs in check mode."""
        done = [each for each in self.results if not each.action.startswith("ansible.builtin.include_")]
        return [(each.host, each.task, each.outcome, each.changed) for each in done]

    @property
    def failures(self) -> list[TaskResult]:
        return [result for result in self.results if result.outcome in ("failed", "unreachable")]

    @property
    def message(self) -> str:
        """All that the failed tasks say."""
        texts = []
        for failure in self.failures:
            # ansible-core 2.21 leaves out which items failed; those that did not say nothing.
            items = [item for item in failure.result.get("results", []) if item.get("msg")]
            texts += [str(each.get("msg", "")) for each in items or [failure.result]]
        return " ".join(" ".join(texts).split())

    def succeeded(self) -> Play:
        assert self.code == 0, self.output
        return self

    def failed(self) -> Play:
        """That it failed as it should: with words, without a traceback."""
        assert self.code != 0, self.output
        assert "Traceback" not in self.output
        return self


@dataclass(frozen=True)
class Workplace:
    """A controller: a home, an inventory and files of its own. ``name`` leads to the files in ``home``."""

    aws: Emulator
    home: Path

    def file(self, name: str, content: object) -> Path:
        """Write a file; what is not text is written as JSON, which is YAML too."""
        path = self.home / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    @property
    def credentials(self) -> Path:
        return self.home / "credentials"

    def inventory(self, groups: Mapping[str, Mapping[str, Any]], name: str = "hosts.yml") -> Path:
        """An inventory of groups of hosts with their variables, all on this machine."""
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        children = {f"cwagent_{group}": {"hosts": dict(hosts)} for group, hosts in groups.items()}
        return self.file(name, {"all": {"vars": local, "children": children}})

    def on_instance(self, instance: str, **more: Any) -> dict[str, Any]:
        """The variables of a host that is an EC2 instance."""
        metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.aws.metadata_endpoint(instance)}
        return {
            "instance_id": instance,
            "cwagent_region": self.aws.region,
            "store_config_environment": metadata,
            **more,
        }

    def play(
        self,
        inventory: Path,
        playbook: str | Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path = CHECKOUT,
        **variables: Any,
    ) -> Play:
        """Run a playbook, one of the collection's by its name."""
        path = CHECKOUT / "playbooks" / f"{playbook}.yml" if isinstance(playbook, str) else playbook
        command = ["ansible-playbook", path, "-i", inventory, *arguments, "-e", json.dumps(variables)]
        return self._run(command, env or {}, cwd)

    def command(self, line: str) -> Play:
        """Run a playbook by a command as a person gives it, in the folder of the files."""
        return self._run(shlex.split(line), {"ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}, self.home)

    def _run(self, command: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> Play:
        recorded = self.home / "recorded.jsonl"
        recorded.unlink(missing_ok=True)
        settings = {
            "HOME": str(self.home),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "recorded",
            "ANSIBLE_LOCAL_TEMP": str(self.home / ".ansible" / "tmp"),
            "RECORDED_TO": str(recorded),
            **env,
        }
        since = self.aws.mark()
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment(self.aws, settings),
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=PLAY_SECONDS,
        )
        lines = recorded.read_text().splitlines() if recorded.exists() else []
        results = [TaskResult(**json.loads(line)) for line in lines]
        return Play(done.returncode, done.stdout + done.stderr, results, self.aws.calls(since))


def account(aws: Emulator, *regions: str) -> dict[str, Any]:
    """All that the collection could have touched, by kind and name."""
    regions = regions or (aws.region,)
    iam = aws.client("iam")
    return {
        "roles": {name: _role(iam, name) for name in _names(iam, "roles", "RoleName")},
        "users": {name: _user(iam, name) for name in _names(iam, "users", "UserName")},
        "profiles": {
            profile["InstanceProfileName"]: [role["RoleName"] for role in profile["Roles"]]
            for profile in iam.list_instance_profiles()["InstanceProfiles"]
        },
        "policies": sorted(policy["Arn"] for policy in iam.list_policies(Scope="Local")["Policies"]),
        "carried": {
            instance: profile for region in regions for instance, profile in carried(aws, region).items() if profile
        },
        "tags": {region: _instance_tags(aws, region) for region in regions},
        "parameters": {region: parameters(aws, region) for region in regions},
    }


def _names(iam: Any, kind: str, key: str) -> list[str]:
    return [each[key] for page in iam.get_paginator(f"list_{kind}").paginate() for each in page[kind.title()]]


def _held(iam: Any, kind: str, name: str) -> dict[str, Any]:
    by = {f"{kind.title()}Name": name}
    attached = getattr(iam, f"list_attached_{kind}_policies")(**by)["AttachedPolicies"]
    inline = getattr(iam, f"list_{kind}_policies")(**by)["PolicyNames"]
    document = getattr(iam, f"get_{kind}_policy")
    found = getattr(iam, f"get_{kind}")(**by)[kind.title()]
    return {
        "policies": sorted(policy["PolicyName"] for policy in attached),
        "inline": {each: document(**by, PolicyName=each)["PolicyDocument"] for each in inline},
        "tags": {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        "path": found["Path"],
        "boundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
    }


def _role(iam: Any, name: str) -> dict[str, Any]:
    role = iam.get_role(RoleName=name)["Role"]
    settings = {"trust": role["AssumeRolePolicyDocument"], "description": role.get("Description", "")}
    return {**_held(iam, "role", name), **settings, "session": role["MaxSessionDuration"]}


def _user(iam: Any, name: str) -> dict[str, Any]:
    keys = iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
    return {**_held(iam, "user", name), "keys": sorted(key["AccessKeyId"] for key in keys)}


def instances(aws: Emulator, region: str | None = None) -> list[dict[str, Any]]:
    """The instances of a region, without those that are terminated."""
    pages = aws.client("ec2", region).describe_instances()["Reservations"]
    return [each for page in pages for each in page["Instances"] if each["State"]["Name"] != "terminated"]


def carried(aws: Emulator, region: str | None = None) -> dict[str, str | None]:
    """By instance, the profile it carries."""
    ec2 = aws.client("ec2", region)
    profiles = {
        each["InstanceId"]: each["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        for each in ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
        if each["State"] in ("associating", "associated")
    }
    return {each["InstanceId"]: profiles.get(each["InstanceId"]) for each in instances(aws, region)}


def _instance_tags(aws: Emulator, region: str) -> dict[str, dict[str, str]]:
    return {
        each["InstanceId"]: {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])}
        for each in instances(aws, region)
    }


def parameters(aws: Emulator, region: str | None = None) -> dict[str, Any]:
    """By name, the configurations stored in a region."""
    ssm = aws.client("ssm", region)
    pages = ssm.get_paginator("describe_parameters").paginate()
    names = [each["Name"] for page in pages for each in page["Parameters"] if not each["Name"].startswith("/")]
    return {name: json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"]) for name in names}


def allow(*actions: str, **more: Any) -> dict[str, Any]:
    """A policy that allows actions on everything; ``NotAction`` in ``more`` takes their place."""
    what = more or {"Action": list(actions)}
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", **what}]}


def trust(*services: str) -> str:
    """A trust policy with one statement for each service."""
    statements = [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"} for service in services
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def make_role(aws: Emulator, name: str, *policies: str, services: Sequence[str] = ("ec2.amazonaws.com",)) -> None:
    """An application's role in an instance profile of the same name."""
    iam = aws.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(*services))
    for policy in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def take_off(aws: Emulator, instance: str) -> None:
    """Take the instance profile off an instance, if it has one."""
    ec2 = aws.client("ec2")
    for each in ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]:
        if each["InstanceId"] == instance and each["State"] == "associated":
            ec2.disassociate_iam_instance_profile(AssociationId=each["AssociationId"])


def put_on(aws: Emulator, instance: str, profile: str) -> None:
    """Put an instance profile on an instance, in place of another one where there is one."""
    ec2 = aws.client("ec2")
    take_off(aws, instance)
    ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": profile})


def make_user(aws: Emulator, name: str, document: Mapping[str, Any] | None = None, policy: str = "") -> dict[str, str]:
    """A user with an access key, as environment variables."""
    iam = aws.client("iam")
    iam.create_user(UserName=name)
    if document:
        iam.put_user_policy(UserName=name, PolicyName="given", PolicyDocument=json.dumps(document))
    if policy:
        iam.attach_user_policy(UserName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)  # between two looks: nothing tells what another program has done in AWS


@contextmanager
def nothing_written(aws: Emulator) -> Iterator[None]:
    """That no writing call reaches AWS meanwhile."""
    since = aws.mark()
    yield
    assert [call.action for call in aws.writes(since)] == []
