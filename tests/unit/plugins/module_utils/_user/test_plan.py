from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_model import NOW, Gateway, Iam, check_call
from declarations import (
    ADMIN,
    ADOPTED_TAGS,
    BOUNDARY,
    CREATED_TAGS,
    CUSTOM,
    DECLARED,
    PRINCIPALS,
    SERVER,
    UNMANAGED,
    declare,
    subsets,
)
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils import _converge
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import (
    KeyRules,
    Pending,
    SavedCredentials,
)
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file_store import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    THROTTLING_CODES,
    AwsApiError,
    ContentionError,
    CwagentError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import NOT_CREATED, SAVED_KEY_TAG, WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import (
    DELETE_RETRY_CODES,
    NEW_ENTITY_RETRY_CODES,
    NOT_FOUND_CODES,
    Kind,
    Plan,
    Step,
    apply,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import Declared, PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._user import plan as user_plan
from ansible_collections.cwagent.iam.plugins.module_utils._user.plan import State, User
from ansible_collections.cwagent.iam.plugins.module_utils._user.resource import LAST_USE_ACTION, UserResource
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

CREATE_USER, ATTACH_SERVER = "create user 'U'", "attach CloudWatchAgentServerPolicy to user 'U'"
CREATE_KEY = "create an access key for user 'U' and save it to F"
REWRITE = "write F again with the access key of user 'U'"
DELETE_ORPHAN = "delete access key {} of user 'U', whose secret was never saved"


def existing_user(*keys: str, saved: SavedCredentials | None = None, **principal: Any) -> State:
    """A user that the collection created, with the declared policy, these keys, and further values."""
    tags = {**CREATED_TAGS, **principal.pop("tags", {})}
    user = User(
        "U",
        PrincipalState(**{"policies": frozenset({SERVER}), **principal, "tags": tags}),
        keys=tuple(AccessKey(key, created=NOW) for key in keys),
    )
    return State("U", NOW, user, saved)


def missing_user(saved: SavedCredentials | None = None) -> State:
    """A user that does not exist in IAM."""
    return State("U", NOW, saved=saved)


def user_in_groups(*groups: str) -> State:
    """A user with the declared policy that is a member of groups."""
    principal = PrincipalState(policies=frozenset({SERVER}), tags=CREATED_TAGS)
    return State("U", NOW, User("U", principal, frozenset(groups)))


def user_of_others(current: State, mark: dict[str, str] | None = None) -> State:
    """The same state with a user that somebody else created. :param mark: the tags instead of the mark."""
    assert current.user
    principal = replace(current.user.principal, tags={"a": "1", **(mark or {})})
    return replace(current, user=replace(current.user, principal=principal))


def saved_credentials(key: str | None = None, pending: Any = None, **more: Any) -> SavedCredentials:
    return SavedCredentials("F", key, pending=None if pending is None else Pending(frozenset(pending), NOW), **more)


def add_use(current: State, key: str) -> State:
    """The same state, in which one key was used."""
    assert current.user
    keys = tuple(replace(each, used=NOW if each.id == key else None) for each in current.user.keys)
    return replace(current, user=replace(current.user, keys=keys))


def plan(current: State, desired: Declared, rules: KeyRules | None = None) -> list[Step]:
    return user_plan.plan(current, desired, user_plan.keyring(current, desired, rules or KeyRules()))


def planned_state(current: State, desired: Declared) -> State:
    return user_plan.planned_state(current, desired, user_plan.keyring(current, desired, KeyRules()))


def plan_absent(current: State, desired: Declared) -> list[Step]:
    return user_plan.plan_absent(current, desired, user_plan.keyring(current, desired, KeyRules()))


def blockers(current: State, desired: Declared) -> list[str]:
    return user_plan.blockers(current, desired, user_plan.keyring(current, desired, KeyRules()))


PRESENT = {
    "no user, keys not managed": (missing_user(), declare(), [CREATE_USER, ATTACH_SERVER]),
    "no user": (missing_user(saved_credentials()), declare(), [CREATE_USER, ATTACH_SERVER, CREATE_KEY]),
    "as declared": (existing_user("A", saved=saved_credentials("A")), declare(), []),
    "keys not managed": (existing_user("A", "B"), declare(), []),
    "saved key and another one": (existing_user("A", "B", saved=saved_credentials("B")), declare(), []),
    "saved key deleted": (existing_user(saved=saved_credentials("A")), declare(), [CREATE_KEY]),
    "saved key deleted, another one exists": (
        existing_user("B", saved=saved_credentials("A")),
        declare(),
        [CREATE_KEY],
    ),
    "unmanaged key": (existing_user("A", saved=saved_credentials()), declare(), [CREATE_KEY]),
    "saved in another form": (existing_user("A", saved=saved_credentials("A", up_to_date=False)), declare(), [REWRITE]),
    "user deleted, file exists": (
        missing_user(saved_credentials("A")),
        declare(),
        [CREATE_USER, ATTACH_SERVER, CREATE_KEY],
    ),
    "orphaned key of an interrupted run": (
        existing_user("A", saved=saved_credentials(pending=[])),
        declare(),
        [DELETE_ORPHAN.format("A"), CREATE_KEY],
    ),
    "orphaned key and an older one": (
        existing_user("A", "B", saved=saved_credentials(pending=["A"])),
        declare(),
        [DELETE_ORPHAN.format("B"), CREATE_KEY],
    ),
    "two orphaned keys": (
        existing_user("A", "B", saved=saved_credentials(pending=[])),
        declare(),
        [DELETE_ORPHAN.format("A"), DELETE_ORPHAN.format("B"), CREATE_KEY],
    ),
    "orphaned key and the saved one": (
        existing_user("A", "B", saved=saved_credentials("A", pending=["A"])),
        declare(),
        [DELETE_ORPHAN.format("B"), REWRITE],
    ),
    "two keys created after an interrupted run, one in use": (
        add_use(existing_user("A", "B", saved=saved_credentials(pending=[])), "A"),
        declare(),
        [DELETE_ORPHAN.format("B"), CREATE_KEY],
    ),
    "interrupted before the key was created": (
        existing_user("A", saved=saved_credentials(pending=["A"])),
        declare(),
        [CREATE_KEY],
    ),
    "interrupted after the key was saved": (
        existing_user("A", saved=saved_credentials("A", pending=[])),
        declare(),
        [REWRITE],
    ),
    "record with a deleted key": (
        existing_user("A", saved=saved_credentials("A", pending=["X"])),
        declare(),
        [REWRITE],
    ),
    "admin policy": (
        existing_user(policies=frozenset({SERVER, ADMIN})),
        declare(),
        ["detach CloudWatchAgentAdminPolicy from user 'U'"],
    ),
    "boundary": (existing_user(), declare(boundary=BOUNDARY), ["set the permissions boundary of user 'U' to bound"]),
    "tags": (
        existing_user(tags={"a": "1", "b": "1"}),
        declare(tags={"a": "2"}),
        ["tag user 'U' with a"],
    ),
    "tags purged": (
        existing_user(tags={"a": "1", "b": "1"}),
        declare(tags={"a": "1"}, purge_tags=True),
        ["remove the tags b from user 'U'"],
    ),
    "exclusive": (
        existing_user(policies=frozenset({SERVER, UNMANAGED}), inline=frozenset({"app", WINDOW_POLICY})),
        declare(exclusive=True),
        ["detach ReadOnlyAccess from user 'U'", "delete inline policy 'app' of user 'U'"],
    ),
    "exclusive, in groups": (
        user_in_groups("ops", "dev"),
        declare(exclusive=True),
        ["remove user 'U' from group 'dev'", "remove user 'U' from group 'ops'"],
    ),
    "in a group": (user_in_groups("ops"), declare(), []),
    "unmanaged policies": (
        existing_user(policies=frozenset({SERVER, UNMANAGED}), inline=frozenset({"app"})),
        declare(),
        [],
    ),
    "a user of others": (user_of_others(existing_user("A", saved=saved_credentials())), declare(), [CREATE_KEY]),
    "adoption": (user_of_others(existing_user()), declare(adopt=True), ["tag user 'U' with cwagent:managed"]),
    "adoption with an admin window": (
        user_of_others(existing_user()),
        declare(adopt=True, admin_window=True),
        ["close the admin window of user 'U'", "tag user 'U' with cwagent:managed"],
    ),
    "saved key of an admin user, no tag": (
        existing_user("A", saved=saved_credentials("A"), inline=frozenset({WINDOW_POLICY})),
        declare(admin_window=True),
        ["tag user 'U' with cwagent:saved-key"],
    ),
    "saved key of an admin user, tag of another key": (
        existing_user("A", saved=saved_credentials("A"), inline=frozenset({WINDOW_POLICY}), tags={SAVED_KEY_TAG: "B"}),
        declare(),
        ["tag user 'U' with cwagent:saved-key"],
    ),
    "saved key of an admin user, tagged": (
        existing_user("A", saved=saved_credentials("A"), inline=frozenset({WINDOW_POLICY}), tags={SAVED_KEY_TAG: "A"}),
        declare(tags={}, purge_tags=True),
        [],
    ),
    "saved key of an admin user deleted": (
        existing_user(saved=saved_credentials("A"), inline=frozenset({WINDOW_POLICY}), tags={SAVED_KEY_TAG: "A"}),
        declare(tags={}, purge_tags=True),
        ["create an inactive access key for user 'U' and save it to F"],
    ),
    "no user, admin window": (
        missing_user(saved_credentials()),
        declare(admin_window=True),
        [
            CREATE_USER,
            "close the admin window of user 'U'",
            ATTACH_SERVER,
            "create an inactive access key for user 'U' and save it to F",
        ],
    ),
}


@pytest.mark.parametrize(("current", "desired", "steps"), PRESENT.values(), ids=PRESENT)
def test_the_steps_to_the_declared_user(current, desired, steps):
    assert [step.summary for step in plan(current, desired)] == steps


def test_a_new_user_is_created_with_everything_declared():
    desired = declare(path="/m/", boundary=BOUNDARY, tags={"a": "1"}, admin_window=True)
    create, close, attach = plan(missing_user(), desired)
    arguments = {"user_name": "U", "path": "/m/", "permissions_boundary": BOUNDARY}
    assert create.arguments == {**arguments, "tags": {"a": "1", **CREATED_TAGS}}
    assert [close.action, attach.action] == ["iam:PutUserPolicy", "iam:AttachUserPolicy"]


@pytest.mark.parametrize(
    ("current", "key", "keys"),
    [
        (existing_user("A", "B", saved=saved_credentials("B", up_to_date=False)), "B", ["A", "B"]),
        (existing_user("A", "B", saved=saved_credentials("A", pending=["A"])), "A", ["A"]),
        (existing_user("B", saved=saved_credentials("A")), None, ["B", ""]),
        (missing_user(saved_credentials("A")), None, [""]),
    ],
    ids=["saved in another form", "orphaned key", "saved key deleted", "user deleted"],
)
def test_the_planned_keys(current, key, keys):
    planned = planned_state(current, declare())
    assert planned.saved == saved_credentials(key)
    assert [each.id for each in planned.user.keys] == keys
    assert all(each.active for each in planned.user.keys)
    [*_, last] = planned_state(current, declare(admin_window=True)).user.keys
    assert last.active == bool(last.id)


@pytest.mark.parametrize(
    ("current", "desired", "message"),
    [
        (existing_user(path="/m/"), declare(path="/"), "exists with path /m/, and this module does not move it to /;"),
        (
            existing_user("A", "B", saved=saved_credentials()),
            declare(),
            r"allows 2, and these are not saved at F: A \(active, 0 days old, never used\); B ",
        ),
        (
            user_of_others(existing_user()),
            declare(admin_window=True),
            "user 'U' exists and was not created by this collection",
        ),
        (existing_user("A", "B", saved=saved_credentials("X")), declare(), "needs a new access key, but IAM allows 2"),
        (
            existing_user("A", "B", saved=saved_credentials(pending=["A", "B"])),
            declare(),
            "needs a new access key, but IAM allows 2",
        ),
    ],
    ids=[
        "another path",
        "two unmanaged keys",
        "a window for a user of others",
        "saved key deleted",
        "interrupted before a key was created",
    ],
)
def test_a_user_that_cannot_be_changed_is_an_error(current, desired, message):
    with pytest.raises(CwagentError, match=message):
        plan(current, desired)


def test_the_error_lists_which_keys_are_inactive():
    user = User("U", PrincipalState(policies=frozenset({SERVER})), keys=(AccessKey("A", active=False), AccessKey("B")))
    with pytest.raises(CwagentError, match=r"A \(inactive, .*B \(active, "):
        plan(State("U", NOW, user, saved_credentials()), declare())


def test_only_steps_on_a_new_user_are_retried_until_iam_knows_it():
    create, *grants, key = plan(missing_user(saved_credentials()), declare("admin", admin_window=True))
    assert create.action == "iam:CreateUser"
    assert not create.retry_when
    assert grants
    assert all(step.retry_when == NEW_ENTITY_RETRY_CODES for step in grants)
    assert key.retry_when >= THROTTLING_CODES
    assert not any(step.retry_when for step in plan(existing_user(policies=frozenset()), declare()))


def test_creating_a_key_is_retried_only_when_throttled():
    [step] = plan(existing_user(saved=saved_credentials()), declare())
    assert step.retry_when == THROTTLING_CODES
    assert not step.done_when


def delete_key(key: str) -> str:
    return f"delete access key {key} of user 'U'"


DETACH_SERVER = "detach CloudWatchAgentServerPolicy from user 'U'"
DELETE_USER, DELETE_FILE = "delete user 'U'", "delete F"
ABSENT = {
    "no user": (missing_user(saved_credentials()), declare(), [], []),
    "only the file": (missing_user(saved_credentials("A")), declare(), [DELETE_FILE], []),
    "only the record": (missing_user(saved_credentials(pending=[])), declare(), [DELETE_FILE], []),
    "only managed things": (
        existing_user("A", saved=saved_credentials("A")),
        declare(),
        [delete_key("A"), DELETE_FILE, DETACH_SERVER, DELETE_USER],
        [],
    ),
    "an orphaned key": (
        existing_user("A", "B", saved=saved_credentials("A", pending=["A"])),
        declare(),
        [delete_key("A"), delete_key("B"), DELETE_FILE, DETACH_SERVER, DELETE_USER],
        [],
    ),
    "a key created after the record, in use": (
        add_use(existing_user("A", "B", saved=saved_credentials("A", pending=["A"])), "B"),
        declare(),
        [delete_key("A"), DELETE_FILE, DETACH_SERVER],
        ["access key B"],
    ),
    "keys saved elsewhere": (existing_user("A"), declare(), [DETACH_SERVER], ["access key A"]),
    "unmanaged key": (
        existing_user("A", "B", saved=saved_credentials("A")),
        declare(),
        [delete_key("A"), DELETE_FILE, DETACH_SERVER],
        ["access key B"],
    ),
    "unmanaged policies": (
        existing_user(
            "A",
            saved=saved_credentials("A"),
            policies=frozenset({SERVER, CUSTOM}),
            inline=frozenset({"app", WINDOW_POLICY}),
        ),
        declare(),
        [delete_key("A"), DELETE_FILE, DETACH_SERVER, "delete inline policy 'CloudWatchAgentAdminWindow' of user 'U'"],
        [f"policy {CUSTOM}", "inline policy 'app'"],
    ),
    "a replaced key": (
        existing_user("A", "B", saved=saved_credentials("B", replaced_key_id="A")),
        declare(),
        [delete_key("A"), delete_key("B"), DELETE_FILE, DETACH_SERVER, DELETE_USER],
        [],
    ),
    "a user of others": (
        user_of_others(existing_user("A", "B", saved=saved_credentials("A")), {SAVED_KEY_TAG: "A", **ADOPTED_TAGS}),
        declare(),
        [
            delete_key("A"),
            DELETE_FILE,
            DETACH_SERVER,
            "remove the tags cwagent:managed, cwagent:saved-key from user 'U'",
        ],
        [NOT_CREATED, "access key B"],
    ),
    "a user of others, exclusive": (
        user_of_others(replace(existing_user("B"), user=user_in_groups("ops").user)),
        declare(exclusive=True),
        [DETACH_SERVER],
        [NOT_CREATED],
    ),
    "created, with a group and the tag of the saved key": (
        existing_user("A", "B", saved=saved_credentials("A"), tags={SAVED_KEY_TAG: "A"}),
        declare(),
        [delete_key("A"), DELETE_FILE, DETACH_SERVER, "remove the tags cwagent:saved-key from user 'U'"],
        ["access key B"],
    ),
    "group": (user_in_groups("ops"), declare(), [DETACH_SERVER], ["group 'ops'"]),
    "group, exclusive": (
        user_in_groups("ops"),
        declare(exclusive=True),
        [DETACH_SERVER, "remove user 'U' from group 'ops'", DELETE_USER],
        [],
    ),
    "keys saved elsewhere, exclusive": (
        existing_user("A", "B"),
        declare(exclusive=True),
        [delete_key("A"), delete_key("B"), DETACH_SERVER, DELETE_USER],
        [],
    ),
}


@pytest.mark.parametrize(("current", "desired", "steps", "expected_blockers"), ABSENT.values(), ids=ABSENT)
def test_the_steps_that_delete_a_user_and_their_obstacles(current, desired, steps, expected_blockers):
    assert [step.summary for step in plan_absent(current, desired)] == steps
    assert blockers(current, desired) == expected_blockers
    retried = {step.action for step in plan_absent(current, desired) if step.retry_when}
    assert retried == ({"iam:DeleteUser"} if DELETE_USER in steps else set())
    assert all(step.retry_when in (frozenset(), DELETE_RETRY_CODES) for step in plan_absent(current, desired))
    assert all(
        step.done_when == NOT_FOUND_CODES for step in plan_absent(current, desired) if step.action.startswith("iam:")
    )


UPDATES = ("Put", "Attach", "Detach", "Tag", "Untag", "RemoveUserFromGroup", "Rewrite", "DeleteUserPermissionsBoundary")
KIND_CASES = {
    **{f"present, {name}": plan(current, desired) for name, (current, desired, _) in PRESENT.items()},
    **{f"absent, {name}": plan_absent(current, desired) for name, (current, desired, *_) in ABSENT.items()},
    "boundary removed": plan(existing_user(boundary=BOUNDARY), declare(boundary="none")),
}


@pytest.mark.parametrize("steps", KIND_CASES.values(), ids=KIND_CASES)
def test_the_kind_of_a_step_follows_from_its_operation(steps):
    for step in steps:
        operation = step.action.partition(":")[2]
        is_update = operation.startswith(UPDATES)
        created_or_deleted = Kind.CREATE if operation.startswith("Create") else Kind.DELETE
        assert step.kind is (Kind.UPDATE if is_update else created_or_deleted), step.action


def test_users_are_rendered_with_their_keys():
    current = existing_user("A", "B", saved=saved_credentials("B"))
    planned = planned_state(State("V", NOW, saved=saved_credentials()), declare())
    users = user_plan.to_dict({"U": current, "V": planned, "W": State("W", NOW)})["users"]
    assert [user["name"] for user in users] == ["U", "V"]
    assert [key["id"] for key in users[0]["access_keys"]] == ["A", "B"]
    assert users[0]["saved"] == {"access_key_id": "B", "location": "F"}
    assert users[1]["access_keys"] == [{"id": None, "active": True, "age_days": 0, "created": None, "last_used": None}]
    assert users[1]["saved"] == {"access_key_id": None, "location": "F"}
    assert users[1]["arn"] is None
    assert user_plan.to_dict({"U": existing_user()})["users"][0]["saved"] is None


def test_the_age_of_a_key_is_that_at_the_time_of_the_read():
    later = replace(existing_user("A"), read_at=NOW + timedelta(days=3))
    [user] = user_plan.to_dict({"U": later})["users"]
    assert user["access_keys"][0]["age_days"] == 3


# Below: with a model of IAM and real files

KEYS = ("AKIAONEXXXXXXXXX", "AKIATWOXXXXXXXXX")


class UserScenario:
    """One user in a model of IAM, its credentials file, and the resource that manages both."""

    def __init__(
        self, folder: str, user: User | None, desired: Any, managed: bool = True, present: bool = True
    ) -> None:
        self.iam = Iam()
        if user:
            self.iam.put_user(user)
        self.store = FileStore(Path(folder) / "keys", "AmazonCloudWatchAgent", "eu-central-1")
        self.gateway: Any
        self.gateway = Gateway(self.iam)
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
        return {"U": State("U", NOW, self.iam.user("U"), self.store.read(["U"])["U"] if self._managed else None)}

    def run(self) -> dict[str, State]:
        apply(self.resource.plan(self.state()), self.resource.execute, check_mode=False)
        return self.state()


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
    "key": st.sampled_from([None, *KEYS, "AKIAGONEXXXXXXXX"]),
    "up_to_date": st.booleans(),
    "pending": st.none() | subsets(*KEYS, "AKIAGONEXXXXXXXX"),
}


