# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reads of roles, users and keys from IAM that several resources share, and the options of roles and users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.warnings import warn

from .._ground.errors import DENIED_CODES, AwsApiError, InvalidInput
from .._ground.names import (
    FITTED_PATH,
    check_path,
    check_policy_arn,
    check_tags,
    fitted_policy_arn,
    is_fitted_policy,
    partition_of,
    tags_as_text,
)
from .._ground.wait import WAIT_SPEC
from .._keys.key_rotation import AccessKey
from . import policies
from .policies import AWS, OPTION, AccountPrincipal, ServerPolicy, choose_server_policy
from .principal_plan import MAX_POLICIES, REMOVE_BOUNDARY, Declared

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from .._ground.aws import Aws


PAGE_SIZE = 1000
# GetUser, ListAttachedUserPolicies, ListUserPolicies, ListGroupsForUser.
CALLS_PER_USER = 4


def read_account(aws: Aws, description: str, *kinds: str) -> Iterator[dict[str, Any]]:
    """Read the authorization details of the account, in pages of up to a thousand entities.

    :param kinds: such as ``Role`` and ``User``.
    :raises AwsApiError: AWS answered with an error.
    """
    yield from aws.pages("iam:GetAccountAuthorizationDetails", description, Filter=[*kinds], MaxItems=PAGE_SIZE)


def principals_in(page: Mapping[str, Any]) -> list[AccountPrincipal]:
    """Return the roles, users and groups in a page of the authorization details of the account."""
    return [
        _to_principal(kind, each)
        for kind in ("role", "user", "group")
        for each in page.get(f"{kind.title()}DetailList", ())
    ]


def _to_principal(kind: str, details: dict[str, Any]) -> AccountPrincipal:
    noun = kind.title()
    return AccountPrincipal(
        kind,
        details[f"{noun}Name"],
        details["Arn"],
        frozenset(policy["PolicyArn"] for policy in details.get("AttachedManagedPolicies", ())),
        tags(details),
        details["Path"],
        {policy["PolicyName"]: policy["PolicyDocument"] for policy in details.get(f"{noun}PolicyList", ())},
        boundary(details),
        details.get("AssumeRolePolicyDocument", {}),
        frozenset(profile["InstanceProfileName"] for profile in details.get("InstanceProfileList", ())),
        frozenset(details.get("GroupList", ())),
    )


def find_users(aws: Aws, names: Collection[str]) -> tuple[dict[str, AccountPrincipal], bool]:
    """Read users in bulk, and whether the users that were not found do not exist.

    One page has up to a thousand users with their policies, groups and tags. The number of pages is not known
    beforehand. So pages are read until they have taken as many calls as reading the missing users one by one would.
    That takes at most twice the calls of the better way.

    :raises AwsApiError: AWS answered with an error.
    """
    found: dict[str, AccountPrincipal] = {}
    for count, page in enumerate(read_account(aws, "read the users of the account", "User"), start=1):
        found.update((each.name, each) for each in principals_in(page) if each.name in names)
        if not page.get("IsTruncated"):
            return found, True
        if count >= len(set(names) - found.keys()) * CALLS_PER_USER:
            break
    return found, False


def read_principals(aws: Aws, description: str, *kinds: str) -> list[AccountPrincipal]:
    """Read all roles, users or groups of the account, with ``read_account``."""
    return [each for page in read_account(aws, description, *kinds) for each in principals_in(page)]


