"""The project for AWX fits the collection: its playbooks, its surveys and its requirements."""

from __future__ import annotations

import configparser
import io
import re
from pathlib import Path

import jinja2
import pytest
import yaml
from awx import check_answers, check_survey, job_variables
from awx.project import DEFINITIONS, PROJECT, QUESTIONS, TEMPLATES, VARIABLES, read, template
from guide import GUIDE, commands

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("[!_]*.yml"))
POLICIES = {path.stem for path in (ROOT / "examples" / "policies").glob("*.json")}
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text())


def specs():
    """The options of the playbooks and of the role store_config, which can be set as well."""
    playbooks = yaml.safe_load((ROOT / "playbooks" / "vars" / "argument_specs.yml").read_text())
    role = yaml.safe_load((ROOT / "roles" / "store_config" / "meta" / "argument_specs.yml").read_text())
    entries = [*role["argument_specs"].values(), *playbooks["argument_specs"].values()]
    return {name: option for entry in entries for name, option in entry["options"].items()}


def test_every_playbook_has_a_job_template():
    assert sorted(TEMPLATES) == PLAYBOOKS


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_the_project_has_a_playbook_that_imports_the_one_of_the_collection(name):
    [imported] = yaml.safe_load((PROJECT / f"{name}.yml").read_text())
    assert imported["import_playbook"] == f"cwagent.iam.{name}"


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_a_job_template_has_the_credentials_of_its_duty(name):
    duties = [duty for duty in TEMPLATES[name]["credentials"] if duty != "machine"]
    assert {*TEMPLATES[name]["credentials"]} <= VARIABLES["awx_credentials"].keys()
    assert {*duties} <= POLICIES
    assert len(duties) == (0 if name in ("policy", "validate_config") else 1)


def test_jobs_that_touch_no_host_have_no_machine_credential():
    """They are those whose plays are all on the controller or on accounts."""
    of_hosts = r"storing_host|'cwagent\.iam\.run_hosts', '(delivery|collect)'"
    assert {name for name, each in TEMPLATES.items() if "machine" in each["credentials"]} == {
        name for name in PLAYBOOKS if re.search(of_hosts, text_of(f"{name}.yml"))
    }


def text_of(playbook):
    """The text of a playbook, with the text of the playbooks that it imports."""
    text = (ROOT / "playbooks" / playbook).read_text()
    return "".join([text, *map(text_of, re.findall(r"import_playbook: (\w+\.yml)", text))])


def test_only_the_playbook_that_deletes_asks_for_its_confirmation():
    asked = {
        name: QUESTIONS[each]["choices"]
        for name, job in TEMPLATES.items()
        for each in job["survey"]
        if QUESTIONS[each]["variable"] == "cwagent_confirm"
    }
    assert asked == {name: [name] for name in specs()["cwagent_confirm"]["choices"]}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_can_be_left_blank(question):
    """A default would hide the value of the inventory, and a required answer would block schedules."""
    assert (question["required"], question["default"]) == (False, "")
    assert question["min"] == 1 if question["type"] == "text" else True


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_awx_accepts_the_survey_and_no_answer_is_passed_to_the_job(name):
    if TEMPLATES[name]["survey"]:
        check_survey(template(name)["survey"])
    assert check_answers(template(name), {}) == {}
    assert job_variables(template(name), {}) == VARIABLES["awx_settings"]


def test_every_question_is_asked():
    asked = {name for each in [*TEMPLATES.values(), DEFINITIONS["workflow"]] for name in each["survey"]}
    assert asked == QUESTIONS.keys()


def test_the_execution_environment_has_the_tested_versions():
    """The developers' environment has these versions, which the lock file and its comment list."""
    requirements = ROOT / "requirements"
    [aws] = re.findall(
        r"^ansible==.*# ansible-core [\d.]+, amazon\.aws ([\d.]+)$", (requirements / "dev.in").read_text(), re.M
    )
    locked = dict(re.findall(r"^(\S+)==(\d+\.\d+)", (requirements / "dev.txt").read_text(), re.M))
    dependencies = yaml.safe_load((PROJECT / "execution-environment.yml").read_text())["dependencies"]
    assert dependencies["ansible_core"] == {"package_pip": f"ansible-core~={locked['ansible-core']}.0"}
    assert dependencies["ansible_runner"] == {"package_pip": f"ansible-runner~={locked['ansible-runner']}"}
    next_major = int(aws.split(".")[0]) + 1
    assert dependencies["galaxy"] == {
        "collections": [{"name": "amazon.aws", "version": f">={aws}.0,<{next_major}.0.0"}]
    }
    assert dependencies["python_interpreter"]["package_system"] == "python3.12"


