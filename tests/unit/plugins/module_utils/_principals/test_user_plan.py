from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aws_model import NOW, check_call
from declarations import (
    ADMIN,
    ADOPTED_TAGS,
    BOUNDARY,
    CREATED_TAGS,
    CUSTOM,
    SERVER,
    UNMANAGED,
    declare,
)

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import THROTTLING_CODES, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import NOT_CREATED, SAVED_KEY_TAG, WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import NEW_ENTITY_RETRY_CODES, Kind, Step
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import (
    AccessKey,
    CreationRecord,
    KeyRules,
    SavedCredentials,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals import user_plan
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import Declared, PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user_plan import State, User

CREATE_USER, ATTACH_SERVER = "create user 'U'", "attach CloudWatchAgentServerPolicy to user 'U'"
CREATE_KEY = "create an access key for user 'U' and save it to F"
CREATE_INACTIVE_KEY = "create an inactive access key for user 'U' and save it to F"
REWRITE, CLOSE_WINDOW = "write F again with the access key of user 'U'", "close the admin window of user 'U'"
MARK, TAG_KEY = "tag user 'U' with cwagent:managed", "tag user 'U' with cwagent:saved-key"


def saved(key: str | None = None, record: Any = None, **more: Any) -> SavedCredentials:
    """The saved key in the file F. :param record: the keys that existed before a key was created."""
    return SavedCredentials("F", key, record=None if record is None else CreationRecord(frozenset(record), NOW), **more)


def user(
    *keys: str,
    saved: SavedCredentials | None = None,
    mark: dict[str, str] = CREATED_TAGS,
    groups: Any = (),
    used: str = "",
    **principal: Any,
) -> State:
    """A user with the declared policy and these keys, of which one was used. :param mark: empty for one of others."""
    tags = {**principal.pop("tags", {} if mark == CREATED_TAGS else {"a": "1"}), **mark}
    policies, inline = (
        frozenset(principal.pop(name, default)) for name, default in (("policies", [SERVER]), ("inline", []))
    )
    found = tuple(AccessKey(key, created=NOW, used=NOW if key == used else None) for key in keys)
    state = PrincipalState(policies=policies, inline=inline, tags=tags, **principal)
    return State("U", NOW, User("U", state, frozenset(groups), found), saved)


def no_user(saved: SavedCredentials | None = None) -> State:
    return State("U", NOW, saved=saved)


def plan(current: State, desired: Declared) -> list[Step]:
    return user_plan.plan(current, desired, user_plan.keyring(current, desired, KeyRules()))


def planned_state(current: State, desired: Declared) -> State:
    return user_plan.planned_state(current, desired, user_plan.keyring(current, desired, KeyRules()))


def plan_absent(current: State, desired: Declared) -> list[Step]:
    return user_plan.plan_absent(current, desired, user_plan.keyring(current, desired, KeyRules()))


def blockers(current: State, desired: Declared) -> list[str]:
    return user_plan.blockers(current, desired, user_plan.keyring(current, desired, KeyRules()))


def delete_orphan(key: str) -> str:
    return f"delete access key {key} of user 'U', whose secret was never saved"


OTHERS: dict[str, str] = {}
WINDOW: dict[str, Any] = {"inline": {WINDOW_POLICY}}
CREATE = [CREATE_USER, ATTACH_SERVER, CREATE_KEY]
PURGE_ALL: dict[str, Any] = {"tags": {}, "purge_tags": True}
PRESENT: dict[str, tuple[State, dict[str, Any], list[str]]] = {
    "no user, keys not managed": (no_user(), {}, [CREATE_USER, ATTACH_SERVER]),
    "no user": (no_user(saved()), {}, CREATE),
    "as declared": (user("A", saved=saved("A")), {}, []),
    "keys not managed": (user("A", "B"), {}, []),
    "saved key deleted": (user(saved=saved("A")), {}, [CREATE_KEY]),
    "unmanaged key": (user("A", saved=saved()), {}, [CREATE_KEY]),
    "saved in another form": (user("A", saved=saved("A", up_to_date=False)), {}, [REWRITE]),
    "user deleted, file exists": (no_user(saved("A")), {}, CREATE),
    "orphaned key of an interrupted run": (user("A", saved=saved(record=[])), {}, [delete_orphan("A"), CREATE_KEY]),
    "interrupted after the key was saved": (user("A", saved=saved("A", record=[])), {}, [REWRITE]),
    "admin policy": (user(policies={SERVER, ADMIN}), {}, ["detach CloudWatchAgentAdminPolicy from user 'U'"]),
    "boundary": (user(), {"boundary": BOUNDARY}, ["set the permissions boundary of user 'U' to bound"]),
    "boundary removed": (
        user(boundary=BOUNDARY),
        {"boundary": "none"},
        ["remove the permissions boundary of user 'U'"],
    ),
    "tags": (user(tags={"a": "1", "b": "1"}), {"tags": {"a": "2"}}, ["tag user 'U' with a"]),
    "exclusive": (
        user(policies={SERVER, UNMANAGED}, inline={"app", WINDOW_POLICY}),
        {"exclusive": True},
        ["detach ReadOnlyAccess from user 'U'", "delete inline policy 'app' of user 'U'"],
    ),
    "exclusive, in groups": (
        user(groups=("ops", "dev")),
        {"exclusive": True},
        ["remove user 'U' from group 'dev'", "remove user 'U' from group 'ops'"],
    ),
    "a user of others": (user("A", saved=saved(), mark=OTHERS), {}, [CREATE_KEY]),
    "adoption": (user(mark=OTHERS), {"adopt": True}, [MARK]),
    "adoption with an admin window": (
        user(mark=OTHERS),
        {"adopt": True, "admin_window": True},
        [CLOSE_WINDOW, MARK],
    ),
    "saved key of an admin user, no tag": (user("A", saved=saved("A"), **WINDOW), {"admin_window": True}, [TAG_KEY]),
    "saved key of an admin user, tag of another key": (
        user("A", saved=saved("A"), tags={SAVED_KEY_TAG: "B"}, **WINDOW),
        {},
        [TAG_KEY],
    ),
    "saved key of an admin user, tagged": (
        user("A", saved=saved("A"), tags={SAVED_KEY_TAG: "A"}, **WINDOW),
        PURGE_ALL,
        [],
    ),
    "saved key of an admin user deleted": (
        user(saved=saved("A"), tags={SAVED_KEY_TAG: "A"}, **WINDOW),
        PURGE_ALL,
        [CREATE_INACTIVE_KEY],
    ),
    "no user, admin window": (
        no_user(saved()),
        {"admin_window": True},
        [CREATE_USER, CLOSE_WINDOW, ATTACH_SERVER, CREATE_INACTIVE_KEY],
    ),
}


@pytest.mark.parametrize(("current", "options", "steps"), PRESENT.values(), ids=PRESENT)
def test_the_steps_to_the_declared_user(current, options, steps):
    found = plan(current, declare(**options))
    assert [step.summary for step in found] == steps
    for step in found:
        if not step.action.startswith("iam:"):
            assert step.kind is Kind.UPDATE, "the saved key is written again"
        elif "access_key_id" not in step.arguments:
            check_call(step)


def test_a_new_user_is_created_with_everything_declared():
    desired = declare(path="/m/", boundary=BOUNDARY, tags={"a": "1"}, admin_window=True)
    create, close, attach = plan(no_user(), desired)
    arguments = {"user_name": "U", "path": "/m/", "permissions_boundary": BOUNDARY}
    assert create.arguments == {**arguments, "tags": {"a": "1", **CREATED_TAGS}}
    assert [close.action, attach.action] == ["iam:PutUserPolicy", "iam:AttachUserPolicy"]


@pytest.mark.parametrize(
    ("current", "key", "keys"),
    [
        (user("A", "B", saved=saved("B", up_to_date=False)), "B", ["A", "B"]),
        (user("A", "B", saved=saved("A", record=["A"])), "A", ["A"]),
        (user("B", saved=saved("A")), None, ["B", ""]),
        (no_user(saved("A")), None, [""]),
    ],
    ids=["saved in another form", "orphaned key", "saved key deleted", "user deleted"],
)
def test_the_planned_keys(current, key, keys):
    planned = planned_state(current, declare())
    assert planned.saved == saved(key)
    assert [each.id for each in planned.user.keys] == keys
    assert all(each.active for each in planned.user.keys)
    [*_, last] = planned_state(current, declare(admin_window=True)).user.keys
    assert last.active == bool(last.id)


@pytest.mark.parametrize(
    ("current", "options", "message"),
    [
        (user(path="/m/"), {"path": "/"}, "exists with path /m/, and this module does not move it to /;"),
        (
            user("A", "B", saved=saved()),
            {},
            r"allows 2, and these are not saved at F: A \(active, 0 days old, never used\); B ",
        ),
        (user(mark=OTHERS), {"admin_window": True}, "user 'U' exists and was not created by this collection"),
    ],
    ids=["another path", "two unmanaged keys", "a window for a user of others"],
)
def test_a_user_that_cannot_be_changed_is_an_error(current, options, message):
    with pytest.raises(CwagentError, match=message):
        plan(current, declare(**options))


@pytest.mark.parametrize(
    ("current", "more"), [(no_user(saved()), NEW_ENTITY_RETRY_CODES), (user(saved=saved()), set())]
)
def test_creating_a_key_is_retried_only_when_throttled_or_for_a_new_user(current, more):
    *_, step = plan(current, declare())
    assert step.retry_when == THROTTLING_CODES | more
    assert not step.done_when


def delete_key(key: str) -> str:
    return f"delete access key {key} of user 'U'"


DETACH_SERVER, DELETE_WINDOW = (
    "detach CloudWatchAgentServerPolicy from user 'U'",
    "delete inline policy 'CloudWatchAgentAdminWindow' of user 'U'",
)
DELETE_USER, DELETE_FILE = "delete user 'U'", "delete F"
DELETE_SAVED = [delete_key("A"), DELETE_FILE, DETACH_SERVER]
ABSENT: dict[str, tuple[State, dict[str, Any], list[str], list[str]]] = {
    "no user": (no_user(saved()), {}, [], []),
    "only the file": (no_user(saved("A")), {}, [DELETE_FILE], []),
    "only the record": (no_user(saved(record=[])), {}, [DELETE_FILE], []),
    "only managed things": (user("A", saved=saved("A")), {}, [*DELETE_SAVED, DELETE_USER], []),
    "an orphaned key": (
        user("A", "B", saved=saved("A", record=["A"])),
        {},
        [delete_key("A"), delete_key("B"), DELETE_FILE, DETACH_SERVER, DELETE_USER],
        [],
    ),
    "keys saved elsewhere": (user("A"), {}, [DETACH_SERVER], ["access key A"]),
    "unmanaged key": (user("A", "B", saved=saved("A")), {}, DELETE_SAVED, ["access key B"]),
    "unmanaged policies": (
        user("A", saved=saved("A"), policies={SERVER, CUSTOM}, inline={"app", WINDOW_POLICY}),
        {},
        [*DELETE_SAVED, DELETE_WINDOW],
        [f"policy {CUSTOM}", "inline policy 'app'"],
    ),
    "a replaced key": (
        user("A", "B", saved=saved("B", replaced_key_id="A")),
        {},
        [delete_key("A"), delete_key("B"), DELETE_FILE, DETACH_SERVER, DELETE_USER],
        [],
    ),
    "a user of others": (
        user("A", "B", saved=saved("A"), mark={SAVED_KEY_TAG: "A", **ADOPTED_TAGS}),
        {},
        [*DELETE_SAVED, "remove the tags cwagent:managed, cwagent:saved-key from user 'U'"],
        [NOT_CREATED, "access key B"],
    ),
    "a user of others, exclusive": (
        user(groups=["ops"], mark=OTHERS),
        {"exclusive": True},
        [DETACH_SERVER],
        [NOT_CREATED],
    ),
    "created, with the tag of the saved key": (
        user("A", "B", saved=saved("A"), tags={SAVED_KEY_TAG: "A"}),
        {},
        [*DELETE_SAVED, "remove the tags cwagent:saved-key from user 'U'"],
        ["access key B"],
    ),
    "group": (user(groups=["ops"]), {}, [DETACH_SERVER], ["group 'ops'"]),
    "group, exclusive": (
        user(groups=["ops"]),
        {"exclusive": True},
        [DETACH_SERVER, "remove user 'U' from group 'ops'", DELETE_USER],
        [],
    ),
    "keys saved elsewhere, exclusive": (
        user("A", "B"),
        {"exclusive": True},
        [delete_key("A"), delete_key("B"), DETACH_SERVER, DELETE_USER],
        [],
    ),
    "the saved key is being deleted": (
        user(saved=saved(problem="It was marked for deletion.", is_being_deleted=True)),
        {},
        [DETACH_SERVER, DELETE_USER],
        [],
    ),
}


@pytest.mark.parametrize(("current", "options", "steps", "expected_blockers"), ABSENT.values(), ids=ABSENT)
def test_the_steps_that_delete_a_user_and_their_obstacles(current, options, steps, expected_blockers):
    found = plan_absent(current, declare(**options))
    assert [step.summary for step in found] == steps
    assert {step.kind for step in found if step.summary == DELETE_FILE} <= {Kind.DELETE}
    assert blockers(current, declare(**options)) == expected_blockers


def test_a_user_whose_saved_key_cannot_be_read_is_not_deleted():
    current = user("A", saved=saved("A", problem="Could not read it."))
    with pytest.raises(CwagentError, match=r"^Could not read it\.$"):
        plan_absent(current, declare())


def test_users_are_rendered_with_their_keys():
    current = user("A", "B", saved=saved("B"))
    planned = planned_state(State("V", NOW, saved=saved()), declare())
    users = user_plan.to_dict({"U": current, "V": planned, "W": State("W", NOW)})["users"]
    assert [user["name"] for user in users] == ["U", "V"]
    assert [key["id"] for key in users[0]["access_keys"]] == ["A", "B"]
    assert users[0]["saved"] == {"access_key_id": "B", "location": "F"}
    assert users[1]["access_keys"] == [{"id": None, "active": True, "age_days": 0, "created": None, "last_used": None}]
    assert users[1]["saved"] == {"access_key_id": None, "location": "F"}
    assert users[1]["arn"] is None
    assert user_plan.to_dict({"U": user()})["users"][0]["saved"] is None


def test_the_age_of_a_key_is_that_at_the_time_of_the_read():
    later = replace(user("A"), read_at=NOW + timedelta(days=3))
    [found] = user_plan.to_dict({"U": later})["users"]
    assert found["access_keys"][0]["age_days"] == 3


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


@pytest.mark.parametrize(
    ("current", "options", "fits"),
    [
        (no_user(), {}, False),
        (no_user(), {"boundary": BOUNDARY}, True),
        (user("A"), {}, False),
        (user("A", boundary=BOUNDARY), {}, True),
        (user("A", boundary=BOUNDARY), {"boundary": "none"}, False),
        (user("A"), {"boundary": BOUNDARY}, True),
    ],
)
def test_a_user_with_fitted_policies_needs_a_boundary(current: State, options: Any, fits: bool) -> None:
    plan(current, declare(**options))
    desired = declare(needs_boundary=True, **options)
    if fits:
        plan(current, desired)
        return
    with pytest.raises(CwagentError, match=r"^user 'U' would have fitted policies and no permissions boundary"):
        plan(current, desired)
