# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the data that agents should send has arrived in CloudWatch. Pure.

The expected data follows from the configurations that the agent runs. Without facts from the server, it follows from
the stored ones. Every principal that may send metrics can send them with the dimensions of another server, so data
proves nothing about its sender.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .._configuration.document import read
from .._ground.names import is_yaml_name
from .._ground.text import count_noun, join_first, shorten
from .expected_data import ExpectedData, ExpectedMetric, expected_data
from .server import AGENT, CONFIGURATION, DATA, ENDPOINTS, IDENTITY, NOT_INSTALLED, PERMISSIONS, Series, failure, note
from .verify_input import merge_known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._ground.findings import Finding
    from .expected_data import ExpectedLog
    from .server import Server

    Dimensions = Mapping[str, str]
    # By name and region of a parameter, the texts of its versions by their digest. A denied one is missing.
    Texts = Mapping[tuple[str, str], Mapping[str, str]]


# ListMetrics returns metrics with points in this time and up to 50 minutes more. A new metric can take 15 minutes.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html
RECENT_SECONDS, SETTLING_SECONDS = 3 * 3600, 15 * 60
MINUTE, HOUR = 60, 3600
# The points that can be late without a reason: the agent sends them in batches.
_LATE_SECONDS = 5 * MINUTE
# CloudWatch accepts points of the last two weeks and of the next two hours. A clock that is this wrong is reported.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
_WRONG_CLOCK_SECONDS = SETTLING_SECONDS
# The rules whose violation keeps data from arriving, in the order in which a cause is sought.
_CAUSES = (IDENTITY, PERMISSIONS, ENDPOINTS, CONFIGURATION, AGENT)
_IDENTIFYING = ("InstanceId", "host")
_MAX_SENDERS = 3
# Only the newest points of so many metrics of one server are read, if only CloudWatch knows their dimensions.
MAX_SERIES = 5


@dataclass(frozen=True)
class Expectation:
    """The data that should arrive of a server.

    :param reason: why nothing is known of it, as a sentence without its full stop. Empty if something is.
    :param is_assumed: whether it follows from the stored configurations, because the server was not read.
    """

    data: ExpectedData = field(default_factory=ExpectedData)
    reason: str = ""
    is_assumed: bool = False

    @property
    def metric(self) -> ExpectedMetric | None:
        """The metric that shows best whether the agent sends: certainly, and with known dimensions."""
        own = [each for each in self.data.metrics if each.is_own and patience(each) <= RECENT_SECONDS]
        return min(own, key=_uncertainty, default=None)


def patience(metric: ExpectedMetric) -> int:
    """Return how old the newest point of a metric can be while its agent sends, in seconds."""
    return max(SETTLING_SECONDS, metric.seconds + metric.interval + _LATE_SECONDS)


def _uncertainty(each: ExpectedMetric) -> tuple[object, ...]:
    return not each.is_certain, bool(each.unknown_dimensions), each.seconds, each.interval, each.name, each.dimensions


@dataclass(frozen=True)
class Listed:
    """The data of a server in CloudWatch.

    :param newest: the time of the newest point of its metric, in Unix seconds; ``None`` if there is none.
    :param part: which part of its metrics with this name was read, in a sentence. Empty if all were.
    :param region: another region in which the metric is.
    :param events: by expected log, the time of the newest event in its stream, in Unix seconds; 0 for a stream without
        events, and ``None`` for no stream. A log of which nothing is known is missing.
    :param unread: why its metric could not be read, as a sentence without its full stop. Empty if it was.
    :param unread_logs: why its log streams could not be read.
    """

    newest: int | None = None
    part: str = ""
    region: str = ""
    events: Mapping[ExpectedLog, int | None] = field(default_factory=dict)
    unread: str = ""
    unread_logs: str = ""


# How much later than its time a point can be read.
_READABLE_SECONDS = 2 * MINUTE
# A longer wait would stop all batches for one server.
LONGEST_SECONDS = 15 * MINUTE
# The reported start of an agent can be wrong by this time.
_SAME_SECONDS = 2


