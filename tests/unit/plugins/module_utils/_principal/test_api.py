from __future__ import annotations

import pytest
from declarations import BOUNDARY

from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import boundary, tags


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({}, {}),
        ({"Tags": []}, {}),
        ({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]}, {"a": "1", "b": ""}),
    ],
    ids=["no list", "empty", "tags"],
)
def test_tags(answer, found):
    assert tags(answer) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({}, None),
        ({"PermissionsBoundary": {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": BOUNDARY}}, BOUNDARY),
    ],
    ids=["none", "set"],
)
def test_boundary(answer, found):
    assert boundary(answer) == found
