"""The steps for the fitted policies of an account, as tables. ``test_interleavings.py`` plays them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.covered_versions import Known
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import (
    MAX_POLICY,
    Statement,
    grants_of,
    join,
    size_of,
    take_apart,
    to_document,
)
from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_plan import (
    Covered,
    DesiredPolicies,
    FittedPolicy,
    PolicyVersion,
    State,
    arns_for,
    blockers,
    check_is_ours,
    digest_of,
    foreign_warnings,
    open_storing,
    plan,
    plan_absent,
    read_storing,
    remaining,
    storing_tags,
    to_diff,
    wide_reasons,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
SERVER, ADMIN = "CloudWatchAgentFittedServerPolicy", "CloudWatchAgentFittedAdminPolicy"
OURS = {"cwagent:managed": "created"}
ARN = f"arn:aws:iam::123456789012:policy/cwagent/{SERVER}"
GROUP = "arn:aws:logs:eu-central-1:123456789012:log-group:"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/AmazonCloudWatch-"
A, B, C = "abc"
DIGEST = digest_of("AmazonCloudWatch-linux", "eu-central-1", "{}")
STORES = frozenset([DIGEST])


def logs(*groups: str) -> list[Statement]:
    names = tuple(f"{GROUP}{each}:*" for each in groups)
    return take_apart([Statement("sending log events", ("logs:PutLogEvents",), (), names)]) if groups else []


def holding(*statements: Statement, tags: Mapping[str, str] = OURS) -> State:
    """An account whose servers have these statements."""
    return state(policy(SERVER, PolicyVersion("v1", True, to_document(join(statements)), ARN), tags=tags))


def storing(name: str) -> list[Statement]:
    """The statement of the policy for admin principals."""
    return [Statement("StoringTheConfiguration", ("ssm:PutParameter",), (), (f"{PARAMETER}{name}",))]


def version(number: int, *groups: str, is_default: bool = True) -> PolicyVersion:
    return PolicyVersion(f"v{number}", is_default, to_document(join(logs(*groups))), ARN)


def policy(name: str, *versions: PolicyVersion, tags: Mapping[str, str] = OURS, **more: Any) -> FittedPolicy:
    return FittedPolicy(name, DesiredPolicies("aws", "123456789012").arn(name), tags, versions, **more)


def state(*policies: FittedPolicy) -> State:
    return State({each.name: each for each in policies}, NOW)


def desired(server: Sequence[Statement], admin: Sequence[Statement] = (), **more: Any) -> DesiredPolicies:
    return DesiredPolicies("aws", "123456789012", {"server": server, "admin": admin}, run="controller", **more)


def calls(current: State, wanted: DesiredPolicies) -> list[str]:
    """The calls of a plan, each with the number of the version or the end of the policy's name."""
    return [
        " ".join([each.action.removeprefix("iam:"), *filter(None, [each.arguments.get("version_id", "")])])
        for each in plan(current, wanted).all_steps
    ]


def allowed(current: State, wanted: DesiredPolicies) -> dict[str, set[str]]:
    """By policy, the log groups that it allows after a plan."""
    planned = plan(current, wanted).planned.policies
    return {
        name: {
            each.removeprefix(GROUP).removeprefix(PARAMETER).removesuffix(":*")
            for _action, _condition, each in grants_of(found.statements)
        }
        for name, found in planned.items()
    }


def warnings(current: State, wanted: DesiredPolicies) -> list[str]:
    return foreign_warnings(plan(current, wanted), wanted)


WIDEN = ["CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion v1"]


