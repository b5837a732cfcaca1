# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules about access keys and their users. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import YES
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import USER
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import CLOSED, EXPIRED, MODIFIED
from ansible_collections.cwagent.iam.plugins.module_utils._findings import (
    ACCOUNT,
    ERROR,
    NOTICE,
    PRINCIPAL,
    WARNING,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import Assessment
    from ansible_collections.cwagent.iam.plugins.module_utils._access.case import Case
    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Key, Principal
    from ansible_collections.cwagent.iam.plugins.module_utils._findings import Finding

# A younger key may be on its way to its servers, or be the second key of a replacement.
SETTLING = timedelta(days=7)

ADMIN_KEY_ACTIVE = Rule(
    "admin-key-active", PRINCIPAL, (ERROR, WARNING), "a key of an admin user is active outside a window"
)
KEY_OLD = Rule("key-old", PRINCIPAL, (WARNING, NOTICE), "a key is too old")
KEY_UNUSED = Rule("key-unused", PRINCIPAL, (NOTICE,), "a key was never used")
KEY_NOT_SAVED = Rule(
    "key-not-saved",
    PRINCIPAL,
    (WARNING, NOTICE),
    "a key is saved nowhere, which is a notice if a newer key of the user is saved",
)
KEY_TWO_ACTIVE = Rule("key-two-active", PRINCIPAL, (WARNING, NOTICE), "a user has two active keys")
USER_WITHOUT_HOST = Rule(
    "user-without-host",
    ACCOUNT,
    (NOTICE,),
    "no host of the inventory has a user that this collection created",
    listed=False,
)
SAVED_KEY_WITHOUT_USER = Rule("saved-key-without-user", ACCOUNT, (NOTICE,), "the user of a saved key does not exist")


def _key_findings(case: Case) -> Iterator[Finding]:
    for each in case.assessments:
        for key in each.principal.keys or ():
            yield from _findings_on_key(case, each, key)
        active = [key for key in each.principal.keys or () if key.active]
        if len(active) > 1:
            yield _two_keys(case, each.principal, active)


def _findings_on_key(case: Case, assessment: Assessment, key: Key) -> Iterator[Finding]:
    user, now = assessment.principal, case.account.read_at
    age = now - key.created
    state = (assessment.window or {}).get("state")
    delete = f"aws iam delete-access-key --user-name {user.name} --access-key-id {key.id}"
    if key.active and state in (CLOSED, EXPIRED, MODIFIED):
        severity = ERROR if assessment.writes == YES else WARNING
        why = f"Access key {key.id} of admin user '{user.name}' is active, and its admin window is {state}."
        fix = f"aws iam update-access-key --user-name {user.name} --access-key-id {key.id} --status Inactive"
        yield ADMIN_KEY_ACTIVE.finding(key.id, why, fix, severity=severity)
    max_age = case.choices.key_max_age_days
    is_old = max_age is not None and age >= max_age
    if is_old:
        why = f"Access key {key.id} of user '{user.name}' is {age.days} days old."
        fix = "Run the playbook cwagent.iam.rotate_keys, with this age or a lower one in cwagent_key_max_age_days."
        if not user.managed:
            fix = f"Replace the key where it is in use, then: {delete}"
        elif case.choices.inventory_users is not None and user.name not in case.choices.inventory_users:
            fix = f"No host has the user, so run the playbook cwagent.iam.remove_servers for {user.name}."
        yield KEY_OLD.finding(key.id, why, fix, severity=WARNING if key.active else NOTICE)
    elif key.active and key.used_known and key.used is None and age >= SETTLING:
        why = f"Access key {key.id} of user '{user.name}' is {age.days} days old and was never used."
        fix = f"Decide whether a server is to use it; if not: {delete}"
        yield KEY_UNUSED.finding(key.id, why, fix)
    if key.saved is False:
        is_replaced = user.managed and any(each.saved and each.created > key.created for each in user.keys or ())
        why = f"Access key {key.id} of user '{user.name}' is not saved anywhere that is known."
        fix = f"Decide whether somebody else uses it; if not: {delete}"
        if is_replaced:
            why = f"Access key {key.id} of user '{user.name}' is not saved any more, since a newer one is."
            fix = "Run the playbook cwagent.iam.rotate_keys, which deletes a replaced key after the grace period."
        yield KEY_NOT_SAVED.finding(key.id, why, fix, severity=NOTICE if is_replaced else WARNING)


def _two_keys(case: Case, user: Principal, active: Sequence[Key]) -> Finding:
    youngest = max(active, key=lambda key: (key.created, key.id))
    is_replacement = case.account.read_at - youngest.created < SETTLING
    listed = ", ".join(key.id for key in active)
    why = f"User '{user.name}' has {len(active)} active access keys: {listed}."
    idle = min(active, key=lambda key: (key.used or key.created, key.id))
    fix = f"Decide whether {idle.id} is in use; if not: aws iam delete-access-key --user-name {user.name} "
    fix += f"--access-key-id {idle.id}"
    if is_replacement:
        fix = (
            "Run the playbook cwagent.iam.rotate_keys, which deactivates a replaced key once the new one is in use. It "
            f"leaves a key that nothing has replaced. {fix}"
        )
    return KEY_TWO_ACTIVE.finding(user.name, why, fix, severity=NOTICE if is_replacement else WARNING)


def _unlisted_user_findings(case: Case) -> Iterator[Finding]:
    """Report our users without a host in the inventory, as information, because another inventory can have the host."""
    known = case.choices.inventory_users
    for each in case.account.principals if known is not None else ():
        if each.kind == USER and each.managed and each.name not in (known or ()):
            keys = ", ".join(key.id for key in each.keys or () if key.active)
            active = f" Its active access keys: {keys}." if keys else ""
            why = f"User '{each.name}' was made for a server, and no host of the inventory has it.{active}"
            fix = f"If its server has left, run the playbook cwagent.iam.remove_servers for {each.name}."
            yield USER_WITHOUT_HOST.finding(each.name, why, fix)


def _findings_on_keys_without_user(case: Case) -> Iterator[Finding]:
    for each in case.account.keys_without_user:
        why = f"The access key of user '{each.user}' is saved as {each.place}, and there is no such user."
        fix = (
            "Run the playbook cwagent.iam.site, which creates the user and a new access key."
            if each.user in (case.choices.inventory_users or ())
            else f"Run the playbook cwagent.iam.remove_servers for {each.region}:{each.user} with "
            f"cwagent_key_store={each.store}."
        )
        yield SAVED_KEY_WITHOUT_USER.finding(each.user, why, fix, each.region)


CHECKS = (_key_findings, _unlisted_user_findings, _findings_on_keys_without_user)
