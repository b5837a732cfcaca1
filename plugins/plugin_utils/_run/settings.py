# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How variables of roles and playbooks reach the options of modules, and which host calls the modules of a role.

The rule for an option is at ``fill_options``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.yaml import yaml_load

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._ground.text import join_first
from .given import EMPTY, REMOVAL, ROTATION
from .hosts import ADMIN_USER, flatten
from .run import read_run
from .task import check_facts
from .values import CONFIGS_OF_ROLE, MAX_SHOWN_HOSTS, is_blank, to_typed
from .variables import ENVIRONMENT, HOST_VARIABLES, KEY_FILE_GROUP, KEY_FILE_OWNER, NODE_ID, ROTATION_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .run import Run

    ByRegion = Mapping[str, Sequence[str]]
    Inputs = Mapping[str, Any]


@cache
def read_specs(role: Path) -> dict[str, Any]:
    """Return the specs of a role by entry point. :param role: its folder. :raises InvalidInput: there are none."""
    path = role / "meta" / "argument_specs.yml"
    if not path.is_file():
        raise InvalidInput(f"The role {role.name} has no argument specs. Only roles of this collection call this.")
    specs: dict[str, Any] = yaml_load(path.read_text("utf-8"))["argument_specs"]
    return specs


@cache
def read_defaults(role: Path) -> dict[str, Any]:
    """Return the default values of the variables of a role, which can be templates. :param role: its folder."""
    path = role / "defaults" / "main.yml"
    defaults: dict[str, Any] = yaml_load(path.read_text("utf-8")) if path.exists() else {}
    return defaults


@cache
def playbook_options() -> dict[str, Any]:
    """Return the variables of the playbooks with their options, which are the settings that the roles share."""
    subjects = yaml_load((PLAYBOOKS / "vars" / "argument_specs.yml").read_text("utf-8"))["argument_specs"].values()
    return {name: option for subject in subjects for name, option in subject["options"].items()}


# The variables of a host under which the tasks of these roles register their input and the collected values.
READ, COLLECTED = "__cwagent_role_inputs", "__cwagent_role_call"


@dataclass(frozen=True)
class Collected:
    """The values that a role collects from the hosts of an account.

    :param of_host: the option of the role, which has a value for each host, as ``region`` does.
    :param option: the option of modules that gets the values of all hosts.
    :param of_run: in a play of our playbooks, the field of the run that has these values.
    """

    of_host: str
    option: str
    of_run: str

    @property
    def of_hosts(self) -> tuple[str, str]:
        """All options of the role with a value for each host."""
        return (self.of_host, "region")


# By role that calls its modules once for all hosts of an account.
OF_HOST = {
    "ec2_server": Collected("instances", "instances", "instances"),
    "ec2_admin": Collected("instances", "instances", "instances"),
    "onprem_server": Collected("users", "users_by_region", "server_users"),
    "onprem_admin": Collected("users", "users_by_region", "admin_users"),
    "hybrid_server": Collected("regions", "trust_regions", "hybrid_server_regions"),
}


