# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks up in AWS the resources that a playbook is about to use. Only reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from .._ground.errors import DENIED_CODES, AwsApiError, InvalidInput
from .._ground.names import NOT_CREATED, is_marked
from .._ground.options import option
from .._ground.plan import run_in_parallel
from .._keys.stores import open_places
from .._principals.principal import find_user, tags
from .._servers.find_servers import enabled_regions
from .._servers.instance_profile import instance_states, live_instances, read_associations
from .._servers.instance_profile_plan import ineligible_reasons
from .unlisted import find_remaining_configs, find_unlisted, readable_principals

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from .._ground.aws import Aws
    from .._keys.store import Store
    from .unlisted import Listed


# If none of this many users exists, no further ones are read.
MAX_USERS_READ = 20


def fail_on_problems(problems: Sequence[str]) -> None:
    """Report problems, if there are any. :raises InvalidInput: there are some. The message lists them."""
    if problems:
        raise InvalidInput(f"{' '.join(problems)} Nothing was changed.", problems=list(problems))


@dataclass(frozen=True)
class Inputs:
    """The checked options for lookups in AWS, and their declaration.

    :param instances: by region, the IDs of instances. The empty name stands for the region of the module.
    :param profiles_to_delete: names of instance profiles.
    :param expected_instance_ids: the instances that may still have these profiles.
    :param users_to_delete: by region of the saved keys, names of users.
    :param default_users: by name of a user to delete, the user to delete instead if it does not exist.
    :param optional_users: names of users to delete that need not exist.
    :param configs_to_delete: by region, the names of the parameters that the run deletes.
    :param unlisted: the contents of the inventory, to report anything that it lacks; ``None`` for no such report.
    :param saved_users: names of users whose saved keys are to be deleted.
    :param place: the options of ``PLACE_SPEC``, which contain where access keys are saved; empty for no access keys.
    """

    instances: Mapping[str, Sequence[str]]
    profiles_to_delete: Sequence[str] = option(default=[])
    expected_instance_ids: Sequence[str] = option(default=[])
    users_to_delete: Mapping[str, Sequence[str]] = option(default={})
    default_users: Mapping[str, str] = option(default={})
    optional_users: Sequence[str] = option(default=[])
    saved_users: Sequence[str] = option(default=[])
    configs_to_delete: Mapping[str, Sequence[str]] = option(default={})
    unlisted: Listed | None = None
    place: Mapping[str, Any] = field(default_factory=dict)


