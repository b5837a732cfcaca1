"""Plugins and roles document their first version, by which antsibull-changelog lists them in a release.

An option has a version only if it came later than its plugin or role.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from guide import ROOT

RELEASES = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text())["releases"]
[NEXT] = [
    line.removeprefix("version: ").removesuffix("-dev")
    for line in (ROOT / "galaxy.yml").read_text().splitlines()
    if line.startswith("version: ")
]


def released() -> dict[tuple[str, str], str]:
    """By kind and name, the release in which something came."""
    found = {}
    for version, release in RELEASES.items():
        plugins = {"modules": release.get("modules", []), **release.get("plugins", {}), **release.get("objects", {})}
        for kind, listed in plugins.items():
            found.update({(kind, each["name"]): version for each in listed})
    return found


def documentation(path: Path) -> dict[str, Any]:
    """The documentation of a plugin."""
    if path.suffix == ".yml":
        return dict(yaml.safe_load(path.read_text())["DOCUMENTATION"])
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION":
            return dict(yaml.safe_load(ast.literal_eval(node.value)))
    return {}


def documented() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The kind and name of each plugin and of each entry point of a role, and its documentation."""
    for kind in ("modules", "filter", "lookup", "inventory"):
        for path in sorted((ROOT / "plugins" / kind).iterdir()):
            found = documentation(path) if path.suffix in {".py", ".yml"} else {}
            if found:
                yield kind, path.stem, found
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        for entry, found in yaml.safe_load(path.read_text())["argument_specs"].items():
            yield "role", path.parts[-3] if entry == "main" else f"{path.parts[-3]}.{entry}", found


DOCUMENTED = {(kind, name): found for kind, name, found in documented()}
PLUGINS_AND_ROLES = [each for each in DOCUMENTED if "." not in each[1]]
FRAGMENTS = sorted((ROOT / "plugins" / "doc_fragments").glob("*.py"))


def versions_in(found: Any) -> Iterator[str]:
    """The versions that the options and results of a plugin name, at any depth."""
    if isinstance(found, dict):
        yield from ([found["version_added"]] if "version_added" in found else [])
        found = list(found.values())
    for each in found if isinstance(found, list) else []:
        yield from versions_in(each)


@pytest.mark.parametrize("plugin", PLUGINS_AND_ROLES, ids=" ".join)
def test_the_version_of_a_plugin_is_its_first_release(plugin: tuple[str, str]) -> None:
    assert DOCUMENTED[plugin]["version_added"] == released().get(plugin, NEXT)


@pytest.mark.parametrize("plugin", DOCUMENTED, ids=" ".join)
def test_an_option_names_a_version_only_if_it_came_after_its_plugin(plugin: tuple[str, str]) -> None:
    version, *later = versions_in(DOCUMENTED[plugin])
    assert version not in later
    assert {version, *later} <= {*RELEASES, NEXT}


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.stem)
def test_the_options_that_modules_share_came_with_a_release(path: Path) -> None:
    assert {*re.findall(r"version_added: (\S+)", path.read_text())} <= {*RELEASES, NEXT}
