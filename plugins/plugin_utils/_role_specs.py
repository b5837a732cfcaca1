# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument specs of a role, which list its variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.yaml import yaml_load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_specs(role: Path) -> dict[str, Any]:
    """Return the specs of a role by entry point. :param role: its folder."""
    specs: dict[str, Any] = yaml_load((role / "meta" / "argument_specs.yml").read_text("utf-8"))["argument_specs"]
    return specs


def known_variables(specs: Mapping[str, Any]) -> set[str]:
    """Return the names of the variables of all entry points."""
    return {name for each in specs.values() for name in each["options"]}
