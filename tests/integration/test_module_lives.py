"""The life of every module: foretold, made, left alone, repaired, taken down, taken down again."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from emulator import Emulator
from harness import (
    ADMIN_POLICY,
    SERVER_POLICY,
    account,
    allow,
    carried,
    make_role,
    make_user,
    nothing_written,
    parameters,
    put_on,
    run_module,
    trust,
)

ARN = "arn:aws:iam::aws:policy/"
BOUNDARY = ARN + "PowerUserAccess"
ROLE = {
    "name": "R",
    "access": "server",
    "description": "for the agent",
    "tags": {"team": "ops"},
    "permissions_boundary": BOUNDARY,
    "max_session_duration": 7200,
}
USERS = {"name": ["u1", "u2"], "access": "server", "tags": {"team": "ops"}}
CONFIG = {"agent": {"metrics_collection_interval": 60}}
PARAMETER = {"name": "AmazonCloudWatch-x", "config": CONFIG}
EC2_TRUST = json.loads(trust("ec2.amazonaws.com"))


def without_what_aws_gives(value: Any) -> Any:
    """A result without what is null in check mode, since only AWS knows it."""
    if isinstance(value, dict):
        given = ("arn", "id", "access_key_id", "created")
        return {key: without_what_aws_gives(each) for key, each in value.items() if key not in given}
    return [without_what_aws_gives(each) for each in value] if isinstance(value, list) else value


def foretold_and_done(aws: Emulator, module: str, **arguments: Any) -> dict[str, Any]:
    """Run in check mode, really, and again: the three agree, and two of them write nothing."""
    with nothing_written(aws):
        foretold = run_module(aws, module, check=True, **arguments)
    since = aws.mark()
    done = run_module(aws, module, **arguments)
    assert done["changed"] is True, done
    assert foretold.keys() - {"warnings"} == done.keys() - {"warnings"}
    assert without_what_aws_gives(foretold) == without_what_aws_gives(done)
    assert len(aws.writes(since)) > 0
    with nothing_written(aws):
        again = run_module(aws, module, **arguments)
    assert (again["changed"], again["steps"]) == (False, []), again
    assert again["diff"]["before"] == again["diff"]["after"]
    return done


def gone(aws: Emulator, module: str, **arguments: Any) -> None:
    """Taken down in the three ways; nothing of the account is left."""
    foretold_and_done(aws, module, **arguments, state="absent")


def changed(before: dict[str, Any], after: dict[str, Any], path: str = "") -> dict[str, Any]:
    """By path, what differs between two accounts."""
    if before == after:
        return {}
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return {path: after}
    keys = before.keys() | after.keys()
    differing = (changed(before.get(key), after.get(key), f"{path}/{key}".lstrip("/")) for key in keys)
    return {key: value for each in differing for key, value in each.items()}


def test_role(aws: Emulator) -> None:
    done = foretold_and_done(aws, "cwagent_iam_role", **ROLE)
    assert done["role"]["arn"] == "arn:aws:iam::123456789012:role/R"
    assert done["instance_profile"]["role"] == "R"
    held = account(aws)
    assert held["profiles"] == {"R": ["R"]}
    assert held["roles"]["R"] == {
        "policies": [SERVER_POLICY],
        "inline": {},
        "tags": {"team": "ops"},
        "path": "/",
        "boundary": BOUNDARY,
        "trust": EC2_TRUST,
        "description": "for the agent",
        "session": 7200,
    }
    gone(aws, "cwagent_iam_role", name="R")
    assert account(aws)["roles"] == account(aws)["profiles"] == {}


def out_of_profile(iam: Any) -> None:
    iam.remove_role_from_instance_profile(InstanceProfileName="R", RoleName="R")


def without_profile(iam: Any) -> None:
    out_of_profile(iam)
    iam.delete_instance_profile(InstanceProfileName="R")


ROLE_DRIFTS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "detached": (
        lambda iam: iam.detach_role_policy(RoleName="R", PolicyArn=ARN + SERVER_POLICY),
        ["AttachRolePolicy"],
    ),
    "too much": (
        lambda iam: iam.attach_role_policy(RoleName="R", PolicyArn=ARN + ADMIN_POLICY),
        ["DetachRolePolicy"],
    ),
    "trust": (
        lambda iam: iam.update_assume_role_policy(RoleName="R", PolicyDocument=trust("lambda.amazonaws.com")),
        ["UpdateAssumeRolePolicy"],
    ),
    "no profile": (without_profile, ["CreateInstanceProfile", "AddRoleToInstanceProfile"]),
    "empty profile": (out_of_profile, ["AddRoleToInstanceProfile"]),
    "tag": (lambda iam: iam.tag_role(RoleName="R", Tags=[{"Key": "team", "Value": "dev"}]), ["TagRole"]),
    "boundary": (
        lambda iam: iam.put_role_permissions_boundary(RoleName="R", PermissionsBoundary=ARN + "ReadOnlyAccess"),
        ["PutRolePermissionsBoundary"],
    ),
    "no boundary": (
        lambda iam: iam.delete_role_permissions_boundary(RoleName="R"),
        ["PutRolePermissionsBoundary"],
    ),
    "description": (
        lambda iam: iam.update_role(RoleName="R", Description="other", MaxSessionDuration=7200),
        ["UpdateRole"],
    ),
    "session": (
        lambda iam: iam.update_role(RoleName="R", Description="for the agent", MaxSessionDuration=3600),
        ["UpdateRole"],
    ),
}


def test_every_drift_of_a_role_is_repaired_and_nothing_else_touched(aws: Emulator) -> None:
    run_module(aws, "cwagent_iam_role", **ROLE, exclusive=True)
    iam, right = aws.client("iam"), account(aws)
    for name, (drift, repairs) in ROLE_DRIFTS.items():
        drift(iam)
        assert account(aws) != right, name
        since = aws.mark()
        result = run_module(aws, "cwagent_iam_role", **ROLE, exclusive=True)
        assert result["changed"], name
        assert [call.action for call in aws.writes(since)] == repairs, name
        assert account(aws) == right, name


def test_an_applications_role_keeps_what_is_its_own(aws: Emulator) -> None:
    """It is given the agent's rights and loses them again; with exclusive, it has nothing else."""
    make_role(aws, "shop", "AmazonS3ReadOnlyAccess", ADMIN_POLICY, services=["lambda.amazonaws.com"])
    iam = aws.client("iam")
    iam.put_role_policy(RoleName="shop", PolicyName="own", PolicyDocument=json.dumps(allow("s3:GetObject")))
    iam.tag_role(RoleName="shop", Tags=[{"Key": "app", "Value": "shop"}])
    own = account(aws)["roles"]["shop"]
    foretold_and_done(aws, "cwagent_iam_role", name="shop", access="server", tags={"team": "ops"})
    shared = account(aws)["roles"]["shop"]
    assert shared["policies"] == sorted(["AmazonS3ReadOnlyAccess", SERVER_POLICY])
    assert shared["inline"] == own["inline"]
    assert shared["tags"] == {"app": "shop", "team": "ops"}
    assert shared["trust"]["Statement"] == [*own["trust"]["Statement"], *EC2_TRUST["Statement"]]

    left = foretold_and_done(aws, "cwagent_iam_role", name="shop", state="absent")
    assert left["stays"]
    assert "role 'shop' stays" in " ".join(left["warnings"])
    assert account(aws)["roles"]["shop"] == {**shared, "policies": ["AmazonS3ReadOnlyAccess"]}
    assert account(aws)["profiles"] == {"shop": ["shop"]}

    foretold_and_done(aws, "cwagent_iam_role", name="shop", access="server", tags={"team": "ops"}, exclusive=True)
    exact = account(aws)["roles"]["shop"]
    assert (exact["policies"], exact["inline"], exact["tags"]) == ([SERVER_POLICY], {}, {"team": "ops"})
    assert exact["trust"] == EC2_TRUST
    gone(aws, "cwagent_iam_role", name="shop", exclusive=True)
    assert account(aws)["roles"] == {}


