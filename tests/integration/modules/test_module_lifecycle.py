"""The life cycle of every module: predict, create, leave unchanged, repair, delete, and delete again.

Roles, users and associations live on both emulators, whose answers differ.
"""

from __future__ import annotations

import json
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Kind
from emulator.snapshot import associated_profiles, configurations, snapshot
from harness import (
    ADMIN_POLICY,
    POLICY_ARN,
    SERVER_POLICY,
    SERVER_ROLE,
    allow,
    assert_no_writes,
    associate,
    create_role,
    trust,
)
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import merge

CREATED = {"cwagent:managed": "created"}
BOUNDARY = POLICY_ARN + "PowerUserAccess"
ROLE: dict[str, Any] = {
    "name": "R",
    "access": "server",
    "description": "for the agent",
    "tags": {"team": "ops"},
    "permissions_boundary": BOUNDARY,
    "max_session_duration": 7200,
}
USERS: dict[str, Any] = {"name": ["u1", "u2"], "access": "server", "tags": {"team": "ops"}}
CONFIG = {"agent": {"metrics_collection_interval": 60}}
PARAMETER: dict[str, Any] = {"name": "AmazonCloudWatch-x", "config": CONFIG}
EC2_TRUST = json.loads(trust("ec2.amazonaws.com"))


def logs_of(count: int) -> dict[str, Any]:
    """A configuration with so many entries that each needs most of a parameter."""
    entries = [{"file_path": f"/var/log/{index}-{'x' * 7000}.log"} for index in range(count)]
    return {"logs": {"logs_collected": {"files": {"collect_list": entries}}}}


def comparable(value: Any) -> Any:
    """A result without values that are null in check mode because AWS assigns them."""
    if isinstance(value, dict):
        assigned_by_aws = ("arn", "id", "access_key_id", "created")
        return {key: comparable(each) for key, each in value.items() if key not in assigned_by_aws}
    return [comparable(each) for each in value] if isinstance(value, list) else value


def predict_and_apply(aws: Emulator, module: str, **arguments: Any) -> dict[str, Any]:
    """Run in check mode, for real, and again. Assert that the results agree and that only the real run writes.

    :returns: the result of the real run.
    """
    with assert_no_writes(aws):
        predicted = run_module(aws, module, check=True, **arguments)
    since = aws.mark()
    done = run_module(aws, module, **arguments)
    assert done["changed"] is True, done
    assert predicted.keys() - {"warnings"} == done.keys() - {"warnings"}
    assert comparable(predicted) == comparable(done)
    assert len(aws.writes(since)) > 0
    with assert_no_writes(aws):
        again = run_module(aws, module, **arguments)
        without_diff = run_module(aws, module, **arguments, diff=False)
    assert again.keys() - without_diff.keys() == {"diff"}
    assert (again["changed"], again["steps"]) == (False, []), again
    diffs = again["diff"] if isinstance(again["diff"], list) else [again["diff"]]
    assert all(each["before"] == each["after"] for each in diffs)
    return done


def predict_and_delete(aws: Emulator, module: str, **arguments: Any) -> None:
    """Delete with the same three runs."""
    predict_and_apply(aws, module, **arguments, state="absent")


def test_role_is_created_and_deleted(aws: Emulator) -> None:
    done = predict_and_apply(aws, "cwagent_iam_role", **ROLE)
    assert done["role"]["arn"] == "arn:aws:iam::123456789012:role/R"
    assert done["instance_profile"]["role"] == "R"
    after = snapshot(aws)
    assert after["instance_profiles"] == {"R": ["R"]}
    assert after["roles"]["R"] == {
        "policies": [SERVER_POLICY],
        "inline": {},
        "tags": {"team": "ops", **CREATED},
        "path": "/",
        "boundary": BOUNDARY,
        "trust": EC2_TRUST,
        "description": "for the agent",
        "session": 7200,
    }
    predict_and_delete(aws, "cwagent_iam_role", name="R")
    assert snapshot(aws)["roles"] == snapshot(aws)["instance_profiles"] == {}


HYBRID: dict[str, Any] = {"name": "H", "access": "server", "trust": "hybrid"}
ACCOUNT = "123456789012"


