# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway to AWS: every call goes through here, so that errors are translated once and CamelCase is only here."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import mktime_tz, parsedate_tz
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED_CODES,
    PERMISSION_RETRY_CODES,
    UNREADABLE_RESPONSE,
    AwsApiError,
    CwagentError,
    error_code,
    explain,
    is_explicit_deny,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import WORKERS
from ansible_collections.cwagent.iam.plugins.module_utils._progress import tell
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

try:
    from botocore import xform_name
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from botocore.exceptions import (
        ConnectionError as BotoConnectionError,
    )
    from botocore.parsers import ResponseParserError
except ImportError:
    pass  # _module.aws_module tells the user, and in the lookup require_aws_sdk.

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

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


class Aws:
    """Makes API calls and translates their errors.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    :param retry_timeout: seconds to repeat a step whose call fails with one of its ``retry_when`` codes.
    :param renews_clients: whether to make the clients again before a denied call is repeated, since the factory can
        have other credentials by then.
    """

    def __init__(
        self, client_factory: Callable[..., Any], retry_timeout: float = 0, *, renews_clients: bool = False
    ) -> None:
        self._client_factory = client_factory
        self._retry_timeout = retry_timeout
        self._renews_clients = renews_clients
        self._clients: dict[tuple[str, int], Any] = {}
        self._client_lock = threading.Lock()
        self._server_time: datetime | None = None

    def client(self, service: str, max_attempts: int = MAX_ATTEMPTS) -> Any:
        """Return the boto3 client of a service, made at its first use and shared by all threads."""
        with self._client_lock:
            if (service, max_attempts) not in self._clients:
                self._clients[service, max_attempts] = self._make_client(service, max_attempts)
            return self._clients[service, max_attempts]

    def _make_client(self, service: str, max_attempts: int) -> Any:
        # Adaptive: all threads slow down together when AWS throttles one of them.
        config = Config(
            retries={"mode": "adaptive", "total_max_attempts": max_attempts},
            max_pool_connections=WORKERS,
            connect_timeout=CONNECT_SECONDS,
        )
        return self._client_factory(service, config=config)

    def forget_clients(self) -> None:
        """Make new clients from now on. A process that was forked must not use the connections of the other one."""
        self._clients = {}

    def _renew_clients(self) -> None:
        with self._client_lock, suppress(CwagentError):  # then the earlier ones stay
            self._clients = {key: self._make_client(*key) for key in self._clients}

    @property
    def now(self) -> datetime:
        """The time of the last answer according to the clock of AWS, to compare it with dates from AWS.

        Before the first answer, it is the time of the controller's own clock.
        """
        return self._server_time or datetime.now(timezone.utc)

    @property
    def region(self) -> str:
        """The region of the regional services."""
        return str(self.client("ec2").meta.region_name)

    def _record_server_time(self, answer: dict[str, Any]) -> dict[str, Any]:
        # A proxy can replace the date with one in another format, or drop it. That must not make the call fail.
        date = parsedate_tz(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
        if date:
            self._server_time = datetime.fromtimestamp(mktime_tz(date), timezone.utc)
        return answer

    def call(self, action: str, description: str, max_attempts: int = MAX_ATTEMPTS, **arguments: Any) -> dict[str, Any]:
        """Make one call.

        :param action: the name of the action in IAM, such as ``iam:GetRole``.
        :param description: the attempt in words, for the error.
        :param max_attempts: how often to try when AWS throttles or does not answer.
        :param arguments: in CamelCase.
        :raises AwsApiError: AWS answered with an error.
        :raises CwagentError: no answer came, or the call could not be made.
        """
        service, operation = action.split(":")
        try:
            method = getattr(self.client(service, max_attempts), xform_name(operation))
            return self._record_server_time(method(**arguments))
        except ClientError as error:
            raise self._api_error(error, description, action) from error
        except (ResponseParserError, KeyError):
            # botocore quotes the answer, which can contain a secret, or takes a part of it for granted.
            raise AwsApiError(
                f"Could not {description} ({action}): the answer was not in the format of AWS. A proxy can have "
                "changed it.",
                UNREADABLE_RESPONSE,
                action,
            ) from None
        except BotoCoreError as error:
            raise CwagentError(_transport_error(error, description, action)) from error

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
        for number in count(1):
            page = self.call(action, description, **arguments)
            if number > 1:  # most answers have one
                tell(f"{description}: page {number}")
            yield page
            next_page = {key: page[key] for key in PAGE_TOKENS if page.get(key)}
            if not next_page:
                return
            if next_page.items() <= arguments.items():
                raise CwagentError(f"Could not {description} ({action}): AWS returned the same pagination token twice.")
            arguments.update(next_page)

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
                if self._renews_clients and error.code in PERMISSION_RETRY_CODES:
                    self._renew_clients()

    def deadline(self) -> Deadline:
        """Return a deadline that is the retry timeout from now."""
        return Deadline(self._retry_timeout)

    def _api_error(self, error: ClientError, description: str, action: str) -> AwsApiError:
        message = error.response["Error"].get("Message") or "AWS gave no reason"
        code = error_code(error.response["Error"].get("Code") or "Unknown", message)
        identity = self._identity() if code in DENIED_CODES and "User: " not in message else None
        text = explain(description, action, code, message, identity)
        return AwsApiError(text, code, action, is_explicit_deny(message))

    def _identity(self) -> str | None:
        """Return the caller's ARN, for an error; ``None`` if it cannot be read. The call needs no permission."""
        try:
            return str(self.client("sts", 1).get_caller_identity()["Arn"])
        except (BotoCoreError, ClientError):
            return None


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


def _transport_error(error: Exception, description: str, action: str) -> str:
    failed = f"Could not {description} ({action})"
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
        return (
            f"{failed}: no AWS credentials were found ({error}). Give them by the options profile or access_key and "
            "secret_key, by AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them."
        )
    # The base classes of all errors on the way: endpoint, proxy, certificate, time-out, connection closed.
    if isinstance(error, (BotoConnectionError, HTTPClientError)):
        return f"{failed}: AWS could not be reached ({error}). Check the region, the network, proxies and certificates."
    return f"{failed}: {error}"
