"""The cost of the fitted policies of a large account: the calls, and how often a text is read."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._accounts import covered_versions
from ansible_collections.cwagent.iam.plugins.module_utils._fitting import fitted_plan, fitted_policy
from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_plan import State
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
REGIONS = [f"eu-west-{number}" for number in range(17)]
NAMES = [f"AmazonCloudWatch-{number}" for number in range(20)]
VERSIONS, TEXTS, PAGE = 100, 30, 50


def text(number: int) -> str:
    return json.dumps({"metrics": {"namespace": f"Shop{number % TEXTS}", "metrics_collected": {"mem": {}}}})


class LargeAccount:
    """An account with 20 parameters in each of 17 regions, each with 100 versions of 30 texts."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.params: dict[str, Any] = {name: each.get("default") for name, each in fitted_policy.SPEC.items()}
        self.params.update(wait_timeout=0, region=REGIONS[0], read_regions=[])
        self.region, self.check_mode = REGIONS[0], False

    def client(self, service: str, region: str | None = None, **_more: Any) -> Any:
        def answer(operation: str, **arguments: Any) -> dict[str, Any]:
            self.calls[operation] += 1
            return {**getattr(self, operation)(**arguments), "ResponseMetadata": {"HTTPHeaders": {}}}

        operations = {
            "sts": ["get_caller_identity"],
            "ec2": ["describe_regions"],
            "ssm": ["describe_parameters", "get_parameter_history"],
        }
        methods = {each: partial(answer, each) for each in operations[service]}
        return SimpleNamespace(meta=SimpleNamespace(region_name=region or self.region), **methods)

    def get_caller_identity(self) -> dict[str, Any]:
        return {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/ops"}

    def describe_regions(self) -> dict[str, Any]:
        return {"Regions": [{"RegionName": each} for each in REGIONS]}

    def describe_parameters(self, **_arguments: Any) -> dict[str, Any]:
        return {"Parameters": [{"Name": each, "Type": "String"} for each in NAMES]}

    def get_parameter_history(self, NextToken: str = "0", **_arguments: Any) -> dict[str, Any]:  # noqa: N803  boto3's name
        first = int(NextToken)
        versions = [
            {"Version": number + 1, "LastModifiedDate": NOW, "Type": "String", "Value": text(number)}
            for number in range(first, first + PAGE)
        ]
        return {"Parameters": versions, **({"NextToken": str(PAGE)} if first + PAGE < VERSIONS else {})}


def test_a_large_account_takes_few_calls_and_each_text_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    account, read = LargeAccount(), Counter[str]()

    def validate(given: Any) -> Any:
        read[given.config] += 1
        return original(given)

    original = covered_versions.validate_config
    monkeypatch.setattr(covered_versions, "validate_config", validate)
    resource = fitted_policy.resource(account)
    assert account.calls == {
        "get_caller_identity": 1,
        "describe_regions": 1,
        "describe_parameters": len(REGIONS),
        "get_parameter_history": len(REGIONS) * len(NAMES) * VERSIONS // PAGE,
    }
    assert read == dict.fromkeys(map(text, range(TEXTS)), 1)
    [metrics] = [each for each in fitted_plan.join(resource._desired.needed["server"]) if each.condition]
    assert metrics.names == tuple(sorted(f"Shop{number}" for number in range(TEXTS)))
    # Every parameter is in all enabled regions, so no policy lists them.
    planned = resource.plan(State({}, NOW)).planned.policies
    assert [*planned] == ["CloudWatchAgentFittedServerPolicy", "CloudWatchAgentFittedAdminPolicy"]
    account.params["read_regions"] = REGIONS
    with pytest.raises(InvalidInput, match="more than 8 managed policies"):
        fitted_policy.resource(account).plan(State({}, NOW))
