"""rotate_keys.yml: creates users, and replaces all keys now although one user fails.

``test_year.py`` has the steps of a rotation and a leaked key, and ``modules/test_access_keys.py`` all phases.
"""

from __future__ import annotations

import json
from typing import Any

from emulator import Fault, Kind
from emulator.snapshot import snapshot
from fleet import Fleet
from harness import ADMIN_USER, SERVER_USER, Controller, Play
from printed import assert_brief

from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import (
    SavedKey,
    saved_key_description,
    to_values,
)

PREFIX = "/cwagent/credentials/"
OWN, FAILING, FAR = (f"{SERVER_USER}-{host}" for host in ("db1", "db2", "db3"))
REGIONS = {OWN: "eu-central-1", ADMIN_USER: "eu-central-1", FAR: "us-east-1"}
"""By user that does not fail, the region of its saved key."""
GONE = "gone"
OPTIONS: dict[str, Any] = {
    "cwagent_iam_path": "/monitoring/",
    "cwagent_permissions_boundary": "arn:aws:iam::aws:policy/PowerUserAccess",
    "cwagent_tags": {"team": "observability"},
    "cwagent_managed_policies": ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"],
}
NOW: dict[str, Any] = {"cwagent_rotate_now": "true"}


def saved(fleet: Fleet, user: str) -> str:
    """The ID of the saved key of a user."""
    ssm = fleet.aws.client("ssm", REGIONS[user])
    text = ssm.get_parameter(Name=PREFIX + user, WithDecryption=True)["Parameter"]["Value"]
    return str(json.loads(text)["aws_access_key_id"])


def created_in(play: Play) -> list[str]:
    """The users that got an access key according to the report."""
    return sorted(line.split("'")[1] for line in play.report if line.startswith("- create"))


def keys_of_servers(controller: Controller) -> Fleet:
    """Two of three servers are in another region, and one gets its key. A saved key in the first region has no user."""
    fleet = Fleet(controller)
    assert fleet.aws.region == REGIONS[OWN]
    fleet.add_machine("db1")
    for host in ("db2", "db3"):
        fleet.add_host(host, cwagent_region=REGIONS[FAR])
    fleet.add_host("ops1", group="onprem_admin", cwagent_region=fleet.aws.region)
    fleet.variables |= {"cwagent_key_store": "parameter_store", "cwagent_key_max_age_days": "30", **OPTIONS}
    values = json.dumps(to_values(SavedKey("AKIAIOSFODNN7EXAMPLE", "secret")))
    description = saved_key_description("AKIAIOSFODNN7EXAMPLE", GONE)
    fleet.aws.client("ssm").put_parameter(
        Name=PREFIX + GONE, Value=values, Type="SecureString", Description=description
    )
    return fleet


def test_keys_are_replaced_now_although_a_user_fails(controller: Controller) -> None:
    fleet = keys_of_servers(controller)
    # The server users are managed although the admin user fails. Below, it is the other way round.
    fleet.aws.arm(Fault(Kind.DENY, action="CreateUser", text=ADMIN_USER))
    denied = fleet.play("rotate_keys", cwagent_deliver_keys=False).assert_failed()
    fleet.aws.disarm()
    assert f"create user '{ADMIN_USER}'" in denied.message
    assert snapshot(fleet.aws)["users"].keys() == {OWN, FAILING, FAR}
    fleet.play("rotate_keys", cwagent_deliver_keys=False).assert_succeeded()
    gone = f"Saved access keys of users that do not exist: {fleet.aws.region}:{GONE}."
    remedy = "If their servers have left, cwagent.iam.remove_servers with these names removes them."

    before = {user: saved(fleet, user) for user in REGIONS}
    fleet.aws.arm(Fault(Kind.DENY, action="CreateAccessKey", text=FAILING))
    replaced = fleet.play("rotate_keys", **NOW).assert_failed()
    fleet.aws.disarm()
    assert f"Could not create an access key for user '{FAILING}'" in replaced.message
    assert f"{OWN}: a new access key was created, saved and delivered to the server" in " ".join(replaced.report)
    assert f"{gone} {remedy}" in " ".join(replaced.report)
    assert created_in(replaced) == sorted(REGIONS)
    # The old keys stay active. The key of the admin user is active only while its window is open.
    after, users = {user: saved(fleet, user) for user in REGIONS}, snapshot(fleet.aws)["users"]
    assert {*before.values()}.isdisjoint(after.values())
    for user in REGIONS:
        status = "Inactive" if user == ADMIN_USER else "Active"
        assert users[user]["keys"] == dict.fromkeys((before[user], after[user]), status)
    assert fleet.caller("db1").endswith(f":user/monitoring/{OWN}")
    continued = fleet.play("rotate_keys", **NOW).assert_succeeded()
    assert created_in(continued) == [FAILING]
    assert_brief(continued, "rotate_keys")
    assert {user: saved(fleet, user) for user in REGIONS} == after
