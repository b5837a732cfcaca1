from __future__ import annotations

from dataclasses import replace
from itertools import filterfalse
from typing import Any

import pytest
from aws_account import ACCOUNT_ID, Account
from aws_model import check_call
from declarations import (
    ADMIN,
    ADOPTED_TAGS,
    BOUNDARY,
    CREATED_TAGS,
    CURRENT_TAGS,
    CUSTOM,
    DECLARED,
    PRINCIPALS,
    SERVER,
    SSM_CORE,
    UNMANAGED,
    declare,
    subsets,
)
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import (
    MARK_TAG,
    NOT_CREATED,
    SAVED_KEY_TAG,
    WINDOW_POLICY,
    is_created,
    is_fitted_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals import role_plan
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import is_admin_policy, is_server_policy
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role import RoleResource
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import (
    DesiredRole,
    Ec2Trust,
    HybridTrust,
    InstanceProfile,
    Role,
    State,
    ec2_service,
)

EC2, CN = "ec2.amazonaws.com", "ec2.amazonaws.com.cn"
TRUST = Ec2Trust().new_policy()
[TRUST_EC2] = TRUST["Statement"]
TRUST_EC2_IN_LISTS = {"Sid": "x", "Effect": "Allow", "Principal": {"Service": [EC2]}, "Action": ["sts:AssumeRole"]}
TRUST_EC2_AND_LAMBDA = {**TRUST_EC2, "Principal": {"Service": [EC2, "lambda.amazonaws.com"]}}
TRUST_EC2_AND_ACCOUNT = {**TRUST_EC2, "Principal": {"Service": EC2, "AWS": "arn:aws-cn:iam::123456789012:root"}}
TRUST_LAMBDA = {**TRUST_EC2, "Principal": {"Service": "lambda.amazonaws.com"}}
TRUST_ACCOUNT = {**TRUST_EC2, "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}
TRUST_ANYONE = {**TRUST_EC2, "Principal": "*"}
TRUST_ON_CONDITION = {**TRUST_EC2, "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}
TRUST_FOR_TAGS = {**TRUST_EC2, "Action": "sts:TagSession"}
TRUST_CN = {**TRUST_EC2, "Principal": {"Service": CN}}
TRUST_BOTH = {**TRUST_EC2, "Principal": {"Service": [EC2, CN]}}
TRUST_BOTH_AND_LAMBDA = {**TRUST_EC2, "Principal": {"Service": [EC2, CN, "lambda.amazonaws.com"]}}
DENY_EC2 = {**TRUST_EC2, "Effect": "Deny"}
OLD_VERSION = {"Version": "2008-10-17", "Id": "x"}


def trust(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


LAMBDA_ONLY, SHARED = trust(TRUST_LAMBDA), trust(TRUST_EC2_AND_LAMBDA, TRUST_ACCOUNT)
SETTINGS = ("description", "max_session_duration", "new_description")


def desired_role(**options: Any) -> DesiredRole:
    settings = {key: options.pop(key) for key in SETTINGS if key in options}
    return DesiredRole("R", declare(**options), profile="P", **settings)


PROFILE, PROFILE_OF_OTHERS = (InstanceProfile("P", role="R", tags=each) for each in (CREATED_TAGS, {"a": "1"}))


def state(
    *policies: str,
    trust: Any = TRUST,
    description: str = "",
    mark: dict[str, str] = CREATED_TAGS,
    profile: InstanceProfile | None = PROFILE,
    others: Any = (),
    **principal: Any,
) -> State:
    """The state that ``desired_role()`` declares, with these differences. :param mark: empty for a role of others."""
    attached = frozenset(policies or (SERVER,)) - {NOTHING}
    tags = {**principal.pop("tags", {} if mark == CREATED_TAGS else {"a": "1"}), **mark}
    inline = frozenset(principal.pop("inline", ()))
    found = PrincipalState(policies=attached, inline=inline, tags=tags, **principal)
    return State(Role("R", trust, found, description), profile, frozenset(others))


NOTHING = "no policy"
OTHERS: dict[str, str] = {}
WINDOW: dict[str, Any] = {"inline": {WINDOW_POLICY}}
ATTACH, DETACH = "attach {} to role 'R'", "detach {} from role 'R'"
ATTACH_SERVER, DETACH_SERVER = (each.format("CloudWatchAgentServerPolicy") for each in (ATTACH, DETACH))
ATTACH_ADMIN, DETACH_ADMIN = (each.format("CloudWatchAgentAdminPolicy") for each in (ATTACH, DETACH))
DETACH_SSM = DETACH.format("AmazonSSMManagedInstanceCore")
DETACH_UNMANAGED = DETACH.format("ReadOnlyAccess")
CREATE_ROLE, CREATE_PROFILE = "create role 'R'", "create instance profile 'P'"
ADD_TO_PROFILE, CLOSE_WINDOW = "add role 'R' to instance profile 'P'", "close the admin window of role 'R'"
SET_TRUST, MARK = "set the trust policy of role 'R'", "tag role 'R' with cwagent:managed"
SET_SETTINGS = "set the description and the session duration of role 'R'"
SET_BOUNDARY = "set the permissions boundary of role 'R' to bound"
CREATE = [CREATE_ROLE, ATTACH_SERVER, CREATE_PROFILE, ADD_TO_PROFILE]
TAGGED = {"tags": {"a": "1", "b": "2"}}

PRESENT: dict[str, tuple[State, dict[str, Any], list[str]]] = {
    "nothing exists": (State(), {}, CREATE),
    "no difference": (state(), {}, []),
    "detached policy": (state(NOTHING), {}, [ATTACH_SERVER]),
    "server policy on an admin role": (state(), {"access": "admin"}, [ATTACH_ADMIN, DETACH_SERVER]),
    "no profile": (state(profile=None), {}, [CREATE_PROFILE, ADD_TO_PROFILE]),
    "profile without its role": (state(profile=InstanceProfile("P")), {}, [ADD_TO_PROFILE]),
    "profile with another role, exclusive": (
        state(profile=InstanceProfile("P", role="S")),
        {"exclusive": True},
        ["remove role 'S' from instance profile 'P'", ADD_TO_PROFILE],
    ),
    "description": (state(description="old"), {"description": "new"}, [SET_SETTINGS]),
    "description omitted": (state(description="old"), {}, []),
    "description removed": (state(description="old"), {"description": ""}, [SET_SETTINGS]),
    "session duration": (state(), {"max_session_duration": 7200}, [SET_SETTINGS]),
    "boundary missing": (state(), {"boundary": BOUNDARY}, [SET_BOUNDARY]),
    "tags purged": (
        state(
            tags={**TAGGED["tags"], "aws:c": "3"},
            profile=InstanceProfile("P", role="R", tags={**CREATED_TAGS, **TAGGED["tags"]}),
        ),
        {"tags": {"a": "1"}, "purge_tags": True},
        ["remove the tags b from role 'R'", "remove the tags b from instance profile 'P'"],
    ),
    "the mark is not purged": (
        state(tags={"b": "2"}),
        {"tags": {"a": "1"}, "purge_tags": True},
        ["remove the tags b from role 'R'", "tag role 'R' with a", "tag instance profile 'P' with a"],
    ),
    "an application's role": (state(UNMANAGED, CUSTOM, trust=SHARED, inline={"app"}), {}, [ATTACH_SERVER]),
    "an application's role, exclusive": (
        state(UNMANAGED, trust=SHARED, inline={"app", WINDOW_POLICY}),
        {"exclusive": True},
        [SET_TRUST, ATTACH_SERVER, DETACH_UNMANAGED, "delete inline policy 'app' of role 'R'"],
    ),
    "admin window missing": (state(NOTHING), {"admin_window": True}, [CLOSE_WINDOW, ATTACH_SERVER]),
    "admin window, nothing exists": (State(), {"admin_window": True}, [CREATE_ROLE, CLOSE_WINDOW, *CREATE[1:]]),
    "a role of others": (state(NOTHING, mark=OTHERS, profile=PROFILE_OF_OTHERS), {}, [ATTACH_SERVER]),
    "a role of others without trust": (state(trust=LAMBDA_ONLY, mark=OTHERS), {}, []),
    "a role of others without trust, exclusive": (
        state(trust=LAMBDA_ONLY, mark=OTHERS),
        {"exclusive": True},
        [SET_TRUST],
    ),
    "a role of others, description": (state(description="old", mark=OTHERS), {"new_description": "default"}, []),
    "adoption": (state(trust=LAMBDA_ONLY, mark=OTHERS), {"adopt": True}, [SET_TRUST, MARK]),
    "adopted before, without trust": (state(trust=LAMBDA_ONLY, mark=ADOPTED_TAGS), {}, [SET_TRUST]),
}


@pytest.mark.parametrize(("current", "options", "steps"), PRESENT.values(), ids=PRESENT)
def test_plan(current, options, steps):
    desired = desired_role(**options)
    plan = role_plan.plan(current, desired)
    assert plan.summaries == steps
    assert list(plan.steps) == ["R"]
    assert (plan.current, plan.planned) == (current, role_plan.planned_state(current, desired))


REMOVE_FROM_PROFILE, DELETE_PROFILE = "remove role 'R' from instance profile 'P'", "delete instance profile 'P'"
DELETE_ROLE, DELETE_WINDOW = "delete role 'R'", "delete inline policy 'CloudWatchAgentAdminWindow' of role 'R'"
DELETE = [REMOVE_FROM_PROFILE, DELETE_PROFILE, DELETE_ROLE]
UNMANAGED_POLICY = f"policy {UNMANAGED}"

ABSENT: dict[str, tuple[State, dict[str, Any], list[str], list[str]]] = {
    "nothing exists": (State(), {}, [], []),
    "managed only": (state(), {}, [DETACH_SERVER, *DELETE], []),
    "managed, with the admin window and another access": (
        state(ADMIN, SSM_CORE, **WINDOW),
        {},
        [DETACH_SSM, DETACH_ADMIN, DELETE_WINDOW, *DELETE],
        [],
    ),
    "profile without role": (State(profile=InstanceProfile("P", tags=CREATED_TAGS)), {}, [DELETE_PROFILE], []),
    "profile of others without role": (State(profile=InstanceProfile("P")), {}, [], []),
    "a role of others": (state(mark=OTHERS), {}, [DETACH_SERVER], [NOT_CREATED]),
    "a role of others, with the admin window and tags": (
        state(mark={**ADOPTED_TAGS, SAVED_KEY_TAG: "A"}, **WINDOW),
        {},
        [DETACH_SERVER, DELETE_WINDOW, "remove the tags cwagent:managed, cwagent:saved-key from role 'R'"],
        [NOT_CREATED],
    ),
    "a role of others, exclusive": (
        state(SERVER, UNMANAGED, mark=OTHERS),
        {"exclusive": True},
        [DETACH_SERVER],
        [NOT_CREATED],
    ),
    "a role of others with a policy": (state(UNMANAGED, mark=OTHERS), {}, [], [NOT_CREATED, UNMANAGED_POLICY]),
    "in a profile of others": (state(profile=PROFILE_OF_OTHERS), {}, [DETACH_SERVER], ["instance profile 'P'"]),
    "in a profile of others, exclusive": (
        state(profile=PROFILE_OF_OTHERS),
        {"exclusive": True},
        [DETACH_SERVER, REMOVE_FROM_PROFILE, DELETE_ROLE],
        [],
    ),
    "another profile": (state(others=["Q"]), {}, [DETACH_SERVER], ["instance profile 'Q'"]),
    "unmanaged policy": (state(SERVER, UNMANAGED), {}, [DETACH_SERVER], [UNMANAGED_POLICY]),
    "declared policy": (
        state(SERVER, CUSTOM),
        {"further": frozenset({CUSTOM})},
        [DETACH.format("mine"), DETACH_SERVER, *DELETE],
        [],
    ),
    "unmanaged inline policy": (
        state(inline={"app", WINDOW_POLICY}),
        {},
        [DETACH_SERVER, DELETE_WINDOW],
        ["inline policy 'app'"],
    ),
    "other trust statements": (
        state(trust=trust(TRUST_EC2, TRUST_LAMBDA, TRUST_ACCOUNT)),
        {},
        [DETACH_SERVER],
        ["2 other trust statements"],
    ),
    "unmanaged, exclusive": (
        state(UNMANAGED, trust=LAMBDA_ONLY, inline={"app"}, others=["Q"]),
        {"exclusive": True},
        [
            DETACH_UNMANAGED,
            "delete inline policy 'app' of role 'R'",
            "remove role 'R' from instance profile 'Q'",
            *DELETE,
        ],
        [],
    ),
}


@pytest.mark.parametrize(("current", "options", "steps", "blockers"), ABSENT.values(), ids=ABSENT)
def test_plan_absent(current, options, steps, blockers):
    desired = desired_role(**options)
    plan = role_plan.plan_absent(current, desired)
    assert plan.summaries == steps
    assert role_plan.blockers(current, desired) == blockers
    assert (plan.current, plan.planned) == (current, role_plan.planned_absence(current, desired))
    for step in plan.all_steps:
        check_call(step)


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
        (trust(), False, TRUST),
    ],
)  # fmt: skip
def test_planned_trust(current, exclusive, planned):
    assert Ec2Trust().planned_policy(current, exclusive=exclusive) == planned


@pytest.mark.parametrize(
    ("service", "current", "is_trusted", "is_trusted_alone"),
    [
        (EC2, TRUST, True, True),
        (EC2, {**TRUST, "Statement": TRUST_EC2}, True, True),
        (EC2, trust(TRUST_EC2_IN_LISTS), True, True),
        (EC2, trust(TRUST_EC2_AND_LAMBDA), True, False),
        (EC2, trust(TRUST_BOTH), True, False),
        (EC2, trust(TRUST_EC2, DENY_EC2), True, False),
        (EC2, trust(TRUST_EC2, TRUST_ON_CONDITION), True, False),
        (EC2, trust(TRUST_CN), False, False),
        (EC2, trust(TRUST_LAMBDA), False, False),
        (EC2, trust(TRUST_ON_CONDITION), False, False),
        (EC2, trust(DENY_EC2), False, False),
        (EC2, trust(TRUST_ANYONE), False, False),
        (EC2, trust(TRUST_FOR_TAGS), False, False),
        (CN, trust(TRUST_CN), True, True),
        (CN, TRUST, True, True),
        (CN, trust(TRUST_EC2_IN_LISTS), True, True),
        (CN, trust(TRUST_BOTH), True, True),
        (CN, trust(TRUST_BOTH_AND_LAMBDA), True, False),
        (CN, trust(TRUST_EC2_AND_LAMBDA), True, False),
        (CN, trust(TRUST_EC2_AND_ACCOUNT), True, False),
        (CN, trust(TRUST_LAMBDA), False, False),
        (CN, trust(TRUST_ON_CONDITION), False, False),
        (CN, trust({**TRUST_EC2, "Principal": {"Service": []}}), False, False),
    ],
)
def test_a_role_trusts_ec2_and_in_china_either_of_its_names(service, current, is_trusted, is_trusted_alone):
    """A new role trusts the partition's name of EC2."""
    role = state(trust=current)
    for exclusive, is_kept in ((False, is_trusted), (True, is_trusted_alone)):
        desired = replace(desired_role(exclusive=exclusive), trust=Ec2Trust(service))
        plan = role_plan.plan(role, desired)
        assert plan.summaries == [SET_TRUST] * (not is_kept)
        assert Ec2Trust(service).is_in(desired.trust.planned_policy(current, exclusive=exclusive))
        assert not role_plan.trust_warnings(plan.planned, desired)
    blockers = role_plan.blockers(role, replace(desired_role(), trust=Ec2Trust(service)))
    assert blockers == ["1 other trust statement"] * (not is_trusted_alone)
    new = role_plan.planned_state(State(), replace(desired_role(), trust=Ec2Trust(service))).role
    assert new
    assert new.trust == trust({**TRUST_EC2, "Principal": {"Service": service}})


def test_a_role_is_created_with_everything_that_is_declared():
    declared = desired_role(path="/m/", boundary=BOUNDARY, tags={"a": "1"}, description="d", max_session_duration=7200)
    create, _attach, create_profile, _add = role_plan.plan(State(), declared).all_steps
    tags = {"a": "1", **CREATED_TAGS}
    assert create.arguments == {
        "role_name": "R",
        "path": "/m/",
        "assume_role_policy_document": TRUST,
        "description": "d",
        "max_session_duration": 7200,
        "permissions_boundary": BOUNDARY,
        "tags": tags,
    }
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
        (OTHERS, {"admin_window": True}, False),
        (OTHERS, {"admin_window": True, "adopt": True}, True),
    ],
)
def test_a_role_of_others_gets_an_admin_window_only_with_its_adoption(mark, options, is_possible):
    current, desired = state(mark=mark), desired_role(**options)
    if is_possible:
        role_plan.check_is_possible(current, desired)
    else:
        with pytest.raises(InvalidInput, match="role 'R' exists and was not created by this collection"):
            role_plan.check_is_possible(current, desired)
    role_plan.check_is_possible(state(mark=mark, **WINDOW), desired)


