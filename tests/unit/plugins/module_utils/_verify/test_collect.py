from __future__ import annotations

from typing import Any

import pytest
from aws_account import Account

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._verify.collect import collect
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import ANSIBLE, Server


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"msg": "no route\n  to host.", "stderr": "closed"}, "no route to host"),
        ({"stdout": "agent=", "stderr": "sh: not found\n"}, "sh: not found"),
        ({"stdout": ""}, "it printed nothing"),
        ({}, "it printed nothing"),
    ],
)
def test_a_server_without_facts_says_why(result, reason):
    [server] = collect(Account().client, [Server("web1", "eu-central-1", "i-1")], {"web1": result}, ANSIBLE, 1)
    assert server.seen_by == ""
    assert [each.why for each in server.failures] == [f"Nothing was read on the server: Ansible: {reason}."]


def test_a_result_that_is_no_dictionary_is_refused():
    wrong: Any = {"web1": ["end"]}
    with pytest.raises(InvalidInput, match=r"^results: each value must be the result of a task\.$"):
        collect(Account().client, [], wrong, ANSIBLE, 1)
