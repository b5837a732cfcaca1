from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from compared_tasks import CONFIGURATION, HERE, INSTANCE, OTHER, SECOND, THERE, account_as_desired, configuration, tasks
from declarations import SERVER
from scripted_account import Account, Role, api_error

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import RESTORE_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import Opening, open_policy
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import Inputs
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.resource import Preflight
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.tasks import OPTIONS, task_from

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
NO_INPUTS = Inputs({}, [], [])
OPEN_WINDOW = open_policy(Opening(datetime.now(UTC) + timedelta(minutes=15)))
IDLE_CALLS = 1 + 2 + 2 * 2  # the bulk read, two instance profiles; by region the associations and the tags


def due_in(account: Account, given: list[dict[str, Any]] | None = None) -> list[str]:
    result = Preflight(NO_INPUTS, account.client, tasks() if given is None else given).result()
    assert result["warnings"] == []
    due: list[str] = result["due"]
    return due


def test_an_account_as_desired_has_nothing_due() -> None:
    assert due_in(account_as_desired()) == []


def remove_admin_role(account: Account) -> None:
    del account.roles["Admin"]


def remove_server_role(account: Account) -> None:
    del account.roles["Server"]


def detach_server_policy(account: Account) -> None:
    account.roles["Server"].policies.clear()


def detach_admin_policy(account: Account) -> None:
    account.roles["Admin"].policies.clear()


def empty_server_profile(account: Account) -> None:
    account.roles["Server"].is_in_profile = False


def recreate_server_profile(account: Account) -> None:
    account.roles["Server"].profile_id = "AIPA2"


def open_window(account: Account) -> None:
    account.roles["Admin"].window = OPEN_WINDOW


def remove_window(account: Account) -> None:
    account.roles["Admin"].window = None


def leave_restore_tag(account: Account) -> None:
    account.regions[HERE].restore_tags[INSTANCE] = "Server"


def leave_restore_record(account: Account) -> None:
    account.roles["Admin"].tags[f"{RESTORE_TAG}:{HERE}:{INSTANCE}"] = "Server"


def leave_admin_profile(account: Account) -> None:
    account.regions[HERE].profiles[INSTANCE] = ("Admin", "AIPA1")


def leave_admin_profile_on_another_instance(account: Account) -> None:
    account.regions[HERE].profiles[OTHER] = ("Admin", "AIPA1")


def leave_restore_tag_in_the_second_region(account: Account) -> None:
    account.regions[THERE].restore_tags[SECOND] = "Server"


def open_window_and_leave_restore_tag(account: Account) -> None:
    open_window(account)
    leave_restore_tag(account)


def disassociate_profile(account: Account) -> None:
    del account.regions[HERE].profiles[INSTANCE]


def disassociate_profile_in_the_second_region(account: Account) -> None:
    del account.regions[THERE].profiles[SECOND]


def associate_profile_without_the_policy(account: Account) -> None:
    account.roles["App"] = Role({READ_ONLY})
    account.regions[HERE].profiles[INSTANCE] = ("App", "AIPA1")


def associate_profile_with_the_policy(account: Account) -> None:
    account.roles["App"] = Role({SERVER, READ_ONLY})
    account.regions[HERE].profiles[INSTANCE] = ("App", "AIPA1")


def do_nothing(account: Account) -> None:
    pass


WITHOUT_WINDOW = tasks(window=False)
REPLACING = tasks(on_other_profile="replace")
EC2, EVERYTHING = ["ec2"], ["restore", "ec2"]


