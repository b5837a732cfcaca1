"""All variables are prefixed: with the name of the role, or with cwagent_ in playbooks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, nodes

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import (
    COLLECTED,
    OF_HOST,
    READ,
    role_options,
    shared_setting,
)

ROOT = Path(__file__).parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
EXPRESSIONS = ("when", "that", "changed_when", "failed_when", "until")
OF_ROLES = {READ, COLLECTED}
"""The roles that manage principals register what they read under these names, which an action reads."""
BECOME = "ansible_become"
"""A variable of Ansible that overrides the task keyword become."""
PIPELINING = {"ansible_pipelining", "ansible_ssh_pipelining"}
"""Variables of Ansible that override its settings: an access key must not be in a temporary file on the host."""
MAGIC_VARIABLES = {
    *("groups", "hostvars", "inventory_hostname", "inventory_dir", "playbook_dir"),
    *("lookup", "omit", "query"),
}
"""Variables that Ansible sets, in addition to ansible_*."""
HOST_VARIABLES = {"instance_id", "placement", "cwagent_region", "cwagent_environment"}
"""Host variables that roles read. The inventory plugin of amazon.aws sets the first two."""
PLAYBOOK_VARIABLES = {"item", "awx_job_id"}
"""Our playbooks are never inside another loop, so they may use ``item``. AWX sets the id of the job."""
jinja = Environment(autoescape=True)

pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")  # in regular expressions of templates


MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))


def options_of(module: str) -> dict[str, Any]:
    documentation = import_module(f"ansible_collections.cwagent.iam.plugins.modules.{module}").DOCUMENTATION
    options: dict[str, Any] = yaml.safe_load(documentation).get("options") or {}
    return options


def load(*patterns: str) -> list[Any]:
    return [yaml.safe_load(path.read_text()) for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    """All plays, blocks and tasks in a file, at any depth."""
    if isinstance(content, list):
        for each in content:
            yield from tasks(each)
    elif isinstance(content, dict):
        yield content
        for section in ("tasks", "block", "rescue", "always"):
            yield from tasks(content.get(section, []))


def variables_set_by(task: dict[str, Any]) -> set[str]:
    """The names of the variables that a play or a task sets."""
    loop = task.get("loop_control", {})
    named = {task.get("register"), loop.get("loop_var"), loop.get("index_var")} - {None}
    applied = [each["apply"].get("vars", {}) for each in task.values() if isinstance(each, dict) and "apply" in each]
    return {name for names in (named, task.get("vars", {}), *applied) for name in names}


def variables_read_in(content: Any, expression: bool = False) -> set[str]:
    """The names of the variables that templates and conditions read, at any depth."""
    if isinstance(content, dict):
        return {name for key, value in content.items() for name in variables_read_in(value, key in EXPRESSIONS)}
    if isinstance(content, list):
        return {name for each in content for name in variables_read_in(each, expression)}
    if not isinstance(content, str):
        return set()
    template = f"{{{{ {content} }}}}" if expression else content
    names = list(jinja.parse(template).find_all(nodes.Name))
    local = {"loop", *(name.name for name in names if name.ctx == "store")}
    return {name.name for name in names} - local


def test_variables_are_found() -> None:
    assert {"ec2_server", "store_config"} <= set(ROLES)
    text = "when {{ d | f(e) }} {% for x in g %}{{ x }}{{ loop.last }}{% endfor %}"
    assert variables_read_in([{"when": ["a and b.c == 'x'"], "name": text}]) == {"a", "b", "d", "e", "g"}
    task = {"register": "a", "vars": {"b": 1}, "loop_control": {"loop_var": "c"}, "m": {"apply": {"vars": {"d": 1}}}}
    assert variables_set_by(task) == {"a", "b", "c", "d"}
    assert len(list(tasks([{"tasks": [{"block": [{}], "always": [{"block": [{}]}]}]}]))) == 5


def variables_set_in(settings: list[Any], work: list[Any]) -> set[str]:
    return {name for each in [*settings, *map(variables_set_by, tasks(work))] for name in each}


@pytest.mark.parametrize("role", ROLES)
def test_roles_set_and_read_only_their_own_variables(role: str) -> None:
    settings = load(f"roles/{role}/defaults/*.yml", f"roles/{role}/vars/*.yml")
    work = load(f"roles/{role}/tasks/*.yml")
    options = role_options(ROOT / "roles" / role)
    assert [option for option in options if not option.startswith(f"{role}_")] == []
    collects = OF_ROLES if role in OF_HOST else set()
    own = (
        f"{role}_",
        f"__{role}_",
        *collects,
        *(setting for name in options if (setting := shared_setting(role, name))),
    )
    assert {name for name in variables_set_in(settings, work) if not name.startswith(own)} <= {BECOME, *PIPELINING}
    read = variables_read_in(settings) | variables_read_in(work)
    assert {
        name for name in read - MAGIC_VARIABLES - HOST_VARIABLES if not name.startswith((*own, "ansible_"))
    } == set()


def test_playbooks_set_and_read_only_our_variables() -> None:
    """They set internal variables and options of our roles. Variables that begin with cwagent_ belong to the user."""
    settings = [each for each in load("playbooks/vars/*.yml") if "argument_specs" not in each]
    work = load("playbooks/*.yml", "playbooks/tasks/*.yml")
    own = ("__cwagent", *(f"{prefix}{role}_" for role in ROLES for prefix in ("", "__")))
    assert {name for name in variables_set_in(settings, work) if not name.startswith(own)} <= {BECOME, *PIPELINING}
    read = variables_read_in(settings) | variables_read_in(work)
    assert {
        name
        for name in read - MAGIC_VARIABLES - PLAYBOOK_VARIABLES
        if not name.startswith((*own, "cwagent_", "ansible_"))
    } == set()


SET_FILTERS = {"difference", "intersect", "symmetric_difference", "union"}
"""Filters of Ansible whose result has another order in each run, unless it is sorted."""


@pytest.mark.parametrize("pattern", ["playbooks/**/*.yml", "roles/*/*/*.yml", "examples/**/*.yml"])
def test_lists_have_the_same_order_in_each_run(pattern: str) -> None:
    """Users compare the output of two runs. ``reject('in', …)`` and ``unique`` keep the order."""
    used = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(ROOT.glob(pattern))
        for name in re.findall(r"(?:\||map\(')\s*(?:ansible\.builtin\.)?(\w+)(?!\([^|]*\) \| sort)", path.read_text())
        if name in SET_FILTERS
    }
    assert used == set()


@pytest.mark.parametrize("pattern", ["playbooks/**/*.yml", "roles/*/*/*.yml"])
def test_an_expression_has_at_most_two_lines(pattern: str) -> None:
    """Longer logic belongs in a module or a plugin, which has unit tests."""
    expressions = {
        f"{path.relative_to(ROOT)}: {found}"
        for path in sorted(ROOT.glob(pattern))
        for found in re.findall(r"{{.*?}}", path.read_text(), re.DOTALL)
    }
    assert expressions
    assert [each for each in expressions if each.count("\n") > 1] == []


def test_the_admin_window_is_open_for_longer_than_all_waits_in_it():
    """EC2 may not know the profile, IAM may not show it, the instance may not have it, the permission may be late."""
    options = role_options(ROOT / "roles" / "store_config")
    names = ("wait_timeout", "identity_timeout", "permission_timeout", "admin_window_minutes")
    wait, identity, permission, minutes = (options[f"store_config_{name}"]["default"] for name in names)
    assert wait + wait + identity + permission < minutes * 60


VALIDATING = ("cwagent_inputs", "cwagent_server_info", "cwagent_agent_config")
"""The actions that validate the variables of their role."""


def is_validated(path: Path) -> bool:
    """Whether the first task of a role, which it can import, validates its variables."""
    first = yaml.safe_load(path.read_text())[0]
    imported = first.get("ansible.builtin.import_tasks")
    return (
        is_validated(path.parent / imported) if imported else any(f"cwagent.iam.{each}" in first for each in VALIDATING)
    )


def test_playbooks_leave_the_validation_to_the_first_task_of_a_role() -> None:
    """Ansible would read the specs of each role, and validate the variables once more, in a task for each host.

    It does where no task of the role validates them.
    """
    found = [
        options
        for task in tasks(load("playbooks/**/*.yml"))
        for name, options in task.items()
        if name.endswith((".import_role", ".include_role"))
    ]
    for each in found:
        role, entry = ROOT / "roles" / each["name"].rpartition(".")[2], each.get("tasks_from", "main")
        is_specified = entry in yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
        is_left = not is_specified or is_validated(role / "tasks" / f"{entry}.yml")
        assert each.get("rolespec_validate", True) is not is_left, f"{role.name} {entry}"
    assert len(found) > 30


def test_counts_for_other_jobs_are_numbers_with_every_ansible_core() -> None:
    """Before 2.19, a template that is alone a number gives text, so only actions in Python provide counts."""
    files = [*(ROOT / "roles").glob("*/tasks/*.yml"), *(ROOT / "playbooks").rglob("*.yml")]
    assert len(files) > 50
    assert [path for path in files if "set_stats" in path.read_text()] == []


STATES = {name for name in MODULES if "state" in options_of(name)}


@pytest.mark.parametrize("role", ROLES)
def test_a_task_of_a_role_has_the_state_itself(role: str) -> None:
    """A module_defaults of the play would delete what the role creates."""
    found = [
        task
        for content in load(f"roles/{role}/tasks/*.yml")
        for task in tasks(content)
        for key in task
        if key.removeprefix("cwagent.iam.") in STATES and "state" not in (task[key] or {})
    ]
    assert [each["name"] for each in found] == []
