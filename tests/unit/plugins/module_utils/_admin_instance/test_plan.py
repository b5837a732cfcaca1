from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from admin_instances import INSTANCE, OTHER_INSTANCE, desired_admin, instance
from aws_account import REGION
from aws_model import NOW, check_call

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import plan as admin_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    EXCLUSIVE,
    NO_PROFILE,
    RECORD_ACTION,
    RELEASED,
    RESTORE_TAG,
    TAG_ACTION,
    ContentionCheck,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import Opening
from ansible_collections.cwagent.iam.plugins.module_utils._errors import ContentionError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._gateway import PASSING_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import (
    ASSOCIATION_RETRY_CODES,
    ASSOCIATION_STALE_CODES,
    ENDED,
    STOPPED,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step

ASSOCIATE, IN_PLACE = "associate instance profile '{}' with instance i-1", " instead of '{}'"
DISASSOCIATE = "disassociate instance profile '{}' from instance i-1"
ASSOCIATE_ADMIN = ASSOCIATE.format("admin")
TRIAL = "associate instance profile '{}' with instance i-1 again, to prove that it can be restored"
TAG_WITH, TAG_WITH_NONE = (
    "tag instance i-1 with its earlier profile '{}'",
    "tag instance i-1 as having had no instance profile",
)
REMOVE_TAG = "remove the restore tag from instance i-1"
RECORD, RECORD_NONE = (
    f"record in role 'role' that instance i-1 had {profile}"
    for profile in ("instance profile '{}'", "no instance profile")
)
REMOVE_RECORD = "remove the restore record of instance i-1 from role 'role'"
AS_TAGGED = "the same as the restore tag"
OPEN_WINDOW, CLOSE_WINDOW = (f"{verb} the admin window of role 'R'" for verb in ("open", "close"))


def window_plan(summary: str) -> Plan[Any]:
    return Plan(None, None, {"R": [Step(Kind.UPDATE, "iam:PutRolePolicy", {}, summary)]})


OPENING, CLOSING = window_plan(OPEN_WINDOW), window_plan(CLOSE_WINDOW)


def state(
    *profiles: str,
    tag: str | None = None,
    record: str | None = AS_TAGGED,
    instance_state: str = "running",
    unusable: tuple[str, ...] = (),
) -> State:
    record = tag if record == AS_TAGGED else record
    restore_tags = {} if tag is None else {INSTANCE: tag}
    records = {} if record is None else {INSTANCE: record}
    return State(
        {INSTANCE: instance(*profiles, instance_state=instance_state)},
        restore_tags,
        records,
        frozenset(restore_tags.keys() & records.keys()),
        frozenset(unusable),
    )


def steps_in_state(steps: list[str], profiles: list[str], instance_state: str) -> list[str]:
    """The steps in that state. EC2 does not replace a profile on a stopped instance, so there it is disassociated."""
    if instance_state not in STOPPED:
        return steps
    parts = [step.partition(" instead of ") for step in steps]
    disassociate = [DISASSOCIATE.format(profile) for profile in profiles]
    return [each for step, replaced, _ in parts for each in ([*disassociate, step] if replaced else [step])]


def note(profile: str) -> list[str]:
    """The steps that write record and tag."""
    return [RECORD.format(profile), TAG_WITH.format(profile)]


ACQUIRE_CASES = {
    "server profile": (["server"], None, note("server"), [ASSOCIATE_ADMIN + IN_PLACE.format("server")]),
    "application profile": (["shop"], None, note("shop"), [ASSOCIATE_ADMIN + IN_PLACE.format("shop")]),
    "no profile": ([], None, [RECORD_NONE, TAG_WITH_NONE], [ASSOCIATE_ADMIN]),
    "tagged": (["shop"], "shop", [], [ASSOCIATE_ADMIN + IN_PLACE.format("shop")]),
    "tagged, no profile": ([], NO_PROFILE, [], [ASSOCIATE_ADMIN]),
    "acquired": (["admin"], "shop", [], []),
    "admin profile without a tag": (["admin"], None, note("server"), []),
    "being replaced": (["shop", "admin"], "shop", [], [ASSOCIATE_ADMIN + IN_PLACE.format("shop")]),
}


@pytest.mark.parametrize("instance_state", ["running", "stopped", "pending", "stopping"])
@pytest.mark.parametrize(("profiles", "tag", "tagging", "swapping"), ACQUIRE_CASES.values(), ids=ACQUIRE_CASES)
def test_acquire_tags_opens_the_window_and_swaps_in_this_order(profiles, tag, tagging, swapping, instance_state):
    current = state(*profiles, tag=tag, instance_state=instance_state)
    swapping = steps_in_state(swapping, profiles, instance_state)
    has_trial = len(profiles) == 1 and profiles != ["admin"] and instance_state not in STOPPED
    before = [*tagging, *(TRIAL.format(each) for each in profiles if has_trial)]
    assert admin_plan.plan(current, desired_admin(ACQUIRED)).summaries == before + swapping
    plan = admin_plan.plan(current, desired_admin(ACQUIRED), OPENING)
    assert plan.summaries == [*before, OPEN_WINDOW, *swapping]


@pytest.mark.parametrize(("profile", "proven"), [("server", True), ("shop", False)])
def test_a_profile_that_the_same_run_has_associated_needs_no_trial(profile, proven):
    wanted = replace(desired_admin(ACQUIRED), managed_before=True)
    assert (TRIAL.format(profile) not in admin_plan.plan(state(profile), wanted).summaries) == proven


def test_a_trial_gives_the_association_another_id():
    """Only a denial prevents anything. The swap looks up the new id, and again before each retry."""
    *_, trial, swap = admin_plan.plan(state("shop"), desired_admin(ACQUIRED)).steps[INSTANCE]
    assert trial.done_when == ASSOCIATION_RETRY_CODES | ASSOCIATION_STALE_CODES
    assert (trial.retry_when, trial.stale_when) == (frozenset(), frozenset())
    assert trial.arguments == {"association_id": "i-1-shop", "iam_instance_profile": {"name": "shop"}}
    assert [step.context.look_up_association for step in (trial, swap)] == [False, True]
    assert "IncorrectState" in swap.retry_when
    [*_, swap] = admin_plan.plan(state(), desired_admin(ACQUIRED)).steps[INSTANCE]
    assert not swap.context.look_up_association
    assert "IncorrectState" not in swap.retry_when


@pytest.mark.parametrize(("profiles", "tag", "tagging", "swapping"), ACQUIRE_CASES.values(), ids=ACQUIRE_CASES)
def test_exclusive_changes_nothing(profiles, tag, tagging, swapping):
    current = state(*profiles, tag=tag)
    assert admin_plan.plan(current, desired_admin(EXCLUSIVE)) == Plan(current, current, {})


@pytest.mark.parametrize(
    ("current", "is_associated"),
    [
        (state("admin"), True),
        (state("admin", instance_state="stopped"), False),
        (state("shop"), False),
        (state("shop", "admin"), False),
        (state(), False),
    ],
    ids=["admin", "stopped", "lost", "being replaced", "none"],
)
def test_an_admin_profile_is_associated_again_where_the_caller_asks_for_it(current, is_associated):
    wanted = replace(desired_admin(EXCLUSIVE), associate_again=True)
    plan = admin_plan.plan(current, wanted)
    again = "associate instance profile 'admin' with instance i-1 again, so that EC2 assumes its role"
    assert plan.summaries == [again] * is_associated
    assert plan.planned == current
    assert admin_plan.remaining(plan, current, wanted) == [], "it leaves no trace to wait for"
    for step in plan.all_steps:
        assert step.arguments == {"association_id": "i-1-admin", "iam_instance_profile": {"name": "admin"}}
    with pytest.raises(ContentionError, match="i-2 has instance profile 'admin'"):
        admin_plan.plan(replace(state_with_other("admin", tag="shop")), wanted)


def test_steps_after_the_tag_check_for_other_runs_before_a_retry_only():
    """After the tag was written, the check has just been done."""
    current = replace(state("shop"), tagged=frozenset({OTHER_INSTANCE}))
    steps = admin_plan.plan(current, desired_admin(ACQUIRED), OPENING).steps[INSTANCE]
    assert [step.action for step in steps[:2]] == [RECORD_ACTION, TAG_ACTION]
    check = ContentionCheck(frozenset({OTHER_INSTANCE}), before_first_try=False, earlier="shop")
    assert [step.context for step in steps] == [
        *(check, check, replace(check, is_trial=True), check),
        replace(check, look_up_association=True),
    ]


def test_without_a_tag_to_write_the_first_step_checks_for_other_runs_before_its_first_try():
    steps = admin_plan.plan(state("shop", tag="shop"), desired_admin(ACQUIRED), OPENING).steps[INSTANCE]
    assert [step.context.before_first_try for step in steps] == [True, False, False]


RELEASE_CASES = {
    "server profile": (["admin"], "server", [ASSOCIATE.format("server") + IN_PLACE.format("admin")], True),
    "application profile": (["admin"], "shop", [ASSOCIATE.format("shop") + IN_PLACE.format("admin")], True),
    "no profile": (["admin"], NO_PROFILE, [DISASSOCIATE.format("admin")], True),
    "being acquired": (["shop", "admin"], "shop", [ASSOCIATE.format("shop") + IN_PLACE.format("admin")], True),
    "being released": (["admin", "shop"], "shop", [ASSOCIATE.format("shop") + IN_PLACE.format("admin")], True),
    "tagged only": (["shop"], "shop", [], True),
    "tagged only, no profile": ([], NO_PROFILE, [], True),
    "changed by someone else": (["other"], "shop", [], True),
    "changed by someone else, no profile before": (["other"], NO_PROFILE, [], True),
    "disassociated only": ([], "shop", [ASSOCIATE.format("shop")], True),
    "nothing to do": (["server"], None, [], False),
}


@pytest.mark.parametrize("whole_region", [False, True], ids=["instance", "region"])
@pytest.mark.parametrize("instance_state", ["running", "stopped"])
@pytest.mark.parametrize("case", RELEASE_CASES.values(), ids=RELEASE_CASES)
def test_release_restores_the_profile_and_removes_the_tag(case, instance_state, whole_region):
    profiles, tag, steps, tagged = case
    current = state(*profiles, tag=tag, instance_state=instance_state)
    steps = steps_in_state(steps, profiles, instance_state)
    released = desired_admin(RELEASED, whole_region=whole_region)
    plan = admin_plan.plan(current, released)
    assert plan.summaries == steps + [REMOVE_TAG, REMOVE_RECORD] * tagged
    for step in plan.all_steps:
        check_call(step)
    assert plan.planned.restore_tags == plan.planned.records == {}
    keeping = admin_plan.plan(current, replace(released, keep_tag=True))
    assert keeping.summaries == steps
    assert (keeping.planned.restore_tags, keeping.planned.records) == (current.restore_tags, current.records)


@pytest.mark.parametrize("whole_region", [False, True], ids=["instance", "region"])
@pytest.mark.parametrize(("profiles", "tag", "steps", "tagged"), RELEASE_CASES.values(), ids=RELEASE_CASES)
def test_release_closes_the_window_even_if_the_instance_fails(profiles, tag, steps, tagged, whole_region):
    current, released = state(*profiles, tag=tag), desired_admin(RELEASED, whole_region=whole_region)
    with_window = admin_plan.plan(current, released, CLOSING).steps
    assert with_window == {**admin_plan.plan(current, released).steps, "window of R": CLOSING.steps["R"]}


def test_release_closes_the_window_although_the_instances_could_not_be_read():
    error = CwagentError("Could not look up 1 instances.")
    plan = admin_plan.plan(State(error=error), desired_admin(RELEASED), CLOSING)
    assert plan.steps == {"window of R": CLOSING.steps["R"]}
    assert plan.errors == {"instances": error}


@pytest.mark.parametrize("ended", sorted(ENDED))
@pytest.mark.parametrize("profiles", [[], ["admin"], ["shop"]])
def test_a_terminated_instance_only_loses_its_tag(ended, profiles):
    current = state(*profiles, tag="shop", instance_state=ended)
    assert admin_plan.plan(current, desired_admin(RELEASED)).summaries == [REMOVE_TAG, REMOVE_RECORD]
    untagged = replace(current, restore_tags={}, records={})
    assert not admin_plan.plan(untagged, desired_admin(RELEASED, whole_region=True)).has_changes


def test_release_removes_the_restore_tag_and_the_record_and_no_other():
    """An instance that does not exist any more counts as released."""
    assert not admin_plan.plan(State(), desired_admin(RELEASED)).has_changes
    untag, forget = admin_plan.plan(state("shop", tag="shop"), desired_admin(RELEASED)).steps[INSTANCE]
    assert [untag.done_when, forget.done_when] == [{"InvalidInstanceID.NotFound"}, {"NoSuchEntity"}]
    assert untag.arguments == {"resources": [INSTANCE], "tags": {RESTORE_TAG: "shop"}}
    assert forget.arguments == {"role_name": "role", "tag_keys": [f"{RESTORE_TAG}:{REGION}:{INSTANCE}"]}


# Tags and records that others wrote, or that an interruption left


PLANTED = {
    "no profile": ((), "Power"),
    "another profile": (("shop",), "Power"),
    "no profile before": ((), NO_PROFILE),
}


@pytest.mark.parametrize("named", [(), (INSTANCE,)], ids=["outside", "in the inventory"])
@pytest.mark.parametrize(("profiles", "tag"), PLANTED.values(), ids=PLANTED)
def test_a_tag_without_a_record_restores_nothing_and_is_left_with_a_warning(profiles, tag, named):
    current, released = state(*profiles, tag=tag, record=None), desired_admin(RELEASED, whole_region=True, named=named)
    assert not admin_plan.plan(current, released).has_changes
    [warning] = admin_plan.warnings(current, released)
    assert "instance i-1 has a tag cwagent:earlier-profile that no run of this collection has written" in warning
    assert "role 'role' has no record of it" in warning
    assert "--resources i-1 --tags Key=cwagent:earlier-profile" in warning


def test_a_tag_without_a_record_does_not_make_others_wait():
    current = replace(state_with_other("shop", tag="Power"), records={}, tagged=frozenset())
    assert admin_plan.plan(current, desired_admin(ACQUIRED)).has_changes
    assert len(admin_plan.warnings(current, desired_admin(ACQUIRED))) == 1
    admin_plan.check_not_tagged(state("shop", tag="Power", record=None), FAIL_IF_TAGGED)


@pytest.mark.parametrize(
    ("tag", "steps"), [("Power", note("shop")), ("shop", note("shop")[:1])], ids=["another profile", "the same profile"]
)
def test_a_tag_without_a_record_on_the_instance_that_is_acquired_is_overwritten(tag, steps):
    current = state("shop", tag=tag, record=None)
    plan = admin_plan.plan(current, desired_admin(ACQUIRED))
    assert plan.summaries == [*steps, TRIAL.format("shop"), ASSOCIATE_ADMIN + IN_PLACE.format("shop")]
    assert plan.steps[INSTANCE][0].context.before_first_try, "the tag can belong to a run that has just started"
    assert plan.planned.restore_tags == plan.planned.records == {INSTANCE: "shop"}
    assert admin_plan.warnings(current, desired_admin(ACQUIRED)) == []


@pytest.mark.parametrize("tag", ["Power", NO_PROFILE, None], ids=["another profile", "no profile", "removed"])
def test_the_record_decides_and_not_the_tag(tag):
    current = state("admin", tag=tag, record="shop")
    steps = admin_plan.plan(current, desired_admin(RELEASED, whole_region=True)).summaries
    assert steps == [ASSOCIATE.format("shop") + IN_PLACE.format("admin"), *[REMOVE_TAG] * bool(tag), REMOVE_RECORD]
    lost = admin_plan.plan(state(tag=tag, record="shop"), desired_admin(RELEASED, whole_region=True))
    assert lost.summaries[0] == ASSOCIATE.format("shop")


def test_a_changed_tag_is_corrected_when_the_instance_is_acquired_again():
    steps = admin_plan.plan(state("admin", tag="Power", record="shop"), desired_admin(ACQUIRED)).summaries
    assert steps == [TAG_WITH.format("shop")]


@pytest.mark.parametrize("current", [state("shop", record="shop"), State(records={INSTANCE: "shop"})])
def test_a_record_without_a_tag_is_removed(current):
    """Including the record of an instance that no longer exists."""
    plan = admin_plan.plan(current, desired_admin(RELEASED, whole_region=True))
    assert plan.summaries == [REMOVE_RECORD]
    assert plan.planned.records == {}
    assert not admin_plan.plan(current, desired_admin(RELEASED, OTHER_INSTANCE)).has_changes


SERVER_AGAIN = ASSOCIATE.format("server") + IN_PLACE.format("admin")


@pytest.mark.parametrize(
    ("wanted", "steps"),
    [
        (desired_admin(RELEASED, whole_region=True), []),
        (desired_admin(RELEASED, whole_region=True, named=(OTHER_INSTANCE,)), []),
        (desired_admin(RELEASED, whole_region=True, named=(INSTANCE,)), [SERVER_AGAIN]),
        (desired_admin(RELEASED), [SERVER_AGAIN]),
    ],
    ids=["not named", "another named", "named", "in the list"],
)
def test_an_admin_instance_without_a_record_is_restored_only_if_the_user_named_it(wanted, steps):
    assert admin_plan.plan(state("admin"), wanted).summaries == steps
    warnings = admin_plan.warnings(state("admin"), wanted)
    assert len(warnings) == (not steps)
    assert all("instance i-1 has instance profile 'admin', which no run of this" in each for each in warnings)


@pytest.mark.parametrize("wanted", [ACQUIRED, EXCLUSIVE])
def test_nothing_is_stored_while_an_instance_has_the_admin_profile_without_a_record(wanted):
    message = (
        r"instance i-2 has instance profile 'admin', which no run of this collection has associated\. Associate "
        r"another profile with it, or add it to the inventory and run cwagent\.iam\.restore"
    )
    with pytest.raises(ContentionError, match=message):
        admin_plan.plan(replace(state_with_other("admin"), records={}), desired_admin(wanted))


@pytest.mark.parametrize("current", [state("shop"), state()], ids=["another profile", "no profile"])
def test_an_instance_that_lost_the_admin_profile_is_an_error_if_the_user_wants_that(current):
    exclusive = desired_admin(EXCLUSIVE)
    admin_plan.plan(current, exclusive)
    admin_plan.plan(state("admin"), replace(exclusive, fail_if_lost=True))
    with pytest.raises(ContentionError, match="Instance i-1 was restored by another run or by a person"):
        admin_plan.plan(current, replace(exclusive, fail_if_lost=True))


@pytest.mark.parametrize("earlier", ["shop", "a,b", ",none", "a,,b", NO_PROFILE])
def test_a_record_has_the_name_of_any_profile(earlier):
    """IAM allows commas in names of profiles, but not in tags."""
    current = state() if earlier == NO_PROFILE else state(earlier)
    record = admin_plan.plan(current, desired_admin(ACQUIRED)).steps[INSTANCE][0]
    assert "," not in str(next(iter(record.arguments["tags"].values())))
    tags = {**record.arguments["tags"], "team": "ops", f"{RESTORE_TAG}:us-1:i-7": "x"}
    assert admin_plan.records_in(tags, REGION) == {INSTANCE: earlier}
    assert admin_plan.regions_with_records(tags) == [REGION, "us-1"]


def test_remaining_steps_follow_ec2_and_the_records_of_the_plan():
    current, released = state("admin", tag="shop"), desired_admin(RELEASED, whole_region=True)
    plan = admin_plan.plan(current, released)
    unread = replace(current, records={})
    assert admin_plan.remaining(plan, unread, released) == [
        ASSOCIATE.format("shop") + IN_PLACE.format("admin"),
        REMOVE_TAG,
    ]
    assert admin_plan.remaining(plan, replace(unread, restore_tags={INSTANCE: "planted"}), released) == [
        ASSOCIATE.format("shop") + IN_PLACE.format("admin")
    ]
    assert admin_plan.remaining(plan, state("shop"), released) == []
    other = replace(state("shop"), instances={OTHER_INSTANCE: instance("admin", name=OTHER_INSTANCE)})
    assert admin_plan.remaining(plan, other, replace(released, fallback_ids=frozenset({OTHER_INSTANCE}))) == []
    acquired = admin_plan.plan(state("shop"), desired_admin(ACQUIRED))
    assert admin_plan.remaining(acquired, state("admin", tag="shop", record=None), desired_admin(ACQUIRED)) == []
    assert admin_plan.remaining(acquired, state("shop", tag="shop", record=None), desired_admin(ACQUIRED)) == [
        ASSOCIATE_ADMIN + IN_PLACE.format("shop")
    ]


@pytest.mark.parametrize("earlier", ["shop", NO_PROFILE])
def test_an_acquisition_is_predicted_after_a_release_that_was_only_planned(earlier):
    wanted = replace(desired_admin(ACQUIRED), fail_if_tagged=True)
    interrupted = replace(state("admin", tag=earlier), tagged=frozenset({INSTANCE}))
    assumed = admin_plan.assumed_state(interrupted, replace(wanted, released_before=True))
    admin_plan.check_not_tagged(assumed, wanted)
    restored = state() if earlier == NO_PROFILE else state(earlier)
    assert admin_plan.plan(assumed, wanted).summaries == admin_plan.plan(restored, wanted).summaries
    assert admin_plan.assumed_state(interrupted, wanted) == interrupted
    unrecorded = admin_plan.assumed_state(state("admin"), replace(wanted, released_before=True))
    assert admin_plan.plan(unrecorded, wanted).summaries == admin_plan.plan(state("server"), wanted).summaries


def test_an_acquisition_is_predicted_after_an_association_that_was_only_planned():
    wanted = replace(desired_admin(ACQUIRED), managed_before=True, associated_before=True)
    assumed = admin_plan.assumed_state(state(), wanted)
    assert admin_plan.plan(assumed, wanted).summaries == admin_plan.plan(state(wanted.fallback), wanted).summaries
    for other in (state("shop"), replace(state(), instances={OTHER_INSTANCE: instance(name=OTHER_INSTANCE)})):
        assert admin_plan.assumed_state(other, wanted) == other


@pytest.mark.parametrize("earlier", ["shop", NO_PROFILE])
def test_a_release_is_planned_from_the_planned_acquisition(earlier):
    before = state() if earlier == NO_PROFILE else state(earlier)
    acquired = admin_plan.plan(before, desired_admin(ACQUIRED)).planned
    released = admin_plan.plan(acquired, desired_admin(RELEASED, keep_tag=True))
    steps = (
        [DISASSOCIATE.format("admin")]
        if earlier == NO_PROFILE
        else [ASSOCIATE.format("shop") + IN_PLACE.format("admin")]
    )
    assert released.summaries == steps
    untagged = admin_plan.plan(released.planned, desired_admin(RELEASED))
    assert untagged.summaries == [REMOVE_TAG, REMOVE_RECORD]


TRACES = {
    "admin profile": state("admin"),
    "restore tag": state("shop", tag="shop", record=None),
    "record": replace(state("shop"), records={INSTANCE: "shop"}),
    "unreadable": State(error=CwagentError("No.")),
}


@pytest.mark.parametrize("trace", TRACES)
def test_the_window_of_an_instance_with_a_trace_is_closed_without_being_read(trace):
    released = desired_admin(RELEASED, INSTANCE)
    assert admin_plan.may_hold_window(TRACES[trace], released)
    assert not admin_plan.may_hold_window(TRACES[trace], replace(released, instance_ids=None))
    assert not admin_plan.may_hold_window(TRACES[trace], desired_admin(ACQUIRED))
    if trace != "unreadable":
        assert not admin_plan.may_hold_window(TRACES[trace], desired_admin(RELEASED, OTHER_INSTANCE))
    assert not admin_plan.may_hold_window(state("shop"), released)


@pytest.mark.parametrize(
    ("opening", "ids", "is_own"),
    [
        (None, (INSTANCE,), True),
        (Opening(NOW, INSTANCE), (INSTANCE,), True),
        (Opening(NOW, None), (INSTANCE,), True),
        (Opening(NOW, OTHER_INSTANCE), (INSTANCE,), False),
        (Opening(NOW, OTHER_INSTANCE), None, True),
    ],
)
def test_a_window_for_another_instance_is_recognized(opening, ids, is_own):
    assert replace(desired_admin(RELEASED), instance_ids=ids).is_for(opening) == is_own


@pytest.mark.parametrize(
    ("current", "lacks"),
    [(state(), True), (state("admin"), True), (state("shop"), False), (state(instance_state="terminated"), False)],
)
def test_the_record_matters_where_an_instance_lacks_its_profile(current, lacks):
    assert admin_plan.lacks_profile(current.instances[INSTANCE], desired_admin(RELEASED)) is lacks


@pytest.mark.parametrize(
    ("current", "wanted"),
    [(state(), ACQUIRED), (state("shop"), ACQUIRED), (state("admin", tag="shop"), RELEASED)],
    ids=["associated", "replaced", "restored"],
)
def test_an_association_is_retried_until_ec2_knows_the_profile(current, wanted):
    steps = admin_plan.plan(current, desired_admin(wanted)).steps[INSTANCE]
    [*_, step] = [step for step in steps if step.action.endswith(("InstanceProfile", "ProfileAssociation"))]
    assert step.retry_when >= ASSOCIATION_RETRY_CODES


def test_a_record_is_retried_when_two_runs_change_the_role_at_once():
    record = admin_plan.plan(state("shop"), desired_admin(ACQUIRED)).steps[INSTANCE][0]
    forget = admin_plan.plan(state("shop", tag="shop"), desired_admin(RELEASED)).steps[INSTANCE][-1]
    for step in (record, forget):
        assert "ConcurrentModification" in step.retry_when | PASSING_CODES[step.action.partition(":")[0]]


def state_with_other(*profiles: str, tag: str | None = None, instance_state: str = "running") -> State:
    others = {OTHER_INSTANCE: instance(*profiles, name=OTHER_INSTANCE, instance_state=instance_state)}
    restore_tags = {} if tag is None else {OTHER_INSTANCE: tag}
    records = {OTHER_INSTANCE: tag or "server"} if tag or "admin" in profiles else {}
    return State({INSTANCE: instance("server"), **others}, restore_tags, records)


OTHER_IS_ADMIN = "i-2 has instance profile 'admin'"
PREVENTED = {
    "other is admin": (state_with_other("admin"), ContentionError, rf"instance {OTHER_IS_ADMIN}\. Wait for"),
    "other is admin, tagged": (state_with_other("admin", tag="shop"), ContentionError, OTHER_IS_ADMIN),
    "other is admin, stopped": (
        state_with_other("admin", instance_state="stopped"),
        ContentionError,
        OTHER_IS_ADMIN,
    ),
    "other is being acquired": (state_with_other("shop", "admin", tag="shop"), ContentionError, OTHER_IS_ADMIN),
    "other is being released": (state_with_other("admin", "shop", tag="shop"), ContentionError, OTHER_IS_ADMIN),
    "other is tagged": (
        state_with_other("shop", tag="shop"),
        ContentionError,
        "i-2 has an unfinished swap of instance profile 'admin'",
    ),
    "other is tagged, no profile": (state_with_other(tag=NO_PROFILE), ContentionError, "i-2 has an unfinished swap of"),
    "unknown": (State(), InvalidInput, "i-1 does not exist"),
    "terminated": (state(instance_state="terminated"), InvalidInput, "i-1 is terminated"),
    "shutting down": (
        state("admin", tag="shop", instance_state="shutting-down"),
        InvalidInput,
        "i-1 is shutting-down",
    ),
}


@pytest.mark.parametrize("wanted", [ACQUIRED, EXCLUSIVE])
@pytest.mark.parametrize(("current", "error", "message"), PREVENTED.values(), ids=PREVENTED)
def test_another_admin_instance_is_contention_and_an_ineligible_instance_is_an_error(current, error, message, wanted):
    with pytest.raises(error, match=message):
        admin_plan.plan(current, desired_admin(wanted))


def test_all_other_admin_instances_are_reported_with_the_remedy():
    current = state_with_other("admin")
    records = {**current.records, "i-3": "shop"}
    current = State({**current.instances, "i-3": instance("shop", name="i-3")}, {"i-3": "shop"}, records)
    with pytest.raises(ContentionError, match=r"or run cwagent\.iam\.restore to clean up\.$") as error:
        admin_plan.plan(current, desired_admin(ACQUIRED))
    assert "i-2 has instance profile 'admin', and instance i-3 has an unfinished swap" in str(error.value)


@pytest.mark.parametrize("ended", sorted(ENDED))
def test_a_terminated_admin_instance_is_ignored(ended):
    current = state_with_other("admin", tag="shop", instance_state=ended)
    assert admin_plan.plan(current, desired_admin(ACQUIRED)).has_changes
    assert not admin_plan.plan(current, desired_admin(EXCLUSIVE)).has_changes


def test_release_ignores_other_admin_instances():
    both = {INSTANCE: "shop", OTHER_INSTANCE: "shop"}
    current = replace(state_with_other("admin", tag="shop"), restore_tags=both, records=both)
    assert list(admin_plan.plan(current, desired_admin(RELEASED)).steps) == [INSTANCE]
    assert list(admin_plan.plan(current, desired_admin(RELEASED, whole_region=True)).steps) == [
        INSTANCE,
        OTHER_INSTANCE,
    ]


@pytest.mark.parametrize(
    ("profiles", "tag", "earlier"),
    [
        (["admin"], "shop", "shop"),
        (["admin"], NO_PROFILE, None),
        (["admin"], None, "server"),
        (["shop"], None, "shop"),
        ([], None, None),
        (["admin", "shop"], None, "shop"),
        (["admin", "shop"], "shop", "shop"),
        (["other"], "shop", "other"),
        (["other"], NO_PROFILE, "other"),
        ([], "shop", "shop"),
        (["admin"], "admin", "server"),
        (["shop", "admin"], "admin", "server"),
    ],
)
def test_the_earlier_profile(profiles, tag, earlier):
    assert admin_plan.earlier_profile(state(*profiles, tag=tag), INSTANCE, desired_admin(RELEASED)) == earlier


@pytest.mark.parametrize(
    ("profiles", "tag", "unusable", "earlier", "warning"),
    [
        (
            *(["admin"], "shop", ["shop"], "server"),
            r"^instance profile 'shop', which instance i-1 had before, .*; instance profile 'server' is associated",
        ),
        (
            *(["admin"], "shop", ["shop", "server"], None),
            "'shop', which instance i-1 had before, .*; no instance profile is associated instead",
        ),
        (["admin"], "shop", ["server"], "shop", None),
        (["admin"], None, ["server"], None, None),
        (["other"], "shop", ["shop"], "other", None),
    ],
)
def test_a_profile_that_was_deleted_is_replaced_by_the_server_profile(profiles, tag, unusable, earlier, warning):
    current = state(*profiles, tag=tag, unusable=unusable)
    assert admin_plan.earlier_profile(current, INSTANCE, desired_admin(RELEASED)) == earlier
    warnings = admin_plan.warnings(current, desired_admin(RELEASED))
    assert len(warnings) == bool(warning)
    assert all(re.search(warning, each) for each in warnings)
    plan = admin_plan.plan(current, desired_admin(RELEASED))
    assert (plan.planned.restore_tags, plan.planned.unusable_profiles) == ({}, current.unusable_profiles)
    assert admin_plan.to_result(plan, plan.planned, desired_admin(RELEASED))[0]["profile"] == earlier


def test_the_tag_of_a_profile_that_someone_else_has_replaced_is_written_again():
    steps = admin_plan.plan(state("other", tag="shop"), desired_admin(ACQUIRED)).summaries
    assert steps[:2] == note("other")


FAIL_IF_TAGGED = replace(desired_admin(ACQUIRED), fail_if_tagged=True)


def test_a_tagged_instance_is_contention_if_the_user_wants_that():
    message = (
        r"^Instance i-1 has a restore tag: a run or a person is using it, or a run was interrupted\. Wait for that to "
        r"end, or run cwagent\.iam\.restore to clean up\.$"
    )
    with pytest.raises(ContentionError, match=message):
        admin_plan.check_not_tagged(state("shop", tag="shop"), FAIL_IF_TAGGED)


@pytest.mark.parametrize(
    ("current", "wanted"),
    [
        (state("shop", tag="shop"), desired_admin(ACQUIRED)),
        (state("shop"), FAIL_IF_TAGGED),
        (state("shop", tag="shop"), replace(FAIL_IF_TAGGED, state=RELEASED)),
        (state_with_other("shop", tag="shop"), FAIL_IF_TAGGED),
    ],
    ids=["not wanted", "not tagged", "released", "another instance tagged"],
)
def test_a_tag_is_accepted_otherwise(current, wanted):
    admin_plan.check_not_tagged(current, wanted)


def test_the_first_of_the_instances_that_no_run_has_associated_is_named():
    others = {name: instance("admin", name=name) for name in ("i-3", OTHER_INSTANCE)}
    with pytest.raises(ContentionError, match="instance i-2 has instance profile 'admin', which no run of this"):
        admin_plan.plan(State({INSTANCE: instance("server"), **others}), desired_admin(ACQUIRED))


@pytest.mark.parametrize("wanted", [ACQUIRED, EXCLUSIVE])
def test_more_than_one_instance_is_an_error(wanted):
    current = State({INSTANCE: instance(), OTHER_INSTANCE: instance(name=OTHER_INSTANCE)})
    with pytest.raises(InvalidInput, match="Only one instance may have the admin profile, not i-1, i-2"):
        admin_plan.plan(current, desired_admin(wanted, INSTANCE, OTHER_INSTANCE))
    assert admin_plan.plan(state(), desired_admin(wanted, INSTANCE, INSTANCE)).has_changes == (wanted == ACQUIRED)
    assert not admin_plan.plan(current, desired_admin(RELEASED, INSTANCE, OTHER_INSTANCE)).has_changes


@pytest.mark.parametrize("admin", ["server", "Server"])
def test_one_profile_for_both_is_an_error(admin):
    message = f"'{admin}' is both the admin and the server profile: every server could write to Parameter Store"
    with pytest.raises(InvalidInput, match=message):
        admin_plan.check_profiles(admin, "server")
    admin_plan.check_profiles("admin", "server")


def test_the_result_and_the_diff():
    current = State(
        {INSTANCE: instance("shop"), OTHER_INSTANCE: instance("admin", name=OTHER_INSTANCE)},
        {OTHER_INSTANCE: NO_PROFILE},
        {OTHER_INSTANCE: NO_PROFILE, "i-3": "gone"},
    )
    released = desired_admin(RELEASED, whole_region=True)
    plan = admin_plan.plan(current, released)
    assert admin_plan.to_dict(plan.current)["instances"] == {
        INSTANCE: {"profile": "shop", "restore_tag": None, "restore_record": None},
        OTHER_INSTANCE: {"profile": "admin", "restore_tag": NO_PROFILE, "restore_record": NO_PROFILE},
        "i-3": {"profile": None, "restore_tag": None, "restore_record": "gone"},
    }
    nothing = {"profile": None, "restore_tag": None, "restore_record": None}
    assert admin_plan.to_dict(plan.planned)["instances"][OTHER_INSTANCE] == nothing
    assert "i-3" not in admin_plan.to_dict(plan.planned)["instances"]
    expected = [
        {"instance_id": INSTANCE, "profile_before": "shop", "profile": "shop", "earlier_profile": "shop"},
        {"instance_id": OTHER_INSTANCE, "profile_before": "admin", "profile": None, "earlier_profile": None},
    ]
    assert admin_plan.to_result(plan, plan.planned, released) == expected
    assert admin_plan.to_result(plan, State(), released) == expected, "a released instance is not read any more"
    wanted = desired_admin(RELEASED, "i-9")
    missing = {"instance_id": "i-9", "profile_before": None, "profile": None, "earlier_profile": None}
    assert admin_plan.to_result(admin_plan.plan(state("shop"), wanted), state("shop"), wanted) == [missing]
