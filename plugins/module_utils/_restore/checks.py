# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the options of the module without calling AWS, and reports all problems together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")


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
        each = (self.check(_names.names_by_region, option, {region: value}) for region, value in given.items())
        return {region: names for found in each for region, names in (found or {}).items()}

    def check_instances(self, given: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the IDs of instances by region."""
        instances = self.check_lists("instances", given)
        for instance_id in (each for ids in instances.values() for each in ids):
            self.check(_names.check_instance_id, instance_id)
        return instances
