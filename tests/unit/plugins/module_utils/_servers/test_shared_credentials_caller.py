from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.signed_call import Answer, Endpoint
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials import (
    ATTEMPTS,
    choose_endpoint,
    find_caller,
    read_answer,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials_plan import CREDENTIALS

REGION = "eu-west-1"
KEYS = dict(zip(CREDENTIALS, ("ASIAEXAMPLE", "Se/CrEt", "ToKeN+/="), strict=True))
ARN = "arn:aws:sts::123456789012:assumed-role/CloudWatchAgentHybridRole/mi-0123456789abcdef0"
FOUND = f"<GetCallerIdentityResponse><Arn>{ARN}</Arn></GetCallerIdentityResponse>"
EXPIRED = "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>Canonical string: ToKeN+/=</Message></Error>"
SECRET = EXPIRED.replace("ExpiredToken", "SignatureDoesNotMatch")
CLOCK = SECRET.replace("Canonical string: ", "Signature not yet current: ")
NOT_STS = "The answer with HTTP status {} is not one of STS. Check the proxy and the endpoint."
WRONG_CLOCK = (
    "The clock of this server differs from the one of AWS (SignatureDoesNotMatch). Set it, for instance with NTP."
)
HANDED = {"url": "https://sts.eu-west-1.amazonaws.com", "signing_region": REGION}
CLOSED = "http://127.0.0.1:9/"


# -- The way to STS --


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL": "http://all/"}, "http://all/"),
        ({"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_STS": "http://sts/relay"}, "http://sts/relay"),
        ({"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_STS": ""}, "https://sts.eu-west-1.amazonaws.com"),
    ],
)
def test_the_endpoint_of_the_environment_is_used(variables, endpoint):
    assert choose_endpoint(HANDED, variables, {}, "").url == endpoint


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
    assert choose_endpoint(HANDED, {}, proxies, config).proxies == expected


def test_the_agents_certificates_are_used_where_the_environment_has_none():
    assert choose_endpoint(HANDED, {}, {}, CONFIG).ca_bundle == "/config.pem"
    assert choose_endpoint(HANDED, {"AWS_CA_BUNDLE": "/mine.pem"}, {}, CONFIG).ca_bundle == "/mine.pem"
    assert choose_endpoint(HANDED, {}, {}, "").ca_bundle == ""


def test_a_configuration_that_is_not_valid_is_an_error():
    with pytest.raises(CwagentError, match="Line 1: Every value of common-config"):
        choose_endpoint(HANDED, {}, {}, "[proxy\n")


# -- Answers --


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (200, FOUND, (ARN, None)),
        (403, EXPIRED, (None, "STS refused the credentials (ExpiredToken).")),
        (403, SECRET, (None, "STS refused the credentials (SignatureDoesNotMatch).")),
        (
            403,
            CLOCK,
            (None, WRONG_CLOCK),
        ),
        (403, FOUND, (None, NOT_STS.format(403))),
        (200, "<p>Sign in</p>", (None, NOT_STS.format(200))),
        (302, "", (None, NOT_STS.format(302))),
        (503, EXPIRED, (None, NOT_STS.format(503))),
    ],
)
def test_answers(status, text, expected):
    assert read_answer(Answer(status, text)) == expected


def ask(url, **keys):
    return find_caller({**KEYS, **keys}, Endpoint("sts", url, REGION))


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("answers", "expected", "count"),
    [
        ([(403, EXPIRED)], (None, "STS refused the credentials (ExpiredToken)."), 1),
        ([(500, "")] * 3, (None, NOT_STS.format(500)), ATTEMPTS),
    ],
)
def test_a_refusal_is_not_retried(server, answers, expected, count):
    server.answers += answers
    assert ask(server.url) == expected
    assert len(server.requests) == count


@pytest.mark.usefixtures("no_pauses")
def test_a_closed_port_is_a_reason():
    assert ask(CLOSED) == (None, "STS did not answer: Connection refused.")


@pytest.mark.parametrize("missing", CREDENTIALS)
def test_without_credentials_sts_is_not_asked(missing):
    assert ask(CLOSED, **{missing: ""}) == (None, "The credentials file has no credentials at the moment.")
