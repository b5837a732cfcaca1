"""A task of a role checks the variables of the role. Any other task checks the playbooks' variables."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from import_graph import PLUGINS
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.action.cwagent_inputs import ActionModule
from ansible_collections.cwagent.iam.plugins.plugin_utils._run import playbook, roles

ROLE = "cwagent.iam.ec2_server"
OF_PLAYBOOKS: dict[str, Any] = dict.fromkeys(playbook.OPTIONS)
OF_ROLES: dict[str, Any] = dict.fromkeys(roles.OPTIONS)


def run(role: str | None, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **values: Any) -> dict[str, Any]:
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(ActionBase, "_compute_environment_string", lambda *_: "")
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(
        args=args, _uuid="1", _role=role, module_defaults=None, action="cwagent.iam.cwagent_inputs"
    )
    action._loader, action._display = DataLoader(), Display()
    action._templar = SimpleNamespace(template=lambda value: value)
    path = str(PLUGINS.parent / "roles" / "ec2_server")
    found: dict[str, Any] = action.run(None, {**task_variables({"localhost": values}), "role_path": path})
    return found


def test_a_task_of_a_role_checks_the_variables_of_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(ROLE, {}, monkeypatch)["task"] == "1"
    found = run(ROLE, {"entry_point": "main"}, monkeypatch, ec2_server_tags="x")
    assert (found["failed"], found["changed"]) == (True, False)
    assert found["msg"] == "ec2_server_tags must be a mapping, not 'x'. Nothing was changed."


def test_any_other_task_checks_the_variables_of_the_playbooks(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(None, {"requires": ["audit"]}, monkeypatch, cwagent_region="eu-central-1")
    assert (found["region"], found["changed"]) == ("eu-central-1", False)
    assert run(None, {"requires": ["audit"]}, monkeypatch, cwagent_regin="x")["failed"]


@pytest.mark.parametrize(("role", "own"), [(ROLE, {}), (None, {"requires": ["audit"]})])
def test_the_aws_options_of_the_action_group_are_no_options_of_the_task(
    role: str | None, own: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = {**own, "region": "eu-central-1", "profile": "shop", "secret_key": ["hush"]}
    found = run(role, args, monkeypatch, cwagent_region="eu-central-1")
    assert not found.get("failed")
    assert "hush" not in str(found)


IN_A_ROLE = f"only outside roles, and this task belongs to the role {ROLE}"
OUTSIDE = "only in a role, and this task belongs to none"


@pytest.mark.parametrize(
    ("role", "args", "refused", "why"),
    [
        *((ROLE, {name: None}, name, IN_A_ROLE) for name in OF_PLAYBOOKS),
        *((None, {name: None}, name, OUTSIDE) for name in OF_ROLES),
        (None, OF_ROLES, "entry_point and collect", OUTSIDE),
    ],
)
def test_options_of_the_other_kind_are_refused(
    role: str | None, args: dict[str, Any], refused: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(role, args, monkeypatch)
    assert (found["failed"], found["msg"]) == (True, f"cwagent_inputs takes {refused} {why}. Nothing was changed.")
