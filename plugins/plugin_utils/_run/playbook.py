# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects the input of a playbook's run. ``interpretation.py`` interprets it."""

from __future__ import annotations

import os
from collections import ChainMap
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.yaml import yaml_load
from ansible.template import Templar
from ansible.utils.vars import load_extra_vars

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._ground.text import to_summary
from ...module_utils._principals.policies import SERVER_POLICIES
from .._connections.terminal import say
from .._report.accounts import Account, skip_reason
from .accounts import ACCOUNT, ACCOUNT_VARIABLES, account_of, found_line
from .ansible_core import check_ansible_core
from .given import ACCOUNTS, GROUPS, REQUIREMENTS, RESTORE, Given
from .interpretation import interpret
from .settings import OF_STORING, role_options, shared_setting
from .task import OTHER_VARIABLES, check_facts, evaluate
from .values import ENVIRONMENTS, check_role, misspelled_variables
from .variables import BATCH_SIZE, ENVIRONMENT, declared_options, find_role_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from ansible.parsing.dataloader import DataLoader


COLLECTION = Path(__file__).parents[3]
SPEC = COLLECTION / "playbooks" / "vars" / "argument_specs.yml"
# The files with the variables of roles.
SETTINGS = ("principals", "delivery", "audit_and_verify")
OUR_GROUPS = (*GROUPS, ACCOUNTS)
# The options of a task of a playbook; the module has their documentation.
OPTIONS: dict[str, Any] = {
    "requires": {
        "type": "list",
        "elements": "str",
        "choices": REQUIREMENTS,
        "default": [],
    },
    "found": {"type": "dict"},
    "server_policy": {"type": "str", "choices": SERVER_POLICIES},
    "check_max_fail_percentage": {"type": "bool", "default": False},
}


