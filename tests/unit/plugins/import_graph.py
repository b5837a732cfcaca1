"""Which files of the collection import which, read from their text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PLUGINS = Path(__file__).parents[3] / "plugins"
MODULE_UTILS = PLUGINS / "module_utils"
COLLECTION = "ansible_collections.cwagent.iam.plugins"
NAMESPACE = f"{COLLECTION}.module_utils"
# From the lowest to the highest. The page about the architecture shows them in this order.
ROOMS = (
    "_ground",
    "_keys",
    "_configuration",
    "_principals",
    "_servers",
    "_accounts",
    "_storing",
    "_fitting",
    "_agents",
)
# The documentation of each contains this word. They compute plans and check input, and never call AWS.
PURE_UTILS = sorted(
    path for path in MODULE_UTILS.rglob("*.py") if "Pure." in (ast.get_docstring(ast.parse(path.read_text())) or "")
)
# It works in a separate process, which tests see from outside.
IN_ANOTHER_PROCESS = {PLUGINS / "plugin_utils" / "_connections" / "guardian.py"}
PURE_PLUGINS = {*PLUGINS.glob("plugin_utils/**/*.py"), *PLUGINS.glob("filter/*.py")} - IN_ANOTHER_PROCESS
# The unit tests cover all of these and notice changes of them: `make unit` and `make mutants` check that.
PURE_FILES = [*PURE_UTILS, *sorted(PURE_PLUGINS)]
# An import is a statement, and only these nodes contain statements. Most nodes are expressions.
CAN_HAVE_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def imported_modules(path: Path, *, type_checking: bool = True) -> Iterator[str]:
    """The full names that a file imports, as modules. Relative imports count from the folder of the file.

    :param type_checking: whether imports under ``if TYPE_CHECKING`` count.
    """
    unseen: list[ast.AST] = list(_parsed(path).body)
    while unseen:
        node = unseen.pop()
        if not type_checking and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            unseen += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _modules_of(node, path)
        unseen += (each for each in ast.iter_child_nodes(node) if isinstance(each, CAN_HAVE_STATEMENTS))


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _modules_of(node: ast.ImportFrom, path: Path) -> Iterator[str]:
    """``from package import name`` imports the module ``package.name`` where there is one, else ``package``."""
    module = node.module or ""
    if node.level:
        folder = path.parents[node.level - 1].relative_to(PLUGINS)
        module = ".".join([COLLECTION, *folder.parts, *filter(None, [node.module])])
    for each in node.names:
        full = f"{module}.{each.name}"
        yield full if collection_file(full) else module


def collection_file(module: str) -> Path | None:
    """The file of a module of the collection; ``None`` for any other module."""
    if not module.startswith(f"{COLLECTION}."):
        return None
    path = PLUGINS.joinpath(*module.removeprefix(f"{COLLECTION}.").split(".")).with_suffix(".py")
    return path if path.is_file() else None


@cache  # tests ask about the same files again and again
def collection_imports(path: Path, *, type_checking: bool = True) -> frozenset[Path]:
    """The files of the collection that a file imports."""
    found = (collection_file(name) for name in imported_modules(path, type_checking=type_checking))
    return frozenset(each for each in found if each)


def closure(path: Path, *, type_checking: bool = True) -> set[Path]:
    """The files of the collection that a file imports, and those they import."""
    found: set[Path] = set()
    unseen = set(collection_imports(path, type_checking=type_checking))
    while unseen:
        each = unseen.pop()
        if each not in found:
            found.add(each)
            unseen |= collection_imports(each, type_checking=type_checking)
    return found
