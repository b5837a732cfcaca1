# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings about principals: their permissions, and their access keys. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .._ground.findings import ACCOUNT, ERROR, NOTICE, PRINCIPAL, SERVER, WARNING, Rule
from .._ground.names import ATTACHED_TAG, WINDOW_POLICY, aws_policy_arn, is_fitted_policy, name_of
from .._ground.text import join_first, to_printable
from .._principals.policies import DEPRECATED_SSM_POLICY, SSM_POLICIES, SSM_SUCCESSOR, agent_policies, tagged_policies
from .._principals.role_plan import SOURCE_ACCOUNT, SOURCE_ARN, HybridTrust, ec2_service
from .._principals.window_plan import ABSENT, CLOSED, EXPIRED, MODIFIED, OPEN
from .assess import LOGS, METRICS, NO, YES, describe_blocked
from .audit_input import MAX_LISTED, RESTORE, has_record
from .model import ROLE, USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .._ground.findings import Finding
    from .assess import Assessment
    from .audit_input import Case
    from .model import InstanceUse, Key, Principal


# If this many instances have the permission that is meant for one instance, it is a separate finding.
SEVERAL = 2
# Stands for any other account than the current one.
_OTHER_ACCOUNT = "000000000000"

ADMIN_ON_INSTANCES = Rule(
    "admin-on-instances", PRINCIPAL, (ERROR,), "several instances have an admin policy that nothing limits"
)
ADMIN_WITHOUT_WINDOW = Rule("admin-without-window", PRINCIPAL, (ERROR,), "an admin policy is attached permanently")
ADMIN_INSTANCE_WITHOUT_WINDOW = Rule(
    "admin-instance-without-window", SERVER, (WARNING,), "an instance has the admin profile outside a window"
)
SERVER_WRITES = Rule("server-writes", PRINCIPAL, (ERROR,), "a principal for servers can write")
UNMANAGED_WRITER = Rule("unmanaged-writer", PRINCIPAL, (WARNING,), "a principal that is not for the agent can write")
ADMINISTRATOR_ON_INSTANCE = Rule(
    "administrator-on-instance", SERVER, (ERROR,), "an instance or server administers the account"
)
ADMINISTRATORS = Rule(
    "administrators", ACCOUNT, (NOTICE,), "principals can write because they administer the account", listed=False
)
WINDOW_EXPIRED = Rule("window-expired", PRINCIPAL, (NOTICE,), "an admin window was not closed after its deadline")
WINDOW_MODIFIED = Rule("window-modified", PRINCIPAL, (ERROR, WARNING), "the policy of the admin window was changed")
DEPRECATED_POLICY = Rule(
    "deprecated-ssm-policy", PRINCIPAL, (WARNING,), f"the policy V({DEPRECATED_SSM_POLICY}) is in use"
)
ADMIN_UNMANAGED_POLICIES = Rule(
    "admin-unmanaged-policies", PRINCIPAL, (WARNING,), "an admin principal has other policies"
)
ADMIN_UNMANAGED_TRUST = Rule(
    "admin-unmanaged-trust", PRINCIPAL, (ERROR,), "principals other than EC2 can assume an admin role"
)
SERVER_UNMANAGED_TRUST = Rule(
    "server-unmanaged-trust",
    PRINCIPAL,
    (NOTICE,),
    "principals other than EC2 can assume a server role of this collection",
)
BOUNDARY_BLOCKS_AGENT = Rule(
    "boundary-blocks-agent", PRINCIPAL, (WARNING,), "a permissions boundary blocks metrics or logs"
)
ATTACHED_POLICY = Rule(
    "attached-policy",
    PRINCIPAL,
    (NOTICE,),
    "a role that is not in O(attach_to_roles) has the agent's policy from this collection",
    listed=False,
)
POLICY_WITHOUT_TAG = Rule(
    "policy-without-tag",
    PRINCIPAL,
    (NOTICE,),
    "a role in O(attach_to_roles) has the policy, and not from this collection, so no playbook detaches it",
    listed=False,
)
HYBRID_ROLE_ADMIN = Rule("hybrid-role-admin", PRINCIPAL, (ERROR,), "the role of hybrid servers has an admin policy")
HYBRID_ROLE_TRUST = Rule(
    "hybrid-role-trust",
    PRINCIPAL,
    (WARNING,),
    "Systems Manager can assume the role of hybrid servers for other accounts",
)


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
            yield ADMIN_ON_INSTANCES.finding(principal.name, why, _removal(each))
        elif is_unlimited:
            on = f" It is on instance {instances[0].id}." if instances else ""
            why = f"{principal.title} permanently has an admin policy, without an admin window.{on} {each.why}"
            yield ADMIN_WITHOUT_WINDOW.finding(principal.name, why, _removal(each))
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
        if not (each.in_inventory or has_record(case, each)):
            fix = f"Decide which instance profile {each.id} is to have, and associate it."
        yield ADMIN_INSTANCE_WITHOUT_WINDOW.finding(each.id, why, fix, each.region)


