# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads users from IAM, in bulk where that is fewer calls, and takes the steps of their plans."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _user, _window
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED, AwsRefusal, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._iam_role import (
    attached_policies,
    boundary,
    inline_policies,
    tags,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal import Held
from ansible_collections.cwagent.iam.plugins.module_utils._steps import Plan, in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._user import AccessKey, State, User

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._credentials import FileStore
    from ansible_collections.cwagent.iam.plugins.module_utils._principal import Declared
    from ansible_collections.cwagent.iam.plugins.module_utils._steps import Step

PAGE = 1000
# GetUser, ListAttachedUserPolicies, ListUserPolicies, ListGroupsForUser
CALLS_FOR_ONE = 4

States = dict[str, State]


class UserResource(Resource[States]):
    """A list of users in IAM with their saved keys.

    :param store: where the keys are saved; ``None`` where keys are not managed.
    :param present: whether the users are wanted at all.
    """

    def __init__(self, aws: Aws, names: Sequence[str], want: Declared, store: FileStore | None, present: bool) -> None:
        super().__init__(aws)
        self._names = list(dict.fromkeys(names))
        self._want = want
        self._store = store
        self._present = present
        self._existing_keys: dict[str, list[str]] = {}

    def read(self) -> States:
        """The users as IAM and the store show them."""
        users = read_users(self._aws, self._names)
        if self._store or not self._present:
            users.update(zip(users, in_parallel(self._with_keys, users.values())))
        saved = {name: self._store.read(name) if self._store else None for name in self._names}
        states = {name: State(name, users.get(name), saved[name]) for name in self._names}
        return {name: self._with_use(state) if _user.orphans(state) else state for name, state in states.items()}

    def plan(self, now: States) -> Plan:
        """The steps of every user; one that cannot be helped does not stop the others."""
        plan_one = _user.plan if self._present else _user.plan_absent
        steps: dict[str, Sequence[Step]] = {}
        refused: dict[str, CwagentError] = {}
        for name, state in now.items():
            try:
                steps[name] = plan_one(state, self._want)
            except CwagentError as error:
                refused[name] = error
            self._existing_keys[name] = [key.id for key in state.user.keys] if state.user else []
        return Plan(steps, refused)

    def after(self, now: States) -> States:
        """The states that the plan leads to."""
        after_one = _user.state_after if self._present else _user.absent_after
        return {name: after_one(state, self._want) for name, state in now.items()}

    def render(self, state: States) -> dict[str, Any]:
        """The users for the diff."""
        return _user.render(state)

    def report(self, now: States, then: States) -> dict[str, Any]:
        """The users for the result, and what kept them from being deleted."""
        return {**_user.render(then), "stays": self._stays(now)}

    def warnings(self, now: States) -> list[str]:
        """Which users were not deleted, and why."""
        return [
            f"user '{name}' stays, without the agent's rights: it has {', '.join(stays)}"
            for name, stays in self._stays(now).items()
        ]

    def _stays(self, now: States) -> dict[str, list[str]]:
        if self._present:
            return {}
        found = {name: _user.stays(state, self._want) for name, state in now.items()}
        return {name: stays for name, stays in found.items() if stays}

    def execute(self, step: Step) -> None:
        """Take the step; those on keys and their files want more than a call."""
        name = step.arguments["user_name"]
        if step.action == "iam:CreateAccessKey" and self._store:
            self._make_key(step, name, self._store)
        elif step.action == _user.REWRITE_CREDENTIALS and self._store:
            self._store.rewrite(name)
        elif step.action == _user.REMOVE_CREDENTIALS and self._store:
            self._store.remove(name)
        else:
            super().execute(step)

    def _make_key(self, step: Step, name: str, store: FileStore) -> None:
        """Make a key and save it, so that no secret is lost at any moment in between."""
        store.prepare(name, self._existing_keys[name])
        # One attempt: a retry after a lost answer would leave a second key.
        answer = self._aws.answer(step, attempts=1) or {}
        key = answer["AccessKey"]
        if self._want.admin_window:
            # IAM makes keys active, but the window is closed. This comes before the key is saved, since until then a
            # run that is interrupted leaves a key that the next one recognises and deletes.
            self._aws.execute(_window.switch_key(name, key["AccessKeyId"], active=False))
        try:
            store.save(name, key["AccessKeyId"], key["SecretAccessKey"])
        except CwagentError as error:
            words = f"delete access key {key['AccessKeyId']} of user '{name}', which could not be saved"
            self._aws.execute(_user.delete_key(name, key["AccessKeyId"], words))
            raise CwagentError(f"{error} The new access key of user '{name}' was deleted again.") from error

    def _with_use(self, state: State) -> State:
        lost = _user.orphans(state)
        if state.user is None:
            return state
        keys = tuple(replace(key, used=key in lost and self._was_used(key)) for key in state.user.keys)
        return replace(state, user=replace(state.user, keys=keys))

    def _was_used(self, key: AccessKey) -> bool:
        answer = self._aws.call(
            "iam:GetAccessKeyLastUsed", f"read when access key {key.id} was last used", AccessKeyId=key.id
        )
        return "LastUsedDate" in answer["AccessKeyLastUsed"]

    def _with_keys(self, user: User) -> User:
        return replace(user, keys=access_keys(self._aws, user.name))


def access_keys(aws: Aws, user: str) -> tuple[AccessKey, ...]:
    """The access keys of a user."""
    pages = aws.pages("iam:ListAccessKeys", f"list the access keys of user '{user}'", UserName=user)
    return tuple(
        AccessKey(key["AccessKeyId"], key["Status"] == "Active", key["CreateDate"].isoformat())
        for page in pages
        for key in page["AccessKeyMetadata"]
    )


def read_users(aws: Aws, names: Iterable[str]) -> dict[str, User]:
    """The users that exist, by name.

    One page of GetAccountAuthorizationDetails shows up to a thousand users with all that is on them. How many pages
    there are cannot be known beforehand, so pages are read as long as they have cost fewer calls than reading those
    still missing one by one would; that is never more than twice the calls of the better way.
    """
    missing = dict.fromkeys(names)
    found: dict[str, User] = {}
    complete = False
    try:
        pages = aws.pages(
            "iam:GetAccountAuthorizationDetails",
            "read the users of the account",
            Filter=["User"],
            PaginationConfig={"PageSize": PAGE},
        )
        for count, page in enumerate(pages, start=1):
            found.update((user["UserName"], _from_details(user)) for user in page["UserDetailList"])
            left = sum(name not in found for name in missing)
            complete = not page.get("IsTruncated")
            if not left or count >= left * CALLS_FOR_ONE:
                break
    except AwsRefusal as refusal:
        if refusal.code not in DENIED:
            raise
    users = {name: found[name] for name in missing if name in found}
    if not complete:
        unread = [name for name in missing if name not in found]
        singles = in_parallel(lambda name: _read_user(aws, name), unread)
        users.update((user.name, user) for user in singles if user)
    return {name: users[name] for name in missing if name in users}


def _from_details(user: dict[str, Any]) -> User:
    return User(
        name=user["UserName"],
        held=Held(
            path=user["Path"],
            policies=frozenset(policy["PolicyArn"] for policy in user.get("AttachedManagedPolicies", [])),
            inline=frozenset(policy["PolicyName"] for policy in user.get("UserPolicyList", [])),
            boundary=boundary(user),
            tags=tags(user),
        ),
        groups=frozenset(user.get("GroupList", [])),
        arn=user["Arn"],
    )


def _read_user(aws: Aws, name: str) -> User | None:
    answer = aws.find("iam:GetUser", f"read user '{name}'", absent="NoSuchEntity", UserName=name)
    if answer is None:
        return None
    user = answer["User"]
    groups = aws.pages("iam:ListGroupsForUser", f"list the groups of user '{name}'", UserName=name)
    return User(
        name=user["UserName"],
        held=Held(
            path=user["Path"],
            policies=attached_policies(aws, "user", name),
            inline=inline_policies(aws, "user", name),
            boundary=boundary(user),
            tags=tags(user),
        ),
        groups=frozenset(group["GroupName"] for page in groups for group in page["Groups"]),
        arn=user["Arn"],
    )
