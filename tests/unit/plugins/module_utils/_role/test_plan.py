from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aws_model import Iam
from declarations import (
    ADMIN,
    ADOPTED_TAGS,
    BOUNDARY,
    CREATED_TAGS,
    CURRENT_TAGS,
    CUSTOM,
    DECLARED,
    OTHER_BOUNDARY,
    PRINCIPALS,
    SERVER,
    SSM_CORE,
    SSM_DEPRECATED,
    UNMANAGED,
    declare,
    subsets,
)
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import (
    MARK_TAG,
    NOT_CREATED,
    SAVED_KEY_TAG,
    WINDOW_POLICY,
    is_created,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import (
    DELETE_RETRY_CODES,
    NEW_ENTITY_RETRY_CODES,
    NOT_FOUND_CODES,
    Kind,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import agent_policies
from ansible_collections.cwagent.iam.plugins.module_utils._role import plan as role_plan
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole, InstanceProfile, Role, State
from ansible_collections.cwagent.iam.plugins.module_utils._role.policy import Ec2Trust, HybridTrust, ec2_service

EC2 = "ec2.amazonaws.com"
TRUST = Ec2Trust().new_policy()
[TRUST_EC2] = TRUST["Statement"]
TRUST_EC2_IN_LISTS = {"Sid": "x", "Effect": "Allow", "Principal": {"Service": [EC2]}, "Action": ["sts:AssumeRole"]}
TRUST_EC2_AND_LAMBDA = {**TRUST_EC2, "Principal": {"Service": [EC2, "lambda.amazonaws.com"]}}
TRUST_LAMBDA = {**TRUST_EC2, "Principal": {"Service": "lambda.amazonaws.com"}}
TRUST_ACCOUNT = {**TRUST_EC2, "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}
TRUST_ANYONE = {**TRUST_EC2, "Principal": "*"}
TRUST_ON_CONDITION = {**TRUST_EC2, "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}
DENY_EC2 = {**TRUST_EC2, "Effect": "Deny"}
OLD_VERSION = {"Version": "2008-10-17", "Id": "x"}
TRUST_FOR_TAGS = {**TRUST_EC2, "Action": "sts:TagSession"}


def trust(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def desired_role(**options: Any) -> DesiredRole:
    settings = {
        key: options.pop(key) for key in ("description", "max_session_duration", "new_description") if key in options
    }
    return DesiredRole("R", declare(**options), profile="P", **settings)


def state(
    role: Role | None = None, profile: InstanceProfile | None = None, others: Any = (), **principal: Any
) -> State:
    """The state that ``desired_role()`` declares, with these differences; all of it was created by the collection."""
    role = role or Role("R", TRUST)
    tags = {**CREATED_TAGS, **principal.pop("tags", {})}
    return State(
        replace(role, principal=PrincipalState(**{"policies": frozenset({SERVER}), **principal, "tags": tags})),
        profile or InstanceProfile("P", role="R", tags=CREATED_TAGS),
        frozenset(others),
    )


def role_of_others(current: State, mark: dict[str, str] | None = None) -> State:
    """The same state with a role that somebody else created. :param mark: the tags instead of the mark."""
    assert current.role
    principal = replace(current.role.principal, tags={"a": "1", **(mark or {})})
    return replace(current, role=replace(current.role, principal=principal))


def profile_of_others(current: State) -> State:
    """The same state with an instance profile that somebody else created."""
    assert current.profile
    return replace(current, profile=replace(current.profile, tags={"a": "1"}))


def state_with(*arns: str) -> State:
    return state(policies=frozenset(arns))


ATTACH, DETACH = "attach {} to role 'R'", "detach {} from role 'R'"
ATTACH_SERVER, DETACH_ADMIN = ATTACH.format("CloudWatchAgentServerPolicy"), DETACH.format("CloudWatchAgentAdminPolicy")
ATTACH_SSM, DETACH_SSM = ATTACH.format("AmazonSSMManagedInstanceCore"), DETACH.format("AmazonSSMManagedInstanceCore")
ATTACH_DEPRECATED, DETACH_DEPRECATED = ATTACH.format("AmazonEC2RoleforSSM"), DETACH.format("AmazonEC2RoleforSSM")
CREATE_ROLE, CREATE_PROFILE = "create role 'R'", "create instance profile 'P'"
ADD_TO_PROFILE = "add role 'R' to instance profile 'P'"
SET_TRUST = "set the trust policy of role 'R'"
SET_SETTINGS = "set the description and the session duration of role 'R'"

PRESENT = {
    "nothing exists": (State(), desired_role(), [CREATE_ROLE, ATTACH_SERVER, CREATE_PROFILE, ADD_TO_PROFILE]),
    "no difference": (state(), desired_role(), []),
    "detached policy": (state_with(), desired_role(), [ATTACH_SERVER]),
    "admin policy on a server role": (state_with(SERVER, ADMIN), desired_role(), [DETACH_ADMIN]),
    "server policy on an admin role": (
        state_with(SERVER),
        desired_role(access="admin"),
        [ATTACH.format("CloudWatchAgentAdminPolicy"), DETACH.format("CloudWatchAgentServerPolicy")],
    ),
    "SSM omitted": (state_with(SERVER, SSM_CORE, SSM_DEPRECATED), desired_role(), []),
    "SSM none": (
        state_with(SERVER, SSM_CORE, SSM_DEPRECATED),
        desired_role(ssm_policy="none"),
        [DETACH_SSM, DETACH_DEPRECATED],
    ),
    "SSM core": (
        state_with(SERVER, SSM_DEPRECATED),
        desired_role(ssm_policy="AmazonSSMManagedInstanceCore"),
        [ATTACH_SSM, DETACH_DEPRECATED],
    ),
    "SSM deprecated": (
        state_with(SERVER, SSM_CORE),
        desired_role(ssm_policy="AmazonEC2RoleforSSM"),
        [ATTACH_DEPRECATED, DETACH_SSM],
    ),
    "additional policy": (state(), desired_role(further=frozenset({CUSTOM})), [ATTACH.format("mine")]),
    "trust policy replaced": (state(Role("R", trust(TRUST_LAMBDA))), desired_role(), [SET_TRUST]),
    "trust with a condition only": (state(Role("R", trust(TRUST_ON_CONDITION))), desired_role(), [SET_TRUST]),
    "trust denied": (state(Role("R", trust(DENY_EC2))), desired_role(), [SET_TRUST]),
    "trust and deny": (state(Role("R", trust(TRUST_EC2, DENY_EC2))), desired_role(), []),
    "trust and deny, exclusive": (
        state(Role("R", trust(TRUST_EC2, DENY_EC2))),
        desired_role(exclusive=True),
        [SET_TRUST],
    ),
    "trust denied, exclusive": (state(Role("R", trust(DENY_EC2))), desired_role(exclusive=True), [SET_TRUST]),
    "trust of anyone": (state(Role("R", trust(TRUST_ANYONE))), desired_role(), [SET_TRUST]),
    "trust for another action": (state(Role("R", trust(TRUST_FOR_TAGS))), desired_role(), [SET_TRUST]),
    "trust as a single statement": (
        state(Role("R", {"Version": "2012-10-17", "Statement": TRUST_EC2})),
        desired_role(),
        [],
    ),
    "trust in lists": (state(Role("R", trust(TRUST_EC2_IN_LISTS))), desired_role(), []),
    "no profile": (replace(state(), profile=None), desired_role(), [CREATE_PROFILE, ADD_TO_PROFILE]),
    "profile without its role": (state(profile=InstanceProfile("P")), desired_role(), [ADD_TO_PROFILE]),
    "profile with another role, exclusive": (
        state(profile=InstanceProfile("P", role="S")),
        desired_role(exclusive=True),
        ["remove role 'S' from instance profile 'P'", ADD_TO_PROFILE],
    ),
    "profile alone": (
        State(profile=InstanceProfile("P")),
        desired_role(),
        [CREATE_ROLE, ATTACH_SERVER, ADD_TO_PROFILE],
    ),
    "description": (state(Role("R", TRUST, description="old")), desired_role(description="new"), [SET_SETTINGS]),
    "description omitted": (state(Role("R", TRUST, description="old")), desired_role(), []),
    "description removed": (state(Role("R", TRUST, description="old")), desired_role(description=""), [SET_SETTINGS]),
    "session duration": (state(), desired_role(max_session_duration=7200), [SET_SETTINGS]),
    "boundary missing": (
        state(),
        desired_role(boundary=BOUNDARY),
        ["set the permissions boundary of role 'R' to bound"],
    ),
    "boundary changed": (
        state(boundary=OTHER_BOUNDARY),
        desired_role(boundary=BOUNDARY),
        ["set the permissions boundary of role 'R' to bound"],
    ),
    "boundary none": (
        state(boundary=BOUNDARY),
        desired_role(boundary="none"),
        ["remove the permissions boundary of role 'R'"],
    ),
    "boundary omitted": (state(boundary=BOUNDARY), desired_role(), []),
    "tag changed": (
        state(tags={"a": "1", "b": "2"}, profile=InstanceProfile("P", role="R", tags={"a": "0"})),
        desired_role(tags={"a": "0"}),
        ["tag role 'R' with a"],
    ),
    "tags purged": (
        state(
            tags={"a": "1", "b": "2", "aws:c": "3"},
            profile=InstanceProfile("P", role="R", tags={**CREATED_TAGS, "a": "1", "b": "2"}),
        ),
        desired_role(tags={"a": "1"}, purge_tags=True),
        ["remove the tags b from role 'R'", "remove the tags b from instance profile 'P'"],
    ),
    "tags purged, none declared": (state(tags={"a": "1"}), desired_role(purge_tags=True), []),
    "path the same": (state(path="/m/"), desired_role(path="/m/"), []),
    "an application's role": (
        state(
            Role("R", trust(TRUST_EC2_AND_LAMBDA, TRUST_ACCOUNT)),
            policies=frozenset({UNMANAGED, CUSTOM}),
            inline=frozenset({"app"}),
        ),
        desired_role(),
        [ATTACH_SERVER],
    ),
    "an application's role, exclusive": (
        state(
            Role("R", trust(TRUST_EC2_AND_LAMBDA, TRUST_ACCOUNT)),
            policies=frozenset({UNMANAGED}),
            inline=frozenset({"app", WINDOW_POLICY}),
        ),
        desired_role(exclusive=True),
        [SET_TRUST, ATTACH_SERVER, DETACH.format("ReadOnlyAccess"), "delete inline policy 'app' of role 'R'"],
    ),
    "trust in lists, exclusive": (state(Role("R", trust(TRUST_EC2_IN_LISTS))), desired_role(exclusive=True), []),
    "the admin window, exclusive": (state(inline=frozenset({WINDOW_POLICY})), desired_role(exclusive=True), []),
    "admin window missing": (
        state_with(),
        desired_role(admin_window=True),
        ["close the admin window of role 'R'", ATTACH_SERVER],
    ),
    "admin window, nothing exists": (
        State(),
        desired_role(admin_window=True),
        [CREATE_ROLE, "close the admin window of role 'R'", ATTACH_SERVER, CREATE_PROFILE, ADD_TO_PROFILE],
    ),
    "admin window exists": (
        state(inline=frozenset({WINDOW_POLICY})),
        desired_role(admin_window=True, exclusive=True),
        [],
    ),
    "SSM omitted, exclusive": (state_with(SERVER, SSM_CORE), desired_role(exclusive=True), [DETACH_SSM]),
    "a role of others": (role_of_others(profile_of_others(state_with())), desired_role(), [ATTACH_SERVER]),
    "a role of others without trust": (role_of_others(state(Role("R", trust(TRUST_LAMBDA)))), desired_role(), []),
    "a role of others without trust, exclusive": (
        role_of_others(state(Role("R", trust(TRUST_LAMBDA)))),
        desired_role(exclusive=True),
        [SET_TRUST],
    ),
    "a role of others, description": (
        role_of_others(state(Role("R", TRUST, description="old"))),
        desired_role(new_description="default"),
        [],
    ),
    "adoption": (
        role_of_others(state(Role("R", trust(TRUST_LAMBDA)))),
        desired_role(adopt=True),
        [SET_TRUST, "tag role 'R' with cwagent:managed"],
    ),
    "adoption of what the collection created": (state(), desired_role(adopt=True), []),
    "adopted before": (role_of_others(state(), ADOPTED_TAGS), desired_role(adopt=True), []),
    "adopted before, without trust": (
        role_of_others(state(Role("R", trust(TRUST_LAMBDA))), ADOPTED_TAGS),
        desired_role(),
        [SET_TRUST],
    ),
    "adoption, nothing exists": (
        State(),
        desired_role(adopt=True),
        [CREATE_ROLE, ATTACH_SERVER, CREATE_PROFILE, ADD_TO_PROFILE],
    ),
    "the mark is not purged": (
        state(tags={"b": "2"}),
        desired_role(tags={"a": "1"}, purge_tags=True),
        ["remove the tags b from role 'R'", "tag role 'R' with a", "tag instance profile 'P' with a"],
    ),
}


@pytest.mark.parametrize(("current", "desired", "steps"), PRESENT.values(), ids=PRESENT)
def test_plan(current, desired, steps):
    plan = role_plan.plan(current, desired)
    assert plan.summaries == steps
    assert list(plan.steps) == ["R"]
    assert (plan.current, plan.planned) == (current, role_plan.planned_state(current, desired))


REMOVE_FROM_PROFILE, DELETE_PROFILE = "remove role 'R' from instance profile 'P'", "delete instance profile 'P'"
DELETE_ROLE, DETACH_SERVER = "delete role 'R'", DETACH.format("CloudWatchAgentServerPolicy")
ABSENT = {
    "nothing exists": (State(), desired_role(), [], []),
    "managed only": (state(), desired_role(), [DETACH_SERVER, REMOVE_FROM_PROFILE, DELETE_PROFILE, DELETE_ROLE], []),
    "managed, with the admin window and another access": (
        state(policies=frozenset({ADMIN, SSM_CORE}), inline=frozenset({WINDOW_POLICY})),
        desired_role(),
        [
            DETACH_SSM,
            DETACH_ADMIN,
            "delete inline policy 'CloudWatchAgentAdminWindow' of role 'R'",
            REMOVE_FROM_PROFILE,
            DELETE_PROFILE,
            DELETE_ROLE,
        ],
        [],
    ),
    "managed, no profile": (replace(state(), profile=None), desired_role(), [DETACH_SERVER, DELETE_ROLE], []),
    "profile without role": (
        State(profile=InstanceProfile("P", tags=CREATED_TAGS)),
        desired_role(),
        [DELETE_PROFILE],
        [],
    ),
    "profile of others without role": (State(profile=InstanceProfile("P")), desired_role(), [], []),
    "a role of others": (role_of_others(state()), desired_role(), [DETACH_SERVER], [NOT_CREATED]),
    "a role of others, with the admin window and tags": (
        role_of_others(state(inline=frozenset({WINDOW_POLICY})), {**ADOPTED_TAGS, SAVED_KEY_TAG: "A"}),
        desired_role(),
        [
            DETACH_SERVER,
            "delete inline policy 'CloudWatchAgentAdminWindow' of role 'R'",
            "remove the tags cwagent:managed, cwagent:saved-key from role 'R'",
        ],
        [NOT_CREATED],
    ),
    "a role of others, exclusive": (
        role_of_others(state_with(SERVER, UNMANAGED)),
        desired_role(exclusive=True),
        [DETACH_SERVER],
        [NOT_CREATED],
    ),
    "a role of others with a policy": (
        role_of_others(state_with(UNMANAGED)),
        desired_role(),
        [],
        [NOT_CREATED, f"policy {UNMANAGED}"],
    ),
    "a role of others in a profile of others": (
        role_of_others(profile_of_others(state())),
        desired_role(),
        [DETACH_SERVER],
        [NOT_CREATED],
    ),
    "in a profile of others": (
        profile_of_others(state()),
        desired_role(),
        [DETACH_SERVER],
        ["instance profile 'P'"],
    ),
    "in a profile of others, exclusive": (
        profile_of_others(state()),
        desired_role(exclusive=True),
        [DETACH_SERVER, REMOVE_FROM_PROFILE, DELETE_ROLE],
        [],
    ),
    "profile with another role": (
        state(profile=InstanceProfile("P", role="S")),
        desired_role(),
        [DETACH_SERVER, DELETE_ROLE],
        [],
    ),
    "unmanaged policy": (state_with(SERVER, UNMANAGED), desired_role(), [DETACH_SERVER], [f"policy {UNMANAGED}"]),
    "declared policy": (
        state_with(SERVER, CUSTOM),
        desired_role(further=frozenset({CUSTOM})),
        [DETACH.format("mine"), DETACH_SERVER, REMOVE_FROM_PROFILE, DELETE_PROFILE, DELETE_ROLE],
        [],
    ),
    "unmanaged inline policy": (
        state(inline=frozenset({"app", WINDOW_POLICY})),
        desired_role(),
        [DETACH_SERVER, "delete inline policy 'CloudWatchAgentAdminWindow' of role 'R'"],
        ["inline policy 'app'"],
    ),
    "other trust statements": (
        state(Role("R", trust(TRUST_EC2, TRUST_LAMBDA, TRUST_ACCOUNT))),
        desired_role(),
        [DETACH_SERVER],
        ["2 other trust statements"],
    ),
    "trust shared with another service": (
        state(Role("R", trust(TRUST_EC2_AND_LAMBDA))),
        desired_role(),
        [DETACH_SERVER],
        ["1 other trust statement"],
    ),
    "trust on a condition": (
        state(Role("R", trust(TRUST_EC2, TRUST_ON_CONDITION))),
        desired_role(),
        [DETACH_SERVER],
        ["1 other trust statement"],
    ),
    "another profile": (state(others=["Q"]), desired_role(), [DETACH_SERVER], ["instance profile 'Q'"]),
    "unmanaged only": (state_with(UNMANAGED), desired_role(), [], [f"policy {UNMANAGED}"]),
    "deny statement": (
        state(Role("R", trust(TRUST_EC2, DENY_EC2))),
        desired_role(),
        [DETACH_SERVER],
        ["1 other trust statement"],
    ),
    "unmanaged, exclusive": (
        state(Role("R", trust(TRUST_LAMBDA)), policies=frozenset({UNMANAGED}), inline=frozenset({"app"}), others=["Q"]),
        desired_role(exclusive=True),
        [
            DETACH.format("ReadOnlyAccess"),
            "delete inline policy 'app' of role 'R'",
            "remove role 'R' from instance profile 'Q'",
            REMOVE_FROM_PROFILE,
            DELETE_PROFILE,
            DELETE_ROLE,
        ],
        [],
    ),
}


@pytest.mark.parametrize(("current", "desired", "steps", "blockers"), ABSENT.values(), ids=ABSENT)
def test_plan_absent(current, desired, steps, blockers):
    plan = role_plan.plan_absent(current, desired)
    assert plan.summaries == steps
    assert role_plan.blockers(current, desired) == blockers
    assert (plan.current, plan.planned) == (current, role_plan.planned_absence(current, desired))


@pytest.mark.parametrize(("current", "desired", "steps", "blockers"), ABSENT.values(), ids=ABSENT)
def test_only_deletions_of_entities_are_retried_while_iam_shows_their_attachments(current, desired, steps, blockers):
    retried = [
        step.summary
        for step in role_plan.plan_absent(current, desired).all_steps
        if step.retry_when == DELETE_RETRY_CODES
    ]
    assert retried == [summary for summary in steps if summary in (DELETE_PROFILE, DELETE_ROLE)]


@pytest.mark.parametrize(("current", "desired", "steps", "blockers"), ABSENT.values(), ids=ABSENT)
def test_deleting_a_missing_thing_is_not_an_error(current, desired, steps, blockers):
    removals = [step for step in role_plan.plan_absent(current, desired).all_steps if "Remove" not in step.action]
    assert all(step.done_when == NOT_FOUND_CODES for step in removals)


def test_the_kinds_of_the_steps_of_a_creation():
    plan = role_plan.plan(State(), desired_role())
    assert [step.kind for step in plan.all_steps] == [Kind.CREATE, Kind.UPDATE, Kind.CREATE, Kind.UPDATE]
    assert plan.counts == {"create": 2, "update": 2, "delete": 0}


def test_the_kinds_of_the_steps_of_an_update():
    current = state(Role("R", trust(TRUST_LAMBDA)), profile=InstanceProfile("P", role="S"))
    plan = role_plan.plan(current, desired_role(exclusive=True, description="new", boundary=BOUNDARY, tags={"a": "1"}))
    assert {step.action: step.kind for step in plan.all_steps} == {
        "iam:UpdateAssumeRolePolicy": Kind.UPDATE,
        "iam:UpdateRole": Kind.UPDATE,
        "iam:PutRolePermissionsBoundary": Kind.UPDATE,
        "iam:TagRole": Kind.UPDATE,
        "iam:TagInstanceProfile": Kind.UPDATE,
        "iam:RemoveRoleFromInstanceProfile": Kind.UPDATE,
        "iam:AddRoleToInstanceProfile": Kind.UPDATE,
    }


def test_the_kinds_of_the_steps_of_a_deletion():
    plan = role_plan.plan_absent(state(inline=frozenset({WINDOW_POLICY})), desired_role())
    assert [step.kind for step in plan.all_steps] == [
        Kind.UPDATE,
        Kind.DELETE,
        Kind.UPDATE,
        Kind.DELETE,
        Kind.DELETE,
    ]
    assert plan.counts == {"create": 0, "update": 2, "delete": 3}


@pytest.mark.parametrize(
    ("current", "desired", "message"),
    [
        (state(path="/m/"), desired_role(path="/"), r"exists with path /m/, and IAM cannot move it to /;"),
        (state(profile=InstanceProfile("P", role="S")), desired_role(), r"instance profile 'P' contains role 'S'"),
    ],
    ids=["another path", "another role in the profile"],
)
def test_a_role_that_would_lose_something_is_not_possible(current, desired, message):
    with pytest.raises(InvalidInput, match=message):
        role_plan.check_is_possible(current, desired)


@pytest.mark.parametrize(
    ("current", "exclusive", "planned"),
    [
        (trust(TRUST_LAMBDA, TRUST_ACCOUNT), False, trust(TRUST_LAMBDA, TRUST_ACCOUNT, TRUST_EC2)),
        ({**OLD_VERSION, "Statement": TRUST_LAMBDA}, False, {**OLD_VERSION, "Statement": [TRUST_LAMBDA, TRUST_EC2]}),
        (trust(TRUST_LAMBDA, TRUST_EC2), False, trust(TRUST_LAMBDA, TRUST_EC2)),
        (trust(TRUST_LAMBDA, TRUST_EC2), True, TRUST),
        (trust(TRUST_EC2, TRUST_EC2), True, TRUST),
        (trust(TRUST_EC2_AND_LAMBDA), True, TRUST),
        (trust(TRUST_EC2_IN_LISTS), True, trust(TRUST_EC2_IN_LISTS)),
        (trust(), False, TRUST),
    ],
)  # fmt: skip
def test_planned_trust(current, exclusive, planned):
    assert Ec2Trust().planned_policy(current, exclusive=exclusive) == planned


CN = "ec2.amazonaws.com.cn"
TRUST_CN = {**TRUST_EC2, "Principal": {"Service": CN}}
TRUST_BOTH = {**TRUST_EC2, "Principal": {"Service": [EC2, CN]}}
TRUST_BOTH_AND_LAMBDA = {**TRUST_EC2, "Principal": {"Service": [EC2, CN, "lambda.amazonaws.com"]}}
TRUST_EC2_AND_ACCOUNT = {**TRUST_EC2, "Principal": {"Service": EC2, "AWS": "arn:aws-cn:iam::123456789012:root"}}


@pytest.mark.parametrize(
    ("service", "statement", "is_trusted", "is_trusted_alone"),
    [
        (CN, TRUST_CN, True, True),
        (CN, TRUST_EC2, True, True),
        (CN, TRUST_EC2_IN_LISTS, True, True),
        (CN, TRUST_BOTH, True, True),
        (CN, TRUST_BOTH_AND_LAMBDA, True, False),
        (CN, TRUST_EC2_AND_LAMBDA, True, False),
        (CN, TRUST_EC2_AND_ACCOUNT, True, False),
        (CN, TRUST_LAMBDA, False, False),
        (CN, TRUST_ON_CONDITION, False, False),
        (CN, {**TRUST_EC2, "Principal": {"Service": []}}, False, False),
        (EC2, TRUST_EC2, True, True),
        (EC2, TRUST_BOTH, True, False),
        (EC2, TRUST_CN, False, False),
    ],
)
def test_in_china_a_role_may_trust_either_name_of_ec2(service, statement, is_trusted, is_trusted_alone):
    """A new role trusts the partition's name of EC2."""
    current = state(Role("R", trust(statement)))
    for exclusive, is_kept in ((False, is_trusted), (True, is_trusted_alone)):
        desired = replace(desired_role(exclusive=exclusive), trust=Ec2Trust(service))
        steps = role_plan.plan(current, desired).summaries
        assert (SET_TRUST not in steps) == is_kept
        planned = desired.trust.planned_policy(trust(statement), exclusive=exclusive)
        assert Ec2Trust(service).is_in(planned)
        assert not role_plan.trust_warnings(role_plan.plan(current, desired).planned, desired)
    blockers = role_plan.blockers(current, replace(desired_role(), trust=Ec2Trust(service)))
    assert (blockers == []) == is_trusted_alone
    new = role_plan.planned_state(State(), replace(desired_role(), trust=Ec2Trust(service))).role
    assert new
    assert new.trust == trust({**TRUST_EC2, "Principal": {"Service": service}})


def test_steps_on_a_new_entity_are_retried_until_iam_knows_it():
    plan = role_plan.plan(State(), desired_role(access="admin", admin_window=True))
    creations = {"iam:CreateRole", "iam:CreateInstanceProfile"}
    for step in plan.all_steps:
        assert step.retry_when == (frozenset() if step.action in creations else NEW_ENTITY_RETRY_CODES)


def test_steps_on_an_existing_role_are_not_retried():
    [attach] = role_plan.plan(state_with(), desired_role()).all_steps
    assert not attach.retry_when


def test_a_role_is_created_with_everything_that_is_declared():
    declared = desired_role(path="/m/", boundary=BOUNDARY, tags={"a": "1"}, description="d", max_session_duration=7200)
    create, _attach, create_profile, _add = role_plan.plan(State(), declared).all_steps
    assert create.arguments == {
        "role_name": "R",
        "path": "/m/",
        "assume_role_policy_document": TRUST,
        "description": "d",
        "max_session_duration": 7200,
        "permissions_boundary": BOUNDARY,
        "tags": {"a": "1", **CREATED_TAGS},
    }
    tags = {"a": "1", **CREATED_TAGS}
    assert create_profile.arguments == {"instance_profile_name": "P", "path": "/m/", "tags": tags}


@pytest.mark.parametrize(("description", "expected"), [(None, "default"), ("", ""), ("given", "given")])
def test_a_new_role_gets_the_default_description_unless_one_is_given(description, expected):
    desired = desired_role(description=description, new_description="default")
    assert role_plan.planned_state(State(), desired).role.description == expected
    [create, *_] = role_plan.plan(State(), desired).all_steps
    assert create.arguments.get("description", "") == expected


@pytest.mark.parametrize(
    ("mark", "options", "is_possible"),
    [
        ({}, {"admin_window": True}, False),
        ({MARK_TAG: "other"}, {"admin_window": True}, False),
        ({}, {"admin_window": True, "adopt": True}, True),
        ({}, {}, True),
        (ADOPTED_TAGS, {"admin_window": True}, True),
        (CREATED_TAGS, {"admin_window": True}, True),
    ],
)
def test_a_role_of_others_gets_an_admin_window_only_with_its_adoption(mark, options, is_possible):
    current, desired = role_of_others(state(), mark), desired_role(**options)
    if is_possible:
        role_plan.check_is_possible(current, desired)
    else:
        with pytest.raises(InvalidInput, match="role 'R' exists and was not created by this collection"):
            role_plan.check_is_possible(current, desired)
    with_window = role_of_others(state(inline=frozenset({WINDOW_POLICY})), mark)
    role_plan.check_is_possible(with_window, desired)


def test_a_role_of_others_without_trust_in_ec2_causes_a_warning():
    current = role_of_others(state(Role("R", trust(TRUST_LAMBDA))))
    [warning] = role_plan.trust_warnings(role_plan.planned_state(current, desired_role()), desired_role())
    assert warning.startswith("role 'R' was not created by this collection, so its trust policy was not changed")
    for managed in (state(), current):
        planned = role_plan.planned_state(managed, desired_role(adopt=True))
        assert role_plan.trust_warnings(planned, desired_role()) == []
    assert role_plan.trust_warnings(State(), desired_role()) == []


@pytest.mark.parametrize(
    "elements", [{"Action": "sts:*"}, {"Action": ["STS:assumerole"]}, {"Action": "*"}, {"Principal": "*"}]
)
def test_a_role_of_others_with_a_wide_trust_in_ec2_causes_no_warning(elements):
    """Its policy is extended only if the role is managed."""
    current = role_of_others(state(Role("R", trust({**TRUST_EC2, **elements}))))
    assert role_plan.trust_warnings(role_plan.planned_state(current, desired_role()), desired_role()) == []
    assert SET_TRUST in role_plan.plan(current, desired_role(adopt=True)).summaries


@pytest.mark.parametrize(
    ("current", "warnings"),
    [
        (State(), []),
        (state(), []),
        (role_of_others(state()), ["role 'R' was not deleted; it was not created by this collection"]),
        (state_with(UNMANAGED), [f"role 'R' was not deleted; still attached: policy {UNMANAGED}"]),
        (
            role_of_others(state_with(UNMANAGED)),
            ["role 'R' was not deleted; it was not created by this collection; still attached: policy " + UNMANAGED],
        ),
        (
            State(profile=InstanceProfile("P")),
            ["instance profile 'P' was not deleted; it was not created by this collection"],
        ),
        (State(profile=InstanceProfile("P", role="S")), []),
    ],
)
def test_the_warnings_explain_why_something_is_kept(current, warnings):
    assert role_plan.kept_warnings(current, desired_role()) == warnings


@pytest.mark.parametrize(
    ("description", "duration"),
    [(None, None), ("x" * 1000, 3600), ("", 43200), ("Größe\t(1)\r\n\xa1\xff", None)],
)
def test_valid_settings(description, duration):
    role_plan.check_settings(description, duration)


@pytest.mark.parametrize(
    ("description", "duration", "message"),
    [
        ("x" * 1001, None, r"^description: must be at most 1000 characters, not 1001\.$"),
        (None, 3599, r"^max_session_duration: must be between 3600 and 43200 seconds, not 3599\.$"),
        (None, 43201, r"^max_session_duration: must be between 3600 and 43200 seconds, not 43201\.$"),
        (None, 0, r"^max_session_duration: must be between 3600 and 43200 seconds, not 0\.$"),
        ("a \u2013 b", None, "^description: IAM allows only characters of Latin-1"),
        ("\u201cquoted\u201d", None, "^description: IAM allows only characters of Latin-1"),
        ("\x7f", None, "^description: IAM allows only characters of Latin-1"),
        ("\xa0", None, "^description: IAM allows only characters of Latin-1"),
        ("\x00", None, "^description: IAM allows only characters of Latin-1"),
    ],
)
def test_invalid_settings(description, duration, message):
    with pytest.raises(InvalidInput, match=message):
        role_plan.check_settings(description, duration)


@pytest.mark.parametrize(
    ("partition", "service"), [("aws", EC2), ("aws-us-gov", EC2), ("aws-cn", "ec2.amazonaws.com.cn")]
)
def test_service_of_the_partition(partition, service):
    assert ec2_service(partition) == service


def test_a_state_is_rendered():
    role = Role("R", TRUST, PrincipalState(policies=frozenset({SERVER, ADMIN})), "d", arn="arn:role")
    assert role_plan.to_dict(State(role, InstanceProfile("P", role="R", arn="arn:profile"))) == {
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
        "instance_profile": {"name": "P", "id": None, "arn": "arn:profile", "path": "/", "role": "R", "tags": {}},
    }


def test_absence_is_rendered_as_null():
    assert role_plan.to_dict(State()) == {"role": None, "instance_profile": None}


def test_another_role_in_the_instance_profile_causes_a_warning():
    [warning] = role_plan.propagation_warnings(State(None, InstanceProfile("P", role="S")), desired_role())
    assert warning.startswith(
        "instances with instance profile 'P' can use the permissions of role 'S' for up to one more hour;"
    )


@pytest.mark.parametrize(
    "profile", [None, InstanceProfile("P"), InstanceProfile("P", role="R")], ids=["no profile", "no role", "same role"]
)
def test_no_other_role_in_the_instance_profile_causes_no_warning(profile):
    assert role_plan.propagation_warnings(State(None, profile), desired_role()) == []


STATEMENTS = [
    TRUST_EC2,
    TRUST_EC2_IN_LISTS,
    TRUST_EC2_AND_LAMBDA,
    TRUST_LAMBDA,
    TRUST_ACCOUNT,
    TRUST_ANYONE,
    TRUST_ON_CONDITION,
    DENY_EC2,
]
TRUSTS = st.lists(st.sampled_from(STATEMENTS), max_size=3).map(lambda statements: trust(*statements))
TRUSTS |= st.sampled_from(STATEMENTS).map(lambda statement: {"Version": "2012-10-17", "Statement": statement})
ROLES = st.builds(
    Role,
    name=st.just("R"),
    trust=TRUSTS,
    principal=PRINCIPALS,
    description=st.sampled_from(["", "old"]),
    max_session_duration=st.sampled_from([3600, 7200]),
)


@st.composite
def states(draw: st.DrawFn) -> State:
    role = draw(st.none() | ROLES)
    inside = [None, "S", "R"] if role else [None, "S"]
    profiles = st.builds(InstanceProfile, name=st.just("P"), role=st.sampled_from(inside), tags=CURRENT_TAGS)
    return State(role, draw(st.none() | profiles), draw(subsets("Q", "O")) if role else frozenset())


DESIRED_ROLES = st.builds(
    DesiredRole,
    name=st.just("R"),
    declared=DECLARED,
    profile=st.just("P"),
    description=st.sampled_from([None, "", "new"]),
    max_session_duration=st.sampled_from([None, 3600, 7200]),
)


def account_with(current: State) -> Iam:
    iam = Iam()
    iam.put_role("R", current)
    if current.profile and current.profile.role == "S":
        iam.put_role("S", State(Role("S", TRUST)))
    return iam


@given(states(), DESIRED_ROLES)
def test_only_another_path_or_another_role_in_the_profile_or_a_window_of_others_is_not_possible(current, desired):
    has_other_path = current.role and desired.declared.path not in (None, current.role.principal.path)
    has_other_role = current.profile and current.profile.role == "S" and not desired.declared.exclusive
    principal, declared = current.role and current.role.principal, desired.declared
    is_managed = principal and (principal.is_marked or WINDOW_POLICY in principal.inline or declared.adopt)
    if has_other_path or has_other_role or (principal and declared.admin_window and not is_managed):
        with pytest.raises(InvalidInput):
            role_plan.check_is_possible(current, desired)
    else:
        role_plan.check_is_possible(current, desired)


@given(states(), DESIRED_ROLES)
def test_applying_a_plan_leads_to_the_planned_state(current, desired):
    try:
        role_plan.check_is_possible(current, desired)
    except InvalidInput:
        return
    iam = account_with(current)
    plan = role_plan.plan(current, desired)
    iam.take_all(plan.all_steps)
    final = iam.role_state("R", "P")
    assert final == plan.planned
    assert not role_plan.plan(final, desired).has_changes
    assert plan.has_changes == (final != current)


@given(states(), DESIRED_ROLES)
def test_unmanaged_things_are_kept_unless_exclusive(current, desired):
    planned = role_plan.plan(current, desired).planned.role
    before = current.role or Role("R", TRUST)
    managed = agent_policies("aws")
    assert {key: value for key, value in before.principal.tags.items() if ":" in key and key != MARK_TAG}.items() <= (
        planned.principal.tags.items()
    )
    assert planned.principal.is_created == (before.principal.is_created or current.role is None)
    assert planned.principal.is_marked == (
        planned.principal.is_created or before.principal.is_marked or desired.declared.adopt
    )
    assert SERVER in planned.principal.policies or ADMIN in planned.principal.policies
    assert (WINDOW_POLICY in planned.principal.inline) == (
        WINDOW_POLICY in before.principal.inline or desired.declared.admin_window
    )
    if desired.declared.exclusive:
        assert planned.principal.policies == desired.declared.attach
        assert planned.principal.inline <= {WINDOW_POLICY}
    else:
        assert before.principal.policies - managed <= planned.principal.policies
        assert before.principal.inline == planned.principal.inline - ({WINDOW_POLICY} - before.principal.inline)
        statements = before.trust["Statement"]
        kept = planned.trust["Statement"]
        assert all(
            each in (kept if isinstance(kept, list) else [kept])
            for each in (statements if isinstance(statements, list) else [statements])
        )


@given(states(), DESIRED_ROLES)
def test_applying_a_deletion_leads_to_the_planned_state(current, desired):
    iam = account_with(current)
    plan = role_plan.plan_absent(current, desired)
    iam.take_all(plan.all_steps)
    final = iam.role_state("R", "P")
    assert final == plan.planned
    assert not role_plan.plan_absent(final, desired).has_changes
    assert bool(final.role) == bool(role_plan.blockers(current, desired))
    assert bool(final.profile) >= bool(current.profile and not is_created(current.profile.tags))
    if current.role and not current.role.principal.is_created:
        assert final.role
    if final.role:
        assert final.role.principal.is_marked == current.role.principal.is_created
        assert not final.role.principal.policies & desired.declared.managed
        assert final.role.principal.policies == current.role.principal.policies - desired.declared.managed
        assert final.role.trust == current.role.trust


ACCOUNT = "123456789012"
HOME, OTHER, THIRD = "eu-central-1", "us-east-1", "eu-west-1"


def hybrid_trust(*regions: str) -> HybridTrust:
    return HybridTrust("aws", ACCOUNT, frozenset(regions))


def hybrid_policy(*regions: str) -> dict[str, Any]:
    return hybrid_trust(*regions).new_policy()


def desired_hybrid(*regions: str, **options: Any) -> DesiredRole:
    return replace(desired_role(**options), profile=None, trust=hybrid_trust(*regions))


def hybrid(policy: dict[str, Any], others: bool = False, **principal: Any) -> State:
    """A role with this trust policy and no instance profile. :param others: whether somebody else created it."""
    found = replace(state(Role("R", policy), **principal), profile=None)
    return role_of_others(found) if others else found


EXTENDED = trust(*hybrid_policy(HOME)["Statement"], TRUST_LAMBDA)
HYBRID = {
    "nothing exists": (State(), desired_hybrid(HOME), [CREATE_ROLE, ATTACH_SERVER], hybrid_policy(HOME)),
    "no difference": (hybrid(hybrid_policy(HOME)), desired_hybrid(HOME), [], hybrid_policy(HOME)),
    "another region": (
        hybrid(hybrid_policy(HOME)),
        desired_hybrid(OTHER),
        [SET_TRUST],
        hybrid_policy(HOME, OTHER),
    ),
    "fewer regions": (hybrid(hybrid_policy(HOME, OTHER)), desired_hybrid(OTHER), [], hybrid_policy(HOME, OTHER)),
    "fewer regions, exclusive": (
        hybrid(hybrid_policy(HOME, OTHER)),
        desired_hybrid(OTHER, exclusive=True),
        [],
        hybrid_policy(HOME, OTHER),
    ),
    "another region, exclusive": (
        hybrid(hybrid_policy(HOME)),
        desired_hybrid(OTHER, exclusive=True),
        [SET_TRUST],
        hybrid_policy(HOME, OTHER),
    ),
    "extended": (hybrid(EXTENDED), desired_hybrid(HOME, OTHER), [], EXTENDED),
    "extended, adoption": (hybrid(EXTENDED), desired_hybrid(OTHER, adopt=True), [], EXTENDED),
    "extended, exclusive": (hybrid(EXTENDED), desired_hybrid(OTHER, exclusive=True), [SET_TRUST], hybrid_policy(OTHER)),
    "trust in EC2": (hybrid(TRUST), desired_hybrid(HOME), [], TRUST),
    "a role of others": (hybrid(hybrid_policy(HOME), others=True), desired_hybrid(OTHER), [], hybrid_policy(HOME)),
    "a role of others, extended": (hybrid(EXTENDED, others=True), desired_hybrid(OTHER), [], EXTENDED),
    "a role of others, exclusive": (
        hybrid(EXTENDED, others=True),
        desired_hybrid(OTHER, exclusive=True),
        [SET_TRUST],
        hybrid_policy(OTHER),
    ),
    "adoption": (
        hybrid(hybrid_policy(HOME), others=True),
        desired_hybrid(OTHER, adopt=True),
        [SET_TRUST, "tag role 'R' with cwagent:managed"],
        hybrid_policy(HOME, OTHER),
    ),
    "adoption, extended": (
        hybrid(EXTENDED, others=True),
        desired_hybrid(OTHER, adopt=True),
        ["tag role 'R' with cwagent:managed"],
        EXTENDED,
    ),
    "a detached policy": (
        hybrid(hybrid_policy(HOME), policies=frozenset({SERVER})),
        desired_hybrid(HOME, ssm_policy="AmazonSSMManagedInstanceCore"),
        [ATTACH_SSM],
        hybrid_policy(HOME),
    ),
}
"""By case, the current state, the desired role, the steps and the trust policy after them."""


@pytest.mark.parametrize(("current", "desired", "steps", "policy"), HYBRID.values(), ids=HYBRID)
def test_plan_of_a_role_for_hybrid_servers(current, desired, steps, policy):
    role_plan.check_is_possible(current, desired)
    plan = role_plan.plan(current, desired)
    assert plan.summaries == steps
    assert plan.planned.role
    assert (plan.planned.role.trust, plan.planned.profile) == (policy, None)
    missing = [region for region in desired.trust.regions if hybrid_trust(region).problem(policy, is_marked=True)]
    warnings = role_plan.trust_warnings(plan.planned, desired)
    assert len(warnings) == bool(missing)
    assert all(warning.startswith("role 'R' ") and region in warning for warning in warnings for region in missing)


HYBRID_ABSENT = {
    "nothing exists": (State(), desired_hybrid(), [], []),
    "managed only": (hybrid(hybrid_policy(HOME, OTHER)), desired_hybrid(), [DETACH_SERVER, DELETE_ROLE], []),
    "extended": (hybrid(EXTENDED), desired_hybrid(), [DETACH_SERVER], ["1 other trust statement"]),
    "extended, exclusive": (hybrid(EXTENDED), desired_hybrid(exclusive=True), [DETACH_SERVER, DELETE_ROLE], []),
    "trust in EC2": (hybrid(TRUST), desired_hybrid(), [DETACH_SERVER], ["1 other trust statement"]),
    "a role of others": (
        hybrid(hybrid_policy(HOME), others=True),
        desired_hybrid(exclusive=True),
        [DETACH_SERVER],
        [NOT_CREATED],
    ),
    "deletion of a role for EC2": (
        hybrid(hybrid_policy(HOME)),
        desired_role(),
        [DETACH_SERVER],
        ["1 other trust statement"],
    ),
}


@pytest.mark.parametrize(("current", "desired", "steps", "blockers"), HYBRID_ABSENT.values(), ids=HYBRID_ABSENT)
def test_plan_of_the_deletion_of_a_role_for_hybrid_servers(current, desired, steps, blockers):
    plan = role_plan.plan_absent(current, desired)
    assert plan.summaries == steps
    assert role_plan.blockers(current, desired) == blockers
    assert plan.planned.profile is None


REGION_SETS = st.frozensets(st.sampled_from([HOME, OTHER, THIRD]), min_size=1)
HYBRID_STATEMENTS = REGION_SETS.map(lambda regions: hybrid_policy(*regions)["Statement"][0])
HYBRID_POLICIES = st.lists(HYBRID_STATEMENTS | st.sampled_from(STATEMENTS), max_size=2).map(
    lambda statements: trust(*statements)
)
HYBRID_ROLES = st.builds(replace, ROLES, trust=HYBRID_POLICIES)
DESIRED_HYBRID_ROLES = st.builds(
    replace, DESIRED_ROLES, profile=st.none(), trust=REGION_SETS.map(lambda regions: hybrid_trust(*regions))
)


@given(st.none() | HYBRID_ROLES, DESIRED_HYBRID_ROLES)
def test_applying_a_plan_for_hybrid_servers_leads_to_the_planned_state(role, desired):
    current = State(role)
    try:
        role_plan.check_is_possible(current, desired)
    except InvalidInput:
        return
    iam = account_with(current)
    plan = role_plan.plan(current, desired)
    iam.take_all(plan.all_steps)
    final = iam.role_state("R", "P")
    assert final == plan.planned
    assert not role_plan.plan(final, desired).has_changes
    assert plan.has_changes == (final != current)


@given(HYBRID_ROLES, DESIRED_HYBRID_ROLES)
def test_the_trust_policy_for_hybrid_servers_is_changed_only_where_it_is_ours(role, desired):
    planned = role_plan.plan(State(role), desired).planned
    assert planned.role
    statements = role.trust["Statement"]
    is_ours = len(statements) == 1 and desired.trust.is_own(statements[0])
    declared = desired.declared
    if not (declared.exclusive or (is_ours and (role.principal.is_marked or declared.adopt))):
        assert planned.role.trust is role.trust
    if is_ours:
        regions = {each.split(":")[3] for each in statements[0]["Condition"]["ArnEquals"]["aws:SourceArn"]}
        assert not any(hybrid_trust(each).problem(planned.role.trust, is_marked=True) for each in regions)
    has_warning = bool(role_plan.trust_warnings(planned, desired))
    assert has_warning == any(
        hybrid_trust(each).problem(planned.role.trust, is_marked=True) for each in desired.trust.regions
    )
    assert not (has_warning and declared.exclusive)


@given(st.none() | HYBRID_ROLES, DESIRED_HYBRID_ROLES)
def test_applying_the_deletion_of_a_role_for_hybrid_servers_leads_to_the_planned_state(role, desired):
    current = State(role)
    iam = account_with(current)
    plan = role_plan.plan_absent(current, desired)
    iam.take_all(plan.all_steps)
    final = iam.role_state("R", "P")
    assert final == plan.planned
    assert not role_plan.plan_absent(final, desired).has_changes
    assert bool(final.role) == bool(role_plan.blockers(current, desired))


@pytest.mark.parametrize("extra", [UNMANAGED, SSM_DEPRECATED])
def test_the_diff_shows_the_planned_policies(extra):
    plan = role_plan.plan(state_with(SERVER, extra), desired_role(exclusive=True))
    assert role_plan.to_dict(plan.planned)["role"]["managed_policies"] == [SERVER]
