# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls AWS from a host with the standard library alone, because hosts need no boto3.

Nothing that this file returns or raises contains a credential or an address of the environment.
https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import ssl
import threading
from base64 import b64encode
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from html import unescape
from http.client import HTTPConnection, HTTPException, HTTPSConnection, responses
from math import inf
from random import SystemRandom
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # its types leave it out

from .errors import THROTTLING_CODES, CwagentError
from .gateway import CONNECT_SECONDS, MAX_ATTEMPTS, Gateway, unreachable, unreadable
from .wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult


_ALGORITHM = "AWS4-HMAC-SHA256"
PORTS = {"http": 80, "https": 443}
READ_SECONDS = 60
# As boto3 pauses in its mode "standard": a random part of 1, 2, 4, 8, 16 and then 20 seconds.
MAX_PAUSE = 20
# As in this mode, besides THROTTLING_CODES.
_PASSING_CODES = frozenset({"RequestTimeout", "RequestTimeoutException", "ThrottledException", "RequestThrottled"})
_PASSING_STATUS = frozenset({500, 502, 503, 504})
_SUCCESS, _FIRST_ERROR, _SERVER_ERROR = 200, 300, 500
_MAX_BYTES = 1_048_576
_FORM, _JSON = "application/x-www-form-urlencoded; charset=utf-8", "application/x-amz-json-1.1"
_ARN = re.compile(r"<Arn>\s*(arn:[!-;=?-~]+)\s*</Arn>")
_CODE = re.compile(r"<Code>\s*([A-Za-z.]+)\s*</Code>")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]+)")


