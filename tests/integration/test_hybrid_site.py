"""site.yml with on-premises servers that are registered with Systems Manager instead of having access keys."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Fault, Kind
from emulator.host import Host
from emulator.snapshot import snapshot
from harness import (
    HYBRID_ROLE,
    PLAY_SECONDS,
    SERVER_POLICY,
    SERVER_USER,
    SSM_POLICY,
    UNREACHABLE,
    Controller,
    Play,
    hybrid_nodes,
    onprem_host,
    trust,
)

HYBRID, KEY = "hybrid", "key"
HOUR, DAY = 3600, 86400


@dataclass(frozen=True)
class Fleet:
    """On-premises servers, each in a folder of this machine."""

    controller: Controller
    hosts: dict[str, Host]

    @classmethod
    def of(cls, controller: Controller, *names: str) -> Fleet:
        found = {name: controller.aws.host(controller.home / name, cloudwatch_agent=True) for name in names}
        return cls(controller, found)

    def variables(self, name: str, **more: Any) -> dict[str, Any]:
        return {**onprem_host(self.hosts[name]), "cwagent_region": self.controller.aws.region, **more}

    def inventory(self, identity: str | dict[str, str], down: str = "") -> Path:
        """An inventory with one identity for all servers, or with one for each of them.

        :param down: the name of a server that is off.
        """
        identities = identity if isinstance(identity, dict) else dict.fromkeys(self.hosts, identity)
        servers = {
            name: self.variables(name, cwagent_onprem_identity=of, **(UNREACHABLE if name == down else {}))
            for name, of in identities.items()
        }
        return self.controller.inventory({"onprem_servers": servers})

    def run(
        self, playbook: str, identity: str | dict[str, str], *arguments: str, down: str = "", **variables: Any
    ) -> Play:
        """Run a playbook with the inventory of these identities."""
        directory = str(self.controller.credentials)
        inventory = self.inventory(identity, down)
        return self.controller.play(inventory, playbook, *arguments, cwagent_key_store_directory=directory, **variables)

    def caller(self, name: str) -> str:
        """The caller that the agent of a server is, with the file and profile in its settings."""
        host = self.hosts[name]
        config = host.root / "opt/aws/amazon-cloudwatch-agent/etc/common-config.toml"
        settings = tomllib.loads(config.read_text())["credentials"]
        found: dict[str, dict[str, str]] = {}
        section: dict[str, str] = {}
        for line in Path(settings["shared_credential_file"]).read_text().splitlines():
            if line.startswith("["):
                section = found.setdefault(line.strip("[] "), {})
            elif "=" in line and not line.startswith("#"):
                option, _, value = line.partition("=")
                section[option.strip()] = value.strip()
        keys = found[settings["shared_credential_profile"]]
        session = {
            "AccessKeyId": keys["aws_access_key_id"],
            "SecretAccessKey": keys["aws_secret_access_key"],
            "SessionToken": keys.get("aws_session_token"),
        }
        client = self.controller.aws.client("sts", credentials=session)
        return str(client.get_caller_identity()["Arn"])

    def account(self) -> dict[str, Any]:
        return snapshot(self.controller.aws)


def without_tense(play: Play) -> str:
    """The report as it is with and without check mode, on one line."""
    return re.sub(r"\b(would be|was) ", "", " ".join(play.report))


def test_from_nothing_a_hybrid_server_needs_no_key(controller: Controller) -> None:
    fleet = Fleet.of(controller, "db1")
    empty = fleet.account()
    predicted = fleet.run("site", HYBRID, "--check", "--diff").assert_succeeded()
    assert fleet.account() == empty
    done = fleet.run("site", HYBRID, "--diff", "-vvvv").assert_succeeded()
    assert predicted.changed_tasks == done.changed_tasks
    steps = [line for line in done.report if line.startswith("- ")]
    assert [line for line in predicted.report if line.startswith("- ")] == steps

    account = fleet.account()
    assert account["users"] == {}
    assert account["roles"][HYBRID_ROLE]["policies"] == sorted([SERVER_POLICY, SSM_POLICY])
    assert account["activations"][controller.aws.region] == []
    [node] = hybrid_nodes(controller.aws)
    assert fleet.caller("db1").endswith(f":assumed-role/{HYBRID_ROLE}/{node}")
    controller.aws.shift_clock(HOUR + 60)
    assert fleet.caller("db1").endswith(f":assumed-role/{HYBRID_ROLE}/{node}")

    again = fleet.run("site", HYBRID).assert_succeeded()
    assert (again.report[0], again.changed_tasks, again.writes) == ("Nothing to do.", [], [])


def test_a_server_with_a_key_becomes_hybrid_and_comes_back(controller: Controller) -> None:
    fleet, user = Fleet.of(controller, "db1"), f"{SERVER_USER}-db1"
    fleet.run("site", KEY).assert_succeeded()
    assert fleet.caller("db1").endswith(f":user/{user}")

    fleet.run("site", HYBRID).assert_succeeded()
    assert ":assumed-role/" in fleet.caller("db1")
    phases = []
    for wait in (0, 6 * HOUR, 8 * DAY, 0):
        controller.aws.shift_clock(wait)
        before = fleet.account()
        predicted = fleet.run("site", HYBRID, "--check").assert_succeeded()
        assert fleet.account() == before
        run = fleet.run("site", HYBRID).assert_succeeded()
        assert (predicted.changes, without_tense(predicted)) == (run.changes, without_tense(run))
        phases.append((run.changed_tasks != [], user in fleet.account()["users"]))
        assert ":assumed-role/" in fleet.caller("db1")
    assert phases == [(False, True), (True, True), (True, False), (False, False)]
    assert list(controller.credentials.glob(f"{user}*")) == []

    fleet.run("site", KEY).assert_succeeded()
    assert fleet.caller("db1").endswith(f":user/{user}")
    assert (hybrid_nodes(controller.aws), fleet.hosts["db1"].registration) == ([], None)
    again = fleet.run("site", KEY).assert_succeeded()
    assert again.changed_tasks == []


def test_a_shared_user_stays_until_each_server_is_registered(controller: Controller) -> None:
    fleet = Fleet.of(controller, "db1", "db2")
    shared = {"cwagent_onprem_users": "shared"}
    fleet.run("site", KEY, **shared).assert_succeeded()
    fleet.run("site", {"db1": HYBRID, "db2": KEY}, **shared).assert_succeeded()
    controller.aws.shift_clock(20 * DAY)
    fleet.run("site", {"db1": HYBRID, "db2": KEY}, **shared).assert_succeeded()
    assert fleet.caller("db2").endswith(f":user/{SERVER_USER}")
    limited = fleet.run("site", HYBRID, "--limit", "localhost,db1", **shared).assert_succeeded()
    assert "db2" in limited.words
    assert fleet.caller("db2").endswith(f":user/{SERVER_USER}")


@pytest.mark.parametrize("is_reachable", [True, False])
@pytest.mark.parametrize("playbook", ["remove_servers", "teardown"])
def test_a_server_that_leaves_is_deregistered(controller: Controller, playbook: str, is_reachable: bool) -> None:
    fleet = Fleet.of(controller, "db1", "db2")
    fleet.run("site", HYBRID).assert_succeeded()
    named = {"cwagent_remove_servers": ["db1"]} if playbook == "remove_servers" else {}
    down = "" if is_reachable else "db1"
    if down:
        registration = fleet.hosts[down].registration
        assert registration
        controller.aws.agents(registration["ManagedInstanceID"], running=False)
    predicted = fleet.run(playbook, HYBRID, "--check", cwagent_confirm=playbook, down=down, **named)
    done = fleet.run(playbook, HYBRID, cwagent_confirm=playbook, down=down, **named)
    assert predicted.report[0].replace(" would be", "") == done.report[0]
    assert predicted.report[1:] == done.report[1:]
    assert (done.code == 0) == (is_reachable or playbook == "remove_servers")
    assert "There is no user" not in done.words
    ssm = controller.aws.client("ssm")
    names = [each.get("Name") for each in ssm.describe_instance_information()["InstanceInformationList"]]
    assert names == (["db2"] if playbook == "remove_servers" else [])
    assert (HYBRID_ROLE in fleet.account()["roles"]) == (playbook == "remove_servers")
    assert (fleet.hosts["db1"].registration is None) == is_reachable


@pytest.mark.parametrize("action", ["AttachRolePolicy", "CreateActivation", "RegisterManagedInstance"])
def test_the_run_after_a_killed_one_ends_like_an_undisturbed_one(controller: Controller, action: str) -> None:
    fleet = Fleet.of(controller, "db1")
    run = controller.start(fleet.inventory(HYBRID), "site")
    controller.aws.arm(Fault(Kind.KILL_AFTER, action=action, process=run.pid))
    assert run.wait(PLAY_SECONDS) != 0
    controller.aws.disarm()
    controller.aws.shift_clock(HOUR + 60)  # an activation that was not used has expired
    fleet.run("site", HYBRID).assert_succeeded()
    account = fleet.account()
    assert (account["users"], account["activations"][controller.aws.region]) == ({}, [])
    assert account["roles"].keys() == {HYBRID_ROLE}
    [node] = hybrid_nodes(controller.aws)
    assert fleet.caller("db1").endswith(f":assumed-role/{HYBRID_ROLE}/{node}")
    again = fleet.run("site", HYBRID).assert_succeeded()
    assert (again.changed_tasks, again.writes) == ([], [])


@pytest.mark.parametrize("identity", [HYBRID, KEY])
def test_a_teardown_leaves_neither_a_user_on_its_way_nor_a_node(controller: Controller, identity: str) -> None:
    """The second server is to have a key again, and no run of site.yml has changed it yet."""
    fleet = Fleet.of(controller, "db1")
    fleet.run("site", KEY).assert_succeeded()
    fleet.run("site", HYBRID).assert_succeeded()
    if identity == KEY:
        controller.aws.agents(hybrid_nodes(controller.aws)[0], running=False)
    fleet.run("teardown", identity, cwagent_confirm="teardown", down="db1" if identity == KEY else "")
    account = fleet.account()
    assert (account["users"], account["roles"], hybrid_nodes(controller.aws)) == ({}, {}, [])
    assert list(controller.credentials.glob("*.credentials")) == []


@pytest.mark.parametrize("playbook", ["site", "rotate_keys"])
def test_a_server_keeps_its_registration_while_its_key_does_not_work(controller: Controller, playbook: str) -> None:
    fleet = Fleet.of(controller, "db1")
    fleet.run("site", KEY).assert_succeeded()
    fleet.run("site", HYBRID).assert_succeeded()
    controller.aws.shift_clock(6 * HOUR)
    fleet.run("site", HYBRID).assert_succeeded()
    back = fleet.run(playbook, KEY).assert_failed()
    assert "was deactivated" in back.message
    assert "The server keeps its registration" in back.message
    assert ":assumed-role/" in fleet.caller("db1")


def register(fleet: Fleet, role: str) -> None:
    """Somebody registers db1 with a role that may not send metrics."""
    aws, host = fleet.controller.aws, fleet.hosts["db1"]
    aws.client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=trust("ssm.amazonaws.com"))
    host.register(aws.client("ssm").create_activation(IamRole=role, DefaultInstanceName="db1"), aws.region)
    host.restart()


def stop_agent(fleet: Fleet) -> None:
    """The credentials of a registration with our role expire."""
    register(fleet, HYBRID_ROLE)
    fleet.controller.aws.agents(hybrid_nodes(fleet.controller.aws)[0], running=False)
    fleet.controller.aws.shift_clock(5 * HOUR)


def deny_policy(fleet: Fleet) -> None:
    """Nobody may attach the agent's policy to the role."""
    fleet.controller.aws.arm(Fault(Kind.DENY, action="AttachRolePolicy", text=SERVER_POLICY, times=99))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (stop_agent, "The CloudWatch agent keeps the credentials that it has. STS refused the credentials"),
        (lambda fleet: register(fleet, "Other"), "which is not a session of role 'CloudWatchAgentHybridRole'"),
        (deny_policy, "The server keeps the credentials that it has, because the role CloudWatchAgentHybridRole was"),
    ],
    ids=["expired credentials", "another role", "role without its policy"],
)
def test_a_server_keeps_its_key_until_its_registration_works(
    controller: Controller, prepare: Callable[[Fleet], None], message: str
) -> None:
    fleet, user = Fleet.of(controller, "db1"), f"{SERVER_USER}-db1"
    fleet.run("site", KEY).assert_succeeded()
    prepare(fleet)
    for _again in range(2):
        play = fleet.run("site", HYBRID, cwagent_wait_timeout=5).assert_failed()
        assert message in play.message
        assert fleet.caller("db1").endswith(f":user/{user}")
    assert [
        key["Status"] for key in controller.aws.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    ] == ["Active"]


