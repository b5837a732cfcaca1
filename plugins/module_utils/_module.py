# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module in the Python that Ansible starts for it, from reading the options to the result or the failure."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import env_fallback
from ansible_collections.amazon.aws.plugins.module_utils.botocore import HAS_BOTO3
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule, aws_argument_spec

from ansible_collections.cwagent.iam.plugins.module_utils import _environment
from ansible_collections.cwagent.iam.plugins.module_utils._call import outcome
from ansible_collections.cwagent.iam.plugins.module_utils._converge import end
from ansible_collections.cwagent.iam.plugins.module_utils._errors import explain_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

_CREDENTIALS: dict[str, Any] = {
    # Not a secret, but the access key of a playbook's session in an account must never appear in output.
    "access_key": {**aws_argument_spec()["access_key"], "no_log": True},
    # AWX passes the token of temporary credentials under its older name too, which boto3 reads and amazon.aws does not.
    # Without the token, AWS refuses the key pair.
    "session_token": {
        **aws_argument_spec()["session_token"],
        "fallback": (env_fallback, ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"]),
    },
}


class _Module(_environment.EnvironmentModule):
    """Reads its options more strictly than Ansible, and hides one.

    It remembers the options that got text instead of a list, because Ansible splits such text at its commas. User names
    can contain commas, and each part of a name would become a user with an access key.
    """

    def _load_params(self) -> None:
        super()._load_params()
        self.split_options = {
            name: value
            for name, spec in self.argument_spec.items()
            if spec.get("type") == "list" and isinstance(value := self.params.get(name), str) and "," in value
        }

    def fail_json(self, msg: str, **details: Any) -> None:
        """End the module with a message, which can be one of amazon.aws."""
        super().fail_json(explain_connection(str(msg)), **details)


def complete_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a module with the common AWS options."""
    return {**aws_argument_spec(), **spec, **_CREDENTIALS}


def run_module(spec: dict[str, Any], rules: dict[str, Any], work: Callable[[Call], dict[str, Any]]) -> None:
    """Read the options, do the work, and end with its result.

    :param rules: further arguments of ``AnsibleModule``, such as ``required_if``.
    """
    # The only way that amazon.aws offers to choose the class of the module inside its own.
    AnsibleAWSModule.default_settings["module_class"] = _Module
    # Without boto3, amazon.aws would report that it is missing, but not how to install it.
    module = AnsibleAWSModule(
        argument_spec=complete_spec(spec), supports_check_mode=True, check_boto3=HAS_BOTO3, **rules
    )
    if not HAS_BOTO3:
        module.fail_json(
            msg=f"boto3 is not installed for {sys.executable} on this host. Install it there, for instance with the "
            "ansible.builtin.package module and name python3-boto3, or with "
            f"'{sys.executable} -m pip install boto3'; or point ansible_python_interpreter to a Python that has it, "
            "for localhost to '{{ ansible_playbook_python }}'."
        )
    module._module.check_environment()
    for name, value in module._module.split_options.items():
        module.fail_json(msg=f"{name} must be a list; Ansible would split the text '{value}' at its commas.")
    result = outcome(work, module)
    # At its end, Python would search everything that boto3 loaded for garbage, which takes a fifth of a task's time.
    gc.freeze()
    end(module, result)
