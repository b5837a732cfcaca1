# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: organization
author: cwagent.iam contributors (@cwagent)
version_added: 1.0.0
short_description: The accounts of AWS Organizations as hosts
description:
  - Adds each account of an organization as a host to the group C(cwagent_accounts), with the role to assume in it.
  - On request, it also assumes these roles and adds the EC2 instances of each account as hosts.
  - The inventory source is a YAML file whose name ends with C(organization.yml) or C(organization.yaml).
  - The credentials in use must belong to the management account, or to a member account that is a delegated
    administrator for an AWS service.
options:
  organizational_units:
    description:
      - Only accounts in these organizational units, or in units below them.
      - A unit is an ID, such as V(ou-ab12-11111111), or a path of names, such as V(/Workloads/Production).
    type: list
    elements: str
    default: []
  account_tags:
    description: Only accounts with all these tags. A value can be a list. Then one of its items must match.
    type: dict
    default: {}
  states:
    description: Only accounts in one of these states.
    type: list
    elements: str
    choices: [ACTIVE, CLOSED, PENDING_ACTIVATION, PENDING_CLOSURE, SUSPENDED]
    default: [ACTIVE]
  management_account:
    description:
      - Whether to add the management account as well.
      - A stack set with service-managed permissions does not create a role in this account.
    type: bool
    default: false
  member_role_arn:
    description:
      - The ARN of the role to assume in an account, as a Jinja template. In contrast, the role in O(assume_role_arn) is
        assumed to read the organization.
      - It can use C(account_id), C(account_name), C(account_state), C(account_tags), C(organizational_unit),
        C(organizational_unit_ids) and C(partition).
      - Each account has its value in the host variable C(cwagent_account_assume_role_arn).
    type: str
    required: true
  external_id:
    description:
      - The external ID for O(member_role_arn), which can be a Jinja template too.
      - Each account has its value in the host variable C(cwagent_account_external_id).
    type: str
  hostname:
    description:
      - The name of the host of an account, as a Jinja template with the variables of O(member_role_arn).
      - The default is the account ID. A name with a space, or with another character that has a meaning in host
        patterns, is refused, because plays would skip the host.
    type: str
  regions:
    description:
      - The regions of the accounts, where the inventory finds instances. The default is all regions that are enabled in
        the account.
      - Each account has them in the host variable C(cwagent_account_regions).
    type: list
    elements: str
    default: []
  find_instances:
    description:
      - Whether to add the EC2 instances of the accounts as hosts to the group C(cwagent_ec2_servers).
      - This needs C(ec2:DescribeInstances) in each account, and C(ec2:DescribeRegions) without O(regions).
    type: bool
    default: false
  instance_filters:
    description:
      - Only instances that match these filters of
        U(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html). A value can be a list.
      - Instances that are terminated, or about to be, are left out unless C(instance-state-name) is set.
    type: dict
    default: {}
  strict_permissions:
    description:
      - How to treat an account whose instances cannot be read, for example because its role cannot be assumed.
      - With V(false), the inventory prints a warning with the account and the missing permission. With V(true), the
        inventory source fails.
    type: bool
    default: false
extends_documentation_fragment:
  - inventory_cache
  - constructed
  - cwagent.iam.boto3
  - amazon.aws.common.plugins
  - amazon.aws.region.plugins
  - amazon.aws.assume_role.plugins
notes:
  - Each account has the host variables C(account_name), C(account_state), C(account_tags), C(organizational_unit),
    which is the path of its unit, C(organizational_unit_ids), from the root on, C(cwagent_account_id),
    C(cwagent_account_assume_role_arn), and where set C(cwagent_account_external_id) and C(cwagent_account_regions). The
    inventory does not contain the email address of an account.
  - Each instance is named by its ID and has the host variables C(instance_id), C(cwagent_region), C(cwagent_account),
    which is the host of its account, C(ec2_tags), C(instance_state), and where they are known C(architecture),
    C(image_id), C(instance_type), C(platform_details), C(private_dns_name), C(private_ip_address), C(public_dns_name),
    C(public_ip_address), C(subnet_id) and C(vpc_id).
  - O(keyed_groups), O(groups) and O(compose) apply to both kinds of hosts. With O(strict=true), expressions must also
    be defined for both.
  - The cache contains the accounts and instances that were read, and never credentials. It is not used after the
    options changed.
  - If an inventory source fails, Ansible only warns and continues without its hosts, unless
    C(ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED) is true. Set this variable.
