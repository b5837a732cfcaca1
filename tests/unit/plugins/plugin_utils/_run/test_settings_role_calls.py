"""Hosts with the same connection options are one account, for which the first of them calls the modules of a role."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import instances_of, items_of_host, plan_call

EU, US = "eu-west-1", "us-east-1"
SAME, OF_Y = "All hosts of an account must have the same", "one value for a, b; one value for c"
REMEDY = "Set the same value for these hosts, or use one play for the hosts with each value."


@pytest.mark.parametrize(
    ("role", "values", "items"),
    [
        ("ec2_server", {}, None),
        ("ec2_server", {"region": EU}, None),
        ("ec2_server", {"instances": {}}, {}),
        ("ec2_server", {"instances": {US: ["i-2"], "": ["i-1"]}}, {"": ["i-1"], US: ["i-2"]}),
        ("ec2_server", {"instances": {US: ["i-2"], "": ["i-1"]}, "region": US}, {US: ["i-2", "i-1"]}),
        ("ec2_admin", {"instances": {"": ["i-1"]}, "region": EU}, {EU: ["i-1"]}),
        ("onprem_server", {"users": ["a", "b"]}, {"": ["a", "b"]}),
        ("onprem_server", {"users": ["a"], "region": EU}, {EU: ["a"]}),
        ("onprem_admin", {"users": None}, {"": []}),
        ("hybrid_server", {"regions": [EU, US], "region": "us-west-2"}, {EU: [], US: []}),
        ("hybrid_server", {"regions": []}, {}),
    ],
)
def test_items_of_a_host(role: str, values: dict[str, Any], items: Any) -> None:
    found = items_of_host(role, {f"{role}_{option}": value for option, value in values.items()})
    assert found == items
    assert [*(found or ())] == [*(items or ())]


def registered(
    items: Any = None, region: str = "", account: str = "1", host: str = "", **values: Any
) -> dict[str, Any]:
    """A result. Each value is a digest, or the variable that the user set and a digest."""
    pairs = {name: value if isinstance(value, tuple) else (name, value) for name, value in values.items()}
    return {
        "account": account,
        "host": host,
        "default_region": region,
        "by_region": items,
        "variables": {name: {"set_as": set_as, "digest": digest} for name, (set_as, digest) in pairs.items()},
    }


FOLLOWS: dict[str, Any] = {"is_first": False}


def call(region: str = "", **by_region: list[str]) -> dict[str, Any]:
    names = {"none": "", "eu": EU, "us": US}
    items = {names[each]: found for each, found in by_region.items()}
    return {"is_first": True, "by_region": items, "region": region}


ONE, TWO, OTHER = registered({"": ["a"]}), registered({"": ["b", "a"]}), registered({"": ["c"]}, account="2")


@pytest.mark.parametrize(
    ("hosts", "host", "failed", "plan"),
    [
        ({"a": ONE}, "a", "", call(none=["a"])),
        ({"a": ONE, "b": TWO}, "a", "", call(none=["a", "b"])),
        ({"a": ONE, "b": TWO}, "b", "", FOLLOWS),
        ({"a": ONE, "b": OTHER, "c": TWO}, "a", "", call(none=["a", "b"])),
        ({"a": ONE, "b": OTHER, "c": TWO}, "b", "", call(none=["c"])),
        ({"a": ONE, "b": OTHER, "c": TWO}, "c", "", FOLLOWS),
        # Regions of hosts.
        ({"a": registered({EU: ["a"]}, EU), "b": registered({US: ["b"]}, US)}, "a", "", call(EU, eu=["a"], us=["b"])),
        ({"a": registered({EU: ["a"]}), "b": registered({US: ["b"]})}, "a", "", call(EU, eu=["a"], us=["b"])),
        ({"a": registered({EU: ["a"]}, EU), "b": ONE}, "a", "", call("", none=["a"], eu=["a"])),
        ({"a": registered({EU: []}), "b": registered({US: [], EU: []}, US)}, "a", "", call(US, eu=[], us=[])),
        # Hosts that can be instances, and those that failed.
        ({"a": registered(), "b": registered()}, "a", "", call(none=["i-a", "i-b"])),
        ({"a": registered(region=US), "b": registered()}, "a", "", call("", none=["i-b"], us=["i-a"])),
        ({"a": registered({US: ["x"]}), "b": registered()}, "a", "f", call(none=["i-b"], us=["x"])),
        ({"a": registered(), "b": registered()}, "a", "f", call(none=["i-a", "i-b", "i-f"])),
        ({"a": registered(), "b": registered(region=US)}, "b", "f", FOLLOWS),
        ({"a": registered(region=US)}, "a", "f", call(US, us=["i-a", "i-f"])),
        ({"a": registered(), "b": registered(account="2")}, "a", "f", call(none=["i-a"])),
        ({"a": registered({}), "b": registered({})}, "a", "f", call()),
        # With run_once, all hosts have the result of one.
        ({"a": registered(host="b"), "b": registered()}, "b", "", call(none=["i-a", "i-b"])),
        # Equal values, and another account.
        ({"a": registered({}, x="1"), "b": registered({}, x=("y", "1"))}, "a", "", call()),
        ({"a": registered({}, x="1"), "b": registered({}, x="2", account="2")}, "a", "", call()),
        ({"a": registered({}, x="1"), "b": registered({}, x="2")}, "b", "", FOLLOWS),
        # Values that differ.
        (
            {"a": registered({}, x="1", y="1"), "b": registered({}, x="2", y="1"), "c": registered({}, x="1", y="1")},
            "a",
            "",
            f"{SAME} x, but there is one value for a, c; one value for b.",
        ),
        (
            {name: registered({}, x=(f"{name}_x" * (name < "c"), name)) for name in "abc"},
            "a",
            "",
            f"{SAME} a_x and b_x, but there is one value for a; one value for b; one value for c.",
        ),
        (
            {"a": registered({}, x="1", y=("", "1")), "b": registered({}, x="2", y=("", "2"))},
            "a",
            "",
            f"{SAME} x, but there is one value for a; one value for b.",
        ),
        (
            {str(number): registered({}, x=str(number)) for number in range(12)},
            "0",
            "",
            f"{SAME} x, but there is {'; '.join(f'one value for {number}' for number in range(10))}; and 2 more.",
        ),
        (
            {"a": registered({}, x="1", y="1"), "b": registered({}, x="2", y="1"), "c": registered({}, x="2", y="2")},
            "a",
            "",
            f"{SAME} x, but there is one value for a; one value for b, c. {SAME} y, but there is {OF_Y}.",
        ),
    ],
)
def test_plan_of_a_call(hosts: dict[str, dict[str, Any]], host: str, failed: str, plan: Any) -> None:
    inputs = {name: {**each, "host": each["host"] or name} for name, each in hosts.items()}

    def instances_of(names: Any) -> dict[str, list[str]]:
        regions = dict.fromkeys(names.values())
        return {region: [f"i-{name}" for name in names if names[name] == region] for region in regions}

    def planned() -> dict[str, Any]:
        return plan_call(inputs[host], inputs.items(), [*failed], instances_of)

    if isinstance(plan, str):
        with pytest.raises(InvalidInput) as refused:
            planned()
        assert str(refused.value) == f"{plan} {REMEDY}"
        return
    found = planned()
    assert found == plan
    assert [*found.get("by_region", ())] == [*plan.get("by_region", ())]


def test_a_host_that_is_not_the_first_reads_no_further() -> None:
    def inputs() -> Any:
        yield "a", registered(host="a")
        raise AssertionError

    assert plan_call(registered(host="b"), inputs(), [], dict) == FOLLOWS


INSTANCES: dict[str, dict[str, Any]] = {
    "a": {"instance_id": "i-1", "placement": {"region": "eu-central-1"}},
    "b": {"instance_id": "i-2", "placement": {"region": "eu-central-1"}, "cwagent_region": "us-east-1"},
    "c": {"instance_id": "i-3"},
    "d": {"instance_id": "i-1", "cwagent_region": "eu-central-1", "placement": None},
    "e": {"cwagent_region": ""},
    "f": {"instance_id": "i-1", "cwagent_region": "us-east-1"},
    "g": {"instance_id": " i-4 ", "cwagent_region": " ", "placement": "none"},
    "h": {"instance_id": " "},
}


@pytest.mark.parametrize(
    ("hosts", "default", "regions"),
    [
        ("", "x", {}),
        ("a", "x", {"eu-central-1": ["i-1"]}),
        ("abc", "x", {"eu-central-1": ["i-1"], "us-east-1": ["i-2"], "x": ["i-3"]}),
        ("c", "", {"": ["i-3"]}),
        ("da", "x", {"eu-central-1": ["i-1"]}),
        ("af", "x", {"eu-central-1": ["i-1"]}),
        ("fa", "x", {"us-east-1": ["i-1"]}),
        ("eghc", "x", {"x": ["i-4", "i-3"]}),
    ],
)
def test_instances_are_grouped_by_region(hosts: str, default: str, regions: dict[str, list[str]]) -> None:
    assert instances_of(INSTANCES, dict.fromkeys(hosts, default)) == regions
