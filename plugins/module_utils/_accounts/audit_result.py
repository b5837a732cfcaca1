# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The violations of the rules for an account, and the result of the module. Pure.

Each violation is one finding, because a rule skips everything that another rule reports. Unknown parts give no finding.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .._configuration.parameter_plan import LIMITS
from .._ground.findings import SEVERITIES, Rule
from .._principals.window_policy import TIME_FORMAT
from . import configuration_findings, fitting_findings, principal_findings, server_findings
from .assess import ANSWERS, NO, UNKNOWN, YES, find_grantors
from .history import Writer, changes, group_parts, stored_together
from .model import ROLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from .._ground.findings import Finding
    from .assess import Assessment
    from .audit_input import Case
    from .model import Account, ConfigParameter, History, InstanceUse, Key


_FILES = (principal_findings, fitting_findings, server_findings, configuration_findings)
RULES = [each for file in _FILES for each in vars(file).values() if isinstance(each, Rule)]


def find(case: Case) -> list[Finding]:
    """Return the violations of the rules, the most severe first."""
    found = [finding for file in _FILES for check in file.CHECKS for finding in check(case)]
    return sorted(found, key=_rank)


def _rank(finding: Finding) -> tuple[Any, ...]:
    severity = -SEVERITIES.index(finding.severity)
    return severity, not finding.listed, finding.rule, finding.region or "", finding.object, finding.why


def count_severities(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity."""
    severities = [each.severity for each in findings]
    return {severity: severities.count(severity) for severity in SEVERITIES}


def to_result(case: Case, findings: Sequence[Finding]) -> dict[str, Any]:
    """Render the account and its findings."""
    account = case.account
    roles = {each.principal.name for each in case.assessments if each.principal.kind == ROLE} | case.hybrid_roles
    return {
        "account": {
            "id": account.id,
            "alias": account.alias,
            "partition": account.partition,
            "label": account.label,
            "read_at": _format(account.read_at),
            "regions": list(account.regions),
        },
        "principals": [_principal(each, account) for each in case.assessments],
        "grantors": [asdict(each) for each in find_grantors(case)],
        "instance_profiles": [asdict(each) for each in _profiles(case)],
        "instances": [_without_machine(each) for each in account.instances],
        "nodes": [asdict(each) for each in account.nodes if each.is_ours or each.role in roles],
        "activations": [
            {**asdict(each), "expires": _format(each.expires)}
            for each in account.activations
            if each.is_ours or each.role in roles
        ],
        "parameters": [_parameter(case, each) for each in account.parameters],
        "history": [
            _history(each, parts, case.own_writers) for parts in group_parts(account.histories) for each in parts
        ],
        "unread": [asdict(each) for each in account.unread],
        "findings": [{**asdict(each), "account": account.id} for each in findings],
        "counts": count_severities(findings),
    }


def _without_machine(instance: InstanceUse) -> dict[str, Any]:
    """Return an instance without what no finding reads."""
    return {key: value for key, value in asdict(instance).items() if key != "machine"}


def _profiles(case: Case) -> list[Any]:
    """Return the instance profiles of the principals and of the instances."""
    roles = {each.principal.name for each in case.assessments if each.principal.kind == ROLE}
    used = {each.profile for each in case.account.instances}
    return [each for each in case.account.profiles if each.role in roles or each.name in used | roles]


def _principal(assessment: Assessment, account: Account) -> dict[str, Any]:
    principal = assessment.principal
    return {
        "kind": principal.kind,
        "name": principal.name,
        "arn": principal.arn,
        "access": principal.access,
        "managed": principal.managed,
        "created": _format(principal.created),
        "writes": assessment.writes,
        "writes_why": assessment.why,
        "is_administrator": assessment.is_administrator,
        "policies": sorted({each.name for each in principal.policies if each.arn}),
        "inline": sorted({each.name for each in principal.policies if not each.arn}),
        "boundary": principal.boundary.name if principal.boundary else None,
        "window": dict(assessment.window) if assessment.window else None,
        "access_keys": [_key(each, account.read_at) for each in principal.keys or ()],
        "instance_profiles": list(principal.profiles),
    }


def _key(key: Key, now: datetime) -> dict[str, Any]:
    return {
        "id": key.id,
        "active": key.active,
        "created": _format(key.created),
        "last_used": _format(key.used) if key.used else None,
        "last_used_known": key.used_known,
        "age_days": max((now - key.created).days, 0),
        "saved": key.saved,
        "saved_at": key.saved_at,
    }


def _parameter(case: Case, parameter: ConfigParameter) -> dict[str, Any]:
    problem = configuration_findings.parameter_problem(parameter)
    is_known = parameter.value is not None or problem is not None
    return {
        "name": parameter.name,
        "region": parameter.region,
        "tier": parameter.tier,
        "version": parameter.version,
        "size": configuration_findings.parameter_size(parameter),
        "limit": LIMITS.get(parameter.tier),
        "modified": _format(parameter.modified),
        "readable_by_server": ANSWERS[configuration_findings.readable_by_servers(case, parameter)],
        "valid": (NO if problem else YES) if is_known else UNKNOWN,
        "problem": problem,
    }


def _history(history: History, parts: Sequence[History], own: Collection[Writer]) -> dict[str, Any]:
    found = zip(history.versions, map(Writer.of, (each.writer for each in history.versions)), changes(history))
    return {
        "name": history.name,
        "region": history.region,
        "versions": [
            {
                "version": version.number,
                "modified": _format(version.modified),
                "writer": version.writer,
                "written_by": str(writer),
                "is_own": writer.principal in own,
                "size": None if version.value is None else len(version.value.encode()),
                "tier": version.tier,
                "labels": list(version.labels),
                "stored_with": [
                    {"name": name, "version": each.number}
                    for name, each in stored_together(parts, version)
                    if name != history.name
                ],
                "changes": changed,
            }
            for version, writer, changed in found
        ],
    }


def _format(time: datetime) -> str:
    return time.strftime(TIME_FORMAT)
