"""What may import what: decisions know nothing of AWS, and packages never import each other in a circle."""

from __future__ import annotations

import graphlib

import pytest
from import_graph import MODULE_UTILS, OURS, imported_modules, our_imports

# Files of these names decide, and leave it to others to read and to write.
PURE_NAMES = {"plan", "model", "policy", "rotation", "format", "checks"}
PACKAGES = sorted(path.parent for path in MODULE_UTILS.glob("*/__init__.py"))
PURE_FILES = sorted(path for package in PACKAGES for path in package.glob("*.py") if path.stem in PURE_NAMES)
SDKS = {"boto3", "botocore"}


def relative(path):
    return str(path.relative_to(MODULE_UTILS))


def test_every_package_is_seen():
    assert {package.name for package in PACKAGES} >= {"_role", "_user", "_admin_window", "_config_parameter"}


@pytest.mark.parametrize("path", PURE_FILES, ids=relative)
def test_a_pure_file_imports_nothing_that_calls_aws(path):
    imported = set(imported_modules(path))
    assert not {name for name in imported if name.split(".")[0] in SDKS}
    forbidden = {f"{OURS}._aws", *(name for name in imported if name.rpartition(".")[2] in {"api", "resource", "aws"})}
    assert not imported & forbidden


def test_packages_do_not_import_each_other_in_a_circle():
    package_of = {path: path.parent.name for package in PACKAGES for path in package.glob("*.py")}
    depends_on = {package.name: set() for package in PACKAGES}
    for path, package in package_of.items():
        depends_on[package] |= {package_of[each] for each in our_imports(path) if each in package_of} - {package}
    graphlib.TopologicalSorter(depends_on).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", sorted(MODULE_UTILS.rglob("__init__.py")), ids=relative)
def test_a_package_file_is_empty(path):
    assert path.read_text() == ""
