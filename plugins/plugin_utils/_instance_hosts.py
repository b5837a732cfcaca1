# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of instances, for a person who reads IDs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
