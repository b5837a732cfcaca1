"""Whether the data of servers arrives in CloudWatch, as verify.yml and apply.yml show it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from emulator.machines import AGENT_FOLDER
from harness import NEEDS_AWS_CLI
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
    age(fleet, "web2", "web3")
    ids = fleet.instances
    fleet.aws.place(
        [metric(ids["web2"], 7 * MINUTE), metric(ids["web3"], 50 * MINUTE), metric("i-0other", 60)],
        [{"group": "shop", "name": ids["web2"], "created": 5 * HOUR, "last": 4 * HOUR}],
    )
    play = fleet.verify().assert_failed()
    assert play.problems[:5] == [
        "server                 identity  IAM  config  network  agent  data",
        "web3                   ok        ok   ok      ok       ok     FAIL",
        "web1                   ok        ok   ok      ok       ok     ?",
        "web2                   ok        ok   ok      ok       ok     7 min",
        "2 of 3 servers without a failure.",
    ]
    shown = " ".join(" ".join(play.problems[5:]).split())
    where = "mem_used_percent of it in namespace Shop in eu-central-1 is"
    assert shown.startswith(f"! web3: The newest {where} 50 minutes old. Its clock is 2 hours behind the clock of AWS.")
    assert f"- web1: The newest {where} 119 minutes old. Its agent was started less than 15 minutes ago." in shown
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
    assert Counter(call.action for call in play.calls)["GetMetricData"] == 3  # one for each batch
    assert "ListMetrics" not in {call.action for call in play.calls}
