from __future__ import annotations

import ast
import re
import socket
import traceback
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from clocks import Clock
from import_graph import MODULE_UTILS

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    UNREADABLE_RESPONSE,
    AwsApiError,
    CwagentError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.gateway import MAX_ATTEMPTS, PAGE_TOKENS, _to_wire
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Kind, Step
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline


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
def test_arguments_are_converted_for_boto3(arguments, sent):
    assert _to_wire(arguments) == sent


def test_a_deadline_never_sleeps_past_its_end():
    clock = Clock()
    deadline = clock.deadline(5)
    assert [deadline.pause(), deadline.pause(), deadline.pause(), deadline.pause()] == [True, True, True, False]
    assert clock.slept == [2, 2, 1]
    assert not clock.deadline(0).pause()


class ScriptedAws(Aws):
    """Answers each call with the next error code; ``ok`` is a success that returns the arguments."""

    def __init__(self, *codes: str, retry_timeout: float = 60) -> None:
        super().__init__(lambda *_: None, retry_timeout)
        self.codes = list(codes)
        self.max_attempts: list[int] = []

    def call(self, action, description, max_attempts=0, **arguments):
        self.max_attempts.append(max_attempts)
        code = self.codes.pop(0)
        if code != "ok":
            raise AwsApiError(description, code)
        return arguments

    def deadline(self):
        """A deadline whose pauses take no time."""
        return Deadline(self._retry_timeout, sleep=lambda _: None)


STEP = Step(
    Kind.UPDATE,
    "iam:X",
    {"role_name": "R"},
    "do it",
    done_when=frozenset({"Gone"}),
    retry_when=frozenset({"NotYet"}),
)


@pytest.mark.parametrize(
    ("codes", "retry_timeout", "answer"),
    [
        (["ok"], 60, {"RoleName": "R"}),
        (["Gone"], 60, None),
        (["NotYet", "ok"], 60, {"RoleName": "R"}),
        (["Other"], 60, AwsApiError),
        (["NotYet"], 0, AwsApiError),
    ],
)
def test_executing_a_step_returns_the_answer_or_none_where_its_effect_exists(codes, retry_timeout, answer):
    aws = ScriptedAws(*codes, retry_timeout=retry_timeout)
    with pytest.raises(AwsApiError, match="do it") if answer is AwsApiError else nullcontext() as error:
        assert aws.execute(STEP) == answer
    assert aws.codes == []
    assert error is None or error.value.code == codes[0]


@pytest.mark.parametrize(
    ("action", "code", "passes"),
    [
        ("iam:PutRolePolicy", "ConcurrentModification", True),
        ("iam:TagRole", "ConcurrentModification", True),
        ("iam:UntagRole", "ConcurrentModification", True),
        ("iam:DeleteLoginProfile", "EntityTemporarilyUnmodifiable", True),
        ("iam:UpdateAccessKey", "EntityTemporarilyUnmodifiable", True),
        ("ssm:PutParameter", "TooManyUpdates", True),
        ("ssm:PutParameter", "ConcurrentModification", False),
        ("ec2:CreateTags", "TooManyUpdates", False),
    ],
)
def test_errors_that_pass_by_themselves_are_retried_whatever_the_step_says(action, code, passes):
    aws = ScriptedAws(code, "ok")
    step = Step(Kind.UPDATE, action, {"role_name": "R"}, "do it")
    if passes:
        assert aws.execute(step) == {"RoleName": "R"}
    else:
        with pytest.raises(AwsApiError):
            aws.execute(step)


@pytest.mark.parametrize(("options", "max_attempts"), [({}, MAX_ATTEMPTS), ({"max_attempts": 1}, 1)])
def test_a_step_can_limit_the_attempts_of_its_call(options, max_attempts):
    aws = ScriptedAws("ok")
    aws.execute(STEP, **options)
    assert aws.max_attempts == [max_attempts]


@pytest.mark.parametrize(
    ("code", "times"), [("AccessDeniedException", 1), ("UnrecognizedClientException", 1), ("Other", 0)]
)
def test_credentials_are_renewed_before_a_denied_call_is_repeated(monkeypatch, code, times):
    """They can have changed where the metadata service gives them."""
    renewed = []
    monkeypatch.setattr(ScriptedAws, "_renew_credentials", lambda _aws: renewed.append(1))
    aws = ScriptedAws(code, "ok")
    aws.retry(lambda: aws.call("ssm:X", "do it"), frozenset({code}))
    assert len(renewed) == times


@pytest.mark.parametrize(
    ("code", "found"), [("ok", {"RoleName": "R"}), ("NoSuchEntity", None), ("AccessDenied", AwsApiError)]
)
def test_only_absence_is_none(code, found):
    aws = ScriptedAws(code, retry_timeout=7)
    with pytest.raises(AwsApiError) if found is AwsApiError else nullcontext():
        assert aws.find("iam:GetRole", "read", absent="NoSuchEntity", RoleName="R") == found
    assert Aws.deadline(aws).seconds == 7