def test_a_role_of_others_without_trust_in_ec2_causes_a_warning():
    current = state(trust=LAMBDA_ONLY, mark=OTHERS)
    [warning] = role_plan.trust_warnings(role_plan.planned_state(current, desired_role()), desired_role())
    assert warning.startswith("role 'R' was not created by this collection, so its trust policy was not changed")
    for managed in (state(), current):
        planned = role_plan.planned_state(managed, desired_role(adopt=True))
        assert role_plan.trust_warnings(planned, desired_role()) == []
    assert role_plan.trust_warnings(State(), desired_role()) == []


FOREIGN = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Action": "sts:AssumeRole"}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ([], ""),
        ([FOREIGN], "arn:aws:iam::999999999999:root"),
        (
            [{**FOREIGN, "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}],
            "arn:aws:iam::999999999999:root",
        ),
        ([{"Effect": "Allow", "NotPrincipal": {"AWS": "x"}, "Action": "sts:*"}], "*"),
        ([{**FOREIGN, "Action": "sts:TagSession"}], ""),
        ([{**FOREIGN, "Effect": "Deny"}], ""),
        ([FOREIGN, {**FOREIGN, "Effect": "Deny"}], ""),
    ],
)
def test_others_who_can_assume_a_managed_role_are_a_warning(more, named):
    """Everybody who can assume the admin role can write while the window is open."""
    current = state(trust=trust(TRUST_EC2, *more))
    warnings = role_plan.sharing_warnings(role_plan.planned_state(current, desired_role()), desired_role())
    assert [f"role 'R' can also be assumed by {named}. If that" in each for each in warnings] == [True] * bool(named)
    exclusive = role_plan.planned_state(current, desired_role(exclusive=True))
    assert role_plan.sharing_warnings(exclusive, desired_role(exclusive=True)) == []
    of_others = role_plan.planned_state(
        replace(current, role=state(trust=current.role.trust, mark=OTHERS).role), desired_role()
    )
    assert role_plan.sharing_warnings(of_others, desired_role()) == []
    assert role_plan.sharing_warnings(State(), desired_role()) == []


