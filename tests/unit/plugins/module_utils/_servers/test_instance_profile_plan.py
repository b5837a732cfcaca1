from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aws_account import REGION, Account
from aws_model import check_call
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import InstanceProfile
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import State as RoleState
from ansible_collections.cwagent.iam.plugins.module_utils._servers import instance_profile_plan as profile_plan
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile_plan import (
    ASSOCIATION_RETRY_CODES,
    ATTACH_ADVICE,
    FAIL,
    KEEP,
    REPLACE,
    Association,
    DesiredProfile,
    Instance,
    MissingProfile,
    State,
)

ARN = "arn:aws:iam::123456789012:instance-profile/monitoring/P"
OTHER_ARN = "arn:aws:iam::123456789012:instance-profile/shop"
PROFILE = InstanceProfile("P", path="/monitoring/", role="P", arn=ARN, id="AIPANEW")
CURRENT_P = Association("c", ARN, "AIPANEW")
DELETED_P = Association("d", ARN, "AIPAOLD")
SHOP = Association("o", OTHER_ARN)
ASSOCIATE = "associate instance profile 'P' with instance i-1"
DISASSOCIATE = "disassociate instance profile 'P' from instance i-1"
DISASSOCIATE_SHOP = "disassociate instance profile 'shop' from instance i-1"
REPLACE_P, REPLACE_SHOP = f"{ASSOCIATE} instead of 'P'", f"{ASSOCIATE} instead of 'shop'"


def state(*associations: Association, instance_state: str = "running", **more: Any) -> State:
    return State({"i-1": Instance("i-1", instance_state, associations)}, **{"profile": PROFILE, **more})


def desired_profile(on_other_profile: str = FAIL, **more: Any) -> DesiredProfile:
    return DesiredProfile("P", on_other_profile=on_other_profile, **more)


CASES = {
    "no profile": (state(), desired_profile(), [ASSOCIATE]),
    "no profile, stopped": (state(instance_state="stopped"), desired_profile(), [ASSOCIATE]),
    "no profile, keep": (state(), desired_profile(KEEP), [ASSOCIATE]),
    "no profile, desired one does not exist yet": (state(profile=None), desired_profile(), [ASSOCIATE]),
    "no profile, exclusive": (state(), desired_profile(fail_if_associated_elsewhere=True), [ASSOCIATE]),
    "same": (state(CURRENT_P), desired_profile(), []),
    "same, without an id": (state(replace(CURRENT_P, profile_id=None)), desired_profile(), []),
    "same, replace": (state(CURRENT_P), desired_profile(REPLACE), []),
    "same, other holders": (state(CURRENT_P, other_holders=frozenset({"i-9"})), desired_profile(), []),
    "other, replace": (state(SHOP), desired_profile(REPLACE), [REPLACE_SHOP]),
    "other, keep": (state(SHOP), desired_profile(KEEP), []),
    "other, replace, stopped": (
        state(SHOP, instance_state="stopped"),
        desired_profile(REPLACE),
        [DISASSOCIATE_SHOP, ASSOCIATE],
    ),
    "deleted": (state(DELETED_P), desired_profile(), [REPLACE_P]),
    "deleted, keep": (state(DELETED_P), desired_profile(KEEP), [REPLACE_P]),
    "deleted, stopping": (state(DELETED_P, instance_state="stopping"), desired_profile(), [DISASSOCIATE, ASSOCIATE]),
    "deleted, new one does not exist yet": (state(DELETED_P, profile=None), desired_profile(), [REPLACE_P]),
    "being replaced, replace": (state(SHOP, CURRENT_P), desired_profile(REPLACE), [REPLACE_SHOP]),
    "being replaced, in another order, replace": (state(CURRENT_P, SHOP), desired_profile(REPLACE), [REPLACE_SHOP]),
    "being replaced, keep": (state(CURRENT_P, SHOP), desired_profile(KEEP), []),
    "absent: no profile": (state(), desired_profile(present=False), []),
    "absent: same": (state(CURRENT_P), desired_profile(present=False), [DISASSOCIATE]),
    "absent: deleted": (state(DELETED_P, profile=None), desired_profile(present=False), [DISASSOCIATE]),
    "absent: other": (state(SHOP), desired_profile(present=False), []),
    "absent: being replaced": (state(SHOP, CURRENT_P), desired_profile(present=False), [DISASSOCIATE]),
    "absent: terminated": (state(instance_state="terminated"), desired_profile(present=False), []),
    "absent: terminated, but listed with the profile": (
        state(CURRENT_P, instance_state="terminated"),
        desired_profile(present=False),
        [],
    ),
    "absent: unknown instance": (State({"i-1": None}), desired_profile(present=False), []),
}