def test_users_and_their_keys(aws: Emulator, tmp_path: Path) -> None:
    users = {**USERS, "credentials": {"directory": str(tmp_path / "keys")}}
    done = foretold_and_done(aws, "cwagent_iam_user", **users)
    files = sorted((tmp_path / "keys").iterdir())
    assert [path.name for path in files] == ["u1.credentials", "u2.credentials"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "keys", *files]] == [0o700, 0o600, 0o600]
    saved = {line.partition(" = ")[2] for path in files for line in path.read_text().splitlines()}
    assert {user["saved"]["access_key_id"] for user in done["users"]} <= saved
    secrets = [line.split()[2] for path in files for line in path.read_text().splitlines() if "secret" in line]
    assert len(secrets) == 2
    assert not [secret for secret in secrets if secret in json.dumps(done)]
    gone(aws, "cwagent_iam_user", name=["u1", "u2"], credentials=users["credentials"])
    assert account(aws)["users"] == {}
    assert list((tmp_path / "keys").iterdir()) == []


def test_a_user_that_people_sign_in_as(moto: Emulator, tmp_path: Path) -> None:
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
    assert kept["stays"] == {
        "u1": ["group 'operators'", "login profile", f"MFA device {device}", f"SSH key {key['SSHPublicKeyId']}"]
    }
    assert list(account(moto)["users"]) == ["u1"]
    foretold_and_done(moto, "cwagent_iam_user", name=["u1", "u2"], state="absent", exclusive=True)
    assert account(moto)["users"] == {}
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []


