# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the inputs of a playbook without calling AWS, and reports all problems together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ansible.module_utils.common.validation import check_type_list

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.listing import FILE
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

# The kind of entity whose names each option contains.
NAMED = {"roles": "role", "users": "user", "saved_users": "user"}


@dataclass(frozen=True)
class Listed:
    """The users, profiles and saved keys of the inventory. Others that this collection manages are reported.

    :param profiles: names of instance profiles of this collection.
    :param directory: the folder of their access keys.
    :param store: where the access keys are saved: ``file``, ``parameter_store`` or ``secrets_manager``.
    :param prefix: the beginning of the names of access keys that are saved in AWS.
    :param regions: the regions of access keys that are saved in AWS. The empty name stands for the module's region.
    """

    users: Sequence[str]
    profiles: Sequence[str]
    directory: Path | None
    store: str = FILE
    prefix: str = ""
    regions: Sequence[str] = ()


@dataclass(frozen=True)
class Inputs:
    """The checked options for lookups in AWS.

    :param instances: by region, the IDs of instances. The empty name stands for the region of the module.
    :param profiles_to_delete: names of instance profiles.
    :param expected_instance_ids: the instances that may still have these profiles.
    :param users_to_delete: by region of the saved keys, names of users.
    :param default_users: by name of a user to delete, the user to delete instead if it does not exist.
    :param unlisted: the contents of the inventory, to report anything that it lacks; ``None`` for no such report.
    :param admin_role: the role whose restore records are read. No records are read if it is empty.
    :param adopt_existing: whether somebody else may have created that role.
    :param saved_users: names of users whose saved keys are to be deleted.
    :param directory: the folder of saved keys; ``None`` where they are not in files.
    """

    instances: Mapping[str, Sequence[str]]
    profiles_to_delete: Sequence[str]
    expected_instance_ids: Sequence[str]
    users_to_delete: Mapping[str, Sequence[str]] = field(default_factory=dict)
    default_users: Mapping[str, str] = field(default_factory=dict)
    unlisted: Listed | None = None
    admin_role: str = ""
    adopt_existing: bool = True
    saved_users: Sequence[str] = ()
    directory: Path | None = None


def check_inputs(params: Mapping[str, Any], region: str | None) -> Inputs:
    """Check all options of the module cwagent_preflight.

    :param region: the region of the module.
    :raises InvalidInput: an option is not valid. The message lists all problems.
    """
    found = Problems()
    for option, kind in NAMED.items():
        for name in params[option]:
            found.check(_names.check_name, kind, name)
        found.check(_names.check_different, params[option])
    if params["admin_role"]:
        found.check(_names.check_name, "role", params["admin_role"])
    instances, users_to_delete = (
        {name: found.check(_listed, option, name, given) or [] for name, given in params[option].items()}
        for option in ("instances", "users_to_delete")
    )
    for instance_id in (each for ids in instances.values() for each in ids):
        found.check(_names.check_instance_id, instance_id)
    fail_on_problems(found.messages)
    return Inputs(
        instances=instances,
        profiles_to_delete=params["profiles_to_delete"],
        expected_instance_ids=params["expected_instance_ids"],
        users_to_delete=users_to_delete,
        default_users=params["default_users"],
        unlisted=_inventory_of(params, region) if params["report_unlisted"] else None,
        admin_role=params["admin_role"],
        adopt_existing=params["adopt_existing"],
        saved_users=params["saved_users"],
        directory=_directory(params),
    )


def _inventory_of(params: Mapping[str, Any], region: str | None) -> Listed:
    return Listed(
        params["users"],
        params["roles"],
        _directory(params),
        params["key_store"],
        params["key_store_prefix"],
        params["key_store_regions"] or [region or ""],
    )


def _directory(params: Mapping[str, Any]) -> Path | None:
    directory = params["key_store_directory"]
    return Path(directory).absolute() if directory else None


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


def _listed(option: str, region: str, given: Any) -> list[str]:
    try:
        return [str(each) for each in check_type_list(given or [])]
    except TypeError as error:
        raise InvalidInput(f"{option}: the value of '{region}' is not a list: {error}.") from error
