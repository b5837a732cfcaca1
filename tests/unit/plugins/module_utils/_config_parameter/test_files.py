from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import MAX_SIZE
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.files import (
    check_schema,
    read_config,
    read_file,
)
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
def test_an_option_gives_the_configuration(config):
    assert read_config(config, None) == CONFIG


@pytest.mark.parametrize("byte_order_mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_gives_the_configuration(tmp_path, byte_order_mark):
    path = tmp_path / "linux.json"
    path.write_bytes(byte_order_mark + json.dumps(CONFIG).encode())
    assert read_config(None, str(path)) == CONFIG


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "linux.json cannot be read: No such file"),
        (b'{"agent": "\xff"}', "linux.json is not UTF-8 text"),
        (b"agent:", "linux.json is not JSON"),
        (b'{"agents": {}}', "linux.json has sections that the agent does not know: agents"),
    ],
)
def test_a_file_without_a_configuration_is_an_error(tmp_path, content, message):
    path = tmp_path / "linux.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read_config(None, str(path))


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        read_config(None, str(tmp_path))


@pytest.mark.parametrize("config", [["agent"], 1, None, "", "[]", {}])
def test_an_option_without_a_configuration_is_an_error(config):
    with pytest.raises(InvalidInput, match=r"^config "):
        read_config(config, None)


@pytest.mark.parametrize("config", [CONFIG, {"agent": {}}, {"logs": {"anything": 1}}])
def test_a_configuration_that_matches_the_schema_is_valid(schema, config):
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
def test_the_error_names_the_places_that_do_not_match_the_schema(schema, config, place):
    with pytest.raises(InvalidInput, match=place):
        check_schema(config, schema)


@pytest.mark.parametrize(
    ("sections", "end"), [("abcde", r"\$\.e: None is not of type 'object'\.$"), ("abcdefg", r"; and 2 more\.$")]
)
def test_five_mistakes_are_shown_and_the_others_are_counted(tmp_path, sections, end):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"additionalProperties": {"type": "object"}}))
    with pytest.raises(InvalidInput, match=end):
        check_schema(dict.fromkeys(sections), str(path))


@pytest.mark.parametrize("text", ["{", '{"type": 1}', '{"type": "nonsense"}'])
def test_a_file_without_a_schema_is_an_error(tmp_path, text):
    path = tmp_path / "schema.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="is not a JSON schema"):
        check_schema(CONFIG, str(path))


def test_a_missing_schema_is_an_error(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        check_schema(CONFIG, str(tmp_path / "none.json"))


def test_a_schema_without_jsonschema_is_an_error(schema, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(InvalidInput, match="jsonschema is not installed on this host"):
        check_schema(CONFIG, schema)


@pytest.mark.parametrize("size", [0, 1, MAX_SIZE])
def test_a_file_is_read_in_full(tmp_path, size):
    path = tmp_path / "linux.json"
    path.write_bytes(b" " * size)
    assert read_file(str(path)) == b" " * size


def _too_large(path):
    path.write_bytes(b" " * (MAX_SIZE + 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkdir, "cannot be read: Is a directory."),
        (os.mkfifo, "cannot be read: it is not a regular file."),
        (lambda path: path.symlink_to("/dev/zero"), "cannot be read: it is not a regular file."),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links."),
        (_too_large, f"cannot be read: it is larger than {MAX_SIZE} bytes."),
    ],
)
def test_what_has_no_end_or_is_no_file_is_an_error_at_once(tmp_path, make, message):
    path = tmp_path / "linux.json"
    make(path)
    descriptors = Path("/proc/self/fd")
    open_files = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    with pytest.raises(InvalidInput) as caught:
        read_file(str(path))
    assert str(caught.value) == f"{path} {message}"
    assert not open_files or len(list(descriptors.iterdir())) == open_files


def test_no_more_of_a_file_is_read_than_it_can_have(tmp_path):
    path = tmp_path / "linux.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # it has no content, so it takes no space
    with pytest.raises(InvalidInput, match="larger than"):
        read_file(str(path))
