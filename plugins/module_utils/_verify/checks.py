# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks servers according to EC2 and IAM, without facts from the servers. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import (
    GET,
    LOGS,
    METRICS,
    UNKNOWN,
    WINDOW,
    YES,
    may,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import Decision, decision_of
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import ROLE, USER
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import PUT
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.split import merge_order, part_name
from ansible_collections.cwagent.iam.plugins.module_utils._names import aws_policy_arn
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import ACCESS_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import (
    CONFIGURATION,
    IDENTITY,
    PERMISSIONS,
    Config,
    Failure,
    Note,
    Server,
)
from ansible_collections.cwagent.iam.plugins.module_utils._verify.script import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import Assessment
    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import (
        Account,
        ConfigParameter,
        InstanceUse,
        Key,
        Principal,
    )
    from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Target

SITE = "Run the playbook cwagent.iam.site"
STORE = "Run the playbook cwagent.iam.store_config with the configuration."


@dataclass(frozen=True)
class Case:
    """The account as it was read, and further data for the checks.

    :param saved_keys: by user, the access key that is saved in a file.
    :param simulated: by principal, action and resource, whether IAM itself allows it.
    :param server_profile: the instance profile for instances that have none.
    :param endpoints: by region and service, the address that servers are to reach.
    """

    account: Account
    assessments: Sequence[Assessment]
    saved_keys: Mapping[str, str] = field(default_factory=dict)
    simulated: Mapping[tuple[str, str, str], bool] = field(default_factory=dict)
    server_profile: str = "CloudWatchAgentServerRole"
    endpoints: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def principals(self) -> dict[tuple[str, str], Principal]:
        """The principals, by kind and name."""
        return {(each.kind, each.name): each for each in self.account.principals}

    @cached_property
    def writers(self) -> dict[str, Assessment]:
        """The assessments of the principals that matter, by ARN."""
        return {each.principal.arn: each for each in self.assessments}

    @cached_property
    def roles(self) -> dict[str | None, str | None]:
        """By instance profile, the name of its role."""
        return {each.name: each.role for each in self.account.profiles}

    @cached_property
    def instances(self) -> dict[str, InstanceUse]:
        """The instances, by ID."""
        return {each.id: each for each in self.account.instances}

    @cached_property
    def parameters(self) -> dict[str, dict[str, ConfigParameter]]:
        """The stored configurations, by region and name."""
        found: dict[str, dict[str, ConfigParameter]] = {region: {} for region in self.account.regions}
        for each in self.account.parameters:
            found[each.region][each.name] = each
        return found

    @cached_property
    def _decisions(self) -> dict[tuple[str, str, str, bool], Decision]:
        return {}

    def decide(self, principal: Principal, action: str, resource: str = "*", *, bounded: bool = True) -> Decision:
        """Return whether a principal may make a call, according to IAM, or else according to its policies."""
        allows = self.simulated.get((principal.arn, action, resource)) if bounded else None
        if allows is not None:
            return decision_of(allows)
        key = (principal.arn, action, resource, bounded)
        if key not in self._decisions:
            self._decisions[key] = may(principal, self.account.read_at, action, resource, bounded)
        return self._decisions[key]

    def arn(self, region: str, name: str) -> str:
        """Return the ARN of a parameter."""
        return f"arn:{self.account.partition}:ssm:{region}:{self.account.id}:parameter/{name}"

    def is_unread(self, what: str, region: str | None = None) -> bool:
        """Return whether something could not be read."""
        return any(each.what == what and each.region == region for each in self.account.unread)


def principal_of(case: Case, target: Target) -> Principal | None:
    """Return the role or user of a server; ``None`` if it has none, or if it was not read."""
    if not target.instance_id:
        return case.principals.get((USER, target.user))
    instance = case.instances.get(target.instance_id)
    role = case.roles.get(instance.profile) if instance else None
    return case.principals.get((ROLE, role)) if role else None


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
    server = Server(
        target.host,
        target.region,
        target.instance_id,
        target.user,
        runs_all=bool(target.configs) or len(parameters) == 1,
        configs=tuple(_config(case, principal, each) for each in parameters),
        endpoints=case.endpoints.get(target.region, {}),
    )
    server = _check_instance(case, server) if target.instance_id else _check_user(case, server, principal)
    if principal:
        server = server.adding(*_of_permissions(case, principal, server))
    elif not server.fails(IDENTITY):
        server = server.adding(Note(PERMISSIONS, "Its role or user could not be read."))
    return server.adding(*_of_configs(case, server, missing))


def _config(case: Case, principal: Principal | None, parameter: ConfigParameter) -> Config:
    readable = Decision.UNKNOWN
    if principal:
        readable = case.decide(principal, GET, case.arn(parameter.region, parameter.name))
    return Config(
        parameter.name,
        parameter.version,
        "" if parameter.value is None else digest(parameter.value),
        None if readable is Decision.UNKNOWN else readable is Decision.YES,
    )


# -- Identity --


