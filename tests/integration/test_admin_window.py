"""The admin window closes by itself, whatever happens to the controller; restore.yml and open_window.yml."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator import Emulator, Fault, Kind
from emulator.snapshot import associated_profiles, snapshot
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    CLOSED_WINDOW,
    PARAMETER,
    REPLACE_ASSOCIATION,
    SERVER_POLICY,
    SERVER_ROLE,
    TIMEOUTS,
    WINDOW_POLICY,
    Controller,
    Play,
    allow,
    assert_no_writes,
    create_role,
    create_user,
    leave_restore_tag,
    restore_records,
)
from in_process import run_module

CONFIG = {"agent": {"metrics_collection_interval": 60}}
MINUTE = 60
AFTER_DEADLINE = 16 * MINUTE
"""A window is open for 15 minutes by default."""


@dataclass(frozen=True)
class Site:
    """An account with both roles, and an instance that is a server and may become the admin instance."""

    controller: Controller
    instance: str

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    @property
    def inventory(self) -> Path:
        return self.controller.inventory({"ec2_admin": {"admin1": self.controller.instance_host(self.instance)}})

    @property
    def settings(self) -> dict[str, Any]:
        config, keys = self.controller.file("agent.json", CONFIG), self.controller.credentials
        return {**TIMEOUTS, "cwagent_config_file": str(config), "cwagent_key_store_directory": str(keys)}

    def play(self, playbook: str, *arguments: str, **more: Any) -> Play:
        return self.controller.play(self.inventory, playbook, *arguments, **{**self.settings, **more})

    def admin_instance(self, state: str, **more: Any) -> None:
        names: dict[str, Any] = {"admin_profile": ADMIN_ROLE, "server_profile": SERVER_ROLE}
        ids = [self.instance]
        assert not run_module(self.aws, "cwagent_admin_instance", state=state, instance_ids=ids, **names, **more)[
            "failed"
        ]

    def window(self, state: str, **more: Any) -> dict[str, Any]:
        bound = {"instance_id": self.instance, **more}
        result = run_module(self.aws, "cwagent_admin_window", role=ADMIN_ROLE, state=state, **bound)
        assert not result["failed"], result
        return dict(result["window"])

    def interrupt(self) -> None:
        """Leave the same as an interrupted run: a restore tag, an open window, and the associated admin profile."""
        self.admin_instance("acquired", admin_role=ADMIN_ROLE)

    def statements(self) -> list[dict[str, Any]]:
        """The statements of the window's policy."""
        found = self.aws.client("iam").get_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
        return list(found["PolicyDocument"]["Statement"])

    def statement(self) -> dict[str, Any]:
        """The single statement of a closed window's policy."""
        [statement] = self.statements()
        return statement

    def assert_clean(self) -> None:
        """Assert that the instance is a server, the window is closed and no restore tag is left."""
        assert associated_profiles(self.aws)[self.instance] == SERVER_ROLE
        assert self.statement() == CLOSED_WINDOW
        assert snapshot(self.aws)["instance_tags"] == {self.aws.region: {self.instance: {}}}
        assert restore_records(self.aws) == {}


@pytest.fixture
def site(controller: Controller) -> Site:
    aws = controller.aws
    [instance] = aws.instances(1)
    for role, policy in ((SERVER_ROLE, SERVER_POLICY), (ADMIN_ROLE, ADMIN_POLICY)):
        create_role(aws, role, policy)
    closed_policy = json.dumps({"Version": "2012-10-17", "Statement": [CLOSED_WINDOW]})
    aws.client("iam").put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=closed_policy)
    aws.client("ec2").associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": SERVER_ROLE})
    return Site(controller, instance)


def can_write(aws: Emulator, credentials: dict[str, str], name: str = PARAMETER) -> bool:
    """Whether these credentials may store a configuration."""
    ssm = aws.client("ssm", credentials=credentials)
    try:
        ssm.put_parameter(Name=name, Value="{}", Type="String", Overwrite=True)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False
    return True


def test_credentials_of_an_earlier_session_can_write_only_while_the_window_is_open(site: Site) -> None:
    site.interrupt()
    session = site.aws.instance_credentials(site.instance)
    assert can_write(site.aws, session)
    site.admin_instance("released")
    assert can_write(site.aws, session), "the swap alone does not affect an existing session"
    site.window("closed")
    assert not can_write(site.aws, session)
    site.assert_clean()