@dataclass(frozen=True)
class Trial:
    """The data with which an agent proves a version.

    :param started: when the agent started, in Unix seconds by the clock of its server.
    :param earlier: the time of its newest point before that; 0 if there was none.
    :param ran: how long it has run already, in seconds.
    """

    series: Series
    started: int
    earlier: int = 0
    ran: int = 0

    @property
    def begin(self) -> int:
        """The begin of the first period that only the agent which was started can have sent, by the server's clock.

        The agent that was stopped can still send its last points, and a period that has begun can have some of them. If
        the clock of the server was ahead, its points can be in the future.
        """
        begin = -(-(self.started + _SAME_SECONDS + 1) // self.series.period) * self.series.period
        return max(begin, self.earlier + 1)

    @property
    def seconds(self) -> int:
        """How long after the start its point can be read, at most."""
        return self.series.period + self.series.seconds + _READABLE_SECONDS

    @property
    def seconds_left(self) -> int:
        """How long its point can still take, at most."""
        return max(0, self.seconds - self.ran)

    @property
    def reason(self) -> str:
        """Why nobody waits for the data, as a sentence without its full stop. Empty if somebody does."""
        if self.earlier > self.started + LONGEST_SECONDS:
            return "CloudWatch has data of it from the future, because its clock was ahead"
        return "" if self.seconds <= LONGEST_SECONDS else f"its first data can take {describe_age(self.seconds)}"

    def describe_failure(self, newest: int) -> str:
        """Return the failure of a server whose data has not arrived. :param newest: the time of its newest point."""
        each = self.series
        seen = f"The newest one is {describe_age(self.begin - newest)} older." if newest else "It has no older one."
        return (
            f"CloudWatch has no {each.name} of it in namespace {each.namespace} in {each.region} since the restart of "
            f"its agent, although {describe_age(self.seconds)} are enough for that. {seen}"
        )


@dataclass(frozen=True)
class Proof:
    """The data of an agent in CloudWatch after its restart.

    :param newest: the time of its newest point, in Unix seconds; 0 for none.
    :param failure: why it has failed. Empty if it has not.
    :param note: why nobody waited for its data, as a sentence without its full stop.
    """

    newest: int = 0
    failure: str = ""
    note: str = ""


# -- The expected data --

NOT_KNOWN = "It is not known whether its data arrives: "


def runs_of(server: Server) -> dict[str, str]:
    """Return by name the digest of each configuration that the agent runs, or that it is to run; empty if unknown."""
    if server.running:
        return dict(server.running)
    if server.runs:
        return {each.name: each.digest for each in server.runs}
    return {each.name: each.digest for each in server.configs} if server.runs_all else {}


def expect(server: Server, runs: Mapping[str, str], texts: Texts) -> Expectation:
    """Return the data that should arrive if an agent runs some configurations.

    :param runs: by name, the digest of each configuration.
    """
    if server.sender is None or not runs:
        return Expectation(reason="which configurations it runs is not known")
    if server.runs_others:
        return Expectation(reason="it runs other configurations, too, whose text is not known")
    if any(is_yaml_name(name) for name in runs):
        return Expectation(reason="it runs an OpenTelemetry configuration")
    denied = sorted(name for name in runs if (name, server.region) not in texts)
    if denied:
        return Expectation(reason=f"the versions of {', '.join(denied)} could not be read")
    found = {name: texts[name, server.region].get(digest) for name, digest in runs.items()}
    unknown = sorted(name for name, text in found.items() if text is None)
    if unknown:
        return Expectation(reason=f"the text of {', '.join(unknown)} that it runs is encrypted or no longer stored")
    merged = _merge(tuple((each.name, found[each.name] or "") for each in server.configs if each.name in found))
    if merged is None:
        return Expectation(reason="the agent cannot merge its configurations")
    sender = replace(server.sender, platform="Windows" if server.is_windows else "Linux")
    data = expected_data(merged, sender)
    return Expectation(data, _reason(data), is_assumed=not server.seen_by)


@lru_cache(maxsize=64)  # thousands of servers can run the same configurations
def _merge(texts: tuple[tuple[str, str], ...]) -> Mapping[str, Any] | None:
    """Return the configuration that an agent merges from texts by name; ``None`` if it cannot merge them."""
    documents = [read(text, name).value for name, text in texts]
    known = [each for each in documents if each is not None]
    return merge_known(known) if len(known) == len(documents) else None


def _reason(data: ExpectedData) -> str:
    """Return why it is not known whether data arrives; empty if CloudWatch knows it."""
    if Expectation(data).metric or any(each.is_own for each in data.logs):
        return ""
    if any(each.is_own for each in data.metrics):
        return "too much time can pass between two points of its metrics"
    if data.metrics:
        return "its metrics have no dimension that distinguishes it from other servers"
    if data.logs:
        return "its log streams have no name that distinguishes it from other servers"
    if data.unknown:
        return data.unknown[0].reason
    return "its configurations send neither metrics nor logs"


def to_series(metric: ExpectedMetric, dimensions: Dimensions | None = None) -> Series:
    """Return a metric with its dimensions. :param dimensions: all of them, if the metric does not have them all."""
    pairs = metric.dimensions if dimensions is None else tuple(sorted(dimensions.items()))
    period = -(-metric.interval // MINUTE) * MINUTE
    return Series(metric.region, metric.namespace, metric.name, pairs, period, metric.seconds)


def find_series(metric: ExpectedMetric, listed: Iterable[Dimensions]) -> list[Series]:
    """Return the metric with each set of dimensions that it has in CloudWatch, such as one for each device."""
    if not metric.unknown_dimensions:
        return [to_series(metric)]
    known, names = dict(metric.dimensions), {*dict(metric.dimensions), *metric.unknown_dimensions}
    found = [each for each in listed if known.items() <= each.items() and each.keys() <= names]
    return [to_series(metric, each) for each in sorted(found, key=lambda each: sorted(each.items()))]


SHARED = "another server has the same name, and so sends the same data"


def separate(expectations: Mapping[int, Expectation]) -> dict[int, Expectation]:
    """Return by the number of a server what should arrive of it alone, and not of another server with its name."""
    counts = Counter(key for each in expectations.values() for key in {*map(_place, _parts(each.data))})
    shared = {key for key, count in counts.items() if count > 1}
    if not shared:
        return dict(expectations)

    def is_own(part: ExpectedMetric | ExpectedLog) -> bool:
        return part.is_own and _place(part) not in shared

    found = {}
    for index, each in expectations.items():
        data = replace(
            each.data,
            metrics=tuple(replace(one, is_own=is_own(one)) for one in each.data.metrics),
            logs=tuple(replace(one, is_own=is_own(one)) for one in each.data.logs),
        )
        is_shared = not each.reason and bool(_reason(data))
        found[index] = replace(each, data=data, reason=SHARED if is_shared else each.reason)
    return found


def _parts(data: ExpectedData) -> tuple[ExpectedMetric | ExpectedLog, ...]:
    return (*data.metrics, *data.logs)


def _place(part: ExpectedMetric | ExpectedLog) -> tuple[object, ...]:
    """Return what distinguishes a metric or log stream in CloudWatch."""
    if isinstance(part, ExpectedMetric):
        return part.region, part.namespace, part.name, part.dimensions, part.unknown_dimensions
    return part.region, part.group, part.stream, part.is_prefix


# -- The data that has arrived --


@dataclass(frozen=True)
class Times:
    """The time of AWS, in Unix seconds. :param ahead: how far the clock of a server is ahead of it, in seconds."""

    now: int
    ahead: int

    @property
    def is_wrong(self) -> bool:
        """Whether the clock of the server is so wrong that this is reported."""
        return abs(self.ahead) > _WRONG_CLOCK_SECONDS

    @property
    def of_data(self) -> int:
        """The time that new data of the server should have. For a clock that is very wrong, it is the time of AWS."""
        return self.now if self.is_wrong else self.now + self.ahead


def judge_data(server: Server, expectation: Expectation, listed: Listed, now: int, here: int) -> Server:
    """Return a server with the findings on its data.

    :param now: the time of AWS, in Unix seconds.
    :param here: the same time by the clock of the controller.
    """
    if server.agent == NOT_INSTALLED:
        return server
    if not server.is_running:
        return server.adding(note(DATA, "The instance is not running."))
    metric, logs = expectation.metric, expectation.data.logs
    reason = expectation.reason or (listed.unread if metric else listed.unread_logs)
    if reason:
        return server.adding(note(DATA, f"{NOT_KNOWN}{reason}."))
    times = Times(now, 0 if server.ahead is None else server.ahead + here - now)
    newest = max([listed.newest or 0, *(listed.events.get(each) or 0 for each in logs if each.is_own)])
    if newest:
        server = replace(server, newest=newest, data_age=max(0, times.of_data - newest))
    server = server.adding(*_quiet_logs(logs, listed, times.of_data))
    return server if metric is None else _judge_metric(server, expectation, metric, listed, times)


def _judge_metric(
    server: Server, expectation: Expectation, metric: ExpectedMetric, listed: Listed, times: Times
) -> Server:
    age = None if listed.newest is None else times.of_data - listed.newest
    longest = patience(metric)
    if age is not None and age <= longest:
        return server
    server = replace(server, newest=0, data_age=0)
    where = f"in namespace {metric.namespace} in {metric.region}"
    what = f"CloudWatch has no {metric.name} of it {where}."
    if age is not None:
        what = f"The newest {metric.name} of it {where} is {describe_age(age)} old."
    if _is_settling(server, longest, times):
        return server.adding(note(DATA, f"{what} Its agent was started less than {describe_age(longest)} ago."))
    if not metric.is_certain:
        return server.adding(note(DATA, f"{what} It is not certain that the server has what this measures."))
    if listed.part:
        return server.adding(note(DATA, f"{what} {listed.part}"))
    if expectation.is_assumed:
        what += " That is expected of the stored configuration, because nothing was read on the server."
    return server.adding(_missing(server, listed, what, times))


def _is_settling(server: Server, seconds: int, times: Times) -> bool:
    """Whether an agent, or its instance, was started so recently that its data can still be missing."""
    starts = [server.launched, server.started - times.ahead if server.started else 0]
    return any(abs(times.now - each) < seconds for each in starts)


def _missing(server: Server, listed: Listed, what: str, times: Times) -> Finding:
    """Return the failure of a server whose data is missing, with the first cause that is known."""
    # Without facts, the failure of the agent is that nothing was read.
    rules = [each for each in _CAUSES if each is not AGENT or server.seen_by]
    causes = [each for rule in rules for each in server.failures if each.rule == rule.name]
    if causes:
        return failure(DATA, f"{what} The likely cause: {causes[0].why}", causes[0].fix)
    if times.is_wrong:
        wrong = "ahead of" if times.ahead > 0 else "behind"
        seen = f"Its clock is {describe_age(abs(times.ahead))} {wrong} the clock of AWS."
        return failure(DATA, f"{what} {seen}", "Correct the time of the server, for example with chrony.")
    if listed.region:
        fix = "Set agent.region in the configuration, or correct it."
        return failure(DATA, f"{what} It sends it to {listed.region} instead.", fix)
    return failure(
        DATA,
        what,
        "Look for errors in the log of the agent, and whether the namespace or the host has another name now.",
    )


def _quiet_logs(logs: Sequence[ExpectedLog], listed: Listed, now: int) -> Iterable[Finding]:
    """Return notes on log streams without new events. A quiet log is no failure."""
    for each in logs:
        where = f"log group {each.group} in {each.region}"
        newest = listed.events.get(each)
        if each not in listed.events:
            reason = listed.unread_logs or "the group has too many streams"
            yield note(DATA, f"It is not known whether its log arrives in {where}: {reason}.")
        elif newest is None:
            yield note(DATA, f"It has no stream in {where}.")
        elif now - newest > RECENT_SECONDS:
            old = f"has had no event for {describe_age(now - newest)}" if newest else "has no event"
            yield note(DATA, f"Its stream in {where} {old}.")


def describe_age(seconds: int) -> str:
    """Return a time in words, in its largest unit."""
    for unit, size in (("day", 24 * HOUR), ("hour", HOUR), ("minute", MINUTE)):
        if seconds >= 2 * size or (unit == "minute" and seconds >= size):
            return count_noun(seconds // size, unit)
    return count_noun(max(0, seconds), "second")


def find_senders(servers: Iterable[Server], expectations: Iterable[Expectation]) -> frozenset[str]:
    """Return the names with which servers send, by what is known of them and by their configurations."""
    own = [text for each in servers if each.sender for text in each.sender.identities | {each.host}]
    metrics = [dict(metric.dimensions) for each in expectations for metric in each.data.metrics]
    return frozenset([*own, *(each[name] for each in metrics for name in _IDENTIFYING if name in each)])


def describe_others(
    region: str, namespace: str, listed: Iterable[Dimensions], servers: Iterable[Server], known: frozenset[str]
) -> str:
    """Return which other servers send to a namespace, in a sentence; empty if none does.

    :param servers: the servers of this run. If the name of one is not known, any name can be its name.
    :param known: their names in the data, as ``find_senders`` returns them.
    """
    names = _IDENTIFYING[: 2 if all(each.sender and each.sender.hostname for each in servers) else 1]
    found = dict.fromkeys(
        value
        for each in listed
        for name, value in sorted(each.items())
        if name in names and known.isdisjoint(each.get(one) for one in _IDENTIFYING)
    )
    if not found:
        return ""
    shown = join_first([shorten(each) for each in found], _MAX_SENDERS)
    return f"- Servers that are not in this run send to {shorten(namespace)} in {region}: {shown}."


def describe_proofs(watched: Mapping[str, str], proofs: Mapping[str, Proof]) -> list[str]:
    """Return which servers have proved a version by data and which by the log alone, in sentences.

    :param watched: the servers whose agent was watched and did not fail, with the reason why no data can prove a
        version on them. Empty if data can.
    """
    by_data = sorted(host for host, each in proofs.items() if each.newest)
    lines = [f"Data arrived in CloudWatch after the restart: {', '.join(by_data)}."] if by_data else []
    reasons: dict[str, list[str]] = {}
    for host, reason in watched.items():
        if host not in proofs or proofs[host].note:
            why = proofs[host].note if host in proofs else reason or "when its agent started is not known"
            reasons.setdefault(why, []).append(host)
    return lines + [f"Only the log was watched on {', '.join(hosts)}: {why}." for why, hosts in reasons.items()]
