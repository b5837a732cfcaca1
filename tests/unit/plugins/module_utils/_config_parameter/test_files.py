from __future__ import annotations

import json
import sys

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.files import check_schema, read_config
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

CONFIG = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "agent": {
            "type": "object",
            "properties": {"metrics_collection_interval": {"type": "integer", "minimum": 1}},
            "additionalProperties": False,
        },
        "metrics": {"type": "object", "minProperties": 1},
    },
}


@pytest.fixture
def schema(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return str(path)


@pytest.mark.parametrize("config", [CONFIG, json.dumps(CONFIG), json.dumps(CONFIG, indent=2)])
def test_config_as_an_option(config):
    assert read_config(config, None) == CONFIG


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_config_from_a_file(tmp_path, mark):
    path = tmp_path / "linux.json"
    path.write_bytes(mark + json.dumps(CONFIG).encode())
    assert read_config(None, str(path)) == CONFIG


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "linux.json cannot be read: No such file"),
        (b'{"agent": "\xff"}', "linux.json is not UTF-8 text"),
        (b"agent:", "linux.json is not JSON"),
        (b'{"agents": {}}', "linux.json has sections the agent does not know: agents"),
    ],
)
def test_bad_files(tmp_path, content, words):
    path = tmp_path / "linux.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=words):
        read_config(None, str(path))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        read_config(None, str(tmp_path))


@pytest.mark.parametrize("config", [["agent"], 1, None, "", "[]", {}])
def test_what_is_no_configuration(config):
    with pytest.raises(InvalidInput, match=r"^config "):
        read_config(config, None)


@pytest.mark.parametrize("config", [CONFIG, {"agent": {}}, {"logs": {"anything": 1}}])
def test_agrees_with_the_schema(schema, config):
    check_schema(config, schema)


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"agent": {"metrics_collection_interval": 0}}, r"\$\.agent\.metrics_collection_interval: 0 is less than"),
        ({"agent": {"metrics_collection_interval": "60"}}, r"\$\.agent\.metrics_collection_interval: '60' is not"),
        ({"agent": {"interval": 60}}, r"\$\.agent: Additional properties"),
        ({"metrics": {}}, r"\$\.metrics: "),
        ({"agent": [], "metrics": []}, r"\$\.agent: .*; \$\.metrics: "),
    ],
)
def test_disagrees_with_the_schema(schema, config, place):
    with pytest.raises(InvalidInput, match=place):
        check_schema(config, schema)


def test_many_mistakes_are_counted(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"additionalProperties": {"type": "object"}}))
    with pytest.raises(InvalidInput, match=r"; and 2 more\.$"):
        check_schema(dict.fromkeys("abcdefg"), str(path))
    with pytest.raises(InvalidInput, match=r"\$\.e: None is not of type 'object'\.$"):
        check_schema(dict.fromkeys("abcde"), str(path))


@pytest.mark.parametrize("text", ["{", '{"type": 1}', '{"type": "nonsense"}'])
def test_what_is_no_schema(tmp_path, text):
    path = tmp_path / "schema.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="is no JSON schema"):
        check_schema(CONFIG, str(path))


def test_a_schema_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        check_schema(CONFIG, str(tmp_path / "none.json"))


def test_a_schema_needs_a_library(schema, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(InvalidInput, match="jsonschema is not installed on this host"):
        check_schema(CONFIG, schema)
