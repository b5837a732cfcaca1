# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trust policies of roles: for EC2, and for servers that are registered with Systems Manager. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._names import NOT_CREATED, is_region
from ansible_collections.cwagent.iam.plugins.module_utils._principal.patterns import is_match, to_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EC2, EC2_IN_CHINA = "ec2.amazonaws.com", "ec2.amazonaws.com.cn"
# https://docs.aws.amazon.com/systems-manager/latest/userguide/hybrid-multicloud-service-role.html
SSM = "ssm.amazonaws.com"
ACTION, VERSION = "sts:AssumeRole", "2012-10-17"
SOURCE_ACCOUNT, SOURCE_ARN = "aws:SourceAccount", "aws:SourceArn"
# By condition key in lower case, the operators that compare it with patterns or with one value.
_OPERATORS = {
    SOURCE_ACCOUNT.lower(): {"StringEquals", "StringLike"},
    SOURCE_ARN.lower(): {"ArnEquals", "ArnLike", "StringLike"},
}
# The colons before the resource of an ARN.
_ARN_SEPARATORS = 5


@dataclass(frozen=True)
class Ec2Trust:
    """EC2 may assume the role, for the instances with its instance profile.

    :param service: the service principal of EC2 in this partition.
    """

    service: str = EC2

    def new_policy(self) -> dict[str, Any]:
        """Return the trust policy of a new role."""
        return _policy_of(_statement(self.service))

    def planned_policy(self, current: Mapping[str, Any], *, exclusive: bool) -> Mapping[str, Any]:
        """Return the trust policy after all steps.

        A policy that already trusts EC2 by name stays as it is. Otherwise, the statement that trusts EC2 is added to
        it, even if wildcards include EC2. With ``exclusive``, the policy trusts EC2 and nothing else.
        """
        statements = statements_of(current)
        is_trusted = any(self._allows(each) and _names_one_of(each, self.services) for each in statements)
        if exclusive:
            is_alone = len(statements) == 1 and self.is_own(statements[0])
            return current if is_trusted and is_alone else self.new_policy()
        return current if is_trusted else {**current, "Statement": [*statements, _statement(self.service)]}

    def is_in(self, policy: Mapping[str, Any]) -> bool:
        """Whether a trust policy lets EC2 assume the role, without conditions."""
        return any(self._allows(each) and _is_about(each, self.services) for each in statements_of(policy))

    @property
    def services(self) -> set[str]:
        """The service principals that are to assume the role."""
        return _accepted_services(self.service)

    def _allows(self, statement: Mapping[str, Any]) -> bool:
        return statement.get("Effect") == "Allow" and "Condition" not in statement

    def is_own(self, statement: Mapping[str, Any]) -> bool:
        """Whether a statement lets EC2 assume the role, and does nothing else."""
        principal = statement.get("Principal")
        services = (
            _as_list(principal["Service"]) if isinstance(principal, dict) and set(principal) == {"Service"} else []
        )
        return (
            statement.get("Effect") == "Allow"
            and bool(services)
            and self.services.issuperset(services)
            and _as_list(statement.get("Action")) == [ACTION]
            and set(statement) <= {"Sid", "Effect", "Principal", "Action"}
        )

    def problem(self, policy: Mapping[str, Any], *, is_marked: bool) -> str | None:
        """Return why instances cannot use the role, in words that follow its name. A managed role is usable."""
        del is_marked
        if self.is_in(policy):
            return None
        return (
            f"{NOT_CREATED}, so its trust policy was not changed; it does not let {self.service} assume the role, so "
            "instances cannot use it. Set adopt_existing to true to add that"
        )


