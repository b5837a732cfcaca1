# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way to AWS: every call goes through here, so that errors are worded once and CamelCase stays inside."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timezone
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED,
    UNREADABLE,
    AwsRefusal,
    CwagentError,
    explain,
    is_explicit,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import WORKERS

try:
    from botocore import xform_name
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectTimeoutError,
        CredentialRetrievalError,
        EndpointConnectionError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from botocore.parsers import ResponseParserError
except ImportError:
    pass  # _module.aws_module tells the user, and in the lookup require_aws_sdk.

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

T = TypeVar("T")

# IAM throttles at about 20 requests a second for an account, which a fleet reaches; botocore's default of 5 attempts
# is not enough to sit that out.
ATTEMPTS = 10
POLL_SECONDS = 2.0
ACRONYMS = {"ssh": "SSH"}
# Of IAM and of EC2: where a page tells that there is another one, and how that one is asked for.
PAGE_TOKENS = ("Marker", "NextToken")


class Deadline:
    """A time limit for waiting.

    :param seconds: how long to wait at most, from now.
    :param clock: the time in seconds, as ``time.monotonic``.
    :param sleep: as ``time.sleep``; waiting for AWS happens here alone, and tests give a clock that they move.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._end = clock() + seconds

    def pause(self, seconds: float = POLL_SECONDS) -> bool:
        """Wait before the next try; false when the time is up, without waiting."""
        left = self._end - self._clock()
        if left <= 0:
            return False
        self._sleep(min(seconds, left))
        return True


class Aws:
    """Makes API calls and words their errors.

    :param connect: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    :param patience: seconds to go on trying a step whose ``retry_when`` codes come back.
    """

    def __init__(self, connect: Callable[..., Any], patience: float = 0) -> None:
        self._connect = connect
        self._patience = patience
        self._clients: dict[tuple[str, int], Any] = {}
        self._making = threading.Lock()
        self._dated: datetime | None = None

    def client(self, service: str, attempts: int = ATTEMPTS) -> Any:
        """The boto3 client of a service, made at its first use and shared by all threads."""
        with self._making:
            if (service, attempts) not in self._clients:
                # Adaptive: all threads slow down together when AWS throttles one of them.
                config = Config(
                    retries={"mode": "adaptive", "total_max_attempts": attempts}, max_pool_connections=WORKERS
                )
                self._clients[service, attempts] = self._connect(service, config=config)
            return self._clients[service, attempts]

    @property
    def time(self) -> datetime:
        """The present by the clock of AWS, as of the last answer: what it dates is compared with this.

        The controller's own clock, where AWS has not answered yet.
        """
        return self._dated or datetime.now(timezone.utc)

    def _note_time(self, answer: dict[str, Any]) -> dict[str, Any]:
        # A proxy that writes a date of its own, or none, is no reason to fail.
        date = parsedate_tz(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
        if date:
            self._dated = datetime.fromtimestamp(mktime_tz(date), timezone.utc)
        return answer

    def call(self, action: str, attempt: str, attempts: int = ATTEMPTS, **arguments: Any) -> dict[str, Any]:
        """Make one call.

        :param action: as IAM names it: ``iam:GetRole``.
        :param attempt: what is attempted, in words, for the error.
        :param attempts: how often to try when AWS throttles or does not answer.
        :param arguments: in CamelCase.
        :raises AwsRefusal: AWS answered with an error.
        :raises CwagentError: no answer came, or the call could not be made.
        """
        service, operation = action.split(":")
        try:
            return self._note_time(getattr(self.client(service, attempts), xform_name(operation))(**arguments))
        except ClientError as error:
            raise self._refusal(error, attempt, action) from error
        except ResponseParserError as error:
            raise AwsRefusal(_unanswered(error, attempt, action), UNREADABLE) from error
        except BotoCoreError as error:
            raise CwagentError(_unanswered(error, attempt, action)) from error

    def find(self, action: str, attempt: str, absent: str, **arguments: Any) -> dict[str, Any] | None:
        """Make a reading call; absence is ``None``. :param absent: the error code that means absence."""
        try:
            return self.call(action, attempt, **arguments)
        except AwsRefusal as refusal:
            if refusal.code == absent:
                return None
            raise

    def pages(self, action: str, attempt: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Make a reading call for every page, as long as they are asked for.

        To make a paginator, botocore looks through its descriptions of all services, which takes longer than a page.
        """
        while True:
            page = self.call(action, attempt, **arguments)
            yield page
            next_page = {key: page[key] for key in PAGE_TOKENS if page.get(key)}
            if not next_page:
                return
            if next_page.items() <= arguments.items():
                raise CwagentError(f"Could not {attempt} ({action}): AWS names a page as the one after itself.")
            arguments.update(next_page)

    def execute(self, step: Step) -> None:
        """Make the call of a step; an effect that is already there is as good as done."""
        self.answer(step)

    def answer(self, step: Step, attempts: int = ATTEMPTS) -> dict[str, Any] | None:
        """Make the call of a step and return its answer, ``None`` when its effect was already there."""
        try:
            return self.patiently(
                lambda: self.call(step.action, step.summary, attempts, **_wire(step.arguments)), step.retry_when
            )
        except AwsRefusal as refusal:
            if refusal.code in step.done_when:
                return None
            raise

    def patiently(self, work: Callable[[], T], retry_when: frozenset[str]) -> T:
        """Do something again, as long as AWS refuses it with one of these codes and patience lasts."""
        deadline = Deadline(self._patience)
        while True:
            try:
                return work()
            except AwsRefusal as refusal:
                if refusal.code not in retry_when or not deadline.pause():
                    raise

    def _refusal(self, error: ClientError, attempt: str, action: str) -> AwsRefusal:
        code = error.response["Error"].get("Code", "Unknown")
        message = error.response["Error"].get("Message", "")
        identity = self._identity() if code in DENIED and "User: " not in message else None
        return AwsRefusal(explain(attempt, action, code, message, identity), code, is_explicit(message))

    def _identity(self) -> str | None:
        """Who is calling; AWS answers this to everyone, and is only asked for the sake of an error message."""
        try:
            return str(self.client("sts", 1).get_caller_identity()["Arn"])
        except (BotoCoreError, ClientError):
            return None


def _wire(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A step's arguments as boto3 takes them."""
    sent: dict[str, Any] = {}
    for key, value in arguments.items():
        if key == "tags":
            sent["Tags"] = [{"Key": name, "Value": text} for name, text in value.items()]
        elif key.endswith("_document"):
            sent[_camel(key)] = json.dumps(value)
        elif isinstance(value, dict):
            sent[_camel(key)] = _wire(value)
        else:
            sent[_camel(key)] = value
    return sent


def _camel(name: str) -> str:
    return "".join(ACRONYMS.get(word) or word.title() for word in name.split("_"))


def _unanswered(error: Exception, attempt: str, action: str) -> str:
    failed = f"Could not {attempt} ({action})"
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
        return (
            f"{failed}: no AWS credentials were found ({error}). Give them by the options profile or access_key and "
            "secret_key, by AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them."
        )
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError)):
        return f"{failed}: AWS could not be reached ({error}); check the region, the network and proxies."
    return f"{failed}: {error}"
