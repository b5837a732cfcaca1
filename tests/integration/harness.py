"""Runs modules and playbooks against an emulator, each in its own process."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import forks
import pytest
from emulator import Call, Emulator, Fault, program_environment
from emulator.host import Host
from emulator.machines import AGENT_FOLDER
from forks import AWS_CLI, HOST_PYTHON, PROGRAM, Run, on_path

CHECKOUT = Path(__file__).parents[2]
NO_CREDENTIALS = dict.fromkeys(
    (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"),
    ),
    "",
)
"""As in a pipeline without an AWS account; an empty value removes a variable."""
COLLECTIONS = CHECKOUT / ".ansible" / "collections"
HERE = Path(__file__).parent

SERVER_ROLE, ADMIN_ROLE = "CloudWatchAgentServerRole", "CloudWatchAgentAdminRole"
HYBRID_ROLE = "CloudWatchAgentHybridRole"
SERVER_POLICY, ADMIN_POLICY = "CloudWatchAgentServerPolicy", "CloudWatchAgentAdminPolicy"
SSM_POLICY = "AmazonSSMManagedInstanceCore"
SERVER_USER, ADMIN_USER = "CloudWatchAgentServerUser", "CloudWatchAgentAdminUser"
WINDOW_POLICY = "CloudWatchAgentAdminWindow"
OTHER_ACTIONS = [
    "ssm:DeleteParameter",
    "ssm:DeleteParameters",
    "ssm:LabelParameterVersion",
    "ssm:UnlabelParameterVersion",
]
CLOSED_WINDOW = {
    "Sid": f"{WINDOW_POLICY}Closed",
    "Effect": "Deny",
    "Action": ["ssm:PutParameter", *OTHER_ACTIONS],
    "Resource": "*",
}
"""The only statement of a closed admin window."""

PARAMETER = "AmazonCloudWatch-linux"
RESTORE_TAG = "cwagent:earlier-profile"
SUDO = """\
#!/bin/sh
for last; do :; done
echo "$last" >>"$(dirname "$0")/commands"
exec /bin/sh -c "$last"
"""
"""Runs the command as the same user, and logs it."""
SUDO_WITH_TTY = "#!/bin/sh\necho 'sudo: sorry, you must have a tty to run sudo' >&2\nexit 1\n"
"""Refuses, as sudo does with ``requiretty``."""
POLICY_ARN = "arn:aws:iam::aws:policy/"
SWAPPED = [SERVER_ROLE, ADMIN_ROLE, SERVER_ROLE]
"""The profiles of an instance that stores, in order. Its own comes first, to prove that it can be restored."""
REPLACE_ASSOCIATION = "ReplaceIamInstanceProfileAssociation"
ASSOCIATING_ACTIONS = ("AssociateIamInstanceProfile", REPLACE_ASSOCIATION)
TIME = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
MODULE_SECONDS, PLAY_SECONDS = 300, 1800
"""The time limits of a module and a run. They take a fraction of that on a machine that is not busy."""
PATIENCE = 300
"""How long a run waits, in seconds: longer than a run beside it takes."""
TIMEOUTS = {f"cwagent_{name}_timeout": PATIENCE for name in ("identity", "wait", "permission")}
"""The timeouts of a run that succeeds. A test whose run waits in vain sets a shorter one."""
LOCAL_CONNECTION = {
    "ansible_connection": "local",
    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
}
"""The variables of a host that is this machine."""
# Targets of make set the variable, so they skip nothing. A developer who runs one file need not install the AWS CLI.
NEEDS_AWS_CLI = pytest.mark.skipif(
    not AWS_CLI, reason="run make .venv-aws-cli/ready, and set AWS_CLI to its program aws"
)
"""For tests whose instances run scripts with the AWS CLI."""
UNREACHABLE: dict[str, Any] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
"""The variables of a host that cannot be reached."""


def start_empty(running: dict[str, Emulator], backend: str) -> Emulator:
    """The emulator of a backend with an empty account; it is started when it is not yet running."""
    if backend not in running:
        running[backend] = Emulator.start(backend, aws_cli=str(on_path.folder() / "aws") if AWS_CLI else "")
    running[backend].reset()
    return running[backend]


def execute_module(
    aws: Emulator,
    module: str,
    arguments: Mapping[str, Any],
    *,
    env: Mapping[str, str] | None = None,
    faults: Sequence[Mapping[str, Any]] = (),
    may_be_killed: bool = False,
) -> dict[str, Any]:
    """The result of a module in its own process, for environments, signals and output; others are in ``in_process``.

    It has the ``stdout``, the whole ``text``, and the exit ``code``, negative if a signal ended the process. Faults
    affect that process and are disarmed when it has ended.

    :param may_be_killed: whether something other than a fault may kill the process.
    """
    command = [HERE / "module_process.py", CHECKOUT / f"plugins/modules/{module}.py"]
    environ = program_environment(aws.env(), {"PYTHONPATH": str(COLLECTIONS)}, env or {})
    given, giving = os.pipe()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        with os.fdopen(given) as stdin:
            run = Run.start(command, environ, CHECKOUT, stdin=stdin, output=output, errors=errors)
        for fault in faults:
            aws.arm(Fault(**fault, process=run.pid))
        with os.fdopen(giving, "w") as gives:
            json.dump(arguments, gives)
        code = run.wait(MODULE_SECONDS)
        for each in (output, errors):
            each.seek(0)
        stdout, stderr = output.read(), errors.read()
    if faults:
        aws.disarm()
    assert "Traceback" not in stdout + stderr
    assert code >= 0 or faults or may_be_killed, f"{module} was ended by signal {-code}"
    result: dict[str, Any] = json.loads(stdout.splitlines()[-1]) if code >= 0 or stdout else {}
    return {"code": code, "stdout": stdout, "text": stdout + stderr, "failed": False, **result}


@dataclass(frozen=True)
class TaskResult:
    """The result of a task on a host. ``outcome``: ok, failed, ignored, unreachable or skipped."""

    outcome: str
    task: str
    action: str
    host: str
    result: dict[str, Any]
    seconds: float = 0

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))


@dataclass(frozen=True)
class Play:
    """A run of ansible-playbook: its output, the results of the tasks, and the AWS calls that were made."""

    code: int
    output: str
    results: list[TaskResult]
    calls: list[Call]

    @property
    def writes(self) -> list[str]:
        return [call.action for call in self.calls if call.write]

    @property
    def associated(self) -> list[str]:
        """The instance profiles that were associated with an instance, in order."""
        return [call.params["IamInstanceProfile.Name"] for call in self.calls if call.action in ASSOCIATING_ACTIONS]

    @property
    def changed_tasks(self) -> list[str]:
        return [result.task for result in self.results if result.changed]

    @property
    def _by_host(self) -> list[TaskResult]:
        return sorted(self.results, key=lambda each: each.host)

    @property
    def outcomes(self) -> list[tuple[str, str, str, bool]]:
        """The outcome of each task by host, since hosts run side by side.

        Includes are left out, because they differ in check mode.
        """
        done = [each for each in self._by_host if not each.action.startswith("ansible.builtin.include_")]
        return [(each.host, each.task, each.outcome, each.changed) for each in done]

    @property
    def changes(self) -> list[tuple[str, str, Any, Any, Any]]:
        """The task, host, steps, diff and warnings of each module call that changes something, by host.

        Times are left out, since they differ between a run in check mode and the real one. The run needs ``--diff``.
        """
        found = [
            (each.task, each.host, item["steps"], item["diff"], item.get("warnings", []))
            for each, item in self._calls_with_steps
        ]
        without_times: list[tuple[str, str, Any, Any, Any]] = json.loads(re.sub(TIME, "TIME", json.dumps(found)))
        return without_times

    @property
    def steps(self) -> list[tuple[str, str, list[str]]]:
        """The task, host and steps of each module call that changes something, by host, without times."""
        found = [(each.task, each.host, item["steps"]) for each, item in self._calls_with_steps]
        without_times: list[tuple[str, str, list[str]]] = json.loads(re.sub(TIME, "TIME", json.dumps(found)))
        return without_times

    @property
    def _calls_with_steps(self) -> list[tuple[TaskResult, dict[str, Any]]]:
        calls = [(each, item) for each in self._by_host for item in each.result.get("results", [each.result])]
        return [(each, item) for each, item in calls if item.get("steps")]

    @property
    def failures(self) -> list[TaskResult]:
        """The failed results. The last task of an account is left out, because it only repeats which task failed."""
        failed = [result for result in self.results if result.outcome in ("failed", "unreachable")]
        return [each for each in failed if not str(each.result.get("msg")).startswith("The task '")]

    @property
    def message(self) -> str:
        """The messages of all failed tasks."""
        texts = []
        for failure in self.failures:
            # ansible-core 2.21 does not mark the items that failed; the others have no message.
            items = [item for item in failure.result.get("results", []) if item.get("msg")]
            texts += [str(each.get("msg", "")) for each in items or [failure.result]]
        return " ".join(" ".join(texts).split())

    @property
    def report(self) -> list[str]:
        """The lines at the end that report what was done."""
        return [line for each in self.results if each.task == "Report what was done" for line in each.result["msg"]]

    @property
    def problems(self) -> list[str]:
        """The lines in which verify.yml or audit.yml reports problems."""
        tasks = ("Report what was done", "Report the problems")
        return [line for each in self.results if each.task.endswith(tasks) for line in each.result.get("msg", ())]

    @property
    def words(self) -> str:
        """The output on one line, so that no line break is inside a sentence."""
        return " ".join(self.output.split())

    def assert_succeeded(self) -> Play:
        assert self.code == 0, self.output
        return self

    def assert_failed(self) -> Play:
        """Assert that it failed with a message and without a traceback."""
        assert self.code != 0, self.output
        assert "Traceback" not in self.output
        return self

    def assert_narrow(self) -> None:
        """Assert that Ansible prints the problems, and that they fit a terminal of 80 columns."""
        printed = self.output.splitlines()
        assert [line for line in self.problems if line not in printed or len(line) > 80] == []


def first_call(play: Play, *actions: str) -> int:
    """The position of the first call with one of these actions."""
    return next(number for number, call in enumerate(play.calls) if call.action in actions)


def onprem_host(host: Host) -> dict[str, Any]:
    """The variables of a host that is an emulated on-premises server, with its agents."""
    # A module on the host has the variables of the host.
    environment = shlex.join(f"{name}={value}" for name, value in host.environment.items())
    python, agent = host.root / "python", host.root / AGENT_FOLDER
    python.write_text(f'#!/bin/sh\nexec env {environment} {on_path.folder() / HOST_PYTHON} "$@"\n')
    python.chmod(0o755)
    (agent / "etc").mkdir(parents=True, exist_ok=True)
    of_agent = {
        "common_config": agent / "etc/common-config.toml",
        "agent_ctl": agent / "bin/amazon-cloudwatch-agent-ctl",
    }
    of_registration = {
        **of_agent,
        "ssm_agent": host.ssm_agent,
        "ssm_agent_config": host.configuration_file,
        "registration": host.registration_file,
        "credentials_file": host.credentials,
    }
    of_key = {**of_agent, "file": agent / "etc/cwagent.credentials"}
    return {
        **LOCAL_CONNECTION,
        "ansible_python_interpreter": str(python),
        "cwagent_deliver_keys": True,
        **{f"hybrid_registration_{name}": str(path) for name, path in of_registration.items()},
        **{f"onprem_credentials_{name}": str(path) for name, path in of_key.items()},
    }


def playbook_command(inventory: Path, playbook: str | Path, *arguments: str, **variables: Any) -> list[str | Path]:
    """The command that runs a playbook. A name means a playbook of the collection."""
    path = CHECKOUT / "playbooks" / f"{playbook}.yml" if isinstance(playbook, str) else playbook
    return ["ansible-playbook", path, "-i", inventory, *arguments, "-e", json.dumps(variables)]


def assert_complete_report(play: Play) -> None:
    """Assert that the last lines of a run have every step of its modules, with their number.

    The steps on a host are in their order, even if several hosts did theirs at once.
    """
    done = [
        (each.host, part) for each in play.results if each.changed for part in each.result.get("results", [each.result])
    ]
    steps = [(host, step) for host, each in done for step in each.get("steps", ())]
    counts = {
        kind: sum(each.get("counts", {}).get(kind, 0) for _host, each in done)
        for kind in ("create", "update", "delete")
    }
    summary, *lines = play.report
    assert summary == ", ".join(f"{count} {kind}d" for kind, count in counts.items() if count) + ":"
    assert sum(counts.values()) == len(steps) == sum(line.startswith("- ") for line in lines)
    text = "".join("".join(lines).split())  # a long path goes over several lines
    text = re.sub(r"instance[\w.-]+\((i-[0-9a-f]+)\)", r"instance\1", text)  # the report adds the host
    positions: dict[str, int] = {}
    for host, step in steps:
        positions[host] = text.find(f"-{''.join(step.split())}", positions.get(host, 0))
        assert positions[host] >= 0, f"'{step}' of {host} is missing, or not in the order of the tasks"


@dataclass(frozen=True)
class Controller:
    """A controller with its own home, inventory and files. File names are relative to ``home``.

    Unlike by default, Ansible starts only one program for each module, instead of five, unless ``pipelining`` is false.
    """

    aws: Emulator
    home: Path
    pipelining: bool = True

    def file(self, name: str, content: object) -> Path:
        """Write a file. Content that is not text is written as JSON, which is also YAML."""
        path = self.home / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def program(self, name: str, text: str) -> Path:
        """Write a program."""
        path = self.file(name, text)
        path.chmod(0o755)
        return path

    @property
    def credentials(self) -> Path:
        return self.home / "credentials"

    @property
    def output(self) -> Path:
        """The output of the run that was started last."""
        return self.home / "output.txt"

    @property
    def _settings(self) -> dict[str, str]:
        """The variables of every run."""
        return {
            "HOME": str(self.home),
            "ANSIBLE_HOME": str(on_path.folder() / "ansible"),  # one for all, so that their runs start from one process
            "ANSIBLE_LOCAL_TEMP": str(self.home / ".ansible" / "tmp"),
            "ANSIBLE_PIPELINING": str(self.pipelining),
        }

    def inventory(self, groups: Mapping[str, Mapping[str, Any]], name: str = "hosts.yml") -> Path:
        """An inventory of groups of hosts with their variables. All hosts are this machine."""
        children = {f"cwagent_{group}": {"hosts": dict(hosts)} for group, hosts in groups.items()}
        return self.file(name, {"all": {"vars": LOCAL_CONNECTION, "children": children}})

    def instance_host(self, instance: str, **more: Any) -> dict[str, Any]:
        """The variables of a host that is an EC2 instance."""
        metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.aws.metadata_endpoint(instance)}
        return {
            "instance_id": instance,
            "cwagent_region": self.aws.region,
            "cwagent_environment": metadata,
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
        """Run a playbook. A name means a playbook of the collection."""
        return self.run(playbook_command(inventory, playbook, *arguments, **variables), env or {}, cwd)

    def start(
        self,
        inventory: Path,
        playbook: str | Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> Run:
        """Start a playbook that a fault can end. Its output is in ``output``."""
        command = playbook_command(inventory, playbook, *arguments, **variables)
        environ = program_environment(self.aws.env(), self._settings, env or {})
        with self.output.open("w") as output:
            return Run.start(command, environ, CHECKOUT, output=output, errors=output)

    def kill(
        self,
        fault: Fault,
        inventory: Path,
        playbook: str | Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> None:
        """Run a playbook until the fault kills it."""
        process = self.start(inventory, playbook, *arguments, env=env, **variables)
        self.aws.arm(replace(fault, process=process.pid))
        assert process.wait(PLAY_SECONDS) == -signal.SIGKILL
        self.aws.disarm()

    def command(self, line: str, env: Mapping[str, str] | None = None) -> Play:
        """Run a command line of Ansible, in the folder of the files."""
        return self.run(shlex.split(line), {"ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), **(env or {})}, self.home)

    def run(self, command: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> Play:
        """Run a program that may run Ansible."""
        recorded = self.home / "recorded.jsonl"
        recorded.unlink(missing_ok=True)
        settings = {
            **self._settings,
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "recorded",
            "RECORDED_TO": str(recorded),
        }
        environ = program_environment(self.aws.env(), settings, env)
        since = self.aws.mark()
        if command[0] == PROGRAM:
            done = forks.run(command, environ, cwd, PLAY_SECONDS)
        else:
            done = subprocess.run(
                command,
                cwd=cwd,
                env=environ,
                stdin=subprocess.DEVNULL,
                check=False,
                capture_output=True,
                text=True,
                timeout=PLAY_SECONDS,
            )
        lines = recorded.read_text().splitlines() if recorded.exists() else []
        results = [TaskResult(**json.loads(line)) for line in lines]
        return Play(done.returncode, done.stdout + done.stderr, results, self.aws.calls(since))


def lost_after(controller: Controller, what: str) -> tuple[dict[str, str], dict[str, str]]:
    """The variables of a host that becomes unreachable after an AWS call, and the variables of the run.

    :param what: the action of the call, or the instance profile that it associates.
    """
    wrapper = controller.program("ssh", f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "failing_ssh.py"}" "$@"\n')
    host = {"ansible_ssh_executable": str(wrapper), "ansible_ssh_transfer_method": "piped"}
    return {"ansible_connection": "ssh", **host}, {"LOST_AFTER": what, "LOST_SINCE": str(controller.aws.mark())}


def allow(*actions: str, **more: Any) -> dict[str, Any]:
    """A policy that allows actions on all resources. ``NotAction`` in ``more`` replaces them."""
    what = more or {"Action": list(actions)}
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", **what}]}


def trust(*services: str) -> str:
    """A trust policy with one statement for each service."""
    statements = [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"} for service in services
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def create_role(
    aws: Emulator, name: str, *policies: str, services: Sequence[str] = ("ec2.amazonaws.com",), account: str = ""
) -> None:
    """Create an application's role, in an instance profile of the same name. :param account: another account."""
    iam = aws.client("iam", credentials={"AccessKeyId": account, "SecretAccessKey": "test"} if account else None)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(*services))
    for policy in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=POLICY_ARN + policy)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def hybrid_trust(aws: Emulator, **condition: Any) -> str:
    """The trust policy of a hybrid role. By default, its condition is the collection's own."""
    account = aws.client("sts").get_caller_identity()["Account"]
    source = {
        "StringEquals": {"aws:SourceAccount": account},
        "ArnEquals": {"aws:SourceArn": [f"arn:aws:ssm:{aws.region}:{account}:*"]},
    }
    document = json.loads(trust("ssm.amazonaws.com"))
    document["Statement"][0]["Condition"] = condition or source
    return json.dumps(document)


