"""The CloudWatch agent of a registered server uses the credentials that the SSM agent keeps in a file."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from agent import Agent
from fleet import HOUR
from harness import HYBRID_ROLE, execute_module, hybrid_nodes, trust
from hybrid import Server, registered
from states import States

PROXY_PASSWORD, NOTE, UNKNOWN = "Proxy-Pass", "a-note-for-nobody", "Unknown+ToKeN"
PROXY = f"http://user:{PROXY_PASSWORD}@proxy:3128"
CONFIG = f'[proxy]\n   http_proxy = "{PROXY}"\n'
KEY_CONFIG = '[credentials]\nshared_credential_profile = "K"\nshared_credential_file = "/key"\n'
OTHERS = "# theirs\n[other]\nregion = us-west-2\n\n"
RESTARTED = ["stop", "start"]


def with_agents(states: States) -> Server:
    """The service of the SSM agent names the file, which has another profile, and the CloudWatch agent runs."""
    server = states.begin(registered)
    server.host.set_service_variables(AWS_SHARED_CREDENTIALS_FILE=str(server.host.credentials))
    server.host.credentials.write_text(OTHERS)
    server.host.restart()
    agent_of(server).install()
    return server


@pytest.fixture
def server(states: States) -> Server:
    return states.begin(with_agents)


def agent_of(server: Server) -> Agent:
    return Agent(server.host.root)


def config_of(server: Server) -> Path:
    return server.host.root / "common-config.toml"


def use(server: Server, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module on the host."""
    given = {
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        "common_config": str(config_of(server)),
        "agent_ctl": str(agent_of(server).control),
        "ssm_agent_config": str(server.host.configuration_file),
        "region": server.aws.region,
        "wait_timeout": 0,
        **options,
    }
    env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", **server.host.environment}
    return execute_module(server.aws, "cwagent_shared_credentials", given, env=env)


def test_credentials_are_used_and_never_shown(server: Server) -> None:
    agent, config, file = agent_of(server), config_of(server), server.host.credentials
    config.write_text(CONFIG)
    before = file.read_text()
    predicted = use(server, check=True)
    assert (file.read_text(), config.read_text(), agent.actions()) == (before, CONFIG, [])
    done = use(server)
    assert done["steps"] == predicted["steps"]
    assert {"caller", "caller_error"}.isdisjoint(predicted)
    # The agent's proxy does not exist.
    assert (done["caller"], done["caller_error"].partition(": ")[0]) == (None, "STS did not answer")
    assert (done["path"], done["profile"], stat.S_IMODE(file.stat().st_mode)) == (str(file), "default", 0o600)
    ours = f"[default]\n# Set by the Ansible collection cwagent.iam\nregion = {server.aws.region}\n"
    assert file.read_text() == before.replace("[default]\n", ours)
    assert config.read_text().startswith(CONFIG)
    settings = {"shared_credential_profile": "default", "shared_credential_file": str(file)}
    assert tomllib.loads(config.read_text())["credentials"] == done["diff"]["after"]["common_config"] == settings
    assert agent.actions() == RESTARTED

    found = use(server, environment={"HTTPS_PROXY": PROXY, "no_proxy": "127.0.0.1", "MY_NOTE": NOTE})
    caller = f":assumed-role/{HYBRID_ROLE}/{hybrid_nodes(server.aws)[0]}"
    assert (found["changed"], found["caller"].endswith(caller), found["caller_error"]) == (False, True, None)
    session = server.host.session()
    server.host.restart()  # the credentials are renewed, and in the format of the SSM agent
    renewed = server.host.session()
    config.write_text(config.read_text().replace(CONFIG, ""))
    closed = use(server, environment={"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"})
    assert (closed["changed"], closed["caller"]) == (False, None)
    assert closed["caller_error"] == "STS did not answer: Connection refused."
    file.write_text(file.read_text().replace(renewed["SessionToken"], UNKNOWN))
    refused = use(server)
    assert (refused["changed"], refused["caller"]) == (False, None)
    assert refused["caller_error"].startswith("STS refused the credentials (")

    removed = use(server, state="absent")
    assert (config.read_text(), "caller" in removed, agent.actions()) == ("", False, RESTARTED)
    assert "region" not in file.read_text().partition("[default]")[2]
    assert not use(server, state="absent")["changed"]
    shown = json.dumps([predicted, done, found, closed, refused, removed])
    hidden = [*session.values(), *renewed.values(), UNKNOWN, PROXY_PASSWORD, NOTE]
    assert (len(hidden), [secret for secret in hidden if secret in shown]) == (9, [])


def test_the_profile_of_the_ssm_agent_is_used_once_it_has_credentials(server: Server) -> None:
    server.host.configuration_file.write_text('{"Profile": {"ShareProfile": "agent"}}')
    before, predicted = server.host.credentials.read_text(), use(server, check=True)
    missing = use(server)
    assert "has not written credentials to profile agent" in missing["msg"]
    assert (missing["done"], missing["not_done"]) == ([], predicted["steps"])
    assert (server.host.credentials.read_text(), config_of(server).exists()) == (before, False)
    server.host.restart()
    found = use(server)
    assert (found["profile"], found["caller_error"]) == ("agent", None)


def test_other_credentials_are_kept_until_these_work(server: Server) -> None:
    config_of(server).write_text(KEY_CONFIG)
    server.aws.agents(*hybrid_nodes(server.aws), running=False)
    server.aws.shift_clock(5 * HOUR)
    expired = use(server, role=HYBRID_ROLE)
    assert "The CloudWatch agent keeps the credentials that it has. STS refused the credentials" in expired["msg"]
    server.aws.client("iam").create_role(RoleName="Other", AssumeRolePolicyDocument=trust("ssm.amazonaws.com"))
    server.host.register(server.aws.client("ssm").create_activation(IamRole="Other"), server.aws.region, "-y")
    server.host.restart()
    other = use(server, role=HYBRID_ROLE)
    assert f"which is not a session of role '{HYBRID_ROLE}'" in other["msg"]
    assert config_of(server).read_text() == KEY_CONFIG
    assert not use(server, role="Other")["failed"]
    assert tomllib.loads(config_of(server).read_text())["credentials"]["shared_credential_profile"] == "default"
