"""The role that the options describe, and options that do not fit together."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from aws_account import ACCOUNT_ID, Account

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principals import role
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import Ec2Trust, HybridTrust, State

HOME = "eu-central-1"
HYBRID: dict[str, Any] = {"trust": "hybrid", "trust_regions": [HOME]}


def params(**given: Any) -> dict[str, Any]:
    validated = ArgumentSpecValidator(role.SPEC, **role.RULES).validate({"name": "R", "access": "server", **given})
    assert validated.error_messages == []
    return validated.validated_parameters


def described(region: str | None = HOME, **given: Any) -> Any:
    return role.desired_role(params(**given), region)


def planned_trust(region: str, **given: Any) -> Any:
    """The trust policy of a new role with these options."""
    plan = role.resource(params(**given), Account().aws(), region).plan(State())
    assert plan.planned.role
    return plan.planned.role.trust


@pytest.mark.parametrize(("region", "service"), [(None, "ec2.amazonaws.com"), ("cn-north-1", "ec2.amazonaws.com.cn")])
def test_a_role_trusts_ec2_unless_another_trust_is_declared(region, service):
    assert described(region).trust == Ec2Trust(service)
    assert (described().profile, described(instance_profile="P").profile) == ("R", "P")


@pytest.mark.parametrize("state", ["present", "absent"])
def test_the_account_is_read_only_for_hybrid_servers(state):
    account = Account()
    role.resource(params(state=state, server_policy="aws"), account.aws(), HOME)
    assert account.operations == []
    role.resource(params(state=state, server_policy="aws", **HYBRID), account.aws(), HOME)
    assert account.operations == ["get_caller_identity"]


@pytest.mark.parametrize(
    ("region", "partition"), [(HOME, "aws"), ("cn-north-1", "aws-cn"), ("us-gov-east-1", "aws-us-gov")]
)
def test_a_role_for_hybrid_servers_trusts_systems_manager_in_the_account_and_regions(region, partition):
    found = planned_trust(region, trust="hybrid", trust_regions=[region])
    assert found == HybridTrust(partition, ACCOUNT_ID, frozenset({region})).new_policy()


def test_a_role_for_hybrid_servers_has_no_instance_profile():
    assert described(**HYBRID).profile is None
    assert len(described(name="R" * 64, **HYBRID).name) == 64


@pytest.mark.parametrize(
    ("given", "description"),
    [
        ({}, "Lets EC2 instances run the CloudWatch agent"),
        ({"access": "admin"}, "Lets one EC2 instance store the CloudWatch agent's configuration"),
        (HYBRID, "Lets hybrid servers run the CloudWatch agent"),
        ({**HYBRID, "access": "admin"}, "Lets hybrid servers store the CloudWatch agent's configuration"),
    ],
)
def test_a_new_role_gets_a_description_of_its_purpose(given, description):
    assert described(**given).new_description == description


def test_a_deletion_needs_no_regions_and_no_access():
    given = {"name": "R", "trust": "hybrid", "state": "absent"}
    validated = ArgumentSpecValidator(role.SPEC, **role.RULES).validate(given)
    assert validated.error_messages == []
    assert role.desired_role(validated.validated_parameters, HOME).profile is None


INVALID = {
    **{
        f"an instance profile, {state}": (
            {**HYBRID, "instance_profile": "P", "state": state},
            "instance_profile: a role with trust hybrid has no instance profile; remove the option.",
        )
        for state in ("present", "absent")
    },
    "no regions": ({"trust": "hybrid"}, "trust_regions: a role with trust hybrid needs the regions of its servers."),
    "regions for EC2": (
        {"trust_regions": [HOME]},
        "trust_regions: only a role with trust hybrid has regions; remove the option.",
    ),
    "not a region": (
        {"trust": "hybrid", "trust_regions": [HOME, "*"]},
        "'*' is not the name of an AWS region, such as eu-central-1.",
    ),
    "another partition": (
        {"trust": "hybrid", "trust_regions": [HOME, "cn-north-1"]},
        "trust_regions: 'cn-north-1' belongs to partition aws-cn, but the region in use is in aws.",
    ),
}


@pytest.mark.parametrize(("given", "message"), INVALID.values(), ids=INVALID)
def test_options_that_do_not_fit_together_are_refused_before_any_call(given, message):
    account = Account()
    with pytest.raises(InvalidInput) as caught:
        role.resource(params(**given), account.aws(), HOME)
    assert str(caught.value) == message
    assert account.operations == []
