"""No variable of ours meets one of somebody else's: each begins with the name of its role, or with cwagent_."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, nodes

ROOT = Path(__file__).parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
EXPRESSIONS = ("when", "that", "changed_when", "failed_when", "until")
BECOME = "ansible_become"
"""Ansible's own, which only a variable overrides."""
GIVEN = {"groups", "hostvars", "inventory_hostname", "inventory_dir", "playbook_dir", "lookup", "omit"}
"""What Ansible provides, beside ansible_*."""
OF_HOSTS = {"instance_id", "placement", "cwagent_region"}
"""What roles read of a host; the first two are those of the inventory of amazon.aws."""
OF_PLAYBOOKS = {"item", "awx_job_id"}
"""Playbooks run alone, so no loop of somebody else's is around them; and AWX tells a job its id."""
jinja = Environment(autoescape=True)

pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")  # they are for regular expressions


def load(*patterns: str) -> list[Any]:
    return [yaml.safe_load(path.read_text()) for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    """The plays, blocks and tasks in a file, however deep."""
    if isinstance(content, list):
        for each in content:
            yield from tasks(each)
    elif isinstance(content, dict):
        yield content
        for section in ("tasks", "block", "rescue", "always"):
            yield from tasks(content.get(section, []))


def set_by(task: dict[str, Any]) -> set[str]:
    """The variables that a play or a task gives a value."""
    loop = task.get("loop_control", {})
    apart = {task.get("register"), loop.get("loop_var"), loop.get("index_var")} - {None}
    applied = [each["apply"].get("vars", {}) for each in task.values() if isinstance(each, dict) and "apply" in each]
    return {name for names in (apart, task.get("vars", {}), *applied) for name in names}


def read_in(content: Any, expression: bool = False) -> set[str]:
    """The variables that templates and conditions read, however deep."""
    if isinstance(content, dict):
        return {name for key, value in content.items() for name in read_in(value, key in EXPRESSIONS)}
    if isinstance(content, list):
        return {name for each in content for name in read_in(each, expression)}
    if not isinstance(content, str):
        return set()
    template = f"{{{{ {content} }}}}" if expression else content
    names = list(jinja.parse(template).find_all(nodes.Name))
    local = {"loop", *(name.name for name in names if name.ctx == "store")}
    return {name.name for name in names} - local


def test_variables_are_found() -> None:
    assert {"ec2_server", "store_config"} <= set(ROLES)
    text = "when {{ d | f(e) }} {% for x in g %}{{ x }}{{ loop.last }}{% endfor %}"
    assert read_in([{"when": ["a and b.c == 'x'"], "name": text}]) == {"a", "b", "d", "e", "g"}
    given = {"register": "a", "vars": {"b": 1}, "loop_control": {"loop_var": "c"}, "m": {"apply": {"vars": {"d": 1}}}}
    assert set_by(given) == {"a", "b", "c", "d"}
    assert len(list(tasks([{"tasks": [{"block": [{}], "always": [{"block": [{}]}]}]}]))) == 5


def named_in(settings: list[Any], work: list[Any]) -> set[str]:
    return {name for each in [*settings, *map(set_by, tasks(work))] for name in each}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_sets_and_reads_is_its_own(role: str) -> None:
    settings = load(f"roles/{role}/defaults/*.yml", f"roles/{role}/vars/*.yml")
    work = load(f"roles/{role}/tasks/*.yml")
    [specs] = load(f"roles/{role}/meta/argument_specs.yml")
    options = {option for entry in specs["argument_specs"].values() for option in entry["options"]}
    assert [option for option in options if not option.startswith(f"{role}_")] == []
    own = (f"{role}_", f"__{role}_")
    assert {name for name in named_in(settings, work) if not name.startswith(own)} <= {BECOME}
    read = read_in(settings) | read_in(work)
    assert {name for name in read - GIVEN - OF_HOSTS if not name.startswith((*own, "ansible_"))} == set()


def test_what_playbooks_set_and_read_is_ours() -> None:
    """They set variables of their own and options of our roles, and leave to the user what begins with cwagent_."""
    settings = load("playbooks/vars/*.yml")
    work = load("playbooks/*.yml", "playbooks/tasks/*.yml")
    own = ("__cwagent_", *(f"{prefix}{role}_" for role in ROLES for prefix in ("", "__")))
    assert {name for name in named_in(settings, work) if not name.startswith(own)} == {BECOME}
    read = read_in(settings) | read_in(work)
    assert {
        name for name in read - GIVEN - OF_PLAYBOOKS if not name.startswith((*own, "cwagent_", "ansible_"))
    } == set()
