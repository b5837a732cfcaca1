# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks servers according to EC2 and IAM, without facts from the servers. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._accounts.assess import GET, SITE
from .._accounts.evaluate import Decision
from .._accounts.model import NODES, PARAMETERS, ROLE
from .._configuration.document import read
from .._configuration.parameter_plan import ENCRYPTED_TYPE, TYPE
from .._configuration.parts import parts_of
from .._ground.names import CREATED, MARK_TAG, is_yaml_name, path_and_name_of
from .._servers.commands import ONLINE
from .._servers.node import HOST_TAG
from .configs_plan import find_clash, similar_names
from .endpoints import Endpoint, endpoints_of, label
from .permission_checks import check_permissions, check_registration
from .script import digest
from .server import CONFIGURATION, IDENTITY, MESSAGE_SERVICES, PERMISSIONS, Config, Sender, Server, failure, note
from .verify_input import Case, configs_of, merge_known, node_of, principal_of, runs_all
from .watch import watch_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .._accounts.model import ConfigParameter, InstanceUse, Key, NodeUse, Principal
    from .._ground.findings import Finding
    from .server import Target


STORE = "Run the playbook cwagent.iam.store_config with the configuration."


def check(case: Case, target: Target) -> Server:
    """Check a server according to EC2 and IAM."""
    principal = principal_of(case, target)
    parameters, missing = configs_of(case, target)
    certain, possible, seconds = _find_calls(case, target, parameters)
    names = {each.name for each in parameters}
    server = Server(
        target.host,
        target.region,
        target.instance_id,
        target.user,
        target.is_hybrid,
        runs_all=runs_all(target, parameters),
        configs=tuple(_config(case, principal, each) for each in parameters),
        similar=similar_names(case.parameters[target.region], names),
        endpoints=certain,
        possible_endpoints=possible,
        watch_seconds=seconds,
        label=case.label,
        sender=Sender("Linux", target.region, case.account.id, target.instance_id),
    )
    if target.is_hybrid:
        server = _check_node(case, server, target, principal)
    elif target.instance_id:
        server = _check_instance(case, server)
    else:
        server = _check_user(case, server, principal)
    if principal:
        server = server.adding(*check_permissions(case, principal, target, parameters))
    elif not any(each.rule == PERMISSIONS.name for each in server.notes):
        server = server.adding(note(PERMISSIONS, "Its permissions were not checked: its role or user is not known."))
    return server.adding(*_check_configs(case, server, missing))


def _find_calls(
    case: Case, target: Target, parameters: Sequence[ConfigParameter]
) -> tuple[dict[str, str], dict[str, str], int]:
    """Return what the configurations of a server make its agent do.

    :returns: the addresses that it certainly calls, the addresses that only one of the configurations needs, and how
        long to watch the agent until it must have called them, in seconds.
    """
    key = (target.region, bool(target.instance_id), target.is_hybrid, target.configs)
    if key not in case.calls:
        configs = _possible_configs(target, parameters)
        found = [endpoints_of(each, target.region, is_ec2=bool(target.instance_id)) for each in configs]
        messages = {Endpoint(each, target.region) for each in MESSAGE_SERVICES if target.is_hybrid}
        certain, possible = set.intersection(*found), set.union(*found)
        case.calls[key] = (
            _addresses(case, target, certain | messages),
            _addresses(case, target, possible - certain),
            watch_seconds(configs),
        )
    return case.calls[key]


def _possible_configs(target: Target, parameters: Sequence[ConfigParameter]) -> list[dict[str, Any] | None]:
    """Return the configurations of which a server uses at least one. ``None`` is an unknown configuration."""
    stored = {each.name: each for each in parameters if not is_yaml_name(each.name)}
    if target.configs:
        return [_known_config([*stored.values()])]
    parts = {name: parts_of(name, stored) for name in stored}
    whole = [name for name in stored if not any(name in parts[other] for other in stored if other != name)]
    return [_known_config([stored[part] for part in parts[name]]) for name in whole] or [None]


def _known_config(parameters: Sequence[ConfigParameter]) -> dict[str, Any] | None:
    configs = [read(each.value, each.name).value for each in parameters if each.value is not None]
    known = [each for each in configs if each is not None]
    return merge_known(known) if known and len(known) == len(parameters) else None


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


