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

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_input import Choices
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_result import find
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.covered_versions import with_applied
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.fitting_findings import unread_regions
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import CONTENT, Policy, Unread
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import PARAMETERS as MISSING
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import Scope, Source, fit
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import APPLIED_LABEL, ATTACHED_TAG

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
    text = config if config is None or isinstance(config, str) else json.dumps(config)
    found = [parameter("linux", text, version=choices.pop("version", 2)), *more]
    account = replace(
        HEALTHY,
        principals=(*kept, *holders),
        parameters=tuple(found),
        histories=choices.pop("histories", ()),
        policy_tags={} if tags is None else {str(each.arn): tags for each in policies},
        enabled_regions=choices.pop("enabled_regions", None),
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
        ((adding(fitted_policy(CONFIG), FOREIGN_ACTION),), {}, "needs this: s3:GetObject on *."),
        ((adding(fitted_policy(CONFIG), FOREIGN_FORM),), {}, "needs this: statement Denied."),
        *(
            ((adding(fitted_policy(CONFIG), document(each)),), {}, f"No stored configuration needs this: {each} on *.")
            for each in ("*", "iam:*", "ssm:GetParameter", "kms:Decrypt", "ssm:PutParameter", "logs:PutRetentionPolicy")
        ),
        ((adding(fitted_policy(CONFIG), PUT_LINUX),), {}, "needs this: ssm:PutParameter on arn:aws:ssm:"),
        (
            (fitted_policy(CONFIG), adding(admin_policy(), fitted_policy(CONFIG).document)),
            {},
            "policy CloudWatchAgentFittedAdminPolicy, or a run was interrupted before it stored. No stored",
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


# -- Hand edits --

ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/OrganizationAccountAccessRole"
ASSUMING = document("sts:AssumeRole", resource=ROLE)
GROUPS = f"arn:aws:logs:{REGION}:{ACCOUNT_ID}:log-group"
PARAMETERS = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter"


def with_role(role: str) -> dict[str, Any]:
    return {**CONFIG, "agent": {"credentials": {"role_arn": role}}}


def decrypting(name: str) -> dict[str, Any]:
    key = {"kms:EncryptionContext:PARAMETER_ARN": f"{PARAMETERS}/{name}"}
    return document("kms:Decrypt", Condition={"StringLike": key})


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (ASSUMING, f"sts:AssumeRole on {ROLE}"),
        (document("ssm:GetParameter", resource=f"{PARAMETERS}/prod/db/password"), "parameter/prod/db/password"),
        (decrypting("cwagent/keys/CloudWatchAgentAdminUser"), "kms:Decrypt with kms:EncryptionContext:PARAMETER_ARN"),
        (document("logs:PutLogEvents", resource=f"{GROUPS}:audit:*"), f"logs:PutLogEvents on {GROUPS}:audit:*"),
        (document("logs:PutLogEvents", resource=f"{GROUPS}:*:*"), f"{GROUPS}:*:*"),
        (document("logs:PutLogEvents", resource=f"{GROUPS.replace(REGION, '*')}:shop:*"), ":*:123456789012:log-group:"),
        (document("ec2:DescribeTags"), "ec2:DescribeTags on *"),
        (document("xray:PutTraceSegments", "logs:PutLogEvents"), "logs:PutLogEvents on *, xray:PutTraceSegments on *"),
        (
            document("cloudwatch:PutMetricData", Condition={"StringEquals": {"cloudwatch:namespace": ["Blog"]}}),
            "cloudwatch:PutMetricData with cloudwatch:namespace Blog",
        ),
    ],
)
def test_a_hand_edit_is_found(added: Any, words: str) -> None:
    [why] = drift(adding(fitted_policy(CONFIG), added), version=1)
    assert why.startswith("Somebody has changed policy CloudWatchAgentFittedServerPolicy, or a run was interrupted")
    assert words in why


def test_a_hand_edit_is_counted_if_a_policy_covers_an_encrypted_configuration() -> None:
    """It can have come from the configuration, which was deleted, and which nothing shows."""
    own, second = fitted_policy(CONFIG), fitted_policy(CONFIG, "-2")
    for policies in (
        (adding(own, ASSUMING, decrypting("AmazonCloudWatch-b")), second),
        (adding(own, ASSUMING), adding(second, decrypting("AmazonCloudWatch-b"))),
    ):
        [why] = drift(*policies, version=1)
        assert why.endswith("needs this: sts:AssumeRole on 1 (not shown, because configurations are encrypted).")


TEXTS = [json.dumps(each) for each in (CONFIG, OTHER_NAME, with_role(ROLE))]
WIDENED = adding(fitted_policy(CONFIG), fitted_policy(OTHER_NAME).document)
ELSEWHERE = f"{PARAMETERS}/AmazonCloudWatch-x".replace(REGION, "us-east-1")
DELETED = document("ssm:GetParameter", resource=[f"{PARAMETERS}/AmazonCloudWatch-old"])


