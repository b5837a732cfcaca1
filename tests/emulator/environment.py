"""The environment of the programs that tests, benchmarks, the demo and the Makefile start.

A developer's own AWS account, Ansible settings and proxy stay out of it, and so does the account of the EC2 instance on
which the developer may work. On a shell: ``python -I tests/emulator/environment.py COMMAND`` runs a command in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

NO_METADATA = "http://127.0.0.1:9"
"""A metadata endpoint that does not answer, as on a machine that is not an EC2 instance."""

EXCLUDED = ("ANSIBLE_", "AWS_", "BOTO_", "EC2_", "MINISTACK_", "MOLECULE_", "MOTO_", "PYTHON")
EXCLUDED_IN_ANY_CASE = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
WITHOUT_ACCOUNT = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": NO_METADATA,
}


def is_excluded(name: str) -> bool:
    """Whether a variable can change the behaviour of AWS programs, Ansible or Python."""
    return name.startswith(EXCLUDED) or name.upper() in EXCLUDED_IN_ANY_CASE


def clean_environment() -> dict[str, str]:
    """The environment of this process without excluded variables, and with no AWS account to be found."""
    kept = {name: value for name, value in os.environ.items() if not is_excluded(name)}
    return {**kept, **WITHOUT_ACCOUNT}


def program_environment(*layers: Mapping[str, str]) -> dict[str, str]:
    """A clean environment in which the programs of this Python come first, and the variables of the layers.

    A later layer overrides an earlier one. An empty value removes a variable.
    """
    variables = clean_environment()
    variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    variables["LC_ALL"] = "C.UTF-8"
    for layer in layers:
        variables.update(layer)
    return {name: value for name, value in variables.items() if value}


if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], clean_environment())  # noqa: S606  a shell is not needed
