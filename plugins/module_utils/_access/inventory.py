# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an account and its regions, and writes nothing.

It lists the parts that may not be read. Anything that depends on such a part is unknown.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import Simulation, assess
from ansible_collections.cwagent.iam.plugins.module_utils._access.authorization import (
    add_documents,
    default_document,
    managed_arns,
    principal_in,
    profile_in,
    read_simulation,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.instances import (
    PAGE_SIZE,
    describe_uses,
    read_restore_tags,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import (
    NODES,
    PARAMETERS,
    ROLE,
    USER,
    Account,
    ConfigParameter,
    InstanceUse,
    Key,
    Policy,
    Principal,
    Profile,
    SavedKeyWithoutUser,
    Unread,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.parameters import (
    parameter_in,
    read_histories,
    read_values,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.registrations import read_activations, read_nodes
from ansible_collections.cwagent.iam.plugins.module_utils._access.scope import Region, Scope
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.api import access_keys
from ansible_collections.cwagent.iam.plugins.module_utils._account.find import refuse_other
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import PUT
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import TYPE
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.parameter_store import (
    PARAMETERS_PER_CALL,
    list_parameters,
)
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import described_key
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import AWS_STORES
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED_CODES,
    MISSING_POLICY,
    NOT_OFFERED_CODES,
    AwsApiError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import read_associations
from ansible_collections.cwagent.iam.plugins.module_utils._names import (
    PARAMETER_PREFIX,
    SAVED_KEY_TAG,
    is_fitted_policy,
    name_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import (
    attached_policies,
    boundary,
    find_user,
    inline_policies,
    tags,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import Assessment
    from ansible_collections.cwagent.iam.plugins.module_utils._credentials.document_store import DocumentStore

T = TypeVar("T")

DETAILS = ["User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"]
# Stands for the policies of a principal that could not be read.
UNREAD_POLICY = Policy("(not read)", None)


class Inventory:
    """Reads an account.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    """

    def __init__(self, client_factory: Callable[..., Any], scope: Scope) -> None:
        self._scope = scope
        self._aws = Aws(partial(client_factory, region=scope.regions[0]))
        self._aws_in = {region: Aws(partial(client_factory, region=region)) for region in scope.regions}
        self._unread: list[Unread] = []
        self._errors: list[AwsApiError] = []
        self._has_read = False

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
        principals, profiles = self._read_principals() if self._scope.has_access else ((), ())
        regions = self._read_regions()
        account = Account(
            id=identity["Account"],
            partition=partition,
            label=self._scope.label,
            read_at=self._aws.now,
            regions=self._scope.regions,
            alias=self._attempt("the alias of the account", None, self._read_alias),
            principals=tuple(sorted(principals, key=lambda each: (each.kind, each.name))),
            profiles=tuple(sorted(profiles, key=lambda each: each.name)),
            nodes=tuple(node for region in regions for node in region.nodes),
            activations=tuple(activation for region in regions for activation in region.activations),
            parameters=tuple(parameter for region in regions for parameter in region.parameters),
            keys_without_user=self._find_keys_without_user(principals, regions),
            caller=identity["Arn"],
            histories=tuple(history for region in regions for history in region.histories),
        )
        assessments = assess(account)
        account = replace(account, principals=self._with_keys(account.principals, regions))
        account = replace(account, instances=self._read_instances(account, assessments, regions))
        if not self._has_read:
            raise self._errors[0]
        return replace(account, unread=self.unread)

    def read_role(self, name: str, unless: Callable[[Principal], bool]) -> Principal | None:
        """Read one role, with the documents of its policies unless a condition is true without them.

        :returns: ``None`` if it does not exist or may not be read.
        """
        role = self._attempt("the named roles and users", None, partial(self._read_principal, ROLE, name))
        if role is None or unless(role):
            return role
        return add_documents(role, self._read_documents(managed_arns(role)))

    def _attempt(self, what: str, region: str | None, work: Callable[[], T], *more: str) -> T | None:
        """Return the result of a read; ``None`` if it is denied, or if the object was deleted after the listing.

        :param more: further parts that the read serves.
        """
        try:
            found = work()
        except AwsApiError as error:
            if error.code in NOT_FOUND_CODES | {MISSING_POLICY}:
                return None
            if error.code not in DENIED_CODES | NOT_OFFERED_CODES:
                raise
            self._errors.append(error)
            self._unread += [Unread(each, error.action, region, str(error)) for each in (what, *more)]
            return None
        self._has_read = True
        return found

    @property
    def unread(self) -> tuple[Unread, ...]:
        """The parts that could not be read, each once, however many calls were denied."""
        parts = {(each.what, each.action, each.region or ""): each for each in reversed(self._unread)}
        return tuple(parts[key] for key in sorted(parts))

    # -- IAM --

    def _read_alias(self) -> str | None:
        answer = self._aws.call("iam:ListAccountAliases", "read the alias of the account")
        return next(iter(answer["AccountAliases"]), None)

    def _read_principals(self) -> tuple[Sequence[Principal], Sequence[Profile]]:
        if self._scope.names is not None:
            return self._read_named(self._scope.names)
        principals = self._attempt(_PRINCIPALS, None, self._read_all) or []
        profiles = self._attempt("the instance profiles of the account", None, self._read_profiles)
        if profiles is None:
            profiles = [
                Profile(name, f"arn:{role.partition}:iam::{role.account_id}:instance-profile/{name}", role.name)
                for role in principals
                for name in role.profiles
            ]
        return principals, profiles

    def _read_all(self) -> list[Principal]:
        documents: dict[str, Any] = {}
        groups: dict[str, Any] = {}
        found: list[tuple[str, dict[str, Any]]] = []
        for page in self._aws.pages(
            "iam:GetAccountAuthorizationDetails",
            "read the roles and users of the account",
            Filter=DETAILS,
            MaxItems=PAGE_SIZE,
        ):
            documents.update((policy["Arn"], default_document(policy)) for policy in page["Policies"])
            groups.update((group["GroupName"], group) for group in page["GroupDetailList"])
            found += [(ROLE, role) for role in page["RoleDetailList"]]
            found += [(USER, user) for user in page["UserDetailList"]]
        holders = [*(details for _kind, details in found), *groups.values()]
        used = {policy["PolicyArn"] for each in holders for policy in each.get("AttachedManagedPolicies", ())}
        used |= {arn for _kind, details in found if (arn := boundary(details))}
        documents.update(self._read_documents(used - documents.keys()))
        return [principal_in(kind, details, groups, documents) for kind, details in found]

    def _read_profiles(self) -> list[Profile]:
        pages = self._aws.pages("iam:ListInstanceProfiles", "list the instance profiles", MaxItems=PAGE_SIZE)
        return [profile_in(each) for page in pages for each in page["InstanceProfiles"]]

    def _read_documents(self, arns: Iterable[str]) -> dict[str, Any]:
        """Read the documents of managed policies one by one."""
        names = sorted(arns)
        return dict(zip(names, run_in_parallel(self._read_document, names)))

    def _read_document(self, arn: str) -> Any:
        def read() -> Any:
            description = f"read policy {arn}"
            version = self._aws.call("iam:GetPolicy", description, PolicyArn=arn)["Policy"]["DefaultVersionId"]
            answer = self._aws.call("iam:GetPolicyVersion", description, PolicyArn=arn, VersionId=version)
            return answer["PolicyVersion"]["Document"]

        return self._attempt("the documents of managed policies", None, read)

    def _read_named(self, names: Mapping[str, Sequence[str]]) -> tuple[Sequence[Principal], Sequence[Profile]]:
        named = [(kind, name) for kind, of_kind in names.items() for name in dict.fromkeys(of_kind)]
        what = "the named roles and users"
        found = run_in_parallel(lambda each: self._attempt(what, None, partial(self._read_principal, *each)), named)
        principals = [each for each in found if each]
        documents = self._read_documents({arn for each in principals for arn in managed_arns(each)})
        roles = [each for each in principals if each.kind == ROLE]
        profiles = [profile for found in run_in_parallel(self._profiles_of, roles) for profile in found]
        return [
            replace(
                add_documents(each, documents),
                profiles=tuple(sorted(profile.name for profile in profiles if profile.role == each.name)),
            )
            for each in principals
        ], profiles

    def _read_principal(self, kind: str, name: str) -> Principal | None:
        noun = kind.title()
        action, identity = f"iam:Get{noun}", {f"{noun}Name": name}
        answer = self._aws.find(action, f"read {kind} '{name}'", absent="NoSuchEntity", **identity)
        if answer is None:
            return None
        details = answer[noun]
        arn = boundary(details)
        return Principal(
            kind,
            details[f"{noun}Name"],
            details["Arn"],
            details[f"{noun}Id"],
            details["CreateDate"],
            tags(details),
            (*self._policies_of(kind, name), *(self._policies_of_groups(name) if kind == USER else ())),
            Policy(name_of(arn), None, arn) if arn else None,
            details.get("AssumeRolePolicyDocument"),
        )

    def _policies_of(self, kind: str, name: str) -> tuple[Policy, ...]:
        """Read the policies of a role, user or group, without the documents of managed policies."""
        what = f"the policies of the named {kind}s"

        def read_attached() -> list[Policy]:
            return [Policy(name_of(arn), None, arn) for arn in sorted(attached_policies(self._aws, kind, name))]

        def read_inline() -> list[Policy]:
            noun = kind.title()
            description = f"read the inline policies of {kind} '{name}'"
            names = sorted(inline_policies(self._aws, kind, name))
            arguments: list[dict[str, Any]] = [{"PolicyName": each, f"{noun}Name": name} for each in names]
            answers = [self._aws.call(f"iam:Get{noun}Policy", description, **each) for each in arguments]
            return [Policy(each["PolicyName"], each["PolicyDocument"]) for each in answers]

        parts = (self._attempt(what, None, read) for read in (read_attached, read_inline))
        return tuple(policy for part in parts for policy in ([UNREAD_POLICY] if part is None else part))

    def _policies_of_groups(self, user: str) -> tuple[Policy, ...]:
        def list_groups() -> list[str]:
            pages = self._aws.pages("iam:ListGroupsForUser", f"list the groups of user '{user}'", UserName=user)
            return [group["GroupName"] for page in pages for group in page["Groups"]]

        groups = self._attempt("the groups of the named users", None, list_groups)
        if groups is None:
            return (UNREAD_POLICY,)
        return tuple(replace(each, group=group) for group in groups for each in self._policies_of("group", group))

    def _profiles_of(self, role: Principal) -> list[Profile]:
        def read() -> list[Profile]:
            description = f"list the instance profiles of role '{role.name}'"
            pages = self._aws.pages("iam:ListInstanceProfilesForRole", description, RoleName=role.name)
            return [profile_in(each) for page in pages for each in page["InstanceProfiles"]]

        return self._attempt("the instance profiles of the named roles", None, read) or []

    def _with_keys(self, principals: Iterable[Principal], regions: Iterable[Region]) -> tuple[Principal, ...]:
        """Add the access keys of our users."""
        principals = list(principals)
        places = {key: place for region in regions for key, place in region.saved_keys.items()}
        users = [each for each in principals if each.kind == USER and each.is_ours]
        keys = run_in_parallel(partial(self._read_keys, places), users)
        with_keys = {user.name: replace(user, keys=found) for user, found in zip(users, keys)}
        return tuple(with_keys.get(each.name, each) if each.kind == USER else each for each in principals)

    def _read_keys(self, places: Mapping[str, str], user: Principal) -> tuple[Key, ...] | None:
        listed = self._attempt("the access keys of users", None, lambda: access_keys(self._aws, user.name))
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
        answer = self._attempt("when access keys were last used", None, read)
        if answer is None:
            return replace(key, used_known=False)
        return replace(key, used=answer["AccessKeyLastUsed"].get("LastUsedDate"))

    def _is_saved(self, key_id: str, user: Principal, places: Mapping[str, str]) -> bool | None:
        """Whether a key is saved; ``None`` if it can be in a file, or in a place that was not read."""
        tagged = user.tags.get(SAVED_KEY_TAG)
        if key_id in places or tagged == key_id:
            return True
        can_be_elsewhere = {*self._scope.key_stores} - AWS_STORES.keys() or _SAVED in {
            each.what for each in self._unread
        }
        return None if can_be_elsewhere and not tagged else False

    # -- Regions --

    def _read_regions(self) -> list[Region]:
        for aws in self._aws_in.values():
            for service in ("ec2", "ssm", "secretsmanager"):
                aws.client(service)  # not in the threads: amazon.aws ends the module if it cannot make a client
        return run_in_parallel(self._read_region, self._scope.regions)

    def _read_region(self, name: str) -> Region:
        aws = self._aws_in[name]
        names = (self._scope.configurations or {}).get(name, ())
        read_versions = partial(read_histories, aws, name, names)
        histories = tuple(self._attempt(_VERSIONS, name, read_versions) or ()) if names else ()
        if not self._scope.has_access:
            return Region(name, histories)
        associations = self._attempt("the instance profiles of instances", name, partial(read_associations, aws)) or {}
        restore_tags = self._attempt("the restore tags of instances", name, partial(read_restore_tags, aws)) or {}
        nodes = self._attempt(NODES, name, partial(read_nodes, aws, name)) if self._scope.has_nodes else ()
        activations = (
            self._attempt("the activations of Systems Manager", name, partial(read_activations, aws, name))
            if self._scope.has_activations
            else ()
        )
        prefix = self._scope.key_prefix
        stores = [kind(aws, prefix) for store, kind in AWS_STORES.items() if store in self._scope.key_stores]
        # One call serves both: it cannot be restricted to some parameters.
        shared = [_SAVED for each in stores if each.ARE_PARAMETERS]
        prefixes = [PARAMETER_PREFIX, *([prefix] if shared else [])]
        read = partial(list_parameters, aws, prefixes, "list the configuration parameters")
        described = self._attempt(PARAMETERS, name, read, *shared) or []
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
        return self._attempt(_SAVED, region, read) or []

    def _find_keys_without_user(
        self, principals: Iterable[Principal], regions: Sequence[Region]
    ) -> tuple[SavedKeyWithoutUser, ...]:
        """Return the saved keys whose users do not exist; none unless all users of the account were read."""
        if self._scope.names is not None or any(each.what == _PRINCIPALS for each in self._unread):
            return ()
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
            return self._attempt(what, None, lambda: find_user(self._aws, user) is None) is True
        except AwsApiError as error:
            self._unread.append(Unread(what, error.action, None, str(error)))
            return False

    def _configurations(self, region: str, described: Sequence[Mapping[str, Any]]) -> tuple[ConfigParameter, ...]:
        names = sorted(each["Name"] for each in described if each["Type"] == TYPE)
        batches = [names[first : first + PARAMETERS_PER_CALL] for first in range(0, len(names), PARAMETERS_PER_CALL)]
        values: dict[str, str] = {}
        for batch in batches:
            read = partial(read_values, self._aws_in[region], batch)
            values.update(self._attempt("the content of configuration parameters", region, read) or {})
        shown = sorted(described, key=lambda each: str(each["Name"]))
        return tuple(parameter_in(each, region, values.get(each["Name"])) for each in shown)

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
        found = self._attempt("the state of instances", region.name, read) if wanted else {}
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

    def with_policy_tags(self, account: Account) -> Account:
        """Return an account with the tags of the fitted policies that principals have."""
        arns = sorted({arn for each in account.principals for arn in each.attached if is_fitted_policy(arn)})
        found = dict(zip(arns, run_in_parallel(self._read_policy_tags, arns)))
        tags = {arn: each for arn, each in found.items() if each is not None}
        return replace(account, policy_tags=tags, unread=self.unread)

    def _read_policy_tags(self, arn: str) -> dict[str, str] | None:
        read = partial(self._aws.call, "iam:GetPolicy", f"read policy {arn}", PolicyArn=arn)
        answer = self._attempt("the tags of fitted policies", None, read)
        return None if answer is None else tags(answer["Policy"])

    # -- Simulation --

    def simulate_writes(self, account: Account, assessments: Iterable[Assessment]) -> tuple[Simulation, ...]:
        """Simulate a write with IAM for each principal that may write, or perhaps may."""
        asked = [each for each in assessments if each.needs_simulation]
        found = run_in_parallel(partial(self._simulate_write, account), asked)
        return tuple(each for each in found if each)

    def _simulate_write(self, account: Account, assessment: Assessment) -> Simulation | None:
        principal = assessment.principal
        context = assessment.context(account.read_at)
        found = self.simulate(principal, [PUT], str(assessment.parameter), context)
        return Simulation(principal.arn, found[PUT]) if PUT in found else None

    def simulate(
        self, principal: Principal, actions: Sequence[str], resource: str, context: Mapping[str, Sequence[str]]
    ) -> dict[str, bool]:
        """Return by action whether IAM's simulation allows a call; without actions for which IAM lacks a value.

        :param context: the condition keys of the call.
        """
        read = partial(read_simulation, self._aws, principal, actions, resource, context)
        return self._attempt("the simulation by IAM", None, read) or {}


_SAVED = "where access keys are saved"
_VERSIONS = "the versions of configurations"
_PRINCIPALS = "the roles and users of the account"
