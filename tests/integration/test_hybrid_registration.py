"""A host is registered with Systems Manager, and its CloudWatch agent uses the credentials of its role."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent import Agent
from emulator.host import Host as EmulatedHost
from harness import COLLECTIONS, HYBRID_ROLE, SSM_POLICY, Controller, Play, create_hybrid_role, hybrid_nodes

ROLE = "cwagent.iam.hybrid_registration"
REGISTER = f"{ROLE} : Manage the registration with Systems Manager"
MANAGE = f"{ROLE} : Manage the region and the agent's settings"
RESTART = "restart the agent"
PROXY_PASSWORD, NOTE = "Proxy-Pass", "a-note-for-nobody"
# The emulator has no TLS, so it is not asked through this proxy.
ENVIRONMENT = {"HTTPS_PROXY": f"http://user:{PROXY_PASSWORD}@proxy:3128", "MY_NOTE": NOTE}


@dataclass(frozen=True)
class Host:
    """A host with an emulated SSM agent and CloudWatch agent."""

    controller: Controller
    emulated: EmulatedHost

    @classmethod
    def with_agents(cls, controller: Controller) -> Host:
        create_hybrid_role(controller.aws, SSM_POLICY)
        host = cls(controller, controller.aws.host(controller.home / "host"))
        host.agent.install()
        return host

    @property
    def root(self) -> Path:
        return self.emulated.root

    @property
    def config(self) -> Path:
        return self.root / "common-config.toml"

    @property
    def agent(self) -> Agent:
        return Agent(self.root)

    def caller(self) -> str:
        """The ARN of the caller with the credentials that the agent finds."""
        settings = tomllib.loads(self.config.read_text())["credentials"]
        assert settings["shared_credential_file"] == str(self.emulated.credentials)
        session = self.emulated.session(settings["shared_credential_profile"])
        client = self.controller.aws.client("sts", credentials=session)
        return str(client.get_caller_identity()["Arn"])

    def manage(self, *arguments: str, **variables: Any) -> Play:
        """Run the role alone in another playbook."""
        places = {
            "ssm_agent": self.emulated.ssm_agent,
            "ssm_agent_config": self.emulated.configuration_file,
            "registration": self.emulated.registration_file,
            "credentials_file": self.emulated.credentials,
            "common_config": self.config,
            "agent_ctl": self.agent.control,
        }
        settings = {f"hybrid_registration_{name}": str(path) for name, path in places.items()}
        settings |= {"hybrid_registration_region": self.controller.aws.region, "hybrid_registration_wait_timeout": "20"}
        play = {
            "hosts": "all",
            "gather_facts": False,
            "environment": self.emulated.environment,
            "roles": [{"role": ROLE, **settings, **variables}],
        }
        playbook = self.controller.file("playbook.yml", [play])
        inventory = self.controller.inventory({"fleet": {"db1": {}}})
        env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
        return self.controller.play(inventory, playbook, *arguments, env=env)


def caller_in(play: Play) -> dict[str, Any]:
    """The identity in the result of the task that lets the agent use the credentials."""
    [result] = [each.result for each in play.results if each.task == MANAGE]
    return {name: value for name, value in result.items() if name.startswith("caller")}


def test_a_server_is_registered_and_its_agent_uses_the_credentials(controller: Controller) -> None:
    host = Host.with_agents(controller)
    predicted = host.manage("--check", "--diff").assert_succeeded()
    assert (hybrid_nodes(controller.aws), host.config.exists(), host.agent.actions()) == ([], False, [])

    done = host.manage("--diff", "-vvvv", hybrid_registration_environment=ENVIRONMENT).assert_succeeded()
    assert done.changed_tasks == predicted.changed_tasks == [REGISTER, MANAGE]
    [node] = hybrid_nodes(controller.aws)
    assert host.caller().endswith(f":assumed-role/{HYBRID_ROLE}/{node}")
    assert caller_in(done) == {"caller": host.caller(), "caller_error": None}
    assert caller_in(predicted) == {}
    hidden = [*host.emulated.session().values(), PROXY_PASSWORD, NOTE]
    shown = done.output + json.dumps([each.result for each in done.results])
    assert (len(hidden), [secret for secret in hidden if secret in shown]) == (5, [])
    assert host.agent.actions() == ["stop", "start"]
    again = host.manage().assert_succeeded()
    assert again.changed_tasks == []
    assert caller_in(again) == caller_in(done)

    # Renewed, and in the format of the SSM agent
    host.emulated.restart()
    assert host.manage().assert_succeeded().changed_tasks == []
    assert host.agent.actions() == []

    removed = host.manage(hybrid_registration_state="absent").assert_succeeded()
    assert removed.changed_tasks == [MANAGE, REGISTER]
    assert caller_in(removed) == {}
    assert (hybrid_nodes(controller.aws), host.config.read_text()) == ([], "")
    assert "region" not in host.emulated.credentials.read_text()
    assert host.agent.actions() == ["stop", "start"]
    assert host.manage(hybrid_registration_state="absent").assert_succeeded().changed_tasks == []


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("amazon-cloudwatch-agent.toml", '[agent]\nrun_as_user = "no-such-user"\n', "runs as user 'no-such-user'"),
        ("common-config.toml", "[proxy\n", "is not valid TOML"),
        ("etc/amazon/ssm/amazon-ssm-agent.json", '{"Profile": {"ShareCreds": false}}', "Profile.ShareCreds is false"),
        ("root/.aws/credentials", "[default]\nregion = us-east-2\n", "has the region us-east-2"),
    ],
)
def test_a_server_whose_agent_could_not_use_credentials_is_not_registered(
    controller: Controller, file: str, content: str, words: str
) -> None:
    host = Host.with_agents(controller)
    path = host.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    failed = host.manage().assert_failed()
    assert words in failed.message
    assert (hybrid_nodes(controller.aws), host.agent.actions(), failed.writes) == ([], [], [])
    assert path.read_text() == content


@pytest.mark.parametrize("action", ["stop", "start"])
def test_a_restart_that_failed_is_finished_by_the_next_run(controller: Controller, action: str) -> None:
    host = Host.with_agents(controller)
    (host.root / "failing").write_text(action)
    assert host.manage().assert_failed().failures[-1].result["not_done"] == [RESTART]
    (host.root / "failing").unlink()
    host.agent.actions()
    [restarted] = [each.result for each in host.manage().assert_succeeded().results if each.task == MANAGE]
    assert restarted["steps"] == [RESTART]
    assert host.agent.actions() == ["stop", "start"]
    assert host.manage().assert_succeeded().changed_tasks == []


def test_credentials_that_do_not_work_are_reported(controller: Controller) -> None:
    host = Host.with_agents(controller)
    host.manage().assert_succeeded()
    file = host.emulated.credentials
    session = host.emulated.session()
    file.write_text(file.read_text().replace(session["SessionToken"], "Unknown+ToKeN"))
    play = host.manage("-vvvv").assert_succeeded()
    assert caller_in(play)["caller"] is None
    assert caller_in(play)["caller_error"].startswith("STS refused the credentials (")
    assert [secret for secret in (*session.values(), "Unknown+ToKeN") if secret in play.output] == []

    closed = {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}
    unanswered = host.manage("-vvvv", hybrid_registration_environment=closed).assert_succeeded()
    assert caller_in(unanswered) == {"caller": None, "caller_error": "STS did not answer: Connection refused."}
    assert [secret for secret in (*session.values(), *closed.values()) if secret in unanswered.output] == []
