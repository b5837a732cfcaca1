"""Run Command where it is unkind or refuses, and what its scripts see.

The tests of the collection show the rest: they store, collect and apply by it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from emulator import Emulator
from emulator.machines import system_path
from emulator.testing import refused, wait_until

UNCHECKED = Config(parameter_validation=False, retries={"total_max_attempts": 1})
SHELL = "AWS-RunShellScript"
CORE = "AmazonSSMManagedInstanceCore"
COMMAND_ID = "00000000-0000-4000-8000-000000000000"
HOUR = 3600


class Node:
    """An instance with an SSM agent that is online."""

    def __init__(self, account: Any) -> None:
        self.account, self.aws = account, account.aws
        account.create_role("server", CORE)
        [self.id] = self.aws.instances(1)
        self.association = account.associate(self.id, "server")
        self.ssm = client(self.aws)

    def send(
        self, *commands: str, document: str = SHELL, parameters: Any = None, ssm: Any = None, **options: Any
    ) -> str:
        """:param ssm: another client."""
        parameters = {**({"commands": list(commands)} if commands else {}), **(parameters or {})}
        options = {"InstanceIds": [self.id], **options}
        sent = (ssm or self.ssm).send_command(DocumentName=document, Parameters=parameters, **options)
        return str(sent["Command"]["CommandId"])

    def get(self, command_id: str) -> dict[str, Any]:
        return dict(self.ssm.get_command_invocation(CommandId=command_id, InstanceId=self.id))

    def details(self, command_id: str) -> str:
        return str(self.get(command_id)["StatusDetails"])

    def wait(self, command_id: str, *wanted: str) -> dict[str, Any]:
        """The invocation when it has one of these details, or any that are not of an open one."""
        is_over = lambda details: details in wanted if wanted else details not in OPEN  # noqa: E731
        wait_until(lambda: is_over(self.details(command_id)))
        return self.get(command_id)

    def run(self, *commands: str) -> dict[str, Any]:
        return self.wait(self.send(*commands))


OPEN = ("Pending", "Delayed", "InProgress", "Cancelling")


@pytest.fixture
def node(account: Any) -> Node:
    return Node(account)


def client(aws: Emulator, key: Any = None) -> Any:
    """A client that sends requests that botocore would refuse, and does not retry."""
    return aws.client("ssm", credentials=key, config=UNCHECKED)


# Scripts


SCRIPTS: list[tuple[list[str], tuple[str, int, str, str]]] = [
    (["echo a", "echo b"], ("Success", 0, "a\nb\n", "")),
    (["echo a >&2", "exit 3"], ("Failed", 3, "", "a\nfailed to run commands: exit status 3")),
    (["kill -9 $PPID"], ("Failed", 137, "", "failed to run commands: exit status 137")),
    (["#!/bin/cat"], ("Success", 0, "#!/bin/cat\n", "")),
    (["printf '\\377'"], ("Success", 0, "�", "")),
]


def test_a_script_runs_and_its_result_is_reported(node: Node) -> None:
    names = ("StatusDetails", "ResponseCode", "StandardOutputContent", "StandardErrorContent")
    for commands, expected in SCRIPTS:
        done = node.run(*commands)
        assert tuple(done[name] for name in names) == expected


def test_a_script_ends_when_its_time_is_over(node: Node) -> None:
    command_id = node.send("echo a; touch root/began; sleep 600", parameters={"executionTimeout": [str(HOUR)]})
    wait_until((node.aws.disk(node.id) / "root/began").exists)
    node.aws.shift_clock(HOUR)
    done = node.wait(command_id)
    assert (done["Status"], done["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    assert (done["ResponseCode"], done["StandardOutputContent"], done["StandardErrorContent"]) == (137, "a\n", "")


def test_long_output_is_cut(node: Node) -> None:
    done = node.run("head -c 30000 /dev/zero | tr '\\0' x", "head -c 30000 /dev/zero | tr '\\0' y >&2")
    assert [len(done[f"Standard{each}Content"]) for each in ("Output", "Error")] == [24000, 8000]
    assert done["StandardOutputContent"].endswith("x--output truncated--")
    [listed] = node.ssm.list_command_invocations(CommandId=done["CommandId"], Details=True)["CommandInvocations"]
    [step] = listed["CommandPlugins"]
    assert len(step["Output"]) == 2500
    assert (step["Name"], step["Status"], step["ResponseCode"]) == ("aws:runShellScript", "Success", 0)


def test_a_script_sees_nothing_of_the_controller(node: Node) -> None:
    variables = dict(line.split("=", 1) for line in node.run("env")["StandardOutputContent"].splitlines())
    for name in ("PWD", "OLDPWD", "SHLVL", "_"):  # set by shells
        variables.pop(name, None)
    assert variables == node.aws.agents()[node.id]["environment"]
    assert variables.keys() == {
        *("PATH", "TMPDIR", "AWS_SSM_INSTANCE_ID", "AWS_SSM_REGION_NAME"),
        *("AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT"),
    }


@pytest.mark.parametrize("has_cli", [False, True])
def test_an_aws_cli_of_this_machine_is_not_on_the_instances(tmp_path: Path, has_cli: bool) -> None:
    here = tmp_path / "bin"
    here.mkdir()
    for name in ("ls", *(["aws"] if has_cli else [])):
        (here / name).touch(mode=0o755)
    path = Path(system_path(tmp_path / "links", str(here)))
    assert [each.name for each in path.iterdir()] == ["ls"]


# Requests that AWS refuses


def many(count: int) -> list[str]:
    return [f"i-{number:017x}" for number in range(count)]


def send(*commands: str, **options: Any) -> Callable[[Node], Any]:
    return lambda node: node.send(*commands, **options)


def ask(operation: str, **options: Any) -> Callable[[Node], Any]:
    return lambda node: getattr(node.ssm, operation)(**options)


REFUSED: list[tuple[str, str, Callable[[Node], Any]]] = [
    ("InvalidInstanceId", "not in a valid state", send("true", InstanceIds=many(1))),
    ("ValidationException", "'instanceIds'.*less than or equal to 50", send(InstanceIds=many(51))),
    ("ValidationException", "'instanceIds.member'.*pattern", send(InstanceIds=["web1"])),
    ("ValidationException", "'timeoutSeconds'.*greater.*30", send("true", TimeoutSeconds=29)),
    ("ValidationException", "'comment'.*less than or equal to 100", send("true", Comment="x" * 101)),
    ("ValidationException", "'documentName'.*not be null", ask("send_command")),
    ("InvalidDocument", "", send(document="AWS-Nothing")),
    ("InvalidDocumentVersion", "", send("true", DocumentVersion="2")),
    ("DuplicateInstanceId", "", lambda node: node.send("true", InstanceIds=[node.id, node.id])),
    ("InvalidParameters", "", send()),
    ("InvalidParameters", "", send("true", parameters={"other": ["x"]})),
    ("InvalidParameters", "", send("true", parameters={"executionTimeout": ["0"]})),
    ("InvalidParameters", "", send("echo {{ ssm:name }}")),
    ("InvocationDoesNotExist", "", lambda node: node.get(COMMAND_ID)),
    ("ValidationException", "'commandId'", lambda node: node.get("short")),
    ("InvalidCommandId", "", ask("cancel_command", CommandId=COMMAND_ID)),
    (
        "InvalidInstanceId",
        "",
        lambda node: ask("cancel_command", CommandId=node.send("true"), InstanceIds=many(1))(node),
    ),
    ("ValidationException", "'maxResults'", ask("list_commands", MaxResults=51)),
    ("ValidationException", "'maxResults'", ask("describe_instance_information", MaxResults=4)),
    *(
        ("InvalidNextToken", "", ask(operation, NextToken="x"))
        for operation in ("list_commands", "list_command_invocations", "describe_instance_information")
    ),
    ("InvalidFilterKey", "", ask("describe_instance_information", Filters=[{"Key": "Other", "Values": ["x"]}])),
    ("UnsupportedPlatformType", "", lambda node: (node.aws.agents(node.id, platform="Windows"), node.send("true"))),
]


def test_aws_refuses(node: Node) -> None:
    for code, message, call in REFUSED:
        with refused(code, message):
            call(node)


# Agents


def ping(node: Node, **options: Any) -> dict[str, str]:
    found = node.ssm.describe_instance_information(**options)["InstanceInformationList"]
    return {each["InstanceId"]: each["PingStatus"] for each in found}


@pytest.mark.parametrize("policy", ["CloudWatchAgentServerPolicy", "AmazonSSMReadOnlyAccess"])
def test_an_agent_is_not_online_where_the_role_does_not_allow_it(account: Any, policy: str) -> None:
    account.create_role("some", policy)
    node = Node(account)
    [instance] = node.aws.instances(1)
    account.associate(instance, "some")
    assert ping(node) == {node.id: "Online"}
    with refused("InvalidInstanceId", f"Instances \\[\\[{instance}]] not in a valid state for account "):
        node.send("true", InstanceIds=[node.id, instance])


READ_ONLY = "arn:aws:iam::aws:policy/AmazonSSMReadOnlyAccess"
ENDS: dict[str, tuple[Callable[[Node], Any], str | None]] = {
    "stopped": (lambda node: node.account.ec2.stop_instances(InstanceIds=[node.id]), None),
    "bounded": (
        lambda node: node.account.iam.put_role_permissions_boundary(RoleName="server", PermissionsBoundary=READ_ONLY),
        "ConnectionLost",
    ),
    "disassociated": (
        lambda node: node.account.ec2.disassociate_iam_instance_profile(AssociationId=node.association),
        "ConnectionLost",
    ),
}


@pytest.mark.parametrize(("end", "shown"), ENDS.values(), ids=ENDS)
def test_an_agent_goes_offline(node: Node, end: Callable[[Node], None], shown: str | None) -> None:
    end(node)
    assert ping(node).get(node.id) == shown
    with refused("InvalidInstanceId"):
        node.send("true")


def test_agents_are_filtered_and_paged(node: Node) -> None:
    others = node.aws.instances(5)
    for each in others:
        node.account.associate(each, "server")
    wanted = [{"Key": "InstanceIds", "Values": [node.id]}]
    assert ping(node, Filters=wanted) == {node.id: "Online"}
    first = node.ssm.describe_instance_information(MaxResults=5)
    rest = ping(node, MaxResults=5, NextToken=first["NextToken"])
    assert rest.keys() | {each["InstanceId"] for each in first["InstanceInformationList"]} == {node.id, *others}


# Switches


def test_a_command_is_delivered_after_the_delay_and_not_after_its_timeout(node: Node) -> None:
    node.aws.agents(delivery_seconds=30)
    late, too_late = node.send("true", TimeoutSeconds=60), node.send("true", TimeoutSeconds=30)
    assert (node.details(late), node.details(too_late)) == ("Pending", "Pending")
    node.aws.shift_clock(45)
    node.wait(late, "Success")
    assert node.details(too_late) == "Pending"
    node.aws.shift_clock(HOUR)
    assert node.details(too_late) == "DeliveryTimedOut"


def test_a_command_is_unknown_right_after_it_was_sent(node: Node) -> None:
    node.aws.agents(unknown_seconds=60)
    command_id = node.send("true")
    with refused("InvocationDoesNotExist"):
        node.get(command_id)
    assert node.ssm.list_commands()["Commands"] == []
    assert node.ssm.list_command_invocations(CommandId=command_id)["CommandInvocations"] == []
    assert [each["id"] for each in node.aws.commands()] == [command_id]
    node.aws.shift_clock(60)
    assert node.ssm.list_commands()["Commands"][0]["CommandId"] == command_id
    node.wait(command_id, "Success")


def test_a_result_waits_for_an_agent_that_is_away_after_a_swap(node: Node) -> None:
    node.account.create_role("admin", CORE)
    node.aws.agents(swap_seconds=600)
    node.aws.shift_clock(600)
    command_id = node.send("until [ -e root/go ]; do sleep 0.02; done; echo done")
    node.wait(command_id, "InProgress")
    profile = {"IamInstanceProfile": {"Name": "admin"}}
    node.account.ec2.replace_iam_instance_profile_association(AssociationId=node.association, **profile)
    assert ping(node) == {node.id: "ConnectionLost"}
    (node.aws.disk(node.id) / "root/go").touch()
    wait_until(lambda: "done" in next(node.aws.disk(node.id).glob("var/lib/amazon/ssm/*/stdout")).read_text())
    assert node.details(command_id) == "InProgress"
    node.aws.shift_clock(600)
    assert ping(node) == {node.id: "Online"}
    assert node.wait(command_id, "Success")["StandardOutputContent"] == "done\n"


# Lists


def test_commands_and_invocations_are_listed_in_pages(node: Node) -> None:
    sent = [node.send("true", Comment=f"run {number}") for number in range(3)]
    for call, name in ((node.ssm.list_commands, "Commands"), (node.ssm.list_command_invocations, "CommandInvocations")):
        first = call(MaxResults=2)
        second = call(MaxResults=2, NextToken=first["NextToken"])
        found = [(each["CommandId"], each["Comment"]) for each in first[name] + second[name]]
        assert found == [(sent[number], f"run {number}") for number in (2, 1, 0)]
        assert "NextToken" not in second
        for after, count in (("2020-01-01T00:00:00Z", 3), ("2100-01-01T00:00:00Z", 0)):
            assert len(call(Filters=[{"key": "InvokedAfter", "value": after}])[name]) == count


# Permissions


DOCUMENT = f"arn:aws:ssm:*::document/{SHELL}"
INSTANCES = "arn:aws:ec2:*:123456789012:instance/*"


def test_sending_needs_the_permission_for_document_and_instance(node: Node) -> None:
    instance = f"arn:aws:ec2:eu-central-1:123456789012:instance/{node.id}"
    document = f"arn:aws:ssm:eu-central-1::document/{SHELL}"
    for action, resources, missing in (
        ("ssm:SendCommand", [DOCUMENT], instance),
        ("ssm:SendCommand", [INSTANCES], document),
        ("ssm:ListCommands", ["*"], document),
    ):
        limited = client(node.aws, limited_key(node, action, resources))
        with refused("AccessDeniedException", f"ssm:SendCommand on resource: {missing} "):
            node.send("true", ssm=limited)
    assert node.aws.commands() == []
    node.send("true", ssm=client(node.aws, limited_key(node, "ssm:SendCommand", [DOCUMENT, INSTANCES])))


@pytest.mark.parametrize("key", ["aws:ResourceTag/team", "ssm:resourceTag/team"])
def test_a_tag_of_the_instance_can_be_required(node: Node, key: str) -> None:
    send = {"Effect": "Allow", "Action": "ssm:SendCommand"}
    tagged = {**send, "Resource": INSTANCES, "Condition": {"StringEquals": {key: "ops"}}}
    node.ssm = client(node.aws, node.account.limited_key({**send, "Resource": DOCUMENT}, tagged))
    with refused("AccessDeniedException", f"ssm:SendCommand on resource: .*:instance/{node.id} "):
        node.send("true")
    node.aws.client("ec2").create_tags(Resources=[node.id], Tags=[{"Key": "team", "Value": "ops"}])
    node.send("true")


def test_the_other_actions_need_their_permission(node: Node) -> None:
    command = node.send("true")
    of_node = {"CommandId": command, "InstanceId": node.id}
    calls: dict[str, Callable[[Any], Any]] = {
        "GetCommandInvocation": lambda ssm: ssm.get_command_invocation(**of_node),
        "ListCommandInvocations": lambda ssm: ssm.list_command_invocations(),
        "ListCommands": lambda ssm: ssm.list_commands(),
        "CancelCommand": lambda ssm: ssm.cancel_command(CommandId=command),
        "DescribeInstanceInformation": lambda ssm: ssm.describe_instance_information(),
    }
    denied = client(node.aws, limited_key(node, "ssm:SendCommand", ["*"]))
    for action, call in calls.items():
        with refused("AccessDeniedException", f"ssm:{action} on resource: arn:aws:ssm:eu-central-1:123456789012:\\* "):
            call(denied)
        call(client(node.aws, limited_key(node, f"ssm:{action}", ["*"])))


def limited_key(node: Node, action: str, resources: list[str]) -> Any:
    return node.account.limited_key({"Effect": "Allow", "Action": action, "Resource": resources})


# The end


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start_sleeping(node: Node, last: str = "wait") -> int:
    """Start a script that starts a process. :returns: the id of that process."""
    node.send("sleep 600 &", "echo $! >root/pid.new", "mv root/pid.new root/pid", last)
    file = node.aws.disk(node.id) / "root/pid"
    wait_until(file.exists)
    return int(file.read_text())


def test_processes_of_a_script_end_with_it(node: Node) -> None:
    process = start_sleeping(node, last="true")
    wait_until(lambda: not is_running(process))


def test_a_reset_ends_and_forgets_commands(node: Node) -> None:
    process, disk = start_sleeping(node), node.aws.disk(node.id)
    node.aws.reset()
    wait_until(lambda: not is_running(process))
    assert (node.aws.commands(), disk.exists()) == ([], False)


def test_commands_and_disks_end_with_an_emulator_that_is_killed(account_of: Callable[[Emulator], Any]) -> None:
    with Emulator.start() as aws:
        node = Node(account_of(aws))
        process, disk = start_sleeping(node), aws.disk(node.id)
        os.kill(aws.pid, signal.SIGKILL)
        wait_until(lambda: not is_running(process))
        wait_until(lambda: not disk.parents[1].exists())
