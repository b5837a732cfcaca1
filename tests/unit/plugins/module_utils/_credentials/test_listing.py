from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.listing import index_by_user
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import (
    claim_description,
    saved_key_description,
)

KEY = {"Name": "/k/db1", "Description": saved_key_description("AKIAIOSFODNN7EXAMPLE", "db1")}
RECORD = {"Name": "/k/db1.pending", "Description": claim_description("db1")}


@pytest.mark.parametrize(
    ("found", "names"),
    [
        ([KEY], {"db1": "/k/db1"}),
        ([RECORD], {"db1": "/k/db1.pending"}),
        ([KEY, RECORD], {"db1": "/k/db1"}),
        ([RECORD, KEY], {"db1": "/k/db1"}),
        ([{"Name": "/k/db1"}, {**KEY, "Name": "/other/db1"}, {**KEY, "Name": "/k/db2"}], {}),
    ],
)
def test_a_saved_key_is_preferred_to_the_record_of_keys(found, names):
    assert index_by_user(found, "/k/") == names
