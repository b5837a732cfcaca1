# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interpreted input of a run in one account, and the plain record of it that tasks hand on. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from .given import APPLY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    ByRegion = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class AccountVariables:
    """The variables of the host that stands for the account, without their prefix; see ``argument_specs.yml``.

    :param host: its name, which is empty for the account of the controller's credentials.
    :param admin_required: whether an account that has servers must have an admin instance.
    :param is_valid: whether these variables have no problem, so that the credentials are certainly the account's.
    """

    host: str
    id: str
    aws_profile: str
    assume_role_arn: str
    external_id: str
    session_name: str
    session_duration: int
    regions: Sequence[str]
    server_filters: Mapping[str, Any]
    admin_filters: Mapping[str, Any]
    admin_instance_id: str
    admin_required: bool = False
    is_valid: bool = False

    @property
    def has_filters(self) -> bool:
        """Whether servers or the admin instance are to be found in the account."""
        return bool(self.server_filters or self.admin_filters or self.admin_instance_id)


@dataclass(frozen=True)
class OnpremHost:
    """A server on premises.

    :param user: its user. A hybrid server has the user that it had before, if there is one.
    :param region: its own region.
    :param key_region: the region in which the access key of the user is saved.
    :param identity: how it gets credentials, ``key`` or ``hybrid``.
    :param deliver: whether a play configures the host.
    """

    user: str
    region: str
    key_region: str
    identity: str
    deliver: bool


@dataclass(frozen=True)
class Removal:
    """The users, instances and nodes of the servers that leave.

    :param users: the users by region, with the default users of hosts that have left.
    :param default_users: by name that no server of the inventory has, the user that a host of that name had. IAM knows
        which of the two exists.
    :param optional_users: the users that need not exist.
    :param instances: the instances that leave, by region.
    :param remaining_instances: the others.
    :param nodes: by region, the IDs and the names of nodes of Systems Manager.
    :param key_hosts: the hosts with their access keys, on which a play removes them.
    :param notes: sentences for the report.
    """

    users: ByRegion
    default_users: Mapping[str, str]
    optional_users: Sequence[str]
    instances: ByRegion
    remaining_instances: ByRegion
    nodes: ByRegion
    key_hosts: Sequence[str]
    notes: Sequence[str]


@dataclass(frozen=True)
class Run:
    """The interpreted input of a run in one account. It contains no content of a file and no secret.

    :param settings: the variables with one value for the whole run, without the prefix ``cwagent_``.
    :param requires: the requirements of the playbook, which identify its work.
    :param account: the account and how its credentials are found.
    :param region: the region of what belongs to no host.
    :param regions: the regions of the hosts.
    :param configs: the configurations, each with its name, the path of its file, and perhaps its regions.
    :param config_names: the names of the configurations by region.
    :param account_decides_policy: whether the policies that the servers have decide about ``server_policy``.
    :param fitted_policies: the names of the fitted ``server_policies`` and ``admin_policies``; empty lists for AWS's.
    :param servers: the servers that ``--limit`` leaves, each with its identity and the configurations that it uses.
    :param onprem_hosts: the servers on premises by host.
    :param node_id: by host on premises, the node of a host that was renamed, or an empty text.
    :param instances: the EC2 instances by region.
    :param instance_id: the ID of the instance that stores the configuration, or an empty text.
    :param finds_instances: whether the instances of the account are found by filters.
    :param has_instances: whether the account can have roles of instances. Even if filters no longer find an instance,
        the roles still exist.
    :param server_users: by region, the users of servers whose access keys are managed.
    :param admin_users: by region, the users that may store.
    :param retired_users: by region, the users that only hybrid servers had before.
    :param users: all users of the inventory.
    :param key_names: by region, the hosts that get an access key and can have been hybrid servers before.
    :param key_store_regions: all regions in which an access key can be saved.
    :param leaving_nodes: by region, the IDs and names of nodes that a playbook that removes servers deregisters.
    :param hybrid_server_regions: the regions of the hybrid servers.
    :param delivery_hosts: the hosts on which a play configures or removes the credentials.
    :param undelivered_hosts: those that ``--limit`` leaves out.
    :param collect_hosts: the hosts that facts are collected from.
    :param controller_stores: whether the controller stores the configuration.
    :param stores: whether a host stores, or opens the window for a person.
    :param storing_host: that host.
    :param storing_region: its region.
    :param window_state: the option of the module ``cwagent_restore``.
    :param moves_label: whether the label may move. With a limit, other servers have not proved a version.
    :param audit: the options of an audit, among them the principals that it compares with the account.
    :param report_files_by_format: the files of reports by their format.
    :param notices: warnings about the input.
    :param removal: the servers that leave, where the playbook removes some.
    :param notes: sentences for the report about omissions.
    :param problems: all problems of the input, in sentences.
    """

    settings: Mapping[str, Any]
    requires: Sequence[str]
    account: AccountVariables
    region: str
    regions: Sequence[str]
    configs: Sequence[Mapping[str, Any]]
    config_names: ByRegion
    account_decides_policy: bool
    fitted_policies: Mapping[str, Sequence[str]]
    servers: Sequence[Mapping[str, Any]]
    onprem_hosts: Mapping[str, OnpremHost]
    node_id: Mapping[str, str]
    instances: ByRegion
    instance_id: str
    finds_instances: bool
    has_instances: bool
    server_users: ByRegion
    admin_users: ByRegion
    retired_users: ByRegion
    users: Sequence[str]
    key_names: ByRegion
    key_store_regions: Sequence[str]
    leaving_nodes: ByRegion
    hybrid_server_regions: Sequence[str]
    delivery_hosts: Sequence[str]
    undelivered_hosts: Sequence[str]
    collect_hosts: Sequence[str]
    controller_stores: bool
    stores: bool
    storing_host: str
    storing_region: str
    window_state: str
    moves_label: bool
    audit: Mapping[str, Any]
    report_files_by_format: Mapping[str, Sequence[str]]
    notices: Sequence[str] = ()
    removal: Removal | None = None
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()

    @property
    def account_batches(self) -> Sequence[str]:
        """The sizes of the batches of accounts, which all accounts share. Other batches consist of servers."""
        return [] if APPLY in self.requires else self.settings["batch_size"]

    def record(self) -> dict[str, Any]:
        """Return the run as plain data, which a task registers and ``read_run`` reads. Each setting has its name."""
        return {**self.settings, **{name: value for name, value in asdict(self).items() if name != "settings"}}


_FIELDS = frozenset(each.name for each in fields(Run)) - {"settings"}


def read_run(record: Mapping[str, Any]) -> Run | None:
    """Return the run in the result of the task that interprets the input; ``None`` if it was refused or skipped."""
    if "requires" not in record:
        return None
    found = {name: record[name] for name in _FIELDS}
    settings = {name: value for name, value in record.items() if name not in _FIELDS}
    removal = found["removal"]
    return Run(
        settings,
        **{
            **found,
            "account": AccountVariables(**found["account"]),
            "onprem_hosts": {host: OnpremHost(**each) for host, each in found["onprem_hosts"].items()},
            "removal": removal and Removal(**removal),
        },
    )
