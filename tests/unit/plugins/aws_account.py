"""An AWS account with roles, users, instance profiles, instances and the names of saved keys.

It is a model that takes the steps of plans, and it answers the calls of a boto3 client.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

from aws_model import NOW, Model, require, service_model, validate
from botocore import xform_name
from botocore.exceptions import ClientError

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import (
    CREATED,
    MARK_TAG,
    SAVED_KEY_TAG,
    WINDOW_POLICY,
    is_marked,
)
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import AccessKey
from ansible_collections.cwagent.iam.plugins.module_utils._principals import role_plan, user_plan
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_plan import Window
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_instance import RESTORE_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile_plan import (
    ENDED,
    STOPPED,
    Association,
    Instance,
)

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
POLICIES, KEYS = 10, 2
ACCOUNT_ID, REGION = "123456789012", "eu-central-1"
ARN = f"arn:aws:iam::{ACCOUNT_ID}"
MANAGED = {MARK_TAG: CREATED}


def api_error(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def not_found(condition: object) -> None:
    if not condition:
        raise api_error("NoSuchEntity")


def to_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tag(principal: dict[str, str], tags: dict[str, str]) -> None:
    require(tags and all(principal.get(key) != value for key, value in tags.items()), "nothing changes")
    require(not any(key.startswith("aws:") for key in tags), "reserved")
    principal.update(tags)


def _untag(principal: dict[str, str], tag_keys: list[str]) -> None:
    require(tag_keys and not any(key.startswith("aws:") for key in tag_keys), "reserved")
    for key in tag_keys:
        del principal[key]


@dataclass
class Principal:
    """A role or a user. :param inline: by name, the documents of its policies."""

    path: str = "/"
    policies: set[str] = field(default_factory=set)
    inline: dict[str, Any] = field(default_factory=dict)
    boundary: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    trust: Any = None
    description: str = ""
    max_session_duration: int = 3600
    groups: set[str] = field(default_factory=set)
    keys: dict[str, AccessKey] = field(default_factory=dict)

    @classmethod
    def of(cls, principal: PrincipalState, **more: Any) -> Principal:
        inline: dict[str, Any] = {name: {} for name in principal.inline}
        tags = dict(principal.tags)
        return cls(principal.path, set(principal.policies), inline, principal.boundary, tags, **more)


def _inline(principal: Principal) -> list[dict[str, Any]]:
    return [{"PolicyName": name, "PolicyDocument": document} for name, document in principal.inline.items()]


@dataclass
class Profile:
    path: str = "/"
    role: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    id: str = "AIPA"


@dataclass
class Disturbance:
    """Something that happens at calls of clients: a change of the account, or an error instead of an answer.

    :param operation: in snake case. It is empty for all writes.
    :param first: the number of the first call, from 1 on.
    :param after: whether the call takes effect before.
    :param region: the only region.
    :param value: the only value of an argument, such as a name.
    """

    operation: str
    effect: Callable[[], Any] | BaseException
    first: int = 1
    times: int = 1
    after: bool = False
    region: str | None = None
    value: str | None = None
    seen: int = 0

    def happen(self, operation: str, after: bool, region: str, values: Collection[Any]) -> None:
        is_write = not operation.startswith(("get_", "list_", "describe_"))
        if after != self.after or self.region not in (None, region) or not (self.value is None or self.value in values):
            return
        if operation != self.operation and not (is_write and not self.operation):
            return
        self.seen += 1
        if self.first <= self.seen < self.first + self.times:
            if isinstance(self.effect, BaseException):
                raise self.effect
            self.effect()


class _Answered(Exception):
    """An answer, whatever the state is."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer


class Client:
    """Validates calls, and lets the account answer them."""

    def __init__(self, account: Account, service: str, region: str) -> None:
        self._account, self._service, self._region = account, service, region
        self.meta = SimpleNamespace(region_name=region)

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        return partial(self._answer, operation)

    def _answer(self, operation: str, **arguments: Any) -> dict[str, Any]:
        account = self._account
        account.calls.append((self._region, operation, arguments))
        validate(self._service, _operations(self._service)[operation], arguments)
        where = {} if self._service in ("iam", "sts") else {"region": self._region}
        try:
            account.happen(operation, False, self._region, arguments.values())
            answer = getattr(account, operation)(**_from_wire(arguments), **where) or {}
            account.happen(operation, True, self._region, arguments.values())
        except _Answered as scripted:
            answer = scripted.answer
        date = format_datetime(account.now, usegmt=True)
        return {**answer, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}


