"""The command with which an instance stores, and the effects of its scripts there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
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

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import desired_config
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.awaited import AwaitedParameterResource
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import StoreRequest, Write
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.plan import CANCELLED, SENT, DesiredCommand
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.resource import CommandResource
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.script import check_script, store_script

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

    def store(
        self, *writes: Write, role: str = ADMIN_ROLE, seconds: int = ENOUGH, patience: int = ENOUGH
    ) -> dict[str, Any]:
        request = StoreRequest(writes, role, int(time.time()) + seconds, patience)
        return self.run(store_script(request))

    def statuses(self, *writes: Write, **settings: Any) -> list[tuple[str, int]]:
        return [(each["status"], each["version"]) for each in self.store(*writes, **settings)["parameters"]]

    def value(self, region: str = "") -> str:
        ssm = self.aws.client("ssm", region or None)
        return str(ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"])

    def put(self, value: str, **more: Any) -> int:
        """Store a value as somebody else does."""
        answer = self.aws.client("ssm").put_parameter(
            Name=PARAMETER, Value=value, Type="String", Overwrite=True, **more
        )
        return int(answer["Version"])

    def write(self, value: str = UNKIND_VALUE, version: int = 0, **more: Any) -> Write:
        return Write(self.aws.region, PARAMETER, value, **{"tier": "Standard", "version": version, **more})


@pytest.fixture
def instance(enforcing: Emulator) -> Instance:
    create_role(enforcing, ADMIN_ROLE, ADMIN_POLICY, SSM_POLICY)
    create_role(enforcing, "app", SERVER_POLICY, SSM_POLICY)
    [found] = enforcing.instances(1)
    associate(enforcing, found, ADMIN_ROLE)
    assert enforcing.agents()[found]["online"]
    return Instance(enforcing, found)


def test_values_arrive_as_they_are_in_several_regions(instance: Instance) -> None:
    writes = [instance.write(), Write(OTHER_REGION, PARAMETER, UNKIND_VALUE, "Standard")]
    result = instance.store(*writes)
    assert [(each["region"], each["status"], each["version"]) for each in result["parameters"]] == [
        (instance.aws.region, "stored", 1),
        (OTHER_REGION, "stored", 1),
    ]
    assert (result["code"], result["stderr"], result["problem"]) == (0, "", "")
    assert instance.value() == instance.value(OTHER_REGION) == UNKIND_VALUE


def test_a_value_is_stored_only_over_the_version_that_was_compared(instance: Instance) -> None:
    assert instance.put("one") == 1
    assert instance.statuses(instance.write("two", version=0)) == [("changed", 1)]
    assert instance.statuses(instance.write("two", version=1)) == [("stored", 2)]
    assert instance.statuses(instance.write("three", version=1)) == [("changed", 2)]
    assert instance.value() == "two"


def test_a_value_that_is_there_already_is_not_written_again(instance: Instance) -> None:
    instance.put("one")
    with assert_no_parameter_is_written(instance):
        assert instance.statuses(instance.write("one", version=0)) == [("stored", 1)]


class assert_no_parameter_is_written:  # noqa: N801  reads as the others of its kind
    def __init__(self, instance: Instance) -> None:
        self.aws, self.since = instance.aws, instance.aws.mark()

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        assert "PutParameter" not in [call.action for call in self.aws.calls(self.since)]


def test_a_parameter_in_the_advanced_tier_stays_there(instance: Instance) -> None:
    instance.put("one", Tier="Advanced")
    instance.aws.arm(
        Fault(
            Kind.ERROR,
            action="PutParameter",
            code="ValidationException",
            message="This parameter uses the advanced-parameter tier. You can't downgrade it.",
        )
    )
    assert instance.statuses(instance.write("two", version=1)) == [("stored", 2)]
    [described] = instance.aws.client("ssm").describe_parameters()["Parameters"]
    assert described["Tier"] == "Advanced"


def test_a_tier_that_the_user_chose_is_not_changed(instance: Instance) -> None:
    instance.aws.arm(Fault(Kind.ERROR, action="PutParameter", code="ValidationException", message="advanced-parameter"))
    assert instance.statuses(instance.write(can_change_tier=False)) == [("failed", 0)]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": Kind.LOSE_ANSWER, "action": "PutParameter"},
        {"kind": Kind.LOSE_ANSWER, "action": "GetParameter", "nth": 2},
        {"kind": Kind.THROTTLE, "action": "PutParameter"},
        {"kind": Kind.SERVER_ERROR, "action": "PutParameter"},
        {"kind": Kind.DENY, "action": "PutParameter"},
        {"kind": Kind.DENY, "action": "GetParameter"},
        {"kind": Kind.ERROR, "action": "PutParameter", "code": "TooManyUpdates", "message": "Too many updates."},
    ],
    ids=lambda fault: f"{fault['kind']} {fault['action']}",
)
def test_a_failed_call_is_repeated_and_the_value_written_once(instance: Instance, fault: Mapping[str, Any]) -> None:
    instance.aws.arm(Fault(**fault))
    assert instance.statuses(instance.write()) == [("stored", 1)]


def test_the_script_gives_up_at_the_end_of_its_patience(instance: Instance) -> None:
    instance.aws.arm(Fault(Kind.DENY, action="PutParameter", times=1000))
    [found] = instance.store(instance.write(), patience=4)["parameters"]
    assert found["status"] == "waiting"
    assert "is not authorized to perform: ssm:PutParameter" in found["error"]


def test_the_script_tries_at_least_once(instance: Instance) -> None:
    """However slow its first read is."""
    assert instance.statuses(instance.write(), patience=0) == [("stored", 1)]


def test_the_script_stores_only_as_the_admin_role(instance: Instance) -> None:
    with assert_no_parameter_is_written(instance):
        result = instance.store(instance.write(), role="Other", seconds=4)
    assert result["problem"] == "no-role"
    assert result["code"] == 1


def test_a_late_script_stores_nothing(instance: Instance) -> None:
    with assert_no_parameter_is_written(instance):
        assert instance.store(instance.write(), seconds=-1)["problem"] == "no-role"


def test_an_instance_without_the_aws_cli_reports_it(instance: Instance) -> None:
    instance.aws.agents(instance.id, aws_cli=False)
    assert instance.store(instance.write())["problem"] == "no-cli"
    assert instance.run(check_script([instance.aws.region]))["cli"] == ""


def test_an_instance_uses_its_own_credentials_and_no_others(instance: Instance) -> None:
    """Root can have keys in files and variables, which the AWS CLI would prefer."""
    keys = "export AWS_ACCESS_KEY_ID=AKIAOTHER AWS_SECRET_ACCESS_KEY=x AWS_PROFILE=other\n"
    script = store_script(StoreRequest((instance.write(),), ADMIN_ROLE, int(time.time()) + ENOUGH, ENOUGH))
    assert [each["status"] for each in instance.run(keys + script)["parameters"]] == ["stored"]
    [call] = [call for call in instance.aws.calls() if call.action == "PutParameter"]
    assert call.principal.endswith(f"assumed-role/{ADMIN_ROLE}/{instance.id}")


def test_the_script_leaves_nothing_on_the_instance(instance: Instance, tmp_path: Path) -> None:
    script = f"TMPDIR={tmp_path}\nexport TMPDIR\n"
    request = StoreRequest((instance.write(),), ADMIN_ROLE, int(time.time()) + ENOUGH, ENOUGH)
    instance.run(script + store_script(request))
    assert list(tmp_path.iterdir()) == []


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


def wait_for(instance: Instance, sent: Mapping[str, Any], known: Any = None) -> dict[str, Any]:
    """Wait until the instance has stored the configuration."""
    aws = gateway(instance.aws)
    return converge(
        AwaitedParameterResource(aws, DESIRED, instance.aws.region, known, command=sent["command"], command_aws=aws),
        False,
        15,
    )


def store_commands(aws: Emulator) -> list[dict[str, Any]]:
    return [each for each in aws.commands() if each["comment"].startswith("cwagent.iam store")]


def test_a_command_is_predicted_sent_once_and_waited_for(instance: Instance) -> None:
    aws = instance.aws
    with assert_no_writes(aws):
        planned = converge_command(instance, check=True)
    assert planned["changed"]
    assert planned["command"] == {}
    sent = converge_command(instance)
    assert (sent["steps"], sent["diff"]) == (planned["steps"], planned["diff"])
    again = converge_command(instance)
    assert not again["changed"]
    assert again["command"] == sent["command"]
    assert len(store_commands(aws)) == 1
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
    """It waits for the admin identity, with an older configuration."""
    associate(instance.aws, instance.id, "app")
    converge_command(instance)
    sent = converge_command(instance, run_id="run-2")
    assert [step.partition(" ")[0] for step in sent["steps"]] == ["cancel", "send"]
    assert [each["details"] for each in store_commands(instance.aws)] == ["Cancelled", "InProgress"]


def test_an_older_command_that_does_not_end_prevents_a_new_one(instance: Instance) -> None:
    associate(instance.aws, instance.id, "app")
    instance.aws.agents(instance.id, delivery="unreported")
    converge_command(instance)
    with pytest.raises(CwagentError, match=r"did not confirm it.*Nothing was opened\."):
        converge_command(instance, run_id="run-2", wait=2)
    assert len(store_commands(instance.aws)) == 1


@pytest.mark.parametrize(
    ("fault", "times_sent", "words"),
    [
        ({"kind": Kind.LOSE_ANSWER}, 1, ""),
        ({"kind": Kind.THROTTLE, "times": 2}, 1, ""),
        ({"kind": Kind.SERVER_ERROR}, 0, "so it is not sent again. Run again."),
        ({"kind": Kind.DENY}, 0, "lacks ssm:SendCommand"),
        (
            {"kind": Kind.ERROR, "code": "InvalidInstanceId", "message": "not in a valid state"},
            0,
            "not in a valid state",
        ),
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


@pytest.mark.parametrize("kind", [Kind.LOSE_ANSWER, Kind.THROTTLE, Kind.SERVER_ERROR])
@pytest.mark.parametrize("action", ["ListCommands", "SendCommand"])
def test_after_a_fault_the_same_run_sends_one_command(instance: Instance, action: str, kind: Kind) -> None:
    """A run that is killed there is one of the faults that are injected into site.yml."""
    instance.aws.arm(Fault(kind, action=action))
    with suppress(CwagentError):
        converge_command(instance)
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
    aws = instance.aws
    associate(aws, instance.id, "app")
    sent = converge_command(instance)
    instance.put("other")
    associate(aws, instance.id, ADMIN_ROLE)
    with pytest.raises(CwagentError, match="something else has stored version 1 since the configuration was compared"):
        wait_for(instance, sent, {PARAMETER: None})
    assert instance.value() == "other"