@dataclass(frozen=True)
class HybridTrust:
    """Systems Manager may assume the role, for the servers that are registered with it in these regions.

    :param partition: the partition of the regions.
    :param account_id: the account of the role, in which the servers are registered.
    :param regions: none before a deletion, for which they make no difference.
    """

    partition: str
    account_id: str
    regions: frozenset[str] = frozenset()

    @property
    def services(self) -> set[str]:
        """The service principals that are to assume the role."""
        return {SSM}

    def new_policy(self) -> dict[str, Any]:
        """Return the trust policy of a new role."""
        condition = {
            "StringEquals": {SOURCE_ACCOUNT: self.account_id},
            "ArnEquals": {SOURCE_ARN: self._arns(self.regions)},
        }
        return _policy_of({**_statement(SSM), "Condition": condition})

    def planned_policy(self, current: Mapping[str, Any], *, exclusive: bool) -> Mapping[str, Any]:
        """Return the trust policy after all steps.

        Regions are added to a policy that this collection could have written for others. They are never removed from
        it, not even with ``exclusive``, because other runs can be for other regions. Any other policy stays as it is,
        unless it is replaced with ``exclusive``.
        """
        regions = self._regions_in(current)
        if regions is None:
            return self.new_policy() if exclusive else current
        return current if self.regions <= regions else replace(self, regions=regions | self.regions).new_policy()

    def is_own(self, statement: Mapping[str, Any]) -> bool:
        """Whether this collection could have written a statement, for any regions."""
        return self._regions_in(_policy_of(statement)) is not None

    def problem(self, policy: Mapping[str, Any], *, is_marked: bool) -> str | None:
        """Return in which regions servers cannot use the role and the missing statement, in words that follow its name.

        :param is_marked: whether this collection created or adopted the role.
        """
        missing = [region for region in sorted(self.regions) if not self.is_in(policy, region)]
        if not missing:
            return None
        reason = f"{NOT_CREATED}, so its trust policy was not changed"
        if is_marked:
            reason = "has a trust policy that somebody else wrote or extended, which was not changed"
        found = (
            f"{reason}; it does not let {SSM} assume the role in {', '.join(missing)}, so hybrid servers there cannot "
            "use it."
        )
        if not is_marked and self._regions_in(policy) is not None:
            return f"{found} Set adopt_existing to true to add {', '.join(self._arns(missing))}"
        return (
            f"{found} Add a statement that allows {self.describe_statement(missing)}; or set exclusive to true to "
            "replace the trust policy"
        )

    def describe_statement(self, regions: Iterable[str]) -> str:
        """Return what a statement for servers in these regions allows, in words."""
        return (
            f"{ACTION} to the service {SSM} with the conditions StringEquals {SOURCE_ACCOUNT} {self.account_id} and "
            f"ArnEquals {SOURCE_ARN} {', '.join(self._arns(regions))}"
        )

    def _arns(self, regions: Iterable[str]) -> list[str]:
        """Return the ARNs of everything that Systems Manager has in these regions of the account."""
        return [f"arn:{self.partition}:ssm:{region}:{self.account_id}:*" for region in sorted(regions)]

    def _regions_in(self, policy: Mapping[str, Any]) -> frozenset[str] | None:
        """Return the regions for which this collection would write this policy; ``None`` if there are none such."""
        statements = statements_of(policy)
        regions = find_regions(statements)
        written = replace(self, regions=regions).new_policy()
        is_written = _canonical({**policy, "Statement": statements}) == _canonical(written)
        return regions if regions and is_written else None

    def is_in(self, policy: Mapping[str, Any], region: str) -> bool:
        """Whether a policy lets Systems Manager assume the role in a region, without conditions on anything else."""
        statements = statements_of(policy)
        effects = {statement.get("Effect") for statement in statements if self._applies(statement, region)}
        return effects == {"Allow"}

    def _applies(self, statement: Mapping[str, Any], region: str) -> bool:
        [arn] = self._arns([region])
        request = {SOURCE_ACCOUNT.lower(): self.account_id, SOURCE_ARN.lower(): arn}
        return _is_about(statement, {SSM}) and all(
            operator in _OPERATORS.get(key.lower(), ())
            and any(_is_met(operator, request[key.lower()], str(value)) for value in _as_list(values))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )


def statements_of(policy: Mapping[str, Any]) -> list[Any]:
    """Return the statements of a policy, which can have one without a list."""
    return _as_list(policy.get("Statement", []))


