from __future__ import annotations

import re

import botocore.session
import pytest

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

SESSION = botocore.session.get_session()
REGIONS = [
    (region, partition)
    for partition in SESSION.get_available_partitions()
    for region in SESSION.get_available_regions("ec2", partition)
]


def accepts(check, *arguments) -> bool:
    try:
        check(*arguments)
    except InvalidInput:
        return False
    return True


@pytest.mark.parametrize(("region", "partition"), [*REGIONS, (None, "aws"), ("", "aws"), ("xx-new-1", "aws")])
def test_partition(region, partition):
    assert _names.partition_of(region) == partition


def test_partitions_are_told_without_knowing_their_regions():
    for partition in SESSION.get_data("partitions")["partitions"]:
        prefix = re.match(r"\^(\w+\\-(?:iso\w?|gov)?|\w+\\-)", partition["regionRegex"])
        if partition["id"] != "aws":
            assert prefix
            region = prefix.group(1).replace("\\", "").rstrip("-") + "-moon-1"
            assert _names.partition_of(region) == partition["id"]


@pytest.mark.parametrize(("kind", "longest"), [("role", 64), ("user", 64), ("instance profile", 128)])
@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("CloudWatchAgentServerRole", True),
        ("a+=,.@_-9", True),
        ("", False),
        ("a b", False),
        ("a/b", False),
        ("a:b", False),
        ("a*", False),
        ("a\n", False),
        ("\na", False),
        ("ä", False),
        ("٣", False),
    ],
)
def test_names(kind, longest, name, fine):
    assert accepts(_names.check_name, kind, name) is fine
    assert accepts(_names.check_name, kind, "x" * longest)
    assert not accepts(_names.check_name, kind, "x" * (longest + 1))


@pytest.mark.parametrize(
    ("names", "fine"),
    [
        ([], True),
        (["a", "b"], True),
        (["a", "a"], True),
        (["a", "A"], False),
        (["web-1", "b", "Web-1"], False),
    ],
)
def test_names_that_iam_takes_for_one(names, fine):
    assert accepts(_names.check_different, names) is fine
    if not fine:
        with pytest.raises(InvalidInput, match=f"'{names[0]}' and '{names[-1]}' differ only by case"):
            _names.check_different(names)


def test_a_refused_name_is_told_with_what_is_allowed():
    with pytest.raises(InvalidInput, match=r"'a b' is no valid user name: IAM allows 1 to 64 characters"):
        _names.check_name("user", "a b")


@pytest.mark.parametrize(
    ("path", "fine"),
    [
        (None, True),
        ("/", True),
        ("/monitoring/", True),
        ("/a/b/", True),
        ("/" + "x" * 510 + "/", True),
        ("/" + "x" * 511 + "/", False),
        ("", False),
        ("monitoring/", False),
        ("/monitoring", False),
        ("/a b/", False),
        ("/ü/", False),
        ("/a/\n", False),
    ],
)
def test_paths(path, fine):
    assert accepts(_names.check_path, path) is fine


@pytest.mark.parametrize(
    ("arn", "partition", "fine"),
    [
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", "aws", True),
        ("arn:aws:iam::aws:policy/service-role/AmazonEC2RoleforSSM", "aws", True),
        ("arn:aws:iam::123456789012:policy/mine", "aws", True),
        ("arn:aws-cn:iam::aws:policy/ReadOnlyAccess", "aws-cn", True),
        ("arn:aws-iso-b:iam::aws:policy/ReadOnlyAccess", "aws-iso-b", True),
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", "aws-cn", False),
        ("arn:aws-us-gov:iam::aws:policy/ReadOnlyAccess", "aws", False),
        ("ReadOnlyAccess", "aws", False),
        ("arn:aws:iam::aws:policy/", "aws", False),
        ("arn:aws:iam::aws:policy/x\n", "aws", False),
        ("arn:aws:iam::12345678901:policy/mine", "aws", False),
        ("arn:aws:iam::123456789012:role/mine", "aws", False),
        ("arn:aws:iam:eu-central-1:aws:policy/x", "aws", False),
        ("", "aws", False),
    ],
)
def test_policy_arns(arn, partition, fine):
    assert accepts(_names.check_policy_arn, arn, partition, "managed_policies") is fine


@pytest.mark.parametrize(
    ("tags", "fine"),
    [
        (None, True),
        ({}, True),
        ({"team": ""}, True),
        ({"k" * 128: "v" * 256}, True),
        ({str(number): "" for number in range(50)}, True),
        ({str(number): "" for number in range(51)}, False),
        ({"": "v"}, False),
        ({"k" * 129: ""}, False),
        ({"k": "v" * 257}, False),
        ({"aws:k": ""}, False),
        ({"AWS:k": ""}, False),
        ({"awsome": ""}, True),
        ({"Größe_1 .:/=+-@": "a b.:/=+-@ü"}, True),
        ({"k*": ""}, False),
        ({"k": "a,b"}, False),
        ({"k": "a\n"}, False),
        ({"k\t": ""}, False),
        ({"k": "(x)"}, False),
        ({"team": "a", "Team": "b"}, False),
        ({"team": "a", "TEAM ": "b"}, True),
    ],
    ids=str,
)
def test_tags(tags, fine):
    assert accepts(_names.check_tags, tags) is fine


@pytest.mark.parametrize(
    ("instance_id", "fine"),
    [
        ("i-01234567", True),
        ("i-0123456789abcdef0", True),
        ("i-0123456789abcdef", False),
        ("i-0123456789abcdef01", False),
        ("i-012345678", False),
        ("i-0123456789ABCDEF0", False),
        ("i-0123456g", False),
        ("i-01234567\n", False),
        (" i-01234567", False),
        ("01234567", False),
        ("", False),
    ],
)
def test_instance_ids(instance_id, fine):
    assert accepts(_names.check_instance_id, instance_id) is fine


def test_ssm_choices():
    assert _names.SSM_CHOICES == ["none", "AmazonSSMManagedInstanceCore", "AmazonEC2RoleforSSM"]


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_agent_policies(partition):
    assert _names.agent_policies(partition) == {
        f"arn:{partition}:iam::aws:policy/CloudWatchAgentServerPolicy",
        f"arn:{partition}:iam::aws:policy/CloudWatchAgentAdminPolicy",
        f"arn:{partition}:iam::aws:policy/AmazonSSMManagedInstanceCore",
        f"arn:{partition}:iam::aws:policy/service-role/AmazonEC2RoleforSSM",
    }


SERVER, ADMIN, CORE = "CloudWatchAgentServerPolicy", "CloudWatchAgentAdminPolicy", "AmazonSSMManagedInstanceCore"
OLD = "AmazonEC2RoleforSSM"


@pytest.mark.parametrize(
    ("access", "ssm_policy", "attach", "detach"),
    [
        ("server", None, {SERVER}, {ADMIN}),
        ("admin", None, {ADMIN}, {SERVER}),
        ("server", "none", {SERVER}, {ADMIN, CORE, OLD}),
        ("server", CORE, {SERVER, CORE}, {ADMIN, OLD}),
        ("admin", OLD, {ADMIN, OLD}, {SERVER, CORE}),
    ],
)
def test_declared_policies(access, ssm_policy, attach, detach):
    declared = _names.declared_policies(access, ssm_policy, "aws-cn")
    assert tuple({_names.name_of(arn) for arn in arns} for arns in declared) == (attach, detach)
    assert declared[0] | declared[1] <= _names.agent_policies("aws-cn")
