from __future__ import annotations

import errno
import re

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    BAD_CREDENTIALS_CODES,
    MISSING_POLICY,
    TOO_MANY_VERSIONS,
    UNKNOWN_ROLE,
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
    InvalidInput,
    StaleStateError,
    error_code,
    explain,
    explain_connection,
    is_explicit_deny,
    root_advice,
)

SESSION = "arn:aws:sts::123456789012:assumed-role/deploy/session"
KNOWN_CALLER = "arn:aws:iam::123456789012:user/caller"
USER = "arn:aws:iam::123456789012:user/me"
ROLE_ARN = "arn:aws:iam::123456789012:role/R"
INSTANCE_ARN = "arn:aws:ec2:eu-central-1:123456789012:instance/i-1"
KMS_ARN = "arn:aws:kms:eu-central-1:123456789012:key/1"
PARAMETER_ARN = "arn:aws:ssm:eu-central-1:123456789012:parameter/AmazonCloudWatch-linux"


def denial(identity: str, action: str, resource: str, reason: str) -> str:
    """The message of AWS for a denied call."""
    return f"User: {identity} is not authorized to perform: {action} on resource: {resource} {reason.format(action)}"


CREATE = ("create role 'R'", "iam:CreateRole")
ASSOCIATE = ("associate it", "ec2:AssociateIamInstanceProfile", "UnauthorizedOperation")
STORE = ("store it", "ssm:PutParameter", "AccessDeniedException")
EC2_PREFIX = "You are not authorized to perform this operation. "
NO_POLICY = "because no identity-based policy allows the {} action"
NO_BOUNDARY = "because no permissions boundary allows the {} action"
NO_SCP = "because no service control policy allows the {} action"
EXPIRED = "The security token included in the request is expired"


EARLIER_FILES = "provision.json, store-configuration.json or restore.json"
EARLIER = (
    "For the profile that an instance had before, replace NAME-OF-AN-EARLIER-PROFILE and ROLE-OF-AN-EARLIER-PROFILE in "
    f"{EARLIER_FILES}"
)
LIMITS = {
    ASSOCIATE[1]: f"its condition ec2:NewInstanceProfile. {EARLIER}",
    "iam:PassRole": f"its Resource. {EARLIER}",
    "kms:Decrypt": (
        "its Resource and its condition kms:ViaService. For your own key, replace ID-OF-YOUR-KEY in "
        "keys-in-parameter-store.json or keys-in-secrets-manager.json"
    ),
}


WRITES = (
    " It can then write configurations at any time. Without cwagent_store_config_from=controller, only the admin "
    "principals need that, and cwagent.iam.site attaches their policy."
)


def missing_permission(identity: str, action: str, where: str = "", reason: str = "") -> str:
    """The end of the message for the user."""
    because = f" ({reason.removeprefix('because ').format(action)})" if reason else ""
    limit = LIMITS.get(action, "the Resource and Condition there" if reason == NO_POLICY else "")
    hint = f" If a policy already grants it, check {limit}." if limit and reason not in (NO_BOUNDARY, NO_SCP) else ""
    writes = WRITES if action == STORE[1] else ""
    return (
        f"access denied. {identity} lacks {action}{where}{because}. Grant {action} to it and run again.{hint}{writes}"
    )


def denied(
    call: tuple[str, ...], identity: str, where: str, *, reason: str = NO_POLICY, action: str = "", start: str = ""
) -> tuple[tuple[str, ...], str, str]:
    """A case of a denied call. :param action: the denied action, if the call has another one."""
    named, shown = action or call[1], f" on {where}"
    call = call if len(call) > 2 else (*call, "AccessDenied")
    return call, start + denial(identity, named, where, reason), missing_permission(identity, named, shown, reason)


