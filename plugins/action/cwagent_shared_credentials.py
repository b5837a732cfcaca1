# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name on the host, and keeps only its result."""

from __future__ import annotations

from ansible_collections.cwagent.iam.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """Runs the module on the host."""
