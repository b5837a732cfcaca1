from __future__ import annotations

from aws_account import Account

from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs_plan import Wanted
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Server
from ansible_collections.cwagent.iam.plugins.module_utils._agents.verify import Versions, describe_versions


def test_no_versions_are_read_if_all_agents_run_the_stored_one():
    server = Server("web1", "eu-central-1", "i-1", running={"C": "d"}, runs=(Wanted("C", "d", 3),))
    account = Account()
    versions = Versions(account.client)
    lines = describe_versions(versions, [server])
    assert account.calls == []
    assert (len(lines), versions.unread) == (1, [])
    assert "C in eu-central-1" in lines[0]