@pytest.mark.parametrize(
    "elements", [{"Action": "sts:*"}, {"Action": ["STS:assumerole"]}, {"Action": "*"}, {"Principal": "*"}]
)
def test_a_role_of_others_with_a_wide_trust_in_ec2_causes_no_warning(elements):
    """Its policy is extended only if the role is managed."""
    current = state(trust=trust({**TRUST_EC2, **elements}), mark=OTHERS)
    assert role_plan.trust_warnings(role_plan.planned_state(current, desired_role()), desired_role()) == []
    assert SET_TRUST in role_plan.plan(current, desired_role(adopt=True)).summaries


KEPT_ROLE, KEPT_PROFILE = "role 'R' was not deleted; ", "instance profile 'P' was not deleted; "


@pytest.mark.parametrize(
    ("current", "warnings"),
    [
        (State(), []),
        (state(), []),
        (state(mark=OTHERS), [f"{KEPT_ROLE}it {NOT_CREATED}"]),
        (state(UNMANAGED), [f"{KEPT_ROLE}still attached: {UNMANAGED_POLICY}"]),
        (state(UNMANAGED, mark=OTHERS), [f"{KEPT_ROLE}it {NOT_CREATED}; still attached: {UNMANAGED_POLICY}"]),
        (State(profile=InstanceProfile("P")), [f"{KEPT_PROFILE}it was not created by this collection"]),
        (State(profile=InstanceProfile("P", role="S")), []),
    ],
)
def test_the_warnings_explain_why_something_is_kept(current, warnings):
    assert role_plan.kept_warnings(current, desired_role()) == warnings