@given(user=st.none() | USERS, desired=DECLARED, managed=st.booleans(), file=st.fixed_dictionaries(FILES))
def test_applying_a_plan_leads_to_the_planned_state(user, desired, managed, file):
    with tempfile.TemporaryDirectory() as folder:
        scenario = UserScenario(folder, user, desired, managed)
        scenario.save(**file)
        plan = scenario.resource.plan(scenario.state())
        if plan.errors:
            is_other_path = user and desired.path not in (None, user.principal.path)
            is_of_others = desired.admin_window and not (user.principal.is_marked or desired.adopt)
            assert is_other_path or is_of_others or (managed and len(user.keys) == 2 and file["key"] not in KEYS)
            return
        final = scenario.run()
        assert not scenario.resource.plan(final).has_changes
        assert final["U"].user.groups == (user.groups if user and not desired.exclusive else frozenset())
        created = set(scenario.iam.users["U"].keys) - set(KEYS)
        assert _set_key_id(plan.planned["U"], *created) == final["U"]
        if managed:
            key = final["U"].saved.key_id
            assert key in scenario.iam.users["U"].keys
            assert f"aws_secret_access_key = {scenario.iam.secrets[key]}\n" in scenario.store.path("U").read_text()


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
        scenario = UserScenario(folder, user, desired, managed, present=False)
        scenario.save(**file)
        current = scenario.state()
        is_blocked, planned = bool(blockers(current["U"], desired)), scenario.resource.plan(current).planned["U"]
        final = scenario.run()
        assert final["U"].user == planned.user
        assert not scenario.resource.plan(final).has_changes
        assert bool(final["U"].user) == is_blocked
        assert not user or user.principal.is_created or final["U"].user
        if managed:
            assert list(scenario.store.directory.glob("*")) + list(scenario.store.directory.glob(".*")) == []
        if final["U"].user:
            assert not final["U"].user.principal.policies & desired.managed