def _writer_findings(case: Case) -> Iterator[Finding]:
    """Report principals that may write but should not."""
    for each in case.assessments:
        principal = each.principal
        if each.writes != YES or each.is_administrator:
            continue
        if principal.access == "server":
            why = f"{principal.title} is for servers and may write configurations. {each.why}"
            yield SERVER_WRITES.finding(principal.name, why, _removal(each))
        elif principal.access is None:
            why = f"{principal.title} may write configurations and has none of the agent's policies. {each.why}"
            yield UNMANAGED_WRITER.finding(principal.name, why, _removal(each))


def _window_findings(case: Case) -> Iterator[Finding]:
    for each in case.assessments:
        if each.window is None or case.is_hybrid(each.principal):
            continue
        state, principal = each.window["state"], each.principal
        window = f"The admin window of {principal.label}"
        if state == EXPIRED:
            why = f"{window} was not closed. It has denied everything since its deadline, {each.window['deadline']}."
            yield WINDOW_EXPIRED.finding(principal.name, why, RESTORE)
        elif state == MODIFIED:
            severity = ERROR if each.writes == YES else WARNING
            is_open = {YES: "is open", NO: "is not open"}.get(each.writes, "may be open")
            why = f"{window} {is_open}. Its inline policy {WINDOW_POLICY} was changed. {each.why}"
            yield WINDOW_MODIFIED.finding(principal.name, why, RESTORE, severity=severity)


def _policy_findings(case: Case) -> Iterator[Finding]:
    for each in case.assessments:
        principal = each.principal
        if principal.has_policy(SSM_POLICIES[DEPRECATED_SSM_POLICY]):
            yield _deprecated_policy(principal)
        is_managed = principal.managed or principal.window_policy
        if principal.access == "admin" and is_managed and not case.is_hybrid(principal):
            yield from _unmanaged_parts(principal)
        if principal.access == "server" and principal.managed and not case.is_hybrid(principal):
            yield from _trust_findings(principal, SERVER_UNMANAGED_TRUST)
        if principal.is_ours and principal.boundary:
            yield from _boundary_findings(case, principal)


def _application_role_findings(case: Case) -> Iterator[Finding]:
    """Report application roles that this collection gave the agent's policy and that the inventory does not list."""
    listed = case.choices.attach_to_roles
    roles = (each for each in case.account.principals if each.kind == ROLE)
    for each in roles if listed is not None else ():
        # Anyone who may tag the role can set any value, so a command contains only ARNs that IAM returns.
        named = tagged_policies(each.tags, each.arn)
        attached = each.policies_of("server")
        others = [arn for arn in attached if arn not in named]
        if named and each.name not in (listed or ()):
            names = ", ".join(sorted(map(name_of, named)))
            why = (
                f"This collection attached {names} to the role, but the inventory does not ask for it. To keep it, "
                "set cwagent_on_other_profile to attach and list the role in cwagent_attach_to_roles, in the inventory."
            )
            detach = [each.policy_command("detach", arn) for arn in attached if arn not in others]
            untag = f"aws iam untag-role --role-name {each.name} --tag-keys {ATTACHED_TAG}"
            yield ATTACHED_POLICY.finding(each.name, why, "; ".join([*detach, untag]))
        elif others and each.name in (listed or ()):
            why = (
                f"The role has {', '.join(map(name_of, others))} without the tag {ATTACHED_TAG}: somebody else "
                "attached the policy, or the tag was removed. The playbooks remove_servers and teardown leave the "
                "policy."
            )
            detach = [each.policy_command("detach", arn) for arn in others]
            fix = f"None is needed. To remove it some day, {'; '.join(detach)}"
            yield POLICY_WITHOUT_TAG.finding(each.name, why, fix)


