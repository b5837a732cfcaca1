from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from access_account import (
    ACCOUNT_ID,
    ADMIN,
    HEALTHY,
    HYBRID,
    NOW,
    REGION,
    SERVER,
    activation,
    case_of,
    document,
    healthy,
    instance,
    key,
    node,
    parameter,
    profile,
    role,
    user,
)

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_result import find, to_result
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import Policy, Unread


def result_of(account):
    case = case_of(account)
    return to_result(case, find(case))


def test_the_result_has_everything_of_a_healthy_account():
    result = result_of(HEALTHY)
    assert result["account"] == {
        "id": ACCOUNT_ID,
        "alias": None,
        "partition": "aws",
        "label": "controller",
        "read_at": "2026-11-24T16:00:00Z",
        "regions": [REGION],
    }
    assert [each["name"] for each in result["principals"]] == ["Admin", "Server", "admin", "db1"]
    assert [each["name"] for each in result["instance_profiles"]] == ["Admin", "Server"]
    assert result["instances"] == [
        {
            "id": "i-1",
            "region": REGION,
            "name": None,
            "state": "running",
            "profile": "Server",
            "in_inventory": True,
            "restore_tag": None,
            "is_windows": False,
        }
    ]
    assert (result["nodes"], result["activations"]) == ([], [])
    assert result["parameters"] == [
        {
            "name": "AmazonCloudWatch-linux",
            "region": REGION,
            "tier": "Standard",
            "version": 1,
            "size": 12,
            "limit": 4096,
            "modified": "2026-11-24T16:00:00Z",
            "readable_by_server": "yes",
            "valid": "yes",
            "problem": None,
        }
    ]
    assert (result["unread"], result["findings"]) == ([], [])
    assert result["counts"] == {"notice": 0, "warning": 0, "error": 0}


def test_a_principal_is_shown_with_its_keys_and_policies():
    boundary = Policy("Boundary", SERVER.document, f"arn:aws:iam::{ACCOUNT_ID}:policy/Boundary")
    keys = (key(3, days=2, saved_at="secret x"), key(4, days=-1, active=False, used=False, saved=None))
    extra = Policy("extra", SERVER.document, group="g")
    account = replace(HEALTHY, principals=(user("db9", SERVER, extra, keys=keys, boundary=boundary),))
    [shown] = result_of(account)["principals"]
    assert shown == {
        "kind": "user",
        "name": "db9",
        "arn": f"arn:aws:iam::{ACCOUNT_ID}:user/db9",
        "access": "server",
        "managed": "created",
        "created": "2025-10-20T16:00:00Z",
        "writes": "no",
        "writes_why": "No policy allows ssm:PutParameter, or one denies it.",
        "is_administrator": False,
        "policies": ["CloudWatchAgentServerPolicy"],
        "inline": ["extra"],
        "boundary": "Boundary",
        "window": None,
        "access_keys": [
            {
                "id": "AKIA3",
                "active": True,
                "created": "2026-11-22T16:00:00Z",
                "last_used": "2026-11-22T16:00:00Z",
                "last_used_known": True,
                "age_days": 2,
                "saved": True,
                "saved_at": "secret x",
            },
            {
                "id": "AKIA4",
                "active": False,
                "created": "2026-11-25T16:00:00Z",
                "last_used": None,
                "last_used_known": True,
                "age_days": 0,
                "saved": None,
                "saved_at": None,
            },
        ],
        "instance_profiles": [],
    }


def test_a_principal_that_can_let_others_write_is_shown_apart():
    """It is not for the agent, so its policies, keys and instances are not shown."""
    controller = user("ops", Policy("iam", document("iam:PutRolePolicy")), tags={})
    result = result_of(healthy(controller))
    assert [each["name"] for each in result["principals"]] == ["Admin", "Server", "admin", "db1"]
    assert result["grantors"] == [
        {
            "kind": "user",
            "name": "ops",
            "arn": f"arn:aws:iam::{ACCOUNT_ID}:user/ops",
            "can_grant": "yes",
            "why": f"It may call iam:PutRolePolicy on arn:aws:iam::{ACCOUNT_ID}:role/Admin.",
        }
    ]
    assert result_of(HEALTHY)["grantors"] == []