def test_a_file_of_another_region_is_written_again(tmp_path):
    scenario = UserScenario(str(tmp_path), existing_user(KEYS[0]).user, declare())
    scenario.save(KEYS[0], up_to_date=False, pending=None)
    scenario.run()
    assert "region = eu-central-1\n" in scenario.store.path("U").read_text()


def test_a_file_is_deleted_with_its_user(tmp_path):
    scenario = UserScenario(str(tmp_path), existing_user(KEYS[0]).user, declare(), present=False)
    scenario.save(KEYS[0], up_to_date=True, pending=None)
    assert scenario.run()["U"].user is None
    assert not scenario.store.path("U").exists()


def test_a_user_without_a_file_has_no_key(tmp_path):
    assert UserScenario(str(tmp_path), None, declare(), managed=False).run()["U"].user.keys == ()


class Killed(Exception):
    """The controller stops, or the answer is lost."""


class FailingGateway(Gateway):
    """Fails at one call of a run, before or after the call has its effect."""

    def __init__(self, model: Iam, call: int, has_effect: bool, error: type[Exception]) -> None:
        super().__init__(model)
        self.calls_left, self.has_effect, self.error = call, has_effect, error

    def execute(self, step: Step, max_attempts: int = 1) -> Any:
        self.calls_left -= 1
        if self.calls_left == 0 and not self.has_effect:
            raise self.error("refused")
        answer = super().execute(step)
        if self.calls_left == 0:
            raise self.error("answer lost")
        return answer


