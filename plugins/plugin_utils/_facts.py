# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts, which a managed server can choose, must not set variables of the collection.

A fact has the name of a variable and replaces the value in the inventory. It can be from any module that ran on the
server, in this run or, with a fact cache, in an earlier one. ``set_fact`` with ``cacheable`` makes facts, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._text import join_first, to_printable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

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
    """Check that the facts of hosts set no variable of the collection.

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
