# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The environment of modules that run on a host."""

    DOCUMENTATION = r"""
options:
  environment:
    description:
      - Environment variables for the calls of this module, such as C(HTTPS_PROXY), C(NO_PROXY), C(AWS_CA_BUNDLE),
        C(AWS_EC2_METADATA_SERVICE_ENDPOINT), the other C(AWS_) variables, and C(HOME).
      - Ansible prints the keyword C(environment) of a task at C(-vvvv) and passes it in the arguments of a process.
        This option never appears in either, and neither do the passwords and keys in it.
      - The module applies it after it has started. So it has no effect on variables that Python and its libraries read
        earlier, such as C(PATH), C(PYTHONPATH), C(LD_LIBRARY_PATH) and the C(LC_) variables. Use the keyword for these.
    type: dict
"""
