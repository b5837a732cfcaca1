"""Policies, declarations and states of principals for tests, and hypothesis strategies for them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import ADOPTED, CREATED, MARK_TAG, WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import (
    SSM_CHOICES,
    agent_policies,
    declared_policies,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import Declared, PrincipalState

AWS = "arn:aws:iam::aws:policy/"
SERVER, ADMIN = AWS + "CloudWatchAgentServerPolicy", AWS + "CloudWatchAgentAdminPolicy"
SSM_CORE, SSM_DEPRECATED = AWS + "AmazonSSMManagedInstanceCore", AWS + "service-role/AmazonEC2RoleforSSM"
CUSTOM, UNMANAGED = "arn:aws:iam::123456789012:policy/mine", AWS + "ReadOnlyAccess"
_FITTED = "arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFitted"
FITTED, FITTED_ADMIN = [f"{_FITTED}ServerPolicy", f"{_FITTED}ServerPolicy-2"], f"{_FITTED}AdminPolicy"
BOUNDARY, OTHER_BOUNDARY = "arn:aws:iam::123456789012:policy/bound", AWS + "PowerUserAccess"


def declare(
    access: str = "server",
    ssm_policy: str | None = None,
    further: frozenset[str] = frozenset(),
    access_policies: Collection[str] = (),
    **others: Any,
) -> Declared:
    """A user's declaration. :param further: ARNs of ``managed_policies``. :param others: as ``Declared`` takes them."""
    attach, detach = declared_policies(access, ssm_policy, "aws", access_policies)
    return Declared(attach | further, detach, agent_policies("aws") | further, **others)


def subsets(*elements: str) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(elements))


CREATED_TAGS, ADOPTED_TAGS = {MARK_TAG: CREATED}, {MARK_TAG: ADOPTED}


def _tags(*keys: str) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(keys), st.sampled_from(["", "1", "2"]))


PATHS = st.sampled_from(["/", "/monitoring/"])
MARKS = st.sampled_from([{}, CREATED_TAGS, ADOPTED_TAGS, {MARK_TAG: "other"}])
CURRENT_TAGS = st.builds(lambda tags, mark: {**tags, **mark}, _tags("team", "cost", "aws:stack"), MARKS)
PRINCIPALS = st.builds(
    PrincipalState,
    path=PATHS,
    policies=subsets(SERVER, ADMIN, SSM_CORE, SSM_DEPRECATED, CUSTOM, UNMANAGED, *FITTED, FITTED_ADMIN),
    inline=subsets(WINDOW_POLICY, "app"),
    boundary=st.sampled_from([None, BOUNDARY, OTHER_BOUNDARY]),
    tags=CURRENT_TAGS,
)
DECLARED = st.builds(
    declare,
    access=st.sampled_from(["server", "admin"]),
    ssm_policy=st.sampled_from([None, *SSM_CHOICES]),
    further=subsets(CUSTOM),
    access_policies=st.sampled_from([[], FITTED[:1], FITTED, [*FITTED, FITTED_ADMIN]]),
    exclusive=st.booleans(),
    path=st.none() | PATHS,
    boundary=st.sampled_from([None, "none", BOUNDARY]),
    tags=st.none() | _tags("team", "cost"),
    purge_tags=st.booleans(),
    admin_window=st.booleans(),
    adopt=st.booleans(),
)
