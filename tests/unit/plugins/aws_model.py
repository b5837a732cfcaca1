"""A small, strict model of AWS that takes the steps of plans.

It refuses calls that AWS would refuse in this state, and calls that change nothing, since a plan has no such steps.
Each call is first validated against botocore's model of the API. ``aws_account.py`` has IAM and EC2.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.validate import ParamValidator

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import LIMITS, Parameter
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.gateway import _to_wire
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import is_fitted_policy
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import (
    DELETE_RETRY_CODES,
    EXISTS_CODES,
    NEW_ENTITY_RETRY_CODES,
    NOT_FOUND_CODES,
    Kind,
    Step,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
ENTITIES = ("role_name", "user_name", "instance_profile_name")
NOUNS = ("Role", "User", "InstanceProfile")
STALE_CODES = {
    **{f"Create{noun}": EXISTS_CODES for noun in NOUNS},
    "AddRoleToInstanceProfile": frozenset({"LimitExceeded"}),
}
REMOVALS = ("Delete", "Detach", "Remove", "Untag", "Deactivate")


class RejectedCall(AssertionError):
    """The call cannot be made in this state."""


def require(condition: object, problem: str) -> None:
    if not condition:
        raise RejectedCall(problem)


@functools.cache
def service_model(name: str) -> Any:
    return botocore.session.get_session().get_service_model(name)


def check_call(step: Step) -> None:
    """Check that the API has the operation of a step, its arguments with their types, and its error codes."""
    service, operation = step.action.split(":")
    validate(service, operation, _to_wire(step.arguments))
    if service != "ec2":  # botocore does not describe its errors
        shapes = service_model(service).operation_model(operation).error_shapes
        named = {shape.metadata.get("error", {}).get("code", shape.name) for shape in shapes}
        assert step.done_when <= named, f"{step.action} answers none of {step.done_when}"
    if service in ("iam", "ec2"):
        assert step.kind is _kind_of(operation), step
    if service == "iam":
        assert step.stale_when == STALE_CODES.get(operation, frozenset()), step
        if operation.startswith(REMOVALS):
            assert step.done_when == NOT_FOUND_CODES, step
            is_entity = operation in {f"Delete{noun}" for noun in NOUNS}
            assert step.retry_when == (DELETE_RETRY_CODES if is_entity else frozenset()), step


def check_steps(steps: Iterable[Step]) -> None:
    """Check the calls of IAM. It may not know what one of them created, so the later ones on that are retried."""
    created: set[str] = set()
    for step in (each for each in steps if each.action.startswith("iam:")):
        check_call(step)
        names = {f"{key} {step.arguments[key]}" for key in ENTITIES if key in step.arguments}
        if step.kind is Kind.CREATE:
            created |= names
        elif names & created:
            assert step.retry_when >= NEW_ENTITY_RETRY_CODES, step
        elif step.action.startswith(("iam:Attach", "iam:Put", "iam:Tag")):
            is_new = is_fitted_policy(step.arguments.get("policy_arn", ""))
            assert step.retry_when == (NEW_ENTITY_RETRY_CODES if is_new else frozenset()), step


def _kind_of(operation: str) -> Kind:
    """Attaching, tagging and setting are updates, and so is undoing them."""
    if operation.startswith("Create") and operation != "CreateTags":
        return Kind.CREATE
    is_deletion = operation.startswith("Delete") and not operation.endswith(("PermissionsBoundary", "Tags"))
    return Kind.DELETE if is_deletion else Kind.UPDATE


def validate(service: str, operation: str, arguments: Mapping[str, Any]) -> None:
    shape = service_model(service).operation_model(operation).input_shape
    if shape is None:
        assert not arguments
        return
    problems = ParamValidator().validate(arguments, shape)
    assert not problems.has_errors(), problems.generate_report()


class Model:
    """Takes a step with the method that has the name of the operation."""

    def take(self, step: Step) -> Any:
        check_call(step)
        return getattr(self, xform_name(step.action.split(":")[1]))(**copy.deepcopy(dict(step.arguments)))

    def take_all(self, steps: Iterable[Step]) -> None:
        """Take steps in order."""
        taken = list(steps)
        check_steps(taken)
        for step in taken:
            self.take(step)


class Ssm(Model):
    """Parameter Store, with its parameters, and the tiers of the parameters in the Advanced tier."""

    def __init__(self, parameters: Mapping[str, Parameter | None], advanced: Iterable[str] = ()) -> None:
        self.parameters = {name: each for name, each in parameters.items() if each}
        self.tiers = {name: "Advanced" if name in set(advanced) else "Standard" for name in self.parameters}
        self.read: list[str] = []
        self.tags_read: list[str] = []

    def get_parameter(self, name: str) -> dict[str, Any] | None:
        self.read.append(name)
        found = self.parameters.get(name)
        if found is None:
            return None
        return {"Parameter": {"Value": found.value, "Type": found.type, "Version": found.version or 1}}

    def put_parameter(self, name: str, value: str, tier: str, type: str, **more: Any) -> None:  # noqa: A002  the API's
        require(len(value.encode()) <= LIMITS[tier], "ValidationException: too long")
        current, overwrite = self.parameters.get(name), more.get("overwrite")
        require(not (overwrite and "tags" in more), "ValidationException: tags and overwrite can't be used together")
        if current and not overwrite:
            raise AwsApiError("The parameter already exists.", "ParameterAlreadyExists")
        if (self.tiers.get(name), tier) == ("Advanced", "Standard"):
            raise AwsApiError("This parameter uses the advanced-parameter tier.", "ValidationException")
        version = current.version or 0 if current else 0
        self.parameters[name] = Parameter(value, type, version + 1, current.tags if current else more.get("tags"))
        self.tiers[name] = tier

    def add_tags_to_resource(self, resource_type: str, resource_id: str, tags: dict[str, str]) -> None:
        assert resource_type == "Parameter"
        found = self.parameters[resource_id]
        self.parameters[resource_id] = replace(found, tags={**(found.tags or {}), **tags})

    def list_tags_for_resource(self, resource_type: str, resource_id: str) -> dict[str, Any]:
        assert resource_type == "Parameter"
        if resource_id not in self.parameters:
            raise AwsApiError("There is no such parameter.", "InvalidResourceId")
        self.tags_read.append(resource_id)
        tags = self.parameters[resource_id].tags or {}
        return {"TagList": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def delete_parameter(self, name: str) -> None:
        require(name in self.parameters, "ParameterNotFound")
        del self.parameters[name], self.tiers[name]


class Gateway:
    """Takes the place of the gateway to AWS. A model takes the steps, and answers the reads."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.now = NOW

    def deadline(self) -> Deadline:
        return Deadline(0)

    def retry(self, call: Any, codes: Any) -> Any:
        return call()

    def find(self, action: str, description: str, *, absent: str, **arguments: Any) -> Any:
        """The answer of the model, or ``None`` if the thing does not exist."""
        named = {xform_name(name): value for name, value in arguments.items()}
        return getattr(self.model, xform_name(action.partition(":")[2]))(**named)

    def call(self, action: str, description: str, **arguments: Any) -> Any:
        return self.find(action, description, absent="", **arguments)

    def execute(self, step: Step, max_attempts: int = 1) -> Any:
        return self.model.take(step)
