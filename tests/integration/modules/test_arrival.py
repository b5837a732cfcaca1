"""The data of servers in CloudWatch: the calls, and the meaning of the answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from harness import start_empty

from ansible_collections.cwagent.iam.plugins.module_utils._agents import arrival
from ansible_collections.cwagent.iam.plugins.module_utils._agents.arrival import (
    FUTURE_SECONDS,
    MAX_STREAM_CALLS,
    Arrivals,
    wait_for_data,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.data import NOT_KNOWN, Proof, Trial
from ansible_collections.cwagent.iam.plugins.module_utils._agents.script import digest
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Config, Sender, Series, Server
from ansible_collections.cwagent.iam.plugins.module_utils._agents.verify import Versions

REGION, OTHER_REGION = "eu-central-1", "eu-west-1"
ACCOUNT, OTHER_ACCOUNT = "123456789012", "111111111111"
MINUTE, HOUR = 60, 3600
PARAMETER = "AmazonCloudWatch-linux"
MEM: dict[str, Any] = {"mem": {"measurement": ["used_percent"]}}
LOGS = {"logs_collected": {"files": {"collect_list": [{"file_path": "/var/log/shop.log", "log_group_name": "shop"}]}}}
NO_DATA = "CloudWatch has no mem_used_percent of it in namespace Shop in eu-central-1."
GUESS = "Look for errors in the log of the agent, and whether the namespace or the host has another name now."


def metrics(plugins: Mapping[str, Any] = MEM, **more: Any) -> dict[str, Any]:
    appended = {"InstanceId": "${aws:InstanceId}"}
    return {"namespace": "Shop", "append_dimensions": appended, "metrics_collected": plugins, **more}


BOTH = {"metrics": metrics(), "logs": LOGS}


class Fleet:
    """Servers that run one configuration, which is stored in each of their regions."""

    def __init__(self, aws: Emulator, config: Mapping[str, Any] = BOTH, account: str = ACCOUNT) -> None:
        self.aws, self.text, self.account = aws, json.dumps(config), account
        self.stored: set[tuple[str, str]] = set()
        self.servers: list[Server] = []

    def factory(self, service: str, region: str | None = None, config: Any = None) -> Any:
        """A client of the account. On ministack, the ID of an account is an access key of it."""
        key = "test" if self.account == ACCOUNT else self.account
        return self.aws.client(service, region, {"AccessKeyId": key, "SecretAccessKey": "test"}, config)

    def add(self, *hosts: str, region: str = REGION, name: str = PARAMETER, **more: Any) -> None:
        """Add instances, whose ID is ``i-`` and their name."""
        if (name, region) not in self.stored:
            self.factory("ssm", region).put_parameter(Name=name, Value=self.text, Type="String")
            self.stored.add((name, region))
        for host in hosts:
            self.servers.append(
                Server(
                    host,
                    region,
                    f"i-{host}",
                    sender=Sender("Linux", region, self.account, f"i-{host}", host),
                    **{
                        "configs": (Config(name, 1, digest(self.text)),),
                        "running": {name: digest(self.text)},
                        "seen_by": "ansible",
                        "agent": "running",
                        **more,
                    },
                )
            )

    def arrivals(self) -> Arrivals:
        return Arrivals(self.factory, Versions(self.factory))

    def check(self) -> tuple[dict[str, Server], list[str], Counter[str]]:
        """The servers after the check, the lines about others, and the number of calls of each action."""
        since = self.aws.mark()
        found, lines = self.arrivals().check(self.servers)
        calls = Counter(call.action for call in self.aws.calls(since))
        return {each.host: each for each in found}, lines, calls

    def place(self, hosts: Iterable[str], *ages: int, **more: Any) -> None:
        self.aws.place([mem(host, *ages, **more) for host in hosts])

    def place_streams(self, hosts: Iterable[str], last: int | None, **more: Any) -> None:
        self.aws.place([], [{"group": "shop", "name": f"i-{host}", "last": last, **more} for host in hosts])


def mem(host: str, *ages: int, **more: Any) -> dict[str, Any]:
    dimensions = {"InstanceId": f"i-{host}"}
    return {"namespace": "Shop", "name": "mem_used_percent", "dimensions": dimensions, "ages": ages, **more}


def whys(server: Server) -> list[str]:
    return [each.why for each in (*server.failures, *server.notes)]


@pytest.mark.parametrize(
    ("count", "calls"),
    [
        (1, {"ListMetrics": 1, "GetMetricData": 1, "DescribeLogStreams": 1, "GetParameterHistory": 1}),
        (50, {"ListMetrics": 1, "GetMetricData": 1, "DescribeLogStreams": 1, "GetParameterHistory": 1}),
        (1000, {"ListMetrics": 2, "GetMetricData": 2, "DescribeLogStreams": 20, "GetParameterHistory": 1}),
    ],
)
def test_calls_grow_with_pages_and_not_with_servers(enforcing: Emulator, count: int, calls: dict[str, int]) -> None:
    fleet, hosts = Fleet(enforcing), [f"w{number}" for number in range(count)]
    fleet.add(*hosts)
    fleet.place(hosts, 60)
    fleet.place_streams(hosts, 60)
    found, lines, made = fleet.check()
    assert made == calls
    assert {each.status("data") for each in found.values()} == {"ok"}
    assert (lines, {why for each in found.values() for why in whys(each)}) == ([], set())


def test_many_metrics_of_others_take_a_call_for_each_page(enforcing: Emulator) -> None:
    fleet = Fleet(enforcing, {"metrics": metrics()})
    fleet.add("w")
    others = [f"x{number:05}" for number in range(9_999)]
    fleet.place(["w", *others], 60)
    found, lines, made = fleet.check()
    assert (made["ListMetrics"], made["GetMetricData"]) == (20, 1)
    assert found["w"].status("data") == "ok"
    assert " ".join(" ".join(lines).split()) == (
        "- Servers that are not in this run send to Shop in eu-central-1: i-x00000, i-x00001, i-x00002 and 9996 more."
    )


def test_many_configurations_with_one_namespace_take_one_list(enforcing: Emulator) -> None:
    fleet, hosts = Fleet(enforcing), [f"w{number}" for number in range(50)]
    for host in hosts:
        fleet.add(host, name=f"AmazonCloudWatch-{host}")
    fleet.place(hosts, 60)
    fleet.place_streams(hosts, 60)
    found, _lines, made = fleet.check()
    assert made == {"ListMetrics": 1, "GetMetricData": 1, "DescribeLogStreams": 1, "GetParameterHistory": 50}
    assert {each.status("data") for each in found.values()} == {"ok"}


def test_all_pages_of_points_are_read(enforcing: Emulator) -> None:
    """AWS returns 100,800 points in a page, and so many that one request for the newest ones never has another page."""
    fleet, hosts = Fleet(enforcing), [f"w{number}" for number in range(500)]
    fleet.place(hosts, *range(60, 7 * HOUR, 60))
    series = [Series(REGION, "Shop", "mem_used_percent", (("InstanceId", f"i-{host}"),), 60, 180) for host in hosts]
    now, since = int(enforcing.now().timestamp()), enforcing.mark()
    newest = fleet.arrivals().find_newest(series, 0, 6 * HOUR)
    assert len(newest) == 500
    assert {now - each < 3 * MINUTE for each in newest.values()} == {True}
    assert [call.action for call in enforcing.calls(since)] == ["GetMetricData"] * 2


@pytest.mark.parametrize(("more", "status"), [({"agent": "not installed"}, "none"), ({"is_running": False}, "?")])
def test_nothing_is_asked_about_a_server_without_an_agent_that_runs(
    enforcing: Emulator, more: dict[str, Any], status: str
) -> None:
    """AWS charges for each metric in a request."""
    fleet = Fleet(enforcing)
    fleet.add("w", **more)
    found, lines, made = fleet.check()
    assert (found["w"].status("data"), lines, made) == (status, [], {})


# The meaning of the answers


@pytest.mark.parametrize(
    ("placed", "status", "why"),
    [
        ([mem("w", 60)], "ok", None),
        ([mem("w", 60, listed=False)], "ok", None),
        ([mem("w", -FUTURE_SECONDS + 120)], "ok", None),
        ([mem("w", 40 * MINUTE)], "FAIL", "The newest mem_used_percent of it in namespace Shop in eu-central-1 is 4"),
        ([mem("w", 5 * HOUR)], "FAIL", NO_DATA),
        ([mem("w", 60, namespace="CWAgent")], "FAIL", NO_DATA),
        ([mem("w", 60, region=OTHER_REGION)], "FAIL", NO_DATA),
        ([mem("w", 60, account=OTHER_ACCOUNT)], "FAIL", NO_DATA),
        ([{**mem("w", 60), "dimensions": {"InstanceId": "i-w", "path": "/"}}], "FAIL", NO_DATA),
        ([], "FAIL", NO_DATA),
    ],
)
def test_only_a_point_of_the_expected_metric_shows_that_data_arrives(
    enforcing: Emulator, placed: list[dict[str, Any]], status: str, why: str | None
) -> None:
    fleet = Fleet(enforcing, {"metrics": metrics()})
    fleet.add("w")
    enforcing.place(placed)
    found, _lines, _calls = fleet.check()
    assert found["w"].status("data") == status
    if why:
        [failure] = found["w"].failures
        assert failure.why.startswith(why)
        assert failure.fix == GUESS


DISK = {"metrics": metrics({"disk": {"measurement": ["used_percent"], "resources": ["*"]}})}


def disk(path: str, *ages: int, **more: Any) -> dict[str, Any]:
    dimensions = {"InstanceId": "i-w", "path": path, "device": "xvda", "fstype": "xfs"}
    return {**mem("w", *ages), "name": "disk_used_percent", "dimensions": dimensions, **more}


@pytest.mark.parametrize(
    ("placed", "status", "asked"),
    [
        ([disk("/", 60)], "ok", 1),
        ([disk("/a", 2 * HOUR), disk("/b", 60)], "ok", 2),
        ([disk("/a", 2 * HOUR)], "FAIL", 1),
        ([disk(f"/{number}", 2 * HOUR) for number in range(6)], "?", 5),
        ([disk("/", 60, listed=False)], "FAIL", 0),
        ([], "FAIL", 0),
    ],
)
def test_a_device_that_was_removed_does_not_hide_the_others(
    enforcing: Emulator, placed: list[dict[str, Any]], status: str, asked: int
) -> None:
    fleet = Fleet(enforcing, DISK)
    fleet.add("w")
    enforcing.place(placed)
    since = enforcing.mark()
    found, _lines, _calls = fleet.check()
    assert found["w"].status("data") == status
    requests = [call for call in enforcing.calls(since) if call.action == "GetMetricData"]
    queries = [json.dumps(call.params).count("SampleCount") for call in requests]
    assert queries == ([asked] if asked else [])


def test_a_server_that_sends_to_another_region_is_found_there(enforcing: Emulator) -> None:
    fleet = Fleet(enforcing, {"metrics": metrics()})
    fleet.add("w")
    fleet.add("far", region=OTHER_REGION)
    fleet.place(["w", "far"], 60, region=OTHER_REGION)
    found, lines, made = fleet.check()
    assert (found["far"].status("data"), made["ListMetrics"], made["GetMetricData"]) == ("ok", 2, 2)
    assert whys(found["w"]) == [f"{NO_DATA} It sends it to {OTHER_REGION} instead."]
    assert lines == []


def test_a_renamed_host_is_a_failure_beside_its_new_name(enforcing: Emulator) -> None:
    fleet = Fleet(enforcing, {"metrics": {"namespace": "Shop", "metrics_collected": MEM}})
    fleet.add("w", "twin", "other")
    fleet.servers[1] = Server(**{**vars(fleet.servers[1]), "sender": fleet.servers[2].sender})
    hostile = "\u202eweb"
    enforcing.place([{**mem("w", 60), "dimensions": {"host": name}} for name in ("new", hostile, "other")])
    found, lines, _calls = fleet.check()
    assert whys(found["w"]) == [NO_DATA]
    assert " ".join(" ".join(lines).split()) == (
        r"- Servers that are not in this run send to Shop in eu-central-1: new, \u202eweb."
    )
    shared = "It is not known whether its data arrives: another server has the same name, and so sends the same data."
    assert whys(found["twin"]) == whys(found["other"]) == [shared]


def test_two_accounts_are_two_fleets(enforcing: Emulator) -> None:
    accounts = (ACCOUNT, OTHER_ACCOUNT)
    fleets = {account: Fleet(enforcing, account=account) for account in accounts}
    for account, fleet in fleets.items():
        fleet.add("w")
        fleet.place(["w"], 60 if account == ACCOUNT else 2 * HOUR, account=account)
        fleet.place_streams(["w"], 60, account=account)
    statuses = [fleet.check()[0]["w"].status("data") for fleet in fleets.values()]
    assert statuses == ["ok", "FAIL"]


def test_another_partition_is_asked_as_any_region(moto: Emulator) -> None:
    fleet = Fleet(moto)
    fleet.add("w", region="cn-north-1")
    moto.place([mem("w", 60, region="cn-north-1")])
    found, _lines, made = fleet.check()
    assert (found["w"].status("data"), made["ListMetrics"], made["GetMetricData"]) == ("ok", 1, 1)
    assert whys(found["w"]) == ["It has no stream in log group shop in cn-north-1."]


# Logs


@pytest.mark.parametrize(
    ("fresh", "quiet", "others", "calls"),
    [
        (0, 1, 500, 1),  # one stream: its name is the prefix
        (1, 1, 500, 2),
        (2, 0, 500, 1),
        (40, 10, 500, 11),
        (0, 90, 500, 92),
        (0, 150, 500, MAX_STREAM_CALLS),
        (0, 20, 0, 1),  # all streams of the group
    ],
)
def test_streams_are_read_in_pages_or_one_by_one(
    enforcing: Emulator, fresh: int, quiet: int, others: int, calls: int
) -> None:
    """The streams of others have the latest events. A stream of which nothing is known is not one without events."""
    unknown = 53 if calls == MAX_STREAM_CALLS else 0
    fleet = Fleet(enforcing)
    sending, silent = ([f"{kind}{number}" for number in range(of)] for kind, of in (("a", fresh), ("b", quiet)))
    fleet.add(*sending, *silent)
    fleet.place([*sending, *silent], 60)
    fleet.place_streams(sending, 10)
    fleet.place_streams(silent, 5 * HOUR)
    fleet.place_streams([f"x{number}" for number in range(others)], 60)
    found, _lines, made = fleet.check()
    assert made["DescribeLogStreams"] == calls
    said = Counter(why for each in found.values() for why in whys(each))
    of_group = "log group shop in eu-central-1"
    old = f"Its stream in {of_group} has had no event for 5 hours."
    expected = Counter({old: quiet - unknown})
    expected[f"It is not known whether its log arrives in {of_group}: the group has too many streams."] = unknown
    assert said == +expected


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("has_group", [True, False])
def test_a_stream_or_group_that_does_not_exist_is_a_notice(enforcing: Emulator, count: int, has_group: bool) -> None:
    fleet, hosts = Fleet(enforcing), [f"w{number}" for number in range(count)]
    fleet.add(*hosts)
    fleet.place(hosts, 60)
    fleet.place_streams(["other"] if has_group else [], 60)
    found, _lines, made = fleet.check()
    assert made["DescribeLogStreams"] == 1
    assert {why for each in found.values() for why in whys(each)} == {
        "It has no stream in log group shop in eu-central-1."
    }


def test_the_newest_of_several_streams_of_a_server_counts(enforcing: Emulator) -> None:
    collected = [{"file_path": "/a", "log_group_name": "shop", "log_stream_name": "{instance_id}-{date}"}]
    fleet = Fleet(enforcing, {"logs": {"logs_collected": {"files": {"collect_list": collected}}}})
    fleet.add("w")
    fleet.place_streams([f"w-2026-{day:03}" for day in range(200)], 3 * HOUR)
    fleet.place_streams(["w-2026-200"], 10 * MINUTE)
    fleet.place_streams(["v-2026-201"], 0)
    found, _lines, made = fleet.check()
    assert (found["w"].status("data"), found["w"].data_age // MINUTE, made["DescribeLogStreams"]) == ("ok", 10, 1)


# Denials and errors


ACTIONS = {"ListMetrics": "cloudwatch", "GetMetricData": "cloudwatch", "DescribeLogStreams": "logs"}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("config", [BOTH, {"metrics": metrics()}, {"logs": LOGS}])
def test_a_denied_call_is_named_and_makes_nothing_fail(
    enforcing: Emulator, action: str, config: dict[str, Any]
) -> None:
    fleet = Fleet(enforcing, config)
    fleet.add("w")
    fleet.place(["w"], 60)
    fleet.place_streams(["w"], 60)
    denied = f"{ACTIONS[action]}:{action}"
    is_asked = any(
        action == "DescribeLogStreams" if key == "logs" else ACTIONS[action] == "cloudwatch" for key in config
    )
    enforcing.arm(Fault(Kind.DENY, action=action, times=100))
    arrivals = fleet.arrivals()
    [server], _lines = arrivals.check(fleet.servers)
    enforcing.disarm()
    assert [each.action for each in arrivals.unread] == ([denied] if is_asked else [])
    assert server.failures == ()
    shows_data = "metrics" in config and action == "DescribeLogStreams"
    assert server.status("data") == ("ok" if shows_data or not is_asked else "?")
    if not is_asked:
        assert whys(server) == []
    elif shows_data:
        where = "log group shop in eu-central-1"
        assert whys(server) == [f"It is not known whether its log arrives in {where}: {denied} in {REGION} is denied."]
    else:
        assert whys(server) == [f"It is not known whether its data arrives: {denied} in {REGION} is denied."]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_error_of_one_region_makes_only_its_servers_unknown(enforcing: Emulator, action: str) -> None:
    fleet = Fleet(enforcing)
    fleet.add("w")
    fleet.add("far", region=OTHER_REGION)
    for host, region in (("w", REGION), ("far", OTHER_REGION)):
        fleet.place([host], 60, region=region)
        fleet.place_streams([host], 60, region=region)
    enforcing.arm(Fault(Kind.ERROR, action=action, code="ValidationError", message="no such thing", times=1))
    found, _lines, _calls = fleet.check()
    [(unknown, [why])] = [(host, whys(each)) for host, each in found.items() if whys(each)]
    assert why.startswith("It is not known whether its ")
    assert f"({ACTIONS[action]}:{action}): " in why
    assert "no such thing" in why
    others = {host: each.status("data") for host, each in found.items() if host != unknown}
    assert [*others.values()] == ["ok"]


def test_the_clock_of_aws_counts_and_not_that_of_the_controller(enforcing: Emulator) -> None:
    fleet = Fleet(enforcing)
    enforcing.shift_clock(-9 * HOUR)
    fleet.add("w")
    fleet.servers.append(
        Server("logs", OTHER_REGION, "i-logs", sender=Sender("Linux", OTHER_REGION, ACCOUNT, "i-logs"))
    )
    fleet.place(["w"], 60)
    fleet.place_streams(["w"], 60)
    found, _lines, _calls = fleet.check()
    assert (found["w"].status("data"), found["w"].data_age <= 3 * MINUTE) == ("ok", True)


# Waiting


def trial(aws: Emulator, host: str, age: int = 10 * MINUTE, seconds: int = -180, region: str = REGION) -> Trial:
    """A trial of a server whose agent was started some time ago. With these seconds, its time is over."""
    series = Series(region, "Shop", "mem_used_percent", (("InstanceId", f"i-{host}"),), 60, seconds)
    return Trial(series, int(aws.now().timestamp()) - age)


def test_a_point_of_the_first_whole_period_is_the_proof(enforcing: Emulator) -> None:
    fleet = Fleet(enforcing)
    first = trial(enforcing, "new")
    trials = {host: replace(first, series=trial(enforcing, host).series) for host in ("new", "old", "both", "none")}
    now, begin = int(enforcing.now().timestamp()), trials["new"].begin
    # In the middle of a minute, because the clock goes on between these lines.
    fleet.place(["new"], now - begin - 30)
    fleet.place(["old"], now - begin + 90)
    fleet.place(["both"], now - begin + 90, now - begin - 90)
    proofs = wait_for_data(fleet.factory, trials, pause=0)
    assert proofs["new"] == Proof(begin)
    assert proofs["both"] == Proof(begin + MINUTE)
    assert proofs["old"].failure.endswith("The newest one is 2 minutes older.")
    assert proofs["none"].failure.endswith("It has no older one.")


def test_the_points_of_a_batch_are_read_together(enforcing: Emulator) -> None:
    """The clocks of servers can be hours ahead or behind. A point has the time of its server."""
    fleet, hosts = Fleet(enforcing), {"right": 0, "ahead": -2 * HOUR, "behind": 5 * HOUR}
    trials = {host: trial(enforcing, host, 5 * MINUTE + offset) for host, offset in hosts.items()}
    for host, offset in hosts.items():
        fleet.place([host], 60 + offset)
    since = enforcing.mark()
    proofs = wait_for_data(fleet.factory, trials, pause=0)
    assert {host: bool(each.newest) for host, each in proofs.items()} == dict.fromkeys(hosts, True)
    assert [call.action for call in enforcing.calls(since)] == ["GetMetricData"]


def test_a_denied_call_falls_back_to_the_log_in_its_region_alone(enforcing: Emulator) -> None:
    fleet = Fleet(enforcing)
    trials = {"w": trial(enforcing, "w"), "far": trial(enforcing, "far", region=OTHER_REGION)}
    fleet.place(["w"], 60)
    fleet.place(["far"], 60, region=OTHER_REGION)
    enforcing.arm(Fault(Kind.DENY, action="GetMetricData", times=1))
    proofs = wait_for_data(fleet.factory, trials, pause=0)
    [(denied, note)] = [(host, each.note) for host, each in proofs.items() if each.note]
    assert note == f"cloudwatch:GetMetricData in {trials[denied].series.region} is denied"
    assert sorted(bool(each.newest) for each in proofs.values()) == [False, True]
    assert {each.failure for each in proofs.values()} == {""}


def test_any_other_error_is_a_failure(enforcing: Emulator) -> None:
    fleet = Fleet(enforcing)
    enforcing.arm(Fault(Kind.ERROR, action="GetMetricData", code="ValidationError", message="no such thing", times=9))
    proofs = wait_for_data(fleet.factory, {"w": trial(enforcing, "w")}, pause=0)
    enforcing.disarm()
    assert (proofs["w"].newest, proofs["w"].note) == (0, "")
    assert proofs["w"].failure.startswith("It is not known whether its data arrives: ")
    assert "no such thing" in proofs["w"].failure


@pytest.mark.parametrize(
    ("fails", "left", "shown"),
    [
        (0, 60, ""),
        (1, 60, ""),
        (3, 60, ""),
        (1, 0, "Could not read the newest data of servers in eu-central-1: Internal"),
    ],
)
def test_an_error_that_passes_costs_a_poll_and_hides_no_other_server(
    enforcing: Emulator, fails: int, left: int, shown: str
) -> None:
    """AWS can fail for one metric of a request. The run reads it again while there is time."""
    fleet, trials = Fleet(enforcing), {host: trial(enforcing, host, seconds=left - 180) for host in ("a", "b")}
    fleet.place(["a"], 60, fails=fails)
    fleet.place(["b"], 60)
    since = enforcing.mark()
    proofs = wait_for_data(fleet.factory, trials, pause=0.1)
    assert (proofs["b"].newest > 0, proofs["b"].failure) == (True, "")
    assert (proofs["a"].newest > 0, shown in proofs["a"].failure) == (not shown, True)
    assert len(enforcing.calls(since)) == (fails + 1 if left else 1)


def test_a_metric_that_could_not_be_read_is_not_missing(enforcing: Emulator) -> None:
    fleet = Fleet(enforcing, {"metrics": metrics()})
    fleet.add("w")
    fleet.place(["w"], 60, fails=1)
    found, _lines, _calls = fleet.check()
    assert found["w"].status("data") == "?"
    assert whys(found["w"]) == [f"{NOT_KNOWN}Could not read the newest data of servers in eu-central-1: InternalError."]


def test_a_list_that_was_cut_off_does_not_show_that_data_is_missing(
    enforcing: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "MAX_PAGES", 2)
    for others, status in ((1000, "FAIL"), (1001, "?")):
        enforcing.reset()
        fleet = Fleet(enforcing, DISK)
        fleet.add("w")
        enforcing.place(
            [{**disk("/", 60), "dimensions": {"InstanceId": f"i-a{number:05}"}} for number in range(others)]
        )
        found, _lines, made = fleet.check()
        assert (found["w"].status("data"), made["ListMetrics"]) == (status, 2)
        [why] = whys(found["w"])
        assert ("Only 1,000 metrics with this name were listed." in why) == (status == "?")


def test_a_server_whose_data_takes_long_is_not_asked_for(enforcing: Emulator) -> None:
    fleet, slow = Fleet(enforcing), trial(enforcing, "w", seconds=HOUR)
    since = enforcing.mark()
    proofs = wait_for_data(fleet.factory, {"w": slow}, pause=0)
    assert proofs == {"w": Proof(note="its first data can take 63 minutes")}
    assert wait_for_data(fleet.factory, {}, pause=0) == {}
    assert enforcing.calls(since) == []


# The metric that proves a version


def test_only_servers_that_try_a_version_get_a_metric_that_proves_it(enforcing: Emulator) -> None:
    fleet = Fleet(enforcing, {"metrics": {"namespace": "Shop", "metrics_collected": MEM}})
    fleet.add("idle")
    since = enforcing.mark()
    assert fleet.arrivals().add_probes(fleet.servers) == fleet.servers
    assert enforcing.calls(since) == []
    fleet.add("w", "idle", in_trial=True)
    fleet.add("odd", in_trial=True, runs_others=True)
    found = fleet.arrivals().add_probes(fleet.servers)
    host = "another server has the same name, and so sends the same data"
    others = "it runs other configurations, too, whose text is not known"
    assert [bool(each.probe) for each in found] == [False, True, False, False]
    assert [each.unproved for each in found] == ["", "", host, others]
    assert {call.action for call in enforcing.calls(since)} == {"GetParameterHistory"}


def test_backends_answer_alike(running: dict[str, Emulator]) -> None:
    for backend in ("ministack", "moto"):
        fleet = Fleet(start_empty(running, backend))
        fleet.add("w")
        fleet.place(["w"], 60)
        fleet.place_streams(["w"], 60)
        found, _lines, made = fleet.check()
        assert found["w"].status("data") == "ok"
        assert made == {"ListMetrics": 1, "GetMetricData": 1, "DescribeLogStreams": 1, "GetParameterHistory": 1}
