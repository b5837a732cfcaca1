"""Writes what is declared in another place. ``make tables`` runs it.

From ``roles.yml`` and the documentation of the modules come the argument specs of the roles for principals. From the
argument specs of all roles come their defaults, and the lines of ``playbooks/vars`` that hand on a variable of the
playbooks to a variable of a role with the same name.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"
VARIABLES = ROOT / "playbooks" / "vars"
SOURCE: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
OURS = "cwagent.iam."
PLUGINS = f"ansible_collections.{OURS}plugins"
MADE = "# Written by `make tables` from docs/site/roles.yml and the documentation of the modules.\n"
MADE_DEFAULTS = "# Written by `make tables` from meta/argument_specs.yml.\n"
MADE_LINES = "# The lines below are written by `make tables`.\n"
KINDS = ("type", "elements", "choices", "default")
WIDTH = 120


def files() -> dict[Path, str]:
    """Return the text of each file that is written."""
    specs = {role: spec_text(role) for role in SOURCE["roles"]}
    others = {path.name: (path / "meta" / "argument_specs.yml").read_text(encoding="utf-8") for path in ROLES.iterdir()}
    variables = {role: options_of(text) for role, text in {**others, **specs}.items()}
    return {
        **{ROLES / role / "meta" / "argument_specs.yml": text for role, text in specs.items()},
        **{ROLES / role / "defaults" / "main.yml": defaults(options["main"]) for role, options in variables.items()},
        **{
            VARIABLES / name: with_lines(VARIABLES / name, {role: variables[role] for role in roles})
            for name, roles in SOURCE["playbooks"].items()
        },
    }


def options_of(text: str) -> dict[str, dict[str, Any]]:
    """Return the variables of a role by entry point."""
    return {entry: spec["options"] for entry, spec in yaml.safe_load(text)["argument_specs"].items()}


def spec_text(role: str) -> str:
    """Return the argument specs of a role that manages principals."""
    source = SOURCE["roles"][role]
    readme = (ROLES / role / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```yaml\n(.*?)```$", readme, re.DOTALL | re.MULTILINE)
    lines = [
        "argument_specs:",
        "  main:",
        *described("short_description", source["short_description"], 4),
        *described("description", source["description"], 4),
        "    author: cwagent.iam contributors",
        "    version_added: 1.0.0",
        "    examples: |",
        *textwrap.indent(example, " " * 6).splitlines(),
        "    options:",
    ]
    for name, own in source["options"].items():
        lines.append(f"      {role}_{name}:")
        lines += option_lines(role, {"description": SOURCE["texts"].get(name), **of_module(role, name), **(own or {})})
    return "\n".join([MADE + "---", *lines]) + "\n"


def option_lines(role: str, option: Mapping[str, Any]) -> Iterator[str]:
    words = {"role": role, "who": SOURCE["roles"][role]["who"]}
    text = option["description"]
    filled = [each.format(**words) for each in ([text] if isinstance(text, str) else text)]
    yield from described("description", filled[0] if isinstance(text, str) else filled, 8)
    for kind in KINDS:
        if option.get(kind) is not None:
            yield f"        {kind}: {inline(option[kind])}"


def of_module(role: str, name: str) -> dict[str, Any]:
    """Return the type, choices and default of the option of this name.

    A variable of a role can be empty. So it has an empty default where the module has none.
    """
    for module in SOURCE["roles"][role]["modules"]:
        option = documented_options(module).get(name)
        if option:
            found = {kind: option[kind] for kind in KINDS if kind in option}
            if "default" not in found and found["type"] in ("str", "dict"):
                found["default"] = "" if found["type"] == "str" else {}
                found.update({"choices": ["", *found["choices"]]} if "choices" in found else {})
            return found
    return {}


def documented_options(module: str) -> dict[str, Any]:
    """Return the options and suboptions of a module. The options of its fragments and the region count."""
    documentation = yaml.safe_load(import_module(f"{PLUGINS}.modules.{module}").DOCUMENTATION)
    fragments = [
        import_module(f"{PLUGINS}.doc_fragments.{name.removeprefix(OURS)}").ModuleDocFragment
        for name in documentation["extends_documentation_fragment"]
        if name.startswith(OURS) and "." not in name.removeprefix(OURS)
    ]
    options = {"region": {"type": "str"}}
    for text in (each.DOCUMENTATION for each in fragments if hasattr(each, "DOCUMENTATION")):
        options.update(yaml.safe_load(text).get("options", {}))
    options.update(documentation["options"])
    suboptions = [each["suboptions"] for each in options.values() if "suboptions" in each]
    return {**{name: each for found in suboptions for name, each in found.items()}, **options}


def defaults(options: Mapping[str, Any]) -> str:
    """Return the defaults of a role."""
    templates = SOURCE["templates"]
    values = {name: templates.get(name, option.get("default")) for name, option in options.items()}
    lines = [f"{name}: {inline(value)}" for name, value in values.items() if value is not None]
    return "\n".join([MADE_DEFAULTS + "---", *lines]) + "\n"


def with_lines(path: Path, roles: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a file of variables with the lines that follow the rule."""
    by_hand = path.read_text(encoding="utf-8").partition(MADE_LINES)[0].rstrip()
    taken = {*yaml.safe_load(by_hand), *SOURCE["not_set"]}
    of_playbooks = options_of((VARIABLES / "argument_specs.yml").read_text(encoding="utf-8"))
    ours = {name for options in of_playbooks.values() for name in options}
    lines = []
    for role, entries in roles.items():
        names = dict.fromkeys(name for options in entries.values() for name in options)
        rest = {name: name.removeprefix(f"{role}_") for name in names if name not in taken}
        made = [f'{name}: "{{{{ __cwagent.{each} }}}}"' for name, each in rest.items() if f"cwagent_{each}" in ours]
        lines += ["", *made] if made else []
    return "\n".join([by_hand, "", MADE_LINES.rstrip(), *lines]) + "\n"


def described(key: str, text: str | list[str], indent: int) -> Iterator[str]:
    """Return the lines of a description, as a list if it does not fit on one line."""
    pad = " " * indent
    if isinstance(text, str) and len(pad) + len(key) + len(text) + 2 <= WIDTH and ": " not in text:
        yield f"{pad}{key}: {text}"
        return
    yield f"{pad}{key}:"
    for each in [text] if isinstance(text, str) else text:
        first, *more = textwrap.wrap(each, WIDTH - indent - 4, break_long_words=False, break_on_hyphens=False)
        yield f"{pad}  - {first}"
        yield from (f"{pad}    {line}" for line in more)


def inline(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return '"' + value + '"' if isinstance(value, str) and (value == "" or "{{" in value) else str(value)


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
