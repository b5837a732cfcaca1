"""The inventory of an organization: its hosts, the role of the stack set, and the permissions of both.

The plugin runs in this process, as Ansible's programs run it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from accounts import EXTERNAL_ID, ORGANIZED, ROLE, Accounts, deployed, organized
from ansible import constants
from ansible.errors import AnsibleError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from emulator import Call, Fault, Kind
from emulator.testing import refused
from harness import allow, create_user
from in_process import aws_options, unchanged_process
from policies import POLICIES, Policy, actions, example, permit, without
from states import States

from ansible_collections.cwagent.iam.plugins.inventory import organization

CALLER, INSTANCES = example("organization"), example("organization-instances")
SOURCE = {
    "plugin": "cwagent.iam.organization",
    "member_role_arn": f"arn:{{{{ partition }}}}:iam::{{{{ account_id }}}}:role/{ROLE}",
    "external_id": EXTERNAL_ID,
    "hostname": "{{ account_name }}",
    "regions": ["eu-central-1", "us-east-1"],
}
CACHE: dict[str, Any] = {"cache": True, "cache_plugin": "jsonfile"}
POLICY_FILES = {
    "Audit": "audit",
    "Provision": "provision",
    "ProvisionHybrid": "provision-hybrid",
    "StoreConfiguration": "store-configuration",
    "Restore": "restore",
    "RotateKeys": "rotate-keys",
    "RemoveServers": "remove-servers",
    "Teardown": "teardown",
    "KeysInParameterStore": "keys-in-parameter-store",
    "KeysInSecretsManager": "keys-in-secrets-manager",
    "FittedPolicies": "fitted-policies",
    "TagParameters": "tag-parameters",
    "LabelVersions": "label-versions",
    "Instances": "organization-instances",
    "StoreByRunCommand": "store-by-run-command",
    "StoreByRunCommandByTag": "store-by-run-command-by-tag",
    "Verify": "verify",
    "Apply": "apply",
    "Boundary": "boundary",
    "RequireBoundary": "require-boundary",
}
"""The file in examples/policies that equals a policy of the template but for Sids, by its name before "Policy"."""
ORGANIZATION_READS = ("ListRoots", "ListOrganizationalUnitsForParent", "ListAccountsForParent", "ListTagsForResource")

NAME = "cwagent.iam.organization"
NAMES = [*ORGANIZED]


@cache
def define_options() -> None:
    """Define the options of the plugin and of its fragments, as Ansible's loader does."""
    documentation = yaml.safe_load(organization.DOCUMENTATION)
    found = dict(documentation["options"])
    for name in documentation["extends_documentation_fragment"]:
        parts = name.split(".")
        folder = f"ansible_collections.{parts[0]}.{parts[1]}" if len(parts) > 1 else "ansible"
        fragment = import_module(f"{folder}.plugins.doc_fragments.{parts[min(2, len(parts) - 1)]}").ModuleDocFragment()
        text = getattr(fragment, parts[3].upper() if len(parts) > 3 else "DOCUMENTATION")
        found |= yaml.safe_load(text)["options"]
    constants.config.initialize_plugin_configuration_definitions("inventory", NAME, found)


class InventoryModule(organization.InventoryModule):
    """The plugin as Ansible's loader makes it. It keeps its warnings. Ansible reads its type from this name."""

    _load_name = _original_path = ansible_name = NAME
    ansible_aliases, _redirected_names = [NAME], [NAME]

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@dataclass(frozen=True)
class Listing:
    """The inventory that was read."""

    inventory: InventoryData
    warnings: list[str]
    calls: list[Call]

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        found = {name: host.get_vars() for name, host in self.inventory.hosts.items()}
        return {name: {key: each[key] for key in each if key not in BUILTIN} for name, each in found.items()}

    def group(self, name: str) -> list[str]:
        return sorted(self.inventory.get_groups_dict().get(name, []))

    @property
    def actions(self) -> list[str]:
        return [call.action for call in self.calls]


BUILTIN = ("inventory_file", "inventory_dir", "inventory_hostname", "inventory_hostname_short", "group_names")


def read(accounts: Accounts, *, use_cache: bool = True, **source: Any) -> Listing:
    """Read an inventory source as the user. An option that is ``None`` is left out of it.

    :param use_cache: false for ``--flush-cache``.
    """
    define_options()
    given = {**SOURCE, **aws_options(accounts.controller.aws, accounts.user), **source}
    options = {name: value for name, value in given.items() if value is not None}
    path = str(accounts.controller.file("accounts.organization.yml", options))
    plugin, inventory, since = InventoryModule(), InventoryData(), accounts.controller.aws.mark()
    assert plugin.verify_file(path)
    with unchanged_process():
        plugin.parse(inventory, DataLoader(), path, cache=use_cache)
        if options.get("cache"):
            plugin.update_cache_if_changed()
    inventory.reconcile_inventory()
    return Listing(inventory, plugin.warnings, accounts.controller.aws.calls(since))


