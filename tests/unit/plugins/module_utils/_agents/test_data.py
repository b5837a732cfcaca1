"""The data that should arrive of a server, and the judgement on what CloudWatch has."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import Unread
from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs_plan import Wanted
from ansible_collections.cwagent.iam.plugins.module_utils._agents.data import (
    SHARED,
    Expectation,
    Listed,
    Proof,
    Trial,
    describe_age,
    describe_others,
    describe_proofs,
    expect,
    find_senders,
    find_series,
    judge_data,
    patience,
    runs_of,
    separate,
    to_series,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.expected_data import expected_data
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import (
    AGENT,
    CONFIGURATION,
    IDENTITY,
    PERMISSIONS,
    Config,
    Sender,
    Series,
    Server,
    failure,
)

REGION, NOW = "eu-central-1", 1_764_750_000
MINUTE, HOUR = 60, 3600
EC2 = Sender("Linux", REGION, "123456789012", "i-1", "web1", "ip-10-0-0-1")
ONPREM = Sender("Linux", REGION, "123456789012", hostname="web1")


def metrics(*plugins, append=True, **more):
    """A configuration with metrics of some plug-ins."""
    appended = {"append_dimensions": {"InstanceId": "${aws:InstanceId}"}} if append else {}
    collected = {name: {"measurement": ["used_percent"], "resources": ["*"]} for name in plugins}
    return {"metrics": {"namespace": "Shop", **appended, "metrics_collected": collected, **more}}


def logs(*names, **more):
    collected = [{"file_path": f"/var/log/{name}", "log_group_name": name, **more} for name in names]
    return {"logs": {"logs_collected": {"files": {"collect_list": collected}}}}


MEM, BOTH = metrics("mem"), {**metrics("mem"), **logs("app")}


def server(sender=EC2, **more):
    """A server whose agent runs configuration A, and which was read with Ansible."""
    values = {"running": {"A": "1"}, "seen_by": "ansible", "agent": "running", "ahead": 0, "started": NOW - HOUR}
    instance_id = sender.instance_id if sender else ""
    config = (Config("A", 1, "1"),)
    return Server("web1", REGION, instance_id, sender=sender, **{"configs": config, **values, **more})


def expectation(config, of=None):
    of = of or server()
    return expect(of, {"A": "1"}, {("A", REGION): {"1": json.dumps(config)}})


def judge(config, listed=None, of=None, now=NOW, here=NOW, **more):
    of = of or server()
    return judge_data(of, expectation(config, of), listed or Listed(**more), now, here)


def said(found):
    """The results of the check: its status, and the texts of its findings."""
    return found.status("data"), [each.why for each in (*found.failures, *found.notes) if each.rule == "data"]


WHERE = "mem_used_percent of it in namespace Shop in eu-central-1"
NONE, OLD = f"CloudWatch has no {WHERE}.", f"The newest {WHERE} is {{}} old."


# The expected data


RUNNING, STORED, ASSIGNED = {"A": "1"}, (Wanted("A", "2", 2),), (Config("A", 3, "3"),)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"running": RUNNING, "runs": STORED, "configs": ASSIGNED}, {"A": "1"}),
        ({"running": {}, "runs": STORED, "configs": ASSIGNED}, {"A": "2"}),
        ({"running": {}, "configs": ASSIGNED}, {"A": "3"}),
        ({"running": {}, "configs": ASSIGNED, "runs_all": False}, {}),
        ({"running": {}, "configs": ()}, {}),
    ],
)
def test_the_agent_runs_what_its_facts_show_or_what_is_assigned_to_it(given, expected):
    assert runs_of(server(**given)) == expected


TEXT = json.dumps(MEM)
NOT_MERGED = {("A", REGION): {"1": TEXT}, ("B", REGION): {"1": json.dumps({"metrics": {"namespace": "Other"}})}}


@pytest.mark.parametrize(
    ("given", "runs", "texts", "reason"),
    [
        ({}, {}, {}, "which configurations it runs is not known"),
        ({"sender": None}, {"A": "1"}, {("A", REGION): {"1": TEXT}}, "which configurations it runs is not known"),
        ({"runs_others": True}, {"A": "1"}, {("A", REGION): {"1": TEXT}}, "it runs other configurations, too"),
        ({}, {"A.yaml": "1"}, {("A.yaml", REGION): {"1": TEXT}}, "it runs an OpenTelemetry configuration"),
        ({}, {"B": "1", "A": "1"}, {}, "the versions of A, B could not be read"),
        ({}, {"A": "1"}, {("A", "eu-west-1"): {"1": TEXT}}, "the versions of A could not be read"),
        ({}, {"A": "1"}, {("A", REGION): {"2": TEXT}}, "the text of A that it runs is encrypted or no longer stored"),
        ({}, {"A": "1"}, {("A", REGION): {"1": "no JSON"}}, "the agent cannot merge its configurations"),
        ({}, {"A": "1", "B": "1"}, NOT_MERGED, "the agent cannot merge its configurations"),
        ({}, {"A": "1"}, {("A", REGION): {"1": TEXT}}, ""),
    ],
)
def test_why_nothing_is_known_of_the_data_of_a_server(given, runs, texts, reason):
    configs = tuple(Config(name, 1, "1") for name in ("A", "B"))
    found = expect(server(**{"configs": configs, **given}), runs, texts)
    assert found.reason.startswith(reason)
    assert bool(found.reason) == bool(reason)


COLLECTD = {"metrics": {"metrics_collected": {"collectd": {}}}}


@pytest.mark.parametrize(
    ("config", "sender", "reason"),
    [
        (MEM, EC2, ""),
        (logs("app"), EC2, ""),
        (metrics("mem", append=False), ONPREM, ""),
        (metrics("mem", aggregation_dimensions=[["InstanceId"]]), EC2, ""),
        ({"agent": {"omit_hostname": True}, **metrics("mem", append=False)}, EC2, "its metrics have no dimension that"),
        (metrics("mem", append=False), replace(ONPREM, hostname=None), "its metrics have no dimension that"),
        ({"agent": {"metrics_collection_interval": 2 * HOUR}, **MEM}, EC2, "too much time can pass between two points"),
        (logs("app", log_stream_name="all"), EC2, "its log streams have no name that distinguishes it"),
        (COLLECTD, EC2, "applications choose these metrics"),
        ({"agent": {}}, EC2, "its configurations send neither metrics nor logs"),
    ],
)
def test_data_proves_something_if_it_is_of_one_server_and_arrives_often(config, sender, reason):
    found = expectation(config, server(sender))
    assert found.reason.startswith(reason)
    assert bool(found.reason) == bool(reason)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (metrics("disk", "mem", "swap"), "mem_used_percent"),
        (metrics("disk"), "disk_used_percent"),
        (logs("app"), None),
        ({"agent": {"metrics_collection_interval": 2 * HOUR}, **MEM}, None),
    ],
)
def test_the_metric_with_known_dimensions_that_arrives_soonest_is_asked_for(config, name):
    found = expectation(config).metric
    assert (found.name if found else None) == name


def test_several_configurations_are_merged_in_the_order_of_the_agent():
    texts = {("A", REGION): {"1": json.dumps(MEM)}, ("B", REGION): {"1": json.dumps(logs("app"))}}
    of = server(configs=(Config("B", 1, "1"), Config("A", 1, "1")))
    found = expect(of, {"A": "1", "B": "1"}, texts)
    assert ([each.name for each in found.data.metrics], len(found.data.logs)) == (["mem_used_percent"], 1)


@pytest.mark.parametrize("is_windows", [False, True])
def test_a_windows_server_sends_the_metrics_of_windows(is_windows):
    of = server(is_windows=is_windows)
    assert bool(expectation(MEM, of).reason) == is_windows
    windows = metrics(append=True, metrics_collected={"Memory": {"measurement": ["Available Bytes"]}})
    assert bool(expectation(windows, of).reason) != is_windows


@pytest.mark.parametrize(("seen_by", "is_assumed"), [("ansible", False), ("run_command", False), ("", True)])
def test_the_configuration_is_assumed_where_nothing_was_read(seen_by, is_assumed):
    for running in ({"A": "1"}, {}):
        assert expectation(MEM, server(seen_by=seen_by, running=running)).is_assumed == is_assumed


# The metric with its dimensions


def metric_of(config, sender=EC2):
    return expectation(config, server(sender)).metric


def test_a_metric_whose_dimensions_are_known_need_not_be_listed():
    assert find_series(metric_of(MEM), []) == [to_series(metric_of(MEM))]
    expected = Series(REGION, "Shop", "mem_used_percent", (("InstanceId", "i-1"),), 60, 180)
    assert to_series(metric_of(MEM)) == expected


@pytest.mark.parametrize(("interval", "period"), [(1, 60), (60, 60), (61, 120), (300, 300)])
def test_a_period_of_cloudwatch_is_a_number_of_minutes(interval, period):
    assert to_series(metric_of({"agent": {"metrics_collection_interval": interval}, **MEM})).period == period


ROOT = {"InstanceId": "i-1", "path": "/", "device": "xvda1", "fstype": "xfs"}
BOOT = {**ROOT, "path": "/boot", "device": "xvda2"}


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([], []),
        ([BOOT, ROOT], [ROOT, BOOT]),
        ([{**ROOT, "InstanceId": "i-2"}], []),
        ([{**ROOT, "other": "x"}], []),
        ([{"path": "/"}], []),
        ([{"InstanceId": "i-1", "path": "/"}], [{"InstanceId": "i-1", "path": "/"}]),
    ],
)
def test_other_dimensions_are_those_that_cloudwatch_lists(listed, expected):
    found = find_series(metric_of(metrics("disk")), listed)
    assert [dict(each.dimensions) for each in found] == expected


# Servers with the same name


@pytest.mark.parametrize(
    ("config", "senders", "reasons"),
    [
        (metrics("mem", append=False), [ONPREM, ONPREM], [SHARED, SHARED]),
        (metrics("mem", append=False), [ONPREM, replace(ONPREM, hostname="web2")], ["", ""]),
        (metrics("mem", append=False), [ONPREM, replace(ONPREM, region="eu-west-1")], ["", ""]),
        (metrics("mem"), [EC2, replace(EC2, instance_id="i-2")], ["", ""]),
        (logs("app", log_stream_name="{hostname}"), [ONPREM, ONPREM], [SHARED, SHARED]),
        (logs("app", log_stream_name="{hostname}"), [ONPREM, replace(ONPREM, hostname="web2")], ["", ""]),
        ({**metrics("mem", append=False), **logs("app")}, [EC2, EC2, replace(EC2, hostname="x")], [SHARED, SHARED, ""]),
        (COLLECTD, [EC2, EC2], [expectation(COLLECTD).reason] * 2),
    ],
)
def test_data_that_two_servers_send_proves_nothing_about_either(config, senders, reasons):
    found = separate({index: expectation(config, server(each)) for index, each in enumerate(senders)})
    assert [each.reason for each in found.values()] == reasons
    assert all(not (each.metric or each.data.probe) for each in found.values() if each.reason)


def test_a_server_keeps_the_data_that_it_does_not_share():
    config = {**metrics("mem", append=False), **logs("app", log_stream_name="{instance_id}")}
    pair = {0: server(EC2), 1: server(replace(EC2, instance_id="i-2"))}
    found = separate({index: expectation(config, each) for index, each in pair.items()})
    assert [(each.reason, each.metric) for each in found.values()] == [("", None)] * 2


# The judgement


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (server(agent="not installed"), ("none", [])),
        (server(is_running=False), ("?", ["The instance is not running."])),
        (server(None), ("?", ["It is not known whether its data arrives: which configurations it runs is not known."])),
    ],
)
def test_a_server_without_an_agent_that_runs_sends_nothing(of, expected):
    assert said(judge(MEM, of=of)) == expected


@pytest.mark.parametrize(
    ("age", "status", "shown"),
    [
        (0, "ok", 0),
        (130, "ok", 130),
        (15 * MINUTE, "ok", 15 * MINUTE),
        (15 * MINUTE + 1, "FAIL", 0),
        (-19 * MINUTE, "ok", 0),  # the clock of the server is ahead
    ],
)
def test_the_age_of_the_newest_point_decides(age, status, shown):
    found = judge(MEM, newest=NOW - age)
    assert (found.status("data"), found.data_age) == (status, shown)
    assert bool(found.newest) == (status == "ok")


SKEW = 14 * MINUTE


@pytest.mark.parametrize("skew", [0, SKEW, -SKEW, 5 * HOUR])
@pytest.mark.parametrize("ahead", [0, SKEW, -SKEW])
@pytest.mark.parametrize(("age", "status"), [(0, "ok"), (15 * MINUTE, "ok"), (15 * MINUTE + 1, "FAIL")])
def test_the_age_follows_the_clock_of_the_server_unless_it_is_very_wrong(skew, ahead, age, status):
    """Points have the time of the server, and its clock was compared with the one of the controller."""
    of = server(ahead=ahead - skew, started=NOW - 2 * HOUR)
    found = judge(MEM, of=of, here=NOW + skew, newest=NOW + ahead - age)
    assert (found.status("data"), found.data_age) == (status, age if status == "ok" else 0)
    assert not any("clock" in each.why for each in found.failures)


@pytest.mark.parametrize(("interval", "seconds"), [(60, 900), (300, 1020), (1800, 4020), (3600, 7620)])
def test_a_metric_with_a_long_interval_can_be_older(interval, seconds):
    """It also begins later: the first point comes after the first interval."""
    config = {"agent": {"metrics_collection_interval": interval}, **MEM}
    assert patience(metric_of(config)) == seconds
    assert judge(config, newest=NOW - seconds).status("data") == "ok"
    assert judge(config, newest=NOW - seconds - 1, of=server(started=NOW - HOUR * 24)).status("data") == "FAIL"
    assert judge(config, of=server(started=NOW - seconds + 1)).status("data") == "?"
    assert judge(config, of=server(started=NOW - seconds)).status("data") == "FAIL"


@pytest.mark.parametrize(
    ("given", "is_settling"),
    [
        ({"started": NOW - 899}, True),
        ({"started": NOW - 900}, False),
        ({"started": 0}, False),
        ({"started": 0, "launched": NOW - 899}, True),
        ({"launched": NOW - 900}, False),
        # By clocks that are two hours ahead, two hours behind, and unknown.
        ({"ahead": 2 * HOUR, "started": NOW + 2 * HOUR - 899}, True),
        ({"ahead": 2 * HOUR, "started": NOW + 2 * HOUR - 900}, False),
        ({"ahead": -2 * HOUR, "started": NOW - 2 * HOUR - 899}, True),
        ({"ahead": -2 * HOUR, "started": NOW - 2 * HOUR - 900}, False),
        ({"ahead": None, "started": NOW - 899}, True),
        # A start in the future is none.
        ({"started": NOW + HOUR}, False),
    ],
)
def test_data_can_still_be_missing_after_a_start(given, is_settling):
    status, [why, *_more] = said(judge(MEM, of=server(**given)))
    assert status == ("?" if is_settling else "FAIL")
    assert why.startswith(NONE)
    assert why.endswith("Its agent was started less than 15 minutes ago.") == is_settling


DENIED = failure(PERMISSIONS, "Role 'R' lacks cloudwatch:PutMetricData.", "Attach it.")
LOST = failure(IDENTITY, "It has no instance profile.", "Associate it.")
EARLIER = failure(CONFIGURATION, "Parameter A does not exist.", "Store it.")
STOPPED = failure(AGENT, "The agent is stopped.", "Start it.")
UNSEEN = failure(AGENT, "Nothing was read on the server: no route.", "Make it reachable.")
LIKELY = "The likely cause: {}"


@pytest.mark.parametrize(
    ("given", "listed", "expected"),
    [
        ({}, Listed(), NONE),
        ({}, Listed(newest=NOW - 50 * MINUTE), OLD.format("50 minutes")),
        ({"failures": (DENIED,)}, Listed(), f"{NONE} {LIKELY.format(DENIED.why)}"),
        ({"failures": (STOPPED, DENIED, LOST)}, Listed(), f"{NONE} {LIKELY.format(LOST.why)}"),
        ({"failures": (STOPPED, EARLIER)}, Listed(region="x"), f"{NONE} {LIKELY.format(EARLIER.why)}"),
        ({"failures": (STOPPED,), "running": {}}, Listed(), f"{NONE} {LIKELY.format(STOPPED.why)}"),
        (
            {"ahead": 2 * HOUR},
            Listed(),
            f"{NONE} Its clock is 2 hours ahead of the clock of AWS.",
        ),
        (
            {"ahead": -2 * HOUR, "started": NOW - 9 * HOUR},
            Listed(newest=NOW - 2 * HOUR),
            f"{OLD.format('2 hours')} Its clock is 2 hours behind the clock of AWS.",
        ),
        ({"ahead": -15 * MINUTE}, Listed(region="eu-west-1"), f"{NONE} It sends it to eu-west-1 instead."),
        (
            {"seen_by": "", "running": {}, "failures": (UNSEEN,)},
            Listed(),
            f"{NONE} That is expected of the stored configuration, because nothing was read on the server.",
        ),
    ],
)
def test_missing_data_is_a_failure_with_the_first_cause_that_is_known(given, listed, expected):
    status, whys = said(judge(MEM, listed, of=server(**{"started": NOW - 2 * 24 * HOUR, **given})))
    assert (status, whys) == ("FAIL", [expected])


@pytest.mark.parametrize(
    ("config", "listed", "expected"),
    [
        (
            metrics("disk", metrics_collected={"disk": {"measurement": ["used_percent"], "resources": ["/data"]}}),
            Listed(),
            "It is not certain that the server has what this measures.",
        ),
        (
            metrics("disk"),
            Listed(newest=NOW - HOUR, part="Only 5 of its metrics with this name were read."),
            "Only 5 of its metrics with this name were read.",
        ),
    ],
)
def test_missing_data_that_can_have_a_harmless_reason_is_no_failure(config, listed, expected):
    status, [why] = said(judge(config, listed))
    assert status == "?"
    assert why.endswith(expected)


# Logs


LOG = expectation(BOTH).data.logs[0]
AT = "log group app in eu-central-1"


@pytest.mark.parametrize(
    ("events", "more", "notes"),
    [
        ({LOG: NOW - 60}, {}, []),
        ({LOG: NOW - 3 * HOUR}, {}, []),
        ({LOG: NOW - 3 * HOUR - 1}, {}, [f"Its stream in {AT} has had no event for 3 hours."]),
        ({LOG: 0}, {}, [f"Its stream in {AT} has no event."]),
        ({LOG: None}, {}, [f"It has no stream in {AT}."]),
        ({}, {}, [f"It is not known whether its log arrives in {AT}: the group has too many streams."]),
        ({}, {"unread_logs": "x is denied"}, [f"It is not known whether its log arrives in {AT}: x is denied."]),
    ],
)
def test_a_quiet_log_is_a_notice(events, more, notes):
    found = judge(BOTH, newest=NOW - 60, events=events, **more)
    assert said(found) == ("ok", notes)
    assert found.data_age == 60


@pytest.mark.parametrize(
    ("config", "events", "status", "age"),
    [
        (logs("app"), {LOG: NOW - 120}, "ok", 120),
        (logs("app"), {LOG: 0}, "?", 0),
        (logs("app"), {LOG: None}, "?", 0),
        (logs("app"), {}, "?", 0),
    ],
)
def test_the_log_stream_of_a_server_without_metrics_shows_that_it_sends(config, events, status, age):
    found = judge(
        config, events={replace(LOG, path=expectation(config).data.logs[0].path): at for at in events.values()}
    )
    assert (found.status("data"), found.data_age) == (status, age)


def test_a_stream_that_other_servers_can_have_does_not_show_that_a_server_sends():
    config = {**logs("app", log_stream_name="all"), **MEM}
    [log] = expectation(config).data.logs
    found = judge(config, newest=NOW - 600, events={log: NOW - 60})
    assert found.data_age == 600


@pytest.mark.parametrize(
    ("config", "listed", "expected"),
    [
        (MEM, Listed(unread="cloudwatch:ListMetrics in x is denied"), "cloudwatch:ListMetrics in x is denied"),
        (logs("app"), Listed(unread_logs="logs:DescribeLogStreams is denied"), "logs:DescribeLogStreams is denied"),
    ],
)
def test_a_denied_call_makes_the_check_unknown_and_names_its_action(config, listed, expected):
    assert said(judge(config, listed)) == ("?", [f"It is not known whether its data arrives: {expected}."])


@pytest.mark.parametrize(("region", "expected"), [("x", "logs:A in x is denied"), (None, "logs:A is denied")])
def test_a_denied_call_is_described_with_its_place(region, expected):
    assert Unread("streams", "logs:A", region, "no").denial == expected


# Words


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (119, "1 minute"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (172_799, "47 hours"),
        (172_800, "2 days"),
    ],
)
def test_an_age_is_described_in_its_largest_unit(seconds, expected):
    assert describe_age(seconds) == expected


HOSTILE = "\x1b[2J\nweb"


@pytest.mark.parametrize(
    ("listed", "hostnames", "expected"),
    [
        ([], ["web1"], None),
        ([{"InstanceId": "i-1"}, {"host": "web1"}, {"path": "/"}], ["web1"], None),
        ([{"InstanceId": "i-9"}, {"InstanceId": "i-9", "path": "/"}], ["web1"], "i-9"),
        ([{"host": "web9"}], ["web1"], "web9"),
        # The name can be of a server whose name is not known.
        ([{"host": "web9"}, {"InstanceId": "i-9"}], ["web1", None], "i-9"),
        ([{"host": "web9"}], ["web1", None], None),
        ([{"host": HOSTILE}], ["web1"], r"\x1b[2J\nweb"),
        ([{"host": f"web{each}"} for each in range(2, 12)], ["web1"], "web2, web3, web4 and 7 more"),
    ],
)
def test_servers_that_are_not_in_the_run_are_listed(listed, hostnames, expected):
    servers = [server(replace(ONPREM, hostname=each)) for each in hostnames]
    found = describe_others(REGION, "Shop\x07", listed, servers, frozenset({"web1", "i-1"}))
    line = rf"- Servers that are not in this run send to Shop\x07 in {REGION}: {expected}."
    assert found == (line if expected else "")


def test_the_names_that_configurations_give_belong_to_the_run():
    named = {"agent": {"hostname": "web-b"}, **metrics("mem", append=False)}
    servers = [replace(server(replace(ONPREM, hostname=each)), host=f"inv-{each}") for each in ("h1", "h2")]
    configs = (metrics("mem", append=False), named)
    expectations = [expectation(config, each) for config, each in zip(configs, servers, strict=True)]
    known = find_senders(servers, expectations)
    assert {"h1", "h2", "inv-h1", "inv-h2", "web-b"} <= known
    listed = [{"host": "web-b"}, {"host": "h1"}, {"InstanceId": "i-foreign", "stage": "h1"}]
    assert describe_others(REGION, "Shop", listed, servers, known).endswith(": i-foreign.")


# The proof of a version


SERIES = Series(REGION, "Shop", "mem_used_percent", (("InstanceId", "i-1"),), 60, 180)


@pytest.mark.parametrize(
    ("started", "period", "begin"), [(600, 60, 660), (601, 60, 660), (657, 60, 660), (658, 60, 720), (601, 300, 900)]
)
def test_the_first_whole_period_after_the_start_proves_a_version(started, period, begin):
    assert Trial(replace(SERIES, period=period), started).begin == begin


@pytest.mark.parametrize(
    ("earlier", "begin", "reason"),
    [
        (0, 660, ""),
        (599, 660, ""),
        (700, 701, ""),
        (1500, 1501, ""),
        (1501, 1502, "CloudWatch has data of it from the future, because its clock was ahead"),
    ],
)
def test_points_that_were_there_before_the_restart_prove_nothing(earlier, begin, reason):
    trial = Trial(SERIES, 600, earlier)
    assert (trial.begin, trial.reason) == (begin, reason)


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(180, ""), (720, ""), (721, "its first data can take 15 minutes"), (3720, "its first data can take 65 minutes")],
)
def test_nobody_waits_for_data_that_takes_too_long(seconds, reason):
    assert Trial(replace(SERIES, seconds=seconds), 0).reason == reason


@pytest.mark.parametrize(("ran", "left"), [(0, 360), (140, 220), (360, 0), (3600, 0)])
def test_the_wait_for_data_begins_with_the_start_of_the_agent(ran, left):
    assert Trial(SERIES, 600, ran=ran).seconds_left == left


@pytest.mark.parametrize(("newest", "seen"), [(0, "It has no older one."), (540, "The newest one is 2 minutes older.")])
def test_a_server_fails_with_what_cloudwatch_has(newest, seen):
    assert Trial(SERIES, 601).describe_failure(newest) == (
        "CloudWatch has no mem_used_percent of it in namespace Shop in eu-central-1 since the restart of its agent, "
        f"although 6 minutes are enough for that. {seen}"
    )


def test_the_report_tells_which_proof_each_server_had():
    proofs = {"b": Proof(5), "a": Proof(5), "c": Proof(note="x is denied"), "d": Proof(failure="No data.")}
    watched = {
        "a": "",
        "b": "",
        "c": "",
        "d": "",
        "e": "its metrics are unknown",
        "f": "",
        "g": "its metrics are unknown",
    }
    assert describe_proofs(watched, proofs) == [
        "Data arrived in CloudWatch after the restart: a, b.",
        "Only the log was watched on c: x is denied.",
        "Only the log was watched on e, g: its metrics are unknown.",
        "Only the log was watched on f: when its agent started is not known.",
    ]
    assert describe_proofs({}, {}) == []


def test_an_expectation_without_data_has_no_metric():
    assert Expectation().metric is None
    assert expected_data({}, EC2).probe is None
