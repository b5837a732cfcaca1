"""The variables of a task, as Ansible hands them to its action."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any


class HostVars(dict[str, Any]):
    """The variables of all hosts, before Ansible evaluates them. :param limit: the hosts that ``--limit`` leaves."""

    def __init__(self, hosts: Mapping[str, Any], limit: Collection[str], groups: Mapping[str, Any]) -> None:
        super().__init__({name: {"inventory_hostname": name, "groups": groups, **of} for name, of in hosts.items()})
        hosts_in_limit = [SimpleNamespace(name=name) for name in limit]
        self._inventory = SimpleNamespace(get_hosts=lambda ignore_restrictions: hosts_in_limit * ignore_restrictions)

    def raw_get(self, host: str) -> Any:
        return self[host]


def task_variables(
    hosts: Mapping[str, Mapping[str, Any]],
    host: str = "localhost",
    groups: Mapping[str, Collection[str]] | None = None,
    limit: Collection[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """The variables of a task on a host, in a play on all hosts unless ``more`` has the hosts of the play."""
    names = [*hosts]
    of_play = dict.fromkeys(("ansible_play_hosts_all", "ansible_play_hosts", "ansible_play_batch"), names)
    return {
        **hosts[host],
        "inventory_hostname": host,
        "hostvars": HostVars(hosts, limit, groups or {}),
        "groups": groups or {},
        "ansible_version": {"full": "2.99.0"},
        **of_play,
        **({"ansible_limit": ",".join(limit)} if limit else {}),
        **more,
    }
