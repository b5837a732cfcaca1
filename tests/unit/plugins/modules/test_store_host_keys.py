"""The credentials with which a host stores."""

from __future__ import annotations

import pytest
from botocore.session import Session

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.signed_call import Keys
from ansible_collections.cwagent.iam.plugins.modules import cwagent_store_host
from ansible_collections.cwagent.iam.plugins.modules.cwagent_store_host import read_keys, select_gateway

STATIC = "aws_access_key_id = AKIA\naws_secret_access_key = Se/CrEt\n"


def write(folder, text):
    file = folder / "credentials"
    file.write_text(f"[other]\nrole_arn = x\n[agent]\n{text}")
    return str(file)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (STATIC, Keys("AKIA", "Se/CrEt")),
        (f"{STATIC}aws_session_token = ToKeN\n", Keys("AKIA", "Se/CrEt", "ToKeN")),
        (f"{STATIC}region = eu-central-1\noutput = json\n", Keys("AKIA", "Se/CrEt")),
    ],
)
def test_a_static_key_is_read_as_by_botocore(tmp_path, monkeypatch, text, keys):
    file = write(tmp_path, text)
    assert read_keys(file, "agent") == keys
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", file)
    found = Session(profile="agent").get_credentials()
    assert Keys(found.access_key, found.secret_key, found.token or "") == keys


@pytest.mark.parametrize(
    "option",
    [
        *("role_arn", "source_profile", "credential_process", "credential_source", "web_identity_token_file"),
        *("sso_session", "sso_start_url", "login_session"),
    ],
)
def test_another_source_of_credentials_is_refused(tmp_path, option):
    message = rf"^Profile agent of .*/credentials has {option}\. This host stores with an access key alone"
    with pytest.raises(InvalidInput, match=message):
        read_keys(write(tmp_path, f"{STATIC}{option} = x\n"), "agent")


@pytest.mark.parametrize("text", ["", "aws_access_key_id = AKIA\n", "Se/CrEt\n"])
def test_a_profile_without_a_key_is_refused(tmp_path, text):
    with pytest.raises(
        InvalidInput, match=r"has no access key \(aws_access_key_id and aws_secret_access_key\)\."
    ) as error:
        read_keys(write(tmp_path, text), "agent")
    assert "Se/CrEt" not in str(error.value)
    with pytest.raises(InvalidInput, match="has no access key"):
        read_keys(str(tmp_path / "absent"), "agent")


NOTHING = dict.fromkeys(("access_key", "secret_key", "credentials_file", "credentials_profile", "instance_role"))


class Service:
    def credentials(self, role):
        return Keys("of", role)


def test_each_option_selects_its_credentials(tmp_path, monkeypatch):
    monkeypatch.setattr(cwagent_store_host, "MetadataService", Service)
    file = {"credentials_file": write(tmp_path, STATIC), "credentials_profile": "agent"}
    for given, keys in (
        ({"access_key": "A", "secret_key": "B"}, Keys("A", "B")),
        (file, Keys("AKIA", "Se/CrEt")),
        ({"instance_role": "admin"}, Keys("of", "admin")),
    ):
        found = select_gateway({**NOTHING, **given, "endpoints": [], "wait_timeout": 0}, "eu-1")
        assert found._read_keys() == keys


@pytest.mark.parametrize("keys", [("", ""), ("A", ""), ("A", None), ("", None)])
def test_a_key_that_does_not_exist_is_not_replaced_by_other_credentials(keys):
    given = dict(zip(("access_key", "secret_key"), keys, strict=True))
    with pytest.raises(InvalidInput, match="does not exist yet"):
        select_gateway({**NOTHING, **given, "endpoints": [], "wait_timeout": 0}, "eu-1")