@pytest.mark.parametrize(
    ("description", "duration"), [(None, None), ("x" * 1000, 3600), ("", 43200), ("Größe\t(1)\r\n\xa1\xff", None)]
)
def test_valid_settings(description, duration):
    role_plan.check_settings(description, duration)


@pytest.mark.parametrize(
    ("description", "duration", "message"),
    [
        ("x" * 1001, None, "description: must be at most 1000 characters, not 1001."),
        *((None, each, f"max_session_duration: must be between 3600 and 43200 seconds, not {each}.")
          for each in (3599, 43201, 0)),
        *((each, None, "description: IAM allows only characters of Latin-1")
          for each in ("a \u2013 b", "\u201cquoted\u201d", "\x7f", "\xa0", "\x00")),
    ],
)  # fmt: skip
def test_invalid_settings(description, duration, message):
    with pytest.raises(InvalidInput) as caught:
        role_plan.check_settings(description, duration)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("partition", "service"), [("aws", EC2), ("aws-us-gov", EC2), ("aws-cn", CN)])
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
    assert role_plan.to_dict(State()) == {"role": None, "instance_profile": None}


@pytest.mark.parametrize(
    ("profile", "warns"),
    [
        (InstanceProfile("P", role="S"), True),
        (None, False),
        (InstanceProfile("P"), False),
        (InstanceProfile("P", role="R"), False),
    ],
)
def test_another_role_in_the_instance_profile_causes_a_warning(profile, warns):
    found = role_plan.propagation_warnings(State(None, profile), desired_role())
    start = "instances with instance profile 'P' can use the permissions of role 'S' for up to one more hour;"
    assert [each[: len(start)] for each in found] == [start] * warns


