from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.executor.playbook_executor import PlaybookExecutor
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.filter.skip_reason import FilterModule
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report import (
    PHASES,
    RETIREMENT_PHASES,
    WIDTH,
    Account,
    account_failure,
    account_table,
    failure_reason,
    key_hosts,
    registered_results,
    report,
    retirement_report,
    rotation_report,
    run_report,
    run_stats,
)

skip_reason = FilterModule().filters()["skip_reason"]
CREATED = {"steps": ["create role R", "attach policy P to R"], "counts": {"create": 1, "update": 1, "delete": 0}}
NOTHING = {"create": 0, "update": 0, "delete": 0}
FAILED = {"failed": True, "steps": ["create role R", "delete user U"], "done": [], "counts": NOTHING}
HALF_DONE = {**FAILED, "done": ["create role R"], "counts": {**NOTHING, "create": 1}}
DELETED = {"steps": ["delete user U"], "counts": {"create": 0, "update": 0, "delete": 1}}


@pytest.mark.parametrize(
    ("results", "lines"),
    [
        ([], ["Nothing to do."]),
        ([{}, {"steps": []}, {"results": []}], ["Nothing to do."]),
        ([{**CREATED, "skipped": True}], ["Nothing to do."]),
        ([FAILED], ["Nothing to do."]),
        ([HALF_DONE], ["1 created:", "- create role R"]),
        ([DELETED], ["1 deleted:", "- delete user U"]),
        ([{"steps": ["delete user U"], "counts": {"delete": 1}}], ["1 deleted:", "- delete user U"]),
        (
            [CREATED, {}, {"results": [DELETED, {"skipped": True}, {"results": [DELETED]}]}],
            [
                "1 created, 1 updated, 2 deleted:",
                "- create role R",
                "- attach policy P to R",
                "- delete user U",
                "- delete user U",
            ],
        ),
        # A loop with a failed item is failed itself. The steps of the other items count.
        (
            [{"failed": True, "results": [DELETED, FAILED, HALF_DONE]}],
            ["1 created, 1 deleted:", "- delete user U", "- create role R"],
        ),
        ([{"skipped": True, "results": [{**DELETED, "skipped": True}]}], ["Nothing to do."]),
    ],
)
def test_the_steps_are_reported_with_their_counts(results, lines):
    assert run_report(results) == lines