@dataclass(frozen=True)
class PlaybookInputs:
    """The input of a run, for the task of a playbook.

    :param variables: the variables of the task.
    :param options: the options of the task.
    :param loader: reads the files that templates refer to.
    :param warn: shows a warning.
    """

    variables: Mapping[str, Any]
    options: Mapping[str, Any]
    loader: DataLoader
    warn: Callable[[str], None]

    def read(self) -> dict[str, Any]:
        """Interpret the variables of the controller and of the hosts in the collection's groups, or skip the account.

        :raises InvalidInput: with all problems of the input.
        """
        variables, options = self.variables, self.options
        if options["check_max_fail_percentage"]:
            reason = self._skip_reason()
            return {"failed": True, "msg": reason} if reason else {}
        _check_run(variables, load_extra_vars(self.loader))
        check_facts(_facts(variables), set_by_playbooks(declared_options(_read(SPEC))))
        run = interpret(self._collect(variables))
        problems = [*run.problems, *self._problems_of_roles(variables)]
        if problems and RESTORE not in options["requires"]:
            # The result leaves out the input and the problems, because the message has all of them.
            raise InvalidInput(self._message(problems))
        for notice in run.notices:
            self.warn(notice)
        if options["found"] is not None:
            say(variables["inventory_hostname"], found_line(options["found"]))
        return replace(run, problems=problems).record()

    def _skip_reason(self) -> str:
        """Return why the account is skipped, from the variables of the hosts that stand for all accounts."""
        names, active = self.variables["ansible_play_hosts_all"], self.variables["ansible_play_hosts"]
        hostvars = self.variables["hostvars"]
        accounts = [Account(name, hostvars.raw_get(name), is_finished=name in active) for name in names]
        return skip_reason(accounts, self.variables["inventory_hostname"])

    def _message(self, problems: list[str]) -> str:
        """Return the problems in one text. Only the first account lists the problems that it shares with others."""
        variables = self.variables
        first = variables["ansible_play_hosts_all"][0]
        if first == variables["inventory_hostname"] or self.options["found"] is not None:
            return " ".join(problems)
        of_first = self._collect(variables["hostvars"].raw_get(first) | {"hostvars": variables["hostvars"]})
        others = [*interpret(of_first).problems, *self._problems_of_roles({**variables, "inventory_hostname": first})]
        own = [each for each in problems if each not in others]
        return " ".join(own or [f"The same as for {first}: {to_summary(problems)}"])

    def _problems_of_roles(self, variables: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with variables of the roles that the playbooks leave to the user."""
        set_by_user = variables["hostvars"].raw_get(variables["inventory_hostname"])
        refused = set_by_playbooks(declared_options(_read(SPEC)))
        templar, problems = Templar(loader=self.loader, variables=variables), []
        for role in sorted((COLLECTION / "roles").iterdir()):
            known = role_options(role)
            options = {name: known[name] for name in known if name in set_by_user and name not in refused}
            values = evaluate(variables, options, templar)
            problems += misspelled_variables(role.name, set_by_user, known)
            problems += check_role(options, values)
        return problems

    def _collect(self, variables: Mapping[str, Any]) -> Given:
        options = declared_options(_read(SPEC))
        hostvars, controller = variables["hostvars"], variables["inventory_hostname"]
        groups = {group: list(hosts) for group, hosts in variables["groups"].items()}
        raw = {host: hostvars.raw_get(host) for host in _members(groups)}
        role_variables = set_by_playbooks(options)
        # Unlike the variables of the task, these exclude the variables that the playbook sets.
        set_by_user = {name for each in (hostvars.raw_get(controller), *raw.values()) for name in each}
        inventories = (each.get("inventory_dir") for each in (variables, *raw.values()))
        accounts: dict[str, Any] = {}
        unassigned: dict[str, Any] = {}
        if controller in groups.get(ACCOUNTS, ()):
            names = (ACCOUNT, BATCH_SIZE, *ACCOUNT_VARIABLES)
            named = {host: self._host_variables(each, hostvars, names) for host, each in raw.items()}
            accounts = {host: named[host] for host in groups[ACCOUNTS]}
            stated = {host: each.get(ACCOUNT) for host, each in named.items() if host not in accounts}
            own_account = {host: account_of(each, accounts) for host, each in stated.items()}
            unassigned = {host: stated[host] for host, account in own_account.items() if not account}
            raw = {host: each for host, each in raw.items() if controller in (host, own_account.get(host))}
            groups.update({group: [host for host in groups.get(group, ()) if host in raw] for group in OUR_GROUPS})
        # A localhost that is not in the inventory has no inventory_dir. For an inventory without a file, it is "None".
        places = map(str, (Path.cwd(), *inventories, variables.get("playbook_dir")))
        folders = [Path(folder) for folder in dict.fromkeys(places) if Path(folder).is_absolute()]
        policy = self.options["server_policy"]
        chosen = {"cwagent_server_policy": policy} if policy else {}
        given = Given(
            options=options,
            controller={**_evaluate_input(variables, Templar(loader=self.loader, variables=variables)), **chosen},
            controller_host=controller,
            hosts={host: self._host_variables(each, hostvars) for host, each in raw.items()},
            groups=groups,
            find_default_region=_default_region,
            find_file=str,
            to_absolute=lambda path: str(_expand(path).absolute()),
            requires=self.options["requires"],
            limit=_limit(variables),
            in_awx=_in_awx(variables),
            accounts=accounts,
            unassigned=unassigned,
            found=self.options["found"],
            role_variables={name: role_variables[name] for name in sorted(role_variables.keys() & set_by_user)},
        )
        return replace(given, find_file=lambda path: _find_file(path, folders)) if given.stores else given

    def _host_variables(
        self, raw: Mapping[str, Any], hostvars: Any, names: Iterable[str] | None = None
    ) -> dict[str, Any]:
        templar = Templar(loader=self.loader, variables={**raw, "hostvars": hostvars})
        return _evaluate_input(raw, templar) if names is None else evaluate(raw, names, templar)


def _check_run(variables: Mapping[str, Any], extra_variables: Collection[str] = ()) -> None:
    """Refuse a version of ansible-core that is not supported, and a run that leaves out tasks or sets our variables."""
    requires = yaml_load((COLLECTION / "meta" / "runtime.yml").read_text(encoding="utf-8"))["requires_ansible"]
    check_ansible_core(variables["ansible_version"]["full"], requires, in_awx=_in_awx(variables))
    if _leaves_tasks_out(variables):
        raise InvalidInput("The plays of this playbook depend on each other. Run it without tags and skipped tags.")
    roles = (path.name for path in (COLLECTION / "roles").iterdir())
    ours = tuple(f"__{name}_" for name in ("cwagent", *roles))
    # Variables of the command outrank everything, such as the requirements of a playbook.
    if internal := sorted(name for name in extra_variables if name.startswith(ours)):
        raise InvalidInput(f"{', '.join(internal)}: the collection sets such variables. Remove them from the command.")


def _members(groups: Mapping[str, Collection[str]]) -> list[str]:
    """Return the hosts in the groups of the collection, each once."""
    return list(dict.fromkeys(host for group in OUR_GROUPS for host in groups.get(group, ())))


def _facts(variables: Mapping[str, Any]) -> dict[str, Mapping[str, object]]:
    """Return the facts of the hosts whose variables are input."""
    hosts = [variables["inventory_hostname"], *_members(variables["groups"])]
    return {host: variables["hostvars"].raw_get(host).get("ansible_facts", {}) for host in hosts}


def set_by_playbooks(options: Collection[str]) -> dict[str, str]:
    """Return the variables of roles that are not the user's to set, as ``find_role_variables`` does."""
    files = [_read(SPEC.parent / f"{name}.yml") for name in SETTINGS]
    of_settings = {
        variable: setting
        for role in (COLLECTION / "roles").iterdir()
        for variable in role_options(role)
        if (setting := shared_setting(role.name, variable))
    }
    of_storing = {**dict.fromkeys(OF_STORING, ""), **dict.fromkeys(ENVIRONMENTS, ENVIRONMENT)}
    return {**find_role_variables(dict(ChainMap(*files)), options), **of_storing, **of_settings}


@cache
def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml_load(path.read_text(encoding="utf-8"))
    return found


def _in_awx(variables: Mapping[str, Any]) -> bool:
    return "awx_job_id" in variables


def _limit(variables: Mapping[str, Any]) -> Collection[str] | None:
    """Return the hosts that ``--limit`` leaves; ``None`` without one."""
    if not variables.get("ansible_limit"):
        return None
    # The controller, which this runs on, need not be in the inventory.
    # A limit can be a file, which no lookup reads. The restrictions are the hosts of this play.
    hosts = variables["hostvars"]._inventory.get_hosts(ignore_restrictions=True)
    return frozenset({variables["inventory_hostname"], *(host.name for host in hosts)})


def _leaves_tasks_out(variables: Mapping[str, Any]) -> bool:
    """Return whether ``--tags`` or ``--skip-tags`` leave out tasks. The playbooks define no tags."""
    runs = set(variables.get("ansible_run_tags", ["all"])) & {"all", "untagged"}
    return not runs or bool(set(variables.get("ansible_skip_tags", [])) & {"all", "always", "tagged", "untagged"})


def _evaluate_input(variables: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    names = [name for name in variables if name.startswith("cwagent_") or name in OTHER_VARIABLES]
    return evaluate(variables, names, templar)


def _default_region(profile: str) -> str:
    """Return the region that the AWS tools use on the controller, from the environment or else from the profile.

    :param profile: empty for the default profile.
    """
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if named:
        return named
    try:
        from botocore import exceptions, session  # noqa: PLC0415  takes a tenth of a second, and is seldom needed
    except ImportError:
        return ""
    try:
        return session.Session(profile=profile or None).get_config_variable("region") or ""
    except exceptions.BotoCoreError as error:
        if profile:
            return _default_region("")  # the task that uses the profile reports the problem
        raise InvalidInput(f"The AWS configuration cannot be read: {str(error).rstrip('.')}.") from error


def _find_file(path: str, folders: list[Path]) -> str:
    """Find a file where the command was given, beside the inventory or beside the playbook. :returns: its path."""
    places = [folder / _expand(path) for folder in folders]
    found = next((each for each in places if _holds(each.is_file)), None)
    if found is None:
        if other := next((each for each in places if _holds(each.exists)), None):
            raise InvalidInput(f"{other} is not a regular file.")
        # Nobody keeps a file beside the playbooks of the installed collection. A project can have a copy of them.
        shown = [str(each) for each in folders if each.resolve() != SPEC.parents[1].resolve()]
        raise InvalidInput(f"there is no file {path} in {', '.join(shown or map(str, folders))}.")
    return str(found.absolute())


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # the name is too long, or a folder must not be read
        return False


def _expand(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidInput(f"{path}: the home directory is not known.") from error
