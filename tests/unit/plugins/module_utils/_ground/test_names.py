from __future__ import annotations

import re

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_plan import names_for
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import (
    FITTED_POLICIES,
    MARK_TAG,
    check_different,
    check_instance_id,
    check_label,
    check_name,
    check_path,
    check_policy_arn,
    check_region,
    check_tags,
    fitted_policy_arn,
    is_created,
    is_fitted_policy,
    is_marked,
    is_region,
    names_by_region,
    partition_of,
)

SESSION = botocore.session.get_session()
REGIONS = [
    (region, partition)
    for partition in SESSION.get_available_partitions()
    for region in SESSION.get_available_regions("ec2", partition)
]


def is_valid(check, *arguments) -> bool:
    try:
        check(*arguments)
    except InvalidInput:
        return False
    return True


@pytest.mark.parametrize(("region", "partition"), [*REGIONS, (None, "aws"), ("", "aws"), ("xx-new-1", "aws")])
def test_the_partition_of_a_region(region, partition):
    assert partition_of(region) == partition


OTHER_PARTITIONS = [
    (partition["id"], partition["regionRegex"])
    for partition in SESSION.get_data("partitions")["partitions"]
    if partition["id"] != "aws"
]


@pytest.mark.parametrize(("partition", "region_regex"), OTHER_PARTITIONS)
def test_the_partition_of_a_future_region(partition, region_regex):
    prefix = re.match(r"\^(\w+\\-(?:iso\w?|gov)?|\w+\\-)", region_regex)
    assert prefix
    region = prefix.group(1).replace("\\", "").rstrip("-") + "-moon-1"
    assert partition_of(region) == partition


