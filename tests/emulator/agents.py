"""SSM agents: which are online, and how they run the commands that are sent to them.

An agent is online where the instance runs and has credentials of a role that may call ssm:UpdateInstanceInformation.
``hybrid.py`` explains the agents of on-premises servers.
It differs from AWS as follows:

- Agents notice a change of their permissions at once, unless ``Agent.swap_seconds`` is set.
- A command is delivered at once, unless it is delayed; but few scripts run at a time.
- A command for an agent that is offline is refused. AWS also accepts it, depending on how long the agent was away.
- Nothing runs on Windows: the answer is ``Agent.answer``.
- Processes that a script leaves running end with it.
"""

from __future__ import annotations

import logging
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .backend import Backend, Instance, Profile
from .hybrid import Hybrid
from .imds import InstanceMetadata
from .machines import AGENT_CONTROL, KILLED, Machines, Process
from .unkind import Behaviour

TICK_SECONDS = 0.05
RUNNING_SCRIPTS = 16
"""How many scripts run at a time, since all instances are this machine."""
PERMISSION = "ssm:UpdateInstanceInformation"
EXECUTION_SECONDS = 3600
"""By default, how long a script may run."""

WAITING = ("Pending", "Delayed")
ENDED = ("Success", "Failed", "ExecutionTimedOut", "DeliveryTimedOut", "Cancelled", "Undeliverable")
"""The final states of an invocation. A command gets the first of these, except Success, that an invocation has."""


@dataclass(frozen=True)
class Agent:
    """How the agent of an instance behaves, and what is installed beside it.

    :param platform: ``Linux`` or ``Windows``, as Systems Manager and EC2 show it.
    :param aws_cli: whether the AWS CLI is installed.
    :param cloudwatch_agent: whether the CloudWatch agent is installed.
    :param running: whether the SSM agent runs and can reach Systems Manager.
    :param delivery: of the next commands: ``normal``; ``lost`` on the way to the agent; ``undeliverable``; or
        ``unreported``, which run but whose result is lost.
    :param delivery_seconds: how much later than sent a command is delivered.
    :param unknown_seconds: how long all calls but SendCommand do not know a new command.
    :param swap_seconds: how long the agent is offline after the instance has another instance profile.
    :param new_fingerprint: whether the hardware of a hybrid server has changed, so that it gets no new credentials.
    :param answer: the ``code``, ``stdout`` and ``stderr`` of all scripts, which then do not run.
    """

    platform: str = "Linux"
    aws_cli: bool = True
    cloudwatch_agent: bool = False
    running: bool = True
    delivery: str = "normal"
    delivery_seconds: float = 0.0
    unknown_seconds: float = 0.0
    swap_seconds: float = 0.0
    new_fingerprint: bool = False
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


MANAGE_AGENT = "AmazonCloudWatch-ManageAgent"
DOCUMENTS = {
    "AWS-RunShellScript": Document(
        frozenset({"commands"}), frozenset({"executionTimeout"}), {"aws:runShellScript": ""}, frozenset({"Linux"})
    ),
    MANAGE_AGENT: Document(
        frozenset({"action"}),
        frozenset({"mode", "optionalConfigurationSource", "optionalConfigurationLocation", "optionalRestart"}),
        {"ControlCloudWatchAgentWindows": "Windows", "ControlCloudWatchAgentLinux": "Linux"},
    ),
}


