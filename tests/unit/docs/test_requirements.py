"""The pages of modules and plugins state the Python and the libraries that are really needed, where the code runs."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.amazon.aws.plugins.module_utils import botocore
from ansible_collections.amazon.aws.plugins.module_utils.botocore import MINIMUM_BOTO3_VERSION, MINIMUM_BOTOCORE_VERSION
from guide import ROOT

pytestmark = pytest.mark.main_job

PYTHON = "python >= 3.9"
BOTO3 = [f"boto3 >= {MINIMUM_BOTO3_VERSION}", f"botocore >= {MINIMUM_BOTOCORE_VERSION}"]
WITHOUT_BOTO3 = {
    "cwagent_agent_config",
    "cwagent_credentials_file",
    "cwagent_shared_credentials",
    "cwagent_ssm_agent",
    "cwagent_store_host",
}
ON_THE_CONTROLLER = {"cwagent_inputs", "cwagent_report"}
"""These are action plugins, which run in the Python of ansible-core itself."""


@pytest.fixture(scope="module")
def plugins():
    """By kind and name, the requirements of plugins, as ansible-doc shows them."""
    program = str(Path(sys.executable).with_name("ansible-doc"))
    command = [program, "--json", "--metadata-dump", "cwagent.iam"]
    shown = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)["all"]
    return {
        kind: {name.rpartition(".")[2]: each["doc"].get("requirements", []) for name, each in shown[kind].items()}
        for kind in ("module", "lookup", "inventory")
    }


@pytest.fixture
def modules(plugins):
    return plugins["module"]


def test_modules_require_the_python_that_they_are_tested_with(modules):
    found = {name: [each for each in needed if each.startswith("python ")] for name, needed in modules.items()}
    assert {name for name, each in found.items() if each == [PYTHON]} == modules.keys() - ON_THE_CONTROLLER
    assert {name for name, needed in modules.items() if not needed} == ON_THE_CONTROLLER
    gates = (ROOT / "tests" / "gates" / "__main__.py").read_text()
    [oldest] = re.findall(r"^OLDEST_PYTHON, \w+ = (\d+)", gates, re.MULTILINE)
    assert f"python >= 3.{oldest}" == PYTHON


def test_modules_that_call_aws_require_the_boto3_of_amazon_aws(modules):
    found = {name: [each for each in needed if "boto" in each] for name, needed in modules.items()}
    assert {name for name, each in found.items() if each != BOTO3} == WITHOUT_BOTO3 | ON_THE_CONTROLLER
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["aws"]
    assert {name for name in group if isinstance(name, str)} == {
        *(modules.keys() - WITHOUT_BOTO3 - ON_THE_CONTROLLER),
        "cwagent_agent_config",  # its action calls AWS, in the Python of ansible-core itself
        "cwagent_inputs",  # compares the AWS options of hosts, and calls nothing
    }


@pytest.mark.parametrize(("kind", "name"), [("lookup", "saved_credentials"), ("inventory", "organization")])
def test_plugins_that_call_aws_require_the_same(plugins, kind, name):
    assert plugins[kind][name] == [PYTHON, *BOTO3]


def test_the_library_for_schemas_is_a_requirement_of_the_module_that_uses_it(modules):
    [line] = re.findall(r"^jsonschema.*", (ROOT / "meta" / "ee-requirements.txt").read_text(), re.MULTILINE)
    library, _, version = line.partition(">=")
    with_library = {name: [each for each in needed if library in each] for name, needed in modules.items()}
    assert {name: each for name, each in with_library.items() if each} == {
        "cwagent_config_parameter": [f"{library} >= {version}, for O(agent_schema)"]
    }


def amazon_aws_of_releases() -> dict[str, str]:
    """By the release of the package ansible that the tests use, the amazon.aws that it brings."""
    lines = [(ROOT / "requirements" / f"{name}.in").read_text() for name in ("oldest", "dev")]
    found = [re.findall(r"^ansible==(\S+) .*amazon\.aws (\d+\.\d+)$", each, re.MULTILINE) for each in lines]
    return dict(each for [each] in found)


def test_the_tests_run_with_the_amazon_aws_that_their_requirements_name():
    manifest = json.loads((Path(botocore.__file__).parents[2] / "MANIFEST.json").read_text())
    installed = manifest["collection_info"]["version"]
    assert installed.rpartition(".")[0] == amazon_aws_of_releases()[importlib.metadata.version("ansible")]


def test_the_range_of_amazon_aws_is_from_the_oldest_to_the_newest_major_version_that_is_tested():
    """A new major version may take away what the collection uses, and a minor one may not."""
    oldest, newest = (int(each.partition(".")[0]) for each in amazon_aws_of_releases().values())
    metadata = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    assert metadata["dependencies"] == {"amazon.aws": f">={oldest}.0.0,<{newest + 1}.0.0"}
    getting_started = (ROOT / "docs" / "docsite" / "rst" / "getting_started.rst").read_text()
    assert f"amazon.aws {oldest} to {newest}, " in getting_started
    assert f"`amazon.aws` {oldest} to {newest}, " in (ROOT / "README.md").read_text()
