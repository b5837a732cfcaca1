# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads roles, users, their policies and instance profiles, and records which reads are denied."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .._ground.errors import DENIED_CODES, MISSING_POLICY, NOT_OFFERED_CODES, AwsApiError
from .._ground.names import name_of
from .._ground.plan import NOT_FOUND_CODES, run_in_parallel
from .._principals.principal import PAGE_SIZE, attached_policies, boundary, inline_policies, read_account, tags
from .model import ROLE, USER, Policy, Principal, Profile, Unread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._ground.aws import Aws
    from .model import Scope


T = TypeVar("T")


class Attempts:
    """Tries the reads of an account. AWS may deny each of them."""

    def __init__(self) -> None:
        self._unread: list[Unread] = []
        self._errors: list[AwsApiError] = []
        self._has_read = False

    def attempt(self, what: str, region: str | None, work: Callable[[], T], *more: str) -> T | None:
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
            for part in (what, *more):
                self.add_unread(part, error, region)
            return None
        self._has_read = True
        return found

    def add_unread(self, what: str, error: AwsApiError, region: str | None = None) -> None:
        """Record a part that could not be read."""
        self._unread.append(Unread(what, error.action, region, str(error)))

    def has_unread(self, what: str) -> bool:
        """Whether a part could not be read, in any region."""
        return any(each.what == what for each in self._unread)

    @property
    def unread(self) -> tuple[Unread, ...]:
        """The parts that could not be read, each once, however many calls were denied."""
        parts = {(each.what, each.action, each.region or ""): each for each in reversed(self._unread)}
        return tuple(parts[key] for key in sorted(parts))

    def raise_if_all_denied(self) -> None:
        """Raise the error of the first read if AWS denied every read.

        :raises AwsApiError: nothing could be read.
        """
        if not self._has_read:
            raise self._errors[0]


_CONTEXT_TYPES = {
    "aws:CurrentTime": "date",
    "aws:EpochTime": "numeric",
    "aws:PrincipalIsAWSService": "boolean",
    "aws:SecureTransport": "boolean",
    "aws:ViaAWSService": "boolean",
}


def default_document(policy: Mapping[str, Any]) -> Any:
    """Return the document of the default version of a managed policy."""
    versions = policy.get("PolicyVersionList", ())
    return next((each["Document"] for each in versions if each["IsDefaultVersion"]), None)


def managed_arns(principal: Principal) -> set[str]:
    """Return the ARNs of the managed policies of a principal, and of its boundary."""
    bounds = [principal.boundary] if principal.boundary else []
    return {policy.arn for policy in (*principal.policies, *bounds) if policy.arn}


def add_documents(principal: Principal, documents: Mapping[str, Any]) -> Principal:
    """Return a principal with the documents of its managed policies."""

    def add(policy: Policy) -> Policy:
        return replace(policy, document=documents[policy.arn]) if policy.arn else policy

    return replace(
        principal,
        policies=tuple(map(add, principal.policies)),
        boundary=add(principal.boundary) if principal.boundary else None,
    )


def principal_in(kind: str, details: dict[str, Any], policies: Iterable[Policy]) -> Principal:
    """Return a principal in an answer of IAM. :param policies: without the documents of managed policies."""
    noun, bound = kind.title(), boundary(details)
    return Principal(
        kind,
        details[f"{noun}Name"],
        details["Arn"],
        details[f"{noun}Id"],
        details["CreateDate"],
        tags(details),
        tuple(policies),
        Policy(name_of(bound), None, bound) if bound else None,
        details.get("AssumeRolePolicyDocument"),
        tuple(sorted(each["InstanceProfileName"] for each in details.get("InstanceProfileList", ()))),
    )


def policies_in(details: Mapping[str, Any], inline: str) -> list[Policy]:
    """Return the policies in the details of a principal or group. :param inline: the key of the inline policies."""
    attached = sorted(policy["PolicyArn"] for policy in details.get("AttachedManagedPolicies", ()))
    return [
        *(Policy(name_of(arn), None, arn) for arn in attached),
        *(Policy(each["PolicyName"], each["PolicyDocument"]) for each in details.get(inline, ())),
    ]


def profile_in(answer: Mapping[str, Any]) -> Profile:
    """Return an instance profile in an answer."""
    role = next((each["RoleName"] for each in answer["Roles"]), None)
    return Profile(answer["InstanceProfileName"], answer["Arn"], role)


def read_simulation(
    aws: Aws, principal: Principal, actions: Sequence[str], resource: str, context: Mapping[str, Sequence[str]]
) -> dict[str, bool]:
    """Return by action whether IAM's simulation allows a call; without actions for which IAM lacks a value."""
    answer = aws.call(
        "iam:SimulatePrincipalPolicy",
        f"simulate the policies of {principal.label}",
        PolicySourceArn=principal.arn,
        ActionNames=list(actions),
        ResourceArns=[resource],
        ContextEntries=[
            {
                "ContextKeyName": key,
                "ContextKeyValues": list(values),
                "ContextKeyType": _CONTEXT_TYPES.get(key, "string"),
            }
            for key, values in context.items()
            if values
        ],
    )
    return {
        each["EvalActionName"]: each["EvalDecision"] == "allowed"
        for each in answer["EvaluationResults"]
        if not each.get("MissingContextValues")
    }


