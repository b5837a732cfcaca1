"""Controllers that store, apply and narrow at the same time, in drawn orders. No agent is ever denied anything.

The model of IAM has no conditional write, five versions of a policy, and a delay after which reads and agents see a
change. Everything that reads sees the same state. Each controller runs the code of the module in a thread, and a thread
goes on only until its next call. A controller can be killed before any call.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._access.covered import covered_versions
from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import Decision
from ansible_collections.cwagent.iam.plugins.module_utils._access.evaluate import Policies, Request, decide
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Version
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.statements import Statement, take_apart
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._fitted_policy import resource
from ansible_collections.cwagent.iam.plugins.module_utils._fitted_policy.model import DesiredPolicies, digest_of
from ansible_collections.cwagent.iam.plugins.module_utils._gateway import Gateway
from ansible_collections.cwagent.iam.plugins.module_utils._names import APPLIED_LABEL
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

ACCOUNT, REGION, NAME = "123456789012", "eu-central-1", "AmazonCloudWatch-linux"
BEGIN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
KEPT = 5
# More than any run takes in these tests.
PAUSES = 60


def group(text: str) -> str:
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{text}:*"


def needed(texts: Sequence[str]) -> list[Statement]:
    return take_apart([Statement("sending log events", ("logs:PutLogEvents",), (), tuple(map(group, texts)))])


class Killed(BaseException):
    """Ends the thread of a controller."""


@dataclass
class World:
    """IAM and Parameter Store.

    :param states: the policies after each write, of which reads and agents see one.
    """

    states: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    visible: int = 0
    versions: list[Version] = field(default_factory=list)
    time: datetime = BEGIN

    @property
    def policies(self) -> dict[str, Any]:
        return self.states[-1]

    def see(self, count: int) -> None:
        self.visible = min(self.visible + count, len(self.states) - 1)

    def check(self) -> None:
        """Assert that an agent with any version that it can run is allowed to do what it needs."""
        shown = self.states[self.visible].values()
        documents = [each["versions"][each["default"]] for each in shown]
        for version in covered_versions(self.versions):
            request = Request("logs:PutLogEvents", group(str(version.value)))
            assert decide(Policies(documents), request) is Decision.YES, (version, documents)

    def put(self, text: str) -> None:
        number = len(self.versions) + 1
        self.versions.insert(0, Version(number, self.time, "", "Standard", text))

    def label(self, number: int) -> None:
        """Move the label, which never goes back: an apply of an earlier version stores it again."""
        labelled = max((each.number for each in self.versions if each.labels), default=0)
        if number > labelled:
            self.versions = [
                Version(
                    each.number, each.modified, "", "Standard", each.value, (APPLIED_LABEL,) * (each.number == number)
                )
                for each in self.versions
            ]

    # -- IAM --

    def call(self, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        operation = action.removeprefix("iam:")
        if operation.startswith(("Get", "List")):
            return self._read(operation, self.states[self.visible], arguments)
        new = copy.deepcopy(self.policies)
        self._write(operation, new, arguments)
        self.states.append(new)
        return {}

    def _read(self, operation: str, state: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "ListPolicies":
            return {"Policies": [{"PolicyName": each["name"], "Arn": arn} for arn, each in state.items()]}
        policy = _find(state, arguments["PolicyArn"])
        if operation == "GetPolicy":
            return {"Policy": {"Tags": [{"Key": key, "Value": value} for key, value in policy["tags"].items()]}}
        if operation == "ListPolicyVersions":
            listed = [{"VersionId": each, "IsDefaultVersion": each == policy["default"]} for each in policy["versions"]]
            return {"Versions": listed}
        assert operation == "GetPolicyVersion"
        return {"PolicyVersion": {"Document": _find(policy["versions"], arguments["VersionId"])}}

    def _write(self, operation: str, state: dict[str, Any], arguments: Mapping[str, Any]) -> None:
        arn = arguments.get("PolicyArn", f"arn:aws:iam::{ACCOUNT}:policy/cwagent/{arguments.get('PolicyName')}")
        document = json.loads(arguments.get("PolicyDocument", "{}"))
        tags = {each["Key"]: each["Value"] for each in arguments.get("Tags", ())}
        if operation == "CreatePolicy":
            _require(arn not in state, "EntityAlreadyExists")
            state[arn] = {"name": arguments["PolicyName"], "tags": tags, "versions": {"v1": document}}
            state[arn].update(default="v1", last=1)
            return
        policy = _find(state, arn)
        versions = policy["versions"]
        if operation == "CreatePolicyVersion":
            _require(len(versions) < KEPT, "LimitExceeded")
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
            for key in arguments["TagKeys"]:
                policy["tags"].pop(key, None)


def _find(place: Mapping[str, Any], key: str) -> Any:
    _require(key in place, "NoSuchEntity")
    return place[key]


def _require(condition: object, code: str) -> None:
    if not condition:
        raise AwsApiError(f"The call failed with {code}.", code)


class Controller(Gateway):
    """A controller with its jobs, whose thread waits before each call for its turn."""

    local = threading.local()

    def __init__(self, world: World, jobs: Sequence[str], killed_after: int | None) -> None:
        super().__init__(PAUSES)
        self.world, self.jobs, self.left = world, jobs, killed_after
        self.failures: list[CwagentError] = []
        self.results: list[dict[str, Any]] = []
        self.has_ended = False
        self.problem: BaseException | None = None
        self._turn, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def now(self) -> datetime:
        return self.world.time

    def call(self, action: str, description: str, max_attempts: int = 0, **arguments: Any) -> dict[str, Any]:
        return self.take_turn(lambda: self.world.call(action, arguments))

    def _identity(self) -> str | None:
        return None

    def _renew_credentials(self) -> None: ...

    def take_turn(self, work: Callable[[], Any]) -> Any:
        """Wait for the turn, and do some work in it."""
        self._turn.acquire()
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed
        try:
            return work()
        finally:
            self._done.release()

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
                    self._narrow() if job == "apply" else self._store(job)
                except CwagentError as error:
                    self.failures.append(error)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  the test raises it
            self.problem = error
        self.has_ended = True
        self._done.release()

    def _store(self, text: str) -> None:
        versions = self.take_turn(lambda: list(self.world.versions))
        self._converge(versions, [text])
        if text != _current(versions):
            self.take_turn(lambda: self.world.put(text))

    def _narrow(self) -> None:
        newest = self.take_turn(lambda: len(self.world.versions))
        self.take_turn(lambda: self.world.label(newest))
        versions = self.take_turn(lambda: list(self.world.versions))
        if versions:
            self._converge(versions, [], narrow=True)

    def _converge(self, versions: Sequence[Version], new: Sequence[str], **more: Any) -> None:
        texts = [str(each.value) for each in covered_versions(versions)]
        times = {text: [each.modified for each in versions if each.value == text] for text in "ABCDEF"}
        stored = {digest_of(NAME, REGION, text): found for text, found in times.items()}
        storing = frozenset(digest_of(NAME, REGION, each) for each in new if each != _current(versions))
        everything = {"server": needed([*texts, *new])}
        desired = DesiredPolicies("aws", ACCOUNT, everything, storing, f"controller {id(self)}", stored, **more)
        aws: Any = self
        self.results.append(converge(resource.FittedPolicies(aws, desired), False, PAUSES))


def _current(versions: Sequence[Version]) -> str | None:
    return versions[0].value if versions else None


@pytest.fixture(autouse=True, scope="module")
def turns() -> Iterator[None]:
    """A pause is a turn, in which IAM shows more of what was written."""
    with pytest.MonkeyPatch.context() as patch:

        def pause(deadline: Deadline, _seconds: float = 0) -> bool:
            controller = Controller.local.controller
            controller.take_turn(lambda: controller.world.see(1))
            deadline.seconds -= 1
            return deadline.seconds >= 0

        patch.setattr(Deadline, "pause", pause)
        patch.setattr(resource, "run_in_parallel", lambda work, items: [work(each) for each in items])
        yield


def play(controllers: Sequence[Controller], order: Sequence[tuple[int, int, int]], world: World) -> None:
    """Let the controllers work in an order.

    :param order: which of those at work goes on, for how many calls, and how many writes IAM shows after each.
    """
    turns = ((chosen, seen) for chosen, calls, seen in order for _call in range(calls))
    while waiting := [each for each in controllers if not each.has_ended]:
        chosen, seen = next(turns, (len(world.states), 1))
        world.time += timedelta(seconds=1)
        waiting[chosen % len(waiting)].go_on()
        world.check()
        for _write in range(seen):
            world.see(1)
            world.check()


Order = list[tuple[int, int, int]]
TEXTS = st.sampled_from("ABC")
JOBS = st.lists(TEXTS | st.just("apply"), min_size=1, max_size=4)
ORDER = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(0, 3)), max_size=60)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(jobs=st.lists(st.tuples(JOBS, st.none() | st.integers(0, 60)), min_size=1, max_size=4), order=ORDER)
def test_no_agent_is_ever_denied_anything(jobs: list[tuple[list[str], int | None]], order: Order) -> None:
    world = World()
    controllers = [Controller(world, each, killed_after) for each, killed_after in jobs]
    play(controllers, order, world)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.sampled_from("ABCDEF"), min_size=4, max_size=4), order=ORDER)
def test_four_controllers_at_once_end_with_one_policy_for_all(texts: list[str], order: Order) -> None:
    world = World()
    controllers = [Controller(world, [each], None) for each in texts]
    play(controllers, order, world)
    assert [each.failures for each in controllers] == [[], [], [], []]
    world.see(1000)
    [policy] = world.policies.values()
    document = policy["versions"][policy["default"]]
    assert {each for one in document["Statement"] for each in one["Resource"]} == {*map(group, texts)}
    last = Controller(world, [str(_current(world.versions))], None)
    play([last], [], world)
    assert [each["steps"] for each in last.results] == [[]]
