"""Roles, users, access keys and instance profiles that others made with our names are read, reported and left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from emulator.snapshot import snapshot
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    assert_no_writes,
    associate,
    create_role,
    create_user,
)
from in_process import on_host, on_instance, run_module, transact

MARK_TAG, SAVED_KEY_TAG = "cwagent:managed", "cwagent:saved-key"
REFUSED = "exists and was not created by this collection"


@pytest.fixture
def aws(enforcing: Emulator) -> Emulator:
    """An empty account that enforces policies."""
    return enforcing


def tag_role(aws: Emulator, name: str) -> None:
    """Give a hand-made role the description and the tag of its users."""
    iam = aws.client("iam")
    iam.update_role(RoleName=name, Description="made by hand", MaxSessionDuration=7200)
    iam.tag_role(RoleName=name, Tags=[{"Key": "team", "Value": "shop"}])


def key_status(aws: Emulator, user: str) -> dict[str, str]:
    keys = aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    return {key["AccessKeyId"]: key["Status"] for key in keys}


def user_tags(aws: Emulator, user: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in aws.client("iam").list_user_tags(UserName=user)["Tags"]}


def test_a_hand_made_role_and_its_profile_are_never_deleted(aws: Emulator) -> None:
    """Although it has nothing but the agent's policy, and an instance uses it."""
    [instance] = aws.instances(1)
    create_role(aws, SERVER_ROLE, SERVER_POLICY)
    tag_role(aws, SERVER_ROLE)
    associate(aws, instance, SERVER_ROLE)
    before = snapshot(aws)
    for exclusive in (False, True):
        kept = run_module(aws, "cwagent_iam_role", name=SERVER_ROLE, state="absent", exclusive=exclusive)
        assert kept["blockers"] == ["was not created by this collection"]
        assert kept["warnings"] == [f"role '{SERVER_ROLE}' was not deleted; it was not created by this collection"]
    after = snapshot(aws)
    assert after["roles"][SERVER_ROLE] == {**before["roles"][SERVER_ROLE], "policies": []}
    after["roles"] = before["roles"]
    assert after == before
    with assert_no_writes(aws):
        run_module(aws, "cwagent_iam_role", name=SERVER_ROLE, state="absent")


def test_an_adopted_role_is_managed_and_never_deleted(aws: Emulator) -> None:
    create_role(aws, ADMIN_ROLE, services=["lambda.amazonaws.com"])
    tag_role(aws, ADMIN_ROLE)
    before = snapshot(aws)["roles"][ADMIN_ROLE]
    admin: dict[str, Any] = {"name": ADMIN_ROLE, "access": "admin", "admin_window": True}
    adopted = run_module(aws, "cwagent_iam_role", **admin, adopt_existing=True)
    assert adopted["role"]["tags"] == {"team": "shop", MARK_TAG: "adopted"}
    assert adopted["role"]["description"] == "made by hand"
    assert len(adopted["role"]["trust_policy"]["Statement"]) == 2
    with assert_no_writes(aws):
        assert not run_module(aws, "cwagent_iam_role", **admin)["changed"]
    purged = run_module(aws, "cwagent_iam_role", **admin, tags={"team": "shop"}, purge_tags=True)
    assert purged["role"]["tags"] == {"team": "shop", MARK_TAG: "adopted"}
    kept = run_module(aws, "cwagent_iam_role", name=ADMIN_ROLE, state="absent")
    assert kept["blockers"][0] == "was not created by this collection"
    after = snapshot(aws)["roles"][ADMIN_ROLE]
    assert {**after, "trust": before["trust"]} == before


def test_a_boundary_that_does_not_exist_is_refused_before_the_first_write(aws: Emulator) -> None:
    boundary = "arn:aws:iam::123456789012:policy/missing"
    principals: dict[str, Any] = {"access": "server", "permissions_boundary": boundary}
    with assert_no_writes(aws):
        for module, name in (("cwagent_iam_role", "R"), ("cwagent_iam_user", ["U", "V"])):
            for check in (True, False):
                refused = run_module(aws, module, check=check, name=name, **principals)
                assert f"permissions_boundary: policy {boundary} does not exist" in refused["msg"]
    assert [call.action for call in aws.calls()].count("GetPolicy") == 4


