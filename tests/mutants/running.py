"""Runs tests on mutants, in a copy of the checkout for each worker."""

from __future__ import annotations

import compileall
import faulthandler
import importlib
import os
import py_compile
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from checkout import CHECKOUT, make_repository
from hypothesis import settings

# Imported before the tests of each mutant begin; nothing of the collection.
PRELOADED = (
    "pytest", "hypothesis", "hypothesis.strategies", "boto3", "botocore.session", "botocore.validate", "yaml",
    "jsonschema", "ansible.module_utils.basic", "ansible.errors", "ansible.template", "unittest.mock",
)  # fmt: skip
SECONDS = 300
OPTIONS = (
    "-xq",
    "-pno:cacheprovider",
    "-pno:xdist",
    "-Wignore::pytest.PytestAssertRewriteWarning",  # of what is imported before
    "--hypothesis-seed=0",
    "--hypothesis-profile=mutants",
    f"-ofaulthandler_timeout={SECONDS}",  # of one test; many tests that all pass may take much longer together
    "-ofaulthandler_exit_on_timeout=true",
)


class TestsFail(Exception):
    """The tests fail without a mutant, so they show nothing."""


class Copy:
    """A copy of the checkout in which one mutant after the other is tested."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        make_repository(folder)
        for name in PRELOADED:
            importlib.import_module(name)
        # tests/unit has its own. tests/integration has none, and no test that would use it.
        settings.register_profile("mutants")
        self._checked: set[str] = set()
        sys.dont_write_bytecode = True  # a compiled mutant could be taken for the next one
        compileall.compile_dir(
            folder / "plugins", quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
        )

    def notices(self, name: str, code: str, tests: Sequence[str]) -> bool:
        """Whether a test fails with a mutant.

        :param name: the path of the file in the checkout.
        :param tests: those to run, in this order, until one fails. The first one must pass here without the mutant.
        """
        if tests[0] not in self._checked:
            if not self._pass(tests[:1]):
                raise TestsFail((self.folder / "output").read_text())
            self._checked.add(tests[0])
        path = self.folder / name
        original = path.read_text()
        path.write_text(code)
        try:
            return not self._pass(tests)
        finally:
            path.write_text(original)

    def _pass(self, tests: Sequence[str]) -> bool:
        child = os.fork()
        if not child:
            self._run(tests)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def _run(self, tests: Sequence[str]) -> None:
        """Run tests in this process and end it."""
        import pytest

        code = 1
        try:
            os.chdir(self.folder)
            output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(output, 1)
            os.dup2(output, 2)
            faulthandler.dump_traceback_later(SECONDS, file=output, exit=True)  # while tests are collected
            code = pytest.main([*OPTIONS, *tests])
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(code))


def unit_tests(name: str) -> str:
    """The unit tests that mirror a file below plugins/, which are its package's tests."""
    parent = Path("tests/unit/plugins") / Path(name).parent
    return str(parent if (CHECKOUT / parent).is_dir() else parent.parent)
