"""The jobs in plain boto3 on ten threads, as a lower bound: ``python floor.py users|instances JOB_FILE``."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

POLICY = "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"
PROFILE = "CloudWatchAgentServerRole"
THREADS = 10
CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 10}, max_pool_connections=THREADS)


def users(job: dict[str, Any]) -> None:
    """Users with a policy and a key each, saved to a file."""
    iam = boto3.client("iam", config=CONFIG)
    folder = Path(job["directory"])
    folder.mkdir(mode=0o700, exist_ok=True)
    pages = iam.get_paginator("get_account_authorization_details").paginate(
        Filter=["User"], PaginationConfig={"PageSize": 1000}
    )
    policies = {
        user["UserName"]: [policy["PolicyArn"] for policy in user["AttachedManagedPolicies"]]
        for page in pages
        for user in page["UserDetailList"]
    }

    def create(name: str) -> None:
        if name not in policies:
            iam.create_user(UserName=name)
        if POLICY not in policies.get(name, []):
            iam.attach_user_policy(UserName=name, PolicyArn=POLICY)
        if not iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            key = iam.create_access_key(UserName=name)["AccessKey"]
            file = folder / name
            file.touch(mode=0o600)
            file.write_text(json.dumps([key["AccessKeyId"], key["SecretAccessKey"]]))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(create, job["users"]))


def instances(job: dict[str, Any]) -> None:
    """An instance profile on instances that have none."""
    ec2 = boto3.client("ec2", config=CONFIG)
    pages = ec2.get_paginator("describe_iam_instance_profile_associations").paginate(
        PaginationConfig={"PageSize": 1000}
    )
    associated = {each["InstanceId"] for page in pages for each in page["IamInstanceProfileAssociations"]}

    def associate(instance: str) -> None:
        ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": PROFILE})

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(associate, [name for name in job["instances"] if name not in associated]))


if __name__ == "__main__":
    {"users": users, "instances": instances}[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
