"""``python tests/coverage_gate.py``: fails where the unit tests leave out a line or branch of a pure file.

It reads what ``make unit`` has measured.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from coverage import Coverage
from import_graph import PLUGINS, PURE_FILES

# By file below plugins/: the lines that may stay uncovered, as their text, and why.
EXCEPTIONS: dict[str, dict[str, str]] = {
    "module_utils/_principals/role_plan.py": {
        "elif planned.role:": "planned_state always has a role; only the type allows None",
        "if planned.profile:": "planned_state always has a profile; only the type allows None",
    },
    "module_utils/_principals/user_plan.py": {
        "elif planned.user:": "planned_state always has a user; only the type allows None",
    },
}


def main() -> None:
    coverage = Coverage()
    coverage.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        coverage.json_report(list(map(str, PURE_FILES)), outfile=str(report))
        measured = {Path(name).resolve(): each for name, each in json.loads(report.read_text())["files"].items()}
    gaps = []
    for path in PURE_FILES:
        name = str(path.relative_to(PLUGINS))
        allowed = EXCEPTIONS.get(name, {})
        lines = path.read_text().splitlines()
        found = measured[path.resolve()]
        missing = {*found["missing_lines"], *(start for start, _ in found["missing_branches"])}
        gaps += [f"plugins/{name}:{line}" for line in sorted(missing) if lines[line - 1].strip() not in allowed]
    if gaps:
        sys.exit("The unit tests do not cover in full: " + ", ".join(gaps))
    print(f"The {len(PURE_FILES)} pure files are covered in full.")


if __name__ == "__main__":
    main()