@pytest.mark.parametrize(
    ("results", "stats"),
    [
        ([], {"changes": 0, "created": 0, "updated": 0, "deleted": 0, "keys": {}}),
        ([{**CREATED, "skipped": True}, FAILED], {"changes": 0, "created": 0, "updated": 0, "deleted": 0, "keys": {}}),
        (
            [CREATED, {"results": [DELETED, HALF_DONE]}],
            {"changes": 4, "created": 2, "updated": 1, "deleted": 1, "keys": {}},
        ),
        (
            [{"rotation": {"a": "due", "b": "current"}}, {"results": [{"rotation": {"c": "due"}}]}],
            {"changes": 0, "created": 0, "updated": 0, "deleted": 0, "keys": {"due": 2, "current": 1}},
        ),
        (
            [{"failed": True, "rotation": {"a": "due"}}],
            {"changes": 0, "created": 0, "updated": 0, "deleted": 0, "keys": {"due": 1}},
        ),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_the_stats_are_counts_only(results, stats, check_mode):
    assert run_stats(results, check_mode=check_mode) == {"check_mode": check_mode, **stats}


def test_check_mode_reports_the_planned_steps():
    assert run_report([CREATED], check_mode=True)[0] == "1 would be created, 1 would be updated:"
    assert run_report([], check_mode=True) == ["Nothing to do."]


def test_notes_come_last():
    assert run_report([DELETED], notes=["One.", "Two."]) == ["1 deleted:", "- delete user U", "One.", "Two."]
    assert run_report([], notes=["One."]) == ["Nothing to do.", "One."]


def test_a_line_fits_a_terminal_of_100_columns_where_ansible_prints_it():
    """It adds eight columns of indentation, two quotes and a comma."""
    longest = max(map(len, run_report([], notes=["a " * 500])))
    assert longest + len('        "",') <= 100
    assert run_report([], notes=["a" * 44 + " " + "b" * 43])[1:] == ["a" * 44 + " " + "b" * 43]
    assert len(run_report([], notes=["a" * 44 + " " + "b" * 44])[1:]) == 2


@pytest.mark.parametrize("word", ["x" * 200, "-".join(["CloudWatch"] * 20)])
def test_a_name_is_never_broken(word):
    assert run_report([], notes=[f"Saved to {word}."])[1:] == ["Saved to", f"{word}."]


def test_a_long_line_is_continued_under_its_text():
    step = " ".join(["save"] * 30)
    first, *rest = run_report([{"steps": [step], "counts": {"update": 1}}])[1:]
    assert first.startswith("- save ")
    assert rest
    assert all(line.startswith("  save") for line in rest)
    assert " ".join(line.strip() for line in [first, *rest]) == f"- {step}"


@given(st.lists(st.lists(st.text("abc -", min_size=1, max_size=300))), st.lists(st.text("abc -")), st.booleans())
def test_no_line_is_wider_than_a_terminal(lists, notes, check_mode):
    results = [{"steps": steps, "counts": {"create": len(steps)}} for steps in lists]
    lines = run_report(results, check_mode=check_mode, notes=notes)
    assert lines
    assert all(len(line) <= WIDTH for line in lines)


def test_every_phase_of_a_rotation_is_worded():
    results: list[dict[str, Any]] = [
        {"results": [{"rotation": {phase: phase}} for phase in [*reversed(PHASES), "current"]]},
        {"skipped": True},
    ]
    lines = rotation_report(results, {}, check_mode=True)
    assert [line.partition(":")[0] for line in lines] == [*PHASES, f"1 of {len(PHASES) + 1} access keys are current."]
    assert all(len(line) <= WIDTH for line in lines)


@pytest.mark.parametrize("results", [[], [{}], [{"rotation": {}}]])
def test_without_users_no_key_is_current(results):
    assert rotation_report(results, {}, check_mode=False) == ["0 of 0 access keys are current."]


LATER = "the user is deleted 1 day after the last use"
RETIRED = {
    "blocked": "blocked: R",
    "waiting": "the access key is kept until all servers are ready: R",
    "in_use": "waiting until the access key was unused for five hours",
    "deactivating": (
        f"the access key was deactivated, because its servers are registered with Systems Manager; {LATER}"
    ),
    "grace_period": f"the access key is kept, deactivated, for the grace period; {LATER}",
    "deleting": "the user was deleted with its access key",
}


@pytest.mark.parametrize(("phase", "text"), RETIRED.items())
def test_every_phase_of_a_retirement_is_worded(phase, text):
    blockers = {"a": ["R"]} if phase in ("blocked", "waiting") else {}
    results: list[dict[str, Any]] = [
        {"results": [{"retirement": {"a": phase}, "blockers": blockers}]},
        {"retirement": {"b": "deleting"}, "skipped": True},
    ]
    lines = retirement_report(results, check_mode=False, key_retire_after_days=1)
    assert " ".join(lines) == f"a: {text}"
    assert all(len(line) <= WIDTH for line in lines)
    assert RETIRED.keys() == RETIREMENT_PHASES.keys()


def test_a_user_that_is_kept_at_the_end_of_its_retirement_has_the_reasons():
    result = {
        "retirement": {"a": "deleting", "b": "blocked"},
        "blockers": {"a": ["group 'ops'", "SSH key K"], "b": ["access key A"]},
    }
    assert retirement_report([result], check_mode=False, key_retire_after_days=1) == [
        "b: blocked: access key A",
        "a: the user is kept without an access key: group 'ops', SSH key K",
    ]


def test_the_report_has_a_line_for_each_user_that_is_retired():
    result = {
        "steps": ["deactivate access key A of user 'a'"],
        "counts": {"update": 1},
        "retirement": {"a": "deactivating"},
    }
    account = an_account(variables={"__cwagent_retired": result}, key_retire_after_days=7)
    assert report([account], check_mode=True).lines == [
        "1 would be updated:",
        "- deactivate access key A of user 'a'",
        "a: the access key would be deactivated, because its servers are registered with Systems",
        "Manager; the user is deleted 7 days after the last use",
    ]
    assert retirement_report([CREATED], check_mode=True, key_retire_after_days=7) == []


def test_a_configuration_in_several_parameters_is_fetched_in_an_order():
    stored = {"steps": ["store"], "counts": {"create": 3}}
    whole, parts = (
        {**stored, "configurations": [{"region": "eu-1", "parameters": [{"name": name} for name in names]}]}
        for names in (["A"], ["A", "A-2", "A-3"])
    )
    assert run_report([whole])[1:] == ["- store"]
    assert run_report([{"results": [parts]}])[1:] == [
        "- store",
        "Servers in eu-1 fetch A, then append A-2, A-3, in this order.",
    ]
    assert run_report([{**stored, "parameters": []}])[1:] == ["- store"]


# Accounts

OK: dict[str, Any] = {"__cwagent": {"regions": ["eu-central-1", "us-east-1"], "requires": []}}
REFUSED = {"__cwagent": {"failed": True, "msg": "Host blog: no."}}


def test_results_are_found_by_their_steps_in_the_order_in_which_they_were_registered():
    host = {
        "__b": CREATED,
        "__c": {"results": [DELETED]},
        "__d": {"skipped": True},
        "__e": "text",
        "of_the_user": CREATED,
        "__cwagent_failure": CREATED,
        "__a": DELETED,
    }
    assert registered_results(host) == [CREATED, {"results": [DELETED]}, DELETED]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"failed": True, "msg": "No role."}, "No role."),
        (
            {
                "failed": True,
                "msg": "One or more items failed",
                "results": [
                    {"failed": True, "msg": "No role."},
                    {"msg": "fine"},
                    {"failed": True, "msg": "No user."},
                    {"failed": True, "msg": "No role."},
                ],
            },
            "No role. No user.",
        ),
        ({"failed": True, "msg": "All items failed", "results": [{}]}, "All items failed"),
        ({}, "A task failed without a message."),
    ],
)
def test_why_a_task_failed(result, reason):
    assert failure_reason(result) == reason


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (OK, ""),
        ({**OK, "__cwagent_failure": {"msg": "Denied."}}, "Denied."),
        ({**OK, "__cwagent_rotation_failures": [{"msg": "Denied."}, {"msg": "No region."}]}, "Denied. No region."),
        (REFUSED, "Host blog: no."),
        ({}, "It was not started."),
        ({"__cwagent": {"skipped": True, "skip_reason": "Conditional result was False"}}, "It was not started."),
        ({"__cwagent": {"failed": True, "msg": ""}}, "It was not started."),
    ],
)
def test_why_an_account_failed(host, reason):
    assert account_failure(host) == reason