def read_quietly(accounts: Accounts, **source: Any) -> Listing:
    """Read an inventory source without a warning."""
    listed = read(accounts, **source)
    assert listed.warnings == []
    return listed


@pytest.fixture
def accounts(states: States) -> Accounts:
    return states.begin(organized)


@pytest.fixture
def with_roles(states: States) -> Accounts:
    return states.begin(deployed)


# Accounts


@pytest.mark.main_job
def test_active_accounts_are_hosts_with_the_role_to_assume(accounts: Accounts) -> None:
    listed = read_quietly(accounts)
    assert listed.group("cwagent_accounts") == NAMES
    shop = listed.hosts["shop"]
    unit_ids = shop.pop("organizational_unit_ids")
    assert shop == {
        "account_name": "shop",
        "account_state": "ACTIVE",
        "account_tags": {"team": "shop", "monitoring": "cloudwatch"},
        "cwagent_account_id": accounts.ids["shop"],
        "cwagent_account_assume_role_arn": f"arn:aws:iam::{accounts.ids['shop']}:role/{ROLE}",
        "cwagent_account_regions": SOURCE["regions"],
        "cwagent_account_external_id": EXTERNAL_ID,
        "organizational_unit": "/Workloads/Production",
    }
    assert (unit_ids[0], len(unit_ids)) == (accounts.root, 3)
    assert listed.hosts["sandbox"]["organizational_unit"] == "/"
    assert "example.com" not in json.dumps(listed.hosts)
    assert [call.action for call in listed.calls if call.write] == []
    expected = {"ListRoots": 1, "ListOrganizationalUnitsForParent": 4, "ListAccountsForParent": 4}
    assert Counter(listed.actions) == {**expected, "ListTagsForResource": 3}


def test_the_id_of_an_account_is_the_default_name_of_its_host(accounts: Accounts) -> None:
    listed = read_quietly(accounts, hostname=None, external_id="", regions=None)
    assert listed.group("cwagent_accounts") == sorted(accounts.ids[name] for name in NAMES)
    variables = listed.hosts[accounts.ids["shop"]]
    assert not {"cwagent_account_external_id", "cwagent_account_regions"} & variables.keys()


def test_accounts_are_selected_by_unit_tag_and_state(accounts: Accounts) -> None:
    hostname = "{{ account_name | replace(' ', '-') }}"
    selections: list[tuple[dict[str, Any], list[str]]] = [
        ({"organizational_units": ["/Workloads"]}, ["blog", "shop"]),
        ({"organizational_units": ["/Workloads/Production"]}, ["shop"]),
        ({"organizational_units": ["/"]}, NAMES),
        ({"account_tags": {"monitoring": "cloudwatch"}}, ["blog", "shop"]),
        ({"account_tags": {"monitoring": "cloudwatch", "team": ["web", "data"]}}, ["blog"]),
        ({"states": ["SUSPENDED"]}, ["closed"]),
        ({"management_account": True}, ["Master-Account", *NAMES]),
    ]
    for options, names in selections:
        assert read_quietly(accounts, hostname=hostname, **options).group("cwagent_accounts") == names


def test_groups_and_variables_are_composed(accounts: Accounts) -> None:
    workloads = accounts.organizations.list_organizational_units_for_parent(ParentId=accounts.root)
    [unit] = [each["Id"] for each in workloads["OrganizationalUnits"] if each["Name"] == "Workloads"]
    keyed = [{"key": "organizational_unit_ids", "prefix": "ou"}, {"key": "account_tags.team", "prefix": "team"}]
    listed = read_quietly(
        accounts,
        keyed_groups=keyed,
        groups={"monitored": "account_tags.monitoring == 'cloudwatch'"},
        compose={"owner": "account_tags.team | default('nobody')"},
        external_id="of-{{ account_name }}",
    )
    assert listed.hosts["blog"]["cwagent_account_external_id"] == "of-blog"
    assert listed.group("team_shop") == ["shop"]
    assert listed.group("monitored") == listed.group("ou_" + unit.replace("-", "_")) == ["blog", "shop"]
    owners = {host: each["owner"] for host, each in listed.hosts.items()}
    assert owners == {"blog": "web", "sandbox": "nobody", "shop": "shop"}
    selected = read_quietly(accounts, organizational_units=[unit])
    assert selected.group("cwagent_accounts") == ["blog", "shop"]
    with pytest.raises(AnsibleError, match="team"):
        read(accounts, strict=True, compose={"owner": "account_tags.team"})


