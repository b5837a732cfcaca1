"""The policies in examples/policies: each action in them is necessary, and they are sufficient for the modules.

Each action is removed from a policy in turn, and the module that needs it fails and names the missing action. With the
whole policy, it succeeds. ``journeys/test_duties.py`` runs the playbooks with their policies.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from fleet import DAY
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    HYBRID_ROLE,
    PARAMETER,
    POLICY_ARN,
    SERVER_ROLE,
)
from in_process import on_host, run_module, transact
from policies import POLICIES, Policy, actions, permit, without
from scenes import (
    ADMIN,
    ADMIN_KEYS,
    ATTACH,
    CHECK,
    CLAIM_LIFETIME,
    CREDENTIALS_OF_A_PERSON,
    HOST,
    HYBRID_SERVERS,
    IN_OWN_REGION,
    READ_USER,
    READS_OF_KEYS,
    RETIRED_KEYS,
    ROLE,
    SERVER_KEYS,
    USER,
    Scene,
    Site,
    acquire_profile,
    activate_key,
    adopt,
    adopt_server,
    advance_days,
    as_root,
    attach,
    attach_fitted,
    change_role,
    change_user,
    check_by_command,
    configure,
    converge_command,
    create_unused_key,
    deactivate_unused_key,
    detach_fitted,
    in_turn,
    leave_acquired,
    leave_acquired_and_stop,
    leave_acquired_without_earlier,
    leave_app,
    list_versions,
    lose_key,
    manage_node,
    policy,
    provisioned,
    provisioned_and_acquired,
    provisioned_for_hybrid_servers,
    provisioned_for_run_command,
    provisioned_with_server,
    register_host,
    release_profiles,
    remove_windows,
    stored_in,
    switch_off_host,
    user_with_store,
    with_timeout,
)

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import DENIED_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import DEREGISTERED, REGISTERED
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command_plan import CANCELLED, SENT

BOUNDARIES = {"boundary", "require-boundary"}
"""The policies that allow the controller nothing."""
TESTED_ELSEWHERE = {"audit", "verify", "apply", "label-versions", "organization", "organization-instances"}
"""test_access_info.py and test_verify.py test the first three: without some of their actions, the modules do not fail.
test_organization.py tests the others."""

BULK = "iam:GetAccountAuthorizationDetails"
TOLERATED = {BULK, "iam:GetPolicy"}
"""Without the first, users are read one by one. Without the other, IAM reports that a permissions boundary does not
exist. Nothing else fails, but every run logs a denied call in the account."""
TOLERATED_IN = {
    "keys-in-parameter-store": {"ssm:DescribeParameters"},
    "keys-in-secrets-manager": {"secretsmanager:ListSecrets"},
    "provision": {"iam:GetAccountSummary", "iam:GetPolicyVersion"},
    "restore": {"iam:GetInstanceProfile"},
    "store-configuration": {"iam:GetInstanceProfile", "iam:ListRolePolicies", "iam:ListUserPolicies"},
    "store-by-run-command": {"iam:GetPolicyVersion"},
    "store-by-run-command-by-tag": {"iam:GetPolicyVersion"},
    "teardown": {"ssm:DescribeParameters"},
}
"""The same for each duty.

- Without the permission to list saved keys or configurations, the report lists what is unknown. test_remove_servers.py
  and test_search.py test that.
- Without iam:GetInstanceProfile, EC2 itself refuses an earlier profile that no longer exists.
- Without the permission to list policies, IAM itself refuses a window whose policy is too large together with others.
- Without iam:GetAccountSummary, the default quota of policies counts.
- Without iam:GetPolicyVersion, provision does not judge a boundary, and store-by-run-command* does not check whether
  the admin role lets the SSM agent work.
