# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems of the input as a whole: groups, conflicts, requirements, limit, and values that AWS refuses.

Only the check of the place for access keys reads anything: the mode of their folder, and the variables of a container.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.validation import check_type_path

from ...module_utils._agents.configs_plan import find_clash
from ...module_utils._configuration.parameter_plan import check_parameter_name
from ...module_utils._ground.errors import InvalidInput
from ...module_utils._ground.names import (
    check_label,
    check_name,
    check_node_id,
    check_path,
    check_policy_arn,
    check_region,
    check_tags,
    partition_of,
    tags_as_text,
)
from ...module_utils._keys.key_rotation import check_days
from ...module_utils._keys.stores import KEY_STORES, PLACE_SPEC, open_store
from ...module_utils._principals.policies import FITTED, SSM_SUCCESSOR
from ...module_utils._principals.principal_plan import REMOVE_BOUNDARY
from ...module_utils._principals.window_plan import check_minutes
from ...module_utils._servers.instance_profile_plan import ATTACH
from ...module_utils._storing.options import PREVIOUS, WAYS, read_wanted, version_of, version_problems
from .configurations import STORING_GROUPS
from .given import (
    ADMIN_INSTANCE,
    APPLY,
    AUDIT,
    CONFIGS,
    CONFIGS_ONLY,
    CONFIRMATION,
    EC2_ADMIN,
    EC2_SERVERS,
    GROUPS,
    KEY_STORE,
    ONPREM_ADMIN,
    ONPREM_SERVERS,
    POLICY,
    REMOVAL,
    ROTATION,
    SERVERS,
)
from .hosts import apply_limit, flatten
from .rotation import check_revocation
from .values import Problems, check_environment, is_blank, to_typed
from .variables import CONFIG_VERSION, ENVIRONMENT, NODE_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .given import Given
    from .run import Run


def check_kms_key(prefix: str, store: str, ssm_policy: str, kms_key_id: str, holder: str = "") -> None:
    """Check that an SSM policy that the run attaches does not let every server read the saved keys.

    :param prefix: how the names of the variables begin.
    :param ssm_policy: empty if the run changes none, ``none`` if it detaches it.
    :param holder: the role that has the policy in any case. By default, a variable chooses the policy.
    :raises InvalidInput: the policy lets them.
    """
    # The ID of an AWS managed key looks like the ID of a key of the user.
    is_aws_managed = kms_key_id.rpartition(":")[2].startswith("alias/aws/")
    if KEY_STORES[store].ARE_PARAMETERS and ssm_policy not in ("", "none") and (is_aws_managed or not kms_key_id):
        key = f"'{kms_key_id}', an AWS managed key" if kms_key_id else "not set"
        cause = f"{holder} has" if holder else f"{prefix}_ssm_policy is"
        raise InvalidInput(
            f"{prefix}_key_store_kms_key_id is {key}, {prefix}_key_store is {store}, and {cause} {ssm_policy}. "
            f"That policy allows reading every parameter that the AWS managed key encrypts, including "
            f"the saved access keys. Set {prefix}_key_store_kms_key_id to a KMS key that the servers cannot use."
        )


