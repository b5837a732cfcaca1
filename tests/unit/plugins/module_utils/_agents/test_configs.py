from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs import NamesResource
from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs_plan import PREFIX, RENAME, Command
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Kind, Step


def test_a_name_that_the_system_refuses_is_an_error_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "amazon-cloudwatch-agent.d"
    for name in ("A_3", "A"):
        (folder / f"{PREFIX}{name}").mkdir(parents=True)
        (folder / f"{PREFIX}{name}" / "file").touch()  # a folder with files cannot be replaced
    command = Command(RENAME, "A:3", to="A")
    step = Step(Kind.UPDATE, "rename", {}, "rename the file of 'A:3'", context=command)
    with pytest.raises(CwagentError, match=r"^Could not rename the file of 'A:3': Directory not empty\."):
        NamesResource([command], str(tmp_path / "bin" / "amazon-cloudwatch-agent-ctl")).execute(step)