@pytest.mark.parametrize(("current", "desired", "steps"), CASES.values(), ids=CASES)
def test_plan(current, desired, steps):
    plan = profile_plan.plan(current, desired)
    assert plan.summaries == steps
    for step in plan.all_steps:
        check_call(step)
    assert not profile_plan.plan(plan.planned, desired).has_changes


INVALID = {
    "other": (
        state(SHOP),
        desired_profile(),
        (
            r"^Instance i-1 has instance profile 'shop'; set on_other_profile to attach, so that the role in 'shop'.* "
            r"or to replace, to associate 'P' instead\.$"
        ),
    ),
    "being replaced": (state(SHOP, CURRENT_P), desired_profile(), "has instance profile 'shop'"),
    "other, which sorts first": (
        state(Association("o", OTHER_ARN.replace("shop", "App"))),
        desired_profile(),
        "has instance profile 'App'",
    ),
    "unknown": (State({"i-1": None}, PROFILE), desired_profile(REPLACE), "i-1 does not exist"),
    "terminated": (state(instance_state="terminated"), desired_profile(), "i-1 is terminated"),
    "shutting down": (state(instance_state="shutting-down"), desired_profile(), "i-1 is shutting-down"),
    "exclusive, other holders": (
        state(CURRENT_P, other_holders=frozenset({"i-9", "i-8"})),
        desired_profile(fail_if_associated_elsewhere=True),
        "is associated with other instances too: i-8, i-9",
    ),
    "exclusive, other holders, absent": (
        state(CURRENT_P, other_holders=frozenset({"i-9"})),
        desired_profile(fail_if_associated_elsewhere=True, present=False),
        "is associated with other instances too: i-9",
    ),
}


@pytest.mark.parametrize(("current", "desired", "message"), INVALID.values(), ids=INVALID)
def test_an_instance_that_cannot_get_the_profile_is_an_error(current, desired, message):
    with pytest.raises(InvalidInput, match=message):
        profile_plan.plan(current, desired)


def test_all_problems_are_reported_at_once_and_nothing_is_planned():
    current = State(
        {"i-1": None, "i-2": Instance("i-2", "running", (SHOP,)), "i-3": Instance("i-3", "running")}, PROFILE
    )
    with pytest.raises(InvalidInput, match=r"i-1 does not exist .* i-2 has instance profile"):
        profile_plan.plan(current, desired_profile())


@pytest.mark.parametrize("current", [state(), state(DELETED_P)], ids=["no profile", "deleted"])
def test_an_association_is_retried_until_ec2_knows_the_profile(current):
    [[step]] = profile_plan.plan(current, desired_profile()).steps.values()
    assert step.retry_when == ASSOCIATION_RETRY_CODES >= {"InvalidParameterValue"}


def test_steps_know_that_the_profile_does_not_exist():
    missing = state(SHOP, instance_state="stopped", profile=None, is_missing=True)
    contexts = [step.context for step in profile_plan.plan(missing, desired_profile(REPLACE)).steps["i-1"]]
    assert contexts == [MissingProfile("P")] * 2
    [step] = profile_plan.plan(state(profile=None), desired_profile()).steps["i-1"]
    assert step.context is None


def test_a_long_list_is_read_a_few_times_only():
    class Counted(dict):
        times = 0

        def items(self):
            Counted.times += 1
            return super().items()

    instances = Counted({f"i-{number}": Instance(f"i-{number}", "running", (SHOP,)) for number in range(50)})
    profile_plan.plan(State(instances, PROFILE), desired_profile(KEEP))
    assert Counted.times <= 4


@pytest.mark.parametrize(
    ("states", "sentences"),
    [
        ({"i-1": "running", "i-2": "stopped"}, []),
        ({"i-1": None}, ["Instance i-1 does not exist in eu-central-1 and this account. Correct the region"]),
        ({"i-1": None, "i-2": None}, ["Instances i-1, i-2 do not exist in eu-central-1 and this account. Correct the"]),
        ({"i-2": "terminated", "i-1": None}, ["Instance i-1 does not exist", "Instance i-2 is terminated. Remove it"]),
    ],
)
def test_all_instances_that_a_region_lacks_are_in_one_sentence_with_a_remedy(states, sentences):
    found = profile_plan.ineligible_reasons(states, "eu-central-1")
    assert len(found) == len(sentences)
    assert all(each.startswith(words) for each, words in zip(found, sentences, strict=True))


