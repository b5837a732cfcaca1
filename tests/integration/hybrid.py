"""On-premises hosts that are registered with Systems Manager, without an inventory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator import Emulator
from emulator.host import Host
from harness import HYBRID_ROLE, SSM_POLICY, Controller, create_hybrid_role
from in_process import on_host, transact
from states import States

from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import DEREGISTERED, HOST_TAG, REGISTERED

NAME = "db1"
OURS = [{"Key": "cwagent:managed", "Value": "created"}]
"""The tags of the nodes and activations of this collection."""


@dataclass(frozen=True)
class Server:
    """A host in an account with a hybrid role."""

    controller: Controller
    host: Host

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    @property
    def record(self) -> Path:
        """The record of an unfinished run."""
        return self.host.registration_file.with_name("cwagent-unfinished.json")

    @property
    def options(self) -> dict[str, Any]:
        """The options of cwagent_hybrid_node for this host."""
        paths = {
            "ssm_agent": self.host.ssm_agent,
            "ssm_agent_config": self.host.configuration_file,
            "registration": self.host.registration_file,
        }
        return {"wait_timeout": 20, **{name: str(path) for name, path in paths.items()}}

    def manage(
        self, *faults: Mapping[str, Any], is_reachable: Callable[[], bool] = lambda: True, **options: Any
    ) -> dict[str, Any]:
        """Run cwagent_hybrid_node in this process."""
        send, given = on_host(self.aws, self.host, is_reachable), {**self.options, **options}
        return transact(self.aws, "cwagent_hybrid_node", send, *faults, host=NAME, **given)

    def activations(self) -> list[dict[str, Any]]:
        return list(self.aws.client("ssm").describe_activations()["ActivationList"])

    def assert_finished(self, state: str = REGISTERED) -> str:
        """Assert that the host is the only node, and online, or no node, and nothing is left. :returns: its ID."""
        nodes = self.aws.client("ssm").describe_instance_information()["InstanceInformationList"]
        assert (self.activations(), self.record.exists()) == ([], False)
        if state == DEREGISTERED:
            assert (nodes, self.host.registration) == ([], None)
            return ""
        [node] = nodes
        assert self.host.registration == {"ManagedInstanceID": node["InstanceId"], "Region": self.aws.region}
        assert (node["PingStatus"], node["Name"], node["IamRole"]) == ("Online", NAME, HYBRID_ROLE)
        return str(node["InstanceId"])


def activate(aws: Emulator, name: str = "", *, ours: bool = True, region: str | None = None, **more: Any) -> Any:
    """Create an activation.

    :param name: the name of the node and of its host.
    :param ours: whether this collection did.
    :returns: the answer of CreateActivation.
    """
    more |= {"DefaultInstanceName": name} if name else {}
    more |= {"Tags": [*OURS, *([{"Key": HOST_TAG, "Value": name}] if name else [])]} if ours else {}
    return aws.client("ssm", region).create_activation(IamRole=HYBRID_ROLE, **more)


def register_another(aws: Emulator, root: Path, name: str = "", *, keep: bool = False, **more: Any) -> str:
    """Register a host with a new activation. :param keep: whether it stays. :returns: the ID of the node."""
    activation, region = activate(aws, name, **more), more.get("region") or aws.region
    node = aws.host(root).register(activation, region)
    if not keep:
        aws.client("ssm", region).delete_activation(ActivationId=activation["ActivationId"])
    return node


def unregistered(states: States) -> Server:
    create_hybrid_role(states.aws, SSM_POLICY)
    return Server(states.controller, states.aws.host(states.controller.home / "host"))


def registered(states: States) -> Server:
    server = states.begin(unregistered)
    assert not server.manage()["failed"]
    server.assert_finished()
    return server
