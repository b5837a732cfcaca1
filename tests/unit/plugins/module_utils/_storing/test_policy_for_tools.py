"""The fitted policy in the languages of other tools: the names of partition and account are theirs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import (
    DesiredConfig,
    DesiredParameter,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import minify
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import Given
from ansible_collections.cwagent.iam.plugins.module_utils._storing.policy_for_tools import fitted_result

NAME, ACCOUNT = "AmazonCloudWatch-linux", "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Central"
CONFIG = {"metrics": {"namespace": "a %{b} {account}", "metrics_collected": {"mem": {}}}}
TRACES = {"traces": {"traces_collected": {"otlp": {}}, "credentials": {"role_arn": ROLE}}}


def result(config: Any = CONFIG, *regions: str, account_id: str = "", emf: tuple[str, ...] = ()) -> dict[str, Any]:
    given = Given(NAME, "a.json", regions)
    desired = DesiredConfig(NAME, config, (DesiredParameter(NAME, minify(config)),))
    return fitted_result([(given, desired)], account_id, emf)


def policies_in_terraform(text: str) -> list[dict[str, Any]]:
    """The policies of resources, whose argument is JSON in which Terraform replaces names."""
    found = re.findall(r"^  policy = jsonencode\((.*?)\)\n\}$", text, re.MULTILINE | re.DOTALL)
    replaced = [
        each.replace("${data.aws_partition.cloudwatch_agent.partition}", "aws-cn").replace(
            "${data.aws_caller_identity.cloudwatch_agent.account_id}", ACCOUNT
        )
        for each in found
    ]
    assert all("${" not in each.replace("$${", "") for each in replaced)
    return [json.loads(each.replace("$${", "${").replace("%%{", "%{")) for each in replaced]


def policies_in_cloudformation(text: str) -> list[dict[str, Any]]:
    def resolve(value: dict[str, Any]) -> Any:
        if value.keys() != {"Fn::Sub"}:
            return value
        return value["Fn::Sub"].replace("${AWS::Partition}", "aws-cn").replace("${AWS::AccountId}", ACCOUNT)

    resources = json.loads(text, object_hook=resolve)["Resources"].values()
    return [each["Properties"]["PolicyDocument"] for each in resources]


MANY = {
    "logs": {
        "logs_collected": {
            "files": {"collect_list": [{"file_path": f"/{n}", "log_group_name": f"group-{n}"} for n in range(210)]}
        }
    }
}


@pytest.mark.parametrize("config", [CONFIG, TRACES, MANY])
def test_all_languages_have_the_same_policies(config: Any) -> None:
    found = result(config, "cn-north-1", account_id=ACCOUNT)
    assert policies_in_terraform(found["terraform"]) == found["policies"]
    assert policies_in_cloudformation(found["cloudformation"]) == found["policies"]
    assert len(found["policies"]) == (1 if config is not MANY else 3)
    document = json.loads(found["json"])
    assert (document if config is MANY else [document]) == found["policies"]


def test_each_policy_has_its_own_name() -> None:
    found = result(MANY, "cn-north-1")
    names = re.findall(r'resource "aws_iam_policy" "(\w+)" \{\n  name        = "(.+)"', found["terraform"])
    assert names == [
        ("cloudwatch_agent", "CloudWatchAgentFittedPolicy"),
        ("cloudwatch_agent_2", "CloudWatchAgentFittedPolicy-2"),
        ("cloudwatch_agent_3", "CloudWatchAgentFittedPolicy-3"),
    ]
    template = json.loads(found["cloudformation"])
    assert list(template["Resources"]) == [f"CloudWatchAgentFittedPolicy{number}" for number in ("", 2, 3)]
    assert template["Outputs"].keys() == template["Resources"].keys()


@pytest.mark.parametrize(
    ("config", "regions", "account_id", "beginning"),
    [
        (CONFIG, ["us-gov-west-1"], ACCOUNT, f"arn:aws-us-gov:ssm:us-gov-west-1:{ACCOUNT}:"),
        (CONFIG, ["eu-west-1", ""], "", "arn:aws:ssm:*:*:"),
        (CONFIG, [], "", "arn:aws:ssm:*:*:"),
        ({**CONFIG, "agent": {"region": "cn-north-1"}}, [""], "", "arn:aws-cn:ssm:*:*:"),
    ],
)
def test_a_place_that_is_not_known_is_a_wildcard(
    config: Any, regions: list[str], account_id: str, beginning: str
) -> None:
    [policy] = result(config, *regions, account_id=account_id)["policies"]
    reading, metrics = policy["Statement"]
    assert reading["Resource"] == [f"{beginning}parameter/{NAME}", f"{beginning}parameter/{NAME}:*"]
    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": ["a %{b} {account}"]}}


def test_notices_are_warnings_and_the_groups_of_emf_come_from_the_user() -> None:
    config = {"logs": {"metrics_collected": {"emf": {}}}}
    found = result(config, emf=("{hostname}",))
    assert found["warnings"] == ["The policy allows very many log groups: all whose names match *."]
    with pytest.raises(InvalidInput, match="list them in emf_log_groups"):
        result(config)
