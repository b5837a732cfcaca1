from __future__ import annotations

from typing import Any

import pytest
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._keys.file_store import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._keys.parameter_store import ParameterStore
from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import (
    claim_description,
    saved_key_description,
)
from ansible_collections.cwagent.iam.plugins.module_utils._keys.secret_store import SecretStore
from ansible_collections.cwagent.iam.plugins.module_utils._keys.store import Store
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import (
    CONTAINER_VARIABLES,
    KEY_STORES,
    open_store,
)

AWS: Any = object()
AWS_STORES = (ParameterStore, SecretStore)


def store(**saved_key: Any) -> Any:
    """The store for the user U."""
    defaults = {
        "key_store": "file",
        "key_store_directory": None,
        "credentials_profile": "AmazonCloudWatchAgent",
        "key_store_prefix": "/cwagent/credentials/",
        "key_store_kms_key_id": None,
        "key_store_allow_ephemeral": False,
    }
    return open_store({**defaults, **saved_key}, ["U"], AWS, "eu-central-1")


@pytest.fixture(autouse=True)
def outside_containers(monkeypatch):
    for name in CONTAINER_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("file", "profile AmazonCloudWatchAgent of /k/U.credentials"),
        ("parameter_store", "parameter '/k/U'"),
        ("secrets_manager", "secret '/k/U'"),
    ],
)
def test_a_person_is_told_where_to_look_for_a_key(name, place):
    assert KEY_STORES[name].open({"key_store_directory": "/k", "key_store_prefix": "/k/"}, AWS).describe("U") == place


OPERATIONS = {
    *("open", "check", "read", "read_key", "describe", "list_users"),
    *("claim", "release", "save", "rewrite", "delete"),
}


@pytest.mark.parametrize("missing", sorted(OPERATIONS))
def test_a_store_without_one_of_the_operations_is_incomplete(missing):
    incomplete: Any = type("Incomplete", (Store,), dict.fromkeys(OPERATIONS - {missing}))
    with pytest.raises(TypeError, match=missing):
        incomplete()


def test_the_policy_of_a_store_in_aws_is_an_example():
    policies = {each.POLICY for each in AWS_STORES}
    assert len(policies) == len(AWS_STORES)
    assert policies <= {path.name for path in (PLUGINS.parent / "examples" / "policies").iterdir()}


def test_a_folder_is_used_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert store(key_store_directory="keys") == FileStore(tmp_path / "keys", "AmazonCloudWatchAgent", "eu-central-1")


@pytest.mark.parametrize(("name", "kind"), [("parameter_store", ParameterStore), ("secrets_manager", SecretStore)])
def test_a_store_in_aws_has_the_region_and_the_kms_key(name, kind):
    expected = kind(AWS, "/cwagent/credentials/", "eu-central-1", "alias/cwagent")
    assert store(key_store=name, key_store_kms_key_id="alias/cwagent") == expected


@pytest.mark.parametrize("profile", ["", "DEFAULT", "a b", "a]", "ä", "a\n"])
def test_an_invalid_profile_name_is_refused(tmp_path, profile):
    with pytest.raises(InvalidInput, match=r"(?s)^saved_key\.credentials_profile: .* is not a valid profile name"):
        store(key_store_directory=str(tmp_path), credentials_profile=profile)


@pytest.mark.parametrize("profile", ["default", "DEFAULTS", "me@example.org", "a-b_c.9"])
def test_a_valid_profile_name_is_accepted(tmp_path, profile):
    assert store(key_store_directory=str(tmp_path), credentials_profile=profile).profile == profile


@pytest.mark.parametrize("directory", [None, "", "a\0b"])
def test_files_need_a_folder(directory):
    with pytest.raises(InvalidInput, match=r"^saved_key\.key_store_directory must be a folder"):
        store(key_store_directory=directory)


@pytest.mark.parametrize("variable", CONTAINER_VARIABLES)
def test_files_in_an_execution_environment_are_refused(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    for_the_task = r"saved_key\.key_store_allow_ephemeral to true"
    for_the_playbooks = r"\(for the playbooks: cwagent_key_store_allow_ephemeral\)"
    others = "Save them to 'parameter_store' or 'secrets_manager'"
    message = rf"^saved_key\.key_store: .*container that is deleted .*{others}.*set {for_the_task} {for_the_playbooks}"
    with pytest.raises(InvalidInput, match=message):
        store(key_store_directory=str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "prefix", "message"),
    [
        (
            "parameter_store",
            "AmazonCloudWatch-",
            "every server can read parameters whose names begin with AmazonCloudWatch-",
        ),
        (
            "parameter_store",
            "/amazoncloudwatch-x/",
            "every server can read parameters whose names begin with AmazonCloudWatch-",
        ),
        ("parameter_store", "/aws/", "AWS reserves parameter names"),
        ("parameter_store", "SSM", "AWS reserves parameter names"),
        ("parameter_store", "a/b", "'a/bU' is not a valid parameter name: AWS allows letters"),
        ("parameter_store", "/a b/", "'/a b/U' is not a valid parameter name: AWS allows letters"),
        ("secrets_manager", "a b/", "'a b/U' is not a valid secret name: AWS allows up to 504 letters"),
        ("secrets_manager", "a" * 512, "is not a valid secret name: AWS allows up to 504 letters"),
    ],
)
def test_a_name_that_aws_or_the_collection_cannot_use_is_refused(kind, prefix, message):
    with pytest.raises(InvalidInput, match=r"^saved_key\.key_store_prefix: ") as failure:
        store(key_store=kind, key_store_prefix=prefix)
    assert message in str(failure.value)


KEY = {"Name": "/k/db1", "Description": saved_key_description("AKIAIOSFODNN7EXAMPLE", "db1")}
RECORD = {"Name": "/k/db1.pending", "Description": claim_description("db1")}


@pytest.mark.parametrize("kind", AWS_STORES)
@pytest.mark.parametrize(
    ("found", "names"),
    [
        ([KEY], {"db1": "/k/db1"}),
        ([RECORD], {"db1": "/k/db1.pending"}),
        ([KEY, RECORD], {"db1": "/k/db1"}),
        ([RECORD, KEY], {"db1": "/k/db1"}),
        ([{"Name": "/k/db1"}, {**KEY, "Name": "/other/db1"}, {**KEY, "Name": "/k/db2"}], {}),
    ],
)
def test_a_saved_key_is_preferred_to_the_record_of_keys(kind, found, names):
    assert kind(AWS, "/k/").index_by_user(found) == names
