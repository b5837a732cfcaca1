# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the configuration files that a task names, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def search_folders(variables: Mapping[str, Any]) -> list[Path]:
    """Return the folders to search: where Ansible was started, then beside the inventory and the playbook."""
    # The folder of this process instead of PWD, because AWX starts a job in another folder than its shell.
    return [Path.cwd(), *(Path(variables[name]) for name in ("inventory_dir", "playbook_dir") if variables.get(name))]


def find_file(folders: Iterable[Path], given: str) -> str:
    """Return the path of a file on the controller, which need not exist."""
    found = (each / Path(given).expanduser() for each in folders)
    return next((str(each) for each in found if each.is_file()), given)


def find_all(folders: Iterable[Path], configs: Any) -> Any:
    """Return the option ``configs`` with the paths of its files. Validation reports any other form of it."""
    if not isinstance(configs, list):
        return configs
    places = list(folders)
    return [
        {**each, "file": find_file(places, each["file"])}
        if isinstance(each, dict) and isinstance(each.get("file"), str)
        else each
        for each in configs
    ]