def test_an_open_window_is_extended_but_never_shortened(site: Site) -> None:
    first = site.window("open", window_minutes=30)
    with assert_no_writes(site.aws):
        assert site.window("open", window_minutes=15) == first
        assert site.window("open", window_minutes=30) == first
    longer = site.window("open", window_minutes=60)
    assert longer["deadline"] > first["deadline"]
    site.admin_instance("acquired")
    session = site.aws.instance_credentials(site.instance)
    site.aws.shift_clock(59 * MINUTE)
    assert can_write(site.aws, session)
    site.aws.shift_clock(2 * MINUTE)
    assert not can_write(site.aws, session)


def test_an_open_window_is_for_one_instance_and_the_named_parameters(site: Site) -> None:
    """Other instances, other parameters and other changes stay denied, and the named ones are after the deadline."""
    [other] = site.aws.instances(1)
    site.aws.client("ssm").put_parameter(Name=PARAMETER, Value="{}", Type="String")
    site.admin_instance("acquired")
    site.aws.client("ec2").associate_iam_instance_profile(InstanceId=other, IamInstanceProfile={"Name": ADMIN_ROLE})
    session, elsewhere = (site.aws.instance_credentials(each) for each in (site.instance, other))
    named = {"name": PARAMETER, "region": site.aws.region}
    assert not can_write(site.aws, session)
    opened = site.window("open", parameters=[named])
    assert (opened["instance_id"], opened["parameters"]) == (site.instance, [named])
    assert can_write(site.aws, session)
    assert not can_write(site.aws, session, "AmazonCloudWatch-mine")
    assert not can_write(site.aws, elsewhere)
    ssm = site.aws.client("ssm", credentials=session)
    with pytest.raises(ClientError, match="AccessDenied"):
        ssm.delete_parameter(Name=PARAMETER)
    refused = run_module(
        site.aws, "cwagent_admin_window", role=ADMIN_ROLE, state="open", instance_id=other, fail_if_open=True
    )
    assert f"for instance {site.instance} and parameter '{PARAMETER}' in {site.aws.region}" in refused["msg"]
    site.aws.shift_clock(AFTER_DEADLINE)
    assert not can_write(site.aws, session)
    site.aws.shift_clock(-AFTER_DEADLINE)
    site.window("open", instance_id=other)
    assert not can_write(site.aws, session), "a window of another instance is replaced"
    assert can_write(site.aws, elsewhere)


def test_the_agent_works_while_the_window_is_closed(site: Site) -> None:
    """All calls of the agent succeed; only storing the configuration is denied."""
    site.aws.client("ssm").put_parameter(Name=PARAMETER, Value="{}", Type="String")
    site.admin_instance("acquired")
    assert site.window("closed")["state"] == "closed"
    session = site.aws.instance_credentials(site.instance)
    logs, metrics, ssm = (site.aws.client(service, credentials=session) for service in ("logs", "cloudwatch", "ssm"))
    metrics.put_metric_data(Namespace="CWAgent", MetricData=[{"MetricName": "mem_used_percent", "Value": 1.0}])
    logs.create_log_group(logGroupName="messages")
    logs.create_log_stream(logGroupName="messages", logStreamName="i")
    event = {"timestamp": int(time.time() * 1000), "message": "hello"}
    logs.put_log_events(logGroupName="messages", logStreamName="i", logEvents=[event])
    assert ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"] == "{}"
    assert not can_write(site.aws, session)
    with pytest.raises(ClientError, match="AccessDenied"):
        ssm.get_parameter(Name="another")


KILLS = {
    "after the record": (Fault(Kind.KILL_AFTER, action="TagRole"), False),
    "after the restore tag": (Fault(Kind.KILL_AFTER, action="CreateTags"), False),
    "after the trial": (Fault(Kind.KILL_AFTER, action=REPLACE_ASSOCIATION), False),
    "after opening the window": (Fault(Kind.KILL_AFTER, action="PutRolePolicy"), False),
    "after the swap": (Fault(Kind.KILL_AFTER, action=REPLACE_ASSOCIATION, nth=2), True),
    "before storing": (Fault(Kind.KILL_BEFORE, action="PutParameter"), True),
    "after swapping back": (Fault(Kind.KILL_AFTER, action=REPLACE_ASSOCIATION, nth=3), False),
    "before removing the tag": (Fault(Kind.KILL_BEFORE, action="DeleteTags"), False),
    "before removing the record": (Fault(Kind.KILL_BEFORE, action="UntagRole"), False),
}
"""Where the controller is killed, and whether the instance then has the admin profile."""


