# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common parts of roles and users: policies, permissions boundary, tags, and the steps to change them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._ground import names
from .._ground.errors import InvalidInput
from .._ground.names import (
    ADOPTED,
    CREATED,
    MARK_TAG,
    NOT_CREATED,
    RESERVED_TAGS,
    SAVED_KEY_TAG,
    WINDOW_POLICY,
    adoption_problem,
    fitted_access,
    is_fitted_policy,
    name_of,
)
from .._ground.plan import DELETE_RETRY_CODES, NEW_ENTITY_RETRY_CODES, NOT_FOUND_CODES, Kind, Step
from .window_policy import close_new_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


REMOVE_BOUNDARY = "none"
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, unless AWS raised it for the account
MAX_POLICIES = 10


@dataclass(frozen=True)
class PrincipalState:
    """The part of a principal's state that roles and users have in common.

    :param policies: ARNs of the attached managed policies.
    :param inline: names of the inline policies.
    :param boundary: ARN of the permissions boundary.
    """

    path: str = "/"
    policies: frozenset[str] = frozenset()
    inline: frozenset[str] = frozenset()
    boundary: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_created(self) -> bool:
        """Whether this collection created the principal, so that it may delete it."""
        return names.is_created(self.tags)

    @property
    def is_marked(self) -> bool:
        """Whether this collection created or adopted the principal."""
        return names.is_marked(self.tags)


def new_principal(path: str | None) -> PrincipalState:
    """Return a principal that is yet to be created, with the mark of its creation."""
    return PrincipalState(path=path or "/", tags={MARK_TAG: CREATED})


@dataclass(frozen=True)
class Declared:
    """The properties that the user declares for a principal.

    ``None`` leaves a property unchanged.

    :param attach: ARNs of the managed policies to attach.
    :param detach: ARNs of the agent's policies to detach.
    :param managed: ARNs that ``state: absent`` detaches, besides fitted policies. Every other policy is unmanaged.
    :param exclusive: whether to remove everything that is not declared.
    :param boundary: ARN, or ``none`` for no boundary.
    :param admin_window: whether the principal must have an admin window. If it has none yet, it gets a closed one.
    :param adopt: whether to manage a principal that somebody else created.
    :param needs_boundary: whether it must have a permissions boundary, because it has fitted policies.
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
    adopt: bool = False
    needs_boundary: bool = False

    def planned_state(self, current: PrincipalState) -> PrincipalState:
        """Return the state after all steps. IAM cannot change the path of an existing principal."""
        return PrincipalState(
            path=current.path,
            policies=self.planned_policies(current.policies),
            inline=self.planned_inline(current.inline),
            boundary=self.planned_boundary(current.boundary),
            tags={**self.planned_tags(current.tags), **self._planned_mark(current)},
        )

    def _planned_mark(self, current: PrincipalState) -> dict[str, str]:
        return {MARK_TAG: ADOPTED} if self.adopt and not current.is_marked else {}

    def planned_policies(self, current: frozenset[str]) -> frozenset[str]:
        """Return the managed policies after all steps.

        A fitted policy stays if one for the same access is declared. Another run has just created it if the
        declaration lacks it.
        """
        accesses = {*map(fitted_access, self.attach)}
        fitted = frozenset(filter(is_fitted_policy, current))
        kept = frozenset() if self.exclusive else current - self.detach - fitted
        return kept | self.attach | {arn for arn in fitted if fitted_access(arn) in accesses}

    def policies_at_once(self, current: frozenset[str]) -> int:
        """Return how many policies a principal has at once if the new ones come before it loses others; 0 for none."""
        planned = self.planned_policies(current)
        return len(current | planned) if planned - current else 0

    def planned_inline(self, current: frozenset[str]) -> frozenset[str]:
        """Return the inline policies after all steps. Even ``exclusive`` does not remove the admin window's policy."""
        kept = current & {WINDOW_POLICY} if self.exclusive else current
        return kept | {WINDOW_POLICY} if self.admin_window else kept

    def planned_tags(self, current: Mapping[str, str]) -> Mapping[str, str]:
        """Return the tags after all steps.

        Reserved tags are kept. Nobody can change tags whose keys begin with ``aws:``, and the tags of this collection
        do not belong to the user.
        """
        if self.tags is None:
            return current
        reserved = tuple(RESERVED_TAGS)
        kept = {key: value for key, value in current.items() if not self.purge_tags or key.startswith(reserved)}
        return {**kept, **self.tags}

    def planned_boundary(self, current: str | None) -> str | None:
        """Return the ARN of the permissions boundary after all steps."""
        if self.boundary is None:
            return current
        return None if self.boundary == REMOVE_BOUNDARY else self.boundary

    def unmanaged_policies(self, current: frozenset[str]) -> frozenset[str]:
        """Return the managed policies that ``state: absent`` leaves attached."""
        return frozenset(arn for arn in current - self.managed if not is_fitted_policy(arn))

    def remove_managed(self, current: PrincipalState) -> PrincipalState:
        """Return the state without everything that this collection manages.

        The mark of a creation is kept, so that a later run can delete the principal.
        """
        removed = {SAVED_KEY_TAG} if current.is_created else {SAVED_KEY_TAG, MARK_TAG}
        return replace(
            current,
            policies=self.unmanaged_policies(current.policies),
            inline=current.inline - {WINDOW_POLICY},
            tags={key: value for key, value in current.tags.items() if key not in removed},
        )


