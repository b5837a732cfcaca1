"""The lists of hosts that plays have, as tables over the results of the tasks of earlier plays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from input_runs import EU, US, inputs_of
from task_variables import HostVars

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.plays import (
    LISTS,
    RunHosts,
    node_options,
    registration_options,
    removals,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.run import read_run

RECORD = inputs_of()
FAILED, ENDED = {"__cwagent_failure": {"msg": "Denied."}}, {"__cwagent_restored": {"needs_restore": True}}
REPLACED = {"__onprem_server_result": {"rotation": {}}}
NODE = {"changed": True, "node": {"id": "mi-0"}}


def an_account(results: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The variables of the host of an account whose input was validated."""
    return {"__cwagent": {**RECORD, **fields}, **(results or {})}


def checked(*hosts: str, first: str = "") -> dict[str, Any]:
    """The result of comparing the servers of an account."""
    return {"__verify_checked": {"apply_hosts": [*hosts], "first_hosts": [*first]}}


REFUSED = {"__cwagent": {"failed": True, "msg": "Wrong."}}
DB: dict[str, Any] = {"delivery_hosts": ["db"]}


def hosts_of(accounts: dict[str, Any], servers: dict[str, Any] | None = None, groups: Any = None) -> RunHosts:
    """The hosts of a run in accounts, of which ``localhost`` is the one of the controller's credentials."""
    groups = groups or ({} if "localhost" in accounts else {"cwagent_accounts": [*accounts]})
    return RunHosts(groups, HostVars({**accounts, **(servers or {})}, (), groups))


@pytest.mark.parametrize("groups", [{}, {"cwagent_accounts": []}])
def test_without_a_group_of_accounts_the_controller_stands_for_its_account(groups: dict[str, Any]) -> None:
    hosts = RunHosts(groups, {})
    assert (hosts.accounts, hosts.report) == (["localhost"], ["all"])
    assert {name: getattr(hosts, name) for name in LISTS} == {
        **{name: [] for name in LISTS},
        "accounts": ["localhost"],
        "report": ["all"],
    }


@pytest.mark.parametrize(
    ("host", "named", "account"),
    [
        ("shop", "", "shop"),
        ("shop", "blog", "shop"),
        ("db", " blog ", "blog"),
        ("db", "other", "shop"),
        ("", "", "shop"),
    ],
)
def test_a_host_belongs_to_the_account_that_it_names_or_to_the_first(host: str, named: str, account: str) -> None:
    assert RunHosts({"cwagent_accounts": ["shop", "blog"]}, {}).account_of(host, named) == account
    assert RunHosts({}, {}).account_of(host, named) == "localhost"


@pytest.mark.parametrize(
    ("results", "unfailed", "delivery"),
    [
        ({}, ["shop"], ["db"]),
        (FAILED, [], []),
        ({**FAILED, **REPLACED}, [], ["db"]),
        (REPLACED, ["shop"], ["db"]),
        (ENDED, [], []),
        ({"__cwagent_restored": {"steps": []}}, ["shop"], ["db"]),
        ({**FAILED, **REPLACED, **REFUSED}, [], []),
        (REFUSED, [], []),
        ({"__cwagent": {"skipped": True}}, [], []),
    ],
)
def test_a_failed_account_has_no_further_plays_but_the_delivery_of_its_keys(
    results: dict[str, Any], unfailed: list[str], delivery: list[str]
) -> None:
    blog = an_account(delivery_hosts=["web"])
    hosts = hosts_of({"shop": an_account(results, **DB), "blog": blog})
    assert (hosts.unfailed, sorted(hosts.delivery)) == ([*unfailed, "blog"], sorted([*delivery, "web"]))
    assert (hosts.accounts, hosts.report) == (["shop", "blog"], ["shop", "blog"])


def test_the_report_is_on_all_hosts_if_the_run_left_out_the_accounts() -> None:
    assert hosts_of({"shop": {}, "blog": {}}).report == ["all"]
    assert hosts_of({"shop": {}, "blog": REFUSED}).report == ["shop", "blog"]


@pytest.mark.parametrize(
    ("fields", "retirement", "deregistration"),
    [
        ({"key_names": {}, "retired_users": {}, "leaving_nodes": {}}, False, False),
        ({"key_names": {EU: ["db"]}, "retired_users": {}, "leaving_nodes": {}}, True, False),
        ({"key_names": {}, "retired_users": {EU: ["u"]}, "leaving_nodes": {}}, True, False),
        ({"key_names": {}, "retired_users": {}, "leaving_nodes": {US: ["db"]}}, False, True),
    ],
)
@pytest.mark.parametrize("results", [{}, FAILED, ENDED])
def test_an_account_has_a_play_only_for_servers_that_change_or_leave(
    fields: dict[str, Any], retirement: bool, deregistration: bool, results: dict[str, Any]
) -> None:
    hosts = hosts_of({"localhost": an_account(results, **fields)})
    found = (hosts.retirement, hosts.deregistration)
    assert found == (["localhost"] * (retirement and not results), ["localhost"] * (deregistration and not results))


