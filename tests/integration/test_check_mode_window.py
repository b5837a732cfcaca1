"""Check mode of site.yml predicts every task of a real run in which the admin window is switched off or on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from emulator.snapshot import snapshot
from harness import ADMIN_ROLE, ADMIN_USER, TIME, WINDOW_POLICY, Controller, Play


class Account:
    """An account with an EC2 admin instance and an on-premises admin user."""

    def __init__(self, controller: Controller) -> None:
        admin, web = controller.aws.instances(2)
        self.controller = controller
        self.inventory = controller.inventory(
            {
                "ec2_servers": {"web1": controller.instance_host(web)},
                "ec2_admin": {"admin1": controller.instance_host(admin)},
                "onprem_admin": {"ops1": {}},
            }
        )

    def play(self, *arguments: str, **variables: Any) -> Play:
        more = {"cwagent_key_store_directory": str(self.controller.credentials), **variables}
        return self.controller.play(self.inventory, "site", *arguments, **more).assert_succeeded()

    def config(self, interval: int) -> str:
        return str(self.controller.file(f"{interval}.json", {"agent": {"metrics_collection_interval": interval}}))

    def windows(self) -> list[bool]:
        iam = self.controller.aws.client("iam")
        found = [
            iam.list_role_policies(RoleName=ADMIN_ROLE)["PolicyNames"],
            iam.list_user_policies(UserName=ADMIN_USER)["PolicyNames"],
        ]
        return [WINDOW_POLICY in names for names in found]


@pytest.fixture(scope="module")
def account(shared_controller: Controller) -> Account:
    return Account(shared_controller)


def steps(play: Play) -> str:
    """The steps that were done, or would be done, without times."""
    _counts, *lines = play.report
    return re.sub(TIME, "TIME", " ".join(line.strip() for line in lines)).replace(" - ", "\n")


def test_check_mode_is_exact_on_an_empty_account(account: Account) -> None:
    """Its instances have no profile yet, and get the server profile before one of them stores."""
    variables = {"cwagent_config_file": account.config(1)}
    predicted = account.play("--check", **variables)
    assert predicted.writes == []
    done = account.play(**variables)
    assert steps(predicted) == steps(done)
    assert predicted.outcomes == done.outcomes


# In this order, because each test begins with the state that the test before has left.
@pytest.mark.parametrize(("window", "interval"), [(False, 2), (True, 3)])
def test_check_mode_is_exact(account: Account, window: bool, interval: int) -> None:
    assert account.windows() == [not window] * 2
    variables = {"cwagent_admin_window": window, "cwagent_config_file": account.config(interval)}
    before = snapshot(account.controller.aws)
    predicted = account.play("--check", **variables)
    assert predicted.writes == []
    assert snapshot(account.controller.aws) == before
    done = account.play(**variables)
    assert account.windows() == [window] * 2
    assert predicted.outcomes == done.outcomes
    assert [each.task for each in done.results if each.changed]
