# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server to check, its facts, the findings of the checks, and the names that its agent gives to data. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.findings import ERROR, NOTICE, SERVER, Finding, Rule
from .configs_plan import AgentFiles, Command, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping


_BOTH = (ERROR, NOTICE)
IDENTITY = Rule("identity", SERVER, _BOTH, "its instance profile, access key or node is missing or wrong")
PERMISSIONS = Rule("permissions", SERVER, _BOTH, "its role or user lacks permissions")
WRITING = Rule("writing", SERVER, (ERROR,), "its role or user may write configurations")
CONFIGURATION = Rule("configuration", SERVER, _BOTH, "a configuration is not stored, or the server does not read it")
ENDPOINTS = Rule("endpoints", SERVER, _BOTH, "it does not reach an endpoint")
AGENT = Rule("agent", SERVER, _BOTH, "the agent does not run the stored configuration")
DATA = Rule("data", SERVER, _BOTH, "its data does not arrive in CloudWatch")
# The checks of a server, in the order of the table, with their rules.
CHECKS = {
    IDENTITY.name: (IDENTITY,),
    PERMISSIONS.name: (PERMISSIONS, WRITING),
    CONFIGURATION.name: (CONFIGURATION,),
    ENDPOINTS.name: (ENDPOINTS,),
    AGENT.name: (AGENT,),
    DATA.name: (DATA,),
}
RULES = [rule for rules in CHECKS.values() for rule in rules]
# The rules without which an agent cannot run a configuration. The last one matters only where the agent is restarted.
_NEEDED = {each.name for each in (IDENTITY, PERMISSIONS, CONFIGURATION, ENDPOINTS)}
NOT_INSTALLED = "not installed"
# How to collect facts from servers. Their ``seen_by`` is one of the two in the middle.
AUTO, ANSIBLE, RUN_COMMAND, NONE = WAYS = ("auto", "ansible", "run_command", "none")
# The services through which an SSM agent gets commands. One is enough: newer agents use the first, older ones the last.
MESSAGE_SERVICES = ("ssmmessages", "ec2messages")


@dataclass(frozen=True)
class Target:
    """A server to check.

    :param instance_id: the ID of an EC2 instance. Empty for an on-premises server.
    :param user: the user of an on-premises server.
    :param is_hybrid: whether it is an on-premises server that is registered with Systems Manager.
    :param configs: the names of the configurations that it uses. Empty for all that are stored in its region.
    """

    host: str
    region: str
    instance_id: str = ""
    user: str = ""
    is_hybrid: bool = False
    configs: tuple[str, ...] = ()


def failure(rule: Rule, why: str, fix: str) -> Finding:
    """Return the finding of a check that failed. The server adds its name."""
    return rule.finding("", why, fix)


def note(rule: Rule, why: str) -> Finding:
    """Return the finding of a check without a result. :param why: the reason."""
    return rule.finding("", why, "", severity=NOTICE)


@dataclass(frozen=True)
class Config:
    """A stored parameter with a configuration, or a part of one.

    :param digest: the digest of its value. Empty if the value is encrypted or could not be read.
    :param is_readable: whether the server may read it, according to IAM; ``None`` for unknown.
    """

    name: str
    version: int
    digest: str = ""
    is_readable: bool | None = None


@dataclass(frozen=True)
class Series:
    """A metric with exactly its dimensions.

    :param dimensions: pairs of a name and a value, in the order of the names.
    :param period: the seconds between two points, as a period of CloudWatch.
    :param seconds: how long after its start the agent sends the first point, at most.
    """

    region: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    period: int
    seconds: int

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Series:
        """Return the metric in a result, in which pairs are lists."""
        return cls(**{**found, "dimensions": tuple((name, value) for name, value in found["dimensions"])})


@dataclass(frozen=True)
class Sender:
    """The facts about the server whose agent sends the data. ``None`` stands for a fact that is not known.

    :param platform: ``Linux``, ``Windows`` or ``MacOS``.
    :param region: the region of its agent, unless the configuration contains one.
    :param account: the account of its agent, unless the configuration contains a role.
    :param instance_id: the ID of the EC2 instance. Empty if the server is not on EC2.
    :param hostname: the name that its operating system reports.
    :param hostname_of_ec2: the private DNS name of the instance.
    :param auto_scaling_group: empty for none.
    """

    platform: str
    region: str
    account: str
    instance_id: str = ""
    hostname: str | None = None
    hostname_of_ec2: str | None = None
    ip_address: str | None = None
    image_id: str | None = None
    instance_type: str | None = None
    auto_scaling_group: str | None = None

    @property
    def identities(self) -> frozenset[str]:
        """The texts that stand for this server and no other."""
        return frozenset(filter(None, (self.instance_id, self.hostname, self.hostname_of_ec2)))