@pytest.mark.parametrize("kind", ["role", "user", "instance profile"])
@pytest.mark.parametrize(
    ("name", "valid"),
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
def test_the_characters_of_names(kind, name, valid):
    assert is_valid(check_name, kind, name) is valid


@pytest.mark.parametrize(("kind", "longest"), [("role", 64), ("user", 64), ("instance profile", 128)])
def test_the_length_of_names(kind, longest):
    assert is_valid(check_name, kind, "x" * longest)
    assert not is_valid(check_name, kind, "x" * (longest + 1))


@pytest.mark.parametrize(
    ("names", "valid"),
    [
        ([], True),
        (["a", "b"], True),
        (["a", "a"], True),
        (["a", "A"], False),
        (["web-1", "b", "Web-1"], False),
    ],
)
def test_names_that_differ_only_by_case(names, valid):
    assert is_valid(check_different, names) is valid


def test_the_messages_have_the_names_and_what_is_allowed():
    with pytest.raises(InvalidInput, match="'web-1' and 'Web-1' differ only by case"):
        check_different(["web-1", "b", "Web-1"])
    with pytest.raises(InvalidInput, match=r"'a b' is not a valid user name: IAM allows 1 to 64 characters"):
        check_name("user", "a b")
    with pytest.raises(InvalidInput, match="is not the name of an AWS region, such as eu-central-1"):
        check_region("*")


@pytest.mark.parametrize(
    ("path", "valid"),
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
def test_the_path_of_a_principal(path, valid):
    assert is_valid(check_path, path) is valid


@pytest.mark.parametrize(
    ("arn", "partition", "valid"),
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
def test_the_arn_of_a_managed_policy(arn, partition, valid):
    assert is_valid(check_policy_arn, arn, partition, "managed_policies") is valid


@pytest.mark.parametrize(
    ("tags", "valid"),
    [
        (None, True),
        ({}, True),
        ({"team": ""}, True),
        ({"k" * 128: "v" * 256}, True),
        ({str(number): "" for number in range(45)}, True),
        ({str(number): "" for number in range(46)}, False),
        ({"": "v"}, False),
        ({"k" * 129: ""}, False),
        ({"k": "v" * 257}, False),
        ({"aws:k": ""}, False),
        ({"cwagent:managed": "created"}, False),
        ({"CWAgent:k": ""}, False),
        ({"cwagent": ""}, True),
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
def test_tags_that_iam_accepts(tags, valid):
    assert is_valid(check_tags, tags) is valid


@pytest.mark.parametrize(
    ("instance_id", "valid"),
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
def test_the_id_of_an_instance(instance_id, valid):
    assert is_valid(check_instance_id, instance_id) is valid


@pytest.mark.parametrize(
    ("tags", "was_created", "was_marked"),
    [
        ({}, False, False),
        ({MARK_TAG: "created"}, True, True),
        ({MARK_TAG: "adopted"}, False, True),
        ({MARK_TAG: "Created"}, False, False),
        ({"managed": "created"}, False, False),
    ],
)
def test_the_mark_shows_whether_an_entity_was_created_or_adopted(tags, was_created, was_marked):
    assert (is_created(tags), is_marked(tags)) == (was_created, was_marked)


@pytest.mark.parametrize(
    ("regions", "valid"),
    [
        (["eu-central-1", "us-gov-west-1", "ap-southeast-12", "us-isob-east-1"], True),
        (["ap-northwest-9", "eusc-de-east-1", "us-iso-west-1", "xx-gov-central-1"], True),
        (["", "*", "eu-*-1", "eu-central", "EU-central-1", "eu-central-1:*", "eu-central-1\n"], False),
        (["eu-centrl-1", "us-esat-1", "eu--1", "eu-1", "us-east1", "us-east-1a", "central-1", "us-eastwest-1"], False),
    ],
)
def test_the_name_of_a_region(regions, valid):
    assert {region: is_valid(check_region, region) for region in regions} == dict.fromkeys(regions, valid)


def test_every_region_of_botocore_has_the_form_of_a_region():
    assert [region for region, _partition in REGIONS if not is_region(region)] == []


@given(st.sampled_from([region for region, _partition in REGIONS]), st.data())
def test_a_letter_that_is_missing_in_a_direction_is_noticed(region, data):
    direction, number = region.split("-")[-2:]
    index = data.draw(st.integers(0, len(direction) - 1))
    typo = direction[:index] + direction[index + 1 :]
    assert not is_region(f"{region.removesuffix(f'{direction}-{number}')}{typo}-{number}")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {}),
        ({"eu-1": ["a", 7]}, {"eu-1": ["a", "7"]}),
        ({"": "a,b", "us-1": None}, {"": ["a", "b"], "us-1": []}),
        ({"eu-1": ""}, {"eu-1": []}),
        ({"eu-1": [""]}, {"eu-1": [""]}),
    ],
)
def test_names_by_region(given, found):
    assert names_by_region("users", given) == found


@pytest.mark.parametrize("value", [5, True, {"a": 1}, [None], [{"a": 1}], [["a"]]])
def test_other_values_by_region_are_refused(value):
    with pytest.raises(InvalidInput, match=r"^users: the value of 'eu-1' is not a list of names\.$"):
        names_by_region("users", {"eu-1": value})


@pytest.mark.parametrize(
    ("labels", "valid"),
    [
        (["stable", "a", "_a", "-a", ".a", "v1.2-b_c", "a" * 100, "my-aws", "xssm"], True),
        (["", "1a", "a" * 101, "a b", "a:b", "a/b", "ä", "a\n"], False),
        (["aws", "AWS-a", "awsome", "ssm", "Ssm1"], False),
        (["a.tmp", ".tmp", "a.yaml", "a.yml"], False),
        (["tmp", "yaml", "a.tmp.b", "a.yaml1"], True),
        (["cwagent-applied"], False),
    ],
)
def test_the_label_of_a_version(labels, valid):
    assert {label: is_valid(check_label, label) for label in labels} == dict.fromkeys(labels, valid)


NAMES = [name for access in FITTED_POLICIES for name in names_for(access)]


@pytest.mark.parametrize(
    ("arn", "is_fitted"),
    [
        ("arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFittedServerPolicy", True),
        ("arn:aws-us-gov:iam::123456789012:policy/cwagent/CloudWatchAgentFittedAdminPolicy-2", True),
        ("arn:aws:iam::123456789012:policy/CloudWatchAgentFittedServerPolicy", False),
        ("arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFittedServerPolicy-old", False),
        ("arn:aws:iam::123456789012:policy/other/cwagent/CloudWatchAgentFittedServerPolicy", False),
        ("arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy", False),
        *((fitted_policy_arn(name, "aws", "123456789012"), True) for name in NAMES),
        *((fitted_policy_arn(f"{NAMES[0]}-{end}", "aws", "123456789012"), False) for end in (0, 1, 9, 10, 22)),
    ],
)
def test_the_arn_of_a_fitted_policy(arn, is_fitted):
    assert is_fitted_policy(arn) == is_fitted