def check_adoption(kind: str, name: str, current: PrincipalState, declared: Declared) -> None:
    """Check that an admin window may be put on an existing principal.

    :param kind: ``role`` or ``user``.
    :raises InvalidInput: somebody else created it, and nobody asked for its adoption.
    """
    if declared.admin_window and not (declared.adopt or current.is_marked or WINDOW_POLICY in current.inline):
        raise InvalidInput(adoption_problem(kind, name))


def kept_warning(kind: str, name: str, found: Sequence[str]) -> str:
    """Return the warning that a principal was not deleted. :param found: the reasons, at least one."""
    attached = ", ".join(each for each in found if each != NOT_CREATED)
    reasons = [f"it {NOT_CREATED}"] * (NOT_CREATED in found) + [f"still attached: {attached}"] * bool(attached)
    return f"{kind} '{name}' was not deleted; {'; '.join(reasons)}"


def unmanaged_policies(current: PrincipalState, declared: Declared) -> list[str]:
    """List the policies of a principal that this collection does not manage, in words."""
    return [f"policy {arn}" for arn in sorted(declared.unmanaged_policies(current.policies))] + [
        f"inline policy '{name}'" for name in sorted(current.inline - {WINDOW_POLICY})
    ]


def principal_to_dict(principal: PrincipalState) -> dict[str, Any]:
    """Render a principal for results and diffs."""
    return {
        "path": principal.path,
        "managed_policies": sorted(principal.policies),
        "inline_policies": sorted(principal.inline),
        "permissions_boundary": principal.boundary,
        "tags": dict(principal.tags),
    }


def update_steps(
    kind: str, name: str, current: PrincipalState, planned: PrincipalState, max_policies: int = MAX_POLICIES
) -> list[Step]:
    """Return the steps that bring an existing principal from the current state to the planned one.

    The boundary comes first, because it restricts the permissions of the policies. Policies are attached before others
    are detached, so that the agent never lacks a permission. If the principal cannot have all of them at once, the
    others are detached first, unless it cannot have the planned ones either. Then IAM refuses the first excess one.

    :param kind: ``role`` or ``user``.
    :param max_policies: how many managed policies it can have.
    """
    steps: list[Step] = []
    if planned.boundary != current.boundary:
        steps.append(_set_boundary(kind, name, planned.boundary))
    grant = grant_steps(kind, name, planned, current)
    detach = detach_steps(kind, name, current.policies - planned.policies)
    exceeds_quota = len(planned.policies) <= max_policies < len(current.policies | planned.policies)
    steps += [*detach, *grant] if exceeds_quota else [*grant, *detach]
    steps += delete_inline_steps(kind, name, current.inline - planned.inline)
    return steps + tag_steps(kind, name, current.tags, planned.tags)


