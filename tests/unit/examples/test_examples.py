"""The examples can be copied: the inventories have the groups, and the agent accepts the configurations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager
from emulator import Emulator
from emulator.environment import program_environment
from jinja2 import Environment

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import (
    desired_config,
    select_tier,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.problems import select
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.validate import validate

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"


def test_the_static_inventory_has_the_groups():
    manager = InventoryManager(DataLoader(), sources=str(EXAMPLES / "inventory" / "hosts.yml"))
    assert {name: found for name, found in manager.get_groups_dict().items() if name.startswith("cwagent_")} == {
        "cwagent_ec2_servers": ["web-1", "web-2"],
        "cwagent_ec2_admin": ["admin-1"],
        "cwagent_onprem_servers": ["db-1", "ops-1"],
        "cwagent_onprem_admin": ["ops-1"],
    }
    hosts = {host: VariableManager(DataLoader(), manager).get_vars(host=host) for host in manager.get_hosts()}
    assert len({each["instance_id"] for each in hosts.values() if "instance_id" in each}) == 3
    assert {host.name: variables["cwagent_region"] for host, variables in hosts.items()} == {
        **{host.name: "eu-central-1" for host in hosts},
        "web-2": "eu-west-1",
    }


@pytest.fixture(scope="module")
def aws():
    with Emulator.start("moto") as emulator:
        yield emulator


@pytest.mark.main_job
def test_the_aws_ec2_inventory_finds_instances_by_tag(aws):
    """It finds a stopped instance, one without a name and two of the same name, but not one without the tag."""
    servers = aws.instances(4, stopped=1)
    [admin, other] = aws.instances(2)
    tag(aws, servers, CloudWatchAgent="server")
    tag(aws, servers[:2], Name="web")
    tag(aws, [admin], CloudWatchAgent="admin", Name="ops")
    tag(aws, [other], Name="other")

    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-inventory"), "--list", "-i", EXAMPLES / "inventory" / "aws_ec2.yml"],
        cwd=ROOT,
        env=program_environment({"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}, aws.env()),
        check=True,
        capture_output=True,
        text=True,
    )
    # Ansible wraps values from outside, such as tags.
    listed = json.loads(done.stdout, object_hook=lambda found: found.get("__ansible_unsafe", found))
    found = {name: sorted(group["hosts"]) for name, group in listed.items() if group.get("hosts")}
    hosts = listed["_meta"]["hostvars"]
    assert {hosts[host]["instance_id"] for host in found["cwagent_ec2_servers"]} == set(servers)
    assert found["cwagent_ec2_admin"] == [f"ops_{admin}"]
    assert f"web_{servers[0]}" in hosts
    assert len(hosts) == 5
    for variables in hosts.values():
        assert variables["cwagent_region"] == "eu-central-1"
        assert variables["ansible_host"] == variables["private_ip_address"]


@pytest.mark.parametrize("names", [["tags"], ["tags", "ec2_tags"], ["ec2_tags"]], ids=["9 to 11.1", "11.2", "later"])
def test_the_aws_ec2_inventory_reads_the_tags_of_every_amazon_aws(names):
    groups = yaml.safe_load((EXAMPLES / "inventory" / "aws_ec2.yml").read_text())["groups"]
    env = Environment(autoescape=True)
    for value in ("server", "admin", "other"):
        variables = {name: {"CloudWatchAgent": value} for name in names}
        found = [group for group, condition in groups.items() if env.compile_expression(condition)(variables)]
        assert found == {"server": ["cwagent_ec2_servers"], "admin": ["cwagent_ec2_admin"]}.get(value, [])


def tag(aws, ids, **tags):
    aws.client("ec2").create_tags(Resources=ids, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])


def test_the_linux_configuration_needs_nothing_but_the_package_of_the_agent():
    """Amazon Linux 2023 and Ubuntu have no log in common that its user may read, except its own."""
    config = json.loads((EXAMPLES / "agent-config" / "linux.json").read_text())
    assert config["agent"]["run_as_user"] == "cwagent"
    files = {each["file_path"] for each in config["logs"]["logs_collected"]["files"]["collect_list"]}
    assert files == {"/opt/aws/amazon-cloudwatch-agent/logs/amazon-cloudwatch-agent.log"}


@pytest.mark.parametrize("name", ["linux", "windows"])
def test_a_configuration_is_valid_and_fits_the_standard_tier(name):
    path = EXAMPLES / "agent-config" / f"{name}.json"
    document = validate(path.read_bytes(), source=str(path), name=f"AmazonCloudWatch-{name}")
    assert select(document.problems, "strict") == ([], [])
    assert document.value
    [parameter] = desired_config(f"AmazonCloudWatch-{name}", document.value, None, can_be_split=False).parameters
    assert select_tier(None, parameter) == "Standard"
