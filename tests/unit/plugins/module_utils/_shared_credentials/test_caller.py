from __future__ import annotations

import re
import ssl
import subprocess
import threading
from datetime import UTC, datetime
from http.client import BadStatusLine, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import create_loader
from botocore.regions import EndpointResolver
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials import caller
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.caller import (
    ATTEMPTS,
    QUERY,
    Network,
    find_caller,
    find_network,
    read_answer,
    sign,
)
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.region_line import CREDENTIALS

REGION = "eu-west-1"
KEYS = dict(zip(CREDENTIALS, ("ASIAEXAMPLE", "Se/CrEt", "ToKeN+/="), strict=True))
ARN = "arn:aws:sts::123456789012:assumed-role/CloudWatchAgentHybridRole/mi-0123456789abcdef0"
FOUND = f"<GetCallerIdentityResponse><Arn>{ARN}</Arn></GetCallerIdentityResponse>"
EXPIRED = "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>Canonical string: ToKeN+/=</Message></Error>"
NOT_STS = "The answer with HTTP status {} is not one of STS. Check the proxy and the endpoint."
CLOSED = "http://127.0.0.1:9/"


# -- The signature --

SCHEMES, HOSTS = st.sampled_from(["http", "https"]), st.sampled_from(["sts.eu-west-1.amazonaws.com", "[::1]", "Relay"])
PORTS, PATHS = st.sampled_from(["", ":80", ":443", ":8443"]), st.lists(st.from_regex(r"[\w%~.-]\w+", fullmatch=True))
TEXTS = st.text("abcXYZ019+/=", min_size=1)
URLS = st.builds(
    lambda scheme, host, port, path: "/".join([f"{scheme}://{host}{port}", *path, ""]), SCHEMES, HOSTS, PORTS, PATHS
)


@given(URLS, st.sampled_from([REGION, "cn-north-1"]), st.tuples(TEXTS, TEXTS, TEXTS))
def test_the_signature_is_the_one_of_botocore(url, region, keys):
    request = AWSRequest("GET", f"{url}?{QUERY}")
    SigV4Auth(Credentials(*keys), "sts", region).add_auth(request)
    expected = dict(request.headers)
    time = datetime.strptime(expected["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    found = sign(url, region, dict(zip(CREDENTIALS, keys, strict=True)), time)
    # The header is in the signature. The library that sends the request of botocore adds it.
    assert found.pop("Host")
    assert {name: value.replace(", ", ",") for name, value in found.items()} == {
        name: value.replace(", ", ",") for name, value in expected.items()
    }


# -- The way to STS --


def test_the_endpoint_is_the_one_of_botocore_in_every_region():
    resolver = EndpointResolver(create_loader().load_data("endpoints"))
    regions = [
        region
        for partition in resolver.get_available_partitions()
        for region in resolver.get_available_endpoints("ec2", partition)
    ]
    assert {"eu-central-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1"} <= {*regions}
    for region in regions:
        expected = resolver.construct_endpoint("sts", region)
        suffix = expected["dnsSuffix"]
        assert find_network(region, {}, {}, "").endpoint == f"https://sts.{region}.{suffix}/"


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL": "http://all/"}, "http://all/"),
        ({"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_STS": "http://sts/relay"}, "http://sts/relay/"),
        ({"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_STS": ""}, "https://sts.eu-west-1.amazonaws.com/"),
    ],
)
def test_the_endpoint_of_the_environment_is_used(variables, endpoint):
    assert find_network(REGION, variables, {}, "").endpoint == endpoint


CONFIG = """\
[proxy]
http_proxy = "http://config"
https_proxy = "http://config-tls"
no_proxy = "inside"
[ssl]
ca_bundle_path = "/config.pem"
"""
OF_CONFIG = {"http": "http://config", "https": "http://config-tls", "no": "inside"}


@pytest.mark.parametrize(
    ("proxies", "config", "expected"),
    [
        ({}, "", {}),
        ({}, CONFIG, OF_CONFIG),
        ({"no": "169.254.169.254"}, CONFIG, {**OF_CONFIG, "no": "169.254.169.254"}),
        ({"https": "http://environment"}, CONFIG, {"https": "http://environment"}),
    ],
)
def test_the_agents_proxy_is_used_where_the_environment_has_none(proxies, config, expected):
    assert find_network(REGION, {}, proxies, config).proxies == expected


def test_the_agents_certificates_are_used_where_the_environment_has_none():
    assert find_network(REGION, {}, {}, CONFIG).ca_bundle == "/config.pem"
    assert find_network(REGION, {"AWS_CA_BUNDLE": "/mine.pem"}, {}, CONFIG).ca_bundle == "/mine.pem"
    assert find_network(REGION, {}, {}, "").ca_bundle == ""


def test_a_configuration_that_is_not_valid_is_an_error():
    with pytest.raises(CwagentError, match="Line 1: Every value of common-config"):
        find_network(REGION, {}, {}, "[proxy\n")


# -- Answers --


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (200, FOUND, (ARN, None)),
        (403, EXPIRED, (None, "STS refused the credentials (ExpiredToken).")),
        (403, FOUND, (None, NOT_STS.format(403))),
        (200, "<p>Sign in</p>", (None, NOT_STS.format(200))),
        (503, EXPIRED, (None, NOT_STS.format(503))),
    ],
)
def test_answers(status, text, expected):
    assert read_answer(status, text) == expected


class Server(ThreadingHTTPServer):
    """A web server with its address, the requests that it got, and the answers that it gives."""

    url: str
    requests: list[tuple[str, dict[str, str]]]
    answers: list[tuple[int, str]]


