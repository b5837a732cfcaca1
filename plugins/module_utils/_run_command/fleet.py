# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a document of Systems Manager on many instances. The number of calls grows with the batches and the pages.

A lost answer of SendCommand can lead to a second command, so a document must do no harm when it runs twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._progress import tell
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.api import PAGE_SIZE, find_agents, invocation
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import (
    SUCCESS,
    WINDOWS,
    Invocation,
    unreachable_reason,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

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
    """

    output: str = ""
    failure: str = ""
    is_windows: bool = False


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
    while True:
        found = _invocations(aws, command_id)
        waiting = [each for each in instance_ids if each not in found or found[each].is_pending]
        tell(f"{len(instance_ids) - len(waiting)} of {len(instance_ids)} instances have answered")
        if not waiting or not deadline.pause():
            break
    answers = {each: _answer(aws, command_id, each, found[each]) for each in instance_ids if each not in waiting}
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
