from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_model import NOW, Gateway, Iam, check_call
from declarations import ADMIN, BOUND, DECLARED, FOREIGN, HELD, MINE, SERVER, declare, subsets
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import (
    KeyRules,
    Pending,
    SavedCredentials,
)
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._errors import THROTTLING_CODES, AwsApiError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import (
    DELETE_RETRY_CODES,
    NEW_ENTITY_RETRY_CODES,
    Step,
    apply,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import (
    NOT_FOUND_CODES,
    Declared,
    PrincipalState,
)
from ansible_collections.cwagent.iam.plugins.module_utils._user import plan as user_plan
from ansible_collections.cwagent.iam.plugins.module_utils._user.plan import State, User
from ansible_collections.cwagent.iam.plugins.module_utils._user.resource import UserResource

MAKE_USER, SERVER_ON = "create user 'U'", "attach CloudWatchAgentServerPolicy to user 'U'"
MAKE_KEY, REWRITE = "create an access key for user 'U' and save it to F", "write F anew with the access key of user 'U'"
LOST = "delete access key {} of user 'U', whose secret was lost"


def state(*keys: str, saved: SavedCredentials | None = None, **principal: Any) -> State:
    """A user as declared, but for what is given."""
    user = User(
        "U",
        PrincipalState(**{"policies": frozenset({SERVER}), **principal}),
        keys=tuple(AccessKey(key, created=NOW) for key in keys),
    )
    return State("U", user, saved)


def saved(key: str | None = None, pending: Any = None, **more: Any) -> SavedCredentials:
    return SavedCredentials("F", key, pending=None if pending is None else Pending(frozenset(pending), NOW), **more)


def used(current: State, key: str) -> State:
    """The same, where a key was used."""
    keys = tuple(replace(each, used=NOW if each.id == key else None) for each in current.user.keys)
    return replace(current, user=replace(current.user, keys=keys))


def plan(current: State, desired: Declared, rules: KeyRules | None = None) -> list[Step]:
    return user_plan.plan(current, desired, user_plan.keyring(current, desired, rules or KeyRules(), NOW))


def planned_state(current: State, desired: Declared) -> State:
    return user_plan.planned_state(current, desired, user_plan.keyring(current, desired, KeyRules(), NOW))


def plan_absent(current: State, desired: Declared) -> list[Step]:
    return user_plan.plan_absent(current, desired, user_plan.keyring(current, desired, KeyRules(), NOW))


def blockers(current: State, desired: Declared) -> list[str]:
    return user_plan.blockers(current, desired, user_plan.keyring(current, desired, KeyRules(), NOW))


PRESENT = {
    "nothing there, keys not managed": (State("U"), declare(), [MAKE_USER, SERVER_ON]),
    "nothing there": (State("U", saved=saved()), declare(), [MAKE_USER, SERVER_ON, MAKE_KEY]),
    "as wanted": (state("A", saved=saved("A")), declare(), []),
    "keys not managed": (state("A", "B"), declare(), []),
    "recorded key is live beside another": (state("A", "B", saved=saved("B")), declare(), []),
    "recorded key gone": (state(saved=saved("A")), declare(), [MAKE_KEY]),
    "recorded key gone, another there": (state("B", saved=saved("A")), declare(), [MAKE_KEY]),
    "one unknown key": (state("A", saved=saved()), declare(), [MAKE_KEY]),
    "saved unfit": (state("A", saved=saved("A", up_to_date=False)), declare(), [REWRITE]),
    "user gone, file there": (State("U", saved=saved("A")), declare(), [MAKE_USER, SERVER_ON, MAKE_KEY]),
    "orphan of an interrupted run": (state("A", saved=saved(pending=[])), declare(), [LOST.format("A"), MAKE_KEY]),
    "orphan beside an older key": (
        state("A", "B", saved=saved(pending=["A"])),
        declare(),
        [LOST.format("B"), MAKE_KEY],
    ),
    "two orphans": (
        state("A", "B", saved=saved(pending=[])),
        declare(),
        [LOST.format("A"), LOST.format("B"), MAKE_KEY],
    ),
    "orphan beside the recorded key": (
        state("A", "B", saved=saved("A", pending=["A"])),
        declare(),
        [LOST.format("B"), REWRITE],
    ),
    "a key that came after an interrupted run and is in use": (
        used(state("A", "B", saved=saved(pending=[])), "A"),
        declare(),
        [LOST.format("B"), MAKE_KEY],
    ),
    "interrupted before the key was made": (state("A", saved=saved(pending=["A"])), declare(), [MAKE_KEY]),
    "interrupted after the key was saved": (state("A", saved=saved("A", pending=[])), declare(), [REWRITE]),
    "stale pending names a key that is gone": (state("A", saved=saved("A", pending=["X"])), declare(), [REWRITE]),
    "admin policy": (
        state(policies=frozenset({SERVER, ADMIN})),
        declare(),
        ["detach CloudWatchAgentAdminPolicy from user 'U'"],
    ),
    "boundary": (state(), declare(boundary=BOUND), ["set the permissions boundary of user 'U' to bound"]),
    "tags": (
        state(tags={"a": "1", "b": "1"}),
        declare(tags={"a": "2"}),
        ["tag user 'U' with a"],
    ),
    "tags purged": (
        state(tags={"a": "1", "b": "1"}),
        declare(tags={"a": "1"}, purge_tags=True),
        ["remove the tags b from user 'U'"],
    ),
    "exclusive": (
        state(policies=frozenset({SERVER, FOREIGN}), inline=frozenset({"app", WINDOW_POLICY})),
        declare(exclusive=True),
        ["detach ReadOnlyAccess from user 'U'", "delete inline policy 'app' of user 'U'"],
    ),
    "exclusive, in a group": (
        State("U", User("U", PrincipalState(policies=frozenset({SERVER})), frozenset({"ops", "dev"}))),
        declare(exclusive=True),
        ["take user 'U' out of group 'dev'", "take user 'U' out of group 'ops'"],
    ),
    "in a group": (
        State("U", User("U", PrincipalState(policies=frozenset({SERVER})), frozenset({"ops"}))),
        declare(),
        [],
    ),
    "foreign things": (state(policies=frozenset({SERVER, FOREIGN}), inline=frozenset({"app"})), declare(), []),
}


@pytest.mark.parametrize(("current", "desired", "steps"), PRESENT.values(), ids=PRESENT)
def test_plan(current, desired, steps):
    assert [step.summary for step in plan(current, desired)] == steps


def test_everything_declared_is_in_the_created_user():
    desired = declare(path="/m/", boundary=BOUND, tags={"a": "1"}, admin_window=True)
    create, close, attach = plan(State("U"), desired)
    arguments = {"user_name": "U", "path": "/m/", "permissions_boundary": BOUND, "tags": {"a": "1"}}
    assert create.arguments == arguments
    assert [close.action, attach.action] == ["iam:PutUserPolicy", "iam:AttachUserPolicy"]


@pytest.mark.parametrize(
    ("current", "key", "keys"),
    [
        (state("A", "B", saved=saved("B", up_to_date=False)), "B", ["A", "B"]),
        (state("A", "B", saved=saved("A", pending=["A"])), "A", ["A"]),
        (state("B", saved=saved("A")), None, ["B", ""]),
        (State("U", saved=saved("A")), None, [""]),
    ],
    ids=["unfit", "orphan", "recorded key gone", "user gone"],
)
def test_the_keys_it_ends_with(current, key, keys):
    planned = planned_state(current, declare())
    assert planned.saved == saved(key)
    assert [each.id for each in planned.user.keys] == keys
    assert all(each.active for each in planned.user.keys)
    [*_, last] = planned_state(current, declare(admin_window=True)).user.keys
    assert last.active == bool(last.id)


@pytest.mark.parametrize(
    ("current", "desired", "words"),
    [
        (state(path="/m/"), declare(path="/"), "exists with path /m/, and this module does not move it to /;"),
        (
            state("A", "B", saved=saved()),
            declare(),
            r"allows 2, and nobody saved these at F: A \(active, 0 days old, never used\); B ",
        ),
        (state("A", "B", saved=saved("X")), declare(), "needs a new access key, IAM allows 2"),
        (state("A", "B", saved=saved(pending=["A", "B"])), declare(), "needs a new access key, IAM allows 2"),
    ],
    ids=["path", "two unknown keys", "recorded key gone", "interrupted before a key was made"],
)
def test_refused(current, desired, words):
    with pytest.raises(CwagentError, match=words):
        plan(current, desired)


def test_an_inactive_key_is_told_from_an_active_one():
    user = User("U", PrincipalState(policies=frozenset({SERVER})), keys=(AccessKey("A", active=False), AccessKey("B")))
    with pytest.raises(CwagentError, match=r"A \(inactive, .*B \(active, "):
        plan(State("U", user, saved()), declare())


def test_steps_on_a_new_user_wait_until_it_is_known():
    create, *given, key = plan(State("U", saved=saved()), declare("admin", admin_window=True))
    assert create.action == "iam:CreateUser"
    assert not create.retry_when
    assert given
    assert all(step.retry_when == NEW_ENTITY_RETRY_CODES for step in given)
    assert key.retry_when >= THROTTLING_CODES
    assert not any(step.retry_when for step in plan(state(policies=frozenset()), declare()))


def test_only_throttling_is_retried_when_a_key_is_made():
    [step] = plan(state(saved=saved()), declare())
    assert step.retry_when == THROTTLING_CODES
    assert not step.done_when


def key_off(key: str) -> str:
    return f"delete access key {key} of user 'U'"


SERVER_OFF, DELETE_USER, REMOVE = "detach CloudWatchAgentServerPolicy from user 'U'", "delete user 'U'", "remove F"
GROUPED = State("U", User("U", PrincipalState(policies=frozenset({SERVER})), frozenset({"ops"})))
ABSENT = {
    "nothing there": (State("U", saved=saved()), declare(), [], []),
    "only the file": (State("U", saved=saved("A")), declare(), [REMOVE], []),
    "only pending": (State("U", saved=saved(pending=[])), declare(), [REMOVE], []),
    "ours": (state("A", saved=saved("A")), declare(), [key_off("A"), REMOVE, SERVER_OFF, DELETE_USER], []),
    "ours with an orphan": (
        state("A", "B", saved=saved("A", pending=["A"])),
        declare(),
        [key_off("A"), key_off("B"), REMOVE, SERVER_OFF, DELETE_USER],
        [],
    ),
    "ours with a key that came later and is in use": (
        used(state("A", "B", saved=saved("A", pending=["A"])), "B"),
        declare(),
        [key_off("A"), REMOVE, SERVER_OFF],
        ["access key B"],
    ),
    "keys saved elsewhere": (state("A"), declare(), [SERVER_OFF], ["access key A"]),
    "another key": (
        state("A", "B", saved=saved("A")),
        declare(),
        [key_off("A"), REMOVE, SERVER_OFF],
        ["access key B"],
    ),
    "foreign policy": (
        state("A", saved=saved("A"), policies=frozenset({SERVER, MINE}), inline=frozenset({"app", WINDOW_POLICY})),
        declare(),
        [key_off("A"), REMOVE, SERVER_OFF, "delete inline policy 'CloudWatchAgentAdminWindow' of user 'U'"],
        [f"policy {MINE}", "inline policy 'app'"],
    ),
    "group": (GROUPED, declare(), [SERVER_OFF], ["group 'ops'"]),
    "group, exclusive": (
        GROUPED,
        declare(exclusive=True),
        [SERVER_OFF, "take user 'U' out of group 'ops'", DELETE_USER],
        [],
    ),
    "keys saved elsewhere, exclusive": (
        state("A", "B"),
        declare(exclusive=True),
        [key_off("A"), key_off("B"), SERVER_OFF, DELETE_USER],
        [],
    ),
}


@pytest.mark.parametrize(("current", "desired", "steps", "kept_by"), ABSENT.values(), ids=ABSENT)
def test_plan_absent(current, desired, steps, kept_by):
    assert [step.summary for step in plan_absent(current, desired)] == steps
    assert blockers(current, desired) == kept_by
    waiting = {step.action for step in plan_absent(current, desired) if step.retry_when}
    assert waiting == ({"iam:DeleteUser"} if DELETE_USER in steps else set())
    assert all(step.retry_when in (frozenset(), DELETE_RETRY_CODES) for step in plan_absent(current, desired))
    assert all(
        step.done_when == NOT_FOUND_CODES for step in plan_absent(current, desired) if step.action.startswith("iam:")
    )


def test_render():
    current = state("A", "B", saved=saved("B"))
    planned = planned_state(State("V", saved=saved()), declare())
    users = user_plan.render({"U": current, "V": planned, "W": State("W")}, NOW)["users"]
    assert [user["name"] for user in users] == ["U", "V"]
    assert [key["id"] for key in users[0]["access_keys"]] == ["A", "B"]
    assert users[0]["saved"] == {"access_key_id": "B", "location": "F"}
    assert users[1]["access_keys"] == [{"id": None, "active": True, "age_days": 0, "created": None, "last_used": None}]
    assert users[1]["saved"] == {"access_key_id": None, "location": "F"}
    assert users[1]["arn"] is None
    assert user_plan.render({"U": state()}, NOW)["users"][0]["saved"] is None


# From here on with a model of IAM and real files

KEYS = ("AKIAONEXXXXXXXXX", "AKIATWOXXXXXXXXX")


class Fleet:
    """One user in a model of IAM, its file in a folder, and the module's resource over both."""

    def __init__(
        self, folder: str, user: User | None, desired: Any, managed: bool = True, present: bool = True
    ) -> None:
        self.iam = Iam()
        if user:
            self.iam.put_user(user)
        self.store = FileStore(Path(folder) / "keys", "AmazonCloudWatchAgent", "eu-central-1")
        self.gateway: Any = Gateway(self.iam)
        self._managed = managed
        self.resource = UserResource(
            self.gateway, ["U"], desired, store=self.store if managed else None, present=present
        )

    def save(self, key: str | None, up_to_date: bool, pending: frozenset[str] | None) -> None:
        if key:
            self.iam.secrets[key] = "s/ec%ret+"
            region = self.store.region if up_to_date else "us-east-1"
            replace(self.store, region=region).save("U", key, self.iam.secrets[key])
        if pending is not None:
            self.store.prepare("U", pending, NOW)

    def state(self) -> dict[str, State]:
        return {"U": State("U", self.iam.user("U"), self.store.read(["U"])["U"] if self._managed else None)}

    def run(self) -> dict[str, State]:
        apply(self.resource.plan(self.state()), self.resource.execute, check_mode=False)
        return self.state()


USERS = st.builds(
    User,
    name=st.just("U"),
    principal=HELD,
    groups=subsets("ops"),
    keys=st.lists(st.sampled_from(KEYS), unique=True).map(
        lambda keys: tuple(AccessKey(key, created=NOW) for key in keys)
    ),
)
FILES = {
    "key": st.sampled_from([None, *KEYS, "AKIAGONEXXXXXXXX"]),
    "up_to_date": st.booleans(),
    "pending": st.none() | subsets(*KEYS, "AKIAGONEXXXXXXXX"),
}


@given(user=st.none() | USERS, desired=DECLARED, managed=st.booleans(), file=st.fixed_dictionaries(FILES))
def test_a_plan_leads_where_it_says(user, desired, managed, file):
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(folder, user, desired, managed)
        fleet.save(**file)
        current = fleet.state()
        plan, expected = fleet.resource.plan(current), fleet.resource.after(current)["U"]
        if plan.refused:
            moved = user and desired.path not in (None, user.principal.path)
            assert moved or (managed and len(user.keys) == 2 and file["key"] not in KEYS)
            return
        planned = fleet.run()
        assert not fleet.resource.plan(planned).changes
        assert planned["U"].user.groups == (user.groups if user and not desired.exclusive else frozenset())
        made = set(fleet.iam.users["U"].keys) - set(KEYS)
        assert _named(expected, *made) == planned["U"]
        if managed:
            key = planned["U"].saved.key_id
            assert key in fleet.iam.users["U"].keys
            assert f"aws_secret_access_key = {fleet.iam.secrets[key]}\n" in fleet.store.path("U").read_text()


def _named(expected: State, key: str | None = None) -> State:
    """The state with the id that the new key turned out to have."""
    keys = tuple(replace(each, id=key, created=NOW) if each.id == "" and key else each for each in expected.user.keys)
    saved = expected.saved
    if saved and not saved.key_id:
        saved = replace(saved, key_id=key)
    return replace(expected, user=replace(expected.user, keys=keys), saved=saved)


@given(user=st.none() | USERS, desired=DECLARED, managed=st.booleans(), file=st.fixed_dictionaries(FILES))
def test_a_removal_leads_where_it_says(user, desired, managed, file):
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(folder, user, desired, managed, present=False)
        fleet.save(**file)
        current = fleet.state()
        kept_by, expected = blockers(current["U"], desired), fleet.resource.after(current)["U"]
        planned = fleet.run()
        assert planned["U"].user == expected.user
        assert not fleet.resource.plan(planned).changes
        assert bool(planned["U"].user) == bool(kept_by)
        if managed:
            assert list(fleet.store.directory.glob("*")) + list(fleet.store.directory.glob(".*")) == []
        if planned["U"].user:
            assert not planned["U"].user.principal.policies & desired.managed


class Killed(Exception):
    """The controller dies, or the answer does not arrive."""


class FailingGateway(Gateway):
    """Fails at one call of a run, before or after it has its effect."""

    def __init__(self, model: Iam, call: int, effect: bool, error: type[Exception]) -> None:
        super().__init__(model)
        self.call, self.effect, self.error = call, effect, error

    def answer(self, step: Step, max_attempts: int = 1) -> Any:
        self.call -= 1
        if self.call == 0 and not self.effect:
            raise self.error("refused")
        answer = super().answer(step)
        if self.call == 0:
            raise self.error("answer lost")
        return answer


@given(
    user=st.none() | USERS,
    file=st.fixed_dictionaries({**FILES, "pending": st.none()}),
    call=st.integers(1, 6),
    effect=st.booleans(),
    error=st.sampled_from([Killed, CwagentError]),
)
def test_an_interrupted_run_is_finished_by_the_next(user, file, call, effect, error):
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(folder, user, declare())
        fleet.save(**file)
        if fleet.resource.plan(fleet.state()).refused:
            return
        fleet.gateway = FailingGateway(fleet.iam, call, effect, error)
        fleet.resource = UserResource(fleet.gateway, ["U"], declare(), store=fleet.store, present=True)
        try:
            fleet.run()
        except (Killed, CwagentError):
            planned = fleet.run()
        else:
            planned = fleet.state()
        unmanaged = {key.id for key in user.keys} if user else set()
        assert set(fleet.iam.users["U"].keys) == unmanaged | {planned["U"].saved.key_id}
        assert not fleet.resource.plan(planned).changes


def test_an_admin_key_is_switched_off_whatever_happened(tmp_path):
    desired = declare("admin", admin_window=True)
    fleet = Fleet(str(tmp_path), None, desired)
    fleet.gateway = FailingGateway(fleet.iam, 5, effect=False, error=Killed)
    fleet.resource = UserResource(fleet.gateway, ["U"], desired, store=fleet.store, present=True)
    with pytest.raises(Killed):
        fleet.run()
    [key] = fleet.run()["U"].user.keys
    assert not key.active


@pytest.mark.parametrize("also_delete_fails", [False, True])
def test_a_key_that_cannot_be_saved_is_deleted_again(tmp_path, also_delete_fails):
    fleet = Fleet(str(tmp_path), None, declare())
    plan = fleet.resource.plan(fleet.state())
    fleet.store.path("U").mkdir(parents=True)
    if also_delete_fails:
        fleet.gateway = FailingGateway(fleet.iam, 4, effect=False, error=CwagentError)
        fleet.resource = UserResource(fleet.gateway, ["U"], declare(), store=fleet.store, present=True)
        fleet.resource.plan({"U": State("U", saved=SavedCredentials("F"))})
    with pytest.raises(CwagentError, match="refused" if also_delete_fails else "was deleted again") as failure:
        apply(plan, fleet.resource.execute, check_mode=False)
    assert not any(secret in str(failure.value) for secret in fleet.iam.secrets.values())
    assert len(fleet.iam.users["U"].keys) == also_delete_fails
    fleet.store.path("U").rmdir()
    [key] = fleet.run()["U"].user.keys
    assert fleet.store.read(["U"])["U"].key_id == key.id


def test_one_user_that_is_refused_does_not_stop_the_others(tmp_path):
    iam = Iam()
    iam.put_user(User("U", keys=(AccessKey("A", created=NOW), AccessKey("B", created=NOW))))
    store = FileStore(tmp_path, "p", None)
    gateway: Any = Gateway(iam)
    resource = UserResource(gateway, ["U", "V", "U"], declare(), store=store, present=True)
    current = {name: State(name, iam.user(name), found) for name, found in store.read(["U", "V"]).items()}
    with pytest.raises(CwagentError, match="user 'U' needs a new access key") as failure:
        apply(resource.plan(current), resource.execute, check_mode=False)
    assert list(failure.value.details["failures"]) == ["U"]
    assert store.read(["V"])["V"].key_id in iam.users["V"].keys


class Reading(Gateway):
    """Has users without anything on them; the keys of one cannot be listed."""

    def __init__(self, *names: str, unread: str) -> None:
        super().__init__(Iam())
        self.unread = unread
        for name in names:
            self.model.put_user(User(name))

    def pages(self, action: str, description: str, **arguments: Any) -> Any:
        if action == "iam:GetAccountAuthorizationDetails":
            users = [{"UserName": name, "Path": "/", "Arn": f"arn:{name}"} for name in self.model.users]
            return [{"UserDetailList": users}]
        if arguments["UserName"] == self.unread:
            raise AwsApiError(f"Could not {description}.", "AccessDenied")
        keys = [vars(key) for key in self.model.users[arguments["UserName"]].keys.values()]
        listed = [{"AccessKeyId": key["id"], "Status": "Active", "CreateDate": key["created"]} for key in keys]
        return [{"AccessKeyMetadata": listed}]


@pytest.mark.parametrize("present", [True, False])
def test_one_user_that_cannot_be_read_does_not_stop_the_others(tmp_path, present):
    aws: Any = Reading("U", "V", unread="U")
    aws.call = lambda *_, **__: {}
    store = FileStore(tmp_path, "p", None)
    resource = UserResource(aws, ["U", "V", "W"], declare(), store=store, present=present)
    with pytest.raises(CwagentError, match=r"^Could not list the access keys of user 'U'\.$") as failure:
        converge(resource, check_mode=False, wait=None)
    assert list(failure.value.details["failures"]) == ["U"]
    assert failure.value.details["changed"]
    assert set(aws.model.users) == ({"U", "V", "W"} if present else {"U"})
    assert aws.model.users["U"].policies == set()


def test_one_that_can_be_read_no_more_is_not_taken_for_done(tmp_path):
    aws: Any = Reading("U", unread="")
    resource = UserResource(aws, ["U"], declare(), store=FileStore(tmp_path, "p", None), present=True)
    make_key = resource.execute

    def execute(step: Step) -> None:
        make_key(step)
        aws.unread = "U"

    resource.execute = execute
    with pytest.raises(AwsApiError, match="Could not list the access keys of user 'U'") as failure:
        converge(resource, check_mode=False, wait=10)
    assert failure.value.details["done"] == failure.value.details["steps"] != []


def test_what_stays_is_told(tmp_path):
    gateway: Any = Gateway(Iam())
    resource = UserResource(gateway, ["U"], declare(), store=None, present=False)
    current = {"U": state("A", policies=frozenset({SERVER, FOREIGN}))}
    assert resource.warnings(current) == [
        f"user 'U' stays, without the agent's rights: it has policy {FOREIGN}, access key A"
    ]
    assert resource.report(current, resource.after(current))["stays"] == {"U": [f"policy {FOREIGN}", "access key A"]}
    present = UserResource(gateway, ["U"], declare(), store=None, present=True)
    assert present.warnings(current) == []
    assert present.report(current, current)["stays"] == {}


class Asked(Gateway):
    """Knows when keys were used, and whose they are; notes of which it was asked."""

    def __init__(self, known: dict[str, Any], absent: str = "NoSuchEntity") -> None:
        super().__init__(Iam())
        self.known, self.absent, self.asked = known, absent, []

    def call(self, action: str, description: str, **arguments: str) -> Any:
        key_id = arguments["AccessKeyId"]
        self.asked.append(key_id)
        if key_id not in self.known:
            raise AwsApiError("cannot be found", self.absent)
        return {"UserName": "somebody", "AccessKeyLastUsed": self.known[key_id]}


UNUSED, USED = {"Region": "N/A"}, {"LastUsedDate": NOW}


def seen(current: State, gateway: Asked, **rules: Any) -> State:
    anything: Any = gateway
    nowhere: Any = object()
    resource = UserResource(anything, ["U"], declare(), store=nowhere, present=True, rules=KeyRules(**rules))
    return resource._with_use(current)


def test_only_keys_that_could_be_lost_are_asked_for_their_use():
    gateway = Asked({"B": USED})
    gateway.known["C"] = UNUSED
    planned = seen(state("A", "B", "C", saved=saved("A", pending=["A"])), gateway)
    assert gateway.asked == ["B", "C"]
    assert [key.used for key in planned.user.keys] == [None, NOW, None]


@pytest.mark.parametrize(
    ("current", "rules", "asked"),
    [
        (state("A", "B", saved=saved("A")), {}, []),
        (state("A", "B"), {"max_age": timedelta(days=1)}, []),
        (state("A", "B", saved=saved()), {}, ["A", "B"]),
        (state("A", saved=saved("A")), {"max_age": timedelta(days=1)}, ["A"]),
        (State("U", saved=saved()), {}, []),
    ],
    ids=["saved", "keys not managed", "no room", "replaced by age", "no user"],
)
def test_whose_use_is_asked(current, rules, asked):
    gateway = Asked({"A": UNUSED, "B": UNUSED})
    seen(current, gateway, **rules)
    assert gateway.asked == asked


@pytest.mark.parametrize(
    ("known", "user", "unmanaged"), [({}, True, False), ({}, False, False), ({"X": UNUSED}, True, True)]
)
def test_a_saved_key_that_is_not_the_users_may_be_somebodys(known, user, unmanaged):
    current = state(saved=saved("X")) if user else State("U", saved=saved("X"))
    assert seen(current, Asked(known)).saved == saved("X", unmanaged=unmanaged)


def test_a_saved_key_of_which_iam_does_not_speak_may_be_somebodys():
    assert seen(state(saved=saved("X")), Asked({}, absent="AccessDenied")).saved.unmanaged


def test_a_key_that_a_host_of_iam_does_not_know_yet_is_waited_for():
    gateway: Any = Asked({}, absent="AccessDenied")
    nowhere: Any = object()
    resource = UserResource(gateway, ["U"], declare(), store=nowhere, present=True)
    current = state("A", "B", saved=saved())
    with pytest.raises(AwsApiError) as error:
        resource._with_use(current)
    assert error.value.code == "AccessDenied"
    resource.plan({"U": State("U", saved=saved())})
    with pytest.raises(AwsApiError) as error:
        resource._with_use(current)
    assert error.value.code in NOT_FOUND_CODES


def test_what_came_with_the_user_is_waited_for_and_a_later_step_of_its_key_is_not():
    gateway: Any = Gateway(Iam())
    resource = UserResource(gateway, ["U"], declare(tags={"team": "ops"}), store=None, present=True)
    assert not any("tag" in summary for summary in resource.plan({"U": State("U")}).summaries)
    without_tags = State("U", User("U", PrincipalState(policies=frozenset({SERVER}))))
    assert resource.left({"U": without_tags}) == ["tag user 'U' with team"]
    nowhere: Any = object()
    resource = UserResource(gateway, ["U"], declare(), store=nowhere, present=True)
    resource.plan({"U": state("A", saved=saved("A"), policies=frozenset())})
    assert resource.left({"U": state("A", saved=saved())}) == []


def test_a_key_that_another_run_saves_meanwhile_stays(tmp_path):
    store = FileStore(tmp_path / "keys", "AmazonCloudWatchAgent", None)
    iam = Iam()
    make = iam.create_access_key

    def make_slowly(user_name: str) -> Any:
        made = make(user_name)
        store.save("U", "AKIAOFTHEOTHERRUN", "secret")
        return made

    iam.put_user(User("U", PrincipalState(policies=frozenset({SERVER}))))
    iam.create_access_key = make_slowly
    gateway: Any = Gateway(iam)
    resource = UserResource(gateway, ["U"], declare(), store=store, present=True)
    plan = resource.plan({"U": State("U", iam.user("U"), store.read(["U"])["U"])})
    with pytest.raises(CwagentError, match=r"Another run has saved .* was deleted again"):
        apply(plan, resource.execute, check_mode=False)
    assert store.read(["U"])["U"].key_id == "AKIAOFTHEOTHERRUN"
    assert iam.users["U"].keys == {}


def test_a_key_beside_one_that_is_saved_elsewhere_is_told_of():
    gateway: Any = Gateway(Iam())
    nowhere: Any = object()
    resource = UserResource(gateway, ["U"], declare(), store=nowhere, present=True)
    [told] = resource.warnings({"U": state("A", saved=saved())})
    assert told.startswith("user 'U' gets a second access key, since this one is not saved at F: A (active, ")
    assert resource.warnings({"U": state("A", "B", saved=saved("A"))}) == []
    assert resource.warnings({"U": state("A", saved=saved(pending=[]))}) == []
    assert resource.warnings({"U": state(saved=saved())}) == []


def test_other_ways_to_sign_in_keep_a_user():
    device = "arn:aws:iam::123456789012:mfa/phone"
    credentials = {
        "login profile": (user_plan.LOGIN, "U"),
        f"MFA device {device}": (user_plan.MFA, device),
        "MFA device SERIAL4711": (user_plan.MFA, "SERIAL4711"),
        "SSH key APKASSSSSSSSSSSSSSSS": (user_plan.SSH, "APKASSSSSSSSSSSSSSSS"),
        "service-specific credential ACCACCCCCCCCCCCCCCCC": (user_plan.SERVICE, "ACCACCCCCCCCCCCCCCCC"),
        "signing certificate CERTXXXXXXXXXXXXXXXXXXXX": (user_plan.CERTIFICATE, "CERTXXXXXXXXXXXXXXXXXXXX"),
    }
    words = list(credentials)
    current = State("U", User("U", credentials=tuple(user_plan.Credential(*each) for each in credentials.values())))
    assert blockers(current, declare()) == words
    assert plan_absent(current, declare()) == []
    assert blockers(current, declare(exclusive=True)) == []
    steps = plan_absent(current, declare(exclusive=True))
    assert [step.action for step in steps] == [
        "iam:DeleteLoginProfile",
        "iam:DeactivateMFADevice",
        "iam:DeleteVirtualMFADevice",
        "iam:DeactivateMFADevice",
        "iam:DeleteSSHPublicKey",
        "iam:DeleteServiceSpecificCredential",
        "iam:DeleteSigningCertificate",
        "iam:DeleteUser",
    ]
    for step in steps:
        check_call(step)
