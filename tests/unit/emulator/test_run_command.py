"""Run Command as a client sees it, the instances as its scripts see them, and each way in which it is unkind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from emulator import Emulator, Fault, Kind
from emulator.machines import AGENT_FOLDER, system_path
from emulator.testing import refused, wait_until

SESSION = boto3.session.Session()
SHELL, MANAGE = "AWS-RunShellScript", "AmazonCloudWatch-ManageAgent"
CORE = "AmazonSSMManagedInstanceCore"
COMMAND_ID = "00000000-0000-4000-8000-000000000000"
HOUR = 3600
ministack_only = pytest.mark.parametrize("aws", ["ministack"], indirect=True)
needs_aws_cli = pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make unit sets it up")


class Node:
    """An instance with an SSM agent that is online."""

    def __init__(self, account: Any) -> None:
        self.account, self.aws = account, account.aws
        account.create_role("server", CORE)
        [self.id] = self.aws.instances(1)
        self.association = account.associate(self.id, "server")
        self.ssm = client(self.aws)

    def send(self, *commands: str, document: str = SHELL, parameters: Any = None, **options: Any) -> str:
        parameters = {**({"commands": list(commands)} if commands else {}), **(parameters or {})}
        options = {"InstanceIds": [self.id], **options}
        sent = self.ssm.send_command(DocumentName=document, Parameters=parameters, **options)
        return str(sent["Command"]["CommandId"])

    def cancel(self, command_id: str, **options: Any) -> None:
        self.ssm.cancel_command(CommandId=command_id, **options)

    def get(self, command_id: str, step: str = "") -> dict[str, Any]:
        options = {"PluginName": step} if step else {}
        return dict(self.ssm.get_command_invocation(CommandId=command_id, InstanceId=self.id, **options))

    def details(self, command_id: str) -> str:
        return str(self.get(command_id)["StatusDetails"])

    def wait(self, command_id: str, *wanted: str, step: str = "") -> dict[str, Any]:
        """The invocation when it has one of these details, or any that are not of an open one."""
        is_over = lambda details: details in wanted if wanted else details not in OPEN  # noqa: E731
        wait_until(lambda: is_over(self.details(command_id)))
        return self.get(command_id, step)

    def run(self, *commands: str, step: str = "", **options: Any) -> dict[str, Any]:
        return self.wait(self.send(*commands, **options), step=step)

    def output(self, *commands: str) -> str:
        """The output of a script that succeeds."""
        done = self.run(*commands)
        assert done["Status"] == "Success", done["StandardErrorContent"]
        return str(done["StandardOutputContent"])


OPEN = ("Pending", "Delayed", "InProgress", "Cancelling")


@pytest.fixture
def node(account: Any) -> Node:
    return Node(account)


def client(aws: Emulator, key: Any = None) -> Any:
    """A client that sends requests that botocore would refuse, and does not retry."""
    key = key or {"AccessKeyId": "test", "SecretAccessKey": "test"}
    return SESSION.client(
        "ssm",
        region_name=aws.region,
        endpoint_url=aws.endpoint,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )


# Scripts


@ministack_only
@pytest.mark.parametrize(
    ("commands", "parameters", "expected"),
    [
        (["echo a", "echo b"], {}, ("Success", 0, "a\nb\n", "")),
        (["echo a >&2", "exit 3"], {}, ("Failed", 3, "", "a\nfailed to run commands: exit status 3")),
        (["kill -9 $PPID"], {}, ("Failed", 137, "", "failed to run commands: exit status 137")),
        (["pwd"], {"workingDirectory": ["/"]}, ("Success", 0, "/\n", "")),
        (["#!/bin/cat"], {}, ("Success", 0, "#!/bin/cat\n", "")),
        (["printf '\\377'"], {}, ("Success", 0, "�", "")),
    ],
)
def test_a_script_runs_and_its_result_is_reported(node: Node, commands: Any, parameters: Any, expected: Any) -> None:
    done = node.run(*commands, parameters=parameters)
    names = ("StatusDetails", "ResponseCode", "StandardOutputContent", "StandardErrorContent")
    assert tuple(done[name] for name in names) == expected
    assert done["Status"] == expected[0]
    assert (done["PluginName"], done["DocumentName"]) == ("aws:runShellScript", SHELL)


@ministack_only
def test_a_script_ends_when_its_time_is_over(node: Node) -> None:
    command_id = node.send("echo a; touch root/began; sleep 600", parameters={"executionTimeout": [str(HOUR)]})
    wait_until((node.aws.disk(node.id) / "root/began").exists)
    node.aws.shift_clock(HOUR)
    done = node.wait(command_id)
    assert (done["Status"], done["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    assert (done["ResponseCode"], done["StandardOutputContent"], done["StandardErrorContent"]) == (137, "a\n", "")


@ministack_only
def test_long_output_is_cut(node: Node) -> None:
    done = node.run("head -c 30000 /dev/zero | tr '\\0' x", "head -c 30000 /dev/zero | tr '\\0' y >&2")
    assert [len(done[f"Standard{each}Content"]) for each in ("Output", "Error")] == [24000, 8000]
    assert done["StandardOutputContent"].endswith("x--output truncated--")
    [listed] = node.ssm.list_command_invocations(CommandId=done["CommandId"], Details=True)["CommandInvocations"]
    [step] = listed["CommandPlugins"]
    assert len(step["Output"]) == 2500
    assert (step["Name"], step["Status"], step["ResponseCode"]) == ("aws:runShellScript", "Success", 0)


def test_a_script_sees_nothing_of_the_controller(node: Node) -> None:
    variables = dict(line.split("=", 1) for line in node.output("env").splitlines())
    for name in ("PWD", "OLDPWD", "SHLVL", "_"):  # set by shells
        variables.pop(name, None)
    assert variables == node.aws.agents()[node.id]["environment"]
    assert variables.keys() == {
        *("PATH", "TMPDIR", "AWS_SSM_INSTANCE_ID", "AWS_SSM_REGION_NAME"),
        *("AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT"),
    }


@ministack_only
def test_the_disk_keeps_the_files_of_scripts_until_a_reset(node: Node) -> None:
    node.output("echo kept >root/file", "echo temporary >$TMPDIR/file")
    assert node.output("cat root/file") == "kept\n"
    disk = node.aws.disk(node.id)
    assert (disk / "tmp/file").read_text() == "temporary\n"
    node.aws.reset()
    assert not disk.exists()


@needs_aws_cli
def test_the_aws_cli_acts_with_the_identity_of_the_instance(node: Node) -> None:
    arn = node.output("aws sts get-caller-identity --region $AWS_SSM_REGION_NAME --query Arn --output text")
    assert arn == f"arn:aws:sts::123456789012:assumed-role/server/{node.id}\n"
    [call] = [call for call in node.aws.calls() if call.action == "GetCallerIdentity"]
    assert call.identity == "role"


@needs_aws_cli
@ministack_only
def test_an_instance_can_be_without_the_aws_cli(node: Node) -> None:
    node.output("command -v aws")
    node.aws.agents(node.id, aws_cli=False)
    assert node.run("command -v aws")["ResponseCode"] == 127


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
    ("InvalidPluginName", "", lambda node: node.get(node.send("true"), "aws:other")),
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
]


@ministack_only
@pytest.mark.parametrize(("code", "message", "call"), REFUSED)
def test_aws_refuses(node: Node, code: str, message: str, call: Callable[[Node], Any]) -> None:
    with refused(code, message):
        call(node)


@ministack_only
def test_a_shell_script_is_not_for_windows(node: Node) -> None:
    node.aws.agents(node.id, platform="Windows")
    with refused("UnsupportedPlatformType"):
        node.send("true")


# Agents


def ping(node: Node, **options: Any) -> dict[str, str]:
    found = node.ssm.describe_instance_information(**options)["InstanceInformationList"]
    return {each["InstanceId"]: each["PingStatus"] for each in found}


@pytest.mark.parametrize(
    ("policy", "is_online"),
    [
        (CORE, True),
        ("service-role/AmazonEC2RoleforSSM", True),
        ("CloudWatchAgentServerPolicy", False),
        ("AmazonSSMReadOnlyAccess", False),
    ],
)
def test_an_agent_is_online_where_the_role_allows_it(account: Any, policy: str, is_online: bool) -> None:
    account.create_role("some", policy)
    node = Node(account)
    [instance] = node.aws.instances(1)
    account.associate(instance, "some")
    assert ping(node) == {node.id: "Online", **({instance: "Online"} if is_online else {})}
    if not is_online:
        with refused("InvalidInstanceId", f"Instances \\[\\[{instance}]] not in a valid state for account "):
            node.send("true", InstanceIds=[node.id, instance])


def stop_instance(node: Node) -> None:
    node.account.ec2.stop_instances(InstanceIds=[node.id])


ENDS: dict[str, Callable[[Node], Any]] = {
    "detached": lambda node: node.account.iam.detach_role_policy(
        RoleName="server", PolicyArn=f"arn:aws:iam::aws:policy/{CORE}"
    ),
    "disassociated": lambda node: node.account.ec2.disassociate_iam_instance_profile(AssociationId=node.association),
    "agent stopped": lambda node: node.aws.agents(node.id, running=False),
}


@pytest.mark.parametrize(("end", "shown"), [(stop_instance, None), *((end, "ConnectionLost") for end in ENDS.values())])
def test_an_agent_goes_offline(node: Node, end: Callable[[Node], None], shown: str | None) -> None:
    end(node)
    assert ping(node).get(node.id) == shown
    with refused("InvalidInstanceId"):
        node.send("true")


@ministack_only
def test_a_boundary_takes_the_agent_offline(node: Node) -> None:
    node.account.iam.put_role_permissions_boundary(
        RoleName="server", PermissionsBoundary="arn:aws:iam::aws:policy/AmazonSSMReadOnlyAccess"
    )
    assert ping(node) == {node.id: "ConnectionLost"}


@ministack_only
def test_agents_are_filtered_and_paged(node: Node) -> None:
    others = node.aws.instances(6)
    for each in others:
        node.account.associate(each, "server")
    node.aws.agents(others[0], running=False)
    node.aws.agents(others[1], platform="Windows")
    lost = [{"Key": "PingStatus", "Values": ["ConnectionLost"]}]
    assert ping(node, Filters=lost) == {others[0]: "ConnectionLost"}
    windows = [{"Key": "PlatformTypes", "Values": ["Windows"]}]
    assert ping(node, Filters=windows) == {others[1]: "Online"}
    legacy = [{"key": "InstanceIds", "valueSet": [node.id]}]
    assert ping(node, InstanceInformationFilterList=legacy) == {node.id: "Online"}
    first = node.ssm.describe_instance_information(MaxResults=5)
    rest = ping(node, MaxResults=5, NextToken=first["NextToken"])
    assert rest.keys() | {each["InstanceId"] for each in first["InstanceInformationList"]} == {node.id, *others}


# Switches


@ministack_only
@pytest.mark.parametrize(
    ("settings", "details", "finally_"),
    [
        ({"delivery_seconds": HOUR}, "Pending", "DeliveryTimedOut"),
        ({"delivery": "lost"}, "Pending", "DeliveryTimedOut"),
        ({"delivery": "undeliverable"}, "Undeliverable", "Undeliverable"),
        ({"delivery": "unreported"}, "InProgress", "DeliveryTimedOut"),
        ({"running": False, "offline": "waits"}, "Delayed", "DeliveryTimedOut"),
        ({"running": False, "offline": "undeliverable"}, "Undeliverable", "Undeliverable"),
    ],
)
def test_a_command_that_does_not_arrive(node: Node, settings: dict[str, Any], details: str, finally_: str) -> None:
    node.aws.agents(node.id, **settings)
    command_id = node.send("echo done >root/done", TimeoutSeconds=60, parameters={"executionTimeout": ["60"]})
    assert node.wait(command_id, details)["ResponseCode"] == -1
    file = node.aws.disk(node.id) / "root/done"
    if settings.get("delivery") == "unreported":  # it runs, and only its answers are lost
        wait_until(file.exists)
    node.aws.shift_clock(121)
    done = node.get(command_id)
    status = {"DeliveryTimedOut": "TimedOut", "Undeliverable": "Failed"}[finally_]
    assert (done["Status"], done["StatusDetails"], done["ResponseCode"]) == (status, finally_, -1)
    [listed] = node.ssm.list_commands(CommandId=command_id)["Commands"]
    assert (listed["Status"], listed["StatusDetails"], listed["CompletedCount"]) == (status, finally_, 1)
    assert file.exists() == (settings.get("delivery") == "unreported")


@ministack_only
def test_a_command_is_delivered_after_the_delay_and_not_after_its_timeout(node: Node) -> None:
    node.aws.agents(delivery_seconds=30)
    late, too_late = node.send("true", TimeoutSeconds=60), node.send("true", TimeoutSeconds=30)
    assert (node.details(late), node.details(too_late)) == ("Pending", "Pending")
    node.aws.shift_clock(45)
    node.wait(late, "Success")
    assert node.details(too_late) == "Pending"
    node.aws.shift_clock(HOUR)
    assert node.details(too_late) == "DeliveryTimedOut"


@pytest.mark.parametrize("offline", ["waits", "refused"])
def test_a_command_waits_for_an_instance_that_is_stopped(node: Node, offline: str) -> None:
    node.aws.agents(offline=offline)
    stop_instance(node)
    if offline == "refused":
        with refused("InvalidInstanceId"):
            node.send("true")
        return
    command_id = node.send("echo {{.Names}}")
    node.wait(command_id, "Delayed")
    node.account.ec2.start_instances(InstanceIds=[node.id])
    assert node.wait(command_id, "Success")["StandardOutputContent"] == "{{.Names}}\n"


@ministack_only
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


@ministack_only
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


@ministack_only
def test_a_command_is_cancelled(node: Node) -> None:
    running = node.send("echo began >root/began", "sleep 600")
    node.wait(running, "InProgress")
    node.aws.agents(delivery_seconds=HOUR)
    waiting = node.send("true")
    for command_id, code in ((running, 137), (waiting, -1)):
        node.cancel(command_id)
        done = node.wait(command_id)
        assert (done["Status"], done["StatusDetails"], done["ResponseCode"]) == ("Cancelled", "Cancelled", code)


@ministack_only
def test_a_command_on_windows_returns_the_configured_answer(node: Node) -> None:
    node.aws.agents(node.id, platform="Windows", answer={"code": 2, "stdout": "out", "stderr": "err "})
    done = node.wait(
        node.send(document=MANAGE, parameters={"action": ["status"]}), step="ControlCloudWatchAgentWindows"
    )
    assert (done["Status"], done["ResponseCode"], done["StandardOutputContent"]) == ("Failed", 2, "out")


def test_ec2_shows_the_platform_of_an_instance_with_windows_only(node: Node) -> None:
    [other] = node.aws.instances(1)
    node.aws.agents(other, platform="Windows")
    pages = node.aws.client("ec2").describe_instances()["Reservations"]
    platforms = {each["InstanceId"]: each.get("Platform") for page in pages for each in page["Instances"]}
    assert platforms == {node.id: None, other: "windows"}


# Lists


@ministack_only
def test_commands_and_invocations_are_listed_in_pages(node: Node) -> None:
    sent = [node.send("true", Comment=f"run {number}") for number in range(3)]
    for command_id in sent:
        node.wait(command_id, "Success")
    for call, name in ((node.ssm.list_commands, "Commands"), (node.ssm.list_command_invocations, "CommandInvocations")):
        first = call(MaxResults=2)
        second = call(MaxResults=2, NextToken=first["NextToken"])
        found = [(each["CommandId"], each["Comment"]) for each in first[name] + second[name]]
        assert found == [(sent[number], f"run {number}") for number in (2, 1, 0)]
        assert "NextToken" not in second
        for key, value, count in (
            *(("Status", "Failed", 0), ("Status", "Success", 3), ("DocumentName", MANAGE, 0)),
            *(("InvokedAfter", "2020-01-01T00:00:00Z", 3), ("InvokedBefore", "2020-01-01T00:00:00Z", 0)),
        ):
            assert len(call(Filters=[{"key": key, "value": value}])[name]) == count, key
    assert [each["comment"] for each in node.aws.commands()] == ["run 0", "run 1", "run 2"]


@ministack_only
def test_a_command_runs_on_several_instances(node: Node) -> None:
    [other] = node.aws.instances(1)
    node.account.associate(other, "server")
    command_id = node.send(f"[ $AWS_SSM_INSTANCE_ID = {node.id} ]", InstanceIds=[node.id, other])
    wait_until(lambda: node.ssm.list_commands()["Commands"][0]["CompletedCount"] == 2)
    [command] = node.ssm.list_commands(CommandId=command_id)["Commands"]
    assert (command["Status"], command["TargetCount"], command["ErrorCount"]) == ("Failed", 2, 1)
    found = node.ssm.list_command_invocations(CommandId=command_id)["CommandInvocations"]
    assert {each["InstanceId"]: each["Status"] for each in found} == {node.id: "Success", other: "Failed"}
    [alone] = node.ssm.list_command_invocations(CommandId=command_id, InstanceId=other)["CommandInvocations"]
    assert (alone["InstanceId"], alone["CommandPlugins"]) == (other, [])


# Permissions and faults


DOCUMENT = f"arn:aws:ssm:*::document/{SHELL}"
INSTANCES = "arn:aws:ec2:*:123456789012:instance/*"


@ministack_only
@pytest.mark.parametrize(
    ("action", "resources", "missing"),
    [
        ("ssm:SendCommand", [DOCUMENT, INSTANCES], ""),
        ("ssm:SendCommand", [DOCUMENT], "arn:aws:ec2:eu-central-1:123456789012:instance/{}"),
        ("ssm:SendCommand", [INSTANCES], f"arn:aws:ssm:eu-central-1::document/{SHELL}"),
        ("ssm:ListCommands", ["*"], f"arn:aws:ssm:eu-central-1::document/{SHELL}"),
    ],
)
def test_sending_needs_the_permission_for_document_and_instance(
    node: Node, action: str, resources: list[str], missing: str
) -> None:
    node.ssm = client(node.aws, limited_key(node, action, resources))
    if not missing:
        node.send("true")
        return
    with refused("AccessDeniedException", f"ssm:SendCommand on resource: {missing.format(node.id)} "):
        node.send("true")
    assert node.aws.commands() == []


@ministack_only
@pytest.mark.parametrize("key", ["aws:ResourceTag/team", "ssm:resourceTag/team"])
def test_a_tag_of_the_instance_can_be_required(node: Node, key: str) -> None:
    send = {"Effect": "Allow", "Action": "ssm:SendCommand"}
    tagged = {**send, "Resource": INSTANCES, "Condition": {"StringEquals": {key: "ops"}}}
    node.ssm = client(node.aws, node.account.limited_key({**send, "Resource": DOCUMENT}, tagged))
    with refused("AccessDeniedException", f"ssm:SendCommand on resource: .*:instance/{node.id} "):
        node.send("true")
    node.aws.client("ec2").create_tags(Resources=[node.id], Tags=[{"Key": "team", "Value": "ops"}])
    node.send("true")


@ministack_only
@pytest.mark.parametrize(
    "action",
    ["GetCommandInvocation", "ListCommandInvocations", "ListCommands", "CancelCommand", "DescribeInstanceInformation"],
)
@pytest.mark.parametrize("is_allowed", [False, True])
def test_the_other_actions_need_their_permission(node: Node, action: str, is_allowed: bool) -> None:
    command_id = node.send("true")
    key = limited_key(node, f"ssm:{action}" if is_allowed else "ssm:SendCommand", ["*"])
    node.ssm = client(node.aws, key)
    calls = {
        "GetCommandInvocation": lambda: node.get(command_id),
        "ListCommandInvocations": node.ssm.list_command_invocations,
        "ListCommands": node.ssm.list_commands,
        "CancelCommand": lambda: node.cancel(command_id),
        "DescribeInstanceInformation": node.ssm.describe_instance_information,
    }
    if is_allowed:
        calls[action]()
        return
    with refused("AccessDeniedException", f"ssm:{action} on resource: arn:aws:ssm:eu-central-1:123456789012:\\* "):
        calls[action]()


def limited_key(node: Node, action: str, resources: list[str]) -> Any:
    return node.account.limited_key({"Effect": "Allow", "Action": action, "Resource": resources})


@ministack_only
def test_faults_affect_these_calls(node: Node) -> None:
    node.aws.arm(Fault(Kind.THROTTLE, action="SendCommand"))
    with refused("ThrottlingException"):
        node.send("true", Comment="first")
    node.aws.arm(Fault(Kind.LOSE_ANSWER, action="SendCommand"))
    with pytest.raises(ConnectionClosedError):
        node.send("true", Comment="second")
    assert [each["Comment"] for each in node.ssm.list_commands()["Commands"]] == ["second"]
    assert [(call.action, call.fault) for call in node.aws.writes() if call.service == "ssm"] == [
        ("SendCommand", "throttle"),
        ("SendCommand", "lose_answer"),
    ]


# The CloudWatch agent


def agent_parts(node: Node) -> dict[str, str]:
    """The configurations that the agent has."""
    folder = node.aws.disk(node.id) / AGENT_FOLDER / "etc/amazon-cloudwatch-agent.d"
    return {each.name: each.read_text() for each in folder.iterdir()}


def agent_status(node: Node) -> tuple[str, str]:
    found = json.loads(node.output("amazon-cloudwatch-agent-ctl -a status"))
    assert found.keys() == {"status", "starttime", "configstatus", "version"}
    assert bool(found["starttime"]) == (found["status"] == "running")
    return found["status"], found["configstatus"]


@ministack_only
def test_the_control_script_follows_the_agents_script(node: Node) -> None:
    node.aws.agents(cloudwatch_agent=True)
    control = "amazon-cloudwatch-agent-ctl -m ec2 -a"
    assert agent_status(node) == ("stopped", "not configured")
    node.output(f"{control} start")
    assert agent_status(node) == ("running", "configured")
    node.output(f"{control} stop", "echo '{\"a\": 1}' >root/a", "echo '{\"b\": 1}' >root/b", "echo other >root/invalid")
    node.output(f"{control} fetch-config -c file:root/a -s", f"{control} append-config -c file:root/b")
    assert agent_parts(node) == {"file_a": '{"a": 1}', "file_b": '{"b": 1}'}
    assert agent_status(node) == ("running", "configured")
    assert node.run(f"{control} append-config -c file:root/invalid")["ResponseCode"] == 1
    node.output(f"{control} fetch-config -c file:root/b")
    assert agent_parts(node) == {"file_b": '{"b": 1}'}
    assert node.run(f"{control} remove-config -c file:root/a")["ResponseCode"] == 1
    node.output(f"{control} remove-config -c all")
    assert (agent_parts(node), agent_status(node)) == ({}, ("running", "not configured"))


@ministack_only
@pytest.mark.parametrize("options", ["", "-a other", "-a status -m other", "-a"])
def test_the_control_script_refuses_wrong_options(node: Node, options: str) -> None:
    node.aws.agents(cloudwatch_agent=True)
    assert node.run(f"amazon-cloudwatch-agent-ctl {options}")["ResponseCode"] == 1


@needs_aws_cli
@ministack_only
def test_the_agent_fetches_with_the_identity_of_the_instance(node: Node) -> None:
    node.aws.agents(cloudwatch_agent=True)
    put = node.aws.client("ssm").put_parameter
    put(Name="AmazonCloudWatch-linux", Value='{"metrics": {}}', Type="String")
    put(Name="/my/own", Value='{"logs": {}}', Type="String")
    fetch = "amazon-cloudwatch-agent-ctl -m ec2 -s -a fetch-config -c ssm:AmazonCloudWatch-linux"
    node.output(fetch, "amazon-cloudwatch-agent-ctl -m ec2 -a append-config -c ssm:/my/own")
    assert agent_parts(node) == {"ssm_AmazonCloudWatch-linux": '{"metrics": {}}', "ssm__my_own": '{"logs": {}}'}
    [call] = [call for call in node.aws.calls() if call.params.get("Name") == "/my/own" and not call.write]
    assert (call.identity, call.action) == ("role", "GetParameter")


@needs_aws_cli
@ministack_only
def test_the_document_that_manages_the_agent(node: Node) -> None:
    node.aws.client("ssm").put_parameter(Name="AmazonCloudWatch-linux", Value="{}", Type="String")

    def manage(action: str, **parameters: str) -> dict[str, Any]:
        chosen = {name: [value] for name, value in {"action": action, "mode": "ec2", **parameters}.items()}
        return node.run(document=MANAGE, parameters=chosen, step="ControlCloudWatchAgentLinux")

    assert "not found" in manage("status")["StandardErrorContent"]
    node.aws.agents(cloudwatch_agent=True)
    location = {"optionalConfigurationSource": "ssm", "optionalConfigurationLocation": "AmazonCloudWatch-linux"}
    assert manage("configure", **location)["Status"] == "Success"
    assert agent_parts(node) == {"ssm_AmazonCloudWatch-linux": "{}"}
    assert agent_status(node) == ("running", "configured")
    assert json.loads(manage("status")["StandardOutputContent"])["status"] == "running"
    [listed] = node.ssm.list_command_invocations(Details=True, MaxResults=1)["CommandInvocations"]
    skipped, run = listed["CommandPlugins"]
    assert "skipped" in skipped["Output"]
    assert (run["Name"], run["Status"]) == ("ControlCloudWatchAgentLinux", "Success")
    manage("configure (remove)", **location, optionalRestart="no")
    manage("stop")
    assert agent_status(node) == ("stopped", "not configured")


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


@ministack_only
def test_processes_of_a_script_end_with_it(node: Node) -> None:
    process = start_sleeping(node, last="true")
    wait_until(lambda: not is_running(process))


@ministack_only
def test_a_reset_ends_and_forgets_commands(node: Node) -> None:
    process = start_sleeping(node)
    node.aws.reset()
    wait_until(lambda: not is_running(process))
    assert node.aws.commands() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_commands_and_disks_end_with_the_emulator(account_of: Callable[[Emulator], Any], number: int) -> None:
    with Emulator.start() as aws:
        node = Node(account_of(aws))
        process, disk = start_sleeping(node), aws.disk(node.id)
        os.kill(aws.pid, number)
        wait_until(lambda: not is_running(process))
        wait_until(lambda: not disk.parents[1].exists())
