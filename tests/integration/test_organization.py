"""The inventory of an organization: its hosts, the role of the stack set, and the permissions of both."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from emulator import Fault, Kind
from harness import Controller, Play, allow, create_user, trust
from policies import POLICIES, actions, controller_role, example, permit, without

CALLER, INSTANCES = example("organization"), example("organization-instances")
OWN = "123456789012"
ROLE, EXTERNAL_ID = "CloudWatchAgentControllerRole", "of-the-controller"
SOURCE = {
    "plugin": "cwagent.iam.organization",
    "member_role_arn": f"arn:{{{{ partition }}}}:iam::{{{{ account_id }}}}:role/{ROLE}",
    "external_id": EXTERNAL_ID,
    "hostname": "{{ account_name }}",
    "regions": ["eu-central-1", "us-east-1"],
}
CACHE: dict[str, Any] = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": "cache"}
DUTIES = {
    "Audit": "audit",
    "Provision": "provision",
    "ProvisionHybrid": "provision-hybrid",
    "StoreConfiguration": "store-configuration",
    "RotateKeys": "rotate-keys",
    "RemoveServers": "remove-servers",
    "Teardown": "teardown",
    "KeysInParameterStore": "keys-in-parameter-store",
    "KeysInSecretsManager": "keys-in-secrets-manager",
    "TagParameters": "tag-parameters",
    "Instances": "organization-instances",
    "StoreByRunCommand": "store-by-run-command",
    "Verify": "verify",
    "Apply": "apply",
    "Boundary": "boundary",
    "RequireBoundary": "require-boundary",
}
"""The file in examples/policies that equals a policy of the template, by its name there before "Policy"."""
ORGANIZATION_READS = ("ListRoots", "ListOrganizationalUnitsForParent", "ListAccountsForParent", "ListTagsForResource")
SECRET_PREFIXES = ("ASIA", "FwoGZX")
"""The beginning of the ID of a temporary access key, and of the emulator's session tokens."""