@given(
    user=st.none() | USERS,
    file=st.fixed_dictionaries({**FILES, "pending": st.none()}),
    call=st.integers(1, 6),
    has_effect=st.booleans(),
    error=st.sampled_from([Killed, CwagentError]),
)
def test_the_next_run_completes_an_interrupted_one(user, file, call, has_effect, error):
    with tempfile.TemporaryDirectory() as folder:
        scenario = UserScenario(folder, user, declare())
        scenario.save(**file)
        if scenario.resource.plan(scenario.state()).errors:
            return
        scenario.gateway = FailingGateway(scenario.iam, call, has_effect, error)
        scenario.resource = UserResource(scenario.gateway, ["U"], declare(), store=scenario.store, present=True)
        try:
            scenario.run()
        except (Killed, CwagentError):
            final = scenario.run()
        else:
            final = scenario.state()
        unmanaged = {key.id for key in user.keys} if user else set()
        assert set(scenario.iam.users["U"].keys) == unmanaged | {final["U"].saved.key_id}
        assert not scenario.resource.plan(final).has_changes


@pytest.mark.parametrize("has_effect", [False, True])
def test_a_key_without_an_answer_is_replaced(tmp_path, has_effect):
    scenario = UserScenario(str(tmp_path), existing_user().user, declare())
    scenario.gateway = FailingGateway(scenario.iam, 1, has_effect, Killed)
    scenario.resource = UserResource(scenario.gateway, ["U"], declare(), store=scenario.store, present=True)
    with pytest.raises(Killed):
        scenario.run()
    final = scenario.run()
    assert [key.id for key in final["U"].user.keys] == [final["U"].saved.key_id]


