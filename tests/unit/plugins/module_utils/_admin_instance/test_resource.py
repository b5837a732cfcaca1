from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import plan as admin_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    EXCLUSIVE,
    NO_PROFILE,
    RELEASED,
    RESTORE_TAG,
    DesiredAdmin,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.resource import (
    FILTER_VALUES,
    LOST_SECONDS,
    RECORD_SECONDS,
    AdminInstanceResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    CLOSED,
    OPEN,
    UNKNOWN,
    DesiredWindow,
    Window,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import (
    Opening,
    closed_policy,
    open_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import Association, Instance
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import LOOKUPS
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, apply
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

INSTANCE, OTHER_INSTANCE = "i-1", "i-2"
OWN_TAG, BOTH_TAGS = {INSTANCE: "shop"}, {INSTANCE: "shop", OTHER_INSTANCE: "shop"}
NO_TAGS: list[dict[str, str]] = [{}] * (1 + int(LOST_SECONDS))
"""The answers until a tag counts as removed."""
REPLACE = "ec2:ReplaceIamInstanceProfileAssociation"
SWAP = REPLACE.split(":")[1]
SHOP_BEFORE = [{"instance_id": INSTANCE, "earlier_profile": "shop"}]
AFTER_TRIAL = ["PutRolePolicy", "DescribeTags", SWAP]
CLOSE_WINDOW = "close the admin window of role 'R'"
pytestmark = pytest.mark.usefixtures("no_pauses")


class Region(Aws):
    """A region that answers each read of the restore tags with the next of a list, whatever was written.

    Every restore tag that it has shown last has a record, unless ``records`` has another list of answers.

    :param failures: by action, how many of its first calls fail as if EC2 did not know the profile.
    """

    region = "eu-1"

    def __init__(self, *restore_tags: dict[str, str], failures: dict[str, int] | None = None) -> None:
        super().__init__(lambda *_: None, retry_timeout=60)
        self.restore_tags, self.failures, self.calls = list(restore_tags), failures or {}, []
        self.denied: tuple[str, ...] = ()
        self.code = "InvalidParameterValue"
        self.tags: dict[str, str] = {}
        self.has_profile = True
        self.shown: dict[str, str] = {}
        self.records: list[dict[str, str]] = []
        self.states: dict[str, str] = {INSTANCE: "running", OTHER_INSTANCE: "running"}
        self.profiles: dict[str, str] = {}
        self.policies: dict[str, list[str]] = {}

    def call(self, action, description, max_attempts=0, **arguments):
        self.calls.append(action.split(":")[1])
        if self.failures.get(action, 0) > 0:
            self.failures[action] -= 1
            raise AwsApiError(description, self.code)
        return {}

    def find(self, action, description, absent, **arguments):
        if action in self.denied:
            raise AwsApiError(f"Could not {description}.", "AccessDenied")
        if action == "iam:GetInstanceProfile":
            self.calls.append("GetInstanceProfile")
            answer = {"InstanceProfileName": "admin", "Path": "/", "Arn": "arn:admin", "InstanceProfileId": "AIPA"}
            return {"InstanceProfile": {**answer, "Roles": [{"RoleName": "R"}]}} if self.has_profile else None
        if action == "iam:GetRole":
            self.calls.append("GetRole")
            records = self.records.pop(0) if self.records else self.shown
            tags = {admin_plan.record_key(self.region, name): value for name, value in records.items()}
            return {"Role": {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}}
        return {"PolicyDocument": closed_policy()}

    def pages(self, action, description, **arguments):
        if action.startswith("iam:"):
            names = self.policies.get(arguments["RoleName"], ())
            attached = [{"PolicyArn": f"arn:aws:iam::aws:policy/{name}"} for name in names]
            if action in self.denied:
                raise AwsApiError("No.", "AccessDenied")
            yield {"PolicyNames": [], "AttachedPolicies": attached}
            return
        if action in self.denied:
            raise AwsApiError(f"Could not {description}.", "UnauthorizedOperation")
        if action != "ec2:DescribeTags":
            associations = [
                {
                    "InstanceId": name,
                    "IamInstanceProfile": {"Arn": f"arn:x/{profile}"},
                    "AssociationId": f"{name}-{profile}",
                    "State": "associated",
                }
                for name, profile in self.profiles.items()
            ]
            values = arguments["Filters"][0]["Values"]
            instances = [
                {
                    "InstanceId": name,
                    "State": {"Name": state},
                    "Tags": [{"Key": RESTORE_TAG, "Value": self.tags[name]}] if name in self.tags else [],
                }
                for name, state in self.states.items()
                if name in values
            ]
            yield {"IamInstanceProfileAssociations": associations, "Reservations": [{"Instances": instances}]}
            return
        self.calls.append("DescribeTags")
        self.shown = self.restore_tags.pop(0)
        yield {"Tags": [{"ResourceId": name, "Value": value} for name, value in self.shown.items()]}


def instance(*profiles: str, name: str = INSTANCE) -> Instance:
    return Instance(name, "running", tuple(Association(f"{name}-{each}", f"arn:x/{each}") for each in profiles))


def state(*profiles: str, tag: str | None = None) -> State:
    tags = {} if tag is None else {INSTANCE: tag}
    return State({INSTANCE: instance(*profiles)}, tags, tags, frozenset(tags))


def state_with_other(*profiles: str) -> State:
    instances = {INSTANCE: instance("server"), OTHER_INSTANCE: instance(*profiles, name=OTHER_INSTANCE)}
    return State(instances, records={OTHER_INSTANCE: "server"})


def desired_admin(wanted: str, *ids: str) -> DesiredAdmin:
    return DesiredAdmin(wanted, "admin", "server", ids or (INSTANCE,), record_role="R", region="eu-1")


def window(aws: Aws, wanted: str = OPEN, force: bool = False, fail_if_open: bool = False) -> WindowResource:
    return WindowResource(aws, DesiredWindow("role", "R", wanted, force=force, instance_id="i-1"), fail_if_open)


def plan_to_acquire(aws: Region, current: State) -> tuple[AdminInstanceResource, Plan[State]]:
    """The resource, and its plan for a current state with a closed window; which tags there are is read."""
    resource = AdminInstanceResource(aws, desired_admin(ACQUIRED), window(aws))
    read = resource.read()
    return resource, resource.plan(replace(current, window=read.window, tagged=read.tagged))


def show_profiles(aws: Region, current: State) -> None:
    """Let EC2 show them, where nothing else is set."""
    shown = {name: each.associations[-1].profile for name, each in current.instances.items() if each.associations}
    aws.profiles = aws.profiles or shown


def acquire(aws: Region, current: State) -> None:
    resource, plan = plan_to_acquire(aws, current)
    show_profiles(aws, current)
    for step in plan.steps[INSTANCE]:
        resource.execute(step)


CORE, OLD = "AmazonSSMManagedInstanceCore", "AmazonEC2RoleforSSM"
LOST_POLICIES = {
    "none": ({}, []),
    "of another kind": ({"R": ["ReadOnlyAccess"]}, []),
    "lost": ({"R": [CORE, "ReadOnlyAccess"]}, [CORE]),
    "both": ({"R": [CORE, OLD]}, [OLD, CORE]),
    "the admin role has another": ({"R": [CORE], "admin": [OLD]}, []),
}


@pytest.mark.parametrize(("policies", "lost"), LOST_POLICIES.values(), ids=LOST_POLICIES)
def test_an_instance_that_systems_manager_may_lose_is_warned_of(policies, lost):
    aws = Region({})
    aws.profiles, aws.policies = {INSTANCE: "shop"}, policies
    wanted = replace(desired_admin(ACQUIRED), record_role="admin")
    resource = AdminInstanceResource(aws, wanted)
    warnings = resource.warnings(resource.plan(resource.read()))
    starts = [
        f"the role of instance profile 'shop' has {policy}, and role 'admin' has no such policy" for policy in lost
    ]
    assert [each.partition(":")[0] for each in warnings] == starts
    aws.restore_tags = [{}]
    assert resource.read_again().lost_policies == ()


@pytest.mark.parametrize("wanted", [desired_admin(EXCLUSIVE), replace(desired_admin(ACQUIRED), managed_before=True)])
def test_policies_are_read_only_for_a_profile_that_is_not_managed_by_the_run(wanted):
    aws = Region({})
    aws.profiles, aws.policies = {INSTANCE: "server"}, {"R": [CORE]}
    assert AdminInstanceResource(aws, wanted).read().lost_policies == ()


@pytest.mark.parametrize("denied", ["iam:GetInstanceProfile", "iam:ListAttachedRolePolicies"])
def test_policies_that_may_not_be_read_prevent_nothing(denied):
    aws = Region({})
    aws.profiles, aws.policies = {INSTANCE: "shop"}, {"R": [CORE]}
    aws.denied = (denied,)
    assert AdminInstanceResource(aws, desired_admin(ACQUIRED)).read().lost_policies == ()


def test_tags_are_read_again_between_the_own_tag_and_all_other_steps():
    aws = Region({}, *[OWN_TAG] * 2)
    acquire(aws, state("shop"))
    assert aws.calls == ["DescribeTags", "TagRole", "CreateTags", "DescribeTags", SWAP, *AFTER_TRIAL]


def test_tags_are_read_again_although_only_the_tag_is_missing():
    aws = Region({}, BOTH_TAGS)
    with pytest.raises(ContentionError, match="i-2 has an unfinished swap"):
        acquire(aws, state("admin"))


def test_acquire_waits_until_ec2_shows_its_own_tag():
    """Another run sees it no earlier."""
    aws = Region({}, {}, {}, *[OWN_TAG] * 2)
    acquire(aws, state("shop"))
    assert aws.calls == ["DescribeTags", "TagRole", "CreateTags", *["DescribeTags"] * 3, SWAP, *AFTER_TRIAL]


def test_acquire_stops_if_ec2_does_not_show_its_own_tag(monkeypatch):
    monkeypatch.setattr(Deadline, "pause", lambda *_: False)
    aws = Region({}, {})
    message = r"restore tag of instance i-1 within 60 seconds\. Run again, or increase wait_timeout\.$"
    with pytest.raises(ConsistencyTimeout, match=message) as error:
        acquire(aws, state("shop"))
    assert aws.calls == ["DescribeTags", "TagRole", "CreateTags", "DescribeTags"]
    assert error.value.details == {"instances": SHOP_BEFORE}, "so that the tag is removed"


def test_a_run_backs_off_when_both_wrote_the_tag():
    """The window can be open for the other run, so there is nothing to restore and to close."""
    aws = Region({}, BOTH_TAGS)
    message = r"i-2 has an unfinished swap .* This run has removed its restore tag\.$"
    with pytest.raises(ContentionError, match=message) as error:
        acquire(aws, state("shop"))
    assert aws.calls == ["DescribeTags", "TagRole", "CreateTags", "DescribeTags", "GetRole", "DeleteTags", "UntagRole"]
    assert error.value.details == {"steps": [], "instances": SHOP_BEFORE}


def test_a_tag_that_was_there_when_the_plan_was_made_is_ignored():
    """It is on an instance that has ended, or that EC2 does not describe; otherwise there would be no plan."""
    aws = Region({OTHER_INSTANCE: "shop"}, *[{INSTANCE: "server", OTHER_INSTANCE: "shop"}] * 2)
    acquire(aws, state("server"))
    assert SWAP in aws.calls


def test_acquire_stops_retrying_when_another_run_has_restored_the_instance():
    """The module has outlived its run."""
    aws = Region(*[OWN_TAG] * 4, *NO_TAGS, failures={REPLACE: 9})
    with pytest.raises(ContentionError, match="Instance i-1 was restored by another run"):
        acquire(aws, state("shop", tag="shop"))
    assert aws.calls.count(SWAP) == 1 + 2


def test_a_tag_that_was_there_is_read_again_before_the_first_step():
    """It can belong to a run that has just ended."""
    aws = Region(OWN_TAG, *NO_TAGS)
    with pytest.raises(ContentionError, match="Instance i-1 was restored by another run"):
        acquire(aws, state("shop", tag="shop"))
    assert aws.calls == ["DescribeTags", "GetRole", *["DescribeTags"] * len(NO_TAGS)]


@pytest.mark.parametrize("code", ["InvalidParameterValue", "IncorrectState"])
def test_acquire_continues_if_ec2_does_not_show_its_own_tag_for_a_moment(code):
    """It has shown it before, to the same run."""
    aws = Region({}, OWN_TAG, {}, {}, *[OWN_TAG] * 3, failures={REPLACE: 1 + 1})
    aws.code = code
    acquire(aws, state("shop"))
    assert aws.calls.count(SWAP) == 1 + 2


def test_acquire_does_not_wait_for_an_admin_profile_that_does_not_exist():
    aws = Region(*[OWN_TAG] * 3, failures={REPLACE: 9})
    aws.has_profile = False
    message = r"instead of 'shop': instance profile 'admin' does not exist\.$"
    with pytest.raises(CwagentError, match=message) as error:
        acquire(aws, state("shop", tag="shop"))
    assert type(error.value) is CwagentError, "something was written, so the input is not reported as invalid"
    assert aws.calls[-4:] == [SWAP, *["GetInstanceProfile"] * LOOKUPS]


def test_check_mode_warns_of_an_admin_profile_that_does_not_exist():
    aws = Region()
    aws.has_profile = False
    resource = AdminInstanceResource(aws, desired_admin(ACQUIRED))
    warnings = resource.check_mode_warnings(resource.plan(state("shop")))
    assert warnings == ["instance profile 'admin' does not exist yet"]


def test_check_mode_does_not_warn_about_plans_of_earlier_tasks():
    aws = Region()
    aws.has_profile = False
    resource = AdminInstanceResource(aws, replace(desired_admin(ACQUIRED), managed_before=True), window(aws))
    current = replace(state("shop"), window=Window(aws.now, exists=False))
    assert resource.check_mode_warnings(resource.plan(current)) == []
    warned = AdminInstanceResource(aws, desired_admin(ACQUIRED), window(aws))
    assert warned.check_mode_warnings(warned.plan(current)) == [
        "instance profile 'admin' does not exist yet",
        "role 'R' does not exist yet",
    ]


class WriteDenied(Region):
    """Refuses one call with an error."""

    refused, code = "", ""

    def call(self, action, description, max_attempts=0, **arguments):
        self.calls.append(action.split(":")[1])
        if action == self.refused:
            raise AwsApiError("No.", self.code)
        return {}


DENIALS = {
    "the record": ("iam:TagRole", "AccessDenied", ["TagRole"]),
    "the record of a role that does not exist": ("iam:TagRole", "NoSuchEntity", ["TagRole"]),
    "the tag": ("ec2:CreateTags", "UnauthorizedOperation", ["TagRole", "CreateTags", "UntagRole"]),
}


@pytest.mark.parametrize(("refused", "code", "calls"), DENIALS.values(), ids=DENIALS)
def test_nothing_is_left_if_writing_the_record_or_the_tag_was_denied(refused, code, calls):
    """So nothing is to be released. A window that is open can be another run's."""
    aws = WriteDenied({})
    aws.refused, aws.code = refused, code
    with pytest.raises(AwsApiError) as error:
        acquire(aws, state("shop"))
    assert error.value.details == {"steps": [], "instances": SHOP_BEFORE}
    assert aws.calls == ["DescribeTags", *calls]


@pytest.mark.parametrize("refused", ["iam:TagRole", "ec2:CreateTags"])
def test_record_and_tag_can_be_there_after_another_error(refused):
    aws = WriteDenied({})
    aws.refused, aws.code = refused, "InternalError"
    with pytest.raises(AwsApiError) as error:
        acquire(aws, state("shop"))
    assert error.value.details == {"instances": SHOP_BEFORE}, "so that the caller need not read the record"


def test_a_tag_of_somebody_else_does_not_stop_an_acquisition():
    """The run looks at the tag for a while, because IAM may show another run's record late."""
    aws = Region({OTHER_INSTANCE: "Power"}, *[{INSTANCE: "shop", OTHER_INSTANCE: "Power"}] * 2)
    aws.records = [{}] * 99
    acquire(aws, state("shop"))
    assert aws.calls.count("GetRole") == 1 + 1 + RECORD_SECONDS + 1
    assert aws.calls[-1] == SWAP


def test_the_tag_of_a_run_counts_although_iam_shows_its_record_late():
    """Even if somebody else has tagged its instance before."""
    aws = Region({OTHER_INSTANCE: "Power"}, BOTH_TAGS)
    aws.records = [{}, {}, {}, {}, {OTHER_INSTANCE: "shop"}]
    with pytest.raises(ContentionError, match="i-2 has an unfinished swap"):
        acquire(aws, state("shop"))
    assert SWAP not in aws.calls


def test_a_tag_of_somebody_else_is_not_waited_for_before_each_retry():
    both = {INSTANCE: "shop", OTHER_INSTANCE: "Power"}
    aws = Region({}, *[both] * 4, failures={REPLACE: 1 + 2})
    aws.records = [{}] * 99
    acquire(aws, state("shop"))
    assert aws.calls.count("GetRole") == 1 + RECORD_SECONDS + 3


LATE_RECORDS = {
    "admin profile": ("admin", [{}, {}, {INSTANCE: "shop"}], 3),
    "no profile": (None, [{}, {}, {INSTANCE: "shop"}], 3),
    "another profile": ("other", [{}, {INSTANCE: "shop"}], 1),
}


@pytest.mark.parametrize(("profile", "records", "reads"), LATE_RECORDS.values(), ids=LATE_RECORDS)
@pytest.mark.parametrize("ids", [(INSTANCE,), ()], ids=["instance", "region"])
def test_a_record_that_iam_shows_late_is_waited_for_where_it_matters(profile, records, reads, ids):
    aws = Region(OWN_TAG)
    aws.profiles = {INSTANCE: profile} if profile else {}
    aws.records = list(records)
    aws.tags = OWN_TAG
    resource = AdminInstanceResource(aws, replace(desired_admin(RELEASED), instance_ids=ids or None))
    state = resource.read()
    assert state.restore_tags == OWN_TAG
    assert aws.calls.count("GetRole") == reads
    assert state.records == records[reads - 1]


@pytest.mark.parametrize(("wanted", "tags"), [(ACQUIRED, {OTHER_INSTANCE: "shop"}), (EXCLUSIVE, {})])
def test_the_admin_instance_of_a_run_is_not_reported_as_somebody_elses(wanted, tags):
    """A reader of that message would take the profile off an instance that a run is using."""
    aws = Region(tags)
    aws.profiles, aws.records = {INSTANCE: "admin", OTHER_INSTANCE: "admin"}, [{}, {}, {OTHER_INSTANCE: "shop"}]
    resource = AdminInstanceResource(aws, desired_admin(wanted))
    with pytest.raises(ContentionError, match=r"i-2 has instance profile 'admin'\. Wait for that to end"):
        resource.plan(resource.read())


def test_an_admin_instance_without_a_tag_is_not_waited_for():
    aws = Region({})
    aws.profiles, aws.records = {OTHER_INSTANCE: "admin"}, [{}, {}]
    resource = AdminInstanceResource(aws, desired_admin(ACQUIRED))
    with pytest.raises(ContentionError, match="which no run of this collection has associated"):
        resource.plan(resource.read())
    assert aws.calls.count("GetRole") == 1


def test_a_known_earlier_profile_is_not_read():
    aws = Region()
    aws.tags = OWN_TAG
    aws.profiles = {INSTANCE: "admin"}
    resource = AdminInstanceResource(aws, replace(desired_admin(RELEASED), known_earlier="shop"))
    assert resource.read().records == {INSTANCE: "shop"}
    assert "GetRole" not in aws.calls


@pytest.mark.parametrize("answers", [[None], [None, None], [{"Roles": []}]], ids=["missing", "twice", "no role"])
def test_an_earlier_profile_that_iam_does_not_show_for_a_moment_is_restored(answers):
    """If another profile replaced it, nothing would know of it."""

    class Late(Region):
        def find(self, action, description, absent, **arguments):
            answer = super().find(action, description, absent, **arguments)
            if action != "iam:GetInstanceProfile" or not answers:
                return answer
            late = answers.pop(0)
            return late and {"InstanceProfile": {**answer["InstanceProfile"], **late}}

    aws, answers = Late(), list(answers)
    aws.tags, aws.profiles, aws.shown = OWN_TAG, {INSTANCE: "admin"}, OWN_TAG
    assert AdminInstanceResource(aws, desired_admin(RELEASED)).read().unusable_profiles == frozenset()
    aws.has_profile = False
    state = AdminInstanceResource(aws, desired_admin(RELEASED)).read()
    assert state.unusable_profiles == {"shop", "server"}


def test_an_instance_with_a_record_only_is_read_too():
    """Somebody removed its tag, or it has lost its profile."""
    aws = Region({})
    aws.records = [{INSTANCE: "shop", "i-9": "shop"}]
    resource = AdminInstanceResource(aws, replace(desired_admin(RELEASED), instance_ids=None))
    assert resource.plan(resource.read()).summaries == [
        "associate instance profile 'shop' with instance i-1",
        "remove the restore record of instance i-1 from role 'R'",
        "remove the restore record of instance i-9 from role 'R'",
    ]


SERVER = {INSTANCE: (Association("a", "arn:x/server"),)}
EACH_TRACE = {"none": ({}, {}), "tag": (OWN_TAG, {INSTANCE: "server"}), "admin profile": ({}, {INSTANCE: "admin"})}


def release_with_knowledge(tags, profiles, **knowledge):
    """A release of a whole region whose caller knows its state before it had these tags and profiles."""
    aws = Region(*[tags] * 3)
    aws.tags, aws.profiles = tags, profiles
    return aws, AdminInstanceResource(aws, replace(desired_admin(RELEASED), instance_ids=None), **knowledge)


@pytest.mark.parametrize(("tags", "profiles"), EACH_TRACE.values(), ids=EACH_TRACE)
def test_a_region_without_records_is_read_only_if_a_trace_appears(tags, profiles):
    aws, resource = release_with_knowledge(tags, profiles, has_records=False)
    resource.read()
    assert aws.calls.count("GetRole") == (1 if tags or profiles else 0)


def test_known_associations_are_not_read_again_without_a_trace():
    aws, resource = release_with_knowledge({}, {}, has_records=False, associations=SERVER)
    assert resource.read().instances == {}
    assert aws.calls == ["DescribeTags"]


@pytest.mark.parametrize(
    ("tags", "known"),
    [(OWN_TAG, SERVER), ({}, {INSTANCE: (Association("a", "arn:x/admin"),)})],
    ids=["tag", "admin profile"],
)
def test_known_associations_are_outdated_if_an_instance_has_a_trace(tags, known):
    """Another run has acquired or restored the instance since."""
    aws, resource = release_with_knowledge(tags, {INSTANCE: "now"}, has_records=False, associations=known)
    found = resource.read().instances
    assert [each.profile for name in found for each in found[name].associations] == ["now"] * len(tags)
    assert aws.calls == ["DescribeTags", "DescribeTags", "GetRole"]


def test_nothing_that_the_caller_knew_counts_for_another_plan():
    aws, resource = release_with_knowledge({}, {INSTANCE: "admin"}, has_records=False, associations=SERVER)
    assert resource.read().instances == {}
    assert resource.read_to_plan_again().instances.keys() == {INSTANCE}
    assert aws.calls.count("GetRole") == 1


def test_records_are_not_read_without_a_tag_or_an_admin_instance():
    for wanted in (ACQUIRED, EXCLUSIVE):
        aws = Region({})
        AdminInstanceResource(aws, desired_admin(wanted)).read()
        assert "GetRole" not in aws.calls


def test_records_of_this_run_are_not_read_again():
    aws = Region(OWN_TAG, OWN_TAG)
    aws.profiles = {INSTANCE: "admin"}
    resource = AdminInstanceResource(aws, desired_admin(ACQUIRED))
    resource.read_again()
    AdminInstanceResource(aws, desired_admin(EXCLUSIVE)).read()
    AdminInstanceResource(aws, replace(desired_admin(RELEASED), instance_ids=None)).read_again()
    assert "GetRole" not in aws.calls


LOST = "Instance i-1 was restored by another run or by a person"


def test_an_instance_that_another_run_restores_meanwhile_is_reported_as_that():
    aws = Region({}, *[{}] * 9)
    resource, plan = plan_to_acquire(aws, state("shop"))
    with pytest.raises(ContentionError, match=LOST) as error:
        resource.remaining(plan, state("shop"))
    assert [each["earlier_profile"] for each in error.value.details["instances"]] == ["shop"]


def test_a_tag_that_ec2_does_not_show_for_a_moment_is_not_lost():
    aws = Region({}, {}, OWN_TAG)
    resource, plan = plan_to_acquire(aws, state("shop"))
    assert resource.remaining(plan, state("admin")) == ["tag instance i-1 with its earlier profile 'shop'"]


def test_an_association_that_another_run_has_replaced_is_reported_as_restored():
    aws = Region({}, OWN_TAG, *NO_TAGS, failures={REPLACE: 1 + 1})
    aws.code = "InvalidAssociationID.NotFound"
    with pytest.raises(ContentionError, match=LOST):
        acquire(aws, state("shop"))


AFTER_THE_TRIAL = {
    "as it was": ({INSTANCE: "shop"}, OWN_TAG, nullcontext()),
    "restored by another run": ({INSTANCE: "shop"}, {}, pytest.raises(ContentionError, match=LOST)),
    "another profile": ({INSTANCE: "other"}, OWN_TAG, pytest.raises(AwsApiError, match=LOST)),
    "admin profile": ({INSTANCE: "admin"}, OWN_TAG, pytest.raises(AwsApiError, match=LOST)),
    "no profile": ({}, OWN_TAG, pytest.raises(AwsApiError, match=LOST)),
}


@pytest.mark.parametrize(("profiles", "tags", "expected"), AFTER_THE_TRIAL.values(), ids=AFTER_THE_TRIAL)
def test_only_the_earlier_profile_is_replaced_after_the_trial_and_only_with_a_restore_tag(profiles, tags, expected):
    """The trial gives the association an id that is read again, so the id no longer shows other changes."""
    aws = Region({}, OWN_TAG, *[tags] * len(NO_TAGS))
    resource, plan = plan_to_acquire(aws, state("shop"))
    *before, swap = plan.steps[INSTANCE]
    for step in before:
        resource.execute(step)
    aws.profiles = profiles
    with expected as error:
        resource.execute(swap)
    assert aws.calls.count(SWAP) == 1 + (error is None)
    if error and error.type is AwsApiError:
        assert error.value.code in swap.stale_when, "so that another plan is made, with another record"


def test_an_instance_that_is_terminated_meanwhile_is_reported_as_that():
    aws = Region({}, *[OWN_TAG] * 2, failures={REPLACE: 9})
    aws.states[INSTANCE] = "terminated"
    with pytest.raises(CwagentError, match=r"^Could not associate .*: Instance i-1 is terminated and cannot") as error:
        acquire(aws, state("shop"))
    assert type(error.value) is CwagentError
    assert aws.calls.count(SWAP) == 1 + 1


RESTORED = {
    "terminated": ("terminated", {}, True),
    "restored by another run": ("running", {INSTANCE: "shop"}, True),
    "not restored": ("running", {INSTANCE: "admin"}, False),
    "no profile": ("running", {}, False),
}


@pytest.mark.parametrize(("instance_state", "profiles", "is_done"), RESTORED.values(), ids=RESTORED)
@pytest.mark.parametrize("code", ["InvalidParameterValue", "InvalidAssociationID.NotFound"])
def test_an_instance_that_needs_no_restoring_is_done(instance_state, profiles, is_done, code):
    aws = Region(failures={REPLACE: 99})
    aws.code, aws.states[INSTANCE], aws.profiles = code, instance_state, profiles
    resource = AdminInstanceResource(aws, desired_admin(RELEASED))
    step = resource.plan(state("admin", tag="shop")).steps[INSTANCE][0]
    with nullcontext() if is_done else pytest.raises(AwsApiError):
        resource.execute(step)


def test_a_denied_restore_is_an_error_without_a_further_look():
    aws = Region(failures={REPLACE: 1})
    aws.code, aws.states = "UnauthorizedOperation", {}
    resource = AdminInstanceResource(aws, desired_admin(RELEASED))
    with pytest.raises(AwsApiError):
        resource.execute(resource.plan(state("admin", tag="shop")).steps[INSTANCE][0])


@pytest.mark.parametrize(
    ("profile", "instance_state", "message"),
    [("shop", "running", LOST), (None, "running", LOST), (None, "terminated", "i-1 is terminated")],
)
def test_an_instance_that_was_lost_is_reported_before_storing(profile, instance_state, message):
    aws = Region()
    aws.profiles, aws.states[INSTANCE] = {INSTANCE: profile} if profile else {}, instance_state
    wanted = replace(desired_admin(EXCLUSIVE), are_running=True, fail_if_lost=True)
    resource = AdminInstanceResource(aws, wanted)
    with pytest.raises(CwagentError, match=message):
        resource.plan(resource.read())


def test_an_association_that_ec2_does_not_show_for_a_moment_is_not_lost():
    class Late(Region):
        reads = 0

        def pages(self, action, description, **arguments):
            if action == "ec2:DescribeIamInstanceProfileAssociations":
                self.reads += 1
                self.profiles = {INSTANCE: "shop" if self.reads < 3 else "admin"}
            return super().pages(action, description, **arguments)

    aws = Late()
    wanted = replace(desired_admin(EXCLUSIVE), are_running=True, fail_if_lost=True)
    resource = AdminInstanceResource(aws, wanted)
    assert not resource.plan(resource.read()).has_changes
    assert aws.reads == 3


@pytest.mark.parametrize(
    ("wanted", "tag", "instance_id", "is_contended"),
    [
        (ACQUIRED, None, "i-1", True),
        (ACQUIRED, "shop", "i-1", False),
        (ACQUIRED, "shop", "i-2", True),
        (RELEASED, None, "i-1", False),
    ],
    ids=["no tag", "tag", "tag, but open for another instance", "released"],
)
def test_an_open_window_without_a_restore_tag_is_contention(wanted, tag, instance_id, is_contended):
    """The same holds for a window that is open for another instance, for example in another region."""
    aws = Region()
    opened = Window(aws.now, open_policy(Opening(aws.now + timedelta(minutes=5), instance_id)))
    resource = AdminInstanceResource(aws, desired_admin(wanted), window(aws, fail_if_open=True))
    with pytest.raises(ContentionError, match="is open until") if is_contended else nullcontext():
        resource.check_preconditions(replace(state("shop", tag=tag), window=opened))


@pytest.mark.parametrize("tag", [None, "shop"])
def test_the_window_of_a_role_of_others_is_refused_whatever_is_tagged(tag):
    aws = Region()
    opening = WindowResource(aws, DesiredWindow("role", "R", OPEN, managed_only=True))
    resource = AdminInstanceResource(aws, desired_admin(ACQUIRED), opening)
    with pytest.raises(InvalidInput, match="role 'R' exists and was not created by this collection"):
        resource.check_preconditions(replace(state("shop", tag=tag), window=Window(aws.now, is_marked=False)))


def test_another_admin_instance_is_reported_rather_than_its_window():
    aws = Region()
    opened = Window(aws.now, open_policy(Opening(aws.now + timedelta(minutes=5))))
    resource = AdminInstanceResource(aws, desired_admin(ACQUIRED), window(aws, fail_if_open=True))
    with pytest.raises(ContentionError, match="instance i-2 has instance profile"):
        resource.check_preconditions(replace(state_with_other("admin"), window=opened))


@pytest.mark.parametrize("value", ["", "no name", "x" * 129])
def test_a_record_that_is_not_a_valid_profile_name_is_not_looked_up(value):
    """A tag can have any value; IAM refuses to look it up."""
    aws = Region()
    aws.records = [{INSTANCE: value}]
    association = {
        "InstanceId": INSTANCE,
        "IamInstanceProfile": {"Arn": "arn:x/admin"},
        "AssociationId": "a",
        "State": "associated",
    }
    tagged = {"InstanceId": INSTANCE, "State": {"Name": "running"}, "Tags": [{"Key": RESTORE_TAG, "Value": value}]}
    aws.pages = lambda *_, **__: [
        {"IamInstanceProfileAssociations": [association], "Reservations": [{"Instances": [tagged]}]}
    ]
    resource = AdminInstanceResource(aws, desired_admin(RELEASED))
    assert resource.plan(resource.read()).summaries == [
        "associate instance profile 'server' with instance i-1 instead of 'admin'",
        "remove the restore tag from instance i-1",
        "remove the restore record of instance i-1 from role 'R'",
    ]
    assert aws.calls == ["GetRole", "GetInstanceProfile"]


def test_acquire_stops_retrying_when_another_run_has_started():
    aws = Region(OWN_TAG, OWN_TAG, BOTH_TAGS, failures={REPLACE: 9})
    with pytest.raises(ContentionError, match=r"i-2 has an unfinished swap .*restore to clean up\.$") as error:
        acquire(aws, state("shop", tag="shop"))
    assert "DeleteTags" not in aws.calls
    assert error.value.details == {"instances": SHOP_BEFORE}, "so that the window is closed"


@pytest.mark.parametrize("denied", ["ec2:DescribeInstances", "ec2:DescribeIamInstanceProfileAssociations"])
def test_the_window_is_closed_although_the_instances_cannot_be_read(denied):
    aws = Region()
    aws.denied = (denied,)
    resource = AdminInstanceResource(aws, desired_admin(RELEASED), window(aws, CLOSED, force=True))
    with pytest.raises(CwagentError) as failure:
        converge(resource, check_mode=False, wait=10)
    assert aws.calls[-1] == "PutRolePolicy"
    assert re.match("Could not (look up|read the instance)", str(failure.value))
    assert failure.value.details["done"] == [CLOSE_WINDOW]


def test_a_window_that_cannot_be_read_is_closed_and_reported_as_unknown():
    aws = Region()
    aws.denied = ("iam:GetRolePolicy",)
    resource = AdminInstanceResource(aws, desired_admin(RELEASED), window(aws, CLOSED))
    result = converge(resource, check_mode=False, wait=10)
    assert result["steps"] == [CLOSE_WINDOW]
    assert aws.calls == ["GetRole", "PutRolePolicy"]
    assert result["diff"]["before"]["window"]["state"] == result["window"]["state"] == UNKNOWN
    assert result["diff"]["after"]["window"]["state"] == CLOSED
    assert result["warnings"] == [
        "Could not read the admin window of role 'R'. The window is closed anyway; its earlier state is unknown."
    ]


def test_a_window_that_was_not_read_and_cannot_be_read_is_closed_and_reported_as_unknown():
    aws = Region()
    aws.denied = ("iam:GetRolePolicy",)
    resource = AdminInstanceResource(aws, desired_admin(RELEASED), window(aws, CLOSED, force=True))
    result = converge(resource, check_mode=False, wait=10)
    assert result["steps"] == [CLOSE_WINDOW]
    assert aws.calls == ["GetRole", "PutRolePolicy"]
    assert result["window"]["state"] == UNKNOWN


def test_a_window_that_was_not_read_is_read_afterwards():
    aws = Region()
    resource = AdminInstanceResource(aws, desired_admin(RELEASED), window(aws, CLOSED, force=True))
    result = converge(resource, check_mode=False, wait=10)
    assert result["diff"]["before"]["window"]["state"] == UNKNOWN
    assert result["window"]["state"] == CLOSED
    assert result["warnings"] == []


def test_a_change_by_someone_else_while_waiting_is_not_reported_as_invalid_input():
    aws = Region(OWN_TAG)
    resource, plan = plan_to_acquire(aws, state("shop", tag="shop"))
    with pytest.raises(CwagentError, match="i-1 does not exist") as error:
        resource.remaining(plan, State())
    assert type(error.value) is CwagentError
    with pytest.raises(ContentionError, match="i-2 has instance profile 'admin'"):
        resource.remaining(plan, replace(state_with_other("admin"), restore_tags=OWN_TAG))


def test_more_instances_than_a_filter_accepts_are_read_with_the_whole_region():
    aws = Region({})
    names = [f"i-{number}" for number in range(FILTER_VALUES + 1)]
    AdminInstanceResource(aws, desired_admin(RELEASED, *names)).read()
    assert aws.calls == ["DescribeTags", "GetRole"]
    AdminInstanceResource(aws, desired_admin(RELEASED, *names[1:])).read()
    assert aws.calls == ["DescribeTags", "GetRole", "GetRole"]


LOOK_UPS = {
    "acquired": (desired_admin(ACQUIRED), True),
    "acquired, assumed to run": (replace(desired_admin(ACQUIRED), are_running=True), False),
    "exclusive": (desired_admin(EXCLUSIVE), True),
    "released": (desired_admin(RELEASED), True),
}


@pytest.mark.parametrize(("wanted", "is_looked_up"), LOOK_UPS.values(), ids=LOOK_UPS)
def test_an_instance_without_a_profile_is_looked_up_unless_it_is_assumed_to_run(wanted, is_looked_up):
    aws, requests = Region({}), []
    pages = aws.pages

    def recorded(action: str, description: str, **arguments: Any) -> Any:
        requests.append((action, str(arguments)))
        return pages(action, description, **arguments)

    aws.pages = recorded
    AdminInstanceResource(aws, wanted).read()
    assert any(action == "ec2:DescribeInstances" and INSTANCE in more for action, more in requests) == is_looked_up


def test_a_wait_ends_with_the_error_of_the_last_read():
    aws = Region()
    resource = AdminInstanceResource(aws, desired_admin(RELEASED))
    plan = resource.plan(state("admin", tag="shop"))
    with pytest.raises(CwagentError, match="unreadable"):
        resource.remaining(plan, State(error=CwagentError("unreadable")))


def test_leftovers_of_the_window_are_remaining_too():
    aws = Region(OWN_TAG)
    resource, plan = plan_to_acquire(aws, state("shop", tag="shop"))
    shown = replace(state("admin", tag="shop"), window=plan.current.window)
    [left] = resource.remaining(plan, shown)
    assert left.startswith("open the admin window of role 'R' until")


def test_a_resource_keeps_no_state_while_it_acquires():
    aws = Region({}, *[OWN_TAG] * 3, failures={REPLACE: 1 + 1})
    resource = AdminInstanceResource(aws, desired_admin(ACQUIRED), window(aws))
    before, before_of_window = dict(vars(resource)), dict(vars(resource._window))
    read = resource.read()
    show_profiles(aws, state("shop"))
    plan = resource.plan(replace(state("shop"), window=read.window, tagged=read.tagged))
    apply(plan, resource.execute, check_mode=False)
    assert aws.calls[-2:] == ["DescribeTags", SWAP]
    assert vars(resource) == before
    assert vars(resource._window) == before_of_window


@pytest.mark.parametrize("denied", [(), ("ec2:DescribeInstances", "iam:GetRolePolicy")], ids=["read", "not read"])
def test_a_resource_keeps_no_state_while_it_releases(denied):
    aws = Region()
    aws.denied = denied
    resource = AdminInstanceResource(aws, desired_admin(RELEASED), window(aws, CLOSED))
    before, before_of_window = dict(vars(resource)), dict(vars(resource._window))
    with pytest.raises(CwagentError) if denied else nullcontext():
        converge(resource, check_mode=False, wait=10)
    assert vars(resource) == before
    assert vars(resource._window) == before_of_window


@pytest.mark.parametrize(
    ("shown", "options", "reads"),
    [
        (["shop", "shop", "admin"], {"known_earlier": "shop", "keep_tag": True}, 3),
        (["shop"] * 9, {"known_earlier": "shop", "keep_tag": True}, 1 + LOST_SECONDS),
        (["admin"], {"known_earlier": "shop", "keep_tag": True}, 1),
        (["other"], {"known_earlier": "shop", "keep_tag": True}, 1),
        (["shop"], {"known_earlier": "shop", "keep_tag": False}, 1),
        (["shop"], {"keep_tag": True}, 1),
        ([None, None, "admin"], {"known_earlier": NO_PROFILE, "keep_tag": True}, 3),
        (["shop"], {"known_earlier": NO_PROFILE, "keep_tag": True}, 1),
    ],
    ids=[
        *("shown late", "restored by another run", "acquired", "replaced", "tag only", "another run's"),
        *("no profile, shown late", "no profile, replaced"),
    ],
)
def test_a_release_looks_again_where_ec2_shows_the_profile_from_before_the_swap(shown, options, reads):
    """Otherwise the instance would keep the admin profile, although the run reports that it has released it."""
    read: list[str | None] = []

    class Late(Region):
        def pages(self, action, description, **arguments):
            if action == "ec2:DescribeIamInstanceProfileAssociations":
                read.append(shown[min(len(read), len(shown) - 1)])
                self.profiles = {INSTANCE: read[-1]} if read[-1] else {}
            yield from super().pages(action, description, **arguments)

    resource = AdminInstanceResource(Late(), replace(desired_admin(RELEASED), **options))
    state = resource.read()
    assert len(read) == reads
    assert [each.profile for each in state.instances[INSTANCE].associations] == [shown[-1]]
