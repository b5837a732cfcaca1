# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specs of the roles and of the playbooks, which list their variables."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput


@cache
def read_specs(role: Path) -> dict[str, Any]:
    """Return the specs of a role by entry point. :param role: its folder. :raises InvalidInput: there are none."""
    path = role / "meta" / "argument_specs.yml"
    if not path.is_file():
        raise InvalidInput(f"The role {role.name} has no argument specs. Only roles of this collection call this.")
    specs: dict[str, Any] = yaml_load(path.read_text("utf-8"))["argument_specs"]
    return specs


@cache
def read_defaults(role: Path) -> dict[str, Any]:
    """Return the default values of the variables of a role, which can be templates. :param role: its folder."""
    path = role / "defaults" / "main.yml"
    defaults: dict[str, Any] = yaml_load(path.read_text("utf-8")) if path.exists() else {}
    return defaults


@cache
def playbook_options() -> dict[str, Any]:
    """Return the variables of the playbooks with their options, which are the settings that the roles share."""
    path = Path(__file__).parents[2] / "playbooks" / "vars" / "argument_specs.yml"
    subjects = yaml_load(path.read_text("utf-8"))["argument_specs"].values()
    return {name: option for subject in subjects for name, option in subject["options"].items()}
