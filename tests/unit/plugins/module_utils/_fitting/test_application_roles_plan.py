"""Which application roles get the agent's policy, and which lose it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._fitting.application_roles_plan import (
    MAX_LISTED,
    POLICY,
    Attachments,
    Departure,
    State,
    describe_gains,
    find_roles_without_access,
    kept_warnings,
    plan_attachments,
    plan_detachments,
    refused_roles,
    select_all_detachable,
    select_detachable,
    to_dict,
    unseen_attachments,
    warnings,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import ATTACHED_TAG, WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import AccountPrincipal

ACCOUNT = "123456789012"
ARN = f"arn:aws:iam::aws:policy/{POLICY}"
ADMIN = "arn:aws:iam::aws:policy/CloudWatchAgentAdminPolicy"
OTHER = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/Limit"
EC2 = "ec2.amazonaws.com"
TAGS = {ATTACHED_TAG: POLICY}


def trust(*principals: dict[str, Any] | str, effect: str = "Allow") -> dict[str, Any]:
    statements = [{"Effect": effect, "Principal": each, "Action": "sts:AssumeRole"} for each in principals]
    return {"Version": "2012-10-17", "Statement": statements}


def role_of(name: str = "Shop", path: str = "/", **more: Any) -> AccountPrincipal:
    arn = f"arn:aws:iam::{ACCOUNT}:role{path}{name}"
    trusting = trust({"Service": EC2})
    return replace(AccountPrincipal("role", name, arn, path=path, trust=trusting, profiles=frozenset({name})), **more)


def state_of(*roles: AccountPrincipal, **more: Any) -> State:
    return State({role.name: role for role in roles}, **more)


def desired(*allowed: str, used: str = "Shop", **more: Any) -> Attachments:
    return Attachments(frozenset(allowed), {used: ["i-1"]}, **more)


def allow(*actions: str, resource: str = "*") -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": resource}]}


@pytest.mark.parametrize("seen", range(3))
def test_the_steps_that_are_not_visible_yet_are_known_without_the_boundary(seen):
    current = state_of(role_of(boundary=BOUNDARY), documents={BOUNDARY: allow("*")})
    plan = plan_attachments(current, desired("Shop"))
    tagged = role_of(boundary=BOUNDARY, tags=TAGS)
    shown = [State({}), state_of(tagged), state_of(replace(tagged, policies=frozenset({ARN})))][seen]
    assert unseen_attachments(plan, shown, desired("Shop")) == plan.summaries[seen:]


@pytest.mark.parametrize("path", ["/", "/team/shop/"])
def test_a_role_is_tagged_before_it_gets_the_policy(path):
    plan = plan_attachments(state_of(role_of(path=path)), desired("Shop"))
    assert plan.summaries == ["tag role 'Shop' with cwagent:attached-policy", f"attach {POLICY} to role 'Shop'"]
    assert [(step.action, step.arguments["role_name"]) for step in plan.all_steps] == [
        ("iam:TagRole", "Shop"),
        ("iam:AttachRolePolicy", "Shop"),
    ]


@pytest.mark.parametrize(("is_listed", "is_used", "has_tag", "has_policy"), list(product([True, False], repeat=4)))
def test_only_a_listed_role_that_is_used_and_lacks_the_policy_is_changed(is_listed, is_used, has_tag, has_policy):
    """A policy that was attached without the tag belongs to somebody else, so the role is not tagged."""
    role = role_of(tags=TAGS if has_tag else {}, policies=frozenset({ARN} if has_policy else {}))
    wanted = desired(*["Shop"] * is_listed, used="Shop" if is_used else "Another")
    plan = plan_attachments(state_of(role), wanted)
    actions = [step.action for step in plan.all_steps]
    gets_it = is_listed and is_used and not has_policy
    assert actions == (["iam:TagRole"] * (not has_tag) + ["iam:AttachRolePolicy"]) * gets_it
    again = plan_attachments(plan.planned, wanted)
    assert (again.all_steps, again.errors) == ([], {})


def test_a_role_that_does_not_get_the_policy_loses_only_the_tag():
    step = plan_attachments(state_of(role_of()), desired("Shop")).all_steps[-1].context
    assert (step.action, step.arguments) == ("iam:UntagRole", {"role_name": "Shop", "tag_keys": [ATTACHED_TAG]})


FITTED = [f"arn:aws:iam::{ACCOUNT}:policy/cwagent/CloudWatchAgentFittedServerPolicy{each}" for each in ("", "-2")]
ALL = [ARN, *FITTED]
NAMES = {arn: arn.rpartition("/")[2] for arn in ALL}


def subsets(arns: list[str]) -> list[frozenset[str]]:
    return [frozenset(each) for n in range(len(arns) + 1) for each in combinations(arns, n)]


def tag_of(arns: frozenset[str]) -> dict[str, str]:
    words = {**NAMES, FITTED[1]: "-2"}
    return {ATTACHED_TAG: " ".join(words[arn] for arn in (*FITTED, ARN) if arn in arns)} if arns else {}


def take(role: AccountPrincipal, step: Any) -> AccountPrincipal:
    """The role after a step."""
    arguments = step.arguments
    if step.action == "iam:TagRole":
        return replace(role, tags={**role.tags, **arguments["tags"]})
    if step.action == "iam:UntagRole":
        return replace(role, tags={key: text for key, text in role.tags.items() if key not in arguments["tag_keys"]})
    one = {arguments["policy_arn"]}
    return replace(role, policies=role.policies | one if step.action == "iam:AttachRolePolicy" else role.policies - one)


@pytest.mark.parametrize("needed", [[], FITTED[:1], FITTED], ids=["aws", "fitted", "two fitted"])
@pytest.mark.parametrize("has_room", [True, False], ids=["room", "no room"])
def test_a_role_changes_its_policies_without_a_moment_without_permission(needed, has_room):
    """From each state, which an interrupted run can leave. The policies of others stay, and the tag names the rest."""
    for attached, tagged in product(subsets(ALL), repeat=2):
        others, target = attached - tagged, frozenset(needed or [ARN])
        further = frozenset(f"{OTHER}{number}" for number in range(5 - len(others | target)))
        role = role_of(policies=attached | further, tags={"team": "shop", **tag_of(tagged)})
        quota = 10 if has_room else max(5, len(role.policies))
        wanted = desired("Shop", access_policies=frozenset(needed))
        plan = plan_attachments(state_of(role, max_policies=quota), wanted)
        is_possible = len(further | others | target | (tagged & attached & {*FITTED} if needed else set())) <= quota
        assert bool(plan.errors) is not is_possible
        for step in plan.all_steps:
            before, role = role, take(role, step)
            assert role.policies - further - others <= role.tagged  # an interrupted run leaves nothing without the tag
            assert len(role.policies) <= quota
            assert attached <= role.policies or target <= role.policies or not has_room
            if step.context:
                assert take(before, step.context).tagged & before.policies == before.own
        if is_possible:
            own = (target - others) | (tagged & attached & {*FITTED} if needed else set())
            assert role.policies == further | others | target | own
            assert role.tags == {"team": "shop", **tag_of(own)}
            assert role == plan.planned.roles["Shop"]
        assert not plan_attachments(replace(plan.planned, max_policies=quota), wanted).has_changes


@pytest.mark.parametrize("tagged", subsets(ALL), ids=len)
def test_exactly_the_policies_that_the_tag_names_are_detached(tagged):
    """A forged tag costs the role at most these policies. The tag is removed last."""
    for attached in subsets(ALL):
        role = role_of(policies=attached | {OTHER}, tags={"team": "shop", **tag_of(tagged)})
        plan = plan_detachments(state_of(role), ["Shop"])
        assert [step.action for step in plan.all_steps][-1:] == ["iam:UntagRole"] * bool(tagged)
        for step in plan.all_steps:
            role = take(role, step)
        assert (role.policies, role.tags) == ((attached - tagged) | {OTHER}, {"team": "shop"})
        assert role == plan.planned.roles["Shop"]
        assert not plan_detachments(plan.planned, ["Shop"]).has_changes


def test_several_policies_need_room_for_all():
    role = role_of(policies=frozenset(f"{OTHER}{number}" for number in range(9)))
    state, wanted = state_of(role), desired("Shop", access_policies=frozenset(FITTED))
    [refused] = refused_roles(state, wanted).values()
    assert refused.startswith(
        f"{NAMES[FITTED[0]]}, {NAMES[FITTED[1]]} was not attached to role 'Shop': it has 9 managed policies, and the "
        "quota of the account is 10. Detach one"
    )
    assert [*map(str, plan_attachments(state, wanted).errors.values())] == [refused]


def test_aws_policy_of_others_gives_a_role_access_under_fitted_policies():
    role, server = role_of(policies=frozenset({ARN})), role_of("Server", policies=frozenset({ARN}))
    wanted = desired("Batch", access_policies=frozenset(FITTED), server_profile="Server")
    assert find_roles_without_access(state_of(role, server), wanted) == {}
    assert warnings(state_of(role, server), wanted) == []
    listed = replace(wanted, allowed=frozenset({"Shop"}))
    assert describe_gains(state_of(replace(role, trust=trust("*", {"Service": EC2}))), listed) == []
    assert plan_attachments(state_of(role), listed).has_changes


def test_a_profile_without_a_role_is_left_alone_with_a_warning():
    state = state_of(role_of(profiles=frozenset()))
    assert not plan_attachments(state, desired("Shop")).has_changes
    assert warnings(state, desired("Shop")) == ["instances i-1 keep instance profile 'Shop', which has no role"]


@pytest.mark.parametrize(("allowed", "lacks"), [(["Shop"], "AmazonS3ReadOnlyAccess"), ([], "AmazonS3ReadOnlyAccess, ")])
def test_policies_that_a_role_lacks_are_a_warning(allowed, lacks):
    """As without attach, whether or not the agent's own policy is attached."""
    server = role_of("Server", policies=frozenset({ARN, OTHER}))
    [warning] = warnings(state_of(role_of(), server), desired(*allowed, server_profile="Server"))
    assert f"instances i-1 keep role 'Shop', which lacks {lacks}" in warning
    assert (POLICY in warning) is not bool(allowed)


