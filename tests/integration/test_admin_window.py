"""The right to write ends by itself, whatever happens to the controller; restore.yml and open_window.yml."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator import Emulator, Fault, Kind
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    CHECKOUT,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    WINDOW_POLICY,
    Play,
    Workplace,
    account,
    allow,
    carried,
    environment,
    make_role,
    make_user,
    nothing_written,
    run_module,
)

CONFIG = {"agent": {"metrics_collection_interval": 60}}
CLOSED = {"Sid": WINDOW_POLICY, "Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*"}
QUICK = {"store_config_identity_timeout": 8, "store_config_wait_timeout": 8, "store_config_permission_timeout": 4}
NOTE = "cwagent:earlier-profile"
MINUTE = 60
AFTER_DEADLINE = 16 * MINUTE
"""A window is open for a quarter of an hour."""


@dataclass(frozen=True)
class Site:
    """An account with both roles, and an instance that is a server and may become the administrator."""

    at: Workplace
    instance: str

    @property
    def aws(self) -> Emulator:
        return self.at.aws

    @property
    def inventory(self) -> Path:
        return self.at.inventory({"ec2_admin": {"admin1": self.at.on_instance(self.instance)}})

    @property
    def settings(self) -> dict[str, Any]:
        config, keys = self.at.file("agent.json", CONFIG), self.at.credentials
        return {**QUICK, "cwagent_config_file": str(config), "cwagent_credentials_dir": str(keys)}

    def play(self, playbook: str, *arguments: str, **more: Any) -> Play:
        return self.at.play(self.inventory, playbook, *arguments, **{**self.settings, **more})

    def admin_instance(self, state: str, **more: Any) -> None:
        names = {"admin_profile": ADMIN_ROLE, "server_profile": SERVER_ROLE}
        ids = [self.instance]
        assert not run_module(self.aws, "cwagent_admin_instance", state=state, instance_ids=ids, **names, **more)[
            "failed"
        ]

    def window(self, state: str, **more: Any) -> dict[str, Any]:
        result = run_module(self.aws, "cwagent_admin_window", role=ADMIN_ROLE, state=state, **more)
        assert not result["failed"], result
        return dict(result["window"])

    def lend(self) -> None:
        """What an interrupted run leaves: a note, an open window, and the admin profile on the instance."""
        self.admin_instance("admin", admin_role=ADMIN_ROLE)

    def statement(self) -> dict[str, Any]:
        """The one statement of the window's policy."""
        found = self.aws.client("iam").get_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
        [statement] = found["PolicyDocument"]["Statement"]
        return dict(statement)

    def kill_during(self, fault: Fault) -> None:
        """Run store_config.yml until the controller is killed, with all it started."""
        environ = environment(self.aws, {"HOME": str(self.at.home)})
        command = ["ansible-playbook", "-i", self.inventory, CHECKOUT / "playbooks" / "store_config.yml"]
        process = subprocess.Popen(
            [*command, "-e", json.dumps(self.settings)],
            cwd=CHECKOUT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.aws.arm(Fault(fault.kind, action=fault.action, nth=fault.nth, process=process.pid))
        assert process.wait(timeout=60) == -9
        self.aws.disarm()

    def clean(self) -> None:
        """That the instance is a server, the window is closed and no note is left."""
        assert carried(self.aws)[self.instance] == SERVER_ROLE
        assert self.statement() == CLOSED
        assert account(self.aws)["tags"] == {self.aws.region: {self.instance: {}}}


@pytest.fixture
def site(workplace: Workplace) -> Site:
    aws = workplace.aws
    [instance] = aws.instances(1)
    for role, policy in ((SERVER_ROLE, SERVER_POLICY), (ADMIN_ROLE, ADMIN_POLICY)):
        make_role(aws, role, policy)
    document = json.dumps({"Version": "2012-10-17", "Statement": [CLOSED]})
    aws.client("iam").put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=document)
    aws.client("ec2").associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": SERVER_ROLE})
    return Site(workplace, instance)


def can_write(aws: Emulator, credentials: dict[str, str]) -> bool:
    """Whether somebody with these credentials may store a configuration."""
    ssm = aws.client("ssm", credentials=credentials)
    try:
        ssm.put_parameter(Name="AmazonCloudWatch-mine", Value="{}", Type="String", Overwrite=True)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False
    return True


def test_kept_credentials_write_while_the_window_is_open_and_no_longer(site: Site) -> None:
    site.lend()
    kept = site.aws.instance_credentials(site.instance)
    assert can_write(site.aws, kept)
    site.admin_instance("returned")
    assert can_write(site.aws, kept), "the swap alone takes nothing from a session that exists"
    site.window("closed")
    assert not can_write(site.aws, kept)
    site.clean()