def hybrid_trust(*regions: str) -> dict[str, Any]:
    """The trust policy of a role for servers that are registered in these regions."""
    condition = {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnEquals": {"aws:SourceArn": [f"arn:aws:ssm:{region}:{ACCOUNT}:*" for region in regions]},
    }
    [statement] = json.loads(trust("ssm.amazonaws.com"))["Statement"]
    return {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}


def test_role_for_hybrid_servers_is_created_gets_a_region_and_is_deleted(enforcing: Emulator) -> None:
    since = enforcing.mark()
    done = predict_and_apply(enforcing, "cwagent_iam_role", **HYBRID, trust_regions=["us-east-1", "eu-west-1"])
    assert done["instance_profile"] is None
    assert done["role"]["trust_policy"] == hybrid_trust("eu-west-1", "us-east-1")
    after = snapshot(enforcing)
    assert after["instance_profiles"] == {}
    assert after["roles"]["H"] == {
        "policies": [SERVER_POLICY],
        "inline": {},
        "tags": CREATED,
        "path": "/",
        "boundary": None,
        "trust": hybrid_trust("eu-west-1", "us-east-1"),
        "description": "Lets hybrid servers run the CloudWatch agent",
        "session": 3600,
    }
    for exclusive in (False, True):
        with assert_no_writes(enforcing):
            fewer = run_module(
                enforcing, "cwagent_iam_role", **HYBRID, trust_regions=["us-east-1"], exclusive=exclusive
            )
        assert (fewer["steps"], fewer.get("warnings", [])) == ([], [])
    more = predict_and_apply(enforcing, "cwagent_iam_role", **HYBRID, trust_regions=["eu-central-1"])
    assert more["steps"] == ["set the trust policy of role 'H'"]
    assert snapshot(enforcing)["roles"]["H"]["trust"] == hybrid_trust("eu-central-1", "eu-west-1", "us-east-1")
    predict_and_delete(enforcing, "cwagent_iam_role", name="H", trust="hybrid")
    assert snapshot(enforcing)["roles"] == {}
    own = {call.action for call in enforcing.calls(since)}
    assert "GetCallerIdentity" in own
    assert own.isdisjoint({"GetInstanceProfile", "CreateInstanceProfile", "ListInstanceProfilesForRole"})


ROLE_DRIFTS: list[list[tuple[str, dict[str, Any], list[str]]]] = [
    [
        ("detach_role_policy", {"PolicyArn": POLICY_ARN + SERVER_POLICY}, ["AttachRolePolicy"]),
        ("attach_role_policy", {"PolicyArn": POLICY_ARN + ADMIN_POLICY}, ["DetachRolePolicy"]),
        ("update_assume_role_policy", {"PolicyDocument": trust("lambda.amazonaws.com")}, ["UpdateAssumeRolePolicy"]),
        ("tag_role", {"Tags": [{"Key": "team", "Value": "dev"}]}, ["TagRole"]),
        ("delete_role_permissions_boundary", {}, ["PutRolePermissionsBoundary"]),
        ("update_role", {"Description": "other", "MaxSessionDuration": 7200}, ["UpdateRole"]),
        ("remove_role_from_instance_profile", {"InstanceProfileName": "R"}, ["AddRoleToInstanceProfile"]),
    ],
    [
        (
            "put_role_permissions_boundary",
            {"PermissionsBoundary": POLICY_ARN + "ReadOnlyAccess"},
            ["PutRolePermissionsBoundary"],
        ),
        ("update_role", {"Description": "for the agent", "MaxSessionDuration": 3600}, ["UpdateRole"]),
        ("remove_role_from_instance_profile", {"InstanceProfileName": "R"}, ["AddRoleToInstanceProfile"]),
        ("delete_instance_profile", {"InstanceProfileName": "R"}, ["CreateInstanceProfile"]),
    ],
]
"""Changes by hand that can be made at once, each with the calls that repair it."""


