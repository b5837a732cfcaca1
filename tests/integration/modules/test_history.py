"""The versions of configurations, with their writers, and how an earlier version is stored again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from emulator import Emulator, Kind
from harness import (
    PARAMETER,
    SERVER_ROLE,
    assert_no_writes,
    associate,
    create_role,
    create_user,
)
from in_process import on_host, run_module, transact
from policies import example
from states import States
from storing import WAITS, Storing, ready_to_store, refusal, succeeded, without_times

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import merge

HISTORY = "ssm:GetParameterHistory"
REGIONS = ["eu-central-1", "us-east-1"]
MAX_CALLS = 10
WAYS = ["instance", "onprem", "controller"]
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


def test_many_versions_in_two_regions_take_few_calls(enforcing: Emulator) -> None:
    """A page of AWS has fifty versions."""
    aws, count = enforcing, 51
    for region in REGIONS:
        for seconds in range(1, count + 1):
            store(aws.client("ssm", region), config(seconds))
    since = aws.mark()
    result = read(aws, configs_by_region={region: [PARAMETER] for region in REGIONS})
    calls = Counter(call.region for call in aws.calls(since) if call.service in ("ssm", "ec2"))
    assert {*calls} == {*REGIONS}
    assert max(calls.values()) <= MAX_CALLS
    assert Counter(each["region"] for each in result["history"]) == dict.fromkeys(REGIONS, 1)
    for history in result["history"]:
        assert [each["version"] for each in history["versions"]] == [*range(count, 0, -1)]
        changes = [each["changes"] for each in history["versions"]]
        assert changes[0] == [f"~ $.agent.metrics_collection_interval: {count - 1} -> {count}"]
        assert (changes[-1], all(changes[:-1])) == ([], True)
        assert history["versions"][0]["size"] == len(config(count))


def test_a_parameter_that_was_deleted_or_made_again_is_no_error(enforcing: Emulator) -> None:
    aws, ssm = enforcing, enforcing.client("ssm")
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


def test_an_encrypted_version_is_not_decrypted(enforcing: Emulator) -> None:
    enforcing.client("ssm").put_parameter(Name=PARAMETER, Value="geheim", Type="SecureString")
    result = read(enforcing)
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


def with_hosts(states: States) -> Storing:
    account = states.begin(ready_to_store)
    account.add_machine("ops1", group="onprem_admin")
    account.create_admin_user()
    return account


@pytest.fixture
def account(states: States, monkeypatch: pytest.MonkeyPatch) -> Storing:
    account = states.begin(with_hosts)
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.aws.endpoint)  # for the lookup of a saved key
    return account


def store_by(
    account: Storing, way: str, seconds: int, *faults: Mapping[str, Any], keys: Any = None, **more: Any
) -> dict[str, Any]:
    """Store a configuration. :param keys: the credentials of the controller."""
    host, config = "admin1", more.pop("config", {"agent": {"metrics_collection_interval": seconds}})
    if way == "instance":
        return account.store(host, *faults, **{"from": way, "config": config, **more})
    file = account.controller.file("config.json", config)
    given = {"from": way, "configs": [{"name": PARAMETER, "file": str(file)}], **WAITS}
    saved = {"key_store": "file", "key_store_directory": str(account.controller.credentials)}
    there = on_host(account.aws, account.machines["ops1"])
    options = {**given, **saved, "credentials": keys, **more}
    return transact(account.aws, "cwagent_store_config", there, *faults, host="ops1", **options)


def test_a_label_of_the_oldest_version_is_found_before_anything_is_changed(account: Storing) -> None:
    """With 99 versions nothing is read for that, and without the permission AWS decides when it is stored."""
    ssm, mark = account.aws.client("ssm"), account.aws.mark
    for seconds in range(1, 100):
        store(ssm, config(seconds))
    ssm.label_parameter_version(Name=PARAMETER, ParameterVersion=1, Labels=["cwagent-applied", "stable"])
    since = mark()
    succeeded(store_by(account, "controller", 100))
    assert "GetParameterHistory" not in {call.action for call in account.aws.calls(since)}

    with assert_no_writes(account.aws):
        messages = {refusal(store_by(account, "instance", 101, check=check)) for check in (True, False)}
    [refused] = messages
    assert "the oldest one, version 1, has label cwagent-applied, stable. Move the label with cwagent.iam.ap" in refused
    assert refused.endswith(f"--name {PARAMETER} --parameter-version 1 --labels cwagent-applied stable")
    denied = {"kind": Kind.DENY, "action": "GetParameterHistory", "times": 9}
    assert "ParameterMaxVersionLimitExceeded" in refusal(store_by(account, "controller", 101, denied))
    ssm.label_parameter_version(Name=PARAMETER, ParameterVersion=100, Labels=["cwagent-applied", "stable"])
    for check in (True, False):
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


@pytest.mark.parametrize(
    ("way", "version"),
    [("instance", "1"), ("onprem", "1"), ("controller", f"{PARAMETER}=previous")],
)
def test_an_earlier_version_is_stored_again_as_a_new_one(account: Storing, way: str, version: str) -> None:
    ssm = account.aws.client("ssm")
    for seconds in (30, 60):
        store(ssm, config(seconds))
    told: list[str] = []
    with assert_no_writes(account.aws):
        planned = succeeded(store_by(account, way, 90, config_version=version, check=True, tell=told.append))
    assert "metrics_collection_interval: 60 -> 30" in str(planned["diff"])
    again = f"store version 1 of {PARAMETER} in {account.aws.region} again"
    assert [each for each in told if each.startswith(again)] == [f"{again} (afterwards, cwagent.iam.apply applies it)"]
    done = succeeded(store_by(account, way, 90, config_version=version))
    assert without_times(done["steps"]) == without_times(planned["steps"])
    kept = ssm.get_parameter_history(Name=PARAMETER)["Parameters"]
    assert [json.loads(each["Value"]) for each in kept] == [json.loads(config(seconds)) for seconds in (30, 60, 30)]
    account.assert_clean()
    with assert_no_writes(account.aws):
        assert not succeeded(store_by(account, way, 90, config_version=version))["changed"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("indent", [None, 4])
def test_going_back_twice_equals_going_back_once(account: Storing, way: str, indent: int | None) -> None:
    """Even if the version was pretty-printed, as the agent's wizard stores it."""
    ssm = account.aws.client("ssm")
    for seconds in (30, 60):
        store(ssm, json.dumps(json.loads(config(seconds)), indent=indent))
    succeeded(store_by(account, way, 90, config_version="previous"))
    for version in ("previous", "1"):
        with assert_no_writes(account.aws):
            assert not succeeded(store_by(account, way, 90, config_version=version))["changed"]
    assert [account.stored[PARAMETER]] == [json.loads(config(30))]