@functools.cache
def _operations(service: str) -> dict[str, str]:
    return {xform_name(name): name for name in service_model(service).operation_names}


def _from_wire(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of boto3 as a step has them."""
    found: dict[str, Any] = {}
    for key, value in arguments.items():
        if key == "Tags":
            found["tags"] = {each["Key"]: each["Value"] for each in value}
        elif key.endswith("Document"):
            found[xform_name(key)] = json.loads(value)
        else:
            found[xform_name(key)] = _from_wire(value) if isinstance(value, dict) else copy.deepcopy(value)
    return found


ALWAYS = 10**6


class Account(Model):
    """
    :param calls: the region, operation and arguments of each call of a client, with operations in snake case.
    :param saved: by region and name, the descriptions of parameters and secrets.
    :param deleted: the names of secrets that are scheduled for deletion.
    :param associated_again: the instances that were associated with the profile that they had, once each.
    :param other_users: how many other users a bulk read shows before the users of the account.
    """

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now
        self.roles: dict[str, Principal] = {}
        self.users: dict[str, Principal] = {}
        self.profiles: dict[str, Profile] = {}
        self.managed_policies: set[str] = set()
        self.secrets: dict[str, str] = {}
        self.regions: dict[str, dict[str, Instance]] = {REGION: {}}
        self.tags: dict[str, dict[str, str]] = {}
        self.saved: dict[str, dict[str, str]] = {}
        self.deleted: set[str] = set()
        self.other_users = 0
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.disturbances: list[Disturbance] = []
        self._numbers = itertools.count(1)
        self.associated_again: list[str] = []

    # Clients, and what happens at their calls

    def client(self, service: str, config: Any = None, region: str = REGION) -> Any:
        """A boto3 client, as ``AnsibleAWSModule.client`` makes it."""
        return Client(self, service, region)

    def aws(self, region: str = REGION, retry_timeout: float = 60) -> Aws:
        """The gateway to a region, which knows the time of the account already."""
        aws = Aws(partial(self.client, region=region), retry_timeout)
        aws._server_time = self.now
        return aws

    @property
    def operations(self) -> list[str]:
        return [operation for _region, operation, _arguments in self.calls]

    def happen(self, operation: str, after: bool, region: str = REGION, values: Collection[Any] = ()) -> None:
        for each in self.disturbances:
            each.happen(operation, after, region, values)

    def before(self, operation: str, effect: Callable[[], Any] | BaseException, first: int = 1, **more: Any) -> None:
        self.disturbances.append(Disturbance(operation, effect, first, **more))

    def fail(self, operation: str, code: str, times: int = ALWAYS, message: str = "", **more: Any) -> None:
        self.before(operation, api_error(code, message), times=times, **more)

    def answer(self, operation: str, answer: Any, first: int = 1, times: int = ALWAYS) -> None:
        """Answer calls so, whatever the state is."""
        self.before(operation, _Answered(answer), first, times=times)

    def count(self, *operations: str) -> int:
        return sum(operation in operations for operation in self.operations)

    # Roles and instance profiles

    def put_role(self, name: str, state: role_plan.State) -> None:
        role, profile = state.role, state.profile
        if role:
            more = {"trust": role.trust, "description": role.description}
            self.roles[name] = Principal.of(role.principal, max_session_duration=role.max_session_duration, **more)
        if profile:
            id_of = profile.id or f"AIPA{profile.name}"
            self.profiles[profile.name] = Profile(profile.path, profile.role, dict(profile.tags), id_of)
        self.profiles.update((other, Profile(role=name)) for other in state.other_profiles)

    def add_role(self, name: str, *policies: str, tags: Mapping[str, str] = MANAGED, profile: str = "") -> None:
        """Add a role of ours, and its profile, which has the same name by default.

        :param policies: names of AWS's policies, or ARNs.
        """
        attached = {each if ":" in each else f"arn:aws:iam::aws:policy/{each}" for each in policies}
        self.roles[name] = Principal(policies=attached, tags=dict(tags))
        self.profiles[profile or name] = Profile(role=name, id=f"AIPA{profile or name}")

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

    def get_role(self, role_name: str) -> Any:
        not_found(role_name in self.roles)
        role = self.roles[role_name]
        more = {"Description": role.description, "MaxSessionDuration": role.max_session_duration}
        return {"Role": {**self._described("role", role_name), "AssumeRolePolicyDocument": role.trust, **more}}

    def _described(self, kind: str, name: str) -> dict[str, Any]:
        found = self._principal(**{f"{kind}_name": name})
        bounded = {"PermissionsBoundary": {"PermissionsBoundaryArn": found.boundary}} if found.boundary else {}
        noun = kind.title()
        names = {f"{noun}Name": name, f"{noun}Id": f"ID{name}", "Arn": f"{ARN}:{kind}{found.path}{name}"}
        return {**names, "Path": found.path, "CreateDate": self.now, "Tags": to_list(found.tags), **bounded}

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

    def get_instance_profile(self, instance_profile_name: str) -> Any:
        not_found(instance_profile_name in self.profiles)
        return {"InstanceProfile": self._profile(instance_profile_name)}

    def list_instance_profiles_for_role(self, role_name: str) -> Any:
        return {
            "InstanceProfiles": [self._profile(name) for name, each in self.profiles.items() if each.role == role_name]
        }

    def _profile(self, name: str) -> dict[str, Any]:
        found = self.profiles[name]
        roles = [{"RoleName": found.role}] if found.role else []
        more = {"Arn": self._profile_arn(name), "InstanceProfileId": found.id, "Tags": to_list(found.tags)}
        return {"InstanceProfileName": name, "Path": found.path, "Roles": roles, **more}

    def _profile_arn(self, name: str) -> str:
        return f"{ARN}:instance-profile{self.profiles[name].path}{name}" if name in self.profiles else name

    # Users

    def put_user(self, user: user_plan.User) -> None:
        keys = {key.id: key for key in user.keys}
        self.users[user.name] = Principal.of(user.principal, groups=set(user.groups), keys=keys)

    def add_users(self, *names: str, tags: Mapping[str, str] = MANAGED) -> None:
        self.users.update((name, Principal(tags=dict(tags))) for name in names)

    def user(self, name: str) -> user_plan.User | None:
        found = self.users.get(name)
        if found is None:
            return None
        state = PrincipalState(
            found.path, frozenset(found.policies), frozenset(found.inline), found.boundary, dict(found.tags)
        )
        return user_plan.User(name, state, frozenset(found.groups), tuple(found.keys.values()))

    def create_user(self, user_name: str, path: str, **more: Any) -> None:
        require(user_name not in self.users, "EntityAlreadyExists")
        self.users[user_name] = Principal(path, boundary=more.get("permissions_boundary"), tags=more.get("tags", {}))

    def delete_user(self, user_name: str) -> None:
        user = self.users[user_name]
        require(not (user.policies or user.inline or user.groups or user.keys), "DeleteConflict")
        del self.users[user_name]

    def remove_user_from_group(self, group_name: str, user_name: str) -> None:
        self.users[user_name].groups.remove(group_name)

    def get_user(self, user_name: str) -> Any:
        not_found(user_name in self.users)
        return {"User": self._described("user", user_name)}

    def get_account_authorization_details(self, max_items: int, marker: str = "0", **kinds: Any) -> Any:
        """Answer in pages; other users come first."""
        after = int(marker) + max_items
        if after < self.other_users + len(self.users):
            return {"UserDetailList": [], "IsTruncated": True, "Marker": str(after)}
        found = [
            {
                **self._described("user", name),
                "AttachedManagedPolicies": [{"PolicyArn": arn} for arn in user.policies],
                "UserPolicyList": _inline(user),
                "GroupList": sorted(user.groups),
            }
            for name, user in self.users.items()
        ]
        roles = [
            {
                **self._described("role", name),
                "AttachedManagedPolicies": [{"PolicyArn": arn} for arn in role.policies],
                "RolePolicyList": _inline(role),
                "InstanceProfileList": [
                    {"InstanceProfileName": profile} for profile, each in self.profiles.items() if each.role == name
                ],
                "AssumeRolePolicyDocument": role.trust,
            }
            for name, role in self.roles.items()
            if "Role" in kinds["filter"]
        ]
        return {"UserDetailList": found, "RoleDetailList": roles, "IsTruncated": False}

    def list_groups_for_user(self, user_name: str) -> Any:
        return {"Groups": [{"GroupName": group} for group in self.users[user_name].groups]}

    def create_access_key(self, user_name: str) -> dict[str, Any]:
        require(len(self.users[user_name].keys) < KEYS, "LimitExceeded")
        key = f"AKIATEST{next(self._numbers):012}"
        self.users[user_name].keys[key] = AccessKey(key, created=self.now)
        self.secrets[key] = f"%(secret)s/+of={key}"
        return {"AccessKey": {"AccessKeyId": key, "SecretAccessKey": self.secrets[key]}}

    def delete_access_key(self, user_name: str, access_key_id: str) -> None:
        del self.users[user_name].keys[access_key_id]

    def update_access_key(self, user_name: str, access_key_id: str, status: str) -> None:
        keys = self.users[user_name].keys
        require(keys[access_key_id].active != (status == "Active"), "nothing changes")
        keys[access_key_id] = replace(keys[access_key_id], active=status == "Active")

    def list_access_keys(self, user_name: str) -> Any:
        return {
            "AccessKeyMetadata": [
                {"AccessKeyId": key.id, "Status": "Active" if key.active else "Inactive", "CreateDate": key.created}
                for key in self.users[user_name].keys.values()
            ]
        }

    def get_access_key_last_used(self, access_key_id: str) -> Any:
        owners = [name for name, user in self.users.items() if access_key_id in user.keys]
        not_found(owners)
        used = self.users[owners[0]].keys[access_key_id].used
        return {"UserName": owners[0], "AccessKeyLastUsed": {"LastUsedDate": used} if used else {}}

    def get_login_profile(self, user_name: str) -> Any:
        raise api_error("NoSuchEntity")

    def list_mfa_devices(self, user_name: str) -> Any:
        return {}

    list_ssh_public_keys = list_service_specific_credentials = list_signing_certificates = list_mfa_devices

    # Roles and users

    def _principal(self, role_name: str | None = None, user_name: str | None = None) -> Principal:
        found = self.roles.get(role_name or "") if role_name else self.users.get(user_name or "")
        not_found(found)
        assert found
        return found

    def _attach(self, policy_arn: str, **named: str) -> None:
        principal = self._principal(**named).policies
        require(policy_arn not in principal, "nothing changes")
        require(len(principal) < POLICIES, "LimitExceeded")
        principal.add(policy_arn)

    def _detach(self, policy_arn: str, **named: str) -> None:
        self._principal(**named).policies.remove(policy_arn)

    def _list_attached(self, **named: str) -> Any:
        return {"AttachedPolicies": [{"PolicyArn": arn} for arn in self._principal(**named).policies]}

    def _delete_inline(self, policy_name: str, **named: str) -> None:
        del self._principal(**named).inline[policy_name]

    def _put_inline(self, policy_name: str, policy_document: Any, **named: str) -> None:
        """A policy that was put as a name only can be any."""
        inline = self._principal(**named).inline
        require(inline.get(policy_name) not in ({}, policy_document), "may change nothing")
        require(policy_name == WINDOW_POLICY, "another policy")
        require(all(each["Effect"] == "Deny" for each in policy_document["Statement"]), "grants permissions")
        inline[policy_name] = policy_document

    def _list_inline(self, **named: str) -> Any:
        return {"PolicyNames": [*self._principal(**named).inline]}

    def _get_inline(self, policy_name: str, **named: str) -> Any:
        inline = self._principal(**named).inline
        not_found(policy_name in inline)
        return {"PolicyName": policy_name, "PolicyDocument": inline[policy_name]}

    def _put_boundary(self, permissions_boundary: str, **named: str) -> None:
        principal = self._principal(**named)
        require(principal.boundary != permissions_boundary, "nothing changes")
        principal.boundary = permissions_boundary

    def _delete_boundary(self, **named: str) -> None:
        require(self._principal(**named).boundary, "NoSuchEntity")
        self._principal(**named).boundary = None

    def get_policy(self, policy_arn: str) -> Any:
        not_found(policy_arn in self.managed_policies)
        return {"Policy": {}}

    def _tag_principal(self, tags: dict[str, str], **named: str) -> None:
        _tag(self._principal(**named).tags, tags)

    def _untag_principal(self, tag_keys: list[str], **named: str) -> None:
        _untag(self._principal(**named).tags, tag_keys)

    attach_role_policy = attach_user_policy = _attach
    detach_role_policy = detach_user_policy = _detach
    list_attached_role_policies = list_attached_user_policies = _list_attached
    put_role_policy = put_user_policy = _put_inline
    delete_role_policy = delete_user_policy = _delete_inline
    list_role_policies = list_user_policies = _list_inline
    get_role_policy = get_user_policy = _get_inline
    put_role_permissions_boundary = put_user_permissions_boundary = _put_boundary
    delete_role_permissions_boundary = delete_user_permissions_boundary = _delete_boundary
    tag_role = tag_user = _tag_principal
    untag_role = untag_user = _untag_principal

    # Admin windows

    def put_window(self, kind: str, name: str, window: Window) -> None:
        """Let a role or user have this admin window; remove it if it does not exist."""
        of_kind = self.roles if kind == "role" else self.users
        of_kind.pop(name, None)
        if window.exists:
            tags = dict(MANAGED if window.is_marked else {})
            tags |= {SAVED_KEY_TAG: window.saved_key_id} if window.saved_key_id else {}
            inline: dict[str, Any] = {} if window.policy is None else {WINDOW_POLICY: dict(window.policy)}
            of_kind[name] = Principal(inline=inline, tags=tags, keys={key.id: key for key in window.keys})

    def window(self, kind: str, name: str, read_at: datetime | None = None) -> Window:
        found = (self.roles if kind == "role" else self.users).get(name)
        if found is None:
            return Window(read_at or self.now, exists=False)
        policy, saved = found.inline.get(WINDOW_POLICY), found.tags.get(SAVED_KEY_TAG)
        marks: dict[str, Any] = {"saved_key_id": saved, "is_marked": is_marked(found.tags)}
        return Window(read_at or self.now, policy, tuple(found.keys.values()), **marks)

    # EC2

    def add_instance(
        self, name: str, *profiles: str, state: str = "running", tag: str | None = None, region: str = REGION
    ) -> None:
        """:param tag: the value of its restore tag."""
        associations = tuple(self._association(f"{name}-{profile}", profile) for profile in profiles)
        self.regions.setdefault(region, {})[name] = Instance(name, state, associations)
        if tag is not None:
            self.tags[name] = {RESTORE_TAG: tag}

    def profiles_of(self, name: str, region: str = REGION) -> list[str]:
        return [each.profile for each in self.regions[region][name].associations]

    def associate(self, name: str, *profiles: str, region: str = REGION) -> None:
        """Change the instance profile, as somebody else does."""
        found = self.regions[region][name]
        associations = tuple(self._association(f"other-{next(self._numbers)}", each) for each in profiles)
        self.regions[region][name] = replace(found, associations=associations)

    def _association(self, association_id: str, profile: str) -> Association:
        known = self.profiles.get(profile)
        return Association(association_id, self._profile_arn(profile), known.id if known else None)

    def _put(self, instance: Instance, profile: str, region: str) -> None:
        require(instance.state not in ENDED, "IncorrectInstanceState")
        new = self._association(f"new-{next(self._numbers)}", profile)
        if [(each.profile, each.profile_id) for each in instance.associations] == [(new.profile, new.profile_id)]:
            require(instance.id not in self.associated_again, "nothing changes, for a second time")
            self.associated_again.append(instance.id)
        self.regions[region][instance.id] = replace(instance, associations=(new,))

    def _with(self, association_id: str, region: str) -> Instance:
        for each in self.regions[region].values():
            if association_id in {found.id for found in each.associations}:
                return each
        raise api_error("InvalidAssociationID.NotFound")

    def associate_iam_instance_profile(
        self, instance_id: str, iam_instance_profile: dict[str, str], region: str = REGION
    ) -> None:
        instance = self.regions[region][instance_id]
        require(not instance.associations, "IncorrectState: there is one already")
        self._put(instance, iam_instance_profile["name"], region)

    def replace_iam_instance_profile_association(
        self, association_id: str, iam_instance_profile: dict[str, str], region: str = REGION
    ) -> None:
        """A replaced association is gone at once."""
        instance = self._with(association_id, region)
        require(instance.state not in STOPPED, "IncorrectState: is not the active association")
        self._put(instance, iam_instance_profile["name"], region)

    def disassociate_iam_instance_profile(self, association_id: str, region: str = REGION) -> None:
        instance = self._with(association_id, region)
        kept = tuple(each for each in instance.associations if each.id != association_id)
        self.regions[region][instance.id] = replace(instance, associations=kept)

    def create_tags(self, resources: list[str], tags: dict[str, str], region: str = REGION) -> None:
        [name] = resources
        require(name in self.regions[region], "InvalidInstanceID.NotFound")
        _tag(self.tags.setdefault(name, {}), tags)

    def delete_tags(self, resources: list[str], tags: dict[str, str], region: str = REGION) -> None:
        [name] = resources
        require(tags.items() <= self.tags[name].items(), "nothing changes")
        _untag(self.tags[name], [*tags])

    def describe_tags(self, filters: list[dict[str, Any]], region: str = REGION, **page: Any) -> Any:
        [key] = filters[0]["Values"]
        found = {name: self.tags.get(name, {}) for name in self.regions[region]}
        return {"Tags": [{"ResourceId": name, "Value": each[key]} for name, each in found.items() if key in each]}

    def describe_regions(self, region: str = REGION) -> Any:
        return {"Regions": [{"RegionName": name} for name in self.regions]}

    def describe_instances(self, filters: list[dict[str, Any]], region: str = REGION, **page: Any) -> Any:
        found = [
            {"InstanceId": name, "State": {"Name": each.state}, "Tags": to_list(self.tags.get(name, {}))}
            for name, each in self.regions[region].items()
            if name in filters[0]["Values"]
        ]
        return {"Reservations": [{"Instances": found}]}

    def describe_iam_instance_profile_associations(
        self, filters: list[dict[str, Any]], region: str = REGION, **page: Any
    ) -> Any:
        """While one profile replaces another, EC2 shows both, in any order: here, the new one first."""
        wanted = [name for each in filters if each["Name"] == "instance-id" for name in each["Values"]]
        return {
            "IamInstanceProfileAssociations": [
                {
                    "AssociationId": each.id,
                    "InstanceId": name,
                    "IamInstanceProfile": {
                        "Arn": each.profile_arn,
                        **({"Id": each.profile_id} if each.profile_id else {}),
                    },
                    "State": "associating" if each is not instance.associations[0] else "associated",
                }
                for name, instance in self.regions[region].items()
                for each in reversed(instance.associations)
                if name in wanted or not wanted
            ]
        }

    # Saved keys

    def describe_parameters(self, region: str = REGION, parameter_filters: Any = (), **page: Any) -> Any:
        return self._page_of_saved("Parameters", region, parameter_filters, **page)

    def list_secrets(self, region: str = REGION, filters: Any = (), **page: Any) -> Any:
        return self._page_of_saved("SecretList", region, filters, **page)

    def _page_of_saved(self, key: str, region: str, filters: Any, max_results: int, **page: str) -> Any:
        prefixes = tuple(value for each in filters for value in each["Values"])
        if "" in prefixes:
            raise api_error("ValidationException")
        found = [
            {"Name": name, "Description": text, **({"DeletedDate": 1} if name in self.deleted else {})}
            for name, text in self.saved.get(region, {}).items()
            if name.startswith(prefixes or "")
        ]
        first = int(page.get("next_token", 0))
        after = first + max_results
        return {key: found[first:after], **({"NextToken": str(after)} if after < len(found) else {})}

    def list_policies(self, **arguments: Any) -> Any:
        """Answer with the fitted policies that a principal has."""
        require(arguments == {"scope": "Local", "path_prefix": "/cwagent/"}, "other policies")
        attached = [arn for each in (*self.roles.values(), *self.users.values()) for arn in each.policies]
        fitted = sorted({arn for arn in attached if ":policy/cwagent/" in arn})
        return {"Policies": [{"Arn": arn, "AttachmentCount": attached.count(arn)} for arn in fitted]}

    def get_caller_identity(self) -> Any:
        return {"Account": ACCOUNT_ID, "Arn": f"{ARN}:user/ops"}
