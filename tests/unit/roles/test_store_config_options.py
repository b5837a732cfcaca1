"""The role store_config hands each of its variables on to the option of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import SPEC

ROLE = Path(__file__).parents[3] / "roles" / "store_config"
OTHERWISE = {
    "agent_schema_path": "{{ __store_config_agent_schema_path }}",
    "configs": "{{ store_config_configs | default([]) }}",
    "instance_id": "{{ store_config_instance_id | default(instance_id | default('')) }}",
}
"""The options that have another value, or a default beside the one of the role."""
OF_TASKS = {"environment", "region"}
"""The variables that the tasks of the role hand on."""


def load(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROLE / path).read_text())
    return found


def test_each_variable_reaches_the_option_of_its_name() -> None:
    options = load("vars/main.yml")["__store_config_inputs"]
    assert options == {name: f"{{{{ store_config_{name} }}}}" for name in options} | OTHERWISE
    variables = {name.removeprefix("store_config_") for name in load("defaults/main.yml")}
    assert variables - options.keys() == OF_TASKS & variables
    assert options.keys() <= SPEC.keys()
