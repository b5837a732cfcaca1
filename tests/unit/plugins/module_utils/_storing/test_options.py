from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import SPEC, StoreOptions

DEFAULTS: dict[str, Any] = {"region": None, **{name: option.get("default") for name, option in SPEC.items()}}


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({}, True),
        ({"config_validation": "warn"}, True),
        ({"config_validation": "off"}, False),
        ({"agent_schema_path": ""}, False),
        ({"agent_schema": "schema.json"}, False),
        ({"agent_schema": "schema.json", "config_validation": "off"}, False),
    ],
)
def test_the_schema_of_the_installed_agent_is_read_where_it_would_validate(given: dict[str, Any], needed: bool) -> None:
    options = StoreOptions.of({**DEFAULTS, **given})

    assert options.needs_agent_schema is needed
