"""The collection as its users get it, outside of the checkout, and people who follow the pages with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from checkout import make_repository
from emulator import Emulator, program_environment
from emulator.snapshot import snapshot
from forks import on_path
from guide import GUIDE, NOT_RUN, Block, Command, blocks, commands, sections
from harness import LOCAL_CONNECTION, SERVER_USER, Controller, Play
from states import States

BUILT = tempfile.TemporaryDirectory(prefix="cwagent-published-")
HOMEPAGE = "https://github.com/cwagent/iam"
INSTALL = f"ansible-galaxy collection install git+{HOMEPAGE}"
EXCLUDED = {text for texts in NOT_RUN.values() for text in texts}
EXAMPLE_KEY = "AKIAIOSFODNN7EXAMPLE"
SETUP = re.compile(r"(export|cd|cp|mkdir) ")
"""The commands that a person runs again on each page, because later commands of the page need them."""
ROOT_USER = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
PROFILES = {"my-profile": "test", "my-test-account": "test", "shop": "test", "bank": "222222222222"}
"""The access key ID of each profile on the pages. An ID of 12 digits belongs to another account."""


@cache
def repository() -> Path:
    """A git repository with the files of the checkout."""
    folder = Path(BUILT.name) / "repository"
    make_repository(folder)
    return folder


@cache
def tarball() -> Path:
    """The tarball of that repository."""
    folder = Path(BUILT.name) / "tarball"
    command: list[str | Path] = ["ansible-galaxy", "collection", "build", "--output-path", folder]
    subprocess.run(command, cwd=repository(), env=program_environment(), check=True, capture_output=True)
    [built] = folder.iterdir()
    return built


def normalized(output: str) -> str:
    """Output without times, ages, ids of access keys, and the width of the terminal."""
    for pattern in (r"(?<=\*\*\*)\*+", r"(?<=AKIA)\w{16}", r"\b\d+(?= min\b)", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"):
        output = re.sub(pattern, "", output)
    return " ".join(output.split())


def assert_shown(on_page: str, output: str, ids: Mapping[str, str]) -> None:
    """Assert that a run printed what a page shows, except where the page has a line with three dots.

    :param ids: the IDs of the instances, by the IDs on the page.
    """
    for shown, real in ids.items():
        output = output.replace(real, shown)
    rest = normalized(output)
    for piece in filter(None, map(normalized, re.split(r"^\.\.\.$", on_page, flags=re.MULTILINE))):
        _, found, rest = rest.partition(piece)
        assert found, f"{piece}\nis not in\n{output}"


@dataclass(frozen=True)
class Shell:
    """A shell on the controller. It keeps the exported variables and the folder for the next command."""

    controller: Controller
    name: str = "shell"

    @property
    def work(self) -> Path:
        """The folder in which it begins."""
        return self.controller.home / "work"

    def prepare(self) -> None:
        """Write the files of a user of AWS and git, and make the repository of the collection reachable."""
        self.work.mkdir()
        home = self.controller.home
        (home / ".gitconfig").write_text(f'[url "file://{repository()}"]\n\tinsteadOf = {HOMEPAGE}\n')
        (home / ".aws").mkdir()
        self.log_in(ROOT_USER)

    def log_in(self, user: Mapping[str, str]) -> None:
        """Give the default profile the access key of a user, in environment variables."""
        profiles = {f"profile {name}": {**ROOT_USER, "AWS_ACCESS_KEY_ID": key} for name, key in PROFILES.items()}
        lines = []
        for name, keys in {"default": user, **profiles}.items():
            lines += [f"[{name}]", f"region = {self.controller.aws.region}"]
            lines += [f"{key.lower()} = {value}" for key, value in keys.items()]
        (self.controller.home / ".aws" / "config").write_text("\n".join([*lines, ""]))

    def write(self, name: str, content: object) -> None:
        """Write a file. Content that is not text is written as JSON, which is also YAML."""
        path = self.work / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def run(self, command: str) -> Play:
        """Run a command exactly as it is on a page."""
        state = self.controller.home / f"{self.name}.state"
        script = "\n".join(
            [
                f'test ! -e "{state}" || . "{state}"',
                command,
                f'{{ status=$?; export -p; echo "cd \\"$PWD\\""; }} >"{state}"',
                "exit $status",
            ]
        )
        return self.controller.run(["bash", "-c", script], self._environment(), self.work)

    def _environment(self) -> dict[str, str]:
        # The account comes from a profile, and collections from the home, and neither from the environment.
        removed = ("ANSIBLE_HOME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")
        files = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
        # The AWS CLI has its own virtual environment, whose Python is not for Ansible.
        after = str(Path(os.environ.get("AWS_CLI", "")).parent)
        path = os.pathsep.join([str(on_path.folder()), program_environment()["PATH"], after])
        # Without a server, nothing that is not installed could be downloaded.
        return {**dict.fromkeys((*removed, *files), ""), "PATH": path, "ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:9"}


@dataclass(frozen=True)
class Reader:
    """A person who follows the pages with their own servers. All servers are this machine.

    :param entered: the inventories into which the person has entered the servers.
    :param ids: the IDs of the instances, by the IDs on the pages.
    """

    controller: Controller
    entered: set[Path] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    @property
    def shell(self) -> Shell:
        return Shell(self.controller)

    def write_inventory(self, inventory: Mapping[str, Any]) -> None:
        """Write ``hosts.yml`` of a page, and enter the servers."""
        self.shell.write("hosts.yml", inventory)
        self.entered.discard(self.shell.work / "hosts.yml")
        self.enter_servers()

    def enter_servers(self) -> None:
        """Launch the instances of new inventories, enter their IDs, and let Ansible reach the servers."""
        for path in set(self.shell.work.glob("*hosts.yml")) - self.entered:
            self.entered.add(path)
            inventory = yaml.safe_load(path.read_text())
            for hosts in hosts_of(inventory["all"]):
                for host, given in hosts.items():
                    hosts[host] = variables = given or {}
                    region = {**inventory["all"]["vars"], **variables}["cwagent_region"]
                    shown = variables.get("instance_id", host)
                    if shown not in self.ids:
                        [self.ids[shown]] = self.aws.instances(1, region=region)
                    if is_ec2 := "instance_id" in variables:
                        variables["instance_id"] = self.ids[shown]
                    self.shell.write(f"host_vars/{host}.yml", self._server(self.ids[shown], is_ec2))
            self.shell.write(path.name, inventory)
            self.shell.write("group_vars/all.yml", {**LOCAL_CONNECTION, "ansible_become": False})

    def set(self, host: str, **variables: Any) -> None:
        """Change variables of a server."""
        path = self.shell.work / "host_vars" / f"{host}.yml"
        self.shell.write(f"host_vars/{host}.yml", {**yaml.safe_load(path.read_text()), **variables})

    def _server(self, instance: str, is_ec2: bool) -> dict[str, Any]:
        """The variables of a server. An on-premises server has the disk of an instance that is no server."""
        found = self.aws.agents(instance)[instance]
        disk = Path(found["disk"])
        keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        environment = {**found["environment"], **keys, "HOME": f"{disk}/root"}
        if is_ec2:
            # This machine is the instance, too, and its modules inherit the name of the person's AWS profile.
            config = str(self.controller.home / ".aws" / "config")
            return {"cwagent_environment": {**environment, "AWS_CONFIG_FILE": config}}
        # No agent is installed, so Ansible looks for the key where the AWS CLI does.
        (disk / "root/.aws").mkdir(exist_ok=True)
        return {
            "cwagent_environment": environment,
            "cwagent_deliver_keys": True,
            "onprem_credentials_file": str(disk / "root/.aws/credentials"),
            "onprem_credentials_common_config": str(disk / "root/.aws/common-config.toml"),
        }

    def saved_key(self) -> str:
        """The access key that is saved for db-1, or else the key of the pages."""
        saved = self.controller.home / ".cwagent" / "credentials" / f"{SERVER_USER}-db-1.credentials"
        key = re.search(r"AKIA\w+", saved.read_text() if saved.exists() else "")
        return key[0] if key else EXAMPLE_KEY

    def follow(self, page: Path, chosen: Callable[[Command], bool]) -> list[Play]:
        """Run the commands of a page in a new shell. Where one writes a file, the person enters their own servers.

        The access key of the page stands for the key that is saved for db-1 before the first command.
        """
        shell, key = Shell(self.controller, page.stem), self.saved_key()
        plays = []
        for command in commands(page):
            if command.text in EXCLUDED or not (chosen(command) or SETUP.match(command.text)):
                continue
            play = shell.run(command.text.replace(EXAMPLE_KEY, key))
            assert play.code == 0, f"{command}: {command.text}\n{play.output}"
            assert "Traceback" not in play.output, play.output
            plays.append(play)
            self.enter_servers()
        return plays

    def compare(self, found: Sequence[Block], before: Callable[[], object] = lambda: None) -> list[Play]:
        """Run commands of a page. If the next block is output, the command prints that.

        :param found: blocks with a command or with output. :param before: is called before each command.
        """
        key, plays = self.saved_key(), []
        for command, after in pairwise([*found, found[0]]):
            if command.language == "console":
                before()
                shown = after.text if after.language == "text" else ""
                play = self.shell.run(re.sub(r"^\$ ", "", command.text, flags=re.MULTILINE).replace(EXAMPLE_KEY, key))
                assert (play.code != 0) is ("[ERROR]" in shown), f"{command}\n{play.output}"
                assert "Traceback" not in play.output, play.output
                assert_shown(shown, play.output, self.ids)
                plays.append(play)
        return plays

    def compare_page(self, page: str, section: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run the marked commands of a page or a section. :returns: the account before and afterwards."""
        before = snapshot(self.aws)
        self.compare(marked(page, "console", "text", section=section))
        return before, snapshot(self.aws)


def hosts_of(group: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The hosts of a group and of each group below it, with their variables."""
    if "hosts" in group:
        yield group["hosts"]
    for child in group.get("children", {}).values():
        yield from hosts_of(child)


def marked(page: str, *languages: str, section: str | None = None) -> list[Block]:
    """The blocks in these languages that a page or one of its sections marks as run by a test."""
    path = GUIDE / f"{page}.rst"
    found = blocks(path, sections(path)[section] if section else None)
    return [block for block in found if block.marked and block.language in languages]


def content(page: str, language: str = "yaml", section: str | None = None) -> Any:
    """The content of the only marked block in a language, on a page or in one of its sections."""
    [block] = marked(page, language, section=section)
    return yaml.safe_load(block.text)


def installed(states: States) -> Reader:
    """A person who has installed the collection, and has the configuration of the page getting_started."""
    reader = Reader(states.controller)
    reader.shell.prepare()
    reader.shell.run(INSTALL).assert_succeeded()
    [configuration] = marked("getting_started", "json")
    reader.shell.write("linux.json", configuration.text)
    return reader
