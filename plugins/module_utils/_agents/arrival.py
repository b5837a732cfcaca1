# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks CloudWatch whether the data of agents has arrived. It reads times, and no event of a log."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._accounts.model import Unread
from .._ground.aws import Aws
from .._ground.errors import DENIED_CODES, AwsApiError, CwagentError
from .._ground.gateway import MALFORMED, unreadable
from .._ground.plan import run_in_parallel
from .._ground.text import wrap
from .._ground.wait import Deadline
from .data import (
    MAX_SERIES,
    MINUTE,
    NOT_KNOWN,
    RECENT_SECONDS,
    Expectation,
    Listed,
    Proof,
    Trial,
    describe_others,
    expect,
    find_senders,
    find_series,
    judge_data,
    runs_of,
    separate,
    to_series,
)
from .server import NOT_INSTALLED
from .verify import Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .data import Dimensions
    from .expected_data import ExpectedLog, ExpectedMetric
    from .server import Series, Server

    # A region, a namespace and the name of a metric.
    Name = tuple[str, str, str]
    # The name of a log stream, or its beginning, and whether it is only that.
    Stream = tuple[str, bool]


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
MAX_QUERIES = 500
# With one point a minute, this time and three hours are less than the 100,800 points of one call.
FUTURE_SECONDS = 20 * MINUTE
# CloudWatch accepts points up to two hours in the future.
AHEAD_SECONDS = 125 * MINUTE
# A server whose clock is further behind proves nothing.
BEHIND_SECONDS = 2 * RECENT_SECONDS
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html
METRICS_PAGE = 500
# A namespace can have any number of metrics. These are 50,000 of one name.
MAX_PAGES = 100
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_DescribeLogStreams.html
STREAMS_PAGE = 50
# The calls for the streams of a log group. AWS accepts 25 a second.
MAX_STREAM_CALLS = 100
POLL_SECONDS = 15.0
_METRICS, _DATA, _STREAMS = "cloudwatch:ListMetrics", "cloudwatch:GetMetricData", "logs:DescribeLogStreams"
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
        # By service and region, why something could not be read, as a sentence without its full stop.
        self.reasons: dict[tuple[str, str], str] = {}
        # Those that failed for another reason than a denial.
        self.errors: set[tuple[str, str]] = set()
        # The names that have more metrics than were listed.
        self._cut: set[Name] = set()

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
        newest = self.find_newest(each for found in series.values() for each in found[:MAX_SERIES])
        events = self._events({index: found.data.logs for index, found in asked.items()})
        checked, now = [], self._now()
        for index, server in enumerate(servers):
            metric, found = metrics.get(index), series.get(index, [])
            seen = Listed(
                max((newest[each] for each in found if each in newest), default=None),
                part=self._part(metric, found),
                region=self._elsewhere(metric, listed),
                events=events.get(index, {}),
                unread=self._reason("cloudwatch", [metric.region] if metric else []),
                unread_logs=self._reason("logs", [each.region for each in expectations[index].data.logs]),
            )
            checked.append(judge_data(server, expectations[index], seen, now, int(time.time())))
        known = find_senders(servers, expectations.values())
        others = [describe_others(*name[:2], listed[name], servers, known) for name in names]
        return checked, [part for line in dict.fromkeys(filter(None, others)) for part in wrap(line)]

    def expect(self, servers: Sequence[Server]) -> dict[int, Expectation]:
        """Return by the number of a server what should arrive of it."""
        runs = [runs_of(each) if each.is_running and each.agent != NOT_INSTALLED else {} for each in servers]
        places = dict.fromkeys((name, each.region) for each, found in zip(servers, runs) for name in found)
        found = {place: self._versions.texts(*place) for place in places}
        texts = {place: each for place, each in found.items() if each is not None}
        return separate({index: expect(each, found, texts) for index, (each, found) in enumerate(zip(servers, runs))})

    def add_probes(self, servers: Sequence[Server]) -> list[Server]:
        """Return the servers, those that are to prove a version with the metric that can prove it."""
        if not any(each.needs_trial for each in servers):
            return list(servers)
        found = self.expect([replace(each, running={}) if each.needs_trial else each for each in servers])
        probed = [
            replace(each, **_probe(found[index])) if each.needs_trial else each for index, each in enumerate(servers)
        ]
        # The points of an agent that is not restarted are its own.
        newest = self.find_newest(
            [each.probe for each in probed if each.probe and each.commands and not Trial(each.probe, 0).reason],
            AHEAD_SECONDS,
        )
        return [replace(each, newest=newest.get(each.probe, 0)) if each.probe else each for each in probed]

    def find_newest(
        self, series: Iterable[Series], ahead: int = FUTURE_SECONDS, behind: int = RECENT_SECONDS
    ) -> dict[Series, int]:
        """Return the time of the newest point of each metric that has any of these hours, in Unix seconds.

        :param ahead: how far in the future it can be, in seconds. Points have the time of the server.
        :param behind: how far in the past.
        """
        regions: dict[str, list[Series]] = {}
        for each in dict.fromkeys(series):
            regions.setdefault(each.region, []).append(each)
        now = self._now()
        parts = [
            (region, found[first : first + MAX_QUERIES], now - behind, now + ahead)
            for region, found in regions.items()
            for first in range(0, len(found), MAX_QUERIES)
        ]
        return {key: value for each in run_in_parallel(self._read_part, parts) for key, value in each.items()}

    def _read_part(self, part: tuple[str, Sequence[Series], int, int]) -> dict[Series, int]:
        return self._attempt("the newest data of servers", _DATA, part[0], self._get_data, *part) or {}

    def _get_data(self, region: str, series: Sequence[Series], begin: int, end: int) -> dict[Series, int]:
        asked = {f"m{number}": each for number, each in enumerate(series)}
        queries = [
            {"Id": key, "MetricStat": {"Metric": _to_wire(each), "Period": each.period, "Stat": "SampleCount"}}
            for key, each in asked.items()
        ]
        pages = self._aws(region).pages(
            _DATA,
            f"read the newest data of servers in {region}",
            MetricDataQueries=queries,
            StartTime=datetime.fromtimestamp(begin, timezone.utc),
            EndTime=datetime.fromtimestamp(end, timezone.utc),
            ScanBy="TimestampDescending",
        )
        found: dict[Series, int] = {}
        for each in (result for page in pages for result in page["MetricDataResults"]):
            if each["StatusCode"] not in ("Complete", "PartialData"):
                error = CwagentError(f"Could not read the newest data of servers in {region}: {each['StatusCode']}")
                self._keep_reason("the newest data of servers", _DATA, region, error)
            times = [int(one.timestamp()) for one in each["Timestamps"]]
            metric = asked[each["Id"]]
            if times:
                found[metric] = max(found.get(metric, 0), *times)
        return found

    def _list(self, name: Name) -> list[Dimensions]:
        """Return the dimensions of the metrics of a name that had points in the last hours."""
        found = self._attempt("the metrics of servers", _METRICS, name[0], self._list_metrics, name)
        return [] if found is None else found

    def _list_metrics(self, name: Name) -> list[Dimensions]:
        region, namespace, metric = name
        what = f"list the metrics {metric} in namespace {namespace} in {region}"
        options = {"Namespace": namespace, "MetricName": metric, "RecentlyActive": "PT3H"}
        found: list[Dimensions] = []
        for number, page in enumerate(self._aws(region).pages(_METRICS, what, **options), 1):
            found += [{one["Name"]: one["Value"] for one in each["Dimensions"]} for each in page["Metrics"]]
            if number == MAX_PAGES:
                self._cut |= {name} if page.get("NextToken") else set()
                break
        return found

    def _events(self, logs: Mapping[int, Sequence[ExpectedLog]]) -> dict[int, dict[ExpectedLog, int | None]]:
        """Return by the number of a server the newest event of each of its streams that is known."""
        groups: dict[tuple[str, str], dict[Stream, None]] = {}
        for each in (log for found in logs.values() for log in found):
            groups.setdefault((each.region, each.group), {})[each.stream, each.is_prefix] = None
        answers = dict(zip(groups, run_in_parallel(self._read_streams, groups.items())))
        return {
            index: {
                each: answers[each.region, each.group][each.stream, each.is_prefix]
                for each in found
                if (each.stream, each.is_prefix) in answers[each.region, each.group]
            }
            for index, found in logs.items()
        }

    def _read_streams(self, group: tuple[tuple[str, str], Iterable[Stream]]) -> dict[Stream, int | None]:
        (region, name), wanted = group
        return self._attempt("log streams", _STREAMS, region, self._describe_streams, region, name, list(wanted)) or {}

    def _describe_streams(self, region: str, group: str, wanted: Sequence[Stream]) -> dict[Stream, int | None]:
        """Return the newest event of each stream, ``None`` for no stream. One of which nothing is known is missing.

        Pages with the latest events first have most streams of a fleet. Each other stream then takes a call.
        """
        found: dict[Stream, int | None] = {}
        missing, left = dict.fromkeys(wanted), MAX_STREAM_CALLS
        pages = -(-len(wanted) // STREAMS_PAGE)
        if len(wanted) > 1:
            by_event, is_last = {"orderBy": "LastEventTime", "descending": True}, True
            for number, page in enumerate(self._pages(region, group, by_event), 1):
                left, is_last, before = left - 1, _is_last(page), len(missing)
                _record(page, missing, found)
                missing = {each: None for each in missing if each not in found}
                is_useless = len(missing) <= left or len(missing) == before
                if not missing or not left or (number >= pages and is_useless):
                    break
            if is_last:  # or there is no such group
                return {**dict.fromkeys(wanted), **found}
        for each in list(missing)[:left]:
            # AWS returns the streams by name. The newest one is often the last, because its name ends with a date.
            prefix = {"logStreamNamePrefix": each[0]} if each[0] else {}
            for page in islice(self._pages(region, group, {**prefix, "descending": each[1]}), 1):
                _record(page, [each], found)
            found.setdefault(each, None)
        return found

    def _pages(self, region: str, group: str, options: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        """Yield the pages of the streams of a log group; none if there is no such group."""
        what = f"list the streams of log group {group} in {region}"
        more: dict[str, str] = {}
        while True:
            arguments = {"logGroupName": group, "limit": STREAMS_PAGE, **options, **more}
            page = self._aws(region).find(_STREAMS, what, _NO_GROUP, **arguments)
            if page is None:
                return
            yield page
            if _is_last(page) or page["nextToken"] == more.get("nextToken"):
                return
            more = {"nextToken": page["nextToken"]}

    def _aws(self, region: str) -> Aws:
        with self._lock:
            if region not in self._gateways:
                self._gateways[region] = Aws(partial(self._client_factory, region=region))
            return self._gateways[region]

    def _now(self) -> int:
        """Return the time of AWS, in Unix seconds."""
        known = [self._versions.server_time, *(each.server_time for each in self._gateways.values())]
        times = [each for each in known if each]
        return int(max(times or [datetime.now(timezone.utc)]).timestamp())

    def _attempt(self, what: str, action: str, region: str, read: Callable[..., Any], *arguments: Any) -> Any:
        """Read something, and return ``None`` if that fails. A configuration can name a region that does not exist."""
        try:
            return read(*arguments)
        except CwagentError as error:
            self._keep_reason(what, action, region, error)
        except MALFORMED:
            self._keep_reason(what, action, region, unreadable(f"read {what} in {region}", action))
        return None

    def _keep_reason(self, what: str, action: str, region: str, error: CwagentError) -> None:
        """Keep the reason of a read that failed. :param what: a noun phrase for the data that was to be read."""
        found, place = Unread(what, action, region, str(error)), (action.partition(":")[0], region)
        is_denied = isinstance(error, AwsApiError) and error.code in DENIED_CODES
        with self._lock:
            self.unread.append(found)
            self.reasons.setdefault(place, found.denial if is_denied else found.why.rstrip("."))
            self.errors |= set() if is_denied else {place}

    def take_errors(self) -> dict[str, str]:
        """Return by region why data could not be read, except for denials, and forget it for the next attempt."""
        found = {region: self.reasons.pop((service, region)) for service, region in self.errors}
        self.errors.clear()
        return found

    def _reason(self, service: str, regions: Iterable[str]) -> str:
        """Return why the data of a server could not be read; empty if it was."""
        return next((self.reasons[service, each] for each in regions if (service, each) in self.reasons), "")

    def _part(self, metric: ExpectedMetric | None, found: Sequence[Series]) -> str:
        """Return which part of the metrics of a server was read, in a sentence; empty if all were."""
        if len(found) > MAX_SERIES:
            return f"Only {MAX_SERIES} of its metrics with this name were read."
        if metric and metric.unknown_dimensions and _name(metric) in self._cut:
            return f"Only {MAX_PAGES * METRICS_PAGE:,} metrics with this name were listed."
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
    deadline = Deadline(max((each.seconds_left for each in waiting.values()), default=0))
    newest: dict[Series, int] = {}
    reasons: dict[str, str] = {}
    while waiting:
        newest = arrivals.find_newest([each.series for each in waiting.values()], AHEAD_SECONDS, BEHIND_SECONDS)
        reasons = arrivals.take_errors()  # what is left are denials
        for host, each in list(waiting.items()):
            seen, denial = newest.get(each.series, 0), arrivals.reasons.get(("cloudwatch", each.series.region))
            if seen >= each.begin:
                found[host] = Proof(seen)
            elif denial:
                found[host] = Proof(note=denial)
            else:
                continue
            del waiting[host]
        if waiting and not deadline.pause(pause):
            break
    for host, each in waiting.items():
        reason = reasons.get(each.series.region)
        missing = each.describe_failure(newest.get(each.series, 0))
        found[host] = Proof(failure=f"{NOT_KNOWN}{reason}." if reason else missing)
    return found


def _name(metric: ExpectedMetric) -> Name:
    return metric.region, metric.namespace, metric.name


def _to_wire(series: Series) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in series.dimensions]
    return {"Namespace": series.namespace, "MetricName": series.name, "Dimensions": dimensions}


def _probe(expectation: Expectation) -> dict[str, Any]:
    """Return the metric that proves a version on a server, or why none does."""
    if probe := expectation.data.probe:
        return {"probe": to_series(probe), "unproved": ""}
    return {"probe": None, "unproved": expectation.reason or "no metric of it is known well enough"}


def _is_last(page: Mapping[str, Any]) -> bool:
    return not page.get("nextToken")


def _record(page: Mapping[str, Any], wanted: Iterable[Stream], found: dict[Stream, int | None]) -> None:
    """Add the newest event of each wanted stream in a page."""
    whole = {name for name, is_prefix in wanted if not is_prefix}
    beginnings = tuple(name for name, is_prefix in wanted if is_prefix)
    for each in page["logStreams"]:
        name, newest = each["logStreamName"], each.get("lastEventTimestamp", 0) // 1000
        keys = [(name, False)] if name in whole else []
        if name.startswith(beginnings):
            keys += [(beginning, True) for beginning in beginnings if name.startswith(beginning)]
        for key in keys:
            found[key] = max(found.get(key) or 0, newest)
