"""The trust policies for servers that are registered with Systems Manager. test_plan.py has those for EC2."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import SSM, Ec2Trust, HybridTrust

ACCOUNT = "123456789012"
REGIONS = ["ap-southeast-2", "eu-central-1", "eu-west-1", "us-east-1"]
HOME, OTHER = "eu-central-1", "us-east-1"
TRUST = HybridTrust("aws", ACCOUNT, frozenset({HOME}))


def arn(region: str, account: str = ACCOUNT, partition: str = "aws") -> str:
    return f"arn:{partition}:ssm:{region}:{account}:*"


def trust(*regions: str) -> HybridTrust:
    return HybridTrust("aws", ACCOUNT, frozenset(regions))


def statement(*regions: str, **elements: Any) -> dict[str, Any]:
    """The statement of a policy that the collection writes, with other elements."""
    [written] = trust(*regions).new_policy()["Statement"]
    return {**written, **elements}


def policy(*statements: Any, **elements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements), **elements}


def conditions(**operators: dict[str, Any]) -> dict[str, Any]:
    """The conditions that the collection writes for one region, with other operators."""
    written: dict[str, Any] = statement(HOME)["Condition"]
    return {key: value for key, value in {**written, **operators}.items() if value}


def with_arns(arns: Any, **more: Any) -> dict[str, Any]:
    """A policy of ours, but for these sources."""
    return policy(statement(HOME, Condition=conditions(ArnEquals={"aws:SourceArn": arns}, **more)))


def with_account(**operator: Any) -> dict[str, Any]:
    """A policy of ours, but for these accounts."""
    return policy(statement(HOME, Condition=conditions(**{"StringEquals": {}, **operator})))


def test_a_new_policy_lets_systems_manager_in_these_regions_assume_the_role():
    assert trust("us-east-1", "eu-west-1").new_policy() == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ssm.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": "123456789012"},
                    "ArnEquals": {
                        "aws:SourceArn": [
                            "arn:aws:ssm:eu-west-1:123456789012:*",
                            "arn:aws:ssm:us-east-1:123456789012:*",
                        ]
                    },
                },
            }
        ],
    }


@pytest.mark.parametrize(
    ("partition", "region"), [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1"), ("aws-eusc", "eusc-de-east-1")]
)
def test_the_arns_have_the_partition(partition, region):
    there = HybridTrust(partition, ACCOUNT, frozenset({region}))
    [written] = there.new_policy()["Statement"]
    assert written["Condition"]["ArnEquals"]["aws:SourceArn"] == [f"arn:{partition}:ssm:{region}:{ACCOUNT}:*"]
    assert written["Principal"] == {"Service": "ssm.amazonaws.com"}
    assert there.problem(there.new_policy(), is_marked=True) is None
    elsewhere = HybridTrust("aws", ACCOUNT, frozenset({region}))
    assert elsewhere.planned_policy(there.new_policy(), exclusive=False) == there.new_policy()
    assert elsewhere.problem(there.new_policy(), is_marked=True)


UNCONDITIONAL = policy({key: value for key, value in statement(HOME).items() if key != "Condition"})
FOREIGN = {
    "no statement": policy(),
    "no statements at all": {"Version": "2012-10-17"},
    "an id": policy(statement(HOME), Id="x"),
    "a statement id": policy(statement(HOME, Sid="")),
    "a second statement": policy(statement(HOME), statement(HOME, Principal={"Service": "ec2.amazonaws.com"})),
    "a statement for each region": policy(statement(HOME), statement(OTHER)),
    "another service": policy(statement(HOME, Principal={"Service": [SSM, "ec2.amazonaws.com"]})),
    "another principal": policy(statement(HOME, Principal={"Service": SSM, "AWS": ACCOUNT})),
    "anyone": policy(statement(HOME, Principal="*")),
    "another action": policy(statement(HOME, Action=["sts:AssumeRole", "sts:TagSession"])),
    "no condition": UNCONDITIONAL,
    "no account": with_account(StringEquals={}),
    "another account": with_account(StringEquals={"aws:SourceAccount": "210987654321"}),
    "two accounts": with_account(StringEquals={"aws:SourceAccount": [ACCOUNT, "210987654321"]}),
    "no ARN": policy(statement(HOME, Condition=conditions(ArnEquals={}))),
    "an empty list of ARNs": with_arns([]),
    "a part of an ARN": with_arns("arn:aws:ssm:*"),
    "the ARN of an account": with_arns(arn(HOME, "210987654321")),
    "an ARN of another account too": with_arns([arn(HOME), arn(OTHER, "210987654321")]),
    "the ARN of another partition": with_arns(arn(HOME, partition="aws-cn")),
    "the ARN of one server": with_arns(arn(HOME) + "managed-instance/mi-1"),
    "another operator": policy(
        statement(HOME, Condition=conditions(ArnEquals={}, ArnLike={"aws:SourceArn": [arn(HOME)]}))
    ),
    "another condition": policy(statement(HOME, Condition=conditions(Bool={"aws:SecureTransport": "true"}))),
    "another key": with_account(StringEquals={"aws:SourceAccount": ACCOUNT, "aws:SourceOrgID": "o-1"}),
}
"""Trust policies that somebody else wrote, or that was extended after the collection wrote it."""


@pytest.mark.parametrize("current", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("region", [HOME, OTHER])
def test_a_policy_of_others_is_replaced_only_with_exclusive(current, region):
    desired = trust(region)
    assert desired.planned_policy(current, exclusive=False) is current
    assert desired.planned_policy(current, exclusive=True) == desired.new_policy()


REARRANGED = {
    "as it is written": policy(statement(HOME)),
    "one statement without a list": {"Statement": statement(HOME), "Version": "2012-10-17"},
    "lists": policy(
        statement(
            HOME,
            Principal={"Service": [SSM]},
            Action=["sts:AssumeRole"],
            Condition=conditions(StringEquals={"aws:SourceAccount": [ACCOUNT]}),
        )
    ),
    "one value": with_arns(arn(HOME)),
    "a value twice": with_arns([arn(HOME)] * 2),
}


@pytest.mark.parametrize("current", REARRANGED.values(), ids=REARRANGED)
@pytest.mark.parametrize("exclusive", [True, False])
def test_a_region_is_added_to_a_policy_of_ours_in_any_form(current, exclusive):
    assert TRUST.planned_policy(current, exclusive=exclusive) is current
    assert trust(OTHER).planned_policy(current, exclusive=exclusive) == trust(HOME, OTHER).new_policy()
    assert TRUST.problem(current, is_marked=True) is None


def listed(value: str) -> st.SearchStrategy[Any]:
    """A value in one of its two forms."""
    return st.sampled_from([value, [value]])


def shuffled(element: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.permutations(list(element.items())).map(dict)


@st.composite
def forms(draw: st.DrawFn, regions: frozenset[str]) -> dict[str, Any]:
    """The policy that the collection writes for these regions, in a form that IAM could return."""
    arns = draw(st.permutations([arn(each) for each in sorted(regions)]))
    element = draw(
        shuffled(
            {
                "Effect": "Allow",
                "Principal": {"Service": draw(listed(SSM))},
                "Action": draw(listed("sts:AssumeRole")),
                "Condition": draw(
                    shuffled(
                        {
                            "StringEquals": {"aws:SourceAccount": draw(listed(ACCOUNT))},
                            "ArnEquals": {"aws:SourceArn": draw(listed(arns[0])) if len(arns) == 1 else arns},
                        }
                    )
                ),
            }
        )
    )
    statements = draw(st.sampled_from([element, [element]]))
    return draw(shuffled({"Version": "2012-10-17", "Statement": statements}))


SETS = st.frozensets(st.sampled_from(REGIONS), min_size=1)


@given(st.data(), SETS, SETS, st.booleans())
def test_regions_are_added_once_and_never_removed(data, current, desired, exclusive):
    found = data.draw(forms(current))
    hybrid = trust(*desired)
    planned = hybrid.planned_policy(found, exclusive=exclusive)
    assert planned == (found if desired <= current else trust(*current, *desired).new_policy())
    assert hybrid.planned_policy(planned, exclusive=exclusive) == planned
    assert all(trust(each).problem(planned, is_marked=True) is None for each in current | desired)
    statements = planned["Statement"] if isinstance(planned["Statement"], list) else [planned["Statement"]]
    assert all(hybrid.is_own(each) for each in statements)


def paths_of(element: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values in a policy."""
    if isinstance(element, dict):
        return [found for key, value in element.items() for found in paths_of(value, (*path, key))]
    if isinstance(element, list):
        return [found for index, value in enumerate(element) for found in paths_of(value, (*path, index))]
    return [path]


