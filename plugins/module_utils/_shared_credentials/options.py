# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns the options of ``cwagent_shared_credentials`` into the desired state of the files on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._environment import ENVIRONMENT_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._files import check_paths
from ansible_collections.cwagent.iam.plugins.module_utils._names import check_region, name_of
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.ssm_agent import find_configuration
from ansible_collections.cwagent.iam.plugins.module_utils._ssm_agent.model import Configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SPEC: dict[str, Any] = {
    "region": {"type": "str", "required": True},
    "common_config": {"type": "path", "default": "/opt/aws/amazon-cloudwatch-agent/etc/common-config.toml"},
    "agent_ctl": {"type": "path"},
    "ssm_agent_config": {"type": "path", "default": "/etc/amazon/ssm/amazon-ssm-agent.json"},
    "credentials_file": {"type": "path"},
    "role": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "wait_timeout": {"type": "int", "default": 180},
    "endpoint": {"type": "dict"},
    **ENVIRONMENT_SPEC,
}


def desired_files(params: Mapping[str, Any], find_file: Callable[[], str]) -> Desired:
    """Return the desired state of the files.

    :param find_file: returns the path of the file that the SSM agent keeps.
    :raises CwagentError: an option cannot be used on this host, or the SSM agent does not share its credentials.
    """
    check_paths(params, "common_config", "agent_ctl", "ssm_agent_config", "credentials_file")
    check_region(params["region"])
    is_present = params["state"] == "present"
    configuration = find_configuration(params["ssm_agent_config"])
    if configuration is None:
        if is_present:
            raise CwagentError(
                f"{params['ssm_agent_config']} is not valid, so the SSM agent ignores it, and it is unknown which "
                "settings apply after its next restart. Fix or delete the file, and restart the SSM agent. Nothing was "
                "changed."
            )
        configuration = Configuration()
    if is_present and not configuration.shares_credentials:
        raise CwagentError(
            f"The SSM agent of this server does not write its credentials to a file (Profile.ShareCreds is false in "
            f"{params['ssm_agent_config']}), so the CloudWatch agent cannot use them. Remove that setting and restart "
            "the SSM agent, or use an access key for this server (cwagent_onprem_identity: key). Nothing was changed."
        )
    file = params["credentials_file"] or find_file()
    role = name_of(params["role"]) if params["role"] else None
    return Desired(params["region"], file, params["common_config"], configuration.profile, is_present, role)
