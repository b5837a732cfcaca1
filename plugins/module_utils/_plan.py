# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Steps as data, and the one place that applies them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

T = TypeVar("T")
R = TypeVar("R")

# The codes that mean that a thing is gone already.
NOT_FOUND_CODES = frozenset({"NoSuchEntity"})
# What IAM answers about a thing that was made, or emptied, a moment ago.
NEW_ENTITY_RETRY_CODES = frozenset({"NoSuchEntity", "ConcurrentModification"})
DELETE_RETRY_CODES = frozenset({"DeleteConflict"})
# Even at half a second a call this makes 40 calls a second, and IAM allows an account about 20 writes; more threads
# would only wait for each other. Clients have as many connections.
WORKERS = 20
# How many failures the message of a task tells; the result has all of them.
MAX_REPORTED_FAILURES = 5


@dataclass(frozen=True)
class Step:
    """One API call that a plan wants made.

    :param action: service and operation, as IAM names the action: ``iam:CreateRole``.
    :param arguments: the call's arguments in snake case; policy documents as mappings, tags as a mapping.
    :param summary: what it changes, as an order in words: ``create role 'X'``.
    :param done_when: error codes that mean the call's effect is already there.
    :param retry_when: error codes that pass by themselves, because IAM's news take time to reach other services.
    """

    action: str
    arguments: Mapping[str, Any]
    summary: str
    done_when: frozenset[str] = field(default=frozenset())
    retry_when: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True)
class Plan:
    """What is to be done for each item.

    :param steps: by item, its steps in order. Items do not depend on each other.
    :param refused: by item, why nothing can be done for it.
    """

    steps: Mapping[str, Sequence[Step]]
    refused: Mapping[str, CwagentError] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return any(self.steps.values())

    @property
    def summaries(self) -> list[str]:
        """All steps in words."""
        return [step.summary for steps in self.steps.values() for step in steps]


@dataclass(frozen=True)
class Outcome:
    """What became of one item. :param left: the steps not taken, the failed one first."""

    done: Sequence[Step] = ()
    left: Sequence[Step] = ()
    error: CwagentError | None = None

    def __str__(self) -> str:
        text = str(self.error)
        if self.done:
            text += f" Done before that: {_words(self.done)}."
        if self.left[1:]:
            text += f" Not done: {_words(self.left[1:])}."
        return text


def apply(plan: Plan, execute: Callable[[Step], None], check_mode: bool) -> None:
    """Apply a plan: the only place of the collection where check mode keeps a step from being taken.

    An item that fails does not stop the others.

    :param execute: takes one step; raises ``CwagentError``; called from several threads.
    :param check_mode: whether to leave everything as it is.
    :raises CwagentError: at least one item was refused or failed; it says for each what was done and what was not.
    """
    outcomes = {name: Outcome(error=error) for name, error in plan.refused.items()}
    if not check_mode:
        outcomes.update(_apply_all({name: steps for name, steps in plan.steps.items() if steps}, execute))
    failed = {name: outcome for name, outcome in outcomes.items() if outcome.error}
    if failed:
        # What an error tells besides its text stays with it.
        errors = [outcome.error for outcome in failed.values() if outcome.error]
        details = {
            **{key: value for error in errors for key, value in error.details.items()},
            "failures": {name: str(outcome.error) for name, outcome in failed.items()},
            "done": [step.summary for outcome in outcomes.values() for step in outcome.done],
            "not_done": [step.summary for outcome in outcomes.values() for step in outcome.left],
        }
        raise CwagentError(_failure_message(list(failed.values())), **details)


def _failure_message(failed: Sequence[Outcome]) -> str:
    """What failed, in words; of a fleet that fails for one reason, a few are enough."""
    text = " ".join(str(outcome) for outcome in failed[:MAX_REPORTED_FAILURES])
    more = len(failed) - MAX_REPORTED_FAILURES
    return f"{text} {more} more failed; the result tells of each in failures." if more > 0 else text


def _apply_all(waiting: Mapping[str, Sequence[Step]], execute: Callable[[Step], None]) -> dict[str, Outcome]:
    return dict(zip(waiting, in_parallel(lambda steps: _apply_in_order(steps, execute), waiting.values())))


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do the same for every item, a bounded number at a time; the results are in the order of the items."""
    waiting = list(items)
    if len(waiting) <= 1:
        return [work(item) for item in waiting]
    with ThreadPoolExecutor(max_workers=min(WORKERS, len(waiting))) as pool:
        return list(pool.map(work, waiting))


def _apply_in_order(steps: Sequence[Step], execute: Callable[[Step], None]) -> Outcome:
    for position, step in enumerate(steps):
        try:
            execute(step)
        except CwagentError as error:
            return Outcome(done=steps[:position], left=steps[position:], error=error)
    return Outcome(done=steps)


def _words(steps: Sequence[Step]) -> str:
    return ", ".join(step.summary for step in steps)
