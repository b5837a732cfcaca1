# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed policies of the agent, and which of them a principal gets. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._names import (
    ATTACHED_TAG,
    FITTED_ENDING,
    FITTED_POLICIES,
    aws_policy_arn,
    fitted_access,
    fitted_policy_arn,
    name_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

# The managed policies of the agent: by access and by choice of ssm_policy, the name with its path. The options, their
# choices and the plans derive from these. A new one is added here and to the documented choices; tests compare the two.
ACCESS_POLICIES = {"server": "CloudWatchAgentServerPolicy", "admin": "CloudWatchAgentAdminPolicy"}
SSM_POLICIES = {
    "AmazonSSMManagedInstanceCore": "AmazonSSMManagedInstanceCore",
    "AmazonEC2RoleforSSM": "service-role/AmazonEC2RoleforSSM",
}
DEPRECATED_SSM_POLICY, SSM_SUCCESSOR = "AmazonEC2RoleforSSM", "AmazonSSMManagedInstanceCore"
SSM_CHOICES = ["none", *SSM_POLICIES]


def agent_policies(partition: str) -> frozenset[str]:
    """Return the ARNs of all policies that this collection attaches and detaches."""
    return frozenset(aws_policy_arn(name, partition) for name in [*ACCESS_POLICIES.values(), *SSM_POLICIES.values()])


def declared_policies(
    access: str, ssm_policy: str | None, partition: str, access_policies: Collection[str] = ()
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the ARNs of the policies to attach, and of AWS's policies to detach.

    :param access: a key of ``ACCESS_POLICIES``.
    :param ssm_policy: a key of ``SSM_POLICIES``, ``none`` for no such policy, ``None`` to leave them unchanged.
    :param access_policies: ARNs of the policies instead of AWS's for the access.
    """
    attached = set() if access_policies else {ACCESS_POLICIES[access]}
    managed = set(ACCESS_POLICIES.values())
    if ssm_policy is not None:
        managed |= set(SSM_POLICIES.values())
        attached |= {SSM_POLICIES[ssm_policy]} if ssm_policy != "none" else set()
    return (
        frozenset(aws_policy_arn(name, partition) for name in attached) | frozenset(access_policies),
        frozenset(aws_policy_arn(name, partition) for name in managed - attached),
    )


def is_server_policy(arn: str) -> bool:
    """Whether this is a policy for servers: AWS's or a fitted one."""
    return _is_aws(arn) or fitted_access(arn) == "server"


def _is_aws(arn: str) -> bool:
    return bool(re.fullmatch(aws_policy_arn(ACCESS_POLICIES["server"], "[a-z-]+"), arn))


def is_admin_policy(arn: str) -> bool:
    """Whether this is a policy for storing configurations: AWS's, by its name, or a fitted one."""
    return name_of(arn) == ACCESS_POLICIES["admin"] or fitted_access(arn) == "admin"


def tag_value(arns: Iterable[str]) -> str:
    """Return the value of the tag that names attached policies: ``-2`` stands for the second fitted one.

    IAM allows 256 characters, which is less than all full names have.
    """
    names = sorted(map(name_of, arns))
    return " ".join(re.sub(f"{FITTED_POLICIES['server']}(?={FITTED_ENDING}$)", "", name) for name in names)


def tagged_policies(tags: Mapping[str, str], role: str) -> frozenset[str]:
    """Return the ARNs of the policies for servers that the tag of a role names.

    Anyone who may tag the role can write any value. Only the agent's policies count.

    :param role: the ARN of the role.
    """
    _arn, partition, _iam, _region, account, _name = role.split(":", 5)
    named = tags.get(ATTACHED_TAG, "").split()
    full = [re.sub(f"^(?={FITTED_ENDING}$)", FITTED_POLICIES["server"], name) for name in named]
    aws = {aws_policy_arn(name, partition) for name in named}
    return frozenset(filter(is_server_policy, aws.union(fitted_policy_arn(name, partition, account) for name in full)))


def lacking_policies(needed: Collection[str], attached: Collection[str]) -> frozenset[str]:
    """Return the needed policies that are not attached. A server with AWS's policy lacks no fitted one.

    AWS's policy lacks what some configurations need in addition, such as ``aps:RemoteWrite``. ``verify`` reports that,
    as for every server with AWS's policy.
    """
    lacking = frozenset(needed) - frozenset(attached)
    if any(map(_is_aws, attached)):
        lacking = frozenset(arn for arn in lacking if fitted_access(arn) != "server")
    return lacking