@dataclass
class Organization:
    """An organization that a user of the management account reads, with the policy for it."""

    controller: Controller
    ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = self.controller.aws.client("organizations")
        self.root = self.client.list_roots()["Roots"][0]["Id"]
        self.user = create_user(self.controller.aws, "controller")
        permit(self.controller.aws, CALLER)

    def unit(self, name: str, parent: str = "") -> str:
        created = self.client.create_organizational_unit(ParentId=parent or self.root, Name=name)
        return str(created["OrganizationalUnit"]["Id"])

    def account(self, name: str, unit: str = "", **tags: str) -> str:
        wanted = [{"Key": key, "Value": value} for key, value in tags.items()]
        created = self.client.create_account(Email=f"{name}@example.com", AccountName=name, Tags=wanted)
        self.ids[name] = account = created["CreateAccountStatus"]["AccountId"]
        if unit:
            self.client.move_account(AccountId=account, SourceParentId=self.root, DestinationParentId=unit)
        return str(account)

    def in_account(self, name: str, service: str, region: str | None = None) -> Any:
        credentials = {"AccessKeyId": self.ids[name], "SecretAccessKey": "test"}
        return self.controller.aws.client(service, region, credentials)

    def deploy(self, name: str, **parameters: str) -> dict[str, str]:
        """Create the stack of the template in an account, as a stack set does. Return the IDs of its resources."""
        given = {"ControllerArn": f"arn:aws:iam::{OWN}:user/controller", "ExternalId": EXTERNAL_ID, **parameters}
        cloudformation = self.in_account(name, "cloudformation")
        cloudformation.create_stack(
            StackName="cwagent",
            TemplateBody=controller_role(),
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="cwagent", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        resources = cloudformation.describe_stack_resources(StackName="cwagent")["StackResources"]
        return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources}

    def launch(self, name: str, region: str, count: int = 1, **tags: str) -> list[str]:
        launched = self.in_account(name, "ec2", region).run_instances(
            ImageId="ami-12345678",
            InstanceType="t3.micro",
            MinCount=count,
            MaxCount=count,
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
            ],
        )
        return [each["InstanceId"] for each in launched["Instances"]]

    def list(self, *arguments: str, **source: Any) -> Listing:
        """Run ansible-inventory as the user. An option that is ``None`` is left out of the inventory source."""
        return self.list_sources([source], *arguments)

    def list_sources(self, sources: Sequence[Mapping[str, Any]], *arguments: str, fails: bool = True) -> Listing:
        """Run it with several sources. :param fails: whether the command fails when one of them does."""
        given = []
        for number, source in enumerate(sources):
            options = {key: value for key, value in {**SOURCE, **source}.items() if value is not None}
            given += ["-i", self.controller.file(f"{number}.organization.yml", options).name]
        line = shlex.join(["ansible-inventory", *given, "--list", "--output", "listed.json", *arguments])
        listed = self.controller.home / "listed.json"
        listed.unlink(missing_ok=True)
        play = self.controller.command(line, {**self.user, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": str(fails)})
        # Ansible marks values from outside.
        content = json.loads(
            listed.read_text() if listed.exists() else "{}",
            object_hook=lambda found: found.get("__ansible_unsafe", found),
        )
        return Listing(play, content)


@dataclass(frozen=True)
class Listing:
    """The inventory that ansible-inventory lists."""

    play: Play
    content: dict[str, Any]

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        return dict(self.content["_meta"]["hostvars"])

    def group(self, name: str) -> list[str]:
        return sorted(self.content.get(name, {}).get("hosts", []))

    @property
    def actions(self) -> list[str]:
        return [call.action for call in self.play.calls]

    def assert_succeeded(self) -> Listing:
        self.play.assert_succeeded()
        assert "WARNING" not in self.play.output
        return self


@pytest.fixture
def organization(controller: Controller) -> Organization:
    """Two active accounts in nested units, one in the root, and a closed one."""
    found = Organization(controller)
    workloads = found.unit("Workloads")
    found.account("sandbox")
    found.account("blog", workloads, team="web", monitoring="cloudwatch")
    found.account("shop", found.unit("Production", workloads), team="shop", monitoring="cloudwatch")
    found.client.close_account(AccountId=found.account("closed", found.unit("Closed")))
    return found


# Accounts


@pytest.mark.main_job
def test_active_accounts_are_hosts_with_the_role_to_assume(organization: Organization) -> None:
    listed = organization.list().assert_succeeded()
    assert listed.group("cwagent_accounts") == ["blog", "sandbox", "shop"]
    shop = listed.hosts["shop"]
    unit_ids = shop.pop("organizational_unit_ids")
    assert shop == {
        "account_name": "shop",
        "account_state": "ACTIVE",
        "account_tags": {"team": "shop", "monitoring": "cloudwatch"},
        "cwagent_account_id": organization.ids["shop"],
        "cwagent_account_assume_role_arn": f"arn:aws:iam::{organization.ids['shop']}:role/{ROLE}",
        "cwagent_account_regions": SOURCE["regions"],
        "cwagent_account_external_id": EXTERNAL_ID,
        "organizational_unit": "/Workloads/Production",
    }
    assert (unit_ids[0], len(unit_ids)) == (organization.root, 3)
    assert listed.hosts["sandbox"]["organizational_unit"] == "/"
    assert "example.com" not in json.dumps(listed.content)
    assert listed.play.writes == []
    expected = {"ListRoots": 1, "ListOrganizationalUnitsForParent": 4, "ListAccountsForParent": 4}
    assert {action: listed.actions.count(action) for action in listed.actions} == {**expected, "ListTagsForResource": 3}


def test_the_id_of_an_account_is_the_default_name_of_its_host(organization: Organization) -> None:
    listed = organization.list(hostname=None, external_id="", regions=None).assert_succeeded()
    names = ("blog", "sandbox", "shop")
    assert listed.group("cwagent_accounts") == sorted(organization.ids[name] for name in names)
    assert (
        not {"cwagent_account_external_id", "cwagent_account_regions"} & listed.hosts[organization.ids["shop"]].keys()
    )


def test_accounts_are_selected_by_unit_tag_and_state(organization: Organization) -> None:
    workloads = organization.list().hosts["blog"]["organizational_unit_ids"][-1]
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"organizational_units": ["/Workloads"]}, ["blog", "shop"]),
        ({"organizational_units": [workloads]}, ["blog", "shop"]),
        ({"organizational_units": ["/Workloads/Production"]}, ["shop"]),
        ({"organizational_units": ["/"]}, ["blog", "sandbox", "shop"]),
        ({"account_tags": {"monitoring": "cloudwatch"}}, ["blog", "shop"]),
        ({"account_tags": {"monitoring": "cloudwatch", "team": ["web", "data"]}}, ["blog"]),
        ({"states": ["SUSPENDED"]}, ["closed"]),
        ({"management_account": True}, ["Master-Account", "blog", "sandbox", "shop"]),
    ]
    # Each case is a source of one inventory, because starting Ansible takes longer than the calls.
    listed = organization.list_sources(
        [
            {**options, "hostname": f"{number}-{{{{ account_name | replace(' ', '-') }}}}"}
            for number, (options, _) in enumerate(cases)
        ]
    ).assert_succeeded()
    assert listed.group("cwagent_accounts") == sorted(
        f"{number}-{name}" for number, (_, names) in enumerate(cases) for name in names
    )


