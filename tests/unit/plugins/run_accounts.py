"""Accounts with the results of a run's tasks."""

from __future__ import annotations

from typing import Any

from input_runs import inputs_of

from ansible_collections.cwagent.iam.plugins.plugin_utils._report.accounts import Account


def done(*steps: str, **counts: int) -> dict[str, Any]:
    """The result of a module that has executed some steps."""
    return {"steps": [*steps], "counts": {"create": 0, "update": 0, "delete": 0, **counts}}


CREATED = done("create role R", "attach policy P to R", create=1, update=1)
DELETED = done("delete user U", delete=1)
STEPS = ["- create role R", "- attach policy P to R"]


def an_account(name="localhost", requires=("key_store",), variables=None, servers=(), **inputs):
    """An account with the input of a run; a host of the inventory stands for any but localhost."""
    groups = {} if name == "localhost" else {"cwagent_accounts": [name]}
    typed = {**inputs_of(), "regions": ["eu-1"], "requires": [*requires], "onprem_hosts": {}, **inputs}
    return Account(name, {"groups": groups, "__cwagent": typed, **(variables or {})}, servers)
