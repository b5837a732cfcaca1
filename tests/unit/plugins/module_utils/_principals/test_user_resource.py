"""Users in a model of IAM, with their keys in real files: properties of the plans, reads, and failures."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_account import Account, api_error
from aws_model import NOW, check_steps
from declarations import BOUNDARY, CREATED_TAGS, DECLARED, FITTED, PRINCIPALS, SERVER, UNMANAGED, declare, subsets
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    AwsApiError,
    ContentionError,
    CwagentError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import NOT_CREATED, SAVED_KEY_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import apply
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._keys.file_store import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import (
    AccessKey,
    CreationRecord,
    KeyRules,
    SavedCredentials,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import Declared, PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user import LAST_USE_ACTION, UserResource
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user_plan import State, User

KEYS = ("AKIAONEXXXXXXXXX", "AKIATWOXXXXXXXXX")
A, B, C = (f"AKIA{letter * 12}" for letter in "ABC")
GONE = "AKIAGONEXXXXXXXX"
ADMIN = declare("admin", admin_window=True)
DAY = timedelta(days=1)


FULL = User(
    "U", PrincipalState(policies=frozenset({SERVER})), keys=(AccessKey(A, created=NOW), AccessKey(B, created=NOW))
)


class Killed(Exception):
    """The controller stops, or the answer is lost."""


class Scenario:
    """One user in a model of IAM, its credentials file, and the resource that manages both."""

    def __init__(
        self, folder: Any, user: User | None, desired: Declared, managed: bool = True, present: bool = True
    ) -> None:
        self.account = Account()
        self.account.managed_policies.add(BOUNDARY)
        if user:
            self.account.put_user(user)
        self.store = FileStore(Path(folder) / "keys", "AmazonCloudWatchAgent", "eu-central-1")
        store = self.store if managed else None
        self.resource = UserResource(self.account.aws(), ["U"], desired, store=store, present=present)

    def save(self, key: str | None, up_to_date: bool, record: frozenset[str] | None) -> None:
        if key:
            self.account.secrets[key] = "s/ec%ret+"
            region = self.store.region if up_to_date else "us-east-1"
            replace(self.store, region=region).save("U", key, self.account.secrets[key])
        if record is not None:
            self.store.prepare("U", record, NOW)

    def state(self) -> State:
        """The state as the resource reads it, without what IAM assigns."""
        found = self.resource.read()["U"]
        return replace(found, user=found.user and replace(found.user, arn=None))

    def run(self) -> State:
        plan = self.resource.plan({"U": self.state()})
        check_steps(plan.all_steps)
        apply(plan, self.resource.execute, check_mode=False)
        return self.state()

    @property
    def keys(self) -> set[str]:
        return {*self.account.users["U"].keys}


USERS = st.builds(
    User,
    name=st.just("U"),
    principal=PRINCIPALS,
    groups=subsets("ops"),
    keys=st.lists(st.sampled_from(KEYS), unique=True).map(
        lambda keys: tuple(AccessKey(key, created=NOW) for key in keys)
    ),
)
FILES = {
    "key": st.sampled_from([None, *KEYS, GONE]),
    "up_to_date": st.booleans(),
    "record": st.none() | subsets(*KEYS, GONE),
}


@given(user=st.none() | USERS, desired=DECLARED, managed=st.booleans(), file=st.fixed_dictionaries(FILES))
def test_applying_a_plan_leads_to_the_planned_state(user, desired, managed, file):
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(folder, user, desired, managed)
        scenario.save(**file)
        plan = scenario.resource.plan({"U": scenario.state()})
        if plan.errors:
            is_other_path = user and desired.path not in (None, user.principal.path)
            is_of_others = desired.admin_window and not (user.principal.is_marked or desired.adopt)
            assert is_other_path or is_of_others or (managed and len(user.keys) == 2 and file["key"] not in KEYS)
            return
        final = scenario.run()
        assert not scenario.resource.plan({"U": final}).has_changes
        assert final.user.groups == (user.groups if user and not desired.exclusive else frozenset())
        created = scenario.keys - set(KEYS)
        assert _set_key_id(plan.planned["U"], *created) == final
        if managed:
            key = final.saved.key_id
            assert key in scenario.keys
            assert f"aws_secret_access_key = {scenario.account.secrets[key]}\n" in scenario.store.path("U").read_text()


def _set_key_id(expected: State, key: str | None = None) -> State:
    """The planned state with the id of the key that was created."""
    assert expected.user
    keys = tuple(replace(each, id=key, created=NOW) if each.id == "" and key else each for each in expected.user.keys)
    principal = expected.user.principal
    if principal.tags.get(SAVED_KEY_TAG) == "" and key:
        principal = replace(principal, tags={**principal.tags, SAVED_KEY_TAG: key})
    saved = expected.saved
    if saved and not saved.key_id:
        saved = replace(saved, key_id=key)
    return replace(expected, user=replace(expected.user, keys=keys, principal=principal), saved=saved)


@given(user=st.none() | USERS, desired=DECLARED, managed=st.booleans(), file=st.fixed_dictionaries(FILES))
def test_applying_a_deletion_leads_to_the_planned_state(user, desired, managed, file):
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(folder, user, desired, managed, present=False)
        scenario.save(**file)
        plan = scenario.resource.plan({"U": scenario.state()})
        is_blocked = bool(scenario.resource.to_result(plan, plan.planned)["blockers"])
        final = scenario.run()
        assert final.user == plan.planned["U"].user
        assert not scenario.resource.plan({"U": final}).has_changes
        assert bool(final.user) == is_blocked
        assert not user or user.principal.is_created or final.user
        if managed:
            assert list(scenario.store.directory.glob("*")) + list(scenario.store.directory.glob(".*")) == []
        if final.user:
            assert not final.user.principal.policies & desired.managed


@given(
    user=st.none() | USERS,
    file=st.fixed_dictionaries({**FILES, "record": st.none()}),
    call=st.integers(1, 6),
    has_effect=st.booleans(),
    error=st.sampled_from([Killed(), api_error("ServiceFailure")]),
)
def test_the_next_run_completes_an_interrupted_one(user, file, call, has_effect, error):
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(folder, user, declare())
        scenario.save(**file)
        if scenario.resource.plan({"U": scenario.state()}).errors:
            return
        scenario.account.before("", error, call, after=has_effect)
        try:
            final = scenario.run()
        except (Killed, CwagentError):
            final = scenario.run()
        unmanaged = {key.id for key in user.keys} if user else set()
        assert scenario.keys == unmanaged | {final.saved.key_id}
        assert not scenario.resource.plan({"U": final}).has_changes


# create, close, attach, create the key, deactivate it, tag it
@pytest.mark.parametrize("call", range(1, 8))
def test_the_saved_key_of_an_admin_user_is_inactive_and_tagged_after_a_killed_run(tmp_path, call):
    scenario = Scenario(tmp_path, None, ADMIN)
    scenario.account.before("", Killed(), call)
    try:
        scenario.run()
    except Killed:
        assert SAVED_KEY_TAG not in scenario.account.users.get("U", User("U").principal).tags
    user = scenario.run().user
    [key] = user.keys
    assert user.principal.tags == {**CREATED_TAGS, SAVED_KEY_TAG: key.id}
    assert not key.active


@pytest.mark.parametrize("deletion_fails", [False, True])
def test_a_key_that_cannot_be_saved_is_deleted(tmp_path, deletion_fails):
    scenario = Scenario(tmp_path, None, declare())
    account, file = scenario.account, scenario.store.path("U")
    account.before("create_access_key", file.mkdir, after=True)
    if deletion_fails:
        account.fail("delete_access_key", "ServiceFailure", times=1)
    with pytest.raises(
        CwagentError, match="ServiceFailure" if deletion_fails else r"user 'U' was deleted\."
    ) as failure:
        scenario.run()
    assert not any(secret in str(failure.value) for secret in account.secrets.values())
    assert len(scenario.keys) == deletion_fails
    file.rmdir()
    [key] = scenario.run().user.keys
    assert scenario.store.read(["U"])["U"].key_id == key.id


def test_a_key_that_another_run_saved_in_the_meantime_is_kept(tmp_path):
    scenario = Scenario(tmp_path, replace(FULL, keys=()), declare())
    save = scenario.store.save
    scenario.account.before("create_access_key", lambda: save("U", "AKIAOFTHEOTHERRUN", "secret"), after=True)
    [step] = scenario.resource.plan({"U": scenario.state()}).all_steps
    with pytest.raises(ContentionError, match=r"Another run saved .* was deleted\.$"):
        scenario.resource.execute(step)
    assert scenario.store.read(["U"])["U"].key_id == "AKIAOFTHEOTHERRUN"
    assert scenario.keys == set()


def test_a_plan_can_be_applied_by_another_resource(tmp_path):
    planner, other = Scenario(tmp_path, None, declare()), Scenario(tmp_path, None, declare())
    attributes = dict(vars(planner.resource))
    plan = planner.resource.plan({"U": planner.state()})
    assert vars(planner.resource) == attributes
    apply(plan, other.resource.execute, check_mode=False)
    assert other.keys == {other.state().saved.key_id}


# Several users


def resource_of(account: Account, folder: Path | None, *names: str, **options: Any) -> UserResource:
    store: Any = FileStore(folder / "keys", "p", None) if folder else options.pop("store", None)
    desired, present = options.pop("desired", declare()), options.pop("present", True)
    return UserResource(account.aws(), names or ["U"], desired, store=store, present=present, **options)


def deny_keys_of_u(account: Account) -> None:
    account.fail("list_access_keys", "AccessDenied", message="User: ops is not authorized", value="U")


@pytest.mark.parametrize("present", [True, False])
def test_a_user_that_cannot_be_read_does_not_stop_the_others(tmp_path, present):
    account = Account()
    account.add_users("U", "V")
    deny_keys_of_u(account)
    resource = resource_of(account, tmp_path, "U", "V", "W", present=present)
    current = resource.read()
    plan = resource.plan(current)
    assert plan.errors == {"U": current["U"].error}
    assert plan.planned["U"] is current["U"]
    with pytest.raises(CwagentError, match=r"^Could not list the access keys of user 'U' \(iam:ListAcc") as failure:
        converge(resource, check_mode=False, wait=None)
    assert list(failure.value.details["failures"]) == ["U"]
    assert failure.value.details["changed"]
    assert set(account.users) == ({"U", "V", "W"} if present else {"U"})
    assert account.users["U"].policies == set()


def test_a_user_that_becomes_unreadable_is_an_error_after_the_plan_was_applied(tmp_path):
    account = Account()
    account.add_users("U")
    account.before("attach_user_policy", lambda: deny_keys_of_u(account))
    with pytest.raises(AwsApiError, match="Could not list the access keys of user 'U'") as failure:
        converge(resource_of(account, tmp_path), check_mode=False, wait=10)
    assert failure.value.details["done"] == failure.value.details["steps"] != []


# Results and warnings


def state_of(*keys: str, saved: SavedCredentials | None = None, mark: Any = CREATED_TAGS, **more: Any) -> State:
    principal = PrincipalState(policies=more.pop("policies", frozenset({SERVER})), tags=mark)
    return State("U", NOW, User("U", principal, keys=tuple(AccessKey(key, created=NOW) for key in keys)), saved, **more)


UNUSABLE = State("U", NOW, saved=SavedCredentials("SSM parameter /k/U", is_unusable=True))
SHARED = state_of(A, policies=frozenset({SERVER, UNMANAGED}))
RECORD = CreationRecord(frozenset(), NOW)


@pytest.mark.parametrize(
    ("current", "present", "warning", "blockers"),
    [
        (SHARED, True, None, []),
        (
            SHARED,
            False,
            f"user 'U' was not deleted; still attached: policy {UNMANAGED}, access key {A}",
            [f"policy {UNMANAGED}", f"access key {A}"],
        ),
        (state_of(mark={}), False, f"user 'U' was not deleted; it {NOT_CREATED}", [NOT_CREATED]),
        (
            UNUSABLE,
            False,
            "SSM parameter /k/U was not deleted, because it is not an access key. If nobody needs it, delete it by ",
            [],
        ),
        (
            state_of(A, saved=SavedCredentials("F")),
            True,
            f"user 'U' gets a second access key, because this one is not saved at F: {A} (active, ",
            [],
        ),
        (state_of(A, B, saved=SavedCredentials("F", A)), True, None, []),
        (state_of(A, saved=SavedCredentials("F", record=RECORD)), True, None, []),
        (state_of(saved=SavedCredentials("F")), True, None, []),
    ],
    ids=[
        "declared",
        "unmanaged",
        "of others",
        "no key",
        "second key",
        "one is saved",
        "the other orphaned",
        "first key",
    ],
)
def test_warnings_and_blockers(current, present, warning, blockers):
    resource = resource_of(Account(), None, present=present, store=object() if current.saved else None)
    plan = resource.plan({"U": current})
    assert [each[: len(warning or "")] for each in resource.warnings(plan)] == [warning] * bool(warning)
    assert resource.to_result(plan, plan.current)["blockers"] == ({"U": blockers} if blockers else {})
    assert present or not current.saved or plan.all_steps == []


def test_the_result_has_the_phase_in_which_the_run_began(tmp_path):
    resource = resource_of(Account(), tmp_path, rules=KeyRules(max_age=DAY))
    plan = resource.plan({"U": replace(state_of(A, saved=SavedCredentials("F", A)), read_at=NOW + DAY)})
    assert plan.summaries == [f"create an access key for user 'U' to replace {A} and save it to F"]
    final = {"U": state_of(A, B, saved=SavedCredentials("F", B))}
    assert resource.to_result(plan, final)["rotation"] == {"U": "due"}


TAGGED = declare(tags={"team": "ops"})
CREATE_KEY = "create an access key for user 'U' and save it to F"


@pytest.mark.parametrize(
    ("before", "shown", "desired", "remaining"),
    [
        (State("U", NOW), state_of(mark={}), TAGGED, ["tag user 'U' with team"]),
        (
            state_of(A, saved=SavedCredentials("F", A), policies=frozenset()),
            state_of(A, saved=SavedCredentials("F")),
            declare(),
            [],
        ),
        (
            state_of(saved=SavedCredentials("F")),
            state_of(saved=SavedCredentials("F", A)),
            declare(),
            [CREATE_KEY],
        ),
    ],
    ids=["a tag of a new user", "a later step on a key", "a new key"],
)
def test_planned_steps_that_iam_does_not_show_yet_are_remaining(before, shown, desired, remaining):
    resource = resource_of(Account(), None, desired=desired, store=object() if before.saved else None)
    assert resource.remaining(resource.plan({"U": before}), {"U": shown}) == remaining


# The last use of keys

RECENT = KeyRules(max_age=DAY)


@pytest.mark.parametrize(
    ("keys", "saved", "rules", "requested"),
    [
        ([A, B, C], SavedCredentials("F", A, record=CreationRecord(frozenset({A}), NOW)), None, [B, C]),
        ([A, B], SavedCredentials("F", A), None, []),
        ([A, B], None, RECENT, []),
        ([A, B], SavedCredentials("F"), None, [A, B]),
        ([A], SavedCredentials("F", A), RECENT, [A]),
        (None, SavedCredentials("F"), None, []),
    ],
    ids=["orphaned", "saved", "keys not managed", "no free slot", "replaced by age", "no user"],
)
def test_the_last_use_is_read_where_it_decides(keys, saved, rules, requested):
    account, current = Account(), State("U", NOW, saved=saved)
    if keys is not None:
        current = state_of(*keys, saved=saved)
        account.put_user(User("U", keys=tuple(AccessKey(key, used=NOW) for key in keys)))
    found = resource_of(account, None, store=object(), rules=rules)._add_last_use(current)
    assert [arguments["AccessKeyId"] for _region, _operation, arguments in account.calls] == requested
    assert [key.id for key in (found.user.keys if found.user else ()) if key.used] == requested


@pytest.mark.parametrize(
    ("key", "known", "belongs_to_other", "reads"),
    [
        (GONE, "nobody", False, 1),
        (GONE, "owner", True, 1),
        (GONE, "denied", True, 1),
        *((placeholder, "nobody", False, 0) for placeholder in ("X", "<YOUR_ACCESS_KEY_ID>", "your-access-key-id")),
    ],
    ids=["deleted", "of another user", "denied", "short placeholder", "placeholder", "placeholder in words"],
)
@pytest.mark.parametrize("current", [State("U", NOW), state_of()], ids=["no user", "user"])
def test_a_saved_key_that_is_not_one_of_the_users_can_belong_to_somebody_else(
    current, key, known, belongs_to_other, reads
):
    account = Account()
    if known == "owner":
        account.put_user(User("V", keys=(AccessKey(key),)))
    elif known == "denied":
        account.fail("get_access_key_last_used", "AccessDenied")
    saved = SavedCredentials("F", key)
    found = resource_of(account, None, store=object())._add_last_use(replace(current, saved=saved))
    assert found.saved == replace(saved, belongs_to_other=belongs_to_other)
    assert account.operations.count("get_access_key_last_used") == reads


@pytest.mark.parametrize(
    ("code", "action", "is_propagation"),
    [
        ("AccessDenied", LAST_USE_ACTION, True),
        ("AccessDenied", "iam:ListAccessKeys", False),
        ("ServiceFailure", LAST_USE_ACTION, False),
        ("NoSuchEntity", "iam:ListAccessKeys", True),
    ],
)
def test_a_denied_last_use_counts_as_propagation(code, action, is_propagation):
    assert resource_of(Account(), None).is_propagation_error(AwsApiError("No.", code, action)) == is_propagation


@pytest.mark.parametrize("is_new", [True, False])
def test_only_the_denied_last_use_of_a_new_key_is_waited_for(tmp_path, monkeypatch, is_new):
    """IAM denies it for a key that it does not know yet. Otherwise it is an error before anything is written."""
    monkeypatch.setattr(
        f"{converge.__module__}.Deadline", lambda seconds: Deadline(seconds, sleep=lambda _seconds: None)
    )
    account = Account()
    account.put_user(replace(FULL, keys=() if is_new else FULL.keys[:1]))
    account.fail("get_access_key_last_used", "AccessDenied", times=2)
    resource = resource_of(account, tmp_path, rules=RECENT)
    if is_new:
        [user] = converge(resource, check_mode=False, wait=10)["users"]
        assert [key["id"] for key in user["access_keys"]] == [*account.users["U"].keys]
        assert account.operations.count("get_access_key_last_used") == 3
    else:
        with pytest.raises(CwagentError, match=f"Could not read when access key {A} was last used") as failure:
            converge(resource, check_mode=False, wait=10)
        assert failure.value.details["failures"].keys() == {"U"}
        assert failure.value.details["changed"] is False


@pytest.mark.parametrize(("others", "quota", "first"), [(8, 10, "Attach"), (9, 10, "Detach"), (9, 11, "Attach")])
def test_new_policies_come_first_as_far_as_the_quota_of_the_account_allows(tmp_path, others, quota, first):
    policies = frozenset({SERVER, *(f"{UNMANAGED}{number}" for number in range(others))})
    scenario = Scenario(
        tmp_path, User("U", PrincipalState(policies=policies)), declare(access_policies=FITTED[:1]), False
    )
    scenario.account.answer("get_account_summary", {"SummaryMap": {"AttachedPoliciesPerUserQuota": quota}})
    actions = [step.action for step in scenario.resource.plan(scenario.resource.read()).all_steps]
    assert actions[0] == f"iam:{first}UserPolicy"
