"""The roles from somebody else's playbook in another folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import ADMIN_ROLE, ADMIN_USER, COLLECTIONS, PARAMETER, SERVER_ROLE, SERVER_USER, Workplace, account


def role(name: str, **variables: Any) -> dict[str, Any]:
    return {"role": f"cwagent.iam.{name}", **variables}


def play_of(hosts: str, *roles: dict[str, Any]) -> dict[str, Any]:
    return {"hosts": hosts, "gather_facts": False, "roles": list(roles)}


def run(at: Workplace, inventory: Path, *plays: dict[str, Any]) -> Any:
    folder = at.home / "elsewhere"
    folder.mkdir(exist_ok=True)
    playbook = at.file("elsewhere/theirs.yml", list(plays))
    env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    return at.play(inventory, playbook, env=env, cwd=folder)


def test_on_the_hosts_they_are_for(workplace: Workplace) -> None:
    """With no variables but those a role requires."""
    aws = workplace.aws
    first, second = aws.instances(2)
    inventory = workplace.inventory({"fleet": {"a": workplace.on_instance(first), "b": workplace.on_instance(second)}})
    (workplace.home / "elsewhere").mkdir()
    workplace.file("elsewhere/agent.json", {"agent": {}})
    plays = [
        play_of("cwagent_fleet", role("ec2_server"), role("ec2_admin")),
        play_of("a", role("store_config", store_config_configs=[{"name": PARAMETER, "file": "agent.json"}])),
        play_of("cwagent_fleet", role("onprem_server"), role("onprem_admin")),
    ]
    run(workplace, inventory, *plays).succeeded()
    held = account(aws)
    assert held["carried"] == {first: SERVER_ROLE, second: SERVER_ROLE}
    assert held["parameters"] == {aws.region: {PARAMETER: {"agent": {}}}}
    assert held["roles"].keys() == {SERVER_ROLE, ADMIN_ROLE}
    assert held["users"].keys() == {SERVER_USER, ADMIN_USER}
    saved = workplace.home / ".cwagent" / "credentials"
    assert {path.name for path in saved.iterdir()} == {f"{name}.credentials" for name in (SERVER_USER, ADMIN_USER)}


def test_on_localhost_with_names_and_instances_of_their_own(workplace: Workplace) -> None:
    aws = workplace.aws
    [instance] = aws.instances(1)
    keys = str(workplace.home / "keys")
    server = role("ec2_server", ec2_server_name="Ours", ec2_server_instances={aws.region: [instance]})
    user = role("onprem_server", onprem_server_users=["ours"], onprem_server_credentials_directory=keys)
    tagged = {**server, "ec2_server_tags": {"team": "ops"}, "ec2_server_path": "/monitoring/"}
    run(workplace, workplace.inventory({}), play_of("localhost", tagged, user)).succeeded()
    held = account(aws)
    assert held["carried"] == {instance: "Ours"}
    assert (held["roles"]["Ours"]["path"], held["roles"]["Ours"]["tags"]) == ("/monitoring/", {"team": "ops"})
    assert held["users"].keys() == {"ours"}
    gone = [{**tagged, "ec2_server_state": "absent"}, {**user, "onprem_server_state": "absent"}]
    run(workplace, workplace.inventory({}), play_of("localhost", *gone)).succeeded()
    left = account(aws)
    assert (left["roles"], left["profiles"], left["users"], left["carried"]) == ({}, {}, {}, {})
