"""Runs that may read nothing in AWS. Each reports the reason once, and blames no server."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fleet import Fleet
from harness import create_user
from states import States, after_site

UNKNOWN_KEY = {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN00", "AWS_SECRET_ACCESS_KEY": "unknown"}
CONFIRMED: dict[str, dict[str, Any]] = {
    "remove_servers": {"cwagent_remove_servers": ["web2"], "cwagent_confirm": "remove_servers"},
    "teardown": {"cwagent_confirm": "teardown"},
}
PLAYBOOKS = (
    *("site", "store_config", "restore", "open_window", "rotate_keys", "verify", "apply", "audit"),
    *CONFIRMED,
)
INTERNAL = ("object of type", "is undefined", "Traceback", "Error while", "has no attribute")
"""Words in errors of expressions and of Python."""


@pytest.fixture
def fleet(states: States) -> Fleet:
    return states.begin(after_site)


REASONS = {
    "unknown": "(InvalidClientTokenId|UnrecognizedClient|security token|not valid)",
    "without permissions": "(lacks|denied|Grant)",
}
RUNS = [
    *((playbook, "without permissions") for playbook in PLAYBOOKS),
    # The first call of a playbook fails. One playbook of each way to begin shows the rest of the run.
    *((playbook, "unknown") for playbook in ("site", "verify", "audit")),
]
"""``test_bad_input.py`` has ``site`` without credentials, with which the first call fails, too."""


@pytest.mark.parametrize(("playbook", "identity"), RUNS)
def test_the_reason_is_the_only_failure(fleet: Fleet, playbook: str, identity: str) -> None:
    keys = {"unknown": UNKNOWN_KEY, "without permissions": create_user(fleet.aws, "nobody")}
    fleet.configure({"agent": {"debug": True}})
    play = fleet.play(playbook, env=keys[identity], **CONFIRMED.get(playbook, {})).assert_failed()
    assert [words for words in INTERNAL if words in play.output] == []
    assert {each.host for each in play.failures} == {"localhost"}
    assert play.writes == []
    assert re.search(REASONS[identity], play.words)