def items_of_host(role: str, values: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Return the instances or users of a host by region, or only regions; ``None`` if the host can be an instance.

    Those without a region are in the region of the host.

    :param values: the values of the role's variables.
    """
    of = {option: values.get(f"{role}_{option}") for option in OF_HOST[role].of_hosts}
    if "regions" in of:
        return {region: [] for region in of["regions"] or ()}
    found = of["instances"] if "instances" in of else {"": of["users"] or []}
    return None if found is None else _merge({region or of["region"] or "": found[region]} for region in found)


def plan_call(
    own: Inputs,
    inputs: Iterable[tuple[str, Inputs]],
    failed: Sequence[str],
    instances_of: Callable[[Mapping[str, str]], ByRegion],
) -> dict[str, Any]:
    """Return whether this host calls the modules of the role, and for which instances, users or regions.

    The first host of an account calls them for all. Hosts that failed before the role belong to the only account that
    there is. With several accounts, theirs is unknown.

    :param own: the result that this host has registered.
    :param inputs: the hosts of the batch in order, each with what it has registered. They are read only as far as
        necessary. With ``run_once``, all of them have the result of one host.
    :param failed: the hosts that failed before the role.
    :param instances_of: returns the instances among some hosts by region. It takes the names of the hosts, each with
        the region of an instance without one.
    :raises InvalidInput: a value differs between the hosts of the account.
    """
    hosts: dict[str, Inputs] = {}
    is_only = True
    for name, each in inputs:
        if each["account"] != own["account"]:
            is_only = False
        elif hosts or each["host"] == own["host"]:
            hosts[name] = each
        else:
            return {"is_first": False}
    _check_values(hosts)
    region = next((each["default_region"] for each in hosts.values() if each["default_region"]), "")
    possible = {name: each["default_region"] for name, each in hosts.items() if each["by_region"] is None}
    if is_only and len(possible) == len(hosts):
        possible |= dict.fromkeys(failed, region)
    given = [each["by_region"] for each in hosts.values() if each["by_region"] is not None]
    items = _merge([*given, instances_of(possible)])
    # Items without a region are in the default region of the modules, and no option must give them another one.
    return {"is_first": True, "by_region": items, "region": "" if "" in items else region or next(iter(items), "")}


def instances_of(hostvars: Mapping[str, Mapping[str, Any]], regions: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the EC2 instances among some hosts by region. An ID of several hosts is in the region of the first one.

    The region is in ``cwagent_region`` or, from the inventory ``amazon.aws.aws_ec2``, in ``placement.region``.

    :param regions: the names of the hosts, each with the region of an instance without one.
    """
    found: dict[str, str] = {}
    for host, default in regions.items():
        variables = hostvars[host]
        placement = variables.get("placement")
        from_inventory = placement.get("region") if isinstance(placement, Mapping) else None
        if instance := _text(variables, "instance_id"):
            found.setdefault(instance, _text(variables, "cwagent_region") or str(from_inventory or "") or default)
    return {region: [each for each in found if found[each] == region] for region in found.values()}


def _text(variables: Mapping[str, Any], name: str) -> str:
    """Return a variable without surrounding blanks, which a survey can leave."""
    return str(variables.get(name) or "").strip()


def _merge(of_hosts: Iterable[ByRegion]) -> dict[str, list[str]]:
    """Return the items of hosts by region, each item once. Items without a region come first."""
    merged: dict[str, dict[str, None]] = {}
    for by_region in of_hosts:
        for region, items in by_region.items():
            merged.setdefault(region, {}).update(dict.fromkeys(items))
    return {region: [*merged[region]] for region in sorted(merged, key=bool)}


def _check_values(hosts: Mapping[str, Inputs]) -> None:
    """Check that each variable has one value on all hosts. :raises InvalidInput: with the variables and the hosts."""
    variables: dict[tuple[tuple[str, ...], ...], dict[str, None]] = {}
    for variable in next(iter(hosts.values()))["variables"]:
        groups: dict[str, list[str]] = {}
        for name, each in hosts.items():
            groups.setdefault(each["variables"][variable]["digest"], []).append(name)
        if len(groups) > 1:
            # A variable that nobody set follows another one, with the same hosts for each value.
            names = [name for each in hosts.values() if (name := each["variables"][variable]["set_as"])]
            variables.setdefault(tuple(map(tuple, groups.values())), {}).update(dict.fromkeys(names))
    if variables:
        problems = [_to_sentence([*names], groups) for groups, names in variables.items()]
        raise InvalidInput(
            f"{' '.join(problems)} Set the same value for these hosts, or use one play for the hosts with each value."
        )


def _to_sentence(names: Sequence[str], groups: Sequence[Sequence[str]]) -> str:
    of_groups = [f"one value for {join_first(group, MAX_SHOWN_HOSTS)}" for group in groups[:MAX_SHOWN_HOSTS]]
    more = len(groups) - len(of_groups)
    shown = "; ".join([*of_groups, *([f"and {more} more"] if more else [])])
    return f"All hosts of an account must have the same {' and '.join(names)}, but there is {shown}."


COLLECTION = "cwagent.iam."
ROLES = Path(__file__).parents[3] / "roles"
PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
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
SETTINGS_OF_HOST = frozenset({"cwagent_user_name", "cwagent_admin_user_name", NODE_ID, KEY_FILE_OWNER, KEY_FILE_GROUP})
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
    return next(
        (each for each in settings if each in playbook_options().keys() - HOST_VARIABLES | SETTINGS_OF_HOST), ""
    )


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
    if variable in OF_STORING and IN_OUR_PLAY in variables and (run := read_run(template(variables[INPUT]))):
        return OF_STORING[variable](run, variables["hostvars"])
    own = template(variables[variable]) if variable in variables else None
    return find_shared_value(shared_setting(role, variable), variables, template) if is_blank(own) else own


def find_shared_value(setting: str, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Any:
    """Return the value of a setting; ``None`` if it is blank or no setting.

    :param template: evaluates a value. The result for a value that cannot be evaluated can be ``Undefined``.
    :raises InvalidInput: it is of another type, or cannot be evaluated.
    """
    if setting and setting not in SETTINGS_OF_HOST and IN_OUR_PLAY in variables:
        return template(variables[INPUT])[setting.removeprefix("cwagent_")]
    if setting in variables:
        return to_typed(setting, playbook_options()[setting], template(variables[setting]))
    return None


def is_in_our_role(task: Any) -> bool:
    """Return whether a task belongs to a role of this collection."""
    return bool(task._role) and task._role.get_name().startswith(COLLECTION)


def fill_task(action: Any, variables: Mapping[str, Any], spec: Mapping[str, Any] | None = None) -> None:
    """Add options to the task of an action by the rule of ``fill_options``, if it belongs to our roles or playbooks.

    A module that is called outside our roles takes no variable. Only the tasks of our playbooks take a few settings of
    the run without listing them. The options ``compared`` and ``planned`` take results of earlier tasks, under the
    names that these tasks register.

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
    """Return the options of a task in a role, with those that this rule adds.

    An option that neither the task nor ``module_defaults`` set gets the first of these values that is not blank:

    1. the variable of the role, which is the name of the role, an underscore and the name of the option; in a playbook
       of this collection, the value that the run decides, for those in ``OF_STORING``
    2. the setting that all roles share, which is ``cwagent_`` and the name of the option; in a playbook of this
       collection, the value that the run has validated
    3. the default in the argument specs of the role, for a variable that has no setting, or another default than the
       option of the module

    A role has a variable for each option of its modules that has a setting. If no value counts, the default of the
    module does, as it does if the task sets the option to null. The region of a role, and the instances, users or
    regions that it has collected, outrank even ``module_defaults``.

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
    if role in OF_HOST and IN_OUR_PLAY in variables:
        run = template(variables[INPUT])
        region, options = run["region"], _of_run(role, given.get("access"), run, variables)
    elif role in OF_HOST and (call := variables.get(COLLECTED, {})).get("role") == role:
        region, options = call["region"], {OF_HOST[role].option: call["by_region"]}
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
    items = variables[LEAVING]["users_to_delete"] if REMOVAL in run["requires"] else run[OF_HOST[role].of_run]
    return {
        **rotation,
        OF_HOST[role].option: items,
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