def test_groups_and_variables_are_composed(organization: Organization) -> None:
    listed = organization.list(
        keyed_groups=[
            {"key": "organizational_unit_ids", "prefix": "ou"},
            {"key": "account_tags.team", "prefix": "team"},
        ],
        groups={"monitored": "account_tags.monitoring == 'cloudwatch'"},
        compose={"owner": "account_tags.team | default('nobody')"},
        external_id="of-{{ account_name }}",
    ).assert_succeeded()
    assert listed.hosts["blog"]["cwagent_account_external_id"] == "of-blog"
    assert listed.group("team_shop") == ["shop"]
    assert listed.group("monitored") == ["blog", "shop"]
    assert {host: each["owner"] for host, each in listed.hosts.items()} == {
        "blog": "web",
        "sandbox": "nobody",
        "shop": "shop",
    }
    workloads = listed.hosts["blog"]["organizational_unit_ids"][-1]
    assert listed.group("ou_" + workloads.replace("-", "_")) == ["blog", "shop"]
    undefined = organization.list(strict=True, compose={"owner": "account_tags.team"})
    assert "team" in undefined.play.assert_failed().words


def test_all_pages_are_read_and_throttled_calls_repeated(organization: Organization) -> None:
    """AWS returns 20 accounts a page, and sometimes an empty page first."""
    unit = organization.unit("Many")
    names = [organization.account(f"many-{number}", unit) for number in range(45)]
    for action in ORGANIZATION_READS:
        organization.controller.aws.arm(Fault(Kind.ERROR, action=action, code="TooManyRequestsException"))
    listed = organization.list(organizational_units=["/Many"], hostname=None).assert_succeeded()
    assert listed.group("cwagent_accounts") == sorted(names)
    assert listed.actions.count("ListAccountsForParent") == 1 + 4


@pytest.mark.main_job
def test_braces_from_aws_are_text(organization: Organization) -> None:
    """A person who names accounts cannot run anything on the controller."""
    text = "{{ lookup('ansible.builtin.pipe', 'touch made') }}"
    organization.account("braces", organization.unit("Braces"), note=text)
    compose = {"composed": "account_tags.note"}
    listed = organization.list(organizational_units=["/Braces"], compose=compose).assert_succeeded()
    assert listed.hosts["braces"]["composed"] == listed.hosts["braces"]["account_tags"]["note"] == text
    play = organization.controller.command(
        "ansible -i 0.organization.yml braces -c local -m ansible.builtin.debug -a var=[account_tags,composed]",
        organization.user,
    ).assert_succeeded()
    assert "lookup(" in play.output
    assert not (organization.controller.home / "made").exists()