def test_an_open_window_is_only_ever_opened_for_longer(site: Site) -> None:
    first = site.window("open", minutes=30)
    with nothing_written(site.aws):
        assert site.window("open", minutes=15) == first
        assert site.window("open", minutes=30) == first
    longer = site.window("open", minutes=60)
    assert longer["deadline"] > first["deadline"]
    site.admin_instance("admin")
    kept = site.aws.instance_credentials(site.instance)
    site.aws.shift_clock(59 * MINUTE)
    assert can_write(site.aws, kept)
    site.aws.shift_clock(2 * MINUTE)
    assert not can_write(site.aws, kept)


def test_the_agent_goes_on_under_a_closed_window(site: Site) -> None:
    """Whatever the agent does itself still succeeds; nothing but writing the configuration is denied."""
    site.aws.client("ssm").put_parameter(Name=PARAMETER, Value="{}", Type="String")
    site.admin_instance("admin")
    assert site.window("closed")["state"] == "closed"
    own = site.aws.instance_credentials(site.instance)
    logs, metrics, ssm = (site.aws.client(service, credentials=own) for service in ("logs", "cloudwatch", "ssm"))
    metrics.put_metric_data(Namespace="CWAgent", MetricData=[{"MetricName": "mem_used_percent", "Value": 1.0}])
    logs.create_log_group(logGroupName="messages")
    logs.create_log_stream(logGroupName="messages", logStreamName="i")
    event = {"timestamp": int(time.time() * 1000), "message": "hello"}
    logs.put_log_events(logGroupName="messages", logStreamName="i", logEvents=[event])
    assert ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"] == "{}"
    assert not can_write(site.aws, own)
    with pytest.raises(ClientError, match="AccessDenied"):
        ssm.get_parameter(Name="another")


REPLACE = "ReplaceIamInstanceProfileAssociation"
KILLS = {
    "noted": (Fault(Kind.KILL_AFTER, action="CreateTags", process=2), False),
    "opened": (Fault(Kind.KILL_AFTER, action="PutRolePolicy", process=2), False),
    "swapped": (Fault(Kind.KILL_AFTER, action=REPLACE, process=2), True),
    "storing": (Fault(Kind.KILL_BEFORE, action="PutParameter", process=2), True),
    "swapped back": (Fault(Kind.KILL_AFTER, action=REPLACE, nth=2, process=2), False),
    "forgetting": (Fault(Kind.KILL_BEFORE, action="DeleteTags", process=2), False),
}
"""Where the controller is killed, and whether the instance is the administrator then."""


@pytest.mark.parametrize(("fault", "administrator"), KILLS.values(), ids=KILLS.keys())
def test_a_killed_controller(site: Site, fault: Fault, administrator: bool) -> None:
    """While nothing runs, the right ends at the deadline; restore.yml ends it before, and repairs the rest."""
    site.kill_during(fault)
    assert carried(site.aws)[site.instance] == (ADMIN_ROLE if administrator else SERVER_ROLE)
    kept = site.aws.instance_credentials(site.instance)
    assert can_write(site.aws, kept) is administrator
    site.aws.shift_clock(AFTER_DEADLINE)
    assert not can_write(site.aws, kept)
    site.aws.shift_clock(-AFTER_DEADLINE)
    assert can_write(site.aws, kept) is administrator

    site.play("restore").succeeded()
    assert not can_write(site.aws, kept)
    site.clean()


def test_check_mode_of_restore_foretells_what_it_repairs(site: Site) -> None:
    site.lend()
    with nothing_written(site.aws):
        foretold = site.play("restore", "--check").succeeded()
    done = site.play("restore").succeeded()
    assert [each.of_items("steps") for each in foretold.results] == [each.of_items("steps") for each in done.results]
    assert done.changes == foretold.changes
    assert sorted(done.writes) == ["DeleteTags", "PutRolePolicy", REPLACE]
    site.clean()


def test_restore_gives_back_a_stopped_instance_although_it_is_killed_in_between(site: Site) -> None:
    """EC2 replaces no profile there, so the admin profile is taken off before the earlier one is put on."""
    site.lend()
    site.aws.client("ec2").stop_instances(InstanceIds=[site.instance])
    site.aws.arm(Fault(Kind.DENY, action="AssociateIamInstanceProfile"))
    failed = site.play("restore").failed()
    site.aws.disarm()
    assert f"put instance profile '{SERVER_ROLE}' on instance {site.instance}" in failed.message
    assert carried(site.aws)[site.instance] is None
    done = site.play("restore").succeeded()
    assert done.writes == ["AssociateIamInstanceProfile", "DeleteTags"]
    site.clean()


