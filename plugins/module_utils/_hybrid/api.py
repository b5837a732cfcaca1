# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads nodes and activations of Systems Manager, and executes the steps for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import (
    HOST_TAG,
    RUN_TAG,
    Activation,
    NewActivation,
    Node,
)
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.plan import NO_NODE
from ansible_collections.cwagent.iam.plugins.module_utils._names import (
    CREATED,
    MARK_TAG,
    is_created,
    is_node_id,
    name_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import tags
from ansible_collections.cwagent.iam.plugins.module_utils._role.policy import find_regions, statements_of
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import find_role
from ansible_collections.cwagent.iam.plugins.module_utils._text import join_first

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

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
        created = self.created_nodes() if found else frozenset()
        result = []
        for each in found:
            tags = {MARK_TAG: CREATED} if each.id in created else {}
            if each.name in hosts and each.id in tagged:
                tags[HOST_TAG] = each.name
            elif each.id in tagged or (each.name in hosts and each.id in created):
                tags.update(self.tags(each.id))
            result.append(replace(each, tags=tags))
        return result

    def created_nodes(self) -> frozenset[str]:
        """Return the IDs of the nodes and instances with the tag of this collection."""
        return frozenset(each.id for each in self._nodes(*CREATED_NODES))

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
