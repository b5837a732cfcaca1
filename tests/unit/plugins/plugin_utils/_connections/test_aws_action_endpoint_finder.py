"""The endpoints that a host gets, compared with those that the clients of boto3 use."""

from __future__ import annotations

import boto3
import botocore.session
import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import find_endpoint

KEYS = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
REGIONS = [
    "eu-central-1",
    "us-east-1",
    "ap-southeast-7",
    "cn-north-1",
    "us-gov-west-1",
    "us-iso-east-1",
    # The oldest boto3 does not know this partition.
    *(["eusc-de-east-1"] if "aws-eusc" in botocore.session.get_session().get_available_partitions() else []),
]
HOSTS = {
    "cn-north-1": "amazonaws.com.cn",
    "us-iso-east-1": "c2s.ic.gov",
    "eusc-de-east-1": "amazonaws.eu",
}


@pytest.mark.parametrize("service", ["ssm", "sts"])
@pytest.mark.parametrize("region", REGIONS)
def test_the_endpoint_is_regional_in_every_partition(service, region):
    url = f"https://{service}.{region}.{HOSTS.get(region, 'amazonaws.com')}"
    expected = {"service": service, "region": region, "url": url, "signing_region": region}
    assert find_endpoint(service, region) == expected
    if service != "sts":  # an old boto3 uses the global endpoint
        assert boto3.client(service, region_name=region, **KEYS).meta.endpoint_url == url


def test_the_addresses_of_the_controller_are_not_handed_over(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
    assert find_endpoint("sts", "us-east-1")["url"] == "https://sts.us-east-1.amazonaws.com"


def test_the_variants_of_the_controller_are_handed_over(monkeypatch):
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    assert find_endpoint("ssm", "us-east-1")["url"] == "https://ssm-fips.us-east-1.amazonaws.com"


def test_a_region_that_is_not_valid_is_an_error():
    with pytest.raises(CwagentError, match=r"^The endpoint of sts in not a region is not known here \("):
        find_endpoint("sts", "not a region")
