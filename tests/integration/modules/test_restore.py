"""The clean-up after an interrupted run, in the account as any other program or person may have changed it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from emulator import Kind
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
    AFTER_DEADLINE,
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

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import DENIED_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile_plan import ASSOCIATION_STALE_CODES

WRITES = 10
"""As many as a run makes that stores one configuration."""


@pytest.fixture
def account(states: States) -> Storing:
    return states.begin(ready_to_store)


def left_open(states: States) -> Storing:
    """An account that an interrupted run has left open."""
    account = states.begin(ready_to_store)
    account.leave_open()
    return account


@pytest.fixture
def left(states: States) -> Storing:
    return states.begin(left_open)


@pytest.mark.parametrize("count", range(1, WRITES))
def test_a_run_that_can_write_no_more_leaves_what_expires_and_is_cleaned_up(account: Storing, count: int) -> None:
    """As after a kill: the permission ends at the deadline without any run, and a clean-up ends it earlier."""
    aws, instance, since = account.aws, account.instances["admin1"], account.aws.mark()
    lost = {"kind": Kind.DENY, "writes": True, "nth": count + 1, "times": UNTIL_DISARMED}
    message = refusal(account.store("admin1", lost, permission_timeout=1))
    assert len([call for call in aws.writes(since) if call.status == 200]) == count
    is_admin, is_open = account.profiles[instance] == ADMIN_ROLE, account.window != CLOSED_POLICY
    assert "run cwagent.iam.restore" in message or not (is_admin or is_open)
    session = aws.instance_credentials(instance)
    assert account.can_write(session) is (is_admin and is_open)
    aws.shift_clock(AFTER_DEADLINE)
    assert not account.can_write(session)
    aws.shift_clock(-AFTER_DEADLINE)
    assert account.can_write(session) is (is_admin and is_open)
    succeeded(account.restore())
    assert not account.can_write(session)
    account.assert_restored(SERVER_ROLE, account.stored.get(PARAMETER))


OTHER_DEADLINE = {"DateGreaterThan": {"aws:CurrentTime": "2099-01-01T00:00:00Z"}}


def test_an_open_window_with_another_policy_is_closed(left: Storing) -> None:
    statement = {"Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*", "Condition": OTHER_DEADLINE}
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Sid": WINDOW_POLICY, **statement}]})
    left.iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=document)
    session = left.aws.instance_credentials(left.instances["admin1"])
    assert left.can_write(session)
    succeeded(left.restore())
    assert not left.can_write(session)
    left.assert_clean()


def test_check_mode_predicts_the_repairs(left: Storing) -> None:
    with assert_no_writes(left.aws):
        planned = succeeded(left.restore(check=True))
    since = left.aws.mark()
    done = succeeded(left.restore())
    for key in ("steps", "counts", "diff"):
        assert without_times(planned[key]) == without_times(done[key])
    assert (planned["needs_restore"], "needs_restore" in done) == (True, False)
    assert sorted(left.writes(since)) == ["DeleteTags", "PutRolePolicy", REPLACE_ASSOCIATION, "UntagRole"]
    left.assert_restored(SERVER_ROLE)


def test_a_stopped_instance_is_restored_after_a_failure(left: Storing) -> None:
    """EC2 cannot replace an association there, so the admin profile is disassociated first."""
    aws, instance = left.aws, left.instances["admin1"]
    aws.client("ec2").stop_instances(InstanceIds=[instance])
    denied = {"kind": Kind.DENY, "action": "AssociateIamInstanceProfile"}
    message = refusal(left.restore(denied))
    assert f"associate instance profile '{SERVER_ROLE}' with instance {instance}" in message
    assert left.profiles[instance] is None
    since = aws.mark()
    succeeded(left.restore())
    assert left.writes(since) == ["AssociateIamInstanceProfile", "DeleteTags", "UntagRole"]
    left.assert_restored(SERVER_ROLE)


def test_a_clean_or_empty_account_is_not_changed(account: Storing) -> None:
    with assert_no_writes(account.aws):
        assert not succeeded(account.restore())["changed"]
        account.aws.reset()
        assert not succeeded(account.restore(instances={}))["changed"]


@pytest.mark.parametrize("region", ["eu-central-1", "us-east-1", ""])
def test_instances_outside_the_inventory_are_restored(left: Storing, region: str) -> None:
    """The inventory has another instance of a region, or has lost all its instances since.

    Without instances, the window of the role is closed because of the restore record.
    """
    listed = {region: left.aws.instances(1, region=region)} if region else {}
    with assert_no_writes(left.aws):
        planned = succeeded(left.restore(instances=listed, close_role_window=bool(region), check=True))
    done = succeeded(left.restore(instances=listed, close_role_window=bool(region)))
    assert without_times(planned["steps"]) == without_times(done["steps"])
    left.assert_restored(SERVER_ROLE)


def test_the_window_is_closed_although_tags_cannot_be_read(left: Storing) -> None:
    env = create_user(left.aws, "restricted", allow(NotAction="ec2:DescribeTags"))
    assert "lacks ec2:DescribeTags" in refusal(left.restore(credentials=env))
    assert left.window == CLOSED_POLICY


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_a_release_that_meets_another_association_knows_the_record_still(account: Storing, listed: bool) -> None:
    """As where the run that is being cleaned up associates the admin profile once more."""
    instance = account.set_profile(ADMIN_ROLE)
    leave_restore_tag(account.aws, instance, APP)
    fault = {"kind": Kind.ERROR, "action": REPLACE_ASSOCIATION, "code": min(ASSOCIATION_STALE_CODES)}
    succeeded(account.restore(fault, instances={account.aws.region: [instance] if listed else []}))
    account.assert_restored(APP)


# Tags and associations that no run has made

POWER = "Power"
CONTROLLER = "controller"


@pytest.fixture
def user(account: Storing) -> dict[str, str]:
    """The key of a user who has the example policies only. Another instance has no profile, and a role all power."""
    account.add_instance("outside")
    create_role(account.aws, POWER, "AdministratorAccess")
    user = create_user(account.aws, CONTROLLER)
    for duty in ("provision", "store-configuration"):
        document = (CHECKOUT / "examples" / "policies" / f"{duty}.json").read_text()
        account.iam.put_user_policy(UserName=CONTROLLER, PolicyName=duty, PolicyDocument=document)
    return user


def tagger(account: Storing, service: str, action: str) -> Any:
    """The client of somebody who may tag something, and nothing else."""
    keys = create_user(account.aws, "tagger", allow(action))
    credentials = {"AccessKeyId": keys["AWS_ACCESS_KEY_ID"], "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"]}
    return account.aws.client(service, credentials=credentials)


def restore_as(account: Storing, user: dict[str, str], *hosts: str, **options: Any) -> Result:
    """Clean up with an inventory of these hosts."""
    instances = {account.aws.region: [account.instances[host] for host in hosts]}
    return account.restore(instances=instances, credentials=user, **options)


def test_a_planted_tag_blocks_nothing_and_gains_nothing(account: Storing, user: dict[str, str]) -> None:
    """No call that the example policies do not allow is made because of it.

    It gains nothing even on the instance that is acquired: a run overwrites the tag, and then removes its own.
    """
    aws, outside = account.aws, account.instances["outside"]
    tag = {"Key": RESTORE_TAG, "Value": POWER}
    tagger(account, "ec2", "ec2:CreateTags").create_tags(Resources=[*account.instances.values()], Tags=[tag])
    with assert_no_writes(aws):
        cleaned = succeeded(restore_as(account, user, "admin1", check_instances=True, report_unlisted=True))
        planned = succeeded(account.store(credentials=user, check=True))
    done = succeeded(account.store(credentials=user))
    assert without_times(planned["steps"]) == without_times(done["steps"])
    warning = f"instance {outside} has a tag {RESTORE_TAG} that no run of this collection has written"
    for each in (cleaned, planned, done):
        assert [warning in text for text in each["warnings"] if outside in text] == [True]
    assert [call for call in aws.calls() if call.error in DENIED_CODES] == []
    assert account.swaps == SWAPPED
    assert account.profiles == {account.instances["admin1"]: SERVER_ROLE, outside: None}
    assert account.stored == {PARAMETER: config_of("admin1")}
    [left] = aws.client("ec2").describe_tags()["Tags"]
    assert (left["ResourceId"], left["Value"]) == (outside, POWER)
    assert restore_records(aws) == {}


def test_who_can_tag_the_admin_role_can_choose_no_other_role(account: Storing, user: dict[str, str]) -> None:
    """The example policies associate only the profiles of the agent, so the run fails and reports the profile."""
    outside = account.instances["outside"]
    record = {"Key": f"{RESTORE_TAG}:{account.aws.region}:{outside}", "Value": POWER}
    tagger(account, "iam", "iam:TagRole").tag_role(RoleName=ADMIN_ROLE, Tags=[record])
    message = refusal(restore_as(account, user, "admin1"))
    assert f"Could not associate instance profile '{POWER}' with instance {outside}" in message
    assert f"user/{CONTROLLER} lacks ec2:AssociateIamInstanceProfile" in message
    assert account.profiles[outside] is None
