from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import (
    ASSOCIATION_GONE,
    KEEP,
    REPLACE,
    Association,
    DesiredProfile,
    Instance,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import (
    LOOKUPS,
    AssociationResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, apply
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import InstanceProfile
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

SHOP_ARN = "arn:aws:iam::123456789012:instance-profile/shop"
SHOP = Association("o", SHOP_ARN)
ASSOCIATE, GET_PROFILE = "ec2:AssociateIamInstanceProfile", "iam:GetInstanceProfile"
DISASSOCIATE = "ec2:DisassociateIamInstanceProfile"
DOES_NOT_EXIST_YET = ["instance profile 'P' does not exist yet"]


class Account(Aws):
    """EC2 answers the first calls with an error code; IAM has the profile, or does not. There is one instance."""

    def __init__(
        self,
        code: str = "",
        times: int = 0,
        has_profile: bool = True,
        instance_state: str = "running",
        unseen: int = 0,
    ):
        """:param unseen: in how many answers IAM does not show the profile yet."""
        super().__init__(lambda *_: None, retry_timeout=60)
        self.unseen = unseen
        self.code, self.times, self.has_profile, self.calls = code, times, has_profile, []
        self.instance_state = instance_state
        self.associated = {"Arn": SHOP_ARN}

    def call(self, action, description, max_attempts=0, **arguments):
        self.calls.append(action)
        if action == GET_PROFILE:
            self.unseen -= 1
            if not self.has_profile or self.unseen >= 0:
                raise AwsApiError(description, "NoSuchEntity")
            answer = {"InstanceProfileName": "P", "Path": "/", "Arn": "arn:P", "InstanceProfileId": "AIPA"}
            return {"InstanceProfile": {**answer, "Roles": []}}
        self.times -= 1
        if self.times >= 0:
            raise AwsApiError("refused", self.code)
        return {}

    def pages(self, action, description, **arguments):
        association = {
            "AssociationId": "o",
            "InstanceId": "i-1",
            "State": "associated",
            "IamInstanceProfile": self.associated,
        }
        instance = {"InstanceId": "i-1", "State": {"Name": self.instance_state}}
        yield {"IamInstanceProfileAssociations": [association], "Reservations": [{"Instances": [instance]}]}


def state(*associations: Association) -> State:
    return State({"i-1": Instance("i-1", "running", associations)})


def resource_of(aws: Account, **desired: Any) -> AssociationResource:
    return AssociationResource(aws, ["i-1"], DesiredProfile("P", **desired))


def associate(aws: Account) -> list[str]:
    """Associate the profile with an instance without one, and return the calls this takes."""
    resource = resource_of(aws)
    [step] = resource.plan(state()).steps["i-1"]
    resource.execute(step)
    return aws.calls


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(Deadline, "pause", lambda *_: True)


def test_a_profile_that_ec2_knows_is_not_looked_up():
    assert associate(Account()) == [ASSOCIATE]


def test_the_association_is_retried_until_ec2_knows_the_profile():
    assert associate(Account("InvalidParameterValue", 3)) == [ASSOCIATE, GET_PROFILE, *[ASSOCIATE] * 3]


def test_the_association_is_not_retried_if_the_profile_does_not_exist():
    aws = Account("InvalidParameterValue", 99, has_profile=False)
    with pytest.raises(CwagentError, match=r"with instance i-1: instance profile 'P' does not exist\.$") as error:
        associate(aws)
    assert aws.calls == [ASSOCIATE, *[GET_PROFILE] * LOOKUPS]
    assert type(error.value) is CwagentError, "another instance can have been changed"


def test_a_profile_that_one_host_of_iam_does_not_know_yet_is_looked_up_again():
    aws = Account("InvalidParameterValue", 1, unseen=LOOKUPS - 1)
    assert associate(aws) == [ASSOCIATE, *[GET_PROFILE] * LOOKUPS, ASSOCIATE]


def test_the_plan_is_made_anew_when_the_profile_that_it_missed_exists():
    aws = Account(unseen=2)
    result = converge(resource_of(aws, on_other_profile=REPLACE), check_mode=False, wait=None)
    assert result["steps"] == ["associate instance profile 'P' with instance i-1 instead of 'shop'"]
    assert [call for call in aws.calls if call != GET_PROFILE] == ["ec2:ReplaceIamInstanceProfileAssociation"]


@pytest.mark.parametrize(("known", "reads"), [(None, 1), ("AIPA", 0), ("AIPB", 0)])
def test_a_profile_with_a_known_id_is_not_read_before_the_first_change(known, reads):
    """Its id shows whether the association is with a deleted profile of its name."""
    aws = Account()
    aws.associated = {"Arn": "arn:x/P", "Id": "AIPA"}
    resource = resource_of(aws, profile_id=known)
    steps = resource.plan(resource.read()).summaries
    assert bool(steps) == (known == "AIPB")
    assert aws.calls.count(GET_PROFILE) == reads
    resource.read_again()
    assert aws.calls.count(GET_PROFILE) == reads + 1


def test_other_errors_are_not_retried():
    aws = Account("UnauthorizedOperation", 1, has_profile=False)
    with pytest.raises(AwsApiError, match="refused"):
        associate(aws)
    assert aws.calls == [ASSOCIATE]


def test_nothing_is_disassociated_if_the_profile_does_not_exist():
    """On a stopped instance, disassociating would be the first step."""
    aws = Account(has_profile=False, instance_state="stopped")
    resource = resource_of(aws, on_other_profile=REPLACE)
    steps = resource.plan(resource.read()).steps["i-1"]
    assert [step.action for step in steps] == [DISASSOCIATE, ASSOCIATE]
    with pytest.raises(InvalidInput, match="'P' does not exist"):
        resource.execute(steps[0])
    assert aws.calls == [GET_PROFILE] * (1 + LOOKUPS)


@pytest.mark.parametrize(
    ("association", "code", "raised"),
    [
        ("o", "AnyOther", "AnyOther"),
        ("o", "UnauthorizedOperation", "UnauthorizedOperation"),
        ("gone", "AnyOther", ASSOCIATION_GONE),
        ("gone", "IncorrectState", ASSOCIATION_GONE),
        ("gone", "UnauthorizedOperation", "UnauthorizedOperation"),
        ("gone", "RequestLimitExceeded", "RequestLimitExceeded"),
    ],
)
def test_a_refused_disassociation_is_compared_with_the_state_in_ec2(association, code, raised):
    """The account shows the association ``o``."""
    aws = Account(code, 1)
    resource = resource_of(aws, present=False)
    [step] = resource.plan(state(Association(association, "arn:aws:iam::123456789012:instance-profile/P"))).all_steps
    with pytest.raises(AwsApiError) as error:
        resource.execute(step)
    assert error.value.code == raised
    assert (raised in step.stale_when) == (raised == ASSOCIATION_GONE), "only then the state is read again"


def plan_of(current: State) -> Plan[State]:
    return Plan(current, current, {})


@pytest.mark.parametrize(
    ("has_profile", "warnings"), [(True, []), (False, DOES_NOT_EXIST_YET)], ids=["exists", "missing"]
)
def test_check_mode_warns_of_a_profile_that_does_not_exist(has_profile, warnings):
    resource = resource_of(Account(has_profile=has_profile))
    assert resource.check_mode_warnings(plan_of(state())) == warnings


@pytest.mark.parametrize("has_profile", [True, False], ids=["exists", "missing"])
def test_check_mode_does_not_warn_if_the_profile_is_disassociated(has_profile):
    resource = resource_of(Account(has_profile=has_profile), present=False)
    assert resource.check_mode_warnings(plan_of(state())) == []


def test_check_mode_does_not_warn_of_a_profile_that_an_earlier_task_has_planned():
    aws = Account(has_profile=False)
    resource = resource_of(aws, role_policies=frozenset())
    assert resource.check_mode_warnings(plan_of(state())) == []
    assert aws.calls == []


@pytest.mark.parametrize("has_profile", [True, False], ids=["exists", "missing"])
def test_check_mode_does_not_look_up_a_profile_that_was_read(has_profile):
    aws = Account(has_profile=has_profile)
    resource = resource_of(aws)
    assert resource.check_mode_warnings(plan_of(replace(state(SHOP), profile=InstanceProfile("P")))) == []
    assert aws.calls == []


def test_a_kept_profile_is_a_warning_and_no_change():
    resource = resource_of(Account(), on_other_profile=KEEP)
    plan = resource.plan(resource.read())
    assert not plan.has_changes
    assert resource.warnings(plan) == ["instance i-1 keeps instance profile 'shop'"]
    assert resource.to_diff(plan.current) == {"instances": {"i-1": "shop"}}
    assert resource.to_result(plan, plan.planned) == {
        "instances": [{"instance_id": "i-1", "profile_before": "shop", "profile": "shop"}]
    }


def test_a_change_by_someone_else_while_waiting_is_not_reported_as_invalid_input():
    resource = resource_of(Account())
    plan = resource.plan(state())
    with pytest.raises(CwagentError, match="has instance profile 'shop'") as error:
        resource.remaining(plan, state(SHOP))
    assert type(error.value) is CwagentError
    assert resource.remaining(plan, state()) == plan.summaries


@pytest.mark.parametrize("has_profile", [True, False], ids=["exists", "missing"])
def test_a_resource_keeps_no_state(has_profile):
    resource = resource_of(Account(has_profile=has_profile), on_other_profile=REPLACE)
    before = dict(vars(resource))
    plan = resource.plan(resource.read())
    if has_profile:
        apply(plan, resource.execute, check_mode=False)
    else:
        with pytest.raises(CwagentError, match="does not exist"):
            apply(plan, resource.execute, check_mode=False)
    resource.remaining(plan, resource.read())
    assert vars(resource) == before