"""
IMPLIED = {"iam:PassRole", "ssm:AddTagsToResource"}
"""Actions that no call has. Calls that need them are refused."""
NOT_ENFORCED = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}
"""The emulator does not call KMS when other services encrypt. tests/unit/policies tests these actions."""


CLOSE_ROLE_WINDOW = with_timeout(role=ADMIN_ROLE, state="closed", managed_only=True)
CLOSE_USER_WINDOW = with_timeout(user=ADMIN_USER, state="closed", managed_only=True)
PARAMETER_IN_CHECK_MODE = Scene(
    "config_parameter", {"name": PARAMETER, "config": {"agent": {}}, "wait_timeout": 0}, "ssm:GetParameter", check=True
)
RELEASE_OF_A_STOPPED_INSTANCE = Scene(release_profiles, {}, "ec2:AssociateIamInstanceProfile", leave_acquired_and_stop)
STORES = (("parameter_store", "ssm:DeleteParameter"), ("secrets_manager", "secretsmanager:DeleteSecret"))
DELETIONS_OF_SAVED_KEYS = [
    Scene(
        "iam_user", {**user_with_store(store), "state": "absent"}, action, as_root(("iam_user", user_with_store(store)))
    )
    for store, action in STORES
]
DEREGISTRATIONS = [
    Scene(
        manage_node,
        {"host": "@host", "state": DEREGISTERED},
        "ssm:DescribeInstanceInformation ListTagsForResource DescribeActivations DeleteActivation "
        "DeregisterManagedInstance",
        in_turn(provisioned_for_hybrid_servers, register_host),
        restores=True,
    ),
    Scene(
        "hybrid_nodes",
        with_timeout(nodes_by_region={"": [HOST]}),
        "ssm:DescribeInstanceInformation DescribeActivations DeleteActivation DeregisterManagedInstance",
        switch_off_host,
        restores=True,
    ),
]
FITTED = with_timeout(configs=[{"name": PARAMETER, "file": "@config"}])
UNSAVED_KEY = Scene(
    "iam_user", {**SERVER_KEYS, "name": [f"{USER}-lost"], "state": "absent"}, "iam:GetAccessKeyLastUsed", lose_key
)
COMMANDS = [
    Scene(
        check_by_command,
        {"instance": "@app"},
        "ssm:DescribeInstanceInformation SendCommand GetCommandInvocation",
        provisioned_for_run_command,
    ),
    Scene(converge_command, {"instance": "@app", "state": SENT}, "ssm:ListCommands"),
    Scene(converge_command, {"instance": "@app", "state": CANCELLED}, "ssm:CancelCommand"),
]
SCENES: dict[str, list[Scene]] = {
    "provision": [
        Scene(
            "iam_role",
            ROLE,
            "iam:ListPolicies GetRole GetInstanceProfile CreateRole AttachRolePolicy ListAttachedRolePolicies "
            "ListRolePolicies CreateInstanceProfile AddRoleToInstanceProfile PassRole",
        ),
        Scene(
            "iam_role",
            {**ROLE, "description": "d", "tags": {"team": "ops"}},
            "iam:UpdateAssumeRolePolicy UpdateRole DetachRolePolicy TagRole TagInstanceProfile",
            change_role,
        ),
        Scene("iam_role", ADMIN, "iam:PutRolePolicy"),
        Scene(
            "instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@bare"]),
            "ec2:DescribeIamInstanceProfileAssociations DescribeInstances AssociateIamInstanceProfile",
        ),
        Scene(
            "instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@app"], on_other_profile="replace"),
            "ec2:ReplaceIamInstanceProfileAssociation",
        ),
        Scene("instance_profile", ATTACH, "iam:GetAccountAuthorizationDetails TagRole AttachRolePolicy", leave_app),
        Scene(
            "iam_user",
            ADMIN_KEYS,
            "iam:GetUser CreateUser PutUserPolicy ListGroupsForUser ListAttachedUserPolicies ListUserPolicies "
            "ListAccessKeys AttachUserPolicy CreateAccessKey UpdateAccessKey",
            removed=[BULK],
        ),
        # A key that an interrupted run did not save: the next run checks its last use, and deletes it.
        Scene(
            "iam_user", {**SERVER_KEYS, "name": [f"{USER}-lost"]}, "iam:GetAccessKeyLastUsed DeleteAccessKey", lose_key
        ),
        Scene("iam_user", {**SERVER_KEYS, "tags": {"team": "ops"}}, "iam:DetachUserPolicy TagUser", change_user),
        Scene("admin_window", with_timeout(role=ADMIN_ROLE, state="open", instance_id="@app"), "iam:GetRolePolicy"),
        Scene("admin_window", with_timeout(user=ADMIN_USER, state="open"), "iam:GetUserPolicy"),
        Scene(
            acquire_profile,
            {"instance_id": "@other"},
            "ec2:DescribeTags CreateTags",
        ),
        Scene(release_profiles, {}, "ec2:DisassociateIamInstanceProfile DeleteTags iam:UntagRole"),
        PARAMETER_IN_CHECK_MODE,
    ],
    "provision-hybrid": [
        Scene(
            "iam_role",
            IN_OWN_REGION,
            "iam:GetRole CreateRole AttachRolePolicy ListAttachedRolePolicies ListRolePolicies",
        ),
        Scene(
            "iam_role",
            {**HYBRID_SERVERS, "trust_regions": ["us-east-1"], "description": "d", "tags": {"team": "ops"}},
            "iam:UpdateAssumeRolePolicy UpdateRole DetachRolePolicy TagRole",
            lambda site: site.iam.attach_role_policy(RoleName=HYBRID_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY),
        ),
        Scene(
            manage_node,
            {"host": "@host", "state": REGISTERED},
            "ssm:DescribeActivations CreateActivation AddTagsToResource iam:PassRole ssm:DeleteActivation "
            "DescribeInstanceInformation",
            provisioned_for_hybrid_servers,
            restores=True,
        ),
        DEREGISTRATIONS[0],
        Scene("iam_user", RETIRED_KEYS, "iam:UpdateAccessKey", create_unused_key()),
        Scene(
            "iam_user",
            RETIRED_KEYS,
            f"iam:{CREDENTIALS_OF_A_PERSON} DeleteUser",
            lambda site: site.aws.shift_clock(8 * DAY),
        ),
        Scene("iam_user", RETIRED_KEYS, "iam:UntagUser", in_turn(adopt_server, deactivate_unused_key())),
        *(
            Scene("iam_user", {**RETIRED_KEYS, **stored_in(store)}, action, deactivate_unused_key(**stored_in(store)))
            for store, action in STORES
        ),
    ],
    "store-configuration": [
        Scene("account_info", {"find_server_policy": True}, "iam:ListPolicies"),
        Scene(
            "admin_window",
            with_timeout(role=ADMIN_ROLE, state="open", instance_id="@app"),
            "iam:GetRolePolicy GetRole PutRolePolicy",
            in_turn(provisioned, remove_windows),
        ),
        Scene(
            "admin_window",
            with_timeout(user=ADMIN_USER, state="open"),
            "iam:GetUserPolicy GetUser ListAccessKeys PutUserPolicy UpdateAccessKey",
        ),
        Scene("admin_window", CLOSE_ROLE_WINDOW, "iam:ListAttachedRolePolicies", remove_windows),
        Scene("admin_window", CLOSE_USER_WINDOW, "iam:ListAttachedUserPolicies"),
        Scene(
            acquire_profile,
            {"instance_id": "@bare"},
            "ec2:DescribeIamInstanceProfileAssociations DescribeTags DescribeInstances iam:TagRole "
            "ec2:CreateTags AssociateIamInstanceProfile iam:PassRole",
            restores=True,
        ),
        Scene(release_profiles, {}, "ec2:DisassociateIamInstanceProfile DeleteTags iam:UntagRole"),
        Scene(
            release_profiles,
            {},
            "ec2:ReplaceIamInstanceProfileAssociation iam:PassRole",
            leave_acquired,
        ),
        PARAMETER_IN_CHECK_MODE,
        Scene(list_versions, {"name": PARAMETER}, "ssm:GetParameterHistory"),
    ],
    "rotate-keys": [
        Scene(
            "iam_user",
            {**SERVER_KEYS, "key_max_age_days": 90},
            f"iam:ListPolicies {READ_USER} ListAccessKeys GetAccessKeyLastUsed CreateAccessKey",
            in_turn(provisioned, advance_days(100)),
            removed=[BULK],
        ),
        Scene("iam_user", {**ADMIN_KEYS, "key_max_age_days": 90}, "iam:TagUser", removed=[BULK]),
        Scene("iam_user", {**SERVER_KEYS, "key_max_age_days": 90}, "iam:UpdateAccessKey", advance_days(1)),
        Scene("iam_user", {**SERVER_KEYS, "key_max_age_days": 90}, "iam:DeleteAccessKey", advance_days(8)),
        Scene("restore", {**CHECK, "instances": {"": ["@app"]}}, "ec2:DescribeInstances"),
    ],
    "restore": [
        Scene(
            "admin_window",
            CLOSE_ROLE_WINDOW,
            "iam:GetRolePolicy GetRole ListAttachedRolePolicies PutRolePolicy",
            provisioned_and_acquired,
            restores=True,  # whatever can be closed is closed
        ),
        Scene(
            "admin_window",
            CLOSE_USER_WINDOW,
            "iam:GetUserPolicy GetUser ListAttachedUserPolicies ListAccessKeys PutUserPolicy UpdateAccessKey",
            activate_key,
            restores=True,
        ),
        Scene(
            release_profiles,
            {},
            "ec2:DescribeTags DescribeInstances "
            "ec2:ReplaceIamInstanceProfileAssociation iam:PassRole ec2:DeleteTags iam:UntagRole",
        ),
        RELEASE_OF_A_STOPPED_INSTANCE,
        Scene(
            release_profiles,
            {},
            "ec2:DescribeIamInstanceProfileAssociations DisassociateIamInstanceProfile",
            leave_acquired_without_earlier,
        ),
    ],
    "remove-servers": [
        Scene("restore", {**CHECK, "users_to_delete": {"": [USER]}}, "iam:GetUser", provisioned_with_server),
        Scene(
            "instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@bare"], state="absent"),
            "ec2:DescribeIamInstanceProfileAssociations DisassociateIamInstanceProfile",
        ),
        Scene(
            "iam_user",
            {**SERVER_KEYS, "state": "absent"},
            f"iam:{READ_USER} ListAccessKeys {CREDENTIALS_OF_A_PERSON} DeleteAccessKey DetachUserPolicy DeleteUser",
            removed=[BULK],
        ),
        Scene("iam_user", with_timeout(name=[USER], access="server", state="absent"), "iam:UntagUser", adopt_server),
        UNSAVED_KEY,
        Scene(
            "application_roles",
            with_timeout(instances={"": ["@app"]}),
            "iam:GetAccountAuthorizationDetails ec2:DescribeIamInstanceProfileAssociations "
            "iam:DetachRolePolicy UntagRole",
            attach,
        ),
        *DELETIONS_OF_SAVED_KEYS,
        *DEREGISTRATIONS,
    ],
    "teardown": [
        Scene(
            "restore",
            {
                **CHECK,
                "instances": {"": ["@bare"]},
                "profiles_to_delete": [SERVER_ROLE],
                "expected_instance_ids": ["@bare"],
            },
            "ec2:DescribeInstances DescribeRegions DescribeIamInstanceProfileAssociations",
            provisioned_with_server,
        ),
        Scene(
            "instance_profile",
            with_timeout(name=SERVER_ROLE, instance_ids=["@bare"], fail_if_associated_elsewhere=True, state="absent"),
            "ec2:DisassociateIamInstanceProfile",
        ),
        Scene(
            "iam_role",
            {**ADMIN, "state": "absent"},
            "iam:GetRole ListAttachedRolePolicies ListRolePolicies ListInstanceProfilesForRole "
            "DetachRolePolicy DeleteRolePolicy RemoveRoleFromInstanceProfile DeleteInstanceProfile DeleteRole",
        ),
        Scene(
            "iam_user",
            {**ADMIN_KEYS, "state": "absent"},
            f"iam:{READ_USER} ListAccessKeys {CREDENTIALS_OF_A_PERSON} DeleteAccessKey DetachUserPolicy "
            "DeleteUserPolicy DeleteUser",
            removed=[BULK],
        ),
        Scene("iam_role", with_timeout(name=ADMIN_ROLE, state="absent"), "iam:UntagRole", adopt),
        Scene("iam_user", with_timeout(name=[ADMIN_USER], state="absent"), "iam:UntagUser"),
        UNSAVED_KEY,
        Scene(
            "config_parameter",
            {"name": PARAMETER, "state": "absent", "wait_timeout": 0},
            "ssm:GetParameter DeleteParameter",
        ),
        Scene(
            "application_roles", with_timeout(), "iam:GetAccountAuthorizationDetails DetachRolePolicy UntagRole", attach
        ),
        *DELETIONS_OF_SAVED_KEYS,
        *DEREGISTRATIONS,
        Scene(
            "iam_role",
            with_timeout(name=HYBRID_ROLE, trust="hybrid", state="absent"),
            "iam:GetRole ListAttachedRolePolicies ListRolePolicies DetachRolePolicy DeleteRole",
        ),
    ],
    "fitted-policies": [
        Scene(
            "fitted_policy",
            FITTED,
            "ec2:DescribeRegions ssm:DescribeParameters GetParameterHistory iam:ListPolicies CreatePolicy",
            in_turn(
                as_root(("config_parameter", {"name": PARAMETER, "config": {"agent": {}}, "config_validation": "off"})),
                configure("shop"),
            ),
        ),
        Scene(
            "fitted_policy",
            FITTED,
            "iam:GetPolicy ListPolicyVersions GetPolicyVersion TagPolicy CreatePolicyVersion SetDefaultPolicyVersion "
            "DeletePolicyVersion",
            configure("web"),
        ),
        Scene("fitted_policy", FITTED, "iam:UntagPolicy", configure("blog", 2 * DAY)),
        Scene("account_info", {"find_server_policy": True}, BULK, attach_fitted),
        Scene("fitted_policy", with_timeout(state="absent"), "iam:ListEntitiesForPolicy DeletePolicy", detach_fitted),
    ],
    "store-by-run-command": COMMANDS,
    "store-by-run-command-by-tag": COMMANDS,
    "tag-parameters": [
        Scene(
            "config_parameter",
            {"name": PARAMETER, "state": "tagged", "tags": {"team": "operations"}},
            "ssm:ListTagsForResource AddTagsToResource",
            as_root(("config_parameter", {"name": PARAMETER, "config": {"agent": {}}, "config_validation": "off"})),
        )
    ],
    "keys-in-parameter-store": [
        Scene("iam_user", user_with_store("parameter_store"), "ssm:GetParameters PutParameter DeleteParameter")
    ],
    "keys-in-secrets-manager": [
        Scene(
            "iam_user",
            user_with_store("secrets_manager"),
            "secretsmanager:GetSecretValue UpdateSecret CreateSecret DeleteSecret",
        )
    ],
}
ADDITIONAL_POLICIES = {
    "keys-in-parameter-store": ("provision",),
    "keys-in-secrets-manager": ("provision",),
    "store-by-run-command": ("store-configuration",),
    "store-by-run-command-by-tag": ("store-configuration",),
    "provision-hybrid": ("provision", "keys-in-parameter-store", "keys-in-secrets-manager"),
    **dict.fromkeys(("remove-servers", "teardown"), ("restore", "keys-in-parameter-store", "keys-in-secrets-manager")),
}
"""The further policies that the controller's user has."""

