# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings about policies that allow more or less than the stored configurations need. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from .._configuration.permissions import permissions_of
from .._configuration.policy import (
    ANY,
    compile_each,
    covers_encrypted,
    describe,
    describe_each,
    fit,
    grants_of,
    join,
    read_document,
)
from .._ground.errors import InvalidInput
from .._ground.findings import NOTICE, PRINCIPAL, WARNING, Rule
from .._ground.names import ATTACHED_TAG, CREATED, MARK_TAG, fitted_access, is_created, is_fitted_policy
from .._ground.text import join_first
from .._principals.policies import ACCESS_POLICIES
from .._principals.window_policy import PUT
from .assess import LOGS, SITE
from .audit_input import MAX_LISTED
from .covered_versions import (
    Text,
    Unread,
    covered_versions,
    find_sources,
    find_unexplained,
    is_ignored,
    known_grants,
    readable_parameters,
)
from .evaluate import Decision, Policies, RequestKeys, decide, decide_each
from .model import CONTENT, PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .._configuration.policy import Statement
    from .._ground.findings import Finding
    from .audit_input import Case
    from .model import Account, Policy, Principal


# The use of log groups that each action allows, with the worst first.
_LOG_GROUP_USES = {
    "logs:PutRetentionPolicy": "change the retention of every log group",
    LOGS: "write to every log group",
}

UNUSED_PERMISSIONS = Rule(
    "unused-permissions",
    PRINCIPAL,
    (NOTICE,),
    "a server principal allows more than the stored configurations need",
    listed=False,
)
FITTED_POLICY = Rule(
    "fitted-policy",
    PRINCIPAL,
    (WARNING,),
    "a fitted policy lacks what a stored configuration needs, or somebody else created or changed it",
)


def _excess_findings(case: Case) -> Iterator[Finding]:
    """Report server principals that may use every log group, unless the stored configurations need that.

    Namespaces of metrics do not count: anyone who may write a log event can write metrics in every namespace.
    """
    account, fitted = case.account, _fit_configurations(case)
    groups = [f"arn:{account.partition}:logs:{region}:{account.id}:log-group:*:*" for region in account.regions]
    unused = {
        action: use
        for action, use in _LOG_GROUP_USES.items()
        if fitted and all(decide_each(fitted, action, each) is not Decision.YES for each in groups)
    }
    for each in (assessment.principal for assessment in case.assessments):
        excess = [
            use
            for action, use in unused.items()
            if each.access == "server" and any(case.decide(each, action, group) is Decision.YES for group in groups)
        ]
        if excess:
            why = f"It may {' and '.join(excess)}. The stored configurations need only some log groups."
            yield UNUSED_PERMISSIONS.finding(each.name, why, _describe_fitting(each))


def _describe_fitting(principal: Principal) -> str:
    """Return how a principal loses what the stored configurations do not need."""
    if principal.has_fitted_policy:
        return "Run the playbook cwagent.iam.apply. It narrows the policy if all servers run the stored versions."
    if principal.managed or ATTACHED_TAG in principal.tags:
        return "Decide whether to set cwagent_server_policy to fitted, and run the playbook cwagent.iam.site."
    policy = ACCESS_POLICIES["server"]
    return f"Decide whether to replace {policy} with the policy that the playbook cwagent.iam.policy prints."


def _fit_configurations(case: Case) -> Policies | None:
    """Return the fitted policy of the stored configurations; ``None`` if it is not known, or they collect nothing."""
    account = case.account
    texts = [Text(each.name, each.region, each.value or "", each.name) for each in account.parameters]
    sources, problems = find_sources(texts)
    is_known = not problems and not any(each.what == PARAMETERS for each in account.unread)
    if not is_known or not any(isinstance(each.config, dict) and permissions_of(each.config) for each in sources):
        return None
    try:
        return Policies(fit(sources, case.fitted_scope).policies)
    except InvalidInput:
        return None


def _drift_findings(case: Case) -> Iterator[Finding]:
    """Report fitted policies that lack something, or that this collection did not write.

    A policy that only allows what earlier versions of configurations need is no finding, because agents can run them.
    """
    fitted: dict[str, Policy] = {}
    holders: dict[tuple[str, ...], list[Principal]] = defaultdict(list)
    for each in case.account.principals:
        if each.has_fitted_policy:
            own = {policy.arn: policy for policy in each.policies if policy.arn and is_fitted_policy(policy.arn)}
            holders[tuple(sorted(own))].append(each)
            fitted |= own
    needed = _needed(case) if holders else []
    for arns, principals in sorted(holders.items()):
        policies = [fitted[each] for each in arns]
        lacking = _lacking(case, policies, needed)
        if lacking:
            names = ", ".join(each.name for each in policies)
            held = join_first([each.label for each in principals], MAX_LISTED)
            why = f"{names} of {held} lacks what stored configurations need: {join_first(lacking, MAX_LISTED)}."
            yield FITTED_POLICY.finding(policies[0].name, why, f"{SITE} with cwagent_server_policy=fitted.")
    texts = [each for each in _stored_texts(case) if each.value]
    known = known_grants(texts if fitted else (), case.account.regions, case.fitted_scope)
    unread = _unread(case, fitted.values()) if known.is_complete else Unread.STORED
    is_encrypted = covers_encrypted(each.document for each in fitted.values() if each.document)
    for arn, policy in sorted(fitted.items()):
        added = grants_of(find_unexplained(_read(policy)[0], known.grants | grants_of(needed), unread))
        listed = describe_each(added, known.shown if is_encrypted else None)
        yield from _foreign_parts(policy, case.account.policy_tags.get(arn), listed)