READ_KEYS = ("read it", "ssm:GetParameters", "AccessDeniedException")
CIPHERTEXT = "The ciphertext refers to a customer master key that you are not allowed to access"
CASES = {
    "Parameter Store, a KMS key": (
        READ_KEYS,
        f"{CIPHERTEXT}.",
        missing_permission(KNOWN_CALLER, "kms:Decrypt", reason=CIPHERTEXT),
    ),
    "Secrets Manager, a KMS key": (
        ("read it", "secretsmanager:GetSecretValue", "AccessDeniedException"),
        "Access to KMS is not allowed",
        missing_permission(KNOWN_CALLER, "kms:Decrypt", reason="Access to KMS is not allowed"),
    ),
    "Parameter Store, a KMS key, with its ARN": denied(READ_KEYS, USER, KMS_ARN, action="kms:Decrypt"),
    "IAM": denied(CREATE, USER, ROLE_ARN),
    "EC2": denied(ASSOCIATE, SESSION, INSTANCE_ARN, start=EC2_PREFIX),
    "EC2, encoded": (
        ASSOCIATE,
        EC2_PREFIX + "Encoded authorization failure message: 3DUk8xyz",
        missing_permission(KNOWN_CALLER, ASSOCIATE[1]),
    ),
    "PassRole": denied(ASSOCIATE, SESSION, ROLE_ARN, action="iam:PassRole", start=EC2_PREFIX),
    "SSM": denied(STORE, SESSION, PARAMETER_ARN),
    "the permissions boundary lacks it": denied(CREATE, USER, ROLE_ARN, reason=NO_BOUNDARY),
    "the organization's policy lacks it, with an encoded message": (
        ASSOCIATE,
        EC2_PREFIX
        + denial(SESSION, ASSOCIATE[1], INSTANCE_ARN, NO_SCP)
        + ". Encoded authorization failure message: 3DUk8xyz",
        missing_permission(SESSION, ASSOCIATE[1], f" on {INSTANCE_ARN}", NO_SCP),
    ),
    "IAM, role name instead of ARN": denied(("read role 'R'", "iam:GetRole"), USER, "role R"),
    "IAM, access key": denied(
        ("read it", "iam:GetAccessKeyLastUsed"), USER, "access key AKIAIOSFODNN7EXAMPLE", reason=""
    ),
    "no reason": denied(CREATE, USER, ROLE_ARN, reason=""),
    "the closed admin window": (
        STORE,
        denial(SESSION, "ssm:PutParameter", PARAMETER_ARN, "with an explicit deny in an identity-based policy"),
        (
            f"access denied. A policy explicitly denies ssm:PutParameter on {PARAMETER_ARN} to {SESSION}. If that is "
            "an admin principal, its admin window is closed or has expired, or is open for another instance or "
            "parameter: another run or a person closed or opened it, or its deadline passed. Run again, which opens "
            "it. Any other identity needs a policy that allows ssm:PutParameter."
        ),
    ),
    "explicit deny of an organization": (
        STORE,
        denial(SESSION, "ssm:PutParameter", PARAMETER_ARN, "with an explicit deny in a service control policy"),
        (
            f"access denied. A policy explicitly denies ssm:PutParameter on {PARAMETER_ARN} to {SESSION}. Remove that "
            "Deny and allow ssm:PutParameter, then run again."
        ),
    ),
    "explicit deny": (
        ("read role 'R'", "iam:GetRole", "AccessDenied"),
        denial(USER, "iam:GetRole", ROLE_ARN, "with an explicit deny in an identity-based policy"),
        (
            f"access denied. A policy explicitly denies iam:GetRole on {ROLE_ARN} to {USER}. Remove that Deny and "
            "allow iam:GetRole, then run again."
        ),
    ),
    "throttled": (
        (*CREATE, "Throttling"),
        "Rate exceeded",
        "AWS throttled the call (Throttling) and every retry of it. Run again later to finish.",
    ),
    "expired": (
        (*CREATE, "ExpiredToken"),
        EXPIRED,
        "the session of the credentials in use has expired (ExpiredToken). Sign in again, then run again.",
    ),
    **{
        f"too many inline policies of a {kind}": (
            ("open the admin window", f"iam:Put{kind.title()}Policy", "LimitExceeded"),
            f"Maximum policy size of {limit} bytes exceeded for {kind} X",
            (
                f"Maximum policy size of {limit} bytes exceeded for {kind} X (LimitExceeded). IAM allows {shown} "
                f"characters without white space in all inline policies of a {kind} together. Store fewer parameters "
                f"in a run, or remove other inline policies from the {kind}."
            ),
        )
        for kind, limit, shown in (("role", 10240, "10,240"), ("user", 2048, "2,048"))
    },
    "any other code": ((*CREATE, "LimitExceeded"), "Cannot exceed quota.", "Cannot exceed quota. (LimitExceeded)."),
}


