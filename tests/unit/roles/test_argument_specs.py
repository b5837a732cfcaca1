"""The README of a role shows the example of its argument specs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).parents[3] / "roles"


def read(role, path):
    return yaml.safe_load((ROLES / role / path).read_text())


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_specs_have_the_example_of_the_readme(role):
    examples = read(role, "meta/argument_specs.yml")["argument_specs"]["main"]["examples"]
    assert re.findall(r"^```yaml\n(.*?)```$", (ROLES / role / "README.md").read_text(), re.DOTALL | re.MULTILINE) == [
        examples
    ]