def test_the_table_of_accounts_has_a_line_for_each_and_the_reasons_of_failures():
    accounts = [
        Account("shop", {**OK, "__role": CREATED, "__user": {"results": [{"steps": []}, DELETED]}}),
        Account("blog", REFUSED),
        Account(
            "wiki",
            {**OK, "__cwagent_failure": {"msg": "No role."}, "__role": {"steps": [], "failed": True, "done": []}},
        ),
    ]
    assert account_table(accounts, check_mode=True) == [
        "Check mode: this is what a run would do.",
        "account  regions          created  updated  deleted  unchanged  result",
        "shop     eu-central-1 +1        1        1        1          1  ok",
        "blog                            0        0        0          0  FAILED",
        "wiki     eu-central-1 +1        0        0        0          0  FAILED",
        "- blog: Host blog: no.",
        "- wiki: No role.",
    ]


def test_the_table_of_accounts_fits_a_terminal_and_is_aligned():
    accounts = [
        Account("a-name-of-thirty-characters-xx", OK),
        Account("b", {**OK, "__cwagent_failure": {"msg": "word " * 60}}),
    ]
    header, *lines = account_table(accounts)
    assert lines[0].startswith("a-name-of-thirty-charac…  ")
    assert all(len(line) <= WIDTH for line in (header, *lines))
    assert {line.index("ok" if "ok" in line else "FAILED") for line in lines[:2]} == {header.index("result")}


@pytest.mark.parametrize(
    ("regions", "shown"), [([], ""), (["eu-1"], "eu-1"), (["eu-1", "us-1"], "eu-1 +1"), (["a", "b", "c"], "a +2")]
)
def test_the_table_has_the_first_region_and_the_number_of_the_others(regions, shown):
    [_header, line] = account_table([Account("shop", {"__cwagent": {"regions": regions, "requires": []}})])
    assert line.removeprefix("shop").partition(" 0 ")[0].strip() == shown


