"""Users and saved keys that no host has are named and removed. Users of others are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from emulator import Emulator, Kind
from harness import SERVER_POLICY, SERVER_USER, assert_no_writes
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import (
    SavedKey,
    saved_key_description,
    to_values,
)

USER, OTHER_USER = f"{SERVER_USER}-db1", f"{SERVER_USER}-db2"
PREFIX = "/cwagent/credentials/"
LISTINGS = {"parameter_store": "ssm:DescribeParameters", "secrets_manager": "secretsmanager:ListSecrets"}
POLICIES = {"parameter_store": "keys-in-parameter-store.json", "secrets_manager": "keys-in-secrets-manager.json"}
REMEDY = "If their servers have left, cwagent.iam.remove_servers with these names removes them."
KEY_ID = "AKIAIOSFODNN7EXAMPLE"


def save_others(aws: Emulator) -> None:
    """Save values of others, and a key that was ours and is scheduled for deletion."""
    ssm, secrets = (aws.client(service) for service in ("ssm", "secretsmanager"))
    ssm.put_parameter(Name=f"{PREFIX}of-others", Value="x", Type="SecureString")
    secrets.create_secret(Name=f"{PREFIX}of-others", SecretString="x")
    text = saved_key_description(KEY_ID, "deleted")
    secrets.create_secret(Name=f"{PREFIX}deleted", SecretString="x", Description=text)
    secrets.delete_secret(SecretId=f"{PREFIX}deleted", RecoveryWindowInDays=7)


def saved_names(aws: Emulator, store: str) -> set[str]:
    """The names of all parameters or secrets."""
    if store == "parameter_store":
        return {each["Name"] for each in aws.client("ssm").describe_parameters()["Parameters"]}
    return {each["Name"] for each in aws.client("secretsmanager").list_secrets()["SecretList"]}


def delete_by_hand(aws: Emulator, user: str) -> None:
    iam = aws.client("iam")
    for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.detach_user_policy(UserName=user, PolicyArn=f"arn:aws:iam::aws:policy/{SERVER_POLICY}")
    iam.delete_user(UserName=user)


@pytest.mark.parametrize("store", LISTINGS)
def test_a_saved_key_in_aws_whose_user_is_gone_is_named_and_removed(enforcing: Emulator, store: str) -> None:
    saved_key: dict[str, Any] = {"saved_key": {"key_store": store}}
    run_module(enforcing, "cwagent_iam_user", name=[USER, OTHER_USER], access="server", **saved_key)
    delete_by_hand(enforcing, USER)
    save_others(enforcing)

    def search(*faults: dict[str, Any]) -> list[str]:
        """The sentences about everything that is not in the inventory."""
        listed: dict[str, Any] = {"users": [OTHER_USER], "report_unlisted": True, "key_store": store}
        since, found = enforcing.mark(), run_module(enforcing, "cwagent_restore", *faults, state="checked", **listed)
        listing = LISTINGS[store].partition(":")[2]
        assert [call.action for call in enforcing.calls(since)].count(listing) == 1
        return list(found["unlisted"])

    with assert_no_writes(enforcing):
        assert search() == [f"Saved access keys of users that do not exist: {enforcing.region}:{USER}.", REMEDY]
        unknown = (
            f"It is not known whether access keys of users that no host has are saved in {enforcing.region}: "
            f"{LISTINGS[store]} is not allowed. Allow it as {POLICIES[store]} does, or ignore this."
        )
        assert search({"kind": Kind.DENY, "action": LISTINGS[store].partition(":")[2]}) == [unknown]
    absent: dict[str, Any] = {"users_by_region": {enforcing.region: [USER]}, "state": "absent", **saved_key}
    assert run_module(enforcing, "cwagent_iam_user", **absent)["changed"]
    assert saved_names(enforcing, store) == {f"{PREFIX}{OTHER_USER}", f"{PREFIX}of-others"}
    with assert_no_writes(enforcing):
        assert search() == []
        assert not run_module(enforcing, "cwagent_iam_user", **absent)["changed"]


def test_a_saved_key_is_removed_in_the_named_region_and_other_values_are_kept(enforcing: Emulator) -> None:
    far = "us-east-1"
    ssm, name = enforcing.client("ssm", far), f"{PREFIX}gone"
    description = saved_key_description(KEY_ID, "gone")
    absent: dict[str, Any] = {
        "users_by_region": {far: ["gone"]},
        "state": "absent",
        "saved_key": {"key_store": "parameter_store"},
    }
    for value, is_deleted in ((json.dumps(to_values(SavedKey(KEY_ID, "secret"))), True), ("{}", False)):
        ssm.put_parameter(Name=name, Value=value, Type="SecureString", Description=description)
        result = run_module(enforcing, "cwagent_iam_user", **absent)
        assert result["changed"] == is_deleted
        assert [each["Name"] for each in ssm.describe_parameters()["Parameters"]] == ([] if is_deleted else [name])
    kept = f"SSM parameter {name} was not deleted, because it is not an access key."
    assert kept in " ".join(result["warnings"])
