# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The names AWS accepts, and the ARNs and policies the agent needs, without asking AWS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ACCESS_POLICIES = {"server": "CloudWatchAgentServerPolicy", "admin": "CloudWatchAgentAdminPolicy"}
SSM_POLICIES = {
    "AmazonSSMManagedInstanceCore": "AmazonSSMManagedInstanceCore",
    "AmazonEC2RoleforSSM": "service-role/AmazonEC2RoleforSSM",
}
DEPRECATED_SSM_POLICY = "AmazonEC2RoleforSSM"
SSM_CHOICES = ["none", *SSM_POLICIES]

# The agent's policies allow it to read and write parameters of these names, and no others.
PARAMETER_PREFIX = "AmazonCloudWatch-"
# The inline policy by which the admin window is opened and closed; ours, wherever it is found.
WINDOW_POLICY = "CloudWatchAgentAdminWindow"

# Patterns are text here and in other files: a module needs few of them, and compiles those where it does.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_CHARACTERS = r"[\w+=,.@-]"
_LENGTHS = {"role": 64, "user": 64, "instance profile": 128}
_PATH = r"/|/[\x21-\x7e]{1,510}/"
_POLICY_ARN = r"arn:(aws[a-z-]*):iam::(aws|\d{12}):policy/[\x21-\x7e]+"
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html: eight or seventeen hexadecimal digits
_INSTANCE_ID = r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})"
_TAG_CHARACTERS = r"[\w .:/=+@-]*"
MAX_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE = 50, 128, 256


def partition_of(region: str | None) -> str:
    """The partition of a region, told by its name: AWS gives each partition its own prefixes.

    https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
    """
    prefixes = {
        "cn-": "aws-cn",
        "us-gov-": "aws-us-gov",
        "us-iso-": "aws-iso",
        "us-isob-": "aws-iso-b",
        "eu-isoe-": "aws-iso-e",
        "us-isof-": "aws-iso-f",
        "eusc-": "aws-eusc",
    }
    return next((name for prefix, name in prefixes.items() if (region or "").startswith(prefix)), "aws")


def aws_policy_arn(name: str, partition: str) -> str:
    """The ARN of a policy that AWS manages; ``name`` includes its path, if it has one."""
    return f"arn:{partition}:iam::aws:policy/{name}"


def agent_policies(partition: str) -> frozenset[str]:
    """The ARNs of all policies that are this collection's to attach and detach."""
    return frozenset(aws_policy_arn(name, partition) for name in [*ACCESS_POLICIES.values(), *SSM_POLICIES.values()])


def declared_policies(access: str, ssm_policy: str | None, partition: str) -> tuple[frozenset[str], frozenset[str]]:
    """The agent policies to hold and to be without, for an access and a choice of SSM policy.

    :param ssm_policy: a key of ``SSM_POLICIES``, ``none`` for neither, ``None`` for leave as it is.
    """
    principal = {ACCESS_POLICIES[access]}
    managed = set(ACCESS_POLICIES.values())
    if ssm_policy is not None:
        managed |= set(SSM_POLICIES.values())
        principal |= {SSM_POLICIES[ssm_policy]} if ssm_policy != "none" else set()
    return (
        frozenset(aws_policy_arn(name, partition) for name in principal),
        frozenset(aws_policy_arn(name, partition) for name in managed - principal),
    )


def check_name(kind: str, name: str) -> None:
    """Refuse a name that IAM would refuse.

    :param kind: ``role``, ``user`` or ``instance profile``.
    :raises InvalidInput: it says which characters and how many IAM allows.
    """
    if not re.fullmatch(f"{_CHARACTERS}{{1,{_LENGTHS[kind]}}}", name, re.ASCII):
        raise InvalidInput(
            f"'{name}' is no valid {kind} name: IAM allows 1 to {_LENGTHS[kind]} characters, "
            "letters, digits and any of +=,.@_- (no spaces)."
        )


def check_different(names: Collection[str]) -> None:
    """Refuse names that IAM takes for one. :raises InvalidInput: it names them."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise InvalidInput(f"'{other}' and '{name}' differ only by case, and IAM takes them for one name.")


def check_path(path: str | None) -> None:
    """Refuse a path that IAM would refuse. :raises InvalidInput: it says what a path looks like."""
    if path is not None and not re.fullmatch(_PATH, path):
        raise InvalidInput(f"'{path}' is no valid IAM path: it begins and ends with a slash, such as /monitoring/.")


def check_policy_arn(arn: str, partition: str, option: str) -> None:
    """Refuse what is not the ARN of a managed policy of this partition.

    :param option: the option it was given for.
    :raises InvalidInput: it says what such an ARN looks like.
    """
    match = re.fullmatch(_POLICY_ARN, arn, re.ASCII)
    if not match:
        sample = aws_policy_arn("ReadOnlyAccess", partition)
        raise InvalidInput(f"{option}: '{arn}' is not the ARN of a managed policy, such as {sample}.")
    if match.group(1) != partition:
        raise InvalidInput(
            f"{option}: '{arn}' belongs to partition {match.group(1)}, but the region in use is in {partition}."
        )


def check_tags(tags: Mapping[str, str] | None) -> None:
    """Refuse tags that AWS would refuse.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
    :raises InvalidInput: it names the tag.
    """
    if tags is None:
        return
    if len(tags) > MAX_TAGS:
        raise InvalidInput(f"{len(tags)} tags were given; AWS allows {MAX_TAGS} on one resource.")
    if len({key.lower() for key in tags}) < len(tags):
        raise InvalidInput("tags: two keys differ only by case, and IAM takes them for one.")
    for key, value in tags.items():
        if not re.fullmatch(_TAG_CHARACTERS, key + value):
            raise InvalidInput(
                f"tag '{key}': AWS allows letters, digits, spaces and any of _.:/=+-@ in keys and values."
            )
        if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise InvalidInput(
                f"tag '{key}': AWS allows keys of 1 to {MAX_TAG_KEY} and values of up to {MAX_TAG_VALUE} characters."
            )
        if key.lower().startswith("aws:"):
            raise InvalidInput(f"tag '{key}': keys that begin with aws: are reserved by AWS.")


def check_instance_id(instance_id: str) -> None:
    """Refuse what EC2 would call malformed. :raises InvalidInput: it says what an id looks like."""
    if not re.fullmatch(_INSTANCE_ID, instance_id):
        raise InvalidInput(
            f"'{instance_id}' is no EC2 instance id: it is i- and 8 or 17 hexadecimal digits, "
            "such as i-0123456789abcdef0."
        )


def name_of(arn: str) -> str:
    """The name at the end of an ARN, without the path."""
    return arn.rsplit("/", 1)[-1]