DELIVERY = {"keys-in-parameter-store": {"ssm:GetParameter"}}
"""Actions that only the delivery of a saved key needs."""


@pytest.fixture
def site(enforcing: Emulator, tmp_path: Path) -> Site:
    return Site(enforcing, tmp_path)


def test_there_are_scenes_for_every_policy() -> None:
    assert {path.stem for path in POLICIES.glob("*.json")} == SCENES.keys() | BOUNDARIES | TESTED_ELSEWHERE


@pytest.mark.parametrize("duty", SCENES)
def test_there_is_a_scene_for_every_action(duty: str) -> None:
    tested = {action for scene in SCENES[duty] for action in scene.actions} | DELIVERY.get(duty, set())
    assert tested - TOLERATED == actions(policy(duty)) - TOLERATED - TOLERATED_IN.get(duty, set()) - NOT_ENFORCED


@pytest.mark.parametrize("duty", SCENES)
def test_a_missing_action_is_named(site: Site, duty: str, subtests: pytest.Subtests) -> None:
    """Scenes run in order, because each continues from the state of the account that the one before left."""
    document, additional = policy(duty), [policy(name) for name in ADDITIONAL_POLICIES.get(duty, ())]
    for number, scene in enumerate(SCENES[duty], 1):
        if scene.prepare:
            scene.prepare(site)
        if scene.restores:
            site.aws.save(f"scene {number} of {duty}", site.home)
        for action in (*scene.actions, ""):
            with subtests.test(scene=number, module=str(scene.module), action=action):
                if scene.restores:
                    site.aws.restore(f"scene {number} of {duty}")
                permit(site.aws, *(without(each, action, *scene.removed) for each in (document, *additional)))
                if duty.startswith("keys-in"):
                    site.aws.shift_clock(CLAIM_LIFETIME)
                result = site.run(scene)
                assert result["failed"] == bool(action), result
                if action:
                    call = r"\w+:\w+" if action in IMPLIED else action
                    assert re.search(rf"Could not .+ \({call}\)", result["msg"])
                    assert f"user/controller lacks {action}" in result["msg"]
                    assert f"Grant {action} to it and run again" in result["msg"]