seealso:
  - plugin: amazon.aws.aws_ec2
    plugin_type: inventory
"""

EXAMPLES = r"""
# All active accounts, for example for the playbook cwagent.iam.audit
plugin: cwagent.iam.organization
member_role_arn: arn:{{ partition }}:iam::{{ account_id }}:role/CloudWatchAgentControllerRole
external_id: of-the-controller
regions: [eu-central-1, us-east-1]

---
# The accounts of some units with a tag, by their names, in a group for each organizational unit and team
plugin: cwagent.iam.organization
member_role_arn: arn:{{ partition }}:iam::{{ account_id }}:role/CloudWatchAgentControllerRole
organizational_units: [/Workloads/Production, ou-ab12-22222222]
account_tags:
  monitoring: cloudwatch
hostname: "{{ account_name | regex_replace('[^\\w.-]+', '-') }}"
keyed_groups:
  - key: organizational_unit_ids
    prefix: ou
  - key: account_tags.team
    prefix: team
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/ansible/inventory

---
# The running instances with a tag as well
plugin: cwagent.iam.organization
member_role_arn: arn:{{ partition }}:iam::{{ account_id }}:role/CloudWatchAgentControllerRole
regions: [eu-central-1]
find_instances: true
instance_filters:
  instance-state-name: running
  tag:CloudWatchAgent: [server, admin]
groups:
  cwagent_ec2_admin: ec2_tags.CloudWatchAgent == 'admin'
compose:
  ansible_host: private_ip_address
