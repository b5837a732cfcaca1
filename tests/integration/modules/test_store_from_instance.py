"""An instance stores: it always gets its earlier profile back, and the reason of a failure is in the message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from emulator import NO_METADATA, Behaviour, Kind
from emulator.snapshot import associated_profiles, configurations
from fleet import Fleet
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    PARAMETER,
    PATIENCE,
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
    execute_module,
    trust,
)
from in_process import Send, on_instance
from states import States
from storing import (
    APP,
    CLOSED_POLICY,
    UNTIL_DISARMED,
    assert_clean,
    blocked_at,
    calls_of,
    config_of,
    ready_to_store,
    refusal,
    restore,
    set_profile,
    store,
    succeeded,
    wait_for_calls,
    window_of,
    without_times,
)

DENIED = {"kind": Kind.DENY, "action": "PutParameter", "times": UNTIL_DISARMED}


@pytest.fixture
def fleet(states: States) -> Fleet:
    return states.begin(ready_to_store)


@pytest.fixture
def app(fleet: Fleet) -> str:
    """The instance, which has the profile of an application."""
    return set_profile(fleet, APP)


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Stores in the background of a test."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


def assert_restored(fleet: Fleet, profile: str | None, stored: Any = None) -> None:
    """Assert that the account is clean, and that the instance has this profile. :param stored: the configuration."""
    assert associated_profiles(fleet.aws) == {fleet.instances["admin1"]: profile}
    assert configurations(fleet.aws) == ({PARAMETER: stored} if stored else {})
    assert_clean(fleet.aws)


def swaps(fleet: Fleet) -> list[str]:
    """The profiles that were associated in place of others."""
    return [call.params["IamInstanceProfile.Name"] for call in calls_of(fleet.aws, REPLACE_ASSOCIATION)]


def storing_roles(fleet: Fleet) -> set[str]:
    return {call.principal.split("/")[1] for call in calls_of(fleet.aws, "PutParameter")}


def test_the_order_of_the_writes_and_their_prediction(fleet: Fleet, app: str) -> None:
    """Check mode and a second run write nothing."""
    with assert_no_writes(fleet.aws):
        planned = succeeded(store(fleet, check=True))
    since = fleet.aws.mark()
    done = succeeded(store(fleet))
    *acquired, restored, closed, untagged, forgotten = [call.action for call in fleet.aws.writes(since)]
    assert acquired == [
        *("TagRole", "CreateTags", REPLACE_ASSOCIATION, "PutRolePolicy", REPLACE_ASSOCIATION),
        "PutParameter",
    ]
    assert {restored, closed} == {REPLACE_ASSOCIATION, "PutRolePolicy"}  # these run in parallel
    assert [untagged, forgotten] == ["DeleteTags", "UntagRole"]
    for key in ("steps", "counts", "diff", "phases", "window", "configurations"):
        assert without_times(planned[key]) == without_times(done[key])
    named = {"name": PARAMETER, "region": fleet.aws.region}
    assert (done["window"]["instance_id"], done["window"]["parameters"]) == (app, [named])
    assert (planned["released"], done["released"]) == (False, True)
    assert_restored(fleet, APP, config_of("admin1"))
    with assert_no_writes(fleet.aws):
        assert not succeeded(store(fleet))["changed"]


@pytest.mark.parametrize(("before", "after"), [(None, None), (SERVER_ROLE, SERVER_ROLE), (ADMIN_ROLE, SERVER_ROLE)])
def test_an_instance_has_its_earlier_profile_afterwards(fleet: Fleet, before: str | None, after: str | None) -> None:
    """An instance that was left with the admin profile becomes a server."""
    disassociate(fleet.aws, fleet.instances["admin1"])
    if before:
        set_profile(fleet, before)
    assert succeeded(store(fleet))["changed"]
    assert_restored(fleet, after, config_of("admin1"))


def test_an_instance_whose_earlier_profile_is_gone_becomes_a_server(fleet: Fleet, app: str) -> None:
    """It is not waited for until it shows a profile that it does not get."""
    fleet.iam.remove_role_from_instance_profile(InstanceProfileName=APP, RoleName=APP)
    [warning, *_] = succeeded(store(fleet))["warnings"]
    assert f"instance profile '{APP}', which instance {app} had before, does not exist any more" in warning
    assert_restored(fleet, SERVER_ROLE, config_of("admin1"))


# Before anything is opened

SCHEMA = {"properties": {"agent": {"properties": {"metrics_collection_interval": {"maximum": 5}}}}}
"""A schema that refuses the configurations that the hosts store."""
NOT_VALID = "$.agent.metrics_collection_interval: 10 is not valid; allowed: at most 5"
INVALID = [
    ("{", "", "1:2 $: the '}' for line 1 column 1 is missing"),
    ({"agnet": {}}, "", "1:2 $.agnet: unknown section; did you mean 'agent'?"),
    ({"agent": {"x": "y" * 8192}}, "", "Parameter Store takes 8192"),
    (None, "schema.json", NOT_VALID),
]


@pytest.fixture
def schema(fleet: Fleet) -> str:
    """The path of the schema on the instance."""
    return str(fleet.controller.file("schema.json", SCHEMA))


@pytest.mark.parametrize(("config", "name", "words"), INVALID)
def test_an_invalid_configuration_is_refused_before_the_first_write(
    fleet: Fleet, schema: str, capsys: pytest.CaptureFixture[str], *, config: Any, name: str, words: str
) -> None:
    with assert_no_writes(fleet.aws):
        message = refusal(store(fleet, config=config, agent_schema_path=name and schema))
    assert message.startswith(f"{PARAMETER} is not valid: ")
    assert "/admin1.json: " in message
    assert words in message
    assert message.endswith(" Nothing was changed.")
    assert words in " ".join(capsys.readouterr().out.split()), "it is in the lines above the message, too"


@pytest.mark.parametrize(
    ("options", "is_shown"),
    [
        ({"validation": "warn"}, True),
        ({"validation": "off"}, False),
        ({"agent_schema_path": "/nonexistent/schema.json"}, False),
    ],
    ids=["warn", "off", "no schema"],
)
def test_a_configuration_is_stored_where_the_schema_does_not_refuse_it(
    fleet: Fleet, schema: str, capsys: pytest.CaptureFixture[str], *, options: dict[str, str], is_shown: bool
) -> None:
    succeeded(store(fleet, **{"agent_schema_path": schema, **options}))
    assert (NOT_VALID in capsys.readouterr().out) == is_shown
    assert_restored(fleet, SERVER_ROLE, config_of("admin1"))
    again = succeeded(store(fleet, agent_schema_path=schema))
    assert not again["changed"], "with nothing to store, the schema is not read"


def test_a_problem_that_does_not_stop_a_run_is_shown_once(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Although the configuration is validated once more, by the schema."""
    succeeded(store(fleet, agent_schema_path=str(fleet.controller.file("schema.json", {}))))
    assert capsys.readouterr().out.count("with the section 'agent' alone, the agent collects nothing") == 1


