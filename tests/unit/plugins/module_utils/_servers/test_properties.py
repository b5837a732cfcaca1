"""Properties of the plans of an admin instance, in a model of a region."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from admin_instances import (
    INSTANCE,
    OTHER_INSTANCE,
    acquisition,
    instance,
    profiles_for,
    release,
    release_of_region,
    sole_holder,
)
from aws_account import REGION, Account, Principal
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import ContentionError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Step
from ansible_collections.cwagent.iam.plugins.module_utils._servers import admin_instance, admin_profile_plan
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_instance import NO_PROFILE, RESTORE_TAG, State
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_profile_plan import (
    Acquisition,
    ContentionCheck,
    Release,
    SoleHolder,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile_plan import ENDED

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


Verb = Acquisition | SoleHolder | Release


@st.composite
def verbs(draw: st.DrawFn) -> Verb:
    """A verb for one instance, of a user who has named others too."""
    name, named = draw(st.sampled_from(NAMES)), draw(st.frozensets(st.sampled_from(NAMES)))
    profiles = profiles_for(name, *named)
    kinds: list[Verb] = [Acquisition(profiles, name), SoleHolder(profiles, name), Release(profiles, name)]
    kinds += [Release(profiles, name, keep_tag=True)]
    return draw(st.sampled_from(kinds))


RELEASED_REGION = release_of_region(*NAMES)


def profiles_in(state: State) -> dict[str, Any]:
    return {name: [each.profile for each in found.associations] for name, found in state.instances.items()}


class Region:
    """A region in a model of an account."""

    def __init__(self, state: State) -> None:
        self.account = Account()
        self.account.regions[REGION] = dict(state.instances)
        self.account.tags = {name: {RESTORE_TAG: value} for name, value in state.restore_tags.items()}
        records = {admin_instance.record_key(REGION, name): value for name, value in state.records.items()}
        self.account.roles["role"] = Principal(tags=records)

    @property
    def state(self) -> State:
        tags = {name: tags[RESTORE_TAG] for name, tags in self.account.tags.items() if tags}
        records = admin_instance.records_in(self.account.roles["role"].tags, REGION)
        return State(self.account.regions[REGION], tags, records, frozenset(tags.keys() & records.keys()))

    def read(self, wanted: Verb) -> State:
        """The state as the resource reads it: instances of the list, with the admin profile or with a restore tag."""
        state = self.state
        admins = {name for name, profiles in profiles_in(state).items() if wanted.profiles.admin in profiles}
        shown = {wanted.instance_id, *admins, *state.restore_tags, *state.records}
        return replace(state, instances={name: each for name, each in state.instances.items() if name in shown})

    def take_all(self, steps: Iterable[Step]) -> None:
        """Take steps as the resource does, which looks up the association of an instance after the trial."""
        for step in steps:
            found = step
            if isinstance(step.context, ContentionCheck) and step.context.look_up_association:
                present = self.state.instances[self.account.associated_again[-1]].associations[-1].id
                found = replace(step, arguments={**step.arguments, "association_id": present})
            self.account.take(found)

    def run(self, wanted: Verb) -> None:
        for steps in wanted.plan(self.read(wanted)).steps.values():
            self.take_all(steps)

    @property
    def admins(self) -> set[str]:
        live = {name for name, found in self.state.instances.items() if found.state not in ENDED}
        return {name for name in live if "admin" in self.account.profiles_of(name)}


@given(regions(), verbs(), st.booleans())
def test_a_plan_leads_to_its_planned_state(region, wanted, whole_region):
    if whole_region and isinstance(wanted, Release):
        wanted = replace(wanted, instance_id=None)
    ec2 = Region(region)
    current = ec2.read(wanted)
    try:
        plan = wanted.plan(current)
    except (ContentionError, InvalidInput):
        assert not isinstance(wanted, Release)
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
    assert not wanted.plan(ec2.read(wanted)).has_changes
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


CONSISTENT_PROFILES = st.sampled_from([(), ("server",), ("shop",)])
NO_TAGS: st.SearchStrategy[Any] = st.just({})


RUN_OF_STORE_CONFIG = (
    acquisition(),
    sole_holder(),
    release(keep_tag=True),
    release(),
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
        steps = wanted.plan(ec2.read(wanted)).steps.get(INSTANCE, [])
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
    repairs = RELEASED_REGION.plan(ec2.read(RELEASED_REGION)).steps.values()
    ec2.take_all(list(itertools.chain(*repairs))[:calls_of_first_repair])  # the repair is interrupted too
    ec2.run(RELEASED_REGION)
    assert not ec2.admins
    assert ec2.state.restore_tags == ec2.state.records == {}
    if meanwhile != "terminated":
        assert profiles_in(ec2.state) == profiles_in(region)
    assert not RELEASED_REGION.plan(ec2.read(RELEASED_REGION)).has_changes


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
        return list(acquisition(self.name).plan(self._before).steps[self.name])

    def _read(self) -> None:
        self._before = self.ec2.read(acquisition(self.name))
        self._steps()

    def _write_record(self) -> None:
        self.ec2.take_all(self._steps()[:1])

    def _write_tag(self) -> None:
        self.ec2.take_all(self._steps()[1:2])

    def _read_tags(self) -> None:
        admin_profile_plan.check_restore_tags(
            self._before.tagged, self.ec2.state.tagged, self.name, profiles_for(self.name)
        )

    def _swap(self) -> None:
        self.ec2.take_all(self._steps()[2:])

    def _check_exclusive(self) -> None:
        exclusive = sole_holder(self.name)
        exclusive.plan(replace(self.ec2.read(exclusive), restore_tags={}))
        self.stored = True

    def act(self) -> None:
        if self.aborted:
            return
        try:
            next(self._actions)()
        except ContentionError:
            self.aborted = True
            if self.name in self.ec2.state.records:
                self.ec2.run(release(self.name))


def test_of_two_controllers_at_most_one_acquires_the_admin_profile():
    """A run of a controller has six actions, so two runs can interleave in 924 ways. In half, the first one begins."""
    for turns in itertools.combinations(range(1, 12), 5):
        ec2 = Region(State({name: instance("server", name=name) for name in (INSTANCE, OTHER_INSTANCE)}))
        first, second = controllers = [Controller(ec2, INSTANCE), Controller(ec2, OTHER_INSTANCE)]
        for turn in range(12):
            (first if turn in (0, *turns) else second).act()
            assert len(ec2.admins) <= 1, turns
        stored = [each for each in controllers if each.stored]
        assert len(stored) <= 1, turns
        assert all(each.stored or each.aborted for each in controllers), turns
        for each in stored:
            ec2.run(release(each.name))
        assert profiles_in(ec2.state) == {INSTANCE: ["server"], OTHER_INSTANCE: ["server"]}, turns
        assert ec2.state.restore_tags == {}, turns
