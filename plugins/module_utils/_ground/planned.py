# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of earlier tasks in a run, or their plans in check mode, from their registered results. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .names import name_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet


# Check mode sees the account as it is. This option tells a task what it would see if the earlier tasks had run.
PLANNED_SPEC: dict[str, Any] = {"planned": {"type": "list", "elements": "dict", "default": []}}


class Planned:
    """The results of earlier tasks, including loops. Results of failed and skipped tasks are ignored.

    A result can be of any module, because the user registers it. Whatever has another form has no effect.
    """

    def __init__(self, results: Iterable[Mapping[str, Any]]) -> None:
        self._results = [each for result in results for each in _parts(result)]

    @property
    def profiles(self) -> dict[str, str | None]:
        """By instance, its instance profile; ``None`` for none."""
        instances = [each for each in self._items("instances", "instance_id") if "profile" in each]
        return {each["instance_id"]: each["profile"] for each in instances}

    @property
    def applied_versions(self) -> dict[tuple[str, str], int]:
        """By region and name of a parameter, the version that all servers run."""
        versions = self._items("applied_versions", "region", "name")
        return {
            (each["region"], each["name"]): each["version"] for each in versions if isinstance(each.get("version"), int)
        }

    def policies_of(self, profile: str) -> list[str] | None:
        """Return the managed policies of the role in an instance profile; ``None`` if no result has the profile."""
        for found in self._results:
            if _mapping(found.get("instance_profile")).get("name") == profile and _mapping(found.get("role")):
                return _texts(found["role"].get("managed_policies"))
        return None

    def gives_policy(self, instance_id: str, names: AbstractSet[str]) -> bool:
        """Return whether an earlier task has given an instance one of some managed policies, or has planned to."""
        profile = self.profiles.get(instance_id)
        if not profile or names.isdisjoint(map(name_of, self.policies_of(profile) or ())):
            return False
        of_instance = [each for each in self._results if instance_id in _ids_in(each)]
        of_profile = [each for each in self._results if _mapping(each.get("instance_profile")).get("name") == profile]
        return any(each.get("changed") for each in (*of_instance, *of_profile))

    @property
    def detached(self) -> set[tuple[str, str, str]]:
        """The kind and name of each principal that has lost a managed policy, with the ARN of the policy."""
        losses = self._items("detached", "kind", "name", "policy")
        return {(each["kind"], each["name"], each["policy"]) for each in losses}

    def profile_id(self, profile: str) -> str | None:
        """Return the unique id of an instance profile; ``None`` if no result has it."""
        found = [_mapping(each.get("instance_profile")) for each in self._results]
        return next((each.get("id") for each in found if each.get("name") == profile), None)

    def has_changed_role(self, name: str) -> bool:
        """Return whether a role was created or changed."""
        return any(found.get("changed") for found in self._results if _mapping(found.get("role")).get("name") == name)

    def has_user(self, name: str) -> bool:
        """Return whether a user was managed."""
        return any(each["name"] == name for each in self._items("users", "name"))

    @property
    def nodes(self) -> set[str]:
        """The IDs of the nodes that hosts have deregistered, or would in check mode."""
        nodes = [found.get("node") for found in self._results if found.get("changed")]
        return {*_texts([_mapping(each).get("id") for each in nodes])}

    def has_new_key(self, user: str) -> bool:
        """Return whether the access key of a user was replaced by a new one."""
        return any(_mapping(found.get("rotation")).get(user) == "due" for found in self._results)

    def _items(self, key: str, *texts: str) -> list[Mapping[str, Any]]:
        """Return the mappings in the lists with a key that have a text for each of these keys."""
        return [each for found in self._results for each in _mappings(found.get(key), *texts)]


def find_detached(
    kind: str, current: Mapping[str, Collection[str]], planned: Mapping[str, Collection[str]]
) -> list[dict[str, str]]:
    """Return the managed policies that principals lose, for the result of the task.

    :param kind: of the principals. :param current: the ARNs of their policies by name, like ``planned``.
    """
    lost = [(name, sorted({*current[name]}.difference(planned.get(name, ())))) for name in sorted(current)]
    return [{"kind": kind, "name": name, "policy": arn} for name, arns in lost for arn in arns]


def _ids_in(result: Mapping[str, Any]) -> set[str]:
    return {each["instance_id"] for each in _mappings(result.get("instances"), "instance_id")}


def _parts(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "results" in result:
        for each in _mappings(result["results"]):
            yield from _parts(each)
    elif not (result.get("skipped") or result.get("failed")):
        yield result


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any, *texts: str) -> list[Mapping[str, Any]]:
    found = value if isinstance(value, list) else []
    return [each for each in found if isinstance(each, dict) and all(isinstance(each.get(key), str) for key in texts)]


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
