"""Servers go from AWS's policy to fitted ones and back: in check mode first, with a new configuration, and away."""

from __future__ import annotations

import json
from typing import Any

from emulator import Fault, Kind
from emulator.snapshot import snapshot
from fleet import HYBRID, Fleet
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    HYBRID_ROLE,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    SSM_POLICY,
    Play,
    allow,
    assert_complete_report,
    create_role,
    first_call,
)
from states import States

SHOP, TAG = "Shop", "cwagent:attached-policy"
SERVERS, ADMINS = "CloudWatchAgentFittedServerPolicy", "CloudWatchAgentFittedAdminPolicy"
# The only region of the account, because the emulator has all of AWS's.
ONE_REGION: dict[str, Any] = {"cwagent_audit_regions": ["eu-central-1"]}
FITTED: dict[str, Any] = {"cwagent_server_policy": "fitted", **ONE_REGION}
CONFIRMED: dict[str, Any] = {"cwagent_confirm": "teardown"}


def logs_to(*groups: str) -> dict[str, Any]:
    """A configuration that sends a file to each log group, and no metrics."""
    entries = [{"file_path": f"/var/log/{each}.log", "log_group_name": each} for each in groups]
    return {"logs": {"logs_collected": {"files": {"collect_list": entries}}}}


def all_kinds(states: States) -> Fleet:
    """A server of each kind, and both admin hosts, in an account that has the role of an application and a boundary."""
    fleet = Fleet(states.controller)
    create_role(fleet.aws, SHOP)
    fleet.add_instance("admin1", group="ec2_admin")
    fleet.add_instance("shop1", SHOP)
    fleet.add_host("db1")
    fleet.add_host("ops1", group="onprem_admin")
    fleet.add_machine("db2", cwagent_onprem_identity=HYBRID)
    bound = fleet.iam.create_policy(PolicyName="Bound", PolicyDocument=json.dumps(allow("*")))["Policy"]["Arn"]
    fleet.variables |= {
        "cwagent_permissions_boundary": bound,
        "cwagent_on_other_profile": "attach",
        "cwagent_attach_to_roles": [SHOP],
    }
    fleet.configure(logs_to("shop"))
    return fleet


def with_aws_policies(states: States) -> Fleet:
    fleet = states.begin(all_kinds)
    fleet.play("site").assert_succeeded()
    return fleet


def policies_of(fleet: Fleet) -> dict[str, list[str]]:
    """By principal, its managed policies."""
    found = snapshot(fleet.aws)
    return {name: each["policies"] for kind in ("roles", "users") for name, each in found[kind].items()}


def expected(servers: list[str], admins: list[str]) -> dict[str, list[str]]:
    return {
        SHOP: servers,
        SERVER_ROLE: servers,
        HYBRID_ROLE: sorted([SSM_POLICY, *servers]),
        f"{SERVER_USER}-db1": servers,
        ADMIN_ROLE: admins,
        ADMIN_USER: admins,
    }


WITH_AWS = expected([SERVER_POLICY], [ADMIN_POLICY])
WITH_FITTED = expected([SERVERS], [ADMINS, SERVERS])


