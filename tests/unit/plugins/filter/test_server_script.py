from __future__ import annotations

from ansible_collections.cwagent.iam.plugins.filter.server_script import FilterModule
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server
from ansible_collections.cwagent.iam.plugins.module_utils._verify.script import script


def test_the_script_of_a_server_in_a_result():
    server = Server("web1", "eu-central-1", "i-1")
    assert FilterModule().filters()["server_script"](server.to_dict()) == script(server)
