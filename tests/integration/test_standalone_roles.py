"""The roles alone, in another playbook in another folder."""

from __future__ import annotations

from pathlib import Path
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
    Controller,
    Play,
    associate,
    create_role,
    rename_instance_profile,
)


def role(name: str, **variables: Any) -> dict[str, Any]:
    return {"role": f"cwagent.iam.{name}", **variables}


def play_of(hosts: str, *roles: dict[str, Any]) -> dict[str, Any]:
    return {"hosts": hosts, "gather_facts": False, "roles": list(roles)}


def run(controller: Controller, inventory: Path, *plays: dict[str, Any], check: bool = False) -> Play:
    folder = controller.home / "elsewhere"
    folder.mkdir(exist_ok=True)
    playbook = controller.file("elsewhere/playbook.yml", list(plays))
    env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    return controller.play(inventory, playbook, *(["--check"] if check else []), env=env, cwd=folder)


def test_roles_on_their_hosts_with_required_variables_only(controller: Controller) -> None:
    aws = controller.aws
    first, second = aws.instances(2)
    metadata = {"store_config_environment": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.metadata_endpoint(first)}}
    inventory = controller.inventory(
        {"fleet": {"a": controller.instance_host(first, **metadata), "b": controller.instance_host(second)}}
    )
    (controller.home / "elsewhere").mkdir()
    controller.file("elsewhere/agent.json", {"agent": {}})
    plays = [
        play_of("cwagent_fleet", role("ec2_server"), role("ec2_admin")),
        play_of("a", role("store_config", store_config_configs=[{"name": PARAMETER, "file": "agent.json"}])),
        play_of("cwagent_fleet", role("onprem_server"), role("onprem_admin")),
    ]
    run(controller, inventory, *plays).assert_succeeded()
    after = snapshot(aws)
    assert after["associations"] == {first: SERVER_ROLE, second: SERVER_ROLE}
    assert after["parameters"] == {aws.region: {PARAMETER: {"agent": {}}}}
    assert after["roles"].keys() == {SERVER_ROLE, ADMIN_ROLE}
    assert after["users"].keys() == {SERVER_USER, ADMIN_USER}
    saved = controller.home / ".cwagent" / "credentials"
    assert {path.name for path in saved.iterdir()} == {f"{name}.credentials" for name in (SERVER_USER, ADMIN_USER)}


def test_a_boolean_of_a_role_may_be_text(controller: Controller) -> None:
    """As -e name=value passes it."""
    [instance] = controller.aws.instances(1)
    inventory = controller.inventory({"fleet": {"a": controller.instance_host(instance)}})
    run(controller, inventory, play_of("a", role("ec2_admin", ec2_admin_window="false"))).assert_succeeded()
    assert controller.aws.client("iam").list_role_policies(RoleName=ADMIN_ROLE)["PolicyNames"] == []


def test_hosts_with_their_own_values_are_all_served(controller: Controller) -> None:
    """A play on several hosts makes one call for hosts with the same values, and more calls if the values differ."""
    aws = controller.aws
    ids = aws.instances(2)
    regions = {"a": "eu-west-1", "b": "us-east-1"}
    hosts = {
        name: controller.instance_host(each, own_region=regions[name]) for name, each in zip("ab", ids, strict=True)
    }
    inventory = controller.inventory({"fleet": hosts})
    roles = [
        role("onprem_server", onprem_server_users=["agent-{{ inventory_hostname }}", "shared"]),
        role("onprem_admin", onprem_admin_users=["admin-{{ inventory_hostname }}"]),
        role("ec2_server", ec2_server_name="Server-{{ inventory_hostname }}"),
        role("ec2_admin", ec2_admin_name="Admin-{{ inventory_hostname }}"),
        role("hybrid_server", hybrid_server_regions="{{ [own_region] }}", hybrid_server_region=aws.region),
    ]
    predicted = run(controller, inventory, play_of("cwagent_fleet", *roles), check=True).assert_succeeded()
    done = run(controller, inventory, play_of("cwagent_fleet", *roles)).assert_succeeded()
    assert sorted(predicted.outcomes) == sorted(done.outcomes)
    after = snapshot(aws)
    assert after["users"].keys() == {"agent-a", "agent-b", "shared", "admin-a", "admin-b"}
    assert after["roles"].keys() == {"Server-a", "Server-b", "Admin-a", "Admin-b", HYBRID_ROLE}
    [trusted] = after["roles"][HYBRID_ROLE]["trust"]["Statement"]
    arns = [f"arn:aws:ssm:{region}:123456789012:*" for region in regions.values()]
    assert trusted["Condition"]["ArnEquals"]["aws:SourceArn"] == arns
    assert after["associations"] == {ids[0]: "Server-a", ids[1]: "Server-b"}
    assert done.writes.count("CreateAccessKey") == len(after["users"])


