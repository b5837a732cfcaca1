# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs scripts on instances with Run Command of Systems Manager."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    THROTTLING_CODES,
    UNREADABLE_RESPONSE,
    AwsApiError,
    CwagentError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import (
    SHELL_SCRIPT,
    Agent,
    Command,
    Invocation,
)
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html
PAGE_SIZE = 50
# After one of these codes, or without an answer, it is not known whether SendCommand sent the command.
_UNCERTAIN_CODES = frozenset({"InternalServerError", "ServiceUnavailable", "InternalFailure", UNREADABLE_RESPONSE})
# How long a command that was sent can be missing in the list of commands.
LOOKUP_SECONDS = 15.0
# No command of this collection lives longer than the longest admin window, which is open for twelve hours.
_LISTED = timedelta(hours=13)


def find_agents(aws: Aws, instance_ids: Sequence[str]) -> dict[str, Agent]:
    """Return by instance its SSM agent, without the instances that Systems Manager does not know."""
    pages = aws.pages(
        "ssm:DescribeInstanceInformation",
        f"read the state of the SSM agents of {', '.join(instance_ids)}",
        Filters=[{"Key": "InstanceIds", "Values": list(instance_ids)}],
        MaxResults=PAGE_SIZE,
    )
    return {
        each["InstanceId"]: Agent(each["InstanceId"], each["PingStatus"], each["PlatformType"])
        for page in pages
        for each in page["InstanceInformationList"]
    }


def send(
    aws: Aws,
    instance_ids: Sequence[str],
    script: str,
    comment: str,
    *,
    delivery_seconds: int,
    execution_seconds: int,
) -> str:
    """Run a script on instances, at most once, and return the ID of the command.

    If the answer is lost, the command is looked up by its comment instead of sent again.

    :param comment: a text that no other command has.
    :param delivery_seconds: how long the agent has to fetch it.
    :param execution_seconds: how long the script may run then.
    :raises CwagentError: it could not be sent, or it is not known whether it was.
    """
    arguments: dict[str, Any] = {
        "InstanceIds": list(instance_ids),
        "DocumentName": SHELL_SCRIPT,
        "Comment": comment,
        "TimeoutSeconds": delivery_seconds,
        "Parameters": {"commands": [script], "executionTimeout": [str(execution_seconds)]},
    }
    description = f"send a command to {', '.join(instance_ids)}"

    def send_once() -> dict[str, Any]:
        return aws.call("ssm:SendCommand", description, 1, **arguments)  # botocore would repeat it without an answer

    try:
        return str(aws.retry(send_once, THROTTLING_CODES)["Command"]["CommandId"])
    except CwagentError as error:
        if isinstance(error, AwsApiError) and error.code not in _UNCERTAIN_CODES:
            raise
        found = _look_up(aws, instance_ids[0], comment)
        if found is None:
            raise CwagentError(
                f"{error} Whether the command was sent is not known, so it is not sent again. Run again."
            ) from error
        return found


def _look_up(aws: Aws, instance_id: str, comment: str) -> str | None:
    deadline = Deadline(LOOKUP_SECONDS)
    while True:
        found = next((each.id for each in commands(aws, instance_id) if each.comment == comment), None)
        if found is not None or not deadline.pause():
            return found


def commands(aws: Aws, instance_id: str) -> Iterator[Command]:
    """Return the recent commands of an instance, including all that can still be running."""
    after = (aws.now - _LISTED).strftime("%Y-%m-%dT%H:%M:%SZ")
    for page in aws.pages(
        "ssm:ListCommands",
        f"list the commands of instance {instance_id}",
        InstanceId=instance_id,
        Filters=[{"key": "InvokedAfter", "value": after}],
        MaxResults=PAGE_SIZE,
    ):
        for each in page["Commands"]:
            yield Command(each["CommandId"], each.get("Comment", ""), each["Status"])


def invocation(aws: Aws, command_id: str, instance_id: str) -> Invocation:
    """Return a command on an instance. It is pending if Systems Manager does not show it yet."""
    answer = aws.find(
        "ssm:GetCommandInvocation",
        f"read the result of command {command_id} on {instance_id}",
        absent="InvocationDoesNotExist",
        CommandId=command_id,
        InstanceId=instance_id,
    )
    if answer is None:
        return Invocation("Pending")
    return Invocation(
        answer["Status"],
        answer.get("StatusDetails", ""),
        answer.get("StandardOutputContent", ""),
        answer.get("StandardErrorContent", ""),
    )


def wait(aws: Aws, command_id: str, instance_id: str, deadline: Deadline) -> Invocation:
    """Wait until a command has ended on an instance, or until the deadline, and return it."""
    while True:
        found = invocation(aws, command_id, instance_id)
        if not found.is_pending or not deadline.pause():
            return found


def cancel(aws: Aws, command_id: str) -> None:
    """Cancel a command on all its instances. A command that has ended stays as it is."""
    aws.call("ssm:CancelCommand", f"cancel command {command_id}", CommandId=command_id)
