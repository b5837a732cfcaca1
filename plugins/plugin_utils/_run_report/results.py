# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results that the tasks of a run have registered, and why a task failed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


# The fact with the result of the task that failed. The task has registered the same result.
FAILURE = "__cwagent_failure"
# The registered results of the task that reads the inputs, and of the one that cleans up.
INPUTS, RESTORED = "__cwagent", "__cwagent_restored"


def module_results(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The results of the module calls in one registered result."""
    if "results" in result:
        for each in result["results"]:
            yield from module_results(each)
    elif not result.get("skipped"):
        yield result


def registered_results(variables: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results that tasks have registered on a host, in the order in which they ran, without a list of their names.

    :param variables: the variables of the host. The names of registered results begin with two underscores.
    """
    return [
        value
        for name, value in variables.items()
        if name.startswith("__")
        and name != FAILURE
        and isinstance(value, Mapping)
        and value.keys() & {"steps", "results"}
    ]


def failure_reason(result: Mapping[str, Any]) -> str:
    """Why a task failed, in the words of its module, even if the task has a loop."""
    items = [each for each in module_results(result) if each.get("failed") and each.get("msg")]
    reasons = dict.fromkeys(str(each["msg"]) for each in items)
    return " ".join(reasons) or str(result.get("msg") or "A task failed without a message.")


def join_results(results: Iterable[Mapping[str, Any]], key: str) -> dict[str, Any]:
    """The values that the module calls returned under a key, joined."""
    found = [each.get(key) or {} for result in results for each in module_results(result)]
    return {name: value for each in found for name, value in each.items()}