def test_a_profile_with_the_key_of_somebody_else_is_not_given_to_the_ssm_agent(controller: Controller) -> None:
    fleet = Fleet.of(controller, "db1")
    file = fleet.hosts["db1"].credentials
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[default]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = Se/CrEt\n")
    before = file.read_text()
    for arguments in (["--check"], []):
        play = fleet.run("site", HYBRID, *arguments).assert_failed()
        assert "has the access key of a user, which the SSM agent would replace" in play.message
        assert "Se/CrEt" not in play.output
    assert (file.read_text(), hybrid_nodes(fleet.controller.aws)) == (before, [])


@pytest.mark.parametrize("playbook", ["remove_servers", "teardown"])
def test_a_node_that_another_server_may_use_stays(controller: Controller, playbook: str) -> None:
    """Another inventory has a server of the same name. Ansible does not reach ours, and one of them is online."""
    fleet = Fleet.of(controller, "db1")
    fleet.run("site", HYBRID).assert_succeeded()
    named = {"cwagent_remove_servers": ["db1"]} if playbook == "remove_servers" else {}
    done = fleet.run(playbook, HYBRID, cwagent_confirm=playbook, down="db1", **named).assert_failed()
    assert hybrid_nodes(controller.aws)[0] in done.message
    assert HYBRID_ROLE in fleet.account()["roles"]
    assert ":assumed-role/" in fleet.caller("db1")


