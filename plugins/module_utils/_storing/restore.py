# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes the windows and restores the instances that interrupted runs left behind, for the module cwagent_restore."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from .._ground.call import Fleet
from .._ground.errors import DENIED_CODES, AwsApiError, CwagentError, InvalidInput
from .._ground.names import (
    WINDOW_POLICY,
    adoption_problem,
    check_different,
    check_instance_id,
    check_name,
    names_by_region,
)
from .._ground.options import option, read_options, spec_of
from .._ground.wait import WAIT_SPEC
from .._keys.stores import PLACE_SPEC
from .._principals.policies import is_admin_policy, server_policy_of
from .._principals.principal import find_server_policy, tags
from .._principals.role import find_role
from .._principals.window import WindowResource
from .._principals.window_plan import ABSENT, CLOSED, DesiredWindow
from .._servers.admin_instance import Profiles, check_profiles, regions_with_records
from .._servers.admin_profile import ReleaseResource
from .._servers.admin_profile_plan import Release
from .lookups import (
    Inputs,
    fail_on_problems,
    find_unlisted,
    ineligible_instances,
    readable_associations,
    readable_principals,
    to_listed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .._ground.aws import Aws
    from .._principals.policies import AccountPrincipal
    from .._servers.instance_profile_plan import Association
    from .lookups import Listed


KEEP = "keep"


@dataclass(frozen=True)
class Leftovers:
    """The places where interrupted runs can have left something, and the declaration of the options for them.

    :param admin_role_name: the role with the restore records. Its profile has the same name. ``None`` leaves the role
        and all instances as they are.
    :param server_profile: the profile for instances that have the admin profile and no record.
    :param window_state: the desired state of the windows: ``CLOSED``, ``ABSENT`` or ``KEEP``.
    :param close_role_window: whether this includes the window of the role.
    :param admin_users: the users whose windows are included.
    :param instances: by region, the instances that the user listed.
    :param check_instances: whether each of these instances must exist and must not have ended.
    :param adopt_existing: whether somebody else may have created a principal, whose window is then not closed.
    :param find_server_policy: whether to find out which policy the account chooses for its servers.
    :param unlisted: the contents of the inventory, to report anything that it lacks; ``None`` for no such report.
    """

    admin_role_name: str | None = option()
    server_profile: str = option()
    window_state: str = option(choices=[CLOSED, ABSENT, KEEP], default=CLOSED)
    close_role_window: bool = option(default=True)
    admin_users: Sequence[str] = option(default=[])
    check_instances: bool = option(default=False)
    adopt_existing: bool = option(default=True)
    find_server_policy: bool = option(default=False)
    instances: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unlisted: Listed | None = None


class Restoration:
    """Does one part after the other, even if one of them fails.

    The windows come first, because closing them is the stronger protection and depends on nothing else.

    :param aws_in: returns the gateway to a region. An empty text stands for the region of the module.
    :param wait: as for ``converge``.
    """

    def __init__(
        self, leftovers: Leftovers, aws_in: Callable[[str], Aws], *, check_mode: bool, wait: float | None
    ) -> None:
        self._leftovers = leftovers
        self._aws_in = aws_in
        self._aws = aws_in("")
        self._check_mode = check_mode
        self._fleet = Fleet(check_mode=check_mode, wait=wait)
        self._principals: list[AccountPrincipal] | None = None

    def run(self) -> dict[str, Any]:
        """Return the result of the module.

        :raises InvalidInput: an instance cannot have an instance profile. Nothing was written.
        :raises CwagentError: it has all failures, and the steps that were done.
        """
        leftovers, do = self._leftovers, self._fleet.converge
        is_checked = leftovers.check_instances or leftovers.unlisted
        associations = readable_associations(self._aws_in, leftovers.instances if is_checked else ())
        if leftovers.check_instances:
            try:
                fail_on_problems(ineligible_instances(self._aws_in, leftovers.instances, associations))
            except InvalidInput:
                raise
            except CwagentError as error:  # no reason to leave a window open
                self._fleet.errors.append(error)
        self._principals = self._read_principals()
        role = leftovers.admin_role_name
        principals = [("role", role)] if role and leftovers.close_role_window else []
        principals += [("user", name) for name in leftovers.admin_users]
        windows = {} if leftovers.window_state == KEEP else {each: do(self._window(*each)) for each in principals}
        cleaned = [*windows.values()] if leftovers.window_state == CLOSED else []
        # The principals that somebody else created have no window.
        unmanaged = [each for each, found in windows.items() if not found.get("managed", True)]
        refused = [] if leftovers.adopt_existing or leftovers.window_state != CLOSED else unmanaged
        self._fleet.errors += [InvalidInput(adoption_problem(*each)) for each in refused]
        if role and ("role", role) not in refused:
            closes = ("role", role) not in windows
            cleaned += self._restore_instances(role, associations, closes_window=closes)
        unlisted = find_unlisted(self._aws_in, leftovers.unlisted, associations, self._principals or ())
        policy = self._find_server_policy() if leftovers.find_server_policy else {}
        found = self._fleet.result(["instances"], unlisted=unlisted, **policy)
        is_planned = self._check_mode and any(each.get("changed") for each in cleaned)
        return {**found, "needs_restore": True} if is_planned else found

    def _read_principals(self) -> list[AccountPrincipal] | None:
        """Read everything that this task needs of many principals at once; ``None`` if it cannot be read.

        Whatever shows that something is to be cleaned up is read again. So is a principal that is not found.
        """
        leftovers, chooses = self._leftovers, self._leftovers.find_server_policy
        if not (leftovers.unlisted or chooses):
            return None
        kinds = {"Role": chooses or leftovers.admin_role_name, "User": True, "Group": chooses}
        return readable_principals(self._aws, *(kind for kind, is_needed in kinds.items() if is_needed))

    def _find(self, kind: str, name: str) -> AccountPrincipal | None:
        return next((each for each in self._principals or () if (each.kind, each.name) == (kind, name)), None)

    def _find_server_policy(self) -> dict[str, Any]:
        """Return the policy that the account chooses for its servers, for the result."""
        try:
            known = self._principals
            chosen = find_server_policy(self._aws, None)[0] if known is None else server_policy_of(known)
        except CwagentError as error:
            self._fleet.errors.append(error)
            return {}
        if chosen.notice:
            self._fleet.warn(chosen.notice)
        return {"server_policy": chosen.name}

    def _window(self, kind: str, name: str) -> WindowResource:
        desired = DesiredWindow(kind, name, self._leftovers.window_state, managed_only=True)
        known = self._find(kind, name)
        policy = known.inline.get(WINDOW_POLICY) if known else None
        return WindowResource(self._aws, desired, is_admin_policy=is_admin_policy, known_policy=policy)

    def _restore_instances(
        self, role: str, associations: Mapping[str, Mapping[str, tuple[Association, ...]]], *, closes_window: bool
    ) -> list[dict[str, Any]]:
        """Restore the instances of the inventory's regions, and of all other regions with a restore record.

        Return the result for each region.

        :param closes_window: whether to close the window of the role if there is another region. It is closed once.
        """
        recorded, listed = self._regions_with_records(role), self._leftovers.instances
        others = [region for region in recorded or () if region not in listed]
        closing, results = others[:1] if closes_window else [], []
        for region in [*listed, *others]:
            aws = self._aws_in(region)
            named = frozenset(listed.get(region, ()))
            profiles = Profiles(role, self._leftovers.server_profile, role, aws.region, named)
            window = WindowResource(self._aws, DesiredWindow("role", role, CLOSED)) if region in closing else None
            has_records = recorded is None or aws.region in recorded
            known = None if has_records else associations.get(region)
            release = Release(profiles, has_records=has_records, associations=known)
            results.append(self._fleet.converge(ReleaseResource(aws, release, window)))
        return results

    def _regions_with_records(self, role: str) -> list[str] | None:
        """Return the regions that have restore records; ``None`` if they are not known."""
        if known := self._find("role", role):
            return regions_with_records(known.tags)
        try:
            return regions_with_records(tags(find_role(self._aws, role) or {}))
        except AwsApiError as error:
            if error.code in DENIED_CODES:
                self._fleet.warn(f"It is not known whether instances of other hosts are to be restored. {error}")
            else:
                self._fleet.errors.append(error)
        return None


T = TypeVar("T")
RESTORED, CHECKED = "restored", "checked"
NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
# By state, the options that are refused with the other one.
OPTIONS_OF: dict[str, dict[str, Any]] = {RESTORED: spec_of(Leftovers), CHECKED: spec_of(Inputs)}
SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": [RESTORED, CHECKED], "default": RESTORED},
    "instances": {"type": "dict", "default": {}},
    "users": NAMES,
    "report_unlisted": {"type": "bool", "default": False},
    **PLACE_SPEC,
    "key_store_directory": {"type": "path"},
    "key_store_regions": {**NAMES, "no_log": False},
    **OPTIONS_OF[RESTORED],
    **OPTIONS_OF[CHECKED],
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {"required_if": [("state", RESTORED, ["server_profile"])]}


class Problems:
    """Collects the messages of failed checks, each once, because several options can have the same problem."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def check(self, check: Callable[..., T], *arguments: Any) -> T | None:
        """Return the check's result; ``None`` if it fails."""
        try:
            return check(*arguments)
        except InvalidInput as error:
            if str(error) not in self.messages:
                self.messages.append(str(error))
            return None

    def check_names(self, kind: str, names: Sequence[str]) -> None:
        """Check names of roles, users or instance profiles."""
        for name in names:
            self.check(check_name, kind, name)
        self.check(check_different, names)

    def check_lists(self, option: str, given: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the lists of an option by region."""
        each = (self.check(names_by_region, option, {region: value}) for region, value in given.items())
        return {region: names for found in each for region, names in (found or {}).items()}

    def check_instances(self, given: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the IDs of instances by region."""
        instances = self.check_lists("instances", given)
        for instance_id in (each for ids in instances.values() for each in ids):
            self.check(check_instance_id, instance_id)
        return instances


def to_leftovers(params: Mapping[str, Any]) -> Leftovers:
    """Return the places to check. :raises InvalidInput: an option is invalid. The message lists all problems."""
    role, profile, found = params["admin_role_name"], params["server_profile"], Problems()
    found.check(_check_options, params, CHECKED)
    if profile is None:  # Ansible takes null as a value
        fail_on_problems(["server_profile is required."])
    found.check_names("instance profile", [profile])
    if role is not None:
        found.check_names("role", [role])
        found.check(check_profiles, role, profile)
    for name in ("admin_users", "users"):
        found.check_names("user", params[name])
    instances = found.check_instances(params["instances"])
    fail_on_problems(found.messages)
    listed = to_listed(params, instances, [profile, *([role] if role else [])])
    return read_options(Leftovers, params, instances=instances, unlisted=listed)


def to_inputs(params: Mapping[str, Any]) -> Inputs:
    """Return what to look up. :raises InvalidInput: an option is invalid. The message lists all problems."""
    found = Problems()
    found.check(_check_options, params, RESTORED)
    for name in ("users", "saved_users"):
        found.check_names("user", params[name])
    found.check_names("user", [str(each) for each in params["default_users"].values()])
    instances = found.check_instances(params["instances"])
    users_to_delete, configs_to_delete = (
        found.check_lists(name, params[name]) for name in ("users_to_delete", "configs_to_delete")
    )
    fail_on_problems(found.messages)
    return read_options(
        Inputs,
        params,
        instances=instances,
        users_to_delete=users_to_delete,
        configs_to_delete=configs_to_delete,
        unlisted=to_listed(params, {}, []),
        place={name: params[name] for name in PLACE_SPEC},
    )


def _check_options(params: Mapping[str, Any], state: str) -> None:
    """Check that the options of another state have their default values. :raises InvalidInput: one has another."""
    options = OPTIONS_OF[state]
    if given := [name for name, option in options.items() if params[name] != option.get("default")]:
        raise InvalidInput(f"{', '.join(given)}: only for state={state}.")
