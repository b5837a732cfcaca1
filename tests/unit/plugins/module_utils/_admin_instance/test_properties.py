"""Properties of the plans of an admin instance, in a model of a region."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from admin_instances import INSTANCE, OTHER_INSTANCE, desired_admin, instance
from aws_account import REGION, Account, Principal
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import plan as admin_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    EXCLUSIVE,
    NO_PROFILE,
    RELEASED,
    RESTORE_TAG,
    ContentionCheck,
    DesiredAdmin,
    State,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import ContentionError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ENDED
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

NAMES = ("i-1", "i-2", "i-3")
PROFILES = st.sampled_from([(), ("server",), ("shop",), ("admin",), ("shop", "admin"), ("admin", "server")])
RESTORE_TAGS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["server", "shop", NO_PROFILE]))
LEFTOVER_RECORDS = st.dictionaries(st.sampled_from([*NAMES, "i-9"]), st.sampled_from(["server", "shop"]), max_size=1)
LIVE_STATES = st.sampled_from(["running", "stopped"])


@st.composite
def regions(
    draw: st.DrawFn,
    profiles: st.SearchStrategy[Any] = PROFILES,
    restore_tags: st.SearchStrategy[Any] = RESTORE_TAGS,
    leftover_records: st.SearchStrategy[Any] = LEFTOVER_RECORDS,
) -> State:
    """Instances with restore tags, of which some have no record and some were changed by somebody else."""
    present = draw(st.sets(st.sampled_from(NAMES), min_size=1))
    instances = {}
    for name in sorted(present):
        ended = draw(st.sampled_from([False, False, False, True]))
        instance_state = "terminated" if ended else draw(LIVE_STATES)
        instances[name] = instance(*draw(profiles), name=name, instance_state=instance_state)
    found = {name: tag for name, tag in draw(restore_tags).items() if name in present}
    # An instance whose profile is being replaced had a profile.
    replaced = {name for name, each in instances.items() if len(each.associations) > 1}
    tags = {name: tag for name, tag in found.items() if tag != NO_PROFILE or name not in replaced}
    records = {name: tag for name, tag in tags.items() if draw(st.booleans())}
    records.update(draw(leftover_records))
    planted = {name: draw(st.sampled_from([tags[name], "Power"])) for name in tags}
    return State(instances, planted, records)


DESIRED = st.builds(
    DesiredAdmin,
    state=st.sampled_from([ACQUIRED, EXCLUSIVE, RELEASED]),
    admin=st.just("admin"),
    fallback=st.just("server"),
    instance_ids=st.sampled_from([(name,) for name in NAMES]),
    fallback_ids=st.frozensets(st.sampled_from(NAMES)),
    record_role=st.just("role"),
    region=st.just(REGION),
    keep_tag=st.booleans(),
)
RELEASED_REGION = desired_admin(RELEASED, whole_region=True, named=NAMES)


def profiles_in(state: State) -> dict[str, Any]:
    return {name: [each.profile for each in found.associations] for name, found in state.instances.items()}


class Region:
    """A region in a model of an account."""

    def __init__(self, state: State) -> None:
        self.account = Account()
        self.account.regions[REGION] = dict(state.instances)
        self.account.tags = {name: {RESTORE_TAG: value} for name, value in state.restore_tags.items()}
        records = {admin_plan.record_key(REGION, name): value for name, value in state.records.items()}
        self.account.roles["role"] = Principal(tags=records)

    @property
    def state(self) -> State:
        tags = {name: tags[RESTORE_TAG] for name, tags in self.account.tags.items() if tags}
        records = admin_plan.records_in(self.account.roles["role"].tags, REGION)
        return State(self.account.regions[REGION], tags, records, frozenset(tags.keys() & records.keys()))

    def read(self, wanted: DesiredAdmin) -> State:
        """The state as the resource reads it: instances of the list, with the admin profile or with a restore tag."""
        state = self.state
        admins = {name for name, profiles in profiles_in(state).items() if wanted.admin in profiles}
        shown = {*(wanted.instance_ids or ()), *admins, *state.restore_tags, *state.records}
        return replace(state, instances={name: each for name, each in state.instances.items() if name in shown})

    def take_all(self, steps: Iterable[Step]) -> None:
        """Take steps as the resource does, which looks up the association of an instance after the trial."""
        for step in steps:
            found = step
            if isinstance(step.context, ContentionCheck) and step.context.look_up_association:
                present = self.state.instances[self.account.associated_again[-1]].associations[-1].id
                found = replace(step, arguments={**step.arguments, "association_id": present})
            self.account.take(found)

    def run(self, wanted: DesiredAdmin) -> None:
        for steps in admin_plan.plan(self.read(wanted), wanted).steps.values():
            self.take_all(steps)

    @property
    def admins(self) -> set[str]:
        live = {name for name, found in self.state.instances.items() if found.state not in ENDED}
        return {name for name in live if "admin" in self.account.profiles_of(name)}


@given(regions(), DESIRED, st.booleans())
def test_a_plan_leads_to_its_planned_state(region, wanted, whole_region):
    if whole_region and wanted.state == RELEASED:
        wanted = replace(wanted, instance_ids=None)
    ec2 = Region(region)
    current = ec2.read(wanted)
    try:
        plan = admin_plan.plan(current, wanted)
    except (ContentionError, InvalidInput):
        assert wanted.state != RELEASED
        assert (profiles_in(ec2.state), ec2.state.records) == (profiles_in(region), region.records)
        return
    planned = plan.planned
    for steps in plan.steps.values():
        ec2.take_all(steps)
    assert {name: profiles_in(ec2.state)[name] for name in current.instances} == profiles_in(planned)
    assert (ec2.state.restore_tags, ec2.state.records) == (planned.restore_tags, planned.records)
    assert plan.has_changes == (
        (profiles_in(current), current.restore_tags, current.records)
        != (profiles_in(planned), planned.restore_tags, planned.records)
    )
    assert not admin_plan.plan(ec2.read(wanted), wanted).has_changes
    untouched = region.instances.keys() - plan.steps.keys()
    assert all(ec2.state.instances[name] == region.instances[name] for name in untouched)


@given(regions(), st.booleans())
def test_a_released_region_has_no_admin_instance_and_no_tag_of_a_run(region, keep_tag):
    """A tag without a record is somebody else's. The content of a tag does not matter."""
    ec2 = Region(region)
    ec2.run(replace(RELEASED_REGION, keep_tag=keep_tag))
    assert not ec2.admins
    foreign = {name: tag for name, tag in region.restore_tags.items() if name not in region.records}
    assert ec2.state.restore_tags == (region.restore_tags if keep_tag else foreign)
    assert ec2.state.records == (region.records if keep_tag else {})
    for name, before in profiles_in(region).items():
        record = region.records.get(name)
        if region.instances[name].state in ENDED or ("admin" not in before and (before or not record)):
            assert ec2.account.profiles_of(name) == before
        else:
            earlier = record or ("server" if before[-1] == "admin" else before[-1])
            assert ec2.account.profiles_of(name) == ([] if earlier == NO_PROFILE else [earlier])


