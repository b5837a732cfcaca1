# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction, and the configurations that it stores. Pure.

A source acquires the permission to store, stores, and always releases the permission. The release comes before anything
else, even after a failure. Its steps are planned before the permission is acquired.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .._configuration import parameter_plan
from .._ground.changes import net_change
from .._ground.errors import CwagentError, HostUnreachable
from .._ground.guard import NoGuard
from .._ground.plan import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .._configuration.parameter_plan import DesiredConfig, State
    from .._ground.converge import Resource
    from .._ground.gateway import Shield
    from .._ground.guard import Guard
    from .._ground.plan import Plan


# After an interruption somebody may end the process soon.
URGENT_SECONDS = 10.0


# How to clean up when nothing else does.
RESTORE = "run cwagent.iam.restore with the same inventory"
# The line that a person reads before anything is held.
ADVICE = (
    "Ctrl-C takes the permission to write back, and cwagent.iam.site cleans up the rest; if this run is killed, "
    f"{RESTORE}"
)
GIVEN_BACK = "The permission to write was given back. Run cwagent.iam.site or cwagent.iam.restore to clean up the rest."
# The phases that change who may store.
OF_PERMISSION = ("acquired", "released", "untagged")
# The lines that a person reads when a phase begins.
BEGINNINGS = {
    "sent": "send the command that stores the configurations",
    "acquired": "acquire the permission to store, which the admin window limits",
    "stored": "store a configuration",
    "cancelled": "cancel the command",
    "released": "release the permission",
    "untagged": "remove the restore tag",
}


@dataclass(frozen=True)
class Configuration:
    """A configuration that is compared with the stored parameters.

    :param desired: its parameters with their tags.
    :param known: the stored parameters.
    """

    desired: DesiredConfig
    known: State
    region: str

    @property
    def name(self) -> str:
        """The name of the first parameter, which servers read."""
        return self.desired.name

    @property
    def untagged(self) -> DesiredConfig:
        """Its parameters without tags."""
        parameters = tuple(replace(each, tags={}) for each in self.desired.parameters)
        return replace(self.desired, parameters=parameters)

    @property
    def plan(self) -> Plan[State]:
        """The steps that store it and its tags."""
        return parameter_plan.plan(self.known, self.desired)

    @property
    def plan_without_tags(self) -> Plan[State]:
        """The steps of a source that may not tag."""
        return parameter_plan.plan(self.known, self.untagged)

    @property
    def surplus(self) -> list[str]:
        """The parameters that an earlier, larger configuration has left."""
        return parameter_plan.surplus(self.known, self.desired)

    @property
    def warnings(self) -> list[str]:
        """Warnings of such parameters."""
        return parameter_plan.warnings(self.known, self.desired)

    def to_diff(self, plan: Plan[State]) -> dict[str, Any]:
        """Render the changes of a plan, for the diff."""
        sides = {"before": parameter_plan.to_diff(plan.current), "after": parameter_plan.to_diff(plan.planned)}
        return parameter_plan.render_change(plan.current, plan.planned) or sides

    def to_comparison(self) -> dict[str, Any]:
        """Render the outcome for the option ``compared``. Contents are not in it, because Ansible prints results."""
        return {
            "name": self.name,
            "region": self.region,
            "digest": self.desired.digest,
            "exists": any(self.known.values()),
            "differs": self.plan.has_changes or bool(self.surplus),
        }

    def to_result(self) -> dict[str, Any]:
        """Render it for the result, with the parameters that servers fetch, in their order."""
        return {"name": self.name, "region": self.region, "parameters": [{"name": each} for each in self.desired.names]}


@dataclass(frozen=True)
class Comparison:
    """Configurations, and the way in which the configurations that differ are stored.

    :param source: the name of the way, which is never ``auto`` after the checks.
    :param earlier: the profile and the role of the instance, according to its metadata service.
    """

    configurations: Sequence[Configuration]
    source: str
    earlier: Mapping[str, Any] = field(default_factory=dict)

    @property
    def to_store(self) -> list[Configuration]:
        """The configurations that a host has to store. Where only a tag differs, the controller sets it."""
        return [each for each in self.configurations if each.plan_without_tags.has_changes]

    def to_result(self) -> dict[str, Any]:
        """Render it for a task with the state ``stored``."""
        return {
            "compared": [each.to_comparison() for each in self.configurations],
            "source": self.source,
            "earlier_identity": self.earlier,
        }


@dataclass(frozen=True)
class Phase:
    """A part of the transaction, planned or done.

    :param counts: how many of the steps create, update and delete something.
    :param diff: their changes, as Ansible shows them.
    """

    name: str
    steps: Sequence[str]
    counts: Mapping[str, int]
    diff: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, resource: Resource[Any], plan: Plan[Any]) -> Phase:
        """Return a planned phase."""
        return cls(name, plan.summaries, plan.counts, resource.render_change(plan.current, plan.planned))


