"""AWS calls on the wire: how to read them, and how to answer them with an error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

READS = ("Get", "List", "Describe", "Simulate", "BatchGet", "Head", "Search", "Lookup", "Generate", "Validate")
"""Verbs of actions that change nothing. GenerateCredentialReport only requests a report."""

PATHS = {"/policy/validation": "ValidatePolicy"}
"""The actions of services whose calls name a path only."""

SECRETS = frozenset(
    {
        *("Value", "SecretString", "SecretBinary", "UserData", "Password", "WebIdentityToken", "TokenCode"),
        "ActivationCode",
    }
)
"""Request parameters that are never logged. ``Value`` belongs to ssm:PutParameter."""

SIGNING_NAMES = {"monitoring": "cloudwatch"}
"""Services whose signing name differs from their prefix in IAM actions."""


def is_write(action: str) -> bool:
    """Whether an action changes anything. sts:AssumeRole returns credentials and changes nothing."""
    return not action.startswith((*READS, "AssumeRole"))


@dataclass(frozen=True)
class Call:
    """One AWS API call. Times are Unix seconds; ``status`` is 0 when the call never reached the backend.

    ``unkind`` is the behaviour that answered instead of the backend.
    ``profiles`` has, after a call that changes associations, the instance profile of each instance.
    ``connection`` is the number of the connection to the server. A client that reuses its connection has one number.
    ``is_query`` is whether the call has the query protocol, in which older clients call CloudWatch.
    """

    service: str
    action: str
    region: str
    access_key: str
    principal: str
    params: dict[str, Any] = field(default_factory=dict)
    seq: int = 0
    time: float = 0.0
    status: int = 0
    error: str = ""
    fault: str = ""
    unkind: str = ""
    profiles: dict[str, str] = field(default_factory=dict)
    connection: int = 0
    is_query: bool = False

    @property
    def write(self) -> bool:
        return is_write(self.action)

    @property
    def identity(self) -> str:
        """``root``, ``user``, ``role`` or, for a key the backend does not know, ``unknown``."""
        if ":assumed-role/" in self.principal:
            return "role"
        return self.principal.partition(":user/")[1].strip(":/") or self.principal.rpartition(":")[2] or "unknown"


class Kind(StrEnum):
    """The effect of a fault on a call."""

    KILL_BEFORE = "kill_before"
    KILL_AFTER = "kill_after"
    KILL_WORKER = "kill_worker"
    INTERRUPT = "interrupt"
    INTERRUPT_TWICE = "interrupt_twice"
    TERMINATE = "terminate"
    HANG_UP = "hang_up"
    LOSE_ANSWER = "lose_answer"
    THROTTLE = "throttle"
    DENY = "deny"
    SERVER_ERROR = "server_error"
    ERROR = "error"
    DELAY = "delay"
    RATE = "rate"


@dataclass(frozen=True)
class Fault:
    """One fault: the calls that it affects, and its effect on them.

    It affects calls of ``service`` and ``action`` where given, only writes where ``writes`` is set, and only calls with
    ``text`` in a parameter where given. It begins with the ``nth`` of these calls since it was armed and affects
    ``times`` calls. The default is one call, but a delay or a rate lasts until it is disarmed.

    ``kill_before`` and ``kill_after`` send SIGKILL to ``process`` and its descendants; ``kill_worker`` to its children
    alone, which are workers of Ansible, when the call was made. ``interrupt`` and ``hang_up`` send what a terminal does
    at Ctrl-C and at its end, to the process group of ``process``; ``terminate`` sends SIGTERM to ``process`` alone. The
    call is then answered as ever. ``error`` answers ``code``, ``message`` and ``status``. ``delay`` waits ``seconds``.
    ``rate`` allows ``rate`` calls per second and a burst of ``burst``, and throttles the others.
    """

    kind: Kind
    service: str = ""
    action: str = ""
    writes: bool = False
    text: str = ""
    nth: int = 1
    times: int | None = None
    process: int = 0
    code: str = ""
    message: str = ""
    status: int = 400
    seconds: float = 0.0
    rate: float = 0.0
    burst: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Kind(self.kind))

    def matches(self, call: Call) -> bool:
        return (
            self.service in ("", call.service)
            and self.action in ("", call.action)
            and (call.write or not self.writes)
            and self.text in json.dumps(call.params)
        )


def read_target(headers: Any, path: str, form: dict[str, Any]) -> str:
    """The action of a call: in a header with JSON protocols, in the form with query, in the path with RPC v2."""
    target = headers.get("X-Amz-Target", "").rpartition(".")[2]
    return str(target or form.get("Action") or PATHS.get(path) or path.rpartition("/operation/")[2])


def read_credential(authorization: str) -> tuple[str, str, str]:
    """Access key id, region and service from the credential scope of a SigV4 signature."""
    scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request", authorization)
    return (scope[1], scope[2], SIGNING_NAMES.get(scope[3], scope[3])) if scope else ("", "", "")


def read_params(content_type: str, body: bytes) -> dict[str, Any]:
    """The parameters of a call: flat with the query protocol, nested with JSON."""
    if "json" in content_type:
        return dict(json.loads(body or b"{}"))
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def without_secrets(params: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in params.items() if key not in ("Action", "Version")}
    return {key: "(secret)" if key in SECRETS else value for key, value in shown.items()}


def read_error(content_type: str, status: int, body: bytes) -> str:
    """The AWS error code in an answer, or an empty string."""
    if status < 400:
        return ""
    if b"<Code>" in body:
        return body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
    if "json" in content_type:
        return str(json.loads(body or b"{}").get("__type", "")).rpartition("#")[2]
    return ""


@dataclass(frozen=True)
class ErrorAnswer:
    """An AWS error, independent of a service's protocol."""

    code: str
    message: str
    status: int = 400

    def body(self, call: Call) -> tuple[str, str]:
        """Content type and text in the protocol of the call: EC2 and IAM each have their own XML."""
        service = call.service
        code, message = escape(self.code), escape(self.message)
        if service == "ec2":
            error = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            return "text/xml", f"<Response>{error}<RequestID>emulated</RequestID></Response>"
        if service in ("iam", "sts") or (service == "cloudwatch" and call.is_query):
            side = "Sender" if self.status < 500 else "Receiver"
            error = f"<Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            namespace = {
                "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
                "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
                "cloudwatch": "http://monitoring.amazonaws.com/doc/2010-08-01/",
            }
            xmlns = namespace[service]
            return "text/xml", f'<ErrorResponse xmlns="{xmlns}">{error}<RequestId>emulated</RequestId></ErrorResponse>'
        return "application/x-amz-json-1.1", json.dumps({"__type": self.code, "message": self.message})