class PagedAws(Aws):
    """Answers each call with the next page."""

    def __init__(self, *pages):
        super().__init__(lambda *_: None)
        self.pages_left, self.requests = list(pages), []

    def call(self, action, description, max_attempts=0, **arguments):
        self.requests.append(arguments)
        return self.pages_left.pop(0)


@pytest.mark.parametrize("token", ["Marker", "NextToken"])
def test_a_page_is_read_when_it_is_needed(token):
    pages = [{"Names": ["a"], token: "1"}, {"Names": [], token: "2"}, {"Names": ["b"], "IsTruncated": False, token: ""}]
    aws = PagedAws(*pages)
    found = aws.pages("iam:ListRoles", "read it", PathPrefix="/x/")
    assert next(found) == pages[0]
    assert aws.requests == [{"PathPrefix": "/x/"}], "no further page is read yet"
    assert list(found) == pages[1:]
    assert aws.requests[1:] == [{"PathPrefix": "/x/", token: "1"}, {"PathPrefix": "/x/", token: "2"}]


@pytest.mark.parametrize("tokens", ["11", "121", "1231"])
def test_the_same_pagination_token_twice_is_an_error(tokens):
    aws = PagedAws(*({"Marker": each} for each in tokens))
    with pytest.raises(
        CwagentError, match=r"Could not read it \(iam:ListRoles\): AWS returned the same pagination token"
    ):
        list(aws.pages("iam:ListRoles", "read it"))


SOURCES = sorted(MODULE_UTILS.rglob("*.py"))
READS = {read for source in SOURCES for read in re.findall(r'\.pages\(\s*f?"([^"]+)"', source.read_text())}
PAGED = sorted({read.replace("{noun}", noun) for read in READS for noun in ("Role", "User")})


def test_the_actions_with_pages_are_found_in_the_source():
    assert {"iam:ListAttachedUserPolicies", "ec2:DescribeTags", "iam:GetAccountAuthorizationDetails"} < set(PAGED)


@pytest.mark.parametrize("action", PAGED)
def test_each_action_with_pages_uses_one_of_the_pagination_tokens(action):
    service, operation = action.split(":")
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    tokens = [token for token in PAGE_TOKENS if token in model.input_shape.members]
    assert len(tokens) == 1
    assert tokens[0] in model.output_shape.members


def test_ec2_is_asked_for_pages():
    """It recommends only paginated requests: without a page size, one answer has all, or times out."""
    calls = [
        node
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "pages"
    ]
    in_ec2 = [call for call in calls if ast.unparse(call.args[0]).startswith("'ec2:")]
    assert len(in_ec2) >= 3
    assert [ast.unparse(each) for each in in_ec2 if "MaxResults" not in {key.arg for key in each.keywords}] == []


@pytest.fixture
def behind_a_proxy(server):
    """The gateway to a web server that answers with a login page, or with what a test sets."""
    server.answers += [(200, "<html><body>Log in to use the network<br></html>")]
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    return Aws(lambda service, config: boto3.client(service, endpoint_url=server.url, config=config, **keys))


@pytest.mark.parametrize(
    "read",
    [
        lambda aws: aws.call("iam:GetRole", "read it", RoleName="R"),
        lambda aws: list(aws.pages("iam:ListRoles", "read it")),
    ],
    ids=["a call", "pages"],
)
def test_an_answer_in_another_format_is_an_api_error(behind_a_proxy, read):
    with pytest.raises(AwsApiError, match=r"Could not read it \(iam:\w+\): the answer was not in the format") as error:
        read(behind_a_proxy)
    assert error.value.code == UNREADABLE_RESPONSE


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://127.0.0.1:1", ""),
        ("http://127.0.0.1:1", "http://user:s3cr3t@127.0.0.1:1"),
        ("https://127.0.0.1:1", "http://user:s3cr3t@127.0.0.1:1"),
        ("https://127.0.0.1:{silent}", ""),
        ("http://iam.invalid", ""),
    ],
    ids=["endpoint", "proxy", "tunnel", "no answer", "name"],
)
def test_what_fails_on_the_way_to_aws_has_an_advice(url: str, proxy: str) -> None:
    def client(service: str, config: Config) -> Any:
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "s", "region_name": "us-east-1"}
        given = Config(
            proxies=dict.fromkeys(("http", "https"), proxy) if proxy else None, connect_timeout=1, read_timeout=1
        )
        return boto3.client(service, endpoint_url=address, config=config.merge(given), **keys)

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts a connection, and says nothing
        address = url.format(silent=silent.getsockname()[1])
        with pytest.raises(
            CwagentError, match=r"read it \(iam:GetRole\): AWS could not be reached .* proxies"
        ) as error:
            Aws(client).call("iam:GetRole", "read it", max_attempts=1, RoleName="R")
    assert "s3cr3t" not in str(error.value)


