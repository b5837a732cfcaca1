"""Instances of a region and what is done with them, for the tests of an admin instance."""

from __future__ import annotations

from typing import Any

from aws_account import REGION

from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_instance import Profiles
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_profile_plan import (
    Acquisition,
    Release,
    SoleHolder,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile_plan import Association, Instance

INSTANCE, OTHER_INSTANCE = "i-1", "i-2"


def instance(*profiles: str, name: str = INSTANCE, instance_state: str = "running") -> Instance:
    associations = tuple(
        Association(f"{name}-{profile}", f"arn:x:instance-profile/m/{profile}") for profile in profiles
    )
    return Instance(name, instance_state, associations)


def profiles_for(*named: str) -> Profiles:
    """:param named: the instances that the user named."""
    return Profiles("admin", "server", "role", REGION, frozenset(named))


def acquisition(name: str = INSTANCE, **more: Any) -> Acquisition:
    return Acquisition(profiles_for(name), name, **more)


def sole_holder(name: str = INSTANCE, **more: Any) -> SoleHolder:
    return SoleHolder(profiles_for(name), name, **more)


def release(name: str = INSTANCE, **more: Any) -> Release:
    return Release(profiles_for(name), name, **more)


def release_of_region(*named: str, **more: Any) -> Release:
    return Release(profiles_for(*named), **more)