def test_an_admin_key_is_inactive_after_an_interrupted_run(tmp_path):
    desired = declare("admin", admin_window=True)
    scenario = UserScenario(str(tmp_path), None, desired)
    scenario.gateway = FailingGateway(scenario.iam, 5, has_effect=False, error=Killed)
    scenario.resource = UserResource(scenario.gateway, ["U"], desired, store=scenario.store, present=True)
    with pytest.raises(Killed):
        scenario.run()
    [key] = scenario.run()["U"].user.keys
    assert not key.active


@pytest.mark.parametrize("deletion_fails", [False, True])
def test_a_key_that_cannot_be_saved_is_deleted(tmp_path, deletion_fails):
    scenario = UserScenario(str(tmp_path), None, declare())
    plan = scenario.resource.plan(scenario.state())
    create = scenario.iam.create_access_key

    def create_and_block(user_name: str) -> Any:
        created = create(user_name)
        scenario.store.path("U").mkdir()
        return created

    scenario.iam.create_access_key = create_and_block
    if deletion_fails:
        scenario.gateway = FailingGateway(scenario.iam, 4, has_effect=False, error=CwagentError)
        scenario.resource = UserResource(scenario.gateway, ["U"], declare(), store=scenario.store, present=True)
    with pytest.raises(CwagentError, match="refused" if deletion_fails else r"user 'U' was deleted\.") as failure:
        apply(plan, scenario.resource.execute, check_mode=False)
    assert not any(secret in str(failure.value) for secret in scenario.iam.secrets.values())
    assert len(scenario.iam.users["U"].keys) == deletion_fails
    scenario.store.path("U").rmdir()
    scenario.iam.create_access_key = create
    [key] = scenario.run()["U"].user.keys
    assert scenario.store.read(["U"])["U"].key_id == key.id


def test_an_error_of_one_user_does_not_stop_the_others(tmp_path):
    iam = Iam()
    iam.put_user(User("U", keys=(AccessKey("A", created=NOW), AccessKey("B", created=NOW))))
    store = FileStore(tmp_path, "p", None)
    gateway: Any = Gateway(iam)
    resource = UserResource(gateway, ["U", "V", "U"], declare(), store=store, present=True)
    current = {name: State(name, NOW, iam.user(name), found) for name, found in store.read(["U", "V"]).items()}
    with pytest.raises(CwagentError, match="user 'U' needs a new access key") as failure:
        apply(resource.plan(current), resource.execute, check_mode=False)
    assert list(failure.value.details["failures"]) == ["U"]
    assert store.read(["V"])["V"].key_id in iam.users["V"].keys


def test_the_plan_of_a_user_that_fails_is_to_change_nothing(tmp_path):
    resource = resource_with(FileStore(tmp_path, "p", None))
    current = {"U": existing_user("A", "B", saved=saved_credentials())}
    plan = resource.plan(current)
    assert list(plan.errors) == ["U"]
    assert plan.planned == current
    assert not plan.has_changes


def resource_with(store: Any, model: Iam | None = None, **options: Any) -> UserResource:
    """The resource for the user U over a model of IAM."""
    gateway: Any = Gateway(model or Iam())
    desired = options.pop("desired", declare())
    return UserResource(gateway, ["U"], desired, store=store, present=options.pop("present", True), **options)


