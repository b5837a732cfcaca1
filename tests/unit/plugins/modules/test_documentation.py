"""What the modules document is what they take; the rest of the documentation is ansible-test's to check."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec

from ansible_collections.cwagent.iam.plugins.modules import cwagent_iam_role

FOLDER = Path(cwagent_iam_role.__file__).parent
ROOT = FOLDER.parents[1]
MODULES = sorted(path.stem for path in FOLDER.glob("cwagent_*.py"))
COLLECTIONS = FOLDER.parents[4]


@pytest.fixture(scope="session")
def documented():
    # In PYTHONPATH, ansible-test has only what a module may import of Ansible.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    names = [f"cwagent.iam.{module}" for module in MODULES]
    told = subprocess.run(
        [Path(sys.executable).with_name("ansible-doc"), "--type", "module", "--json", *names],
        env={**kept, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)},
        text=True,
        capture_output=True,
        check=True,
    )
    return {name.rsplit(".", 1)[-1]: found["doc"] for name, found in json.loads(told.stdout).items()}


def from_documentation(options):
    keys = ("type", "default", "choices", "elements", "required", "aliases")
    return {
        name: {
            **{key: option[key] for key in keys if option.get(key) not in (None, [], False) or (key == "default"
               and key in option)},
            **({"options": from_documentation(option["suboptions"])} if "suboptions" in option else {}),
        }
        for name, option in options.items()
    }  # fmt: skip


def from_spec(options):
    return {
        name: {
            **{
                key: value
                for key, value in option.items()
                if key not in ("options", "no_log", "fallback", "required_if")
            },
            **({"options": from_spec(option["options"])} if "options" in option else {}),
        }
        for name, option in options.items()
    }


def spec_of(module):
    return importlib.import_module(f"ansible_collections.cwagent.iam.plugins.modules.{module}").SPEC


def test_there_are_modules():
    assert {"cwagent_iam_role", "cwagent_iam_user", "cwagent_instance_profile"} <= set(MODULES)


# One test for all modules: ansible-test runs each in a process of its own, which would start ansible-doc anew.
def test_options(documented):
    assert list(documented) == MODULES
    for module in MODULES:
        spec, options = spec_of(module), documented[module]["options"]
        assert from_documentation({name: options[name] for name in spec}) == from_spec(spec), module
        assert set(options) - set(spec) <= set(aws_argument_spec()), module
        assert {"region", "profile", "access_key"} <= set(options), module


READING = {"cwagent_instance_identity", "cwagent_preflight"}


def test_what_is_promised(documented):
    for module in MODULES:
        attributes = documented[module]["attributes"]
        full = {name for name, each in attributes.items() if each["support"] == "full"}
        assert full >= {"check_mode", "idempotent"}, module
        assert ("diff_mode" in full) == (module not in READING), module
        assert attributes["action_group"]["membership"] == ["cwagent.iam.aws"], module


def test_the_action_group_has_every_module():
    [(group, members)] = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"].items()
    assert group == "aws"
    assert [member for member in members if isinstance(member, str)] == MODULES
    assert {"metadata": {"extend_group": ["amazon.aws.aws"]}} in members
