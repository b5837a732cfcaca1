# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The paths of an SSM agent, which the controller hands on to the host."""

    DOCUMENTATION = r"""
options:
  ssm_agent:
    description:
      - The path of the program C(amazon-ssm-agent) on the host. By default, the module uses the one of the package or
        of the snap.
    type: str
    default: ""
  ssm_agent_config:
    description: The path of the configuration of the SSM agent on the host.
    type: str
    default: /etc/amazon/ssm/amazon-ssm-agent.json
  registration:
    description: The path of the file on the host in which the SSM agent saves its registration.
    type: str
    default: /var/lib/amazon/ssm/registration
"""
