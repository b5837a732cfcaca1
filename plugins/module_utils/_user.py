# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""IAM users with one saved access key each: what is there, what is wanted, and the steps between. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import THROTTLED, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principal import (
    Declared,
    Held,
    delete_inline,
    detach,
    foreign,
    give,
    render_held,
    settle,
)
from ansible_collections.cwagent.iam.plugins.module_utils._steps import GONE, NEW, STILL_HELD, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
KEYS_PER_USER = 2

# Steps on the saved credentials are no calls to AWS; they are named like them so that one list holds the whole plan.
REWRITE_CREDENTIALS = "credentials:Rewrite"
REMOVE_CREDENTIALS = "credentials:Remove"


@dataclass(frozen=True)
class AccessKey:
    """An access key as IAM lists it.

    :param created: ISO 8601.
    :param used: whether it was ever used; asked only of keys that could be orphans.
    """

    id: str
    active: bool = True
    created: str | None = None
    used: bool = False


@dataclass(frozen=True)
class Saved:
    """What is saved for a user.

    :param where: the place in words, such as a path.
    :param key_id: the access key saved there, if any.
    :param fit: whether it is saved as wanted: profile, region, file mode.
    :param pending: the ids of the keys that existed when an interrupted run was about to make one.
    """

    where: str
    key_id: str | None = None
    fit: bool = True
    pending: frozenset[str] | None = None


@dataclass(frozen=True)
class User:
    """A user as it is. :param keys: ``None`` when they were not asked for."""

    name: str
    held: Held = field(default_factory=Held)
    groups: frozenset[str] = frozenset()
    keys: tuple[AccessKey, ...] = ()
    arn: str | None = None


@dataclass(frozen=True)
class State:
    """A user and what is saved of it; either can be there without the other.

    :param saved: ``None`` where keys are not managed.
    """

    name: str
    user: User | None = None
    saved: Saved | None = None


def _live(state: State) -> AccessKey | None:
    """The key that is both saved and known to IAM."""
    keys = state.user.keys if state.user else ()
    return next((key for key in keys if state.saved and key.id == state.saved.key_id), None)


def orphans(state: State) -> tuple[AccessKey, ...]:
    """Keys that an interrupted run made and whose secrets nobody has; one that was ever used is somebody's."""
    if not state.user or not state.saved or state.saved.pending is None:
        return ()
    known = state.saved.pending | {state.saved.key_id}
    return tuple(key for key in state.user.keys if key.id not in known and not key.used)


def state_after(now: State, want: Declared) -> State:
    """The state that the plan leads to. The id of a key that is yet to be made is ``None``."""
    user = now.user or User(now.name, Held(path=want.path or "/"))
    groups = frozenset() if want.exclusive else user.groups
    user = replace(user, held=want.held_after(user.held), groups=groups)
    if now.saved is None:
        return replace(now, user=user)
    live = _live(now)
    lost = orphans(now)
    keys = tuple(key for key in user.keys if key not in lost)
    if live is None:
        keys += (AccessKey(id="", active=not want.admin_window),)
    saved = Saved(now.saved.where, key_id=live.id if live else None)
    return replace(now, user=replace(user, keys=keys), saved=saved)


def plan(now: State, want: Declared) -> list[Step]:
    """The steps from one user as it is to the user as it is wanted.

    :raises CwagentError: the user cannot be brought there.
    """
    then = state_after(now, want)
    if now.user and want.path not in (None, now.user.held.path):
        raise InvalidInput(
            f"user '{now.name}' exists with path {now.user.held.path}, and this module does not move it to "
            f"{want.path}; leave the path out, or remove the user first."
        )
    if now.user and then.user:
        steps = settle("user", now.name, now.user.held, then.user.held)
        steps += [_leave(now.name, group) for group in sorted(now.user.groups - then.user.groups)]
    elif then.user:
        given = give("user", now.name, then.user.held, Held())
        steps = [_create(then.user), *(replace(step, retry_when=NEW) for step in given)]
    return steps + _key_steps(now, want)


def _create(user: User) -> Step:
    arguments: dict[str, Any] = {"user_name": user.name, "path": user.held.path}
    optional = {"permissions_boundary": user.held.boundary, "tags": user.held.tags}
    arguments.update({key: value for key, value in optional.items() if value})
    return Step("iam:CreateUser", arguments, f"create user '{user.name}'")


