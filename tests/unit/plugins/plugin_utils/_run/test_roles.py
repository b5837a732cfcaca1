"""The variables of a role are checked before its first call. Which values are valid has separate tests."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from import_graph import PLUGINS
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._report import files
from ansible_collections.cwagent.iam.plugins.plugin_utils._run import roles
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.roles import RoleInputs, validate_role
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import OF_HOST

ROLES = PLUGINS.parent / "roles"
FORMATS = ("cloudformation", "html", "json", "junit", "sarif", "terraform")
NO_FILES: dict[str, list[str]] = {kind: [] for kind in FORMATS}
USERS: dict[str, Any] = {
    "onprem_server_users": ["a"],
    "onprem_server_state": "present",
    "onprem_server_key_store": "file",
    "onprem_server_key_store_directory": "~/keys",
    "onprem_server_key_store_prefix": "/keys/",
    "onprem_server_key_store_kms_key_id": "",
    "onprem_server_key_store_allow_ephemeral": True,
    "onprem_server_ssm_policy": "",
}


def read(
    role: str,
    values: dict[str, Any],
    warnings: Any = None,
    connection: Any = ({}, {}),
    extra_variables: Any = (),
    **options: Any,
) -> dict[str, Any]:
    variables = {**task_variables({"db": {}, "web": {}}, "db"), "role_path": str(ROLES / role), **values}
    given = {"entry_point": "main", "collect": False, **options}
    templar = SimpleNamespace(template=lambda value: value)
    warn = [].append if warnings is None else warnings.append
    return RoleInputs("task", variables, given, connection, templar, warn, extra_variables).read()


@pytest.mark.parametrize(
    ("role", "values", "problem"),
    [
        ("ec2_server", {}, None),
        ("ec2_server", {"ec2_server_tags": {"a": "b"}}, None),
        ("ec2_server", {"ec2_server_tags": "a"}, "ec2_server_tags must be a mapping, not 'a'."),
        ("ec2_server", {"ec2_server_tag": {}}, "ec2_server_tag is not a variable of the role ec2_server; did you mean"),
        ("ec2_server", {"ansible_facts": {"ec2_server_name": "X"}}, "Host db: its facts set ec2_server_name."),
        ("ec2_server", {"ansible_facts": {"onprem_server_users": "X"}}, None),
        ("ec2_server", {"ansible_facts": {"instance_id": "i-1"}}, "Host db: its facts set instance_id."),
        ("store_config", {"ansible_facts": {"placement": {}}}, "Host db: its facts set placement."),
        ("hybrid_registration", {}, "hybrid_registration_region is required."),
        ("onprem_server", USERS, None),
        (
            "onprem_server",
            {**USERS, "onprem_server_key_store": "parameter_store", "onprem_server_ssm_policy": "AmazonEC2RoleforSSM"},
            "onprem_server_key_store_kms_key_id is not set, onprem_server_key_store is parameter_store,",
        ),
        ("audit", {"audit_report_files": ["a.pdf"]}, "audit_report_files: 'a.pdf' must end in .html, .json,"),
    ],
)
def test_a_role_has_its_own_variables(role: str, values: dict[str, Any], problem: str | None) -> None:
    if problem is None:
        assert ("account" in read(role, values)) == (role in OF_HOST)
        return
    with pytest.raises(InvalidInput) as refused:
        read(role, values)
    assert str(refused.value).startswith(problem)


def test_an_entry_point_has_its_own_variables() -> None:
    values = {"verify_servers": 7, "verify_report_files": []}
    with pytest.raises(InvalidInput, match=r"^verify_servers must be a list"):
        read("verify", values)
    assert read("verify", values, entry_point="report")["report_files"] == NO_FILES
    # Plays read the variables of the other entry points, too.
    with pytest.raises(InvalidInput, match=r"^Host db: its facts set verify_agent_ctl\."):
        read("verify", {"ansible_facts": {"verify_agent_ctl": "web"}}, entry_point="report")


def test_an_action_that_does_the_work_of_an_entry_point_checks_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "load_extra_vars", lambda _loader: {})
    action = SimpleNamespace(
        _task=SimpleNamespace(_uuid="task"),
        _templar=SimpleNamespace(template=lambda value: value),
        _display=SimpleNamespace(warning=[].append),
        _loader=None,
    )
    variables = {**task_variables({"db": {}}, "db"), "role_path": str(ROLES / "verify")}
    values = {"verify_servers": 7, "verify_report_files": ["a.json"]}
    assert validate_role(action, {**variables, **values}, "report")["report_files"] == {**NO_FILES, "json": ["a.json"]}
    with pytest.raises(InvalidInput, match=r"^verify_servers must be a list.* Nothing was changed\.$"):
        validate_role(action, {**variables, **values}, "main")


@pytest.mark.parametrize(
    ("role", "values", "problem"),
    [
        ("ec2_server", {"cwagent_tags": {"a": "b"}, "cwagent_config_file": "agent.json"}, None),
        ("ec2_server", {"cwagent_tags": "a"}, "cwagent_tags must be a mapping, not 'a'."),
        ("ec2_server", {"cwagent_tags": "a", "ec2_server_tags": {}}, None),
        ("ec2_server", {"cwagent_tag": {}}, "cwagent_tag is not a variable of this collection; did you mean cwagent_t"),
        ("ec2_server", {"cwagent_key_store": "safe"}, None),
        ("ec2_server", {"ansible_facts": {"cwagent_tags": {}}}, "Host db: its facts set cwagent_tags."),
        ("onprem_server", {"cwagent_key_store": "safe"}, "cwagent_key_store must be one of file, parameter_store,"),
        (
            "onprem_server",
            {"cwagent_key_store": "parameter_store", "cwagent_ssm_policy": "AmazonEC2RoleforSSM"},
            "onprem_server_key_store_kms_key_id is not set, onprem_server_key_store is parameter_store,",
        ),
        ("store_config", {}, "store_config_configs or cwagent_configs is required."),
        (
            *("store_config", {"cwagent_config_file": "linux.json"}),
            "store_config_configs or cwagent_configs is required. Only the playbooks read cwagent_config_file.",
        ),
        ("store_config", {"cwagent_configs": [{"name": "AmazonCloudWatch-a", "file": "a.json"}]}, None),
        ("store_config", {"cwagent_configs": "a.json"}, "cwagent_configs must be a list of mappings, each with name"),
    ],
)
def test_a_role_checks_the_settings_that_it_takes(role: str, values: dict[str, Any], problem: str | None) -> None:
    test_a_role_has_its_own_variables(role, values, problem)


def test_the_result_contains_the_variable_that_the_user_set() -> None:
    found = [
        read("ec2_server", values)["variables"]
        for values in (
            {},
            {"cwagent_iam_path": "/a/"},
            {"ec2_server_iam_path": "/a/", "cwagent_iam_path": "/b/"},
            {"ec2_server_iam_path": "", "cwagent_iam_path": "/b/"},
            {"ec2_server_name": "{{ cwagent_server_role_name | default('CloudWatchAgentServerRole', true) }}"},
        )
    ]
    of_path = [each["ec2_server_iam_path"] for each in found]
    assert [each["set_as"] for each in of_path[:4]] == [
        "",
        "cwagent_iam_path",
        "ec2_server_iam_path",
        "cwagent_iam_path",
    ]
    assert len({each["digest"] for each in of_path[:4]}) == 3
    assert of_path[1]["digest"] == of_path[2]["digest"]
    assert found[4]["ec2_server_name"]["set_as"] == ""


@pytest.mark.parametrize("values", [("false", False), ("yes", True)])
def test_the_same_value_can_be_written_in_several_ways(values: tuple[Any, Any]) -> None:
    found = [read("ec2_admin", {"ec2_admin_window": value})["variables"] for value in values]
    assert found[0]["ec2_admin_window"]["digest"] == found[1]["ec2_admin_window"]["digest"]


@pytest.mark.parametrize("key", [2024, 1.5, True, None, date(2024, 1, 1)])
def test_the_keys_of_a_mapping_can_be_of_several_types(key: Any) -> None:
    """Connection options can have any. The keys of a variable are text or numbers."""
    mappings = [{key: "a", "team": "b"}, {"team": "b", str(key): "a"}, {key: "b", "team": "b"}]
    accounts = [read("ec2_server", {}, connection=({}, each))["account"] for each in mappings]
    assert accounts[0] == accounts[1] != accounts[2]
    if isinstance(key, (int, float)):
        tags = [read("ec2_server", {"ec2_server_tags": each})["variables"]["ec2_server_tags"] for each in mappings]
        assert tags[0]["digest"] == tags[1]["digest"] != tags[2]["digest"]


def test_the_report_files_have_their_formats_and_others_are_skipped_with_a_warning() -> None:
    warnings: list[str] = []
    found = read("verify", {"verify_report_files": ["a.html", "b.json"]}, warnings=warnings, entry_point="report")
    assert found["report_files"] == {**NO_FILES, "json": ["b.json"]}
    assert warnings == [
        "verify_report_files: skipped a.html, because the role verify writes only files that end in .json."
    ]


IN_A_PLAYBOOK: dict[str, Any] = {"__cwagent_run": {}, "__cwagent": defaultdict(lambda: None)}


@pytest.mark.parametrize(
    ("role", "entry_point", "more", "count"),
    [
        ("audit", "main", {}, 1),
        ("audit", "main", IN_A_PLAYBOOK, 0),
        ("verify", "main", {}, 0),
        ("verify", "report", {}, 1),
        ("verify", "report", IN_A_PLAYBOOK, 0),
    ],
)
def test_a_notice_about_reports_is_shown_once(role: str, entry_point: str, more: dict[str, Any], count: int) -> None:
    """By the task that writes them, or by the playbook that has checked them."""
    values: dict[str, Any] = {f"{role}_report_files": ["a.json"], **more}
    warnings: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "is_in_container", lambda: True)
        read(role, values, warnings=warnings, entry_point=entry_point)
    assert len(warnings) == count


@pytest.mark.parametrize("regions", [None, []])
def test_a_role_for_hybrid_servers_needs_regions_by_the_name_that_the_user_sets(regions: Any) -> None:
    given = {} if regions is None else {"hybrid_server_regions": regions}
    with pytest.raises(
        InvalidInput, match=r"^hybrid_server_regions is required with hybrid_server_state=present\. List"
    ):
        read("hybrid_server", given)
    assert read("hybrid_server", {**given, "hybrid_server_state": "absent"})["by_region"] == {}


KEY = {"access_key": "AKIAX", "secret_key": "short"}


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ({"profile": "shop"}, {}),
        ({"aws_profile": "bank"}, {}),
        ({"region": "eu-west-1"}, {}),
        ({"endpoint_url": "http://127.0.0.1"}, {}),
        (KEY, {}),
        ({**KEY, "session_token": "t"}, {}),
        ({}, {"AWS_PROFILE": "shop"}),
        ({}, {"HOME": "/home/shop"}),
        ({"profile": "shop"}, {"HOME": "/home/shop"}),
    ],
)
def test_hosts_with_other_connection_options_are_in_another_account(
    options: dict[str, Any], environment: dict[str, Any]
) -> None:
    found = [read("ec2_server", {}, connection=(options, environment))["account"] for _ in range(2)]
    assert found[0] == found[1] != read("ec2_server", {})["account"]


def test_a_digest_does_not_reveal_a_secret_that_is_short_enough_to_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone who sees it can compute others, but not with the secret of the run."""
    of_run = read("ec2_server", {}, connection=(KEY, {}))["account"]
    monkeypatch.setattr(roles, "_SECRET", b"")
    assert read("ec2_server", {}, connection=(KEY, {}))["account"] != of_run


