"""The targets, and whether they are met."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .jobs import ACCOUNTS, INSTANCES, SITE, TASKS, USERS, VERIFY, Side
from .measure import Phase
from .results import Results, largest, ratio

FLEET, SMALL, LARGE = 200, 50, 1000
ROW = 20
ORGANIZATION = 12
RATE, BURST = 10, 20
PAGE = 1000
"""The number of principals on a page of the bulk read."""
FILTER_VALUES = 200
"""The number of instances on a page of a filtered read."""
METRICS_PAGE, QUERIES, STREAMS_PAGE = 500, 500, 50
"""The numbers of metrics and of log streams for which CloudWatch takes one call."""
SAME_JOB = {"cwagent_iam_role": ("iam_role",), "cwagent_iam_user": ("iam_user", "iam_access_key")}
"""By module of this collection, the modules of amazon.aws that it replaces. Each of them is sent to the host."""


@dataclass(frozen=True)
class Bound:
    """One target.

    :param number: the number of its requirement.
    :param measured: ``None`` where it was not measured.
    :param least: whether the limit is a minimum; otherwise it is a maximum.
    """

    number: int
    what: str
    measured: float | None
    limit: float
    unit: str = ""
    least: bool = False

    @property
    def holds(self) -> bool | None:
        """``None`` where it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.least else self.measured <= self.limit


def evaluate(results: Results) -> list[Bound]:
    """All bounds, in the order of their requirements."""
    return [
        *_fast(results),
        *_idle(results),
        *_growth(results),
        *_site(results),
        *_instances(results),
        *_accounts(results),
        *_verify(results),
        *_throttled(results),
        *_startup(results),
    ]


def _at(delay: int) -> str:
    return f"at {delay} ms a call"


def _fast(results: Results) -> Iterator[Bound]:
    ping = results.find(TASKS, Side.PING, Phase.REPEAT, 1)
    for delay in results.delays(USERS):
        yield _times_faster(1, results, Phase.CREATE, delay)
        ours = results.wall(USERS, Side.OURS, Phase.CREATE, FLEET, delay=delay)
        floor = results.wall(USERS, Side.FLOOR, Phase.CREATE, FLEET, delay=delay)
        above = ours - ping.wall if ours and ping else None
        what = f"{FLEET} users created {_at(delay)}: wall time without a playbook with one ping, over boto3's"
        yield Bound(1, what, ratio(above, floor), 2.5, "times")


def _times_faster(number: int, results: Results, phase: Phase, delay: int) -> Bound:
    ours = results.wall(USERS, Side.OURS, phase, FLEET, delay=delay)
    peer = results.faster_peer(USERS, phase, FLEET, delay)
    measured = any(results.find(USERS, side, phase, FLEET, delay=delay) for side in (Side.LOOP, Side.HOSTS))
    note = "" if measured or peer is None else ", the peer extrapolated from smaller sizes"
    what = f"{FLEET} users, {phase}, {_at(delay)}: wall time of the faster peer over ours{note}"
    return Bound(number, what, ratio(peer, ours), 40, "times", least=True)


def _idle(results: Results) -> Iterator[Bound]:
    for delay in results.delays(USERS):
        yield _times_faster(2, results, Phase.REPEAT, delay)
    ours = results.find(USERS, Side.OURS, Phase.REPEAT, FLEET)
    pages = math.ceil(FLEET / PAGE)
    yield Bound(2, f"{FLEET} users, nothing to do: calls", float(ours.calls) if ours else None, pages + FLEET, "calls")


def _growth(results: Results) -> Iterator[Bound]:
    for delay in results.delays(USERS):
        for phase in Phase:
            small, *larger = (
                ratio(results.wall(USERS, Side.OURS, phase, size, delay=delay), size) for size in (SMALL, FLEET, LARGE)
            )
            what = f"{phase} {_at(delay)}: wall time per user at {FLEET} and {LARGE} users over the time at {SMALL}"
            yield Bound(3, what, ratio(largest(larger), small) if None not in larger else None, 1, "times")
    both = [results.find(USERS, Side.OURS, phase, LARGE) for phase in Phase]
    what = f"{LARGE} users: memory of the largest process"
    yield Bound(3, what, largest(one.memory for one in both if one), 200, "MiB")


def _site(results: Results) -> Iterator[Bound]:
    for phase, limit in ((Phase.CREATE, 59), (Phase.REPEAT, 16)):
        ours = results.find(SITE, Side.OURS, phase, 1)
        calls = ours.calls - (ours.waits or 0) if ours else None
        yield Bound(4, f"site.yml, {phase}: calls without waits", calls, limit, "calls")
    walls = [results.wall(SITE, side, Phase.REPEAT, 1, delay=0) for side in (Side.OURS, Side.PEER)]
    yield Bound(4, "site.yml, nothing to do: wall time over the peer's", ratio(*walls), 0.5, "times")