def test_every_drift_of_a_user_is_repaired_and_nothing_else_touched(aws: Emulator, tmp_path: Path) -> None:
    bounded = {} if aws.backend == "moto" else {"permissions_boundary": BOUNDARY}  # moto never shows one of a user
    users = {**USERS, **bounded, "credentials": {"directory": str(tmp_path)}}
    run_module(aws, "cwagent_iam_user", **users)
    iam, right = aws.client("iam"), account(aws)
    [key] = right["users"]["u1"]["keys"]
    drifts: dict[str, tuple[Callable[[], Any], list[str]]] = {
        "detached": (
            lambda: iam.detach_user_policy(UserName="u1", PolicyArn=ARN + SERVER_POLICY),
            ["AttachUserPolicy"],
        ),
        "too much": (
            lambda: iam.attach_user_policy(UserName="u2", PolicyArn=ARN + ADMIN_POLICY),
            ["DetachUserPolicy"],
        ),
        "tag": (lambda: iam.tag_user(UserName="u1", Tags=[{"Key": "team", "Value": "dev"}]), ["TagUser"]),
        "file mode": (lambda: (tmp_path / "u1.credentials").chmod(0o644), []),
    }
    if bounded:
        unbind = partial(iam.delete_user_permissions_boundary, UserName="u2")
        drifts["no boundary"] = (unbind, ["PutUserPermissionsBoundary"])
    for name, (drift, repairs) in drifts.items():
        drift()
        since = aws.mark()
        assert run_module(aws, "cwagent_iam_user", **users)["changed"], name
        assert [call.action for call in aws.writes(since)] == repairs, name
        assert account(aws) == right, name
    assert stat.S_IMODE((tmp_path / "u1.credentials").stat().st_mode) == 0o600
    iam.delete_access_key(UserName="u1", AccessKeyId=key)
    assert run_module(aws, "cwagent_iam_user", **users)["changed"]
    after = changed(right, account(aws))
    assert after.keys() == {"users/u1/keys"}
    assert after["users/u1/keys"][0] in (tmp_path / "u1.credentials").read_text()


def test_a_user_with_things_of_others_stays(aws: Emulator) -> None:
    make_user(aws, "u1", policy="AmazonS3ReadOnlyAccess")
    own = account(aws)["users"]["u1"]
    foretold_and_done(aws, "cwagent_iam_user", name=["u1"], access="server")
    foretold_and_done(aws, "cwagent_iam_user", name=["u1"], state="absent")
    assert account(aws)["users"] == {"u1": own}