def test_a_result_contains_no_value_that_hosts_share() -> None:
    found = read("ec2_server", {"ec2_server_tags": {"a": "hush"}}, connection=({"secret_key": "hush"}, {}))
    assert "hush" not in str(found)


OWN = {"task": "new", "account": "1", "variables": {}, "default_region": "", "by_region": None}


@pytest.mark.parametrize(
    ("hosts", "more", "first"),
    [
        ({"db": {}, "web": {}, "app": {}}, {}, {"db": "db web app"}),
        ({"db": {}, "web": {"account": "2"}, "app": {}}, {}, {"db": "db app", "web": "web"}),
        # A condition of the role leaves a result without values, or none.
        ({"db": None, "web": {}, "app": {}}, {}, {"web": "web app"}),
        # The results of an earlier use of the role do not count, whatever they are.
        ({"db": {"task": "old"}, "web": {"task": "old", "account": "2"}, "app": {}}, {}, {"app": "app"}),
        # Other batches manage their own hosts. No batch has a host that failed before.
        ({"db": {}, "web": {}, "app": {}}, {"ansible_play_batch": ["app"]}, {"app": "app"}),
        (
            {"db": {}, "web": {}, "app": {}},
            {"ansible_play_batch": ["app"], "ansible_play_hosts": ["web", "app"]},
            {"app": "app db"},
        ),
        (
            {"db": {}, "web": {"account": "2"}, "app": {}},
            {"ansible_play_batch": ["web", "app"], "ansible_play_hosts": ["web", "app"]},
            {"web": "web", "app": "app"},
        ),
        # With run_once, all hosts have the result of one.
        ({"db": {"host": "web"}, "web": {}, "app": {"host": "web"}}, {}, {"web": "db web app"}),
    ],
)
def test_the_first_host_of_an_account_calls_for_all(
    hosts: dict[str, Any], more: dict[str, Any], first: dict[str, str]
) -> None:
    results = {name: {} if each is None else {**OWN, "host": name, **each} for name, each in hosts.items()}
    variables: dict[str, dict[str, Any]] = {
        name: {"__cwagent_role_inputs": each, "instance_id": f"i-{name}"} for name, each in results.items()
    }
    of_play = {
        "ansible_play_batch": [*hosts],
        "ansible_play_hosts": [*hosts],
        "ansible_play_hosts_all": [*hosts],
        **more,
    }
    found: dict[str, str] = {}
    for name in of_play["ansible_play_batch"]:
        if results[name].get("task") == "new" and results[name]["host"] == name:
            values = {**task_variables(variables, name), **of_play}
            call = read("ec2_server", values, collect=True)
            if call["is_first"]:
                found[name] = " ".join(each.removeprefix("i-") for each in call["by_region"][""])
    assert found == first


