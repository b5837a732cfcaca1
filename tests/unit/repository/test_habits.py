"""What developers, their hooks and the workflows run is the same: targets of the Makefile, which `make help` tells."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE)) - {"again"}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
ROLES = sorted((ROOT / "roles").iterdir())


def test_help_tells_every_target():
    told = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {line.split()[1] for line in told.splitlines()} == TARGETS


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_make_and_nothing_else(workflow):
    steps = [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs
    assert {run.removeprefix("make ") for run in runs} <= TARGETS
    for step in steps:
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), "an action is pinned to a commit"


def test_hooks_run_make_and_nothing_else():
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local", "hooks fetch nothing"
    assert {hook["entry"].removeprefix("make ") for hook in repository["hooks"]} <= TARGETS


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_a_role_has_a_page_that_leads_to_its_variables(role):
    page = (role / "README.md").read_text()
    assert page.startswith(f"# cwagent.iam.{role.name}\n")
    assert f"`ansible-doc -t role cwagent.iam.{role.name}`" in page
    assert "| --- |" not in page, "the variables are told in one place, meta/argument_specs.yml"


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_a_role_has_a_scenario(role):
    assert (ROOT / "extensions" / "molecule" / role.name / "molecule.yml").is_file()
