"""Playbooks leave roles and users with our names that others made, until a person adopts them."""

from __future__ import annotations

from emulator.snapshot import snapshot
from fleet import Fleet
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    SERVER_POLICY,
    SERVER_ROLE,
    WINDOW_POLICY,
    Controller,
    allow,
    assert_no_writes,
    create_role,
    create_user,
)

ADOPTED = {"team": "shop", "cwagent:managed": "adopted"}
NO_REGION = {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}
REFUSED = "exists and was not created by this collection"


def test_principals_of_others_are_left_or_adopted_and_outlive_teardown(controller: Controller) -> None:
    aws, fleet, iam = controller.aws, Fleet(controller), controller.aws.client("iam")
    for role, policy in ((ADMIN_ROLE, ADMIN_POLICY), (SERVER_ROLE, SERVER_POLICY)):
        create_role(aws, role, policy)
        iam.update_role(RoleName=role, Description="made by hand", MaxSessionDuration=7200)
        iam.tag_role(RoleName=role, Tags=[{"Key": "team", "Value": "shop"}])
    key = create_user(aws, ADMIN_USER, allow("s3:GetObject"), ADMIN_POLICY)["AWS_ACCESS_KEY_ID"]
    fleet.add_instance("admin1", SERVER_ROLE, group="ec2_admin")
    fleet.add_host("ops1", group="onprem_admin")
    before = snapshot(aws)

    with assert_no_writes(aws):
        refused = fleet.play("site").assert_failed()
        assert f"role '{ADMIN_ROLE}' {REFUSED}" in refused.message
        assert f"user '{ADMIN_USER}' {REFUSED}" in refused.message
        restored = fleet.play("restore").assert_succeeded()
        assert f"user '{ADMIN_USER}' was not created by this collection and has no admin window" in restored.words
    assert snapshot(aws) == before

    # The region of the instance is enough, because IAM is the same in all regions.
    adopted = fleet.play("site", env=NO_REGION, cwagent_adopt_existing=True).assert_succeeded()
    assert {"PutUserPolicy", "TagUser", "CreateAccessKey"} <= set(adopted.writes)
    after = snapshot(aws)
    for role in (ADMIN_ROLE, SERVER_ROLE):
        assert (after["roles"][role]["description"], after["roles"][role]["tags"]) == ("made by hand", ADOPTED)
    assert list(after["roles"][ADMIN_ROLE]["inline"]) == [WINDOW_POLICY]
    assert after["users"][ADMIN_USER]["keys"][key] == "Active"

    # Teardown takes the agent's policies, which the user requests with the names.
    torn = fleet.play("teardown", cwagent_confirm="teardown").assert_succeeded()
    assert f"role '{ADMIN_ROLE}' was not deleted; it was not created by this collection" in torn.words
    for kind, name in (("roles", ADMIN_ROLE), ("roles", SERVER_ROLE), ("users", ADMIN_USER)):
        before[kind][name]["policies"] = []
    assert snapshot(aws) == {**before, "associations": {}}