@pytest.mark.parametrize(
    ("current", "needed", "steps", "groups"),
    [
        ([], A, ["CreatePolicy"], A),
        ([version(1, A)], A, [], A),
        ([version(1, A, B)], A, [], A + B),
        ([version(1, A)], B, WIDEN, A + B),
        # Another run is at work. A run that stores nothing new leaves its version alone.
        ([version(1, A), version(2, A, is_default=False)], A, [], A),
        (
            [version(1, A), version(2, B, is_default=False)],
            C,
            ["DeletePolicyVersion v2", *WIDEN],
            A + B + C,
        ),
        # Another run has created the version that this one needs.
        (
            [version(1, A), version(2, A, B, is_default=False)],
            B,
            ["SetDefaultPolicyVersion v2", "DeletePolicyVersion v1"],
            A + B,
        ),
        (
            [version(5, A), *(version(number, A, is_default=False) for number in range(1, 5))],
            B,
            [*(f"DeletePolicyVersion v{number}" for number in range(1, 5)), *WIDEN[:2], "DeletePolicyVersion v5"],
            A + B,
        ),
    ],
)
def test_storing_widens(current: list[PolicyVersion], needed: str, steps: list[str], groups: str) -> None:
    before = state(policy(SERVER, *current)) if current else state()
    wanted = desired(logs(*needed))
    assert calls(before, wanted) == steps
    assert allowed(before, wanted) == {SERVER: {*groups}}
    assert plan(plan(before, wanted).planned, wanted).all_steps == []


NARROW = ["CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion v1"]


@pytest.mark.parametrize(
    ("current", "needed", "steps", "groups", "reason"),
    [
        ([version(1, A)], A, [], A, ""),
        ([version(1, A, B)], A, NARROW, A, ""),
        ([version(1, A, B)], C, NARROW, A + B + C, "lacked something"),
        (
            [version(1, A, B), version(2, A, is_default=False)],
            A,
            ["DeletePolicyVersion v2"],
            A + B,
            "has several versions",
        ),
    ],
)
def test_narrowing_removes_everything_else_unless_another_run_is_at_work(
    current: list[PolicyVersion], needed: str, steps: list[str], groups: str, reason: str
) -> None:
    before, wanted = state(policy(SERVER, *current)), desired(logs(*needed), narrow=True)
    assert calls(before, wanted) == steps
    assert allowed(before, wanted) == {SERVER: {*groups}}
    assert [reason in each for each in wide_reasons(before, wanted)] == ([True] if reason else [])


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_statements_that_are_never_written_go_with_a_warning(effect: str) -> None:
    other = {"Effect": effect, "Action": "iam:*", "Resource": "*"}
    document = to_document(logs(A))
    edited = PolicyVersion("v1", True, {**document, "Statement": [*document["Statement"], other]}, ARN)
    assert calls(state(policy(SERVER, edited)), desired(logs(A))) == WIDEN
    words = "iam:* on *" if effect == "Allow" else "a statement without a Sid"
    assert warnings(state(policy(SERVER, edited)), desired(logs(A))) == [
        f"the new version of policy '{SERVER}' leaves out something that no stored configuration needs: {words}"
    ]
    rolled_back = state(policy(SERVER, version(2, A), replace(edited, is_default=False)))
    assert allowed(rolled_back, desired(logs(B))) == {SERVER: {A, B}}
    assert warnings(rolled_back, desired(logs(B))) == []


READ = "arn:aws:ssm:{}:123456789012:parameter/{}"
LINUX, HERE, THERE = "AmazonCloudWatch-linux", "eu-central-1", "us-east-1"


def reading(*places: tuple[str, str]) -> list[Statement]:
    arns = [READ.format(*each) + selector for each in places for selector in ("", ":*")]
    return take_apart([Statement("reading", ("ssm:GetParameter",), (), tuple(arns))])


ROLE = "arn:aws:iam::210987654321:role/Central"
ASSUMING = [Statement("assuming a role", ("sts:AssumeRole",), (), (ROLE,))]


def known(*statements: Statement, regions: Sequence[str] = ("eu-central-1",), **more: Any) -> dict[str, Any]:
    """The knowledge of a run that has read all texts, which need these statements."""
    more = {"known": Known(grants_of(statements)), **more}
    return {"covered": Covered(frozenset({(HERE, LINUX)}), frozenset(regions), **more)}