NEW_KEY = (
    "<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><SecretAccessKey>s3cr3t</SecretAccessKey></AccessKey>"
    "</CreateAccessKeyResult></CreateAccessKeyResponse>"
)


@pytest.mark.parametrize(
    "text",
    [f"{NEW_KEY}<script></script>", NEW_KEY[:-20], f"<html>{NEW_KEY}</html>", f"<p>{NEW_KEY}<br></p>"],
    ids=["appended to", "cut off", "wrapped", "broken"],
)
def test_an_answer_that_cannot_be_read_is_not_quoted(behind_a_proxy, server, text):
    """The answer of CreateAccessKey contains a secret. botocore quotes an answer that it cannot parse."""
    server.answers[:] = [(200, text)]
    with pytest.raises(AwsApiError, match="the answer was not in the format of AWS") as error:
        behind_a_proxy.call("iam:CreateAccessKey", "create it", UserName="U")
    assert "s3cr3t" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    "body",
    [
        *(f'{{"MetricDataResults": [{{"Timestamps": [{time}]}}]}}' for time in ("253402300800", "NaN", '"x"', "1e18")),
        *("null", "[]", "7", '{"MetricDataResults": 7}', "[" * 100_000),
    ],
)
def test_an_answer_that_botocore_cannot_take_is_an_error_with_a_sentence(behind_a_proxy, server, body):
    server.answers[:] = [(200, body)] * 3
    query = {"Id": "m0", "Expression": "1"}
    with pytest.raises(
        AwsApiError, match=r"^Could not read it \(cloudwatch:GetMetricData\): the answer was not in the"
    ):
        behind_a_proxy.call("cloudwatch:GetMetricData", "read it", MetricDataQueries=[query], StartTime=1, EndTime=2)


CALLER = "arn:aws:iam::123456789012:user/me"


class IdentifiedAws(Aws):
    """Has a caller, and counts how often it is read."""

    reads = 0

    def _identity(self):
        self.reads += 1
        return CALLER


OTHER_DENIED = "User: arn:other is not authorized to perform: iam:Y"


@pytest.mark.parametrize(
    ("code", "message", "reads", "text"),
    [
        ("UnauthorizedOperation", "Encoded authorization failure message: x", 1, f"{CALLER} lacks iam:X"),
        ("AccessDenied", f"{OTHER_DENIED} because no identity-based policy allows it", 0, "arn:other lacks iam:Y"),
        ("AccessDenied", f"{OTHER_DENIED} with an explicit deny in a service control policy", 0, "explicitly denies"),
        ("Throttling", "Rate exceeded", 0, "throttled"),
        ("NoSuchEntity", "There is none", 0, "There is none (NoSuchEntity)"),
    ],
)
def test_the_identity_is_read_only_where_the_message_lacks_it(code, message, reads, text):
    aws = IdentifiedAws(lambda *_: None)
    error = aws._api_error(code, message, "do it", "iam:X")
    assert text in str(error)
    assert str(error).startswith("Could not do it (iam:X): ")
    assert (error.code, error.details, aws.reads) == (code, {}, reads)
    assert (error.action, error.explicit_deny) == ("iam:X", "explicit deny" in message)


@pytest.mark.parametrize("text", ["<html>Log in</html>", "", "{}"])
def test_a_part_that_is_missing_in_an_answer_is_an_error_with_a_sentence(behind_a_proxy, server, text):
    server.answers[:] = [(200, text)]
    answer = behind_a_proxy.call("ssm:GetParameterHistory", "read it", Name="P")
    assert answer.get("NextToken") is None
    with pytest.raises(AwsApiError, match=r"^Could not read it \(ssm:GetParameterHistory\): the answer was not in the"):
        answer["Parameters"]


YEARS = (99999, 10**18)


@pytest.mark.parametrize(
    ("headers", "is_known"),
    [
        ({"date": "Sun, 01 Mar 2026 12:30:00 GMT"}, True),
        ({}, False),
        *(({"date": each}, False) for each in ("", "today", *(f"Mon, 01 Jan {year} 00:00:00 GMT" for year in YEARS))),
    ],
)
def test_now_is_the_time_of_the_last_answer_or_the_local_time(headers, is_known):
    aws = Aws(lambda *_: None)
    aws._record_server_time({"ResponseMetadata": {"HTTPHeaders": headers}})
    if is_known:
        assert aws.now == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    else:
        assert datetime.now(UTC) <= aws.now <= datetime.now(UTC)


@pytest.mark.parametrize("answer", [{}, {"Code": None, "Message": None}, {"Code": "", "Message": ""}])
def test_an_error_without_code_and_message_is_one_too(answer):
    """botocore makes ``None`` of an empty element."""
    error = Aws(lambda *_: None)._api_error(answer.get("Code"), answer.get("Message"), "do it", "iam:X")
    assert str(error) == "Could not do it (iam:X): AWS gave no reason (Unknown)."
    assert error.code == "Unknown"
