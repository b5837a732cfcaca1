"""The commands of the guide work as they are written, with the installed collection, and print what the pages show.

These pages begin in the account of the page getting_started. ``test_guide_alone.py`` follows pages with other accounts,
and ``test_accounts.py`` the page on many accounts. ``guide.NOT_RUN`` lists commands that cannot be run. A new command
of a page is run without a change of a test. The pages on fitted policies and on the removal of servers are the journeys
of these playbooks too, and of their check mode.
"""

from __future__ import annotations

import json
import re
import subprocess
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulator.machines import AGENT_CONTROL, AGENT_FOLDER
from emulator.snapshot import snapshot
from guide import GUIDE, PAGES, PLAYBOOK_PAGES, README, Command, blocks, commands, is_playbook
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    CHECKOUT,
    NEEDS_AWS_CLI,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    Play,
    assert_complete_report,
    associate,
    create_role,
    first_call,
    rename_instance_profile,
)
from published import INSTALL, Reader, assert_shown, content, hosts_of, installed, marked
from states import States

pytestmark = NEEDS_AWS_CLI

START, LAST = GUIDE / "getting_started.rst", GUIDE / "removal.rst"
ALONE = GUIDE / "many_accounts.rst"
"""Needs accounts of an organization."""
WITH_OWN_BLOCKS = {"application_roles", "auto_scaling", "getting_started", "onprem"}
IN_OTHER_TESTS = {
    *("beside_other_tools", "change_a_configuration", "configurations", "fitted_policies"),
    *("hybrid", "many_accounts", "pipeline", "removal", "rotate_keys", "windows"),
}
IN_CHECK_MODE = re.compile(r" --check( --diff)?$")
SERVER, OTHER_SERVER, ADMIN = (f"i-0123456789abcdef{number}" for number in (0, 1, 2))
"""The instances on the pages."""
APPLICATION, FITTED = "ShopBackend", "CloudWatchAgentFittedServerPolicy"


def started(states: States) -> tuple[Reader, Play]:
    """A person who has run site.yml as the page getting_started shows, with a server outside EC2 besides."""
    reader = states.begin(installed)
    reader.write_inventory(own_inventory(onprem_servers="db-1"))
    reader.set("db-1", cwagent_deliver_keys=False)
    [command] = marked("getting_started", "console")
    return reader, reader.shell.run(command.text.removeprefix("$ ")).assert_succeeded()


def with_keys(states: States) -> Reader:
    """The same person with an on-premises admin host, after the page onprem. The key of db-1 is delivered."""
    reader, _ = states.begin(started)
    reader.write_inventory(own_inventory(onprem_servers="db-1", onprem_admin="ops-1"))
    reader.follow(GUIDE / "onprem.rst", is_first)
    return reader


def own_inventory(**hosts: str) -> dict[str, Any]:
    """The inventory of the page getting_started with further hosts, by group without ``cwagent_``."""
    inventory: dict[str, Any] = content("getting_started")
    for group, host in hosts.items():
        inventory["all"]["children"][f"cwagent_{group}"] = {"hosts": {host: {}}}
    return inventory


def is_first(command: Command) -> bool:
    """Whether this is the first page with a command that no marked block has. There it is run.

    Where a page has the same without check mode, only that is run. Other journeys run the playbooks in check mode.
    """
    without_check = IN_CHECK_MODE.sub("", command.text)
    is_run = without_check != command.text and without_check in FIRST_PAGES
    return not command.marked and FIRST_PAGES[command.text] == command.page and not is_run


def guide_order() -> list[Path]:
    middle = [page for page in PAGES if page not in (README, START, LAST, ALONE)]
    return [LAST, *middle, START, README]


FIRST_PAGES = {command.text: command.page for page in reversed(guide_order()) for command in commands(page)}
FIRST_PAGES[INSTALL] = ""  # the state ``installed`` runs it
for each in (command for page in PAGES for command in commands(page) if command.marked):
    FIRST_PAGES[each.text] = ""  # its output is compared
FOLLOWED = [page for page in guide_order() if page.stem != "onprem" and any(map(is_first, commands(page)))]


def test_every_page_with_marked_blocks_is_tested() -> None:
    tested = WITH_OWN_BLOCKS | IN_OTHER_TESTS | {page.stem for page in PLAYBOOK_PAGES}
    assert {page.stem for page in GUIDE.glob("*.rst") if any(block.marked for block in blocks(page))} == tested


