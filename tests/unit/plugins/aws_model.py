"""A small, strict model of AWS that takes the steps of plans.

It refuses calls that AWS would refuse in this state, and calls that change nothing, since a plan has no such steps.
Each call is first validated against botocore's model of the API.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.validate import ParamValidator

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import plan as admin_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._aws import _to_wire
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import LIMITS, Parameter
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile import plan as profile_plan
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._role import plan as role_plan
from ansible_collections.cwagent.iam.plugins.module_utils._user import plan as user_plan
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
POLICIES, KEYS = 10, 2
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


class RejectedCall(AssertionError):
    """The call cannot be made in this state."""


def require(condition: object, problem: str) -> None:
    if not condition:
        raise RejectedCall(problem)


@functools.cache
def _service(name: str) -> Any:
    return botocore.session.get_session().get_service_model(name)


def check_call(step: Step) -> None:
    """Check that the API has the operation of a step, its arguments with their types, and its error codes."""
    service, operation = step.action.split(":")
    model = _service(service).operation_model(operation)
    problems = ParamValidator().validate(_to_wire(step.arguments), model.input_shape)
    assert not problems.has_errors(), problems.generate_report()
    if service != "ec2":  # botocore does not describe its errors
        named = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
        assert step.done_when <= named, f"{step.action} answers none of {step.done_when}"


class Model:
    """Takes a step with the method that has the name of the operation."""

    def take(self, step: Step) -> Any:
        check_call(step)
        return getattr(self, xform_name(step.action.split(":")[1]))(**copy.deepcopy(dict(step.arguments)))

    def take_all(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.take(step)


@dataclass
class Principal:
    path: str = "/"
    policies: set[str] = field(default_factory=set)
    inline: set[str] = field(default_factory=set)
    boundary: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    trust: Any = None
    description: str = ""
    max_session_duration: int = 3600
    groups: set[str] = field(default_factory=set)
    keys: dict[str, AccessKey] = field(default_factory=dict)

    @classmethod
    def of(cls, principal: PrincipalState, **more: Any) -> Principal:
        return cls(
            principal.path,
            set(principal.policies),
            set(principal.inline),
            principal.boundary,
            dict(principal.tags),
            **more,
        )

    @property
    def principal(self) -> PrincipalState:
        return PrincipalState(
            self.path, frozenset(self.policies), frozenset(self.inline), self.boundary, dict(self.tags)
        )


@dataclass
class Profile:
    path: str = "/"
    role: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


class Iam(Model):
    def __init__(self) -> None:
        self.roles: dict[str, Principal] = {}
        self.users: dict[str, Principal] = {}
        self.profiles: dict[str, Profile] = {}
        self.secrets: dict[str, str] = {}
        self._numbers = itertools.count(1)

    # Roles and instance profiles

    def put_role(self, name: str, state: role_plan.State) -> None:
        role, profile = state.role, state.profile
        if role:
            more = {"trust": role.trust, "description": role.description}
            self.roles[name] = Principal.of(role.principal, max_session_duration=role.max_session_duration, **more)
        if profile:
            self.profiles[profile.name] = Profile(profile.path, profile.role, dict(profile.tags))
        self.profiles.update((other, Profile(role=name)) for other in state.other_profiles)

    def role_state(self, name: str, profile: str) -> role_plan.State:
        role, found = self.roles.get(name), self.profiles.get(profile)
        others = {other for other, each in self.profiles.items() if each.role == name} - {profile}
        return role_plan.State(
            role_plan.Role(name, role.trust, role.principal, role.description, role.max_session_duration)
            if role
            else None,
            role_plan.InstanceProfile(profile, found.path, found.role, found.tags) if found else None,
            frozenset(others if role else ()),
        )

    def create_role(
        self,
        role_name: str,
        assume_role_policy_document: Any,
        path: str,
        description: str = "",
        max_session_duration: int = 3600,
        **more: Any,
    ) -> None:
        require(role_name not in self.roles, "EntityAlreadyExists")
        self.roles[role_name] = Principal(
            path,
            boundary=more.get("permissions_boundary"),
            tags=more.get("tags", {}),
            trust=assume_role_policy_document,
            description=description,
            max_session_duration=max_session_duration,
        )

    def update_role(self, role_name: str, description: str, max_session_duration: int) -> None:
        role = self.roles[role_name]
        settings = (description, max_session_duration)
        require(settings != (role.description, role.max_session_duration), "nothing changes")
        role.description, role.max_session_duration = settings

    def update_assume_role_policy(self, role_name: str, policy_document: Any) -> None:
        require(self.roles[role_name].trust != policy_document, "nothing changes")
        self.roles[role_name].trust = policy_document

    def delete_role(self, role_name: str) -> None:
        role = self.roles[role_name]
        require(not role.policies and not role.inline, "DeleteConflict: policies")
        require(all(each.role != role_name for each in self.profiles.values()), "DeleteConflict: instance profile")
        del self.roles[role_name]

    def create_instance_profile(self, instance_profile_name: str, path: str, tags: Any = None) -> None:
        require(instance_profile_name not in self.profiles, "EntityAlreadyExists")
        self.profiles[instance_profile_name] = Profile(path, tags=tags or {})

    def add_role_to_instance_profile(self, instance_profile_name: str, role_name: str) -> None:
        require(role_name in self.roles, "NoSuchEntity: role")
        require(self.profiles[instance_profile_name].role is None, "LimitExceeded")
        self.profiles[instance_profile_name].role = role_name

    def remove_role_from_instance_profile(self, instance_profile_name: str, role_name: str) -> None:
        require(self.profiles[instance_profile_name].role == role_name, "NoSuchEntity")
        self.profiles[instance_profile_name].role = None

    def delete_instance_profile(self, instance_profile_name: str) -> None:
        require(self.profiles[instance_profile_name].role is None, "DeleteConflict")
        del self.profiles[instance_profile_name]

    def tag_instance_profile(self, instance_profile_name: str, tags: dict[str, str]) -> None:
        _tag(self.profiles[instance_profile_name].tags, tags)

    def untag_instance_profile(self, instance_profile_name: str, tag_keys: list[str]) -> None:
        _untag(self.profiles[instance_profile_name].tags, tag_keys)

    # Users

    def put_user(self, user: user_plan.User) -> None:
        keys = {key.id: key for key in user.keys}
        self.users[user.name] = Principal.of(user.principal, groups=set(user.groups), keys=keys)

    def user(self, name: str) -> user_plan.User | None:
        user = self.users.get(name)
        if user is None:
            return None
        return user_plan.User(name, user.principal, frozenset(user.groups), tuple(user.keys.values()))

    def create_user(self, user_name: str, path: str, **more: Any) -> None:
        require(user_name not in self.users, "EntityAlreadyExists")
        self.users[user_name] = Principal(path, boundary=more.get("permissions_boundary"), tags=more.get("tags", {}))

    def delete_user(self, user_name: str) -> None:
        user = self.users[user_name]
        require(not (user.policies or user.inline or user.groups or user.keys), "DeleteConflict")
        del self.users[user_name]

    def remove_user_from_group(self, group_name: str, user_name: str) -> None:
        self.users[user_name].groups.remove(group_name)

    def create_access_key(self, user_name: str) -> dict[str, Any]:
        require(len(self.users[user_name].keys) < KEYS, "LimitExceeded")
        key = f"AKIATEST{next(self._numbers):012}"
        self.users[user_name].keys[key] = AccessKey(key, created=NOW)
        self.secrets[key] = f"%(secret)s/+of={key}"
        return {"AccessKey": {"AccessKeyId": key, "SecretAccessKey": self.secrets[key]}}

    def delete_access_key(self, user_name: str, access_key_id: str) -> None:
        del self.users[user_name].keys[access_key_id]

    def update_access_key(self, user_name: str, access_key_id: str, status: str) -> None:
        keys = self.users[user_name].keys
        require(keys[access_key_id].active != (status == "Active"), "nothing changes")
        keys[access_key_id] = replace(keys[access_key_id], active=status == "Active")

    # Roles and users

    def _principal(self, role_name: str | None = None, user_name: str | None = None) -> Principal:
        found = self.roles.get(role_name or "") if role_name else self.users.get(user_name or "")
        require(found, "NoSuchEntity")
        assert found
        return found

    def _attach(self, policy_arn: str, **named: str) -> None:
        principal = self._principal(**named).policies
        require(policy_arn not in principal, "nothing changes")
        require(len(principal) < POLICIES, "LimitExceeded")
        principal.add(policy_arn)

    def _detach(self, policy_arn: str, **named: str) -> None:
        self._principal(**named).policies.remove(policy_arn)

    def _delete_inline(self, policy_name: str, **named: str) -> None:
        self._principal(**named).inline.remove(policy_name)

    def _put_inline(self, policy_name: str, policy_document: Any, **named: str) -> None:
        principal = self._principal(**named).inline
        require(policy_name not in principal, "may change nothing")
        require(policy_document["Statement"][0]["Effect"] == "Deny", "grants permissions")
        principal.add(policy_name)

    def _put_boundary(self, permissions_boundary: str, **named: str) -> None:
        principal = self._principal(**named)
        require(principal.boundary != permissions_boundary, "nothing changes")
        principal.boundary = permissions_boundary

    def _delete_boundary(self, **named: str) -> None:
        require(self._principal(**named).boundary, "NoSuchEntity")
        self._principal(**named).boundary = None

    def _tag_principal(self, tags: dict[str, str], **named: str) -> None:
        _tag(self._principal(**named).tags, tags)

    def _untag_principal(self, tag_keys: list[str], **named: str) -> None:
        _untag(self._principal(**named).tags, tag_keys)

    attach_role_policy = attach_user_policy = _attach
    detach_role_policy = detach_user_policy = _detach
    put_role_policy = put_user_policy = _put_inline
    delete_role_policy = delete_user_policy = _delete_inline
    put_role_permissions_boundary = put_user_permissions_boundary = _put_boundary
    delete_role_permissions_boundary = delete_user_permissions_boundary = _delete_boundary
    tag_role = tag_user = _tag_principal
    untag_role = untag_user = _untag_principal


def _tag(principal: dict[str, str], tags: dict[str, str]) -> None:
    require(tags and all(principal.get(key) != value for key, value in tags.items()), "nothing changes")
    require(not any(key.startswith("aws:") for key in tags), "reserved")
    principal.update(tags)


def _untag(principal: dict[str, str], tag_keys: list[str]) -> None:
    require(tag_keys and not any(key.startswith("aws:") for key in tag_keys), "reserved")
    for key in tag_keys:
        del principal[key]


class Ec2(Model):
    """Instances of one region. A replaced association is gone at once."""

    state: Any

    def __init__(self, state: profile_plan.State | admin_plan.State) -> None:
        self.state = state

    def _put(self, instance_id: str, name: str) -> None:
        profile = self.state.profile
        association = profile_plan.Association(None, (profile and profile.arn) or name, profile.id if profile else None)
        self._set(instance_id, (association,))

    def _set(self, instance_id: str, associations: tuple[profile_plan.Association, ...]) -> None:
        instance = self.state.instances[instance_id]
        assert instance
        changed = replace(instance, associations=associations)
        self.state = replace(self.state, instances={**self.state.instances, instance_id: changed})

    def _with(self, association_id: str) -> profile_plan.Instance:
        instances = [each for each in self.state.instances.values() if each]
        return next(each for each in instances if association_id in {found.id for found in each.associations})

    def associate_iam_instance_profile(self, instance_id: str, iam_instance_profile: dict[str, str]) -> None:
        instance = self.state.instances[instance_id]
        require(instance and instance.state not in profile_plan.ENDED, "IncorrectInstanceState")
        require(not instance.associations, "IncorrectState: there is one already")
        self._put(instance_id, iam_instance_profile["name"])

    def replace_iam_instance_profile_association(
        self, association_id: str, iam_instance_profile: dict[str, str]
    ) -> None:
        instance = self._with(association_id)
        require(instance.state not in profile_plan.STOPPED, "IncorrectState: is not the active association")
        self._put(instance.id, iam_instance_profile["name"])

    def disassociate_iam_instance_profile(self, association_id: str) -> None:
        instance = self._with(association_id)
        self._set(instance.id, tuple(each for each in instance.associations if each.id != association_id))


class TaggedEc2(Ec2):
    """Instances with restore tags, and the records of them. New associations get ids, to be replaced again."""

    state: admin_plan.State

    def __init__(self, state: admin_plan.State) -> None:
        super().__init__(state)
        self._numbers = itertools.count(1)
        self.trials: list[str] = []

    def read(self, desired: admin_plan.DesiredAdmin) -> admin_plan.State:
        """The state as the resource reads it: instances of the list, with the admin profile or with a restore tag."""
        admins = {
            name
            for name, instance in self.state.instances.items()
            if any(each.profile == desired.admin for each in instance.associations)
        }
        shown = {*(desired.instance_ids or ()), *admins, *self.state.restore_tags, *self.state.records}
        instances = {name: each for name, each in self.state.instances.items() if name in shown}
        return replace(self.state, instances=instances, tagged=frozenset(self.recorded))

    @property
    def recorded(self) -> set[str]:
        """The instances whose restore tag has a record."""
        return {name for name in self.state.restore_tags if name in self.state.records}

    def profiles(self, name: str) -> list[str]:
        return [each.profile for each in self.state.instances[name].associations]

    def take(self, step: Step) -> Any:
        context = step.context
        if isinstance(context, admin_plan.ContentionCheck) and context.look_up_association:
            name = self.trials[-1]
            present = self.state.instances[name].associations[-1].id
            step = replace(step, arguments={**step.arguments, "association_id": present})
        return super().take(step)

    def _put(self, instance_id: str, name: str) -> None:
        require(self.state.instances[instance_id].state not in profile_plan.ENDED, "IncorrectInstanceState")
        if self.profiles(instance_id) == [name]:
            require(instance_id not in self.trials, "nothing changes")
            self.trials.append(instance_id)
        self._set(instance_id, (profile_plan.Association(f"new-{next(self._numbers)}", name),))

    def tag_role(self, role_name: str, tags: dict[str, str]) -> None:
        [(name, value)] = admin_plan.records_in(tags, "eu-1").items()
        require(role_name == "role", "another role")
        require(self.state.records.get(name) != value, "nothing changes")
        self.state = replace(self.state, records={**self.state.records, name: value})

    def untag_role(self, role_name: str, tag_keys: list[str]) -> None:
        [name] = admin_plan.records_in(dict.fromkeys(tag_keys, ""), "eu-1")
        require(role_name == "role" and name in self.state.records, "nothing changes")
        others = {other: value for other, value in self.state.records.items() if other != name}
        self.state = replace(self.state, records=others)

    def create_tags(self, resources: list[str], tags: dict[str, str]) -> None:
        [name], [(key, value)] = resources, tags.items()
        require(name in self.state.instances, "InvalidInstanceID.NotFound")
        require(key == admin_plan.RESTORE_TAG, "another tag")
        require(self.state.restore_tags.get(name) != value, "nothing changes")
        self.state = replace(self.state, restore_tags={**self.state.restore_tags, name: value})

    def delete_tags(self, resources: list[str], tags: dict[str, str]) -> None:
        [name], [(key, value)] = resources, tags.items()
        require(key == admin_plan.RESTORE_TAG, "another tag")
        require(self.state.restore_tags.get(name) == value, "nothing changes")
        others = {other: value for other, value in self.state.restore_tags.items() if other != name}
        self.state = replace(self.state, restore_tags=others)


class IamWindow(Model):
    """The admin window of one principal: its policy as a document, and its keys."""

    def __init__(self, kind: str, name: str, window: window_plan.Window) -> None:
        self._named = {f"{kind}_name": name}
        self.window = window

    def _put_policy(self, policy_name: str, policy_document: Any, **named: str) -> None:
        require((policy_name, named) == (WINDOW_POLICY, self._named), "another policy")
        require(self.window.policy != policy_document, "nothing changes")
        self.window = replace(self.window, policy=policy_document)

    def _delete_policy(self, policy_name: str, **named: str) -> None:
        require((policy_name, named) == (WINDOW_POLICY, self._named), "another policy")
        require(self.window.policy is not None, "NoSuchEntity")
        self.window = replace(self.window, policy=None)

    put_role_policy = put_user_policy = _put_policy
    delete_role_policy = delete_user_policy = _delete_policy

    def update_access_key(self, user_name: str, access_key_id: str, status: str) -> None:
        require(self._named == {"user_name": user_name}, "another user")
        key = next(key for key in self.window.keys if key.id == access_key_id)
        require(key.active != (status == "Active"), "nothing changes")
        keys = tuple(replace(each, active=status == "Active") if each == key else each for each in self.window.keys)
        self.window = replace(self.window, keys=keys)


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
        return {"Parameter": {"Value": found.value, "Type": found.type, "Version": found.version}}

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
