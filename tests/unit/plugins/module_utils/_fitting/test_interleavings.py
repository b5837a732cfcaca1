"""Controllers that store, apply and narrow at the same time, in drawn orders. No server and no admin is ever denied.

Two inventories share an account. One stores its parameter in two regions, one after the other. Each controller runs the
code of the module in a thread, and a thread goes on only until its next call. It can be killed before any call.

The model of IAM has no conditional write and five versions of a policy. Each read shows the state after one of the last
writes, even if an earlier read has shown a newer one. So tags and versions become visible separately, and to one
controller before another. The model has two limits that AWS does not promise. A controller that was shown its own write
is never shown an older state, of any policy. Without this limit, no order of calls keeps two writers apart. And servers
never see an older state than a controller was shown, since a controller can only wait for reads. Parameter Store shows
each write at once.

The orders are the same in each run.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

import pytest
from disturbances import Killed

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.covered_versions import Known, covered_versions
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.evaluate import Decision, Policies, decide
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import Version
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import Statement, grants_of, take_apart
from ansible_collections.cwagent.iam.plugins.module_utils._fitting import fitted_policy
from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_plan import (
    Covered,
    DesiredPolicies,
    digest_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    TOO_MANY_VERSIONS,
    AwsApiError,
    ConsistencyTimeout,
    CwagentError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.gateway import Gateway
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import APPLIED_LABEL
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline

# The orders are random, so the coverage of these tests is chance.
pytestmark = pytest.mark.hypothesis

ACCOUNT, REGION, OTHER_REGION = "123456789012", "eu-central-1", "us-east-1"
LINUX, WINDOWS = "AmazonCloudWatch-linux", "AmazonCloudWatch-windows"
# By inventory, the regions and names of its parameters, in the order in which it stores them.
INVENTORIES = {"linux": ((REGION, LINUX), (OTHER_REGION, LINUX)), "windows": ((REGION, WINDOWS),)}
BEGIN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
LOG_ACTIONS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
PUT = "ssm:PutParameter"
KEPT = 5
# More than any run takes in these tests.
PAUSES = 40

# The examples in which changes of the code fail first.
# Many controllers: only the newest version is covered 0, narrowing ignores storing tags 5, no storing tag is written 8,
# versions with other labels are not covered 12, a run that narrows does not read the tags again 16, any text of a tag
# counts as all 22, two runs with one text count as one 222.
# Controllers that store: no wait at the end 0, versions of others stay 2, the tags of others are removed at once 20, a
# version with other statements becomes the default 57.
# Two controllers: a run whose statements are there leaves the versions of others 45, no check of the versions after the
# tag 80, no wait for the tag 80.
EXAMPLES, STORING_EXAMPLES, DUEL_EXAMPLES = 240, 60, 100

Place = tuple[str, str]


def arn(place: Place, text: str = "") -> str:
    """The ARN of a parameter, or of the log group that a text of it names."""
    region, name = place
    if not text:
        return f"arn:aws:ssm:{region}:{ACCOUNT}:parameter/{name}"
    return f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{name}-{text}:*"


def needed(texts: Iterable[tuple[Place, str]]) -> dict[str, list[Statement]]:
    """The statements of the module for configurations, without the permission to read them."""
    listed = sorted(set(texts))
    groups = Statement("sending log events", LOG_ACTIONS, (), tuple(arn(*each) for each in listed))
    parameters = sorted({arn(place) for place, _text in listed})
    puts = Statement("storing the configuration", (PUT,), (), tuple(parameters))
    return {"server": take_apart([groups]), "admin": take_apart([puts])}


@cache
def allows(document: str, action: str, name: str) -> bool:
    return decide(Policies([json.loads(document)]), action, name) is Decision.YES


@dataclass
class World:
    """IAM, Parameter Store and the servers.

    :param states: the policies after each write.
    :param shown: the first state that agents can still see.
    :param running: by parameter, the numbers of the versions that servers can run: those that they could fetch since
        the last complete apply, the one that it brought, and those that people labelled. This is what happened, not
        what the collection concludes from the labels of Parameter Store.
    """

    states: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    shown: int = 0
    stored: dict[Place, list[Version]] = field(default_factory=dict)
    running: dict[Place, set[int]] = field(default_factory=dict)
    time: datetime = BEGIN

    @property
    def policies(self) -> dict[str, Any]:
        return self.states[-1]

    def check(self) -> None:
        """Assert that all servers and admins may do what they need, however old a policy is where they are.

        Of one policy, they can see an older state than of another. So one policy must allow a call in all states.
        """
        states = self.states[self.shown :]
        needs = [
            ("logs:PutLogEvents", arn(place, str(each.value)))
            for place, versions in self.stored.items()
            for each in versions
            if each.number in self.running[place]
        ]
        for action, name in [*needs, *((PUT, arn(place)) for place in self.stored)]:
            assert any(
                all(key in state and allows(current(state[key]), action, name) for state in states)
                for key in self.policies
            ), (action, name, states)

    def put(self, place: Place, text: str) -> None:
        versions = self.stored.setdefault(place, [])
        versions.insert(0, Version(len(versions) + 1, self.time, "", "Standard", text))
        self.running.setdefault(place, set()).add(len(versions))
        self.check()

    def newest(self, place: Place) -> int:
        return len(self.stored.get(place, ()))

    def label(self, place: Place, number: int, label: str = APPLIED_LABEL) -> None:
        """Move a label. The one of apply never goes back: an apply of an earlier version stores it again."""
        versions = self.stored.get(place, [])
        if number <= max((each.number for each in versions if label in each.labels), default=0):
            return
        self.stored[place] = [
            replace(each, labels=tuple({*each.labels} - {label}) + (label,) * (each.number == number))
            for each in versions
        ]

    def apply(self, place: Place, number: int) -> None:
        """End an apply that has brought a version, or a later one, to all servers."""
        people = {each.number for each in self.stored.get(place, ()) if {*each.labels} - {APPLIED_LABEL}}
        self.running[place] = {each for each in self.running.get(place, ()) if each >= number} | people
        self.label(place, number)

    # -- IAM --

    def write(self, operation: str, arguments: Mapping[str, Any]) -> None:
        new = deepcopy(self.policies)
        self._write(operation, new, arguments)
        self.states.append(new)
        self.check()

    def read(self, operation: str, number: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
        state = self.states[number]
        if operation == "ListPolicies":
            return {"Policies": [{"PolicyName": each["name"], "Arn": key} for key, each in state.items()]}
        policy = _find(state, arguments["PolicyArn"])
        if operation == "GetPolicy":
            return {"Policy": {"Tags": [{"Key": key, "Value": value} for key, value in policy["tags"].items()]}}
        if operation == "ListPolicyVersions":
            listed = [{"VersionId": each, "IsDefaultVersion": each == policy["default"]} for each in policy["versions"]]
            return {"Versions": listed}
        assert operation == "GetPolicyVersion"
        return {"PolicyVersion": {"Document": json.loads(_find(policy["versions"], arguments["VersionId"]))}}

    def _write(self, operation: str, state: dict[str, Any], arguments: Mapping[str, Any]) -> None:
        key = arguments.get("PolicyArn", f"arn:aws:iam::{ACCOUNT}:policy/cwagent/{arguments.get('PolicyName')}")
        document = arguments.get("PolicyDocument", "")
        tags = {each["Key"]: each["Value"] for each in arguments.get("Tags", ())}
        if operation == "CreatePolicy":
            _require(key not in state, "EntityAlreadyExists")
            state[key] = {"name": arguments["PolicyName"], "tags": tags, "versions": {"v1": document}}
            state[key].update(default="v1", last=1)
            return
        policy = _find(state, key)
        versions = policy["versions"]
        if operation == "CreatePolicyVersion":
            _require(len(versions) < KEPT, TOO_MANY_VERSIONS)
            assert not arguments["SetAsDefault"]
            policy["last"] += 1
            versions[f"v{policy['last']}"] = document
        elif operation == "SetDefaultPolicyVersion":
            _find(versions, arguments["VersionId"])
            policy["default"] = arguments["VersionId"]
        elif operation == "DeletePolicyVersion":
            _find(versions, arguments["VersionId"])
            _require(arguments["VersionId"] != policy["default"], "DeleteConflict")
            del versions[arguments["VersionId"]]
        elif operation == "TagPolicy":
            policy["tags"].update(tags)
            _require(len(policy["tags"]) <= 50, "LimitExceeded")
        else:
            assert operation == "UntagPolicy"
            for tag in arguments["TagKeys"]:
                policy["tags"].pop(tag, None)


def current(policy: Mapping[str, Any]) -> str:
    return str(policy["versions"][policy["default"]])


def _find(place: Mapping[str, Any], key: str) -> Any:
    _require(key in place, "NoSuchEntity")
    return place[key]


def _require(condition: object, code: str) -> None:
    if not condition:
        raise AwsApiError(f"The call failed with {code}.", code)


class Controller(Gateway):
    """A controller with its jobs, whose thread waits before each call for its turn.

    :param jobs: ``apply INVENTORY``, or ``INVENTORY TEXT`` to store a text.
    :param draw: decides which state a read shows.
    :ivar stops: how many calls it had made before each write.
    """

    local = threading.local()

    def __init__(
        self, world: World, jobs: Sequence[str], draw: random.Random, killed_after: int | None = None, name: str = ""
    ) -> None:
        super().__init__(PAUSES)
        self.name = name
        self.world, self.jobs, self.draw, self.left = world, jobs, draw, killed_after
        self.lag = self.calls = 0
        self.stops: list[int] = []
        self.failures: list[CwagentError] = []
        self.results: list[dict[str, Any]] = []
        self.has_ended = False
        self.problem: BaseException | None = None
        self._shown = len(world.states) - 1  # everything earlier was long ago
        self._writes = [self._shown]
        self._turn, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def now(self) -> datetime:
        return self.world.time

    def call(self, action: str, description: str, max_attempts: int = 0, **arguments: Any) -> dict[str, Any]:
        return self.take_turn(lambda: self._call(action.removeprefix("iam:"), arguments))

    def _call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        newest = len(self.world.states) - 1
        if not operation.startswith(("Get", "List")):
            self.world.write(operation, arguments)
            self._writes.append(newest + 1)
            self.stops.append(self.calls - 1)
            return {}
        number = max(self._shown, newest - self.draw.choice((0, self.lag)))
        self._shown = max(self._shown, *(each for each in self._writes if each <= number))
        self.world.shown = max(self.world.shown, number)
        return self.world.read(operation, number, arguments)

    def _identity(self) -> str | None:
        return None

    def _renew_credentials(self) -> None: ...

    def take_turn(self, work: Callable[[], Any]) -> Any:
        """Wait for the turn, and do some work in it."""
        self._turn.acquire()
        self.calls += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed
        try:
            return work()
        finally:
            self._done.release()

    def pause(self) -> None:
        """IAM shows more of what was written."""
        self.lag = max(0, self.lag - 1)

    def go_on(self) -> None:
        """Let the thread do its next call."""
        self._turn.release()
        self._done.acquire()
        if self.problem:
            raise self.problem

    def _run(self) -> None:
        self.local.controller = self
        try:
            for job in self.jobs:
                try:
                    first, second = job.split()
                    self._apply(second) if first == "apply" else self._store(first, second)
                except CwagentError as error:
                    self.failures.append(error)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  go_on raises it in the thread of the test
            self.problem = error
        self.has_ended = True
        self._done.release()

    def _store(self, inventory: str, text: str) -> None:
        stored = self._converge([(place, text) for place in INVENTORIES[inventory]])
        for place in INVENTORIES[inventory]:
            if text != _newest(stored, place):
                self.take_turn(partial(self.world.put, place, text))

    def _apply(self, inventory: str) -> None:
        places = INVENTORIES[inventory]
        brought = {place: self.take_turn(partial(self.world.newest, place)) for place in places}
        for place, number in brought.items():
            self.take_turn(partial(self.world.apply, place, number))
        self._converge([], narrow=True)

    def _converge(self, new: Sequence[tuple[Place, str]], **more: Any) -> Mapping[Place, Sequence[Version]]:
        stored = self.take_turn(lambda: {place: [*versions] for place, versions in self.world.stored.items()})
        texts = [(place, str(each.value)) for place, found in stored.items() for each in covered_versions(found)]
        if not texts and not new:
            return stored  # the module refuses this
        times: dict[str, list[datetime]] = {}
        for (region, name), versions in stored.items():
            for each in versions:
                times.setdefault(digest_of(name, region, str(each.value)), []).append(each.modified)
        storing = frozenset(
            digest_of(place[1], place[0], text) for place, text in new if text != _newest(stored, place)
        )
        desired = DesiredPolicies("aws", ACCOUNT, needed([*texts, *new]), storing, self.name, times, **more)
        every = {(place, str(each.value)) for place, found in stored.items() for each in found}
        known = grants_of(statement for each in needed([*every, *new]).values() for statement in each)
        desired = replace(desired, covered=Covered(frozenset(stored), has_all_regions=True, known=Known(known)))
        aws: Any = self
        self.results.append(converge(fitted_policy.FittedPolicies(aws, desired), False, PAUSES))
        return stored


def _newest(stored: Mapping[Place, Sequence[Version]], place: Place) -> str | None:
    return stored[place][0].value if stored.get(place) else None


@pytest.fixture(autouse=True, scope="module")
def turns() -> Iterator[None]:
    """A pause is a turn, after which IAM shows more of what was written."""
    with pytest.MonkeyPatch.context() as patch:

        def pause(deadline: Deadline, _seconds: float = 0) -> bool:
            controller = Controller.local.controller
            controller.take_turn(controller.pause)
            deadline.seconds -= 1
            return deadline.seconds >= 0

        patch.setattr(Deadline, "pause", pause)
        patch.setattr(fitted_policy, "run_in_parallel", lambda work, items: [work(each) for each in items])
        yield


def play(world: World, controllers: Sequence[Controller], draw: random.Random) -> None:
    """Let the controllers work in a drawn order. One goes on for some calls, and its reads have a drawn lag."""
    while waiting := [each for each in controllers if not each.has_ended]:
        chosen = draw.choice(waiting)
        chosen.lag = draw.choice((0, 0, 1, 2, 4, 8))
        for _call in range(draw.choice((1, 2, 3, 5, 8, 13, 21, 60))):
            if not chosen.has_ended:
                world.time += timedelta(seconds=1)
                chosen.go_on()


def seeded(number: int) -> random.Random:
    return random.Random(number)  # noqa: S311  a failure has a number to repeat it


def run_alone(world: World, *jobs: str) -> Controller:
    draw = seeded(0)
    controller = Controller(world, jobs, draw)
    while not controller.has_ended:
        controller.go_on()
    assert not controller.failures
    return controller


@cache
def _account(history: Sequence[str], *, is_labelled: bool) -> World:
    world = World()
    for job in history:
        run_alone(world, job)
        if is_labelled and world.newest((REGION, LINUX)) == 1:
            world.label((REGION, LINUX), 1, "production")
    world.time += timedelta(hours=2)
    return world


def account(history: Sequence[str], *, is_labelled: bool = False) -> World:
    """Return an account after some runs two hours ago. :param is_labelled: whether people labelled a version."""
    world = deepcopy(_account(history, is_labelled=is_labelled))
    world.shown = len(world.states) - 1
    return world


def check_end(world: World) -> None:
    """Assert that the next applies leave exactly what servers and admins need, and that a further run does nothing."""
    world.time += timedelta(days=2)
    run_alone(world, "apply linux", "apply windows")
    world.shown = len(world.states) - 1
    texts = {(place, str(each.value)) for place, found in world.stored.items() for each in found}
    running = {
        (place, str(each.value))
        for place, found in world.stored.items()
        for each in found
        if each.number in world.running[place]
    }
    for place, text in texts:
        is_allowed = any(
            allows(current(each), "logs:PutLogEvents", arn(place, text)) for each in world.policies.values()
        )
        assert is_allowed == ((place, text) in running), (place, text, world.policies)
    assert all(len(each["versions"]) == 1 for each in world.policies.values())
    again = run_alone(world, "apply linux", "apply windows")
    assert all(each["steps"] == [] for each in again.results)


# -- Many controllers --

HISTORIES = (
    (),
    ("linux A",),
    ("linux A", "linux B"),
    ("linux A", "linux B", "apply linux"),
    ("linux A", "windows A", "windows B", "apply windows"),
    ("linux A", "apply linux", "windows A", "linux B", "linux A"),
)
JOBS = ("linux A", "linux B", "linux C", "windows A", "windows B", "apply linux", "apply linux", "apply windows")


def play_example(number: int) -> None:
    draw = seeded(number)
    world = account(draw.choice(HISTORIES), is_labelled=draw.random() < 0.3)
    controllers = [
        Controller(
            world,
            draw.choices(JOBS, k=draw.choice((1, 1, 2, 3))),
            draw,
            killed_after=draw.randint(0, 60) if draw.random() < 0.25 else None,
            name=f"controller {each}",
        )
        for each in range(draw.choice((2, 2, 3, 4)))
    ]
    play(world, controllers, draw)
    if number % 4 == 0:
        check_end(world)


def test_many_controllers_never_deny_anything() -> None:
    for number in range(EXAMPLES):
        play_example(number)


# -- Several controllers that store --


def play_storing(number: int) -> None:
    draw = seeded(number)
    world = account(())
    jobs = draw.sample(("linux A", "linux B", "linux C", "windows A", "windows B"), 4)
    controllers = [Controller(world, [job], draw, name=job) for job in jobs]
    play(world, controllers, draw)
    assert [each.failures for each in controllers] == [[], [], [], []]
    documents = [json.loads(current(each)) for each in world.policies.values()]
    names = {name for document in documents for one in document["Statement"] for name in one["Resource"]}
    texts = {(place, job[-1]) for job in jobs for place in INVENTORIES[job.split()[0]]}
    assert names == {arn(*each) for each in texts} | {arn(place) for place, _text in texts}


def test_controllers_that_store_end_with_one_policy_for_all() -> None:
    for number in range(STORING_EXAMPLES):
        play_storing(number)


# -- Two controllers, of which one stops before one of its writes --

DUELS = (
    ((), "linux A", "windows A"),
    (("linux A", "windows A"), "linux B", "windows B"),
    (("linux A",), "linux B", "linux B"),
    (("linux A", "linux B"), "apply linux", "linux A"),
    (("linux A", "linux B"), "apply linux", "linux C"),
    (("linux A", "linux B"), "linux C", "apply linux"),
    (("linux A", "linux B", "windows A", "windows B"), "apply windows", "apply linux"),
)


@cache
def _stops(history: Sequence[str], job: str) -> list[int]:
    return run_alone(account(history), job).stops


def play_duel(number: int) -> None:
    draw = seeded(number)
    history, *jobs = DUELS[number % len(DUELS)]
    world = account(history)
    first, second = (Controller(world, [job], draw, name=job) for job in jobs)
    _go_on(world, first, draw.choice(_stops(history, first.jobs[0])))
    second.lag = draw.choice((0, 1, 3, 6))
    _go_on(world, second, draw.choice((1000, draw.choice(_stops(history, second.jobs[0])))))
    for each in (first, second):
        _go_on(world, each, 1000)
        # Another run can remove an old tag with the same key a moment after this run has set it. Then this run ends
        # before it stores anything.
        assert all(isinstance(failure, ConsistencyTimeout) for failure in each.failures)
        assert each.has_ended
    if number % 4 == 0:
        check_end(world)


def _go_on(world: World, controller: Controller, calls: int) -> None:
    for _call in range(calls):
        if controller.has_ended:
            return
        world.time += timedelta(seconds=1)
        controller.go_on()


def test_two_controllers_never_deny_anything() -> None:
    for number in range(DUEL_EXAMPLES):
        play_duel(number)
