"""An account as the access reader sees it. Tests change parts of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.assess import assess
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_input import Case, Choices
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_result import find
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import (
    Account,
    ActivationUse,
    ConfigParameter,
    History,
    InstanceUse,
    Key,
    NodeUse,
    Policy,
    Principal,
    Profile,
    SavedKeyWithoutUser,
    Version,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import closed_policy

NOW = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)
ACCOUNT_ID, REGION = "123456789012", "eu-central-1"
ARN = "arn:aws:iam::aws:policy/"
AGENT = ["cloudwatch:PutMetricData", "logs:PutLogEvents"]
CONFIGURATIONS = "arn:aws:ssm:*:*:parameter/AmazonCloudWatch-*"
MANAGED = {"cwagent:managed": "created"}


def document(*actions: str, resource: Any = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    statement = {"Effect": effect, "Action": list(actions), "Resource": resource, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def managed_policy(name: str, *documents: dict[str, Any]) -> Policy:
    statements = [statement for each in documents for statement in each["Statement"]]
    return Policy(name.rpartition("/")[2], {"Version": "2012-10-17", "Statement": statements}, ARN + name)


SERVER = managed_policy(
    "CloudWatchAgentServerPolicy", document(*AGENT), document("ssm:GetParameter", resource=CONFIGURATIONS)
)
ADMIN = managed_policy(
    "CloudWatchAgentAdminPolicy",
    document(*AGENT),
    document("ssm:GetParameter", "ssm:PutParameter", resource=CONFIGURATIONS),
)
# The names of their fitted counterparts.
FITTED = {
    SERVER.arn: "CloudWatchAgentFittedServerPolicy",
    ADMIN.arn: "CloudWatchAgentFittedAdminPolicy",
}
ADMINISTRATOR = managed_policy("AdministratorAccess", document("*"))
OLD_SSM = managed_policy("service-role/AmazonEC2RoleforSSM", document("ssmmessages:*"))


def window(policy: dict[str, Any] | None) -> Policy:
    return Policy(WINDOW_POLICY, policy)


CLOSED = window(closed_policy())


def trust(principal: Any = None) -> dict[str, Any]:
    who = principal or {"Service": "ec2.amazonaws.com"}
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"}]}


def principal(kind: str, name: str, *policies: Policy, **more: Any) -> Principal:
    arn, created = f"arn:aws:iam::{ACCOUNT_ID}:{kind}/{name}", NOW - timedelta(days=400)
    of_role = {"trust": trust(), "profiles": (name,)} if kind == "role" else {}
    return Principal(
        kind,
        name,
        arn,
        "AIDA1" if kind == "user" else "AROA1",
        created,
        **{"tags": MANAGED, "policies": policies, **of_role, **more},
    )


def role(name: str, *policies: Policy, **more: Any) -> Principal:
    return principal("role", name, *policies, **more)


def user(name: str, *policies: Policy, **more: Any) -> Principal:
    return principal("user", name, *policies, **more)


def key(number: int, days: float = 1, active: bool = True, used: bool = True, **more: Any) -> Key:
    created = NOW - timedelta(days=days)
    return Key(f"AKIA{number}", active, created, created if used else None, **{"saved": True, **more})


def profile(name: str, in_it: str | None) -> Profile:
    return Profile(name, f"arn:aws:iam::{ACCOUNT_ID}:instance-profile/{name}", in_it)


def instance(number: int, on: str | None, **more: Any) -> InstanceUse:
    return InstanceUse(f"i-{number}", REGION, **{"state": "running", "profile": on, **more})


HYBRID = "CloudWatchAgentHybridRole"
CORE = managed_policy("AmazonSSMManagedInstanceCore", document("ssm:UpdateInstanceInformation", "ssm:GetParameter"))
SOURCE = {
    "StringEquals": {"aws:SourceAccount": ACCOUNT_ID},
    "ArnEquals": {"aws:SourceArn": [f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:*"]},
}


def hybrid_trust(**condition: Any) -> dict[str, Any]:
    [statement] = trust({"Service": "ssm.amazonaws.com"})["Statement"]
    return {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition or SOURCE}]}


def hybrid_role(*policies: Policy, **more: Any) -> Principal:
    """The role of hybrid servers, with other policies than these if some are given."""
    given = {"trust": hybrid_trust(), "profiles": (), **more}
    return role(given.pop("name", HYBRID), *(policies or (SERVER, CORE)), **given)


def node(number: int, name: str = "db9", **more: Any) -> NodeUse:
    given = {"role": HYBRID, "ping": "Online", "is_ours": True, **more}
    return NodeUse(f"mi-{number}", REGION, name, **given)


def activation(number: int, days: float = 1, **more: Any) -> ActivationUse:
    given = {"role": HYBRID, "remaining": 1, "expires": NOW + timedelta(days=days), **more}
    return ActivationUse(f"activation-{number}", REGION, "db9", **given)


def parameter(name: str, value: str | None = '{"agent":{}}', **more: Any) -> ConfigParameter:
    given = {"tier": "Standard", "type": "String", "version": 1, "modified": NOW, **more}
    return ConfigParameter(f"AmazonCloudWatch-{name}", REGION, value=value, **given)


ADMIN_SESSION = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/CloudWatchAgentAdminRole/i-9"


def version(number: int, writer: str = ADMIN_SESSION, value: str | None = '{"agent":{}}', **more: Any) -> Version:
    return Version(number, NOW - timedelta(days=1), writer, "Standard", value, **more)


def history(*versions: Version, name: str = "AmazonCloudWatch-linux") -> History:
    """The versions of a configuration, which are given with the newest first."""
    return History(name, REGION, versions)


HEALTHY = Account(
    ACCOUNT_ID,
    "aws",
    "controller",
    NOW,
    (REGION,),
    principals=(
        role("Admin", ADMIN, CLOSED),
        role("App", managed_policy("AmazonS3ReadOnlyAccess", document("s3:Get*")), tags={}),
        role("Server", SERVER),
        user("admin", ADMIN, CLOSED, keys=(key(1, active=False, used=False),)),
        user("db1", SERVER, keys=(key(2),)),
    ),
    profiles=(profile("Admin", "Admin"), profile("Server", "Server"), profile("App", "App")),
    instances=(instance(1, "Server", in_inventory=True),),
    parameters=(parameter("linux"),),
)


def with_(account: Account = HEALTHY, **more: Any) -> Account:
    """An account with more principals, profiles, instances or parameters; each role has a profile of its name."""
    roles = [each for each in more.get("principals", ()) if each.kind == "role"]
    more["profiles"] = (*more.get("profiles", ()), *(profile(each.name, each.name) for each in roles))
    added: dict[str, Any] = {name: (*getattr(account, name), *value) for name, value in more.items()}
    return replace(account, **added)


FIELDS = {
    Principal: "principals",
    Profile: "profiles",
    InstanceUse: "instances",
    ConfigParameter: "parameters",
    NodeUse: "nodes",
    ActivationUse: "activations",
    History: "histories",
    SavedKeyWithoutUser: "keys_without_user",
}


def healthy(*things: Any) -> Account:
    """The healthy account with these things."""
    more: dict[str, Any] = {}
    for each in things:
        more.setdefault(FIELDS[type(each)], []).append(each)
    return with_(**more)


def with_fitted_policies(account: Account) -> Account:
    """The account with a fitted policy instead of each policy of the agent that AWS manages."""
    arns = [f"arn:aws:ssm:{each.region}:{ACCOUNT_ID}:parameter/{each.name}" for each in account.parameters]
    deleted = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter/AmazonCloudWatch-deleted"  # which can need all of it
    namespace = {"StringEquals": {"cloudwatch:namespace": ["CWAgent"]}}
    written: dict[str, dict[str, Any]] = {
        "cloudwatch:PutMetricData": {"Resource": "*", "Condition": namespace},
        "logs:PutLogEvents": {"Resource": f"arn:aws:logs:{REGION}:{ACCOUNT_ID}:log-group:*:*"},
        "ssm:GetParameter": {"Resource": [deleted, *arns, *(f"{each}:*" for each in arns)]},
        "ssm:PutParameter": {"Resource": arns},
    }

    def fitted(each: Policy) -> list[Policy]:
        """The policies with what a policy of AWS allows. Admin principals have both."""
        if each.arn not in FITTED or each.document is None:
            return [each]
        allowed = {action for one in each.document["Statement"] for action in one["Action"]}
        found = []
        for name in dict.fromkeys([FITTED[SERVER.arn], FITTED[each.arn]]):
            actions = [action for action in sorted(allowed) if (action == "ssm:PutParameter") == ("Admin" in name)]
            statements = [{"Effect": "Allow", "Action": action, **written[action]} for action in actions]
            arn = f"arn:aws:iam::{ACCOUNT_ID}:policy/cwagent/{name}"
            documented = {"Version": "2012-10-17", "Statement": statements}
            found.append(replace(each, name=name, document=documented, arn=arn))
        return found

    changed = (
        replace(each, policies=tuple(found for policy in each.policies for found in fitted(policy)))
        for each in account.principals
    )
    return replace(account, principals=tuple(changed))


def case_of(account: Account, choices: Choices | None = None) -> Case:
    return Case(account, assess(account), choices or Choices())


def found(account: Account, choices: Choices | None = None) -> list[tuple[str, str, str]]:
    """The rule, the severity and the object of each finding."""
    return [(each.rule, each.severity, each.object) for each in find(case_of(account, choices))]
