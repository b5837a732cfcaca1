# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of the variables, wherever in the inventory they are set, and names that look like variables. Pure."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from ...module_utils._agents.watch import check_seconds
from .._report.files import (
    AUDIT_FORMATS,
    HISTORY_FORMATS,
    POLICY_FORMATS,
    VALIDATION_FORMATS,
    VERIFICATION_FORMATS,
    sort_by_format,
)
from .accounts import ACCOUNT, ACCOUNT_VARIABLES
from .given import ACCOUNTS, APPLY, AUDIT, CONFIGS_ONLY, EMPTY, GROUPS, HISTORY, POLICY, RESTORE, SERVERS, TEXT
from .hosts import CONFIG_NAMES, DELIVER_KEYS, IDENTITY
from .values import Problems, quote, to_typed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .given import Given


REPORT_FILES = "cwagent_report_files"
# The formats of the reports that a playbook writes, by its requirement.
REPORT_FORMATS = {
    HISTORY: HISTORY_FORMATS,
    AUDIT: AUDIT_FORMATS,
    POLICY: POLICY_FORMATS,
    CONFIGS_ONLY: VALIDATION_FORMATS,
    SERVERS: VERIFICATION_FORMATS,
}
BATCH_SIZE = "cwagent_batch_size"
CONFIG_VERSION = "cwagent_config_version"
# Its values can be secrets, so it is not part of the input. The playbooks pass it on from the host.
ENVIRONMENT = "cwagent_environment"
# The owner and the group of the file with the access key on a server.
KEY_FILE_OWNER, KEY_FILE_GROUP = "cwagent_key_file_owner", "cwagent_key_file_group"
# The node of a host that was renamed.
NODE_ID = "cwagent_node_id"
# Each host has its own value. All other variables have one value for the whole run.
HOST_VARIABLES = frozenset(
    {
        *("cwagent_region", "cwagent_user_name", "cwagent_admin_user_name", DELIVER_KEYS, IDENTITY),
        *(ACCOUNT, CONFIG_NAMES, ENVIRONMENT, NODE_ID, KEY_FILE_OWNER, KEY_FILE_GROUP, *ACCOUNT_VARIABLES),
    }
)
ALL_PERCENT = 100
ALL = f"{ALL_PERCENT}%"
# Of servers that get a configuration: one, then a quarter, then all others.
ONE_FIRST = ["1", "25%", ALL]
ROTATION_OPTIONS = ("key_max_age_days", "key_delete_after_days", "revoke_old", "rotate_now")
# The similarity that makes one group name a misspelling of another; 1 is equal.
MISSPELLED = 0.95
# How similar a variable is to one that was meant. Its prefix proves that one was meant, but not which one.
SIMILAR = 0.7
_BATCH = r"[1-9]\d*|[1-9]\d?%|100%"
# The variables of roles that plays set or that a run decides, besides the files in playbooks/vars/. Some delete.
SET_BY_PLAYS = {
    "ec2_server": ("state", "instances", "region"),
    "ec2_admin": ("state", "instances", "region"),
    "onprem_server": ("state", "users", "region", *ROTATION_OPTIONS),
    "onprem_admin": ("state", "users", "region", *ROTATION_OPTIONS),
    "hybrid_registration": ("state",),
    "hybrid_server": ("state", "regions", "region"),
    "onprem_credentials": ("state",),
}


def applies_configurations(given: Given) -> bool:
    """Return whether the playbook applies the configuration to servers."""
    return APPLY in given.requires


