from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.cwagent.iam.plugins.filter.by_region import FilterModule

FILTERS = FilterModule().filters()
instances_by_region, users_by_region = FILTERS["instances_by_region"], FILTERS["users_by_region"]
HOSTS = {
    "a": {"instance_id": "i-1", "placement": {"region": "eu-central-1"}},
    "b": {"instance_id": "i-2", "placement": {"region": "eu-central-1"}, "cwagent_region": "us-east-1"},
    "c": {"instance_id": "i-3"},
    "d": {"instance_id": "i-1", "cwagent_region": "eu-central-1", "placement": None},
    "f": {"instance_id": "i-1", "cwagent_region": "us-east-1"},
    "e": {"cwagent_region": "", "cwagent_user_name": "mine"},
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


@pytest.mark.parametrize(
    ("hosts", "per_host", "regions"),
    [
        ("ab", True, {"eu-central-1": ["U-a"], "us-east-1": ["U-b"]}),
        ("ad", False, {"eu-central-1": ["U"]}),
        ("ce", True, {"x": ["U-c", "mine"]}),
        ("ce", False, {"x": ["U", "mine"]}),
        ("ab", False, {"eu-central-1": ["U"]}),
        ("ba", False, {"us-east-1": ["U"]}),
    ],
)
def test_users_are_grouped_by_region(hosts, per_host, regions):
    assert users_by_region(hosts, HOSTS, "U", per_host=per_host, default_region="x") == regions


def test_blank_variables_and_an_invalid_placement_are_ignored():
    hosts = {"a": {"instance_id": " i-1 ", "cwagent_region": " ", "placement": "none", "cwagent_user_name": " "}}
    assert instances_by_region("a", hosts, "x") == {"x": ["i-1"]}
    assert users_by_region("a", hosts, "U") == {"": ["U-a"]}


def test_the_variable_with_the_name_of_a_user_can_be_chosen():
    hosts = {"a": {"cwagent_user_name": "mine", "admin_name": "chief"}, "b": {"cwagent_user_name": "mine"}}
    named = users_by_region("ab", hosts, "U", per_host=False, name_variable="admin_name")
    assert named == {"": ["chief", "U"]}
    assert users_by_region("ab", hosts, "U") == {"": ["mine"]}
