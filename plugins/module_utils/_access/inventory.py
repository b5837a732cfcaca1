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

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import Simulation, assess
from ansible_collections.cwagent.iam.plugins.module_utils._access.attempts import Attempts
from ansible_collections.cwagent.iam.plugins.module_utils._access.authorization import read_simulation
from ansible_collections.cwagent.iam.plugins.module_utils._access.fitting_rules import unread_regions
from ansible_collections.cwagent.iam.plugins.module_utils._access.instances import describe_uses
from ansible_collections.cwagent.iam.plugins.module_utils._access.keys import Keys
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import (
    ROLE,
    Account,
    InstanceUse,
    Principal,
    Unread,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.principals import ALL, Principals
from ansible_collections.cwagent.iam.plugins.module_utils._access.regions import Regions
from ansible_collections.cwagent.iam.plugins.module_utils._access.scope import Region, Scope
from ansible_collections.cwagent.iam.plugins.module_utils._account.find import enabled_regions, refuse_other
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import PUT
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._names import is_fitted_policy
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import tags

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
        keys = Keys(self._aws, self._attempts, self._scope.key_stores)
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
            keys_without_user=keys.find_without_user(principals, regions) if has_all_principals else (),
            caller=identity["Arn"],
            histories=tuple(history for region in regions for history in region.histories),
        )
        assessments = assess(account)
        account = replace(account, principals=keys.add_to(account.principals, regions))
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

    def simulate_writes(self, account: Account, assessments: Iterable[Assessment]) -> tuple[Simulation, ...]:
        """Simulate a write with IAM for each principal that may write, or perhaps may."""
        asked = [each for each in assessments if each.needs_simulation]
        found = run_in_parallel(partial(self._simulate_write, account), asked)
        return tuple(each for each in found if each)

    def _simulate_write(self, account: Account, assessment: Assessment) -> Simulation | None:
        principal = assessment.principal
        context = assessment.context(account.read_at)
        found = self.simulate(principal, [PUT], str(assessment.parameter), context)
        return Simulation(principal.arn, found[PUT]) if PUT in found else None

    def simulate(
        self, principal: Principal, actions: Sequence[str], resource: str, context: Mapping[str, Sequence[str]]
    ) -> dict[str, bool]:
        """Return by action whether IAM's simulation allows a call; without actions for which IAM lacks a value.

        :param context: the condition keys of the call.
        """
        read = partial(read_simulation, self._aws, principal, actions, resource, context)
        return self._attempts.attempt("the simulation by IAM", None, read) or {}