def _check_instance(case: Case, server: Server) -> Server:
    instance = case.instances.get(server.instance_id)
    if case.is_unread("the instance profiles of instances", server.region):
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
        if case.is_unread("the roles and users of the account"):
            return server
        return server.adding(Failure(IDENTITY, f"User '{server.user}' does not exist.", f"{SITE}."))
    saved_in_file = case.saved_keys.get(user.name)
    keys = {key.id: key for key in user.keys or ()}
    saved = saved_in_file or next((key.id for key in keys.values() if key.saved), "")
    if user.keys is None or (not saved and case.is_unread("where access keys are saved", server.region)):
        return server.adding(Note(IDENTITY, f"The access keys of user '{user.name}' could not be read."))
    return replace(server, key_id=saved).adding(*_of_key(user, saved, keys.get(saved)))


def _of_key(user: Principal, saved: str, key: Key | None) -> Iterator[Failure]:
    if not saved:
        yield Failure(IDENTITY, f"No access key of user '{user.name}' is saved.", f"{SITE}.")
    elif key is None:
        yield Failure(IDENTITY, f"Access key {saved} is saved, and user '{user.name}' does not have it.", f"{SITE}.")
    elif not key.active:
        fix = f"aws iam update-access-key --user-name {user.name} --access-key-id {saved} --status Active"
        yield Failure(IDENTITY, f"Access key {saved} of user '{user.name}' is inactive.", fix)


# -- Permissions --


def _of_permissions(case: Case, principal: Principal, server: Server) -> Iterator[Failure | Note]:
    needed = [(METRICS, "*"), (LOGS, "*"), *((GET, case.arn(server.region, each.name)) for each in server.configs)]
    decisions = {each: case.decide(principal, *each) for each in needed}
    denied = [each for each, decision in decisions.items() if decision is Decision.NO]
    title = f"{principal.kind.title()} '{principal.name}'"
    bounded = [each for each in denied if case.decide(principal, *each, bounded=False) is Decision.YES]
    if bounded and principal.boundary:
        blocked = _actions(bounded)
        yield Failure(
            PERMISSIONS,
            f"Permissions boundary {principal.boundary.name} of {principal.kind} '{principal.name}' blocks {blocked}.",
            f"Allow {blocked} in policy {principal.boundary.arn}.",
        )
    lacking = [each for each in denied if each not in bounded or not principal.boundary]
    if lacking:
        yield Failure(PERMISSIONS, f"{title} lacks {_actions(lacking)}.", _grant(case, principal))
    unknown = [each for each, decision in decisions.items() if decision is Decision.UNKNOWN]
    if unknown:
        yield Note(PERMISSIONS, f"Whether {title} may {_actions(unknown)} could not be decided.")
    yield from _of_writing(case, principal, title)


def _grant(case: Case, principal: Principal) -> str:
    if principal.managed:
        return f"{SITE}. If the policy is attached, find what denies it."
    if principal.kind == ROLE:
        add = f"Add {principal.name} to cwagent_attach_to_roles, and run the playbook cwagent.iam.site"
        return f"{add} with cwagent_on_other_profile=attach. If the policy is attached, find what denies it."
    arn = aws_policy_arn(ACCESS_POLICIES["server"], case.account.partition)
    return f"aws iam attach-user-policy --user-name {principal.name} --policy-arn {arn}"


def _of_writing(case: Case, principal: Principal, title: str) -> Iterator[Failure | Note]:
    """Return the finding on a principal that may write the configuration, which a server must not."""
    writer = case.writers.get(principal.arn)
    if writer is None:
        return
    if writer.writes in (YES, WINDOW):
        fix = "Run the playbook cwagent.iam.audit, which names the policies that allow it."
        if writer.writes == WINDOW or writer.window:
            fix = "Run the playbook cwagent.iam.restore, unless another run is storing a configuration."
        yield Failure(PERMISSIONS, f"{title} may write the configuration. {writer.why}", fix)
    elif writer.writes == UNKNOWN:
        yield Note(PERMISSIONS, f"Whether {title} may {PUT} could not be decided.")


def _actions(requests: Iterable[tuple[str, str]]) -> str:
    """Return the actions, each once."""
    return ", ".join(dict.fromkeys(action for action, _resource in requests))


# -- Configurations --


def _of_configs(case: Case, server: Server, missing: Sequence[str]) -> Iterator[Failure | Note]:
    if case.is_unread("the configuration parameters", server.region):
        yield Note(CONFIGURATION, f"The parameters in {server.region} could not be listed.")
    elif missing:
        names = ", ".join(missing)
        yield Failure(CONFIGURATION, f"Parameter {names} does not exist in {server.region}.", STORE)
    elif not server.configs:
        yield Failure(CONFIGURATION, f"No configuration is stored in {server.region}.", STORE)
    for each in case.parameters[server.region].values():
        if each.type != "String" and each.name in {config.name for config in server.configs}:
            fix = f"aws ssm delete-parameter --region {each.region} --name {each.name}, then store it again."
            yield Failure(
                CONFIGURATION, f"Parameter {each.name} has type {each.type}, and the agent reads a String.", fix
            )