def check_role_key_store(role: str, options: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> None:
    """Check where a role saves keys; nothing for a role that saves none.

    :param options: the options in the role's argument specs.
    :param values: the values of its variables, which have valid types.
    :raises InvalidInput: the keys cannot be saved there.
    """
    name = f"{role}_key_store_allow_ephemeral"
    if name not in options or values.get(f"{role}_state") == "absent":
        return
    by_region = values.get(f"{role}_users_by_region") or {"": values.get(f"{role}_users", [])}
    users = [user for users in by_region.values() for user in users]
    place = {option: values[f"{role}_{option}"] for option in PLACE_SPEC}
    place["key_store_directory"] = check_type_path(place["key_store_directory"])  # as the option of the module takes it
    allowed = bool(to_typed(name, options[name], values[name]))
    open_store({**place, "key_store_allow_ephemeral": allowed}, users)
    if users:
        policy, key = (values[f"{role}_{option}"] for option in ("ssm_policy", "key_store_kms_key_id"))
        check_kms_key(role, place["key_store"], *("" if is_blank(each) else each for each in (policy, key)))


# Playbooks with one of these requirements store no configuration. The first ones need no hosts in groups.
WITHOUT_GROUPS = {CONFIGS_ONLY, AUDIT, SERVERS, REMOVAL}
WITHOUT_STORING = {*WITHOUT_GROUPS, CONFIRMATION, ROTATION}


def check_groups(given: Given, run: Run, problems: Problems) -> None:
    """Report groups without hosts, and groups of admin hosts with too many or too few hosts."""
    if WITHOUT_GROUPS & {*given.requires}:
        return
    storing_group = STORING_GROUPS.get(WAYS[run.settings["store_config_from"]].principal)
    stores = not WITHOUT_STORING & {*given.requires}
    ec2_admins, onprem_admins = given.members(EC2_ADMIN), given.members(ONPREM_ADMIN)
    if not given.groups.get("all"):
        problems.add("The inventory has no hosts. Pass an inventory with hosts.")
        return
    if given.found is None and run.account.has_filters:
        return  # it is checked again with the instances that were found
    if not given.members(*GROUPS) and (storing_group or not run.configs) and given.found is None:
        problems.add(_no_hosts(given))
        return
    needs_instance = ADMIN_INSTANCE in given.requires or (stores and storing_group == EC2_ADMIN and run.configs)
    lacks_instance = needs_instance and not ec2_admins and (given.members(*GROUPS) or given.found is None)
    if len(ec2_admins) > 1 and not needs_instance:
        problems.add(f"The group {EC2_ADMIN} must have at most one host, but has {', '.join(ec2_admins)}.")
    elif len(ec2_admins) > 1 or lacks_instance:
        problems.add(
            f"The group {EC2_ADMIN} must have exactly one host, the instance that stores the configuration, but has "
            f"{', '.join(ec2_admins) or 'none'}. {_admin_advice(given)}"
        )
    if len(onprem_admins) > 1 or (stores and storing_group == ONPREM_ADMIN and not onprem_admins):
        problems.add(
            f"The group {ONPREM_ADMIN} must have at most one host, and exactly one when cwagent_store_config_from is "
            f"onprem, but has {', '.join(onprem_admins) or 'none'}."
        )


def _no_hosts(given: Given) -> str:
    groups = ", ".join(GROUPS)
    if not given.accounts:
        return f"No host of the inventory is in one of the groups {groups}."
    return (
        f"Account {given.controller_host} has no servers: no host of the inventory in one of the groups {groups} has "
        "it as cwagent_account, and cwagent_account_server_filters is not set."
    )


def _admin_advice(given: Given) -> str:
    if given.accounts:
        return (
            f"For account {given.controller_host}, set cwagent_account_admin_instance_id or "
            "cwagent_account_admin_filters, or cwagent_account for exactly one host of the group."
        )
    if given.in_awx:
        return "In AWX, each slice of a job sees only some of the hosts; set job_slice_count to 1."
    if ADMIN_INSTANCE in given.requires:
        return "Only an EC2 instance can get the admin profile."
    return "To store it from another host, set cwagent_store_config_from."


def check_conflicts(run: Run, problems: Problems) -> None:
    """Report names that are used for two things."""
    admin, is_hybrid = run.settings["admin_role_name"], bool(run.hybrid_server_regions)
    for name in ("server_role_name", "hybrid_role_name")[: 1 + is_hybrid]:
        if run.settings[name].lower() == admin.lower():
            problems.add(
                f"cwagent_admin_role_name and cwagent_{name} are both '{admin}': every server could write to Parameter "
                "Store."
            )
    if is_hybrid and run.settings["hybrid_role_name"].lower() == run.settings["server_role_name"].lower():
        problems.add(
            f"cwagent_server_role_name and cwagent_hybrid_role_name are both '{run.settings['hybrid_role_name']}': a "
            "role trusts either EC2 or Systems Manager."
        )
    servers = {user.lower() for user in flatten(run.server_users) + flatten(run.retired_users)}
    for user in flatten(run.admin_users):
        if user.lower() in servers:
            problems.add(
                f"'{user}' would be both a server user and the admin user. Set another cwagent_user_name or "
                "cwagent_admin_user_name for the host."
            )


def check_requirements(given: Given, run: Run, problems: Problems) -> None:
    """Report the inputs that this playbook requires and that are missing."""
    if given.stores and run.settings["on_other_profile"] == ATTACH and not run.settings["attach_to_roles"]:
        problems.add(
            "cwagent_on_other_profile is attach, so set cwagent_attach_to_roles to the roles that may get the agent's "
            "policy."
        )
    if {CONFIGS, CONFIGS_ONLY} & {*given.requires} and not run.configs:
        problems.add("There is no configuration. Set cwagent_config_file or cwagent_configs.")
    _check_version(given, run, problems)
    if (given.stores and POLICY not in given.requires) or SERVERS in given.requires:
        _check_label(run, problems)
    if CONFIRMATION in given.requires and run.settings["confirm"] != "teardown":
        problems.add(
            "This deletes the roles, instance profiles, users, access keys, credentials files and stored "
            "configurations of this inventory, and deregisters its hybrid servers. To confirm, set cwagent_confirm to "
            "teardown."
        )
    if SERVERS in given.requires and not run.servers and not run.account.has_filters:
        if given.members(EC2_SERVERS, EC2_ADMIN, ONPREM_SERVERS):
            problems.add(
                "The limit leaves out all hosts of the groups cwagent_ec2_servers, cwagent_ec2_admin and "
                "cwagent_onprem_servers. Name the servers to check in it."
            )
        else:
            problems.add(
                "There are no servers: no host of the inventory is in one of the groups cwagent_ec2_servers, "
                "cwagent_ec2_admin and cwagent_onprem_servers."
            )


def _check_version(given: Given, run: Run, problems: Problems) -> None:
    """Report a version to store again that no configuration can have, or a playbook that stores files."""
    wanted = problems.check(read_wanted, run.settings["config_version"], where=f"{CONFIG_VERSION}: ") or {}
    if wanted and given.stores and CONFIGS not in given.requires:
        problems.add(f"{CONFIG_VERSION} is for store_config.yml. This playbook would use the file, so unset it.")
    if wanted and APPLY in given.requires:
        problems.add(f"{CONFIG_VERSION} is for store_config.yml. Store that version first, and apply it without this.")
    regions: dict[str, set[str]] = {}
    for region, names in run.config_names.items():
        for name in names:
            regions.setdefault(name, set()).add(region)
    for problem in version_problems(wanted, regions):
        problems.add(f"{CONFIG_VERSION}: {problem}")
    numbered = {name for name in regions if version_of(wanted, name) not in ("", PREVIOUS)}
    several = len(numbered) > 1 and "" in wanted
    accounts = [each for each in given.accounts if given.limit is None or each in given.limit]
    if several or any(len(regions[name]) > 1 for name in numbered) or (numbered and len(accounts) > 1):
        problems.add(
            f"{CONFIG_VERSION}: a number is the version of one configuration in one region and account. Use previous, "
            "names with versions, or an inventory with one region and account."
        )


def _check_label(run: Run, problems: Problems) -> None:
    """Report a label that is not valid, and configurations whose files on the servers would have the same name."""
    label = run.settings["config_label"] or ""
    if label:
        problems.check(check_label, label, where="cwagent_config_label: ")
    # In different regions, two configurations are on different servers.
    clashes = {clash for names in run.config_names.values() if (clash := find_clash(names, label))}
    for base, name in sorted(clashes):
        problems.add(
            f"The agent would save {name} in the file of a version or label of {base}. Choose another name or label."
        )


def check_limit(given: Given, run: Run, problems: Problems) -> None:
    """Report hosts that this playbook needs and that the limit leaves out."""
    if given.accounts:
        return  # the hosts of accounts do all the work without a connection
    host, stores = run.storing_host, run.stores and not WITHOUT_STORING & {*given.requires}
    if stores and given.limit is not None and host not in given.limit:
        problems.add(f"The limit leaves out host {host}, which stores the configuration. Run without it.")
    with_keys = given.members(ONPREM_SERVERS, ONPREM_ADMIN)
    if ROTATION in given.requires and with_keys and not apply_limit(given, with_keys):
        problems.add(
            f"The limit leaves out all hosts of the groups {ONPREM_SERVERS} and {ONPREM_ADMIN}. Name the hosts whose "
            "access keys to replace in it."
        )


def check_values(given: Given, run: Run, problems: Problems) -> None:
    """Report values that AWS would refuse, and places where access keys cannot be saved."""

    def check(variable: str, do_check: Callable[..., Any], *arguments: Any) -> None:
        problems.check(do_check, *arguments, where=f"{variable}: ")

    check("cwagent_server_role_name", check_name, "role", run.settings["server_role_name"])
    check("cwagent_admin_role_name", check_name, "role", run.settings["admin_role_name"])
    check("cwagent_hybrid_role_name", check_name, "role", run.settings["hybrid_role_name"])
    roles = [
        (variable, name) for variable in ("attach_to_roles", "detach_from_roles") for name in run.settings[variable]
    ]
    for variable, name in roles:
        check(f"cwagent_{variable}", check_name, "role", name)
    configs = [each["name"] for each in run.configs if each["name"] != run.settings["parameter_name"]]
    parameters = {
        "parameter_name": [run.settings["parameter_name"]],
        "configs": configs,
        "ignored_parameters": [each.rpartition(":")[2] for each in run.settings["ignored_parameters"]],  # REGION:NAME
    }
    for variable, names in parameters.items():
        check(f"cwagent_{variable}", lambda each: [*map(check_parameter_name, each)], names)
    for name in {each["name"] for each in run.configs}.intersection(run.settings["ignored_parameters"]):
        problems.add(f"cwagent_ignored_parameters: '{name}' is a configuration of the inventory. Remove it there.")
    _check_nodes(given, run, problems)
    check("cwagent_audit_regions", lambda regions: [*map(check_region, regions)], run.settings["audit_regions"])
    _check_keys(given, run, problems)
    check_revocation(given, run, problems)
    _check_policies(given, run, problems)
    check("cwagent_iam_path", check_path, run.settings["iam_path"] or None)
    check("cwagent_tags", check_tags, {str(key): str(value) for key, value in run.settings["tags"].items()})
    check("cwagent_parameter_tags", check_tags, tags_as_text(run.settings["parameter_tags"]))
    check("cwagent_admin_window_minutes", check_minutes, run.settings["admin_window_minutes"])
    of_hosts = {given.where(host, ENVIRONMENT): variables for host, variables in given.hosts.items()}
    for where, variables in {"": given.controller, **of_hosts}.items():
        if not is_blank(variables.get(ENVIRONMENT)):
            problems.check(check_environment, ENVIRONMENT, variables[ENVIRONMENT], where=where)


def _check_policies(given: Given, run: Run, problems: Problems) -> None:
    """Report policies and a boundary that are not ARNs, and fitted policies without a boundary."""
    boundary, partition = run.settings["permissions_boundary"], partition_of(run.region)
    for arn in run.settings["managed_policies"]:
        problems.check(check_policy_arn, arn, partition, "cwagent_managed_policies")
    if boundary and boundary != REMOVE_BOUNDARY:
        problems.check(check_policy_arn, boundary, partition, "cwagent_permissions_boundary")
    elif run.settings["server_policy"] == FITTED and {CONFIGS, KEY_STORE} & {*given.requires}:
        problems.add(
            "The servers get fitted policies, because cwagent_server_policy is fitted, or is not set and the account "
            "has them. So set cwagent_permissions_boundary to the ARN of a policy. IAM cannot limit the content of a "
            "fitted policy, but a boundary limits what it grants. To go back, set cwagent_server_policy to aws."
        )


def _check_nodes(given: Given, run: Run, problems: Problems) -> None:
    """Report IDs that no node of Systems Manager has, and a node of several hosts."""
    for node in run.settings["keep_nodes"]:
        problems.check(check_node_id, "cwagent_keep_nodes", node)
    nodes = {host: node for host, node in run.node_id.items() if node}
    for host, node in nodes.items():
        problems.check(check_node_id, NODE_ID, node, where=given.where(host, NODE_ID))
    for node, count in Counter(nodes.values()).items():
        if count > 1:
            problems.add(f"{NODE_ID} is {node} for {count} hosts; a node belongs to one host.")


def _check_keys(given: Given, run: Run, problems: Problems) -> None:
    """Report an age of access keys without a meaning, and a place that does not keep them secret."""
    problems.check(check_days, "cwagent_key_max_age_days", run.settings["key_max_age_days"], 0)
    if ROTATION in given.requires and run.settings["key_max_age_days"] == 0 and not run.settings["rotate_now"]:
        problems.add(
            "cwagent_key_max_age_days is 0, which means no limit and is only for cwagent.iam.audit. Set the age in "
            "days at which to replace an access key. To replace all keys now, set cwagent_rotate_now to true."
        )
    problems.check(check_days, "cwagent_key_delete_after_days", run.settings["key_delete_after_days"], 0)
    users = [*flatten(run.server_users), *flatten(run.retired_users), *flatten(run.admin_users)]
    if not users:
        return
    saves, store = KEY_STORE in given.requires, run.settings["key_store"]
    place = f"cwagent_{KEY_STORES[store].OPTION}"
    # The playbooks that save nothing run in any container.
    allowed = run.settings["key_store_allow_ephemeral"] or not saves
    problems.check(open_store, {**run.settings, "key_store_allow_ephemeral": allowed}, users, where=f"{place}: ")
    if saves:
        policy, key = run.settings["ssm_policy"], run.settings["key_store_kms_key_id"]
        # Systems Manager needs this policy, so the hybrid role always has it.
        if policy in ("", "none") and run.hybrid_server_regions:
            problems.check(check_kms_key, "cwagent", store, SSM_SUCCESSOR, key, "the hybrid role")
        else:
            problems.check(check_kms_key, "cwagent", store, policy, key)
