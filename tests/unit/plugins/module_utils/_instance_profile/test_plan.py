from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aws_model import Ec2
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws, Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile import plan as profile_plan
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import (
    ASSOCIATION_RETRY_CODES,
    Association,
    DesiredProfile,
    Instance,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import AssociationResource
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import InstanceProfile

ARN = "arn:aws:iam::123456789012:instance-profile/monitoring/P"
OTHER_ARN = "arn:aws:iam::123456789012:instance-profile/shop"
PROFILE = InstanceProfile("P", path="/monitoring/", role="P", arn=ARN, id="AIPANEW")
WANTED, STALE, OTHER = Association("w", ARN, "AIPANEW"), Association("s", ARN, "AIPAOLD"), Association("o", OTHER_ARN)
PUT = "put instance profile 'P' on instance i-1"


def state(*associations: Association, is_now: str = "running", **more: Any) -> State:
    return State({"i-1": Instance("i-1", is_now, associations)}, **{"profile": PROFILE, **more})


def desired(**more: Any) -> DesiredProfile:
    return DesiredProfile("P", **more)


CASES = {
    "none": (state(), desired(), [PUT]),
    "stopped": (state(is_now="stopped"), desired(), [PUT]),
    "stopped, other, replace": (
        state(OTHER, is_now="stopped"),
        desired(replace=True),
        ["take instance profile 'shop' off instance i-1", PUT],
    ),
    "stopping, stale": (
        state(STALE, is_now="stopping"),
        desired(),
        ["take instance profile 'P' off instance i-1", PUT],
    ),
    "same": (state(WANTED), desired(), []),
    "same, id not told": (state(replace(WANTED, profile_id=None)), desired(), []),
    "same, replace": (state(WANTED), desired(replace=True), []),
    "other, replace": (state(OTHER), desired(replace=True), [PUT + " in place of 'shop'"]),
    "other, keep": (state(OTHER), desired(keep_other=True), []),
    "other, replace and keep": (state(OTHER), desired(replace=True, keep_other=True), [PUT + " in place of 'shop'"]),
    "none, keep": (state(), desired(keep_other=True), [PUT]),
    "stale": (state(STALE), desired(), [PUT + " in place of 'P'"]),
    "stale, keep": (state(STALE), desired(keep_other=True), [PUT + " in place of 'P'"]),
    "on its way in place of another": (state(OTHER, WANTED), desired(replace=True), [PUT + " in place of 'shop'"]),
    "on its way in place of another, told in another order": (
        state(WANTED, OTHER),
        desired(replace=True),
        [PUT + " in place of 'shop'"],
    ),
    "on its way in place of another, keep": (state(WANTED, OTHER), desired(keep_other=True), []),
    "profile yet to be made": (state(profile=None), desired(), [PUT]),
    "stale, the profile is yet to be made anew": (state(STALE, profile=None), desired(), [PUT + " in place of 'P'"]),
    "exclusive, no holder": (state(), desired(exclusive=True), [PUT]),
    "off: none": (state(), desired(present=False), []),
    "off: same": (state(WANTED), desired(present=False), ["take instance profile 'P' off instance i-1"]),
    "off: stale": (state(STALE, profile=None), desired(present=False), ["take instance profile 'P' off instance i-1"]),
    "off: other": (state(OTHER), desired(present=False), []),
    "off: two": (state(OTHER, WANTED), desired(present=False), ["take instance profile 'P' off instance i-1"]),
    "off: terminated": (state(is_now="terminated"), desired(present=False), []),
    "off: unknown": (State({"i-1": None}), desired(present=False), []),
}


@pytest.mark.parametrize(("current", "desired", "steps"), CASES.values(), ids=CASES)
def test_plan(current, desired, steps):
    assert profile_plan.plan(current, desired).summaries == steps
    assert not profile_plan.plan(profile_plan.planned_state(current, desired), desired).changes


REFUSED = {
    "other": (state(OTHER), desired(), "i-1 carries instance profile 'shop'; set replace"),
    "on its way in place of another": (state(OTHER, WANTED), desired(), "carries instance profile 'shop'"),
    "unknown": (State({"i-1": None}, PROFILE), desired(replace=True), "i-1 does not exist"),
    "terminated": (state(is_now="terminated"), desired(), "i-1 is terminated"),
    "shutting down": (state(is_now="shutting-down"), desired(), "i-1 is shutting-down"),
    "held elsewhere": (
        state(WANTED, holders=frozenset({"i-9", "i-8"})),
        desired(exclusive=True),
        "is on other instances too: i-8, i-9",
    ),
    "held elsewhere, off": (
        state(WANTED, holders=frozenset({"i-9"})),
        desired(exclusive=True, present=False),
        "is on other instances too: i-9",
    ),
}


@pytest.mark.parametrize(("current", "desired", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(current, desired, words):
    with pytest.raises(InvalidInput, match=words):
        profile_plan.plan(current, desired)


def test_holders_matter_only_when_exclusive():
    assert not profile_plan.plan(state(WANTED, holders=frozenset({"i-9"})), desired()).changes


def test_all_problems_are_told_at_once_and_nothing_is_planned():
    current = State(
        {"i-1": None, "i-2": Instance("i-2", "running", (OTHER,)), "i-3": Instance("i-3", "running")}, PROFILE
    )
    with pytest.raises(InvalidInput, match=r"i-1 does not exist .* i-2 carries"):
        profile_plan.plan(current, desired())


@pytest.mark.parametrize("current", [state(), state(STALE)])
def test_waits_for_a_profile_that_ec2_does_not_know_yet(current):
    [[step]] = profile_plan.plan(current, desired()).steps.values()
    assert step.retry_when == ASSOCIATION_RETRY_CODES >= {"InvalidParameterValue"}


def test_a_list_is_gone_through_a_few_times_however_long_it_is():
    class Counted(dict):
        times = 0

        def items(self):
            Counted.times += 1
            return super().items()

    instances = Counted({f"i-{number}": Instance(f"i-{number}", "running", (OTHER,)) for number in range(50)})
    current = State(instances, PROFILE)
    profile_plan.plan(current, desired(keep_other=True))
    profile_plan.planned_state(current, desired(keep_other=True))
    assert Counted.times <= 2


def test_an_association_that_ended_meanwhile_is_as_good_as_taken_off():
    [[step]] = profile_plan.plan(state(WANTED), desired(present=False)).steps.values()
    assert step.done_when == {"InvalidAssociationID.NotFound"}


def test_render():
    current = State(
        {"i-2": Instance("i-2", "running", (OTHER,)), "i-1": Instance("i-1", "running"), "i-3": None}, PROFILE
    )
    assert profile_plan.render(current) == {"instances": {"i-2": "shop", "i-1": None, "i-3": None}}
    planned = profile_plan.planned_state(current, desired(replace=True))
    assert profile_plan.to_result(current, planned) == [
        {"instance_id": "i-2", "profile_before": "shop", "profile": "P"},
        {"instance_id": "i-1", "profile_before": None, "profile": "P"},
        {"instance_id": "i-3", "profile_before": None, "profile": None},
    ]


@pytest.mark.parametrize(
    ("current", "desired", "warnings"),
    [
        (
            state(OTHER, missing_policies={"shop": ["A", "B"]}),
            desired(keep_other=True),
            ["instance i-1 keeps instance profile 'shop', whose role lacks A, B"],
        ),
        (state(OTHER, missing_policies={"shop": []}), desired(keep_other=True), []),
        (
            state(OTHER, profile=None),
            desired(keep_other=True),
            ["instance i-1 keeps instance profile 'shop'"],
        ),
        (state(OTHER), desired(replace=True), []),
        (state(OTHER), desired(present=False), []),
        (state(WANTED), desired(), []),
    ],
)
def test_warnings(current, desired, warnings):
    gateway: Any = None
    assert AssociationResource(gateway, ["i-1"], desired).warnings(current) == warnings


class Refusing(Aws):
    """EC2 refuses the profile as often as it is told to; IAM has it, or has it not."""

    def __init__(self, code: str, times: int, is_there: bool) -> None:
        super().__init__(lambda *_: None, retry_timeout=60)
        self.code, self.times, self.is_there, self.asked = code, times, is_there, []

    def call(self, action, description, max_attempts=0, **arguments):
        self.asked.append(action)
        if action == "iam:GetInstanceProfile":
            if not self.is_there:
                raise AwsApiError(description, "NoSuchEntity")
            named = {"InstanceProfileName": "P", "Path": "/", "Arn": "arn:P", "InstanceProfileId": "AIPA"}
            return {"InstanceProfile": {**named, "Roles": []}}
        self.times -= 1
        if self.times >= 0:
            raise AwsApiError("refused", self.code)
        return {}


def associate(aws: Refusing) -> list[str]:
    """The calls that putting the profile on an instance takes."""
    resource = AssociationResource(aws, ["i-1"], desired())
    [step] = resource.plan(state(profile=None)).steps["i-1"]
    resource.execute(step)
    return aws.asked


ASSOCIATE, LOOK = "ec2:AssociateIamInstanceProfile", "iam:GetInstanceProfile"


def test_a_profile_that_ec2_does_not_know_yet(monkeypatch):
    monkeypatch.setattr(Deadline, "pause", lambda *_: True)
    assert associate(Refusing("InvalidParameterValue", 0, is_there=True)) == [ASSOCIATE]
    assert associate(Refusing("InvalidParameterValue", 3, is_there=True)) == [ASSOCIATE, LOOK, *[ASSOCIATE] * 3]


def test_a_profile_that_is_not_there_is_not_waited_for():
    aws = Refusing("InvalidParameterValue", 99, is_there=False)
    with pytest.raises(InvalidInput, match=r"on instance i-1: instance profile 'P' does not exist\.$"):
        associate(aws)
    assert aws.asked == [ASSOCIATE, LOOK]
    with pytest.raises(AwsApiError, match="refused"):
        associate(Refusing("UnauthorizedOperation", 1, is_there=False))


def test_nothing_is_taken_off_for_a_profile_that_is_not_there():
    """On a stopped instance, that would be the first step."""
    aws = Refusing("", 0, is_there=False)
    carried = {
        "AssociationId": "o",
        "InstanceId": "i-1",
        "State": "associated",
        "IamInstanceProfile": {"Arn": OTHER_ARN},
    }
    stopped = {"InstanceId": "i-1", "State": {"Name": "stopped"}}
    aws.pages = lambda *_, **__: [
        {"IamInstanceProfileAssociations": [carried], "Reservations": [{"Instances": [stopped]}]}
    ]
    resource = AssociationResource(aws, ["i-1"], desired(replace=True))
    steps = resource.plan(resource.read()).steps["i-1"]
    assert [step.action for step in steps] == ["ec2:DisassociateIamInstanceProfile", ASSOCIATE]
    with pytest.raises(InvalidInput, match="'P' does not exist"):
        resource.execute(steps[0])
    assert aws.asked == [LOOK]


@pytest.mark.parametrize("is_there", [True, False])
def test_check_mode_doubts_a_profile_that_is_not_there(is_there):
    check_mode_warnings = ["instance profile 'P' does not exist yet"]
    resource = AssociationResource(Refusing("", 0, is_there), ["i-1"], desired())
    assert resource.check_mode_warnings(state(profile=None)) == ([] if is_there else check_mode_warnings)
    assert resource.check_mode_warnings(state(OTHER)) == []
    off = AssociationResource(Refusing("", 0, is_there), ["i-1"], desired(present=False))
    assert off.check_mode_warnings(state(profile=None)) == []


ASSOCIATIONS = st.lists(st.sampled_from([WANTED, STALE, OTHER]), max_size=2, unique=True).map(tuple)
WANTS = st.builds(
    DesiredProfile, name=st.just("P"), present=st.booleans(), replace=st.booleans(), keep_other=st.booleans()
)


@st.composite
def states(draw: st.DrawFn) -> State:
    found = draw(st.dictionaries(st.sampled_from(["i-1", "i-2", "i-3"]), ASSOCIATIONS, min_size=1))
    instances = {
        name: Instance(name, "running", tuple(replace(each, id=f"{each.id}-{name}") for each in associations))
        for name, associations in found.items()
    }
    return State(instances, draw(st.sampled_from([None, PROFILE])))


@given(states(), WANTS)
def test_a_plan_leads_where_it_says(current, desired):
    ec2 = Ec2(current)
    others = [each for instance in current.instances.values() for each in instance.associations if each.profile != "P"]
    try:
        plan = profile_plan.plan(current, desired)
    except InvalidInput:
        assert desired.present
        assert others
        assert not desired.replace
        assert not desired.keep_other
        return
    for steps in plan.steps.values():
        ec2.take_all(steps)
    assert _without_ids(ec2.state) == _without_ids(profile_plan.planned_state(current, desired))
    assert not profile_plan.plan(ec2.state, desired).changes
    assert plan.changes == (ec2.state != current)
    for name, instance in ec2.state.instances.items():
        carried = {each.profile for each in instance.associations}
        if not desired.present:
            assert carried == {each.profile for each in current.instances[name].associations} - {"P"}
        elif name in profile_plan.kept(current, desired):
            assert instance == current.instances[name]
        else:
            assert carried == {"P"}


def _without_ids(state: State) -> Any:
    return {
        name: [(each.profile_arn, each.profile_id) for each in instance.associations]
        for name, instance in state.instances.items()
    }
