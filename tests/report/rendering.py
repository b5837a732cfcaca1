"""Reports as the role `audit` writes them: rendered by Ansible, from data that it does not trust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from report.documents import Document

HERE = Path(__file__).parent
TEMPLATE = HERE.parents[1] / "roles" / "audit" / "templates" / "report.html.j2"


def render(documents: Mapping[str, Document], folder: Path) -> dict[str, Path]:
    """Write the reports of documents to a folder, and return their files by the same names."""
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    variables = {"folder": str(folder), "names": list(documents), "template": str(TEMPLATE)}
    settings = {"ANSIBLE_LIBRARY": str(HERE / "library"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "-i", "localhost,", "-c", "local", HERE / "render.yml", "-e", json.dumps(variables)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The reports could not be rendered:\n{done.stdout}{done.stderr}")
    return {name: folder / f"{name}.html" for name in documents}
