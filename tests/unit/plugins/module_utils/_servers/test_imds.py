from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from clocks import Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import ConsistencyTimeout, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.signed_call import Keys
from ansible_collections.cwagent.iam.plugins.module_utils._servers import imds
from ansible_collections.cwagent.iam.plugins.module_utils._servers.imds import (
    ADDRESS_VARIABLE,
    Identity,
    MetadataService,
    wait_for_identity,
)

NO_PROFILE, ADMIN, WITHOUT_CREDENTIALS = Identity(), Identity("admin", "R"), Identity("admin", None)
REFUSED = Identity("admin", None, "EC2 cannot assume the role 'A' (AssumeRoleUnauthorizedAccess)", is_refused=True)
INFO = json.dumps({"InstanceProfileArn": "arn:aws:iam::123456789012:instance-profile/m/admin"})
KEYS = json.dumps({"AccessKeyId": "ASIA", "SecretAccessKey": "secret", "Token": "token"})
LIST = "iam/security-credentials/"
REFUSAL = json.dumps({"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role 'A'."})
PAGES = {"iam/info": INFO, LIST: "R\n", LIST + "R": KEYS}


@pytest.fixture
def metadata(monkeypatch):
    """The pages of a metadata service on loopback, version 2 only. A number instead of a page is an HTTP status."""
    pages: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            self._answer("the-token" if self.path == "/relay/latest/api/token" else 404)

        def do_GET(self):
            has_token = self.headers.get("X-aws-ec2-metadata-token") == "the-token"
            path = self.path.removeprefix("/relay/latest/meta-data/")
            self._answer(pages.get(path, 404) if has_token else 401)

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
    ("pages", "identity"),
    [
        ({}, NO_PROFILE),
        ({"iam/info": INFO}, WITHOUT_CREDENTIALS),
        (PAGES, ADMIN),
        ({**PAGES, LIST: ""}, WITHOUT_CREDENTIALS),
        ({**PAGES, LIST + "R": REFUSAL}, REFUSED),
        ({"iam/info": json.dumps({"Code": "InstanceProfileNotFound"})}, Identity(problem="InstanceProfileNotFound")),
        ({"iam/info": json.dumps({"Code": "Success"})}, NO_PROFILE),
        ({LIST: "R", LIST + "R": KEYS}, Identity(None, "R")),
    ],
)
def test_the_identity_has_a_role_only_with_credentials(metadata, pages, identity):
    metadata.update(pages)
    assert MetadataService().identity() == identity


def test_credentials_are_those_of_a_session(metadata):
    metadata.update(PAGES)
    assert MetadataService().credentials() == Keys("ASIA", "secret", "token")


@pytest.mark.parametrize("pages", [{}, {LIST: ""}, {LIST: "R"}])
def test_missing_credentials_are_an_error(metadata, pages):
    metadata.update(pages)
    with pytest.raises(CwagentError, match="has no credentials"):
        MetadataService().credentials()


def test_credentials_of_another_role_are_an_error_where_one_is_expected(metadata):
    metadata.update(PAGES)
    assert MetadataService().credentials("R") == MetadataService().credentials()
    with pytest.raises(CwagentError, match=r"has the credentials of role 'R', not of role 'A'\."):
        MetadataService().credentials("A")


def test_an_http_error_is_reported_with_its_address(metadata):
    metadata["iam/info"] = 403
    with pytest.raises(CwagentError, match=r"returned HTTP 403 for .*/iam/info"):
        MetadataService().identity()


@pytest.mark.parametrize(
    "page", ["<html>", "[]", "null", '"text"', '{"Code": null, "Message": null}', "\xff", "{", "a b\nc"]
)
@pytest.mark.parametrize("name", ["iam/info", LIST, LIST + "R"])
def test_a_document_that_is_not_an_object_is_an_error_or_has_no_identity(metadata, name, page):
    """As a relay or a proxy answers. A wait then tries again."""
    metadata.update({**PAGES, name: page})
    with suppress(CwagentError):
        identity = MetadataService().identity()
        assert identity.profile is None or identity.role is None


