"""The clean-up after an interrupted run, in the account as any other program or person may have changed it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from emulator import Kind
from emulator.snapshot import associated_profiles, configurations, snapshot
from fleet import Fleet
from harness import (
    ADMIN_ROLE,
    CHECKOUT,
    PARAMETER,
    REPLACE_ASSOCIATION,
    RESTORE_TAG,
    SERVER_ROLE,
    SWAPPED,
    WINDOW_POLICY,
    allow,
    assert_no_writes,
    create_role,
    create_user,
    leave_restore_tag,
    restore_records,
)
from states import States
from storing import (
    APP,
    CLOSED_POLICY,
    UNTIL_DISARMED,
    assert_clean,
    calls_of,
    can_write,
    config_of,
    leave_open,
    ready_to_store,
    refusal,
    restore,
    set_profile,
    store,
    succeeded,
    window_of,
    without_times,
)

from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ASSOCIATION_STALE_CODES

AFTER_DEADLINE = 16 * 60
"""A window is open for 15 minutes by default."""
WRITES = 10
"""As many as a run makes that stores one configuration."""


@pytest.fixture
def fleet(states: States) -> Fleet:
    return states.begin(ready_to_store)


def left_open(states: States) -> Fleet:
    """An account that an interrupted run has left open."""
    fleet = states.begin(ready_to_store)
    leave_open(fleet)
    return fleet


@pytest.fixture
def left(states: States) -> Fleet:
    return states.begin(left_open)


@pytest.mark.parametrize("count", range(1, WRITES))
def test_a_run_that_can_write_no_more_leaves_what_expires_and_is_cleaned_up(fleet: Fleet, count: int) -> None:
    """As after a kill: the permission ends at the deadline without any run, and a clean-up ends it earlier."""
    aws, instance, since = fleet.aws, fleet.instances["admin1"], fleet.aws.mark()
    lost = {"kind": Kind.DENY, "writes": True, "nth": count + 1, "times": UNTIL_DISARMED}
    message = refusal(store(fleet, "admin1", lost, permission_timeout=1))
    assert len([call for call in aws.writes(since) if call.status == 200]) == count
    is_admin, is_open = associated_profiles(aws)[instance] == ADMIN_ROLE, window_of(aws) != CLOSED_POLICY
    assert "run cwagent.iam.restore" in message or not (is_admin or is_open)
    session = aws.instance_credentials(instance)
    assert can_write(aws, session) is (is_admin and is_open)
    aws.shift_clock(AFTER_DEADLINE)
    assert not can_write(aws, session)
    aws.shift_clock(-AFTER_DEADLINE)
    assert can_write(aws, session) is (is_admin and is_open)
    succeeded(restore(fleet))
    assert not can_write(aws, session)
    assert associated_profiles(aws)[instance] == SERVER_ROLE
    assert_clean(aws)


OTHER_DEADLINE = {"Condition": {"DateGreaterThan": {"aws:CurrentTime": "2099-01-01T00:00:00Z"}}}
UNRECOGNISED = {
    "another deadline": {"Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*", **OTHER_DEADLINE},
    "another action": {"Effect": "Deny", "Action": "ssm:DeleteParameter", "Resource": "*"},
}


@pytest.mark.parametrize("statement", UNRECOGNISED.values(), ids=UNRECOGNISED)
def test_an_open_window_with_another_policy_is_closed(left: Fleet, statement: dict[str, Any]) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Sid": WINDOW_POLICY, **statement}]})
    left.iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=document)
    session = left.aws.instance_credentials(left.instances["admin1"])
    assert can_write(left.aws, session)
    succeeded(restore(left))
    assert not can_write(left.aws, session)
    assert_clean(left.aws)


def test_check_mode_predicts_the_repairs(left: Fleet) -> None:
    with assert_no_writes(left.aws):
        planned = succeeded(restore(left, check=True))
    since = left.aws.mark()
    done = succeeded(restore(left))
    for key in ("steps", "counts", "diff", "closed"):
        assert without_times(planned[key]) == without_times(done[key])
    writes = ["DeleteTags", "PutRolePolicy", REPLACE_ASSOCIATION, "UntagRole"]
    assert sorted(call.action for call in left.aws.writes(since)) == writes
    assert associated_profiles(left.aws) == {left.instances["admin1"]: SERVER_ROLE}
    assert_clean(left.aws)


def test_a_stopped_instance_is_restored_after_a_failure(left: Fleet) -> None:
    """EC2 cannot replace an association there, so the admin profile is disassociated first."""
    aws, instance = left.aws, left.instances["admin1"]
    aws.client("ec2").stop_instances(InstanceIds=[instance])
    denied = {"kind": Kind.DENY, "action": "AssociateIamInstanceProfile"}
    message = refusal(restore(left, denied))
    assert f"associate instance profile '{SERVER_ROLE}' with instance {instance}" in message
    assert associated_profiles(aws)[instance] is None
    since = aws.mark()
    succeeded(restore(left))
    assert [call.action for call in aws.writes(since)] == ["AssociateIamInstanceProfile", "DeleteTags", "UntagRole"]
    assert associated_profiles(aws)[instance] == SERVER_ROLE
    assert_clean(aws)


def test_a_clean_or_empty_account_is_not_changed(fleet: Fleet) -> None:
    with assert_no_writes(fleet.aws):
        assert not succeeded(restore(fleet))["changed"]
        fleet.aws.reset()
        assert not succeeded(restore(fleet, instances={}))["changed"]


@pytest.mark.parametrize("region", ["eu-central-1", "us-east-1", ""])
def test_instances_outside_the_inventory_are_restored(left: Fleet, region: str) -> None:
    """The inventory has another instance of a region, or has lost all its instances since.

    Without instances, the window of the role is closed because of the restore record.
    """
    listed = {region: left.aws.instances(1, region=region)} if region else {}
    with assert_no_writes(left.aws):
        planned = succeeded(restore(left, instances=listed, close_role_window=bool(region), check=True))
    done = succeeded(restore(left, instances=listed, close_role_window=bool(region)))
    assert without_times(planned["steps"]) == without_times(done["steps"])
    assert associated_profiles(left.aws)[left.instances["admin1"]] == SERVER_ROLE
    assert_clean(left.aws)


def test_a_window_that_is_removed_is_not_closed_again(left: Fleet) -> None:
    """The instance is in a region without a host, for which the window would be closed if it were still open."""
    elsewhere = {"us-east-1": left.aws.instances(1, region="us-east-1")}
    succeeded(restore(left, instances=elsewhere, window_state="absent"))
    assert left.iam.list_role_policies(RoleName=ADMIN_ROLE)["PolicyNames"] == []
    assert associated_profiles(left.aws)[left.instances["admin1"]] == SERVER_ROLE


def test_the_window_is_closed_although_tags_cannot_be_read(left: Fleet) -> None:
    env = create_user(left.aws, "restricted", allow(NotAction="ec2:DescribeTags"))
    assert "lacks ec2:DescribeTags" in refusal(restore(left, credentials=env))
    assert window_of(left.aws) == CLOSED_POLICY


@pytest.mark.parametrize("code", sorted(ASSOCIATION_STALE_CODES))
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_a_release_that_meets_another_association_knows_the_record_still(fleet: Fleet, code: str, listed: bool) -> None:
    """As where the run that is being cleaned up associates the admin profile once more."""
    instance = set_profile(fleet, ADMIN_ROLE)
    leave_restore_tag(fleet.aws, instance, APP)
    fault = {"kind": Kind.ERROR, "action": REPLACE_ASSOCIATION, "code": code}
    succeeded(restore(fleet, fault, instances={fleet.aws.region: [instance] if listed else []}))
    assert associated_profiles(fleet.aws) == {instance: APP}
    assert_clean(fleet.aws)


# Tags and associations that no run has made

POWER = "Power"
CONTROLLER = "controller"


@pytest.fixture
def user(fleet: Fleet) -> dict[str, str]:
    """The key of a user who has the example policies only. Another instance has no profile, and a role all power."""
    fleet.add_instance("outside")
    create_role(fleet.aws, POWER, "AdministratorAccess")
    user = create_user(fleet.aws, CONTROLLER)
    for duty in ("provision", "store-configuration"):
        document = (CHECKOUT / "examples" / "policies" / f"{duty}.json").read_text()
        fleet.iam.put_user_policy(UserName=CONTROLLER, PolicyName=duty, PolicyDocument=document)
    return user


def tagger(fleet: Fleet, service: str, action: str) -> Any:
    """The client of somebody who may tag something, and nothing else."""
    keys = create_user(fleet.aws, "tagger", allow(action))
    credentials = {"AccessKeyId": keys["AWS_ACCESS_KEY_ID"], "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"]}
    return fleet.aws.client(service, credentials=credentials)


def restore_as(fleet: Fleet, user: dict[str, str], *hosts: str, **options: Any) -> dict[str, Any]:
    """Clean up with an inventory of these hosts."""
    instances = {fleet.aws.region: [fleet.instances[host] for host in hosts]}
    return restore(fleet, instances=instances, credentials=user, **options)


def test_a_planted_tag_blocks_nothing_and_gains_nothing(fleet: Fleet, user: dict[str, str]) -> None:
    """No call that the example policies do not allow is made because of it.

    It gains nothing even on the instance that is acquired: a run overwrites the tag, and then removes its own.
    """
    aws, outside = fleet.aws, fleet.instances["outside"]
    tag = {"Key": RESTORE_TAG, "Value": POWER}
    tagger(fleet, "ec2", "ec2:CreateTags").create_tags(Resources=[*fleet.instances.values()], Tags=[tag])
    with assert_no_writes(aws):
        cleaned = succeeded(restore_as(fleet, user, "admin1", check_instances=True, report_unlisted=True))
        planned = succeeded(store(fleet, credentials=user, check=True))
    done = succeeded(store(fleet, credentials=user))
    assert without_times(planned["steps"]) == without_times(done["steps"])
    warning = f"instance {outside} has a tag {RESTORE_TAG} that no run of this collection has written"
    for each in (cleaned, planned, done):
        assert [warning in text for text in each["warnings"] if outside in text] == [True]
    assert [call for call in aws.calls() if call.error in DENIED_CODES] == []
    assert [call.params["IamInstanceProfile.Name"] for call in calls_of(aws, REPLACE_ASSOCIATION)] == SWAPPED
    assert associated_profiles(aws) == {fleet.instances["admin1"]: SERVER_ROLE, outside: None}
    assert configurations(aws) == {PARAMETER: config_of("admin1")}
    assert [(each["ResourceId"], each["Value"]) for each in aws.client("ec2").describe_tags()["Tags"]] == [
        (outside, POWER)
    ]
    assert restore_records(aws) == {}


def test_who_can_tag_the_admin_role_can_choose_no_other_role(fleet: Fleet, user: dict[str, str]) -> None:
    """The example policies associate only the profiles of the agent, so the run fails and reports the profile."""
    outside = fleet.instances["outside"]
    record = {"Key": f"{RESTORE_TAG}:{fleet.aws.region}:{outside}", "Value": POWER}
    tagger(fleet, "iam", "iam:TagRole").tag_role(RoleName=ADMIN_ROLE, Tags=[record])
    message = refusal(restore_as(fleet, user, "admin1"))
    assert f"Could not associate instance profile '{POWER}' with instance {outside}" in message
    assert f"user/{CONTROLLER} lacks ec2:AssociateIamInstanceProfile" in message
    assert associated_profiles(fleet.aws)[outside] is None


def test_an_admin_profile_that_a_person_associated_is_left(fleet: Fleet, user: dict[str, str]) -> None:
    """Nothing is stored while the instance has it. Adding the instance to the inventory makes it a server."""
    outside = set_profile(fleet, ADMIN_ROLE, "outside")
    with assert_no_writes(fleet.aws):
        restored = succeeded(restore_as(fleet, user, "admin1"))
        message = refusal(store(fleet, credentials=user))
    holder = f"instance {outside} has instance profile '{ADMIN_ROLE}', which no run of this collection has associated"
    assert [holder in each for each in restored["warnings"]] == [True]
    assert holder in message
    assert associated_profiles(fleet.aws)[outside] == ADMIN_ROLE
    succeeded(restore_as(fleet, user, "admin1", "outside"))
    assert associated_profiles(fleet.aws)[outside] == SERVER_ROLE
    assert snapshot(fleet.aws)["instance_tags"] == {fleet.aws.region: {each: {} for each in fleet.instances.values()}}
