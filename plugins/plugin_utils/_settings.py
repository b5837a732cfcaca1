# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule by which a variable reaches an option of a module in a role of this collection.

An option that neither the task nor ``module_defaults`` set gets the first of these values that is not blank:

1. the variable of the role, which is the name of the role, an underscore and the name of the option
2. the setting that all roles share, which is ``cwagent_`` and the name of the option; in a playbook of this collection,
   the value that the run has validated
3. the default in the argument specs of the role

Otherwise, the default of the module counts, as it does if the task sets the option to null. The region of a role and
the credentials that it chooses outrank even ``module_defaults``. A module that is called outside our roles takes no
variable.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.variables import HOST_VARIABLES, ROTATION_OPTIONS
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_specs import playbook_options, read_specs
from ansible_collections.cwagent.iam.plugins.plugin_utils._variable_types import is_blank, to_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

COLLECTION = "cwagent.iam."
MODULES = "ansible_collections.cwagent.iam.plugins.modules"
# The first one can have secret values, so each task hands it on where a reader sees it. _connection() has the other.
NEVER = frozenset({"environment", "region"})
# The options, or variables of one role, whose setting is not cwagent_ and the name of the option.
RENAMED = {
    # A role manages one principal, and the settings are for all of them. A profile and its role have one name.
    "ec2_server_name": "server_role_name",
    "ec2_admin_name": "admin_role_name",
    "hybrid_server_name": "hybrid_role_name",
    "server_profile": "server_role_name",
    "admin_profile": "admin_role_name",
    "admin_role": "admin_role_name",
    "hybrid_role": "hybrid_role_name",
    # The names of the settings contain the object that is validated or split.
    "validation": "config_validation",
    "version": "config_version",
    "schema": "agent_schema",
    "split": "split_config",
    "remove_surplus": "remove_surplus_parameters",
    "tier": "parameter_tier",
    # An audit and the fitted policies read the same regions.
    "read_regions": "audit_regions",
    # Not ec2_admin_admin_window.
    "window": "admin_window",
}
# The variables of roles that no setting reaches, although the names are the same.
NOT_SHARED = frozenset(
    {
        # Every hybrid server needs the default policy; cwagent_ssm_policy is for the other servers.
        "hybrid_server_ssm_policy",
        # Only rotate_keys.yml replaces keys.
        *(f"onprem_{access}_{option}" for access in ("server", "admin") for option in ROTATION_OPTIONS),
    }
)
# In a play of our playbooks, this variable is defined, and the next one is the input that the run has validated.
IN_OUR_PLAY = "__cwagent_run"
INPUT = "__cwagent"


def shared_setting(role: str, variable: str) -> str:
    """Return the setting that a variable of a role takes its value from; empty if there is none."""
    option = variable.removeprefix(f"{role}_")
    names = () if variable in NOT_SHARED else (variable, RENAMED.get(variable) or RENAMED.get(option, option))
    settings = (f"cwagent_{name}" for name in names)
    return next((each for each in settings if each in playbook_options() and each not in HOST_VARIABLES), "")


def find_value(role: str, variable: str, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Any:
    """Return the value of a variable of a role, or of the setting that it takes its value from; ``None`` if blank.

    :param variables: the variables of the task, which are not evaluated yet.
    :param template: evaluates a value.
    :raises InvalidInput: the setting is of another type.
    """
    own = template(variables[variable]) if variable in variables else None
    return find_shared_value(shared_setting(role, variable), variables, template) if is_blank(own) else own


def find_shared_value(setting: str, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Any:
    """Return the value of a setting; ``None`` if it is blank or no setting.

    :param template: evaluates a value. The result for a value that cannot be evaluated can be ``Undefined``.
    :raises InvalidInput: it is of another type, or cannot be evaluated.
    """
    if setting and IN_OUR_PLAY in variables:
        return template(variables[INPUT])[setting.removeprefix("cwagent_")]
    if setting in variables:
        return to_typed(setting, playbook_options()[setting], template(variables[setting]))
    return None


def fill_task(action: Any, variables: Mapping[str, Any]) -> None:
    """Add options to the task of an action by the rule of this file. Does nothing outside our roles.

    :param action: an action plugin, whose module has the name of the action.
    :param variables: the variables of the task, which are not evaluated yet.
    :raises InvalidInput: a setting is of another type.
    """
    if str(variables.get("ansible_role_name", "")).startswith(COLLECTION):
        task = action._task
        spec = import_module(f"{MODULES}.{task.action.rpartition('.')[2]}").SPEC
        task.args = fill_options(task.args, spec, variables, action._templar.template)


def fill_options(
    given: Mapping[str, Any], spec: Mapping[str, Any], variables: Mapping[str, Any], template: Callable[[Any], Any]
) -> dict[str, Any]:
    """Return the options of a task in a role, with those that the rule of this file adds.

    :param given: the options of the task, to which Ansible has added ``module_defaults``.
    :param spec: the options of the module.
    :param variables: the variables of the task, which are not evaluated yet.
    :raises InvalidInput: a setting is of another type.
    """
    path = Path(variables["role_path"])
    known = {name: each for entry in read_specs(path).values() for name, each in entry["options"].items()}

    def value_of(option: str) -> Any:
        name = f"{path.name}_{option}"
        if option in NEVER or name not in known:
            return None
        value = find_value(path.name, name, variables, template)
        return known[name].get("default") if is_blank(value) else value

    options = {**dict(_fill(spec, given, value_of)), **given, **_connection(path.name, variables, template)}
    return {name: value for name, value in options.items() if value is not None}


def _connection(role: str, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the AWS options of a role, which outrank ``module_defaults``.

    Otherwise, the region of an account's session would outrank the region of the instances. As options of the task,
    they would remove the play's options if the role chooses none.
    """
    names = [name for name in (f"__{role}_region", f"{role}_region") if name in variables]
    region = template(variables[names[0]]) if names else None
    credentials = template(variables.get(f"__{role}_credentials", {}))
    return {**credentials, **({} if is_blank(region) else {"region": region})}


def _fill(
    spec: Mapping[str, Any], given: Mapping[str, Any], value_of: Callable[[str], Any]
) -> Iterator[tuple[str, Any]]:
    """Return the options that are not given and have a value. Each suboption of a mapping has a separate variable."""
    for name in spec.keys() - given.keys():
        option = spec[name]
        has_parts = option.get("type") == "dict" and "options" in option
        value = dict(_fill(option["options"], {}, value_of)) if has_parts else {}
        value = value or value_of(name)
        # An empty list or mapping is a value only if the option has a default, which it replaces.
        if not is_blank(value) and (value not in ([], {}) or option.get("default") is not None):
            yield name, value
