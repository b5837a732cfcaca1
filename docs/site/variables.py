"""Writes the table of the playbooks' variables into the README, from their argument specs.

``make tables`` runs it. The guide shows the same table, see ``conf.py``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SPEC = ROOT / "playbooks" / "vars" / "argument_specs.yml"
HEADER = ["| name | type | default | meaning |", "|---|---|---|---|"]
TYPES = {"str": "text", "int": "whole number", "bool": "`true` or `false`", "list": "list", "dict": "mapping"}


def table() -> str:
    """Return the table, without a line break at its end."""
    options = yaml.safe_load(SPEC.read_text(encoding="utf-8"))["argument_specs"]["playbooks"]["options"]
    return "\n".join([*HEADER, *(row(name, option) for name, option in options.items())])


def row(name: str, option: dict[str, Any]) -> str:
    """Return the row of one variable."""
    kind = ", ".join(map(code, option["choices"])) if "choices" in option else TYPES[option["type"]]
    if option.get("accepts_single"):
        kind = f"{TYPES[option['elements']]} or {kind}"
    default = code(option["default"]) if "default" in option else ""
    return f"| `{name}` | {kind} | {default} | {option['description']} |".replace("|  |", "| |")


def code(value: Any) -> str:
    """Return a value as it is written in YAML."""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def with_table(readme: str) -> str:
    """Return the text of the README with the table of today in place of its own."""
    before, heading, after = readme.partition("\n## Variables\n")
    return before + heading + re.sub(r"^\|.*(?:\n\|.*)*", lambda _old: table(), after, count=1, flags=re.MULTILINE)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