def attached_policies(aws: Aws, kind: str, name: str) -> frozenset[str]:
    """Read the ARNs of the managed policies that are attached to a principal. :param kind: ``role`` or ``user``."""
    noun = kind.title()
    pages = aws.pages(
        f"iam:ListAttached{noun}Policies", f"list the policies of {kind} '{name}'", **{f"{noun}Name": name}
    )
    return frozenset(policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"])


def inline_policies(aws: Aws, kind: str, name: str) -> frozenset[str]:
    """Read the names of a principal's inline policies. :param kind: ``role`` or ``user``."""
    noun = kind.title()
    pages = aws.pages(
        f"iam:List{noun}Policies", f"list the inline policies of {kind} '{name}'", **{f"{noun}Name": name}
    )
    return frozenset(policy for page in pages for policy in page["PolicyNames"])


def find_server_policy(aws: Aws, given: str | None) -> tuple[ServerPolicy, list[str]]:
    """Return the policy that servers get, and the ARNs of all fitted policies of the account if it is not AWS's.

    :param given: the user's choice, which outranks the account; blank for none.
    :raises AwsApiError: AWS denied to read the account, or answered with another error.
    """
    if given == AWS:
        return choose_server_policy(given, (), ()), []
    try:
        counts = _fitted_policies(aws)
        attached = [arn for arn, count in counts.items() if count]
        holders = _holders(aws) if attached and not given else []
    except AwsApiError as error:
        if error.code not in DENIED_CODES or given:
            raise
        message = f"{error} Or set {OPTION} to the policy that the servers have."
        raise AwsApiError(message, error.code, error.action, error.explicit_deny) from error
    return choose_server_policy(given, attached, holders), [*counts]


def _fitted_policies(aws: Aws) -> dict[str, int]:
    """Read the ARNs of the fitted policies, each with the number of principals that have it."""
    description = "find out whether the servers of the account have fitted policies"
    pages = aws.pages("iam:ListPolicies", description, Scope="Local", PathPrefix=FITTED_PATH)
    found = {each["Arn"]: int(each.get("AttachmentCount", 0)) for page in pages for each in page["Policies"]}
    return {arn: count for arn, count in sorted(found.items()) if is_fitted_policy(arn)}


def _holders(aws: Aws) -> list[AccountPrincipal]:
    description = "find out which principals of the account have fitted policies"
    return read_principals(aws, description, "Role", "User")


def boundary(answer: dict[str, Any]) -> str | None:
    """Return the ARN of the permissions boundary in an answer about a principal; ``None`` if it has none."""
    arn = answer.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return str(arn) if arn else None


def check_boundary(aws: Aws, arn: str | None, current: Iterable[str | None]) -> None:
    """Check that the policy of a permissions boundary exists, unless all principals have it already.

    :param arn: the desired boundary; ``None`` or ``REMOVE_BOUNDARY`` for none.
    :param current: the boundaries that the principals have.
    :raises InvalidInput: the policy does not exist. Where the caller may not read it, IAM decides.
    """
    if arn in (None, REMOVE_BOUNDARY) or all(each == arn for each in current):
        return
    try:
        found = aws.find("iam:GetPolicy", f"read policy {arn}", absent="NoSuchEntity", PolicyArn=arn)
    except AwsApiError as error:
        if error.code not in DENIED_CODES:
            raise
        return
    if found is None:
        raise InvalidInput(f"permissions_boundary: policy {arn} does not exist. Create it first, or correct the ARN.")


def read_quota(aws: Aws, kind: str, numbers: Iterable[int]) -> int:
    """Return how many managed policies a principal can have. The default counts where the quota cannot be read.

    :param kind: ``role`` or ``user``.
    :param numbers: how many policies principals would have. The quota is read only if the default is too small.
    """
    if all(number <= MAX_POLICIES for number in numbers):
        return MAX_POLICIES
    try:
        answer = aws.call("iam:GetAccountSummary", f"read how many managed policies a {kind} can have")
    except AwsApiError as error:
        if error.code not in DENIED_CODES:
            raise
        warn(f"{error} Until then, the default of {MAX_POLICIES} counts.")
        return MAX_POLICIES
    return int(answer["SummaryMap"].get(f"AttachedPoliciesPer{kind.title()}Quota", MAX_POLICIES))


def find_account(aws: Aws) -> str:
    """Read the ID of the account to which the credentials belong. The call needs no permission."""
    return str(aws.call("sts:GetCallerIdentity", "read which account this is")["Account"])


def find_user(aws: Aws, name: str) -> dict[str, Any] | None:
    """Read a user as IAM answers, without its policies; ``None`` if there is none."""
    found = aws.find("iam:GetUser", f"read user '{name}'", absent="NoSuchEntity", UserName=name)
    return found["User"] if found else None


def tags(answer: dict[str, Any]) -> dict[str, str]:
    """Return the tags in an answer of AWS."""
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}


def access_keys(aws: Aws, user: str) -> tuple[AccessKey, ...]:
    """List the access keys of a user."""
    pages = aws.pages("iam:ListAccessKeys", f"list the access keys of user '{user}'", UserName=user)
    return tuple(
        AccessKey(key["AccessKeyId"], key["Status"] == "Active", key["CreateDate"])
        for page in pages
        for key in page["AccessKeyMetadata"]
    )


