# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes and activations of the modules cwagent_hybrid_node and cwagent_hybrid_nodes.

It has their options, the reads from Systems Manager, and the execution of the steps.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._ground.converge import Resource
from .._ground.errors import DENIED_CODES, AwsApiError, CwagentError, InvalidInput
from .._ground.names import (
    CREATED,
    MARK_TAG,
    check_name,
    check_node_id,
    check_tag,
    check_tags,
    is_created,
    is_node_id,
    name_of,
    tags_as_text,
)
from .._ground.plan import tell
from .._ground.planned import PLANNED_SPEC, Planned
from .._ground.text import join_first
from .._ground.wait import WAIT_SPEC, Deadline
from .._principals.principal import tags
from .._principals.role import find_role
from .._principals.role_plan import find_regions, statements_of
from . import leaving_nodes
from .hybrid_plan import NO_NODE, Desired
from .leaving_nodes import Leaving, State
from .node import DEREGISTERED, HOST_TAG, REGISTERED, RUN_TAG, Activation, NewActivation, Node
from .registration import SSM_AGENT_SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from .._ground.aws import Aws
    from .._ground.plan import Plan, Step


# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html
PAGE_SIZE = 50
MAX_FILTER_VALUES = 100
# The code of ListTagsForResource for a node that does not exist.
NO_RESOURCE = "InvalidResourceId"
# The filter for nodes that are not EC2 instances, and for those that activations of this collection registered.
HYBRID_NODES = ("ResourceType", "ManagedInstance")
CREATED_NODES = (f"tag:{MARK_TAG}", CREATED)


def describe_nodes(aws: Aws, key: str, *values: str) -> Iterator[dict[str, Any]]:
    """Return nodes as Systems Manager describes them, without their tags.

    :param key: the key of a filter. AWS does not combine a filter for tags with others.
    :param values: of which a node has one.
    """
    filters = [{"Key": key, "Values": [*values]}]
    description = f"read the nodes with {key} {join_first(values, 1)}"
    for page in aws.pages("ssm:DescribeInstanceInformation", description, Filters=filters, MaxResults=PAGE_SIZE):
        yield from page["InstanceInformationList"]


def describe_activations(aws: Aws) -> Iterator[dict[str, Any]]:
    """Return all activations as Systems Manager describes them."""
    for page in aws.pages("ssm:DescribeActivations", "list the activations", MaxResults=PAGE_SIZE):
        yield from page["ActivationList"]


class SystemsManager:
    """Systems Manager in a region.

    :param shield: nothing interrupts the body of this context. A signal during the body interrupts at its end.
    """

    def __init__(self, aws: Aws, shield: Callable[[], AbstractContextManager[None]]) -> None:
        self._aws = aws
        self._shield = shield

    @property
    def region(self) -> str:
        """The region."""
        return str(self._aws.client("ssm").meta.region_name)

    @property
    def now(self) -> datetime:
        """The time of the last answer."""
        return self._aws.now

    def node(self, node_id: str) -> Node | None:
        """Return a node, without its tags; ``None`` if there is none."""
        try:
            return next(self._nodes("InstanceIds", node_id), None)
        except AwsApiError as error:
            if error.code == NO_NODE:
                return None
            raise

    def nodes_of(self, activation_id: str) -> Sequence[Node]:
        """Return the nodes that an activation registered, without their tags."""
        return list(self._nodes("ActivationIds", activation_id))

    def nodes_of_host(self, host: str) -> Sequence[Node]:
        """Return the nodes that have a host as a tag, without their tags."""
        return list(self._nodes(f"tag:{HOST_TAG}", host))

    def hybrid_nodes(self) -> Sequence[Node]:
        """Return all nodes that are not EC2 instances, without their tags."""
        return list(self._nodes(*HYBRID_NODES))

    def with_hosts(self, nodes: Iterable[Node], names: Collection[str]) -> Sequence[Node]:
        """Return the nodes that have one of these IDs, names or hosts, with the tags that show whose they are.

        Systems Manager filters by tags and describes none, so the tags of a node are read only where its name differs.
        """
        hosts, listed = sorted(name for name in names if not is_node_id(name)), list(nodes)
        chunks = [hosts[start : start + MAX_FILTER_VALUES] for start in range(0, len(hosts), MAX_FILTER_VALUES)]
        tagged = {each.id for some in chunks if listed for each in self._nodes(f"tag:{HOST_TAG}", *some)}
        found = [each for each in listed if each.id in tagged or {each.id, each.name} & {*names}]
        created = {each.id for each in self._nodes(*CREATED_NODES)} if found else set()
        result = []
        for each in found:
            tags = {MARK_TAG: CREATED} if each.id in created else {}
            if each.name in hosts and each.id in tagged:
                tags[HOST_TAG] = each.name
            elif each.id in tagged or (each.name in hosts and each.id in created):
                tags.update(self.tags(each.id))
            result.append(replace(each, tags=tags))
        return result

    def _nodes(self, key: str, *values: str) -> Iterator[Node]:
        for each in describe_nodes(self._aws, key, *values):
            role, name, ping, activation = (
                each.get(member, "") for member in ("IamRole", "Name", "PingStatus", "ActivationId")
            )
            yield Node(each["InstanceId"], role, name, ping, activation_id=activation)

    def tags(self, node_id: str) -> Mapping[str, str]:
        """Return the tags of a node; nothing if it was just deregistered."""
        try:
            answer = self._aws.call(
                "ssm:ListTagsForResource",
                f"read the tags of node {node_id}",
                ResourceType="ManagedInstance",
                ResourceId=node_id,
            )
        except AwsApiError as error:
            if error.code == NO_RESOURCE:
                return {}
            raise
        return tags({"Tags": answer["TagList"]})

    def activations(self) -> Sequence[Activation]:
        """Return the activations that this collection created."""
        return [
            Activation(
                each["ActivationId"],
                each.get("DefaultInstanceName", ""),
                found.get(RUN_TAG, ""),
                each["ExpirationDate"],
                bool(each.get("Expired")),
                each.get("RegistrationsCount", 0) >= each.get("RegistrationLimit", 1),
            )
            for each in describe_activations(self._aws)
            for found in [tags(each)]
            if is_created(found)
        ]

    def take_over(self) -> None:
        """Make new connections. The earlier ones belong to another process."""
        self._aws.forget_clients()

    def create(self, step: Step, keep: Callable[[NewActivation], None]) -> None:
        """Create an activation, and hand it over. botocore would create another one if the answer was lost.

        A signal interrupts the time between two tries, but never a try.
        """
        attempt = replace(step, retry_when=frozenset())

        def create_once() -> None:
            with self._shield():
                answer = self._aws.execute(attempt, max_attempts=1) or {}
                keep(NewActivation(answer["ActivationId"], answer["ActivationCode"]))

        self._aws.retry(create_once, step.retry_when)

    def execute(self, step: Step) -> object:
        """Make the call of another step."""
        return self._aws.execute(step)