def throttled(call: Call) -> ErrorAnswer:
    if call.service == "ec2":
        return ErrorAnswer("RequestLimitExceeded", "Request limit exceeded.", 503)
    return ErrorAnswer("Throttling" if call.service in ("iam", "sts") else "ThrottlingException", "Rate exceeded")


def denied(call: Call) -> ErrorAnswer:
    action = f"{call.service}:{call.action}"
    reason = f"because no identity-based policy allows the {action} action"
    user = f"User: {call.principal} is not authorized to perform: {action} on resource: {resource(call)} {reason}"
    if call.service == "ec2":
        return ErrorAnswer("UnauthorizedOperation", f"You are not authorized to perform this operation. {user}", 403)
    if call.service in ("iam", "sts"):
        return ErrorAnswer("AccessDenied", user, 403)
    return ErrorAnswer("AccessDeniedException", user)


def expired(call: Call) -> ErrorAnswer:
    message = "The security token included in the request is expired"
    if call.service == "ec2":
        return ErrorAnswer("RequestExpired", "Request has expired.")
    if call.service in ("iam", "sts"):
        return ErrorAnswer("ExpiredToken", message, 403)
    return ErrorAnswer("ExpiredTokenException", message)


def unknown_token(call: Call) -> ErrorAnswer:
    if call.service == "ec2":
        return ErrorAnswer("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    message = "The security token included in the request is invalid."
    if call.service in ("iam", "sts"):
        return ErrorAnswer("InvalidClientTokenId", message, 403)
    return ErrorAnswer("UnrecognizedClientException", message)


def badly_signed(call: Call, message: str) -> ErrorAnswer:
    if call.service == "ec2":
        return ErrorAnswer("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    if call.service in ("iam", "sts"):
        return ErrorAnswer("SignatureDoesNotMatch", message, 403)
    return ErrorAnswer("InvalidSignatureException", message)


def failed(call: Call) -> ErrorAnswer:
    codes = {"ec2": "InternalError", "iam": "ServiceFailure", "sts": "InternalFailure"}
    return ErrorAnswer(codes.get(call.service, "InternalServerError"), "The request processing has failed.", 500)


def resource(call: Call) -> str:
    """The ARN that AWS names in a denial, without the path of a principal, which is not part of the call."""
    _, partition, _, _, account, *_ = (call.principal or "arn:aws:iam::unknown:").split(":")
    names = (("InstanceProfileName", "instance-profile"), ("RoleName", "role"), ("UserName", "user"))
    if call.service == "iam":
        for key, kind in names:
            if key in call.params:
                return f"arn:{partition}:iam::{account}:{kind}/{call.params[key]}"
    if call.service == "ssm" and "Name" in call.params:
        return f"arn:{partition}:ssm:{call.region}:{account}:parameter/{str(call.params['Name']).lstrip('/')}"
    return "*"