ALL = "the roles and users of the account"
_DETAILS = ["User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"]
_NAMED = "the named roles and users"
# Stands for the policies of a principal that could not be read.
_UNREAD_POLICY = Policy("(not read)", None)


class Principals:
    """Reads the principals of an account."""

    def __init__(self, aws: Aws, attempts: Attempts) -> None:
        self._aws = aws
        self._attempts = attempts

    def read(self, scope: Scope) -> tuple[Sequence[Principal], Sequence[Profile]]:
        """Read the principals and instance profiles of a scope."""
        if not scope.has_access:
            return (), ()
        if scope.names is not None:
            return self._read_named(scope.names)
        principals = self._attempts.attempt(ALL, None, self._read_all) or []
        profiles = self._attempts.attempt("the instance profiles of the account", None, self._read_profiles)
        if profiles is None:
            profiles = [
                Profile(name, f"arn:{role.partition}:iam::{role.account_id}:instance-profile/{name}", role.name)
                for role in principals
                for name in role.profiles
            ]
        return principals, profiles

    def read_role(self, name: str, unless: Callable[[Principal], bool]) -> Principal | None:
        """Read one role, with the documents of its policies unless a condition is true without them.

        :returns: ``None`` if it does not exist or may not be read.
        """
        role = self._attempts.attempt(_NAMED, None, partial(self._read_principal, ROLE, name))
        if role is None or unless(role):
            return role
        return add_documents(role, self._read_documents(managed_arns(role)))

    def _read_all(self) -> list[Principal]:
        documents: dict[str, Any] = {}
        groups: dict[str, Any] = {}
        found: list[tuple[str, dict[str, Any]]] = []
        for page in read_account(self._aws, "read the roles and users of the account", *_DETAILS):
            documents.update((policy["Arn"], default_document(policy)) for policy in page["Policies"])
            groups.update((group["GroupName"], group) for group in page["GroupDetailList"])
            found += [(ROLE, role) for role in page["RoleDetailList"]]
            found += [(USER, user) for user in page["UserDetailList"]]
        holders = [*(details for _kind, details in found), *groups.values()]
        used = {policy["PolicyArn"] for each in holders for policy in each.get("AttachedManagedPolicies", ())}
        used |= {arn for _kind, details in found if (arn := boundary(details))}
        documents.update(self._read_documents(used - documents.keys()))
        return [
            add_documents(
                principal_in(
                    kind,
                    details,
                    [
                        *policies_in(details, f"{kind.title()}PolicyList"),
                        *(
                            replace(policy, group=group)
                            for group in details.get("GroupList", ())
                            for policy in policies_in(groups.get(group, {}), "GroupPolicyList")
                        ),
                    ],
                ),
                documents,
            )
            for kind, details in found
        ]

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

        return self._attempts.attempt("the documents of managed policies", None, read)

    def _read_named(self, names: Mapping[str, Sequence[str]]) -> tuple[Sequence[Principal], Sequence[Profile]]:
        named = [(kind, name) for kind, of_kind in names.items() for name in dict.fromkeys(of_kind)]
        found = run_in_parallel(
            lambda each: self._attempts.attempt(_NAMED, None, partial(self._read_principal, *each)), named
        )
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
        of_groups = self._policies_of_groups(name) if kind == USER else ()
        return principal_in(kind, answer[noun], [*self._policies_of(kind, name), *of_groups])

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

        parts = (self._attempts.attempt(what, None, read) for read in (read_attached, read_inline))
        return tuple(policy for part in parts for policy in ([_UNREAD_POLICY] if part is None else part))

    def _policies_of_groups(self, user: str) -> tuple[Policy, ...]:
        def list_groups() -> list[str]:
            pages = self._aws.pages("iam:ListGroupsForUser", f"list the groups of user '{user}'", UserName=user)
            return [group["GroupName"] for page in pages for group in page["Groups"]]

        groups = self._attempts.attempt("the groups of the named users", None, list_groups)
        if groups is None:
            return (_UNREAD_POLICY,)
        return tuple(replace(each, group=group) for group in groups for each in self._policies_of("group", group))

    def _profiles_of(self, role: Principal) -> list[Profile]:
        def read() -> list[Profile]:
            description = f"list the instance profiles of role '{role.name}'"
            pages = self._aws.pages("iam:ListInstanceProfilesForRole", description, RoleName=role.name)
            return [profile_in(each) for page in pages for each in page["InstanceProfiles"]]

        return self._attempts.attempt("the instance profiles of the named roles", None, read) or []