def test_instance_profile(aws: Emulator) -> None:
    for role in ("R", "A", "App"):
        make_role(aws, role, SERVER_POLICY if role == "R" else "AmazonS3ReadOnlyAccess")
    first, second, stopped = aws.instances(3, stopped=1)
    profile = "cwagent_instance_profile"
    done = foretold_and_done(aws, profile, name="R", instance_ids=[first, stopped])
    assert [each["profile_before"] for each in done["instances"]] == [None, None]
    assert carried(aws) == {first: "R", second: None, stopped: "R"}

    put_on(aws, second, "App")
    with nothing_written(aws):
        refused = run_module(aws, profile, name="R", instance_ids=[first, second])
        kept = run_module(aws, profile, name="R", instance_ids=[first, second], keep_other=True)
        elsewhere = run_module(aws, profile, name="R", instance_ids=[second], replace=True, exclusive=True)
        unknown = run_module(aws, profile, name="R", instance_ids=["i-00000000000000000"])
    assert f"{second} carries instance profile 'App'" in refused["msg"]
    assert f"{second} keeps instance profile 'App', whose role lacks {SERVER_POLICY}" in " ".join(kept["warnings"])
    assert first in elsewhere["msg"]
    assert stopped in elsewhere["msg"]
    assert "does not exist" in unknown["msg"]

    done = foretold_and_done(aws, profile, name="A", instance_ids=[second, stopped], replace=True, exclusive=True)
    assert [each["profile_before"] for each in done["instances"]] == ["App", "R"]
    assert carried(aws) == {first: "R", second: "A", stopped: "A"}
    foretold_and_done(aws, profile, name="A", instance_ids=[first, second, stopped], state="absent")
    assert carried(aws) == {first: "R", second: None, stopped: None}


def test_config_parameter(aws: Emulator, tmp_path: Path) -> None:
    done = foretold_and_done(aws, "cwagent_config_parameter", **PARAMETER)
    assert done["parameter"]["value"] == json.dumps(CONFIG, separators=(",", ":"))
    with nothing_written(aws):
        spaced = run_module(
            aws, "cwagent_config_parameter", name=PARAMETER["name"], config=json.dumps(CONFIG, indent=8)
        )
    assert spaced["changed"] is False
    aws.client("ssm").put_parameter(Name=PARAMETER["name"], Value='{"agent":{}}', Overwrite=True)
    (tmp_path / "agent.json").write_text(json.dumps(CONFIG))
    repaired = foretold_and_done(
        aws, "cwagent_config_parameter", name=PARAMETER["name"], src=str(tmp_path / "agent.json")
    )
    assert repaired["parameter"]["version"] == 3
    assert parameters(aws) == {PARAMETER["name"]: CONFIG}
    gone(aws, "cwagent_config_parameter", name=PARAMETER["name"])
    assert parameters(aws) == {}


def test_instance_identity(aws: Emulator) -> None:
    make_role(aws, "R", SERVER_POLICY)
    [instance] = aws.instances(1)
    env = aws.env(instance)

    def seen(**arguments: Any) -> dict[str, Any]:
        with nothing_written(aws):
            return run_module(aws, "cwagent_instance_identity", env=env, **arguments)

    assert seen()["identity"] == {"instance_profile": None, "role": None}
    late = seen(instance_profile="R", wait_timeout=1)
    assert late["failed"]
    assert "instance profile 'R'" in late["msg"]
    put_on(aws, instance, "R")
    assert seen(instance_profile="R", wait_timeout=1)["identity"] == {"instance_profile": "R", "role": "R"}
    assert not seen(instance_profile="other", check=True)["failed"]
    assert "no instance profile" in seen(instance_profile="none", wait_timeout=1)["msg"]


def test_preflight(aws: Emulator, tmp_path: Path) -> None:
    [instance] = aws.instances(1)
    right = {"roles": ["R"], "users": ["u"], "instances": {"": [instance]}, "parameters": ["AmazonCloudWatch-x"]}
    with nothing_written(aws):
        assert not run_module(aws, "cwagent_preflight", **right, credentials_directory=str(tmp_path / "new"))["failed"]
        wrong = run_module(aws, "cwagent_preflight", **{**right, "roles": ["a b"], "parameters": ["x"]})
    assert len(wrong["problems"]) == 2
    assert not (tmp_path / "new").exists()
