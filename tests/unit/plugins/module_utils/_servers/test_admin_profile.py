"""An admin instance in a model of an account, in which other runs work and AWS shows some changes late."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from admin_instances import (
    INSTANCE,
    OTHER_INSTANCE,
    acquisition,
    release,
    release_of_region,
    sole_holder,
)
from aws_account import REGION, Account
from aws_model import NOW

from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Plan
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_plan import (
    CLOSED,
    OPEN,
    UNKNOWN,
    DesiredWindow,
    Window,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    closed_policy,
    open_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_instance import (
    NO_PROFILE,
    RESTORE_TAG,
    State,
    record_key,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_profile import (
    LOST_SECONDS,
    RECORD_SECONDS,
    AcquireResource,
    AdminInstanceResource,
    ReleaseResource,
    SoleHolderResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_profile_plan import (
    Acquisition,
    Release,
    SoleHolder,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile_plan import Association

SWAP, ASSOCIATIONS = "replace_iam_instance_profile_association", "describe_iam_instance_profile_associations"
SHOP_BEFORE = [{"instance_id": INSTANCE, "earlier_profile": "shop"}]
READS_UNTIL_LOST = 1 + int(LOST_SECONDS)
"""The reads until a tag counts as removed."""
NO_TAGS: dict[str, Any] = {"Tags": []}
LOST = "Instance i-1 was restored by another run or by a person"
UNFINISHED = "i-2 has an unfinished swap"
CLOSE_WINDOW = "close the admin window of role 'role'"
pytestmark = pytest.mark.usefixtures("no_pauses")


def account_with(*profiles: str, tag: str | None = None, record: str | None = None, state: str = "running") -> Account:
    """An account with the admin role, whose window is closed, and an instance. :param record: ``tag`` by default."""
    account = Account()
    account.add_role("role", profile="admin")
    account.roles["role"].inline[WINDOW_POLICY] = closed_policy()
    for role, profile in (("Server", "server"), ("App", "shop"), ("Other", "other")):
        account.add_role(role, profile=profile)
    account.add_instance(INSTANCE, *profiles, tag=tag, state=state)
    set_record(account, record or tag)
    return account


def set_record(account: Account, earlier: str | None, name: str = INSTANCE) -> None:
    if earlier is not None:
        account.roles["role"].tags[record_key(REGION, name)] = earlier


def start_other_run(account: Account, *profiles: str, tag: str = "shop", record: bool = True, **more: Any) -> None:
    """Another run, or a person without a record, has tagged the other instance."""
    account.add_instance(OTHER_INSTANCE, *profiles, tag=tag, **more)
    set_record(account, tag if record else None, OTHER_INSTANCE)


def restore(account: Account, profile: str = "shop") -> None:
    """Another run restores the instance."""
    account.associate(INSTANCE, profile)
    account.tags[INSTANCE].clear()
    account.roles["role"].tags.pop(record_key(REGION, INSTANCE), None)


def resource_of(
    account: Account, wanted: Acquisition | SoleHolder | Release, window: str = "", fail_if_open: bool = False
) -> AdminInstanceResource:
    """:param window: the desired state of the window, or ``forced`` to close it without reading it."""
    state, aws = CLOSED if window == "forced" else window, account.aws()
    if isinstance(wanted, SoleHolder):
        return SoleHolderResource(aws, wanted)
    desired = DesiredWindow("role", "role", state, force=window == "forced", instance_id=INSTANCE)
    changed = WindowResource(aws, desired, fail_if_open) if window else None
    if isinstance(wanted, Acquisition):
        return AcquireResource(aws, wanted, changed)
    return ReleaseResource(aws, wanted, changed)


def plan_to_acquire(account: Account) -> tuple[AdminInstanceResource, Plan[State]]:
    """The resource and its plan. Calls and disturbances count from then on."""
    resource = resource_of(account, acquisition(), OPEN)
    disturbances, account.disturbances = account.disturbances, []
    plan = resource.plan(resource.read())
    account.disturbances = disturbances
    account.calls.clear()
    return resource, plan


def acquire(account: Account) -> None:
    resource, plan = plan_to_acquire(account)
    for step in plan.steps[INSTANCE]:
        resource.execute(step)


def shown_calls(account: Account) -> list[str]:
    """The writes, and the reads of tags and of IAM."""
    return [each for each in account.operations if each not in (ASSOCIATIONS, "describe_instances", "get_role_policy")]


# Acquiring

WRITE_TAG = ["tag_role", "create_tags"]
AFTER_TAG = [SWAP, "put_role_policy", "describe_tags", SWAP]


@pytest.mark.parametrize("unseen", [0, 2])
def test_tags_are_read_after_the_own_tag_until_ec2_shows_it(unseen):
    """Another run sees it no earlier."""
    account = account_with("shop")
    account.answer("describe_tags", NO_TAGS, times=unseen)
    acquire(account)
    assert shown_calls(account) == [*WRITE_TAG, *["describe_tags"] * (1 + unseen), *AFTER_TAG]


def test_acquire_stops_if_ec2_does_not_show_its_own_tag(monkeypatch):
    monkeypatch.setattr(Deadline, "pause", lambda *_: False)
    account = account_with("shop")
    account.answer("describe_tags", NO_TAGS)
    message = r"restore tag of instance i-1 within 60 seconds\. Run again, or increase wait_timeout\.$"
    with pytest.raises(ConsistencyTimeout, match=message) as error:
        acquire(account)
    assert shown_calls(account) == [*WRITE_TAG, "describe_tags"]
    assert error.value.details == {"instances": SHOP_BEFORE}, "so that the tag is removed"


def test_a_run_backs_off_when_both_wrote_the_tag():
    """The window can be open for the other run, so there is nothing to restore and to close."""
    account = account_with("shop")
    account.before("create_tags", lambda: start_other_run(account))
    with pytest.raises(ContentionError, match=rf"{UNFINISHED} .* This run has removed its restore tag\.$") as error:
        acquire(account)
    assert shown_calls(account) == [*WRITE_TAG, "describe_tags", "get_role", "delete_tags", "untag_role"]
    assert error.value.details == {"steps": [], "instances": SHOP_BEFORE}


def other_run(account: Account) -> None:
    account.before("create_tags", lambda: start_other_run(account))


def other_run_after_the_trial(account: Account) -> None:
    account.before(SWAP, lambda: start_other_run(account), 2)
    account.fail(SWAP, "InvalidParameterValue")


def restored_during_retries(account: Account) -> None:
    account.before(SWAP, lambda: restore(account), 3)
    account.fail(SWAP, "InvalidParameterValue")


def restored_before_the_first_step(account: Account) -> None:
    account.before("describe_tags", lambda: restore(account))


def restored_between_the_look_up_and_the_swap(account: Account) -> None:
    account.before(SWAP, lambda: restore(account), 2)


def profile_deleted(account: Account) -> None:
    del account.profiles["admin"]
    account.fail(SWAP, "InvalidParameterValue")


def record_is_shown_late(account: Account) -> None:
    """Even if somebody else has tagged the instance before."""
    account.before("create_tags", lambda: start_other_run(account, record=False))
    account.before("get_role", lambda: set_record(account, "shop", OTHER_INSTANCE), 4)


def terminated(account: Account) -> None:
    account.before(SWAP, lambda: account.add_instance(INSTANCE, state="terminated"), 2)
    account.fail(SWAP, "InvalidParameterValue", first=2)


REFUSED: dict[str, tuple[tuple[str, str | None], Callable[[Account], None], type[CwagentError], str, int]] = {
    "only the tag is missing": (("admin", None), other_run, ContentionError, UNFINISHED, 0),
    "another run during the retries": (
        ("shop", "shop"), other_run_after_the_trial, ContentionError, rf"{UNFINISHED} .*restore to clean up\.$", 2
    ),
    "restored during the retries": (("shop", "shop"), restored_during_retries, ContentionError, LOST, 3),
    "restored before the first step": (("shop", "shop"), restored_before_the_first_step, ContentionError, LOST, 0),
    "restored before the swap": (("shop", None), restored_between_the_look_up_and_the_swap, ContentionError, LOST, 2),
    "the profile does not exist": (
        ("shop", "shop"), profile_deleted, CwagentError, r"of 'shop': instance profile 'admin' does not exist\.$", 2
    ),
    "a record that is shown late": (("shop", None), record_is_shown_late, ContentionError, UNFINISHED, 0),
    "terminated": (("shop", None), terminated, CwagentError, "^Could not associate .*: Instance i-1 is terminated", 2),
}  # fmt: skip
"""By case, the profile and tag before, the disturbance, the error, and how often a profile was associated."""


@pytest.mark.parametrize(("before", "disturb", "error", "message", "swaps"), REFUSED.values(), ids=REFUSED)
def test_an_acquisition_that_something_prevents(before, disturb, error, message, swaps):
    profile, tag = before
    account = account_with(profile, tag=tag)
    disturb(account)
    with pytest.raises(error, match=message) as caught:
        acquire(account)
    assert type(caught.value) is error, "something was written, so the input is not reported as invalid"
    assert account.count(SWAP) == swaps
    if tag:
        assert "delete_tags" not in account.operations
        assert caught.value.details == {"instances": SHOP_BEFORE}, "so that the window is closed"
        assert swaps or {*account.operations} == {"describe_tags"}


def test_a_tag_that_was_there_when_the_plan_was_made_is_ignored():
    """It is on an instance that has ended, or that EC2 does not describe; otherwise there would be no plan."""
    account = account_with("server")
    start_other_run(account, state="terminated")
    acquire(account)
    assert SWAP in account.operations


@pytest.mark.parametrize("code", ["InvalidParameterValue", "IncorrectState"])
def test_acquire_continues_if_ec2_does_not_show_its_own_tag_for_a_moment(code):
    """It has shown it before, to the same run."""
    account = account_with("shop")
    account.fail(SWAP, code, times=2)
    account.answer("describe_tags", NO_TAGS, first=2, times=2)
    acquire(account)
    assert account.count(SWAP) == 1 + 2


@pytest.mark.parametrize(("failures", "before", "reads"), [(0, True, 1), (2, False, 3)])
def test_a_tag_of_somebody_else_does_not_stop_an_acquisition(failures, before, reads):
    """The run looks at it for a while, because IAM may show another run's record late, but not before each retry."""
    account = account_with("shop")
    if before:
        start_other_run(account, tag="Power", record=False)
    else:
        account.before("create_tags", lambda: start_other_run(account, tag="Power", record=False))
    account.fail(SWAP, "InvalidParameterValue", times=1 + failures)
    acquire(account)
    assert account.count("get_role") == 1 + RECORD_SECONDS + reads
    assert account.operations[-1] == SWAP


