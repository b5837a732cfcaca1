from __future__ import annotations

import importlib

import pytest
import yaml
from import_graph import PLUGINS

PLUGINS_PACKAGE = "ansible_collections.cwagent.iam.plugins"
# The others add to the options of a module, whose own are compared with its documentation.
ACTIONS = sorted(path.stem for path in PLUGINS.glob("action/*.py") if "TASK_OPTIONS = " in path.read_text())
COMPARED = ("type", "elements", "choices", "default")


def compared(options):
    """The parts of the options on which the documentation and the code must agree."""
    return {name: {key: option[key] for key in COMPARED if key in option} for name, option in options.items()}


@pytest.mark.parametrize("action", ACTIONS)
def test_the_documentation_of_an_action_has_the_options_it_takes(action):
    taken = importlib.import_module(f"{PLUGINS_PACKAGE}.action.{action}").TASK_OPTIONS
    documentation = yaml.safe_load(importlib.import_module(f"{PLUGINS_PACKAGE}.modules.{action}").DOCUMENTATION)
    found = documentation["options"]
    for name in documentation.get("extends_documentation_fragment", ()):
        fragment = importlib.import_module(f"{PLUGINS_PACKAGE}.doc_fragments.{name.split('.')[2]}")
        found = {**yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"], **found}
    assert compared(found) == compared(taken)
