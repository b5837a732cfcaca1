"""Which accounts of an organization an inventory has, and the variables of accounts and instances."""

from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.organization import (
    Account,
    account_of,
    account_state,
    check_hostnames,
    check_selected,
    child_unit,
    has_tags,
    instance_variables,
    is_management_account,
    root_unit,
)

ROOT = {"Id": "r-ab12", "Name": "Root"}
WORKLOADS = {"Id": "ou-ab12-1", "Name": "Workloads"}
PRODUCTION = {"Id": "ou-ab12-2", "Name": "Production"}
RAW = {
    "Id": "210987654321",
    "Arn": "arn:aws-cn:organizations::111122223333:account/o-1/210987654321",
    "Email": "shop@example.com",
    "Name": "shop",
    "State": "ACTIVE",
}
SHOP = Account(
    account_id="210987654321",
    account_name="shop",
    account_state="ACTIVE",
    account_tags={"team": "shop", "cost": "42"},
    organizational_unit="/Workloads",
    organizational_unit_ids=["r-ab12", "ou-ab12-1"],
    partition="aws-cn",
)


def units(*selected):
    root = root_unit(ROOT, selected)
    workloads = child_unit(root, WORKLOADS, selected)
    return [root, workloads, child_unit(workloads, PRODUCTION, selected)]


BELOW = ["/", "/Workloads", "/Workloads/Production"]


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        *((selected, BELOW) for selected in ([], ["/"], ["r-ab12"])),
        *((selected, BELOW[1:]) for selected in (["/Workloads"], ["ou-ab12-1"])),
        *((selected, BELOW[2:]) for selected in (["/Workloads/Production"], ["ou-ab12-2"])),
        (["/Production", "Workloads"], []),
    ],
)
def test_a_unit_is_selected_by_id_or_path_and_with_its_parent(selected, expected):
    assert [unit.path for unit in units(*selected) if unit.is_selected] == expected


def test_a_unit_has_the_ids_from_the_root_on():
    assert units()[-1].ids == ("r-ab12", "ou-ab12-1", "ou-ab12-2")


def test_selected_units_that_do_not_exist_are_named():
    check_selected(units(), ["/Workloads", "ou-ab12-2", "r-ab12"])
    with pytest.raises(InvalidInput, match="not in the organization: /Production, ou-x"):
        check_selected(units(), ["ou-x", "/Workloads", "/Production"])


SUSPENDED = {"Status": "SUSPENDED"}


@pytest.mark.parametrize(
    ("account", "state"), [({"State": "PENDING_CLOSURE", **SUSPENDED}, "PENDING_CLOSURE"), (SUSPENDED, "SUSPENDED")]
)
def test_the_state_of_an_account_comes_before_its_status(account, state):
    assert account_state(account) == state


def test_an_account_without_a_state_is_not_taken_for_active():
    with pytest.raises(CwagentError, match="Update botocore"):
        account_state({"Id": "210987654321"})


def test_the_management_account_is_the_one_in_the_arns():
    assert not is_management_account(RAW)
    assert is_management_account({**RAW, "Id": "111122223333"})


def test_an_account_has_its_partition_and_not_its_email_address():
    tags = [{"Key": "team", "Value": "shop"}, {"Key": "cost", "Value": "42"}]
    assert account_of(RAW, units()[1], tags) == SHOP


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"team": "shop"}, True),
        ({"team": ["web", "shop"], "cost": 42}, True),
        ({"team": "shop", "cost": "1"}, False),
        ({"team": []}, False),
        ({"other": "shop"}, False),
        ({"other": None}, False),
    ],
)
def test_an_account_must_have_all_tags(wanted, expected):
    assert has_tags(SHOP, wanted) == expected


SAME_NAME = "hostname: some accounts have the same name, or no name"


@pytest.mark.parametrize(
    ("names", "count", "message"),
    [
        (["shop"], 2, SAME_NAME),
        ([""], 1, SAME_NAME),
        (["shop", "Shop Production"], 2, r"^Host Shop Production: Ansible reads the name as a pattern"),
        ([], 0, "No account of the organization matches"),
    ],
)
def test_every_account_has_its_own_host(names, count, message):
    check_hostnames({"shop": SHOP, "blog": SHOP}, 2)
    with pytest.raises(InvalidInput, match=message):
        check_hostnames(dict.fromkeys(names, SHOP), count)


@pytest.mark.parametrize(("tags", "shown"), [({}, {}), ({"Tags": [{"Key": "Name", "Value": "web"}]}, {"Name": "web"})])
def test_an_instance_has_the_variables_that_are_known(tags, shown):
    addresses = {"PrivateIpAddress": "10.0.0.1", "PublicIpAddress": ""}
    instance = {"InstanceId": "i-1", **addresses, "State": {"Name": "stopped"}, "UserData": "secret", **tags}
    expected = {"instance_id": "i-1", "private_ip_address": "10.0.0.1", "cwagent_region": "eu-central-1"}
    found = instance_variables(instance, "eu-central-1")
    assert found == {**expected, "instance_state": "stopped", "ec2_tags": shown}
