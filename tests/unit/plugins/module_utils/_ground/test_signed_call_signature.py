from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.signed_call import Keys, sign

SCHEMES = st.sampled_from(["http", "https"])
HOSTS = st.sampled_from(["sts.eu-west-1.amazonaws.com", "ssm.cn-north-1.amazonaws.com.cn", "[::1]", "Relay"])
PORTS, PATHS = st.sampled_from(["", ":80", ":443", ":8443"]), st.lists(st.from_regex(r"[\w%~.-]\w+", fullmatch=True))
URLS = st.builds(
    lambda scheme, host, port, path, end: "/".join([f"{scheme}://{host}{port}", *path]) + end,
    SCHEMES,
    HOSTS,
    PORTS,
    PATHS,
    st.sampled_from(["", "/"]),
)
TEXTS = st.text("abcXYZ019+/=", min_size=1)
KEYS = st.builds(Keys, TEXTS, TEXTS, st.just("") | TEXTS)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Amz-Target", "Accept"]), st.text("aB;= 1.", min_size=1).map(str.strip)
)
SCOPES = st.tuples(st.sampled_from(["ssm", "sts"]), st.sampled_from(["eu-west-1", "cn-north-1", "us-gov-west-1"]))


@given(URLS, HEADERS, st.binary(), KEYS, SCOPES)
def test_the_signature_is_the_one_of_botocore(url, headers, body, keys, scope):
    request = AWSRequest("POST", url, headers, body)
    SigV4Auth(Credentials(keys.key_id, keys.secret, keys.token or None), *scope).add_auth(request)
    expected = {name.lower(): value for name, value in request.headers.items()}
    time = datetime.strptime(expected["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    found = sign(url, headers, body, keys, service=scope[0], region=scope[1], time=time)
    # The header is in the signature. The library that sends the request of botocore adds it.
    assert found.pop("Host")
    assert {name.lower(): value for name, value in found.items()} == expected


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http:///", "http://host:Se/CrEt/", "text"])
def test_only_the_address_of_a_web_service_is_signed(url):
    with pytest.raises(ValueError, match=r"^(?!.*Se/CrEt)"):
        sign(url, {}, b"", Keys("A", "B"), service="ssm", region="eu-west-1", time=datetime.now(UTC))


def test_keys_are_not_shown():
    assert repr(Keys("AKIA", "Se/CrEt", "ToKeN")) == "Keys(key_id='AKIA')"
