"""An on-premises host is registered with Systems Manager; its activation exists only during that time."""

from __future__ import annotations

import json
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Behaviour, Fault, Kind
from emulator.host import Host
from harness import HYBRID_ROLE, PLAY_SECONDS, SSM_POLICY, Controller, Play, create_hybrid_role, lost_after

NAME = "db1"
STEPS = [
    f"create an activation of role '{HYBRID_ROLE}' for {NAME}",
    f"register {NAME} with Systems Manager in region eu-central-1",
    f"restart the SSM agent on {NAME}",
    f"delete the activation for {NAME}",
]
# Kills the module that calls the program, before the program runs or after it has ended.
KILLING_PROGRAM = """\
#!/bin/sh
case "$*" in *{words}*) if [ ! -e {flag} ]; then touch {flag}; {body}; fi ;; esac
exec {program}.real "$@"
"""
# Looks for the activation code in the arguments and environments of all other processes.
WATCHING_PROGRAM = """\
#!{python}
import json, os, pathlib, sys
seen = []
if "-code" in sys.argv:
    code = sys.argv[sys.argv.index("-code") + 1].encode()
    for path in pathlib.Path("/proc").glob("[0-9]*/*"):
        if path.name in ("cmdline", "environ") and path.parent.name != str(os.getpid()):
            try:
                seen += [str(path)] if code in path.read_bytes() else []
            except OSError:
                pass
    pathlib.Path({evidence!r}).write_text(json.dumps(seen))
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""
KILL_BEFORE, KILL_AFTER = "kill -9 $PPID; exit 1", '{program}.real "$@"; kill -9 $PPID; exit 1'


@dataclass(frozen=True)
class Site:
    """An account with a hybrid role, and an on-premises host."""

    controller: Controller
    host: Host

    @property
    def playbook(self) -> Path:
        """A playbook whose only task manages the node. Its options are in the variable ``options``."""
        paths = {
            "ssm_agent": str(self.host.ssm_agent),
            "ssm_agent_config": str(self.host.configuration_file),
            "registration": str(self.host.registration_file),
        }
        options = {"region": self.controller.aws.region, "wait_timeout": 20, **paths}
        task = {
            "name": "Manage the node",
            "cwagent.iam.cwagent_hybrid_node": "{{ base | combine(options) }}",
            "environment": {"PATH": self.host.environment["PATH"], "HOME": self.host.environment["HOME"]},
        }
        play = {"hosts": "all", "gather_facts": False, "vars": {"base": options, "options": {}}, "tasks": [task]}
        return self.controller.file("hybrid.yml", [play])

    @property
    def inventory(self) -> Path:
        return self.controller.inventory({"onprem": {NAME: {}}})

    def play(self, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Play:
        return self.controller.play(self.inventory, self.playbook, *arguments, env=env, options=options)

    def activations(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.controller.aws.client("ssm").describe_activations()["ActivationList"]
        return found

    def nodes(self) -> list[dict[str, Any]]:
        answer = self.controller.aws.client("ssm").describe_instance_information()
        found: list[dict[str, Any]] = answer["InstanceInformationList"]
        return found

    def assert_registered(self) -> str:
        """Assert that the host is the only node, and online, and that nothing else is left. :returns: its ID."""
        [node] = self.nodes()
        assert self.host.registration == {"ManagedInstanceID": node["InstanceId"], "Region": self.controller.aws.region}
        assert (node["PingStatus"], node["Name"], node["IamRole"]) == ("Online", NAME, HYBRID_ROLE)
        assert self.activations() == []
        assert not self.record.exists()
        return str(node["InstanceId"])

    @property
    def record(self) -> Path:
        return self.host.registration_file.with_name("cwagent-unfinished.json")

    def kill_module(self, program: Path, words: str, body: str) -> None:
        """Replace a program of the host by one that once kills the module that calls it with these words."""
        flag = self.host.root / "killed"
        program.rename(f"{program}.real")
        body = body.replace("{program}", str(program))
        program.write_text(KILLING_PROGRAM.format(words=words, flag=flag, program=program, body=body))
        program.chmod(0o755)


@pytest.fixture
def site(controller: Controller) -> Site:
    create_hybrid_role(controller.aws, SSM_POLICY)
    return Site(controller, controller.aws.host(controller.home / "host"))


def result(play: Play) -> dict[str, Any]:
    [task] = play.results
    return task.result


@pytest.mark.main_job
def test_a_host_is_registered_and_deregistered(site: Site) -> None:
    predicted = site.play("--check", tags={"team": "ops"}).assert_succeeded()
    assert predicted.writes == []
    assert site.host.registration is None
    done = site.play(tags={"team": "ops"}).assert_succeeded()
    assert predicted.changes == done.changes
    assert result(done)["steps"] == STEPS
    node = site.assert_registered()
    assert result(done)["node"] == {"id": node, "region": site.controller.aws.region, "role": HYBRID_ROLE, "name": NAME}
    ssm = site.controller.aws.client("ssm")
    tags = ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=node)["TagList"]
    assert {"team": "ops", "cwagent:managed": "created"}.items() <= {
        each["Key"]: each["Value"] for each in tags
    }.items()

    again = site.play().assert_succeeded()
    assert (result(again)["steps"], again.writes) == ([], [])
    assert [call.action for call in again.calls] == ["DescribeInstanceInformation"]

    predicted = site.play("--check", state="deregistered").assert_succeeded()
    assert site.assert_registered() == node
    done = site.play(state="deregistered").assert_succeeded()
    assert predicted.changes == done.changes
    assert result(done)["counts"] == {"create": 0, "update": 0, "delete": 2}
    assert (site.nodes(), site.host.registration, site.record.exists()) == ([], None, False)
    again = site.play(state="deregistered").assert_succeeded()
    assert (result(again)["steps"], again.calls) == ([], [])


def test_the_code_is_nowhere(site: Site) -> None:
    """Not in the output, in any file of the controller or the host, in Ansible's log, or in another process."""
    log, evidence = site.controller.home / "ansible.log", site.controller.home / "evidence"
    program = site.host.ssm_agent
    places = {"evidence": str(evidence), "program": str(program.rename(f"{program}.real"))}
    program.write_text(WATCHING_PROGRAM.format(python=sys.executable, **places))
    program.chmod(0o755)
    env = {"ANSIBLE_LOG_PATH": str(log), "ANSIBLE_PIPELINING": "False"}
    play = site.play("-vvvv", "--diff", env=env).assert_succeeded()
    [code] = {call.params["ActivationCode"] for call in play.calls if call.action == "RegisterManagedInstance"}
    assert code not in play.output
    assert log.exists()
    assert json.loads(evidence.read_text()) == []
    files = [path for path in site.controller.home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if code.encode() in path.read_bytes()] == []


