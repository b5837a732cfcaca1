# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which host calls the modules of a role for all hosts of its account, and with which instances or users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._text import join_first
from ansible_collections.cwagent.iam.plugins.plugin_utils._variable_types import MAX_SHOWN_HOSTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    ByRegion = Mapping[str, Sequence[str]]
    Inputs = Mapping[str, Any]

# The variables of a host under which the tasks of these roles register their input and the collected values.
READ, COLLECTED = "__cwagent_role_inputs", "__cwagent_role_call"


@dataclass(frozen=True)
class Collected:
    """The values that a role collects from the hosts of an account.

    :param of_host: the option of the role, which has a value for each host, as ``region`` does.
    :param option: the option of modules that gets the values of all hosts.
    :param of_run: in a play of our playbooks, the field of the run that has these values.
    """

    of_host: str
    option: str
    of_run: str

    @property
    def of_hosts(self) -> tuple[str, str]:
        """All options of the role with a value for each host."""
        return (self.of_host, "region")


# By role that calls its modules once for all hosts of an account.
OF_HOST = {
    "ec2_server": Collected("instances", "instances", "instances"),
    "ec2_admin": Collected("instances", "instances", "instances"),
    "onprem_server": Collected("users", "users_by_region", "server_users"),
    "onprem_admin": Collected("users", "users_by_region", "admin_users"),
    "hybrid_server": Collected("regions", "trust_regions", "hybrid_server_regions"),
}


def items_of_host(role: str, values: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Return the instances or users of a host by region, or only regions; ``None`` if the host can be an instance.

    Those without a region are in the region of the host.

    :param values: the values of the role's variables.
    """
    of = {option: values.get(f"{role}_{option}") for option in OF_HOST[role].of_hosts}
    if "regions" in of:
        return {region: [] for region in of["regions"] or ()}
    found = of["instances"] if "instances" in of else {"": of["users"] or []}
    return None if found is None else _merge({region or of["region"] or "": found[region]} for region in found)


def plan_call(
    own: Inputs,
    inputs: Iterable[tuple[str, Inputs]],
    failed: Sequence[str],
    instances_of: Callable[[Mapping[str, str]], ByRegion],
) -> dict[str, Any]:
    """Return whether this host calls the modules of the role, and for which instances, users or regions.

    The first host of an account calls them for all. Hosts that failed before the role belong to the only account that
    there is. With several accounts, theirs is unknown.

    :param own: the result that this host has registered.
    :param inputs: the hosts of the batch in order, each with what it has registered. They are read only as far as
        necessary. With ``run_once``, all of them have the result of one host.
    :param failed: the hosts that failed before the role.
    :param instances_of: returns the instances among some hosts by region. It takes the names of the hosts, each with
        the region of an instance without one.
    :raises InvalidInput: a value differs between the hosts of the account.
    """
    hosts: dict[str, Inputs] = {}
    is_only = True
    for name, each in inputs:
        if each["account"] != own["account"]:
            is_only = False
        elif hosts or each["host"] == own["host"]:
            hosts[name] = each
        else:
            return {"is_first": False}
    _check_values(hosts)
    region = next((each["default_region"] for each in hosts.values() if each["default_region"]), "")
    possible = {name: each["default_region"] for name, each in hosts.items() if each["by_region"] is None}
    if is_only and len(possible) == len(hosts):
        possible |= dict.fromkeys(failed, region)
    given = [each["by_region"] for each in hosts.values() if each["by_region"] is not None]
    items = _merge([*given, instances_of(possible)])
    # Items without a region are in the default region of the modules, and no option must give them another one.
    return {"is_first": True, "by_region": items, "region": "" if "" in items else region or next(iter(items), "")}


def instances_of(hostvars: Mapping[str, Mapping[str, Any]], regions: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the EC2 instances among some hosts by region. An ID of several hosts is in the region of the first one.

    The region is in ``cwagent_region`` or, from the inventory ``amazon.aws.aws_ec2``, in ``placement.region``.

    :param regions: the names of the hosts, each with the region of an instance without one.
    """
    found: dict[str, str] = {}
    for host, default in regions.items():
        variables = hostvars[host]
        placement = variables.get("placement")
        from_inventory = placement.get("region") if isinstance(placement, Mapping) else None
        if instance := _text(variables, "instance_id"):
            found.setdefault(instance, _text(variables, "cwagent_region") or str(from_inventory or "") or default)
    return {region: [each for each in found if found[each] == region] for region in found.values()}


def _text(variables: Mapping[str, Any], name: str) -> str:
    """Return a variable without surrounding blanks, which a survey can leave."""
    return str(variables.get(name) or "").strip()


def _merge(of_hosts: Iterable[ByRegion]) -> dict[str, list[str]]:
    """Return the items of hosts by region, each item once. Items without a region come first."""
    merged: dict[str, dict[str, None]] = {}
    for by_region in of_hosts:
        for region, items in by_region.items():
            merged.setdefault(region, {}).update(dict.fromkeys(items))
    return {region: [*merged[region]] for region in sorted(merged, key=bool)}


def _check_values(hosts: Mapping[str, Inputs]) -> None:
    """Check that each variable has one value on all hosts. :raises InvalidInput: with the variables and the hosts."""
    variables: dict[tuple[tuple[str, ...], ...], dict[str, None]] = {}
    for variable in next(iter(hosts.values()))["variables"]:
        groups: dict[str, list[str]] = {}
        for name, each in hosts.items():
            groups.setdefault(each["variables"][variable]["digest"], []).append(name)
        if len(groups) > 1:
            # A variable that nobody set follows another one, with the same hosts for each value.
            names = [name for each in hosts.values() if (name := each["variables"][variable]["set_as"])]
            variables.setdefault(tuple(map(tuple, groups.values())), {}).update(dict.fromkeys(names))
    if variables:
        problems = [_to_sentence([*names], groups) for groups, names in variables.items()]
        raise InvalidInput(
            f"{' '.join(problems)} Set the same value for these hosts, or use one play for the hosts with each value."
        )


def _to_sentence(names: Sequence[str], groups: Sequence[Sequence[str]]) -> str:
    of_groups = [f"one value for {join_first(group, MAX_SHOWN_HOSTS)}" for group in groups[:MAX_SHOWN_HOSTS]]
    more = len(groups) - len(of_groups)
    shown = "; ".join([*of_groups, *([f"and {more} more"] if more else [])])
    return f"All hosts of an account must have the same {' and '.join(names)}, but there is {shown}."
