"""Plugins and roles name the version they came with, by which antsibull-changelog lists them in a release."""

from __future__ import annotations

import ast
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


def documented() -> Iterator[tuple[str, str, str]]:
    """The kind, name and version of each plugin and role."""
    for kind in ("modules", "filter", "lookup", "inventory"):
        for path in sorted((ROOT / "plugins" / kind).iterdir()):
            found = documentation(path) if path.suffix in {".py", ".yml"} else {}
            if found:
                yield kind, path.stem, found["version_added"]
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        yield "role", path.parts[-3], yaml.safe_load(path.read_text())["argument_specs"]["main"]["version_added"]


@pytest.mark.parametrize(("kind", "name", "version"), [*documented()])
def test_the_version_of_a_plugin_is_that_of_the_release_with_it(kind: str, name: str, version: str) -> None:
    assert version == released().get((kind, name), NEXT)
