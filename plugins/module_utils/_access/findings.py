# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules for an account, and their violations. Pure.

Each violation is one finding, because a rule skips everything that another rule reports. Unknown parts give no finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import (
    GET,
    LOGS,
    METRICS,
    NO,
    YES,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import Decision
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import ROLE, USER
from ansible_collections.cwagent.iam.plugins.module_utils._access.view import AccountView
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import RESTORE_TAG, record_key
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    ABSENT,
    CLOSED,
    EXPIRED,
    MODIFIED,
    OPEN,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import TIME_FORMAT
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.opentelemetry import is_yaml_name, read_yaml
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import ENCRYPTED_TYPE, LIMITS, TYPE
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import select
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.validate import validate
from ansible_collections.cwagent.iam.plugins.module_utils._findings import ERROR, NOTICE, SEVERITIES, WARNING
from ansible_collections.cwagent.iam.plugins.module_utils._names import (
    ATTACHED_TAG,
    PARAMETER_PREFIX,
    WINDOW_POLICY,
    aws_policy_arn,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import (
    ACCESS_POLICIES,
    DEPRECATED_SSM_POLICY,
    SSM_POLICIES,
    SSM_SUCCESSOR,
    agent_policies,
)
from ansible_collections.cwagent.iam.plugins.module_utils._role.policy import (
    SOURCE_ACCOUNT,
    SOURCE_ARN,
    HybridTrust,
    ec2_service,
)
from ansible_collections.cwagent.iam.plugins.module_utils._text import count_noun, join_first, to_printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import Assessment
    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import (
        ConfigParameter,
        InstanceUse,
        Key,
        NodeUse,
        Principal,
    )

# A younger key may be on its way to its servers, or be the second key of a replacement.
SETTLING = timedelta(days=7)
# A configuration that uses this share of its limit, or more, is near the limit.
NEAR_LIMIT = 0.9
MAX_LISTED = 10
# If this many instances have the permission that is meant for one instance, it is a separate finding.
SEVERAL = 2
RESTORE = "Run the playbook cwagent.iam.restore."
# The states of an instance that can use its profile, now or when it is started.
_ALIVE = ("pending", "running", "stopping", "stopped")
# Stands for any other account than the current one.
_OTHER_ACCOUNT = "000000000000"


@dataclass(frozen=True)
class Finding:
    """A violation of a rule.

    :param object: the name of the principal, instance, parameter or profile, or the id of the key or account.
    :param fix: the command to run, the variable to set, or the decision that a person must make.
    :param listed: whether summaries list it. Any other finding is only in reports, and never makes a run fail.
    """

    rule: str
    severity: str
    object: str
    why: str
    fix: str
    region: str | None = None
    listed: bool = True


@dataclass(frozen=True)
class Rules:
    """The user's choices.

    :param key_max_age_days: the age at which a key is too old; ``None`` for no limit.
    :param server_profile: the instance profile for instances that have none.
    :param inventory_users: the users of the hosts in the inventory; ``None`` if they are not known.
    :param attach_to_roles: the application roles that should have the agent's policy; ``None`` if they are not known.
    :param hybrid_role: the role of the servers that are registered with Systems Manager.
    """

    key_max_age_days: timedelta | None = timedelta(days=90)
    server_profile: str = "CloudWatchAgentServerRole"
    inventory_users: frozenset[str] | None = None
    attach_to_roles: frozenset[str] | None = None
    hybrid_role: str = "CloudWatchAgentHybridRole"


@dataclass(frozen=True)
class Case(AccountView):
    """An account, its assessments and the user's choices: the input of every rule."""

    rules: Rules

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
        return frozenset({self.rules.hybrid_role, *nodes, *activations})

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


def find(case: Case) -> list[Finding]:
    """Return the violations of the rules, the most severe first."""
    found = [finding for rule in _FAMILIES for finding in rule(case)]
    return sorted(found, key=_rank)


def _rank(finding: Finding) -> tuple[Any, ...]:
    severity = -SEVERITIES.index(finding.severity)
    return severity, not finding.listed, finding.rule, finding.region or "", finding.object, finding.why


def count_severities(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity."""
    severities = [each.severity for each in findings]
    return {severity: severities.count(severity) for severity in SEVERITIES}


# -- Permission to write --


def _admin_findings(case: Case) -> Iterator[Finding]:
    """Report admin principals whose permission no window limits, and instances with an admin role outside a window."""
    for each in case.assessments:
        if each.window is None or each.is_administrator or case.is_hybrid(each.principal):
            continue
        principal, state = each.principal, each.window["state"]
        instances = case.instances_of(principal.name) if principal.kind == ROLE else []
        is_unlimited = state == ABSENT and each.writes == YES
        if is_unlimited and len(instances) >= SEVERAL:
            listed = join_first([instance.id for instance in instances], MAX_LISTED)
            why = f"{principal.title} may write configurations from {len(instances)} instances: {listed}. {each.why}"
            yield Finding("admin-on-instances", ERROR, principal.name, why, _removal(each))
        elif is_unlimited:
            on = f" It is on instance {instances[0].id}." if instances else ""
            why = f"{principal.title} permanently has an admin policy, without an admin window.{on} {each.why}"
            yield Finding("admin-without-window", ERROR, principal.name, why, _removal(each))
        elif state in (CLOSED, EXPIRED, OPEN):
            yield from _findings_without_window(case, each, each.window, instances)


def _findings_without_window(
    case: Case, assessment: Assessment, window: Mapping[str, Any], instances: Iterable[InstanceUse]
) -> Iterator[Finding]:
    for each in instances:
        if window["state"] == OPEN and window["instance_id"] == each.id:
            continue
        why = f"The instance has admin profile '{each.profile}', and no admin window is open for it. {assessment.why}"
        fix = RESTORE
        if not (each.in_inventory or _has_record(case, each)):
            fix = f"Decide which instance profile {each.id} is to have, and associate it."
        yield Finding("admin-instance-without-window", WARNING, each.id, why, fix, each.region)


def _writer_findings(case: Case) -> Iterator[Finding]:
    """Report principals that may write but should not."""
    for each in case.assessments:
        principal = each.principal
        if each.writes != YES or each.is_administrator:
            continue
        if principal.access == "server":
            why = f"{principal.title} is for servers and may write configurations. {each.why}"
            yield Finding("server-writes", ERROR, principal.name, why, _removal(each))
        elif principal.access is None:
            why = f"{principal.title} may write configurations and has none of the agent's policies. {each.why}"
            yield Finding("unmanaged-writer", WARNING, principal.name, why, _removal(each))


def _administrator_findings(case: Case) -> Iterator[Finding]:
    """Report principals that may write because they administer the account: once, or once for each instance."""
    elsewhere = []
    for each in case.assessments:
        principal = each.principal
        if each.writes != YES or not each.is_administrator:
            continue
        instances = case.instances_of(principal.name) if principal.kind == ROLE else []
        for instance in instances:
            why = f"The instance has role '{principal.name}', which administers the account and so may write."
            fix = f"Decide whether {instance.id} is to administer the account; if not, associate another profile."
            yield Finding("administrator-on-instance", ERROR, instance.id, why, fix, instance.region)
        nodes = case.nodes_of(principal.name) if principal.kind == ROLE else []
        for node in nodes:
            why = f"The server has role '{principal.name}', which administers the account and so may write."
            fix = f"Decide whether {node.id} is to administer the account; if not, give it another role."
            yield Finding("administrator-on-instance", ERROR, node.id, why, fix, node.region)
        elsewhere += [principal.label] if not (instances or nodes) else []
    if elsewhere:
        why = f"May write because they administer the account: {join_first(elsewhere, MAX_LISTED)}."
        fix = "None is needed if all of them are to administer the account."
        yield Finding("administrators", NOTICE, case.account.id, why, fix, listed=False)


def _window_findings(case: Case) -> Iterator[Finding]:
    for each in case.assessments:
        if each.window is None or case.is_hybrid(each.principal):
            continue
        state, principal = each.window["state"], each.principal
        window = f"The admin window of {principal.label}"
        if state == EXPIRED:
            why = f"{window} was not closed. It has denied everything since its deadline, {each.window['deadline']}."
            yield Finding("window-expired", NOTICE, principal.name, why, RESTORE)
        elif state == MODIFIED:
            severity = ERROR if each.writes == YES else WARNING
            is_open = {YES: "is open", NO: "is not open"}.get(each.writes, "may be open")
            why = f"{window} {is_open}. Its inline policy {WINDOW_POLICY} was changed. {each.why}"
            yield Finding("window-modified", severity, principal.name, why, RESTORE)


# -- Access keys --


def _key_findings(case: Case) -> Iterator[Finding]:
    for each in case.assessments:
        for key in each.principal.keys or ():
            yield from _findings_on_key(case, each, key)
        active = [key for key in each.principal.keys or () if key.active]
        if len(active) > 1:
            yield _two_keys(case, each.principal, active)


def _findings_on_key(case: Case, assessment: Assessment, key: Key) -> Iterator[Finding]:
    user, now = assessment.principal, case.account.read_at
    age = now - key.created
    state = (assessment.window or {}).get("state")
    delete = f"aws iam delete-access-key --user-name {user.name} --access-key-id {key.id}"
    if key.active and state in (CLOSED, EXPIRED, MODIFIED):
        severity = ERROR if assessment.writes == YES else WARNING
        why = f"Access key {key.id} of admin user '{user.name}' is active, and its admin window is {state}."
        fix = f"aws iam update-access-key --user-name {user.name} --access-key-id {key.id} --status Inactive"
        yield Finding("admin-key-active", severity, key.id, why, fix)
    max_age = case.rules.key_max_age_days
    is_old = max_age is not None and age >= max_age
    if is_old:
        why = f"Access key {key.id} of user '{user.name}' is {age.days} days old."
        fix = "Run the playbook cwagent.iam.rotate_keys, with this age or a lower one in cwagent_key_max_age_days."
        if not user.managed:
            fix = f"Replace the key where it is in use, then: {delete}"
        elif case.rules.inventory_users is not None and user.name not in case.rules.inventory_users:
            fix = f"No host has the user, so run the playbook cwagent.iam.remove_servers for {user.name}."
        yield Finding("key-old", WARNING if key.active else NOTICE, key.id, why, fix)
    elif key.active and key.used_known and key.used is None and age >= SETTLING:
        why = f"Access key {key.id} of user '{user.name}' is {age.days} days old and was never used."
        fix = f"Decide whether a server is to use it; if not: {delete}"
        yield Finding("key-unused", NOTICE, key.id, why, fix)
    if key.saved is False:
        is_replaced = user.managed and any(each.saved and each.created > key.created for each in user.keys or ())
        why = f"Access key {key.id} of user '{user.name}' is not saved anywhere that is known."
        fix = f"Decide whether somebody else uses it; if not: {delete}"
        if is_replaced:
            why = f"Access key {key.id} of user '{user.name}' is not saved any more, since a newer one is."
            fix = "Run the playbook cwagent.iam.rotate_keys, which deletes a replaced key after the grace period."
        yield Finding("key-not-saved", NOTICE if is_replaced else WARNING, key.id, why, fix)


def _two_keys(case: Case, user: Principal, active: Sequence[Key]) -> Finding:
    youngest = max(active, key=lambda key: (key.created, key.id))
    is_replacement = case.account.read_at - youngest.created < SETTLING
    listed = ", ".join(key.id for key in active)
    why = f"User '{user.name}' has {len(active)} active access keys: {listed}."
    idle = min(active, key=lambda key: (key.used or key.created, key.id))
    fix = f"Decide whether {idle.id} is in use; if not: aws iam delete-access-key --user-name {user.name} "
    fix += f"--access-key-id {idle.id}"
    if is_replacement:
        fix = (
            "Run the playbook cwagent.iam.rotate_keys, which deactivates a replaced key once the new one is in use. It "
            f"leaves a key that nothing has replaced. {fix}"
        )
    return Finding("key-two-active", NOTICE if is_replacement else WARNING, user.name, why, fix)


def _unlisted_user_findings(case: Case) -> Iterator[Finding]:
    """Report our users without a host in the inventory, as information, because another inventory can have the host."""
    known = case.rules.inventory_users
    for each in case.account.principals if known is not None else ():
        if each.kind == USER and each.managed and each.name not in (known or ()):
            keys = ", ".join(key.id for key in each.keys or () if key.active)
            active = f" Its active access keys: {keys}." if keys else ""
            why = f"User '{each.name}' was made for a server, and no host of the inventory has it.{active}"
            fix = f"If its server has left, run the playbook cwagent.iam.remove_servers for {each.name}."
            yield Finding("user-without-host", NOTICE, each.name, why, fix, listed=False)


def _findings_on_keys_without_user(case: Case) -> Iterator[Finding]:
    for each in case.account.keys_without_user:
        why = f"The access key of user '{each.user}' is saved as {each.place}, and there is no such user."
        fix = (
            "Run the playbook cwagent.iam.site, which creates the user and a new access key."
            if each.user in (case.rules.inventory_users or ())
            else f"Run the playbook cwagent.iam.remove_servers for {each.region}:{each.user} with "
            f"cwagent_key_store={each.store}."
        )
        yield Finding("saved-key-without-user", NOTICE, each.user, why, fix, each.region)


# -- Policies of principals --


def _policy_findings(case: Case) -> Iterator[Finding]:
    for each in case.assessments:
        principal = each.principal
        if principal.has_policy(SSM_POLICIES[DEPRECATED_SSM_POLICY]):
            yield _deprecated_policy(principal)
        is_managed = principal.managed or principal.window_policy
        if principal.access == "admin" and is_managed and not case.is_hybrid(principal):
            yield from _unmanaged_parts(principal)
        if principal.access == "server" and principal.managed and not case.is_hybrid(principal):
            yield from _trust_findings(principal, "server-unmanaged-trust", NOTICE)
        if principal.is_ours and principal.boundary:
            yield from _boundary_findings(case, principal)


def _application_role_findings(case: Case) -> Iterator[Finding]:
    """Report application roles that this collection gave the agent's policy and that the inventory does not list."""
    listed = case.rules.attach_to_roles
    for each in case.account.principals if listed is not None else ():
        # Anyone who may tag the role can set any value, so a command contains only the expected one.
        is_tagged = each.tags.get(ATTACHED_TAG) == (policy := ACCESS_POLICIES["server"])
        detach = each.policy_command("detach", aws_policy_arn(policy, each.partition))
        if each.kind == ROLE and is_tagged and each.name not in (listed or ()):
            why = (
                f"This collection attached {policy} to the role, but the inventory does not ask for it. To keep it, set"
                " cwagent_on_other_profile to attach and list the role in cwagent_attach_to_roles, in the inventory."
            )
            untag = f"aws iam untag-role --role-name {each.name} --tag-keys {ATTACHED_TAG}"
            fix = f"{detach}; {untag}" if each.has_policy(policy) else untag
            yield Finding("attached-policy", NOTICE, each.name, why, fix, listed=False)
        elif each.kind == ROLE and not is_tagged and each.name in (listed or ()) and each.has_policy(policy):
            why = (
                f"The role has {policy} without the tag {ATTACHED_TAG}: somebody else attached the policy, or the tag "
                "was removed. The playbooks remove_servers and teardown leave the policy."
            )
            fix = f"None is needed. To remove it some day, {detach}"
            yield Finding("policy-without-tag", NOTICE, each.name, why, fix, listed=False)


def _deprecated_policy(principal: Principal) -> Finding:
    why = f"{principal.title} has {DEPRECATED_SSM_POLICY}, which AWS has deprecated and which allows more than needed."
    fix = f"Set cwagent_ssm_policy to {SSM_SUCCESSOR}, and run the playbook cwagent.iam.site."
    if not principal.managed:
        attach = principal.policy_command("attach", aws_policy_arn(SSM_POLICIES[SSM_SUCCESSOR], principal.partition))
        old = aws_policy_arn(SSM_POLICIES[DEPRECATED_SSM_POLICY], principal.partition)
        fix = f"{attach} && {principal.policy_command('detach', old)}"
    return Finding("deprecated-ssm-policy", WARNING, principal.name, why, fix)


def _unmanaged_parts(principal: Principal) -> Iterator[Finding]:
    ours = agent_policies(principal.partition)
    others = [
        each for each in principal.policies if each.group or (each.arn not in ours and each.name != WINDOW_POLICY)
    ]
    if others:
        names = ", ".join(sorted({each.name for each in others}))
        why = f"{principal.title} is for the admin window and has other policies: {names}."
        fix = f"Decide whether it needs them; if not, remove them from {principal.label}."
        yield Finding("admin-unmanaged-policies", WARNING, principal.name, why, fix)
    yield from _trust_findings(principal, "admin-unmanaged-trust", ERROR)


def _trust_findings(principal: Principal, rule: str, severity: str) -> Iterator[Finding]:
    others = _other_principals(principal)
    if others:
        why = (
            f"Principals other than EC2 can assume {principal.access} role '{principal.name}': "
            f"{join_first(others, MAX_LISTED)}."
        )
        fix = (
            "Remove them from the trust policy. Or set cwagent_exclusive to true and run the playbook "
            "cwagent.iam.site, which also removes everything undeclared from the server role and the users."
        )
        yield Finding(rule, severity, principal.name, why, fix)


def _other_principals(principal: Principal) -> list[str]:
    """Return the principals in the trust policy that are not EC2, whatever the conditions."""
    services = {"ec2.amazonaws.com", ec2_service(principal.partition)}
    found: set[str] = set()
    for each in _as_list((principal.trust or {}).get("Statement", ())):
        if each.get("Effect") == "Allow":
            trusted = each.get("Principal", "everybody who is not in NotPrincipal")
            values = trusted.values() if isinstance(trusted, dict) else [trusted]
            found |= {to_printable(name) for value in values for name in _as_list(value)}
    return sorted("everybody (*)" if name == "*" else name for name in found - services)


def _boundary_findings(case: Case, principal: Principal) -> Iterator[Finding]:
    blocked = [action for action in (METRICS, LOGS) if case.is_blocked(principal, action)]
    if blocked and principal.boundary:
        name = principal.boundary.name
        why = f"The permissions boundary {name} of {principal.label} blocks {' and '.join(blocked)}."
        fix = f"Allow {' and '.join(blocked)} in policy {principal.boundary.arn}."
        yield Finding("boundary-blocks-agent", WARNING, principal.name, why, fix)


# -- Instances and profiles --


def _instance_findings(case: Case) -> Iterator[Finding]:
    empty = {each.name for each in case.account.profiles if each.role is None}
    carried = {each.profile for each in case.alive if each.profile}
    for name in sorted(empty & {*carried, *(each.principal.name for each in case.assessments)}):
        why = f"Instance profile '{name}' has no role, so its instances have no permissions."
        fix = f"aws iam add-role-to-instance-profile --instance-profile-name {name} --role-name {name}"
        if (ROLE, name) not in case.principals:
            fix = f"aws iam delete-instance-profile --instance-profile-name {name}"
        yield Finding("profile-without-role", WARNING, name, why, fix)
    windows = {each.window["instance_id"] for each in case.assessments if each.window and each.window["state"] == OPEN}
    for instance in case.alive:
        if instance.restore_tag is not None and instance.id not in windows:
            yield _restore_tag(case, instance)
        if instance.in_inventory and instance.profile not in empty:
            yield from _agent_findings(case, instance)


def _restore_tag(case: Case, instance: InstanceUse) -> Finding:
    why = f"The instance has restore tag {RESTORE_TAG}, and no admin window is open for it: a run was interrupted."
    fix = RESTORE
    if not _has_record(case, instance):
        fix = f"aws ec2 delete-tags --region {instance.region} --resources {instance.id} --tags Key={RESTORE_TAG}"
    return Finding("restore-tag", WARNING, instance.id, why, fix, instance.region)


def _has_record(case: Case, instance: InstanceUse) -> bool:
    key = record_key(instance.region, instance.id)
    return any(key in each.principal.tags for each in case.assessments)


def _agent_findings(case: Case, instance: InstanceUse) -> Iterator[Finding]:
    """Report an instance that should run the agent but lacks permissions that the agent needs."""
    rule = "instance-without-access"
    if instance.profile is None:
        why = "The instance is in the inventory and has no instance profile."
        fix = (
            f"aws ec2 associate-iam-instance-profile --region {instance.region} --instance-id {instance.id} "
            f"--iam-instance-profile Name={case.rules.server_profile}"
        )
        yield Finding(rule, WARNING, instance.id, why, fix, instance.region)
        return
    role = case.principals.get((ROLE, case.roles.get(instance.profile) or ""))
    if role is None:
        return  # not read
    lacking = _lacking(case, role, instance.region)
    if lacking:
        why = f"The instance is in the inventory, and its role '{role.name}' lacks {', '.join(lacking)}."
        add = f"Set cwagent_on_other_profile to attach, and add {role.name} to cwagent_attach_to_roles. "
        add = "" if role.managed else add
        fix = f"{add}Run the playbook cwagent.iam.site. If the policy is attached, find what denies it."
        yield Finding(rule, WARNING, instance.id, why, fix, instance.region)


def _lacking(case: Case, role: Principal, region: str) -> list[str]:
    """Return the actions that the agent needs and a role lacks; none if its boundary is a separate finding."""
    needed = {METRICS: "*", LOGS: "*", GET: case.parameter_arn(region, f"{PARAMETER_PREFIX}any")}
    lacking = [action for action, resource in needed.items() if case.decide(role, action, resource) is Decision.NO]
    is_bounded = role.is_ours and all(case.is_blocked(role, action, needed[action]) for action in lacking)
    return [] if is_bounded else lacking


# -- Hybrid servers --


def _hybrid_role_findings(case: Case) -> Iterator[Finding]:
    """Report roles of hybrid servers that have an admin policy, or that other accounts can use."""
    for each in case.account.principals:
        if not case.is_hybrid(each):
            continue
        if each.access == "admin":
            yield _hybrid_admin(case, each)
        if each.trust and _trusts_other_accounts(case, each):
            why = (
                f"Systems Manager can assume role '{each.name}' for other accounts too, because its trust policy does "
                f"not limit {SOURCE_ACCOUNT} or {SOURCE_ARN}."
            )
            trust = HybridTrust(each.partition, each.account_id).describe_statement(case.account.regions)
            fix = f"Replace the statement in the trust policy by one that allows {trust}."
            yield Finding("hybrid-role-trust", WARNING, each.name, why, fix)


def _hybrid_admin(case: Case, role: Principal) -> Finding:
    nodes = [each.id for each in case.nodes_of(role.name)]
    on = f" Its servers: {join_first(nodes, MAX_LISTED)}." if nodes else ""
    why = f"Role '{role.name}' is for hybrid servers and has an admin policy.{on}"
    arn = aws_policy_arn(ACCESS_POLICIES["admin"], role.partition)
    fixes = [role.policy_command("detach", arn)] if arn in role.attached else []
    if role.window_policy:
        fixes.append(f"aws iam delete-role-policy --role-name {role.name} --policy-name {WINDOW_POLICY}")
    return Finding("hybrid-role-admin", ERROR, role.name, why, " && ".join(fixes))


def _trusts_other_accounts(case: Case, role: Principal) -> bool:
    other = HybridTrust(role.partition, _OTHER_ACCOUNT)
    return any(other.is_in(role.trust or {}, region) for region in case.account.regions)


def _activation_findings(case: Case) -> Iterator[Finding]:
    """Report activations that can still register servers with the role of hybrid servers."""
    for each in case.account.activations:
        is_usable = each.remaining > 0 and each.expires > case.account.read_at
        if is_usable and (each.is_ours or each.role in case.hybrid_roles):
            until, number = each.expires.strftime(TIME_FORMAT), count_noun(each.remaining, "more server")
            why = f"Anyone with the code of the activation can register {number} with role '{each.role}' until {until}."
            delete = f"aws ssm delete-activation --region {each.region} --activation-id {each.id}"
            fix = f"Decide whether somebody is about to use it; if not: {delete}"
            if each.is_ours:
                fix = f"Unless a run is registering {each.name or 'a server'} now: {delete}"
            yield Finding("activation-unused", NOTICE if each.is_ours else WARNING, each.id, why, fix, each.region)


def _node_findings(case: Case) -> Iterator[Finding]:
    """Report servers that others registered with the role, as information, because that can be intended."""
    foreign: dict[tuple[str, str], list[str]] = {}
    for each in case.account.nodes:
        if each.role in case.hybrid_roles and not each.is_ours:
            foreign.setdefault((each.region, each.role), []).append(each.id)
    for (region, role), nodes in foreign.items():
        why = f"Servers that this collection did not register have role '{role}': {join_first(nodes, MAX_LISTED)}."
        fix = "None is needed if all of them are to have its permissions; if not, give them another role."
        yield Finding("node-not-managed", NOTICE, role, why, fix, region, listed=False)


# -- Configuration parameters --


def _parameter_findings(case: Case) -> Iterator[Finding]:
    for each in case.account.parameters:
        servers = [server for server, decision in case.readers(each) if decision is Decision.NO]
        if servers:
            names = join_first([server.label for server in servers], MAX_LISTED)
            why = f"Server principals may not read the parameter: {names}."
            fix = f"Allow {GET} on {case.parameter_arn(each.region, each.name)} to {names}."
            yield Finding("parameter-unreadable", WARNING, each.name, why, fix, each.region)
        problem = parameter_problem(each)
        if problem:
            fix = "Store a corrected configuration with the playbook cwagent.iam.store_config."
            if each.type not in (TYPE, ENCRYPTED_TYPE):
                fix = f"aws ssm delete-parameter --region {each.region} --name {each.name}"
            yield Finding("parameter-invalid", WARNING, each.name, problem, fix, each.region)
        size, limit = parameter_size(each), LIMITS.get(each.tier, max(LIMITS.values()))
        if size is not None and size >= limit * NEAR_LIMIT:
            why = f"The configuration has {size} of {limit} bytes of the {each.tier} tier."
            fix = "Decide whether to divide it into several parameters (cwagent_configs), or to use the Advanced tier."
            yield Finding("parameter-near-limit", NOTICE, each.name, why, fix, each.region)


def parameter_problem(parameter: ConfigParameter) -> str | None:
    """Return why a parameter is not a valid configuration; ``None`` if it is, or was not read."""
    if parameter.type not in (TYPE, ENCRYPTED_TYPE):
        return f"parameter '{parameter.name}' has type {parameter.type}; the agent reads a {TYPE}."
    if parameter.value is None:
        return None
    source = f"parameter '{parameter.name}'"
    is_yaml = is_yaml_name(parameter.name)
    problems = read_yaml(parameter.value, source)[1] if is_yaml else validate(parameter.value, source=source).problems
    errors, _warnings = select(problems, "warn")
    if not errors:
        return None
    more = f" ({len(errors) - 1} more)" if errors[1:] else ""
    return f"{source} is not valid: {errors[0]}{more}."


def parameter_size(parameter: ConfigParameter) -> int | None:
    """Return the size of a configuration in bytes; ``None`` if it was not read."""
    return None if parameter.value is None else len(parameter.value.encode())


def readable_by_servers(case: Case, parameter: ConfigParameter) -> Decision:
    """Return whether all server principals may read a parameter; unknown if there is none."""
    return min((decision for _server, decision in case.readers(parameter)), default=Decision.UNKNOWN)


# -- Words --


def _removal(assessment: Assessment) -> str:
    """Return how to remove a principal's permission to write."""
    principal, policies = assessment.principal, assessment.granting
    if principal.managed and principal.access == "admin":
        return RESTORE
    if all(each.arn and not each.group for each in policies):
        return " && ".join(principal.policy_command("detach", str(each.arn)) for each in policies)
    places = ", ".join(f"{each.name} of group '{each.group}'" if each.group else each.name for each in policies)
    return f"Decide whether {principal.label} needs to write; if not, change what allows it: {places}."


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


_FAMILIES = (
    _admin_findings,
    _writer_findings,
    _administrator_findings,
    _window_findings,
    _key_findings,
    _unlisted_user_findings,
    _findings_on_keys_without_user,
    _policy_findings,
    _application_role_findings,
    _instance_findings,
    _hybrid_role_findings,
    _activation_findings,
    _node_findings,
    _parameter_findings,
)
