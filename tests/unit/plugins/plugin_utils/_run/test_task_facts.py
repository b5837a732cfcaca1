"""Facts of a server never set a variable of the collection."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.task import ROLES, check_facts

INPUTS = {"ec2_server_name"}


@pytest.mark.parametrize(
    "name",
    [
        *("cwagent_user_name", "cwagent_new", "__cwagent", "__cwagent_report", "ansible_cwagent_region"),
        *(f"__{role}_region" for role in ROLES),
        *("instance_id", "placement", *INPUTS),
    ],
)
def test_a_fact_that_sets_a_variable_is_refused_with_its_host(name: str) -> None:
    facts = {"web1": {"distribution": "Debian", "ec2_instance_id": "i-1"}, "db2": {name: "of db1", "kernel": "6"}}
    with pytest.raises(InvalidInput) as refused:
        check_facts(facts, INPUTS)
    assert f"Host db2: its facts set {name}." in str(refused.value)
    assert "web1" not in str(refused.value)


def test_other_facts_are_allowed() -> None:
    check_facts({"web1": {"hostname": "cwagent", "ansible_local": {"cwagent_user_name": "x"}}, "db2": {}}, INPUTS)


def test_a_name_cannot_control_the_terminal() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_facts({"web1": {"cwagent_\x1b[2Jx": 1}}, ())
    assert "its facts set cwagent_[2Jx." in str(refused.value)


def test_every_role_is_listed() -> None:
    assert sorted(ROLES) == sorted(path.name for path in (Path(__file__).parents[5] / "roles").iterdir())