def test_the_role_of_hybrid_servers_on_localhost(controller: Controller) -> None:
    aws = controller.aws
    hybrid = role("hybrid_server", hybrid_server_regions=[aws.region])
    predicted = run(controller, controller.inventory({}), play_of("localhost", hybrid), check=True).assert_succeeded()
    done = run(controller, controller.inventory({}), play_of("localhost", hybrid)).assert_succeeded()
    assert [change[2] for change in predicted.changes] == [change[2] for change in done.changes]
    assert done.writes == ["CreateRole", "AttachRolePolicy", "AttachRolePolicy"]
    found = snapshot(aws)["roles"][HYBRID_ROLE]
    assert found["policies"] == [SSM_POLICY, SERVER_POLICY]
    assert snapshot(aws)["instance_profiles"] == {}
    assert run(controller, controller.inventory({}), play_of("localhost", hybrid)).assert_succeeded().writes == []
    without = run(controller, controller.inventory({}), play_of("localhost", role("hybrid_server"))).assert_failed()
    assert "trust_regions: a role with trust hybrid needs the regions of its servers" in without.message
    absent = {**hybrid, "hybrid_server_state": "absent"}
    run(controller, controller.inventory({}), play_of("localhost", absent)).assert_succeeded()
    assert snapshot(aws)["roles"] == {}


def test_roles_on_localhost_with_other_names_and_instances(controller: Controller) -> None:
    aws = controller.aws
    [instance] = aws.instances(1)
    keys = str(controller.home / "keys")
    server = role("ec2_server", ec2_server_name="CustomRole", ec2_server_instances={aws.region: [instance]})
    user = role("onprem_server", onprem_server_users=["custom-user"], onprem_server_key_store_directory=keys)
    tagged = {**server, "ec2_server_tags": {"team": "ops"}, "ec2_server_iam_path": "/monitoring/"}
    run(controller, controller.inventory({}), play_of("localhost", tagged, user)).assert_succeeded()
    after = snapshot(aws)
    assert after["associations"] == {instance: "CustomRole"}
    assert (after["roles"]["CustomRole"]["path"], after["roles"]["CustomRole"]["tags"]) == (
        "/monitoring/",
        {"team": "ops", "cwagent:managed": "created"},
    )
    assert after["users"].keys() == {"custom-user"}
    absent = [{**tagged, "ec2_server_state": "absent"}, {**user, "onprem_server_state": "absent"}]
    run(controller, controller.inventory({}), play_of("localhost", *absent)).assert_succeeded()
    after = snapshot(aws)
    assert (after["roles"], after["instance_profiles"], after["users"], after["associations"]) == ({}, {}, {}, {})


def test_files_in_an_execution_environment_are_refused_before_the_first_write(controller: Controller) -> None:
    """By site.yml before its roles on EC2, and by the role alone."""
    [instance] = controller.aws.instances(1)
    groups: dict[str, dict[str, Any]] = {
        "ec2_servers": {"web1": {"instance_id": instance}},
        "onprem_servers": {"db1": {}},
    }
    inventory = controller.inventory(groups)
    container = {"LAUNCHED_BY_RUNNER": "1", "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    playbook = controller.file("role.yml", [play_of("localhost", role("onprem_server"))])
    for refused in (controller.play(inventory, name, env=container) for name in ("site", playbook)):
        assert "saved_key.key_store: this is an execution environment" in refused.assert_failed().message
        assert refused.calls == []


def test_the_role_of_an_application_has_an_instance_profile_of_another_name(controller: Controller) -> None:
    """One instance has the profile and keeps it, and another gets it."""
    aws = controller.aws
    ids = aws.instances(2)
    create_role(aws, "ShopBackend", "AmazonS3ReadOnlyAccess")
    rename_instance_profile(aws, "ShopBackend", "ShopBackendProfile")
    associate(aws, ids[0], "ShopBackendProfile")
    names = {"ec2_server_name": "ShopBackend", "ec2_server_instance_profile": "ShopBackendProfile"}
    inventory = controller.inventory({"shop": {each: controller.instance_host(each) for each in ids}})
    shop = play_of("cwagent_shop", role("ec2_server", **names))
    predicted = run(controller, inventory, shop, check=True).assert_succeeded()
    done = run(controller, inventory, shop).assert_succeeded()
    assert predicted.changes == done.changes
    assert done.writes == ["AttachRolePolicy", "AssociateIamInstanceProfile"]
    after = snapshot(aws)
    assert after["roles"]["ShopBackend"]["policies"] == ["AmazonS3ReadOnlyAccess", SERVER_POLICY]
    assert after["instance_profiles"].keys() == {"ShopBackendProfile"}
    assert after["associations"] == dict.fromkeys(ids, "ShopBackendProfile")
    assert run(controller, inventory, shop).assert_succeeded().writes == []
