from __future__ import annotations

from typing import Any

import pytest
from declarations import BOUNDARY, OTHER_BOUNDARY

from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import boundary, check_boundary, tags


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


class Policies:
    """IAM with the policies of a list, or with an error."""

    def __init__(self, *arns: str, error: AwsApiError | None = None) -> None:
        self.arns, self.error, self.asked = arns, error, 0

    def find(self, action: str, description: str, absent: str, **arguments: Any) -> Any:
        self.asked += 1
        assert (action, absent) == ("iam:GetPolicy", "NoSuchEntity")
        if self.error:
            raise self.error
        return {"Policy": {}} if arguments["PolicyArn"] in self.arns else None


@pytest.mark.parametrize(
    ("desired", "current", "asked"),
    [
        (None, [None], 0),
        ("none", [BOUNDARY], 0),
        (BOUNDARY, [BOUNDARY, BOUNDARY], 0),
        (BOUNDARY, [], 0),
        (BOUNDARY, [None], 1),
        (BOUNDARY, [BOUNDARY, OTHER_BOUNDARY, None], 1),
    ],
)
def test_a_boundary_is_looked_up_once_where_a_principal_does_not_have_it(desired, current, asked):
    aws: Any = Policies(BOUNDARY)
    check_boundary(aws, desired, current)
    assert aws.asked == asked


def test_a_boundary_that_does_not_exist_is_invalid_input():
    aws: Any = Policies()
    with pytest.raises(
        InvalidInput, match=rf"^permissions_boundary: policy {BOUNDARY} does not exist\. Create it first"
    ):
        check_boundary(aws, BOUNDARY, [None])


@pytest.mark.parametrize(("code", "is_error"), [("AccessDenied", False), ("Throttling", True)])
def test_a_boundary_that_may_not_be_read_is_left_to_iam(code, is_error):
    aws: Any = Policies(error=AwsApiError("Could not read.", code))
    if is_error:
        with pytest.raises(AwsApiError):
            check_boundary(aws, BOUNDARY, [None])
    else:
        check_boundary(aws, BOUNDARY, [None])
