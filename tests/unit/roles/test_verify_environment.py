"""The environment of the script that collects facts, as the shell on the server reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from templates import trust_templates

VARIABLES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "roles/verify/vars/main.yml").read_text())


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"A": "1"},
        {"HTTPS_PROXY": "http://u:p a$(id)`id`'\"\\@proxy:1", "B": "line\nline", "Ü": "é"},
        {"EMPTY": "", "NONE": None, "NUMBER": 5, "YES": True},
    ],
)
def test_the_shell_sets_the_given_variables_and_waits_for_nothing(environment):
    names = [name for name in environment if name.isascii()]
    given = trust_templates({**VARIABLES, "verify_environment": {name: environment[name] for name in names}})
    exports = Templar(loader=DataLoader(), variables=given).template(given["__verify_exports"])
    assert exports, "without input, the shell would wait for more on the terminal of the connection"
    script = 'eval "$(cat)"; for name in "$@"; do eval "printf \'%s\\0\' \\"\\$$name\\""; done'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *names], input=exports, capture_output=True, text=True, check=True
    )
    values = ["" if environment[name] is None else str(environment[name]) for name in names]
    assert done.stdout == "".join(f"{value}\0" for value in values)
    assert done.stderr == ""
