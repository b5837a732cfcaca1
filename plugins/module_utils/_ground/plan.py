# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and their steps, which are data, the one place that applies them, and the progress that a person sees."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .errors import AwsApiError, CwagentError, PartialFailure, StaleStateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence


INTERVAL_SECONDS = 5.0


class Progress:
    """Shows the progress of a long call. A module that runs in a separate Python has none.

    It shows at most one line every five seconds, the first one after five seconds. Other threads show none.

    :param say: shows a line.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._last = clock()

    def announce(self, text: str) -> None:
        """Show at once a line that a person should read before the next step."""
        self._say(text)

    def tell(self, text: str) -> None:
        """Show the progress of the call, if it is time for a line."""
        now = self._clock()
        if now - self._last >= INTERVAL_SECONDS and threading.current_thread() is threading.main_thread():
            self._last = now
            self._say(text)


_listeners: list[Progress] = []


@contextmanager
def shown(progress: Progress) -> Iterator[None]:
    """Show the progress of calls in the body."""
    _listeners.append(progress)
    try:
        yield
    finally:
        _listeners.pop()


def tell(text: str) -> None:
    """Show the progress of the call, if somebody listens and it is time for a line."""
    if _listeners:
        _listeners[-1].tell(text)


def announce(text: str) -> None:
    """Show a line that a person should read before the next step, if somebody listens."""
    if _listeners:
        _listeners[-1].announce(text)


S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

NOT_FOUND_CODES = frozenset({"NoSuchEntity"})
# IAM returns this for an entity that was created a moment ago.
NEW_ENTITY_RETRY_CODES = frozenset({"NoSuchEntity"})
# IAM returns this where an earlier try of the same call took effect although its answer was lost, or another run was
# faster.
EXISTS_CODES = frozenset({"EntityAlreadyExists"})
# IAM returns this for an entity whose last attachment was removed a moment ago.
DELETE_RETRY_CODES = frozenset({"DeleteConflict"})
# Even at half a second a call, these threads make 40 calls a second. IAM allows an account about 20 writes a second, so
# more threads would only wait for each other. Clients have as many connections.
WORKERS = 20
# A message with more failures would be too long to read. The result has the failures of all items.
MAX_REPORTED_FAILURES = 5


class Kind(Enum):
    """The effect of a step on its resource. Attaching, tagging and associating are updates."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True)
class Step:
    """One API call that a plan needs.

    :param kind: the effect on the resource.
    :param action: service and operation, as IAM names the action: ``iam:CreateRole``.
    :param arguments: the call's arguments in snake case, with mappings for policy documents and tags.
    :param summary: the change in the imperative, such as ``create role 'X'``.
    :param done_when: error codes that mean that the work of the call is already done.
    :param retry_when: error codes for which to retry, because changes in IAM take time to reach other services.
    :param stale_when: error codes that mean that the state is no longer the one that was read. Something else changed
        it, or an earlier try of the same call took effect although its answer was lost.
    :param context: data for executing the step besides the call. Only the resource that planned the step reads it.
    """

    kind: Kind
    action: str
    arguments: Mapping[str, Any]
    summary: str
    done_when: frozenset[str] = field(default=frozenset())
    retry_when: frozenset[str] = field(default=frozenset())
    stale_when: frozenset[str] = field(default=frozenset())
    context: Any = None