@pytest.mark.parametrize(
    ("refused", "code", "first"), [("put_role_policy", "InternalError", 1), (SWAP, "UnauthorizedOperation", 2)]
)
def test_only_a_refusal_by_ec2_that_is_no_denial_is_explained(refused, code, first):
    account = account_with("shop")
    account.fail(refused, code, first=first, message="User: ops is not authorized to perform: ec2:X")
    with pytest.raises(AwsApiError):
        acquire(account)
    assert account.operations[-1] == refused


NOTHING_STARTED = {"steps": [], "instances": SHOP_BEFORE}
MAY_BE_THERE = {"instances": SHOP_BEFORE}
DENIALS = {
    "the record": ("tag_role", "AccessDenied", ["tag_role"], NOTHING_STARTED),
    "the record of a role that does not exist": ("tag_role", "NoSuchEntity", ["tag_role"], NOTHING_STARTED),
    "the tag": ("create_tags", "UnauthorizedOperation", [*WRITE_TAG, "untag_role"], NOTHING_STARTED),
    "another error of the record": ("tag_role", "InternalError", ["tag_role"], MAY_BE_THERE),
    "another error of the tag": ("create_tags", "InternalError", WRITE_TAG, MAY_BE_THERE),
}


@pytest.mark.parametrize(("refused", "code", "calls", "details"), DENIALS.values(), ids=DENIALS)
def test_nothing_is_left_if_writing_the_record_or_the_tag_was_denied(refused, code, calls, details):
    """So nothing is to be released. A window that is open can be another run's."""
    account = account_with("shop")
    account.fail(refused, code, message="User: ops is not authorized to perform: iam:TagRole")
    with pytest.raises(AwsApiError) as error:
        acquire(account)
    assert error.value.details == details, "so that the caller need not read the record"
    assert shown_calls(account) == calls