def _deprecated_policy(principal: Principal) -> Finding:
    why = f"{principal.title} has {DEPRECATED_SSM_POLICY}, which AWS has deprecated and which allows more than needed."
    fix = f"Set cwagent_ssm_policy to {SSM_SUCCESSOR}, and run the playbook cwagent.iam.site."
    if not principal.managed:
        attach = principal.policy_command("attach", aws_policy_arn(SSM_POLICIES[SSM_SUCCESSOR], principal.partition))
        old = aws_policy_arn(SSM_POLICIES[DEPRECATED_SSM_POLICY], principal.partition)
        fix = f"{attach} && {principal.policy_command('detach', old)}"
    return DEPRECATED_POLICY.finding(principal.name, why, fix)


def _unmanaged_parts(principal: Principal) -> Iterator[Finding]:
    ours = agent_policies(principal.partition)
    others = [
        each
        for each in principal.policies
        if each.group or not (each.arn in ours or is_fitted_policy(each.arn or "") or each.name == WINDOW_POLICY)
    ]
    if others:
        names = ", ".join(sorted({each.name for each in others}))
        why = f"{principal.title} is for the admin window and has other policies: {names}."
        fix = f"Decide whether it needs them; if not, remove them from {principal.label}."
        yield ADMIN_UNMANAGED_POLICIES.finding(principal.name, why, fix)
    yield from _trust_findings(principal, ADMIN_UNMANAGED_TRUST)


def _trust_findings(principal: Principal, rule: Rule) -> Iterator[Finding]:
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
        yield rule.finding(principal.name, why, fix)


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
    # A boundary may allow only some log groups.
    needed = {METRICS: "*", LOGS: None}
    blocked = [action for action, resource in needed.items() if case.is_blocked(principal, action, resource)]
    if blocked and principal.boundary:
        yield BOUNDARY_BLOCKS_AGENT.finding(principal.name, *describe_blocked(principal, principal.boundary, blocked))


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
            yield HYBRID_ROLE_TRUST.finding(each.name, why, fix)


def _hybrid_admin(case: Case, role: Principal) -> Finding:
    nodes = [each.id for each in case.nodes_of(role.name)]
    on = f" Its servers: {join_first(nodes, MAX_LISTED)}." if nodes else ""
    why = f"Role '{role.name}' is for hybrid servers and has an admin policy.{on}"
    fixes = [role.policy_command("detach", each) for each in role.policies_of("admin")]
    if role.window_policy:
        fixes.append(f"aws iam delete-role-policy --role-name {role.name} --policy-name {WINDOW_POLICY}")
    return HYBRID_ROLE_ADMIN.finding(role.name, why, " && ".join(fixes))


def _trusts_other_accounts(case: Case, role: Principal) -> bool:
    other = HybridTrust(role.partition, _OTHER_ACCOUNT)
    return any(other.is_in(role.trust or {}, region) for region in case.account.regions)


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
            yield ADMINISTRATOR_ON_INSTANCE.finding(instance.id, why, fix, instance.region)
        nodes = case.nodes_of(principal.name) if principal.kind == ROLE else []
        for node in nodes:
            why = f"The server has role '{principal.name}', which administers the account and so may write."
            fix = f"Decide whether {node.id} is to administer the account; if not, give it another role."
            yield ADMINISTRATOR_ON_INSTANCE.finding(node.id, why, fix, node.region)
        elsewhere += [principal.label] if not (instances or nodes) else []
    if elsewhere:
        why = f"May write because they administer the account: {join_first(elsewhere, MAX_LISTED)}."
        fix = "None is needed if all of them are to administer the account."
        yield ADMINISTRATORS.finding(case.account.id, why, fix)


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


# A younger key may be on its way to its servers, or be the second key of a replacement.
SETTLING = timedelta(days=7)

