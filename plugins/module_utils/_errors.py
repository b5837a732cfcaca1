# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user reads when something went wrong: what was attempted, why it failed, what to do next."""

from __future__ import annotations

import re

DENIED_CODES = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Client.UnauthorizedOperation"}
)
# A right that was given, or a key that was activated, a moment ago takes time to be known everywhere.
PERMISSION_RETRY_CODES = DENIED_CODES | {"UnrecognizedClientException", "InvalidClientTokenId"}
THROTTLING_CODES = frozenset(
    {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"}
)
# Only the admin window is written with these.
WITHOUT_ADMINISTRATOR = {("iam:PutRolePolicy", "NoSuchEntity"), ("iam:PutUserPolicy", "NoSuchEntity")}
# What an endpoint answers that has no such operation, as those of some partitions; or it answers with a page of text.
UNREADABLE_RESPONSE = "unreadable"
NOT_OFFERED_CODES = frozenset({"InvalidAction", "UnknownOperationException", "NotImplemented", UNREADABLE_RESPONSE})
BAD_CREDENTIALS_CODES = frozenset(
    {
        "InvalidClientTokenId",
        "AuthFailure",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "InvalidToken",
    }
)
# AWS words a refusal as "User: ARN is not authorized to perform: ACTION on resource: ARN ... because ..."; the part
# after "because" tells a missing Allow from an explicit Deny.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_IDENTITY = r"User: (\S+) is not authorized"
_ACTION = r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)"
_RESOURCE = r"on resource: (.+?)(?= because | with an explicit deny|\. |[.\s]*$)"
_REASON = r"\bbecause (no [^.]*)"


class CwagentError(Exception):
    """A failure whose text is meant for the user.

    :param message: what was attempted, on what, why it failed and what to do next.
    :param details: further result keys for ``fail_json``, such as what was done before the failure.
    """

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details = details


class AwsApiError(CwagentError):
    """AWS answered a call with an error.

    :param code: the error code AWS gave, such as ``NoSuchEntity``.
    :param explicit_deny: whether a policy denies the call, an organization's for instance, and not only none allows it.
    """

    def __init__(self, message: str, code: str, explicit_deny: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.explicit_deny = explicit_deny


class InvalidInput(CwagentError):
    """The user asked for something that cannot be; found before anything was written."""


def is_explicit_deny(message: str) -> bool:
    """Whether AWS says in a refusal that a policy denies the call."""
    return "explicit deny" in message


def explain(description: str, action: str, code: str, message: str, identity: str | None = None) -> str:
    """Word an error answer of AWS for the user.

    :param description: what was attempted, on what, such as ``create role 'X'``.
    :param action: the IAM action of the call, such as ``iam:CreateRole``.
    :param code: the error code in the answer.
    :param message: the message in the answer.
    :param identity: the caller's ARN, if it is known from elsewhere; AWS does not name it in every refusal.
    """
    failed = f"Could not {description} ({action})"
    if code in DENIED_CODES:
        named = re.search(_IDENTITY, message)
        who = named.group(1) if named else identity or "the identity in use"
        found = re.search(_ACTION, message)
        needed = found.group(1) if found else action
        resource = re.search(_RESOURCE, message)
        where = f" on {resource.group(1)}" if resource else ""
        if is_explicit_deny(message):
            return (
                f"{failed}: access denied. A policy explicitly denies {needed}{where} to {who}; "
                f"lift that Deny and allow {needed}, then run again."
            )
        # Not always the identity's own policies: a boundary or an organization's policy can be what lacks the Allow.
        reason = re.search(_REASON, message)
        because = f" ({reason.group(1).strip()})" if reason else ""
        return f"{failed}: access denied. {who} lacks {needed}{where}{because}; grant {needed} to it and run again."
    if code in THROTTLING_CODES:
        return f"{failed}: AWS throttled the call ({code}) and every retry of it; run again later to finish."
    if code in BAD_CREDENTIALS_CODES:
        return f"{failed}: AWS did not accept the credentials in use ({code}: {message}); check them and run again."
    if (action, code) in WITHOUT_ADMINISTRATOR:
        return f"{failed}: {message} ({code}). The playbook cwagent.iam.site makes the administrator; run it first."
    return f"{failed}: {message} ({code})."
