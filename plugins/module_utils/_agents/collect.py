# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects facts from servers, from the results of Ansible or else with Run Command, and watches their agents."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .._ground.aws import Aws
from .._ground.errors import CwagentError, InvalidInput
from .._ground.wait import Deadline
from .._servers import run_command
from .._servers.run_command import Answer, Document
from .fact_checks import check_facts, note_unseen, skip_facts
from .model import ANSIBLE, AUTO, NONE, RUN_COMMAND
from .script import parse, script
from .watch import NOT_WATCHED, Watch, judge, watch_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .model import Server


SCRIPT_SECONDS = 120
# How much longer than its agent the script that watches it can take.
ANSWER_SECONDS = 60


def collect(
    client_factory: Callable[..., Any],
    servers: Sequence[Server],
    results: Mapping[str, Mapping[str, Any]],
    way: str,
    timeout: float,
) -> list[Server]:
    """Return the servers with the findings from their facts.

    :param results: by host, the result of running the script with Ansible.
    :param way: how to collect facts, one of ``WAYS``.
    :param timeout: how long to wait for answers from Run Command, in seconds.
    """
    answers = {host: _parse_result(result) for host, result in results.items()}
    asked = [
        each
        for each in servers
        if way in (AUTO, RUN_COMMAND)
        and each.managed_id
        and each.is_running
        and not each.is_windows
        and answers.get(each.host, Answer()).output == ""
    ]
    scripts = [(each, script(each)) for each in asked]
    by_command = run_scripts(client_factory, scripts, "cwagent.iam.verify: collect facts", SCRIPT_SECONDS, timeout)
    return [_assess(each, way, answers.get(each.host), by_command.get(each.managed_id)) for each in servers]


def _parse_result(result: Mapping[str, Any]) -> Answer:
    """Return the answer in a result of Ansible. :raises InvalidInput: it is none."""
    if not isinstance(result, dict):
        raise InvalidInput("results: each value must be the result of a task.")
    output = str(result.get("stdout") or "")
    if "end" in output.split():
        return Answer(output)
    reason = " ".join(str(result.get("msg") or result.get("stderr") or "it printed nothing").split())
    return Answer(failure=f"Ansible: {reason.rstrip('.')}")


def run_scripts(
    client_factory: Callable[..., Any],
    scripts: Iterable[tuple[Server, str]],
    comment: str,
    seconds: int,
    timeout: float,
) -> dict[str, Answer]:
    """Run a shell script on each server with Run Command, and return the answers by the ID of the server.

    :param seconds: how long a script can run.
    :param timeout: how long to wait for answers, in seconds.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for server, text in scripts:
        groups.setdefault((server.region, text), []).append(server.managed_id)
    found: dict[str, Answer] = {}
    for (region, text), instance_ids in groups.items():
        parameters = {"commands": text.splitlines(), "executionTimeout": [str(seconds)]}
        document = Document("AWS-RunShellScript", parameters, comment)
        aws = Aws(partial(client_factory, region=region))
        found.update(run_command.run(aws, instance_ids, document, Deadline(timeout)))
    return found


def _assess(server: Server, way: str, by_ansible: Answer | None, by_command: Answer | None) -> Server:
    if way == NONE:
        return skip_facts(server, "It was checked only through the EC2 and IAM APIs")
    if way == RUN_COMMAND and server.has_key and by_ansible is None:
        return skip_facts(server, "Run Command does not reach a server with an access key")
    reasons = []
    for seen_by, answer in ((ANSIBLE, by_ansible), (RUN_COMMAND, by_command)):
        if answer is None:
            continue
        try:
            if not answer.failure:
                return check_facts(server, parse(answer.output), seen_by)
        except CwagentError as error:
            reasons.append(str(error))
        reasons += [answer.failure] if answer.failure else []
        server = replace(server, is_windows=server.is_windows or answer.is_windows)
    return note_unseen(server, "; ".join(reasons) or "nothing was tried")


def watch(client_factory: Callable[..., Any], servers: Sequence[Server], timeout: float) -> dict[str, Watch]:
    """Watch agents after their restart, and return the results by host.

    :param timeout: how long to wait for the answers after the time of the watch, in seconds.
    """
    longest = max(each.watch_seconds for each in servers)
    answers = run_scripts(
        client_factory,
        [(each, watch_script(each.watch_seconds)) for each in servers],
        "cwagent.iam.apply: watch the agent",
        longest + ANSWER_SECONDS,
        longest + timeout,
    )
    return {each.host: _judge(answers[each.managed_id]) for each in servers}


def _judge(answer: Answer) -> Watch:
    return Watch(failure=f"{NOT_WATCHED}{answer.failure}.") if answer.failure else judge(answer.output)