def test_an_account_that_a_task_left_unreachable_is_not_finished():
    assert account_table([Account("shop", OK), Account("blog", OK, is_finished=False)])[1:] == [
        "shop     eu-central-1 +1        0        0        0          0  ok",
        "blog     eu-central-1 +1        0        0        0          0  FAILED",
        "- blog: It was not finished: a task failed, or the host was unreachable.",
    ]


NAMES = "abcdef"


def host_with_percentage(percentage):
    """A host of an account, whose run goes on while this percentage of accounts fails."""
    return {"__cwagent": {**OK["__cwagent"], "max_fail_percentage": percentage}}


def run_accounts(failing, percentage, sizes):
    """The reason why each account failed. The accounts start one after the other, and some of them fail."""
    hosts: dict[str, dict[str, Any]] = dict.fromkeys(NAMES, host_with_percentage(percentage))
    for name in NAMES:
        reason = skip_reason(hosts, name, NAMES, NAMES, sizes)
        if reason or name in failing:
            hosts[name] = {**hosts[name], "__cwagent_failure": {"msg": reason or "Denied."}}
    return {name: account_failure(host) for name, host in hosts.items()}


@pytest.mark.parametrize(
    ("sizes", "percentage", "failing", "skipped", "counts"),
    [
        (["100%"], 100, NAMES, "", ""),
        (["1"], 100, NAMES, "", ""),
        (["1", "100%"], 0, "", "", ""),
        (["1", "100%"], 0, "a", "bcdef", "1 of 1"),
        (["1", "100%"], 100, "a", "", ""),
        (["1", "50%", "100%"], 0, "b", "cdef", "1 of 3"),
        (["1", "50%", "100%"], 32, "d", "ef", "1 of 3"),
        (["1", "50%", "100%"], 34, "d", "", ""),
        (["1", "50%", "100%"], 34, "cd", "ef", "2 of 3"),
        (["2"], 50, "ace", "", ""),  # half of all, and no more of any batch
        (["2"], 49, "ce", "def", "1 of 2"),
        (["2", "1"], 50, "ac", "def", "1 of 1"),
        (["3"], 50, "bc", "def", "2 of 3"),  # a third of all, and more of a batch
        (["100%"], 0, "c", "def", "1 of 6"),
        (["100%"], 34, "abc", "def", "3 of 6"),
        (["10%"], 0, "b", "cdef", "1 of 1"),  # a share is one account at least
    ],
)
def test_accounts_are_skipped_when_too_many_of_a_batch_failed(sizes, percentage, failing, skipped, counts):
    """The reason has the counts of the batch that failed, however many accounts were skipped since."""
    reason = f"Skipped: {counts} accounts of a batch failed (cwagent_max_fail_percentage is {percentage})."
    failed = {name: "Denied." if name in failing and name not in skipped else "" for name in NAMES}
    assert run_accounts(failing, percentage, sizes) == {
        **failed,
        **dict.fromkeys(skipped, reason),
    }


def test_accounts_that_were_refused_or_lost_count_as_failed():
    for first, active in ((REFUSED, "bcd"), (OK, "bcd")):
        found = [
            skip_reason(
                {**dict.fromkeys("bcd", host_with_percentage(percentage)), "a": first},
                "c",
                "abcd",
                active,
                ["2"],
            )
            for percentage in (49, 50)
        ]
        assert found == ["Skipped: 1 of 2 accounts of a batch failed (cwagent_max_fail_percentage is 49).", ""]


SIZE = st.integers(1, 9).map(str) | st.integers(1, 100).map("{}%".format)


@given(st.integers(1, 12), st.lists(SIZE, min_size=1, max_size=4), st.data())
def test_batches_of_accounts_equal_ansibles_batches(count, sizes, data):
    names = [f"account{number}" for number in range(count)]
    inventory = SimpleNamespace(get_hosts=lambda _hosts, order: list(names))
    play = SimpleNamespace(hosts=names, order=None, serial=sizes)
    batches = PlaybookExecutor._get_serialized_batches(SimpleNamespace(_inventory=inventory), play)
    failed = data.draw(st.sampled_from(names))
    hosts = dict.fromkeys(names, host_with_percentage(0))
    hosts[failed] = {**hosts[failed], "__cwagent_failure": {"msg": "Denied."}}
    skipped = [name for name in names if skip_reason(hosts, name, names, names, sizes)]
    [position] = [number for number, batch in enumerate(batches) if failed in batch]
    assert skipped == [name for batch in batches[position:] for name in batch]


