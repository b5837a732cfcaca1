"""The options about saved keys have one name, type and default in the playbooks, roles, modules and the lookup."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TEXT: dict[str, Any] = {"type": "str"}
STORES = ["file", "parameter_store", "secrets_manager"]
OPTIONS: dict[str, dict[str, Any]] = {
    "key_store": {**TEXT, "choices": STORES, "default": "file"},
    "key_store_directory": {"type": "path", "default": "~/.cwagent/credentials"},
    "key_store_prefix": {**TEXT, "default": "/cwagent/credentials/"},
    "key_store_kms_key_id": TEXT,
    "key_store_allow_ephemeral": {"type": "bool", "default": False},
    "credentials_profile": {**TEXT, "default": "AmazonCloudWatchAgent"},
    "evict_unmanaged_key": {"type": "bool", "default": False},
}
PLACE = {"key_store", "key_store_directory", "key_store_prefix"}
FILE = {*PLACE, "credentials_profile"}
WRITER = {*PLACE, "key_store_kms_key_id", "key_store_allow_ephemeral", "evict_unmanaged_key"}
USERS = {
    **dict.fromkeys(("playbooks", "onprem_server", "onprem_admin"), WRITER),
    **dict.fromkeys(("onprem_credentials", "store_config"), FILE),
    "verify": PLACE,
    "audit": {"key_store_prefix"},  # it reads several stores, and no file
    "cwagent_iam_user.saved_key": {*WRITER, *FILE},
    "cwagent_config_parameter.saved_key": FILE,
    "cwagent_credentials_file": FILE,
    "saved_credentials": FILE,
    **dict.fromkeys(("cwagent_preflight", "cwagent_server_info"), PLACE),
    "cwagent_access_info": {"key_store_prefix"},
}
"""The options of each place that has some; a dictionary is named by its option."""
DIFFERENT = {
    ("playbooks", "key_store_directory"): {**OPTIONS["key_store_directory"], "type": "str"},  # relative to the run
    ("cwagent_iam_user.saved_key", "key_store_directory"): {"type": "path"},  # nothing is written unless it is named
    ("cwagent_preflight", "key_store_directory"): {"type": "path"},  # without it, files are not looked for
    **{(role, "key_store_kms_key_id"): {**TEXT, "default": ""} for role in ("onprem_server", "onprem_admin")},
}


def options_of_plugin(path):
    """Return by place the documented options of a module or lookup."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            options = yaml.safe_load(ast.literal_eval(node.value)).get("options") or {}
            nested = {name: each["suboptions"] for name, each in options.items() if "suboptions" in each}
            return {path.stem: options, **{f"{path.stem}.{name}": each for name, each in nested.items()}}
    return {}


def options_of_spec(place, prefix, path):
    specs = yaml.safe_load(path.read_text())["argument_specs"].values()
    return {place: {name.removeprefix(prefix): each for spec in specs for name, each in spec["options"].items()}}


@pytest.fixture(scope="module")
def found():
    plugins = [*(ROOT / "plugins" / "modules").glob("*.py"), *(ROOT / "plugins" / "lookup").glob("*.py")]
    specs = [("playbooks", "cwagent_", ROOT / "playbooks" / "vars" / "argument_specs.yml")]
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        specs.append((path.parts[-3], f"{path.parts[-3]}_", path))
    places = [*map(options_of_plugin, plugins), *(options_of_spec(*each) for each in specs)]
    return {place: options for each in places for place, options in each.items()}


def test_the_options_about_saved_keys_have_one_name(found):
    named = {place: OPTIONS.keys() & options.keys() for place, options in found.items()}
    assert {place: names for place, names in named.items() if names} == USERS


def test_the_options_about_saved_keys_are_alike(found):
    expected = {place: {name: DIFFERENT.get((place, name), OPTIONS[name]) for name in USERS[place]} for place in USERS}
    keys = ("type", "choices", "default")
    shown = {
        place: {name: {key: found[place][name][key] for key in keys if key in found[place][name]} for name in names}
        for place, names in USERS.items()
    }
    assert shown == expected


def test_iam_simulation_has_one_name(found):
    takes = {place for place, options in found.items() for name in options if name.endswith("simulate")}
    assert takes == {"playbooks", "audit", "verify", "cwagent_access_info", "cwagent_server_info"}
