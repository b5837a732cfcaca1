"""The life cycle of every module: predict, create, leave unchanged, repair, delete, and delete again.

Roles, users and associations live on both emulators, whose answers differ.
"""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.snapshot import associated_profiles, configurations, snapshot
from emulator.testing import wait_until
from harness import (
    ADMIN_POLICY,
    POLICY_ARN,
    SERVER_POLICY,
    SERVER_ROLE,
    allow,
    assert_no_writes,
    associate,
    create_role,
    create_user,
    execute_module,
    stored_by_host,
    trust,
)
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.merge import merge

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


def test_a_role_of_an_application_keeps_its_own_policies(enforcing: Emulator) -> None:
    """It gets the agent's permissions and loses them again, and is never deleted. Exclusive removes the rest."""
    create_role(enforcing, "shop", "AmazonS3ReadOnlyAccess", ADMIN_POLICY, services=["lambda.amazonaws.com"])
    iam = enforcing.client("iam")
    iam.put_role_policy(RoleName="shop", PolicyName="own", PolicyDocument=json.dumps(allow("s3:GetObject")))
    iam.tag_role(RoleName="shop", Tags=[{"Key": "app", "Value": "shop"}])
    own = snapshot(enforcing)["roles"]["shop"]
    predict_and_apply(
        enforcing, "cwagent_iam_role", name="shop", access="server", tags={"team": "ops"}, adopt_existing=True
    )
    with_agent = snapshot(enforcing)["roles"]["shop"]
    assert with_agent["policies"] == sorted(["AmazonS3ReadOnlyAccess", SERVER_POLICY])
    assert with_agent["inline"] == own["inline"]
    assert with_agent["tags"] == {"app": "shop", "team": "ops", "cwagent:managed": "adopted"}
    assert with_agent["trust"]["Statement"] == [*own["trust"]["Statement"], *EC2_TRUST["Statement"]]

    kept = predict_and_apply(enforcing, "cwagent_iam_role", name="shop", state="absent")
    assert kept["blockers"]
    assert "role 'shop' was not deleted; it was not created by this collection; still attached: " in " ".join(
        kept["warnings"]
    )
    without_agent = {**with_agent, "policies": ["AmazonS3ReadOnlyAccess"], "tags": {"app": "shop", "team": "ops"}}
    assert snapshot(enforcing)["roles"]["shop"] == without_agent
    assert snapshot(enforcing)["instance_profiles"] == {"shop": ["shop"]}

    predict_and_apply(enforcing, "cwagent_iam_role", name="shop", access="server", tags={"team": "ops"}, exclusive=True)
    exact = snapshot(enforcing)["roles"]["shop"]
    assert (exact["policies"], exact["inline"], exact["tags"]) == ([SERVER_POLICY], {}, {"team": "ops"})
    assert exact["trust"] == EC2_TRUST
    predict_and_delete(enforcing, "cwagent_iam_role", name="shop", exclusive=True)
    assert snapshot(enforcing)["roles"]["shop"] == {**exact, "policies": []}


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


def test_a_user_with_an_unmanaged_policy_is_not_deleted(enforcing: Emulator) -> None:
    create_user(enforcing, "u1", policy="AmazonS3ReadOnlyAccess")
    own = snapshot(enforcing)["users"]["u1"]
    predict_and_apply(enforcing, "cwagent_iam_user", name=["u1"], access="server")
    predict_and_apply(enforcing, "cwagent_iam_user", name=["u1"], state="absent")
    assert snapshot(enforcing)["users"] == {"u1": own}


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


@pytest.mark.parametrize("code", ["InvalidAssociationID.NotFound", "AnyOther"])
@pytest.mark.parametrize("gone", [True, False], ids=["gone", "still there"])
def test_whether_a_profile_was_disassociated_is_read_whatever_the_answer(moto: Emulator, code: str, gone: bool) -> None:
    """AWS does not document the code with which it refuses a disassociation that was already made."""
    create_role(moto, "R", SERVER_POLICY)
    [instance] = moto.instances(1)
    associate(moto, instance, "R")
    if gone:
        moto.arm(Fault(Kind.LOSE_ANSWER, action="DisassociateIamInstanceProfile"))
        moto.arm(Fault(Kind.ERROR, action="DisassociateIamInstanceProfile", nth=2, code=code, message="refused"))
    else:
        moto.arm(Fault(Kind.ERROR, action="DisassociateIamInstanceProfile", times=1000, code=code, message="refused"))
    wanted: dict[str, Any] = {"name": "R", "instance_ids": [instance], "state": "absent", "wait_timeout": 3}
    result = run_module(moto, "cwagent_instance_profile", **wanted)
    moto.disarm()
    assert result["failed"] != gone, result
    assert associated_profiles(moto) == {instance: None if gone else "R"}
    run_module(moto, "cwagent_instance_profile", **wanted)
    assert associated_profiles(moto) == {instance: None}


