from __future__ import annotations

import pytest
import yaml
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._playbook_inputs import _check_run

PLAYBOOKS = sorted((PLUGINS.parent / "playbooks").glob("[!_]*.yml"))


@pytest.mark.parametrize(
    ("more", "words"), [({}, "run the playbook"), ({"awx_job_id": 7}, "choose an execution environment")]
)
def test_an_unsupported_ansible_core_is_refused(more, words):
    with pytest.raises(InvalidInput, match=rf"^cwagent\.iam requires ansible-core .*, and this is 2\.15\.13: {words}"):
        _check_run({"ansible_version": {"full": "2.15.13"}, **more})


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_the_first_task_of_every_playbook_refuses_it(playbook):
    """Before that task, a playbook uses nothing that an older version lacks."""
    play = yaml.safe_load(playbook.read_text())[0]
    while "import_playbook" in play:
        play = yaml.safe_load((playbook.parent / play["import_playbook"]).read_text())[0]
    first = play["tasks"][0]
    assert "cwagent.iam.cwagent_inputs" in first
    assert first["tags"] == ["always"]
