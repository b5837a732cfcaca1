from __future__ import annotations

from contextlib import nullcontext

import pytest
from declarations import FITTED
from declarations import SERVER as AWS
from declarations import SSM_CORE as SSM
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_plan import names_for
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import (
    ATTACHED_TAG,
    aws_policy_arn,
    check_tag,
    fitted_policy_arn,
    name_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals import policies

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
SOURCES = [path for path in sorted(PLUGINS.rglob("*.py")) if not {path.parent.name, path.name} & {*OTHERS, "errors.py"}]


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


FITTED_ADMIN = fitted_policy_arn("CloudWatchAgentFittedAdminPolicy", "aws", "123456789012")
OF_OTHERS = "arn:aws:iam::123456789012:policy/CloudWatchAgentServerPolicy"


def holder(name, *arns, kind="role", **tags):
    return policies.AccountPrincipal(kind, name, f"arn:aws:iam::123456789012:{kind}/{name}", frozenset(arns), tags)


OURS = {"cwagent:managed": "created"}
NEW = holder("New", FITTED[0], **OURS)
OLD = holder("Old", AWS, **OURS)
OLD_ADMIN = holder("Admin", aws_policy_arn(ADMIN, "aws"), kind="user", **{"cwagent:managed": "adopted"})
APPLICATION = holder("Shop", AWS, **{ATTACHED_TAG: SERVER})
HALF_WAY = holder("Half", AWS, FITTED[0], **OURS)
# AWS's policy on the principals of others says nothing about this collection.
STRANGERS = [
    holder("Theirs", AWS),
    holder("Tagged", AWS, **{ATTACHED_TAG: "Other"}),
    holder("user", AWS, kind="user", **{ATTACHED_TAG: SERVER}),
    holder("Named", OF_OTHERS, **OURS),
    holder("Bare", **OURS),
]


@pytest.mark.parametrize(
    ("given", "attached", "holders", "name", "mixed"),
    [
        # The user's choice outranks the account.
        ("aws", [], [], "aws", None),
        ("aws", [FITTED[0]], [NEW, OLD], "aws", None),
        ("fitted", [], [OLD], "fitted", None),
        ("fitted", [FITTED[0]], [NEW, OLD], "fitted", None),
        # A blank is no choice. Without a fitted policy, the principals make no difference.
        (None, [], [], "aws", None),
        ("", [], [OLD, OLD_ADMIN, *STRANGERS], "aws", None),
        (None, [FITTED[0]], [NEW], "fitted", None),
        (None, [FITTED[1]], [HALF_WAY], "fitted", None),
        (None, [FITTED_ADMIN], [], "fitted", None),
        (None, [FITTED[0]], [NEW, HALF_WAY, *STRANGERS], "fitted", None),
        # A principal of others decides too, because nobody else writes the policy.
        (None, [FITTED[0]], [holder("Theirs", FITTED[0])], "fitted", None),
        # Mixed.
        (
            None,
            [FITTED[0]],
            [NEW, OLD],
            "fitted",
            "still have AWS's policies, and role 'New' have fitted policies",
        ),
        (None, [FITTED[0]], [NEW, OLD_ADMIN], "fitted", "user 'Admin' still"),
        (None, [FITTED[0]], [NEW, APPLICATION], "fitted", "role 'Shop' still"),
        # IAM can show the attachment in one place before it does in another.
        (
            None,
            [FITTED[0]],
            [OLD, APPLICATION],
            "fitted",
            "role 'Old', role 'Shop' still have AWS's policies, and ot",
        ),
    ],
)
def test_the_account_decides_where_the_user_does_not(given, attached, holders, name, mixed):
    found = policies.choose_server_policy(given, attached, holders)
    assert found.name == name
    assert bool(found.notice) == bool(mixed)
    assert (mixed or "") in found.notice
    assert not mixed or "cwagent_server_policy) is not set" in found.notice


@pytest.mark.parametrize(
    ("access", "arns", "found"),
    [
        ("server", [FITTED_ADMIN, *FITTED], FITTED),
        ("admin", [FITTED_ADMIN, *FITTED], [*FITTED, FITTED_ADMIN]),
        ("server", FITTED[:1], FITTED[:1]),
        ("server", [FITTED_ADMIN], None),
        ("admin", FITTED, None),
        ("admin", [], None),
    ],
)
def test_fitted_policies_of_an_access(access, arns, found):
    with nullcontext() if found else pytest.raises(InvalidInput, match="the account has no policy CloudWatchAgentFi"):
        assert policies.fitted_for(access, arns) == found


def test_a_principal_with_fitted_policies_needs_a_boundary():
    policies.check_fitted("role", "R", "arn:aws:iam::123456789012:policy/Bound")
    with pytest.raises(InvalidInput, match=r"^role 'R' would have fitted policies and no permissions boundary[.]"):
        policies.check_fitted("role", "R", None)