@pytest.mark.parametrize(("check_mode", "was"), [(False, "was"), (True, "would be")])
def test_the_report_asks_to_deliver_only_missing_server_keys(check_mode, was):
    results = [{"rotation": {"a": "due", "b": "due", "admin": "due", "c": "current", "old": "deleting"}}]
    created = f"a new access key {was} created"
    assert rotation_report(results, {"a": True, "b": False, "c": True}, check_mode=check_mode) == [
        f"a: {created}, saved and delivered to the server",
        f"b: {created} and saved; deliver it to the server",
        f"admin: {created} and saved",
        f"old: the old access key {was} deleted",
        "1 of 5 access keys are current.",
    ]


WRITTEN = {"changed": True, "steps": ["write F"], "counts": {"create": 1, "update": 0, "delete": 0}}
REACHED = {"ping": "pong"}


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"__onprem_credentials_files": WRITTEN}, None),  # of a playbook with other tasks
        ({"__cwagent_reached": REACHED, "__onprem_credentials_files": WRITTEN}, ("done", ["db"])),
        ({"__cwagent_reached": {"unreachable": True, "msg": "timeout"}}, ("unreachable", ["db"])),
        ({"__cwagent_reached": {"unreachable": True, "failed": True}}, ("unreachable", ["db"])),
        # The connection was lost in between, before the task or in it.
        ({"__cwagent_reached": REACHED}, ("unreachable", ["db"])),
        ({"__cwagent_reached": REACHED, "__onprem_credentials_files": {}}, ("unreachable", ["db"])),
        ({"__cwagent_reached": REACHED, "__onprem_credentials_files": {"unreachable": True}}, ("unreachable", ["db"])),
        (
            {
                "__cwagent_reached": REACHED,
                "__hybrid_registration_node": WRITTEN,
                "__hybrid_registration_files": {"unreachable": True},
            },
            ("unreachable", ["db"]),
        ),
        ({"__cwagent_reached": {"failed": True, "msg": "sudo"}}, ("failures", {"db": "sudo"})),
        ({"__cwagent_reached": REACHED, "__cwagent_key_failure": {"msg": "no key"}}, ("failures", {"db": "no key"})),
    ],
)
def test_the_outcome_for_the_key_on_a_server(variables, place):
    found = key_hosts([{"inventory_hostname": "db", **variables}])
    places = ("done", "unreachable", "failures")
    assert [(key, found[key]) for key in places if found[key]] == ([place] if place else [])


FAILED_HOST = {"inventory_hostname": "db", "__cwagent_reached": REACHED, "__cwagent_key_failure": {"msg": "no key"}}
UNREACHED = {"inventory_hostname": "web", "__cwagent_reached": {"unreachable": True}}


@pytest.mark.parametrize(
    ("is_removal", "sentences"),
    [
        (
            False,
            ["The access key was not delivered to web, which could not be reached.", "was not delivered to db: no key"],
        ),
        (True, ["The access key is still on web, which could not be reached.", "was not removed from db: no key"]),
    ],
)
@pytest.mark.parametrize("accepts_unreachable", [False, True])
def test_a_server_without_its_key_is_named_in_a_sentence(is_removal, accepts_unreachable, sentences):
    missed, failed = sentences[0], f"The access key {sentences[1]}"
    found = key_hosts([FAILED_HOST, UNREACHED], is_removal=is_removal, accepts_unreachable=accepts_unreachable)
    assert found["problems"] == ([failed] if accepts_unreachable else [missed, failed])
    assert found["notes"][:2] == [missed, failed]
    assert [note.split(" when")[0] for note in found["notes"][2:]] == (
        [] if is_removal else ["Run this playbook again"]
    )
    assert key_hosts([], is_removal=is_removal)["notes"] == []


