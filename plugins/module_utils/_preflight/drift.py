# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds how the access of EC2 instances differs from the desired one. Only reads, and each thing once."""

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
from ansible_collections.cwagent.iam.plugins.module_utils._names import adoption_problem, is_marked
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import tags
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import ACCESS_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import RoleResource, find_role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
    from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole

WINDOW, PROFILES, ACCESS = PARTS = "window", "profiles", "access"


@dataclass(frozen=True)
class DesiredAccess:
    """The access that EC2 instances are to have.

    :param on_existing: what to do with an instance that has another profile, as in ``DesiredProfile``.
    :param instances: by region, the ids of the instances.
    """

    server: DesiredRole
    admin: DesiredRole
    on_existing: str
    instances: Mapping[str, Sequence[str]]


class CachingAws(Aws):
    """Makes each reading call once, for several resources that read the same things.

    :param region: the name of the region that it calls.
    :param answers: the answers so far. Regions share them, since IAM has the same answer in all of them.
    """

    def __init__(self, client_factory: Callable[..., Any], region: str, answers: dict[str, Any]) -> None:
        super().__init__(client_factory)
        self._region = region
        self._answers = answers

    def call(self, action: str, description: str, max_attempts: int = MAX_ATTEMPTS, **arguments: Any) -> dict[str, Any]:
        """Return the answer to the first call with these arguments. :raises AwsApiError: the answer was an error."""
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


def find_drift(desired: DesiredAccess, aws_in: Mapping[str, Aws]) -> list[str]:
    """Find the parts that need a change, or a warning.

    ``WINDOW``: the admin window is not closed, or exists although it is not desired. ``PROFILES``: an instance has the
    admin profile, a restore tag or a restore record. ``ACCESS``: a role, or the instance profile of an instance, is not
    as desired.

    ``ACCESS`` is not read but reported where another part is, since restoring that part can change it, and where there
    is no admin role.

    :param aws_in: by region, the gateway to AWS.
    :raises InvalidInput: something cannot be as desired.
    :raises CwagentError: AWS did not answer, or answered with an error.
    """
    aws = next(iter(aws_in.values()))  # IAM is the same in every region
    admin_profile, server_profile = desired.admin.profile, desired.server.profile
    has_window = desired.admin.declared.admin_window
    window = DesiredWindow("role", desired.admin.name, CLOSED if has_window else ABSENT, managed_only=has_window)
    profile = DesiredProfile(server_profile, on_existing=desired.on_existing)
    # A role that does not exist has no window, and is yet to be created.
    admin_role_exists = find_role(aws, desired.admin.name) is not None
    restored: dict[str, list[Resource[Any]]] = {
        WINDOW: [WindowResource(aws, window, admin_policy=ACCESS_POLICIES["admin"])] if admin_role_exists else [],
        PROFILES: [
            _admin_instances(desired, region, each, admin_profile, server_profile) for region, each in aws_in.items()
        ],
    }
    access: list[Resource[Any]] = [
        *(
            AssociationResource(aws_in[region], instance_ids, profile, whole_region=True)
            for region, instance_ids in desired.instances.items()
        ),
        *(RoleResource(aws, role, present=True, for_result=False) for role in (desired.server, desired.admin)),
    ]
    found = [part for part, resources in restored.items() if _has_drift(resources)]
    return [*found, ACCESS] if found or not admin_role_exists or _has_drift(access) else []


def adoption_problems(admin: DesiredRole, aws: Aws) -> list[str]:
    """List why the admin role cannot get an admin window: somebody else created it.

    :raises CwagentError: AWS did not answer, or answered with an error.
    """
    declared = admin.declared
    role = find_role(aws, admin.name) if declared.admin_window and not declared.adopt else None
    if role is None or is_marked(tags(role)):
        return []
    window = WindowResource(aws, DesiredWindow("role", admin.name, CLOSED)).read()
    return [] if window.policy is not None else [adoption_problem("role", admin.name)]


def _admin_instances(
    desired: DesiredAccess, region: str, aws: Aws, admin_profile: str, server_profile: str
) -> AdminInstanceResource:
    released = DesiredAdmin(
        RELEASED,
        admin_profile,
        server_profile,
        fallback_ids=frozenset(desired.instances.get(region, ())),
        record_role=desired.admin.name,
        region=aws.region,
    )
    # A record that IAM does not show yet counts as missing, which is drift too. The task that restores reads it again.
    return AdminInstanceResource(aws, released, record_seconds=0)


def _has_drift(resources: Iterable[Resource[Any]]) -> bool:
    """Whether one of the resources needs a change or a warning; the resources after it are not read."""
    for resource in resources:
        plan = resource.plan(resource.read())
        if plan.has_changes or resource.warnings(plan):
            return True
    return False
