# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks up in AWS the resources that a playbook is about to use, and those that no host of the inventory has any more.

It only reads. Resources of this collection can have no host, for example, after a server has left.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from .._ground.errors import DENIED_CODES, AwsApiError, CwagentError, InvalidInput
from .._ground.names import NOT_CREATED, PARAMETER_PREFIX, describe_profile, is_marked, surplus_parts
from .._ground.options import option
from .._ground.plan import run_in_parallel
from .._ground.text import count_noun, join_first
from .._keys.parameter_store import list_parameters
from .._keys.stores import PLACE_SPEC, open_places
from .._principals.principal import find_user, read_principals, tags
from .._servers.find_servers import enabled_regions
from .._servers.instance_profile import instance_states, live_instances, read_associations
from .._servers.instance_profile_plan import ineligible_reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from .._ground.aws import Aws
    from .._keys.store import Store
    from .._principals.policies import AccountPrincipal
    from .._servers.instance_profile_plan import Association


MAX_LISTED = 10  # DeleteParameters takes no more, either
# If none of this many users exists, no further ones are read.
MAX_USERS_READ = 20


@dataclass(frozen=True)
class Listed:
    """The users, instances, profiles and saved keys of the inventory. Others that this collection manages are reported.

    :param instance_ids: the instances of all regions.
    :param profiles: names of instance profiles of this collection.
    :param place: the options of ``PLACE_SPEC``, which contain where access keys are saved; empty for no access keys.
    :param regions: the regions of access keys that are saved in AWS. The empty name stands for the module's region.
    """

    users: Sequence[str]
    instance_ids: frozenset[str] = frozenset()
    profiles: Sequence[str] = ()
    place: Mapping[str, Any] = field(default_factory=dict)
    regions: Sequence[str] = ()


def to_listed(
    params: Mapping[str, Any], instances: Mapping[str, Iterable[str]], profiles: Sequence[str]
) -> Listed | None:
    """Return the contents of the inventory according to the options; ``None`` if nothing is to be reported.

    :param instances: by region, the IDs of the instances.
    :param profiles: names of instance profiles of this collection.
    """
    if not params["report_unlisted"]:
        return None
    return Listed(
        params["users"],
        frozenset(chain.from_iterable(instances.values())),
        profiles,
        {name: params[name] for name in PLACE_SPEC},
        params["key_store_regions"] or [""],
    )


def describe_unlisted(
    users: Collection[str],
    saved: Collection[str],
    saved_in: Mapping[str, Collection[str]],
    unread: Mapping[str, str],
    instances: Mapping[str, Mapping[str, str]],
    *,
    names_users: bool,
) -> list[str]:
    """Return the users, saved keys and instances that no host of the inventory has in sentences.

    They are not an error, because another inventory can manage them.

    :param users: the names of users that this collection created or adopted.
    :param saved: the names of users whose access keys are saved outside AWS.
    :param saved_in: by region, the users whose access keys are saved in AWS. They can include users that do not exist.
    :param unread: by region or key store, why the users with saved access keys are not known, and what to do.
    :param instances: by region and instance, the name of its instance profile.
    :param names_users: whether to name the users. An inventory without users is one of instances, and only counts them.
    """

    def removable_names(found: Iterable[str]) -> str:
        """Join the entries of users for remove_servers, one for each region where an access key is saved in AWS."""
        places = (
            [f"{region}:{user}" for region, names in saved_in.items() if user in names] or [user] for user in found
        )
        return _join(chain.from_iterable(places))

    found = []
    if users and names_users:
        found.append(f"Users of this collection that no host of this inventory has: {removable_names(users)}.")
    elif users:
        counted = count_noun(len(users), "user")
        found.append(
            f"This inventory has no on-premises hosts, and the account has {counted} of this collection. "
            "cwagent.iam.audit lists them in a report."
        )
    if {*saved} - {*users}:
        found.append(f"Saved access keys of users that no host of this inventory has: {_join({*saved} - {*users})}.")
    absent = {user for names in saved_in.values() for user in names} - {*users}
    if absent:
        found.append(f"Saved access keys of users that do not exist: {removable_names(absent)}.")
    for region, profiles in sorted(instances.items()):
        for profile in sorted({*profiles.values()}):
            ids = [instance for instance, name in profiles.items() if name == profile]
            have = f"are not in this inventory and have {describe_profile(profile)}"
            found.append(f"Instances in {region} that {have}: {_join(ids)}.")
    if (users and names_users) or saved or absent:
        found.append("If their servers have left, cwagent.iam.remove_servers with these names removes them.")
    for reason in sorted({*unread.values()}):
        regions = _join(region for region, each in unread.items() if each == reason)
        unknown = f"It is not known whether access keys of users that no host has are saved in {regions}"
        found.append(f"{unknown}: {reason}.")
    return found


