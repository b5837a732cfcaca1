"""A playbook of somebody else uses the roles in each way of the page, and ansible-lint has nothing to say about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulator.environment import program_environment
from forks import on_path
from harness import (
    ADMIN_ROLE,
    COLLECTIONS,
    HYBRID_ROLE,
    LOCAL_CONNECTION,
    PLAY_SECONDS,
    SERVER_ROLE,
    Controller,
    Play,
)

BOUNDARIES = {
    name: f"arn:aws:iam::aws:policy/{policy}"
    for name, policy in (("settings", "PowerUserAccess"), ("role", "ReadOnlyAccess"))
}
SETTINGS: dict[str, Any] = {"cwagent_permissions_boundary": BOUNDARIES["settings"], "cwagent_tags": {"team": "ops"}}
"""The settings of the group ``monitored``."""
GROUPS = {"monitored": {"hosts": {"web1": None}}, "plain": {"hosts": {"db1": None}}}
FAR = "eu-west-1"
PLAYBOOK = f"""\
---
- name: Take the settings of the inventory
  hosts: monitored
  gather_facts: false
  roles:
    - role: cwagent.iam.ec2_admin

- name: Take the variables of roles
  hosts: plain
  gather_facts: false
  tasks:
    - name: Create a user
      ansible.builtin.include_role:
        name: cwagent.iam.onprem_server
      vars:
        onprem_server_users: [variables]
        onprem_server_permissions_boundary: {BOUNDARIES["role"]}

    - name: Create roles in a loop
      ansible.builtin.include_role:
        name: cwagent.iam.ec2_server
      vars:
        ec2_server_name: "{{{{ item.name }}}}"
        ec2_server_iam_path: "{{{{ item.path }}}}"
      loop:
        - {{name: One, path: /one/}}
        - {{name: Two, path: /two/}}

- name: Take both
  hosts: monitored
  gather_facts: false
  tasks:
    - name: Create a hybrid role
      ansible.builtin.include_role:
        name: cwagent.iam.hybrid_server
      vars:
        hybrid_server_regions: [{FAR}]
        hybrid_server_permissions_boundary: {BOUNDARIES["role"]}

- name: Take the defaults of one module
  hosts: plain
  gather_facts: false
  module_defaults:
    cwagent.iam.cwagent_iam_role:
      max_session_duration: 7200
  roles:
    - role: cwagent.iam.ec2_server

- name: Take the defaults of all modules
  hosts: plain
  gather_facts: false
  module_defaults:
    group/cwagent.iam.aws:
      region: {FAR}
  tasks:
    - name: Create a user whose access key is in another region
      ansible.builtin.include_role:
        name: cwagent.iam.onprem_server
      vars:
        onprem_server_users: [defaults]
        onprem_server_key_store: parameter_store
"""


@pytest.fixture
def project(controller: Controller) -> Controller:
    """The controller with their inventory, settings and playbook."""
    (controller.home / "group_vars").mkdir()
    controller.file("hosts.yml", {"all": {"vars": LOCAL_CONNECTION, "children": GROUPS}})
    controller.file("group_vars/monitored.yml", f"---\n{yaml.safe_dump(SETTINGS)}")
    controller.file("playbook.yml", PLAYBOOK)
    return controller


def run(project: Controller, *arguments: str, **variables: Any) -> Play:
    env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    inventory, playbook = project.home / "hosts.yml", project.home / "playbook.yml"
    given = {"onprem_server_key_store_directory": str(project.credentials), **variables}
    return project.play(inventory, playbook, *arguments, env=env, cwd=project.home, **given)


def test_ansible_lint_has_no_objection_in_its_strictest_profile(project: Controller) -> None:
    lint = Path(sys.executable).with_name("ansible-lint")
    command = [str(lint), "--offline", "--strict", "--profile=production", "playbook.yml", "group_vars/monitored.yml"]
    path = os.pathsep.join([str(on_path.folder()), str(lint.parent), os.environ["PATH"]])
    own = {"HOME": str(project.home), "PATH": path, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    done = subprocess.run(
        command,
        cwd=project.home,
        env=program_environment(own),
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=PLAY_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Profile 'production' was required" in " ".join(done.stderr.split())


def created(play: Play) -> dict[str, dict[str, Any]]:
    """By role or user that the run created, the parameters of the call."""
    made = [call for call in play.calls if call.action in ("CreateRole", "CreateUser")]
    return {call.params.get("RoleName") or call.params["UserName"]: call.params for call in made}


def test_each_way_reaches_the_module(project: Controller) -> None:
    """Check mode predicts it, and a second run writes nothing."""
    predicted = run(project, "--check").assert_succeeded()
    done = run(project).assert_succeeded()
    assert (predicted.writes, predicted.steps) == ([], done.steps)
    made = created(done)
    roles = {ADMIN_ROLE, HYBRID_ROLE, SERVER_ROLE, "One", "Two"}
    assert made.keys() == {*roles, "variables", "defaults"}
    assert {name: each["PermissionsBoundary"] for name, each in made.items() if "PermissionsBoundary" in each} == {
        ADMIN_ROLE: BOUNDARIES["settings"],
        HYBRID_ROLE: BOUNDARIES["role"],
        "variables": BOUNDARIES["role"],
    }
    assert {name for name, each in made.items() if "ops" in each.values()} == {ADMIN_ROLE, HYBRID_ROLE}
    assert {name: made[name]["Path"] for name in roles} == {
        **dict.fromkeys(roles, "/"),
        "One": "/one/",
        "Two": "/two/",
    }
    assert [name for name, each in made.items() if each.get("MaxSessionDuration") == "7200"] == [SERVER_ROLE]
    assert {call.region for call in done.calls if call.action == "PutParameter"} == {FAR}
    assert [path.name for path in project.credentials.iterdir()] == ["variables.credentials"]
    assert run(project).assert_succeeded().writes == []


INEFFECTIVE = {
    "cwagent_on_other_profile": {"ec2_admin", "onprem_server", "hybrid_server"},
    "cwagent_key_store_prefix": {"ec2_admin", "ec2_server", "hybrid_server"},
}
"""By setting, the roles of the playbook that do not use it."""


def test_a_setting_of_the_command_is_said_where_it_has_no_effect(project: Controller) -> None:
    """It is for all roles of the run, and reaches those that use it."""
    values = {"cwagent_on_other_profile": "keep", "cwagent_key_store_prefix": "/ours/"}
    done = run(project, **values).assert_succeeded()
    said = {
        (name, role)
        for name in values
        for role in ("ec2_admin", "ec2_server", "hybrid_server", "onprem_server")
        if f"{name}: the command sets it, but it has no effect in the role {role}." in done.words
    }
    assert said == {(name, role) for name, roles in INEFFECTIVE.items() for role in roles}
    saved = {call.params["Name"] for call in done.calls if call.action == "PutParameter"}
    assert {name.rpartition("/")[0] for name in saved} == {"/ours"}


@pytest.mark.parametrize("where", ["the inventory", "the command"])
def test_a_misspelled_setting_is_refused_before_the_first_call(project: Controller, where: str) -> None:
    wrong = {"cwagent_permision_boundary": BOUNDARIES["settings"]}
    if where == "the inventory":
        project.file("group_vars/monitored.yml", wrong)
    refused = run(project, **(wrong if where == "the command" else {})).assert_failed()
    assert refused.message == (
        "cwagent_permision_boundary is not a variable of this collection; did you mean cwagent_permissions_boundary? "
        "Nothing was changed."
    )
    assert refused.calls == []
