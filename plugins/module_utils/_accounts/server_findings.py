# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings about instances, instance profiles, and servers that are registered with Systems Manager. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._ground.findings import NOTICE, SERVER, WARNING, Rule
from .._ground.names import PARAMETER_PREFIX
from .._ground.text import count_noun, join_first
from .._principals.window_plan import OPEN
from .._principals.window_policy import TIME_FORMAT
from .._servers.admin_instance import RESTORE_TAG
from .assess import GET, LOGS, METRICS, describe_grant
from .audit_input import MAX_LISTED, RESTORE, has_record
from .evaluate import Decision
from .model import ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._ground.findings import Finding
    from .audit_input import Case
    from .model import InstanceUse, Principal


PROFILE_WITHOUT_ROLE = Rule("profile-without-role", SERVER, (WARNING,), "an instance profile has no role")
INSTANCE_WITHOUT_ACCESS = Rule(
    "instance-without-access", SERVER, (WARNING,), "an instance in the inventory lacks something that the agent needs"
)
REMAINING_TAG = Rule("restore-tag", SERVER, (WARNING,), "an interrupted run left its tag")
ACTIVATION_UNUSED = Rule(
    "activation-unused",
    SERVER,
    (WARNING, NOTICE),
    "an activation can still register hybrid servers, which is a notice if this collection created it",
)
NODE_NOT_MANAGED = Rule(
    "node-not-managed",
    SERVER,
    (NOTICE,),
    "servers that this collection did not register have the role of hybrid servers",
    listed=False,
)


def _instance_findings(case: Case) -> Iterator[Finding]:
    empty = {each.name for each in case.account.profiles if each.role is None}
    carried = {each.profile for each in case.alive if each.profile}
    for name in sorted(empty & {*carried, *(each.principal.name for each in case.assessments)}):
        why = f"Instance profile '{name}' has no role, so its instances have no permissions."
        fix = f"aws iam add-role-to-instance-profile --instance-profile-name {name} --role-name {name}"
        if (ROLE, name) not in case.principals:
            fix = f"aws iam delete-instance-profile --instance-profile-name {name}"
        yield PROFILE_WITHOUT_ROLE.finding(name, why, fix)
    windows = {each.window["instance_id"] for each in case.assessments if each.window and each.window["state"] == OPEN}
    for instance in case.alive:
        if instance.restore_tag is not None and instance.id not in windows:
            yield _restore_tag(case, instance)
        if instance.in_inventory and instance.profile not in empty:
            yield from _agent_findings(case, instance)


def _restore_tag(case: Case, instance: InstanceUse) -> Finding:
    why = f"The instance has restore tag {RESTORE_TAG}, and no admin window is open for it: a run was interrupted."
    fix = RESTORE
    if not has_record(case, instance):
        fix = f"aws ec2 delete-tags --region {instance.region} --resources {instance.id} --tags Key={RESTORE_TAG}"
    return REMAINING_TAG.finding(instance.id, why, fix, instance.region)


def _agent_findings(case: Case, instance: InstanceUse) -> Iterator[Finding]:
    """Report an instance that should run the agent but lacks permissions that the agent needs."""
    if instance.profile is None:
        why = "The instance is in the inventory and has no instance profile."
        fix = (
            f"aws ec2 associate-iam-instance-profile --region {instance.region} --instance-id {instance.id} "
            f"--iam-instance-profile Name={case.choices.server_profile}"
        )
        yield INSTANCE_WITHOUT_ACCESS.finding(instance.id, why, fix, instance.region)
        return
    role = case.principals.get((ROLE, case.roles.get(instance.profile) or ""))
    if role is None:
        return  # not read
    lacking = _lacking(case, role, instance.region)
    if lacking:
        why = f"The instance is in the inventory, and its role '{role.name}' lacks {', '.join(lacking)}."
        yield INSTANCE_WITHOUT_ACCESS.finding(instance.id, why, describe_grant(role), instance.region)


def _lacking(case: Case, role: Principal, region: str) -> list[str]:
    """Return the actions that the agent needs and a role lacks; none if its boundary is a separate finding."""
    needed = {METRICS: "*", LOGS: None, GET: case.parameter_arn(region, f"{PARAMETER_PREFIX}*")}
    denied = {action for action, resource in needed.items() if case.decide(role, action, resource) is Decision.NO}
    # The instance may use a configuration for which it has the permissions.
    is_sufficient = any(not actions & denied for actions in case.ordinary_actions(region, role))
    lacking = [each for each in needed if each in denied and (each == GET or not is_sufficient)]
    is_bounded = role.is_ours and all(case.is_blocked(role, action, needed[action]) for action in lacking)
    return [] if is_bounded else lacking


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
            yield ACTIVATION_UNUSED.finding(
                each.id, why, fix, each.region, severity=NOTICE if each.is_ours else WARNING
            )


def _node_findings(case: Case) -> Iterator[Finding]:
    """Report servers that others registered with the role, as information, because that can be intended."""
    foreign: dict[tuple[str, str], list[str]] = {}
    for each in case.account.nodes:
        if each.role in case.hybrid_roles and not each.is_ours:
            foreign.setdefault((each.region, each.role), []).append(each.id)
    for (region, role), nodes in foreign.items():
        why = f"Servers that this collection did not register have role '{role}': {join_first(nodes, MAX_LISTED)}."
        fix = "None is needed if all of them are to have its permissions; if not, give them another role."
        yield NODE_NOT_MANAGED.finding(role, why, fix, region)


CHECKS = (_instance_findings, _activation_findings, _node_findings)
