"""What site.yml asks to learn whether there is anything to do is what the roles would then ask."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
OF_THE_RUN = {"state", "wait_timeout"}
"""Options that say nothing about what is there."""
DEFAULT = re.compile(r"""{{ (\w+) \| default\((\[\]|false|'[^']*'|"[^"]*")\) }}""")


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def of_role(template: Any, defaults: dict[str, Any]) -> Any:
    """A template of site.yml as the role writes it, which has defaults of its own."""
    found = DEFAULT.fullmatch(template)
    if not found:
        return template
    assert defaults[found[1]] == ast.literal_eval(found[2].replace("false", "False"))
    return f"{{{{ {found[1]} }}}}"


@pytest.mark.parametrize("access", ["server", "admin"])
def test_site_asks_of_the_role_what_the_role_asks(access: str) -> None:
    asked = load("playbooks/vars/inputs.yml")["__cwagent_ec2_access"][access]
    defaults = load(f"roles/ec2_{access}/defaults/main.yml")
    tasks = load(f"roles/ec2_{access}/tasks/main.yml")
    [role] = [task["cwagent.iam.cwagent_iam_role"] for task in tasks if "cwagent.iam.cwagent_iam_role" in task]
    wanted = {option: template for option, template in role.items() if option not in OF_THE_RUN}
    assert {option: of_role(template, defaults) for option, template in asked.items()} == wanted


def test_site_asks_of_the_instances_what_the_role_asks() -> None:
    [task] = load("roles/ec2_server/tasks/instances.yml")
    role = task["cwagent.iam.cwagent_instance_profile"]
    assert load("playbooks/vars/inputs.yml")["__cwagent_ec2_access"]["replace"] == role["replace"]
    assert role["keep_other"] is True