@dataclass
class Command:
    """A command as it was sent. Times are Unix seconds by the clock of the backend."""

    id: str
    account: str
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
    """A command on one instance. The agent has reported ``code`` and the outputs."""

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
class Agents:
    """The agents of all instances.

    ``is_delayed`` returns whether an unkind behaviour delays a command, or the agent of an instance. ``seen`` maps each
    agent that was ever online to the time when it was last online.
    """

    backend: Backend
    metadata: InstanceMetadata
    machines: Machines
    is_delayed: Callable[[Behaviour, str], bool]
    hybrid: Hybrid
    default: Agent = field(default_factory=Agent)
    chosen: dict[str, Agent] = field(default_factory=dict)
    queue: list[Invocation] = field(default_factory=list)
    seen: dict[str, float] = field(default_factory=dict)
    profiles: dict[str, tuple[Profile | None, float]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    woken: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hybrid.agents = self
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        """Let the agents work as long as there are open invocations."""
        while self.woken.wait():
            with self.lock:
                try:
                    self.advance()
                except Exception:
                    logging.getLogger(__name__).exception("the SSM agents failed")
                if not self.queue:
                    self.woken.clear()
            time.sleep(TICK_SECONDS)

    def reset(self) -> None:
        self.machines.reset()
        self.default = Agent()
        for kept in (self.chosen, self.queue, self.seen, self.profiles):
            kept.clear()

    def put(self, command: Command) -> None:
        """Take a command for delivery."""
        self.queue += command.invocations.values()
        self.woken.set()

    def configure(self, instances: list[str], settings: dict[str, Any]) -> dict[str, Any]:
        """Change settings of these agents, or of all, and return all agents by instance."""
        with self.lock:
            if not instances:
                self.default = replace(self.default, **settings)
                self.chosen = {each: replace(agent, **settings) for each, agent in self.chosen.items()}
            for each in instances:
                self.chosen[each] = replace(self.agent(each), **settings)
            online = self.advance()
            return {
                each.id: {
                    **asdict(self._install(each)),
                    "online": each.id in online,
                    "disk": str(self.machines.disk(each.id)),
                    "environment": self.machines.environment(each.id, each.region),
                }
                for each in self.instances()
            }

    def instances(self) -> list[Instance]:
        """The instances, and the nodes that are hybrid servers."""
        return [*self.backend.instances(), *self.hybrid.instances()]

    def last_seen(self, instance: str) -> float | None:
        """When the agent was last online. A node is listed even if it never was."""
        node = self.hybrid.nodes.get(instance)
        return self.seen.get(instance, node.registered if node else None)

    def agent(self, instance: str) -> Agent:
        return self.chosen.get(instance, self.default)

    def show_windows(self, body: bytes) -> bytes:
        """The answer of DescribeInstances, with the element that EC2 has for instances with Windows only."""
        for instance, agent in self.chosen.items():
            if agent.platform == "Windows":
                id_element = f"<instanceId>{instance}</instanceId>".encode()
                body = body.replace(id_element, id_element + b"<platform>windows</platform>")
        return body

    def _install(self, instance: Instance) -> Agent:
        agent = self.agent(instance.id)
        self.machines.install(
            instance.id, instance.region, aws_cli=agent.aws_cli, cloudwatch_agent=agent.cloudwatch_agent
        )
        return agent

    def find_online(self) -> dict[str, Instance]:
        """The instances whose agents are online."""
        allowed: dict[str, bool] = {}
        online = {}
        for instance in self.backend.instances():
            profile = self.metadata.profile(instance, self.metadata.credentials_lag)
            if instance.running and self.profiles.get(instance.id, (None, 0.0))[0] != profile:
                self.profiles[instance.id] = profile, self.now()
            if profile is None or not self.agent(instance.id).running or self._is_away(instance.id):
                continue
            if profile.role_arn not in allowed:
                allowed[profile.role_arn] = bool(profile.role) and self.backend.allows(profile, PERMISSION)
            if allowed[profile.role_arn] and profile.trusts_ec2 and self.metadata.has_credentials(instance.id):
                online[instance.id] = instance
        online.update(self.hybrid.find_online())
        self.seen.update(dict.fromkeys(online, self.now()))
        return online

    def _is_away(self, instance: str) -> bool:
        back = self.profiles[instance][1] + self.agent(instance).swap_seconds
        return self.now() < back or self.is_delayed(Behaviour.AWAY_AGENTS, instance)

    def now(self) -> float:
        return self.backend.now().timestamp()

    def advance(self) -> dict[str, Instance]:
        """Do all that is due. :returns: the instances whose agents are online."""
        online = self.find_online()
        for each in self.queue:
            if each.details in WAITING or (each.details == "Cancelling" and not each.started):
                self._deliver(each, online.get(each.instance))
            else:
                self._work(each, is_online=each.instance in online)
            if each.details not in ENDED and self.now() >= each.command.expires:
                if each.process:
                    each.process.kill()
                each.details = "DeliveryTimedOut"
        self.queue = [each for each in self.queue if each.details not in ENDED]
        return online

    def _deliver(self, each: Invocation, online: Instance | None) -> None:
        now, agent, command = self.now(), each.agent, each.command
        is_delayed = self.is_delayed(Behaviour.LATE_DELIVERIES, command.id)
        if each.details == "Cancelling":
            each.details = "Cancelled"
        elif agent.delivery == "undeliverable":
            each.details = "Undeliverable"
        elif agent.delivery == "lost" or is_delayed or now < command.sent + agent.delivery_seconds:
            return
        elif online is None:
            each.details = "Delayed"
        elif now < command.sent + command.delivery_seconds and len(self._processes()) < RUNNING_SCRIPTS:
            each.details, each.started = "InProgress", now
            self._start(each, online)

    def _processes(self) -> list[Invocation]:
        return [each for each in self.queue if each.process and each.process.poll() is None]

    def _start(self, each: Invocation, instance: Instance) -> None:
        agent = self._install(instance)
        if agent.answer is not None or agent.platform == "Windows":
            answer = agent.answer or {}
            self._end(each, int(answer.get("code", 0)), answer.get("stdout", ""), answer.get("stderr", ""))
            return
        command = each.command
        each.process = self.machines.start(instance.id, instance.region, command.id, command.script())

    def _work(self, each: Invocation, *, is_online: bool) -> None:
        if each.process and not each.result:
            self._watch(each, each.process, is_online=is_online)
        if each.result and is_online and each.agent.delivery != "unreported":
            each.details, each.code, each.stdout, each.stderr = each.result

    def _watch(self, each: Invocation, process: Process, *, is_online: bool) -> None:
        details, code = "", process.poll()
        if code is None and each.details == "Cancelling" and is_online:
            details = "Cancelled"
        elif code is None and self.now() >= each.started + each.command.execution_seconds:
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
        each.ended = self.now()
        each.result = details or ("Failed" if code else "Success"), code, stdout, stderr
