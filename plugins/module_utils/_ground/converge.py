# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a module call: read, check, plan, apply, wait."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ansible.module_utils.common.warnings import warn

from .errors import AwsApiError, ConsistencyTimeout, CwagentError, StaleStateError
from .plan import NOT_FOUND_CODES, apply, count_kinds, tell
from .wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from .gateway import Gateway
    from .plan import Plan, Step


# AnsibleModule.warn hands the warnings to exit_json too, which ansible-core reports as deprecated.


S = TypeVar("S")


class Resource(ABC, Generic[S]):
    """The object that a module manages, with its desired state. ``S`` is the type of its state.

    A resource keeps nothing between two of its methods. The step contains everything for its execution, and the plan
    contains everything for the result.
    """

    def __init__(self, aws: Gateway) -> None:
        self._aws = aws

    @abstractmethod
    def read(self) -> S:
        """Read the current state."""

    def read_again(self) -> S:
        """Read the state after the plan was applied, to compare it with the plan."""
        return self.read()

    def read_to_plan_again(self) -> S:
        """Read the state after a step met a state that differs from the one that was read."""
        return self.read_again()

    def check_preconditions(self, current: S, /) -> None:
        """Refuse a state in which this run must not act. This is called once, before the plan is made.

        :raises ContentionError: another run, or a person, is at work.
        """
        del current

    @abstractmethod
    def plan(self, current: S, /) -> Plan[S]:
        """Plan the steps from the current state to the desired one."""

    @abstractmethod
    def to_diff(self, state: S, /) -> dict[str, Any]:
        """Render a state for the diff."""

    def render_change(self, before: S, after: S, /) -> dict[str, Any]:
        """Render the change from one state to another as Ansible shows it with ``--diff``."""
        return {"before": self.to_diff(before), "after": self.to_diff(after)}

    @abstractmethod
    def to_result(self, plan: Plan[S], final: S, /) -> dict[str, Any]:
        """Render the module's own result keys. :param final: the planned state, or the last that AWS showed."""

    def warnings(self, plan: Plan[S], /) -> list[str]:
        """List problems that the user should know about although they are not errors."""
        del plan
        return []

    def check_mode_warnings(self, plan: Plan[S], /) -> list[str]:
        """List reasons why a step could fail. Outside check mode, AWS itself would report them."""
        del plan
        return []

    def remaining(self, plan: Plan[S], state: S, /) -> list[str]:
        """List the changes that AWS does not show yet after the plan was applied.

        :param state: the state that AWS shows.
        """
        del plan
        return self.plan(state).summaries

    def is_propagation_error(self, error: AwsApiError, /) -> bool:
        """Whether a read fails only because one host of AWS does not know about a write yet."""
        return error.code in NOT_FOUND_CODES

    def execute(self, step: Step) -> None:
        """Take one step of the plan."""
        self._aws.execute(step)


def converge(
    resource: Resource[S], check_mode: bool, wait: float | None, plan: Plan[S] | None = None
) -> dict[str, Any]:
    """Bring a resource to its desired state.

    :param plan: the plan that ``first_plan`` has made, if the caller has called it before.
    :param wait: seconds to wait until AWS shows the changes; ``None`` does not wait.
    :returns: the result of the module: ``changed``, ``steps``, ``counts``, ``diff``, ``warnings`` and the resource's
        own keys.
    :raises CwagentError: something could not be done.
    """
    plan = initial = plan or first_plan(resource)
    warnings = _all_warnings(resource, plan, check_mode)
    done: list[Step] = []
    deadline = Deadline(wait or 0)
    try:
        while True:
            try:
                apply(plan, resource.execute, check_mode, done)
                break
            except StaleStateError as error:
                if not deadline.pause():
                    raise
                # AWS may not show the changes of the other items yet. They must not be made again.
                plan = _for_items(resource.plan(resource.read_to_plan_again()), error.details["failures"])
        final = plan.planned if not done or wait is None else _wait_until_consistent(resource, plan, Deadline(wait))
    except CwagentError as error:
        reported = {"done": _summaries(done), "steps": plan.summaries, "warnings": warnings, **error.details}
        error.details.update({"changed": bool(done), "counts": count_kinds(done), **reported})
        raise
    steps = plan.all_steps if check_mode else done
    return {
        "changed": bool(steps),
        "steps": _summaries(steps),
        "counts": count_kinds(steps),
        "diff": resource.render_change(initial.current, plan.planned),
        "warnings": warnings,
        **resource.to_result(replace(plan, current=initial.current), final),
    }


def first_plan(resource: Resource[S]) -> Plan[S]:
    """Read the current state, refuse it if this run must not act, and plan the steps to the desired one."""
    current = resource.read()
    resource.check_preconditions(current)
    return resource.plan(current)


def _for_items(plan: Plan[S], items: Container[str]) -> Plan[S]:
    steps = {item: each for item, each in plan.steps.items() if item in items}
    return replace(plan, steps=steps, errors={item: each for item, each in plan.errors.items() if item in items})


def _summaries(steps: Iterable[Step]) -> list[str]:
    return [step.summary for step in steps]


def _all_warnings(resource: Resource[S], plan: Plan[S], check_mode: bool) -> list[str]:
    uncertain = resource.check_mode_warnings(plan) if check_mode and plan.has_changes else []
    return [*resource.warnings(plan), *uncertain]


def _wait_until_consistent(resource: Resource[S], plan: Plan[S], deadline: Deadline) -> S:
    """Read until AWS shows the changes, because writes to IAM take time to reach the hosts that answer reads."""
    while True:
        try:
            state = resource.read_again()
            remaining = resource.remaining(plan, state)
        except AwsApiError as error:
            if not resource.is_propagation_error(error):
                raise
            remaining = [str(error)]
        if not remaining:
            return state
        tell(f"wait until AWS shows what was written: {remaining[0]}")
        if not deadline.pause():
            invisible = ", ".join(each.rstrip(".") for each in remaining)
            raise ConsistencyTimeout(
                f"All changes were applied, but AWS did not show them within {deadline.seconds:.0f} seconds. Not "
                f"visible yet: {invisible}. Run again, or increase wait_timeout."
            )


def end(module: Any, result: dict[str, Any]) -> None:
    """End a module with its result, and show the warnings in it. :param module: an ``AnsibleModule`` of any kind."""
    for warning in result.pop("warnings", ()):
        warn(warning)
    if not module._diff:
        result.pop("diff", None)
    leave = module.fail_json if result.pop("failed", False) else module.exit_json
    leave(**result)
