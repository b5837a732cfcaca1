"""The policies in examples/policies are sufficient: each playbook runs as a user who has only the policy for it.

``modules/test_permissions.py`` removes each of their actions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from emulator import Emulator
from emulator.snapshot import associated_profiles, snapshot
from fleet import HYBRID, KEY, Fleet
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    SERVER_USER,
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
from in_process import run_module
from policies import filled, permit, without

from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES

APP = "shop-app"
HOUR, DAY = 3600, 24 * 3600
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
    made = aws.client("iam").create_policy(PolicyName="CloudWatchAgentBoundary", PolicyDocument=document)
    return str(made["Policy"]["Arn"])


def create_saved_key(aws: Emulator, user: str, store: str, **options: Any) -> None:
    """Create a user with an access key that is saved in AWS."""
    options = {"access": "server", **options, "name": [user], "saved_key": {"key_store": store}}
    made = run_module(aws, "cwagent_iam_user", **options)
    assert not made["failed"], made


def test_each_playbook_needs_no_more_than_its_policy(controller: Controller) -> None:
    """From an empty account to teardown, with a server that changes from an access key to a registration."""
    aws, fleet = controller.aws, Fleet(controller)
    create_role(aws, APP, "AmazonS3ReadOnlyAccess", SSM_POLICY)
    admin = fleet.add_instance("admin1", APP, group="ec2_admin")
    fleet.add_instance("web1")
    fleet.add_instance("web2")
    for host in ("db1", "db2"):
        fleet.add_host(host)
    fleet.add_host("ops1", group="onprem_admin")
    fleet.add_machine("db3", cwagent_onprem_identity=KEY)
    fleet.add_machine("db4", cwagent_onprem_identity=HYBRID)
    fleet.variables |= {"cwagent_permissions_boundary": create_boundary(aws), "cwagent_ssm_policy": SSM_POLICY}
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
    play = account.run("restore", "store-configuration")
    assert set(play.writes) >= REPAIRS
    assert associated_profiles(aws)[admin] == APP

    fleet.set("db3", cwagent_onprem_identity=HYBRID)
    for wait, write in ((6 * HOUR, "UpdateAccessKey"), (8 * DAY, "DeleteUser")):
        aws.shift_clock(wait)
        assert write in account.run("site", "provision", "provision-hybrid").writes
    assert len(hybrid_nodes(aws)) == 2

    aws.shift_clock(100 * DAY)
    assert "CreateAccessKey" in account.run("rotate_keys").writes
    account.interrupt()
    removal: dict[str, Any] = {"cwagent_remove_servers": ["web2", "db2", "db4"], "cwagent_confirm": "remove_servers"}
    play = account.run("remove_servers", **removal)
    removed = {"DisassociateIamInstanceProfile", "DetachUserPolicy", "DeleteAccessKey", "DeleteUser"}
    assert set(play.writes) >= REPAIRS | removed | {"DeregisterManagedInstance"}
    account.interrupt()
    play = account.run("teardown", cwagent_confirm="teardown", cwagent_exclusive=True)
    removed = {"DeleteRole", "DeleteUser", "DeleteAccessKey", "DeleteParameter", "DeregisterManagedInstance"}
    assert set(play.writes) >= removed | {"PutRolePolicy"}
    aws.client("iam").delete_user_policy(UserName="controller", PolicyName="duty")
    after = snapshot(aws)
    after["users"].pop("controller")
    assert after == before


def test_an_on_premises_host_stores_with_the_policies_of_its_playbook(controller: Controller) -> None:
    """The key of the admin user is in Parameter Store."""
    aws, fleet, store = controller.aws, Fleet(controller), "parameter_store"
    fleet.add_host("ops1", group="onprem_admin")
    fleet.configure({"agent": {}})
    bound: dict[str, Any] = {"permissions_boundary": create_boundary(aws)}
    create_saved_key(aws, ADMIN_USER, store, access="admin", admin_window=True, **bound)
    account = Account(fleet, create_user(aws, "controller"))
    duties = ("store-configuration", "keys-in-parameter-store")
    play = account.run("store_config", *duties, cwagent_store_config_from="onprem", cwagent_key_store=store)
    assert "PutParameter" in play.writes


def test_the_lookup_of_a_saved_key_needs_one_action(controller: Controller) -> None:
    aws, tasks = controller.aws, []
    needed = {"parameter_store": "ssm:GetParameter", "secrets_manager": "secretsmanager:GetSecretValue"}
    for store, action in needed.items():
        user, document = f"{SERVER_USER}-{store}", filled(f"keys-in-{store.replace('_', '-')}", APP)
        create_saved_key(aws, user, store)
        for who, policy in (("allowed", document), ("refused", without(document, action))):
            key = create_user(aws, f"{who}-{store}", policy)
            options = {"key_store": store, "access_key": key["AWS_ACCESS_KEY_ID"]}
            options |= {"secret_key": key["AWS_SECRET_ACCESS_KEY"], "region": aws.region}
            given = ", ".join(f"{option}='{value}'" for option, value in options.items())
            found = f"lookup('cwagent.iam.saved_credentials', '{user}', {given}) | length > 0"
            tasks.append({"ansible.builtin.assert": {"that": found}, "ignore_errors": True})
    playbook = controller.file("read.yml", [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    play = controller.play(controller.inventory({}), playbook).assert_succeeded()
    assert [each.outcome for each in play.results] == ["ok", "ignored"] * 2
    for refused, (store, action) in zip(play.results[1::2], needed.items(), strict=True):
        assert f"user/refused-{store} lacks {action}" in str(refused.result)