@pytest.mark.parametrize(
    ("change", "given", "due"),
    [
        (remove_admin_role, tasks(), EC2),
        (remove_server_role, tasks(), EC2),
        (detach_server_policy, tasks(), EC2),
        (detach_admin_policy, tasks(), EC2),
        (empty_server_profile, tasks(), EC2),
        (recreate_server_profile, tasks(), EC2),
        (do_nothing, tasks(description="for servers"), EC2),
        (do_nothing, tasks(tags={"team": "ops"}), EC2),
        (do_nothing, tasks(iam_path="/other/"), EC2),
        (open_window, tasks(), EVERYTHING),
        (remove_window, tasks(), EVERYTHING),
        (do_nothing, WITHOUT_WINDOW, EC2),
        (remove_window, WITHOUT_WINDOW, []),
        (leave_restore_tag, tasks(), EVERYTHING),
        (leave_restore_record, tasks(), EVERYTHING),
        (leave_admin_profile, tasks(), EVERYTHING),
        (leave_admin_profile_on_another_instance, tasks(), EVERYTHING),
        (leave_restore_tag_in_the_second_region, tasks(), EVERYTHING),
        (open_window_and_leave_restore_tag, tasks(), EVERYTHING),
        (disassociate_profile, tasks(), EC2),
        (disassociate_profile_in_the_second_region, tasks(), EC2),
        (associate_profile_without_the_policy, tasks(), EC2),
        (associate_profile_with_the_policy, tasks(), []),
        (associate_profile_with_the_policy, REPLACING, EC2),
    ],
)
@pytest.mark.parametrize("is_bulk_read_denied", [False, True], ids=["in bulk", "one by one"])
def test_a_difference_is_found(
    change: Callable[[Account], None], given: list[dict[str, Any]], due: list[str], is_bulk_read_denied: bool
) -> None:
    account = account_as_desired()
    change(account)
    if is_bulk_read_denied:
        account.errors["get_account_authorization_details"] = api_error("AccessDenied", "User: ops is not authorized")
    assert due_in(account, given) == due
    assert all(account.calls.count(call) == 1 for call in account.calls)


def test_another_instance_needs_no_profile() -> None:
    account = account_as_desired()
    account.regions[HERE].profiles[OTHER] = ("App", "AIPA9")
    assert due_in(account) == []


def test_a_profile_to_restore_that_does_not_exist_is_a_difference() -> None:
    account = account_as_desired()
    leave_admin_profile(account)
    account.regions[HERE].restore_tags[INSTANCE] = "Deleted"
    assert due_in(account) == EVERYTHING


def test_a_run_with_nothing_to_do_makes_few_calls() -> None:
    account = account_as_desired()
    due_in(account)
    assert len(account.calls) == IDLE_CALLS
    assert account.operations.count("get_account_authorization_details") == 1


@pytest.mark.parametrize(("others", "pages"), [(998, 1), (999, 2), (5000, 6), (7000, 8)])
def test_the_calls_grow_with_the_pages_of_the_account(others: int, pages: int) -> None:
    account = account_as_desired()
    account.other_principals = others
    due_in(account)
    assert len(account.calls) == IDLE_CALLS - 1 + pages


def test_roles_behind_too_many_pages_are_read_one_by_one() -> None:
    account = account_as_desired()
    account.other_principals = 100_000
    assert due_in(account) == []
    assert account.operations.count("get_account_authorization_details") == 8
    assert len(account.calls) <= IDLE_CALLS - 1 + 2 * 8


def test_a_role_that_does_not_exist_is_due_without_a_further_call() -> None:
    account = account_as_desired()
    del account.roles["Admin"]
    assert due_in(account, [each for each in tasks() if each["part"] == "ec2"]) == EC2
    assert account.operations == ["get_account_authorization_details"]


def test_a_part_after_one_that_is_due_is_not_read() -> None:
    account = account_as_desired()
    open_window(account)
    due_in(account)
    assert account.operations == ["get_account_authorization_details"]


@pytest.mark.parametrize("options", [{"description": ""}, {"max_session_duration": 3600}])
def test_what_a_bulk_read_lacks_is_read_for_a_role_that_has_it(options: dict[str, Any]) -> None:
    account = account_as_desired()
    due_in(account, tasks(**options))
    assert account.operations.count("get_role") == 1
    assert len(account.calls) == IDLE_CALLS + 1


@pytest.mark.parametrize(
    ("operation", "due"),
    [
        ("get_account_authorization_details", []),
        ("get_instance_profile", EC2),
        ("describe_tags", EVERYTHING),
        ("describe_iam_instance_profile_associations", EVERYTHING),
    ],
)
def test_a_denied_call_makes_its_part_due(operation: str, due: list[str]) -> None:
    account = account_as_desired()
    account.errors[operation] = api_error("AccessDenied", "User: ops is not authorized")
    assert due_in(account) == due


def test_a_bulk_read_without_an_answer_makes_what_needs_it_be_read_one_by_one() -> None:
    account = account_as_desired()
    account.errors["get_account_authorization_details"] = api_error("InternalFailure")
    assert due_in(account) == []


