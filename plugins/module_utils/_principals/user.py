# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The users of the module cwagent_iam_user: its options, the reads from IAM, and the execution of the steps.

Many users are read in bulk if that takes fewer calls.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._ground import names
from .._ground.changes import without_empty
from .._ground.converge import Resource
from .._ground.errors import (
    DENIED_CODES,
    NOT_OFFERED_CODES,
    THROTTLING_CODES,
    AwsApiError,
    ContentionError,
    CwagentError,
)
from .._ground.plan import NOT_FOUND_CODES, Plan, run_in_parallel
from .._ground.planned import find_detached
from .._ground.wait import Deadline
from .._keys.key_rotation import (
    DELETE_CREDENTIALS,
    KEY_ACTIONS,
    REWRITE_CREDENTIALS,
    Keyring,
    KeyRules,
    delete_key,
    key_rules,
    set_key_status,
)
from .._keys.store import CLAIM_POLL_SECONDS, claimed_message
from .._keys.stores import KEY_STORES, PLACE_SPEC, PROFILE_SPEC, open_store
from . import user_plan
from .principal import (
    PRINCIPAL_SPEC,
    access_keys,
    attached_policies,
    boundary,
    check_boundary,
    declared_principal,
    find_user,
    find_users,
    inline_policies,
    read_quota,
    tags,
    with_policy_arns,
)
from .principal_plan import PrincipalState, kept_warning
from .user_plan import Credential, Retirement, State, User

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from .._ground.aws import Aws
    from .._ground.plan import Step
    from .._keys.key_rotation import AccessKey, KeyCreation, SavedCredentials
    from .._keys.store import Store
    from .policies import AccountPrincipal
    from .principal_plan import Declared


# How long AWS may show the value that was saved before.
STALE_READ_SECONDS = 5
# After any other failure of CreateAccessKey, IAM may have created a key.
NO_KEY_CREATED_CODES = DENIED_CODES | NOT_FOUND_CODES | THROTTLING_CODES | {"LimitExceeded"}
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html
KEY_ID_PATTERN = r"\w{16,128}"
LAST_USE_ACTION = "iam:GetAccessKeyLastUsed"

States = dict[str, State]


