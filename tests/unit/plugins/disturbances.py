"""The errors that tests of a transaction raise at each call to AWS and at each task of a host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import AwsApiError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._storing.transaction import HostUnreachable


class Cancelled(BaseException):
    """A signal, as the worker raises it."""


def denied(action: str) -> CwagentError:
    return HostUnreachable("It does not answer.") if action.startswith("host:") else AwsApiError("No.", "AccessDenied")


def failed(action: str) -> CwagentError:
    return CwagentError("It failed.") if action.startswith("host:") else AwsApiError("No.", "InternalFailure")


ERRORS: dict[str, Callable[[str], BaseException]] = {
    "denied once": denied,
    "denied always": denied,
    "failed once": failed,
    "failed always": failed,
    "cancelled": lambda _action: Cancelled(),  # once: all later signals are ignored
    "broken": lambda _action: ZeroDivisionError(),
    "broken always": lambda _action: ZeroDivisionError(),
}
"""Each by the call's or the task's name."""


class Killed(BaseException):
    """The process is killed: it does nothing more."""


@dataclass
class FakeGuard:
    """A guard that takes over when a test wants it."""

    give_back: Callable[[], str] | None = None

    def watch(self, give_back: Callable[[], str]) -> None:
        self.give_back = give_back

    def end(self) -> None:
        self.give_back = None
