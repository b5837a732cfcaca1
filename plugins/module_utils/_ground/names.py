# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names that AWS accepts, and the names that this collection uses. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


# The agent's policies allow it to read and write parameters whose names begin like this, and no others.
PARAMETER_PREFIX = "AmazonCloudWatch-"
# The agent takes a parameter with such a name for an OpenTelemetry configuration.
# https://github.com/aws/amazon-cloudwatch-agent: cmd/config-downloader and translator
YAML_ENDINGS = (".yaml", ".yml")
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_LabelParameterVersion.html
_LABEL = r"(?!(?i:aws|ssm))[A-Za-z_.-][A-Za-z0-9_.-]{0,99}"
# The name of the agent's file ends with the label, and the agent does not read such a file, or not as JSON.
_NO_LABEL_ENDINGS = (".tmp", *YAML_ENDINGS)
# The inline policy that opens and closes the admin window; this collection manages every policy of this name.
WINDOW_POLICY = "CloudWatchAgentAdminWindow"
# The tags of this collection. The mark shows whether it created or adopted a principal or an instance profile.
TAG_PREFIX = "cwagent:"
MARK_TAG = f"{TAG_PREFIX}managed"
CREATED, ADOPTED = "created", "adopted"
# The reason why a principal or an instance profile without the mark of its creation is not deleted.
NOT_CREATED = "was not created by this collection"
# The ID of the saved access key of an admin user.
SAVED_KEY_TAG = f"{TAG_PREFIX}saved-key"
# The policy that this collection has attached to a role of somebody else.
ATTACHED_TAG = f"{TAG_PREFIX}attached-policy"
# The names of the fitted policies of an account, by access, and their path. The second of several ends with ``-2``.
# This collection manages those that have the mark of its creation.
FITTED_PATH = "/cwagent/"
FITTED_POLICIES = {"server": "CloudWatchAgentFittedServerPolicy", "admin": "CloudWatchAgentFittedAdminPolicy"}
# There are at most ``MAX_POLICIES`` of ``_configuration/policy.py``.
FITTED_ENDING = "-[2-8]"
# The label of the versions that the last complete ``apply`` has brought to all servers.
APPLIED_LABEL = "cwagent-applied"
# The owners of reserved tags, by the beginning of the tag's key.
RESERVED_TAGS = {"aws:": "AWS", TAG_PREFIX: "this collection"}

# Patterns are text, here and in other files, so that a module compiles only the few that it uses.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_CHARACTERS = r"[\w+=,.@-]"
_LENGTHS = {"role": 64, "user": 64, "instance profile": 128}
_PATH = r"/|/[\x21-\x7e]{1,510}/"
_POLICY_ARN = r"arn:(aws[a-z-]*):iam::(aws|\d{12}):policy/[\x21-\x7e]+"
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html: eight or seventeen hexadecimal digits
_INSTANCE_ID = r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})"
# us-east-1, ap-southeast-12, us-gov-west-1, us-isob-east-1, eusc-de-east-1: an area, a direction and a number
_REGION = r"[a-z]{2,5}(-[a-z]+)*-(central|(north|south)?(east|west)?(?<!-))-[0-9]{1,2}"
_TAG_CHARACTERS = r"[\w .:/=+@-]*"
# IAM allows 50 tags. The others are left for the tags of this collection.
MAX_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE = 45, 128, 256


