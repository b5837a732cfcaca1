"""The set-up of AWX, with the modules of the real awx.awx collection against a strict model of AWX's API."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from awx import AwxApi, job_variables
from awx.project import (
    DEFINITIONS,
    EVERYTHING,
    PROJECT,
    QUESTIONS,
    TEAMS,
    TEMPLATES,
    URL,
    VARIABLES,
    prepare_awx,
    template,
)
from emulator import program_environment
from harness import CHECKOUT

# An environment with ansible-core 2.18, and the last release of the package ansible that has the collection.
OLDEST = Path(os.environ.get("OLDEST", "none"))
NEWEST = Path(sys.prefix)
# The playbooks of the workflow and the schedules, and one without credentials. test_awx_project.py checks all surveys.
CREATED = ("site", "store_config", "verify", "restore", "rotate_keys", "audit", "validate_config")
NAMES = {playbook: TEMPLATES[playbook]["name"] for playbook in CREATED}
MADE = (
    "projects",
    "inventory_sources",
    "job_templates",
    "workflow_job_templates",
    "workflow_job_template_nodes",
    "schedules",
)
SETUP_SECONDS = 1200

pytestmark = pytest.mark.skipif(not OLDEST.is_dir(), reason="make integration sets it up")


@dataclass(frozen=True)
class Run:
    """A run of playbooks of the project, and the writing requests that AWX accepted."""

    code: int
    output: str
    writes: list[str]

    @property
    def words(self) -> str:
        return " ".join(self.output.split())

    @property
    def changed(self) -> int:
        [count] = re.findall(r"changed=(\d+)", self.output)
        return int(count)


@dataclass(frozen=True)
class Workstation:
    """The machine of an administrator, with the collections that the guide installs."""

    home: Path

    @property
    def collections(self) -> Path:
        return self.home / "collections" / "ansible_collections"

    @classmethod
    def created(cls, home: Path) -> Workstation:
        workstation = cls(home)
        workstation.collections.mkdir(parents=True)
        [site_packages] = OLDEST.glob("lib/python*/site-packages")
        (workstation.collections / "awx").symlink_to(site_packages / "ansible_collections" / "awx")
        return workstation

    def run(
        self,
        awx: AwxApi,
        *playbooks: str,
        user: str = "organization",
        python: Path = NEWEST,
        options: Sequence[str] = (),
        **given: Any,
    ) -> Run:
        """Run playbooks of the project as a user of AWX, with variables in a file.

        :param playbooks: their names, each with the value of ``awx_state`` after a colon.
        :param options: of the command.
        """
        created = {"job_templates": [TEMPLATES[playbook] for playbook in CREATED]}
        (self.home / "vars.yml").write_text(json.dumps({"awx_project_url": URL, **created, **given}))
        imported = [
            {"import_playbook": str(PROJECT / "awx" / f"{name}.yml"), "vars": {"awx_state": state or "present"}}
            for name, _, state in (each.partition(":") for each in playbooks)
        ]
        (self.home / "all.yml").write_text(json.dumps(imported))
        settings = {
            "HOME": str(self.home),
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.home / "collections"),
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "ANSIBLE_PIPELINING": "True",  # one process for each module, instead of five
            "CONTROLLER_HOST": awx.url,
            "CONTROLLER_OAUTH_TOKEN": user,
        }
        since = len(awx.writes)
        done = subprocess.run(
            [python / "bin" / "ansible-playbook", "all.yml", "-e", "@vars.yml", *options],
            cwd=self.home,
            env=program_environment(settings),
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=SETUP_SECONDS,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return Run(done.returncode, done.stdout + done.stderr, awx.writes[since:])


@pytest.fixture(scope="module")
def workstation(tmp_path_factory: pytest.TempPathFactory) -> Workstation:
    return Workstation.created(tmp_path_factory.mktemp("workstation"))


@pytest.fixture(scope="module")
def awx(workstation: Workstation) -> Iterator[AwxApi]:
    """An AWX after the set-up by the administrator of an organization, with the oldest supported ansible-core."""
    with prepare_awx().served() as awx:
        checked = workstation.run(awx, "setup", options=["--check"], **EVERYTHING)
        assert (checked.code, bool(checked.changed), checked.writes) == (0, True, []), checked.output
        assert [
            name for name in NAMES.values() if f"skipping: [localhost] => (item={name})" not in checked.output
        ] == []
        done = workstation.run(awx, "setup", python=OLDEST, awx_job_slice_count=2, **EVERYTHING)
        assert (done.code, bool(done.changed)) == (0, True), done.output
        yield awx


def test_the_collection_is_the_one_that_the_guide_installs(workstation: Workstation) -> None:
    version = json.loads((workstation.collections / "awx/awx/MANIFEST.json").read_text())["collection_info"]["version"]
    page = (CHECKOUT / "docs/docsite/rst/awx.rst").read_text()
    assert f"ansible-galaxy collection install awx.awx:{version}\n" in page


def test_the_project_needs_neither_git_nor_galaxy_at_a_launch(awx: AwxApi) -> None:
    """Restoring must be possible while they cannot be reached."""
    [project] = awx.all("projects").values()
    assert (project["scm_url"], project["scm_branch"], project["status"]) == (URL, "main", "successful")
    assert project["scm_update_on_launch"] is False


@pytest.mark.parametrize("playbook", CREATED)
def test_a_job_template_is_created(awx: AwxApi, playbook: str) -> None:
    created = awx.all("job_templates")[NAMES[playbook]]
    assert created["playbook"] == f"{playbook}.yml"
    assert {*created["credentials"]} == {
        VARIABLES["awx_credentials"][duty] for duty in TEMPLATES[playbook]["credentials"]
    }
    assert (created["execution_environment"], created["labels"]) == ("CloudWatch agent", ["CloudWatch agent"])
    assert (created["timeout"], created["job_slice_count"]) == (3600, 2)
    assert created["notification_templates_error"] == ["On call"]
    assert created["instance_groups"] == ["one at a time"]
    assert not created["allow_simultaneous"]
    assert created["ask_verbosity_on_launch"]
    assert created["survey_enabled"] == bool(created["survey"]) == bool(TEMPLATES[playbook]["survey"])
    # The inventory of the same name in another organization is not taken.
    assert awx.objects[awx.objects[created["id"]]["inventory"]]["organization"] == 1


@pytest.mark.parametrize("playbook", CREATED)
def test_a_job_gets_only_the_settings_and_teams_launch_what_is_granted(awx: AwxApi, playbook: str) -> None:
    """Without answers, the values of the inventory count, and even a schedule and the API can launch it."""
    created = awx.all("job_templates")[NAMES[playbook]]
    status, job = awx.request("POST", f"/api/v2/job_templates/{created['id']}/launch/", {}, "organization")
    assert (status, json.loads(job["extra_vars"])) == (201, VARIABLES["awx_settings"])
    assert json.loads(job["extra_vars"]) == job_variables(template(playbook), {})
    status, _ = awx.request("POST", f"/api/v2/job_templates/{created['id']}/launch/", {}, "operator")
    assert status == (201 if playbook in TEAMS else 404)


def test_the_workflow_restores_after_a_failure_of_each_job(awx: AwxApi) -> None:
    [workflow] = awx.all("workflow_job_templates").values()
    assert workflow["name"] == DEFINITIONS["workflow"]["name"]
    nodes = awx.all("workflow_job_template_nodes")
    assert {name: each["unified_job_template"] for name, each in nodes.items()} == {
        "access": NAMES["site"],
        "store": NAMES["store_config"],
        "verify": NAMES["verify"],
        "restore": NAMES["restore"],
    }
    assert {name: (each["success_nodes"], each["failure_nodes"]) for name, each in nodes.items()} == {
        "access": (["store"], ["restore"]),
        "store": (["verify"], ["restore"]),
        "verify": ([], []),
        "restore": ([], []),
    }
    assert workflow["survey"]["spec"] == [QUESTIONS[name] for name in DEFINITIONS["workflow"]["survey"]]


def test_schedules_rotate_check_and_audit(awx: AwxApi) -> None:
    schedules = awx.all("schedules").values()
    found = {
        each["unified_job_template"]: (each["job_type"], *re.findall("FREQ=(.*?);", each["rrule"]))
        for each in schedules
    }
    assert found == {
        NAMES["rotate_keys"]: ("", "DAILY"),
        NAMES["site"]: ("check", "WEEKLY"),
        NAMES["audit"]: ("", "WEEKLY"),
    }


def test_the_project_is_a_source_of_the_inventory_with_a_role_to_assume(awx: AwxApi) -> None:
    """A source of the type Amazon EC2 refuses that credential."""
    [source] = awx.all("inventory_sources").values()
    assert (source["source"], source["source_path"]) == ("scm", "inventory/aws_ec2.yml")
    assert (source["credential"], source["execution_environment"]) == ("Assumed role", "CloudWatch agent")
    ec2 = {**awx.objects[source["id"]], "name": "EC2", "source": "ec2"}
    status, refused = awx.request("POST", "/api/v2/inventory_sources/", ec2, "organization")
    assert (status, *refused) == (400, "credential")


def test_a_second_run_changes_nothing_and_a_third_one_deletes_everything(awx: AwxApi, workstation: Workstation) -> None:
    """With the newest ansible-core. Runs last, because only earlier objects remain."""
    [project] = awx.all("projects").values()
    again = workstation.run(awx, "setup", "setup:absent", awx_job_slice_count=2, **EVERYTHING)
    assert again.code == 0, again.output
    update, *deletions = again.writes
    assert update == f"POST projects/{project['id']}/update/"
    assert again.changed == 4, "only the tasks that delete"
    assert [each for each in deletions if not each.startswith("DELETE ")] == []
    assert [awx.all(endpoint) for endpoint in MADE] == [{}] * len(MADE)
    assert awx.all("credentials").keys() == {*VARIABLES["awx_credentials"].values(), "Assumed role"}


def test_behind_the_gateway_of_ansible_automation_platform(tmp_path: Path) -> None:
    """The collection ansible.controller is built from awx.awx. A real platform was not tried.

    The credential type is created, found, deleted and created again. Then the set-up creates nothing, because something
    is missing.
    """
    workstation = Workstation.created(tmp_path)
    controller = workstation.collections / "ansible" / "controller"
    shutil.copytree((workstation.collections / "awx" / "awx").resolve(), controller)
    for file in controller.rglob("*.py"):
        text = file.read_text().replace("awx.awx", "ansible.controller")
        file.write_text(text.replace('_COLLECTION_TYPE = "awx"', '_COLLECTION_TYPE = "controller"'))
    product = "Red Hat Ansible Automation Platform"
    given: dict[str, Any] = {
        "awx_collection": "ansible.controller",
        "awx_inventory": "A",
        "awx_teams": {"restore": ["B"]},
    }
    with prepare_awx(prefix="/api/controller/", product=product).served() as awx:
        types = ("credential_type", "credential_type", "credential_type:absent", "credential_type")
        run = workstation.run(awx, *types, "setup", user="system", **given)
        created = awx.all("credential_types")["AWS role to assume"]
    assert run.code != 0, run.output
    assert (
        "The user of the token must see each of these exactly once in AWX: inventories/A, teams/B. Create" in run.words
    )
    methods = [each.partition(" ")[0] for each in run.writes]
    assert (methods, run.changed) == (["POST", "DELETE", "POST"], 3)
    assert created["injectors"]["env"]["AWS_REGION"] == "{{ region }}"


def test_without_a_credential_for_ssh_the_jobs_that_look_at_servers_use_run_command(tmp_path: Path) -> None:
    """Ansible would report each server as unreachable. The settings of the user outrank this."""
    asking = {name for name, each in TEMPLATES.items() if "verify_from" in each["survey"]}
    assert asking == {"verify", "apply"}
    given: dict[str, Any] = {
        "awx_credentials": {**VARIABLES["awx_credentials"], "machine": ""},
        "job_templates": [TEMPLATES[name] for name in ("verify", "apply", "rotate_keys")],
        "workflow": {**DEFINITIONS["workflow"], "nodes": []},
        "schedules": [],
    }
    settings = {**VARIABLES["awx_settings"], "cwagent_verify_from": "none"}
    workstation, found = Workstation.created(tmp_path), []
    with prepare_awx().served() as awx:
        for settings_given in (VARIABLES["awx_settings"], settings):
            run = workstation.run(awx, "setup", **given, awx_settings=settings_given)
            assert run.code == 0, run.output
            created = awx.all("job_templates").values()
            found.append({each["playbook"]: json.loads(each["extra_vars"]) for each in created})
            assert "CloudWatch agent machine" not in {name for each in created for name in each["credentials"]}
    by_command = {**VARIABLES["awx_settings"], "cwagent_verify_from": "run_command"}
    assert found == [
        {"verify.yml": by_command, "apply.yml": by_command, "rotate_keys.yml": VARIABLES["awx_settings"]},
        dict.fromkeys(("verify.yml", "apply.yml", "rotate_keys.yml"), settings),
    ]
