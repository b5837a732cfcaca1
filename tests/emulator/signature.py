"""Whether a call is signed with the secret of its access key, according to botocore's own signer.

AWS answers a wrong clock with the code of a wrong secret, and only the message differs.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from werkzeug.wrappers import Request

FORMAT = "%Y%m%dT%H%M%SZ"
TOLERANCE = timedelta(minutes=5)
WRONG_SECRET = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


def find_problem(request: Request, body: bytes, secret: str) -> str:
    """The message in which AWS refuses the signature; empty if it accepts it."""
    parts = re.search(
        r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request, *SignedHeaders=([^,]+), *Signature=(\w+)",
        request.headers.get("Authorization", ""),
    )
    stamp = request.headers.get("X-Amz-Date", "")
    if not parts or not stamp:
        return WRONG_SECRET
    access_key, region, service, names, signature = parts.groups()
    signed = AWSRequest(
        request.method,
        f"http://{request.host}{request.environ['REQUEST_URI']}",
        {name: request.headers.get(name, "") for name in names.split(";")},
        body,
    )
    signed.context["timestamp"] = stamp
    auth = SigV4Auth(Credentials(access_key, secret), service, region)
    if auth.signature(auth.string_to_sign(signed, auth.canonical_request(signed)), signed) != signature:
        return WRONG_SECRET
    return _clock_problem(stamp)


def _clock_problem(stamp: str) -> str:
    time, now = datetime.strptime(stamp, FORMAT).replace(tzinfo=UTC), datetime.now(UTC)
    if time < now - TOLERANCE:
        limit = now - TOLERANCE
        return f"Signature expired: {stamp} is now earlier than {limit:{FORMAT}} ({now:{FORMAT}} - 5 min.)"
    if time > now + TOLERANCE:
        limit = now + TOLERANCE
        return f"Signature not yet current: {stamp} is still later than {limit:{FORMAT}} ({now:{FORMAT}} + 5 min.)"
    return ""
