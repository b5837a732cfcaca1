"""The documentation and the argument specs have the same options. ansible-test checks the rest."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec

from ansible_collections.cwagent.iam.plugins.modules import cwagent_iam_role

FOLDER = Path(cwagent_iam_role.__file__).parent
ROOT = FOLDER.parents[1]
# These begin on the controller, and their modules call no AWS API; test_task_options.py compares their options.
ACTIONS = sorted(
    path.stem
    for path in (ROOT / "plugins" / "action").glob("cwagent_*.py")
    if re.search(r"^TASK_OPTIONS\b", path.read_text(), re.MULTILINE)
)
# They run on servers that need no boto3.
WITHOUT_AWS = ["cwagent_agent_config", "cwagent_shared_credentials", "cwagent_ssm_agent", "cwagent_store_host"]
MODULES = sorted({path.stem for path in FOLDER.glob("cwagent_*.py")} - {*ACTIONS, *WITHOUT_AWS})
COLLECTIONS = FOLDER.parents[4]


@pytest.fixture(scope="session")
def documented():
    # ansible-test sets PYTHONPATH to the part of Ansible that modules may import, which ansible-doc cannot run with.
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    names = [f"cwagent.iam.{module}" for module in [*MODULES, *ACTIONS, *WITHOUT_AWS]]
    shown = subprocess.run(
        [Path(sys.executable).with_name("ansible-doc"), "--type", "module", "--json", *names],
        env={**variables, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)},
        text=True,
        capture_output=True,
        check=True,
    )
    return {name.rsplit(".", 1)[-1]: found["doc"] for name, found in json.loads(shown.stdout).items()}


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


CONDITIONS = ("required_if", "required_one_of", "mutually_exclusive")


def from_spec(options):
    return {
        name: {
            **{
                key: value for key, value in option.items() if key not in ("options", "no_log", "fallback", *CONDITIONS)
            },
            **({"options": from_spec(option["options"])} if "options" in option else {}),
        }
        for name, option in options.items()
    }


def spec_of(module):
    return importlib.import_module(f"ansible_collections.cwagent.iam.plugins.modules.{module}").SPEC


def test_the_modules_are_found():
    assert {"cwagent_iam_role", "cwagent_iam_user", "cwagent_instance_profile"} <= set(MODULES)


# These tests compare all modules at once, because ansible-test runs each test in its own process, and each process
# starts ansible-doc again.
def test_every_module_has_documentation(documented):
    assert sorted(documented) == sorted([*MODULES, *ACTIONS, *WITHOUT_AWS])


def test_the_documentation_and_the_spec_have_the_same_options(documented):
    specs = {module: spec_of(module) for module in [*MODULES, *WITHOUT_AWS]}
    shown = {
        module: {name: documented[module]["options"].get(name, {}) for name in spec} for module, spec in specs.items()
    }
    assert {module: from_documentation(options) for module, options in shown.items()} == {
        module: from_spec(spec) for module, spec in specs.items()
    }


def test_the_other_options_are_the_common_ones_of_aws(documented):
    common = set(aws_argument_spec())
    others = {module: set(documented[module]["options"]) - set(spec_of(module)) for module in MODULES}
    assert {module: names - common for module, names in others.items()} == {module: set() for module in MODULES}
    needed = {"region", "profile", "access_key"}
    assert {module: needed - set(documented[module]["options"]) for module in MODULES} == {
        module: set() for module in MODULES
    }


WITHOUT_CHANGES = {
    "cwagent_access_info",
    "cwagent_account_info",
    "cwagent_server_info",
}
"""Modules that only read."""


def test_every_module_supports_check_mode_and_is_idempotent(documented):
    supported = {module: full_support(documented[module]) & {"check_mode", "idempotent"} for module in MODULES}
    assert supported == {module: {"check_mode", "idempotent"} for module in MODULES}


def test_every_module_that_changes_something_supports_diff_mode(documented):
    assert {module for module in MODULES if "diff_mode" not in full_support(documented[module])} == WITHOUT_CHANGES


def test_every_module_documents_the_action_group(documented):
    groups = {module: documented[module]["attributes"]["action_group"]["membership"] for module in MODULES}
    assert groups == {module: ["cwagent.iam.aws"] for module in MODULES}


def full_support(documentation):
    return {name for name, attribute in documentation["attributes"].items() if attribute["support"] == "full"}


def test_every_module_that_plans_documents_the_counts():
    texts = {module: (FOLDER / f"{module}.py").read_text() for module in MODULES}
    documenting = ("\ncounts:\n", "cwagent.iam.steps")
    without = {module for module, text in texts.items() if not any(each in text for each in documenting)}
    assert without == WITHOUT_CHANGES - {"cwagent_access_info"}  # it counts findings


def test_the_action_group_has_every_module():
    [(group, members)] = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"].items()
    assert group == "aws"
    with_host_or_aws, that_compares_hosts = "cwagent_agent_config", "cwagent_inputs"
    others = [with_host_or_aws, that_compares_hosts]
    assert [member for member in members if isinstance(member, str)] == sorted([*MODULES, *others])
    assert {"metadata": {"extend_group": ["amazon.aws.aws"]}} in members
