"""Systems Manager: SSM agents on the instances, and Run Command, which really runs scripts.

``Emulator.agents`` shows the agents and changes how they behave; ``Emulator.commands`` shows what was sent.
``machines.py`` says what a script finds on its instance.

An agent is online where the instance runs and has credentials of a role that may call ssm:UpdateInstanceInformation.

It differs from AWS as follows:

- Agents notice a change of their permissions at once, unless ``Agent.swap_seconds`` is set.
- A command is delivered within the call that sends it, unless it is delayed.
- Only ``InstanceIds`` are targets; ``MaxConcurrency`` and ``MaxErrors`` stop nothing, but few scripts run at a time.
- There are three documents, in one version. PowerShell never runs: the answer is ``Agent.answer``.
- References to parameters in a command, ``{{ssm:name}}``, are not resolved.
- Who may send a command is enforced by ministack only, without ssm:resourceTag.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from .backend import ACCOUNT, Backend, Instance, Profile
from .imds import InstanceMetadata
from .machines import AGENT_CONTROL, KILLED, Machines, Process
from .unkind import Behaviour
from .validation import find_problem
from .wire import Call, ErrorAnswer

Params = dict[str, Any]

TICK_SECONDS = 0.05
RUNNING_SCRIPTS = 16
"""How many scripts run at a time, since all instances are this machine."""
AGENT_PERMISSION = "ssm:UpdateInstanceInformation"

STDOUT_LENGTH, STDERR_LENGTH, OUTPUT_LENGTH = 24000, 8000, 2500
TRUNCATED = "--output truncated--"
DELIVERY_SECONDS, EXECUTION_SECONDS = 3600, 3600
"""By default, how long a command waits for its agent, and how long its script may run."""

STATUSES = {"DeliveryTimedOut": "TimedOut", "ExecutionTimedOut": "TimedOut", "Undeliverable": "Failed"}
"""By status details, the status where it differs."""
WAITING = ("Pending", "Delayed")
ENDED = ("Success", "Failed", "ExecutionTimedOut", "DeliveryTimedOut", "Cancelled", "Undeliverable")
"""Those of an invocation that has ended. Those of a command are the first but Success that an invocation of it has."""


@dataclass(frozen=True)
class Agent:
    """How the agent of an instance behaves, and what is installed beside it.

    :param platform: ``Linux`` or ``Windows``.
    :param aws_cli: whether the AWS CLI is installed.
    :param cloudwatch_agent: whether the CloudWatch agent is installed.
    :param running: whether the SSM agent runs.
    :param offline: what happens to a command for an agent that was online before: ``refused`` with InvalidInstanceId,
        ``undeliverable``, or ``waits``. AWS does each, depending on how long the agent was away.
    :param delivery: of the next commands: ``normal``; ``lost`` on the way to the agent; ``undeliverable``; or
        ``unreported``, which run but whose result is lost.
    :param delivery_seconds: how much later than sent a command is delivered.
    :param unknown_seconds: how long all calls but SendCommand do not know a new command.
    :param swap_seconds: how long the agent is offline after the instance has another instance profile.
    :param answer: the ``code``, ``stdout`` and ``stderr`` of all scripts, which then do not run.
    """

    platform: str = "Linux"
    aws_cli: bool = True
    cloudwatch_agent: bool = False
    running: bool = True
    offline: str = "refused"
    delivery: str = "normal"
    delivery_seconds: float = 0.0
    unknown_seconds: float = 0.0
    swap_seconds: float = 0.0
    answer: dict[str, Any] | None = None


@dataclass(frozen=True)
class Document:
    """A command document. :param steps: the names of its steps, with the platform of each."""

    required: frozenset[str]
    optional: frozenset[str]
    steps: dict[str, str]
    platforms: frozenset[str] = frozenset({"Linux", "Windows"})

    def step(self, platform: str) -> str:
        return next(step for step, on in self.steps.items() if on in ("", platform))


SCRIPT_PARAMETERS = frozenset({"workingDirectory", "executionTimeout"})
MANAGE_AGENT = "AmazonCloudWatch-ManageAgent"
DOCUMENTS = {
    "AWS-RunShellScript": Document(
        frozenset({"commands"}), SCRIPT_PARAMETERS, {"aws:runShellScript": ""}, frozenset({"Linux"})
    ),
    "AWS-RunPowerShellScript": Document(frozenset({"commands"}), SCRIPT_PARAMETERS, {"aws:runPowerShellScript": ""}),
    MANAGE_AGENT: Document(
        frozenset({"action"}),
        frozenset({"mode", "optionalConfigurationSource", "optionalConfigurationLocation", "optionalRestart"}),
        {"ControlCloudWatchAgentWindows": "Windows", "ControlCloudWatchAgentLinux": "Linux"},
    ),
}


@dataclass
class Command:
    """What was sent. Times are Unix seconds by the clock of the backend."""

    id: str
    region: str
    document: str
    comment: str
    parameters: dict[str, list[str]]
    sent: float
    delivery_seconds: float
    invocations: dict[str, Invocation] = field(default_factory=dict)

    @property
    def execution_seconds(self) -> float:
        return float(self.parameter("executionTimeout") or EXECUTION_SECONDS)

    @property
    def expires(self) -> float:
        return self.sent + self.delivery_seconds + self.execution_seconds

    @property
    def details(self) -> str:
        counts = self.counts()
        if counts.total() == counts["Pending"]:
            return "Pending"
        if any(each not in ENDED for each in counts):
            return "Cancelling" if "Cancelling" in counts else "InProgress"
        return next((each for each in ENDED[1:] if each in counts), "Success")

    def counts(self) -> Counter[str]:
        return Counter(each.details for each in self.invocations.values())

    def parameter(self, name: str, default: str = "") -> str:
        return next(iter(self.parameters.get(name, [])), default)

    def script(self) -> list[str]:
        if self.document != MANAGE_AGENT:
            return self.parameters["commands"]
        action = self.parameter("action")
        verbs = {"configure": "fetch", "configure (append)": "append", "configure (remove)": "remove"}
        words = [AGENT_CONTROL, "-a", f"{verbs[action]}-config" if action in verbs else action]
        words += ["-m", self.parameter("mode", "ec2")]
        if action in verbs:
            source, location = (self.parameter(f"optionalConfiguration{each}") for each in ("Source", "Location"))
            words += ["-c", f"ssm:{location}" if source in ("", "ssm") else source]
            words += ["-s"] if self.parameter("optionalRestart", "yes") == "yes" else []
        found = f'command -v {AGENT_CONTROL} >/dev/null || {{ echo "{AGENT_CONTROL} not found" >&2; exit 1; }}'
        return ["#!/bin/sh", found, shlex.join(words)]


@dataclass
class Invocation:
    """A command on one instance. ``code`` and the outputs are those that the agent has reported."""

    command: Command
    instance: str
    agent: Agent
    details: str = "Pending"
    code: int = -1
    stdout: str = ""
    stderr: str = ""
    started: float = 0.0
    ended: float = 0.0
    process: Process | None = None
    result: tuple[str, int, str, str] | None = None
    """Details, exit code and outputs that the agent has not reported yet."""

    @property
    def step(self) -> str:
        return DOCUMENTS[self.command.document].step(self.agent.platform)


@dataclass
class RunCommand:
    """The service. ``is_delayed`` says whether an unkind behaviour delays a command, or the agent of an instance."""

    backend: Backend
    metadata: InstanceMetadata
    machines: Machines
    is_delayed: Callable[[Behaviour, str], bool]
    default: Agent = field(default_factory=Agent)
    chosen: dict[str, Agent] = field(default_factory=dict)
    sent: dict[str, Command] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    profiles: dict[str, tuple[Profile | None, float]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    woken: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        """Let the agents work as long as there are open invocations."""
        while self.woken.wait():
            with self.lock:
                try:
                    self.advance()
                except Exception:
                    logging.getLogger(__name__).exception("the SSM agents failed")
                if not any(self._open()):
                    self.woken.clear()
            threading.Event().wait(TICK_SECONDS)

    def reset(self) -> None:
        with self.lock:
            self.machines.reset()
            self.default = Agent()
            for kept in (self.chosen, self.sent, self.registered, self.profiles):
                kept.clear()

    def configure(self, instances: list[str], settings: dict[str, Any]) -> dict[str, Any]:
        """Change settings of these agents, or of all, and return all agents by instance."""
        with self.lock:
            if not instances:
                self.default = replace(self.default, **settings)
                self.chosen = {each: replace(agent, **settings) for each, agent in self.chosen.items()}
            for each in instances:
                self.chosen[each] = replace(self._agent(each), **settings)
            online = self.advance()
            return {
                each.id: {
                    **asdict(self._install(each)),
                    "online": each.id in online,
                    "disk": str(self.machines.disk(each.id)),
                    "environment": self.machines.environment(each.id, each.region),
                }
                for each in self.backend.instances()
            }

    def commands(self) -> list[dict[str, Any]]:
        """All commands as they are, whether or not the service already shows it."""
        with self.lock:
            self.advance()
            return [
                {
                    "id": command.id,
                    "document": command.document,
                    "comment": command.comment,
                    "parameters": command.parameters,
                    "details": command.details,
                    "invocations": {
                        each.instance: {name: getattr(each, name) for name in ("details", "code", "stdout", "stderr")}
                        for each in command.invocations.values()
                    },
                }
                for command in self.sent.values()
            ]

    def respond(self, call: Call, params: Params) -> tuple[str, int, str]:
        """The content type, status and body of an answer."""
        with self.lock:
            self.advance()
            answer = find_problem(call.action, params) or ACTIONS[call.action](self, call, params)
        if isinstance(answer, ErrorAnswer):
            content_type, text = answer.body(call.service)
            return content_type, answer.status, text
        return "application/x-amz-json-1.1", 200, json.dumps(answer)

    def observe(self) -> None:
        """Record what the agents see, so that they notice a change even if nobody asks them."""
        with self.lock:
            self._online()

    def _agent(self, instance: str) -> Agent:
        return self.chosen.get(instance, self.default)

    def _install(self, instance: Instance) -> Agent:
        agent = self._agent(instance.id)
        self.machines.install(
            instance.id, instance.region, aws_cli=agent.aws_cli, cloudwatch_agent=agent.cloudwatch_agent
        )
        return agent

    def _online(self) -> dict[str, Instance]:
        """The instances whose agents are online."""
        allowed: dict[str, bool] = {}
        online = {}
        for instance in self.backend.instances():
            profile = self.metadata.profile(instance, self.metadata.credentials_lag)
            if instance.running and self.profiles.get(instance.id, (None, 0.0))[0] != profile:
                self.profiles[instance.id] = profile, self._now()
            if profile is None or not self._agent(instance.id).running or self._is_away(instance.id):
                continue
            if profile.role_arn not in allowed:
                allowed[profile.role_arn] = bool(profile.role) and self.backend.allows(profile, AGENT_PERMISSION)
            if allowed[profile.role_arn] and profile.trusts_ec2 and self.metadata.has_credentials(instance.id):
                online[instance.id] = instance
        self.registered |= online.keys()
        return online

    def _is_away(self, instance: str) -> bool:
        back = self.profiles[instance][1] + self._agent(instance).swap_seconds
        return self._now() < back or self.is_delayed(Behaviour.AWAY_AGENTS, instance)

    def _now(self) -> float:
        return self.backend.now().timestamp()

    def _open(self) -> Iterator[Invocation]:
        for command in self.sent.values():
            yield from (each for each in command.invocations.values() if each.details not in ENDED)

    def advance(self) -> dict[str, Instance]:
        """Do all that is due. :returns: the instances whose agents are online."""
        online = self._online()
        for each in self._open():
            if each.details in WAITING or (each.details == "Cancelling" and not each.started):
                self._deliver(each, online.get(each.instance))
            else:
                self._work(each, is_online=each.instance in online)
            if each.details not in ENDED and self._now() >= each.command.expires:
                if each.process:
                    each.process.kill()
                each.details = "DeliveryTimedOut"
        return online

    def _deliver(self, each: Invocation, online: Instance | None) -> None:
        now, agent, command = self._now(), each.agent, each.command
        offline = self._agent(each.instance).offline
        is_delayed = self.is_delayed(Behaviour.LATE_DELIVERIES, command.id)
        if each.details == "Cancelling":
            each.details = "Cancelled"
        elif agent.delivery == "undeliverable" or (online is None and offline == "undeliverable"):
            each.details = "Undeliverable"
        elif agent.delivery == "lost" or is_delayed or now < command.sent + agent.delivery_seconds:
            return
        elif online is None:
            each.details = "Delayed"
        elif now < command.sent + command.delivery_seconds and len(self._processes()) < RUNNING_SCRIPTS:
            each.details, each.started = "InProgress", now
            self._start(each, online)

    def _processes(self) -> list[Invocation]:
        return [each for each in self._open() if each.process and each.process.poll() is None]

    def _start(self, each: Invocation, instance: Instance) -> None:
        agent = self._install(instance)
        if agent.answer is not None or agent.platform == "Windows":
            answer = agent.answer or {}
            self._end(each, int(answer.get("code", 0)), answer.get("stdout", ""), answer.get("stderr", ""))
            return
        command = each.command
        workdir = command.parameter("workingDirectory")
        try:
            each.process = self.machines.start(instance.id, instance.region, command.id, command.script(), workdir)
        except OSError as error:
            self._end(each, 1, "", f"failed to run commands: {error}")

    def _work(self, each: Invocation, *, is_online: bool) -> None:
        if each.process and not each.result:
            self._watch(each, each.process, is_online=is_online)
        if each.result and is_online and each.agent.delivery != "unreported":
            each.details, each.code, each.stdout, each.stderr = each.result

    def _watch(self, each: Invocation, process: Process, *, is_online: bool) -> None:
        details, code = "", process.poll()
        if code is None and each.details == "Cancelling" and is_online:
            details = "Cancelled"
        elif code is None and self._now() >= each.started + each.command.execution_seconds:
            details = "ExecutionTimedOut"
        if details:
            process.kill()
            code = KILLED
        if code is not None:
            self._end(each, code, process.output("stdout"), process.output("stderr"), details)

    def _end(self, each: Invocation, code: int, stdout: str, stderr: str, details: str = "") -> None:
        code = 128 - code if code < 0 else code  # as a shell shows a signal
        if code and not details:
            stderr += f"failed to run commands: exit status {code}"
        each.ended = self._now()
        each.result = details or ("Failed" if code else "Success"), code, stdout, stderr

    def send_command(self, call: Call, params: Params) -> Params | ErrorAnswer:
        name, instances = params["DocumentName"].rpartition("/")[2], params.get("InstanceIds", [])
        document = DOCUMENTS.get(name)
        if not instances:
            return ErrorAnswer("ValidationException", "The emulator sends commands to InstanceIds only.")
        if document is None:
            return ErrorAnswer("InvalidDocument", f"Document with name {name} does not exist.")
        if len(set(instances)) < len(instances):
            return ErrorAnswer("DuplicateInstanceId", "")
        if error := _parameter_problem(document, params.get("Parameters", {})) or self._target_problem(call, instances):
            return error
        if not all(self._agent(each).platform in document.platforms for each in instances):
            return ErrorAnswer("UnsupportedPlatformType", f"The document {name} does not support the platform.")
        command = Command(
            str(uuid.uuid4()),
            call.region,
            name,
            params.get("Comment", ""),
            params.get("Parameters", {}),
            self._now(),
            params.get("TimeoutSeconds", DELIVERY_SECONDS),
        )
        command.invocations = {each: Invocation(command, each, self._agent(each)) for each in instances}
        self.sent[command.id] = command
        answer = {"Command": _command(command)}
        self.woken.set()
        return answer

    def _target_problem(self, call: Call, instances: list[str]) -> ErrorAnswer | None:
        online = self._online()
        here = {each.id for each in self.backend.instances() if each.region == call.region and each.running}
        invalid = [
            each
            for each in instances
            if each not in here & self.registered or (each not in online and self._agent(each).offline == "refused")
        ]
        if not invalid:
            return None
        names = ", ".join(invalid)
        return ErrorAnswer("InvalidInstanceId", f"Instances [[{names}]] not in a valid state for account {ACCOUNT}")

    def _known(self, call: Call, params: Params) -> list[Command]:
        """The commands of the region that the service shows, the latest first, by the id and instance in a call."""
        wanted, instance = params.get("CommandId"), params.get("InstanceId")
        return [
            each
            for each in reversed(self.sent.values())
            if each.region == call.region
            and wanted in (None, each.id)
            and (instance is None or instance in each.invocations)
            and not self.is_delayed(Behaviour.LATE_INVOCATIONS, each.id)
            and all(self._now() >= each.sent + one.agent.unknown_seconds for one in each.invocations.values())
        ]

    def get_command_invocation(self, call: Call, params: Params) -> Params | ErrorAnswer:
        found = self._known(call, params)
        if not found:
            return ErrorAnswer("InvocationDoesNotExist", "")
        each = found[0].invocations[params["InstanceId"]]
        steps = DOCUMENTS[each.command.document].steps
        step = params.get("PluginName") or (each.step if len(steps) == 1 else "")
        if step not in ("", *steps):
            return ErrorAnswer("InvalidPluginName", "")
        is_run = step == each.step and each.details in ENDED
        return {
            **_invocation(each),
            "PluginName": step,
            "ResponseCode": each.code,
            "ExecutionStartDateTime": _iso(each.started),
            "ExecutionElapsedTime": f"PT{max(each.ended - each.started, 0):.3f}S" if each.ended else "",
            "ExecutionEndDateTime": _iso(each.ended) if each.details in ENDED else "",
            "StandardOutputContent": _shortened(each.stdout, STDOUT_LENGTH) if is_run else "",
            "StandardErrorContent": _shortened(each.stderr, STDERR_LENGTH) if is_run else "",
        }

    def list_command_invocations(self, call: Call, params: Params) -> Params | ErrorAnswer:
        instance, is_detailed = params.get("InstanceId"), params.get("Details", False)
        found = [
            {**_invocation(each), "RequestedDateTime": each.command.sent, "CommandPlugins": _steps(each, is_detailed)}
            for command in self._known(call, params)
            for each in command.invocations.values()
            if instance in (None, each.instance)
        ]
        return _filtered_page("CommandInvocations", found, params)

    def list_commands(self, call: Call, params: Params) -> Params | ErrorAnswer:
        return _filtered_page("Commands", [_command(each) for each in self._known(call, params)], params)

    def cancel_command(self, call: Call, params: Params) -> Params | ErrorAnswer:
        found, instances = self._known(call, {"CommandId": params["CommandId"]}), params.get("InstanceIds", [])
        if not found:
            return ErrorAnswer("InvalidCommandId", "")
        if len(set(instances)) < len(instances):
            return ErrorAnswer("DuplicateInstanceId", "")
        invocations = found[0].invocations
        if not set(instances) <= invocations.keys():
            return ErrorAnswer("InvalidInstanceId", "")
        for each in instances or invocations:
            if invocations[each].details not in ENDED:
                invocations[each].details = "Cancelling"
        return {}

    def describe_instance_information(self, call: Call, params: Params) -> Params | ErrorAnswer:
        online = self._online()
        found = [
            _information(each, self._agent(each.id), is_online=each.id in online, now=self._now())
            for each in self.backend.instances()
            if each.running and each.region == call.region and each.id in self.registered
        ]
        filters = [(each["Key"], each["Values"]) for each in params.get("Filters", [])]
        filters += [(each["key"], each["valueSet"]) for each in params.get("InstanceInformationFilterList", [])]
        keys = {"InstanceIds": "InstanceId", "PingStatus": "PingStatus", "PlatformTypes": "PlatformType"}
        for key, values in filters:
            if key not in keys:
                return ErrorAnswer("InvalidFilterKey", f"The emulator has no filter {key}.")
            found = [each for each in found if each[keys[key]] in values]
        return _page("InstanceInformationList", found, params, 10)


ACTIONS: dict[str, Callable[[RunCommand, Call, Params], Params | ErrorAnswer]] = {
    "SendCommand": RunCommand.send_command,
    "GetCommandInvocation": RunCommand.get_command_invocation,
    "ListCommandInvocations": RunCommand.list_command_invocations,
    "ListCommands": RunCommand.list_commands,
    "CancelCommand": RunCommand.cancel_command,
    "DescribeInstanceInformation": RunCommand.describe_instance_information,
}


def _parameter_problem(document: Document, parameters: dict[str, list[str]]) -> ErrorAnswer | None:
    names = parameters.keys()
    if not document.required <= names <= document.required | document.optional:
        return ErrorAnswer("InvalidParameters", "")
    seconds = parameters.get("executionTimeout", ["1"])[0]
    if not re.fullmatch(r"[1-9]\d{0,5}", seconds) or int(seconds) > 172800:
        return ErrorAnswer("InvalidParameters", "executionTimeout must be between 1 and 172800 seconds")
    return None


def _status(details: str) -> str:
    return STATUSES.get(details, details)


def _command(command: Command) -> Params:
    counts = command.counts()
    return {
        "CommandId": command.id,
        "DocumentName": command.document,
        "DocumentVersion": "$DEFAULT",
        "Comment": command.comment,
        "ExpiresAfter": command.expires,
        "Parameters": command.parameters,
        "InstanceIds": list(command.invocations),
        "Targets": [],
        "RequestedDateTime": command.sent,
        "Status": _status(command.details),
        "StatusDetails": command.details,
        "MaxConcurrency": "50",
        "MaxErrors": "0",
        "TargetCount": counts.total(),
        "CompletedCount": sum(counts[each] for each in ENDED),
        "ErrorCount": counts["Failed"] + counts["ExecutionTimedOut"],
        "DeliveryTimedOutCount": counts["DeliveryTimedOut"],
        "TimeoutSeconds": int(command.delivery_seconds),
    }


def _invocation(each: Invocation) -> Params:
    return {
        "CommandId": each.command.id,
        "InstanceId": each.instance,
        "Comment": each.command.comment,
        "DocumentName": each.command.document,
        "DocumentVersion": "$DEFAULT",
        "Status": _status(each.details),
        "StatusDetails": each.details,
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
    }


def _steps(each: Invocation, is_detailed: bool) -> list[Params]:
    """The steps of an invocation as ListCommandInvocations has them. Those for other platforms are skipped."""
    if not is_detailed or not each.started:
        return []
    output = each.stdout + (f"\n----------ERROR-------\n{each.stderr}" if each.stderr else "")
    times = {"ResponseStartDateTime": each.started, "ResponseFinishDateTime": each.ended}
    steps = []
    for name, platform in DOCUMENTS[each.command.document].steps.items():
        if name == each.step:
            status, text, code = each.details, _shortened(output, OUTPUT_LENGTH), each.code
        else:
            condition = f'"StringEquals": [platformType, {platform}]'
            text = f"Step execution skipped due to unsatisfied preconditions: '{condition}'. Step name: {name}"
            status, code = "Success", 0
        step = {"Name": name, "Status": _status(status), "StatusDetails": status, "ResponseCode": code, "Output": text}
        steps.append({**step, **(times if each.details in ENDED else {})})
    return steps


def _information(instance: Instance, agent: Agent, *, is_online: bool, now: float) -> Params:
    names = {"Linux": ("Amazon Linux", "2023"), "Windows": ("Microsoft Windows Server 2022 Datacenter", "10.0.20348")}
    name, version = names[agent.platform]
    return {
        "InstanceId": instance.id,
        "PingStatus": "Online" if is_online else "ConnectionLost",
        "LastPingDateTime": now,
        "AgentVersion": "3.3.0.0",
        "IsLatestVersion": True,
        "PlatformType": agent.platform,
        "PlatformName": name,
        "PlatformVersion": version,
        "ResourceType": "EC2Instance",
        "SourceId": instance.id,
        "SourceType": "AWS::EC2::Instance",
    }


def _filtered_page(name: str, found: list[Params], params: Params) -> Params | ErrorAnswer:
    keys = {"Status": "StatusDetails", "DocumentName": "DocumentName"}
    for each in params.get("Filters", []):
        if each["key"] not in keys:
            return ErrorAnswer("InvalidFilterKey", f"The emulator has no filter {each['key']}.")
        found = [one for one in found if one[keys[each["key"]]] == each["value"]]
    return _page(name, found, params, 50)


def _page(name: str, found: list[Params], params: Params, size: int) -> Params | ErrorAnswer:
    token = params.get("NextToken") or "0"
    if not token.isdigit():
        return ErrorAnswer("InvalidNextToken", "")
    end = int(token) + int(params.get("MaxResults", size))
    return {name: found[int(token) : end], **({"NextToken": str(end)} if end < len(found) else {})}


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - len(TRUNCATED)] + TRUNCATED


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else ""
