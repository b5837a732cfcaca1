"""China and GovCloud: ARNs and service principals of the partition, and no call to find out which it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emulator import Emulator
from harness import SERVER_POLICY, run_module, trust

PARTITIONS = {
    "eu-central-1": ("aws", "ec2.amazonaws.com"),
    "cn-north-1": ("aws-cn", "ec2.amazonaws.com.cn"),
    "us-gov-west-1": ("aws-us-gov", "ec2.amazonaws.com"),
}


def job(aws: Emulator, region: str, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """A role, its profile on an instance, and a user in a region: the results, and the calls it took."""
    [instance] = aws.instances(1, region=region)
    since = aws.mark()
    steps: list[tuple[str, dict[str, Any]]] = [
        ("cwagent_iam_role", {"name": "R", "access": "server", "ssm_policy": "AmazonSSMManagedInstanceCore"}),
        ("cwagent_instance_profile", {"name": "R", "instance_ids": [instance]}),
        ("cwagent_iam_user", {"name": ["u"], "access": "server", "credentials": {"directory": str(folder)}}),
        ("cwagent_config_parameter", {"name": "AmazonCloudWatch-x", "config": {"agent": {}}}),
    ]
    results = [run_module(aws, module, region=region, **arguments) for module, arguments in steps]
    assert [result["changed"] for result in results] == [True] * len(steps), results
    return results, [call.action for call in aws.calls(since)]


def test_arns_and_calls(moto: Emulator, tmp_path: Path) -> None:
    calls = {}
    for region, (partition, service) in PARTITIONS.items():
        moto.reset()
        results, calls[region] = job(moto, region, tmp_path / region)
        role, user = results[0], results[2]["users"][0]
        managed = f"arn:{partition}:iam::aws:policy/"
        assert role["role"]["arn"] == f"arn:{partition}:iam::123456789012:role/R"
        assert role["role"]["managed_policies"] == [managed + "AmazonSSMManagedInstanceCore", managed + SERVER_POLICY]
        assert role["role"]["trust_policy"]["Statement"][0]["Principal"] == {"Service": service}
        assert role["instance_profile"]["arn"] == f"arn:{partition}:iam::123456789012:instance-profile/R"
        assert (user["arn"], user["managed_policies"]) == (
            f"arn:{partition}:iam::123456789012:user/u",
            [managed + SERVER_POLICY],
        )
        assert f"region = {region}" in (tmp_path / region / "u.credentials").read_text()
    assert calls["cn-north-1"] == calls["us-gov-west-1"] == calls["eu-central-1"]
    assert not {"GetCallerIdentity", "DescribeRegions", "GetUser"} & set(calls["eu-central-1"])


def test_the_trust_of_a_partition_is_left_alone(moto: Emulator) -> None:
    iam = moto.client("iam", "cn-north-1")
    iam.create_role(RoleName="R", AssumeRolePolicyDocument=trust("ec2.amazonaws.com.cn"))
    made = run_module(moto, "cwagent_iam_role", name="R", access="server", region="cn-north-1")
    assert [step for step in made["steps"] if "trust" in step] == []
