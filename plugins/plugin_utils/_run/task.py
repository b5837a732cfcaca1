# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values, facts, hosts of instances and files of configurations in the variables of an action's task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._ground.text import join_first, to_printable
from .values import Undefined

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


def evaluate(variables: Mapping[str, Any], names: Iterable[str], templar: Any) -> dict[str, Any]:
    """Return the values of the variables that are set, and ``Undefined`` if one cannot be evaluated.

    They are evaluated one by one, so that an undefined variable is known by name.

    :param templar: an ``ansible.template.Templar`` that knows the variables.
    """
    values = {name: evaluate_value(variables[name], templar) for name in names if name in variables}
    # ansible-core 2.18 leaves the place of an omitted option in the value; newer versions refuse it.
    omitted = variables.get("omit")
    return {name: Undefined("it is omit") if omitted and value == omitted else value for name, value in values.items()}


def evaluate_value(value: Any, templar: Any) -> Any:
    """Return the value of a variable, and ``Undefined`` if it cannot be evaluated."""
    try:
        found = templar.template(value)
        # ansible-core 2.18 decrypts a value of Ansible Vault only where it is used, and its type is not text.
        return str(found) if isinstance(found, Sequence) and not isinstance(found, (str, list, tuple)) else found
    except Exception as error:  # noqa: BLE001  ansible-core 2.18 lets through any error of a template
        return Undefined(" ".join(str(getattr(error, "message", error)).split()).rstrip("."))


# The variables that a role does not take from a user begin with its name behind two underscores.
ROLES = (
    *("audit", "ec2_admin", "ec2_server", "hybrid_registration", "hybrid_server", "onprem_admin", "onprem_credentials"),
    *("onprem_server", "store_config", "verify"),
)
OURS = ("cwagent_", "__cwagent", *(f"__{role}_" for role in ROLES))
# Variables with other names that all playbooks and roles take. The inventory amazon.aws.aws_ec2 sets the second one.
OTHER_VARIABLES = frozenset({"instance_id", "placement"})
MAX_NAMED = 5


def check_facts(facts: Mapping[str, Mapping[str, object]], names: Collection[str]) -> None:
    """Check that the facts of hosts set no variable of the collection, because a managed server can choose its facts.

    A fact has the name of a variable and replaces the value in the inventory. It can be from any module that ran on the
    server, in this run or, with a fact cache, in an earlier one. ``set_fact`` with ``cacheable`` makes facts, too.

    :param facts: by host, its ``ansible_facts``.
    :param names: further variables that are input.
    :raises InvalidInput: a fact does, with all hosts and names.
    """
    found = {host: [name for name in of_host if _is_ours(name, names)] for host, of_host in facts.items()}
    listed = [
        f"Host {host}: its facts set {join_first(sorted(map(to_printable, ours)), MAX_NAMED)}."
        for host, ours in found.items()
        if ours
    ]
    if listed:
        raise InvalidInput(
            f"{' '.join(listed)} The server itself can choose its facts, so they must not set variables of this "
            "collection. Set these in the inventory, or with set_fact without cacheable, and clear the facts: delete "
            "them from the fact cache, or run ansible.builtin.meta with clear_facts."
        )


def _is_ours(name: str, names: Collection[str]) -> bool:
    plain = str(name).removeprefix("ansible_")
    return plain.startswith(OURS) or plain in OTHER_VARIABLES or plain in names


INSTANCE_ID = re.compile(r"\bi-[0-9a-f]+\b")


def hosts_of_instances(texts: Iterable[str], variables: Mapping[str, Any]) -> dict[str, str]:
    """Return the hosts in the inventory of the instances whose IDs are in texts, by ID.

    A host whose ID is a template is left out, since evaluating it for every host takes long and can fail. So is a host
    that has the ID as its name.
    """
    ids = {each for text in texts for each in INSTANCE_ID.findall(text)}
    hostvars: Any = variables["hostvars"] if ids and "hostvars" in variables else {}
    values = {host: hostvars.raw_get(host).get("instance_id") for host in hostvars}
    return {value: host for host, value in values.items() if isinstance(value, str) and value in ids - {host}}


def search_folders(variables: Mapping[str, Any]) -> list[Path]:
    """Return the folders to search: where Ansible was started, then beside the inventory and the playbook."""
    # The folder of this process instead of PWD, because AWX starts a job in another folder than its shell.
    return [Path.cwd(), *(Path(variables[name]) for name in ("inventory_dir", "playbook_dir") if variables.get(name))]


def find_file(folders: Iterable[Path], given: str) -> str:
    """Return the path of a file on the controller, which need not exist."""
    found = (each / Path(given).expanduser() for each in folders)
    return next((str(each) for each in found if each.is_file()), given)


def find_all(folders: Iterable[Path], configs: Any) -> Any:
    """Return the option ``configs`` with the paths of its files. Validation reports any other form of it."""
    if not isinstance(configs, list):
        return configs
    places = list(folders)
    return [
        {**each, "file": find_file(places, each["file"])}
        if isinstance(each, dict) and isinstance(each.get("file"), str)
        else each
        for each in configs
    ]
