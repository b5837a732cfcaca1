# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs scripts and documents of Systems Manager on instances.

A lost answer of SendCommand can lead to a second command, so a document must do no harm when it runs twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .._ground.errors import THROTTLING_CODES, UNREADABLE_RESPONSE, AwsApiError, CwagentError
from .._ground.plan import run_in_parallel, tell
from .._ground.wait import Deadline
from .commands import SHELL_SCRIPT, SUCCESS, WINDOWS, Agent, Command, Invocation, unreachable_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .._ground.aws import Aws


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


# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html: at most 50 instances, at least
# 30 seconds until a command is fetched, and at most 100 characters of a comment, which can contain a parameter.
BATCH_SIZE, DELIVERY_SECONDS, COMMENT_SIZE = 50, 60, 100
# ListCommandInvocations cuts the output of a step after so many characters.
LISTED_OUTPUT = 2_500


@dataclass(frozen=True)
class Answer:
    """The answer of an instance.

    :param failure: why there is no answer.
    :param is_windows: whether Systems Manager reports that it runs Windows, where nothing is run.
    :param read_at: when it was there, in Unix seconds by the clock of the controller; 0 if that is not known.
    """

    output: str = ""
    failure: str = ""
    is_windows: bool = False
    read_at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Document:
    """A document of Systems Manager. :param comment: its purpose, for people who read the list of commands."""

    name: str
    parameters: Mapping[str, Sequence[str]]
    comment: str


def run(aws: Aws, instance_ids: Sequence[str], document: Document, deadline: Deadline) -> dict[str, Answer]:
    """Run a document on Linux instances, and return the answer of each instance.

    :param deadline: the time limit for the answers.
    :raises AwsApiError: a call failed.
    """
    agents = {}
    for batch in _batches(instance_ids):
        agents.update(find_agents(aws, batch))
    unreached = {each: unreachable_reason(each, agents.get(each)) for each in instance_ids}
    sent: list[tuple[str, Sequence[str]]] = []
    for batch in _batches([each for each in instance_ids if not unreached[each]]):
        for command_id, receivers in _send(aws, batch, document):
            if command_id:
                sent.append((command_id, receivers))
            else:
                unreached.update(
                    (each, f"Systems Manager does not accept commands for {each} now") for each in receivers
                )
    windows = {each for each, agent in agents.items() if agent.platform == WINDOWS}
    answers = {
        each: Answer(failure=problem, is_windows=each in windows) for each, problem in unreached.items() if problem
    }
    for found in run_in_parallel(lambda each: _wait(aws, *each, deadline), sent):
        answers.update(found)
    return answers


def _batches(instance_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(instance_ids), BATCH_SIZE):
        yield instance_ids[first : first + BATCH_SIZE]


def _send(aws: Aws, instance_ids: Sequence[str], document: Document) -> Iterator[tuple[str, Sequence[str]]]:
    """Send a command. If one instance cannot get it, AWS refuses it for all, so it is sent to parts of them.

    :returns: the IDs of the commands, each with its instances. The ID is empty for an instance that cannot get it.
    """
    try:
        answer = aws.call(
            "ssm:SendCommand",
            f"run document {document.name} on {len(instance_ids)} instances",
            InstanceIds=list(instance_ids),
            DocumentName=document.name,
            Parameters={name: list(values) for name, values in document.parameters.items()},
            Comment=document.comment[:COMMENT_SIZE],
            TimeoutSeconds=DELIVERY_SECONDS,
        )
    except AwsApiError as error:
        if error.code != "InvalidInstanceId":
            raise
        if len(instance_ids) == 1:
            yield "", instance_ids
            return
        middle = len(instance_ids) // 2
        yield from _send(aws, instance_ids[:middle], document)
        yield from _send(aws, instance_ids[middle:], document)
    else:
        yield answer["Command"]["CommandId"], instance_ids


def _wait(aws: Aws, command_id: str, instance_ids: Sequence[str], deadline: Deadline) -> dict[str, Answer]:
    times: dict[str, int] = {}
    while True:
        found = _invocations(aws, command_id)
        waiting = [each for each in instance_ids if each not in found or found[each].is_pending]
        times = {**dict.fromkeys({*instance_ids}.difference(waiting), int(time.time())), **times}
        tell(f"{len(instance_ids) - len(waiting)} of {len(instance_ids)} instances have answered")
        if not waiting or not deadline.pause():
            break
    answers = {
        each: replace(_answer(aws, command_id, each, found[each]), read_at=times[each])
        for each in instance_ids
        if each not in waiting
    }
    late = f"it did not answer within {deadline.seconds:.0f} seconds"
    return {**answers, **{each: Answer(failure=late) for each in waiting}}


def _invocations(aws: Aws, command_id: str) -> dict[str, Invocation]:
    """Return a command on all its instances that Systems Manager already shows."""
    pages = aws.pages(
        "ssm:ListCommandInvocations",
        f"read the results of command {command_id}",
        CommandId=command_id,
        Details=True,
        MaxResults=PAGE_SIZE,
    )
    return {
        each["InstanceId"]: Invocation(
            each["Status"],
            each.get("StatusDetails", ""),
            # A document for several platforms has a step for each, and the steps for other platforms are skipped.
            "\n".join(step.get("Output", "") for step in each["CommandPlugins"]),
        )
        for page in pages
        for each in page["CommandInvocations"]
    }


def _answer(aws: Aws, command_id: str, instance_id: str, found: Invocation) -> Answer:
    if found.status != SUCCESS:
        return Answer(found.output, found.reason)
    if len(found.output) < LISTED_OUTPUT:
        return Answer(found.output)
    return Answer(invocation(aws, command_id, instance_id).output)
