"""Reports for pipelines have the format that pipelines expect."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft7Validator
from report.documents import DOCUMENTS

from ansible_collections.cwagent.iam.plugins.filter.findings import sarif

IN_FILES = [
    {"rule": "r", "severity": severity, "object": "host db1", "why": "It is wrong.", **place}
    for severity in ("notice", "warning", "error")
    for place in (
        {},
        {"file": "hosts.yml"},
        {"file": "/etc/ansible/my hosts.yml", "line": 3},
        {"file": "ä:b.yml", "line": 3, "column": 7},
    )
]


@pytest.fixture
def schema(packages):
    """The JSON schema of SARIF 2.1.0 from OASIS."""
    [path] = packages.glob("@microsoft/jest-sarif/lib/schemas/sarif-2.1.0*.json")
    return Draft7Validator(json.loads(path.read_text()))


@pytest.mark.parametrize(
    "findings",
    [*(document["findings"] for document in DOCUMENTS.values()), IN_FILES],
    ids=[*DOCUMENTS, "in files"],
)
@pytest.mark.parametrize("errors", [[], ["account dev: access denied"]], ids=["complete", "incomplete"])
def test_sarif_follows_its_schema(schema, findings, errors):
    log = json.loads(json.dumps(sarif(findings[:100], errors=errors)))
    assert [error.message for error in schema.iter_errors(log)] == []


def test_the_schema_notices_a_mistake(schema):
    log = sarif(IN_FILES)
    log["runs"][0]["results"][0]["level"] = "severe"
    assert not schema.is_valid(log)
