# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the identity and the credentials of an instance from its metadata service (version 2, with a token)."""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from threading import Timer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._ground.errors import ConsistencyTimeout, CwagentError
from .._ground.names import describe_profile, name_of
from .._ground.signed_call import Keys
from .._ground.text import quote, shorten

if TYPE_CHECKING:
    from .._ground.wait import Deadline


# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
ADDRESS = "http://169.254.169.254"
ADDRESS_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
# For a whole answer, however slowly it comes. The service answers within milliseconds.
TIMEOUT_SECONDS = 5
# The longest document of the service, the credentials, has less than two thousand.
MAX_BYTES = 65_536
OK, NOT_FOUND = 200, 404
# The values in the lists and documents of the service.
_ROLE = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
_PROFILE_ARN = re.compile(r"arn:[\w-]+:iam::\d*:instance-profile/[!-~]{1,640}", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+")
_LATE = f"no complete answer within {TIMEOUT_SECONDS} seconds"
SUCCESS, REFUSED = "Success", "AssumeRoleUnauthorizedAccess"
REFUSED_SECONDS = 15.0
# The credentials in a document.
KEYS = ("AccessKeyId", "SecretAccessKey", "Token")
TOKEN_SECONDS = 21600  # the maximum, so that the token does not expire during a wait


@dataclass(frozen=True)
class Identity:
    """The identity of an instance.

    :param profile: the instance profile that is associated with it.
    :param role: the role whose credentials it gets.
    :param problem: why it does not get them, as the service reports it.
    :param is_refused: whether the reason is that EC2 was not allowed to assume the role. This happens for a while after
        the role was created.
    """

    profile: str | None = None
    role: str | None = None
    problem: str = ""
    is_refused: bool = False


class MetadataService:
    """The metadata service of the instance this runs on.

    AWS SDKs read the address from the same environment variable. Hosts that reach the service through a relay set it.
    """

    def __init__(self) -> None:
        self._address = os.environ.get(ADDRESS_VARIABLE, ADDRESS).rstrip("/")
        self._token: str | None = None

    def identity(self) -> Identity:
        """Read the current identity; it is empty if the instance has no profile.

        Until EC2 knows a new profile and its role, the documents of the service contain only a ``Code`` for that. AWS
        does not promise that both documents change at once, so the role can belong to another profile.

        :raises CwagentError: the service did not answer, or answered with an error.
        """
        info = self._document("iam/info")
        arn = info.get("InstanceProfileArn")
        if arn is not None and not (isinstance(arn, str) and _PROFILE_ARN.fullmatch(arn)):
            raise self._unexpected("the ARN of an instance profile", "iam/info", arn)
        role = self._role()
        document = self._credentials(role) if role else {}
        return Identity(
            None if arn is None else name_of(arn),
            role if _find_keys(document) else None,
            _problem(info) or _problem(document),
            document.get("Code") == REFUSED,
        )

    def check_instance(self, expected: str) -> None:
        """Check the ID of the instance. :raises CwagentError: it is another instance."""
        found = (self._get("instance-id") or expected).strip()
        if found != expected:
            raise CwagentError(
                f"This is instance {shorten(found)}, and instance_id is {expected}. Check the address of the host "
                "and its instance_id."
            )

    def credentials(self, expected_role: str | None = None) -> Keys:
        """Read the credentials of the instance.

        :param expected_role: the role that they must belong to; ``None`` accepts any.
        :raises CwagentError: there are none, or they belong to another role, or the service did not answer.
        """
        role = self._role()
        if expected_role and role and role != expected_role:
            raise CwagentError(
                f"This instance has the credentials of role '{role}', not of role '{expected_role}'. If another run or "
                "a person has restored it, run again when nobody else uses it."
            )
        document = self._credentials(role) if role else {}
        keys = _find_keys(document)
        if keys is None:
            reason = _problem(document) or "its metadata service shows no role"
            raise CwagentError(f"This instance has no credentials: {reason}.")
        return keys

    def _role(self) -> str:
        path = "iam/security-credentials/"
        role = (self._get(path) or "").strip()
        if role and not _ROLE.fullmatch(role):
            raise self._unexpected("the name of a role", path, role)
        return role

    def _credentials(self, role: str) -> dict[str, Any]:
        return self._document(f"iam/security-credentials/{role}")

    def _document(self, path: str) -> dict[str, Any]:
        text = self._get(path) or "{}"
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self._unexpected("an object in JSON", path, text)
        return document

    def _unexpected(self, expected: str, path: str, found: object) -> CwagentError:
        return CwagentError(
            f"The instance metadata service did not return {expected} for {path}, but {quote(found)}. Check what "
            f"answers at {self._address}."
        )

    def _get(self, path: str) -> str | None:
        if self._token is None:
            self._token = self._request(
                "PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
            )
        return self._request("GET", f"meta-data/{path}", {"X-aws-ec2-metadata-token": self._token or ""})

    def _request(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        """Return the answer to a request; ``None`` if there is no such page. A redirect is no answer."""
        url = f"{self._address}/latest/{path}"
        try:
            status, text = _send(method, url, headers)
        except (OSError, HTTPException, ValueError) as error:
            raise CwagentError(
                f"The instance metadata service does not answer at {self._address} ({shorten(str(error))}). It answers "
                "only on an EC2 instance, and only where its HttpEndpoint is enabled."
            ) from error
        if status == OK:
            return text
        if status == NOT_FOUND:
            return None
        self._token = None  # the service can have rejected the token
        raise CwagentError(f"The instance metadata service returned HTTP {status} for {url}.")


def _send(method: str, url: str, headers: dict[str, str]) -> tuple[int, str]:
    """Send a request without a proxy, and return the status and the beginning of the answer.

    :raises OSError: there is no answer in time. :raises HTTPException: it is not HTTP.
    :raises ValueError: the address or a header is not valid.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("its address does not begin with http:// and a host")
    connection = HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
    with closing(connection):
        connection.connect()
        # The time limit of a socket begins anew with each byte.
        expired: list[bool] = []
        timer = Timer(TIMEOUT_SECONDS, _end_connection, (connection.sock, expired))
        timer.start()
        try:
            connection.request(method, parts.path, headers=headers)
            with connection.getresponse() as answer:
                text = answer.read(MAX_BYTES).decode(errors="replace")
        except (OSError, HTTPException):
            if expired:
                raise TimeoutError(_LATE) from None
            raise
        finally:
            timer.cancel()
        if expired:
            raise TimeoutError(_LATE)
        return answer.status, text


def _end_connection(connection: socket.socket, expired: list[bool]) -> None:
    expired.append(True)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _find_keys(document: dict[str, Any]) -> Keys | None:
    """Return the credentials in a document; ``None`` if one of them is missing, or cannot be sent in a header."""
    values = [document.get(key) for key in KEYS]
    found = [each for each in values if isinstance(each, str) and _VISIBLE.fullmatch(each)]
    return Keys(*found) if len(found) == len(KEYS) else None


def _problem(document: dict[str, Any]) -> str:
    """Return the failure that a document of the service reports; empty if there is none.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html
    """
    code, message = (
        shorten(str(document.get(key) or default)) for key, default in (("Code", SUCCESS), ("Message", ""))
    )
    return "" if code == SUCCESS else f"{message.rstrip('.')} ({code})" if message else code


def wait_for_identity(
    service: MetadataService,
    profile: str | None,
    deadline: Deadline,
    role: str | None = None,
    refused: Deadline | None = None,
) -> Identity:
    """Wait until the instance has the identity of an instance profile, or none.

    The service rejects calls if there are too many, including the calls of other programs, so errors are retried too.

    :param profile: the name of the instance profile; ``None`` for none.
    :param role: the name of the role in it; ``None`` accepts any.
    :param refused: until when to wait while EC2 is not allowed to assume the role, if not until ``deadline``.
    :raises ConsistencyTimeout: the service does not show profile and role before the deadline.
    :raises CwagentError: the service still fails at the deadline.
    """
    while True:
        try:
            current = service.identity()
        except CwagentError:
            if not deadline.pause():
                raise
            continue
        has_role = bool(current.role) if role is None else current.role == role
        if current.profile == profile and (has_role if profile else current.role is None):
            return current
        is_refused = current.profile == profile and current.is_refused
        waiting = refused if refused and is_refused and refused.seconds < deadline.seconds else deadline
        if not waiting.pause():
            if profile and current.profile == profile and current.role is None:
                raise ConsistencyTimeout(
                    f"Waited {waiting.seconds:.0f} seconds for the credentials of {describe_profile(profile)}: "
                    f"{current.problem or 'the instance metadata service shows none'}. EC2 tries again at intervals, "
                    "and at once for a new association: run again, or increase wait_timeout (for the playbooks: "
                    "cwagent_identity_timeout).",
                    role_refused=is_refused,
                )
            credentials = f" and the credentials of role '{current.role}'" if current.role else ""
            raise ConsistencyTimeout(
                f"Waited {deadline.seconds:.0f} seconds for the instance metadata service to show "
                f"{describe_profile(profile)}; it still shows {describe_profile(current.profile)}{credentials}. EC2 "
                "can take minutes: increase wait_timeout (for the playbooks: cwagent_identity_timeout).",
                identity={"instance_profile": current.profile, "role": current.role},
            )
