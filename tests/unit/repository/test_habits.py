"""Rules for all files and tests: licence headers, complete messages, and unit tests that stay on this machine."""

from __future__ import annotations

import ast
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = ROOT / "plugins"
FILES = sorted(path for path in PLUGINS.rglob("*.py") if path.name != "__init__.py")
HEADER = """\
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_a_plugin_file_begins_with_its_licence(path: Path) -> None:
    assert path.read_text().removeprefix("#!/usr/bin/python\n").startswith(HEADER)


SHIPPED = [path for name in ("plugins", "roles", "playbooks", "examples") for path in sorted((ROOT / name).rglob("*"))]
# The documentation of modules, filters and inputs is no message.
DOCUMENTS = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
DOCUMENTING = {PLUGINS / "filter", *ROOT.glob("roles/*/meta")}
ELSEWHERE = re.compile(
    r"(?<!or )\b(above|below)\b"  # not "of severity error or above"
    r"|\bsee (its|the|what)\b.*\b(output|says?)\b"
    r"|\b(listed|shown|printed|reported) (before|earlier|by|in|there)\b"
    r"|\b(earlier|previous|other) (tasks?|output|messages?)\b",
    re.IGNORECASE,
)


def python_texts(path: Path) -> Iterator[str]:
    """The texts in a file that are neither documentation nor docstrings."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    documents = {
        id(node.value)
        for node in nodes
        if isinstance(node, ast.Expr)
        or (isinstance(node, ast.Assign) and DOCUMENTS & {ast.unparse(each) for each in node.targets})
    }
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "<...>" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def yaml_texts(path: Path) -> Iterator[str]:
    """The texts in a file of tasks, plays or variables, without the comments."""
    for event in yaml.parse(path.read_text(), Loader=yaml.SafeLoader):
        if isinstance(event, yaml.ScalarEvent):
            yield event.value


def test_no_message_refers_to_other_output() -> None:
    """An event of AWX, a summary of a callback and an annotation of a pipeline show one message alone."""
    texts = {path: python_texts(path) for path in SHIPPED if path.suffix == ".py"}
    texts |= {path: yaml_texts(path) for path in SHIPPED if path.suffix == ".yml" and path.parent not in DOCUMENTING}
    assert len(texts) > 200
    found = [
        f"{path.relative_to(ROOT)}: {text}" for path, each in texts.items() for text in each if ELSEWHERE.search(text)
    ]
    assert found == []


def test_unit_tests_of_plugins_use_only_helpers_beside_them() -> None:
    """``ansible-test units`` runs them, and has no other folder of tests on its path."""
    tests = ROOT / "tests"
    helpers = {path.stem for path in (*tests.glob("*"), *(tests / "integration").glob("*.py"))} - {"unit"}
    imported = {
        (path.name, module)
        for path in (tests / "unit" / "plugins").rglob("*.py")
        for module in re.findall(r"^ *(?:from|import) (\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(imported) > 500
    assert [(name, module) for name, module in imported if module in helpers] == []


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_unit_test_cannot_reach_another_machine(address: str) -> None:
    blocked = pytest.importorskip("pytest_socket").SocketConnectBlockedError
    with pytest.raises((blocked, UserWarning), match=address):  # the warning comes first, and is an error
        socket.create_connection((address, 80), timeout=0.1)
