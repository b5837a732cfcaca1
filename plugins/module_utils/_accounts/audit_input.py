# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The input of the audit: the parts of an account to read, and the account with the user's choices. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .._configuration.document import read
from .._configuration.parameter_plan import check_parameter_name
from .._configuration.permissions import permissions_of
from .._configuration.policy import Scope as FittedScope
from .._ground import names as _names
from .._ground.errors import InvalidInput
from .._ground.options import option, read_options, spec_of
from .._keys.key_rotation import check_days
from .._keys.stores import KEY_STORES, PLACE_SPEC
from .._servers.admin_instance import record_key
from .assess import GET, LOGS, METRICS, AccountView
from .evaluate import Decision
from .history import Writer
from .model import ACCESS, HISTORY, PARTS, ROLE, USER, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .model import ConfigParameter, InstanceUse, NodeUse, Principal


MAX_LISTED = 10
RESTORE = "Run the playbook cwagent.iam.restore."
# The states of an instance that can use its profile, now or when it is started.
_ALIVE = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True)
class Choices:
    """The user's choices, with the options of these names.

    :param key_max_age_days: the age at which a key is too old; ``None`` for no limit.
    :param server_profile: the instance profile for instances that have none.
    :param hybrid_role_name: the role of the servers that are registered with Systems Manager.
    :param inventory_users: the users of the hosts in the inventory; ``None`` if they are not known.
    :param attach_to_roles: the application roles that should have the agent's policy; ``None`` if they are not known.
    :param admin_role_name: the role of the instance that stores configurations.
    :param admin_user_name: the user of the host that stores them on premises.
    :param controller_stores: whether the controller stores them with its own credentials.
    :param ignored_parameters: the parameters that fitted policies leave out.
    :param emf_log_groups: the log groups to which applications send metrics in EMF.
    """

    key_max_age_days: timedelta | None = timedelta(days=90)
    server_profile: str = option(default="CloudWatchAgentServerRole")
    hybrid_role_name: str = option(default="CloudWatchAgentHybridRole")
    inventory_users: frozenset[str] | None = option()
    attach_to_roles: frozenset[str] | None = option()
    admin_role_name: str = option(default="CloudWatchAgentAdminRole")
    admin_user_name: str = option(default="CloudWatchAgentAdminUser")
    controller_stores: bool = option(default=False)
    ignored_parameters: Sequence[str] = option(default=[])
    emf_log_groups: Sequence[str] = option(default=[])


SPEC: dict[str, Any] = {
    "roles": {"type": "list", "elements": "str"},
    "users": {"type": "list", "elements": "str"},
    "regions": {"type": "list", "elements": "str", "default": []},
    "instances": {"type": "dict", "default": {}},
    "account_id": {"type": "str"},
    "label": {"type": "str", "default": "controller"},
    "key_stores": {"type": "list", "elements": "str", "choices": list(KEY_STORES), "default": list(KEY_STORES)},
    "key_store_prefix": PLACE_SPEC["key_store_prefix"],
    "key_max_age_days": {"type": "int", "default": 90, "no_log": False},
    **spec_of(Choices),
    "simulate": {"type": "bool", "default": False},
    "parts": {"type": "list", "elements": "str", "choices": list(PARTS), "default": list(PARTS)},
    "configs_by_region": {"type": "dict", "default": {}},
}


def scope(params: Mapping[str, Any], region: str | None) -> Scope:
    """Return the parts to read. :param region: the region of the module. :raises InvalidInput: a name is not valid."""
    instances = _by_region(params, "instances", region, _names.check_instance_id)
    configurations = _by_region(params, "configs_by_region", region, check_parameter_name)
    regions = tuple(dict.fromkeys(params["regions"] or [region, *instances, *configurations]))
    if not all(regions):
        raise InvalidInput("No AWS region is set. Set the option regions or region, or AWS_REGION.")
    for each in (*regions, *instances, *configurations):
        _names.check_region(each)
    names = {ROLE: params["roles"], USER: params["users"]}
    for kind, of_kind in names.items():
        for name in of_kind or ():
            _names.check_name(kind, name)
    has_access = ACCESS in params["parts"]
    is_named = any(each is not None for each in names.values())
    return Scope(
        params["label"],
        regions,
        {kind: of_kind or [] for kind, of_kind in names.items()} if is_named else None,
        instances if has_access else {},
        tuple(params["key_stores"]),
        params["key_store_prefix"],
        params["account_id"],
        has_nodes=True,
        has_activations=True,
        has_access=has_access,
        configurations=configurations if HISTORY in params["parts"] else {},
    )