def test_an_instance_without_a_way_to_parameter_store_stores_nothing(fleet: Fleet) -> None:
    """The controller has a way, so the run checks it from the instance, before it opens anything."""
    there = on_instance(fleet.aws, fleet.instances["admin1"])
    isolated: Send = lambda module, given, check: there(module, {**given, "endpoint_url": NO_METADATA}, check)  # noqa: E731
    with assert_no_writes(fleet.aws):
        message = refusal(store(fleet, send=isolated))
    assert f"does not reach Parameter Store in {fleet.aws.region} (" in message
    assert "needs a VPC endpoint for ssm" in message


def test_a_stopped_instance_is_refused_before_the_first_write(fleet: Fleet, app: str) -> None:
    fleet.aws.client("ec2").stop_instances(InstanceIds=[app])
    with assert_no_writes(fleet.aws):
        message = refusal(store(fleet, send=on_instance(fleet.aws, app, lambda: False)))
    assert "does not reach admin1, which stores the configuration: " in message
    assert message.endswith("name another host or another way with cwagent_store_config_from.")
    assert_restored(fleet, APP)


@pytest.mark.parametrize(("state", "minutes"), [("stored", 0), ("opened", 721)])
def test_the_minutes_of_the_window_are_validated_before_the_first_write(fleet: Fleet, state: str, minutes: int) -> None:
    with assert_no_writes(fleet.aws):
        message = refusal(store(fleet, state=state, admin_window_minutes=minutes))
    assert f"must be between 1 and 720 minutes, not {minutes}" in message


# The admin identity

LOST = {"before the swap": ("GetParameter", "", []), "after the swap": (REPLACE_ASSOCIATION, ADMIN_ROLE, SWAPPED)}


