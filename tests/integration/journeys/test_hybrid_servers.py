"""On-premises servers become hybrid, go back to access keys, and leave."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent import Agent
from emulator import Fault, Kind
from emulator.machines import AGENT_FOLDER
from fleet import HOUR, HYBRID, KEY, Fleet
from harness import (
    HYBRID_ROLE,
    SERVER_POLICY,
    SERVER_USER,
    SSM_POLICY,
    UNREACHABLE,
    Play,
    assert_complete_report,
    hybrid_nodes,
    hybrid_trust,
    trust,
)
from hybrid import register_another
from states import States

ROLE = "cwagent.iam.hybrid_registration"
REGISTER = f"{ROLE} : Manage the registration with Systems Manager"
MANAGE = f"{ROLE} : Manage the region and the agent's settings"
PROXY_PASSWORD, NOTE = "Proxy-Pass", "a-note-for-nobody"
# The emulator has no TLS, so it is not asked through this proxy.
ENVIRONMENT = {"HTTPS_PROXY": f"http://user:{PROXY_PASSWORD}@proxy:3128", "MY_NOTE": NOTE}


def two_hybrid_servers(states: States) -> tuple[Fleet, Play]:
    """Two servers after the first site.yml, and the run.

    The CloudWatch agent of the first one runs. The second one would have its access key in the SSM agent's profile.
    """
    fleet = Fleet(states.controller)
    for name in ("db1", "db2"):
        fleet.add_machine(name, cwagent_onprem_identity=HYBRID)
    control = str(agent_of(fleet).control)
    fleet.set("db1", cwagent_environment=ENVIRONMENT, hybrid_registration_agent_ctl=control)
    file = str(fleet.machines["db2"].credentials)
    fleet.set("db2", onprem_credentials_file=file, onprem_credentials_credentials_profile="default")
    agent_of(fleet).install()
    return fleet, fleet.play("site", "--diff", "-vvvv").assert_succeeded()


def server_with_key(states: States) -> Fleet:
    fleet = Fleet(states.controller)
    fleet.add_machine("db1", cwagent_onprem_identity=KEY)
    fleet.play("site").assert_succeeded()
    assert fleet.caller("db1").endswith(f":user/{SERVER_USER}-db1")
    return fleet


def server_that_left_its_key(states: States) -> Fleet:
    """Its user still exists."""
    fleet = states.begin(server_with_key)
    fleet.identify(HYBRID)
    fleet.play("site").assert_succeeded()
    assert_hybrid(fleet, "db1")
    assert f"{SERVER_USER}-db1" in fleet.account()["users"]
    return fleet


def agent_of(fleet: Fleet) -> Agent:
    return Agent(fleet.machines["db1"].root)


def config_of(fleet: Fleet, host: str) -> Path:
    return fleet.machines[host].root / AGENT_FOLDER / "etc/common-config.toml"


def node_of(fleet: Fleet, host: str) -> str:
    registration = fleet.machines[host].registration
    assert registration
    return registration["ManagedInstanceID"]


def assert_hybrid(fleet: Fleet, *hosts: str) -> None:
    for host in hosts:
        assert fleet.caller(host).endswith(f":assumed-role/{HYBRID_ROLE}/{node_of(fleet, host)}")


def assert_without_settings(fleet: Fleet, host: str) -> None:
    machine = fleet.machines[host]
    assert machine.registration is None
    assert "credentials" not in tomllib.loads(config_of(fleet, host).read_text())
    assert not machine.credentials.exists() or "region" not in machine.credentials.read_text()


def tasks_of_role(play: Play) -> list[str]:
    """The tasks of the role that changed something."""
    return [task for task in play.changed_tasks if task.startswith(ROLE)]


def callers_in(play: Play) -> list[str]:
    """The callers in the results of the task that lets the agent use the credentials."""
    return sorted(each.result["caller"] for each in play.results if each.task == MANAGE and "caller" in each.result)


def test_from_nothing_hybrid_servers_need_no_key(states: States) -> None:
    """``test_guide_alone.py`` predicts it, and follows a server back to its key and through its removal."""
    fleet, done = states.begin(two_hybrid_servers)
    assert tasks_of_role(done) == [REGISTER, REGISTER, MANAGE, MANAGE]
    assert_complete_report(done)

    account = fleet.account()
    assert account["users"] == {}
    assert account["roles"][HYBRID_ROLE]["policies"] == sorted([SERVER_POLICY, SSM_POLICY])
    assert account["activations"][fleet.aws.region] == []
    assert set(hybrid_nodes(fleet.aws)) == {node_of(fleet, host) for host in fleet.machines}
    assert_hybrid(fleet, "db1", "db2")
    callers = sorted(map(fleet.caller, fleet.machines))
    assert callers_in(done) == callers
    assert agent_of(fleet).actions() == ["stop", "start"]
    sessions = [value for machine in fleet.machines.values() for value in machine.session().values()]
    hidden = [*sessions, PROXY_PASSWORD, NOTE]
    shown = done.output + json.dumps([each.result for each in done.results])
    assert (len(hidden), [secret for secret in hidden if secret in shown]) == (8, [])

    fleet.aws.shift_clock(HOUR + 60)
    assert_hybrid(fleet, "db1", "db2")
    again = fleet.play("site").assert_succeeded()
    assert (again.report[0], again.changed_tasks, again.writes) == ("Nothing to do.", [], [])
    assert (callers_in(again), agent_of(fleet).actions()) == (callers, [])


def test_a_server_keeps_its_key_until_its_registration_works(states: States) -> None:
    fleet, user = states.begin(server_with_key), f"{SERVER_USER}-db1"
    fleet.identify(HYBRID)
    aws, machine = fleet.aws, fleet.machines["db1"]

    def assert_kept(message: str) -> None:
        play = fleet.play("site", cwagent_wait_timeout=5).assert_failed()
        assert message in play.message
        assert "Se/CrEt" not in play.output
        assert fleet.caller("db1").endswith(f":user/{user}")

    aws.arm(Fault(Kind.DENY, action="AttachRolePolicy", text=SERVER_POLICY, times=99))
    assert_kept(f"The server keeps the credentials that it has, because the role {HYBRID_ROLE} was not managed")
    aws.disarm()

    of_others = "[default]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = Se/CrEt\n"
    machine.credentials.parent.mkdir(parents=True, exist_ok=True)
    machine.credentials.write_text(of_others)
    assert_kept("has the access key of a user, which the SSM agent would replace")
    assert (machine.credentials.read_text(), hybrid_nodes(aws)) == (of_others, [])
    assert fleet.account()["roles"][HYBRID_ROLE]["policies"] == sorted([SERVER_POLICY, SSM_POLICY])
    machine.credentials.unlink()

    aws.client("iam").create_role(RoleName="Other", AssumeRolePolicyDocument=trust("ssm.amazonaws.com"))
    activation = aws.client("ssm").create_activation(IamRole="Other", DefaultInstanceName="db1")
    fleet.set("db1", cwagent_node_id=machine.register(activation, aws.region))
    machine.restart()
    assert_kept(f"which is not a session of role '{HYBRID_ROLE}'")
    [key] = aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    assert key["Status"] == "Active"


def test_a_server_whose_key_was_deactivated_keeps_its_registration(states: States) -> None:
    """Its user is retired in steps, and the server is to come back meanwhile."""
    fleet = states.begin(server_that_left_its_key)
    fleet.aws.shift_clock(6 * HOUR)
    assert fleet.play("site").assert_succeeded().writes == ["UpdateAccessKey"]
    fleet.identify(KEY)
    for playbook in ("site", "rotate_keys"):
        back = fleet.play(playbook).assert_failed()
        assert "was deactivated" in back.message
        assert "The server keeps its registration" in back.message
        assert_hybrid(fleet, "db1")


def test_removed_servers_are_deregistered_even_if_they_are_off(states: States) -> None:
    fleet, _ = states.begin(two_hybrid_servers)
    agent_of(fleet).actions()
    stays = register_another(fleet.aws, states.controller.home / "web", "web")
    fleet.set("db2", **UNREACHABLE)
    fleet.aws.agents(node_of(fleet, "db2"), running=False)
    given: dict[str, Any] = {"cwagent_confirm": "remove_servers", "cwagent_remove_servers": ["db1", "db2"]}
    predicted = fleet.play("remove_servers", "--check", **given).assert_succeeded()
    done = fleet.play("remove_servers", **given).assert_succeeded()
    assert (predicted.writes, predicted.report[1:]) == ([], done.report[1:])
    assert tasks_of_role(done) == [MANAGE, REGISTER]
    assert "There is no user" not in done.words
    assert (hybrid_nodes(fleet.aws), HYBRID_ROLE in fleet.account()["roles"]) == ([stays], True)
    assert_without_settings(fleet, "db1")
    assert agent_of(fleet).actions() == ["stop", "start"]
    assert fleet.machines["db2"].registration


def test_a_teardown_keeps_a_node_that_another_server_may_use(states: States) -> None:
    """Ansible does not reach db2, and a server with its node is online. It is to have an access key."""
    fleet, _ = states.begin(two_hybrid_servers)
    node = node_of(fleet, "db2")
    fleet.set("db2", **UNREACHABLE)
    fleet.identify(KEY, "db2")
    kept = fleet.play("teardown", cwagent_confirm="teardown").assert_failed()
    assert node in kept.message
    assert (hybrid_nodes(fleet.aws), HYBRID_ROLE in fleet.account()["roles"]) == ([node], True)
    assert_hybrid(fleet, "db2")
    assert_without_settings(fleet, "db1")

    fleet.aws.agents(node, running=False)
    done = fleet.play("teardown", cwagent_confirm="teardown").assert_failed()
    assert tasks_of_role(done) == []
    account = fleet.account()
    assert (account["users"], account["roles"], hybrid_nodes(fleet.aws)) == ({}, {}, [])
    assert fleet.machines["db2"].registration


@pytest.mark.parametrize(("make", "identity"), [(server_with_key, HYBRID), (server_that_left_its_key, KEY)])
def test_a_teardown_before_the_run_that_changes_a_server_leaves_nothing(
    states: States, make: Callable[[States], Fleet], identity: str
) -> None:
    fleet = states.begin(make)
    fleet.identify(identity)
    fleet.play("teardown", cwagent_confirm="teardown").assert_succeeded()
    assert_without_settings(fleet, "db1")
    account = fleet.account()
    assert (account["users"], account["roles"], hybrid_nodes(fleet.aws)) == ({}, {}, [])
    assert list(fleet.controller.credentials.glob("*.credentials")) == []


def test_a_teardown_keeps_the_servers_of_another_inventory_and_their_role(states: States) -> None:
    """Only the role's trust policy shows their Region. One of them has the name of a server that is reached."""
    fleet, _ = states.begin(two_hybrid_servers)
    aws, other_region = fleet.aws, "us-east-1"
    document = json.loads(hybrid_trust(aws))
    [statement] = document["Statement"]
    regions = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
    regions.append(regions[0].replace(aws.region, other_region))
    fleet.iam.update_assume_role_policy(RoleName=HYBRID_ROLE, PolicyDocument=json.dumps(document))
    remote = register_another(aws, states.controller.home / "remote", "remote", region=other_region)

    kept = fleet.play("teardown", cwagent_confirm="teardown").assert_failed()
    assert f"because these servers still use it: {remote}" in kept.message
    assert (list(fleet.account()["roles"]), hybrid_nodes(aws)) == ([HYBRID_ROLE], [])

    node = register_another(aws, states.controller.home / "namesake", "db1")
    fleet.identify(KEY)
    fleet.play("teardown", cwagent_confirm="teardown", cwagent_keep_nodes=[node]).assert_succeeded()
    assert (list(fleet.account()["roles"]), hybrid_nodes(aws)) == ([HYBRID_ROLE], [node])
    assert hybrid_nodes(aws, other_region) == [remote]


def test_a_server_that_hides_its_registration_does_not_count_as_deregistered(states: States) -> None:
    fleet, _ = states.begin(two_hybrid_servers)
    node, registration = node_of(fleet, "db1"), fleet.machines["db1"].registration_file
    for file in (registration, registration.with_name("cwagent-registered")):
        file.rename(f"{file}.hidden")
    fleet.identify(KEY, "db1")
    found = fleet.play("site", cwagent_wait_timeout=2).assert_failed()
    assert f"These nodes are still registered: {node} (db1, Online)" in found.message
    assert "cwagent_keep_nodes in the playbooks" in found.message
    assert node in hybrid_nodes(fleet.aws)
