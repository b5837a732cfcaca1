from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import CONTAINER_VARIABLES
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user import RULES, SPEC, resource

AWS: Any = object()


def store(**options: Any) -> Any:
    """The store for the keys of a user."""
    validator = ArgumentSpecValidator(SPEC, **RULES)
    found = validator.validate({"name": ["U"], "access": "server", "server_policy": "aws", **options})
    assert found.error_messages == []
    return resource(found.validated_parameters, AWS, "eu-central-1")._store


def test_without_a_saved_key_there_is_no_store():
    assert store() is None


@pytest.mark.parametrize(
    ("state", "allowed", "is_refused"),
    [("present", False, True), ("present", True, False), ("absent", False, False), ("retired", False, False)],
)
def test_files_in_an_execution_environment_are_refused_where_a_secret_would_be_lost(
    tmp_path, monkeypatch, state, allowed, is_refused
):
    monkeypatch.setenv(CONTAINER_VARIABLES[0], "1")
    saved_key = {"key_store_directory": str(tmp_path), "key_store_allow_ephemeral": allowed}
    if is_refused:
        with pytest.raises(InvalidInput, match="this is an execution environment"):
            store(state=state, saved_key=saved_key)
    else:
        assert store(state=state, saved_key=saved_key).directory == tmp_path