@pytest.mark.parametrize(("fault", "has_admin_profile"), KILLS.values(), ids=KILLS.keys())
def test_the_window_of_a_killed_run_closes(site: Site, fault: Fault, has_admin_profile: bool) -> None:
    """The permission ends at the deadline without any run. restore.yml ends it earlier and cleans up the rest."""
    site.controller.kill(fault, site.inventory, "store_config", **site.settings)
    assert associated_profiles(site.aws)[site.instance] == (ADMIN_ROLE if has_admin_profile else SERVER_ROLE)
    session = site.aws.instance_credentials(site.instance)
    assert can_write(site.aws, session) is has_admin_profile
    site.aws.shift_clock(AFTER_DEADLINE)
    assert not can_write(site.aws, session)
    site.aws.shift_clock(-AFTER_DEADLINE)
    assert can_write(site.aws, session) is has_admin_profile

    site.play("restore").assert_succeeded()
    assert not can_write(site.aws, session)
    site.assert_clean()


UNRECOGNISED = {
    "another deadline": {
        "Effect": "Deny",
        "Action": "ssm:PutParameter",
        "Resource": "*",
        "Condition": {"DateGreaterThan": {"aws:CurrentTime": "2099-01-01T00:00:00Z"}},
    },
    "another action": {"Effect": "Deny", "Action": "ssm:DeleteParameter", "Resource": "*"},
}


@pytest.mark.parametrize("statement", UNRECOGNISED.values(), ids=UNRECOGNISED)
def test_restore_closes_an_open_window_whose_policy_is_another_one(site: Site, statement: dict[str, Any]) -> None:
    site.interrupt()
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Sid": WINDOW_POLICY, **statement}]})
    site.aws.client("iam").put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=document)
    session = site.aws.instance_credentials(site.instance)
    assert can_write(site.aws, session)
    site.play("restore").assert_succeeded()
    assert not can_write(site.aws, session)
    site.assert_clean()


def test_restore_in_check_mode_predicts_its_repairs(site: Site) -> None:
    site.interrupt()
    with assert_no_writes(site.aws):
        predicted = site.play("restore", "--check").assert_succeeded()
    done = site.play("restore").assert_succeeded()
    assert [each.of_items("steps") for each in predicted.results] == [each.of_items("steps") for each in done.results]
    assert done.changed_tasks == predicted.changed_tasks
    assert sorted(done.writes) == ["DeleteTags", "PutRolePolicy", REPLACE_ASSOCIATION, "UntagRole"]
    site.assert_clean()


def test_restore_completes_on_a_stopped_instance_after_a_failed_restore(site: Site) -> None:
    """EC2 cannot replace an association there, so the admin profile is disassociated first."""
    site.interrupt()
    site.aws.client("ec2").stop_instances(InstanceIds=[site.instance])
    site.aws.arm(Fault(Kind.DENY, action="AssociateIamInstanceProfile"))
    failed = site.play("restore").assert_failed()
    site.aws.disarm()
    assert f"associate instance profile '{SERVER_ROLE}' with instance {site.instance}" in failed.message
    assert associated_profiles(site.aws)[site.instance] is None
    done = site.play("restore").assert_succeeded()
    assert done.writes == ["AssociateIamInstanceProfile", "DeleteTags", "UntagRole"]
    site.assert_clean()


def test_restore_closes_the_window_when_cwagent_admin_window_is_invalid(site: Site) -> None:
    site.interrupt()
    restored = site.play("restore", cwagent_admin_window="ture").assert_failed()
    assert "cwagent_admin_window must be true or false, not 'ture'" in restored.message
    site.assert_clean()