def test_mistakes_are_named(organization: Organization) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"organisational_units": ["/Workloads"]}, "has options that do not exist: organisational_units."),
        ({"organizational_units": ["/Workload"]}, "organizational_units: not in the organization: /Workload."),
        ({"account_tags": {"team": "nobody"}}, "No account of the organization matches"),
        ({"hostname": "{{ account_tags.team }}"}, "hostname cannot be evaluated for account"),
        ({"hostname": "account"}, "hostname: some accounts have the same name, or no name."),
        ({"hostname": "an {{ account_name }}"}, "Ansible reads the name as a pattern"),
        ({"member_role_arn": "{{ name }}"}, "member_role_arn cannot be evaluated for account"),
        ({"member_role_arn": None}, "Required config 'member_role_arn'"),
        ({"states": ["active"]}, "states"),
    ]
    play = organization.list_sources([options for options, _ in cases], fails=False).play
    assert [message for _, message in cases if message not in play.words] == []
    assert play.words.count("Unable to parse") == len(cases)
    assert "Traceback" not in play.output


def test_one_of_the_regions_is_enough_to_begin_with(organization: Organization) -> None:
    organization.user |= {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}
    organization.list().assert_succeeded()
    listed = organization.list(regions=None)
    assert "Set region or regions, or AWS_REGION." in listed.play.assert_failed().words


# Instances


@pytest.fixture
def deployed(organization: Organization) -> Organization:
    """The role of the template in each account, and instances in two."""
    for name in ("blog", "sandbox", "shop"):
        organization.deploy(name)
    return organization


@pytest.mark.main_job
def test_instances_of_all_accounts_are_hosts(deployed: Organization) -> None:
    blog = deployed.launch("blog", "us-east-1", CloudWatchAgent="server")
    shop = deployed.launch("shop", "eu-central-1", 2, CloudWatchAgent="server")
    deployed.launch("shop", "us-west-2")
    gone = deployed.launch("shop", "eu-central-1")
    deployed.in_account("shop", "ec2").terminate_instances(InstanceIds=gone)
    listed = deployed.list(find_instances=True, compose={"ansible_host": "private_ip_address"}).assert_succeeded()
    assert listed.group("cwagent_ec2_servers") == sorted([*blog, *shop])
    assert listed.group("cwagent_accounts") == ["blog", "sandbox", "shop"]
    variables = listed.hosts[blog[0]]
    expected = {
        "instance_id": blog[0],
        "cwagent_account": "blog",
        "cwagent_region": "us-east-1",
        "ec2_tags": {"CloudWatchAgent": "server"},
        "instance_state": "running",
        "instance_type": "t3.micro",
        "ansible_host": variables["private_ip_address"],
    }
    assert {name: variables[name] for name in expected} == expected
    assert listed.play.writes == []
    counts = {action: listed.actions.count(action) for action in ("AssumeRole", "DescribeInstances")}
    assert counts == {"AssumeRole": 3, "DescribeInstances": 6}


def test_instances_are_filtered_in_all_enabled_regions(deployed: Organization) -> None:
    [admin] = deployed.launch("shop", "us-west-2", CloudWatchAgent="admin")
    deployed.launch("blog", "us-west-2", CloudWatchAgent="other")
    deployed.launch("blog", "us-west-2")
    listed = deployed.list(
        find_instances=True,
        regions=None,
        instance_filters={"tag:CloudWatchAgent": ["server", "admin"]},
        groups={"cwagent_ec2_admin": "ec2_tags.CloudWatchAgent == 'admin'"},
    ).assert_succeeded()
    assert listed.group("cwagent_ec2_servers") == listed.group("cwagent_ec2_admin") == [admin]
    assert listed.actions.count("DescribeRegions") == 3


def test_credentials_are_used_in_their_account_only_and_stay_in_memory(deployed: Organization) -> None:
    for name in ("blog", "shop"):
        deployed.launch(name, "eu-central-1")
    listed = deployed.list("-vvvv", find_instances=True, **CACHE)
    keys = {call.access_key for call in listed.play.calls if call.action == "DescribeInstances"}
    assert len(keys) == 3
    kept = [path.read_text(errors="replace") for path in deployed.controller.home.rglob("*") if path.is_file()]
    assert any("cwagent_region" in text for text in kept)
    for secret in (*keys, *SECRET_PREFIXES):
        assert [text for text in (listed.play.output, *kept) if secret in text] == []


