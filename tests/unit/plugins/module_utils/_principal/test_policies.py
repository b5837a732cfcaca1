from __future__ import annotations

import pytest
from declarations import FITTED
from declarations import SERVER as AWS
from declarations import SSM_CORE as SSM
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.module_utils._fitted_policy.model import names_for
from ansible_collections.cwagent.iam.plugins.module_utils._names import (
    ATTACHED_TAG,
    aws_policy_arn,
    check_tag,
    fitted_policy_arn,
    name_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal import policies

SERVER, ADMIN, SSM_CORE = "CloudWatchAgentServerPolicy", "CloudWatchAgentAdminPolicy", "AmazonSSMManagedInstanceCore"
SSM_DEPRECATED = "AmazonEC2RoleforSSM"


@pytest.mark.parametrize(
    ("access", "ssm_policy", "attach", "detach"),
    [
        ("server", None, {SERVER}, {ADMIN}),
        ("admin", None, {ADMIN}, {SERVER}),
        ("server", "none", {SERVER}, {ADMIN, SSM_CORE, SSM_DEPRECATED}),
        ("server", SSM_CORE, {SERVER, SSM_CORE}, {ADMIN, SSM_DEPRECATED}),
        ("admin", SSM_DEPRECATED, {ADMIN, SSM_DEPRECATED}, {SERVER, SSM_CORE}),
    ],
)
def test_access_and_ssm_policy_decide_the_policies(access, ssm_policy, attach, detach):
    declared = policies.declared_policies(access, ssm_policy, "aws-cn")
    assert tuple({name_of(arn) for arn in arns} for arns in declared) == (attach, detach)
    assert declared[0] | declared[1] <= policies.agent_policies("aws-cn")


# No other file contains the names of the policies, so that a new one is added in one place. The messages are exempt,
# because they have advice for each policy. Their own test checks that.
# Texts for people, and the table of what that policy lacks.
OTHERS = {"modules", "doc_fragments", "permissions.py"}
SOURCES = [
    path for path in sorted(PLUGINS.rglob("*.py")) if not {path.parent.name, path.name} & {*OTHERS, "_errors.py"}
]


@pytest.mark.parametrize(
    "name", [name.rpartition("/")[2] for name in (*policies.ACCESS_POLICIES.values(), *policies.SSM_POLICIES.values())]
)
def test_only_one_file_of_the_code_names_a_managed_policy(name):
    assert [path.name for path in SOURCES if name in path.read_text()] == ["policies.py"]


@pytest.mark.parametrize(
    ("arn", "is_for_servers", "is_for_admins"),
    [
        ("arn:aws-cn:iam::aws:policy/CloudWatchAgentServerPolicy", True, False),
        ("arn:aws:iam::123456789012:policy/CloudWatchAgentServerPolicy", False, False),
        ("arn:aws:iam::aws:policy/CloudWatchAgentAdminPolicy", False, True),
        ("arn:aws:iam::123456789012:policy/CloudWatchAgentAdminPolicy", False, True),
        ("arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFittedServerPolicy-2", True, False),
        ("arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFittedAdminPolicy", False, True),
        ("arn:aws:iam::123456789012:policy/CloudWatchAgentFittedAdminPolicy", False, False),
    ],
)
def test_the_access_of_a_policy(arn, is_for_servers, is_for_admins):
    """A partition without AWS's admin policy can have one of the customer with its name."""
    assert (policies.is_server_policy(arn), policies.is_admin_policy(arn)) == (is_for_servers, is_for_admins)


@pytest.mark.parametrize(
    ("needed", "attached", "lacking"),
    [
        (["arn:x:a"], [], {"arn:x:a"}),
        ([*FITTED, SSM], [FITTED[0]], {FITTED[1], SSM}),
        ([*FITTED, SSM], [AWS], {SSM}),
        ([AWS], FITTED, {AWS}),
    ],
)
def test_the_policies_that_a_role_lacks(needed, attached, lacking):
    assert policies.lacking_policies(needed, attached) == lacking


def test_the_choices_of_an_ssm_policy():
    assert policies.SSM_CHOICES == ["none", "AmazonSSMManagedInstanceCore", "AmazonEC2RoleforSSM"]


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_managed_policies_of_the_agent(partition):
    assert policies.agent_policies(partition) == {
        f"arn:{partition}:iam::aws:policy/CloudWatchAgentServerPolicy",
        f"arn:{partition}:iam::aws:policy/CloudWatchAgentAdminPolicy",
        f"arn:{partition}:iam::aws:policy/AmazonSSMManagedInstanceCore",
        f"arn:{partition}:iam::aws:policy/service-role/AmazonEC2RoleforSSM",
    }


ROLE = "arn:aws-us-gov:iam::123456789012:role/x/Shop"
TAGGABLE = [
    aws_policy_arn(SERVER, "aws-us-gov"),
    *(fitted_policy_arn(name, "aws-us-gov", "123456789012") for name in names_for("server")),
]


@pytest.mark.parametrize("arns", [*([arn] for arn in TAGGABLE), TAGGABLE, TAGGABLE[1:], TAGGABLE[2:], []])
def test_the_tag_of_attached_policies_names_all_that_a_role_can_have(arns):
    value = policies.tag_value(arns)
    check_tag(ATTACHED_TAG, value)  # its length too
    assert policies.tagged_policies({ATTACHED_TAG: value}, ROLE) == {*arns}
    names = " ".join(map(name_of, arns))
    assert policies.tagged_policies({ATTACHED_TAG: names}, ROLE) == {*arns}


@pytest.mark.parametrize("value", ["", "x; rm -rf ~", "-1", "-9", "-22", "--2", f"{TAGGABLE[1]}-9", ADMIN])
def test_a_tag_with_another_value_names_no_policy(value):
    assert policies.tagged_policies({ATTACHED_TAG: value}, ROLE) == set()
    assert policies.tagged_policies({}, ROLE) == set()
