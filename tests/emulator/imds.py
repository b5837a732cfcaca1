"""IMDSv2 for every instance, at ``/_imds/<instance-id>/``.

It differs from AWS as follows:

- Nothing is served without a token, as on instances that require IMDSv2.
- Only the paths that are needed for credentials exist.
- A changed association is visible at once unless a lag is set. On AWS that takes seconds to minutes. The credentials
  can have a separate lag, because AWS does not document that they change together with ``iam/info``.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from werkzeug.wrappers import Request, Response

from .backend import SESSION_SECONDS, Backend, Credentials, Instance, Profile

PREFIX = "/_imds/"
CREDENTIALS = "meta-data/iam/security-credentials/"
TOKEN_SECONDS = 21600


@dataclass
class InstanceMetadata:
    backend: Backend
    has_credentials: Callable[[str], bool]
    lag: float = 0.0
    credentials_lag: float = 0.0
    tokens: dict[str, float] = field(default_factory=dict)
    issued: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    seen: dict[str, list[tuple[float, Profile | None]]] = field(default_factory=dict)

    def reset(self) -> None:
        self.lag = self.credentials_lag = 0.0
        for kept in (self.tokens, self.issued, self.seen):
            kept.clear()

    def set_lag(self, seconds: float, credentials: float) -> None:
        """Show changes from now on that much later. Earlier ones are visible."""
        self.seen = {instance.id: [(0.0, instance.profile)] for instance in self.backend.instances()}
        self.lag, self.credentials_lag = seconds, credentials

    def observe(self) -> None:
        """Record the associated profiles, so that the lag counts from the change instead of the next request."""
        for instance in self.backend.instances():
            history = self.seen.setdefault(instance.id, [(0.0, None)])
            if history[-1][1] != instance.profile:
                history.append((time.monotonic(), instance.profile))

    def profile(self, instance: Instance, lag: float) -> Profile | None:
        """The profile that the instance sees, which was associated with it ``lag`` seconds ago."""
        if not instance.running:
            return None
        if not lag:
            return instance.profile
        visible = time.monotonic() - lag
        return [profile for when, profile in self.seen.get(instance.id, [(0.0, None)]) if when <= visible][-1]

    def respond(self, request: Request) -> Response:
        instance_id, _, path = request.path.removeprefix(PREFIX).partition("/latest/")
        instance = next((one for one in self.backend.instances() if one.id == instance_id), None)
        if instance is None:
            return Response("no such instance", 404)
        if path == "api/token":
            return self._token(request)
        if self.tokens.get(instance_id + request.headers.get("X-Aws-Ec2-Metadata-Token", ""), 0) < time.monotonic():
            return Response("", 401)
        found = self._document(instance, path)
        if found is None:
            return Response("", 404)
        text = found if isinstance(found, str) else json.dumps(found, indent=2)
        return Response(text, 200, content_type="text/plain")

    def _token(self, request: Request) -> Response:
        if request.method != "PUT":
            return Response("", 405)
        seconds = request.headers.get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "")
        if not seconds.isdigit() or not 1 <= int(seconds) <= TOKEN_SECONDS:
            return Response("", 400)
        token = secrets.token_urlsafe(40)
        self.tokens[request.path.removeprefix(PREFIX).partition("/")[0] + token] = time.monotonic() + int(seconds)
        return Response(token, 200, {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": seconds}, content_type="text/plain")

    def _document(self, instance: Instance, path: str) -> str | dict[str, Any] | None:
        identity = {"accountId": instance.account, "instanceId": instance.id, "region": instance.region}
        shown = {"imageId": instance.image, "instanceType": instance.type, "version": "2017-09-30"}
        always: dict[str, str | dict[str, Any]] = {
            "meta-data/instance-id": instance.id,
            "meta-data/placement/region": instance.region,
            "dynamic/instance-identity/document": {**identity, **shown},
        }
        if path in always:
            return always[path]
        profile = self.profile(instance, self.credentials_lag if path.startswith(CREDENTIALS) else self.lag)
        if profile is None:
            return None
        if path == "meta-data/iam/info":
            return {"Code": "Success", "InstanceProfileArn": profile.arn, "InstanceProfileId": profile.id}
        if not profile.role:
            return None
        if path.rstrip("/") == CREDENTIALS.rstrip("/"):
            return profile.role
        return self._credentials(instance, profile) if path == CREDENTIALS + profile.role else None

    def _credentials(self, instance: Instance, profile: Profile) -> dict[str, str]:
        if not profile.trusts_ec2 or not self.has_credentials(instance.id):
            message = f"EC2 cannot assume the role {profile.role}."
            return {"Code": "AssumeRoleUnauthorizedAccess", "Message": message}
        key = (instance.id, profile.role_id)
        if key not in self.issued:
            self.issued[key] = _as_document(self.backend.session(instance, profile))
        return self.issued[key]


def _as_document(credentials: Credentials) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "Code": "Success",
        "LastUpdated": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "Type": "AWS-HMAC",
        "AccessKeyId": credentials.access_key,
        "SecretAccessKey": credentials.secret,
        "Token": credentials.token,
        "Expiration": f"{now + timedelta(seconds=SESSION_SECONDS):%Y-%m-%dT%H:%M:%SZ}",
    }
