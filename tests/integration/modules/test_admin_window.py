"""The sessions that can write while the admin window is open, and after it was closed or has expired."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from harness import ADMIN_ROLE, PARAMETER, SERVER_ROLE, assert_no_writes
from in_process import run_module
from states import States
from storing import AFTER_DEADLINE, Result, Storing, ready_to_store, refusal, succeeded

MINUTE = 60


@pytest.fixture
def account(states: States) -> Storing:
    return states.begin(ready_to_store)


def change_window(account: Storing, state: str, **options: Any) -> Result:
    bound = {"instance_id": account.instances["admin1"], **options}
    result = run_module(account.aws, "cwagent_admin_window", role=ADMIN_ROLE, state=state, **bound)
    return dict(succeeded(result)["window"])


def test_credentials_of_an_earlier_session_can_write_only_while_the_window_is_open(account: Storing) -> None:
    account.leave_open()
    session = account.aws.instance_credentials(account.instances["admin1"])
    assert account.can_write(session)
    account.set_profile(SERVER_ROLE)
    assert account.can_write(session), "the swap alone does not affect an existing session"
    succeeded(account.restore())
    assert not account.can_write(session)
    account.assert_clean()


def test_an_open_window_is_extended_but_never_shortened(account: Storing) -> None:
    first = change_window(account, "open", window_minutes=30)
    with assert_no_writes(account.aws):
        assert change_window(account, "open", window_minutes=15) == first
        assert change_window(account, "open", window_minutes=30) == first
    assert change_window(account, "open", window_minutes=60)["deadline"] > first["deadline"]
    session = account.aws.instance_credentials(account.set_profile(ADMIN_ROLE))
    account.aws.shift_clock(59 * MINUTE)
    assert account.can_write(session)
    account.aws.shift_clock(2 * MINUTE)
    assert not account.can_write(session)


def test_an_open_window_is_for_one_instance_and_the_named_parameters(account: Storing) -> None:
    """Other instances, other parameters and other changes stay denied, and the named ones are after the deadline."""
    aws, other = account.aws, account.add_instance("admin2", ADMIN_ROLE)
    aws.client("ssm").put_parameter(Name=PARAMETER, Value="{}", Type="String")
    instance = account.set_profile(ADMIN_ROLE)
    session, elsewhere = (aws.instance_credentials(each) for each in (instance, other))
    named = {"name": PARAMETER, "region": aws.region}
    assert not account.can_write(session)
    opened = change_window(account, "open", parameters=[named])
    assert (opened["instance_id"], opened["parameters"]) == (instance, [named])
    assert account.can_write(session)
    assert not account.can_write(session, "AmazonCloudWatch-mine")
    assert not account.can_write(elsewhere)
    with pytest.raises(ClientError, match="AccessDenied"):
        aws.client("ssm", credentials=session).delete_parameter(Name=PARAMETER)
    names: dict[str, Any] = {"role": ADMIN_ROLE, "instance_id": other}
    message = refusal(run_module(aws, "cwagent_admin_window", state="open", fail_if_open=True, **names))
    assert f"for instance {instance} and parameter '{PARAMETER}' in {aws.region}" in message
    aws.shift_clock(AFTER_DEADLINE)
    assert not account.can_write(session)
    aws.shift_clock(-AFTER_DEADLINE)
    change_window(account, "open", instance_id=other)
    assert not account.can_write(session), "a window of another instance is replaced"
    assert account.can_write(elsewhere)


def test_the_agent_works_while_the_window_is_closed(account: Storing) -> None:
    """All calls of the agent succeed; only storing the configuration is denied."""
    account.aws.client("ssm").put_parameter(Name=PARAMETER, Value="{}", Type="String")
    session = account.aws.instance_credentials(account.set_profile(ADMIN_ROLE))
    assert change_window(account, "closed", window_minutes=0)["state"] == "closed"
    logs, metrics, ssm = (account.aws.client(each, credentials=session) for each in ("logs", "cloudwatch", "ssm"))
    metrics.put_metric_data(Namespace="CWAgent", MetricData=[{"MetricName": "mem_used_percent", "Value": 1.0}])
    logs.create_log_group(logGroupName="messages")
    logs.create_log_stream(logGroupName="messages", logStreamName="i")
    event = {"timestamp": int(time.time() * 1000), "message": "hello"}
    logs.put_log_events(logGroupName="messages", logStreamName="i", logEvents=[event])
    assert ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"] == "{}"
    assert not account.can_write(session)
    with pytest.raises(ClientError, match="AccessDenied"):
        ssm.get_parameter(Name="another")