def test_the_code_is_in_no_message_if_the_registration_fails(site: Site) -> None:
    """Even if the SSM agent prints it."""
    program = site.host.ssm_agent
    program.write_text('#!/bin/sh\necho "$@"; echo "$@" > "$HOME/arguments"; exit 7\n')
    play = site.play("-vvvv").assert_failed()
    given = (site.host.root / "root/arguments").read_text().split()
    code = given[given.index("-code") + 1]
    assert "failed with status 7" in play.message
    assert code not in play.output
    assert site.activations() == []
    assert result(play)["not_done"] == STEPS[1:3]


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"ANSIBLE_KEEP_REMOTE_FILES": "True"}, "keep_remote_files"),
        ({"ANSIBLE_DEBUG": "True"}, "ANSIBLE_DEBUG"),
    ],
)
def test_settings_that_would_write_the_code_are_refused(site: Site, env: dict[str, str], words: str) -> None:
    play = site.play(env=env).assert_failed()
    assert "The activation code was not sent" in play.message
    assert words in play.message
    assert play.writes == []


def test_a_missing_agent_is_an_error_with_the_command(site: Site) -> None:
    site.host.ssm_agent.unlink()
    play = site.play().assert_failed()
    assert re.search(r"db1 has no SSM agent.*hybrid-multicloud-ssm-agent-install-linux\.html", play.message)
    assert play.calls == []


def test_a_registration_elsewhere_is_refused(site: Site) -> None:
    site.play().assert_succeeded()
    node = site.assert_registered()
    other = site.play(region="eu-west-1").assert_failed()
    assert f"db1 is registered as node {node} in region eu-central-1, and this run is for region eu-west-1" in (
        other.message
    )
    site.controller.aws.client("ssm").deregister_managed_instance(InstanceId=node)
    gone = site.play().assert_failed()
    assert "there is no such node in this account and region. It belongs to another account" in gone.message
    assert gone.writes == []
    left = site.play(state="deregistered").assert_succeeded()
    assert left.writes == []
    assert site.host.registration


def test_a_node_of_others_stays(site: Site) -> None:
    aws = site.controller.aws
    activation = aws.client("ssm").create_activation(IamRole=HYBRID_ROLE, DefaultInstanceName="of others")
    node = site.host.register(activation, aws.region)
    site.host.restart()
    kept = site.play().assert_succeeded()
    assert (kept.writes, result(kept)["node"]["id"]) == ([], node)
    kept = site.play(state="deregistered").assert_succeeded()
    assert kept.writes == []
    assert f"db1 stays registered as node {node}" in kept.words
    assert len(site.activations()) == 1


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (Kind.INTERRUPT, "CreateActivation"),
        (Kind.INTERRUPT, "RegisterManagedInstance"),
        (Kind.INTERRUPT, "DeleteActivation"),
        (Kind.INTERRUPT_TWICE, "RegisterManagedInstance"),
        (Kind.TERMINATE, "CreateActivation"),
        (Kind.HANG_UP, "RegisterManagedInstance"),
    ],
)
def test_a_run_that_is_interrupted_leaves_no_activation(site: Site, kind: Kind, action: str) -> None:
    aws = site.controller.aws
    run = site.controller.start(site.inventory, site.playbook)
    aws.arm(Fault(kind, action=action, process=run.pid))
    assert run.wait(PLAY_SECONDS) != 0
    assert site.activations() == []
    aws.disarm()
    site.play().assert_succeeded()
    site.assert_registered()


