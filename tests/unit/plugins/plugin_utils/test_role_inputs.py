"""The variables of a role are checked before its first call. Which values are valid has separate tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from import_graph import PLUGINS
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_inputs import RoleInputs
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_specs import served_modules

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


def read(role: str, values: dict[str, Any], defaults: Any = (), warnings: Any = None, **options: Any) -> dict[str, Any]:
    variables = {**task_variables({"db": {}, "web": {}}, "db"), "role_path": str(ROLES / role), **values}
    given = {"entry_point": "main", "compare": False, **options}
    templar = SimpleNamespace(template=lambda value: value)
    return RoleInputs(variables, given, defaults, templar, [].append if warnings is None else warnings.append).read()


@pytest.mark.parametrize(
    ("role", "values", "problem"),
    [
        ("ec2_server", {}, None),
        ("ec2_server", {"ec2_server_tags": {"a": "b"}}, None),
        ("ec2_server", {"ec2_server_tags": "a"}, "ec2_server_tags must be a mapping, not 'a'."),
        ("ec2_server", {"ec2_server_tag": {}}, "ec2_server_tag is not a variable of the role ec2_server; did you mean"),
        ("ec2_server", {"ansible_facts": {"ec2_server_name": "X"}}, "Host db: its facts set ec2_server_name."),
        ("ec2_server", {"ansible_facts": {"onprem_server_users": "X"}}, None),
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
        assert len(read(role, values)["fingerprint"]) == 64
        return
    with pytest.raises(InvalidInput) as refused:
        read(role, values)
    assert str(refused.value).startswith(problem)


def test_an_entry_point_has_its_own_variables() -> None:
    values = {"verify_servers": 7, "verify_report_files": []}
    with pytest.raises(InvalidInput, match=r"^verify_servers must be a list"):
        read("verify", values)
    assert read("verify", values, entry_point="report")["report_files"] == NO_FILES


def test_defaults_that_would_not_reach_a_module_are_refused() -> None:
    module = min(served_modules(ROLES / "ec2_server"))
    with pytest.raises(InvalidInput, match=rf"^The module_defaults for {module} do not reach the tasks"):
        read("ec2_server", {}, [{module: {"profile": "a"}}])
    read("ec2_server", {}, [{"group/cwagent.iam.aws": {"profile": "a"}}])


def test_the_report_files_have_their_formats_and_others_are_skipped_with_a_warning() -> None:
    warnings: list[str] = []
    found = read("verify", {"verify_report_files": ["a.html", "b.json"]}, warnings=warnings, entry_point="report")
    assert found["report_files"] == {**NO_FILES, "json": ["b.json"]}
    assert warnings == [
        "verify_report_files: skipped a.html, because the role verify writes only files that end in .json."
    ]


def test_a_fingerprint_is_the_same_for_the_same_values_without_secrets() -> None:
    known = read("verify", {"verify_report_files": []}, entry_point="report")["fingerprint"]
    values = {"verify_report_files": ["b.json"]}
    assert read("verify", values, entry_point="report")["fingerprint"] != known
    [one, other] = (
        read("hybrid_registration", {"hybrid_registration_region": "x", "hybrid_registration_environment": {"A": each}})
        for each in "12"
    )
    assert one == other


@pytest.mark.parametrize(
    ("fingerprints", "is_shared", "runs_on"),
    [
        ({"db": "1", "web": "1", "app": "1"}, True, ["web"]),
        ({"db": "1", "web": "2", "app": "1"}, False, ["web", "app"]),
        ({"db": None, "web": "2", "app": "2"}, True, ["web"]),
        ({"db": None, "web": None, "app": None}, True, ["web"]),
    ],
)
def test_hosts_with_the_same_values_share_a_call(
    fingerprints: dict[str, str | None], is_shared: bool, runs_on: list[str]
) -> None:
    hosts = {
        name: {"__ec2_server_inputs": {"fingerprint": each}} if each else {} for name, each in fingerprints.items()
    }
    values = task_variables(hosts, "web", ansible_play_hosts=["web", "app"])
    assert read("ec2_server", values, compare=True) == {"is_shared": is_shared, "runs_on": runs_on}
