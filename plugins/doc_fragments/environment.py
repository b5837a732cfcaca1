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
      - Unlike the keyword C(environment) of a task, which Ansible prints at C(-vvvv) and has in the arguments of a
        process, this option is in no output, and neither are the passwords and keys in it.
      - It is applied when the module has started. So it has no effect for what Python and its libraries read before,
        such as C(PATH), C(PYTHONPATH), C(LD_LIBRARY_PATH) and the C(LC_) variables; use the keyword for these.
    type: dict
"""