def test_a_plan_can_be_applied_by_another_resource(tmp_path):
    iam, store = Iam(), FileStore(tmp_path, "p", None)
    planner, other = resource_with(store, iam), resource_with(store, iam)
    attributes = dict(vars(planner))
    plan = planner.plan({"U": missing_user(store.read(["U"])["U"])})
    assert vars(planner) == attributes
    apply(plan, other.execute, check_mode=False)
    assert store.read(["U"])["U"].key_id in iam.users["U"].keys


def test_the_steps_of_a_new_user_are_counted_by_kind(tmp_path):
    plan = resource_with(FileStore(tmp_path, "p", None)).plan({"U": missing_user(saved_credentials())})
    assert plan.counts == {"create": 2, "update": 1, "delete": 0}


class ReadGateway(Gateway):
    """Shows the users of a model; the keys of one cannot be listed, and the last use of some keys is denied."""

    def __init__(self, *names: str, unreadable: str = "", denials: int = 0) -> None:
        super().__init__(Iam())
        self.model: Any
        self.unreadable, self.denials = unreadable, denials
        for name in names:
            self.model.put_user(User(name, PrincipalState(tags=CREATED_TAGS)))

    def pages(self, action: str, description: str, **arguments: Any) -> Any:
        if action == "iam:GetAccountAuthorizationDetails":
            return [{"UserDetailList": [self._details(*each) for each in self.model.users.items()]}]
        if arguments["UserName"] == self.unreadable:
            raise AwsApiError(f"Could not {description}.", "AccessDenied")
        keys = self.model.users[arguments["UserName"]].keys.values()
        listed = [{"AccessKeyId": key.id, "Status": "Active", "CreateDate": key.created} for key in keys]
        return [{"AccessKeyMetadata": listed}]

    def _details(self, name: str, user: Any) -> dict[str, Any]:
        attached = [{"PolicyArn": arn} for arn in user.policies]
        tags = [{"Key": key, "Value": value} for key, value in user.tags.items()]
        more = {"AttachedManagedPolicies": attached, "Tags": tags}
        return {"UserName": name, "Path": "/", "Arn": f"arn:{name}", **more}

    def call(self, action: str, description: str, **arguments: Any) -> Any:
        if action != LAST_USE_ACTION:
            return {}
        self.denials -= 1
        if self.denials >= 0:
            raise AwsApiError(f"Could not {description}.", "AccessDenied", action)
        return {"AccessKeyLastUsed": {}}


@pytest.mark.parametrize("present", [True, False])
def test_a_user_that_cannot_be_read_does_not_stop_the_others(tmp_path, present):
    aws: Any = ReadGateway("U", "V", unreadable="U")
    store = FileStore(tmp_path, "p", None)
    resource = UserResource(aws, ["U", "V", "W"], declare(), store=store, present=present)
    with pytest.raises(CwagentError, match=r"^Could not list the access keys of user 'U'\.$") as failure:
        converge(resource, check_mode=False, wait=None)
    assert list(failure.value.details["failures"]) == ["U"]
    assert failure.value.details["changed"]
    assert set(aws.model.users) == ({"U", "V", "W"} if present else {"U"})
    assert aws.model.users["U"].policies == set()


def test_the_error_of_a_read_is_in_the_state_and_in_the_plan(tmp_path):
    aws: Any = ReadGateway("U", "V", unreadable="U")
    resource = UserResource(aws, ["U", "V"], declare(), store=FileStore(tmp_path, "p", None), present=True)
    current = resource.read()
    assert str(current["U"].error) == "Could not list the access keys of user 'U'."
    assert current["V"].error is None
    plan = resource.plan(current)
    assert plan.errors == {"U": current["U"].error}
    assert plan.planned["U"] is current["U"]


def test_a_user_that_becomes_unreadable_is_an_error_after_the_plan_was_applied(tmp_path):
    aws: Any = ReadGateway("U")
    resource = UserResource(aws, ["U"], declare(), store=FileStore(tmp_path, "p", None), present=True)
    execute = resource.execute

    def execute_and_deny(step: Step) -> None:
        execute(step)
        aws.unreadable = "U"

    resource.execute = execute_and_deny
    with pytest.raises(AwsApiError, match="Could not list the access keys of user 'U'") as failure:
        converge(resource, check_mode=False, wait=10)
    assert failure.value.details["done"] == failure.value.details["steps"] != []


def test_blockers_are_a_warning_and_in_the_result():
    resource = resource_with(None, present=False)
    plan = resource.plan({"U": existing_user("A", policies=frozenset({SERVER, UNMANAGED}))})
    assert resource.warnings(plan) == [f"user 'U' was not deleted; still attached: policy {UNMANAGED}, access key A"]
    assert resource.to_result(plan, plan.planned)["blockers"] == {"U": [f"policy {UNMANAGED}", "access key A"]}


def test_a_user_of_others_is_kept_with_a_warning():
    resource = resource_with(None, present=False)
    plan = resource.plan({"U": user_of_others(existing_user())})
    assert resource.warnings(plan) == ["user 'U' was not deleted; it was not created by this collection"]
    assert resource.to_result(plan, plan.planned)["blockers"] == {"U": [NOT_CREATED]}


def test_a_saved_value_that_is_no_access_key_is_kept_with_a_warning():
    resource = resource_with(None, present=False)
    plan = resource.plan({"U": State("U", NOW, saved=SavedCredentials("SSM parameter /k/U", is_unusable=True))})
    assert plan.all_steps == []
    assert resource.warnings(plan) == [
        "SSM parameter /k/U was not deleted, because it is not an access key. If nobody needs it, delete it by hand."
    ]


