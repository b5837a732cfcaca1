# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the access keys of a user from IAM. The file is separate, so that roles need no code for keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .access_keys import AccessKey

if TYPE_CHECKING:
    from .._ground.aws import Aws


def access_keys(aws: Aws, user: str) -> tuple[AccessKey, ...]:
    """List the access keys of a user."""
    pages = aws.pages("iam:ListAccessKeys", f"list the access keys of user '{user}'", UserName=user)
    return tuple(
        AccessKey(key["AccessKeyId"], key["Status"] == "Active", key["CreateDate"])
        for page in pages
        for key in page["AccessKeyMetadata"]
    )