@pytest.mark.parametrize(
    ("current", "options", "kept", "has_role"),
    [
        # Everything was read.
        (logs(A, B), {}, {A}, False),
        (logs(A), {}, {A}, False),
        ([*logs(A, B), *ASSUMING], {}, {A}, False),
        # It is needed, even if nothing else is known.
        (logs(A, B), known(), {A}, False),
        # Another version of a stored configuration needs it.
        (logs(A, B), known(*logs(A, B)), {A, B}, False),
        ([*logs(A), *ASSUMING], known(*logs(A), *ASSUMING), {A}, True),
        # A parameter that was deleted, or left out, needs anything but a role.
        ([*logs(A, B), *ASSUMING, "deleted"], {}, {A, B}, False),
        (
            [*logs(A, B), *ASSUMING, "deleted"],
            known(*logs(A), ignored=frozenset({"AmazonCloudWatch-x"})),
            {A, B},
            False,
        ),
        # So does a version whose needs are not known.
        ([*logs(A, B), *ASSUMING], known(known=Known(grants_of(logs(A)), is_complete=False)), {A, B}, False),
        # A parameter in a region that was not read can need anything.
        ([*logs(A, B), *ASSUMING, "elsewhere"], {}, {A, B}, True),
        ([*logs(A, B), *ASSUMING, "elsewhere"], known(*logs(A), has_all_regions=True), {A, B}, False),
        (
            [*logs(A, B), *ASSUMING, "elsewhere"],
            known(*logs(A), ignored=frozenset({"us-east-1:AmazonCloudWatch-x"})),
            {A, B},
            False,
        ),
        # Nothing was read.
        ([*logs(A, B), *ASSUMING], known(known=None), {A, B}, True),
    ],
)
def test_only_what_a_text_can_need_stays(
    current: list[Any], options: dict[str, Any], kept: set[str], has_role: bool
) -> None:
    places = {"deleted": (HERE, "AmazonCloudWatch-x"), "elsewhere": (THERE, "AmazonCloudWatch-x")}
    statements = [one for each in current for one in (reading(places[each]) if isinstance(each, str) else [each])]
    before = holding(*statements)
    wanted = desired(logs(A), **{**known(*logs(A)), **options})
    [found] = plan(before, wanted).planned.policies.values()
    names = {name for _action, _condition, name in grants_of(found.statements)}
    assert {each for each in (A, B) if f"{GROUP}{each}:*" in names} == kept
    assert (ROLE in names) == has_role
    lost = grants_of(statements) - grants_of(found.statements)
    assert bool(warnings(before, wanted)) == bool(lost)
    assert all(name in warnings(before, wanted)[0] for _action, _condition, name in lost)
    assert plan(plan(before, wanted).planned, wanted).all_steps == []


@pytest.mark.parametrize(
    ("digests", "age", "is_kept"),
    [
        ([DIGEST], timedelta(minutes=1), True),
        ([DIGEST], timedelta(hours=25), False),
        # This run is about to store the same text, whose needs it knows.
        (["other"], timedelta(minutes=1), False),
    ],
)
def test_what_another_run_is_about_to_store_stays(digests: list[str], age: timedelta, is_kept: bool) -> None:
    tags = {**OURS, **storing_tags("another controller", digests, NOW - age)}
    before = holding(*logs(A, B), *ASSUMING, tags=tags)
    wanted = desired(logs(A), storing=frozenset({"other"}), **known(*logs(A)))
    [found] = plan(before, wanted).planned.policies.values()
    assert (grants_of(found.statements) == grants_of([*logs(A, B), *ASSUMING])) == is_kept
    if not is_kept:
        assert grants_of(found.statements) == grants_of(logs(A))


