# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds which tasks of a playbook have something to do, before they run. Only reads, and each thing once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import options as admin_instance
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import options as admin_window
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import options as config_parameter
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import validate_config
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import ParameterResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile import options as instance_profile
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import ACCESS_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._role import options as role
from ansible_collections.cwagent.iam.plugins.module_utils._user import options as user

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
    from ansible_collections.cwagent.iam.plugins.module_utils._preflight.cache import CachingAws

ROLE, USER, WINDOW = "cwagent_iam_role", "cwagent_iam_user", "cwagent_admin_window"
ADMIN_INSTANCE, INSTANCE_PROFILE = "cwagent_admin_instance", "cwagent_instance_profile"
CONFIG_PARAMETER = "cwagent_config_parameter"
# The modules whose tasks can be compared, with their options.
OPTIONS: dict[str, Any] = {
    ROLE: role,
    USER: user,
    WINDOW: admin_window,
    ADMIN_INSTANCE: admin_instance,
    INSTANCE_PROFILE: instance_profile,
    CONFIG_PARAMETER: config_parameter,
}
# How a resource is made here. A restore record that IAM does not show yet means that there is something to do, so it is
# not waited for; and one read of the instances of a region serves both modules.
SETTINGS: dict[str, dict[str, Any]] = {
    ADMIN_INSTANCE: {"record_seconds": 0},
    INSTANCE_PROFILE: {"whole_region": True},
    WINDOW: {"admin_policy": ACCESS_POLICIES["admin"]},
}


@dataclass(frozen=True)
class Task:
    """A task of a playbook.

    :param part: the part of the playbook that it belongs to.
    :param region: the region that it is for; empty for that of the module.
    :param params: the options of the module, with their defaults.
    """

    part: str
    module: str
    region: str
    params: Mapping[str, Any]

    @property
    def principals(self) -> set[tuple[str, str]]:
        """The kind and the name of each principal that the task reads."""
        params = self.params
        named: dict[str, list[tuple[str, str | None]]] = {
            ROLE: [("role", params.get("name"))],
            USER: [("user", name) for name in params.get("name") or ()],
            WINDOW: [("role", params.get("role")), ("user", params.get("user"))],
            ADMIN_INSTANCE: [("role", params.get("record_role"))],
        }
        return {(kind, name) for kind, name in named.get(self.module, ()) if name}

    @property
    def required(self) -> set[tuple[str, str]]:
        """The principals that the task creates where they do not exist."""
        return self.principals if self.params.get("state") == "present" else set()

    @property
    def needs_description(self) -> bool:
        """Whether the task compares what a bulk read of roles lacks."""
        options = (self.params.get(option) for option in ("description", "max_session_duration"))
        return self.module == ROLE and any(option is not None for option in options)

    def resources(self, aws: Aws, region: str | None, check_mode: bool) -> list[Resource[Any]]:
        """Return what the task manages, in the order in which to read it; nothing is read yet.

        :param region: the region of the module.
        :raises InvalidInput: an option is not valid.
        """
        if self.module == CONFIG_PARAMETER:
            return []  # what is wrong with a configuration is reported by the task, line by line
        make = partial(
            OPTIONS[self.module].resource,
            aws=aws,
            region=self.region or region,
            check_mode=check_mode,
            **SETTINGS.get(self.module, {}),
        )
        # The users as such need no further call. Their keys need one for each.
        users = [make({**self.params, "saved_key": None})] if self.module == USER else []
        return [*users, make(self.params)]


def task_from(given: Mapping[str, Any]) -> Task:
    """Return a task. :raises InvalidInput: an option of its module is not valid."""
    options = OPTIONS[given["module"]]
    found = ArgumentSpecValidator(options.SPEC, **options.RULES).validate(given["options"])
    if found.error_messages:
        raise InvalidInput(f"{given['module']}: {' '.join(found.error_messages)}")
    return Task(given["part"], given["module"], given["region"], found.validated_parameters)


class Comparison:
    """Compares tasks with what is in AWS.

    :param tasks: each with what it manages.
    :param aws_in: by region, the gateway to AWS.
    """

    def __init__(self, tasks: Sequence[tuple[Task, Sequence[Resource[Any]]]], aws_in: Mapping[str, CachingAws]) -> None:
        self._tasks = tasks
        self._aws_in = aws_in
        self._absent: Collection[tuple[str, str]] = ()
        # What is doubtful in the configurations that were compared.
        self.problem_lines: list[str] = []

    def read_principals(self, with_others: bool) -> None:
        """Read all roles and users of the tasks in bulk.

        IAM can show them as they were seconds ago. Then a part counts as due that is not, and its tasks read again; or
        what somebody else has just changed is left to the next run. What an interrupted run has left is not missed: the
        window of a role is opened after the restore tag was written and closed before that is removed, and EC2 shows
        the tag; the window of a user is of use only while the saved key is active, which the list of keys shows. All
        that restores is one part, so one such sign is enough.

        :param with_others: whether to keep the other users that are shown.
        :raises CwagentError: AWS did not answer.
        """
        names = {name for task, _resources in self._tasks for name in task.principals}
        described = {task.params["name"] for task, _resources in self._tasks if task.needs_description}
        if names or with_others:
            self._absent = next(iter(self._aws_in.values())).read_principals(names, described, with_others)

    def find_parts_to_run(self) -> list[str]:
        """Return the first part with a task that would change something or warn, and all parts after it.

        A part is not read after that, since what comes before it can change it, and its tasks read it in any case. A
        part that cannot be read counts too: the task that needs what failed reports the error.
        """
        parts = list(dict.fromkeys(task.part for task, _resources in self._tasks))
        return next((parts[index:] for index, part in enumerate(parts) if self._is_due(part)), [])

    def _is_due(self, part: str) -> bool:
        of_part = [(task, resources) for task, resources in self._tasks if task.part == part]
        if any(not task.required.isdisjoint(self._absent) for task, _resources in of_part):
            return True
        resources = [each for _task, resources in of_part for each in resources]
        try:
            configurations = self._configurations([task for task, _none in of_part if task.module == CONFIG_PARAMETER])
            return configurations is None or any(map(_has_something_to_do, [*resources, *configurations]))
        except CwagentError:
            return True

    def _configurations(self, tasks: Sequence[Task]) -> list[ParameterResource] | None:
        """Return the parameters of configurations, by region; ``None`` if one must not be stored.

        :raises InvalidInput: one cannot be read.
        """
        found = [(task, validate_config(task.params)) for task in tasks]
        # Once for all regions of a configuration. Two that are for different regions can have the same name.
        lines = {
            (task.params["name"], str(task.params["src"])): each.to_result()["problem_lines"] for task, each in found
        }
        self.problem_lines = [line for of_one in lines.values() for line in of_one]
        desired = [(task.region, each.desired) for task, each in found if each.desired]
        names = [(region, each.name) for region, config in desired for each in config.parameters]
        if len(desired) < len(found) or len({*names}) < len(names):
            return None
        return [ParameterResource(self._aws_in[region], config, region) for region, config in desired]


def _has_something_to_do(resource: Resource[Any]) -> bool:
    plan = resource.plan(resource.read())
    return plan.has_changes or bool(plan.errors) or bool(resource.warnings(plan))
