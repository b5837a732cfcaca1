"""Principals with fitted policies, and the fitted policies of an account."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from access_account import (
    ACCOUNT_ID,
    ADMIN,
    AGENT,
    HEALTHY,
    REGION,
    SERVER,
    case_of,
    document,
    healthy,
    history,
    hybrid_role,
    instance,
    parameter,
    role,
    version,
    with_fitted_policies,
)

from ansible_collections.cwagent.iam.plugins.module_utils._access.case import Choices
from ansible_collections.cwagent.iam.plugins.module_utils._access.covered import with_applied
from ansible_collections.cwagent.iam.plugins.module_utils._access.findings import find
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Policy
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.policy import Scope, Source, fit
from ansible_collections.cwagent.iam.plugins.module_utils._names import APPLIED_LABEL, ATTACHED_TAG

NAME = "AmazonCloudWatch-linux"
ADMIN_ARN = f"arn:aws:iam::{ACCOUNT_ID}:policy/cwagent/CloudWatchAgentFittedAdminPolicy"
FITTED_ARN = f"arn:aws:iam::{ACCOUNT_ID}:policy/cwagent/CloudWatchAgentFittedServerPolicy"
CONFIG = {
    "metrics": {"namespace": "Shop", "metrics_collected": {"mem": {}}},
    "logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/a", "log_group_name": "shop"}]}}},
}


def fitted_policy(config: Any, number: str = "") -> Policy:
    """A fitted policy for servers, as this collection writes it."""
    [found] = fit([Source(NAME, config, (NAME,), (REGION,))], Scope("aws", ACCOUNT_ID)).policies
    return Policy(f"CloudWatchAgentFittedServerPolicy{number}", found, f"{FITTED_ARN}{number}")


def fixes(rule: str, account: Any, **choices: Any) -> dict[str, str]:
    """By object, the fix of each finding of a rule."""
    return {each.object: each.fix for each in find(case_of(account, Choices(**choices))) if each.rule == rule}


def test_exact_permissions_are_no_finding() -> None:
    server = role("Server", fitted_policy(CONFIG))
    kept = tuple(each for each in HEALTHY.principals if each.access != "server")
    account = replace(HEALTHY, principals=(*kept, server), parameters=(parameter("linux", json.dumps(CONFIG)),))
    assert find(case_of(account)) == []


@pytest.mark.parametrize("allowed", [AGENT[:1], AGENT[1:], ["ssm:GetParameter"]])
def test_a_boundary_that_blocks_a_condition_or_some_log_groups_is_found(allowed: list[str]) -> None:
    boundary = Policy("Boundary", document(*allowed, "ssm:*"), f"arn:aws:iam::{ACCOUNT_ID}:policy/Boundary")
    account = healthy(role("Bounded", fitted_policy(CONFIG), boundary=boundary))
    [finding] = [each for each in find(case_of(account)) if each.rule == "boundary-blocks-agent"]
    assert [action for action in AGENT if action in finding.why] == [each for each in AGENT if each not in allowed]


@pytest.mark.parametrize("has_boundary", [False, True])
def test_an_instance_with_a_fitted_policy_has_access(has_boundary: bool) -> None:
    boundary = Policy("Boundary", document("ssm:*"), f"arn:aws:iam::{ACCOUNT_ID}:policy/Boundary")
    bounded = role("Bounded", fitted_policy(CONFIG), boundary=boundary if has_boundary else None)
    account = healthy(bounded, instance(2, "Bounded", in_inventory=True))
    assert fixes("instance-without-access", account) == {}
    needing_nothing = healthy(role("Exact", fitted_policy({})), instance(2, "Exact", in_inventory=True))
    assert fixes("instance-without-access", needing_nothing) == {}
    without = healthy(role("Empty", tags={}), instance(2, "Empty", in_inventory=True))
    assert "i-2" in fixes("instance-without-access", without)


def test_the_admin_policy_of_a_hybrid_role_has_a_command_whichever_it_is() -> None:
    account = with_fitted_policies(healthy(hybrid_role(ADMIN)))
    [fix] = fixes("hybrid-role-admin", account).values()
    assert fix.endswith(f":iam::{ACCOUNT_ID}:policy/cwagent/CloudWatchAgentFittedAdminPolicy")


@pytest.mark.parametrize(
    ("policies", "tag", "detached"),
    [
        ((fitted_policy(CONFIG),), "CloudWatchAgentFittedServerPolicy", [FITTED_ARN]),
        (
            (fitted_policy(CONFIG), fitted_policy(CONFIG, "-2")),
            "CloudWatchAgentFittedServerPolicy CloudWatchAgentFittedServerPolicy-2",
            [FITTED_ARN, f"{FITTED_ARN}-2"],
        ),
        (
            (fitted_policy(CONFIG), fitted_policy(CONFIG, "-2")),
            "CloudWatchAgentFittedServerPolicy -2",
            [FITTED_ARN, f"{FITTED_ARN}-2"],
        ),
        ((SERVER, fitted_policy(CONFIG)), "CloudWatchAgentFittedServerPolicy", [FITTED_ARN]),
        ((SERVER, fitted_policy(CONFIG)), "CloudWatchAgentServerPolicy", [SERVER.arn]),
        ((), "CloudWatchAgentFittedServerPolicy", []),
        ((fitted_policy(CONFIG),), "x; rm -rf ~", None),
    ],
)
def test_the_fitted_policy_of_an_application_role_is_found(
    policies: tuple[Policy, ...], tag: str, detached: list[str] | None
) -> None:
    account = healthy(role("Shop", *policies, tags={ATTACHED_TAG: tag}))
    found = fixes("attached-policy", account, attach_to_roles=frozenset())
    commands = [f"aws iam detach-role-policy --role-name Shop --policy-arn {arn}" for arn in detached or ()]
    untag = f"aws iam untag-role --role-name Shop --tag-keys {ATTACHED_TAG}"
    assert found == ({} if detached is None else {"Shop": "; ".join([*commands, untag])})
    others = [each.arn for each in policies if each.arn not in (detached or ())]
    without_tag = fixes("policy-without-tag", account, attach_to_roles=frozenset({"Shop"}))
    assert {*re.findall("arn:\\S+[^; ]", without_tag.get("Shop", ""))} == {*others}


@pytest.mark.parametrize(
    ("fitted", "tags", "words"),
    [
        (True, {"cwagent:managed": "created"}, "cwagent.iam.apply"),
        (True, {}, "cwagent.iam.apply"),
        (False, {"cwagent:managed": "created"}, "set cwagent_server_policy to fitted"),
        (False, {ATTACHED_TAG: "CloudWatchAgentServerPolicy"}, "set cwagent_server_policy to fitted"),
        (False, {}, "the playbook cwagent.iam.policy prints"),
    ],
)
def test_a_policy_that_is_too_wide_is_narrowed_in_its_own_way(fitted: bool, tags: dict[str, str], words: str) -> None:
    wide = document(*AGENT, "ssm:GetParameter")
    policy = replace(fitted_policy(CONFIG), document=wide) if fitted else replace(SERVER, document=wide)
    account = healthy(role("Wide", policy, tags=tags))
    account = replace(account, parameters=(parameter("linux", json.dumps(CONFIG)),))
    assert words in fixes("unused-permissions", account)["Wide"]


# -- Drift --

CREATED = {"cwagent:managed": "created"}
PUT_LINUX = document("ssm:PutParameter", resource=[f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter/{NAME}"])
WIDER = {"logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/a", "log_group_name": "{hostname}"}]}}}}
EMF = {"logs": {"metrics_collected": {"emf": {}}}}
[EMF_POLICY] = fit([Source(NAME, EMF, (NAME,), (REGION,))], Scope("aws", ACCOUNT_ID, ("orders",))).policies
OTHER_NAME = {**CONFIG, "metrics": {"namespace": "Blog", "metrics_collected": {"mem": {}}}}
FOREIGN_ACTION = document("s3:GetObject", Sid="Planted")
FOREIGN_FORM = document("ssm:GetParameter", Sid="Denied", effect="Deny")


def admin_policy(documented: Any = PUT_LINUX) -> Policy:
    return Policy("CloudWatchAgentFittedAdminPolicy", documented, ADMIN_ARN)


def adding(policy: Policy, *documents: Any) -> Policy:
    """The policy with more statements."""
    assert policy.document is not None
    more = [statement for each in documents for statement in each["Statement"]]
    return replace(policy, document={**policy.document, "Statement": [*policy.document["Statement"], *more]})


def drift(*policies: Policy, config: Any = CONFIG, tags: Any = CREATED, more: Any = (), **choices: Any) -> list[str]:
    """The reasons of the findings about fitted policies, of which a server and a user have the same."""
    holders = (role("Other", *policies), role("Server", *policies))
    kept = tuple(each for each in HEALTHY.principals if each.access is None)
    found = [parameter("linux", config if config is None or isinstance(config, str) else json.dumps(config)), *more]
    account = replace(
        HEALTHY,
        principals=(*kept, *holders),
        parameters=tuple(found),
        histories=choices.pop("histories", ()),
        policy_tags={} if tags is None else {str(each.arn): tags for each in policies},
    )
    findings = [each for each in find(case_of(account, Choices(**choices))) if each.rule == "fitted-policy"]
    assert {(each.severity, each.object) for each in findings} <= {("warning", each.name) for each in policies}
    return [each.why for each in findings]


@pytest.mark.parametrize(
    ("policies", "more"),
    [
        ((fitted_policy(CONFIG),), {}),
        ((fitted_policy(CONFIG), admin_policy()), {}),
        # Only wider: because of earlier versions, of other configurations, and of another account of the user.
        ((adding(fitted_policy(CONFIG), fitted_policy(WIDER).document, fitted_policy(OTHER_NAME).document),), {}),
        # Unknown: the policy, the tags, the configuration, or what it needs.
        ((replace(fitted_policy(CONFIG), document=None),), {}),
        ((fitted_policy(CONFIG),), {"tags": None}),
        ((fitted_policy(CONFIG),), {"config": None}),
        ((fitted_policy(CONFIG),), {"config": "no JSON"}),
        ((fitted_policy(CONFIG),), {"config": EMF}),
        ((replace(fitted_policy(CONFIG), document=EMF_POLICY),), {"config": EMF, "emf_log_groups": ("orders",)}),
        # The user has left it out, everywhere or in its region.
        (
            (fitted_policy(CONFIG), admin_policy()),
            {"config": OTHER_NAME, "ignored_parameters": frozenset({f"{REGION}:{NAME}"})},
        ),
        ((fitted_policy(CONFIG), admin_policy()), {"config": OTHER_NAME, "ignored_parameters": frozenset({NAME})}),
    ],
)
def test_a_fitted_policy_that_allows_enough_is_no_finding(policies: tuple[Policy, ...], more: Any) -> None:
    assert drift(*policies, **more) == []


@pytest.mark.parametrize(
    ("policies", "more", "words"),
    [
        (
            (fitted_policy(CONFIG),),
            {"config": OTHER_NAME},
            "of role 'Other', role 'Server' lacks what stored configurations need: cloudwatch:PutMetricData with clou",
        ),
        ((fitted_policy(CONFIG),), {"more": [parameter("web", json.dumps(EMF)), parameter("db")]}, "parameter/Amazon"),
        (
            (fitted_policy(CONFIG),),
            {"config": EMF, "emf_log_groups": ("orders",)},
            "logs:PutLogEvents on arn:aws:logs:",
        ),
        (
            (fitted_policy(CONFIG),),
            {"config": OTHER_NAME, "ignored_parameters": frozenset({f"us-east-1:{NAME}"})},
            "namespace Blog",
        ),
        ((fitted_policy(CONFIG), admin_policy()), {"more": [parameter("db")]}, "ssm:PutParameter on arn:aws:ssm:eu-"),
        ((adding(fitted_policy(CONFIG), FOREIGN_ACTION),), {}, "does not write these statements: Planted."),
        ((adding(fitted_policy(CONFIG), FOREIGN_FORM),), {}, "does not write these statements: Denied."),
        *(
            ((adding(fitted_policy(CONFIG), document(each)),), {}, "does not write these statements: without a Sid.")
            for each in ("*", "iam:*", "ssm:GetParameter", "kms:Decrypt", "ssm:PutParameter", "logs:PutRetentionPolicy")
        ),
        ((adding(fitted_policy(CONFIG), PUT_LINUX),), {}, "does not write these statements: without a Sid."),
        (
            (fitted_policy(CONFIG), adding(admin_policy(), fitted_policy(CONFIG).document)),
            {},
            "policy CloudWatchAgentFittedAdminPolicy. This collection does not write these statements: ReadingTheConf",
        ),
        ((fitted_policy(CONFIG),), {"tags": {}}, f"Somebody else created policy {FITTED_ARN}, because it has no tag"),
        ((fitted_policy(CONFIG),), {"tags": {"cwagent:managed": "adopted"}}, "Somebody else created policy"),
    ],
)
def test_a_fitted_policy_that_lacks_something_or_that_others_wrote_is_found_once(
    policies: tuple[Policy, ...], more: Any, words: str
) -> None:
    [why] = drift(*policies, **more)
    assert words in why


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([(), (), ()], ["namespace Blog", "namespace Old"]),
        ([(), (APPLIED_LABEL,), ()], ["namespace Blog"]),
        ([(APPLIED_LABEL,), (), ()], []),
        ([(APPLIED_LABEL,), (), ("stable",)], ["namespace Old"]),
    ],
)
def test_a_policy_needs_what_each_version_needs_that_agents_can_run(labels: Any, words: list[str]) -> None:
    texts = [json.dumps({"metrics": {"namespace": each, "metrics_collected": {}}}) for each in ("Shop", "Blog", "Old")]
    versions = [
        version(3 - place, value=text, labels=found)
        for place, (text, found) in enumerate(zip(texts, labels, strict=True))
    ]
    whys = " ".join(drift(fitted_policy(CONFIG), histories=(history(*versions),)))
    assert [each for each in ("namespace Blog", "namespace Old") if each in whys] == words


@pytest.mark.parametrize(("number", "labelled"), [(None, [2]), (3, [3]), (2, [2]), (9, [])])
def test_the_label_of_apply_moves_in_a_history_as_it_moves_in_parameter_store(
    number: int | None, labelled: list[int]
) -> None:
    before = history(version(3), version(2, labels=(APPLIED_LABEL, "stable")), version(1, labels=("old",)))
    after = with_applied(before, number).versions
    assert [each.number for each in after if APPLIED_LABEL in each.labels] == labelled
    assert [{*each.labels} - {APPLIED_LABEL} for each in after] == [set(), {"stable"}, {"old"}]
