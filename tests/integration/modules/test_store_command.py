"""The command with which an instance stores, and the effects of its scripts there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.testing import wait_until
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    PARAMETER,
    POLICY_ARN,
    SERVER_POLICY,
    SSM_POLICY,
    assert_no_writes,
    associate,
    create_role,
)

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import desired_config
from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command import (
    AwaitedParameterResource,
    CommandResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command_plan import (
    CANCELLED,
    SENT,
    DesiredCommand,
    StoreRequest,
    Write,
    check_script,
    store_script,
)

OTHER_REGION = "us-east-1"
ENOUGH = 180
"""Seconds: several times longer than a script needs, because other programs can keep the machine busy."""

UNKIND_VALUE = json.dumps({"a": "{{ssm:x}} $(id) `id` ${HOME} '\"\\\n%s Füße 漢字 \U0001f600"}, ensure_ascii=False)
"""Characters that a shell, a locale or Systems Manager could misinterpret."""


@dataclass(frozen=True)
class Instance:
    """An instance that has the admin profile, and whose agent is online."""

    aws: Emulator
    id: str

    def run(self, script: str) -> dict[str, Any]:
        """The result that a script prints on the instance, with its exit ``code`` and ``stderr``."""
        ssm = self.aws.client("ssm")
        parameters = {"commands": [script], "executionTimeout": [str(ENOUGH)]}
        ssm.send_command(InstanceIds=[self.id], DocumentName="AWS-RunShellScript", Parameters=parameters)
        wait_until(lambda: self.last["details"] in ("Success", "Failed"))
        return {**json.loads(self.last["stdout"]), "code": self.last["code"], "stderr": self.last["stderr"]}

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = self.aws.commands()[-1]["invocations"][self.id]
        return found

    def script(self, *writes: Write, role: str = ADMIN_ROLE, seconds: int = ENOUGH, patience: int = ENOUGH) -> str:
        return store_script(StoreRequest(writes, role, int(time.time()) + seconds, patience))

    def value(self, name: str = PARAMETER, region: str = "") -> str:
        return str(self.aws.client("ssm", region or None).get_parameter(Name=name)["Parameter"]["Value"])

    def put(self, value: str, name: str = PARAMETER, **more: Any) -> None:
        """Store a value as somebody else does."""
        self.aws.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True, **more)

    def write(self, value: str = UNKIND_VALUE, name: str = PARAMETER, **more: Any) -> Write:
        return Write(self.aws.region, name, value, **{"tier": "Standard", "version": 0, **more})

    def stored_names(self) -> list[str]:
        return [call.params["Name"] for call in self.aws.calls() if call.action == "PutParameter"]


@pytest.fixture
def instance(enforcing: Emulator) -> Instance:
    create_role(enforcing, ADMIN_ROLE, ADMIN_POLICY, SSM_POLICY)
    create_role(enforcing, "app", SERVER_POLICY, SSM_POLICY)
    [found] = enforcing.instances(1)
    associate(enforcing, found, ADMIN_ROLE)
    assert enforcing.agents()[found]["online"]
    return Instance(enforcing, found)


@dataclass(frozen=True)
class Case:
    """A parameter of a command.

    :param status: its status afterwards, with its version then.
    :param before: its values, the earliest first.
    :param write: options of its write, which was compared with version 0 by default.
    """

    status: tuple[str, int] = ("stored", 1)
    before: tuple[str, ...] = ()
    write: Mapping[str, Any] = field(default_factory=dict)
    fault: Mapping[str, Any] = field(default_factory=dict)
    tier: str = "Standard"


DOWNGRADE = {
    "kind": Kind.ERROR,
    "code": "ValidationException",
    "message": "This parameter uses the advanced-parameter tier. You can't downgrade it.",
}
TOO_MANY = {"kind": Kind.ERROR, "code": "TooManyUpdates", "message": "Too many updates."}
CASES = {
    "new": Case(),
    "there": Case(before=("two",)),
    "changed": Case(("changed", 1), before=("one",)),
    "compared": Case(("stored", 2), before=("one",), write={"version": 1}),
    "changed-again": Case(("changed", 2), before=("one", "three"), write={"version": 1}),
    "advanced": Case(("stored", 2), before=("one",), write={"version": 1}, fault=DOWNGRADE, tier="Advanced"),
    "chosen-tier": Case(("failed", 0), write={"can_change_tier": False}, fault=DOWNGRADE),
    "lost-write": Case(fault={"kind": Kind.LOSE_ANSWER}),
    "lost-read": Case(fault={"kind": Kind.LOSE_ANSWER, "action": "GetParameter", "nth": 2}),
    "throttled": Case(fault={"kind": Kind.THROTTLE}),
    "server-error": Case(fault={"kind": Kind.SERVER_ERROR}),
    "denied-write": Case(fault={"kind": Kind.DENY}),
    "denied-read": Case(fault={"kind": Kind.DENY, "action": "GetParameter"}),
    "too-many": Case(fault=TOO_MANY),
}
"""By the end of its name, a parameter of one command. A fault is at its first write, unless it has another action."""


def test_a_value_is_stored_once_and_only_over_the_version_that_was_compared(instance: Instance) -> None:
    """A failed call is repeated. A parameter in the Advanced tier stays there, and a chosen tier is not changed."""
    names = {f"AmazonCloudWatch-{end}": case for end, case in CASES.items()}
    for name, case in names.items():
        for value in case.before:
            instance.put(value, name, Tier=case.tier)
    before = instance.stored_names()
    for name, case in names.items():
        if case.fault:
            # The end of a name can be the beginning of another one.
            instance.aws.arm(Fault(**{"action": "PutParameter", **case.fault}, text=f'"{name}"'))
    done = instance.run(instance.script(*(instance.write("two", name, **case.write) for name, case in names.items())))
    found = {each["name"]: (each["status"], each["version"]) for each in done["parameters"]}
    assert found == {name: case.status for name, case in names.items()}
    pages = instance.aws.client("ssm").get_paginator("describe_parameters").paginate()
    described = {each["Name"]: each["Tier"] for page in pages for each in page["Parameters"]}
    for name, case in names.items():
        if case.status[0] != "failed":
            expected = case.before[-1] if case.status[0] == "changed" else "two"
            assert (instance.value(name), described[name]) == (expected, case.tier)
    unwritten = [name for name, case in names.items() if case.before == ("two",) or case.status[0] == "changed"]
    assert {*unwritten}.isdisjoint(instance.stored_names()[len(before) :])


def test_values_arrive_as_they_are_in_several_regions(instance: Instance, tmp_path: Path) -> None:
    """An instance uses its own credentials and no others, which root can have in files and variables.

    The script leaves nothing on the instance.
    """
    writes = [instance.write(), Write(OTHER_REGION, PARAMETER, UNKIND_VALUE, "Standard")]
    keys = f"export AWS_ACCESS_KEY_ID=AKIAOTHER AWS_SECRET_ACCESS_KEY=x AWS_PROFILE=other TMPDIR={tmp_path}\n"
    result = instance.run(keys + instance.script(*writes))
    assert [(each["region"], each["status"], each["version"]) for each in result["parameters"]] == [
        (instance.aws.region, "stored", 1),
        (OTHER_REGION, "stored", 1),
    ]
    assert (result["code"], result["stderr"], result["problem"]) == (0, "", "")
    assert instance.value() == instance.value(region=OTHER_REGION) == UNKIND_VALUE
    principals = {call.principal for call in instance.aws.calls() if call.action == "PutParameter"}
    assert [each.endswith(f"assumed-role/{ADMIN_ROLE}/{instance.id}") for each in principals] == [True]
    assert list(tmp_path.iterdir()) == []


def test_the_script_gives_up_at_the_end_of_its_patience(instance: Instance) -> None:
    instance.aws.arm(Fault(Kind.DENY, action="PutParameter", times=1000))
    [found] = instance.run(instance.script(instance.write(), patience=4))["parameters"]
    assert found["status"] == "waiting"
    assert "is not authorized to perform: ssm:PutParameter" in found["error"]


def test_the_script_tries_at_least_once(instance: Instance) -> None:
    """However slow its first read is."""
    [found] = instance.run(instance.script(instance.write(), patience=0))["parameters"]
    assert (found["status"], found["version"]) == ("stored", 1)


@pytest.mark.parametrize(
    ("options", "agent", "problem"),
    [
        ({"role": "Other", "seconds": 4}, {}, "no-role"),
        ({"seconds": -1}, {}, "no-role"),
        ({}, {"aws_cli": False}, "no-cli"),
    ],
    ids=["another role", "late", "no AWS CLI"],
)
def test_the_script_stores_only_in_time_as_the_admin_role_with_the_aws_cli(
    instance: Instance, options: dict[str, Any], agent: dict[str, bool], problem: str
) -> None:
    instance.aws.agents(instance.id, **agent)
    result = instance.run(instance.script(instance.write(), **options))
    assert (result["problem"], result["code"]) == (problem, 1)
    assert instance.stored_names() == []
    if agent:
        assert instance.run(check_script([instance.aws.region]))["cli"] == ""


def test_the_schema_of_the_agent_comes_packed(instance: Instance, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    script = check_script([instance.aws.region]).replace(
        "/opt/aws/amazon-cloudwatch-agent/doc/amazon-cloudwatch-agent-schema.json", str(file)
    )
    file.write_text(json.dumps({"type": "object", "description": "x" * 60_000}))
    assert 0 < len(instance.run(script)["schema"]) < 1000
    file.write_bytes(os.urandom(40_000))
    assert instance.run(script)["schema"] == "", "what does not fit into the output is left out"


# -- the command --

CONFIG = {"agent": {"metrics_collection_interval": 10}}
DESIRED = desired_config(PARAMETER, CONFIG, None, can_be_split=False)


def gateway(aws: Emulator, wait: float = 30) -> Aws:
    return Aws(lambda service, config: aws.client(service, config=config), wait)


def converge_command(instance: Instance, state: str = SENT, *, check: bool = False, **more: Any) -> dict[str, Any]:
    """Send the command, or cancel it. :param more: further options; ``wait`` is for how long to wait for AWS."""
    wait, write = more.pop("wait", 30), instance.write(json.dumps(CONFIG, separators=(",", ":")))
    settings = {"run_id": "run-1", "role": ADMIN_ROLE, "writes": (write,), "seconds": 60, "permission_seconds": 180}
    desired = DesiredCommand(state, instance.id, **{**settings, **more})
    return converge(CommandResource(gateway(instance.aws, wait), desired), check, wait)


def wait_for(instance: Instance, sent: Mapping[str, Any], known: Any = None) -> None:
    """Wait until the instance has stored the configuration."""
    aws = gateway(instance.aws)
    of_command = {"command": sent["command"], "command_aws": aws}
    converge(AwaitedParameterResource(aws, DESIRED, instance.aws.region, known, **of_command), False, 15)


def store_commands(aws: Emulator) -> list[str]:
    """The states of the commands that store."""
    return [each["details"] for each in aws.commands() if each["comment"].startswith("cwagent.iam store")]


def test_a_command_is_predicted_sent_once_and_waited_for(instance: Instance) -> None:
    with assert_no_writes(instance.aws):
        planned = converge_command(instance, check=True)
    assert (planned["changed"], planned["command"]) == (True, {})
    sent = converge_command(instance)
    assert (sent["steps"], sent["diff"]) == (planned["steps"], planned["diff"])
    again = converge_command(instance)
    assert (again["changed"], again["command"]) == (False, sent["command"])
    assert len(store_commands(instance.aws)) == 1
    wait_for(instance, sent)
    assert json.loads(instance.value()) == CONFIG


def test_a_command_is_cancelled_once(instance: Instance) -> None:
    associate(instance.aws, instance.id, "app")
    converge_command(instance)
    with assert_no_writes(instance.aws):
        assert converge_command(instance, CANCELLED, check=True)["changed"]
    assert converge_command(instance, CANCELLED)["changed"]
    with assert_no_writes(instance.aws):
        assert not converge_command(instance, CANCELLED)["changed"]


def test_the_command_of_an_interrupted_run_cannot_store_in_a_later_window(instance: Instance) -> None:
    """It waits for the admin identity, with an older configuration. If it does not end, no new one is sent."""
    associate(instance.aws, instance.id, "app")
    converge_command(instance)
    sent = converge_command(instance, run_id="run-2")
    assert [step.partition(" ")[0] for step in sent["steps"]] == ["cancel", "send"]
    assert store_commands(instance.aws) == ["Cancelled", "InProgress"]
    instance.aws.agents(instance.id, delivery="unreported")
    converge_command(instance, run_id="run-3")
    with pytest.raises(CwagentError, match=r"did not confirm it.*Nothing was opened\."):
        converge_command(instance, run_id="run-4", wait=2)
    assert len(store_commands(instance.aws)) == 3


@pytest.mark.parametrize(
    ("fault", "times_sent", "words"),
    [
        ({"kind": Kind.LOSE_ANSWER}, 1, ""),
        ({"kind": Kind.THROTTLE, "times": 2}, 1, ""),
        ({"kind": Kind.SERVER_ERROR}, 0, "so it is not sent again. Run again."),
        ({"kind": Kind.DENY}, 0, "lacks ssm:SendCommand"),
    ],
    ids=lambda value: str(value.get("kind")) if isinstance(value, dict) else "",
)
def test_a_command_is_never_sent_twice(
    instance: Instance, *, fault: Mapping[str, Any], times_sent: int, words: str
) -> None:
    instance.aws.arm(Fault(action="SendCommand", **fault))
    with pytest.raises(CwagentError, match=words) if words else nullcontext():
        converge_command(instance)
    assert len(store_commands(instance.aws)) == times_sent
    converge_command(instance)
    assert len(store_commands(instance.aws)) == 1


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ({"unknown_seconds": 4.0}, ""),
        ({"delivery_seconds": 4.0}, ""),
        ({"swap_seconds": 600.0}, ""),
        ({"delivery": "unreported"}, ""),
        ({"delivery": "undeliverable"}, "it could not be delivered to the agent"),
    ],
)
def test_the_wait_ends_with_the_configuration_or_a_reason(
    instance: Instance, agent: dict[str, Any], words: str
) -> None:
    """The instance gets the admin identity after the command was sent."""
    aws = instance.aws
    associate(aws, instance.id, "app")
    aws.agents(instance.id, **{"swap_seconds": 0.0, **agent})
    if "swap_seconds" in agent:
        aws.agents(instance.id, swap_seconds=0.0)
    sent = converge_command(instance)
    aws.agents(instance.id, **agent)
    associate(aws, instance.id, ADMIN_ROLE)
    with pytest.raises(CwagentError, match=words) if words else nullcontext() as failed:
        wait_for(instance, sent)
    assert POLICY_ARN not in str(failed)


def test_a_concurrent_change_by_others_is_not_overwritten(instance: Instance) -> None:
    associate(instance.aws, instance.id, "app")
    sent = converge_command(instance)
    instance.put("other")
    associate(instance.aws, instance.id, ADMIN_ROLE)
    with pytest.raises(CwagentError, match="something else has stored version 1 since the configuration was compared"):
        wait_for(instance, sent, {PARAMETER: None})
    assert instance.value() == "other"