@pytest.mark.parametrize(
    ("files", "is_removal", "expected"),
    [
        (WRITTEN, False, "The access key was delivered to db, but a later task failed: no key"),
        ({**WRITTEN, "steps": []}, False, "The access key was delivered to db, but a later task failed: no key"),
        ({**WRITTEN, "failed": True}, False, "The access key was not delivered to db: no key"),
        ({}, False, "The access key was not delivered to db: no key"),
        (WRITTEN, True, "The access key was not removed from db: no key"),
    ],
)
def test_a_failure_after_the_delivery_is_not_called_one_of_the_delivery(files, is_removal, expected):
    found = key_hosts([{**FAILED_HOST, "__onprem_credentials_files": files}], is_removal=is_removal)
    assert found["problems"] == [expected]


def test_the_steps_on_a_server_name_it():
    failed = {
        "__onprem_credentials_files": {**HALF_DONE, "not_done": ["delete user U"]},
        "__cwagent_key_failure": {"msg": "no"},
    }
    host = {"inventory_hostname": "db", "__cwagent_reached": REACHED}
    found = key_hosts([{**host, "__onprem_credentials_files": WRITTEN}, {**host, **failed}])
    assert run_report(found["results"]) == ["2 created:", "- write F on db", "- create role R on db"]


# The report of a run

SITE = ["key_store"]


def an_account(name="localhost", requires=SITE, variables=None, servers=(), **inputs):
    """An account with the input of a run; a host of the inventory stands for any but localhost."""
    groups = {} if name == "localhost" else {"cwagent_accounts": [name]}
    typed = {"regions": ["eu-1"], "requires": requires, "problems": [], **inputs}
    return Account(name, {"groups": groups, "__cwagent": typed, **(variables or {})}, servers)


def test_the_report_has_the_steps_and_notes():
    server = {"inventory_hostname": "db", "__cwagent_reached": REACHED, "__onprem_credentials_files": WRITTEN}
    restored = {"unlisted": ["User U is not listed."]}
    account = an_account(
        variables={"__cwagent_restored": restored, "__role": CREATED}, servers=[server], notes=["Nothing was stored."]
    )
    found = report([account], check_mode=False)
    assert found.lines == [
        "2 created, 1 updated:",
        "- create role R",
        "- attach policy P to R",
        "- write F on db",
        "Nothing was stored.",
        "User U is not listed.",
    ]
    assert found.stats["changes"] == 3
    assert "failed_accounts" not in found.stats
    assert found.failures == {"localhost": ""}


def test_a_failed_run_without_a_change_does_not_report_nothing_to_do():
    found = report([an_account("localhost", variables={"__cwagent_failure": {"msg": "Denied."}})], check_mode=False)
    assert found.lines == ["Nothing was changed."]


def test_the_report_names_application_roles_that_did_not_get_the_policy():
    refused = "Role 'Batch' does not get it."
    result = {**CREATED, "roles_without_access": {"Shop": ["i-1"], "App": ["i-2"]}, "refused_roles": {"Batch": refused}}
    for name, failure in {"localhost": refused, "shop": f"The work in account shop failed: {refused}"}.items():
        found = report([an_account(name, variables={"__role": result})], check_mode=False)
        assert "add the roles to cwagent_attach_to_roles: App, Shop." in " ".join(found.lines)
        assert found.failures == {name: failure}


def test_the_report_of_several_accounts_ends_with_their_table():
    remove = "Remove them with cwagent.iam.remove_servers."
    shop = an_account("shop", variables={"__role": CREATED, "__cwagent_search": {"unlisted": [remove]}})
    blog = an_account("blog", variables={"__cwagent_failure": {"msg": "Denied."}})
    found = report([shop, blog, an_account("wiki")], check_mode=False)
    assert found.lines[:5] == ["shop:", "1 created, 1 updated:", "- create role R", "- attach policy P to R", remove]
    assert found.lines[5].startswith("cwagent.iam.remove_servers runs without the group cwagent_accounts")
    assert [line.split()[0] for line in found.lines[-5:]] == ["account", "shop", "blog", "wiki", "-"]
    assert found.stats["failed_accounts"] == 1
    assert found.failures == {"shop": "", "blog": "The work in account blog failed: Denied.", "wiki": ""}


