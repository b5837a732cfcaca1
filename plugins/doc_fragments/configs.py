# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``CONFIGS_SPEC``, for modules that work on the configurations of an inventory."""

    DOCUMENTATION = r"""
options:
  configs:
    description: The configurations. Those that are already stored are not stored again.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the parameter. It begins with C(AmazonCloudWatch-).
        type: str
        required: true
      file:
        description:
          - The path of the file on the controller. A relative path is searched for in the folder where Ansible was
            started, then beside the inventory, then beside the playbook.
          - Required, unless an earlier version is stored again.
        type: str
        default: ""
      regions:
        description:
          - The regions to store this configuration in, instead of the regions of all configurations. Two configurations
            for different regions can have the same name.
        type: list
        elements: str
        default: []
  regions:
    description: The regions to store configurations in. An empty text stands for the region of the task.
    type: list
    elements: str
    default: [""]
  agent_schema:
    description:
      - The path of a JSON schema of the agent on the controller.
    type: str
    default: ""
  parameter_tier:
    description:
      - As O(cwagent.iam.cwagent_config_parameter#module:parameter_tier). An empty text is the default of that option.
    type: str
    choices: ["", Standard, Advanced]
    default: ""
  config_version:
    description:
      - The earlier version to store again, as a new version. The files are not read then. It is a number, V(previous),
        or a list of names with versions, such as V(AmazonCloudWatch-linux=41,AmazonCloudWatch-windows=previous).
      - V(previous) is the last state with different content from the current one. If the current state has brought back
        an earlier one, it stays, so a second run changes nothing.
      - The parts of a configuration that was split go back together. The description of each version in Parameter Store
        records which belong together. If somebody else has stored the wanted version, name the version of each part,
        such as V(AmazonCloudWatch-linux=41,AmazonCloudWatch-linux-2=7).
      - Validation only prints warnings for problems that an agent may accept.
    type: str
    default: ""
  emf_log_groups:
    description:
      - The log groups to which applications send metrics in the embedded metric format (EMF). They are not in the
        configuration, so an agent that receives EMF needs this list for a fitted policy.
      - C(*) stands for any characters.
    type: list
    elements: str
    default: []
  compared:
    description:
      - The result of a task of M(cwagent.iam.cwagent_store_config) with the state V(compared) and the same options. Its
        configurations are not validated again. The module reads their files again, and fails if one has changed.
      - Without it, the module validates the configurations. A digest detects a changed or truncated file. It does not
        protect against somebody who can change this result.
    type: dict
"""
