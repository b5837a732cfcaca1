from __future__ import annotations

from contextlib import nullcontext

import pytest
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import CONTAINER_VARIABLES
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.checks import check_role_key_store
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import role_options

ROLES = ["onprem_server", "onprem_admin"]


def check(role, **changes):
    options = role_options(PLUGINS.parent / "roles" / role)
    defaults = {name: each["default"] for name, each in options.items() if "default" in each}
    check_role_key_store(role, options, {**defaults, **{f"{role}_{name}": value for name, value in changes.items()}})


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in CONTAINER_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", CONTAINER_VARIABLES)
def test_a_role_refuses_files_in_a_container(role, name, monkeypatch):
    check(role)
    monkeypatch.setenv(name, "1")
    for forced in (False, "no"):
        with pytest.raises(InvalidInput, match="this is an execution environment"):
            check(role, key_store_allow_ephemeral=forced)
    for allowed in (True, "yes"):
        check(role, key_store_allow_ephemeral=allowed)
    check(role, key_store="parameter_store")
    check(role, state="absent")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_refuses_the_same_values_as_the_module(role, tmp_path):
    (tmp_path / "file").write_text("")
    for file in ("~/file", "$HOME/file"):
        with pytest.raises(InvalidInput, match="is not a folder"):
            check(role, key_store_directory=file)
    users = {"users": ["valid"], "users_by_region": {"us-east-1": ["a+b"]}}
    with pytest.raises(InvalidInput, match=r"'/keys/a\+b' is not a valid parameter name"):
        check(role, key_store="parameter_store", key_store_prefix="/keys/", **users)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("policy", ["AmazonSSMManagedInstanceCore", "AmazonEC2RoleforSSM"])
@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [
        ({"users": ["u"]}, True),
        ({"users_by_region": {"us-east-1": ["u"]}}, True),
        ({"users": ["u"], "key_store_kms_key_id": "alias/keys"}, False),
        ({"users": ["u"], "key_store_kms_key_id": "alias/aws/ssm"}, True),
        ({"users": ["u"], "key_store_kms_key_id": "arn:aws:kms:eu-central-1:123456789012:alias/aws/ssm"}, True),
        ({"users": ["u"], "key_store_kms_key_id": "arn:aws:kms:eu-central-1:123456789012:alias/awsm"}, False),
        ({"users": ["u"], "key_store": "secrets_manager", "key_store_kms_key_id": "alias/aws/ssm"}, False),
        ({"users": ["u"], "ssm_policy": ""}, False),
        ({"users": ["u"], "ssm_policy": None}, False),
        ({"users": ["u"], "key_store_kms_key_id": " "}, True),
        ({"users": ["u"], "key_store_kms_key_id": None}, True),
        ({"users": ["u"], "key_store": "file"}, False),
        ({"users": ["u"], "state": "absent"}, False),
        ({"users": []}, False),
    ],
)
def test_a_role_refuses_keys_that_the_policy_for_systems_manager_can_read(role, policy, changes, is_refused):
    alias = (changes.get("key_store_kms_key_id") or "").strip()
    key = f"'{alias}', an AWS managed key" if alias else "not set"
    message = rf"^{role}_key_store_kms_key_id is {key}, .* and {role}_ssm_policy is {policy}\. "
    with pytest.raises(InvalidInput, match=message) if is_refused else nullcontext():
        check(role, **{"key_store": "parameter_store", "ssm_policy": policy, **changes})


def test_other_roles_save_no_keys(monkeypatch):
    monkeypatch.setenv(CONTAINER_VARIABLES[0], "1")
    check("ec2_server")
