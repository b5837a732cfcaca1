# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings several resources to their desired states, from several regions or of several kinds."""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource


class Fleet:
    """Converges one resource after the other. A resource that fails does not stop the others.

    :param wait: as for ``converge``.
    """

    def __init__(self, *, check_mode: bool, wait: float | None) -> None:
        self._check_mode = check_mode
        self._wait = wait
        self._results: list[Mapping[str, Any]] = []
        self.errors: list[CwagentError] = []

    def converge(self, resource: Resource[Any]) -> dict[str, Any]:
        """Return the result of a resource; if it failed, the details of the error."""
        try:
            found = converge(resource, self._check_mode, self._wait)
        except CwagentError as error:
            self.errors.append(error)
            found = dict(error.details)
        self._results.append(found)
        return found

    def warn(self, warning: str) -> None:
        """Add a warning to the result."""
        self._results.append({"warnings": [warning]})

    def result(self, keys: Iterable[str], **more: Any) -> dict[str, Any]:
        """Return one result for all resources.

        :param keys: the resources' own result keys to join. :param more: further keys.
        :raises CwagentError: one or several failed.
        """
        found = {**join_results(self._results, keys), **more}
        if self.errors:
            raise CwagentError(" ".join(dict.fromkeys(str(error) for error in self.errors)), **found)
        return found


def join_results(results: Sequence[Mapping[str, Any]], keys: Iterable[str]) -> dict[str, Any]:
    """Return one result for several. :param keys: the keys of lists and mappings to join besides the common ones."""
    found: dict[str, Any] = {
        "changed": any(each.get("changed") for each in results),
        "steps": [step for each in results for step in each.get("steps", ())],
        "counts": {kind.value: sum(each.get("counts", {}).get(kind.value, 0) for each in results) for kind in Kind},
        "diff": [each["diff"] for each in results if each.get("changed") and "diff" in each],
        "warnings": list(dict.fromkeys(warning for each in results for warning in each.get("warnings", ()))),
    }
    if any("done" in each for each in results):
        # A resource that did not fail has done all its steps.
        found["done"] = [step for each in results for step in each.get("done", each.get("steps", ()))]
    for key in ("not_done", "failures", *keys):
        values = [each[key] for each in results if key in each]
        if values:
            is_mapping = isinstance(values[0], dict)
            found[key] = (
                dict(ChainMap(*reversed(values))) if is_mapping else [each for value in values for each in value]
            )
    return found
