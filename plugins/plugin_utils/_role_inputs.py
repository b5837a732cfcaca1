# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the variables of a role. ``_variable_types.py`` decides which values are valid."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._evaluate import evaluate, evaluate_value
from ansible_collections.cwagent.iam.plugins.plugin_utils._facts import check_facts
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.variables import unknown_settings
from ansible_collections.cwagent.iam.plugins.plugin_utils._key_store_checks import check_role_key_store
from ansible_collections.cwagent.iam.plugins.plugin_utils._report_files import ROLE_FORMATS, sort_by_format
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_specs import (
    playbook_options,
    read_specs,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._settings import (
    find_shared_value,
    role_options,
    shared_options,
    shared_setting,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._variable_types import (
    CONFIGS_OF_ROLE,
    Problems,
    check_role,
    is_blank,
    misspelled_variables,
    to_typed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# The options of a task of a role; the module has their documentation.
OPTIONS: dict[str, Any] = {
    "entry_point": {"type": "str", "default": "main"},
    "compare": {"type": "bool", "default": False},
}


# Ansible imports this file once, before the workers of all hosts are forked from its process.
_SECRET = secrets.token_bytes()


@dataclass(frozen=True)
class RoleInputs:
    """The input of a role, for its own task.

    :param variables: the variables of the task.
    :param options: the options of the task.
    :param connection: the options, the environment and the ``module_defaults`` with which the tasks of the role call
        AWS. They can be secret.
    :param templar: knows the variables.
    :param warn: shows a warning.
    """

    variables: Mapping[str, Any]
    options: Mapping[str, Any]
    connection: Sequence[Mapping[str, Any]]
    templar: Any
    warn: Callable[[str], None]

    def read(self) -> dict[str, Any]:
        """Check the variables against the role's argument specs, without making lists of text, or compare the hosts.

        :raises InvalidInput: with all problems of the variables.
        """
        path, variables = Path(self.variables["role_path"]), self.variables
        if self.options["compare"]:
            return _compare(path.name, variables)
        specs = read_specs(path)
        spec = {**shared_options(path), **specs[self.options["entry_point"]]["options"]}
        check_facts({variables["inventory_hostname"]: variables.get("ansible_facts", {})}, spec)
        values = evaluate(variables, spec, self.templar)
        found: dict[str, Any] = {}
        problems = misspelled_variables(path.name, variables, role_options(path))
        problems += unknown_settings(variables, playbook_options()) + check_role(spec, values)
        shared, of_settings = self._shared_values(path.name, [name for name in spec if is_blank(values.get(name))])
        problems += of_settings
        values = {name: each["default"] for name, each in spec.items() if "default" in each} | values | shared
        if CONFIGS_OF_ROLE in spec and values.get(CONFIGS_OF_ROLE) is None and not problems:
            problems.append(f"{CONFIGS_OF_ROLE} or cwagent_configs is required.")
        if not problems:
            problems = _key_store_problems(path.name, spec, values)
        if not problems and f"{path.name}_report_files" in spec:
            found["report_files"], problems = self._report_files(path.name, spec, values)
        if problems:
            raise InvalidInput(" ".join(problems))
        return {"fingerprint": _fingerprint(values, self.connection), **found}

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
        for notice in notices:
            self.warn(notice)
        return files, problems.sentences


def _compare(role: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hosts of the batch that call the role's modules, each with the hosts for which it calls them.

    Hosts that failed before the role belong to the only group of hosts that there is. With several groups, their values
    and their account are unknown.
    """
    groups: dict[str, list[str]] = {}
    for host in variables["ansible_play_batch"]:
        inputs = variables["hostvars"].raw_get(host).get(f"__{role}_inputs") or {}
        if "fingerprint" in inputs:
            groups.setdefault(inputs["fingerprint"], []).append(host)
    if len(groups) == 1:
        hosts = next(iter(groups.values()))
        active = {*variables["ansible_play_hosts"]}
        hosts += [host for host in variables["ansible_play_hosts_all"] if host not in active]
    return {"calls": {hosts[0]: hosts for hosts in groups.values()}}


def _key_store_problems(role: str, spec: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    problems = Problems()
    problems.check(check_role_key_store, role, spec, values)
    return problems.sentences


def _fingerprint(values: Mapping[str, Any], connection: Sequence[Mapping[str, Any]]) -> str:
    """Return a text that is the same for hosts with the same values in the same account, and never reveals them.

    Hosts with other connection options are in another account. A secret in them can be short enough to guess, so the
    text is different in each run.
    """
    text = json.dumps([values, *connection], sort_keys=True, default=str)
    return hmac.new(_SECRET, text.encode(), hashlib.sha256).hexdigest()
