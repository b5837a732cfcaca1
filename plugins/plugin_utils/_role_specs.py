# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specs of a role, which list its variables, and the modules that get these by name."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@cache
def read_specs(role: Path) -> dict[str, Any]:
    """Return the specs of a role by entry point. :param role: its folder. :raises InvalidInput: there are none."""
    path = role / "meta" / "argument_specs.yml"
    if not path.is_file():
        raise InvalidInput(f"The role {role.name} has no argument specs. Only roles of this collection call this.")
    specs: dict[str, Any] = yaml_load(path.read_text("utf-8"))["argument_specs"]
    return specs


def known_variables(specs: Mapping[str, Any]) -> set[str]:
    """Return the names of the variables of all entry points."""
    return {name for each in specs.values() for name in each["options"]}


@cache
def served_modules(role: Path) -> set[str]:
    """Return the full names of the modules to which the lookup role_options hands the variables of a role."""
    files = (*role.glob("tasks/*.yml"), *role.glob("vars/*.yml"))
    names = (name for path in files for name in re.findall(r"role_options', '(\w+)'", path.read_text("utf-8")))
    return {f"cwagent.iam.{name}" for name in names}


def lost_defaults(module_defaults: Iterable[Mapping[str, Any]], role: Path) -> list[str]:
    """Return the modules of a role for which the play has defaults that do not reach the tasks of the role.

    The tasks have defaults for these modules, too, and Ansible takes only the innermost ones. So a profile there would
    not count, and the module would use other credentials. The defaults of a group do count.
    """
    return sorted({name for each in module_defaults for name in each} & served_modules(role))
