# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks whether the policies of a server allow the calls that it has to make. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import GET, LOGS, METRICS, UNKNOWN, WINDOW, YES
from ansible_collections.cwagent.iam.plugins.module_utils._access.conditions import to_list
from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import Decision
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import ROLE
from ansible_collections.cwagent.iam.plugins.module_utils._access.view import SITE, describe_blocked, describe_grant
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import PUT
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import read
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.json_path import find_values
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import ASSUME, permissions_of
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import ENCRYPTED_TYPE
from ansible_collections.cwagent.iam.plugins.module_utils._findings import ERROR
from ansible_collections.cwagent.iam.plugins.module_utils._names import aws_policy_arn, is_yaml_name
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import (
    ACCESS_POLICIES,
    SSM_POLICIES,
    SSM_SUCCESSOR,
)
from ansible_collections.cwagent.iam.plugins.module_utils._role.policy import SSM, HybridTrust
from ansible_collections.cwagent.iam.plugins.module_utils._verify.case import (
    Case,
    configs_of,
    merge_known,
    principal_of,
    runs_all,
)
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import (
    IDENTITY,
    PERMISSIONS,
    WRITING,
    Server,
    failure,
    note,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import ConfigParameter, Principal
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import Need
    from ansible_collections.cwagent.iam.plugins.module_utils._findings import Finding
    from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Target

# An action and its resource, which can be unknown.
Call = tuple[str, Optional[str]]
# The calls of every agent.
_ORDINARY = ((METRICS, "*"), (LOGS, "*"))
# The agent does this only where a log group does not exist, and anybody can have created it.
_WHERE_MISSING = "logs:CreateLogGroup"
# The call with which an SSM agent reports that it is online.
_REPORT = ("ssm:UpdateInstanceInformation", "*")
# The ARN of a session of a role, which has no path.
_SESSION = re.compile(r"(arn:[^:]+:)sts(::\d+:)assumed-role/([^/]+)/.+")


def check_registration(case: Case, role: Principal, region: str) -> Iterator[Finding]:
    """Check that Systems Manager gives the nodes of a role its credentials, and that they can report with them."""
    trust = HybridTrust(case.account.partition, case.account.id, frozenset({region}))
    if role.trust is not None and not trust.is_in(role.trust, region):
        planned = trust.planned_policy(role.trust, exclusive=False)
        fix = f"{SITE}." if role.managed and trust.is_in(planned, region) else ""
        fix = fix or f"Allow {trust.describe_statement([region])} in the trust policy."
        yield failure(IDENTITY, f"{role.title} does not let {SSM} assume it in {region}.", fix)
    yield from _check_calls(case, role, [_REPORT], _grant(case, role, SSM_POLICIES[SSM_SUCCESSOR]))


def check_permissions(case: Case, principal: Principal, server: Server) -> Iterator[Finding]:
    if server.is_hybrid:
        yield from check_registration(case, principal, server.region)
    reads = [(GET, case.parameter_arn(server.region, each.name)) for each in server.configs]
    yield from _check_calls(case, principal, [*_ORDINARY, *reads], _grant(case, principal))
    yield from _check_versions(case, principal, server)
    yield from _check_writing(case, principal)


def _check_versions(case: Case, principal: Principal, server: Server) -> Iterator[Finding]:
    """Note the configurations that a server may read by their names, and perhaps not by a version or label.

    AWS does not document whether IAM compares ``NAME:VERSION`` or only ``NAME``. An agent reads YAML only by its name.
    """
    for each in [each for each in server.configs if not is_yaml_name(each.name)]:
        arn = case.parameter_arn(server.region, each.name)
        reads_name = case.decide(principal, GET, arn) is Decision.YES
        if reads_name and case.decide(principal, GET, f"{arn}:{each.version}") is Decision.NO:
            what = f"{principal.title} may read {each.name}, but perhaps not by a version or label"
            yield note(PERMISSIONS, f"{what}. Allow {GET} on {arn}:* too.")


def _check_calls(
    case: Case, principal: Principal, needed: Sequence[Call], fix: str, part: str = ""
) -> Iterator[Finding]:
    """Check whether a principal may make some calls.

    :param fix: how to add permissions that no policy allows.
    :param part: the part of the configuration that needs them, for the message.
    """
    decisions = {each: case.decide(principal, *each) for each in needed}
    denied = [each for each, decision in decisions.items() if decision is Decision.NO]
    bounded = [each for each in denied if case.is_blocked(principal, *each)]
    end = f", which {part} needs." if part else "."
    if bounded and principal.boundary:
        actions = [action for action, _resource in bounded]
        yield failure(PERMISSIONS, *describe_blocked(principal, principal.boundary, actions, end))
    lacking = [each for each in denied if each not in bounded or not principal.boundary]
    if lacking:
        yield failure(PERMISSIONS, f"{principal.title} lacks {_actions(lacking)}{end}", fix)
    unknown = [each for each, decision in decisions.items() if decision is Decision.UNKNOWN]
    if unknown:
        yield _undecided(principal, unknown, part)


def _undecided(principal: Principal, calls: Iterable[Call], part: str = "") -> Finding:
    needed = f", which {part} needs," if part else ""
    return note(PERMISSIONS, f"Whether {principal.title} may {_actions(calls)}{needed} could not be decided.")


def _grant(case: Case, principal: Principal, policy: str = ACCESS_POLICIES["server"]) -> str:
    if principal.managed or (principal.kind == ROLE and not case.is_hybrid(principal)):
        return describe_grant(principal)
    return principal.policy_command("attach", aws_policy_arn(policy, principal.partition))


def _check_writing(case: Case, principal: Principal) -> Iterator[Finding]:
    """Return the finding on a principal that may write the configuration, which a server must not."""
    writer = case.writers.get(principal.arn)
    if writer is None:
        return
    if writer.writes in (YES, WINDOW):
        fix = "Run the playbook cwagent.iam.audit, which names the policies that allow it."
        if writer.writes == WINDOW or writer.window:
            fix = "Run the playbook cwagent.iam.restore, unless another run is storing a configuration."
        yield failure(WRITING, f"{principal.title} may write the configuration. {writer.why}", fix)
    elif writer.writes == UNKNOWN:
        yield _undecided(principal, [(PUT, None)])


def _actions(calls: Iterable[Call]) -> str:
    """Return the actions, each once."""
    return ", ".join(dict.fromkeys(action for action, _resource in calls))


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


def check_needs(
    case: Case, principal: Principal, target: Target, parameters: Sequence[ConfigParameter]
) -> Iterator[Finding]:
    """Check the permissions that the configurations of a server need."""
    for why, is_encrypted in (("it was not read", False), ("it is encrypted", True)):
        unread = [each for each in parameters if each.value is None and (each.type == ENCRYPTED_TYPE) == is_encrypted]
        if unread:
            names = ", ".join(each.name for each in unread)
            yield note(PERMISSIONS, f"The permissions that {names} needs are not known: {why}.")
    # A principal without the server policy already has a failure for that.
    lacks_ordinary = any(case.decide(principal, *each) is Decision.NO for each in _ORDINARY)
    for need, region, part in _needs(case, target, parameters):
        caller = _caller(case, principal, need)
        if caller and not (caller is principal and lacks_ordinary and need.row.is_in_server_policy):
            found = _check_need(case, caller, need, _resource(case, need, region), part)
            yield from found if runs_all(target, parameters) else _as_notes(found)


def _as_notes(found: Iterable[Finding]) -> Iterator[Finding]:
    """Return notes only, for a configuration that the server may not use."""
    for each in found:
        yield note(PERMISSIONS, f"If it uses this configuration: {each.why}") if each.severity == ERROR else each


def _needs(case: Case, target: Target, parameters: Sequence[ConfigParameter]) -> list[tuple[Need, str, str]]:
    """Return the needs of the configurations of a server, each once.

    :returns: each need with the region of the agent and the name of the part for a message.
    """
    is_merged, is_ec2 = runs_all(target, parameters), bool(target.instance_id)
    key = (target.region, is_merged, is_ec2, *(each.name for each in parameters))
    if key not in case.needs:
        found = _find_needs(parameters, is_merged, target.region)
        case.needs[key] = [each for each in found if is_ec2 or not each[0].row.is_ec2_only]
    return case.needs[key]


def _find_needs(
    parameters: Iterable[ConfigParameter], is_merged: bool, default_region: str
) -> Iterator[tuple[Need, str, str]]:
    configs = {each.name: read(each.value, each.name).value or {} for each in parameters if each.value is not None}
    whole = merge_known(configs.values()) if is_merged else None
    seen: set[tuple[str, Any]] = set()
    for name, config in configs.items():
        region = next((each for _path, each in find_values(whole or config, "agent.region")), "")
        is_known = isinstance(region, str) and re.fullmatch(r"[a-z0-9-]+", region)
        for need in permissions_of(config, whole):
            key = (need.row.use, need.value if need.row.names_resource else None)
            if key not in seen:
                seen.add(key)
                yield need, region if is_known else default_region, f"{need.field} of {name}"


def _caller(case: Case, principal: Principal, need: Need) -> Principal | None:
    """Return the principal that makes the calls, or ``None`` for an assumed role that is not in this account."""
    return case.role(need.role) if need.role else principal


def _resource(case: Case, need: Need, region: str) -> str | None:
    return need.resource(case.account.partition, region, case.account.id)


def _check_need(case: Case, caller: Principal, need: Need, resource: str | None, part: str) -> Iterator[Finding]:
    calls = [(action, resource) for action in need.row.actions if action != _WHERE_MISSING]
    fix = _fix(case, caller, need, resource)
    if need.row.actions != (ASSUME,) or resource is None:
        yield from _check_calls(case, caller, calls, fix, part)
        return
    yield from _check_trust(case, caller, resource, part)
    if _is_trusted_by_name(case, caller, resource) and case.decide(caller, ASSUME, resource) is Decision.NO:
        yield _undecided(caller, calls, part)
    else:
        yield from _check_calls(case, caller, calls, fix, part)


def _check_trust(case: Case, caller: Principal, arn: str, part: str) -> Iterator[Finding]:
    """Check the trust policy of a role that the agent has to assume."""
    role = case.role(arn)
    name = caller.label
    if role is None and arn.startswith(f"arn:{case.account.partition}:iam::{case.account.id}:role/"):
        what = f"{part} names role {arn}, which does not exist."
        yield failure(PERMISSIONS, what, "Create the role, or correct the configuration.")
    elif role is None:
        yield note(PERMISSIONS, f"Whether role {arn} trusts {name} could not be decided.")
    elif not _trusted(role) & {*_names(caller), role.account_id, f"arn:{role.partition}:iam::{role.account_id}:root"}:
        what = f"Role '{role.name}', which {part} names, does not trust {name}."
        yield failure(PERMISSIONS, what, f"Allow {caller.arn} to assume the role in its trust policy.")


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
