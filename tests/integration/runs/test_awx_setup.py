"""The set-up of AWX, with the modules of the real awx.awx collection against a strict model of AWX's API."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from awx import AwxApi, job_variables
from awx.project import DEFINITIONS, PROJECT, QUESTIONS, TEMPLATES, VARIABLES, template
from emulator import program_environment
from harness import CHECKOUT

# An environment with ansible-core 2.18, and the last release of the package ansible that has the collection.
OLDEST = Path(os.environ.get("OLDEST", "none"))
NEWEST = Path(sys.prefix)
NAMES = {playbook: each["name"] for playbook, each in TEMPLATES.items()}
URL = "https://git.example.com/ops/cwagent.git"
TEAMS = {"restore": ["Operations"], "rotate_keys": ["Operations"]}
EVERYTHING: dict[str, Any] = {
    "awx_teams": TEAMS,
    "awx_notifications": ["On call"],
    "awx_instance_groups": ["one at a time"],
    "awx_inventory_source": "inventory/aws_ec2.yml",
    "awx_inventory_credential": "Assumed role",
}
SETUP_SECONDS = 1200

pytestmark = pytest.mark.skipif(not OLDEST.is_dir(), reason="make integration sets it up")


def prepare_awx(**more: Any) -> AwxApi:
    """An AWX as its administrators prepare it. The organization Other has the same names as Default."""
    awx = AwxApi(sorted(path.name for path in PROJECT.glob("*.yml")), **more)
    default, other = (awx.add("organizations", name) for name in ("Default", "Other"))
    aws = awx.add("credential_types", "Amazon Web Services", kind="cloud", managed=True)
    machine = awx.add("credential_types", "Machine", kind="ssh", managed=True)
    for organization in (other, default):
        awx.add("inventories", "CloudWatch agent", organization=organization)
        for duty, name in VARIABLES["awx_credentials"].items():
            type_ = machine if duty == "machine" else aws
            awx.add("credentials", name, organization=organization, credential_type=type_)
        awx.add("notification_templates", "On call", organization=organization, notification_type="slack")
    awx.add("execution_environments", "CloudWatch agent", image="registry.example.com/cwagent", organization=default)
    assumed = awx.add("credential_types", "Assumed", kind="cloud")
    awx.add("credentials", "Assumed role", organization=default, credential_type=assumed)
    team, admins = (awx.add("teams", name, organization=default) for name in ("Operations", "Admins"))
    group = awx.add("instance_groups", "one at a time")
    awx.objects[group]["granted"]["use_role"].append(admins)
    awx.add_user("system", superuser=True)
    awx.add_user("organization", admin_of=default, teams=[admins])
    awx.add_user("operator", teams=[team])
    return awx


@dataclass(frozen=True)
class Run:
    """A run of a playbook of the project, and the writing requests that AWX accepted."""

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

    def assert_succeeded(self) -> Run:
        assert self.code == 0, self.output
        return self

    def assert_failed(self) -> Run:
        assert self.code != 0, self.output
        assert "Traceback" not in self.output
        return self


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
        self, awx: AwxApi, playbook: str = "setup", user: str = "organization", python: Path = OLDEST, **given: Any
    ) -> Run:
        """Run a playbook of the project as a user of AWX, with variables in a file."""
        (self.home / "vars.yml").write_text(json.dumps({"awx_project_url": URL, **given}))
        settings = {
            "HOME": str(self.home),
            "ANSIBLE_COLLECTIONS_PATH": str(self.home / "collections"),
            "ANSIBLE_LOCALHOST_WARNING": "False",
            "CONTROLLER_HOST": awx.url,
            "CONTROLLER_OAUTH_TOKEN": user,
        }
        since = len(awx.writes)
        done = subprocess.run(
            [python / "bin" / "ansible-playbook", PROJECT / "awx" / f"{playbook}.yml", "-e", "@vars.yml"],
            cwd=self.home,
            env=program_environment(settings),
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=SETUP_SECONDS,
        )
        return Run(done.returncode, done.stdout + done.stderr, awx.writes[since:])


@pytest.fixture(scope="module")
def workstation(tmp_path_factory: pytest.TempPathFactory) -> Workstation:
    return Workstation.created(tmp_path_factory.mktemp("workstation"))


@pytest.fixture
def prepared() -> Iterator[AwxApi]:
    with prepare_awx().served() as awx:
        yield awx


@pytest.fixture(scope="module")
def awx(workstation: Workstation) -> Iterator[AwxApi]:
    """An AWX after the set-up by the administrator of an organization."""
    with prepare_awx().served() as awx:
        done = workstation.run(awx, **EVERYTHING).assert_succeeded()
        assert done.changed
        yield awx


def test_the_collection_is_the_one_that_the_guide_installs(workstation: Workstation) -> None:
    version = json.loads((workstation.collections / "awx/awx/MANIFEST.json").read_text())["collection_info"]["version"]
    assert (
        f"ansible-galaxy collection install awx.awx:{version}\n" in (CHECKOUT / "docs/docsite/rst/awx.rst").read_text()
    )


def test_the_project_needs_neither_git_nor_galaxy_at_a_launch(awx: AwxApi) -> None:
    """Restoring must be possible while they cannot be reached."""
    [project] = awx.all("projects").values()
    assert (project["scm_url"], project["scm_branch"], project["status"]) == (URL, "main", "successful")
    assert project["scm_update_on_launch"] is False


@pytest.mark.parametrize("playbook", TEMPLATES)
def test_a_job_template_is_created_for_each_playbook(awx: AwxApi, playbook: str) -> None:
    created = awx.all("job_templates")[NAMES[playbook]]
    assert created["playbook"] == f"{playbook}.yml"
    assert {*created["credentials"]} == {
        VARIABLES["awx_credentials"][duty] for duty in TEMPLATES[playbook]["credentials"]
    }
    assert (created["execution_environment"], created["labels"]) == ("CloudWatch agent", ["CloudWatch agent"])
    assert created["timeout"] == 3600
    assert created["notification_templates_error"] == ["On call"]
    assert created["instance_groups"] == ["one at a time"]
    assert not created["allow_simultaneous"]
    assert created["survey_enabled"] == bool(created["survey"]) == bool(TEMPLATES[playbook]["survey"])
    # The inventory of the same name in another organization is not taken.
    assert awx.objects[awx.objects[created["id"]]["inventory"]]["organization"] == 1


@pytest.mark.parametrize("playbook", TEMPLATES)
def test_a_job_without_answers_gets_only_the_settings(awx: AwxApi, playbook: str) -> None:
    """So the values of the inventory count, and even a schedule and the API can launch it."""
    created = awx.all("job_templates")[NAMES[playbook]]
    status, job = awx.request("POST", f"/api/v2/job_templates/{created['id']}/launch/", {}, "organization")
    assert (status, json.loads(job["extra_vars"])) == (201, VARIABLES["awx_settings"])
    assert json.loads(job["extra_vars"]) == job_variables(template(playbook), {})


@pytest.mark.parametrize("playbook", TEMPLATES)
def test_teams_launch_only_the_jobs_granted_to_them(awx: AwxApi, playbook: str) -> None:
    created = awx.all("job_templates")[NAMES[playbook]]
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
    """The second one with the newest ansible-core. Runs last, because only earlier objects remain."""
    again = workstation.run(awx, python=NEWEST, **EVERYTHING).assert_succeeded()
    assert again.changed == 0
    [project] = awx.all("projects").values()
    assert again.writes == [f"POST projects/{project['id']}/update/"]

    workstation.run(awx, awx_state="absent", **EVERYTHING).assert_succeeded()
    made = (
        "projects",
        "inventory_sources",
        "job_templates",
        "workflow_job_templates",
        "workflow_job_template_nodes",
        "schedules",
    )
    assert [awx.all(endpoint) for endpoint in made] == [{}] * len(made)
    assert awx.all("credentials").keys() == {*VARIABLES["awx_credentials"].values(), "Assumed role"}
    assert workstation.run(awx, awx_state="absent", **EVERYTHING).assert_succeeded().writes == []


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"awx_organization": "Elsewhere"}, ["organizations/Elsewhere", "inventories/CloudWatch agent"]),
        (
            {
                "awx_inventory": "A",
                "awx_execution_environment": "B",
                "awx_credentials": {**VARIABLES["awx_credentials"], "audit": "C"},
                "awx_project_credential": "D",
                "awx_inventory_credential": "E",
                "awx_teams": {"restore": ["F"]},
                "awx_notifications": ["G"],
                "awx_instance_groups": ["H"],
            },
            [
                "inventories/A, execution_environments/B, credentials/C, credentials/D, credentials/E, teams/F,",
                "notification_templates/G, instance_groups/H.",
            ],
        ),
        ({"awx_project_url": ""}, ["set awx_project_url to the URL"]),
        ({"awx_teams": {"sites": ["Operations"]}}, ["name only playbooks of the project in awx_teams"]),
    ],
    ids=["organization", "everything else", "URL", "playbook"],
)
def test_nothing_is_created_if_something_is_missing(
    prepared: AwxApi, workstation: Workstation, given: dict[str, Any], missing: list[str]
) -> None:
    refused = workstation.run(prepared, **given).assert_failed()
    assert "Nothing was changed." in refused.words
    assert [each for each in missing if each not in refused.words] == []
    assert refused.writes == []


def test_two_objects_of_one_name_are_refused(prepared: AwxApi, workstation: Workstation) -> None:
    """The names of credentials are unique for each type only."""
    [first] = [each for each in prepared.all("credentials").values() if each["name"] == "CloudWatch agent audit"]
    type_ = prepared.add("credential_types", "AWS role to assume", kind="cloud")
    prepared.add("credentials", first["name"], organization=1, credential_type=type_)
    refused = workstation.run(prepared).assert_failed()
    assert "each once, or correct vars.yml: credentials/CloudWatch agent audit." in refused.words
    assert refused.writes == []


def test_only_a_system_administrator_creates_the_credential_type(prepared: AwxApi, workstation: Workstation) -> None:
    refused = workstation.run(prepared, "credential_type", "organization").assert_failed()
    assert "You don't have permission to POST to /api/v2/credential_types/" in refused.words
    assert workstation.run(prepared, "credential_type", "system").assert_succeeded().changed == 1
    assert workstation.run(prepared, "credential_type", "system").assert_succeeded().writes == []
    created = prepared.all("credential_types")["AWS role to assume"]
    assert created["injectors"]["env"]["AWS_REGION"] == "{{ region }}"
    assert workstation.run(prepared, "credential_type", "system", awx_state="absent").assert_succeeded().changed == 1


def test_behind_the_gateway_of_ansible_automation_platform(tmp_path: Path) -> None:
    """The collection ansible.controller is built from awx.awx. A real platform was not tried."""
    workstation = Workstation.created(tmp_path)
    controller = workstation.collections / "ansible" / "controller"
    shutil.copytree((workstation.collections / "awx" / "awx").resolve(), controller)
    for file in controller.rglob("*.py"):
        text = file.read_text().replace("awx.awx", "ansible.controller")
        file.write_text(text.replace('_COLLECTION_TYPE = "awx"', '_COLLECTION_TYPE = "controller"'))
    product = "Red Hat Ansible Automation Platform"
    with prepare_awx(prefix="/api/controller/", product=product).served() as awx:
        workstation.run(awx, awx_collection="ansible.controller", awx_job_slice_count=2).assert_succeeded()
        assert {each["job_slice_count"] for each in awx.all("job_templates").values()} == {2}
