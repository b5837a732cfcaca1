"""Writes the tables of the playbooks' variables into their page, from their argument specs. ``make tables`` runs it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "docsite" / "rst" / "variables.rst"
SPEC = ROOT / "playbooks" / "vars" / "argument_specs.yml"
BEGIN = ".. The tables below are written by `make tables`.\n"
TYPES = {"str": "text", "int": "whole number", "bool": "``true`` or ``false``", "list": "list", "dict": "mapping"}
WIDTH = 120


def tables() -> str:
    """Return a section with a table for each subject."""
    subjects = yaml.safe_load(SPEC.read_text(encoding="utf-8"))["argument_specs"].values()
    return "\n".join(section(each["short_description"], each["options"]) for each in subjects)


def section(title: str, options: dict[str, Any]) -> str:
    """Return the section of one subject."""
    head = [title, "-" * len(title), "", ".. list-table::", "   :header-rows: 1", "   :widths: 25 15 60", ""]
    rows = [
        row("name", "type", "meaning"),
        *(row(f"``{name}``", kind(each), meaning(each)) for name, each in options.items()),
    ]
    return "\n".join([*head, *rows]) + "\n"


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


def with_tables(page: str) -> str:
    """Return the text of the page with new tables."""
    return page.partition(BEGIN)[0] + BEGIN + "\n" + tables()


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
