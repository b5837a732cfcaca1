# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of modules that report users and saved keys that no host of the inventory has."""

    DOCUMENTATION = r"""
options:
  users:
    description: Names of users. With O(report_unlisted), they are all users of the inventory.
    type: list
    elements: str
    default: []
  report_unlisted:
    description:
      - Whether to report users and saved keys that this collection manages and that are not in O(users). They are not a
        problem, because another inventory can contain them.
      - The module reports users with the mark of this collection, and saved keys in O(key_store_directory) or
        O(key_store).
      - Users are read with C(iam:GetAccountAuthorizationDetails), in pages of up to a thousand.
    type: bool
    default: false
  key_store_directory:
    description: The folder of the credentials files of users. Without it, no files are read.
    type: path
  key_store:
    description:
      - Where the access keys of O(users) are saved, for O(report_unlisted).
      - With V(parameter_store) and V(secrets_manager), the module finds saved keys through the names and descriptions
        of parameters or secrets. It reads no value. For each region, this takes one call of C(ssm:DescribeParameters)
        for every 50 parameters, or one of C(secretsmanager:ListSecrets) for every 100 secrets. If a call is not
        possible, RV(unlisted) mentions that.
      - If the user of a saved key was not found in the account, the module confirms with C(iam:GetUser) that it does
        not exist. If that is not possible, the saved key is not reported.
      - A secret that is scheduled for deletion is not reported.
    type: str
    choices: [file, parameter_store, secrets_manager]
    default: file
  key_store_prefix:
    description:
      - The beginning of the names of these parameters and secrets. Parameters and secrets of others with such a name
        are not reported.
    type: str
    default: /cwagent/credentials/
  key_store_regions:
    description: The regions of these parameters and secrets. The default is the region of the module.
    type: list
    elements: str
    default: []
"""