def create_hybrid_role(aws: Emulator, *policies: str) -> None:
    """Create the hybrid role."""
    iam = aws.client("iam")
    iam.create_role(RoleName=HYBRID_ROLE, AssumeRolePolicyDocument=hybrid_trust(aws))
    for policy in policies:
        iam.attach_role_policy(RoleName=HYBRID_ROLE, PolicyArn=POLICY_ARN + policy)


def hybrid_nodes(aws: Emulator, region: str | None = None) -> list[str]:
    """The IDs of the nodes that are no instances."""
    found = aws.client("ssm", region).describe_instance_information()["InstanceInformationList"]
    return [each["InstanceId"] for each in found if each["InstanceId"].startswith("mi-")]


def rename_instance_profile(aws: Emulator, role: str, name: str) -> None:
    """Move a role to an instance profile with another name."""
    iam = aws.client("iam")
    iam.remove_role_from_instance_profile(InstanceProfileName=role, RoleName=role)
    iam.delete_instance_profile(InstanceProfileName=role)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)


def disassociate(aws: Emulator, instance: str) -> None:
    """Disassociate the instance profile of an instance, if it has one."""
    ec2 = aws.client("ec2")
    for each in ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]:
        if each["InstanceId"] == instance and each["State"] == "associated":
            ec2.disassociate_iam_instance_profile(AssociationId=each["AssociationId"])