def test_a_role_that_would_be_refused_is_not_one_to_add():
    assert find_roles_without_access(state_of(role_of(policies=frozenset({ADMIN}))), desired("Batch")) == {}


def test_a_role_without_an_instance_is_named_with_the_command():
    [warning] = kept_warnings(state_of(role_of(tags=TAGS), unused=frozenset({"Shop"})))
    assert f"aws iam detach-role-policy --role-name Shop --policy-arn {ARN}; aws iam untag-role" in warning


def test_many_instances_of_several_profiles_with_one_role_take_one_plan():
    role = role_of(profiles=frozenset({"A", "B"}))
    wanted = Attachments(frozenset({"Shop"}), {"A": ["i-1", "i-2"], "B": ["i-3"]})
    assert len(plan_attachments(state_of(role), wanted).steps) == 1


FULL = frozenset(f"arn:aws:iam::{ACCOUNT}:policy/{number}" for number in range(10))
NOT_ASSUMED = "EC2 is not allowed to assume it"
[ONE_STATEMENT], DENIAL = trust({"Service": EC2})["Statement"], trust({"Service": EC2}, effect="Deny")
REFUSED = {
    "service-linked": (role_of(path="/aws-service-role/x.amazonaws.com/"), "only AWS can change a role with the path"),
    "single sign-on": (role_of(path="/aws-reserved/sso.amazonaws.com/"), "only AWS can change a role with the path"),
    "admin window": (role_of(inline={WINDOW_POLICY: {}}), "it is an admin role"),
    "admin policy": (role_of(policies=frozenset({ADMIN})), "it is an admin role"),
    "fitted admin policy": (role_of(policies=frozenset({FITTED[0].replace("Server", "Admin")})), "it is an admin role"),
    "another service": (role_of(trust=trust({"Service": "lambda.amazonaws.com"})), NOT_ASSUMED),
    "another action": (role_of(trust={"Statement": {**ONE_STATEMENT, "Action": "sts:TagSession"}}), NOT_ASSUMED),
    "denied": (role_of(trust=DENIAL), NOT_ASSUMED),
    "denied as well": (role_of(trust={"Statement": [ONE_STATEMENT, *DENIAL["Statement"]]}), NOT_ASSUMED),
    "no statement": (role_of(trust={}), NOT_ASSUMED),
    "all tags": (role_of(tags={f"k{number}": "" for number in range(50)}), "it has 50 tags"),
    "full": (role_of(policies=FULL), "it has 10 managed policies, and the quota of the account is 10"),
    "boundary": (role_of(boundary=BOUNDARY), "its permissions boundary Limit blocks logs:PutLogEvents."),
}


