# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the servers and the admin instance of an account in EC2. Only reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.plan import run_in_parallel
from .._ground.text import join_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._ground.aws import Aws


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
PAGE_SIZE = 1000
ID_FILTER = "instance-id"
# EC2 lists an instance for an hour after it has ended.
NOT_ENDED = {"instance-state-name": ["pending", "running", "stopping", "stopped"]}
MAX_NAMED = 5


@dataclass(frozen=True)
class Wanted:
    """The EC2 filters for the instances to find, each with one value or several. No filters find nothing.

    :param is_admin_needed: whether there must be exactly one admin instance. If it is not needed, because a playbook
        cleans up, and there is not exactly one, all instances count as servers.
    """

    servers: Mapping[str, Any] = field(default_factory=dict)
    admin: Mapping[str, Any] = field(default_factory=dict)
    is_admin_needed: bool = True


@dataclass(frozen=True)
class Found:
    """The instances that match the filters.

    :param instances: by region, the IDs of the servers.
    :param admin: the region and the ID of the admin instance.
    """

    instances: Mapping[str, Sequence[str]]
    admin: tuple[str, str] | None

    def to_dict(self) -> dict[str, Any]:
        """Return this as the module returns it."""
        admin = dict(zip(("region", "instance_id"), self.admin)) if self.admin else None
        return {"instances": {region: list(each) for region, each in self.instances.items()}, "admin_instance": admin}


def check_account(aws: Aws, account_id: str) -> None:
    """Check that the credentials belong to an account.

    :raises InvalidInput: they belong to another account.
    :raises CwagentError: AWS did not answer, or refused the credentials.
    """
    actual = aws.call("sts:GetCallerIdentity", f"check that the credentials belong to account {account_id}")
    refuse_other(actual["Account"], account_id)


def refuse_other(actual: str, account_id: str) -> None:
    """Check that an account is the wanted one. :raises InvalidInput: it is another account."""
    if actual != account_id:
        raise InvalidInput(
            f"The credentials belong to account {actual}, not to {account_id}. Correct cwagent_account_id, or "
            "cwagent_account_aws_profile and the profile that it names. Nothing was changed."
        )


def enabled_regions(aws: Aws) -> list[str]:
    """Return the regions that are enabled in the account."""
    answer = aws.call("ec2:DescribeRegions", "list the regions of the account")
    return sorted(each["RegionName"] for each in answer["Regions"])


def find_instances(aws_in: Mapping[str, Aws], wanted: Wanted) -> Found:
    """Return the instances of regions that match.

    :param aws_in: by region, the gateway for it.
    :raises InvalidInput: there is not exactly one admin instance.
    :raises CwagentError: AWS did not answer, or answered with an error.
    """

    def find_in(region: str) -> tuple[list[str], list[str]]:
        return _matching(aws_in[region], wanted.servers), _matching(aws_in[region], wanted.admin)

    for aws in aws_in.values():
        aws.client("ec2")  # not in the threads: amazon.aws ends the module if it cannot make a client
    found = dict(zip(aws_in, run_in_parallel(find_in, aws_in)))
    instances = {region: servers for region, (servers, _admins) in found.items() if servers}
    admins = [(region, name) for region, (_servers, admins) in found.items() for name in admins]
    if not wanted.is_admin_needed and len(admins) != 1:
        both = {region: sorted({*servers, *others}) for region, (servers, others) in found.items()}
        return Found({region: each for region, each in both.items() if each}, None)
    # An account without servers has nothing to store.
    is_needed = bool(wanted.admin) and bool(instances or not wanted.servers)
    if len(admins) > 1 or (is_needed and not admins):
        raise InvalidInput(_admin_problem(wanted.admin, admins, aws_in))
    return Found(instances, admins[0] if admins else None)


def _matching(aws: Aws, filters: Mapping[str, Any]) -> list[str]:
    """Return the IDs of the instances that match. Instances that have ended match only if a filter has their state."""
    if not filters:
        return []
    values = {name: value if isinstance(value, list) else [value] for name, value in {**NOT_ENDED, **filters}.items()}
    pages = aws.pages(
        "ec2:DescribeInstances",
        "find the instances of the account",
        Filters=[{"Name": name, "Values": [str(each) for each in listed]} for name, listed in values.items()],
        MaxResults=PAGE_SIZE,
    )
    return sorted(
        each["InstanceId"]
        for page in pages
        for reservation in page["Reservations"]
        for each in reservation["Instances"]
    )


def _admin_problem(filters: Mapping[str, Any], admins: Sequence[tuple[str, str]], regions: Mapping[str, Any]) -> str:
    where = ", ".join(regions)
    if not admins and filters.keys() == {ID_FILTER}:
        return f"Instance {filters[ID_FILTER]} does not exist in {where}, or has ended. Nothing was changed."
    if not admins:
        return (
            f"No instance in {where} matches cwagent_account_admin_filters, so nothing can store the configuration. "
            "Correct cwagent_account_admin_filters. Nothing was changed."
        )
    named = join_first([f"{name} in {region}" for region, name in admins], MAX_NAMED)
    return (
        f"Exactly one instance must match cwagent_account_admin_filters, but {len(admins)} match: {named}. Narrow the "
        "filters down, or set cwagent_account_admin_instance_id. Nothing was changed."
    )
