# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: role_options
author: cwagent.iam contributors (@cwagent)
version_added: 1.0.0
short_description: (internal) Return the options of a module that the variables of the role give
description:
  - A variable of a role is the name of the role, an underscore, and the name of the option that it is for. The tasks of
    the roles take these options as C(module_defaults), so an option of the task outranks them. Ansible then ignores the
    C(module_defaults) of the play for the same module, so M(cwagent.iam.cwagent_role_inputs) refuses them.
  - Returns a mapping for each module, from the variables in the argument specs of the role. The values are those that
    the task sees, and nothing registers or prints them.
  - A variable that is none or an empty text gives no option. Neither does an empty list or mapping, if the option has
    no default.
options:
  _terms:
    description: The names of the modules.
    type: list
    elements: str
    required: true
  region:
    description: The region, instead of the variable of the role. When empty, there is no such option.
    type: str
  entry_point:
    description: The entry point whose variables are handed on, for a module that several entry points use differently.
    type: str
"""

EXAMPLES = r"""
- name: Manage the server role and its instance profile
  cwagent.iam.cwagent_iam_role:
    name: "{{ ec2_server_name }}"
    access: server
  module_defaults:
    cwagent.iam.cwagent_iam_role: "{{ lookup('cwagent.iam.role_options', 'cwagent_iam_role') }}"
"""

RETURN = r"""
_raw:
  description: For each module, its options.
  type: list
  elements: dict
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.plugins.lookup import LookupBase

from ansible_collections.cwagent.iam.plugins.plugin_utils._role_specs import known_variables, read_specs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# A value of it can be secret, so each task hands it on where a reader sees it.
NEVER = "environment"
EMPTY: tuple[Any, ...] = (None, "", [], {})


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible comes without types
    """Hands on the variables of the role of the task."""

    def run(
        self,
        terms: Iterable[str],
        variables: Mapping[str, Any] | None = None,
        entry_point: str | None = None,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Return the options for each module."""
        given = variables or {}
        role = Path(given["role_path"])
        specs = read_specs(role)
        known = known_variables({entry_point: specs[entry_point]} if entry_point else specs) & given.keys()
        values = {name.removeprefix(f"{role.name}_"): self._templar.template(given[name]) for name in known}
        values.update(kwargs)
        modules = (import_module(f"ansible_collections.cwagent.iam.plugins.modules.{name}") for name in terms)
        return [to_options({"region": {}, **module.SPEC}, values) for module in modules]


def to_options(spec: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a spec that have a value. Each suboption of a mapping has a separate variable."""
    found = {}
    for name, option in spec.items():
        value = to_options(option["options"], values) if option.get("type") == "dict" and "options" in option else None
        value = values.get(name) if value is None else value
        if name != NEVER and not (value in EMPTY if option.get("default") is None else value in EMPTY[:2]):
            found[name] = value
    return found