def test_a_run_that_removes_something_relies_on_the_tags_of_other_runs() -> None:
    storing_too = desired(logs(A), storing=STORES, **known(*logs(A)))
    [_tag, _create, step, _delete] = plan(holding(*logs(A, B)), storing_too).all_steps
    assert step.context.record == ARN
    assert [*step.context.tags] == [*storing_tags("controller", STORES, NOW)]
    [_create, step, _delete] = plan(holding(*logs(A, B)), desired(logs(A), **known(*logs(A)))).all_steps
    assert (step.context.record, step.context.tags) == (ARN, {})
    [_create, step, _delete] = plan(holding(*logs(A)), desired(logs(A, B), **known(*logs(A, B)))).all_steps
    assert (step.context.record, step.context.tags) == ("", None)


def test_a_policy_of_which_nothing_is_ours_keeps_something_that_is_needed() -> None:
    before = state(policy(SERVER, version(1, A)), policy(f"{SERVER}-2", version(1, B)))
    assert allowed(before, desired(logs(A), **known(*logs(A)))) == {SERVER: {A}, f"{SERVER}-2": {A}}


def test_a_version_that_somebody_has_added_is_never_taken_over() -> None:
    added = PolicyVersion("v2", False, to_document(join([*logs(A, B), *ASSUMING])), ARN)
    before = state(policy(SERVER, version(1, A), added))
    found = plan(before, desired(logs(A, C), **known(*logs(A, C)))).planned.policies[SERVER]
    assert grants_of(found.statements) == grants_of(logs(A, C))


@pytest.mark.parametrize("action", ["ssm:GetParameter", "kms:Decrypt"])
def test_a_parameter_of_others_is_no_reason_against_narrowing(action: str) -> None:
    arn = READ.format(HERE, "prod/db/password")
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": [arn, f"{arn}:*"]}
    if action == "kms:Decrypt":
        key = {"kms:EncryptionContext:PARAMETER_ARN": arn}
        statement |= {"Resource": "*", "Condition": {"StringLike": key}}
    document = to_document(join([*reading((HERE, LINUX)), *logs(A, B)]))
    edited = PolicyVersion("v1", True, {**document, "Statement": [*document["Statement"], statement]}, ARN)
    needed = [*reading((HERE, LINUX)), *logs(A)]
    wanted = desired(needed, narrow=True, **known(*needed))
    assert wide_reasons(state(policy(SERVER, edited)), wanted) == []
    found = plan(state(policy(SERVER, edited)), wanted).planned.policies[SERVER]
    assert grants_of(found.statements) == grants_of(needed)
    assert found.default.foreign == []


@pytest.mark.parametrize("has_all_regions", [True, False])
@pytest.mark.parametrize(
    ("allowed_places", "parameters", "ignored", "reasons"),
    [
        ([(HERE, LINUX)], [(HERE, LINUX)], [], {}),
        # A region that this run does not read.
        ([(HERE, LINUX), (THERE, LINUX)], [(HERE, LINUX)], [], f"{LINUX} in {THERE}, which this run does not read"),
        ([(HERE, LINUX), (THERE, LINUX)], [(HERE, LINUX)], [f"{THERE}:{LINUX}"], {}),
        ([(HERE, LINUX), (THERE, LINUX)], [(HERE, LINUX)], [f"{HERE}:{LINUX}"], "list us-east-1:AmazonCloudWatch-l"),
        ([(HERE, LINUX), (THERE, LINUX)], [(HERE, LINUX), (THERE, LINUX)], [], {}),
        # A part, or a parameter of another inventory, that was deleted.
        ([(HERE, LINUX), (HERE, f"{LINUX}-2")], [(HERE, LINUX)], [], f"run {LINUX}-2 in {HERE}, which no longer"),
        ([(HERE, LINUX), (HERE, f"{LINUX}-2")], [(HERE, LINUX)], [f"{LINUX}-2"], {}),
        ([("*", LINUX)], [(HERE, LINUX)], [], {True: "", False: f"read {LINUX} in any region, and this run does not"}),
        ([("*", LINUX)], [(HERE, LINUX)], [f"*:{LINUX}"], {}),
        ([("*", LINUX)], [], [], {True: f"run {LINUX} in {HERE}", False: f"{LINUX} in any region"}),
    ],
)
def test_nothing_is_narrowed_while_agents_may_run_a_parameter_that_is_not_covered(
    allowed_places: list[tuple[str, str]],
    parameters: list[tuple[str, str]],
    ignored: list[str],
    reasons: str | dict[bool, str],
    has_all_regions: bool,
) -> None:
    before = holding(*reading(*allowed_places), *logs(A, B))
    covered = Covered(frozenset(parameters), frozenset([HERE]), frozenset(ignored), has_all_regions)
    needed = [*reading(*parameters), *logs(A)]
    wanted = desired([each for each in needed if each.names[0] in str(before)], narrow=True, covered=covered)
    reason = reasons if isinstance(reasons, str) else reasons.get(has_all_regions, "")
    found = wide_reasons(before, wanted)
    assert [reason in each for each in found] == ([True] if reason else [])
    assert (B in allowed(before, wanted)[SERVER]) == bool(reason)


