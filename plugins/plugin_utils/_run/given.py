# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The input of a playbook's run, before it is interpreted. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible.inventory.manager import split_host_pattern

from ...module_utils._ground import names
from ...module_utils._ground.errors import InvalidInput
from .values import Problems, is_blank, to_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence


EC2_SERVERS, EC2_ADMIN = "cwagent_ec2_servers", "cwagent_ec2_admin"
ONPREM_SERVERS, ONPREM_ADMIN = "cwagent_onprem_servers", "cwagent_onprem_admin"
GROUPS = (EC2_SERVERS, EC2_ADMIN, ONPREM_SERVERS, ONPREM_ADMIN)
# Each host of this group stands for an account. Without such hosts, the only account is the controller's.
ACCOUNTS = "cwagent_accounts"
# The requirements that a playbook can have, such as something to store, the admin instance, the user's consent to
# delete, a place that keeps access keys, or only one account. A restoration requires nothing and does all it can. A
# playbook that applies configurations has batches of servers.
CONFIGS, ADMIN_INSTANCE, CONFIRMATION, KEY_STORE = "configs", "admin_instance", "confirmation", "key_store"
CONFIGS_ONLY, AUDIT, SERVERS = "configs_only", "audit", "servers"
ROTATION, REMOVAL, ONE_ACCOUNT, RESTORE = "rotation", "removal", "one_account", "restore"
HISTORY, APPLY, POLICY = "history", "apply", "policy"
REQUIREMENTS = [
    *(CONFIGS, CONFIGS_ONLY, ADMIN_INSTANCE, CONFIRMATION, KEY_STORE, AUDIT, SERVERS),
    *(ROTATION, REMOVAL, ONE_ACCOUNT, RESTORE, HISTORY, APPLY, POLICY),
]
STORE_FROM = "cwagent_store_config_from"
TEXT = {"type": "str"}
# By type, the value of an option that is not set and has no default.
EMPTY: dict[str, Any] = {"str": "", "list": [], "dict": {}}


@dataclass(frozen=True)
class Given:
    """The input of a run. The interpretation reads nothing else.

    :param options: the variables of the playbooks, as in ``argument_specs.yml``.
    :param controller: the variables of the controller, or of the host that stands for the account.
    :param controller_host: the name of that host in the inventory.
    :param hosts: by name, the variables of the hosts in the collection's groups, if they belong to the account.
    :param groups: by name, the hosts of all groups of the inventory. The collection's groups contain only hosts of the
        account.
    :param find_default_region: returns the region that the AWS tools use on the controller with a profile, or an empty
        text. It raises ``InvalidInput`` if their configuration cannot be read.
    :param find_file: returns the absolute path of a file on the controller, or raises ``InvalidInput``.
    :param to_absolute: returns the absolute path of a file or folder on the controller, which need not exist, or raises
        ``InvalidInput``.
    :param requires: the requirements of the playbook: ``CONFIGS``, ``CONFIGS_ONLY`` (and no host), ``ADMIN_INSTANCE``,
        ``CONFIRMATION``, ``KEY_STORE``, ``AUDIT`` (no host), ``HISTORY`` (names of configurations), ``SERVERS``,
        ``ROTATION`` (users of the hosts that the limit leaves), ``REMOVAL`` (servers that leave), ``ONE_ACCOUNT`` (the
        controller's), ``RESTORE`` (nothing, because problems must not keep the rest from being restored),
        ``APPLY`` (nothing; its batches consist of servers), ``POLICY`` (nothing; it writes policies).
    :param limit: the hosts that ``--limit`` leaves; ``None`` without one.
    :param in_awx: whether the run is a job of AWX.
    :param accounts: by name, the variables of all hosts that stand for accounts. Empty for the controller's account.
    :param unassigned: by name, the value of ``cwagent_account`` for the hosts that belong to no account.
    :param found: the result of ``cwagent_account_info`` with the instances in the account; ``None`` before that.
    :param role_variables: the variables of roles that the user has set although the playbooks set them, each with the
        variable of the playbooks to set instead, if there is one.
    """

    options: Mapping[str, Mapping[str, Any]]
    controller: Mapping[str, Any]
    controller_host: str
    hosts: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, Sequence[str]]
    find_default_region: Callable[[str], str]
    find_file: Callable[[str], str]
    to_absolute: Callable[[str], str]
    requires: Collection[str] = ()
    limit: Collection[str] | None = None
    in_awx: bool = False
    accounts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unassigned: Mapping[str, Any] = field(default_factory=dict)
    found: Mapping[str, Any] | None = None
    role_variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def stores(self) -> bool:
        """Return whether the playbook stores or validates configurations, so that their files must exist."""
        requires = {*self.requires}
        return bool({CONFIGS, CONFIGS_ONLY, KEY_STORE} & requires) and ROTATION not in requires

    @property
    def needs_admin_instance(self) -> bool:
        """Return whether an account that has servers must have an admin instance."""
        requires = {*self.requires}
        return bool({CONFIGS, ADMIN_INSTANCE, KEY_STORE} & requires) and ROTATION not in requires

    def members(self, *groups: str) -> list[str]:
        """Return the hosts of some groups, each once."""
        return list(dict.fromkeys(host for group in groups for host in self.groups.get(group, ())))

    def of_host(self, host: str) -> Mapping[str, Any]:
        """Return the variables of a host."""
        return self.hosts.get(host, {})

    def where(self, host: str, name: str) -> str:
        """Return the beginning of a problem with a host's variable; empty if the whole run has the same value."""
        own, of_run = self.of_host(host).get(name), self.controller.get(name)
        return "" if own == of_run and not is_blank(own) else f"Host {host}: "


def check_text(given: Given, host: str, name: str, problems: Problems) -> None:
    """Check that a variable of a host is text, if it is given."""
    problems.check(to_typed, name, TEXT, given.of_host(host).get(name), where=given.where(host, name))


def checked_region(name: str, value: Any) -> str:
    """Return the region in a variable; empty for a blank. :raises InvalidInput: it is not the name of a region."""
    region = to_typed(name, TEXT, value) or ""
    if region:
        try:
            names.check_region(region)
        except InvalidInput as error:
            raise InvalidInput(
                f"{name}: {error} Correct it, or leave out cwagent_region to use AWS_REGION or the region of the AWS "
                "profile."
            ) from error
    return str(region)


def check_host_name(host: str) -> None:
    """Check that Ansible finds a host by its name, which it reads as a pattern in the ``hosts`` of a play.

    :raises InvalidInput: it finds no host, or others, and would not report that.
    """
    if split_host_pattern([host]) != [host] or re.match(r"[!&~]", host) or re.search(r"[*?\[]", host):
        raise InvalidInput(
            f"Host {host}: Ansible reads the name as a pattern and would leave the host out. Give it a name of "
            "letters, digits and the characters . _ -"
        )


def checked_instance_id(value: Any, name: str = "instance_id") -> str:
    instance_id = to_typed(name, TEXT, value)
    if instance_id is None:
        raise InvalidInput(f"{name} is not set; it is the ID of the EC2 instance.")
    try:
        names.check_instance_id(instance_id)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from error
    return str(instance_id)