@pytest.mark.parametrize("where", ["inventory", "command line"])
def test_playbooks_open_and_close_the_window_of_the_same_role(site: Site, where: str) -> None:
    """They refuse another role in store_config_admin_role, because restore.yml could not close its window."""
    create_role(site.aws, "Other", ADMIN_POLICY)
    other: dict[str, Any] = {"store_config_admin_role": "Other"}
    own, given = (other, {}) if where == "inventory" else ({}, other)
    hosts = {"admin1": {**site.controller.instance_host(site.instance), **own}}
    inventory = site.controller.inventory({"ec2_admin": hosts}, "other.yml")
    refused = site.controller.play(inventory, "open_window", **site.settings, **given).assert_failed()
    assert (
        "store_config_admin_role is a variable of a role that the playbooks set. Set cwagent_admin_role_name"
        in refused.message
    )
    assert refused.writes == []


@pytest.mark.parametrize("playbook", ["restore", "open_window", "site", "store_config", "rotate_keys"])
def test_an_inventory_without_hosts_is_an_error(site: Site, playbook: str) -> None:
    no_hosts = site.controller.file("no_hosts.ini", "")
    with assert_no_writes(site.aws):
        refused = site.controller.play(no_hosts, playbook, **site.settings).assert_failed()
    assert "The inventory has no hosts" in refused.message


def test_open_window_needs_an_admin_instance(site: Site) -> None:
    inventory = site.controller.inventory({"onprem_servers": {"db1": {}}}, "other.yml")
    refused = site.controller.play(
        inventory, "open_window", cwagent_key_store_directory=str(site.controller.credentials)
    ).assert_failed()
    assert "The group cwagent_ec2_admin must have exactly one host" in refused.message


def test_without_ec2_hosts_site_does_not_read_roles_or_instances(site: Site) -> None:
    """A controller with on-premises servers only needs no permissions for them."""
    inventory = site.controller.inventory({"onprem_servers": {"db1": {}}}, "other.yml")
    play = site.controller.play(
        inventory, "site", cwagent_key_store_directory=str(site.controller.credentials)
    ).assert_succeeded()
    assert not [call for call in play.calls if "Role" in call.action or call.service == "ec2"]


def test_site_works_with_the_strategy_free(site: Site) -> None:
    settings = {**site.settings, "cwagent_config_file": ""}
    site.controller.play(site.inventory, "site", env={"ANSIBLE_STRATEGY": "free"}, **settings).assert_succeeded()


def test_restore_changes_nothing_on_a_clean_account(site: Site) -> None:
    """An empty account, before the first run, stays empty."""
    before = snapshot(site.aws)
    again = site.play("restore").assert_succeeded()
    assert (again.changed_tasks, again.writes, again.report) == ([], [], ["Nothing to do."])
    assert snapshot(site.aws) == before
    site.aws.reset()
    empty = site.play("restore").assert_succeeded()
    assert (empty.changed_tasks, empty.writes) == ([], [])


def test_restore_repairs_an_instance_outside_the_inventory(site: Site) -> None:
    """The interrupted run may have used another inventory."""
    site.interrupt()
    [other] = site.aws.instances(1)
    inventory = site.controller.inventory({"ec2_admin": {"admin2": site.controller.instance_host(other)}}, "other.yml")
    site.controller.play(inventory, "restore").assert_succeeded()
    assert associated_profiles(site.aws) == {site.instance: SERVER_ROLE, other: None}
    assert site.statement() == CLOSED_WINDOW


ON_PREMISES: dict[str, dict[str, dict[str, Any]]] = {"onprem_servers": {"db1": {}}}
"""The inventory has lost all its instances since."""


def test_restore_repairs_instances_of_regions_without_a_host(site: Site) -> None:
    site.interrupt()
    inventory = site.controller.inventory(ON_PREMISES, "other.yml")
    before = snapshot(site.aws)
    predicted = site.controller.play(inventory, "restore", "--check").assert_succeeded()
    assert snapshot(site.aws) == before
    done = site.controller.play(inventory, "restore").assert_succeeded()
    site.assert_clean()
    assert predicted.changed_tasks == done.changed_tasks
    assert [line.replace("would be ", "") for line in predicted.report if line[0] != "C"] == done.report
    assert site.controller.play(inventory, "restore").assert_succeeded().report == ["Nothing to do."]