def test_the_keys_of_two_accounts_are_counted_although_their_users_have_the_same_name():
    results = {"shop": {"u": "due"}, "blog": {"u": "current"}, "wiki": {"u": "current"}}
    accounts = [an_account(name, variables={"__keys": {"steps": [], "rotation": of}}) for name, of in results.items()]
    assert report(accounts, check_mode=False).stats["keys"] == {"due": 1, "current": 2}


@pytest.mark.parametrize(
    ("account", "failure"),
    [
        (Account("localhost", {"__cwagent": {"failed": True, "msg": "No region."}}), "No region."),
        (an_account(variables={"__cwagent_failure": {"msg": "Denied."}}), "Denied."),
        (
            an_account(variables={"__cwagent_failure": {"msg": "Denied."}, "__cwagent_failed_task": "Do it"}),
            "The task 'Do it' failed: Denied.",
        ),
        (an_account(servers=[FAILED_HOST]), "The access key was not delivered to db: no key"),
        (
            an_account(variables={"__cwagent": {"requires": [], "problems": ["No x.", "No y."]}}),
            "No x. No y. What this concerns may not have been cleaned up.",
        ),
    ],
)
def test_everything_that_failed_fails_the_run(account, failure):
    found = report([account], check_mode=False)
    assert found.failures == {"localhost": failure}


@pytest.mark.parametrize(("reached", "problems"), [(REACHED, True), ({"unreachable": True}, False)])
def test_a_server_that_leaves_can_be_off(reached, problems):
    host = {**FAILED_HOST, "__cwagent_reached": reached}
    if not problems:
        del host["__cwagent_key_failure"]
    account = an_account(requires=["removal"], servers=[host])
    assert bool(report([account], check_mode=False).failures["localhost"]) == problems


@pytest.mark.parametrize(
    ("name", "deadline", "check_mode", "sentence"),
    [
        (
            "localhost",
            "2026-01-01T00:00:00Z",
            False,
            "adm can write to Parameter Store until 2026-01-01T00:00:00Z (UTC).",
        ),
        ("shop", None, True, "i-1 could write to Parameter Store until its instance profile is restored."),
    ],
)
def test_until_when_a_person_can_write(name, deadline, check_mode, sentence):
    opened = {"steps": ["open"], "counts": {"update": 1}, "window": {"deadline": deadline}}
    account = an_account(
        name,
        ["admin_instance"],
        {"__store_config_result": opened},
        admin_instance="i-1",
        storing_host="adm",
        stores=True,
    )
    found = report([account], check_mode=check_mode)
    assert sentence in found.lines
    assert found.stats["window_deadline"] == (deadline or "")


@pytest.mark.parametrize(
    ("is_removal", "results", "sentences"),
    [
        (
            False,
            {},
            [
                "The registration was not completed on web, which could not be reached.",
                "The registration of db was not managed: no key",
                "Run this playbook again when this is fixed.",
            ],
        ),
        (
            False,
            {"__hybrid_registration_node": {"steps": ["register db"]}},
            ["could not be reached", "db was registered, but a later task failed: no key", "Run this playbook again"],
        ),
        (
            True,
            {},
            [
                "The agent's settings are still on web, which could not be reached.",
                "The registration was not removed from db: no key",
            ],
        ),
    ],
)
def test_hybrid_servers_that_failed_or_were_not_reached(is_removal, results, sentences):
    found = key_hosts([{**FAILED_HOST, **results}, UNREACHED], ["db", "web"], is_removal=is_removal)
    assert len(found["notes"]) == len(sentences)
    assert [wanted for wanted, note in zip(sentences, found["notes"], strict=True) if wanted not in note] == []


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"failed": True, "steps": ["write", "restart the agent"], "not_done": ["restart the agent"]},
            "delivered to db,",
        ),
        ({"failed": True, "steps": ["write", "restart the agent"], "not_done": ["write"]}, "not delivered to db:"),
        ({"failed": True, "steps": []}, "not delivered to db:"),
    ],
)
def test_a_key_is_delivered_although_the_agent_was_not_restarted(files, sentence):
    found = key_hosts([{**FAILED_HOST, "__onprem_credentials_files": {"failed": True, **files}}])
    assert sentence in found["notes"][0]


