# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes each reading call once, and none for what a bulk read of the account has shown. Only reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._aws import MAX_ATTEMPTS, Aws
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES, AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import BULK_ACTION, read_details

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

NOT_FOUND = "NoSuchEntity"
KINDS = {"Role": "role", "User": "user"}

# The kind and the name of a principal.
Key = tuple[str, str]


@dataclass
class Cache:
    """What AWS has answered so far. The gateways of all regions share it, since IAM has the same answer in all of them.

    :param answers: by region, action and arguments.
    :param page: what the bulk read has shown, as one page of it; an error where it was denied.
    :param details: by principal, its part of the page.
    :param absent: the principals that do not exist, by the bulk read.
    :param others: by name, the users that the bulk read has shown besides.
    :param described: the roles whose description or session duration matters, which the page lacks.
    """

    answers: dict[str, dict[str, Any] | AwsApiError] = field(default_factory=dict)
    page: dict[str, Any] | AwsApiError | None = None
    details: Mapping[Key, dict[str, Any]] = field(default_factory=dict)
    absent: Collection[Key] = ()
    others: dict[str, dict[str, Any]] = field(default_factory=dict)
    described: Collection[str] = ()


class CachingAws(Aws):
    """Makes each reading call once, for several resources that read the same things.

    :param region: the name of the region that it calls.
    """

    def __init__(self, client_factory: Callable[..., Any], region: str, cache: Cache) -> None:
        super().__init__(client_factory)
        self._region = region
        self._cache = cache

    def read_principals(
        self, names: Collection[Key], described: Collection[str], with_others: bool = False
    ) -> Collection[Key]:
        """Read principals in bulk. Where that is denied, each is read by itself.

        :param described: the roles whose description or session duration matters.
        :param with_others: whether to keep the other users that are shown.
        :returns: those that do not exist, as far as that is known.
        :raises CwagentError: AWS did not answer, or answered with another error.
        """
        cache = self._cache
        try:
            cache.details, is_complete = read_details(self, names, cache.others if with_others else None)
        except AwsApiError as error:
            if error.code not in DENIED_CODES:
                raise
            cache.page = error
            return ()
        cache.described = described
        cache.absent = set(names) - cache.details.keys() if is_complete else ()
        lists = {
            f"{noun}DetailList": [each for (of, _name), each in cache.details.items() if of == kind]
            for noun, kind in KINDS.items()
        }
        cache.page = {**lists, "IsTruncated": not is_complete}
        return cache.absent

    def call(self, action: str, description: str, max_attempts: int = MAX_ATTEMPTS, **arguments: Any) -> dict[str, Any]:
        """Return the answer to the first call with these arguments. :raises AwsApiError: the answer was an error."""
        region = None if action.startswith("iam:") else self._region
        key = json.dumps([region, action, arguments], sort_keys=True)
        if key not in self._cache.answers:
            self._cache.answers[key] = self._answer(action, description, max_attempts, arguments)
        answer = self._cache.answers[key]
        if isinstance(answer, AwsApiError):
            raise answer
        return answer

    def _answer(
        self, action: str, description: str, max_attempts: int, arguments: dict[str, Any]
    ) -> dict[str, Any] | AwsApiError:
        known = self._known_answer(action, arguments)
        if known is not None:
            return known
        try:
            return super().call(action, description, max_attempts, **arguments)
        except AwsApiError as error:
            return error

    def _known_answer(self, action: str, arguments: Mapping[str, Any]) -> dict[str, Any] | AwsApiError | None:
        """Return what the bulk read has shown; ``None`` where it says nothing of it."""
        cache = self._cache
        if action == BULK_ACTION:
            return cache.page
        for noun, kind in KINDS.items():
            name = arguments.get(f"{noun}Name")
            if (kind, name) in cache.absent:
                return _not_found(action)
            details = cache.details.get((kind, str(name)))
            if details and not (action == "iam:GetRole" and name in cache.described):
                return _answer_from(noun, details, action, arguments)
        return None


def _answer_from(
    noun: str, details: dict[str, Any], action: str, arguments: Mapping[str, Any]
) -> dict[str, Any] | AwsApiError | None:
    """Return the answer to a call about one principal from its details; ``None`` where they lack it."""
    inline = {each["PolicyName"]: each for each in details.get(f"{noun}PolicyList", ())}
    if action == f"iam:Get{noun}Policy":
        name = arguments["PolicyName"]
        return inline.get(name) or _not_found(action)
    answers: dict[str, dict[str, Any]] = {
        f"iam:Get{noun}": {noun: details},
        f"iam:List{noun}Policies": {"PolicyNames": list(inline)},
        f"iam:ListAttached{noun}Policies": {"AttachedPolicies": details.get("AttachedManagedPolicies", [])},
    }
    return answers.get(action)


def _not_found(action: str) -> AwsApiError:
    """Return the error for what does not exist. No user sees it: a part that cannot be read is due."""
    return AwsApiError(f"{action}: not found", NOT_FOUND, action)
