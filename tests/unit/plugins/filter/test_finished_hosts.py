from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.filter.finished_hosts import FilterModule

finished_hosts = FilterModule().filters()["finished_hosts"]
REACHED = {"ping": "pong"}
REMOVED = {"changed": False, "steps": []}
LOST = {"unreachable": True, "msg": "closed"}


@pytest.mark.parametrize(
    ("variables", "is_finished"),
    [
        ({"__cwagent_reached": REACHED, "__onprem_credentials_files": REMOVED}, True),
        ({"__cwagent_reached": REACHED, "__hybrid_registration_node": REMOVED}, True),
        ({"__cwagent_reached": REACHED, "__hybrid_registration_node": LOST}, False),
        (
            {
                "__cwagent_reached": REACHED,
                "__hybrid_registration_files": REMOVED,
                "__hybrid_registration_node": LOST,
            },
            False,
        ),
        ({"__cwagent_reached": REACHED}, False),
        ({"__cwagent_reached": LOST}, False),
        ({}, False),
        (
            {
                "__cwagent_reached": REACHED,
                "__onprem_credentials_files": REMOVED,
                "__cwagent_key_failure": {"msg": "denied"},
            },
            False,
        ),
    ],
)
def test_only_a_server_on_which_all_tasks_succeeded_is_finished(variables, is_finished):
    hostvars = {"db": {"inventory_hostname": "db", **variables}, "web": {"inventory_hostname": "web"}}
    assert finished_hosts(["db", "other"], hostvars) == (["db"] if is_finished else [])
