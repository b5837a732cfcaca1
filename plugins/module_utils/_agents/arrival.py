# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks CloudWatch whether the data of agents has arrived. It reads times, and no event of a log."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from .._accounts.model import Unread
from .._ground.aws import Aws
from .._ground.errors import DENIED_CODES, AwsApiError
from .._ground.plan import run_in_parallel
from .._ground.text import wrap
from .._ground.wait import Deadline
from .data import (
    MINUTE,
    RECENT_SECONDS,
    SHARED,
    Expectation,
    Listed,
    Proof,
    describe_others,
    expect,
    find_series,
    judge_data,
    runs_of,
    shared_series,
    to_series,
)
from .servers import Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._configuration.expected_data import ExpectedLog, ExpectedMetric
    from .data import Dimensions, Trial
    from .model import Series, Server

    # A region, a namespace and the name of a metric.
    Name = tuple[str, str, str]


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
MAX_QUERIES = 500
# With one point a minute, this time and three hours are less than the 100,800 points of one call.
FUTURE_SECONDS = 20 * MINUTE
# A namespace can have any number of metrics. These are 50,000 of one name.
MAX_PAGES = 100
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_DescribeLogStreams.html
STREAMS_PAGE = 50
# The pages of a log group that are read, and one page is read for each server at most.
MAX_STREAM_PAGES = 20
POLL_SECONDS = 15.0
_NO_GROUP = "ResourceNotFoundException"


