"""The output of a run has few lines, and no sentence of the collection twice."""

from __future__ import annotations

import re
from collections import Counter

from harness import Play

BUDGETS = {
    "audit": 55,
    "history": 82,
    "open_window": 48,
    "open_window, checked": 45,
    "policy": 99,
    "remove_servers": 52,
    "restore, nothing to do": 28,
    "rotate_keys": 78,
    "site, checked": 208,
    "site, denied": 92,
    "site, nothing to do": 70,
    "store_config, checked": 68,
    "store_config, denied": 70,
    "teardown": 138,
    "teardown, checked": 240,
    "validate_config": 52,
    "verify": 88,
}
"""By run, the most lines that it prints. A run that prints more needs a reason, or fewer tasks."""
MIN_WORDS = 5
ANSIBLE = re.compile(r"(PLAY|TASK) |(ok|changed|skipping|included|rescued): |\[ERROR\]: |Origin: |\d* *- name:")
"""Lines of Ansible itself. Since 2.19, it prints the message of a failure in a separate line before the result."""


def assert_brief(play: Play, run: str) -> None:
    """Assert that a run prints no more lines than its budget allows."""
    assert len(play.output.splitlines()) <= BUDGETS[run], play.output


def repeated(play: Play) -> list[str]:
    """The sentences that a run prints more than once. Short ones, such as `Nothing to do.`, are left out."""
    lines = [line.strip() for line in play.output.splitlines() if not ANSIBLE.match(line)]
    sentences = re.split(r"(?<=[.:])[\s\"]+", re.sub(r"[{}\[\]]", " ", " ".join(lines)))
    counts = Counter(each for each in sentences if len(each.split()) >= MIN_WORDS)
    return [sentence for sentence, count in counts.items() if count > 1]
