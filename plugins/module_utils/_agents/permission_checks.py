# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks whether the policies of a server allow the calls that it has to make. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain, product
from typing import TYPE_CHECKING, Any

from .._accounts.assess import GET, LOGS, METRICS, SITE, UNKNOWN, WINDOW, YES, describe_blocked, describe_grant
from .._accounts.evaluate import Decision, to_list
from .._accounts.model import ROLE
from .._configuration.document import read
from .._configuration.json_path import find_values
from .._configuration.parameter_plan import ENCRYPTED_TYPE
from .._configuration.parts import other_parts
from .._configuration.permissions import ASSUME, ROWS, permissions_of, roles_of_parts
from .._configuration.policy import Call, Scope, calls_for
from .._ground.findings import ERROR
from .._ground.names import aws_policy_arn, is_yaml_name
from .._principals.policies import ACCESS_POLICIES, SSM_POLICIES, SSM_SUCCESSOR
from .._principals.role_plan import SSM, HybridTrust
from .._principals.window_policy import PUT
from .server import IDENTITY, PERMISSIONS, WRITING, failure, note
from .verify_input import Case, Needed, configs_of, merge_known, principal_of, runs_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .._accounts.model import ConfigParameter, Principal
    from .._configuration.permissions import Need, Row
    from .._ground.findings import Finding
    from .server import Target


# The calls of an agent whose configuration is not known. Any log group can be the resource.
_ORDINARY = (Call(METRICS), Call(LOGS, (None,)))
# The agent does this only where a log group does not exist, and anybody can have created it.
_WHERE_MISSING = "logs:CreateLogGroup"
# The key that encrypts a SecureString by default, and the condition key with the ARN of the parameter.
# https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html
_AWS_KEY, _PARAMETER_KEY, _DECRYPT = "alias/aws/ssm", "kms:EncryptionContext:PARAMETER_ARN", "kms:Decrypt"
# The call with which an SSM agent reports that it is online.
_REPORT = Call("ssm:UpdateInstanceInformation")
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
    attach = role.policy_command("attach", aws_policy_arn(SSM_POLICIES[SSM_SUCCESSOR], role.partition))
    fix = f"{SITE}. If the policy is attached, find what denies it." if role.managed else attach
    yield from _check_calls(case, role, {_REPORT: ""}, fix)


def check_permissions(
    case: Case, principal: Principal, target: Target, parameters: Sequence[ConfigParameter]
) -> Iterator[Finding]:
    """Check the permissions that each agent needs, and those that the configurations of a server need."""
    if target.is_hybrid:
        yield from check_registration(case, principal, target.region)
    calls = [*_ordinary_calls(case, principal, target, parameters), *_reads(case, target, parameters)]
    yield from _check_calls(case, principal, dict.fromkeys(calls, ""), _grant(case, principal))
    yield from _check_versions(case, principal, target, parameters)
    yield from _check_decryption(case, principal, target, parameters)
    yield from _check_writing(case, principal)
    yield from _check_needs(case, principal, target, parameters)


def _check_versions(
    case: Case, principal: Principal, target: Target, parameters: Iterable[ConfigParameter]
) -> Iterator[Finding]:
    """Note the configurations that a server may read by their names, and perhaps not by a version or label.

    AWS does not document whether IAM compares ``NAME:VERSION`` or only ``NAME``. An agent reads YAML only by its name.
    """
    for each in [each for each in parameters if not is_yaml_name(each.name)]:
        arn = case.parameter_arn(target.region, each.name)
        reads_name = case.decide(principal, GET, arn) is Decision.YES
        if reads_name and case.decide(principal, GET, f"{arn}:{each.version}") is Decision.NO:
            what = f"{principal.title} may read {each.name}, but perhaps not by a version or label"
            yield note(PERMISSIONS, f"{what}. Allow {GET} on {arn}:* too.")