@pytest.mark.parametrize(("action", "profile", "swapped"), LOST.values(), ids=LOST)
def test_an_instance_that_becomes_unreachable_is_restored(
    fleet: Fleet, action: str, profile: str, swapped: list[str]
) -> None:
    def is_reachable() -> bool:
        return not any(profile in json.dumps(call.params) for call in calls_of(fleet.aws, action))

    instance, since = fleet.instances["admin1"], fleet.aws.mark()
    message = refusal(store(fleet, send=on_instance(fleet.aws, instance, is_reachable)))
    assert swaps(fleet) == swapped
    if not swapped:
        assert "the host is unreachable" in message
        assert fleet.aws.writes(since) == []
    else:
        assert f"admin1 ({instance}) could not be reached" in message
        assert f"It has {SERVER_ROLE} again" in message
    assert_restored(fleet, SERVER_ROLE)


@pytest.mark.parametrize("state", ["stored", "opened"])
def test_an_instance_that_does_not_get_the_admin_identity_in_time_is_an_error(
    fleet: Fleet, app: str, state: str
) -> None:
    fleet.aws.metadata_lag(60)
    message = refusal(store(fleet, identity_timeout=1, state=state))
    waited = f"Waited 1 seconds for the instance metadata service to show instance profile '{ADMIN_ROLE}'"
    assert f"{waited}; it still shows" in message
    assert calls_of(fleet.aws, "PutParameter") == []
    assert_restored(fleet, APP)


@pytest.mark.parametrize(("profile", "credentials"), [(0, 3), (3, 0)], ids=["credentials late", "profile late"])
def test_profile_and_credentials_can_reach_the_instance_one_after_the_other(
    fleet: Fleet, app: str, profile: float, credentials: float
) -> None:
    """The first call is made with the credentials of the admin role, however late they are."""
    fleet.aws.metadata_lag(profile, credentials)
    succeeded(store(fleet))
    assert storing_roles(fleet) == {ADMIN_ROLE}
    assert_restored(fleet, APP, config_of("admin1"))


def test_credentials_are_read_again_after_a_denied_call(fleet: Fleet, app: str, background: ThreadPoolExecutor) -> None:
    """The metadata service has shown the role of the earlier profile to a task that needs the new one."""
    fleet.iam.delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
    options: dict[str, Any] = {"name": PARAMETER, "config": config_of("admin1"), "wait_timeout": PATIENCE}
    options |= {"use_instance_credentials": True, "known_values": {PARAMETER: {}}}
    environment = {**fleet.aws.env(app), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    running = background.submit(execute_module, fleet.aws, "cwagent_config_parameter", options, env=environment)
    wait_for_calls(fleet.aws, "PutParameter")
    ec2 = fleet.aws.client("ec2")
    found = ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
    [association] = [each for each in found if each["State"] == "associated"]
    ec2.replace_iam_instance_profile_association(
        AssociationId=association["AssociationId"], IamInstanceProfile={"Name": ADMIN_ROLE}
    )
    succeeded(running.result())
    assert storing_roles(fleet) == {APP, ADMIN_ROLE}
    assert configurations(fleet.aws) == {PARAMETER: config_of("admin1")}


ONCE_REFUSED = 9
"""A seed with which EC2 may not assume the new role at first, and may when its profile is associated again."""


def test_a_new_role_that_ec2_may_not_assume_yet_is_associated_again(fleet: Fleet) -> None:
    """EC2 would try it again only after minutes, as long as this association lasts."""
    key = create_user(fleet.aws, "controller", allow("*"))
    fleet.iam.remove_role_from_instance_profile(InstanceProfileName=ADMIN_ROLE, RoleName=ADMIN_ROLE)
    fleet.aws.be_unkind(Behaviour.UNAUTHORIZED_ROLES, seed=ONCE_REFUSED, seconds=600, chance=0.5)
    controller = {"AccessKeyId": key["AWS_ACCESS_KEY_ID"], "SecretAccessKey": key["AWS_SECRET_ACCESS_KEY"]}
    create_new_admin_role(fleet.aws.client("iam", credentials=controller))
    succeeded(store(fleet, credentials=key))
    # Its own profile, the admin profile twice, and its own profile.
    assert swaps(fleet) == [SERVER_ROLE, ADMIN_ROLE, ADMIN_ROLE, SERVER_ROLE]
    assert_restored(fleet, SERVER_ROLE, config_of("admin1"))


def create_new_admin_role(iam: Any) -> None:
    iam.detach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY)
    iam.delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
    iam.delete_role(RoleName=ADMIN_ROLE)
    iam.create_role(RoleName=ADMIN_ROLE, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    iam.attach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY)
    iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=json.dumps(CLOSED_POLICY))
    iam.add_role_to_instance_profile(InstanceProfileName=ADMIN_ROLE, RoleName=ADMIN_ROLE)


# The configuration, and what follows it


