"""A run of ansible-test that tested nothing does not pass."""

from __future__ import annotations

import pytest
from gates.evaluation import SANITY, importer_problems, oldest, problems, summary

RAN = "".join(f'Running sanity test "{name}"\n' for name in sorted(SANITY))
COMPILED = "".join(f'Running sanity test "compile" on Python 3.{minor}\n' for minor in (9, 13))
MISSING_PYTHON = 'WARNING: Skipping sanity test "import" on Python 3.14 because it could not be found.\n'
UNITS = "Unit test modules with Python 3.13\n....\n============= 18 passed in 4.32s =============\n"
SKIPPED = "Unit test controller with Python 3.13\n============= 2 skipped in 0.01s =============\n"
STARTED = "Running cwagent_iam_role integration test role\n"
ROLE = STARTED + '    "msg": "All assertions passed"\n'


@pytest.mark.parametrize(
    ("command", "output", "targets"),
    [("sanity", RAN + COMPILED, []), ("units", UNITS, []), ("integration", ROLE, ["cwagent_iam_role"])],
)
def test_a_complete_run_has_no_problems(command, output, targets):
    assert problems(command, 0, output, targets) == []


@pytest.mark.parametrize(
    ("command", "output", "targets", "problem"),
    [
        ("sanity", RAN + "WARNING: All targets skipped.\n", [], "skipped everything"),
        ("sanity", RAN.replace('"import"', '"other"'), [], "sanity test import did not run"),
        ("sanity", RAN + 'WARNING: Skipping sanity test "pylint" because it is hard.\n', [], "because it is hard"),
        ("sanity", RAN + MISSING_PYTHON, [], "on Python 3.14 because it could not be found"),
        ("units", "WARNING: All targets skipped.\n", [], "skipped everything"),
        ("units", "============= no tests ran in 0.01s =============\n", [], "no unit test passed"),
        ("units", "", [], "no unit test passed"),
        ("units", UNITS + SKIPPED, [], "no unit test of controller with Python 3.13 passed"),
        ("integration", ROLE, ["cwagent_iam_role", "ec2_server"], "target ec2_server did not run"),
        ("integration", STARTED, ["cwagent_iam_role"], "target cwagent_iam_role asserted nothing"),
        ("integration", STARTED + ROLE.replace("iam_role", "iam_user"), [], "target cwagent_iam_role asserted nothing"),
        ("integration", "", [], "there is no integration target"),
    ],
)
def test_an_incomplete_run_is_reported(command, output, targets, problem):
    assert problem in "; ".join(problems(command, 0, output, targets))


def test_a_failed_run_is_reported():
    assert problems("units", 1, UNITS) == ["ansible-test units ended with 1"]


def test_the_summary_counts_the_tests_that_ran():
    assert summary("sanity", RAN + COMPILED) == f"{len(SANITY) + 2} sanity tests ran with Python 3.9 and 3.13"
    assert summary("units", UNITS + UNITS) == "36 unit tests passed"
    assert summary("integration", ROLE, ["cwagent_iam_role"]) == "1 targets ran"


@pytest.mark.parametrize(
    ("programs", "version"),
    [(["python3.13", "python3.9", "python3.10"], "3.9"), (["python3.13"], "3.13")],
)
def test_files_are_imported_with_the_oldest_python(programs, version):
    assert oldest(programs) == version


def test_problems_of_the_importer_are_reported():
    good = "Collection loading complete\nImporter processing completed successfully\n"
    assert importer_problems(0, good) == []
    assert importer_problems(0, "WARNING: No changelog found.\n" + good) == ["WARNING: No changelog found."]
    assert importer_problems(1, "") == ["galaxy-importer ended with 1", "galaxy-importer did not complete"]
