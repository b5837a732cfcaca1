# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names under which the tasks of playbooks and roles register their results for the report. Pure.

The report reads nothing else. A task that can change something registers its result under one of these names.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """A registered name.

    :param by: the playbooks, the tasks of playbooks and the roles that register it.
    :param of_server: whether a server of the account registers it, instead of the host of the account.
    :param adds_server: whether the report adds the server to its steps, which do not contain it.
    """

    name: str
    by: tuple[str, ...]
    of_server: bool = False
    adds_server: bool = False


NAMES = (
    # In the order of site.yml, then what only other playbooks register.
    Name("__cwagent_restored", ("tasks/begin.yml", "tasks/restore.yml")),
    Name("__store_config_compared", ("store_config",)),
    Name("__store_config_fitted", ("store_config",)),
    Name("__ec2_server_role_result", ("ec2_server",)),
    Name("__ec2_server_instances_result", ("ec2_server",)),
    Name("__ec2_server_detached", ("ec2_server",)),
    Name("__ec2_admin_role_result", ("ec2_admin",)),
    Name("__ec2_admin_window_result", ("ec2_admin",)),
    Name("__ec2_admin_instances_result", ("ec2_admin",)),
    Name("__onprem_server_result", ("onprem_server",)),
    Name("__onprem_admin_result", ("onprem_admin",)),
    Name("__onprem_admin_window_result", ("onprem_admin",)),
    Name("__hybrid_server_role_result", ("hybrid_server",)),
    Name("__store_config_result", ("store_config",)),
    Name("__hybrid_registration_node", ("hybrid_registration",), of_server=True),
    Name("__hybrid_registration_files", ("hybrid_registration",), of_server=True, adds_server=True),
    Name("__onprem_credentials_files", ("onprem_credentials",), of_server=True, adds_server=True),
    Name("__cwagent_retired", ("tasks/retire.yml",)),
    Name("__cwagent_search", ("tasks/unlisted.yml",)),
    Name("__cwagent_leaving", ("remove_servers.yml",)),
    Name("__cwagent_disassociated", ("remove_servers.yml",)),
    Name("__cwagent_detached", ("remove_servers.yml", "tasks/remove.yml")),
    Name("__cwagent_deleted_parameters", ("tasks/remove.yml",)),
    Name("__cwagent_deregistered", ("tasks/deregister.yml",)),
    Name("__cwagent_deleted_policies", ("tasks/fitted.yml",)),
    Name("__verify_applied", ("verify",), of_server=True, adds_server=True),
    Name("__verify_labelled", ("verify",)),
    Name("__verify_renamed", ("verify",), of_server=True, adds_server=True),
)