def _key_steps(now: State, want: Declared) -> list[Step]:
    if now.saved is None:
        return []
    lost = orphans(now)
    steps = [
        delete_key(now.name, key.id, f"delete access key {key.id} of user '{now.name}', whose secret was lost")
        for key in lost
    ]
    if _live(now):
        if not now.saved.fit or now.saved.pending is not None:
            words = f"write {now.saved.where} anew with the access key of user '{now.name}'"
            steps.append(Step(REWRITE_CREDENTIALS, {"user_name": now.name}, words))
        return steps
    known = [key for key in (now.user.keys if now.user else ()) if key not in lost]
    if len(known) >= KEYS_PER_USER:
        listed = ", ".join(f"{key.id} ({'active' if key.active else 'inactive'}, {key.created})" for key in known)
        raise CwagentError(
            f"user '{now.name}' has {len(known)} access keys, none of them saved at {now.saved.where}, and IAM allows "
            f"{KEYS_PER_USER}: {listed}. Delete one that is not in use, then run again."
        )
    inactive = "an inactive" if want.admin_window else "an"
    words = f"create {inactive} access key for user '{now.name}' and save it to {now.saved.where}"
    # Only a throttled call is known not to have made a key: after any other failure there can be one.
    # So is one that came too early for a new user.
    retry = THROTTLED if now.user else THROTTLED | NEW
    return [*steps, Step("iam:CreateAccessKey", {"user_name": now.name}, words, retry_when=retry)]


def delete_key(user: str, key_id: str, summary: str) -> Step:
    """The step that deletes an access key."""
    return Step("iam:DeleteAccessKey", {"user_name": user, "access_key_id": key_id}, summary, done_when=GONE)


def _leave(user: str, group: str) -> Step:
    words = f"take user '{user}' out of group '{group}'"
    return Step("iam:RemoveUserFromGroup", {"group_name": group, "user_name": user}, words, done_when=GONE)


def stays(now: State, want: Declared) -> list[str]:
    """What is on the user that is not ours and so keeps it from being deleted, in words."""
    if now.user is None or want.exclusive:
        return []
    live, lost = _live(now), orphans(now)
    return [
        *foreign(now.user.held, want),
        *(f"group '{name}'" for name in sorted(now.user.groups)),
        *(f"access key {key.id}" for key in now.user.keys if key != live and key not in lost),
    ]


def absent_after(now: State, want: Declared) -> State:
    """What is left when ours is taken down: of a user with foreign things on it, all but ours."""
    if now.user and stays(now, want):
        ours = {_live(now), *orphans(now)}
        keys = tuple(key for key in now.user.keys if key not in ours)
        user = replace(now.user, held=want.held_without_ours(now.user.held), keys=keys)
        return State(now.name, user)
    return State(now.name)


def plan_absent(now: State, want: Declared) -> list[Step]:
    """The steps that take the user down, in an order IAM accepts."""
    left = absent_after(now, want)
    steps: list[Step] = []
    if now.user:
        kept = left.user.keys if left.user else ()
        steps += [
            delete_key(now.name, key.id, f"delete access key {key.id} of user '{now.name}'")
            for key in now.user.keys
            if key not in kept
        ]
    if now.saved and (now.saved.key_id or now.saved.pending is not None):
        words = f"remove {now.saved.where}"
        steps.append(Step(REMOVE_CREDENTIALS, {"user_name": now.name}, words))
    if now.user and left.user:
        steps += settle("user", now.name, now.user.held, left.user.held)
    elif now.user:
        steps += detach("user", now.name, now.user.held.policies)
        steps += delete_inline("user", now.name, now.user.held.inline)
        steps += [_leave(now.name, group) for group in sorted(now.user.groups)]
        words = f"delete user '{now.name}'"
        steps.append(Step("iam:DeleteUser", {"user_name": now.name}, words, done_when=GONE, retry_when=STILL_HELD))
    return steps


def render(states: Mapping[str, State]) -> dict[str, Any]:
    """The users as the result and the diff show them, in the order asked for."""
    return {"users": [_render(state) for state in states.values() if state.user]}


def _render(state: State) -> dict[str, Any]:
    user = state.user
    if user is None:
        return {}
    live = _live(state)
    return {
        "name": user.name,
        "arn": user.arn,
        **render_held(user.held),
        "groups": sorted(user.groups),
        "access_keys": [{"id": key.id or None, "active": key.active} for key in user.keys],
        "saved": state.saved and {"access_key_id": live.id if live else None, "location": state.saved.where},
    }
