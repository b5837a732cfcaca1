# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes principals, policies, profiles and decisions of the answers of IAM."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Policy, Principal, Profile
from ansible_collections.cwagent.iam.plugins.module_utils._names import name_of
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import boundary, tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

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


def principal_in(
    kind: str, details: Mapping[str, Any], groups: Mapping[str, Any], documents: Mapping[str, Any]
) -> Principal:
    """Return a principal in the authorization details of an account."""
    noun = kind.title()
    bound = boundary(dict(details))
    found = Principal(
        kind,
        details[f"{noun}Name"],
        details["Arn"],
        details[f"{noun}Id"],
        details["CreateDate"],
        tags(dict(details)),
        (
            *policies_in(details, f"{noun}PolicyList"),
            *(
                replace(policy, group=group)
                for group in details.get("GroupList", ())
                for policy in policies_in(groups.get(group, {}), "GroupPolicyList")
            ),
        ),
        Policy(name_of(bound), None, bound) if bound else None,
        details.get("AssumeRolePolicyDocument"),
        tuple(sorted(each["InstanceProfileName"] for each in details.get("InstanceProfileList", ()))),
    )
    return add_documents(found, documents)


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