def test_drift_of_a_role_is_repaired_and_nothing_else_is_changed(enforcing: Emulator) -> None:
    run = partial(run_module, enforcing, "cwagent_iam_role", **ROLE, exclusive=True)
    assert run()["changed"]
    correct = snapshot(enforcing)
    for drifts in ROLE_DRIFTS:
        for operation, arguments, _repairs in drifts:
            named = {} if operation == "delete_instance_profile" else {"RoleName": "R"}
            getattr(enforcing.client("iam"), operation)(**named, **arguments)
        since = enforcing.mark()
        assert run()["changed"]
        expected = [action for _operation, _arguments, repairs in drifts for action in repairs]
        assert sorted(call.action for call in enforcing.writes(since)) == sorted(expected)
        assert snapshot(enforcing) == correct


def test_users_and_their_keys_are_created_and_deleted(aws: Emulator, tmp_path: Path) -> None:
    users = {**USERS, "saved_key": {"key_store_directory": str(tmp_path / "keys")}}
    done = predict_and_apply(aws, "cwagent_iam_user", **users)
    files = sorted((tmp_path / "keys").iterdir())
    assert [path.name for path in files] == ["u1.credentials", "u2.credentials"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "keys", *files]] == [0o700, 0o600, 0o600]
    saved = {line.partition(" = ")[2] for path in files for line in path.read_text().splitlines()}
    assert {user["saved"]["access_key_id"] for user in done["users"]} <= saved
    secrets = [line.split()[2] for path in files for line in path.read_text().splitlines() if "secret" in line]
    assert len(secrets) == 2
    assert not [secret for secret in secrets if secret in json.dumps(done)]
    predict_and_delete(aws, "cwagent_iam_user", name=["u1", "u2"], saved_key=users["saved_key"])
    assert snapshot(aws)["users"] == {}
    assert list((tmp_path / "keys").iterdir()) == []


def test_a_user_with_credentials_of_a_person_is_deleted_only_with_exclusive(moto: Emulator, tmp_path: Path) -> None:
    iam = moto.client("iam")
    run_module(moto, "cwagent_iam_user", **USERS)
    iam.create_login_profile(UserName="u1", Password="not a secret")
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]["SerialNumber"]
    iam.enable_mfa_device(
        UserName="u1", SerialNumber=device, AuthenticationCode1="123456", AuthenticationCode2="654321"
    )
    key = iam.upload_ssh_public_key(UserName="u1", SSHPublicKeyBody="ssh-rsa AAAAB3Nza u1")["SSHPublicKey"]
    iam.create_group(GroupName="operators")
    iam.add_user_to_group(GroupName="operators", UserName="u1")
    kept = run_module(moto, "cwagent_iam_user", name=["u1", "u2"], state="absent")
    assert kept["blockers"] == {
        "u1": ["group 'operators'", "login profile", f"MFA device {device}", f"SSH key {key['SSHPublicKeyId']}"]
    }
    assert list(snapshot(moto)["users"]) == ["u1"]
    predict_and_apply(moto, "cwagent_iam_user", name=["u1", "u2"], state="absent", exclusive=True)
    assert snapshot(moto)["users"] == {}
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []


def test_drift_of_users_is_repaired_and_nothing_else_is_changed(enforcing: Emulator, tmp_path: Path) -> None:
    iam, folder = enforcing.client("iam"), tmp_path / "keys"
    more: dict[str, Any] = {"permissions_boundary": BOUNDARY, "saved_key": {"key_store_directory": str(folder)}}
    run = partial(run_module, enforcing, "cwagent_iam_user", **USERS, **more)
    assert run()["changed"]
    correct = snapshot(enforcing)
    iam.detach_user_policy(UserName="u1", PolicyArn=POLICY_ARN + SERVER_POLICY)
    iam.attach_user_policy(UserName="u2", PolicyArn=POLICY_ARN + ADMIN_POLICY)
    iam.tag_user(UserName="u1", Tags=[{"Key": "team", "Value": "dev"}])
    iam.delete_user_permissions_boundary(UserName="u2")
    since = enforcing.mark()
    assert run()["changed"]
    repairs = {("AttachUserPolicy", "u1"), ("TagUser", "u1"), ("DetachUserPolicy", "u2")}
    writes = [(call.action, call.params["UserName"]) for call in enforcing.writes(since)]
    assert sorted(writes) == sorted({*repairs, ("PutUserPermissionsBoundary", "u2")})
    assert snapshot(enforcing) == correct

    # The mode of a file is not in the account, and a deleted key is replaced.
    (folder / "u1.credentials").chmod(0o644)
    with assert_no_writes(enforcing):
        assert run()["changed"]
    assert stat.S_IMODE((folder / "u1.credentials").stat().st_mode) == 0o600
    [deleted] = correct["users"]["u1"]["keys"]
    iam.delete_access_key(UserName="u1", AccessKeyId=deleted)
    assert run()["changed"]
    [created] = snapshot(enforcing)["users"]["u1"]["keys"]
    correct["users"]["u1"]["keys"] = {created: "Active"}
    assert snapshot(enforcing) == correct
    assert created != deleted
    assert created in (folder / "u1.credentials").read_text()