AFTER_THE_TRIAL: dict[str, tuple[Callable[[Account], None], Any]] = {
    "as it was": (lambda account: None, nullcontext()),
    "restored by another run": (restore, pytest.raises(ContentionError, match=LOST)),
    "another profile": (lambda account: account.associate(INSTANCE, "other"), pytest.raises(AwsApiError, match=LOST)),
    "admin profile": (lambda account: account.associate(INSTANCE, "admin"), pytest.raises(AwsApiError, match=LOST)),
    "no profile": (lambda account: account.associate(INSTANCE), pytest.raises(AwsApiError, match=LOST)),
}


@pytest.mark.parametrize(("change", "expected"), AFTER_THE_TRIAL.values(), ids=AFTER_THE_TRIAL)
def test_only_the_earlier_profile_is_replaced_after_the_trial_with_a_restore_tag(change, expected):
    """The trial gives the association an id that is read again, so the id no longer shows other changes."""
    account = account_with("shop")
    resource, plan = plan_to_acquire(account)
    *before, swap = plan.steps[INSTANCE]
    for step in before:
        resource.execute(step)
    change(account)
    with expected as error:
        resource.execute(swap)
    assert account.count(SWAP) == 1 + (error is None)
    if error and error.type is AwsApiError:
        assert error.value.code in swap.stale_when, "so that another plan is made, with another record"


