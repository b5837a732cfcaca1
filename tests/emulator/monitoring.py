"""The metrics and log streams of agents, as CloudWatch and CloudWatch Logs list them.

A CloudWatch agent that is started with the stand-in of its control program reports its configurations here, and sends
from then on. ``Emulator.place`` adds other metrics and streams, and so do accepted calls that put data.

It differs from AWS as follows:

- An agent sends its first point at once, with the time of the first whole minute that is certainly after its start,
  which others know to a few seconds, and after the points of the agent before it. On AWS, a point arrives one to three
  minutes after its time.
- A metric is listed at once, unless it was placed with ``listed=False``; on AWS, after up to 15 minutes. It is recently
  active for three hours after its newest point; on AWS, for up to 50 minutes more.
- All points have the value 1. Only one period of a request counts, the one of its metric. A point that is put has the
  time of the call.
- The times of a stream are exact; on AWS, they can be an hour late.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil
from typing import Any
from xml.sax.saxutils import escape

from .backend import ACCOUNT, account_of
from .wire import Call, ErrorAnswer

Params = dict[str, Any]

ACTIONS = {"cloudwatch": ("ListMetrics", "GetMetricData"), "logs": ("DescribeLogStreams",)}
PUTS = {"cloudwatch": ("PutMetricData",), "logs": ("PutLogEvents",)}
METRICS_PAGE, STREAMS_PAGE, QUERIES, DATAPOINTS = 500, 50, 500, 100_800
RECENTLY = "PT3H"
RECENT_SECONDS = 3 * 3600
MINUTE = 60
START_SECONDS = 10
"""The longest time between the start of an agent and the server's report of it, in seconds."""
XMLNS = "http://monitoring.amazonaws.com/doc/2010-08-01/"


@dataclass(frozen=True)
class Metric:
    """A metric.

    :param times: of its points, in Unix seconds.
    :param listed: whether ListMetrics knows it already.
    :param fails: how many times GetMetricData still answers that it could not read it.
    """

    account: str
    region: str
    namespace: str
    name: str
    dimensions: Mapping[str, str]
    times: tuple[float, ...]
    listed: bool = True
    fails: int = 0

    def shown(self) -> Params:
        dimensions = [{"Name": name, "Value": value} for name, value in self.dimensions.items()]
        return {"Namespace": self.namespace, "MetricName": self.name, "Dimensions": dimensions}


@dataclass(frozen=True)
class Stream:
    """A log stream. :param last: the time of its last event, in Unix seconds; ``None`` if it has none."""

    account: str
    region: str
    group: str
    name: str
    created: float
    last: float | None