def test_the_readme_has_the_servers_of_the_page_getting_started() -> None:
    """So its commands do the same as the commands of that page."""
    [text] = [block.text for block in blocks(README) if block.language == "yaml"]
    inventory, own = content("getting_started"), yaml.safe_load(text)
    assert own["all"]["vars"] == inventory["all"]["vars"]
    for hosts, expected in zip(hosts_of(own["all"]), hosts_of(inventory["all"]), strict=True):
        ids = {host: each["instance_id"] for host, each in hosts.items()}
        assert ids == {host: each["instance_id"] for host, each in expected.items()}
    assert {each.text for each in commands(README) if "cwagent.iam." in each.text} <= {
        each.text for each in commands(START)
    }


def test_getting_started_stores_and_the_playbooks_print_what_their_pages_show(states: States) -> None:
    """In the order of the overview, because restore.yml closes the window that open_window.yml opens."""
    (reader, site), region = states.begin(started), states.aws.region
    after = snapshot(reader.aws)
    assert after["parameters"] == {region: {PARAMETER: content("getting_started", "json")}}
    assert after["associations"] == {reader.ids[each]: SERVER_ROLE for each in (SERVER, ADMIN)}
    assert [after["instance_tags"][region][reader.ids[each]] for each in (SERVER, ADMIN)] == [{}, {}]
    written = [call.principal.split("/")[1] for call in site.calls if call.action == "PutParameter"]
    assert written == [ADMIN_ROLE]

    pages = [page for page in PLAYBOOK_PAGES if page.stem not in IN_OTHER_TESTS]
    found = [block for page in pages for block in blocks(page) if block.marked]
    found += marked("removal", "console", "text", section="teardown.yml")
    [command] = marked("getting_started", "console")
    [at] = [number for number, block in enumerate(found) if block.text == command.text]
    _site, shown = found.pop(at), found.pop(at)
    assert_shown(shown.text, site.output, reader.ids)
    reader.compare(found)
    after = snapshot(reader.aws)
    assert after["associations"] == {reader.ids[each]: SERVER_ROLE for each in (SERVER, ADMIN)}
    assert "Condition" not in json.dumps(after["roles"][ADMIN_ROLE]["inline"][WINDOW_POLICY])
    assert after["parameters"][region].keys() == {PARAMETER}


def test_other_examples_have_the_described_effects(states: States) -> None:
    """In the order of the pages. Writes show what a page creates and deletes again."""
    reader, _ = states.begin(started)
    shell, aws, server = reader.shell, reader.aws, reader.ids[SERVER]
    create_role(aws, APPLICATION, "AmazonS3ReadOnlyAccess")
    rename_instance_profile(aws, APPLICATION, "ShopBackendProfile")
    associate(aws, server, "ShopBackendProfile")
    pages = ("application_roles", "auto_scaling", "onprem")
    playbooks = [yaml.safe_load(block.text) for page in pages for block in marked(page, "yaml")]
    assert all(map(is_playbook, playbooks))
    shell.write("pages.yml", [play for playbook in playbooks for play in playbook])
    shop = {"instance_id": server, "cwagent_region": aws.region}
    shell.write("shop.yml", {"shop": {"hosts": {"shop-1": shop}}})
    play = shell.run("ansible-playbook -i shop.yml pages.yml").assert_succeeded()
    assert {"AttachRolePolicy", "CreateUser", "CreateAccessKey", "PutParameter", "DeleteUser"} <= set(play.writes)
    after = snapshot(aws)
    assert after["roles"][APPLICATION]["policies"] == ["AmazonS3ReadOnlyAccess", SERVER_POLICY]
    assert APPLICATION not in after["instance_profiles"]
    assert after["associations"][server] == "ShopBackendProfile"
    assert after["users"].keys() == {f"{SERVER_USER}-db-1"}
    assert after["parameters"][aws.region].keys() == {PARAMETER}


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.stem)
def test_every_other_command_of_a_page_works(states: States, page: Path) -> None:
    reader = states.begin(with_keys)
    if page == README:
        create_role(reader.aws, "Controller")
    reader.follow(page, is_first)
    if page == README:
        attached = reader.aws.client("iam").list_attached_role_policies(RoleName="Controller")["AttachedPolicies"]
        assert len(attached) == 4
    if page == LAST:
        after = snapshot(reader.aws)
        assert (after["roles"], after["users"], any(after["parameters"].values())) == ({}, {}, False)


def begin_page(states: States, page: str) -> Reader:
    """The person after the page onprem, with the inventory of another page. All its instances are servers."""
    reader = states.begin(with_keys)
    reader.write_inventory(content(page))
    if OTHER_SERVER in reader.ids:
        associate(reader.aws, reader.ids[OTHER_SERVER], SERVER_ROLE)
    return reader