@pytest.mark.parametrize("interrupted_before", [None, "iam:TagUser"])
def test_the_saved_key_of_an_admin_user_is_tagged(tmp_path, interrupted_before):
    """If the first run was interrupted after it saved the key, the next run tags it."""
    desired = declare("admin", admin_window=True)
    scenario = UserScenario(str(tmp_path), None, desired)
    if interrupted_before:
        # create, close, attach, create the key, deactivate it; then the tag
        scenario.gateway = FailingGateway(scenario.iam, 6, has_effect=False, error=Killed)
        scenario.resource = UserResource(scenario.gateway, ["U"], desired, store=scenario.store, present=True)
        with pytest.raises(Killed):
            scenario.run()
        assert SAVED_KEY_TAG not in scenario.iam.users["U"].tags
    user = scenario.run()["U"].user
    [key] = user.keys
    assert user.principal.tags == {**CREATED_TAGS, SAVED_KEY_TAG: key.id}
    assert not key.active


def test_the_key_of_a_server_user_is_not_tagged(tmp_path):
    assert UserScenario(str(tmp_path), None, declare()).run()["U"].user.principal.tags == CREATED_TAGS


def test_a_user_that_is_declared_present_has_no_blockers():
    resource = resource_with(None)
    plan = resource.plan({"U": existing_user("A", policies=frozenset({SERVER, UNMANAGED}))})
    assert resource.warnings(plan) == []
    assert resource.to_result(plan, plan.current)["blockers"] == {}


def test_the_result_has_the_phase_in_which_the_run_began(tmp_path):
    resource = resource_with(FileStore(tmp_path, "p", None), rules=KeyRules(max_age=timedelta(days=1)))
    current = {"U": replace(existing_user("A", saved=saved_credentials("A")), read_at=NOW + timedelta(days=1))}
    plan = resource.plan(current)
    assert plan.summaries == ["create an access key for user 'U' to replace A and save it to F"]
    assert resource.to_result(plan, {"U": existing_user("A", "B", saved=saved_credentials("B"))})["rotation"] == {
        "U": "due"
    }


class LastUseGateway(Gateway):
    """Knows when keys were used and whose they are. It records the keys of each request."""

    def __init__(self, known: dict[str, Any], code: str = "NoSuchEntity") -> None:
        super().__init__(Iam())
        self.known, self.code, self.requested = known, code, []

    def call(self, action: str, description: str, **arguments: str) -> Any:
        key_id = arguments["AccessKeyId"]
        self.requested.append(key_id)
        if key_id not in self.known:
            raise AwsApiError("cannot be found", self.code, action)
        return {"UserName": "somebody", "AccessKeyLastUsed": self.known[key_id]}


FOREIGN = "AKIAXXXXXXXXXXXXXXXX"
UNUSED, USED = {"Region": "N/A"}, {"LastUsedDate": NOW}


def add_last_use(current: State, gateway: Any, **rules: Any) -> State:
    store: Any = object()
    resource = UserResource(gateway, ["U"], declare(), store=store, present=True, rules=KeyRules(**rules))
    return resource._add_last_use(current)


def test_the_last_use_is_read_only_of_keys_that_could_be_orphaned():
    gateway = LastUseGateway({"B": USED, "C": UNUSED})
    state = add_last_use(existing_user("A", "B", "C", saved=saved_credentials("A", pending=["A"])), gateway)
    assert gateway.requested == ["B", "C"]
    assert [key.used for key in state.user.keys] == [None, NOW, None]


@pytest.mark.parametrize(
    ("current", "rules", "requested"),
    [
        (existing_user("A", "B", saved=saved_credentials("A")), {}, []),
        (existing_user("A", "B"), {"max_age": timedelta(days=1)}, []),
        (existing_user("A", "B", saved=saved_credentials()), {}, ["A", "B"]),
        (existing_user("A", saved=saved_credentials("A")), {"max_age": timedelta(days=1)}, ["A"]),
        (missing_user(saved_credentials()), {}, []),
    ],
    ids=["saved", "keys not managed", "no free slot", "replaced by age", "no user"],
)
def test_the_keys_whose_last_use_is_read(current, rules, requested):
    gateway = LastUseGateway({"A": UNUSED, "B": UNUSED})
    add_last_use(current, gateway, **rules)
    assert gateway.requested == requested


@pytest.mark.parametrize(
    ("known", "current", "belongs_to_other"),
    [
        ({}, existing_user(saved=saved_credentials(FOREIGN)), False),
        ({}, missing_user(saved_credentials(FOREIGN)), False),
        ({FOREIGN: UNUSED}, existing_user(saved=saved_credentials(FOREIGN)), True),
    ],
    ids=["deleted", "deleted with its user", "of another user"],
)
def test_a_saved_key_that_is_not_one_of_the_users_can_belong_to_somebody_else(known, current, belongs_to_other):
    assert add_last_use(current, LastUseGateway(known)).saved == saved_credentials(
        FOREIGN, belongs_to_other=belongs_to_other
    )


@pytest.mark.parametrize("placeholder", ["X", "<YOUR_ACCESS_KEY_ID>", "your-access-key-id"])
def test_a_placeholder_belongs_to_nobody_and_is_not_looked_up(placeholder):
    gateway = LastUseGateway({placeholder: UNUSED})
    assert not add_last_use(existing_user(saved=saved_credentials(placeholder)), gateway).saved.belongs_to_other
    assert gateway.requested == []


def test_a_saved_key_whose_last_use_is_denied_can_belong_to_somebody_else():
    gateway = LastUseGateway({}, code="AccessDenied")
    assert add_last_use(existing_user(saved=saved_credentials(FOREIGN)), gateway).saved.belongs_to_other


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
    assert resource_with(None).is_propagation_error(AwsApiError("No.", code, action)) == is_propagation


def test_a_denied_last_use_keeps_its_code_and_action():
    gateway = LastUseGateway({}, code="AccessDenied")
    with pytest.raises(AwsApiError) as failure:
        add_last_use(existing_user("A", "B", saved=saved_credentials()), gateway)
    assert (failure.value.code, failure.value.action) == ("AccessDenied", LAST_USE_ACTION)


@pytest.fixture
def without_pauses(monkeypatch):
    monkeypatch.setattr(_converge, "Deadline", lambda seconds: Deadline(seconds, sleep=lambda _seconds: None))


