# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the regions of an account in bulk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import (
    CONTENT,
    NODES,
    PARAMETERS,
    SAVED,
    ActivationUse,
    ConfigParameter,
    NodeUse,
    Region,
    Scope,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.parameters import (
    parameter_in,
    read_histories,
    read_values,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import RESTORE_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import TYPE
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.parameter_store import (
    PARAMETERS_PER_CALL,
    list_parameters,
)
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import described_key
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import AWS_STORES
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.api import (
    CREATED_NODES,
    HYBRID_NODES,
    describe_activations,
    describe_nodes,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import (
    describe_instances,
    read_associations,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import PARAMETER_PREFIX, is_created, name_of
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import tags
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.principals import Attempts
    from ansible_collections.cwagent.iam.plugins.module_utils._credentials.document_store import DocumentStore

PAGE_SIZE = 1000


def read_restore_tags(aws: Aws) -> dict[str, str]:
    """Return by instance the value of its restore tag."""
    pages = aws.pages(
        "ec2:DescribeTags",
        "read which instances have a restore tag",
        Filters=[{"Name": "key", "Values": [RESTORE_TAG]}, {"Name": "resource-type", "Values": ["instance"]}],
        MaxResults=PAGE_SIZE,
    )
    return {tag["ResourceId"]: tag["Value"] for page in pages for tag in page["Tags"]}


def describe_uses(aws: Aws, instance_ids: Sequence[str]) -> dict[str, dict[str, Any]] | None:
    """Return by instance the fields of ``InstanceUse`` that EC2 reports."""
    return {
        each["InstanceId"]: {
            "name": tags(each).get("Name"),
            "state": each["State"]["Name"],
            "is_windows": runs_windows(each),
        }
        for each in describe_instances(aws, instance_ids)
    }


def runs_windows(instance: Mapping[str, Any]) -> bool:
    """Return whether an instance runs Windows, as EC2 describes it.

    The platform is empty for all other instances, and the details include the licence:
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html
    """
    platform, details = instance.get("Platform") or "", instance.get("PlatformDetails") or ""
    return platform.lower() == "windows" or details.startswith("Windows")


def read_nodes(aws: Aws, region: str) -> tuple[NodeUse, ...]:
    """Return the nodes, without instances.

    The description of a node has no tags, so a second list shows the nodes with the tag. Without nodes, there is none.
    """
    found = list(describe_nodes(aws, *HYBRID_NODES))
    ours = {each["InstanceId"] for each in (describe_nodes(aws, *CREATED_NODES) if found else ())}
    return tuple(
        NodeUse(
            each["InstanceId"],
            region,
            each.get("Name", ""),
            name_of(each.get("IamRole", "")),
            each.get("PingStatus", ""),
            each.get("PlatformType") == WINDOWS,
            each["InstanceId"] in ours,
        )
        for each in sorted(found, key=lambda each: str(each["InstanceId"]))
    )


def read_activations(aws: Aws, region: str) -> tuple[ActivationUse, ...]:
    """Return the activations that have not expired."""
    return tuple(
        ActivationUse(
            each["ActivationId"],
            region,
            each.get("DefaultInstanceName", ""),
            name_of(each.get("IamRole", "")),
            each["ExpirationDate"],
            max(each.get("RegistrationLimit", 1) - each.get("RegistrationsCount", 0), 0),
            is_created(tags(each)),
        )
        for each in describe_activations(aws)
        if not each.get("Expired")
    )


_VERSIONS = "the versions of configurations"


class Regions:
    """Reads regions. :param aws_in: by region, the gateway to AWS."""

    def __init__(self, aws_in: Mapping[str, Aws], attempts: Attempts, scope: Scope) -> None:
        self._aws_in = aws_in
        self._attempts = attempts
        self._scope = scope

    def read(self) -> list[Region]:
        """Read all regions of the scope."""
        for aws in self._aws_in.values():
            for service in ("ec2", "ssm", "secretsmanager"):
                aws.client(service)  # not in the threads: amazon.aws ends the module if it cannot make a client
        return run_in_parallel(self._read_region, self._scope.regions)

    def _read_region(self, name: str) -> Region:
        aws = self._aws_in[name]
        names = (self._scope.configurations or {}).get(name, ())
        read_versions = partial(read_histories, aws, name, names)
        histories = tuple(self._attempts.attempt(_VERSIONS, name, read_versions) or ()) if names else ()
        if not self._scope.has_access:
            return Region(name, histories)
        associations = (
            self._attempts.attempt("the instance profiles of instances", name, partial(read_associations, aws)) or {}
        )
        restore_tags = (
            self._attempts.attempt("the restore tags of instances", name, partial(read_restore_tags, aws)) or {}
        )
        nodes = self._attempts.attempt(NODES, name, partial(read_nodes, aws, name)) if self._scope.has_nodes else ()
        activations = (
            self._attempts.attempt("the activations of Systems Manager", name, partial(read_activations, aws, name))
            if self._scope.has_activations
            else ()
        )
        prefix = self._scope.key_prefix
        stores = [kind(aws, prefix) for store, kind in AWS_STORES.items() if store in self._scope.key_stores]
        # One call serves both: it cannot be restricted to some parameters.
        shared = [SAVED for each in stores if each.ARE_PARAMETERS]
        prefixes = [PARAMETER_PREFIX, *([prefix] if shared else [])]
        read = partial(list_parameters, aws, prefixes, "list the configuration parameters")
        described = self._attempts.attempt(PARAMETERS, name, read, *shared) or []
        saved = [(each, self._list_saved(each, name, described)) for each in stores]
        return Region(
            name,
            histories,
            {instance_id: each[-1].profile for instance_id, each in associations.items()},
            restore_tags,
            nodes or (),
            activations or (),
            self._configurations(name, [each for each in described if each["Name"].startswith(PARAMETER_PREFIX)]),
            {
                key: f"{store.where_of(each['Name'])} in {name}"
                for store, listed in saved
                for each in listed
                if (key := described_key(each.get("Description", "")))
            },
            {
                (user, store.NAME): f"{store.where_of(document)} in {name}"
                for store, listed in saved
                for user, document in store.index_by_user(listed).items()
            },
        )

    def _list_saved(self, store: DocumentStore, region: str, parameters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """List the documents of a store. :param parameters: the listed parameters of the region."""
        if store.ARE_PARAMETERS:
            return [each for each in parameters if each["Name"].startswith(store.prefix)]
        read = partial(store.list_documents, f"read which access keys are saved as {store.KIND}s")
        return self._attempts.attempt(SAVED, region, read) or []

    def _configurations(self, region: str, described: Sequence[Mapping[str, Any]]) -> tuple[ConfigParameter, ...]:
        names = sorted(each["Name"] for each in described if each["Type"] == TYPE)
        batches = [names[first : first + PARAMETERS_PER_CALL] for first in range(0, len(names), PARAMETERS_PER_CALL)]
        values: dict[str, str] = {}
        for batch in batches:
            read = partial(read_values, self._aws_in[region], batch)
            values.update(self._attempts.attempt(CONTENT, region, read) or {})
        shown = sorted(described, key=lambda each: str(each["Name"]))
        return tuple(parameter_in(each, region, values.get(each["Name"])) for each in shown)