class Arrivals:
    """Reads from CloudWatch the data of the servers of an account.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    """

    def __init__(self, client_factory: Callable[..., Any], versions: Versions) -> None:
        self._client_factory = client_factory
        self._versions = versions
        self._gateways: dict[str, Aws] = {}
        self._lock = threading.Lock()
        self.unread: list[Unread] = []

    def check(self, servers: Sequence[Server]) -> tuple[list[Server], list[str]]:
        """Return the servers with the findings on their data, and lines about other servers."""
        expectations = self.expect(servers)
        asked = {each: found for each, found in expectations.items() if not found.reason}
        metrics = {index: found.metric for index, found in asked.items() if found.metric}
        names = dict.fromkeys(_name(each) for each in metrics.values())
        # Not in the threads: amazon.aws ends the module if it cannot make a client.
        for region in {name[0] for name in names} | {each.region for one in asked.values() for each in one.data.logs}:
            self._aws(region).client("cloudwatch")
            self._aws(region).client("logs")
        listed = dict(zip(names, run_in_parallel(self._list, names)))
        series = {index: find_series(each, listed[_name(each)]) for index, each in metrics.items()}
        newest = self.newest([each for each in series.values() if each])
        shared = shared_series(filter(None, series.values()), servers)
        events = self._events({index: found.data.logs for index, found in asked.items()})
        checked = []
        for index, server in enumerate(servers):
            found = series.get(index)
            seen = Listed(
                newest.get(found) if found else None,
                self._elsewhere(metrics.get(index), listed),
                events.get(index),
                self._denied(metrics.get(index), expectations[index]) or (SHARED if found in shared else ""),
            )
            checked.append(judge_data(server, expectations[index], seen, self._now()))
        known = frozenset(text for each in servers if each.sender for text in each.sender.identities | {each.host})
        others = [describe_others(*name[:2], listed[name], known) for name in names]
        return checked, [part for line in dict.fromkeys(filter(None, others)) for part in wrap(line)]

    def expect(self, servers: Sequence[Server]) -> dict[int, Expectation]:
        """Return by the number of a server what should arrive of it."""
        runs = [runs_of(each) if each.is_running else {} for each in servers]
        places = dict.fromkeys((name, each.region) for each, found in zip(servers, runs) for name in found)
        found = {place: self._versions.texts(*place) for place in places}
        texts = {place: each for place, each in found.items() if each is not None}
        return {index: expect(each, found, texts) for index, (each, found) in enumerate(zip(servers, runs))}

    def add_probes(self, servers: Sequence[Server]) -> list[Server]:
        """Return the servers, those that are to prove a version with the metric that can prove it."""
        trying = [replace(each, running={}) for each in servers if each.needs_trial]
        found = self.expect(trying)
        metrics = {each.host: found[index].data.probe for index, each in enumerate(trying)}
        probes = {host: to_series(each) for host, each in metrics.items() if each}
        shared = shared_series(probes.values(), servers)
        kept = {host: each for host, each in probes.items() if each not in shared}
        return [replace(each, probe=kept.get(each.host)) for each in servers]

    def newest(self, series: Iterable[Series], begin: int = 0, end: int = 0) -> dict[Series, int]:
        """Return the time of the newest point of each metric that has any, in Unix seconds.

        :param begin: the earliest time of a point. The default is three hours ago.
        :param end: the latest time of a point.
        """
        regions: dict[str, list[Series]] = {}
        for each in dict.fromkeys(series):
            regions.setdefault(each.region, []).append(each)
        now = self._now()
        begin, end = begin or now - RECENT_SECONDS, end or now + FUTURE_SECONDS
        parts = [
            (region, found[first : first + MAX_QUERIES], begin, end)
            for region, found in regions.items()
            for first in range(0, len(found), MAX_QUERIES)
        ]
        return {key: value for each in run_in_parallel(self._read_newest, parts) for key, value in each.items()}

    def _read_newest(self, part: tuple[str, Sequence[Series], int, int]) -> dict[Series, int]:
        return self._attempt("the newest data of servers", part[0], self._get_data, *part) or {}

    def _get_data(self, region: str, series: Sequence[Series], begin: int, end: int) -> dict[Series, int]:
        queries = [
            {
                "Id": f"m{number}",
                "MetricStat": {"Metric": _to_wire(each), "Period": each.period, "Stat": "SampleCount"},
            }
            for number, each in enumerate(series)
        ]
        pages = self._aws(region).pages(
            "cloudwatch:GetMetricData",
            f"read the newest data of servers in {region}",
            MetricDataQueries=queries,
            StartTime=datetime.fromtimestamp(begin, timezone.utc),
            EndTime=datetime.fromtimestamp(end, timezone.utc),
            ScanBy="TimestampDescending",
        )
        found: dict[Series, int] = {}
        for each in (result for page in pages for result in page["MetricDataResults"]):
            times = [int(time.timestamp()) for time in each["Timestamps"]]
            metric = series[int(each["Id"][1:])]
            if times:
                found[metric] = max(found.get(metric, 0), *times)
        return found

    def _list(self, name: Name) -> list[Dimensions]:
        """Return the dimensions of the metrics of a name that had points in the last hours."""
        found = self._attempt("the metrics of servers", name[0], self._list_metrics, name)
        return [] if found is None else found

    def _list_metrics(self, name: Name) -> list[Dimensions]:
        region, namespace, metric = name
        what = f"list the metrics {metric} in namespace {namespace} in {region}"
        options = {"Namespace": namespace, "MetricName": metric, "RecentlyActive": "PT3H"}
        found: list[Dimensions] = []
        for number, page in enumerate(self._aws(region).pages("cloudwatch:ListMetrics", what, **options), 1):
            found += [{one["Name"]: one["Value"] for one in each["Dimensions"]} for each in page["Metrics"]]
            if number == MAX_PAGES:
                break
        return found

    def _events(self, logs: Mapping[int, Sequence[ExpectedLog]]) -> dict[int, dict[ExpectedLog, int | None]]:
        """Return by the number of a server the newest event of each of its streams."""
        groups: dict[tuple[str, str], dict[tuple[int, ExpectedLog], None]] = {}
        for index, found in logs.items():
            for each in found:
                groups.setdefault((each.region, each.group), {})[index, each] = None
        answers = run_in_parallel(self._read_streams, groups.items())
        events: dict[int, dict[ExpectedLog, int | None]] = {index: {} for index in logs}
        for answer in answers:
            for (index, each), newest in answer.items():
                events[index][each] = newest
        return events

    def _read_streams(
        self, group: tuple[tuple[str, str], Iterable[tuple[int, ExpectedLog]]]
    ) -> dict[tuple[int, ExpectedLog], int | None]:
        (region, name), wanted = group
        return self._attempt("log streams", region, self._describe_streams, region, name, list(wanted)) or {}

    def _describe_streams(
        self, region: str, group: str, wanted: Sequence[tuple[int, ExpectedLog]]
    ) -> dict[tuple[int, ExpectedLog], int | None]:
        """Return the newest event of each stream that exists, with one call for each stream at most."""
        found: dict[tuple[int, ExpectedLog], int | None] = {}
        streams = dict.fromkeys(each.stream for _index, each in wanted)
        few = len(streams) <= len(wanted) // STREAMS_PAGE + 1
        options = (
            [{"logStreamNamePrefix": each} for each in streams]
            if few
            else [{"orderBy": "LastEventTime", "descending": True}]
        )
        for each in options:
            for number, page in enumerate(self._pages(region, group, each), 1):
                for stream in page["logStreams"]:
                    newest = stream.get("lastEventTimestamp")
                    for key in wanted:
                        if _is_stream(key[1], stream["logStreamName"]):
                            found[key] = max(found.get(key) or 0, newest // 1000) if newest else found.get(key)
                if len(found) == len(wanted) or number == MAX_STREAM_PAGES:
                    break
        return found

    def _pages(self, region: str, group: str, options: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        """Yield the pages of the streams of a log group; none if there is no such group."""
        what = f"list the streams of log group {group} in {region}"
        more: dict[str, str] = {}
        while True:
            arguments = {"logGroupName": group, "limit": STREAMS_PAGE, **options, **more}
            page = self._aws(region).find("logs:DescribeLogStreams", what, _NO_GROUP, **arguments)
            if page is None:
                return
            yield page
            if not page.get("nextToken") or page["nextToken"] == more.get("nextToken"):
                return
            more = {"nextToken": page["nextToken"]}

    def _aws(self, region: str) -> Aws:
        with self._lock:
            if region not in self._gateways:
                self._gateways[region] = Aws(partial(self._client_factory, region=region))
            return self._gateways[region]

    def _now(self) -> int:
        """Return the time of AWS, in Unix seconds."""
        times = [each.now for each in self._gateways.values()] or [datetime.now(timezone.utc)]
        return int(max(times).timestamp())

    def _attempt(self, what: str, region: str, read: Callable[..., Any], *arguments: Any) -> Any:
        """Read something, and return ``None`` if that is denied."""
        try:
            return read(*arguments)
        except AwsApiError as error:
            if error.code not in DENIED_CODES:
                raise
            with self._lock:
                self.unread.append(Unread(what, error.action, region, str(error)))
            return None

    def _denied(self, metric: ExpectedMetric | None, expectation: Expectation) -> str:
        """Return which read of a server's data was denied, for a note; empty if none was."""
        regions = {each.region for each in expectation.data.logs} | ({metric.region} if metric else set())
        needed = ("cloudwatch:",) if metric else ("logs:",)
        for each in self.unread:
            if each.region in regions and each.action.startswith(needed):
                return each.denial
        return ""

    def _elsewhere(self, metric: ExpectedMetric | None, listed: Mapping[Name, Sequence[Dimensions]]) -> str:
        """Return another region in which the metric of a server is; empty if there is none."""
        if metric is None:
            return ""
        known = dict(metric.dimensions).items()
        return next(
            (
                region
                for (region, namespace, name), found in listed.items()
                if region != metric.region
                and (namespace, name) == (metric.namespace, metric.name)
                and any(known <= each.items() for each in found)
            ),
            "",
        )


def wait_for_data(
    client_factory: Callable[..., Any], trials: Mapping[str, Trial], *, pause: float = POLL_SECONDS
) -> dict[str, Proof]:
    """Wait until each server has sent the data with which its agent proves a version, and return the outcomes."""
    waiting = {host: each for host, each in trials.items() if not each.reason}
    found = {host: Proof(note=each.reason) for host, each in trials.items() if each.reason}
    arrivals = Arrivals(client_factory, Versions(client_factory))
    deadline = Deadline(max((each.seconds for each in waiting.values()), default=0))
    while waiting:
        begins = [each.begin for each in waiting.values()]
        newest = arrivals.newest([each.series for each in waiting.values()], min(begins), max(begins) + RECENT_SECONDS)
        if arrivals.unread:
            return {**found, **{host: Proof(note=arrivals.unread[0].denial) for host in waiting}}
        for host, each in list(waiting.items()):
            if newest.get(each.series, 0) >= each.begin:
                found[host] = Proof(newest[each.series])
                del waiting[host]
        if waiting and not deadline.pause(pause):
            break
    return {**found, **{host: Proof(failure=each.failure) for host, each in waiting.items()}}


def _name(metric: ExpectedMetric) -> Name:
    return metric.region, metric.namespace, metric.name


def _to_wire(series: Series) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in series.dimensions]
    return {"Namespace": series.namespace, "MetricName": series.name, "Dimensions": dimensions}


def _is_stream(log: ExpectedLog, name: str) -> bool:
    return name.startswith(log.stream) if log.is_prefix else name == log.stream