@pytest.mark.parametrize(
    ("policy", "more", "found"),
    [
        (fitted_policy(CONFIG), {}, []),
        (WIDENED, {}, ["Blog"]),
        # Another version was read.
        (WIDENED, {"version": 2, "histories": (history(version(2, value=TEXTS[0]), version(1, value=TEXTS[1])),)}, []),
        (
            adding(WIDENED, ASSUMING),
            {"version": 2, "histories": (history(version(2, value=TEXTS[0]), version(1, value=TEXTS[1])),)},
            ["AssumeRole"],
        ),
        (
            adding(fitted_policy(CONFIG), ASSUMING),
            {"version": 2, "histories": (history(version(2, value=TEXTS[0]), version(1, value=TEXTS[2])),)},
            [],
        ),
        # Another version was not read, or the text of a parameter that was deleted or left out.
        (adding(WIDENED, ASSUMING), {"version": 2}, ["AssumeRole"]),
        (
            adding(WIDENED, ASSUMING),
            {"version": 2, "histories": (history(version(2, value=TEXTS[0]), version(1, value=None)),)},
            ["AssumeRole"],
        ),
        (adding(WIDENED, ASSUMING, DELETED), {}, ["AssumeRole"]),
        (
            adding(WIDENED, ASSUMING, DELETED),
            {"more": [parameter("old")], "ignored_parameters": frozenset({"AmazonCloudWatch-old"})},
            ["AssumeRole"],
        ),
        # A parameter was not read, or its needs are not known.
        (adding(WIDENED, ASSUMING), {"more": [parameter("db", None)]}, []),
        (
            adding(WIDENED, ASSUMING),
            {"more": [parameter("db", None)], "ignored_parameters": frozenset({"AmazonCloudWatch-db"})},
            ["Blog", "AssumeRole"],
        ),
        (adding(WIDENED, ASSUMING), {"more": [parameter("db", "no JSON")]}, []),
        (adding(WIDENED, ASSUMING), {"more": [parameter("db", json.dumps(EMF))]}, []),
        # The policy allows reading in another region, which was not read, or which the account does not have.
        (adding(WIDENED, ASSUMING, document("ssm:GetParameter", resource=ELSEWHERE)), {}, []),
        *(
            (
                adding(WIDENED, ASSUMING, document("ssm:GetParameter", resource=ELSEWHERE)),
                {"enabled_regions": frozenset(enabled)},
                found,
            )
            for enabled, found in (([REGION, "us-east-1"], []), ([REGION], ["AssumeRole"]), ([], ["AssumeRole"]))
        ),
        (
            adding(WIDENED, ASSUMING, document("ssm:GetParameter", resource=ELSEWHERE)),
            {"ignored_parameters": frozenset({"us-east-1:AmazonCloudWatch-x"})},
            ["AssumeRole"],
        ),
    ],
)
def test_anything_that_a_text_can_need_is_no_hand_edit(policy: Policy, more: Any, found: list[str]) -> None:
    whys = " ".join(each for each in drift(policy, **{"version": 1, **more}) if "lacks" not in each)
    assert [each for each in ("Blog", "AssumeRole") if each in whys] == found


@pytest.mark.parametrize(
    ("regions", "unread"),
    [
        ([REGION], set()),
        ([REGION, "us-east-1"], {"us-east-1"}),
        (["*"], set()),
        (["x-made-up-1", "*"], {"x-made-up-1"}),
    ],
)
def test_regions_that_a_fitted_policy_allows_reading_and_that_were_not_read_are_known(
    regions: list[str], unread: set[str]
) -> None:
    arns = [f"{PARAMETERS}/AmazonCloudWatch-x".replace(REGION, each) for each in regions]
    reading = document("ssm:GetParameter", resource=arns)
    account = replace(HEALTHY, principals=(role("Server", adding(fitted_policy(CONFIG), reading)),))
    assert unread_regions(account) == unread
    other = Policy("Other", reading, f"arn:aws:iam::{ACCOUNT_ID}:policy/Other")
    assert unread_regions(replace(HEALTHY, principals=(role("Server", other),))) == set()


def test_where_parameters_cannot_be_read_only_the_form_counts() -> None:
    holder = role("Server", adding(WIDENED, ASSUMING, FOREIGN_ACTION))
    for what in (MISSING, CONTENT):
        unread = Unread(what, "ssm:DescribeParameters", REGION, "denied")
        account = replace(HEALTHY, principals=(holder,), parameters=(), unread=(unread,))
        [why] = [each.why for each in find(case_of(account)) if each.rule == "fitted-policy"]
        assert why.endswith("needs this: s3:GetObject on *.")
