# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks up in AWS the resources that a playbook is about to use. Only reads."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import regions_with_records
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import CLOSED, DesiredWindow
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file_store import SUFFIX, FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.listing import (
    FILE,
    PARAMETER_STORE,
    find_users_with_saved_keys,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES, AwsApiError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ineligible_reason
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import (
    instance_states,
    live_instances,
    read_associations,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import NOT_CREATED, adoption_problem, is_marked
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import fail_on_problems
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.unlisted import Unlisted
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import all_users, find_user, tags
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import find_role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import Inputs, Listed


# If none of this many users exists, no further ones are read.
MAX_USERS_READ = 20


class Preflight:
    """The lookups in AWS, for inputs without problems.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    """

    def __init__(self, inputs: Inputs, client_factory: Callable[..., Any], region: str | None = None) -> None:
        self._inputs = inputs
        self._client_factory = client_factory
        regions = [*inputs.instances, region or "", *(inputs.unlisted.regions if inputs.unlisted else ())]
        self._aws_in = {each: Aws(self._factory_in(each)) for each in dict.fromkeys(regions)}
        self._profiles: dict[str, dict[str, str]] = {}

    def result(self) -> dict[str, Any]:
        """Look up everything and return the module's result.

        :raises InvalidInput: an instance cannot be used, or another instance has a profile to delete.
        :raises CwagentError: AWS did not answer, or answered with an error.
        """
        other_holders, warnings = self._other_holders()
        users_to_delete, unreadable_users = self._users_to_delete()
        users_of_others = _users_of_others(users_to_delete)
        if self._inputs.unlisted:
            self._read_profiles()
        admin_role, unread_records = self._admin_role()
        fail_on_problems(
            [
                *self._ineligible_instances(),
                *self._adoption_problems(admin_role),
                *other_holders,
                *users_of_others,
                *self._account_problems(),
            ]
        )
        return {
            "warnings": [*warnings, *_missing_users(users_to_delete, unreadable_users), *unread_records],
            "record_regions": regions_with_records(tags(admin_role)) if admin_role else [],
            "unlisted": self._list_unlisted(),
            "users_to_delete": {
                region: [name for name in names if name in users_to_delete]
                for region, names in self._inputs.users_to_delete.items()
            },
        }

    def _read_profiles(self) -> None:
        """Read the profiles of instances, where that is allowed. An instance with a profile exists."""
        for region in self._inputs.instances:
            with suppress(CwagentError):
                found = read_associations(self._aws_in[region])
                self._profiles[region] = {name: each.profile for name, of_one in found.items() for each in of_one}

    def _ineligible_instances(self) -> list[str]:
        """List why instances cannot have an instance profile."""

        def list_in(region: str) -> list[str]:
            unsure = [name for name in self._inputs.instances[region] if name not in self._profiles.get(region, ())]
            states = instance_states(self._aws_in[region], unsure)
            return [problem for name in unsure if (problem := ineligible_reason(name, states.get(name), region))]

        for region in self._inputs.instances:
            # Outside the threads, because amazon.aws ends the module if it cannot make a client.
            self._aws_in[region].client("ec2")
        return [problem for problems in run_in_parallel(list_in, self._inputs.instances) for problem in problems]

    def _admin_role(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Return the admin role as IAM describes it, and a warning if the caller may not read it."""
        if not self._inputs.admin_role:
            return None, []
        try:
            return find_role(next(iter(self._aws_in.values())), self._inputs.admin_role), []
        except AwsApiError as error:
            if error.code not in DENIED_CODES:
                raise
            return None, [f"It is not known whether instances of other hosts are to be restored. {error}"]

    def _adoption_problems(self, role: dict[str, Any] | None) -> list[str]:
        """List why a role cannot get an admin window, if somebody else created it and it has none."""
        if not role or is_marked(tags(role)) or self._inputs.adopt_existing:
            return []
        name = self._inputs.admin_role
        with suppress(CwagentError):  # the task that manages the role reports it
            window = WindowResource(next(iter(self._aws_in.values())), DesiredWindow("role", name, CLOSED))
            if window.read().policy is None:
                return [adoption_problem("role", name)]
        return []

    def _account_problems(self) -> list[str]:
        """List why saved keys must not be deleted, because they can be the only copies of another account's keys."""
        directory = self._inputs.directory
        if directory is None:
            return []
        store = FileStore(directory, "", None)
        saved = [name for name in self._inputs.saved_users if store.path(name).exists()][:MAX_USERS_READ]
        aws = Aws(self._client_factory)
        try:
            if not saved or any(find_user(aws, name) for name in saved):
                return []
        except AwsApiError as error:
            if error.code not in DENIED_CODES:
                raise
            return []  # a caller that may not read users may not delete them either
        problem = (
            f"{directory} has the access key of user '{saved[0]}', and this account has no such user. If it is a user "
            "of another account, use the credentials of that account. If somebody has deleted the user, delete the "
            "file."
        )
        return [problem]

    def _list_unlisted(self) -> list[str]:
        """List the resources of this collection that are not in the inventory, in sentences."""
        listed = self._inputs.unlisted
        if listed is None:
            return []
        found: dict[str, dict[str, Any]] = {}
        with suppress(CwagentError):  # then only users with saved keys are known
            found = all_users(next(iter(self._aws_in.values())))
        users = {name for name, user in found.items() if is_marked(tags(user))} - {*listed.users}
        saved = {path.name[: -len(SUFFIX)] for path in _key_files(listed.directory)} - {*listed.users}
        in_inventory = {name for names in self._inputs.instances.values() for name in names}
        instances = {
            region: {
                name: profile
                for name, profile in self._profiles.get(region, {}).items()
                if profile in listed.profiles and name not in in_inventory
            }
            for region in self._inputs.instances
            if listed.profiles
        }
        saved_in, unread = self._find_saved_in_aws(listed)
        candidates = {user for names in saved_in.values() for user in names} - found.keys()
        absent, ours = self._confirm_users(sorted(candidates))
        users |= ours
        saved_in = {region: names & (users | absent) for region, names in saved_in.items()}
        return Unlisted(frozenset(users), frozenset(saved), saved_in, unread, instances).lines()

    def _confirm_users(self, names: Sequence[str]) -> tuple[set[str], set[str]]:
        """Return the users that do not exist, and the users of this collection. Unreadable users are in neither set.

        The bulk read cannot tell, because it can lack users, including users created in the last seconds.
        """
        aws = next(iter(self._aws_in.values()))

        def find(name: str) -> dict[str, Any] | None:
            with suppress(CwagentError):
                return find_user(aws, name)
            return {}

        found = dict(zip(names, run_in_parallel(find, names)))
        absent = {name for name, user in found.items() if user is None}
        return absent, {name for name, user in found.items() if user and is_marked(tags(user))}

    def _find_saved_in_aws(self, listed: Listed) -> tuple[dict[str, frozenset[str]], dict[str, str]]:
        """Return by region the users with saved keys that no host has, and the reasons where they are not known."""
        if listed.store == FILE:
            return {}, {}
        found: dict[str, frozenset[str]] = {}
        unread: dict[str, str] = {}
        for region in listed.regions:
            aws = self._aws_in[region]
            name = region or aws.region
            try:
                found[name] = find_users_with_saved_keys(aws, listed.store, listed.prefix) - {*listed.users}
            except CwagentError as error:
                unread[name] = _explain_unread(error, listed.store)
        return found, unread

    def _users_to_delete(self) -> tuple[dict[str, Any], list[str]]:
        """Return the users to delete as IAM describes them, and unreadable names whose default user does not exist."""
        names = [*dict.fromkeys(chain.from_iterable(self._inputs.users_to_delete.values()))]
        defaults = self._inputs.default_users
        if not names:
            return {}, []
        aws = Aws(self._client_factory)
        in_pairs = {*defaults, *defaults.values()}

        def find(name: str) -> dict[str, Any] | AwsApiError | None:
            try:
                return find_user(aws, name)
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
        answer = Aws(self._client_factory).call("ec2:DescribeRegions", "list the regions of the account")
        regions = sorted(each["RegionName"] for each in answer["Regions"])
        problems: list[str] = []
        warnings: list[str] = []
        for holders, unreadable in run_in_parallel(self._other_holders_in, regions):
            problems += holders
            warnings += unreadable
        return problems, warnings

    def _other_holders_in(self, region: str) -> tuple[list[str], list[str]]:
        aws, inputs = Aws(self._factory_in(region)), self._inputs
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

    def _factory_in(self, region: str) -> Callable[..., Any]:
        return partial(self._client_factory, region=region) if region else self._client_factory


def _users_of_others(found: Mapping[str, Any]) -> list[str]:
    """List the users to delete that somebody else created. :param found: users by name; ``None`` for none."""
    return [
        f"User '{name}' {NOT_CREATED}, so it is not removed."
        for name, user in found.items()
        if user and not is_marked(tags(user))
    ]


def _missing_users(found: Mapping[str, Any], unreadable: Sequence[str]) -> list[str]:
    """List the users to delete that do not exist, or may not exist."""
    return [
        *(f"There is no user '{name}'." for name, user in found.items() if not user),
        *(f"It is not known whether there is a user '{name}': iam:GetUser is not allowed." for name in unreadable),
    ]


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


def _key_files(directory: Path | None) -> list[Path]:
    try:
        return sorted(directory.glob(f"*{SUFFIX}")) if directory else []
    except OSError:
        return []


def _explain_unread(error: CwagentError, store: str) -> str:
    """Return why saved keys were not listed, and what to do, without the last full stop."""
    if isinstance(error, AwsApiError) and error.code in DENIED_CODES:
        policy = "keys-in-parameter-store.json" if store == PARAMETER_STORE else "keys-in-secrets-manager.json"
        return f"{error.action} is not allowed. Allow it as {policy} does, or ignore this"
    return str(error).rstrip(".")
