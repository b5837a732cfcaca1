"""Every command of the README and of the page for many accounts works. test_docs_commands.py tests the guide's."""

from __future__ import annotations

import os

import pytest
from emulator.snapshot import associated_profiles, snapshot
from guide import GUIDE, README, blocks
from harness import ADMIN_ROLE, SERVER_ROLE, Controller
from published import INSTALL, Reader
from test_organization import Organization

pytestmark = pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make integration sets it up")

GROWING = GUIDE / "growing.rst"


def test_the_readme_leads_from_nothing_to_the_removal(controller: Controller) -> None:
    reader = Reader(controller)
    reader.shell.prepare()
    reader.shell.run(INSTALL).assert_succeeded()
    [inventory] = [block.text for block in blocks(README) if block.language == "yaml"]
    reader.shell.write("hosts.yml", inventory)
    reader.enter_servers()
    plays = reader.follow(README)
    written = [call for play in plays for call in play.calls if call.action == "PutParameter"]
    assert {call.principal.split("/")[1] for call in written} == {ADMIN_ROLE}
    after = snapshot(controller.aws)
    assert (after["roles"], after["users"], any(after["parameters"].values())) == ({}, {}, False)


def test_every_command_for_many_accounts_works(controller: Controller) -> None:
    """It needs a separate account, because no inventory lists the instances that it associates with a profile."""
    aws = controller.aws
    organization = Organization(controller)
    organization.account("shop", organization.unit("Workloads"))
    organization.deploy("shop")
    reader = Reader(controller)
    reader.shell.prepare(organization.user)
    reader.shell.run(INSTALL).assert_succeeded()
    texts = [block.text for block in blocks(GROWING) if block.language == "yaml"][-3:]
    for name, text in zip(("accounts.yml", "monitored.yml", "accounts.organization.yml"), texts, strict=True):
        reader.shell.write(name, text)
    ids = {region: aws.instances(1, region=region)[0] for region in ("eu-central-1", "us-east-1")}
    for region, instance in ids.items():
        aws.client("ec2", region).create_tags(Resources=[instance], Tags=[{"Key": "monitored", "Value": "true"}])
    reader.follow(GROWING)
    assert {region: associated_profiles(aws, region) for region in ids} == {
        region: {instance: SERVER_ROLE} for region, instance in ids.items()
    }