def _check_decryption(
    case: Case, principal: Principal, target: Target, parameters: Iterable[ConfigParameter]
) -> Iterator[Finding]:
    """Note the parameters that a server may not decrypt according to its policies. The policy of a key may allow it.

    The one of AWS's key does, for all principals that may read the parameter.
    """
    for each in [each for each in parameters if each.kms_key not in ("", _AWS_KEY)]:
        arn = case.parameter_arn(target.region, each.name)
        if case.decide_call(principal, Call(_DECRYPT, (None,), ((_PARAMETER_KEY, arn),))) is Decision.NO:
            what = f"{principal.title} lacks {_DECRYPT} for {each.name}, unless the policy of its KMS key allows it"
            yield note(PERMISSIONS, f"{what}. Allow it on key {each.kms_key}.")


def _reads(case: Case, target: Target, parameters: Iterable[ConfigParameter]) -> list[Call]:
    return [Call(GET, (case.parameter_arn(target.region, each.name),)) for each in parameters]


def _ordinary_calls(
    case: Case, principal: Principal, target: Target, parameters: Sequence[ConfigParameter]
) -> Sequence[Call]:
    """Return the calls without which a principal lacks the server policy, or all that its configurations need."""
    needs = _needs(case, target, parameters)
    if not needs and principal.has_fitted_policy and all(each.value is not None for each in parameters):
        return ()  # the policy allows nothing more than these configurations need
    own = [each for needed in needs if _is_in_server_policy(case, principal, needed) for each in needed.calls]
    every = [*_ORDINARY, *(call for call, _field, _name in own), *_reads(case, target, parameters)]
    if not needs or _denies_all(case, principal, every):
        return _ORDINARY
    by_config: dict[str, list[Call]] = {}
    for action, (call, _field, name) in product((METRICS, LOGS), own):
        if call.action == action:
            by_config.setdefault(name, []).append(call)
    found = [*by_config.values()]
    lacks_any = all(any(_denies_all(case, principal, [call]) for call in calls) for calls in found)
    # A server that uses one of several configurations may use the one for which it has the permissions.
    return [*chain.from_iterable(found)] if lacks_any or runs_all(target, parameters) else []


def _denies_all(case: Case, principal: Principal, calls: Iterable[Call]) -> bool:
    return all(case.decide_call(principal, each) is Decision.NO for each in calls)


def _is_in_server_policy(case: Case, principal: Principal, needed: Needed) -> bool:
    """Whether a principal itself makes the calls, and the server policy allows them."""
    return needed.need.row.is_in_server_policy and _caller(case, principal, needed.need) is principal


def _check_calls(case: Case, principal: Principal, parts: Mapping[Call, str], fix: str) -> Iterator[Finding]:
    """Check whether a principal may make some calls.

    :param parts: by call, the part of the configuration that needs it, for the message.
    :param fix: how to add permissions that no policy allows.
    """
    decisions = {each: case.decide_call(principal, each) for each in parts}
    denied = [each for each, decision in decisions.items() if decision is Decision.NO]
    bounded = [each for each in denied if principal.boundary and _is_blocked(case, principal, each)]
    if bounded and principal.boundary:
        actions = [each.action for each in bounded]
        end = _end(", which {} needs.", parts[bounded[0]], ".")
        yield failure(PERMISSIONS, *describe_blocked(principal, principal.boundary, actions, end))
    lacking = [each for each in denied if each not in bounded]
    if lacking:
        end = _end(", which {} needs.", parts[lacking[0]], ".")
        names = ", ".join(dict.fromkeys(_describe(case, principal, each) for each in lacking))
        yield failure(PERMISSIONS, f"{principal.title} lacks {names}{end}", fix)
    unknown = [each for each, decision in decisions.items() if decision is Decision.UNKNOWN]
    if unknown:
        yield _undecided(principal, [each.action for each in unknown], parts[unknown[0]])


def _end(text: str, part: str, default: str = "") -> str:
    return text.format(part) if part else default


def _is_blocked(case: Case, principal: Principal, call: Call) -> bool:
    """Whether only the permissions boundary of a principal denies a call that it denies."""
    return case.decide_call(principal, call, bounded=False) is Decision.YES


