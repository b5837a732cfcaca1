"""Who can write while the admin window is open, and after it was closed or has expired."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fleet import Fleet
from harness import ADMIN_ROLE, PARAMETER, SERVER_ROLE, assert_no_writes
from in_process import run_module
from states import States
from storing import (
    assert_clean,
    can_write,
    leave_open,
    ready_to_store,
    refusal,
    restore,
    set_profile,
    succeeded,
)

MINUTE = 60
AFTER_DEADLINE = 16 * MINUTE
"""A window is open for 15 minutes by default."""


@pytest.fixture
def fleet(states: States) -> Fleet:
    return states.begin(ready_to_store)


def change_window(fleet: Fleet, state: str, **options: Any) -> dict[str, Any]:
    bound = {"instance_id": fleet.instances["admin1"], **options}
    return dict(
        succeeded(run_module(fleet.aws, "cwagent_admin_window", role=ADMIN_ROLE, state=state, **bound))["window"]
    )


def test_credentials_of_an_earlier_session_can_write_only_while_the_window_is_open(fleet: Fleet) -> None:
    leave_open(fleet)
    session = fleet.aws.instance_credentials(fleet.instances["admin1"])
    assert can_write(fleet.aws, session)
    set_profile(fleet, SERVER_ROLE)
    assert can_write(fleet.aws, session), "the swap alone does not affect an existing session"
    succeeded(restore(fleet))
    assert not can_write(fleet.aws, session)
    assert_clean(fleet.aws)


def test_an_open_window_is_extended_but_never_shortened(fleet: Fleet) -> None:
    first = change_window(fleet, "open", window_minutes=30)
    with assert_no_writes(fleet.aws):
        assert change_window(fleet, "open", window_minutes=15) == first
        assert change_window(fleet, "open", window_minutes=30) == first
    assert change_window(fleet, "open", window_minutes=60)["deadline"] > first["deadline"]
    session = fleet.aws.instance_credentials(set_profile(fleet, ADMIN_ROLE))
    fleet.aws.shift_clock(59 * MINUTE)
    assert can_write(fleet.aws, session)
    fleet.aws.shift_clock(2 * MINUTE)
    assert not can_write(fleet.aws, session)


def test_an_open_window_is_for_one_instance_and_the_named_parameters(fleet: Fleet) -> None:
    """Other instances, other parameters and other changes stay denied, and the named ones are after the deadline."""
    aws, other = fleet.aws, fleet.add_instance("admin2", ADMIN_ROLE)
    ssm = aws.client("ssm")
    ssm.put_parameter(Name=PARAMETER, Value="{}", Type="String")
    instance = set_profile(fleet, ADMIN_ROLE)
    session, elsewhere = (aws.instance_credentials(each) for each in (instance, other))
    named = {"name": PARAMETER, "region": aws.region}
    assert not can_write(aws, session)
    opened = change_window(fleet, "open", parameters=[named])
    assert (opened["instance_id"], opened["parameters"]) == (instance, [named])
    assert can_write(aws, session)
    assert not can_write(aws, session, "AmazonCloudWatch-mine")
    assert not can_write(aws, elsewhere)
    with pytest.raises(ClientError, match="AccessDenied"):
        aws.client("ssm", credentials=session).delete_parameter(Name=PARAMETER)
    names: dict[str, Any] = {"role": ADMIN_ROLE, "instance_id": other}
    refused = run_module(aws, "cwagent_admin_window", state="open", fail_if_open=True, **names)
    assert f"for instance {instance} and parameter '{PARAMETER}' in {aws.region}" in refusal(refused)
    aws.shift_clock(AFTER_DEADLINE)
    assert not can_write(aws, session)
    aws.shift_clock(-AFTER_DEADLINE)
    change_window(fleet, "open", instance_id=other)
    assert not can_write(aws, session), "a window of another instance is replaced"
    assert can_write(aws, elsewhere)


def test_the_agent_works_while_the_window_is_closed(fleet: Fleet) -> None:
    """All calls of the agent succeed; only storing the configuration is denied."""
    fleet.aws.client("ssm").put_parameter(Name=PARAMETER, Value="{}", Type="String")
    session = fleet.aws.instance_credentials(set_profile(fleet, ADMIN_ROLE))
    assert change_window(fleet, "closed", window_minutes=0)["state"] == "closed"
    logs, metrics, ssm = (fleet.aws.client(each, credentials=session) for each in ("logs", "cloudwatch", "ssm"))
    metrics.put_metric_data(Namespace="CWAgent", MetricData=[{"MetricName": "mem_used_percent", "Value": 1.0}])
    logs.create_log_group(logGroupName="messages")
    logs.create_log_stream(logGroupName="messages", logStreamName="i")
    event = {"timestamp": int(time.time() * 1000), "message": "hello"}
    logs.put_log_events(logGroupName="messages", logStreamName="i", logEvents=[event])
    assert ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"] == "{}"
    assert not can_write(fleet.aws, session)
    with pytest.raises(ClientError, match="AccessDenied"):
        ssm.get_parameter(Name="another")