def test_site_repairs_instances_of_regions_without_a_host(site: Site) -> None:
    site.interrupt()
    [other] = site.aws.instances(1, region="us-east-1")
    host = {"instance_id": other, "cwagent_region": "us-east-1"}
    inventory = site.controller.inventory({"ec2_admin": {"admin2": host}}, "other.yml")
    site.controller.play(inventory, "site").assert_succeeded()
    assert associated_profiles(site.aws)[site.instance] == SERVER_ROLE
    assert (site.statement(), restore_records(site.aws)) == (CLOSED_WINDOW, {})


def test_a_server_that_is_removed_after_an_interrupted_run_keeps_nothing(site: Site) -> None:
    site.interrupt()
    inventory = site.controller.inventory(ON_PREMISES, "other.yml")
    named: dict[str, Any] = {
        "cwagent_remove_servers": [f"{site.aws.region}:{site.instance}"],
        "cwagent_confirm": "remove_servers",
    }
    predicted = site.controller.play(inventory, "remove_servers", "--check", **named).assert_succeeded()
    done = site.controller.play(inventory, "remove_servers", **named).assert_succeeded()
    assert associated_profiles(site.aws)[site.instance] is None
    assert (site.statement(), restore_records(site.aws)) == (CLOSED_WINDOW, {})
    assert [each.replace("would be ", "") for each in predicted.report if each[0] != "C"] == done.report


def test_site_repairs_an_interrupted_run_first(site: Site) -> None:
    site.aws.client("ssm").put_parameter(Name=PARAMETER, Value=json.dumps(CONFIG), Type="String")
    site.interrupt()
    session = site.aws.instance_credentials(site.instance)
    done = site.play("site").assert_succeeded()
    assert done.writes[:4] == ["PutRolePolicy", REPLACE_ASSOCIATION, "DeleteTags", "UntagRole"]
    assert "PutParameter" not in done.writes
    assert not can_write(site.aws, session)
    site.assert_clean()


def test_site_repairs_an_interrupted_run_even_when_validation_fails(site: Site) -> None:
    site.interrupt()
    assert "exists with path /" in site.play("site", cwagent_iam_path="/other/").assert_failed().message
    site.assert_clean()


def test_site_closes_the_window_even_when_it_cannot_read_tags(site: Site) -> None:
    site.interrupt()
    env = create_user(site.aws, "restricted", allow(NotAction="ec2:DescribeTags"))
    denied = site.controller.play(site.inventory, "site", env=env, **site.settings).assert_failed()
    assert "lacks ec2:DescribeTags" in denied.message
    assert site.statement() == CLOSED_WINDOW


def test_check_mode_predicts_the_steps_after_a_repair(site: Site) -> None:
    """It predicts the storing as if the repair had been made."""
    site.interrupt()
    with assert_no_writes(site.aws):
        checked = site.play("site", "--check", "--diff").assert_succeeded()
    done = site.play("site", "--diff").assert_succeeded()
    assert "PutParameter" in done.writes
    assert checked.outcomes == done.outcomes
    assert checked.changes == done.changes
    warned = [[line for line in play.output.splitlines() if "WARN" in line] for play in (checked, done)]
    assert warned[0] == warned[1]


def test_the_minutes_of_the_window_are_validated_before_the_first_write(site: Site) -> None:
    with assert_no_writes(site.aws):
        refused = site.play("store_config", cwagent_admin_window_minutes=0).assert_failed()
    assert "must be between 1 and 720 minutes, not 0" in refused.message
    site.window("closed", window_minutes=0)


def test_open_window_lets_a_person_store_until_restore(site: Site) -> None:
    with assert_no_writes(site.aws):
        predicted = site.play("open_window", "--check").assert_succeeded()
    began = datetime.now(UTC)
    opened = site.play("open_window", cwagent_admin_window_minutes=40).assert_succeeded()
    ended = datetime.now(UTC)
    assert opened.changed_tasks == predicted.changed_tasks
    assert opened.writes == ["TagRole", "CreateTags", REPLACE_ASSOCIATION, "PutRolePolicy", REPLACE_ASSOCIATION]
    statements = {each["Sid"].removeprefix(WINDOW_POLICY): each for each in site.statements()}
    assert list(statements) == ["Others", "Deadline", "Instance"]
    deadline = statements["Deadline"]["Condition"]["DateGreaterThan"]["aws:CurrentTime"]
    assert statements["Instance"]["Condition"] == {"StringNotLike": {"aws:userid": f"*:{site.instance}"}}
    length = timedelta(minutes=40)
    assert began.replace(microsecond=0) + length <= datetime.fromisoformat(deadline) <= ended + length
    assert f"admin1 can write to Parameter Store until {deadline} (UTC)" in opened.words
    assert "To close the window early, run cwagent.iam.restore with the same inventory." in opened.words
    assert opened.report[0] == "5 updated:"
    assert predicted.report[0] == "5 would be updated:"
    person = site.aws.instance_credentials(site.instance)
    assert can_write(site.aws, person)

    # A run that finds the window open reports that a person may have opened it.
    refused = site.play("store_config").assert_failed()
    assert "a run or a person is using it, or a run was interrupted" in refused.message

    restored = site.play("restore").assert_succeeded()
    assert restored.report[0] == "4 updated:"
    assert f"remove the restore tag from instance {site.instance}" in restored.words
    assert not can_write(site.aws, person)
    site.assert_clean()


