"""The output of a run has few lines, and no sentence of the collection twice."""

from __future__ import annotations

import re
from collections import Counter

from harness import Play

BUDGETS = {
    "apply, ten servers": 170,
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
SKIPPED = {"apply, ten servers": 10}
"""By run, the most lines for tasks that a host skips."""
MIN_WORDS = 5
ANSIBLE = re.compile(r"(PLAY|TASK) |(ok|changed|skipping|included|rescued): |Origin: |\d* *- name:")
ERROR = "[ERROR]: "
"""Since 2.19, Ansible prints the message of a failure in a separate line before the result."""


def assert_brief(play: Play, run: str) -> None:
    """Assert that a run prints no more lines than its budget allows."""
    lines = play.output.splitlines()
    assert len(lines) <= BUDGETS[run], play.output
    skipped = [line for line in lines if line.startswith("skipping: ")]
    assert len(skipped) <= SKIPPED.get(run, BUDGETS[run]), play.output


def repeated(play: Play) -> list[str]:
    """The sentences that a run prints more than once. Short ones, such as `Nothing to do.`, are left out.

    A failure is printed twice by Ansible: in a line for errors, and in the result of the task.
    """
    lines = [line.strip() for line in play.output.splitlines() if not ANSIBLE.match(line)]
    errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    others = [line for line in lines if not line.startswith(ERROR)]
    return [each for printed in (errors, others) for each in _repeated_sentences(printed)]


def _repeated_sentences(lines: list[str]) -> list[str]:
    sentences = re.split(r"(?<=[.:])[\s\"]+", re.sub(r"[{}\[\]]", " ", " ".join(lines)))
    counts = Counter(each for each in sentences if len(each.split()) >= MIN_WORDS)
    return [sentence for sentence, count in counts.items() if count > 1]
