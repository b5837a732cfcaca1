# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an account and its regions in bulk, with the content and the versions of parameters. It writes nothing.

It lists the parts that may not be read. Anything that depends on such a part is unknown.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from .._configuration.parameter import NO_PARAMETER_CODES
from .._configuration.parameter_plan import ENCRYPTED_TYPE, TYPE
from .._configuration.parts import part_name
from .._ground.aws import Aws
from .._ground.errors import AwsApiError
from .._ground.names import PARAMETER_PREFIX, SAVED_KEY_TAG, is_created, is_fitted_policy, name_of
from .._ground.plan import run_in_parallel
from .._keys.parameter_store import PARAMETERS_PER_CALL, list_parameters
from .._keys.saved_key import described_key
from .._keys.store import DocumentStore
from .._keys.stores import KEY_STORES
from .._principals.principal import access_keys, find_user, tags
from .._principals.window_policy import PUT
from .._servers.admin_instance import RESTORE_TAG
from .._servers.commands import WINDOWS
from .._servers.find_servers import enabled_regions, refuse_other
from .._servers.hybrid import CREATED_NODES, HYBRID_NODES, describe_activations, describe_nodes
from .._servers.instance_profile import describe_instances, read_associations
from .assess import assess, request_context
from .fitting_findings import unread_regions
from .model import (
    CONTENT,
    NODES,
    PARAMETERS,
    ROLE,
    SAVED,
    USER,
    Account,
    ActivationUse,
    ConfigParameter,
    History,
    InstanceUse,
    Key,
    Machine,
    NodeUse,
    Principal,
    Region,
    SavedKeyWithoutUser,
    Scope,
    Unread,
    Version,
)
from .principals import ALL, Attempts, Principals, read_simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from .assess import Assessment


# The largest page of versions. Parameter Store keeps 100 of them.
PAGE_SIZE = 50


def read_values(aws: Aws, names: Sequence[str]) -> dict[str, str]:
    """Read the content of parameters in one call."""
    answer = aws.call("ssm:GetParameters", f"read {len(names)} configuration parameters", Names=list(names))
    return {each["Name"]: each["Value"] for each in answer["Parameters"]}


def parameter_in(described: Mapping[str, Any], region: str, value: str | None) -> ConfigParameter:
    """Return a parameter that AWS describes, with its content."""
    return ConfigParameter(
        described["Name"],
        region,
        described.get("Tier", "Standard"),
        described["Type"],
        described["Version"],
        described["LastModifiedDate"],
        value,
        described.get("KeyId", ""),
    )


def read_histories(aws: Aws, region: str, names: Sequence[str]) -> list[History]:
    """Read the versions of configurations, and of the further parameters of a configuration that was split."""
    return [each for name in names for each in read_history(aws, region, name, names)]


def read_history(aws: Aws, region: str, name: str, names: Sequence[str]) -> Iterator[History]:
    """Read the versions of a configuration, and of its further parameters if it was split.

    :param names: the configurations of the inventory. Their parameters are no parts of this one.
    """
    whole = History(name, region, read_versions(aws, name))
    yield whole
    parts = (part_name(name, number) for number in (count(2) if whole.versions else ()))
    others = takewhile(lambda part: part not in names, parts)
    histories = (History(part, region, read_versions(aws, part)) for part in others)
    yield from takewhile(lambda each: each.versions, histories)


def read_versions(aws: Aws, name: str, *, decrypt: bool = False) -> tuple[Version, ...]:
    """Read the versions of a parameter, the newest first; none if it does not exist.

    AWS promises no order.

    :param decrypt: whether to decrypt the versions of an encrypted one. They have no value otherwise.
    """
    description = f"read the versions of parameter '{name}'"
    options = {"WithDecryption": True} if decrypt else {}
    try:
        pages = list(aws.pages("ssm:GetParameterHistory", description, Name=name, MaxResults=PAGE_SIZE, **options))
    except AwsApiError as error:
        if error.code not in NO_PARAMETER_CODES:
            raise
        return ()
    versions = (
        Version(
            each["Version"],
            each["LastModifiedDate"],
            each.get("LastModifiedUser", ""),
            each.get("Tier", "Standard"),
            each["Value"] if each["Type"] == TYPE or (decrypt and each["Type"] == ENCRYPTED_TYPE) else None,
            tuple(sorted(each.get("Labels", ()))),
            each.get("Description", ""),
        )
        for page in pages
        for each in page["Parameters"]
    )
    return tuple(sorted(versions, key=lambda each: -each.number))


INSTANCES_PAGE_SIZE = 1000


def read_restore_tags(aws: Aws) -> dict[str, str]:
    """Return by instance the value of its restore tag."""
    pages = aws.pages(
        "ec2:DescribeTags",
        "read which instances have a restore tag",
        Filters=[{"Name": "key", "Values": [RESTORE_TAG]}, {"Name": "resource-type", "Values": ["instance"]}],
        MaxResults=INSTANCES_PAGE_SIZE,
    )
    return {tag["ResourceId"]: tag["Value"] for page in pages for tag in page["Tags"]}


