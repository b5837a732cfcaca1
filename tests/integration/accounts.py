"""Accounts of an organization, the role in each, and the runs of a user of the management account who assumes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator import Call, Fault
from emulator.client import IMAGE
from emulator.testing import wait_until
from harness import (
    ADMIN_ROLE,
    CLOSED_WINDOW,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SSM_POLICY,
    TIMEOUTS,
    UNREACHABLE,
    WINDOW_POLICY,
    Controller,
    Play,
    create_role,
    create_user,
)
from policies import controller_role, example, permit, stack_set_parameters
from published import content, installed, marked
from states import States

OWN = "123456789012"
"""The management account."""
ROLE, EXTERNAL_ID = "CloudWatchAgentControllerRole", "of-the-controller"
DUTIES = ("ProvisionHybrid", "KeysInParameterStore", "Teardown", "Verify")
"""The policies of the template that the playbooks of the tests need, and that the page's command does not create."""
FORKS = 2
ORGANIZED = ("blog", "sandbox", "shop")
"""The active accounts of an organization."""
ADMIN_TAG = "cwagent-admin"
FILTERED: dict[str, Any] = {
    "cwagent_account_server_filters": {"tag:agent": "yes"},
    "cwagent_account_admin_filters": {f"tag:{ADMIN_TAG}": "true"},
    "cwagent_ssm_policy": SSM_POLICY,
}
"""The variables of accounts whose servers are found."""


