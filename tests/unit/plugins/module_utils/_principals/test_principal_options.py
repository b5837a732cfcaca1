from __future__ import annotations

import re
from typing import Any

import pytest
from aws_account import MANAGED, Account, Principal
from declarations import ADMIN, BOUNDARY, CUSTOM, FITTED, FITTED_ADMIN, SERVER, SSM_CORE, SSM_DEPRECATED

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principals import principal
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal import (
    PRINCIPAL_SPEC,
    declared_principal,
    with_policy_arns,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import Declared, PrincipalState


def declare(region: str | None = "eu-central-1", **params: Any) -> Declared:
    """The declaration from these options, with the defaults of all others."""
    defaults = {option: settings.get("default") for option, settings in PRINCIPAL_SPEC.items()}
    return declared_principal({**defaults, "access": "server", **params}, region)


def test_declared():
    found = declare(managed_policies=[CUSTOM], iam_path="/m/", permissions_boundary=BOUNDARY, exclusive=True)
    assert (found.attach, found.detach) == (frozenset({SERVER, CUSTOM}), frozenset({ADMIN}))
    assert found.managed == {SERVER, ADMIN, SSM_CORE, SSM_DEPRECATED, CUSTOM}
    assert (found.path, found.boundary, found.exclusive, found.tags) == ("/m/", BOUNDARY, True, None)


def test_the_agent_policies_are_managed_even_without_access():
    assert declare(access=None, state="absent").managed == {SERVER, ADMIN, SSM_CORE, SSM_DEPRECATED}


def test_other_policies_for_the_access_are_attached_instead_of_aws_policy():
    found = declare(access_policies=[*FITTED, CUSTOM])
    assert (found.attach, found.detach) == (frozenset({*FITTED, CUSTOM}), frozenset({SERVER, ADMIN}))


NAMES = ["CloudWatchAgentFittedServerPolicy", "CloudWatchAgentFittedServerPolicy-2"]


@pytest.mark.parametrize(
    ("given", "state", "found", "asks"),
    [
        ([*FITTED, CUSTOM], "present", [*FITTED, CUSTOM], False),
        ([*NAMES, CUSTOM], "present", [*FITTED, CUSTOM], True),
        (NAMES, "absent", [], False),
        (["x:y"], "absent", [], False),
    ],
)
def test_a_name_stands_for_the_fitted_policy_of_the_account(given, state, found, asks):
    account = Account()
    options = with_policy_arns({"access_policies": given, "state": state}, account.aws(), "eu-central-1")
    assert options["access_policies"] == found
    assert account.operations == ["get_caller_identity"] * asks


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ReadOnlyAccess", "access_policies: 'ReadOnlyAccess' is neither an ARN nor the name of a fitted policy."),
        ("a:b", "access_policies: 'a:b' is not the ARN of a managed policy"),
        (FITTED[0].replace("aws:", "aws-cn:", 1), "belongs to partition aws-cn"),
    ],
)
def test_a_policy_that_cannot_be_attached_is_refused(given, message):
    with pytest.raises(InvalidInput, match=re.escape(message)):
        with_policy_arns({"access_policies": [given], "state": "present"}, Account().aws(), "eu-central-1")


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), (None, "aws")]
)
def test_the_policies_fit_the_partition(region, partition):
    assert declare(region).attach == {SERVER.replace("arn:aws:", f"arn:{partition}:")}


@pytest.mark.parametrize(
    ("option", "exclusive", "purges"),
    [(None, False, False), (None, True, True), (True, False, True), (False, True, False)],
)
def test_exclusive_purges_tags_by_default(option, exclusive, purges):
    assert declare(purge_tags=option, exclusive=exclusive).purge_tags is purges


def test_tags_are_converted_to_text():
    tags = {"a": True, "b": False, "c": None, "d": 1, 5: "e"}
    assert declare(tags=tags).tags == {"a": "true", "b": "false", "c": "", "d": "1", "5": "e"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"managed_policies": ["ReadOnlyAccess"]}, "managed_policies: 'ReadOnlyAccess' is not the ARN"),
        ({"managed_policies": [CUSTOM.replace("aws:", "aws-cn:", 1)]}, "belongs to partition aws-cn"),
        ({"permissions_boundary": "bound"}, "permissions_boundary: 'bound' is not the ARN"),
        ({"iam_path": "m"}, "'m' is not a valid IAM path"),
        ({"tags": {"aws:x": "1"}}, "tag 'aws:x'"),
    ],
)
def test_options_that_aws_would_refuse_are_invalid(params, message):
    with pytest.raises(InvalidInput, match=message):
        declare(**params)


def test_boundary_none_removes_the_boundary():
    assert declare(permissions_boundary="none").planned_state(PrincipalState(boundary=BOUNDARY)).boundary is None


@pytest.mark.parametrize(
    ("ssm_policy", "state", "warns"),
    [
        ("AmazonEC2RoleforSSM", "present", True),
        ("AmazonEC2RoleforSSM", "absent", False),
        ("AmazonSSMManagedInstanceCore", "present", False),
    ],
)
def test_the_deprecated_policy_causes_a_warning(ssm_policy, state, warns, monkeypatch):
    warnings: list[str] = []
    monkeypatch.setattr(principal, "warn", warnings.append)
    declare(ssm_policy=ssm_policy, state=state)
    assert [text.split()[0] for text in warnings] == (["AmazonEC2RoleforSSM"] if warns else [])


@pytest.mark.parametrize(
    ("given", "attached", "access", "found"),
    [
        (None, [], "server", ("aws", [])),
        (None, [SERVER], "server", ("aws", [])),
        (None, [*FITTED, FITTED_ADMIN], "server", ("fitted", FITTED)),
        (None, [*FITTED, FITTED_ADMIN], "admin", ("fitted", [*FITTED, FITTED_ADMIN])),
        ("aws", [*FITTED], "server", ("aws", [])),
        ("fitted", [*FITTED], "server", ("fitted", FITTED)),
    ],
)
def test_without_policies_the_option_decides_or_else_the_account(given, attached, access, found):
    account = Account()
    account.roles["Other"] = Principal(policies={*attached})
    params = {"access_policies": [], "server_policy": given, "access": access, "state": "present"}
    options = with_policy_arns(params, account.aws(), "eu-central-1")
    assert (options["server_policy"], options["access_policies"]) == found
    # The decision is made once.
    calls = len(account.operations)
    assert with_policy_arns(options, account.aws(), "eu-central-1") == options
    assert len(account.operations) == calls


def test_principals_with_different_policies_cause_a_warning(monkeypatch):
    warnings: list[str] = []
    monkeypatch.setattr(principal, "warn", warnings.append)
    account = Account()
    account.roles |= {"New": Principal(policies={FITTED[0]}), "Old": Principal(policies={SERVER}, tags=MANAGED)}
    params = {"access_policies": [], "server_policy": None, "access": "server", "state": "present"}
    with_policy_arns(params, account.aws(), "eu-central-1")
    assert [each.partition(":")[0] for each in warnings] == ["The account is mixed"]


@pytest.mark.parametrize(("policy", "needs"), [("fitted", True), ("aws", False), (None, False)])
def test_only_fitted_policies_need_a_boundary(policy, needs):
    assert declare(server_policy=policy).needs_boundary is needs
