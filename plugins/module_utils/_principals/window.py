# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The window of the module cwagent_admin_window: its options, the reads from IAM, and the execution of the steps."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._configuration.parameter_plan import check_parameter_name
from .._ground import names
from .._ground.converge import Resource
from .._ground.errors import DENIED_CODES, AwsApiError, CwagentError, InvalidInput
from .._ground.names import SAVED_KEY_TAG, WINDOW_POLICY, is_marked
from .._ground.plan import NOT_FOUND_CODES
from .._ground.wait import WAIT_SPEC
from . import window_plan
from .principal import access_keys
from .window_plan import ABSENT, CLOSED, OPEN, DesiredWindow, Window, check_binding, check_minutes
from .window_policy import WindowParameter, is_closed, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._ground.aws import Aws
    from .._ground.plan import Plan
    from .._keys.key_rotation import AccessKey


class WindowResource(Resource[Window]):
    """The admin window of a role or a user.

    :param fail_if_open: whether a window that is open already is an error.
    :param is_admin_policy: whether an ARN belongs to an admin policy. If only managed principals are changed, a
        principal without such a policy has nothing to close.
    :param known_policy: the policy of the window, if the caller has read it with the account. A closed window is not
        read again, unless a key is to be deactivated.
    """

    _aws: Aws

    def __init__(
        self,
        aws: Aws,
        desired: DesiredWindow,
        fail_if_open: bool = False,
        is_admin_policy: Callable[[str], bool] | None = None,
        known_policy: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(aws)
        self._desired = desired
        self._fail_if_open = fail_if_open
        self._is_admin_policy = is_admin_policy
        self._known_policy = known_policy
        # The policy is written in any case, so there is no need to read it. A user's keys must be known.
        self._skip_read = (
            desired.force and desired.state == CLOSED and desired.kind == "role" and not desired.managed_only
        )

    def read(self) -> Window:
        """Read the window from IAM, unless there is no need to."""
        if self._skip_read:
            return Window(self._aws.now, is_known=False)
        current = self._read_to_close() if self._desired.state == CLOSED else self.read_again()
        current = replace(current, others_size=self._read_others_size() if current.exists else 0)
        return window_plan.assumed_window(current, self._desired)

    def read_again(self) -> Window:
        """Read the window from IAM."""
        policy = self._find_policy()
        keys = self._read_keys() if policy else ()
        if policy and not self._needs_tags(keys):
            return Window(self._aws.now, policy, keys)
        # IAM answers with the same error whether the principal or the policy is missing.
        tags = self._find_tags()
        if tags is None:
            return Window(self._aws.now, exists=False)
        return Window(
            self._aws.now,
            policy,
            keys if policy else self._read_keys(),
            saved_key_id=tags.get(SAVED_KEY_TAG),
            is_marked=is_marked(tags),
            has_admin_policy=bool(policy) or self._has_admin_policy(tags),
        )

    def _read_to_close(self) -> Window:
        """Read the window, or the parts of it that can be read. Each part is enough to close something.

        :raises CwagentError: neither the policy nor the tags show that the window may be closed.
        """
        try:
            return self._find_closed() or self.read_again()
        except CwagentError as error:
            policy: dict[str, Any] | None = None
            tags: dict[str, str] = {}
            keys: tuple[AccessKey, ...] = ()
            with suppress(CwagentError):
                policy = self._find_policy()
            with suppress(CwagentError):
                tags = self._find_tags() or {}
            with suppress(CwagentError):
                keys = self._read_keys()
            if not policy and not is_marked(tags):
                raise
            saved = tags.get(SAVED_KEY_TAG)
            return Window(self._aws.now, policy, keys, is_known=False, error=error, saved_key_id=saved)

    def _find_closed(self) -> Window | None:
        """Return the window that the caller knows if there is nothing to close."""
        if not is_closed(self._known_policy):
            return None
        keys = self._read_keys()
        return None if self._needs_tags(keys) else Window(self._aws.now, self._known_policy, keys)

    def _find_policy(self) -> dict[str, Any] | None:
        kind, name = self._desired.kind, self._desired.name
        answer = self._aws.find(
            f"iam:Get{kind.title()}Policy",
            f"read the admin window of {kind} '{name}'",
            absent="NoSuchEntity",
            PolicyName=WINDOW_POLICY,
            **{f"{kind.title()}Name": name},
        )
        return answer["PolicyDocument"] if answer else None

    def _find_tags(self) -> dict[str, str] | None:
        """Return the tags of the principal; ``None`` if it does not exist."""
        kind, name = self._desired.kind, self._desired.name
        noun = kind.title()
        found = self._aws.find(
            f"iam:Get{noun}", f"read {kind} '{name}'", absent="NoSuchEntity", **{f"{noun}Name": name}
        )
        return None if found is None else {tag["Key"]: tag["Value"] for tag in found[noun].get("Tags", [])}

    def _read_others_size(self) -> int:
        """Read the size of the other inline policies; 0 if it does not matter, or if reading them is denied."""
        kind, name = self._desired.kind, self._desired.name
        if self._desired.state != OPEN or not self._desired.read_others:
            return 0
        noun = kind.title()
        identity: dict[str, Any] = {f"{noun}Name": name}
        description = f"read the inline policies of {kind} '{name}'"
        try:
            pages = self._aws.pages(f"iam:List{noun}Policies", description, **identity)
            others = [each for page in pages for each in page["PolicyNames"] if each != WINDOW_POLICY]
            answers = [
                self._aws.call(f"iam:Get{noun}Policy", description, PolicyName=each, **identity) for each in others
            ]
        except AwsApiError as error:
            if error.code not in DENIED_CODES | NOT_FOUND_CODES:
                raise
            return 0
        return sum(size_of(answer["PolicyDocument"]) for answer in answers)

    def _read_keys(self) -> tuple[AccessKey, ...]:
        return access_keys(self._aws, self._desired.name) if self._desired.kind == "user" else ()

    def _needs_tags(self, keys: Iterable[AccessKey]) -> bool:
        """Whether the tags of a user matter. They contain the id of the saved key."""
        is_desired = self._desired.state == CLOSED and not self._desired.force
        return any(key.active or not is_desired for key in keys)

    def _has_admin_policy(self, tags: dict[str, str]) -> bool:
        """Whether the principal can have the permission that a window limits. Read only if that matters."""
        kind, name = self._desired.kind, self._desired.name
        is_closing = self._desired.managed_only and self._desired.state != OPEN
        if not (is_closing and self._is_admin_policy and is_marked(tags)):
            return True
        noun = kind.title()
        pages = self._aws.pages(
            f"iam:ListAttached{noun}Policies", f"list the policies of {kind} '{name}'", **{f"{noun}Name": name}
        )
        return any(self._is_admin_policy(policy["PolicyArn"]) for page in pages for policy in page["AttachedPolicies"])

    def check_own(self, current: Window) -> None:
        """Refuse to open a window that is open for another instance, if this instance may have a window already.

        :raises ContentionError: the window is open for another instance.
        """
        window_plan.check_not_open_elsewhere(current, self._desired)

    def check_preconditions(self, current: Window) -> None:
        """Refuse to open a window while another key is active or, if the user wants that, while the window is open.

        :raises ContentionError: another key is active, or the window is open.
        :raises InvalidInput: the principal belongs to somebody else and only managed ones are changed, or its other
            inline policies leave no room.
        """
        self.check_managed(current)
        window_plan.check_size(self._desired, current.others_size)
        window_plan.check_other_keys(current, self._desired)
        if self._fail_if_open:
            window_plan.check_not_open(current, self._desired)

    def check_managed(self, current: Window) -> None:
        """Refuse to open a window for somebody else's principal, if only managed principals are changed.

        :raises InvalidInput: the principal belongs to somebody else. The message explains what to do.
        """
        window_plan.check_managed(current, self._desired)

    def plan(self, current: Window) -> Plan[Window]:
        """Plan how to open, close or remove the window."""
        return window_plan.plan(current, self._desired)

    def remaining(self, plan: Plan[Window], state: Window) -> list[str]:
        """List the changes that IAM does not show yet."""
        if state.error and not plan.current.is_known:
            return []  # IAM accepted the write, and it may never let this caller read the window
        if state.error:
            return [str(state.error)]
        # With the time of the plan, so that waiting does not make the deadline look too early.
        shown = replace(state, read_at=plan.current.read_at)
        return window_plan.plan(shown, replace(self._desired, force=False)).summaries

    def to_diff(self, state: Window) -> dict[str, Any]:
        """Render the window for the diff."""
        return window_plan.to_diff(state)

    def to_result(self, plan: Plan[Window], final: Window) -> dict[str, Any]:
        """Render the window for the result."""
        return {
            "window": window_plan.to_dict(replace(final, read_at=plan.current.read_at)),
            "managed": not window_plan.is_unmanaged(plan.current, self._desired),
        }

    def warnings(self, plan: Plan[Window]) -> list[str]:
        """Warn if the window cannot be read, and return the warnings of the plan."""
        error = plan.current.error
        unreadable = [f"{error} The window is closed anyway; its earlier state is unknown."] if error else []
        return [*unreadable, *window_plan.warnings(plan.current, self._desired)]

    def check_mode_warnings(self, plan: Plan[Window]) -> list[str]:
        """Warn if the principal does not exist, so that its window cannot be opened."""
        is_missing = not plan.current.exists and self._desired.state == OPEN
        return [f"{self._desired.kind} '{self._desired.name}' does not exist yet"] if is_missing else []


# For the modules that open a window. The names are checked, because a wildcard would open it for other parameters too.
PARAMETERS_SPEC: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {"name": {"type": "str", "required": True}, "region": {"type": "str", "required": True}},
}

