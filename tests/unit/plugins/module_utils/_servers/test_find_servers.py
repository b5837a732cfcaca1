from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers.find_servers import (
    ID_FILTER,
    Found,
    Wanted,
    check_account,
    find_instances,
)

EU, US = "eu-central-1", "us-east-1"
SERVERS, ADMIN = {"tag:agent": "yes"}, {"tag:Name": ["monitoring", "admin"]}


class Region(Aws):
    """The answers of EC2 and STS in a region. The pages of instances are listed by filter."""

    def __init__(self, servers=((),), admins=((),), account="123456789012"):
        self.pages_of = {"tag:agent": servers, "tag:Name": admins, ID_FILTER: admins}
        self.account, self.asked = account, []

    def client(self, service, max_attempts=1):
        assert service == "ec2"

    def call(self, action, description, max_attempts=1, **arguments):
        assert action == "sts:GetCallerIdentity"
        return {"Account": self.account}

    def pages(self, action, description, **arguments):
        assert action == "ec2:DescribeInstances"
        self.asked.append(arguments["Filters"])
        state, own = arguments["Filters"]
        assert state["Name"] == "instance-state-name"
        for ids in self.pages_of[own["Name"]]:
            yield {"Reservations": [{"Instances": [{"InstanceId": each}]} for each in ids]}


def test_servers_of_all_pages_and_regions_are_found_in_order():
    regions = {EU: Region([("i-2", "i-1"), ("i-3",)]), US: Region(), "eu-west-1": Region([("i-4",)])}
    found = find_instances(regions, Wanted(SERVERS))
    assert found == Found({EU: ["i-1", "i-2", "i-3"], "eu-west-1": ["i-4"]}, None)
    assert found.to_dict() == {"instances": {EU: ["i-1", "i-2", "i-3"], "eu-west-1": ["i-4"]}, "admin_instance": None}
    assert all(len(region.asked) == 1 for region in regions.values())


def test_the_admin_instance_can_be_in_any_region():
    found = find_instances({EU: Region([("i-1",)]), US: Region(admins=[("i-9",)])}, Wanted(SERVERS, ADMIN))
    assert found.to_dict()["admin_instance"] == {"region": US, "instance_id": "i-9"}


def test_filters_are_sent_with_lists_of_text_and_their_own_state():
    region = Region()
    find_instances({EU: region}, Wanted({"tag:agent": 5, "instance-state-name": "running"}))
    [filters] = region.asked
    assert sorted((each["Name"], each["Values"]) for each in filters) == [
        ("instance-state-name", ["running"]),
        ("tag:agent", ["5"]),
    ]


def test_without_filters_nothing_is_asked():
    region = Region()
    assert find_instances({EU: region}, Wanted()) == Found({}, None)
    assert region.asked == []


@pytest.mark.parametrize(
    ("servers", "wanted", "words"),
    [
        ([("i-1",)], Wanted(SERVERS, ADMIN), f"No instance in {EU} matches cwagent_account_admin_filters"),
        ([()], Wanted({}, ADMIN), f"No instance in {EU} matches cwagent_account_admin_filters"),
        ([()], Wanted({}, {ID_FILTER: "i-7"}), f"Instance i-7 does not exist in {EU}, or has ended."),
    ],
)
def test_a_missing_admin_instance_is_an_error(servers, wanted, words):
    with pytest.raises(InvalidInput) as caught:
        find_instances({EU: Region(servers)}, wanted)
    assert words in str(caught.value)


def test_an_account_without_servers_needs_no_admin_instance():
    assert find_instances({EU: Region()}, Wanted(SERVERS, ADMIN)) == Found({}, None)


@pytest.mark.parametrize(("count", "more"), [(2, ""), (5, ""), (6, " and 1 more"), (1000, " and 995 more")])
def test_several_admin_instances_are_an_error_that_names_them(count, more):
    ids = [f"i-{number:04}" for number in range(count)]
    with pytest.raises(InvalidInput) as caught:
        find_instances({EU: Region([("i-1",)], [ids])}, Wanted(SERVERS, ADMIN))
    named = ", ".join(f"{each} in {EU}" for each in ids[:5])
    assert f"but {count} match: {named}{more}. Narrow" in str(caught.value)


def test_credentials_of_another_account_are_refused():
    check_account(Region(), "123456789012")
    with pytest.raises(InvalidInput) as caught:
        check_account(Region(account="210987654321"), "123456789012")
    assert str(caught.value).startswith("The credentials belong to account 210987654321, not to 123456789012.")


@pytest.mark.parametrize(("admins", "found"), [([()], ["i-1"]), ([("i-9", "i-8")], ["i-1", "i-8", "i-9"])])
def test_cleaning_up_takes_all_admin_instances_as_servers(admins, found):
    wanted = Wanted(SERVERS, ADMIN, is_admin_needed=False)
    assert find_instances({EU: Region([("i-1",)], admins)}, wanted) == Found({EU: found}, None)
    assert find_instances({EU: Region([("i-1",)], [("i-9",)])}, wanted).admin == (EU, "i-9")