def _describe(case: Case, principal: Principal, call: Call) -> str:
    """Describe a call that a principal lacks, with its log group or condition if a policy allows others."""
    group = next((each for each in call.resources if each and ":log-group:" in each), "")
    if case.decide(principal, call.action, None) is Decision.NO:
        return call.action
    return call.action + "".join(f" with {key} {value}" for key, value in call.context) + _end(" on {}", group)


def _undecided(principal: Principal, actions: Iterable[str], part: str = "") -> Finding:
    may = f"{', '.join(dict.fromkeys(actions))}{_end(', which {} needs,', part)}"
    return note(PERMISSIONS, f"Whether {principal.title} may {may} could not be decided.")


def _grant(case: Case, principal: Principal) -> str:
    is_of_instances = principal.kind == ROLE and not case.is_hybrid(principal)
    if principal.managed or principal.has_fitted_policy or is_of_instances:
        return describe_grant(principal)
    return principal.policy_command("attach", aws_policy_arn(ACCESS_POLICIES["server"], principal.partition))


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
        yield _undecided(principal, [PUT])


def calls_of(case: Case, target: Target) -> Iterator[tuple[Principal, Call]]:
    """Return the principal of each call that a server has to make, and the call. Its resource can be unknown."""
    principal, parameters = principal_of(case, target), configs_of(case, target)[0]
    if principal:
        needs = _needs(case, target, parameters)
        yield from ((principal, each) for each in (*([] if needs else _ORDINARY), *([_REPORT] * target.is_hybrid)))
        yield from ((principal, each) for each in _reads(case, target, parameters))
        for needed in needs:
            caller = _caller(case, principal, needed.need)
            if caller:
                yield from ((caller, call) for call, _field, _name in needed.calls)


def _check_needs(
    case: Case, principal: Principal, target: Target, parameters: Sequence[ConfigParameter]
) -> Iterator[Finding]:
    """Check the permissions that the configurations of a server need."""
    for why, is_encrypted in (("it was not read", False), ("it is encrypted", True)):
        unread = [each for each in parameters if each.value is None and (each.type == ENCRYPTED_TYPE) == is_encrypted]
        if unread:
            names = ", ".join(each.name for each in unread)
            yield note(PERMISSIONS, f"The permissions that {names} needs are not known: {why}.")
    # A principal without the server policy already has a failure for that.
    ordinary = _ordinary_calls(case, principal, target, parameters)
    lacks_ordinary = any(_denies_all(case, principal, [each]) for each in ordinary)
    for needed in _needs(case, target, parameters):
        caller = _caller(case, principal, needed.need)
        if caller and not (lacks_ordinary and _is_in_server_policy(case, principal, needed)):
            found = _with_consequence(_check_needed(case, caller, needed), needed.need.row)
            yield from found if runs_all(target, parameters) else _as_notes(found, "If it uses this configuration: ")


def _with_consequence(found: Iterable[Finding], row: Row) -> Iterator[Finding]:
    """Add what happens without the permissions of a row. If most servers do well without them, return notes only."""
    text = f" If denied, {row.denied}." if row.denied else ""
    explained = (replace(each, why=f"{each.why}{text}") if each.severity == ERROR else each for each in found)
    return _as_notes(explained) if row.is_optional else explained


def _as_notes(found: Iterable[Finding], prefix: str = "") -> Iterator[Finding]:
    """Return notes only, for what a server may not need."""
    for each in found:
        yield note(PERMISSIONS, f"{prefix}{each.why}") if each.severity == ERROR else each