"""

import threading
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible import constants
from ansible.errors import AnsibleError, AnsibleParserError
from ansible_collections.amazon.aws.plugins.module_utils.transformation import ansible_dict_to_boto3_filter_list
from ansible_collections.amazon.aws.plugins.plugin_utils.inventory import AWSInventoryBase

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    DENIED_CODES,
    AwsApiError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._servers.find_servers import enabled_regions
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.given import ACCOUNTS, EC2_SERVERS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.organization import (
    Account,
    Unit,
    account_of,
    account_state,
    check_hostnames,
    check_selected,
    child_unit,
    has_tags,
    instance_variables,
    is_management_account,
    root_unit,
)

with suppress(ImportError):  # require_aws_sdk tells the user
    from boto3.session import Session

try:
    from ansible.utils.unsafe_proxy import wrap_var
except ImportError:  # newer versions of Ansible never treat text from elsewhere as a template
    wrap_var = None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# The options that decide what is read.
SELECTION = [
    *("organizational_units", "account_tags", "states", "management_account", "find_instances"),
    *("instance_filters", "regions", "member_role_arn", "external_id", "profile", "assume_role_arn"),
]
SESSION: dict[str, Any] = {"RoleSessionName": "cwagent-inventory", "DurationSeconds": 900}
# Instances that are not about to be terminated.
STATES = ["pending", "running", "stopping", "stopped"]


class InventoryModule(AWSInventoryBase):  # type: ignore[misc]  # amazon.aws comes without types
    """Reads an organization, and the instances of its accounts."""

    NAME = "cwagent.iam.organization"
    INVENTORY_FILE_SUFFIXES = ("organization.yml", "organization.yaml")

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add the hosts to the inventory, once all have been read."""
        super().parse(inventory, loader, path, cache=cache)
        selection = {option: self.get_option(option) for option in SELECTION}
        is_cached, found = self.get_cached_result(path, cache)
        try:
            if not is_cached or found["selection"] != selection:
                is_cached, found = False, {**self._read(), "selection": selection}
            self._report(found["problems"])
            self._populate([Account(**each) for each in found["accounts"]], found["instances"])
        except CwagentError as error:
            raise AnsibleParserError(str(error)) from error
        self.update_cached_result(path, is_cached, found)

    def _read_config_data(self, path: str) -> Any:
        """Refuse options that do not exist, because all accounts would be hosts if a filter is misspelled."""
        config = super()._read_config_data(path)
        options = constants.config.get_configuration_definitions("inventory", self._load_name)
        known = {"plugin", *options, *(alias for each in options.values() for alias in each.get("aliases", ()))}
        if unknown := sorted(set(config) - known):
            raise AnsibleParserError(f"{path} has options that do not exist: {', '.join(unknown)}.")
        return config

    def _read(self) -> dict[str, Any]:
        """Return the accounts, the instances by account, and what could not be read, as data for the cache."""
        regions = self.get_option("regions")
        first_region = self.region or next(iter(regions), None)
        if not first_region:
            raise InvalidInput("There is no AWS region to begin with. Set region or regions, or AWS_REGION.")
        caller = Aws(partial(self.client, region=first_region))
        accounts = self._read_accounts(caller)
        instances: list[list[dict[str, Any]]] = []
        problems: list[str] = []
        if self.get_option("find_instances"):
            # The options are read here, and not by several threads at once.
            reader = _InstanceReader(
                caller,
                partial(Session().client, endpoint_url=self.get_option("endpoint_url")),
                first_region,
                regions,
                {"instance-state-name": STATES, **self.get_option("instance_filters")},
            )
            roles = [self._role_of(account) for account in accounts]
            results = run_in_parallel(lambda each: reader.read(*each), list(zip(accounts, roles)))
            instances = [found for found, _problems in results]
            problems = [problem for _found, problems in results for problem in problems]
        return {
            "accounts": [asdict(account) for account in accounts],
            "instances": {account.account_id: found for account, found in zip(accounts, instances)},
            "problems": problems,
        }

    def _read_accounts(self, caller: Aws) -> list[Account]:
        reader = _OrganizationReader(caller)
        units = reader.read_units(self.get_option("organizational_units"))
        states, with_management = self.get_option("states"), self.get_option("management_account")
        listed = [
            (account, unit)
            for unit, accounts in zip(units, run_in_parallel(reader.list_accounts, units))
            for account in accounts
            if account_state(account) in states and (with_management or not is_management_account(account))
        ]
        tags = run_in_parallel(reader.list_tags, [account["Id"] for account, _unit in listed])
        accounts = [account_of(account, unit, each) for (account, unit), each in zip(listed, tags)]
        wanted = self.get_option("account_tags")
        return sorted((each for each in accounts if has_tags(each, wanted)), key=lambda each: each.account_id)

    def _report(self, problems: list[str]) -> None:
        if problems and self.get_option("strict_permissions"):
            raise CwagentError(f"{' '.join(problems)} No host was added, since strict_permissions is true.")
        for problem in problems:
            self.warn(f"{problem} The inventory lacks these instances.")

    def _populate(self, accounts: list[Account], instances: Mapping[str, list[dict[str, Any]]]) -> None:
        hosts = {self._render("hostname", account) or account.account_id: account for account in accounts}
        check_hostnames(hosts, len(accounts))
        for host, account in hosts.items():
            self._add_host(host, ACCOUNTS, self._account_variables(account))
            for instance in instances.get(account.account_id, ()):
                self._add_host(instance["instance_id"], EC2_SERVERS, {**instance, "cwagent_account": host})

    def _account_variables(self, account: Account) -> dict[str, Any]:
        role, external_id = self._role_of(account)
        facts = asdict(account)
        del facts["partition"]
        cwagent = {
            "cwagent_account_id": facts.pop("account_id"),
            "cwagent_account_assume_role_arn": role,
            "cwagent_account_external_id": external_id,
            "cwagent_account_regions": self.get_option("regions"),
        }
        return {**facts, **{name: value for name, value in cwagent.items() if value}}

    def _role_of(self, account: Account) -> tuple[str, str]:
        """Return the ARN of the role to assume in an account, and the external ID, which can be empty."""
        return self._render("member_role_arn", account), self._render("external_id", account)

    def _render(self, option: str, account: Account) -> str:
        """Return the value of an option that is a template. :raises InvalidInput: it cannot be evaluated."""
        self.templar.available_variables = _as_data(asdict(account))
        try:
            return str(self.templar.template(self.get_option(option) or ""))
        except AnsibleError as error:
            raise InvalidInput(f"{option} cannot be evaluated for account {account.account_id}: {error}") from error

    def _add_host(self, host: str, group: str, variables: Mapping[str, Any]) -> None:
        data = _as_data(variables)
        self.inventory.add_group(group)
        self.inventory.add_host(host, group=group)
        for name, value in data.items():
            self.inventory.set_variable(host, name, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), data, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), data, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), data, host, strict=strict)