def of_parts(first: int, second: int) -> dict[str, Any]:
    """A configuration that is stored in two parts."""
    parts = (f"{name}{number}" for name, number in (("a", first), ("b", second)))
    files = [{"file_path": f"/{part}-{'x' * 7000}", "log_group_name": part} for part in parts]
    return {"logs": {"logs_collected": {"files": {"collect_list": files}}}}


@pytest.mark.parametrize("way", WAYS)
def test_parts_that_were_stored_together_go_back_together(account: Storing, way: str) -> None:
    """Even if only one of them was stored, a moment later. A state that others stored needs the numbers."""
    ssm, second = account.aws.client("ssm"), f"{PARAMETER}-2"

    def run(**more: Any) -> dict[str, Any]:
        return store_by(account, way, 0, split_config=True, **more)

    def numbers() -> dict[str, int]:
        return {name: ssm.get_parameter(Name=name)["Parameter"]["Version"] for name in (PARAMETER, second)}

    for parts in ((1, 1), (2, 2), (2, 3)):
        succeeded(run(config=of_parts(*parts)))
    assert numbers() == {PARAMETER: 2, second: 3}
    whole, _changed = account.stored, succeeded(run(config=of_parts(2, 4)))
    with assert_no_writes(account.aws):
        planned = succeeded(run(config_version="previous", check=True))
    done = succeeded(run(config_version="previous"))
    assert without_times(done["steps"]) == without_times(planned["steps"])
    assert account.stored == whole
    with assert_no_writes(account.aws):
        again = succeeded(run(config_version="previous"))
    assert not again["changed"]
    assert "has the content of version 3 of" in " ".join(again["warnings"])
    succeeded(run(config_version="1"))
    assert merge([account.stored[name] for name in (PARAMETER, second)]) == of_parts(1, 1)
    found = {each["name"]: each["versions"] for each in read(account.aws)["history"]}
    assert [each["stored_with"] for each in found[PARAMETER]] == [
        [{"name": second, "version": number}] for number in (6, 2, 1)
    ]

    store(ssm, json.dumps(of_parts(5, 5)), second)
    store(ssm, "{}", second)
    with assert_no_writes(account.aws):
        refused = refusal(run(config_version="previous"))
    assert "it was stored without this collection" in refused
    assert refused.endswith(f"cwagent_config_version={PARAMETER}=NUMBER,{second}=NUMBER")
    succeeded(run(config_version=f"{PARAMETER}=2,{second}=3"))
    assert account.stored == whole
    account.assert_clean()


def test_a_version_that_is_not_kept_is_refused_before_anything_is_opened(account: Storing) -> None:
    store(account.aws.client("ssm"))
    for version, words in (
        ("7", "Version 7 of parameter"),
        ("previous", "no earlier version with different"),
        ("x", "not a version"),
    ):
        with assert_no_writes(account.aws):
            assert words in refusal(store_by(account, "instance", 30, config_version=version))
