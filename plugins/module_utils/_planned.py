# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of earlier tasks in a run, or their plans in check mode, from their registered results. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Check mode sees the account as it is. This option tells a task what it would see if the earlier tasks had run.
PLANNED_SPEC: dict[str, Any] = {"planned": {"type": "list", "elements": "dict", "default": []}}


class Planned:
    """The results of earlier tasks, including loops. Results of failed and skipped tasks are ignored."""

    def __init__(self, results: Iterable[Mapping[str, Any]]) -> None:
        self._results = [each for result in results for each in _parts(result)]

    @property
    def profiles(self) -> dict[str, str | None]:
        """By instance, its instance profile; ``None`` for none."""
        return {
            each["instance_id"]: each["profile"] for found in self._results for each in found.get("instances") or ()
        }

    @property
    def closed(self) -> set[str]:
        """The principals whose admin window was closed."""
        return {name for found in self._results for name in found.get("closed") or ()}

    @property
    def applied_versions(self) -> dict[tuple[str, str], int]:
        """By region and name of a parameter, the version that all servers run."""
        versions = [each for found in self._results for each in found.get("applied_versions") or ()]
        return {(each["region"], each["name"]): each["version"] for each in versions}

    @property
    def has_restored(self) -> bool:
        """Whether an earlier task cleaned up after interrupted runs."""
        return any(found["changed"] for found in self._results if "closed" in found)

    def policies_of(self, profile: str) -> list[str] | None:
        """Return the managed policies of the role in an instance profile; ``None`` if no result has the profile."""
        for found in self._results:
            if (found.get("instance_profile") or {}).get("name") == profile and found.get("role"):
                policies: list[str] = found["role"]["managed_policies"]
                return policies
        return None

    @property
    def detached(self) -> set[tuple[str, str, str]]:
        """The kind and name of each principal that has lost a managed policy, with the ARN of the policy."""
        found = set()
        for each in self._results:
            diffs = each.get("diff") or []
            for diff in diffs if isinstance(diffs, list) else [diffs]:
                found |= {*_attachments(diff["before"])} - {*_attachments(diff["after"])}
        return found

    def profile_id(self, profile: str) -> str | None:
        """Return the unique id of an instance profile; ``None`` if no result has it."""
        found = [each.get("instance_profile") or {} for each in self._results]
        return next((each.get("id") for each in found if each.get("name") == profile), None)

    def has_changed_role(self, name: str) -> bool:
        """Return whether a role was created or changed."""
        return any(found["changed"] for found in self._results if (found.get("role") or {}).get("name") == name)

    def has_user(self, name: str) -> bool:
        """Return whether a user was managed."""
        return any(each["name"] == name for found in self._results for each in found.get("users") or ())

    @property
    def nodes(self) -> set[str]:
        """The IDs of the nodes that hosts have deregistered, or would in check mode."""
        nodes = [found["node"] for found in self._results if found.get("node") and found["changed"]]
        return {each["id"] for each in nodes if each.get("id")}

    def has_new_key(self, user: str) -> bool:
        """Return whether the access key of a user was replaced by a new one."""
        return any((found.get("rotation") or {}).get(user) == "due" for found in self._results)


def _attachments(state: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Return the managed policies of the principals in a diff, each with the kind and the name of its principal."""
    roles = {**(state.get("roles") or {}), **({role["name"]: role} if (role := state.get("role")) else {})}
    users = {each["name"]: each for each in state.get("users") or ()}
    for kind, principals in (("role", roles), ("user", users)):
        yield from ((kind, name, arn) for name, each in principals.items() for arn in each["managed_policies"])


def _parts(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "results" in result:
        for each in result["results"]:
            yield from _parts(each)
    elif not (result.get("skipped") or result.get("failed")):
        yield result