def test_both_policies_are_created_with_their_tags() -> None:
    made = plan(state(), desired(logs(A), logs(B), tags={"team": "web"}))
    assert [(each.arguments["policy_name"], each.arguments["path"]) for each in made.all_steps] == [
        (SERVER, "/cwagent/"),
        (ADMIN, "/cwagent/"),
    ]
    assert all(each.arguments["tags"] == {**OURS, "team": "web"} for each in made.all_steps)
    arn = "arn:aws:iam::123456789012:policy/cwagent/"
    assert [arns_for(each, made.planned) for each in ("server", "admin")] == [[arn + SERVER], [arn + ADMIN]]
    assert [*to_diff(made.planned, None)] == [SERVER, ADMIN]


def test_only_tags_that_differ_are_set() -> None:
    before = state(policy(SERVER, version(1, A), tags={**OURS, "team": "web", "stage": "test"}))
    made = plan(before, desired(logs(A), tags={"team": "web", "stage": "prod"}))
    assert [each.arguments["tags"] for each in made.all_steps] == [{"stage": "prod"}]
    assert made.planned.policies[SERVER].tags == {**OURS, "team": "web", "stage": "prod"}


# -- Several policies --

LONG = [f"{'x' * 990}{number}" for number in range(12)]


def test_statements_go_into_the_first_policy_with_room_and_never_move() -> None:
    first = plan(state(), desired(logs(*LONG[:8]))).planned
    assert [*first.policies] == [SERVER, f"{SERVER}-2"]
    assert all(size_of(join(each.statements)) <= MAX_POLICY for each in first.policies.values())
    second = plan(first, desired(logs(*LONG[4:])))
    places = {name: [*grants_of(each.statements)] for name, each in first.policies.items()}
    for name, grants in places.items():
        assert {*grants} <= grants_of(second.planned.policies[name].statements)
    narrowed = plan(second.planned, desired(logs(*LONG[7:]), narrow=True)).planned
    for name, each in narrowed.policies.items():
        assert each.statements
        assert grants_of(each.statements) <= grants_of(logs(*LONG[7:]))
        own = grants_of(second.planned.policies[name].statements)
        assert grants_of(each.statements) & own or name == SERVER