@pytest.mark.parametrize("ended", [False, True], ids=["running", "terminated"])
def test_only_an_instance_that_has_not_ended_counts_as_another_holder(moto: Emulator, ended: bool) -> None:
    """AWS does not document whether it lists the profile of a terminated instance. Here, moto lists it."""
    create_role(moto, "R", SERVER_POLICY)
    own, other = moto.instances(2)
    if ended:
        moto.client("ec2").terminate_instances(InstanceIds=[other])
    associate(moto, other, "R")
    with assert_no_writes(moto):
        results = [
            run_module(
                moto,
                "cwagent_instance_profile",
                name="R",
                instance_ids=[own],
                fail_if_associated_elsewhere=True,
                check=True,
            ),
            run_module(moto, "cwagent_restore", state="checked", profiles_to_delete=["R"]),
        ]
    for result in results:
        assert result["failed"] != ended, result
        assert ended or other in result["msg"]
    absent = run_module(moto, "cwagent_instance_profile", name="R", instance_ids=[other], state="absent")
    assert absent["changed"] != ended, "AWS disassociates no profile of a terminated instance"


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


def test_an_encrypted_parameter_is_neither_overwritten_nor_shown(enforcing: Emulator) -> None:
    name = PARAMETER["name"]
    enforcing.client("ssm").put_parameter(Name=name, Value='{"agent":{"region":"hidden"}}', Type="SecureString")
    with assert_no_writes(enforcing):
        refused = run_module(enforcing, "cwagent_config_parameter", **PARAMETER)
    assert refused["msg"].startswith(f"parameter '{name}' exists with type SecureString")
    deleted = run_module(enforcing, "cwagent_config_parameter", name=name, state="absent")
    assert (deleted["failed"], deleted["changed"], configurations(enforcing)) == (False, True, {})
    assert "hidden" not in json.dumps([refused, deleted])


def test_a_large_configuration_is_stored_in_parts_which_are_deleted_together(enforcing: Emulator) -> None:
    split: dict[str, Any] = {"name": PARAMETER["name"], "split": True}
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


def test_several_files_are_validated_and_merged(enforcing: Emulator, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(CONFIG))
    (tmp_path / "b.json").write_text(json.dumps(logs_of(1)))
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]
    done = predict_and_apply(enforcing, "cwagent_config_parameter", name=PARAMETER["name"], src=paths)
    assert configurations(enforcing) == {PARAMETER["name"]: {**CONFIG, **logs_of(1)}}
    assert json.loads(done["config"]) == {**CONFIG, **logs_of(1)}
    (tmp_path / "a.json").write_text(json.dumps({**logs_of(1), "agent": {"regoin": ""}}))
    with assert_no_writes(enforcing):
        refused = run_module(
            enforcing, "cwagent_config_parameter", name=PARAMETER["name"], src=[*paths, "/no/such.json"]
        )
    assert refused["failed"]
    assert [(Path(each["file"]).name, each["object"]) for each in refused["findings"]] == [
        ("a.json", f"{PARAMETER['name']} $.agent.regoin"),
        ("such.json", f"{PARAMETER['name']} $"),
    ]
    assert refused["msg"].splitlines()[1:] == refused["problem_lines"]


@pytest.mark.parametrize("config", [CONFIG, {"metric": {}}])
def test_validating_a_configuration_makes_no_call(moto: Emulator, config: Any) -> None:
    since = moto.mark()
    result = run_module(moto, "cwagent_config_parameter", name="AmazonCloudWatch-x", config=config, state="validated")
    assert list(moto.calls(since)) == []
    assert (result["failed"], result["changed"]) == (config is not CONFIG, False)
    assert [each["severity"] for each in result["findings"]] == ["warning" if config is CONFIG else "error"]
    assert ("config" in result) == (config is CONFIG)


def test_the_module_fails_if_something_else_overwrites_its_value(moto: Emulator) -> None:
    """The module may read what it has written only after the other write."""
    moto.arm(Fault(Kind.DENY, action="GetParameter", times=1000))
    since = moto.mark()
    arguments = stored_by_host(moto, PARAMETER["name"], CONFIG, access_key="test", secret_key="test")
    with ThreadPoolExecutor(1) as background:
        running = background.submit(execute_module, moto, "cwagent_store_host", arguments)
        wait_until(lambda: bool(moto.writes(since)))
        moto.client("ssm").put_parameter(Name=PARAMETER["name"], Value="{}", Overwrite=True)
        moto.disarm()
        result = running.result()
    assert result["failed"]
    assert "something else wrote version 2" in result["msg"]
    assert result["changed"]


