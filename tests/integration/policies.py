"""The policies in examples/policies, the template made from them, and a user of the emulator that has some of them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from emulator import Emulator, program_environment
from guide import GUIDE, commands
from harness import CHECKOUT

POLICIES = CHECKOUT / "examples" / "policies"
PLACEHOLDERS = ("ROLE-OF-AN-EARLIER-PROFILE", "NAME-OF-AN-EARLIER-PROFILE", "NAME-OF-AN-APPLICATION-ROLE")

Policy = dict[str, Any]


def example(name: str) -> Policy:
    found: Policy = json.loads((POLICIES / f"{name}.json").read_text())
    return found


def filled(name: str, application: str) -> Policy:
    """A policy as used in an account: with the role of an application, whose instance is the admin instance."""
    text = (POLICIES / f"{name}.json").read_text()
    for placeholder in PLACEHOLDERS:
        text = text.replace(placeholder, application)
    found: Policy = json.loads(text.replace("ID-OF-THE-ADMIN-INSTANCE", "*"))
    return found


@cache
def controller_role() -> str:
    """Return the CloudFormation template that the command of the page makes, with the files of the checkout."""
    installed = "~/.ansible/collections/ansible_collections/cwagent/iam/"
    [command] = [each.text for each in commands(GUIDE / "many_accounts.rst") if "controller-role.yml.j2" in each.text]
    program = shlex.split(command.replace(installed, f"{CHECKOUT}/"))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(program, cwd=folder, env=program_environment(), check=True, capture_output=True)
        return (Path(folder) / "controller-role.yml").read_text()


@cache
def stack_set_parameters() -> dict[str, str]:
    """Return the parameters in the command of the page that creates the stack set."""
    [command] = [each.text for each in commands(GUIDE / "many_accounts.rst") if "create-stack-set " in each.text]
    return dict(re.findall(r"ParameterKey=(\w+),ParameterValue=(\S+)", command))


def actions(document: Policy) -> set[str]:
    return {action for statement in document["Statement"] for action in _listed(statement["Action"])}


def without(document: Policy, *removed: str) -> Policy:
    kept = [
        {**statement, "Action": left}
        for statement in document["Statement"]
        if (left := [action for action in _listed(statement["Action"]) if action not in removed])
    ]
    return {**document, "Statement": kept}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def permit(aws: Emulator, *documents: Policy) -> None:
    """Replace the policies of the controller's user."""
    statements = [statement for document in documents for statement in document["Statement"]]
    document = {"Version": "2012-10-17", "Statement": statements}
    aws.client("iam").put_user_policy(UserName="controller", PolicyName="duty", PolicyDocument=json.dumps(document))
