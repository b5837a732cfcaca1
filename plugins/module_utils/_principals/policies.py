# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed policies of the agent, and which of them a principal gets. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.names import (
    ATTACHED_TAG,
    FITTED_ENDING,
    FITTED_POLICIES,
    WINDOW_POLICY,
    aws_policy_arn,
    fitted_access,
    fitted_policy_arn,
    is_fitted_policy,
    is_marked,
    name_of,
)
from .._ground.text import join_first

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


# The managed policies of the agent: by access and by choice of ssm_policy, the name with its path. The options, their
# choices and the plans derive from these. A new one is added here and to the documented choices; tests compare the two.
ACCESS_POLICIES = {"server": "CloudWatchAgentServerPolicy", "admin": "CloudWatchAgentAdminPolicy"}
SSM_POLICIES = {
    "AmazonSSMManagedInstanceCore": "AmazonSSMManagedInstanceCore",
    "AmazonEC2RoleforSSM": "service-role/AmazonEC2RoleforSSM",
}
DEPRECATED_SSM_POLICY, SSM_SUCCESSOR = "AmazonEC2RoleforSSM", "AmazonSSMManagedInstanceCore"
SSM_CHOICES = ["none", *SSM_POLICIES]
# The values of server_policy: AWS's policies, or those that are fitted to the stored configurations.
AWS, FITTED = "aws", "fitted"
SERVER_POLICIES = [AWS, FITTED]
OPTION = "server_policy (in the playbooks cwagent_server_policy)"
_MAX_LISTED = 5


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


@dataclass(frozen=True)
class AccountPrincipal:
    """A role, user or group in the authorization details of the account, in 11 fields, because each is of one of them.

    :param kind: ``role``, ``user`` or ``group``.
    :param policies: ARNs of the attached managed policies.
    :param inline: by name, the documents of the inline policies.
    :param boundary: ARN of the permissions boundary.
    :param trust: the trust policy of a role.
    :param profiles: names of the instance profiles that contain a role.
    :param groups: names of the groups of a user.
    """

    kind: str
    name: str
    arn: str
    policies: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    path: str = "/"
    inline: Mapping[str, Any] = field(default_factory=dict)
    boundary: str | None = None
    trust: Mapping[str, Any] = field(default_factory=dict)
    profiles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    @property
    def partition(self) -> str:
        """The partition of the account."""
        return self.arn.split(":")[1]

    @property
    def tagged(self) -> frozenset[str]:
        """The ARNs of the policies that the tag of a role names: this collection has attached them, or was about to."""
        return tagged_policies(self.tags, self.arn) if self.kind == "role" else frozenset()

    @property
    def own(self) -> frozenset[str]:
        """The ARNs of the agent's policies that this collection has attached to a role of others."""
        return self.policies & self.tagged

    @property
    def has_tag(self) -> bool:
        """Whether this collection has attached a policy to a role of others, or was about to."""
        return bool(self.tagged)

    @property
    def is_admin(self) -> bool:
        """Whether it is an admin principal of this collection."""
        return WINDOW_POLICY in self.inline or any(map(is_admin_policy, self.policies))

    @property
    def has_fitted(self) -> bool:
        """Whether it has a fitted policy."""
        return any(map(is_fitted_policy, self.policies))

    @property
    def has_ours_of_aws(self) -> bool:
        """Whether it has a policy of AWS for the agent from this collection, according to its tags."""
        own = self.policies if is_marked(self.tags) else self.own
        return any(name_of(arn) in ACCESS_POLICIES.values() and arn.split(":")[4:5] == ["aws"] for arn in own)


@dataclass(frozen=True)
class ServerPolicy:
    """The policy that a run gives servers. :param notice: a sentence if the principals of the account differ."""

    name: str
    notice: str = ""


def choose_server_policy(
    given: str | None, attached: Collection[str], holders: Iterable[AccountPrincipal]
) -> ServerPolicy:
    """Choose between AWS's policies and fitted ones. Where the user gives none, the account decides.

    A fitted policy that is attached decides for the account, whichever principal has it: the principal can have been
    created by others, but only this collection writes the policy.

    :param given: the user's choice; blank for none.
    :param attached: the fitted policies that a principal has.
    :param holders: the principals of the account. They make no difference without a fitted policy.
    """
    if given:
        return ServerPolicy(given)
    if not attached:
        return ServerPolicy(AWS)
    all_holders = [*holders]
    others = [each for each in all_holders if each.has_ours_of_aws and not each.has_fitted]
    if not others:
        return ServerPolicy(FITTED)
    fitted = _list([each for each in all_holders if each.has_fitted]) or "other principals"
    return ServerPolicy(
        FITTED,
        f"The account is mixed: {_list(others)} still have AWS's policies, and {fitted} have fitted policies. {OPTION} "
        f"is not set, so this run uses fitted policies. To go back to AWS's, set it to {AWS} for all servers of "
        "the account.",
    )


def server_policy_of(principals: Sequence[AccountPrincipal]) -> ServerPolicy:
    """Return the policy that the account chooses. :param principals: all of its roles, users and groups."""
    attached = [arn for each in principals for arn in each.policies if is_fitted_policy(arn)]
    return choose_server_policy(None, attached, principals)


def _list(holders: Sequence[AccountPrincipal]) -> str:
    return join_first([f"{each.kind} '{each.name}'" for each in holders], _MAX_LISTED)


def fitted_for(access: str, arns: Sequence[str]) -> list[str]:
    """Return the fitted policies that a principal for an access gets. Admin principals run the agent too.

    :param arns: of all fitted policies of the account.
    :raises InvalidInput: the account lacks one of them.
    """
    found = []
    for each in dict.fromkeys(("server", access)):
        own = [arn for arn in arns if fitted_access(arn) == each]
        if not own:
            raise InvalidInput(
                f"{OPTION} is {FITTED}, and the account has no policy {FITTED_POLICIES[each]}. Create it with the "
                "playbook cwagent.iam.site or the module cwagent_fitted_policy."
            )
        found += own
    return found


def check_fitted(kind: str, name: str, boundary: str | None) -> None:
    """Check that a principal with fitted policies has a permissions boundary.

    :param boundary: its ARN after all steps.
    :raises InvalidInput: there is none.
    """
    if boundary is None:
        raise InvalidInput(
            f"{kind} '{name}' would have fitted policies and no permissions boundary. IAM cannot limit the content of "
            "a fitted policy, but a boundary limits what it grants. Set permissions_boundary (in the playbooks "
            "cwagent_permissions_boundary) to the ARN of a policy, or set server_policy to aws."
        )
