# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name inside Ansible."""

from __future__ import annotations

from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction


class ActionModule(AwsAction):
    """Does the work of the module of this name inside Ansible if that makes no difference."""


ActionModule.preload("cwagent_account_info", "ec2", "iam", "sts")
