from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aws_model import Iam
from declarations import (
    ADMIN,
    BOUND,
    CORE,
    DECLARED,
    FOREIGN,
    HELD,
    HELD_TAGS,
    MINE,
    OLD,
    OTHER_BOUND,
    SERVER,
    declare,
    subsets,
)
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY, agent_policies
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NEW, STILL_HELD
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import GONE, Held
from ansible_collections.cwagent.iam.plugins.module_utils._role import plan as role_plan
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import InstanceProfile, Role, State, WantedRole

EC2 = "ec2.amazonaws.com"
TRUST = role_plan.trust_policy(EC2)
[OURS] = TRUST["Statement"]
OURS_IN_LISTS = {"Sid": "x", "Effect": "Allow", "Principal": {"Service": [EC2]}, "Action": ["sts:AssumeRole"]}
WITH_LAMBDA = {**OURS, "Principal": {"Service": [EC2, "lambda.amazonaws.com"]}}
LAMBDA = {**OURS, "Principal": {"Service": "lambda.amazonaws.com"}}
ACCOUNT = {**OURS, "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}
ANYONE = {**OURS, "Principal": "*"}
CONDITIONAL = {**OURS, "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}
DENY = {**OURS, "Effect": "Deny"}
OLDER = {"Version": "2008-10-17", "Id": "x"}
TAGS_ONLY = {**OURS, "Action": "sts:TagSession"}


def trust(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def want(**more: Any) -> WantedRole:
    settings = {key: more.pop(key) for key in ("description", "max_session_duration") if key in more}
    return WantedRole("R", declare(**more), profile="P", **settings)


def state(role: Role | None = None, profile: InstanceProfile | None = None, others: Any = (), **held: Any) -> State:
    """A role as declared by ``want()``, but for what is given."""
    role = role or Role("R", TRUST)
    held = {"policies": frozenset({SERVER}), **held}
    return State(replace(role, held=Held(**held)), profile or InstanceProfile("P", role="R"), frozenset(others))


def held(*arns: str) -> State:
    return state(policies=frozenset(arns))


ATTACH, DETACH = "attach {} to role 'R'", "detach {} from role 'R'"
SERVER_ON, ADMIN_OFF = ATTACH.format("CloudWatchAgentServerPolicy"), DETACH.format("CloudWatchAgentAdminPolicy")
CORE_ON, CORE_OFF = ATTACH.format("AmazonSSMManagedInstanceCore"), DETACH.format("AmazonSSMManagedInstanceCore")
OLD_ON, OLD_OFF = ATTACH.format("AmazonEC2RoleforSSM"), DETACH.format("AmazonEC2RoleforSSM")
MAKE_ROLE, MAKE_PROFILE = "create role 'R'", "create instance profile 'P'"
INTO_PROFILE = "put role 'R' into instance profile 'P'"
SET_TRUST = "set the trust policy of role 'R'"
SET_SETTINGS = "set the description and the session duration of role 'R'"

PRESENT = {
    "nothing there": (State(), want(), [MAKE_ROLE, SERVER_ON, MAKE_PROFILE, INTO_PROFILE]),
    "as wanted": (state(), want(), []),
    "detached policy": (held(), want(), [SERVER_ON]),
    "admin policy on a server role": (held(SERVER, ADMIN), want(), [ADMIN_OFF]),
    "server policy on an admin role": (
        held(SERVER),
        want(access="admin"),
        [ATTACH.format("CloudWatchAgentAdminPolicy"), DETACH.format("CloudWatchAgentServerPolicy")],
    ),
    "SSM omitted": (held(SERVER, CORE, OLD), want(), []),
    "SSM none": (held(SERVER, CORE, OLD), want(ssm_policy="none"), [CORE_OFF, OLD_OFF]),
    "SSM core": (held(SERVER, OLD), want(ssm_policy="AmazonSSMManagedInstanceCore"), [CORE_ON, OLD_OFF]),
    "SSM deprecated": (held(SERVER, CORE), want(ssm_policy="AmazonEC2RoleforSSM"), [OLD_ON, CORE_OFF]),
    "further policy": (state(), want(further=frozenset({MINE})), [ATTACH.format("mine")]),
    "trust policy lost": (state(Role("R", trust(LAMBDA))), want(), [SET_TRUST]),
    "trust with a condition only": (state(Role("R", trust(CONDITIONAL))), want(), [SET_TRUST]),
    "trust denied": (state(Role("R", trust(DENY))), want(), [SET_TRUST]),
    "trust denied beside ours": (state(Role("R", trust(OURS, DENY))), want(), []),
    "trust denied beside ours, exclusive": (state(Role("R", trust(OURS, DENY))), want(exclusive=True), [SET_TRUST]),
    "trust denied, exclusive": (state(Role("R", trust(DENY))), want(exclusive=True), [SET_TRUST]),
    "trust of anyone": (state(Role("R", trust(ANYONE))), want(), [SET_TRUST]),
    "trust for another action": (state(Role("R", trust(TAGS_ONLY))), want(), [SET_TRUST]),
    "trust as a single statement": (state(Role("R", {"Version": "2012-10-17", "Statement": OURS})), want(), []),
    "trust in lists": (state(Role("R", trust(OURS_IN_LISTS))), want(), []),
    "no profile": (replace(state(), profile=None), want(), [MAKE_PROFILE, INTO_PROFILE]),
    "profile without its role": (state(profile=InstanceProfile("P")), want(), [INTO_PROFILE]),
    "profile with another role, exclusive": (
        state(profile=InstanceProfile("P", role="S")),
        want(exclusive=True),
        ["take role 'S' out of instance profile 'P'", INTO_PROFILE],
    ),
    "profile alone": (State(profile=InstanceProfile("P")), want(), [MAKE_ROLE, SERVER_ON, INTO_PROFILE]),
    "description": (state(Role("R", TRUST, description="old")), want(description="new"), [SET_SETTINGS]),
    "description omitted": (state(Role("R", TRUST, description="old")), want(), []),
    "description emptied": (state(Role("R", TRUST, description="old")), want(description=""), [SET_SETTINGS]),
    "session duration": (state(), want(max_session_duration=7200), [SET_SETTINGS]),
    "boundary missing": (state(), want(boundary=BOUND), ["set the permissions boundary of role 'R' to bound"]),
    "boundary changed": (
        state(boundary=OTHER_BOUND),
        want(boundary=BOUND),
        ["set the permissions boundary of role 'R' to bound"],
    ),
    "boundary none": (state(boundary=BOUND), want(boundary="none"), ["remove the permissions boundary of role 'R'"]),
    "boundary omitted": (state(boundary=BOUND), want(), []),
    "tag changed": (
        state(tags={"a": "1", "b": "2"}, profile=InstanceProfile("P", role="R", tags={"a": "0"})),
        want(tags={"a": "0"}),
        ["tag role 'R' with a"],
    ),
    "tags purged": (
        state(
            tags={"a": "1", "b": "2", "aws:c": "3"}, profile=InstanceProfile("P", role="R", tags={"a": "1", "b": "2"})
        ),
        want(tags={"a": "1"}, purge_tags=True),
        ["remove the tags b from role 'R'", "remove the tags b from instance profile 'P'"],
    ),
    "tags purged, none given": (state(tags={"a": "1"}), want(purge_tags=True), []),
    "path the same": (state(path="/m/"), want(path="/m/"), []),
    "an application's role": (
        state(Role("R", trust(WITH_LAMBDA, ACCOUNT)), policies=frozenset({FOREIGN, MINE}), inline=frozenset({"app"})),
        want(),
        [SERVER_ON],
    ),
    "an application's role, exclusive": (
        state(
            Role("R", trust(WITH_LAMBDA, ACCOUNT)),
            policies=frozenset({FOREIGN}),
            inline=frozenset({"app", WINDOW_POLICY}),
        ),
        want(exclusive=True),
        [SET_TRUST, SERVER_ON, DETACH.format("ReadOnlyAccess"), "delete inline policy 'app' of role 'R'"],
    ),
    "our trust in other words, exclusive": (state(Role("R", trust(OURS_IN_LISTS))), want(exclusive=True), []),
    "the admin window, exclusive": (state(inline=frozenset({WINDOW_POLICY})), want(exclusive=True), []),
    "admin window": (
        held(),
        want(admin_window=True),
        ["close the admin window of role 'R'", SERVER_ON],
    ),
    "admin window, nothing there": (
        State(),
        want(admin_window=True),
        [MAKE_ROLE, "close the admin window of role 'R'", SERVER_ON, MAKE_PROFILE, INTO_PROFILE],
    ),
    "admin window there": (state(inline=frozenset({WINDOW_POLICY})), want(admin_window=True, exclusive=True), []),
    "SSM omitted, exclusive": (held(SERVER, CORE), want(exclusive=True), [CORE_OFF]),
}


@pytest.mark.parametrize(("now", "want", "steps"), PRESENT.values(), ids=PRESENT)
def test_plan(now, want, steps):
    assert [step.summary for step in role_plan.plan(now, want)] == steps


OUT, DELETE_PROFILE = "take role 'R' out of instance profile 'P'", "delete instance profile 'P'"
DELETE_ROLE, SERVER_OFF = "delete role 'R'", DETACH.format("CloudWatchAgentServerPolicy")
ABSENT = {
    "nothing there": (State(), want(), [], []),
    "ours": (state(), want(), [SERVER_OFF, OUT, DELETE_PROFILE, DELETE_ROLE], []),
    "ours with the admin window and another access": (
        state(policies=frozenset({ADMIN, CORE}), inline=frozenset({WINDOW_POLICY})),
        want(),
        [
            CORE_OFF,
            ADMIN_OFF,
            "delete inline policy 'CloudWatchAgentAdminWindow' of role 'R'",
            OUT,
            DELETE_PROFILE,
            DELETE_ROLE,
        ],
        [],
    ),
    "ours without profile": (replace(state(), profile=None), want(), [SERVER_OFF, DELETE_ROLE], []),
    "profile without role": (State(profile=InstanceProfile("P")), want(), [DELETE_PROFILE], []),
    "profile with another role": (
        state(profile=InstanceProfile("P", role="S")),
        want(),
        [SERVER_OFF, DELETE_ROLE],
        [],
    ),
    "foreign policy": (held(SERVER, FOREIGN), want(), [SERVER_OFF], [f"policy {FOREIGN}"]),
    "further policy named": (
        held(SERVER, MINE),
        want(further=frozenset({MINE})),
        [DETACH.format("mine"), SERVER_OFF, OUT, DELETE_PROFILE, DELETE_ROLE],
        [],
    ),
    "foreign inline policy": (
        state(inline=frozenset({"app", WINDOW_POLICY})),
        want(),
        [SERVER_OFF, "delete inline policy 'CloudWatchAgentAdminWindow' of role 'R'"],
        ["inline policy 'app'"],
    ),
    "foreign trust": (
        state(Role("R", trust(OURS, LAMBDA, ACCOUNT))),
        want(),
        [SERVER_OFF],
        ["2 further trust statements"],
    ),
    "trust shared with another service": (
        state(Role("R", trust(WITH_LAMBDA))),
        want(),
        [SERVER_OFF],
        ["1 further trust statement"],
    ),
    "trust on a condition": (
        state(Role("R", trust(OURS, CONDITIONAL))),
        want(),
        [SERVER_OFF],
        ["1 further trust statement"],
    ),
    "another profile": (state(others=["Q"]), want(), [SERVER_OFF], ["instance profile 'Q'"]),
    "foreign without ours": (held(FOREIGN), want(), [], [f"policy {FOREIGN}"]),
    "foreign denial": (state(Role("R", trust(OURS, DENY))), want(), [SERVER_OFF], ["1 further trust statement"]),
    "foreign, exclusive": (
        state(Role("R", trust(LAMBDA)), policies=frozenset({FOREIGN}), inline=frozenset({"app"}), others=["Q"]),
        want(exclusive=True),
        [
            DETACH.format("ReadOnlyAccess"),
            "delete inline policy 'app' of role 'R'",
            "take role 'R' out of instance profile 'Q'",
            OUT,
            DELETE_PROFILE,
            DELETE_ROLE,
        ],
        [],
    ),
}


@pytest.mark.parametrize(("now", "want", "steps", "stays"), ABSENT.values(), ids=ABSENT)
def test_plan_absent(now, want, steps, stays):
    assert [step.summary for step in role_plan.plan_absent(now, want)] == steps
    assert role_plan.stays(now, want) == stays
    waiting = [step.summary for step in role_plan.plan_absent(now, want) if step.retry_when == STILL_HELD]
    assert waiting == [step for step in steps if step in (DELETE_PROFILE, DELETE_ROLE)]
    assert all(step.done_when == GONE for step in role_plan.plan_absent(now, want) if "Remove" not in step.action)


@pytest.mark.parametrize(
    ("now", "want", "words"),
    [
        (state(path="/m/"), want(path="/"), r"exists with path /m/, and IAM cannot move it to /;"),
        (state(profile=InstanceProfile("P", role="S")), want(), r"instance profile 'P' holds role 'S'"),
    ],
)
def test_refuses_what_would_lose_something(now, want, words):
    with pytest.raises(InvalidInput, match=words):
        role_plan.plan(now, want)


@pytest.mark.parametrize(
    ("now", "exclusive", "then"),
    [
        (trust(LAMBDA, ACCOUNT), False, trust(LAMBDA, ACCOUNT, OURS)),
        ({**OLDER, "Statement": LAMBDA}, False, {**OLDER, "Statement": [LAMBDA, OURS]}),
        (trust(LAMBDA, OURS), False, trust(LAMBDA, OURS)),
        (trust(LAMBDA, OURS), True, TRUST),
        (trust(OURS, OURS), True, TRUST),
        (trust(WITH_LAMBDA), True, TRUST),
        (trust(OURS_IN_LISTS), True, trust(OURS_IN_LISTS)),
        (trust(), False, TRUST),
    ],
)  # fmt: skip
def test_trust(now, exclusive, then):
    assert role_plan.trust_after(now, want(exclusive=exclusive)) == then


def test_steps_on_what_is_new_wait_until_it_is_known():
    steps = role_plan.plan(State(), want(access="admin", admin_window=True))
    made = {"iam:CreateRole", "iam:CreateInstanceProfile"}
    assert all(step.retry_when == (frozenset() if step.action in made else NEW) for step in steps)
    [attach] = role_plan.plan(held(), want())
    assert not attach.retry_when


def test_everything_declared_is_in_the_created_role():
    wanted = want(path="/m/", boundary=BOUND, tags={"a": "1"}, description="d", max_session_duration=7200)
    create, _attach, profile, _into = role_plan.plan(State(), wanted)
    assert create.arguments == {
        "role_name": "R",
        "path": "/m/",
        "assume_role_policy_document": TRUST,
        "description": "d",
        "max_session_duration": 7200,
        "permissions_boundary": BOUND,
        "tags": {"a": "1"},
    }
    assert profile.arguments == {"instance_profile_name": "P", "path": "/m/", "tags": {"a": "1"}}


@pytest.mark.parametrize(
    ("description", "duration", "fine"),
    [
        (None, None, True),
        ("x" * 1000, 3600, True),
        ("x" * 1001, None, False),
        ("", 43200, True),
        (None, 3599, False),
        (None, 43201, False),
        (None, 0, False),
        ("Größe\t(1)\r\n\xa1\xff", None, True),
        ("a \u2013 b", None, False),
        ("\u201cquoted\u201d", None, False),
        ("\x7f", None, False),
        ("\xa0", None, False),
        ("\x00", None, False),
    ],
)
def test_settings(description, duration, fine):
    if fine:
        role_plan.check_settings(description, duration)
        return
    with pytest.raises(InvalidInput, match=r"IAM (allows (1000|3600 to 43200)|takes only characters of Latin-1)"):
        role_plan.check_settings(description, duration)


@pytest.mark.parametrize(
    ("partition", "service"), [("aws", EC2), ("aws-us-gov", EC2), ("aws-cn", "ec2.amazonaws.com.cn")]
)
def test_service_of_the_partition(partition, service):
    assert role_plan.ec2_service(partition) == service


def test_render():
    role = Role("R", TRUST, Held(policies=frozenset({SERVER, ADMIN})), "d", arn="arn:role")
    assert role_plan.render(State(role, InstanceProfile("P", role="R", arn="arn:profile"))) == {
        "role": {
            "name": "R",
            "arn": "arn:role",
            "description": "d",
            "max_session_duration": 3600,
            "trust_policy": TRUST,
            "path": "/",
            "managed_policies": [ADMIN, SERVER],
            "inline_policies": [],
            "permissions_boundary": None,
            "tags": {},
        },
        "instance_profile": {"name": "P", "arn": "arn:profile", "path": "/", "role": "R", "tags": {}},
    }
    assert role_plan.render(State()) == {"role": None, "instance_profile": None}


STATEMENTS = [OURS, OURS_IN_LISTS, WITH_LAMBDA, LAMBDA, ACCOUNT, ANYONE, CONDITIONAL, DENY]
TRUSTS = st.lists(st.sampled_from(STATEMENTS), max_size=3).map(lambda statements: trust(*statements))
TRUSTS |= st.sampled_from(STATEMENTS).map(lambda statement: {"Version": "2012-10-17", "Statement": statement})
ROLES = st.builds(
    Role,
    name=st.just("R"),
    trust=TRUSTS,
    held=HELD,
    description=st.sampled_from(["", "old"]),
    max_session_duration=st.sampled_from([3600, 7200]),
)


def test_who_is_told_of_another_role_in_the_profile():
    [told] = role_plan.delayed(State(None, InstanceProfile("P", role="S")), want())
    assert told.startswith("instances that carry instance profile 'P' can use role 'S' for up to an hour still;")
    for profile in (None, InstanceProfile("P"), InstanceProfile("P", role="R")):
        assert role_plan.delayed(State(None, profile), want()) == []


@st.composite
def states(draw: st.DrawFn) -> State:
    role = draw(st.none() | ROLES)
    inside = [None, "S", "R"] if role else [None, "S"]
    profiles = st.builds(InstanceProfile, name=st.just("P"), role=st.sampled_from(inside), tags=HELD_TAGS)
    return State(role, draw(st.none() | profiles), draw(subsets("Q", "O")) if role else frozenset())


WANTS = st.builds(
    WantedRole,
    name=st.just("R"),
    declared=DECLARED,
    profile=st.just("P"),
    description=st.sampled_from([None, "", "new"]),
    max_session_duration=st.sampled_from([None, 3600, 7200]),
)


def account(now: State) -> Iam:
    iam = Iam()
    iam.put_role("R", now)
    if now.profile and now.profile.role == "S":
        iam.put_role("S", State(Role("S", TRUST)))
    return iam


@given(states(), WANTS)
def test_a_plan_leads_where_it_says(now, want):
    iam = account(now)
    try:
        steps = role_plan.plan(now, want)
    except InvalidInput:
        moved = now.role and want.declared.path not in (None, now.role.held.path)
        assert moved or (now.profile and now.profile.role == "S" and not want.declared.exclusive)
        return
    iam.take_all(steps)
    then = iam.role_state("R", "P")
    assert then == role_plan.state_after(now, want)
    assert role_plan.plan(then, want) == []
    assert bool(steps) == (then != now)


@given(states(), WANTS)
def test_foreign_things_stay_unless_exclusive(now, want):
    then = role_plan.state_after(now, want).role
    had = now.role or Role("R", TRUST)
    ours = agent_policies("aws")
    assert SERVER in then.held.policies or ADMIN in then.held.policies
    assert (WINDOW_POLICY in then.held.inline) == (WINDOW_POLICY in had.held.inline or want.declared.admin_window)
    if want.declared.exclusive:
        assert then.held.policies == want.declared.hold
        assert then.held.inline <= {WINDOW_POLICY}
    else:
        assert had.held.policies - ours <= then.held.policies
        assert had.held.inline == then.held.inline - ({WINDOW_POLICY} - had.held.inline)
        statements = had.trust["Statement"]
        had_statements = statements if isinstance(statements, list) else [statements]
        kept = then.trust["Statement"]
        assert all(each in (kept if isinstance(kept, list) else [kept]) for each in had_statements)


@given(states(), WANTS)
def test_a_removal_leads_where_it_says(now, want):
    iam = account(now)
    steps = role_plan.plan_absent(now, want)
    iam.take_all(steps)
    then = iam.role_state("R", "P")
    assert then == role_plan.absent_after(now, want)
    assert role_plan.plan_absent(then, want) == []
    assert bool(then.role) == bool(role_plan.stays(now, want))
    if then.role:
        assert not then.role.held.policies & want.declared.ours
        assert then.role.held.policies == now.role.held.policies - want.declared.ours
        assert then.role.trust == now.role.trust


@pytest.mark.parametrize("extra", [FOREIGN, OLD])
def test_render_follows_the_plan(extra):
    now = held(SERVER, extra)
    then = role_plan.state_after(now, want(exclusive=True))
    assert role_plan.render(then)["role"]["managed_policies"] == [SERVER]