def declared_options(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of the playbooks with their options, by name, from ``playbooks/vars/argument_specs.yml``."""
    return {name: option for subject in spec["argument_specs"].values() for name, option in subject["options"].items()}


def check_variable_names(given: Given, problems: Problems) -> None:
    """Report variables and groups that are not the collection's, but have similar names."""
    used = {name for variables in (given.controller, *given.hosts.values()) for name in variables}
    for problem in unknown_settings(used, given.options):
        problems.add(problem)
    for name, variable in given.role_variables.items():
        fix = f"Set {variable} instead." if variable else "Remove it from the inventory and the command line."
        problems.add(f"{name} is a variable of a role that the playbooks set. {fix}")
    # A group with a similar name can be inside the collection's groups. The hosts of other accounts are not known.
    listed = set(given.members(*GROUPS, ACCOUNTS))
    for group, hosts in sorted(given.groups.items() if not given.accounts else ()):
        found = difflib.get_close_matches(group, [*GROUPS, ACCOUNTS], n=1, cutoff=MISSPELLED)
        if found and found != [group] and not listed.issuperset(hosts):
            problems.add(f"Group {group} is not one of this collection; did you mean {found[0]}?")


def unknown_settings(names: Iterable[str], options: Collection[str]) -> list[str]:
    """Return a sentence for each variable that has the prefix of the settings, but is none.

    :param options: the names of the playbooks' variables.
    """
    known, problems = [option.removeprefix("cwagent_") for option in options], []
    for name in sorted(name for name in names if name.startswith("cwagent_") and name not in options):
        near = difflib.get_close_matches(name.removeprefix("cwagent_"), known, n=1, cutoff=SIMILAR)
        hint = f"; did you mean cwagent_{near[0]}?" if near else "."
        problems.append(f"{name} is not a variable of this collection{hint}")
    return problems


def find_role_variables(settings: Mapping[str, Any], options: Collection[str]) -> dict[str, str]:
    """Return the variables of roles that the playbooks set, each with the variable of the playbooks to set instead.

    The text is empty if the value comes from several variables, or from something else.

    :param settings: the variables of roles in the files of ``playbooks/vars/``.
    :param options: the names of the playbooks' variables.
    """
    found = {
        f"{role}_{name}": f"cwagent_{name}" if f"cwagent_{name}" in options else ""
        for role, names in SET_BY_PLAYS.items()
        for name in names
    }
    for name, template in settings.items():
        if not name.startswith("__"):
            words = re.findall(r"\w[\w.]*", str(template))
            named = {found.get(word, word.replace("__cwagent.", "cwagent_")) for word in words}.intersection(options)
            found[name] = named.pop() if len(named) == 1 else ""
    return found


def read_value(given: Given, name: str, option: Mapping[str, Any], problems: Problems) -> Any:
    """Return the value of a variable for the whole run, from anywhere in the inventory, or else its default."""
    found = {
        source: problems.check(to_typed, name, option, value) for source, value in find_places(given, name).items()
    }
    values = {source: value for source, value in found.items() if value is not None}
    if not values:
        return option.get("default", EMPTY.get(option["type"]))
    first, value = next(iter(values.items()))
    for source, other in values.items():
        if other != value:
            problems.add(
                f"{name} is {quote(value)} for {first} and {quote(other)} for {source}; a run has one value for all."
            )
            break
    return value


def find_places(given: Given, name: str) -> dict[str, Any]:
    """Return where a variable of the run is set, with its value there."""
    places = {"the controller": given.controller, **{f"host {host}": each for host, each in given.hosts.items()}}
    return {place: variables[name] for place, variables in places.items() if name in variables}


def complete_batches(given: Given, run: dict[str, Any], problems: Problems) -> None:
    """Set the defaults for batches of servers or of accounts, and report values that Ansible would refuse."""
    unit, sizes, percentage = "accounts", [ALL], ALL_PERCENT
    if applies_configurations(given):
        unit, sizes, percentage = "servers", ONE_FIRST, 0
    wrong = next((each for each in run["batch_size"] if not re.fullmatch(_BATCH, each)), None)
    if wrong is not None:
        problems.add(
            f"cwagent_batch_size is {quote(wrong)}; it must be a number of {unit}, a share such as 20%, or a list of "
            "numbers and shares."
        )
    if wrong is not None or not run["batch_size"]:
        run["batch_size"] = sizes
    if given.accounts and wrong is None:
        _check_batches_of_accounts(given, run, sizes, problems)
    failing = run["max_fail_percentage"]
    if failing is None or RESTORE in given.requires:  # every window is to be closed
        run["max_fail_percentage"] = percentage
    elif not 0 <= failing <= ALL_PERCENT:
        problems.add(f"cwagent_max_fail_percentage is {failing}; it must be between 0 and {ALL_PERCENT}.")
        run["max_fail_percentage"] = percentage
    elif AUDIT in given.requires:  # every account is to be read
        run["max_fail_percentage"] = ALL_PERCENT
    problems.check(check_seconds, "cwagent_apply_watch_seconds", run["apply_watch_seconds"] or 0)


def _check_batches_of_accounts(
    given: Given, run: Mapping[str, Any], default: Sequence[str], problems: Problems
) -> None:
    """Report accounts with different batch sizes, because Ansible divides all accounts, or their servers, at once."""
    option = given.options[BATCH_SIZE]
    sizes = {
        account: problems.check(to_typed, BATCH_SIZE, option, variables.get(BATCH_SIZE)) or default
        for account, variables in given.accounts.items()
    }
    sizes[given.controller_host] = run["batch_size"]
    first, size = next(iter(sizes.items()))
    other = next((account for account in sizes if sizes[account] != size), None)
    if other is not None:
        problems.add(
            f"{BATCH_SIZE} must be the same for all accounts, but is {', '.join(size)} for {first} and "
            f"{', '.join(sizes[other])} for {other}."
        )


def read_texts(given: Given, hosts: Iterable[str], name: str, problems: Problems) -> dict[str, str]:
    """Return by host the text in a variable of the host."""
    return {
        host: problems.check(to_typed, name, TEXT, given.of_host(host).get(name), where=given.where(host, name)) or ""
        for host in hosts
    }


def read_path(given: Given, run: Mapping[str, Any], name: str, problems: Problems) -> str:
    """Return the absolute path of a file or folder on the controller. Modules run in the folder of the playbook."""
    path: str = run[name]
    return problems.check(given.to_absolute, path, where=f"cwagent_{name}: ") or path


def read_report_files(
    given: Given, run: Mapping[str, Any], problems: Problems
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the files that this playbook writes by their format, and notices of the files that it skips."""
    need = next((each for each in REPORT_FORMATS if each in given.requires and APPLY not in given.requires), "")
    has_own_files = given.accounts and need not in (HISTORY, AUDIT)  # an audit writes one report on all accounts
    return sort_by_format(
        REPORT_FILES,
        run["report_files"],
        REPORT_FORMATS.get(need, ()),
        "this playbook",
        problems,
        to_absolute=given.to_absolute,
        suffix=f"-{given.controller_host}" if has_own_files else "",
    )
