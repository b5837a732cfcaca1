from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import traceback
from contextlib import suppress
from http.client import BadStatusLine, RemoteDisconnected
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter import ParameterResource
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import DesiredConfig
from ansible_collections.cwagent.iam.plugins.module_utils._ground import signed_call
from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    UNREADABLE_RESPONSE,
    AwsApiError,
    CwagentError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.signed_call import (
    Answer,
    Endpoint,
    Keys,
    SignedAws,
    call,
    probe,
)

REGION = "eu-west-1"
KEYS = Keys("ASIAEXAMPLE", "Se/CrEt", "ToKeN+/=")
ARN = "arn:aws:sts::123456789012:assumed-role/CloudWatchAgentHybridRole/mi-0123456789abcdef0"
FOUND = f"<R><GetCallerIdentityResult><Arn>{ARN}</Arn></GetCallerIdentityResult></R>"
CLOSED = "http://127.0.0.1:9/"
ARGUMENTS = {"Name": "AmazonCloudWatch-é", "Value": '{"a":"\N{SNOWMAN}"}', "Overwrite": True}
MODELS = {name: botocore.session.get_session().get_service_model(name) for name in ("ssm", "sts")}
ATTEMPTS = 10

pytestmark = pytest.mark.usefixtures("no_pauses")


def put(url, attempts=ATTEMPTS, keys=KEYS, **more):
    return call(Endpoint("ssm", url, REGION, **more), keys, "PutParameter", ARGUMENTS, attempts)


# -- Requests --


@pytest.mark.parametrize("token", ["", "ToKeN+/="])
@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [("ssm", "PutParameter", ARGUMENTS), ("ssm", "GetParameter", {"Name": "x"}), ("sts", "GetCallerIdentity", {})],
)
def test_a_request_is_the_one_of_boto3(server, service, operation, arguments, token):
    server.answers += [(403, "{}" if service == "ssm" else "<a/>")] * 2
    call(Endpoint(service, server.url, REGION), Keys("AKIA", "Se/CrEt", token), operation, arguments, 1)
    keys = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "Se/CrEt", "aws_session_token": token or None}
    client = boto3.client(service, region_name=REGION, endpoint_url=server.url, **keys)
    with suppress(BotoCoreError, ClientError):
        client._make_api_call(operation, dict(arguments))
    ours, theirs = server.requests
    assert ours[0] == theirs[0] == "/"
    names = {"content-type", "x-amz-target", "host", "x-amz-security-token"}
    [of_ours, of_theirs] = (
        {name.lower(): value for name, value in each[1].items() if name.lower() in names} for each in (ours, theirs)
    )
    assert of_ours == of_theirs
    [signed, signed_by_boto3] = (re.findall("SignedHeaders=[^,]*", each[1]["Authorization"]) for each in (ours, theirs))
    assert signed == signed_by_boto3
    read = json.loads if service == "ssm" else bytes.decode
    assert read(ours[2]) == read(theirs[2])


def test_a_call_goes_over_ipv6(server_of_ipv6):
    server_of_ipv6.answers += [(200, json.dumps({"Version": 7}))]
    assert put(server_of_ipv6.url).document == {"Version": 7}
    [(_path, headers, _body)] = server_of_ipv6.requests
    assert headers["Host"] == f"[::1]:{server_of_ipv6.server_port}"


def test_another_host_does_not_get_the_credentials(server):
    server.answers += [(307, "")]
    answer = put(server.url)
    assert (answer.status, answer.error, len(server.requests)) == (307, None, 1)


def test_the_proxy_is_used_unless_the_endpoint_is_an_exception(server):
    server.answers += [(200, "{}")] * 3
    for proxy in (server.url.replace("//", "//user%40a:Proxy-Pass@"), f"127.0.0.1:{server.server_port}"):
        assert put("http://ssm.example/path", proxies={"http": proxy}).status == 200
    (target, headers, _body), (_target, without_login, _same) = server.requests
    assert (target, headers["Host"]) == ("http://ssm.example/path", "ssm.example")
    assert headers["Proxy-Authorization"] == "Basic dXNlckBhOlByb3h5LVBhc3M="
    assert "Proxy-Authorization" not in without_login
    assert put(server.url, proxies={"http": CLOSED, "no": "127.0.0.1"}).status == 200


def test_a_proxy_that_wants_a_password_is_asked_once(server):
    answer = put("https://ssm.example/", proxies={"https": server.url.replace("//", "//user:Proxy-Pass@")})
    assert answer == Answer(reason="the proxy answered with HTTP status 407")
    [(target, headers, _body)] = server.requests
    assert (target, headers["Proxy-Authorization"][:6]) == ("ssm.example:443", "Basic ")


