from __future__ import annotations

import pytest
from aws_account import Account

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter import ParameterResource
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import DesiredConfig


@pytest.mark.parametrize(
    ("can_be_split", "first_missing", "read"),
    [
        (False, "C-2", ["C"]),
        (True, "C", ["C"]),
        (True, "C-2", ["C", "C-2"]),
        (True, "C-4", ["C", "C-2", "C-3", "C-4"]),
    ],
)
def test_each_parameter_of_a_configuration_is_read_once_until_one_does_not_exist(can_be_split, first_missing, read):
    account = Account()
    account.fail("get_parameter", "ParameterNotFound", value=first_missing)
    account.answer("get_parameter", {"Parameter": {"Type": "String", "Version": 1, "Value": "{}"}})
    found = ParameterResource(account.aws(), DesiredConfig("C", can_be_split=can_be_split), None).read()
    assert [arguments["Name"] for _region, _operation, arguments in account.calls] == read
    assert [name for name, each in found.items() if each] == [name for name in read if name != first_missing]