@pytest.mark.parametrize(
    ("current", "needed", "stores", "is_refused"),
    [
        ({}, LONG[:5], STORES, False),  # the servers still have AWS's policy
        ({}, LONG[:8], STORES, True),
        ({SERVER: LONG[:1]}, LONG[:5], STORES, False),
        ({SERVER: LONG[:5]}, LONG[:8], STORES, True),
        # Another inventory has attached the second policy to its servers only.
        ({SERVER: LONG[:5], f"{SERVER}-2": LONG[5:6]}, LONG[:6], STORES, True),
        ({SERVER: LONG[:5], f"{SERVER}-2": LONG[5:6]}, LONG[:8], frozenset(), False),
        ({ADMIN: [A]}, [A], STORES, True),
        ({SERVER: [A], ADMIN: [A]}, [A], STORES, False),
        # It has room for the name, and not for the comma.
        ({SERVER: [*LONG[:5], "y" * (MAX_POLICY - size_of(join(logs(*LONG[:5], ""))) - 3)]}, [C], STORES, True),
    ],
)
def test_storing_without_attaching_needs_a_single_policy_that_all_servers_have(
    current: dict[str, list[str]], needed: list[str], stores: frozenset[str], is_refused: bool
) -> None:
    before = state(*(policy(name, version(1, *groups)) for name, groups in current.items()))
    assert allowed(before, desired(logs(*needed), storing=stores))
    wanted = desired(logs(*needed), storing=stores, create=False)
    if is_refused:
        with pytest.raises(InvalidInput, match=r"several fitted policies, and can lack one\. .* cwagent\.iam\.site"):
            plan(before, wanted)
    else:
        assert allowed(before, wanted) == allowed(before, replace(wanted, create=True))


def test_without_policies_there_is_nothing_to_narrow() -> None:
    assert not plan(state(), desired(logs(A), narrow=True)).has_changes


def test_too_many_policies_are_refused() -> None:
    groups = [f"{'x' * 990}{number}" for number in range(60)]
    with pytest.raises(InvalidInput, match="more than 8 managed policies"):
        plan(state(), desired(logs(*groups)))


# -- Runs that store --


def test_a_run_that_stores_says_so_first_and_only_once() -> None:
    wanted = desired(logs(A), storing=frozenset([DIGEST]))
    before = state(policy(SERVER, version(1, A)))
    made = plan(before, wanted)
    assert [each.action for each in made.all_steps] == ["iam:TagPolicy"]
    assert plan(replace(made.planned, read_at=NOW + timedelta(hours=1)), wanted).all_steps == []
    later = replace(made.planned, read_at=NOW + timedelta(hours=13))
    assert [each.action for each in plan(later, wanted).all_steps] == ["iam:TagPolicy"]


def test_a_new_policy_has_the_tag_from_the_beginning() -> None:
    [step, _admin] = plan(state(), desired(logs(A), logs(B), storing=frozenset([DIGEST]))).all_steps
    assert [each.digests for each in read_storing(step.arguments["tags"])] == [frozenset([DIGEST])]


@pytest.mark.parametrize(
    ("age", "stored", "is_open"),
    [
        (timedelta(hours=1), [], True),
        (timedelta(hours=1), [timedelta(hours=2)], True),
        (timedelta(hours=1), [timedelta(minutes=50)], False),
        (timedelta(hours=25), [], False),
        (timedelta(minutes=-50), [], True),
        (timedelta(hours=-2), [], False),
    ],
)
def test_nothing_is_narrowed_until_the_run_has_stored(age: timedelta, stored: list[timedelta], is_open: bool) -> None:
    tags = {**OURS, **storing_tags("another controller", [DIGEST], NOW - age)}
    before = state(policy(SERVER, version(1, A, B), tags=tags))
    wanted = desired(logs(A), narrow=True, stored={DIGEST: [NOW - each for each in stored]})
    assert allowed(before, wanted) == {SERVER: {A, B} if is_open else {A}}
    assert len(wide_reasons(before, wanted)) == is_open


def test_two_runs_that_store_the_same_text_have_both_to_store_it() -> None:
    tags = {key: value for run in ("one", "two") for key, value in storing_tags(run, [DIGEST], NOW).items()}
    times = [NOW + timedelta(minutes=each) for each in (1, 2)]
    assert len(open_storing(tags, {DIGEST: times[:1]}, NOW)) == 2
    assert open_storing(tags, {DIGEST: times}, NOW) == []