@pytest.mark.parametrize("action", ["CreateActivation", "DeleteActivation"])
@pytest.mark.parametrize("kind", [Kind.LOSE_ANSWER, Kind.DENY, Kind.SERVER_ERROR])
def test_a_call_that_fails_leaves_no_activation(site: Site, action: str, kind: Kind) -> None:
    aws = site.controller.aws
    aws.arm(Fault(kind, action=action))
    play = site.play()
    aws.disarm()
    left = [each for each in site.activations() if each["RegistrationsCount"] < each["RegistrationLimit"]]
    assert left == []
    if site.activations():
        assert "aws ssm delete-activation --activation-id" in play.message
    site.play().assert_succeeded()
    site.assert_registered()


@pytest.mark.parametrize("action", ["CreateActivation", "RegisterManagedInstance", "DeleteActivation"])
@pytest.mark.parametrize("kind", [Kind.KILL_BEFORE, Kind.KILL_AFTER])
def test_the_run_after_one_that_was_killed_finishes(site: Site, kind: Kind, action: str) -> None:
    aws = site.controller.aws
    site.controller.kill(Fault(kind, action=action), site.inventory, site.playbook)
    play = site.play().assert_succeeded()
    for each in site.activations():
        assert each["RegistrationsCount"] == 0
        assert f"activation {each['ActivationId']}" in play.words
        aws.client("ssm").delete_activation(ActivationId=each["ActivationId"])
    site.assert_registered()


@pytest.mark.parametrize("body", [KILL_BEFORE, KILL_AFTER], ids=["before", "after"])
@pytest.mark.parametrize(
    ("program", "words", "state"),
    [
        ("amazon-ssm-agent", "-code", "registered"),
        ("systemctl", "restart", "registered"),
        ("amazon-ssm-agent", "-clear", "deregistered"),
        ("systemctl", "stop", "deregistered"),
    ],
)
def test_the_run_after_one_whose_module_was_killed_finishes(
    site: Site, program: str, words: str, state: str, body: str
) -> None:
    if state == "deregistered":
        site.play().assert_succeeded()
    site.kill_module(site.host.root / "usr/bin" / program, words, body)
    site.play(state=state).assert_failed()
    assert (site.host.root / "killed").exists()
    assert site.activations() == []
    site.play(state=state).assert_succeeded()
    if state == "registered":
        site.assert_registered()
    else:
        assert (site.nodes(), site.host.registration, site.record.exists()) == ([], None, False)


def test_a_host_that_is_lost_while_it_is_registered_is_finished_later(site: Site) -> None:
    host, env = lost_after(site.controller, "CreateActivation")
    inventory = site.controller.inventory({"onprem": {NAME: host}})
    play = site.controller.play(inventory, site.playbook, env=env, options={}).assert_failed()
    assert "could not be reached while it was being registered" in play.message
    assert site.activations() == []
    site.play().assert_succeeded()
    site.assert_registered()


def test_a_role_that_was_just_created_is_waited_for(site: Site) -> None:
    """Systems Manager may not know it yet."""
    aws = site.controller.aws
    error: dict[str, Any] = {
        "code": "ValidationException",
        "message": "Nonexistent role or missing ssm service principal",
    }
    aws.arm(Fault(Kind.ERROR, action="CreateActivation", **error))
    play = site.play().assert_failed()
    assert "Nonexistent role" in play.message
    aws.disarm()
    aws.arm(Fault(Kind.ERROR, action="CreateActivation", **error))
    site.play(planned=[{"changed": True, "role": {"name": HYBRID_ROLE}}]).assert_succeeded()
    aws.disarm()
    site.assert_registered()


def test_another_mistake_in_an_activation_of_a_new_role_fails_at_once(site: Site) -> None:
    error: dict[str, Any] = {"code": "ValidationException", "message": "Invalid tag"}
    site.controller.aws.arm(Fault(Kind.ERROR, action="CreateActivation", **error))
    play = site.play(planned=[{"changed": True, "role": {"name": HYBRID_ROLE}}]).assert_failed()
    assert "Invalid tag (ValidationException)" in play.message
    site.controller.aws.disarm()


def test_check_mode_knows_a_role_that_was_only_planned(site: Site) -> None:
    missing = site.play("--check", role="Other").assert_failed()
    assert "Role 'Other' does not exist" in missing.message
    site.play("--check", role="Other", planned=[{"changed": True, "role": {"name": "Other"}}]).assert_succeeded()


def test_a_node_that_comes_online_late_is_waited_for(site: Site) -> None:
    site.controller.aws.be_unkind(Behaviour.AWAY_AGENTS)
    site.play().assert_succeeded()
    site.assert_registered()


def test_the_record_and_its_folder_are_for_root_alone(site: Site) -> None:
    site.kill_module(site.host.ssm_agent, "-code", KILL_BEFORE)
    site.play().assert_failed()
    assert stat.S_IMODE(site.record.stat().st_mode) == 0o600
    assert json.loads(site.record.read_text()).keys() == {"activation_id", "run_id"}