HOME, OTHER, THIRD = "eu-central-1", "us-east-1", "eu-west-1"


def hybrid_trust(*regions: str) -> HybridTrust:
    return HybridTrust("aws", ACCOUNT_ID, frozenset(regions))


def desired_hybrid(*regions: str, **options: Any) -> DesiredRole:
    return replace(desired_role(**options), profile=None, trust=hybrid_trust(*regions))


def hybrid(policy: dict[str, Any], mark: dict[str, str] = CREATED_TAGS) -> State:
    """A role with this trust policy and no instance profile."""
    return state(trust=policy, mark=mark, profile=None)


OURS, BOTH, ELSEWHERE = (hybrid_trust(*each).new_policy() for each in ((HOME,), (HOME, OTHER), (OTHER,)))
EXTENDED = trust(*OURS["Statement"], TRUST_LAMBDA)
HYBRID = {
    "nothing exists": (State(), desired_hybrid(HOME), [CREATE_ROLE, ATTACH_SERVER], OURS),
    "no difference": (hybrid(OURS), desired_hybrid(HOME), [], OURS),
    "another region": (hybrid(OURS), desired_hybrid(OTHER), [SET_TRUST], BOTH),
    "extended": (hybrid(EXTENDED), desired_hybrid(HOME, OTHER), [], EXTENDED),
    "a role of others": (hybrid(OURS, OTHERS), desired_hybrid(OTHER), [], OURS),
    "a role of others, exclusive": (
        hybrid(EXTENDED, OTHERS),
        desired_hybrid(OTHER, exclusive=True),
        [SET_TRUST],
        ELSEWHERE,
    ),
    "adoption": (hybrid(OURS, OTHERS), desired_hybrid(OTHER, adopt=True), [SET_TRUST, MARK], BOTH),
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
    "managed only": (hybrid(BOTH), desired_hybrid(), [DETACH_SERVER, DELETE_ROLE], []),
    "extended": (hybrid(EXTENDED), desired_hybrid(), [DETACH_SERVER], ["1 other trust statement"]),
    "deletion of a role for EC2": (hybrid(OURS), desired_role(), [DETACH_SERVER], ["1 other trust statement"]),
}


