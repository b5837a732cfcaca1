"""moto: the widest coverage of IAM and EC2, and the partitions aws-cn and aws-us-gov. It enforces nothing.

It differs from AWS as follows, and is corrected here:

- DescribeInstances shows the old profile after an association was replaced.
- An association is replaced on stopped instances too, and keeps its id.
- EC2 answers NoSuchEntity for an instance profile that does not exist.
- GetAccountAuthorizationDetails has all AWS managed policies, not only the attached ones.
- A principal may have any number of managed policies.
- A policy has no default version after its default version was made the default again.
- Nobody has written the versions of a parameter.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from werkzeug.wrappers import Request, Response

from .backend import (
    ACCOUNT,
    ATTACHED_POLICIES,
    NOT_ACTIVE,
    ROOT_KEY,
    SESSION_SECONDS,
    Credentials,
    Instance,
    Profile,
    Role,
    account_of,
    internals,
    trusts_ec2,
)
from .wire import read_credential


class Moto:
    node_tags: Callable[[str], dict[str, str]]

    def __init__(self, region: str) -> None:
        os.environ.update(MOTO_IAM_LOAD_MANAGED_POLICIES="true", MOTO_ACCOUNT_ID=ACCOUNT)
        server = internals("moto.server")
        self._app = server.DomainDispatcherApplication(server.create_backend_app)
        self._ec2 = internals("moto.ec2.models").ec2_backends
        self._iam = internals("moto.iam.models").iam_backends
        self._sts = internals("moto.sts.models").sts_backends
        self._partition = internals("moto.utilities.utils").get_partition
        self._region = region
        self._caller: ContextVar[tuple[str, str]] = ContextVar("caller")
        self._repair_ec2()
        self._repair_iam()
        self._repair_ssm()
        self._warm(region)

    def _repair_ec2(self) -> None:
        models, associations = internals("moto.ec2.models"), internals("moto.ec2.models.iam_instance_profile")
        absent_error = internals("moto.iam.exceptions").NotFoundException
        ec2_error = internals("moto.ec2.exceptions").EC2ClientError
        replace = models.EC2Backend.replace_iam_instance_profile_association
        find = associations.filter_iam_instance_profiles

        def replace_and_show(backend: Any, association_id: str, *profile: Any) -> Any:
            for found in backend.iam_instance_profile_associations.values():
                if found.association_id == association_id and found.instance.state in ("stopping", "stopped"):
                    code, message = NOT_ACTIVE
                    raise ec2_error(code, message.format(association_id))
            association = replace(backend, association_id, *profile)
            association.association_id = associations.random_iam_instance_profile_association_id()
            shown = {"Arn": association.iam_instance_profile.arn, "Id": association.association_id}
            backend.modify_instance_attribute(association.instance_id, "iam_instance_profile", shown)
            return association

        def find_as_ec2_does(*args: Any, **kwargs: Any) -> Any:
            try:
                return find(*args, **kwargs)
            except absent_error as absent:
                name, arn = kwargs["iam_instance_profile_name"], kwargs["iam_instance_profile_arn"]
                by, what = ("name", "name") if name else ("arn", "ARN")
                where = f"Value ({name or arn}) for parameter iamInstanceProfile.{by} is invalid."
                message = f"{where} Invalid IAM Instance Profile {what}"
                raise ec2_error("InvalidParameterValue", message) from absent

        models.EC2Backend.replace_iam_instance_profile_association = replace_and_show
        associations.filter_iam_instance_profiles = find_as_ec2_does

    def _repair_iam(self) -> None:
        backend = internals("moto.iam.models").IAMBackend
        find = backend.get_account_authorization_details

        def find_attached(self: Any, policy_filter: list[str]) -> dict[str, Any]:
            found: dict[str, Any] = find(self, policy_filter)
            policies = [each for each in found["managed_policies"] if each.attachment_count or "::aws:" not in each.arn]
            return {**found, "managed_policies": policies}

        backend.get_account_authorization_details = find_attached

        policy, exceptions = internals("moto.iam.models").ManagedPolicy, internals("moto.iam.exceptions")
        attach_to = policy.attach_to

        def attach_within_quota(attached: Any, principal: Any) -> None:
            has = principal.managed_policies
            if len(has) >= ATTACHED_POLICIES and attached.arn not in has:
                kind = type(principal).__name__
                raise exceptions.LimitExceededException(
                    f"Cannot exceed quota for PoliciesPer{kind}: {ATTACHED_POLICIES}"
                )
            attach_to(attached, principal)

        policy.attach_to = attach_within_quota
        update = policy.update_default_version

        def update_if_another(policy: Any, version: str) -> None:
            if version != policy.default_version_id:
                update(policy, version)

        policy.update_default_version = update_if_another

    def _repair_ssm(self) -> None:
        models = internals("moto.ssm.models")
        put, describe = models.SimpleSystemManagerBackend.put_parameter, models.Parameter.describe_response_object

        def put_as_caller(*args: Any, **kwargs: Any) -> Any:
            written = put(*args, **kwargs)
            written.writer = self.principal(*self._caller.get())
            return written

        def describe_with_writer(parameter: Any, *args: Any, **kwargs: Any) -> Any:
            return {**describe(parameter, *args, **kwargs), "LastModifiedUser": parameter.writer}

        models.SimpleSystemManagerBackend.put_parameter = put_as_caller
        models.Parameter.describe_response_object = describe_with_writer

    def _warm(self, region: str) -> None:
        """Build the IAM and EC2 state of a region, which takes a third of a second, before the first call."""
        self._iam[ACCOUNT][self._partition(region)]
        self._ec2[ACCOUNT][region]

    def respond(self, request: Request, body: bytes) -> Response:
        access_key, region, _service = read_credential(request.headers.get("Authorization", ""))
        self._caller.set((access_key, region or self._region))
        return Response.from_app(self._app, request.environ, buffered=True)

    def authorize(self, request: Request, body: bytes) -> Response | None:
        return None

    def reset(self) -> None:
        # moto's own reset takes a quarter of a second more: it builds every state again before it drops it.
        for backends in list(internals("moto.core.base_backend").BackendDict._instances):
            backends.clear()
        internals("moto.core.model_instances").reset_model_data()

    def save(self) -> Any:
        raise NotImplementedError("moto saves no accounts, because no test needs that")

    def restore(self, saved: Any) -> None:
        """Nothing can be saved."""

    def shift_clock(self, seconds: float) -> None:
        raise NotImplementedError("moto evaluates no policies, so it has no clock to shift")

    def now(self) -> datetime:
        return datetime.now(UTC)

    def principal(self, access_key: str, region: str) -> str:
        partition = self._partition(region)
        root = f"arn:{partition}:iam::{ACCOUNT}:root"
        if access_key == ROOT_KEY:
            return root  # faster than the search below, which reads every user
        assumed = self._sts[ACCOUNT][partition].get_assumed_role_from_access_key(access_key)
        found = assumed or self._iam[ACCOUNT][partition].get_user_from_access_key_id(access_key)
        return str(found.arn) if found else root

    def secret(self, access_key: str, region: str) -> str:
        partition = self._partition(region)
        if access_key == ROOT_KEY:
            return ROOT_KEY
        session = self._sts[ACCOUNT][partition].get_assumed_role_from_access_key(access_key)
        found = session or self._iam[ACCOUNT][partition].access_keys.get(access_key)
        return str(found.secret_access_key) if found else ""

    def used(self, access_key: str, region: str, service: str) -> None:
        """moto records the use of keys itself."""

    def instances(self) -> list[Instance]:
        return [
            Instance(
                one.id,
                ACCOUNT,
                region,
                one.image_id,
                one.instance_type,
                one.state == "running",
                self._profile(backend, one.id),
            )
            for region, backend in list(self._ec2[ACCOUNT].items())
            for one in backend.all_instances()
        ]

    def _profile(self, backend: Any, instance_id: str) -> Profile | None:
        association = backend.iam_instance_profile_associations.get(instance_id)
        if association is None:
            return None
        profile = association.iam_instance_profile
        for role in profile.roles:
            return Profile(profile.arn, profile.id, role.arn, role.id, trusts_ec2(role.assume_role_policy_document))
        return Profile(profile.arn, profile.id)

    def role(self, arn: str) -> Role | None:
        for role in list(self._iam[account_of(arn)][arn.split(":")[1]].roles.values()):
            if role.arn == arn:
                return Role(arn, role.id, role.assume_role_policy_document)
        return None

    def allows(self, profile: Profile, action: str) -> bool:
        """Whether a policy of the role names the action."""
        role = self._iam[ACCOUNT][profile.role_arn.split(":")[1]].get_role(profile.role)
        versions = (version for policy in role.managed_policies.values() for version in policy.versions)
        documents = [*role.policies.values(), *(each.document for each in versions if each.is_default)]
        return any(action in str(document) for document in documents)

    def session(self, instance: Instance, profile: Profile) -> Credentials:
        sts = self._sts[ACCOUNT][self._partition(instance.region)]
        issued = sts.assume_role(instance.region, instance.id, profile.role_arn, None, SESSION_SECONDS, None)
        return Credentials(issued.access_key_id, issued.secret_access_key, issued.session_token)
