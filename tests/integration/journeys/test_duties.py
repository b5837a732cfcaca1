"""The policies in examples/policies are sufficient: each playbook runs as a user who has only the policy for it.

``modules/test_permissions.py`` removes each of their actions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from emulator import Emulator
from emulator.snapshot import associated_profiles, snapshot
from fleet import DAY, HOUR, HYBRID, KEY, Fleet
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    NEEDS_AWS_CLI,
    SSM_POLICY,
    WINDOW_POLICY,
    Controller,
    Play,
    assert_complete_report,
    associate,
    create_role,
    create_user,
    hybrid_nodes,
    leave_restore_tag,
)
from policies import filled, permit

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import DENIED_CODES

APP = "shop-app"
REPLACE = "ReplaceIamInstanceProfileAssociation"
REPAIRS = {"PutRolePolicy", "PutUserPolicy", REPLACE, "DeleteTags", "UntagRole"}
"""The writes that repair what an interrupted run left."""


@dataclass
class Account:
    """An account in which one user runs all playbooks, and in which a permissions boundary is required.

    Every call that is denied here is denied without the boundary too.
    """

    fleet: Fleet
    user: dict[str, str]

    def run(self, playbook: str, *duties: str, **variables: Any) -> Play:
        """Run a playbook with these policies, by default with the one of its name."""
        names = duties or (playbook.replace("_", "-"),)
        permit(self.fleet.aws, *(filled(name, APP) for name in names), filled("require-boundary", APP))
        play = self.fleet.play(playbook, env=self.user, **variables).assert_succeeded()
        assert_complete_report(play)
        # The instance of the application reads with its own role, which may not, and is warned of.
        calls = [call for call in play.calls if f":assumed-role/{APP}/" not in call.principal]
        assert [call.action for call in calls if call.error in DENIED_CODES] == []
        return play

    def configure(self, debug: bool) -> None:
        self.fleet.configure({"agent": {"debug": debug}})

    def interrupt(self) -> None:
        """Leave the same as a run that was killed while it stored."""
        instance, iam = self.fleet.instances["admin1"], self.fleet.iam
        leave_restore_tag(self.fleet.aws, instance, APP)
        associate(self.fleet.aws, instance, ADMIN_ROLE)
        iam.delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
        iam.delete_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY)


def create_boundary(aws: Emulator) -> str:
    document = json.dumps(filled("boundary", APP))
    created = aws.client("iam").create_policy(PolicyName="CloudWatchAgentBoundary", PolicyDocument=document)
    return str(created["Policy"]["Arn"])


def all_kinds(controller: Controller) -> Fleet:
    """Servers of each kind, and an admin instance with the role of an application."""
    fleet = Fleet(controller)
    create_role(fleet.aws, APP, "AmazonS3ReadOnlyAccess", SSM_POLICY)
    fleet.add_instance("admin1", APP, group="ec2_admin")
    fleet.add_instance("web1")
    fleet.add_instance("web2")
    for host in ("db1", "db2"):
        fleet.add_host(host)
    fleet.add_host("ops1", group="onprem_admin")
    fleet.add_machine("db3", cwagent_onprem_identity=KEY)
    fleet.add_machine("db4", cwagent_onprem_identity=HYBRID)
    fleet.variables |= {"cwagent_permissions_boundary": create_boundary(fleet.aws), "cwagent_ssm_policy": SSM_POLICY}
    return fleet


@NEEDS_AWS_CLI
def test_each_playbook_needs_no_more_than_its_policy(controller: Controller) -> None:
    """From an empty account to teardown, with a server that changes from an access key to a registration."""
    aws, fleet = controller.aws, all_kinds(controller)
    before = snapshot(aws)
    account = Account(fleet, create_user(aws, "controller"))

    account.configure(debug=True)
    play = account.run("site", "provision", "provision-hybrid", cwagent_tags={"team": "ops"})
    created = {"CreateRole", "CreateUser", "CreateAccessKey", "CreateActivation", "DeleteActivation"}
    assert set(play.writes) >= created | {"PutParameter", "CreateTags", "UntagRole"}
    account.configure(debug=False)
    play = account.run("store_config", "store-configuration")
    assert set(play.writes) >= {"PutRolePolicy", "PutParameter", REPLACE, "CreateTags", "TagRole"}
    account.configure(debug=True)
    duties = ("store-configuration", "store-by-run-command")
    play = account.run("store_config", *duties, cwagent_store_config_from="run_command")
    assert set(play.writes) >= {"SendCommand", "PutRolePolicy", "PutParameter", REPLACE}
    account.interrupt()
    play = account.run("restore")
    assert set(play.writes) >= REPAIRS
    assert associated_profiles(aws)[fleet.instances["admin1"]] == APP

    # A server becomes hybrid, and all servers get fitted policies.
    fleet.variables["cwagent_server_policy"] = "fitted"
    account.configure(debug=False)
    play = account.run("store_config", "store-configuration", "fitted-policies")
    assert {"CreatePolicy", "PutParameter"} <= set(play.writes)
    provision = ("provision", "provision-hybrid", "fitted-policies")
    fleet.identify(HYBRID, "db3")
    aws.shift_clock(6 * HOUR)
    play = account.run("site", *provision)
    moved = {"AttachRolePolicy", "AttachUserPolicy", "DetachRolePolicy", "DetachUserPolicy"}
    assert set(play.writes) >= moved | {"UpdateAccessKey"}
    aws.shift_clock(8 * DAY)
    assert "DeleteUser" in account.run("site", *provision).writes
    assert len(hybrid_nodes(aws)) == 2

    aws.shift_clock(100 * DAY)
    assert "CreateAccessKey" in account.run("rotate_keys").writes
    account.interrupt()
    removal: dict[str, Any] = {"cwagent_remove_servers": ["web2", "db2", "db4"], "cwagent_confirm": "remove_servers"}
    play = account.run("remove_servers", "remove-servers", "restore", **removal)
    removed = {"DisassociateIamInstanceProfile", "DetachUserPolicy", "DeleteAccessKey", "DeleteUser"}
    assert set(play.writes) >= REPAIRS | removed | {"DeregisterManagedInstance"}
    account.interrupt()
    play = account.run(
        "teardown", "teardown", "restore", "fitted-policies", cwagent_confirm="teardown", cwagent_exclusive=True
    )
    removed = {"DeleteRole", "DeleteUser", "DeleteAccessKey", "DeleteParameter", "DeregisterManagedInstance"}
    assert set(play.writes) >= removed | {"DeletePolicy", "PutRolePolicy"}
    aws.client("iam").delete_user_policy(UserName="controller", PolicyName="duty")
    after = snapshot(aws)
    after["users"].pop("controller")
    assert after == before
