# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the instances of a region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import RESTORE_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import describe_instances
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


PAGE_SIZE = 1000


def read_restore_tags(aws: Aws) -> dict[str, str]:
    """Return by instance the value of its restore tag."""
    pages = aws.pages(
        "ec2:DescribeTags",
        "read which instances have a restore tag",
        Filters=[{"Name": "key", "Values": [RESTORE_TAG]}, {"Name": "resource-type", "Values": ["instance"]}],
        MaxResults=PAGE_SIZE,
    )
    return {tag["ResourceId"]: tag["Value"] for page in pages for tag in page["Tags"]}


def describe_uses(aws: Aws, instance_ids: Sequence[str]) -> dict[str, dict[str, Any]] | None:
    """Return by instance the fields of ``InstanceUse`` that EC2 reports."""
    return {
        each["InstanceId"]: {
            "name": tags(each).get("Name"),
            "state": each["State"]["Name"],
            "is_windows": runs_windows(each),
        }
        for each in describe_instances(aws, instance_ids)
    }


def runs_windows(instance: Mapping[str, Any]) -> bool:
    """Return whether an instance runs Windows, as EC2 describes it.

    The platform is empty for all other instances, and the details include the licence:
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html
    """
    platform, details = instance.get("Platform") or "", instance.get("PlatformDetails") or ""
    return platform.lower() == "windows" or details.startswith("Windows")
