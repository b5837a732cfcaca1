"""A life of an installation in an account that is as unkind as AWS. ``make as-aws`` lives more of them."""

from __future__ import annotations

from pathlib import Path

from as_aws.life import live
from emulator import Emulator

# Its keys are in Parameter Store, where AWS refuses most.
SEED = 1


def test_an_installation_lives_as_on_aws(enforcing: Emulator, tmp_path: Path) -> None:
    life = live(enforcing, tmp_path, SEED)
    assert life.problems == []
    assert life.unkind_answers, "nothing was unkind"  # what it was depends on how fast this machine is
