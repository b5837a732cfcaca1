# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks inside servers: by what Ansible has read there, and else by Run Command of Systems Manager."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._run_command import fleet
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.fleet import Answer, Document
from ansible_collections.cwagent.iam.plugins.module_utils._verify.assess import assess, note_unseen, skip_look
from ansible_collections.cwagent.iam.plugins.module_utils._verify.format import parse, script
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server

AUTO, ANSIBLE, RUN_COMMAND, NONE = WAYS = ("auto", "ansible", "run_command", "none")
SCRIPT_SECONDS = 120


@dataclass(frozen=True)
class Look:
    """How to look inside.

    :param way: one of ``WAYS``.
    :param timeout: how long to wait for answers by Run Command, in seconds.
    """

    way: str
    timeout: float


def look(
    client_factory: Callable[..., Any], servers: Sequence[Server], results: Mapping[str, Mapping[str, Any]], how: Look
) -> list[Server]:
    """Return the servers with what was found inside.

    :param results: by host, what Ansible returned of running the script.
    """
    answers = {host: _of_ansible(result) for host, result in results.items()}
    asked = [
        each
        for each in servers
        if how.way in (AUTO, RUN_COMMAND)
        and each.is_ec2
        and each.is_running
        and not each.is_windows
        and answers.get(each.host, Answer()).output == ""
    ]
    by_command = _run(client_factory, asked, how.timeout)
    return [_assess(each, how.way, answers.get(each.host), by_command.get(each.instance_id)) for each in servers]


def _of_ansible(result: Mapping[str, Any]) -> Answer:
    """Return the answer in a result of Ansible."""
    output = str(result.get("stdout") or "")
    if "end" in output.split():
        return Answer(output)
    reason = " ".join(str(result.get("msg") or result.get("stderr") or "it printed nothing").split())
    return Answer(failure=f"Ansible: {reason.rstrip('.')}")


def _run(client_factory: Callable[..., Any], servers: Iterable[Server], timeout: float) -> dict[str, Answer]:
    groups: dict[tuple[str, str], list[str]] = {}
    for each in servers:
        groups.setdefault((each.region, script(each)), []).append(each.instance_id)
    found: dict[str, Answer] = {}
    for (region, text), instance_ids in groups.items():
        parameters = {"commands": text.splitlines(), "executionTimeout": [str(SCRIPT_SECONDS)]}
        document = Document("AWS-RunShellScript", parameters, "cwagent.iam.verify: read what the agent has")
        aws = Aws(partial(client_factory, region=region))
        found.update(fleet.run(aws, instance_ids, document, Deadline(timeout)))
    return found


def _assess(server: Server, way: str, by_ansible: Answer | None, by_command: Answer | None) -> Server:
    if way == NONE:
        return skip_look(server, "It was checked by IAM only")
    reasons = []
    for seen_by, answer in ((ANSIBLE, by_ansible), (RUN_COMMAND, by_command)):
        if answer is None:
            continue
        try:
            if not answer.failure:
                return assess(server, parse(answer.output), seen_by)
        except CwagentError as error:
            reasons.append(str(error))
        reasons += [answer.failure] if answer.failure else []
        server = replace(server, is_windows=server.is_windows or answer.is_windows)
    return note_unseen(server, "; ".join(reasons) or "nothing was tried")
