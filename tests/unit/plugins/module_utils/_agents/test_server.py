"""A server in a result."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import (
    DATA,
    Sender,
    Series,
    Server,
    failure,
    note,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput

SERIES = Series("eu-central-1", "Shop", "mem_used_percent", (("InstanceId", "i-1"), ("path", "/")), 60, 180)
SENDER = Sender("Linux", "eu-central-1", "123456789012", "i-1", "web1")
FULL = Server("web1", "eu-central-1", "i-1", sender=SENDER, probe=SERIES, newest=5, data_age=3, ahead=-1, started=2)


@pytest.mark.parametrize("server", [FULL, replace(FULL, sender=None, probe=None), Server("db1", "eu-central-1")])
def test_a_server_in_a_result_is_the_same_server(server):
    found = Server.from_dict(json.loads(json.dumps(server.to_dict())))
    assert (found.probe, found.sender) == (server.probe, server.sender)
    assert json.dumps(found.to_dict()) == json.dumps(server.to_dict())


BAD_SERIES = {**FULL.to_dict()["probe"], "dimensions": [["InstanceId"]]}


@pytest.mark.parametrize(
    "more",
    [
        {"probe": {"name": "mem"}},
        {"probe": "mem"},
        {"probe": BAD_SERIES},
        {"probe": {**BAD_SERIES, "dimensions": None}},
        {"sender": {"platform": "Linux"}},
        {"sender": "web1"},
        {"other": 1},
    ],
)
def test_a_server_of_another_form_is_refused(more):
    with pytest.raises(InvalidInput, match="does not have the form in which cwagent_server_info returns it"):
        Server.from_dict({**FULL.to_dict(), **more})


@pytest.mark.parametrize(
    ("server", "status"),
    [
        (FULL, "ok"),
        (FULL.adding(note(DATA, "A log is quiet.")), "ok"),
        (FULL.adding(failure(DATA, "It is old.", "Look.")), "FAIL"),
        (replace(FULL, newest=0), "?"),
        (replace(FULL, newest=0, agent="not installed"), "none"),
    ],
)
def test_the_status_of_data_is_known_by_its_newest_point(server, status):
    assert server.status("data") == status
