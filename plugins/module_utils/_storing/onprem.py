# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An on-premises host stores with the access key of the admin user, while its admin window is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._ground.converge import converge, first_plan
from .._ground.errors import CwagentError, HostUnreachable
from .._principals.window import WindowResource
from .._principals.window_plan import CLOSED, DesiredWindow, describe_left, to_dict
from .base import Way, check
from .options import USER
from .transaction import Phase, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._ground.aws import Aws
    from .._ground.plan import Plan
    from .._principals.window_plan import Window
    from .base import StoreHost
    from .transaction import Comparison, Configuration, Report


class OnPremisesWay(Way):
    """A host on premises."""

    principal = USER

    def check_host(self, to_store: Sequence[Configuration]) -> Mapping[str, Any]:
        """Check that the host has a key, and that it reaches Parameter Store."""
        admin, wiring = self._options.admin, self._wiring
        file = admin.credentials_file
        if file and not wiring.host.has_file(file):
            raise CwagentError(
                f"{wiring.name} has no {file} with the access key of {admin.admin_user_name}, which cwagent.iam.site "
                "creates and saves. Copy the key to that file, under the profile "
                f"{self._options.key.credentials_profile}, or unset store_config_credentials_file to use the saved "
                "key. Then run again."
            )
        check(wiring.host.probe(sorted({each.region for each in to_store})), wiring.name)
        return {}

    def source(self, comparison: Comparison) -> Source:
        """Return the host."""
        options, wiring, window = self._options, self._wiring, self._window(comparison)
        return OnPremisesSource(
            wiring.report,
            self.aws_in(),
            wiring.host,
            name=wiring.name,
            window=window if options.admin.admin_window else None,
            wait_timeout=options.waits.wait_timeout,
        )


class OnPremisesSource(Source):
    """A host that stores while the admin window of a user is open.

    :param host: the host that stores.
    :param name: the name of the host, for messages.
    :param window: the window; ``None`` if the user may store at any time.
    :param wait_timeout: for how many seconds to wait for AWS.
    """

    _plan: Plan[Window]

    def __init__(
        self,
        report: Report,
        aws: Aws,
        host: StoreHost,
        *,
        name: str,
        window: DesiredWindow | None,
        wait_timeout: float,
    ) -> None:
        super().__init__(report)
        self._aws = aws
        self._host = host
        self._name = name
        self._window = window
        self._wait_timeout = wait_timeout

    def prepare(self) -> None:
        """Read the window, check that it is not open, and plan how it is opened."""
        if self._window:
            self._plan = first_plan(self._resource(self._window))

    def planned(self) -> tuple[list[Phase], list[Phase]]:
        """Return the phases, which open a window and close the same one."""
        if not self._window:
            return [], []
        opening = self._resource(self._window)
        self.report.warnings += [*opening.warnings(self._plan), *opening.check_mode_warnings(self._plan)]
        return [Phase.of("acquired", opening, self._plan)], [Phase.of("released", *self._closing(self._window))]

    def acquire(self) -> None:
        """Open the window."""
        if self._window:
            opening = self._resource(self._window)
            self.began = True
            opened = self.report.take("acquired", lambda: converge(opening, False, self._wait_timeout, self._plan))
            self.report.window = opened["window"]

    def store(self, configuration: Configuration) -> Mapping[str, Any]:
        """Store a configuration from the host."""
        return check(self._host.store(configuration))

    def take_over(self) -> None:
        """Prepare to release instead of a process that was killed."""
        self._aws.forget_clients()
        super().take_over()

    def release(self, wait: float | None = None) -> None:
        """Close the window and deactivate the key. The steps are known from the plan, so nothing is read before."""
        if self._window:
            closing, plan = self._closing(self._window)
            try:
                self.report.take("released", lambda: converge(closing, False, wait or self._wait_timeout, plan))
            except CwagentError as error:
                done = error.details.get("done", ())
                missing = [step.summary for step in plan.all_steps if step.summary not in done]
                is_open = self._window.close_summary in missing
                left = describe_left(
                    self._window,
                    self.report.window or to_dict(self._plan.planned),
                    is_open=is_open,
                    has_key=len(missing) > is_open,
                )
                raise CwagentError(
                    f"{left} {error} Fix the cause, then run cwagent.iam.restore to clean up.",
                    **error.details,
                ) from error

    def finish(self, failure: CwagentError | None) -> None:
        """Report the state of the window if the host was lost."""
        if isinstance(failure, HostUnreachable):
            raise CwagentError(
                f"{failure} {self._name} could not be reached while the configuration was being stored. The admin "
                "window is closed. Make the host reachable and run again."
            ) from failure
        super().finish(failure)

    def _closing(self, window: DesiredWindow) -> tuple[WindowResource, Plan[Window]]:
        closing = self._resource(DesiredWindow(window.kind, window.name, CLOSED, force=True))
        return closing, closing.plan(self._plan.planned)

    def _resource(self, window: DesiredWindow) -> WindowResource:
        return WindowResource(self._aws, window, fail_if_open=window.state != CLOSED)
