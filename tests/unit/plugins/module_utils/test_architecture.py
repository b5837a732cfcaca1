"""The allowed imports: from a room to those below it, from pure files to pure ones, and never in a circle."""

from __future__ import annotations

import ast
import graphlib
import re

import pytest
from import_graph import (
    COLLECTION,
    MODULE_UTILS,
    NAMESPACE,
    PLUGINS,
    PURE_UTILS,
    ROOMS,
    collection_imports,
    imported_modules,
)

PAGE = PLUGINS.parent / "docs" / "docsite" / "rst" / "architecture.rst"
SDKS = {"boto3", "botocore"}
CALLS_AWS = {
    path
    for path in MODULE_UTILS.rglob("*.py")
    for name in imported_modules(path, type_checking=False)
    if name.split(".")[0] in SDKS or name == f"{NAMESPACE}._ground.aws"
}


def relative_path(path):
    return str(path.relative_to(MODULE_UTILS))


def test_there_are_no_other_rooms():
    assert sorted(path.parent.name for path in MODULE_UTILS.rglob("__init__.py")) == sorted(ROOMS)
    assert list(MODULE_UTILS.glob("*.py")) == []


def test_the_page_has_the_rooms_in_the_order_of_their_imports():
    shown = re.findall(r"^   (_[a-z]+) +\w", PAGE.read_text(), re.MULTILINE)
    assert [room for room in reversed(shown) if (MODULE_UTILS / room).is_dir()] == list(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_knows_one_above_it(room):
    known = {each.parent.name for path in MODULE_UTILS.glob(f"{room}/*.py") for each in collection_imports(path)}
    assert known <= set(ROOMS[: ROOMS.index(room) + 1])


def test_what_runs_in_modules_imports_nothing_of_the_controller():
    imported = {each for path in MODULE_UTILS.rglob("*.py") for each in collection_imports(path)}
    assert {each for each in imported if MODULE_UTILS not in each.parents} == set()


def test_the_files_that_call_aws_are_found():
    assert len(CALLS_AWS) >= 10


@pytest.mark.parametrize("path", PURE_UTILS, ids=relative_path)
def test_a_pure_file_imports_nothing_that_calls_aws(path):
    assert path not in CALLS_AWS
    assert collection_imports(path) & CALLS_AWS == set()


def test_files_do_not_import_each_other_in_a_circle():
    """Imports for the type checker count, because files that use each other's types cannot be understood alone."""
    depends_on = {path: collection_imports(path) for path in PLUGINS.rglob("*.py")}
    graphlib.TopologicalSorter(depends_on).prepare()  # raises CycleError, which contains the circle


@pytest.mark.parametrize(
    "other",
    ["module_utils/_ground/plan.py", "module_utils/_principals/role_plan.py", "plugin_utils/_run/values.py"],
)
def test_an_import_for_the_type_checker_counts(tmp_path, other):
    module = other.removesuffix(".py").replace("/", ".")
    file = tmp_path / "file.py"
    file.write_text(f"if TYPE_CHECKING:\n    from {COLLECTION}.{module} import Type\n")
    assert collection_imports(file) == {PLUGINS / other}


def test_a_relative_import_counts():
    (path,) = MODULE_UTILS.glob("_principals/role_plan.py")
    assert {MODULE_UTILS / "_ground/plan.py", MODULE_UTILS / "_principals/policies.py"} <= collection_imports(path)


@pytest.mark.parametrize("path", sorted(PLUGINS.rglob("*_utils/**/__init__.py")), ids=str)
def test_a_package_file_is_empty(path):
    assert path.read_text() == ""


def test_a_resource_keeps_nothing_between_two_of_its_methods():
    """It has its attributes from its creation on. So a plan can be made again, and steps can run in parallel."""
    classes = [
        node
        for path in MODULE_UTILS.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and any("Resource" in ast.unparse(base) for base in node.bases)
    ]
    assert {each.name for each in classes} >= {"AcquireResource", "ReleaseResource", "WindowResource"}
    methods = [
        method
        for each in classes
        for method in each.body
        if isinstance(method, ast.FunctionDef) and method.name != "__init__"
    ]
    changes = [
        ast.unparse(node)
        for method in methods
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
    ]
    assert changes == []


@pytest.mark.parametrize("path", sorted(MODULE_UTILS.rglob("*plan.py")), ids=relative_path)
def test_plans_are_made_by_pure_files(path):
    assert (path in PURE_UTILS) is (path.parent.name != "_ground")


@pytest.mark.parametrize("path", PURE_UTILS, ids=relative_path)
def test_a_pure_file_reads_no_clock(path):
    read = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert read & {"datetime.now", "datetime.utcnow", "time.time", "time.monotonic", "time.sleep"} == set()


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("*_utils/*/*.py")), ids=lambda path: "/".join(path.parts[-2:]))
def test_a_file_describes_itself_and_imports_relatively(path):
    tree = ast.parse(path.read_text())
    assert (ast.get_docstring(tree) is None) is (path.name == "__init__.py")
    absolute = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    assert [module for module in absolute if str(module).startswith(COLLECTION)] == []


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("modules/*.py")), ids=lambda path: path.stem)
def test_a_module_has_a_spec_and_its_work(path):
    tree = ast.parse(path.read_text())
    defined = {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.ImportFrom))
        for name in ast.walk(node)
        if isinstance(name, ast.Name)
    }
    defined |= {
        each.asname or each.name for node in tree.body if isinstance(node, ast.ImportFrom) for each in node.names
    }
    defined |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    has_code = bool(collection_imports(path))
    assert {"DOCUMENTATION", "EXAMPLES", "RETURN"} <= defined
    assert ("SPEC" in defined and bool(defined & {"work", "main"})) is has_code
