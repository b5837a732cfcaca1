"""Instances of a region and the desired admin instance, for the tests of plans and their properties."""

from __future__ import annotations

from aws_account import REGION

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import DesiredAdmin
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import Association, Instance

INSTANCE, OTHER_INSTANCE = "i-1", "i-2"


def instance(*profiles: str, name: str = INSTANCE, instance_state: str = "running") -> Instance:
    associations = tuple(
        Association(f"{name}-{profile}", f"arn:x:instance-profile/m/{profile}") for profile in profiles
    )
    return Instance(name, instance_state, associations)


def desired_admin(
    wanted: str, *ids: str, whole_region: bool = False, keep_tag: bool = False, named: tuple[str, ...] = ()
) -> DesiredAdmin:
    """:param named: the instances that the user named in addition to the list."""
    return DesiredAdmin(
        wanted,
        "admin",
        "server",
        None if whole_region else ids or (INSTANCE,),
        frozenset(named),
        record_role="role",
        region=REGION,
        keep_tag=keep_tag,
    )
