# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: run_hosts
author: cwagent.iam contributors (@cwagent)
version_added: 1.0.0
short_description: (internal) Return the hosts of a play of the playbooks
description:
  - Returns the hosts or the batches of a play, from the results that the tasks of earlier plays have registered.
    Ansible evaluates them before the play has any host, and when it only checks the syntax.
  - It belongs to the playbooks of this collection, and is empty in others.
options:
  _terms:
    description: The name of the list. V(account) is the host of the account that the host of the task belongs to.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Manage the credentials of on-premises servers
  hosts: "{{ query('cwagent.iam.run_hosts', 'delivery') }}"
"""

RETURN = r"""
_raw:
  description: The names of the hosts, the sizes of the batches, or hosts to add to the inventory with their accounts.
  type: list
  elements: raw
"""

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.accounts import ACCOUNT
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.plays import LISTS, RunHosts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OF_HOST = "account"


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible comes without types
    """Returns a list of the run."""

    def run(self, terms: Iterable[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Return the list of this name."""
        del kwargs
        known = variables or {}
        hosts = RunHosts(known.get("groups", {}), known.get("hostvars", {}))
        [name] = terms
        if name == OF_HOST:
            named = self._templar.template(known.get(ACCOUNT, ""))
            return [hosts.account_of(known.get("inventory_hostname", ""), str(named or ""))]
        if name not in LISTS:
            raise AnsibleLookupError(f"There is no list '{name}' of a run. These are the lists: {', '.join(LISTS)}.")
        found: list[Any] = getattr(hosts, name)
        return found