@dataclass
class Accounts:
    """The accounts by name, with a server and an admin instance in some, and a user who has the example policy.

    :param variables: the extra variables of every run.
    """

    controller: Controller
    ids: dict[str, str] = field(default_factory=dict)
    servers: dict[str, str] = field(default_factory=dict)
    admins: dict[str, str] = field(default_factory=dict)
    user: dict[str, str] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.user = create_user(self.controller.aws, "controller")
        permit(self.controller.aws, example("organization"))
        self.variables = {"cwagent_key_store_directory": str(self.controller.credentials), **TIMEOUTS}

    @property
    def organizations(self) -> Any:
        return self.controller.aws.client("organizations")

    @property
    def root(self) -> str:
        return str(self.organizations.list_roots()["Roots"][0]["Id"])

    def client(self, account: str, service: str, region: str | None = None) -> Any:
        """A client with all permissions in an account. :param account: its name; blank for the management account."""
        credentials = {"AccessKeyId": self.ids[account] if account else "test", "SecretAccessKey": "test"}
        return self.controller.aws.client(service, region, credentials)

    def unit(self, name: str, parent: str = "") -> str:
        """Create an organizational unit. :returns: its ID."""
        created = self.organizations.create_organizational_unit(ParentId=parent or self.root, Name=name)
        return str(created["OrganizationalUnit"]["Id"])

    def create(self, name: str, unit: str = "", **tags: str) -> str:
        """Create an account. :returns: its ID."""
        wanted = [{"Key": key, "Value": value} for key, value in tags.items()]
        created = self.organizations.create_account(Email=f"{name}@example.com", AccountName=name, Tags=wanted)
        self.ids[name] = account = str(created["CreateAccountStatus"]["AccountId"])
        if unit:
            self.organizations.move_account(AccountId=account, SourceParentId=self.root, DestinationParentId=unit)
        return account

    def deploy(self, account: str, **parameters: str) -> dict[str, str]:
        """Create the stack of the template, as the stack set of the page does. :returns: the IDs of its resources."""
        own = {"ControllerArn": f"arn:aws:iam::{OWN}:user/controller", "ExternalId": EXTERNAL_ID}
        given = {**stack_set_parameters(), **own, **parameters}
        cloudformation = self.client(account, "cloudformation")
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

    def distrust(self, account: str) -> None:
        """Let nobody assume the role in an account."""
        document = json.dumps({"Version": "2012-10-17", "Statement": []})
        self.client(account, "iam").update_assume_role_policy(RoleName=ROLE, PolicyDocument=document)

    def launch(self, account: str, region: str | None = None, **tags: str) -> str:
        """Launch an instance. :returns: its ID."""
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        specification = [{"ResourceType": "instance", "Tags": listed}] if listed else []
        launched = self.client(account, "ec2", region).run_instances(
            ImageId=IMAGE, InstanceType="t3.micro", MinCount=1, MaxCount=1, TagSpecifications=specification
        )
        return str(launched["Instances"][0]["InstanceId"])

    def add_instances(self, account: str) -> None:
        """Launch a server and an admin instance that Systems Manager reaches, and deploy the role for them."""
        create_role(self.controller.aws, "app", SSM_POLICY, SERVER_POLICY, account=self.ids[account])
        self.servers[account] = self.launch(account, agent="yes")
        self.admins[account] = admin = self.launch(account, agent="yes", **{ADMIN_TAG: "true"})
        self.client(account, "ec2").associate_iam_instance_profile(InstanceId=admin, IamInstanceProfile={"Name": "app"})
        duties = dict.fromkeys(DUTIES, "true")
        self.deploy(account, **duties, EarlierRole="app", EarlierProfile="app")

    def host(self, account: str) -> dict[str, Any]:
        """The variables of the host that stands for an account."""
        return {
            "cwagent_account_id": self.ids[account],
            "cwagent_account_assume_role_arn": f"arn:aws:iam::{self.ids[account]}:role/{ROLE}",
            "cwagent_account_external_id": EXTERNAL_ID,
        }

    def inventory(self, accounts: Mapping[str, Any], hosts: Mapping[str, Any]) -> Path:
        """Hosts that stand for accounts, and on-premises servers."""
        group = {"hosts": dict(accounts), "vars": {**UNREACHABLE, **FILTERED}}
        children = {"cwagent_accounts": group, "cwagent_onprem_servers": {"hosts": dict(hosts)}}
        return self.controller.file("accounts.yml", {"all": {"children": children}})

    def play(
        self,
        playbook: str,
        *arguments: str,
        accounts: Iterable[str] | Mapping[str, Any] = (),
        hosts: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> Play:
        """Run a playbook in accounts, which are all by default.

        :param accounts: their names, or hosts with their variables. :param hosts: the on-premises servers.
        """
        found = accounts if isinstance(accounts, Mapping) else {each: self.host(each) for each in accounts or self.ids}
        inventory, environment = self.inventory(found, hosts or {}), {**self.user, **(env or {})}
        given = {**self.variables, **variables}
        return self.controller.play(inventory, playbook, *arguments, f"--forks={FORKS}", env=environment, **given)

    def kill(self, fault: Fault, account: str, **variables: Any) -> None:
        """Run site.yml in one account until the fault kills it."""
        inventory = self.inventory({account: self.host(account)}, {})
        self.controller.kill(fault, inventory, "site", env=self.user, **{**self.variables, **variables})

    def controller_calls(self, play: Play) -> list[Call]:
        """The calls of the controller. An instance can still be in a command of an earlier run."""
        return [call for call in play.calls if "/i-" not in call.principal]

    def principals(self, play: Play) -> set[str]:
        """The accounts in which a run made calls with a session."""
        # A server registers without a principal.
        others = ("AssumeRole", "RegisterManagedInstance")
        sessions = [call for call in self.controller_calls(play) if call.action not in others]
        return {call.principal.split(":")[4] for call in sessions}

    def state(self, account: str) -> dict[str, Any]:
        """Everything that a run manages in an account: roles, the profiles of instances, and configurations."""
        iam, ec2, ssm = (self.client(account, service) for service in ("iam", "ec2", "ssm"))
        roles = sorted(each["RoleName"] for each in iam.list_roles()["Roles"])
        associations = ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
        parameters = ssm.describe_parameters()["Parameters"]
        names = [each["Name"] for each in parameters if each["Name"].startswith("AmazonCloudWatch-")]
        values = ssm.get_parameters(Names=names)["Parameters"] if names else []
        return {
            "roles": [role for role in roles if role not in (ROLE, "app")],
            "profiles": {
                each["InstanceId"]: each["IamInstanceProfile"]["Arn"].rpartition("/")[2]
                for each in associations
                if each["State"] == "associated"
            },
            "configurations": {each["Name"]: json.loads(each["Value"]) for each in values},
        }

    def expected(self, account: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The state after site.yml."""
        return {
            "roles": [ADMIN_ROLE, SERVER_ROLE],
            "profiles": {self.servers[account]: SERVER_ROLE, self.admins[account]: "app"},
            "configurations": {PARAMETER: config},
        }

    def is_window_open(self, account: str) -> bool:
        policy = self.client(account, "iam").get_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
        return policy["PolicyDocument"]["Statement"] != [CLOSED_WINDOW]


def stats_of(play: Play) -> dict[str, Any]:
    """The data that a run passes on to other jobs of AWX."""
    [found] = [each.result["ansible_stats"] for each in play.results if "ansible_stats" in each.result]
    assert (found["per_host"], found["aggregate"]) == (False, False)
    return dict(found["data"]["cloudwatch_agent"])


def secrets_of_sessions(play: Play) -> set[str]:
    """The IDs of the temporary access keys of a run, and the beginning of the emulator's session tokens."""
    return {"FwoGZX", *(call.access_key for call in play.calls if call.access_key.startswith("ASIA"))}


COLUMNS = ["account", "regions", "created", "updated", "deleted", "unchanged", "result"]


def table(play: Play) -> dict[str, list[str]]:
    """By account, the cells of its line in the table at the end."""
    [header] = [number for number, line in enumerate(play.report) if line.split() == COLUMNS]
    lines = [line for line in play.report[header + 1 :] if not line.startswith(("-", " "))]
    return {line.split()[0]: line.split()[1:] for line in lines}


def three_accounts(states: States) -> tuple[Accounts, Play]:
    """Three accounts after the first site.yml, which ran with the command and the configuration of the page."""
    reader, accounts = states.begin(installed), Accounts(states.controller)
    inventory = content("many_accounts", section="Inventory")
    for account in ("shop", "blog", "wiki"):
        accounts.create(account)
        accounts.add_instances(account)
    # The role of the page does not exist, and its other credentials are a profile.
    inventory["cwagent_accounts"]["hosts"] = {account: accounts.host(account) for account in accounts.ids}
    reader.shell.log_in(accounts.user)
    reader.shell.write("accounts.yml", inventory)
    reader.shell.write("agent.json", content("getting_started", "json"))
    accounts.variables["cwagent_config_file"] = str(reader.shell.work / "agent.json")
    [done] = reader.compare(marked("many_accounts", "console", "text"))
    # An instance can still be in a command when the run has ended.
    wait_until(lambda: {each["details"] for each in states.aws.commands()} == {"Success"})
    return accounts, done


def organized(states: States) -> Accounts:
    """Two active accounts in nested units, one in the root, and a closed one."""
    found = Accounts(states.controller)
    workloads = found.unit("Workloads")
    found.create("sandbox")
    found.create("blog", workloads, team="web", monitoring="cloudwatch")
    found.create("shop", found.unit("Production", workloads), team="shop", monitoring="cloudwatch")
    found.organizations.close_account(AccountId=found.create("closed", found.unit("Closed")))
    return found


def deployed(states: States) -> Accounts:
    """The same with the role of the template in each active account."""
    found = states.begin(organized)
    for name in ORGANIZED:
        found.deploy(name)
    return found