def describe_configs(remaining: Mapping[str, Iterable[str]], unread: Mapping[str, str]) -> list[str]:
    """Return the configurations that remain after a teardown in sentences, and how to delete them.

    :param remaining: by region, the names of parameters.
    :param unread: by region, why they are not known, and what to do.
    """
    listed = [
        f"Configurations in {region} that remain: {_join(names)}. If no server uses them: aws ssm delete-parameters "
        f"--region {region} --names {' '.join(sorted(names)[:MAX_LISTED])}"
        for region, names in sorted(remaining.items())
        if names
    ]
    unknown = [
        f"It is not known whether configurations remain in {region}: {reason}."
        for region, reason in sorted(unread.items())
    ]
    return [*listed, *unknown]


def _join(names: Iterable[str]) -> str:
    """Join the first names, and count the others."""
    return join_first(sorted(names), MAX_LISTED)


def readable_associations(
    aws_in: Callable[[str], Aws], regions: Iterable[str]
) -> dict[str, dict[str, tuple[Association, ...]]]:
    """Return by region and instance its instance profiles, without the regions that cannot be read."""
    found = {}
    for region in regions:
        with suppress(CwagentError):
            found[region] = read_associations(aws_in(region))
    return found


def readable_principals(aws: Aws, *kinds: str) -> list[AccountPrincipal] | None:
    """Return the roles, users or groups of the account; ``None`` if they cannot be read.

    :param kinds: as for ``read_principals``.
    """
    with suppress(CwagentError):
        return read_principals(aws, "read the principals of the account", *kinds)
    return None


def find_unlisted(
    aws_in: Callable[[str], Aws],
    listed: Listed | None,
    associations: Mapping[str, Mapping[str, Sequence[Association]]],
    principals: Iterable[AccountPrincipal],
) -> list[str]:
    """Return the resources of this collection that are not in the inventory, in sentences.

    :param aws_in: returns the gateway to a region. An empty name stands for the region of the module.
    :param listed: the contents of the inventory; ``None`` finds nothing.
    :param associations: by region and instance, its instance profiles, in the regions of the inventory.
    :param principals: includes the users of the account. Without them, only users with saved keys are known.
    """
    if listed is None:
        return []
    found = [each for each in principals if each.kind == "user"]
    users = {user.name for user in found if is_marked(user.tags)} - {*listed.users}
    instances = {
        region: {
            name: each[-1].profile
            for name, each in of_region.items()
            if each[-1].profile in listed.profiles and name not in listed.instance_ids
        }
        for region, of_region in associations.items()
    }
    saved, saved_in, unread = _find_saved(aws_in, listed)
    candidates = {user for names in saved_in.values() for user in names} - {user.name for user in found}
    absent, ours = _confirm_users(aws_in(""), sorted(candidates))
    users |= ours
    saved_in = {region: names & (users | absent) for region, names in saved_in.items()}
    return describe_unlisted(users, saved, saved_in, unread, instances, names_users=bool(listed.users))


def _confirm_users(aws: Aws, names: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return the users that do not exist, and the users of this collection. Unreadable users are in neither set.

    The bulk read cannot tell, because it can lack users, including users created in the last seconds.
    """

    def find(name: str) -> dict[str, Any] | None:
        with suppress(CwagentError):
            return find_user(aws, name)
        return {}

    found = dict(zip(names, run_in_parallel(find, names)))
    absent = {name for name, user in found.items() if user is None}
    return absent, {name for name, user in found.items() if user and is_marked(tags(user))}


def _find_saved(
    aws_in: Callable[[str], Aws], listed: Listed
) -> tuple[set[str], dict[str, frozenset[str]], dict[str, str]]:
    """Return the users with saved keys that no host has: outside AWS, by region of AWS, and the reasons if unknown."""
    saved, saved_in, unread = set[str](), dict[str, frozenset[str]](), dict[str, str]()
    for name, store in open_places(listed.place, aws_in, listed.regions).items():
        try:
            users = store.list_users() - {*listed.users}
        except CwagentError as error:
            unread[name] = _explain_unread(error, store.POLICY)
            continue
        if store.IN_ACCOUNT:
            saved_in[name] = users
        else:
            saved |= users
    return saved, saved_in, unread


def find_remaining_configs(
    aws_in: Callable[[str], Aws], configs_to_delete: Mapping[str, Iterable[str]], *, check_mode: bool
) -> list[str]:
    """Return the stored configurations that a run does not delete, in sentences.

    :param configs_to_delete: by region, the names of the parameters that the run deletes. Other regions are not read.
    :param check_mode: whether their further parts, which the run would delete, are still there.
    """
    remaining, unread = dict[str, list[str]](), dict[str, str]()
    for region, deleted in configs_to_delete.items():
        try:
            found = list_parameters(aws_in(region), [PARAMETER_PREFIX], "list the stored configurations")
        except CwagentError as error:
            unread[region] = _explain_unread(error, "teardown.json")
            continue
        names = [each["Name"] for each in found]
        parts = surplus_parts(names, deleted) if check_mode else []
        remaining[region] = sorted({*names} - {*deleted, *parts})
    return describe_configs(remaining, unread)


def _explain_unread(error: CwagentError, policy: str) -> str:
    """Return why parameters or secrets were not listed, and what to do, without the last full stop."""
    if isinstance(error, AwsApiError) and error.code in DENIED_CODES:
        return f"{error.action} is not allowed. Allow it as {policy} does, or ignore this"
    return str(error).rstrip(".")


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
