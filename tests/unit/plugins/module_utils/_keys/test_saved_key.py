from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import (
    SavedKey,
    claim_description,
    described_key,
    from_file,
    from_json,
    is_description_of,
    parse,
    saved_key_description,
    to_file,
    to_values,
)

KEY = SavedKey("AKIA1", "se/cret+%=", "eu-central-1")
FIELDS = {"aws_access_key_id": "AKIA1", "aws_secret_access_key": "se/cret+%=", "region": "eu-central-1"}


def fields_without(field):
    return {key: value for key, value in FIELDS.items() if key != field}


@pytest.mark.parametrize("key", [KEY, SavedKey("AKIA1", "secret")])
def test_a_key_in_a_file_is_read_back(key):
    assert from_file(to_file(key, "P"), "P") == key
    assert from_file(to_file(key, "P"), "Q") is None
    assert from_file(f"{to_file(key, 'DEFAULT')}[P]\nregion = r\n", "P") is None  # AWS tools know no default section


def test_the_replaced_key_is_saved_and_not_delivered():
    key = replace(KEY, replaced_key_id="AKIA0")
    assert parse(to_values(key)) == key
    assert from_file(to_file(key, "P"), "P") == KEY


@pytest.mark.parametrize(
    ("saved", "key"),
    [
        (FIELDS, KEY),
        ({**FIELDS, "keys_before": ["AKIA0"]}, KEY),
        (fields_without("region"), SavedKey("AKIA1", "se/cret+%=")),
        ({**FIELDS, "replaced_access_key_id": "AKIA0"}, replace(KEY, replaced_key_id="AKIA0")),
        ({**FIELDS, "replaced_access_key_id": 1}, KEY),
        ({**FIELDS, "replaced_access_key_id": ""}, KEY),
        ({**FIELDS, "region": None}, SavedKey("AKIA1", "se/cret+%=")),
        (fields_without("aws_access_key_id"), None),
        (fields_without("aws_secret_access_key"), None),
        ({**FIELDS, "aws_secret_access_key": ""}, None),
        ({**FIELDS, "aws_secret_access_key": "a\n[other]"}, None),
        ({**FIELDS, "aws_access_key_id": 1}, None),
        ({"keys_before": []}, None),
        ([], None),
    ],
)
def test_a_complete_key_is_read_from_json(saved, key):
    assert from_json(json.dumps(saved)) == key


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_an_invalid_json_text_has_no_key(text):
    assert from_json(text) is None


@pytest.mark.parametrize(
    "text", ["", "[P]\n", "[P]\naws_access_key_id = a\n", "aws_secret_access_key = a\n", "[P]\n[P]\n", "[P]\nx\n"]
)
def test_an_incomplete_file_has_no_key(text):
    assert from_file(text, "P") is None


def test_the_secret_is_not_in_the_representation():
    assert "se/cret" not in repr(KEY)


ID = "AKIAIOSFODNN7EXAMPLE"


@pytest.mark.parametrize(
    ("description", "key", "is_of_db1"),
    [
        (saved_key_description(ID, "db1"), ID, True),
        (saved_key_description(ID, "db11"), ID, False),
        (saved_key_description(ID, "db1 of IAM user x"), ID, False),
        (saved_key_description(ID, "db1") + " It is old.", ID, False),
        (claim_description("db1"), None, True),
        (claim_description("db2"), None, False),
        ("Access key of IAM user u for the Amazon CloudWatch agent.", None, False),
        ("Access key AKIA of IAM user u", None, False),
        ("Password of db1", None, False),
        ("", None, False),
    ],
)
def test_a_description_shows_which_key_of_whom_is_saved(description, key, is_of_db1):
    assert described_key(description) == key
    assert is_description_of("db1", description) == is_of_db1
