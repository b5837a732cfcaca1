# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an account and its regions, and writes nothing.

It lists the parts that may not be read. Anything that depends on such a part is unknown.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import assess, request_context
from ansible_collections.cwagent.iam.plugins.module_utils._access.fitting_rules import unread_regions
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import (
    ROLE,
    SAVED,
    USER,
    Account,
    InstanceUse,
    Key,
    Principal,
    Region,
    SavedKeyWithoutUser,
    Scope,
    Unread,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.principals import (
    ALL,
    Attempts,
    Principals,
    read_simulation,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.regions import Regions, describe_uses
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.api import access_keys
from ansible_collections.cwagent.iam.plugins.module_utils._account.find import enabled_regions, refuse_other
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import PUT
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import AWS_STORES
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._names import SAVED_KEY_TAG, is_fitted_policy
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import find_user, tags

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import Assessment


class Inventory:
    """Reads an account.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    """

    def __init__(self, client_factory: Callable[..., Any], scope: Scope) -> None:
        self._scope = scope
        self._aws = Aws(partial(client_factory, region=scope.regions[0]))
        self._aws_in = {region: Aws(partial(client_factory, region=region)) for region in scope.regions}
        self._attempts = Attempts()

    @property
    def unread(self) -> tuple[Unread, ...]:
        """The parts that could not be read."""
        return self._attempts.unread

    def read(self) -> Account:
        """Read everything.

        :raises InvalidInput: the account is not the one that may be read. Nothing else was read.
        :raises AwsApiError: nothing could be read.
        :raises CwagentError: AWS did not answer.
        """
        identity = self._aws.call("sts:GetCallerIdentity", "read which account this is")
        if self._scope.account_id:
            refuse_other(identity["Account"], self._scope.account_id)
        partition = identity["Arn"].split(":")[1]
        principals, profiles = Principals(self._aws, self._attempts).read(self._scope)
        regions = Regions(self._aws_in, self._attempts, self._scope).read()
        has_all_principals = self._scope.names is None and not self._attempts.has_unread(ALL)
        account = Account(
            id=identity["Account"],
            partition=partition,
            label=self._scope.label,
            read_at=self._aws.now,
            regions=self._scope.regions,
            alias=self._attempts.attempt("the alias of the account", None, self._read_alias),
            principals=tuple(sorted(principals, key=lambda each: (each.kind, each.name))),
            profiles=tuple(sorted(profiles, key=lambda each: each.name)),
            nodes=tuple(node for region in regions for node in region.nodes),
            activations=tuple(activation for region in regions for activation in region.activations),
            parameters=tuple(parameter for region in regions for parameter in region.parameters),
            keys_without_user=self._find_keys_without_user(principals, regions) if has_all_principals else (),
            caller=identity["Arn"],
            histories=tuple(history for region in regions for history in region.histories),
        )
        assessments = assess(account)
        account = replace(account, principals=self._add_keys(account.principals, regions))
        account = replace(account, instances=self._read_instances(account, assessments, regions))
        self._attempts.raise_if_all_denied()
        return replace(account, unread=self.unread)

    def _read_alias(self) -> str | None:
        answer = self._aws.call("iam:ListAccountAliases", "read the alias of the account")
        return next(iter(answer["AccountAliases"]), None)

    def _read_instances(
        self, account: Account, assessments: Iterable[Assessment], regions: Iterable[Region]
    ) -> tuple[InstanceUse, ...]:
        """Read the instances that have a principal's role, are in the inventory or have a restore tag."""
        roles = {each.principal.name for each in assessments if each.principal.kind == ROLE}
        profiles = {profile.name for profile in account.profiles if profile.role in roles or profile.role is None}
        return tuple(use for region in regions for use in self._read_instances_in(region, profiles))

    def _read_instances_in(self, region: Region, profiles: Collection[str]) -> list[InstanceUse]:
        in_inventory = set((self._scope.instances or {}).get(region.name, ()))
        behind = {name for name, profile in region.profiles.items() if profile in profiles}
        wanted = sorted(in_inventory | behind | region.restore_tags.keys())
        read = partial(describe_uses, self._aws_in[region.name], wanted)
        found = self._attempts.attempt("the state of instances", region.name, read) if wanted else {}
        return [
            InstanceUse(
                name,
                region.name,
                profile=region.profiles.get(name),
                in_inventory=name in in_inventory,
                restore_tag=region.restore_tags.get(name),
                **(found[name] if found is not None else {}),
            )
            for name in wanted
            if found is None or name in found
        ]

    def _add_keys(self, principals: Iterable[Principal], regions: Iterable[Region]) -> tuple[Principal, ...]:
        """Add the access keys of our users."""
        principals = list(principals)
        places = {key: place for region in regions for key, place in region.saved_keys.items()}
        users = [each for each in principals if each.kind == USER and each.is_ours]
        keys = run_in_parallel(partial(self._read_keys, places), users)
        with_keys = {user.name: replace(user, keys=found) for user, found in zip(users, keys)}
        return tuple(with_keys.get(each.name, each) if each.kind == USER else each for each in principals)

    def _read_keys(self, places: Mapping[str, str], user: Principal) -> tuple[Key, ...] | None:
        listed = self._attempts.attempt("the access keys of users", None, lambda: access_keys(self._aws, user.name))
        if listed is None:
            return None
        return tuple(
            self._with_last_use(
                Key(
                    key.id,
                    key.active,
                    key.created or self._aws.now,
                    saved=self._is_saved(key.id, user, places),
                    saved_at=places.get(key.id),
                )
            )
            for key in sorted(listed, key=lambda each: each.id)
        )

    def _with_last_use(self, key: Key) -> Key:
        description = f"read when access key {key.id} was last used"
        read = partial(self._aws.call, "iam:GetAccessKeyLastUsed", description, AccessKeyId=key.id)
        answer = self._attempts.attempt("when access keys were last used", None, read)
        if answer is None:
            return replace(key, used_known=False)
        return replace(key, used=answer["AccessKeyLastUsed"].get("LastUsedDate"))

    def _is_saved(self, key_id: str, user: Principal, places: Mapping[str, str]) -> bool | None:
        """Whether a key is saved; ``None`` if it can be in a file, or in a place that was not read."""
        tagged = user.tags.get(SAVED_KEY_TAG)
        if key_id in places or tagged == key_id:
            return True
        has_other_stores = bool({*self._scope.key_stores} - AWS_STORES.keys())
        can_be_elsewhere = has_other_stores or self._attempts.has_unread(SAVED)
        return None if can_be_elsewhere and not tagged else False

    def _find_keys_without_user(
        self, principals: Iterable[Principal], regions: Sequence[Region]
    ) -> tuple[SavedKeyWithoutUser, ...]:
        """Return the saved keys whose users do not exist. :param principals: all of the account."""
        users = {each.name for each in principals if each.kind == USER}
        missing = sorted({user for region in regions for user, _store in region.saved_users} - users)
        absent = {user for user, is_absent in zip(missing, run_in_parallel(self._is_absent, missing)) if is_absent}
        return tuple(
            SavedKeyWithoutUser(user, region.name, store, place)
            for region in regions
            for (user, store), place in sorted(region.saved_users.items())
            if user in absent
        )

    def _is_absent(self, user: str) -> bool:
        """Whether a user certainly does not exist. The list of all users can lack a user created seconds ago."""
        what = "whether the users of saved keys exist"
        try:
            return self._attempts.attempt(what, None, lambda: find_user(self._aws, user) is None) is True
        except AwsApiError as error:
            self._attempts.add_unread(what, error)
            return False

    def with_policy_tags(self, account: Account) -> Account:
        """Return an account with the tags of the fitted policies that principals have."""
        arns = sorted({arn for each in account.principals for arn in each.attached if is_fitted_policy(arn)})
        found = dict(zip(arns, run_in_parallel(self._read_policy_tags, arns)))
        tags = {arn: each for arn, each in found.items() if each is not None}
        return replace(account, policy_tags=tags, unread=self.unread)

    def with_enabled_regions(self, account: Account) -> Account:
        """Return an account with its enabled regions, if a fitted policy allows reading in others than were read."""
        if not unread_regions(account):
            return account
        read = partial(enabled_regions, self._aws)
        found = self._attempts.attempt("the enabled regions", self._scope.regions[0], read)
        return replace(account, enabled_regions=None if found is None else frozenset(found), unread=self.unread)

    def _read_policy_tags(self, arn: str) -> dict[str, str] | None:
        read = partial(self._aws.call, "iam:GetPolicy", f"read policy {arn}", PolicyArn=arn)
        answer = self._attempts.attempt("the tags of fitted policies", None, read)
        return None if answer is None else tags(answer["Policy"])

    def simulate_writes(self, account: Account, assessments: Iterable[Assessment]) -> dict[str, bool]:
        """Return by ARN whether IAM's simulation allows a write, for each principal that may write, or perhaps may."""
        asked = [each for each in assessments if each.needs_simulation]

        def simulate_write(assessment: Assessment) -> dict[str, bool]:
            context = request_context(assessment.principal, account.read_at, assessment.session)
            return self.simulate(assessment.principal, [PUT], str(assessment.parameter), context)

        answers = zip(asked, run_in_parallel(simulate_write, asked))
        return {each.principal.arn: found[PUT] for each, found in answers if PUT in found}

    def simulate(
        self, principal: Principal, actions: Sequence[str], resource: str, context: Mapping[str, Sequence[str]]
    ) -> dict[str, bool]:
        """Return by action whether IAM's simulation allows a call; without actions for which IAM lacks a value.

        :param context: the condition keys of the call.
        """
        read = partial(read_simulation, self._aws, principal, actions, resource, context)
        return self._attempts.attempt("the simulation by IAM", None, read) or {}
