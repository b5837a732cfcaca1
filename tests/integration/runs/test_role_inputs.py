"""Each role validates its inputs before its first call. Which values are valid is a pure function."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from harness import CHECKOUT, Controller, Play

ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
CONFIGS = [{"name": "AmazonCloudWatch-linux", "file": "agent.json"}]
WRONG = ["agent-db-1", 7]
WRONG_BY_REGION = [{"": "i-0123456789abcdef0"}, {"": 7}, {"": None}]
"""Values that Ansible would take apart or hand on. It refuses others itself, before the role."""


def options(role: str) -> dict[str, Any]:
    specs = yaml.safe_load((CHECKOUT / "roles" / role / "meta/argument_specs.yml").read_text())
    found: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return found


def is_by_region(name: str) -> bool:
    return name.endswith(("_by_region", "_instances"))


def is_left_to_the_role(name: str, option: dict[str, Any]) -> bool:
    """Whether Ansible takes text for the list. It refuses text that is no mapping or no choice."""
    is_of_texts = option["type"] == "list" and option.get("elements", "str") == "str" and "choices" not in option
    return is_by_region(name) or is_of_texts


LISTS = {
    role: names
    for role in ROLES
    if (names := [name for name, option in options(role).items() if is_left_to_the_role(name, option)])
}


def invalid(name: str, number: int) -> Any:
    values = WRONG_BY_REGION if is_by_region(name) else WRONG
    return values[number % len(values)]


BLOCKS: dict[str, tuple[str, dict[str, Any]]] = {
    # The role reports all of its lists together.
    **{
        role: (role, {name: invalid(name, number) for number, name in enumerate(found)})
        for role, found in LISTS.items()
    },
    # It fails after that.
    "verify, reports": ("verify", {"verify_report_files": ["v.html", "v.json"], "verify_servers": []}),
    "audit, reports": ("audit", {"audit_report_files": ["audit.html", "audit.pdf", "audit.html"]}),
}
"""Roles with their variables."""
REQUIRED = {"hybrid_registration_region": "eu-central-1", "store_config_configs": CONFIGS}
"""The variables without which Ansible refuses a role."""


def including(block: str, role: str, variables: dict[str, Any]) -> dict[str, Any]:
    """A block that includes a role, and prints why it failed."""
    reason = {"name": block, "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}
    include = {"ansible.builtin.include_role": {"name": f"cwagent.iam.{role}"}, "vars": {**REQUIRED, **variables}}
    return {"block": [include], "rescue": [reason]}


@pytest.fixture(scope="module")
def refused(shared_controller: Controller) -> Play:
    """One run that includes each of these, and prints why the role failed."""
    tasks = [including(block, role, variables) for block, (role, variables) in BLOCKS.items()]
    playbook = shared_controller.file("roles.yml", [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    return shared_controller.play(shared_controller.inventory({"ec2_servers": {}}), playbook).assert_succeeded()


def said(refused: Play, block: str) -> str:
    """Why a role failed."""
    [message] = [each.result["msg"] for each in refused.results if each.task == block]
    return str(message)


def test_the_lists_of_the_roles_are_found() -> None:
    names = {name for each in LISTS.values() for name in each}
    assert names >= {"onprem_server_users", "ec2_server_instances", "store_config_regions"}


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in LISTS.items() for name in names])
def test_a_role_refuses_a_value_that_is_not_a_list(refused: Play, role: str, name: str) -> None:
    assert name in said(refused, role)


def test_no_call_was_made(refused: Play) -> None:
    assert "Traceback" not in refused.output
    assert refused.calls == []


def test_a_role_takes_the_report_files_that_a_playbook_takes(refused: Play) -> None:
    """The ending of a path chooses the format, and a role skips a format that it does not write."""
    warning = "verify_report_files: skipped v.html, because the role verify writes only files that end in .json."
    assert refused.words.count(warning) == 1
    [files] = [each.result["report_files"] for each in refused.results if "report_files" in each.result]
    assert {kind: paths for kind, paths in files.items() if paths} == {"json": ["v.json"]}
    assert said(refused, "audit, reports") == (
        "audit_report_files: 'audit.pdf' must end in .html, .json, .junit.xml, .sarif, .sarif.json, .template, "
        ".template.json or .tf. audit_report_files has a duplicate path: audit.html. Nothing was changed."
    )