def _check_instance(case: Case, server: Server) -> Server:
    instance = case.instances.get(server.instance_id)
    if case.unread("the instance profiles of instances", server.region):
        server = replace(server, is_windows=bool(instance and instance.is_windows))
        return server.adding(note(IDENTITY, "The instance profiles could not be read."))
    if instance is None:
        return replace(server, is_running=False).adding(
            failure(
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
        sender=_sender(server, instance),
        launched=instance.machine.launched if instance.machine else 0,
    )
    if instance.profile is None:
        fix = f"{SITE}, which associates '{case.server_profile}'."
        server = server.adding(failure(IDENTITY, "It has no instance profile.", fix))
    elif instance.profile in case.roles and case.roles[instance.profile] is None:
        fix = (
            f"aws iam add-role-to-instance-profile --instance-profile-name {instance.profile} "
            f"--role-name {instance.profile}"
        )
        server = server.adding(failure(IDENTITY, f"Instance profile '{instance.profile}' has no role.", fix))
    return server


def _sender(server: Server, instance: InstanceUse) -> Sender | None:
    """Return what is known of an instance for the names of its data."""
    machine = instance.machine
    if server.sender is None or machine is None:
        return server.sender
    return replace(
        server.sender,
        hostname_of_ec2=machine.hostname or None,
        ip_address=machine.ip_address or None,
        image_id=machine.image_id or None,
        instance_type=machine.instance_type or None,
        auto_scaling_group=machine.auto_scaling_group,
    )


def _check_user(case: Case, server: Server, user: Principal | None) -> Server:
    if user is None:
        if case.unread("the roles and users of the account"):
            return server
        return server.adding(failure(IDENTITY, f"User '{server.user}' does not exist.", f"{SITE}."))
    saved_in_file = case.saved_keys.get(user.name)
    keys = {key.id: key for key in user.keys or ()}
    saved = saved_in_file or next((key.id for key in keys.values() if key.saved), "")
    if user.keys is None or (not saved and case.unread("where access keys are saved", server.region)):
        return server.adding(note(IDENTITY, f"The access keys of user '{user.name}' could not be read."))
    return replace(server, key_id=saved).adding(*_check_key(user, saved, keys.get(saved)))


def _check_key(user: Principal, saved: str, key: Key | None) -> Iterator[Finding]:
    if not saved:
        fix = f"Compare the variables of the key store with the variables of the last run. {SITE}."
        yield failure(IDENTITY, f"No access key of user '{user.name}' is saved.", fix)
    elif key is None:
        yield failure(IDENTITY, f"Access key {saved} is saved, and user '{user.name}' does not have it.", f"{SITE}.")
    elif not key.active:
        fix = f"aws iam update-access-key --user-name {user.name} --access-key-id {saved} --status Active"
        yield failure(IDENTITY, f"Access key {saved} of user '{user.name}' is inactive.", fix)


def _check_node(case: Case, server: Server, target: Target, role: Principal | None) -> Server:
    """Check the node of a hybrid server. :param role: its role, if it is the hybrid role and was read."""
    server = replace(server, role=case.hybrid_role)
    if case.unread(NODES, server.region):
        return server.adding(note(IDENTITY, "The nodes of Systems Manager could not be read."))
    found = case.nodes.get((target.region, target.host), [])
    ours = [each for each in found if each.is_ours]
    node = node_of(case, target)
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
            failure(IDENTITY, what, fix), note(PERMISSIONS, "Its permissions were not checked: it has another role.")
        )
    elif role is None and not case.unread("the roles and users of the account"):
        return server.adding(failure(IDENTITY, f"Role '{node.role}' of node {node.id} does not exist.", f"{SITE}."))
    # Without its credentials, no agent is online.
    if node.ping != ONLINE and not (role and any(check_registration(case, role, server.region))):
        fix = "sudo systemctl restart amazon-ssm-agent on it. If that does not help, see /var/log/amazon/ssm there."
        what = f"The SSM agent of node {node.id} is not online: its status is {node.ping}."
        server = server.adding(failure(IDENTITY, what, fix))
    return server


def _unclear_node(server: Server, found: Sequence[NodeUse], ours: Sequence[NodeUse]) -> Finding:
    """Return the failure of a server that has not exactly one node that this collection registered."""
    if ours:
        listed = ", ".join(f"{each.id} ({each.ping})" for each in ours)
        what = f"Systems Manager has {len(ours)} nodes with its name in {server.region}: {listed}."
        # The server can be the offline node, and somebody with the code of an activation the online node.
        fix = (
            "On the server, sudo ssm-cli get-instance-information shows the ID that it uses. Deregister the others: "
            f"aws ssm deregister-managed-instance --region {server.region} --instance-id and the ID."
        )
        return failure(IDENTITY, what, fix)
    if found:
        listed = ", ".join(each.id for each in found)
        what = f"This collection did not register {listed}, which has its name in {server.region}."
        fix = (
            f"If it is this server, mark it as ours: aws ssm add-tags-to-resource --region {server.region} "
            f"--resource-type ManagedInstance --resource-id {found[0].id} --tags Key={MARK_TAG},Value={CREATED} "
            f"Key={HOST_TAG},Value={server.host}"
        )
        return failure(IDENTITY, what, fix)
    what = f"It is not registered with Systems Manager: no node in {server.region} has its name."
    return failure(IDENTITY, what, f"{SITE}, which registers it, or reports its node.")


def _check_configs(case: Case, server: Server, missing: Sequence[str]) -> Iterator[Finding]:
    unread = case.unread(PARAMETERS, server.region)
    if unread:
        yield note(CONFIGURATION, unread.why)
    elif missing:
        names = ", ".join(missing)
        yield failure(CONFIGURATION, f"Parameter {names} does not exist in {server.region}.", STORE)
    elif not server.configs:
        yield failure(CONFIGURATION, f"No configuration is stored in {server.region}.", STORE)
    clash = find_clash({each.name for each in server.configs}, case.label)
    if clash:
        what = f"The agent's file of {clash[1]} has the name of the file of a version or label of {clash[0]}."
        yield failure(CONFIGURATION, what, "Store one of them under another name, or choose another label.")
    for each in case.parameters[server.region].values():
        if each.type not in (TYPE, ENCRYPTED_TYPE) and each.name in {config.name for config in server.configs}:
            fix = f"aws ssm delete-parameter --region {each.region} --name {each.name}, then store it again."
            yield failure(
                CONFIGURATION, f"Parameter {each.name} has type {each.type}, and the agent reads a {TYPE}.", fix
            )