@pytest.mark.parametrize("name", ["instance_id", "placement", "cwagent_region"])
def test_a_host_that_failed_cannot_choose_an_instance_with_its_facts(name: str) -> None:
    lost = {name: "x", "ansible_facts": {name: "x"}}
    hosts: dict[str, dict[str, Any]] = {"db": {"__cwagent_role_inputs": {**OWN, "host": "db"}}, "lost": lost}
    left = {"ansible_play_batch": ["db"], "ansible_play_hosts": ["db"]}
    with pytest.raises(InvalidInput, match=rf"^Host lost: its facts set {name}\."):
        read("ec2_server", {**task_variables(hosts, "db"), **left}, collect=True)


@pytest.mark.parametrize("fact", ["x", ["x"], {"task": "other"}])
def test_a_host_without_the_role_cannot_stop_it_with_its_facts(fact: Any) -> None:
    hosts: dict[str, dict[str, Any]] = {
        "web": {"__cwagent_role_inputs": fact},
        "db": {"__cwagent_role_inputs": {**OWN, "host": "db"}},
    }
    assert read("ec2_server", task_variables(hosts, "db"), collect=True)["is_first"]


def test_an_instance_of_several_hosts_is_in_the_region_of_the_first() -> None:
    hosts: dict[str, dict[str, Any]] = {
        "db": {"instance_id": "i-1", "cwagent_region": "eu-west-1"},
        "web": {"instance_id": "i-1"},
        "app": {"instance_id": "i-2"},
        "none": {},
    }
    for name, each in hosts.items():
        each["__cwagent_role_inputs"] = {**OWN, "host": name, "default_region": "us-east-1" if name == "app" else ""}
    found = read("ec2_server", task_variables(hosts, "db"), collect=True)
    by_region = {"eu-west-1": ["i-1"], "us-east-1": ["i-2"]}
    assert found == {"role": "ec2_server", "is_first": True, "by_region": by_region, "region": "us-east-1"}