def run_agents(reader: Reader) -> None:
    """Let all instances run the agent with the stored configuration."""
    for hosts in hosts_of(yaml.safe_load((reader.shell.work / "hosts.yml").read_text())["all"]):
        for host, variables in hosts.items():
            instance = variables["instance_id"]
            environment = reader.aws.agents(instance, cloudwatch_agent=True)[instance]["environment"]
            control = reader.aws.disk(instance) / AGENT_FOLDER / "bin" / AGENT_CONTROL
            reader.set(host, verify_agent_ctl=str(control), cwagent_apply_watch_seconds=1)
            keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
            command: list[str | Path] = [control, "-a", "fetch-config", "-m", "ec2", "-c", f"ssm:{PARAMETER}", "-s"]
            subprocess.run(command, env={**environment, **keys}, check=True, capture_output=True)


def test_a_changed_configuration_is_previewed_stored_applied_and_taken_back(states: States) -> None:
    reader = begin_page(states, "change_a_configuration")
    run_agents(reader)
    before, after = reader.compare_page("change_a_configuration")
    assert after["parameters"] == before["parameters"]
    kept = reader.aws.client("ssm").get_parameter_history(Name=PARAMETER)["Parameters"]
    found = [json.loads(each["Value"])["agent"]["metrics_collection_interval"] for each in kept]
    assert found == [60, 30, 60]


def test_a_fleet_gets_fitted_policies_and_goes_back(states: States) -> None:
    reader = begin_page(states, "fitted_policies")
    run_agents(reader)
    iam = reader.aws.client("iam")
    document = (CHECKOUT / "examples" / "policies" / "boundary.json").read_text()
    iam.create_policy(PolicyName="CloudWatchAgentBoundary", PolicyDocument=document)
    attached: list[list[str]] = []

    def note() -> None:
        found = iam.list_attached_role_policies(RoleName=SERVER_ROLE)["AttachedPolicies"]
        attached.append([each["PolicyName"] for each in found])

    before = snapshot(reader.aws)
    plays = reader.compare(marked("fitted_policies", "console", "text"), note)
    assert [policies for policies, _group in groupby(attached)] == [[SERVER_POLICY], [FITTED], [SERVER_POLICY]]
    _applied, predicted, done, _verified, narrowed, back, _deleted = plays
    assert narrowed.writes == ["LabelParameterVersion"]  # by the AWS CLI; nothing is left to narrow
    assert (predicted.writes, predicted.steps) == ([], done.steps)
    for play in (done, back):
        assert first_call(play, "AttachRolePolicy") < first_call(play, "DetachRolePolicy")
    [version] = reader.aws.client("ssm").get_parameter_history(Name=PARAMETER)["Parameters"]
    assert version["Labels"] == ["cwagent-applied"]
    after = snapshot(reader.aws)
    for kind in ("roles", "users"):
        was, has = ({name: each["policies"] for name, each in found[kind].items()} for found in (before, after))
        assert was == has
    assert [arn.rpartition("/")[2] for arn in after["customer_policies"]] == ["CloudWatchAgentBoundary"]


def test_a_current_key_stays_and_a_leaked_one_is_replaced(states: States) -> None:
    reader = begin_page(states, "rotate_keys")
    before, after = reader.compare_page("rotate_keys")
    [old] = before["users"][f"{SERVER_USER}-db-1"]["keys"]
    keys = after["users"][f"{SERVER_USER}-db-1"]["keys"]
    assert (keys[old], sorted(keys.values())) == ("Inactive", ["Active", "Inactive"])


def test_servers_are_removed(states: States) -> None:
    """Nothing of the servers that stay is touched."""
    reader, user = begin_page(states, "removal"), f"{SERVER_USER}-db-1"
    delivered = reader.aws.disk(reader.ids["db-1"]) / "root/.aws/credentials"
    assert reader.saved_key() in delivered.read_text()
    left = snapshot(reader.aws)
    refused, predicted, removed = reader.compare(marked("removal", "console", "text", section="remove_servers.yml"))
    assert (refused.writes, predicted.writes, predicted.changed_tasks) == ([], [], removed.changed_tasks)
    assert predicted.report[1:] == removed.report[1:]
    assert_complete_report(removed)
    del left["users"][user], left["associations"][reader.ids[OTHER_SERVER]]
    assert snapshot(reader.aws) == left
    assert not delivered.exists()
    saved = reader.controller.home / ".cwagent" / "credentials"
    assert [path.name for path in saved.iterdir()] == [f"{ADMIN_USER}.credentials"]