@pytest.mark.parametrize(("call", "message", "text"), CASES.values(), ids=CASES)
def test_the_message_explains_the_error(call, message, text):
    description, action, code = call
    assert (
        explain(description, action, code, message, identity=KNOWN_CALLER)
        == f"Could not {description} ({action}): {text}"
    )


def test_the_message_without_a_known_identity():
    text = explain("do it", "ec2:X", "UnauthorizedOperation", "You are not authorized to perform this operation.")
    assert text == (
        "Could not do it (ec2:X): access denied. The identity in use lacks ec2:X. Grant ec2:X to it and run again."
    )


@pytest.mark.parametrize(
    ("code", "pattern"),
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
        ("ExpiredTokenException", "has expired"),
        ("RequestExpired", "has expired"),
        ("RequestTimeTooSkewed", "the clock of this machine"),
        ("RequestInTheFuture", "the clock of this machine"),
        ("MalformedPolicyDocument", r"x \(MalformedPolicyDocument\)"),
    ],
)
def test_every_code_has_its_explanation(code, pattern):
    assert re.search(pattern, explain("do it", "iam:X", code, "x"))


@pytest.mark.parametrize("code", sorted(BAD_CREDENTIALS_CODES))
@pytest.mark.parametrize("action", ["iam:GetRole", "sts:GetCallerIdentity", "ssm:PutParameter"])
def test_an_unknown_key_may_be_that_of_an_expired_session(code, action):
    """A wrong signature has another cause: the secret is wrong."""
    text = explain("do it", action, code, "The security token included in the request is invalid.")
    is_signature = code in ("SignatureDoesNotMatch", "InvalidSignatureException")
    assert ("it may have expired: sign in again" in text) != is_signature
    assert "run again" in text


@pytest.mark.parametrize(("action", "names_regions"), [("ec2:DescribeInstances", True), ("iam:GetRole", False)])
def test_ec2_refuses_the_sessions_of_other_regions_in_regions_that_must_be_enabled(action, names_regions):
    text = explain("do it", action, "AuthFailure", "AWS was not able to validate the provided access credentials")
    assert ("AWS_STS_REGIONAL_ENDPOINTS=regional" in text) == names_regions


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("NoSuchEntity", "Policy arn:aws:iam::aws:policy/X does not exist or is not attachable.", MISSING_POLICY),
        ("NoSuchEntity", "Policy arn:aws:iam::aws:policy/X was not found.", MISSING_POLICY),
        ("ValidationException", "Nonexistent role or missing ssm service principal in trust policy: X", UNKNOWN_ROLE),
        ("ValidationException", "Not existing role: arn:aws:iam::123456789012:role/X", UNKNOWN_ROLE),
        ("ValidationException", "Invalid tag for the role", "ValidationException"),
        ("NoSuchEntity", "The role with name Policy cannot be found.", "NoSuchEntity"),
        ("NoSuchEntity", "The user policy with name Policy X does not exist.", "NoSuchEntity"),
        ("Other", "Policy arn:aws:iam::aws:policy/X does not exist or is not attachable.", "Other"),
        (
            "LimitExceeded",
            "A managed policy can have up to 5 versions. Before you create a new version, you must delete one.",
            TOO_MANY_VERSIONS,
        ),
        *(
            ("LimitExceeded", f"Cannot exceed quota for {each}", "LimitExceeded")
            for each in ("PolicySize: 6144", "PoliciesPerAccount: 1500", "PolicyVersionsInUse: 10000")
        ),
        ("Other", "A managed policy can have up to 5 versions.", "Other"),
    ],
)
def test_an_error_is_known_by_its_message_where_others_have_its_code(code, message, expected):
    """A missing role may have been created, and a version may be deleted a moment later. The other errors stay."""
    assert error_code(code, message) == expected


@pytest.mark.parametrize(
    ("arn", "partition", "name"),
    [
        ("arn:aws-iso:iam::aws:policy/Admin", "aws-iso", "Admin"),
        ("arn:aws-us-gov:iam::aws:policy/service-role/SSM", "aws-us-gov", "SSM"),
    ],
)
def test_a_missing_policy_of_aws_is_named_with_its_partition(arn, partition, name):
    message = f"Policy {arn} does not exist or is not attachable."
    text = explain("attach it", "iam:AttachRolePolicy", MISSING_POLICY, message)
    assert f"the policy {name} of AWS does not exist in partition {partition} ({message[:-1]})." in text
    assert "For ssm_policy, choose another one, or none." in text
    assert text.endswith("cwagent_store_config_from=controller.")