def test_a_fleet_goes_from_aws_policy_to_fitted_ones_and_back(states: States) -> None:
    fleet = states.begin(with_aws_policies)
    assert policies_of(fleet) == WITH_AWS
    before = fleet.account()

    # Check mode shows the statements and the attachments, and writes nothing.
    predicted = fleet.play("site", "--check", "--diff", **FITTED).assert_succeeded()
    assert (predicted.writes, fleet.account()) == ([], before)
    assert "log-group:shop:*" in predicted.words
    assert f"attach {SERVERS} to role '{SHOP}'" in predicted.words
    done = fleet.play("site", "--diff", **FITTED).assert_succeeded()
    assert predicted.changes == done.changes
    assert_complete_report(done)
    assert policies_of(fleet) == WITH_FITTED
    assert fleet.account()["roles"][SHOP]["tags"] == {TAG: SERVERS}
    attach = first_call(done, "AttachRolePolicy", "AttachUserPolicy")
    assert first_call(done, "CreatePolicy") < attach < first_call(done, "DetachRolePolicy", "DetachUserPolicy")

    # The policies are extended before a new configuration is stored, whichever playbook stores it.
    fleet.configure(logs_to("orders"))
    stored = fleet.play("store_config", **FITTED).assert_succeeded()
    assert first_call(stored, "CreatePolicyVersion") < first_call(stored, "PutParameter")
    assert_complete_report(stored)
    # ``test_guide.py`` goes back as the page says, in check mode too.
    fleet.play("site", cwagent_server_policy="aws").assert_succeeded()
    assert policies_of(fleet) == WITH_AWS
    assert fleet.account()["roles"] == before["roles"]
    fleet.configure(logs_to("carts"))
    stored = fleet.play("site", **FITTED).assert_succeeded()
    assert first_call(stored, "CreatePolicyVersion") < first_call(stored, "PutParameter")
    assert_complete_report(stored)
    again = fleet.play("site", **FITTED).assert_succeeded()
    assert (again.writes, again.report[0]) == ([], "Nothing to do.")
    # A rotation of keys leaves the policies of the users as they are.
    rotated = fleet.play("rotate_keys", **FITTED).assert_succeeded()
    assert (rotated.writes, policies_of(fleet)) == ([], WITH_FITTED)

    # The account decides here too.
    predicted = fleet.play("teardown", "--check", "--diff", **CONFIRMED, **ONE_REGION).assert_succeeded()
    down = fleet.play("teardown", "--diff", **CONFIRMED, **ONE_REGION).assert_succeeded()
    assert predicted.changes == down.changes
    assert_complete_report(down)
    assert [each["PolicyName"] for each in fleet.iam.list_policies(Scope="Local")["Policies"]] == ["Bound"]
    assert fleet.account() == states.begin(all_kinds).account()


def test_without_the_permission_to_create_policies_nothing_is_written(states: States) -> None:
    fleet = states.begin(with_aws_policies)
    before = fleet.account()
    fleet.configure(logs_to("orders"))
    fleet.aws.arm(Fault(Kind.DENY, action="CreatePolicy", times=9))
    for playbook in ("site", "store_config"):
        refused = fleet.play(playbook, **FITTED).assert_failed()
        assert "iam:CreatePolicy" in refused.message
        assert (refused.writes, fleet.account()) == (["CreatePolicy"], before)
    assert fleet.account()["parameters"][fleet.aws.region] == {PARAMETER: logs_to("shop")}


def with_fitted_policies(states: States) -> Fleet:
    fleet = states.begin(with_aws_policies)
    fleet.play("site", **FITTED).assert_succeeded()
    return fleet


def test_a_fitted_account_stays_fitted_without_the_variable(states: States) -> None:
    fleet = states.begin(with_fitted_policies)
    assert policies_of(fleet) == WITH_FITTED
    again = fleet.play("site", **ONE_REGION).assert_succeeded()
    assert (again.writes, again.report[0]) == ([], "Nothing to do.")
    for playbook, group in (("store_config", "orders"), ("site", "carts")):
        fleet.configure(logs_to("shop", group))
        before = fleet.account()
        predicted = fleet.play(playbook, "--check", "--diff", **ONE_REGION).assert_succeeded()
        assert (predicted.writes, fleet.account()) == ([], before)
        done = fleet.play(playbook, "--diff", **ONE_REGION).assert_succeeded()
        assert predicted.changes == done.changes
        assert first_call(done, "CreatePolicyVersion") < first_call(done, "PutParameter")
        assert policies_of(fleet) == WITH_FITTED
    rotated = fleet.play("rotate_keys", **ONE_REGION).assert_succeeded()
    assert (rotated.writes, policies_of(fleet)) == ([], WITH_FITTED)
    # Only an explicit choice goes back.
    chosen: dict[str, Any] = {"cwagent_server_policy": "aws"}
    predicted = fleet.play("site", "--check", "--diff", **chosen).assert_succeeded()
    back = fleet.play("site", "--diff", **chosen).assert_succeeded()
    assert predicted.changes == back.changes
    assert policies_of(fleet) == WITH_AWS
    # The policies still exist, and no principal has them.
    idle = fleet.play("site", **ONE_REGION).assert_succeeded()
    assert (idle.writes, policies_of(fleet)) == ([], WITH_AWS)
    down = fleet.play("teardown", **CONFIRMED, **ONE_REGION).assert_succeeded()
    assert {"ListPolicies", "DeletePolicy"} & {call.action for call in down.calls} == set()
    down = fleet.play("teardown", **CONFIRMED, **FITTED).assert_succeeded()
    assert {*down.writes} == {"DeletePolicy"}