@given(regions())
def test_without_names_only_instances_with_a_record_change(region):
    ec2 = Region(region)
    ec2.run(desired_admin(RELEASED, whole_region=True))
    for name in region.instances.keys() - region.records.keys():
        assert ec2.account.profiles_of(name) == profiles_in(region)[name]
        assert ec2.state.restore_tags.get(name) == region.restore_tags.get(name)


CONSISTENT_PROFILES = st.sampled_from([(), ("server",), ("shop",)])
NO_TAGS: st.SearchStrategy[Any] = st.just({})


@given(regions(CONSISTENT_PROFILES, NO_TAGS, NO_TAGS), st.sampled_from(NAMES), st.booleans())
def test_acquire_and_release_restore_the_earlier_state(region, name, keep_tag_first):
    assume(name in region.instances and region.instances[name].state not in ENDED)
    ec2 = Region(region)
    ec2.run(desired_admin(ACQUIRED, name))
    assert ec2.admins == {name}
    before = profiles_in(region)[name]
    assert ec2.state.restore_tags == ec2.state.records == {name: before[0] if before else NO_PROFILE}
    if keep_tag_first:
        ec2.run(desired_admin(RELEASED, name, keep_tag=True))
        assert profiles_in(ec2.state) == profiles_in(region)
        assert list(ec2.state.restore_tags) == list(ec2.state.records) == [name]
    ec2.run(desired_admin(RELEASED, name))
    assert (profiles_in(ec2.state), ec2.state.restore_tags, ec2.state.records) == (profiles_in(region), {}, {})


RUN_OF_STORE_CONFIG = (
    desired_admin(ACQUIRED),
    desired_admin(EXCLUSIVE),
    desired_admin(RELEASED, keep_tag=True),
    desired_admin(RELEASED),
)