# Policies that an instance loses, and warnings

CORE, OLD = "AmazonSSMManagedInstanceCore", "AmazonEC2RoleforSSM"
LOST_POLICIES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "none": ([], [], []),
    "of another kind": (["ReadOnlyAccess"], [], []),
    "lost": ([CORE, "ReadOnlyAccess"], [], [CORE]),
    "both": ([CORE, OLD], [], [OLD, CORE]),
    "the admin role has another": ([CORE], [OLD], []),
}


@pytest.mark.parametrize(("policies", "of_admin", "lost"), LOST_POLICIES.values(), ids=LOST_POLICIES)
def test_an_instance_that_systems_manager_may_lose_is_warned_of(policies, of_admin, lost):
    account = account_with("shop")
    account.add_role("App", *policies, profile="shop")
    account.add_role("role", *of_admin, profile="admin")
    resource = resource_of(account, acquisition())
    warnings = resource.warnings(resource.plan(resource.read()))
    start = "the role of instance profile 'shop' has {}, and role 'role' has no such policy"
    assert [each.partition(":")[0] for each in warnings] == [start.format(policy) for policy in lost]
    assert resource.read_again().lost_policies == ()


@pytest.mark.parametrize(
    ("wanted", "profile", "denied"),
    [
        (sole_holder(), "server", ""),
        (acquisition(managed_before=True), "server", ""),
        (acquisition(), "shop", "get_instance_profile"),
        (acquisition(), "shop", "list_attached_role_policies"),
    ],
)
def test_policies_are_read_only_where_they_matter_and_need_not_be_readable(wanted, profile, denied):
    account = account_with(profile)
    account.add_role("App", CORE, profile=profile)
    if denied:
        account.fail(denied, "AccessDenied")
    assert resource_of(account, wanted).read().lost_policies == ()
    assert denied or "list_attached_role_policies" not in account.operations


@pytest.mark.parametrize(
    ("planned", "window", "warnings"),
    [
        (False, "", ["instance profile 'admin' does not exist yet"]),
        (False, OPEN, ["instance profile 'admin' does not exist yet", "role 'role' does not exist yet"]),
        (True, OPEN, []),
    ],
)
def test_check_mode_warns_of_things_that_do_not_exist_and_are_not_planned(planned, window, warnings):
    account = account_with("shop")
    del account.profiles["admin"], account.roles["role"]
    resource = resource_of(account, acquisition(managed_before=planned), window)
    assert resource.check_mode_warnings(resource.plan(resource.read())) == warnings