def trusted_principals(policy: Mapping[str, Any]) -> set[str]:
    """Return the principals that a trust policy lets assume the role, whatever the conditions.

    A statement with ``NotPrincipal`` trusts all others, which is ``*``.
    """
    statements = statements_of(policy)
    allowed, denied = (
        {name for each in statements if each.get("Effect") == effect for name in _principals_in(each)}
        for effect in ("Allow", "Deny")
    )
    return allowed - denied


def _principals_in(statement: Mapping[str, Any]) -> set[str]:
    if not any(map(_is_assuming, _as_list(statement.get("Action", ())))):
        return set()
    principal = statement.get("Principal", "*")
    values = principal.values() if isinstance(principal, dict) else [principal]
    return {str(name) for value in values for name in _as_list(value)}


def _is_assuming(action: str) -> bool:
    return action in ("*", "sts:*") or action.startswith("sts:AssumeRole")


def ec2_service(partition: str) -> str:
    """Return the service principal of EC2 for a new role. In China its name ends with the domain of the partition."""
    return EC2_IN_CHINA if partition == "aws-cn" else EC2


def _accepted_services(service: str) -> set[str]:
    """Return the service principals of EC2 that a trust policy can contain. In China, either one works.

    https://github.com/aws/aws-cli/pull/8709
    """
    return {EC2, EC2_IN_CHINA} if service == EC2_IN_CHINA else {service}


def _policy_of(statement: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": VERSION, "Statement": [statement]}


def _statement(service: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": service}, "Action": ACTION}


def _is_about(statement: Mapping[str, Any], services: set[str]) -> bool:
    """Whether a statement is about the assumption of the role by one of these services, among others.

    IAM ignores the case of actions. A principal that is only a wildcard includes every service.
    """
    principal = statement.get("Principal")
    found = principal.get("Service", []) if isinstance(principal, dict) else principal
    return not {"*", *services}.isdisjoint(_as_list(found)) and any(
        is_match(to_pattern(str(action)), ACTION, ignore_case=True) for action in _as_list(statement.get("Action", []))
    )


def _names_one_of(statement: Mapping[str, Any], services: set[str]) -> bool:
    """Whether a statement contains the assumption of the role and one of these services without wildcards."""
    principal = statement.get("Principal")
    return (
        isinstance(principal, dict)
        and not services.isdisjoint(_as_list(principal.get("Service", [])))
        and ACTION in _as_list(statement.get("Action", []))
    )


def find_regions(statements: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the regions in the ARNs of statements as this collection writes them."""
    arns = [
        str(arn)
        for statement in statements
        for arn in _as_list(statement.get("Condition", {}).get("ArnEquals", {}).get(SOURCE_ARN, []))
    ]
    # The fourth part. Whether the other parts are right, a comparison with the written policy shows.
    return frozenset(region for arn in arns for region in arn.split(":")[3:4] if is_region(region))


def _is_met(operator: str, value: str, expected: str) -> bool:
    """Whether a condition of this operator is met. The parts of an ARN are compared one by one."""
    if operator == "StringEquals":
        return value == expected
    separators = _ARN_SEPARATORS if operator.startswith("Arn") else 0
    values, patterns = value.split(":", separators), expected.split(":", separators)
    return len(values) == len(patterns) and all(map(is_match, map(to_pattern, patterns), values))


def _canonical(value: Any) -> Any:
    """Return a part of a policy in a form that is equal for policies that mean the same.

    Policies may have one value or a list of values, in any order.
    """
    if isinstance(value, dict):
        return {key: _canonical(each) for key, each in value.items()}
    values = _as_list(value)
    has_parts = any(isinstance(each, dict) for each in values)
    return [_canonical(each) for each in values] if has_parts else sorted({str(each) for each in values})


def _as_list(value: Any) -> list[Any]:
    """Return an element of a policy as a list: policies may have one value or a list of values."""
    return list(value) if isinstance(value, (list, tuple)) else [value]