class AdminUser:
    """An admin user that the module manages, with its saved key. :param more: further options of the first run."""

    def __init__(self, aws: Emulator, folder: Path, **more: Any) -> None:
        self.aws = aws
        saved_key = {"key_store_directory": str(folder / "keys")}
        self.options = {"name": [ADMIN_USER], "access": "admin", "admin_window": True, "saved_key": saved_key}
        before = {*key_status(aws, ADMIN_USER)} if more else set()
        self.manage(**more)
        [self.saved] = self.keys.keys() - before

    @property
    def keys(self) -> dict[str, str]:
        return key_status(self.aws, ADMIN_USER)

    def manage(self, **more: Any) -> dict[str, Any]:
        result = run_module(self.aws, "cwagent_iam_user", **{**self.options, **more})
        assert not result["failed"], result
        return result

    def window(self, state: str, **more: Any) -> dict[str, Any]:
        return run_module(self.aws, "cwagent_admin_window", user=ADMIN_USER, state=state, **more)

    def add_key(self, status: str) -> str:
        iam = self.aws.client("iam")
        key = iam.create_access_key(UserName=ADMIN_USER)["AccessKey"]["AccessKeyId"]
        iam.update_access_key(UserName=ADMIN_USER, AccessKeyId=key, Status=status)
        return str(key)


@pytest.fixture
def admin_user(aws: Emulator, tmp_path: Path) -> AdminUser:
    return AdminUser(aws, tmp_path)


def test_only_the_saved_key_changes_with_the_window(admin_user: AdminUser) -> None:
    """A key that a person deactivated stays so."""
    aws = admin_user.aws
    assert user_tags(aws, ADMIN_USER) == {MARK_TAG: "created", SAVED_KEY_TAG: admin_user.saved}
    leaked = admin_user.add_key("Inactive")
    for state, status in (("open", "Active"), ("closed", "Inactive"), ("open", "Active"), ("absent", "Active")):
        assert not admin_user.window(state)["failed"]
        assert key_status(aws, ADMIN_USER) == {admin_user.saved: status, leaked: "Inactive"}


def test_without_the_tag_no_key_is_touched_until_the_user_is_managed_again(admin_user: AdminUser) -> None:
    aws = admin_user.aws
    aws.client("iam").untag_user(UserName=ADMIN_USER, TagKeys=[SAVED_KEY_TAG])
    opened = admin_user.window("open")
    assert "has no access key that is tagged as the saved one" in " ".join(opened["warnings"])
    assert key_status(aws, ADMIN_USER) == {admin_user.saved: "Inactive"}
    assert admin_user.manage()["steps"] == [f"tag user '{ADMIN_USER}' with {SAVED_KEY_TAG}"]
    admin_user.window("open")
    assert key_status(aws, ADMIN_USER) == {admin_user.saved: "Active"}


def test_an_adopted_user_keeps_its_own_key_and_outlives_its_removal(aws: Emulator, tmp_path: Path) -> None:
    own = create_user(aws, ADMIN_USER)["AWS_ACCESS_KEY_ID"]
    before = snapshot(aws)
    admin_user = AdminUser(aws, tmp_path, adopt_existing=True)
    assert admin_user.keys[own] == "Active"
    with assert_no_writes(aws):
        admin_user.manage()
    admin_user.manage(state="absent")
    assert snapshot(aws) == before
    with assert_no_writes(aws):
        admin_user.manage(state="absent")


@pytest.mark.parametrize(("kind", "state"), [("role", "stored"), ("role", "opened"), ("user", "stored")])
def test_no_window_is_opened_for_an_admin_principal_of_others(
    aws: Emulator, tmp_path: Path, kind: str, state: str
) -> None:
    """Not even by what does not manage the principal first."""
    [instance] = aws.instances(1)
    create_role(aws, ADMIN_ROLE, ADMIN_POLICY)
    create_user(aws, ADMIN_USER, policy=ADMIN_POLICY)
    (tmp_path / "agent.json").write_text('{"agent": {"metrics_collection_interval": 60}}')
    (tmp_path / "saved").write_text("[AmazonCloudWatchAgent]\naws_access_key_id = a\naws_secret_access_key = b\n")
    options: dict[str, Any] = {"state": state}
    if state == "stored":
        options["configs"] = [{"name": PARAMETER, "file": "agent.json"}]
    if kind == "role":
        send = on_instance(aws, instance)
        options["instance_id"] = instance
    else:
        send = on_host(aws, aws.host(tmp_path / "ops1"))
        options |= {"from": "onprem", "credentials_file": str(tmp_path / "saved")}
    with assert_no_writes(aws):
        for check in (True, False):
            refused = transact(aws, "cwagent_store_config", send, check=check, folder=tmp_path, **options)
            assert f"{kind} '{ADMIN_ROLE if kind == 'role' else ADMIN_USER}' {REFUSED}" in refused["msg"]