def test_instance_identity_is_read_and_waited_for(enforcing: Emulator) -> None:
    create_role(enforcing, "R", SERVER_POLICY)
    [instance] = enforcing.instances(1)
    env = enforcing.env(instance)

    def identity(check: bool = False, **arguments: Any) -> dict[str, Any]:
        with assert_no_writes(enforcing):
            return execute_module(
                enforcing,
                "cwagent_store_host",
                {"instance_id": instance, "_ansible_check_mode": check, **arguments},
                env=env,
            )

    assert identity()["identity"] == {"instance_profile": None, "role": None}
    late = identity(instance_profile="R", wait_timeout=1)
    assert late["failed"]
    assert "instance profile 'R'" in late["msg"]
    associate(enforcing, instance, "R")
    assert identity(instance_profile="R", wait_timeout=1)["identity"] == {"instance_profile": "R", "role": "R"}
    assert not identity(instance_profile="other", check=True)["failed"]
    assert "no instance profile" in identity(instance_profile="none", wait_timeout=1)["msg"]


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
PRINCIPALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "role": ("cwagent_iam_role", {"name": "P"}, "roles"),
    "hybrid role": ("cwagent_iam_role", {"name": "P", "trust": "hybrid", "trust_regions": ["eu-central-1"]}, "roles"),
    "user": ("cwagent_iam_user", {"name": ["P"]}, "users"),
}


@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("access", ["server", "admin"])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_principal_gets_fitted_policies_before_it_loses_those_of_aws_and_back(
    enforcing: Emulator, arns: dict[str, str], principal: str, access: str, by_name: bool
) -> None:
    module, options, kind = PRINCIPALS[principal]
    aws = {"server": SERVER_POLICY, "admin": ADMIN_POLICY}[access]
    names = FITTED if access == "server" else [*FITTED, FITTED_ADMIN]
    options = {**options, "access": access}
    fitted = {"access_policies": names if by_name else [arns[name] for name in names]}
    run_module(enforcing, module, **options)
    for more, policies in ((fitted, names), ({}, [aws]), (fitted, names)):
        since = enforcing.mark()
        predict_and_apply(enforcing, module, **options, **more)
        changes = [call.action[:6] for call in enforcing.writes(since)]
        assert changes == sorted(changes)  # attached first
        assert snapshot(enforcing)[kind]["P"]["policies"] == sorted(policies)
    with assert_no_writes(enforcing):
        fewer = run_module(enforcing, module, **options, access_policies=[names[0], *names[2:]])
    assert fewer["steps"] == []  # another run has just created the other one
    predict_and_delete(enforcing, module, **{key: each for key, each in options.items() if key != "trust_regions"})
    assert snapshot(enforcing)[kind] == {}


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
    predict_and_apply(enforcing, module, **options)
    assert role() == ([SERVER_POLICY], {TAG: SERVER_POLICY})
    denied = {"kind": Kind.DENY, "action": "AttachRolePolicy", "text": '-2"'}
    failed = run_module(enforcing, module, denied, **options, access_policies=fitted)
    assert f"The tag {TAG} has its earlier value again." in failed["msg"]
    assert role() == ([FITTED[0], SERVER_POLICY], {TAG: f"{FITTED[0]} {SERVER_POLICY}"})
    predict_and_apply(enforcing, module, **by_name, access_policies=FITTED)
    assert role() == (FITTED, {TAG: f"{FITTED[0]} -2"})
    predict_and_apply(enforcing, "cwagent_application_roles")
    assert role() == ([], {})


def test_a_fitted_policy_that_others_attached_to_an_application_role_stays(
    enforcing: Emulator, arns: dict[str, str]
) -> None:
    create_role(enforcing, SHOP)
    [instance] = enforcing.instances(1)
    associate(enforcing, instance, SHOP)
    for arn in (arns[FITTED[0]], f"{POLICY_ARN}{SERVER_POLICY}"):
        enforcing.client("iam").attach_role_policy(RoleName=SHOP, PolicyArn=arn)
    options: dict[str, Any] = {**INSTANCE_OPTIONS, "instance_ids": [instance]}
    for policies in ([], [arns[FITTED[0]]]):
        with assert_no_writes(enforcing):
            run_module(enforcing, "cwagent_instance_profile", **options, access_policies=policies)
            run_module(enforcing, "cwagent_application_roles")


@pytest.mark.parametrize("given", ["ReadOnlyAccess", "arn:aws-cn:iam::123456789012:policy/x", "a:b"])
def test_other_texts_are_refused_before_anything_is_written(enforcing: Emulator, given: str) -> None:
    for module, options in (
        *((module, options) for module, options, _kind in PRINCIPALS.values()),
        (
            "cwagent_instance_profile",
            {**INSTANCE_OPTIONS, "instance_ids": ["i-0123456789abcdef0"]},
        ),
    ):
        with assert_no_writes(enforcing):
            access: dict[str, Any] = {"access": "server"} if "iam" in module else {}
            assert (
                "access_policies" in run_module(enforcing, module, **options, **access, access_policies=[given])["msg"]
            )