@given(
    region=regions(CONSISTENT_PROFILES, NO_TAGS, NO_TAGS),
    calls=st.integers(0, 8),
    calls_of_first_repair=st.integers(0, 4),
    meanwhile=st.sampled_from([None, "running", "terminated"]),
)
def test_a_run_that_was_interrupted_anywhere_is_repaired(region, calls, calls_of_first_repair, meanwhile):
    assume(INSTANCE in region.instances and region.instances[INSTANCE].state not in ENDED)
    ec2 = Region(region)
    remaining_calls = calls
    for wanted in RUN_OF_STORE_CONFIG:
        steps = admin_plan.plan(ec2.read(wanted), wanted).steps.get(INSTANCE, [])
        ec2.take_all(steps[:remaining_calls])
        assert len(ec2.admins) <= 1
        if "admin" in ec2.account.profiles_of(INSTANCE):
            assert INSTANCE in ec2.state.tagged
        if len(steps) > remaining_calls:
            break
        remaining_calls -= len(steps)
    if meanwhile:
        found = replace(ec2.state.instances[INSTANCE], state=meanwhile)
        ec2.account.regions[REGION][INSTANCE] = found
    repairs = admin_plan.plan(ec2.read(RELEASED_REGION), RELEASED_REGION).steps.values()
    ec2.take_all(list(itertools.chain(*repairs))[:calls_of_first_repair])  # the repair is interrupted too
    ec2.run(RELEASED_REGION)
    assert not ec2.admins
    assert ec2.state.restore_tags == ec2.state.records == {}
    if meanwhile != "terminated":
        assert profiles_in(ec2.state) == profiles_in(region)
    assert not admin_plan.plan(ec2.read(RELEASED_REGION), RELEASED_REGION).has_changes


class Controller:
    """Acquires and releases like the module and the role store_config; it does one read or write at a time.

    The tests of the resource show that the module does them in this order.
    """

    def __init__(self, ec2: Region, name: str) -> None:
        self.ec2, self.name, self.stored, self.aborted = ec2, name, False, False
        self._actions = iter(
            [self._read, self._write_record, self._write_tag, self._read_tags, self._swap, self._check_exclusive]
        )
        self._before = State()

    def _steps(self) -> list[Step]:
        return list(admin_plan.plan(self._before, desired_admin(ACQUIRED, self.name)).steps[self.name])

    def _read(self) -> None:
        self._before = self.ec2.read(desired_admin(ACQUIRED, self.name))
        self._steps()

    def _write_record(self) -> None:
        self.ec2.take_all(self._steps()[:1])

    def _write_tag(self) -> None:
        self.ec2.take_all(self._steps()[1:2])

    def _read_tags(self) -> None:
        admin_plan.check_restore_tags(self._before.tagged, self.ec2.state.tagged, desired_admin(ACQUIRED, self.name))

    def _swap(self) -> None:
        self.ec2.take_all(self._steps()[2:])

    def _check_exclusive(self) -> None:
        exclusive = desired_admin(EXCLUSIVE, self.name)
        admin_plan.plan(replace(self.ec2.read(exclusive), restore_tags={}), exclusive)
        self.stored = True

    def act(self) -> None:
        if self.aborted:
            return
        try:
            next(self._actions)()
        except ContentionError:
            self.aborted = True
            if self.name in self.ec2.state.records:
                self.ec2.run(desired_admin(RELEASED, self.name))


# A run of a controller has six actions, so two runs can interleave in 924 ways.
@pytest.mark.parametrize("turns_of_first", list(itertools.combinations(range(12), 6)), ids=str)
def test_of_two_controllers_at_most_one_acquires_the_admin_profile(turns_of_first):
    ec2 = Region(State({name: instance("server", name=name) for name in (INSTANCE, OTHER_INSTANCE)}))
    controllers = [Controller(ec2, INSTANCE), Controller(ec2, OTHER_INSTANCE)]
    for turn in range(12):
        controllers[turn not in turns_of_first].act()
        assert len(ec2.admins) <= 1
    stored = [each for each in controllers if each.stored]
    assert len(stored) <= 1
    assert all(each.stored or each.aborted for each in controllers)
    for each in stored:
        ec2.run(desired_admin(RELEASED, each.name))
    assert (profiles_in(ec2.state), ec2.state.restore_tags) == ({INSTANCE: ["server"], OTHER_INSTANCE: ["server"]}, {})
