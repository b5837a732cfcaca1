# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works on servers through Run Command: collects their facts, applies their configurations and watches their agents.

The facts come from the results of Ansible where it reaches a server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .._ground.aws import Aws
from .._ground.converge import Resource
from .._ground.errors import CwagentError, InvalidInput, PartialFailure
from .._ground.plan import MAX_REPORTED_FAILURES, Kind, Plan, Step, run_in_parallel
from .._ground.wait import Deadline
from .._servers import run_command
from .._servers.run_command import Answer, Document
from .configs_plan import APPEND, FETCH, PREFIX, REMOVE, RENAME, Command, file_of
from .fact_checks import check_facts, note_unseen, skip_facts
from .script import parse, script
from .server import ANSIBLE, AUTO, NONE, RUN_COMMAND
from .watch import FIND_AGENT, NOT_WATCHED, Watch, judge, watch_script

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from .server import Server


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
        at = result.get("read_at")
        return Answer(output, read_at=at if isinstance(at, int) else 0)
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
                return check_facts(server, parse(answer.output), seen_by, answer.read_at)
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


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/installing-cloudwatch-agent-ssm.html
MANAGE_AGENT = "AmazonCloudWatch-ManageAgent"
_ACTIONS = {FETCH: "configure", APPEND: "configure (append)", REMOVE: "configure (remove)"}
RUN_SCRIPT = "AWS-RunShellScript"
# Gives a file of the agent another name, unless it has it. Names contain no character that means anything to a shell.
_RENAME = r"""# Renames a file of the CloudWatch agent, and does not restart the agent.
set -eu
@find@cd "$agent/etc/amazon-cloudwatch-agent.d"
has() { [ -f "$1" ] && [ "@digest@" = "$(printf %s "$(cat "$1")" | sha256sum | cut -c1-64)" ]; }
has '@new@' || { has '@old@' && mv -f '@old@' '@new@'; } ||
  { echo 'Something else has changed the file.' >&2; exit 1; }
"""
# Gives a file that is to be replaced the name of the next version.
_REPLACE = """set -eu
@find@cd "$agent/etc/amazon-cloudwatch-agent.d"
mv -f '@old@' '@new@'
"""


@dataclass(frozen=True)
class Member:
    """An instance, or a node that is an on-premises server.

    :param mode: of the agent's control program: ``ec2`` or ``onPremise``.
    :param commands: the calls of the control program that give its agent the desired configurations, or the new names
        of its files.
    :param is_watched: whether the agent is to be watched, even without a call.
    """

    host: str
    region: str
    instance_id: str
    mode: str
    commands: tuple[Command, ...]
    is_watched: bool = False


class RemoteConfigResource(Resource["tuple[Member, ...]"]):
    """The configurations of agents on instances whose facts another module has collected.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    :param timeout: how long to wait for each command, in seconds.
    """

    def __init__(self, client_factory: Callable[..., Any], members: Sequence[Member], timeout: float) -> None:
        self._client_factory = client_factory
        self._members = tuple(members)
        self._timeout = timeout

    def read(self) -> tuple[Member, ...]:
        """Return the instances with something to do, as they were seen."""
        return tuple(each for each in self._members if each.commands)

    def plan(self, current: tuple[Member, ...], /) -> Plan[tuple[Member, ...]]:
        """Plan one step for all instances, which are changed together as far as they can be."""
        step = Step(Kind.UPDATE, "ssm:SendCommand", {}, _summary(current), context=current)
        return Plan(current, (), {"agents": [step] if current else []})

    def to_diff(self, state: tuple[Member, ...], /) -> dict[str, Any]:
        """Render the commands that are to be run."""
        return {each.host: [f"{one.action} {one.name}" for one in each.commands] for each in state}

    def to_result(self, plan: Plan[tuple[Member, ...]], final: tuple[Member, ...], /) -> dict[str, Any]:
        """Return the hosts, besides the steps."""
        del plan, final
        return {"applied_hosts": self._done()}

    def _done(self, failed: Collection[str] = ()) -> list[str]:
        """Return the hosts that have run their commands, or that are to be watched without one."""
        return [each.host for each in self._members if (each.commands or each.is_watched) and each.host not in failed]

    def execute(self, step: Step) -> None:
        """Run the commands. :raises PartialFailure: they failed on some instances; the others have run them."""
        members: Sequence[Member] = step.context
        groups: dict[tuple[str, str, tuple[Command, ...]], list[Member]] = {}
        for each in members:
            groups.setdefault((each.region, each.mode, each.commands), []).append(each)
        parts = run_in_parallel(lambda group: self._run(*group[0], group[1]), groups.items())
        failed = {host: problem for part in parts for host, problem in part.items()}
        if failed:
            listed = "; ".join(f"{host}: {problem}" for host, problem in list(failed.items())[:MAX_REPORTED_FAILURES])
            done = [each for each in members if each.host not in failed]
            raise PartialFailure(
                f"The configuration was not applied on {len(failed)} of {len(members)} servers: {listed}. Fix the "
                "cause, and run again.",
                _summary(done) if done else "",
                _summary([each for each in members if each.host in failed]),
                failed_hosts=failed,
                applied_hosts=self._done(failed),
            )

    def _run(self, region: str, mode: str, commands: Sequence[Command], members: Sequence[Member]) -> dict[str, str]:
        """Run commands one after the other, and return by host why one failed. The next commands skip that host."""
        aws = Aws(partial(self._client_factory, region=region))
        hosts = {each.instance_id: each.host for each in members}
        failed: dict[str, str] = {}
        for command in commands:
            waiting = [instance_id for instance_id, host in hosts.items() if host not in failed]
            answers = (
                run_command.run(aws, waiting, _document(command, mode), Deadline(self._timeout)) if waiting else {}
            )
            failed.update((hosts[key], answer.failure) for key, answer in answers.items() if answer.failure)
        return failed


def _summary(members: Sequence[Member]) -> str:
    is_named = all(command.action == RENAME for each in members for command in each.commands)
    what = "rename the file of the configuration" if is_named else "apply the configuration"
    return f"{what} on {', '.join(each.host for each in members)}"


def _document(command: Command, mode: str) -> Document:
    comment = f"cwagent.iam.apply: {command.action} {command.name}"
    if command.action == RENAME:
        return Document(RUN_SCRIPT, {"commands": _rename_script(command).splitlines()}, comment)
    parameters = {
        "action": [_ACTIONS[command.action]],
        "mode": [mode],
        "optionalConfigurationSource": ["ssm"],
        "optionalConfigurationLocation": [command.name],
        "optionalRestart": ["yes" if command.restart else "no"],
    }
    return Document(MANAGE_AGENT, parameters, comment)


def _rename_script(command: Command) -> str:
    old, new = (f"{PREFIX}{file_of(each)}" for each in (command.name, command.to))
    text = _RENAME if command.digest else _REPLACE
    for name, value in {"find": FIND_AGENT, "digest": command.digest, "old": old, "new": new}.items():
        text = text.replace(f"@{name}@", value)
    return text
