"""Developers, hooks and workflows run the same targets of the Makefile, which `make help` lists."""

from __future__ import annotations

import os
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


def test_help_lists_every_target():
    printed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {line.split()[1] for line in printed.splitlines()} == TARGETS


def targets_of(workflow: Path) -> set[str]:
    """The targets that the jobs of a workflow run, each value of a matrix for ``${{ matrix.target }}``."""
    found = set()
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        each = [*matrix.get("target", []), *(more["target"] for more in matrix.get("include", []) if "target" in more)]
        for run in (step["run"] for step in job["steps"] if "run" in step):
            assert run.startswith("make "), "a developer can run what a workflow runs"
            command = run.removeprefix("make ").strip()
            found |= set(each) if command == "${{ matrix.target }}" else {command}
    return {command.split()[0] for command in found}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_only_make(workflow):
    assert targets_of(workflow)
    assert targets_of(workflow) <= TARGETS
    steps = [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]
    for step in steps:
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), "an action must be pinned to a commit"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_can_only_read_unless_a_job_needs_more(workflow):
    described = yaml.safe_load(workflow.read_text())
    assert described["permissions"] == {"contents": "read"}
    assert [name for name, job in described["jobs"].items() if "timeout-minutes" not in job] == []


def test_the_tarball_that_is_published_is_the_one_that_was_checked_and_attested():
    """Two builds of the same files differ, because gzip writes the time."""
    publish = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]["publish"]
    assert publish["permissions"] == {"contents": "read", "id-token": "write", "attestations": "write"}
    steps = [step.get("run") or step["uses"].partition("@")[0] for step in publish["steps"]]
    built, published = steps.index("make build"), steps.index("make publish BUILT=yes")
    attested = steps.index("actions/attest-build-provenance")
    assert built < attested < published
    between = [step for step in steps[built + 1 : published] if step.startswith("make ")]
    assert [step for step in between if not step.endswith(" BUILT=yes")] == []
    tarball = publish["steps"][attested]["with"]["subject-path"].replace("${{ github.ref_name }}", "$(TAG)")
    recipe = MAKEFILE.split("\npublish:")[1].split("\n\n")[0]
    assert recipe.endswith(f" {tarball}")


def test_building_a_built_tarball_again_can_be_prevented():
    command = ["make", "--dry-run", "--always-make", "build"]
    # Without the variables of the make that runs this test.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "BUILT")}
    done = [
        subprocess.run([*command, *more], cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
        for more in ([], ["BUILT=yes"])
    ]
    assert ["collection build" in each for each in done] == [True, False]


def test_a_workflow_tests_weekly_with_the_amazon_aws_of_its_main_branch():
    workflow = ROOT / ".github" / "workflows" / "amazon-aws.yml"
    assert targets_of(workflow) == {"amazon-aws"}
    assert {*yaml.safe_load(workflow.read_text())["on"]} == {"schedule", "workflow_dispatch"}
    recipe = MAKEFILE.split("\namazon-aws:")[1].split("\n\n")[0]
    assert re.findall(r"^AMAZON_AWS_MAIN := (.*)$", MAKEFILE, re.MULTILINE) == [
        "git+https://github.com/ansible-collections/amazon.aws,main"
    ]
    assert "install --force --no-deps $(AMAZON_AWS_MAIN)" in recipe
    assert all(f"tests/{each}" in recipe for each in ("unit/plugins", "integration"))


def test_a_pull_request_runs_all_of_make_test():
    checks = re.search(r"^CHECKS := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert checks
    assert "$(CHECKS:%=timed-%)" in MAKEFILE.split("\ntest:")[1].split("\n\n")[0]
    assert {*checks[1].split()} - {"\\"} <= targets_of(ROOT / ".github" / "workflows" / "test.yml")


def test_a_link_to_the_environment_of_another_checkout_is_replaced_and_not_followed(tmp_path):
    """With a Python that only clears, so that nothing is installed."""
    python, other, link = tmp_path / "python", tmp_path / "other", tmp_path / "venv"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || { rm -rf "$4"/*; exit 1; }\n')
    python.chmod(0o700)
    (other / "bin").mkdir(parents=True)
    link.symlink_to(other)
    command = [ROOT / "requirements" / "make-venv", python, link, ROOT / "requirements" / "dev.txt"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "could not make a virtual environment" in done.stderr
    assert (other / "bin").is_dir()
    assert not link.is_symlink()


def test_hooks_run_only_make():
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local", "hooks must not fetch repositories"
    assert {hook["entry"].removeprefix("make ") for hook in repository["hooks"]} <= TARGETS


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_a_role_has_a_readme_that_refers_to_its_variables(role):
    page = (role / "README.md").read_text()
    assert page.startswith(f"# cwagent.iam.{role.name}\n")
    assert f"`ansible-doc -t role cwagent.iam.{role.name}`" in page
    assert "| --- |" not in page, "the variables are documented in meta/argument_specs.yml only"


@pytest.mark.parametrize("step", ["converge", "cleanup"])
def test_the_molecule_scenario_uses_every_role(step):
    """But store_config has nothing to clean up, and audit and verify change nothing."""
    scenario = (ROOT / "extensions" / "molecule" / "default" / f"{step}.yml").read_text()
    used = set(re.findall(r" cwagent\.iam\.(\w+)$", scenario, re.MULTILINE))
    unused = {role.name for role in ROLES} - used
    assert unused == (set() if step == "converge" else {"audit", "store_config", "verify"})