def test_a_teardown_keeps_the_role_of_servers_in_another_region(controller: Controller) -> None:
    """Another inventory has them, and only the role's trust policy shows their region."""
    elsewhere = {"cwagent_region": "us-east-1", "cwagent_onprem_identity": HYBRID}
    others, fleet = Fleet.of(controller, "remote"), Fleet.of(controller, "db1")
    inventory = controller.inventory({"onprem_servers": {"remote": others.variables("remote", **elsewhere)}})
    controller.play(inventory, "site").assert_succeeded()

    fleet.run("site", KEY).assert_succeeded()
    fleet.run("teardown", KEY, cwagent_confirm="teardown").assert_succeeded()
    assert f":assumed-role/{HYBRID_ROLE}/" in others.caller("remote")
    fleet.run("site", HYBRID).assert_succeeded()
    kept = fleet.run("teardown", HYBRID, cwagent_confirm="teardown").assert_failed()
    assert "because these servers still use it: mi-" in kept.message
    assert list(fleet.account()["roles"]) == [HYBRID_ROLE]


@pytest.mark.parametrize("playbook", ["remove_servers", "teardown"])
@pytest.mark.parametrize("is_online", [True, False])
def test_the_node_of_another_server_is_not_that_of_a_server_that_was_reached(
    controller: Controller, playbook: str, is_online: bool
) -> None:
    """Another inventory has a hybrid server of the same name."""
    others = Fleet(controller, {"db1": controller.aws.host(controller.home / "other", cloudwatch_agent=True)})
    others.run("site", HYBRID).assert_succeeded()
    [node] = hybrid_nodes(controller.aws)
    controller.aws.agents(node, running=is_online)

    fleet = Fleet.of(controller, "db1")
    deliver: dict[str, Any] = {"cwagent_deliver_keys": True}
    named = {"cwagent_remove_servers": ["db1"]} if playbook == "remove_servers" else {}
    fleet.run("site", KEY, **deliver).assert_succeeded()
    fleet.run(playbook, KEY, cwagent_confirm=playbook, **{**deliver, **named}).assert_succeeded()
    assert hybrid_nodes(controller.aws) == [node]
    assert fleet.account()["users"] == {}


