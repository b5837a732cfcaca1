# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts of an organization, and which of them an inventory has. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.dict_transformations import camel_dict_to_snake_dict

from ...module_utils._ground.errors import CwagentError, InvalidInput
from .given import check_host_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


# The fields of an instance in the answer of EC2 that are needed to connect to instances and to group them.
INSTANCE_FIELDS = (
    *("Architecture", "ImageId", "InstanceId", "InstanceType", "PlatformDetails", "PrivateDnsName"),
    *("PrivateIpAddress", "PublicDnsName", "PublicIpAddress", "SubnetId", "VpcId"),
)


@dataclass(frozen=True)
class Unit:
    """The root of an organization, or an organizational unit.

    :param path: the names of the units from the root on, such as ``/Workloads/Production``; ``/`` for the root.
    :param ids: the IDs of the units from the root on.
    :param is_selected: whether the inventory has its accounts.
    """

    path: str
    ids: tuple[str, ...]
    is_selected: bool

    @property
    def names(self) -> set[str]:
        """The names that users can give for it, which are its path and its ID."""
        return {self.path, self.ids[-1]}


def root_unit(root: Mapping[str, Any], selected: Collection[str]) -> Unit:
    """Return the root. :param root: as AWS returns it. :param selected: IDs or paths of units; all, if empty."""
    return Unit("/", (root["Id"],), not selected or "/" in selected or root["Id"] in selected)


def child_unit(parent: Unit, child: Mapping[str, Any], selected: Collection[str]) -> Unit:
    """Return a unit, which is selected with its parent. :param child: as AWS returns it."""
    path = f"{parent.path.rstrip('/')}/{child['Name']}"
    return Unit(path, (*parent.ids, child["Id"]), parent.is_selected or path in selected or child["Id"] in selected)


def check_selected(units: Iterable[Unit], selected: Iterable[str]) -> None:
    """Check that all selected units exist. :raises InvalidInput: some do not."""
    missing = sorted(set(selected).difference(*(unit.names for unit in units)))
    if missing:
        raise InvalidInput(
            f"organizational_units: not in the organization: {', '.join(missing)}. Give the ID of an organizational "
            "unit, such as ou-ab12-11111111, or its path, such as /Workloads/Production."
        )


@dataclass(frozen=True)
class Account:
    """An account of an organization; its fields have the names that templates in the inventory source use."""

    account_id: str
    account_name: str
    account_state: str
    account_tags: Mapping[str, str]
    organizational_unit: str
    organizational_unit_ids: Sequence[str]
    partition: str


def account_state(account: Mapping[str, Any]) -> str:
    """Return the state of an account.

    ``Status`` preceded ``State`` and is to be retired: https://docs.aws.amazon.com/organizations/latest/APIReference/
    API_Account.html

    :param account: as AWS returns it.
    :raises CwagentError: there is neither, because botocore drops fields that it does not know.
    """
    state = account.get("State") or account.get("Status")
    if not state:
        raise CwagentError(
            "AWS returned no state of accounts that the installed botocore knows. Update botocore; without the state, "
            "suspended accounts would be in the inventory."
        )
    return str(state)


def is_management_account(account: Mapping[str, Any]) -> bool:
    """Return whether an account manages the organization. The ARN of every account contains the manager's ID."""
    return bool(account["Arn"].split(":")[4] == account["Id"])


def account_of(account: Mapping[str, Any], unit: Unit, tags: Iterable[Mapping[str, str]]) -> Account:
    """Return an account of a unit. :param account: as AWS returns it. :param tags: as AWS returns them."""
    return Account(
        account_id=account["Id"],
        account_name=account["Name"],
        account_state=account_state(account),
        account_tags=to_mapping(tags),
        organizational_unit=unit.path,
        organizational_unit_ids=list(unit.ids),
        partition=account["Arn"].split(":")[1],
    )


def has_tags(account: Account, wanted: Mapping[str, Any]) -> bool:
    """Return whether an account has all tags. :param wanted: by key, the value or a list of values."""
    allowed = {key: value if isinstance(value, list) else [value] for key, value in wanted.items()}
    return all(account.account_tags.get(key) in [str(each) for each in values] for key, values in allowed.items())


def check_hostnames(accounts: Mapping[str, Account], count: int) -> None:
    """Check that each account has a host. :param accounts: by name of the host. :param count: the number of accounts.

    :raises InvalidInput: there is no account, or some have the same host, or a host has no name, or a pattern as its
        name.
    """
    if not count:
        raise InvalidInput(
            "No account of the organization matches organizational_units, account_tags and states. Without a host in "
            "the group cwagent_accounts, playbooks would use the account of the controller."
        )
    if len(accounts) < count or not all(accounts):
        raise InvalidInput(
            "hostname: some accounts have the same name, or no name. Use a template that differs from account to "
            "account, such as {{ account_name }}-{{ account_id }}."
        )
    for host in accounts:
        check_host_name(host)


def instance_variables(instance: Mapping[str, Any], region: str) -> dict[str, Any]:
    """Return the variables of an instance. :param instance: as AWS returns it."""
    known = {field: instance[field] for field in INSTANCE_FIELDS if instance.get(field)}
    return {
        **camel_dict_to_snake_dict(known),
        "cwagent_region": region,
        "ec2_tags": to_mapping(instance.get("Tags", [])),
        "instance_state": instance["State"]["Name"],
    }


def to_mapping(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return tags by key. :param tags: as AWS returns them."""
    return {tag["Key"]: tag["Value"] for tag in tags}
