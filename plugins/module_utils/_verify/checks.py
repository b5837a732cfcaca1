# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks servers according to EC2 and IAM, without facts from the servers. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import (
    GET,
    LOGS,
    METRICS,
    UNKNOWN,
    WINDOW,
    YES,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.conditions import to_list
from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import Decision, decision_of
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import NODES, ROLE, USER
from ansible_collections.cwagent.iam.plugins.module_utils._access.view import AccountView
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import PUT
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import read
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.json_path import find_values
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.merge import merge
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.opentelemetry import is_yaml_name
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import ASSUME, permissions_of
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import ENCRYPTED_TYPE, TYPE
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.split import merge_order, part_name
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import HOST_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._names import (
    CREATED,
    MARK_TAG,
    aws_policy_arn,
    path_and_name_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import (
    ACCESS_POLICIES,
    SSM_POLICIES,
    SSM_SUCCESSOR,
)
from ansible_collections.cwagent.iam.plugins.module_utils._role.policy import SSM, HybridTrust
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import ONLINE
from ansible_collections.cwagent.iam.plugins.module_utils._verify.endpoints import Endpoint, endpoints_of, label
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import (
    CONFIGURATION,
    IDENTITY,
    MESSAGE_SERVICES,
    PERMISSIONS,
    Config,
    Failure,
    Note,
    Server,
)
from ansible_collections.cwagent.iam.plugins.module_utils._verify.script import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import Assessment
    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import (
        ConfigParameter,
        InstanceUse,
        Key,
        NodeUse,
        Principal,
        Unread,
    )
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import Need
    from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Target

# An action and its resource, which can be unknown.
Call = tuple[str, Optional[str]]

# The calls of every agent.
_ORDINARY = ((METRICS, "*"), (LOGS, "*"))
# The call with which an SSM agent reports that it is online.
_REPORT = ("ssm:UpdateInstanceInformation", "*")
# The ARN of a session of a role, which has no path.
_SESSION = re.compile(r"(arn:[^:]+:)sts(::\d+:)assumed-role/([^/]+)/.+")
SITE = "Run the playbook cwagent.iam.site"
STORE = "Run the playbook cwagent.iam.store_config with the configuration."


@dataclass(frozen=True)
class Case(AccountView):
    """The account as it was read, and further data for the checks.

    :param saved_keys: by user, the access key that is saved in a file.
    :param simulated: by principal, action and resource, whether IAM itself allows it.
    :param server_profile: the instance profile for instances that have none.
    :param hybrid_role: the role of servers that are registered with Systems Manager.
    :param address_of: the address of an endpoint, which is empty if AWS publishes none.
    """

    saved_keys: Mapping[str, str] = field(default_factory=dict)
    simulated: Mapping[tuple[str, str, str], bool] = field(default_factory=dict)
    server_profile: str = "CloudWatchAgentServerRole"
    hybrid_role: str = "CloudWatchAgentHybridRole"
    address_of: Callable[[Endpoint], str] = lambda _endpoint: ""

    @cached_property
    def writers(self) -> dict[str, Assessment]:
        """The assessments of the principals that matter, by ARN."""
        return {each.principal.arn: each for each in self.assessments}

    @cached_property
    def instances(self) -> dict[str, InstanceUse]:
        """The instances, by ID."""
        return {each.id: each for each in self.account.instances}

    @cached_property
    def nodes(self) -> dict[tuple[str, str], list[NodeUse]]:
        """The nodes of Systems Manager, by region and name."""
        found: dict[tuple[str, str], list[NodeUse]] = {}
        for each in self.account.nodes:
            found.setdefault((each.region, each.name), []).append(each)
        return found

    @cached_property
    def parameters(self) -> dict[str, dict[str, ConfigParameter]]:
        """The stored configurations, by region and name."""
        found: dict[str, dict[str, ConfigParameter]] = {region: {} for region in self.account.regions}
        for each in self.account.parameters:
            found[each.region][each.name] = each
        return found

    @cached_property
    def needs(self) -> dict[tuple[Any, ...], list[tuple[Need, str, str]]]:
        """The needs of the servers that are known: thousands of servers can have the same configurations."""
        return {}

    @cached_property
    def endpoints(self) -> dict[tuple[Any, ...], tuple[dict[str, str], dict[str, str]]]:
        """The addresses of the endpoints of the servers that are known."""
        return {}

    def decide(
        self, principal: Principal, action: str, resource: str | None = "*", *, bounded: bool = True
    ) -> Decision:
        """Return whether a principal may make a call, according to IAM, or else according to its policies."""
        allows = self.simulated.get((principal.arn, action, resource)) if bounded and resource else None
        if allows is not None:
            return decision_of(allows)
        return super().decide(principal, action, resource, bounded=bounded)

    def is_hybrid(self, principal: Principal) -> bool:
        """Whether a principal is the role of servers that are registered with Systems Manager."""
        return principal.kind == ROLE and principal.name == self.hybrid_role

    def role(self, arn: str) -> Principal | None:
        """Return the role of an ARN; ``None`` where it is not one of this account."""
        return next((each for each in self.principals.values() if each.kind == ROLE and each.arn == arn), None)

    def unread(self, what: str, region: str | None = None) -> Unread | None:
        """Return the denied read of a part of the account; ``None`` if it was read."""
        return next((each for each in self.account.unread if (each.what, each.region) == (what, region)), None)


def principal_of(case: Case, target: Target) -> Principal | None:
    """Return the role or user of a server; ``None`` if it has none, or if it was not read."""
    if target.is_hybrid:
        node = _node_of(case, target)
        # Another role is not checked, because the server is to get the right one.
        is_right = node is not None and node.role == case.hybrid_role
        return case.principals.get((ROLE, case.hybrid_role)) if is_right else None
    if not target.instance_id:
        return case.principals.get((USER, target.user))
    instance = case.instances.get(target.instance_id)
    role = case.roles.get(instance.profile) if instance else None
    return case.principals.get((ROLE, role)) if role else None


def _node_of(case: Case, target: Target) -> NodeUse | None:
    """Return the node of a hybrid server; ``None`` if it is not registered, or if it is not known which one it is."""
    ours = [each for each in case.nodes.get((target.region, target.host), ()) if each.is_ours]
    online = [each for each in ours if each.ping == ONLINE]
    candidates = ours if len(ours) == 1 else online
    return candidates[0] if len(candidates) == 1 else None


def configs_of(case: Case, target: Target) -> tuple[list[ConfigParameter], list[str]]:
    """Return the parameters that a server uses, in the order of the agent, and the names of missing parameters."""
    stored = case.parameters[target.region]
    if not target.configs:
        return [stored[name] for name in merge_order(stored)], []
    names = [name for config in target.configs for name in _parts(config, stored)]
    return [stored[name] for name in names], [name for name in target.configs if name not in stored]


def _parts(config: str, stored: Mapping[str, ConfigParameter]) -> Iterator[str]:
    number = 1
    while (name := part_name(config, number)) in stored:
        yield name
        number += 1


def check(case: Case, target: Target) -> Server:
    """Check a server according to EC2 and IAM."""
    principal = principal_of(case, target)
    parameters, missing = configs_of(case, target)
    certain, possible = _endpoints(case, target, parameters)
    server = Server(
        target.host,
        target.region,
        target.instance_id,
        target.user,
        target.is_hybrid,
        runs_all=_runs_all(target, parameters),
        configs=tuple(_config(case, principal, each) for each in parameters),
        endpoints=certain,
        possible_endpoints=possible,
    )
    if target.is_hybrid:
        server = _check_node(case, server, target, principal)
    elif target.instance_id:
        server = _check_instance(case, server)
    else:
        server = _check_user(case, server, principal)
    if principal:
        server = server.adding(*_check_permissions(case, principal, server))
        server = server.adding(*_check_needs(case, principal, target, parameters))
    elif not server.fails(IDENTITY):
        server = server.adding(Note(PERMISSIONS, "Its role or user could not be read."))
    return server.adding(*_check_configs(case, server, missing))


def _endpoints(
    case: Case, target: Target, parameters: Sequence[ConfigParameter]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the addresses that a server certainly calls, and those that only one of the configurations needs."""
    key = (target.region, bool(target.instance_id), target.is_hybrid, target.configs)
    if key not in case.endpoints:
        configs = _possible_configs(target, parameters)
        found = [endpoints_of(each, target.region, is_ec2=bool(target.instance_id)) for each in configs]
        messages = {Endpoint(each, target.region) for each in MESSAGE_SERVICES if target.is_hybrid}
        certain, possible = set.intersection(*found), set.union(*found)
        case.endpoints[key] = (
            _addresses(case, target, certain | messages),
            _addresses(case, target, possible - certain),
        )
    return case.endpoints[key]


def _possible_configs(target: Target, parameters: Sequence[ConfigParameter]) -> list[dict[str, Any] | None]:
    """Return the configurations of which a server uses at least one. ``None`` is an unknown configuration."""
    stored = {each.name: each for each in parameters if not is_yaml_name(each.name)}
    if target.configs:
        return [_known_config([*stored.values()])]
    parts = {name: [*_parts(name, stored)] for name in stored}
    whole = [name for name in stored if not any(name in parts[other] for other in stored if other != name)]
    return [_known_config([stored[part] for part in parts[name]]) for name in whole] or [None]


def _known_config(parameters: Sequence[ConfigParameter]) -> dict[str, Any] | None:
    configs = [read(each.value, each.name).value for each in parameters if each.value is not None]
    known = [each for each in configs if each is not None]
    return _merged(known) if known and len(known) == len(parameters) else None


def _addresses(case: Case, target: Target, endpoints: Iterable[Endpoint]) -> dict[str, str]:
    addresses = {each: each.address or case.address_of(each) for each in endpoints}
    return dict(sorted((label(each, target.region, url), url) for each, url in addresses.items() if url))


def _config(case: Case, principal: Principal | None, parameter: ConfigParameter) -> Config:
    readable = Decision.UNKNOWN
    if principal:
        readable = case.decide(principal, GET, case.parameter_arn(parameter.region, parameter.name))
    return Config(
        parameter.name,
        parameter.version,
        "" if parameter.value is None else digest(parameter.value),
        None if readable is Decision.UNKNOWN else readable is Decision.YES,
    )


# -- Identity --


def _check_instance(case: Case, server: Server) -> Server:
    instance = case.instances.get(server.instance_id)
    if case.unread("the instance profiles of instances", server.region):
        server = replace(server, is_windows=bool(instance and instance.is_windows))
        return server.adding(Note(IDENTITY, "The instance profiles could not be read."))
    if instance is None:
        return replace(server, is_running=False).adding(
            Failure(
                IDENTITY,
                f"Instance {server.instance_id} does not exist in {server.region}.",
                "Correct instance_id or cwagent_region of the host, or remove it from the inventory.",
            )
        )
    server = replace(
        server,
        is_running=instance.state in (None, "running"),
        is_windows=instance.is_windows,
        profile=instance.profile,
    )
    if instance.profile is None:
        fix = f"{SITE}, which associates '{case.server_profile}'."
        server = server.adding(Failure(IDENTITY, "It has no instance profile.", fix))
    elif instance.profile in case.roles and case.roles[instance.profile] is None:
        fix = (
            f"aws iam add-role-to-instance-profile --instance-profile-name {instance.profile} "
            f"--role-name {instance.profile}"
        )
        server = server.adding(Failure(IDENTITY, f"Instance profile '{instance.profile}' has no role.", fix))
    return server


def _check_user(case: Case, server: Server, user: Principal | None) -> Server:
    if user is None:
        if case.unread("the roles and users of the account"):
            return server
        return server.adding(Failure(IDENTITY, f"User '{server.user}' does not exist.", f"{SITE}."))
    saved_in_file = case.saved_keys.get(user.name)
    keys = {key.id: key for key in user.keys or ()}
    saved = saved_in_file or next((key.id for key in keys.values() if key.saved), "")
    if user.keys is None or (not saved and case.unread("where access keys are saved", server.region)):
        return server.adding(Note(IDENTITY, f"The access keys of user '{user.name}' could not be read."))
    return replace(server, key_id=saved).adding(*_check_key(user, saved, keys.get(saved)))


def _check_key(user: Principal, saved: str, key: Key | None) -> Iterator[Failure]:
    if not saved:
        yield Failure(IDENTITY, f"No access key of user '{user.name}' is saved.", f"{SITE}.")
    elif key is None:
        yield Failure(IDENTITY, f"Access key {saved} is saved, and user '{user.name}' does not have it.", f"{SITE}.")
    elif not key.active:
        fix = f"aws iam update-access-key --user-name {user.name} --access-key-id {saved} --status Active"
        yield Failure(IDENTITY, f"Access key {saved} of user '{user.name}' is inactive.", fix)


def _check_node(case: Case, server: Server, target: Target, role: Principal | None) -> Server:
    """Check the node of a hybrid server. :param role: its role, if it is the hybrid role and was read."""
    server = replace(server, role=case.hybrid_role)
    if case.unread(NODES, server.region):
        return server.adding(Note(IDENTITY, "The nodes of Systems Manager could not be read."))
    found = case.nodes.get((target.region, target.host), [])
    ours = [each for each in found if each.is_ours]
    node = _node_of(case, target)
    if len(ours) != 1:
        server = server.adding(_unclear_node(server, found, ours))
    if node is None:
        return server
    server = replace(server, node_id=node.id, role=node.role, is_windows=node.is_windows)
    if node.role != case.hybrid_role:
        right = case.principals.get((ROLE, case.hybrid_role))
        fix = (
            f"aws ssm update-managed-instance-role --region {node.region} --instance-id {node.id} "
            f"--iam-role {path_and_name_of(right.arn) if right else case.hybrid_role}"
        )
        what = f"Node {node.id} has role '{node.role}', not the hybrid role '{case.hybrid_role}'."
        server = server.adding(
            Failure(IDENTITY, what, fix), Note(PERMISSIONS, "They were not checked: it has another role.")
        )
    elif role is None and not case.unread("the roles and users of the account"):
        return server.adding(Failure(IDENTITY, f"Role '{node.role}' of node {node.id} does not exist.", f"{SITE}."))
    # Without its credentials, no agent is online.
    if node.ping != ONLINE and not (role and any(_check_registration(case, role, server.region))):
        fix = "sudo systemctl restart amazon-ssm-agent on it. If that does not help, see /var/log/amazon/ssm there."
        what = f"The SSM agent of node {node.id} is not online: its status is {node.ping}."
        server = server.adding(Failure(IDENTITY, what, fix))
    return server


def _unclear_node(server: Server, found: Sequence[NodeUse], ours: Sequence[NodeUse]) -> Failure:
    """Return the failure of a server that has not exactly one node that this collection registered."""
    if ours:
        listed = ", ".join(f"{each.id} ({each.ping})" for each in ours)
        what = f"Systems Manager has {len(ours)} nodes with its name in {server.region}: {listed}."
        # The server can be the offline node, and somebody with the code of an activation the online node.
        fix = (
            "On the server, sudo ssm-cli get-instance-information shows the ID that it uses. Deregister the others: "
            f"aws ssm deregister-managed-instance --region {server.region} --instance-id and the ID."
        )
        return Failure(IDENTITY, what, fix)
    if found:
        listed = ", ".join(each.id for each in found)
        what = f"This collection did not register {listed}, which has its name in {server.region}."
        fix = (
            f"If it is this server, mark it as ours: aws ssm add-tags-to-resource --region {server.region} "
            f"--resource-type ManagedInstance --resource-id {found[0].id} --tags Key={MARK_TAG},Value={CREATED} "
            f"Key={HOST_TAG},Value={server.host}"
        )
        return Failure(IDENTITY, what, fix)
    what = f"It is not registered with Systems Manager: no node in {server.region} has its name."
    return Failure(IDENTITY, what, f"{SITE}, which registers it, or reports its node.")


# -- Permissions --


def _check_registration(case: Case, role: Principal, region: str) -> Iterator[Failure | Note]:
    """Check that Systems Manager gives the nodes of a role its credentials, and that they can report with them."""
    trust = HybridTrust(case.account.partition, case.account.id, frozenset({region}))
    if role.trust is not None and not trust.is_in(role.trust, region):
        planned = trust.planned_policy(role.trust, exclusive=False)
        fix = f"{SITE}." if role.managed and trust.is_in(planned, region) else ""
        fix = fix or f"Allow {trust.describe_statement([region])} in the trust policy."
        yield Failure(IDENTITY, f"{role.title} does not let {SSM} assume it in {region}.", fix)
    yield from _check_calls(case, role, [_REPORT], _grant(case, role, SSM_POLICIES[SSM_SUCCESSOR]))


def _check_permissions(case: Case, principal: Principal, server: Server) -> Iterator[Failure | Note]:
    if server.is_hybrid:
        yield from _check_registration(case, principal, server.region)
    reads = [(GET, case.parameter_arn(server.region, each.name)) for each in server.configs]
    yield from _check_calls(case, principal, [*_ORDINARY, *reads], _grant(case, principal))
    yield from _check_writing(case, principal)


def _check_calls(
    case: Case, principal: Principal, needed: Sequence[Call], fix: str, part: str = ""
) -> Iterator[Failure | Note]:
    """Check whether a principal may make some calls.

    :param fix: how to add permissions that no policy allows.
    :param part: the part of the configuration that needs them, for the message.
    """
    decisions = {each: case.decide(principal, *each) for each in needed}
    denied = [each for each, decision in decisions.items() if decision is Decision.NO]
    bounded = [each for each in denied if case.is_blocked(principal, *each)]
    end = f", which {part} needs." if part else "."
    if bounded and principal.boundary:
        blocked = _actions(bounded)
        yield Failure(
            PERMISSIONS,
            f"Permissions boundary {principal.boundary.name} of {principal.label} blocks {blocked}{end}",
            f"Allow {blocked} in policy {principal.boundary.arn}.",
        )
    lacking = [each for each in denied if each not in bounded or not principal.boundary]
    if lacking:
        yield Failure(PERMISSIONS, f"{principal.title} lacks {_actions(lacking)}{end}", fix)
    unknown = [each for each, decision in decisions.items() if decision is Decision.UNKNOWN]
    if unknown:
        yield _undecided(principal, unknown, part)


def _undecided(principal: Principal, calls: Iterable[Call], part: str = "") -> Note:
    needed = f", which {part} needs," if part else ""
    return Note(PERMISSIONS, f"Whether {principal.title} may {_actions(calls)}{needed} could not be decided.")


def _grant(case: Case, principal: Principal, policy: str = ACCESS_POLICIES["server"]) -> str:
    if principal.managed:
        return f"{SITE}. If the policy is attached, find what denies it."
    if principal.kind == ROLE and not case.is_hybrid(principal):
        add = f"Add {principal.name} to cwagent_attach_to_roles, and run the playbook cwagent.iam.site"
        return f"{add} with cwagent_on_other_profile=attach. If the policy is attached, find what denies it."
    return principal.policy_command("attach", aws_policy_arn(policy, principal.partition))


def _check_writing(case: Case, principal: Principal) -> Iterator[Failure | Note]:
    """Return the finding on a principal that may write the configuration, which a server must not."""
    writer = case.writers.get(principal.arn)
    if writer is None:
        return
    if writer.writes in (YES, WINDOW):
        fix = "Run the playbook cwagent.iam.audit, which names the policies that allow it."
        if writer.writes == WINDOW or writer.window:
            fix = "Run the playbook cwagent.iam.restore, unless another run is storing a configuration."
        yield Failure(PERMISSIONS, f"{principal.title} may write the configuration. {writer.why}", fix)
    elif writer.writes == UNKNOWN:
        yield _undecided(principal, [(PUT, None)])


def _actions(calls: Iterable[Call]) -> str:
    """Return the actions, each once."""
    return ", ".join(dict.fromkeys(action for action, _resource in calls))


# -- Permissions that the configurations need --


def calls_of(case: Case, target: Target) -> Iterator[tuple[Principal, str, str]]:
    """Return the principal, the action and the resource of each call that a server has to make on a known resource."""
    principal, parameters = principal_of(case, target), configs_of(case, target)[0]
    if principal:
        yield from ((principal, *call) for call in (*_ORDINARY, *([_REPORT] if target.is_hybrid else [])))
        yield from ((principal, GET, case.parameter_arn(target.region, each.name)) for each in parameters)
        for need, region, _part in _needs(case, target, parameters):
            caller, resource = _caller(case, principal, need), _resource(case, need, region)
            if caller and resource:
                yield from ((caller, action, resource) for action in need.row.actions)


def _check_needs(
    case: Case, principal: Principal, target: Target, parameters: Sequence[ConfigParameter]
) -> Iterator[Failure | Note]:
    """Check the permissions that the configurations of a server need."""
    for why, is_encrypted in (("it was not read", False), ("it is encrypted", True)):
        unread = [each for each in parameters if each.value is None and (each.type == ENCRYPTED_TYPE) == is_encrypted]
        if unread:
            names = ", ".join(each.name for each in unread)
            yield Note(PERMISSIONS, f"The permissions that {names} needs are not known: {why}.")
    # A principal without the server policy already has a failure for that.
    lacks_ordinary = any(case.decide(principal, *each) is Decision.NO for each in _ORDINARY)
    for need, region, part in _needs(case, target, parameters):
        caller = _caller(case, principal, need)
        if caller and not (caller is principal and lacks_ordinary and need.row.is_in_server_policy):
            found = _check_need(case, caller, need, _resource(case, need, region), part)
            yield from found if _runs_all(target, parameters) else _as_notes(found)


def _runs_all(target: Target, parameters: Sequence[ConfigParameter]) -> bool:
    return bool(target.configs) or len(parameters) == 1


def _as_notes(found: Iterable[Failure | Note]) -> Iterator[Note]:
    """Return notes only, for a configuration that the server may not use."""
    for each in found:
        if isinstance(each, Failure):
            yield Note(each.check, f"If it uses this configuration: {each.what}")
        else:
            yield each


def _needs(case: Case, target: Target, parameters: Sequence[ConfigParameter]) -> list[tuple[Need, str, str]]:
    """Return the needs of the configurations of a server, each once.

    :returns: each need with the region of the agent and the name of the part for a message.
    """
    is_merged, is_ec2 = _runs_all(target, parameters), bool(target.instance_id)
    key = (target.region, is_merged, is_ec2, *(each.name for each in parameters))
    if key not in case.needs:
        found = _find_needs(parameters, is_merged, target.region)
        case.needs[key] = [each for each in found if is_ec2 or not each[0].row.is_ec2_only]
    return case.needs[key]


def _find_needs(
    parameters: Iterable[ConfigParameter], is_merged: bool, default_region: str
) -> Iterator[tuple[Need, str, str]]:
    configs = {each.name: read(each.value, each.name).value or {} for each in parameters if each.value is not None}
    whole = _merged(configs.values()) if is_merged else None
    seen: set[tuple[str, Any]] = set()
    for name, config in configs.items():
        region = next((each for _path, each in find_values(whole or config, "agent.region")), "")
        is_known = isinstance(region, str) and re.fullmatch(r"[a-z0-9-]+", region)
        for need in permissions_of(config, whole):
            key = (need.row.use, need.value if need.row.names_resource else None)
            if key not in seen:
                seen.add(key)
                yield need, region if is_known else default_region, f"{need.field} of {name}"


def _merged(configs: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the configuration that the agent merges from several, or ``None`` if it cannot merge them."""
    try:
        return merge(configs)
    except InvalidInput:
        return None


def _caller(case: Case, principal: Principal, need: Need) -> Principal | None:
    """Return the principal that makes the calls, or ``None`` for an assumed role that is not in this account."""
    return case.role(need.role) if need.role else principal


def _resource(case: Case, need: Need, region: str) -> str | None:
    return need.resource(case.account.partition, region, case.account.id)


def _check_need(case: Case, caller: Principal, need: Need, resource: str | None, part: str) -> Iterator[Failure | Note]:
    calls = [(action, resource) for action in need.row.actions]
    fix = _fix(case, caller, need, resource)
    if need.row.actions != (ASSUME,) or resource is None:
        yield from _check_calls(case, caller, calls, fix, part)
        return
    yield from _check_trust(case, caller, resource, part)
    if _is_trusted_by_name(case, caller, resource) and case.decide(caller, ASSUME, resource) is Decision.NO:
        yield _undecided(caller, calls, part)
    else:
        yield from _check_calls(case, caller, calls, fix, part)


def _check_trust(case: Case, caller: Principal, arn: str, part: str) -> Iterator[Failure | Note]:
    """Check the trust policy of a role that the agent has to assume."""
    role = case.role(arn)
    name = caller.label
    if role is None and arn.startswith(f"arn:{case.account.partition}:iam::{case.account.id}:role/"):
        what = f"{part} names role {arn}, which does not exist."
        yield Failure(PERMISSIONS, what, "Create the role, or correct the configuration.")
    elif role is None:
        yield Note(PERMISSIONS, f"Whether role {arn} trusts {name} could not be decided.")
    elif not _trusted(role) & {*_names(caller), role.account_id, f"arn:{role.partition}:iam::{role.account_id}:root"}:
        what = f"Role '{role.name}', which {part} names, does not trust {name}."
        yield Failure(PERMISSIONS, what, f"Allow {caller.arn} to assume the role in its trust policy.")


def _is_trusted_by_name(case: Case, caller: Principal, arn: str) -> bool:
    """Return whether the trust policy contains the principal itself, which is sufficient in the same account."""
    role = case.role(arn)
    return bool(role and _trusted(role) & _names(caller))


def _names(principal: Principal) -> set[str]:
    """Return the names of a principal in trust policies. Without the path of its ARN, it stands for its sessions."""
    account = f"arn:{principal.partition}:iam::{principal.account_id}"
    return {"*", principal.arn, principal.id, f"{account}:{principal.kind}/{principal.name}"}


def _trusted(role: Principal) -> set[str]:
    """Return the AWS principals in the trust policy of a role. ``*`` stands for everyone, and for an unknown policy."""
    found: set[str] = set()
    for statement in to_list(role.trust["Statement"]) if role.trust else [{"Effect": "Allow"}]:
        who = statement.get("Principal", "*")
        if statement["Effect"] == "Allow":
            found.update(to_list(who.get("AWS", [])) if isinstance(who, dict) else ["*"])
    return {_SESSION.sub(r"\1iam\2role/\3", each) for each in found}


def _fix(case: Case, principal: Principal, need: Need, resource: str | None) -> str:
    """Return how to add the permissions to a principal."""
    if need.row.is_in_server_policy and principal.access == "admin" and not case.is_hybrid(principal):
        return f"{ACCESS_POLICIES['admin']} does not allow it. Associate instance profile '{case.server_profile}'."
    if need.row.is_in_server_policy:
        return _grant(case, principal)
    allowed = ", ".join(need.row.actions) + (f" on {resource}" if resource else "")
    if principal.managed:
        role = "hybrid_server" if case.is_hybrid(principal) else "ec2_server"
        variable = f"{role if principal.kind == ROLE else 'onprem_server'}_managed_policies"
        add = f"Create a policy that allows {allowed}, add its ARN to {variable}"
        return f"{add}, and run the playbook cwagent.iam.site."
    return f"Allow {allowed} in a policy of {principal.label}."


# -- Configurations --


def _check_configs(case: Case, server: Server, missing: Sequence[str]) -> Iterator[Failure | Note]:
    unread = case.unread("the configuration parameters", server.region)
    if unread:
        yield Note(CONFIGURATION, unread.why)
    elif missing:
        names = ", ".join(missing)
        yield Failure(CONFIGURATION, f"Parameter {names} does not exist in {server.region}.", STORE)
    elif not server.configs:
        yield Failure(CONFIGURATION, f"No configuration is stored in {server.region}.", STORE)
    for each in case.parameters[server.region].values():
        if each.type not in (TYPE, ENCRYPTED_TYPE) and each.name in {config.name for config in server.configs}:
            fix = f"aws ssm delete-parameter --region {each.region} --name {each.name}, then store it again."
            yield Failure(
                CONFIGURATION, f"Parameter {each.name} has type {each.type}, and the agent reads a {TYPE}.", fix
            )
