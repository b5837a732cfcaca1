from __future__ import annotations

from dataclasses import replace

import pytest
from input_runs import EU, a_run

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.interpretation import interpret
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.plays import users_on_hold
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.run import OnpremHost

NODE = "mi-0123456789abcdef0"
SEEN = {
    "__cwagent_reached": {"ping": "pong"},
    "__hybrid_registration_node": {"node": {"id": NODE}},
    "__hybrid_registration_files": {"caller": f"arn:aws:sts::123456789012:assumed-role/Hybrid/{NODE}"},
}


def a_run_of(**identities):
    """A run with servers on premises that have one user."""
    hosts = {host: OnpremHost("shared", EU, EU, identity, deliver=True) for host, identity in identities.items()}
    run = interpret(a_run(controller={"cwagent_hybrid_role_name": "Hybrid"}))
    return replace(run, retired_users={EU: ["shared"]}, onprem_hosts=hosts)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"__cwagent_reached": None}, "The limit leaves out db1."),
        ({"__cwagent_reached": {"unreachable": True}}, "db1 could not be reached."),
        ({"__cwagent_reached": {"failed": True, "msg": "no sudo"}}, "A task on db1 failed: no sudo"),
        ({"__cwagent_key_failure": {"msg": "no disk."}}, "A task on db1 failed: no disk."),
        ({"__cwagent_key_failure": {}}, "A task on db1 failed: A task failed without a message."),
        (
            {"__cwagent_key_failure": {"msg": "denied"}, "__hybrid_registration_node": {"node": {"id": None}}},
            "A task on db1 failed: denied",
        ),
        ({"__hybrid_registration_node": None}, "db1 is not registered yet."),
        ({"__hybrid_registration_node": {"unreachable": True}}, "db1 is not registered yet."),
        ({"__hybrid_registration_node": {"node": {"id": None}}}, "db1 is not registered yet."),
        ({"__hybrid_registration_node": {"node": {"id": "mi-9"}}}, "credentials of node mi-9 yet: the caller is arn:"),
        ({"__hybrid_registration_files": None}, "does not have working credentials"),
        ({"__hybrid_registration_files": {"caller": None, "caller_error": "no answer."}}, f"{NODE} yet: no answer."),
        (
            {"__hybrid_registration_files": {"caller": f"arn:aws:sts::1:assumed-role/Other/{NODE}"}},
            "the caller is arn:aws:sts::1:assumed-role/Other/",
        ),
    ],
)
def test_a_user_stays_until_each_of_its_servers_was_seen_with_its_registration(changes, reason):
    variables = {name: value for name, value in {**SEEN, **changes}.items() if value is not None}
    found = users_on_hold(a_run_of(db1="hybrid", db2="hybrid"), {"db1": variables, "db2": SEEN})
    if reason is None:
        assert found == {}
    else:
        assert found.keys() == {"shared"}
        assert reason in found["shared"]
        assert ".." not in found["shared"]
    both = users_on_hold(a_run_of(db1="hybrid", db2="hybrid"), {"db1": variables, "db2": {}})
    assert both["shared"].endswith("The limit leaves out db2.")


def test_a_user_that_is_not_to_go_is_not_held():
    run = replace(a_run_of(db1="hybrid", db2="key"), retired_users={})
    assert users_on_hold(run, {"db1": {}, "db2": {}}) == {}
