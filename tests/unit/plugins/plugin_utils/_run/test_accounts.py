"""Accounts that are hosts of the inventory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from input_runs import (
    ADMIN,
    EU,
    NOPE,
    PATTERN,
    ROLE,
    US,
    VALID,
    WEB,
    an_account,
    assert_problem,
    default_of,
    inputs_of,
    interpreted,
    problems_of,
)

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.accounts import (
    ACCOUNT_VARIABLES,
    FILTERS,
    PREFIX,
    account_of,
    found_line,
)

OTHER_ID = "210987654321"


def test_an_account_has_its_own_credentials_regions_and_folder_of_keys():
    own = {"cwagent_account_aws_profile": "s", "cwagent_account_regions": [EU, US]}
    groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["db"]}
    hosts = {"web": {**WEB, "cwagent_region": US}}
    inputs = inputs_of(an_account({**own, "cwagent_key_store_directory": "/keys/"}, groups, hosts))
    assert inputs["account"] == {
        **{name.removeprefix(PREFIX): default_of(name) for name in ACCOUNT_VARIABLES},
        **{name.removeprefix(PREFIX): value for name, value in own.items()},
        "host": "shop",
        "admin_required": False,
        "is_valid": True,
    }
    assert inputs["instances"] == {US: [WEB["instance_id"]], EU: [ADMIN["instance_id"]]}
    assert (inputs["region"], inputs["key_store_directory"]) == (EU, "/keys/shop")
    assert inputs["store_config_from"] == "run_command"


def test_the_default_region_of_an_account_comes_from_its_profile():
    run = an_account({"cwagent_account_aws_profile": "s"}, find_default_region={"s": EU, "": US}.get)
    assert interpreted(run)[0]["region"] == EU


SESSION = {
    "duration": "it must be between 900 and 43200 seconds.",
    "name": "it must have 2 to 64 letters, digits or characters of +=,.@_-.",
}


@pytest.mark.parametrize(
    ("option", "value", "refused"),
    [
        *(("duration", value, None) for value in (900, 43200)),
        *(("name", value, None) for value in ("a_", "+=,.@-_9" * 8)),
        *(("duration", value, str(value)) for value in (899, 43201)),
        ("name", "x", "'x'"),
        ("name", "x" * 65, f"'{'x' * 60}...'"),
    ],
)
def test_a_session_is_as_short_and_as_long_as_aws_allows(option, value, refused):
    name = f"cwagent_account_session_{option}"
    inputs, problems = interpreted(an_account({name: value}))
    assert inputs["account"][f"session_{option}"] == value
    assert problems == ([f"Host shop: {name} is {refused}; {SESSION[option]}"] if refused else [])


@pytest.mark.parametrize("source", ["run_command", "controller"])
def test_the_host_of_an_account_stores_for_its_admin_instance(source):
    account = {"cwagent_config_file": "a.json", "cwagent_store_config_from": source}
    inputs = inputs_of(an_account(account, hosts={"adm": {**ADMIN, "cwagent_region": EU}}))
    assert (inputs["stores"], inputs["storing_host"]) == (True, "localhost")
    assert (inputs["instance_id"], inputs["collect_hosts"]) == (ADMIN["instance_id"], [])


@pytest.mark.parametrize("source", ["instance", "auto", "onprem"])
def test_nothing_that_needs_a_connection_stores_for_an_account(source):
    assert problems_of(an_account({"cwagent_store_config_from": source}))[0] == (
        f"cwagent_store_config_from is {source}. With the group cwagent_accounts it must be one of run_command, "
        "controller, which need no connection to a host."
    )


FOUND: dict[str, Any] = {
    "instances": {EU: ["i-0123456789abcdef2", "i-0123456789abcdef3"]},
    "admin_instance": {"region": US, "instance_id": "i-0123456789abcdef4"},
}
NONE_FOUND = {"instances": {}, "admin_instance": None}
FILTERED = {"cwagent_account_server_filters": {"tag:agent": "yes"}, "cwagent_config_file": "a.json"}


def test_instances_that_were_found_count_like_hosts():
    inputs = inputs_of(an_account(FILTERED, {}, found=FOUND, limit={"shop"}))
    assert inputs["instances"] == {**FOUND["instances"], US: ["i-0123456789abcdef4"]}
    assert (inputs["regions"], inputs["storing_region"]) == ([EU, US], US)
    assert inputs["instance_id"] == "i-0123456789abcdef4"
    assert [each["host"] for each in inputs["servers"]] == [*FOUND["instances"][EU], "i-0123456789abcdef4"]


NO_ADMIN = "For account shop, set cwagent_account_admin_instance_id or"
NO_SERVERS = "Account shop has no servers: no host of the inventory in one of the groups "
WEB_ONLY = {"ec2_servers": ["web"]}


@pytest.mark.parametrize(
    ("account", "groups", "more", "problem"),
    [
        *((FILTERED, {}, {"requires": requires}, "") for requires in ((), ("servers",))),
        *((FILTERED, {}, {"found": NONE_FOUND, "requires": requires}, "") for requires in ((), ("servers",))),
        # Missing variables of an account are known once instances are found.
        (FILTERED, {}, {"found": {**FOUND, "admin_instance": None}}, NO_ADMIN),
        (FILTERED, {}, {"found": {**FOUND, "admin_instance": None}, "requires": ("servers",)}, ""),
        # An account without servers is a problem unless they are found, or nothing is done to them.
        ({}, {}, {}, NO_SERVERS),
        ({}, {}, {"requires": ["audit"]}, ""),
        # An account that stores nothing needs no admin instance.
        ({}, WEB_ONLY, {}, ""),
        ({"cwagent_config_file": "a"}, WEB_ONLY, {}, "must have exactly one host"),
        (
            {"cwagent_account_id": OTHER_ID, "cwagent_account_assume_role_arn": ROLE},
            None,
            {},
            f"_assume_role_arn is a role of account 123456789012, but cwagent_account_id is {OTHER_ID}.",
        ),
        (
            {"cwagent_account_admin_instance_id": ADMIN["instance_id"], "cwagent_account_admin_filters": {"a": "b"}},
            None,
            {},
            "_admin_instance_id and cwagent_account_admin_filters are both set. Set one of them.",
        ),
        (
            {},
            None,
            {"requires": ["servers", "one_account"]},
            "This playbook works in one account, and the inventory has",
        ),
    ],
)
def test_accounts_that_lack_something_or_contradict_themselves(account, groups, more, problem):
    assert_problem(an_account(account, groups, **more), problem)


def test_a_playbook_for_one_account_works_with_the_controllers():
    assert problems_of(requires=["servers", "one_account"]) == []


@pytest.mark.parametrize(
    ("account", "is_known"),
    [
        ({}, False),
        ({"cwagent_account_aws_profile": "own"}, True),
        ({"cwagent_account_assume_role_arn": ROLE}, True),
        ({"cwagent_account_id": "123456789012"}, True),
        ({"cwagent_account_external_id": "x", "cwagent_account_regions": [EU]}, False),
    ],
)
def test_an_unknown_account_is_not_the_controllers_account(account, is_known):
    problem = (
        "Host shop: set cwagent_account_assume_role_arn or cwagent_account_aws_profile. For the account of the "
        "controller's own credentials, set cwagent_account_id."
    )
    assert problems_of(an_account({"cwagent_account_aws_profile": "", **account})) == [problem] * (not is_known)


@pytest.mark.parametrize("value", ["", None, "other", ["shop"], NOPE])
@pytest.mark.parametrize("in_awx", [False, True])
def test_a_server_of_no_account_is_a_problem(value, in_awx):
    [problem] = problems_of(an_account(unassigned={"web1": value}, in_awx=in_awx))
    assert problem.startswith("Host web1: cwagent_account ")
    assert ("slice" in problem) == (in_awx and value is not NOPE)


@pytest.mark.parametrize("accounts", [(), ("shop", "blog")])
@pytest.mark.parametrize("value", ["shop", " shop ", "", None, 5, ["shop"], NOPE])
def test_the_account_of_a_server(value, accounts):
    is_named = isinstance(value, str) and value.strip() == "shop" and accounts
    assert account_of(value, accounts) == ("shop" if is_named else "")


BY_ID, BY_OTHER_ID = {"cwagent_account_id": "123456789012"}, {"cwagent_account_id": OTHER_ID}
BY_PROFILE = {"cwagent_account_aws_profile": "a"}


@pytest.mark.parametrize(
    ("own", "other", "is_same"),
    [
        (BY_ID, BY_ID, True),
        (BY_ID, {"cwagent_account_assume_role_arn": ROLE}, True),
        (BY_ID, BY_OTHER_ID, False),
        (BY_PROFILE, BY_PROFILE, False),
    ],
)
def test_two_hosts_for_one_account_are_a_problem(own, other, is_same):
    problem = "The hosts blog and shop of the group cwagent_accounts are the same account 123456789012. Remove one of "
    assert_problem(an_account(own, others={"blog": other}), problem * is_same)
    assert problems_of(an_account(own, others={"blog": other}, requires=["audit"])) == []


@pytest.mark.parametrize("name", FILTERS)
def test_instances_are_found_in_accounts_only(name):
    problem = f"{name} needs the group cwagent_accounts, in which each host stands for an account."
    assert problems_of(controller={name: VALID[name]}) == [problem]


@pytest.mark.parametrize("requires", [(), ("servers",), ("audit",), ("configs_only",)])
@pytest.mark.parametrize("group", ["ec2_servers", "onprem_servers"])
def test_the_controllers_account_never_replaces_the_account_of_a_server(group, requires):
    problems = problems_of({group: ["web"]}, {"web": {**WEB, "cwagent_account": "shop"}}, requires=requires)
    words = "Host web has cwagent_account, but the group cwagent_accounts has no hosts."
    assert any(problem.startswith(words) for problem in problems) == ("configs_only" not in requires)


@pytest.mark.parametrize("value", [True, None, {"a": "b"}, ["yes", False], [["yes"]]])
@pytest.mark.parametrize("name", ["cwagent_account_server_filters", "cwagent_account_admin_filters"])
def test_a_filter_whose_value_is_no_text_would_match_nothing(name, value):
    problem = f"Host shop: {name}: the value of tag:agent must be text, or a list of it. Put it in quotes."
    assert problems_of(an_account({name: {"tag:agent": value}})) == [problem]
    assert problems_of(an_account({name: {"tag:agent": ["yes", 5]}})) == []


PATTERNS = ["Shop Production", "shop,blog", "shop:blog", "!shop", "&shop", "~shop", "shop*", "shop[1]", "shop?"]
OTHER_NAMES = ["shop", "Shop_1.example-org", "2001:db8::1", "123456789012", "münchen"]


@pytest.mark.parametrize("name", [*PATTERNS, *OTHER_NAMES])
def test_only_an_account_whose_name_is_a_pattern_is_refused_by_all(name):
    problems = problems_of(replace(an_account(), accounts={"shop": {}, name: {}}))
    assert [each for each in problems if "pattern" in each][:1] == [
        each for each in problems if each.startswith(PATTERN.format(name)) and name in PATTERNS
    ]
    assert any("pattern" in each for each in problems) == (name in PATTERNS)


@pytest.mark.parametrize("name", ["a/b", "../x", "..", "."])
def test_the_name_of_an_account_must_be_valid_for_a_folder(name):
    run = replace(an_account(), controller_host=name, accounts={name: {}})
    assert f"Host {name}: a folder cannot have this name. Give the account another name." in problems_of(run)


@pytest.mark.parametrize(
    ("account", "is_valid"),
    [
        ({}, True),
        ({"cwagent_account_assume_role_arn": NOPE}, False),
        ({"cwagent_account_assume_role_arn": ROLE, "cwagent_account_id": OTHER_ID}, False),
        ({"cwagent_account_aws_profile": ["a"]}, False),
        ({"cwagent_account_aws_profile": ""}, False),
        ({"cwagent_tags": "x"}, True),
    ],
)
def test_playbooks_that_clean_up_know_whether_the_account_is_right(account, is_valid):
    assert interpreted(an_account(account))[0]["account"]["is_valid"] is is_valid


def test_without_instances_the_regions_come_from_the_account():
    account = {**FILTERED, "cwagent_account_regions": [EU, US]}
    assert interpreted(an_account(account, {}, found=NONE_FOUND))[0]["regions"] == [EU, US]


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (NONE_FOUND, "servers: none"),
        (
            {"instances": {EU: ["i-1", "i-2"], US: ["i-3"]}, "admin_instance": {"region": US, "instance_id": "i-3"}},
            f"servers: 2 in {EU}, 1 in {US}; i-3 in {US} stores the configuration",
        ),
    ],
)
def test_which_servers_were_found(found, line):
    assert found_line(found) == line
