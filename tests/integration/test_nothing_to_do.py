"""With nothing to do, a run of site.yml makes few calls. Otherwise it does what is necessary, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from emulator import Emulator
from emulator.snapshot import snapshot
from harness import (
    ADMIN_USER,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    Controller,
    Play,
    allow,
    leave_restore_tag,
    rename_instance_profile,
)

CONFIG = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}
USER = f"{SERVER_USER}-db1"
CALLS = {
    ("ec2_admin",): 15,
    ("ec2_admin", "onprem_servers"): 18,
    ("ec2_admin", "onprem_admin"): 19,
    ("ec2_admin", "onprem_servers", "onprem_admin"): 22,
}
"""By groups of the inventory: an instance, two server users and an admin user with saved keys; and a configuration."""
ALL_GROUPS = max(CALLS, key=len)


@dataclass(frozen=True)
class Site:
    """An account as site.yml leaves it."""

    controller: Controller
    groups: dict[str, Any]
    instance: str

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    def run(self, *arguments: str, groups: Iterable[str] = ALL_GROUPS, **variables: Any) -> Play:
        inventory = self.controller.inventory({name: self.groups[name] for name in groups})
        paths: dict[str, Any] = {
            "cwagent_config_file": str(self.controller.home / "agent.json"),
            "cwagent_key_store_directory": str(self.controller.credentials),
        }
        return self.controller.play(inventory, "site", *arguments, **paths, **variables).assert_succeeded()


@pytest.fixture(scope="module")
def site(shared_controller: Controller) -> Site:
    [instance] = shared_controller.aws.instances(1)
    shared_controller.file("agent.json", CONFIG)
    groups = {
        "ec2_admin": {"admin1": shared_controller.instance_host(instance)},
        "onprem_servers": {"db1": {}, "db2": {}},
        "onprem_admin": {"ops1": {}},
    }
    found = Site(shared_controller, groups, instance)
    found.run()
    return found


@pytest.fixture
def disturbed(site: Site) -> Iterator[Site]:
    """The account, which is as site.yml leaves it again after the test."""
    yield site
    site.run()


@pytest.mark.parametrize("arguments", [(), ("--check", "--diff")], ids=["run", "check mode"])
@pytest.mark.parametrize("groups", CALLS, ids=" ".join)
def test_with_nothing_to_do_little_is_read(site: Site, groups: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """The users of the groups that are left out still exist, which takes no further call to find out."""
    play = site.run(*arguments, groups=groups)
    assert play.report[0] == "Nothing to do."
    assert (play.changed_tasks, play.writes) == ([], [])
    assert len(play.calls) == CALLS[groups], " ".join(call.action for call in play.calls)


def open_user_window(site: Site) -> None:
    policy = json.dumps(allow("ssm:GetParameter"))
    site.iam.put_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY, PolicyDocument=policy)


def activate_key(site: Site) -> None:
    [key] = site.iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    site.iam.update_access_key(UserName=ADMIN_USER, AccessKeyId=key["AccessKeyId"], Status="Active")


def leave_tag(site: Site) -> None:
    leave_restore_tag(site.aws, site.instance, SERVER_ROLE)


def create_profile_again(site: Site) -> None:
    """The instance is still associated with the deleted instance profile, which has the same name."""
    rename_instance_profile(site.aws, SERVER_ROLE, SERVER_ROLE)


def detach_user_policy(site: Site) -> None:
    [policy] = site.iam.list_attached_user_policies(UserName=USER)["AttachedPolicies"]
    site.iam.detach_user_policy(UserName=USER, PolicyArn=policy["PolicyArn"])


def lose_saved_key(site: Site) -> None:
    next(site.controller.credentials.glob(f"{USER}*")).unlink()


def change_configuration(site: Site) -> None:
    site.controller.file("agent.json", {**CONFIG, "agent": {"metrics_collection_interval": 30}})


@pytest.mark.parametrize(
    ("disturb", "step"),
    [
        (open_user_window, "close the admin window of user"),
        (activate_key, "deactivate access key"),
        (leave_tag, "remove the restore tag"),
        (create_profile_again, f"instance profile '{SERVER_ROLE}' with instance"),
        (detach_user_policy, "attach CloudWatchAgentServerPolicy"),
        (lose_saved_key, "create an access key"),
    ],
)
def test_only_differences_are_corrected(disturbed: Site, disturb: Callable[[Site], None], step: str) -> None:
    disturb(disturbed)
    before = snapshot(disturbed.aws)
    predicted = disturbed.run("--check")
    assert snapshot(disturbed.aws) == before
    play = disturbed.run()
    assert step in " ".join(play.report)
    assert predicted.changed_tasks == play.changed_tasks
    assert len(play.changed_tasks) == 1


def test_a_configuration_that_differs_is_stored_and_no_role_is_changed(disturbed: Site) -> None:
    change_configuration(disturbed)
    play = disturbed.run()
    assert [each.rpartition(" : ")[2] for each in play.changed_tasks] == ["Store the configurations"]
    value = disturbed.aws.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"]
    assert json.loads(value)["agent"]["metrics_collection_interval"] == 30
    disturbed.controller.file("agent.json", CONFIG)


def test_warnings_about_a_configuration_are_shown(site: Site) -> None:
    """On-premises servers need a region, which this configuration leaves to the profile."""
    assert "servers that are not on EC2 need a region" in site.run().words


def test_variables_of_the_storing_host_are_compared(site: Site) -> None:
    """The tier is an option of the role store_config, for the host that stores."""
    assert site.run(cwagent_parameter_tier="Advanced").report == ["Nothing to do."]
