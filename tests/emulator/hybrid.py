"""Hybrid activations of Systems Manager, the nodes that they register, and the SSM agents that run on them.

``Emulator.host`` installs the SSM agent, ``amazon_ssm_agent.py``, on a host. ``Emulator.agents`` shows the nodes beside
the instances, and changes how their agents behave.

It differs from AWS as follows:

- The ID of an activation finds its node even after the activation was deleted, and a filter with several values finds
  the nodes with any of them. AWS documents neither, nor how late a filter sees the tags of a new node.
- A registered node that was never online is listed, with ConnectionLost. AWS does not document whether it is.
- The SSM agent is its emulator: a restarted service calls no API that would be in the call log. It gets its first
  credentials before the restart has ended, unless the agent is away, and new ones at each restart. On AWS that takes
  seconds, and a restarted agent keeps the credentials that are valid.
- An agent that is refused tries again at once. The SSM agent waits for minutes to a day, and hibernates for up to an
  hour when it is not allowed to report.
- The call that registers has a credential scope, for its Region, but no signature. The one of the SSM agent is
  unsigned; its endpoint says the Region.
- A session ends with the registration, the role, or the trust in ``ssm.amazonaws.com``. AWS lets it expire, which
  ``Behaviour.LASTING_SESSIONS`` does.
- CreateActivation requires that the role trusts ``ssm.amazonaws.com``, on whatever conditions. Of conditions of trust
  policies, only ``aws:SourceAccount`` and ``aws:SourceArn`` with the operators for strings and ARNs are evaluated. With
  others, a statement has no effect.
- There are no tiers, activations of edge devices, or rotated machine keys.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import paging, shared_credentials, wire
from .backend import Instance, Profile, account_of
from .unkind import Behaviour
from .validation import find_problem
from .wire import Call, ErrorAnswer

if TYPE_CHECKING:
    from .agents import Agent, Agents

Params = dict[str, Any]

SERVICE = "ssm.amazonaws.com"
REGISTER = "RegisterManagedInstance"
PERMISSION = "ssm:UpdateInstanceInformation"
SESSION_SECONDS = 3600
RENEWAL_SECONDS = SESSION_SECONDS // 2
EXPIRATION_SECONDS, LONGEST_SECONDS = 24 * 3600, 30 * 24 * 3600
"""When an activation expires by default, and at most."""
TICK_SECONDS = 0.05


@dataclass
class Activation:
    """:param role: as the caller wrote it, with the path of the role. :param used: the number of registrations."""

    id: str
    code: str
    account: str
    region: str
    role: str
    role_arn: str
    name: str
    description: str
    limit: int
    created: float
    expires: float
    tags: dict[str, str]
    used: int = 0


@dataclass
class Node:
    """A server that an activation has registered."""

    id: str
    activation: Activation
    registered: float
    tags: dict[str, str]

    @property
    def arn(self) -> str:
        found = self.activation
        partition = found.role_arn.split(":")[1]
        return f"arn:{partition}:ssm:{found.region}:{found.account}:managed-instance/{self.id}"


@dataclass
class Service:
    """The SSM agent as it runs on a host. :param file: where it shares its credentials, or empty.

    :param due: when it renews its credentials.
    """

    root: str
    node: str
    file: str
    profile: str
    due: float = 0.0
    expires: float = 0.0


@dataclass
class Session:
    node: str
    expires: float


@dataclass
class Hybrid:
    """:param agents: set by the agents, whose lock guards everything here."""

    agents: Agents = field(init=False)
    activations: dict[str, Activation] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    woken: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        """Let the services renew their credentials as long as there are services."""
        while self.woken.wait():
            try:
                self.advance()
            except Exception:
                logging.getLogger(__name__).exception("the SSM agents of hybrid servers failed")
            time.sleep(TICK_SECONDS)

    def reset(self) -> None:
        with self.agents.lock:
            self.woken.clear()
            for kept in (self.activations, self.nodes, self.services, self.sessions):
                kept.clear()

    # The SSM agents

    def start(self, root: str, node: str = "", file: str = "", profile: str = "") -> None:
        """Start the service of a host, with the node as which it is registered; without one, stop it."""
        with self.agents.lock:
            self.services.pop(root, None)
            if not node:
                return
            self.services[root] = Service(root, node, file, profile)
            variables = {"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_PROFILE": profile}
            self.agents.machines.hosts[node] = Path(root), {name: value for name, value in variables.items() if value}
            self.advance()
            self.woken.set()

    def advance(self) -> None:
        """Renew the credentials that are due."""
        with self.agents.lock:
            for service in self.services.values():
                if self.agents.now() >= service.due and self._can_renew(service.node):
                    self._renew(service, self.nodes[service.node])

    def _can_renew(self, node: str) -> bool:
        agent: Agent = self.agents.agent(node)
        return agent.running and not agent.new_fingerprint and not self._is_away(node) and self._is_entitled(node)

    def _is_away(self, node: str) -> bool:
        return self.agents.is_delayed(Behaviour.AWAY_AGENTS, node)

    def _is_entitled(self, node: str) -> bool:
        """Whether Systems Manager gives a node credentials of its role."""
        found = self.nodes.get(node)
        role = found and self.agents.backend.role(found.activation.role_arn)
        if not found or not role:
            return False
        source = {"aws:sourceaccount": found.activation.account, "aws:sourcearn": found.arn}
        return is_trusted(role.trust, source)

    def _renew(self, service: Service, node: Node) -> None:
        now = self.agents.now()
        role = self.agents.backend.role(node.activation.role_arn)
        assert role
        credentials = self.agents.backend.session(_instance(node), Profile("", "", role.arn, role.id))
        service.due, service.expires = now + RENEWAL_SECONDS, now + SESSION_SECONDS
        self.sessions[credentials.access_key] = Session(node.id, service.expires)
        if service.file:
            shared_credentials.store(Path(service.file), service.profile or "default", credentials)

    def instances(self) -> list[Instance]:
        """The nodes, as instances of Run Command."""
        return [_instance(node) for node in self.nodes.values()]

    def find_online(self) -> dict[str, Instance]:
        return {
            service.node: _instance(self.nodes[service.node])
            for service in self.services.values()
            if service.node in self.nodes and self._is_online(service, self.nodes[service.node])
        }

    def _is_online(self, service: Service, node: Node) -> bool:
        agent: Agent = self.agents.agent(node.id)
        if not agent.running or self._is_away(node.id) or self.agents.now() >= service.expires:
            return False
        role = self.agents.backend.role(node.activation.role_arn)
        return role is not None and self.agents.backend.allows(Profile("", "", role.arn, role.id), PERMISSION)

    def refuse(self, call: Call) -> ErrorAnswer | None:
        """The answer to a call with credentials of a node that have ended."""
        session = self.sessions.get(call.access_key)
        if session is None:
            return None
        if self.agents.now() >= session.expires:
            return wire.expired(call)
        lasts = self.agents.is_delayed(Behaviour.LASTING_SESSIONS, session.node)
        return None if lasts or self._is_entitled(session.node) else wire.unknown_token(call)

    def tags(self, node: str) -> dict[str, str]:
        return self.nodes[node].tags if node in self.nodes else {}

    def information(self, node: str) -> Params:
        """The attributes in DescribeInstanceInformation that a node has, other than an instance."""
        if node not in self.nodes:
            return {}
        found = self.nodes[node]
        return {
            "ActivationId": found.activation.id,
            "IamRole": found.activation.role,
            "RegistrationDate": found.registered,
            "ResourceType": "ManagedInstance",
            "Name": found.activation.name,
            "SourceType": "AWS::SSM::ManagedInstance",
        }

    # The API

    def respond(self, call: Call, params: Params) -> Params | ErrorAnswer:
        with self.agents.lock:
            problem = None if call.action == REGISTER else find_problem(call.action, params)
            return problem or ACTIONS[call.action](self, call, params)

    def create_activation(self, call: Call, params: Params) -> Params | ErrorAnswer:
        now, account, name = self.agents.now(), account_of(call.principal), params["IamRole"]
        expires = float(params.get("ExpirationDate", now + EXPIRATION_SECONDS))
        if name.startswith("arn:"):
            return ErrorAnswer("InternalFailure", "", 500)
        arn = f"arn:{call.principal.split(':')[1]}:iam::{account}:role/{name}"
        role = self.agents.backend.role(arn)
        if role is None or not is_trusted(role.trust):
            reason = "Nonexistent role or missing ssm service principal in trust policy"
            return ErrorAnswer("ValidationException", f"{reason}: {arn}")
        if not now < expires <= now + LONGEST_SECONDS:
            return ErrorAnswer("InvalidParameters", "The expiration date must be within the next 30 days.")
        activation = Activation(
            str(uuid.uuid4()),
            base64.b64encode(secrets.token_bytes(15)).decode(),
            account,
            call.region,
            name,
            arn,
            params.get("DefaultInstanceName", ""),
            params.get("Description", ""),
            params.get("RegistrationLimit", 1),
            now,
            expires,
            {tag["Key"]: tag["Value"] for tag in params.get("Tags", [])},
        )
        self.activations[activation.id] = activation
        return {"ActivationId": activation.id, "ActivationCode": activation.code}

    def describe_activations(self, call: Call, params: Params) -> Params | ErrorAnswer:
        now = self.agents.now()
        found = [
            {
                "ActivationId": each.id,
                "Description": each.description,
                "DefaultInstanceName": each.name,
                "IamRole": each.role,
                "RegistrationLimit": each.limit,
                "RegistrationsCount": each.used,
                "ExpirationDate": each.expires,
                "Expired": now >= each.expires,
                "CreatedDate": each.created,
                "Tags": _tag_list(each.tags),
            }
            for each in self.activations.values()
            if _is_here(call, each)
        ]
        return paging.page_of_items("ActivationList", found, params, 50)

    def delete_activation(self, call: Call, params: Params) -> Params | ErrorAnswer:
        found = self.activations.get(params["ActivationId"])
        if found is None or not _is_here(call, found):
            return ErrorAnswer("InvalidActivation", "")
        del self.activations[found.id]
        return {}

    def register_managed_instance(self, call: Call, params: Params) -> Params | ErrorAnswer:
        found = self.activations.get(params["ActivationId"])
        if found is None or found.code != params["ActivationCode"] or found.region != call.region:
            return ErrorAnswer("InvalidActivation", "")
        if self.agents.now() >= found.expires:
            return ErrorAnswer("ActivationExpired", "")
        if found.used >= found.limit:
            return ErrorAnswer("RegistrationLimitExceeded", "")
        found.used += 1
        node = Node(f"mi-{secrets.token_hex(9)[:17]}", found, self.agents.now(), dict(found.tags))
        self.nodes[node.id] = node
        return {"InstanceId": node.id}

    def deregister_managed_instance(self, call: Call, params: Params) -> Params | ErrorAnswer:
        found = self._node(call, params["InstanceId"])
        if found is None:
            return ErrorAnswer("InvalidInstanceId", "")
        del self.nodes[found.id]
        return {}

    def list_tags(self, call: Call, params: Params) -> Params | ErrorAnswer:
        found = self._node(call, params["ResourceId"])
        return {"TagList": _tag_list(found.tags)} if found else ErrorAnswer("InvalidResourceId", "")

    def add_tags(self, call: Call, params: Params) -> Params | ErrorAnswer:
        found = self._node(call, params["ResourceId"])
        if found is None:
            return ErrorAnswer("InvalidResourceId", "")
        found.tags.update({tag["Key"]: tag["Value"] for tag in params["Tags"]})
        return {}

    def remove_tags(self, call: Call, params: Params) -> Params | ErrorAnswer:
        found = self._node(call, params["ResourceId"])
        if found is None:
            return ErrorAnswer("InvalidResourceId", "")
        for key in params["TagKeys"]:
            found.tags.pop(key, None)
        return {}

    def _node(self, call: Call, node: str) -> Node | None:
        found = self.nodes.get(node)
        return found if found and _is_here(call, found.activation) else None


ACTIONS: dict[str, Callable[[Hybrid, Call, Params], Params | ErrorAnswer]] = {
    "CreateActivation": Hybrid.create_activation,
    "DescribeActivations": Hybrid.describe_activations,
    "DeleteActivation": Hybrid.delete_activation,
    REGISTER: Hybrid.register_managed_instance,
    "DeregisterManagedInstance": Hybrid.deregister_managed_instance,
    "ListTagsForResource": Hybrid.list_tags,
    "AddTagsToResource": Hybrid.add_tags,
    "RemoveTagsFromResource": Hybrid.remove_tags,
}


def is_trusted(document: str, source: dict[str, str] | None = None) -> bool:
    """Whether a trust policy allows Systems Manager to assume the role, for a source or at all."""
    allowed = False
    statements = json.loads(document).get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = _listed(principal.get("Service", [])) if isinstance(principal, dict) else []
        applies = SERVICE in services and _is_like("sts:AssumeRole", _listed(statement.get("Action", [])))
        if applies and (source is None or _is_met(statement.get("Condition", {}), source)):
            if statement["Effect"] == "Deny":
                return False
            allowed = True
    return allowed


def _is_met(conditions: dict[str, dict[str, Any]], source: dict[str, str]) -> bool:
    operators: dict[str, Callable[[str, list[str]], bool]] = {
        "StringEquals": lambda value, expected: value in expected,
        **dict.fromkeys(("StringLike", "ArnEquals", "ArnLike"), _is_like),
    }
    return all(
        operator in operators and key.lower() in source and operators[operator](source[key.lower()], _listed(expected))
        for operator, keys in conditions.items()
        for key, expected in keys.items()
    )


def _is_like(value: str, patterns: list[str]) -> bool:
    expressions = (re.escape(each).replace(r"\*", ".*").replace(r"\?", ".") for each in patterns)
    return any(re.fullmatch(each, value) for each in expressions)


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def _instance(node: Node) -> Instance:
    return Instance(node.id, node.activation.account, node.activation.region, "", "", running=True, profile=None)


def _is_here(call: Call, activation: Activation) -> bool:
    """Whether a call is made in the account and Region of an activation."""
    return (account_of(call.principal), call.region) == (activation.account, activation.region)


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
