"""Playbooks that somebody else's playbook imports under a condition."""

from __future__ import annotations

import pytest
from harness import CHECKOUT, Controller

PLAYBOOKS = sorted(path.stem for path in (CHECKOUT / "playbooks").glob("[!_]*.yml"))


@pytest.mark.main_job
def test_a_playbook_that_is_imported_and_skipped_does_nothing(controller: Controller) -> None:
    """Ansible evaluates the hosts of a play, and the loop of a task, before it skips the task."""
    content = [{"ansible.builtin.import_playbook": f"cwagent.iam.{name}", "when": False} for name in PLAYBOOKS]
    playbook = controller.file("skipped.yml", content)
    inventory = controller.inventory({"ec2_servers": {"web1": {"instance_id": "i-0123456789abcdef0"}}})
    play = controller.play(inventory, playbook).assert_succeeded()
    assert {result.outcome for result in play.results} == {"skipped"}
    assert play.calls == []
