# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``PLACE_SPEC``, for modules that find saved access keys."""

    DOCUMENTATION = r"""
options:
  key_store:
    description:
      - Where the access key is saved. V(file) is a file C(<user name>.credentials) on the controller,
        V(parameter_store) a SecureString parameter of Systems Manager, V(secrets_manager) a secret of Secrets Manager.
    type: str
    choices: [file, parameter_store, secrets_manager]
    default: file
  key_store_directory:
    description: The folder on the controller with the files, for O(key_store=file).
    type: path
    default: ~/.cwagent/credentials
  key_store_prefix:
    description: The prefix of the names of parameters and secrets. The name of the user follows it.
    type: str
    default: /cwagent/credentials/
"""
