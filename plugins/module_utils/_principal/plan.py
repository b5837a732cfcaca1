# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What roles and users have in common: the policies on them, tags and boundary, and how these are brought about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import close_new
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY, name_of
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

REMOVE_BOUNDARY = "none"
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, unless the account had it raised
MAX_POLICIES = 10


@dataclass(frozen=True)
class PrincipalState:
    """What is on a principal.

    :param policies: ARNs of the managed policies attached.
    :param inline: names of the inline policies.
    :param boundary: ARN of the permissions boundary.
    """

    path: str = "/"
    policies: frozenset[str] = frozenset()
    inline: frozenset[str] = frozenset()
    boundary: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Declared:
    """What the user wants on a principal. ``None`` leaves a thing as it is.

    :param attach: ARNs of the managed policies to have.
    :param detach: ARNs of the agent's policies to be without.
    :param managed: ARNs that ``state: absent`` takes off; all else is foreign.
    :param exclusive: whether to remove everything that is not declared.
    :param boundary: ARN, or ``none`` to have none.
    :param admin_window: whether the principal has an admin window; one that has none yet gets it closed.
    """

    attach: frozenset[str]
    detach: frozenset[str]
    managed: frozenset[str]
    exclusive: bool = False
    path: str | None = None
    boundary: str | None = None
    tags: Mapping[str, str] | None = None
    purge_tags: bool = False
    admin_window: bool = False

    @property
    def boundary_arn(self) -> str | None:
        """The boundary to end with; only meaningful where one was asked for."""
        return None if self.boundary == REMOVE_BOUNDARY else self.boundary

    def planned_policies(self, current: frozenset[str]) -> frozenset[str]:
        """The managed policies that a principal with ``now`` ends with."""
        return self.attach if self.exclusive else (current - self.detach) | self.attach

    def planned_inline(self, current: frozenset[str]) -> frozenset[str]:
        """The inline policies that stay; the admin window's is kept even where nothing foreign is."""
        kept = current & {WINDOW_POLICY} if self.exclusive else current
        return kept | {WINDOW_POLICY} if self.admin_window else kept

    def planned_tags(self, current: Mapping[str, str]) -> Mapping[str, str]:
        """The tags to end with; AWS does not let anyone change those that begin with ``aws:``."""
        if self.tags is None:
            return current
        kept = {key: value for key, value in current.items() if not self.purge_tags or key.startswith("aws:")}
        return {**kept, **self.tags}

    def without_managed(self, current: PrincipalState) -> PrincipalState:
        """What is left on the principal when what is ours is taken off."""
        return replace(current, policies=current.policies - self.managed, inline=current.inline - {WINDOW_POLICY})

    def planned_principal(self, current: PrincipalState) -> PrincipalState:
        """What is on the principal in the end; the path of an existing one cannot change."""
        return PrincipalState(
            path=current.path,
            policies=self.planned_policies(current.policies),
            inline=self.planned_inline(current.inline),
            boundary=current.boundary if self.boundary is None else self.boundary_arn,
            tags=self.planned_tags(current.tags),
        )


def unmanaged(current: PrincipalState, desired: Declared) -> list[str]:
    """What is on a principal that is not this collection's, in words."""
    return [f"policy {arn}" for arn in sorted(current.policies - desired.managed)] + [
        f"inline policy '{name}'" for name in sorted(current.inline - {WINDOW_POLICY})
    ]


def principal_to_dict(principal: PrincipalState) -> dict[str, Any]:
    """What is on a principal as results and diffs show it."""
    return {
        "path": principal.path,
        "managed_policies": sorted(principal.policies),
        "inline_policies": sorted(principal.inline),
        "permissions_boundary": principal.boundary,
        "tags": dict(principal.tags),
    }


def update_steps(kind: str, name: str, current: PrincipalState, planned: PrincipalState) -> list[Step]:
    """The steps that take what is on an existing principal from one state to another.

    The boundary comes first, since it narrows. Nothing is detached before its successor is there, unless there is no
    room for both.

    :param kind: ``role`` or ``user``.
    """
    steps: list[Step] = []
    if planned.boundary != current.boundary:
        steps.append(_set_boundary(kind, name, planned.boundary))
    giving = grant_steps(kind, name, planned, current)
    taking = detach(kind, name, current.policies - planned.policies)
    steps += [*taking, *giving] if len(current.policies | planned.policies) > MAX_POLICIES else [*giving, *taking]
    steps += delete_inline_steps(kind, name, current.inline - planned.inline)
    return steps + tag_steps(kind, name, current.tags, planned.tags)


def grant_steps(kind: str, name: str, planned: PrincipalState, current: PrincipalState) -> list[Step]:
    """The steps that give rights; the admin window is closed before there is anything it would let through."""
    close = [close_new(kind, name)] if WINDOW_POLICY in planned.inline - current.inline else []
    return [*close, *attach(kind, name, planned.policies - current.policies)]


def attach(kind: str, name: str, arns: frozenset[str]) -> list[Step]:
    """Steps to attach managed policies."""
    return [
        Step(
            f"iam:Attach{kind.title()}Policy",
            {f"{kind}_name": name, "policy_arn": arn},
            f"attach {name_of(arn)} to {kind} '{name}'",
        )
        for arn in sorted(arns)
    ]


def detach(kind: str, name: str, arns: frozenset[str]) -> list[Step]:
    """Steps to detach managed policies."""
    return [
        Step(
            f"iam:Detach{kind.title()}Policy",
            {f"{kind}_name": name, "policy_arn": arn},
            f"detach {name_of(arn)} from {kind} '{name}'",
            done_when=NOT_FOUND_CODES,
        )
        for arn in sorted(arns)
    ]


def delete_inline_steps(kind: str, name: str, policies: frozenset[str]) -> list[Step]:
    """Steps to delete inline policies."""
    return [
        Step(
            f"iam:Delete{kind.title()}Policy",
            {f"{kind}_name": name, "policy_name": policy},
            f"delete inline policy '{policy}' of {kind} '{name}'",
            done_when=NOT_FOUND_CODES,
        )
        for policy in sorted(policies)
    ]


def _set_boundary(kind: str, name: str, boundary: str | None) -> Step:
    action = f"{kind.title()}PermissionsBoundary"
    if boundary is None:
        words = f"remove the permissions boundary of {kind} '{name}'"
        return Step(f"iam:Delete{action}", {f"{kind}_name": name}, words, done_when=NOT_FOUND_CODES)
    words = f"set the permissions boundary of {kind} '{name}' to {name_of(boundary)}"
    return Step(f"iam:Put{action}", {f"{kind}_name": name, "permissions_boundary": boundary}, words)


def tag_steps(kind: str, name: str, current: Mapping[str, str], planned: Mapping[str, str]) -> list[Step]:
    """Steps that take the tags of an IAM thing from one state to another.

    :param kind: ``role``, ``user`` or ``instance profile``.
    """
    noun = kind.title().replace(" ", "")
    named = {f"{kind.replace(' ', '_')}_name": name}
    changed = {key: value for key, value in planned.items() if current.get(key) != value}
    surplus = sorted(current.keys() - planned.keys())
    steps = []
    # IAM takes keys that differ by case for one, so the old one goes first.
    if surplus:
        words = f"remove the tags {', '.join(surplus)} from {kind} '{name}'"
        steps.append(Step(f"iam:Untag{noun}", {**named, "tag_keys": surplus}, words))
    if changed:
        words = f"tag {kind} '{name}' with {', '.join(sorted(changed))}"
        steps.append(Step(f"iam:Tag{noun}", {**named, "tags": changed}, words))
    return steps
