"""Reads the pages of the guide: their code blocks and sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.variables import declared_options

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "docsite" / "rst"
README = ROOT / "README.md"
COLLECTION = "ansible_collections.cwagent.iam"
PAGES = [README, *sorted(GUIDE.glob("*.rst"))]

RUN_BY_TEST = "run-by-test"
AGENT = "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
WINDOWS_AGENT = r'& "$Env:ProgramFiles\Amazon\AmazonCloudWatchAgent\amazon-cloudwatch-agent-ctl.ps1" -a fetch-config'
NOT_RUN = {
    "it downloads what is not ours": [
        "pip install boto3",
        "pip install ansible boto3",
        "ansible-galaxy collection install awx.awx:24.6.1",
    ],
    "it needs Docker or Podman, and a registry": [
        "ansible-builder build --tag registry.example.com/ops/cwagent:1.0.0",
        "podman push registry.example.com/ops/cwagent:1.0.0",
    ],
    "it needs a repository of the reader": [
        "git init --initial-branch=main",
        "git add .",
        'git commit --message "Add the project for AWX"',
        "git remote add origin https://git.example.com/ops/cwagent.git",
        "git push --set-upstream origin main",
    ],
    "it needs AWX, of which test_awx_setup.py has a model": [
        "ansible-playbook awx/credential_type.yml",
        "ansible-playbook awx/setup.yml",
        "ansible-playbook awx/setup.yml -e awx_state=absent",
        "ansible-playbook awx/setup.yml -e awx_collection=ansible.controller",
    ],
    "it needs stack sets; test_organization.py creates the stack in the accounts of an organization": [
        """\
aws cloudformation create-stack-set --stack-set-name cwagent-controller-role \\
    --template-body file://controller-role.yml --capabilities CAPABILITY_NAMED_IAM \\
    --permission-model SERVICE_MANAGED \\
    --auto-deployment Enabled=true,RetainStacksOnAccountRemoval=false \\
    --parameters ParameterKey=ControllerArn,ParameterValue=arn:aws:iam::123456789012:role/Controller \\
    ParameterKey=ExternalId,ParameterValue=of-the-controller \\
    ParameterKey=StoreByRunCommandByTag,ParameterValue=true""",
        """\
aws cloudformation create-stack-instances --stack-set-name cwagent-controller-role \\
    --deployment-targets OrganizationalUnitIds=ou-ab12-11111111 --regions us-east-1""",
    ],
    "it runs on a server, as root, with the agent": [
        "dnf install -y amazon-cloudwatch-agent",
        f"{AGENT} -a fetch-config -m ec2 -s -c ssm:AmazonCloudWatch-linux:stable",
        f"sudo {AGENT} -a fetch-config -m ec2 -s -c ssm:AmazonCloudWatch-linux",
        f"sudo {AGENT} -a fetch-config -m ec2 -c ssm:AmazonCloudWatch-linux",
        f"sudo {AGENT} -a append-config -m ec2 -s -c ssm:AmazonCloudWatch-databases",
    ],
    "ministack does not have UnlabelParameterVersion": [
        "aws ssm unlabel-parameter-version --name AmazonCloudWatch-linux --parameter-version 7 --labels old",
        "aws ssm unlabel-parameter-version --name AmazonCloudWatch-linux --parameter-version 1 --labels refresh",
    ],
    "no emulator has CloudTrail": [
        f"""\