@dataclass
class Report:
    """The phases that were done so far, and warnings for the user.

    :param say: shows a person the current step.
    :param say_last: shows a person what became of the permission after an interruption.
    :param source: the source that stores, which is the value of the option ``from`` without ``auto``.
    """

    say: Callable[[str], None] = lambda _text: None
    say_last: Callable[[str], None] = lambda _text: None
    source: str = ""
    phases: list[Phase] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    window: Mapping[str, Any] | None = None
    configurations: list[dict[str, Any]] = field(default_factory=list)
    is_released: bool = False

    def take(self, name: str, work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Do the work of a phase, and record its steps, even if it failed half-way."""
        if name in BEGINNINGS:
            self.say(BEGINNINGS[name])
        try:
            result = work()
        except CwagentError as error:
            self._add(name, error.details.get("done", []), error.details)
            raise
        self._add(name, result.get("steps", []), result)
        return result

    def _add(self, name: str, steps: Sequence[str], result: Mapping[str, Any]) -> None:
        phase = Phase(name, steps, result.get("counts", {}), result.get("diff", {}))
        self.phases += [phase] if steps else []
        self.warnings += result.get("warnings", [])

    @property
    def _diffs(self) -> list[Mapping[str, Any]]:
        """The changes of the phases. A permission that was acquired and released again is none of them."""
        held = net_change(each.diff for each in self.phases if each.name in OF_PERMISSION and each.diff)
        others = [each.diff for each in self.phases if each.name not in OF_PERMISSION and each.diff]
        return [*others, *([held] if held["before"] != held["after"] else [])]

    def to_result(self) -> dict[str, Any]:
        """Render it for the result of the module."""
        counts: Counter[str] = Counter()
        for each in self.phases:
            counts.update(each.counts)
        steps = [step for each in self.phases for step in each.steps]
        return {
            "changed": bool(steps),
            "steps": steps,
            "counts": {kind.value: counts[kind.value] for kind in Kind},
            "diff": self._diffs,
            "phases": [{"name": each.name, "steps": each.steps, "counts": each.counts} for each in self.phases],
            "source": self.source,
            "configurations": self.configurations,
            "released": self.is_released,
            **({"window": self.window} if self.window else {}),
            "warnings": self.warnings,
        }


class Source(ABC):
    """A source that stores, with its permission to do so.

    :param report: receives the steps of the source.
    """

    began = False
    """Whether there is a permission to release, or a part of it."""
    may_tag = False
    """Whether the permission includes tags and the deletion of parameters."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def prepare(self) -> None:  # noqa: B027  the controller prepares nothing
        """Read the state, refuse it if this run must not act, and plan what follows."""

    def planned(self) -> tuple[list[Phase], list[Phase]]:
        """Return the phases before and after storing, each planned from the planned state of the one before."""
        return [], []

    def acquire(self) -> None:  # noqa: B027  the controller already has it
        """Acquire the permission to store, and wait until it takes effect."""

    @abstractmethod
    def store(self, configuration: Configuration) -> Mapping[str, Any]:
        """Store a configuration."""

    def cancel(self) -> None:  # noqa: B027  only a command goes on by itself
        """Stop anything that could still store something. It never raises an error."""

    def take_over(self) -> None:
        """Prepare to release instead of a process that was killed at an unknown step after ``prepare``.

        This is another process, which must not use the connections of that one.
        """
        self.began = True

    def release(self, wait: float | None = None) -> None:  # noqa: B027  the controller acquires none
        """Release the permission.

        :param wait: how many seconds to wait until AWS shows it, instead of the time that the user chose.
        :raises CwagentError: something may be left. The message describes it, and what to do.
        """

    def finish(self, failure: CwagentError | None) -> None:
        """Check the state after the release, and remove the tag that makes the next run release.

        :raises CwagentError: ``failure``, in other words if more is known now, or a new problem.
        """
        if failure:
            raise failure


class Transaction:
    """Stores the configurations that differ, with a permission that is held as briefly as possible.

    :param tidy: does the work afterwards that the source may not do.
    :param shield: nothing interrupts the body of this context. A signal during the body interrupts at its end.
    :param guard: watches this process while it holds the permission.
    """

    def __init__(
        self,
        source: Source,
        configurations: Sequence[Configuration],
        tidy: Callable[[], None],
        shield: Shield,
        guard: Guard | None = None,
    ) -> None:
        self._source = source
        self._to_store = [each for each in configurations if self._plan(each).has_changes]
        self._tidy = tidy
        self._shield = shield
        self._guard = guard or NoGuard()
        self._report = source.report

    def _plan(self, configuration: Configuration) -> Plan[State]:
        return configuration.plan if self._source.may_tag else configuration.plan_without_tags

    def predict(self) -> dict[str, Any]:
        """Return the result that a run would have."""
        if self._to_store:
            self._source.prepare()
            before, after = self._source.planned()
            storing = [self._planned_storing(each) for each in self._to_store]
            self._report.phases += [*before, *storing, *after]
            self._report.configurations += [each.to_result() for each in self._to_store]
        self._tidy()
        return self._report.to_result()

    def _planned_storing(self, configuration: Configuration) -> Phase:
        plan = self._plan(configuration)
        return Phase("stored", plan.summaries, plan.counts, configuration.to_diff(plan))

    def predict_opening(self) -> dict[str, Any]:
        """Return the result that opening the window would have."""
        self._source.prepare()
        self._report.phases += self._source.planned()[0]
        return self._report.to_result()

    def run(self) -> dict[str, Any]:
        """Store, and return the result.

        :raises CwagentError: something failed. The details of the error have the steps before that.
        """

        def work() -> None:
            if self._to_store:
                self._source.prepare()
                self._advise()
                self._store_and_release()
            self._tidy()

        return self._finish(work)

    def open(self) -> dict[str, Any]:
        """Acquire the permission for a person, and return the result. Release it only if that fails.

        :raises CwagentError: something failed. The details of the error have the steps before that.
        """

        def work() -> None:
            self._source.prepare()
            self._advise()
            with self._guarded():
                failure = self._failure_of(self._source.acquire)
                if failure:
                    self._give_back(failure)

        return self._finish(work)

    def _advise(self) -> None:
        if not self._source.may_tag:  # there is a permission to release
            self._report.say(ADVICE)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Let the guard watch while the body holds the permission. An interrupted body ends it itself."""
        if not self._source.may_tag:
            self._guard.watch(self._take_over)
        try:
            yield
        except CwagentError:
            self._guard.end()
            raise
        self._guard.end()

    def _take_over(self) -> str:
        """Release the permission instead of a process that was killed. :returns: the outcome, as a sentence."""
        self._source.take_over()
        return self._release_urgently()

    def _release_urgently(self) -> str:
        """Release the permission after an interruption. :returns: the outcome, as a sentence."""
        try:
            with self._shield():
                try:
                    self._release(URGENT_SECONDS)
                finally:
                    self._source.cancel()
        except Exception as error:  # noqa: BLE001
            # Libraries, plug-ins and mistakes can raise anything. This sentence is the only trace of what is left.
            reason = error if isinstance(error, CwagentError) else f"{type(error).__name__}."
            until = (self._report.window or {}).get("deadline")
            deadline = f" AWS denies writing from {until} on." if until else ""
            return f"The permission to write was not given back: {reason}{deadline} To clean up, {RESTORE}."
        return GIVEN_BACK

    def _finish(self, work: Callable[[], None]) -> dict[str, Any]:
        """Do the work, and return the result. Release the permission if the work is interrupted."""
        try:
            work()
        except CwagentError as error:
            done = self._report.to_result()
            error.details.update({**done, "done": done["steps"], "not_done": error.details.get("not_done", [])})
            raise
        except BaseException as error:
            # A signal or a time limit. Nobody reads a result then. The next run cleans up with the record and the tag.
            is_held, is_unexpected = self._source.began, isinstance(error, Exception)
            outcome = self._release_urgently()
            if is_held:
                cause = "There was an unexpected error" if is_unexpected else "The run was interrupted"
                self._report.say_last(f"{cause}. {outcome}")
            if not self._source.began:
                self._guard.end()
            raise
        return self._report.to_result()

    def _store_and_release(self) -> None:
        with self._guarded():
            self._give_back(self._failure_of(self._acquire_and_store))

    def _give_back(self, failure: CwagentError | None) -> None:
        """Release the permission, and check the state afterwards.

        :param failure: the earlier failure; ``None`` for none.
        :raises CwagentError: that failure, and anything that failed since then.
        """
        try:
            with self._shield():
                if failure:
                    self._source.cancel()
                self._release()
            self._source.finish(failure)
        except CwagentError as error:
            if failure is None or str(failure) in str(error):
                raise
            # Whatever is still open comes first.
            parts = (failure, error) if self._report.is_released else (error, f"Before that: {failure}")
            raise CwagentError(" ".join(map(str, parts)), **{**failure.details, **error.details}) from error

    @staticmethod
    def _failure_of(work: Callable[[], None]) -> CwagentError | None:
        try:
            work()
        except CwagentError as error:
            return error
        return None

    def _acquire_and_store(self) -> None:
        self._source.acquire()
        self._store()

    def _store(self) -> None:
        """Store all configurations, even if one of them fails. :raises CwagentError: with all failures."""
        failure: CwagentError | None = None
        for each in self._to_store:
            try:
                self._report.take("stored", partial(self._source.store, each))
            except HostUnreachable:
                raise
            except CwagentError as error:
                failure = CwagentError(f"{failure} {error}", **error.details) if failure else error
            else:
                self._report.configurations.append(each.to_result())
        if failure:
            raise failure

    def _release(self, wait: float | None = None) -> None:
        if self._source.began:
            self._source.release(wait)
            self._source.began, self._report.is_released = False, True
