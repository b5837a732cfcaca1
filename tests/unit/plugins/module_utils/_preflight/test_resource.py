from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from declarations import ADMIN, SERVER, declare
from scripted_account import CLOSED_WINDOW, Account, Region, Role, api_error

from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import Inputs
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.resource import Preflight
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole

INSTANCE, SECOND, OTHER = "i-11111111", "i-22222222", "i-33333333"
OWN_REGION, SECOND_REGION = "", "us-east-1"
NO_INPUTS = Inputs({}, {}, "keep", [], [])
INSTANCES = replace(NO_INPUTS, instances={OWN_REGION: [INSTANCE], SECOND_REGION: [SECOND]})
ROLES = {
    "server": DesiredRole("Server", declare("server"), "Server"),
    "admin": DesiredRole("Admin", declare("admin", admin_window=True), "Admin"),
}
ACCESS = replace(INSTANCES, roles=ROLES)
DELETION = replace(NO_INPUTS, profiles_to_delete=["Server", "Admin"], expected_instance_ids=[INSTANCE])
ASSOCIATIONS = "describe_iam_instance_profile_associations"
DENIED = "User: ops is not authorized to perform: ec2:DescribeIamInstanceProfileAssociations"


def account_as_desired() -> Account:
    return Account(
        roles={"Server": Role({SERVER}), "Admin": Role({ADMIN}, window=CLOSED_WINDOW)},
        regions={
            OWN_REGION: Region({INSTANCE: ("Server", "AIPA1")}, states={INSTANCE: "running"}),
            SECOND_REGION: Region({SECOND: ("Server", "AIPA1")}, states={SECOND: "stopped"}),
        },
    )


def result_of(inputs: Inputs, account: Account) -> dict[str, Any]:
    return Preflight(inputs, account.client).result()


def problems_of(inputs: Inputs, account: Account) -> list[str]:
    with pytest.raises(InvalidInput) as failure:
        result_of(inputs, account)
    problems = failure.value.details["problems"]
    assert str(failure.value) == f"{' '.join(problems)} Nothing was changed."
    return problems


def test_aws_is_not_called_without_inputs() -> None:
    account = account_as_desired()
    assert result_of(NO_INPUTS, account) == {"warnings": []}
    assert account.calls == []


def test_instances_that_exist_are_not_a_problem() -> None:
    account = account_as_desired()
    assert result_of(INSTANCES, account) == {"warnings": []}
    assert account.operations == ["describe_instances"] * 2


def test_all_instances_that_cannot_have_a_profile_are_reported() -> None:
    account = account_as_desired()
    account.regions[OWN_REGION].states.clear()
    account.regions[SECOND_REGION].states[SECOND] = "terminated"
    missing, ended = problems_of(INSTANCES, account)
    assert missing == f"Instance {INSTANCE} does not exist in this region and account."
    assert ended.startswith(f"Instance {SECOND} is terminated")


def test_an_instance_with_a_profile_is_not_looked_up_for_the_access() -> None:
    account = account_as_desired()
    account.regions[OWN_REGION].states.clear()
    assert result_of(ACCESS, account) == {"warnings": [], "drift": []}
    assert "describe_instances" not in account.operations


def test_an_instance_without_a_profile_is_looked_up_for_the_access() -> None:
    account = account_as_desired()
    account.regions[SECOND_REGION] = Region()
    assert problems_of(ACCESS, account) == [f"Instance {SECOND} does not exist in this region and account."]


def test_instances_are_looked_up_if_their_profiles_cannot_be_read() -> None:
    account = account_as_desired()
    account.errors[ASSOCIATIONS] = api_error("UnauthorizedOperation", DENIED)
    account.regions[OWN_REGION].states.clear()
    assert problems_of(ACCESS, account) == [f"Instance {INSTANCE} does not exist in this region and account."]


def test_the_drift_has_all_parts_if_it_cannot_be_read() -> None:
    account = account_as_desired()
    account.errors["describe_tags"] = api_error("UnauthorizedOperation", DENIED)
    assert result_of(ACCESS, account) == {"warnings": [], "drift": ["window", "profiles", "access"]}


def test_the_drift_has_the_parts_that_differ() -> None:
    account = account_as_desired()
    account.roles["Admin"].window = None
    assert result_of(ACCESS, account)["drift"] == ["window", "access"]


ADOPTING = replace(
    ACCESS, roles={**ROLES, "admin": DesiredRole("Admin", declare("admin", admin_window=True, adopt=True), "Admin")}
)
WITHOUT_WINDOW = replace(ACCESS, roles={**ROLES, "admin": DesiredRole("Admin", declare("admin"), "Admin")})


def account_with_roles_of_others() -> Account:
    account = account_as_desired()
    for role in account.roles.values():
        role.tags, role.window = {}, None
    return account


def test_an_admin_role_of_others_is_a_problem() -> None:
    """The server role of others is not: it gets no window."""
    account = account_with_roles_of_others()
    [problem] = problems_of(ACCESS, account)
    assert problem.startswith("role 'Admin' exists and was not created by this collection.")
    assert all(account.calls.count(call) == 1 for call in account.calls)