def test_the_cache_serves_earlier_reads_until_it_is_flushed(deployed: Organization) -> None:
    [first] = deployed.launch("shop", "eu-central-1")
    deployed.in_account("blog", "iam").update_assume_role_policy(
        RoleName=ROLE, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
    )
    options: dict[str, Any] = {**CACHE, "find_instances": True}
    read = deployed.list(**options)
    [second] = deployed.launch("shop", "eu-central-1")
    cached = deployed.list(**options, keyed_groups=[{"key": "cwagent_region", "prefix": "region"}])
    assert cached.play.calls == []
    assert cached.hosts == read.hosts
    assert cached.group("region_eu_central_1") == [first]
    assert "Account blog" in cached.play.words, "missing accounts are reported again"
    narrowed = deployed.list(**options, organizational_units=["/Workloads/Production"])
    assert narrowed.group("cwagent_accounts") == ["shop"], "other accounts are not served from the cache"
    flushed = deployed.list("--flush-cache", **options)
    assert flushed.group("cwagent_ec2_servers") == sorted([first, second])


def test_an_account_that_cannot_be_read_is_named_and_stops_no_other(deployed: Organization) -> None:
    [instance] = deployed.launch("shop", "eu-central-1")
    deployed.in_account("sandbox", "iam").update_assume_role_policy(
        RoleName=ROLE, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
    )
    listed = deployed.list(find_instances=True)
    assert listed.play.assert_succeeded().words.count("[WARNING]") == 1
    assert f"Account sandbox ({deployed.ids['sandbox']}): Could not assume role" in listed.play.words
    assert "user/controller lacks sts:AssumeRole" in listed.play.words
    assert listed.group("cwagent_ec2_servers") == [instance]
    assert listed.group("cwagent_accounts") == ["blog", "sandbox", "shop"]
    strict = deployed.list(find_instances=True, strict_permissions=True).play.assert_failed()
    assert "Account sandbox" in strict.words


# The policies and the template


def test_a_missing_permission_is_named(deployed: Organization, subtests: pytest.Subtests) -> None:
    deployed.launch("shop", "eu-central-1")
    for action in sorted(actions(CALLER)):
        with subtests.test(action=action):
            permit(deployed.controller.aws, without(CALLER, action))
            play = deployed.list(find_instances=True, strict_permissions=True).play.assert_failed()
            assert f"user/controller lacks {action}" in play.words
    permit(deployed.controller.aws, CALLER)
    iam = deployed.in_account("shop", "iam")
    # The policies of other duties allow these too.
    for each in iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=ROLE, PolicyArn=each["PolicyArn"])
    for action in sorted(actions(INSTANCES)):
        with subtests.test(action=action):
            document = json.dumps(without(INSTANCES, action))
            iam.put_role_policy(RoleName=ROLE, PolicyName="instances", PolicyDocument=document)
            play = deployed.list(find_instances=True, regions=None, strict_permissions=True).play.assert_failed()
            assert f"lacks {action}" in play.words
            assert "Account shop" in play.words
    iam.put_role_policy(RoleName=ROLE, PolicyName="instances", PolicyDocument=json.dumps(INSTANCES))
    deployed.list(find_instances=True, regions=None, strict_permissions=True).assert_succeeded()


def test_the_policies_of_the_template_are_the_examples(organization: Organization) -> None:
    switches = dict.fromkeys([name for name in DUTIES if name != "RequireBoundary"], "true")
    created = organization.deploy("shop", **switches)
    iam = organization.in_account("shop", "iam")
    documents = {
        name: iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
        for name, arn in created.items()
        if name != "Role"
    }
    assert documents == {f"{name}Policy": example(file) for name, file in DUTIES.items()}
    attached = iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]
    assert {each["PolicyArn"] for each in attached} == {
        arn for name, arn in created.items() if name not in ("Role", "BoundaryPolicy")
    }
    assert {path.stem for path in POLICIES.glob("*.json")} == {*DUTIES.values(), "organization"}