@pytest.mark.parametrize(
    ("at", "done"), [(timedelta(hours=-2), {DIGEST: [NOW - timedelta(hours=1)]}), (timedelta(hours=2), {})]
)
def test_tags_of_runs_that_are_done_go_with_the_next_one(at: timedelta, done: dict[str, list[datetime]]) -> None:
    old = storing_tags("another controller", [DIGEST], NOW + at)
    before = state(policy(SERVER, version(1, A), tags={**OURS, **old}))
    assert plan(before, desired(logs(A), stored=done)).all_steps == []
    made = plan(before, desired(logs(A), stored=done, storing=frozenset(["other"])))
    assert [each.action for each in made.all_steps] == ["iam:UntagPolicy", "iam:TagPolicy"]
    assert not old.keys() & made.planned.policies[SERVER].tags.keys()


def test_many_parameters_need_few_tags() -> None:
    digests = [digest_of(f"AmazonCloudWatch-{number}", "eu-central-1", "{}") for number in range(100)]
    tags = storing_tags("controller", digests, NOW)
    assert len(tags) == 3
    assert max(map(len, tags.values())) <= 256
    assert {digest for each in read_storing(tags) for digest in each.digests} == {*digests}


@pytest.mark.parametrize(("others", "is_refused"), [(47, False), (48, True)])
def test_more_tags_than_iam_allows_are_refused(others: int, is_refused: bool) -> None:
    before = state(policy(SERVER, version(1, A), tags={**OURS, **{f"team-{each}": "web" for each in range(others)}}))
    wanted = desired(logs(A), storing=STORES, tags={"stage": "prod"})
    if is_refused:
        with pytest.raises(InvalidInput, match=f"'{SERVER}' would have 51 tags, and IAM allows 50. 1 of them list"):
            plan(before, wanted)
    else:
        assert len(plan(before, wanted).planned.policies[SERVER].tags) == 50


@pytest.mark.parametrize(
    ("current", "stores", "undone"),
    [
        ([], STORES, [("CreatePolicy", False), ("CreatePolicy", True)]),
        (
            [policy(SERVER, version(1, A))],
            STORES,
            [
                ("TagPolicy", False),
                *((each.split()[0], True) for each in WIDEN),
                ("TagPolicy", True),
                ("CreatePolicy", True),
            ],
        ),
        ([], frozenset(), [("CreatePolicy", False)] * 2),
    ],
)
def test_steps_after_the_tags_of_a_run_can_undo_them(
    current: list[FittedPolicy], stores: frozenset[str], undone: list[tuple[str, bool]]
) -> None:
    steps = plan(state(*current), desired(logs(B), storing("C"), storing=stores, tags={"stage": "prod"})).all_steps
    undos = [each.context.undo if each.context else None for each in steps]
    assert [(each.action.removeprefix("iam:"), undo is not None) for each, undo in zip(steps, undos, strict=True)] == (
        undone
    )
    keys = [*storing_tags("controller", STORES, NOW)]
    assert all(each.arguments["tag_keys"] == keys for each in undos if each)


def test_a_tag_of_another_form_is_old() -> None:
    assert open_storing({"cwagent:storing-x": "soon", "team": "web"}, {}, NOW) == []


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ('{"a":1,"b":2}', '{"b": 2, "a": 1}', True),
        ('{"a":1}', '{"a":2}', False),
        ("receivers:", "receivers: ", False),
    ],
)
def test_a_digest_is_of_the_content(one: str, other: str, are_equal: bool) -> None:
    assert (digest_of("X", "eu-central-1", one) == digest_of("X", "eu-central-1", other)) is are_equal
    assert digest_of("X", "eu-central-1", one) != digest_of("X", "us-east-1", one)


# -- Others --


