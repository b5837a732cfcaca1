# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads users from IAM, in bulk where that is fewer calls, and takes the steps of their plans."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys import rotation
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.api import access_keys
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import set_key_status
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import (
    REMOVE_CREDENTIALS,
    REWRITE_CREDENTIALS,
    Keyring,
    KeyRules,
)
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED_CODES,
    NOT_OFFERED_CODES,
    AwsApiError,
    CwagentError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, Plan, in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import (
    attached_policies,
    boundary,
    inline_policies,
    tags,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._user import plan as user_plan
from ansible_collections.cwagent.iam.plugins.module_utils._user.plan import Credential, State, User

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from typing import NoReturn

    from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file import Store
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step
    from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import Declared

PAGE = 1000
# GetUser, ListAttachedUserPolicies, ListUserPolicies, ListGroupsForUser
CALLS_FOR_ONE = 4

States = dict[str, State]


class UserResource(Resource[States]):
    """A list of users in IAM with their saved keys.

    :param store: where the keys are saved; ``None`` where keys are not managed.
    :param rules: what is wanted of the keys.
    :param present: whether the users are wanted at all.
    """

    def __init__(
        self,
        aws: Aws,
        names: Sequence[str],
        desired: Declared,
        *,
        store: Store | None,
        present: bool,
        rules: KeyRules | None = None,
    ) -> None:
        super().__init__(aws)
        self._names = list(dict.fromkeys(names))
        self._desired = desired
        self._store = store
        self._present = present
        self._rules = rules or KeyRules()
        self._rings: dict[str, Keyring] = {}
        self._unread: dict[str, CwagentError] = {}
        self._planned: set[str] | None = None

    def read(self) -> States:
        """The users as IAM and the store show them."""
        found, unseen = read_in_bulk(self._aws, self._names)
        saved = self._store.read(self._names) if self._store else {}
        self._unread = {}

        def read_one(name: str) -> State:
            state = State(name, found.get(name), saved.get(name))
            try:
                return self._read_on(state, name in unseen)
            except CwagentError as error:
                self._unread[name] = error
                return state

        return dict(zip(self._names, in_parallel(read_one, self._names)))

    def _read_on(self, state: State, is_unseen: bool) -> State:
        user = _read_user(self._aws, state.name) if is_unseen else state.user
        if user and (self._store or not self._present):
            user = self._with_keys(user)
        return self._with_use(replace(state, user=user))

    def plan(self, current: States) -> Plan:
        """The steps of every user; one that cannot be helped does not stop the others."""
        steps: dict[str, Sequence[Step]] = {}
        refused: dict[str, CwagentError] = {}
        for name, state in current.items():
            if name in self._unread:
                refused[name] = self._unread[name]
                continue
            try:
                steps[name] = self._plan_one(state)
            except CwagentError as error:
                refused[name] = error
        plan = Plan(steps, refused)
        self._rings = {name: ring for name, state in current.items() if (ring := self._ring(state))}
        if self._planned is None:
            self._planned = set(plan.summaries)
        return plan

    def _plan_one(self, state: State) -> list[Step]:
        plan_one = user_plan.plan if self._present else user_plan.plan_absent
        return plan_one(state, self._desired, self._ring(state))

    def _ring(self, state: State) -> Keyring | None:
        return user_plan.keyring(state, self._desired, self._rules, self._aws.time)

    def left(self, current: States) -> list[str]:
        """What is not to be seen yet; a later phase of a key's replacement is for a later run."""
        for error in self._unread.values():
            raise error
        steps = [step for steps in self.plan(current).steps.values() for step in steps]
        planned = self._planned or ()
        return [step.summary for step in steps if step.summary in planned or step.action not in rotation.ACTIONS]

    def after(self, current: States) -> States:
        """The states that the plan leads to."""
        after_one = user_plan.planned_state if self._present else user_plan.planned_absence
        planned = {name: after_one(state, self._desired, self._ring(state)) for name, state in current.items()}
        return {**planned, **{name: current[name] for name in self._unread}}

    def render(self, state: States) -> dict[str, Any]:
        """The users for the diff."""
        return user_plan.render(state, self._aws.time)

    def report(self, current: States, planned: States) -> dict[str, Any]:
        """The users for the result, how far their keys are replaced, and what kept users from being deleted."""
        rings = {name: self._ring(state) for name, state in current.items()}
        rotation = {name: ring.phase.value for name, ring in rings.items() if ring and ring.phase}
        return {**self.render(planned), "rotation": rotation, "stays": self._blockers(current)}

    def warnings(self, current: States) -> list[str]:
        """Which users were not deleted, and why; which get a key beside another one."""
        if self._present:
            known = [state for name, state in current.items() if name not in self._unread]
            rings = [ring for state in known if (ring := self._ring(state))]
            return [warning for ring in rings for warning in ring.warnings]
        return [
            f"user '{name}' stays, without the agent's rights: it has {', '.join(blockers)}"
            for name, blockers in self._blockers(current).items()
        ]

    def _blockers(self, current: States) -> dict[str, list[str]]:
        if self._present:
            return {}
        found = {name: user_plan.blockers(state, self._desired, self._ring(state)) for name, state in current.items()}
        return {name: blockers for name, blockers in found.items() if blockers and name not in self._unread}

    def execute(self, step: Step) -> None:
        """Take the step; those on keys and where they are saved want more than a call."""
        name = step.arguments.get("user_name", "")
        if self._store is None:
            super().execute(step)
        elif step.action == "iam:CreateAccessKey":
            self._make_key(step, self._rings[name], self._store)
        elif step.action == REWRITE_CREDENTIALS:
            self._store.rewrite(name)
        elif step.action == REMOVE_CREDENTIALS:
            self._store.remove(name)
        else:
            super().execute(step)

    def _make_key(self, step: Step, ring: Keyring, store: Store) -> None:
        """Make a key and save it, so that no secret is lost at any moment in between."""
        name = ring.user
        store.prepare(name, [key.id for key in ring.keys], self._aws.time)
        # One attempt: a retry after a lost answer would leave a second key.
        answer = self._aws.answer(step, max_attempts=1) or {}
        key = answer["AccessKey"]
        if ring.rules.inactive:
            # IAM makes keys active, but the window is closed. This comes before the key is saved, since until then a
            # run that is interrupted leaves a key that the next one recognises and deletes.
            self._aws.execute(set_key_status(name, key["AccessKeyId"], active=False))
        try:
            # One of them would overwrite the other's secret, and nobody would have it any more.
            if store.read([name])[name].key_id != ring.saved.key_id:
                raise CwagentError(f"Another run has saved an access key of user '{name}' meanwhile.")
            store.save(name, key["AccessKeyId"], key["SecretAccessKey"], keep_earlier=ring.saved.unmanaged)
        except CwagentError as error:
            self._take_back(name, key["AccessKeyId"], error)

    def _take_back(self, name: str, key_id: str, error: CwagentError) -> NoReturn:
        words = f"delete access key {key_id} of user '{name}', which could not be saved"
        try:
            self._aws.execute(rotation.delete(name, key_id, words))
        except CwagentError as second:
            raise CwagentError(f"{error} {second} The next run deletes the key, which nobody has.") from second
        raise CwagentError(f"{error} The new access key of user '{name}' was deleted again.") from error

    def _with_use(self, state: State) -> State:
        """The state with all that its plan depends on and that takes further calls."""
        ring = self._ring(state)
        if ring is None:
            return state
        asked = ring.keys if ring.needs_last_use else ring.orphaned
        keys = tuple(replace(key, used=self._last_use(key)) if key in asked else key for key in ring.keys)
        key_id = ring.saved.key_id
        unmanaged = key_id is not None and ring.saved_key is None and self._is_known(key_id)
        user = replace(state.user, keys=keys) if state.user else None
        return replace(state, user=user, saved=replace(ring.saved, unmanaged=unmanaged))

    def _last_use(self, key: AccessKey) -> datetime | None:
        try:
            answer = self._aws.call(
                "iam:GetAccessKeyLastUsed", f"read when access key {key.id} was last used", AccessKeyId=key.id
            )
        except AwsApiError as error:
            # IAM refuses to speak of a key that it does not know, and not all its hosts know one that was just made.
            if self._planned is not None and error.code in DENIED_CODES:
                raise AwsApiError(str(error), "NoSuchEntity") from error
            raise
        used: datetime | None = answer["AccessKeyLastUsed"].get("LastUsedDate")
        return used

    def _is_known(self, key_id: str) -> bool:
        """Whether a saved key that is none of the user's may be of use to somebody.

        IAM refuses to speak of those of other accounts, and, since 2023, of those that were deleted: they count too.
        """
        description = f"read whose access key {key_id} is"
        try:
            return bool(self._aws.call("iam:GetAccessKeyLastUsed", description, AccessKeyId=key_id).get("UserName"))
        except AwsApiError as error:
            return error.code not in NOT_FOUND_CODES

    def _with_keys(self, user: User) -> User:
        user = replace(user, keys=access_keys(self._aws, user.name))
        return user if self._present else replace(user, credentials=_credentials(self._aws, user.name))


def _credentials(aws: Aws, user: str) -> tuple[Credential, ...]:
    """The other ways to sign in as a user. Not every partition has them all."""
    found: list[Credential] = []
    for kind in user_plan.CREDENTIAL_KINDS:
        try:
            answer = aws.call(kind.listing, f"look for a {kind.words} of user '{user}'", max_attempts=2, UserName=user)
        except AwsApiError as error:
            if error.code not in NOT_FOUND_CODES | NOT_OFFERED_CODES:
                raise
            continue
        listed = answer.get(kind.answer) or []
        found += [Credential(kind, each[kind.id]) for each in (listed if isinstance(listed, list) else [listed])]
    return tuple(found)


def read_in_bulk(aws: Aws, names: Iterable[str]) -> tuple[dict[str, User], set[str]]:
    """The users that were seen, by name, and which ones may still be there.

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
            MaxItems=PAGE,
        )
        for count, page in enumerate(pages, start=1):
            found.update((user["UserName"], _from_details(user)) for user in page["UserDetailList"])
            left = sum(name not in found for name in missing)
            complete = not page.get("IsTruncated")
            if not left or count >= left * CALLS_FOR_ONE:
                break
    except AwsApiError as error:
        if error.code not in DENIED_CODES:
            raise
    return {
        name: found[name] for name in missing if name in found
    }, set() if complete else missing.keys() - found.keys()


def _from_details(user: dict[str, Any]) -> User:
    return User(
        name=user["UserName"],
        principal=PrincipalState(
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
        principal=PrincipalState(
            path=user["Path"],
            policies=attached_policies(aws, "user", name),
            inline=inline_policies(aws, "user", name),
            boundary=boundary(user),
            tags=tags(user),
        ),
        groups=frozenset(group["GroupName"] for page in groups for group in page["Groups"]),
        arn=user["Arn"],
    )