def associate(aws: Emulator, instance: str, profile: str) -> None:
    """Associate an instance profile with an instance. It replaces the earlier profile, if there is one."""
    ec2 = aws.client("ec2")
    disassociate(aws, instance)
    ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": profile})


def leave_restore_tag(aws: Emulator, instance: str, profile: str) -> None:
    """Leave the restore tag and the record of a run on an instance."""
    record = {"Key": f"{RESTORE_TAG}:{aws.region}:{instance}", "Value": profile}
    aws.client("iam").tag_role(RoleName=ADMIN_ROLE, Tags=[record])
    aws.client("ec2").create_tags(Resources=[instance], Tags=[{"Key": RESTORE_TAG, "Value": profile}])


def assert_admin_user_closed(aws: Emulator) -> None:
    """Assert that the admin user's window is closed and its access key is inactive."""
    iam = aws.client("iam")
    [key] = iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    assert key["Status"] == "Inactive"
    window = iam.get_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY)["PolicyDocument"]
    assert window == {"Version": "2012-10-17", "Statement": [CLOSED_WINDOW]}


def restore_records(aws: Emulator) -> dict[str, str]:
    """The restore records on the admin role."""
    tags = aws.client("iam").list_role_tags(RoleName=ADMIN_ROLE)["Tags"]
    return {tag["Key"]: tag["Value"] for tag in tags if tag["Key"].startswith(f"{RESTORE_TAG}:")}


def create_user(
    aws: Emulator, name: str, document: Mapping[str, Any] | None = None, policy: str = ""
) -> dict[str, str]:
    """Create a user with an access key, and return the key as environment variables."""
    iam = aws.client("iam")
    iam.create_user(UserName=name)
    if document:
        iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=json.dumps(document))
    if policy:
        iam.attach_user_policy(UserName=name, PolicyArn=POLICY_ARN + policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@contextmanager
def assert_no_writes(aws: Emulator) -> Iterator[None]:
    """Assert that the body makes no writing call to AWS."""
    since = aws.mark()
    yield
    assert [call.action for call in aws.writes(since)] == []