@dataclass(frozen=True)
class Server:
    """A server, its desired state, and the findings of the checks.

    Each check adds what it found, and later checks read it.

    :param is_hybrid: whether it is an on-premises server that is registered with Systems Manager.
    :param node_id: the ID of its node in Systems Manager. Empty if it has none, or several.
    :param role: the role of its node.
    :param is_running: whether facts can be collected from it.
    :param is_windows: whether EC2 or Systems Manager reports that it runs Windows, where no facts can be collected.
    :param profile: the instance profile that EC2 has associated.
    :param key_id: the saved access key of the user.
    :param configs: the configurations that it uses, in the order in which the agent fetches and appends them.
    :param similar: the other parameters in its region whose files look like a version or a label of one of them.
    :param runs_all: whether the agent is to run all of them, not only some.
    :param endpoints: by service or host, the address that the server is to reach.
    :param possible_endpoints: the addresses that it is to reach if it uses a configuration which needs them.
    :param seen_by: how its facts were collected. Empty if they were not.
    :param agent: the status of the agent. Empty if it is not known.
    :param running: by configuration, the digest of the text that the agent runs.
    :param label: the label of versions that were proved. Empty for none.
    :param runs: the configurations that the agent is to run. Empty if these are not known.
    :param is_refused: whether the agent failed with a version that was not proved, or has ended.
    :param in_trial: whether it runs a version that was not proved, because a run was interrupted.
    :param commands: the calls of the agent's control program that make the agent run these configurations.
    :param renames: the final names of the files of these configurations, once they are proved.
    :param watch_seconds: how long to watch the agent after its restart.
    :param sender: the properties from which its agent names its data. ``None`` if they are not known.
    :param launched: when EC2 started it, in Unix seconds; 0 if that is not known.
    :param ahead: its time minus the time of the controller, in seconds. ``None`` if that is not known.
    :param started: when its agent started, in Unix seconds by its clock; 0 if that is not known.
    :param runs_others: whether the agent also runs configurations that are not among ``configs``.
    :param probe: the metric that proves that its agent sends. ``None`` if there is none, or if none is needed.
    :param unproved: why no metric proves that, as a sentence without its full stop. Empty if one does.
    :param newest: when the newest data of it was sent, in Unix seconds; 0 if that is not known.
    :param data_age: how old that was then, in seconds.
    """

    host: str
    region: str
    instance_id: str = ""
    user: str = ""
    is_hybrid: bool = False
    node_id: str = ""
    role: str = ""
    is_running: bool = True
    is_windows: bool = False
    profile: str | None = None
    key_id: str = ""
    configs: tuple[Config, ...] = ()
    similar: tuple[str, ...] = ()
    runs_all: bool = True
    endpoints: Mapping[str, str] = field(default_factory=dict)
    possible_endpoints: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    seen_by: str = ""
    agent: str = ""
    running: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    runs: tuple[Wanted, ...] = ()
    is_refused: bool = False
    in_trial: bool = False
    commands: tuple[Command, ...] = ()
    renames: tuple[Command, ...] = ()
    watch_seconds: int = 0
    sender: Sender | None = None
    launched: int = 0
    ahead: int | None = None
    started: int = 0
    runs_others: bool = False
    probe: Series | None = None
    unproved: str = ""
    newest: int = 0
    data_age: int = 0

    @property
    def is_ec2(self) -> bool:
        """Whether it is an EC2 instance."""
        return bool(self.instance_id)

    @property
    def managed_id(self) -> str:
        """The ID with which Run Command reaches it. Empty for an on-premises server with an access key."""
        return self.instance_id or self.node_id

    @property
    def has_key(self) -> bool:
        """Whether it is an on-premises server with an access key. Systems Manager does not know such a server."""
        return not self.is_ec2 and not self.is_hybrid

    @property
    def mode(self) -> str:
        """The mode of the agent's control program."""
        return "ec2" if self.is_ec2 else "onPremise"

    def fails(self, *rules: Rule) -> bool:
        """Return whether the server breaks one of some rules."""
        return not {each.rule for each in self.failures}.isdisjoint(rule.name for rule in rules)

    def status(self, check: str) -> str:
        """Return the result of a check in one word, for the table."""
        if self.fails(*CHECKS[check]):
            return "FAIL"
        if check in (AGENT.name, DATA.name) and self.agent == NOT_INSTALLED:
            return "none"
        if check == DATA.name:
            return "ok" if self.newest else "?"
        return "?" if any(each.rule == check for each in self.notes) else "ok"

    @property
    def needs_trial(self) -> bool:
        """Whether the version that the agent is to run has to be proved on it."""
        return bool(self.commands) or self.in_trial

    @property
    def is_current(self) -> bool:
        """Whether the agent runs the stored configuration."""
        return bool(self.runs) and not self.commands and not self.fails(AGENT)

    @property
    def is_applied_to(self) -> bool:
        """Whether the version that the agent is to run was not proved on it yet, even if it cannot get that version."""
        return self.needs_trial or bool(self.apply_failure)

    @property
    def can_run_earlier(self) -> bool:
        """Whether it can run another version than the stored one, once the configuration was applied on the others.

        Then the facts from inside it are not known. A server without an agent runs none.
        """
        return self.agent != NOT_INSTALLED and not self.runs

    @property
    def apply_failure(self) -> str:
        """Why the configuration cannot be applied; empty if it can, or if there is nothing to apply.

        AWS would deny the calls of an agent without permissions, and the log of an agent shows an endpoint that it does
        not reach only after minutes. So such an agent goes on with its configuration.
        """
        if self.is_windows or not self.is_running or self.agent == NOT_INSTALLED or self.is_current:
            return ""
        lacks = [each.why for each in self.failures if each.rule in _NEEDED]
        if self.commands:
            return " ".join(lacks)
        has_reason = not self.seen_by or self.fails(IDENTITY, PERMISSIONS, CONFIGURATION)
        return " ".join(each.why for each in self.failures) if has_reason else ""

    def adding(self, *found: Finding) -> Server:
        """Return the server with further findings."""
        ours = [replace(each, object=self.host, region=self.region) for each in found]
        failures = [each for each in ours if each.severity == ERROR]
        notes = [each for each in ours if each.severity != ERROR]
        return replace(self, failures=(*self.failures, *failures), notes=(*self.notes, *notes))

    def to_dict(self) -> dict[str, Any]:
        """Render the server for a result."""
        status = {check: self.status(check) for check in CHECKS}
        shown = {"status": status, "apply_failure": self.apply_failure, "needs_trial": self.needs_trial}
        return {**asdict(self), **shown}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Server:
        """Return the server in a result. :raises InvalidInput: it is not a server of a result."""
        plain = {key: value for key, value in found.items() if key not in ("status", "apply_failure", "needs_trial")}
        try:
            for key, kind in _PARTS:
                plain[key] = tuple(kind(**each) for each in plain[key])
            plain["sender"] = plain["sender"] and Sender(**plain["sender"])
            plain["probe"] = plain["probe"] and Series.from_dict(plain["probe"])
            return cls(**plain)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InvalidInput("A server does not have the form in which cwagent_server_info returns it.") from None


