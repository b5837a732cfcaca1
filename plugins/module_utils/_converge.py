# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The life of every module: read, plan, apply, report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, Plan, apply

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

S = TypeVar("S")


class Resource(ABC, Generic[S]):
    """What a module manages, bound to what the user wants of it. ``S`` is its state."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    @abstractmethod
    def read(self) -> S:
        """What is there."""

    def refuse(self, current: S, /) -> None:
        """Refuse what may be found only after this run has acted. :raises InvalidInput: it says why."""
        del current

    @abstractmethod
    def plan(self, current: S) -> Plan:
        """The steps from ``now`` to what is wanted."""

    @abstractmethod
    def after(self, current: S) -> S:
        """The state that the plan from ``now`` leads to."""

    @abstractmethod
    def render(self, state: S) -> dict[str, Any]:
        """The state as the diff shows it."""

    @abstractmethod
    def report(self, current: S, planned: S, /) -> dict[str, Any]:
        """What the module returns about the state before and after."""

    def warnings(self, current: S, /) -> list[str]:
        """What the user should know although it is no error."""
        del current
        return []

    def check_mode_warnings(self, current: S, /) -> list[str]:
        """Why a step of the plan could fail, which a run would hear from AWS; asked in check mode only."""
        del current
        return []

    def left(self, current: S) -> list[str]:
        """What seems to be still to do after all was done, in words; it is waited for."""
        return self.plan(current).summaries

    def execute(self, step: Step) -> None:
        """Take one step of the plan."""
        self._aws.execute(step)


def converge(resource: Resource[S], check_mode: bool, wait: float | None) -> dict[str, Any]:
    """Bring a resource to what is wanted of it.

    :param wait: seconds to wait until AWS shows what was done; ``None`` does not wait.
    :returns: the result of the module: ``changed``, ``steps``, ``diff``, ``warnings`` and what the resource reports.
    :raises CwagentError: something could not be done.
    """
    current = resource.read()
    resource.refuse(current)
    plan = resource.plan(current)
    planned = resource.after(current)
    result: dict[str, Any] = {
        "changed": plan.changes,
        "steps": plan.summaries,
        "diff": {"before": resource.render(current), "after": resource.render(planned)},
        "warnings": [
            *resource.warnings(current),
            *(resource.check_mode_warnings(current) if check_mode and plan.changes else []),
        ],
    }
    done: list[str] = []
    try:
        apply(plan, resource.execute, check_mode)
        if plan.changes and not check_mode and wait is not None:
            done = plan.summaries
            planned = _wait_until_consistent(resource, Deadline(wait))
    except CwagentError as error:
        told = {"done": done, "steps": result["steps"], "warnings": result["warnings"], **error.details}
        error.details.update({"changed": bool(told["done"]), **told})
        raise
    return {**result, **resource.report(current, planned)}


def _wait_until_consistent(resource: Resource[S], deadline: Deadline) -> S:
    """Read until AWS shows what was done: IAM's writes take time to reach the hosts that answer reads."""
    while True:
        try:
            state = resource.read()
            left = resource.left(state)
        except AwsApiError as error:
            # One host of IAM can know a new thing already, or an old one still, and the next one not.
            if error.code not in NOT_FOUND_CODES:
                raise
            left = [str(error)]
        if not left:
            return state
        if not deadline.pause():
            raise CwagentError(
                f"Everything was done, but after {deadline.seconds:.0f} seconds of waiting AWS does not show it yet; "
                f"it looks as if this were still to do: {', '.join(left)}. Run again to finish, or raise wait_timeout."
            )
