# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the variables of a role. ``values.py`` decides which values are valid."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.utils.vars import load_extra_vars

from ...module_utils._ground.errors import InvalidInput
from .._report.files import ROLE_FORMATS, sort_by_format
from .checks import check_role_key_store
from .settings import (
    IN_OUR_PLAY,
    OF_HOST,
    READ,
    find_shared_value,
    instances_of,
    items_of_host,
    plan_call,
    playbook_options,
    read_defaults,
    read_specs,
    role_options,
    shared_options,
    shared_setting,
)
from .task import check_facts, evaluate, evaluate_value
from .values import CONFIGS_OF_ROLE, ENVIRONMENTS, Problems, check_role, is_blank, misspelled_variables, to_typed
from .variables import ENVIRONMENT, unknown_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


# The options of a task of a role; the module has their documentation.
OPTIONS: dict[str, Any] = {
    "entry_point": {"type": "str", "default": "main"},
    "collect": {"type": "bool", "default": False},
}


# The host variable that roles read themselves.
REGION = "cwagent_region"
# Ansible imports this file once, before the workers of all hosts are forked from its process.
_SECRET = secrets.token_bytes()


@dataclass(frozen=True)
class RoleInputs:
    """The input of a role, for its own task.

    :param task: identifies the task, for all hosts on which it runs.
    :param variables: the variables of the task.
    :param options: the options of the task.
    :param connection: the options, the environment and the ``module_defaults`` with which the tasks of the role call
        AWS. They can be secret.
    :param templar: knows the variables.
    :param warn: shows a warning.
    :param extra_variables: the variables of the command, which every role sees.
    """

    task: str
    variables: Mapping[str, Any]
    options: Mapping[str, Any]
    connection: Sequence[Mapping[str, Any]]
    templar: Any
    warn: Callable[[str], None]
    extra_variables: Collection[str] = ()

    def read(self) -> dict[str, Any]:
        """Check the variables against the role's argument specs, without making lists of text, or collect the hosts.

        :raises InvalidInput: with all problems of the variables.
        """
        path, variables = Path(self.variables["role_path"]), self.variables
        if self.options["collect"]:
            return {"role": path.name, **_collect(variables)}
        specs = read_specs(path)
        spec = {**specs[self.options["entry_point"]]["options"], **shared_options(path)}
        known = role_options(path)
        check_facts({variables["inventory_hostname"]: variables.get("ansible_facts", {})}, known)
        values = evaluate(variables, spec, self.templar)
        found: dict[str, Any] = {}
        problems = misspelled_variables(path.name, variables, known)
        problems += unknown_settings(variables, playbook_options()) + check_role(spec, values)
        shared, of_settings = self._shared_values(path.name, [name for name in spec if is_blank(values.get(name))])
        problems += of_settings
        values = {name: each["default"] for name, each in spec.items() if "default" in each} | values | shared
        if CONFIGS_OF_ROLE in spec and values.get(CONFIGS_OF_ROLE) is None and not problems:
            remark = " Only the playbooks read cwagent_config_file." if "cwagent_config_file" in variables else ""
            problems.append(f"{CONFIGS_OF_ROLE} or cwagent_configs is required.{remark}")
        if not problems:
            problems = _key_store_problems(path.name, spec, values)
        if not problems and f"{path.name}_report_files" in spec:
            found["report_files"], problems = self._report_files(path.name, spec, values)
        if not problems:
            problems = _missing_regions(path.name, spec, values)
        if problems:
            raise InvalidInput(" ".join(problems))
        self._report_ineffective(path.name, known)
        if path.name in OF_HOST:
            found |= self._of_host(path, spec, values)
        return found

    def _report_ineffective(self, role: str, known: Iterable[str]) -> None:
        """Show the settings of the command that the role does not use. They can be for other roles."""
        if IN_OUR_PLAY in self.variables:
            return
        used = {REGION, *(ENVIRONMENT for name in known if name in ENVIRONMENTS)}
        used |= {shared_setting(role, name) for name in known}
        for name in sorted(playbook_options().keys() & {*self.extra_variables} - used):
            self.warn(f"{name}: the command sets it, but it has no effect in the role {role}.")

    def _of_host(self, path: Path, spec: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what decides which host calls the modules of a role for which others."""
        role = path.name
        typed = {name: to_typed(name, option, values.get(name)) for name, option in spec.items()}
        typed = {name: spec[name].get("default") if value is None else value for name, value in typed.items()}
        shared = typed.keys() - {f"{role}_{option}" for option in OF_HOST[role].of_hosts}
        return {
            "task": self.task,
            "host": self.variables["inventory_hostname"],
            "account": _digest(self.connection),
            "variables": {
                name: {"set_as": self._set_as(path, name), "digest": _digest([name, typed[name]])}
                for name in sorted(shared)
            },
            "default_region": typed[f"{role}_region"] or "",
            "by_region": items_of_host(role, typed),
        }

    def _set_as(self, path: Path, name: str) -> str:
        """Return the variable with which the user set a variable of the role; empty if the role has its default."""
        given, setting = self.variables.get(name), shared_setting(path.name, name)
        if not is_blank(given) and given != read_defaults(path).get(name):
            return name
        return setting if setting in self.variables else ""

    def _shared_values(self, role: str, names: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
        """Return the values of the settings for variables of the role, and the problems with them."""
        problems, variables = Problems(), self.variables
        settings = {name: setting for name in names if (setting := shared_setting(role, name))}
        found = {
            name: problems.check(find_shared_value, setting, variables, partial(evaluate_value, templar=self.templar))
            for name, setting in settings.items()
        }
        return {name: value for name, value in found.items() if not is_blank(value)}, problems.sentences

    def _report_files(
        self, role: str, spec: Mapping[str, Any], values: Mapping[str, Any]
    ) -> tuple[dict[str, list[str]], list[str]]:
        """Return the files that the role writes, by format, and the problems with their paths."""
        name, problems = f"{role}_report_files", Problems()
        paths = to_typed(name, spec[name], values[name])
        files, notices = sort_by_format(name, paths, ROLE_FORMATS[role], f"the role {role}", problems)
        # The role verify checks this twice, and our playbooks have shown their own notices.
        is_last = self.options["entry_point"] == "report" or role != "verify"
        for notice in notices if is_last and IN_OUR_PLAY not in self.variables else ():
            self.warn(notice)
        return files, problems.sentences


def validate_role(action: Any, variables: Mapping[str, Any], entry_point: str) -> dict[str, Any]:
    """Check the variables of a role in an action of a task that does the work of an entry point.

    :returns: the values that the entry point needs, such as the files of reports.
    :raises InvalidInput: with all problems of the variables.
    """
    try:
        return RoleInputs(
            action._task._uuid,
            variables,
            {"entry_point": entry_point, "collect": False},
            (),
            action._templar,
            action._display.warning,
            load_extra_vars(action._loader),
        ).read()
    except InvalidInput as error:
        raise InvalidInput(f"{error} Nothing was changed.") from error


def _missing_regions(role: str, spec: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return the problem of a role for hybrid servers that has to exist for no region."""
    regions, state = f"{role}_regions", f"{role}_state"
    if role != "hybrid_server" or values[state] != "present" or to_typed(regions, spec[regions], values[regions]):
        return []
    return [f"{regions} is required with {state}=present. List the regions in which the servers are registered."]


def _collect(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether this host calls the modules of the role, and for what."""
    hostvars, own = variables["hostvars"], variables[READ]
    # Another use of the role can have left results, and a condition of the role leaves results without values, or the
    # facts of a host.
    inputs = (
        (host, found)
        for host in variables["ansible_play_batch"]
        if isinstance(found := hostvars.raw_get(host).get(READ), dict) and found.get("task") == own["task"]
    )
    active = {*variables["ansible_play_hosts"]}
    failed = [host for host in variables["ansible_play_hosts_all"] if host not in active]
    return plan_call(own, inputs, failed, partial(_instances, hostvars))


def _instances(hostvars: Any, regions: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """Return the instances among some hosts by region. The role has not checked the facts of hosts that failed before.

    :raises InvalidInput: the facts of a host set a variable.
    """
    check_facts({host: hostvars.raw_get(host).get("ansible_facts", {}) for host in regions}, ())
    return instances_of(hostvars, regions)


def _key_store_problems(role: str, spec: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    problems = Problems()
    problems.check(check_role_key_store, role, spec, values)
    return problems.sentences


def _digest(values: Any) -> str:
    """Return a text that is the same for the same values, and never reveals them.

    A secret can be short enough to guess, so the text is different in each run.
    """
    text = json.dumps(_with_text_keys(values), sort_keys=True, default=str)
    return hmac.new(_SECRET, text.encode(), hashlib.sha256).hexdigest()


def _with_text_keys(value: Any) -> Any:
    """Return a value whose mappings can be sorted. YAML reads keys such as ``2024`` as other types than text."""
    if isinstance(value, dict):
        return {str(key): _with_text_keys(each) for key, each in value.items()}
    return [_with_text_keys(each) for each in value] if isinstance(value, (list, tuple)) else value