def test_instance_profile_is_associated_replaced_and_disassociated(aws: Emulator) -> None:
    for role in ("R", "A", "App"):
        create_role(aws, role, SERVER_POLICY if role == "R" else "AmazonS3ReadOnlyAccess")
    first, second, stopped = aws.instances(3, stopped=1)
    profile = "cwagent_instance_profile"
    done = predict_and_apply(aws, profile, name="R", instance_ids=[first, stopped])
    assert [each["profile_before"] for each in done["instances"]] == [None, None]
    assert associated_profiles(aws) == {first: "R", second: None, stopped: "R"}

    associate(aws, second, "App")
    with assert_no_writes(aws):
        refused = run_module(aws, profile, name="R", instance_ids=[first, second])
        kept = run_module(aws, profile, name="R", instance_ids=[first, second], on_other_profile="keep")
        exclusive = run_module(
            aws, profile, name="R", instance_ids=[second], on_other_profile="replace", fail_if_associated_elsewhere=True
        )
        unknown = run_module(aws, profile, name="R", instance_ids=["i-00000000000000000"])
    assert f"{second} has instance profile 'App'" in refused["msg"]
    assert f"{second} keeps instance profile 'App', whose role lacks {SERVER_POLICY}" in " ".join(kept["warnings"])
    assert first in exclusive["msg"]
    assert stopped in exclusive["msg"]
    assert "does not exist" in unknown["msg"]

    done = predict_and_apply(
        aws,
        profile,
        name="A",
        instance_ids=[second, stopped],
        on_other_profile="replace",
        fail_if_associated_elsewhere=True,
    )
    assert [each["profile_before"] for each in done["instances"]] == ["App", "R"]
    assert associated_profiles(aws) == {first: "R", second: "A", stopped: "A"}
    predict_and_apply(aws, profile, name="A", instance_ids=[first, second, stopped], state="absent")
    assert associated_profiles(aws) == {first: "R", second: None, stopped: None}


def test_a_profile_was_disassociated_if_ec2_shows_none_whatever_it_answers(moto: Emulator) -> None:
    """AWS does not document the code with which it refuses a disassociation that was already made."""
    create_role(moto, "R", SERVER_POLICY)
    [instance] = moto.instances(1)
    associate(moto, instance, "R")
    disassociation = {"action": "DisassociateIamInstanceProfile"}
    lost, refused = {"kind": Kind.LOSE_ANSWER}, {"kind": Kind.ERROR, "nth": 2, "code": "AnyOther", "message": "refused"}
    absent: dict[str, Any] = {"name": "R", "instance_ids": [instance], "state": "absent", "wait_timeout": 3}
    result = run_module(moto, "cwagent_instance_profile", disassociation | lost, disassociation | refused, **absent)
    assert not result["failed"], result
    assert associated_profiles(moto) == {instance: None}


