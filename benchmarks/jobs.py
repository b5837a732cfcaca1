"""The jobs as data: what each is done on, and by which program on each side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .case import Fleet

HERE = Path(__file__).parent
FORKS = 10


class Side(StrEnum):
    """Who does a job."""

    OURS = "cwagent.iam"
    LOOP = "amazon.aws, a loop"
    HOSTS = "amazon.aws, a host for each"
    PEER = "amazon.aws"
    FLOOR = "boto3, ten threads"
    PING = "no calls"


PEERS = (Side.LOOP, Side.HOSTS, Side.PEER)
SEQUENTIAL = (Side.OURS, Side.LOOP, Side.PEER)
"""Those whose tasks run one after the other."""


@dataclass(frozen=True)
class Job:
    """One job.

    :param fleet: by size, what it is done on.
    :param sides: by side, a program and its arguments; ``{folder}`` stands for the folder of the case.
    """

    name: str
    title: str
    fleet: Callable[[int], Fleet]
    sides: Mapping[Side, tuple[str, ...]]

    def program(self, side: Side, folder: Path) -> list[str]:
        """The program of a side, with its arguments."""
        return [argument.format(folder=folder) for argument in self.sides[side]]


def plays(playbook: Path, *options: str) -> tuple[str, ...]:
    """A run of ansible-playbook."""
    return ("ansible-playbook", str(playbook), "-e", "@{folder}/job.json", *options)


def compared(name: str, *options: str) -> tuple[str, ...]:
    """A run of a playbook that is written for the comparison."""
    return plays(HERE / "playbooks" / f"{name}.yml", *options)


def bare(name: str) -> tuple[str, ...]:
    """A run of bare boto3."""
    return (sys.executable, str(HERE / "floor.py"), name, "{folder}/job.json")


INVENTORY = ("-i", "{folder}/hosts.json")

USERS = Job(
    "users",
    "Users with a policy and a saved key",
    lambda size: Fleet(users=size),
    {
        Side.OURS: compared("users_ours"),
        Side.LOOP: compared("users_loop"),
        Side.HOSTS: compared("users_hosts", *INVENTORY, "--forks", str(FORKS)),
        Side.FLOOR: bare("users"),
    },
)
INSTANCES = Job(
    "instances",
    "Instances to put a profile on",
    lambda size: Fleet(instances=size, role=True),
    {Side.OURS: compared("instances_ours"), Side.FLOOR: bare("instances")},
)
SITE = Job(
    "site",
    "The whole of site.yml, one instance and two users",
    lambda _: Fleet(users=2, instances=1),
    {
        Side.OURS: plays(HERE.parent / "playbooks" / "site.yml", *INVENTORY),
        Side.PEER: compared("site_peer", *INVENTORY),
    },
)
TASKS = Job(
    "tasks",
    "A task on a role, so many in a row",
    lambda size: Fleet(role=True, times=size),
    {Side.OURS: compared("tasks_ours"), Side.PEER: compared("tasks_peer"), Side.PING: compared("tasks_ping")},
)
