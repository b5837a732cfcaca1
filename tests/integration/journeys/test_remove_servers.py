"""remove_servers.yml takes servers out by name, and touches nothing of the servers that stay.

``test_year.py`` has servers that left the inventory before, and a removal that was killed.
"""

from __future__ import annotations

from typing import Any

from harness import SERVER_ROLE, SERVER_USER, assert_complete_report, assert_no_writes
from states import States, after_site

CONFIRMED: dict[str, Any] = {"cwagent_confirm": "remove_servers"}
USER = f"{SERVER_USER}-db1"
KEY_FILE = "opt/aws/amazon-cloudwatch-agent/etc/cwagent.credentials"


def test_hosts_of_the_inventory_are_removed(states: States) -> None:
    fleet = states.begin(after_site)
    before, file = fleet.account(), fleet.machines["db1"].root / KEY_FILE
    leaving: dict[str, Any] = {**CONFIRMED, "cwagent_remove_servers": ["web1", "db1"]}
    with assert_no_writes(fleet.aws):
        predicted = fleet.play("remove_servers", "--check", "--diff", **leaving).assert_succeeded()
    assert file.exists()
    removed = fleet.play("remove_servers", **leaving).assert_succeeded()
    assert predicted.changed_tasks == removed.changed_tasks
    assert_complete_report(removed)
    assert "Take web1, db1 out of the inventory: cwagent.iam.site would manage it again." in " ".join(removed.report)
    del before["users"][USER], before["associations"][fleet.instances["web1"]]
    assert fleet.account() == before
    assert before["associations"][fleet.instances["web2"]] == SERVER_ROLE
    assert not file.exists()
    assert list(fleet.controller.credentials.iterdir()) == []


def test_with_the_credentials_of_another_account_no_access_key_is_lost(states: States) -> None:
    """The files on the controller and on the host are the only copies of the secret."""
    fleet = states.begin(after_site)
    fleet.remove("admin1", "web1", "web2")
    paths = (fleet.machines["db1"].root / KEY_FILE, fleet.controller.credentials / f"{USER}.credentials")
    files = {path: path.read_text() for path in paths}
    fleet.aws.reset()
    for playbook, given in (
        ("teardown", {"cwagent_confirm": "teardown"}),
        ("remove_servers", {**CONFIRMED, "cwagent_remove_servers": ["db1"]}),
    ):
        with assert_no_writes(fleet.aws):
            refused = fleet.play(playbook, cwagent_store_config_from="controller", **given).assert_failed()
        assert f"has the access key of user '{USER}', and this account has no such user." in refused.message
        assert {path: path.read_text() for path in paths} == files
