from __future__ import annotations

from typing import Any

import pytest
from aws_account import Account
from aws_model import check_call

from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import AwsApiError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile import LOOKUPS, AssociationResource
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile_plan import (
    ASSOCIATION_GONE,
    KEEP,
    REPLACE,
    DesiredProfile,
)

ASSOCIATE, GET_PROFILE = "associate_iam_instance_profile", "get_instance_profile"
WRITES = (ASSOCIATE, "replace_iam_instance_profile_association", "disassociate_iam_instance_profile")
MISSING = r"with instance i-1: instance profile 'P' does not exist\.$"
pytestmark = pytest.mark.usefixtures("no_pauses")


def account_with(*profiles: str, has_profile: bool = True, state: str = "running") -> Account:
    account = Account()
    account.add_role("shop")
    if has_profile:
        account.add_role("P")
    account.add_instance("i-1", *profiles, state=state)
    return account


def resource_of(account: Account, **desired: Any) -> AssociationResource:
    return AssociationResource(account.aws(), ["i-1"], DesiredProfile("P", **desired))


def shown_calls(account: Account) -> list[str]:
    return [each for each in account.operations if each in (GET_PROFILE, *WRITES)]


@pytest.mark.parametrize(
    ("code", "failures", "unseen", "calls"),
    [
        ("", 0, 0, [ASSOCIATE]),
        ("InvalidParameterValue", 3, 0, [ASSOCIATE, GET_PROFILE, *[ASSOCIATE] * 3]),
        ("InvalidParameterValue", 1, LOOKUPS - 1, [ASSOCIATE, *[GET_PROFILE] * LOOKUPS, ASSOCIATE]),
        ("InvalidParameterValue", 99, LOOKUPS, [ASSOCIATE, *[GET_PROFILE] * LOOKUPS]),
        ("UnauthorizedOperation", 1, 0, [ASSOCIATE]),
    ],
    ids=["known", "not known to EC2 yet", "not known to a host of IAM yet", "missing", "another error"],
)
def test_an_association_is_retried_until_ec2_knows_the_profile_if_it_exists(code, failures, unseen, calls):
    account = account_with()
    account.fail(ASSOCIATE, code, failures, message="User: ops is not authorized to perform: ec2:X")
    account.fail(GET_PROFILE, "NoSuchEntity", unseen)
    resource = resource_of(account)
    [step] = resource.plan(resource.read()).steps["i-1"]
    if unseen == LOOKUPS or code == "UnauthorizedOperation":
        with pytest.raises(CwagentError, match=MISSING if unseen else "lacks ec2:X") as error:
            resource.execute(step)
        assert type(error.value) is (CwagentError if unseen else AwsApiError), "another instance can have been changed"
    else:
        resource.execute(step)
        assert account.profiles_of("i-1") == ["P"]
    assert shown_calls(account) == calls


def test_the_plan_is_made_anew_when_the_profile_that_it_missed_exists():
    account = account_with("shop")
    account.fail(GET_PROFILE, "NoSuchEntity", 2)
    result = converge(resource_of(account, on_other_profile=REPLACE), check_mode=False, wait=10)
    assert result["steps"] == ["associate instance profile 'P' with instance i-1 instead of 'shop'"]
    assert [call for call in shown_calls(account) if call != GET_PROFILE] == [WRITES[1]]


@pytest.mark.parametrize(("known", "reads"), [(None, 1), ("AIPAP", 0), ("AIPAOTHER", 0)])
def test_a_profile_with_a_known_id_is_not_read_before_the_first_change(known, reads):
    """Its id shows whether the association is with a deleted profile of its name."""
    account = account_with("P")
    resource = resource_of(account, profile_id=known)
    steps = resource.plan(resource.read()).summaries
    assert bool(steps) == (known == "AIPAOTHER")
    assert account.count(GET_PROFILE) == reads
    resource.read_again()
    assert account.count(GET_PROFILE) == reads + 1


