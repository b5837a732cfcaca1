"""With nothing to do, a run of site.yml makes few calls. Otherwise it does what is necessary, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from emulator.snapshot import snapshot
from fleet import Fleet
from harness import (
    ADMIN_USER,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    Play,
    allow,
    create_user,
    leave_restore_tag,
    rename_instance_profile,
)
from policies import example, permit, without
from printed import assert_brief, repeated
from states import States

CONFIG: dict[str, Any] = {
    "agent": {"metrics_collection_interval": 60},
    "metrics": {"metrics_collected": {"mem": {}}},
}
USER = f"{SERVER_USER}-db1"
CALLS = {
    ("ec2_admin",): 13,
    ("ec2_admin", "onprem_servers", "onprem_admin"): 19,
}
"""By groups of the inventory: an instance, two server users and an admin user with saved keys; and a configuration."""


def after_small_site(states: States) -> Fleet:
    fleet = Fleet(states.controller)
    fleet.add_instance("admin1", group="ec2_admin")
    for host, group in (("db1", "onprem_servers"), ("db2", "onprem_servers"), ("ops1", "onprem_admin")):
        fleet.add_host(host, group=group)
    fleet.configure(CONFIG)
    fleet.play("site").assert_succeeded()
    return fleet


@pytest.mark.parametrize("groups", CALLS, ids=" ".join)
def test_with_nothing_to_do_little_is_read(states: States, groups: tuple[str, ...]) -> None:
    """The users of the groups that are left out still exist, which takes no further call to find out.

    The tier is compared, which is an option of the role store_config for the host that stores.
    """
    fleet = states.begin(after_small_site)
    is_whole = groups == (*fleet.groups,)
    fleet.groups = {name: fleet.groups[name] for name in groups}
    # ``test_main_job.py`` has a second run outside of check mode.
    arguments = ("--check", "--diff") if is_whole else ()
    tier: dict[str, Any] = {"cwagent_parameter_tier": "Advanced"}
    play = fleet.play("site", *arguments, **tier).assert_succeeded()
    assert play.report[0] == "Nothing to do."
    assert is_whole == (play.report == ["Nothing to do."])
    assert (play.changed_tasks, play.writes) == ([], [])
    assert len(play.calls) == CALLS[groups], " ".join(call.action for call in play.calls)
    assert_brief(play, "site, nothing to do")
    assert [call.action for call in play.calls].count("ListPolicies") == 0
    # The configuration leaves the region of on-premises servers to the profile.
    assert ("servers that are not on EC2 need a region" in play.words) == is_whole


def key_of(fleet: Fleet, user: str) -> str:
    [key] = fleet.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
    return str(key["AccessKeyId"])


def disturb(fleet: Fleet) -> None:
    iam = fleet.iam
    policy = json.dumps(allow("ssm:GetParameter"))
    iam.put_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY, PolicyDocument=policy)
    iam.update_access_key(UserName=ADMIN_USER, AccessKeyId=key_of(fleet, ADMIN_USER), Status="Active")
    # The instance is still associated with the deleted instance profile, which has the same name.
    rename_instance_profile(fleet.aws, SERVER_ROLE, SERVER_ROLE)
    [attached] = iam.list_attached_user_policies(UserName=USER)["AttachedPolicies"]
    iam.detach_user_policy(UserName=USER, PolicyArn=attached["PolicyArn"])
    next(fleet.controller.credentials.glob(f"{SERVER_USER}-db2*")).unlink()


def steps(play: Play) -> list[str]:
    """The first words of each step in the report of a run."""
    lines = [line.removeprefix("- ") for line in play.report if line.startswith("- ")]
    return [" ".join(line.split()[:4]) for line in lines]


def test_only_differences_are_corrected(states: States) -> None:
    fleet = states.begin(after_small_site)
    disturb(fleet)
    before = snapshot(fleet.aws)
    predicted = fleet.play("site", "--check").assert_succeeded()
    assert snapshot(fleet.aws) == before
    assert "The check ended here, because the rest of the run depends on this clean-up." in predicted.words
    play = fleet.play("site").assert_succeeded()
    assert predicted.changed_tasks == play.changed_tasks[:1]
    assert steps(predicted) == steps(play)[:2]
    assert steps(play) == [
        "close the admin window",
        "deactivate access key " + key_of(fleet, ADMIN_USER),
        "associate instance profile 'CloudWatchAgentServerRole'",
        "attach CloudWatchAgentServerPolicy to user",
        "create an access key",
    ]

    leave_restore_tag(fleet.aws, fleet.instances["admin1"], SERVER_ROLE)
    fleet.configure({**CONFIG, "agent": {"metrics_collection_interval": 30}})
    play = fleet.play("site").assert_succeeded()
    assert [each.rpartition(" : ")[2] for each in play.changed_tasks] == [
        "Check the instances, close the admin windows and restore the instance profiles",
        "Store the configurations",
    ]
    assert steps(play)[0] == "remove the restore tag"
    value = fleet.aws.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"]
    assert json.loads(value)["agent"]["metrics_collection_interval"] == 30


@pytest.mark.parametrize(
    ("playbook", "policy", "denied"),
    [
        ("site", "provision", "iam:GetRole"),
        ("site", "provision", "iam:PutRolePolicy"),
        ("store_config", "store-configuration", "iam:PutRolePolicy"),
    ],
)
def test_a_denial_is_printed_once(states: States, playbook: str, policy: str, denied: str) -> None:
    """Its remedy too, even if the permission is also needed to clean up. The end shows no file of the collection."""
    fleet = states.begin(after_small_site)
    fleet.configure({**CONFIG, "agent": {"metrics_collection_interval": 30}})
    user = create_user(fleet.aws, "controller")
    permit(fleet.aws, without(example(policy), denied))
    play = fleet.play(playbook, env=user).assert_failed()
    assert f"lacks {denied} " in play.words
    assert repeated(play) == []
    end = play.output.rpartition("TASK [")[2]
    assert [each for each in ("Origin", "assertion", "_report.yml") if each in end] == []
    assert_brief(play, f"{playbook}, denied")


def test_a_check_shows_what_differs(states: States) -> None:
    """Not the permission that the run takes and gives back. A step has the name of its host."""
    fleet = states.begin(after_small_site)
    fleet.configure({**CONFIG, "agent": {"metrics_collection_interval": 30}})
    play = fleet.play("store_config", "--check", "--diff").assert_succeeded()
    assert "~ $.agent.metrics_collection_interval: 60 -> 30" in play.output
    assert f"with instance admin1 ({fleet.instances['admin1']})" in " ".join(" ".join(play.report).split())
    assert_brief(play, "store_config, checked")
