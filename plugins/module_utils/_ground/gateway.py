# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of every call to AWS: how errors are translated and which calls are repeated. CamelCase stays on the wire.

``aws.py`` makes the calls with boto3. ``signed_call.py`` makes them on hosts, which need no boto3.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import (
    DENIED_CODES,
    PERMISSION_RETRY_CODES,
    UNREADABLE_RESPONSE,
    AwsApiError,
    CwagentError,
    error_code,
    explain,
    is_explicit_deny,
)
from .plan import tell
from .wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from .plan import Step

    Shield = Callable[[], AbstractContextManager[None]]


T = TypeVar("T")

# IAM throttles at about 20 requests a second for an account, which a fleet reaches; botocore's default of 5 attempts
# is not enough to wait for the end of that.
MAX_ATTEMPTS = 10
# botocore waits a minute for each attempt to connect, and so ten minutes if AWS is unreachable.
CONNECT_SECONDS = 10
ACRONYMS = {"ssh": "SSH"}
# By service, the errors of a write that pass by themselves, because AWS makes the changes of one object one by one.
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
PASSING_CODES = {
    "iam": frozenset({"ConcurrentModification", "EntityTemporarilyUnmodifiable"}),
    "ssm": frozenset({"TooManyUpdates"}),
}
# The keys of IAM and of EC2 for the next page, in an answer and in the request for that page.
PAGE_TOKENS = ("Marker", "NextToken")


class Gateway(ABC):
    """Makes API calls and translates their errors.

    :param retry_timeout: seconds to repeat a step whose call fails with one of its ``retry_when`` codes.
    """

    machine = "this machine"
    """The machine that makes the calls, for messages."""

    def __init__(self, retry_timeout: float = 0) -> None:
        self._retry_timeout = retry_timeout

    @abstractmethod
    def call(self, action: str, description: str, max_attempts: int = MAX_ATTEMPTS, **arguments: Any) -> dict[str, Any]:
        """Make one call.

        :param action: the name of the action in IAM, such as ``iam:GetRole``.
        :param description: the attempt in words, for the error.
        :param max_attempts: how often to try when AWS throttles or does not answer.
        :param arguments: in CamelCase.
        :raises AwsApiError: AWS answered with an error.
        :raises CwagentError: no answer came, or the call could not be made.
        """

    @abstractmethod
    def _identity(self) -> str | None:
        """Return the caller's ARN, for an error; ``None`` if it cannot be read. The call needs no permission."""

    @abstractmethod
    def _renew_credentials(self) -> None:
        """Read the credentials again before a denied call is repeated."""

    def find(self, action: str, description: str, absent: str, **arguments: Any) -> dict[str, Any] | None:
        """Make a read call. :returns: the answer; ``None`` for absence. :param absent: the error code of absence."""
        try:
            return self.call(action, description, **arguments)
        except AwsApiError as error:
            if error.code == absent:
                return None
            raise

    def pages(self, action: str, description: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Make a read call for each page, only when the caller takes the page.

        To make a paginator, botocore searches its descriptions of all services, which takes longer than a page.
        """
        before: list[dict[str, Any]] = []
        for number in count(1):
            page = self.call(action, description, **arguments)
            if number > 1:  # most answers have one
                tell(f"{description}: page {number}")
            yield page
            next_page = {key: page[key] for key in PAGE_TOKENS if page.get(key)}
            if not next_page:
                return
            if next_page in before:
                raise CwagentError(f"Could not {description} ({action}): AWS returned the same pagination token twice.")
            arguments.update(next_page)
            before.append(next_page)

    def execute(self, step: Step, max_attempts: int = MAX_ATTEMPTS) -> dict[str, Any] | None:
        """Make the call of a step.

        :returns: the answer; ``None`` if the change was already made.
        :raises CwagentError: as ``call``.
        """
        arguments = _to_wire(step.arguments)
        retry_when = step.retry_when | PASSING_CODES.get(step.action.partition(":")[0], frozenset())
        try:
            return self.retry(lambda: self.call(step.action, step.summary, max_attempts, **arguments), retry_when)
        except AwsApiError as error:
            if error.code in step.done_when:
                return None
            raise

    def retry(self, work: Callable[[], T], retry_when: frozenset[str]) -> T:
        """Repeat something while AWS answers with one of these codes, until the retry timeout."""
        deadline = self.deadline()
        while True:
            try:
                return work()
            except AwsApiError as error:
                if error.code not in retry_when or not deadline.pause():
                    raise
                if error.code in PERMISSION_RETRY_CODES:
                    self._renew_credentials()

    def deadline(self) -> Deadline:
        """Return a deadline that is the retry timeout from now."""
        return Deadline(self._retry_timeout)

    def _api_error(self, code: str | None, message: str | None, description: str, action: str) -> AwsApiError:
        # The further lines of an invalid signature quote the request, which contains the token of the session.
        message = (message or "AWS gave no reason").partition("\n")[0]
        code = error_code(code or "Unknown", message)
        identity = self._identity() if code in DENIED_CODES and "User: " not in message else None
        text = explain(description, action, code, message, identity, machine=self.machine)
        return AwsApiError(text, code, action, is_explicit_deny(message))


# The errors of code that reads an answer and takes its form for granted.
MALFORMED = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def unreadable(description: str, action: str) -> AwsApiError:
    """Return the error for an answer that is not quoted, since it can contain a secret."""
    return AwsApiError(
        f"Could not {description} ({action}): the answer was not in the format of AWS. A proxy can have changed it.",
        UNREADABLE_RESPONSE,
        action,
    )


def unreachable(description: str, action: str, reason: object) -> CwagentError:
    """Return the error for a call without an answer."""
    return CwagentError(
        f"Could not {description} ({action}): AWS could not be reached ({reason}). Check the region, the network, "
        "proxies and certificates."
    )


def _to_wire(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step's arguments as boto3 takes them."""
    sent: dict[str, Any] = {}
    for key, value in arguments.items():
        if key == "tags":
            sent["Tags"] = [{"Key": name, "Value": text} for name, text in value.items()]
        elif key.endswith("_document"):
            sent[_to_camel(key)] = json.dumps(value)
        elif isinstance(value, dict):
            sent[_to_camel(key)] = _to_wire(value)
        else:
            sent[_to_camel(key)] = value
    return sent


def _to_camel(name: str) -> str:
    """Return the name of an argument as the API spells it. Ansible's own conversion makes ``Ssh`` of ``ssh``."""
    return "".join(ACRONYMS.get(word) or word.title() for word in name.split("_"))
