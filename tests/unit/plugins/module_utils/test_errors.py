from __future__ import annotations

import re

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._errors import explain

ROLE = "arn:aws:sts::123456789012:assumed-role/deploy/session"
OTHERWISE_KNOWN = "arn:aws:iam::123456789012:user/caller"
ME = "arn:aws:iam::123456789012:user/me"
ON_ROLE = "arn:aws:iam::123456789012:role/R"
INSTANCE = "arn:aws:ec2:eu-central-1:123456789012:instance/i-1"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/AmazonCloudWatch-linux"


def error(who: str, action: str, resource: str, why: str) -> str:
    return f"User: {who} is not authorized to perform: {action} on resource: {resource} {why.format(action)}"


CREATE = ("create role 'R'", "iam:CreateRole")
PUT_ON = ("put it on", "ec2:AssociateIamInstanceProfile", "UnauthorizedOperation")
STORE = ("store it", "ssm:PutParameter", "AccessDeniedException")
EC2_SAYS = "You are not authorized to perform this operation. "
NO_POLICY = "because no identity-based policy allows the {} action"
NO_BOUNDARY = "because no permissions boundary allows the {} action"
NO_SCP = "because no service control policy allows the {} action"
EXPIRED = "The security token included in the request is expired"


def lacks(who: str, action: str, where: str = "", why: str = "") -> str:
    because = f" ({why.removeprefix('because ').format(action)})" if why else ""
    return f"access denied. {who} lacks {action}{where}{because}; grant {action} to it and run again."


CASES = {
    "IAM": (
        (*CREATE, "AccessDenied"),
        error(ME, "iam:CreateRole", ON_ROLE, NO_POLICY),
        lacks(ME, "iam:CreateRole", f" on {ON_ROLE}", NO_POLICY),
    ),
    "EC2": (
        PUT_ON,
        EC2_SAYS + error(ROLE, PUT_ON[1], INSTANCE, NO_POLICY),
        lacks(ROLE, PUT_ON[1], f" on {INSTANCE}", NO_POLICY),
    ),
    "EC2, encoded": (
        PUT_ON,
        EC2_SAYS + "Encoded authorization failure message: 3DUk8xyz",
        lacks(OTHERWISE_KNOWN, PUT_ON[1]),
    ),
    "the role cannot be passed": (
        PUT_ON,
        EC2_SAYS + error(ROLE, "iam:PassRole", ON_ROLE, NO_POLICY),
        lacks(ROLE, "iam:PassRole", f" on {ON_ROLE}", NO_POLICY),
    ),
    "SSM": (
        STORE,
        error(ROLE, "ssm:PutParameter", PARAMETER, NO_POLICY),
        lacks(ROLE, "ssm:PutParameter", f" on {PARAMETER}", NO_POLICY),
    ),
    "the boundary lacks it": (
        (*CREATE, "AccessDenied"),
        error(ME, "iam:CreateRole", ON_ROLE, NO_BOUNDARY),
        lacks(ME, "iam:CreateRole", f" on {ON_ROLE}", NO_BOUNDARY),
    ),
    "the organization's policy lacks it, and more is told": (
        PUT_ON,
        EC2_SAYS + error(ROLE, PUT_ON[1], INSTANCE, NO_SCP) + ". Encoded authorization failure message: 3DUk8xyz",
        lacks(ROLE, PUT_ON[1], f" on {INSTANCE}", NO_SCP),
    ),
    "IAM, of a role by its name": (
        ("read role 'R'", "iam:GetRole", "AccessDenied"),
        error(ME, "iam:GetRole", "role R", NO_POLICY),
        lacks(ME, "iam:GetRole", " on role R", NO_POLICY),
    ),
    "IAM, of a key": (
        ("read it", "iam:GetAccessKeyLastUsed", "AccessDenied"),
        error(ME, "iam:GetAccessKeyLastUsed", "access key AKIAIOSFODNN7EXAMPLE", ""),
        lacks(ME, "iam:GetAccessKeyLastUsed", " on access key AKIAIOSFODNN7EXAMPLE"),
    ),
    "no reason told": (
        (*CREATE, "AccessDenied"),
        error(ME, "iam:CreateRole", ON_ROLE, ""),
        lacks(ME, "iam:CreateRole", f" on {ON_ROLE}"),
    ),
    "explicit deny": (
        STORE,
        error(ROLE, "ssm:PutParameter", PARAMETER, "with an explicit deny in an identity-based policy"),
        (
            f"access denied. A policy explicitly denies ssm:PutParameter on {PARAMETER} to {ROLE}; lift that Deny and "
            "allow ssm:PutParameter, then run again."
        ),
    ),
    "throttled": (
        (*CREATE, "Throttling"),
        "Rate exceeded",
        "AWS throttled the call (Throttling) and every retry of it; run again later to finish.",
    ),
    "expired": (
        (*CREATE, "ExpiredToken"),
        EXPIRED,
        f"AWS did not accept the credentials in use (ExpiredToken: {EXPIRED}); check them and run again.",
    ),
    "anything else": ((*CREATE, "LimitExceeded"), "Cannot exceed quota.", "Cannot exceed quota. (LimitExceeded)."),
}


@pytest.mark.parametrize(("call", "message", "text"), CASES.values(), ids=CASES)
def test_explain(call, message, text):
    description, action, _code = call
    assert explain(*call, message, identity=OTHERWISE_KNOWN) == f"Could not {description} ({action}): {text}"


def test_explain_without_any_identity():
    text = explain("do it", "ec2:X", "UnauthorizedOperation", "You are not authorized to perform this operation.")
    assert text == (
        "Could not do it (ec2:X): access denied. the identity in use lacks ec2:X; grant ec2:X to it and run again."
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "access denied"),
        ("AccessDeniedException", "access denied"),
        ("UnauthorizedOperation", "access denied"),
        ("ThrottlingException", "throttled"),
        ("RequestLimitExceeded", "throttled"),
        ("InvalidClientTokenId", "did not accept the credentials"),
        ("AuthFailure", "did not accept the credentials"),
        ("UnrecognizedClientException", "did not accept the credentials"),
        ("SignatureDoesNotMatch", "did not accept the credentials"),
        ("ExpiredTokenException", "did not accept the credentials"),
        ("RequestExpired", "did not accept the credentials"),
        ("MalformedPolicyDocument", r"x \(MalformedPolicyDocument\)"),
    ],
)
def test_codes(code, words):
    assert re.search(words, explain("do it", "iam:X", code, "x"))
