# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway to AWS with boto3, and the one of a transaction, in which no signal interrupts a call that writes."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Any

from .errors import CwagentError
from .gateway import CONNECT_SECONDS, MALFORMED, MAX_ATTEMPTS, Gateway, unreachable, unreadable
from .plan import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .gateway import Shield


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
    from botocore.exceptions import ConnectionError as BotoConnectionError
    from botocore.parsers import ResponseParserError
except ImportError:
    pass  # _module.aws_module tells the user, and in the lookup require_aws_sdk.


class _Answer(dict[str, Any]):
    """An answer, in which each part that is taken for granted must be. botocore reads a web page as an empty answer."""

    def __init__(self, parts: dict[str, Any], error: CwagentError) -> None:
        super().__init__(parts)
        self._error = error

    def __missing__(self, key: str) -> Any:
        raise self._error


class Aws(Gateway):
    """Makes API calls with boto3.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    """

    def __init__(self, client_factory: Callable[..., Any], retry_timeout: float = 0) -> None:
        super().__init__(retry_timeout)
        self._client_factory = client_factory
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

    @property
    def now(self) -> datetime:
        """The time of the last answer according to the clock of AWS, to compare it with dates from AWS.

        Before the first answer, it is the time of the controller's own clock.
        """
        return self.server_time or datetime.now(timezone.utc)

    @property
    def server_time(self) -> datetime | None:
        """The time of the last answer according to the clock of AWS; ``None`` before the first answer."""
        return self._server_time

    @property
    def region(self) -> str:
        """The region of the regional services."""
        return str(self.client("ec2").meta.region_name)

    def _record_server_time(self, answer: dict[str, Any]) -> dict[str, Any]:
        # A proxy can replace the date with one in another format, or drop it. That must not make the call fail.
        date = parsedate_tz(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
        if date:
            with suppress(ValueError, OverflowError, OSError):  # no time has this year
                self._server_time = datetime.fromtimestamp(mktime_tz(date), timezone.utc)
        return answer

    def call(self, action: str, description: str, max_attempts: int = MAX_ATTEMPTS, **arguments: Any) -> dict[str, Any]:
        service, operation = action.split(":")
        try:
            method = getattr(self.client(service, max_attempts), xform_name(operation))
            return self._receive(method, arguments, unreadable(description, action))
        except ClientError as error:
            given = error.response["Error"]
            raise self._api_error(given.get("Code"), given.get("Message"), description, action) from error
        except BotoCoreError as error:
            raise _transport_error(error, description, action) from error

    def _receive(
        self, method: Callable[..., dict[str, Any]], arguments: dict[str, Any], malformed: CwagentError
    ) -> dict[str, Any]:
        """Make a call. :param malformed: the error for an answer that is not in the format of AWS."""
        try:
            return _Answer(self._record_server_time(method(**arguments)), malformed)
        except (BotoCoreError, ClientError):
            raise
        except (ResponseParserError, *MALFORMED):
            # botocore quotes the answer, which can contain a secret, or takes a part of it for granted.
            raise malformed from None

    def _renew_credentials(self) -> None:
        """boto3 renews the credentials of a role by itself, and others do not change during a run."""

    def _identity(self) -> str | None:
        try:
            return str(self.client("sts", 1).get_caller_identity()["Arn"])
        except (BotoCoreError, ClientError):
            return None


def _transport_error(error: Exception, description: str, action: str) -> CwagentError:
    failed = f"Could not {description} ({action})"
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
        return CwagentError(
            f"{failed}: no AWS credentials were found ({error}). Give them by the options profile or access_key and "
            "secret_key, by AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them."
        )
    # The base classes of all errors on the way: endpoint, proxy, certificate, time-out, connection closed.
    if isinstance(error, (BotoConnectionError, HTTPClientError)):
        return unreachable(description, action, error)
    return CwagentError(f"{failed}: {error}")


READING = ("Describe", "Get", "List")


class ShieldedAws(Aws):
    """Makes calls as ``Aws`` does. A signal during a call that writes interrupts at the end of the call."""

    def __init__(self, client_factory: Callable[..., Any], retry_timeout: float, shield: Shield) -> None:
        super().__init__(client_factory, retry_timeout)
        self._shield = shield

    def call(self, action: str, description: str, *args: Any, **arguments: Any) -> dict[str, Any]:
        """Make one call."""
        if action.partition(":")[2].startswith(READING):
            return super().call(action, description, *args, **arguments)
        with self._shield():
            return super().call(action, description, *args, **arguments)
