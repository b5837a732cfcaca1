"""The playbooks hand their variables on to the roles: each reaches the roles that use it, with the roles' default."""

from __future__ import annotations

import math
import re
from collections import ChainMap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from guide import playbook_options
from templates import trust_templates

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.given import Given
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.interpretation import interpret
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.playbook import set_by_playbooks
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.plays import LISTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import (
    find_value,
    read_defaults,
    role_options,
    shared_setting,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.values import check_role

ROOT = Path(__file__).parents[3]
FILES: dict[str, dict[str, Any]] = {
    path.name: yaml.safe_load(path.read_text())
    for path in sorted(ROOT.glob("playbooks/vars/*.yml"))
    if path.name != "argument_specs.yml"
}
SETTINGS: dict[str, Any] = {name: value for variables in FILES.values() for name, value in variables.items()}
OPTIONS = playbook_options()
HOST = "db"
PRINCIPALS = ("ec2_server", "ec2_admin", "onprem_server", "onprem_admin", "hybrid_server")
HANDED_ON: dict[str, tuple[Any, list[str]]] = {
    "cwagent_admin_window_minutes": (30, ["store_config_admin_window_minutes"]),
    "cwagent_config_validation": ("warn", ["store_config_config_validation"]),
    "cwagent_agent_schema": ("/schema.json", ["store_config_agent_schema"]),
    "cwagent_split_config": (True, ["store_config_split_config"]),
    "cwagent_config_version": ("previous", ["store_config_config_version"]),
    "cwagent_audit_regions": (["eu-west-1"], ["store_config_read_regions"]),
    "cwagent_ignored_parameters": (["AmazonCloudWatch-a"], ["store_config_ignored_parameters"]),
    "cwagent_emf_log_groups": (["orders"], ["store_config_emf_log_groups", "audit_emf_log_groups"]),
    "cwagent_tags": ({"team": "ops"}, [f"{role}_tags" for role in (*PRINCIPALS, "store_config")]),
    "cwagent_split_recent": (True, ["store_config_split_recent"]),
    "cwagent_parameter_tier": ("Standard", ["store_config_parameter_tier"]),
    "cwagent_environment": (
        {"HTTPS_PROXY": "http://proxy"},
        ["store_config_environment", "hybrid_registration_environment", "verify_environment"],
    ),
    "cwagent_remove_surplus_parameters": (True, ["store_config_remove_surplus_parameters"]),
    "cwagent_identity_timeout": (30, ["store_config_identity_timeout"]),
    "cwagent_permission_timeout": (30, ["store_config_permission_timeout"]),
    "cwagent_verify_timeout": (30, ["verify_wait_timeout"]),
    "cwagent_wait_timeout": (
        30,
        [f"{role}_wait_timeout" for role in (*PRINCIPALS, "hybrid_registration", "store_config")],
    ),
    "cwagent_exclusive": (True, [f"{role}_exclusive" for role in PRINCIPALS]),
    "cwagent_evict_unmanaged_key": (True, [f"{role}_evict_unmanaged_key" for role in PRINCIPALS if "onprem" in role]),
    "cwagent_key_file_owner": ("agent", ["onprem_credentials_owner"]),
    "cwagent_key_file_group": ("agents", ["onprem_credentials_group"]),
}
"""By variable of the playbooks, a value that is not the default, and the variables of roles that get it."""


def defaults_of_roles() -> dict[str, Any]:
    """By variable of a role, the default, which a setting gives to a variable that the role does not list."""
    roles = [role_options(role) for role in (ROOT / "roles").iterdir()]
    return {name: option.get("default") for options in roles for name, option in options.items()}


def role_of(variable: str) -> str:
    return next(each.name for each in (ROOT / "roles").iterdir() if variable.startswith(f"{each.name}_"))


def value_in_a_run(name: str, registered: dict[str, Any] | None = None, **variables: Any) -> Any:
    """The value of a variable of a role on a host, in a run of the playbooks with these variables.

    :param registered: results of tasks.
    """
    given = Given(
        options=OPTIONS,
        controller=variables,
        controller_host="localhost",
        hosts={HOST: {"cwagent_region": "eu-central-1", **variables}},
        groups={"all": [HOST], "cwagent_onprem_servers": [HOST]},
        find_default_region=lambda _profile: "",
        find_file=str,
        to_absolute=str,
    )
    run = interpret(given)
    assert run.problems == []
    inputs = run.record()
    defaults = [read_defaults(role) for role in (ROOT / "roles").iterdir()]
    everything = {
        **trust_templates(dict(ChainMap(*defaults))),
        **trust_templates(SETTINGS),
        "groups": given.groups,
        "hostvars": {"localhost": variables},
        "__cwagent": inputs,
        "inventory_hostname": HOST,
        **(registered or {}),
        **variables,
    }
    template = Templar(loader=DataLoader(), variables=everything).template
    found = template(everything.get(name))
    return found if found not in (None, "") else find_value(role_of(name), name, everything, template)


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [(variable, value, name) for variable, (value, names) in HANDED_ON.items() for name in names],
)
def test_a_variable_of_the_playbooks_reaches_its_roles(variable: str, value: Any, name: str) -> None:
    assert value_in_a_run(name, **{variable: value}) == value
    assert (value_in_a_run(name) or None) == (defaults_of_roles()[name] or None) != value