aws cloudtrail lookup-events --region {region} \\
    --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=AKIAIOSFODNN7EXAMPLE"""
        for region in ("us-east-1", "eu-central-1")
    ],
    "it runs on Windows": [
        f"{WINDOWS_AGENT} -m ec2 -s -c ssm:AmazonCloudWatch-windows",
        f"{WINDOWS_AGENT} -m onPremise -s -c ssm:AmazonCloudWatch-windows",
        (
            r'icacls "$Env:ProgramData\Amazon\AmazonCloudWatchAgent\cwagent.credentials"'
            r' /inheritance:r /grant "SYSTEM:R" "Administrators:F"'
        ),
    ],
    "make report-tests runs it": ["make -C iam demo"],
    "it needs an account of AWS; test_live.py runs it with an emulator": ["make live", "make live REMOVE=1"],
}
"""By reason, the commands of the pages that no test runs as they are. The journeys of the guide run all others."""
_RST = re.compile(r"^( *)\.\. code-block:: *(\S+)\n((?: *:.*\n)*)\n((?:\1 +\S.*\n|[ \t]*\n)+)", re.MULTILINE)
_MARKDOWN = re.compile(r"^( *)```(\S+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


SHELLS = ("console", "sh", "shell", "powershell")


@dataclass(frozen=True)
class Place:
    """A line of a page."""

    page: str
    line: int

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command(Place):
    """A command of a page, without its prompt. :param marked: whether its block is marked as run by a test."""

    text: str
    marked: bool = False


@dataclass(frozen=True)
class Block(Place):
    """A code block. :param marked: whether the page marks it as run by a test."""

    language: str
    text: str
    marked: bool = False


def sections(page: Path) -> dict[str, str]:
    """Return the text of each section of a page in reStructuredText, by title."""
    parts = re.split(r"^(.+)\n-+\n", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """Return the code blocks of a page, in reStructuredText or Markdown. :param text: a part of the page."""
    text = page.read_text() if text is None else text
    found = _MARKDOWN.finditer(text) if page.suffix == ".md" else _RST.finditer(text)
    return [_block(page.name, text[: match.start()], match) for match in found]


def commands(page: Path) -> list[Command]:
    """Return the commands of a page, in its order. A command ends with a line that does not end with a backslash."""
    found = []
    for block in blocks(page):
        if block.language in SHELLS:
            for number, text in _whole_lines(block.text):
                prompt = "$ " if block.language == "console" else ""
                if text.startswith(prompt):  # the other lines of a console are output
                    found.append(Command(page.name, block.line + number, text.removeprefix(prompt), block.marked))
    return found


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text with the number of each, without comments, and with those that continue it."""
    number = 0
    for line in re.findall(r"(?:.*\\\n)*.*\n", text):
        if line.strip() and not line.startswith("#"):
            yield number, line.rstrip()
        number += line.count("\n")


def _block(page: str, before: str, match: re.Match[str]) -> Block:
    lines = match[match.lastindex or 0].rstrip().splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    content = "".join(f"{line[indent:]}\n" for line in lines)
    marked = re.search(rf"\n *\.\. {RUN_BY_TEST}$", before.rstrip()) is not None
    # Without the directive, its options and the empty line after it.
    line = (before + match[0]).rstrip().count("\n") + 2 - content.count("\n") - (page.endswith(".md"))
    return Block(page, line, match[2], content, marked)


_OVERVIEW = (GUIDE / "playbooks.rst").read_text()
PLAYBOOKS = dict(
    re.findall(rf"^   \* - :ref:`(\w+\.yml) <{re.escape(COLLECTION)}\.docsite\.(\w+)", _OVERVIEW, re.MULTILINE)
)
"""By playbook, the name of its page, in the order of the overview."""
PLAYBOOK_PAGES = [GUIDE / f"{name}.rst" for name in dict.fromkeys(PLAYBOOKS.values())]
PLAYS = {"hosts", "import_playbook", "ansible.builtin.import_playbook"}
"""A play has one of these keys, which a task does not have."""


def is_playbook(content: Any) -> bool:
    """Return whether the content of a YAML block is a list of plays."""
    return isinstance(content, list) and all(PLAYS & each.keys() for each in content)


def playbook_options() -> dict[str, Any]:
    """Return the variables of the playbooks, by name."""
    return declared_options(yaml.safe_load((ROOT / "playbooks" / "vars" / "argument_specs.yml").read_text()))
