"""The leftovers of interrupted runs are cleaned up part by part. A part that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from aws_account import MANAGED, Account, Principal
from declarations import FITTED, SERVER
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground import call
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_plan import ABSENT, CLOSED
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import closed_policy
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_instance import RESTORE_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_profile_plan import Release
from ansible_collections.cwagent.iam.plugins.module_utils._storing.lookups import Listed
from ansible_collections.cwagent.iam.plugins.module_utils._storing.restore import KEEP, Leftovers, Restoration

EU, US = "eu-central-1", "us-east-1"
ALL = Leftovers("R", "S", admin_users=["u", "v"], instances={EU: ["i-1"]})
RECORDS = {f"{RESTORE_TAG}:{US}:i-2": "S", f"{RESTORE_TAG}:{EU}:i-1": "S"}
PARTS = ["role R", "user u", "user v", EU, US]


def part_of(managed: Any) -> str:
    """A part in words."""
    desired = managed._desired
    if hasattr(desired, "kind"):
        return f"{desired.kind} {desired.name}"
    return f"{desired.profiles.region}{' with window' if managed._window else ''}"


class Parts:
    """Only records the parts. Some parts fail, others have nothing to do."""

    def __init__(self, failing: Iterable[str] = (), idle: Iterable[str] = (), unmanaged: Iterable[str] = ()) -> None:
        self.failing, self.idle, self.unmanaged = {*failing}, {*idle}, {*unmanaged}
        self.begun: list[str] = []
        self.states: list[str] = []
        self.known: dict[str, tuple[bool, bool]] = {}
        """By region, whether it can have records, and whether its associations are known."""

    def converge(self, managed: Any, check_mode: bool, wait: float | None) -> dict[str, Any]:
        part = part_of(managed)
        self.begun.append(part)
        desired = managed._desired
        if isinstance(desired, Release):
            self.known[desired.profiles.region] = desired.has_records, desired.associations is not None
        else:
            self.states.append(desired.state)
        steps = [] if part in self.idle else [f"close {part}"]
        counts = {"create": 0, "update": len(steps), "delete": 0}
        if part in self.failing:
            no = {"create": 0, "update": 0, "delete": 0}
            raise CwagentError(f"No {part}.", changed=False, steps=steps, done=[], not_done=steps, counts=no)
        found: dict[str, Any] = {
            "changed": bool(steps),
            "steps": steps,
            "counts": counts,
            "diff": {"before": part, "after": ""},
        }
        if " " not in part or "with" in part:
            return {**found, "instances": [{"instance_id": f"i of {part}", "profile": "S"}], "warnings": ["same"]}
        return {**found, "managed": part not in self.unmanaged, "warnings": ["same"]}


def account_with(records: dict[str, str] | None = RECORDS) -> Account:
    """One region is as the inventory, and the other has another instance. :param records: ``None`` for no role."""
    account = Account()
    if records is not None:
        account.add_role("R", tags={**MANAGED, **records})
    account.add_users("w")
    account.add_instance("i-1", "S")
    account.add_instance("i-9", "S", region=US)
    return account


def restore(
    parts: Parts, leftovers: Leftovers = ALL, account: Account | None = None, *, check_mode: bool = False
) -> dict[str, Any]:
    found = account or account_with()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call, "converge", parts.converge)
        return Restoration(leftovers, lambda region: found.aws(region or EU), check_mode=check_mode, wait=1).run()


def test_the_windows_are_closed_before_the_instances_are_restored() -> None:
    parts = Parts(idle=["user v"])
    found = restore(parts)
    assert parts.begun == PARTS
    assert found["instances"] == [{"instance_id": f"i of {region}", "profile": "S"} for region in (EU, US)]
    assert found["changed"]
    assert found["steps"] == [f"close {part}" for part in PARTS if part != "user v"]
    assert found["counts"] == {"create": 0, "update": 4, "delete": 0}
    assert [each["before"] for each in found["diff"]] == [part for part in PARTS if part != "user v"]
    assert found["warnings"] == ["same"]


@given(st.sets(st.sampled_from(PARTS)), st.sampled_from([CLOSED, ABSENT, KEEP]), st.booleans())
def test_a_check_needs_a_restore_if_it_would_close_a_window_or_restore_an_instance(
    idle: set[str], state: str, check_mode: bool
) -> None:
    """A window that is only removed is no trace of an interrupted run."""
    account = account_with({**RECORDS, f"{RESTORE_TAG}:{EU}:i-2": "S"})
    leftovers = replace(ALL, window_state=state, instances={EU: ["i-1"], US: []})
    traces = PARTS if state == CLOSED else [EU, US]
    found = restore(Parts(idle=idle), leftovers, account, check_mode=check_mode)
    assert found.get("needs_restore") == (True if check_mode and {*traces} - idle else None)


@given(st.sets(st.sampled_from(PARTS), min_size=1), st.booleans())
def test_a_failed_part_does_not_stop_the_others(failing: set[str], adopt_existing: bool) -> None:
    """It is not known who created a principal whose window cannot be read."""
    parts = Parts(failing)
    with pytest.raises(CwagentError) as caught:
        restore(parts, replace(ALL, adopt_existing=adopt_existing))
    assert parts.begun == PARTS
    assert str(caught.value) == " ".join(f"No {part}." for part in PARTS if part in failing)
    details = caught.value.details
    assert details["steps"] == [f"close {part}" for part in PARTS]
    assert details["done"] == [f"close {part}" for part in PARTS if part not in failing]
    assert details["not_done"] == [f"close {part}" for part in PARTS if part in failing]
    assert details["counts"]["update"] == len(PARTS) - len(failing)
    assert details["changed"] == (failing != {*PARTS})


@pytest.mark.parametrize(("state", "begun"), [(ABSENT, PARTS), (KEEP, [EU, f"{US} with window"])])
def test_the_state_of_the_windows(state: str, begun: list[str]) -> None:
    """A window that was removed is not closed again for an instance of another region."""
    parts = Parts()
    restore(parts, replace(ALL, window_state=state))
    assert parts.begun == begun
    assert parts.states[: len(begun) - 2] == [state] * (len(begun) - 2)


def test_the_window_of_a_role_of_another_inventory_is_closed_only_once_for_its_records() -> None:
    parts = Parts()
    account = account_with({**RECORDS, f"{RESTORE_TAG}:us-west-2:i-3": "S"})
    restore(parts, replace(ALL, close_role_window=False), account)
    assert parts.begun == [*PARTS[1:4], f"{US} with window", "us-west-2"]
    parts = Parts()
    restore(parts, replace(ALL, close_role_window=False), account_with({}))
    assert parts.begun == PARTS[1:4]


@pytest.mark.parametrize(("unmanaged", "begun"), [("user v", PARTS), ("role R", PARTS[:3])])
@pytest.mark.parametrize(
    ("adopt_existing", "state", "fails"), [(True, CLOSED, False), (False, CLOSED, True), (False, ABSENT, False)]
)
def test_principals_of_others_are_a_problem_when_everything_is_done(
    unmanaged: str, begun: list[str], adopt_existing: bool, state: str, fails: bool
) -> None:
    """A role of others is the admin role of somebody else, so its profile on an instance is wanted."""
    parts, (kind, name) = Parts(unmanaged=[unmanaged]), unmanaged.split()
    leftovers = replace(ALL, adopt_existing=adopt_existing, window_state=state)
    if fails:
        with pytest.raises(CwagentError, match=f"^{kind} '{name}' exists and was not created by this collection"):
            restore(parts, leftovers)
    else:
        restore(parts, leftovers)
    assert parts.begun == (begun if fails else PARTS)


def test_without_a_role_only_the_windows_of_users_are_closed() -> None:
    parts, account = Parts(), account_with()
    restore(parts, replace(ALL, admin_role_name=None), account)
    assert parts.begun == PARTS[1:3]
    assert account.calls == []


@pytest.mark.parametrize(
    ("records", "regions", "has_records"),
    [(None, [EU], False), ({}, [EU], False), (RECORDS, [EU, US], True)],
)
def test_the_records_of_the_role_show_the_other_regions(
    records: dict[str, str] | None, regions: list[str], has_records: bool
) -> None:
    parts, account = Parts(), account_with(records)
    restore(parts, ALL, account)
    assert parts.begun[3:] == regions
    assert parts.known[EU] == (has_records, False)
    assert account.operations == ["get_role"]


@pytest.mark.parametrize("code", ["AccessDenied", "ServiceFailure"])
def test_without_the_permission_to_read_the_records_there_is_a_warning(code: str) -> None:
    """Any other reason is a failure."""
    parts, account = Parts(), account_with()
    account.fail("get_role", code)
    if code == "AccessDenied":
        [*_, warning] = restore(parts, ALL, account)["warnings"]
        assert warning.startswith("It is not known whether instances of other hosts are to be restored.")
    else:
        with pytest.raises(CwagentError, match="read role 'R'"):
            restore(parts, ALL, account)
    assert parts.begun == PARTS[:4]
    assert parts.known[EU] == (True, False)


CHECKED = replace(ALL, instances={EU: ["i-1"], US: ["i-2"]}, check_instances=True)


def test_all_ineligible_instances_are_reported_and_nothing_is_done() -> None:
    parts = Parts()
    with pytest.raises(InvalidInput) as caught:
        restore(parts, replace(CHECKED, instances={EU: ["i-1", "i-3", "i-4"], US: ["i-2"]}))
    assert [each.partition(" Correct")[0] for each in caught.value.details["problems"]] == [
        f"Instances i-3, i-4 do not exist in {EU} and this account.",
        f"Instance i-2 does not exist in {US} and this account.",
    ]
    assert str(caught.value).endswith(" Nothing was changed.")
    assert parts.begun == []


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "InternalError", "RequestExpired"])
def test_instances_that_cannot_be_checked_leave_no_window_open(code: str) -> None:
    parts, account = Parts(), account_with()
    account.fail("describe_instances", code)
    with pytest.raises(CwagentError, match="ec2:DescribeInstances"):
        restore(parts, CHECKED, account)
    assert parts.begun == PARTS


def test_the_associations_of_a_region_are_read_once() -> None:
    parts, account = Parts(), account_with({f"{RESTORE_TAG}:{EU}:i-1": "S"})
    leftovers = replace(CHECKED, instances={EU: ["i-1"], US: ["i-9"]}, unlisted=Listed([], frozenset(), []))
    restore(parts, leftovers, account)
    assert parts.known == {EU: (True, False), US: (False, True)}
    assert account.operations.count("describe_iam_instance_profile_associations") == 2


@pytest.mark.parametrize("failing", [[], ["user u"]])
def test_unlisted_things_are_reported_even_if_a_part_failed(failing: list[str]) -> None:
    leftovers = replace(ALL, instances={EU: ["i-1"], US: []}, unlisted=Listed(["x"], frozenset({"i-1"}), ["S"]))
    if failing:
        with pytest.raises(CwagentError) as caught:
            restore(Parts(failing), leftovers)
        found = caught.value.details
    else:
        found = restore(Parts(), leftovers)
    assert found["unlisted"] == [
        "Users of this collection that no host of this inventory has: w.",
        f"Instances in {US} that are not in this inventory and have instance profile 'S': i-9.",
        "If their servers have left, cwagent.iam.remove_servers with these names removes them.",
    ]


def test_nothing_unlisted_is_reported_unless_requested() -> None:
    assert restore(Parts())["unlisted"] == []


LISTS, BULK = "list_policies", "get_account_authorization_details"


@pytest.mark.parametrize("policy", ["aws", "fitted"])
@pytest.mark.parametrize("denied", [(), (BULK,), (BULK, LISTS)])
def test_the_account_is_read_once_for_everything(denied: tuple[str, ...], policy: str) -> None:
    """If it may not be read, each thing is read alone. The windows are closed even if the policy is not known."""
    parts, account = Parts(), account_with({})
    account.add_role("S", FITTED[0] if policy == "fitted" else SERVER)
    for operation in denied:
        account.fail(operation, "AccessDenied")
    leftovers = replace(ALL, find_server_policy=True, unlisted=Listed(["u", "v"]))
    fails = LISTS in denied or (bool(denied) and policy == "fitted")
    with pytest.raises(CwagentError, match="Or set server_policy") if fails else nullcontext():
        found = restore(parts, leftovers, account)
        assert found["server_policy"] == policy
        assert [each for each in found["unlisted"] if each.endswith("inventory has: w.")] or denied
    assert parts.begun == PARTS[:4]
    again = [BULK] * (fails and LISTS not in denied)
    iam = [each for each in account.operations if not each.startswith(("describe_", "get_caller"))]
    assert iam == [BULK, *(["get_role", LISTS, *again] if denied else [])]


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        ({}, ["User"]),
        ({"admin_role_name": "R"}, ["Role", "User"]),
        ({"find_server_policy": True}, ["Role", "User", "Group"]),
    ],
)
def test_only_kinds_of_principals_that_matter_are_read(more: dict[str, Any], kinds: list[str]) -> None:
    account = account_with({})
    restore(Parts(), replace(ALL, **{"admin_role_name": None, "unlisted": Listed([]), **more}), account)
    [arguments] = [arguments for _region, operation, arguments in account.calls if operation == BULK]
    assert arguments["Filter"] == kinds


@pytest.mark.parametrize(("records", "regions"), [({}, [EU]), (RECORDS, [EU, US]), (None, [EU])])
def test_a_role_that_is_not_in_the_account_is_read_again(records: dict[str, str] | None, regions: list[str]) -> None:
    parts, account = Parts(), account_with(records)
    restore(parts, replace(ALL, unlisted=Listed(["w"])), account)
    assert parts.begun[3:] == regions
    assert account.count("get_role") == (records is None)


@pytest.mark.parametrize("is_read", [True, False])
def test_the_policy_of_a_window_is_known_from_the_account(is_read: bool) -> None:
    account = account_with({})
    account.roles["R"].inline[WINDOW_POLICY] = closed_policy()
    account.users["u"] = Principal(tags=dict(MANAGED), inline={WINDOW_POLICY: closed_policy(), "other": {}})
    account.users["v"] = Principal(tags=dict(MANAGED))
    leftovers = replace(ALL, instances={}, unlisted=Listed(["u", "v", "w"]) if is_read else None)
    found = Restoration(leftovers, lambda region: account.aws(region or EU), check_mode=False, wait=None).run()
    assert not found["changed"]
    of = {"get_role_policy": "RoleName", "get_user_policy": "UserName"}
    read = [arguments[of[operation]] for _region, operation, arguments in account.calls if operation in of]
    assert read == (["v"] if is_read else ["R", "u", "v"])
