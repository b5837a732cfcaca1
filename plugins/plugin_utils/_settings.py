# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule by which a variable reaches an option of a module in a role of this collection.

An option that neither the task nor ``module_defaults`` set gets the first of these values that is not blank:

1. the variable of the role, which is the name of the role, an underscore and the name of the option; in a playbook of
   this collection, the value that the run decides, for those in ``OF_STORING``
2. the setting that all roles share, which is ``cwagent_`` and the name of the option; in a playbook of this collection,
   the value that the run has validated
3. the default in the argument specs of the role, for a variable that has no setting, or another default than the option
   of the module

A role has a variable for each option of its modules that has a setting. If no value counts, the default of the module
does, as it does if the task sets the option to null. The region of a role, and the instances, users or regions that it
has collected, outrank even ``module_defaults``.

A module that is called outside our roles takes no variable. Only the tasks of our playbooks take a few settings of the
run without listing them.

The options ``compared`` and ``planned`` take results of earlier tasks, under the names that these tasks register.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.plugin_utils._facts import check_facts
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.given import EMPTY, REMOVAL, ROTATION
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.hosts import ADMIN_USER, flatten
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.run import read_run
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.variables import (
    ENVIRONMENT,
    HOST_VARIABLES,
    KEY_FILE_GROUP,
    KEY_FILE_OWNER,
    NODE_ID,
    ROTATION_OPTIONS,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_calls import COLLECTED
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_calls import OF_HOST as OF_HOSTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_specs import playbook_options, read_specs
from ansible_collections.cwagent.iam.plugins.plugin_utils._variable_types import (
    CONFIGS_OF_ROLE,
    is_blank,
    to_typed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.run import Run

COLLECTION = "cwagent.iam."
ROLES = Path(__file__).parents[2] / "roles"
PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
MODULES = "ansible_collections.cwagent.iam.plugins.modules"
# By role, the modules for whose options it has variables. Other modules of a role have only options that it lists.
MODULES_OF = {
    "audit": ("cwagent_access_info",),
    "ec2_admin": ("cwagent_iam_role",),
    "ec2_server": ("cwagent_iam_role", "cwagent_instance_profile"),
    "hybrid_registration": ("cwagent_hybrid_node",),
    "hybrid_server": ("cwagent_iam_role",),
    "onprem_admin": ("cwagent_iam_user",),
    "onprem_credentials": ("cwagent_credentials_file",),
    "onprem_server": ("cwagent_iam_user",),
    "store_config": ("cwagent_store_config", "cwagent_fitted_policy"),
    "verify": ("cwagent_server_info",),
}
# _chosen() fills the region. The servers to check are the work of one task of the role verify.
NOT_FILLED = frozenset({"region", "servers"})
# The options that the tasks of our playbooks have from the run, besides those that they list.
OF_RUN = (
    *("region", "wait_timeout", "detach_from_roles"),
    *("key_store", "key_store_directory", "key_store_prefix", "key_store_regions"),
)
# The roles that choose a region themselves, with the variable.
REGIONS = {"store_config": "__store_config_region"}
# The options, or variables of one role, whose setting is not cwagent_ and the name of the option.
RENAMED = {
    # A role manages one principal, and the settings are for all of them. A profile and its role have one name.
    "ec2_server_name": "server_role_name",
    "ec2_admin_name": "admin_role_name",
    "hybrid_server_name": "hybrid_role_name",
    "server_profile": "server_role_name",
    "admin_profile": "admin_role_name",
    # Ansible has these names for the owner and the group of any file.
    "owner": "key_file_owner",
    "group": "key_file_group",
    # An audit and the fitted policies read the same regions.
    "read_regions": "audit_regions",
    # Not ec2_admin_admin_window.
    "window": "admin_window",
    # The waits of the role are for Run Command, which takes longer than IAM.
    "verify_wait_timeout": "verify_timeout",
}
# The settings of which each host has its own value, even in a play of our playbooks.
OF_HOST = frozenset({"cwagent_user_name", "cwagent_admin_user_name", NODE_ID, KEY_FILE_OWNER, KEY_FILE_GROUP})
# The variables of roles that no setting reaches, although the names are the same.
NOT_SHARED = frozenset(
    {
        # Every hybrid server needs the default policy; cwagent_ssm_policy is for the other servers.
        "hybrid_server_ssm_policy",
        # Only rotate_keys.yml replaces keys.
        *(f"onprem_{access}_{option}" for access in ("server", "admin") for option in ROTATION_OPTIONS),
        # Only admin principals have a window, and their roles have a variable for all tasks that need it.
        *(
            f"{role}_admin_window"
            for role in ("ec2_server", "ec2_admin", "onprem_server", "onprem_admin", "hybrid_server")
        ),
        # The setting is for servers, and the admin user is not the identity of an agent.
        "onprem_admin_managed_policies",
        # The roles name the hosts of the inventory, which have these roles.
        "audit_attach_to_roles",
    }
)
# In a play of our playbooks, this variable is defined, and the next one is the input that the run has validated.
IN_OUR_PLAY = "__cwagent_run"
INPUT = "__cwagent"
# The results of the tasks that fit policies to the configurations, and that find the users of servers that leave.
FITTED, LEAVING = "__store_config_fitted", "__cwagent_leaving"
# The variables of roles whose values the run decides in a play of our playbooks, from the run and from hostvars.
OF_STORING: dict[str, Callable[[Run, Any], Any]] = {
    "store_config_account_id": lambda run, _hosts: run.account.id,
    "store_config_admin_user_name": lambda run, _hosts: next(iter(flatten(run.admin_users)), ADMIN_USER),
    # It can have secret values, so it is not in the record of the run, whose task has checked it.
    "store_config_environment": lambda run, hosts: hosts[run.storing_host].get(ENVIRONMENT),
    "store_config_has_onprem": lambda run, _hosts: bool(run.onprem_hosts),
    "store_config_instance_id": lambda run, _hosts: run.instance_id,
    "store_config_region": lambda run, _hosts: run.storing_region,
    "store_config_regions": lambda run, _hosts: run.regions,
}
# The result of an earlier task of the role store_config, which is the option compared of its modules.
COMPARED = "__store_config_compared"
# By module, the results of earlier roles in a play of our playbooks, which are the option planned.
PLANNED_BY = {
    "cwagent_store_config": ("__ec2_admin_role_result", "__onprem_admin_result", "__ec2_server_instances_result"),
}


def shared_setting(role: str, variable: str) -> str:
    """Return the setting that a variable of a role takes its value from; empty if there is none."""
    option = variable.removeprefix(f"{role}_")
    names = () if variable in NOT_SHARED else (variable, RENAMED.get(variable) or RENAMED.get(option, option))
    settings = (f"cwagent_{name}" for name in names)
    return next((each for each in settings if each in playbook_options().keys() - HOST_VARIABLES | OF_HOST), "")


def role_options(role: Path) -> dict[str, Any]:
    """Return all variables of a role with their options. :param role: its folder."""
    return shared_options(role) | own_options(role)


def own_options(role: Path) -> dict[str, Any]:
    """Return the variables of a role that are not only settings, with their options in its argument specs."""
    listed, shared = _listed_options(role), shared_options(role)
    return {name: listed[name] for name in listed if name not in shared}


@cache
def shared_options(role: Path) -> dict[str, Any]:
    """Return the variables of a role that are only settings, with the options of the settings.

    The argument specs of the role list them without a default, because Ansible refuses a parameter of a role that they
    do not list. ``make tables`` writes these lines.
    """
    options = (option for module in MODULES_OF.get(role.name, ()) for option in _names(spec_of(module)))
    settings = {name: shared_setting(role.name, name) for name in (f"{role.name}_{option}" for option in options)}
    own = {CONFIGS_OF_ROLE, *(name for name, option in _listed_options(role).items() if "default" in option)}
    return {name: _of_role(playbook_options()[each]) for name, each in settings.items() if each and name not in own}


def _listed_options(role: Path) -> dict[str, Any]:
    return {name: option for entry in read_specs(role).values() for name, option in entry["options"].items()}


def _of_role(option: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option of a setting as one of a role: it can be blank, and is by default, and a list is a list."""
    choices = {"choices": ["", *option["choices"]]} if "choices" in option and option["type"] == "str" else {}
    return {"default": EMPTY.get(option["type"]), **option, "accepts_single": False, **choices}


def spec_of(module: str) -> dict[str, Any]:
    """Return the options of a module of this collection."""
    spec: dict[str, Any] = import_module(f"{MODULES}.{module}").SPEC
    return spec


def find_value(role: str, variable: str, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Any:
    """Return the value of a variable of a role, or of the setting that it takes its value from; ``None`` if blank.

    :param variables: the variables of the task, which are not evaluated yet.
    :param template: evaluates a value.
    :raises InvalidInput: the setting is of another type.
    """
    if variable in OF_STORING and (run := _find_run(variables, template)):
        return OF_STORING[variable](run, variables["hostvars"])
    own = template(variables[variable]) if variable in variables else None
    return find_shared_value(shared_setting(role, variable), variables, template) if is_blank(own) else own


def _find_run(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Run | None:
    """Return the run that the inputs were validated for; ``None`` outside our playbooks."""
    return read_run(template(variables[INPUT])) if IN_OUR_PLAY in variables else None


def find_shared_value(setting: str, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Any:
    """Return the value of a setting; ``None`` if it is blank or no setting.

    :param template: evaluates a value. The result for a value that cannot be evaluated can be ``Undefined``.
    :raises InvalidInput: it is of another type, or cannot be evaluated.
    """
    if setting and setting not in OF_HOST and IN_OUR_PLAY in variables:
        return template(variables[INPUT])[setting.removeprefix("cwagent_")]
    if setting in variables:
        return to_typed(setting, playbook_options()[setting], template(variables[setting]))
    return None


def is_in_our_role(task: Any) -> bool:
    """Return whether a task belongs to a role of this collection."""
    return bool(task._role) and task._role.get_name().startswith(COLLECTION)


def fill_task(action: Any, variables: Mapping[str, Any], spec: Mapping[str, Any] | None = None) -> None:
    """Add options to the task of an action by the rule of this file, if it belongs to our roles or playbooks.

    The task knows its role. A variable with the role's name could be a fact, which a managed server chooses.

    :param action: an action plugin, whose module has the name of the action.
    :param variables: the variables of the task, which are not evaluated yet.
    :param spec: the options of the task, if no module has them.
    :raises InvalidInput: a setting is of another type, or a fact.
    """
    task = action._task
    if is_in_our_role(task):
        path = ROLES / task._role.get_name().removeprefix(COLLECTION)
        check_facts({variables["inventory_hostname"]: variables.get("ansible_facts", {})}, role_options(path))
        module, template = task.action.rpartition(".")[2], action._templar.template
        options = spec or spec_of(module)
        results = dict(_find_results(module, options, variables, template))
        task.args = fill_options({**results, **task.args}, options, path, variables, template)
    elif IN_OUR_PLAY in variables and _is_of_playbooks(task):
        run = action._templar.template(variables[INPUT])
        known = {"region", *spec_of(task.action.rpartition(".")[2])}
        task.args = {**{name: run[name] for name in OF_RUN if name in known}, **task.args}


def _is_of_playbooks(task: Any) -> bool:
    """Return whether a task is in a file of our playbooks. A variable could be a fact, which a server chooses."""
    return Path(task.get_path().rpartition(":")[0]).resolve().is_relative_to(PLAYBOOKS)


def _find_results(
    module: str, spec: Mapping[str, Any], variables: Mapping[str, Any], template: Callable[[Any], Any]
) -> Iterator[tuple[str, Any]]:
    """Return the options that take results of earlier tasks, if these have registered any."""
    if "compared" in spec and COMPARED in variables:
        yield "compared", template(variables[COMPARED])
    if module in PLANNED_BY and IN_OUR_PLAY in variables:
        yield "planned", [template(variables[name]) for name in PLANNED_BY[module] if name in variables]


def fill_options(
    given: Mapping[str, Any],
    spec: Mapping[str, Any],
    path: Path,
    variables: Mapping[str, Any],
    template: Callable[[Any], Any],
) -> dict[str, Any]:
    """Return the options of a task in a role, with those that the rule of this file adds.

    :param given: the options of the task, to which Ansible has added ``module_defaults``.
    :param spec: the options of the module.
    :param path: the folder of the role.
    :param variables: the variables of the task, which are not evaluated yet.
    :raises InvalidInput: a setting is of another type.
    """
    own, known = own_options(path), role_options(path)

    def value_of(option: str) -> Any:
        name = f"{path.name}_{option}"
        if option in NOT_FILLED or name not in known:
            return None
        value = find_value(path.name, name, variables, template)
        return own.get(name, {}).get("default") if is_blank(value) else value

    options = {**dict(_fill(spec, given, value_of)), **given, **_chosen(path.name, given, spec, variables, template)}
    return {name: value for name, value in options.items() if value is not None}


def _chosen(
    role: str,
    given: Mapping[str, Any],
    spec: Mapping[str, Any],
    variables: Mapping[str, Any],
    template: Callable[[Any], Any],
) -> dict[str, Any]:
    """Return the options that a role chooses itself, which outrank ``module_defaults``.

    Otherwise, the region of an account's session would outrank the region of the instances. As options of the task,
    they would remove the play's options if the role chooses none.
    """
    variable = REGIONS.get(role, f"{role}_region")
    region = None
    if (own := f"{role}_region") in OF_STORING:
        region = find_value(role, own, variables, template)
    if is_blank(region):
        region = template(variables.get(variable))
    options: dict[str, Any] = {}
    if role in OF_HOSTS and IN_OUR_PLAY in variables:
        run = template(variables[INPUT])
        region, options = run["region"], _of_run(role, given.get("access"), run, variables)
    elif role in OF_HOSTS and (call := variables.get(COLLECTED, {})).get("role") == role:
        region, options = call["region"], {OF_HOSTS[role].option: call["by_region"]}
    if "trust_regions" in options:
        options["trust_regions"] = [*options["trust_regions"]]
    known = {name: value for name, value in options.items() if name in spec}
    return {**known, **({} if is_blank(region) else {"region": region})}


def _of_run(role: str, access: str | None, run: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a role that manages principals, for all hosts of an account in a play of our playbooks.

    :param access: the access of the principal.
    """
    fitted = variables.get(FITTED, {})
    # A playbook that does not fit policies to the configurations attaches them by their names; none stand for AWS's.
    policies = fitted if "server_policies" in fitted else run["fitted_policies"]
    rotation = {name: run[name] for name in ROTATION_OPTIONS} if ROTATION in run["requires"] else {}
    # The playbook that removes servers only uses a role for the users of these servers, never for those that remain.
    items = variables[LEAVING]["users_to_delete"] if REMOVAL in run["requires"] else run[OF_HOSTS[role].of_run]
    return {
        **rotation,
        OF_HOSTS[role].option: items,
        "access_policies": [*policies["server_policies"], *(policies["admin_policies"] if access == "admin" else ())],
        # The report lists the reasons after everything else was done.
        "fail_on_refused": False,
    }


def _names(spec: Mapping[str, Any]) -> Iterator[str]:
    """Return the names of options and suboptions."""
    for name, option in spec.items():
        yield name
        yield from _names(option.get("options", {})) if option.get("type") == "dict" else ()


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