def _by_region(
    params: Mapping[str, Any], name: str, default: str | None, check: Callable[[str], None]
) -> dict[str, list[str]]:
    """Return the checked names of an option by region. :param default: the region that the empty name stands for."""
    given = _names.names_by_region(name, params[name])
    for names in given.values():
        for each in names:
            check(each)
    return {region or default or "": names for region, names in given.items()}


def choices(params: Mapping[str, Any]) -> Choices:
    """Return the rules. :raises InvalidInput: an option is not valid."""
    check_days("key_max_age_days", params["key_max_age_days"], minimum=0)
    _names.check_name("instance profile", params["server_profile"])
    _names.check_name("role", params["hybrid_role_name"])
    _names.check_name("role", params["admin_role_name"])
    _names.check_name("user", params["admin_user_name"])
    days, users, roles = params["key_max_age_days"], params["inventory_users"], params["attach_to_roles"]
    return read_options(
        Choices,
        params,
        key_max_age_days=timedelta(days=days) if days else None,
        inventory_users=None if users is None else frozenset(users),
        attach_to_roles=None if roles is None else frozenset(roles),
    )


@dataclass(frozen=True)
class Case(AccountView):
    """An account, its assessments and the user's choices: the input of every rule."""

    choices: Choices

    @property
    def fitted_scope(self) -> FittedScope:
        """Where fitted policies apply."""
        return FittedScope(self.account.partition, self.account.id, tuple(self.choices.emf_log_groups))

    @property
    def own_writers(self) -> tuple[Writer, ...]:
        """The principals with which the inventory stores configurations."""
        account, choices = self.account, self.choices
        own = [Writer(account.id, ROLE, choices.admin_role_name), Writer(account.id, USER, choices.admin_user_name)]
        return (*own, Writer.of(account.caller).principal) if choices.controller_stores else tuple(own)

    def instances_of(self, role: str) -> list[InstanceUse]:
        """Return the instances whose profile has a role."""
        return self._by_role.get(role, [])

    def is_hybrid(self, principal: Principal) -> bool:
        """Whether a principal is the role of servers that this collection registers with Systems Manager."""
        return principal.kind == ROLE and principal.name in self.hybrid_roles

    @cached_property
    def hybrid_roles(self) -> frozenset[str]:
        """The names of the roles of servers that this collection registers with Systems Manager."""
        nodes = (each.role for each in self.account.nodes if each.is_ours)
        activations = (each.role for each in self.account.activations if each.is_ours)
        return frozenset({self.choices.hybrid_role_name, *nodes, *activations})

    def nodes_of(self, role: str) -> list[NodeUse]:
        """Return the nodes of Systems Manager with a role."""
        return self._nodes_by_role.get(role, [])

    @cached_property
    def _nodes_by_role(self) -> dict[str, list[NodeUse]]:
        found: dict[str, list[NodeUse]] = {}
        for each in self.account.nodes:
            found.setdefault(each.role, []).append(each)
        return found

    @cached_property
    def alive(self) -> list[InstanceUse]:
        """The instances that were not terminated."""
        return [each for each in self.account.instances if each.state is None or each.state in _ALIVE]

    @cached_property
    def _by_role(self) -> dict[str | None, list[InstanceUse]]:
        found: dict[str | None, list[InstanceUse]] = {}
        for each in self.alive:
            found.setdefault(self.roles.get(each.profile), []).append(each)
        return found

    @cached_property
    def _servers(self) -> list[Principal]:
        return [each.principal for each in self.assessments if each.principal.access == "server"]

    def readers(self, parameter: ConfigParameter) -> list[tuple[Principal, Decision]]:
        """Return for each server principal whether it may read a parameter."""
        arn = self.parameter_arn(parameter.region, parameter.name)
        return [(server, self.decide(server, GET, arn)) for server in self._servers]

    def ordinary_actions(self, region: str, principal: Principal) -> list[set[str]]:
        """Return for each configuration in a region which actions of an ordinary agent a principal needs.

        Without known needs, AWS's policy allows them all, and a fitted policy allows none.
        """
        unknown: set[str] = set() if principal.has_fitted_policy else {METRICS, LOGS}
        values = {each.name: each.value for each in self.account.parameters if each.region == region}
        needs = [permissions_of(read(value, name).value or {}) for name, value in values.items() if value is not None]
        return [
            {action for need in each if not need.role for action in need.row.actions} & {METRICS, LOGS}
            if each
            else unknown
            for each in needs or [[]]
        ]


def has_record(case: Case, instance: InstanceUse) -> bool:
    """Whether a principal has the record of the instance's own profile."""
    key = record_key(instance.region, instance.id)
    return any(key in each.principal.tags for each in case.assessments)