def _stored_texts(case: Case) -> list[Text]:
    """Return the texts of all versions that were read, and of the parameters that were not."""
    account, ignored = case.account, case.choices.ignored_parameters
    places = [(each.name, each.region, each.value) for each in account.parameters]
    places += [(each.name, each.region, one.value) for each in account.histories for one in each.versions]
    return [
        Text(name, region, value or "", name) for name, region, value in places if not is_ignored(region, name, ignored)
    ]


def _unread(case: Case, fitted: Iterable[Policy]) -> Unread:
    """Return the texts that were not read, and that can need something in fitted policies."""
    account, ignored = case.account, case.choices.ignored_parameters
    stored = {(each.region, each.name): each for each in account.parameters}
    readable = {
        (each, name) for region, name in _readable(fitted) for each in (account.regions if region == ANY else (region,))
    }
    # A region that is not enabled has no configuration that agents can run.
    enabled = account.enabled_regions
    elsewhere = [
        each for each in readable if each[0] not in account.regions and (enabled is None or each[0] in enabled)
    ]
    if (
        any(each.what in (PARAMETERS, CONTENT) for each in account.unread)
        or any(each.value is None and not is_ignored(each.region, each.name, ignored) for each in stored.values())
        or any(not is_ignored(*each, ignored) for each in elsewhere)
    ):
        return Unread.STORED
    histories = {(each.region, each.name) for each in account.histories}
    has_earlier = any(each.version > 1 and place not in histories for place, each in stored.items())
    has_unread = any(not version.value for each in account.histories for version in each.versions)
    has_others = any(each not in stored or is_ignored(*each, ignored) for each in readable)
    return Unread.EARLIER if has_earlier or has_unread or has_others else Unread.NOTHING


def unread_regions(account: Account) -> set[str]:
    """Return the regions that were not read, and in which fitted policies allow reading a configuration."""
    policies = [each for principal in account.principals for each in principal.policies]
    fitted = [each for each in policies if each.arn and is_fitted_policy(each.arn)]
    return {region for region, _name in _readable(fitted)} - {ANY, *account.regions}


def _readable(fitted: Iterable[Policy]) -> set[tuple[str, str]]:
    """Return by region and name the parameters that fitted policies allow reading."""
    return readable_parameters(statement for policy in fitted for statement in _read(policy)[0])


def _needed(case: Case) -> list[Statement]:
    """Return what the stored configurations need, and the known versions that agents can run.

    Texts that are unknown or refused are missing.
    """
    places = [(each.name, each.region, each.value) for each in case.account.parameters]
    for history in case.account.histories:
        places += [(history.name, history.region, each.value) for each in covered_versions(history.versions)]
    texts = [
        Text(name, region, value, name)
        for name, region, value in dict.fromkeys(places)
        if value and not is_ignored(region, name, case.choices.ignored_parameters)
    ]
    compiled = compile_each(find_sources(texts)[0], case.fitted_scope)
    return join(statement for each in compiled if not each.refusals for statement in each.statements)


def _lacking(case: Case, policies: Sequence[Policy], needed: Sequence[Statement]) -> list[str]:
    """Return in words what fitted policies lack; nothing if one of them was not read."""
    documents = [each.document for each in policies if each.document is not None]
    if len(documents) < len(policies):
        return []
    policies_of_all = Policies(documents)
    allowed = grants_of(statement for each in policies for statement in _read(each)[0])
    found = []
    for action, condition, name in sorted(grants_of(needed) - allowed):
        context = RequestKeys({condition[1]: name} if condition else {})
        # Somebody can have written it in another way.
        if decide_each(policies_of_all, action, "*" if condition else name, context) is not Decision.YES:
            found.append(describe((action, condition, name)))
    if any(fitted_access(each.arn or "") == "admin" for each in policies):
        places = [(each.region, each.name) for each in case.account.parameters]
        arns = [case.parameter_arn(*each) for each in places if not is_ignored(*each, case.choices.ignored_parameters)]
        denied = [each for each in arns if decide(policies_of_all, PUT, each) is Decision.NO]
        found += [f"{PUT} on {each}" for each in denied]
    return found


def _foreign_parts(policy: Policy, tags: Mapping[str, str] | None, added: Iterable[str]) -> Iterator[Finding]:
    """Report a policy or parts of it that this collection did not write. :param tags: ``None`` if they are not known.

    :param added: in words, everything that no configuration needs.
    """
    if tags is not None and not is_created(tags):
        why = f"Somebody else created policy {policy.arn}, because it has no tag {MARK_TAG}={CREATED}."
        fix = "Decide whether to detach and delete it; if so, run the playbook cwagent.iam.site afterwards."
        yield FITTED_POLICY.finding(policy.name, why, fix)
        return
    parts = [*dict.fromkeys(_read(policy)[1]), *added]
    if parts:
        listed = join_first(parts, MAX_LISTED)
        why = (
            f"Somebody has changed policy {policy.name}, or a run was interrupted before it stored. No stored "
            f"configuration needs this: {listed}."
        )
        fix = (
            "Find the call in CloudTrail: aws cloudtrail lookup-events --region us-east-1 --lookup-attributes "
            f"AttributeKey=EventName,AttributeValue=CreatePolicyVersion. {SITE} with cwagent_server_policy=fitted, "
            "which removes it."
        )
        yield FITTED_POLICY.finding(policy.name, why, fix)


def _read(policy: Policy) -> tuple[list[Statement], list[Any]]:
    return read_document(policy.document or {}, policy.arn or "")


CHECKS = (_excess_findings, _drift_findings)