def trusted_regions(aws: Aws, name: str) -> list[str]:
    """Return the regions in which servers can use a role, as far as its trust policy lists them."""
    role = find_role(aws, name)
    return sorted(find_regions(statements_of(role["AssumeRolePolicyDocument"]))) if role else []


def check_role(aws: Aws, name: str) -> None:
    """Check that the role of new nodes exists.

    :param name: its name, with its path if it has one.
    :raises InvalidInput: it does not.
    """
    if find_role(aws, name_of(name)) is None:
        raise InvalidInput(
            f"Role '{name}' does not exist. Create it with the role cwagent.iam.hybrid_server, or set another one."
        )


# How long AWS may show a node whose host has just deregistered itself.
LOOKUP_SECONDS = 60.0


class NodesResource(Resource[State]):
    """The nodes of servers that leave a region.

    :param planned: the IDs of nodes that hosts would deregister themselves. Check mode still shows them.
    :param role: the role whose other nodes are listed. It is empty for none.
    :param with_activations: whether to delete activations, too.
    :param lookup: for how many seconds to look for nodes that should be gone.
    """

    def __init__(
        self,
        aws: Aws,
        leaving: Leaving,
        planned: Collection[str] = (),
        *,
        role: str = "",
        with_activations: bool = True,
        lookup: float = 0,
    ) -> None:
        super().__init__(aws)
        self._service = SystemsManager(aws, nullcontext)
        self._leaving = leaving
        self._planned = planned
        self._role = role
        self._with_activations = with_activations
        self._lookup = lookup

    def read(self) -> State:
        """Read the nodes, again and again while AWS shows some that should be gone."""
        deadline = Deadline(self._lookup)
        while True:
            state = self._read_permitted()
            left = leaving_nodes.find_left(state, self._leaving)
            if not left:
                return state
            tell(f"wait until Systems Manager no longer shows node {left[0].id}")
            if not deadline.pause():
                return state

    def read_again(self) -> State:
        """Read the nodes once."""
        return self._read_permitted()

    def _read_permitted(self) -> State:
        """Read the nodes, if that is permitted or if they are to be deregistered."""
        try:
            return self._read_once()
        except AwsApiError as error:
            if self._leaving.deregisters or error.code not in DENIED_CODES:
                raise
            return State(unread=str(error))

    def _read_once(self) -> State:
        """Read the nodes in pages. Tags are read only if there is a node with one of the names."""
        names = self._leaving.names
        shown = self._service.hybrid_nodes() if names or self._role else []
        shown = [each for each in shown if each.id not in self._planned]
        found = leaving_nodes.select(self._service.with_hosts(shown, names), self._leaving)
        leaving = {each.id for each in found if each.is_ours}
        return State(
            tuple(each for each in found if each.is_ours),
            tuple(each for each in found if not each.is_ours),
            tuple(self._service.activations()) if self._with_activations else (),
            tuple(each for each in shown if self._role and name_of(each.role) == self._role and each.id not in leaving),
        )

    def check_preconditions(self, current: State) -> None:
        """Check that no other server can use one of the nodes. :raises InvalidInput: one may be used."""
        leaving_nodes.check_certain(current, self._leaving)

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps of every node and activation."""
        return leaving_nodes.plan(current)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the nodes and activations of the plan that AWS still shows."""
        return leaving_nodes.unseen_steps(plan, state)

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Warn of the nodes that stay."""
        return leaving_nodes.warnings(plan.current, self._service.region)

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the nodes and activations."""
        return leaving_nodes.to_diff(state)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the nodes that are deregistered."""
        del final
        return leaving_nodes.to_result(plan.current, self._service.region)


def find_users_elsewhere(role: str, known: Collection[str | None], aws_in: Callable[[str], Aws]) -> list[str]:
    """Return the nodes with a role in the other regions of its trust policy, or why they are not known.

    :param known: the regions whose nodes are known.
    :param aws_in: returns the gateway to a region. An empty name stands for the region of the module.
    """
    try:
        others = [aws_in(region) for region in trusted_regions(aws_in(""), role) if region not in known]
        shown = [each for aws in others for each in SystemsManager(aws, nullcontext).hybrid_nodes()]
    except CwagentError as error:
        return [f"servers that are not known ({str(error).rstrip('.')})"]
    return [each.id for each in shown if name_of(each.role) == role]


SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": [REGISTERED, DEREGISTERED], "default": REGISTERED},
    "role": {"type": "str", "default": "CloudWatchAgentHybridRole"},
    "instance_name": {"type": "str", "default": ""},
    "tags": {"type": "dict", "default": {}},
    "node_id": {"type": "str", "default": ""},
    **PLANNED_SPEC,
    "wait_timeout": {"type": "int", "default": 180},
    **SSM_AGENT_SPEC,
}
RULES: dict[str, Any] = {}
NODES_SPEC: dict[str, Any] = {
    "nodes_by_region": {"type": "dict", "required": True},
    "activations": {"type": "bool", "default": True},
    "reached_hosts": {"type": "list", "elements": "str", "default": []},
    "keep_nodes": {"type": "list", "elements": "str", "default": []},
    "deregister": {"type": "bool", "default": True},
    "role": {"type": "str", "default": ""},
    **PLANNED_SPEC,
    **WAIT_SPEC,
}
NODES_RULES: dict[str, Any] = {}
# The names of one region in the options for its resource.
NAMES = "nodes"

# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CreateActivation.html
MAX_NAME = 256
_NAME = r"[\w .:/=+@-]*"


def desired_node(params: Mapping[str, Any], region: str, host: str, run: str) -> Desired:
    """Return the desired registration of a host.

    :param host: the name of the host.
    :param run: a new ID for this run.
    :raises InvalidInput: an option cannot be used.
    """
    try:
        check_tag(HOST_TAG, host)
    except InvalidInput as error:
        raise InvalidInput(f"'{host}' cannot be the host of a node: {error}") from error
    if params["node_id"]:
        check_node_id("node_id", params["node_id"])
    name = params["instance_name"] or host
    if len(name) > MAX_NAME or not re.fullmatch(_NAME, name):
        raise InvalidInput(
            f"instance_name: '{name}' is not a valid name of a node: AWS allows at most {MAX_NAME} letters, digits, "
            "spaces and any of _.:/=+-@."
        )
    role = params["role"].lstrip("/")
    role_name = name_of(role)
    check_name("role", role_name)
    tags = tags_as_text(params["tags"])
    check_tags(tags)
    planned = Planned(params["planned"])
    return Desired(
        params["state"],
        region,
        role,
        name,
        host,
        run,
        tags,
        planned.has_changed_role(role_name),
        params["node_id"],
    )


def nodes_resource(params: Mapping[str, Any], aws: Aws, region: str | None, *, check_mode: bool) -> NodesResource:
    """Return the nodes of a region that leave, and its activations.

    :raises InvalidInput: the names are not a list, or one is empty. Every node without a name would have that one.
    """
    del region
    names = params[NAMES]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InvalidInput("nodes_by_region: each region needs a list of names, and a name cannot be empty.")
    for each in params["keep_nodes"]:
        check_node_id("keep_nodes", each)
    deregisters = params["deregister"]
    return NodesResource(
        aws,
        Leaving(frozenset(names), frozenset(params["reached_hosts"]), frozenset(params["keep_nodes"]), deregisters),
        Planned(params["planned"]).nodes if check_mode else (),
        role=params["role"],
        with_activations=params["activations"] and deregisters,
        lookup=0 if check_mode else min(LOOKUP_SECONDS, params["wait_timeout"]),
    )