ADMIN_KEY_ACTIVE = Rule(
    "admin-key-active", PRINCIPAL, (ERROR, WARNING), "a key of an admin user is active outside a window"
)
KEY_OLD = Rule("key-old", PRINCIPAL, (WARNING, NOTICE), "a key is too old")
KEY_UNUSED = Rule("key-unused", PRINCIPAL, (NOTICE,), "a key was never used")
KEY_NOT_SAVED = Rule(
    "key-not-saved",
    PRINCIPAL,
    (WARNING, NOTICE),
    "a key is saved nowhere, which is a notice if a newer key of the user is saved",
)
KEY_TWO_ACTIVE = Rule("key-two-active", PRINCIPAL, (WARNING, NOTICE), "a user has two active keys")
USER_WITHOUT_HOST = Rule(
    "user-without-host",
    ACCOUNT,
    (NOTICE,),
    "no host of the inventory has a user that this collection created",
    listed=False,
)
SAVED_KEY_WITHOUT_USER = Rule("saved-key-without-user", ACCOUNT, (NOTICE,), "the user of a saved key does not exist")


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
        yield ADMIN_KEY_ACTIVE.finding(key.id, why, fix, severity=severity)
    max_age = case.choices.key_max_age_days
    is_old = max_age is not None and age >= max_age
    if is_old:
        why = f"Access key {key.id} of user '{user.name}' is {age.days} days old."
        fix = "Run the playbook cwagent.iam.rotate_keys, with this age or a lower one in cwagent_key_max_age_days."
        if not user.managed:
            fix = f"Replace the key where it is in use, then: {delete}"
        elif case.choices.inventory_users is not None and user.name not in case.choices.inventory_users:
            fix = f"No host has the user, so run the playbook cwagent.iam.remove_servers for {user.name}."
        yield KEY_OLD.finding(key.id, why, fix, severity=WARNING if key.active else NOTICE)
    elif key.active and key.used_known and key.used is None and age >= SETTLING:
        why = f"Access key {key.id} of user '{user.name}' is {age.days} days old and was never used."
        fix = f"Decide whether a server is to use it; if not: {delete}"
        yield KEY_UNUSED.finding(key.id, why, fix)
    if key.saved is False:
        is_replaced = user.managed and any(each.saved and each.created > key.created for each in user.keys or ())
        why = f"Access key {key.id} of user '{user.name}' is not saved anywhere that is known."
        fix = f"Decide whether somebody else uses it; if not: {delete}"
        if is_replaced:
            why = f"Access key {key.id} of user '{user.name}' is not saved any more, since a newer one is."
            fix = "Run the playbook cwagent.iam.rotate_keys, which deletes a replaced key after the grace period."
        yield KEY_NOT_SAVED.finding(key.id, why, fix, severity=NOTICE if is_replaced else WARNING)


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
    return KEY_TWO_ACTIVE.finding(user.name, why, fix, severity=NOTICE if is_replacement else WARNING)


def _unlisted_user_findings(case: Case) -> Iterator[Finding]:
    """Report our users without a host in the inventory, as information, because another inventory can have the host."""
    known = case.choices.inventory_users
    for each in case.account.principals if known is not None else ():
        if each.kind == USER and each.managed and each.name not in (known or ()):
            keys = ", ".join(key.id for key in each.keys or () if key.active)
            active = f" Its active access keys: {keys}." if keys else ""
            why = f"User '{each.name}' was made for a server, and no host of the inventory has it.{active}"
            fix = f"If its server has left, run the playbook cwagent.iam.remove_servers for {each.name}."
            yield USER_WITHOUT_HOST.finding(each.name, why, fix)


def _findings_on_keys_without_user(case: Case) -> Iterator[Finding]:
    for each in case.account.keys_without_user:
        why = f"The access key of user '{each.user}' is saved as {each.place}, and there is no such user."
        fix = (
            "Run the playbook cwagent.iam.site, which creates the user and a new access key."
            if each.user in (case.choices.inventory_users or ())
            else f"Run the playbook cwagent.iam.remove_servers for {each.region}:{each.user} with "
            f"cwagent_key_store={each.store}."
        )
        yield SAVED_KEY_WITHOUT_USER.finding(each.user, why, fix, each.region)


CHECKS = (
    _admin_findings,
    _writer_findings,
    _administrator_findings,
    _window_findings,
    _policy_findings,
    _application_role_findings,
    _hybrid_role_findings,
    _key_findings,
    _unlisted_user_findings,
    _findings_on_keys_without_user,
)