SPEC: dict[str, Any] = {
    "role": {"type": "str"},
    "user": {"type": "str"},
    "state": {"type": "str", "choices": [OPEN, CLOSED, ABSENT], "required": True},
    "window_minutes": {"type": "int", "default": 15},
    "instance_id": {"type": "str"},
    "parameters": PARAMETERS_SPEC,
    "fail_if_open": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "managed_only": {"type": "bool", "default": False},
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {
    "required_one_of": [("role", "user")],
    "mutually_exclusive": [("role", "user"), ("user", "instance_id")],
}


def resource(
    params: Mapping[str, Any],
    aws: Aws,
    region: str | None,
    *,
    is_admin_policy: Callable[[str], bool],
) -> WindowResource:
    """Return the admin window of the module. :raises InvalidInput: an option is invalid."""
    del region
    return WindowResource(aws, desired_window(params), params["fail_if_open"], is_admin_policy)


def window_parameters(given: Iterable[Mapping[str, str]]) -> tuple[WindowParameter, ...]:
    """Return the parameters of an option, sorted. :raises InvalidInput: a name or region is not valid."""
    for each in given:
        check_parameter_name(each["name"])
        names.check_region(each["region"])
    return tuple(sorted({WindowParameter(each["name"], each["region"]) for each in given}))


def desired_window(params: Mapping[str, Any]) -> DesiredWindow:
    """Return the desired window. :raises InvalidInput: an option is invalid."""
    kind = "role" if params["role"] else "user"
    if not params[kind]:
        raise InvalidInput("One of role and user is required.")
    names.check_name(kind, params[kind])
    if params["state"] == OPEN:
        check_minutes(params["window_minutes"])
    if params["instance_id"] is not None:
        names.check_instance_id(params["instance_id"])
    desired = DesiredWindow(
        kind,
        params[kind],
        params["state"],
        params["window_minutes"],
        params["force"],
        params["managed_only"],
        instance_id=params["instance_id"],
        parameters=window_parameters(params["parameters"]),
    )
    check_binding(desired)
    return desired