@pytest.mark.parametrize("missing", ["SecretAccessKey", "Token"])
def test_incomplete_credentials_are_no_credentials(metadata, missing):
    document = {key: value for key, value in json.loads(KEYS).items() if key != missing}
    metadata.update({**PAGES, LIST + "R": json.dumps(document)})
    assert MetadataService().identity().role is None
    with pytest.raises(CwagentError, match="has no credentials"):
        MetadataService().credentials()


def test_a_service_that_cannot_be_reached_is_an_error(monkeypatch):
    monkeypatch.setenv(ADDRESS_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(CwagentError, match=r"does not answer at http://127\.0\.0\.1:9 .*HttpEndpoint"):
        MetadataService().identity()


class Service:
    """Returns its identities one after the other, then the last one forever. If one is an error, raises it."""

    def __init__(self, *shown: Identity | CwagentError) -> None:
        self.shown = list(shown)

    def identity(self) -> Identity:
        found = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]
        if isinstance(found, CwagentError):
            raise found
        return found


def wait(service: Any, profile: str | None, role: str | None = None) -> Identity:
    return wait_for_identity(service, profile, Clock().deadline(5), role)


@pytest.mark.parametrize(
    ("shown", "profile", "role"),
    [
        ([ADMIN], "admin", None),
        ([ADMIN], "admin", "R"),
        ([NO_PROFILE, WITHOUT_CREDENTIALS, ADMIN], "admin", None),
        ([NO_PROFILE], None, None),
        ([ADMIN, NO_PROFILE], None, None),
        ([CwagentError("503"), ADMIN], "admin", None),
        # The profile changes before the credentials, the credentials before the profile, or both at once.
        ([Identity("other", "S"), Identity("admin", "S"), ADMIN], "admin", "R"),
        ([Identity("other", "S"), Identity("other", "R"), ADMIN], "admin", "R"),
        ([Identity("other", "S"), ADMIN], "admin", "R"),
        ([ADMIN, Identity(None, "R"), NO_PROFILE], None, None),
        ([ADMIN, WITHOUT_CREDENTIALS, NO_PROFILE], None, None),
    ],
)
def test_waiting_ends_when_the_service_shows_both_the_profile_and_its_credentials(shown, profile, role):
    service = Service(*shown)
    assert wait(service, profile, role) == shown[-1]
    assert service.shown == shown[-1:]


@pytest.mark.parametrize("shown", [Identity("admin", "S"), Identity("other", "R")])
def test_waiting_for_a_role_ends_at_the_deadline_with_the_shown_identity(shown):
    expected = f"still shows instance profile '{shown.profile}' and the credentials of role '{shown.role}'"
    with pytest.raises(ConsistencyTimeout, match=expected) as raised:
        wait(Service(shown), "admin", "R")
    assert raised.value.details["identity"] == {"instance_profile": shown.profile, "role": shown.role}


@pytest.mark.parametrize(
    ("shown", "profile", "message"),
    [
        (NO_PROFILE, "admin", r"5 seconds .* show instance profile 'admin'; it still shows no instance profile"),
        (WITHOUT_CREDENTIALS, "admin", r"credentials of instance profile 'admin': the instance metadata service shows"),
        (REFUSED, "admin", r"profile 'admin': EC2 cannot assume the role 'A' \(AssumeRoleUnauthorizedAccess\)\. EC2"),
        (Identity("other", "S"), "admin", "still shows instance profile 'other'"),
        (Identity(None, "R"), None, "still shows no instance profile and the credentials of role 'R'"),
        (ADMIN, None, "show no instance profile; it still shows instance profile 'admin'"),
    ],
)
def test_waiting_ends_at_the_deadline(shown, profile, message):
    with pytest.raises(ConsistencyTimeout, match=message):
        wait(Service(shown), profile)