def test_a_host_that_left_is_known_by_its_name_although_its_name_may_not_be_read(site: Site) -> None:
    """The policy allows to read the users of hosts only."""
    provisioned(site)
    permit(site.aws, policy("remove-servers"))
    options: dict[str, Any] = {"users_to_delete": {"": [HOST, USER]}, "default_users": {HOST: USER}}
    found = run_module(site.aws, "cwagent_restore", state="checked", credentials=site.user, **options)
    assert (found["failed"], found["warnings"], found["users_to_delete"]) == (False, [], {"": [USER]})
    as_root(("iam_user", {**SERVER_KEYS, "state": "absent"}))(site)
    found = run_module(site.aws, "cwagent_restore", state="checked", credentials=site.user, **options)
    assert f"It is not known whether there is a user '{HOST}': iam:GetUser is not allowed." in found["warnings"]


@pytest.mark.parametrize(("store", "action"), READS_OF_KEYS.items())
def test_an_on_premises_host_stores_with_the_policies_of_its_playbook(
    site: Site, store: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One action reads the saved key. It is all that the lookup of keys needs."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", site.aws.endpoint)  # for the lookup
    as_root(("iam_user", {**ADMIN_KEYS, "saved_key": {"key_store": store}}))(site)
    host = site.aws.host(site.home / "ops1")
    (site.home / "agent.json").write_text('{"agent": {}}')
    configs = [{"name": PARAMETER, "file": str(site.home / "agent.json")}]

    def run(keys: Policy) -> tuple[dict[str, Any], list[str]]:
        """The result, and the calls of the user that were denied."""
        permit(site.aws, policy("store-configuration"), keys)
        since = site.aws.mark()
        options: dict[str, Any] = {"from": "onprem", "configs": configs, "key_store": store}
        send = on_host(site.aws, host)
        made = transact(site.aws, "cwagent_store_config", send, credentials=site.user, **options)
        return made, [call.action for call in site.aws.calls(since) if call.error in DENIED_CODES]

    document = policy(f"keys-in-{store.replace('_', '-')}")
    refused, denied = run(without(document, action))
    assert f"user/controller lacks {action}" in refused["msg"]
    assert denied == [action.partition(":")[2]]
    stored, denied = run(document)
    assert (stored["failed"], stored["changed"], denied) == (False, True, []), stored
