# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fitted policy of the configurations that a user gives, in the languages of the tools that manage IAM. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._configuration.parts import part_names
from .._configuration.policy import ACCOUNT, ANY, PARTITION, Scope, Source, fit, named_regions
from .._ground.names import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._configuration.parameter_plan import DesiredConfig
    from .options import Given

    Policy = Mapping[str, Any]


NAME = "CloudWatchAgentFittedPolicy"
DESCRIPTION = "The permissions that configurations of the CloudWatch agent need. Written by cwagent.iam.policy."
_RESOURCE = "cloudwatch_agent"


def fitted_result(
    valid: Iterable[tuple[Given, DesiredConfig]], account_id: str, emf_log_groups: Sequence[str]
) -> dict[str, Any]:
    """Return the fitted policy of configurations, for the result of a module.

    :param account_id: empty if it is not known.
    :raises InvalidInput: they need permissions that are not known or that nothing limits.
    """
    sources = [
        Source(given.name, desired.config, tuple(desired.names), () if "" in given.regions else given.regions)
        for given, desired in valid
    ]
    fitted = fit(sources, Scope(emf_log_groups=tuple(emf_log_groups)))
    configs = [each.config for each in sources if not isinstance(each.config, str)]
    regions = [*(region for each in sources for region in each.regions), *named_regions(configs)]
    partition = partition_of(next(iter(regions), ""))
    policies = [_replace(each, lambda arn: _fill(arn, partition, account_id or ANY)) for each in fitted.policies]
    return {
        "policies": policies,
        "json": json.dumps(policies[0] if len(policies) == 1 else policies, indent=2) + "\n",
        "terraform": to_terraform(fitted.policies),
        "cloudformation": to_cloudformation(fitted.policies),
        "warnings": list(fitted.notices),
    }


def to_terraform(policies: Sequence[Policy]) -> str:
    """Render policies with the names of partition and account as resources of Terraform."""
    blocks = [f'data "{each}" "{_RESOURCE}" {{}}' for each in ("aws_caller_identity", "aws_partition")]
    names = zip(part_names(NAME, len(policies)), part_names(_RESOURCE, len(policies)), policies)
    for name, resource, policy in names:
        filled = _replace(policy, _in_terraform, _escape)
        lines = json.dumps(filled, indent=2).replace("\n", "\n  ")
        blocks.append(
            f'resource "aws_iam_policy" "{resource.replace("-", "_")}" {{\n'
            f'  name        = "{name}"\n'
            f'  description = "{DESCRIPTION}"\n\n'
            f"  policy = jsonencode({lines})\n}}"
        )
    return "\n\n".join(blocks) + "\n"


def _in_terraform(arn: str) -> str:
    account = f"${{data.aws_caller_identity.{_RESOURCE}.account_id}}"
    return _fill(arn, f"${{data.aws_partition.{_RESOURCE}.partition}}", account)


def _escape(text: str) -> str:
    """Return a text in which Terraform replaces nothing."""
    return text.replace("${", "$${").replace("%{", "%%{")


def to_cloudformation(policies: Sequence[Policy]) -> str:
    """Render policies with the names of partition and account as a template of CloudFormation."""
    names = [each.replace("-", "") for each in part_names(NAME, len(policies))]
    resources = {
        name: {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"Description": DESCRIPTION, "PolicyDocument": _replace(policy, _in_cloudformation)},
        }
        for name, policy in zip(names, policies)
    }
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": DESCRIPTION,
        "Resources": resources,
        "Outputs": {name: {"Value": {"Ref": name}} for name in names},
    }
    return json.dumps(template, indent=2) + "\n"


def _in_cloudformation(arn: str) -> Any:
    filled = _fill(arn, "${AWS::Partition}", "${AWS::AccountId}")
    return arn if filled == arn else {"Fn::Sub": filled}


def _fill(arn: str, partition: str, account: str) -> str:
    return arn.replace(PARTITION, partition).replace(ACCOUNT, account)


def _replace(value: Any, replace_arn: Callable[[str], Any], replace_text: Callable[[str], str] = str) -> Any:
    """Return a policy with other ARNs and other texts. A namespace can look like the name of the account."""
    if isinstance(value, dict):
        return {key: _replace(each, replace_arn, replace_text) for key, each in value.items()}
    if isinstance(value, list):
        return [_replace(each, replace_arn, replace_text) for each in value]
    return replace_arn(value) if value.startswith("arn:") else replace_text(value)
