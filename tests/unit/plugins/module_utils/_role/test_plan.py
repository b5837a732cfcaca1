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
from ansible_collections.cwagent.iam.plugins.module_utils._plan import DELETE_RETRY_CODES, NEW_ENTITY_RETRY_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import NOT_FOUND_CODES, PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._role import plan as role_plan
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole, InstanceProfile, Role, State

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


def desired(**more: Any) -> DesiredRole:
    settings = {key: more.pop(key) for key in ("description", "max_session_duration") if key in more}
    return DesiredRole("R", declare(**more), profile="P", **settings)


def state(
    role: Role | None = None, profile: InstanceProfile | None = None, others: Any = (), **principal: Any
) -> State:
    """A role as declared by ``want()``, but for what is given."""
    role = role or Role("R", TRUST)
    principal = {"policies": frozenset({SERVER}), **principal}
    return State(
        replace(role, principal=PrincipalState(**principal)),
        profile or InstanceProfile("P", role="R"),
        frozenset(others),
    )


def principal(*arns: str) -> State:
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
    "nothing there": (State(), desired(), [MAKE_ROLE, SERVER_ON, MAKE_PROFILE, INTO_PROFILE]),
    "as wanted": (state(), desired(), []),
    "detached policy": (principal(), desired(), [SERVER_ON]),
    "admin policy on a server role": (principal(SERVER, ADMIN), desired(), [ADMIN_OFF]),
    "server policy on an admin role": (
        principal(SERVER),
        desired(access="admin"),
        [ATTACH.format("CloudWatchAgentAdminPolicy"), DETACH.format("CloudWatchAgentServerPolicy")],
    ),
    "SSM omitted": (principal(SERVER, CORE, OLD), desired(), []),
    "SSM none": (principal(SERVER, CORE, OLD), desired(ssm_policy="none"), [CORE_OFF, OLD_OFF]),
    "SSM core": (principal(SERVER, OLD), desired(ssm_policy="AmazonSSMManagedInstanceCore"), [CORE_ON, OLD_OFF]),
    "SSM deprecated": (principal(SERVER, CORE), desired(ssm_policy="AmazonEC2RoleforSSM"), [OLD_ON, CORE_OFF]),
    "further policy": (state(), desired(further=frozenset({MINE})), [ATTACH.format("mine")]),
    "trust policy lost": (state(Role("R", trust(LAMBDA))), desired(), [SET_TRUST]),
    "trust with a condition only": (state(Role("R", trust(CONDITIONAL))), desired(), [SET_TRUST]),
    "trust denied": (state(Role("R", trust(DENY))), desired(), [SET_TRUST]),
    "trust denied beside ours": (state(Role("R", trust(OURS, DENY))), desired(), []),
    "trust denied beside ours, exclusive": (state(Role("R", trust(OURS, DENY))), desired(exclusive=True), [SET_TRUST]),
    "trust denied, exclusive": (state(Role("R", trust(DENY))), desired(exclusive=True), [SET_TRUST]),
    "trust of anyone": (state(Role("R", trust(ANYONE))), desired(), [SET_TRUST]),
    "trust for another action": (state(Role("R", trust(TAGS_ONLY))), desired(), [SET_TRUST]),
    "trust as a single statement": (state(Role("R", {"Version": "2012-10-17", "Statement": OURS})), desired(), []),
    "trust in lists": (state(Role("R", trust(OURS_IN_LISTS))), desired(), []),
    "no profile": (replace(state(), profile=None), desired(), [MAKE_PROFILE, INTO_PROFILE]),
    "profile without its role": (state(profile=InstanceProfile("P")), desired(), [INTO_PROFILE]),
    "profile with another role, exclusive": (
        state(profile=InstanceProfile("P", role="S")),
        desired(exclusive=True),
        ["take role 'S' out of instance profile 'P'", INTO_PROFILE],
    ),
    "profile alone": (State(profile=InstanceProfile("P")), desired(), [MAKE_ROLE, SERVER_ON, INTO_PROFILE]),
    "description": (state(Role("R", TRUST, description="old")), desired(description="new"), [SET_SETTINGS]),
    "description omitted": (state(Role("R", TRUST, description="old")), desired(), []),
    "description emptied": (state(Role("R", TRUST, description="old")), desired(description=""), [SET_SETTINGS]),
    "session duration": (state(), desired(max_session_duration=7200), [SET_SETTINGS]),
    "boundary missing": (state(), desired(boundary=BOUND), ["set the permissions boundary of role 'R' to bound"]),
    "boundary changed": (
        state(boundary=OTHER_BOUND),
        desired(boundary=BOUND),
        ["set the permissions boundary of role 'R' to bound"],
    ),
    "boundary none": (state(boundary=BOUND), desired(boundary="none"), ["remove the permissions boundary of role 'R'"]),
    "boundary omitted": (state(boundary=BOUND), desired(), []),
    "tag changed": (
        state(tags={"a": "1", "b": "2"}, profile=InstanceProfile("P", role="R", tags={"a": "0"})),
        desired(tags={"a": "0"}),
        ["tag role 'R' with a"],
    ),
    "tags purged": (
        state(
            tags={"a": "1", "b": "2", "aws:c": "3"}, profile=InstanceProfile("P", role="R", tags={"a": "1", "b": "2"})
        ),
        desired(tags={"a": "1"}, purge_tags=True),
        ["remove the tags b from role 'R'", "remove the tags b from instance profile 'P'"],
    ),
    "tags purged, none given": (state(tags={"a": "1"}), desired(purge_tags=True), []),
    "path the same": (state(path="/m/"), desired(path="/m/"), []),
    "an application's role": (
        state(Role("R", trust(WITH_LAMBDA, ACCOUNT)), policies=frozenset({FOREIGN, MINE}), inline=frozenset({"app"})),
        desired(),
        [SERVER_ON],
    ),
    "an application's role, exclusive": (
        state(
            Role("R", trust(WITH_LAMBDA, ACCOUNT)),
            policies=frozenset({FOREIGN}),
            inline=frozenset({"app", WINDOW_POLICY}),
        ),
        desired(exclusive=True),
        [SET_TRUST, SERVER_ON, DETACH.format("ReadOnlyAccess"), "delete inline policy 'app' of role 'R'"],
    ),
    "our trust in other words, exclusive": (state(Role("R", trust(OURS_IN_LISTS))), desired(exclusive=True), []),
    "the admin window, exclusive": (state(inline=frozenset({WINDOW_POLICY})), desired(exclusive=True), []),
    "admin window": (
        principal(),
        desired(admin_window=True),
        ["close the admin window of role 'R'", SERVER_ON],
    ),
    "admin window, nothing there": (
        State(),
        desired(admin_window=True),
        [MAKE_ROLE, "close the admin window of role 'R'", SERVER_ON, MAKE_PROFILE, INTO_PROFILE],
    ),
    "admin window there": (state(inline=frozenset({WINDOW_POLICY})), desired(admin_window=True, exclusive=True), []),
    "SSM omitted, exclusive": (principal(SERVER, CORE), desired(exclusive=True), [CORE_OFF]),
}