def test_nothing_is_disassociated_if_the_profile_does_not_exist():
    """On a stopped instance, disassociating would be the first step."""
    account = account_with("shop", has_profile=False, state="stopped")
    resource = resource_of(account, on_other_profile=REPLACE)
    steps = resource.plan(resource.read()).steps["i-1"]
    assert [step.action for step in steps] == ["ec2:DisassociateIamInstanceProfile", "ec2:AssociateIamInstanceProfile"]
    with pytest.raises(InvalidInput, match="'P' does not exist"):
        resource.execute(steps[0])
    assert shown_calls(account) == [GET_PROFILE] * (1 + LOOKUPS)


@pytest.mark.parametrize(
    ("is_gone", "code", "raised"),
    [
        (False, "AnyOther", "AnyOther"),
        (False, "UnauthorizedOperation", "UnauthorizedOperation"),
        (True, "AnyOther", ASSOCIATION_GONE),
        (True, "IncorrectState", ASSOCIATION_GONE),
        (True, "UnauthorizedOperation", "UnauthorizedOperation"),
        (True, "RequestLimitExceeded", "RequestLimitExceeded"),
    ],
)
def test_a_refused_disassociation_is_compared_with_the_state_in_ec2(is_gone, code, raised):
    account = account_with("P")
    resource = resource_of(account, present=False)
    [step] = resource.plan(resource.read()).all_steps
    check_call(step)
    if is_gone:
        account.associate("i-1", "shop")
    account.fail("disassociate_iam_instance_profile", code, 1)
    with pytest.raises(AwsApiError) as error:
        resource.execute(step)
    assert error.value.code == raised
    assert (raised in step.stale_when) == (raised == ASSOCIATION_GONE), "only then the state is read again"


NOT_YET = ["instance profile 'P' does not exist yet"]


@pytest.mark.parametrize(
    ("profiles", "has_profile", "desired", "warnings", "reads"),
    [
        ([], True, {}, [], 1),
        ([], False, {}, NOT_YET, 1),
        (["P"], False, {"present": False}, [], 0),
        ([], False, {"role_policies": frozenset()}, [], 0),
        (["shop"], True, {"on_other_profile": KEEP}, [], 0),
    ],
    ids=["exists", "missing", "disassociated", "planned by an earlier task", "read before"],
)
def test_check_mode_warns_of_a_profile_that_does_not_exist(profiles, has_profile, desired, warnings, reads):
    account = account_with(*profiles, has_profile=has_profile)
    resource = resource_of(account, **desired)
    plan = resource.plan(resource.read())
    account.calls.clear()
    assert resource.check_mode_warnings(plan) == warnings
    assert len(account.calls) == reads


def test_a_kept_profile_is_a_warning_and_no_change():
    resource = resource_of(account_with("shop"), on_other_profile=KEEP)
    plan = resource.plan(resource.read())
    assert not plan.has_changes
    assert resource.warnings(plan) == []
    assert resource.to_diff(plan.current) == {"instances": {"i-1": "shop"}}
    assert resource.to_result(plan, plan.planned) == {
        "instances": [{"instance_id": "i-1", "profile_before": "shop", "profile": "shop"}]
    }


@pytest.mark.parametrize(
    ("planned", "missing"),
    [(None, ["B"]), (frozenset(), []), (frozenset({"arn:aws:iam::aws:policy/C"}), ["C"])],
)
def test_missing_policies_of_a_kept_profile_come_from_the_plan_or_the_role(planned, missing):
    account = account_with("shop")
    account.add_role("shop", "A")
    account.add_role("P", "A", "B")
    resource = resource_of(account, on_other_profile=KEEP, role_policies=planned)
    assert resource.read().missing_policies == {"shop": missing}


def test_a_change_by_someone_else_while_waiting_is_not_reported_as_invalid_input():
    account = account_with()
    resource = resource_of(account)
    plan = resource.plan(resource.read())
    assert resource.remaining(plan, plan.current) == plan.summaries
    account.associate("i-1", "shop")
    with pytest.raises(CwagentError, match="has instance profile 'shop'") as error:
        resource.remaining(plan, resource.read_again())
    assert type(error.value) is CwagentError