class Lookups:
    """The lookups in AWS, for inputs without problems.

    :param aws_in: returns the gateway to a region. An empty text stands for the region of the module.
    :param check_mode: whether an earlier task only planned to delete the configurations.
    """

    def __init__(self, inputs: Inputs, aws_in: Callable[[str], Aws], *, check_mode: bool) -> None:
        self._inputs = inputs
        self._check_mode = check_mode
        self._aws_in = aws_in
        self._aws = aws_in("")

    def result(self) -> dict[str, Any]:
        """Look up everything and return the module's result.

        :raises InvalidInput: an instance cannot be used, or another instance has a profile to delete.
        :raises CwagentError: AWS did not answer, or answered with an error.
        """
        other_holders, warnings = self._other_holders()
        users_to_delete, unreadable_users = self._users_to_delete()
        optional = self._inputs.optional_users
        missing = [name for name, user in users_to_delete.items() if not user and name not in optional]
        users_of_others = [
            f"User '{name}' {NOT_CREATED}, so it is not removed."
            for name, user in users_to_delete.items()
            if user and not is_marked(tags(user))
        ]
        ineligible = ineligible_instances(self._aws_in, self._inputs.instances, {})
        fail_on_problems([*ineligible, *other_holders, *users_of_others, *self._account_problems()])
        unlisted = self._inputs.unlisted
        users = readable_principals(self._aws, "User") if unlisted else None
        return {
            "warnings": [
                *warnings,
                *(f"There is no user '{name}'." for name in missing),
                *(
                    f"It is not known whether there is a user '{name}': iam:GetUser is not allowed."
                    for name in unreadable_users
                ),
            ],
            "unlisted": [
                *find_unlisted(self._aws_in, unlisted, {}, users or ()),
                *find_remaining_configs(self._aws_in, self._inputs.configs_to_delete, check_mode=self._check_mode),
            ],
            "users_to_delete": {
                region: [name for name in names if name in users_to_delete]
                for region, names in self._inputs.users_to_delete.items()
            },
        }

    def _account_problems(self) -> list[str]:
        """List why saved keys must not be deleted, because they can be the only copies of another account's keys."""
        if not self._inputs.saved_users:
            return []
        return [
            problem
            for store in open_places(self._inputs.place).values()
            for problem in self._shared_place_problems(store)
        ]

    def _shared_place_problems(self, store: Store) -> list[str]:
        users = store.list_users()
        saved = [name for name in self._inputs.saved_users if name in users][:MAX_USERS_READ]
        try:
            if not saved or any(find_user(self._aws, name) for name in saved):
                return []
        except AwsApiError as error:
            if error.code not in DENIED_CODES:
                raise
            return []  # a caller that may not read users may not delete them either
        problem = (
            f"{store.describe(saved[0])} has the access key of user '{saved[0]}', and this account has no such user. "
            "If it is a user of another account, use the credentials of that account. If somebody has deleted the "
            "user, delete the key there."
        )
        return [problem]

    def _users_to_delete(self) -> tuple[dict[str, Any], list[str]]:
        """Return the users to delete as IAM describes them, and unreadable names whose default user does not exist."""
        names = [*dict.fromkeys(chain.from_iterable(self._inputs.users_to_delete.values()))]
        defaults = self._inputs.default_users
        if not names:
            return {}, []
        in_pairs = {*defaults, *defaults.values()}

        def find(name: str) -> dict[str, Any] | AwsApiError | None:
            try:
                return find_user(self._aws, name)
            except AwsApiError as error:
                if name not in in_pairs or error.code not in DENIED_CODES:
                    raise
                return error

        found = dict(zip(names, run_in_parallel(find, names)))
        excluded = {_excluded_user(found, name, default) for name, default in defaults.items()}
        denied = [name for name, user in found.items() if isinstance(user, AwsApiError)]
        unreadable = [name for name in denied if name in defaults and not found[defaults[name]]]
        return {name: user for name, user in found.items() if name not in excluded}, unreadable

    def _other_holders(self) -> tuple[list[str], list[str]]:
        """List the instances that would lose a profile to delete, and warn of regions that cannot be read.

        IAM is global, so an instance of any region can have the profile.
        """
        if not self._inputs.profiles_to_delete:
            return [], []
        problems: list[str] = []
        warnings: list[str] = []
        for holders, unreadable in run_in_parallel(self._other_holders_in, enabled_regions(self._aws)):
            problems += holders
            warnings += unreadable
        return problems, warnings

    def _other_holders_in(self, region: str) -> tuple[list[str], list[str]]:
        aws, inputs = self._aws_in(region), self._inputs
        try:
            holders = [
                (name, each.profile)
                for name, associations in sorted(read_associations(aws).items())
                for each in associations
                if each.profile in inputs.profiles_to_delete and name not in inputs.expected_instance_ids
            ]
            live = live_instances(aws, [name for name, _profile in holders])
        except AwsApiError as error:
            if not error.explicit_deny:
                raise
            # An organization disables regions with such a policy, which the user cannot change.
            return [], [f"It is not known whether instances in {region} have an instance profile to delete. {error}"]
        problems = [
            f"Instance {name} in {region} is not in the inventory and has instance profile '{profile}'."
            for name, profile in holders
            if name in live
        ]
        return problems, []


def ineligible_instances(
    aws_in: Callable[[str], Aws],
    instances: Mapping[str, Sequence[str]],
    associations: Mapping[str, Collection[str]],
) -> list[str]:
    """List why instances cannot have an instance profile.

    :param aws_in: returns the gateway to a region. An empty name stands for the region of the module.
    :param instances: by region, the IDs of the instances.
    :param associations: by region, the instances that are known to have a profile, and so to exist.
    """

    def list_in(region: str) -> list[str]:
        unsure = [name for name in instances[region] if name not in associations.get(region, ())]
        states = instance_states(aws_in(region), unsure)
        return ineligible_reasons({name: states.get(name) for name in unsure}, region)

    for region in instances:
        aws_in(region).client("ec2")  # outside the threads, because amazon.aws ends the module if it cannot make one
    return [problem for problems in run_in_parallel(list_in, instances) for problem in problems]


def _excluded_user(found: Mapping[str, dict[str, Any] | AwsApiError | None], name: str, default: str) -> str | None:
    """Return which of two users is not to be deleted, the user of a name or the default user of a host of that name.

    If neither exists, neither is excluded, because a key of each can still be saved. A policy may allow reading only
    users whose names begin like the default user's.

    :param found: users by name, with the error instead of a user that may not be read.
    :raises AwsApiError: neither may be read.
    """
    user, default_user = found[name], found[default]
    if isinstance(user, dict):
        return default
    if isinstance(user, AwsApiError):
        if isinstance(default_user, AwsApiError):
            raise user
        return name
    if isinstance(default_user, AwsApiError):
        return default
    return name if default_user else None
