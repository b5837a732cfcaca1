"""China and GovCloud: ARNs and service principals of the partition, without a call to find out which it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from harness import SERVER_POLICY, start_empty, trust
from in_process import run_module

HOME = "eu-central-1"
PARTITIONS = {
    HOME: ("aws", "ec2.amazonaws.com"),
    "cn-north-1": ("aws-cn", "ec2.amazonaws.com.cn"),
    "us-gov-west-1": ("aws-us-gov", "ec2.amazonaws.com"),
}


@dataclass(frozen=True)
class Job:
    """A role, its instance profile on an instance, a user and a parameter in a region: the results and the calls."""

    role: dict[str, Any]
    user: dict[str, Any]
    calls: list[str]
    credentials: str


def run_job(aws: Emulator, region: str, folder: Path) -> Job:
    [instance] = aws.instances(1, region=region)
    since = aws.mark()
    steps: list[tuple[str, dict[str, Any]]] = [
        ("cwagent_iam_role", {"name": "R", "access": "server", "ssm_policy": "AmazonSSMManagedInstanceCore"}),
        ("cwagent_instance_profile", {"name": "R", "instance_ids": [instance]}),
        ("cwagent_iam_user", {"name": ["u"], "access": "server", "saved_key": {"key_store_directory": str(folder)}}),
        ("cwagent_config_parameter", {"name": "AmazonCloudWatch-x", "config": {"agent": {}}}),
    ]
    results = [run_module(aws, module, region=region, **arguments) for module, arguments in steps]
    assert [result["changed"] for result in results] == [True] * len(steps), results
    calls = [call.action for call in aws.calls(since)]
    return Job(results[0], results[2]["users"][0], calls, (folder / "u.credentials").read_text())


@pytest.fixture(scope="module")
def jobs(running: dict[str, Emulator], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """The same job in each partition, by region."""
    folder = tmp_path_factory.mktemp("keys")
    return {region: run_job(start_empty(running, "moto"), region, folder / region) for region in PARTITIONS}


@pytest.mark.parametrize("region", PARTITIONS)
def test_arns_and_principals_fit_the_partition(jobs: dict[str, Job], region: str) -> None:
    """The calls are the same in each, and none finds out which it is."""
    job, (partition, service) = jobs[region], PARTITIONS[region]
    managed, account = f"arn:{partition}:iam::aws:policy/", f"arn:{partition}:iam::123456789012"
    role = job.role["role"]
    assert role["arn"] == f"{account}:role/R"
    assert role["managed_policies"] == [managed + "AmazonSSMManagedInstanceCore", managed + SERVER_POLICY]
    assert role["trust_policy"]["Statement"][0]["Principal"] == {"Service": service}
    assert job.role["instance_profile"]["arn"] == f"{account}:instance-profile/R"
    assert (job.user["arn"], job.user["managed_policies"]) == (f"{account}:user/u", [managed + SERVER_POLICY])
    assert f"region = {region}" in job.credentials
    assert job.calls == jobs[HOME].calls
    assert not {"GetCallerIdentity", "DescribeRegions", "GetUser"} & {*job.calls}


@pytest.mark.parametrize("service", ["ec2.amazonaws.com.cn", "ec2.amazonaws.com"])
def test_the_trust_policy_of_a_partition_is_not_changed(moto: Emulator, service: str) -> None:
    """In China, a role works with either name of EC2."""
    iam = moto.client("iam", "cn-north-1")
    iam.create_role(RoleName="R", AssumeRolePolicyDocument=trust(service))
    result = run_module(moto, "cwagent_iam_role", name="R", access="server", region="cn-north-1")
    assert [step for step in result["steps"] if "trust" in step] == []


@pytest.mark.parametrize("exists", [True, False])
def test_a_partition_can_lack_the_admin_policy(moto: Emulator, exists: bool) -> None:
    """Nobody has proved that every partition has it. Where it is missing, that does not pass by waiting."""
    policy = "arn:aws-us-gov:iam::aws:policy/CloudWatchAgentAdminPolicy"
    if not exists:
        message = f"Policy {policy} does not exist or is not attachable."
        moto.arm(
            Fault(Kind.ERROR, "iam", "AttachRolePolicy", times=1000, code="NoSuchEntity", message=message, status=404)
        )
    since = moto.mark()
    result = run_module(moto, "cwagent_iam_role", name="R", access="admin", region="us-gov-west-1")
    assert result["failed"] != exists
    assert [call.action for call in moto.calls(since)].count("AttachRolePolicy") == 1
    if not exists:
        assert "the policy CloudWatchAgentAdminPolicy of AWS does not exist in partition aws-us-gov" in result["msg"]
        assert "cwagent_store_config_from=controller" in result["msg"]