def describe_uses(aws: Aws, instance_ids: Sequence[str]) -> dict[str, dict[str, Any]] | None:
    """Return by instance the fields of ``InstanceUse`` that EC2 reports."""
    return {
        each["InstanceId"]: {
            "name": tags(each).get("Name"),
            "state": each["State"]["Name"],
            "is_windows": runs_windows(each),
            "machine": Machine(
                int(each["LaunchTime"].timestamp()),
                each.get("PrivateDnsName", ""),
                each.get("PrivateIpAddress", ""),
                each["ImageId"],
                each["InstanceType"],
                tags(each).get("aws:autoscaling:groupName", ""),
            ),
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
        kinds = (KEY_STORES[name] for name in KEY_STORES if name in self._scope.key_stores)
        stores = [kind(aws, prefix) for kind in kinds if issubclass(kind, DocumentStore)]
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


class Inventory:
    """Reads an account.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    """

    def __init__(self, client_factory: Callable[..., Any], scope: Scope) -> None:
        self._scope = scope
        self._aws = Aws(partial(client_factory, region=scope.regions[0]))
        self._aws_in = {region: Aws(partial(client_factory, region=region)) for region in scope.regions}
        self._attempts = Attempts()

    @property
    def unread(self) -> tuple[Unread, ...]:
        """The parts that could not be read."""
        return self._attempts.unread

    def read(self) -> Account:
        """Read everything.

        :raises InvalidInput: the account is not the one that may be read. Nothing else was read.
        :raises AwsApiError: nothing could be read.
        :raises CwagentError: AWS did not answer.
        """
        identity = self._aws.call("sts:GetCallerIdentity", "read which account this is")
        if self._scope.account_id:
            refuse_other(identity["Account"], self._scope.account_id)
        partition = identity["Arn"].split(":")[1]
        principals, profiles = Principals(self._aws, self._attempts).read(self._scope)
        regions = Regions(self._aws_in, self._attempts, self._scope).read()
        has_all_principals = self._scope.names is None and not self._attempts.has_unread(ALL)
        account = Account(
            id=identity["Account"],
            partition=partition,
            label=self._scope.label,
            read_at=self._aws.now,
            regions=self._scope.regions,
            alias=self._attempts.attempt("the alias of the account", None, self._read_alias),
            principals=tuple(sorted(principals, key=lambda each: (each.kind, each.name))),
            profiles=tuple(sorted(profiles, key=lambda each: each.name)),
            nodes=tuple(node for region in regions for node in region.nodes),
            activations=tuple(activation for region in regions for activation in region.activations),
            parameters=tuple(parameter for region in regions for parameter in region.parameters),
            keys_without_user=self._find_keys_without_user(principals, regions) if has_all_principals else (),
            caller=identity["Arn"],
            histories=tuple(history for region in regions for history in region.histories),
        )
        assessments = assess(account)
        account = replace(account, principals=self._add_keys(account.principals, regions))
        account = replace(account, instances=self._read_instances(account, assessments, regions))
        self._attempts.raise_if_all_denied()
        return replace(account, unread=self.unread)

    def _read_alias(self) -> str | None:
        answer = self._aws.call("iam:ListAccountAliases", "read the alias of the account")
        return next(iter(answer["AccountAliases"]), None)

    def _read_instances(
        self, account: Account, assessments: Iterable[Assessment], regions: Iterable[Region]
    ) -> tuple[InstanceUse, ...]:
        """Read the instances that have a principal's role, are in the inventory or have a restore tag."""
        roles = {each.principal.name for each in assessments if each.principal.kind == ROLE}
        profiles = {profile.name for profile in account.profiles if profile.role in roles or profile.role is None}
        return tuple(use for region in regions for use in self._read_instances_in(region, profiles))

    def _read_instances_in(self, region: Region, profiles: Collection[str]) -> list[InstanceUse]:
        in_inventory = set((self._scope.instances or {}).get(region.name, ()))
        behind = {name for name, profile in region.profiles.items() if profile in profiles}
        wanted = sorted(in_inventory | behind | region.restore_tags.keys())
        read = partial(describe_uses, self._aws_in[region.name], wanted)
        found = self._attempts.attempt("the state of instances", region.name, read) if wanted else {}
        return [
            InstanceUse(
                name,
                region.name,
                profile=region.profiles.get(name),
                in_inventory=name in in_inventory,
                restore_tag=region.restore_tags.get(name),
                **(found[name] if found is not None else {}),
            )
            for name in wanted
            if found is None or name in found
        ]

    def _add_keys(self, principals: Iterable[Principal], regions: Iterable[Region]) -> tuple[Principal, ...]:
        """Add the access keys of our users."""
        principals = list(principals)
        places = {key: place for region in regions for key, place in region.saved_keys.items()}
        users = [each for each in principals if each.kind == USER and each.is_ours]
        keys = run_in_parallel(partial(self._read_keys, places), users)
        with_keys = {user.name: replace(user, keys=found) for user, found in zip(users, keys)}
        return tuple(with_keys.get(each.name, each) if each.kind == USER else each for each in principals)

    def _read_keys(self, places: Mapping[str, str], user: Principal) -> tuple[Key, ...] | None:
        listed = self._attempts.attempt("the access keys of users", None, lambda: access_keys(self._aws, user.name))
        if listed is None:
            return None
        return tuple(
            self._with_last_use(
                Key(
                    key.id,
                    key.active,
                    key.created or self._aws.now,
                    saved=self._is_saved(key.id, user, places),
                    saved_at=places.get(key.id),
                )
            )
            for key in sorted(listed, key=lambda each: each.id)
        )

    def _with_last_use(self, key: Key) -> Key:
        description = f"read when access key {key.id} was last used"
        read = partial(self._aws.call, "iam:GetAccessKeyLastUsed", description, AccessKeyId=key.id)
        answer = self._attempts.attempt("when access keys were last used", None, read)
        if answer is None:
            return replace(key, used_known=False)
        return replace(key, used=answer["AccessKeyLastUsed"].get("LastUsedDate"))

    def _is_saved(self, key_id: str, user: Principal, places: Mapping[str, str]) -> bool | None:
        """Whether a key is saved; ``None`` if it can be in a file, or in a place that was not read."""
        tagged = user.tags.get(SAVED_KEY_TAG)
        if key_id in places or tagged == key_id:
            return True
        has_other_stores = not all(KEY_STORES[name].IN_ACCOUNT for name in self._scope.key_stores)
        can_be_elsewhere = has_other_stores or self._attempts.has_unread(SAVED)
        return None if can_be_elsewhere and not tagged else False

    def _find_keys_without_user(
        self, principals: Iterable[Principal], regions: Sequence[Region]
    ) -> tuple[SavedKeyWithoutUser, ...]:
        """Return the saved keys whose users do not exist. :param principals: all of the account."""
        users = {each.name for each in principals if each.kind == USER}
        missing = sorted({user for region in regions for user, _store in region.saved_users} - users)
        absent = {user for user, is_absent in zip(missing, run_in_parallel(self._is_absent, missing)) if is_absent}
        return tuple(
            SavedKeyWithoutUser(user, region.name, store, place)
            for region in regions
            for (user, store), place in sorted(region.saved_users.items())
            if user in absent
        )

    def _is_absent(self, user: str) -> bool:
        """Whether a user certainly does not exist. The list of all users can lack a user created seconds ago."""
        what = "whether the users of saved keys exist"
        try:
            return self._attempts.attempt(what, None, lambda: find_user(self._aws, user) is None) is True
        except AwsApiError as error:
            self._attempts.add_unread(what, error)
            return False

    def with_policy_tags(self, account: Account) -> Account:
        """Return an account with the tags of the fitted policies that principals have."""
        arns = sorted({arn for each in account.principals for arn in each.attached if is_fitted_policy(arn)})
        found = dict(zip(arns, run_in_parallel(self._read_policy_tags, arns)))
        tags = {arn: each for arn, each in found.items() if each is not None}
        return replace(account, policy_tags=tags, unread=self.unread)

    def with_enabled_regions(self, account: Account) -> Account:
        """Return an account with its enabled regions, if a fitted policy allows reading in others than were read."""
        if not unread_regions(account):
            return account
        read = partial(enabled_regions, self._aws)
        found = self._attempts.attempt("the enabled regions", self._scope.regions[0], read)
        return replace(account, enabled_regions=None if found is None else frozenset(found), unread=self.unread)

    def _read_policy_tags(self, arn: str) -> dict[str, str] | None:
        read = partial(self._aws.call, "iam:GetPolicy", f"read policy {arn}", PolicyArn=arn)
        answer = self._attempts.attempt("the tags of fitted policies", None, read)
        return None if answer is None else tags(answer["Policy"])

    def simulate_writes(self, account: Account, assessments: Iterable[Assessment]) -> dict[str, bool]:
        """Return by ARN whether IAM's simulation allows a write, for each principal that may write, or perhaps may."""
        asked = [each for each in assessments if each.needs_simulation]

        def simulate_write(assessment: Assessment) -> dict[str, bool]:
            context = request_context(assessment.principal, account.read_at, assessment.session)
            return self.simulate(assessment.principal, [PUT], str(assessment.parameter), context)

        answers = zip(asked, run_in_parallel(simulate_write, asked))
        return {each.principal.arn: found[PUT] for each, found in answers if PUT in found}

    def simulate(
        self, principal: Principal, actions: Sequence[str], resource: str, context: Mapping[str, Sequence[str]]
    ) -> dict[str, bool]:
        """Return by action whether IAM's simulation allows a call; without actions for which IAM lacks a value.

        :param context: the condition keys of the call.
        """
        read = partial(read_simulation, self._aws, principal, actions, resource, context)
        return self._attempts.attempt("the simulation by IAM", None, read) or {}