def test_a_server_is_registered_although_its_settings_could_not_be_changed():
    node, files = {"steps": ["register db"]}, {"failed": True, "steps": []}
    results = {"__hybrid_registration_node": node, "__hybrid_registration_files": files}
    assert key_hosts([{**FAILED_HOST, **results}], ["db"])["notes"][0].startswith("db was registered, but a later task")


def test_steps_on_a_server_have_its_name_once_in_the_order_of_the_run():
    host = {"inventory_hostname": "db", "__cwagent_reached": REACHED}
    node, files = {"steps": ["register db"]}, {"steps": ["set the region"]}
    results = {"__hybrid_registration_node": node, "__hybrid_registration_files": files}
    found = key_hosts([{**host, **results}], ["db"])
    assert [each["steps"] for each in found["results"]] == [["register db"], ["set the region on db"]]
    back = key_hosts([{**host, **dict(reversed(results.items()))}], ["db"])
    assert [each["steps"] for each in back["results"]] == [["set the region on db"], ["register db"]]


def test_the_users_whose_key_is_on_all_their_servers_need_no_delivery():
    users = {"db": "a", "web": "b", "old": "b", "registered": "a"}
    hosts = {host: {"user": user, "identity": "key"} for host, user in users.items()}
    hosts["registered"]["identity"] = "hybrid"
    delivered = [
        {"inventory_hostname": name, "__cwagent_reached": REACHED, "__onprem_credentials_files": WRITTEN}
        for name in ("db", "web")
    ]
    result = {"results": [{"steps": [], "rotation": {"a": "due", "b": "due"}}]}
    account = an_account(
        requires=["key_store", "rotation"],
        variables={"__onprem_server_result": result},
        servers=delivered,
        onprem_hosts=hosts,
    )
    assert report([account], check_mode=False).lines[-3:] == [
        "a: a new access key was created, saved and delivered to the server",
        "b: a new access key was created and saved; deliver it to the server",
        "0 of 2 access keys are current.",
    ]


def test_unapplied_configurations_are_reported():
    hosts = [
        {"inventory_hostname": "a", "__verify_applied": CREATED, "__verify_applied_by_command": DELETED},
        {
            "inventory_hostname": "b",
            "__cwagent_apply_failure": {"msg": "No agent."},
            "__verify_applied_by_command": DELETED,
        },
        {"inventory_hostname": "c"},
    ]
    account = an_account(
        requires=["servers", "one_account"],
        variables={"__verify_checked": {"apply_notes": ["d is stopped."]}},
        servers=hosts,
        max_fail_percentage=0,
    )
    account.inputs["servers"] = [{"host": name} for name in "abc"]
    found = report([account], check_mode=False)
    failed = "The configuration was not applied on b: No agent."
    skipped = "Skipped, because more servers of a batch failed than cwagent_max_fail_percentage allows (0 %): c."
    assert found.failures == {"localhost": f"{failed} {skipped}"}
    assert found.stats["changes"] == 3
    assert " ".join(found.lines).endswith(f"{failed} {skipped} d is stopped.")


def test_a_check_of_servers_has_its_own_report():
    checked = {"__verify_checked": {"servers": [1, 2], "failed_hosts": ["a"], "steps": []}}
    assert report([an_account(requires=["servers"], variables=checked)], check_mode=False).lines == []
    of_two = [an_account("shop", ["servers"], checked), an_account("blog", ["servers"], checked)]
    found = report(of_two, check_mode=False)
    assert [line.split()[0] for line in found.lines] == ["account", "shop", "blog"]
    assert (found.stats["servers"], found.stats["failed_servers"]) == (4, 2)


def test_without_an_admin_instance_nobody_can_write():
    account = an_account("shop", ["admin_instance"], admin_instance="", storing_host="localhost", stores=False)
    assert [line.split()[0] for line in report([account], check_mode=False).lines] == ["account", "shop"]


def test_where_all_was_applied_nothing_more_is_reported():
    account = an_account(
        requires=["servers", "one_account"], servers=[{"inventory_hostname": "a", "__verify_applied": CREATED}]
    )
    account.inputs["servers"] = [{"host": "a"}]
    found = report([account], check_mode=False)
    assert found.failures == {"localhost": ""}
    assert found.lines[1:] == ["- create role R", "- attach policy P to R"]
