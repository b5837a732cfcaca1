# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a module that ran on a managed server, which can have answered anything.

Ansible acts on some keys of any result: it sets facts, adds hosts and groups, notifies handlers and shows statistics.
Only the keys that a module returns are kept, and each has its type. Ansible shows warnings and other output before an
action gets the result, so the output itself is reduced first.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ansible.module_utils.json_utils import _filter_non_json_lines
from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._text import printable_texts
from ansible_collections.cwagent.iam.plugins.plugin_utils._ansible_core import warning_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

Types = dict[str, tuple[type, ...]]

# For a person. Nothing in it controls a terminal.
SHOWN: Types = {
    "msg": (str,),
    "module_stdout": (str,),
    "module_stderr": (str,),
    "exception": (object,),  # text before ansible-core 2.19
    "stdout": (str,),
    "stderr": (str,),
    "steps": (list,),
    "done": (list,),
    "not_done": (list,),
    "diff": (dict, list),
}
OF_ANY: Types = {
    **SHOWN,
    "changed": (bool,),
    "failed": (bool,),
    "skipped": (bool,),
    "rc": (int,),
    "counts": (dict,),
    "warnings": (list,),
}
OF_MODULES: dict[str, Types] = {
    "ping": {"ping": (str,)},
    "stat": {"stat": (dict,)},
    "slurp": {"content": (str,)},
    "cwagent_agent_config": {},
    "cwagent_credentials_file": {},
    "cwagent_shared_credentials": {
        "path": (str,),
        "profile": (str,),
        "caller": (str,),
        "caller_error": (str,),
    },
    "cwagent_store_host": {"identity": (dict,), "role_refused": (bool,)},
    "cwagent_ssm_agent": {
        "ssm_agent": (str,),
        "installation": (str,),
        "problem": (str,),
        "registration": (dict,),
        "marked": (bool,),
        "unfinished": (dict,),
    },
}
KEYS = {*OF_ANY, "deprecations", *(key for each in OF_MODULES.values() for key in each)}
# How long a line can be that is repeated.
MAX_PRINTED = 300


class HostAnswer(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """An action that runs modules on a managed server."""

    def _parse_returned_data(self, res: dict[str, Any], *profile: str) -> Any:
        """Read the output of a module as Ansible does, without anything that Ansible would act on or show."""
        return super()._parse_returned_data(reduce_output(res), *profile)


def reduce_output(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return the output of a module whose result has only keys of modules that run on servers.

    :param output: the result of a command. ``stdout`` is JSON if the command was a module that has ended.
    """
    try:
        text, _ignored = _filter_non_json_lines(output["stdout"], objects_only=True)
        result = json.loads(text)
    except (ValueError, RecursionError):
        return {**output, "stdout": printable_texts(output["stdout"]), "stderr": printable_texts(output["stderr"])}
    kept = {key: printable_texts(value) if _is_shown(key) else value for key, value in result.items() if key in KEYS}
    return {**output, "stdout": json.dumps(kept), "stderr": printable_texts(output["stderr"])}


def _is_shown(key: str) -> bool:
    return key in SHOWN or key in ("warnings", "deprecations")


def expect_result(module: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a module has returned, without any other keys. A value can be ``None``.

    :param module: its name, with or without the collection.
    :raises InvalidInput: a value has another type than the module returns.
    """
    types = {**OF_ANY, **OF_MODULES[module.rpartition(".")[2]]}
    kept = {key: value for key, value in result.items() if key in types and value is not None}
    if "warnings" in kept:
        kept["warnings"] = warning_texts(kept["warnings"]) if isinstance(kept["warnings"], list) else None
    for key, value in kept.items():
        if not isinstance(value, types[key]):
            raise InvalidInput(
                f"The host answered with a result that {module} cannot return: {key} is {type(value).__name__}. "
                "Check the host: something else than Ansible's modules answers there."
            )
    if not all(isinstance(count, int) for count in kept.get("counts", {}).values()):
        raise InvalidInput(f"The host answered with a result that {module} cannot return: counts has no numbers.")
    if kept.get("failed") and (output := _become_error(kept)):
        kept["msg"] = f"{kept.get('msg', '')} {output}".strip()
    return {**kept, **{key: None for key in types if key in result and result[key] is None}}


def _become_error(result: Mapping[str, Any]) -> str:
    """Return the error of the program that becomes root. Other output can repeat what the host was sent."""
    output = f"{result.get('module_stdout') or ''}\n{result.get('module_stderr') or ''}"
    found = re.search(r"^(?:sudo|su|doas): .+$", output, re.MULTILINE)
    return found[0][:MAX_PRINTED].rstrip() if found else ""


def discovered_python(action: Any) -> dict[str, Any]:
    """Return the fact by which Ansible remembers the Python that it has found on the host of an action."""
    name, python = action._discovered_interpreter_key, action._discovered_interpreter
    return {"ansible_facts": {name: python}} if name and isinstance(python, str) else {}