def test_waiting_for_a_service_that_never_answers_ends_with_its_error():
    with pytest.raises(CwagentError, match="never"):
        wait(Service(CwagentError("never")), "admin")


def test_a_rejected_token_is_replaced(metadata):
    metadata.update({**PAGES, "iam/info": 401})
    service = MetadataService()
    with pytest.raises(CwagentError, match="HTTP 401"):
        service.identity()
    assert service._token is None
    metadata["iam/info"] = INFO
    assert service.identity() == ADMIN


@pytest.mark.parametrize(
    ("shown", "limit", "refused", "seconds", "is_refused"),
    [
        ([REFUSED], 5, 2, 2, True),
        ([NO_PROFILE, NO_PROFILE, REFUSED], 5, 2, 2, True),
        ([REFUSED, WITHOUT_CREDENTIALS], 5, 2, 5, False),
        ([Identity("other", None, "x", is_refused=True), WITHOUT_CREDENTIALS], 5, 2, 5, False),
        ([REFUSED], 0, 15, 0, None),
        ([REFUSED], 3, 15, 3, None),
    ],
)
def test_a_role_that_ec2_may_not_assume_is_waited_for_as_long_as_the_caller_says(
    shown, limit, refused, seconds, is_refused
):
    """EC2 tries it again at once where the profile is associated again, and that is not this host's to do."""
    clock = Clock()
    service: Any = Service(*shown)
    deadlines = clock.deadline(limit), clock.deadline(refused)
    with pytest.raises(ConsistencyTimeout, match=rf"^Waited {seconds} seconds") as error:
        wait_for_identity(service, "admin", deadlines[0], refused=deadlines[1])
    if is_refused is None:
        assert clock.now == seconds
    else:
        assert error.value.details == {"role_refused": is_refused}


def test_a_role_that_ec2_may_assume_in_time_is_found():
    assert wait(Service(REFUSED, REFUSED, ADMIN), "admin") == ADMIN


@pytest.mark.parametrize("page", ["i-1", "i-1\n", 404])
def test_the_instance_is_the_one_that_is_meant(metadata, page):
    """A service without this page says nothing."""
    metadata["instance-id"] = page
    MetadataService().check_instance("i-1")


def test_another_instance_is_an_error_with_both(metadata):
    metadata["instance-id"] = "i-2\x1b[2J"
    with pytest.raises(
        CwagentError, match=r"This is instance i-2\\x1b\[2J, and instance_id is i-1\. Check the address"
    ):
        MetadataService().check_instance("i-1")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS_OF_DOCUMENTS = ["Code", "Message", "InstanceProfileArn", "AccessKeyId", "SecretAccessKey", "Token"]
BODIES = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(st.sampled_from(KEYS_OF_DOCUMENTS), JSON_VALUES | st.just("x" * 9000)).map(
        lambda each: json.dumps(each).encode()
    ),
    st.sampled_from(
        [
            b"R",
            b"R\r\nX: y",
            b"../../other",
            b"[" * 30_000,
            b'{"a":' * 12_000,
            b"x" * 200_000,
            b"9" * 5000,
            INFO.encode(),
        ]
    ),
)
HEADERS = st.sampled_from(
    [
        "Content-Length: {length}",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",
        "Content-Length: x",
        "Content-Encoding: gzip\r\nContent-Length: {length}",
        "Content-Type: text/plain; charset=utf-7\r\nContent-Length: {length}",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nX: {long}",
        "Location: http://127.0.0.1:9/elsewhere\r\nContent-Length: 0",
        "Location: file:///etc/passwd\r\nContent-Length: 0",
        "no header at all",
        "",
    ]
)
STATUS = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 5
    + [b"HTTP/1.0 200", b"HTTP/1.1 100 Continue", b"HTTP/1.1 301 Moved", b"HTTP/1.1 302 Found", b"HTTP/1.1 307 Again"]
    + [b"HTTP/1.1 404 No", b"HTTP/1.1 503 No", b"HTTP/9.9 999 \x1b[2J", b"HTTP/1.1 99999 No", b"\x1b[2J\xff", b""]
)