def test_only_an_instance_that_has_not_ended_counts_as_another_holder(moto: Emulator) -> None:
    """AWS does not document whether it lists the profile of a terminated instance. Here, moto lists it."""
    create_role(moto, "R", SERVER_POLICY)
    own, other = moto.instances(2)
    associate(moto, other, "R")
    alone: dict[str, Any] = {"name": "R", "instance_ids": [own], "fail_if_associated_elsewhere": True}
    for ended in (False, True):
        if ended:
            moto.client("ec2").terminate_instances(InstanceIds=[other])
        with assert_no_writes(moto):
            results = [
                run_module(moto, "cwagent_instance_profile", check=True, **alone),
                run_module(moto, "cwagent_restore", state="checked", profiles_to_delete=["R"]),
            ]
        for result in results:
            assert result["failed"] != ended, result
            assert ended or other in result["msg"]
    absent = run_module(moto, "cwagent_instance_profile", name="R", instance_ids=[other], state="absent")
    assert not absent["changed"], "AWS disassociates no profile of a terminated instance"


def test_config_parameter_is_stored_repaired_and_deleted(enforcing: Emulator, tmp_path: Path) -> None:
    done = predict_and_apply(enforcing, "cwagent_config_parameter", **PARAMETER)
    assert [each["value"] for each in done["parameters"]] == [json.dumps(CONFIG, separators=(",", ":"))]
    with assert_no_writes(enforcing):
        spaced = run_module(
            enforcing, "cwagent_config_parameter", name=PARAMETER["name"], config=json.dumps(CONFIG, indent=8)
        )
    assert spaced["changed"] is False
    enforcing.client("ssm").put_parameter(Name=PARAMETER["name"], Value='{"agent":{}}', Overwrite=True)
    (tmp_path / "agent.json").write_text(json.dumps(CONFIG))
    repaired = predict_and_apply(
        enforcing, "cwagent_config_parameter", name=PARAMETER["name"], src=str(tmp_path / "agent.json")
    )
    assert repaired["parameters"][0]["version"] == 3
    assert repaired["diff"] == {
        "prepared": "parameter 'AmazonCloudWatch-x'\n+ $.agent.metrics_collection_interval: 60\n"
    }
    assert configurations(enforcing) == {PARAMETER["name"]: CONFIG}
    predict_and_delete(enforcing, "cwagent_config_parameter", name=PARAMETER["name"])
    assert configurations(enforcing) == {}


def test_a_large_configuration_is_stored_in_parts_which_are_deleted_together(enforcing: Emulator) -> None:
    split: dict[str, Any] = {"name": PARAMETER["name"], "split_config": True}
    names = [PARAMETER["name"], f"{PARAMETER['name']}-2", f"{PARAMETER['name']}-3"]
    done = predict_and_apply(enforcing, "cwagent_config_parameter", **split, config=logs_of(3))
    assert [each["name"] for each in done["parameters"]] == names
    assert [each["name"] for each in done["window_parameters"]] == names
    stored = configurations(enforcing)
    assert merge([stored[name] for name in names]) == logs_of(3)
    changed = logs_of(3)
    changed["logs"]["logs_collected"]["files"]["collect_list"][1]["retention_in_days"] = 7
    partly = predict_and_apply(enforcing, "cwagent_config_parameter", **split, config=changed)
    assert partly["steps"] == [f"store the configuration in parameter '{names[1]}'"]
    shorter = predict_and_apply(enforcing, "cwagent_config_parameter", **split, config=CONFIG)
    assert [each["name"] for each in shorter["parameters"]] == names[:1]
    assert shorter["surplus"] == names[1:]
    assert set(configurations(enforcing)) == set(names)
    predict_and_delete(enforcing, "cwagent_config_parameter", **split)
    assert configurations(enforcing) == {}


@pytest.mark.parametrize("config", [CONFIG, {"metric": {}}])
def test_validating_a_configuration_makes_no_call(moto: Emulator, config: Any) -> None:
    since = moto.mark()
    result = run_module(moto, "cwagent_config_parameter", name="AmazonCloudWatch-x", config=config, state="validated")
    assert list(moto.calls(since)) == []
    assert (result["failed"], result["changed"]) == (config is not CONFIG, False)
    assert [each["severity"] for each in result["findings"]] == ["warning" if config is CONFIG else "error"]
    assert ("config" in result) == (config is CONFIG)


