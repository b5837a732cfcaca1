"""The jobs as data: the account for each, and the program of each side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .case import SENDING, SILENT, Fleet

HERE = Path(__file__).parent
SITE_PLAYBOOK, VERIFY_PLAYBOOK = (HERE.parent / "playbooks" / f"{name}.yml" for name in ("site", "verify"))
FORKS = 10
ACCOUNT_FORKS = 20  # ten for each core, as the guide says
INSTANCES_OF_ACCOUNT = 20


class Side(StrEnum):
    """The sides that are compared."""

    OURS = "cwagent.iam"
    LOOP = "amazon.aws, a loop"
    HOSTS = "amazon.aws, a host for each"
    PEER = "amazon.aws"
    FLOOR = "boto3, ten threads"
    PING = "no calls"
    RUNS = "cwagent.iam, a run for each account"
    SILENT = "cwagent.iam, nothing to ask CloudWatch"


PEERS = (Side.LOOP, Side.HOSTS, Side.PEER)
SEQUENTIAL = (Side.OURS, Side.LOOP, Side.PEER)
"""The sides whose tasks run one after the other."""


@dataclass(frozen=True)
class Job:
    """One job.

    :param fleet: the fleet for a size.
    :param sides: by side, a program and its arguments; ``{folder}`` is replaced by the folder of the case.
    """

    name: str
    title: str
    fleet: Callable[[int], Fleet]
    sides: Mapping[Side, tuple[str, ...]]

    def program(self, side: Side, folder: Path) -> list[str]:
        """The program of a side, with its arguments."""
        return [argument.format(folder=folder) for argument in self.sides[side]]


def ansible_playbook(playbook: Path, *options: str) -> tuple[str, ...]:
    """A run of ansible-playbook."""
    return ("ansible-playbook", str(playbook), "-e", "@{folder}/job.json", *options)


def benchmark_playbook(name: str, *options: str) -> tuple[str, ...]:
    """A run of a playbook for the comparison."""
    return ansible_playbook(HERE / "playbooks" / f"{name}.yml", *options)


def plain_boto3(name: str) -> tuple[str, ...]:
    """A run of plain boto3."""
    return (sys.executable, str(HERE / "floor.py"), name, "{folder}/job.json")


INVENTORY = ("-i", "{folder}/hosts.json")

USERS = Job(
    "users",
    "Users with a policy and a saved key",
    lambda size: Fleet(users=size),
    {
        Side.OURS: benchmark_playbook("users_ours"),
        Side.LOOP: benchmark_playbook("users_loop"),
        Side.HOSTS: benchmark_playbook("users_hosts", *INVENTORY, "--forks", str(FORKS)),
        Side.FLOOR: plain_boto3("users"),
    },
)
INSTANCES = Job(
    "instances",
    "Instances to associate with a profile",
    lambda size: Fleet(instances=size, role=True),
    {Side.OURS: benchmark_playbook("instances_ours"), Side.FLOOR: plain_boto3("instances")},
)
SITE = Job(
    "site",
    "The whole of site.yml, one instance and two users",
    lambda _: Fleet(users=2, instances=1),
    {
        Side.OURS: ansible_playbook(SITE_PLAYBOOK, *INVENTORY),
        Side.PEER: benchmark_playbook("site_peer", *INVENTORY),
    },
)


def verify(config: str) -> tuple[str, ...]:
    """A run of verify.yml, for servers that are to run one configuration."""
    names = f'{{{{"cwagent_config_names": ["{config}"], "cwagent_verify_from": "none"}}}}'
    return ansible_playbook(VERIFY_PLAYBOOK, *INVENTORY, "-e", names)


VERIFY = Job(
    "verify",
    "The first verify.yml of servers with a metric and a log each",
    lambda size: Fleet(instances=size, role=True, sends=True),
    {Side.OURS: verify(SENDING), Side.SILENT: verify(SILENT)},
)
EACH_ACCOUNT = (
    'while read -r account; do ansible-playbook "$0" -e "@$1/job.json" -i "$1/hosts.json" --limit "$account"; done '
    '< "$1/accounts.txt"'
)
ACCOUNTS = Job(
    "accounts",
    f"The whole of site.yml in accounts of {INSTANCES_OF_ACCOUNT} instances each",
    lambda size: Fleet(accounts=size, instances=INSTANCES_OF_ACCOUNT),
    {
        Side.OURS: ansible_playbook(SITE_PLAYBOOK, *INVENTORY, "--forks", str(ACCOUNT_FORKS)),
        Side.RUNS: ("sh", "-ec", EACH_ACCOUNT, str(SITE_PLAYBOOK), "{folder}"),
    },
)
TASKS = Job(
    "tasks",
    "A task on a role, repeated in a row",
    lambda size: Fleet(role=True, times=size),
    {
        Side.OURS: benchmark_playbook("tasks_ours"),
        Side.PEER: benchmark_playbook("tasks_peer"),
        Side.PING: benchmark_playbook("tasks_ping"),
    },
)