def _needs(case: Case, target: Target, parameters: Sequence[ConfigParameter]) -> list[Needed]:
    """Return what the configurations of a server need, each purpose once."""
    is_merged, is_ec2 = runs_all(target, parameters), bool(target.instance_id)
    key = (target.region, is_merged, is_ec2, *(each.name for each in parameters))
    if key not in case.needs:
        found: dict[tuple[str, str, Any], list[tuple[Need, str, str]]] = {}
        for need, name, region in _find_needs(parameters, is_merged, target.region):
            if is_ec2 or not need.row.is_ec2_only:
                purpose = (need.row.use, need.role, need.value if need.row.names_resource else None)
                found.setdefault(purpose, []).append((need, name, region))
        case.needs[key] = [_join(case, each) for each in found.values()]
    return case.needs[key]


def _join(case: Case, needs: Sequence[tuple[Need, str, str]]) -> Needed:
    """Join needs with one purpose, each of which has the name of its configuration and a region. The worst is first."""
    needs = sorted(needs, key=lambda each: ROWS.index(each[0].row))
    scope = Scope(case.account.partition, case.account.id)
    calls = ((call, need.field, name) for need, name, region in needs for call in calls_for(need, region, scope))
    return Needed(needs[0][0], tuple(calls))


def _find_needs(
    parameters: Iterable[ConfigParameter], is_merged: bool, default_region: str
) -> Iterator[tuple[Need, str, str]]:
    """Return each need, with the name of its configuration and the region of the agent."""
    configs = {each.name: read(each.value, each.name).value or {} for each in parameters if each.value is not None}
    whole = merge_known(configs.values()) if is_merged else None
    needs = [
        (need, name)
        for name, config in configs.items()
        for need in permissions_of(config, (), roles_of_parts([configs[each]] for each in other_parts(name, configs)))
    ]
    if whole is not None:
        of_parts = [(need, _part_with(need, configs)) for need in permissions_of(whole)]
        needs = sorted(of_parts, key=lambda each: [*configs].index(each[1]))
    for need, name in needs:
        region = next((each for _path, each in find_values(whole or configs[name], "agent.region")), "")
        is_known = isinstance(region, str) and re.fullmatch(r"[a-z0-9-]+", region)
        yield need, name, region if is_known else default_region


def _part_with(need: Need, configs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of the part of a configuration that has a need of the whole."""
    values = {name: [value for _path, value in find_values(each, need.field)] for name, each in configs.items()}
    names = [name for name, found in values.items() if found]
    return next((name for name in names if need.value in values[name]), names[0])


def _caller(case: Case, principal: Principal, need: Need) -> Principal | None:
    """Return the principal that makes the calls, or ``None`` for an assumed role that is not in this account."""
    return case.role(need.role) if need.role else principal


def _check_needed(case: Case, caller: Principal, needed: Needed) -> Iterator[Finding]:
    parts: dict[Call, str] = {}
    for each, field, name in needed.calls:
        if each.action != _WHERE_MISSING:
            parts.setdefault(each, f"{field} of {name}")
    [(call, part), *_others], row = parts.items(), needed.need.row
    resource = call.resources[0] if row.names_resource else row.resource
    fix = _fix(case, caller, needed.need, resource)
    if call.action != ASSUME or resource is None:
        yield from _check_calls(case, caller, parts, fix)
        return
    yield from _check_trust(case, caller, resource, part)
    if _is_trusted_by_name(case, caller, resource) and case.decide_call(caller, call) is Decision.NO:
        yield _undecided(caller, [ASSUME], part)
    else:
        yield from _check_calls(case, caller, parts, fix)


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
    if principal.has_fitted_policy:
        return _grant(case, principal)  # a fitted policy allows everything that the stored configurations need
    if need.row.is_in_server_policy and principal.access == "admin" and not case.is_hybrid(principal):
        return f"{ACCESS_POLICIES['admin']} does not allow it. Associate instance profile '{case.server_profile}'."
    if need.row.is_in_server_policy:
        return _grant(case, principal)
    allowed = ", ".join(need.row.actions) + (f" on {resource}" if resource else "")
    if principal.managed:
        add = f"Create a policy that allows {allowed}, add its ARN to cwagent_managed_policies"
        return f"{add}, and run the playbook cwagent.iam.site."
    return f"Allow {allowed} in a policy of {principal.label}."
