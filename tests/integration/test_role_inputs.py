"""A role that takes a list refuses everything else before its first call, instead of taking it apart."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from harness import (
    CHECKOUT,
    Controller,
    Play,
)

ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
CONFIGS = [{"name": "AmazonCloudWatch-linux", "file": "agent.json"}]
NOT_A_LIST = {"text": "agent-db-1", "number": 7, "mapping": {"a": "b"}, "null": None}
NOT_LISTS_BY_REGION = {
    **{kind: value for kind, value in NOT_A_LIST.items() if kind != "mapping"},
    "list": ["i-0123456789abcdef0"],
    **{f"{kind} in a region": {"": value} for kind, value in NOT_A_LIST.items()},
}


def options(role: str) -> dict[str, Any]:
    specs = yaml.safe_load((CHECKOUT / "roles" / role / "meta/argument_specs.yml").read_text())
    found: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return found


def is_by_region(name: str) -> bool:
    return name.endswith(("_by_region", "_instances"))


LISTS = [
    (role, name)
    for role in ROLES
    for name, option in options(role).items()
    if option["type"] == "list" or is_by_region(name)
]
CASES = {
    f"{name}: {kind}": (role, name, value)
    for role, name in LISTS
    for kind, value in (NOT_LISTS_BY_REGION if is_by_region(name) else NOT_A_LIST).items()
}


@pytest.fixture(scope="module")
def refused(shared_controller: Controller) -> Play:
    """One run with a block for each case, which prints why the role failed."""
    tasks = [
        {
            "block": [
                {
                    "ansible.builtin.include_role": {"name": f"cwagent.iam.{role}"},
                    "vars": {**({"store_config_configs": CONFIGS} if role == "store_config" else {}), name: value},
                }
            ],
            "rescue": [{"name": case, "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}],
        }
        for case, (role, name, value) in CASES.items()
    ]
    playbook = shared_controller.file("roles.yml", [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    return shared_controller.play(shared_controller.inventory({"ec2_servers": {}}), playbook).assert_succeeded()


def test_every_role_with_lists_is_tested() -> None:
    assert {role for role, _ in LISTS} == set(ROLES)
    assert {name for _, name in LISTS} >= {"onprem_server_users", "ec2_server_instances", "store_config_regions"}


@pytest.mark.parametrize("case", CASES)
def test_a_value_that_is_not_a_list_is_refused(refused: Play, case: str) -> None:
    role, name, _ = CASES[case]
    [said] = [each.result["msg"] for each in refused.results if each.task == case]
    # The role store_config hands everything to one action, whose message contains the action's option.
    assert (name.removeprefix("store_config_") if role == "store_config" else name) in said


def test_no_call_was_made(refused: Play) -> None:
    assert "Traceback" not in refused.output
    assert refused.calls == []


def test_a_role_takes_the_report_files_that_a_playbook_takes(shared_controller: Controller) -> None:
    """The ending of a path chooses the format, and a role skips a format that it does not write."""
    tasks = [
        {
            "block": [{"ansible.builtin.include_role": {"name": f"cwagent.iam.{role}"}, "vars": values}],
            "rescue": [{"name": role, "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}],
        }
        for role, values in {
            "verify": {"verify_report_files": ["v.html", "v.json"], "verify_servers": []},  # it fails after that
            "audit": {"audit_report_files": ["audit.html", "audit.pdf", "audit.html"]},
        }.items()
    ]
    playbook = shared_controller.file("reports.yml", [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    inventory = shared_controller.inventory({"ec2_servers": {}})
    play = shared_controller.play(inventory, playbook).assert_succeeded()
    warning = "verify_report_files: skipped v.html, because the role verify writes only files that end in .json."
    assert play.words.count(warning) == 1
    [files] = [each.result["report_files"] for each in play.results if "report_files" in each.result]
    assert files == {"html": [], "json": ["v.json"], "junit": [], "sarif": []}
    [refused] = [each.result["msg"] for each in play.results if each.task == "audit"]
    assert refused == (
        "audit_report_files: 'audit.pdf' must end in .html, .json, .junit.xml, .sarif or .sarif.json. "
        "audit_report_files has a duplicate path: audit.html. Nothing was changed."
    )
    assert play.calls == []