def test_all_pages_are_read_and_throttled_calls_repeated(accounts: Accounts) -> None:
    """AWS returns 20 accounts a page, and sometimes an empty page first."""
    unit = accounts.unit("Many")
    ids = [accounts.create(f"many-{number}", unit) for number in range(21)]
    for action in ORGANIZATION_READS:
        accounts.controller.aws.arm(Fault(Kind.ERROR, action=action, code="TooManyRequestsException"))
    listed = read_quietly(accounts, organizational_units=["/Many"], hostname=None)
    assert listed.group("cwagent_accounts") == sorted(ids)
    assert listed.actions.count("ListAccountsForParent") == 1 + 3


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"organisational_units": ["/Workloads"]}, "has options that do not exist: organisational_units."),
    ({"organizational_units": ["/Workload"]}, "organizational_units: not in the organization: /Workload."),
    ({"account_tags": {"team": "nobody"}}, "No account of the organization matches"),
    ({"hostname": "{{ account_tags.team }}"}, "hostname cannot be evaluated for account"),
    ({"hostname": "account"}, "hostname: some accounts have the same name, or no name."),
    ({"hostname": "an {{ account_name }}"}, "Ansible reads the name as a pattern"),
    ({"member_role_arn": "{{ name }}"}, "member_role_arn cannot be evaluated for account"),
    ({"member_role_arn": None}, "member_role_arn"),
    ({"states": ["active"]}, "states"),
    ({"regions": None, "region": None}, "Set region or regions, or AWS_REGION."),
]


def test_a_mistake_is_named(accounts: Accounts) -> None:
    for options, message in MISTAKES:
        with pytest.raises(AnsibleError, match=message):
            read(accounts, **options)


def test_one_of_the_regions_is_enough_to_begin_with(accounts: Accounts) -> None:
    assert read_quietly(accounts, region=None).group("cwagent_accounts") == NAMES


# Instances


@pytest.mark.main_job
def test_instances_of_all_accounts_are_hosts(with_roles: Accounts) -> None:
    blog = with_roles.launch("blog", "us-east-1", CloudWatchAgent="server")
    shop = [with_roles.launch("shop", "eu-central-1", CloudWatchAgent="server") for _ in range(2)]
    with_roles.launch("shop", "us-west-2")
    gone = with_roles.launch("shop", "eu-central-1")
    with_roles.client("shop", "ec2").terminate_instances(InstanceIds=[gone])
    listed = read_quietly(with_roles, find_instances=True, compose={"ansible_host": "private_ip_address"})
    assert listed.group("cwagent_ec2_servers") == sorted([blog, *shop])
    assert listed.group("cwagent_accounts") == NAMES
    variables = listed.hosts[blog]
    expected = {
        "instance_id": blog,
        "cwagent_account": "blog",
        "cwagent_region": "us-east-1",
        "ec2_tags": {"CloudWatchAgent": "server"},
        "instance_state": "running",
        "instance_type": "t3.micro",
        "ansible_host": variables["private_ip_address"],
    }
    assert {name: variables[name] for name in expected} == expected
    assert [call.action for call in listed.calls if call.write] == []
    counts = {action: listed.actions.count(action) for action in ("AssumeRole", "DescribeInstances")}
    assert counts == {"AssumeRole": 3, "DescribeInstances": 6}
    keys = {call.access_key for call in listed.calls if call.action == "DescribeInstances"}
    assert len(keys) == len(NAMES), "each account is read with its own session"


def test_instances_are_filtered_in_all_enabled_regions(with_roles: Accounts) -> None:
    admin = with_roles.launch("shop", "us-west-2", CloudWatchAgent="admin")
    with_roles.launch("blog", "us-west-2", CloudWatchAgent="other")
    with_roles.launch("blog", "us-west-2")
    listed = read_quietly(
        with_roles,
        find_instances=True,
        organizational_units=["/Workloads"],
        regions=None,
        instance_filters={"tag:CloudWatchAgent": ["server", "admin"]},
        groups={"cwagent_ec2_admin": "ec2_tags.CloudWatchAgent == 'admin'"},
    )
    assert listed.group("cwagent_ec2_servers") == listed.group("cwagent_ec2_admin") == [admin]
    assert listed.actions.count("DescribeRegions") == 2


