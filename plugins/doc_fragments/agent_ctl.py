# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The option of modules that change files of the agent and restart it."""

    DOCUMENTATION = r"""
options:
  agent_ctl:
    description:
      - The absolute path of the agent's control program on the host. If something changed and the agent was running, it
        is restarted.
      - Without it, or if there is no such file, the agent is not restarted.
      - From the first change until the agent was restarted, a file with the name of O(common_config) and C(.restart) is
        beside it. After a task that failed or was killed, it tells the next one to restart the agent.
    type: path
"""
