# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of modules that run on a host, which never appears in output."""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.validation import check_type_dict

# For modules that run on a host, where the tasks have to set the way to AWS. The documentation is a fragment.
ENVIRONMENT_SPEC: dict[str, Any] = {"environment": {"type": "dict", "no_log": True}}
# The parts of an environment that must never appear in output, wherever they are from: the values of variables with
# such names, and the login before the host of a URL. Other values, such as a region, appear in results anyway.
_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSW|_KEY$", re.IGNORECASE)
_LOGIN_IN_URL = re.compile(r"://([^@\s]+)@")
# A password can have these although they should be percent-encoded. Libraries then quote a part of it.
_END_OF_HOST = re.compile("[/?#]")


class EnvironmentModule(AnsibleModule):  # type: ignore[misc]  # ansible comes without types
    """Takes the option ``environment`` away before anything can log it.

    Ansible prints the keyword of that name in the command line of the task, and the options of modules that failed.
    """

    def _load_params(self) -> None:
        super()._load_params()
        self.has_valid_environment = True
        if "environment" in self.argument_spec:
            try:
                self._set_environment(self.params.pop("environment", None))
            except (TypeError, ValueError):
                self.has_valid_environment = False

    def check_environment(self) -> None:
        """Fail if the environment is not valid. Nothing can fail while the options are read."""
        if not self.has_valid_environment:
            self.fail_json(msg="environment must be a mapping of names of variables to their values.")

    def _set_environment(self, given: Any) -> None:
        """Set the variables of this process before the options are read that have them as defaults.

        :raises TypeError, ValueError: the option is not a mapping, or the system cannot take a name or value.
        """
        variables = {
            str(name): "" if value is None else str(value) for name, value in check_type_dict(given or {}).items()
        }
        self.no_log_values |= {value for name, value in variables.items() if value and _SECRET_NAME.search(name)}
        for value in variables.values():
            for login in _LOGIN_IN_URL.findall(value):
                for part in (login, *_END_OF_HOST.split(login)):
                    self.no_log_values |= {part, part.partition(":")[2]} - {""}
        os.environ.update(variables)
