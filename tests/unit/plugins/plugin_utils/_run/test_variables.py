"""The values of the variables, wherever they are set, and the input as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from input_runs import (
    ADMIN,
    EU,
    INSTANCES,
    NOPE,
    OF_ACCOUNTS,
    OF_SERVERS,
    ONE_FILE,
    OPTIONS,
    PATTERN,
    PLAYBOOKS,
    ROLE,
    RUN_OPTIONS,
    US,
    USER,
    VALID,
    WEB,
    a_run,
    an_account,
    default_of,
    in_a_survey,
    inputs_of,
    interpreted,
    problems_of,
    run_value,
    run_with,
    run_with_values,
)

from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import CONTAINER_VARIABLES
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.accounts import ACCOUNT_VARIABLES, PREFIX
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.variables import ENVIRONMENT, find_role_variables

# Names of which Ansible, or the report, knows what they mean in the result of a task.
OF_RESULTS = {
    *("ansible_facts", "ansible_stats", "changed", "deprecations", "diff", "exception", "failed", "invocation", "msg"),
    *("results", "skip_reason", "skipped", "steps", "unlisted", "unreachable", "warnings"),
}


REPORTS = {"html": "a.html", "json": "b.json", "junit": "c.junit.xml", "sarif": "d.sarif"}
POLICIES = {"cloudformation": "e.template", "terraform": "f.tf"}
WITHOUT_FILES = {kind: [] for kind in (*REPORTS, *POLICIES)}


def test_the_input_of_a_run_without_variables():
    empty = ("delivery_hosts", "hybrid_server_regions", "notes", "notices", "problems", "report_files", "requires")
    db, inputs = USER.format("db"), inputs_of()
    assert inputs == {
        **{name.removeprefix("cwagent_"): default_of(name) for name in RUN_OPTIONS},
        **{name: [] for name in (*empty, "undelivered_hosts")},
        **{name: {} for name in ("admin_users", "key_names", "retired_users")},
        "removal": None,
        **dict.fromkeys(("account_decides_policy", "controller_stores", "finds_instances", "stores"), False),
        "has_instances": True,
        "server_policy": "aws",
        **{name: [US] for name in ("key_store_regions", "regions")},
        "config_names": {US: []},
        "fitted_policies": {"server_policies": [], "admin_policies": []},
        **dict.fromkeys(("region", "storing_region"), US),
        "node_id": {"db": ""},
        "account": {
            **{name.removeprefix(PREFIX): default_of(name) for name in ACCOUNT_VARIABLES},
            "host": "",
            "admin_required": False,
            "is_valid": True,
        },
        "instance_id": ADMIN["instance_id"],
        "key_store_directory": "/tmp/~/.cwagent/credentials",  # noqa: S108  no file is made
        "instances": {US: [WEB["instance_id"], ADMIN["instance_id"]]},
        "audit": {
            "label": "controller",
            "regions": [US],
            "parts": ["access", "history"],
            "admin_user_name": "CloudWatchAgentAdminUser",
            "inventory": {"users": [db], "attach_to_roles": []},
        },
        "report_files_by_format": WITHOUT_FILES,
        "onprem_hosts": {"db": {"user": db, "region": US, "key_region": US, "identity": "key", "deliver": False}},
        "leaving_nodes": {US: ["db"]},
        "collect_hosts": ["db", "web", "adm"],
        "moves_label": True,
        "server_users": {US: [db]},
        "servers": [
            {"host": "db", "region": US, "user": db, "configs": []},
            {"host": "web", "region": US, **WEB, "configs": []},
            {"host": "adm", "region": US, **ADMIN, "configs": []},
        ],
        "storing_host": "adm",
        "users": [db],
        "window_state": "closed",
    }
    assert inputs.keys() & OF_RESULTS == set()


@pytest.mark.parametrize(
    ("requires", "stores", "needs_admin_instance"),
    [
        ([], False, False),
        (["key_store"], True, True),
        (["configs"], True, True),
        (["configs_only"], True, False),
        (["admin_instance"], False, True),
        *((requires, False, False) for requires in (["key_store", "rotation"], ["confirmation"], ["restore"])),
        (["removal", "one_account"], False, False),
    ],
)
def test_the_work_of_a_playbook(requires, stores, needs_admin_instance):
    run = a_run(requires=requires)
    assert (run.stores, run.needs_admin_instance) == (stores, needs_admin_instance)


NOTHING_STORED = "No configuration was given (cwagent_config_file or cwagent_configs), so nothing was stored."
LEFT_OUT = "The limit leaves out db. Nothing was changed there."


@pytest.mark.parametrize(
    ("controller", "requires", "notes"),
    [
        ({}, ["key_store"], [NOTHING_STORED, LEFT_OUT]),
        (ONE_FILE, ["key_store"], [LEFT_OUT]),
        ({"cwagent_confirm": "teardown"}, ["confirmation"], [LEFT_OUT]),
        (ONE_FILE, ["configs"], []),
        ({}, ["restore"], []),
    ],
)
def test_the_report_lists_omitted_work(controller, requires, notes):
    hosts = {"db": {"cwagent_deliver_keys": True}}
    assert inputs_of(None, hosts, controller, requires=requires, limit={"localhost", "adm"})["notes"] == notes


@pytest.mark.parametrize(
    ("has_window", "requires", "state"),
    [
        *((True, [requirement], "closed") for requirement in ("key_store", "restore")),
        (False, ["key_store"], "absent"),
        *((False, [requirement], "keep") for requirement in ("restore", "confirmation")),
    ],
)
def test_only_the_whole_job_removes_windows(has_window, requires, state):
    controller = {"cwagent_admin_window": has_window, "cwagent_confirm": "teardown"}
    assert inputs_of(controller=controller, requires=requires)["window_state"] == state


NAMES_WITH_COMMAS = (
    *("attach_to_roles", "detach_from_roles", "emf_log_groups", "ignored_parameters", "keep_nodes", "remove_servers"),
    "managed_policies",
)
FITTED = {"cwagent_server_policy": "fitted"}
BOUNDARY = "arn:aws:iam::123456789012:policy/Bound"


@pytest.mark.parametrize("boundary", ["", "none", BOUNDARY])
@pytest.mark.parametrize(
    ("requires", "is_needed"),
    [
        (["key_store"], True),
        (["configs"], True),
        (["key_store", "rotation"], True),
        (["configs_only"], False),
        (["configs_only", "policy"], False),
        (["servers", "apply"], False),
        (["audit"], False),
        (["confirmation"], False),
    ],
)
@pytest.mark.parametrize("makes_run", [a_run, an_account])
def test_fitted_policies_need_a_boundary_where_a_playbook_attaches_or_extends_them(
    makes_run, requires, is_needed, boundary
):
    run = {**FITTED, **ONE_FILE, "cwagent_permissions_boundary": boundary, "cwagent_confirm": "teardown"}
    given = a_run(controller=run) if makes_run is a_run else an_account({**run, "cwagent_account_id": "123456789012"})
    inputs, problems = interpreted(replace(given, requires=requires))
    refused = is_needed and boundary != BOUNDARY
    start = "The servers get fitted policies, because cwagent_server_policy is fitted, or is not set and the account"
    assert [each for each in problems if each.startswith(start)] == problems
    assert all("set cwagent_permissions_boundary to the ARN" in each for each in problems)
    assert len(problems) == refused
    assert inputs["fitted_policies"] == {
        "server_policies": ["CloudWatchAgentFittedServerPolicy"],
        "admin_policies": ["CloudWatchAgentFittedAdminPolicy"],
    }


@pytest.mark.parametrize("policy", ["", "aws", "fitted"])
@pytest.mark.parametrize(
    ("requires", "attaches_or_stores"),
    [
        (["key_store"], True),
        (["key_store", "rotation"], True),
        (["configs"], True),
        (["servers", "apply"], True),
        (["servers"], False),
        (["admin_instance"], False),
        (["confirmation"], False),
        (["removal", "one_account"], False),
        (["restore"], False),
        (["audit"], False),
        (["configs_only", "policy"], False),
        ([], False),
    ],
)
def test_the_account_decides_in_playbooks_that_attach_or_store(requires, attaches_or_stores, policy):
    inputs, _problems = interpreted(replace(a_run(controller={"cwagent_server_policy": policy}), requires=requires))
    assert inputs["account_decides_policy"] == (attaches_or_stores and not policy)
    assert inputs["server_policy"] == (policy or "aws")


ATTACH_TO = "cwagent_on_other_profile is attach, so set cwagent_attach_to_roles to the roles"


@pytest.mark.parametrize(
    ("kind", "roles", "requires", "problem", "is_ignored"),
    [
        ("attach", [], ["key_store"], ATTACH_TO, False),
        ("attach", ["Shop", "arn:aws:iam::1:role/B"], ["key_store"], "cwagent_attach_to_roles: 'arn:aws:iam::", False),
        ("attach", "Shop,Batch", ["key_store"], "", False),
        ("keep", "Shop,Batch", ["key_store"], "", True),
        ("keep", "Shop,Batch", [], "", False),
    ],
)
def test_roles_that_get_the_policy_are_named_and_known_to_the_audit(kind, roles, requires, problem, is_ignored):
    controller = {"cwagent_on_other_profile": kind, "cwagent_attach_to_roles": roles}
    inputs, problems = interpreted(a_run(controller=controller, requires=requires))
    assert [each[: len(problem)] for each in problems] == [problem] * bool(problem)
    if not problem:
        assert inputs["audit"]["inventory"]["attach_to_roles"] == (["Shop", "Batch"] if kind == "attach" else [])
    assert [each for each in inputs["notices"] if "cwagent_attach_to_roles has no effect" in each] == (
        inputs["notices"] if is_ignored else []
    )
    assert len(inputs["notices"]) == is_ignored


@pytest.mark.parametrize(("way", "hosts"), [("auto", ["web"]), ("ansible", ["web"]), ("run_command", []), ("none", [])])
def test_the_hosts_from_which_ansible_collects_facts(way, hosts):
    made = inputs_of({"ec2_servers": ["web"]}, controller={"cwagent_verify_from": way}, requires=["servers"])
    assert made["collect_hosts"] == hosts


@pytest.mark.parametrize(("requires", "deliver", "count"), [([], True, 1), ([], False, 0), (["servers"], False, 1)])
def test_a_server_whose_name_is_a_pattern_is_refused_where_a_play_names_it(requires, deliver, count):
    hosts = {"my db": {"cwagent_user_name": "db", "cwagent_deliver_keys": deliver}}
    found = problems_of({"onprem_servers": ["my db"]}, hosts, requires=requires)
    assert [each.startswith(PATTERN.format("my db")) for each in found] == [True] * count


@pytest.mark.parametrize("name", CONTAINER_VARIABLES)
def test_files_in_a_container_must_be_allowed_where_keys_are_saved(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert problems_of() == []
    [problem] = problems_of(requires=["key_store"])
    assert problem.startswith("cwagent_key_store_directory: saved_key.key_store: this is an execution environment")
    for variables in ({"cwagent_key_store_allow_ephemeral": True}, {"cwagent_key_store": "parameter_store"}):
        assert problems_of(controller=variables, requires=["key_store"]) == []
    assert problems_of({"ec2_admin": ["adm"]}, requires=["key_store"]) == []  # there are no keys


def test_a_configuration_can_be_validated_without_hosts_and_without_a_region():
    inputs = inputs_of({}, {}, ONE_FILE, "", requires=["configs_only"])
    assert [each["name"] for each in inputs["configs"]] == ["AmazonCloudWatch-linux"]


def test_all_problems_are_reported_together():
    controller = {"cwagent_config_file": "missing", "cwagent_ssm_policy": "Admin", "cwagent_x": ""}
    assert len(problems_of(hosts={"web": {}}, controller=controller)) == 4


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.just(NOPE)
    | st.sampled_from([EU, "U", "u"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*OPTIONS, "instance_id", "placement", "cwagent_unknown"])
VARIABLES = st.dictionaries(NAMES, ANYTHING, max_size=8)
HOST_NAMES = ["web", "adm", "db", "ops"]
MEMBERS = st.dictionaries(
    st.sampled_from(["ec2_servers", "ec2_admin", "onprem_servers", "onprem_admin", "other"]),
    st.lists(st.sampled_from(HOST_NAMES), unique=True),
)


@given(MEMBERS, st.dictionaries(st.sampled_from(HOST_NAMES), VARIABLES), VARIABLES, st.sampled_from(["", US, "x"]))
def test_any_input_is_interpreted_and_nothing_is_raised(groups, hosts, controller, region):
    run = a_run(groups, hosts, controller, region)
    inputs, problems = interpreted(run)
    assert (inputs, problems) == interpreted(run)
    assert len(problems) == len(set(problems))
    assert all(problem.rstrip().endswith((".", "?")) for problem in problems)
    assert {name.removeprefix("cwagent_") for name in RUN_OPTIONS} <= inputs.keys()


NOT_SET_TOGETHER = (*ACCOUNT_VARIABLES, "cwagent_account", "cwagent_config_file", "cwagent_parameter_name")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from([VALID[name], VALID[name] if name == ENVIRONMENT else in_a_survey(VALID[name]), ""])
            for name in OPTIONS
            if name not in NOT_SET_TOGETHER
        },
    )
)
def test_valid_input_has_no_problem(controller):
    assert problems_of(hosts={"adm": {**ADMIN, **controller}}, controller=controller) == []


@pytest.mark.parametrize("name", RUN_OPTIONS)
def test_a_variable_of_the_run_can_be_set_anywhere(name):
    value = VALID[name]
    on_host = inputs_of(hosts={"adm": {**ADMIN, name: value}})
    assert inputs_of(controller={name: value}) == on_host
    assert inputs_of(controller={name: value}, hosts={"adm": {**ADMIN, name: value}}) == on_host
    if name not in ("cwagent_configs", "cwagent_report_files"):
        assert run_value(on_host, name) == value


# It is no question of a survey: its values can be secrets, and are handed on as they are.
@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {ENVIRONMENT}))
def test_the_answer_to_a_survey_is_the_same_as_the_value(name):
    answered = inputs_of(run_with(name, in_a_survey(VALID[name]), {}))
    assert answered == interpreted(run_with(name, VALID[name], {}))[0]


@pytest.mark.parametrize("blank", [None, "", "  ", "\n"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_blank_is_the_same_as_not_set(name, blank):
    hosts = {"adm": {**ADMIN, name: blank}, "db": {name: blank}}
    assert inputs_of(controller={name: blank}, hosts=hosts) == inputs_of()
    if name != "cwagent_account_aws_profile":
        assert interpreted(an_account({name: blank})) == interpreted(an_account())


WRONG: dict[str, list[Any]] = {
    "str": [["a"], {"a": "b"}, True],
    "int": [["a"], {"a": "b"}, True, "seven", "1.5", 1.5, "日本"],
    "bool": [["a"], {"a": "b"}, "perhaps", 2, "日本"],
    "list": ["a", "[a", 5, True, {"a": "b"}, ["a"], [None], [{"file": "x"}], [{"name": "", "file": "x"}], "日本"],
    "dict": ["a", ["a"], 5, True, "日本"],
}
LONG, UNICODE = "x" * 65, "日本"
CONFIG = {"name": "AmazonCloudWatch-a", "file": "a"}
REGIONS_OF_CONFIG = (EU, [], ["eu-central"], [EU, EU], {EU: ""}, [[EU]], 5)
REFUSED: dict[str, list[Any]] = {
    "cwagent_parameter_name": [5, "linux", f"AmazonCloudWatch-{UNICODE}", "AmazonCloudWatch-a b"],
    "cwagent_configs": [
        *([{"name": "x", "file": "y"}], [{**CONFIG, "file": "missing"}], [CONFIG, {**CONFIG, "file": "b"}]),
        *([{**CONFIG, "regions": regions}] for regions in REGIONS_OF_CONFIG),
    ],
    "cwagent_config_file": ["missing.json"],
    "cwagent_agent_schema": ["~nobody/x"],
    "cwagent_admin_window_minutes": [0, 721, -1],
    "cwagent_environment": [
        *({name: ""} for name in ("a b", "A=B", 5, UNICODE)),
        *({"": "x"}, {"A": ["b"]}, {"A": {"b": "c"}}),
    ],
    "cwagent_key_store_directory": ["/dev/null", "/dev/null/x", "~nobody/x", "/x\0"],
    "cwagent_server_role_name": [LONG, UNICODE, "a b", "CloudWatchAgentAdminRole", "cloudwatchagentADMINrole"],
    "cwagent_admin_role_name": [LONG, UNICODE, "a/b", "CloudWatchAgentServerRole"],
    "cwagent_permissions_boundary": [5, LONG, UNICODE, "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"],
    "cwagent_managed_policies": ["soon", ["arn:aws-cn:iam::aws:policy/ReadOnlyAccess"]],
    "cwagent_audit_regions": [[US, "nowhere"], ["a b"]],
    "cwagent_ignored_parameters": [["linux"], f"AmazonCloudWatch-{UNICODE}", "AmazonCloudWatch-a,b", f"{EU}:linux"],
    "cwagent_iam_path": [5, LONG, UNICODE, "monitoring"],
    "cwagent_tags": [{"aws:x": "y"}, {"a": "#"}, {"a": ["b"]}, {str(each): "" for each in range(51)}],
    "cwagent_parameter_tags": [{"aws:x": "y"}, {"a": "#"}, {"a": ["b"]}, {"": "x"}],
    "cwagent_key_max_age_days": [-1, 36501],
    "cwagent_key_delete_after_days": [-1, "36501"],
    "cwagent_report_files": [["a"], "a.html,b", ["a.html", "a.html"], [""]],
    "cwagent_region": [5, LONG, UNICODE, "eu-central", "EU-CENTRAL-1"],
    "cwagent_user_name": [LONG, UNICODE, "a b"],
    "cwagent_config_names": [["linux"], [f"AmazonCloudWatch-{UNICODE}"]],
    "cwagent_keep_nodes": ["web", ["mi-0123456789abcdef0", "i-0123456789abcdef0"]],
    "cwagent_node_id": ["db", "mi-0123456789abcdeF0", "i-0123456789abcdef0"],
    "cwagent_batch_size": [0, -1, 1.5, "0%", "101%", "1 2", "%", ["0"], ["1", "-1"], [1, 1.5], "[1, 101%]", "1,,2"],
    "cwagent_max_fail_percentage": [-1, 101, "10%"],
    "cwagent_account_id": ["12345678901", "1234567890123", "shop", "١٢٣٤٥٦٧٨٩٠١٢"],
    "cwagent_account_assume_role_arn": ["arn", "Controller", ROLE.replace("role", "user")],
    "cwagent_account_session_name": ["x", LONG, "a b", UNICODE],
    "cwagent_account_session_duration": [0, 899, 43201],
    "cwagent_account_regions": [["nowhere"], [EU, "a b"]],
    "cwagent_account_admin_instance_id": ["web", UNICODE],
}


def is_accepted(name, option, value):
    """Whether a value that is wrong for most options of a type is right for this one."""
    is_text = value == ["a"] and option.get("elements") == "str"
    is_one_item = option.get("accepts_single") and value == 5
    takes_text = name in {f"cwagent_{each}" for each in NAMES_WITH_COMMAS}
    return is_text or is_one_item or (isinstance(value, str) and takes_text)


BAD = [
    (name, value)
    for name, option in OPTIONS.items()
    for value in [
        *(NOPE, *(each for each in WRONG[option["type"]] if not is_accepted(name, option, each))),
        *(["other", 5, LONG, UNICODE] if "choices" in option else []),
        *REFUSED.get(name, []),
    ]
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_one_problem_that_names_the_variable(name, value):
    # A variable that is given with -e has its value for the controller and all hosts.
    hosts = {host: {**INSTANCES.get(host, {}), name: value} for host in ("web", "adm", "db")}
    if name == "cwagent_user_name":
        hosts["db"]["cwagent_admin_user_name"] = "Admin"
    inputs, [problem] = interpreted(run_with(name, value, hosts))
    assert name in problem
    assert problem.endswith(".")
    is_typed = value is not NOPE and value not in WRONG[OPTIONS[name]["type"]] and "choices" not in OPTIONS[name]
    if name in RUN_OPTIONS and not is_typed:
        # Modules run in the folder of the playbook, so the input has the absolute path of the folder.
        folder = "/tmp/" if name == "cwagent_key_store_directory" else ""  # noqa: S108  no file is made
        default = "aws" if name == "cwagent_server_policy" else default_of(name)
        assert run_value(inputs, name) == (f"{folder}{default}" if folder else default)


SECRET = "s3cret"


@pytest.mark.parametrize(
    "value", [{"HTTPS_PROXY": f"http://u:{SECRET}@proxy"}, {"A": [SECRET]}, {"a b": SECRET}, f"A={SECRET}", [SECRET]]
)
def test_the_environment_of_a_host_never_appears_in_results(value):
    given = {ENVIRONMENT: value}
    for run in (a_run(hosts={"adm": {**ADMIN, **given}}), a_run(controller=given), an_account(given)):
        inputs, problems = interpreted(run)
        assert SECRET not in f"{inputs}{problems}"
        assert "environment" not in inputs
        assert len(problems) == (0 if "HTTPS_PROXY" in value else 1)


TAGS = ("{'a': 'b'}", "host web", "{'a': 'c'}", "host adm")


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("cwagent_tags", {"web": {"a": "b"}, "adm": {"a": "c"}}, TAGS),
        ("cwagent_tags", {"web": {"a": "b"}, "adm": {"a": "c"}, "db": {"a": "d"}}, TAGS),
        ("cwagent_key_max_age_days", {"localhost": 30, "web": "30", "adm": " "}, None),
        ("cwagent_key_max_age_days", {"localhost": 31, "web": "30"}, ("31", "the controller", "30", "host web")),
    ],
)
def test_a_variable_has_one_value_for_the_run(name, values, shown):
    run = run_with_values({place: {name: value} for place, value in values.items()})
    problem = f"{name} is '{{}}' for {{}} and '{{}}' for {{}}; a run has one value for all."
    assert problems_of(run) == ([problem.format(*shown)] if shown else [])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cwagent_config_fil", "; did you mean cwagent_config_file?"),
        ("cwagent_servers_role", "; did you mean cwagent_server_role_name?"),
        ("cwagent_aws_profile", "; did you mean cwagent_account_aws_profile?"),
        *((f"cwagent_{name}", ".") for name in ("zzz", "profile", "user", "tags_all", "credentials", "endpoint")),
    ],
)
def test_an_unknown_name_is_a_problem_once(name, hint):
    problem = f"{name} is not a variable of this collection{hint}"
    assert problems_of(controller={name: "x"}, hosts={"db": {name: NOPE}}) == [problem]
    assert problems_of(hosts={"db": {name: "x", "cwagents": "x", "my_cwagent_x": "y"}}) == [problem]


@pytest.mark.parametrize(
    ("group", "near"),
    [
        ("cwagent_onprem_server", "cwagent_onprem_servers"),
        ("cwagent_ec2_severs", "cwagent_ec2_servers"),
        ("cwagent_ec2_admins", "cwagent_ec2_admin"),
        ("cwagent_acounts", "cwagent_accounts"),
        *((group, None) for group in ("cwagent_ec2_servers_prod", "cwagent_windows", "servers")),
    ],
)
def test_a_group_named_almost_as_ours_is_a_problem_if_its_hosts_are_left_out(group, near):
    run = a_run()
    problem = f"Group {group} is not one of this collection; did you mean {near}?"
    assert problems_of(replace(run, groups={**run.groups, group: ["web", "new"]})) == ([problem] if near else [])
    assert problems_of(replace(run, groups={**run.groups, group: ["web"]})) == []


def test_a_variable_of_a_role_that_the_playbooks_set_is_a_problem_that_names_theirs():
    given_for_roles = {"store_config_split": "cwagent_split_config", "verify_servers": ""}
    fixes = "Set cwagent_split_config instead.", "Remove it from the inventory and the command line."
    assert problems_of(role_variables=given_for_roles) == [
        f"{name} is a variable of a role that the playbooks set. {fix}"
        for name, fix in zip(given_for_roles, fixes, strict=True)
    ]


SET_FROM = {
    "a_adopt": ("{{ __cwagent.adopt_existing }}", "cwagent_adopt_existing"),
    "b_adopt": ("{{ a_adopt }}", "cwagent_adopt_existing"),
    "b_environment": (
        "{{ cwagent_environment | default({}) if cwagent_environment is mapping else {} }}",
        "cwagent_environment",
    ),
    "b_users": ("{{ __cwagent.admin_users.values() | flatten }}", ""),
    "b_user": ("{{ __cwagent.onprem_hosts[inventory_hostname].user }}", ""),
    "b_owner": ("{{ __cwagent.key_file_owner[inventory_hostname] }}", "cwagent_key_file_owner"),
    "b_both": ("{{ __cwagent.tags + __cwagent.parameter_tags }}", ""),
    "b_list": ([], ""),
}


def test_each_variable_of_a_role_that_the_playbooks_set_has_the_one_it_is_set_from():
    settings = {name: template for name, (template, _variable) in SET_FROM.items()}
    found = find_role_variables({"__cwagent_internal": "{{ __cwagent.adopt_existing }}", **settings}, OPTIONS)
    assert found.items() >= {name: variable for name, (_template, variable) in SET_FROM.items()}.items()
    assert "__cwagent_internal" not in found


# Batches

APPLY = ["servers", "apply"]
BOTH = pytest.mark.parametrize("requires", [[], APPLY], ids=["accounts", "servers"])


def batches_of(requires, value, name="cwagent_batch_size"):
    """The value of a variable of batches in a run of a playbook, and its problems."""
    inputs, problems = interpreted(a_run(controller={name: value}, requires=requires))
    return run_value(inputs, name), [each for each in problems if name in each]


@pytest.mark.parametrize(
    "requires",
    [[], ["key_store"], ["servers"], ["removal", "one_account"], ["audit"], ["configs_only"], APPLY],
    ids=str,
)
@pytest.mark.parametrize("name", OF_ACCOUNTS)
def test_batches_are_of_servers_in_apply_and_of_accounts_elsewhere(requires, name):
    expected = (OF_SERVERS if requires == APPLY else OF_ACCOUNTS)[name]
    for blank in (None, "", " ", *([[]] if name == "cwagent_batch_size" else [])):
        assert batches_of(requires, blank, name) == (expected, [])


@BOTH
@pytest.mark.parametrize(
    ("value", "sizes"),
    [
        *((value, ["5"]) for value in (5, "5", [5])),
        *((value, ["20%"]) for value in ("20%", " 20% ")),
        ([1, "20%", "100%"], ["1", "20%", "100%"]),
        *((value, ["1", "100%"]) for value in ('[1, "100%"]', "- 1\n- 100%")),
        *((value, ["1", "20%"]) for value in ("[1, 20%]", "1, 20%")),
    ],
)
def test_a_batch_size_is_a_number_a_share_or_a_list_of_them(requires, value, sizes):
    assert batches_of(requires, value) == (sizes, [])


@BOTH
@pytest.mark.parametrize(("value", "wrong"), [("0", "0"), ([1, "101%"], "101%"), ("many", "many"), ([1, 1.5], "1.5")])
def test_a_wrong_batch_size_is_named_and_the_default_is_used(requires, value, wrong):
    unit, default = ("servers", ["1", "25%", "100%"]) if requires == APPLY else ("accounts", ["100%"])
    problem = (
        f"cwagent_batch_size is '{wrong}'; it must be a number of {unit}, a share such as 20%, or a list of numbers "
        "and shares."
    )
    assert batches_of(requires, value) == (default, [problem])


@BOTH
@pytest.mark.parametrize(("value", "percentage"), [(0, 0), ("0", 0), (100, 100), ("33", 33), (-1, None), (101, None)])
def test_the_share_that_may_fail_is_a_percentage(requires, value, percentage):
    name = "cwagent_max_fail_percentage"
    default = (OF_SERVERS if requires == APPLY else OF_ACCOUNTS)[name]
    problems = [f"{name} is {value}; it must be between 0 and 100."] if percentage is None else []
    assert batches_of(requires, value, name) == (default if problems else percentage, problems)


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, None), ("", None), (0, 0), ("300", 300), (3600, 3600), (-1, -1), (3601, 3601)]
)
def test_the_time_of_a_watch_has_limits(value, seconds):
    name = "cwagent_apply_watch_seconds"
    problems = [f"{name} is {value}; it must be between 0 and 3600."] if value in (-1, 3601) else []
    assert batches_of(APPLY, value, name) == (seconds, problems)


@pytest.mark.parametrize("requires", [["restore"], ["audit"], ["audit", "history"]])
def test_a_clean_up_and_an_audit_skip_no_account(requires):
    run = an_account({"cwagent_max_fail_percentage": 0}, requires=requires)
    assert interpreted(run)[0]["max_fail_percentage"] == 100


@pytest.mark.parametrize(("requires", "finds"), [([], True), (["servers"], True), (["audit"], False)])
def test_an_audit_reads_an_account_without_a_search_for_servers(requires, finds):
    run = an_account({"cwagent_account_server_filters": {"tag:team": "shop"}}, requires=requires)
    found = interpreted(run)[0]
    assert (found["finds_instances"], bool(found["account"]["server_filters"])) == (finds, finds)


@pytest.mark.parametrize(
    ("own", "other", "shown"),
    [
        (None, None, None),
        ("", "100%", None),
        ([1, "20%"], "1, 20%", None),
        ([1, "20%"], None, ("1, 20%", "100%")),
        (1, 2, ("1", "2")),
        (None, 2, ("100%", "2")),
    ],
)
def test_the_size_of_batches_is_the_same_for_all_accounts(own, other, shown):
    name = "cwagent_batch_size"
    ids = {"cwagent_account_id": "123456789012"}, {"cwagent_account_id": "210987654321"}
    shop, blog = (
        {**each, **({} if size is None else {name: size})} for each, size in zip(ids, (own, other), strict=True)
    )
    problem = "{} must be the same for all accounts, but is {} for shop and {} for blog."
    assert problems_of(an_account(shop, others={"blog": blog})) == ([problem.format(name, *shown)] if shown else [])
    in_apply = [each.replace("100%", "1, 25%, 100%") if each == "100%" else each for each in shown or ()]
    problems = problems_of(an_account(shop, others={"blog": blog}, requires=APPLY))
    of_batches = [each for each in problems if name in each]
    if other != "100%":  # which differs from the default there
        assert of_batches == ([problem.format(name, *in_apply)] if shown else [])


# Report files


def test_reports_are_written_to_absolute_paths_by_format():
    inputs = inputs_of(controller={"cwagent_report_files": "~/a.html,b.sarif.json"}, requires=["audit"])
    assert inputs["report_files"] == ["/tmp/~/a.html", "b.sarif.json"]  # noqa: S108  no file is made
    html, sarif = inputs["report_files"]
    assert inputs["report_files_by_format"] == {**WITHOUT_FILES, "html": [html], "sarif": [sarif]}


WRITTEN = {
    "audit": [*REPORTS],
    "history": ["json", "junit", "sarif"],
    "policy": ["cloudformation", "json", "terraform"],
    "validate_config": ["junit", "sarif"],
    "verify": ["json"],
}


@pytest.mark.parametrize("playbook", sorted(path.stem for path in PLAYBOOKS.glob("[!_]*.yml")))
def test_a_playbook_writes_its_formats_and_skips_the_others_with_a_notice(playbook):
    first = yaml.safe_load((PLAYBOOKS / f"{playbook}.yml").read_text())[0]
    requires = first["vars"]["__cwagent_requires"]
    reports = {**REPORTS, **POLICIES}
    inputs = interpreted(a_run(controller={"cwagent_report_files": [*reports.values()]}, requires=requires))[0]
    written = WRITTEN.get(playbook, [])
    files = {kind: [path] if kind in written else [] for kind, path in reports.items()}
    assert inputs["report_files_by_format"] == files
    skipped = ", ".join(path for kind, path in reports.items() if kind not in written)
    beginning = f"cwagent_report_files: skipped {skipped}, because this playbook writes "
    assert [notice.startswith(beginning) for notice in inputs["notices"]] == ([True] if skipped else [])


@pytest.mark.parametrize(("requires", "suffix"), [("configs_only", "-shop"), ("servers", "-shop"), ("audit", "")])
def test_each_account_has_its_own_files_unless_one_report_has_all_accounts(requires, suffix):
    files = {"cwagent_report_files": [*REPORTS.values()], "cwagent_config_file": "x.json"}
    paths = inputs_of(an_account(files, requires=[requires]))["report_files"]
    expected = [f"{path[0]}{suffix}{path[1:]}" for path in REPORTS.values()]
    assert paths
    assert [path for path in expected if path in paths] == paths
