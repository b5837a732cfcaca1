# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of an inventory's access on EC2 is still to be given or to be put back, all read in one go. Changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import RELEASED, DesiredAdmin
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.resource import AdminInstanceResource
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import ABSENT, CLOSED, DesiredWindow
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._aws import MAX_ATTEMPTS, Aws
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import DesiredProfile
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import AssociationResource
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import RoleResource, find_role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
    from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole

WINDOW, PROFILES, ACCESS = PARTS = "window", "profiles", "access"


@dataclass(frozen=True)
class DesiredAccess:
    """What the instances of an inventory are to have.

    :param replace: whether the server profile takes the place of another one.
    :param instances: by region, the ids of the instances.
    """

    server: DesiredRole
    admin: DesiredRole
    replace: bool
    instances: Mapping[str, Sequence[str]]


class CachingAws(Aws):
    """Makes each reading call once, for several resources that look at the same things.

    :param region: where it calls.
    :param answers: those so far, shared by the regions: IAM's are the same in all of them.
    """

    def __init__(self, client_factory: Callable[..., Any], region: str, answers: dict[str, Any]) -> None:
        super().__init__(client_factory)
        self._region = region
        self._answers = answers

    def call(self, action: str, description: str, max_attempts: int = MAX_ATTEMPTS, **arguments: Any) -> dict[str, Any]:
        """The answer of the first call with these arguments. :raises AwsApiError: that was its answer."""
        region = None if action.startswith("iam:") else self._region
        key = json.dumps([region, action, arguments], sort_keys=True)
        if key not in self._answers:
            try:
                self._answers[key] = super().call(action, description, max_attempts, **arguments)
            except AwsApiError as error:
                self._answers[key] = error
        answer: dict[str, Any] | AwsApiError = self._answers[key]
        if isinstance(answer, AwsApiError):
            raise answer
        return answer


def due(desired: DesiredAccess, aws_in: Mapping[str, Aws]) -> list[str]:
    """For which parts of the job there is something to do, or to say.

    ``WINDOW``: the admin window is not as it should be between runs. ``PROFILES``: an instance carries the admin
    profile, or a note of its earlier one. ``ACCESS``: something is missing on the roles, or on an instance.

    What an interrupted run left behind comes first: where there is something to put back, or no admin role, the rest is
    not read, which can be another afterwards.

    :param aws_in: the way to AWS by region; each makes the same call once.
    :raises InvalidInput: something cannot be had as it is wanted.
    :raises CwagentError: AWS did not answer.
    """
    aws = next(iter(aws_in.values()))  # of any region: IAM is the same in all
    admin, server = desired.admin.profile, desired.server.profile
    window = DesiredWindow("role", desired.admin.name, CLOSED if desired.admin.declared.admin_window else ABSENT)
    profile = DesiredProfile(server, replace=desired.replace, keep_other=True)
    # Without an administrator, no window is open and all access is due, so the rest of that is not read.
    is_made = find_role(aws, desired.admin.name) is not None
    left_behind: dict[str, list[Resource[Any]]] = {
        WINDOW: [WindowResource(aws, window)] if is_made else [],
        PROFILES: [AdminInstanceResource(each, DesiredAdmin(RELEASED, admin, server)) for each in aws_in.values()],
    }
    access: list[Resource[Any]] = [
        *(
            AssociationResource(aws_in[region], instance_ids, profile, whole_region=True)
            for region, instance_ids in desired.instances.items()
        ),
        *(RoleResource(aws, role, present=True, for_result=False) for role in (desired.server, desired.admin)),
    ]
    found = [part for part, resources in left_behind.items() if _have_work(resources)]
    return [*found, ACCESS] if found or not is_made or _have_work(access) else []


def _have_work(resources: Iterable[Resource[Any]]) -> bool:
    """Whether there is something to do, or to say, for one of them; those after it are not read."""
    for resource in resources:
        current = resource.read()
        if resource.plan(current).changes or resource.warnings(current):
            return True
    return False