_PARTS = (
    *(("configs", Config), ("failures", Finding), ("notes", Finding)),
    *(("runs", Wanted), ("commands", Command), ("renames", Command)),
)


@dataclass(frozen=True)
class Reading:
    """The result of reading a parameter on a server. :param error: why the server got nothing."""

    version: int = 0
    digest: str = ""
    error: str = ""


@dataclass(frozen=True)
class Facts:
    """The facts that a server reports.

    :param has_metadata: whether its metadata service answers; ``None`` if it has no curl to ask with.
    :param profile: the instance profile in its metadata.
    :param key_id: the access key in its credentials file; ``None`` if that may not be read.
    :param key_file: the path of that file.
    :param shared_file: the file in which the SSM agent keeps its credentials, if the agent does not use that one.
    :param caller: the ARN of the user whose key it is, or of the session.
    :param caller_error: why AWS did not return the caller.
    :param endpoints: by service or host, the HTTP status; 0 for no answer.
    :param configs: by name, the results of reading parameters. Empty if it has no AWS CLI to read them with.
    :param agent: the status that the agent's control program prints. Empty if it is not installed.
    :param files: the configurations that the agent runs.
    :param is_refused: whether the log since the agent's start has a denial or missing credentials. It is read only if
        the agent runs a version that was not proved.
    :param hostname: the name that the server has itself.
    :param clock: its time, in Unix seconds; 0 if it is not known.
    :param start: when its agent started, by its clock, in Unix seconds; 0 if it is not known.
    """

    has_metadata: bool | None = True
    profile: str | None = None
    key_id: str | None = ""
    key_file: str = ""
    shared_file: str = ""
    caller: str = ""
    caller_error: str = ""
    endpoints: Mapping[str, int] = field(default_factory=dict)
    has_cli: bool = True
    configs: Mapping[str, Reading] = field(default_factory=dict)
    agent: str = ""
    files: AgentFiles = field(default_factory=AgentFiles)
    is_refused: bool = False
    hostname: str = ""
    clock: int = 0
    start: int = 0
