"""Pages of the guide that do not begin in the account of the page getting_started."""

from __future__ import annotations

import json

from accounts import Accounts
from emulator.snapshot import associated_profiles, snapshot
from fleet import DAY, HOUR, Fleet
from guide import GUIDE, blocks, sections
from harness import (
    ADMIN_ROLE,
    CHECKOUT,
    HYBRID_ROLE,
    NEEDS_AWS_CLI,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    Play,
    assert_complete_report,
    associate,
    create_role,
)
from published import Reader, content, installed, marked
from states import States

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import merge

pytestmark = NEEDS_AWS_CLI

MANY_ACCOUNTS = GUIDE / "many_accounts.rst"


def begin_page(states: States, page: str, section: str | None = None) -> Reader:
    """A person with the inventory of a page or one of its sections, whose instances exist."""
    reader = states.begin(installed)
    reader.write_inventory(content(page, section=section))
    return reader


def test_a_pipeline_gets_reports_on_the_configuration(states: States) -> None:
    reader = begin_page(states, "pipeline")
    before, after = reader.compare_page("pipeline")
    assert before == after
    assert json.loads((reader.shell.work / "config.sarif").read_text())["runs"][0]["results"]
    assert "<failure" in (reader.shell.work / "config.junit.xml").read_text()


def test_the_configuration_of_windows_is_stored(states: States) -> None:
    reader = begin_page(states, "windows")
    reader.aws.agents(*reader.ids.values(), platform="Windows")
    _, after = reader.compare_page("windows")
    assert after["parameters"][reader.aws.region].keys() == {"AmazonCloudWatch-windows"}
    assert after["associations"] == dict.fromkeys(reader.ids.values(), SERVER_ROLE)


def test_terraform_sees_no_change(states: States) -> None:
    """Apart from the tag that the page lets it ignore, and the policy that it attaches to the application."""
    part = ("beside_other_tools", "Terraform")
    reader = begin_page(states, *part)
    create_role(reader.aws, SERVER_ROLE, SERVER_POLICY)
    create_role(reader.aws, "shop", "AmazonS3ReadOnlyAccess")
    web, shop, admin = reader.ids.values()
    for instance, profile in {web: SERVER_ROLE, shop: "shop", admin: SERVER_ROLE}.items():
        associate(reader.aws, instance, profile)
    before, after = reader.compare_page(*part)
    expected = {**before["roles"]["shop"], "policies": ["AmazonS3ReadOnlyAccess", SERVER_POLICY]}
    assert {**after["roles"]["shop"], "tags": {}} == expected
    assert all(tag.startswith("cwagent:") for tag in after["roles"]["shop"]["tags"])
    assert after["roles"][SERVER_ROLE] == before["roles"][SERVER_ROLE]
    for kind in ("associations", "instance_tags"):
        assert after[kind] == before[kind]


def test_roles_of_a_setup_script_are_adopted_and_stay_the_same(states: States) -> None:
    """Apart from the tag and the admin window."""
    part = ("beside_other_tools", "AWS's set-up script and procedures")
    reader = begin_page(states, *part)
    create_role(reader.aws, SERVER_ROLE, SERVER_POLICY)
    create_role(reader.aws, ADMIN_ROLE, "CloudWatchAgentAdminPolicy")
    associate(reader.aws, next(iter(reader.ids.values())), SERVER_ROLE)
    before, after = reader.compare_page(*part)
    assert {name: {**role, "tags": {}, "inline": {}} for name, role in after["roles"].items()} == before["roles"]
    assert after["associations"] == dict.fromkeys(reader.ids.values(), SERVER_ROLE)


def test_each_configuration_is_stored_in_its_regions(states: States) -> None:
    reader, west = begin_page(states, "configurations"), "us-east-1"
    examples = CHECKOUT / "examples" / "agent-config"
    files = {name: json.loads((examples / f"{name}.json").read_text()) for name in ("linux", "windows")}
    files["databases"] = databases = content("configurations", "json")
    for name, config in files.items():
        reader.shell.write(f"{name}.json", config)
    reader.compare(marked("configurations", "console"))
    stored = {reader.aws.region: ("linux", "databases"), west: ("linux", "windows")}
    assert snapshot(reader.aws, reader.aws.region, west)["parameters"] == {
        region: {f"AmazonCloudWatch-{name}": files[name] for name in names} for region, names in stored.items()
    }
    merged, added = merge([databases, files["linux"]]), databases["logs"]["logs_collected"]["files"]["collect_list"]
    assert merged["logs"]["logs_collected"]["files"]["collect_list"][: len(added)] == added


def test_a_server_gets_and_leaves_its_registration_and_its_key(states: States) -> None:
    reader = begin_page(states, "hybrid")
    fleet = Fleet(states.controller)
    machine = fleet.add_machine("db-1", cwagent_deliver_keys=False)
    reader.shell.write("host_vars/db-1.yml", fleet.groups["onprem_servers"]["db-1"])
    waits = iter([0, 6 * HOUR, 8 * DAY])

    def follow(section: str, wait: bool = False) -> list[Play]:
        before = (lambda: reader.aws.shift_clock(next(waits))) if wait else (lambda: None)
        return reader.compare(marked("hybrid", "console", "text", section=section), before)

    predicted, done = follow("Register a server")
    assert (predicted.writes, predicted.changed_tasks) == ([], done.changed_tasks)
    assert predicted.report[1:] == done.report[1:]
    assert_complete_report(done)
    assert f":assumed-role/{HYBRID_ROLE}/mi-" in fleet.caller("db-1")
    assert fleet.account()["users"] == {}
    follow("Back to access keys")
    assert fleet.caller("db-1").endswith(f":user/{SERVER_USER}-db-1")
    follow("Leave access keys", wait=True)
    assert f":assumed-role/{HYBRID_ROLE}/mi-" in fleet.caller("db-1")
    assert fleet.account()["users"] == {}
    follow("Remove a server")
    assert machine.registration is None


def test_every_command_for_many_accounts_works(states: States) -> None:
    """No inventory lists the instances that it associates with a profile. The role of the template lets it audit."""
    reader = states.begin(installed)
    accounts, aws = Accounts(states.controller), states.aws
    accounts.create("shop", accounts.unit("Workloads"))
    accounts.deploy("shop")
    reader.shell.log_in(accounts.user)
    parts = [sections(MANY_ACCOUNTS)[title] for title in ("Accounts of an organization", "Your own playbooks")]
    texts = [each.text for part in parts for each in blocks(MANY_ACCOUNTS, part) if each.language == "yaml"]
    for name, text in zip(("accounts.organization.yml", "accounts.yml", "monitored.yml"), texts, strict=True):
        reader.shell.write(name, text)
    ids = {region: aws.instances(1, region=region)[0] for region in ("eu-central-1", "us-east-1")}
    for region, instance in ids.items():
        aws.client("ec2", region).create_tags(Resources=[instance], Tags=[{"Key": "monitored", "Value": "true"}])
    plays = reader.follow(MANY_ACCOUNTS, lambda command: not command.marked)
    assert {region: associated_profiles(aws, region) for region in ids} == {
        region: {instance: SERVER_ROLE} for region, instance in ids.items()
    }
    audits = [play for play in plays if "account read at" in play.words]
    assert [play.writes for play in audits] == [[]]
