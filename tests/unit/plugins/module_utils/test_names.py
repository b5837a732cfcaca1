from __future__ import annotations

import re

import botocore.session
import pytest
import yaml
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.doc_fragments import principal
from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principal.options import PRINCIPAL_SPEC
from ansible_collections.cwagent.iam.plugins.modules import cwagent_iam_role, cwagent_iam_user, cwagent_preflight

ROLES = PLUGINS.parent / "roles"

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
    assert _names.partition_of(region) == partition


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
    assert _names.partition_of(region) == partition


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
    assert is_valid(_names.check_name, kind, name) is valid


@pytest.mark.parametrize(("kind", "longest"), [("role", 64), ("user", 64), ("instance profile", 128)])
def test_the_length_of_names(kind, longest):
    assert is_valid(_names.check_name, kind, "x" * longest)
    assert not is_valid(_names.check_name, kind, "x" * (longest + 1))


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
    assert is_valid(_names.check_different, names) is valid


@pytest.mark.parametrize("names", [["a", "A"], ["web-1", "b", "Web-1"]])
def test_the_message_has_both_names_that_differ_only_by_case(names):
    with pytest.raises(InvalidInput, match=f"'{names[0]}' and '{names[-1]}' differ only by case"):
        _names.check_different(names)


def test_the_message_for_an_invalid_name_says_what_is_allowed():
    with pytest.raises(InvalidInput, match=r"'a b' is not a valid user name: IAM allows 1 to 64 characters"):
        _names.check_name("user", "a b")


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
    assert is_valid(_names.check_path, path) is valid


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
    assert is_valid(_names.check_policy_arn, arn, partition, "managed_policies") is valid


@pytest.mark.parametrize(
    ("tags", "valid"),
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
def test_tags_that_iam_accepts(tags, valid):
    assert is_valid(_names.check_tags, tags) is valid


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
    assert is_valid(_names.check_instance_id, instance_id) is valid


def test_the_choices_of_an_ssm_policy():
    assert _names.SSM_CHOICES == ["none", "AmazonSSMManagedInstanceCore", "AmazonEC2RoleforSSM"]


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_managed_policies_of_the_agent(partition):
    assert _names.agent_policies(partition) == {
        f"arn:{partition}:iam::aws:policy/CloudWatchAgentServerPolicy",
        f"arn:{partition}:iam::aws:policy/CloudWatchAgentAdminPolicy",
        f"arn:{partition}:iam::aws:policy/AmazonSSMManagedInstanceCore",
        f"arn:{partition}:iam::aws:policy/service-role/AmazonEC2RoleforSSM",
    }


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
    declared = _names.declared_policies(access, ssm_policy, "aws-cn")
    assert tuple({_names.name_of(arn) for arn in arns} for arns in declared) == (attach, detach)
    assert declared[0] | declared[1] <= _names.agent_policies("aws-cn")


ROLE_SPECS = sorted(ROLES.glob("*/meta/argument_specs.yml"))
ROLES_WITH_POLICIES = [path for path in ROLE_SPECS if f"{path.parts[-3]}_ssm_policy" in path.read_text()]


def test_the_roles_that_attach_policies_are_found():
    found = {path.parts[-3] for path in ROLES_WITH_POLICIES}
    assert found == {"ec2_admin", "ec2_server", "onprem_admin", "onprem_server"}


@pytest.mark.parametrize("path", ROLES_WITH_POLICIES, ids=lambda path: path.parts[-3])
def test_a_role_documents_the_same_choices_as_the_code(path):
    options = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    assert options[f"{path.parts[-3]}_ssm_policy"]["choices"] == ["", *_names.SSM_CHOICES]


@pytest.mark.parametrize(
    ("option", "choices"), [("access", list(_names.ACCESS_POLICIES)), ("ssm_policy", _names.SSM_CHOICES)]
)
def test_the_modules_document_the_same_choices_as_the_code(option, choices):
    documented = yaml.safe_load(principal.ModuleDocFragment.DOCUMENTATION)["options"]
    assert documented[option]["choices"] == PRINCIPAL_SPEC[option]["choices"] == choices


PRINCIPAL_MODULES = [cwagent_iam_role, cwagent_iam_user]


@pytest.mark.parametrize("module", PRINCIPAL_MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
@pytest.mark.parametrize("option", ["access", "ssm_policy"])
def test_a_module_for_principals_takes_its_choices_from_the_code(module, option):
    assert module.SPEC[option] is PRINCIPAL_SPEC[option]


def test_the_preflight_documents_and_takes_the_same_choices_as_the_code():
    documented = yaml.safe_load(cwagent_preflight.DOCUMENTATION)["options"]
    assert documented["ssm_policy"]["choices"] == _names.SSM_CHOICES
    assert cwagent_preflight.SPEC["ssm_policy"] is PRINCIPAL_SPEC["ssm_policy"]


# The names of the policies are in no other file, so that a new one is added in one place.
SOURCES = [path for path in sorted(PLUGINS.rglob("*.py")) if path.parent.name not in {"modules", "doc_fragments"}]


@pytest.mark.parametrize(
    "name", [name.rpartition("/")[2] for name in (*_names.ACCESS_POLICIES.values(), *_names.SSM_POLICIES.values())]
)
def test_only_one_file_of_the_code_names_a_managed_policy(name):
    assert [path.name for path in SOURCES if name in path.read_text()] == ["_names.py"]
