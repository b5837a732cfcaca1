from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from admin_instances import (
    INSTANCE,
    OTHER_INSTANCE,
    acquisition,
    instance,
    release,
    release_of_region,
    sole_holder,
)
from aws_account import REGION
from aws_model import NOW, check_call

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    ContentionError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.gateway import PASSING_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Kind, Plan, Step
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import Opening
from ansible_collections.cwagent.iam.plugins.module_utils._servers import admin_instance
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_instance import NO_PROFILE, RESTORE_TAG, State
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_profile_plan import (
    RECORD_ACTION,
    TAG_ACTION,
    ContentionCheck,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile_plan import (
    ASSOCIATION_RETRY_CODES,
    ASSOCIATION_STALE_CODES,
    ENDED,
    STOPPED,
)

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
LOST = "Instance i-1 was restored by another run or by a person"
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


@pytest.mark.parametrize("instance_state", ["running", "stopped"])
@pytest.mark.parametrize(("profiles", "tag", "tagging", "swapping"), ACQUIRE_CASES.values(), ids=ACQUIRE_CASES)
def test_acquire_tags_opens_the_window_and_swaps_in_this_order(profiles, tag, tagging, swapping, instance_state):
    current = state(*profiles, tag=tag, instance_state=instance_state)
    swapping = steps_in_state(swapping, profiles, instance_state)
    has_trial = len(profiles) == 1 and profiles != ["admin"] and instance_state not in STOPPED
    before = [*tagging, *(TRIAL.format(each) for each in profiles if has_trial)]
    assert acquisition().plan(current).summaries == before + swapping
    plan = acquisition().plan(current, OPENING)
    assert plan.summaries == [*before, OPEN_WINDOW, *swapping]


@pytest.mark.parametrize(("profile", "proven"), [("server", True), ("shop", False)])
def test_a_profile_that_the_same_run_has_associated_needs_no_trial(profile, proven):
    wanted = acquisition(managed_before=True)
    assert (TRIAL.format(profile) not in wanted.plan(state(profile)).summaries) == proven


def test_a_trial_gives_the_association_another_id():
    """Only a denial prevents anything. The swap looks up the new id, and again before each retry."""
    *_, trial, swap = acquisition().plan(state("shop")).steps[INSTANCE]
    assert trial.done_when == ASSOCIATION_RETRY_CODES | ASSOCIATION_STALE_CODES
    assert (trial.retry_when, trial.stale_when) == (frozenset(), frozenset())
    assert trial.arguments == {"association_id": "i-1-shop", "iam_instance_profile": {"name": "shop"}}
    assert [step.context.look_up_association for step in (trial, swap)] == [False, True]
    assert swap.retry_when == ASSOCIATION_RETRY_CODES | {"IncorrectState"}
    [*_, swap] = acquisition().plan(state()).steps[INSTANCE]
    assert not swap.context.look_up_association
    assert swap.retry_when == ASSOCIATION_RETRY_CODES


@pytest.mark.parametrize(("profiles", "tag", "tagging", "swapping"), ACQUIRE_CASES.values(), ids=ACQUIRE_CASES)
def test_checking_that_the_instance_is_alone_changes_nothing(profiles, tag, tagging, swapping):
    current = state(*profiles, tag=tag)
    with nullcontext() if "admin" in profiles else pytest.raises(ContentionError, match=LOST):
        assert sole_holder().plan(current) == Plan(current, current, {})
    assert sole_holder().warnings(current) == []


@pytest.mark.parametrize(
    ("current", "is_associated"),
    [
        (state("admin"), True),
        (state("admin", instance_state="stopped"), False),
        (state("shop", "admin"), False),
    ],
    ids=["admin", "stopped", "being replaced"],
)
def test_an_admin_profile_is_associated_again_where_the_caller_asks_for_it(current, is_associated):
    wanted = sole_holder(associate_again=True)
    plan = wanted.plan(current)
    again = "associate instance profile 'admin' with instance i-1 again, so that EC2 assumes its role"
    assert plan.summaries == [again] * is_associated
    assert plan.planned == current
    assert wanted.remaining(plan, current) == [], "it leaves no trace to wait for"
    for step in plan.all_steps:
        assert step.arguments == {"association_id": "i-1-admin", "iam_instance_profile": {"name": "admin"}}
    with pytest.raises(ContentionError, match="i-2 has instance profile 'admin'"):
        wanted.plan(replace(state_with_other("admin", tag="shop")))


def test_steps_after_the_tag_check_for_other_runs_before_a_retry_only():
    """After the tag was written, the check has just been done. Without a tag to write, the first step does it."""
    current = replace(state("shop"), tagged=frozenset({OTHER_INSTANCE}))
    steps = acquisition().plan(current, OPENING).steps[INSTANCE]
    assert [step.action for step in steps[:2]] == [RECORD_ACTION, TAG_ACTION]
    check = ContentionCheck(frozenset({OTHER_INSTANCE}), before_first_try=False, earlier="shop")
    assert [step.context for step in steps] == [
        *(check, check, replace(check, is_trial=True), check),
        replace(check, look_up_association=True),
    ]
    steps = acquisition().plan(state("shop", tag="shop"), OPENING).steps[INSTANCE]
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


@pytest.mark.parametrize("instance_state", ["running", "stopped"])
@pytest.mark.parametrize(("profiles", "tag", "steps", "tagged"), RELEASE_CASES.values(), ids=RELEASE_CASES)
def test_release_restores_the_profile_and_removes_the_tag(profiles, tag, steps, tagged, instance_state):
    current = state(*profiles, tag=tag, instance_state=instance_state)
    steps = steps_in_state(steps, profiles, instance_state)
    released = release()
    plan = released.plan(current)
    assert plan.summaries == steps + [REMOVE_TAG, REMOVE_RECORD] * tagged
    for step in plan.all_steps:
        check_call(step)
    assert plan.planned.restore_tags == plan.planned.records == {}
    keeping = replace(released, keep_tag=True).plan(current)
    assert keeping.summaries == steps
    assert (keeping.planned.restore_tags, keeping.planned.records) == (current.restore_tags, current.records)


@pytest.mark.parametrize("error", [None, CwagentError("Could not look up 1 instances.")], ids=["read", "unreadable"])
def test_release_closes_the_window_even_if_the_instance_fails(error):
    current = State(error=error) if error else state("admin", tag="shop")
    plan = release().plan(current, CLOSING)
    assert plan.steps == {**release().plan(current).steps, "window of R": CLOSING.steps["R"]}
    assert plan.errors == ({"instances": error} if error else {})


@pytest.mark.parametrize("ended", sorted(ENDED))
@pytest.mark.parametrize("profiles", [[], ["admin"], ["shop"]])
def test_a_terminated_instance_only_loses_its_tag(ended, profiles):
    current = state(*profiles, tag="shop", instance_state=ended)
    assert release().plan(current).summaries == [REMOVE_TAG, REMOVE_RECORD]
    untagged = replace(current, restore_tags={}, records={})
    assert not release_of_region().plan(untagged).has_changes


def test_release_removes_the_restore_tag_and_the_record_and_no_other():
    """An instance that does not exist any more counts as released."""
    assert not release().plan(State()).has_changes
    untag, forget = release().plan(state("shop", tag="shop")).steps[INSTANCE]
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
    current, released = state(*profiles, tag=tag, record=None), release_of_region(*named)
    assert not released.plan(current).has_changes
    [warning] = released.warnings(current)
    assert "instance i-1 has a tag cwagent:earlier-profile that no run of this collection has written" in warning
    assert "role 'role' has no record of it" in warning
    assert "--resources i-1 --tags Key=cwagent:earlier-profile" in warning


def test_a_tag_without_a_record_does_not_make_others_wait():
    current = replace(state_with_other("shop", tag="Power"), records={}, tagged=frozenset())
    assert acquisition().plan(current).has_changes
    assert len(acquisition().warnings(current)) == 1
    FAIL_IF_TAGGED.check_not_tagged(state("shop", tag="Power", record=None))


@pytest.mark.parametrize(
    ("tag", "steps"), [("Power", note("shop")), ("shop", note("shop")[:1])], ids=["another profile", "the same profile"]
)
def test_a_tag_without_a_record_on_the_instance_that_is_acquired_is_overwritten(tag, steps):
    current = state("shop", tag=tag, record=None)
    plan = acquisition().plan(current)
    assert plan.summaries == [*steps, TRIAL.format("shop"), ASSOCIATE_ADMIN + IN_PLACE.format("shop")]
    assert plan.steps[INSTANCE][0].context.before_first_try, "the tag can belong to a run that has just started"
    assert plan.planned.restore_tags == plan.planned.records == {INSTANCE: "shop"}
    assert acquisition().warnings(current) == []


@pytest.mark.parametrize("tag", ["Power", NO_PROFILE, None], ids=["another profile", "no profile", "removed"])
def test_the_record_decides_and_not_the_tag(tag):
    current = state("admin", tag=tag, record="shop")
    steps = release_of_region().plan(current).summaries
    assert steps == [ASSOCIATE.format("shop") + IN_PLACE.format("admin"), *[REMOVE_TAG] * bool(tag), REMOVE_RECORD]
    lost = release_of_region().plan(state(tag=tag, record="shop"))
    assert lost.summaries[0] == ASSOCIATE.format("shop")


def test_a_changed_tag_is_corrected_when_the_instance_is_acquired_again():
    steps = acquisition().plan(state("admin", tag="Power", record="shop")).summaries
    assert steps == [TAG_WITH.format("shop")]


@pytest.mark.parametrize("current", [state("shop", record="shop"), State(records={INSTANCE: "shop"})])
def test_a_record_without_a_tag_is_removed(current):
    """Including the record of an instance that no longer exists."""
    plan = release_of_region().plan(current)
    assert plan.summaries == [REMOVE_RECORD]
    assert plan.planned.records == {}
    assert not release(OTHER_INSTANCE).plan(current).has_changes


SERVER_AGAIN = ASSOCIATE.format("server") + IN_PLACE.format("admin")


@pytest.mark.parametrize(
    ("wanted", "steps"),
    [
        (release_of_region(), []),
        (release_of_region(OTHER_INSTANCE), []),
        (release_of_region(INSTANCE), [SERVER_AGAIN]),
        (release(), [SERVER_AGAIN]),
    ],
    ids=["not named", "another named", "named", "in the list"],
)
def test_an_admin_instance_without_a_record_is_restored_only_if_the_user_named_it(wanted, steps):
    assert wanted.plan(state("admin")).summaries == steps
    warnings = wanted.warnings(state("admin"))
    assert len(warnings) == (not steps)
    assert all("instance i-1 has instance profile 'admin', which no run of this" in each for each in warnings)


@pytest.mark.parametrize("wanted", [acquisition(), sole_holder()])
def test_nothing_is_stored_while_an_instance_has_the_admin_profile_without_a_record(wanted):
    message = (
        r"instance i-2 has instance profile 'admin', which no run of this collection has associated\. Associate "
        r"another profile with it, or add it to the inventory and run cwagent\.iam\.restore"
    )
    with pytest.raises(ContentionError, match=message):
        wanted.plan(replace(state_with_other("admin"), records={}))


@pytest.mark.parametrize("current", [state("shop"), state()], ids=["another profile", "no profile"])
@pytest.mark.parametrize("again", [False, True])
def test_an_instance_that_lost_the_admin_profile_is_an_error(current, again):
    sole_holder(associate_again=again).plan(state("admin"))
    with pytest.raises(ContentionError, match=LOST):
        sole_holder(associate_again=again).plan(current)


@pytest.mark.parametrize("earlier", ["shop", "a,b", ",none", "a,,b", NO_PROFILE])
def test_a_record_has_the_name_of_any_profile(earlier):
    """IAM allows commas in names of profiles, but not in tags."""
    current = state() if earlier == NO_PROFILE else state(earlier)
    record = acquisition().plan(current).steps[INSTANCE][0]
    assert "," not in str(next(iter(record.arguments["tags"].values())))
    tags = {**record.arguments["tags"], "team": "ops", f"{RESTORE_TAG}:us-1:i-7": "x"}
    assert admin_instance.records_in(tags, REGION) == {INSTANCE: earlier}
    assert admin_instance.regions_with_records(tags) == [REGION, "us-1"]


def test_remaining_steps_follow_ec2_and_the_records_of_the_plan():
    current, released = state("admin", tag="shop"), release_of_region()
    plan = released.plan(current)
    unread = replace(current, records={})
    assert released.remaining(plan, unread) == [
        ASSOCIATE.format("shop") + IN_PLACE.format("admin"),
        REMOVE_TAG,
    ]
    assert released.remaining(plan, replace(unread, restore_tags={INSTANCE: "planted"})) == [
        ASSOCIATE.format("shop") + IN_PLACE.format("admin")
    ]
    assert released.remaining(plan, state("shop")) == []
    other = replace(state("shop"), instances={OTHER_INSTANCE: instance("admin", name=OTHER_INSTANCE)})
    assert release_of_region(OTHER_INSTANCE).remaining(plan, other) == []
    acquired = acquisition().plan(state("shop"))
    assert acquisition().remaining(acquired, state("admin", tag="shop", record=None)) == []
    assert acquisition().remaining(acquired, state("shop", tag="shop", record=None)) == [
        ASSOCIATE_ADMIN + IN_PLACE.format("shop")
    ]


def test_an_acquisition_is_predicted_after_an_association_that_was_only_planned():
    wanted = acquisition(managed_before=True, associated_before=True)
    assumed = wanted.assumed_state(state())
    assert wanted.plan(assumed).summaries == wanted.plan(state(wanted.profiles.fallback)).summaries
    for other in (state("shop"), replace(state(), instances={OTHER_INSTANCE: instance(name=OTHER_INSTANCE)})):
        assert wanted.assumed_state(other) == other


TRACES = {
    "admin profile": state("admin"),
    "restore tag": state("shop", tag="shop", record=None),
    "record": replace(state("shop"), records={INSTANCE: "shop"}),
    "unreadable": State(error=CwagentError("No.")),
}


@pytest.mark.parametrize("trace", TRACES)
def test_the_window_of_an_instance_with_a_trace_is_closed_without_being_read(trace):
    released = release(INSTANCE)
    assert released.may_hold_window(TRACES[trace])
    assert not release_of_region().may_hold_window(TRACES[trace])
    if trace != "unreadable":
        assert not release(OTHER_INSTANCE).may_hold_window(TRACES[trace])
    assert not released.may_hold_window(state("shop"))


@pytest.mark.parametrize(
    ("opening", "wanted", "is_own"),
    [
        (None, release(), True),
        (Opening(NOW, INSTANCE), release(), True),
        (Opening(NOW, None), release(), True),
        (Opening(NOW, OTHER_INSTANCE), release(), False),
        (Opening(NOW, OTHER_INSTANCE), release_of_region(), True),
    ],
)
def test_a_window_for_another_instance_is_recognized(opening, wanted, is_own):
    assert wanted.may_close(opening) == is_own


@pytest.mark.parametrize(
    ("current", "lacks"),
    [(state(), True), (state("admin"), True), (state("shop"), False), (state(instance_state="terminated"), False)],
)
def test_the_record_matters_where_an_instance_lacks_its_profile(current, lacks):
    assert admin_instance.lacks_profile(current.instances[INSTANCE], release().profiles) is lacks


def test_a_record_is_retried_when_two_runs_change_the_role_at_once():
    record = acquisition().plan(state("shop")).steps[INSTANCE][0]
    forget = release().plan(state("shop", tag="shop")).steps[INSTANCE][-1]
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


@pytest.mark.parametrize("wanted", [acquisition(), sole_holder()])
@pytest.mark.parametrize(("current", "error", "message"), PREVENTED.values(), ids=PREVENTED)
def test_another_admin_instance_is_contention_and_an_ineligible_instance_is_an_error(current, error, message, wanted):
    with pytest.raises(error, match=message):
        wanted.plan(current)


def test_all_other_admin_instances_are_reported_with_the_remedy():
    current = state_with_other("admin")
    records = {**current.records, "i-3": "shop"}
    current = State({**current.instances, "i-3": instance("shop", name="i-3")}, {"i-3": "shop"}, records)
    with pytest.raises(ContentionError, match=r"or run cwagent\.iam\.restore to clean up\.$") as error:
        acquisition().plan(current)
    assert "i-2 has instance profile 'admin', and instance i-3 has an unfinished swap" in str(error.value)


@pytest.mark.parametrize("ended", sorted(ENDED))
def test_a_terminated_admin_instance_is_ignored(ended):
    current = state_with_other("admin", tag="shop", instance_state=ended)
    assert acquisition().plan(current).has_changes
    sole_holder().plan(replace(current, instances={**current.instances, INSTANCE: instance("admin")}))


def test_release_ignores_other_admin_instances():
    both = {INSTANCE: "shop", OTHER_INSTANCE: "shop"}
    current = replace(state_with_other("admin", tag="shop"), restore_tags=both, records=both)
    assert list(release().plan(current).steps) == [INSTANCE]
    assert list(release_of_region().plan(current).steps) == [
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
    assert admin_instance.earlier_profile(state(*profiles, tag=tag), INSTANCE, release().profiles) == earlier


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
    assert admin_instance.earlier_profile(current, INSTANCE, release().profiles) == earlier
    warnings = release().warnings(current)
    assert len(warnings) == bool(warning)
    assert all(re.search(warning, each) for each in warnings)
    plan = release().plan(current)
    assert (plan.planned.restore_tags, plan.planned.unusable_profiles) == ({}, current.unusable_profiles)
    assert admin_instance.to_result(plan, plan.planned, [INSTANCE], release().profiles)[0]["profile"] == earlier


def test_the_tag_of_a_profile_that_someone_else_has_replaced_is_written_again():
    steps = acquisition().plan(state("other", tag="shop")).summaries
    assert steps[:2] == note("other")


FAIL_IF_TAGGED = acquisition(fail_if_tagged=True)


def test_a_tagged_instance_is_contention_if_the_user_wants_that():
    message = (
        r"^Instance i-1 has a restore tag: a run or a person is using it, or a run was interrupted\. Wait for that to "
        r"end, or run cwagent\.iam\.restore to clean up\.$"
    )
    with pytest.raises(ContentionError, match=message):
        FAIL_IF_TAGGED.check_not_tagged(state("shop", tag="shop"))


@pytest.mark.parametrize(
    ("current", "wanted"),
    [
        (state("shop", tag="shop"), acquisition()),
        (state("shop"), FAIL_IF_TAGGED),
        (state_with_other("shop", tag="shop"), FAIL_IF_TAGGED),
    ],
    ids=["not wanted", "not tagged", "another instance tagged"],
)
def test_a_tag_is_accepted_otherwise(current, wanted):
    wanted.check_not_tagged(current)


def test_the_first_of_the_instances_that_no_run_has_associated_is_named():
    others = {name: instance("admin", name=name) for name in ("i-3", OTHER_INSTANCE)}
    with pytest.raises(ContentionError, match="instance i-2 has instance profile 'admin', which no run of this"):
        acquisition().plan(State({INSTANCE: instance("server"), **others}))


@pytest.mark.parametrize("admin", ["server", "Server"])
def test_one_profile_for_both_is_an_error(admin):
    message = f"'{admin}' is both the admin and the server profile: every server could write to Parameter Store"
    with pytest.raises(InvalidInput, match=message):
        admin_instance.check_profiles(admin, "server")
    admin_instance.check_profiles("admin", "server")


def test_the_result_and_the_diff():
    current = State(
        {INSTANCE: instance("shop"), OTHER_INSTANCE: instance("admin", name=OTHER_INSTANCE)},
        {OTHER_INSTANCE: NO_PROFILE},
        {OTHER_INSTANCE: NO_PROFILE, "i-3": "gone"},
    )
    released, names = release_of_region(), [INSTANCE, OTHER_INSTANCE]
    plan = released.plan(current)
    assert admin_instance.to_diff(plan.current)["instances"] == {
        INSTANCE: {"profile": "shop", "restore_tag": None, "restore_record": None},
        OTHER_INSTANCE: {"profile": "admin", "restore_tag": NO_PROFILE, "restore_record": NO_PROFILE},
        "i-3": {"profile": None, "restore_tag": None, "restore_record": "gone"},
    }
    nothing = {"profile": None, "restore_tag": None, "restore_record": None}
    assert admin_instance.to_diff(plan.planned)["instances"][OTHER_INSTANCE] == nothing
    assert "i-3" not in admin_instance.to_diff(plan.planned)["instances"]
    expected = [
        {"instance_id": INSTANCE, "profile_before": "shop", "profile": "shop", "earlier_profile": "shop"},
        {"instance_id": OTHER_INSTANCE, "profile_before": "admin", "profile": None, "earlier_profile": None},
    ]
    assert admin_instance.to_result(plan, plan.planned, names, released.profiles) == expected
    assert admin_instance.to_result(plan, State(), names, released.profiles) == expected, "it is not read any more"
    wanted = release("i-9")
    missing = {"instance_id": "i-9", "profile_before": None, "profile": None, "earlier_profile": None}
    assert admin_instance.to_result(wanted.plan(state("shop")), state("shop"), ["i-9"], wanted.profiles) == [missing]


@pytest.mark.parametrize(
    ("profile", "instance_state", "is_stale"),
    [("shop", "running", True), ("shop", "terminated", False), ("admin", "running", False)],
)
def test_only_the_instance_to_release_can_be_shown_as_before(profile, instance_state, is_stale):
    own = instance(profile, instance_state=instance_state)
    current = State({INSTANCE: own, OTHER_INSTANCE: instance("shop", name=OTHER_INSTANCE)})
    assert release(known_earlier="shop", keep_tag=True).may_be_stale(current) == is_stale