TAG = "cwagent:attached-policy"
FITTED = ["CloudWatchAgentFittedServerPolicy", "CloudWatchAgentFittedServerPolicy-2"]
FITTED_ADMIN = "CloudWatchAgentFittedAdminPolicy"
SHOP = "Shop"


@pytest.fixture
def arns(enforcing: Emulator) -> dict[str, str]:
    """The fitted policies of the account by name."""
    iam, text = enforcing.client("iam"), json.dumps(allow("cloudwatch:PutMetricData"))
    return {
        name: iam.create_policy(PolicyName=name, Path="/cwagent/", PolicyDocument=text)["Policy"]["Arn"]
        for name in (*FITTED, FITTED_ADMIN)
    }


INSTANCE_OPTIONS: dict[str, Any] = {"name": SERVER_ROLE, "on_other_profile": "attach", "attach_to_roles": [SHOP]}


@pytest.mark.parametrize(
    ("module", "options", "by_name"),
    [
        ("cwagent_iam_role", {"name": "P", "access": "server"}, False),
        (
            "cwagent_iam_role",
            {"name": "P", "access": "admin", "trust": "hybrid", "trust_regions": ["eu-central-1"]},
            True,
        ),
        ("cwagent_iam_user", {"name": ["P"], "access": "admin"}, False),
    ],
    ids=["role", "hybrid role", "user"],
)
def test_a_principal_gets_fitted_policies_and_those_of_aws_again(
    enforcing: Emulator, arns: dict[str, str], module: str, options: dict[str, Any], *, by_name: bool
) -> None:
    aws, names, kind = SERVER_POLICY, FITTED, "users" if module == "cwagent_iam_user" else "roles"
    if options["access"] == "admin":
        aws, names = ADMIN_POLICY, [*FITTED, FITTED_ADMIN]
    run_module(enforcing, module, **options)
    fitted = {"access_policies": names if by_name else [arns[name] for name in names]}
    for more, policies in ((fitted, names), ({"server_policy": "aws"}, [aws])):
        predict_and_apply(enforcing, module, **options, **more)
        assert snapshot(enforcing)[kind]["P"]["policies"] == sorted(policies)


def test_an_application_role_changes_its_policies_with_its_tag(enforcing: Emulator, arns: dict[str, str]) -> None:
    create_role(enforcing, SHOP)
    [instance] = enforcing.instances(1)
    associate(enforcing, instance, SHOP)
    module, fitted = "cwagent_instance_profile", [arns[name] for name in FITTED]
    options: dict[str, Any] = {**INSTANCE_OPTIONS, "instance_ids": [instance]}
    by_name: dict[str, Any] = {**INSTANCE_OPTIONS, "instances": {"eu-central-1": [instance]}}

    def role() -> tuple[list[str], dict[str, str]]:
        found = snapshot(enforcing)["roles"][SHOP]
        return found["policies"], found["tags"]

    predict_and_apply(enforcing, module, **options)
    since = enforcing.mark()
    predict_and_apply(enforcing, module, **options, access_policies=fitted)
    assert role() == (FITTED, {TAG: f"{FITTED[0]} -2"})
    actions = ["TagRole", *["AttachRolePolicy"] * 2, "DetachRolePolicy", "TagRole"]
    assert [call.action for call in enforcing.writes(since)] == actions
    # Without a choice, the account decides, in which only this role has fitted policies.
    assert run_module(enforcing, module, **options)["changed"] is False
    predict_and_apply(enforcing, module, **options, server_policy="aws")
    assert role() == ([SERVER_POLICY], {TAG: SERVER_POLICY})
    denied = {"kind": Kind.DENY, "action": "AttachRolePolicy", "text": '-2"'}
    failed = run_module(enforcing, module, denied, **options, access_policies=fitted)
    assert f"The tag {TAG} has its earlier value again." in failed["msg"]
    assert role() == ([FITTED[0], SERVER_POLICY], {TAG: f"{FITTED[0]} {SERVER_POLICY}"})
    predict_and_apply(enforcing, module, **by_name, access_policies=FITTED)
    assert role() == (FITTED, {TAG: f"{FITTED[0]} -2"})
    predict_and_apply(enforcing, "cwagent_application_roles")
    assert role() == ([], {})
