from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.options import CONTAINER_VARIABLES
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.accounts import (
    ACCOUNT_VARIABLES,
    FILTERS,
    PREFIX,
    account_of,
    found_line,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.given import (
    ADMIN_INSTANCE,
    AUDIT,
    CONFIGS,
    CONFIGS_ONLY,
    CONFIRMATION,
    KEY_STORE,
    ONE_ACCOUNT,
    REMOVAL,
    REQUIREMENTS,
    RESTORE,
    ROTATION,
    SERVERS,
    Given,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.interpretation import interpret
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.variables import (
    ENVIRONMENT,
    HOST_VARIABLES,
    declared_options,
    find_role_variables,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._variable_types import Undefined

SPEC = PLUGINS.parent / "playbooks" / "vars" / "argument_specs.yml"
OPTIONS = declared_options(yaml.safe_load(SPEC.read_text()))
RUN_OPTIONS = {name: option for name, option in OPTIONS.items() if name not in HOST_VARIABLES}
WEB = {"instance_id": "i-0123456789abcdef0"}
ADMIN = {"instance_id": "i-0123456789abcdef1"}
INSTANCES = {"web": WEB, "adm": ADMIN}
EU, US = "eu-central-1", "us-east-1"
NO_REGION = (
    "There is no AWS region. Set cwagent_region for the hosts, or AWS_REGION, or a region in the profile of the AWS "
    "configuration."
)
REPORTS = {"html": "a.html", "json": "b.json", "junit": "c.junit.xml", "sarif": "d.sarif"}
NOPE = Undefined("'nope' is undefined")


def find_file(path):
    if "missing" in path:
        raise InvalidInput(f"there is no file {path} in /here.")
    return f"/here/{path}"


def to_absolute(path):
    if path.startswith("~nobody"):
        raise InvalidInput(f"{path}: the home directory is not known.")
    return f"/tmp/{path}" if path.startswith("~") else path  # noqa: S108  nothing is written there


def a_run(groups=None, hosts=None, controller=None, region=US, **others):
    """A run for some hosts; for ``web`` and ``adm`` on EC2 and ``db`` on premises by default."""
    if groups is None:
        groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["db"]}
    members = {f"cwagent_{group}": names for group, names in groups.items()}
    known = {host: {} for names in members.values() for host in names}
    return Given(
        options=OPTIONS,
        controller=controller or {},
        controller_host="localhost",
        hosts={**known, **{host: INSTANCES[host] for host in known if host in INSTANCES}, **(hosts or {})},
        groups={"all": list(known), "ungrouped": [], **members},
        find_default_region=lambda _profile: region,
        find_file=find_file,
        to_absolute=to_absolute,
        **others,
    )


def an_account(account=None, groups=None, hosts=None, others=None, **more):
    """A run for the hosts of the account ``shop``. :param others: the variables of the hosts for other accounts."""
    groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"]} if groups is None else groups
    account = {"cwagent_account_aws_profile": "own", **(account or {})}
    run = a_run({**groups, "accounts": ["shop"]}, {**(hosts or {}), "shop": account}, account)
    accounts = {"shop": account, **(others or {})}
    return replace(run, controller_host="shop", accounts=accounts, **more)


def run_with(name, value, hosts):
    """A run in which a variable is set for the controller and for all hosts; for the account where it is of one."""
    if name in ACCOUNT_VARIABLES:
        return an_account({name: value})
    groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["db"], "onprem_admin": ["db"]}
    return a_run(groups, hosts, {name: value})


def problems_of(*arguments, **options):
    return interpret(a_run(*arguments, **options))[1]


def inputs_of(*arguments, **options):
    inputs, problems = interpret(a_run(*arguments, **options))
    assert problems == []
    return inputs


# Names of which Ansible, or the report, knows what they mean in the result of a task.
OF_RESULTS = {
    *("ansible_facts", "ansible_stats", "changed", "deprecations", "diff", "exception", "failed", "invocation", "msg"),
    *("problems", "results", "skip_reason", "skipped", "steps", "unlisted", "unreachable", "warnings"),
}


def test_no_input_has_the_name_of_a_part_of_a_result():
    assert interpret(a_run())[0].keys() & OF_RESULTS == set()


# Options with another default where the configuration is applied to servers.
OF_ACCOUNTS = {"cwagent_batch_size": ["100%"], "cwagent_max_fail_percentage": 100}
OF_SERVERS = {"cwagent_batch_size": ["20%"], "cwagent_max_fail_percentage": 0}


def default_of(name):
    option = OPTIONS[name]
    return option.get("default", OF_ACCOUNTS.get(name, {"str": "", "list": [], "dict": {}}.get(option["type"])))


def run_value(inputs, name):
    return inputs[name.removeprefix("cwagent_")]


# Variables and their results


def test_the_input_of_a_run_without_variables():
    defaults = {name.removeprefix("cwagent_"): default_of(name) for name in RUN_OPTIONS}
    assert inputs_of() == {
        **defaults,
        "account": {
            "host": "",
            **{name.removeprefix(PREFIX): default_of(name) for name in ACCOUNT_VARIABLES},
            "admin_required": False,
            "is_valid": True,
        },
        "admin_instance": ADMIN["instance_id"],
        "admin_users": {},
        "key_store_directory": "/tmp/~/.cwagent/credentials",  # noqa: S108
        "delivery_hosts": [],
        "finds_instances": False,
        "instances": {US: [WEB["instance_id"], ADMIN["instance_id"]]},
        "inventory": {"users": ["CloudWatchAgentServerUser-db"], "attach_to_roles": []},
        "notes": [],
        "notices": [],
        "report_files": [],
        "report_files_by_format": {"html": [], "json": [], "junit": [], "sarif": []},
        "key_regions": [US],
        "key_file_group": {"db": ""},
        "key_file_owner": {"db": ""},
        "hybrid_server_regions": [],
        "onprem_hosts": {
            "db": {
                "user": "CloudWatchAgentServerUser-db",
                "region": US,
                "key_region": US,
                "identity": "key",
                "deliver": False,
            }
        },
        "onprem_names": {US: ["db"]},
        "region": US,
        "regions": [US],
        "requires": [],
        "collect_hosts": ["db", "web", "adm"],
        "retired_users": {},
        "server_users": {US: ["CloudWatchAgentServerUser-db"]},
        "servers": [
            {"host": "db", "region": US, "user": "CloudWatchAgentServerUser-db", "configs": []},
            {"host": "web", "region": US, **WEB, "configs": []},
            {"host": "adm", "region": US, **ADMIN, "configs": []},
        ],
        "storing_host": "adm",
        "storing_region": US,
        "stores": False,
        "undelivered_hosts": [],
        "users": ["CloudWatchAgentServerUser-db"],
        "window_state": "closed",
    }


CONTROLLER_ROLE = "arn:aws:iam::123456789012:role/Controller"
SAMPLES = {"str": "text", "int": 30, "bool": True, "list": [], "dict": {"team": "ops"}}
VALID = {
    **{name: option.get("choices", [SAMPLES[option["type"]]])[-1] for name, option in OPTIONS.items()},
    "cwagent_configs": [{"name": "AmazonCloudWatch-a", "file": "a.json"}],
    "cwagent_parameter_name": "AmazonCloudWatch-b",
    "cwagent_batch_size": ["1", "20%"],
    "cwagent_on_other_profile": "replace",
    "cwagent_account_id": "123456789012",
    "cwagent_account_admin_instance_id": ADMIN["instance_id"],
    "cwagent_account_assume_role_arn": CONTROLLER_ROLE,
    "cwagent_account_regions": [EU, US],
    "cwagent_account_session_duration": 900,
    "cwagent_iam_path": "/monitoring/",
    "cwagent_permissions_boundary": "arn:aws:iam::aws:policy/ReadOnlyAccess",
    "cwagent_key_store_prefix": "/keys/",
    "cwagent_region": EU,
    "cwagent_report_files": ["audit.html"],
    "cwagent_hybrid_role_name": "Hybrid",
    "cwagent_server_role_name": "Server",
    "cwagent_user_name": "agent",
}


@pytest.mark.parametrize("name", RUN_OPTIONS)
def test_a_variable_of_the_run_can_be_set_anywhere(name):
    value = VALID[name]
    on_host = inputs_of(hosts={"adm": {**ADMIN, name: value}})
    assert inputs_of(controller={name: value}) == on_host
    assert inputs_of(controller={name: value}, hosts={"adm": {**ADMIN, name: value}}) == on_host
    if name not in ("cwagent_configs", "cwagent_report_files"):
        assert run_value(on_host, name) == value


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ([], "cwagent_on_other_profile is attach, so set cwagent_attach_to_roles to the roles"),
        (["Shop", "arn:aws:iam::123456789012:role/Batch"], "cwagent_attach_to_roles: 'arn:aws:iam::"),
    ],
)
def test_roles_to_attach_the_policy_to_are_named(roles, problem):
    controller = {"cwagent_on_other_profile": "attach", "cwagent_attach_to_roles": roles}
    [found] = interpret(a_run(controller=controller, requires=[KEY_STORE]))[1]
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("kind", "requires", "notices"), [("keep", [KEY_STORE], 1), ("attach", [KEY_STORE], 0), ("keep", [], 0)]
)
def test_roles_without_attach_have_no_effect_but_a_notice(kind, requires, notices):
    controller = {"cwagent_attach_to_roles": "Shop", "cwagent_on_other_profile": kind}
    found = interpret(a_run(controller=controller, requires=requires))[0]["notices"]
    assert sum("cwagent_attach_to_roles has no effect" in each for each in found) == notices


def test_the_audit_knows_the_roles_that_are_to_have_the_policy():
    roles = {"cwagent_attach_to_roles": "Shop,Batch"}
    kept = inputs_of(controller={**roles, "cwagent_on_other_profile": "keep"})
    attached = inputs_of(controller={**roles, "cwagent_on_other_profile": "attach"})
    assert [each["inventory"]["attach_to_roles"] for each in (kept, attached)] == [[], ["Shop", "Batch"]]