class UserResource(Resource[States]):
    """A list of users in IAM with their saved keys.

    :param store: where the keys are saved; ``None`` if keys are not managed.
    :param rules: the declared rules for the keys.
    :param present: whether the users should exist.
    :param hold: by user, why it is not retired yet.
    """

    _aws: Aws

    def __init__(
        self,
        aws: Aws,
        names: Sequence[str],
        desired: Declared,
        *,
        store: Store | None,
        present: bool,
        rules: KeyRules | None = None,
        hold: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(aws)
        self._names = list(dict.fromkeys(names))
        self._desired = desired
        self._store = store
        self._present = present
        self._rules = rules or KeyRules()
        self._hold = hold or {}

    def read(self) -> States:
        """Read the users, whether a new permissions boundary exists, and if needed the quota.

        :raises InvalidInput: the policy of the boundary does not exist.
        """
        states = self.read_again()
        if self._present:
            readable = [state.user for state in states.values() if not state.error]
            check_boundary(
                self._aws, self._desired.boundary, [user.principal.boundary if user else None for user in readable]
            )
            numbers = [self._desired.policies_at_once(user.principal.policies) for user in readable if user]
            quota = read_quota(self._aws, "user", numbers)
            states = {name: replace(state, max_policies=quota) for name, state in states.items()}
        return states

    def read_again(self) -> States:
        """Read the users from IAM and from the store. A user that cannot be read has the error in its state."""
        found, unseen = read_in_bulk(self._aws, self._names)
        saved = self._read_saved(self._store) if self._store else {}

        def read_one(name: str) -> State:
            state = State(name, self._aws.now, found.get(name), saved.get(name))
            try:
                state = self._read_details(state, name in unseen)
            except CwagentError as error:
                state = replace(state, error=error)
            return replace(state, read_at=self._aws.now)

        return dict(zip(self._names, run_in_parallel(read_one, self._names)))

    def _read_saved(self, store: Store) -> dict[str, SavedCredentials]:
        """Read the saved keys, after waiting until no other run is creating a key, and AWS is not deleting one.

        Until it is saved, the key of another run looks orphaned.
        """
        deadline = self._aws.deadline()
        while True:
            saved = store.read(self._names)
            claimed = [name for name, each in saved.items() if each.claimed]
            is_blocked = self._present and any(each.is_being_deleted for each in saved.values())
            if not (claimed or is_blocked) or not deadline.pause(CLAIM_POLL_SECONDS):
                return {**saved, **{name: replace(saved[name], problem=claimed_message(name)) for name in claimed}}

    def _read_details(self, state: State, is_unseen: bool) -> State:
        user = _read_user(self._aws, state.name) if is_unseen else state.user
        if user and (self._store or not self._present):
            user = self._add_keys(user)
        return self._add_last_use(replace(state, user=user))

    def plan(self, current: States) -> Plan[States]:
        """Plan the steps of every user. An error of one user does not stop the others."""
        planned = dict(current)
        steps: dict[str, Sequence[Step]] = {}
        errors: dict[str, CwagentError] = {}
        for name, state in current.items():
            try:
                planned[name], steps[name] = self._plan_one(state)
            except CwagentError as error:
                errors[name] = error
        return Plan(current, planned, steps, errors)

    def _plan_one(self, state: State) -> tuple[State, list[Step]]:
        if state.error:
            raise state.error
        retirement = self._retirement(state)
        if retirement:
            return retirement.planned_state, retirement.steps
        desired, ring = self._desired, self._keyring(state)
        if self._present:
            return user_plan.planned_state(state, desired, ring), user_plan.plan(state, desired, ring)
        return user_plan.planned_absence(state, desired, ring), user_plan.plan_absent(state, desired, ring)

    def _keyring(self, state: State) -> Keyring | None:
        return user_plan.keyring(state, self._desired, self._rules)

    def _retirement(self, state: State) -> Retirement | None:
        """Return the retirement of a user; ``None`` if users are not retired."""
        ring = self._keyring(state)
        if ring is None or not self._rules.retires:
            return None
        hold = str(self._hold[state.name]) if state.name in self._hold else None
        return Retirement(state, self._desired, ring, hold)

    def remaining(self, plan: Plan[States], state: States) -> list[str]:
        """List the steps that AWS does not show yet.

        The next phase of a key's replacement, or of a user's retirement, is left to a later run.
        """
        for each in state.values():
            if each.error:
                raise each.error
        planned = set(plan.summaries)
        steps = self.plan(state).all_steps
        phased = {step.action for step in steps} if self._rules.retires else KEY_ACTIONS
        return [step.summary for step in steps if step.summary in planned or step.action not in phased]

    def is_propagation_error(self, error: AwsApiError) -> bool:
        """Whether a read fails only because one host of IAM does not know of a change yet.

        IAM denies the last use of a key that it does not know, and not all its hosts know a new key.
        """
        is_unknown_key = error.action == LAST_USE_ACTION and error.code in DENIED_CODES
        return is_unknown_key or super().is_propagation_error(error)

    def to_diff(self, state: States) -> dict[str, Any]:
        """Render the users for the diff."""
        return {"users": [without_empty(each) for each in user_plan.to_dict(state)["users"]]}

    def to_result(self, plan: Plan[States], final: States) -> dict[str, Any]:
        """Render the users, the phases of their keys' replacement or retirement, and the reasons against deletions."""
        rings = {name: self._keyring(state) for name, state in plan.current.items()}
        retirements = {name: self._retirement(state) for name, state in plan.current.items()}
        return {
            **user_plan.to_dict(final),
            "rotation": {name: ring.phase.value for name, ring in rings.items() if ring and ring.phase},
            "retirement": {name: each.phase.value for name, each in retirements.items() if each and each.phase},
            "blockers": self._blockers(plan.current),
            "detached": find_detached("user", _policies(plan.current), _policies(plan.planned)),
        }

    def warnings(self, plan: Plan[States]) -> list[str]:
        """List why users or saved values are not deleted, or why users have or get a second key."""
        if self._present:
            rings = [self._keyring(state) for state in plan.current.values() if not state.error]
            return [warning for ring in rings if ring for warning in ring.warnings]
        readable = [state for state in plan.current.values() if not state.error]
        saved = [state.saved for state in readable if state.saved]
        return [
            *(warning for state in readable for warning in self._kept_warnings(state)),
            *(
                f"{each.where} was not deleted, because it is not an access key. If nobody needs it, delete it by hand."
                for each in saved
                if each.is_unusable
            ),
        ]

    def _kept_warnings(self, state: State) -> list[str]:
        retirement, found = self._retirement(state), self._blockers_of(state)
        if retirement:
            return retirement.warnings
        return [kept_warning("user", state.name, found)] if found else []

    def _blockers(self, current: States) -> dict[str, list[str]]:
        if self._present:
            return {}
        found = {name: self._blockers_of(state) for name, state in current.items() if not state.error}
        return {name: blockers for name, blockers in found.items() if blockers}

    def _blockers_of(self, state: State) -> list[str]:
        retirement = self._retirement(state)
        return retirement.blockers if retirement else user_plan.blockers(state, self._desired, self._keyring(state))

    def execute(self, step: Step) -> None:
        """Take one step. Steps on saved credentials are more than a call."""
        name = step.arguments.get("user_name", "")
        if self._store is None:
            super().execute(step)
        elif step.action == "iam:CreateAccessKey":
            self._create_key(step, self._store)
        elif step.action == REWRITE_CREDENTIALS:
            self._rewrite(name, step.context, self._store)
        elif step.action == DELETE_CREDENTIALS:
            self._store.delete(name)
        else:
            super().execute(step)

    def _rewrite(self, name: str, creation: KeyCreation, store: Store) -> None:
        with store.claim(name, creation.record, creation.existing, self._aws.now, self._aws.deadline()) as run:
            try:
                store.confirm(name, run, creation.saved_key_id)
                store.rewrite(name)
            finally:
                store.release(name, run)

    def _create_key(self, step: Step, store: Store) -> None:
        """Create a key and save it. After an interruption at any moment, the next run can identify the key."""
        name, creation = step.arguments["user_name"], step.context
        with store.claim(name, creation.record, creation.existing, self._aws.now, self._aws.deadline()) as run:
            key_id, secret = self._new_key(step, store, run)
            try:
                if creation.inactive:
                    # IAM creates keys active, but the window is closed. The key is deactivated before it is saved:
                    # until then, the run after an interrupted one recognizes the key and deletes it.
                    self._aws.execute(set_key_status(name, key_id, active=False))
                # Saving would overwrite the other run's secret, of which there is no other copy.
                store.confirm(name, run, creation.saved_key_id)
                store.save(name, key_id, secret, creation.replaced_key_id, keep_previous=creation.keep_previous)
                self._confirm_saved(store, name, run, key_id)
            except ContentionError as error:
                raise ContentionError(self._discard_key(store, run, name, key_id, error)) from error
            except CwagentError as error:
                raise CwagentError(self._discard_key(store, run, name, key_id, error)) from error
            store.release(name, run)
        if creation.inactive:
            # Only a user with an admin window has inactive keys. After an interruption here, the next run sets the tag.
            self._aws.execute(user_plan.tag_saved_key(name, key_id))

    def _confirm_saved(self, store: Store, name: str, run: str, key_id: str) -> None:
        deadline = Deadline(STALE_READ_SECONDS)
        while True:
            try:
                return store.confirm(name, run, key_id)
            except ContentionError:
                if not deadline.pause(CLAIM_POLL_SECONDS):
                    raise

    def _new_key(self, step: Step, store: Store, run: str) -> tuple[str, str]:
        """Create a key. If certainly none was created, release the claim."""
        name = step.arguments["user_name"]
        try:
            store.confirm(name, run, step.context.saved_key_id)
        except CwagentError:
            store.release(name, run)
            raise
        try:
            # One attempt: a retry after a lost answer would create a second key.
            answer = self._aws.execute(step, max_attempts=1) or {}
        except AwsApiError as error:
            if error.code in NO_KEY_CREATED_CODES:
                store.release(name, run)
            raise
        return answer["AccessKey"]["AccessKeyId"], answer["AccessKey"]["SecretAccessKey"]

    def _discard_key(self, store: Store, run: str, name: str, key_id: str, error: CwagentError) -> str:
        """Delete a key that could not be saved. :returns: the error, and whether the key was deleted."""
        try:
            self._aws.execute(delete_key(name, key_id, ", which could not be saved"))
        except CwagentError as second:
            return f"{error} {second} Nobody has the secret of this key; the next run deletes it."
        with contextlib.suppress(CwagentError):  # a record that stays only delays the next run
            store.release(name, run)
        return f"{error} The new access key of user '{name}' was deleted."

    def _add_last_use(self, state: State) -> State:
        """Add the last uses and whether the saved key has another owner, with further calls, if the plan needs them."""
        ring = self._keyring(state)
        if ring is None:
            return state
        needed = ring.keys if ring.needs_last_use else ring.orphaned
        keys = tuple(replace(key, used=self._last_use(key)) if key in needed else key for key in ring.keys)
        key_id = ring.saved.key_id
        belongs_to_other = key_id is not None and ring.saved_key is None and self._can_be_in_use(key_id)
        user = replace(state.user, keys=keys) if state.user else None
        return replace(state, user=user, saved=replace(ring.saved, belongs_to_other=belongs_to_other))

    def _last_use(self, key: AccessKey) -> datetime | None:
        description = f"read when access key {key.id} was last used"
        answer = self._aws.call(LAST_USE_ACTION, description, AccessKeyId=key.id)
        used: datetime | None = answer["AccessKeyLastUsed"].get("LastUsedDate")
        return used

    def _can_be_in_use(self, key_id: str) -> bool:
        """Whether a saved key that is not one of the user's may be in use elsewhere.

        IAM denies this call for keys of other accounts, and since 2023 for deleted keys. Both count as in use.
        """
        if not re.fullmatch(KEY_ID_PATTERN, key_id, re.ASCII):  # a placeholder
            return False
        description = f"read which user access key {key_id} belongs to"
        try:
            return bool(self._aws.call(LAST_USE_ACTION, description, AccessKeyId=key_id).get("UserName"))
        except AwsApiError as error:
            return error.code not in NOT_FOUND_CODES

    def _add_keys(self, user: User) -> User:
        user = replace(user, keys=access_keys(self._aws, user.name))
        return user if self._present else replace(user, credentials=_credentials(self._aws, user.name))


def _policies(states: Mapping[str, State]) -> dict[str, frozenset[str]]:
    return {name: state.user.principal.policies for name, state in states.items() if state.user}


def _credentials(aws: Aws, user: str) -> tuple[Credential, ...]:
    """Read the credentials of a user besides access keys. Not every partition has all kinds."""
    found: list[Credential] = []
    for kind in user_plan.CREDENTIAL_KINDS:
        try:
            answer = aws.call(
                kind.list_action, f"look for a {kind.label} of user '{user}'", max_attempts=2, UserName=user
            )
        except AwsApiError as error:
            if error.code not in NOT_FOUND_CODES | NOT_OFFERED_CODES:
                raise
            continue
        listed = answer.get(kind.list_key) or []
        found += [Credential(kind, each[kind.id_key]) for each in (listed if isinstance(listed, list) else [listed])]
    return tuple(found)


def read_in_bulk(aws: Aws, names: Collection[str]) -> tuple[dict[str, User], set[str]]:
    """Return the users that were found, by name, and the names that may exist although they were not found."""
    try:
        found, is_complete = find_users(aws, names)
    except AwsApiError as error:
        if error.code not in DENIED_CODES:
            raise
        return {}, set(names)
    users = {name: _to_user(found[name]) for name in names if name in found}
    return users, set() if is_complete else set(names) - users.keys()


def _to_user(found: AccountPrincipal) -> User:
    principal = PrincipalState(found.path, found.policies, frozenset(found.inline), found.boundary, found.tags)
    return User(found.name, principal, found.groups, arn=found.arn)


def _read_user(aws: Aws, name: str) -> User | None:
    user = find_user(aws, name)
    if user is None:
        return None
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


SPEC: dict[str, Any] = {
    "name": {"type": "list", "elements": "str"},
    "users_by_region": {"type": "dict"},
    "saved_key": {
        "type": "dict",
        "no_log": False,
        "options": {
            **PLACE_SPEC,
            "key_store_directory": {"type": "path"},  # nothing is saved to a folder that was not chosen
            **PROFILE_SPEC,
            "key_store_kms_key_id": {"type": "str"},
            "evict_unmanaged_key": {"type": "bool", "default": False},
            "key_store_allow_ephemeral": {"type": "bool", "default": False},
        },
        "required_if": [("key_store", name, [kind.OPTION]) for name, kind in KEY_STORES.items()],
    },
    "key_max_age_days": {"type": "int", "no_log": False},
    "rotate_now": {"type": "bool", "default": False},
    "key_delete_after_days": {"type": "int", "no_log": False, "default": 7},
    "revoke_old": {"type": "bool", "default": False},
    "hold": {"type": "dict", "default": {}},
    **PRINCIPAL_SPEC,
    "state": {"type": "str", "choices": ["present", "absent", "retired"], "default": "present"},
}
RULES: dict[str, Any] = {
    "required_one_of": [("name", "users_by_region")],
    "mutually_exclusive": [("name", "users_by_region")],
    "required_if": [
        ("state", "present", ["access"]),
        ("state", "retired", ["saved_key"]),
        ("rotate_now", True, ["saved_key"]),
    ],
    "required_by": {"key_max_age_days": ["saved_key"]},
}


def resource(params: Mapping[str, Any], aws: Aws, region: str | None) -> UserResource:
    """Return the users of the module. :raises InvalidInput: an option is invalid."""
    params = with_policy_arns(params, aws, region)
    for name in params["name"]:
        names.check_name("user", name)
    names.check_different(params["name"])
    desired, state, saved_key = declared_principal(params, region), params["state"], params["saved_key"]
    store = None
    if saved_key is not None:
        allowed = saved_key["key_store_allow_ephemeral"] or state != "present"
        store = open_store({**saved_key, "key_store_allow_ephemeral": allowed}, params["name"], aws, region)
    return UserResource(
        aws,
        params["name"],
        desired,
        store=store,
        present=state == "present",
        rules=replace(key_rules(params), retires=state == "retired"),
        hold=params["hold"],
    )
