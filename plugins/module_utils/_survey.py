# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of an inventory's access on EC2 is still to be given or to be put back, all read in one go. Changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import RETURNED, WantedAdmin
from ansible_collections.cwagent.iam.plugins.module_utils._association import WantedProfile
from ansible_collections.cwagent.iam.plugins.module_utils._aws import ATTEMPTS, Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ec2 import AdminInstanceResource, AssociationResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsRefusal
from ansible_collections.cwagent.iam.plugins.module_utils._iam_role import RoleResource
from ansible_collections.cwagent.iam.plugins.module_utils._iam_window import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._window import ABSENT, CLOSED, WantedWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
    from ansible_collections.cwagent.iam.plugins.module_utils._role import WantedRole

PROFILES, WINDOW, ACCESS = "profiles", "window", "access"


@dataclass(frozen=True)
class WantedAccess:
    """What the instances of an inventory are to have.

    :param replace: whether the server profile takes the place of another one.
    :param instances: by region, the ids of the instances.
    """

    server: WantedRole
    admin: WantedRole
    replace: bool
    instances: Mapping[str, Sequence[str]]


class ReadOnce(Aws):
    """Makes each reading call once, for several resources that look at the same things."""

    def __init__(self, connect: Callable[..., Any]) -> None:
        super().__init__(connect)
        self._answers: dict[str, Any] = {}

    def call(self, action: str, attempt: str, attempts: int = ATTEMPTS, **arguments: Any) -> dict[str, Any]:
        """The answer of the first call with these arguments. :raises AwsRefusal: that was its answer."""
        answer = self._once(
            action, arguments, lambda: super(ReadOnce, self).call(action, attempt, attempts, **arguments)
        )
        return dict(answer)

    def pages(self, action: str, attempt: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """The pages of the first call with these arguments. :raises AwsRefusal: that was its answer."""
        yield from self._once(
            action, arguments, lambda: list(super(ReadOnce, self).pages(action, attempt, **arguments))
        )

    def _once(self, action: str, arguments: Mapping[str, Any], ask: Callable[[], Any]) -> Any:
        key = json.dumps([action, arguments], sort_keys=True)
        if key not in self._answers:
            try:
                self._answers[key] = ask()
            except AwsRefusal as refusal:
                self._answers[key] = refusal
        if isinstance(self._answers[key], AwsRefusal):
            raise self._answers[key]
        return self._answers[key]


def due(want: WantedAccess, aws_in: Mapping[str, Aws], time: datetime) -> list[str]:
    """For which parts of the job there is something to do, or to say.

    ``PROFILES``: an instance carries the admin profile, or a note of its earlier one. ``WINDOW``: the admin window is
    not as it should be between runs. ``ACCESS``: something is missing on the roles, or on an instance. What is read of
    a part ends with the first thing that is missing.

    :param aws_in: the way to AWS by region; each makes the same call once.
    :param time: the present, in UTC.
    :raises InvalidInput: something cannot be had as it is wanted.
    :raises CwagentError: AWS did not answer.
    """
    some_region = next(iter(aws_in.values()))
    admin, server = want.admin.profile, want.server.profile
    window = WantedWindow("role", want.admin.name, CLOSED if want.admin.declared.admin_window else ABSENT)
    profile = WantedProfile(server, replace=want.replace, keep_other=True)
    left_behind = _work(AdminInstanceResource(aws, WantedAdmin(RETURNED, admin, server)) for aws in aws_in.values())
    on_instances = (
        AssociationResource(aws_in[region], instance_ids, profile, whole_region=True)
        for region, instance_ids in want.instances.items()
    )
    roles = (RoleResource(some_region, role, present=True, to_show=False) for role in (want.server, want.admin))
    parts = {
        PROFILES: left_behind,
        WINDOW: _work([WindowResource(some_region, window, time, refuse_open=False)]),
        # An instance that gets its earlier profile back can lack the server profile.
        ACCESS: left_behind or _work(on_instances) or _work(roles),
    }
    return [part for part, has_work in parts.items() if has_work]


def _work(resources: Iterable[Resource[Any]]) -> bool:
    """Whether there is something to do, or to say, for one of them; those after it are not read."""
    for resource in resources:
        now = resource.read()
        if resource.plan(now).changes or resource.warnings(now):
            return True
    return False
