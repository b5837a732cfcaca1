# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses a version of ansible-core that the collection does not support, of which Ansible itself only warns."""

from __future__ import annotations

import re

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput


def check_ansible_core(version: str, requires: str, *, in_awx: bool) -> None:
    """Check the version of ansible-core; a pre-release counts as its release.

    :param requires: ``requires_ansible`` of the collection: ``>=`` and a version.
    :param in_awx: whether the run is a job of AWX.
    :raises InvalidInput: the version is not supported.
    """
    if _numbers(version) < _numbers(requires):
        remedy = (
            "choose an execution environment that has it for the job template."
            if in_awx
            else "run the playbook with a supported version."
        )
        raise InvalidInput(f"cwagent.iam requires ansible-core {requires}, and this is {version}: {remedy}")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]
