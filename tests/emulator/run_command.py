"""Run Command of Systems Manager, which really runs scripts, and its list of instances.

``Emulator.agents`` shows the SSM agents, which ``agents.py`` explains, and changes how they behave.
``Emulator.commands`` shows the commands that were sent. ``machines.py`` explains what a script finds on its instance.

It differs from AWS as follows:

- Only ``InstanceIds`` are targets. ``MaxConcurrency`` and ``MaxErrors`` have no effect.
- There are two documents, each in one version. A command with a reference to a parameter, ``{{ssm:name}}``, is
  refused. AWS resolves the reference.
- Only ministack enforces who may send a command.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .agents import DOCUMENTS, ENDED, Agent, Agents, Command, Document, Invocation
from .backend import Instance, account_of
from .paging import page_of_items
from .unkind import Behaviour
from .validation import find_problem
from .wire import Call, ErrorAnswer

Params = dict[str, Any]

STDOUT_LENGTH, STDERR_LENGTH, OUTPUT_LENGTH = 24000, 8000, 2500
TRUNCATED = "--output truncated--"
DELIVERY_SECONDS = 3600
"""By default, how long a command waits for its agent."""
STATUSES = {"DeliveryTimedOut": "TimedOut", "ExecutionTimedOut": "TimedOut", "Undeliverable": "Failed"}
"""By status details, the status where it differs."""


@dataclass
class RunCommand:
    agents: Agents
    sent: dict[str, Command] = field(default_factory=dict)
    unanswered: list[Command] = field(default_factory=list)

    def reset(self) -> None:
        with self.agents.lock:
            self.agents.reset()
            self.sent.clear()

    def commands(self) -> list[dict[str, Any]]:
        """All commands as they are, whether or not the service already shows it."""
        with self.agents.lock:
            self.agents.advance()
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

    def respond(self, call: Call, params: Params) -> Params | ErrorAnswer:
        with self.agents.lock:
            self.agents.advance()
            return find_problem(call.action, params) or ACTIONS[call.action](self, call, params)

    def observe(self) -> None:
        """Let the agents see changes, and deliver commands whose senders have their answers."""
        with self.agents.lock:
            while self.unanswered:
                self.agents.put(self.unanswered.pop())
            self.agents.find_online()

    def send_command(self, call: Call, params: Params) -> Params | ErrorAnswer:
        name, instances = params["DocumentName"].rpartition("/")[2], params.get("InstanceIds", [])
        document = DOCUMENTS.get(name)
        if not instances:
            return ErrorAnswer("ValidationException", "The emulator sends commands to InstanceIds only.")
        if document is None:
            return ErrorAnswer("InvalidDocument", f"Document with name {name} does not exist.")
        if params.get("DocumentVersion", "1") not in ("1", "$DEFAULT", "$LATEST"):
            return ErrorAnswer("InvalidDocumentVersion", "")
        if len(set(instances)) < len(instances):
            return ErrorAnswer("DuplicateInstanceId", "")
        if error := _parameter_problem(document, params.get("Parameters", {})) or self._target_problem(call, instances):
            return error
        if not all(self.agents.agent(each).platform in document.platforms for each in instances):
            return ErrorAnswer("UnsupportedPlatformType", f"The document {name} does not support the platform.")
        command = Command(
            str(uuid.uuid4()),
            account_of(call.principal),
            call.region,
            name,
            params.get("Comment", ""),
            params.get("Parameters", {}),
            self.agents.now(),
            params.get("TimeoutSeconds", DELIVERY_SECONDS),
        )
        command.invocations = {each: Invocation(command, each, self.agents.agent(each)) for each in instances}
        self.sent[command.id] = command
        self.unanswered.append(command)
        return {"Command": _command(command)}

    def _target_problem(self, call: Call, instances: list[str]) -> ErrorAnswer | None:
        online = self.agents.find_online()
        here = {each.id for each in self.agents.instances() if _is_in(call, each.account, each.region)}
        invalid = [each for each in instances if each not in here or each not in online]
        if not invalid:
            return None
        names = ", ".join(invalid)
        return ErrorAnswer(
            "InvalidInstanceId", f"Instances [[{names}]] not in a valid state for account {account_of(call.principal)}"
        )

    def _known(self, call: Call, params: Params) -> list[Command]:
        """The commands that the service shows where the call is made, the latest first, by its id and instance."""
        wanted, instance = params.get("CommandId"), params.get("InstanceId")
        return [
            each
            for each in reversed(self.sent.values())
            if _is_in(call, each.account, each.region)
            and wanted in (None, each.id)
            and (instance is None or instance in each.invocations)
            and not self.agents.is_delayed(Behaviour.LATE_INVOCATIONS, each.id)
            and all(self.agents.now() >= each.sent + one.agent.unknown_seconds for one in each.invocations.values())
        ]

    def get_command_invocation(self, call: Call, params: Params) -> Params | ErrorAnswer:
        found = self._known(call, params)
        if not found:
            return ErrorAnswer("InvocationDoesNotExist", "")
        each = found[0].invocations[params["InstanceId"]]
        steps = DOCUMENTS[each.command.document].steps
        step = each.step if len(steps) == 1 else ""
        is_run = step and each.details in ENDED
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
        online = self.agents.find_online()
        found = [
            {
                **_information(each, self.agents.agent(each.id), is_online=each.id in online, seen=seen),
                **self.agents.hybrid.information(each.id),
            }
            for each in self.agents.instances()
            if each.running and _is_in(call, each.account, each.region) and (seen := self.agents.last_seen(each.id))
        ]
        for key, values in ((each["Key"], each["Values"]) for each in params.get("Filters", [])):
            if key.startswith("tag:"):
                name = key.removeprefix("tag:")
                found = [one for one in found if self.agents.hybrid.tags(one["InstanceId"]).get(name) in values]
            elif key in INSTANCE_FILTERS:
                found = [one for one in found if one.get(INSTANCE_FILTERS[key]) in values]
            else:
                return ErrorAnswer("InvalidFilterKey", f"The emulator has no filter {key}.")
        return page_of_items("InstanceInformationList", found, params, 10)


INSTANCE_FILTERS = {"InstanceIds": "InstanceId", "ActivationIds": "ActivationId", "ResourceType": "ResourceType"}
"""By filter, the member of the answer. It knows only the tags of hybrid servers."""

ACTIONS: dict[str, Callable[[RunCommand, Call, Params], Params | ErrorAnswer]] = {
    "SendCommand": RunCommand.send_command,
    "GetCommandInvocation": RunCommand.get_command_invocation,
    "ListCommandInvocations": RunCommand.list_command_invocations,
    "ListCommands": RunCommand.list_commands,
    "CancelCommand": RunCommand.cancel_command,
    "DescribeInstanceInformation": RunCommand.describe_instance_information,
}


def _is_in(call: Call, account: str, region: str) -> bool:
    """Whether a call is made in an account and region."""
    return (account_of(call.principal), call.region) == (account, region)


def _parameter_problem(document: Document, parameters: dict[str, list[str]]) -> ErrorAnswer | None:
    names = parameters.keys()
    if not document.required <= names <= document.required | document.optional:
        return ErrorAnswer("InvalidParameters", "")
    seconds = parameters.get("executionTimeout", ["1"])[0]
    if not re.fullmatch(r"[1-9]\d{0,5}", seconds) or int(seconds) > 172800:
        return ErrorAnswer("InvalidParameters", "executionTimeout must be between 1 and 172800 seconds")
    if re.search(r"\{\{\s*ssm(-secure)?:", json.dumps(parameters)):
        return ErrorAnswer("InvalidParameters", "The emulator does not resolve references to parameters.")
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


def _information(instance: Instance, agent: Agent, *, is_online: bool, seen: float) -> Params:
    names = {"Linux": ("Amazon Linux", "2023"), "Windows": ("Microsoft Windows Server 2022 Datacenter", "10.0.20348")}
    name, version = names[agent.platform]
    return {
        "InstanceId": instance.id,
        "PingStatus": "Online" if is_online else "ConnectionLost",
        "LastPingDateTime": seen,
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
    for each in params.get("Filters", []):
        if each["key"] != "InvokedAfter":
            return ErrorAnswer("InvalidFilterKey", f"The emulator has no filter {each['key']}.")
        after = datetime.fromisoformat(each["value"]).timestamp()
        found = [one for one in found if one["RequestedDateTime"] >= after]
    return page_of_items(name, found, params, 50)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - len(TRUNCATED)] + TRUNCATED


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else ""