def test_an_association_that_has_ended_counts_as_disassociated():
    [[step]] = profile_plan.plan(state(CURRENT_P), desired_profile(present=False)).steps.values()
    assert step.done_when == {"InvalidAssociationID.NotFound"}


def test_the_result_has_the_profiles_before_and_after():
    current = State(
        {"i-2": Instance("i-2", "running", (SHOP,)), "i-1": Instance("i-1", "running"), "i-3": None}, PROFILE
    )
    assert profile_plan.to_dict(current) == {"instances": {"i-2": "shop", "i-1": None, "i-3": None}}
    assert profile_plan.to_dict(state(CURRENT_P, SHOP)) == {"instances": {"i-1": "shop"}}
    planned = profile_plan.planned_state(current, desired_profile(REPLACE))
    assert profile_plan.to_result(current, planned) == [
        {"instance_id": "i-2", "profile_before": "shop", "profile": "P"},
        {"instance_id": "i-1", "profile_before": None, "profile": "P"},
        {"instance_id": "i-3", "profile_before": None, "profile": None},
    ]


WARNINGS = {
    "kept, policies missing": (
        state(SHOP, missing_policies={"shop": ["A", "B"]}),
        desired_profile(KEEP),
        [f"instance i-1 keeps instance profile 'shop', whose role lacks A, B{ATTACH_ADVICE}"],
    ),
    "kept, no policy missing": (state(SHOP, missing_policies={"shop": []}), desired_profile(KEEP), []),
    "kept, policies unknown": (
        state(SHOP, profile=None),
        desired_profile(KEEP),
        ["instance i-1 keeps instance profile 'shop'"],
    ),
    "replaced": (state(SHOP), desired_profile(REPLACE), []),
    "absent": (state(SHOP), desired_profile(present=False), []),
    "same": (state(CURRENT_P), desired_profile(), []),
    "no such instance": (
        State({"i-9": None}),
        desired_profile(present=False),
        ["there is no instance i-9 in this region and account"],
    ),
    "ended instance": (State({"i-1": Instance("i-1", "terminated")}), desired_profile(present=False), []),
}


@pytest.mark.parametrize(("current", "desired", "warnings"), WARNINGS.values(), ids=WARNINGS)
def test_a_kept_profile_and_a_missing_instance_are_warnings(current, desired, warnings):
    assert profile_plan.warnings(current, desired) == warnings


# Properties

ASSOCIATIONS = st.lists(st.sampled_from([CURRENT_P, DELETED_P, SHOP]), max_size=2, unique=True).map(tuple)
DESIRED = st.builds(
    DesiredProfile, name=st.just("P"), present=st.booleans(), on_other_profile=st.sampled_from([FAIL, KEEP, REPLACE])
)


@st.composite
def states(draw: st.DrawFn) -> State:
    found = draw(st.dictionaries(st.sampled_from(["i-1", "i-2", "i-3"]), ASSOCIATIONS, min_size=1))
    instances = {
        name: Instance(name, "running", tuple(replace(each, id=f"{each.id}-{name}") for each in associations))
        for name, associations in found.items()
    }
    return State(instances, draw(st.sampled_from([None, PROFILE])))


def profiles_of(instance: Instance) -> set[str]:
    return {each.profile for each in instance.associations}


def without_association_ids(instances: Any) -> Any:
    return {
        name: [(each.profile_arn, each.profile_id) for each in instance.associations]
        for name, instance in instances.items()
    }


@given(states(), DESIRED)
def test_a_plan_leads_to_its_planned_state(current, desired):
    account = Account()
    account.regions[REGION] = dict(current.instances)
    if current.profile:
        account.put_role("P", RoleState(profile=current.profile))
    others = [each for instance in current.instances.values() for each in instance.associations if each.profile != "P"]
    try:
        plan = profile_plan.plan(current, desired)
    except InvalidInput:
        assert desired.present
        assert others
        assert desired.on_other_profile == FAIL
        return
    for steps in plan.steps.values():
        account.take_all(steps)
    final = replace(current, instances=account.regions[REGION])
    assert without_association_ids(final.instances) == without_association_ids(plan.planned.instances)
    assert not profile_plan.plan(final, desired).has_changes
    assert plan.has_changes == (final != current)
    for name, instance in final.instances.items():
        assert instance
        if not desired.present:
            assert profiles_of(instance) == profiles_of(current.instances[name]) - {"P"}
        elif name in profile_plan.kept_profiles(current, desired):
            assert instance == current.instances[name]
        else:
            assert profiles_of(instance) == {"P"}