@pytest.mark.parametrize(("current", "desired", "steps"), PRESENT.values(), ids=PRESENT)
def test_plan(current, desired, steps):
    assert [step.summary for step in role_plan.plan(current, desired)] == steps


OUT, DELETE_PROFILE = "take role 'R' out of instance profile 'P'", "delete instance profile 'P'"
DELETE_ROLE, SERVER_OFF = "delete role 'R'", DETACH.format("CloudWatchAgentServerPolicy")
ABSENT = {
    "nothing there": (State(), desired(), [], []),
    "ours": (state(), desired(), [SERVER_OFF, OUT, DELETE_PROFILE, DELETE_ROLE], []),
    "ours with the admin window and another access": (
        state(policies=frozenset({ADMIN, CORE}), inline=frozenset({WINDOW_POLICY})),
        desired(),
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
    "ours without profile": (replace(state(), profile=None), desired(), [SERVER_OFF, DELETE_ROLE], []),
    "profile without role": (State(profile=InstanceProfile("P")), desired(), [DELETE_PROFILE], []),
    "profile with another role": (
        state(profile=InstanceProfile("P", role="S")),
        desired(),
        [SERVER_OFF, DELETE_ROLE],
        [],
    ),
    "foreign policy": (principal(SERVER, FOREIGN), desired(), [SERVER_OFF], [f"policy {FOREIGN}"]),
    "further policy named": (
        principal(SERVER, MINE),
        desired(further=frozenset({MINE})),
        [DETACH.format("mine"), SERVER_OFF, OUT, DELETE_PROFILE, DELETE_ROLE],
        [],
    ),
    "foreign inline policy": (
        state(inline=frozenset({"app", WINDOW_POLICY})),
        desired(),
        [SERVER_OFF, "delete inline policy 'CloudWatchAgentAdminWindow' of role 'R'"],
        ["inline policy 'app'"],
    ),
    "foreign trust": (
        state(Role("R", trust(OURS, LAMBDA, ACCOUNT))),
        desired(),
        [SERVER_OFF],
        ["2 further trust statements"],
    ),
    "trust shared with another service": (
        state(Role("R", trust(WITH_LAMBDA))),
        desired(),
        [SERVER_OFF],
        ["1 further trust statement"],
    ),
    "trust on a condition": (
        state(Role("R", trust(OURS, CONDITIONAL))),
        desired(),
        [SERVER_OFF],
        ["1 further trust statement"],
    ),
    "another profile": (state(others=["Q"]), desired(), [SERVER_OFF], ["instance profile 'Q'"]),
    "foreign without ours": (principal(FOREIGN), desired(), [], [f"policy {FOREIGN}"]),
    "foreign denial": (state(Role("R", trust(OURS, DENY))), desired(), [SERVER_OFF], ["1 further trust statement"]),
    "foreign, exclusive": (
        state(Role("R", trust(LAMBDA)), policies=frozenset({FOREIGN}), inline=frozenset({"app"}), others=["Q"]),
        desired(exclusive=True),
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


@pytest.mark.parametrize(("current", "desired", "steps", "blockers"), ABSENT.values(), ids=ABSENT)
def test_plan_absent(current, desired, steps, blockers):
    assert [step.summary for step in role_plan.plan_absent(current, desired)] == steps
    assert role_plan.blockers(current, desired) == blockers
    waiting = [
        step.summary for step in role_plan.plan_absent(current, desired) if step.retry_when == DELETE_RETRY_CODES
    ]
    assert waiting == [step for step in steps if step in (DELETE_PROFILE, DELETE_ROLE)]
    assert all(
        step.done_when == NOT_FOUND_CODES
        for step in role_plan.plan_absent(current, desired)
        if "Remove" not in step.action
    )


@pytest.mark.parametrize(
    ("current", "desired", "words"),
    [
        (state(path="/m/"), desired(path="/"), r"exists with path /m/, and IAM cannot move it to /;"),
        (state(profile=InstanceProfile("P", role="S")), desired(), r"instance profile 'P' holds role 'S'"),
    ],
)
def test_refuses_what_would_lose_something(current, desired, words):
    with pytest.raises(InvalidInput, match=words):
        role_plan.plan(current, desired)


@pytest.mark.parametrize(
    ("current", "exclusive", "planned"),
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
def test_trust(current, exclusive, planned):
    assert role_plan.trust_after(current, desired(exclusive=exclusive)) == planned


def test_steps_on_what_is_new_wait_until_it_is_known():
    steps = role_plan.plan(State(), desired(access="admin", admin_window=True))
    made = {"iam:CreateRole", "iam:CreateInstanceProfile"}
    assert all(step.retry_when == (frozenset() if step.action in made else NEW_ENTITY_RETRY_CODES) for step in steps)
    [attach] = role_plan.plan(principal(), desired())
    assert not attach.retry_when


def test_everything_declared_is_in_the_created_role():
    wanted = desired(path="/m/", boundary=BOUND, tags={"a": "1"}, description="d", max_session_duration=7200)
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
    role = Role("R", TRUST, PrincipalState(policies=frozenset({SERVER, ADMIN})), "d", arn="arn:role")
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
    principal=HELD,
    description=st.sampled_from(["", "old"]),
    max_session_duration=st.sampled_from([3600, 7200]),
)


def test_who_is_told_of_another_role_in_the_profile():
    [told] = role_plan.propagation_warnings(State(None, InstanceProfile("P", role="S")), desired())
    assert told.startswith("instances that carry instance profile 'P' can use role 'S' for up to an hour still;")
    for profile in (None, InstanceProfile("P"), InstanceProfile("P", role="R")):
        assert role_plan.propagation_warnings(State(None, profile), desired()) == []


@st.composite
def states(draw: st.DrawFn) -> State:
    role = draw(st.none() | ROLES)
    inside = [None, "S", "R"] if role else [None, "S"]
    profiles = st.builds(InstanceProfile, name=st.just("P"), role=st.sampled_from(inside), tags=HELD_TAGS)
    return State(role, draw(st.none() | profiles), draw(subsets("Q", "O")) if role else frozenset())


WANTS = st.builds(
    DesiredRole,
    name=st.just("R"),
    declared=DECLARED,
    profile=st.just("P"),
    description=st.sampled_from([None, "", "new"]),
    max_session_duration=st.sampled_from([None, 3600, 7200]),
)


def account(current: State) -> Iam:
    iam = Iam()
    iam.put_role("R", current)
    if current.profile and current.profile.role == "S":
        iam.put_role("S", State(Role("S", TRUST)))
    return iam


@given(states(), WANTS)
def test_a_plan_leads_where_it_says(current, desired):
    iam = account(current)
    try:
        steps = role_plan.plan(current, desired)
    except InvalidInput:
        moved = current.role and desired.declared.path not in (None, current.role.principal.path)
        assert moved or (current.profile and current.profile.role == "S" and not desired.declared.exclusive)
        return
    iam.take_all(steps)
    planned = iam.role_state("R", "P")
    assert planned == role_plan.planned_state(current, desired)
    assert role_plan.plan(planned, desired) == []
    assert bool(steps) == (planned != current)


@given(states(), WANTS)
def test_foreign_things_stay_unless_exclusive(current, desired):
    planned = role_plan.planned_state(current, desired).role
    had = current.role or Role("R", TRUST)
    managed = agent_policies("aws")
    assert SERVER in planned.principal.policies or ADMIN in planned.principal.policies
    assert (WINDOW_POLICY in planned.principal.inline) == (
        WINDOW_POLICY in had.principal.inline or desired.declared.admin_window
    )
    if desired.declared.exclusive:
        assert planned.principal.policies == desired.declared.attach
        assert planned.principal.inline <= {WINDOW_POLICY}
    else:
        assert had.principal.policies - managed <= planned.principal.policies
        assert had.principal.inline == planned.principal.inline - ({WINDOW_POLICY} - had.principal.inline)
        statements = had.trust["Statement"]
        had_statements = statements if isinstance(statements, list) else [statements]
        kept = planned.trust["Statement"]
        assert all(each in (kept if isinstance(kept, list) else [kept]) for each in had_statements)


@given(states(), WANTS)
def test_a_removal_leads_where_it_says(current, desired):
    iam = account(current)
    steps = role_plan.plan_absent(current, desired)
    iam.take_all(steps)
    planned = iam.role_state("R", "P")
    assert planned == role_plan.planned_absence(current, desired)
    assert role_plan.plan_absent(planned, desired) == []
    assert bool(planned.role) == bool(role_plan.blockers(current, desired))
    if planned.role:
        assert not planned.role.principal.policies & desired.declared.managed
        assert planned.role.principal.policies == current.role.principal.policies - desired.declared.managed
        assert planned.role.trust == current.role.trust


@pytest.mark.parametrize("extra", [FOREIGN, OLD])
def test_render_follows_the_plan(extra):
    current = principal(SERVER, extra)
    planned = role_plan.planned_state(current, desired(exclusive=True))
    assert role_plan.render(planned)["role"]["managed_policies"] == [SERVER]
