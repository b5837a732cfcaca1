"""Proves with calls what a fitted policy allows an agent, and what it denies."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from .account import DENIED, NEW_SECONDS, LiveAccount, code_of, poll, retry
from .names import FITTED_PARAMETER, FITTED_POLICY, FITTED_ROLE, PREFIX, PROBE_PARAMETER

GROUP, GROUP_WITHOUT_RETENTION, OTHER_GROUP = (f"{PREFIX}-{name}" for name in ("logs", "more-logs", "other-logs"))
CONFIG: dict[str, Any] = {
    "metrics": {"namespace": PREFIX, "metrics_collected": {"mem": {"measurement": ["mem_used_percent"]}}},
    "logs": {
        "logs_collected": {
            "files": {
                "collect_list": [
                    {"file_path": "/var/log/messages", "log_group_name": GROUP, "retention_in_days": 1},
                    {"file_path": "/var/log/secure", "log_group_name": GROUP_WITHOUT_RETENTION},
                ]
            }
        }
    },
}
"""The configuration whose fitted policy is proved."""


@dataclass(frozen=True)
class Call:
    """A call of an agent.

    :param key: the argument that decides whether it is allowed.
    :param allowed: the value of that argument for which the policy allows the call.
    :param denied: a value for which the policy denies it.
    """

    action: str
    key: str
    allowed: str
    denied: str
    more: Mapping[str, Any] = field(default_factory=dict)


def calls() -> Iterator[Call]:
    """The calls of an agent with the configuration, in an order in which each finds what it needs."""
    event = {"timestamp": int(time.time() * 1000), "message": "A log event of cwagent.iam"}
    stream = {"logStreamName": "probe"}
    yield Call("ssm:get_parameter", "Name", FITTED_PARAMETER, PROBE_PARAMETER)
    yield Call(
        "cloudwatch:put_metric_data",
        "Namespace",
        PREFIX,
        f"{PREFIX}-other",
        {"MetricData": [{"MetricName": "probe", "Value": 1}]},
    )
    for action, more in (
        ("create_log_group", {}),
        ("create_log_stream", stream),
        ("put_log_events", {**stream, "logEvents": [event]}),
    ):
        yield Call(f"logs:{action}", "logGroupName", GROUP, OTHER_GROUP, more)
    yield Call("logs:put_retention_policy", "logGroupName", GROUP, GROUP_WITHOUT_RETENTION, {"retentionInDays": 1})


def prove(account: LiveAccount, documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Give policies to a role that has nothing else, and make the calls with it. :returns: the problems."""
    names = [FITTED_PARAMETER, PROBE_PARAMETER]
    for name in names:
        retry(account.ssm.put_parameter, Name=name, Value=json.dumps(CONFIG), Type="String", Overwrite=True)
    account.make_role(FITTED_ROLE, {"AWS": f"arn:{account.partition}:iam::{account.id}:root"}, {})
    for number, document in enumerate(documents, 1):
        policy = {"PolicyName": f"{FITTED_POLICY}-{number}", "PolicyDocument": json.dumps(document)}
        made = retry(account.iam.create_policy, **policy)
        retry(account.iam.attach_role_policy, RoleName=FITTED_ROLE, PolicyArn=made["Policy"]["Arn"])
    for call in calls():
        may = partial(_may, account, call)
        # The policy takes effect within seconds, so the first call waits for it.
        is_allowed = poll(partial(may, call.allowed), bool, NEW_SECONDS)
        yield "" if is_allowed else f"{call.action} is denied for {call.allowed}"
        yield f"{call.action} is allowed for {call.denied}" if may(call.denied) else ""
    # teardown leaves parameters that it does not know.
    account.ssm.delete_parameters(Names=names)


def _may(account: LiveAccount, call: Call, value: str) -> bool:
    """Whether the role may make a call. AWS looks for a log group only after it has decided that."""
    service, action = call.action.split(":")
    credentials = account.assume(FITTED_ROLE)
    if not credentials:
        return False
    client = account.session.client(service, **credentials)
    try:
        getattr(client, action)(**{call.key: value}, **call.more)
    except ClientError as error:
        code = code_of(error)
        if code not in {*DENIED, "ResourceAlreadyExistsException", "ResourceNotFoundException"}:
            raise
        return code not in DENIED
    return True
