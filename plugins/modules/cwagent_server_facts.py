#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_server_facts
version_added: 1.0.0
short_description: (internal) Collect facts about the CloudWatch agent on a server
description:
  - Runs a POSIX shell script on the server, whose output M(cwagent.iam.cwagent_server_info) reads. The script changes
    nothing and prints no secret.
author: cwagent.iam contributors (@cwagent)
requirements:
  - python >= 3.9
options:
  server:
    description: The server, from the result of M(cwagent.iam.cwagent_server_info).
    type: dict
    required: true
extends_documentation_fragment:
  - cwagent.iam.attributes.reading
  - cwagent.iam.attributes
  - cwagent.iam.environment
seealso:
  - module: cwagent.iam.cwagent_server_info
"""

EXAMPLES = r"""
- name: Collect facts from the server
  cwagent.iam.cwagent_server_facts:
    server: "{{ server }}"
"""

RETURN = r"""
rc:
  description: The exit code of the script.
  returned: success
  type: int
  sample: 0
stdout:
  description: The facts, one in each line. The last line is C(end).
  returned: success
  type: str
stderr:
  description: The errors of the script.
  returned: success
  type: str
  sample: ""
"""

from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils import _environment
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server
from ansible_collections.cwagent.iam.plugins.module_utils._verify.script import script

SPEC: dict[str, Any] = {"server": {"type": "dict", "required": True}, **_environment.ENVIRONMENT_SPEC}


def main() -> None:
    module = _environment.EnvironmentModule(argument_spec=SPEC, supports_check_mode=True)
    module.check_environment()
    command = ["/bin/sh", "-c", script(Server.from_dict(module.params["server"]))]
    code, output, errors = module.run_command(command, expand_user_and_vars=False)
    module.exit_json(changed=False, rc=code, stdout=output, stderr=errors)


if __name__ == "__main__":
    main()