def test_a_permission_that_does_not_become_effective_is_an_error(fleet: Fleet, app: str) -> None:
    """The message contains the denied call, and the instance gets its earlier profile back."""
    message = refusal(store(fleet, "admin1", DENIED, permission_timeout=1))
    assert f"assumed-role/{ADMIN_ROLE}/{app} lacks ssm:PutParameter" in message
    assert swaps(fleet) == [APP, ADMIN_ROLE, APP]
    assert_restored(fleet, APP)


def test_the_window_is_closed_even_when_the_instance_cannot_be_read(fleet: Fleet) -> None:
    """The call fails after the acquisition, when the release needs to know whether the instance is running."""
    unread = {"kind": Kind.DENY, "action": "DescribeInstances", "times": UNTIL_DISARMED}
    assert "lacks ec2:DescribeInstances" in refusal(store(fleet, "admin1", unread))
    assert window_of(fleet.aws) == CLOSED_POLICY
    succeeded(restore(fleet))
    assert_clean(fleet.aws)


def test_an_instance_that_cannot_be_read_at_the_end_is_a_warning(fleet: Fleet, app: str) -> None:
    """Everything was restored, by the word of EC2."""
    there = on_instance(fleet.aws, app)

    def broken(module: str, given: dict[str, Any], check: bool) -> dict[str, Any]:
        has_stored = calls_of(fleet.aws, "PutParameter")
        return {"failed": True, "msg": "no JSON"} if has_stored else there(module, given, check)

    [warning] = succeeded(store(fleet, send=broken))["warnings"]
    assert f"admin1 ({app}) did not report whether it has its earlier identity again" in warning
    assert_restored(fleet, APP, config_of("admin1"))


def test_an_instance_that_keeps_the_admin_identity_fails(
    fleet: Fleet, app: str, background: ThreadPoolExecutor
) -> None:
    """Its window is closed, so the identity has no permission. The restore tag goes by the word of EC2."""
    with blocked_at(fleet.aws, "PutParameter", Kind.DENY):
        running = background.submit(store, fleet, identity_timeout=2)
        wait_for_calls(fleet.aws, "PutParameter")
        fleet.aws.metadata_lag(60)
    message = refusal(running.result())
    assert f"Waited 2 seconds for the instance metadata service to show instance profile '{APP}'" in message
    assert_restored(fleet, APP, config_of("admin1"))


def overwrite(fleet: Fleet) -> None:
    """Overwrite the configuration as another program would."""
    fleet.aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Overwrite=True)


def test_a_run_fails_if_something_else_overwrites_the_value(
    fleet: Fleet, app: str, background: ThreadPoolExecutor
) -> None:
    """The first read is the comparison. The instance reads again until it may."""
    said: list[str] = []
    with blocked_at(fleet.aws, "GetParameter", Kind.DENY, text=PARAMETER, nth=2):
        running = background.submit(store, fleet, tell=said.append)
        wait_for_calls(fleet.aws, "PutParameter")
        wait_for_calls(fleet.aws, "GetParameter", 2)
        overwrite(fleet)
    message = refusal(running.result())
    assert f"parameter '{PARAMETER}' has another value than the one that was just stored" in message
    assert "something else wrote version 2" in message
    assert "read what was stored as a server does" not in said
    assert_restored(fleet, APP, {"agent": {}})


def test_a_run_fails_if_the_instance_reads_another_value_as_a_server(
    fleet: Fleet, app: str, background: ThreadPoolExecutor
) -> None:
    """Between the last read of the admin role and the first read of the earlier one."""
    said: list[str] = []
    with blocked_at(fleet.aws, "DeleteTags", Kind.THROTTLE):
        running = background.submit(store, fleet, tell=said.append)
        wait_for_calls(fleet.aws, "DeleteTags")
        overwrite(fleet)
    message = refusal(running.result())
    assert f"{PARAMETER} was stored, but admin1 ({app}) reads another value." in message
    assert "read what was stored as a server does" in said
    assert_restored(fleet, APP, {"agent": {}})


def test_an_instance_that_may_not_read_as_a_server_is_a_warning(fleet: Fleet, app: str) -> None:
    """It contains the permission."""
    fleet.iam.detach_role_policy(RoleName=APP, PolicyArn=POLICY_ARN + SERVER_POLICY)
    [warning] = succeeded(store(fleet))["warnings"]
    assert f"the configuration was stored, but admin1 ({app}) cannot read it with" in warning
    assert f"assumed-role/{APP}/{app} lacks ssm:GetParameter" in warning
    assert_restored(fleet, APP, config_of("admin1"))
