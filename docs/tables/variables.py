"""Writes the tables of two pages from the data that the collection uses. ``make tables`` runs it.

One page lists the variables in the playbooks' argument specs, and the roles of which they are settings. The other lists
the permissions that a configuration needs, from the rows that ``validate_config.yml`` and ``verify.yml`` use.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.permissions import ROWS, SERVER_POLICY, Row
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import role_options, shared_setting

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "docsite" / "rst" / "variables.rst"
SPEC = ROOT / "playbooks" / "vars" / "argument_specs.yml"
PERMISSIONS_PAGE = PAGE.with_name("configuration_permissions.rst")
BOUNDARY = ROOT / "examples" / "policies" / "boundary.json"
BEGIN = ".. The tables below are written by `make tables`.\n"
TYPES = {"str": "text", "int": "whole number", "bool": "``true`` or ``false``", "list": "list", "dict": "mapping"}
WIDTH = 120


def tables() -> str:
    """Return a section with a table for each subject."""
    subjects = yaml.safe_load(SPEC.read_text(encoding="utf-8"))["argument_specs"].values()
    return "\n".join([*(section(each["short_description"], each["options"]) for each in subjects), settings()])


def settings() -> str:
    """Return the section with the settings of each role."""
    rows = [row(f"``{role.name}``", settings_of(role)) for role in sorted((ROOT / "roles").iterdir())]
    return table(
        "The settings of each role",
        "20 80",
        [row("role", "settings, with its variable if that has another name"), *rows],
    )


def settings_of(role: Path) -> str:
    """Return the settings of a role, each with the variable of the role if the name of the setting does not tell it."""
    found = {name: shared_setting(role.name, name) for name in role_options(role)}
    words = {
        setting: f"``{setting}``"
        + ("" if setting in (f"cwagent_{name}", f"cwagent_{name.removeprefix(f'{role.name}_')}") else f" (``{name}``)")
        for name, setting in found.items()
        if setting
    }
    return ", ".join(words[setting] for setting in sorted(words))


def section(title: str, options: dict[str, Any]) -> str:
    """Return the section of one subject."""
    rows = [
        row("name", "type", "meaning"),
        *(row(f"``{name}``", kind(each), meaning(each)) for name, each in options.items()),
    ]
    return table(title, "25 15 60", rows)


def table(title: str, widths: str, rows: list[str]) -> str:
    """Return a section with a table."""
    head = [title, "-" * len(title), "", ".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    return "\n".join([*head, *rows]) + "\n"


def permission_tables() -> str:
    """Return the section with the permissions that a configuration needs."""
    rows = [row("use", "in the configuration", "permissions", "if denied", "allowed by"), *map(permission_row, ROWS)]
    return table("Table", "16 28 22 16 18", rows)


def permission_row(each: Row) -> str:
    """Return the row of something that a configuration can make the agent do."""
    use = f"`{each.use[0].upper()}{each.use[1:]} <{each.source}>`__{' (EC2 only)' if each.is_ec2_only else ''}"
    end = f", if it is {code(each.value)}" if each.value else f", unless it is {code(each.other)}" if each.other else ""
    end += f", if {each.only_if[0]}" if each.only_if else ""
    end += f", and {code(each.requires)} exists" if each.requires else ""
    actions = ", ".join(map(code, each.actions)) + (" on this resource" if each.names_resource else "")
    denied = each.denied or "its data is missing"
    return row(use, ", ".join(map(code, each.fields)) + end, actions, denied, allowed_by(each))


def allowed_by(each: Row) -> str:
    """Return the policies that allow the actions: the server policy, and the example of a boundary."""
    bound = {
        action for part in json.loads(BOUNDARY.read_text(encoding="utf-8"))["Statement"] for action in part["Action"]
    }
    named = {f"``{SERVER_POLICY}``": each.is_in_server_policy, "``boundary.json``": bound >= set(each.actions)}
    return ", ".join(name for name, allows in named.items() if allows) or "neither"


def row(*cells: str) -> str:
    """Return the lines of a row."""
    begin, indent = "   * - ", "       "
    wrapped = [
        textwrap.wrap(cell, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False) for cell in cells
    ]
    texts = [f"\n{indent}".join(lines) for lines in wrapped]
    return f"\n{begin.replace('*', ' ')}".join([f"{begin}{texts[0]}", *texts[1:]])


def kind(option: dict[str, Any]) -> str:
    """Return the type of a variable, or its choices."""
    found = ", ".join(map(code, option["choices"])) if "choices" in option else TYPES[option["type"]]
    return f"{TYPES[option['elements']]} or {found}" if option.get("accepts_single") else found


def meaning(option: dict[str, Any]) -> str:
    """Return the description of a variable with its default."""
    default = f" The default is {code(option['default'])}." if "default" in option else ""
    return re.sub(r"`([^`]+)`", r"``\1``", option["description"]) + default


def code(value: Any) -> str:
    """Return a value as it is written in YAML."""
    return f"``{str(value).lower() if isinstance(value, bool) else value}``"


def with_tables(page: str, make: Callable[[], str] = tables) -> str:
    """Return the text of a page with new tables."""
    return page.partition(BEGIN)[0] + BEGIN + "\n" + make()


if __name__ == "__main__":
    for path, make in ((PAGE, tables), (PERMISSIONS_PAGE, permission_tables)):
        path.write_text(with_tables(path.read_text(encoding="utf-8"), make), encoding="utf-8")
