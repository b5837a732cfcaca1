"""What Ansible sends with a module: it takes imports for the type checker, too, for imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[4] / "plugins"
OURS = "ansible_collections.cwagent.iam.plugins.module_utils"
MODULES = sorted(PLUGINS.glob("modules/*.py"))


def imports(path: Path, typed: bool) -> Iterator[str]:
    """The files of the collection that a file imports. :param typed: with those for the type checker."""
    unseen = list(ast.parse(path.read_text()).body)
    while unseen:
        node = unseen.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not typed:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(OURS):
            yield from [node.module.rpartition(".")[2]] if node.module != OURS else [each.name for each in node.names]
        unseen += ast.iter_child_nodes(node)


def closure(path: Path, typed: bool) -> set[str]:
    found: set[str] = set()
    unseen = [*imports(path, typed)]
    while unseen:
        name = unseen.pop()
        if name not in found:
            found.add(name)
            unseen += imports(PLUGINS / "module_utils" / f"{name}.py", typed)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_nothing_is_sent_for_the_type_checker_alone(module):
    assert closure(module, typed=True) == closure(module, typed=False)


def test_imports_for_the_type_checker_are_told_apart(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(f"if TYPE_CHECKING:\n    from {OURS}._a import A\nfrom {OURS} import _b\n")
    assert (set(imports(module, True)), set(imports(module, False))) == ({"_a", "_b"}, {"_b"})
