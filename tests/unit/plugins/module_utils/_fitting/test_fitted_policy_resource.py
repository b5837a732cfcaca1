"""The decisions between the plan of fitted policies and IAM: whose they are, who has them, and when a run gives up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import Statement, to_document
from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_plan import (
    CHANGED,
    NAME_USED,
    Check,
    DesiredPolicies,
)
from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_policy import FittedPolicies
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    DENIED_CODES,
    TOO_MANY_VERSIONS,
    AwsApiError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.gateway import Gateway
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Kind, Step

ACCOUNT, NAME = "123456789012", "CloudWatchAgentFittedServerPolicy"
ARN = f"arn:aws:iam::{ACCOUNT}:policy/cwagent/{NAME}"
OURS = {"cwagent:managed": "created"}
GROUP = f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:shop:*"
NEEDED = [Statement("SendingLogEvents", ("logs:PutLogEvents",), (), (GROUP,))]


class Iam(Gateway):
    """An IAM with one fitted policy. :param errors: by operation, the code with which it answers."""

    now: Any = None

    def __init__(self, tags: Mapping[str, str] = OURS, **errors: str) -> None:
        super().__init__()
        self.tags, self.errors, self.done = tags, errors, list[str]()
        self.holders: dict[str, list[dict[str, str]]] = {"PolicyRoles": [], "PolicyUsers": [], "PolicyGroups": []}

    def call(self, action: str, description: str, max_attempts: int = 0, **arguments: Any) -> dict[str, Any]:
        operation = action.removeprefix("iam:")
        self.done.append(operation)
        if operation in self.errors:
            raise AwsApiError(f"Could not {description}.", self.errors[operation], action)
        version = {"VersionId": "v1", "IsDefaultVersion": True, "Document": to_document(NEEDED)}
        answers: dict[str, dict[str, Any]] = {
            "ListPolicies": {"Policies": [{"PolicyName": NAME, "Arn": ARN}]},
            "GetPolicy": {"Policy": {"Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()]}},
            "ListPolicyVersions": {"Versions": [version]},
            "GetPolicyVersion": {"PolicyVersion": version},
            "ListEntitiesForPolicy": self.holders,
        }
        return answers.get(operation, {})

    def _identity(self) -> str | None:
        return None

    def _renew_credentials(self) -> None: ...


def policies(iam: Any, **more: Any) -> FittedPolicies:
    return FittedPolicies(iam, DesiredPolicies("aws", ACCOUNT, {"server": NEEDED}), **more)


@pytest.mark.parametrize("tags", [{}, {"cwagent:managed": "adopted"}])
def test_a_policy_of_others_is_refused_unless_it_is_to_be_deleted(tags: dict[str, str]) -> None:
    resource = policies(Iam(tags))
    current = resource.read()
    for refuse in (resource.check_preconditions, resource.plan):
        with pytest.raises(InvalidInput, match="does not have the tag cwagent:managed=created"):
            refuse(current)
    absent = policies(Iam(tags), is_absent=True)
    absent.check_preconditions(current)
    assert absent.plan(current).all_steps == []
    ours = policies(Iam())
    ours.check_preconditions(ours.read())
    assert ours.plan(ours.read()).all_steps == []


@pytest.mark.parametrize("is_absent", [False, True])
def test_blockers_are_reported_where_policies_should_be_absent(is_absent: bool) -> None:
    iam = Iam()
    iam.holders["PolicyRoles"] = [{"RoleName": "Shop"}]
    resource = policies(iam, is_absent=is_absent)
    plan = resource.plan(resource.read())
    blockers = [f"policy {ARN} is attached to role 'Shop'"]
    result = resource.to_result(plan, plan.planned)
    if is_absent:
        assert result == {"blockers": blockers}
        assert resource.warnings(plan) == [f"not deleted: {each}" for each in blockers]
    else:
        assert result == {"server_policies": [ARN], "admin_policies": []}
        assert resource.warnings(plan) == []
        assert "ListEntitiesForPolicy" not in iam.done


@pytest.mark.parametrize(
    ("lost", "remains"),
    [([ARN], False), ([], True), ([f"{ARN}-2"], True), ([f"{ARN}-2", ARN], False)],
)
@pytest.mark.parametrize(("kind", "plural"), [("role", "PolicyRoles"), ("user", "PolicyUsers")])
def test_only_a_principal_that_has_lost_this_policy_no_longer_has_it(
    lost: list[str], remains: bool, kind: str, plural: str
) -> None:
    iam = Iam()
    iam.holders[plural] = [{f"{kind.title()}Name": "Shop"}, {f"{kind.title()}Name": "Other"}]
    earlier = {"changed": True, "detached": [{"kind": kind, "name": "Shop", "policy": each} for each in lost]}
    found = policies(iam, is_absent=True, planned=[earlier]).read().policies[NAME].holders
    assert found == (*([(kind, "Shop")] if remains else []), (kind, "Other"))


UNDO = Step(Kind.UPDATE, "iam:UntagPolicy", {"policy_arn": ARN, "tag_keys": ["x"]}, "remove the tags of this run")
NO_UNDO = ("NoSuchEntity", "Throttling", "ServiceFailure", "EntityAlreadyExists", CHANGED, TOO_MANY_VERSIONS)


def creation(*stale_when: str, undo: Step | None = UNDO) -> Step:
    arguments = {"policy_arn": ARN, "policy_document": {}, "set_as_default": False}
    action, context = "iam:CreatePolicyVersion", Check(undo=undo)
    return Step(Kind.UPDATE, action, arguments, "create it", stale_when=frozenset(stale_when), context=context)


@pytest.mark.parametrize(
    ("code", "is_undone"),
    [
        *((code, True) for code in (*sorted(DENIED_CODES), "LimitExceeded", "MalformedPolicyDocument", NAME_USED)),
        *((code, False) for code in NO_UNDO),
    ],
)
def test_the_tags_of_a_run_go_only_if_aws_refuses_its_step(code: str, is_undone: bool) -> None:
    iam = Iam(CreatePolicyVersion=code)
    with pytest.raises(AwsApiError) as raised:
        policies(iam).execute(creation())
    assert raised.value.code == code
    assert ("The tags of this run were removed again." in str(raised.value)) == is_undone
    assert iam.done == ["CreatePolicyVersion", *["UntagPolicy"] * is_undone]


@pytest.mark.parametrize("step", [creation("LimitExceeded"), creation(undo=None)])
def test_the_tags_of_a_run_stay_if_it_plans_again_or_has_none(step: Step) -> None:
    iam = Iam(CreatePolicyVersion="LimitExceeded")
    with pytest.raises(AwsApiError):
        policies(iam).execute(step)
    assert iam.done == ["CreatePolicyVersion"]


def test_tags_that_cannot_be_removed_are_reported() -> None:
    iam = Iam(CreatePolicyVersion="AccessDenied", UntagPolicy="AccessDenied")
    with pytest.raises(
        AwsApiError, match=r"create it\. Could not remove the tags of this run\. .* for a day"
    ) as raised:
        policies(iam).execute(creation())
    assert (raised.value.code, raised.value.action) == ("AccessDenied", "iam:CreatePolicyVersion")
