# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The differences between versions of ansible-core: whether one is supported, its warnings in results, and failures."""

from __future__ import annotations

import re
from dataclasses import asdict, is_dataclass
from typing import Any

from ...module_utils._ground.errors import InvalidInput


def check_ansible_core(version: str, requires: str, *, in_awx: bool) -> None:
    """Check the version of ansible-core. A pre-release counts as its release.

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


def warning_texts(warnings: list[Any]) -> list[str]:
    """Return the warnings in the result of a module as text. Anything else among them is left out.

    Before 2.19 they are text. Since then they are objects that JSON cannot contain, and they include Ansible's own
    warnings, such as the warning about the Python that it discovered.
    """
    objects = (_find_message(asdict(each)) if _is_object(each) else each for each in warnings)
    return [each for each in objects if isinstance(each, str)]


def _is_object(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _find_message(value: Any) -> str:
    """Return the first message inside, which 2.19 and 2.20 have in different places."""
    if isinstance(value, dict):
        found = value.get("msg") or next(filter(None, map(_find_message, value.values())), "")
    else:
        found = next(filter(None, map(_find_message, value)), "") if isinstance(value, (list, tuple)) else ""
    return str(found)


def failed(task: Any, message: str) -> dict[str, Any]:
    """Return the failure of a task, without the place of the task.

    Since 2.19, ansible-core shows the file and the lines of a task that failed. The lines of the collection's playbooks
    do not help their users.
    """
    task._ds = None
    return {"failed": True, "msg": message}