@pytest.mark.parametrize(("current", "desired", "steps", "blockers"), HYBRID_ABSENT.values(), ids=HYBRID_ABSENT)
def test_plan_of_the_deletion_of_a_role_for_hybrid_servers(current, desired, steps, blockers):
    plan = role_plan.plan_absent(current, desired)
    assert plan.summaries == steps
    assert role_plan.blockers(current, desired) == blockers
    assert plan.planned.profile is None


# Properties, with a model of IAM. The role "S" is in the profile, and "Q" and "O" are other profiles.

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
REGION_SETS = st.frozensets(st.sampled_from([HOME, OTHER, THIRD]), min_size=1)
HYBRID_STATEMENTS = REGION_SETS.map(lambda regions: hybrid_trust(*regions).new_policy()["Statement"][0])
HYBRID_POLICIES = st.lists(HYBRID_STATEMENTS | st.sampled_from(STATEMENTS), max_size=2).map(
    lambda statements: trust(*statements)
)
HYBRID_ROLES = st.builds(replace, ROLES, trust=HYBRID_POLICIES)
DESIRED_HYBRID_ROLES = st.builds(
    replace, DESIRED_ROLES, profile=st.none(), trust=REGION_SETS.map(lambda regions: hybrid_trust(*regions))
)
PAIRS: dict[str, st.SearchStrategy[tuple[State, DesiredRole]]] = {
    "EC2": st.tuples(states(), DESIRED_ROLES),
    "hybrid": st.tuples(st.builds(State, st.none() | HYBRID_ROLES), DESIRED_HYBRID_ROLES),
}