@pytest.mark.parametrize(("before", "after"), [(KEY, HYBRID), (HYBRID, KEY)])
def test_a_removal_before_the_run_that_changes_a_server_leaves_no_settings(
    controller: Controller, before: str, after: str
) -> None:
    fleet = Fleet.of(controller, "db1")
    deliver: dict[str, Any] = {"cwagent_deliver_keys": True}
    fleet.run("site", before, **deliver).assert_succeeded()
    fleet.run("teardown", after, cwagent_confirm="teardown", **deliver).assert_succeeded()
    config = fleet.hosts["db1"].root / "opt/aws/amazon-cloudwatch-agent/etc/common-config.toml"
    assert "credentials" not in tomllib.loads(config.read_text())
    assert (hybrid_nodes(controller.aws), fleet.hosts["db1"].registration) == ([], None)
    assert (fleet.account()["users"], fleet.account()["roles"]) == ({}, {})


def test_the_file_of_the_ssm_agent_is_not_removed_as_that_of_an_access_key(controller: Controller) -> None:
    fleet = Fleet.of(controller, "db1")
    same = {
        "onprem_credentials_file": str(fleet.hosts["db1"].credentials),
        "onprem_credentials_credentials_profile": "default",
    }
    fleet.run("site", HYBRID, **same).assert_succeeded()
    assert f":assumed-role/{HYBRID_ROLE}/" in fleet.caller("db1")
    assert fleet.run("site", HYBRID, **same).assert_succeeded().changed_tasks == []