def changed(element: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The policy with another value at a place."""
    if not path:
        return value
    copy = dict(element) if isinstance(element, dict) else list(element)
    copy[path[0]] = changed(element[path[0]], path[1:], value)
    return copy


@given(st.data(), SETS, SETS)
def test_any_other_value_makes_it_a_policy_of_others(data, current, desired):
    found = data.draw(forms(current))
    path = data.draw(st.sampled_from(paths_of(found)))
    value = data.draw(st.sampled_from(["", "*", "Deny", "Allow", arn("*"), ACCOUNT, "sts:TagSession", "2008-10-17"]))
    other = changed(found, path, value)
    assume(json.dumps(other, sort_keys=True) != json.dumps(found, sort_keys=True))
    assert trust(*desired).planned_policy(other, exclusive=False) is other
    assert trust(*desired).planned_policy(other, exclusive=True) == trust(*desired).new_policy()


CONDITION = {"Bool": {"aws:SecureTransport": "true"}}
ANY_REGION = statement(HOME, Condition=conditions(ArnEquals={}, ArnLike={"aws:SourceArn": arn("*")}))
USABLE = {
    "without conditions": UNCONDITIONAL,
    "beside another service": policy(statement(HOME, Principal={"Service": ["ec2.amazonaws.com", SSM]})),
    "beside another action": policy(statement(HOME, Action=["sts:TagSession", "sts:AssumeRole"])),
    "with a second statement": policy(statement(OTHER), statement(HOME, Sid="x")),
    "in any region": policy(ANY_REGION),
    "in regions of a pattern": with_arns(arn("eu-central-?")),
    "with a pattern of text": policy(
        statement(HOME, Condition={"StringLike": {"AWS:sourceArn": "arn:aws:ssm:*", "aws:SourceAccount": "1*"}})
    ),
    "for the account alone": policy(statement(HOME, Condition=conditions(ArnEquals={}))),
    "any action of STS": policy(statement(HOME, Action="sts:*")),
    "an action in another case": policy(statement(HOME, Action="STS:assumerole")),
    "anyone": policy(statement(HOME, Principal="*")),
    "any service": policy(statement(HOME, Principal={"Service": "*"})),
    "another action denied": policy(statement(HOME), statement(HOME, Effect="Deny", Action="sts:AssumeRoleWith*")),
    "denied to AWS principals": policy(statement(HOME), statement(HOME, Effect="Deny", Principal={"AWS": "*"})),
    "denied to another region": policy(statement(HOME), statement(OTHER, Effect="Deny")),
    "denied on another condition": policy(statement(HOME), statement(HOME, Effect="Deny", Condition=CONDITION)),
    "denied to another service": policy(
        statement(HOME), statement(HOME, Effect="Deny", Principal={"Service": "ec2.amazonaws.com"})
    ),
}


@pytest.mark.parametrize("current", USABLE.values(), ids=USABLE)
def test_no_problem_where_a_policy_of_others_lets_systems_manager_assume_the_role(current):
    for is_marked in (True, False):
        assert TRUST.problem(current, is_marked=is_marked) is None


UNUSABLE = {
    "no statement": policy(),
    "another region": policy(statement(OTHER)),
    "denied": policy(statement(HOME), statement(HOME, Effect="Deny")),
    "denied everywhere": policy(statement(HOME), {**ANY_REGION, "Effect": "Deny"}),
    "any action of STS denied": policy(statement(HOME), statement(HOME, Effect="Deny", Action="sts:*")),
    "another service": policy(statement(HOME, Principal={"Service": "ec2.amazonaws.com"})),
    "AWS principals": policy(statement(HOME, Principal={"AWS": "*"})),
    "another action": policy(statement(HOME, Action="sts:TagSession")),
    "actions of another pattern": policy(statement(HOME, Action=["sts:AssumeRoleWith*", "sts:?"])),
    "actions of another service": policy(statement(HOME, Action="iam:*")),
    "a further condition": policy(statement(HOME, Condition=conditions(**CONDITION))),
    "another account": FOREIGN["another account"],
    "the ARN of another account": FOREIGN["the ARN of an account"],
    "the ARN of one server": FOREIGN["the ARN of one server"],
    "a part of an ARN": FOREIGN["a part of an ARN"],
    "an account as text without patterns": with_account(StringEquals={"aws:SourceAccount": "*"}),
    "an account with brackets": with_account(StringLike={"aws:SourceAccount": "[1]*"}),
    "an ARN as text without patterns": policy(
        statement(HOME, Condition={"StringEquals": {"aws:SourceArn": arn(HOME)}})
    ),
    "trust in EC2": Ec2Trust().new_policy(),
}


@pytest.mark.parametrize("current", UNUSABLE.values(), ids=UNUSABLE)
def test_the_problem_names_the_region_and_the_missing_statement(current):
    problem = TRUST.problem(current, is_marked=True)
    assert problem
    assert "it does not let ssm.amazonaws.com assume the role in eu-central-1, so hybrid servers there" in problem


def test_the_problem_of_a_managed_role_is_that_somebody_extended_its_policy():
    current = policy(statement(OTHER, Sid="mine"))
    assert trust(OTHER, "eu-west-1", HOME).problem(current, is_marked=True) == (
        "has a trust policy that somebody else wrote or extended, which was not changed; it does not let "
        "ssm.amazonaws.com assume the role in eu-central-1, eu-west-1, so hybrid servers there cannot use it. Add a "
        "statement that allows sts:AssumeRole to the service ssm.amazonaws.com with the conditions StringEquals "
        "aws:SourceAccount 123456789012 and ArnEquals aws:SourceArn arn:aws:ssm:eu-central-1:123456789012:*, "
        "arn:aws:ssm:eu-west-1:123456789012:*; or set exclusive to true to replace the trust policy"
    )


def test_the_problem_of_a_role_of_others_is_its_missing_adoption():
    current = policy(statement(OTHER))
    assert TRUST.problem(current, is_marked=False) == (
        "was not created by this collection, so its trust policy was not changed; it does not let ssm.amazonaws.com "
        "assume the role in eu-central-1, so hybrid servers there cannot use it. Set adopt_existing to true to add "
        "arn:aws:ssm:eu-central-1:123456789012:*"
    )


def test_an_adoption_does_not_help_where_somebody_extended_the_policy():
    problem = TRUST.problem(policy(statement(OTHER, Sid="mine")), is_marked=False)
    assert problem
    assert "adopt_existing" not in problem
    assert "set exclusive to true to replace the trust policy" in problem


@pytest.mark.parametrize(
    ("found", "is_own"),
    [
        (statement(HOME), True),
        (statement(*REGIONS), True),
        (statement(HOME, Sid="x"), False),
        (Ec2Trust().new_policy()["Statement"][0], False),
    ],
)
def test_a_statement_of_ours_is_recognized_for_any_regions(found, is_own):
    assert HybridTrust("aws", ACCOUNT).is_own(found) is is_own
    assert not Ec2Trust().is_own(found) or not is_own