def test_a_parameter_is_valid_or_not_or_unknown():
    parameters = (
        parameter("bad", "["),
        parameter("list", None, type="StringList"),
        parameter("secure", None, type="SecureString"),
        parameter("unread", None),
        parameter("otel.yaml", "receivers:"),
        parameter("text.yml", "text"),
    )
    account = replace(HEALTHY, parameters=parameters)
    bad, other, secure, unread, otel, text = result_of(account)["parameters"]
    assert (bad["valid"], bad["size"]) == ("no", 1)
    assert bad["problem"].startswith("parameter 'AmazonCloudWatch-bad' is not valid: 1:2 $: ")
    assert (other["valid"], other["size"]) == ("no", None)
    assert (otel["valid"], text["valid"]) == ("yes", "no")
    assert text["problem"].endswith(" is not valid: $: the configuration is not a mapping.")
    for each in (secure, unread):
        assert (each["valid"], each["problem"]) == ("unknown", None)


def test_without_a_server_principal_the_readers_are_unknown():
    account = replace(HEALTHY, principals=(role("Admin", ADMIN),))
    assert [each["readable_by_server"] for each in result_of(account)["parameters"]] == ["unknown"]


def test_the_profiles_of_instances_are_shown_too():
    account = healthy(profile("Empty", None), profile("Other", None), instance(2, "Empty"))
    assert [each["name"] for each in result_of(account)["instance_profiles"]] == ["Admin", "Server", "Empty"]


def test_a_profile_is_shown_for_its_name_too_while_no_role_is_in_it():
    """One has the name of a role of ours, one is on an instance besides, and the last is of nobody."""
    account = replace(HEALTHY, profiles=(profile("Admin", None), profile("Server", None), profile("Other", None)))
    assert [each["name"] for each in result_of(account)["instance_profiles"]] == ["Admin", "Server"]


def test_nodes_and_activations_are_shown_for_their_role_or_tag():
    uses: list[tuple[int, dict[str, Any]]] = [
        (1, {}),
        (2, {"role": "Other"}),
        (3, {"is_ours": False}),
        (4, {"role": "Other", "is_ours": False}),
    ]
    nodes = [node(number, **more) for number, more in uses]
    activations = [activation(1), activation(2, role="Unrelated")]
    result = result_of(healthy(*nodes, *activations))
    # Our second node shows that its role is one of hybrid servers.
    assert [each["id"] for each in result["nodes"]] == ["mi-1", "mi-2", "mi-3", "mi-4"]
    assert [each["id"] for each in result_of(healthy(*nodes[3:]))["nodes"]] == []
    assert result["activations"] == [
        {
            "id": "activation-1",
            "region": REGION,
            "name": "db9",
            "role": HYBRID,
            "expires": "2026-11-25T16:00:00Z",
            "remaining": 1,
            "is_ours": False,
        }
    ]


def test_a_finding_and_an_unread_part_are_shown():
    unread = Unread("the restore tags", "ec2:DescribeTags", REGION, "Could not read")
    account = replace(
        healthy(instance(2, None, in_inventory=True)), unread=(unread,), read_at=NOW + timedelta(seconds=1)
    )
    result = result_of(account)
    [finding] = result["findings"]
    assert {key: finding[key] for key in ("rule", "severity", "object", "region", "account")} == {
        "rule": "instance-without-access",
        "severity": "warning",
        "object": "i-2",
        "region": REGION,
        "account": ACCOUNT_ID,
    }
    assert result["unread"] == [
        {"what": "the restore tags", "action": "ec2:DescribeTags", "region": REGION, "why": "Could not read"}
    ]
    assert result["counts"]["warning"] == 1
