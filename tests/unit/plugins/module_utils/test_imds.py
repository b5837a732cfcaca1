from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._imds import (
    ADDRESS_VARIABLE,
    Identity,
    MetadataService,
    wait_for,
)

NOBODY, ADMIN, HALF = Identity(), Identity("admin", "R"), Identity("admin", None)
INFO = json.dumps({"InstanceProfileArn": "arn:aws:iam::123456789012:instance-profile/m/admin"})
KEYS = json.dumps({"AccessKeyId": "ASIA", "SecretAccessKey": "secret", "Token": "token"})
LIST = "iam/security-credentials/"
PAGES = {"iam/info": INFO, LIST: "R\n", LIST + "R": KEYS}


@pytest.fixture
def metadata(monkeypatch):
    """The pages of a metadata service on loopback, version 2 only; a number in place of a page is a status."""
    pages: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            self._answer("the-token" if self.path == "/relay/latest/api/token" else 404)

        def do_GET(self):
            told = self.headers.get("X-aws-ec2-metadata-token") == "the-token"
            path = self.path.removeprefix("/relay/latest/meta-data/")
            self._answer(pages.get(path, 404) if told else 401)

        def _answer(self, page):
            body = b"" if isinstance(page, int) else page.encode()
            self.send_response(page if isinstance(page, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv(ADDRESS_VARIABLE, f"http://127.0.0.1:{server.server_port}/relay/")
    yield pages
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("pages", "identity"), [({}, NOBODY), ({"iam/info": INFO}, HALF), (PAGES, ADMIN), ({**PAGES, LIST: ""}, HALF)]
)
def test_identity(metadata, pages, identity):
    metadata.update(pages)
    assert MetadataService().identity() == identity


def test_credentials(metadata):
    metadata.update(PAGES)
    assert MetadataService().credentials() == {
        "aws_access_key_id": "ASIA",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
    }


@pytest.mark.parametrize("pages", [{}, {LIST: ""}, {LIST: "R"}])
def test_no_credentials(metadata, pages):
    metadata.update(pages)
    with pytest.raises(CwagentError, match="has no credentials"):
        MetadataService().credentials()


def test_a_service_that_refuses(metadata):
    metadata["iam/info"] = 403
    with pytest.raises(CwagentError, match=r"refused .*/iam/info: HTTP 403"):
        MetadataService().identity()


def test_no_service(monkeypatch):
    monkeypatch.setenv(ADDRESS_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(CwagentError, match=r"does not answer at http://127\.0\.0\.1:9 .*HttpEndpoint"):
        MetadataService().identity()


class Service:
    """Shows its identities one after the other, then the last one for good; an error is raised."""

    def __init__(self, *shown: Identity | CwagentError) -> None:
        self.shown = list(shown)

    def identity(self) -> Identity:
        found = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]
        if isinstance(found, CwagentError):
            raise found
        return found


def wait(service: Any, profile: str | None) -> Identity:
    current = [0.0]
    return wait_for(
        service, profile, Deadline(5, lambda: current[0], lambda seconds: current.__setitem__(0, current[0] + seconds))
    )


@pytest.mark.parametrize(
    ("shown", "profile", "found"),
    [
        ([ADMIN], "admin", ADMIN),
        ([NOBODY, HALF, ADMIN], "admin", ADMIN),
        ([NOBODY], None, NOBODY),
        ([ADMIN, NOBODY], None, NOBODY),
        ([CwagentError("503"), ADMIN], "admin", ADMIN),
    ],
)
def test_waits(shown, profile, found):
    assert wait(Service(*shown), profile) == found


@pytest.mark.parametrize(
    ("shown", "profile", "words"),
    [
        (NOBODY, "admin", r"5 seconds .* see instance profile 'admin'; .* still shows no instance profile"),
        (HALF, "admin", "still shows instance profile 'admin'"),
        (Identity("other", "S"), "admin", "still shows instance profile 'other'"),
        (ADMIN, None, "see no instance profile; .* still shows instance profile 'admin'"),
    ],
)
def test_gives_up(shown, profile, words):
    with pytest.raises(CwagentError, match=words):
        wait(Service(shown), profile)


def test_gives_up_on_a_service_that_never_answers():
    with pytest.raises(CwagentError, match="never"):
        wait(Service(CwagentError("never")), "admin")


def test_a_token_that_is_refused_is_replaced(metadata):
    metadata.update({**PAGES, "iam/info": 401})
    service = MetadataService()
    with pytest.raises(CwagentError, match="HTTP 401"):
        service.identity()
    assert service._token is None
    metadata["iam/info"] = INFO
    assert service.identity() == ADMIN
