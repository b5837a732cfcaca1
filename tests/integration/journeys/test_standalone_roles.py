"""The roles alone, in another playbook in another folder: predicted and applied.

``make molecule`` shows each role from its first run, and a second one, to ``state: absent``.
"""

from __future__ import annotations

from typing import Any

from emulator.snapshot import snapshot
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    COLLECTIONS,
    HYBRID_ROLE,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    SSM_POLICY,
    WINDOW_POLICY,
    Controller,
    Play,
    associate,
    create_role,
    rename_instance_profile,
)

REGIONS = {"a": "eu-west-1", "b": "us-east-1"}
APP, APP_PROFILE = "ShopBackend", "ShopBackendProfile"


def role(name: str, **variables: Any) -> dict[str, Any]:
    return {"role": f"cwagent.iam.{name}", **variables}


def play_of(hosts: str, *roles: dict[str, Any]) -> dict[str, Any]:
    return {"hosts": f"cwagent_{hosts}", "gather_facts": False, "roles": list(roles)}


def plays(region: str) -> list[dict[str, Any]]:
    """Hosts with their own values, the hosts of an application, and hosts with required variables only."""
    names = {"ec2_server_name": APP, "ec2_server_instance_profile": APP_PROFILE}
    return [
        play_of(
            "own",
            role("onprem_server", onprem_server_users=["agent-{{ inventory_hostname }}", "shared"]),
            role("onprem_admin", onprem_admin_users=["admin-{{ inventory_hostname }}"]),
            role("ec2_server", ec2_server_name="Server-{{ inventory_hostname }}"),
            # A boolean may be text, as -e name=value passes it.
            role("ec2_admin", ec2_admin_name="Admin-{{ inventory_hostname }}", ec2_admin_window="false"),
            role("hybrid_server", hybrid_server_regions="{{ [own_region] }}", hybrid_server_region=region),
        ),
        play_of("shop", role("ec2_server", **names)),
        play_of("default", role("ec2_server"), role("ec2_admin"), role("onprem_server"), role("onprem_admin")),
        play_of("storing", role("store_config", store_config_configs=[{"name": PARAMETER, "file": "agent.json"}])),
    ]


def test_roles_serve_hosts_with_their_own_values_or_with_none(controller: Controller) -> None:
    """A play on several hosts makes one call for hosts with the same values, and more calls if the values differ."""
    aws = controller.aws
    ids = dict(zip(("a", "b", "shop1", "shop2", "c", "d"), aws.instances(6), strict=True))
    create_role(aws, APP, "AmazonS3ReadOnlyAccess")
    rename_instance_profile(aws, APP, APP_PROFILE)
    associate(aws, ids["shop1"], APP_PROFILE)
    metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.metadata_endpoint(ids["c"])}

    def hosts(*names: str, **more: Any) -> dict[str, dict[str, Any]]:
        return {name: controller.instance_host(ids[name], **more) for name in names}

    groups = {
        "own": {name: {**found, "own_region": REGIONS[name]} for name, found in hosts("a", "b").items()},
        "shop": hosts("shop1", "shop2"),
        "default": hosts("c", "d"),
        "storing": hosts("c", store_config_environment=metadata),
    }
    (controller.home / "elsewhere").mkdir()
    controller.file("elsewhere/agent.json", {"agent": {}})
    playbook = controller.file("elsewhere/playbook.yml", plays(aws.region))

    def run(*arguments: str) -> Play:
        env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
        inventory = controller.inventory(groups)
        return controller.play(inventory, playbook, *arguments, env=env, cwd=playbook.parent).assert_succeeded()

    before = snapshot(aws)
    predicted = run("--check")
    assert (predicted.writes, snapshot(aws)) == ([], before)
    done = run()
    assert sorted(predicted.outcomes) == sorted(done.outcomes)
    after = snapshot(aws)

    users = {"agent-a", "agent-b", "shared", "admin-a", "admin-b", SERVER_USER, ADMIN_USER}
    assert after["users"].keys() == users
    assert done.writes.count("CreateAccessKey") == len(users)
    saved = controller.home / ".cwagent" / "credentials"
    assert {path.name for path in saved.iterdir()} == {f"{name}.credentials" for name in users}

    own = {"Server-a", "Server-b", "Admin-a", "Admin-b", HYBRID_ROLE}
    assert after["roles"].keys() == {*own, SERVER_ROLE, ADMIN_ROLE, APP}
    windows = {name: [*after["roles"][name]["inline"]] for name in ("Admin-a", "Admin-b", ADMIN_ROLE)}
    assert windows == {"Admin-a": [], "Admin-b": [], ADMIN_ROLE: [WINDOW_POLICY]}
    hybrid = after["roles"][HYBRID_ROLE]
    assert hybrid["policies"] == [SSM_POLICY, SERVER_POLICY]
    [trusted] = hybrid["trust"]["Statement"]
    arns = [f"arn:aws:ssm:{region}:123456789012:*" for region in REGIONS.values()]
    assert trusted["Condition"]["ArnEquals"]["aws:SourceArn"] == arns
    assert after["roles"][APP]["policies"] == ["AmazonS3ReadOnlyAccess", SERVER_POLICY]
    assert after["instance_profiles"].keys() == {*after["roles"], APP_PROFILE} - {HYBRID_ROLE, APP}

    profiles = ("Server-a", "Server-b", APP_PROFILE, APP_PROFILE, SERVER_ROLE, SERVER_ROLE)
    assert after["associations"] == dict(zip(ids.values(), profiles, strict=True))
    of_shop = [each for each in done.calls if each.write and {APP, APP_PROFILE} & {*map(str, each.params.values())}]
    assert [each.action for each in of_shop] == ["AttachRolePolicy", "AssociateIamInstanceProfile"]
    assert after["parameters"] == {aws.region: {PARAMETER: {"agent": {}}}}