def in_a_survey(value):
    """The answer to a question of a survey: an integer question gives an integer, any other gives text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return (
        str(value).lower()
        if isinstance(value, bool)
        else yaml.safe_dump(value)
        if not isinstance(value, str)
        else value
    )


# It is no question of a survey: its values can be secrets, and are handed on as they are.
@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {ENVIRONMENT}))
def test_the_answer_to_a_survey_is_the_same_as_the_value(name):
    value = VALID[name]
    answered, problems = interpret(run_with(name, in_a_survey(value), {}))
    assert problems == []
    assert answered == interpret(run_with(name, value, {}))[0]


@pytest.mark.parametrize("blank", [None, "", "  ", "\n"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_blank_is_the_same_as_not_set(name, blank):
    hosts = {"adm": {**ADMIN, name: blank}, "db": {name: blank}}
    assert inputs_of(controller={name: blank}, hosts=hosts) == inputs_of()
    if name != "cwagent_account_aws_profile":
        assert interpret(an_account({name: blank})) == interpret(an_account())


WRONG: dict[str, list[Any]] = {
    "str": [["a"], {"a": "b"}, True],
    "int": [["a"], {"a": "b"}, True, "seven", "1.5", 1.5, "日本"],
    "bool": [["a"], {"a": "b"}, "perhaps", 2, "日本"],
    "list": ["a", "[a", 5, True, {"a": "b"}, ["a"], [None], [{"name": "x"}], [{"name": "", "file": "x"}], "日本"],
    "dict": ["a", ["a"], 5, True, "日本"],
}
LONG, UNICODE = "x" * 65, "日本"
REFUSED: dict[str, list[Any]] = {
    "cwagent_parameter_name": [5, "linux", f"AmazonCloudWatch-{UNICODE}", "AmazonCloudWatch-a b"],
    "cwagent_configs": [
        [{"name": "x", "file": "y"}],
        [{"name": "AmazonCloudWatch-a", "file": "missing"}],
        [{"name": "AmazonCloudWatch-a", "file": each} for each in ("a", "b")],
        *(
            [{"name": "AmazonCloudWatch-a", "file": "a", "regions": regions}]
            for regions in (EU, [], ["eu-central"], [EU, EU], {EU: ""}, [[EU]], 5)
        ),
    ],
    "cwagent_config_file": ["missing.json"],
    "cwagent_agent_schema": ["~nobody/x"],
    "cwagent_admin_window_minutes": [0, 721, -1],
    "cwagent_environment": [
        {"a b": ""},
        {"": "x"},
        {"A=B": ""},
        {5: ""},
        {UNICODE: ""},
        {"A": ["b"]},
        {"A": {"b": "c"}},
    ],
    "cwagent_key_store_directory": ["/dev/null", "/dev/null/x", "~nobody/x", "/x\0"],
    "cwagent_server_role_name": [LONG, UNICODE, "a b", "CloudWatchAgentAdminRole", "cloudwatchagentADMINrole"],
    "cwagent_admin_role_name": [LONG, UNICODE, "a/b", "CloudWatchAgentServerRole"],
    "cwagent_permissions_boundary": [5, LONG, UNICODE, "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"],
    "cwagent_iam_path": [5, LONG, UNICODE, "monitoring"],
    "cwagent_tags": [{"aws:x": "y"}, {"a": "#"}, {"a": ["b"]}, {str(each): "" for each in range(51)}],
    "cwagent_parameter_tags": [{"aws:x": "y"}, {"a": "#"}, {"a": ["b"]}, {"": "x"}],
    "cwagent_key_max_age_days": [-1, 36501],
    "cwagent_key_retire_after_days": [-1, "36501"],
    "cwagent_report_files": [["a"], "a.html,b", ["a.html", "a.html"], [""]],
    "cwagent_region": [5, LONG, UNICODE, "eu-central", "EU-CENTRAL-1"],
    "cwagent_user_name": [LONG, UNICODE, "a b"],
    "cwagent_config_names": [["linux"], [f"AmazonCloudWatch-{UNICODE}"]],
    "cwagent_batch_size": [0, -1, 1.5, "0%", "101%", "1 2", "%", ["0"], ["1", "-1"], [1, 1.5], "[1, 101%]", "1,,2"],
    "cwagent_max_fail_percentage": [-1, 101, "10%"],
    "cwagent_account_id": ["12345678901", "1234567890123", "shop", "١٢٣٤٥٦٧٨٩٠١٢"],
    "cwagent_account_assume_role_arn": ["arn", "Controller", CONTROLLER_ROLE.replace("role", "user")],
    "cwagent_account_session_name": ["x", LONG, "a b", UNICODE],
    "cwagent_account_session_duration": [0, 899, 43201],
    "cwagent_account_regions": [["nowhere"], [EU, "a b"]],
    "cwagent_account_admin_instance_id": ["web", UNICODE],
}
BAD = [
    (name, value)
    for name, option in OPTIONS.items()
    for value in [
        NOPE,
        *(
            each
            for each in WRONG[option["type"]]
            if not (each == ["a"] and option.get("elements") == "str")
            and not (each == 5 and option.get("accepts_single"))
            and not (isinstance(each, str) and name == "cwagent_attach_to_roles")  # one item, and a name of a role
        ),
        *(["other", 5, LONG, UNICODE] if "choices" in option else []),
        *REFUSED.get(name, []),
    ]
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_one_problem_that_names_the_variable(name, value):
    # A variable that is given with -e has its value for the controller and all hosts.
    given_to_all = {name: value}
    hosts = {"web": {**WEB, **given_to_all}, "adm": {**ADMIN, **given_to_all}, "db": given_to_all}
    if name == "cwagent_user_name":
        hosts["db"] = {**given_to_all, "cwagent_admin_user_name": "Admin"}
    inputs, problems = interpret(run_with(name, value, hosts))
    [problem] = problems
    assert name in problem
    assert problem.endswith(".")
    is_typed = value is not NOPE and value not in WRONG[OPTIONS[name]["type"]] and "choices" not in OPTIONS[name]
    if name in RUN_OPTIONS and not is_typed:
        # Modules run in the folder of the playbook, so the input has the absolute path of the folder.
        interpreted = {
            "cwagent_key_store_directory": f"/tmp/{default_of('cwagent_key_store_directory')}",  # noqa: S108
        }
        assert run_value(inputs, name) == interpreted.get(name, default_of(name))


@pytest.mark.parametrize("name", ["cwagent_key_store_prefix"])
@pytest.mark.parametrize(
    ("store", "value"),
    [("parameter_store", "/aws/"), ("parameter_store", "AmazonCloudWatch-"), ("secrets_manager", "a b")],
)
def test_a_bad_prefix_is_a_problem_where_keys_are_saved(name, store, value):
    variables = {"cwagent_key_store": store, name: value}
    [problem] = problems_of(controller=variables)
    assert problem.startswith(f"{name}: ")
    assert problems_of({"ec2_admin": ["adm"]}, controller=variables) == []
    assert problems_of(controller={name: value}) == []


SECRET = "s3cret"


@pytest.mark.parametrize(
    "value", [{"HTTPS_PROXY": f"http://u:{SECRET}@proxy"}, {"A": [SECRET]}, {"a b": SECRET}, f"A={SECRET}", [SECRET]]
)
def test_the_environment_of_a_host_never_appears_in_results(value):
    for run in (
        a_run(hosts={"adm": {**ADMIN, ENVIRONMENT: value}}),
        a_run(controller={ENVIRONMENT: value}),
        an_account({ENVIRONMENT: value}),
    ):
        inputs, problems = interpret(run)
        assert SECRET not in f"{inputs}{problems}"
        assert "environment" not in inputs
        assert len(problems) == (0 if "HTTPS_PROXY" in value else 1)


@pytest.mark.parametrize("attribute", ["owner", "group"])
def test_the_file_with_the_key_belongs_to_whom_the_host_says(attribute):
    name = f"cwagent_key_file_{attribute}"
    hosts = {"a": {name: "agent"}, "b": {name: 1001}, "c": {name: ""}}
    inputs = inputs_of({"onprem_servers": list("abc")}, hosts)
    assert inputs[f"key_file_{attribute}"] == {"a": "agent", "b": "1001", "c": ""}


def test_a_variable_of_a_role_that_the_playbooks_set_is_a_problem_that_names_theirs():
    given_for_roles = {"store_config_split": "cwagent_split_config", "verify_servers": ""}
    assert problems_of(role_variables=given_for_roles) == [
        f"{name} is a variable of a role that the playbooks set. {fix}"
        for name, fix in (
            ("store_config_split", "Set cwagent_split_config instead."),
            ("verify_servers", "Remove it from the inventory and the command line."),
        )
    ]


def test_each_variable_of_a_role_that_the_playbooks_set_has_the_one_it_is_set_from():
    settings = {
        "__cwagent_internal": "{{ __cwagent.adopt_existing }}",
        "a_adopt": "{{ __cwagent.adopt_existing }}",
        "b_adopt": "{{ a_adopt }}",
        "b_environment": "{{ cwagent_environment | default({}) if cwagent_environment is mapping else {} }}",
        "b_users": "{{ __cwagent.admin_users.values() | flatten }}",
        "b_user": "{{ __cwagent.onprem_hosts[inventory_hostname].user }}",
        "b_owner": "{{ __cwagent.key_file_owner[inventory_hostname] }}",
        "b_both": "{{ __cwagent.tags + __cwagent.parameter_tags }}",
        "b_list": [],
    }
    found = find_role_variables(settings, OPTIONS)
    assert {name: found[name] for name in settings if name in found} == {
        "a_adopt": "cwagent_adopt_existing",
        "b_adopt": "cwagent_adopt_existing",
        "b_environment": "cwagent_environment",
        "b_users": "",
        "b_user": "",
        "b_owner": "cwagent_key_file_owner",
        "b_both": "",
        "b_list": "",
    }


@pytest.mark.parametrize("name", CONTAINER_VARIABLES)
def test_files_are_fine_in_a_container_that_may_save_nothing(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert problems_of() == []


@pytest.mark.parametrize("name", CONTAINER_VARIABLES)
def test_files_in_a_container_must_be_allowed_where_keys_are_saved(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    [problem] = problems_of(requires=["key_store"])
    assert problem.startswith("cwagent_key_store_directory: saved_key.key_store: this is an execution environment")
    for variables in ({"cwagent_key_store_allow_ephemeral": True}, {"cwagent_key_store": "parameter_store"}):
        assert problems_of(controller=variables, requires=["key_store"]) == []
    assert problems_of({"ec2_admin": ["adm"]}, requires=["key_store"]) == []  # there are no keys


CORE, OLDER = "AmazonSSMManagedInstanceCore", "AmazonEC2RoleforSSM"
NO_USERS = {"ec2_servers": ["web"], "ec2_admin": ["adm"]}
ADMIN_USER_ONLY = {**NO_USERS, "onprem_admin": ["ops"]}


READS_ALL = {"cwagent_key_store": "parameter_store", "cwagent_ssm_policy": CORE}


@pytest.mark.parametrize(
    ("changes", "groups", "requires", "count"),
    [
        ({}, None, [KEY_STORE], 1),
        ({"cwagent_ssm_policy": OLDER, "cwagent_key_store_kms_key_id": " "}, None, [KEY_STORE], 1),
        ({}, None, [KEY_STORE, ROTATION], 1),
        ({}, ADMIN_USER_ONLY, [KEY_STORE], 1),
        ({"cwagent_key_store_kms_key_id": "alias/keys"}, None, [KEY_STORE], 0),
        ({"cwagent_ssm_policy": "none"}, None, [KEY_STORE], 0),
        ({"cwagent_ssm_policy": ""}, None, [KEY_STORE], 0),
        ({"cwagent_key_store": "secrets_manager"}, None, [KEY_STORE], 0),
        ({"cwagent_key_store": "file"}, None, [KEY_STORE], 0),
        ({}, NO_USERS, [KEY_STORE], 0),
        ({}, None, [], 0),
        ({}, None, [AUDIT], 0),
        ({}, None, [SERVERS], 0),
    ],
)
def test_keys_that_a_policy_of_the_run_could_read_need_a_kms_key(changes, groups, requires, count):
    controller = {**READS_ALL, **changes}
    message = (
        "cwagent_key_store_kms_key_id is not set, cwagent_key_store is parameter_store, and cwagent_ssm_policy is "
        f"{controller['cwagent_ssm_policy']}. That policy allows reading every parameter that the AWS managed key "
        "encrypts, including the saved access keys. Set cwagent_key_store_kms_key_id to a KMS key that the servers "
        "cannot use."
    )
    assert problems_of(groups, controller=controller, requires=requires) == count * [message]


def test_a_third_value_of_a_variable_is_not_reported_again():
    hosts = {name: {**more, "cwagent_tags": {"a": name}} for name, more in {"web": WEB, "adm": ADMIN, "db": {}}.items()}
    assert len(problems_of(hosts=hosts)) == 1


def test_a_variable_has_one_value_for_the_run():
    hosts = {"web": {**WEB, "cwagent_tags": {"a": "b"}}, "adm": {**ADMIN, "cwagent_tags": {"a": "c"}}}
    assert problems_of(hosts=hosts) == [
        "cwagent_tags is '{'a': 'b'}' for host web and '{'a': 'c'}' for host adm; a run has one value for all."
    ]
    hosts = {"web": {**WEB, "cwagent_key_max_age_days": "30"}, "adm": {**ADMIN, "cwagent_key_max_age_days": " "}}
    assert problems_of(hosts=hosts, controller={"cwagent_key_max_age_days": 30}) == []
    [problem] = problems_of(hosts=hosts, controller={"cwagent_key_max_age_days": 31})
    assert problem.startswith("cwagent_key_max_age_days is '31' for the controller and '30' for host web; ")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cwagent_config_fil", "; did you mean cwagent_config_file?"),
        ("cwagent_servers_role", "; did you mean cwagent_server_role_name?"),
        ("cwagent_zzz", "."),
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
        ("cwagent_ec2_servers_prod", None),
        ("cwagent_windows", None),
        ("servers", None),
    ],
)
def test_a_group_whose_name_is_almost_one_of_ours_is_a_problem_if_its_hosts_are_left_out(group, near):
    run = a_run()
    problem = f"Group {group} is not one of this collection; did you mean {near}?"
    found = interpret(replace(run, groups={**run.groups, group: ["web", "new"]}))[1]
    assert found == ([problem] if near else [])
    assert interpret(replace(run, groups={**run.groups, group: ["web"]}))[1] == []


# Hosts


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, "instance_id is not set; it is the ID of the EC2 instance."),
        ({"instance_id": " "}, "instance_id is not set; it is the ID of the EC2 instance."),
        ({"instance_id": None}, "instance_id is not set; it is the ID of the EC2 instance."),
        ({"instance_id": NOPE}, "instance_id cannot be evaluated: 'nope' is undefined."),
        ({"instance_id": {"a": 1}}, "instance_id must be text, not '{'a': 1}'."),
        ({"instance_id": ["i-01234567"]}, "instance_id must be text, not '['i-01234567']'."),
        ({"instance_id": 5}, "instance_id: '5' is not a valid EC2 instance ID: "),
        ({"instance_id": UNICODE}, f"instance_id: '{UNICODE}' is not a valid EC2 instance ID: "),
        (
            {**WEB, "cwagent_region": "eu-central-\uff11"},
            "cwagent_region: 'eu-central-\uff11' is not the name of an AWS region, ",
        ),
        ({**WEB, "cwagent_region": "x"}, "cwagent_region: 'x' is not the name of an AWS region, "),
        ({**WEB, "placement": {"region": "x"}}, "placement.region: 'x' is not the name of an AWS region, "),
        ({**WEB, "placement": {"region": ["x"]}}, "placement.region must be text, not '['x']'."),
        ({**WEB, "placement": NOPE}, "placement.region cannot be evaluated: 'nope' is undefined."),
    ],
)
def test_a_bad_variable_of_an_ec2_host_is_one_problem_that_names_the_host(variables, problem):
    inputs, problems = interpret(a_run(hosts={"web": variables}))
    assert [each[: len(problem) + len("Host web: ")] for each in problems] == [f"Host web: {problem}"]
    assert inputs["instances"][US][-1] == ADMIN["instance_id"]


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, US),
        ({"cwagent_region": EU}, EU),
        ({"cwagent_region": EU, "placement": {"region": "eu-west-1"}}, EU),
        ({"cwagent_region": EU, "placement": NOPE}, EU),
        ({"placement": {"region": EU}}, EU),
        ({"cwagent_region": "", "placement": {"region": EU}}, EU),
        ({"placement": {"zone": "a"}}, US),
        ({"placement": "rack 4"}, US),
        ({"placement": None}, US),
    ],
)
def test_the_region_of_a_host(variables, region):
    inputs = inputs_of({"ec2_admin": ["adm"]}, {"adm": {**ADMIN, **variables}})
    assert inputs["storing_region"] == region
    assert inputs["instances"] == {region: [ADMIN["instance_id"]]}
    assert inputs["regions"] == [region]
    assert inputs["region"] == US


@pytest.mark.parametrize(
    ("controller", "of_tools", "hosts", "region"),
    [
        ({"cwagent_region": EU}, US, {}, EU),
        ({"cwagent_region": EU}, "", {}, EU),
        ({"cwagent_region": " "}, US, {}, US),
        ({}, US, {"adm": {**ADMIN, "cwagent_region": EU}}, US),
        ({}, "", {"adm": {**ADMIN, "cwagent_region": EU}}, EU),
        ({}, "us-isob-east-1", {}, "us-isob-east-1"),
    ],
)
def test_the_region_of_the_run(controller, of_tools, hosts, region):
    assert inputs_of(hosts=hosts, controller=controller, region=of_tools)["region"] == region


def test_without_any_region_there_is_one_problem():
    assert problems_of(region="") == [NO_REGION]
    [problem] = problems_of(region="", controller={"cwagent_region": "x"})
    assert problem.startswith("cwagent_region: 'x'")
    [problem] = problems_of(region="x")
    assert problem.startswith("The default region of the AWS tools: 'x'")


def test_a_region_of_the_aws_tools_that_cannot_be_read_is_one_problem():
    def fail(_profile):
        raise InvalidInput("The AWS configuration cannot be read: no profile.")

    run = replace(a_run(), find_default_region=fail)
    assert interpret(run)[1] == ["The AWS configuration cannot be read: no profile."]


def test_an_instance_of_two_hosts_is_listed_once():
    groups = {"ec2_servers": ["a", "b", "c"], "ec2_admin": ["a"]}
    hosts = {"a": {**WEB, "cwagent_region": EU}, "b": {**WEB}, "c": {**ADMIN}}
    inputs = inputs_of(groups, hosts)
    assert inputs["instances"] == {EU: [WEB["instance_id"]], US: [ADMIN["instance_id"]]}
    assert inputs["regions"] == [EU, US]


def test_a_long_host_name_needs_a_user_name():
    host = "ec2-203-0-113-25.compute-1.amazonaws.com"
    [problem] = problems_of({"ec2_admin": ["adm"], "onprem_servers": [host]})
    assert problem.startswith(f"Host {host}: 'CloudWatchAgentServerUser-{host}' is not a valid user name: ")
    assert problem.endswith("Set cwagent_user_name for this host.")
    users = inputs_of({"onprem_servers": [host]}, {host: {"cwagent_user_name": "db"}})["server_users"]
    assert users == {US: ["db"]}


def test_servers_can_share_a_user():
    hosts = {"a": {"cwagent_region": EU}, "b": {"cwagent_deliver_keys": "yes"}, "c": {"cwagent_user_name": "C"}}
    inputs = inputs_of({"onprem_servers": list(hosts)}, hosts, {"cwagent_onprem_users": "shared"})
    assert inputs["server_users"] == {EU: ["CloudWatchAgentServerUser"], US: ["C"]}
    assert [each["key_region"] for each in inputs["onprem_hosts"].values()] == [EU, EU, US]
    assert [each["region"] for each in inputs["onprem_hosts"].values()] == [EU, US, US]
    assert inputs["delivery_hosts"] == ["b"]


@pytest.mark.parametrize(("for_all", "own", "deliver"), [(True, None, True), (True, "no", False), (None, "yes", True)])
def test_delivery_is_a_choice_of_the_host(for_all, own, deliver):
    name = "cwagent_deliver_keys"
    inputs = inputs_of(hosts={"db": {name: own}}, controller={name: for_all})
    assert inputs["onprem_hosts"]["db"]["deliver"] is deliver


def test_users_must_differ_by_more_than_case():
    groups, hosts = {"onprem_servers": ["a", "b"]}, {"a": {"cwagent_user_name": "U"}, "b": {"cwagent_user_name": "u"}}
    assert problems_of(groups, hosts) == [
        "cwagent_user_name: 'U' and 'u' differ only by case, and IAM treats them as the same name."
    ]


def test_the_admin_user_is_no_server_user():
    groups = {"onprem_servers": ["db"], "onprem_admin": ["ops"]}
    assert inputs_of(groups)["admin_users"] == {US: ["CloudWatchAgentAdminUser"]}
    [problem] = problems_of(groups, {"db": {"cwagent_user_name": "CLOUDWATCHAGENTADMINUSER"}})
    assert problem.startswith("'CloudWatchAgentAdminUser' would be both a server user and the admin user.")
    [problem] = problems_of(groups, {"ops": {"cwagent_admin_user_name": "a b"}})
    assert problem.startswith("Host ops: 'a b' is not a valid user name: ")


# Groups, stored configurations and the requirements of playbooks

ONE_FILE = {"cwagent_config_file": "a.json"}
FROM_CONTROLLER = {**ONE_FILE, "cwagent_store_config_from": "controller"}
FROM_ONPREM = {**ONE_FILE, "cwagent_store_config_from": "onprem"}
FROM_SSM, FROM_AUTO = ({**ONE_FILE, "cwagent_store_config_from": source} for source in ("run_command", "auto"))


@pytest.mark.parametrize(
    ("groups", "controller", "words"),
    [
        ({}, {}, ["The inventory has no hosts"]),
        ({"other": ["x"]}, {}, ["No host of the inventory is in one of the groups cwagent_ec2_servers, "]),
        ({"other": ["x"]}, {"cwagent_store_config_from": "controller"}, ["No host of the inventory"]),
        (
            {"ec2_servers": ["web"]},
            ONE_FILE,
            ["cwagent_ec2_admin must have exactly one host", "but has none", "To store it"],
        ),
        ({"onprem_servers": ["db"]}, FROM_SSM, ["cwagent_ec2_admin must have exactly one host"]),
        ({"onprem_servers": ["db"]}, FROM_AUTO, ["cwagent_ec2_admin must have exactly one host"]),
        ({"onprem_servers": ["db"]}, ONE_FILE, ["cwagent_ec2_admin must have exactly one host"]),
        ({"ec2_admin": ["adm", "web"]}, ONE_FILE, ["cwagent_ec2_admin must have exactly one host", "has adm, web"]),
        ({"ec2_admin": ["adm", "web"]}, {}, ["cwagent_ec2_admin must have at most one host, but has adm, web."]),
        ({"ec2_admin": ["adm", "web"]}, FROM_CONTROLLER, ["must have at most one host, but has adm, web."]),
        ({"onprem_admin": ["a", "b"]}, {}, ["cwagent_onprem_admin must have at most one host", "has a, b"]),
        ({"onprem_servers": ["a"]}, FROM_ONPREM, ["exactly one when cwagent_store_config_from is onprem", "has none"]),
    ],
)
def test_groups_that_do_not_fit_are_one_problem(groups, controller, words):
    [problem] = problems_of(groups, controller=controller)
    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize("source", ["instance", "run_command", "auto", "controller"])
@pytest.mark.parametrize("requires", [[], [KEY_STORE], [KEY_STORE, ROTATION], [CONFIRMATION], [REMOVAL]])
def test_servers_on_ec2_need_no_admin_instance_where_nothing_is_stored(source, requires):
    controller = {
        "cwagent_store_config_from": source,
        "cwagent_confirm": "remove_servers" if REMOVAL in requires else "teardown",
        "cwagent_remove_servers": ["db"],
    }
    inputs = inputs_of({"ec2_servers": ["web"], "onprem_servers": ["db"]}, controller=controller, requires=requires)
    assert not inputs["stores"]


@pytest.mark.parametrize(
    ("groups", "more"),
    [
        ({}, {}),
        ({"other": ["x"]}, {"requires": ["confirmation"]}),
        ({"ec2_admin": ["adm"], "ec2_servers": ["web"]}, {"requires": ["admin_instance"], "limit": {"localhost"}}),
    ],
)
def test_in_awx_no_message_names_the_command_line(groups, more):
    problems = problems_of(groups, in_awx=True, **more)
    assert problems
    assert [problem for problem in problems if re.search(r"(?<!\w)-", problem)] == []


def test_in_awx_a_slice_of_a_job_lacks_hosts():
    [problem] = problems_of({"ec2_servers": ["web"]}, controller=ONE_FILE, in_awx=True)
    assert problem.endswith("In AWX, each slice of a job sees only some of the hosts; set job_slice_count to 1.")


@pytest.mark.parametrize(
    ("groups", "controller", "host"),
    [
        ({"ec2_admin": ["adm"]}, ONE_FILE, "adm"),
        ({"ec2_admin": ["adm"]}, FROM_SSM, "adm"),
        ({"ec2_admin": ["adm"]}, FROM_AUTO, "adm"),
        ({"ec2_admin": ["adm"]}, {}, ""),
        ({"onprem_admin": ["ops"]}, FROM_ONPREM, "ops"),
        ({"other": ["x"]}, FROM_CONTROLLER, "localhost"),
        ({"onprem_servers": ["db"]}, {}, ""),
    ],
)
def test_the_host_that_stores(groups, controller, host):
    inputs = inputs_of(groups, controller=controller)
    assert (inputs["stores"] and inputs["storing_host"]) == (host or False)


@pytest.mark.parametrize("source", ["instance", "run_command", "auto", "controller", "onprem"])
def test_a_window_is_opened_for_the_admin_instance_whatever_stores(source):
    groups = {"ec2_admin": ["adm"], "onprem_admin": ["ops"]}
    inputs = inputs_of(groups, controller={"cwagent_store_config_from": source}, requires=[ADMIN_INSTANCE])
    found = {name: inputs[name] for name in ("stores", "storing_host", "store_config_from")}
    assert found == {"stores": True, "storing_host": "adm", "store_config_from": "instance"}


@pytest.mark.parametrize(
    ("requires", "stores", "needs_admin_instance"),
    [
        ([], False, False),
        ([KEY_STORE], True, True),
        ([CONFIGS], True, True),
        ([CONFIGS_ONLY], True, False),
        ([ADMIN_INSTANCE], False, True),
        ([KEY_STORE, ROTATION], False, False),
        ([CONFIRMATION], False, False),
        ([RESTORE], False, False),
        ([REMOVAL, ONE_ACCOUNT], False, False),
    ],
)
def test_the_work_of_a_playbook(requires, stores, needs_admin_instance):
    given = a_run(requires=requires)
    assert (given.stores, given.needs_admin_instance) == (stores, needs_admin_instance)


NOTHING_STORED = "No configuration was given (cwagent_config_file or cwagent_configs), so nothing was stored."
LEFT_OUT = "The limit leaves out db. Nothing was changed there."


@pytest.mark.parametrize(
    ("controller", "requires", "notes"),
    [
        ({}, [KEY_STORE], [NOTHING_STORED, LEFT_OUT]),
        (ONE_FILE, [KEY_STORE], [LEFT_OUT]),
        ({"cwagent_confirm": "teardown"}, [CONFIRMATION], [LEFT_OUT]),
        (ONE_FILE, [CONFIGS], []),
        ({}, [RESTORE], []),
    ],
)
def test_the_report_lists_omitted_work(controller, requires, notes):
    hosts = {"db": {"cwagent_deliver_keys": True}}
    inputs = inputs_of(hosts=hosts, controller=controller, requires=requires, limit={"localhost", "adm"})
    assert inputs["notes"] == notes


@pytest.mark.parametrize(
    ("has_window", "requires", "state"),
    [
        (True, [KEY_STORE], "closed"),
        (True, [RESTORE], "closed"),
        (False, [KEY_STORE], "absent"),
        (False, [RESTORE], "keep"),
        (False, [CONFIRMATION], "keep"),
    ],
)
def test_only_the_whole_job_removes_windows(has_window, requires, state):
    controller = {"cwagent_admin_window": has_window, "cwagent_confirm": "teardown"}
    assert inputs_of(controller=controller, requires=requires)["window_state"] == state


REVOKED = (
    "Each access key that this run replaces is deactivated as soon as the new one is saved. Until the server has the "
    "new one, its agent cannot send."
)


@pytest.mark.parametrize(
    ("delivers", "controller", "more"),
    [
        (True, {}, " This run delivers the new access key to: db."),
        (False, {}, " It does not deliver to these, so do that yourself: db."),
        (True, {"cwagent_revoke_old": False}, None),
    ],
)
def test_a_run_lists_agents_that_cannot_send_without_their_new_key(delivers, controller, more):
    hosts = {"db": {"cwagent_deliver_keys": delivers}}
    variables = {"cwagent_rotate_now": True, "cwagent_revoke_old": True, **controller}
    inputs = inputs_of({"onprem_servers": ["db"]}, hosts, variables, requires=[KEY_STORE, ROTATION])
    assert inputs["notices"] == ([] if more is None else [f"{REVOKED}{more}"])


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"instances": {}, "admin_instance": None}, "servers: none"),
        (
            {
                "instances": {EU: ["i-1", "i-2"], US: ["i-3"]},
                "admin_instance": {"region": US, "instance_id": "i-3"},
            },
            f"servers: 2 in {EU}, 1 in {US}; i-3 in {US} stores the configuration",
        ),
    ],
)
def test_which_servers_were_found(found, line):
    assert found_line(found) == line


def test_a_clean_up_skips_no_account():
    run = an_account({"cwagent_max_fail_percentage": 0})
    assert interpret(replace(run, requires=[RESTORE]))[0]["max_fail_percentage"] == 100


def test_the_configurations():
    one = {"cwagent_config_file": "a.json"}
    assert inputs_of(controller=one)["configs"] == [{"name": "AmazonCloudWatch-linux", "file": "/here/a.json"}]
    several = {"cwagent_configs": [{"name": "AmazonCloudWatch-x", "file": "b.json"}]}
    assert inputs_of(controller=several)["configs"] == [{"name": "AmazonCloudWatch-x", "file": "/here/b.json"}]


PLACES = {"the controller": "localhost", "host adm": "adm", "host db": "db"}


@pytest.mark.parametrize("blank", [None, "", " "])
@pytest.mark.parametrize("listed_for", PLACES)
@pytest.mark.parametrize("file_for", PLACES)
def test_two_sources_of_configurations_are_one_problem_with_places_that_differ(file_for, listed_for, blank):
    def problems(file, listed):
        variables = {"localhost": {}, "adm": dict(ADMIN), "db": {}}
        variables[PLACES[file_for]]["cwagent_config_file"] = file
        variables[PLACES[listed_for]]["cwagent_configs"] = listed
        return problems_of(controller=variables.pop("localhost"), hosts=variables)

    listed = [{"name": "AmazonCloudWatch-x", "file": "b.json"}]
    sources = (
        "cwagent_config_file and cwagent_configs"
        if file_for == listed_for
        else f"cwagent_config_file ({file_for}) and cwagent_configs ({listed_for})"
    )
    message = (
        f"{sources} are both set, so it is not clear what to store. Set only one of the two. An extra variable (-e) "
        "counts beside the inventory's."
    )
    assert problems("a.json", listed) == [message]
    assert problems(blank, listed) == problems("a.json", blank) == problems("a.json", []) == []


def test_a_file_on_the_command_line_is_refused_beside_listed_configurations():
    """Ansible gives the controller and each host both."""
    both = {**ONE_FILE, "cwagent_configs": [{"name": "AmazonCloudWatch-x", "file": "b.json"}]}
    [problem] = problems_of(hosts={"web": {**WEB, **both}, "adm": {**ADMIN, **both}, "db": both}, controller=both)
    assert problem.startswith("cwagent_config_file and cwagent_configs are both set, ")


@pytest.mark.parametrize("listed", [[], [{"name": "AmazonCloudWatch-x", "file": "b.json"}]])
@pytest.mark.parametrize("name", [None, "", " ", default_of("cwagent_parameter_name"), "AmazonCloudWatch-x"])
@pytest.mark.parametrize("place", PLACES.values())
def test_a_parameter_name_beside_listed_configurations_is_a_problem(place, name, listed):
    """AWX asks for the name and passes a blank where nobody answers."""
    variables = {"localhost": {}, "adm": dict(ADMIN), "db": {}}
    variables[place]["cwagent_parameter_name"] = name
    controller = {**variables.pop("localhost"), "cwagent_configs": listed}
    problem = (
        "cwagent_parameter_name is 'AmazonCloudWatch-x', but each entry of cwagent_configs has its own name. Unset "
        "cwagent_parameter_name."
    )
    is_dropped = bool(listed) and name == "AmazonCloudWatch-x"
    assert problems_of(controller=controller, hosts=variables) == [problem] * is_dropped


HOME_ENTRY, AWAY_ENTRY = ({"name": "AmazonCloudWatch-x", "file": "b.json", "regions": [region]} for region in (EU, US))


def test_a_configuration_can_name_its_regions():
    entries = [HOME_ENTRY, {**AWAY_ENTRY, "regions": ""}]
    found = inputs_of(hosts={"web": {**WEB, "cwagent_region": US}}, controller={"cwagent_configs": entries})["configs"]
    assert found == [
        {"name": "AmazonCloudWatch-x", "file": "/here/b.json", "regions": [EU]},
        {"name": "AmazonCloudWatch-x", "file": "/here/b.json"},
    ]


@pytest.mark.parametrize(
    ("entries", "count"),
    [
        ([HOME_ENTRY, AWAY_ENTRY], 0),
        ([HOME_ENTRY, HOME_ENTRY], 1),
        ([HOME_ENTRY, {**AWAY_ENTRY, "regions": [US, EU]}], 1),
        ([HOME_ENTRY, {"name": "AmazonCloudWatch-x", "file": "b.json"}], 0),  # the hosts are in another region
        ([AWAY_ENTRY, {"name": "AmazonCloudWatch-x", "file": "b.json"}], 1),
    ],
)
def test_configurations_of_one_name_are_for_different_regions(entries, count):
    duplicate = "cwagent_configs has a duplicate parameter name: AmazonCloudWatch-x."
    assert problems_of(controller={"cwagent_configs": entries}) == [duplicate] * count


@pytest.mark.parametrize(
    ("requires", "controller", "words"),
    [
        (["configs"], {}, "There is no configuration."),
        (["configs_only"], {}, "There is no configuration."),
        (["configs"], ONE_FILE, ""),
        (["admin_instance"], {}, ""),
    ],
)
def test_the_requirements_of_a_playbook(requires, controller, words):
    problems = problems_of(controller=controller, requires=requires)
    assert len(problems) == bool(words)
    assert words in "".join(problems)


@pytest.mark.parametrize("answer", [None, "", " ", "teardown", " teardown ", "remove_servers", "true", True, NOPE])
@pytest.mark.parametrize(
    ("requires", "own"), [(CONFIRMATION, "teardown"), (REMOVAL, "remove_servers"), (ROTATION, None), (KEY_STORE, None)]
)
def test_each_deletion_has_a_confirmation_that_confirms_no_other(requires, own, answer):
    controller = {"cwagent_remove_servers": ["db"], "cwagent_confirm": answer}
    problems = problems_of(controller=controller, requires=[requires])
    is_confirmed = isinstance(answer, str) and answer.strip() == own
    asks = [each for each in problems if each.endswith(f"To confirm, set cwagent_confirm to {own}.")]
    assert len(asks) == (own is not None and not is_confirmed)
    is_a_choice = answer is None or (isinstance(answer, str) and answer.strip() in ("", "teardown", "remove_servers"))
    assert len(problems) == len(asks) + (not is_a_choice)


def test_a_playbook_can_require_the_admin_instance():
    [problem] = problems_of({"onprem_servers": ["db"]}, requires=["admin_instance"])
    assert problem.startswith("The group cwagent_ec2_admin must have exactly one host")


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ({"controller": ONE_FILE, "limit": ["localhost", "web"]}, ["adm"]),
        ({"controller": ONE_FILE, "limit": ["localhost", "adm"]}, []),
        ({"controller": FROM_CONTROLLER, "limit": ["localhost"]}, []),
        ({"limit": ["localhost"]}, []),
        ({"limit": ["localhost"], "requires": ["admin_instance"]}, ["adm"]),
    ],
)
def test_a_limit_that_leaves_out_the_host_that_stores_is_a_problem(options, hosts):
    assert problems_of(**options) == [
        f"The limit leaves out host {host}, which stores the configuration. Run without it." for host in hosts
    ]


@pytest.mark.parametrize(
    ("limit", "undelivered"), [(None, []), (["localhost", "a", "b"], []), (["localhost", "a"], ["b"]), ([], ["a", "b"])]
)
def test_a_limit_can_leave_out_hosts_to_which_a_key_is_delivered(limit, undelivered):
    controller = {"cwagent_deliver_keys": True}
    inputs = inputs_of({"onprem_servers": ["a", "b"]}, controller=controller, limit=limit)
    assert inputs["undelivered_hosts"] == undelivered


LEAVING = {"onprem_servers": ["a", "b", "c"], "onprem_admin": ["o"], "ec2_admin": ["adm"]}
A, B, ADMIN_USER = "CloudWatchAgentServerUser-a", "shared", "CloudWatchAgentAdminUser"


@pytest.mark.parametrize(
    ("limit", "servers", "admins", "delivered", "undelivered"),
    [
        (None, {EU: [A], US: [B]}, {US: [ADMIN_USER]}, ["a", "b"], ["c"]),
        (["localhost", "a"], {EU: [A]}, {}, ["a"], []),
        (["localhost", "b"], {US: [B]}, {}, ["b"], ["c"]),
        (["localhost", "c"], {US: [B]}, {}, [], ["b", "c"]),
        (["localhost", "o"], {}, {US: [ADMIN_USER]}, [], []),
    ],
)
def test_a_limit_chooses_whose_keys_are_rotated(limit, servers, admins, delivered, undelivered):
    """The hosts b and c share a user, which is saved in the region of b."""
    shared = {"cwagent_user_name": "shared", "cwagent_deliver_keys": True}
    hosts = {"a": {"cwagent_region": EU, "cwagent_deliver_keys": True}, "b": shared}
    hosts["c"] = {**shared, "cwagent_region": EU, "cwagent_deliver_keys": False}
    inputs = inputs_of(LEAVING, {**hosts, "adm": ADMIN}, ONE_FILE, limit=limit, requires=[ROTATION])
    assert inputs["server_users"] == servers
    assert inputs["admin_users"] == admins
    assert inputs["rotated_hosts"] == {"delivered": delivered, "undelivered": undelivered}
    assert inputs["undelivered_hosts"] == [host for host in undelivered if host == "b"]


@pytest.mark.parametrize(("groups", "count"), [(LEAVING, 1), ({"ec2_admin": ["adm"]}, 0)])
def test_a_limit_without_a_host_that_has_a_key_is_a_problem(groups, count):
    problem = (
        "The limit leaves out all hosts of the groups cwagent_onprem_servers and cwagent_onprem_admin. Name the hosts "
        "whose access keys to replace in it."
    )
    assert problems_of(groups, {"adm": ADMIN}, requires=[ROTATION], limit=["localhost"]) == count * [problem]


@pytest.mark.parametrize("revoke_old", [False, True])
@pytest.mark.parametrize(
    ("controller", "now"),
    [
        ({}, False),
        ({"cwagent_key_max_age_days": 1}, False),
        ({"cwagent_rotate_now": False, "cwagent_key_max_age_days": 1}, False),
        ({"cwagent_rotate_now": True}, True),
        ({"cwagent_rotate_now": "true", "cwagent_key_max_age_days": 0}, True),
    ],
)
def test_keys_are_replaced_at_their_age_or_now(controller, now, revoke_old):
    """Replacing all keys now is one wish, and deactivating the old ones early another."""
    inputs = inputs_of(controller={**controller, "cwagent_revoke_old": revoke_old}, requires=[ROTATION])
    assert (inputs["rotate_now"], inputs["revoke_old"]) == (now, revoke_old)
    assert inputs["key_max_age_days"] == controller.get("cwagent_key_max_age_days", 90)


@pytest.mark.parametrize("rotate_now", [None, "", False, True])
@pytest.mark.parametrize("zero", [0, "0"])
@pytest.mark.parametrize("requires", [[], *([each] for each in REQUIREMENTS)])
def test_an_age_without_limit_is_refused_by_a_rotation_that_depends_on_it(requires, zero, rotate_now):
    controller = {"cwagent_key_max_age_days": zero, "cwagent_rotate_now": rotate_now}
    inputs, found = interpret(a_run(controller=controller, requires=requires))
    assert inputs["key_max_age_days"] == 0
    message = (
        "cwagent_key_max_age_days is 0, which means no limit and is only for cwagent.iam.audit. Set the age in days at "
        "which to replace an access key. To replace all keys now, set cwagent_rotate_now to true."
    )
    refused = [message] if requires == [ROTATION] and rotate_now is not True else []
    assert [each for each in found if "cwagent_key_max_age_days" in each] == refused


SERVERS_OF = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["a", "b", "c"], "onprem_admin": ["o"]}
"""Host a has its own user, and Ansible delivers its key. Hosts b and c share a user."""
USER_A, GONE, GONE_ID = "CloudWatchAgentServerUser-a", "CloudWatchAgentServerUser-gone", "i-0123456789abcdef9"
TAKE_OUT = "Take {} out of the inventory: cwagent.iam.site would manage it again."
UNSET = "The access key on {} was not looked for: cwagent_deliver_keys is not set."
KEPT = "User 'shared' of b was kept, because c has it too. b knows its access key: cwagent.iam.rotate_keys replaces it."


def removal_of(*names, region=None, **variables):
    """The input, and the problems, of a removal in two regions."""
    own = {"cwagent_deliver_keys": True, "cwagent_region": EU}
    shared = {"cwagent_user_name": "shared", "cwagent_region": region or US}
    hosts = {**INSTANCES, "a": own, "b": shared, "c": shared}
    controller = {"cwagent_remove_servers": list(names), "cwagent_confirm": "remove_servers", **variables}
    inputs, problems = interpret(a_run(SERVERS_OF, hosts, controller, requires=[REMOVAL]))
    return inputs["removal"], problems


@pytest.mark.parametrize(
    ("names", "users", "instances", "key_hosts", "notes"),
    [
        (["a"], {EU: [USER_A]}, {}, ["a"], [TAKE_OUT.format("a")]),
        (["web"], {}, {US: [WEB["instance_id"]]}, [], [TAKE_OUT.format("web")]),
        (["b", "c"], {US: ["shared"]}, {}, [], [UNSET.format("b, c"), TAKE_OUT.format("b, c")]),
        (["b"], {}, {}, [], [KEPT, UNSET.format("b"), TAKE_OUT.format("b")]),
        ([f"{EU}:{GONE}", f"{US}:{GONE_ID}"], {EU: [GONE]}, {US: [GONE_ID]}, [], []),
        ([f"{EU}:{GONE}", f"{US}:{GONE}", f"{US}:{GONE}"], {EU: [GONE], US: [GONE]}, {}, [], []),
        ([GONE, f"{US}:{GONE}"], {US: [GONE]}, {}, [], []),
        (["a", f"{US}:{USER_A}"], {EU: [USER_A], US: [USER_A]}, {}, ["a"], [TAKE_OUT.format("a")]),
        ([GONE, GONE, "a"], {US: [GONE], EU: [USER_A]}, {}, ["a"], [TAKE_OUT.format("a")]),
        ([USER_A, "a"], {EU: [USER_A]}, {}, ["a"], [TAKE_OUT.format("a")]),
    ],
)
def test_the_things_of_servers_that_leave(names, users, instances, key_hosts, notes):
    removal, problems = removal_of(*names)
    assert problems == []
    everything = [each for found in removal.pop("remaining_instances").values() for each in found] + [
        each for found in instances.values() for each in found if each != GONE_ID
    ]
    assert sorted(everything) == sorted(host["instance_id"] for host in INSTANCES.values())
    expected = {"users": users, "instances": instances, "key_hosts": key_hosts, "notes": notes, "default_users": {}}
    removal.pop("nodes")
    assert removal == {**expected, "optional_users": []}


def test_a_user_that_leaves_can_have_the_name_of_a_host_whose_user_stays():
    hosts = {
        "a": {"cwagent_user_name": "shared"},
        "b": {"cwagent_user_name": "a"},
        "c": {"cwagent_user_name": "shared"},
    }
    controller = {"cwagent_region": EU, "cwagent_remove_servers": ["a", "b"], "cwagent_confirm": "remove_servers"}
    inputs, problems = interpret(a_run({"onprem_servers": [*hosts]}, hosts, controller, requires=[REMOVAL]))
    assert problems == []
    assert inputs["removal"]["users"] == {EU: ["a"]}


NODE = "mi-0123456789abcdef0"


def test_a_node_that_is_named_is_no_user():
    removal, problems = removal_of(NODE, f"{EU}:{NODE}")
    assert (removal["users"], removal["nodes"], problems) == ({}, {EU: [NODE, NODE], US: [NODE]}, [])


HOST = "gone"  # its user is GONE by default
LONG = 50 * "x"


@pytest.mark.parametrize(
    ("names", "users", "defaults"),
    [
        ([HOST], {US: [HOST, GONE]}, {HOST: GONE}),
        ([f"{EU}:{HOST}"], {EU: [HOST, GONE]}, {HOST: GONE}),
        ([HOST, GONE], {US: [HOST, GONE]}, {}),
        (["A"], {US: ["A"]}, {}),
        ([LONG], {US: [LONG]}, {}),
    ],
    ids=["host", "region", "both", "user that stays", "long name"],
)
def test_an_unknown_name_can_belong_to_an_earlier_host(names, users, defaults):
    removal, problems = removal_of(*names)
    assert problems == []
    assert (removal["users"], removal["default_users"]) == (users, defaults)


def test_the_confirmation_names_the_user_of_an_earlier_host():
    [problem] = removal_of(HOST, cwagent_confirm="")[1]
    assert f"Users: {HOST} ({GONE} if there is no such user). Hybrid servers: {HOST} (if it is registered)." in problem


@pytest.mark.parametrize(
    ("names", "variables", "problem"),
    [
        ([], {}, "No server is named. Set cwagent_remove_servers to "),
        (["a"], {"cwagent_confirm": ""}, f"Users: {USER_A}. Hybrid servers: none. Instances: none. To confirm, set "),
        (["adm"], {}, "cwagent_remove_servers: host adm is in the group cwagent_ec2_admin. Put another host "),
        (["shared"], {}, "cwagent_remove_servers: 'shared' belongs to host c. Name the host instead."),
        ([USER_A], {}, f"cwagent_remove_servers: '{USER_A}' belongs to host a. Name the host instead."),
        ([ADMIN_USER], {}, f"cwagent_remove_servers: '{ADMIN_USER}' belongs to host o. Name the host instead."),
        ([WEB["instance_id"]], {}, f"'{WEB['instance_id']}' belongs to host web. Name the host instead."),
        ([GONE_ID], {}, f"cwagent_remove_servers: the region of '{GONE_ID}' is not known. Put it before the name, "),
        (
            [GONE],
            {"cwagent_key_store": "parameter_store"},
            f"cwagent_remove_servers: the region of '{GONE}' is not known. Put it before the name, such as ",
        ),
        ([f"nowhere:{NODE}"], {}, "cwagent_remove_servers: 'nowhere' is not the name of an AWS region, such as "),
        (
            ["a", NODE],
            {"cwagent_confirm": "", "cwagent_onprem_identity": "hybrid"},
            f"Users: {USER_A} (if it exists). Hybrid servers: a, {NODE}. Instances: none. To confirm, set ",
        ),
        ([f"nowhere:{GONE}"], {}, "cwagent_remove_servers: 'nowhere' is not the name of an AWS region, such as "),
        (["no such"], {}, "cwagent_remove_servers: 'no such' is not a valid user name"),
        ([USER_A.upper()], {}, f"cwagent_remove_servers: '{USER_A.upper()}' belongs to host a. Name the host instead."),
    ],
)
def test_servers_that_cannot_be_removed(names, variables, problem):
    [found] = removal_of(*names, **variables)[1]
    assert problem in found


def test_a_user_whose_key_is_saved_in_two_regions_is_named_once():
    [problem] = removal_of(f"{EU}:{GONE}", f"{US}:{GONE}", cwagent_confirm="")[1]
    assert f"Users: {GONE}. Hybrid servers: {GONE} (if it is registered)." in problem


AP = "ap-south-1"


@pytest.mark.parametrize("limit", [None, ["localhost", "a"]])
def test_the_regions_of_saved_keys_come_from_all_hosts_and_the_run(limit):
    hosts = {"adm": {**ADMIN, "cwagent_region": AP}, "a": {"cwagent_region": EU}, "o": {"cwagent_region": "eu-west-1"}}
    groups = {"ec2_admin": ["adm"], "onprem_servers": ["a"], "onprem_admin": ["o"]}
    inputs, problems = interpret(a_run(groups, hosts, requires=[ROTATION], limit=limit))
    assert problems == []
    assert sorted(inputs["key_regions"]) == [AP, EU, "eu-west-1", US]


def test_the_regions_of_saved_keys_include_the_accounts_regions():
    given = an_account({"cwagent_account_regions": [AP]}, {"onprem_servers": ["a"]})
    inputs, problems = interpret(given)
    assert problems == []
    assert inputs["key_regions"] == [AP]


def test_servers_are_removed_when_the_inventory_has_none_any_more():
    controller = {"cwagent_remove_servers": [GONE, GONE_ID], "cwagent_confirm": "remove_servers"}
    inputs = inputs_of({}, {}, controller, requires=[REMOVAL])
    expected = {"users": {US: [GONE]}, "instances": {US: [GONE_ID]}, "key_hosts": [], "notes": [], "default_users": {}}
    assert inputs["removal"] == {
        **expected,
        "remaining_instances": {},
        "nodes": {US: [GONE]},
        "optional_users": [],
    }


@pytest.mark.parametrize(("limit", "hosts"), [(None, ["a"]), (["localhost"], []), (["localhost", "a"], ["a"])])
def test_a_limit_leaves_out_hosts_with_a_key(limit, hosts):
    controller = {
        **ONE_FILE,
        "cwagent_remove_servers": ["a"],
        "cwagent_confirm": "remove_servers",
        "cwagent_deliver_keys": True,
    }
    given = a_run({**SERVERS_OF, "onprem_servers": ["a"]}, INSTANCES, controller, requires=[REMOVAL], limit=limit)
    inputs, problems = interpret(given)
    assert problems == []
    assert inputs["removal"]["key_hosts"] == hosts


@pytest.mark.parametrize(("limit", "users"), [({"shop"}, ["a", "b"]), ({"shop", "a"}, ["a"]), (None, ["a", "b"])])
def test_a_limit_that_names_only_accounts_chooses_all_users_of_each(limit, users):
    inputs, problems = interpret(an_account({}, {"onprem_servers": ["a", "b"]}, limit=limit, requires=[ROTATION]))
    assert problems == []
    assert inputs["server_users"] == {US: [f"CloudWatchAgentServerUser-{host}" for host in users]}


def test_all_problems_are_reported_together():
    problems = problems_of(
        hosts={"web": {}}, controller={"cwagent_config_file": "missing", "cwagent_ssm_policy": "Admin", "cwagent_x": ""}
    )
    assert len(problems) == 4


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
GROUPS = st.dictionaries(
    st.sampled_from(["ec2_servers", "ec2_admin", "onprem_servers", "onprem_admin", "other"]),
    st.lists(st.sampled_from(HOST_NAMES), unique=True),
)


@given(GROUPS, st.dictionaries(st.sampled_from(HOST_NAMES), VARIABLES), VARIABLES, st.sampled_from(["", US, "x"]))
def test_any_input_is_interpreted_and_nothing_is_raised(groups, hosts, controller, region):
    run = a_run(groups, hosts, controller, region)
    inputs, problems = interpret(run)
    assert (inputs, problems) == interpret(run)
    assert len(problems) == len(set(problems))
    assert all(problem.rstrip().endswith((".", "?")) for problem in problems)
    assert {name.removeprefix("cwagent_") for name in RUN_OPTIONS} <= inputs.keys()


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from([VALID[name], VALID[name] if name == ENVIRONMENT else in_a_survey(VALID[name]), ""])
            for name in OPTIONS
            if name not in (*ACCOUNT_VARIABLES, "cwagent_account", "cwagent_config_file", "cwagent_parameter_name")
        },
    )
)
def test_valid_input_has_no_problem(controller):
    hosts = {"adm": {**ADMIN, **controller}}
    assert problems_of(hosts=hosts, controller=controller) == []


def test_the_servers_of_a_run_have_identities_and_configurations():
    """Each has its own identity, including the admin instance. An on-premises admin host is not a server."""
    groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["db"], "onprem_admin": ["ops"]}
    names = ["AmazonCloudWatch-db", "AmazonCloudWatch-linux"]
    hosts = {"db": {"cwagent_config_names": names, "cwagent_region": EU, "cwagent_user_name": "agent"}}
    assert inputs_of(groups, hosts)["servers"] == [
        {"host": "db", "region": EU, "user": "agent", "configs": names},
        {"host": "web", "region": US, **WEB, "configs": []},
        {"host": "adm", "region": US, **ADMIN, "configs": []},
    ]


@pytest.mark.parametrize(("way", "hosts"), [("auto", ["web"]), ("ansible", ["web"]), ("run_command", []), ("none", [])])
def test_the_hosts_from_which_ansible_collects_facts(way, hosts):
    made = inputs_of({"ec2_servers": ["web"]}, controller={"cwagent_verify_from": way}, requires=[SERVERS])
    assert made["collect_hosts"] == hosts


@pytest.mark.parametrize(
    ("groups", "limit", "problem"),
    [
        ({"ec2_servers": ["web"]}, None, ""),
        ({"ec2_servers": ["web"], "onprem_servers": ["db"]}, {"localhost", "db"}, ""),
        ({"onprem_admin": ["db"]}, None, "There are no servers: no host of the inventory is in one of the groups"),
        ({"ec2_servers": ["web"]}, {"localhost"}, "The limit leaves out all hosts of the groups cwagent_ec2_servers"),
    ],
)
def test_a_playbook_that_needs_servers(groups, limit, problem):
    problems = problems_of(groups, requires=[SERVERS], limit=limit)
    assert [each.startswith(problem) for each in problems] == ([True] if problem else [])


# Accounts


def test_an_account_has_its_own_credentials_regions_and_folder_of_keys():
    account = {
        "cwagent_account_aws_profile": "s",
        "cwagent_account_regions": [EU, US],
        "cwagent_key_store_directory": "/keys/",
    }
    groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["db"]}
    inputs, problems = interpret(an_account(account, groups, {"web": {**WEB, "cwagent_region": US}}))
    assert problems == []
    assert inputs["account"] == {
        "host": "shop",
        **{name.removeprefix(PREFIX): default_of(name) for name in ACCOUNT_VARIABLES},
        "aws_profile": "s",
        "regions": [EU, US],
        "admin_required": False,
        "is_valid": True,
    }
    assert inputs["instances"] == {US: [WEB["instance_id"]], EU: [ADMIN["instance_id"]]}
    assert inputs["region"] == EU
    assert inputs["key_store_directory"] == "/keys/shop"
    assert inputs["store_config_from"] == "run_command"


def test_the_default_region_of_an_account_comes_from_its_profile():
    run = replace(an_account({"cwagent_account_aws_profile": "s"}), find_default_region={"s": EU, "": US}.get)
    assert interpret(run)[0]["region"] == EU


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cwagent_account_session_duration", 900),
        ("cwagent_account_session_duration", 43200),
        ("cwagent_account_session_name", "a_"),
        ("cwagent_account_session_name", "+=,.@-_9" * 8),
    ],
)
def test_a_session_can_be_as_short_and_as_long_as_aws_allows(name, value):
    inputs, problems = interpret(an_account({name: value}))
    assert (inputs["account"][name.removeprefix(PREFIX)], problems) == (value, [])


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("duration", 899, "is 899; it must be between 900 and 43200 seconds."),
        ("duration", 43201, "is 43201; it must be between 900 and 43200 seconds."),
        ("name", "x", "is 'x'; it must have 2 to 64 letters, digits or characters of +=,.@_-."),
        ("name", "x" * 65, f"is '{'x' * 60}...'; it must have 2 to 64 letters, digits or characters of +=,.@_-."),
    ],
)
def test_a_session_that_aws_would_refuse_is_a_problem_with_the_limits(name, value, problem):
    assert interpret(an_account({f"cwagent_account_session_{name}": value}))[1] == [
        f"Host shop: cwagent_account_session_{name} {problem}"
    ]


@pytest.mark.parametrize("source", ["run_command", "controller"])
def test_the_host_of_an_account_stores_for_its_admin_instance(source):
    account = {"cwagent_config_file": "a.json", "cwagent_store_config_from": source}
    inputs, problems = interpret(an_account(account, hosts={"adm": {**ADMIN, "cwagent_region": EU}}))
    assert problems == []
    assert (inputs["stores"], inputs["storing_host"]) == (True, "localhost")
    assert inputs["admin_instance"] == ADMIN["instance_id"]
    assert inputs["collect_hosts"] == []


@pytest.mark.parametrize("source", ["instance", "auto", "onprem"])
def test_nothing_that_needs_a_connection_stores_for_an_account(source):
    problems = interpret(an_account({"cwagent_store_config_from": source}))[1]
    assert problems[0] == (
        f"cwagent_store_config_from is {source}. With the group cwagent_accounts it must be one of run_command, "
        "controller, which need no connection to a host."
    )


FOUND: dict[str, Any] = {
    "instances": {EU: ["i-0123456789abcdef2", "i-0123456789abcdef3"]},
    "admin_instance": {"region": US, "instance_id": "i-0123456789abcdef4"},
}
FILTERED = {"cwagent_account_server_filters": {"tag:agent": "yes"}, "cwagent_config_file": "a.json"}


def test_instances_that_were_found_count_like_hosts():
    inputs, problems = interpret(an_account(FILTERED, {}, found=FOUND, limit={"shop"}))
    assert problems == []
    assert inputs["instances"] == {**FOUND["instances"], US: ["i-0123456789abcdef4"]}
    assert inputs["regions"] == [EU, US]
    assert inputs["admin_instance"] == "i-0123456789abcdef4"
    assert inputs["storing_region"] == US
    assert [each["host"] for each in inputs["servers"]] == [*FOUND["instances"][EU], "i-0123456789abcdef4"]


@pytest.mark.parametrize(
    ("found", "requires", "problem"),
    [
        (None, (), ""),
        (None, (SERVERS,), ""),
        ({"instances": {}, "admin_instance": None}, (), ""),
        ({"instances": {}, "admin_instance": None}, (SERVERS,), ""),
        ({**FOUND, "admin_instance": None}, (), "For account shop, set cwagent_account_admin_instance_id or"),
        ({**FOUND, "admin_instance": None}, (SERVERS,), ""),
    ],
)
def test_missing_variables_of_an_account_are_known_once_instances_are_found(found, requires, problem):
    problems = interpret(an_account(FILTERED, {}, found=found, requires=requires))[1]
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)


def test_an_account_without_servers_is_a_problem_unless_they_are_found():
    [problem] = interpret(an_account({}, {}))[1]
    assert problem.startswith("Account shop has no servers: no host of the inventory in one of the groups ")
    assert interpret(an_account({}, {}, requires=[AUDIT]))[1] == []


def test_an_account_that_stores_nothing_needs_no_admin_instance():
    assert interpret(an_account({}, {"ec2_servers": ["web"]}))[1] == []
    [problem] = interpret(an_account({"cwagent_config_file": "a"}, {"ec2_servers": ["web"]}))[1]
    assert "must have exactly one host" in problem


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (
            {"cwagent_account_id": "210987654321", "cwagent_account_assume_role_arn": CONTROLLER_ROLE},
            "is a role of account 123456789012, but cwagent_account_id is 210987654321.",
        ),
        (
            {
                "cwagent_account_admin_instance_id": ADMIN["instance_id"],
                "cwagent_account_admin_filters": {"tag:Name": "x"},
            },
            "cwagent_account_admin_instance_id and cwagent_account_admin_filters are both set. Set one of them.",
        ),
    ],
)
def test_variables_of_an_account_that_contradict_each_other(account, words):
    [problem] = interpret(an_account(account))[1]
    assert problem.startswith("Host shop: ")
    assert problem.endswith(words)


@pytest.mark.parametrize(
    ("account", "is_known"),
    [
        ({}, False),
        ({"cwagent_account_aws_profile": "own"}, True),
        ({"cwagent_account_assume_role_arn": CONTROLLER_ROLE}, True),
        ({"cwagent_account_id": "123456789012"}, True),
        ({"cwagent_account_external_id": "x", "cwagent_account_regions": [EU]}, False),
    ],
)
def test_an_unknown_account_is_not_the_controllers_account(account, is_known):
    problem = (
        "Host shop: set cwagent_account_assume_role_arn or cwagent_account_aws_profile. For the account of the "
        "controller's own credentials, set cwagent_account_id."
    )
    assert interpret(an_account({"cwagent_account_aws_profile": "", **account}))[1] == ([] if is_known else [problem])


@pytest.mark.parametrize("value", ["", None, "other", ["shop"], NOPE])
@pytest.mark.parametrize("in_awx", [False, True])
def test_a_server_of_no_account_is_a_problem(value, in_awx):
    [problem] = interpret(an_account(unassigned={"web1": value}, in_awx=in_awx))[1]
    assert problem.startswith("Host web1: cwagent_account ")
    assert ("slice" in problem) == (in_awx and value is not NOPE)


@pytest.mark.parametrize("accounts", [(), ("shop", "blog")])
@pytest.mark.parametrize("value", ["shop", " shop ", "", None, 5, ["shop"], NOPE])
def test_the_account_of_a_server(value, accounts):
    is_named = isinstance(value, str) and value.strip() == "shop" and accounts
    assert account_of(value, accounts) == ("shop" if is_named else "")


@pytest.mark.parametrize(
    ("own", "other", "is_same"),
    [
        ({"cwagent_account_id": "123456789012"}, {"cwagent_account_id": "123456789012"}, True),
        ({"cwagent_account_id": "123456789012"}, {"cwagent_account_assume_role_arn": CONTROLLER_ROLE}, True),
        ({"cwagent_account_id": "123456789012"}, {"cwagent_account_id": "210987654321"}, False),
        ({"cwagent_account_aws_profile": "a"}, {"cwagent_account_aws_profile": "a"}, False),
    ],
)
def test_two_hosts_for_one_account_are_a_problem(own, other, is_same):
    problems = interpret(an_account(own, others={"blog": other}))[1]
    message = (
        "The hosts blog and shop of the group cwagent_accounts are the same account 123456789012. Remove one of them."
    )
    assert problems == ([message] if is_same else [])
    assert interpret(an_account(own, others={"blog": other}, requires=[AUDIT]))[1] == []


@pytest.mark.parametrize("name", FILTERS)
def test_instances_are_found_in_accounts_only(name):
    [problem] = problems_of(controller={name: VALID[name]})
    assert problem == f"{name} needs the group cwagent_accounts, in which each host stands for an account."


@pytest.mark.parametrize("requires", [(), (SERVERS,), (AUDIT,), (CONFIGS_ONLY,)])
@pytest.mark.parametrize("group", ["ec2_servers", "onprem_servers"])
def test_the_controllers_account_never_replaces_the_account_of_a_server(group, requires):
    problems = problems_of({group: ["web"]}, {"web": {**WEB, "cwagent_account": "shop"}}, requires=requires)
    words = "Host web has cwagent_account, but the group cwagent_accounts has no hosts."
    assert any(problem.startswith(words) for problem in problems) == (CONFIGS_ONLY not in requires)


@pytest.mark.parametrize("value", [True, None, {"a": "b"}, ["yes", False], [["yes"]]])
@pytest.mark.parametrize("name", ["cwagent_account_server_filters", "cwagent_account_admin_filters"])
def test_a_filter_whose_value_is_no_text_would_match_nothing(name, value):
    [problem] = interpret(an_account({name: {"tag:agent": value}}))[1]
    assert problem == f"Host shop: {name}: the value of tag:agent must be text, or a list of it. Put it in quotes."
    assert interpret(an_account({name: {"tag:agent": ["yes", 5]}}))[1] == []


@pytest.mark.parametrize(
    ("sizes", "revoke", "limit", "count"),
    [
        (["1", "100%"], True, None, 1),
        (["1"], True, None, 1),
        (["1", "100%"], False, None, 0),
        (["1", "100%"], True, ["shop"], 0),
        (["100%"], True, None, 0),
        (None, True, None, 0),
        ("", True, None, 0),
        ("100%", True, None, 0),
        ("50%", True, None, 1),
    ],
)
def test_access_keys_are_not_revoked_long_before_new_ones_are_delivered(sizes, revoke, limit, count):
    account = {"cwagent_batch_size": sizes, "cwagent_revoke_old": revoke, "cwagent_rotate_now": True}
    run = an_account(account, others={"blog": {}}, requires=[ROTATION], limit=limit)
    assert len([each for each in interpret(run)[1] if each.startswith("cwagent_revoke_old is set, and")]) == count


@pytest.mark.parametrize(
    ("own", "other", "shown"),
    [
        ({}, {}, None),
        ({"cwagent_batch_size": ""}, {"cwagent_batch_size": "100%"}, None),
        ({"cwagent_batch_size": [1, "20%"]}, {"cwagent_batch_size": "1, 20%"}, None),
        ({"cwagent_batch_size": [1, "20%"]}, {}, ("1, 20%", "100%")),
        ({"cwagent_batch_size": 1}, {"cwagent_batch_size": 2}, ("1", "2")),
        ({}, {"cwagent_batch_size": 2}, ("100%", "2")),
    ],
)
def test_the_size_of_batches_is_the_same_for_all_accounts(own, other, shown):
    problems = (
        [f"cwagent_batch_size must be the same for all accounts, but is {shown[0]} for shop and {shown[1]} for blog."]
        if shown
        else []
    )
    accounts = {"cwagent_account_id": "123456789012", **own}, {"cwagent_account_id": "210987654321", **other}
    assert interpret(an_account(accounts[0], others={"blog": accounts[1]}))[1] == problems


APPLY = [SERVERS, ONE_ACCOUNT]
PLAYBOOKS = [[], [KEY_STORE], [SERVERS], [REMOVAL, ONE_ACCOUNT], [AUDIT], [CONFIGS_ONLY], APPLY]


def batches_of(requires, value, name="cwagent_batch_size"):
    """The value of a variable of batches in a run of a playbook, and its problems."""
    inputs, problems = interpret(a_run(controller={name: value}, requires=requires))
    return run_value(inputs, name), [each for each in problems if name in each]


@pytest.mark.parametrize("requires", PLAYBOOKS, ids=str)
@pytest.mark.parametrize("name", OF_ACCOUNTS)
@pytest.mark.parametrize("blank", [None, "", " "])
def test_batches_are_of_servers_in_apply_and_of_accounts_elsewhere(requires, name, blank):
    expected = (OF_SERVERS if requires == APPLY else OF_ACCOUNTS)[name]
    assert batches_of(requires, blank, name) == (expected, [])
    if name == "cwagent_batch_size":
        assert batches_of(requires, [], name) == (expected, [])


@pytest.mark.parametrize("requires", [[], APPLY], ids=["accounts", "servers"])
@pytest.mark.parametrize(
    ("value", "sizes"),
    [
        (5, ["5"]),
        ("5", ["5"]),
        ("20%", ["20%"]),
        (" 20% ", ["20%"]),
        ([5], ["5"]),
        ([1, "20%", "100%"], ["1", "20%", "100%"]),
        ('[1, "100%"]', ["1", "100%"]),
        ("[1, 20%]", ["1", "20%"]),
        ("- 1\n- 100%", ["1", "100%"]),
        ("1, 20%", ["1", "20%"]),
    ],
)
def test_a_batch_size_is_a_number_a_share_or_a_list_of_them(requires, value, sizes):
    assert batches_of(requires, value) == (sizes, [])


@pytest.mark.parametrize("requires", [[], APPLY], ids=["accounts", "servers"])
@pytest.mark.parametrize(("value", "wrong"), [("0", "0"), ([1, "101%"], "101%"), ("many", "many"), ([1, 1.5], "1.5")])
def test_a_wrong_batch_size_is_named_and_the_default_is_used(requires, value, wrong):
    unit, default = ("servers", ["20%"]) if requires == APPLY else ("accounts", ["100%"])
    problem = (
        f"cwagent_batch_size is '{wrong}'; it must be a number of {unit}, a share such as 20%, or a list of numbers "
        "and shares."
    )
    assert batches_of(requires, value) == (default, [problem])


@pytest.mark.parametrize("requires", [[], APPLY], ids=["accounts", "servers"])
@pytest.mark.parametrize(("value", "percentage"), [(0, 0), ("0", 0), (100, 100), ("33", 33), (-1, None), (101, None)])
def test_the_share_that_may_fail_is_a_percentage(requires, value, percentage):
    name = "cwagent_max_fail_percentage"
    default = (OF_SERVERS if requires == APPLY else OF_ACCOUNTS)[name]
    problems = [f"{name} is {value}; it must be between 0 and 100."] if percentage is None else []
    assert batches_of(requires, value, name) == (default if problems else percentage, problems)


PATTERNS = ["Shop Production", "shop,blog", "shop:blog", "!shop", "&shop", "~shop", "shop*", "shop[1]", "shop?"]
PATTERN = "Host {}: Ansible reads the name as a pattern and would leave the host out."


@pytest.mark.parametrize("name", PATTERNS)
def test_an_account_whose_name_is_a_pattern_is_refused_by_all(name):
    run = replace(an_account(), accounts={"shop": {}, name: {}})
    assert [each for each in interpret(run)[1] if each.startswith(PATTERN.format(name))]


@pytest.mark.parametrize("name", ["shop", "Shop_1.example-org", "2001:db8::1", "123456789012", "münchen"])
def test_an_account_can_have_any_other_name(name):
    run = replace(an_account(), accounts={"shop": {}, name: {}})
    assert [each for each in interpret(run)[1] if "pattern" in each] == []


HYBRID = {"cwagent_onprem_identity": "hybrid"}
SHARED = {"cwagent_user_name": "shared"}
USER = "CloudWatchAgentServerUser-{}"


@pytest.mark.parametrize(
    ("controller", "hosts", "hybrid", "users", "retired"),
    [
        ({}, {"a": {}, "b": {}}, [], [USER.format("a"), USER.format("b")], []),
        (HYBRID, {"a": {}, "b": {}}, ["a", "b"], [], [USER.format("a"), USER.format("b")]),
        ({}, {"a": HYBRID, "b": {}}, ["a"], [USER.format("b")], [USER.format("a")]),
        (HYBRID, {"a": {"cwagent_onprem_identity": "key"}, "b": {}}, ["b"], [USER.format("a")], [USER.format("b")]),
        ({}, {"a": {**HYBRID, **SHARED}, "b": SHARED}, ["a"], ["shared"], []),
        (HYBRID, {"a": SHARED, "b": SHARED}, ["a", "b"], [], ["shared"]),
    ],
)
def test_the_identity_is_a_choice_of_the_host(controller, hosts, hybrid, users, retired):
    inputs = inputs_of({"onprem_servers": [*hosts]}, hosts, controller)
    assert [host for host, each in inputs["onprem_hosts"].items() if each["identity"] == "hybrid"] == hybrid
    assert inputs["delivery_hosts"] == hybrid
    assert inputs["hybrid_server_regions"] == ([US] if hybrid else [])
    assert inputs["server_users"] == ({US: users} if users else {})
    assert inputs["retired_users"] == ({US: retired} if retired else {})
    assert [host["host"] for host in inputs["servers"] if host.get("hybrid")] == hybrid
    teardown = interpret(a_run({"onprem_servers": [*hosts]}, hosts, controller, requires=[CONFIRMATION]))[0]
    assert sorted(teardown["server_users"][US]) == sorted([*users, *retired])
    assert teardown["onprem_names"] == {US: [*hosts]}
    rotation = inputs_of({"onprem_servers": [*hosts]}, hosts, controller, requires=[ROTATION])
    assert (rotation["server_users"], rotation["delivery_hosts"]) == ({US: users} if users else {}, [])


def test_a_hybrid_server_is_registered_in_its_own_region():
    hosts = {"a": {**HYBRID, "cwagent_region": EU}, "b": {**HYBRID, **SHARED}, "c": {**SHARED, "cwagent_region": EU}}
    inputs = inputs_of({"onprem_servers": [*hosts]}, hosts)
    assert inputs["hybrid_server_regions"] == [EU, US]
    assert inputs["server_users"] == {US: ["shared"]}, "the key stays where it was saved for the first host"
    assert (inputs["onprem_hosts"]["c"]["key_region"], inputs["onprem_hosts"]["c"]["region"]) == (US, EU)


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"cwagent_hybrid_role_name": "CloudWatchAgentAdminRole"}, "every server could write to Parameter Store"),
        ({"cwagent_hybrid_role_name": "cloudwatchagentserverrole"}, "trusts either EC2 or Systems Manager"),
        ({"cwagent_key_store": "parameter_store"}, "the hybrid role has AmazonSSMManagedInstanceCore"),
        ({"cwagent_key_store": "parameter_store", "cwagent_ssm_policy": "none"}, "the hybrid role has Amazon"),
    ],
)
def test_a_problem_of_hybrid_servers_is_none_without_them(variables, problem):
    groups = {"onprem_servers": ["db"]}
    [found] = problems_of(groups, controller={**variables, **HYBRID}, requires=[KEY_STORE])
    assert problem in found
    assert problems_of(groups, controller=variables, requires=[KEY_STORE]) == []


def test_the_node_and_the_earlier_user_of_a_hybrid_server_leave():
    controller = {"cwagent_remove_servers": ["a", f"{EU}:gone", "i-0123456789abcdef9"], "cwagent_key_store": "file"}
    hosts = {"a": HYBRID, "b": {**HYBRID, "cwagent_region": EU}}
    given = a_run({"onprem_servers": [*hosts]}, hosts, controller, requires=[REMOVAL])
    removal = interpret(given)[0]["removal"]
    assert removal["nodes"] == {US: ["a"], EU: ["gone"]}
    assert removal["optional_users"] == [USER.format("a")]
    assert removal["users"][US] == [USER.format("a")]
    assert removal["key_hosts"] == ["a"]


@pytest.mark.parametrize(("requires", "deliver", "count"), [([], True, 1), ([], False, 0), ([SERVERS], False, 1)])
def test_a_server_whose_name_is_a_pattern_is_refused_where_a_play_names_it(requires, deliver, count):
    hosts = {"my db": {"cwagent_user_name": "db", "cwagent_deliver_keys": deliver}}
    found = problems_of({"onprem_servers": ["my db"]}, hosts, requires=requires)
    assert len([each for each in found if each.startswith(PATTERN.format("my db"))]) == count


@pytest.mark.parametrize("name", ["a/b", "../x", "..", "."])
def test_the_name_of_an_account_must_be_valid_for_a_folder(name):
    run = replace(an_account(), controller_host=name, accounts={name: {}})
    assert f"Host {name}: a folder cannot have this name. Give the account another name." in interpret(run)[1]


@pytest.mark.parametrize(
    ("account", "is_valid"),
    [
        ({}, True),
        ({"cwagent_account_assume_role_arn": NOPE}, False),
        ({"cwagent_account_assume_role_arn": CONTROLLER_ROLE, "cwagent_account_id": "210987654321"}, False),
        ({"cwagent_account_aws_profile": ["a"]}, False),
        ({"cwagent_account_aws_profile": ""}, False),
        ({"cwagent_tags": "x"}, True),
    ],
)
def test_playbooks_that_clean_up_know_whether_the_account_is_right(account, is_valid):
    assert interpret(an_account(account))[0]["account"]["is_valid"] is is_valid


def test_without_instances_the_regions_come_from_the_account():
    found = {"instances": {}, "admin_instance": None}
    account = {**FILTERED, "cwagent_account_regions": [EU, US]}
    assert interpret(an_account(account, {}, found=found))[0]["regions"] == [EU, US]


def test_a_playbook_for_one_account():
    [problem] = interpret(an_account(requires=[SERVERS, ONE_ACCOUNT]))[1]
    assert problem.startswith("This playbook works in one account, and the inventory has the group cwagent_accounts.")
    assert problems_of(requires=[SERVERS, ONE_ACCOUNT]) == []


def test_the_regions_of_an_audit_are_regions():
    [problem] = interpret(a_run(controller={"cwagent_audit_regions": [US, "nowhere", "a b"]}))[1]
    assert problem.startswith("cwagent_audit_regions: 'nowhere' is not the name of an AWS region")
    assert interpret(a_run(controller={"cwagent_audit_regions": [US, EU]}))[1] == []


@pytest.mark.parametrize(
    "value",
    [
        ["~/a.html", "b.sarif.json"],
        "~/a.html,b.sarif.json",
        "[~/a.html, b.sarif.json]",
        "- ~/a.html\n- b.sarif.json\n",
    ],
)
def test_reports_are_written_to_absolute_paths_by_format(value):
    inputs = inputs_of(controller={"cwagent_report_files": value}, requires=[AUDIT])
    assert inputs["report_files"] == ["/tmp/~/a.html", "b.sarif.json"]  # noqa: S108
    assert inputs["report_files_by_format"] == {
        "html": inputs["report_files"][:1],
        "json": [],
        "junit": [],
        "sarif": inputs["report_files"][1:],
    }


def test_one_report_needs_no_list():
    """``-e cwagent_report_files=audit.html`` gives text."""
    of_text, of_list = (
        inputs_of(controller={"cwagent_report_files": value}, requires=[AUDIT]) for value in ("a.html", ["a.html"])
    )
    assert of_text == of_list
    assert of_text["report_files"] == ["a.html"]


WRITTEN = {"audit": [*REPORTS], "validate_config": ["junit", "sarif"], "verify": ["json"]}


@pytest.mark.parametrize("playbook", sorted(path.stem for path in SPEC.parents[1].glob("*.yml")))
def test_a_playbook_writes_its_formats_and_skips_the_others_with_a_notice(playbook):
    tasks = [
        task for play in yaml.safe_load((SPEC.parents[1] / f"{playbook}.yml").read_text()) for task in play["tasks"]
    ]
    [options] = [task["cwagent.iam.cwagent_inputs"] for task in tasks if "cwagent.iam.cwagent_inputs" in task]
    requires = (options or {}).get("requires", [])
    inputs = interpret(a_run(controller={"cwagent_report_files": [*REPORTS.values()]}, requires=requires))[0]
    written = WRITTEN.get(playbook, [])
    assert inputs["report_files_by_format"] == {
        kind: [path] if kind in written else [] for kind, path in REPORTS.items()
    }
    skipped = ", ".join(path for kind, path in REPORTS.items() if kind not in written)
    beginning = f"cwagent_report_files: skipped {skipped}, because this playbook writes "
    assert [notice.startswith(beginning) for notice in inputs["notices"]] == ([True] if skipped else [])


@pytest.mark.parametrize(("requires", "suffix"), [(CONFIGS_ONLY, "-shop"), (SERVERS, "-shop"), (AUDIT, "")])
def test_each_account_has_its_own_files_unless_one_report_has_all_accounts(requires, suffix):
    files = {"cwagent_report_files": [*REPORTS.values()], "cwagent_config_file": "x.json"}
    inputs, problems = interpret(an_account(files, requires=[requires]))
    assert problems == []
    paths = inputs["report_files"]
    expected = [f"{path[0]}{suffix}{path[1:]}" for path in REPORTS.values()]
    assert paths
    assert [path for path in expected if path in paths] == paths


def test_a_report_file_with_a_problem_names_the_variable():
    value = ["~nobody/x.html", "x.pdf", "y.json", "y.json"]
    assert problems_of(controller={"cwagent_report_files": value}) == [
        "cwagent_report_files: 'x.pdf' must end in .html, .json, .junit.xml, .sarif or .sarif.json.",
        "cwagent_report_files: ~nobody/x.html: the home directory is not known.",
        "cwagent_report_files has a duplicate path: y.json.",
    ]


def test_a_configuration_can_be_validated_without_hosts_and_without_a_region():
    run = replace(
        a_run({}, {}, {"cwagent_config_file": "a.json"}, requires=[CONFIGS_ONLY]),
        find_default_region=lambda _profile: "",
    )
    inputs, problems = interpret(run)
    assert problems == []
    assert [each["name"] for each in inputs["configs"]] == ["AmazonCloudWatch-linux"]
