# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads of roles and users from IAM that several resources share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES, AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import REMOVE_BOUNDARY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

BULK_ACTION = "iam:GetAccountAuthorizationDetails"
PAGE_SIZE = 1000
# GetUser, ListAttachedUserPolicies, ListUserPolicies, ListGroupsForUser; the same number for a role with a window.
CALLS_PER_PRINCIPAL = 4


def read_details(
    aws: Aws, names: Collection[tuple[str, str]], others: dict[str, dict[str, Any]] | None = None
) -> tuple[dict[tuple[str, str], dict[str, Any]], bool]:
    """Read principals in bulk, as IAM describes them, and whether those that were not found do not exist.

    One page has up to a thousand principals with their policies, groups and tags. The number of pages is not known
    beforehand, so pages are read while they have taken fewer calls than reading the missing principals one by one
    would; that is at most twice the calls of the better way.

    :param names: the kind and the name of each principal.
    :param others: where to add the other users that the pages show.
    :raises AwsApiError: AWS answered with an error.
    """
    kinds = sorted({kind for kind, _name in names} | ({"user"} if others is not None else set()))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    description = f"read the {' and '.join(f'{kind}s' for kind in kinds)} of the account"
    wanted = [kind.title() for kind in kinds]
    for count, page in enumerate(aws.pages(BULK_ACTION, description, Filter=wanted, MaxItems=PAGE_SIZE), start=1):
        for kind, noun in zip(kinds, wanted):
            details = {(kind, each[f"{noun}Name"]): each for each in page[f"{noun}DetailList"]}
            found.update((key, details[key]) for key in details.keys() & names)
            if kind == "user" and others is not None:
                others.update((name, details[kind, name]) for _kind, name in details.keys() - names)
        missing = len(set(names) - found.keys())
        if not page.get("IsTruncated"):
            return found, True
        if names and count >= missing * CALLS_PER_PRINCIPAL:
            break
    return found, False


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


def find_user(aws: Aws, name: str) -> dict[str, Any] | None:
    """Read a user as IAM answers, without its policies; ``None`` if there is none."""
    found = aws.find("iam:GetUser", f"read user '{name}'", absent="NoSuchEntity", UserName=name)
    return found["User"] if found else None


def tags(answer: dict[str, Any]) -> dict[str, str]:
    """Return the tags in an answer of AWS."""
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}
