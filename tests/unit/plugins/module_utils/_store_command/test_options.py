from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import Write
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.options import desired_command
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.plan import DesiredCommand

INSTANCE, REGION, NAME = "i-0123456789abcdef0", "eu-central-1", "AmazonCloudWatch-linux"
CONFIG = {"agent": {"metrics_collection_interval": 60}}
TEXT = '{"agent":{"metrics_collection_interval":60}}'
LARGE = {"logs": {"logs_collected": {"files": {"collect_list": [{"file_path": f"/{n}{'x' * 5000}"} for n in "ab"]}}}}


def stored(value: str = "{}", version: int | None = 3) -> dict[str, Any]:
    return {"value": value, "type": "String", "version": version}


def comparison(config: object = TEXT, previous: object = None, region: object = REGION) -> dict[str, Any]:
    """The result of a task that compared; others of its keys do not matter."""
    return {"config": config, "previous": {NAME: {}} if previous is None else previous, "region": region, "steps": []}


def params(*configurations: Any, **more: Any) -> dict[str, Any]:
    settings = {"split": False, "split_recent": False, "tier": None, "timeout": 660, "permission_timeout": 180}
    identity = {"instance_id": INSTANCE, "run_id": "run-1", "admin_role": "Admin"}
    return {"state": "sent", "configs": list(configurations), **identity, **settings, **more}


def writes(*configurations: Any, **more: Any) -> list[Write]:
    return list(desired_command(params(*configurations, **more)).writes)


@pytest.mark.parametrize(
    ("previous", "version"), [({NAME: {}}, 0), ({NAME: stored()}, 3), ({NAME: stored(version=None)}, 0)]
)
def test_a_configuration_is_written_over_the_version_that_it_was_compared_with(previous: Any, version: int) -> None:
    assert writes(comparison(previous=previous)) == [Write(REGION, NAME, TEXT, "Standard", version)]


def test_what_does_not_differ_is_not_written() -> None:
    assert writes(comparison(previous={NAME: stored(json.dumps(CONFIG, indent=1))})) == []


def test_a_large_configuration_is_split_as_it_was_compared() -> None:
    found = writes(comparison(json.dumps(LARGE), {NAME: stored(), f"{NAME}-2": {}}), split=True)
    assert [(each.name, each.tier, each.version) for each in found] == [
        (NAME, "Advanced", 3),
        (f"{NAME}-2", "Advanced", 0),
    ]


def test_a_tier_that_the_user_chose_is_not_changed() -> None:
    assert writes(comparison(), tier="Standard") == [Write(REGION, NAME, TEXT, "Standard", can_change_tier=False)]


def test_several_regions_are_written() -> None:
    found = writes(comparison(), comparison(region="us-east-1"))
    assert [each.region for each in found] == [REGION, "us-east-1"]


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        "text",
        comparison(previous={}),
        comparison(previous="text"),
        comparison(previous={NAME: {"unknown": 1}}),
        comparison(config="not JSON"),
        comparison(config=None),
        {"config": TEXT, "previous": {NAME: {}}},
        comparison(previous={"other": {}}),
        comparison(region="not a region; id"),
    ],
)
def test_what_no_task_returned_is_refused(configuration: Any) -> None:
    with pytest.raises(InvalidInput):
        writes(configuration)


@pytest.mark.parametrize(("seconds", "is_valid"), [(59, False), (60, True)])
def test_systems_manager_gives_a_command_at_least_a_minute(seconds: int, is_valid: bool) -> None:
    if is_valid:
        assert desired_command(params(comparison(), timeout=seconds)).seconds == seconds
    else:
        with pytest.raises(InvalidInput, match="at least 60 seconds, not 59"):
            desired_command(params(comparison(), timeout=seconds))


def test_the_role_must_have_a_valid_name() -> None:
    with pytest.raises(InvalidInput, match="role"):
        desired_command(params(comparison(), admin_role="a b"))


def test_a_command_to_cancel_needs_its_run_only() -> None:
    found = desired_command(params(state="cancelled"))
    assert found == DesiredCommand("cancelled", INSTANCE, "run-1")