@pytest.mark.parametrize("inputs", [ADOPTING, WITHOUT_WINDOW, INSTANCES, replace(ACCESS, instances={})])
def test_an_admin_role_of_others_may_be_adopted_or_have_no_window(inputs: Inputs) -> None:
    result_of(inputs, account_with_roles_of_others())


def test_an_admin_role_with_a_window_needs_no_adoption() -> None:
    account = account_with_roles_of_others()
    account.roles["Admin"].window = CLOSED_WINDOW
    assert result_of(ACCESS, account)["drift"] == []


def test_adoption_is_drift() -> None:
    assert "access" in result_of(ADOPTING, account_with_roles_of_others())["drift"]


def test_an_admin_role_that_cannot_be_read_is_no_problem_of_the_preflight() -> None:
    account = account_with_roles_of_others()
    account.errors["get_role"] = api_error("AccessDenied", "User: ops is not authorized to perform: iam:GetRole")
    assert result_of(ACCESS, account)["drift"] == ["window", "profiles", "access"]


@pytest.mark.parametrize(("on_existing", "drift"), [("keep", []), ("replace", ["access"])])
def test_the_drift_depends_on_what_to_do_with_another_profile(on_existing: str, drift: list[str]) -> None:
    account = account_as_desired()
    account.roles["App"] = Role({SERVER})
    account.regions[OWN_REGION].profiles[INSTANCE] = ("App", "AIPA1")
    assert result_of(replace(ACCESS, on_existing=on_existing), account)["drift"] == drift


@pytest.mark.parametrize("inputs", [INSTANCES, replace(ACCESS, instances={})])
def test_the_drift_is_read_only_with_roles_and_instances(inputs: Inputs) -> None:
    assert "drift" not in result_of(inputs, account_as_desired())


def test_no_call_is_made_twice() -> None:
    account = account_as_desired()
    result_of(ACCESS, account)
    assert all(account.calls.count(call) == 1 for call in account.calls)


def test_clients_are_made_in_the_main_thread() -> None:
    """AnsibleAWSModule ends the module where it cannot make a client, which works in the main thread only."""
    account, threads = account_as_desired(), set()

    def client(service: str, config: Any, region: str = "") -> Any:
        threads.add(threading.current_thread())
        return account.client(service, config, region)

    Preflight(INSTANCES, client).result()
    assert threads == {threading.main_thread()}


def account_with_holders(other_state: str = "running") -> Account:
    return Account(
        regions={
            "us-east-1": Region({OTHER: ("Admin", "AIPA1"), SECOND: ("App", "AIPA3")}, states={OTHER: other_state}),
            "eu-central-1": Region(
                {SECOND: ("Server", "AIPA1"), INSTANCE: ("Server", "AIPA1")},
                states={SECOND: "stopped"},
            ),
        }
    )


@pytest.mark.parametrize(("state", "blocks"), [("stopped", True), ("terminated", False), ("shutting-down", False)])
def test_an_instance_that_ended_does_not_prevent_the_deletion_even_if_ec2_lists_its_profile(
    state: str, blocks: bool
) -> None:
    account, inputs = account_with_holders(state), replace(DELETION, expected_instance_ids=[INSTANCE, SECOND])
    if blocks:
        assert len(problems_of(inputs, account)) == 1
    else:
        assert result_of(inputs, account) == {"warnings": []}


def test_other_instances_with_a_profile_to_delete_are_reported_from_all_regions() -> None:
    assert problems_of(DELETION, account_with_holders()) == [
        f"Instance {SECOND} in eu-central-1 is not in the inventory and has instance profile 'Server'.",
        f"Instance {OTHER} in us-east-1 is not in the inventory and has instance profile 'Admin'.",
    ]


def test_expected_instances_and_other_profiles_are_not_a_problem() -> None:
    inputs = replace(DELETION, expected_instance_ids=[INSTANCE, SECOND, OTHER])
    assert result_of(inputs, account_with_holders()) == {"warnings": []}


def test_ineligible_instances_and_other_holders_are_reported_together() -> None:
    inputs = replace(DELETION, instances={"us-east-1": [INSTANCE]})
    missing, *holders = problems_of(inputs, account_with_holders())
    assert missing == f"Instance {INSTANCE} does not exist in this region and account."
    assert len(holders) == 2


def test_a_region_that_a_policy_closes_is_skipped_with_a_warning() -> None:
    account = account_with_holders()
    denied = f"{DENIED} with an explicit deny in a service control policy"
    account.errors["us-east-1", ASSOCIATIONS] = api_error("UnauthorizedOperation", denied)
    inputs = replace(DELETION, expected_instance_ids=[INSTANCE, SECOND])
    [warning] = result_of(inputs, account)["warnings"]
    assert warning.startswith("It is not known whether instances in us-east-1 have an instance profile to delete.")
    assert "explicitly denies ec2:DescribeIamInstanceProfileAssociations" in warning


def test_a_region_that_no_policy_allows_is_an_error() -> None:
    account = account_with_holders()
    account.errors["us-east-1", ASSOCIATIONS] = api_error("UnauthorizedOperation", DENIED)
    with pytest.raises(AwsApiError, match="lacks ec2:DescribeIamInstanceProfileAssociations"):
        result_of(DELETION, account)
