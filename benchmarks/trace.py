"""Finds which task of a playbook made which calls. The tasks must run one after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator import Call

CALLBACKS = Path(__file__).parent / "callback"


@dataclass(frozen=True)
class Traced:
    """A task, or an item of a loop, and its calls. :param seconds: since the previous one ended."""

    task: str
    action: str
    seconds: float
    calls: tuple[Call, ...]

    @property
    def waits(self) -> int:
        """The number of reads after the last write, which wait until the changes are visible."""
        last = max((call.seq for call in self.calls if call.write), default=None)
        return 0 if last is None else sum(call.seq > last for call in self.calls)


def settings(file: Path) -> dict[str, str]:
    """The environment with which ansible-playbook writes its trace to a file."""
    file.unlink(missing_ok=True)
    return {
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "traced",
        "TRACED_TO": str(file),
    }


def read(file: Path, calls: Sequence[Call], began: float) -> list[Traced]:
    """The tasks in order. :param began: when the playbook was started, in Unix seconds."""
    found = []
    for line in file.read_text().splitlines():
        fields = json.loads(line)
        ended = fields.pop("ended")
        mine = tuple(call for call in calls if began < call.time <= ended)
        found.append(Traced(**fields, seconds=ended - began, calls=mine))
        began = ended
    return found
