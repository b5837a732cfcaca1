from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import (
    desired_parameter,
    known_state,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import DesiredParameter, Parameter
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import KnownState
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

NAME, CONFIG = "AmazonCloudWatch-linux", {"agent": {}}
PARAMS: dict[str, Any] = {
    "name": NAME,
    "config": CONFIG,
    "src": None,
    "schema": None,
    "tier": None,
    "state": "present",
}


@pytest.mark.parametrize(
    ("params", "desired"),
    [
        ({}, DesiredParameter(NAME, CONFIG)),
        ({"tier": "Advanced"}, DesiredParameter(NAME, CONFIG, "Advanced")),
        ({"state": "absent", "config": None}, None),
    ],
    ids=["present", "tier", "absent"],
)
def test_the_desired_parameter_follows_the_options(params, desired):
    assert desired_parameter({**PARAMS, **params}) == desired


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "linux"}, "does not begin with AmazonCloudWatch-"),
        ({"name": "linux", "state": "absent"}, "does not begin with AmazonCloudWatch-"),
        ({"config": {}}, "config is empty"),
        ({"config": {"agent": "x" * 9000}}, "bytes when minified"),
    ],
    ids=["name", "name, absent", "configuration", "size"],
)
def test_an_invalid_option_is_an_error(params, message):
    with pytest.raises(InvalidInput, match=message):
        desired_parameter({**PARAMS, **params})


def test_the_configuration_is_validated_against_the_schema(tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"required": ["metrics"]}))
    with pytest.raises(InvalidInput, match="does not match the schema"):
        desired_parameter({**PARAMS, "schema": str(schema)})


@pytest.mark.parametrize(
    ("known_value", "known"),
    [
        (None, None),
        ({"value": None, "type": "String", "version": None}, KnownState(None)),
        ({"value": "{}", "type": "String", "version": 2}, KnownState(Parameter("{}", version=2))),
    ],
    ids=["not given", "no parameter", "a parameter"],
)
def test_the_known_state_follows_the_option(known_value, known):
    assert known_state(known_value) == known