@pytest.mark.parametrize(
    ("role", "given", "ineffective"),
    [
        ("ec2_server", {"cwagent_tags": {"a": "b"}, "cwagent_region": "eu-west-1"}, []),
        ("ec2_server", {"cwagent_tags": {}, "cwagent_config_file": "a.json"}, ["cwagent_config_file"]),
        ("onprem_server", {"cwagent_key_max_age_days": 1, "cwagent_key_store": "file"}, ["cwagent_key_max_age_days"]),
        ("onprem_credentials", {"cwagent_user_name": "u", "cwagent_node_id": "mi-1"}, ["cwagent_node_id"]),
        ("verify", {"cwagent_environment": {}}, []),
        ("onprem_credentials", {"cwagent_user_name": "u", "cwagent_environment": {}}, ["cwagent_environment"]),
        ("ec2_server", {"cwagent_config_file": "a.json", "__cwagent_run": {}, "__cwagent": defaultdict(str)}, []),
    ],
)
def test_a_setting_of_the_command_without_effect_is_a_warning(role: str, given: Any, ineffective: list[str]) -> None:
    """Every role sees the variables of the command, which can be for another role."""
    warnings: list[str] = []
    read(role, given, warnings, extra_variables=given)
    assert warnings == [
        f"{name}: the command sets it, but it has no effect in the role {role}." for name in ineffective
    ]
    read(role, given, warnings, extra_variables=())
    assert len(warnings) == len(ineffective)
