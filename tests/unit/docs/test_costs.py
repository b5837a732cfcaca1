"""The section on costs has the number of metrics that the sample configurations make the agent send."""

from __future__ import annotations

import json
import re

import pytest
from guide import GUIDE, ROOT

PAGE = (GUIDE / "comparison.rst").read_text()
PRICE = 0.30
GROUP = "AutoScalingGroupName"
# By section, the dimensions of the agent's own, and how many things the server of the page has of its kind.
SECTIONS = {
    "cpu": ({"cpu"}, 3),  # two cores and their total
    "mem": (set(), 1),
    "swap": (set(), 1),
    "disk": ({"path", "fstype"}, 1),
    "netstat": (set(), 1),
    "Processor": ({"instance", "objectname"}, 1),
    "Memory": ({"objectname"}, 1),
    "Paging File": ({"instance", "objectname"}, 1),
    "LogicalDisk": ({"instance", "objectname"}, 1),
    "Network Interface": ({"instance", "objectname"}, 1),
}


def count(name, in_group):
    """The metrics of one server, and the metrics of its group."""
    metrics = json.loads((ROOT / "examples" / "agent-config" / name).read_text())["metrics"]
    appended = {dimension for dimension in metrics["append_dimensions"] if in_group or dimension != GROUP}
    own = shared = 0
    for section, options in metrics["metrics_collected"].items():
        dimensions, things = SECTIONS[section]
        # The agent aggregates only by some of the dimensions of a metric, never by all of them.
        aggregated = [each for each in metrics["aggregation_dimensions"] if set(each) < dimensions | appended]
        in_groups = sum(GROUP in each for each in aggregated)
        own += len(options["measurement"]) * (things + len(aggregated) - in_groups)
        shared += len(options["measurement"]) * in_groups
    return own, shared


@pytest.mark.parametrize("name", ["linux.json", "windows.json"])
def test_the_table_has_the_metrics_and_their_price(name):
    [cells] = re.findall(rf"\* - ``examples/agent-config/{name}``\n((?:     - .*\n)+)", PAGE)
    alone, in_group = count(name, in_group=False)[0], count(name, in_group=True)[0]
    expected = [str(alone), f"{alone * PRICE:.2f}", str(in_group), f"{in_group * PRICE:.2f}"]
    assert re.findall(r"- (.*)", cells) == expected


def test_the_page_has_the_metrics_of_a_group():
    linux, windows = (count(name, in_group=True)[1] for name in ("linux.json", "windows.json"))
    assert f"has {linux} more of ``linux.json`` and {windows} of ``windows.json``" in PAGE


def test_the_page_has_the_retention_of_the_samples():
    samples = "".join(
        (ROOT / "examples" / "agent-config" / name).read_text() for name in ("linux.json", "windows.json")
    )
    days = sorted(set(re.findall(r'"retention_in_days": (\d+)', samples)), key=int)
    assert f"The samples keep it for {' or '.join(days)} days." in PAGE