@pytest.mark.parametrize(
    ("variables", "reached", "nodes"),
    [
        ({}, [], []),
        ({"__cwagent_reached": {"rc": 0}}, ["db"], []),
        ({"__cwagent_reached": {"unreachable": True}}, [], []),
        ({"__cwagent_reached": {"failed": True}}, [], []),
        ({"__cwagent_reached": {"rc": 0}, "__hybrid_registration_node": NODE}, ["db"], [NODE]),
    ],
)
def test_a_reached_server_deregisters_itself(variables: dict[str, Any], reached: list[str], nodes: list[Any]) -> None:
    hosts = hosts_of({"localhost": an_account(**DB)}, {"db": variables, "other": {"__cwagent_reached": {"rc": 0}}})
    assert (hosts.reached, hosts.nodes) == (reached, nodes)
    run = read_run({**RECORD, "requires": ["confirmation"], "hybrid_role_name": "Hybrid", "keep_nodes": ["mi-1"]})
    assert run
    options = {"reached_hosts": reached, "planned": nodes, "keep_nodes": ["mi-1"]}
    assert node_options(run, hosts, deregisters=True) == {**options, "role": "Hybrid"}
    assert node_options(run, hosts, deregisters=False) == {**options, "role": ""}
    removal = read_run({**RECORD, "requires": ["removal"]})
    assert removal
    assert node_options(removal, hosts, deregisters=True)["role"] == ""


@pytest.mark.parametrize(
    ("accounts", "batches"),
    [
        ([an_account(batch_size=["1", "100%"])], ["1", "100%"]),
        ([{**an_account(batch_size=["1"]), **FAILED}, an_account(batch_size=["2"])], ["2"]),
        ([an_account(batch_size=["1"], requires=["servers", "apply"])], []),
        ([REFUSED], []),
        ([{}], []),
    ],
)
def test_accounts_are_in_batches_unless_servers_are(accounts: list[dict[str, Any]], batches: list[str]) -> None:
    assert hosts_of({f"account-{number}": each for number, each in enumerate(accounts)}).account_batches == batches


@pytest.mark.parametrize(
    ("given", "first", "batches"),
    [
        (["1", "25%", "100%"], "a", ["1", "25%", "100%"]),
        (["1", "25%", "100%"], "abc", ["1", 2, "25%", "100%"]),
        (["1"], "ab", ["1", 1]),
        (["100%"], "ab", ["100%"]),
        (["2", "100%"], "ab", ["2", "100%"]),
    ],
)
def test_one_server_of_each_configuration_is_before_the_others(given: Any, first: str, batches: Any) -> None:
    results = checked("d", *first, first=first)
    hosts = hosts_of({"localhost": an_account(results, batch_size=given, requires=["servers", "apply"])})
    assert hosts.apply_batches == batches
    assert hosts.apply == [*first, "d"]


def test_the_servers_of_compared_accounts_get_the_configuration() -> None:
    accounts = {
        "shop": an_account({**checked("a", "b", first="b"), "__verify_labelled": {"rename_hosts": ["a"]}}),
        "blog": an_account({**checked("c", "d", first="d"), "__verify_labelled": {"skipped": True}}),
        "lost": an_account({**checked("e"), **FAILED, "__verify_labelled": {"rename_hosts": ["e"]}}),
        "unread": an_account({"__verify_checked": {"failed": True}}),
        "new": {},
    }
    hosts = hosts_of(accounts, {"a": {}, "d": {}})
    assert hosts.compared == ["shop", "blog"]
    assert hosts.apply == ["b", "d", "a", "c"]
    assert hosts.unlisted == [{"name": "b", "account": "shop"}, {"name": "c", "account": "blog"}]
    assert hosts.rename == ["a"]


FITTED_ARN = "arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFittedServerPolicy-2"
LOST = {"kind": "role", "name": "R", "policy": FITTED_ARN}


@pytest.mark.parametrize(
    ("policy", "results", "is_fitted"),
    [
        ("aws", {}, False),
        ("fitted", {}, True),
        ("aws", {"__ec2_server_role_result": {"detached": [LOST]}}, True),
        ("aws", {"__hybrid_server_role_result": {"results": [{"detached": [LOST]}]}}, True),
        ("aws", {"__cwagent_detached": {"detached": [{**LOST, "policy": "arn:aws:iam::aws:policy/Other"}]}}, False),
        ("aws", {"__cwagent_detached": {"skipped": True}}, False),
        ("fitted", FAILED, False),
    ],
)
def test_fitted_policies_are_deleted_where_a_principal_had_them(
    policy: str, results: dict[str, Any], is_fitted: bool
) -> None:
    account = an_account(results, server_policy=policy)
    assert hosts_of({"localhost": account}).fitted == ["localhost"] * is_fitted
    assert removals(account) == [each for each in results.values() if results is not FAILED]


def test_facts_are_collected_from_the_servers_of_the_accounts_that_were_read() -> None:
    accounts = {
        "shop": an_account(collect_hosts=["web"]),
        "blog": {**an_account(collect_hosts=["db"]), **FAILED},
        "new": an_account({"__audit_access": {}}, collect_hosts=["app"]),
    }
    assert hosts_of(accounts).collect == ["web", "app"]


@pytest.mark.parametrize("role", [{}, {"path": "/"}, {"path": "/team/"}])
@pytest.mark.parametrize("state", ["registered", "deregistered"])
def test_a_server_is_registered_with_the_role_and_its_path(state, role):
    result = {"changed": True, "role": role}
    expected = {"role": f"{role.get('path', '/')[1:]}Hybrid", "planned": [result]}
    assert registration_options({"__hybrid_server_role_result": result}, "Hybrid", state) == expected


@pytest.mark.parametrize("variables", [{}, {"__hybrid_server_role_result": {"failed": True}}])
def test_a_server_is_not_registered_with_a_role_that_was_not_managed(variables):
    with pytest.raises(InvalidInput, match="because the role Hybrid was not managed"):
        registration_options(variables, "Hybrid", "registered")
    assert registration_options(variables, "Hybrid", "deregistered")["role"] == "Hybrid"
