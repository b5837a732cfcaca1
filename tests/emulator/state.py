"""Saved states of all accounts and machines, which a test can begin with."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .agents import Agents
from .backend import Backend
from .hybrid import Hybrid
from .imds import InstanceMetadata
from .monitoring import Monitoring

OF_AGENTS = ("default", "chosen", "seen", "profiles")
OF_METADATA = ("lag", "credentials_lag", "tokens", "issued", "seen")
OF_MACHINES = ("hosts",)
OF_MONITORING = ("metrics", "streams", "agents")
OF_HYBRID = ("activations", "nodes", "services", "sessions")


@dataclass(frozen=True)
class State:
    """:param accounts: as the backend saves them, with its time. :param kept: by part, the values of its fields.

    :param folders: by folder, its copy.
    """

    accounts: Any
    kept: Sequence[tuple[Any, dict[str, Any]]]
    folders: Sequence[tuple[Path, Path]]


@dataclass
class States:
    """The saved states by name. Commands that were sent with Run Command, calls and faults are in none."""

    backend: Backend
    agents: Agents
    metadata: InstanceMetadata
    hybrid: Hybrid
    monitoring: Monitoring
    saved: dict[str, State] = field(default_factory=dict)

    def save(self, name: str, folders: Iterable[str]) -> None:
        """Save everything, with these folders of hosts and controllers beside the disks of the instances."""
        with self.agents.lock:
            if self.agents.queue:
                raise ValueError("a state cannot be saved while a command runs")
            machines = self.agents.machines
            parts: list[tuple[Any, tuple[str, ...]]] = [
                (self.agents, OF_AGENTS),
                (self.metadata, OF_METADATA),
                (self.hybrid, OF_HYBRID),
                (self.monitoring, OF_MONITORING),
                (machines, OF_MACHINES),
            ]
            machines.saved.mkdir(exist_ok=True)
            copies = Path(tempfile.mkdtemp(dir=machines.saved))
            found = [machines.disks, *map(Path, folders)]
            pairs = [(each, copies / str(number)) for number, each in enumerate(found)]
            for folder, kept_in in pairs:
                shutil.copytree(folder, kept_in, symlinks=True)
            values = [(part, {each: copy.deepcopy(getattr(part, each)) for each in names}) for part, names in parts]
            earlier = self.saved.get(name)
            self.saved[name] = State(self.backend.save(), values, pairs)
        for _folder, kept_in in earlier.folders if earlier else ():
            shutil.rmtree(kept_in)

    def restore(self, name: str, reset: Callable[[], None]) -> None:
        """Go back to a state. :param reset: empties everything."""
        state = self.saved[name]
        reset()
        with self.agents.lock:
            self.backend.restore(state.accounts)
            for part, values in state.kept:
                vars(part).update(copy.deepcopy(values))
            for folder, kept_in in state.folders:
                _empty(folder)
                shutil.copytree(kept_in, folder, symlinks=True, dirs_exist_ok=True)
            if self.hybrid.services:
                self.hybrid.woken.set()


def _empty(folder: Path) -> None:
    for each in folder.iterdir() if folder.exists() else ():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
