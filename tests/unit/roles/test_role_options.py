"""The variables of a role reach the options of its modules, by name."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from templates import trust_templates

from ansible_collections.cwagent.iam.plugins.lookup.role_options import NEVER, LookupModule
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_specs import known_variables, read_specs

ROLES = Path(__file__).parents[3] / "roles"
MODULE = re.compile(r"role_options', '(\w+)'(?:, entry_point='(\w+)')?")
GIVEN = {"str": "x", "path": "/x", "int": 0, "bool": False, "list": ["x"], "dict": {"x": "y"}}
"""Values that give an option; zero and false do."""
BY_ACTION = {"report_files"}
"""The variables that cwagent_inputs reads."""
EMPTY = {"none": None, "text": "", "list": [], "mapping": {}}


def files_of(role: str) -> str:
    """The tasks, variables and templates of a role."""
    folders = ("tasks", "vars", "templates")
    return "\n".join(path.read_text() for folder in folders for path in sorted((ROLES / role).glob(f"{folder}/*")))


HANDED_ON = sorted({(path.name, *found) for path in ROLES.iterdir() for found in MODULE.findall(files_of(path.name))})
"""Each role and module, with the entry point whose variables count. Without one, all count."""


def look_up(role: str, module: str, variables: dict[str, Any], entry: str = "", **given: Any) -> dict[str, Any]:
    known = {"role_path": str(ROLES / role), **variables}
    lookup = LookupModule(loader=DataLoader(), templar=Templar(DataLoader(), variables=known))
    [found] = lookup.run([module], known, **({"entry_point": entry} if entry else {}), **given)
    return found


def spec_of(module: str) -> dict[str, Any]:
    found: dict[str, Any] = import_module(f"ansible_collections.cwagent.iam.plugins.modules.{module}").SPEC
    return {**found, "region": {"type": "str"}}


def variables_for(role: str, spec: dict[str, Any], entry: str = "") -> dict[str, str]:
    """By option of a module, the variable of the role, or of one of its entry points."""
    specs = read_specs(ROLES / role)
    known = known_variables({entry: specs[entry]} if entry else specs)
    return {name: f"{role}_{name}" for name in spec if f"{role}_{name}" in known and name != NEVER}


def test_the_roles_hand_on() -> None:
    assert {role for role, _module, _entry in HANDED_ON} == {path.name for path in ROLES.iterdir()}


@pytest.mark.parametrize(("role", "module", "entry"), HANDED_ON)
def test_each_variable_gives_the_option_of_its_name(role: str, module: str, entry: str) -> None:
    spec = spec_of(module)
    variables = variables_for(role, spec, entry)
    values = {variable: GIVEN[spec[option]["type"]] for option, variable in variables_for(role, spec).items()}
    found = look_up(role, module, {**values, f"{role}_environment": {"A": "b"}}, entry)
    suboptions = {name for name, option in spec.items() if option.get("type") == "dict" and "options" in option}
    assert {name: value for name, value in found.items() if name not in suboptions} == {
        option: values[variable] for option, variable in variables.items()
    }
    assert len(variables) > 0


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize(("role", "module", "entry"), HANDED_ON)
def test_an_empty_value_gives_an_option_only_if_it_can_mean_something(
    role: str, module: str, entry: str, empty: Any
) -> None:
    """An empty list is not the same as none for an option whose default is another list."""
    spec = spec_of(module)
    variables = variables_for(role, spec, entry)
    found = look_up(role, module, dict.fromkeys(variables.values(), empty), entry)
    kept = {name for name in variables if empty not in (None, "") and spec[name].get("default") is not None}
    assert found == dict.fromkeys(kept, empty)


def test_the_phases_of_a_module_share_no_option() -> None:
    options: dict[tuple[str, str], list[str]] = {}
    for role, module, entry in HANDED_ON:
        if entry:
            options.setdefault((role, module), []).extend(variables_for(role, spec_of(module), entry))
    assert {key: len(found) == len(set(found)) > 0 for key, found in options.items()} == dict.fromkeys(options, True)
    assert sorted(variables_for("verify", spec_of("cwagent_server_info"), "check")) == ["from"]


def test_suboptions_have_variables_too() -> None:
    values = {"onprem_server_key_store": "file", "onprem_server_evict_unmanaged_key": True}
    assert look_up("onprem_server", "cwagent_iam_user", values) == {
        "saved_key": {"key_store": "file", "evict_unmanaged_key": True}
    }


def test_templates_keep_their_type_and_a_region_of_the_task_counts() -> None:
    values = {
        "ec2_server_tags": trust_templates("{{ more }}"),
        "more": {"a": 1},
        "ec2_server_region": "eu-west-1",
        "ec2_server_name": "R",
    }
    for region, expected in (("eu-west-3", {"region": "eu-west-3"}), ("", {})):
        found = look_up("ec2_server", "cwagent_iam_role", values, region=region)
        assert found == {"tags": {"a": 1}, "name": "R", **expected}
    assert look_up("ec2_server", "cwagent_iam_role", values)["region"] == "eu-west-1"


def test_a_variable_that_the_role_does_not_have_gives_no_option() -> None:
    assert look_up("ec2_server", "cwagent_iam_role", {"ec2_server_trust": "x", "ec2_server_trust_regions": ["x"]}) == {}


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_every_variable_of_a_role_is_used(role: str) -> None:
    """By its name, or because a module has that option."""
    text = files_of(role)
    by_name = {
        name
        for each, module, entry in HANDED_ON
        if each == role
        for name in _names(spec_of(module))
        if not entry or f"{role}_{name}" in variables_for(role, spec_of(module), entry).values()
    }
    unused = {
        name
        for name in known_variables(read_specs(ROLES / role))
        if name.removeprefix(f"{role}_") not in by_name | BY_ACTION and not re.search(rf"\b{name}\b", text)
    }
    assert unused == set()


def _names(spec: dict[str, Any]) -> set[str]:
    return {name for option in spec.values() for name in option.get("options", {})} | {*spec}
