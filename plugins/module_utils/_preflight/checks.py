# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the inputs of a playbook without calling AWS, and reports all problems together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ansible.module_utils.common.validation import check_type_list

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.unlisted import key_directory, to_listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ansible_collections.cwagent.iam.plugins.module_utils._preflight.unlisted import Listed

T = TypeVar("T")

# The options with names of users that are checked.
NAMED = ("users", "saved_users")


@dataclass(frozen=True)
class Inputs:
    """The checked options for lookups in AWS.

    :param instances: by region, the IDs of instances. The empty name stands for the region of the module.
    :param profiles_to_delete: names of instance profiles.
    :param expected_instance_ids: the instances that may still have these profiles.
    :param users_to_delete: by region of the saved keys, names of users.
    :param default_users: by name of a user to delete, the user to delete instead if it does not exist.
    :param optional_users: names of users to delete that need not exist.
    :param configs_to_delete: by region, the names of the parameters that the run deletes.
    :param unlisted: the contents of the inventory, to report anything that it lacks; ``None`` for no such report.
    :param saved_users: names of users whose saved keys are to be deleted.
    :param directory: the folder of saved keys; ``None`` where they are not in files.
    """

    instances: Mapping[str, Sequence[str]]
    profiles_to_delete: Sequence[str]
    expected_instance_ids: Sequence[str]
    users_to_delete: Mapping[str, Sequence[str]] = field(default_factory=dict)
    default_users: Mapping[str, str] = field(default_factory=dict)
    optional_users: Sequence[str] = ()
    configs_to_delete: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unlisted: Listed | None = None
    saved_users: Sequence[str] = ()
    directory: Path | None = None


def check_inputs(params: Mapping[str, Any]) -> Inputs:
    """Check all options of the module cwagent_preflight.

    :raises InvalidInput: an option is not valid. The message lists all problems.
    """
    found = Problems()
    for option in NAMED:
        found.check_names("user", params[option])
    instances = found.check_instances(params["instances"])
    users_to_delete, configs_to_delete = (
        found.check_lists(option, params[option]) for option in ("users_to_delete", "configs_to_delete")
    )
    fail_on_problems(found.messages)
    return Inputs(
        instances=instances,
        profiles_to_delete=params["profiles_to_delete"],
        expected_instance_ids=params["expected_instance_ids"],
        users_to_delete=users_to_delete,
        default_users=params["default_users"],
        optional_users=params["optional_users"],
        configs_to_delete=configs_to_delete,
        unlisted=to_listed(params, {}, []),
        saved_users=params["saved_users"],
        directory=key_directory(params),
    )


def fail_on_problems(problems: Sequence[str]) -> None:
    """Report problems, if there are any. :raises InvalidInput: there are some. The message lists them."""
    if problems:
        raise InvalidInput(f"{' '.join(problems)} Nothing was changed.", problems=list(problems))


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
            self.check(_names.check_name, kind, name)
        self.check(_names.check_different, names)

    def check_lists(self, option: str, given: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the lists of an option by region."""
        return {region: self.check(_as_list, option, region, each) or [] for region, each in given.items()}

    def check_instances(self, given: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the IDs of instances by region."""
        instances = self.check_lists("instances", given)
        for instance_id in (each for ids in instances.values() for each in ids):
            self.check(_names.check_instance_id, instance_id)
        return instances


def _as_list(option: str, region: str, given: Any) -> list[str]:
    try:
        return [str(each) for each in check_type_list(given or [])]
    except TypeError as error:
        raise InvalidInput(f"{option}: the value of '{region}' is not a list: {error}.") from error
