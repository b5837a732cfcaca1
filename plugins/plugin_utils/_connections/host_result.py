# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a module that ran on a managed server, which can have answered anything.

Ansible acts on some keys of any result: it sets facts, adds hosts and groups, notifies handlers and shows statistics.
Only the keys that a module returns are kept, and each has its type. Ansible shows warnings and other output before an
action gets the result, so it only ever reads an output that was made here: one object in JSON, or text without any.

Runs a module on a managed server, and keeps of its answer only what the module returns.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.json_utils import _filter_non_json_lines
from ansible.plugins.action import ActionBase
from ansible.plugins.action.normal import ActionModule as NormalAction

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._ground.text import printable_lines, to_printable
from .._run.ansible_core import warning_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


Types = dict[str, tuple[type, ...]]

OF_ANY: Types = {
    "msg": (str,),
    "module_stdout": (str,),
    "module_stderr": (str,),
    "exception": (object,),  # text before ansible-core 2.19
    "stderr": (str,),
    "steps": (list,),
    "done": (list,),
    "not_done": (list,),
    "diff": (dict, list),
    "changed": (bool,),
    "failed": (bool,),
    "skipped": (bool,),
    "rc": (int,),
    "stdout": (str,),
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
OF_ALL: Types = {**OF_ANY, **{key: types for each in OF_MODULES.values() for key, types in each.items()}}
# Limits that no module of ours reaches: characters of an output, numbers, levels, and values.
# The diff of a configuration has the most levels, because the configuration itself can have 64.
MAX_OUTPUT, MAX_NUMBER, MAX_DEPTH, MAX_VALUES = 4_000_000, 2**63, 80, 50_000
# The most characters of a text, by key, and of all texts of other keys together. The longest is the agent's schema.
LONG_TEXTS = {"content": 2_000_000, "stdout": 200_000}
MAX_TEXT, MAX_OF_DIFF, MAX_TEXTS = 4_000, 40_000, 200_000
# How long a line can be that is repeated.
MAX_PRINTED = 300
CHECK_THE_HOST = "Check the host: something other than Ansible's modules answers there."
_CUT = "\n…\n"
# Ansible makes objects of mappings with such keys.
_OF_ANSIBLE = ("__ansible_", "_ansible_")


class HostAnswer(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """An action that runs modules on a managed server."""

    def _parse_returned_data(self, res: dict[str, Any], *profile: str) -> Any:
        """Read the output of a module as Ansible does, without anything that Ansible would act on or show."""
        return super()._parse_returned_data(reduce_output(res), *profile)


def reduce_output(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return the output of a module as one object in JSON, which has only keys of modules that run on servers.

    If the output has none, it is the printable text, in which Ansible finds no JSON either.

    :param output: the result of a command. ``stdout`` is JSON if the command was a module that has ended.
    """
    result = _read_object(output["stdout"])
    text = _without_objects(output["stdout"]) if result is None else json.dumps(_reduce(result))
    errors = _shown_text(output["stderr"])
    lines = {"stdout_lines": text.splitlines(), "stderr_lines": errors.splitlines()}
    return {**output, "stdout": text, "stderr": errors, **{key: lines[key] for key in lines if key in output}}


def _read_object(text: str) -> dict[str, Any] | None:
    """Return the object in an output; ``None`` if there is none, or if no module prints that much."""
    if len(text) > MAX_OUTPUT:
        return None
    try:
        found = json.loads(_filter_non_json_lines(text, objects_only=True)[0])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _without_objects(text: str) -> str:
    """Return a printable text in which no line begins an object."""
    return re.sub(r"^(?=[ \t]*\{)", "| ", _shown_text(text), flags=re.MULTILINE)


def _shown_text(text: object, most: int = MAX_TEXT) -> str:
    """Return a printable text, without its middle if it is long. An error is at the end of a traceback."""
    found = str(text)
    if len(found) > most:
        half = max(0, most - len(_CUT)) // 2
        found = f"{found[:half]}{_CUT}{found[len(found) - half :]}"[:most]
    return printable_lines(found)


def _reduce(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with the known keys. If a value has a type that no module returns, it is a failure instead."""
    warnings = _messages(result.get("warnings")) + _messages(result.get("deprecations"))
    given = {key: result[key] for key in OF_ALL if key in result}
    if "exception" in given:
        given["exception"] = " ".join(_messages([given["exception"]])) or None
    if isinstance(given.get("warnings", []), list):
        given["warnings"] = warnings
    try:
        _check_types("a module", OF_ALL, given)
    except InvalidInput as error:
        return {"failed": True, "msg": str(error)}
    return {key: value for key, value in _Reader().read_all(given).items() if key != "warnings" or value}


def _messages(value: Any) -> list[str]:
    """Return the texts in a list of warnings, deprecations or errors, in whichever form a module returns them."""
    entries = value[:MAX_VALUES] if isinstance(value, list) else []
    return [text for each in entries if (text := _message(each, MAX_DEPTH))]


def _message(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not depth:
        return ""
    inner = (value.get("formatted_traceback"), value.get("msg"), value.get("event"))
    return next((text for each in inner if (text := _message(each, depth - 1))), "")


@dataclass
class _Reader:
    """Reads values of a host, which together have a limit."""

    values: int = MAX_VALUES
    characters: int = MAX_TEXTS

    def read_all(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return a result whose values are printable, not deep, and not many."""
        return {
            key: _shown_text(value, LONG_TEXTS[key])
            if key in LONG_TEXTS and isinstance(value, str)
            else self._read(value, MAX_OF_DIFF if key == "diff" else MAX_TEXT)
            for key, value in result.items()
        }

    def _read(self, value: Any, longest: int, depth: int = MAX_DEPTH) -> Any:
        self.values -= 1
        if self.values < 0 or depth < 0:
            return None
        if isinstance(value, dict):
            kept = {key: each for key, each in value.items() if not str(key).startswith(_OF_ANSIBLE)}
            return {
                to_printable(str(key)[:MAX_PRINTED]): self._read(each, longest, depth - 1)
                for key, each in kept.items()
                if self.values > 0
            }
        if isinstance(value, (list, tuple)):
            return [self._read(each, longest, depth - 1) for each in value if self.values > 0]
        if isinstance(value, str):
            text = _shown_text(value, min(longest, self.characters))
            self.characters -= len(text)
            return text
        if isinstance(value, int):  # a boolean, too
            return value if abs(value) < MAX_NUMBER else None
        return value if isinstance(value, float) and isfinite(value) else None


def _check_types(module: str, types: Types, result: Mapping[str, Any]) -> None:
    """Check the types of values. :raises InvalidInput: a value has another type than the module returns."""
    for key, value in result.items():
        if value is not None and not isinstance(value, types[key]):
            raise InvalidInput(
                f"The host answered with a result that {module} cannot return: {key} is {type(value).__name__}. "
                f"{CHECK_THE_HOST}"
            )
    for key in ("steps", "done", "not_done"):
        if not all(isinstance(each, str) for each in result.get(key) or ()):
            raise InvalidInput(
                f"The host answered with a result that {module} cannot return: {key} has no texts. {CHECK_THE_HOST}"
            )
    counts = result.get("counts") or {}
    if not all(isinstance(count, int) for count in counts.values()):
        raise InvalidInput(
            f"The host answered with a result that {module} cannot return: counts has no numbers. {CHECK_THE_HOST}"
        )
    diffs = result.get("diff") or []
    if not all(isinstance(each, dict) for each in (diffs if isinstance(diffs, list) else [diffs])):
        raise InvalidInput(
            f"The host answered with a result that {module} cannot return: diff has no mappings. {CHECK_THE_HOST}"
        )


def expect_result(module: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a module has returned, without any other keys. A value can be ``None``.

    Before 2.19, Ansible itself adds text that the host has chosen, such as warnings about its Python.

    :param module: its name, with or without the collection.
    :raises InvalidInput: a value has another type than the module returns.
    """
    types = {**OF_ANY, **OF_MODULES[module.rpartition(".")[2]]}
    kept = {key: value for key, value in result.items() if key in types and value is not None}
    if isinstance(kept.get("warnings"), list):
        kept["warnings"] = warning_texts(kept["warnings"])
    _check_types(module, types, kept)
    # An object is an error of Ansible, which it has made of an output that was reduced.
    errors = {key: kept.pop(key) for key in ("exception",) if is_dataclass(kept.get(key))}
    kept = {**_Reader().read_all(kept), **errors}
    if kept.get("failed") and (output := _become_error(kept)):
        kept["msg"] = f"{kept.get('msg', '')} {output}".strip()
    return {**kept, **{key: None for key in types if key in result and result[key] is None}}


def describe_failure(error: BaseException) -> str:
    """Return the message of an exception, which can quote what a host or its connection has printed."""
    return _shown_text(error).strip()


@contextmanager
def printable_errors() -> Iterator[None]:
    """Raise errors of Ansible with printable messages. They can quote the host."""
    try:
        yield
    except AnsibleError as error:
        message = describe_failure(error)
        if message == str(error).strip():
            raise
        kind = AnsibleConnectionFailure if isinstance(error, AnsibleConnectionFailure) else AnsibleError
        raise kind(message) from None


def _become_error(result: Mapping[str, Any]) -> str:
    """Return the error of the program that becomes root. Other output can repeat what the host was sent."""
    output = f"{result.get('module_stdout') or ''}\n{result.get('module_stderr') or ''}"
    found = re.search(r"^(?:sudo|su|doas): .+$", output, re.MULTILINE)
    return found[0][:MAX_PRINTED].rstrip() if found else ""


def discovered_python(action: Any) -> dict[str, Any]:
    """Return the fact by which Ansible remembers the Python that it has found on the host of an action."""
    name, python = action._discovered_interpreter_key, action._discovered_interpreter
    is_path = isinstance(python, str) and python.isprintable() and len(python) <= MAX_PRINTED
    return {"ansible_facts": {name: python}} if name and is_path else {}


class HostAction(HostAnswer, NormalAction):  # type: ignore[misc]  # ansible comes without types
    """Runs the module of its name on the host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run it as any module."""
        with printable_errors():
            result: dict[str, Any] = super().run(tmp, task_vars)
        if result.get("unreachable"):
            return {**result, "msg": describe_failure(result.get("msg", ""))}
        try:
            return {**expect_result(self._task.action, result), **discovered_python(self)}
        except InvalidInput as error:
            return {"failed": True, "changed": False, "msg": str(error)}
