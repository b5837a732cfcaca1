"""The variables of a role are checked before its first call. Which values are valid has separate tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from import_graph import PLUGINS
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils import _role_inputs
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_inputs import RoleInputs

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
    **options: Any,
) -> dict[str, Any]:
    variables = {**task_variables({"db": {}, "web": {}}, "db"), "role_path": str(ROLES / role), **values}
    given = {"entry_point": "main", "compare": False, **options}
    templar = SimpleNamespace(template=lambda value: value)
    warn = [].append if warnings is None else warnings.append
    return RoleInputs(variables, given, connection, templar, warn).read()


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
        ("store_config", {"cwagent_configs": [{"name": "AmazonCloudWatch-a", "file": "a.json"}]}, None),
        ("store_config", {"cwagent_configs": "a.json"}, "cwagent_configs must be a list of mappings, each with name"),
    ],
)
def test_a_role_checks_the_settings_that_it_takes(role: str, values: dict[str, Any], problem: str | None) -> None:
    test_a_role_has_its_own_variables(role, values, problem)


def test_hosts_with_different_settings_have_different_fingerprints() -> None:
    found = {
        read("ec2_server", values)["fingerprint"]
        for values in ({}, {"cwagent_iam_path": "/a/"}, {"ec2_server_iam_path": "/a/"}, {"cwagent_iam_path": "/b/"})
    }
    assert len(found) == 3


def test_the_report_files_have_their_formats_and_others_are_skipped_with_a_warning() -> None:
    warnings: list[str] = []
    found = read("verify", {"verify_report_files": ["a.html", "b.json"]}, warnings=warnings, entry_point="report")
    assert found["report_files"] == {**NO_FILES, "json": ["b.json"]}
    assert warnings == [
        "verify_report_files: skipped a.html, because the role verify writes only files that end in .json."
    ]


KEY = {"access_key": "AKIAX", "secret_key": "short"}


@pytest.mark.parametrize(
    ("values", "options", "environment"),
    [
        ({"ec2_server_tags": {"a": "b"}}, {}, {}),
        ({}, {"profile": "shop"}, {}),
        ({}, {"aws_profile": "bank"}, {}),
        ({}, {"region": "eu-west-1"}, {}),
        ({}, {"endpoint_url": "http://127.0.0.1"}, {}),
        ({}, KEY, {}),
        ({}, {**KEY, "session_token": "t"}, {}),
        ({}, {}, {"AWS_PROFILE": "shop"}),
        ({}, {}, {"HOME": "/home/shop"}),
        ({}, {"profile": "shop"}, {"HOME": "/home/shop"}),
    ],
)
def test_hosts_with_other_values_or_another_account_have_another_fingerprint(
    values: dict[str, Any], options: dict[str, Any], environment: dict[str, Any]
) -> None:
    found = [read("ec2_server", values, connection=(options, environment))["fingerprint"] for _ in range(2)]
    assert found[0] == found[1] != read("ec2_server", {})["fingerprint"]


def test_a_fingerprint_does_not_reveal_a_secret_that_is_short_enough_to_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone who sees it can compute others, but not with the secret of the run."""
    of_run = read("ec2_server", {}, connection=(KEY, {}))["fingerprint"]
    monkeypatch.setattr(_role_inputs, "_SECRET", b"")
    assert read("ec2_server", {}, connection=(KEY, {}))["fingerprint"] != of_run


@pytest.mark.parametrize(
    ("batch", "active", "everyone", "calls"),
    [
        ({"db": "1", "web": "1", "app": "1"}, "", "", {"db": ["db", "web", "app"]}),
        ({"db": "1", "web": "2", "app": "1"}, "", "", {"db": ["db", "app"], "web": ["web"]}),
        ({"db": "1", "web": "2", "app": "3"}, "", "", {"db": ["db"], "web": ["web"], "app": ["app"]}),
        # The role has a condition, so not even the first host need have values.
        ({"db": None, "web": "2", "app": "2"}, "", "", {"web": ["web", "app"]}),
        ({"db": None, "web": None, "app": None}, "", "", {}),
        # Other batches manage their own hosts. No batch has a host that failed before.
        ({"app": "1"}, "db web app", "db web app", {"app": ["app"]}),
        ({"app": "1"}, "web app", "db web app", {"app": ["app", "db"]}),
        ({"web": "2", "app": "1"}, "web app", "db web app", {"web": ["web"], "app": ["app"]}),
    ],
)
def test_hosts_with_the_same_fingerprint_share_a_call(
    batch: dict[str, str | None], active: str, everyone: str, calls: dict[str, list[str]]
) -> None:
    hosts: dict[str, dict[str, Any]] = {name: {} for name in (everyone or " ".join(batch)).split()}
    # A condition of the role leaves a result without values, or none.
    hosts |= {name: {"__ec2_server_inputs": {"fingerprint": each} if each else {}} for name, each in batch.items()}
    of_play: dict[str, Any] = {
        "ansible_play_batch": [*batch],
        "ansible_play_hosts": (active or " ".join(batch)).split(),
    }
    values = task_variables(hosts, "db" if "db" in hosts else "app", **of_play)
    assert read("ec2_server", values, compare=True) == {"calls": calls}