class TestConfigurations:
    """The tasks of the role store_config."""

    def test_one_that_is_stored_is_not_due(self) -> None:
        account = account_as_desired()
        account.regions[HERE].parameters["AmazonCloudWatch-a"] = json.dumps(CONFIGURATION, indent=2)
        assert due_in(account, [configuration()]) == []
        assert account.operations == ["get_parameter"]

    @pytest.mark.parametrize("stored", [None, "{}", "no JSON"])
    def test_one_that_differs_is_due(self, stored: str | None) -> None:
        account = account_as_desired()
        if stored:
            account.regions[HERE].parameters["AmazonCloudWatch-a"] = stored
        assert due_in(account, [configuration()]) == ["configurations"]

    def test_each_region_is_compared(self) -> None:
        account = account_as_desired()
        account.regions[HERE].parameters["AmazonCloudWatch-a"] = json.dumps(CONFIGURATION)
        assert due_in(account, [configuration(), configuration(region=THERE)]) == ["configurations"]

    @pytest.mark.parametrize(
        "options",
        [
            {"config": "no JSON"},
            {"config": {"agent": {"reigon": "x"}}},
            {"config": None, "src": ["/does/not/exist"]},
            {"name": "linux"},
        ],
        ids=["error", "doubtful", "no file", "name"],
    )
    def test_one_that_is_refused_is_due_and_no_error(self, options: dict[str, Any]) -> None:
        account = account_as_desired()
        assert due_in(account, [configuration(**options)]) == ["configurations"]
        assert account.calls == []

    def test_what_is_doubtful_is_returned_for_each_of_the_same_name(self) -> None:
        account = account_as_desired()
        files = [
            (region, json.dumps({"agent": {key: "x"}})) for region, key in ((HERE, "reigon"), (THERE, "intervall"))
        ]
        tasks = [configuration(region, src=[text], config=None, validation="warn") for region, text in files]
        lines = Preflight(NO_INPUTS, account.client, tasks).result()["problem_lines"]
        assert [word in " ".join(lines) for word in ("reigon", "intervall")] == [True, True]

    def test_what_is_doubtful_is_returned_once_for_all_regions(self) -> None:
        account = account_as_desired()
        given: dict[str, Any] = {"config": {**CONFIGURATION, "agent": {"reigon": "x"}}, "validation": "warn"}
        for region in (HERE, THERE):
            account.regions[region].parameters["AmazonCloudWatch-a"] = json.dumps(given["config"])
        tasks = [configuration(**given), configuration(THERE, **given)]
        result = Preflight(NO_INPUTS, account.client, tasks).result()
        assert result["due"] == []
        assert [line for line in result["problem_lines"] if "reigon" in line] == result["problem_lines"][1:]

    def test_two_with_one_name_are_due(self) -> None:
        account = account_as_desired()
        account.regions[HERE].parameters["AmazonCloudWatch-a"] = json.dumps(CONFIGURATION)
        assert due_in(account, [configuration(), configuration()]) == ["configurations"]

    def test_they_are_not_read_after_a_part_that_is_due(self) -> None:
        account = account_as_desired()
        detach_server_policy(account)
        assert due_in(account, [*tasks(), configuration()]) == ["ec2", "configurations"]
        assert "get_parameter" not in account.operations


@pytest.mark.parametrize(
    ("module", "options", "problem"),
    [
        ("cwagent_iam_role", {"name": "R", "access": "all"}, "cwagent_iam_role: value of access must be one of"),
        ("cwagent_iam_role", {"name": "R"}, "cwagent_iam_role: state is present but all of"),
        ("cwagent_iam_role", {"name": "R", "access": "server", "x": 1}, "cwagent_iam_role: x. Supported parameters"),
    ],
)
def test_an_invalid_option_is_an_error(module: str, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        task_from({"part": "p", "module": module, "region": "", "options": options})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"name": "a b"}, "'a b' is not a valid role name"),
        ({"instance_profile": "a b"}, "'a b' is not a valid instance profile name"),
        ({"max_session_duration": 60}, "max_session_duration"),
        ({"managed_policies": ["x"]}, "managed_policies: 'x' is not the ARN"),
        ({"access": "all"}, "value of access must be one of"),
    ],
)
def test_invalid_options_are_a_problem_before_anything_is_read(options: dict[str, Any], problem: str) -> None:
    account = account_as_desired()
    with pytest.raises(InvalidInput) as failure:
        due_in(account, tasks(**options))
    [found] = failure.value.details["problems"]
    assert problem in found
    assert account.calls == []


def test_every_module_of_the_tasks_has_options() -> None:
    assert all(options.SPEC for options in OPTIONS.values())
