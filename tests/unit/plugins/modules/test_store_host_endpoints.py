from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.modules.cwagent_store_host import (
    PROBE_SECONDS,
    check_parameter_store,
    find_endpoints,
)

CLOSED = "http://127.0.0.1:9"
VARIABLES = (
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL_STS", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy", "ALL_PROXY"),
)


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def params(*regions, url="https://{}", **more):
    endpoints = [
        {"service": service, "region": region, "url": url.format(service), "signing_region": f"{region}-signed"}
        for region in regions
        for service in ("ssm", "sts")
    ]
    return {"endpoints": endpoints, "endpoint_url": None, "aws_ca_bundle": None, "validate_certs": True, **more}


@pytest.mark.parametrize(
    ("option", "variables", "urls"),
    [
        (None, {}, ["https://ssm", "https://sts"]),
        (None, {"AWS_ENDPOINT_URL": "http://all"}, ["http://all"] * 2),
        (None, {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_STS": "http://own"}, ["http://all", "http://own"]),
        (None, {"AWS_ENDPOINT_URL_SSM": "http://own:8443/path"}, ["http://own:8443/path", "https://sts"]),
        (None, {"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_SSM": ""}, ["https://ssm", "https://sts"]),
        ("http://task", {"AWS_ENDPOINT_URL_SSM": "http://own"}, ["http://task"] * 2),
    ],
)
def test_the_address_is_of_the_task_or_the_host_or_the_controller(monkeypatch, option, variables, urls):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = find_endpoints(params("eu-1", "us-1", endpoint_url=option), "us-1")
    assert [found[service].url for service in ("ssm", "sts")] == urls
    assert {each.region for each in found.values()} == {"us-1-signed"}


@pytest.mark.parametrize(
    ("option", "variables", "path"),
    [
        (None, {}, ""),
        (None, {"REQUESTS_CA_BUNDLE": "/requests"}, "/requests"),
        (None, {"REQUESTS_CA_BUNDLE": "/requests", "AWS_CA_BUNDLE": "/aws"}, "/aws"),
        ("/task", {"AWS_CA_BUNDLE": "/aws"}, "/task"),
    ],
)
def test_the_certificates_are_of_the_task_or_the_host(monkeypatch, option, variables, path):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = find_endpoints(params("eu-1", aws_ca_bundle=option, validate_certs=False), "eu-1")["ssm"]
    assert (found.ca_bundle, found.validate_certs) == (path, False)


def test_the_proxies_are_those_of_the_host(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    monkeypatch.setenv("no_proxy", "inside")
    assert find_endpoints(params("eu-1"), "eu-1")["sts"].proxies == {"https": "http://proxy", "no": "inside"}


def test_no_region_is_no_question():
    check_parameter_store(params(), [])


def test_the_regions_that_do_not_answer_are_named(server):
    server.answers.append((404, ""))
    given = params("eu-1", url=server.url)
    given["endpoints"] += params("us-1", "us-2", url=CLOSED)["endpoints"]
    with pytest.raises(CwagentError) as failure:
        check_parameter_store(given, ["eu-1", "us-1", "us-2"])
    reason = "Connection refused"
    message = f"This host does not reach Parameter Store in us-1 ({reason}); us-2 ({reason}). A private subnet needs"
    assert str(failure.value).startswith(message)


def test_a_host_is_asked_for_five_seconds():
    assert PROBE_SECONDS == 5