def test_restore_closes_the_window_whatever_was_mistyped(site: Site) -> None:
    site.lend()
    site.play("restore", cwagent_admin_window="ture").succeeded()
    site.clean()


def test_restore_knows_one_admin_role(site: Site) -> None:
    """Another one that is named to the role store_config is not what the playbooks open, or they could not close it."""
    make_role(site.aws, "Other", ADMIN_POLICY)
    hosts = {"admin1": {**site.at.on_instance(site.instance), "store_config_admin_role": "Other"}}
    inventory = site.at.inventory({"ec2_admin": hosts}, "other.yml")
    site.at.play(inventory, "open_window", **site.settings).succeeded()
    assert can_write(site.aws, site.aws.instance_credentials(site.instance))
    site.at.play(inventory, "restore", **site.settings).succeeded()
    site.clean()


@pytest.mark.parametrize("playbook", ["restore", "open_window", "site", "store_config", "rotate_keys"])
def test_an_inventory_without_hosts_is_refused(site: Site, playbook: str) -> None:
    nobody = site.at.file("nobody.ini", "")
    with nothing_written(site.aws):
        refused = site.at.play(nobody, playbook, **site.settings).failed()
    assert "There are no hosts at all" in refused.message


def test_there_is_no_window_to_open_without_an_administrator(site: Site) -> None:
    inventory = site.at.inventory({"onprem_servers": {"db1": {}}}, "other.yml")
    refused = site.at.play(inventory, "open_window", cwagent_credentials_dir=str(site.at.credentials)).failed()
    assert "The group cwagent_ec2_admin needs exactly one host" in refused.message


def test_without_ec2_hosts_their_role_is_not_looked_at(site: Site) -> None:
    """Who has on-premises servers only need not be allowed to."""
    inventory = site.at.inventory({"onprem_servers": {"db1": {}}}, "other.yml")
    play = site.at.play(inventory, "site", cwagent_credentials_dir=str(site.at.credentials)).succeeded()
    assert not [call for call in play.calls if "Role" in call.action or call.service == "ec2"]


def test_the_strategy_that_the_user_has_chosen_is_no_hindrance(site: Site) -> None:
    settings = {**site.settings, "cwagent_config_file": ""}
    site.at.play(site.inventory, "site", env={"ANSIBLE_STRATEGY": "free"}, **settings).succeeded()


def test_text_for_a_boolean_of_a_role(site: Site) -> None:
    """As -e gives it."""
    site.at.play(site.inventory, "site", **site.settings, ec2_admin_window="false").succeeded()
    assert site.aws.client("iam").list_role_policies(RoleName=ADMIN_ROLE)["PolicyNames"] == []


def test_restore_changes_nothing_on_a_clean_account(site: Site) -> None:
    """Nor on an empty one, before the first run."""
    before = account(site.aws)
    again = site.play("restore").succeeded()
    assert (again.changes, again.writes) == ([], [])
    assert account(site.aws) == before
    site.aws.reset()
    empty = site.play("restore").succeeded()
    assert (empty.changes, empty.writes) == ([], [])


def test_restore_finds_what_another_inventory_left(site: Site) -> None:
    """The instance that an interrupted run made the administrator need not be in the inventory of who repairs it."""
    site.lend()
    [other] = site.aws.instances(1)
    inventory = site.at.inventory({"ec2_admin": {"admin2": site.at.on_instance(other)}}, "other.yml")
    site.at.play(inventory, "restore").succeeded()
    assert carried(site.aws) == {site.instance: SERVER_ROLE, other: None}
    assert site.statement() == CLOSED


def test_site_repairs_before_it_does_anything_else(site: Site) -> None:
    site.aws.client("ssm").put_parameter(Name=PARAMETER, Value=json.dumps(CONFIG), Type="String")
    site.lend()
    kept = site.aws.instance_credentials(site.instance)
    done = site.play("site").succeeded()
    assert done.writes[:3] == ["PutRolePolicy", REPLACE, "DeleteTags"]
    assert "PutParameter" not in done.writes
    assert not can_write(site.aws, kept)
    site.clean()


def test_site_repairs_although_the_rest_is_refused(site: Site) -> None:
    site.lend()
    assert "exists with path /" in site.play("site", cwagent_iam_path="/other/").failed().message
    site.clean()


def test_site_closes_the_window_although_it_may_not_read_the_rest(site: Site) -> None:
    site.lend()
    env = make_user(site.aws, "restricted", allow(NotAction="ec2:DescribeTags"))
    denied = site.at.play(site.inventory, "site", env=env, **site.settings).failed()
    assert "lacks ec2:DescribeTags" in denied.message
    assert site.statement() == CLOSED


