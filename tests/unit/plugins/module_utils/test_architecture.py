"""The allowed imports. Pure files import nothing that calls AWS. There are no circles."""

from __future__ import annotations

import ast
import graphlib

import pytest
from import_graph import COLLECTION, MODULE_UTILS, NAMESPACE, PLUGINS, PURE_UTILS, collection_imports, imported_modules

PACKAGES = sorted(path.parent for path in MODULE_UTILS.glob("*/__init__.py"))
SDKS = {"boto3", "botocore"}


def relative_path(path):
    return str(path.relative_to(MODULE_UTILS))


def test_all_packages_are_found():
    assert {package.name for package in PACKAGES} >= {"_role", "_user", "_admin_window", "_config_parameter"}


@pytest.mark.parametrize("path", PURE_UTILS, ids=relative_path)
def test_a_pure_file_imports_nothing_that_calls_aws(path):
    imported = set(imported_modules(path))
    assert not {name for name in imported if name.split(".")[0] in SDKS}
    forbidden = {
        f"{NAMESPACE}._aws",
        *(name for name in imported if name.rpartition(".")[2] in {"api", "resource", "aws"}),
    }
    assert not imported & forbidden


def test_files_do_not_import_each_other_in_a_circle():
    """Imports for the type checker count, because files that use each other's types cannot be understood alone."""
    depends_on = {path: collection_imports(path) for path in PLUGINS.rglob("*.py")}
    graphlib.TopologicalSorter(depends_on).prepare()  # raises CycleError, which contains the circle


@pytest.mark.parametrize(
    "other", ["module_utils/_plan.py", "module_utils/_role/plan.py", "plugin_utils/_variable_types.py"]
)
def test_an_import_for_the_type_checker_counts(tmp_path, other):
    module = other.removesuffix(".py").replace("/", ".")
    file = tmp_path / "file.py"
    file.write_text(f"if TYPE_CHECKING:\n    from {COLLECTION}.{module} import Type\n")
    assert collection_imports(file) == {PLUGINS / other}


def test_packages_do_not_import_each_other_in_a_circle():
    package_of = {path: path.parent.name for package in PACKAGES for path in package.glob("*.py")}
    depends_on: dict[str, set[str]] = {package.name: set() for package in PACKAGES}
    for path, package in package_of.items():
        depends_on[package] |= {package_of[each] for each in collection_imports(path) if each in package_of} - {package}
    graphlib.TopologicalSorter(depends_on).prepare()  # raises CycleError, which contains the circle


def test_principals_import_no_package_but_the_policy_of_the_window():
    imported = {each for path in MODULE_UTILS.glob("_principal/*.py") for each in collection_imports(path)}
    packages = {
        relative_path(path) for path in imported if path.parent not in {MODULE_UTILS, MODULE_UTILS / "_principal"}
    }
    assert packages == {"_admin_window/policy.py"}


@pytest.mark.parametrize("path", sorted(MODULE_UTILS.rglob("__init__.py")), ids=relative_path)
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
