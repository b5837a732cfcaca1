# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signs requests to AWS with Signature Version 4. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


_ALGORITHM = "AWS4-HMAC-SHA256"
PORTS = {"http": 80, "https": 443}


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
