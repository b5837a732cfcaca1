# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of the resources that acquire an admin instance, check that it is alone, and release it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import model
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import State
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.reader import Reader
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import Window
    from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan


class Verb(Protocol):
    """A decision about an instance: to acquire it, to check that it is alone, or to release it."""

    @property
    def profiles(self) -> model.Profiles: ...

    @property
    def instance_id(self) -> str | None: ...

    def plan(self, current: State, window: Plan[Window] | None, /) -> Plan[State]: ...

    def remaining(self, applied: Plan[State], state: State, /) -> list[str]: ...

    def warnings(self, current: State, /) -> list[str]: ...


class AdminInstanceResource(Resource[State]):
    """The instances of a region that have the admin profile, or are about to get or to lose it.

    :param window: the admin window that is opened or closed with the profile; ``None`` for none.
    """

    _aws: Aws

    def __init__(self, aws: Aws, desired: Verb, window: WindowResource | None = None) -> None:
        super().__init__(aws)
        self._desired = desired
        self._window = window
        self._reader = Reader(aws, desired.profiles)

    def read(self) -> State:
        """Read the relevant instances from EC2, and the window and the restore records from IAM."""
        return self._read(self._window.read if self._window else None, is_first=True)

    def read_again(self) -> State:
        """Read the same without the records of this run. A window is read even if its first read was skipped."""
        return self._read(self._window.read_again if self._window else None, is_first=False)

    def read_to_plan_again(self) -> State:
        """Read the records too. They decide the earlier profile of an instance, even if this run has acquired it."""
        return self._read(self._window.read_again if self._window else None, is_first=True)

    @abstractmethod
    def _read(self, read_window: Callable[[], Window] | None, *, is_first: bool) -> State:
        """Read the instances and the window. :param is_first: whether the records of this run are not known yet."""

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps for every instance, and for the window."""
        return self._desired.plan(current, self._plan_window(current))

    def _plan_window(self, current: State) -> Plan[Window] | None:
        return self._window.plan(current.window) if self._window and current.window else None

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the changes that AWS does not show yet.

        :raises CwagentError: the state cannot be read, or another run has started since the plan was made.
        """
        if state.error:
            raise state.error
        try:
            instances = self._desired.remaining(plan, state)
        except InvalidInput as error:
            raise CwagentError(str(error)) from error  # InvalidInput means: nothing was written
        window = self._plan_window(plan.current)
        if self._window and window and state.window:
            return [*instances, *self._window.remaining(window, state.window)]
        return instances

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the instances and the window for the diff."""
        return model.to_diff(state)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the instances and the window for the result."""
        name, window = self._desired.instance_id, self._plan_window(plan.current)
        names = sorted(plan.current.instances) if name is None else [name]
        result: dict[str, Any] = {"instances": model.to_result(plan, final, names, self._desired.profiles)}
        if self._window and window and final.window:
            result.update(self._window.to_result(window, final.window))
        return result

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Return the warnings about the instances and about the window."""
        window = self._plan_window(plan.current)
        more = self._window.warnings(window) if self._window and window else []
        return [*self._desired.warnings(plan.current), *more]