@pytest.mark.parametrize("role", [*PRINCIPALS, "store_config", "verify"])
@pytest.mark.parametrize(("policy", "found"), [("", "aws"), ("aws", "aws"), ("fitted", "fitted")])
def test_a_run_hands_on_the_policy_of_the_servers_so_that_no_role_reads_the_account(
    role: str, policy: str, found: str
) -> None:
    assert value_in_a_run(f"{role}_server_policy", cwagent_server_policy=policy) == found
    assert defaults_of_roles()[f"{role}_server_policy"] == ""


@pytest.mark.parametrize("name", [name for name in defaults_of_roles() if shared_setting(role_of(name), name)])
def test_a_role_accepts_what_a_run_without_variables_hands_on(name: str) -> None:
    option = role_options(ROOT / "roles" / role_of(name))[name]
    assert check_role({name: option}, {name: value_in_a_run(name)}) == []


def test_a_role_variable_that_the_playbooks_set_is_refused() -> None:
    found = set_by_playbooks(OPTIONS)
    assert set(found) >= {name for name in SETTINGS if not name.startswith("__")}
    assert {
        name: variable for variable, (_value, names) in HANDED_ON.items() for name in names
    }.items() <= found.items()


@pytest.mark.parametrize("kind", ["wait_timeout", "exclusive", "evict_unmanaged_key"])
def test_a_variable_for_all_roles_leaves_none_out(kind: str) -> None:
    handed_on = {name for _value, names in HANDED_ON.values() for name in names}
    assert {name for name in defaults_of_roles() if name.endswith(f"_{kind}")} <= handed_on


def set_by_plays(content: Any) -> Iterator[str]:
    """The variables under all keys ``vars`` of a playbook or a file of tasks."""
    if isinstance(content, dict):
        found = content.get("vars")
        yield from found if isinstance(found, dict) else ()
    for each in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from set_by_plays(each)


def test_every_role_variable_that_a_play_sets_is_refused_from_the_user() -> None:
    """Some of them delete: the state of a role, or the age at which a key is replaced."""
    roles = tuple(f"{path.name}_" for path in (ROOT / "roles").iterdir())
    paths = (ROOT / "playbooks").rglob("*.yml")
    named = {name for path in paths for name in set_by_plays(yaml.safe_load(path.read_text()))}
    set_in_plays = {name for name in named if name.startswith(roles)}
    assert {"ec2_server_state", "onprem_server_state"} <= set_in_plays
    refused = set_by_playbooks(OPTIONS)
    assert sorted(set_in_plays - refused.keys()) == []
    assert refused["onprem_server_rotate_now"] == "cwagent_rotate_now"
    assert refused["onprem_server_state"] == ""