def names_by_region(option: str, given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the lists of an option by region. :raises InvalidInput: a value is not a list of names."""
    found = {}
    for region, value in given.items():
        names = value.split(",") if isinstance(value, str) and value else value or []
        if not isinstance(names, list) or not all(isinstance(each, (str, int)) for each in names):
            raise InvalidInput(f"{option}: the value of '{region}' is not a list of names.")
        found[region] = [str(each) for each in names]
    return found


def is_created(tags: Mapping[str, str]) -> bool:
    """Whether the tags of an IAM entity show that this collection created it, so that it may delete it."""
    return tags.get(MARK_TAG) == CREATED


def is_marked(tags: Mapping[str, str]) -> bool:
    """Whether the tags of an IAM entity show that this collection created or adopted it."""
    return tags.get(MARK_TAG) in (CREATED, ADOPTED)


def adoption_problem(kind: str, name: str) -> str:
    """Return why a principal gets no admin window without its adoption. :param kind: ``role`` or ``user``."""
    return (
        f"{kind} '{name}' exists and {NOT_CREATED}. An admin window would deny ssm:PutParameter to everyone who uses "
        "it. Choose another name, or set adopt_existing (cwagent_adopt_existing in the playbooks) to true to manage it."
    )


def partition_of(region: str | None) -> str:
    """Return the partition of a region. The names of regions begin differently in each partition.

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
    """Return the ARN of a policy that AWS manages. :param name: the name, with its path if it has one."""
    return f"arn:{partition}:iam::aws:policy/{name}"


def fitted_policy_arn(name: str, partition: str, account: str) -> str:
    """Return the ARN of a fitted policy."""
    return f"arn:{partition}:iam::{account}:policy{FITTED_PATH}{name}"


def is_fitted_policy(arn: str) -> bool:
    """Whether this is the ARN of a fitted policy, for whichever access."""
    return fitted_access(arn) is not None


def fitted_access(arn: str) -> str | None:
    """Return the access for which a fitted policy is; ``None`` if this is not the ARN of one."""
    names = "|".join(FITTED_POLICIES.values())
    match = re.fullmatch(rf"arn:[a-z-]+:iam::\d{{12}}:policy{FITTED_PATH}({names})(?:{FITTED_ENDING})?", arn)
    return next(access for access, name in FITTED_POLICIES.items() if name == match[1]) if match else None


def check_name(kind: str, name: str) -> None:
    """Check that IAM accepts a name.

    :param kind: ``role``, ``user`` or ``instance profile``.
    :raises InvalidInput: it does not. The message lists the allowed characters and their number.
    """
    if not re.fullmatch(f"{_CHARACTERS}{{1,{_LENGTHS[kind]}}}", name, re.ASCII):
        raise InvalidInput(
            f"'{name}' is not a valid {kind} name: IAM allows 1 to {_LENGTHS[kind]} characters, "
            "letters, digits and any of +=,.@_- (no spaces)."
        )


def check_different(names: Collection[str]) -> None:
    """Check that no two names differ only by case. :raises InvalidInput: two do. The message contains both."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise InvalidInput(f"'{other}' and '{name}' differ only by case, and IAM treats them as the same name.")


def check_path(path: str | None) -> None:
    """Check that IAM accepts a path. :raises InvalidInput: it does not. The message shows a valid path."""
    if path is not None and not re.fullmatch(_PATH, path):
        raise InvalidInput(
            f"'{path}' is not a valid IAM path: it must begin and end with a slash, such as /monitoring/."
        )


def check_policy_arn(arn: str, partition: str, option: str) -> None:
    """Check that an ARN belongs to a managed policy of this partition.

    :param option: the option that contains the ARN.
    :raises InvalidInput: it does not. The message shows a valid ARN, or the partition.
    """
    match = re.fullmatch(_POLICY_ARN, arn, re.ASCII)
    if not match:
        sample = aws_policy_arn("ReadOnlyAccess", partition)
        raise InvalidInput(f"{option}: '{arn}' is not the ARN of a managed policy, such as {sample}.")
    if match.group(1) != partition:
        raise InvalidInput(
            f"{option}: '{arn}' belongs to partition {match.group(1)}, but the region in use is in {partition}."
        )


def tags_as_text(tags: Mapping[Any, Any]) -> dict[str, str]:
    """Return tags with values as AWS stores them. YAML reads unquoted text as numbers and booleans."""
    words = {True: "true", False: "false", None: ""}
    return {
        str(key): words[value] if value is None or isinstance(value, bool) else str(value)
        for key, value in tags.items()
    }


def check_tags(tags: Mapping[str, str] | None) -> None:
    """Check that IAM accepts these tags.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
    :raises InvalidInput: it does not. The message contains the key of the tag.
    """
    if tags is None:
        return
    if len(tags) > MAX_TAGS:
        raise InvalidInput(f"tags: must be at most {MAX_TAGS}, not {len(tags)}.")
    if len({key.lower() for key in tags}) < len(tags):
        raise InvalidInput("tags: two keys differ only by case, and IAM treats them as the same key.")
    for key, value in tags.items():
        check_tag(key, value)
        _check_not_reserved(key)


def check_tag(key: str, value: str) -> None:
    """Check that AWS accepts a tag. :raises InvalidInput: it does not. The message contains the key."""
    if not re.fullmatch(_TAG_CHARACTERS, key + value):
        raise InvalidInput(f"tag '{key}': AWS allows letters, digits, spaces and any of _.:/=+-@ in keys and values.")
    if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
        raise InvalidInput(
            f"tag '{key}': AWS allows 1 to {MAX_TAG_KEY} characters in a key and up to {MAX_TAG_VALUE} in a value."
        )


def _check_not_reserved(key: str) -> None:
    for prefix, owner in RESERVED_TAGS.items():
        if key.lower().startswith(prefix):
            raise InvalidInput(f"tag '{key}': {owner} reserves keys that begin with {prefix} for itself.")


def check_instance_id(instance_id: str) -> None:
    """Check that this can be an instance ID. :raises InvalidInput: it cannot. The message shows a valid ID."""
    if not re.fullmatch(_INSTANCE_ID, instance_id):
        raise InvalidInput(
            f"'{instance_id}' is not a valid EC2 instance ID: it must be i- and 8 or 17 hexadecimal digits, "
            "such as i-0123456789abcdef0."
        )


def is_region(text: str) -> bool:
    """Whether this can be the name of a region."""
    return bool(re.fullmatch(_REGION, text))


def check_region(region: str) -> None:
    """Check that this can be the name of a region. :raises InvalidInput: it cannot. The message shows a valid name."""
    if not is_region(region):
        raise InvalidInput(f"'{region}' is not the name of an AWS region, such as eu-central-1.")


def is_node_id(text: str) -> bool:
    """Whether a text is the ID of a server that is registered with Systems Manager, and is no instance."""
    return bool(re.fullmatch(r"mi-[0-9a-f]{17}", text))


def check_node_id(option: str, text: str) -> None:
    """Check that this can be the ID of such a server. :param option: the option that contains it.

    :raises InvalidInput: it cannot. The message shows a valid ID.
    """
    if not is_node_id(text):
        raise InvalidInput(
            f"{option}: '{text}' is not a valid node ID: it must be mi- and 17 hexadecimal digits, such as "
            "mi-0123456789abcdef0."
        )


def name_of(arn: str) -> str:
    """Return the name at the end of an ARN, without the path."""
    return arn.rsplit("/", 1)[-1]


def path_and_name_of(arn: str) -> str:
    """Return the name at the end of the ARN of a role, with its path in IAM if it has one."""
    return arn.partition("/")[2]


def describe_profile(name: str | None) -> str:
    """Return an instance profile in words, for messages. :param name: ``None`` for no profile."""
    return f"instance profile '{name}'" if name else "no instance profile"


def is_yaml_name(name: str) -> bool:
    """Return whether the agent reads a parameter with a name as YAML."""
    return name.endswith(YAML_ENDINGS)


def is_label(text: str) -> bool:
    """Whether AWS allows a label of a version, and the agent reads a file that it fetches by the label."""
    return bool(re.fullmatch(_LABEL, text)) and not text.endswith(_NO_LABEL_ENDINGS)


def check_label(label: str) -> None:
    """Check the label of a version, because AWS reports no error for an invalid label.

    :raises InvalidInput: it is not valid.
    """
    if label == APPLIED_LABEL:
        raise InvalidInput(f"label '{label}' is the one with which apply.yml narrows fitted policies. Choose another.")
    if not is_label(label):
        raise InvalidInput(
            f"label '{label}' is not valid: AWS allows up to 100 letters, digits and any of _.-, and it must not begin "
            "with a digit, aws or ssm. The agent needs one that does not end with .tmp, .yaml or .yml."
        )


def surplus_parts(names: Iterable[str], desired: Iterable[str]) -> list[str]:
    """Return the parts that are left of a configuration that has fewer parts now."""
    wanted = set(desired)
    return sorted(name for name in names if name not in wanted and is_part(name, wanted))


def is_part(name: str, names: Collection[str]) -> bool:
    """Return whether a name belongs to a part of a configuration: the configuration's name, a hyphen and a number."""
    whole, _hyphen, number = name.rpartition("-")
    return whole in names and number.isdigit()