@pytest.fixture
def server():
    """A web server on loopback. It answers with ``answers``, from first to last, and keeps the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, dict(self.headers)))
            status, body = answers.pop(0)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", url)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_CONNECT(self):
            requests.append((self.path, dict(self.headers)))
            self.send_error(407, "Se/CrEt")

        def log_message(self, *_):
            pass

    requests, answers = [], []
    server = Server(("127.0.0.1", 0), Handler)
    server.requests, server.answers = requests, answers
    url = server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(endpoint, proxies=None, ca_bundle="", **keys):
    return find_caller(REGION, {**KEYS, **keys}, Network(endpoint, proxies or {}, ca_bundle))


def test_sts_is_asked_with_the_credentials(server):
    server.answers.append((200, FOUND))
    assert ask(server.url) == (ARN, None)
    [(path, headers)] = server.requests
    assert path == f"/?{QUERY}"
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"
    assert headers["X-Amz-Security-Token"] == KEYS["aws_session_token"]
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE/")


@pytest.mark.parametrize(
    ("answers", "expected", "count"),
    [
        ([(500, ""), (200, FOUND)], (ARN, None), 2),
        ([(500, ""), (403, EXPIRED)], (None, "STS refused the credentials (ExpiredToken)."), 2),
        ([(403, EXPIRED)], (None, "STS refused the credentials (ExpiredToken)."), 1),
    ],
)
def test_a_refusal_is_not_retried(server, answers, expected, count):
    server.answers += answers
    assert ask(server.url) == expected
    assert len(server.requests) == count <= ATTEMPTS


def test_another_host_does_not_get_the_credentials(server):
    server.answers.append((302, ""))
    arn, error = ask(server.url)
    assert (arn, len(server.requests)) == (None, 1)
    assert error == NOT_STS.format(302)


def test_the_proxy_is_used_unless_the_endpoint_is_an_exception(server):
    server.answers += [(200, FOUND)] * 2
    proxies = {"http": server.url.replace("//", "//user:Proxy-Pass@")}
    assert ask("http://sts.example/", proxies) == (ARN, None)
    [(path, headers)] = server.requests
    assert path == f"http://sts.example/?{QUERY}"
    assert headers["Host"] == "sts.example"
    assert headers["Proxy-Authorization"].startswith("Basic ")
    assert ask(server.url, {"http": CLOSED, "no": "127.0.0.1"}) == (ARN, None)


def test_a_proxy_that_refuses_is_an_answer(server):
    arn, error = ask("https://sts.example/", {"https": server.url})
    assert (arn, error) == (None, "STS did not answer: the proxy answered with HTTP status 407.")
    assert [path for path, _headers in server.requests] == ["sts.example:443"] * ATTEMPTS


@pytest.mark.parametrize(
    ("endpoint", "keys", "reason"),
    [
        ("file:///etc/hostname", {}, "ValueError"),
        ("http:///", {}, "ValueError"),
        ("http://127.0.0.1:Se/CrEt/", {}, "ValueError"),
        (CLOSED, {"aws_session_token": "Se\nCrEt"}, "ValueError"),
        (CLOSED, {"aws_secret_access_key": "Se\udce9CrEt"}, "UnicodeEncodeError"),
    ],
)
def test_a_request_that_cannot_be_sent_is_a_reason_without_secrets(endpoint, keys, reason):
    assert ask(endpoint, **keys) == (None, f"STS did not answer: the request or the answer is not valid ({reason}).")


def test_a_closed_port_is_a_reason():
    assert ask(CLOSED) == (None, "STS did not answer: Connection refused.")


@pytest.mark.parametrize("missing", CREDENTIALS)
def test_without_credentials_sts_is_not_asked(missing):
    assert ask(CLOSED, **{missing: ""}) == (None, "The credentials file has no credentials at the moment.")


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_certificates_that_cannot_be_read_are_a_reason(tmp_path, content):
    path = tmp_path / "bundle.pem"
    if content:
        path.write_bytes(content)
    arn, error = ask(CLOSED, ca_bundle=str(path))
    assert (arn, error) == (
        None,
        "The file of AWS_CA_BUNDLE, or of ca_bundle_path in common-config.toml, is not usable.",
    )


def certificate_error(message):
    error = ssl.SSLCertVerificationError(1, "Se/CrEt")
    error.verify_message = message
    return error


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (URLError(TimeoutError("timed out")), "no connection or no data within 10 seconds"),
        (TimeoutError("timed out"), "no connection or no data within 10 seconds"),
        (URLError(OSError("Se/CrEt")), "the request or the answer is not valid (OSError)"),
        (URLError("Se/CrEt"), "the request or the answer is not valid (str)"),
        (RemoteDisconnected("Se/CrEt"), "the request or the answer is not valid (RemoteDisconnected)"),
        (BadStatusLine("Se/CrEt"), "the request or the answer is not valid (BadStatusLine)"),
        (
            URLError(certificate_error("Hostname mismatch, certificate is not valid for 'Se/CrEt'.")),
            "its certificate is not accepted, Hostname mismatch",
        ),
    ],
)
def test_a_failure_is_a_reason_without_secrets(monkeypatch, failure, reason):
    attempts = []

    def fail(*_args):
        attempts.append(1)
        raise failure

    monkeypatch.setattr(caller, "_send", fail)
    assert ask(CLOSED) == (None, f"STS did not answer: {reason}.")
    assert len(attempts) == ATTEMPTS


def test_only_the_certificates_of_the_bundle_are_accepted(server, tmp_path):
    """As in a network with a proxy that replaces certificates."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")
    server.answers.append((200, FOUND))
    assert ask(url, ca_bundle=str(certificate)) == (ARN, None)
    _arn, error = ask(url)
    assert re.fullmatch(r"STS did not answer: its certificate is not accepted, self.signed certificate\.", error)
