# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules cwagent_hybrid_node and cwagent_hybrid_nodes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.agent import SSM_AGENT_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import DEREGISTERED, HOST_TAG, REGISTERED
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.nodes import Leaving
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.resource import LOOKUP_SECONDS, NodesResource
from ansible_collections.cwagent.iam.plugins.module_utils._planned import PLANNED_SPEC, Planned
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

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
        _names.check_tag(HOST_TAG, host)
    except InvalidInput as error:
        raise InvalidInput(f"'{host}' cannot be the host of a node: {error}") from error
    if params["node_id"]:
        _names.check_node_id("node_id", params["node_id"])
    name = params["instance_name"] or host
    if len(name) > MAX_NAME or not re.fullmatch(_NAME, name):
        raise InvalidInput(
            f"instance_name: '{name}' is not a valid name of a node: AWS allows at most {MAX_NAME} letters, digits, "
            "spaces and any of _.:/=+-@."
        )
    role = params["role"].lstrip("/")
    role_name = _names.name_of(role)
    _names.check_name("role", role_name)
    tags = _names.tags_as_text(params["tags"])
    _names.check_tags(tags)
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
        _names.check_node_id("keep_nodes", each)
    deregisters = params["deregister"]
    return NodesResource(
        aws,
        Leaving(frozenset(names), frozenset(params["reached_hosts"]), frozenset(params["keep_nodes"]), deregisters),
        Planned(params["planned"]).nodes if check_mode else (),
        role=params["role"],
        with_activations=params["activations"] and deregisters,
        lookup=0 if check_mode else min(LOOKUP_SECONDS, params["wait_timeout"]),
    )
