"""The versions of configurations, with their writers, and how an earlier version is stored again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Kind
from harness import (
    ADMIN_ROLE,
    PARAMETER,
    POLICY_ARN,
    SERVER_ROLE,
    SSM_POLICY,
    WINDOW_POLICY,
    assert_no_writes,
    associate,
    create_role,
    create_user,
)
from in_process import on_host, on_instance, run_module, transact
from policies import example
from states import States
from storing import CLOSED_POLICY, WAITS, Storing, ready_to_store, refusal, succeeded, without_times

HISTORY = "ssm:GetParameterHistory"
REGIONS = ["eu-central-1", "us-east-1", "eu-west-1"]
MAX_CALLS = 10
WAYS = ["instance", "run_command", "auto", "onprem", "controller"]
CONTROLLER = "controller-of-agents"


def read(aws: Emulator, *faults: Mapping[str, Any], names: list[str] | None = None, **options: Any) -> dict[str, Any]:
    """The versions of configurations and their findings, and nothing else."""
    given = {"configs_by_region": {aws.region: names or [PARAMETER]}, "parts": ["history"], **options}
    return succeeded(run_module(aws, "cwagent_access_info", *faults, **given))


def store(ssm: Any, value: str = "{}", name: str = PARAMETER) -> None:
    ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def found(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(each["rule"], each["severity"]) for each in result["findings"]]


def config(seconds: int) -> str:
    return json.dumps({"agent": {"metrics_collection_interval": seconds}})


def test_a_hundred_versions_in_three_regions_take_few_calls(aws: Emulator) -> None:
    for region in REGIONS:
        for seconds in range(1, 101):
            store(aws.client("ssm", region), config(seconds))
    since = aws.mark()
    result = read(aws, configs_by_region={region: [PARAMETER] for region in REGIONS})
    calls = Counter(call.region for call in aws.calls(since) if call.service in ("ssm", "ec2"))
    assert {*calls} == {*REGIONS}
    assert max(calls.values()) <= MAX_CALLS
    assert Counter(each["region"] for each in result["history"]) == dict.fromkeys(REGIONS, 1)
    for history in result["history"]:
        assert [each["version"] for each in history["versions"]] == [*range(100, 0, -1)]
        changes = [each["changes"] for each in history["versions"]]
        assert changes[0] == ["~ $.agent.metrics_collection_interval: 99 -> 100"]
        assert (changes[-1], all(changes[:-1])) == ([], True)
        assert history["versions"][0]["size"] == len(config(100))


def test_a_parameter_that_was_deleted_or_made_again_is_no_error(aws: Emulator) -> None:
    ssm = aws.client("ssm")
    assert read(aws)["history"] == [{"name": PARAMETER, "region": aws.region, "versions": []}]
    for name in (PARAMETER, f"{PARAMETER}-2", f"{PARAMETER}-3"):
        store(ssm, name=name)
        store(ssm, name=name)
    ssm.label_parameter_version(Name=PARAMETER, ParameterVersion=1, Labels=["stable", "b"])
    parts = read(aws)["history"]
    assert [each["name"] for each in parts] == [PARAMETER, f"{PARAMETER}-2", f"{PARAMETER}-3"]
    assert [each["labels"] for each in parts[0]["versions"]] == [[], ["b", "stable"]]
    ssm.delete_parameter(Name=PARAMETER)
    assert [each["versions"] for each in read(aws)["history"]] == [[]]
    store(ssm)
    [first] = read(aws, names=[PARAMETER, f"{PARAMETER}-2"])["history"][0]["versions"]
    assert first["version"] == 1


def test_an_encrypted_version_is_not_decrypted(aws: Emulator) -> None:
    aws.client("ssm").put_parameter(Name=PARAMETER, Value="geheim", Type="SecureString")
    result = read(aws)
    assert result["history"][0]["versions"][0]["size"] is None
    assert "geheim" not in json.dumps(result)


def test_history_needs_one_permission_more_than_the_rest_of_the_audit(enforcing: Emulator) -> None:
    store(enforcing.client("ssm"))
    keys = create_user(enforcing, "auditor", example("audit"))
    result = read(enforcing, credentials=keys)
    assert (result["unread"], len(result["history"])) == ([], 1)
    denied = {"kind": Kind.DENY, "action": "GetParameterHistory", "times": 9}
    result = read(enforcing, denied, credentials=keys)
    assert [(each["what"], each["action"]) for each in result["unread"]] == [
        ("the versions of configurations", HISTORY)
    ]
    assert result["history"] == []


@pytest.fixture
def account(states: States, monkeypatch: pytest.MonkeyPatch) -> Storing:
    account = ready_to_store(states)
    for role in (SERVER_ROLE, ADMIN_ROLE):
        account.iam.attach_role_policy(RoleName=role, PolicyArn=POLICY_ARN + SSM_POLICY)
    account.add_machine("ops1", group="onprem_admin")
    account.create_admin_user()
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.aws.endpoint)  # for the lookup of a saved key
    return account


def store_by(
    account: Storing, way: str, seconds: int, *faults: Mapping[str, Any], keys: Any = None, **more: Any
) -> dict[str, Any]:
    """Store a configuration. :param keys: the credentials of the controller."""
    host, config = "admin1", {"agent": {"metrics_collection_interval": seconds}}
    if way in ("instance", "run_command", "auto"):
        send = on_instance(account.aws, account.instances[host], lambda: way == "instance")
        return account.store(host, *faults, send=send, **{"from": way, "config": config, **more})
    file = account.controller.file("config.json", config)
    given = {"from": way, "configs": [{"name": PARAMETER, "file": str(file)}], **WAITS}
    saved = {"key_store": "file", "key_store_directory": str(account.controller.credentials)}
    there = on_host(account.aws, account.machines["ops1"])
    options = {**given, **saved, "credentials": keys, **more}
    return transact(account.aws, "cwagent_store_config", there, *faults, host="ops1", **options)


@pytest.mark.parametrize("check", [False, True])
def test_a_label_of_the_oldest_version_is_found_before_anything_is_changed(account: Storing, check: bool) -> None:
    """With 99 versions nothing is read for that, and without the permission AWS decides when it is stored."""
    ssm, mark = account.aws.client("ssm"), account.aws.mark
    for seconds in range(1, 100):
        store(ssm, config(seconds))
    ssm.label_parameter_version(Name=PARAMETER, ParameterVersion=1, Labels=["cwagent-applied", "stable"])
    since = mark()
    succeeded(store_by(account, "controller", 100))
    assert "GetParameterHistory" not in {call.action for call in account.aws.calls(since)}

    with assert_no_writes(account.aws):
        refused = refusal(store_by(account, "instance", 101, check=check))
    assert "the oldest one, version 1, has label cwagent-applied, stable. Move the label with cwagent.iam.ap" in refused
    assert refused.endswith(f"--name {PARAMETER} --parameter-version 1 --labels cwagent-applied stable")
    denied = {"kind": Kind.DENY, "action": "GetParameterHistory", "times": 9}
    if not check:
        assert "ParameterMaxVersionLimitExceeded" in refusal(store_by(account, "controller", 101, denied))
    ssm.label_parameter_version(Name=PARAMETER, ParameterVersion=100, Labels=["cwagent-applied", "stable"])
    succeeded(store_by(account, "controller", 101, check=check))


@pytest.mark.parametrize("way", WAYS)
def test_no_version_of_the_inventory_is_a_finding_but_each_of_others_is(account: Storing, way: str) -> None:
    """After interruptions, and with another admin instance, too."""
    keys = create_user(account.aws, CONTROLLER, policy="AdministratorAccess") if way == "controller" else None
    of_run: dict[str, Any] = {"credentials": keys, "controller_stores": way == "controller"}
    succeeded(store_by(account, way, 30, keys=keys))
    lost = {"kind": Kind.LOSE_ANSWER, "action": "PutParameter", "nth": 1}
    store_by(account, way, 40, lost, keys=keys)
    succeeded(store_by(account, way, 50, keys=keys))
    result = read(account.aws, **of_run)
    [history] = result["history"]
    assert len(history["versions"]) >= 3
    assert all(each["is_own"] for each in history["versions"])
    assert found(result) == []

    create_role(account.aws, "Foreign", "AdministratorAccess")
    instance = account.add_instance("other1", SERVER_ROLE, group="ec2_servers")
    associate(account.aws, instance, "Foreign")
    store(account.aws.client("ssm", credentials=account.aws.instance_credentials(instance)))
    result = read(account.aws, **of_run)
    assert found(result) == [("version-by-others", "error")]
    assert f"role 'Foreign' (session {instance})" in result["findings"][0]["why"]
    store(account.aws.client("ssm"), config(60))  # root stands for the console
    succeeded(store_by(account, way, 70, keys=keys))
    result = read(account.aws, **of_run)
    assert found(result) == [("version-by-others", "notice")] * 2
    for words in ("role 'Foreign' wrote", "root user '123456789012' wrote"):
        assert any(words in each["why"] for each in result["findings"])


def test_another_admin_instance_and_a_role_that_was_made_again_are_no_finding(account: Storing) -> None:
    """As after a teardown, which does not delete the parameter of others."""
    succeeded(store_by(account, "instance", 30))
    iam, name = account.iam, {"RoleName": ADMIN_ROLE}
    policies = iam.list_attached_role_policies(**name)["AttachedPolicies"]
    iam.remove_role_from_instance_profile(InstanceProfileName=ADMIN_ROLE, **name)
    iam.delete_instance_profile(InstanceProfileName=ADMIN_ROLE)
    iam.delete_role_policy(PolicyName=WINDOW_POLICY, **name)
    for each in policies:
        iam.detach_role_policy(PolicyArn=each["PolicyArn"], **name)
    iam.delete_role(**name)
    create_role(account.aws, ADMIN_ROLE, *(each["PolicyName"] for each in policies))
    iam.put_role_policy(PolicyName=WINDOW_POLICY, PolicyDocument=json.dumps(CLOSED_POLICY), **name)
    account.add_instance("admin2", SERVER_ROLE, group="ec2_admin")
    succeeded(account.store("admin2"))
    result = read(account.aws)
    sessions = [each["writer"].rpartition("/")[2] for each in result["history"][0]["versions"]]
    assert sessions == [account.instances["admin2"], account.instances["admin1"]]
    assert found(result) == []


@pytest.mark.parametrize(
    ("way", "version"),
    [*((way, "1") for way in WAYS), ("instance", "previous"), ("controller", f"{PARAMETER}=previous")],
)
def test_an_earlier_version_is_stored_again_as_a_new_one(account: Storing, way: str, version: str) -> None:
    ssm = account.aws.client("ssm")
    for seconds in (30, 60):
        store(ssm, config(seconds))
    with assert_no_writes(account.aws):
        planned = succeeded(store_by(account, way, 90, version=version, check=True))
    assert "metrics_collection_interval: 60 -> 30" in str(planned["diff"])
    done = succeeded(store_by(account, way, 90, version=version))
    assert without_times(done["steps"]) == without_times(planned["steps"])
    kept = ssm.get_parameter_history(Name=PARAMETER)["Parameters"]
    assert [json.loads(each["Value"]) for each in kept] == [json.loads(config(seconds)) for seconds in (30, 60, 30)]
    account.assert_clean()
    if version == "1":  # the other would go forward again
        with assert_no_writes(account.aws):
            assert not succeeded(store_by(account, way, 90, version=version))["changed"]


def on_no_host(name: str, _options: dict[str, Any], _check: bool) -> dict[str, Any]:
    """The controller stores without a host."""
    raise AssertionError(name)


def split_config(*paths: str) -> dict[str, Any]:
    """A configuration of several parts. :param paths: of the files that a part each collects."""
    files = [{"file_path": f"/{path}{'x' * 3000}", "log_group_name": path} for path in paths]
    return {"logs": {"logs_collected": {"files": {"collect_list": files}}}}


def test_parts_go_back_together(enforcing: Emulator, tmp_path: Path) -> None:
    aws, file, ssm = enforcing, tmp_path / "large.json", enforcing.client("ssm")
    options: dict[str, Any] = {"from": "controller", "split": True, "tier": "Standard", **WAITS}
    options["configs"] = [{"name": PARAMETER, "file": str(file)}]

    def run(**more: Any) -> dict[str, Any]:
        return succeeded(transact(aws, "cwagent_store_config", on_no_host, **options, **more))

    def stored() -> list[str]:
        return [ssm.get_parameter(Name=f"{PARAMETER}{end}")["Parameter"]["Value"] for end in ("", "-2", "-3")]

    states = []
    for paths in (("a", "b", "c"), ("a", "B", "c"), ("A", "B", "C")):
        file.write_text(json.dumps(split_config(*paths)))
        run()
        states.append(stored())
        aws.shift_clock(3600)
    file.unlink()
    for version, expected in (("previous", 1), ("2", 2), ("1", 1)):
        run(version=version)
        aws.shift_clock(3600)
        assert stored() == states[expected], version


def test_a_version_that_is_not_kept_is_refused_before_anything_is_opened(account: Storing) -> None:
    store(account.aws.client("ssm"))
    for version, words in (("7", "Version 7 of parameter"), ("previous", "no version before"), ("x", "not a version")):
        with assert_no_writes(account.aws):
            assert words in refusal(store_by(account, "instance", 30, version=version))
