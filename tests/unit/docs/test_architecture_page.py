"""The files, packages and functions on the pages for contributors exist."""

from __future__ import annotations

import ast
import re

import pytest
from guide import GUIDE, ROOT

ARCHITECTURE = GUIDE / "architecture.rst"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PLUGINS = ROOT / "plugins"
MODULE_UTILS = PLUGINS / "module_utils"
# Paths that make creates, or that have <name> instead of a name.
GENERATED = (".venv/", "build/", "<")


def quoted(page):
    """The words that a page formats as code, without blocks of code."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"``(.+?)``" if page.suffix == ".rst" else r"`([^`\n]+)`", text)


def paths(page):
    """The paths on a page: words with a slash, and names of files at the top."""
    words = [word for each in quoted(page) for word in [each.split()[-1]] if re.fullmatch(r"[\w.*/<>-]+", word)]
    return [word for word in words if ("/" in word or word.endswith(".md")) and not any(g in word for g in GENERATED)]


@pytest.mark.parametrize("page", [CONTRIBUTING, ARCHITECTURE], ids=lambda page: page.stem)
def test_every_path_exists(page):
    folders = [ROOT, MODULE_UTILS, PLUGINS / "plugin_utils", *(ROOT / "roles").iterdir()]
    assert len(paths(page)) > 10
    assert [path for path in paths(page) if not any(list(folder.glob(path)) for folder in folders)] == []


def test_the_page_shows_every_room():
    rooms = {package.parent.name for package in PLUGINS.glob("*_utils/*/__init__.py")}
    assert set(re.findall(r"^   (_[a-z]+) +\w", ARCHITECTURE.read_text(), re.MULTILINE)) == rooms


def test_every_function_exists():
    named = {word.removesuffix("()").rpartition(".")[2] for word in quoted(ARCHITECTURE) if word.endswith("()")}
    trees = [ast.parse(path.read_text()) for path in PLUGINS.rglob("*.py")]
    defined = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert len(named) > 10
    assert named - defined == set()