def test_open_window_is_refused_while_another_instance_has_the_admin_profile(site: Site) -> None:
    """The window of the other instance is neither extended nor closed."""
    site.interrupt()
    [other] = site.aws.instances(1)
    inventory = site.controller.inventory({"ec2_admin": {"admin2": site.controller.instance_host(other)}}, "other.yml")
    with assert_no_writes(site.aws):
        refused = site.controller.play(inventory, "open_window", **site.settings).assert_failed()
    assert f"instance {site.instance} has instance profile '{ADMIN_ROLE}'" in refused.message


def test_a_second_run_on_an_instance_with_a_restore_tag_is_refused(site: Site) -> None:
    """It could remove the permission of the first run, or restore the profile too late."""
    leave_restore_tag(site.aws, site.instance, SERVER_ROLE)
    with assert_no_writes(site.aws):
        refused = site.play("store_config").assert_failed()
    assert (
        f"Instance {site.instance} has a restore tag: a run or a person is using it, or a run was interrupted"
        in refused.message
    )


@pytest.mark.parametrize("store_from", ["onprem", "controller", "run_command"])
def test_open_window_is_for_the_instance_with_any_store_config_from(site: Site, store_from: str) -> None:
    """The person can write as soon as the run has ended, although the instance gets the admin identity late."""
    site.aws.metadata_lag(2)
    hosts = {"admin1": site.controller.instance_host(site.instance)}
    inventory = site.controller.inventory({"ec2_admin": hosts, "onprem_admin": {"ops1": {}}})
    site.controller.play(
        inventory, "open_window", **site.settings, cwagent_store_config_from=store_from
    ).assert_succeeded()
    assert can_write(site.aws, site.aws.instance_credentials(site.instance))


def test_open_window_restores_the_instance_when_it_fails(site: Site) -> None:
    site.aws.metadata_lag(60)
    failed = site.play("open_window", cwagent_identity_timeout=1).assert_failed()
    assert f"for the instance metadata service to show instance profile '{ADMIN_ROLE}'" in failed.message
    assert associated_profiles(site.aws)[site.instance] == SERVER_ROLE
    assert site.statement() == CLOSED_WINDOW


def test_everything_else_works_without_the_admin_window(site: Site) -> None:
    """Then there are no inline policies, and access keys are active."""
    hosts = {"admin1": site.controller.instance_host(site.instance)}
    inventory = site.controller.inventory({"ec2_admin": hosts, "onprem_admin": {"ops1": {}}})
    off = {**site.settings, "cwagent_admin_window": False}
    site.controller.play(inventory, "site", **off).assert_succeeded()
    after = snapshot(site.aws)
    assert after["parameters"] == {site.aws.region: {PARAMETER: CONFIG}}
    assert after["roles"][ADMIN_ROLE]["inline"] == after["users"][ADMIN_USER]["inline"] == {}
    [key] = site.aws.client("iam").list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    assert key["Status"] == "Active"
    assert after["associations"] == {site.instance: SERVER_ROLE}
    assert after["instance_tags"] == {site.aws.region: {site.instance: {}}}
    restored = site.controller.play(inventory, "restore", **off).assert_succeeded()
    assert (restored.changed_tasks, restored.writes) == ([], [])
    opened = site.controller.play(inventory, "open_window", **off).assert_succeeded()
    assert "until its instance profile is restored" in opened.words