@pytest.mark.parametrize("proxy", ["https://user:Proxy-Pass@proxy", "socks5://proxy"])
def test_a_proxy_that_the_standard_library_cannot_use_is_refused(proxy):
    answer = put("https://ssm.example/", proxies={"https": proxy})
    reason = "Python's standard library can only use a proxy whose address begins with http://"
    assert answer == Answer(reason=reason)


@pytest.fixture
def with_tls(server, tmp_path):
    """The server with a certificate that it has signed itself. :returns: the address and the certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answers += [(200, "{}")] * 2
    return server.url.replace("http:", "https:"), str(certificate)


def test_only_the_certificates_of_the_bundle_are_accepted(with_tls):
    """As in a network with a proxy that replaces certificates. A certificate does not become valid by itself."""
    url, certificate = with_tls
    assert put(url, ca_bundle=certificate).status == 200
    assert put(url, validate_certs=False).status == 200
    answer = put(url)
    assert re.fullmatch(r"its certificate is not accepted, self.signed certificate", answer.reason)
    assert not answer.is_lost


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_certificates_that_cannot_be_read_are_a_reason(tmp_path, content):
    path = tmp_path / "bundle.pem"
    if content:
        path.write_bytes(content)
    assert put("https://127.0.0.1:9/", ca_bundle=str(path)).reason.startswith(
        "the file with certificates is not usable"
    )


# -- Answers --

TEXTS = st.text(max_size=9)
CODES = st.from_regex(r"[A-Z][A-Za-z]{0,20}", fullmatch=True)
JSON_ERRORS = st.builds(
    lambda prefix, code, suffix, name, message: {"__type": f"{prefix}{code}{suffix}", name: message},
    st.sampled_from(["", "com.amazonaws.ssm#", "a.b#c#"]),
    CODES,
    st.sampled_from(["", ":http://internal.amazon.com/coral/com.amazon.coral/"]),
    st.sampled_from(["message", "Message"]),
    TEXTS,
)
XML_TEXTS = st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1, max_size=9).map(
    lambda text: f"x{text}x"
)


def read_by_botocore(service, operation, status, text):
    model = MODELS[service]
    parser = create_parser(model.metadata["protocol"])
    response = {"body": text.encode(), "headers": {}, "status_code": status}
    return parser.parse(response, model.operation_model(operation).output_shape)


@given(st.integers(301, 599), JSON_ERRORS)
def test_an_error_of_systems_manager_is_read_as_by_botocore(status, document):
    text = json.dumps(document)
    error = read_by_botocore("ssm", "GetParameter", status, text)["Error"]
    assert Answer(status, text).error == (error["Code"], error["Message"])


@given(st.integers(301, 599), CODES, XML_TEXTS)
def test_an_error_of_sts_is_read_as_by_botocore(status, code, message):
    escaped = message.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escaped}</Message></Error>"
    text = f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{error}</ErrorResponse>'
    found = read_by_botocore("sts", "GetCallerIdentity", status, text)["Error"]
    assert Answer(status, text).error == (found["Code"], found["Message"])


@given(st.fixed_dictionaries({"Name": TEXTS, "Type": TEXTS, "Value": TEXTS, "Version": st.integers(1)}))
def test_a_parameter_is_read_as_by_botocore(parameter):
    text = json.dumps({"Parameter": parameter})
    expected = read_by_botocore("ssm", "GetParameter", 200, text)["Parameter"]
    assert Answer(200, text).document == {"Parameter": expected}


@pytest.mark.parametrize("text", ["", "<p>Sign in</p>", "[]", '"x"', "[" * 100_000, "{"])
def test_a_text_in_another_format_is_neither_a_document_nor_an_error(text):
    for status in (200, 403):
        assert (Answer(status, text).document, Answer(status, text).error, Answer(status, text).arn) == (None, None, "")


@pytest.mark.parametrize(("status", "arn"), [(200, ARN), (403, "")])
def test_the_caller_is_in_an_answer_that_is_a_success(status, arn):
    assert Answer(status, FOUND).arn == arn


# -- Failures --


@pytest.mark.parametrize(
    ("answers", "count"),
    [
        ([None, (200, "{}")], 2),
        ([(500, ""), (503, "<html>"), (200, "{}")], 3),
        ([(400, '{"__type": "ThrottlingException"}'), (200, "{}")], 2),
        ([(400, '{"__type": "RequestTimeout"}'), (200, "{}")], 2),
        ([(400, '{"__type": "ValidationException"}')], 1),
        ([(403, "")], 1),
        ([(500, "")] * 12, ATTEMPTS),
    ],
)
def test_a_call_is_repeated_while_its_failure_can_pass(server, answers, count):
    expected = answers[count - 1]
    server.answers += answers
    answer = put(server.url)
    assert ((answer.status, answer.text), len(server.requests)) == (expected, count)


def test_the_pauses_are_those_of_boto3(monkeypatch, server):
    """A random part of these seconds."""
    pauses = []
    monkeypatch.setattr(signed_call.Deadline, "pause", lambda _deadline, seconds: pauses.append(seconds))
    monkeypatch.setattr(signed_call.SystemRandom, "random", lambda _random: 1)
    server.answers += [(500, "")] * ATTEMPTS
    put(server.url)
    assert pauses == [1, 2, 4, 8, 16, 20, 20, 20, 20]


@pytest.mark.parametrize(
    ("url", "keys", "reason"),
    [
        ("file:///etc/hostname", KEYS, "ValueError"),
        ("http://127.0.0.1:Se/CrEt/", KEYS, "ValueError"),
        ("", Keys("A", "B", "Se\nCrEt"), "ValueError"),
        ("", Keys("A", "Se\udce9CrEt"), "UnicodeEncodeError"),
    ],
)
def test_a_request_that_cannot_be_sent_is_a_reason_without_secrets(server, url, keys, reason):
    assert put(url or server.url, keys=keys) == Answer(reason=f"the request or the answer is not valid ({reason})")


def test_a_closed_port_is_a_reason():
    assert put(CLOSED) == Answer(reason="Connection refused", is_lost=True)


def certificate_error(message):
    error = ssl.SSLCertVerificationError(1, "Se/CrEt")
    error.verify_message = message
    return error


@pytest.mark.parametrize(
    ("failure", "reason", "is_lost"),
    [
        (TimeoutError("timed out"), "no connection or no data in time", True),
        (OSError("Se/CrEt"), "the request or the answer is not valid (OSError)", True),
        (RemoteDisconnected("Se/CrEt"), "the request or the answer is not valid (RemoteDisconnected)", True),
        (BadStatusLine("Se/CrEt"), "the request or the answer is not valid (BadStatusLine)", True),
        (
            certificate_error("Hostname mismatch, certificate is not valid for 'Se/CrEt'."),
            "its certificate is not accepted, Hostname mismatch",
            False,
        ),
    ],
)
def test_a_failure_is_a_reason_without_secrets(monkeypatch, failure, reason, is_lost):
    attempts = []

    def fail(*_args):
        attempts.append(1)
        raise failure

    monkeypatch.setattr(signed_call, "_prepare", fail)
    assert put(CLOSED) == Answer(reason=reason, is_lost=is_lost)
    assert len(attempts) == (ATTEMPTS if is_lost else 1)


# -- Whether a service answers --


@pytest.mark.parametrize("answer", [(404, ""), (500, ""), (302, "")])
def test_any_answer_proves_the_way(server, answer):
    server.answers.append(answer)
    assert probe(Endpoint("ssm", server.url, REGION), 5) == ""
    [(target, headers, body)] = server.requests
    assert (target, body, "Authorization" in headers) == ("/", b"", False)


def test_a_service_that_does_not_answer_is_asked_once():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts a connection, and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert probe(Endpoint("ssm", url, REGION), 0.1) == "no connection or no data in time"
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


# -- The gateway --

PASSWORD = "Proxy-Pass"
NAME: dict[str, Any] = {"Name": "AmazonCloudWatch-linux"}
FOUND_PARAMETER = {"Parameter": {"Name": "AmazonCloudWatch-linux", "Type": "String", "Value": "{}", "Version": 3}}
REFUSED = "<Error><Code>AccessDenied</Code></Error>"
DENIED = "User: arn:aws:iam::1:user/u is not authorized to perform: ssm:GetParameter on resource: * because no policy"


def gateways(url):
    keys = {"aws_access_key_id": KEYS.key_id, "aws_secret_access_key": KEYS.secret, "region_name": REGION}
    boto = Aws(lambda service, config: boto3.client(service, endpoint_url=url, config=config, **keys))
    endpoints = {service: Endpoint(service, url, REGION) for service in ("ssm", "sts")}
    return boto, SignedAws(lambda: KEYS, endpoints)


def outcome(aws):
    try:
        found = aws.find("ssm:GetParameter", "read it", absent="ParameterNotFound", **NAME)
    except AwsApiError as error:
        return str(error), error.code, error.action, error.explicit_deny
    return found and {"Parameter": found["Parameter"]}


def json_error(code, message="m"):
    return 400, json.dumps({"__type": code, "message": message})


@pytest.mark.parametrize(
    "answers",
    [
        [(200, json.dumps(FOUND_PARAMETER))],
        [json_error("ParameterNotFound")],
        [json_error("ValidationException", "AmazonCloudWatch-linux: no")],
        [json_error("AccessDeniedException", DENIED)],
        [json_error("AccessDeniedException", "KMS"), (200, FOUND)],
        [json_error("AccessDeniedException", ""), (403, f"<ErrorResponse>{REFUSED}</ErrorResponse>")],
        [json_error("ExpiredTokenException")],
        [json_error("UnrecognizedClientException")],
        [json_error("InvalidSignatureException", "The request signature we calculated does not match")],
        [json_error("ThrottlingException"), (500, ""), (200, json.dumps(FOUND_PARAMETER))],
        [(503, "")] * 10,
        [(502, "<html>Bad gateway</html>")] * 10,
    ],
)
def test_the_outcome_of_a_call_is_the_one_with_boto3(server, answers, monkeypatch):
    # The outcome is compared, for which ten attempts of boto3 would pause for minutes.
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    found = []
    for aws in gateways(server.url):
        server.answers[:] = answers
        found.append((outcome(aws), server.answers[:]))
    [with_boto3, ours] = found
    assert ours == with_boto3 == (ours[0], [])


@pytest.mark.parametrize("message", ["Signature expired: a is now earlier than b", "Signature not yet current: a"])
def test_a_wrong_clock_is_not_a_wrong_secret_and_the_host_is_named(server, message):
    server.answers.append(json_error("InvalidSignatureException", message))
    [text, code, *_] = outcome(gateways(server.url)[1])
    assert f": the clock of host {socket.gethostname()} differs from the one of AWS ({message})" in text
    assert code == "RequestTimeTooSkewed"


@pytest.mark.parametrize("answer", [(200, "<p>Sign in</p>"), (302, ""), (403, "<p>Sign in</p>"), (200, "[]")])
def test_an_answer_in_another_format_is_an_api_error(server, answer):
    server.answers.append(answer)
    [text, code, *_] = outcome(gateways(server.url)[1])
    assert (text.partition(": ")[2].startswith("the answer was not in the format"), code) == (True, UNREADABLE_RESPONSE)


FIELDS = FOUND_PARAMETER["Parameter"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Parameter": None},
        *({"Parameter": {key: value for key, value in FIELDS.items() if key != name}} for name in ("Type", "Version")),
        {"Parameter": {**FIELDS, "Version": "new"}},
        {"Parameter": {**FIELDS, "Type": "String", "Value": None, "Version": None}},
    ],
)
def test_a_parameter_of_another_form_is_an_api_error(server, answer):
    server.answers.append((200, json.dumps(answer)))
    resource = ParameterResource(gateways(server.url)[1], DesiredConfig("AmazonCloudWatch-linux"), REGION)
    with pytest.raises(AwsApiError, match="the answer was not in the format of AWS"):
        resource.read_again()


def test_no_credential_is_in_an_error():
    with pytest.raises(CwagentError, match=r"read it \(ssm:GetParameter\): AWS could not be .* refused") as error:
        outcome(gateways(f"http://user:{PASSWORD}@127.0.0.1:9")[1])
    shown = "".join(traceback.format_exception(error.value))
    assert [each for each in (KEYS.secret, KEYS.token, PASSWORD) if each in shown] == []


def test_denied_credentials_are_read_again(server):
    """The earlier ones stay if there are none."""
    answers = [Keys("A", "a"), Keys("B", "b"), CwagentError("none"), Keys("C", "c")]

    def read():
        answer = answers.pop(0)
        if isinstance(answer, CwagentError):
            raise answer
        return answer

    server.answers += [*[json_error("AccessDeniedException", DENIED)] * 3, (200, json.dumps(FOUND_PARAMETER))]
    aws = SignedAws(read, {"ssm": Endpoint("ssm", server.url, REGION)}, retry_timeout=9)
    codes = frozenset({"AccessDeniedException"})
    assert aws.retry(lambda: aws.call("ssm:GetParameter", "read it", **NAME), codes) == FOUND_PARAMETER
    used = [re.findall("Credential=(.)", headers["Authorization"]) for _target, headers, _body in server.requests]
    assert used == [["A"], ["B"], ["B"], ["C"]]
