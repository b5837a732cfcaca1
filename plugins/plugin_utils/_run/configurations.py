# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations to store, and the host that stores them. Pure."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._storing.options import INSTANCE, ROLE, RUN_COMMAND, USER, WAYS, read_wanted
from .given import ADMIN_INSTANCE, CONFIGS, EC2_ADMIN, GROUPS, HISTORY, ONPREM_ADMIN
from .hosts import Regions
from .values import Problems, check_config_regions, is_blank
from .variables import CONFIG_VERSION, find_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .given import Given


# The groups of the hosts that store, by the principal that they need.
STORING_GROUPS = {ROLE: EC2_ADMIN, USER: ONPREM_ADMIN}
LOCALHOST = "localhost"


def reads_versions(given: Given) -> bool:
    """Return whether the playbook reads versions from Parameter Store, so that it needs the names and no files.

    With a version that is not valid, it needs the files, so that one run shows all problems.
    """
    version = given.controller.get(CONFIG_VERSION)
    with suppress(InvalidInput):
        wanted = read_wanted("" if is_blank(version) else str(version))
        return HISTORY in given.requires or (CONFIGS in given.requires and bool(wanted))
    return HISTORY in given.requires


def read_configs(given: Given, run: Mapping[str, Any], regions: Regions, problems: Problems) -> list[dict[str, Any]]:
    """Return the configurations, with the absolute paths of their files, and the regions that entries list.

    Without a file, the only configuration of a playbook that reads versions has the name of the parameter.
    """
    if run["configs"] and run["config_file"]:
        file_for, listed_for = (
            next(f" ({place})" for place, value in find_places(given, name).items() if not is_blank(value))
            for name in ("cwagent_config_file", "cwagent_configs")
        )
        if file_for == listed_for:
            file_for = listed_for = ""
        problems.add(
            f"cwagent_config_file{file_for} and cwagent_configs{listed_for} are both set, so it is not clear what to "
            "store. Set only one of the two. An extra variable (-e) counts beside the inventory's."
        )
    elif run["configs"] and run["parameter_name"] != given.options["cwagent_parameter_name"]["default"]:
        problems.add(
            f"cwagent_parameter_name is '{run['parameter_name']}', but each entry of cwagent_configs has its own name. "
            "Unset cwagent_parameter_name."
        )
    if run["configs"]:
        variable, entries = "cwagent_configs", run["configs"]
    else:
        variable, file = "cwagent_config_file", run["config_file"]
        entries = [{"name": run["parameter_name"], "file": file}] if file or reads_versions(given) else []
    problems.check(check_config_regions, variable, entries)
    everywhere = regions.regions_of(given.members(*GROUPS))
    stored = Counter((entry["name"], each) for entry in entries for each in {*entry.get("regions", everywhere)})
    for name in sorted({name for (name, _region_name), count in stored.items() if count > 1}):
        problems.add(f"cwagent_configs has a duplicate parameter name: {name}.")
    return [{**entry, "file": _find_file(given, variable, entry, problems)} for entry in entries]


def _find_file(given: Given, variable: str, entry: Mapping[str, Any], problems: Problems) -> str:
    """Return the path of the file of a configuration. Empty if there is none, which is a problem where it is stored."""
    file: str = entry.get("file", "")
    if reads_versions(given) or not (file or given.stores):
        return file
    if not file:
        problems.add(f"{variable}: {entry['name']} has no file. Set the path of the configuration.")
        return ""
    return problems.check(given.find_file, file, where=f"{variable}: ") or ""


def config_names(configs: Sequence[Mapping[str, Any]], everywhere: Sequence[str]) -> dict[str, list[str]]:
    """Return by region the names of the configurations there. :param everywhere: the regions of one that lists none."""
    regions = dict.fromkeys([*everywhere, *(each for entry in configs for each in entry.get("regions", ()))])
    return {
        region: [entry["name"] for entry in configs if region in entry.get("regions", everywhere)] for region in regions
    }


def storing_source(given: Given, settings: Mapping[str, Any]) -> str:
    """Return from where the configuration is stored, or which instance a person gets the window for."""
    if ADMIN_INSTANCE in given.requires:
        return RUN_COMMAND if given.accounts else INSTANCE  # regardless of the variable
    return str(settings["store_config_from"])


def storing_host(given: Given, source: str) -> str:
    """Return the host that stores; empty if there is none.

    :param source: from where, as ``storing_source`` returns.
    """
    group = STORING_GROUPS.get(WAYS[source].principal)
    return next(iter(given.members(group)), "") if group else LOCALHOST
