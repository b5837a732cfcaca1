"""A write whose answer is lost is repeated by botocore; the work finds that it took effect and goes on.

Only CreateAccessKey needs the next run, since a repeated one would create a second key: see test_access_keys.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from emulator import Kind
from emulator.snapshot import snapshot
from harness import ADMIN_ROLE, SERVER_ROLE, TIME, disassociate
from in_process import run_module
from states import States
from storing import Storing, ready_to_store, succeeded

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "role": ("cwagent_iam_role", {"name": "R", "access": "admin", "admin_window": True, "tags": {"team": "ops"}}),
    "user": ("cwagent_iam_user", {"name": ["U"], "access": "admin", "admin_window": True}),
    "associate": ("cwagent_instance_profile", {"name": SERVER_ROLE, "instance_ids": ["admin1"]}),
    "replace": (
        "cwagent_instance_profile",
        {"name": ADMIN_ROLE, "instance_ids": ["admin1"], "on_other_profile": "replace"},
    ),
    "configuration": ("cwagent_config_parameter", {"name": "AmazonCloudWatch-x", "config": {"agent": {}}}),
    "transaction": ("", {}),
    "restore": ("", {}),
}
"""By name, a module and its options, with a host for its instance."""


def prepared(states: States, case: str) -> Storing:
    account = states.begin(ready_to_store)
    if case == "associate":
        disassociate(account.aws, account.instances["admin1"])
    if case == "restore":
        account.leave_open()
    return account


@pytest.mark.parametrize("case", CASES)
def test_a_lost_answer_is_repaired_within_the_run(states: States, subtests: pytest.Subtests, case: str) -> None:
    module, options = CASES[case]

    def run(*faults: dict[str, Any]) -> tuple[Any, list[str]]:
        account = prepared(states, case)
        since = account.aws.mark()
        if case == "transaction":
            succeeded(account.store("admin1", *faults))
        elif case == "restore":
            succeeded(account.restore(*faults))
        else:
            ids = [account.instances[host] for host in options.get("instance_ids", ())]
            succeeded(run_module(account.aws, module, *faults, **{**options, **({"instance_ids": ids} if ids else {})}))
        text = json.dumps(snapshot(account.aws), sort_keys=True, default=str)
        return json.loads(re.sub(TIME, "TIME", text)), account.writes(since)

    expected, writes = run()
    assert writes
    for position, action in enumerate(writes, 1):
        with subtests.test(position=position, action=action):
            fault = {"kind": Kind.LOSE_ANSWER, "action": action, "nth": writes[:position].count(action)}
            assert run(fault)[0] == expected