def test_the_execution_environment_has_the_collections_dependencies():
    dependencies = yaml.safe_load((PROJECT / "execution-environment.yml").read_text())["dependencies"]
    needed = [
        re.split(r"[>=\s]", line)[0]
        for name in ("ee-requirements.txt", "ee-bindep.txt")
        for line in (ROOT / "meta" / name).read_text().splitlines()
        if not line.startswith("#") and "platform:dpkg" not in line
    ]
    # boto3 requires botocore, in the version that fits.
    assert {*needed} - {"botocore"} <= {*dependencies["python"], *dependencies["system"]}


def test_the_project_installs_the_repository_or_a_release():
    """Before the first release, there is only the repository. A release requires its own version."""
    installed, _aws = yaml.safe_load((PROJECT / "collections" / "requirements.yml").read_text())["collections"]
    released = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text())["releases"]
    repository = {"name": GALAXY["repository"], "type": "git", "version": "main"}
    in_the_making = [repository, *({"name": "cwagent.iam", "version": version} for version in released)]
    is_in_the_making = GALAXY["version"].endswith("-dev")
    assert installed in (in_the_making if is_in_the_making else [{"name": "cwagent.iam", "version": GALAXY["version"]}])


def test_the_project_and_the_execution_environment_have_one_range_of_the_dependency():
    """Jobs use a collection of the project instead of the one in the execution environment."""
    _own, installed = yaml.safe_load((PROJECT / "collections" / "requirements.yml").read_text())["collections"]
    dependencies = yaml.safe_load((PROJECT / "execution-environment.yml").read_text())["dependencies"]
    assert dependencies["galaxy"]["collections"] == [installed]
    assert GALAXY["dependencies"].keys() == {installed["name"]}


GIVEN = {"access_key": "AKIA", "secret_key": "s", "role_arn": "arn:aws:iam::1:role/R", "region": "eu-1"}


@pytest.mark.parametrize(
    ("more", "profile", "source"),
    [
        ({}, {"role_session_name": "cwagent-awx"}, {}),
        ({"external_id": "", "session_name": "", "session_token": ""}, {"role_session_name": "cwagent-awx"}, {}),
        ({"session_name": "ops"}, {"role_session_name": "ops"}, {}),
        (
            {"external_id": "x", "session_token": "t"},
            {"role_session_name": "cwagent-awx", "external_id": "x"},
            {"aws_session_token": "t"},
        ),
    ],
)
def test_a_credential_names_its_session_and_can_be_temporary(more, profile, source):
    args = read("awx/credential_type.yml")[0]["tasks"][0]["args"]
    fields = {each["id"]: each for each in args["inputs"]["fields"]}
    assert {*GIVEN, *more} <= fields.keys()
    assert {name for name, each in fields.items() if each.get("secret")} == {
        "secret_key",
        "session_token",
        "external_id",
    }
    config = configparser.ConfigParser()
    config.read_string(jinja2.Template(args["injectors"]["file"]["template.config"]).render({**GIVEN, **more}))
    assert dict(config["profile cwagent"]) == {
        "role_arn": GIVEN["role_arn"],
        "source_profile": "source",
        "region": "eu-1",
        **profile,
    }
    assert dict(config["profile source"]) == {"aws_access_key_id": "AKIA", "aws_secret_access_key": "s", **source}


@pytest.mark.parametrize("name", [*GIVEN, "session_name", "session_token", "external_id"])
@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_no_value_of_a_credential_adds_a_setting(name, newline):
    """With credential_process, it would start a program."""
    template = read("awx/credential_type.yml")[0]["tasks"][0]["args"]["injectors"]["file"]["template.config"]
    values = {**GIVEN, name: f"x{newline}credential_process = touch /tmp/x{newline}[profile other]"}
    config = configparser.ConfigParser()
    config.read_file(io.StringIO(jinja2.Template(template).render(values), newline=None))
    assert config.sections() == ["profile cwagent", "profile source"]
    assert not any("credential_process" in config[section] for section in config.sections())


