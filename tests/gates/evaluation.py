"""Evaluates the output of ansible-test, which exits with 0 even when it has tested nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

# The tests that must run. Others depend on the version of ansible-core.
SANITY = {
    "ansible-doc",
    "changelog",
    "compile",
    "import",
    "no-illegal-filenames",
    "pep8",
    "pylint",
    "runtime-metadata",
    "shebang",
    "shellcheck",
    "symlinks",
    "validate-modules",
    "yamllint",
}
# Of these, the tests that use ansible-core itself. The others check text, and say the same with any version. With the
# oldest one, unit tests, the main job and the integration target import every file.
SANITY_OF_VERSION = {"ansible-doc", "runtime-metadata", "validate-modules"}

ASSERTED = "All assertions passed"


def problems(
    command: str, code: int, output: str, targets: Collection[str] = (), sanity: Collection[str] = SANITY
) -> list[str]:
    """The reasons why a run of ansible-test failed or was incomplete.

    :param command: sanity, units or integration.
    :param code: its exit code.
    :param targets: the existing integration targets.
    :param sanity: the sanity tests that must run.
    """
    found = [f"ansible-test {command} ended with {code}"] if code else []
    if "All targets skipped" in output:
        found.append("ansible-test skipped everything")
    if command == "sanity":
        found += [f"sanity test {name} did not run" for name in sorted({*sanity} - set(sanity_tests(output)))]
        found += [line.strip() for line in output.splitlines() if "Skipping sanity test" in line]
    elif command == "units":
        parts = _parts(r"Unit test (\S+ with Python \S+)", output)
        found += [f"no unit test of {name} passed" for name, printed in parts.items() if not unit_tests(printed)]
        if not parts:
            found.append("no unit test passed")
    elif command == "integration":
        ran = _parts(r"Running (\S+) integration test role", output)
        found += [f"integration target {name} did not run" for name in sorted(set(targets) - set(ran))]
        found += [
            f"integration target {name} asserted nothing" for name, printed in ran.items() if ASSERTED not in printed
        ]
        if not targets:
            found.append("there is no integration target")
    return found


def _parts(header: str, output: str) -> dict[str, str]:
    """The output after each header, by the name in the header."""
    _, *parts = re.split(rf"^{header}$", output, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def oldest(programs: Iterable[str]) -> str:
    """The version with which the files are imported and compiled. With the newest, unit tests and playbooks do both.

    :param programs: the installed Pythons, such as ``python3.9``.
    """
    return _sorted(program.removeprefix("python") for program in programs)[0]


def _sorted(versions: Iterable[str]) -> list[str]:
    return sorted(versions, key=lambda version: [int(part) for part in version.split(".")])


def sanity_tests(output: str) -> list[str]:
    """The names of the sanity tests that ran, once for each Python."""
    return re.findall(r'^Running sanity test "([\w-]+)"', output, re.MULTILINE)


def unit_tests(output: str) -> int:
    """How many unit tests passed."""
    return sum(int(number) for number in re.findall(r"^=+.*?\b(\d+) passed", output, re.MULTILINE))


def summary(command: str, output: str, targets: Collection[str] = ()) -> str:
    """A summary of the tests that ran."""
    if command == "sanity":
        pythons = _sorted(set(re.findall(r'^Running sanity test "[\w-]+" on Python ([\d.]+)', output, re.MULTILINE)))
        return f"{len(sanity_tests(output))} sanity tests ran with Python {' and '.join(pythons)}"
    return f"{unit_tests(output)} unit tests passed" if command == "units" else f"{len(targets)} targets ran"


def importer_problems(code: int, output: str) -> list[str]:
    """The problems that galaxy-importer reports."""
    found = [f"galaxy-importer ended with {code}"] if code else []
    if "Importer processing completed successfully" not in output:
        found.append("galaxy-importer did not complete")
    return found + [line for line in output.splitlines() if line.startswith(("ERROR", "WARNING"))]