def _instances(results: Results) -> Iterator[Bound]:
    """Each further page of instances may add two reads: one before the writes and one after them."""
    sizes = results.sizes(INSTANCES, Side.OURS, Phase.CREATE, 0)
    large = results.find(INSTANCES, Side.OURS, Phase.CREATE, sizes[-1]) if sizes else None
    small = results.find(INSTANCES, Side.OURS, Phase.CREATE, sizes[0]) if len(sizes) > 1 else None
    if large and small:
        pages = math.ceil(large.size / FILTER_VALUES) - math.ceil(small.size / FILTER_VALUES)
        what = f"instances: more reads for {large.size} than for {small.size}, {pages} more pages"
        yield Bound(5, what, large.reads - small.reads, 2 * pages, "calls")
    idle = results.find(INSTANCES, Side.OURS, Phase.REPEAT, sizes[-1]) if sizes else None
    what = f"{idle.size if idle else LARGE} instances, nothing to do: calls"
    yield Bound(5, what, float(idle.calls) if idle else None, 4, "calls")


def _accounts(results: Results) -> Iterator[Bound]:
    """Twelve accounts may take five times as long as one on two cores, and not more calls for each."""
    sizes = results.sizes(ACCOUNTS, Side.OURS, Phase.CREATE, 0)
    size = sizes[-1] if sizes else ORGANIZATION
    for phase in Phase:
        one, all_of_them = (results.find(ACCOUNTS, Side.OURS, phase, count) for count in (1, size))
        walls = (all_of_them.wall, one.wall) if one and all_of_them else (None, None)
        yield Bound(8, f"{size} accounts, {phase}: wall time over one account's", ratio(*walls), 5, "times")
        calls = ratio(all_of_them.calls, one.calls) if one and all_of_them else None
        yield Bound(8, f"{size} accounts, {phase}: calls over one account's", calls, size, "times")


def _verify(results: Results) -> Iterator[Bound]:
    """Asking CloudWatch for the data of a fleet takes few calls, and little of the time of the whole check."""
    for size in results.sizes(VERIFY, Side.OURS, Phase.REPEAT, 0) or [LARGE]:
        ours, silent = (results.find(VERIFY, side, Phase.REPEAT, size) for side in (Side.OURS, Side.SILENT))
        calls, wall = (ours.calls - silent.calls, ours.wall / silent.wall) if ours and silent else (None, None)
        limit = sum(math.ceil(size / page) for page in (METRICS_PAGE, QUERIES, STREAMS_PAGE))
        yield Bound(9, f"verify.yml, {size} servers: calls that ask CloudWatch", calls, limit, "calls")
        yield Bound(9, f"verify.yml, {size} servers: wall time over a run that asks nothing", wall, 1.1, "times")


def _throttled(results: Results) -> Iterator[Bound]:
    found = [one for one in results.measurements if one.rate and one.side == Side.OURS]
    size = found[0].size if found else FLEET
    failed = float(sum(one.failed for one in found)) if found else None
    yield Bound(6, f"{size} users, throttled to {RATE} calls a second: runs that failed", failed, 0, "runs")
    shares = [(one.calls - one.throttled) / (BURST + one.rate * one.calling) for one in found]
    what = f"{size} users, throttled: share of the calls that were allowed"
    yield Bound(6, what, min(shares, default=None), 0.8, least=True)


def _startup(results: Results) -> Iterator[Bound]:
    sizes = {payload.module: payload.size for payload in results.payloads}
    for ours, peers in SAME_JOB.items():
        peer = sum(sizes[name] for name in peers) if sizes.keys() >= set(peers) else None
        what = f"size of {ours} over the size of {' and '.join(peers)}"
        yield Bound(7, what, ratio(sizes.get(ours), peer), 1, "times")
    tasks = [_task(results, side) for side in (Side.OURS, Side.PEER)]
    what = f"a task that changes nothing, {ROW} in a row: wall time over iam_role's"
    yield Bound(7, what, ratio(*tasks), 0.8, "times")
    for startup in results.startups:
        if startup.side == Side.OURS:
            own = [name for name in startup.unused if ".cwagent." in name]
            yield Bound(7, f"{startup.module}: files sent and not imported", float(len(own)), 0, "files")
            yield Bound(7, f"{startup.module}: clients created and not used", float(startup.idle_clients), 0, "clients")


def _task(results: Results, side: Side) -> float | None:
    """The seconds per task in a row, without the start of ansible-playbook."""
    one, row = (results.wall(TASKS, side, Phase.REPEAT, size, delay=0) for size in (1, ROW))
    return (row - one) / (ROW - 1) if one and row else None
