"""Merged documents of an audit, as the role `audit` gives them to the template."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

Document = dict[str, Any]

NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
SEVERITIES = ["notice", "warning", "error"]

# Each would run as code, break out of its place, or be read as something else if it were not shown as text.
HOSTILE = [
    "<script>window.hostile = 1</script>",
    "</script><script>window.hostile = 2</script>",
    "<!--<script>",
    '"><img src=x onerror="window.hostile = 3">',
    "'; window.hostile = 4; //",
    "{{ lookup('pipe', 'echo templated') }}{% raw %}",
    "user\u202egpj.exe\u200f",
    "new\nline\x1b[31m\x00end",
]
# As `text` in report.js shows them.
SHOWN = [
    *HOSTILE[:6],
    "user\u2039U+202E\u203agpj.exe\u2039U+200F\u203a",
    "new\u2039U+000A\u203aline\u2039U+001B\u203a[31m\u2039U+0000\u203aend",
]


def time(**before: float) -> str:
    """A time before the audit, or after it if the numbers are negative."""
    return (NOW - timedelta(**before)).strftime("%Y-%m-%dT%H:%M:%SZ")


def principal(name: str, *, kind: str = "role", account: str = "111122223333", **more: Any) -> Document:
    return {
        "kind": kind,
        "name": name,
        "arn": f"arn:aws:iam::{account}:{kind}/{name}",
        "access": None,
        "managed": None,
        "created": time(days=400),
        "writes": "no",
        "writes_why": None,
        "is_administrator": False,
        "policies": [],
        "inline": [],
        "boundary": None,
        "window": None,
        "access_keys": [],
        "instance_profiles": [],
        **more,
    }


def grantor(name: str, *, kind: str = "role", account: str = "111122223333", **more: Any) -> Document:
    arn = f"arn:aws:iam::{account}:{kind}/{name}"
    why = f"It may call iam:PutRolePolicy on arn:aws:iam::{account}:role/{ADMIN}."
    return {"kind": kind, "name": name, "arn": arn, "can_grant": "yes", "why": why, **more}


def window(state: str, **more: Any) -> Document:
    return {"state": state, "deadline": None, "instance_id": None, "parameters": [], **more}


def key(number: int, age: int, used: float | None, *, known: bool = True, **more: Any) -> Document:
    return {
        "id": f"AKIA{number:016d}",
        "active": True,
        "created": time(days=age),
        "last_used": None if used is None else time(days=used),
        "last_used_known": known,
        "age_days": age,
        "saved": True,
        "saved_at": "/cwagent/credentials/db1",
        **more,
    }


def instance(number: int, profile: str | None, **more: Any) -> Document:
    return {
        "id": f"i-{number:017x}",
        "region": "eu-central-1",
        "name": f"web-{number}",
        "state": "running",
        "profile": profile,
        "in_inventory": True,
        "restore_tag": None,
        "is_windows": False,
        **more,
    }


def parameter(name: str, **more: Any) -> Document:
    return {
        "name": name,
        "region": "eu-central-1",
        "tier": "Standard",
        "version": 3,
        "size": 1812,
        "limit": 4096,
        "modified": time(days=3),
        "readable_by_server": "yes",
        "valid": "yes",
        "problem": None,
        **more,
    }


def finding(rule: str, severity: str, name: str, why: str, fix: str, **more: Any) -> Document:
    found = {"rule": rule, "severity": severity, "object": name, "region": None, "account": "111122223333"}
    return {**found, "why": why, "fix": fix, **more}


def account(number: str, alias: str | None, principals: list[Document], **more: Any) -> Document:
    profiles = [
        {"name": name, "arn": f"arn:aws:iam::{number}:instance-profile/{name}", "role": each["name"]}
        for each in principals
        for name in each["instance_profiles"]
    ]
    return {
        "account": {
            "id": number,
            "alias": alias,
            "partition": "aws",
            "label": alias or "controller",
            "read_at": time(),
            "regions": ["eu-central-1", "us-east-1"],
        },
        "principals": principals,
        "grantors": [],
        "instance_profiles": profiles,
        "instances": [],
        "parameters": [],
        "unread": [],
        **more,
    }


def merged(*accounts: Document) -> Document:
    findings = [each for found in accounts for each in found.get("findings", [])]
    counts = {severity: sum(each["severity"] == severity for each in findings) for severity in SEVERITIES}
    return {"generated": time(), "accounts": list(accounts), "findings": findings, "counts": counts}


SERVER, ADMIN = "CloudWatchAgentServerRole", "CloudWatchAgentAdminRole"
SERVER_POLICY, ADMIN_POLICY = "CloudWatchAgentServerPolicy", "CloudWatchAgentAdminPolicy"
SERVER_ACCESS: Document = {
    "access": "server",
    "managed": "created",
    "policies": [SERVER_POLICY, "AmazonSSMManagedInstanceCore"],
}
ADMIN_ACCESS: Document = {
    "access": "admin",
    "managed": "created",
    "policies": [ADMIN_POLICY],
    "inline": ["CloudWatchAgentWindow"],
}


def example() -> Document:
    """An account as a person may find it."""
    return merged(production())


def production() -> Document:
    return account(
        "111122223333",
        "production",
        [
            principal(SERVER, **SERVER_ACCESS, instance_profiles=[SERVER]),
            principal(
                ADMIN,
                **ADMIN_ACCESS,
                instance_profiles=[ADMIN],
                writes="window",
                writes_why="The window is open for i-0000000000000002a, for AmazonCloudWatch-linux.",
                window=window(
                    "open",
                    deadline=time(minutes=-14),
                    instance_id="i-0000000000000002a",
                    parameters=[{"name": "AmazonCloudWatch-linux", "region": "eu-central-1"}],
                ),
            ),
            principal(
                "legacy-monitoring",
                policies=[ADMIN_POLICY, "AmazonEC2RoleforSSM"],
                instance_profiles=["legacy-monitoring"],
                writes="yes",
                writes_why="CloudWatchAgentAdminPolicy allows it, and nothing denies it.",
            ),
            principal("ops-admin", writes="yes", is_administrator=True, policies=["AdministratorAccess"]),
            principal("break-glass", kind="user", writes="yes", is_administrator=True, policies=["PowerUserAccess"]),
            principal(
                "app-orders",
                policies=[SERVER_POLICY],
                writes="unknown",
                instance_profiles=["app-orders"],
                writes_why="The document of the policy orders-inline could not be read.",
            ),
            principal("agent-db-1", kind="user", **SERVER_ACCESS, access_keys=[key(1, 41, 0.01)]),
            principal("agent-db-2", kind="user", **SERVER_ACCESS, access_keys=[key(2, 312, 0.2), key(3, 2, None)]),
            principal(
                "agent-db-3",
                kind="user",
                **SERVER_ACCESS,
                access_keys=[key(4, 97, None, known=False, saved=None, saved_at=None)],
            ),
            principal(
                "agent-admin",
                kind="user",
                **ADMIN_ACCESS,
                window=window("closed"),
                access_keys=[key(5, 188, 120, active=False)],
            ),
        ],
        grantors=[grantor("Controller"), grantor("on-call", kind="user", can_grant="unknown")],
        instances=[
            instance(0x2A, ADMIN, name="collector-1", restore_tag=SERVER),
            *(instance(number, SERVER) for number in range(100, 164)),
            instance(7, "legacy-monitoring", name="batch-1", region="us-east-1", in_inventory=False),
            instance(8, "legacy-monitoring", name="batch-2", region="us-east-1", in_inventory=False),
            *(instance(number, "app-orders", name=f"orders-{number}") for number in range(20, 24)),
            instance(11, "build-agents", name="build-1", in_inventory=False),
            instance(9, None, name=None, state="stopped", in_inventory=False),
        ],
        parameters=[
            parameter("AmazonCloudWatch-linux"),
            parameter("AmazonCloudWatch-windows", size=3990, valid="no", problem="metrics_collected is not an object"),
            parameter("AmazonCloudWatch-db", readable_by_server="unknown", valid="unknown", size=None),
        ],
        unread=[
            {
                "what": "Last use of access keys",
                "action": "iam:GetAccessKeyLastUsed",
                "region": None,
                "why": "AWS denied the call to the controller's role.",
            },
            {
                "what": "The policy orders-inline",
                "action": "iam:GetRolePolicy",
                "region": None,
                "why": "AWS denied the call to the controller's role.",
            },
        ],
        findings=[
            finding(
                "admin_policy_on_instances",
                "error",
                "role/legacy-monitoring",
                "CloudWatchAgentAdminPolicy is effective on 2 instances at any time: batch-1 and batch-2.",
                "ansible-playbook cwagent.iam.site -e cwagent_adopt_existing=true",
            ),
            finding(
                "deprecated_policy",
                "warning",
                "role/legacy-monitoring",
                "It has AmazonEC2RoleforSSM, which AWS has deprecated and which reads all parameters.",
                "Detach it, and attach AmazonSSMManagedInstanceCore.",
            ),
            finding(
                "old_key",
                "warning",
                "user/agent-db-2",
                "Its access key is 312 days old; the limit is 90.",
                "ansible-playbook cwagent.iam.rotate_keys -e cwagent_key_max_age_days=90",
            ),
            finding(
                "two_active_keys",
                "notice",
                "user/agent-db-2",
                "Two access keys are active.",
                "ansible-playbook cwagent.iam.rotate_keys",
            ),
            finding(
                "parameter_near_limit",
                "notice",
                "AmazonCloudWatch-windows",
                "It has 3990 of 4096 bytes.",
                "cwagent_config_tier: Advanced",
                region="eu-central-1",
            ),
            finding(
                "administrators",
                "notice",
                "2 principals",
                "They can write because they administer the account.",
                "Decide whether each of them must.",
            ),
        ],
    )


def small() -> Document:
    """Three accounts with every severity, state and unknown; one of them could not be read."""
    hostile = account(
        "444455556666",
        "development",
        [
            principal(
                name,
                writes=writes,
                instance_profiles=[f"profile {name}"],
                policies=[name],
                inline=[name],
                writes_why=name,
                boundary=name,
                window=window(state, deadline=time(days=-1 if index % 2 else 9)),
            )
            for index, (name, writes, state) in enumerate(
                zip(
                    HOSTILE,
                    ["yes", "unknown", "no", "window"] * 2,
                    ["expired", "unknown", "absent", "modified"] * 2,
                    strict=True,
                )
            )
        ],
        grantors=[grantor(name, can_grant=answer) for name in HOSTILE for answer in ("yes", "unknown")],
        instances=[instance(index, f"profile {name}", name=name) for index, name in enumerate(HOSTILE)],
        parameters=[parameter(name, problem=name) for name in HOSTILE],
        unread=[{"what": name, "action": name, "region": name, "why": name} for name in HOSTILE],
        findings=[finding(name, "error", name, name, name, account="444455556666", region=name) for name in HOSTILE],
    )
    hostile["instance_profiles"].append({"name": "orphan", "arn": "arn", "role": None})
    hostile["principals"].append(principal("w" * 64, policies=["w" * 128], writes="unknown"))
    hostile["instances"].append(instance(10, None, name="W" * 256))
    failed = {"account": {"label": f"staging {HOSTILE[0]}"}, "error": f"The role could not be assumed: {HOSTILE[1]}"}
    return merged(production(), hostile, failed)


def clean() -> Document:
    """An account that keeps all rules: a server role, a closed window and a fleet with recent keys."""
    return merged(
        account(
            "111122223333",
            None,
            [
                principal(SERVER, **SERVER_ACCESS, instance_profiles=[SERVER]),
                principal(ADMIN, **ADMIN_ACCESS, instance_profiles=[ADMIN], window=window("closed")),
                principal("agent-db-1", kind="user", **SERVER_ACCESS, access_keys=[key(1, 12, 0.01)]),
            ],
            grantors=[grantor("Controller"), grantor("restorer", kind="user")],
            instances=[instance(number, SERVER) for number in range(1, 13)],
            parameters=[parameter("AmazonCloudWatch-linux")],
            findings=[],
        )
    )


def hybrid() -> Document:
    """An account with hybrid servers. The role of one of them was not read."""
    role = "CloudWatchAgentHybridRole"
    nodes = [
        {
            "id": f"mi-{number:017x}",
            "region": "eu-central-1",
            "name": f"db-{number}",
            "role": role if number else "Other",
            "ping": "Online",
            "is_windows": False,
            "is_ours": True,
        }
        for number in range(3)
    ]
    principals = [principal(role, **{**SERVER_ACCESS, "writes": "yes"})]
    return merged(account("111122223333", None, principals, nodes=nodes, findings=[]))


def empty() -> Document:
    """An account with nothing in it."""
    return merged(account("111122223333", None, [], findings=[]))


def users() -> Document:
    """A user of the agent, and users of others with and without an access key, of whom one can write."""
    found = [
        principal("agent-db-1", kind="user", **SERVER_ACCESS, access_keys=[key(1, 12, 0.01)]),
        principal("deploy", kind="user", policies=[ADMIN_POLICY], writes="yes", access_keys=[key(2, 12, 0.01)]),
        principal("alice", kind="user", policies=["Custom"], writes="unknown"),
    ]
    grantors = [grantor("Controller"), grantor("on-call", kind="user", can_grant="unknown")]
    return merged(account("111122223333", None, found, grantors=grantors, findings=[]))


def large() -> Document:
    """1000 roles, 1000 users and 10,000 instances, with a finding for every third principal and tenth instance."""
    roles = [
        principal(
            f"application-{number:04d}-role",
            policies=[SERVER_POLICY, "AmazonSSMManagedInstanceCore"],
            instance_profiles=[f"application-{number:04d}-role"],
            writes={0: "yes", 1: "unknown"}.get(number % 200, "no"),
            writes_why="CloudWatchAgentAdminPolicy allows it, and nothing denies it." if number % 200 == 0 else None,
        )
        for number in range(1000)
    ]
    users = [
        principal(
            f"agent-server-{number:04d}", kind="user", **SERVER_ACCESS, access_keys=[key(number, number % 400, 1)]
        )
        for number in range(1000)
    ]
    # Most instances are of a few roles.
    instances = [instance(number, f"application-{number % (number % 999 + 1):04d}-role") for number in range(10_000)]
    findings = [
        finding(
            "old_key",
            SEVERITIES[number % 3],
            f"{each['kind']}/{each['name']}",
            f"Its access key is {number} days old; the limit is 90.",
            "ansible-playbook cwagent.iam.rotate_keys -e cwagent_key_max_age_days=90",
        )
        for number, each in enumerate(roles + users)
        if number % 3 == 0
    ] + [
        finding(
            "agent_without_permissions",
            "warning",
            each["id"],
            "The instance is in the inventory, and its role does not have the permissions of a server.",
            "ansible-playbook cwagent.iam.site",
            region=each["region"],
        )
        for each in instances[::10]
    ]
    parameters = [parameter(f"AmazonCloudWatch-{number}") for number in range(50)]
    found = account("111122223333", "production", roles + users, instances=instances, parameters=parameters)
    return merged({**found, "findings": findings})


def incomplete() -> Document:
    """An account whose principals could not be read, and an account that could not be read at all."""
    denied = {"what": "roles", "action": "iam:ListRoles", "region": None, "why": "AWS denied the call."}
    unreadable = {"account": {"label": "staging"}, "error": "The role could not be assumed."}
    return merged(account("111122223333", None, [], findings=[], unread=[denied]), unreadable)


DOCUMENTS = {
    "small": small(),
    "clean": clean(),
    "hybrid": hybrid(),
    "empty": empty(),
    "users": users(),
    "incomplete": incomplete(),
    "large": large(),
}
