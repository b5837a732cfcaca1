"""An on-premises host stores with its own key, and the controller with its credentials; and which parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from emulator import Behaviour, Emulator, Kind
from emulator.snapshot import configurations
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    PARAMETER,
    WINDOW_POLICY,
    assert_admin_user_closed,
    assert_no_writes,
    create_user,
)
from in_process import Send, on_host, run_module, transact
from states import States
from storing import (
    CLOSED_POLICY,
    UNTIL_DISARMED,
    WAITS,
    Result,
    Storing,
    config_of,
    ready_to_store,
    refusal,
    succeeded,
    without_times,
)

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import merge

CONFIG = {"agent": {"metrics_collection_interval": 30}}
STORES = ["file", "parameter_store", "secrets_manager"]
ON_HOST = "on the host"
DENIED = {"kind": Kind.DENY, "action": "PutParameter", "times": UNTIL_DISARMED}


@pytest.fixture
def account(states: States, monkeypatch: pytest.MonkeyPatch) -> Storing:
    account = states.begin(ready_to_store)
    account.add_machine("ops1", group="onprem_admin")
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.aws.endpoint)  # for the lookup of a saved key
    return account


def key_file(account: Storing) -> str:
    return str(account.controller.credentials / f"{ADMIN_USER}.credentials")


def store_onprem(
    account: Storing, *faults: dict[str, Any], key: str = "file", host: Send | None = None, **options: Any
) -> Result:
    """Store the configuration from the on-premises host. :param host: by default, it is honest."""
    file = account.controller.file("ops1.json", CONFIG)
    saved = {"key_store": key, "key_store_directory": str(account.controller.credentials)}
    of_key = {"credentials_file": key_file(account)} if key == ON_HOST else saved
    given = {"from": "onprem", "configs": [{"name": PARAMETER, "file": str(file)}], **WAITS, **of_key, **options}
    send = host or on_host(account.aws, account.machines["ops1"])
    return transact(account.aws, "cwagent_store_config", send, *faults, host="ops1", **given)


def assert_closed(account: Storing) -> None:
    """Assert that the window is closed and the access key is inactive."""
    assert_admin_user_closed(account.aws)
    account.assert_clean()


@pytest.mark.parametrize("key", ["file", ON_HOST])
def test_the_on_premises_admin_stores_with_its_own_key(account: Storing, key: str) -> None:
    """``test_permissions.py`` has the other stores."""
    secret = account.create_admin_user()
    assert_closed(account)
    with assert_no_writes(account.aws):
        planned = succeeded(store_onprem(account, key=key, check=True))
    since = account.aws.mark()
    done = succeeded(store_onprem(account, key=key))
    assert without_times(done["steps"]) == without_times(planned["steps"])
    writes = account.aws.writes(since)
    [stored] = [call for call in writes if call.action == "PutParameter"]
    assert (stored.status, stored.principal.rpartition(":")[2]) == (200, f"user/{ADMIN_USER}")
    assert [call for call in writes if call.service == "ec2"] == []
    named = {"name": PARAMETER, "region": account.aws.region}
    assert (done["window"]["instance_id"], done["window"]["parameters"]) == (None, [named])
    assert secret not in json.dumps([planned, done])
    assert account.stored == {PARAMETER: CONFIG}
    assert_closed(account)
    with assert_no_writes(account.aws):
        assert not succeeded(store_onprem(account, key=key))["changed"]


OTHER = json.dumps({"agent": {"debug": True}})


def stores_nothing(arguments: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    return arguments, True


def stores_another(arguments: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    config = arguments["config"]
    return {**arguments, "config": {**config, "parameters": [{**config["parameters"][0], "value": OTHER}]}}, False


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (stores_nothing, f"ops1 reported that it stored configuration '{PARAMETER}', but Parameter Store in"),
        (stores_another, f"parameter '{PARAMETER}' has another value than the one that was just stored"),
    ],
)
def test_the_controller_reads_what_a_host_reports(
    account: Storing, lie: Callable[[dict[str, Any]], tuple[dict[str, Any], bool]], message: str
) -> None:
    account.create_admin_user()
    honest = on_host(account.aws, account.machines["ops1"])

    def send(module: str, arguments: dict[str, Any], check: bool) -> dict[str, Any]:
        return honest(module, *(lie(arguments) if arguments.get("config") and not check else (arguments, check)))

    failed = store_onprem(account, host=send)
    assert refusal(failed).startswith(message)
    assert_closed(account)
    succeeded(store_onprem(account))
    assert account.stored == {PARAMETER: CONFIG}


def test_a_missing_key_is_an_error_before_the_window_is_opened(account: Storing) -> None:
    """Only site.yml creates one."""
    missing = f"There is no access key of user '{ADMIN_USER}' in "
    file = f"/{ADMIN_USER}.credentials with the access key of {ADMIN_USER}"
    for key in (*STORES, ON_HOST):
        for check in (False, True):
            with assert_no_writes(account.aws):
                message = refusal(store_onprem(account, key=key, check=check))
            assert (file if key == ON_HOST else missing) in message
            assert "cwagent.iam.site" in message


def test_the_missing_permission_to_read_the_key_is_found_before_anything_is_created(account: Storing) -> None:
    """A later task creates the key."""
    unread = {"kind": Kind.DENY, "action": "GetSecretValue", "times": UNTIL_DISARMED}
    with assert_no_writes(account.aws):
        succeeded(store_onprem(account, key="secrets_manager", state="compared"))
        message = refusal(store_onprem(account, unread, key="secrets_manager", state="compared"))
    assert "secretsmanager:GetSecretValue" in message


def test_the_open_window_of_another_on_premises_run_is_not_closed(account: Storing) -> None:
    account.create_admin_user()
    succeeded(run_module(account.aws, "cwagent_admin_window", user=ADMIN_USER, state="open"))
    with assert_no_writes(account.aws):
        message = refusal(store_onprem(account))
    assert f"the admin window of user '{ADMIN_USER}' is open until" in message


def test_the_on_premises_window_is_closed_after_a_failure(account: Storing) -> None:
    secret = account.create_admin_user()
    failed = store_onprem(account, DENIED, permission_timeout=1)
    assert f"user/{ADMIN_USER} lacks ssm:PutParameter" in refusal(failed)
    assert secret not in json.dumps(failed)
    assert account.stored == {}
    assert_closed(account)
    succeeded(store_onprem(account))
    assert account.stored == {PARAMETER: CONFIG}


FAILURES: dict[str, dict[str, Any]] = {
    "denied": {"kind": Kind.DENY},
    "expired": {"kind": Kind.ERROR, "code": "ExpiredToken"},
}
PUT, SET_KEY = "PutUserPolicy", "UpdateAccessKey"


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("failing", [PUT, SET_KEY])
def test_an_on_premises_lock_that_fails_does_not_stop_the_other(account: Storing, failing: str, kind: str) -> None:
    """Nor in the clean-up afterwards."""
    account.create_admin_user()
    always = {"times": UNTIL_DISARMED, **FAILURES[kind]}

    def state() -> tuple[bool, str]:
        iam = account.iam
        policy = iam.get_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY)["PolicyDocument"]
        [key] = iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
        return policy == CLOSED_POLICY, key["Status"]

    expected = (False, "Inactive") if failing == PUT else (True, "Active")
    opens = {
        PUT: f"The admin window of user '{ADMIN_USER}' may be open until 20",
        SET_KEY: f"The access key of user '{ADMIN_USER}' may be active, and no deadline ends that. Could not",
    }
    message = refusal(store_onprem(account, {"action": failing, "nth": 2, **always}))
    assert message.startswith(opens[failing])
    assert state() == expected
    succeeded(run_module(account.aws, "cwagent_admin_window", user=ADMIN_USER, state="open"))
    assert refusal(account.restore({"action": failing, **always}, admin_users=[ADMIN_USER]))
    assert state() == expected
    succeeded(account.restore(admin_users=[ADMIN_USER]))
    assert_closed(account)


def test_a_run_waits_until_a_new_key_is_known_everywhere(account: Storing) -> None:
    controller = create_user(account.aws, "controller", policy="AdministratorAccess")  # root is never refused
    account.aws.be_unkind(Behaviour.NEW_KEYS, seconds=3600, chance=1)
    account.create_admin_user(credentials=controller)
    with ThreadPoolExecutor(1) as background:
        running = background.submit(store_onprem, account, credentials=controller)
        account.wait_for_calls("PutParameter")
        account.aws.be_unkind()  # the key is known everywhere
        succeeded(running.result())
    *refused, stored = account.calls_of("PutParameter")
    assert {call.unkind for call in refused} == {Behaviour.NEW_KEYS}
    assert stored.status == 200
    assert_closed(account)


# Whatever stores


def store_from(account: Storing, source: str, **options: Any) -> Result:
    """The result of a transaction from an instance, an on-premises host or the controller, after a prediction."""

    def run(**more: Any) -> Result:
        if source == "onprem":
            return store_onprem(account, **options, **more)
        return account.store(**{"config": CONFIG, "from": source, **options, **more})

    with assert_no_writes(account.aws):
        planned = succeeded(run(check=True))
    done = succeeded(run())
    assert without_times([done["steps"], done["diff"]]) == without_times([planned["steps"], planned["diff"]])
    return done


@pytest.fixture(params=["instance", "onprem", "controller"])
def source(request: pytest.FixtureRequest, account: Storing) -> str:
    if request.param == "onprem":
        account.create_admin_user()
    return str(request.param)


def test_the_controller_stores_without_a_window_or_a_swap(account: Storing) -> None:
    since = account.aws.mark()
    assert not store_from(account, "controller")["released"]
    [stored] = account.aws.writes(since)
    assert (stored.action, stored.identity) == ("PutParameter", "root")
    account.assert_clean()


TAGS = {"team": "operations", "cost-center": 4711, "shared": True}
SET = {"team": "operations", "cost-center": "4711", "shared": "true"}
TAGGED = f"tag parameter '{PARAMETER}' with team, cost-center, shared"
TAG_ACTIONS = {"ListTagsForResource", "AddTagsToResource", "RemoveTagsFromResource"}


def tags_of(aws: Emulator) -> dict[str, str]:
    found = aws.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=PARAMETER)["TagList"]
    return {tag["Key"]: tag["Value"] for tag in found}


def test_the_controller_tags_parameters_and_only_wanted_tags_are_read(account: Storing, source: str) -> None:
    """Where the controller stores itself, the parameter is created with its tags."""

    def tag_calls(since: int) -> list[tuple[str, str]]:
        return [(call.action, call.identity) for call in account.aws.calls(since) if call.action in TAG_ACTIONS]

    since = account.aws.mark()
    done = store_from(account, source, parameter_tags=TAGS)
    assert (TAGGED in done["steps"]) == (source != "controller")
    assert (account.stored, tags_of(account.aws)) == ({PARAMETER: CONFIG}, SET)
    tagging = [("AddTagsToResource", "root")] if source != "controller" else []
    assert [each for each in tag_calls(since) if each[0] != "ListTagsForResource"] == tagging
    assert {identity for _action, identity in tag_calls(since)} == {"root"}

    since = account.aws.mark()
    with assert_no_writes(account.aws):
        assert not store_from(account, source, parameter_tags=TAGS)["changed"]
    assert tag_calls(since) == [("ListTagsForResource", "root")] * 2, "once in check mode, and once after it"
    since = account.aws.mark()
    store_from(account, source)
    assert tag_calls(since) == []


def test_tags_alone_change_without_a_window_and_tags_of_others_stay(account: Storing) -> None:
    store_from(account, "instance")
    theirs = [{"Key": "theirs", "Value": "x"}, {"Key": "team", "Value": "web"}]
    account.aws.client("ssm").add_tags_to_resource(ResourceType="Parameter", ResourceId=PARAMETER, Tags=theirs)
    since = account.aws.mark()
    done = store_from(account, "instance", parameter_tags=TAGS)
    assert account.writes(since) == ["AddTagsToResource"]
    assert done["steps"] == [TAGGED]
    assert '~ $.team: "web" -> "operations"' in json.dumps(done["diff"]).replace('\\"', '"')
    with assert_no_writes(account.aws):
        assert not store_from(account, "instance", parameter_tags={"team": "operations"})["changed"]
    assert tags_of(account.aws) == {**SET, "theirs": "x"}


HOME, AWAY, ONPREM = "eu-central-1", "us-east-1", "eu-west-1"
WEB = "AmazonCloudWatch-web"


def test_each_configuration_is_stored_in_its_regions_only(account: Storing, source: str) -> None:
    """All of them in one window, which is for these parameters and no others."""
    files = [str(account.controller.file(f"{host}.json", config_of(host))) for host in ("x1", "x2")]
    configs = [
        {"name": PARAMETER, "file": files[0], "regions": [HOME]},
        {"name": PARAMETER, "file": files[1], "regions": [AWAY, ONPREM]},
        {"name": WEB, "file": files[1]},
    ]
    account.aws.client("ssm", ONPREM).put_parameter(Name=WEB, Value="{}", Type="String")
    since = account.aws.mark()
    done = store_from(account, source, configs=configs, regions=["", AWAY])
    assert {region: configurations(account.aws, region) for region in (HOME, AWAY, ONPREM)} == {
        HOME: {PARAMETER: config_of("x1"), WEB: config_of("x2")},
        AWAY: {PARAMETER: config_of("x2"), WEB: config_of("x2")},
        ONPREM: {PARAMETER: config_of("x2"), WEB: {}},
    }
    expected = {(PARAMETER, HOME), (PARAMETER, AWAY), (PARAMETER, ONPREM), (WEB, HOME), (WEB, AWAY)}
    window = done.get("window", {}).get("parameters", ())
    assert {(each["name"], each["region"]) for each in window} == (expected if source != "controller" else set())
    stored = [call for call in account.aws.writes(since) if call.action == "PutParameter"]
    principals = {"instance": f"{ADMIN_ROLE}/{account.instances['admin1']}", "onprem": ADMIN_USER, "controller": "root"}
    assert [call.principal.endswith(principals[source]) for call in stored] == [True] * 5
    since = account.aws.mark()
    with assert_no_writes(account.aws):
        assert not store_from(account, source, configs=configs, regions=["", AWAY])["changed"]
    read = {(call.params["Name"], call.region) for call in account.aws.calls(since) if call.action == "GetParameter"}
    assert {each for each in read if each[0].startswith("AmazonCloudWatch-")} == expected
    if source != "onprem":
        assert account.window == CLOSED_POLICY


def files_of(count: int) -> dict[str, Any]:
    """A configuration of so many log files, each of some 2 kB."""
    files = [
        {"file_path": f"/var/log/{number}{'x' * 2000}", "log_group_name": f"group-{number}"} for number in range(count)
    ]
    return {"logs": {"logs_collected": {"files": {"collect_list": files}}}}


def test_a_large_configuration_is_stored_in_parts_and_a_smaller_one_leaves_none_where_asked(account: Storing) -> None:
    names = [PARAMETER, f"{PARAMETER}-2", f"{PARAMETER}-3"]

    def run(count: int, **more: Any) -> Result:
        return store_from(account, "instance", config=files_of(count), split_config=True, **more)

    def opened(done: Result) -> list[str]:
        return [each["name"] for each in done["window"]["parameters"]]

    large = run(9)
    assert opened(large) == [each["name"] for each in large["configurations"][0]["parameters"]] == names
    assert {call.identity for call in account.calls_of("PutParameter")} == {"role"}
    stored = account.stored
    assert sorted(stored) == names
    assert merge([stored[name] for name in names]) == files_of(9)
    with assert_no_writes(account.aws):
        assert not run(9)["changed"]

    smaller = run(1)
    [warning] = {*smaller["warnings"]}
    assert f"has 1 part, and there are further parameters: {names[1]}, {names[2]}." in warning
    assert opened(smaller) == names[:1]
    assert account.stored == {**stored, PARAMETER: files_of(1)}

    since = account.aws.mark()
    removed = run(1, remove_surplus_parameters=True)
    deleted = [(call.action, call.identity, call.params["Name"]) for call in account.aws.writes(since)]
    assert deleted == [("DeleteParameter", "root", name) for name in names[1:]]
    assert removed["steps"] == [f"delete parameter '{name}'" for name in names[1:]]
    assert account.stored == {PARAMETER: files_of(1)}
    account.assert_clean()