@pytest.mark.usefixtures("without_pauses")
def test_a_new_key_whose_last_use_is_denied_at_first_is_waited_for(tmp_path):
    aws: Any = ReadGateway("U")
    store, rules = FileStore(tmp_path, "p", None), KeyRules(max_age=timedelta(days=1))
    resource = UserResource(aws, ["U"], declare(), store=store, present=True, rules=rules)
    execute = resource.execute

    def execute_and_deny(step: Step) -> None:
        execute(step)
        aws.denials = 2

    resource.execute = execute_and_deny
    [user] = converge(resource, check_mode=False, wait=10)["users"]
    assert [key["id"] for key in user["access_keys"]] == [store.read(["U"])["U"].key_id]
    assert aws.denials < 0


def test_a_denied_last_use_is_an_error_before_anything_is_written(tmp_path):
    aws: Any = ReadGateway("U", denials=1)
    aws.model.users["U"].keys["A"] = AccessKey("A", created=NOW)
    store, rules = FileStore(tmp_path, "p", None), KeyRules(max_age=timedelta(days=1))
    resource = UserResource(aws, ["U"], declare(), store=store, present=True, rules=rules)
    with pytest.raises(CwagentError, match="Could not read when access key A was last used") as failure:
        converge(resource, check_mode=False, wait=10)
    assert failure.value.details["failures"].keys() == {"U"}
    assert failure.value.details["changed"] is False


def test_a_tag_of_a_new_user_that_iam_does_not_show_yet_is_remaining():
    resource = resource_with(None, desired=declare(tags={"team": "ops"}))
    plan = resource.plan({"U": missing_user()})
    assert not any("tag" in summary for summary in plan.summaries)
    without_tags = {"U": State("U", NOW, User("U", PrincipalState(policies=frozenset({SERVER}))))}
    assert resource.remaining(plan, without_tags) == ["tag user 'U' with team"]


def test_a_later_step_on_a_key_is_not_remaining():
    resource = resource_with(object())
    plan = resource.plan({"U": existing_user("A", saved=saved_credentials("A"), policies=frozenset())})
    assert resource.remaining(plan, {"U": existing_user("A", saved=saved_credentials())}) == []


def test_a_planned_step_on_a_key_that_iam_does_not_show_yet_is_remaining():
    resource = resource_with(object())
    plan = resource.plan({"U": existing_user(saved=saved_credentials())})
    assert resource.remaining(plan, {"U": existing_user(saved=saved_credentials("A"))}) == [CREATE_KEY]


def test_a_key_that_another_run_saved_in_the_meantime_is_kept(tmp_path):
    store = FileStore(tmp_path / "keys", "AmazonCloudWatchAgent", None)
    iam = Iam()
    create = iam.create_access_key

    def create_while_another_run_saves(user_name: str) -> Any:
        created = create(user_name)
        store.save("U", "AKIAOFTHEOTHERRUN", "secret")
        return created

    iam.put_user(User("U", PrincipalState(policies=frozenset({SERVER}))))
    iam.create_access_key = create_while_another_run_saves
    resource = resource_with(store, iam)
    [step] = resource.plan({"U": State("U", NOW, iam.user("U"), store.read(["U"])["U"])}).all_steps
    with pytest.raises(ContentionError, match=r"Another run saved .* was deleted\.$"):
        resource.execute(step)
    assert store.read(["U"])["U"].key_id == "AKIAOFTHEOTHERRUN"
    assert iam.users["U"].keys == {}


def warnings(current: State) -> list[str]:
    resource = resource_with(object())
    return resource.warnings(Plan({"U": current}, {"U": current}, {}))


def test_a_second_key_is_a_warning():
    [warning] = warnings(existing_user("A", saved=saved_credentials()))
    beginning = "user 'U' gets a second access key, because this one is not saved at F: A (active, "
    assert warning.startswith(beginning)


@pytest.mark.parametrize(
    "current",
    [
        existing_user("A", "B", saved=saved_credentials("A")),
        existing_user("A", saved=saved_credentials(pending=[])),
        existing_user(saved=saved_credentials()),
    ],
    ids=["one is saved", "the other is orphaned", "first key"],
)
def test_without_a_second_key_there_is_no_warning(current):
    assert warnings(current) == []


def test_other_credentials_block_the_deletion_unless_exclusive():
    device = "arn:aws:iam::123456789012:mfa/phone"
    credentials = {
        "login profile": (user_plan.LOGIN, "U"),
        f"MFA device {device}": (user_plan.MFA, device),
        "MFA device SERIAL4711": (user_plan.MFA, "SERIAL4711"),
        "SSH key APKASSSSSSSSSSSSSSSS": (user_plan.SSH, "APKASSSSSSSSSSSSSSSS"),
        "service-specific credential ACCACCCCCCCCCCCCCCCC": (user_plan.SERVICE, "ACCACCCCCCCCCCCCCCCC"),
        "signing certificate CERTXXXXXXXXXXXXXXXXXXXX": (user_plan.CERTIFICATE, "CERTXXXXXXXXXXXXXXXXXXXX"),
    }
    principal = PrincipalState(tags=CREATED_TAGS)
    credentials_of_user = tuple(user_plan.Credential(*each) for each in credentials.values())
    current = State("U", NOW, User("U", principal, credentials=credentials_of_user))
    assert blockers(current, declare()) == list(credentials)
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


def test_a_user_whose_saved_key_cannot_be_read_is_not_deleted():
    current = existing_user("A", saved=saved_credentials("A", problem="Could not read it."))
    with pytest.raises(CwagentError, match=r"^Could not read it\.$"):
        plan_absent(current, declare())


def test_a_user_whose_saved_key_is_being_deleted_is_deleted():
    saved = saved_credentials(problem="It was marked for deletion.", is_being_deleted=True)
    assert plan_absent(existing_user(saved=saved), declare())[-1].action == "iam:DeleteUser"