@st.composite
def answers(draw):
    """The bytes that a service can send as the answer to a request."""
    body, headers = draw(BODIES), draw(HEADERS)
    if "chunked" in headers:
        size = draw(st.sampled_from([b"%x" % len(body), b"-1", b"fffffffffffffffff", b"zz", b""]))
        body = size + b"\r\n" + body + draw(st.sampled_from([b"\r\n0\r\n\r\n", b""]))
    text = headers.format(length=len(body), long="x" * 70_000).encode()
    return draw(STATUS) + b"\r\n" + text + b"\r\n\r\n" + body


class Raw:
    """A service on loopback that sends bytes. :param send: gets the connection and the number of the request."""

    def __init__(self, send):
        self._send = send
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def _serve(self):
        number = 0
        with suppress(OSError):  # the end of the test
            while True:
                connection, _address = self._server.accept()
                number += 1
                with closing(connection), suppress(OSError):
                    connection.recv(65536)
                    self._send(connection, number)

    def __enter__(self):
        self._thread.start()
        return self.address

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


def token():
    return b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nt"


CALLS: dict[str, Any] = {
    "identity": MetadataService.identity,
    "credentials": MetadataService.credentials,
    "check_instance": lambda service: service.check_instance("i-1"),
}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(answers(), min_size=4, max_size=4), st.booleans(), st.sampled_from(sorted(CALLS)))
def test_whatever_the_service_answers_ends_in_a_result_or_an_error_of_ours(sent, has_token, call):
    def send(connection, number):
        connection.sendall(token() if has_token and number == 1 else sent[number % len(sent)])

    with Raw(send) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADDRESS_VARIABLE, address)
        message, found = "", None
        try:
            found = CALLS[call](MetadataService())
        except CwagentError as error:
            message = str(error)
    assert message.isprintable()
    assert len(message) < 1000
    if message:
        return
    if call == "credentials":
        assert all(each.isascii() and each.isprintable() for each in (found.key_id, found.secret, found.token))
    if call == "identity":
        assert f"{found.profile}{found.role}{found.problem}".isprintable()
        assert len(f"{found.profile}{found.role}{found.problem}") < 1200


START = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
SLOW = {
    "status": (b"", b"H"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\n", b"x"),
    "body": (START, b"{"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize(("start", "drop"), SLOW.values(), ids=SLOW)
def test_a_slow_answer_has_a_limit_in_total(start, drop, monkeypatch):
    """Each drop comes long before the time limit of the socket."""
    monkeypatch.setattr(imds, "TIMEOUT_SECONDS", 0.5)

    def send(connection, _number):
        connection.sendall(start)
        ended = threading.Event()
        while not ended.wait(0.05):
            if drop:
                connection.sendall(drop)
            else:
                ended.wait(2)
                return

    with Raw(send) as address:
        monkeypatch.setenv(ADDRESS_VARIABLE, address)
        begun = time.monotonic()
        with pytest.raises(CwagentError, match="does not answer at"):
            MetadataService().identity()
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_answer(metadata, status):
    metadata["iam/info"] = status
    with pytest.raises(CwagentError, match=f"returned HTTP {status} for"):
        MetadataService().identity()


@pytest.mark.parametrize(
    "address", ["", "169.254.169.254", "ftp://127.0.0.1", "http://", "http://[::1", "http://h:port"]
)
def test_an_address_that_is_none_is_an_error(monkeypatch, address):
    monkeypatch.setenv(ADDRESS_VARIABLE, address)
    with pytest.raises(CwagentError):
        MetadataService().identity()