# Records and tags that are shown late

LATE_RECORDS = {"admin profile": (["admin"], 3), "no profile": ([], 3), "another profile": (["other"], 1)}


@pytest.mark.parametrize(("profiles", "reads"), LATE_RECORDS.values(), ids=LATE_RECORDS)
@pytest.mark.parametrize("wanted", [release(), release_of_region()], ids=["instance", "region"])
def test_a_record_that_iam_shows_late_is_waited_for_where_it_matters(profiles, reads, wanted):
    account = account_with(*profiles)
    account.tags[INSTANCE] = {RESTORE_TAG: "shop"}
    account.before("get_role", lambda: set_record(account, "shop"), 3)
    state = resource_of(account, wanted).read()
    assert state.restore_tags == {INSTANCE: "shop"}
    assert account.count("get_role") == reads
    assert state.records == ({INSTANCE: "shop"} if reads == 3 else {})


@pytest.mark.parametrize(("wanted", "tag"), [(acquisition(), "shop"), (sole_holder(), None)])
def test_the_admin_instance_of_a_run_is_not_reported_as_somebody_elses(wanted, tag):
    """A reader of that message would take the profile off an instance that a run is using."""
    account = account_with("admin")
    account.add_instance(OTHER_INSTANCE, "admin", tag=tag)
    account.before("get_role", lambda: set_record(account, "shop", OTHER_INSTANCE), 3)
    resource = resource_of(account, wanted)
    with pytest.raises(ContentionError, match=r"i-2 has instance profile 'admin'\. Wait for that to end"):
        resource.plan(resource.read())


def test_an_admin_instance_without_a_tag_is_not_waited_for():
    account = account_with()
    account.add_instance(OTHER_INSTANCE, "admin")
    resource = resource_of(account, acquisition())
    with pytest.raises(ContentionError, match="which no run of this collection has associated"):
        resource.plan(resource.read())
    assert account.count("get_role") == 1


def test_a_known_earlier_profile_is_not_read():
    account = account_with("admin", tag="other")
    assert resource_of(account, release(known_earlier="shop")).read().records == {INSTANCE: "shop"}
    assert "get_role" not in account.operations


@pytest.mark.parametrize(
    ("times", "loses_role"), [(1, False), (2, False), (1, True)], ids=["missing", "twice", "no role"]
)
def test_an_earlier_profile_that_iam_does_not_show_for_a_moment_is_restored(times, loses_role):
    """If another profile replaced it, nothing would know of it."""
    account = account_with("admin", tag="shop")
    if loses_role:
        answer = account.get_instance_profile("shop")
        account.answer("get_instance_profile", {"InstanceProfile": {**answer["InstanceProfile"], "Roles": []}}, times=1)
    else:
        account.fail("get_instance_profile", "NoSuchEntity", times=times)
    assert resource_of(account, release()).read().unusable_profiles == frozenset()
    account.profiles.clear()
    assert resource_of(account, release()).read().unusable_profiles == {"shop", "server"}


def test_an_instance_with_a_record_only_is_read_too():
    """Somebody removed its tag, or it has lost its profile."""
    account = account_with(record="shop")
    set_record(account, "shop", "i-9")
    resource = resource_of(account, release_of_region())
    assert resource.plan(resource.read()).summaries == [
        "associate instance profile 'shop' with instance i-1",
        "remove the restore record of instance i-1 from role 'role'",
        "remove the restore record of instance i-9 from role 'role'",
    ]


@pytest.mark.parametrize("value", ["", "no name", "x" * 129])
def test_a_record_that_is_not_a_valid_profile_name_is_not_looked_up(value):
    """A tag can have any value; IAM refuses to look it up."""
    account = account_with("admin")
    account.tags[INSTANCE] = {RESTORE_TAG: value}
    account.roles["role"].tags[record_key(REGION, INSTANCE)] = value
    resource = resource_of(account, release())
    assert resource.plan(resource.read()).summaries == [
        "associate instance profile 'server' with instance i-1 instead of 'admin'",
        "remove the restore tag from instance i-1",
        "remove the restore record of instance i-1 from role 'role'",
    ]
    assert shown_calls(account) == ["get_role", "get_instance_profile"]