def test_the_cache_serves_earlier_reads_until_it_is_flushed(with_roles: Accounts, tmp_path: Path) -> None:
    first = with_roles.launch("shop", "eu-central-1")
    with_roles.distrust("blog")
    options: dict[str, Any] = {**CACHE, "cache_connection": str(tmp_path), "find_instances": True}
    listed = read(with_roles, **options)
    second = with_roles.launch("shop", "eu-central-1")
    cached = read(with_roles, **options, keyed_groups=[{"key": "cwagent_region", "prefix": "region"}])
    assert cached.calls == []
    assert cached.hosts == listed.hosts
    assert cached.group("region_eu_central_1") == [first]
    [warning] = cached.warnings
    assert warning.startswith("Account blog"), "missing accounts are reported again"
    narrowed = read(with_roles, **options, organizational_units=["/Workloads/Production"])
    assert narrowed.group("cwagent_accounts") == ["shop"], "other accounts are not served from the cache"
    flushed = read(with_roles, use_cache=False, **options)
    assert flushed.group("cwagent_ec2_servers") == sorted([first, second])
    assert read(with_roles, **options).group("cwagent_ec2_servers") == sorted([first, second])


def test_an_account_that_cannot_be_read_is_named_and_stops_no_other(with_roles: Accounts) -> None:
    instance = with_roles.launch("shop", "eu-central-1")
    with_roles.distrust("sandbox")
    listed = read(with_roles, find_instances=True)
    [warning] = listed.warnings
    assert f"Account sandbox ({with_roles.ids['sandbox']}): Could not assume role" in warning
    assert "user/controller lacks sts:AssumeRole" in warning
    assert listed.group("cwagent_ec2_servers") == [instance]
    assert listed.group("cwagent_accounts") == NAMES
    with pytest.raises(AnsibleError, match="Account sandbox"):
        read(with_roles, find_instances=True, strict_permissions=True)


# The policies and the template


def test_a_missing_permission_of_the_caller_is_named(with_roles: Accounts, subtests: pytest.Subtests) -> None:
    for action in sorted(actions(CALLER)):
        with subtests.test(action=action):
            permit(with_roles.controller.aws, without(CALLER, action))
            with pytest.raises(AnsibleError, match=f"user/controller lacks {action}"):
                read(with_roles, find_instances=True, strict_permissions=True)


def test_a_missing_permission_in_an_account_is_named(with_roles: Accounts, subtests: pytest.Subtests) -> None:
    iam = with_roles.client("shop", "iam")
    # The policies of other duties allow these too.
    for each in iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=ROLE, PolicyArn=each["PolicyArn"])
    options: dict[str, Any] = {"find_instances": True, "regions": None, "strict_permissions": True}
    for action in (*sorted(actions(INSTANCES)), ""):
        with subtests.test(action=action):
            document = json.dumps(without(INSTANCES, action))
            iam.put_role_policy(RoleName=ROLE, PolicyName="instances", PolicyDocument=document)
            denial = pytest.raises(AnsibleError, match=rf"Account shop .*lacks {action}")
            with denial if action else nullcontext():
                read_quietly(with_roles, organizational_units=["/Workloads/Production"], **options)


def without_sids(document: Policy) -> Policy:
    statements = [{key: each[key] for key in each if key != "Sid"} for each in document["Statement"]]
    return {**document, "Statement": statements}


def test_the_policies_of_the_template_are_the_examples(accounts: Accounts) -> None:
    switches = dict.fromkeys([name for name in POLICY_FILES if name != "RequireBoundary"], "true")
    created = accounts.deploy("shop", **switches)
    iam = accounts.client("shop", "iam")
    documents = {
        name: iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
        for name, arn in created.items()
        if name != "Role"
    }
    assert documents == {f"{name}Policy": without_sids(example(file)) for name, file in POLICY_FILES.items()}
    attached = iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]
    assert {each["PolicyArn"] for each in attached} == {
        arn for name, arn in created.items() if name not in ("Role", "BoundaryPolicy")
    }
    assert {path.stem for path in POLICIES.glob("*.json")} == {*POLICY_FILES.values(), "organization"}


def test_only_the_controller_with_the_external_id_may_assume_the_role(with_roles: Accounts) -> None:
    aws = with_roles.controller.aws
    other = create_user(aws, "other", allow("sts:AssumeRole"))
    arn = f"arn:aws:iam::{with_roles.ids['shop']}:role/{ROLE}"

    def assume(user: Mapping[str, str], external_id: str) -> None:
        keys = {"AccessKeyId": user["AWS_ACCESS_KEY_ID"], "SecretAccessKey": user["AWS_SECRET_ACCESS_KEY"]}
        request = {"RoleArn": arn, "RoleSessionName": "test", "ExternalId": external_id}
        aws.client("sts", credentials=keys).assume_role(**request)

    assume(with_roles.user, EXTERNAL_ID)
    for user, external_id in ((with_roles.user, "another"), (other, EXTERNAL_ID)):
        with refused("AccessDenied"):
            assume(user, external_id)