@pytest.mark.parametrize("tags", [{}, {"cwagent:managed": "adopted"}])
def test_a_policy_that_others_created_is_refused(tags: dict[str, str]) -> None:
    others = state(policy(SERVER, version(1, A), tags=tags))
    with pytest.raises(InvalidInput, match="does not have the tag cwagent:managed=created"):
        check_is_ours(others)
    check_is_ours(state(policy(SERVER, version(1, A))))
    assert plan_absent(others).all_steps == []
    assert blockers(others) == [f"policy {others.policies[SERVER].arn} was not created by this collection"]


def test_absent_deletes_the_policies_without_holders() -> None:
    before = state(
        policy(SERVER, version(1, A), holders=(("role", "R"), ("user", "U"))),
        policy(ADMIN, version(2, A), version(1, B, is_default=False)),
    )
    made = plan_absent(before)
    assert [each.summary for each in made.all_steps] == [
        f"delete version v1 of policy '{ADMIN}'",
        f"delete policy '{ADMIN}'",
    ]
    assert [*made.planned.policies] == [SERVER]
    assert blockers(before) == [f"policy {before.policies[SERVER].arn} is attached to role 'R', user 'U'"]
    assert remaining(made, before) == [f"delete policy '{ADMIN}'"]
    assert remaining(made, made.planned) == []


def test_a_run_waits_until_iam_shows_its_changes() -> None:
    before, wanted = state(policy(SERVER, version(1, A))), desired(logs(B), storing(C), tags={"team": "web"})
    made = plan(before, wanted)
    expected = [f"change policy '{SERVER}'", f"tag policy '{SERVER}'", f"create policy '{ADMIN}'"]
    assert remaining(made, before) == expected
    tags = {**OURS, "team": "web"}
    wider = state(
        policy(SERVER, version(7, A, B, C), tags=tags),
        policy(ADMIN, PolicyVersion("v1", True, to_document(storing(C)), ARN.replace("Server", "Admin")), tags=tags),
    )
    assert remaining(made, wider) == []
    narrowing = plan(wider, desired(logs(A), storing(C), narrow=True))
    assert remaining(narrowing, wider) == [f"change policy '{SERVER}'"]


def test_a_run_does_not_wait_for_what_another_run_has_undone() -> None:
    done = {**OURS, "cwagent:storing-x": "2026-03-01T12:00:00Z abcde"}
    both = state(policy(SERVER, version(1, A, B, C)))
    narrowing = plan(both, desired(logs(A, B), narrow=True))
    assert remaining(narrowing, state(policy(SERVER, version(3, A)))) == []
    widening = plan(state(policy(SERVER, version(1, A), tags=done)), desired(logs(A, B)))
    assert remaining(widening, state(policy(SERVER, version(3, A, B)))) == []
    assert remaining(widening, state(policy(SERVER, version(3, A)))) == [f"change policy '{SERVER}'"]


@pytest.mark.parametrize("decrypting", [0, 1])
@pytest.mark.parametrize("is_known", [True, False])
def test_the_diff_counts_hidden_names_in_each_of_several_policies(decrypting: int, is_known: bool) -> None:
    """Only one of them contains the statement for decrypting. Names of configurations that are not encrypted stay."""
    key = ("StringLike", "kms:EncryptionContext:PARAMETER_ARN")
    decrypt = Statement("decrypting", ("kms:Decrypt",), key, (f"{PARAMETER}b",))
    names = [SERVER, f"{SERVER}-2"]
    statements = [[*logs("secret", A), *([decrypt] if each == decrypting else [])] for each in range(2)]
    before = state(
        *(
            policy(name, PolicyVersion("v1", True, to_document(join(each)), ARN))
            for name, each in zip(names, statements, strict=True)
        )
    )
    known = Known(frozenset(), shown=frozenset([f"{GROUP}{A}:*"])) if is_known else None
    found = to_diff(before, known)
    assert "secret" not in str(found)
    assert all((f"{GROUP}{A}:*" in str(found[name])) == is_known for name in names)