def test_a_missing_policy_of_the_user_is_named():
    message = "Policy arn:aws:iam::123456789012:policy/own does not exist or is not attachable."
    text = explain("attach it", "iam:AttachRolePolicy", MISSING_POLICY, message)
    assert text == f"Could not attach it (iam:AttachRolePolicy): {message} Give the ARN of a policy that exists."


@pytest.mark.parametrize(
    ("action", "code", "message", "advice"),
    [
        ("CreatePolicy", "LimitExceeded", "Cannot exceed quota for PoliciesPerAccount: 1500", "request a higher quota"),
        ("CreatePolicyVersion", TOO_MANY_VERSIONS, "A managed policy can have up to 5 versions", "Run again"),
        ("CreatePolicyVersion", "LimitExceeded", "Cannot exceed quota for PolicySize: 6144", "share log groups"),
        ("TagPolicy", "LimitExceeded", "Cannot exceed quota for TagsPerPolicy: 50.", "Remove other tags"),
        ("CreatePolicy", "MalformedPolicyDocument", "The policy failed legacy parsing", "ignored_parameters"),
        ("CreatePolicyVersion", "MalformedPolicyDocument", "Syntax errors in policy.", "ignored_parameters"),
    ],
)
def test_the_limits_of_policies_have_a_way_out(action, code, message, advice):
    text = explain("do it", f"iam:{action}", code, message)
    assert text.startswith(f"Could not do it (iam:{action}): {message.rstrip('.')} ({code}). ")
    assert advice in text


@pytest.mark.parametrize("action", ["iam:PutRolePolicy", "iam:PutUserPolicy", "iam:TagRole"])
def test_a_missing_admin_principal_is_created_by_the_site_playbook(action):
    text = explain("open it", action, "NoSuchEntity", "There is none.")
    assert text == (
        f"Could not open it ({action}): There is none. (NoSuchEntity). Run the playbook cwagent.iam.site first; it "
        "creates the admin principal."
    )


@pytest.mark.parametrize("kind", [InvalidInput, ContentionError, AwsApiError, ConsistencyTimeout, StaleStateError])
def test_no_kind_of_error_is_caught_as_another(kind):
    assert kind.__bases__ == (CwagentError,)


def test_only_an_api_error_has_a_code_and_no_details():
    contention = ContentionError("No.", steps=["a"])
    assert (str(contention), contention.details) == ("No.", {"steps": ["a"]})
    error = AwsApiError("No.", "AccessDenied", "iam:X", explicit_deny=True)
    assert (error.code, error.action, error.explicit_deny, error.details) == ("AccessDenied", "iam:X", True, {})


@pytest.mark.parametrize(
    ("message", "explicit"),
    [
        (denial(SESSION, STORE[1], PARAMETER_ARN, "with an explicit deny in an identity-based policy"), True),
        (denial(SESSION, STORE[1], PARAMETER_ARN, NO_POLICY), False),
        (EC2_PREFIX, False),
    ],
    ids=["explicit deny", "no allow", "no reason"],
)
def test_an_explicit_deny_is_recognized(message, explicit):
    assert is_explicit_deny(message) is explicit


@pytest.mark.parametrize(
    ("number", "is_given"), [(errno.EACCES, True), (errno.EPERM, True), (errno.EROFS, False), (errno.ENOSPC, False)]
)
def test_only_missing_permissions_need_root(number, is_given):
    assert ("become" in root_advice(OSError(number, "x"))) is is_given


# By message of amazon.aws or botocore, words of ours.
NO_CLIENTS = {
    "Passing both a profile and access tokens is not supported.": ("both a profile and an access key", "Unset AWS_"),
    "Couldn't connect to AWS: The config profile (a.b) could not be found": ("(a.b) could not be found. Create it",),
}


@pytest.mark.parametrize(("message", "words"), NO_CLIENTS.items())
def test_a_client_that_cannot_be_made_has_an_attempt_and_a_remedy(message, words):
    text = explain_connection(message)
    assert text.startswith("Could not connect to AWS: ")
    assert text.endswith(".")
    assert all(each in text for each in words)


def test_any_other_message_stays_as_it_is():
    assert explain_connection("name must be a list; it is (a).") == "name must be a list; it is (a)."
