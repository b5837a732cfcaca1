# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks STS for the identity of the credentials that the SSM agent of this host keeps.

The hosts need no boto3, so this file signs the request itself. No text that it returns contains a credential, an answer
of STS (which can quote the signed request), or a value of the environment.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime, timezone
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # its types leave out the last function
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
    proxy_bypass_environment,
)

from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.common_config import read_text
from ansible_collections.cwagent.iam.plugins.module_utils._names import partition_of
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.region_line import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS = 10
ATTEMPTS = 2
QUERY = "Action=GetCallerIdentity&Version=2011-06-15"
SERVER_ERROR = 500
_SUCCESS = 200
_MAX_BYTES = 65536
_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_BODY = hashlib.sha256(b"").hexdigest()
_PORTS = {"http": 80, "https": 443}
# https://docs.aws.amazon.com/general/latest/gr/sts.html
_SUFFIXES = {
    "aws-cn": "amazonaws.com.cn",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
    "aws-eusc": "amazonaws.eu",
}
_ARN = re.compile(r"<Arn>\s*(arn:[!-;=?-~]+)\s*</Arn>")
_CODE = re.compile(r"<Code>\s*([A-Za-z.]+)\s*</Code>")
_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]+)")


@dataclass(frozen=True)
class Network:
    """How this host reaches STS.

    :param endpoint: a URL without a query.
    :param proxies: by scheme, the addresses of the proxies; ``no`` has the hosts without one.
    :param ca_bundle: the path of a file with certificates. If it is empty, the certificates of the system count.
    """

    endpoint: str
    proxies: Mapping[str, str]
    ca_bundle: str


def find_network(region: str, environment: Mapping[str, str], proxies: Mapping[str, str], config: str) -> Network:
    """Return how a host reaches STS.

    :param proxies: the proxies of the environment, as ``urllib.request.getproxies_environment`` returns them.
    :param config: the text of the agent's common configuration, which counts where the environment has nothing.
    :raises CwagentError: a line of that text cannot be read.
    """
    given = environment.get("AWS_ENDPOINT_URL_STS") or environment.get("AWS_ENDPOINT_URL")
    endpoint = given or f"https://sts.{region}.{_SUFFIXES.get(partition_of(region), 'amazonaws.com')}"
    found = {each: read_text(config, "proxy", f"{each}_proxy") for each in ("http", "https", "no")}
    settings = {name: value for name, value in found.items() if value}
    return Network(
        f"{endpoint.rstrip('/')}/",
        proxies if proxies.keys() - {"no"} else {**settings, **proxies},
        environment.get("AWS_CA_BUNDLE") or read_text(config, "ssl", "ca_bundle_path") or "",
    )


def find_caller(region: str, credentials: Mapping[str, str], network: Network) -> tuple[str | None, str | None]:
    """Return the ARN of the credentials, or the reason why STS did not return it.

    :param credentials: the options of the profile with the credentials.
    """
    if not all(credentials.get(each) for each in CREDENTIALS):
        return None, "The credentials file has no credentials at the moment."
    try:
        context = ssl.create_default_context(cafile=network.ca_bundle or None)
    except (OSError, ValueError):
        return None, "The file of AWS_CA_BUNDLE, or of ca_bundle_path in common-config.toml, is not usable."
    arn, error = None, None
    for _attempt in range(ATTEMPTS):
        try:
            request = _sign(network.endpoint, region, credentials)
            status, text = _send(_opener(request, network.proxies, context), request)
        except (OSError, HTTPException, ValueError) as failure:
            error = f"STS did not answer: {_describe(failure)}."
            continue
        arn, error = read_answer(status, text)
        if status < SERVER_ERROR:
            break
    return arn, error


def read_answer(status: int, text: str) -> tuple[str | None, str | None]:
    """Return the ARN in an answer, or the reason why there is none. :param status: the HTTP status."""
    found = _ARN.search(text) if status == _SUCCESS else None
    if found:
        return found[1], None
    code = _CODE.search(text)
    if code and status < SERVER_ERROR:
        return None, f"STS refused the credentials ({code[1]})."
    return None, f"The answer with HTTP status {status} is not one of STS. Check the proxy and the endpoint."


def sign(url: str, region: str, credentials: Mapping[str, str], time: datetime) -> dict[str, str]:
    """Return the headers of a GET request for the identity, with Signature Version 4.

    :param url: without the query.
    :param time: in UTC.
    """
    key_id, secret, token = (credentials[each] for each in CREDENTIALS)
    stamp = time.strftime("%Y%m%dT%H%M%SZ")
    headers = {"Host": _host(url), "X-Amz-Date": stamp, "X-Amz-Security-Token": token}
    names = ";".join(headers).lower()
    lines = [f"{name.lower()}:{value}" for name, value in headers.items()]
    canonical = "\n".join(["GET", quote(urlsplit(url).path, safe="/~"), QUERY, *lines, "", names, _NO_BODY])
    scope = [stamp[:8], region, "sts", "aws4_request"]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in (*scope, "\n".join([_ALGORITHM, stamp, "/".join(scope), digest])):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = "/".join([key_id, *scope])
    return {
        **headers,
        "Authorization": f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={key.hex()}",
    }


def _host(url: str) -> str:
    """Return the header ``Host`` of a URL. :raises ValueError: it is not the URL of a web service."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host if parts.port in (None, _PORTS[parts.scheme]) else f"{host}:{parts.port}"


def _sign(endpoint: str, region: str, credentials: Mapping[str, str]) -> Request:
    headers = sign(endpoint, region, credentials, datetime.now(timezone.utc))
    return Request(f"{endpoint}?{QUERY}", headers=headers)  # noqa: S310  _host has checked the scheme


class _NoRedirect(HTTPRedirectHandler):
    """Another host must not get the credentials."""

    def redirect_request(self, *_args: object) -> None:
        return None


def _opener(request: Request, proxies: Mapping[str, str], context: ssl.SSLContext) -> OpenerDirector:
    uses_proxy = request.type in proxies and not proxy_bypass_environment(request.host, dict(proxies))
    chosen = {request.type: proxies[request.type]} if uses_proxy else {}
    return build_opener(ProxyHandler(chosen), HTTPSHandler(context=context), _NoRedirect)


def _send(opener: OpenerDirector, request: Request) -> tuple[int, str]:
    """Return the HTTP status and the text of the answer."""
    try:
        answer = opener.open(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.read(_MAX_BYTES).decode(errors="replace")


def _describe(failure: Exception) -> str:
    """Return why there was no answer. Messages of exceptions can quote headers and addresses, so few are used."""
    cause = failure.reason if isinstance(failure, URLError) else failure
    tunnel = _TUNNEL.match(str(cause))
    if tunnel:
        return f"the proxy answered with HTTP status {tunnel[1]}"
    if isinstance(cause, socket.timeout):
        return f"no connection or no data within {TIMEOUT_SECONDS} seconds"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted, {cause.verify_message.partition(',')[0]}"
    reason = cause.strerror if isinstance(cause, OSError) else None
    return reason or f"the request or the answer is not valid ({type(cause).__name__})"
