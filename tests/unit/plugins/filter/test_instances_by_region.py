from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.cwagent.iam.plugins.filter.instances_by_region import FilterModule

instances_by_region = FilterModule().filters()["instances_by_region"]
HOSTS = {
    "a": {"instance_id": "i-1", "placement": {"region": "eu-central-1"}},
    "b": {"instance_id": "i-2", "placement": {"region": "eu-central-1"}, "cwagent_region": "us-east-1"},
    "c": {"instance_id": "i-3"},
    "d": {"instance_id": "i-1", "cwagent_region": "eu-central-1", "placement": None},
    "f": {"instance_id": "i-1", "cwagent_region": "us-east-1"},
    "e": {"cwagent_region": ""},
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
    ],
)
def test_instances_are_grouped_by_region(hosts, default, regions):
    assert instances_by_region(hosts, HOSTS, default) == regions


def test_hosts_without_an_instance_id_are_an_error_that_names_them():
    with pytest.raises(AnsibleFilterError, match=r"no instance_id: e\."):
        instances_by_region("ae", HOSTS)


def test_blank_variables_and_an_invalid_placement_are_ignored():
    hosts = {"a": {"instance_id": " i-1 ", "cwagent_region": " ", "placement": "none"}}
    assert instances_by_region("a", hosts, "x") == {"x": ["i-1"]}