PAGE = (ROOT / "docs" / "docsite" / "rst" / "awx.rst").read_text()


def test_the_names_on_the_page_exist():
    objects = [*TEMPLATES.values(), *DEFINITIONS["schedules"], DEFINITIONS["workflow"]]
    named = {" ".join(name.split()) for name in re.findall(r"\*(CloudWatch\s+agent:[^*]+)\*", PAGE)}
    assert named <= {each["name"] for each in objects}
    assert {each["name"] for each in [*DEFINITIONS["schedules"], DEFINITIONS["workflow"]]} <= named
    assert {*re.findall(r"\*(CloudWatch agent [^*]+)\*", PAGE)} == {*VARIABLES["awx_credentials"].values()}
    variables = VARIABLES.keys() | yaml.safe_load((PROJECT / "awx" / "setup.yml").read_text())[0]["vars"].keys()
    assert {*re.findall(r"\b(awx_\w+)", PAGE)} <= variables


SAVED_KEYS = {"provision", "store-configuration", "rotate-keys", "remove-servers", "teardown"}
"""The duties that save access keys, deliver them or store with one. The others must not be able to read one."""


def test_the_page_gives_each_credential_the_policies_of_its_duty_and_no_others():
    table = PAGE.split("     - Job templates\n")[1].split("\n\n")[0]
    rows = re.findall(r"\* - \*(.+)\*\n     - (.+)", table)
    policies = {duty: {duty} & POLICIES for duty in VARIABLES["awx_credentials"]}
    for duty in SAVED_KEYS:
        policies[duty].add("keys-in-parameter-store")
    for duty in ("remove-servers", "teardown"):
        policies[duty].add("restore")
    assert {name: {*re.findall(r"``(.+?)\.json``", cell)} for name, cell in rows} == {
        name: policies[duty] for duty, name in VARIABLES["awx_credentials"].items()
    }


def test_the_page_lists_the_jobs_that_use_a_credential():
    """In the last column of its table, the names of the job templates without their common beginning."""
    table = PAGE.split("     - Job templates\n")[1].split("\n\n")[0]
    rows = re.findall(r"\* - \*(.+)\*\n     - (?:.+)\n     - (.+(?:\n       .+)*)", table)
    assert {name: {*re.sub(".*: ", "", " ".join(jobs.split())).split(", ")} for name, jobs in rows} == {
        name: {
            each["name"].removeprefix("CloudWatch agent: ")
            for each in TEMPLATES.values()
            if duty in each["credentials"]
        }
        for duty, name in VARIABLES["awx_credentials"].items()
    }


MOVES = ("fitted_policies", "change_a_configuration")
"""The pages whose steps run with variables that later runs do not have."""


def test_a_template_asks_for_the_variables_with_which_the_guide_runs_its_playbook():
    """AWX ignores any other variable of a launch without a message."""
    found = {
        (name, variable)
        for page in MOVES
        for command in commands(GUIDE / f"{page}.rst")
        for name in re.findall(r"^ansible-playbook cwagent\.iam\.(\w+)", command.text)
        for variable in re.findall(r"-e (\w+)=", command.text)
    }
    assert {name for name, _variable in found} == {"apply", "site", "store_config"}
    asked = {(name, QUESTIONS[each]["variable"]) for name, job in TEMPLATES.items() for each in job["survey"]}
    assert found - asked == set()


def test_the_page_lists_the_variables_that_belong_in_the_inventory():
    items = PAGE.split("because all jobs need the same value:\n")[1].split("\n\n")[0]
    listed = {*re.findall(r"``(cwagent_\w+)``", items)}
    assert listed >= {"cwagent_server_policy", "cwagent_config_label", "cwagent_deliver_keys", "cwagent_ssm_policy"}
    assert listed <= specs().keys()
    asked = {question["variable"] for question in QUESTIONS.values()}
    assert {"cwagent_server_policy", "cwagent_ssm_policy"} <= asked
    assert not {"cwagent_config_label", "cwagent_permissions_boundary", "cwagent_deliver_keys"} & asked
