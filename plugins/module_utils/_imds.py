# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the identity and the credentials of an instance from its metadata service (version 2, with a token)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url

from ansible_collections.cwagent.iam.plugins.module_utils._errors import ConsistencyTimeout, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._names import describe_profile, name_of
from ansible_collections.cwagent.iam.plugins.module_utils._signature import Keys
from ansible_collections.cwagent.iam.plugins.module_utils._text import to_printable

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
ADDRESS = "http://169.254.169.254"
ADDRESS_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
TIMEOUT_SECONDS = 5
NOT_FOUND = 404
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
        role = self._role()
        document = self._credentials(role) if role else {}
        profile = None if arn is None else name_of(arn)
        return Identity(
            profile,
            role if document.keys() >= {*KEYS} else None,
            _problem(info) or _problem(document),
            document.get("Code") == REFUSED,
        )

    def check_instance(self, expected: str) -> None:
        """Check the ID of the instance. :raises CwagentError: it is another instance."""
        found = (self._get("instance-id") or expected).strip()
        if found != expected:
            raise CwagentError(
                f"This is instance {to_printable(found)}, and instance_id is {expected}. Check the address of the host "
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
        if {*KEYS} - document.keys():
            reason = _problem(document) or "its metadata service shows no role"
            raise CwagentError(f"This instance has no credentials: {reason}.")
        return Keys(*(document[key] for key in KEYS))

    def _role(self) -> str:
        return (self._get("iam/security-credentials/") or "").strip()

    def _credentials(self, role: str) -> dict[str, Any]:
        return self._document(f"iam/security-credentials/{role}")

    def _document(self, path: str) -> dict[str, Any]:
        text = self._get(path) or "{}"
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise CwagentError(
                f"The instance metadata service did not return an object in JSON for {path}, but {text[:80]!r}. Check "
                f"what answers at {self._address}."
            )
        return document

    def _get(self, path: str) -> str | None:
        if self._token is None:
            self._token = self._request(
                "PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
            )
        return self._request("GET", f"meta-data/{path}", {"X-aws-ec2-metadata-token": self._token or ""})

    def _request(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        url = f"{self._address}/latest/{path}"
        try:
            with open_url(url, method=method, headers=headers, timeout=TIMEOUT_SECONDS, use_proxy=False) as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            if error.code == NOT_FOUND:
                return None
            self._token = None  # the service can have rejected the token
            raise CwagentError(f"The instance metadata service returned HTTP {error.code} for {url}.") from error
        except (URLError, OSError, HTTPException, ValueError) as error:
            raise CwagentError(
                f"The instance metadata service does not answer at {self._address} ({error}). It answers only on an "
                "EC2 instance, and only where its HttpEndpoint is enabled."
            ) from error


def _problem(document: dict[str, Any]) -> str:
    """Return the failure that a document of the service reports; empty if there is none.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html
    """
    code, message = document.get("Code", SUCCESS), document.get("Message", "")
    return "" if code == SUCCESS else f"{message.rstrip('.')} ({code})" if message else str(code)


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
