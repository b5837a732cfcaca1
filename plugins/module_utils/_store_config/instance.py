# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance stores with its own credentials, through modules that Ansible runs on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, HostUnreachable
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.admin_profile import (
    Admin,
    AdminProfile,
    ProfileWay,
)
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.host import check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.comparison import Comparison
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Configuration
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.host import StoreHost
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Report, Source


class InstanceWay(ProfileWay):
    """An instance that Ansible reaches."""

    def _unreachable_reason(self) -> str:
        return self._instance.state_problem()

    def check_host(self, to_store: Sequence[Configuration]) -> Mapping[str, Any]:
        """Check that it is the instance that the user means, and that it reaches Parameter Store."""
        return self.identify(sorted({each.region for each in to_store}))

    def identify(self, regions: Sequence[str]) -> Mapping[str, Any]:
        """Return the identity of the instance. :param regions: where Parameter Store must answer it."""
        identity: Mapping[str, Any] | None = check(self._wiring.host.probe(regions), self._wiring.name).get("identity")
        if identity is None:
            raise CwagentError(f"{self._wiring.name} did not report its identity. Check what answers there.")
        return identity

    def source(self, comparison: Comparison) -> Source:
        """Return the instance."""
        aws, wiring = self.aws_in(), self._wiring
        admin = self._admin(comparison, aws, has_answered=True)
        return InstanceSource(
            wiring.report,
            aws,
            admin,
            wiring.host,
            configurations=comparison.to_store,
            earlier=comparison.earlier,
        )


class InstanceSource(AdminProfile):
    """An instance that stores with the admin profile.

    :param configurations: the configurations that the instance reads back at the end, as a server does.
    :param earlier: the profile and the role that the instance had before, according to its metadata service.
    """

    def __init__(
        self,
        report: Report,
        aws: Aws,
        admin: Admin,
        host: StoreHost,
        *,
        configurations: Sequence[Configuration] = (),
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(report, aws, admin)
        self._host = host
        self._configurations = configurations
        self._earlier = earlier or {}

    def acquire(self) -> None:
        """Acquire the profile, and wait until the instance has it."""
        super().acquire()
        profiles = self._admin.desired.profiles
        self.report.say("wait until the instance has the admin identity")
        found = self._host.identity(profiles.admin, profiles.role, fail_on_refused_role=True)
        is_refused = found.get("role_refused", False)
        self.check_exclusive(associate_again=is_refused)
        if is_refused:
            found = self._host.identity(profiles.admin, profiles.role)
        check(found)

    def store(self, configuration: Configuration) -> Mapping[str, Any]:
        """Store a configuration from the instance."""
        return check(self._host.store(configuration))

    def finish(self, failure: CwagentError | None) -> None:
        """Wait for the earlier identity, remove the restore tag, and read the configurations as a server does."""
        if not self.report.is_released:
            super().finish(failure)
        is_lost = isinstance(failure, HostUnreachable)
        found: dict[str, Any] = {} if is_lost else self._earlier_identity()
        self.untag()
        profile = self.restored or "no instance profile"
        if is_lost:
            raise CwagentError(
                f"{failure} {self._admin.place} could not be reached while the configuration was being stored. It has "
                f"{profile} again, and the admin window is closed. Make it reachable and run again."
            )
        if failure:
            raise failure
        if "identity" in found:
            check(found)
            self._read_back()
        else:
            # EC2 has restored the profile, so a metadata service that does not answer is no reason to fail.
            self.report.warnings.append(
                f"{self._admin.place} did not report whether it has its earlier identity again "
                f"({found.get('msg', '')}). According to EC2 it has {profile}, and the admin window is closed."
            )

    def _earlier_identity(self) -> dict[str, Any]:
        """Wait until the instance has its earlier identity. This includes the role if the earlier one is known."""
        role = self._earlier.get("role") if self._earlier.get("instance_profile") == self.restored else None
        known = role if self.restored and role != self._admin.desired.profiles.role else None
        self.report.say("wait until the instance has its earlier identity")
        try:
            return self._host.identity(self.restored, known)
        except HostUnreachable as error:
            return {"failed": True, "msg": str(error)}

    def _read_back(self) -> None:
        """Read the configurations with the instance's own identity, as a server does.

        :raises CwagentError: something else is stored.
        """
        if not self.restored:
            return
        unread, otherwise = [], []
        self.report.say("read what was stored as a server does")
        for each in self._configurations:
            try:
                found = self._host.compare(each)
            except HostUnreachable as error:
                found = {"failed": True, "msg": str(error)}
            if found.get("failed"):
                unread.append(str(found.get("msg")))
            elif found.get("steps"):
                otherwise += each.desired.names
        if otherwise:
            raise CwagentError(
                f"{', '.join(otherwise)} was stored, but {self._admin.place} reads another value. Something else has "
                "overwritten it: find out what, then run again."
            )
        if unread:
            self.report.warnings.append(
                f"the configuration was stored, but {self._admin.place} cannot read it with its own profile "
                f"{self.restored}. {' '.join(dict.fromkeys(unread))}"
            )
