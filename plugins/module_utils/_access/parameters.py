# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the content and the versions of configuration parameters."""

from __future__ import annotations

from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import ConfigParameter, History, Version
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.parts import part_name
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import ENCRYPTED_TYPE, TYPE
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import NO_PARAMETER_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

# The largest page of versions. Parameter Store keeps 100 of them.
PAGE_SIZE = 50


def read_values(aws: Aws, names: Sequence[str]) -> dict[str, str]:
    """Read the content of parameters in one call."""
    answer = aws.call("ssm:GetParameters", f"read {len(names)} configuration parameters", Names=list(names))
    return {each["Name"]: each["Value"] for each in answer["Parameters"]}


def parameter_in(described: Mapping[str, Any], region: str, value: str | None) -> ConfigParameter:
    """Return a parameter that AWS describes, with its content."""
    return ConfigParameter(
        described["Name"],
        region,
        described.get("Tier", "Standard"),
        described["Type"],
        described["Version"],
        described["LastModifiedDate"],
        value,
        described.get("KeyId", ""),
    )


def read_histories(aws: Aws, region: str, names: Sequence[str]) -> list[History]:
    """Read the versions of configurations, and of the further parameters of a configuration that was split."""
    return [each for name in names for each in read_history(aws, region, name, names)]


def read_history(aws: Aws, region: str, name: str, names: Sequence[str]) -> Iterator[History]:
    """Read the versions of a configuration, and of its further parameters if it was split.

    :param names: the configurations of the inventory. Their parameters are no parts of this one.
    """
    whole = History(name, region, read_versions(aws, name))
    yield whole
    parts = (part_name(name, number) for number in (count(2) if whole.versions else ()))
    others = takewhile(lambda part: part not in names, parts)
    histories = (History(part, region, read_versions(aws, part)) for part in others)
    yield from takewhile(lambda each: each.versions, histories)


def read_versions(aws: Aws, name: str, *, decrypt: bool = False) -> tuple[Version, ...]:
    """Read the versions of a parameter, the newest first; none if it does not exist.

    AWS promises no order.

    :param decrypt: whether to decrypt the versions of an encrypted one. They have no value otherwise.
    """
    description = f"read the versions of parameter '{name}'"
    options = {"WithDecryption": True} if decrypt else {}
    try:
        pages = list(aws.pages("ssm:GetParameterHistory", description, Name=name, MaxResults=PAGE_SIZE, **options))
    except AwsApiError as error:
        if error.code not in NO_PARAMETER_CODES:
            raise
        return ()
    versions = (
        Version(
            each["Version"],
            each["LastModifiedDate"],
            each.get("LastModifiedUser", ""),
            each.get("Tier", "Standard"),
            each["Value"] if each["Type"] == TYPE or (decrypt and each["Type"] == ENCRYPTED_TYPE) else None,
            tuple(sorted(each.get("Labels", ()))),
            each.get("Description", ""),
        )
        for page in pages
        for each in page["Parameters"]
    )
    return tuple(sorted(versions, key=lambda each: -each.number))
