# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The instance metadata service, as an instance sees itself (version 2, with a session token)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._names import name_of

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Deadline

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
ADDRESS = "http://169.254.169.254"
ADDRESS_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
TIMEOUT_SECONDS = 5
NOT_FOUND = 404
TOKEN_SECONDS = 21600  # the longest there is, so that no wait outlives it


@dataclass(frozen=True)
class Identity:
    """Who an instance is to AWS. :param role: the role whose credentials it gets. :param profile: that holds it."""

    profile: str | None = None
    role: str | None = None


class MetadataService:
    """The metadata service of the instance this runs on.

    boto3 reads its address from the same environment variable, which serves hosts that reach it through a relay.
    """

    def __init__(self) -> None:
        self._address = os.environ.get(ADDRESS_VARIABLE, ADDRESS).rstrip("/")
        self._token: str | None = None

    def identity(self) -> Identity:
        """Who the instance is now; an instance without a profile is nobody.

        Until a new profile or its role has reached EC2, the service has documents that say so in their ``Code`` and
        hold nothing else.

        :raises CwagentError: the service cannot be reached.
        """
        arn = self._document("iam/info").get("InstanceProfileArn")
        if arn is None:
            return Identity()
        role = self._role()
        return Identity(name_of(arn), role if role and "AccessKeyId" in self._credentials(role) else None)

    def credentials(self) -> dict[str, Any]:
        """The instance's credentials as boto3 takes them.

        :raises CwagentError: it has none.
        """
        role = self._role()
        document = self._credentials(role) if role else {}
        if "AccessKeyId" not in document:
            reason = document.get("Message") or document.get("Code") or "its metadata service names no role"
            raise CwagentError(f"This instance has no credentials: {reason}.")
        return {
            "aws_access_key_id": document["AccessKeyId"],
            "aws_secret_access_key": document["SecretAccessKey"],
            "aws_session_token": document["Token"],
        }

    def _role(self) -> str:
        return (self._get("iam/security-credentials/") or "").strip()

    def _credentials(self, role: str) -> dict[str, Any]:
        return self._document(f"iam/security-credentials/{role}")

    def _document(self, path: str) -> dict[str, Any]:
        return dict(json.loads(self._get(path) or "{}"))

    def _get(self, path: str) -> str | None:
        if self._token is None:
            self._token = self._ask("PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)})
        return self._ask("GET", f"meta-data/{path}", {"X-aws-ec2-metadata-token": self._token or ""})

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        url = f"{self._address}/latest/{path}"
        try:
            with open_url(url, method=method, headers=headers, timeout=TIMEOUT_SECONDS, use_proxy=False) as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            if error.code == NOT_FOUND:
                return None
            self._token = None  # it can be what was refused
            raise CwagentError(f"The instance metadata service refused {url}: HTTP {error.code}.") from error
        except (URLError, OSError) as error:
            raise CwagentError(
                f"The instance metadata service does not answer at {self._address} ({error}). It answers only on an "
                "EC2 instance, and only where its HttpEndpoint is enabled."
            ) from error


def wait_for(service: MetadataService, profile: str | None, deadline: Deadline) -> Identity:
    """Wait until the instance sees itself under an instance profile, or under none.

    The service refuses calls when they are too many, of other programs too, so a failure ends the wait only at its end.

    :raises CwagentError: it does not within the deadline.
    """
    while True:
        try:
            current = service.identity()
        except CwagentError:
            if not deadline.pause():
                raise
            continue
        if current.profile == profile and (profile is None or current.role):
            return current
        if not deadline.pause():
            raise CwagentError(
                f"Waited {deadline.seconds:.0f} seconds for this instance to see {_words(profile)}; its metadata "
                f"service still shows {_words(current.profile)}. EC2 can take minutes: raise wait_timeout."
            )


def _words(profile: str | None) -> str:
    return f"instance profile '{profile}'" if profile else "no instance profile"
