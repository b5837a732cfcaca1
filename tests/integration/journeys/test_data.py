"""Whether the data of servers arrives in CloudWatch, as verify.yml and apply.yml show it."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from emulator import Fault, Kind
from emulator.machines import AGENT_FOLDER
from harness import (
    NEEDS_AWS_CLI,
    PARAMETER,
    PLAY_SECONDS,
    POLICY_ARN,
    SERVER_POLICY,
    SERVER_ROLE,
    UNREACHABLE,
    Play,
    allow,
    create_user,
)
from policies import example, permit
from states import States
from watched import WatchedFleet, without_servers

pytestmark = NEEDS_AWS_CLI

CONFIG: dict[str, Any] = {
    "agent": {"region": "eu-central-1"},
    "metrics": {
        "namespace": "Shop",
        "append_dimensions": {"InstanceId": "${aws:InstanceId}"},
        "metrics_collected": {"mem": {"measurement": ["used_percent"]}},
    },
    "logs": {
        "logs_collected": {"files": {"collect_list": [{"file_path": "/var/log/shop.log", "log_group_name": "shop"}]}}
    },
}
MINUTE, HOUR = 60, 3600


def sending(states: States) -> WatchedFleet:
    """Three instances whose agents send, two hours after they were launched."""
    fleet = states.begin(without_servers)
    fleet.store(json.dumps(CONFIG))
    for host in ("web1", "web2", "web3"):
        fleet.add_server(host)
        fleet.run_stored(host)
    fleet.aws.shift_clock(2 * HOUR)
    return fleet


def age(fleet: WatchedFleet, *hosts: str) -> None:
    """Let agents run for two hours."""
    for host in hosts:
        fleet.control(host, "-a", "stop")
        (fleet.root(host) / AGENT_FOLDER / "var/running").write_text("2026-01-01T00:00:00+00:00")


def metric(instance: str, *ages: int, **more: Any) -> dict[str, Any]:
    dimensions = {"InstanceId": instance}
    return {"namespace": "Shop", "name": "mem_used_percent", "dimensions": dimensions, "ages": ages, **more}


def test_the_age_of_the_newest_data_is_a_column(states: States) -> None:
    fleet = states.begin(sending)
    fleet.run_stored("web1")
    age(fleet, "web2", "web3")
    ids = fleet.instances
    fleet.aws.place(
        [metric(ids["web2"], 7 * MINUTE), metric(ids["web3"], 50 * MINUTE), metric("i-0other", 60)],
        [{"group": "shop", "name": ids["web2"], "created": 5 * HOUR, "last": 4 * HOUR}],
    )
    play = fleet.verify().assert_failed()
    # The time of a point is the start of its period, and the run takes its time, too.
    table = [re.sub(r"([7-9]|1\d) min$", "7 min", line) for line in play.problems[:5]]
    assert table == [
        "server                 identity  IAM  config  network  agent  data",
        "web3                   ok        ok   ok      ok       ok     FAIL",
        "web1                   ok        ok   ok      ok       ok     ?",
        "web2                   ok        ok   ok      ok       ok     7 min",
        "2 of 3 servers without a failure.",
    ]
    shown = re.sub(r"5\d minutes old", "50 minutes old", " ".join(" ".join(play.problems[5:]).split()))
    # The clock of the account goes on from where the state was recorded, and the clock of a server does not.
    shown = re.sub(r"([89]\d|1[0-2]\d) minutes|2 hours", "2 hours", shown)
    where = "mem_used_percent of it in namespace Shop in eu-central-1 is"
    assert shown.startswith(f"! web3: The newest {where} 50 minutes old. Its clock is 2 hours behind the clock of AWS.")
    assert f"- web1: The newest {where} 2 hours old. Its agent was started less than 15 minutes ago." in shown
    assert "- web2: Its stream in log group shop in eu-central-1 has had no event for 4 hours." in shown
    assert "- web3: It has no stream in log group shop in eu-central-1." in shown
    assert "- Servers that are not in this run send to Shop in eu-central-1: i-0other." in shown
    servers = fleet.servers()
    assert {host: each["status"]["data"] for host, each in servers.items()} == {
        "web1": "?",
        "web2": "ok",
        "web3": "FAIL",
    }


def test_apply_waits_for_data(states: States) -> None:
    fleet = states.begin(sending)
    config = {**CONFIG, "metrics": {**CONFIG["metrics"], "metrics_collected": {"swap": {"measurement": ["used"]}}}}
    fleet.store(json.dumps(config))
    play = fleet.play("apply", cwagent_apply_watch_seconds=1).assert_succeeded()
    assert "Data arrived in CloudWatch after the restart: web1, web2, web3." in play.report
    assert asked(play) == 4  # once before the restart, and once for each batch
    assert "ListMetrics" not in {call.action for call in play.calls}


SWAP: dict[str, Any] = {**CONFIG["metrics"], "metrics_collected": {"swap": {"measurement": ["used"]}}}
STABLE: dict[str, Any] = {"cwagent_apply_watch_seconds": 1, "cwagent_config_label": "stable"}
ARRIVED = "Data arrived in CloudWatch after the restart: {}."
MOVED = f"- move label 'stable' of {PARAMETER} to version 3 in eu-central-1"


def changed(states: States) -> WatchedFleet:
    """The same instances, after a configuration with other metrics was stored."""
    fleet = states.begin(sending)
    fleet.store(json.dumps({**CONFIG, "metrics": SWAP}))
    return fleet


def asked(play: Play) -> int:
    return Counter(call.action for call in play.calls)["GetMetricData"]


def report(play: Play) -> str:
    return " ".join(" ".join(play.report).split())


def test_a_version_without_proof_stops_the_run_and_moves_no_label(states: States) -> None:
    """The next run goes on with the agent that tries it, without another restart."""
    fleet = states.begin(changed)
    before = {host: fleet.running(host) for host in fleet.instances}
    fault = Fault(Kind.ERROR, action="GetMetricData", code="ValidationError", message="no such thing", times=99)
    fleet.aws.arm(fault)
    play = fleet.play("apply", **STABLE).assert_failed()
    fleet.aws.disarm()
    shown = report(play)
    assert "failed with the configuration on web1: It is not known whether its data arrives: Could not" in shown
    assert "no such thing" in shown
    assert "cwagent_max_fail_percentage allows (0 %): web2, web3." in shown
    assert "Label 'stable' was not moved, because a server has not proved the version." in shown
    assert "Data arrived" not in shown
    after = {host: fleet.running(host) for host in fleet.instances}
    assert [host for host, each in after.items() if each != before[host]] == ["web1"]

    play = fleet.play("apply", **STABLE).assert_succeeded()
    assert ARRIVED.format("web1, web2, web3") in report(play)
    assert MOVED in play.report
    assert fleet.running("web1")[1] == after["web1"][1]


def test_without_the_permission_to_read_data_the_log_is_the_proof(states: States) -> None:
    fleet = states.begin(changed)
    key = create_user(fleet.aws, "controller")
    duty = json.loads(json.dumps(example("apply")).replace('"cloudwatch:GetMetricData"', '"s3:x"'))
    permit(fleet.aws, duty, example("label-versions"))
    play = fleet.play("apply", env=key, **STABLE).assert_succeeded()
    why = "cloudwatch:GetMetricData in eu-central-1 is denied."
    assert f"Only the log was watched on web1, web2, web3: {why}" in report(play)
    assert MOVED in play.report
    assert asked(play) == 4  # once before the restart, and once for each batch

    permit(fleet.aws, example("apply"), example("label-versions"))
    fleet.store(json.dumps(CONFIG))
    play = fleet.play("apply", env=key, **STABLE).assert_succeeded()
    assert ARRIVED.format("web1, web2, web3") in report(play)


def test_servers_of_both_ways_wait_together_and_without_metrics_the_log_is_the_proof(states: States) -> None:
    fleet = states.begin(changed)
    fleet.set("web2", **UNREACHABLE)
    check = fleet.play("apply", "--check", **STABLE).assert_succeeded()
    assert asked(check) == 1  # before the restart
    play = fleet.play("apply", cwagent_batch_size=["100%"], **STABLE).assert_succeeded()
    assert ARRIVED.format("web1, web2, web3") in report(play)
    assert asked(play) == 2

    fleet.store(json.dumps({"agent": CONFIG["agent"], "logs": CONFIG["logs"]}))
    play = fleet.play("apply", cwagent_batch_size=["100%"], **STABLE).assert_succeeded()
    assert "Only the log was watched on web1, web2, web3: no metric of it is known well enough." in report(play)
    assert asked(play) == 0


def test_a_run_that_is_interrupted_while_it_waits_goes_on_later(states: States) -> None:
    fleet = states.begin(changed)
    run = fleet.controller.start(fleet.inventory, "apply", **{**fleet.variables, **STABLE})
    fleet.aws.arm(Fault(Kind.INTERRUPT, action="GetMetricData", nth=2, process=run.pid))
    assert run.wait(PLAY_SECONDS) != 0
    fleet.aws.disarm()
    assert "LabelParameterVersion" not in {call.action for call in fleet.aws.calls()}
    tried = fleet.running("web1")[1]
    assert [*fleet.files("web1")] == [f"ssm_{PARAMETER}_3"]
    play = fleet.play("apply", **STABLE).assert_succeeded()
    assert ARRIVED.format("web1, web2, web3") in report(play)
    assert fleet.running("web1")[1] == tried
    assert MOVED in play.report


def test_lost_data_has_its_cause(states: States) -> None:
    """A stopped agent, a role without the permission, and a full disk: its log does not grow, and metrics arrive."""
    fleet = states.begin(sending)
    ids = fleet.instances
    fleet.control("web1", "-a", "stop")
    age(fleet, "web2", "web3")
    fleet.aws.place(
        [metric(ids["web3"], MINUTE)],
        [{"group": "shop", "name": ids[host], "created": 9 * HOUR, "last": 5 * HOUR} for host in ids],
    )
    fleet.iam.detach_role_policy(RoleName=SERVER_ROLE, PolicyArn=f"{POLICY_ARN}{SERVER_POLICY}")
    document = json.dumps(allow("ssm:GetParameter", "ec2:DescribeTags", "logs:*"))
    fleet.iam.put_role_policy(RoleName=SERVER_ROLE, PolicyName="custom", PolicyDocument=document)
    fleet.verify().assert_failed()
    servers = fleet.servers()
    why = {
        host: [found["why"] for found in (*each["failures"], *each["notes"]) if found["rule"] == "data"]
        for host, each in servers.items()
    }
    assert {host: each["status"]["data"] for host, each in servers.items()} == {
        "web1": "FAIL",
        "web2": "FAIL",
        "web3": "ok",
    }
    none = "CloudWatch has no mem_used_percent of it in namespace Shop in eu-central-1. The likely cause: "
    quiet = "Its stream in log group shop in eu-central-1 has had no event for 5 hours."
    lacks = f"Role '{SERVER_ROLE}' lacks cloudwatch:PutMetricData."
    assert why["web1"] == [f"{none}{lacks}", quiet]
    assert why["web2"] == [f"{none}{lacks}", quiet]
    assert why["web3"] == [quiet]

    fleet.iam.attach_role_policy(RoleName=SERVER_ROLE, PolicyArn=f"{POLICY_ARN}{SERVER_POLICY}")
    fleet.verify().assert_failed()
    stopped = [each["why"] for each in fleet.servers()["web1"]["failures"] if each["rule"] == "data"]
    assert stopped == [f"{none}The agent is stopped."]


def test_data_that_was_there_before_the_restart_proves_nothing(states: States) -> None:
    """The clock of web1 was ahead and was set right, and its agent sends nothing."""
    fleet = states.begin(changed)
    fleet.aws.agents(cloudwatch_agent=True)
    fleet.deny("nothing")
    swap = {"namespace": "Shop", "name": "swap_used", "ages": [-30 * MINUTE]}
    for host in ("web1", "web2", "web3"):
        fleet.aws.place([{**swap, "dimensions": {"InstanceId": fleet.instances[host]}}])
    play = fleet.play("apply", **STABLE).assert_succeeded()
    shown = report(play)
    assert "Data arrived in CloudWatch after the restart" not in shown
    assert "CloudWatch has data of it from the future, because its clock was ahead" in shown
