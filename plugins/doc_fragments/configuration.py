# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``Handling``, for modules that validate and store configurations."""

    DOCUMENTATION = r"""
options:
  config_validation:
    description:
      - How to treat errors about which the agent can know better, such as an unknown key, and parts that
        O(agent_schema) does not allow. V(strict) refuses the configuration, V(warn) prints warnings, and V(off) skips
        O(agent_schema) and all warnings.
      - Errors are refused in any case. These are a text that is not JSON, a section that the agent does not have, C({{)
        in a text, and a configuration that is too large.
    type: str
    choices: [strict, warn, "off"]
    default: strict
  has_onprem:
    description:
      - Whether servers that are not on EC2 read the configuration. With V(true), the module warns about settings that
        work on EC2 only.
    type: bool
    default: false
  split_config:
    description:
      - Whether a configuration that is too large for one parameter is split into several, C(NAME), C(NAME-2) and so on.
        Each is a valid configuration. An agent that fetches the first and appends the others gets the whole
        configuration.
      - The module sets the description of these parameters to a record of the parts that it stored together.
      - The module prints a warning about parameters that an earlier, larger configuration has left.
    type: bool
    default: false
  split_recent:
    description:
      - Whether O(split_config) may also split parts that only recent agents can merge. These are lists of C(jmx) and
        C(otlp), and the section C(opentelemetry).
    type: bool
    default: false
"""