@dataclass
class Monitoring:
    """:param now: the time of the accounts, in Unix seconds. :param last: of the newest point of agents that ended."""

    region: str
    now: Callable[[], float]
    metrics: list[Metric] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    agents: dict[tuple[str, ...], Params] = field(default_factory=dict)
    last: dict[tuple[str, ...], int] = field(default_factory=dict)

    def reset(self) -> None:
        for each in (self.metrics, self.streams, self.agents, self.last):
            each.clear()

    def place(self, metrics: Iterable[Params], streams: Iterable[Params]) -> None:
        """Add metrics with the ``ages`` of their points in seconds, and streams with the ages ``created`` and ``last``.

        ``last`` is the age of the last event. A placed metric hides all metrics of its agent.
        """
        now, place = self.now(), {"account": ACCOUNT, "region": self.region}
        for each in metrics:
            ages = each.pop("ages")
            self.metrics.append(Metric(**{**place, **each}, times=tuple(sorted(now - age for age in ages))))
        for each in streams:
            last = each.pop("last", None)
            created = now - each.pop("created", 0)
            self.streams.append(Stream(**{**place, **each}, created=created, last=None if last is None else now - last))

    def start(self, report: Params) -> None:
        """Let an agent send, or no longer.

        :param report: its ``account``, ``region``, ``instance`` or empty text, and ``host``; its ``configs``, and
            whether it ``sends``.
        """
        key = (report["account"], report["region"], report["instance"] or report["host"])
        if earlier := self.agents.pop(key, None):
            self.last[key] = _last(earlier)
        if report["sends"]:
            now = time.time()
            first = ceil((now + START_SECONDS) / MINUTE) * MINUTE
            self.agents[key] = {**report, "started": now, "first": max(first, self.last.get(key, 0) + MINUTE)}

    def put(self, call: Call, params: Params, form: str) -> None:
        """Add the data of a call that the accounts have accepted. :param form: the content type of the call."""
        params = params if "json" in form else _nested(params)
        account = account_of(call.principal)
        for each in params.get("MetricData", ()):
            dimensions = {pair["Name"]: pair["Value"] for pair in each.get("Dimensions", ())}
            names = (params["Namespace"], each["MetricName"])
            self.metrics.append(Metric(account, call.region, *names, dimensions, (self.now(),)))
        if call.action == "PutLogEvents":
            place = (account, call.region, params["logGroupName"], params["logStreamName"])
            known = [each for each in self.streams if (each.account, each.region, each.group, each.name) == place]
            last = max(each["timestamp"] for each in params["logEvents"]) / 1000
            self.streams = [each for each in self.streams if each not in known]
            created = known[0].created if known else self.now()
            self.streams.append(Stream(*place, created, max(last, *(each.last or 0 for each in known), 0)))

    def respond(self, call: Call, params: Params, form: str) -> tuple[str, str] | ErrorAnswer:
        """Content type and text of an answer. :param form: the content type of the call."""
        answers: dict[str, Callable[[Call, Params], Params | ErrorAnswer]] = {
            "ListMetrics": self._list_metrics,
            "GetMetricData": self._get_metric_data,
            "DescribeLogStreams": self._describe_log_streams,
        }
        is_json = "json" in form
        found = answers[call.action](call, params if is_json else _nested(params))
        if isinstance(found, ErrorAnswer):
            return found
        if is_json:
            return form, json.dumps(found, default=datetime.timestamp)
        result = f"<{call.action}Result>{_xml(found)}</{call.action}Result>"
        return "text/xml", f'<{call.action}Response xmlns="{XMLNS}">{result}</{call.action}Response>'

    def _of(self, call: Call) -> list[Metric]:
        """The metrics in the account and region of a call. A placed metric hides all metrics of its agent."""
        account = account_of(call.principal)
        here = [each for each in self.metrics if (each.account, each.region) == (account, call.region)]
        placed = {(each.namespace, *each.dimensions.values()) for each in here}
        sent = [
            each
            for key, agent in self.agents.items()
            if key[:2] == (account, call.region)
            for each in _sent(agent)
            if (each.namespace, *each.dimensions.values()) not in placed
        ]
        return [*here, *sent]

    def _list_metrics(self, call: Call, params: Params) -> Params | ErrorAnswer:
        recent = params.get("RecentlyActive")
        if recent not in (None, RECENTLY):
            return ErrorAnswer("InvalidParameterValue", f"RecentlyActive must be {RECENTLY}")
        wanted = {(each["Name"], each.get("Value")) for each in params.get("Dimensions", ())}
        found = [
            each.shown()
            for each in self._of(call)
            if each.listed
            and each.namespace == params.get("Namespace", each.namespace)
            and each.name == params.get("MetricName", each.name)
            and all(name in each.dimensions and value in (None, each.dimensions[name]) for name, value in wanted)
            and (recent is None or max(each.times, default=0) > self.now() - RECENT_SECONDS)
        ]
        return _page("Metrics", found, params.get("NextToken"), METRICS_PAGE)

    def _get_metric_data(self, call: Call, params: Params) -> Params | ErrorAnswer:
        queries = params["MetricDataQueries"]
        if len(queries) > QUERIES:
            return ErrorAnswer("ValidationError", f"The collection MetricDataQueries must have at most {QUERIES} items")
        start, end = (_seconds(params[each]) for each in ("StartTime", "EndTime"))
        if start >= end:
            return ErrorAnswer("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
        metrics = {(each.namespace, each.name, *sorted(each.dimensions.items())): each for each in self._of(call)}
        results = []
        for query in queries:
            metric, period = query["MetricStat"]["Metric"], int(query["MetricStat"]["Period"])
            pairs = sorted((each["Name"], each["Value"]) for each in metric.get("Dimensions", ()))
            found = metrics.get((metric["Namespace"], metric["MetricName"], *pairs))
            times = {each // period * period for each in found.times} if found else set()
            kept = sorted((each for each in times if start <= each < end), reverse=True)
            shown = [datetime.fromtimestamp(each, UTC) for each in kept]
            if found and found.fails:
                self.metrics[self.metrics.index(found)] = replace(found, fails=found.fails - 1)
                results.append({"Id": query["Id"], "StatusCode": "InternalError", "Timestamps": [], "Values": []})
                continue
            results.append({"Id": query["Id"], "Label": "", "Timestamps": shown, "Values": [1.0] * len(shown)})
        return _page_of_points(results, params.get("NextToken"), int(params.get("MaxDatapoints", DATAPOINTS)))

    def _describe_log_streams(self, call: Call, params: Params) -> Params | ErrorAnswer:
        account, group = account_of(call.principal), params["logGroupName"]
        sent = [
            each
            for (of, region, _name), agent in self.agents.items()
            if (of, region) == (account, call.region)
            for each in _streams(agent)
        ]
        found = [
            each
            for each in (*self.streams, *sent)
            if (each.account, each.region, each.group) == (account, call.region, group)
        ]
        if not found:
            return ErrorAnswer("ResourceNotFoundException", "The specified log group does not exist.")
        prefix, by_time = params.get("logStreamNamePrefix"), params.get("orderBy") == "LastEventTime"
        if prefix is not None and by_time:
            return ErrorAnswer("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
        found = [each for each in found if each.name.startswith(prefix or "")]
        found.sort(key=lambda each: (each.last or 0) if by_time else each.name, reverse=bool(params.get("descending")))
        shown = [
            {
                "logStreamName": each.name,
                "creationTime": int(each.created * 1000),
                **({} if each.last is None else {"lastEventTimestamp": int(each.last * 1000)}),
            }
            for each in found
        ]
        size = min(STREAMS_PAGE, params.get("limit", STREAMS_PAGE))
        answer = _page("logStreams", shown, params.get("nextToken"), size)
        return {"nextToken" if key == "NextToken" else key: value for key, value in answer.items()}


def _page(name: str, items: list[Params], token: str | None, size: int) -> Params | ErrorAnswer:
    if not (token or "0").isdigit():
        return ErrorAnswer("InvalidParameterValue", "The token is not valid.")
    start = int(token or 0)
    end = start + size
    return {name: items[start:end], **({"NextToken": str(end)} if end < len(items) else {})}


def _page_of_points(results: list[Params], token: str | None, most: int) -> Params:
    """A page with as many results as points fit. The others of this page have no points."""
    start, used, end = int(token or 0), 0, int(token or 0)
    while end < len(results) and (used + len(results[end]["Values"]) <= most or end == start):
        used += len(results[end]["Values"])
        end += 1
    shown = [
        {"StatusCode": "Complete" if number < end or each["Values"] == [] else "PartialData", **each}
        for number, each in enumerate(results)
        if start <= number < end
    ]
    return {"MetricDataResults": shown, **({"NextToken": str(end)} if end < len(results) else {})}


def _last(agent: Params) -> int:
    """The time of the newest point of an agent, in Unix seconds."""
    return max(agent["first"], int(time.time()) // MINUTE * MINUTE)


def _sent(agent: Params) -> Iterator[Metric]:
    """The metrics of the plug-ins of an agent, one for each measurement, with the dimensions of its machine."""
    times = tuple(float(each) for each in range(agent["first"], _last(agent) + 1, MINUTE))[-180:]
    for config in agent["configs"]:
        metrics = config.get("metrics", {})
        appended = metrics.get("append_dimensions", {})
        machine = {
            name: {"${aws:InstanceId}": agent["instance"], "${aws:InstanceType}": "t3.micro"}.get(value, value)
            for name, value in appended.items()
            if agent["instance"] and name != "AutoScalingGroupName"
        } or {"host": agent["host"]}
        for plugin, options in metrics.get("metrics_collected", {}).items():
            own = {"cpu": {"cpu": "cpu-total"}, "disk": {"path": "/"}, "net": {"interface": "eth0"}}.get(plugin, {})
            for each in options.get("measurement", ()) if isinstance(options, dict) else ():
                name = each if isinstance(each, str) else each.get("rename", each["name"])
                is_whole = isinstance(each, dict) and "rename" in each
                full = name if is_whole or name.startswith(f"{plugin}_") else f"{plugin}_{name}"
                namespace = metrics.get("namespace", "CWAgent")
                yield Metric(agent["account"], agent["region"], namespace, full, {**machine, **own}, times)


def _streams(agent: Params) -> Iterator[Stream]:
    """The streams of the files that an agent reads."""
    names = {"{instance_id}": agent["instance"] or agent["host"], "{hostname}": agent["host"]}
    for config in agent["configs"]:
        logs = config.get("logs", {})
        for each in logs.get("logs_collected", {}).get("files", {}).get("collect_list", ()):
            name = each.get("log_stream_name") or logs.get("log_stream_name") or "{instance_id}"
            for placeholder, value in names.items():
                name = name.replace(placeholder, value)
            group = each.get("log_group_name") or each["file_path"].lstrip("/").replace("/", ".")
            yield Stream(agent["account"], agent["region"], group, name, agent["started"], agent["started"])


def _seconds(value: Any) -> float:
    """A time in JSON, or in the text of the query protocol."""
    if isinstance(value, (int, float)):
        return value
    return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()


def _nested(params: Mapping[str, str]) -> Params:
    """The parameters of the query protocol as JSON has them."""
    found: Params = {}
    for key, value in params.items():
        *path, last = key.split(".")
        place = found
        for each in path:
            place = place.setdefault(each, {})
        place[last] = value
    return {key: _listed(value) for key, value in found.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if set(value) == {"member"}:
        return [_listed(value["member"][number]) for number in sorted(value["member"], key=int)]
    return {key: _listed(each) for key, each in value.items()}


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{key}>{_xml(each)}</{key}>" for key, each in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(each)}</member>" for each in value)
    return escape(re.sub(r"\+00:00$", "Z", value.isoformat()) if isinstance(value, datetime) else str(value))
