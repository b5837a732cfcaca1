"""A run that leaves out tasks is refused. The playbooks define no tags but ``always``."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._playbook_inputs import _check_run


@pytest.mark.parametrize(
    ("tags", "is_refused"),
    [
        ({}, False),
        ({"ansible_run_tags": ["all"], "ansible_skip_tags": []}, False),
        ({"ansible_run_tags": ["untagged"]}, False),
        ({"ansible_run_tags": ["untagged", "store"]}, False),
        ({"ansible_run_tags": ["store"]}, True),
        ({"ansible_run_tags": ["always"]}, True),
        ({"ansible_run_tags": ["tagged"]}, True),
        ({"ansible_run_tags": ["all"], "ansible_skip_tags": ["other"]}, False),
        *(({"ansible_run_tags": ["all"], "ansible_skip_tags": [tag]}, True) for tag in ("all", "always", "tagged")),
        ({"ansible_skip_tags": ["untagged"]}, True),
    ],
)
def test_a_run_that_leaves_out_tasks_is_refused(tags, is_refused):
    with pytest.raises(InvalidInput, match="without tags and skipped tags") if is_refused else nullcontext():
        _check_run({"ansible_version": {"full": "2.99.0"}, **tags})
