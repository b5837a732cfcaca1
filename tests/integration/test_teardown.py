"""teardown.yml: asks first, refuses while others depend on the profiles, removes what site.yml made and no more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import (
    ADMIN_ROLE,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    Play,
    Workplace,
    account,
    make_role,
    nothing_written,
    put_on,
    run_module,
    take_off,
)

YES = {"cwagent_teardown": "true"}


@dataclass(frozen=True)
class Made:
    """What site.yml made without a configuration to store, beside an application that has the agent's rights too."""

    at: Workplace
    inventory: Path
    before: dict[str, Any]
    made: Play
    outside: str

    def teardown(self, *arguments: str, **variables: Any) -> Play:
        given = {"cwagent_credentials_dir": str(self.at.credentials), "cwagent_config_file": "agent.json"}
        return self.at.play(self.inventory, "teardown", *arguments, **given, **variables)


@pytest.fixture(scope="module")
def made(shared: Workplace) -> Made:
    aws = shared.aws
    admin, web1, web2, outside = aws.instances(4, stopped=1)
    make_role(aws, "shop", "AmazonS3ReadOnlyAccess")
    run_module(aws, "cwagent_iam_role", name="shop", access="server")
    put_on(aws, web2, "shop")
    inventory = shared.inventory(
        {
            "ec2_servers": {"web1": shared.on_instance(web1), "web2": shared.on_instance(web2)},
            "ec2_admin": {"admin1": shared.on_instance(admin)},
            "onprem_servers": {"db1": {}},
            "onprem_admin": {"ops1": {}},
        }
    )
    before = account(aws)
    played = shared.play(inventory, "site", cwagent_credentials_dir=str(shared.credentials)).succeeded()
    aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Type="String")
    aws.client("ssm").put_parameter(Name="AmazonCloudWatch-of-others", Value='{"agent":{}}', Type="String")
    before["parameters"] = {aws.region: {"AmazonCloudWatch-of-others": {"agent": {}}}}
    return Made(shared, inventory, before, played, outside)


def test_without_a_configuration_the_admin_profile_is_never_put_on(made: Made) -> None:
    assert made.made.put_on == [SERVER_ROLE, SERVER_ROLE]
    assert "PutParameter" not in made.made.writes


def test_another_profile_whose_role_has_the_agents_rights_is_kept_without_a_warning(made: Made) -> None:
    assert "keeps instance profile" not in " ".join(made.made.output.split())
    assert account(made.at.aws)["roles"]["shop"] == made.before["roles"]["shop"]
    assert SERVER_POLICY in made.before["roles"]["shop"]["policies"]


@pytest.mark.parametrize("answer", [{}, {"cwagent_teardown": ""}, {"cwagent_teardown": "false"}])
def test_asks_first(made: Made, answer: dict[str, str]) -> None:
    with nothing_written(made.at.aws):
        assert "-e cwagent_teardown=true" in made.teardown(**answer).failed().message


@pytest.mark.parametrize("profile", [SERVER_ROLE, ADMIN_ROLE])
def test_refuses_while_an_instance_outside_the_inventory_carries_a_profile(made: Made, profile: str) -> None:
    """One that an interrupted run left as administrator has been made a server by then."""
    put_on(made.at.aws, made.outside, profile)
    play = made.teardown(**YES).failed()
    where = f"Instance {made.outside} in {made.at.aws.region} is not in the inventory"
    assert f"{where} and carries instance profile '{SERVER_ROLE}'" in play.message
    assert play.put_on == ([SERVER_ROLE] if profile == ADMIN_ROLE else [])
    exchanged = ["DisassociateIamInstanceProfile", "AssociateIamInstanceProfile"]  # it is stopped
    assert play.writes == (exchanged if profile == ADMIN_ROLE else [])
    take_off(made.at.aws, made.outside)


def test_removes_what_site_made_and_nothing_else(made: Made) -> None:
    assert len(list(made.at.credentials.iterdir())) == 2
    with nothing_written(made.at.aws):
        foretold = made.teardown("--check", "--diff", **YES).succeeded()
    done = made.teardown(**YES).succeeded()
    assert foretold.changes == done.changes
    assert account(made.at.aws) == made.before
    assert list(made.at.credentials.iterdir()) == []
    with nothing_written(made.at.aws):
        assert made.teardown(**YES).succeeded().changes == []
