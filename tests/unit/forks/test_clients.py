from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ParamValidationError
from forks.clients import check_maximums

check_maximums()


@pytest.mark.parametrize(
    ("service", "operation", "name", "valid", "invalid"),
    [
        ("iam", "get_role", "RoleName", "a" * 64, "a" * 65),
        ("ssm", "list_commands", "MaxResults", 50, 51),
        ("ssm", "get_parameters", "Names", ["a"] * 10, ["a"] * 11),
    ],
)
def test_a_value_above_a_maximum_is_refused(service: str, operation: str, name: str, valid: Any, invalid: Any) -> None:
    nobody = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
    client = boto3.client(service, region_name="eu-central-1", endpoint_url="http://127.0.0.1:9", **nobody)
    method = client.meta.method_to_api_mapping[operation]
    shape = client.meta.service_model.operation_model(method)
    client._serializer.serialize_to_request({name: valid}, shape)
    with pytest.raises(ParamValidationError, match=f"{name}.*valid max: "):
        client._serializer.serialize_to_request({name: invalid}, shape)
