from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.executor.playbook_executor import PlaybookExecutor
from hypothesis import given
from hypothesis import strategies as st
from input_runs import EU, inputs_of
from run_accounts import CREATED, DELETED, STEPS, an_account, done

from ansible_collections.cwagent.iam.plugins.plugin_utils._report.accounts import (
    CHECK_AGAIN,
    KEYS_FAILED,
    SERVERS_FAILED,
    Account,
    account_failure,
    account_table,
    report,
    run_stats,
    skip_reason,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.lines import (
    PHASES,
    RETIREMENT_PHASES,
    WIDTH,
    key_hosts,
    retirement_report,
    rotation_report,
    run_report,
    wrap,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.results import (
    OF_ACCOUNT,
    Record,
    account_records,
    failure_reason,
    read_records,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.given import RESTORE

FAILED = {**done("create role R", "delete user U"), "failed": True, "done": []}
HALF_DONE = {**FAILED, **done(create=1), "done": ["create role R"]}
NOTHING = ["Nothing to do."]
ROLE, USERS = "__ec2_server_role_result", "__onprem_server_result"


def records(*results: dict[str, Any]) -> list[Record]:
    """The records in some registered results."""
    return [record for each in results for record in read_records(each)]


@pytest.mark.parametrize(
    ("results", "options", "lines"),
    [
        *((results, {}, NOTHING) for results in ([], [{}, {"steps": []}, {"results": []}], [FAILED])),
        ([{**CREATED, "skipped": True}], {}, NOTHING),
        ([{"skipped": True, "results": [{**DELETED, "skipped": True}]}], {}, NOTHING),
        ([HALF_DONE], {}, ["1 created:", "- create role R"]),
        ([DELETED], {}, ["1 deleted:", "- delete user U"]),
        ([{**DELETED, "counts": {"delete": 1}}], {}, ["1 deleted:", "- delete user U"]),
        (
            [CREATED, {}, {"results": [DELETED, {"skipped": True}, {"results": [DELETED]}]}],
            {},
            ["1 created, 1 updated, 2 deleted:", *STEPS, *["- delete user U"] * 2],
        ),
        # A loop with a failed item is failed itself. The steps of the other items count.
        (
            [{"failed": True, "results": [DELETED, FAILED, HALF_DONE]}],
            {},
            ["1 created, 1 deleted:", "- delete user U", "- create role R"],
        ),
        ([CREATED], {"check_mode": True}, ["1 would be created, 1 would be updated:", *STEPS]),
        ([], {"check_mode": True}, NOTHING),
        ([DELETED], {"notes": ["One.", "Two."]}, ["1 deleted:", "- delete user U", "One.", "Two."]),
        ([], {"notes": ["One."]}, [*NOTHING, "One."]),
    ],
)
def test_the_steps_are_reported_with_their_counts_and_notes_come_last(results, options, lines):
    assert run_report(records(*results), **options) == lines


NO_CHANGES = {"changes": 0, "created": 0, "updated": 0, "deleted": 0, "keys": {}}


@pytest.mark.parametrize(
    ("results", "stats"),
    [
        ([], {}),
        ([{**CREATED, "skipped": True}, FAILED], {}),
        ([CREATED, {"results": [DELETED, HALF_DONE]}], {"changes": 4, "created": 2, "updated": 1, "deleted": 1}),
        (
            [{"rotation": {"a": "due", "b": "current"}}, {"results": [{"rotation": {"c": "due"}}]}],
            {"keys": {"due": 2, "current": 1}},
        ),
        ([{"failed": True, "rotation": {"a": "due"}}], {"keys": {"due": 1}}),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_the_stats_are_counts_only(results, stats, check_mode):
    assert run_stats(records(*results), check_mode=check_mode) == {"check_mode": check_mode, **NO_CHANGES, **stats}


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
    first, second, *rest = run_report(records(done(step, update=1)))[1:]
    assert first.startswith("- save ")
    assert all(line.startswith("  save") for line in [second, *rest])
    assert " ".join(line.strip() for line in [first, second, *rest]) == f"- {step}"


@given(st.lists(st.lists(st.text("abc -", min_size=1, max_size=300))), st.lists(st.text("abc -")), st.booleans())
def test_no_line_is_wider_than_a_terminal(lists, notes, check_mode):
    results = [done(*steps, create=len(steps)) for steps in lists]
    lines = run_report(records(*results), check_mode=check_mode, notes=notes)
    assert lines
    assert all(len(line) <= WIDTH for line in lines)


def test_every_phase_of_a_rotation_is_worded():
    phases = [*reversed(PHASES), "current"]
    results: list[dict[str, Any]] = [{"results": [{"rotation": {phase: phase}} for phase in phases]}, {"skipped": True}]
    lines = rotation_report(records(*results), {}, check_mode=True)
    assert [line.partition(":")[0] for line in lines] == [*PHASES, "Access keys"]
    assert lines[-1] == "Access keys: 1 current, 1 would be replaced, 1 blocked, 4 being replaced."
    assert all(len(line) <= WIDTH for line in lines)


@pytest.mark.parametrize("results", [[], [{}], [{"rotation": {}}]])
def test_without_users_no_keys_are_counted(results):
    assert rotation_report(records(*results), {}, check_mode=False) == []


@pytest.mark.parametrize(
    ("phases", "counts"),
    [
        (["current"], "1 current"),
        (["due"], "1 replaced"),
        (["due", "due", "current"], "1 current, 2 replaced"),
        (["blocked", "deleting", "grace_period"], "1 blocked, 2 being replaced"),
    ],
)
def test_a_new_key_is_counted_as_replaced(phases, counts):
    rotation = {f"user{number}": phase for number, phase in enumerate(phases)}
    assert rotation_report(records({"rotation": rotation}), {}, check_mode=False)[-1] == f"Access keys: {counts}."


@pytest.mark.parametrize(("check_mode", "was"), [(False, "was"), (True, "would be")])
def test_the_report_asks_to_deliver_only_missing_server_keys(check_mode, was):
    results = [{"rotation": {"a": "due", "b": "due", "admin": "due", "c": "current", "old": "deleting"}}]
    created = f"a new access key {was} created"
    assert rotation_report(records(*results), {"a": True, "b": False, "c": True}, check_mode=check_mode) == [
        f"a: {created}, saved and delivered to the server",
        f"b: {created} and saved; deliver it to the server",
        f"admin: {created} and saved",
        f"old: the old access key {was} deleted",
        f"Access keys: 1 current, 3 {'would be ' * check_mode}replaced, 1 being replaced.",
    ]


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
    lines = retirement_report(records(*results), check_mode=False, key_delete_after_days=1)
    assert " ".join(lines) == f"a: {text}"
    assert all(len(line) <= WIDTH for line in lines)
    assert RETIRED.keys() == RETIREMENT_PHASES.keys()


def test_a_user_that_is_kept_at_the_end_of_its_retirement_has_the_reasons():
    blockers = {"a": ["group 'ops'", "SSH key K"], "b": ["access key A"]}
    result = {"retirement": {"a": "deleting", "b": "blocked"}, "blockers": blockers}
    assert retirement_report(records(result), check_mode=False, key_delete_after_days=1) == [
        "b: blocked: access key A",
        "a: the user is kept without an access key: group 'ops', SSH key K",
    ]


@pytest.mark.parametrize(
    ("names", "shown"), [("A", []), ("ABC", ["Servers in eu-1 fetch A, then append B, C, in this order."])]
)
def test_a_configuration_in_several_parameters_is_fetched_in_an_order(names, shown):
    configuration = {"region": "eu-1", "parameters": [{"name": name} for name in names]}
    stored = {**done("store", create=3), "configurations": [configuration]}
    assert run_report(records({"results": [stored]}))[1:] == ["- store", *shown]


# Accounts

RECORD = {**inputs_of(), "requires": []}
OK: dict[str, Any] = {"__cwagent": {**RECORD, "regions": ["eu-central-1", "us-east-1"]}}
REFUSED = {"__cwagent": {"failed": True, "msg": "Host blog: no."}}
DENIED = {"__cwagent_failure": {"msg": "Denied."}}
ENDED = {"__cwagent_restored": {**CREATED, "needs_restore": True}}


@given(st.permutations(sorted(OF_ACCOUNT)))
def test_the_report_reads_registered_names_in_the_order_of_the_run_and_nothing_else(names):
    others = dict.fromkeys(("of_the_user", "__cwagent_failure", "__ec2_of_the_user", "__verify_applied"), CREATED)
    results = {name: {"results": [done(name), {"skipped": True, **DELETED}]} for name in names}
    assert [[*each.steps] for each in account_records({**others, **results})] == [[name] for name in names]


NO_ROLE = {"failed": True, "msg": "No role."}


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (NO_ROLE, "No role."),
        (
            {**NO_ROLE, "results": [NO_ROLE, {"msg": "fine"}, {**NO_ROLE, "msg": "No user."}, NO_ROLE]},
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
        ({**OK, **DENIED}, "Denied."),
        ({**OK, **ENDED}, ""),
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
        Account(
            "shop",
            {
                **OK,
                ROLE: CREATED,
                USERS: {"results": [{"steps": []}, DELETED]},
            },
        ),
        Account("blog", REFUSED),
        Account(
            "wiki",
            {**OK, "__cwagent_failure": NO_ROLE, ROLE: {"steps": [], "failed": True, "done": []}},
        ),
        Account("test", OK, is_finished=False),
        Account("docs", {**OK, **ENDED}),
    ]
    assert account_table(accounts, check_mode=True) == [
        "Check mode: this is what a run would do.",
        "account  regions          created  updated  deleted  unchanged  result",
        "shop     eu-central-1 +1        1        1        1          1  ok",
        "blog                            0        0        0          0  FAILED",
        "wiki     eu-central-1 +1        0        0        0          0  FAILED",
        "test     eu-central-1 +1        0        0        0          0  FAILED",
        "docs     eu-central-1 +1        1        1        0          0  restore first",
        "- blog: Host blog: no.",
        "- wiki: No role.",
        "- test: It was not finished: a task failed, or the host was unreachable.",
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
    [_header, line] = account_table([Account("shop", {"__cwagent": {**RECORD, "regions": regions}})])
    assert line.removeprefix("shop").partition(" 0 ")[0].strip() == shown


NAMES = "abcdef"


def host_in_batches(percentage, sizes, **inputs):
    """A host of an account, whose run goes on while this percentage of accounts in a batch fails."""
    return {"__cwagent": {**OK["__cwagent"], "max_fail_percentage": percentage, "batch_size": sizes, **inputs}}


def reason_to_skip(hosts, name, names, active=NAMES):
    return skip_reason([Account(each, hosts[each], is_finished=each in active) for each in names], name)


def run_accounts(failing, percentage, sizes):
    """The reason why each account failed. The accounts start one after the other, and some of them fail."""
    hosts: dict[str, dict[str, Any]] = dict.fromkeys(NAMES, host_in_batches(percentage, sizes))
    for name in NAMES:
        reason = reason_to_skip(hosts, name, NAMES)
        if reason or name in failing:
            hosts[name] = {**hosts[name], "__cwagent_failure": {"msg": reason or "Denied."}}
    return {name: account_failure(host) for name, host in hosts.items()}


@pytest.mark.parametrize(
    ("sizes", "percentage", "failing", "skipped", "counts"),
    [
        (["100%"], 100, NAMES, "", ""),
        (["1", "100%"], 0, "", "", ""),
        (["1", "100%"], 0, "a", "bcdef", "1 of 1"),
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
    assert run_accounts(failing, percentage, sizes) == {**failed, **dict.fromkeys(skipped, reason)}


@pytest.mark.parametrize("first", [REFUSED, OK])
@pytest.mark.parametrize(("percentage", "is_skipped"), [(49, True), (50, False)])
def test_accounts_that_were_refused_or_lost_count_as_failed(first, percentage, is_skipped):
    hosts = {**dict.fromkeys("bcd", host_in_batches(percentage, ["2"])), "a": first}
    reason = "Skipped: 1 of 2 accounts of a batch failed (cwagent_max_fail_percentage is 49)."
    assert reason_to_skip(hosts, "c", "abcd", active="bcd") == reason * is_skipped


def test_no_account_is_skipped_where_the_batches_consist_of_servers():
    hosts = dict.fromkeys("ab", host_in_batches(0, ["1"], requires=["servers", "apply"]))
    assert reason_to_skip({**hosts, "a": REFUSED}, "b", "ab", active="b") == ""


SIZE = st.integers(1, 9).map(str) | st.integers(1, 100).map("{}%".format)


@given(st.integers(1, 12), st.lists(SIZE, min_size=1, max_size=4), st.data())
def test_batches_of_accounts_equal_ansibles_batches(count, sizes, data):
    names = [f"account{number}" for number in range(count)]
    inventory = SimpleNamespace(get_hosts=lambda _hosts, order: list(names))
    play = SimpleNamespace(hosts=names, order=None, serial=sizes)
    batches = PlaybookExecutor._get_serialized_batches(SimpleNamespace(_inventory=inventory), play)
    failed = data.draw(st.sampled_from(names))
    hosts = dict.fromkeys(names, host_in_batches(0, sizes))
    hosts[failed] = {**hosts[failed], **DENIED}
    skipped = [name for name in names if reason_to_skip(hosts, name, names, names)]
    [position] = [number for number, batch in enumerate(batches) if failed in batch]
    assert skipped == [name for batch in batches[position:] for name in batch]


# Servers

WRITTEN = done("write F", create=1)
REACHED = {"ping": "pong"}
FILES, NODE, SETTINGS = "__onprem_credentials_files", "__hybrid_registration_node", "__hybrid_registration_files"


def a_server(name: Any = "db", reached: Any = REACHED, **results: Any) -> dict[str, Any]:
    """The variables of a server that was reached, or not."""
    return {"inventory_hostname": name, "__cwagent_reached": reached, **results}


LOST = {"unreachable": True}
FAILED_HOST, UNREACHED = a_server(__cwagent_key_failure={"msg": "no key"}), a_server("web", LOST)
UNREACHABLE = ("unreachable", ["db"])


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ({"inventory_hostname": "db", FILES: WRITTEN}, None),  # of a playbook with other tasks
        (a_server(**{FILES: WRITTEN}), ("done", ["db"])),
        (a_server(reached={**LOST, "msg": "timeout"}), UNREACHABLE),
        (a_server(reached={**LOST, "failed": True}), UNREACHABLE),
        # The connection was lost in between, before the task or in it.
        *((a_server(**results), UNREACHABLE) for results in ({}, {FILES: {}}, {FILES: LOST})),
        (a_server(**{NODE: WRITTEN, SETTINGS: LOST}), UNREACHABLE),
        (a_server(reached={"failed": True, "msg": "sudo"}), ("failures", {"db": "sudo"})),
        (FAILED_HOST, ("failures", {"db": "no key"})),
    ],
)
def test_the_outcome_for_the_key_on_a_server(host, place):
    found = key_hosts([host])
    places = ("done", "unreachable", "failures")
    assert [(key, found[key]) for key in places if found[key]] == ([place] if place else [])


KEY_MISSED = "The access key was not delivered to web, which could not be reached."
KEY_LEFT = "The access key is still on web, which could not be reached."


@pytest.mark.parametrize(
    ("is_removal", "missed", "failed"),
    [
        (False, KEY_MISSED, "The access key was not delivered to db: no key"),
        (True, KEY_LEFT, "The access key was not removed from db: no key"),
    ],
)
@pytest.mark.parametrize("accepts_unreachable", [False, True])
def test_a_server_without_its_key_is_named_in_a_sentence(is_removal, accepts_unreachable, missed, failed):
    found = key_hosts([FAILED_HOST, UNREACHED], is_removal=is_removal, accepts_unreachable=accepts_unreachable)
    assert found["problems"] == ([failed] if accepts_unreachable else [missed, failed])
    assert found["notes"][:2] == [missed, failed]
    again = [note.split(" when")[0] for note in found["notes"][2:]]
    assert again == ([] if is_removal else ["Run this playbook again"])
    assert key_hosts([], is_removal=is_removal)["notes"] == []


WITH_RESTART = {"failed": True, "steps": ["write", "restart the agent"]}


@pytest.mark.parametrize(
    ("files", "is_removal", "words"),
    [
        *((files, False, "delivered to db, but a later task failed") for files in (WRITTEN, {**WRITTEN, "steps": []})),
        # The agent was not restarted.
        ({**WITH_RESTART, "not_done": ["restart the agent"]}, False, "delivered to db, but a later task failed"),
        *(
            (files, False, "not delivered to db")
            for files in ({**WRITTEN, "failed": True}, {}, {**WITH_RESTART, "not_done": ["write"]})
        ),
        ({"failed": True, "steps": []}, False, "not delivered to db"),
        (WRITTEN, True, "not removed from db"),
    ],
)
def test_a_failure_after_the_delivery_is_not_called_one_of_the_delivery(files, is_removal, words):
    found = key_hosts([{**FAILED_HOST, FILES: files}], is_removal=is_removal)
    assert found["problems"] == [f"The access key was {words}: no key"]


def test_the_steps_on_a_server_name_it():
    failed = {FILES: {**HALF_DONE, "not_done": ["delete user U"]}, "__cwagent_key_failure": {"msg": "no"}}
    found = key_hosts([a_server(**{FILES: WRITTEN}), a_server(**failed)])
    assert run_report(found["records"]) == ["2 created:", "- write F on db", "- create role R on db"]


AGAIN = "Run this playbook again when this is fixed."
REGISTERED = {"steps": ["register db"]}


@pytest.mark.parametrize(
    ("is_removal", "results", "sentences"),
    [
        (
            False,
            {},
            [
                "The registration was not completed on web, which could not be reached.",
                "The registration of db was not managed: no key",
                AGAIN,
            ],
        ),
        *(
            (False, results, ["could not be reached", "db was registered, but a later task failed: no key", AGAIN])
            for results in ({NODE: REGISTERED}, {NODE: REGISTERED, SETTINGS: {"failed": True, "steps": []}})
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
    notes = key_hosts([{**FAILED_HOST, **results}, UNREACHED], ["db", "web"], is_removal=is_removal)["notes"]
    assert [wanted for wanted, note in zip(sentences, notes, strict=True) if wanted not in note] == []


@pytest.mark.parametrize("names", [[NODE, SETTINGS], [SETTINGS, NODE]])
def test_steps_on_a_server_have_its_name_once_in_the_order_of_the_run(names):
    results = {NODE: REGISTERED, SETTINGS: {"steps": ["set the region"]}}
    expected = {NODE: ["register db"], SETTINGS: ["set the region on db"]}
    found = key_hosts([a_server(**{name: results[name] for name in names})], ["db"])
    assert [[*each.steps] for each in found["records"]] == [expected[name] for name in names]


# The report of a run

SHOP_FAILED = "The work in account shop failed."


def test_the_report_has_the_steps_and_notes():
    variables = {"__cwagent_restored": {"unlisted": ["User U is not listed."]}, ROLE: CREATED}
    account = an_account(variables=variables, servers=[a_server(**{FILES: WRITTEN})], notes=["Nothing was stored."])
    found = report([account], check_mode=False)
    notes = ["Nothing was stored.", "User U is not listed."]
    assert found.lines == ["2 created, 1 updated:", *STEPS, "- write F on db", *notes]
    assert found.stats["changes"] == 3
    assert "failed_accounts" not in found.stats
    assert found.failures == {"localhost": ""}


def test_the_report_says_that_a_check_ended_and_what_to_do():
    account = an_account(variables=ENDED, notes=["Nothing was stored."])
    found = report([account], check_mode=True)
    assert found.lines[1:-1] == [*STEPS, *wrap(CHECK_AGAIN)]
    assert (found.failures, account.has_failed) == ({"localhost": ""}, False)
    restoring = an_account(variables=ENDED, requires=[RESTORE])
    assert report([restoring], check_mode=True).lines[1:] == STEPS


def test_a_step_has_the_host_of_its_instance():
    steps = ["tag instance i-1", "tag instance i-12", "tag instance i-2 of i-1"]
    expected = ["- tag instance web (i-1)", "- tag instance i-12", "- tag instance i-2 of web (i-1)"]
    assert run_report(records({"steps": steps}), hosts={"i-1": "web"})[1:] == expected


def test_the_report_has_a_line_for_each_user_that_is_retired():
    result = {**done("deactivate access key A of user 'a'", update=1), "retirement": {"a": "deactivating"}}
    account = an_account(variables={"__cwagent_retired": result}, key_delete_after_days=7)
    assert report([account], check_mode=True).lines == [
        "1 would be updated:",
        "- deactivate access key A of user 'a'",
        "a: the access key would be deactivated, because its servers are registered with Systems",
        "Manager; the user is deleted 7 days after the last use",
    ]
    assert retirement_report(records(CREATED), check_mode=True, key_delete_after_days=7) == []


def test_the_report_names_application_roles_that_did_not_get_the_policy():
    refused = "Role 'Batch' does not get it."
    result = {**CREATED, "roles_without_access": {"Shop": ["i-1"], "App": ["i-2"]}, "refused_roles": {"Batch": refused}}
    for name, failure in {"localhost": refused, "shop": SHOP_FAILED}.items():
        found = report([an_account(name, variables={ROLE: result})], check_mode=False)
        assert "add the roles to cwagent_attach_to_roles: App, Shop." in " ".join(found.lines)
        assert found.failures == {name: failure}


def test_the_report_of_several_accounts_ends_with_their_table():
    remove = "Remove them with cwagent.iam.remove_servers."
    shop = an_account("shop", variables={ROLE: CREATED, "__cwagent_search": {"unlisted": [remove]}})
    found = report([shop, an_account("blog", variables=DENIED), an_account("wiki")], check_mode=False)
    assert found.lines[:5] == ["shop:", "1 created, 1 updated:", *STEPS, remove]
    assert found.lines[5].startswith("cwagent.iam.remove_servers runs without the group cwagent_accounts")
    assert [line.split()[0] for line in found.lines[-5:]] == ["account", "shop", "blog", "wiki", "-"]
    assert found.stats["failed_accounts"] == 1
    assert found.failures == {"shop": "", "blog": SHOP_FAILED.replace("shop", "blog"), "wiki": ""}


def test_the_keys_of_two_accounts_are_counted_although_their_users_have_the_same_name():
    results = {"shop": {"u": "due"}, "blog": {"u": "current"}, "wiki": {"u": "current"}}
    accounts = [an_account(name, variables={USERS: {"steps": [], "rotation": of}}) for name, of in results.items()]
    assert report(accounts, check_mode=False).stats["keys"] == {"due": 1, "current": 2}


@pytest.mark.parametrize(
    ("account", "failure", "lines"),
    [
        (Account("localhost", {"__cwagent": {"failed": True, "msg": "No region."}}), "No region.", 1),
        (an_account(variables=DENIED), "Denied.", 1),
        (
            an_account(variables={**DENIED, "__cwagent_failed_task": "Do it"}),
            "The task 'Do it' failed.",
            1,
        ),
        (an_account(variables={"__cwagent_rotation_failures": [{"msg": "Denied."}]}), KEYS_FAILED, 1),
        (an_account(servers=[FAILED_HOST]), SERVERS_FAILED, 4),
        (
            an_account(problems=["No x.", "No y."]),
            "No x. No y. What this concerns may not have been cleaned up.",
            1,
        ),
    ],
)
def test_everything_that_failed_fails_the_run_which_never_had_nothing_to_do(account, failure, lines):
    """Reasons that the output has above are not repeated."""
    found = report([account], check_mode=False)
    assert found.failures == {"localhost": failure}
    assert (found.lines[0], len(found.lines)) == ("Nothing was changed.", lines)


@pytest.mark.parametrize(("host", "is_problem"), [(FAILED_HOST, True), (a_server(reached=LOST), False)])
def test_a_server_that_leaves_can_be_off(host, is_problem):
    account = an_account(requires=["removal"], servers=[host])
    assert bool(report([account], check_mode=False).failures["localhost"]) == is_problem


DEADLINE = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("name", "deadline", "check_mode", "sentence"),
    [
        ("localhost", DEADLINE, False, f"adm can write to Parameter Store until {DEADLINE} (UTC)."),
        ("shop", None, True, "i-1 could write to Parameter Store until its instance profile is restored."),
    ],
)
def test_until_when_a_person_can_write(name, deadline, check_mode, sentence):
    opened = {"__store_config_result": {**done("open", update=1), "window": {"deadline": deadline}}}
    who = {"instance_id": "i-1", "storing_host": "adm", "stores": True}
    found = report([an_account(name, ["admin_instance"], opened, **who)], check_mode=check_mode)
    assert sentence in found.lines
    assert found.stats["window_deadline"] == (deadline or "")


def test_without_an_admin_instance_nobody_can_write():
    account = an_account("shop", ["admin_instance"], instance_id="", storing_host="localhost", stores=False)
    assert [line.split()[0] for line in report([account], check_mode=False).lines] == ["account", "shop"]


def test_the_users_whose_key_is_on_all_their_servers_need_no_delivery():
    users = {"db": "a", "web": "b", "old": "b", "registered": "a"}
    place = {"region": EU, "key_region": EU, "deliver": True}
    hosts = {host: {"user": user, "identity": "key", **place} for host, user in users.items()}
    hosts["registered"]["identity"] = "hybrid"
    result = {"results": [{"steps": [], "rotation": {"a": "due", "b": "due"}}]}
    account = an_account(
        requires=["key_store", "rotation"],
        variables={USERS: result},
        servers=[a_server(name, **{FILES: WRITTEN}) for name in ("db", "web")],
        onprem_hosts=hosts,
    )
    assert report([account], check_mode=False).lines[-3:] == [
        "a: a new access key was created, saved and delivered to the server",
        "b: a new access key was created and saved; deliver it to the server",
        "Access keys: 2 replaced.",
    ]


def test_a_check_of_servers_has_its_own_report():
    lines = ["server  agent", "a       ok"]
    checked = {"__verify_checked": {"servers": [1, 2], "failed_hosts": ["a"], "steps": [], "lines": lines}}
    alone = report([an_account(requires=["servers"], variables=checked)], check_mode=False)
    assert (alone.lines, alone.stats["servers"], alone.stats["failed_servers"]) == (lines, 2, 1)
    unread = an_account(requires=["servers"], variables=DENIED)
    assert report([unread], check_mode=False).lines == []
    found = report([an_account(name, ["servers"], checked) for name in ("shop", "blog")], check_mode=False)
    assert found.lines[:6] == ["shop:", *lines, "blog:", *lines]
    assert [line.split()[0] for line in found.lines[6:]] == ["account", "shop", "blog"]
    assert (found.stats["servers"], found.stats["failed_servers"]) == (4, 2)
