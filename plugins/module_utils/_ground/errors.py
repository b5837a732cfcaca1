# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's exceptions, and the message for each kind of failed AWS call.

A message contains the attempt, its object, the reason of the failure and the next step. ``troubleshooting.rst``
explains every exception of this file, and a test checks that.
"""

from __future__ import annotations

import re
from typing import Any

from .text import to_message


class CwagentError(Exception):
    """A failure whose message is meant for the user. Its subclasses are the kinds of failure.

    :param message: the attempt, its object, the reason of the failure and the next step.
    :param details: further result keys for ``fail_json``, such as the steps that were taken before the failure.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(to_message(message))  # it can repeat whatever a user, AWS or a server has chosen
        self.details = details

    def to_result(self) -> dict[str, Any]:
        """Return the result of a task that failed. An error without steps was raised before there were any."""
        return {"changed": False, "steps": [], **self.details, "failed": True, "msg": str(self)}


class InvalidInput(CwagentError):
    """The user asked for something that cannot be done. Raised before the first write, so nothing was written."""


class ContentionError(CwagentError):
    """Another run, or a person, holds what this run needs. Unlike ``InvalidInput``, the same input can work later."""


class AwsApiError(CwagentError):
    """AWS answered a call with an error.

    :param code: the error code of AWS, such as ``NoSuchEntity``.
    :param action: the IAM action of the call, such as ``iam:GetRole``.
    :param explicit_deny: whether a policy denies the call, an organization's for instance; otherwise none allows it.
    """

    def __init__(self, message: str, code: str, action: str = "", explicit_deny: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.action = action
        self.explicit_deny = explicit_deny


class PartialFailure(CwagentError):
    """A step that changes several things succeeded for some of them only.

    :param done: the summary of the step for the things that it changed, or an empty text if there are none.
    :param not_done: the summary of the step for the others.
    """

    def __init__(self, message: str, done: str, not_done: str, **details: Any) -> None:
        super().__init__(message, **details)
        self.done = done
        self.not_done = not_done


class StaleStateError(CwagentError):
    """A step met a state that differs from the one that was read. Reading and planning again can solve that."""


class ConsistencyTimeout(CwagentError):
    """Everything was written, but AWS did not show it in time. Unlike after an ``AwsApiError``, no call failed."""


class HostUnreachable(CwagentError):
    """A host did not answer, so it is not known which part of its work was done."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The host does not answer: {reason.strip()}")
        self.reason = reason


DENIED_CODES = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Client.UnauthorizedOperation"}
)
# A permission that was granted, or an access key that was activated, a moment ago is not known everywhere yet.
PERMISSION_RETRY_CODES = DENIED_CODES | {"UnrecognizedClientException", "InvalidClientTokenId"}
THROTTLING_CODES = frozenset(
    {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"}
)
# Only the admin window and the restore records are written with these calls to a principal that can be missing.
MISSING_ADMIN_PRINCIPAL = {
    (action, "NoSuchEntity") for action in ("iam:PutRolePolicy", "iam:PutUserPolicy", "iam:TagRole")
}
# The admin window denies these to its principal while it is closed, and all but the first while it is open.
WINDOW_ACTIONS = frozenset(
    {
        "ssm:PutParameter",
        "ssm:DeleteParameter",
        "ssm:DeleteParameters",
        "ssm:LabelParameterVersion",
        "ssm:UnlabelParameterVersion",
    }
)
# The characters of all inline policies of a principal together, without white space.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
INLINE_POLICY_LIMITS = {"role": 10_240, "user": 2_048}
# Stands in for the error code if the answer of an endpoint is not in the format of the API, such as a web page.
UNREADABLE_RESPONSE = "unreadable response"
# The endpoints of some partitions do not have every operation.
NOT_OFFERED_CODES = frozenset({"InvalidAction", "UnknownOperationException", "NotImplemented", UNREADABLE_RESPONSE})
BAD_CREDENTIALS_CODES = frozenset(
    {
        "InvalidClientTokenId",
        "AuthFailure",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "InvalidToken",
    }
)
# Of these, AWS does not know the access key or the token. STS forgets the keys of a session after its end.
KEY_CODES = BAD_CREDENTIALS_CODES - {"SignatureDoesNotMatch", "InvalidSignatureException"}
CLOCK_CODES = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
# STS and Systems Manager answer a wrong clock with the code of a wrong secret.
_CLOCK = re.compile("Signature (expired|not yet current)")
EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
# EC2 answers so in a region that the account enabled, to a session from the global endpoint of STS; otherwise the
# credentials are wrong.
OPT_IN_CODE = "AuthFailure"
# Stands in for NoSuchEntity if the policy is missing and not the role or user. It does not pass by itself.
MISSING_POLICY = "NoSuchEntity: policy"
# Stands in for LimitExceeded if a managed policy has as many versions as IAM keeps, which other runs can have created.
# No other limit passes by itself.
TOO_MANY_VERSIONS = "LimitExceeded: versions"
# Stands in for ValidationException if Systems Manager does not know the role of an activation, or not its trust policy.
UNKNOWN_ROLE = "ValidationException: role"
# AWS words a denied call as "User: ARN is not authorized to perform: ACTION on resource: ARN ... because ..."; the part
# after "because" tells a missing Allow from an explicit Deny.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_IDENTITY = r"User: (\S+) is not authorized"
_ACTION = r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)"
_RESOURCE = r"on resource: (.+?)(?= because | with an explicit deny|\. |[.\s]*$)"
_ORGANIZATION = r"in an? (?:service control|resource control) policy"
# If Parameter Store or Secrets Manager cannot use the KMS key, the message contains no action.
_KMS = r"^(The ciphertext refers to|Access to KMS is not allowed)"
_REASON = r"\bbecause (no [^.]*)"
_REPAIRING_FILES = "provision.json, store-configuration.json or restore.json"
# With one of them alone, the next run is denied the other action.
_EARLIER = (
    "For the profile that an instance had before, replace NAME-OF-AN-EARLIER-PROFILE and "
    f"ROLE-OF-AN-EARLIER-PROFILE in {_REPAIRING_FILES}"
)
_EARLIER_PROFILE = f"its condition ec2:NewInstanceProfile. {_EARLIER}"
_APPLICATION_ROLE = (
    "its Resource. For the role of an application, replace NAME-OF-AN-APPLICATION-ROLE in provision.json, "
    "remove-servers.json or teardown.json"
)
_OWN_KEY = (
    "its Resource and its condition kms:ViaService. For your own key, replace ID-OF-YOUR-KEY in "
    "keys-in-parameter-store.json or keys-in-secrets-manager.json"
)
# By action, what limits it in the example policies, and the text there that everyone has to replace. Each hint names
# its object, because the same action can be denied for another one.
_POLICY_HINTS = {
    **dict.fromkeys(("ec2:AssociateIamInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation"), _EARLIER_PROFILE),
    "iam:PassRole": f"its Resource. {_EARLIER}",
    **dict.fromkeys((f"iam:{name}" for name in ("AttachRolePolicy", "DetachRolePolicy")), _APPLICATION_ROLE),
    **dict.fromkeys((f"iam:{name}" for name in ("TagRole", "UntagRole")), _APPLICATION_ROLE),
    **dict.fromkeys(
        (f"iam:{name}" for name in ("CreatePolicy", "CreatePolicyVersion")),
        "its Resource. fitted-policies.json has the names of the fitted policies",
    ),
    **dict.fromkeys((f"kms:{name}" for name in ("Decrypt", "Encrypt", "GenerateDataKey")), _OWN_KEY),
    "ssm:LabelParameterVersion": "its Resource. label-versions.json has one for all configurations",
    "ssm:SendCommand": (
        "its Resource. To store, replace ID-OF-THE-ADMIN-INSTANCE in store-by-run-command.json, or give the instance "
        "the tag cwagent-admin that store-by-run-command-by-tag.json requires"
    ),
}
# No example policy grants these, because they are too powerful for the controller: permissions.rst, "Excluded
# permissions".
BOUNDARY_ACTIONS = frozenset(
    f"iam:{verb}{kind}PermissionsBoundary" for verb in ("Delete", "Put") for kind in ("Role", "User")
)
EXCLUDED_ACTIONS = BOUNDARY_ACTIONS | {
    "iam:DeactivateMFADevice",
    "iam:DeleteLoginProfile",
    "iam:DeleteSSHPublicKey",
    "iam:DeleteServiceSpecificCredential",
    "iam:DeleteSigningCertificate",
    "iam:DeleteVirtualMFADevice",
    "iam:RemoveUserFromGroup",
}
_AS_ADMINISTRATOR = "Run once with the credentials of an administrator of the account instead."
# By action that the example policies grant for one purpose, another purpose that the guide excludes.
_EXCLUDED_USES = {
    **dict.fromkeys(
        ("iam:DeleteRolePolicy", "iam:DeleteUserPolicy"),
        " Of the example policies, only teardown.json grants it. To remove an admin window, do not grant it. "
        f"{_AS_ADMINISTRATOR}",
    ),
    **dict.fromkeys(
        ("iam:UntagRole", "iam:UntagUser"),
        " The example policies grant it only for tags of this collection. To remove other tags, do not grant it. "
        f"{_AS_ADMINISTRATOR}",
    ),
}
_WRITES_CONFIGURATION = (
    " It can then write configurations at any time. Without cwagent_store_config_from=controller, only the admin "
    "principals need that, and cwagent.iam.site attaches their policy."
)
# require-boundary.json denies these, as long as the role or user lacks the boundary.
BOUNDED_ACTIONS = frozenset(
    {
        *(f"iam:Create{kind}" for kind in ("Role", "User")),
        *(f"iam:{verb}{kind}Policy" for verb in ("Attach", "Put") for kind in ("Role", "User")),
        "iam:UpdateAssumeRolePolicy",
    }
)
# It denies these for every boundary, and for the policy that is the boundary.
KEPT_ACTIONS = BOUNDARY_ACTIONS | {
    f"iam:{name}" for name in ("CreatePolicyVersion", "DeletePolicy", "DeletePolicyVersion", "SetDefaultPolicyVersion")
}


_MALFORMED = (
    " A name in a configuration, such as a log group, has characters that IAM does not allow. Correct it, or leave the "
    "parameter out (ignored_parameters, in the playbooks cwagent_ignored_parameters)."
)
# By call and error code, what to do about a fitted policy.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_POLICY_ADVICE = {
    ("iam:CreatePolicy", "LimitExceeded"): (
        " By default, an account has at most 1,500 managed policies, each of 6,144 characters at most. Delete policies "
        "that nothing uses, or request a higher quota. With cwagent_server_policy=aws, none is created."
    ),
    ("iam:CreatePolicyVersion", "LimitExceeded"): (
        " IAM counts the characters of a policy, 6,144 at most, and the versions of all policies of the account. Let "
        "configurations share log groups, delete policies that nothing uses, or request a higher quota."
    ),
    ("iam:CreatePolicyVersion", TOO_MANY_VERSIONS): (
        " IAM keeps five versions of a policy, and other runs have just created some of them. Run again later."
    ),
    ("iam:TagPolicy", "LimitExceeded"): (
        " IAM allows 50 tags. Runs that store use some of them for a day. Remove other tags from the policy."
    ),
    ("iam:CreatePolicy", "MalformedPolicyDocument"): _MALFORMED,
    ("iam:CreatePolicyVersion", "MalformedPolicyDocument"): _MALFORMED,
}


def is_explicit_deny(message: str) -> bool:
    """Whether the message of a denied call reports an explicit Deny in a policy."""
    return "explicit deny" in message


def error_code(code: str, message: str) -> str:
    """Return the code of an answer, or a separate code for what the same code does not tell apart.

    IAM has one code for all entities and one for all limits, and Systems Manager has one for all mistakes.
    """
    if code in BAD_CREDENTIALS_CODES and _CLOCK.match(message):
        return "RequestTimeTooSkewed"
    if code == "NoSuchEntity" and re.match(r"Policy \S+ (does not exist|was not found)", message):
        return MISSING_POLICY
    if code == "LimitExceeded" and re.match(r"A managed policy can have \D*\d+ versions", message):
        return TOO_MANY_VERSIONS
    if code == "ValidationException" and re.match("(Nonexistent|Not existing) role", message):
        return UNKNOWN_ROLE
    return code


def explain(
    description: str,
    action: str,
    code: str,
    message: str,
    identity: str | None = None,
    *,
    machine: str = "this machine",
) -> str:
    """Return the message for the user when AWS answers with an error.

    :param description: the attempt and its object, such as ``create role 'X'``.
    :param action: the IAM action of the call, such as ``iam:CreateRole``.
    :param code: the error code in the answer.
    :param message: the message in the answer.
    :param identity: the caller's ARN, if it is known from elsewhere. Not every answer of AWS contains it.
    :param machine: the machine that has made the call.
    """
    failed = f"Could not {description} ({action})"
    if code in DENIED_CODES:
        return f"{failed}: access denied. {_explain_denial(action, message, identity)}"
    if code in THROTTLING_CODES:
        return f"{failed}: AWS throttled the call ({code}) and every retry of it. Run again later to finish."
    if code == MISSING_POLICY:
        return f"{failed}: {_explain_missing_policy(message)}"
    if code in CLOCK_CODES | EXPIRED_CODES | BAD_CREDENTIALS_CODES:
        return f"{failed}: {_explain_credentials(action, code, message, machine)}"
    if (action, code) in MISSING_ADMIN_PRINCIPAL:
        return f"{failed}: {message} ({code}). Run the playbook cwagent.iam.site first; it creates the admin principal."
    if (action, code) in {("iam:PutRolePolicy", "LimitExceeded"), ("iam:PutUserPolicy", "LimitExceeded")}:
        return f"{failed}: {message} ({code}). {explain_policy_limit('role' if 'Role' in action else 'user')}"
    advice = _POLICY_ADVICE.get((action, code), "")
    return f"{failed}: {message.rstrip('.') if advice else message} ({code}).{advice}"


def explain_policy_limit(kind: str) -> str:
    """Return IAM's limit for the inline policies of a principal, with the ways to stay below it.

    :param kind: ``role`` or ``user``.
    """
    return (
        f"IAM allows {INLINE_POLICY_LIMITS[kind]:,} characters without white space in all inline policies of a {kind} "
        f"together. Store fewer parameters in a run, or remove other inline policies from the {kind}."
    )


def _explain_missing_policy(message: str) -> str:
    found = re.search(r"arn:([\w-]+):iam::aws:policy/(?:\S+/)?([^\s/]+)", message)
    if found is None:
        return f"{message} Give the ARN of a policy that exists."
    partition, name = found.groups()
    return (
        f"the policy {name} of AWS does not exist in partition {partition} ({message.rstrip('.')}). AWS does not offer "
        "every policy in every partition. For ssm_policy, choose another one, or none. Without the policy of the admin "
        "principals, use the roles for servers alone, ec2_server and onprem_server, and store the configurations from "
        "the controller: cwagent_store_config_from=controller."
    )


def _explain_credentials(action: str, code: str, message: str, machine: str) -> str:
    if code in CLOCK_CODES:
        return f"the clock of {machine} differs from the one of AWS ({message}). Set it, for instance with NTP."
    if code in EXPIRED_CODES:
        return f"the session of the credentials in use has expired ({code}). Sign in again, then run again."
    refused = f"AWS did not accept the credentials in use ({code}: {message})."
    if code == OPT_IN_CODE and action.startswith("ec2:"):
        return (
            f"{refused} If other regions accept them, enable this region for the account, or set "
            "AWS_STS_REGIONAL_ENDPOINTS=regional: sessions from the global endpoint of STS are not valid in regions "
            "that must be enabled."
        )
    if code in KEY_CODES:
        return (
            f"{refused} If a session provided them, it may have expired: sign in again. Otherwise, check the "
            "access key. Then run again."
        )
    return f"{refused} Check them and run again."


# The messages of amazon.aws and botocore for credentials that make no client, with a remedy.
_NO_CLIENT = {
    "Passing both a profile and access tokens is not supported": (
        "the task has both a profile and an access key, as options or from the environment, and AWS takes only one of "
        "them. Unset AWS_PROFILE, or unset AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. An empty "
        "option, such as access_key: '', also hides a variable of the environment."
    ),
    r"The config profile \(.*\) could not be found": (
        r"\g<0>. Create it in ~/.aws/config, or correct the option profile or AWS_PROFILE."
    ),
}


def explain_connection(message: str) -> str:
    """Return the message for credentials with which amazon.aws makes no client, with what to do if it is known."""
    for pattern, explanation in _NO_CLIENT.items():
        if found := re.search(pattern, message):
            return f"Could not connect to AWS: {found.expand(explanation)}"
    return message


def root_advice(error: OSError) -> str:
    """Return what to do about an error of the file system, if permissions are its cause."""
    return " The task needs the permissions of root (become: true)." if isinstance(error, PermissionError) else ""


def _explain_denial(action: str, message: str, identity: str | None) -> str:
    named = re.search(_IDENTITY, message)
    who = named.group(1) if named else identity
    found = re.search(_ACTION, message)
    needed = found.group(1) if found else "kms:Decrypt" if re.search(_KMS, message) else action
    resource = re.search(_RESOURCE, message)
    where = f" on {resource.group(1)}" if resource else ""
    if is_explicit_deny(message) and needed in WINDOW_ACTIONS and not re.search(_ORGANIZATION, message):
        # Never advise to remove the window's Deny, because it protects Parameter Store.
        return (
            f"A policy explicitly denies {needed}{where} to {who or 'the identity in use'}. If that is an admin "
            "principal, its admin window is closed or has expired, or is open for another instance or parameter: "
            "another run or a person closed or opened it, or its deadline passed. Run again, which opens it. Any other "
            f"identity needs a policy that allows {needed}."
        )
    if is_explicit_deny(message):
        return f"A policy explicitly denies {needed}{where} to {who or 'the identity in use'}. {_explain_deny(needed)}"
    # Not always the identity's own policies lack the Allow: a boundary or an organization's policy can lack it too.
    reason = re.search(_REASON, message)
    because = f" ({reason.group(1).strip()})" if reason else ""
    if re.search(_KMS, message):
        because = f" ({message.rstrip('.')})"
    limit = _POLICY_HINTS.get(needed, "the Resource and Condition there" if because else "")
    can_be_limited = limit and (not reason or "identity-based" in because)
    hint = f" If a policy already grants it, check {limit}." if can_be_limited else ""
    lacks = f"{who or 'The identity in use'} lacks {needed}{where}{because}."
    if needed in EXCLUDED_ACTIONS:
        return (
            f"{lacks} No example policy grants {needed}, because it is too powerful for the controller. "
            f"{_AS_ADMINISTRATOR}"
        )
    excluded = _EXCLUDED_USES.get(needed, "")
    if needed == "ssm:PutParameter" and ":parameter/AmazonCloudWatch-" in where:
        excluded = _WRITES_CONFIGURATION
    return f"{lacks} Grant {needed} to it and run again.{hint}{excluded}"


def _explain_deny(action: str) -> str:
    """Return what to do about an explicit Deny that is not the admin window's."""
    remedy = f"Remove that Deny and allow {action}, then run again."
    if action in BOUNDED_ACTIONS:
        return (
            "The Deny of require-boundary.json protects the account, so keep it, and set cwagent_permissions_boundary. "
            "If the role or user exists without the boundary, run the playbook cwagent.iam.site once with that "
            "variable and the credentials of an administrator of the account. Otherwise, another policy denies it. "
            f"{remedy}"
        )
    if action in KEPT_ACTIONS:
        return (
            f"The Deny of require-boundary.json protects the boundary, so keep it. {_AS_ADMINISTRATOR} Otherwise, "
            f"another policy denies it. {remedy}"
        )
    return remedy
