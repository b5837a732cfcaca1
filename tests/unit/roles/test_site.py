"""The drift check of site.yml uses the same options as the roles that it may skip."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROLE_ONLY_OPTIONS = {"state", "wait_timeout"}
"""Options that do not describe the desired state of the role."""
DEFAULT = re.compile(r"""{{ (\w+) \| default\((\[\]|false|'[^']*'|"[^"]*")\) }}""")


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def role_template(template: Any, defaults: dict[str, Any]) -> Any:
    """The template without its default, as in the role, which has the default in defaults/main.yml."""
    match = DEFAULT.fullmatch(template)
    if not match:
        return template
    assert defaults[match[1]] == ast.literal_eval(match[2].replace("false", "False"))
    return f"{{{{ {match[1]} }}}}"


@pytest.mark.parametrize("access", ["server", "admin"])
def test_drift_check_has_the_role_options(access: str) -> None:
    in_site = load("playbooks/vars/inputs.yml")["__cwagent_ec2_access"][access]
    defaults = load(f"roles/ec2_{access}/defaults/main.yml")
    tasks = load(f"roles/ec2_{access}/tasks/main.yml")[-1]["block"]
    [options] = [task["cwagent.iam.cwagent_iam_role"] for task in tasks if "cwagent.iam.cwagent_iam_role" in task]
    in_role = {option: template for option, template in options.items() if option not in ROLE_ONLY_OPTIONS}
    if access == "admin":  # the role plans no window that an earlier task has planned
        assert in_role.pop("admin_window") == "{{ __ec2_admin_plans_window }}"
        assert in_site.pop("admin_window") == "{{ ec2_admin_window }}"
    assert {option: role_template(template, defaults) for option, template in in_site.items()} == in_role


def test_drift_check_has_the_instance_profile_options() -> None:
    [task] = load("roles/ec2_server/tasks/instances.yml")
    in_role = task["cwagent.iam.cwagent_instance_profile"]["on_existing"]
    assert load("playbooks/vars/inputs.yml")["__cwagent_ec2_access"]["on_existing"] == in_role