def grant_steps(kind: str, name: str, planned: PrincipalState, current: PrincipalState) -> list[Step]:
    """Return the steps that grant permissions. The admin window is closed before a policy allows the denied calls."""
    close = [close_new_window(kind, name)] if WINDOW_POLICY in planned.inline - current.inline else []
    return [*close, *attach_steps(kind, name, planned.policies - current.policies)]


def attach_steps(kind: str, name: str, arns: frozenset[str]) -> list[Step]:
    """Return the steps that attach managed policies. A fitted policy can be so new that IAM does not know it yet."""
    return [
        Step(
            Kind.UPDATE,
            f"iam:Attach{kind.title()}Policy",
            {f"{kind}_name": name, "policy_arn": arn},
            f"attach {name_of(arn)} to {kind} '{name}'",
            retry_when=NEW_ENTITY_RETRY_CODES if is_fitted_policy(arn) else frozenset(),
        )
        for arn in sorted(arns)
    ]


def detach_steps(kind: str, name: str, arns: frozenset[str]) -> list[Step]:
    """Return the steps that detach managed policies."""
    return [
        Step(
            Kind.UPDATE,
            f"iam:Detach{kind.title()}Policy",
            {f"{kind}_name": name, "policy_arn": arn},
            f"detach {name_of(arn)} from {kind} '{name}'",
            done_when=NOT_FOUND_CODES,
        )
        for arn in sorted(arns)
    ]


def delete_inline_steps(kind: str, name: str, policies: frozenset[str]) -> list[Step]:
    """Return the steps that delete inline policies."""
    return [
        Step(
            Kind.DELETE,
            f"iam:Delete{kind.title()}Policy",
            {f"{kind}_name": name, "policy_name": policy},
            f"delete inline policy '{policy}' of {kind} '{name}'",
            done_when=NOT_FOUND_CODES,
        )
        for policy in sorted(policies)
    ]


def _set_boundary(kind: str, name: str, boundary: str | None) -> Step:
    operation = f"{kind.title()}PermissionsBoundary"
    arguments = {f"{kind}_name": name}
    if boundary is None:
        summary = f"remove the permissions boundary of {kind} '{name}'"
        return Step(Kind.UPDATE, f"iam:Delete{operation}", arguments, summary, done_when=NOT_FOUND_CODES)
    arguments["permissions_boundary"] = boundary
    summary = f"set the permissions boundary of {kind} '{name}' to {name_of(boundary)}"
    return Step(Kind.UPDATE, f"iam:Put{operation}", arguments, summary)


def delete_entity(kind: str, name: str) -> Step:
    """Return the step that deletes an IAM entity. :param kind: ``role``, ``user`` or ``instance profile``."""
    return Step(
        Kind.DELETE,
        f"iam:Delete{kind.title().replace(' ', '')}",
        {f"{kind.replace(' ', '_')}_name": name},
        f"delete {kind} '{name}'",
        done_when=NOT_FOUND_CODES,
        retry_when=DELETE_RETRY_CODES,
    )


def tag_steps(kind: str, name: str, current: Mapping[str, str], planned: Mapping[str, str]) -> list[Step]:
    """Return the steps that bring the tags of an IAM entity from one state to another.

    :param kind: ``role``, ``user`` or ``instance profile``.
    """
    noun = kind.title().replace(" ", "")
    arguments = {f"{kind.replace(' ', '_')}_name": name}
    # compare_aws_tags of amazon.aws gives the same result, but its file alone adds 1.6 % to the code for the host.
    changed = {key: value for key, value in sorted(planned.items()) if current.get(key) != value}
    surplus = sorted(current.keys() - planned.keys())
    steps = []
    # IAM treats keys that differ only by case as the same key, so the old spelling is removed first.
    if surplus:
        summary = f"remove the tags {', '.join(surplus)} from {kind} '{name}'"
        untag = {**arguments, "tag_keys": surplus}
        steps.append(Step(Kind.UPDATE, f"iam:Untag{noun}", untag, summary, done_when=NOT_FOUND_CODES))
    if changed:
        summary = f"tag {kind} '{name}' with {', '.join(changed)}"
        steps.append(Step(Kind.UPDATE, f"iam:Tag{noun}", {**arguments, "tags": changed}, summary))
    return steps
