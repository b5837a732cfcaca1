"""Everything in an account that the collection could have changed, as data that can be compared."""

from __future__ import annotations

import json
from typing import Any

from .client import Emulator

ASSOCIATED = ("associating", "associated")


def snapshot(aws: Emulator, *regions: str) -> dict[str, Any]:
    """The account by kind and name, with the instances and parameters of these regions (default: the emulator's)."""
    regions = regions or (aws.region,)
    iam = aws.client("iam")
    associations = {region: associated_profiles(aws, region) for region in regions}
    return {
        "roles": {name: _role(iam, name) for name in _names(iam, "roles", "RoleName")},
        "users": {name: _user(iam, name) for name in _names(iam, "users", "UserName")},
        "instance_profiles": {
            profile["InstanceProfileName"]: [role["RoleName"] for role in profile["Roles"]]
            for profile in iam.list_instance_profiles()["InstanceProfiles"]
        },
        "customer_policies": sorted(policy["Arn"] for policy in iam.list_policies(Scope="Local")["Policies"]),
        "associations": {
            instance: profile for found in associations.values() for instance, profile in found.items() if profile
        },
        "instance_tags": {region: _instance_tags(aws, region) for region in regions},
        "parameters": {region: configurations(aws, region) for region in regions},
        "activations": {region: _activations(aws, region) for region in regions},
        "nodes": {region: _nodes(aws, region) for region in regions},
    }


def associated_profiles(aws: Emulator, region: str | None = None) -> dict[str, str | None]:
    """By instance, the instance profile that is associated with it."""
    found: dict[str, str | None] = {each["InstanceId"]: None for each in instances(aws, region)}
    ec2 = aws.client("ec2", region)
    for each in ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]:
        if each["State"] in ASSOCIATED and each["InstanceId"] in found:
            assert found[each["InstanceId"]] is None, f"{each['InstanceId']} has two associations"
            found[each["InstanceId"]] = each["IamInstanceProfile"]["Arn"].rpartition("/")[2]
    return found


def instances(aws: Emulator, region: str | None = None) -> list[dict[str, Any]]:
    """The instances of a region as EC2 describes them, without terminated ones."""
    pages = aws.client("ec2", region).describe_instances()["Reservations"]
    return [each for page in pages for each in page["Instances"] if each["State"]["Name"] != "terminated"]


def configurations(aws: Emulator, region: str | None = None) -> dict[str, Any]:
    """By parameter name, the configurations that a region stores. Saved access keys have names that begin with /."""
    ssm = aws.client("ssm", region)
    pages = ssm.get_paginator("describe_parameters").paginate()
    names = [each["Name"] for page in pages for each in page["Parameters"] if not each["Name"].startswith("/")]
    return {name: json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"]) for name in names}


def _activations(aws: Emulator, region: str) -> list[dict[str, Any]]:
    """Without what differs between two that are alike: their ids, dates and tags."""
    pages = aws.client("ssm", region).get_paginator("describe_activations").paginate()
    shown = ("DefaultInstanceName", "IamRole", "RegistrationLimit", "RegistrationsCount", "Expired")
    found = [{key: each[key] for key in shown} for page in pages for each in page["ActivationList"]]
    return sorted(found, key=json.dumps)


def _nodes(aws: Emulator, region: str) -> list[dict[str, Any]]:
    """The hybrid servers, without what differs between two that are alike: their ids, dates and tags."""
    only_nodes = [{"Key": "ResourceType", "Values": ["ManagedInstance"]}]
    pages = aws.client("ssm", region).get_paginator("describe_instance_information").paginate(Filters=only_nodes)
    shown = ("Name", "IamRole", "PingStatus")
    found = [{key: each[key] for key in shown} for page in pages for each in page["InstanceInformationList"]]
    return sorted(found, key=json.dumps)


def _names(iam: Any, kind: str, key: str) -> list[str]:
    return [each[key] for page in iam.get_paginator(f"list_{kind}").paginate() for each in page[kind.title()]]


def _principal(iam: Any, kind: str, name: str) -> dict[str, Any]:
    by = {f"{kind.title()}Name": name}
    attached = getattr(iam, f"list_attached_{kind}_policies")(**by)["AttachedPolicies"]
    inline = getattr(iam, f"list_{kind}_policies")(**by)["PolicyNames"]
    document = getattr(iam, f"get_{kind}_policy")
    found = getattr(iam, f"get_{kind}")(**by)[kind.title()]
    return {
        "policies": sorted(policy["PolicyName"] for policy in attached),
        "inline": {each: document(**by, PolicyName=each)["PolicyDocument"] for each in inline},
        "tags": {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        "path": found["Path"],
        "boundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
    }


def _role(iam: Any, name: str) -> dict[str, Any]:
    role = iam.get_role(RoleName=name)["Role"]
    settings = {"trust": role["AssumeRolePolicyDocument"], "description": role.get("Description", "")}
    return {**_principal(iam, "role", name), **settings, "session": role["MaxSessionDuration"]}


def _user(iam: Any, name: str) -> dict[str, Any]:
    """With the status of each access key, by its id."""
    keys = iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
    return {**_principal(iam, "user", name), "keys": {key["AccessKeyId"]: key["Status"] for key in keys}}


def _instance_tags(aws: Emulator, region: str) -> dict[str, dict[str, str]]:
    return {
        each["InstanceId"]: {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])}
        for each in instances(aws, region)
    }
