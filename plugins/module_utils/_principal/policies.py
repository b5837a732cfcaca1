# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed policies of the agent, and which of them a principal gets. Pure."""

from __future__ import annotations

from ansible_collections.cwagent.iam.plugins.module_utils._names import aws_policy_arn

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


def declared_policies(access: str, ssm_policy: str | None, partition: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the ARNs of the policies to attach, and of the policies to detach.

    :param access: a key of ``ACCESS_POLICIES``.
    :param ssm_policy: a key of ``SSM_POLICIES``, ``none`` for no such policy, ``None`` to leave them unchanged.
    """
    attached = {ACCESS_POLICIES[access]}
    managed = set(ACCESS_POLICIES.values())
    if ssm_policy is not None:
        managed |= set(SSM_POLICIES.values())
        attached |= {SSM_POLICIES[ssm_policy]} if ssm_policy != "none" else set()
    return (
        frozenset(aws_policy_arn(name, partition) for name in attached),
        frozenset(aws_policy_arn(name, partition) for name in managed - attached),
    )