@pytest.mark.parametrize(("role", "reason"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("fails", [True, False])
def test_a_role_that_must_not_get_the_policy_does_not_stop_the_others(role, reason, fails):
    other = role_of("Batch")
    state = state_of(role, other, documents={BOUNDARY: allow("cloudwatch:PutMetricData")})
    wanted = Attachments(frozenset({"Shop", "Batch"}), {"Shop": ["i-1"], "Batch": ["i-2"]}, "", fails)
    plan = plan_attachments(state, wanted)
    assert list(plan.steps) == ["Batch"]
    [message] = refused_roles(state, wanted).values()
    assert message.startswith(f"{POLICY} was not attached to role 'Shop': {reason}")
    assert {name: str(error) for name, error in plan.errors.items()} == ({"Shop": message} if fails else {})
    assert (message in warnings(state, wanted)) is not fails


SOME_LOGS = allow("cloudwatch:*", "logs:*", resource="arn:aws:logs:*:*:log-group:app*")
BUT_LOGS = [
    {"Statement": [*allow("*")["Statement"], {"Effect": "Deny", "Action": "logs:*", "Resource": "*"}]},
    {"Statement": {"Effect": "Allow", "NotAction": "logs:*", "Resource": "*"}},
]
ALLOWED = {
    "China": role_of(arn=f"arn:aws-cn:iam::{ACCOUNT}:role/Shop", trust=trust({"Service": "ec2.amazonaws.com.cn"})),
    "several services": role_of(trust=trust({"Service": [EC2, "lambda.amazonaws.com"]})),
    "one statement": role_of(trust={"Statement": ONE_STATEMENT}),
    "raised quota": role_of(policies=FULL),
    "wide boundary": role_of(boundary=BOUNDARY),
}


@pytest.mark.parametrize("role", ALLOWED.values(), ids=ALLOWED)
@pytest.mark.parametrize("document", [allow("*"), SOME_LOGS], ids=["all", "some resources"])
def test_a_role_that_may_get_the_policy_gets_it(role, document):
    state = state_of(role, max_policies=20, documents={BOUNDARY: document})
    plan = plan_attachments(state, desired("Shop"))
    assert plan.errors == {}
    assert plan.planned.roles["Shop"].own


@pytest.mark.parametrize("document", BUT_LOGS, ids=["denied", "everything else"])
def test_a_boundary_that_allows_no_logs_blocks_them(document):
    state = state_of(role_of(boundary=BOUNDARY), documents={BOUNDARY: document})
    [refused] = refused_roles(state, desired("Shop")).values()
    assert "blocks logs:PutLogEvents." in refused


def test_nothing_is_changed_while_the_role_of_an_instance_is_not_known():
    state = state_of(role_of(tags=TAGS), unused=frozenset({"Shop"}), unknown=frozenset({"i-2", "i-1"}))
    [warning] = kept_warnings(state)
    assert warning.endswith("i-1, i-2")


def test_an_unreadable_boundary_is_a_warning():
    state = state_of(role_of(boundary=BOUNDARY), documents={BOUNDARY: None})
    assert plan_attachments(state, desired("Shop")).errors == {}
    [warning] = warnings(state, desired("Shop"))
    assert warning.startswith(f"permissions boundary {BOUNDARY} of role 'Shop' could not be read")


@pytest.mark.parametrize("boundary", [None, BOUNDARY])
@pytest.mark.parametrize("policies", [[], FITTED], ids=["aws", "fitted"])
def test_fitted_policies_on_a_role_without_a_boundary_are_a_warning(policies, boundary):
    state = replace(state_of(role_of(boundary=boundary)), documents={BOUNDARY: None} if boundary else {})
    found = warnings(state, desired("Shop", access_policies=frozenset(policies)))
    assert any("has no permissions boundary" in each for each in found) == (bool(policies) and not boundary)


def test_the_warning_about_an_unlisted_role_has_the_line_to_add():
    state = state_of(role_of())
    assert find_roles_without_access(state, desired("Batch")) == {"Shop": ["i-1"]}
    [warning] = warnings(state, desired("Batch"))
    assert f"instances i-1 keep role 'Shop', which lacks {POLICY}. To attach" in warning
    assert "add 'Shop' to attach_to_roles" in warning


PRINCIPALS: list[Any] = [{"Service": EC2}, {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}, "*"]


@pytest.mark.parametrize("others", [(), ("i-9 in eu-central-1",), tuple(f"i-{n}" for n in range(MAX_LISTED + 2))])
@pytest.mark.parametrize("principals", [PRINCIPALS[:1], PRINCIPALS[:2], PRINCIPALS])
def test_everyone_who_gains_the_permissions_is_listed(others, principals):
    state = state_of(role_of(trust=trust(*principals)), others={"Shop": others})
    found = describe_gains(state, desired("Shop"))
    assert len(found) == (len(others) > 0) + (len(principals) > 1)
    assert all(f"attaching {POLICY} to role 'Shop' also grants it to" in each for each in found)
    assert ("and 2 more" in " ".join(found)) is (len(others) > MAX_LISTED)
    assert (":root" in " ".join(found)) is (len(principals) > 1)


def test_nobody_gains_where_nothing_is_attached():
    state = state_of(role_of(policies=frozenset({ARN}), trust=trust(*PRINCIPALS)), others={"Shop": ["i-9"]})
    assert describe_gains(state, desired("Shop")) == []


@pytest.mark.parametrize("value", ["AdministratorAccess", ADMIN, "", "CloudWatchAgentFittedAdminPolicy"])
def test_a_tag_with_another_value_means_nothing(value):
    role = role_of(tags={ATTACHED_TAG: value}, policies=frozenset({ARN}))
    assert not plan_detachments(state_of(role), ["Shop"]).has_changes


def test_roles_are_shown_with_their_policies_and_tags():
    state = state_of(role_of(policies=frozenset({OTHER}), tags={"team": "shop"}))
    assert to_dict(state, ["Shop", "Gone"]) == {
        "roles": {"Shop": {"managed_policies": [OTHER], "tags": {"team": "shop"}}}
    }


LEAVING, REMAINING, ELSE, LOST = "i-leaving", "i-remaining", "i-other", "i-lost"


def outcome(holders: tuple[str, ...], *, named: bool, unused: bool, lost: bool) -> str:
    """The fate of a tagged role that these instances have."""
    if not holders:
        return "detached" if unused else "reported" if lost else "left"
    if LEAVING not in holders or REMAINING in holders:
        return "left"
    return "kept" if ELSE in holders and not named else "detached"


@pytest.mark.parametrize("holders", [each for n in range(4) for each in combinations((LEAVING, REMAINING, ELSE), n)])
def test_a_role_loses_the_policy_only_when_the_instances_that_leave_are_the_last_ones(holders: tuple[str, ...]) -> None:
    profiles = {name: {"Shop"} if name in holders else {"Blog"} for name in (LEAVING, REMAINING, ELSE)}
    foreign = role_of("Foreign")  # has no tag, so it is left whatever has it
    state = state_of(role_of(tags=TAGS), replace(foreign, profiles=frozenset({"Shop"})))
    for named, unused, lost in product((False, True), repeat=3):
        leaving = frozenset({LEAVING, LOST} if lost else {LEAVING})
        departure = Departure(leaving, frozenset({REMAINING}), frozenset({"Shop"} if named else ()), unused=unused)
        found = select_detachable(state, departure, profiles)
        becomes = outcome(holders, named=named, unused=unused, lost=lost)
        assert found.detachable == ({"Shop"} if becomes == "detached" else set())
        assert found.unused == ({"Shop"} if becomes == "reported" else set())
        # Only those that stay are listed, so that the user can judge whether they need the policy.
        assert found.others == ({"Shop": [ELSE]} if becomes == "kept" else {})


def test_without_a_departure_every_tagged_role_loses_the_policy() -> None:
    assert select_all_detachable(state_of(role_of(tags=TAGS), role_of("Foreign"))).detachable == {"Shop"}
