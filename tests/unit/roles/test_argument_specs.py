"""The argument specs of a role match its defaults by value, and its README shows the same example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).parents[3] / "roles"


def read(role, path):
    return yaml.safe_load((ROLES / role / path).read_text())


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_specs_match_the_defaults(role):
    defaults = read(role, "defaults/main.yml")
    options = read(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert all(name.startswith(f"{role}_") for name in options)
    assert defaults.keys() <= options.keys()
    documented = {name: option["default"] for name, option in options.items() if "default" in option}
    # A default that is a template is documented in words.
    assert documented == {
        name: value for name, value in defaults.items() if name in documented or "{{" not in str(value)
    }


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_specs_have_the_example_of_the_readme(role):
    examples = read(role, "meta/argument_specs.yml")["argument_specs"]["main"]["examples"]
    assert re.findall(r"^```yaml\n(.*?)```$", (ROLES / role / "README.md").read_text(), re.DOTALL | re.MULTILINE) == [
        examples
    ]
