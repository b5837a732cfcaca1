"""The inventory of an organization in programs of Ansible."""

from __future__ import annotations

from typing import Any

import pytest
from accounts import EXTERNAL_ID, ORGANIZED, ROLE, deployed
from states import States

SECRET_PREFIXES = ("ASIA", "FwoGZX")
"""The beginning of the ID of a temporary access key, and of the emulator's session tokens."""
TEXT = "{{ lookup('ansible.builtin.pipe', 'touch made') }}"
SOURCE: dict[str, Any] = {
    "plugin": "cwagent.iam.organization",
    "member_role_arn": f"arn:aws:iam::{{{{ account_id }}}}:role/{ROLE}",
    "external_id": EXTERNAL_ID,
    "hostname": "{{ account_name }}",
    "regions": ["eu-central-1"],
    "find_instances": True,
    "compose": {"composed": "account_tags.note"},
    "cache": True,
    "cache_plugin": "ansible.builtin.jsonfile",
    "cache_connection": "cache",
}


@pytest.mark.main_job
def test_text_from_aws_runs_nothing_and_sessions_stay_in_memory(states: States) -> None:
    """A person who names accounts cannot run anything on the controller."""
    accounts = states.begin(deployed)
    tag = {"Key": "note", "Value": TEXT}
    accounts.organizations.tag_resource(ResourceId=accounts.ids["sandbox"], Tags=[tag])
    for name in ("blog", "shop"):
        accounts.launch(name)
    accounts.controller.file("accounts.organization.yml", SOURCE)
    program = "ansible -i accounts.organization.yml sandbox -vvvv -c local"
    play = accounts.controller.command(
        f"{program} -m ansible.builtin.debug -a var=[account_tags.note,composed]", accounts.user
    ).assert_succeeded()
    assert play.output.count("lookup('ansible.builtin.pipe', 'touch made')") >= 2
    home = accounts.controller.home
    assert not (home / "made").exists()
    keys = {call.access_key for call in play.calls if call.action == "DescribeInstances"}
    assert len(keys) == len(ORGANIZED)
    kept = [path.read_text(errors="replace") for path in home.rglob("*") if path.is_file()]
    assert any("cwagent_region" in text and TEXT in text for text in kept), "the cache"
    for secret in (*keys, *SECRET_PREFIXES):
        assert [text for text in (play.output, *kept) if secret in text] == []