def _as_data(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables so that a name or a tag with braces is text, and never a template."""
    return {name: wrap_var(value) if wrap_var else value for name, value in variables.items()}


@dataclass(frozen=True)
class _OrganizationReader:
    """Reads an organization. :param aws: with the credentials of the caller."""

    aws: Aws

    def read_units(self, selected: list[str]) -> list[Unit]:
        """Return the selected units; the tree is read level by level."""
        roots = self._list("ListRoots", "Roots", "find the root of the organization")
        level = [root_unit(each, selected) for each in roots]
        units: list[Unit] = []
        while level:
            units += level
            children = run_in_parallel(self._list_children, level)
            level = [child_unit(parent, each, selected) for parent, listed in zip(level, children) for each in listed]
        check_selected(units, selected)
        return [unit for unit in units if unit.is_selected]

    def _list_children(self, unit: Unit) -> list[dict[str, Any]]:
        description = f"list the organizational units in {unit.path}"
        operation = "ListOrganizationalUnitsForParent"
        return self._list(operation, "OrganizationalUnits", description, ParentId=unit.ids[-1])

    def list_accounts(self, unit: Unit) -> list[dict[str, Any]]:
        """Return the accounts of a unit."""
        description = f"list the accounts in {unit.path}"
        return self._list("ListAccountsForParent", "Accounts", description, ParentId=unit.ids[-1])

    def list_tags(self, account_id: str) -> list[dict[str, Any]]:
        """Return the tags of an account."""
        description = f"list the tags of account {account_id}"
        return self._list("ListTagsForResource", "Tags", description, ResourceId=account_id)

    def _list(self, operation: str, key: str, description: str, **arguments: Any) -> list[dict[str, Any]]:
        try:
            pages = self.aws.pages(f"organizations:{operation}", description, **arguments)
            return [each for page in pages for each in page[key]]
        except AwsApiError as error:
            if error.code not in DENIED_CODES:
                raise
            raise CwagentError(
                f"{error} AWS also denies this to all accounts but the management account and delegated administrators."
            ) from error


@dataclass(frozen=True)
class _InstanceReader:
    """Reads the instances of accounts. The credentials of an account stay in the clients that are made with them.

    :param caller: assumes the roles.
    :param make_client: makes the clients of one session, because each session reads its description of EC2 anew.
    :param first_region: the region for the call that lists the regions of an account.
    :param regions: the regions with the instances. If empty, the enabled regions are read.
    :param filters: the filters of the instances.
    """

    caller: Aws
    make_client: Callable[..., Any]
    first_region: str
    regions: Sequence[str]
    filters: Mapping[str, Any]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, account: Account, role: tuple[str, str]) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the instances of an account, and what could not be read, as sentences."""
        found: list[dict[str, Any]] = []
        problems: list[str] = []

        @contextmanager
        def collecting() -> Iterator[None]:
            try:
                yield
            except CwagentError as error:
                problems.append(f"Account {account.account_name} ({account.account_id}): {error}")

        with collecting():
            credentials = self._assume(*role)
            for region in self.regions or enabled_regions(self._aws(self.first_region, credentials)):
                with collecting():
                    found += self._read_region(region, credentials)
        return found, problems

    def _assume(self, arn: str, external_id: str) -> dict[str, str]:
        more: dict[str, Any] = {"ExternalId": external_id} if external_id else {}
        answer = self.caller.call("sts:AssumeRole", f"assume role '{arn}'", RoleArn=arn, **SESSION, **more)
        issued = answer["Credentials"]
        return {
            "aws_access_key_id": issued["AccessKeyId"],
            "aws_secret_access_key": issued["SecretAccessKey"],
            "aws_session_token": issued["SessionToken"],
        }

    def _aws(self, region: str, credentials: Mapping[str, str]) -> Aws:
        def make_client(service: str, **options: Any) -> Any:
            with self.lock:  # only one thread at a time may use a session
                return self.make_client(service, region_name=region, **credentials, **options)

        return Aws(make_client)

    def _read_region(self, region: str, credentials: Mapping[str, str]) -> list[dict[str, Any]]:
        pages = self._aws(region, credentials).pages(
            "ec2:DescribeInstances",
            f"list the instances in {region}",
            Filters=ansible_dict_to_boto3_filter_list(self.filters),
            MaxResults=1000,
        )
        reservations = [reservation for page in pages for reservation in page["Reservations"]]
        return [instance_variables(each, region) for reservation in reservations for each in reservation["Instances"]]