# Knowledge of the caller of a release

SERVER = {INSTANCE: (Association("a", "arn:x/server"),)}
ADMIN = {INSTANCE: (Association("a", "arn:x/admin"),)}
EACH_TRACE = {"none": ([], None), "tag": (["server"], "shop"), "admin profile": (["admin"], None)}


@pytest.mark.parametrize(("profiles", "tag"), EACH_TRACE.values(), ids=EACH_TRACE)
def test_a_region_without_records_is_read_only_if_a_trace_appears(profiles, tag):
    account = account_with(*profiles, tag=tag)
    resource_of(account, release_of_region(has_records=False)).read()
    assert account.count("get_role") == (1 if profiles or tag else 0)


@pytest.mark.parametrize(
    ("known", "tag", "found", "calls"),
    [
        (SERVER, None, [], ["describe_tags"]),
        (SERVER, "shop", ["other"], ["describe_tags", "describe_tags", "get_role"]),
        (ADMIN, None, [], ["describe_tags", "describe_tags", "get_role"]),
    ],
    ids=["no trace", "tag", "admin profile"],
)
def test_known_associations_are_outdated_only_if_an_instance_has_a_trace(known, tag, found, calls):
    """Another run has acquired or restored the instance since."""
    account = account_with("other", tag=tag)
    instances = resource_of(account, release_of_region(has_records=False, associations=known)).read().instances
    assert [each.profile for name in instances for each in instances[name].associations] == found
    assert shown_calls(account) == calls


def test_nothing_that_the_caller_knew_counts_for_another_plan():
    account = account_with("admin")
    resource = resource_of(account, release_of_region(has_records=False, associations=SERVER))
    assert resource.read().instances == {}
    assert resource.read_to_plan_again().instances.keys() == {INSTANCE}
    assert account.count("get_role") == 1


@pytest.mark.parametrize("wanted", [release(), release_of_region()], ids=["instance", "region"])
def test_a_stopped_admin_instance_is_restored_as_one(wanted):
    """EC2 replaces the profile of a running instance only."""
    account = account_with("admin", tag="shop", state="stopped")
    resource = resource_of(account, wanted)
    steps = resource.plan(resource.read()).steps[INSTANCE]
    assert [step.action.partition(":")[2][:12] for step in steps[:2]] == ["Disassociate", "AssociateIam"]


def test_records_are_not_read_without_a_trace_or_again_for_those_of_this_run():
    for wanted in (acquisition(), sole_holder()):
        account = account_with()
        resource_of(account, wanted).read()
        assert "get_role" not in account.operations
    account = account_with("admin", tag="shop")
    resource_of(account, acquisition()).read_again()
    resource_of(account, sole_holder()).read()
    resource_of(account, release_of_region()).read_again()
    assert "get_role" not in account.operations


LOOK_UPS = {
    "acquired": (acquisition(), True),
    "acquired, assumed to run": (acquisition(is_running=True), False),
    "exclusive": (sole_holder(), True),
    "released": (release(), True),
}


@pytest.mark.parametrize(("wanted", "is_looked_up"), LOOK_UPS.values(), ids=LOOK_UPS)
def test_an_instance_without_a_profile_is_looked_up_unless_it_is_assumed_to_run(wanted, is_looked_up):
    account = account_with()
    resource_of(account, wanted).read()
    assert ("describe_instances" in account.operations) == is_looked_up


# Waiting for what was written

TAG_INSTANCE = "tag instance i-1 with its earlier profile 'shop'"


def test_an_instance_that_another_run_restores_meanwhile_is_reported_as_that():
    account = account_with("shop")
    resource, plan = plan_to_acquire(account)
    with pytest.raises(ContentionError, match=LOST) as error:
        resource.remaining(plan, plan.current)
    assert [each["earlier_profile"] for each in error.value.details["instances"]] == ["shop"]
    # EC2 may not show the tag for a moment.
    account.before("describe_tags", lambda: account.tags.update({INSTANCE: {RESTORE_TAG: "shop"}}), 2)
    shown = replace(plan.current, instances=account_with("admin").regions[REGION], window=None)
    assert resource.remaining(plan, shown) == [TAG_INSTANCE]