@dataclass(frozen=True)
class Plan(Generic[S]):
    """The way from the current state to the planned one.

    :param current: the state that was read.
    :param planned: the state after all steps.
    :param steps: by item, its steps in order. Items do not depend on each other.
    :param errors: by item, why nothing can be done for it.
    """

    current: S
    planned: S
    steps: Mapping[str, Sequence[Step]]
    errors: Mapping[str, CwagentError] = field(default_factory=dict)

    @property
    def all_steps(self) -> list[Step]:
        """The steps of all items."""
        return [step for steps in self.steps.values() for step in steps]

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to do."""
        return any(self.steps.values())

    @property
    def summaries(self) -> list[str]:
        """All steps in words."""
        return [step.summary for step in self.all_steps]

    @property
    def counts(self) -> dict[str, int]:
        """How many steps there are of each kind."""
        return count_kinds(self.all_steps)


def count_kinds(steps: Sequence[Step]) -> dict[str, int]:
    """Return how many steps there are of each kind."""
    kinds = [step.kind for step in steps]
    return {kind.value: kinds.count(kind) for kind in Kind}


@dataclass(frozen=True)
class Outcome:
    """How applying the steps of one item ended.

    :param done: the steps that were taken.
    :param not_done: the steps that were not, the failed one first.
    """

    done: Sequence[Step] = ()
    not_done: Sequence[Step] = ()
    error: CwagentError | None = None

    @property
    def is_stale(self) -> bool:
        """Whether the step failed because the state is not the one that was read."""
        if not self.not_done or not isinstance(self.error, AwsApiError):
            return False
        return self.error.code in self.not_done[0].stale_when

    def __str__(self) -> str:
        text = str(self.error)
        if self.done:
            text += f" Done before that: {_join_summaries(self.done)}."
        if self.not_done[1:]:
            text += f" Not done: {_join_summaries(self.not_done[1:])}."
        return text


def apply(plan: Plan[Any], execute: Callable[[Step], None], check_mode: bool, done: list[Step] | None = None) -> None:
    """Apply a plan. This is the only place where check mode prevents the steps of a plan.

    An item that fails does not stop the others.

    :param execute: takes one step, or raises ``CwagentError``. Several threads call it.
    :param check_mode: whether to leave everything as it is.
    :param done: receives the steps that were taken, even after a failure.
    :raises StaleStateError: the state of every item that failed is not the one that was read.
    :raises CwagentError: another item failed. The message lists the steps that were taken, and the missing steps.
    """
    outcomes = {item: Outcome(error=error) for item, error in plan.errors.items()}
    if not check_mode:
        outcomes.update(_apply_all({item: steps for item, steps in plan.steps.items() if steps}, execute))
    if done is not None:
        done += [step for outcome in outcomes.values() for step in outcome.done]
    failed = {item: outcome for item, outcome in outcomes.items() if outcome.error}
    if failed:
        errors = [outcome.error for outcome in failed.values() if outcome.error]
        details = {
            **{key: value for error in errors for key, value in error.details.items()},
            "failures": {item: str(outcome.error) for item, outcome in failed.items()},
            "not_done": [step.summary for outcome in outcomes.values() for step in outcome.not_done],
        }
        if all(outcome.is_stale for outcome in failed.values()):
            raise StaleStateError(_failure_message(list(failed.values())), **details)
        raise CwagentError(_failure_message(list(failed.values())), **details)


def _failure_message(failed: Sequence[Outcome]) -> str:
    """Return why items failed. Fleets tend to fail for one reason, so a few items are enough."""
    text = " ".join(str(outcome) for outcome in failed[:MAX_REPORTED_FAILURES])
    more = len(failed) - MAX_REPORTED_FAILURES
    return f"{text} {more} more failed; the result has all of them in failures." if more > 0 else text


def _apply_all(steps_by_item: Mapping[str, Sequence[Step]], execute: Callable[[Step], None]) -> dict[str, Outcome]:
    outcomes = run_in_parallel(lambda steps: _apply_in_order(steps, execute), steps_by_item.values())
    return dict(zip(steps_by_item, outcomes))


def _apply_in_order(steps: Sequence[Step], execute: Callable[[Step], None]) -> Outcome:
    for position, step in enumerate(steps):
        try:
            execute(step)
        except PartialFailure as error:
            done = [*steps[:position], *([replace(step, summary=error.done)] if error.done else [])]
            not_done = [replace(step, summary=error.not_done), *steps[position + 1 :]]
            return Outcome(done=done, not_done=not_done, error=error)
        except CwagentError as error:
            return Outcome(done=steps[:position], not_done=steps[position:], error=error)
    return Outcome(done=steps)


def run_in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do the same for every item, a bounded number at a time. The results are in the order of the items."""
    waiting = list(items)
    if len(waiting) <= 1:
        return [work(item) for item in waiting]
    results = []
    with ThreadPoolExecutor(max_workers=min(WORKERS, len(waiting))) as pool:
        for result in pool.map(work, waiting):
            results.append(result)
            tell(f"{len(results)} of {len(waiting)} done")
    return results


def _join_summaries(steps: Sequence[Step]) -> str:
    return ", ".join(step.summary for step in steps)