def account_with(current: State) -> Account:
    account = Account()
    account.put_role("R", current)
    if current.profile and current.profile.role == "S":
        account.put_role("S", State(Role("S", TRUST)))
    return account


def read(account: Account, desired: DesiredRole) -> State:
    """The role as the resource reads it before a deletion, without what IAM assigns."""
    found = RoleResource(account.aws(), desired, present=False).read()
    role, profile = found.role, found.profile
    return replace(
        found, role=role and replace(role, arn=None), profile=profile and replace(profile, arn=None, id=None)
    )


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


@pytest.mark.parametrize("kind", PAIRS)
@given(data=st.data())
def test_applying_a_plan_leads_to_the_planned_state(kind, data):
    current, desired = data.draw(PAIRS[kind])
    try:
        role_plan.check_is_possible(current, desired)
    except InvalidInput:
        return
    account, plan = account_with(current), role_plan.plan(current, desired)
    account.take_all(plan.all_steps)
    final = read(account, desired)
    assert final == plan.planned
    assert not role_plan.plan(final, desired).has_changes
    assert plan.has_changes == (final != current)


@given(states(), DESIRED_ROLES)
def test_unmanaged_things_are_kept_unless_exclusive(current, desired):
    planned = role_plan.plan(current, desired).planned.role
    before = current.role or Role("R", TRUST)
    assert {key: value for key, value in before.principal.tags.items() if ":" in key and key != MARK_TAG}.items() <= (
        planned.principal.tags.items()
    )
    assert planned.principal.is_created == (before.principal.is_created or current.role is None)
    assert planned.principal.is_marked == (
        planned.principal.is_created or before.principal.is_marked or desired.declared.adopt
    )
    assert any(is_server_policy(each) or is_admin_policy(each) for each in planned.principal.policies)
    assert (WINDOW_POLICY in planned.principal.inline) == (
        WINDOW_POLICY in before.principal.inline or desired.declared.admin_window
    )
    if desired.declared.exclusive:
        assert {*filterfalse(is_fitted_policy, planned.principal.policies)} <= desired.declared.attach
        assert desired.declared.attach <= planned.principal.policies
        assert planned.principal.inline <= {WINDOW_POLICY}
    else:
        assert desired.declared.unmanaged_policies(before.principal.policies) <= planned.principal.policies
        assert before.principal.inline == planned.principal.inline - ({WINDOW_POLICY} - before.principal.inline)
        statements = before.trust["Statement"]
        kept = planned.trust["Statement"]
        assert all(
            each in (kept if isinstance(kept, list) else [kept])
            for each in (statements if isinstance(statements, list) else [statements])
        )