def test_check_mode_does_not_guess_what_follows_a_repair(site: Site) -> None:
    site.lend()
    with nothing_written(site.aws):
        checked = site.play("site", "--check", "--diff").succeeded()
    assert "run cwagent.iam.restore, and check again" in checked.output
    assert "PutParameter" in site.play("site").succeeded().writes


def test_the_minutes_of_the_window_are_checked_before_anything_is_noted(site: Site) -> None:
    with nothing_written(site.aws):
        refused = site.play("store_config", store_config_window_minutes=0).failed()
    assert "a window is open for 1 to 720 minutes, not 0" in refused.message
    site.window("closed", minutes=0)


def test_open_window(site: Site) -> None:
    """It is foretold; a person writes meanwhile; restore.yml ends it."""
    with nothing_written(site.aws):
        foretold = site.play("open_window", "--check").succeeded()
    began = datetime.now(UTC)
    opened = site.play("open_window", store_config_window_minutes=40).succeeded()
    assert opened.changes == foretold.changes
    assert opened.writes == ["CreateTags", "PutRolePolicy", REPLACE]
    deadline = site.statement()["Condition"]["DateGreaterThan"]["aws:CurrentTime"]
    assert 39 <= (datetime.fromisoformat(deadline) - began).total_seconds() / MINUTE <= 41
    words = " ".join(opened.output.split())
    assert f"admin1 may write to Parameter Store until {deadline} (UTC)" in words
    assert "to close it early: ansible-playbook cwagent.iam.restore" in words
    person = site.aws.instance_credentials(site.instance)
    assert can_write(site.aws, person)

    site.play("restore").succeeded()
    assert not can_write(site.aws, person)
    site.clean()


def test_open_window_leaves_the_window_of_another_administrator_alone(site: Site) -> None:
    """Neither opened for longer nor closed under it."""
    site.lend()
    [other] = site.aws.instances(1)
    inventory = site.at.inventory({"ec2_admin": {"admin2": site.at.on_instance(other)}}, "other.yml")
    with nothing_written(site.aws):
        refused = site.at.play(inventory, "open_window", **site.settings).failed()
    assert f"instance {site.instance} carries instance profile '{ADMIN_ROLE}'" in refused.message


def test_a_second_run_on_the_same_instance_is_refused(site: Site) -> None:
    """It would take the right away from the first one, or give it back too late."""
    site.aws.client("ec2").create_tags(Resources=[site.instance], Tags=[{"Key": NOTE, "Value": SERVER_ROLE}])
    with nothing_written(site.aws):
        refused = site.play("store_config").failed()
    assert f"A run that makes instance {site.instance} the administrator has not ended" in refused.message


@pytest.mark.parametrize("way", ["onprem", "controller"])
def test_open_window_opens_that_of_the_instance_whoever_else_stores(site: Site, way: str) -> None:
    hosts = {"admin1": site.at.on_instance(site.instance)}
    inventory = site.at.inventory({"ec2_admin": hosts, "onprem_admin": {"ops1": {}}})
    site.at.play(inventory, "open_window", **site.settings, cwagent_store_config_from=way).succeeded()
    assert can_write(site.aws, site.aws.instance_credentials(site.instance))


def test_open_window_gives_back_when_it_fails(site: Site) -> None:
    site.aws.metadata_lag(60)
    failed = site.play("open_window", store_config_identity_timeout=1).failed()
    assert f"for this instance to see instance profile '{ADMIN_ROLE}'" in failed.message
    assert carried(site.aws)[site.instance] == SERVER_ROLE
    assert site.statement() == CLOSED


def test_without_a_window(site: Site) -> None:
    """Whoever turns the mechanism off has no inline policies and active keys, and everything else works."""
    hosts = {"admin1": site.at.on_instance(site.instance)}
    inventory = site.at.inventory({"ec2_admin": hosts, "onprem_admin": {"ops1": {}}})
    off = {**site.settings, "cwagent_admin_window": False}
    site.at.play(inventory, "site", **off).succeeded()
    held = account(site.aws)
    assert held["parameters"] == {site.aws.region: {PARAMETER: CONFIG}}
    assert held["roles"][ADMIN_ROLE]["inline"] == held["users"][ADMIN_USER]["inline"] == {}
    [key] = site.aws.client("iam").list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    assert key["Status"] == "Active"
    assert held["carried"] == {site.instance: SERVER_ROLE}
    assert held["tags"] == {site.aws.region: {site.instance: {}}}
    restored = site.at.play(inventory, "restore", **off).succeeded()
    assert (restored.changes, restored.writes) == ([], [])
    opened = site.at.play(inventory, "open_window", **off).succeeded()
    assert "until its profile is put back" in " ".join(opened.output.split())
