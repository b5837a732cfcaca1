# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes the admin windows and restores the instances that interrupted runs left behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    RELEASED,
    DesiredAdmin,
    regions_with_records,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.resource import AdminInstanceResource
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import CLOSED, DesiredWindow
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED_CODES,
    AwsApiError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._fleet import Fleet
from ansible_collections.cwagent.iam.plugins.module_utils._names import adoption_problem
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import tags
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import ACCESS_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import find_role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws


KEEP = "keep"


@dataclass(frozen=True)
class Leftovers:
    """The places where interrupted runs can have left something.

    :param role: the admin role, which has the restore records. Its profile has the same name.
    :param fallback: the profile for instances that have the admin profile and no record.
    :param window_state: the desired state of the windows: ``CLOSED``, ``ABSENT`` or ``KEEP``.
    :param closes_role: whether this includes the window of the role.
    :param users: the users whose windows are included.
    :param instances: by region, the instances that the user listed.
    :param record_regions: the regions with a restore record; ``None`` if they are not known.
    :param adopt_existing: whether somebody else may have created a user, whose window is then not closed.
    """

    role: str
    fallback: str
    window_state: str = CLOSED
    closes_role: bool = True
    users: Sequence[str] = ()
    instances: Mapping[str, Sequence[str]] = field(default_factory=dict)
    record_regions: Sequence[str] | None = None
    adopt_existing: bool = True


class Restoration:
    """Does one part after the other, even if one of them fails.

    The windows come first, because closing them is the stronger protection and depends on nothing else.

    :param aws_in: makes the gateway for a region. An empty text stands for the region of the module.
    :param wait: as for ``converge``.
    """

    def __init__(
        self, leftovers: Leftovers, aws_in: Callable[[str], Aws], *, check_mode: bool, wait: float | None
    ) -> None:
        self._leftovers = leftovers
        self._aws_in = aws_in
        self._aws = aws_in("")
        self._fleet = Fleet(check_mode=check_mode, wait=wait)

    def run(self) -> dict[str, Any]:
        """Return the result of the module. :raises CwagentError: it has all failures, and the steps that were done."""
        leftovers, do = self._leftovers, self._fleet.converge
        principals = [("role", leftovers.role)] if leftovers.closes_role else []
        principals += [("user", name) for name in leftovers.users]
        windows = {} if leftovers.window_state == KEEP else {each: do(self._window(*each)) for each in principals}
        for region, names in leftovers.instances.items():
            do(self._instances(region, names))
        for region in self._other_regions():
            do(self._instances(region, (), closes_window=True))
        unmanaged = [name for (kind, name), each in windows.items() if kind == "user" and not each.get("managed", True)]
        if not leftovers.adopt_existing and leftovers.window_state == CLOSED:
            self._fleet.errors += [InvalidInput(adoption_problem("user", name)) for name in unmanaged]
        return self._fleet.result(
            ["instances"], closed=[name for (_kind, name), each in windows.items() if each.get("changed")]
        )

    def _window(self, kind: str, name: str) -> WindowResource:
        desired = DesiredWindow(kind, name, self._leftovers.window_state, managed_only=True)
        return WindowResource(self._aws, desired, admin_policy=ACCESS_POLICIES["admin"])

    def _instances(self, region: str, names: Sequence[str], *, closes_window: bool = False) -> AdminInstanceResource:
        aws, role = self._aws_in(region), self._leftovers.role
        desired = DesiredAdmin(
            RELEASED,
            role,
            self._leftovers.fallback,
            fallback_ids=frozenset(names),
            record_role=role,
            region=aws.region,
        )
        window = WindowResource(self._aws, DesiredWindow("role", role, CLOSED)) if closes_window else None
        return AdminInstanceResource(aws, desired, window)

    def _other_regions(self) -> list[str]:
        """Return the regions that have restore records and no instance in the inventory any more."""
        known = self._leftovers.record_regions
        if known is None:
            try:
                known = regions_with_records(tags(find_role(self._aws, self._leftovers.role) or {}))
            except AwsApiError as error:
                if error.code in DENIED_CODES:
                    self._fleet.warn(f"It is not known whether instances of other hosts are to be restored. {error}")
                else:
                    self._fleet.errors.append(error)
        return [region for region in known or () if region not in self._leftovers.instances]