# A name behind a dot is a key of a variable: the input audit_regions also reaches a role that is not the audit's.
NAME = re.compile(r"(?<![.\w])[A-Za-z_]\w*\b")
TASK_FILES = re.compile(r"_tasks: (.+\.yml)")
TEMPLATE = re.compile(r"{{.*?}}")
ROLES = re.compile(r"\bcwagent\.iam\.(\w+)")


def text_of(content: Any, folder: Path) -> str:
    """A play or a list of tasks, with the files of tasks and the roles that it includes."""
    texts = [yaml.safe_dump(content, width=math.inf)]
    for name in TASK_FILES.findall(texts[0]):
        paths = sorted(folder.glob(TEMPLATE.sub("*", name)))
        assert paths, name
        texts += [text_of(yaml.safe_load(path.read_text()), path.parent) for path in paths]
    for role in ROLES.findall(texts[0]):
        files = sorted(ROOT.glob(f"roles/{role}/*/*"))
        texts += [path.read_text() for path in files if path.suffix in (".yml", ".j2") and path.parent.name != "meta"]
        texts += role_options(ROOT / "roles" / role) if files else ()
    return "\n".join(texts)


def variables_in(text: str) -> set[str]:
    """The variables of the files that a text needs, and the variables that these need in turn."""
    found: set[str] = set()
    needed = set(NAME.findall(text)) & SETTINGS.keys()
    while needed:
        found |= needed
        texts = yaml.safe_dump([SETTINGS[name] for name in needed])
        needed = set(NAME.findall(texts)) & SETTINGS.keys() - found
    return found


PLAYS = [
    (path.name, play)
    for path in sorted(ROOT.glob("playbooks/*.yml"))
    for play in yaml.safe_load(path.read_text())
    if "import_playbook" not in play
]


@pytest.mark.parametrize(("playbook", "play"), PLAYS, ids=[f"{name}: {play['name']}" for name, play in PLAYS])
def test_a_play_names_the_files_with_the_variables_that_it_needs(playbook: str, play: dict[str, Any]) -> None:
    """And no others, since Ansible reads each of them again for every task."""
    needed = variables_in(text_of(play, ROOT / "playbooks"))
    files = {name for name, variables in FILES.items() if needed & variables.keys()} | {"inputs.yml"}
    assert {Path(file).name for file in play["vars_files"]} == files


def test_no_variable_is_in_two_files_or_needed_by_nobody() -> None:
    assert sum(len(variables) for variables in FILES.values()) == len(SETTINGS)
    assert set.union(*(variables_in(text_of(play, ROOT / "playbooks")) for _name, play in PLAYS)) == SETTINGS.keys()


# Ansible's own variables are in lower case, too, but do not begin with underscores.
OWN_NAME = re.compile(r"\b__(?:cwagent|audit|verify|store_config|ec2|hybrid|onprem)[a-z0-9_]*")


def names_that_are_set(content: Any) -> Iterator[str]:
    """The variables that tasks and plays set: as a result, as a fact, for a host, for a task or for a loop."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in ("register", "loop_var"):
                yield value
            elif key in ("vars", "ansible.builtin.set_fact", "ansible.builtin.add_host"):
                yield from value
    for each in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from names_that_are_set(each)


def test_every_variable_that_is_used_is_set_somewhere() -> None:
    """Ansible would report a missing variable only when the task runs."""
    playbooks = [path for path in ROOT.glob("playbooks/**/*.yml") if path.name != "argument_specs.yml"]
    files = [*playbooks, *ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/vars/*.yml")]
    used = {name for path in files for name in OWN_NAME.findall(path.read_text())}
    contents = [yaml.safe_load(path.read_text()) for path in files]
    known = {name for content in contents for name in (content if isinstance(content, dict) else ())}
    known |= {name for content in contents for name in names_that_are_set(content)}
    assert sorted(used - known) == []


QUERY = re.compile(r"'cwagent\.iam\.run_hosts', '(\w+)'")


def test_the_lookup_of_hosts_has_the_lists_that_the_playbooks_need() -> None:
    texts = [path.read_text() for path in ROOT.glob("playbooks/**/*.yml")]
    assert {name for text in texts for name in QUERY.findall(text)} == {*LISTS, "account"}