def test_a_mixed_account_is_said_to_be_mixed_and_becomes_fitted(states: States) -> None:
    fleet = states.begin(with_fitted_policies)
    arn = f"arn:aws:iam::123456789012:policy/cwagent/{SERVERS}"
    fleet.iam.detach_role_policy(RoleName=HYBRID_ROLE, PolicyArn=arn)
    fleet.iam.attach_role_policy(RoleName=HYBRID_ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{SERVER_POLICY}")
    predicted = fleet.play("site", "--check", "--diff", **ONE_REGION).assert_succeeded()
    done = fleet.play("site", "--diff", **ONE_REGION).assert_succeeded()
    assert predicted.changes == done.changes
    assert f"The account is mixed: role '{HYBRID_ROLE}' still have AWS's policies" in done.words
    assert policies_of(fleet) == WITH_FITTED
    assert "The account is mixed" not in fleet.play("site", **ONE_REGION).assert_succeeded().words


def test_where_the_account_cannot_be_read_nothing_is_written(states: States) -> None:
    fleet = states.begin(with_fitted_policies)
    fleet.configure(logs_to("orders"))
    before = fleet.account()
    bulk = "GetAccountAuthorizationDetails"
    for playbook, action in (("site", bulk), ("store_config", "ListPolicies"), ("rotate_keys", "ListPolicies")):
        fleet.aws.arm(Fault(Kind.DENY, action=action, times=9))
        refused = fleet.play(playbook, **ONE_REGION).assert_failed()
        fleet.aws.disarm()
        assert f"iam:{action}" in refused.message
        assert "cwagent_server_policy" in refused.message
        assert (refused.writes, fleet.account()) == ([], before)


def test_a_fitted_account_needs_the_boundary_before_the_first_write(states: States) -> None:
    fleet = states.begin(with_fitted_policies)
    fleet.configure(logs_to("orders"))
    before = fleet.account()
    fleet.variables.pop("cwagent_permissions_boundary")
    for playbook in ("site", "store_config"):
        refused = fleet.play(playbook, **ONE_REGION).assert_failed()
        assert "set cwagent_permissions_boundary to the ARN" in refused.words
        assert (refused.writes, fleet.account()) == ([], before)


def roles_alone(fleet: Fleet, *arguments: str, store: bool = True, **settings: Any) -> Play:
    """Run the roles in another playbook. :param settings: variables that each role has under its own name."""
    region = fleet.aws.region
    keys = {"key_store_directory": str(fleet.controller.credentials), "region": region}
    variables: dict[str, dict[str, Any]] = {
        "ec2_server": {
            "instances": {region: [fleet.instances["shop1"]]},
            "on_other_profile": "attach",
            "attach_to_roles": [SHOP],
        },
        "ec2_admin": {},
        "onprem_server": {"users": [f"{SERVER_USER}-db1"], **keys},
        "onprem_admin": keys,
        "hybrid_server": {"regions": [region]},
    }
    roles = [
        {"role": f"cwagent.iam.{role}", **{f"{role}_{key}": each for key, each in {**found, **settings}.items()}}
        for role, found in variables.items()
    ]
    stored = {
        "from": "controller",
        "configs": [{"name": PARAMETER, "file": fleet.variables["cwagent_config_file"]}],
        "region": region,
        "read_regions": [region],
    }
    storing = {"role": "cwagent.iam.store_config", **{f"store_config_{key}": each for key, each in stored.items()}}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/cwagent.iam.aws": {"region": region}},
        "roles": [*roles, *([storing] if store else [])],
    }
    playbook = fleet.controller.file("roles_alone.yml", [play])
    return fleet.controller.play(fleet.controller.file("none.yml", {"all": {}}), playbook, *arguments)


def test_roles_that_are_used_alone_follow_the_account(states: States) -> None:
    fleet = states.begin(with_fitted_policies)
    fleet.configure(logs_to("shop", "orders"))
    before = fleet.account()
    predicted = roles_alone(fleet, "--check").assert_succeeded()
    assert (predicted.writes, fleet.account()) == ([], before)
    done = roles_alone(fleet).assert_succeeded()
    assert predicted.changed_tasks == done.changed_tasks
    assert first_call(done, "CreatePolicyVersion") < first_call(done, "PutParameter")
    assert {each for each in done.writes if each.startswith(("Attach", "Detach"))} == set()
    assert policies_of(fleet) == WITH_FITTED
    # Only an explicit choice goes back.
    roles_alone(fleet, store=False, server_policy="aws").assert_succeeded()
    assert policies_of(fleet) == WITH_AWS
