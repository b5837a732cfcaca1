from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError

from ansible_collections.cwagent.iam.plugins.module_utils import _aws
from ansible_collections.cwagent.iam.plugins.module_utils._aws import PAGE_TOKENS, Aws, Deadline, _to_wire
from ansible_collections.cwagent.iam.plugins.module_utils._errors import UNREADABLE_RESPONSE, AwsApiError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({"role_name": "R", "max_session_duration": 3600}, {"RoleName": "R", "MaxSessionDuration": 3600}),
        ({"tags": {"team": "x", "none": ""}}, {"Tags": [{"Key": "team", "Value": "x"}, {"Key": "none", "Value": ""}]}),
        ({"policy_document": {"Version": "1"}}, {"PolicyDocument": '{"Version": "1"}'}),
        ({"iam_instance_profile": {"name": "P"}}, {"IamInstanceProfile": {"Name": "P"}}),
        ({"tag_keys": ["a"]}, {"TagKeys": ["a"]}),
    ],
)
def test_arguments_on_the_wire(arguments, sent):
    assert _to_wire(arguments) == sent


def test_deadline_never_sleeps_past_its_end():
    current, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        current[0] += seconds

    deadline = Deadline(5, lambda: current[0], sleep)
    assert [deadline.pause(), deadline.pause(), deadline.pause(), deadline.pause()] == [True, True, True, False]
    assert slept == [2, 2, 1]
    assert not Deadline(0, lambda: current[0], sleep).pause()


class Answering(Aws):
    """Gives its answers one after the other, instead of asking AWS."""

    def __init__(self, *codes: str, retry_timeout: float = 60) -> None:
        super().__init__(lambda *_: None, retry_timeout)
        self.codes = list(codes)

    def call(self, action, description, max_attempts=0, **arguments):
        code = self.codes.pop(0)
        if code != "fine":
            raise AwsApiError(description, code)
        return arguments


STEP = Step("iam:X", {"role_name": "R"}, "do it", done_when=frozenset({"Gone"}), retry_when=frozenset({"NotYet"}))


@pytest.mark.parametrize(
    ("codes", "answer"), [(["fine"], {"RoleName": "R"}), (["Gone"], None), (["NotYet", "fine"], {"RoleName": "R"})]
)
def test_answer(codes, answer):
    aws = Answering(*codes, retry_timeout=0.01)
    assert aws.answer(STEP) == answer
    assert aws.codes == []


@pytest.mark.parametrize(("codes", "retry_timeout"), [(["Other"], 60), (["NotYet"], 0)])
def test_other_refusals_are_raised(codes, retry_timeout):
    with pytest.raises(AwsApiError, match="do it") as error:
        Answering(*codes, retry_timeout=retry_timeout).answer(STEP)
    assert error.value.code == codes[0]


@pytest.mark.parametrize(("code", "found"), [("fine", {"RoleName": "R"}), ("NoSuchEntity", None)])
def test_absence_is_none(code, found):
    assert Answering(code).find("iam:GetRole", "read", absent="NoSuchEntity", RoleName="R") == found


def test_only_absence_is_swallowed():
    with pytest.raises(AwsApiError):
        Answering("AccessDenied").find("iam:GetRole", "read", absent="NoSuchEntity")


class Paged(Aws):
    """Answers with one page after the other."""

    def __init__(self, *pages):
        super().__init__(lambda *_: None)
        self.left, self.asked = list(pages), []

    def call(self, action, description, max_attempts=0, **arguments):
        self.asked.append(arguments)
        return self.left.pop(0)


@pytest.mark.parametrize("token", ["Marker", "NextToken"])
def test_pages_are_asked_for_one_by_one(token):
    pages = [{"Names": ["a"], token: "1"}, {"Names": [], token: "2"}, {"Names": ["b"], "IsTruncated": False, token: ""}]
    aws = Paged(*pages)
    found = aws.pages("iam:ListRoles", "read it", PathPrefix="/x/")
    assert next(found) == pages[0]
    assert aws.asked == [{"PathPrefix": "/x/"}], "no page is read before it is asked for"
    assert list(found) == pages[1:]
    assert aws.asked[1:] == [{"PathPrefix": "/x/", token: "1"}, {"PathPrefix": "/x/", token: "2"}]


def test_a_page_that_names_itself_as_the_next_is_no_reason_to_go_on_for_ever():
    aws = Paged({"Marker": "1"}, {"Marker": "1"})
    with pytest.raises(CwagentError, match=r"Could not read it \(iam:ListRoles\): AWS names a page"):
        list(aws.pages("iam:ListRoles", "read it"))


SOURCES = Path(_aws.__file__).parent.rglob("*.py")
READS = {read for source in SOURCES for read in re.findall(r'\.pages\(\s*f?"([^"]+)"', source.read_text())}
PAGED = sorted({read.replace("{noun}", noun) for read in READS for noun in ("Role", "User")})


def test_the_calls_that_have_pages_are_found():
    assert {"iam:ListAttachedUserPolicies", "ec2:DescribeTags", "iam:GetAccountAuthorizationDetails"} < set(PAGED)


@pytest.mark.parametrize("action", PAGED)
def test_the_tokens_are_those_of_the_api(action):
    service, operation = action.split(":")
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    named = [token for token in PAGE_TOKENS if token in model.input_shape.members]
    assert len(named) == 1
    assert named[0] in model.output_shape.members


class Proxy(BaseHTTPRequestHandler):
    """Answers everything with a page for people."""

    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html><body>Log in to use the network<br></html>")

    def log_message(self, *_):
        pass


@pytest.fixture
def behind_a_proxy():
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "s", "region_name": "us-east-1"}
        url = f"http://127.0.0.1:{server.server_port}"
        yield Aws(lambda service, config: boto3.client(service, endpoint_url=url, config=config, **keys))
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "read",
    [
        lambda aws: aws.call("iam:GetRole", "read it", RoleName="R"),
        lambda aws: list(aws.pages("iam:ListRoles", "read it")),
    ],
    ids=["a call", "pages"],
)
def test_an_answer_that_is_not_from_aws_is_no_traceback(behind_a_proxy, read):
    with pytest.raises(AwsApiError, match=r"Could not read it \(iam:\w+\): Unable to parse response") as error:
        read(behind_a_proxy)
    assert error.value.code == UNREADABLE_RESPONSE


ME = "arn:aws:iam::123456789012:user/me"


class Knowing(Aws):
    """Knows who it is, and counts how often it is asked."""

    asked = 0

    def _identity(self):
        self.asked += 1
        return ME


@pytest.mark.parametrize(
    ("code", "message", "asked", "words"),
    [
        ("UnauthorizedOperation", "Encoded authorization failure message: x", 1, f"{ME} lacks iam:X"),
        ("AccessDenied", "User: arn:other is not authorized to perform: iam:Y", 0, "arn:other lacks iam:Y"),
        ("Throttling", "Rate exceeded", 0, "throttled"),
        ("NoSuchEntity", "There is none", 0, "There is none (NoSuchEntity)"),
    ],
)
def test_identity_is_only_asked_for_where_it_is_missing(code, message, asked, words):
    aws = Knowing(lambda *_: None)
    error = aws._api_error(ClientError({"Error": {"Code": code, "Message": message}}, "X"), "do it", "iam:X")
    assert words in str(error)
    assert str(error).startswith("Could not do it (iam:X): ")
    assert (error.code, error.details, aws.asked) == (code, {}, asked)