@pytest.mark.main_job
def test_the_accounts_are_audited_with_the_role_of_the_template(deployed: Organization) -> None:
    deployed.list()
    play = deployed.controller.play(
        deployed.controller.home / "0.organization.yml",
        "audit",
        env=deployed.user,
        cwagent_report_files=str(deployed.controller.home / "audit.json"),
    ).assert_succeeded()
    assert play.writes == []
    document = json.loads((deployed.controller.home / "audit.json").read_text())
    read = {each["account"]["label"]: each["account"]["id"] for each in document["accounts"]}
    assert read == {name: deployed.ids[name] for name in ("blog", "sandbox", "shop")}
    assert all(each["account"]["regions"] == SOURCE["regions"] for each in document["accounts"])


def test_the_whole_job_is_done_with_the_role_of_the_template(organization: Organization) -> None:
    """With its permissions, the servers are found, and the configuration is stored by Run Command and removed again."""
    aws, iam = organization.controller.aws, organization.in_account("shop", "iam")
    iam.create_role(RoleName="app", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    for policy in ("AmazonSSMManagedInstanceCore", "CloudWatchAgentServerPolicy"):
        iam.attach_role_policy(RoleName="app", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    iam.create_instance_profile(InstanceProfileName="app")
    iam.add_role_to_instance_profile(InstanceProfileName="app", RoleName="app")
    organization.launch("shop", aws.region, agent="yes")
    [admin] = organization.launch("shop", aws.region, agent="yes", Name="monitoring")
    ec2 = organization.in_account("shop", "ec2")
    ec2.associate_iam_instance_profile(InstanceId=admin, IamInstanceProfile={"Name": "app"})
    duties = {"StoreByRunCommand": "true", "AdminInstance": admin, "Teardown": "true"}
    organization.deploy("shop", **duties, EarlierRole="app", EarlierProfile="app")
    organization.list(account_tags={"team": "shop"})
    organization.controller.file("agent.json", {"agent": {"metrics_collection_interval": 60}})
    settings: dict[str, Any] = {
        "cwagent_config_file": str(organization.controller.home / "agent.json"),
        "cwagent_account_server_filters": {"tag:agent": "yes"},
        "cwagent_account_admin_filters": {"tag:Name": "monitoring"},
        "cwagent_ssm_policy": "AmazonSSMManagedInstanceCore",
        "cwagent_region": aws.region,
    }
    inventory = organization.controller.home / "0.organization.yml"
    ssm = organization.in_account("shop", "ssm")
    for playbook, stored in (("site", ["AmazonCloudWatch-linux"]), ("teardown", [])):
        settings["cwagent_confirm"] = "" if stored else playbook
        play = organization.controller.play(inventory, playbook, env=organization.user, **settings)
        play.assert_succeeded()
        assert {call.error for call in play.calls} <= {"", "NoSuchEntity", "ParameterNotFound"}
        assert [each["Name"] for each in ssm.describe_parameters()["Parameters"]] == stored


def test_only_the_controller_with_the_external_id_may_assume_the_role(
    organization: Organization, subtests: pytest.Subtests
) -> None:
    organization.deploy("shop")
    aws = organization.controller.aws
    other = create_user(aws, "other", allow("sts:AssumeRole"))
    arn = f"arn:aws:iam::{organization.ids['shop']}:role/{ROLE}"
    for user, external_id, allowed in [
        (organization.user, EXTERNAL_ID, True),
        (organization.user, "another", False),
        (other, EXTERNAL_ID, False),
    ]:
        with subtests.test(external_id=external_id, allowed=allowed):
            keys = {"AccessKeyId": user["AWS_ACCESS_KEY_ID"], "SecretAccessKey": user["AWS_SECRET_ACCESS_KEY"]}
            sts = aws.client("sts", credentials=keys)
            request = {"RoleArn": arn, "RoleSessionName": "test", "ExternalId": external_id}
            if allowed:
                sts.assume_role(**request)
            else:
                with pytest.raises(sts.exceptions.ClientError, match="AccessDenied"):
                    sts.assume_role(**request)