def test_a_change_by_someone_else_while_waiting_is_not_reported_as_invalid_input():
    account = account_with("shop", tag="shop")
    resource, plan = plan_to_acquire(account)
    with pytest.raises(CwagentError, match="i-1 does not exist") as error:
        resource.remaining(plan, State())
    assert type(error.value) is CwagentError
    start_other_run(account, "admin")
    with pytest.raises(ContentionError, match="i-2 has instance profile 'admin'"):
        resource.remaining(plan, resource.read())


def test_leftovers_of_the_window_are_remaining_too():
    account = account_with("shop", tag="shop")
    resource, plan = plan_to_acquire(account)
    account.associate(INSTANCE, "admin")
    [left] = resource.remaining(plan, resource.read_again())
    assert left.startswith("open the admin window of role 'role' until")


def test_a_wait_ends_with_the_error_of_the_last_read():
    resource = resource_of(account_with("admin", tag="shop"), release())
    with pytest.raises(CwagentError, match="unreadable"):
        resource.remaining(resource.plan(resource.read()), State(error=CwagentError("unreadable")))


# Preconditions


def window_for(instance_id: str) -> Window:
    return Window(NOW, open_policy(Opening(NOW + timedelta(minutes=5), instance_id)))


@pytest.mark.parametrize(
    ("wanted", "tag", "instance_id", "is_contended"),
    [
        (acquisition(), None, "i-1", True),
        (acquisition(), "shop", "i-1", False),
        (acquisition(), "shop", "i-2", True),
        (release(), None, "i-1", False),
    ],
    ids=["no tag", "tag", "tag, but open for another instance", "released"],
)
def test_an_open_window_without_a_restore_tag_is_contention(wanted, tag, instance_id, is_contended):
    """The same holds for a window that is open for another instance, for example in another region."""
    resource = resource_of(account_with("shop", tag=tag), wanted, OPEN, fail_if_open=True)
    current = replace(resource.read(), window=window_for(instance_id))
    with pytest.raises(ContentionError, match="is open until") if is_contended else nullcontext():
        resource.check_preconditions(current)


def test_another_admin_instance_is_reported_rather_than_its_window():
    account = account_with("shop")
    start_other_run(account, "admin")
    resource = resource_of(account, acquisition(), OPEN, fail_if_open=True)
    with pytest.raises(ContentionError, match="instance i-2 has instance profile"):
        resource.check_preconditions(replace(resource.read(), window=window_for("i-2")))


@pytest.mark.parametrize("tag", [None, "shop"])
def test_the_window_of_a_role_of_others_is_refused_whatever_is_tagged(tag):
    account = account_with("shop", tag=tag)
    opening = WindowResource(account.aws(), DesiredWindow("role", "role", OPEN, managed_only=True))
    resource = AcquireResource(account.aws(), acquisition(), opening)
    current = replace(resource.read(), window=Window(NOW, is_marked=False))
    with pytest.raises(InvalidInput, match="role 'role' exists and was not created by this collection"):
        resource.check_preconditions(current)


def test_an_association_that_ec2_does_not_show_for_a_moment_is_not_lost():
    account = account_with("shop")
    account.before(ASSOCIATIONS, lambda: account.associate(INSTANCE, "admin"), 3)
    resource = resource_of(account, sole_holder())
    assert not resource.plan(resource.read()).has_changes
    assert account.count(ASSOCIATIONS) == 3


# Releasing

RESTORED = {
    "terminated": ("terminated", [], "InvalidParameterValue", True),
    "restored by another run": ("running", ["shop"], "InvalidAssociationID.NotFound", True),
    "not restored": ("running", ["admin"], "InvalidParameterValue", False),
    "no profile": ("running", [], "InvalidAssociationID.NotFound", False),
    "denied": ("terminated", [], "UnauthorizedOperation", False),
}