ACCESS_POLICIES_SPEC: dict[str, Any] = {
    "access_policies": {"type": "list", "elements": "str", "default": []},
    "server_policy": {"type": "str", "choices": policies.SERVER_POLICIES},
}
PRINCIPAL_SPEC: dict[str, Any] = {
    "access": {"type": "str", "choices": list(policies.ACCESS_POLICIES)},
    **ACCESS_POLICIES_SPEC,
    "ssm_policy": {"type": "str", "choices": policies.SSM_CHOICES},
    "managed_policies": {"type": "list", "elements": "str", "default": []},
    "exclusive": {"type": "bool", "default": False},
    "iam_path": {"type": "str"},
    "permissions_boundary": {"type": "str"},
    "tags": {"type": "dict"},
    "purge_tags": {"type": "bool"},
    "admin_window": {"type": "bool", "default": False},
    "adopt_existing": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_SPEC,
}


def with_policy_arns(params: Mapping[str, Any], aws: Aws, region: str | None) -> dict[str, Any]:
    """Return the options with the ARNs of the policies for the access. A name stands for a fitted policy.

    Without such policies, ``server_policy`` decides, or else the account. The result has this decision, so that calling
    this again reads nothing.

    :raises InvalidInput: neither the ARN of a policy of this partition nor the name of a fitted policy, or the account
        lacks a fitted policy.
    """
    if params.get("state") != "present":
        return {**params, "access_policies": []}
    given = params["access_policies"]
    if not given:
        return _with_policies_of_account(params, aws)
    partition = partition_of(region)
    names = [each for each in given if ":" not in each]
    account = find_account(aws) if names else ""
    found = [fitted_policy_arn(each, partition, account) if each in names else each for each in given]
    for arn in found:
        check_policy_arn(arn, partition, "access_policies")
    wrong = next((each for each, arn in zip(given, found) if each in names and not is_fitted_policy(arn)), None)
    if wrong is not None:
        raise InvalidInput(f"access_policies: '{wrong}' is neither an ARN nor the name of a fitted policy.")
    return {**params, "access_policies": found}


def _with_policies_of_account(params: Mapping[str, Any], aws: Aws) -> dict[str, Any]:
    chosen, arns = find_server_policy(aws, params["server_policy"])
    if chosen.notice:
        warn(chosen.notice)
    found = policies.fitted_for(params.get("access", "server"), arns) if chosen.name == policies.FITTED else []
    return {**params, "access_policies": found, "server_policy": chosen.name}


def declared_principal(params: Mapping[str, Any], region: str | None) -> Declared:
    """Return the properties of a principal that the options declare.

    :raises InvalidInput: AWS would refuse an option.
    """
    partition = partition_of(region)
    check_principal(params, partition)
    further = frozenset(params["managed_policies"])
    attach, detach = policies.declared_policies(
        params["access"] or "server", params["ssm_policy"], partition, params["access_policies"]
    )
    if params["ssm_policy"] == policies.DEPRECATED_SSM_POLICY and params["state"] == "present":
        warn(
            f"{policies.DEPRECATED_SSM_POLICY} is deprecated by AWS because it lets the instance read and write all of "
            f"S3; {policies.SSM_SUCCESSOR} is its successor."
        )
    return Declared(
        attach=attach | further,
        detach=detach,
        managed=policies.agent_policies(partition) | further,
        exclusive=params["exclusive"],
        path=params["iam_path"],
        boundary=params["permissions_boundary"],
        tags=_tags(params),
        admin_window=params["admin_window"],
        adopt=params["adopt_existing"],
        purge_tags=params["exclusive"] if params["purge_tags"] is None else params["purge_tags"],
        needs_boundary=params["server_policy"] == policies.FITTED,
    )


def check_principal(params: Mapping[str, Any], partition: str) -> None:
    """Check that IAM accepts these options. :raises InvalidInput: it does not. The message contains the option."""
    for arn in params.get("managed_policies", []):
        check_policy_arn(arn, partition, "managed_policies")
    boundary = params["permissions_boundary"]
    if boundary is not None and boundary != REMOVE_BOUNDARY:
        check_policy_arn(boundary, partition, "permissions_boundary")
    check_path(params["iam_path"])
    check_tags(_tags(params))


def _tags(params: Mapping[str, Any]) -> dict[str, str] | None:
    return None if params["tags"] is None else tags_as_text(params["tags"])
