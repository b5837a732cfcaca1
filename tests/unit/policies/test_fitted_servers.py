"""Verify and the audit accept servers with the fitted policy of their configurations, and miss each statement of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import fitted
import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.assess import assess
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_input import Case as AuditCase
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_input import Choices
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_result import find
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import (
    Account,
    ConfigParameter,
    InstanceUse,
    Policy,
    Principal,
    Profile,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.checks import check
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Server, Target
from ansible_collections.cwagent.iam.plugins.module_utils._agents.verify_input import Case
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.permissions import ROWS
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import Source, fit

Config = Mapping[str, Any]
NAME, ID, NOW = "Web", "i-1", datetime(2026, 11, 24, 16, 0, tzinfo=UTC)
CONFIGS = [each.config for each in fitted.SOURCES if not isinstance(each.config, str)]
SETS = {"linux": CONFIGS[:1], "windows": CONFIGS[1:2], "central": CONFIGS[2:], "all": CONFIGS}


def names_of(configs: Sequence[Config]) -> list[str]:
    return [f"AmazonCloudWatch-config{number}" for number, _config in enumerate(configs)]


def fitted_policies(configs: Sequence[Config]) -> tuple[Config, ...]:
    sources = [
        Source(name, config, (name,), (fitted.REGION,)) for name, config in zip(names_of(configs), configs, strict=True)
    ]
    return fit(sources, fitted.SCOPE).policies


OPTIONAL = [[*row.actions] for row in ROWS if row.is_optional and not row.is_in_server_policy]


def account_of(configs: Sequence[Config], policies: Sequence[Config]) -> Account:
    """An account with a server that has these policies."""
    arn = f"arn:aws:iam::{fitted.ACCOUNT}:role/{NAME}"
    attached = tuple(Policy(f"Fitted{number}", each) for number, each in enumerate(policies))
    role = Principal("role", NAME, arn, "AROA1", NOW, {}, attached, trust={"Statement": []}, profiles=(NAME,))
    return Account(
        fitted.ACCOUNT,
        "aws",
        "controller",
        NOW,
        (fitted.REGION,),
        principals=(role,),
        profiles=(Profile(NAME, f"arn:aws:iam::{fitted.ACCOUNT}:instance-profile/{NAME}", NAME),),
        instances=(InstanceUse(ID, fitted.REGION, state="running", profile=NAME, in_inventory=True),),
        parameters=tuple(
            ConfigParameter(
                name, fitted.REGION, tier="Standard", type="String", version=1, value=json.dumps(each), modified=NOW
            )
            for name, each in zip(names_of(configs), configs, strict=True)
        ),
    )


def verified(account: Account, names: Sequence[str] = ()) -> Server:
    """A server of the inventory with these configurations. Without names, they are not known."""
    return check(Case(account, assess(account)), Target("web", fitted.REGION, ID, configs=tuple(names)))


def audited(account: Account) -> list[str]:
    """The findings of the audit on an account."""
    return [each.why for each in find(AuditCase(account, assess(account), Choices()))]


@pytest.mark.parametrize("configs", SETS.values(), ids=SETS)
def test_a_fitted_policy_is_sufficient_for_verify(configs: Sequence[Config]) -> None:
    account, names = account_of(configs, fitted_policies(configs)), names_of(configs)
    for given in ([], *([name] for name in names), names):
        server = verified(account, given)
        assert server.failures == ()
        assert not [each.why for each in server.notes if "lacks" in each.why]


@pytest.mark.parametrize("configs", [*(CONFIGS[n : n + 1] for n in range(3)), CONFIGS[:2]])
def test_verify_needs_each_statement_of_a_fitted_policy(configs: Sequence[Config]) -> None:
    """With all configurations, the agent would send all log events with a role of another account."""
    [policy] = fitted_policies(configs)
    for left_out in policy["Statement"]:
        rest = {**policy, "Statement": [each for each in policy["Statement"] if each is not left_out]}
        server = verified(account_of(configs, [rest]), names_of(configs))
        found = server.failures
        if left_out["Action"] in OPTIONAL:
            assert server.failures == ()
            found = tuple(each for each in server.notes if "lacks" in each.why)
        assert found
        assert all(any(action in each.why for action in left_out["Action"]) for each in found)


def test_verify_names_the_log_group_that_a_fitted_policy_lacks() -> None:
    other, config = ({"metrics": {"namespace": each}, **_collecting(each)} for each in ("Shop", "Blog"))
    account = account_of([config], fitted_policies([other]))
    group = fitted.arn("logs", "log-group:Blog:log-stream:*")
    lacks = "cloudwatch:PutMetricData with cloudwatch:namespace Blog, logs:PutLogEvents on"
    assert [each.why for each in verified(account).failures] == [f"Role '{NAME}' lacks {lacks} {group}."]


def _collecting(group: str) -> dict[str, Any]:
    return {"logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/a", "log_group_name": group}]}}}}


@pytest.mark.parametrize("configs", SETS.values(), ids=SETS)
def test_a_fitted_policy_is_sufficient_for_the_audit(configs: Sequence[Config]) -> None:
    assert audited(account_of(configs, fitted_policies(configs))) == []


def test_the_audit_reports_a_role_without_the_policy_of_any_configuration() -> None:
    account = account_of([_collecting("Shop"), {"metrics": {"namespace": "Shop"}}], [])
    [why] = audited(account)
    assert why.endswith("lacks cloudwatch:PutMetricData, logs:PutLogEvents, ssm:GetParameter.")


def test_a_section_alone_needs_no_permission_of_the_other() -> None:
    for config in (_collecting("Shop"), {"metrics": {"namespace": "Shop"}}):
        account = account_of([config], fitted_policies([config]))
        server = verified(account)
        assert (server.failures, server.notes) == ((), ())
        assert audited(account) == []