@pytest.mark.parametrize("kind", PAIRS)
@given(data=st.data())
def test_applying_a_deletion_leads_to_the_planned_state(kind, data):
    current, desired = data.draw(PAIRS[kind])
    account, plan = account_with(current), role_plan.plan_absent(current, desired)
    account.take_all(plan.all_steps)
    final = read(account, desired)
    assert final == plan.planned
    assert not role_plan.plan_absent(final, desired).has_changes
    assert bool(final.role) == bool(role_plan.blockers(current, desired))
    assert bool(final.profile) >= bool(current.profile and not is_created(current.profile.tags))
    if current.role and not current.role.principal.is_created:
        assert final.role
    if final.role:
        assert final.role.principal.is_marked == current.role.principal.is_created
        assert not final.role.principal.policies & desired.declared.managed
        assert final.role.principal.policies == desired.declared.unmanaged_policies(current.role.principal.policies)
        assert final.role.trust == current.role.trust


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


@pytest.mark.parametrize(
    ("current", "options", "fits"),
    [
        (State(None, None), {}, False),
        (State(None, None), {"boundary": BOUNDARY}, True),
        (state(), {}, False),
        (state(boundary=BOUNDARY), {}, True),
        (state(boundary=BOUNDARY), {"boundary": "none"}, False),
        (state(), {"boundary": BOUNDARY}, True),
    ],
)
def test_a_role_with_fitted_policies_needs_a_boundary(current: State, options: Any, fits: bool) -> None:
    role_plan.check_is_possible(current, desired_role(**options))
    desired = desired_role(needs_boundary=True, **options)
    if fits:
        role_plan.check_is_possible(current, desired)
        return
    with pytest.raises(InvalidInput, match=r"^role 'R' would have fitted policies and no permissions boundary"):
        role_plan.check_is_possible(current, desired)
