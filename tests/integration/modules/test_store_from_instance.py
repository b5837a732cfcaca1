"""An instance stores: it always gets its earlier profile back, and the reason of a failure is in the message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from emulator import NO_METADATA, Behaviour, Kind
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    PARAMETER,
    POLICY_ARN,
    REPLACE_ASSOCIATION,
    SERVER_POLICY,
    SERVER_ROLE,
    SWAPPED,
    WINDOW_POLICY,
    allow,
    assert_no_writes,
    create_user,
    disassociate,
    trust,
)
from in_process import on_instance
from states import States
from storing import (
    APP,
    CLOSED_POLICY,
    UNTIL_DISARMED,
    Result,
    Storing,
    config_of,
    ready_to_store,
    refusal,
    succeeded,
    without_times,
)

CONFIG = config_of("admin1")


@pytest.fixture
def account(states: States) -> Storing:
    return states.begin(ready_to_store)


@pytest.fixture
def app(account: Storing) -> str:
    """The instance, which has the profile of an application."""
    return account.set_profile(APP)


def storing_roles(account: Storing) -> set[str]:
    return {call.principal.split("/")[1] for call in account.calls_of("PutParameter")}


def test_the_order_of_the_writes_and_their_prediction(account: Storing, app: str) -> None:
    """Check mode and a second run write nothing."""
    with assert_no_writes(account.aws):
        planned = succeeded(account.store(check=True))
    since = account.aws.mark()
    done = succeeded(account.store())
    *acquired, stored, restored, closed, untagged, forgotten = account.writes(since)
    assert acquired == ["TagRole", "CreateTags", REPLACE_ASSOCIATION, "PutRolePolicy", REPLACE_ASSOCIATION]
    assert {restored, closed} == {REPLACE_ASSOCIATION, "PutRolePolicy"}  # these run in parallel
    assert [stored, untagged, forgotten] == ["PutParameter", "DeleteTags", "UntagRole"]
    for key in ("steps", "counts", "diff", "phases", "window", "configurations"):
        assert without_times(planned[key]) == without_times(done[key])
    named = {"name": PARAMETER, "region": account.aws.region}
    assert (done["window"]["instance_id"], done["window"]["parameters"]) == (app, [named])
    assert (planned["released"], done["released"]) == (False, True)
    account.assert_restored(APP, CONFIG)
    [stored_diff] = done["diff"]
    assert {**stored_diff["before"], **stored_diff["after"]}.keys() == {PARAMETER}, (
        "a window that is closed again is no change"
    )
    with assert_no_writes(account.aws):
        assert not succeeded(account.store())["changed"]


@pytest.mark.parametrize(("before", "after"), [(None, None), (ADMIN_ROLE, SERVER_ROLE)])
def test_an_instance_has_its_earlier_profile_afterwards(
    account: Storing, before: str | None, after: str | None
) -> None:
    """An instance that was left with the admin profile becomes a server."""
    disassociate(account.aws, account.instances["admin1"])
    if before:
        account.set_profile(before)
    assert succeeded(account.store())["changed"]
    account.assert_restored(after, CONFIG)


# Before anything is opened

SCHEMA = {"properties": {"agent": {"properties": {"metrics_collection_interval": {"maximum": 5}}}}}
"""A schema that refuses the configuration."""
NOT_VALID = "$.agent.metrics_collection_interval: 10 is not valid; allowed: at most 5"


@pytest.fixture
def schema(account: Storing) -> str:
    """The path of the schema on the instance."""
    return str(account.controller.file("schema.json", SCHEMA))


@pytest.mark.parametrize(
    ("config", "words"), [("{", "1:2 $: the '}' for line 1 column 1 is missing"), (CONFIG, NOT_VALID)]
)
def test_an_invalid_configuration_is_refused_before_the_first_write(
    account: Storing, schema: str, capsys: pytest.CaptureFixture[str], config: Any, words: str
) -> None:
    with assert_no_writes(account.aws):
        message = refusal(account.store(config=config, agent_schema_path=schema))
    assert message.startswith(f"{PARAMETER} is not valid: ")
    assert "/admin1.json: " in message
    assert words in message
    assert message.endswith(" Nothing was changed.")
    assert words in " ".join(capsys.readouterr().out.split()), "it is in the lines above the message, too"


def test_the_option_validation_decides_whether_the_schema_refuses(
    account: Storing, schema: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for validation in ("warn", "off"):
        succeeded(account.store(agent_schema_path=schema, config_validation=validation, check=True))
        assert (NOT_VALID in capsys.readouterr().out) == (validation == "warn")


def test_a_configuration_is_stored_from_an_instance_without_the_schema(account: Storing, schema: str) -> None:
    succeeded(account.store(agent_schema_path="/nonexistent/schema.json"))
    account.assert_restored(SERVER_ROLE, CONFIG)
    again = succeeded(account.store(agent_schema_path=schema))
    assert not again["changed"], "with nothing to store, the schema is not read"


def test_an_opentelemetry_configuration_in_yaml_is_stored_as_it_is(account: Storing) -> None:
    name, file = "AmazonCloudWatch-otel.yaml", account.controller.home / "otel.yaml"
    file.write_text("receivers:\n  otlp: # 1\n")
    configs = [{"name": name, "file": str(file)}]
    assert succeeded(account.store(configs=configs))["changed"]
    assert account.aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == file.read_text()
    assert not succeeded(account.store(configs=configs))["changed"]


def test_a_problem_that_does_not_stop_a_run_is_shown_once(account: Storing, capsys: pytest.CaptureFixture[str]) -> None:
    """Although the configuration is validated once more, by the schema."""
    succeeded(account.store(agent_schema_path=str(account.controller.file("schema.json", {}))))
    assert capsys.readouterr().out.count("with the section 'agent' alone, the agent collects nothing") == 1


def test_an_instance_without_a_way_to_parameter_store_stores_nothing(account: Storing) -> None:
    """The controller has a way, so the run checks it from the instance, before it opens anything."""
    there = on_instance(account.aws, account.instances["admin1"])

    def isolated(module: str, given: dict[str, Any], check: bool) -> Result:
        return there(module, {**given, "endpoint_url": NO_METADATA}, check)

    with assert_no_writes(account.aws):
        message = refusal(account.store(send=isolated))
    assert f"does not reach Parameter Store in {account.aws.region} (" in message
    assert "needs a VPC endpoint for ssm" in message


@pytest.mark.parametrize("state", ["stored", "opened"])
def test_a_connection_to_another_instance_is_refused_before_the_first_write(
    account: Storing, app: str, state: str
) -> None:
    other = account.add_instance("other")
    elsewhere = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": account.aws.metadata_endpoint(other)}
    with assert_no_writes(account.aws):
        message = refusal(account.store(environment=elsewhere, state=state))
    assert f"admin1: This is instance {other}, and instance_id is {app}." in message


def test_the_minutes_of_the_window_are_validated_before_the_first_write(account: Storing) -> None:
    with assert_no_writes(account.aws):
        message = refusal(account.store(state="opened", admin_window_minutes=721))
    assert "must be between 1 and 720 minutes, not 721" in message


# The admin identity

LOST = {"before the swap": ("GetParameter", "", []), "after the swap": (REPLACE_ASSOCIATION, ADMIN_ROLE, SWAPPED)}


@pytest.mark.parametrize(("action", "profile", "swapped"), LOST.values(), ids=LOST)
def test_an_instance_that_becomes_unreachable_is_restored(
    account: Storing, action: str, profile: str, swapped: list[str]
) -> None:
    def is_reachable() -> bool:
        return not any(profile in json.dumps(call.params) for call in account.calls_of(action))

    instance, since = account.instances["admin1"], account.aws.mark()
    message = refusal(account.store(send=on_instance(account.aws, instance, is_reachable)))
    assert account.swaps == swapped
    if swapped:
        assert f"admin1 ({instance}) could not be reached" in message
        assert f"It has {SERVER_ROLE} again" in message
    else:
        assert "the host is unreachable" in message
        assert account.writes(since) == []
    account.assert_restored(SERVER_ROLE)


def test_an_instance_that_does_not_get_the_admin_identity_in_time_is_an_error(account: Storing, app: str) -> None:
    account.aws.metadata_lag(60)
    message = refusal(account.store(identity_timeout=1))
    waited = f"Waited 1 seconds for the instance metadata service to show instance profile '{ADMIN_ROLE}'"
    assert f"{waited}; it still shows" in message
    assert account.calls_of("PutParameter") == []
    account.assert_restored(APP)


def test_credentials_can_reach_the_instance_after_the_profile(account: Storing, app: str) -> None:
    """The first call is made with the credentials of the admin role, however late they are."""
    account.aws.metadata_lag(0, credentials=2)
    succeeded(account.store())
    assert storing_roles(account) == {ADMIN_ROLE}
    account.assert_restored(APP, CONFIG)


ONCE_REFUSED = 9
"""A seed with which EC2 may not assume the new role at first, and may when its profile is associated again."""


def test_a_new_role_that_ec2_may_not_assume_yet_is_associated_again(account: Storing) -> None:
    """EC2 would try it again only after minutes, as long as this association lasts."""
    key = create_user(account.aws, "controller", allow("*"))
    account.iam.remove_role_from_instance_profile(InstanceProfileName=ADMIN_ROLE, RoleName=ADMIN_ROLE)
    account.aws.be_unkind(Behaviour.UNAUTHORIZED_ROLES, seed=ONCE_REFUSED, seconds=600, chance=0.5)
    controller = {"AccessKeyId": key["AWS_ACCESS_KEY_ID"], "SecretAccessKey": key["AWS_SECRET_ACCESS_KEY"]}
    create_new_admin_role(account.aws.client("iam", credentials=controller))
    succeeded(account.store(credentials=key))
    # Its own profile, the admin profile twice, and its own profile.
    assert account.swaps == [SERVER_ROLE, ADMIN_ROLE, ADMIN_ROLE, SERVER_ROLE]
    account.assert_restored(SERVER_ROLE, CONFIG)


def create_new_admin_role(iam: Any) -> None:
    iam.detach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY)
    iam.delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
    iam.delete_role(RoleName=ADMIN_ROLE)
    iam.create_role(RoleName=ADMIN_ROLE, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    iam.attach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY)
    iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=json.dumps(CLOSED_POLICY))
    iam.add_role_to_instance_profile(InstanceProfileName=ADMIN_ROLE, RoleName=ADMIN_ROLE)


# The configuration, and what follows it


def test_a_permission_that_does_not_become_effective_is_an_error(account: Storing, app: str) -> None:
    """The message contains the denied call, and the instance gets its earlier profile back."""
    denied = {"kind": Kind.DENY, "action": "PutParameter", "times": UNTIL_DISARMED}
    message = refusal(account.store("admin1", denied, permission_timeout=1))
    assert f"assumed-role/{ADMIN_ROLE}/{app} lacks ssm:PutParameter" in message
    assert account.swaps == [APP, ADMIN_ROLE, APP]
    account.assert_restored(APP)


def test_the_window_is_closed_even_when_the_instance_cannot_be_read(account: Storing) -> None:
    """The call fails after the acquisition, when the release needs to know whether the instance is running."""
    unread = {"kind": Kind.DENY, "action": "DescribeInstances", "times": UNTIL_DISARMED}
    message = refusal(account.store("admin1", unread))
    assert "lacks ec2:DescribeInstances" in message
    assert "the admin identity, which cannot write to Parameter Store any more, because the admin window is" in message
    assert account.window == CLOSED_POLICY
    succeeded(account.restore())
    account.assert_clean()


def test_a_window_that_cannot_be_closed_lets_the_instance_write_until_its_deadline(account: Storing) -> None:
    expired = {"kind": Kind.ERROR, "action": "PutRolePolicy", "code": "ExpiredToken", "nth": 2}
    message = refusal(account.store("admin1", expired))
    assert message.startswith(f"The admin window of role '{ADMIN_ROLE}' may be open until 20")
    assert f"Z. admin1 ({account.instances['admin1']}) has its earlier profile again. Could not close" in message
    assert account.window != CLOSED_POLICY
    succeeded(account.restore())
    account.assert_clean()


def test_an_instance_that_cannot_be_read_at_the_end_is_a_warning(account: Storing, app: str) -> None:
    """Everything was restored, by the word of EC2."""
    there = on_instance(account.aws, app)

    def broken(module: str, given: dict[str, Any], check: bool) -> Result:
        has_stored = account.calls_of("PutParameter")
        return {"failed": True, "msg": "no JSON"} if has_stored else there(module, given, check)

    [warning] = succeeded(account.store(send=broken))["warnings"]
    assert f"admin1 ({app}) did not report whether it has its earlier identity again" in warning
    account.assert_restored(APP, CONFIG)


def test_an_instance_that_keeps_the_admin_identity_fails(account: Storing, app: str) -> None:
    """Its window is closed, so the identity has no permission. The restore tag goes by the word of EC2."""
    with account.storing("PutParameter", Kind.DENY, identity_timeout=2) as running:
        account.aws.metadata_lag(60)
    waited = f"Waited 2 seconds for the instance metadata service to show instance profile '{APP}'"
    assert waited in refusal(running.result())
    account.assert_restored(APP, CONFIG)


@pytest.mark.parametrize("is_read_back", [False, True], ids=["as it stores", "as a server reads it"])
def test_a_run_fails_if_something_else_overwrites_the_value(account: Storing, app: str, is_read_back: bool) -> None:
    """The instance reads it again until it may, once with the admin role and then with the earlier one.

    The first read is the comparison.
    """
    said: list[str] = []
    at: dict[str, Any] = {"at": "GetParameter", "kind": Kind.DENY, "nth": 2, "times": 2}
    if is_read_back:
        at = {"at": "DeleteTags", "kind": Kind.THROTTLE}
    with account.storing(**at, tell=said.append) as running:
        account.wait_for_calls("PutParameter")
        account.aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Overwrite=True)
    message = refusal(running.result())
    if is_read_back:
        assert f"{PARAMETER} was stored, but admin1 ({app}) reads another value." in message
    else:
        assert f"parameter '{PARAMETER}' has another value than the one that was just stored" in message
        assert "something else wrote version 2" in message
    assert ("read what was stored as a server does" in said) == is_read_back
    account.assert_restored(APP, {"agent": {}})


def test_an_instance_that_may_not_read_as_a_server_is_a_warning(account: Storing, app: str) -> None:
    """It contains the permission."""
    account.iam.detach_role_policy(RoleName=APP, PolicyArn=POLICY_ARN + SERVER_POLICY)
    [warning] = succeeded(account.store())["warnings"]
    assert f"the configuration was stored, but admin1 ({app}) cannot read it with" in warning
    assert f"assumed-role/{APP}/{app} lacks ssm:GetParameter" in warning
    account.assert_restored(APP, CONFIG)