@pytest.mark.parametrize(("instance_state", "profiles", "code", "is_done"), RESTORED.values(), ids=RESTORED)
def test_an_instance_that_needs_no_restoring_is_done(instance_state, profiles, code, is_done):
    account = account_with("admin", tag="shop")
    resource = resource_of(account, release())
    step = resource.plan(resource.read()).steps[INSTANCE][0]
    account.add_instance(INSTANCE, *profiles, state=instance_state)
    account.fail(SWAP, code)
    with nullcontext() if is_done else pytest.raises(AwsApiError):
        resource.execute(step)


ON_SHOP: dict[str, Any] = {"known_earlier": "shop", "keep_tag": True}
LATE = {
    "shown late": ("shop", "admin", 3, ON_SHOP, 3),
    "restored by another run": ("shop", None, 0, ON_SHOP, READS_UNTIL_LOST),
    "acquired": ("admin", None, 0, ON_SHOP, 1),
    "replaced": ("other", None, 0, ON_SHOP, 1),
    "tag only": ("shop", None, 0, {**ON_SHOP, "keep_tag": False}, 1),
    "another run's": ("shop", None, 0, {"keep_tag": True}, 1),
    "no profile, shown late": ("", "admin", 3, {**ON_SHOP, "known_earlier": NO_PROFILE}, 3),
    "no profile, replaced": ("shop", None, 0, {**ON_SHOP, "known_earlier": NO_PROFILE}, 1),
}
"""By case, the profile, the one that EC2 shows from the read with a number on, the options, and the reads."""


@pytest.mark.parametrize(("profile", "later", "from_read", "options", "reads"), LATE.values(), ids=LATE)
def test_a_release_looks_again_where_ec2_shows_the_profile_from_before_the_swap(
    profile, later, from_read, options, reads
):
    """Otherwise the instance would keep the admin profile, although the run reports that it has released it."""
    account = account_with(*[profile] * bool(profile))
    if later:
        account.before(ASSOCIATIONS, lambda: account.associate(INSTANCE, later), from_read)
    state = resource_of(account, release(**options)).read()
    assert account.count(ASSOCIATIONS) == reads
    assert [each.profile for each in state.instances[INSTANCE].associations] == [later or profile]


@pytest.mark.parametrize("denied", ["describe_instances", ASSOCIATIONS])
def test_the_window_is_closed_although_the_instances_cannot_be_read(denied):
    account = account_with("admin", tag="shop")
    account.roles["role"].inline[WINDOW_POLICY] = window_for("i-1").policy
    account.fail(denied, "UnauthorizedOperation", message="User: ops is not authorized to perform: ec2:X")
    with pytest.raises(CwagentError) as failure:
        converge(resource_of(account, release(), "forced"), check_mode=False, wait=10)
    assert account.count("put_role_policy") == 1
    assert re.match("Could not (look up|read the instance)", str(failure.value))
    assert failure.value.details["done"] == [CLOSE_WINDOW]


@pytest.mark.parametrize(
    ("window", "denied", "state", "warning"),
    [
        (CLOSED, True, UNKNOWN, "Could not read the admin window of role 'role'"),
        ("forced", True, UNKNOWN, None),
        ("forced", False, CLOSED, None),
    ],
    ids=["unreadable", "not read, and unreadable", "not read"],
)
def test_a_window_that_was_not_read_is_closed(window, denied, state, warning):
    account = account_with("shop")
    account.roles["role"].inline[WINDOW_POLICY] = window_for("i-1").policy
    if denied:
        account.fail("get_role_policy", "AccessDenied")
    result = converge(resource_of(account, release(), window), check_mode=False, wait=10)
    assert result["steps"] == [CLOSE_WINDOW]
    assert shown_calls(account)[:2] == ["get_role", "put_role_policy"] or denied
    assert result["diff"]["before"]["window"]["state"] == UNKNOWN
    assert result["diff"]["after"]["window"]["state"] == CLOSED
    assert result["window"]["state"] == state
    assert [each[: len(warning or "")] for each in result["warnings"]] == [warning] * bool(warning)
    assert all(
        each.endswith("The window is closed anyway; its earlier state is unknown.") for each in result["warnings"]
    )