@dataclass(frozen=True)
class Keys:
    """The credentials of a request. :param token: of a session; empty for the access key of a user."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


def sign(
    url: str, headers: Mapping[str, str], body: bytes, keys: Keys, *, service: str, region: str, time: datetime
) -> dict[str, str]:
    """Return the headers of a POST request, with its signature.

    :param url: without a query.
    :param time: in UTC.
    :raises ValueError: the URL is not one of a web service.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "Host": host_of(url), "X-Amz-Date": stamp}
    if keys.token:
        sent["X-Amz-Security-Token"] = keys.token
    signed = sorted((name.lower(), value) for name, value in sent.items())
    names = ";".join(name for name, _value in signed)
    lines = [f"{name}:{' '.join(value.split())}" for name, value in signed]
    path = quote(urlsplit(url).path or "/", safe="/~")
    canonical = "\n".join(["POST", path, "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    scope = [stamp[:8], region, service, "aws4_request"]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{keys.secret}".encode()
    for part in (*scope, "\n".join([_ALGORITHM, stamp, "/".join(scope), digest])):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = "/".join([keys.key_id, *scope])
    signature = f"Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return {**sent, "Authorization": f"{_ALGORITHM} {signature}"}


def host_of(url: str) -> str:
    """Return the header ``Host`` of a URL. :raises ValueError: it is not the URL of a web service."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host if parts.port in (None, PORTS[parts.scheme]) else f"{host}:{parts.port}"


@dataclass(frozen=True)
class Endpoint:
    """Where and how a host calls a service.

    :param url: without a query.
    :param region: the one of the signature.
    :param proxies: by scheme, the addresses of the proxies; ``no`` has the hosts without one.
    :param ca_bundle: the path of a file with certificates. If it is empty, the certificates of the system count.
    """

    service: str
    url: str
    region: str
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_bundle: str = ""
    validate_certs: bool = True


def own_url(service: str, environment: Mapping[str, str]) -> str:
    """Return the address of a service in the environment; empty if it has none."""
    return environment.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environment.get("AWS_ENDPOINT_URL") or ""


@dataclass(frozen=True)
class Answer:
    """The answer to a call.

    :param status: the HTTP status; 0 if there is no answer.
    :param reason: why there is none.
    :param is_lost: whether the reason is one that can pass.
    """

    status: int = 0
    text: str = ""
    reason: str = ""
    is_lost: bool = False

    @property
    def document(self) -> dict[str, Any] | None:
        """The object in JSON; ``None`` for anything else."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def error(self) -> tuple[str, str] | None:
        """The code and the message of an error of AWS; ``None`` if this is none, or not in the format of AWS."""
        if self.status < _FIRST_ERROR:
            return None
        document = self.document
        if document is not None:
            code = str(document.get("__type", "")).partition(":")[0].rpartition("#")[2]
            message = document.get("message", document.get("Message", ""))
        else:
            found, text = _CODE.search(self.text), _MESSAGE.search(self.text)
            code, message = found[1] if found else "", unescape(text[1]) if text else ""
        if not code and self.status >= _SERVER_ERROR:  # from a load balancer, which can answer in any format
            return str(self.status), responses.get(self.status, "")
        return (code, str(message)) if code else None

    @property
    def arn(self) -> str:
        """The ARN that STS returns; empty if the answer has none."""
        found = _ARN.search(self.text) if self.status == _SUCCESS else None
        return found[1] if found else ""

    @property
    def can_pass(self) -> bool:
        """Whether the same call can succeed later."""
        code = (self.error or ("",))[0]
        return self.is_lost or self.status in _PASSING_STATUS or code in THROTTLING_CODES | _PASSING_CODES


class SignedAws(Gateway):
    """Makes API calls with the standard library.

    :param read_keys: returns the credentials, or raises ``CwagentError``. They are read again before a denied call is
        repeated.
    :param endpoints: by service; STS is only called for the message of a denial.
    """

    def __init__(
        self, read_keys: Callable[[], Keys], endpoints: Mapping[str, Endpoint], retry_timeout: float = 0
    ) -> None:
        super().__init__(retry_timeout)
        self.machine = f"host {socket.gethostname()}"
        self._read_keys = read_keys
        self._endpoints = endpoints
        self._keys: Keys | None = None
        self._lock = threading.Lock()

    def call(self, action: str, description: str, max_attempts: int = MAX_ATTEMPTS, **arguments: Any) -> dict[str, Any]:
        answer = self._ask(action, max_attempts, arguments)
        if answer.reason:
            raise unreachable(description, action, answer.reason)
        if answer.error:
            raise self._api_error(*answer.error, description, action)
        if answer.status >= _FIRST_ERROR or answer.document is None:
            raise unreadable(description, action)
        return answer.document

    def _ask(self, action: str, attempts: int, arguments: Mapping[str, Any]) -> Answer:
        with self._lock:
            self._keys = self._keys or self._read_keys()
            keys = self._keys
        service, operation = action.split(":")
        return call(self._endpoints[service], keys, operation, arguments, attempts)

    def _identity(self) -> str | None:
        return self._ask("sts:GetCallerIdentity", 1, {}).arn or None

    def _renew_credentials(self) -> None:
        with self._lock, suppress(CwagentError):  # then the earlier ones stay
            self._keys = self._read_keys()


def call(endpoint: Endpoint, keys: Keys, operation: str, arguments: Mapping[str, Any], attempts: int) -> Answer:
    """Return the answer of a service to a signed call, which is repeated while the failure can pass."""
    if endpoint.service == "sts":
        headers, body = {"Content-Type": _FORM}, f"Action={operation}&Version=2011-06-15".encode()
    else:
        headers = {"Content-Type": _JSON, "X-Amz-Target": f"AmazonSSM.{operation}"}
        body = json.dumps(arguments).encode()
    for attempt in range(attempts):
        answer = _post(endpoint, keys, headers, body)
        if attempt + 1 == attempts or not answer.can_pass:
            break
        Deadline(inf).pause(SystemRandom().random() * min(2**attempt, MAX_PAUSE))
    return answer


def probe(endpoint: Endpoint, seconds: float) -> str:
    """Return why a service does not answer; empty if it answers, with any HTTP status. The request is not signed."""
    return _send(endpoint, "GET", {}, None, (seconds, seconds)).reason


def _post(endpoint: Endpoint, keys: Keys, headers: Mapping[str, str], body: bytes) -> Answer:
    now = datetime.now(timezone.utc)
    try:
        signed = sign(endpoint.url, headers, body, keys, service=endpoint.service, region=endpoint.region, time=now)
    except ValueError as failure:
        return Answer(reason=_describe(failure))
    return _send(endpoint, "POST", signed, body, (CONNECT_SECONDS, READ_SECONDS))


def _send(
    endpoint: Endpoint, method: str, headers: Mapping[str, str], body: bytes | None, seconds: tuple[float, float]
) -> Answer:
    """Send one request. A redirect is an answer like any other, since another host must not get the credentials.

    :param seconds: how long to wait for the connection, and how long for data.
    """
    try:
        connection, target, more = _prepare(endpoint, seconds[0])
        with closing(connection):
            connection.connect()
            connection.sock.settimeout(seconds[1])
            connection.request(method, target, body, {**more, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(_MAX_BYTES).decode(errors="replace"))
    except (OSError, HTTPException, ValueError) as failure:
        # A certificate that is not accepted is a ValueError, too.
        is_final = isinstance(failure, ValueError) or bool(_TUNNEL.match(str(failure)))
        return Answer(reason=_describe(failure), is_lost=not is_final)


def _prepare(endpoint: Endpoint, seconds: float) -> tuple[HTTPConnection, str, dict[str, str]]:
    """Return a connection that is not open yet, the target of a request, and headers for a proxy.

    :raises ValueError: a setting cannot be used.
    """
    parts, host = urlsplit(endpoint.url), host_of(endpoint.url)
    proxy = _find_proxy(endpoint, parts.scheme, host)
    server, name, path = proxy or parts, str(parts.hostname), parts.path or "/"
    address = str(server.hostname), server.port or PORTS[server.scheme]
    if parts.scheme == "http":
        plain = HTTPConnection(*address, timeout=seconds)
        return (plain, endpoint.url, _login(proxy)) if proxy else (plain, path, {})
    connection = HTTPSConnection(*address, timeout=seconds, context=_tls_context(endpoint))
    if proxy:
        connection.set_tunnel(name, parts.port or PORTS["https"], _login(proxy))
    return connection, path, {}


def _find_proxy(endpoint: Endpoint, scheme: str, host: str) -> SplitResult | None:
    given = endpoint.proxies.get(scheme)
    if not given or proxy_bypass_environment(host, dict(endpoint.proxies)):
        return None
    proxy = urlsplit(given if "://" in given else f"http://{given}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise _Unusable("Python's standard library can only use a proxy whose address begins with http://")
    return proxy


def _login(proxy: SplitResult) -> dict[str, str]:
    """Return the header with the login of a proxy, if its address has one."""
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_bundle or None)
    except (OSError, ValueError):
        raise _Unusable(
            "the file with certificates is not usable (aws_ca_bundle, AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE, or "
            "ca_bundle_path in common-config.toml)"
        ) from None
    if not endpoint.validate_certs:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class _Unusable(ValueError):
    """A setting cannot be used. Only the message of this exception can be shown."""


def _describe(failure: Exception) -> str:
    """Return why there was no answer. Messages of exceptions can quote headers and addresses, so few are used."""
    if isinstance(failure, _Unusable):
        return str(failure)
    tunnel = _TUNNEL.match(str(failure))
    if tunnel:
        return f"the proxy answered with HTTP status {tunnel[1]}"
    if isinstance(failure, socket.timeout):
        return "no connection or no data in time"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted, {failure.verify_message.partition(',')[0]}"
    reason = failure.strerror if isinstance(failure, OSError) else None
    return reason or f"the request or the answer is not valid ({type(failure).__name__})"
